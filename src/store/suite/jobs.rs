//! Promises about bulk runs and their jobs. Owns nothing. Face: one function per promise. Never
//! names a dialect.

use super::queue::{Queue, RETRY, conflict, dead_letters, definition};
use super::*;
use crate::base::limits::RUN_ATTEMPTS_MAX;
use crate::base::time::after;
use crate::domain::runs::{
    AttemptEnd, CountKey, Definition, JobCounts, JobEnd, JobState, JobStatus, Payload, Retry,
    WaitsFor,
};
use crate::store::{
    AttemptRef, Conflict, EndJob, JobFilter, NewBulk, NewJob, Noticed, PageRequest, RetryRun,
    SignOfLife,
};

pub(crate) async fn a_bulk_run_counts_each_job_once_and_ends_with_the_last(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    queue.claim(&["shop.mail"], 1).await;
    let told = queue.fan_out(&run, &["x", "y", "z"]).await;
    assert_eq!(told[0].what, Noticed::WaitsForJobs);
    let claimed = queue.claim(&["shop.mail"], 2).await;
    let keys: Vec<_> = claimed.iter().map(|it| it.job.as_ref().unwrap().key.clone()).collect();
    assert_eq!(keys, ["x", "y"], "in their order");
    let jobs = JobCounts { queued: 1, running: 2, ..JobCounts::default() };
    assert_eq!(queue.read(&run).await.jobs, Some(jobs));
    queue.end_job(&claimed[0], JobEnd::Succeeded).await.unwrap();
    let twice = conflict(queue.end_job(&claimed[0], JobEnd::Succeeded).await);
    assert!(matches!(twice, Conflict::Fenced { .. }), "{twice}");
    assert_eq!(queue.end_job(&claimed[1], JobEnd::Failed).await.unwrap(), [], "tried again");
    let third = queue.claim(&["shop.mail"], 9).await;
    assert_eq!(third.len(), 1, "the failed one has its pause");
    queue.end_job(&third[0], JobEnd::Skipped).await.unwrap();
    let waiting = queue.read(&run).await;
    assert_eq!(waiting.summary_counts.get(CountKey::Processed), 2);
    assert_eq!(waiting.failure_summary, []);
    assert_eq!(fixture.store.next_due().await.unwrap(), Some(after(fixture.now(), RETRY.first)));
    queue.advance(10);
    let again = queue.claim(&["shop.mail"], 9).await;
    assert_eq!((again.len(), again[0].job.as_ref().unwrap().attempt), (1, 2));
    let late = conflict(queue.end_job(&claimed[1], JobEnd::Succeeded).await);
    assert!(matches!(late, Conflict::Fenced { .. }), "{late}");
    let told = queue.end_job(&again[0], JobEnd::Failed).await.unwrap();
    let end = End::PartiallySucceeded;
    assert_eq!(told[0].what, Noticed::Ended { end, superseded_by: None });
    let ended = queue.read(&run).await;
    assert_eq!((ended.state, ended.is_dead_letter), (RunState::Completed(end), true));
    assert_eq!(ended.summary_counts.get(CountKey::Total), 3);
    assert_eq!(ended.summary_counts.get(CountKey::Processed), 3);
    assert_eq!(ended.failure_summary.len(), 1);
    let filter = JobFilter { run_id: run.id, statuses: vec![JobStatus::Failed] };
    let failed = fixture.store.jobs(filter, PageRequest::default()).await.unwrap().items;
    assert_eq!((failed.len(), failed[0].key.as_str(), failed[0].failures), (1, "y", 2));
    let filter = JobFilter { run_id: run.id, statuses: Vec::new() };
    let first = fixture.store.jobs(filter.clone(), PageRequest::first(2)).await.unwrap();
    let rest = PageRequest { limit: 2, after: first.next };
    let rest = fixture.store.jobs(filter, rest).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 1, None));
}

pub(crate) async fn a_bulk_run_waits_with_its_lock_and_without_a_worker(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", Some("march"))).await;
    let rival = queue.enqueue(queue.run("shop.mail", "b", Some("march"))).await;
    queue.claim(&["shop.mail"], 1).await;
    queue.fan_out(&run, &["x"]).await;
    assert_eq!(fixture.store.open_attempts().await.unwrap(), []);
    let work = queue.claim(&["shop.mail"], 9).await;
    assert_eq!(work.len(), 1);
    assert!(work[0].job.is_some(), "the job, not the rival");
    queue.end_job(&work[0], JobEnd::Succeeded).await.unwrap();
    assert_eq!(queue.read(&run).await.state, RunState::Completed(End::Succeeded));
    assert_eq!(queue.claim_ids(&["shop.mail"], 9).await, [rival.id]);
    let told = queue.fan_out(&rival, &[]).await;
    assert_eq!(told[0].what, Noticed::Ended { end: End::Succeeded, superseded_by: None });
}

