//! Promises about claims, retries, limits, hosted types and lost workers. Owns the words in which
//! a test speaks of the queue. Face: one function per promise. Never names a dialect.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::base::Name;
use crate::base::ids::TenantId;
use crate::base::time::after;
use crate::domain::access::Capability;
use crate::domain::runs::{
    CountKey, Definition, Failure, Hosted, HostedType, JobEnd, OnCrash, Payload, Priority,
    QueueControl, QueueScope, ReasonCode, Retry, Status, Subject, Tenants, WaitsFor,
};
use crate::store::{
    Accepted, Admission, Change, Claimed, Conflict, EndJob, FailAttempt, FanOut, NewJob, Notice,
    Noticed, PageRequest, RetryRun, RunFilter,
};

pub(super) const RETRY: Retry = Retry {
    attempts_max: 2,
    first: Duration::from_secs(10),
    factor: 2,
    longest: Duration::from_secs(60),
    jitter_percent: 0,
};

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn definition() -> Definition {
    Definition {
        label: "Send mail".into(),
        capability: Capability::RunsEnqueue,
        on_crash: OnCrash::Resume,
        counts: vec![CountKey::Total, CountKey::Processed, "mails".parse().unwrap()].into(),
        reason_codes: vec!["mail.bounced".parse().unwrap()].into(),
        retry: RETRY,
        timeout: None,
        lease: Duration::from_secs(30),
        priority: Priority(0),
        supersedes: false,
    }
}

pub(super) fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Conflict {
    result.unwrap_err().conflict().cloned().expect("a conflict")
}

/// What a test does to the queue, in the words of a worker.
pub(super) struct Queue<'a>(pub(super) &'a Fixture);

impl Queue<'_> {
    pub(super) async fn register(&self, text: &str, definition: Definition) {
        let (workspace_id, at) = (self.0.store.scope().workspace_id, self.0.now());
        let hosted = HostedType {
            workspace_id,
            name: name(text),
            definition,
            registered_at: at,
            updated_at: at,
        };
        self.0.commit(Write::PutHostedType(Box::new(hosted))).await.unwrap();
    }

    pub(super) fn run(&self, run_type: &str, key: &str, subject: Option<&str>) -> OperationRun {
        let mut run = self.0.run_of(Inputs::Hosted(Hosted {
            run_type: name(run_type),
            payload: Payload::new(&json!({ "key": key })).unwrap(),
            identity: Some(key.to_owned()),
            subject: subject.map(Subject::app),
        }));
        run.host_id = None;
        run
    }

    pub(super) async fn enqueue(&self, run: OperationRun) -> OperationRun {
        self.0.commit(Write::InsertRun(Box::new(run.clone()))).await.unwrap();
        run
    }

    pub(super) fn claim_of(&self, types: &[&str], limit: usize) -> Claim {
        let mut holder = self.0.holder("mailer");
        holder.is_hosted = true;
        Claim {
            claimant: Claimant { holder, tenants: Tenants::All, at: self.0.now() },
            workspace_id: Some(self.0.store.scope().workspace_id),
            run_types: types.iter().map(|text| RunType::Hosted(name(text))).collect(),
            limit,
            teller: Teller::new(|_| None),
        }
    }

    pub(super) async fn claim(&self, types: &[&str], limit: usize) -> Vec<Claimed> {
        self.0.store.claim(self.claim_of(types, limit)).await.unwrap()
    }

    pub(super) async fn claim_ids(&self, types: &[&str], limit: usize) -> Vec<RunId> {
        self.claim(types, limit).await.into_iter().map(|claimed| claimed.run.id).collect()
    }

    pub(super) async fn change(&self, write: Write) -> Result<Vec<Notice>, StoreError> {
        let event = self.0.event(EventType::RunQueued, "something happened");
        let teller = Teller::new(|_| None);
        self.0.store.change(Change { writes: vec![write], events: vec![event], teller }).await
    }

    pub(super) async fn fail(&self, run: &OperationRun, attempt: u32) -> Vec<Notice> {
        let fail = FailAttempt {
            run_id: run.id,
            attempt,
            end: End::Failed,
            at: self.0.now(),
            random: 0,
            progress: RunProgress::default(),
        };
        self.change(Write::FailAttempt(fail)).await.unwrap()
    }

    pub(super) async fn end_job(
        &self,
        claimed: &Claimed,
        end: JobEnd,
    ) -> Result<Vec<Notice>, StoreError> {
        let job = claimed.job.as_ref().unwrap();
        let failures = match end {
            JobEnd::Failed => vec![Failure::new(ReasonCode::RunFailed, job.key.clone(), "no")],
            _ => Vec::new(),
        };
        self.change(Write::EndJob(EndJob {
            run_id: job.run_id,
            key: job.key.clone(),
            attempt: job.attempt,
            end,
            is_final: false,
            at: self.0.now(),
            random: 0,
            counts: vec![(CountKey::Processed, 1)],
            failures,
        }))
        .await
    }

    pub(super) async fn fan_out(&self, run: &OperationRun, keys: &[&str]) -> Vec<Notice> {
        let jobs = keys.iter().map(|key| NewJob {
            key: (*key).to_owned(),
            tenant_id: None,
            payload: Payload::new(&json!({ "for": key })).unwrap(),
        });
        let fan_out = FanOut {
            run_id: run.id,
            attempt: 1,
            jobs: jobs.collect(),
            at: self.0.now(),
            progress: RunProgress {
                counts: vec![(CountKey::Total, keys.len() as u64)],
                ..RunProgress::default()
            },
        };
        self.change(Write::FanOut(fan_out)).await.unwrap()
    }

    pub(super) async fn read(&self, run: &OperationRun) -> OperationRun {
        self.0.store.run(run.id).await.unwrap().unwrap()
    }

    pub(super) async fn control(&self, scope: QueueScope, is_paused: bool, max: Option<u32>) {
        let workspace_id = self.0.store.scope().workspace_id;
        let control = QueueControl { workspace_id, scope, is_paused, concurrency_max: max };
        self.0.commit(Write::PutQueueControl(control)).await.unwrap();
    }

    pub(super) async fn uncontrol(&self, scope: QueueScope) {
        let workspace_id = self.0.store.scope().workspace_id;
        self.0.commit(Write::DropQueueControl { workspace_id, scope }).await.unwrap();
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.0.clock.advance(Duration::from_secs(seconds));
    }
}

