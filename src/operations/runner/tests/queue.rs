use serde_json::json;

use super::*;
use crate::domain::access::Capability;
use crate::domain::runs::{
    Definition, Hosted, HostedType, Job, JobCounts, JobEnd, JobState, JobStatus, Payload, Priority,
    QueueControl, QueueScope, Retry,
};
use crate::operations::hosted::ClaimRequest;
use crate::operations::{JobContext, QueueError};
use crate::store::{AttemptRef, JobFilter, NewJob};

/// Executes runs of the hosted type `test.work`: the payload says what they do.
#[derive(Default)]
struct Worker {
    /// What began, first first: `a/1` is the first attempt of run `a`, `a:x/2` the second of a job.
    began: Mutex<Vec<String>>,
}

fn run_type() -> RunType {
    "test.work".parse().unwrap()
}

fn definition() -> Definition {
    Definition {
        label: "Work".into(),
        capability: Capability::RunsEnqueue,
        on_crash: OnCrash::Resume,
        counts: vec![CountKey::Total, CountKey::Processed].into(),
        reason_codes: Vec::new().into(),
        retry: Retry {
            attempts_max: 3,
            first: Duration::from_secs(10),
            factor: 2,
            longest: Duration::from_secs(60),
            jitter_percent: 0,
        },
        timeout: Some(Duration::from_secs(5)),
        lease: Duration::from_secs(30),
        priority: Priority(0),
        supersedes: false,
    }
}

fn wanted(payload: &Payload) -> String {
    payload.value()["do"].as_str().unwrap_or_default().to_owned()
}

impl Operation for Worker {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        async move {
            let Inputs::Hosted(hosted) = &run.run().context.inputs else { unreachable!() };
            let key = hosted.identity.clone().unwrap_or_default();
            self.began.lock().unwrap().push(format!("{key}/{}", run.attempt()));
            let wanted = wanted(&hosted.payload);
            match wanted.split_once(' ') {
                Some(("jobs", wanted)) => {
                    let jobs = wanted.split(' ').map(|word| NewJob {
                        key: word.to_owned(),
                        tenant_id: None,
                        payload: Payload::new(&json!({ "do": word })).unwrap(),
                    });
                    let jobs: Vec<_> = jobs.collect();
                    run.count(CountKey::Total, jobs.len() as u64).unwrap();
                    RunEnd::fans_out(jobs)
                }
                _ if wanted == "hang" => RunEnd::stopped(run.stopped().await),
                _ if wanted == "sleep" => std::future::pending().await,
                _ if wanted == "fail twice" && run.attempt() < 3 => RunEnd::ended(End::Failed),
                _ if wanted == "fail" => RunEnd::ended(End::Failed),
                _ => RunEnd::ended(End::Succeeded),
            }
        }
        .boxed()
    }

    fn execute_job(&self, job: JobContext) -> BoxFuture<'_, JobEnd> {
        async move {
            let Job { key, attempt, payload, .. } = job.job();
            self.began.lock().unwrap().push(format!("{key}/{attempt}"));
            job.count(CountKey::Processed, 1).unwrap();
            match wanted(payload).trim_end_matches(char::is_numeric) {
                "hang" => loop {
                    match job.stop() {
                        Some(_) => break JobEnd::Cancelled,
                        None => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                },
                "fail" => JobEnd::Failed,
                "panic" => panic!("a planted panic"),
                "skip" => JobEnd::Skipped,
                _ => JobEnd::Succeeded,
            }
        }
        .boxed()
    }
}

/// An agent that executes `test.work`, defined so.
async fn agent(definition: Definition) -> (Agent, Arc<Worker>) {
    let worker = Arc::new(Worker::default());
    let mut host = Scripts::new(&[]);
    host.others = vec![(run_type(), Arc::clone(&worker) as _)];
    let agent = host.start().await;
    agent.register(definition).await;
    (agent, worker)
}

