//! An agent without doors on a host in memory, for tests: a fake engine, a real store on paused
//! time, and agents that can be killed and started again. Owns no promise. Face: `Host`, `Agent`,
//! `Ended`. Never compiled into the agent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tempfile::TempDir;

use super::policies::SharedPolicies;
use super::projects::{Asker, Projects};
use super::rollout::Rollout;
use super::{Door, Operations, Recovered, Request, Runner, RunnerOptions};
use crate::base::crash_points::NoCrashPoints;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::RunId;
use crate::base::time::after;
use crate::base::{Ambient, Clock, Digest, Timestamp};
use crate::domain::compose::{Bundle, BundleFile, ContextRef, Options};
use crate::domain::policy::PolicySet;
use crate::domain::rollout::{HostPathPolicy, Observed};
use crate::domain::runs::{
    DeployChoices, Inputs, OnCrash, OperationRun, Outcome, RunType, Source, StepRecord, StepStatus,
};
use crate::facts::{ContainerFacts, ImageFacts, ProjectSpec, ServiceSpec, labels};
use crate::store::keys::Keys;
use crate::store::sqlite::{self, Mode, Opening};
use crate::store::{PageRequest, RunFilter, Store};
use crate::world::content_files::FilesInMemory;
use crate::world::contexts::Contexts;
use crate::world::docker::fake::FakeEngine;
use crate::world::docker::{ContainerFilter, Engine as _};
use crate::world::tasks::{Life, Spawn as _, Supervisor};

/// The project that tests bring up.
pub(crate) const PROJECT: &str = "shop";

/// A clock that moves with tokio's paused time.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        after("2026-01-01T00:00:00Z".parse().unwrap(), self.0.elapsed())
    }
}

/// What outlives an agent.
pub(crate) struct Host {
    dir: Arc<TempDir>,
    ambient: Ambient,
    pub(crate) engine: Arc<FakeEngine>,
    files: Arc<FilesInMemory>,
    starts: u64,
    /// What follows a crash, when the registry is not to say it.
    pub(crate) on_crash: Option<fn(RunType) -> OnCrash>,
}

/// One life of the agent.
pub(crate) struct Agent {
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) ambient: Ambient,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) rollout: Rollout,
    pub(crate) runner: Arc<Runner>,
    pub(crate) door: Door,
    pub(crate) projects: Projects,
    pub(crate) supervisor: Supervisor,
    /// What it found when it started.
    pub(crate) recovered: Recovered,
    _life: Life,
    _dir: Arc<TempDir>,
}

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) run: OperationRun,
    pub(crate) steps: Vec<StepRecord>,
}

impl Host {
    /// A host whose engine takes 5 ms per call, and whose registry holds `app:1`, `app:2`, `db:1`.
    pub(crate) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock(tokio::time::Instant::now()));
        let engine = FakeEngine::new(Arc::clone(&clock));
        engine.set_latency(Duration::from_millis(5));
        for name in ["app:1", "app:2", "db:1"] {
            engine.offer_image(name, image(name));
        }
        let entropy = Arc::new(SeededEntropy::new(1));
        let ambient = Ambient { clock, entropy, crash_points: Arc::new(NoCrashPoints) };
        let (dir, files) = (Arc::new(tempfile::tempdir().unwrap()), Arc::default());
        Self { dir, ambient, engine, files, starts: 0, on_crash: None }
    }

    /// Another agent's state on the same engine.
    pub(crate) fn beside(&self) -> Self {
        let ambient = Ambient { entropy: Arc::new(SeededEntropy::new(2)), ..self.ambient.clone() };
        let (dir, files) = (Arc::new(tempfile::tempdir().unwrap()), Arc::default());
        let engine = Arc::clone(&self.engine);
        Self { dir, ambient, engine, files, starts: 0, on_crash: None }
    }

    /// Loses the agent's database, as when somebody deletes its file.
    pub(crate) fn lose_database(&self) {
        for file in ["wharf.db", "wharf.db-wal", "wharf.db-shm"] {
            let _ = std::fs::remove_file(self.dir.path().join(file));
        }
    }

    /// Starts an agent; it recovers what an earlier one left, and serves.
    pub(crate) async fn start(&mut self) -> Agent {
        self.start_with(Operations::on_projects).await
    }

    /// The same, with operations of the test's.
    pub(crate) async fn start_with(
        &mut self,
        operations: impl FnOnce(&Rollout) -> Operations,
    ) -> Agent {
        self.starts += 1;
        let (dir, ambient) = (self.dir.path(), self.ambient.clone());
        let keys = Keys::open_or_create(dir, &*ambient.entropy).unwrap();
        let opened = sqlite::open(Opening {
            state_dir: dir,
            keys: &keys,
            ambient: &ambient,
            os_user: "ada",
            hostname: "host-1",
            agent_version: "0.0.0",
            mode: Mode::Inline,
            on_commit: None,
        });
        let store: Arc<dyn Store> = opened.unwrap().store;
        let rollout = Rollout {
            engine: Arc::clone(&self.engine) as _,
            store: Arc::clone(&store),
            key: keys.hash_key().clone(),
            files: Arc::clone(&self.files) as _,
            contexts: Arc::new(Contexts::open(dir, 1 << 20).unwrap()),
            policies: SharedPolicies::new(PolicySet::default()),
        };
        let supervisor = Supervisor::new();
        let mut options = RunnerOptions::new(format!("start-{}", self.starts));
        options.on_crash = self.on_crash.unwrap_or(options.on_crash);
        let runner = Runner::new(
            Arc::clone(&store),
            ambient.clone(),
            operations(&rollout),
            Arc::new(supervisor.clone()),
            options,
        );
        let recovered = runner.start().await.unwrap();
        let _served = supervisor.spawn("runner", Arc::clone(&runner).serve().boxed());
        let door = runner.door();
        let policy = HostPathPolicy::default();
        let projects = Projects::new(rollout.clone(), door.clone(), ambient.clone(), policy);
        let (engine, _dir) = (Arc::clone(&self.engine), Arc::clone(&self.dir));
        let _life = Life(supervisor.clone());
        Agent {
            engine,
            ambient,
            store,
            rollout,
            runner,
            door,
            projects,
            supervisor,
            recovered,
            _life,
            _dir,
        }
    }
}