pub(crate) async fn work_is_taken_by_priority_then_age_and_never_twice(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    queue.register("shop.bill", definition()).await;
    let low = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    let second = queue.enqueue(queue.run("shop.bill", "b", None)).await;
    let mut high = queue.run("shop.mail", "c", None);
    high.priority = Priority(5);
    let high = queue.enqueue(high).await;
    let mut lowest = queue.run("shop.bill", "d", None);
    lowest.priority = Priority(-1);
    let lowest = queue.enqueue(lowest).await;
    let both = ["shop.mail", "shop.bill"];
    assert_eq!(queue.claim_ids(&both, 3).await, [high.id, low.id, second.id]);
    assert_eq!(queue.claim_ids(&["shop.mail"], 3).await, []);
    let taken = queue.claim(&both, 3).await;
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].run.id, taken[0].run.attempt), (lowest.id, 1));
    assert_eq!(taken[0].run, queue.read(&lowest).await);
    assert_eq!(taken[0].lease_until, after(fixture.now(), Duration::from_secs(30)));
    let records = fixture.records().await;
    assert_eq!(queue.claim_ids(&both, 3).await, []);
    assert_eq!(fixture.records().await, records, "an empty claim writes nothing");
}

pub(crate) async fn a_later_run_waits_for_its_time(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let mut later = queue.run("shop.mail", "later", None);
    let at = after(fixture.now(), Duration::from_secs(60));
    (later.run_at, later.priority) = (Some(at), Priority(9));
    let later = queue.enqueue(later).await;
    assert_eq!(queue.read(&later).await, later);
    assert_eq!(fixture.store.next_due().await.unwrap(), Some(at));
    assert_eq!(queue.claim_ids(&["shop.mail"], 1).await, []);
    let now = queue.enqueue(queue.run("shop.mail", "now", None)).await;
    assert_eq!(queue.claim_ids(&["shop.mail"], 1).await, [now.id]);
    queue.advance(60);
    assert_eq!(fixture.store.due(fixture.now()).await.unwrap(), [], "nobody has to wake it");
    assert_eq!(queue.claim_ids(&["shop.mail"], 1).await, [later.id]);
    assert_eq!(fixture.store.next_due().await.unwrap(), None);
}

