//! Lives many lives of the runner on a test clock, with seeded requests and crashes, and checks
//! what must hold of every run. Owns the pretended world that scripted operations act on. Face: its
//! tests. Never needs an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use wharfinger::base::entropy::SeededEntropy;
use wharfinger::base::ids::RunId;
use wharfinger::base::time::after;
use wharfinger::base::{Ambient, Entropy};
use wharfinger::domain::audit::{Actor, EventType};
use wharfinger::domain::runs::{
    CountKey, Inputs, OperationRun, RestartProject, RunType, Source, StepStatus, Undo, Waiting,
    WaitsFor,
};
use wharfinger::domain::runs::{End, Outcome};
use wharfinger::operations::{
    Operation, Operations, Request, RunContext, RunEnd, Runner, RunnerOptions, Step, StepError,
};
use wharfinger::store::keys::Keys;
use wharfinger::store::sqlite::{self, Mode, Opening};
use wharfinger::store::{AuditFilter, PageRequest, RunFilter, Store};
use wharfinger::world::tasks::{Spawn as _, Supervisor};

use crate::mortal::{HostClock, Mortality};
use crate::{is_replay, seeds};

const SEEDS: u64 = 200;
/// Lives of one simulated host; the last one never crashes.
const LIVES: u64 = 5;
const PROJECTS: u64 = 3;
const REQUESTS_PER_LIFE: u64 = 6;
/// By then every run of the last life has ended, in pretended time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

#[test]
fn whatever_crashes_when_every_run_ends_and_no_record_is_lost() {
    let (mut runs, mut crashes, mut retried) = (0, 0, 0);
    for seed in seeds(SEEDS) {
        let told = simulate(seed);
        runs += told.runs;
        crashes += told.crashes;
        retried += told.retried;
    }
    println!("{runs} runs, {crashes} crashes, {retried} runs needed another attempt");
    assert!(
        is_replay() || (crashes > 0 && retried > 0),
        "a simulation in which nothing happens proves nothing"
    );
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    for seed in [3, 7, 42] {
        let (first, second) = (simulate(seed), simulate(seed));
        assert_eq!(first.story, second.story, "seed {seed}");
    }
}

/// What one simulated host went through.
struct Told {
    runs: usize,
    crashes: usize,
    retried: usize,
    /// The bodies of the audit log.
    story: Vec<String>,
}

/// The world that operations act on: it outlives every process.
#[derive(Default)]
struct World {
    /// How often each (run, step) acted.
    acted: BTreeMap<(RunId, String), u64>,
    /// Subjects that a live process works on.
    busy: BTreeSet<String>,
    broken: Vec<String>,
}

type SharedWorld = Arc<Mutex<World>>;

fn locked(world: &SharedWorld) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks a subject as worked on, until it is dropped: at the end, at a panic, at a death.
struct Working(SharedWorld, String);

impl Working {
    fn on(world: &SharedWorld, run: &OperationRun) -> Self {
        let subject = run.subject.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut inside = locked(world);
        if !inside.busy.insert(subject.clone()) {
            inside.broken.push(format!("two runs hold {subject}; the second is {}", run.id));
        }
        drop(inside);
        Self(Arc::clone(world), subject)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        locked(&self.0).busy.remove(&self.1);
    }
}

/// Takes a few steps of seeded length; sometimes fails, waits or panics.
struct Pretends {
    world: SharedWorld,
    dice: Arc<SeededEntropy>,
}

#[derive(Debug, thiserror::Error)]
#[error("a planted failure")]
struct Planted;

impl Pretends {
    async fn attempt(&self, run: RunContext) -> RunEnd {
        let _working = Working::on(&self.world, run.run());
        for number in 0..1 + self.dice.next_u64() % 4 {
            let key = format!("step-{number}");
            let step = Step {
                key: key.clone(),
                description: format!("take {key}"),
                cause: "the dice say so".to_owned(),
                undo: Undo::Nothing,
            };
            match run.step(step, self.act(&run, key)).await {
                Ok(()) => run.count(CountKey::Started, 1).expect("restarts count starts"),
                Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
                Err(StepError::Failed(Planted)) => return RunEnd::ended(End::Failed),
                Err(StepError::NotRecorded(error)) => panic!("{error}"),
            }
            if self.dice.next_u64().is_multiple_of(20) {
                let until = Some(after(run.ambient().now(), Duration::from_secs(30)));
                return RunEnd::waits(Waiting { waits_for: WaitsFor::BackOff, until });
            }
        }
        assert!(!self.dice.next_u64().is_multiple_of(25), "a planted panic");
        RunEnd::ended(End::Succeeded)
    }

