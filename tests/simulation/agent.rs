//! Lives many lives of the agent that keeps projects: the real operations, store, runner and
//! requests on an engine in memory. Owns the script of a life. Face: its tests, `STRANGER`.
//! Never decides what must hold: `promises` does.

mod examine;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;

use wharfinger::base::ids::{HostId, RunId};
use wharfinger::base::{Ambient, Clock as _};
use wharfinger::domain::alerts::{Delivery, DeliveryStatus};
use wharfinger::domain::audit::Actor;
use wharfinger::domain::policy::PolicySet;
use wharfinger::domain::rollout::{HostPathPolicy, PlanOptions};
use wharfinger::domain::runs::{DeployChoices, OperationRun, RunType, Source};
use wharfinger::facts::{ContainerFacts, Instance, RestartPolicy, ServiceSpec, labels};
use wharfinger::operations::deploy_project::{DeployProject, options_of};
use wharfinger::operations::policies::SharedPolicies;
use wharfinger::operations::projects::{Asker, ProjectError, Projects};
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
use crate::link::Link;
use crate::machine::{Machine, settle, wait_for};
use crate::mortal::Dice;
use crate::programs::Programs;
use crate::projects::{self, Declaration};
use crate::promises::{self, Broken};
use crate::queue::{self, Agent, Receiver};
use crate::queue_promises::{self, all_deliveries};
use crate::regressions::REGRESSIONS;
use crate::{compared, each, each_of, is_replay, seeds};

/// Seeds that are lived while one works; `tests/support/test` lives ten thousand, optimised.
const SEEDS: u64 = 60;
/// Seeds that are lived twice and compared.
const STORIES: u64 = 10;
const PROJECTS: [&str; 2] = ["blog", "shop"];
/// How the projects are looked after.
const CONVERGENCE: ConvergenceOptions = ConvergenceOptions {
    enabled: true,
    sweep_interval: Duration::from_secs(300),
    debounce: Duration::from_millis(500),
};
/// By then every project that is kept is as declared again, without anybody asking, when nothing
/// goes wrong any more: the longest pause after failures, and a few sweeps.
const MENDED_WITHIN: Duration = Duration::from_secs(3600);
/// By then every alert was told or given up.
const TOLD_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// A container of nobody's project.
pub(crate) const STRANGER: &str = "stranger";

#[test]
fn whatever_goes_wrong_projects_become_as_declared_and_nothing_is_lost() {
    let mut told = Told::default();
    let lives = |seed| {
        let lived = simulate(seed, None);
        assert_eq!(lived.broken, Broken::new(), "WHARF_SIMULATION_SEED={seed}");
        // All the stories together would not fit into memory.
        Told { story: Default::default(), ..lived }
    };
    if !is_replay() {
        each_of(&REGRESSIONS.map(|(seed, _)| seed), lives);
    }
    let seeds = seeds(SEEDS);
    let count = seeds.end - seeds.start;
    for lived in each(seeds, lives) {
        told.runs += lived.runs;
        told.crashes += lived.crashes;
        told.retried += lived.retried;
    }
    let Told { runs, crashes, retried, .. } = &told;
    println!("{count} whole agents: {runs} runs, {crashes} crashes, {retried} runs resumed");
    let is_eventful = told.crashes > 0 && told.retried > 0;
    assert!(is_replay() || is_eventful, "a simulation in which nothing happens proves nothing");
}

