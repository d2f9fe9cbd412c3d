//! Lives many lives of the runner on a test clock, with seeded requests and crashes, and checks
//! what must hold of every run. Owns the pretended world that scripted operations act on. Face: its
//! tests. Never needs an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use wharfinger::base::Ambient;
use wharfinger::base::ids::RunId;
use wharfinger::base::time::after;
use wharfinger::domain::audit::{Actor, EventType};
use wharfinger::domain::runs::{
    CountKey, End, Inputs, OperationRun, RestartProject, RunType, Source, StepStatus, Undo,
    Waiting, WaitsFor,
};
use wharfinger::operations::{Operation, Operations, Request, RunContext, RunEnd, Step, StepError};
use wharfinger::store::{AuditFilter, PageRequest, Store};

use crate::machine::{Machine, settle};
use crate::mortal::Dice;
use crate::promises::{self, Broken, whole_log};
use crate::{compared, each, is_replay, seeds};

const SEEDS: u64 = 200;
/// Seeds that are lived twice and compared.
const STORIES: u64 = 30;
/// Lives of one simulated host; the last one never crashes.
const LIVES: u64 = 5;
const PROJECTS: u64 = 3;
const REQUESTS_PER_LIFE: u64 = 6;

#[test]
fn whatever_crashes_when_every_run_ends_and_no_record_is_lost() {
    let (mut runs, mut crashes, mut retried) = (0, 0, 0);
    let lived = |seed| {
        let told = simulate(seed);
        assert_eq!(told.broken, Broken::new(), "WHARF_SIMULATION_SEED={seed}");
        // All the stories together would not fit into memory.
        Told { story: Vec::new(), ..told }
    };
    for told in each(seeds(SEEDS), lived) {
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
    each(compared(STORIES), |seed| {
        let (first, second) = (simulate(seed), simulate(seed));
        assert_eq!(first.story, second.story, "WHARF_SIMULATION_SEED={seed}");
    });
}

/// What one simulated host went through.
struct Told {
    runs: usize,
    crashes: usize,
    retried: usize,
    broken: Broken,
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
    broken: Broken,
}

type SharedWorld = Arc<Mutex<World>>;

fn locked(world: &SharedWorld) -> MutexGuard<'_, World> {
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
    dice: Arc<Dice>,
}

#[derive(Debug, thiserror::Error)]
#[error("a planted failure")]
struct Planted;

impl Pretends {
    async fn attempt(&self, run: RunContext) -> RunEnd {
        let _working = Working::on(&self.world, run.run());
        for number in 0..=self.dice.below(4) {
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
            if self.dice.once_in(20) {
                let until = Some(after(run.ambient().now(), Duration::from_secs(30)));
                return RunEnd::waits(Waiting { waits_for: WaitsFor::BackOff, until });
            }
        }
        if self.dice.once_in(25) {
            // A panic that nobody prints.
            std::panic::resume_unwind(Box::new("a planted panic"));
        }
        RunEnd::ended(End::Succeeded)
    }

    async fn act(&self, run: &RunContext, key: String) -> Result<(), Planted> {
        tokio::time::sleep(Duration::from_millis(self.dice.below(3_000))).await;
        run.ambient().crash_points.reached("world.call.before");
        *locked(&self.world).acted.entry((run.run().id, key)).or_default() += 1;
        run.ambient().crash_points.reached("world.call.after");
        if self.dice.once_in(15) { Err(Planted) } else { Ok(()) }
    }
}

impl Operation for Pretends {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        self.attempt(run).boxed()
    }
}

/// One simulated host: everything that outlives a process.
struct Host {
    machine: Machine,
    dice: Arc<Dice>,
    world: SharedWorld,
    /// Runs that the door has accepted: none of them may be lost.
    accepted: Mutex<BTreeSet<RunId>>,
}