    async fn act(&self, run: &RunContext, key: String) -> Result<(), Planted> {
        tokio::time::sleep(Duration::from_millis(self.dice.next_u64() % 3_000)).await;
        run.ambient().crash_points.reached("world.call.before");
        *locked(&self.world).acted.entry((run.run().id, key)).or_default() += 1;
        run.ambient().crash_points.reached("world.call.after");
        if self.dice.next_u64().is_multiple_of(15) { Err(Planted) } else { Ok(()) }
    }
}

impl Operation for Pretends {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        self.attempt(run).boxed()
    }
}

/// One simulated host over several lives of its agent.
struct Host {
    state_dir: PathBuf,
    dice: Arc<SeededEntropy>,
    entropy: Arc<SeededEntropy>,
    world: SharedWorld,
    clock: Arc<HostClock>,
    /// Runs that the door has accepted: none of them may be lost.
    accepted: Arc<Mutex<BTreeSet<RunId>>>,
    crashes: usize,
}

fn simulate(seed: u64) -> Told {
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.expect("a directory for the simulated host");
    let mut host = Host {
        state_dir: dir.path().to_owned(),
        dice: Arc::new(SeededEntropy::new(seed)),
        entropy: Arc::new(SeededEntropy::new(!seed)),
        world: SharedWorld::default(),
        clock: Arc::new(HostClock::new()),
        accepted: Arc::default(),
        crashes: 0,
    };
    let mut told = None;
    for life in 1..=LIVES {
        told = host.live(life, seed);
    }
    told.unwrap_or_else(|| panic!("seed {seed}: the last life never ended"))
}

impl Host {
    /// One life: from the start of the process to its death, or to a day later.
    fn live(&mut self, life: u64, seed: u64) -> Option<Told> {
        let dies_at = (life < LIVES).then(|| 1 + self.dice.next_u64() % 80);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let dead = CancellationToken::new();
        let told = runtime.block_on(async {
            self.clock.go_on();
            let ambient = Ambient {
                clock: Arc::clone(&self.clock) as _,
                entropy: Arc::clone(&self.entropy) as _,
                crash_points: Arc::new(Mortality::new(dies_at, dead.clone())),
            };
            let supervisor = Supervisor::new();
            let lived = self.process(life, seed, ambient, supervisor.clone());
            let told = tokio::select! {
                biased;
                () = dead.cancelled() => None,
                told = AssertUnwindSafe(lived).catch_unwind() => told.ok().flatten(),
            };
            self.clock.stand_still();
            told
        });
        // Whatever was running stops where it is.
        drop(runtime);
        self.crashes += usize::from(dead.is_cancelled());
        locked(&self.world).busy.clear();
        told.map(|told| Told { crashes: self.crashes, ..told })
    }

    fn process(
        &self,
        life: u64,
        seed: u64,
        ambient: Ambient,
        supervisor: Supervisor,
    ) -> impl Future<Output = Option<Told>> + use<> {
        let state_dir = self.state_dir.clone();
        let dice = Arc::clone(&self.dice);
        let world = Arc::clone(&self.world);
        let accepted = Arc::clone(&self.accepted);
        async move {
            let keys = Keys::open_or_create(&state_dir, &*ambient.entropy).expect("keys");
            let opening = Opening {
                state_dir: &state_dir,
                keys: &keys,
                ambient: &ambient,
                os_user: "ada",
                hostname: "host-1",
                agent_version: "0.0.0",
                mode: Mode::Inline,
            };
            let store: Arc<dyn Store> = match sqlite::open(opening) {
                Ok(opened) => opened.store,
                Err(error) => panic!("seed {seed}, life {life}: {error}"),
            };
            let pretends = Pretends { world: Arc::clone(&world), dice: Arc::clone(&dice) };
            let runner = Runner::new(
                Arc::clone(&store),
                ambient.clone(),
                Operations::default().with(RunType::RestartProject, Arc::new(pretends)),
                Arc::new(supervisor.clone()),
                RunnerOptions::new(format!("life-{life}")),
            );
            runner.recover().await.expect("recovery");
            let _served = supervisor.spawn("runner", Arc::clone(&runner).serve().boxed());
            let door = runner.door();
            for _ in 0..REQUESTS_PER_LIFE {
                tokio::time::sleep(Duration::from_millis(dice.next_u64() % 4_000)).await;
                let admitted = door.submit(request(&store, &dice)).await.expect("admission");
                let run = admitted.run().id;
                locked_set(&accepted).insert(run);
                if dice.next_u64().is_multiple_of(6) {
                    // It may have ended by now.
                    let workspace = store.scope().workspace_id;
                    let _ = door.cancel(workspace, run, Actor::agent()).await;
                }
            }
            if life < LIVES && dice.next_u64().is_multiple_of(3) {
                runner.drain(Duration::from_secs(1)).await;
                return None;
            }
            settle(&store, seed).await;
            let accepted = locked_set(&accepted).clone();
            let told = examine(&store, &world, &accepted, seed).await;
            (life == LIVES).then_some(told)
        }
    }
}

