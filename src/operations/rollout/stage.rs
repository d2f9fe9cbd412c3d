//! An agent without doors on a fake engine, for tests. Owns `Stage`: a real store, runner and
//! rollout on paused time. Face: `Stage`. Never compiled into the agent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tempfile::TempDir;

use super::{ExitLog, Rollout};
use crate::base::crash_points::NoCrashPoints;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::RunId;
use crate::base::time::after;
use crate::base::{Ambient, Clock, Timestamp};
use crate::domain::compose::{Bundle, BundleFile};
use crate::domain::rollout::HostPathPolicy;
use crate::domain::runs::{OperationRun, Outcome, RunType, Source};
use crate::facts::{ContainerFacts, ImageFacts, ServiceSpec, labels};
use crate::operations::deploy_project::DeployProject;
use crate::operations::projects::{ApplyChoices, Asker, Projects};
use crate::operations::remove_project::RemoveProject;
use crate::operations::restart_project::RestartProject;
use crate::operations::{Door, Operations, Runner, RunnerOptions};
use crate::store::keys::Keys;
use crate::store::sqlite::{self, Mode, Opening};
use crate::store::{PageRequest, RunFilter, Store};
use crate::world::content_files::FilesInMemory;
use crate::world::contexts::Contexts;
use crate::world::docker::fake::FakeEngine;
use crate::world::docker::{ContainerFilter, Engine as _};
use crate::world::tasks::{Spawn as _, Supervisor};

/// The name of the project that a stage plays.
pub(crate) const PROJECT: &str = "shop";

/// A clock that moves with tokio's paused time.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        after("2026-01-01T00:00:00Z".parse().unwrap(), self.0.elapsed())
    }
}

/// A running agent.
pub(crate) struct Stage {
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) rollout: Rollout,
    pub(crate) door: Door,
    pub(crate) projects: Projects,
    pub(crate) ambient: Ambient,
    pub(crate) supervisor: Supervisor,
    _dir: TempDir,
}

impl Stage {
    /// An agent on an engine that has the images `app:1`, `app:2` and `db:1`.
    pub(crate) async fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ambient = Ambient {
            clock: Arc::new(PausedClock(tokio::time::Instant::now())),
            entropy: Arc::new(SeededEntropy::new(1)),
            crash_points: Arc::new(NoCrashPoints),
        };
        let engine = FakeEngine::new(Arc::clone(&ambient.clock));
        for (reference, digit) in [("app:1", "a"), ("app:2", "b"), ("db:1", "c")] {
            engine.add_image(image(reference, digit));
        }
        let keys = Keys::open_or_create(dir.path(), &*ambient.entropy).unwrap();
        let opening = Opening {
            state_dir: dir.path(),
            keys: &keys,
            ambient: &ambient,
            os_user: "ada",
            hostname: "host-1",
            agent_version: "0.0.0",
            mode: Mode::Inline,
        };
        let store: Arc<dyn Store> = sqlite::open(opening).unwrap().store;
        let rollout = Rollout {
            engine: Arc::clone(&engine) as _,
            store: Arc::clone(&store),
            key: keys.hash_key().clone(),
            files: Arc::new(FilesInMemory::default()),
            contexts: Arc::new(Contexts::open(dir.path(), 1 << 20).unwrap()),
            exits: Arc::<ExitLog>::default(),
        };
        let operations = Operations::default()
            .with(RunType::DeployProject, Arc::new(DeployProject::new(rollout.clone())))
            .with(RunType::RemoveProject, Arc::new(RemoveProject::new(rollout.clone())))
            .with(RunType::RestartProject, Arc::new(RestartProject::new(rollout.clone())));
        let supervisor = Supervisor::new();
        let options = RunnerOptions::new("stage");
        let spawn = Arc::new(supervisor.clone());
        let runner = Runner::new(store, ambient.clone(), operations, spawn, options);
        let door = runner.door();
        let _runs = supervisor.spawn("runner", runner.serve().boxed());
        let policy = HostPathPolicy::default();
        let projects = Projects::new(rollout.clone(), door.clone(), ambient.clone(), policy);
        Self { engine, rollout, door, projects, ambient, supervisor, _dir: dir }
    }

    /// Who applies files on a stage.
    pub(crate) fn asker() -> Asker {
        Asker { uid: 0, name: "ada".to_owned(), source: Source::Cli }
    }

    /// Applies a compose file and waits for the run's end.
    pub(crate) async fn up(&self, compose: &str) -> OperationRun {
        let choices = ApplyChoices::default();
        let bundle = bundle(compose);
        let admitted = self.projects.apply(PROJECT, &bundle, choices, &Self::asker()).await;
        self.end_of(admitted.unwrap().run().id).await
    }

    /// Waits until the run has ended.
    pub(crate) async fn end_of(&self, id: RunId) -> OperationRun {
        for _ in 0..10_000 {
            let run = self.rollout.store.run(id).await.unwrap().unwrap();
            if run.outcome() != Outcome::Pending {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("run {id} does not end");
    }

    /// All runs, newest first.
    pub(crate) async fn runs(&self) -> Vec<OperationRun> {
        let filter = RunFilter::workspace(self.rollout.store.scope().workspace_id);
        self.rollout.store.runs(filter, PageRequest::first(0)).await.unwrap().items
    }

    /// The project's containers, by name.
    pub(crate) async fn containers(&self) -> BTreeMap<String, ContainerFacts> {
        let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, PROJECT);
        let found = self.engine.containers(&filter).await.unwrap();
        found.into_iter().map(|container| (container.name.clone(), container)).collect()
    }
}

/// A client's bundle with one compose file.
pub(crate) fn bundle(compose: &str) -> Bundle {
    let mut bundle = Bundle::default();
    bundle.options.directory = "/srv/shop".to_owned();
    bundle.options.files = vec!["/srv/shop/compose.yaml".to_owned()];
    bundle.options.project_name = Some(PROJECT.to_owned());
    let file = BundleFile::Text(compose.to_owned());
    bundle.files.insert("/srv/shop/compose.yaml".to_owned(), file);
    bundle.files.insert("/srv/shop/.env".to_owned(), BundleFile::Missing);
    bundle
}

fn image(reference: &str, digit: &str) -> ImageFacts {
    ImageFacts {
        id: format!("sha256:{}", digit.repeat(64)),
        tags: vec![reference.to_owned()],
        digests: Vec::new(),
        defaults: ServiceSpec { command: Some(vec!["serve".to_owned()]), ..ServiceSpec::default() },
        platform: "linux/amd64".to_owned(),
        size_bytes: 1,
        created_at: None,
    }
}