pub(crate) async fn a_paused_or_full_part_of_the_queue_gives_no_work(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    queue.register("shop.bill", definition()).await;
    let both = ["shop.mail", "shop.bill"];
    for key in ["a", "b", "c"] {
        queue.enqueue(queue.run("shop.mail", key, None)).await;
    }
    let bill = queue.enqueue(queue.run("shop.bill", "d", None)).await;
    let tenant: TenantId = fixture.store.scope().tenant_id;
    let mail = QueueScope::Type(RunType::Hosted(name("shop.mail")));
    for scope in [QueueScope::Workspace, QueueScope::Tenant(tenant)] {
        queue.control(scope, true, None).await;
        assert_eq!(queue.claim_ids(&both, 9).await, []);
        queue.uncontrol(scope).await;
    }
    queue.control(mail, true, None).await;
    assert_eq!(queue.claim_ids(&both, 9).await, [bill.id], "only the other type");
    queue.control(mail, false, Some(2)).await;
    let taken = queue.claim(&both, 9).await;
    assert_eq!(taken.len(), 2);
    assert_eq!(queue.claim_ids(&both, 9).await, [], "two are at work");
    fixture.complete(&taken[0].run, 1).await.unwrap();
    assert_eq!(queue.claim_ids(&both, 9).await.len(), 1);
    let controls = fixture.store.queue_controls(fixture.store.scope().workspace_id);
    let controls = controls.await.unwrap();
    assert_eq!(
        (controls.len(), controls[0].scope, controls[0].concurrency_max),
        (1, mail, Some(2))
    );
}

pub(crate) async fn a_run_goes_to_the_agent_of_its_host(fixture: Fixture) {
    let other = crate::base::ids::HostId::from_u128(77);
    let mut elsewhere = fixture.run("shop", "a");
    elsewhere.host_id = Some(other);
    fixture.commit(Write::InsertRun(Box::new(elsewhere.clone()))).await.unwrap();
    assert_eq!(fixture.claim(9).await, []);
    let here = fixture.queue("shop", "b").await;
    assert_eq!(fixture.claim(9).await, [here.id], "each host has a project of that name");
    let mut holder = fixture.holder("boot-9/a");
    holder.host_id = Some(other);
    let claim = Claim {
        claimant: Claimant { holder, tenants: Tenants::All, at: fixture.now() },
        workspace_id: None,
        run_types: RunType::ALL.to_vec(),
        limit: 9,
        teller: Teller::new(|_| None),
    };
    let claimed = fixture.store.claim(claim).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].run.id, elsewhere.id);
}

pub(crate) async fn a_run_is_accepted_and_begun_in_one_transaction(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let admission = |run: OperationRun| Admission {
        run: Box::new(run),
        supersedes: false,
        claimant: Some(queue.claim_of(&[], 1).claimant),
        writes: Vec::new(),
        events: fixture.events(),
        teller: Teller::new(|_| None),
    };
    let first = queue.run("shop.mail", "a", Some("march"));
    let accepted = fixture.store.admit(admission(first.clone())).await.unwrap();
    let Accepted::New { run, notices } = accepted else { panic!("it is new") };
    assert_eq!((run.state, run.attempt), (RunState::Running, 1));
    assert_eq!(run, queue.read(&first).await);
    assert_eq!(notices.iter().map(|notice| notice.what).collect::<Vec<_>>(), [Noticed::Started]);
    assert_eq!(fixture.store.attempts(run.id).await.unwrap()[0].holder.instance, "mailer");
    let again = fixture.store.admit(admission(queue.run("shop.mail", "a", None)));
    let Accepted::New { .. } = again.await.unwrap() else {
        panic!("another subject is another request")
    };
    let same = queue.run("shop.mail", "a", Some("march"));
    let accepted = fixture.store.admit(admission(same)).await.unwrap();
    assert_eq!(accepted, Accepted::Existing(run.clone()));
    let locked = queue.run("shop.mail", "b", Some("march"));
    let accepted = fixture.store.admit(admission(locked.clone())).await.unwrap();
    let Accepted::New { run: second, .. } = accepted else { panic!("it is new") };
    assert_eq!(second.state, RunState::Queued, "its subject is locked");
    fixture.complete(&run, 1).await.unwrap();
    let third = queue.run("shop.mail", "c", None);
    let accepted = fixture.store.admit(admission(third)).await.unwrap();
    let Accepted::New { run: third, .. } = accepted else { panic!("it is new") };
    assert_eq!(third.state, RunState::Queued, "nobody jumps the queue");
    assert_eq!(queue.claim_ids(&["shop.mail"], 9).await, [second.id, third.id]);
}

