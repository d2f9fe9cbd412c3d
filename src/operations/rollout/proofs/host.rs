//! A host for the tests: an engine in memory, a store on disk, and an agent that can be killed and
//! started again. Owns no promise. Face: `Host`, `Agent`, `Ended`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tempfile::TempDir;

use crate::base::crash_points::NoCrashPoints;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::{RevisionId, RunId};
use crate::base::time::after;
use crate::base::{Ambient, Clock, Digest, Secret, Timestamp};
use crate::domain::compose::{Bundle, BundleFile, ContextRef, Options};
use crate::domain::rollout::Observed;
use crate::domain::runs::{
    DeployCause, DeployProject as DeployInputs, Inputs, OperationRun, Outcome,
    RemoveProject as RemoveInputs, RestartProject as RestartInputs, RunType, Source, StepRecord,
    StepStatus,
};
use crate::facts::{ImageFacts, ProjectSpec, ServiceSpec};
use crate::operations::deploy_project::DeployProject;
use crate::operations::remove_project::RemoveProject;
use crate::operations::restart_project::RestartProject;
use crate::operations::rollout::Rollout;
use crate::operations::{Door, Operations, Request, Runner, RunnerOptions};
use crate::store::keys::Keys;
use crate::store::sqlite::{self, Mode, Opening};
use crate::store::{Desired, NewRevision, Project, Store, Write};
use crate::world::content_files::FilesInMemory;
use crate::world::contexts::Contexts;
use crate::world::docker::fake::FakeEngine;
use crate::world::tasks::{Spawn as _, Supervisor};

/// A clock that moves with tokio's paused time.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        after("2026-01-01T00:00:00Z".parse().unwrap(), self.0.elapsed())
    }
}

/// What outlives an agent.
pub(super) struct Host {
    dir: TempDir,
    ambient: Ambient,
    pub(super) engine: Arc<FakeEngine>,
    pub(super) files: Arc<FilesInMemory>,
    starts: u64,
}

/// One life of the agent.
pub(super) struct Agent {
    pub(super) rollout: Rollout,
    pub(super) door: Door,
    ambient: Ambient,
    supervisor: Supervisor,
}

/// A run that has ended.
pub(super) struct Ended {
    pub(super) run: OperationRun,
    pub(super) steps: Vec<StepRecord>,
}

impl Ended {
    /// Keys of the steps, in the order of beginning.
    pub(super) fn keys(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step.key.as_str()).collect()
    }

    /// Where a step stands in that order.
    pub(super) fn place(&self, key: &str) -> usize {
        let found = self.steps.iter().position(|step| step.key == key);
        found.unwrap_or_else(|| panic!("no step {key} in {:#?}", self.keys()))
    }

    pub(super) fn failures(&self) -> Vec<(&str, &str)> {
        let each = self.run.failure_summary.iter();
        each.map(|failure| (failure.reason_code.key(), failure.message.as_str())).collect()
    }

    /// One word per service.
    pub(super) fn standing(&self) -> BTreeMap<&str, &str> {
        let services = self.run.context.details.services.iter();
        services.map(|detail| (detail.service.as_str(), detail.state.as_str())).collect()
    }

    #[track_caller]
    pub(super) fn assert(&self, outcome: Outcome) {
        assert_eq!(self.run.outcome(), outcome, "{:#?} {:#?}", self.failures(), self.keys());
    }
}

pub(super) fn image(name: &str) -> ImageFacts {
    ImageFacts {
        id: format!("sha256:{}", Digest::of(name.as_bytes())),
        tags: vec![name.to_owned()],
        digests: Vec::new(),
        defaults: ServiceSpec::default(),
        platform: "linux/amd64".to_owned(),
        size_bytes: 1,
        created_at: None,
    }
}

/// The project `shop` of this compose file; `context` is what its service `web` is built from.
pub(super) fn bundle(compose: &str, context: Option<Digest>) -> Bundle {
    let context = context.map(|digest| ContextRef {
        service: "web".to_owned(),
        path: "/p".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
        digest,
    });
    let path = "/p/compose.yaml".to_owned();
    let mut files = BTreeMap::from([(path.clone(), BundleFile::Text(compose.to_owned()))]);
    files.insert("/p/.env".to_owned(), BundleFile::Missing);
    let options = Options {
        directory: "/p".to_owned(),
        files: vec![path],
        project_name: Some("shop".to_owned()),
        ..Options::default()
    };
    let environment = BTreeMap::from([("PASSWORD".to_owned(), "open sesame".to_owned())]);
    Bundle { options, files, environment, build_contexts: context.into_iter().collect() }
}

