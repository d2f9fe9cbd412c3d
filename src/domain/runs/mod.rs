//! Says what an operation run is and which changes it may go through. Owns the run, its attempts,
//! steps and jobs, what holds the queue back, and the registries of types, counts and reason codes.
//! Face: `OperationRun`, `RunState::transition`, `Inputs`, `RunType`. Never executes anything.

mod context;
mod definition;
mod identity;
mod images;
mod jobs;
mod payload;
mod queue;
mod registry;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod wanted;

use serde::{Deserialize, Serialize};

use crate::base::ids::{HostId, RunId, TenantId, UserId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::redaction::SafeText;

pub use context::{
    Context, DeployCause, DeployChoices, DeployProject, Details, EnforcePolicy, HealInstance,
    Inputs, PolicyDetail, ReleaseContainer, RemoveProject, RestartProject, ServiceDetail,
    SourceTree,
};
pub use definition::{
    AfterFailure, Definition, DefinitionError, Priority, Retry, Unregistered, after_failure,
};
pub use identity::{Subject, identity_hash};
pub use images::{
    BuildChoices, BuildImages, CheckImages, CheckedImage, ImageDetail, PullChoices, PullImages,
    ScanImages, UpdateAdvisories,
};
pub use jobs::{
    Job, JobCounts, JobEnd, JobEvent, JobState, JobStatus, append_failures,
    increment_summary_counts, maybe_complete_bulk_run,
};
pub use payload::{Hosted, Payload, PayloadError, check_key};
pub use queue::{Agent, Holder, HostedType, QueueControl, QueueScope, Tenants};
pub use registry::{CountKey, OnCrash, ReasonCode, RunType, Source};
pub use state::{
    Cancellation, Disposition, End, IllegalTransition, Outcome, RunEvent, RunState, Status,
    Waiting, WaitsFor, after_crash,
};
pub use steps::{Attempt, AttemptEnd, StepRecord, StepStatus, Undo};
pub use wanted::{Layer, Wanted};

/// Everything long-running is one of these: what was asked, by whom, how far it is, how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRun {
    /// Its name.
    pub id: RunId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// The tenant it belongs to; none for a run on the whole workspace.
    pub tenant_id: Option<TenantId>,
    /// The member who started it; none for schedules, convergence and platform users.
    pub user_id: Option<UserId>,
    /// Who started it, as text that stays true when the user is renamed.
    pub initiator_name: String,
    /// Through which door it came.
    pub source: Source,
    /// What it locks from its first attempt to its end; nothing when absent.
    pub subject: Option<Subject>,
    /// Which of the runs that could begin comes first.
    pub priority: Priority,
    /// When it may begin; at once when absent.
    pub run_at: Option<Timestamp>,
    /// The host whose agent may execute it, or through whose agent a program may; any when absent.
    pub host_id: Option<HostId>,
    /// The dead letter that it tries again.
    pub retried_from: Option<RunId>,
    /// Where it stands; `status()`, `outcome()` and `waiting()` are read from it.
    pub state: RunState,
    /// The number of its latest attempt, which is also the fencing token of that attempt's writes;
    /// 0 before the first.
    pub attempt: u32,
    /// Attempts that failed, so that another followed or the retries were used up.
    pub failures: u32,
    /// It ended without being done, its retries are used up, and nobody has dealt with it.
    pub is_dead_letter: bool,
    /// How its jobs stand, once it has some.
    pub jobs: Option<JobCounts>,
    /// Equal for runs that ask for the same; at most one of them is active at a time.
    pub run_identity_hash: Digest,
    /// How much was done.
    pub summary_counts: SummaryCounts,
    /// What went wrong, first things first, at most `FAILURES_MAX`.
    pub failure_summary: Vec<Failure>,
    /// What was asked, and the details of what was done.
    pub context: Context,
    /// When somebody asked for it to be cancelled.
    pub cancel_requested_at: Option<Timestamp>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

impl OperationRun {
    /// What kind of run it is.
    pub fn run_type(&self) -> RunType {
        self.context.inputs.run_type()
    }

    /// Queued, running or completed.
    pub fn status(&self) -> Status {
        self.state.status()
    }

    /// How it ended; `pending` until then.
    pub fn outcome(&self) -> Outcome {
        self.state.outcome()
    }

    /// Where the lock of its subject is kept: a subject of ours is a thing of one host, that of a
    /// hosted run a thing of its workspace.
    pub fn lock_scope(&self) -> Option<LockScope> {
        self.subject.as_ref()?;
        Some(match (self.run_type().is_hosted(), self.host_id) {
            (false, Some(host_id)) => LockScope::Host(host_id),
            _ => LockScope::Workspace(self.workspace_id),
        })
    }

    /// What it waits for, if it does.
    pub fn waiting(&self) -> Option<&Waiting> {
        match &self.state {
            RunState::Waiting(waiting) => Some(waiting),
            _ => None,
        }
    }
}

/// Within what a subject is one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockScope {
    /// A host.
    Host(HostId),
    /// A workspace.
    Workspace(WorkspaceId),
}

impl std::fmt::Display for LockScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(id) => id.fmt(f),
            Self::Workspace(id) => id.fmt(f),
        }
    }
}

/// One thing that went wrong in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A code from the registry, for programs.
    pub reason_code: ReasonCode,
    /// What happened and what to do, for people.
    pub message: SafeText,
    /// What it happened to, such as `service:web`.
    pub subject: String,
}

impl Failure {
    /// A failure of `subject`; the message is sanitised here.
    pub fn new(
        reason_code: ReasonCode,
        subject: impl Into<String>,
        message: impl AsRef<str>,
    ) -> Self {
        Self { reason_code, message: SafeText::new(message), subject: subject.into() }
    }
}

/// Flat numbers about a run. Only keys that its type registers are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SummaryCounts(std::collections::BTreeMap<CountKey, u64>);

impl SummaryCounts {
    /// Adds to one number. Whether the run's type counts it is `Definition::check_count`'s to say.
    pub fn add(&mut self, key: CountKey, by: u64) {
        let count = self.0.entry(key).or_default();
        *count = count.saturating_add(by);
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One number; 0 when nothing was counted.
    pub fn get(&self, key: CountKey) -> u64 {
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// All numbers, in the order of the registry.
    pub fn iter(&self) -> impl Iterator<Item = (CountKey, u64)> + '_ {
        self.0.iter().map(|(key, count)| (*key, *count))
    }
}
