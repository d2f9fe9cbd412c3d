//! Counts what goes through the store: transactions, audit events, runs that end. Owns
//! `CountedStore`. Face: it is a `Store` itself. Never changes a call or its answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;

use crate::api::metrics::Metrics;
use crate::base::ids::{EventId, RevisionId, RunId, WorkspaceId};
use crate::base::time::between;
use crate::base::{Digest, Name, Secret, Timestamp};
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::{Checkpoint, PurgeCause, Tombstone, VerifyingKey};
use crate::domain::audit::{AuditEvent, AuditEvents, AuditRecord};
use crate::domain::runs::{
    Agent, Attempt, HostedType, Job, OperationRun, QueueControl, StepRecord,
};
use crate::store::transfer::Parts;
use crate::store::{
    Accepted, Admission, Adoption, Answer, AuditFilter, AuditOptions, AuditPage, Backlog, Change,
    Claim, Claimed, CompleteRun, ContainerExit, Heard, JobFilter, KeepAudit, Lost, Notice, Noticed,
    OpenAttempt, Page, PageRequest, Project, QueueDepth, ReadAudit, ReadProjects, ReadQueue,
    ReadRuns, Revision, RunFilter, RunProgress, Scope, SignOfLife, Snapshot, Store, StoreError,
    Teller, Write,
};

/// A store whose writes are counted.
pub(super) struct CountedStore {
    pub(super) inner: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl CountedStore {
    /// Counts what goes through `inner`.
    pub(super) fn new(inner: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn timed<'a, T: Send + 'a>(&'a self, write: Answer<'a, T>) -> Answer<'a, T> {
        async move {
            let start = Instant::now();
            let answer = write.await;
            let outcome = match &answer {
                Ok(_) => "ok",
                // Two asked for the same at once: part of the work, not a fault.
                Err(StoreError::Conflict(_)) => "conflict",
                Err(_) => "failed",
            };
            self.metrics.store_commit(outcome, start.elapsed());
            answer
        }
        .boxed()
    }

    fn count_events(&self, events: &[Told]) {
        for (event_type, outcome) in events {
            self.metrics.audit_event(event_type, outcome);
        }
    }

    fn count_end(&self, run: &OperationRun, at: Timestamp) {
        let took = between(run.created_at, at);
        self.metrics.run_completed(run.run_type().key(), run.outcome().key(), took);
    }

    fn count_notices(&self, notices: &[Notice]) {
        for notice in notices {
            if let (Noticed::Ended { .. }, Some(at)) = (notice.what, notice.run.completed_at) {
                self.count_end(&notice.run, at);
            }
        }
    }

    /// Of runs that a write ends.
    async fn count_ended(&self, ended: &[(RunId, Timestamp)]) {
        for (run_id, at) in ended {
            // A run that cannot be read now is missing from the statistics, and nowhere else.
            if let Ok(Some(run)) = self.inner.run(*run_id).await {
                self.count_end(&run, *at);
            }
        }
    }
}

/// An event's type and outcome.
type Told = (&'static str, &'static str);

fn told(event: &AuditEvent) -> Told {
    (event.event_type.key(), event.outcome.key())
}

fn ended(writes: &[Write]) -> Vec<(RunId, Timestamp)> {
    let ended = writes.iter().filter_map(|write| match write {
        Write::CompleteRun(CompleteRun { run_id, at, .. }) => Some((*run_id, *at)),
        _ => None,
    });
    ended.collect()
}

/// The same teller, and what it told.
fn listening(teller: Teller) -> (Teller, Arc<Mutex<Vec<Told>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    let teller = Teller::new(move |notice| {
        teller.tell(notice).inspect(|event| lock(&listener).push(told(event)))
    });
    (teller, heard)
}

fn lock(heard: &Mutex<Vec<Told>>) -> MutexGuard<'_, Vec<Told>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for CountedStore {
    fn commit(&self, writes: Vec<Write>, events: AuditEvents) -> Answer<'_, ()> {
        let ended = ended(&writes);
        let told: Vec<_> = events.iter().map(told).collect();
        async move {
            self.timed(self.inner.commit(writes, events)).await?;
            self.count_events(&told);
            self.count_ended(&ended).await;
            Ok(())
        }
        .boxed()
    }

    fn change(&self, change: Change) -> Answer<'_, Vec<Notice>> {
        let ended = ended(&change.writes);
        let events: Vec<_> = change.events.iter().map(told).collect();
        let (teller, heard) = listening(change.teller);
        let change = Change { teller, ..change };
        async move {
            let notices = self.timed(self.inner.change(change)).await?;
            self.count_events(&events);
            self.count_events(&lock(&heard));
            self.count_notices(&notices);
            self.count_ended(&ended).await;
            Ok(notices)
        }
        .boxed()
    }

    fn admit(&self, admission: Admission) -> Answer<'_, Accepted> {
        let events: Vec<_> = admission.events.iter().map(told).collect();
        let (teller, heard) = listening(admission.teller);
        let admission = Admission { teller, ..admission };
        async move {
            let accepted = self.timed(self.inner.admit(admission)).await?;
            if let Accepted::New { notices, .. } = &accepted {
                self.count_events(&events);
                self.count_events(&lock(&heard));
                self.count_notices(notices);
            }
            Ok(accepted)
        }
        .boxed()
    }

    fn claim(&self, claim: Claim) -> Answer<'_, Vec<Claimed>> {
        let (teller, heard) = listening(claim.teller);
        let claim = Claim { teller, ..claim };
        async move {
            let claimed = self.timed(self.inner.claim(claim)).await?;
            self.count_events(&lock(&heard));
            Ok(claimed)
        }
        .boxed()
    }

    fn sign_of_life(&self, sign: SignOfLife) -> Answer<'_, Heard> {
        self.timed(self.inner.sign_of_life(sign))
    }

    fn register_agent(&self, agent: Agent) -> Answer<'_, ()> {
        self.timed(self.inner.register_agent(agent))
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

    fn maintain(&self) -> Answer<'_, ()> {
        self.inner.maintain()
    }

    fn close(&self) -> Answer<'_, ()> {
        self.inner.close()
    }
}

