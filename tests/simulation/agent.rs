//! Lives many lives of the agent that keeps projects: the real operations, store, runner and
//! requests on an engine in memory. Owns the script of a life. Face: its tests, `STRANGER`.
//! Never decides what must hold: `promises` does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;

use wharfinger::base::Ambient;
use wharfinger::base::ids::RunId;
use wharfinger::domain::audit::Actor;
use wharfinger::domain::rollout::{HostPathPolicy, PlanOptions};
use wharfinger::domain::runs::{OperationRun, RunType, Source};
use wharfinger::facts::{ContainerFacts, Instance, RestartPolicy, ServiceSpec, labels};
use wharfinger::operations::deploy_project::{DeployProject, options_of};
use wharfinger::operations::projects::{ApplyChoices, ApplyError, Asker, Projects};
use wharfinger::operations::rollout::{Declared, Rollout};
use wharfinger::operations::{Admitted, Door, Operations};
use wharfinger::store::{Desired, Project, Store};
use wharfinger::watchers::convergence::{Convergence, ConvergenceOptions};
use wharfinger::world::content_files::FilesInMemory;
use wharfinger::world::contexts::Contexts;
use wharfinger::world::docker::fake::{EngineCall, FakeEngine};
use wharfinger::world::docker::{
    ContainerFilter, Engine as _, NewContainer, ObservedEngine, SharedEngine,
};
use wharfinger::world::tasks::Spawn as _;

use crate::faults;
use crate::flaws::{Flaw, Flawed};
use crate::machine::{Machine, settle, wait_for};
use crate::mortal::Dice;
use crate::projects::{self, Declaration};
use crate::promises::{self, Broken};
use crate::{compared, each, is_replay, seeds};

const SEEDS: u64 = 20;
/// Seeds that are lived twice and compared.
const STORIES: u64 = 10;
/// Lives of one simulated host; the last one never crashes.
const LIVES: u64 = 4;
const PROJECTS: [&str; 2] = ["blog", "shop"];
const EVENTS_PER_LIFE: u64 = 10;
/// How the projects are looked after.
const CONVERGENCE: ConvergenceOptions = ConvergenceOptions {
    enabled: true,
    sweep_interval: Duration::from_secs(300),
    debounce: Duration::from_millis(500),
};
/// By then every project that is kept is as declared again, without anybody asking, when nothing
/// goes wrong any more: the longest pause after failures, and a few sweeps.
const MENDED_WITHIN: Duration = Duration::from_secs(3600);
/// A container of nobody's project.
pub(crate) const STRANGER: &str = "stranger";

#[test]
fn whatever_goes_wrong_projects_become_as_declared_and_nothing_is_lost() {
    let mut told = Told::default();
    for lived in each(seeds(SEEDS), |seed| {
        let lived = simulate(seed, None);
        assert_eq!(lived.broken, Broken::new(), "WHARF_SIMULATION_SEED={seed}");
        // All the stories together would not fit into memory.
        Told { story: Default::default(), ..lived }
    }) {
        told.runs += lived.runs;
        told.crashes += lived.crashes;
        told.retried += lived.retried;
    }
    println!("{} runs, {} crashes, {} runs resumed", told.runs, told.crashes, told.retried);
    let is_eventful = told.crashes > 0 && told.retried > 0;
    assert!(is_replay() || is_eventful, "a simulation in which nothing happens proves nothing");
}

#[test]
fn planted_flaws_are_found() {
    let flaws = [
        (Flaw::TakesOldForOwn, "never ended"),
        (Flaw::LooksAway, "is not as declared"),
        (Flaw::MakesTwice, "is too many"),
        (Flaw::LosesVolumes, "is lost"),
        (Flaw::TouchesStrangers, "a stranger is touched"),
    ];
    each(0..flaws.len() as u64, |place| {
        let (flaw, expect) = flaws[usize::try_from(place).expect("a place")];
        let mut lives = (0..SEEDS).map(|seed| simulate(seed, Some(flaw)).broken);
        let is_found = lives.any(|broken| broken.iter().any(|it| it.contains(expect)));
        assert!(is_found, "{flaw:?} is not found");
    });
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    each(compared(STORIES), |seed| {
        let (first, second) = (simulate(seed, None), simulate(seed, None));
        assert_eq!(first.story, second.story, "WHARF_SIMULATION_SEED={seed}");
    });
}

/// What one simulated host went through.
#[derive(Default)]
struct Told {
    /// What was done to the engine, in order, and the audit log.
    story: (Vec<EngineCall>, Vec<String>),
    runs: usize,
    crashes: usize,
    retried: usize,
    broken: Broken,
}