fn simulate(seed: u64) -> Told {
    let host = Host {
        machine: Machine::new(seed),
        dice: Arc::new(Dice::new(seed)),
        world: SharedWorld::default(),
        accepted: Mutex::default(),
    };
    let mut broken = Broken::new();
    let mut told = None;
    for life in 1..=LIVES {
        let dies_at = (life < LIVES).then(|| 1 + host.dice.below(80));
        told = host.machine.live(dies_at, async |ambient| host.process(life, ambient).await);
        locked(&host.world).busy.clear();
        broken.extend(told.iter_mut().flat_map(|told| std::mem::take(&mut told.broken)));
    }
    let told = told.unwrap_or_else(|| panic!("seed {seed}: the last life never ended"));
    Told { crashes: host.machine.crashes(), broken, ..told }
}

impl Host {
    /// From the start of the process to the end of every run, unless it stops in order before.
    async fn process(&self, life: u64, ambient: Ambient) -> Option<Told> {
        let dice = &self.dice;
        let (_, store) = self.machine.open(&ambient);
        let pretends = Pretends { world: Arc::clone(&self.world), dice: Arc::clone(dice) };
        let pretends = Operations::default().with(RunType::RestartProject, Arc::new(pretends));
        let (runner, _tasks) = self.machine.serve(&ambient, &store, pretends).await;
        let door = runner.door();
        for _ in 0..REQUESTS_PER_LIFE {
            tokio::time::sleep(Duration::from_millis(dice.below(4_000))).await;
            let admitted = door.submit(request(&store, dice)).await.expect("admission");
            let run = admitted.run().id;
            self.accepted().insert(run);
            if dice.once_in(6) {
                // It may have ended by now.
                let workspace = store.scope().workspace_id;
                let _ = door.cancel(workspace, run, Actor::agent()).await;
            }
        }
        if life < LIVES && dice.once_in(3) {
            runner.drain(Duration::from_secs(1)).await;
            return None;
        }
        settle(&store).await;
        let accepted = self.accepted().clone();
        Some(examine(&store, &self.world, &accepted).await)
    }

    fn accepted(&self) -> MutexGuard<'_, BTreeSet<RunId>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(store: &Arc<dyn Store>, dice: &Dice) -> Request {
    let services = (0..dice.below(3)).map(|number| format!("service-{number}"));
    let inputs = Inputs::RestartProject(RestartProject {
        project: format!("project-{}", dice.below(PROJECTS)),
        services: services.collect(),
    });
    Request::by_owner(&store.scope(), Source::Cli, inputs)
}

/// Checks everything that must hold when all runs have ended.
async fn examine(store: &Arc<dyn Store>, world: &SharedWorld, accepted: &BTreeSet<RunId>) -> Told {
    let mut broken = promises::of_runs(store, accepted).await;
    let runs = promises::all_runs(store).await;
    for run in &runs {
        examine_run(store, world, run.id, &mut broken).await;
    }
    broken.extend(examine_world(&locked(world), &runs));
    let retried = runs.iter().filter(|run| run.attempt > 1).count();
    Told { runs: runs.len(), crashes: 0, retried, broken, story: whole_log(store).await }
}

fn examine_world(world: &World, runs: &[OperationRun]) -> Broken {
    let is_known = |id: &RunId| runs.iter().any(|run| run.id == *id);
    let unknown = world.acted.keys().filter(|(run, _)| !is_known(run));
    let unknown = unknown.map(|(run, key)| format!("run {run}, which nobody knows, did {key}"));
    world.broken.iter().cloned().chain(unknown).collect()
}

/// A run ends once, and its steps tell what it did to the world.
async fn examine_run(store: &Arc<dyn Store>, world: &SharedWorld, id: RunId, broken: &mut Broken) {
    let ends = events_of(store, id).await.into_iter().filter(|event| is_end(*event)).count();
    if ends != 1 {
        broken.push(format!("run {id} ended {ends} times"));
    }
    let steps = store.steps(id).await.expect("steps");
    for ((_, key), times) in locked(world).acted.iter().filter(|((run, _), _)| *run == id) {
        let recorded = steps.iter().filter(|step| step.key == *key).count() as u64;
        if recorded < *times {
            broken.push(format!("run {id} did {key} {times} times, and recorded {recorded}"));
        }
    }
    for step in steps.iter().filter(|step| step.status == StepStatus::Succeeded) {
        if !locked(world).acted.contains_key(&(id, step.key.clone())) {
            broken.push(format!("run {id} claims {}", step.key));
        }
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
