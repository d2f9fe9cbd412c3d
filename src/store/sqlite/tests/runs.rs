use super::*;
use crate::base::Entropy as _;
use crate::domain::runs::{
    AttemptEnd, CountKey, Failure, ReasonCode, ServiceDetail, Status, StepRecord, StepStatus, Undo,
    Waiting, WaitsFor,
};
use crate::store::{Backlog, Conflict, PageRequest, ReadRuns as _, RunFilter};

fn step(run: &OperationRun, attempt: u32, index: u32, status: StepStatus) -> StepRecord {
    StepRecord {
        run_id: run.id,
        attempt,
        index,
        key: "container.create:web/1".to_owned(),
        description: "create container shop-web-1".into(),
        cause: "no container yet".into(),
        undo: Undo::By { description: "remove container shop-web-1".to_owned() },
        status,
        started_at: run.created_at,
        ended_at: None,
        detail: None,
    }
}

fn no_progress() -> RunProgress {
    RunProgress::default()
}

fn conflict(result: Result<(), StoreError>) -> Conflict {
    result.unwrap_err().conflict().cloned().expect("a conflict")
}

#[tokio::test]
async fn a_run_goes_from_the_queue_to_its_end_and_reads_back_the_same() {
    let fixture = Fixture::inline();
    let run = fixture.queue("shop", "a").await;
    assert_eq!(fixture.store.run(run.id).await.unwrap(), Some(run.clone()));
    fixture.start(&run, 1).await.unwrap();
    let progress = RunProgress {
        counts: vec![(CountKey::Started, 2), (CountKey::Started, 1)],
        failures: vec![Failure::new(ReasonCode::PortInUse, "service:web", "port 80 is in use")],
        details: Some(Details {
            services: vec![ServiceDetail {
                service: "web".to_owned(),
                state: "failed".to_owned(),
                reason: None,
            }],
            ..Details::default()
        }),
    };
    fixture.store.add_progress(run.id, 1, progress.clone()).await.unwrap();
    fixture.complete(&run, 1).await.unwrap();
    let read = fixture.store.run(run.id).await.unwrap().unwrap();
    assert_eq!(read.state, RunState::Completed(End::Succeeded));
    assert_eq!(read.summary_counts.get(CountKey::Started), 3);
    assert_eq!(read.failure_summary, progress.failures);
    assert_eq!(Some(read.context.details), progress.details);
    assert_eq!(read.completed_at, Some(fixture.now()));
    let attempts = fixture.store.attempts(run.id).await.unwrap();
    assert_eq!(attempts[0].end, Some(AttemptEnd::Completed));
}

#[tokio::test]
async fn asking_again_finds_the_active_run_and_a_completed_one_does_not_count() {
    let fixture = Fixture::inline();
    let first = fixture.queue("shop", "a").await;
    let same = Write::InsertRun(Box::new(fixture.run("shop", "a")));
    assert_eq!(conflict(fixture.commit(same.clone()).await), Conflict::ActiveRun(first.id));
    let active = fixture.store.active_run(first.workspace_id, first.run_identity_hash);
    assert_eq!(active.await.unwrap().map(|run| run.id), Some(first.id));
    fixture.start(&first, 1).await.unwrap();
    fixture.complete(&first, 1).await.unwrap();
    fixture.commit(same).await.unwrap();
}

