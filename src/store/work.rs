//! Shapes how work is taken from the queue and given back. Owns what a claim asks for and what a
//! transaction tells of what it decided. Face: `Admission`, `Claim`, `Change`, `Notice`. Never
//! executes anything.

use std::fmt;
use std::sync::Arc;

use crate::base::Timestamp;
use crate::base::ids::{RunId, WorkspaceId};
use crate::domain::audit::{AuditEvent, AuditEvents};
use crate::domain::runs::{Agent, End, Holder, Job, JobStatus, OperationRun, RunType, Tenants};

use super::{OpenAttempt, RunProgress, Write};

/// Something that a transaction decided on its way: not what its caller wrote, but what followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The run as it is then.
    pub run: OperationRun,
    /// What happened to it.
    pub what: Noticed,
}

impl Notice {
    /// Whether a worker executes the run from now on. One whose jobs are made already begins too,
    /// but has none: it waits for them.
    pub fn begins_work(&self) -> bool {
        self.what == Noticed::Started && self.run.jobs.is_none()
    }
}

/// What a transaction can decide about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed {
    /// An attempt began: `run.attempt`.
    Started,
    /// An attempt failed, and another follows then.
    AttemptFailed {
        /// When.
        until: Timestamp,
    },
    /// Its worker was lost, or its lease taken over: it wants another attempt.
    Interrupted,
    /// It waits for its jobs.
    WaitsForJobs,
    /// Its worker, or those of its jobs, were asked to stop: by somebody, or because of a newer run.
    CancelAsked {
        /// The newer run of the same subject.
        superseded_by: Option<RunId>,
    },
    /// It ended, and not by a write that says so: its last job ended, its retries are used up, or
    /// it was cancelled.
    Ended {
        /// How.
        end: End,
        /// The newer run of the same subject that took its place.
        superseded_by: Option<RunId>,
    },
}

/// Makes the audit event of a notice, in the transaction that it tells of; none for housekeeping.
#[derive(Clone)]
pub struct Teller(Arc<Tell>);

type Tell = dyn Fn(&Notice) -> Option<AuditEvent> + Send + Sync;

impl Teller {
    /// A teller that asks this function.
    pub fn new(tell: impl Fn(&Notice) -> Option<AuditEvent> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The event of a notice.
    pub fn tell(&self, notice: &Notice) -> Option<AuditEvent> {
        (self.0)(notice)
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

/// Who takes work, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// The process.
    pub holder: Holder,
    /// Whose work it takes.
    pub tenants: Tenants,
    /// The time.
    pub at: Timestamp,
}

impl Claimant {
    /// Whether this run may begin with its admission, for all that the claimant knows.
    pub fn may_begin(&self, run: &OperationRun) -> bool {
        run.run_at.is_none_or(|run_at| run_at <= self.at)
            && (run.host_id.is_none() || run.host_id == self.holder.host_id)
            && self.tenants.serve(run.tenant_id, run.host_id)
    }
}

/// A request for a run.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The new run, queued.
    pub run: Box<OperationRun>,
    /// End older runs of the same type and subject.
    pub supersedes: bool,
    /// Who takes it in the same transaction, when nothing stands against it: a worker that is free.
    pub claimant: Option<Claimant>,
    /// Records that change with it.
    pub writes: Vec<Write>,
    /// What is recorded with it. Nothing of this is when the run exists already.
    pub events: AuditEvents,
    /// Tells of what follows.
    pub teller: Teller,
}

/// The answer to an admission.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    /// The run was queued, or begun when it is `Running`.
    New {
        /// The run as it is then.
        run: OperationRun,
        /// What followed: that it began, and older runs that it superseded.
        notices: Vec<Notice>,
    },
    /// A run that asks for the same is not completed: this one. Nothing was written.
    Existing(OperationRun),
}

/// Asks for work.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who takes it.
    pub claimant: Claimant,
    /// Only of this workspace; any when absent.
    pub workspace_id: Option<WorkspaceId>,
    /// Of these types.
    pub run_types: Vec<RunType>,
    /// Most runs and jobs together, at most `CLAIM_MAX`.
    pub limit: usize,
    /// Tells of what is taken.
    pub teller: Teller,
}

/// What a claim took: a run, or one job of a bulk run.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The run; of a job, the bulk run that waits for it.
    pub run: OperationRun,
    /// The job, with its attempt; none when the run itself was taken.
    pub job: Option<Job>,
    /// When the next sign of life must have come.
    pub lease_until: Timestamp,
}

/// A change of records whose consequences the store decides and tells.
#[derive(Debug, Clone)]
pub struct Change {
    /// The changes.
    pub writes: Vec<Write>,
    /// What is recorded with them.
    pub events: Vec<AuditEvent>,
    /// Tells of what follows.
    pub teller: Teller,
}

/// Which attempt somebody speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRef {
    /// The run.
    pub run_id: RunId,
    /// Its job, if it is an attempt of one.
    pub job: Option<String>,
    /// The attempt's number: the fencing token.
    pub attempt: u32,
}

/// A hosted worker's sign of life.
#[derive(Debug, Clone, PartialEq)]
pub struct SignOfLife {
    /// What it works on.
    pub attempt: AttemptRef,
    /// When.
    pub at: Timestamp,
    /// What it did since its last one; added to the run.
    pub progress: RunProgress,
}

/// What a worker hears when it gives a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When the next one must have come.
    pub lease_until: Timestamp,
    /// Somebody asked for the run to be cancelled: stop, and complete it as cancelled.
    pub cancel_requested: bool,
}

/// What no worker executes any more although it has begun, and what the agent that asks has itself:
/// it alone knows whether it executes that, or never heard that it was given it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lost {
    /// Attempts of runs.
    pub attempts: Vec<OpenAttempt>,
    /// Jobs, with their runs.
    pub jobs: Vec<(OperationRun, Job)>,
    /// When the next lease ends of what is still executed, if nobody renews it.
    pub next_lease_end: Option<Timestamp>,
}

impl Lost {
    /// Keeps of `items` those whose worker is lost or the agent itself, and notes when the leases of the others end.
    pub(super) fn keep<T>(
        &mut self,
        items: &mut Vec<T>,
        (agent, at): (&Agent, Timestamp),
        held: impl Fn(&T) -> Option<(&Holder, Timestamp)>,
    ) {
        items.retain(|item| {
            let Some((holder, lease_until)) = held(item) else { return false };
            let is_lost = holder.is_lost(agent, lease_until, at);
            if !is_lost && holder.needs_lease(agent) {
                let ends = self.next_lease_end.into_iter().chain([lease_until]);
                self.next_lease_end = ends.min();
            }
            is_lost || holder.is_process(agent)
        });
    }
}

/// Which jobs of a run are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this run.
    pub run_id: RunId,
    /// In one of these statuses; any when empty.
    pub statuses: Vec<JobStatus>,
}

/// How one type's queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// The type.
    pub run_type: RunType,
    /// Runs that want a worker, now or later.
    pub queued: u64,
    /// Runs that have begun and not ended.
    pub running: u64,
    /// When the oldest run that wants a worker was accepted.
    pub oldest_queued_at: Option<Timestamp>,
}