impl Agent {
    async fn register(&self, definition: Definition) {
        let RunType::Hosted(name) = run_type() else { unreachable!() };
        let hosted = HostedType {
            workspace_id: self.store.scope().workspace_id,
            name,
            definition,
            registered_at: self.ambient.now(),
            updated_at: self.ambient.now(),
        };
        self.door.register(hosted, Actor::agent()).await.unwrap();
    }

    fn asks(&self, key: &str, what: &str) -> Request {
        let RunType::Hosted(name) = run_type() else { unreachable!() };
        let inputs = Inputs::Hosted(Hosted {
            run_type: name,
            payload: Payload::new(&json!({ "do": what })).unwrap(),
            identity: Some(key.to_owned()),
            subject: None,
        });
        Request::by_owner(&self.store.scope(), Source::Api, inputs)
    }

    async fn ask(&self, key: &str, what: &str) -> OperationRun {
        self.door.submit(self.asks(key, what)).await.unwrap().run().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_type_that_retries_is_tried_again_with_growing_pauses() {
    let (agent, worker) = agent(definition()).await;
    let run = agent.ask("a", "fail twice").await;
    let ended = agent.ended(run.id).await.run;
    assert_eq!((ended.outcome(), ended.failures), (RunOutcome::Succeeded, 2));
    let took = between(ended.created_at, ended.completed_at.unwrap());
    assert!(took >= Duration::from_secs(30) && took < Duration::from_secs(32), "{took:?}");
    assert_eq!(*worker.began.lock().unwrap(), ["a/1", "a/2", "a/3"]);
    let expect = [
        "operation_run.queued",
        "operation_run.started",
        "operation_run.attempt_failed",
        "operation_run.retried",
        "operation_run.attempt_failed",
        "operation_run.retried",
        "operation_run.completed",
    ];
    assert_eq!(events(&agent, run.id).await, expect);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_failed_and_the_last_one_leaves_a_dead_letter() {
    let (agent, worker) = agent(definition()).await;
    let run = agent.ask("a", "sleep").await;
    let ended = agent.ended(run.id).await.run;
    assert_eq!((ended.outcome(), ended.is_dead_letter), (RunOutcome::Failed, true));
    assert_eq!(ended.failure_summary.len(), 3);
    assert_eq!(ended.failure_summary[0].reason_code, ReasonCode::RunTimedOut);
    let took = between(ended.created_at, ended.completed_at.unwrap());
    assert!(took >= Duration::from_secs(45) && took < Duration::from_secs(48), "{took:?}");

    let (workspace, asks) = (ended.workspace_id, agent.asks("a", "sleep"));
    let again = agent.door.retry(workspace, run.id, false, &asks).await.unwrap();
    assert_eq!(again.retried_from, Some(run.id));
    let refused = agent.door.dismiss(workspace, run.id, Actor::agent()).await;
    assert!(matches!(refused, Err(QueueError::NotDead(_))), "{refused:?}");
    agent.until(again.id, |run| run.failures == 1).await;
    assert_eq!(worker.began.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_jobs_of_a_bulk_run_are_executed_tried_again_and_counted_once() {
    let (agent, worker) = agent(definition()).await;
    let run = agent.ask("a", "jobs ok1 skip fail panic ok2").await;
    let ended = agent.ended(run.id).await.run;
    let jobs = JobCounts { succeeded: 2, skipped: 1, failed: 2, ..JobCounts::default() };
    assert_eq!((ended.outcome(), ended.jobs), (RunOutcome::PartiallySucceeded, Some(jobs)));
    assert_eq!(ended.summary_counts.get(CountKey::Total), 5);
    assert_eq!(ended.summary_counts.get(CountKey::Processed), 5);
    assert_eq!(ended.failure_summary[0].reason_code, ReasonCode::RunPanicked);
    assert_eq!(worker.began.lock().unwrap().len(), 1 + 3 + 3 + 3, "two jobs in three attempts");
    let expect = [
        "operation_run.queued",
        "operation_run.started",
        "operation_run.waiting",
        "operation_run.completed",
    ];
    assert_eq!(events(&agent, run.id).await, expect);

    worker.began.lock().unwrap().clear();
    let asks = agent.asks("a", "");
    let again = agent.door.retry(run.workspace_id, run.id, true, &asks).await.unwrap();
    agent.ended(again.id).await;
    let mut began = worker.began.lock().unwrap().clone();
    began.sort();
    assert_eq!(began, ["fail/1", "fail/2", "fail/3", "panic/1", "panic/2", "panic/3"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stops_in_order_gives_its_jobs_back_uncounted() {
    let worker = Arc::new(Worker::default());
    let mut host = Scripts::new(&[]);
    host.others = vec![(run_type(), Arc::clone(&worker) as _)];
    let mut agent = host.start().await;
    agent.register(Definition { timeout: None, ..definition() }).await;
    let run = agent.ask("a", "jobs hang").await;
    let at_work = |jobs: JobCounts| jobs.running == 1;
    for attempt in 1..=RUN_ATTEMPTS_MAX + 1 {
        agent.until(run.id, |run| run.jobs.is_some_and(at_work)).await;
        agent.runner.drain(Duration::from_secs(30)).await;
        let job = agent.store.job(run.id, "hang".to_owned()).await.unwrap().unwrap();
        let found = (job.state, job.attempt, job.interruptions, job.failures);
        assert_eq!(found, (JobState::Queued, attempt, 0, 0));
        agent.kill().await;
        agent = host.start().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_bulk_run_stops_its_jobs_and_begins_no_further_ones() {
    let slow = Definition { timeout: None, ..definition() };
    let (agent, worker) = agent(slow).await;
    let run = agent.ask("a", "jobs hang1 hang2 hang3 hang4 hang5 hang6").await;
    agent.until(run.id, |run| run.jobs.is_some_and(|jobs| jobs.running == 4)).await;
    let workspace = run.workspace_id;
    agent.door.cancel(workspace, run.id, Actor::agent()).await.unwrap();
    let ended = agent.ended(run.id).await.run;
    let jobs = JobCounts { cancelled: 6, ..JobCounts::default() };
    assert_eq!((ended.outcome(), ended.jobs), (RunOutcome::Cancelled, Some(jobs)));
    assert_eq!(worker.began.lock().unwrap().len(), 5, "as many jobs as workers");
    let filter = JobFilter { run_id: run.id, statuses: vec![JobStatus::Cancelled] };
    let jobs = agent.store.jobs(filter, PageRequest::default()).await.unwrap().items;
    assert!(jobs.iter().all(|job| job.state == JobState::Ended(JobEnd::Cancelled)));
    let refused = agent.door.cancel(workspace, run.id, Actor::agent()).await;
    assert!(matches!(refused, Err(CancelError::Ended(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_type_begins_nothing_until_it_goes_on() {
    let (agent, worker) = agent(definition()).await;
    let workspace_id = agent.store.scope().workspace_id;
    let control = |is_paused| QueueControl {
        workspace_id,
        scope: QueueScope::Type(run_type()),
        is_paused,
        concurrency_max: None,
    };
    agent.door.control(control(true), Actor::agent()).await.unwrap();
    let run = agent.ask("a", "ok").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(agent.run(run.id).await.status(), Status::Queued);
    agent.door.control(control(false), Actor::agent()).await.unwrap();
    assert_eq!(agent.ended(run.id).await.run.outcome(), RunOutcome::Succeeded);
    assert_eq!(*worker.began.lock().unwrap(), ["a/1"]);
    assert_eq!(agent.store.queue_controls(workspace_id).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_newer_run_makes_an_older_one_of_its_subject_stop() {
    let newest_only = Definition { supersedes: true, timeout: None, ..definition() };
    let (agent, _) = agent(newest_only).await;
    let on_main = |key: &str, what: &str| {
        let mut request = agent.asks(key, what);
        if let Inputs::Hosted(hosted) = &mut request.inputs {
            hosted.subject = Some(crate::domain::runs::Subject::app("main"));
        }
        request
    };
    let old = agent.door.submit(on_main("a", "hang")).await.unwrap().run().clone();
    agent.until(old.id, |run| run.state == RunState::Running).await;
    let new = agent.door.submit(on_main("b", "ok")).await.unwrap().run().clone();
    let old = agent.ended(old.id).await.run;
    assert_eq!(old.outcome(), RunOutcome::Cancelled);
    assert_eq!(old.failure_summary[0].reason_code, ReasonCode::RunSuperseded);
    assert_eq!(agent.ended(new.id).await.run.outcome(), RunOutcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_ours_begins_in_the_transaction_that_accepts_it() {
    let agent = Scripts::new(&[("shop", Script::Steps), ("blog", Script::Steps)]).start().await;
    // The runner has to be there before it has free workers.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let run = submit(&agent, "shop").await;
    assert_eq!((run.state, run.attempt), (RunState::Running, 1));
    assert_eq!(agent.ended(run.id).await.run.outcome(), RunOutcome::Succeeded);
    let mut later = request(&agent, "blog", &[]);
    later.run_at = Some(after(agent.ambient.now(), Duration::from_secs(3600)));
    let later = agent.door.submit(later).await.unwrap().run().clone();
    assert_eq!(later.state, RunState::Queued);
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(agent.run(later.id).await.state, RunState::Queued);
    tokio::time::sleep(Duration::from_secs(200)).await;
    let ended = agent.ended(later.id).await.run;
    let waited = between(later.created_at, ended.started_at.unwrap());
    assert!(
        waited >= Duration::from_secs(3600) && waited < Duration::from_secs(3602),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_names_the_new_run_is_not_recorded_for_one_that_does_the_same() {
    let agent = Scripts::new(&[("shop", Script::Hangs)]).start().await;
    let run = begun(&agent).await;
    let mut again = request(&agent, "shop", &[]);
    let what = (EventType::ProjectRestarted, Outcome::Info, Actor::agent());
    again.events = vec![run_event(&agent.ambient, &run, what.0, what.1, what.2, "beside it")];
    again.run_id = Some(RunId::from_u128(5));
    let before = events(&agent, run.id).await;
    let admitted = agent.door.submit(again.clone()).await.unwrap();
    assert!(matches!(&admitted, Admitted::Existing(found) if found.id == run.id));
    assert_eq!(events(&agent, run.id).await, before);
    again.run_id = None;
    agent.door.submit(again).await.unwrap();
    let told = events(&agent, run.id).await;
    assert_eq!(told[before.len()..], ["operation_run.asked_again", "project.restarted"]);
}

#[tokio::test(start_paused = true)]
async fn the_work_of_a_hosted_worker_is_taken_over_as_soon_as_its_lease_ends() {
    let agent = Scripts::new(&[]).start().await;
    let lease = Duration::from_secs(17);
    agent.register(Definition { lease, timeout: None, ..definition() }).await;
    let hosted = agent.runner.hosted();
    let claim = |worker: &str, wait| ClaimRequest {
        run_types: vec![run_type()],
        limit: 1,
        worker: worker.to_owned(),
        wait: Duration::from_secs(wait),
    };
    let run = agent.ask("a", "ok").await;
    let first = hosted.claim(claim("one", 0)).await.unwrap();
    assert_eq!((first[0].run.id, first[0].run.attempt), (run.id, 1));
    // A sign of life makes it longer: the look at its first end finds nothing.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let attempt = AttemptRef { run_id: run.id, job: None, attempt: 1 };
    let heard = hosted.heartbeat(attempt).await.unwrap();
    let second = hosted.claim(claim("two", 40)).await.unwrap();
    assert_eq!((second[0].run.id, second[0].run.attempt), (run.id, 2));
    let late = between(heard.lease_until, agent.ambient.now());
    assert!(agent.ambient.now() >= heard.lease_until, "no lease is broken");
    assert!(late < Duration::from_millis(100), "{late:?}");
}
