//! Lists what is to be written out. Owns the shape of a change. Face: `Changes`. Never says how:
//! that is the dialect's.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::domain::alerts::AlertEvent;
use crate::domain::runs::{Attempt, AttemptEnd, Job, OperationRun};
use crate::store::NewJob;

use super::{Ledger, Lock, LockKey};

/// What of a run changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct RunChange {
    /// It is new: all of it is to be inserted.
    pub(in crate::store) inserted: bool,
    /// State, attempt, failures, dead letter, jobs, times.
    pub(in crate::store) state: bool,
    /// Counts, failure summary, context.
    pub(in crate::store) progress: bool,
}

/// What happened to an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store) struct AttemptChange {
    /// It began: a new row.
    pub(in crate::store) begun: Option<Attempt>,
    /// It ended, and so; its steps without a result become unknown when it may have any.
    pub(in crate::store) ended: Option<(AttemptEnd, Timestamp)>,
}

/// An attempt whose worker gave a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Renewal {
    /// When.
    pub(in crate::store) at: Timestamp,
    /// When the next one must have come.
    pub(in crate::store) lease_until: Timestamp,
}

/// New jobs of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct MadeJobs {
    /// The run.
    pub(in crate::store) run_id: RunId,
    /// In their order; all are new in the run.
    pub(in crate::store) jobs: Vec<NewJob>,
    /// Whether they can be claimed at once: their run waits for them.
    pub(in crate::store) ready: bool,
}

/// What is to be written out, in the order of the fields: locks that go before locks that come,
/// attempts that end before attempts that begin.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Changes {
    /// Runs; how they are now is `Ledger::run`.
    pub(in crate::store) runs: BTreeMap<RunId, RunChange>,
    /// Locks, taken or renewed; or free.
    pub(in crate::store) locks: Vec<(LockKey, Option<Lock>)>,
    /// Attempts of runs, by run and number.
    pub(in crate::store) attempts: BTreeMap<(RunId, u32), AttemptChange>,
    /// Attempts of runs that go on.
    pub(in crate::store) renewals: BTreeMap<(RunId, u32), Renewal>,
    /// New jobs.
    pub(in crate::store) jobs_made: Vec<MadeJobs>,
    /// Jobs that changed; how they are now is `Ledger::job`.
    pub(in crate::store) jobs: BTreeSet<(RunId, String)>,
    /// Runs whose queued jobs can be claimed from now on.
    pub(in crate::store) jobs_opened: BTreeSet<RunId>,
    /// Runs whose queued and waiting jobs are cancelled.
    pub(in crate::store) jobs_cancelled: BTreeSet<RunId>,
    /// What the ends of runs raise: the rules say who hears of it.
    pub(in crate::store) alerts: Vec<AlertEvent>,
}

impl Changes {
    /// Whether there is nothing to write out.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.runs.is_empty()
            && self.locks.is_empty()
            && self.attempts.is_empty()
            && self.renewals.is_empty()
            && self.jobs_made.is_empty()
            && self.jobs.is_empty()
            && self.jobs_opened.is_empty()
            && self.jobs_cancelled.is_empty()
            && self.alerts.is_empty()
    }
}

impl Ledger {
    /// A run that is to be written out.
    pub(in crate::store) fn changed_run(&self, id: RunId) -> Option<&OperationRun> {
        self.runs.get(&id).and_then(Option::as_ref)
    }

    /// A job that is to be written out.
    pub(in crate::store) fn changed_job(&self, key: &(RunId, String)) -> Option<&Job> {
        self.jobs.get(key).and_then(Option::as_ref)
    }
}