#[test]
fn planted_flaws_are_found() {
    let flaws = [
        (Flaw::Unfenced, "was taken over, and"),
        (Flaw::CountsTwice, "and programs know of"),
        (Flaw::ForgetsRetries, "is given up after"),
        (Flaw::IgnoresLocks, "hold one subject"),
        (Flaw::Impatient, "two holders"),
        (Flaw::LeavesTheLost, "never ended"),
        (Flaw::LooksAway, "is not as declared"),
        (Flaw::MakesTwice, "is too many"),
        (Flaw::LosesVolumes, "is lost"),
        (Flaw::TouchesStrangers, "a stranger is touched"),
    ];
    each(0..flaws.len() as u64, |place| {
        let (flaw, expect) = flaws[usize::try_from(place).expect("a place")];
        let is_told = |seed: &u64| {
            let broken = simulate(*seed, Some(flaw)).broken;
            broken.iter().any(|it| it.contains(expect))
        };
        let seeds = (0..SEEDS).chain(REGRESSIONS.map(|(seed, _)| seed));
        let found = seeds.clone().find(is_told);
        println!("{flaw:?} is found by seed {found:?}");
        assert!(found.is_some(), "{flaw:?} is not found in {} seeds", seeds.count());
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
    let shape = Shape::roll(&dice);
    let receiver = Receiver::new(dice.more());
    let (files, memory, programs, boots) = Default::default();
    let host =
        Host { machine, dice, shape, engine, files, memory, programs, receiver, boots, flaw };
    let lives = host.shape.lives;
    for life in 1..=lives {
        let dies_at = (life < lives).then(|| 1 + host.dice.below(host.shape.crash_points));
        let told = host.machine.live(dies_at, async |ambient| host.process(life, ambient).await);
        if let Some(told) = told {
            return Told { crashes: host.machine.crashes(), ..told };
        }
    }
    panic!("seed {seed}: the last life never ended");
}

/// How much happens to a simulated host, and of what kind. Most stories are short, because many
/// short ones find more than a few long ones; some are long, because some defects need that.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Lives of its agents; the last one never crashes.
    lives: u64,
    /// How much is asked for in a life.
    events: u64,
    /// A process dies at one of so many crash points, or at none because it never gets there.
    crash_points: u64,
    /// Whether somebody asks for projects.
    has_projects: bool,
    /// Whether programs use the run queue.
    has_programs: bool,
    /// Whether an agent of another host shares the store.
    is_shared: bool,
    /// One in so many writes does not reach the store; 0 for none.
    trouble: u64,
}

impl Shape {
    fn roll(dice: &Dice) -> Self {
        let (lives, events, crash_points) = match dice.below(16) {
            0 => (4, 10, 600),
            1 | 2 => (3, 6, 300),
            _ => (2, 3, 120),
        };
        let (has_projects, has_programs) = match dice.below(8) {
            0 => (true, false),
            1 => (true, true),
            _ => (false, true),
        };
        // What a program asks for is cheap: its lives may be fuller.
        let events = if has_projects { events } else { events * 3 };
        let is_shared = has_programs && dice.once_in(2);
        let trouble = if is_shared { dice.below(3) * 20 } else { 0 };
        Self { lives, events, crash_points, has_projects, has_programs, is_shared, trouble }
    }
}

/// One simulated host: everything that outlives a process.
struct Host {
    machine: Machine,
    dice: Dice,
    shape: Shape,
    engine: Arc<FakeEngine>,
    files: Arc<FilesInMemory>,
    memory: Mutex<Memory>,
    programs: Programs,
    receiver: Arc<Receiver>,
    /// How often the machine was started anew.
    boots: AtomicU64,
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

/// One process on the host, and beside it the agent of another host that shares its store.
struct Process<'host> {
    host: &'host Host,
    /// The store itself: what is looked at goes past all faults.
    store: Arc<dyn Store>,
    agents: Vec<Agent>,
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
        } else if self.dice.once_in(2) {
            self.boots.fetch_add(1, Ordering::Relaxed);
            self.programs.reboot();
        }
        let (keys, store) = self.machine.open(&ambient);
        let contexts = Contexts::open(self.machine.state_dir(), 1 << 20).expect("contexts");
        let engine = Arc::clone(&self.engine) as SharedEngine;
        let crash_points = Arc::clone(&ambient.crash_points);
        let link = self.link(&store, store.scope().host_id);
        let rollout = Rollout {
            engine: Arc::new(ObservedEngine::new(engine, crash_points, Arc::new(|_| {}))),
            store: Arc::clone(&link) as _,
            key: keys.hash_key().clone(),
            files: Arc::clone(&self.files) as _,
            contexts: Arc::new(contexts),
            policies: SharedPolicies::new(PolicySet::default()),
        };
        let agents = self.agents(life, &ambient, &store, &rollout, &link).await;
        let agent = &agents[0];
        let (_options, options) = watch::channel(CONVERGENCE);
        let clock = Arc::clone(&ambient.clock);
        let watcher = Convergence::new(rollout.clone(), agent.door(), clock, options);
        if self.flaw != Some(Flaw::LooksAway) {
            let watch = watcher.watch(agent.tasks.stop_token()).boxed();
            let _watched = agent.tasks.spawn("convergence", watch);
        }
        let policy = HostPathPolicy::default();
        let projects = Projects::new(rollout.clone(), agent.door(), ambient, policy);
        let asker = Asker::local(1000, "ada", Source::Cli);
        let door = agent.door();
        let process = Process { host: self, store, agents, door, projects, rollout, asker };
        let dice: Vec<Dice> = (0..Programs::workers()).map(|_| self.dice.more()).collect();
        let lived = async {
            process.script().await;
            if life < self.shape.lives {
                // It dies at last while it has nothing to do.
                let deadline = Duration::from_secs(self.dice.below(5));
                process.agents[0].runner.drain(deadline).await;
                return None;
            }
            Some(process.examine().await)
        };
        let mut working: FuturesUnordered<_> = FuturesUnordered::new();
        if self.shape.has_programs {
            working.extend(dice.iter().enumerate().map(|(number, dice)| {
                let counter = &process.agents[number % process.agents.len()].counter;
                self.programs.work(number, counter, dice, &*self.machine.clock)
            }));
        }
        tokio::pin!(lived);
        loop {
            tokio::select! {
                biased;
                Some(()) = working.next() => {}
                lived = &mut lived => return lived,
            }
        }
    }

    fn link(&self, store: &Arc<dyn Store>, host_id: HostId) -> Arc<Link> {
        let dice = self.dice.more();
        Link::new(Arc::clone(store), host_id, dice, self.shape.trouble, self.flaw)
    }

    /// The agent of this host, and the one that shares its store.
    async fn agents(
        &self,
        life: u64,
        ambient: &Ambient,
        store: &Arc<dyn Store>,
        rollout: &Rollout,
        link: &Arc<Link>,
    ) -> Vec<Agent> {
        let boot = self.boots.load(Ordering::Relaxed);
        let instance = format!("boot-{boot}/life-{life}");
        let operations = self.operations(rollout);
        let mut agents =
            vec![Agent::start(ambient, link, operations, instance, &self.receiver).await];
        if self.shape.is_shared {
            let link = self.link(store, HostId::from_u128(2));
            let instance = format!("other-{boot}/life-{life}");
            let operations = Operations::default();
            agents.push(Agent::start(ambient, &link, operations, instance, &self.receiver).await);
        }
        agents
    }

    fn operations(&self, rollout: &Rollout) -> Operations {
        let operations = Operations::on_projects(rollout);
        match self.flaw {
            Some(flaw @ (Flaw::MakesTwice | Flaw::LosesVolumes | Flaw::TouchesStrangers)) => {
                let operation = Arc::new(DeployProject::new(rollout.clone()));
                let engine = Arc::clone(&rollout.engine);
                let flawed = Flawed { operation, engine, flaw };
                operations.with(RunType::DeployProject, Arc::new(flawed))
            }
            _ => operations,
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
        let (dice, shape) = (&self.host.dice, self.host.shape);
        if shape.has_programs {
            self.agents[0].set_up(&self.host.programs, dice).await;
        }
        for _ in 0..shape.events {
            if dice.once_in(2) {
                tokio::time::sleep(Duration::from_millis(dice.below(4_000))).await;
            }
            if shape.has_projects && (!shape.has_programs || dice.once_in(2)) {
                self.project_event().await;
            } else {
                self.queue_event().await;
            }
        }
    }

    async fn project_event(&self) {
        let dice = &self.host.dice;
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

    async fn queue_event(&self) {
        let (dice, host) = (&self.host.dice, self.host);
        let Some(agent) = dice.choose(&self.agents) else { return };
        match dice.below(12) {
            0 => tokio::time::sleep(Duration::from_secs(dice.below(200))).await,
            1 => host.machine.clock.jump(Duration::from_secs(dice.below(100))),
            // Whoever loses a lease goes on with what it does; two runs may then have one project.
            2 if !host.shape.has_projects => {
                host.machine.clock.jump(Duration::from_secs(dice.below(4 * 3600)));
            }
            3 if host.shape.is_shared => {
                let is_cut = dice.once_in(2);
                agent.link.cut(is_cut);
                let is_long = !host.shape.has_projects && dice.once_in(4);
                let longest = if is_long { 1_000 } else { 60 };
                tokio::time::sleep(Duration::from_secs(dice.below(longest))).await;
                agent.link.cut(is_cut && is_long);
            }
            4 => agent.link.cut(false),
            5 | 6 => agent.operate(&host.programs, dice).await,
            _ => host.programs.ask(&agent.counter, dice, host.machine.clock.now()).await,
        }
    }

    async fn ask(&self) {
        let dice = &self.host.dice;
        let name = PROJECTS[usize::from(dice.once_in(2))];
        // A crash may come between the acceptance and its answer.
        self.host.memory().desired.remove(name);
        let (desired, asked) = self.ask_for(name).await;
        match asked {
            Err(ProjectError::Unknown(_)) => {}
            Err(refused) if format!("{refused:?}").contains("planted") => {}
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
    ) -> (Option<Desired>, Result<Option<OperationRun>, ProjectError>) {
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
    ) -> Result<OperationRun, ProjectError> {
        let choices = DeployChoices { force_recreate, ..DeployChoices::default() };
        let bundle = declared.bundle();
        let admitted = self.projects.apply(&declared.name, &bundle, choices, &self.asker).await?;
        Ok(admitted.run().clone())
    }

    async fn remember_volumes(&self) {
        if let Ok(found) = self.host.engine.volumes(None).await {
            self.host.memory().volumes.extend(found.into_iter().map(|volume| volume.name));
        }
    }
}
