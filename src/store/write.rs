//! Lists every change that a record can go through. Owns the writes of `Store::commit`. Face:
//! `Write`. Never a generic update: each write checks that the record may change so.

use crate::base::ids::{RevisionId, RunId, TenantId, WorkspaceId};
use crate::base::{Digest, Name, Secret, Timestamp};
use crate::domain::runs::{
    AttemptEnd, CountKey, Details, End, Failure, Holder, HostedType, JobEnd, OperationRun, Payload,
    QueueControl, QueueScope, Waiting, Wanted,
};

use super::{
    AccessWrite, Adoption, AlertWrite, AttemptRef, AuditWrite, Desired, EnforcementWrite,
    FindingWrite, RegistryWrite, ScanWrite, ScheduleWrite,
};

/// One change of records, or a condition: what must hold for the others of the transaction.
///
/// A change of a project says only what it changes. Whoever decides by what he read of a project
/// names that as a condition, so that two who write at the same moment lose nothing.
#[derive(Debug, Clone)]
pub enum Write {
    /// A condition: the run is not completed.
    ExpectActive {
        /// The run.
        run_id: RunId,
    },
    /// A condition: the attempt is open, and its lease is still the one that was read. Refused when
    /// its worker gave a sign of life meanwhile.
    ExpectLease {
        /// The attempt.
        attempt: AttemptRef,
        /// When its lease ended, as it was read.
        lease_until: Timestamp,
    },
    /// A condition: the project is still kept at this, with these services of these files.
    ExpectProject {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The project.
        name: String,
        /// What it is kept at.
        desired: Desired,
        /// The files that were applied last.
        revision_id: Option<RevisionId>,
        /// Which services are kept.
        wanted: Wanted,
    },
    /// A condition: there is still no such project.
    ExpectNoProject {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The project.
        name: String,
    },
    /// A new run, queued. Conflicts with an active run of the same identity.
    InsertRun(Box<OperationRun>),
    /// A new bulk run whose jobs are known from the beginning. Conflicts as `InsertRun` does.
    InsertBulk(Box<NewBulk>),
    /// A worker takes a run: a new attempt begins, and the subject is locked for it.
    StartAttempt(StartAttempt),
    /// An attempt lost its worker: its steps without a result become unknown, and the run wants
    /// a new attempt. The run keeps its lock.
    InterruptAttempt {
        /// The run.
        run_id: RunId,
        /// The attempt.
        attempt: u32,
        /// Whether its process died (`Interrupted`) or shut down in order (`Released`).
        end: AttemptEnd,
        /// When.
        at: Timestamp,
        /// What is added with it.
        progress: RunProgress,
    },
    /// The run waits without a worker. The run keeps its lock.
    WaitRun {
        /// The run.
        run_id: RunId,
        /// Its current attempt.
        attempt: u32,
        /// For what, and until when.
        waiting: Waiting,
        /// When.
        at: Timestamp,
        /// What is added with it.
        progress: RunProgress,
    },
    /// What the run waited for has happened.
    WakeRun {
        /// The run.
        run_id: RunId,
    },
    /// Somebody decided what a run waits for, and it goes on with that.
    DecideRun {
        /// The run.
        run_id: RunId,
        /// The attempt that put it aside.
        attempt: u32,
        /// What it tells from now on; the decision is in it.
        details: Box<Details>,
    },
    /// Somebody asked for the run to be cancelled.
    RequestCancel {
        /// The run.
        run_id: RunId,
        /// When.
        at: Timestamp,
    },
    /// The run ends, and its lock with it.
    CompleteRun(CompleteRun),
    /// An attempt failed. Its type says what follows: another attempt after a pause, with the lock
    /// kept, or the end, as a dead letter or not.
    FailAttempt(FailAttempt),
    /// The run is cancelled, whatever its state: at once when nobody works on it, else whoever
    /// does is asked to stop. A run that has ended already is a conflict.
    CancelRun {
        /// The run.
        run_id: RunId,
        /// When.
        at: Timestamp,
    },
    /// The run becomes a bulk run and waits for these jobs without a worker. With no job it is
    /// done.
    FanOut(FanOut),
    /// A job's attempt ends. A failed one is tried again when the type says so; else the job has
    /// ended, its numbers are added to the run, and the last one completes the run.
    EndJob(EndJob),
    /// A job has come a part further. Its numbers are added to the run now, and its next attempt goes
    /// on from there, so that nothing counts twice. Refused when another worker has the job, or
    /// another run has what it locks.
    AdvanceJob(AdvanceJob),
    /// A job lost its worker: it wants another one, or fails when that happened too often. One that
    /// its worker gave back in order (`Released`) wants another one however often that happens.
    InterruptJob {
        /// The bulk run.
        run_id: RunId,
        /// The job.
        key: String,
        /// Its attempt.
        attempt: u32,
        /// Whether its worker is gone (`Interrupted`) or gave it back (`Released`).
        end: AttemptEnd,
        /// When.
        at: Timestamp,
    },
    /// A dead letter is tried again by a new run; it is no dead letter any more.
    RetryRun(RetryRun),
    /// A dead letter was dealt with otherwise.
    DismissRun {
        /// The run.
        run_id: RunId,
    },
    /// Inserts or replaces a hosted type.
    PutHostedType(Box<HostedType>),
    /// Forgets a hosted type. Conflicts while a run of it is not completed.
    DropHostedType {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The type.
        name: Name,
    },
    /// Inserts or replaces what holds a part of the queue back.
    PutQueueControl(QueueControl),
    /// Nothing holds that part of the queue back any more.
    DropQueueControl {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The part.
        scope: QueueScope,
    },
    /// Stores a bundle of files, sealed; older bundles of the project that nothing needs go.
    /// Conflicts with a bundle of the same digest: equal files are stored once.
    PutRevision(NewRevision),
    /// Keeps a project as these files declare from now on; inserts it when it is new.
    ApplyProject {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The tenant of a new project.
        tenant_id: Option<TenantId>,
        /// The project.
        name: String,
        /// The files.
        revision_id: RevisionId,
        /// Which services are kept, and as which revision declares them.
        wanted: Wanted,
        /// When.
        at: Timestamp,
    },
    /// Changes what a project is kept at. A project that is gone stays gone.
    KeepProject {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The project.
        name: String,
        /// What it is kept at.
        desired: Desired,
        /// When.
        at: Timestamp,
    },
    /// Notes down what of a project was brought up wholly. Nothing else of it changes, so that a
    /// pause or newer files that came meanwhile stay; a project that is gone stays gone.
    NoteDeployed {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The project.
        name: String,
        /// The files.
        revision_id: RevisionId,
        /// Their digest.
        spec_digest: Digest,
        /// When.
        at: Timestamp,
    },
    /// Forgets a project that was removed, with its adoptions, exits and revisions. One that was
    /// applied again meanwhile stays; nothing of it is deployed then.
    ForgetProject {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The project.
        name: String,
    },
    /// Forgets the anonymous volumes of a project that were to be removed: they are.
    ForgetVolumes {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The project.
        project: String,
    },
    /// Changes schedules.
    Schedule(ScheduleWrite),
    /// Changes alerts.
    Alert(AlertWrite),
    /// Changes findings.
    Finding(FindingWrite),
    /// Changes the audit log itself: purges segments, erases a person.
    Audit(AuditWrite),
    /// Changes who may do what.
    Access(AccessWrite),
    /// A change of the logins to registries.
    Registry(RegistryWrite),
    /// A change of what stands of enforcement.
    Enforcement(EnforcementWrite),
    /// A change of the scans of images.
    Scan(ScanWrite),
    /// Remembers a container that was taken over.
    PutAdoption(Adoption),
    /// Forgets the containers of a project that were taken over.
    DropAdoptions {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The project.
        project: String,
    },
}

