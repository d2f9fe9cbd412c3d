mod queue;

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::base::ids::RunId;
use crate::base::limits::{FOLLOW_EVENTS_MAX, RUN_ATTEMPTS_MAX};
use crate::domain::runs::{
    CountKey, End, Inputs, Outcome as RunOutcome, ReasonCode, RestartProject, Source, Status,
    StepStatus, Undo, Waiting, WaitsFor,
};
use crate::operations::harness::{Agent, Host};
use crate::operations::{
    Admitted, Answer, CancelError, Followed, Request, RunEnd, Step, StepError,
};
use crate::store::{AuditFilter, PageRequest};

/// What a scripted operation does, by project.
#[derive(Debug, Clone, Copy)]
enum Script {
    /// Takes three steps of one second each.
    Steps,
    /// Takes one step that never ends.
    Hangs,
    /// Panics after its first step.
    Panics,
    /// Its first step fails.
    Fails,
    /// Waits a minute in its first attempt, then takes its steps.
    BacksOff,
}

#[derive(Debug, thiserror::Error)]
#[error("a planted failure")]
struct Planted;

/// Does what the project's script says, and remembers what each attempt was for.
#[derive(Default)]
struct Scripted {
    scripts: BTreeMap<&'static str, Script>,
    purposes: Mutex<Vec<Purpose>>,
    /// Runs that execute now, and the most that ever did.
    live: Mutex<(usize, usize)>,
}

fn step(key: &str) -> Step {
    Step {
        key: key.to_owned(),
        description: format!("take {key}"),
        cause: "the script says so".to_owned(),
        undo: Undo::Nothing,
    }
}

impl Scripted {
    async fn follow(&self, run: &RunContext) -> RunEnd {
        let project = run.run().context.inputs.project().unwrap_or_default().to_owned();
        match self.scripts[project.as_str()] {
            Script::Steps => take_steps(run).await,
            Script::Hangs => match run.step(step("hangs"), std::future::pending()).await {
                Ok(()) => RunEnd::ended(End::Succeeded),
                Err(StepError::<Planted>::Stopped(stop)) => RunEnd::stopped(stop),
                Err(error) => panic!("{error}"),
            },
            Script::Panics => {
                let taken = run.step(step("first"), async { Ok::<_, Planted>(()) }).await;
                panic!("a planted panic after {taken:?}");
            }
            Script::Fails => {
                let failed = run.step(step("fails"), async { Err::<(), _>(Planted) }).await;
                let message = failed.unwrap_err().to_string();
                run.fail(crate::domain::runs::Failure::new(
                    ReasonCode::Internal,
                    "service:web",
                    message,
                ));
                RunEnd::ended(End::Failed)
            }
            Script::BacksOff if run.purpose() == Purpose::First => {
                let until = Some(after(run.ambient().now(), Duration::from_secs(60)));
                RunEnd::waits(Waiting { waits_for: WaitsFor::BakeTime, until })
            }
            Script::BacksOff => take_steps(run).await,
        }
    }
}

async fn take_steps(run: &RunContext) -> RunEnd {
    for key in ["one", "two", "three"] {
        let act = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Planted>(())
        };
        match run.step(step(key), act).await {
            Ok(()) => run.count(CountKey::Started, 1).unwrap(),
            Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
            Err(error) => panic!("{error}"),
        }
    }
    RunEnd::ended(End::Succeeded)
}

impl Operation for Scripted {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        async move {
            self.purposes.lock().unwrap().push(run.purpose());
            {
                let mut live = self.live.lock().unwrap();
                live.0 += 1;
                live.1 = live.1.max(live.0);
            }
            let end = self.follow(&run).await;
            self.live.lock().unwrap().0 -= 1;
            end
        }
        .boxed()
    }
}

/// A host whose agents do what scripts say.
struct Scripts {
    host: Host,
    scripts: BTreeMap<&'static str, Script>,
    others: Vec<(RunType, Arc<dyn Operation>)>,
    /// The operation of the last start.
    scripted: Arc<Scripted>,
}

