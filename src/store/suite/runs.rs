//! What every database promises about runs, attempts, steps and locks.

use std::time::Duration;

use super::Fixture;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::{RunId, TenantId};
use crate::base::{Digest, Entropy as _};
use crate::domain::runs::{
    AttemptEnd, CountKey, Details, End, Failure, OperationRun, ReasonCode, RunState, ServiceDetail,
    Status, StepRecord, StepStatus, Undo, Waiting, WaitsFor,
};
use crate::store::{
    Backlog, Conflict, Cursor, PageRequest, RunFilter, RunProgress, StoreError, Write,
};

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

pub(crate) async fn a_run_goes_from_the_queue_to_its_end_and_reads_back_the_same(fixture: Fixture) {
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

pub(crate) async fn asking_again_finds_the_active_run_and_a_completed_one_does_not_count(
    fixture: Fixture,
) {
    let first = fixture.queue("shop", "a").await;
    let same = Write::InsertRun(Box::new(fixture.run("shop", "a")));
    assert_eq!(conflict(fixture.commit(same.clone()).await), Conflict::ActiveRun(first.id));
    let active = fixture.store.active_run(first.workspace_id, first.run_identity_hash);
    assert_eq!(active.await.unwrap().map(|run| run.id), Some(first.id));
    fixture.start(&first, 1).await.unwrap();
    fixture.complete(&first, 1).await.unwrap();
    fixture.commit(same).await.unwrap();
}

pub(crate) async fn two_runs_of_one_subject_never_execute_at_once(fixture: Fixture) {
    let first = fixture.queue("shop", "a").await;
    let second = fixture.queue("shop", "b").await;
    let other = fixture.queue("blog", "c").await;
    assert_eq!(fixture.claim(9).await, [first.id, other.id], "oldest first, one per subject");
    assert_eq!(fixture.claim(9).await, []);
    let locked = Conflict::Locked { subject: second.subject.clone().unwrap(), holder: first.id };
    assert_eq!(conflict(fixture.start(&second, 1).await), locked);
    fixture.complete(&first, 1).await.unwrap();
    assert_eq!(fixture.claim(9).await, [second.id]);
}

pub(crate) async fn an_expired_lock_is_taken_over_and_its_late_holder_is_fenced(fixture: Fixture) {
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

pub(crate) async fn a_sign_of_life_keeps_the_lock(fixture: Fixture) {
    let holder = fixture.queue("shop", "a").await;
    let next = fixture.queue("shop", "b").await;
    fixture.start(&holder, 1).await.unwrap();
    fixture.clock.advance(Duration::from_secs(800));
    let until = crate::base::time::after(fixture.now(), Duration::from_secs(900));
    fixture.store.heartbeat("boot-1".to_owned(), fixture.now(), until).await.unwrap();
    fixture.clock.advance(Duration::from_secs(800));
    assert!(matches!(conflict(fixture.start(&next, 1).await), Conflict::Locked { .. }));
}

pub(crate) async fn an_interrupted_attempt_leaves_its_steps_unknown_and_is_fenced_by_the_next(
    fixture: Fixture,
) {
    let run = fixture.queue("shop", "a").await;
    fixture.start(&run, 1).await.unwrap();
    fixture.store.record_step(step(&run, 1, 0, StepStatus::Started), no_progress()).await.unwrap();
    let done = step(&run, 1, 0, StepStatus::Succeeded);
    fixture.store.record_step(done, no_progress()).await.unwrap();
    fixture.store.record_step(step(&run, 1, 1, StepStatus::Started), no_progress()).await.unwrap();

    let fixture = fixture.reopened().await;
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

pub(crate) async fn a_waiting_run_keeps_its_lock_and_wakes_when_it_is_due(fixture: Fixture) {
    let run = fixture.queue("shop", "a").await;
    let next = fixture.queue("shop", "b").await;
    fixture.start(&run, 1).await.unwrap();
    let until = crate::base::time::after(fixture.now(), Duration::from_secs(60));
    let wait = Write::WaitRun {
        run_id: run.id,
        attempt: 1,
        waiting: Waiting { waits_for: WaitsFor::BakeTime, until: Some(until) },
        at: fixture.now(),
        progress: no_progress(),
    };
    fixture.commit(wait).await.unwrap();
    assert_eq!(fixture.store.next_due().await.unwrap(), Some(until));
    assert_eq!(fixture.store.due(fixture.now()).await.unwrap(), []);
    assert_eq!(fixture.claim(9).await, []);
    fixture.clock.advance(Duration::from_secs(60));
    let due = fixture.store.due(fixture.now()).await.unwrap();
    assert_eq!(due[0].id, run.id);
    fixture.commit(Write::WakeRun { run_id: run.id }).await.unwrap();
    assert!(matches!(conflict(fixture.start(&next, 1).await), Conflict::Locked { .. }));
    assert_eq!(fixture.claim(9).await, [run.id]);
    let read = fixture.store.run(run.id).await.unwrap().unwrap();
    assert_eq!((read.state, read.attempt), (RunState::Running, 2));
}

pub(crate) async fn what_was_decided_of_a_wait_counts_once_and_for_that_wait(fixture: Fixture) {
    let run = fixture.queue("shop", "a").await;
    fixture.start(&run, 1).await.unwrap();
    let decide = |attempt| Write::DecideRun {
        run_id: run.id,
        attempt,
        details: Box::new(Details { plan_digest: Some(Digest::of(&[7])), ..Details::default() }),
    };
    let early = conflict(fixture.commit(decide(1)).await);
    assert!(matches!(early, Conflict::Illegal { .. }), "it does not wait: {early}");
    let wait = |attempt| Write::WaitRun {
        run_id: run.id,
        attempt,
        waiting: Waiting { waits_for: WaitsFor::Approval, until: None },
        at: fixture.now(),
        progress: no_progress(),
    };
    fixture.commit(wait(1)).await.unwrap();
    fixture.commit(decide(1)).await.unwrap();
    let twice = conflict(fixture.commit(decide(1)).await);
    assert!(matches!(twice, Conflict::Illegal { .. }), "{twice}");
    let read = fixture.store.run(run.id).await.unwrap().unwrap();
    assert_eq!(read.state, RunState::Ready);
    assert_eq!(read.context.details.plan_digest, Some(Digest::of(&[7])));
    // It goes on and waits again: a word of the wait before does not count for this one.
    fixture.start(&run, 2).await.unwrap();
    fixture.commit(wait(2)).await.unwrap();
    let late = conflict(fixture.commit(decide(1)).await);
    assert!(matches!(late, Conflict::Fenced { attempt: 1, .. }), "{late}");
    fixture.commit(decide(2)).await.unwrap();
}

pub(crate) async fn a_refused_change_leaves_neither_record_nor_event(fixture: Fixture) {
    let run = fixture.queue("shop", "a").await;
    let before = fixture.records().await;
    let cancel = Write::RequestCancel { run_id: run.id, at: fixture.now() };
    let both = vec![Write::InsertRun(Box::new(fixture.run("shop", "b"))), cancel];
    let refused = fixture.store.commit(both, fixture.events()).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.ends_with("a run that is queued cannot be asked to stop"), "{text}");
    assert_eq!(fixture.records().await, before);
    assert_eq!(fixture.claim(9).await, [run.id], "the other was not queued");
    let missing = Write::WakeRun { run_id: RunId::from_u128(9) };
    assert!(matches!(conflict(fixture.commit(missing).await), Conflict::Missing { .. }));
    let mut stray = fixture.run("shop", "c");
    stray.tenant_id = Some(TenantId::from_u128(9));
    let stray = fixture.commit(Write::InsertRun(Box::new(stray))).await;
    assert!(matches!(conflict(stray), Conflict::Dangling { .. }));
}

pub(crate) async fn pages_meet_without_gap_or_overlap_while_runs_are_added(fixture: Fixture) {
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

pub(crate) async fn a_cursor_that_no_list_made_is_refused(fixture: Fixture) {
    for text in ["", "7", "x~y"] {
        let page = PageRequest { limit: 3, after: Some(Cursor(text.to_owned())) };
        let filter = RunFilter::workspace(fixture.store.scope().workspace_id);
        let refused = fixture.store.runs(filter, page).await;
        assert!(matches!(refused, Err(StoreError::BadCursor(_))), "{text:?}: {refused:?}");
    }
}

pub(crate) async fn filters_restrict(fixture: Fixture) {
    let shop = fixture.queue("shop", "a").await;
    let blog = fixture.queue("blog", "b").await;
    fixture.start(&blog, 1).await.unwrap();
    let all = RunFilter::workspace(fixture.store.scope().workspace_id);
    let found = async |filter: RunFilter| {
        let page = fixture.store.runs(filter, PageRequest::default()).await.unwrap();
        page.items.iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let queued = vec![Status::Queued];
    assert_eq!(found(RunFilter { statuses: queued, ..all.clone() }).await, [shop.id]);
    let subject = blog.subject.clone();
    assert_eq!(found(RunFilter { subject, ..all.clone() }).await, [blog.id]);
    let until = Some(blog.created_at);
    assert_eq!(found(RunFilter { until, ..all.clone() }).await, [shop.id]);
    let from = Some(blog.created_at);
    assert_eq!(found(RunFilter { from, ..all }).await, [blog.id]);
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
                fixture.claim(1 + self.below(2)).await;
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
    /// Answers how many were offered.
    async fn nobody_is_stuck(&self, story: &str) -> usize {
        let open = self.open_runs().await;
        let claimed = self.fixture.claim(100).await;
        let wants = |run: &&OperationRun| matches!(run.state, RunState::Queued | RunState::Ready);
        for run in open.iter().filter(wants) {
            let same = |other: &&OperationRun| other.subject == run.subject;
            let offered = open.iter().filter(same).filter(|run| claimed.contains(&run.id)).count();
            let is_held = open.iter().filter(same).any(|other| !wants(&other));
            assert!(offered == 1 || (is_held && offered == 0), "{story}: {offered} of {run:?}");
        }
        claimed.len()
    }
}

pub(crate) async fn a_subject_never_gets_stuck(fixture: Fixture) {
    for seed in 0..60 {
        let (fixture, dice) = (fixture.another().await, SeededEntropy::new(seed));
        let history = Histories { fixture, dice };
        for _ in 0..=seed {
            history.something_happens().await;
        }
        history.nobody_is_stuck(&format!("seed {seed}")).await;
        // Whatever it came to: who works on goes on to the end, and everybody has his turn.
        let mut left = history.open_runs().await;
        while let Some(first) = left.first() {
            for run in &left {
                match run.state {
                    RunState::Running => history.fixture.complete(run, run.attempt).await.unwrap(),
                    RunState::Waiting(_) => {
                        history.fixture.commit(Write::WakeRun { run_id: run.id }).await.unwrap();
                    }
                    _ => {}
                }
            }
            let wanting = history.open_runs().await.len();
            let offered = history.nobody_is_stuck(&format!("seed {seed}, at the end")).await;
            assert!(offered > 0 || wanting == 0, "seed {seed}: {first:?} is stuck");
            left = history.open_runs().await;
        }
    }
}

pub(crate) async fn the_backlog_counts_what_is_not_completed(fixture: Fixture) {
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

pub(crate) async fn what_is_done_for_an_active_run_is_refused_once_it_has_ended(fixture: Fixture) {
    let run = fixture.queue("shop", "a").await;
    let beside = || {
        let other = Write::InsertRun(Box::new(fixture.run("shop", "beside")));
        vec![Write::ExpectActive { run_id: run.id }, other]
    };
    fixture.start(&run, 1).await.unwrap();
    fixture.complete(&run, 1).await.unwrap();
    let before = fixture.records().await;
    let refused = fixture.store.commit(beside(), fixture.events()).await.unwrap_err();
    assert_eq!(refused.conflict(), Some(&Conflict::Ended(run.id)));
    assert_eq!(fixture.records().await, before, "nothing of it is recorded");
}