impl Agent {
    /// Asks to bring the project up as this compose file says.
    pub(crate) async fn submit(&self, compose: &str) -> RunId {
        self.apply(&bundle(compose), DeployChoices::default()).await
    }

    /// The same with files and choices of the test's.
    pub(crate) async fn apply(&self, bundle: &Bundle, choices: DeployChoices) -> RunId {
        self.projects.apply(PROJECT, bundle, choices, &asker()).await.unwrap().run().id
    }

    pub(crate) async fn up(&self, compose: &str) -> Ended {
        self.ended(self.submit(compose).await).await
    }

    /// The same with choices of the test's.
    pub(crate) async fn up_with(&self, compose: &str, choices: DeployChoices) -> Ended {
        self.ended(self.apply(&bundle(compose), choices).await).await
    }

    /// The same, for some services.
    pub(crate) async fn up_services(&self, compose: &str, services: &[&str]) -> Ended {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        self.up_with(compose, DeployChoices { services, ..DeployChoices::default() }).await
    }

    /// Makes the project as applied again, as the watcher does.
    pub(crate) async fn converge(&self) -> Ended {
        let scope = self.store.scope();
        let project = self.store.project(scope.workspace_id, PROJECT.to_owned()).await;
        let inputs = self.rollout.deploy_as_applied(&project.unwrap().unwrap()).await;
        let inputs = Inputs::DeployProject(inputs.unwrap().unwrap());
        let request = Request::by_agent(&scope, Source::Convergence, inputs);
        self.ended(self.door.submit(request).await.unwrap().run().id).await
    }

    pub(crate) async fn down(&self, volumes: bool) -> Ended {
        let admitted = self.projects.remove(PROJECT, volumes, &asker()).await;
        self.ended(admitted.unwrap().run().id).await
    }

    pub(crate) async fn restart(&self) -> Ended {
        self.ended(self.submit_restart().await).await
    }

    pub(crate) async fn submit_restart(&self) -> RunId {
        let admitted = self.projects.restart(PROJECT, Vec::new(), &asker()).await;
        admitted.unwrap().run().id
    }

    pub(crate) async fn run(&self, id: RunId) -> OperationRun {
        self.store.run(id).await.unwrap().unwrap()
    }

    /// All runs, newest first.
    pub(crate) async fn runs(&self) -> Vec<OperationRun> {
        let filter = RunFilter::workspace(self.store.scope().workspace_id);
        self.store.runs(filter, PageRequest::first(0)).await.unwrap().items
    }

