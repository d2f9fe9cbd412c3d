//! Says what an operation run is and which changes it may go through. Owns the run, its attempts,
//! its steps and the registries of types, counts and reason codes. Face: `OperationRun`,
//! `RunState::transition`, `Inputs`, `RunType`. Never executes anything.

mod context;
mod identity;
mod registry;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod wanted;

use serde::{Deserialize, Serialize};

use crate::base::ids::{RunId, TenantId, UserId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::redaction::SafeText;

pub use context::{
    Context, DeployCause, DeployProject, Details, Inputs, RemoveProject, RestartProject,
    ServiceDetail,
};
pub use identity::{Subject, identity_hash};
pub use registry::{Capability, CountKey, Definition, OnCrash, ReasonCode, RunType, Source};
pub use state::{
    Disposition, End, IllegalTransition, Outcome, RunEvent, RunState, Status, Waiting, WaitsFor,
    after_crash,
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
    /// What it locks while it is not completed.
    pub subject: Subject,
    /// Where it stands; `status()`, `outcome()` and `waiting()` are read from it.
    pub state: RunState,
    /// The number of its latest attempt, which is also the fencing token of that attempt's writes;
    /// 0 before the first.
    pub attempt: u32,
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

    /// What it waits for, if it does.
    pub fn waiting(&self) -> Option<&Waiting> {
        match &self.state {
            RunState::Waiting(waiting) => Some(waiting),
            _ => None,
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

/// A count that a run's type does not register.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("runs of type {run_type} do not count {key}")]
pub struct UnregisteredCount {
    /// The type of the run.
    pub run_type: RunType,
    /// The key that was refused.
    pub key: CountKey,
}

impl SummaryCounts {
    /// Adds to one number.
    ///
    /// # Errors
    /// When the type of the run does not register the key.
    pub fn add(
        &mut self,
        run_type: RunType,
        key: CountKey,
        by: u64,
    ) -> Result<(), UnregisteredCount> {
        if !run_type.definition().counts.contains(&key) {
            return Err(UnregisteredCount { run_type, key });
        }
        let count = self.0.entry(key).or_default();
        *count = count.saturating_add(by);
        Ok(())
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