impl Snapshot for CountedStore {
    fn snapshot(&self) -> Parts {
        self.inner.snapshot()
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

    fn lost(&self, agent: Agent, at: Timestamp) -> Answer<'_, Lost> {
        self.inner.lost(agent, at)
    }

    fn job(&self, run: RunId, key: String) -> Answer<'_, Option<Job>> {
        self.inner.job(run, key)
    }

    fn jobs(&self, filter: JobFilter, page: PageRequest) -> Answer<'_, Page<Job>> {
        self.inner.jobs(filter, page)
    }
}

impl ReadQueue for CountedStore {
    fn agents(&self) -> Answer<'_, Vec<Agent>> {
        self.inner.agents()
    }

    fn hosted_types(&self, workspace: WorkspaceId) -> Answer<'_, Vec<HostedType>> {
        self.inner.hosted_types(workspace)
    }

    fn hosted_type(&self, workspace: WorkspaceId, name: Name) -> Answer<'_, Option<HostedType>> {
        self.inner.hosted_type(workspace, name)
    }

    fn queue_controls(&self, workspace: WorkspaceId) -> Answer<'_, Vec<QueueControl>> {
        self.inner.queue_controls(workspace)
    }

    fn queue_depths(&self, workspace: WorkspaceId) -> Answer<'_, Vec<QueueDepth>> {
        self.inner.queue_depths(workspace)
    }
}

impl ReadAudit for CountedStore {
    fn audit_record(&self, id: EventId) -> Answer<'_, Option<AuditRecord>> {
        self.inner.audit_record(id)
    }

    fn audit(&self, filter: AuditFilter, page: PageRequest) -> Answer<'_, Page<AuditRecord>> {
        self.inner.audit(filter, page)
    }

    fn audit_options(&self, filter: AuditFilter) -> Answer<'_, AuditOptions> {
        self.inner.audit_options(filter)
    }

    fn verify_audit(&self) -> Answer<'_, Verdict> {
        self.inner.verify_audit()
    }

    fn audit_page(&self, after: Option<u64>) -> Answer<'_, AuditPage> {
        self.inner.audit_page(after)
    }

    fn audit_checkpoints(&self, after: u64, limit: usize) -> Answer<'_, Vec<Checkpoint>> {
        self.inner.audit_checkpoints(after, limit)
    }

    fn audit_anchored(&self, place: String) -> Answer<'_, Option<u64>> {
        self.inner.audit_anchored(place)
    }

    fn audit_key(&self) -> VerifyingKey {
        self.inner.audit_key()
    }
}

impl KeepAudit for CountedStore {
    fn seal_audit(&self) -> Answer<'_, Option<Checkpoint>> {
        self.inner.seal_audit()
    }

    fn note_anchored(&self, place: String, seq: u64) -> Answer<'_, ()> {
        self.inner.note_anchored(place, seq)
    }

    fn erase_next(&self) -> Answer<'_, bool> {
        self.inner.erase_next()
    }

    fn audit_tombstone(
        &self,
        before: Timestamp,
        cause: PurgeCause,
    ) -> Answer<'_, Option<Tombstone>> {
        self.inner.audit_tombstone(before, cause)
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
