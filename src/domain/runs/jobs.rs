//! Describes the parts of a bulk run. Owns a job's states, and how jobs add up to their run.
//! Face: `Job`, `JobState::transition`, `increment_summary_counts`, `append_failures`,
//! `maybe_complete_bulk_run`. Never counts a job twice: a job ends once.

use serde::{Deserialize, Serialize};

use super::{
    Definition, End, Failure, Holder, IllegalTransition, Payload, RunType, SummaryCounts,
    Unregistered,
};
use crate::base::Timestamp;
use crate::base::ids::{RunId, TenantId};
use crate::base::keyed::keyed;
use crate::base::limits::FAILURES_MAX;
use crate::domain::runs::CountKey;

/// One part of a bulk run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The bulk run.
    pub run_id: RunId,
    /// Its name, unique in the run.
    pub key: String,
    /// The tenant it works for.
    pub tenant_id: Option<TenantId>,
    /// What it is to do.
    pub payload: Payload,
    /// Where it stands.
    pub state: JobState,
    /// The number of its latest attempt, the fencing token of that attempt's writes; 0 before the
    /// first.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that lost their worker.
    pub interruptions: u32,
    /// Who executes it, while somebody does.
    pub holder: Option<Holder>,
    /// When its worker must have given its next sign of life.
    pub lease_until: Option<Timestamp>,
    /// How far it has come, in its operation's words: the next attempt goes on from there.
    pub reached: Option<String>,
}

keyed! {
    /// Where a job stands, as clients see it.
    pub enum JobStatus: "job status" {
        /// It wants a worker.
        Queued = "queued",
        /// A worker executes it.
        Running = "running",
        /// It failed, and is tried again later.
        Waiting = "waiting",
        /// It was done.
        Succeeded = "succeeded",
        /// It could not be done.
        Failed = "failed",
        /// It needed nothing.
        Skipped = "skipped",
        /// Its run was cancelled before it began.
        Cancelled = "cancelled",
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It wants a worker.
    Queued,
    /// A worker executes it.
    Running,
    /// It failed, and is tried again then.
    Waiting {
        /// When.
        until: Timestamp,
    },
    /// It has ended, for good.
    Ended(JobEnd),
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// It was done.
    Succeeded,
    /// It could not be done.
    Failed,
    /// It needed nothing.
    Skipped,
    /// Its run was cancelled.
    Cancelled,
}

/// What may happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// A worker takes it: a new attempt begins. One that waits is taken when its time has come.
    Claim,
    /// Its attempt failed, and another follows.
    Retry {
        /// When.
        until: Timestamp,
    },
    /// Its worker is gone.
    Interrupt,
    /// It ends.
    End(JobEnd),
}

impl JobState {
    /// The state after an event.
    ///
    /// # Errors
    /// When the event cannot happen in this state.
    pub fn transition(self, event: JobEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Queued | Self::Waiting { .. }, JobEvent::Claim) => Ok(Self::Running),
            (Self::Running, JobEvent::Retry { until }) => Ok(Self::Waiting { until }),
            (Self::Running, JobEvent::Interrupt) => Ok(Self::Queued),
            (Self::Running, JobEvent::End(end))
            | (Self::Queued | Self::Waiting { .. }, JobEvent::End(end @ JobEnd::Cancelled)) => {
                Ok(Self::Ended(end))
            }
            _ => Err(IllegalTransition { from: self.name(), event: event.name() }),
        }
    }

    /// The status that clients see.
    pub const fn status(self) -> JobStatus {
        match self {
            Self::Queued => JobStatus::Queued,
            Self::Running => JobStatus::Running,
            Self::Waiting { .. } => JobStatus::Waiting,
            Self::Ended(JobEnd::Succeeded) => JobStatus::Succeeded,
            Self::Ended(JobEnd::Failed) => JobStatus::Failed,
            Self::Ended(JobEnd::Skipped) => JobStatus::Skipped,
            Self::Ended(JobEnd::Cancelled) => JobStatus::Cancelled,
        }
    }

    const fn name(self) -> &'static str {
        self.status().key()
    }
}