pub(crate) async fn only_the_failed_jobs_are_tried_again(fixture: Fixture) {
    let queue = Queue(&fixture);
    let once = Retry { attempts_max: 1, ..RETRY };
    queue.register("shop.mail", Definition { retry: once, ..definition() }).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", Some("march"))).await;
    queue.claim(&["shop.mail"], 1).await;
    queue.fan_out(&run, &["x", "y", "z"]).await;
    let work = queue.claim(&["shop.mail"], 9).await;
    for (claimed, end) in work.iter().zip([JobEnd::Failed, JobEnd::Succeeded, JobEnd::Failed]) {
        queue.end_job(claimed, end).await.unwrap();
    }
    assert_eq!(dead_letters(&fixture).await, [run.id]);
    let new = queue.run("shop.mail", "a", Some("march"));
    let retry = RetryRun { dead: run.id, run: Box::new(new.clone()), failed_jobs_only: true };
    queue.change(Write::RetryRun(retry)).await.unwrap();
    assert_eq!(queue.read(&new).await.jobs, Some(JobCounts::queued(2)));
    let work = queue.claim(&["shop.mail"], 9).await;
    let keys: Vec<_> = work.iter().map(|it| it.job.as_ref().unwrap().key.clone()).collect();
    assert_eq!(keys, ["x", "z"], "the run itself needs no worker");
    assert_eq!(work[0].run.waiting().map(|waiting| waiting.waits_for), Some(WaitsFor::Jobs));
    for claimed in &work {
        queue.end_job(claimed, JobEnd::Succeeded).await.unwrap();
    }
    assert_eq!(queue.read(&new).await.state, RunState::Completed(End::Succeeded));
}

pub(crate) async fn a_cancelled_bulk_run_ends_with_the_jobs_that_were_at_work(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", Some("march"))).await;
    queue.claim(&["shop.mail"], 1).await;
    queue.fan_out(&run, &["x", "y", "z"]).await;
    let work = queue.claim(&["shop.mail"], 1).await;
    let at = fixture.now();
    let told = queue.change(Write::CancelRun { run_id: run.id, at }).await.unwrap();
    assert_eq!(told[0].what, Noticed::CancelAsked { superseded_by: None });
    let jobs = JobCounts { running: 1, cancelled: 2, ..JobCounts::default() };
    assert_eq!(queue.read(&run).await.jobs, Some(jobs));
    assert_eq!(queue.claim(&["shop.mail"], 9).await, []);
    let sign = SignOfLife {
        attempt: AttemptRef { run_id: run.id, job: Some("x".to_owned()), attempt: 1 },
        at,
        progress: RunProgress::default(),
    };
    assert!(fixture.store.sign_of_life(sign).await.unwrap().cancel_requested);
    let told = queue.end_job(&work[0], JobEnd::Failed).await.unwrap();
    assert_eq!(told[0].what, Noticed::Ended { end: End::Cancelled, superseded_by: None });
    assert!(!queue.read(&run).await.is_dead_letter);
    let ended = queue.change(Write::CancelRun { run_id: run.id, at }).await;
    assert!(matches!(conflict(ended), Conflict::Illegal { .. }));
}

pub(crate) async fn a_bulk_run_that_never_began_leaves_no_open_jobs(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.run("shop.mail", "a", Some("march"));
    queue.change(bulk(run.clone(), &["x", "y"])).await.unwrap();
    queue.change(Write::CancelRun { run_id: run.id, at: fixture.now() }).await.unwrap();
    let jobs = JobCounts { cancelled: 2, ..JobCounts::default() };
    assert_eq!(queue.read(&run).await.jobs, Some(jobs));
    let filter = JobFilter { run_id: run.id, statuses: vec![JobStatus::Cancelled] };
    let cancelled = fixture.store.jobs(filter, PageRequest::default()).await.unwrap();
    assert_eq!(cancelled.items.len(), 2);
}

pub(crate) async fn a_run_that_waits_keeps_its_lock_however_long(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", Definition { retry: RETRY, ..definition() }).await;
    let run = queue.run("shop.mail", "a", Some("march"));
    queue.change(bulk(run.clone(), &["x", "y"])).await.unwrap();
    let first = queue.claim(&["shop.mail"], 1).await;
    queue.enqueue(queue.run("shop.mail", "b", Some("march"))).await;
    // No agent was there for a day.
    queue.advance(24 * 3600);
    let claimed = queue.claim(&["shop.mail"], 9).await;
    assert!(claimed.iter().all(|claimed| claimed.run.id == run.id), "{claimed:?}");
    for claimed in first.iter().chain(&claimed) {
        queue.end_job(claimed, JobEnd::Succeeded).await.unwrap();
    }
    assert_eq!(queue.claim(&["shop.mail"], 9).await.len(), 1, "its lock is free now");
}

