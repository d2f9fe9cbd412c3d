mod auditing;
mod opening;
mod projects;
mod runs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::base::Timestamp;
use crate::base::crash_points::NoCrashPoints;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::{EventId, RunId};
use crate::base::time::TestClock;
use crate::domain::audit::{Actor, AuditEvent, AuditEvents, EventContext, EventType, Outcome};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{
    Context, Details, End, Inputs, OperationRun, RestartProject, RunState, Source, SummaryCounts,
    identity_hash,
};
use crate::store::{CompleteRun, RunProgress, StartAttempt, Store, Write};

/// A store on a directory of its own, with a clock that a test moves.
struct Fixture {
    dir: TempDir,
    clock: Arc<TestClock>,
    ambient: Ambient,
    store: Arc<SqliteStore>,
}

fn ambient(clock: &Arc<TestClock>, seed: u64) -> Ambient {
    Ambient {
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(SeededEntropy::new(seed)),
        crash_points: Arc::new(NoCrashPoints),
    }
}

fn open_in(state_dir: &Path, ambient: &Ambient, mode: Mode) -> Result<Opened, StoreError> {
    let keys = Keys::open_or_create(state_dir, &*ambient.entropy)?;
    open(Opening {
        state_dir,
        keys: &keys,
        ambient,
        os_user: "ada",
        hostname: "host-1",
        agent_version: "0.0.0",
        mode,
        on_commit: None,
    })
}

impl Fixture {
    fn new(mode: Mode) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
        let ambient = ambient(&clock, 1);
        let store = open_in(dir.path(), &ambient, mode).unwrap().store;
        Self { dir, clock, ambient, store }
    }

    fn inline() -> Self {
        Self::new(Mode::Inline)
    }

    /// What a new process finds after this one was killed.
    fn reopened(self) -> Self {
        let Self { dir, clock, store, .. } = self;
        drop(store);
        let ambient = ambient(&clock, 2);
        let store = open_in(dir.path(), &ambient, Mode::Inline).unwrap().store;
        Self { dir, clock, ambient, store }
    }

    fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    fn event(&self, event_type: EventType, summary: &str) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: self.store.scope().workspace_id,
            tenant_id: Some(self.store.scope().tenant_id),
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Info,
            actor: Actor::agent(),
            target: None,
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: self.now(),
        }
    }

    fn events(&self) -> AuditEvents {
        self.event(EventType::RunQueued, "something happened").into()
    }

    /// A queued restart of `project`; `service` tells equal requests from others.
    fn run(&self, project: &str, service: &str) -> OperationRun {
        self.run_of(Inputs::RestartProject(RestartProject {
            project: project.to_owned(),
            services: vec![service.to_owned()],
        }))
    }

    fn run_of(&self, inputs: Inputs) -> OperationRun {
        self.clock.advance(Duration::from_millis(1));
        let scope = self.store.scope();
        OperationRun {
            id: RunId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            user_id: Some(scope.owner_id),
            initiator_name: scope.owner_name,
            source: Source::Cli,
            subject: inputs.subject(),
            state: RunState::Queued,
            attempt: 0,
            run_identity_hash: identity_hash(scope.workspace_id, Some(scope.tenant_id), &inputs)
                .unwrap(),
            summary_counts: SummaryCounts::default(),
            failure_summary: Vec::new(),
            context: Context { inputs, details: Details::default() },
            cancel_requested_at: None,
            created_at: self.now(),
            started_at: None,
            completed_at: None,
        }
    }

    async fn commit(&self, write: Write) -> Result<(), StoreError> {
        self.store.commit(vec![write], self.events()).await
    }

    async fn queue(&self, project: &str, service: &str) -> OperationRun {
        let run = self.run(project, service);
        self.commit(Write::InsertRun(Box::new(run.clone()))).await.unwrap();
        run
    }

    async fn start(&self, run: &OperationRun, attempt: u32) -> Result<(), StoreError> {
        let start = StartAttempt {
            run_id: run.id,
            attempt,
            instance: "boot-1".to_owned(),
            at: self.now(),
            lease_until: crate::base::time::after(self.now(), Duration::from_secs(900)),
        };
        self.commit(Write::StartAttempt(start)).await
    }

    async fn complete(&self, run: &OperationRun, attempt: u32) -> Result<(), StoreError> {
        let complete = CompleteRun {
            run_id: run.id,
            attempt,
            end: End::Succeeded,
            at: self.now(),
            progress: RunProgress::default(),
        };
        self.commit(Write::CompleteRun(complete)).await
    }

    async fn records(&self) -> u64 {
        let verdict = crate::store::ReadAudit::verify_audit(&*self.store).await.unwrap();
        assert_eq!(verdict.breaks, []);
        verdict.records
    }

    /// Statements that no agent would run.
    fn tamper(&self, sql: &str) -> rusqlite::Result<()> {
        tamper(&self.dir.path().join("wharf.db"), sql)
    }
}

fn tamper(path: &Path, sql: &str) -> rusqlite::Result<()> {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql)
}
