//! Keeps what the agent must not forget. Owns the database, its migrations and the keys it is
//! sealed with. Face: `Store` (writes) with `ReadRuns`, `ReadAudit`, `ReadProjects`; `sqlite::open`.
//! Never runs SQL that a caller wrote, and, housekeeping apart, never changes a record without an
//! audit event beside it.

mod error;
pub mod keys;
mod query;
mod records;
pub mod sqlite;
mod write;

use futures_util::future::BoxFuture;

use crate::base::ids::{EventId, RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Secret, Timestamp};
use crate::domain::audit::{AuditEvents, AuditRecord, chain};
use crate::domain::runs::{Attempt, OperationRun, StepRecord};

pub use error::{Conflict, StoreError};
pub use query::{AuditFilter, Cursor, Page, PageRequest, RunFilter};
pub use records::{
    Adoption, Backlog, ContainerExit, Desired, OpenAttempt, Project, Revision, Scope,
};
pub use write::{CompleteRun, NewRevision, RunProgress, StartAttempt, Write};

/// The answer of a store operation, in time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The agent's memory. What a call has answered survives a crash and a power cut.
pub trait Store: ReadRuns + ReadAudit + ReadProjects + Send + Sync {
    /// Changes records and writes down that it did, in one transaction: all or nothing.
    ///
    /// # Errors
    /// `StoreError::Conflict` when a record is not in the state that a write expects; nothing was
    /// changed then. Any other error: the database did not take it.
    fn commit(&self, writes: Vec<Write>, events: AuditEvents) -> Answer<'_, ()>;

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

    /// Writes out everything and stops. Later calls answer `StoreError::Stopped`.
    fn close(&self) -> Answer<'_, ()>;
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
    /// Runs that want a worker and whose subject is free, oldest first, one per subject.
    fn claimable(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<OperationRun>>;
    /// Waiting runs whose time has come.
    fn due(&self, at: Timestamp) -> Answer<'_, Vec<OperationRun>>;
    /// When the next waiting run's time comes.
    fn next_due(&self) -> Answer<'_, Option<Timestamp>>;
    /// How many runs are in each status but `completed`, and since when the oldest one waits.
    fn backlog(&self) -> Answer<'_, Vec<Backlog>>;
    /// Attempts that no process ended, with their runs.
    fn open_attempts(&self) -> Answer<'_, Vec<OpenAttempt>>;
}

/// Reads the audit log.
pub trait ReadAudit {
    /// One record.
    fn audit_record(&self, id: EventId) -> Answer<'_, Option<AuditRecord>>;
    /// Records that pass the filter, newest first.
    fn audit(&self, filter: AuditFilter, page: PageRequest) -> Answer<'_, Page<AuditRecord>>;
    /// Follows the whole chain and compares every record with its index columns.
    fn verify_audit(&self) -> Answer<'_, chain::Verdict>;
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