#[tokio::test]
async fn two_runs_of_one_subject_never_execute_at_once() {
    let fixture = Fixture::inline();
    let first = fixture.queue("shop", "a").await;
    let second = fixture.queue("shop", "b").await;
    let other = fixture.queue("blog", "c").await;
    let claimable = async || {
        let runs = fixture.store.claimable(fixture.now(), 10).await.unwrap();
        runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    assert_eq!(claimable().await, [first.id, other.id], "oldest first, one per subject");
    fixture.start(&first, 1).await.unwrap();
    assert_eq!(claimable().await, [other.id]);
    let locked = Conflict::Locked { subject: second.subject.clone(), holder: first.id };
    assert_eq!(conflict(fixture.start(&second, 1).await), locked);
    fixture.complete(&first, 1).await.unwrap();
    assert_eq!(claimable().await, [second.id, other.id]);
    fixture.start(&second, 1).await.unwrap();
}

#[tokio::test]
async fn an_expired_lock_is_taken_over_and_its_late_holder_is_fenced() {
    let fixture = Fixture::inline();
    let late = fixture.queue("shop", "a").await;
    let next = fixture.queue("shop", "b").await;
    fixture.start(&late, 1).await.unwrap();
    fixture.clock.advance(Duration::from_secs(901));
    fixture.start(&next, 1).await.unwrap();
    let fenced = Conflict::Fenced { run_id: late.id, attempt: 1 };
    let write = fixture.store.record_step(step(&late, 1, 0, StepStatus::Started), no_progress());
    assert_eq!(conflict(write.await), fenced);
    assert!(matches!(conflict(fixture.complete(&late, 1).await), Conflict::Illegal { .. }));
    let read = fixture.store.run(late.id).await.unwrap().unwrap();
    assert_eq!(read.state, RunState::Ready, "it wants another attempt");
}

#[tokio::test]
async fn a_sign_of_life_keeps_the_lock() {
    let fixture = Fixture::inline();
    let holder = fixture.queue("shop", "a").await;
    let next = fixture.queue("shop", "b").await;
    fixture.start(&holder, 1).await.unwrap();
    fixture.clock.advance(Duration::from_secs(800));
    let until = crate::base::time::after(fixture.now(), Duration::from_secs(900));
    fixture.store.heartbeat("boot-1".to_owned(), fixture.now(), until).await.unwrap();
    fixture.clock.advance(Duration::from_secs(800));
    assert!(matches!(conflict(fixture.start(&next, 1).await), Conflict::Locked { .. }));
}

#[tokio::test]
async fn an_interrupted_attempt_leaves_its_steps_unknown_and_is_fenced_by_the_next() {
    let fixture = Fixture::inline();
    let run = fixture.queue("shop", "a").await;
    fixture.start(&run, 1).await.unwrap();
    fixture.store.record_step(step(&run, 1, 0, StepStatus::Started), no_progress()).await.unwrap();
    let done = step(&run, 1, 0, StepStatus::Succeeded);
    fixture.store.record_step(done, no_progress()).await.unwrap();
    fixture.store.record_step(step(&run, 1, 1, StepStatus::Started), no_progress()).await.unwrap();

    let fixture = fixture.reopened();
    let open = fixture.store.open_attempts().await.unwrap();
    assert_eq!((open.len(), open[0].run.id, open[0].interruptions), (1, run.id, 0));
    let interrupt = Write::InterruptAttempt {
        run_id: run.id,
        attempt: 1,
        end: AttemptEnd::Interrupted,
        at: fixture.now(),
        progress: no_progress(),
    };
    fixture.commit(interrupt.clone()).await.unwrap();
    assert!(matches!(conflict(fixture.commit(interrupt).await), Conflict::Illegal { .. }));
    let steps = fixture.store.steps(run.id).await.unwrap();
    let statuses: Vec<_> = steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Succeeded, StepStatus::Unknown]);

    fixture.start(&run, 2).await.unwrap();
    let fenced = Conflict::Fenced { run_id: run.id, attempt: 1 };
    assert_eq!(conflict(fixture.complete(&run, 1).await), fenced);
    fixture.complete(&run, 2).await.unwrap();
    let ended = conflict(fixture.complete(&run, 2).await);
    assert!(matches!(ended, Conflict::Illegal { .. }), "completed exactly once: {ended}");
}

#[tokio::test]
async fn a_waiting_run_keeps_its_lock_and_wakes_when_it_is_due() {
    let fixture = Fixture::inline();
    let run = fixture.queue("shop", "a").await;
    let next = fixture.queue("shop", "b").await;
    fixture.start(&run, 1).await.unwrap();
    let until = crate::base::time::after(fixture.now(), Duration::from_secs(60));
    let wait = Write::WaitRun {
        run_id: run.id,
        attempt: 1,
        waiting: Waiting { waits_for: WaitsFor::BackOff, until: Some(until) },
        at: fixture.now(),
        progress: no_progress(),
    };
    fixture.commit(wait).await.unwrap();
    assert_eq!(fixture.store.next_due().await.unwrap(), Some(until));
    assert_eq!(fixture.store.due(fixture.now()).await.unwrap(), []);
    assert_eq!(fixture.store.claimable(fixture.now(), 9).await.unwrap(), []);
    fixture.clock.advance(Duration::from_secs(60));
    let due = fixture.store.due(fixture.now()).await.unwrap();
    assert_eq!(due[0].id, run.id);
    fixture.commit(Write::WakeRun { run_id: run.id }).await.unwrap();
    assert!(matches!(conflict(fixture.start(&next, 1).await), Conflict::Locked { .. }));
    let claimable = fixture.store.claimable(fixture.now(), 9).await.unwrap();
    assert_eq!(claimable.iter().map(|run| run.id).collect::<Vec<_>>(), [run.id]);
    fixture.start(&run, 2).await.unwrap();
}

