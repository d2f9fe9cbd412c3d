//! Spreads a run's state over columns and reads it back. Owns that mapping, which both dialects
//! share. Face: `StateColumns`, `state_of`. Never guesses: columns that contradict each other are
//! no state.

use crate::base::Timestamp;
use crate::domain::runs::{End, OperationRun, Outcome, RunState, Status, Waiting, WaitsFor};

/// How a state is spread over columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct StateColumns {
    /// Queued, running or completed.
    pub(in crate::store) status: Status,
    /// How it ended.
    pub(in crate::store) outcome: Outcome,
    /// It wants a worker now.
    pub(in crate::store) ready: bool,
    /// What it waits for.
    pub(in crate::store) waits_for: Option<WaitsFor>,
    /// When something happens by itself: a queued run may begin, a waiting one goes on.
    pub(in crate::store) wait_until: Option<Timestamp>,
}

impl StateColumns {
    /// The columns of a run.
    pub(in crate::store) fn of(run: &OperationRun) -> Self {
        let waiting = run.waiting();
        let later = match run.state {
            RunState::Queued => run.run_at.filter(|run_at| *run_at > run.created_at),
            _ => None,
        };
        Self {
            status: run.status(),
            outcome: run.outcome(),
            ready: matches!(run.state, RunState::Queued | RunState::Ready) && later.is_none(),
            waits_for: waiting.map(|waiting| waiting.waits_for),
            wait_until: later.or(waiting.and_then(|waiting| waiting.until)),
        }
    }
}

/// The state that these columns mean; none when they contradict each other.
pub(in crate::store) fn state_of(columns: StateColumns) -> Option<RunState> {
    let StateColumns { status, outcome, ready, waits_for, wait_until: until } = columns;
    Some(match (status, End::from_outcome(outcome), waits_for) {
        (Status::Queued, None, None) => RunState::Queued,
        (Status::Running, None, Some(waits_for)) => RunState::Waiting(Waiting { waits_for, until }),
        (Status::Running, None, None) if ready => RunState::Ready,
        (Status::Running, None, None) => RunState::Running,
        (Status::Completed, Some(end), None) => RunState::Completed(end),
        _ => return None,
    })
}
