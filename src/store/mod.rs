//! Keeps what the agent must not forget. Owns the database, its migrations and the keys it is
//! sealed with. Face: `Store` (writes) with `ReadRuns`, `ReadQueue`, `ReadAudit`, `ReadProjects`.
//! Never runs SQL that a caller wrote, and, housekeeping apart, never changes a record without an
//! audit event beside it.

mod access;
mod alerts;
mod audit;
mod audit_columns;
mod company;
mod enforcement;
mod error;
mod filter;
mod findings;
pub mod host;
pub mod keys;
mod ledger;
mod lists;
pub mod postgres;
mod query;
mod records;
mod registries;
mod scans;
mod schedules;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod suite;
pub mod transfer;
mod work;
mod write;

use futures_util::future::BoxFuture;

use crate::base::ids::{EventId, RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Name, Secret, Timestamp};
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::{Checkpoint, VerifyingKey};
use crate::domain::audit::{AuditEvents, AuditRecord};
use crate::domain::runs::{
    Agent, Attempt, HostedType, Job, OperationRun, QueueControl, StepRecord,
};

pub use access::{AccessWrite, ReadAccess};
pub use alerts::{AlertWrite, DeliveryFilter, Outbox, ReadAlerts, TakeDeliveries};
pub use audit::{AuditPage, AuditWrite, Erasure, KeepAudit};
pub use enforcement::{EnforcementWrite, ReadEnforcement, RecordKind};
pub use error::{Conflict, StoreError};
use findings::severity_rank;
pub use findings::{
    FindingChange, FindingCount, FindingFilter, FindingTotals, FindingWrite, ReadFindings,
    StandingCount,
};
pub use query::{AuditFilter, AuditOptions, Cursor, Page, PageRequest, RunFilter};
pub use records::{
    Adoption, Backlog, CommitObserver, ContainerExit, Desired, Migrated, OpenAttempt, Project,
    Revision, Scope,
};
pub use registries::{ReadRegistries, RegistryWrite};
pub use scans::{ReadScans, ScanRow, ScanWrite};
pub use schedules::{Advance, ReadSchedules, ScheduleWrite};
pub use work::{
    Accepted, Admission, AttemptRef, Change, Claim, Claimant, Claimed, Heard, JobFilter, Lost,
    Notice, Noticed, QueueDepth, SignOfLife, Teller,
};
pub use write::{
    AdvanceJob, CompleteRun, EndJob, FailAttempt, FanOut, NewBulk, NewJob, NewRevision, RetryRun,
    RunProgress, StartAttempt, Write,
};