fn simulate(seed: u64, flaw: Option<Flaw>) -> Told {
    let machine = Machine::new(seed);
    let dice = Dice::new(seed);
    let engine = FakeEngine::new(Arc::clone(&machine.clock) as _);
    projects::prepare(&engine, &dice);
    engine.set_latency(Duration::from_millis(dice.below(3) * 40));
    let (files, memory) = Default::default();
    let host = Host { machine, dice, engine, files, memory, flaw };
    for life in 1..=LIVES {
        let dies_at = (life < LIVES).then(|| 1 + host.dice.below(600));
        let told = host.machine.live(dies_at, async |ambient| host.process(life, ambient).await);
        if let Some(told) = told {
            return Told { crashes: host.machine.crashes(), ..told };
        }
    }
    panic!("seed {seed}: the last life never ended");
}

/// One simulated host: everything that outlives a process.
struct Host {
    machine: Machine,
    dice: Dice,
    engine: Arc<FakeEngine>,
    files: Arc<FilesInMemory>,
    memory: Mutex<Memory>,
    flaw: Option<Flaw>,
}

/// What the simulated user remembers.
#[derive(Default)]
struct Memory {
    stranger: Option<ContainerFacts>,
    declared: BTreeMap<&'static str, Declaration>,
    /// Runs that the door has accepted: none of them may be lost.
    accepted: BTreeSet<RunId>,
    /// What each project was last asked to be kept at, as far as the request was answered.
    desired: BTreeMap<&'static str, Desired>,
    volumes: BTreeSet<String>,
}

/// One process on the host.
struct Process<'host> {
    host: &'host Host,
    store: Arc<dyn Store>,
    door: Door,
    projects: Projects,
    rollout: Rollout,
    asker: Asker,
}

impl Host {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the start of the process to its orderly end; then what is to be told of the last one.
    async fn process(&self, life: u64, ambient: Ambient) -> Option<Told> {
        if life == 1 {
            self.plant_stranger().await;
        }
        let (keys, store) = self.machine.open(&ambient);
        let contexts = Contexts::open(self.machine.state_dir(), 1 << 20).expect("contexts");
        let engine = Arc::clone(&self.engine) as SharedEngine;
        let crash_points = Arc::clone(&ambient.crash_points);
        let rollout = Rollout {
            engine: Arc::new(ObservedEngine::new(engine, crash_points, Arc::new(|_| {}))),
            store: Arc::clone(&store),
            key: keys.hash_key().clone(),
            files: Arc::clone(&self.files) as _,
            contexts: Arc::new(contexts),
        };
        let knows_itself = self.flaw != Some(Flaw::TakesOldForOwn);
        let operations = self.operations(&rollout);
        let (runner, tasks) = self.machine.serve(&ambient, &store, operations, knows_itself).await;
        let (_options, options) = watch::channel(CONVERGENCE);
        let clock = Arc::clone(&ambient.clock);
        let watcher = Convergence::new(rollout.clone(), runner.door(), clock, options);
        if self.flaw != Some(Flaw::LooksAway) {
            let watch = watcher.watch(tasks.stop_token()).boxed();
            let _watched = tasks.spawn("convergence", watch);
        }
        let policy = HostPathPolicy::default();
        let projects = Projects::new(rollout.clone(), runner.door(), ambient, policy);
        let asker = Asker { uid: 1000, name: "ada".to_owned(), source: Source::Cli };
        let door = runner.door();
        let process = Process { host: self, store, door, projects, rollout, asker };
        process.script().await;
        if life < LIVES {
            // It dies at last while it has nothing to do.
            runner.drain(Duration::from_secs(self.dice.below(5))).await;
            return None;
        }
        Some(process.examine().await)
    }

    fn operations(&self, rollout: &Rollout) -> Operations {
        let operations = Operations::on_projects(rollout);
        match self.flaw {
            None | Some(Flaw::TakesOldForOwn | Flaw::LooksAway) => operations,
            Some(flaw) => {
                let operation = Arc::new(DeployProject::new(rollout.clone()));
                let engine = Arc::clone(&rollout.engine);
                let flawed = Flawed { operation, engine, flaw };
                operations.with(RunType::DeployProject, Arc::new(flawed))
            }
        }
    }

    async fn plant_stranger(&self) {
        let new = NewContainer {
            name: STRANGER.to_owned(),
            image: "image:0".to_owned(),
            spec: ServiceSpec {
                image: "image:0".to_owned(),
                command: Some(vec!["serve".to_owned()]),
                restart: RestartPolicy::Always,
                ..ServiceSpec::default()
            },
            bookkeeping: BTreeMap::new(),
            resolved_namespaces: BTreeMap::new(),
            kept_volumes: BTreeMap::new(),
        };
        let id = self.engine.create_container(&new).await.expect("a stranger");
        self.engine.start_container(&id).await.expect("a running stranger");
        let stranger = self.engine.container(&id).await.expect("an answer");
        self.memory().stranger = stranger;
        self.engine.forget_calls();
    }
}

