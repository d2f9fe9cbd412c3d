mod queue;

use std::collections::BTreeMap;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::base::crash_points::NoCrashPoints;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::RunId;
use crate::base::limits::{FOLLOW_EVENTS_MAX, RUN_ATTEMPTS_MAX};
use crate::base::{Clock, Timestamp};
use crate::domain::runs::{
    CountKey, End, Inputs, Outcome as RunOutcome, ReasonCode, RestartProject, Source, Status,
    StepStatus, Undo, Waiting, WaitsFor,
};
use crate::operations::{
    Admitted, Answer, CancelError, Followed, Request, RunEnd, Step, StepError,
};
use crate::store::keys::Keys;
use crate::store::sqlite::{self, Mode, Opening};
use crate::store::{AuditFilter, PageRequest};
use crate::world::tasks::Supervisor;

/// A clock that moves with tokio's paused time.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        after("2026-01-01T00:00:00Z".parse().unwrap(), self.0.elapsed())
    }
}

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

/// One process: a runner on a store, with an operation that follows a script.
struct Process {
    store: Arc<dyn Store>,
    ambient: Ambient,
    runner: Arc<Runner>,
    door: Door,
    scripted: Arc<Scripted>,
    supervisor: Supervisor,
}

/// What outlives a process.
struct Host {
    dir: TempDir,
    ambient: Ambient,
    starts: u64,
    on_crash: fn(RunType) -> OnCrash,
    scripts: BTreeMap<&'static str, Script>,
    others: Vec<(RunType, Arc<dyn Operation>)>,
}