fn bulk(run: OperationRun, keys: &[&str]) -> Write {
    let jobs = keys.iter().map(|key| NewJob {
        key: (*key).to_owned(),
        tenant_id: None,
        payload: Payload::default(),
    });
    Write::InsertBulk(Box::new(NewBulk { run, jobs: jobs.collect(), supersedes: false }))
}

pub(crate) async fn a_bulk_run_is_accepted_with_its_jobs(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.run("shop.mail", "a", Some("march"));
    let twice = conflict(queue.change(bulk(run.clone(), &["x", "x"])).await);
    assert!(matches!(twice, Conflict::DuplicateJob { .. }), "{twice}");
    queue.change(bulk(run.clone(), &["x", "y"])).await.unwrap();
    assert_eq!(queue.read(&run).await.jobs, Some(JobCounts::queued(2)));
    let again = queue.run("shop.mail", "a", Some("march"));
    assert_eq!(conflict(queue.change(bulk(again, &["z"])).await), Conflict::ActiveRun(run.id));
    let claimed = queue.claim(&["shop.mail"], 9).await;
    let keys: Vec<_> = claimed.iter().map(|it| it.job.as_ref().unwrap().key.clone()).collect();
    assert_eq!(keys, ["x", "y"], "in their order");
    assert_eq!(queue.read(&run).await.waiting().map(|it| it.waits_for), Some(WaitsFor::Jobs));
    for claimed in &claimed {
        queue.end_job(claimed, JobEnd::Succeeded).await.unwrap();
    }
    let ended = queue.read(&run).await;
    assert_eq!(ended.state, RunState::Completed(End::Succeeded));
    assert_eq!(ended.summary_counts.get(CountKey::Processed), 2);
}

pub(crate) async fn a_final_failure_of_a_job_is_not_tried_again(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.run("shop.mail", "a", None);
    queue.change(bulk(run.clone(), &["x"])).await.unwrap();
    let claimed = queue.claim(&["shop.mail"], 1).await;
    let end = EndJob {
        run_id: run.id,
        key: "x".to_owned(),
        attempt: claimed[0].job.as_ref().unwrap().attempt,
        end: JobEnd::Failed,
        is_final: true,
        at: fixture.now(),
        random: 0,
        counts: Vec::new(),
        failures: Vec::new(),
    };
    queue.change(Write::EndJob(end)).await.unwrap();
    let ended = queue.read(&run).await;
    assert_eq!((ended.state, ended.is_dead_letter), (RunState::Completed(End::Failed), true));
}

pub(crate) async fn a_job_given_back_in_order_is_not_interrupted_however_often(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    queue.claim(&["shop.mail"], 1).await;
    queue.fan_out(&run, &["x"]).await;
    let give_back = |attempt, end| Write::InterruptJob {
        run_id: run.id,
        key: "x".to_owned(),
        attempt,
        end,
        at: fixture.now(),
    };
    for attempt in 1..=RUN_ATTEMPTS_MAX + 2 {
        let claimed = queue.claim(&["shop.mail"], 1).await;
        let job = claimed[0].job.as_ref().unwrap();
        assert_eq!((job.attempt, job.interruptions, job.failures), (attempt, 0, 0));
        let told = queue.change(give_back(attempt, AttemptEnd::Released)).await.unwrap();
        assert_eq!(told, [], "nothing ended");
    }
    let mut attempt = RUN_ATTEMPTS_MAX + 2;
    let ended = loop {
        let claimed = queue.claim(&["shop.mail"], 1).await;
        attempt += 1;
        assert_eq!(claimed.len(), 1);
        let told = queue.change(give_back(attempt, AttemptEnd::Interrupted)).await.unwrap();
        if let Some(notice) = told.first() {
            break notice.clone();
        }
    };
    assert_eq!(attempt, 2 * RUN_ATTEMPTS_MAX + 2, "only lost workers count");
    assert_eq!(ended.what, Noticed::Ended { end: End::Failed, superseded_by: None });
    let job = fixture.store.job(run.id, "x".to_owned()).await.unwrap().unwrap();
    let found = (job.state, job.attempt);
    let expect = (JobState::Ended(JobEnd::Failed), attempt + 1);
    assert_eq!(found, expect, "what its last worker says late is of an attempt before");
}