impl Write {
    /// Whether it changes nothing.
    pub fn is_condition(&self) -> bool {
        use Write::{ExpectActive, ExpectLease, ExpectNoProject, ExpectProject};
        let is_of_run = matches!(self, ExpectActive { .. } | ExpectLease { .. });
        is_of_run || matches!(self, ExpectProject { .. } | ExpectNoProject { .. })
    }
}

/// A bulk run with its jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBulk {
    /// The run, queued.
    pub run: OperationRun,
    /// Its jobs, in the order in which they are to begin; at most `JOBS_MAX`, at least one.
    pub jobs: Vec<NewJob>,
    /// End older runs of the same type and subject.
    pub supersedes: bool,
}

/// The beginning of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartAttempt {
    /// The run.
    pub run_id: RunId,
    /// The new attempt's number: one more than the run's last.
    pub attempt: u32,
    /// Who executes it.
    pub holder: Holder,
    /// When.
    pub at: Timestamp,
    /// When its lease ends unless renewed.
    pub lease_until: Timestamp,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct CompleteRun {
    /// The run.
    pub run_id: RunId,
    /// Its current attempt; 0 for a run that never began.
    pub attempt: u32,
    /// How it ends.
    pub end: End,
    /// When.
    pub at: Timestamp,
    /// What is added with the end.
    pub progress: RunProgress,
}