/// The answer of a store operation, in time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The agent's memory. What a call has answered survives a crash and a power cut.
pub trait Store:
    ReadRuns
    + ReadQueue
    + ReadAudit
    + ReadProjects
    + ReadSchedules
    + ReadAlerts
    + ReadFindings
    + ReadAccess
    + ReadRegistries
    + ReadEnforcement
    + ReadScans
    + Outbox
    + KeepAudit
    + Snapshot
    + Send
    + Sync
{
    /// Changes records and writes down that it did, in one transaction: all or nothing.
    ///
    /// # Errors
    /// `StoreError::Conflict` when a record is not in the state that a write expects; nothing was
    /// changed then. Any other error: the database did not take it.
    fn commit(&self, writes: Vec<Write>, events: AuditEvents) -> Answer<'_, ()>;

    /// The same for writes that lead to something which the store decides: its teller makes the
    /// events of that, in the same transaction, and the notices are the answer.
    ///
    /// # Errors
    /// As for `commit`.
    fn change(&self, change: Change) -> Answer<'_, Vec<Notice>>;

    /// Accepts a run, and begins its first attempt in the same transaction when a claimant is given
    /// and neither a lock, a pause nor a limit stands against it.
    ///
    /// # Errors
    /// As for `commit`; that a run asks for the same is an answer, not an error.
    fn admit(&self, admission: Admission) -> Answer<'_, Accepted>;

    /// Takes work: jobs of bulk runs first, then runs, by priority and age, whose time has come,
    /// whose subject is free, and against which neither a pause nor a limit stands. Never the same
    /// to two claimants. A bulk run whose jobs are made already is not handed out: it waits for
    /// them. An empty answer wrote nothing.
    fn claim(&self, claim: Claim) -> Answer<'_, Vec<Claimed>>;

    /// Housekeeping: a hosted worker is alive, and what it did meanwhile.
    ///
    /// # Errors
    /// `Conflict::Fenced` when its attempt is not the current one any more: it must stop.
    fn sign_of_life(&self, sign: SignOfLife) -> Answer<'_, Heard>;

    /// Housekeeping: an agent has started. Older agents of its host are forgotten.
    fn register_agent(&self, agent: Agent) -> Answer<'_, ()>;

    /// Housekeeping: inserts a step, or replaces it with its result, and adds progress with it.
    ///
    /// # Errors
    /// `Conflict::Fenced` when the attempt is no longer the run's current one.
    fn record_step(&self, step: StepRecord, progress: RunProgress) -> Answer<'_, ()>;

    /// Housekeeping: adds counts and failures to a run, and replaces its details.
    ///
    /// # Errors
    /// `Conflict::Fenced` when the attempt is no longer the run's current one.
    fn add_progress(&self, run: RunId, attempt: u32, progress: RunProgress) -> Answer<'_, ()>;

    /// Housekeeping: a sign of life of everything that `instance` executes, and of what waits
    /// without a worker; their leases then last until `lease_until`.
    fn heartbeat(&self, instance: String, at: Timestamp, lease_until: Timestamp) -> Answer<'_, ()>;

    /// Housekeeping: remembers the latest exit of a container.
    fn record_exit(&self, exit: ContainerExit) -> Answer<'_, ()>;

    /// Housekeeping: forgets how these containers of a project ended, because they run.
    fn forget_exits(
        &self,
        workspace: WorkspaceId,
        project: String,
        container_ids: Vec<String>,
    ) -> Answer<'_, ()>;

    /// Housekeeping: remembers anonymous volumes of a project that are about to be removed.
    fn doom_volumes(
        &self,
        workspace: WorkspaceId,
        project: String,
        names: Vec<String>,
    ) -> Answer<'_, ()>;

    /// The workspace, tenant and owner of a host that never had to think about any of them.
    fn scope(&self) -> Scope;

    /// Proves that the database answers and takes writes.
    fn check(&self) -> Answer<'_, ()>;

    /// Housekeeping: looks the database over for damage, and renews what its plans are made from.
    ///
    /// # Errors
    /// `StoreError::Corrupt` when it is damaged.
    fn maintain(&self) -> Answer<'_, ()>;

    /// Writes out everything and stops. Later calls answer `StoreError::Stopped`.
    fn close(&self) -> Answer<'_, ()>;
}

/// Reads everything at once.
pub trait Snapshot {
    /// All records as they are at one moment after the call, while others go on writing. Whatever was
    /// answered before the call is among them.
    fn snapshot(&self) -> transfer::Parts;
}

/// Reads runs.
pub trait ReadRuns {
    /// One run.
    fn run(&self, id: RunId) -> Answer<'_, Option<OperationRun>>;
    /// Runs that pass the filter, newest first.
    fn runs(&self, filter: RunFilter, page: PageRequest) -> Answer<'_, Page<OperationRun>>;
    /// The attempts of a run, first first.
    fn attempts(&self, run: RunId) -> Answer<'_, Vec<Attempt>>;
    /// The steps of a run, over all attempts, in order.
    fn steps(&self, run: RunId) -> Answer<'_, Vec<StepRecord>>;
    /// The run with this identity that is not completed.
    fn active_run(
        &self,
        workspace: WorkspaceId,
        identity: Digest,
    ) -> Answer<'_, Option<OperationRun>>;
    /// Waiting runs whose time has come and that somebody must wake; those that only wait for their
    /// next attempt, a claim finds by itself.
    fn due(&self, at: Timestamp) -> Answer<'_, Vec<OperationRun>>;
    /// When something is due next: a waiting run, one that may begin later, a job.
    fn next_due(&self) -> Answer<'_, Option<Timestamp>>;
    /// How many runs are in each status but `completed`, and since when the oldest one waits.
    fn backlog(&self) -> Answer<'_, Vec<Backlog>>;
    /// Attempts that no process ended, with their runs.
    fn open_attempts(&self) -> Answer<'_, Vec<OpenAttempt>>;
    /// Attempts and jobs whose worker is lost, as far as this agent can tell, and its own.
    fn lost(&self, agent: Agent, at: Timestamp) -> Answer<'_, Lost>;
    /// One job.
    fn job(&self, run: RunId, key: String) -> Answer<'_, Option<Job>>;
    /// Jobs that pass the filter, in the order in which they were made.
    fn jobs(&self, filter: JobFilter, page: PageRequest) -> Answer<'_, Page<Job>>;
}