impl Scripts {
    fn new(scripts: &[(&'static str, Script)]) -> Self {
        let mut host = Host::new();
        host.on_crash = Some(|_| OnCrash::Resume);
        let scripts = scripts.iter().copied().collect();
        Self { host, scripts, others: Vec::new(), scripted: Arc::default() }
    }

    async fn start(&mut self) -> Agent {
        let scripted = Scripted { scripts: self.scripts.clone(), ..Scripted::default() };
        self.scripted = Arc::new(scripted);
        let others = self.others.iter().cloned();
        let ours = Operations::default().with(RunType::RestartProject, self.scripted.clone());
        let operations = others.fold(ours, |all, (run_type, other)| all.with(run_type, other));
        self.host.start_with(|_| operations).await
    }
}

fn request(agent: &Agent, project: &str, services: &[&str]) -> Request {
    let inputs = Inputs::RestartProject(RestartProject {
        project: project.to_owned(),
        services: services.iter().map(|service| (*service).to_owned()).collect(),
    });
    Request::by_owner(&agent.store.scope(), Source::Cli, inputs)
}

async fn submit(agent: &Agent, project: &str) -> OperationRun {
    match agent.door.submit(request(agent, project, &[])).await.unwrap() {
        Admitted::New(run) => run,
        Admitted::Existing(run) => panic!("run {} asks for the same", run.id),
    }
}

/// A run of the project `shop`, in its first step.
async fn begun(agent: &Agent) -> OperationRun {
    let run = submit(agent, "shop").await;
    agent.steps_taken(run.id, 1).await;
    run
}

/// The life after the one in which the agent was killed in a step that would never have ended. Now
/// the run would take its steps.
async fn killed_in_a_step(on_crash: fn(RunType) -> OnCrash) -> (Scripts, Agent, OperationRun) {
    let mut host = Scripts::new(&[("shop", Script::Hangs)]);
    host.host.on_crash = Some(on_crash);
    let agent = host.start().await;
    let run = begun(&agent).await;
    agent.kill().await;
    host.scripts.insert("shop", Script::Steps);
    let agent = host.start().await;
    (host, agent, run)
}

/// The types of a run's audit events, first first.
async fn events(agent: &Agent, id: RunId) -> Vec<&'static str> {
    let mut filter = AuditFilter::workspace(agent.store.scope().workspace_id);
    filter.operation_run_id = Some(id);
    let page = agent.store.audit(filter, PageRequest::default()).await.unwrap();
    page.items.iter().rev().map(|record| record.event.event_type.key()).collect()
}

fn resumed(count: usize) -> Recovered {
    Recovered { resumed: count, ..Recovered::default() }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_executed_recorded_and_ended() {
    let agent = Scripts::new(&[("shop", Script::Steps)]).start().await;
    let run = submit(&agent, "shop").await;
    let mut follower = agent.door.follow(run.id);
    let run = agent.ended(run.id).await.run;
    assert_eq!(run.outcome(), RunOutcome::Succeeded);
    assert_eq!(run.summary_counts.get(CountKey::Started), 3);
    let steps = agent.store.steps(run.id).await.unwrap();
    let told: Vec<_> = steps.iter().map(|step| (step.key.as_str(), step.status)).collect();
    let succeeded = StepStatus::Succeeded;
    assert_eq!(told, [("one", succeeded), ("two", succeeded), ("three", succeeded)]);
    let expect = ["operation_run.queued", "project.restart_started", "project.restarted"];
    assert_eq!(events(&agent, run.id).await, expect);
    let mut news = Vec::new();
    while let Followed::News(heard) = follower.next().await {
        news.push(match &heard.what {
            Happened::Changed(run) => run.state.name().to_owned(),
            Happened::Step(step) => step.status.to_string(),
            Happened::Counted { key, .. } => key.to_string(),
            Happened::Failed(_) | Happened::Log(_) => "?".to_owned(),
        });
        if news.last().is_some_and(|last| last == "completed") {
            break;
        }
    }
    let one_step = ["started", "succeeded", "started"];
    let expect = [&["running"][..], &one_step, &one_step, &one_step, &["completed"]].concat();
    assert_eq!(news, expect);
}

#[tokio::test(start_paused = true)]
async fn runs_of_one_subject_follow_each_other_and_others_run_beside_them() {
    let mut host = Scripts::new(&[("shop", Script::Steps), ("blog", Script::Steps)]);
    let agent = host.start().await;
    let first = submit(&agent, "shop").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let narrower = request(&agent, "shop", &["web"]);
    let second = agent.door.submit(narrower).await.unwrap().run().clone();
    let other = submit(&agent, "blog").await;
    let [first, second, other] = [
        agent.ended(first.id).await.run,
        agent.ended(second.id).await.run,
        agent.ended(other.id).await.run,
    ];
    assert!(second.started_at >= first.completed_at, "one after the other");
    assert!(other.started_at < first.completed_at, "side by side");
    assert_eq!(host.scripted.live.lock().unwrap().1, 2);
}

#[tokio::test(start_paused = true)]
async fn asking_for_the_same_returns_the_active_run() {
    let agent = Scripts::new(&[("shop", Script::Steps)]).start().await;
    let first = submit(&agent, "shop").await;
    let again = agent.door.submit(request(&agent, "shop", &[])).await.unwrap();
    assert!(matches!(&again, Admitted::Existing(run) if run.id == first.id), "{again:?}");
    agent.ended(first.id).await;
    submit(&agent, "shop").await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_run_only() {
    let agent = Scripts::new(&[("shop", Script::Panics), ("blog", Script::Steps)]).start().await;
    let panics = submit(&agent, "shop").await;
    let lives = submit(&agent, "blog").await;
    let panicked = agent.ended(panics.id).await.run;
    assert_eq!(panicked.outcome(), RunOutcome::Failed);
    assert_eq!(panicked.failure_summary[0].reason_code, ReasonCode::RunPanicked);
    assert_eq!(agent.ended(lives.id).await.run.outcome(), RunOutcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_with_its_step_and_its_event() {
    let agent = Scripts::new(&[("shop", Script::Fails)]).start().await;
    let run = submit(&agent, "shop").await;
    let run = agent.ended(run.id).await.run;
    assert_eq!(run.failure_summary[0].message.as_str(), "a planted failure");
    let steps = agent.store.steps(run.id).await.unwrap();
    assert_eq!(steps[0].detail.as_ref().unwrap().as_str(), "a planted failure");
    assert_eq!(events(&agent, run.id).await.last(), Some(&"project.restart_failed"));
}

#[tokio::test(start_paused = true)]
async fn a_type_without_an_operation_fails_with_the_reason() {
    let agent = Scripts::new(&[]).start().await;
    let mut request = request(&agent, "shop", &[]);
    request.inputs = Inputs::RemoveProject(crate::domain::runs::RemoveProject {
        project: "shop".to_owned(),
        volumes: false,
    });
    let run = agent.door.submit(request).await.unwrap().run().clone();
    let run = agent.ended(run.id).await.run;
    assert_eq!(run.failure_summary[0].reason_code, ReasonCode::RunTypeUnsupported);
}

#[tokio::test(start_paused = true)]
async fn a_running_run_is_cancelled_between_steps_and_a_queued_one_at_once() {
    let agent = Scripts::new(&[("shop", Script::Steps)]).start().await;
    let workspace = agent.store.scope().workspace_id;
    let cancel = async |id| agent.door.cancel(workspace, id, Actor::agent()).await;
    let running = submit(&agent, "shop").await;
    agent.steps_taken(running.id, 1).await;
    let other = request(&agent, "shop", &["db"]);
    let queued = agent.door.submit(other).await.unwrap().run().clone();
    assert_eq!(cancel(queued.id).await.unwrap().outcome(), RunOutcome::Cancelled);
    assert_eq!(cancel(running.id).await.unwrap().status(), Status::Running);
    cancel(running.id).await.expect("asking twice changes nothing");
    let run = agent.ended(running.id).await.run;
    assert_eq!(run.outcome(), RunOutcome::Cancelled);
    assert_eq!(agent.store.steps(run.id).await.unwrap().len(), 1, "no step began after it");
    assert!(matches!(cancel(run.id).await, Err(CancelError::Ended(_))));
    assert!(matches!(cancel(RunId::from_u128(9)).await, Err(CancelError::NotFound(_))));
    let expect = [
        "operation_run.queued",
        "project.restart_started",
        "operation_run.cancel_requested",
        "operation_run.cancelled",
    ];
    assert_eq!(events(&agent, run.id).await, expect);
}

#[tokio::test(start_paused = true)]
async fn a_drained_run_stops_at_a_safe_step_and_goes_on_at_the_next_start() {
    let mut host = Scripts::new(&[("shop", Script::Steps)]);
    let agent = host.start().await;
    let run = begun(&agent).await;
    agent.runner.drain(Duration::from_secs(30)).await;
    assert_eq!(agent.run(run.id).await.state, RunState::Ready);
    let closed = agent.door.submit(request(&agent, "shop", &[])).await;
    assert!(matches!(closed, Err(crate::operations::SubmitError::Closed)));
    agent.kill().await;

    let agent = host.start().await;
    assert_eq!(agent.recovered, Recovered::default(), "it was left in order");
    let run = agent.ended(run.id).await.run;
    assert_eq!((run.outcome(), run.attempt), (RunOutcome::Succeeded, 2));
    assert_eq!(*host.scripted.purposes.lock().unwrap(), [Purpose::Resume]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_reach_a_safe_step_in_time_is_left_where_it_is() {
    let mut host = Scripts::new(&[("shop", Script::Hangs)]);
    let agent = host.start().await;
    let run = begun(&agent).await;
    let asked_at = tokio::time::Instant::now();
    agent.runner.drain(Duration::from_secs(30)).await;
    assert!(asked_at.elapsed() < Duration::from_secs(31));
    let steps = agent.store.steps(run.id).await.unwrap();
    assert_eq!(steps[0].status, StepStatus::Unknown, "it may have acted");
    assert_eq!(agent.run(run.id).await.state, RunState::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_killed_run_is_taken_over_at_once_and_its_open_step_is_unknown() {
    let (_, agent, run) = killed_in_a_step(|_| OnCrash::Resume).await;
    assert_eq!(agent.recovered, resumed(1));
    let run = agent.ended(run.id).await.run;
    assert_eq!((run.outcome(), run.attempt), (RunOutcome::Succeeded, 2));
    let steps = agent.store.steps(run.id).await.unwrap();
    assert_eq!((steps[0].attempt, steps[0].status), (1, StepStatus::Unknown));
    let expect = [
        "operation_run.queued",
        "project.restart_started",
        "operation_run.interrupted",
        "operation_run.retried",
        "project.restarted",
    ];
    assert_eq!(events(&agent, run.id).await, expect);
    assert_eq!(agent.store.verify_audit().await.unwrap().breaks, []);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_is_undone_after_a_crash_is_undone() {
    let (host, agent, run) = killed_in_a_step(|_| OnCrash::Undo).await;
    agent.ended(run.id).await;
    assert_eq!(*host.scripted.purposes.lock().unwrap(), [Purpose::Undo]);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_asks_after_a_crash_waits_for_the_answer() {
    let (_, agent, run) = killed_in_a_step(|_| OnCrash::Ask).await;
    assert_eq!(agent.recovered.asking, 1);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let waiting = agent.run(run.id).await;
    assert_eq!(waiting.waiting().map(|waiting| waiting.waits_for), Some(WaitsFor::Answer));
    let workspace = agent.store.scope().workspace_id;
    let answer = agent.door.answer(workspace, run.id, Answer::Continue, Actor::agent());
    answer.await.unwrap();
    assert_eq!(agent.ended(run.id).await.run.outcome(), RunOutcome::Succeeded);
    let late = agent.door.answer(workspace, run.id, Answer::Continue, Actor::agent());
    assert!(matches!(late.await, Err(CancelError::NotAsking(_))));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_kills_the_agent_again_and_again_is_given_up() {
    let mut host = Scripts::new(&[("shop", Script::Hangs)]);
    let mut agent = host.start().await;
    let run = submit(&agent, "shop").await;
    for start in 1..=RUN_ATTEMPTS_MAX {
        agent.until(run.id, |run| run.attempt == start).await;
        agent.kill().await;
        agent = host.start().await;
    }
    let run = agent.run(run.id).await;
    assert_eq!(run.outcome(), RunOutcome::Failed);
    assert_eq!(run.failure_summary[0].reason_code, ReasonCode::RunAttemptsExhausted);
    assert_eq!(run.attempt, RUN_ATTEMPTS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_survives_the_crash_of_the_agent_that_took_it() {
    let mut host = Scripts::new(&[("shop", Script::Hangs)]);
    let agent = host.start().await;
    let run = begun(&agent).await;
    let workspace = agent.store.scope().workspace_id;
    agent.door.cancel(workspace, run.id, Actor::agent()).await.unwrap();
    agent.kill().await;
    let agent = host.start().await;
    assert_eq!(agent.recovered.ended, 1);
    assert_eq!(agent.run(run.id).await.outcome(), RunOutcome::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_given_by_an_answer_that_got_lost_is_taken_back() {
    let agent = Scripts::new(&[("shop", Script::Steps)]).start().await;
    // It is written behind the runner, and claimed in its name.
    let wanted = request(&agent, "shop", &[]);
    let definition = RunType::RestartProject.built_in().unwrap();
    let run = agent.door.queued(&wanted, definition).unwrap();
    let event = run_event(
        &agent.ambient,
        &run,
        EventType::RunQueued,
        Outcome::Info,
        Actor::agent(),
        "somebody asked for it",
    );
    let id = run.id;
    agent.store.commit(vec![Write::InsertRun(Box::new(run))], event.into()).await.unwrap();
    let claim = Claim {
        claimant: Claimant {
            holder: agent.runner.holder(),
            tenants: Tenants::All,
            at: agent.ambient.now(),
        },
        workspace_id: None,
        run_types: agent.runner.run_types(),
        limit: 1,
        teller: crate::operations::events::teller(&agent.ambient, Actor::agent()),
    };
    assert_eq!(agent.store.claim(claim).await.unwrap().len(), 1);
    let ended = agent.ended(id).await.run;
    assert_eq!((ended.outcome(), ended.attempt), (RunOutcome::Succeeded, 2));
    let took = between(ended.created_at, ended.completed_at.unwrap());
    assert!(took < HEARTBEAT_INTERVAL + Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_gives_up_its_worker_and_goes_on_in_time() {
    let agent = Scripts::new(&[("shop", Script::BacksOff)]).start().await;
    let run = submit(&agent, "shop").await;
    let waiting = agent.until(run.id, |run| run.waiting().is_some()).await;
    assert_eq!(waiting.status(), Status::Running);
    let ended = agent.ended(run.id).await.run;
    assert_eq!((ended.outcome(), ended.attempt), (RunOutcome::Succeeded, 2));
    let took = between(ended.created_at, ended.completed_at.unwrap());
    assert!(took >= Duration::from_secs(63) && took < Duration::from_secs(65), "{took:?}");
    let events = events(&agent, run.id).await;
    assert_eq!(events[2..4], ["operation_run.waiting", "operation_run.woken"]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_lags_is_told() {
    let agent = Scripts::new(&[]).start().await;
    let run = RunId::from_u128(1);
    let mut follower = agent.door.follow(run);
    for _ in 0..=FOLLOW_EVENTS_MAX {
        let line = Happened::Log("a line".into());
        agent.runner.signals.publish(run, agent.ambient.now(), line);
    }
    assert_eq!(follower.next().await, Followed::Lagged);
    assert!(matches!(follower.next().await, Followed::News(_)));
}

#[tokio::test(start_paused = true)]
async fn only_a_loop_that_turns_proves_that_it_does() {
    let agent = Scripts::new(&[("shop", Script::Hangs)]).start().await;
    let run = submit(&agent, "shop").await;
    agent.steps_taken(run.id, 1).await;
    let soon = Duration::from_secs(1);
    // A worker that hangs is no reason to stop the agent.
    tokio::time::timeout(soon, agent.runner.turn()).await.unwrap();
    let runner = Arc::clone(&agent.runner);
    agent.kill().await;
    let stands_still = tokio::time::timeout(Duration::from_secs(600), runner.turn()).await;
    assert!(stands_still.is_err(), "a loop that is gone proved itself");
}
