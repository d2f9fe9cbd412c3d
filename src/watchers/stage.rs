//! A host for the tests of watchers: a real store in a folder, a runner whose runs last as long and
//! end as a test says, and a clock that moves with tokio's paused time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use crate::base::crash_points::NoCrashPoints;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::RevisionId;
use crate::base::time::after;
use crate::base::{Ambient, Clock, Digest, Timestamp};
use crate::domain::audit::EventType;
use crate::domain::runs::{End, Failure, OperationRun, ReasonCode, RunType, Source, Wanted};
use crate::operations::projects::Asker;
use crate::operations::{Operation, Operations, RunContext, RunEnd, Runner, RunnerOptions, Stop};
use crate::store::keys::Keys;
use crate::store::sqlite::{self, Mode, Opening};
use crate::store::{AuditFilter, NewRevision, PageRequest, RunFilter, Store, Write};
use crate::world::tasks::{Life, Spawn as _, Supervisor};

struct PausedClock {
    began: tokio::time::Instant,
    start: Timestamp,
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        after(self.start, self.began.elapsed())
    }
}

/// Restarts that last so long, and then end so.
pub(super) struct Lasting {
    pub(super) time: Duration,
    pub(super) end: End,
}

impl Operation for Lasting {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        async move {
            let cancelled = async {
                while run.stop().is_none() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            tokio::select! {
                biased;
                () = cancelled => RunEnd::stopped(Stop::Cancelled),
                () = tokio::time::sleep(self.time) => {
                    if self.end == End::Failed {
                        run.fail(Failure::new(ReasonCode::Internal, "service:web", "it broke"));
                    }
                    RunEnd::ended(self.end)
                }
            }
        }
        .boxed()
    }
}

/// What is kept of project `shop`.
pub(super) fn wanted() -> Wanted {
    Wanted { services: vec!["web".to_owned()], ..Wanted::default() }
}

pub(super) struct Stage {
    dir: TempDir,
    pub(super) ambient: Ambient,
    pub(super) store: Arc<dyn Store>,
    pub(super) runner: Arc<Runner>,
    pub(super) supervisor: Supervisor,
    life: Life,
    starts: u32,
}

impl Stage {
    /// A host at this time that keeps project `shop`.
    pub(super) async fn at(start: &str, runs: Lasting) -> Self {
        let start = start.parse().unwrap();
        let ambient = Ambient {
            clock: Arc::new(PausedClock { began: tokio::time::Instant::now(), start }),
            entropy: Arc::new(SeededEntropy::new(1)),
            crash_points: Arc::new(NoCrashPoints),
        };
        let dir = tempfile::tempdir().unwrap();
        let stage = Self::open(dir, ambient, runs, 1);
        stage.keep_shop().await;
        stage
    }

    fn open(dir: TempDir, ambient: Ambient, runs: Lasting, starts: u32) -> Self {
        let keys = Keys::open_or_create(dir.path(), &*ambient.entropy).unwrap();
        let opened = sqlite::open(Opening {
            state_dir: dir.path(),
            keys: &keys,
            ambient: &ambient,
            os_user: "ada",
            hostname: "host-1",
            agent_version: "0.0.0",
            mode: Mode::Inline,
            on_commit: None,
        });
        let store: Arc<dyn Store> = opened.unwrap().store;
        let supervisor = Supervisor::new();
        let runner = Runner::new(
            Arc::clone(&store),
            ambient.clone(),
            Operations::default().with(RunType::RestartProject, Arc::new(runs)),
            Arc::new(supervisor.clone()),
            RunnerOptions::new(format!("start-{starts}")),
        );
        let _served = supervisor.spawn("runner", Arc::clone(&runner).serve().boxed());
        let life = Life(supervisor.clone());
        Self { dir, ambient, store, runner, supervisor, life, starts }
    }

    /// What is there after this process was killed and another began.
    pub(super) async fn killed(self, runs: Lasting) -> Self {
        let Self { dir, ambient, store, runner, supervisor, life, starts } = self;
        supervisor.shut_down(Duration::ZERO).await;
        drop((runner, supervisor, life));
        store.close().await.unwrap();
        drop(store);
        let stage = Self::open(dir, ambient, runs, starts + 1);
        stage.runner.start().await.unwrap();
        stage
    }

    async fn keep_shop(&self) {
        let scope = self.store.scope();
        let revision_id = RevisionId::from_u128(1);
        let files = NewRevision {
            id: revision_id,
            workspace_id: scope.workspace_id,
            project: "shop".to_owned(),
            digest: Digest::of(b"files"),
            content: bytes::Bytes::from_static(b"files").into(),
            created_at: self.now(),
        };
        let project = Write::ApplyProject {
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            name: "shop".to_owned(),
            revision_id,
            wanted: wanted(),
            at: self.now(),
        };
        let runs = RunFilter::workspace(scope.workspace_id);
        assert_eq!(self.store.runs(runs, PageRequest::first(1)).await.unwrap().items, []);
        let event =
            self.store.audit(AuditFilter::workspace(scope.workspace_id), PageRequest::first(1));
        let event = event.await.unwrap().items.remove(0).event;
        let event = crate::domain::audit::AuditEvent {
            id: crate::base::ids::EventId::from_u128(1),
            ..event
        };
        let writes = vec![Write::PutRevision(files), project];
        self.store.commit(writes, event.into()).await.unwrap();
    }

    /// From now on, nothing of project `shop` was ever applied.
    pub(super) fn lose_files(&self) {
        sqlite::tests::lose_files_of_projects(self.dir.path());
    }

    pub(super) fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    pub(super) fn asker(&self) -> Asker {
        Asker::local(0, self.store.scope().owner_name, Source::Cli)
    }

    /// Every run, first first.
    pub(super) async fn runs(&self) -> Vec<OperationRun> {
        let filter = RunFilter::workspace(self.store.scope().workspace_id);
        let mut runs = self.store.runs(filter, PageRequest::default()).await.unwrap().items;
        runs.reverse();
        runs
    }

    /// How often each of these was recorded.
    pub(super) async fn recorded(&self, event_type: EventType) -> usize {
        let filter = AuditFilter {
            event_types: vec![event_type],
            ..AuditFilter::workspace(self.store.scope().workspace_id)
        };
        self.store.audit(filter, PageRequest::default()).await.unwrap().items.len()
    }
}