fn locked_set(set: &Mutex<BTreeSet<RunId>>) -> std::sync::MutexGuard<'_, BTreeSet<RunId>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

fn request(store: &Arc<dyn Store>, dice: &SeededEntropy) -> Request {
    let services = (0..dice.next_u64() % 3).map(|number| format!("service-{number}"));
    let inputs = Inputs::RestartProject(RestartProject {
        project: format!("project-{}", dice.next_u64() % PROJECTS),
        services: services.collect(),
    });
    Request::by_owner(&store.scope(), Source::Cli, inputs)
}

async fn all_runs(store: &Arc<dyn Store>) -> Vec<OperationRun> {
    let filter = RunFilter::workspace(store.scope().workspace_id);
    store.runs(filter, PageRequest::default()).await.expect("runs").items
}

/// Waits until every run has ended.
async fn settle(store: &Arc<dyn Store>, seed: u64) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while all_runs(store).await.iter().any(|run| !run.state.is_completed()) {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    if waited.await.is_err() {
        let stuck = all_runs(store).await;
        let stuck: Vec<_> = stuck.iter().filter(|run| !run.state.is_completed()).collect();
        panic!("seed {seed}: runs that never end: {stuck:#?}");
    }
}

/// Checks everything that must hold when all runs have ended.
async fn examine(
    store: &Arc<dyn Store>,
    world: &SharedWorld,
    accepted: &BTreeSet<RunId>,
    seed: u64,
) -> Told {
    let runs = all_runs(store).await;
    let verdict = store.verify_audit().await.expect("the log");
    assert_eq!(verdict.breaks, [], "seed {seed}: the audit log is whole");
    let known: BTreeSet<_> = runs.iter().map(|run| run.id).collect();
    assert!(accepted.is_subset(&known), "seed {seed}: an accepted run is lost");
    for run in &runs {
        examine_run(store, world, run, seed).await;
    }
    examine_world(&locked(world), &known, seed);
    Told {
        runs: runs.len(),
        crashes: 0,
        retried: runs.iter().filter(|run| run.attempt > 1).count(),
        story: story(store).await,
    }
}

fn examine_world(world: &World, known: &BTreeSet<RunId>, seed: u64) {
    assert_eq!(world.broken, Vec::<String>::new(), "seed {seed}");
    assert!(world.acted.keys().all(|(run, _)| known.contains(run)), "seed {seed}: unknown run");
}

async fn examine_run(store: &Arc<dyn Store>, world: &SharedWorld, run: &OperationRun, seed: u64) {
    let id = run.id;
    assert_ne!(run.outcome(), Outcome::Pending, "seed {seed}: {id}");
    let attempts = store.attempts(id).await.expect("attempts");
    assert!(attempts.iter().all(|attempt| attempt.end.is_some()), "seed {seed}: {id} is open");
    let ends = events_of(store, id).await.into_iter().filter(|event| is_end(*event)).count();
    assert_eq!(ends, 1, "seed {seed}: {id} ended {ends} times");
    let steps = store.steps(id).await.expect("steps");
    let open = steps.iter().filter(|step| step.status == StepStatus::Started).count();
    assert_eq!(open, 0, "seed {seed}: {id} has open steps");
    for ((_, key), times) in locked(world).acted.iter().filter(|((run, _), _)| *run == id) {
        let recorded = steps.iter().filter(|step| step.key == *key).count() as u64;
        assert!(recorded >= *times, "seed {seed}: {id} did {key} {times} times unrecorded");
    }
    for step in steps.iter().filter(|step| step.status == StepStatus::Succeeded) {
        let acted = locked(world).acted.contains_key(&(id, step.key.clone()));
        assert!(acted, "seed {seed}: {id} claims {}", step.key);
    }
}

fn is_end(event: EventType) -> bool {
    use EventType::{ProjectRestartFailed, ProjectRestarted, RunBlocked, RunCancelled};
    matches!(event, ProjectRestarted | ProjectRestartFailed | RunCancelled | RunBlocked)
}

async fn events_of(store: &Arc<dyn Store>, run: RunId) -> Vec<EventType> {
    let mut filter = AuditFilter::workspace(store.scope().workspace_id);
    filter.operation_run_id = Some(run);
    let page = store.audit(filter, PageRequest::default()).await.expect("events");
    page.items.into_iter().map(|record| record.event.event_type).collect()
}

/// The whole log, oldest last.
async fn story(store: &Arc<dyn Store>) -> Vec<String> {
    let filter = AuditFilter::workspace(store.scope().workspace_id);
    let mut page = PageRequest::default();
    let mut story = Vec::new();
    loop {
        let found = store.audit(filter.clone(), page).await.expect("the log");
        let told = |record| serde_json::to_string(record).expect("a record");
        story.extend(found.items.iter().map(told));
        match found.next {
            Some(next) => page = PageRequest { limit: 0, after: Some(next) },
            None => return story,
        }
    }
}