    /// Waits until the run is as the test wants it, an hour at most.
    pub(crate) async fn until(
        &self,
        id: RunId,
        wanted: impl Fn(&OperationRun) -> bool,
    ) -> OperationRun {
        let wait = async {
            loop {
                let run = self.run(id).await;
                if wanted(&run) {
                    return run;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(3600), wait).await {
            Ok(run) => run,
            Err(_) => panic!("the run never got there: {:?}", self.run(id).await),
        }
    }

    /// Waits until the run has ended; then none of its steps is open.
    pub(crate) async fn ended(&self, id: RunId) -> Ended {
        let run = self.until(id, |run| run.state.is_completed()).await;
        let steps = self.store.steps(id).await.unwrap();
        let is_open = |step: &StepRecord| step.status == StepStatus::Started;
        assert!(!steps.iter().any(is_open), "{steps:#?}");
        Ended { run, steps }
    }

    /// Waits until so many steps of the run are recorded, or it has ended.
    pub(crate) async fn steps_taken(&self, id: RunId, count: usize) {
        while self.store.steps(id).await.unwrap().len() < count {
            if self.run(id).await.state.is_completed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How the project is.
    pub(crate) async fn look(&self) -> Observed {
        let spec = ProjectSpec { name: PROJECT.to_owned(), ..ProjectSpec::default() };
        self.rollout.observe(self.store.scope().workspace_id, &spec).await.unwrap()
    }

    /// The project's containers, by name.
    pub(crate) async fn containers(&self) -> BTreeMap<String, ContainerFacts> {
        let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, PROJECT);
        let found = self.engine.containers(&filter).await.unwrap();
        found.into_iter().map(|container| (container.name.clone(), container)).collect()
    }

    /// Every task stops where it is, as when the process is killed.
    pub(crate) async fn kill(self) {
        self.supervisor.shut_down(Duration::ZERO).await;
    }
}

impl Ended {
    /// Keys of the steps, in the order of beginning.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step.key.as_str()).collect()
    }

    /// Where a step stands in that order.
    pub(crate) fn place(&self, key: &str) -> usize {
        let found = self.steps.iter().position(|step| step.key == key);
        found.unwrap_or_else(|| panic!("no step {key} in {:#?}", self.keys()))
    }

    pub(crate) fn failures(&self) -> Vec<(&str, &str)> {
        let each = self.run.failure_summary.iter();
        each.map(|failure| (failure.reason_code.key(), failure.message.as_str())).collect()
    }

    /// One word per service.
    pub(crate) fn standing(&self) -> BTreeMap<&str, &str> {
        let services = self.run.context.details.services.iter();
        services.map(|detail| (detail.service.as_str(), detail.state.as_str())).collect()
    }

    #[track_caller]
    pub(crate) fn assert(&self, outcome: Outcome) {
        assert_eq!(self.run.outcome(), outcome, "{:#?} {:#?}", self.failures(), self.keys());
    }
}

/// The host's owner, at the command line.
pub(crate) fn asker() -> Asker {
    Asker::local(0, "ada", Source::Cli)
}

/// An image that runs a server unless it is told otherwise.
pub(crate) fn image(name: &str) -> ImageFacts {
    ImageFacts {
        last_tagged_at: None,
        id: format!("sha256:{}", Digest::of(name.as_bytes())),
        tags: vec![name.to_owned()],
        digests: Vec::new(),
        defaults: ServiceSpec { command: Some(vec!["serve".to_owned()]), ..ServiceSpec::default() },
        platform: "linux/amd64".to_owned(),
        size_bytes: 1,
        created_at: None,
    }
}

/// The project of this compose file, as a client sends it.
pub(crate) fn bundle(compose: &str) -> Bundle {
    let path = |file: &str| format!("/srv/{PROJECT}/{file}");
    let options = Options {
        directory: format!("/srv/{PROJECT}"),
        files: vec![path("compose.yaml")],
        project_name: Some(PROJECT.to_owned()),
        ..Options::default()
    };
    let files = BTreeMap::from([
        (path("compose.yaml"), BundleFile::Text(compose.to_owned())),
        (path(".env"), BundleFile::Missing),
    ]);
    let environment = BTreeMap::from([("PASSWORD".to_owned(), "open sesame".to_owned())]);
    Bundle { options, files, environment, build_contexts: Vec::new() }
}

/// The same, whose service `web` is built from that context.
pub(crate) fn bundle_with_context(compose: &str, digest: Digest) -> Bundle {
    let context = ContextRef {
        service: "web".to_owned(),
        path: format!("/srv/{PROJECT}"),
        dockerfile: "Dockerfile".to_owned(),
        digest,
    };
    Bundle { build_contexts: vec![context], ..bundle(compose) }
}