pub(crate) async fn a_failed_attempt_is_tried_again_after_its_pause_until_the_run_is_a_dead_letter(
    fixture: Fixture,
) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", Some("march"))).await;
    let rival = queue.enqueue(queue.run("shop.mail", "b", Some("march"))).await;
    assert_eq!(queue.claim_ids(&["shop.mail"], 9).await, [run.id]);
    let until = after(fixture.now(), Duration::from_secs(10));
    let told = queue.fail(&run, 1).await;
    assert_eq!(told[0].what, Noticed::AttemptFailed { until });
    let read = queue.read(&run).await;
    assert_eq!((read.failures, read.waiting().unwrap().waits_for), (1, WaitsFor::BackOff));
    assert_eq!(queue.claim_ids(&["shop.mail"], 9).await, [], "its lock is kept");
    queue.advance(10);
    assert_eq!(queue.claim_ids(&["shop.mail"], 9).await, [run.id]);
    let told = queue.fail(&run, 2).await;
    assert_eq!(told[0].what, Noticed::Ended { end: End::Failed, superseded_by: None });
    let read = queue.read(&run).await;
    assert!(read.is_dead_letter);
    assert_eq!((read.failures, read.completed_at), (2, Some(fixture.now())));
    assert_eq!(queue.claim_ids(&["shop.mail"], 9).await, [rival.id]);
    let ends: Vec<_> =
        fixture.store.attempts(run.id).await.unwrap().into_iter().map(|it| it.end).collect();
    use crate::domain::runs::AttemptEnd::{Completed, Failed};
    assert_eq!(ends, [Some(Failed), Some(Completed)]);
}

pub(super) async fn dead_letters(fixture: &Fixture) -> Vec<RunId> {
    let mut filter = RunFilter::workspace(fixture.store.scope().workspace_id);
    filter.is_dead_letter = Some(true);
    let page = fixture.store.runs(filter, PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|run| run.id).collect()
}

pub(crate) async fn a_dead_letter_is_tried_again_or_dismissed_once(fixture: Fixture) {
    let queue = Queue(&fixture);
    let once = Retry { attempts_max: 1, ..RETRY };
    queue.register("shop.mail", Definition { retry: once, ..definition() }).await;
    let one = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    let two = queue.enqueue(queue.run("shop.mail", "b", None)).await;
    queue.claim(&["shop.mail"], 9).await;
    queue.fail(&one, 1).await;
    queue.fail(&two, 1).await;
    assert_eq!(dead_letters(&fixture).await, [two.id, one.id]);
    let again = || RetryRun {
        dead: one.id,
        run: Box::new(queue.run("shop.mail", "a", None)),
        failed_jobs_only: false,
    };
    let retry = again();
    queue.change(Write::RetryRun(retry.clone())).await.unwrap();
    let new = queue.read(&retry.run).await;
    assert_eq!((new.retried_from, new.status()), (Some(one.id), Status::Queued));
    assert_eq!(dead_letters(&fixture).await, [two.id]);
    let refused = queue.change(Write::RetryRun(again())).await;
    assert_eq!(conflict(refused), Conflict::NotDead(one.id));
    queue.change(Write::DismissRun { run_id: two.id }).await.unwrap();
    assert_eq!(dead_letters(&fixture).await, []);
    let refused = queue.change(Write::DismissRun { run_id: two.id }).await;
    assert_eq!(conflict(refused), Conflict::NotDead(two.id));
}