/// The failure of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct FailAttempt {
    /// The run.
    pub run_id: RunId,
    /// Its current attempt.
    pub attempt: u32,
    /// How the run ends when no attempt follows: failed, or partially succeeded.
    pub end: End,
    /// When.
    pub at: Timestamp,
    /// Uniformly distributed, for the jitter of the pause.
    pub random: u64,
    /// What is added with it.
    pub progress: RunProgress,
}

/// The jobs of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct FanOut {
    /// The run.
    pub run_id: RunId,
    /// Its current attempt.
    pub attempt: u32,
    /// Its jobs, in the order in which they are to begin; at most `JOBS_MAX`.
    pub jobs: Vec<NewJob>,
    /// When.
    pub at: Timestamp,
    /// What is added with it, such as the total.
    pub progress: RunProgress,
}

/// A job to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its name, unique in the run.
    pub key: String,
    /// The tenant it works for.
    pub tenant_id: Option<TenantId>,
    /// What it is to do.
    pub payload: Payload,
}

/// The end of a job's attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct EndJob {
    /// The bulk run.
    pub run_id: RunId,
    /// The job.
    pub key: String,
    /// Its current attempt.
    pub attempt: u32,
    /// How it ended.
    pub end: JobEnd,
    /// No attempt follows a failure, whatever the type says.
    pub is_final: bool,
    /// When.
    pub at: Timestamp,
    /// Uniformly distributed, for the jitter of a pause.
    pub random: u64,
    /// What it did; added to the run when the job has ended, so that no attempt counts twice.
    pub counts: Vec<(CountKey, u64)>,
    /// What went wrong; appended to the run when the job has ended.
    pub failures: Vec<Failure>,
}

/// A part of a job that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct AdvanceJob {
    /// The bulk run.
    pub run_id: RunId,
    /// The job.
    pub key: String,
    /// Its current attempt.
    pub attempt: u32,
    /// How far it has come, in its operation's words.
    pub reached: String,
    /// What was done since it was said last how far it had come.
    pub counts: Vec<(CountKey, u64)>,
    /// What went wrong since then.
    pub failures: Vec<Failure>,
}

/// A new try at a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryRun {
    /// The dead letter.
    pub dead: RunId,
    /// The new run, queued, with `retried_from`.
    pub run: Box<OperationRun>,
    /// Only the jobs that failed or were cancelled; without it the run begins anew.
    pub failed_jobs_only: bool,
}

/// What is added to a run as it goes on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunProgress {
    /// Numbers to add.
    pub counts: Vec<(CountKey, u64)>,
    /// Failures to append.
    pub failures: Vec<Failure>,
    /// Details that replace the old ones.
    pub details: Option<Details>,
}

impl RunProgress {
    /// Whether there is nothing to add.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.failures.is_empty() && self.details.is_none()
    }
}

/// A bundle of files to be stored.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// Its name.
    pub id: RevisionId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The compose project.
    pub project: String,
    /// The digest of the content; keyed, because files may hold secrets.
    pub digest: Digest,
    /// The content, as the client sent it.
    pub content: Secret<bytes::Bytes>,
    /// When it was sent.
    pub created_at: Timestamp,
}
