//! Counts what goes through the store: transactions, audit events, runs that end. Owns
//! `CountedStore`. Face: it is a `Store` itself. Never changes a call or its answer.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;

use crate::api::metrics::Metrics;
use crate::base::ids::{EventId, RevisionId, RunId, WorkspaceId};
use crate::base::time::between;
use crate::base::{Digest, Secret, Timestamp};
use crate::domain::audit::{AuditEvents, AuditRecord, chain};
use crate::domain::runs::{Attempt, OperationRun, StepRecord};
use crate::store::{
    Adoption, Answer, AuditFilter, Backlog, CompleteRun, ContainerExit, OpenAttempt, Page,
    PageRequest, Project, ReadAudit, ReadProjects, ReadRuns, Revision, RunFilter, RunProgress,
    Scope, Store, StoreError, Write,
};

/// A store whose writes are counted.
pub(super) struct CountedStore {
    inner: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl CountedStore {
    /// Counts what goes through `inner`.
    pub(super) fn new(inner: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn timed<'a>(&'a self, write: Answer<'a, ()>) -> Answer<'a, ()> {
        async move {
            let start = Instant::now();
            let answer = write.await;
            let outcome = match &answer {
                Ok(()) => "ok",
                // Two asked for the same at once: part of the work, not a fault.
                Err(StoreError::Conflict(_)) => "conflict",
                Err(_) => "failed",
            };
            self.metrics.store_commit(outcome, start.elapsed());
            answer
        }
        .boxed()
    }

    async fn count(&self, ended: &[(RunId, Timestamp)], events: &[(&'static str, &'static str)]) {
        for (event_type, outcome) in events {
            self.metrics.audit_event(event_type, outcome);
        }
        for (run_id, at) in ended {
            // A run that cannot be read now is missing from the statistics, and nowhere else.
            if let Ok(Some(run)) = self.inner.run(*run_id).await {
                let took = between(run.created_at, *at);
                let (run_type, outcome) = (run.run_type(), run.outcome());
                self.metrics.run_completed(run_type.key(), outcome.key(), took);
            }
        }
    }
}

impl Store for CountedStore {
    fn commit(&self, writes: Vec<Write>, events: AuditEvents) -> Answer<'_, ()> {
        let ended: Vec<(RunId, Timestamp)> = writes
            .iter()
            .filter_map(|write| match write {
                Write::CompleteRun(CompleteRun { run_id, at, .. }) => Some((*run_id, *at)),
                _ => None,
            })
            .collect();
        let told = events.iter().map(|event| (event.event_type.key(), event.outcome.key()));
        let told: Vec<_> = told.collect();
        async move {
            self.timed(self.inner.commit(writes, events)).await?;
            self.count(&ended, &told).await;
            Ok(())
        }
        .boxed()
    }

    fn record_step(&self, step: StepRecord, progress: RunProgress) -> Answer<'_, ()> {
        self.timed(self.inner.record_step(step, progress))
    }

    fn add_progress(&self, run: RunId, attempt: u32, progress: RunProgress) -> Answer<'_, ()> {
        self.timed(self.inner.add_progress(run, attempt, progress))
    }

    fn heartbeat(&self, instance: String, at: Timestamp, lease_until: Timestamp) -> Answer<'_, ()> {
        self.timed(self.inner.heartbeat(instance, at, lease_until))
    }

    fn record_exit(&self, exit: ContainerExit) -> Answer<'_, ()> {
        self.timed(self.inner.record_exit(exit))
    }

    fn forget_exits(
        &self,
        workspace: WorkspaceId,
        project: String,
        container_ids: Vec<String>,
    ) -> Answer<'_, ()> {
        self.timed(self.inner.forget_exits(workspace, project, container_ids))
    }

    fn doom_volumes(
        &self,
        workspace: WorkspaceId,
        project: String,
        names: Vec<String>,
    ) -> Answer<'_, ()> {
        self.timed(self.inner.doom_volumes(workspace, project, names))
    }

    fn scope(&self) -> Scope {
        self.inner.scope()
    }

    fn check(&self) -> Answer<'_, ()> {
        self.inner.check()
    }

    fn close(&self) -> Answer<'_, ()> {
        self.inner.close()
    }
}

impl ReadRuns for CountedStore {
    fn run(&self, id: RunId) -> Answer<'_, Option<OperationRun>> {
        self.inner.run(id)
    }

    fn runs(&self, filter: RunFilter, page: PageRequest) -> Answer<'_, Page<OperationRun>> {
        self.inner.runs(filter, page)
    }

    fn attempts(&self, run: RunId) -> Answer<'_, Vec<Attempt>> {
        self.inner.attempts(run)
    }

    fn steps(&self, run: RunId) -> Answer<'_, Vec<StepRecord>> {
        self.inner.steps(run)
    }

    fn active_run(
        &self,
        workspace: WorkspaceId,
        identity: Digest,
    ) -> Answer<'_, Option<OperationRun>> {
        self.inner.active_run(workspace, identity)
    }

    fn claimable(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<OperationRun>> {
        self.inner.claimable(at, limit)
    }

    fn due(&self, at: Timestamp) -> Answer<'_, Vec<OperationRun>> {
        self.inner.due(at)
    }

    fn next_due(&self) -> Answer<'_, Option<Timestamp>> {
        self.inner.next_due()
    }

    fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
        self.inner.backlog()
    }

    fn open_attempts(&self) -> Answer<'_, Vec<OpenAttempt>> {
        self.inner.open_attempts()
    }
}

impl ReadAudit for CountedStore {
    fn audit_record(&self, id: EventId) -> Answer<'_, Option<AuditRecord>> {
        self.inner.audit_record(id)
    }

    fn audit(&self, filter: AuditFilter, page: PageRequest) -> Answer<'_, Page<AuditRecord>> {
        self.inner.audit(filter, page)
    }

    fn verify_audit(&self) -> Answer<'_, chain::Verdict> {
        self.inner.verify_audit()
    }
}

impl ReadProjects for CountedStore {
    fn projects(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Project>> {
        self.inner.projects(workspace)
    }

    fn project(&self, workspace: WorkspaceId, name: String) -> Answer<'_, Option<Project>> {
        self.inner.project(workspace, name)
    }

    fn revision(&self, id: RevisionId) -> Answer<'_, Option<Revision>> {
        self.inner.revision(id)
    }

    fn revision_by_digest(
        &self,
        workspace: WorkspaceId,
        project: String,
        digest: Digest,
    ) -> Answer<'_, Option<Revision>> {
        self.inner.revision_by_digest(workspace, project, digest)
    }

    fn revision_content(&self, id: RevisionId) -> Answer<'_, Secret<Vec<u8>>> {
        self.inner.revision_content(id)
    }

    fn adoptions(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<Adoption>> {
        self.inner.adoptions(workspace, project)
    }

    fn doomed_volumes(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<String>> {
        self.inner.doomed_volumes(workspace, project)
    }

    fn exits(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<ContainerExit>> {
        self.inner.exits(workspace, project)
    }
}