pub(crate) async fn a_newer_run_takes_the_place_of_older_ones(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.build", Definition { supersedes: true, ..definition() }).await;
    queue.register("shop.mail", definition()).await;
    let running = queue.enqueue(queue.run("shop.build", "a", Some("main"))).await;
    queue.claim(&["shop.build"], 9).await;
    let queued = queue.enqueue(queue.run("shop.build", "b", Some("main"))).await;
    let elsewhere = queue.enqueue(queue.run("shop.build", "c", Some("next"))).await;
    let other_type = queue.enqueue(queue.run("shop.mail", "d", Some("main"))).await;
    let newest = queue.run("shop.build", "e", Some("main"));
    let admission = Admission {
        run: Box::new(newest.clone()),
        supersedes: true,
        claimant: None,
        writes: Vec::new(),
        events: fixture.events(),
        teller: Teller::new(|_| None),
    };
    let Accepted::New { notices, .. } = fixture.store.admit(admission).await.unwrap() else {
        panic!("it is new")
    };
    let superseded_by = Some(newest.id);
    let told: Vec<_> = notices.iter().map(|notice| (notice.run.id, notice.what)).collect();
    let expect = [
        (running.id, Noticed::CancelAsked { superseded_by }),
        (queued.id, Noticed::Ended { end: End::Cancelled, superseded_by }),
    ];
    assert_eq!(told, expect);
    let ended = queue.read(&queued).await;
    assert_eq!(ended.state, RunState::Completed(End::Cancelled));
    assert_eq!(ended.failure_summary[0].reason_code, ReasonCode::RunSuperseded);
    let asked = queue.read(&running).await;
    assert_eq!((asked.state, asked.cancel_requested_at.is_some()), (RunState::Running, true));
    for kept in [&elsewhere, &other_type] {
        assert_eq!(queue.read(kept).await.state, RunState::Queued);
    }
}

pub(crate) async fn a_hosted_type_is_registered_and_bounds_its_runs(fixture: Fixture) {
    let queue = Queue(&fixture);
    let run = queue.run("shop.mail", "a", None);
    let refused = fixture.commit(Write::InsertRun(Box::new(run.clone()))).await;
    let id = "shop.mail".to_owned();
    assert_eq!(conflict(refused), Conflict::Missing { noun: "hosted type", id });
    queue.register("shop.mail", definition()).await;
    let run = queue.enqueue(run).await;
    queue.claim(&["shop.mail"], 1).await;
    let count = |key: &str| RunProgress {
        counts: vec![(key.parse().unwrap(), 1)],
        ..RunProgress::default()
    };
    fixture.store.add_progress(run.id, 1, count("mails")).await.unwrap();
    let refused = conflict(fixture.store.add_progress(run.id, 1, count("letters")).await);
    assert_eq!(refused.to_string(), "runs of type shop.mail do not count letters");
    let first = fixture.now();
    queue.advance(5);
    let wider = vec!["letters".parse().unwrap()];
    queue.register("shop.mail", Definition { counts: wider.into(), ..definition() }).await;
    fixture.store.add_progress(run.id, 1, count("letters")).await.unwrap();
    let workspace = fixture.store.scope().workspace_id;
    let types = fixture.store.hosted_types(workspace).await.unwrap();
    assert_eq!(types.len(), 1);
    assert_eq!((types[0].registered_at, types[0].updated_at), (first, fixture.now()));
    let one = fixture.store.hosted_type(workspace, name("shop.mail")).await.unwrap();
    assert_eq!(one.as_ref(), types.first());
    assert_eq!(fixture.store.hosted_type(workspace, name("shop.none")).await.unwrap(), None);
}

pub(crate) async fn a_hosted_type_that_is_used_is_not_forgotten(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    let workspace_id = fixture.store.scope().workspace_id;
    let forget = || queue.change(Write::DropHostedType { workspace_id, name: name("shop.mail") });
    let used = conflict(forget().await);
    assert_eq!(used, Conflict::TypeInUse(RunType::Hosted(name("shop.mail"))));
    queue.change(Write::CancelRun { run_id: run.id, at: fixture.now() }).await.unwrap();
    forget().await.unwrap();
    assert!(matches!(conflict(forget().await), Conflict::Missing { .. }));
    let late = fixture.commit(Write::InsertRun(Box::new(queue.run("shop.mail", "b", None)))).await;
    assert!(matches!(conflict(late), Conflict::Missing { noun: "hosted type", .. }));
}

pub(crate) async fn the_depth_of_the_queue_is_told_by_type(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    fixture.queue("shop", "a").await;
    let first = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    let second = queue.enqueue(queue.run("shop.mail", "b", None)).await;
    queue.claim(&["shop.mail"], 1).await;
    let depths = fixture.store.queue_depths(first.workspace_id).await.unwrap();
    let told: Vec<_> =
        depths.iter().map(|it| (it.run_type.to_string(), it.queued, it.running)).collect();
    let expect = [("restart_project".to_owned(), 1, 0), ("shop.mail".to_owned(), 1, 1)];
    assert_eq!(told, expect);
    assert_eq!(depths[1].oldest_queued_at, Some(second.created_at));
}