impl Host {
    /// A host whose engine takes 5 ms per call, and whose registry holds `app:1` and `db:1`.
    pub(super) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(PausedClock(tokio::time::Instant::now()));
        let engine = FakeEngine::new(Arc::clone(&clock));
        engine.set_latency(Duration::from_millis(5));
        for name in ["app:1", "db:1"] {
            engine.offer_image(name, image(name));
        }
        let entropy = Arc::new(SeededEntropy::new(1));
        let ambient = Ambient { clock, entropy, crash_points: Arc::new(NoCrashPoints) };
        let (dir, files) = (tempfile::tempdir().unwrap(), Arc::default());
        Self { dir, ambient, engine, files, starts: 0 }
    }

    /// Starts an agent; it recovers what an earlier one left, and serves.
    pub(super) async fn start(&mut self) -> Agent {
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
        let rollout = Rollout {
            engine: Arc::clone(&self.engine) as _,
            store: Arc::clone(&store),
            key: keys.hash_key().clone(),
            files: Arc::clone(&self.files) as _,
            contexts: Arc::new(Contexts::open(self.dir.path(), 1 << 20).unwrap()),
            exits: Arc::default(),
        };
        let operations = Operations::default()
            .with(RunType::DeployProject, Arc::new(DeployProject::new(rollout.clone())))
            .with(RunType::RemoveProject, Arc::new(RemoveProject::new(rollout.clone())))
            .with(RunType::RestartProject, Arc::new(RestartProject::new(rollout.clone())));
        let supervisor = Supervisor::new();
        let runner = Runner::new(
            store,
            self.ambient.clone(),
            operations,
            Arc::new(supervisor.clone()),
            RunnerOptions::new(format!("start-{}", self.starts)),
        );
        runner.recover().await.unwrap();
        let _served = supervisor.spawn("runner", Arc::clone(&runner).serve().boxed());
        Agent { rollout, door: runner.door(), ambient: self.ambient.clone(), supervisor }
    }
}

impl Agent {
    /// Asks to bring the project `shop` up as this compose file says.
    pub(super) async fn submit(
        &self,
        compose: &str,
        context: Option<Digest>,
        change: impl FnOnce(&mut DeployInputs),
    ) -> RunId {
        let content = serde_json::to_vec(&bundle(compose, context)).unwrap();
        let (now, scope) = (self.ambient.now(), self.rollout.store.scope());
        let id = RevisionId::generate(&*self.ambient.clock, &*self.ambient.entropy);
        let digest = self.rollout.key.digest(&content);
        let revision = NewRevision {
            id,
            workspace_id: scope.workspace_id,
            project: "shop".to_owned(),
            digest,
            content: Secret::new(content.into()),
            created_at: now,
        };
        let mut inputs = DeployInputs {
            project: "shop".to_owned(),
            revision_id: id,
            revision_digest: digest,
            services: Vec::new(),
            cause: DeployCause::Apply,
            force_recreate: false,
            keep_orphans: false,
            rebuild: false,
            adopt: false,
            wait_timeout_seconds: None,
        };
        change(&mut inputs);
        let project = Project {
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            name: "shop".to_owned(),
            desired: Desired::Running,
            revision_id: Some(id),
            deployed_revision_id: None,
            spec_digest: None,
            created_at: now,
            updated_at: now,
        };
        let mut request = Request::by_owner(&scope, Source::Cli, Inputs::DeployProject(inputs));
        request.writes = vec![Write::PutRevision(revision), Write::PutProject(project)];
        self.door.submit(request).await.unwrap().run().id
    }

    pub(super) async fn up(&self, compose: &str) -> Ended {
        self.ended(self.submit(compose, None, |_| {}).await).await
    }

    /// Asks to take the project away, and notes down that it is unwanted, as the door's users do.
    pub(super) async fn down(&self, volumes: bool) -> Ended {
        let scope = self.rollout.store.scope();
        let name = "shop".to_owned();
        let known = self.rollout.store.project(scope.workspace_id, name.clone()).await.unwrap();
        let inputs = Inputs::RemoveProject(RemoveInputs { project: name, volumes });
        let mut request = Request::by_owner(&scope, Source::Cli, inputs);
        let unwanted = known.map(|project| Project { desired: Desired::Removed, ..project });
        request.writes = unwanted.map(Write::PutProject).into_iter().collect();
        let id = self.door.submit(request).await.unwrap().run().id;
        self.ended(id).await
    }

    pub(super) async fn restart(&self) -> Ended {
        self.ended(self.submit_restart().await).await
    }

    pub(super) async fn submit_restart(&self) -> RunId {
        let (project, services) = ("shop".to_owned(), Vec::new());
        let inputs = Inputs::RestartProject(RestartInputs { project, services });
        let request = Request::by_owner(&self.rollout.store.scope(), Source::Cli, inputs);
        self.door.submit(request).await.unwrap().run().id
    }

    /// Waits until the run has ended, an hour at most.
    pub(super) async fn ended(&self, id: RunId) -> Ended {
        let wait = async {
            loop {
                let run = self.rollout.store.run(id).await.unwrap().unwrap();
                let steps = self.rollout.store.steps(id).await.unwrap();
                if run.state.is_completed() {
                    return Ended { run, steps };
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(3600), wait).await;
        let ended = ended.expect("the run ends");
        let is_open = |step: &&StepRecord| step.status == StepStatus::Started;
        assert!(!ended.steps.iter().any(|step| is_open(&step)), "{:#?}", ended.steps);
        ended
    }

    /// Waits until so many steps of the run are recorded.
    pub(super) async fn steps_taken(&self, id: RunId, count: usize) {
        while self.rollout.store.steps(id).await.unwrap().len() < count {
            let run = self.rollout.store.run(id).await.unwrap().unwrap();
            if run.state.is_completed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How the project `shop` is.
    pub(super) async fn look(&self) -> Observed {
        let spec = ProjectSpec { name: "shop".to_owned(), ..ProjectSpec::default() };
        let workspace = self.rollout.store.scope().workspace_id;
        self.rollout.observe(workspace, &spec).await.unwrap()
    }

    /// Every task stops where it is, as when the process is killed.
    pub(super) async fn kill(self) {
        self.supervisor.shut_down(Duration::ZERO).await;
    }
}