#[tokio::test]
async fn a_refused_change_leaves_neither_record_nor_event() {
    let fixture = Fixture::inline();
    let run = fixture.queue("shop", "a").await;
    let before = fixture.records().await;
    let cancel = Write::RequestCancel { run_id: run.id, at: fixture.now() };
    let both = vec![Write::InsertRun(Box::new(fixture.run("shop", "b"))), cancel];
    let refused = fixture.store.commit(both, fixture.events()).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.ends_with("a run that is queued cannot be asked to stop"), "{text}");
    assert_eq!(fixture.records().await, before);
    assert_eq!(fixture.store.claimable(fixture.now(), 9).await.unwrap().len(), 1);
    let missing = Write::WakeRun { run_id: RunId::from_u128(9) };
    assert!(matches!(conflict(fixture.commit(missing).await), Conflict::Missing { .. }));
    let mut stray = fixture.run("shop", "c");
    stray.tenant_id = Some(crate::base::ids::TenantId::from_u128(9));
    let stray = fixture.commit(Write::InsertRun(Box::new(stray))).await;
    assert!(matches!(conflict(stray), Conflict::Dangling { .. }));
}

#[tokio::test]
async fn pages_meet_without_gap_or_overlap_while_runs_are_added() {
    let fixture = Fixture::inline();
    let mut expected = Vec::new();
    for n in 0..7 {
        expected.push(fixture.queue("shop", &n.to_string()).await.id);
    }
    expected.reverse();
    let filter = RunFilter::workspace(fixture.store.scope().workspace_id);
    let mut page = PageRequest::first(3);
    let mut seen = Vec::new();
    loop {
        let found = fixture.store.runs(filter.clone(), page).await.unwrap();
        seen.extend(found.items.iter().map(|run| run.id));
        fixture.queue("shop", &format!("late {}", seen.len())).await;
        match found.next {
            Some(next) => page = PageRequest { limit: 3, after: Some(next) },
            None => break,
        }
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_cursor_that_no_list_made_is_refused() {
    let fixture = Fixture::inline();
    for text in ["", "7", "x~y"] {
        let page = PageRequest { limit: 3, after: Some(crate::store::Cursor(text.to_owned())) };
        let filter = RunFilter::workspace(fixture.store.scope().workspace_id);
        let refused = fixture.store.runs(filter, page).await;
        assert!(matches!(refused, Err(StoreError::BadCursor(_))), "{text:?}: {refused:?}");
    }
}

#[tokio::test]
async fn filters_restrict() {
    let fixture = Fixture::inline();
    let shop = fixture.queue("shop", "a").await;
    let blog = fixture.queue("blog", "b").await;
    fixture.start(&blog, 1).await.unwrap();
    let all = RunFilter::workspace(fixture.store.scope().workspace_id);
    let found = async |filter: RunFilter| {
        let page = fixture.store.runs(filter, PageRequest::default()).await.unwrap();
        page.items.iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let queued = vec![crate::domain::runs::Status::Queued];
    assert_eq!(found(RunFilter { statuses: queued, ..all.clone() }).await, [shop.id]);
    let subject = Some(blog.subject.clone());
    assert_eq!(found(RunFilter { subject, ..all.clone() }).await, [blog.id]);
    let until = Some(blog.created_at);
    assert_eq!(found(RunFilter { until, ..all.clone() }).await, [shop.id]);
    let from = Some(blog.created_at);
    assert_eq!(found(RunFilter { from, ..all }).await, [blog.id]);
}

#[test]
fn lists_of_runs_use_their_index() {
    let fixture = Fixture::inline();
    let scope = fixture.store.scope();
    let all = RunFilter::workspace(scope.workspace_id);
    let check = |filter: RunFilter, index: &str| {
        let after = Some(crate::store::Cursor("1~a".to_owned()));
        let page = PageRequest { limit: 10, after };
        let (sql, values) = super::super::run_reads::query(&filter, &page).unwrap();
        auditing::assert_uses(&fixture, &sql, values, index);
    };
    check(all.clone(), "runs_newest");
    check(RunFilter { tenant_id: Some(scope.tenant_id), ..all.clone() }, "runs_by_tenant");
    let subject = Some(crate::domain::runs::Subject::project("shop"));
    check(RunFilter { subject, ..all }, "runs_by_subject");
}

/// Random histories of a few runs. Owns what a test may do to them.
struct Histories {
    fixture: Fixture,
    dice: SeededEntropy,
}

impl Histories {
    fn below(&self, sides: usize) -> usize {
        usize::try_from(self.dice.next_u64() % sides as u64).unwrap()
    }

    async fn open_runs(&self) -> Vec<OperationRun> {
        let mut filter = RunFilter::workspace(self.fixture.store.scope().workspace_id);
        filter.statuses = vec![Status::Queued, Status::Running];
        self.fixture.store.runs(filter, PageRequest::default()).await.unwrap().items
    }

    async fn claimable(&self) -> Vec<OperationRun> {
        self.fixture.store.claimable(self.fixture.now(), 100).await.unwrap()
    }

    /// One of the runs in a state, as it is now.
    async fn one(&self, is_meant: fn(RunState) -> bool) -> Option<OperationRun> {
        let mut runs = self.open_runs().await;
        runs.retain(|run| is_meant(run.state));
        (!runs.is_empty()).then(|| runs.swap_remove(self.below(runs.len())))
    }

    async fn something_happens(&self) {
        let fixture = &self.fixture;
        match self.below(9) {
            0 | 1 => {
                let project = ["shop", "blog"][self.below(2)];
                let service = self.dice.next_u64().to_string();
                fixture.queue(project, &service).await;
            }
            2 | 3 => {
                let mut claimable = self.claimable().await;
                if !claimable.is_empty() {
                    let run = claimable.swap_remove(self.below(claimable.len()));
                    fixture.start(&run, run.attempt + 1).await.unwrap();
                }
            }
            4 => fixture.clock.advance(Duration::from_secs([1, 1_000][self.below(2)])),
            5 => {
                if let Some(run) = self.one(|state| state == RunState::Running).await {
                    fixture.complete(&run, run.attempt).await.unwrap();
                }
            }
            6 => {
                if let Some(run) = self.one(|state| state == RunState::Running).await {
                    let end = [AttemptEnd::Interrupted, AttemptEnd::Released][self.below(2)];
                    let (run_id, attempt, at) = (run.id, run.attempt, fixture.now());
                    let progress = no_progress();
                    let write = Write::InterruptAttempt { run_id, attempt, end, at, progress };
                    fixture.commit(write).await.unwrap();
                }
            }
            7 => {
                if let Some(run) = self.one(|state| state == RunState::Running).await {
                    let waiting = Waiting { waits_for: WaitsFor::Answer, until: None };
                    let (run_id, attempt, at) = (run.id, run.attempt, fixture.now());
                    let progress = no_progress();
                    let write = Write::WaitRun { run_id, attempt, waiting, at, progress };
                    fixture.commit(write).await.unwrap();
                }
            }
            _ => {
                if let Some(run) = self.one(|state| matches!(state, RunState::Waiting(_))).await {
                    fixture.commit(Write::WakeRun { run_id: run.id }).await.unwrap();
                }
            }
        }
    }

    /// Every subject that has a run which wants a worker offers one, unless another run has it.
    async fn nobody_is_stuck(&self, seed: u64) {
        let (open, claimable) = (self.open_runs().await, self.claimable().await);
        let wants = |run: &&OperationRun| matches!(run.state, RunState::Queued | RunState::Ready);
        for run in open.iter().filter(wants) {
            let same = |other: &&OperationRun| other.subject == run.subject;
            let offered = claimable.iter().filter(same).count();
            let is_held = open.iter().filter(same).any(|other| !wants(&other));
            assert!(offered == 1 || (is_held && offered == 0), "seed {seed}: {offered} of {run:?}");
        }
    }
}

#[tokio::test]
async fn a_subject_never_gets_stuck() {
    for seed in 0..20 {
        let history = Histories { fixture: Fixture::inline(), dice: SeededEntropy::new(seed) };
        for _ in 0..60 {
            history.something_happens().await;
            history.nobody_is_stuck(seed).await;
        }
        // Whatever it came to: who works on goes on to the end, and everybody has his turn.
        let mut left = history.open_runs().await;
        while let Some(run) = left.first() {
            for run in &left {
                match run.state {
                    RunState::Running => history.fixture.complete(run, run.attempt).await.unwrap(),
                    RunState::Waiting(_) => {
                        history.fixture.commit(Write::WakeRun { run_id: run.id }).await.unwrap();
                    }
                    _ => {}
                }
            }
            let claimable = history.claimable().await;
            assert!(!claimable.is_empty(), "seed {seed}: {run:?} is stuck");
            for run in claimable {
                history.fixture.start(&run, run.attempt + 1).await.unwrap();
                history.fixture.complete(&run, run.attempt + 1).await.unwrap();
            }
            left = history.open_runs().await;
        }
    }
}

#[tokio::test]
async fn the_backlog_counts_what_is_not_completed() {
    let fixture = Fixture::inline();
    assert_eq!(fixture.store.backlog().await.unwrap(), []);
    let first = fixture.queue("shop", "a").await;
    let oldest = first.created_at;
    fixture.clock.advance(Duration::from_secs(60));
    let second = fixture.queue("shop", "b").await;
    let queued = Backlog { status: Status::Queued, runs: 2, oldest };
    assert_eq!(fixture.store.backlog().await.unwrap(), [queued]);
    fixture.start(&first, 1).await.unwrap();
    let running = Backlog { status: Status::Running, runs: 1, oldest };
    let queued = Backlog { status: Status::Queued, runs: 1, oldest: second.created_at };
    assert_eq!(fixture.store.backlog().await.unwrap(), [queued, running]);
    fixture.complete(&first, 1).await.unwrap();
    assert_eq!(fixture.store.backlog().await.unwrap(), [queued]);
}