impl JobEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Claim => "be claimed",
            Self::Retry { .. } => "be tried again",
            Self::Interrupt => "be interrupted",
            Self::End(JobEnd::Succeeded) => "succeed",
            Self::End(JobEnd::Failed) => "fail",
            Self::End(JobEnd::Skipped) => "be skipped",
            Self::End(JobEnd::Cancelled) => "be cancelled",
        }
    }
}

/// How many jobs of a bulk run stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobCounts {
    /// They want a worker.
    pub queued: u64,
    /// A worker executes them.
    pub running: u64,
    /// They failed and are tried again.
    pub waiting: u64,
    /// They were done.
    pub succeeded: u64,
    /// They could not be done.
    pub failed: u64,
    /// They needed nothing.
    pub skipped: u64,
    /// Their run was cancelled before they began.
    pub cancelled: u64,
}

impl JobCounts {
    /// So many jobs that want a worker.
    pub fn queued(queued: u64) -> Self {
        Self { queued, ..Self::default() }
    }

    /// All jobs.
    pub const fn total(&self) -> u64 {
        self.open() + self.succeeded + self.failed + self.skipped + self.cancelled
    }

    /// Jobs that have not ended.
    pub const fn open(&self) -> u64 {
        self.queued + self.running + self.waiting
    }

    /// One job went from one status to another.
    pub fn moved(&mut self, from: JobStatus, to: JobStatus) {
        let left = self.place(from);
        *left = left.saturating_sub(1);
        *self.place(to) += 1;
    }

    /// Jobs that no worker has are cancelled; returns how many.
    pub fn cancel_idle(&mut self) -> u64 {
        let idle = self.queued + self.waiting;
        (self.queued, self.waiting) = (0, 0);
        self.cancelled += idle;
        idle
    }

    fn place(&mut self, status: JobStatus) -> &mut u64 {
        match status {
            JobStatus::Queued => &mut self.queued,
            JobStatus::Running => &mut self.running,
            JobStatus::Waiting => &mut self.waiting,
            JobStatus::Succeeded => &mut self.succeeded,
            JobStatus::Failed => &mut self.failed,
            JobStatus::Skipped => &mut self.skipped,
            JobStatus::Cancelled => &mut self.cancelled,
        }
    }
}

/// Adds numbers to a run's. All are added, or none.
///
/// # Errors
/// When the run's type does not register one of the keys.
pub fn increment_summary_counts(
    counts: &mut SummaryCounts,
    run_type: RunType,
    definition: &Definition,
    by: &[(CountKey, u64)],
) -> Result<(), Unregistered> {
    by.iter().try_for_each(|(key, _)| definition.check_count(run_type, *key))?;
    for (key, by) in by {
        counts.add(*key, *by);
    }
    Ok(())
}

/// Appends failures to a run's, first things first; what exceeds `FAILURES_MAX` is dropped.
///
/// # Errors
/// When the run's type does not register one of the reason codes.
pub fn append_failures(
    failures: &mut Vec<Failure>,
    run_type: RunType,
    definition: &Definition,
    further: &[Failure],
) -> Result<(), Unregistered> {
    further
        .iter()
        .try_for_each(|failure| definition.check_reason(run_type, failure.reason_code))?;
    let room = FAILURES_MAX.saturating_sub(failures.len());
    failures.extend(further.iter().take(room).cloned());
    Ok(())
}

/// How a bulk run ends, when its last job has; none while jobs are open.
pub fn maybe_complete_bulk_run(jobs: &JobCounts) -> Option<End> {
    if jobs.open() > 0 {
        return None;
    }
    Some(match (jobs.cancelled, jobs.failed, jobs.succeeded + jobs.skipped) {
        (1.., _, _) => End::Cancelled,
        (0, 0, _) => End::Succeeded,
        (0, 1.., 0) => End::Failed,
        (0, 1.., 1..) => End::PartiallySucceeded,
    })
}