impl Process<'_> {
    /// Somebody asks for this and that while this and that goes wrong.
    async fn script(&self) {
        let dice = &self.host.dice;
        for _ in 0..EVENTS_PER_LIFE {
            if dice.once_in(2) {
                tokio::time::sleep(Duration::from_millis(dice.below(4_000))).await;
            }
            if dice.once_in(3) {
                self.host.engine.set_unreachable(false);
            }
            self.remember_volumes().await;
            if dice.once_in(3) {
                faults::strike(&self.host.engine, dice).await;
            } else {
                self.ask().await;
            }
        }
    }

    async fn ask(&self) {
        let dice = &self.host.dice;
        let name = PROJECTS[usize::from(dice.once_in(2))];
        // A crash may come between the acceptance and its answer.
        self.host.memory().desired.remove(name);
        let (desired, asked) = self.ask_for(name).await;
        match asked {
            Err(ApplyError::Unknown(_)) => {}
            Err(refused) => panic!("a request is refused: {refused:?}"),
            Ok(run) => {
                self.host.memory().desired.extend(desired.map(|desired| (name, desired)));
                self.host.memory().accepted.extend(run.iter().map(|run| run.id));
                if let Some(run) = run.filter(|_| dice.once_in(8)) {
                    // It may have ended by now.
                    let actor = Actor::agent();
                    let _ = self.door.cancel(run.workspace_id, run.id, actor).await;
                }
            }
        }
    }

    /// Asks for something: what the project is kept at from then on, and the run that does it.
    async fn ask_for(
        &self,
        name: &'static str,
    ) -> (Option<Desired>, Result<Option<OperationRun>, ApplyError>) {
        let (dice, projects, asker) = (&self.host.dice, &self.projects, &self.asker);
        let run = |admitted: Admitted| Some(admitted.run().clone());
        match dice.below(8) {
            0..=3 => {
                let declared = self.next_declaration(name);
                (Some(Desired::Running), self.up(&declared, dice.once_in(8)).await.map(Some))
            }
            4 => (Some(Desired::Removed), projects.remove(name, false, asker).await.map(run)),
            5 => (None, projects.restart(name, Vec::new(), asker).await.map(run)),
            6 => (Some(Desired::Paused), projects.pause(name, asker).await.map(|_| None)),
            _ => (Some(Desired::Running), projects.resume(name, asker).await.map(|_| None)),
        }
    }

    /// What the user declares next: mostly the last declaration with a change.
    fn next_declaration(&self, name: &'static str) -> Declaration {
        let dice = &self.host.dice;
        let last = self.host.memory().declared.get(name).cloned();
        let declared = match last {
            Some(last) if dice.once_in(4) => last,
            Some(last) => last.changed(dice),
            None => Declaration::roll(name, dice),
        };
        self.host.memory().declared.insert(name, declared.clone());
        declared
    }

    async fn up(
        &self,
        declared: &Declaration,
        force_recreate: bool,
    ) -> Result<OperationRun, ApplyError> {
        let choices = ApplyChoices { force_recreate, ..ApplyChoices::default() };
        let bundle = declared.bundle();
        let admitted = self.projects.apply(&declared.name, &bundle, choices, &self.asker).await?;
        Ok(admitted.run().clone())
    }

    async fn remember_volumes(&self) {
        if let Ok(found) = self.host.engine.volumes(None).await {
            self.host.memory().volumes.extend(found.into_iter().map(|volume| volume.name));
        }
    }

    /// Faults stop, the projects are brought up for the last time, and everything is looked at.
    async fn examine(&self) -> Told {
        faults::calm(&self.host.engine);
        self.settled().await;
        let mut broken = self.examine_runs().await;
        if broken.is_empty() {
            self.remember_volumes().await;
            let desired = self.host.memory().desired.clone();
            for (name, desired) in desired {
                broken.extend(promises::of_desired(
                    self.project(name).await.as_ref(),
                    name,
                    desired,
                ));
            }
            for name in PROJECTS {
                broken.extend(self.examine_kept(name).await);
            }
            for name in PROJECTS {
                broken.extend(self.examine_project(name).await);
            }
            broken.extend(self.examine_host().await);
            broken.extend(self.examine_runs().await);
        }
        let runs = promises::all_runs(&self.store).await;
        let retried = runs.iter().filter(|run| run.attempt > 1).count();
        let story = (self.host.engine.writes(), promises::whole_log(&self.store).await);
        Told { runs: runs.len(), retried, broken, crashes: 0, story }
    }

    /// Waits until every run has ended.
    async fn settled(&self) {
        settle(&self.store).await;
    }

    async fn examine_runs(&self) -> Broken {
        let accepted = self.host.memory().accepted.clone();
        let mut broken = promises::of_runs(&self.store, &accepted).await;
        broken.extend(promises::of_failures(&self.store).await);
        broken
    }

    /// A project that is kept becomes as declared by itself.
    async fn examine_kept(&self, name: &'static str) -> Broken {
        let kept = self.project(name).await.filter(|project| project.desired == Desired::Running);
        let Some(kept) = kept else { return Broken::new() };
        let declared = self.rollout.kept(&kept).await.expect("stored revisions");
        let Some(declared) = declared else { return Broken::new() };
        let workspace = self.store.scope().workspace_id;
        // As the watcher asks.
        let inputs = self.rollout.deploy_as_applied(&kept).await.expect("a stored revision");
        let Some(inputs) = inputs else { return vec![format!("the files of {name} are lost")] };
        let options = options_of(&inputs, &declared);
        let is_kept = async || {
            let preview = self.rollout.preview(workspace, &declared, &options).await;
            let broken = promises::of_kept(&declared.spec, &self.containers(name).await);
            preview.expect("a plan").plan.is_empty() && broken.is_empty()
        };
        if wait_for(MENDED_WITHIN, Duration::from_secs(20), is_kept).await {
            self.settled().await;
            return Broken::new();
        }
        let preview = self.rollout.preview(workspace, &declared, &options).await;
        let mut broken = promises::of_kept(&declared.spec, &self.containers(name).await);
        let preview = preview.expect("a plan");
        let (plan, exits) = (preview.plan, preview.observed.exits);
        broken.push(format!("{name} is not as declared: {plan}; known to have ended: {exits:?}"));
        broken
    }

    async fn examine_project(&self, name: &'static str) -> Broken {
        let data = self.anonymous_volumes(name).await;
        let declared = self.next_declaration(name);
        let mut broken = self.last_up(&declared, false).await;
        let found = self.containers(name).await;
        broken.extend(promises::of_containers(&declared, &found));
        broken.extend(promises::of_anonymous_volumes(&data, &declared, &found));
        let data = self.anonymous_volumes(name).await;
        broken.extend(self.last_up(&declared, true).await);
        let found = self.containers(name).await;
        broken.extend(promises::of_containers(&declared, &found));
        broken.extend(promises::of_anonymous_volumes(&data, &declared, &found));
        broken.extend(self.examine_idle(&declared).await);
        broken.extend(promises::of_project(self.project(name).await.as_ref(), name));
        broken
    }

    async fn project(&self, name: &str) -> Option<Project> {
        let workspace = self.store.scope().workspace_id;
        self.store.project(workspace, name.to_owned()).await.expect("an answer")
    }

    /// A project that is as declared is left alone.
    async fn examine_idle(&self, declared: &Declaration) -> Broken {
        let workspace = self.store.scope().workspace_id;
        let project = Declared::from_bundle(&declared.bundle()).expect("a project");
        let preview = self.rollout.preview(workspace, &project, &PlanOptions::explicit()).await;
        let plan = preview.expect("a plan").plan;
        let written_before = self.host.engine.writes().len();
        let mut broken = self.last_up(declared, false).await;
        if !plan.is_empty() {
            broken.push(format!("there is always something left to do: {plan}"));
        }
        for write in &self.host.engine.writes()[written_before..] {
            broken.push(format!("nothing was to be done, but {} was called", write.method));
        }
        broken
    }

    async fn last_up(&self, declared: &Declaration, force_recreate: bool) -> Broken {
        let run = self.up(declared, force_recreate).await.expect("an accepted request");
        self.settled().await;
        let run = self.store.run(run.id).await.expect("an answer").expect("a run");
        promises::of_last_run(&run)
    }

    async fn examine_host(&self) -> Broken {
        let found = self.host.engine.volumes(None).await.expect("volumes");
        let found = found.into_iter().map(|volume| volume.name).collect();
        let stranger = self.host.engine.container(STRANGER).await.expect("an answer");
        let memory = self.host.memory();
        let mut broken = promises::of_volumes(&memory.volumes, &found);
        let before = memory.stranger.as_ref().expect("a stranger was planted");
        let writes = self.host.engine.writes();
        broken.extend(promises::of_strangers(before, stranger.as_ref(), &writes));
        broken
    }

    async fn containers(&self, project: &str) -> Vec<ContainerFacts> {
        let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, project);
        self.host.engine.containers(&filter).await.expect("containers")
    }

    async fn anonymous_volumes(
        &self,
        project: &str,
    ) -> BTreeMap<Instance, BTreeMap<String, String>> {
        let found = self.containers(project).await.into_iter();
        found.filter_map(|it| Some((it.instance?, it.anonymous_volumes))).collect()
    }
}