impl Host {
    fn new(scripts: &[(&'static str, Script)]) -> Self {
        let ambient = Ambient {
            clock: Arc::new(PausedClock(tokio::time::Instant::now())),
            entropy: Arc::new(SeededEntropy::new(1)),
            crash_points: Arc::new(NoCrashPoints),
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            ambient,
            starts: 0,
            on_crash: |_| OnCrash::Resume,
            scripts: scripts.iter().copied().collect(),
            others: Vec::new(),
        }
    }

    /// Starts a process; it recovers, and serves.
    async fn start(&mut self) -> (Process, Recovered) {
        self.starts += 1;
        let keys = Keys::open_or_create(self.dir.path(), &*self.ambient.entropy).unwrap();
        let opened = sqlite::open(Opening {
            state_dir: self.dir.path(),
            keys: &keys,
            ambient: &self.ambient,
            os_user: "ada",
            hostname: "host-1",
            agent_version: "0.0.0",
            mode: Mode::Inline,
        });
        let store: Arc<dyn Store> = opened.unwrap().store;
        let scripted = Arc::new(Scripted { scripts: self.scripts.clone(), ..Scripted::default() });
        let supervisor = Supervisor::new();
        let mut options = RunnerOptions::new(format!("start-{}", self.starts));
        options.on_crash = self.on_crash;
        let mut operations =
            Operations::default().with(RunType::RestartProject, Arc::clone(&scripted) as _);
        for (run_type, operation) in &self.others {
            operations = operations.with(*run_type, Arc::clone(operation));
        }
        let runner = Runner::new(
            Arc::clone(&store),
            self.ambient.clone(),
            operations,
            Arc::new(supervisor.clone()),
            options,
        );
        let recovered = runner.start().await.unwrap();
        let _served = supervisor.spawn("runner", Arc::clone(&runner).serve().boxed());
        let door = runner.door();
        let ambient = self.ambient.clone();
        (Process { store, ambient, runner, door, scripted, supervisor }, recovered)
    }
}

impl Process {
    fn request(&self, project: &str) -> Request {
        let inputs = Inputs::RestartProject(RestartProject {
            project: project.to_owned(),
            services: Vec::new(),
        });
        Request::by_owner(&self.store.scope(), Source::Cli, inputs)
    }

    async fn submit(&self, project: &str) -> OperationRun {
        match self.door.submit(self.request(project)).await.unwrap() {
            Admitted::New(run) => run,
            Admitted::Existing(run) => panic!("run {} asks for the same", run.id),
        }
    }

    async fn read(&self, id: RunId) -> OperationRun {
        self.store.run(id).await.unwrap().unwrap()
    }

    /// Waits until the run is as the test wants it.
    async fn until(&self, id: RunId, wanted: impl Fn(&OperationRun) -> bool) -> OperationRun {
        let wait = async {
            loop {
                let run = self.read(id).await;
                if wanted(&run) {
                    return run;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(600), wait).await {
            Ok(run) => run,
            Err(_) => panic!("the run never got there: {:?}", self.read(id).await),
        }
    }

    async fn ended(&self, id: RunId) -> OperationRun {
        self.until(id, |run| run.state.is_completed()).await
    }

    async fn step_taken(&self, id: RunId) {
        while self.store.steps(id).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The types of a run's audit events, first first.
    async fn events(&self, id: RunId) -> Vec<&'static str> {
        let mut filter = AuditFilter::workspace(self.store.scope().workspace_id);
        filter.operation_run_id = Some(id);
        let page = self.store.audit(filter, PageRequest::default()).await.unwrap();
        page.items.iter().rev().map(|record| record.event.event_type.key()).collect()
    }

    /// Every task stops where it is, as when the process is killed.
    async fn kill(self) {
        self.supervisor.shut_down(Duration::ZERO).await;
    }
}

fn resumed(count: usize) -> Recovered {
    Recovered { resumed: count, ..Recovered::default() }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_executed_recorded_and_ended() {
    let (process, _) = Host::new(&[("shop", Script::Steps)]).start().await;
    let run = process.submit("shop").await;
    let mut follower = process.door.follow(run.id);
    let run = process.ended(run.id).await;
    assert_eq!(run.outcome(), RunOutcome::Succeeded);
    assert_eq!(run.summary_counts.get(CountKey::Started), 3);
    let steps = process.store.steps(run.id).await.unwrap();
    let told: Vec<_> = steps.iter().map(|step| (step.key.as_str(), step.status)).collect();
    let succeeded = StepStatus::Succeeded;
    assert_eq!(told, [("one", succeeded), ("two", succeeded), ("three", succeeded)]);
    let expect = ["operation_run.queued", "project.restart_started", "project.restarted"];
    assert_eq!(process.events(run.id).await, expect);
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
    let (process, _) = Host::new(&[("shop", Script::Steps), ("blog", Script::Steps)]).start().await;
    let first = process.submit("shop").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut narrower = process.request("shop");
    narrower.inputs = Inputs::RestartProject(RestartProject {
        project: "shop".to_owned(),
        services: vec!["web".to_owned()],
    });
    let second = process.door.submit(narrower).await.unwrap().run().clone();
    let other = process.submit("blog").await;
    let [first, second, other] = [
        process.ended(first.id).await,
        process.ended(second.id).await,
        process.ended(other.id).await,
    ];
    assert!(second.started_at >= first.completed_at, "one after the other");
    assert!(other.started_at < first.completed_at, "side by side");
    assert_eq!(process.scripted.live.lock().unwrap().1, 2);
}

#[tokio::test(start_paused = true)]
async fn asking_for_the_same_returns_the_active_run() {
    let (process, _) = Host::new(&[("shop", Script::Steps)]).start().await;
    let first = process.submit("shop").await;
    let again = process.door.submit(process.request("shop")).await.unwrap();
    assert!(matches!(&again, Admitted::Existing(run) if run.id == first.id), "{again:?}");
    process.ended(first.id).await;
    process.submit("shop").await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_run_only() {
    let (process, _) =
        Host::new(&[("shop", Script::Panics), ("blog", Script::Steps)]).start().await;
    let panics = process.submit("shop").await;
    let lives = process.submit("blog").await;
    let panicked = process.ended(panics.id).await;
    assert_eq!(panicked.outcome(), RunOutcome::Failed);
    assert_eq!(panicked.failure_summary[0].reason_code, ReasonCode::RunPanicked);
    assert_eq!(process.ended(lives.id).await.outcome(), RunOutcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_with_its_step_and_its_event() {
    let (process, _) = Host::new(&[("shop", Script::Fails)]).start().await;
    let run = process.submit("shop").await;
    let run = process.ended(run.id).await;
    assert_eq!(run.failure_summary[0].message.as_str(), "a planted failure");
    let steps = process.store.steps(run.id).await.unwrap();
    assert_eq!(steps[0].detail.as_ref().unwrap().as_str(), "a planted failure");
    assert_eq!(process.events(run.id).await.last(), Some(&"project.restart_failed"));
}

#[tokio::test(start_paused = true)]
async fn a_type_without_an_operation_fails_with_the_reason() {
    let (process, _) = Host::new(&[]).start().await;
    let mut request = process.request("shop");
    request.inputs = Inputs::RemoveProject(crate::domain::runs::RemoveProject {
        project: "shop".to_owned(),
        volumes: false,
    });
    let run = process.door.submit(request).await.unwrap().run().clone();
    let run = process.ended(run.id).await;
    assert_eq!(run.failure_summary[0].reason_code, ReasonCode::RunTypeUnsupported);
}

#[tokio::test(start_paused = true)]
async fn a_running_run_is_cancelled_between_steps_and_a_queued_one_at_once() {
    let (process, _) = Host::new(&[("shop", Script::Steps)]).start().await;
    let workspace = process.store.scope().workspace_id;
    let cancel = async |id| process.door.cancel(workspace, id, Actor::agent()).await;
    let running = process.submit("shop").await;
    process.step_taken(running.id).await;
    let mut other = process.request("shop");
    other.inputs = Inputs::RestartProject(RestartProject {
        project: "shop".to_owned(),
        services: vec!["db".to_owned()],
    });
    let queued = process.door.submit(other).await.unwrap().run().clone();
    assert_eq!(cancel(queued.id).await.unwrap().outcome(), RunOutcome::Cancelled);
    assert_eq!(cancel(running.id).await.unwrap().status(), Status::Running);
    cancel(running.id).await.expect("asking twice changes nothing");
    let run = process.ended(running.id).await;
    assert_eq!(run.outcome(), RunOutcome::Cancelled);
    assert_eq!(process.store.steps(run.id).await.unwrap().len(), 1, "no step began after it");
    assert!(matches!(cancel(run.id).await, Err(CancelError::Ended(_))));
    assert!(matches!(cancel(RunId::from_u128(9)).await, Err(CancelError::NotFound(_))));
    let expect = [
        "operation_run.queued",
        "project.restart_started",
        "operation_run.cancel_requested",
        "operation_run.cancelled",
    ];
    assert_eq!(process.events(run.id).await, expect);
}

#[tokio::test(start_paused = true)]
async fn a_drained_run_stops_at_a_safe_step_and_goes_on_at_the_next_start() {
    let mut host = Host::new(&[("shop", Script::Steps)]);
    let (process, _) = host.start().await;
    let run = process.submit("shop").await;
    process.step_taken(run.id).await;
    process.runner.drain(Duration::from_secs(30)).await;
    assert_eq!(process.read(run.id).await.state, RunState::Ready);
    let closed = process.door.submit(process.request("shop")).await;
    assert!(matches!(closed, Err(crate::operations::SubmitError::Closed)));
    process.kill().await;

    let (process, recovered) = host.start().await;
    assert_eq!(recovered, Recovered::default(), "it was left in order");
    let run = process.ended(run.id).await;
    assert_eq!((run.outcome(), run.attempt), (RunOutcome::Succeeded, 2));
    assert_eq!(*process.scripted.purposes.lock().unwrap(), [Purpose::Resume]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_reach_a_safe_step_in_time_is_left_where_it_is() {
    let mut host = Host::new(&[("shop", Script::Hangs)]);
    let (process, _) = host.start().await;
    let run = process.submit("shop").await;
    process.step_taken(run.id).await;
    let asked_at = tokio::time::Instant::now();
    process.runner.drain(Duration::from_secs(30)).await;
    assert!(asked_at.elapsed() < Duration::from_secs(31));
    let steps = process.store.steps(run.id).await.unwrap();
    assert_eq!(steps[0].status, StepStatus::Unknown, "it may have acted");
    assert_eq!(process.read(run.id).await.state, RunState::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_killed_run_is_taken_over_at_once_and_its_open_step_is_unknown() {
    let mut host = Host::new(&[("shop", Script::Hangs)]);
    let (process, _) = host.start().await;
    let run = process.submit("shop").await;
    process.step_taken(run.id).await;
    process.kill().await;

    host.scripts.insert("shop", Script::Steps);
    let (process, recovered) = host.start().await;
    assert_eq!(recovered, resumed(1));
    let run = process.ended(run.id).await;
    assert_eq!((run.outcome(), run.attempt), (RunOutcome::Succeeded, 2));
    let steps = process.store.steps(run.id).await.unwrap();
    assert_eq!((steps[0].attempt, steps[0].status), (1, StepStatus::Unknown));
    let expect = [
        "operation_run.queued",
        "project.restart_started",
        "operation_run.interrupted",
        "operation_run.retried",
        "project.restarted",
    ];
    assert_eq!(process.events(run.id).await, expect);
    assert_eq!(process.store.verify_audit().await.unwrap().breaks, []);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_is_undone_after_a_crash_is_undone() {
    let mut host = Host::new(&[("shop", Script::Hangs)]);
    host.on_crash = |_| OnCrash::Undo;
    let (process, _) = host.start().await;
    let run = process.submit("shop").await;
    process.step_taken(run.id).await;
    process.kill().await;
    host.scripts.insert("shop", Script::Steps);
    let (process, _) = host.start().await;
    process.ended(run.id).await;
    assert_eq!(*process.scripted.purposes.lock().unwrap(), [Purpose::Undo]);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_asks_after_a_crash_waits_for_the_answer() {
    let mut host = Host::new(&[("shop", Script::Hangs)]);
    host.on_crash = |_| OnCrash::Ask;
    let (process, _) = host.start().await;
    let run = process.submit("shop").await;
    process.step_taken(run.id).await;
    process.kill().await;
    host.scripts.insert("shop", Script::Steps);
    let (process, recovered) = host.start().await;
    assert_eq!(recovered.asking, 1);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let waiting = process.read(run.id).await;
    assert_eq!(waiting.waiting().map(|waiting| waiting.waits_for), Some(WaitsFor::Answer));
    let workspace = process.store.scope().workspace_id;
    let answer = process.door.answer(workspace, run.id, Answer::Continue, Actor::agent());
    answer.await.unwrap();
    assert_eq!(process.ended(run.id).await.outcome(), RunOutcome::Succeeded);
    let late = process.door.answer(workspace, run.id, Answer::Continue, Actor::agent());
    assert!(matches!(late.await, Err(CancelError::NotAsking(_))));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_kills_the_agent_again_and_again_is_given_up() {
    let mut host = Host::new(&[("shop", Script::Hangs)]);
    let (mut process, _) = host.start().await;
    let run = process.submit("shop").await;
    for start in 1..=RUN_ATTEMPTS_MAX {
        process.until(run.id, |run| run.attempt == start).await;
        process.kill().await;
        (process, _) = host.start().await;
    }
    let run = process.read(run.id).await;
    assert_eq!(run.outcome(), RunOutcome::Failed);
    assert_eq!(run.failure_summary[0].reason_code, ReasonCode::RunAttemptsExhausted);
    assert_eq!(run.attempt, RUN_ATTEMPTS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_survives_the_crash_of_the_process_that_took_it() {
    let mut host = Host::new(&[("shop", Script::Hangs)]);
    let (process, _) = host.start().await;
    let run = process.submit("shop").await;
    process.step_taken(run.id).await;
    let workspace = process.store.scope().workspace_id;
    process.door.cancel(workspace, run.id, Actor::agent()).await.unwrap();
    process.kill().await;
    let (process, recovered) = host.start().await;
    assert_eq!(recovered.ended, 1);
    assert_eq!(process.read(run.id).await.outcome(), RunOutcome::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_gives_up_its_worker_and_goes_on_in_time() {
    let (process, _) = Host::new(&[("shop", Script::BacksOff)]).start().await;
    let run = process.submit("shop").await;
    let waiting = process.until(run.id, |run| run.waiting().is_some()).await;
    assert_eq!(waiting.status(), Status::Running);
    let ended = process.ended(run.id).await;
    assert_eq!((ended.outcome(), ended.attempt), (RunOutcome::Succeeded, 2));
    let took = between(ended.created_at, ended.completed_at.unwrap());
    assert!(took >= Duration::from_secs(63) && took < Duration::from_secs(65), "{took:?}");
    let events = process.events(run.id).await;
    assert_eq!(events[2..4], ["operation_run.waiting", "operation_run.woken"]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_lags_is_told() {
    let (process, _) = Host::new(&[]).start().await;
    let run = RunId::from_u128(1);
    let mut follower = process.door.follow(run);
    for _ in 0..=FOLLOW_EVENTS_MAX {
        let line = Happened::Log("a line".into());
        process.runner.signals.publish(run, process.ambient.now(), line);
    }
    assert_eq!(follower.next().await, Followed::Lagged);
    assert!(matches!(follower.next().await, Followed::News(_)));
}