/// Reads who works on the queue, what it may hold, and what holds it back.
pub trait ReadQueue {
    /// The agents that work on this store.
    fn agents(&self) -> Answer<'_, Vec<Agent>>;
    /// The hosted types of a workspace, by name.
    fn hosted_types(&self, workspace: WorkspaceId) -> Answer<'_, Vec<HostedType>>;
    /// One hosted type.
    fn hosted_type(&self, workspace: WorkspaceId, name: Name) -> Answer<'_, Option<HostedType>>;
    /// What holds parts of a workspace's queue back, by scope.
    fn queue_controls(&self, workspace: WorkspaceId) -> Answer<'_, Vec<QueueControl>>;
    /// How much of each type is queued and runs; types without either are not listed.
    fn queue_depths(&self, workspace: WorkspaceId) -> Answer<'_, Vec<QueueDepth>>;
}

/// Reads the audit log.
pub trait ReadAudit {
    /// One record.
    fn audit_record(&self, id: EventId) -> Answer<'_, Option<AuditRecord>>;
    /// Records that pass the filter, newest first.
    fn audit(&self, filter: AuditFilter, page: PageRequest) -> Answer<'_, Page<AuditRecord>>;
    /// What the newest records that pass the filter can be filtered by.
    fn audit_options(&self, filter: AuditFilter) -> Answer<'_, AuditOptions>;
    /// Proves the log of this host with its own keys, and compares every record with its index
    /// columns.
    fn verify_audit(&self) -> Answer<'_, Verdict>;
    /// A part of this host's log, in its order, behind a record; from its beginning when none is
    /// given.
    fn audit_page(&self, after: Option<u64>) -> Answer<'_, AuditPage>;
    /// Checkpoints of this host's log behind a record.
    fn audit_checkpoints(&self, after: u64, limit: usize) -> Answer<'_, Vec<Checkpoint>>;
    /// Up to which record a place outside of the host has all checkpoints; none when it has none.
    fn audit_anchored(&self, place: String) -> Answer<'_, Option<u64>>;
    /// The half of this host's audit key that everybody may have.
    fn audit_key(&self) -> VerifyingKey;
}

/// Reads projects and their stored files.
pub trait ReadProjects {
    /// All projects of a workspace, by name.
    fn projects(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Project>>;
    /// One project.
    fn project(&self, workspace: WorkspaceId, name: String) -> Answer<'_, Option<Project>>;
    /// One stored bundle of files, without its content.
    fn revision(&self, id: RevisionId) -> Answer<'_, Option<Revision>>;
    /// The newest stored bundle with this digest, so that equal files are stored once.
    fn revision_by_digest(
        &self,
        workspace: WorkspaceId,
        project: String,
        digest: Digest,
    ) -> Answer<'_, Option<Revision>>;
    /// The content of a stored bundle, unsealed.
    fn revision_content(&self, id: RevisionId) -> Answer<'_, Secret<Vec<u8>>>;
    /// The containers of a project that were taken over from Docker Compose.
    fn adoptions(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<Adoption>>;
    /// Names of the project's anonymous volumes that were to be removed, and perhaps still are.
    fn doomed_volumes(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<String>>;
    /// The latest exits of a project's containers.
    fn exits(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<ContainerExit>>;
}
