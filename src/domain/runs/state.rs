//! Decides which changes of a run are legal. Owns the state machine of a run and what follows a
//! crash. Face: `RunState::transition`, `after_crash`. Never goes backwards: a retry is a new
//! attempt of the same run.

use serde::{Deserialize, Serialize};

use super::{OnCrash, ReasonCode};
use crate::base::Timestamp;
use crate::base::keyed::keyed;
use crate::base::limits::RUN_ATTEMPTS_MAX;

keyed! {
    /// Where a run stands, as clients see it.
    pub enum Status: "run status" {
        /// Accepted, not begun.
        Queued = "queued",
        /// Begun, not ended; it may be waiting.
        Running = "running",
        /// Ended, for good.
        Completed = "completed",
    }
}

keyed! {
    /// How a run ended, as clients see it.
    pub enum Outcome: "run outcome" {
        /// It has not ended.
        Pending = "pending",
        /// All was done.
        Succeeded = "succeeded",
        /// Some was done, some could not be.
        PartiallySucceeded = "partially_succeeded",
        /// It could not be done.
        Failed = "failed",
        /// It was refused.
        Blocked = "blocked",
        /// Somebody cancelled it.
        Cancelled = "cancelled",
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All was done.
    Succeeded,
    /// Some was done, some could not be.
    PartiallySucceeded,
    /// It could not be done.
    Failed,
    /// It was refused.
    Blocked,
    /// Somebody cancelled it.
    Cancelled,
}

impl End {
    /// The outcome that clients see.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Succeeded => Outcome::Succeeded,
            Self::PartiallySucceeded => Outcome::PartiallySucceeded,
            Self::Failed => Outcome::Failed,
            Self::Blocked => Outcome::Blocked,
            Self::Cancelled => Outcome::Cancelled,
        }
    }

    /// The end that an outcome tells of; none for `pending`.
    pub const fn from_outcome(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Pending => None,
            Outcome::Succeeded => Some(Self::Succeeded),
            Outcome::PartiallySucceeded => Some(Self::PartiallySucceeded),
            Outcome::Failed => Some(Self::Failed),
            Outcome::Blocked => Some(Self::Blocked),
            Outcome::Cancelled => Some(Self::Cancelled),
        }
    }
}

keyed! {
    /// What a waiting run waits for.
    pub enum WaitsFor: "wait" {
        /// Somebody's approval.
        Approval = "approval",
        /// An operator's answer: go on, or give up.
        Answer = "answer",
        /// The time before the next try.
        BackOff = "back_off",
        /// The time a new version must prove itself.
        BakeTime = "bake_time",
        /// The end of its jobs.
        Jobs = "jobs",
    }
}

/// What a run waits for, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What must happen.
    #[serde(rename = "for")]
    pub waits_for: WaitsFor,
    /// When the run goes on by itself; none when only somebody's answer can wake it.
    pub until: Option<Timestamp>,
}

/// Where a run stands. Clients see `status()` and `outcome()`; the difference is that a run
/// without a worker shows as `running` once it has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Accepted; waits for a worker and for its subject's lock.
    Queued,
    /// A worker executes it.
    Running,
    /// Begun; waits without a worker, but keeps its lock.
    Waiting(Waiting),
    /// Begun; wants a worker for its next attempt, and keeps its lock.
    Ready,
    /// Ended, for good.
    Completed(End),
}

/// What may happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEvent {
    /// A worker takes it: a new attempt begins.
    Claim,
    /// Its worker puts it aside, or recovery decides that it must wait.
    Wait(Waiting),
    /// What it waited for has happened.
    Wake,
    /// Its worker is gone without an end: the process died, or is shutting down.
    Interrupt,
    /// It ends.
    Complete(End),
}

/// A change that the state machine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {from} cannot {event}")]
pub struct IllegalTransition {
    /// The state it was in.
    pub from: &'static str,
    /// What should have happened.
    pub event: &'static str,
}

impl RunState {
    /// The state after an event.
    ///
    /// # Errors
    /// When the event cannot happen in this state; nothing is ever ignored silently.
    pub fn transition(self, event: RunEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Queued | Self::Ready, RunEvent::Claim) => Ok(Self::Running),
            (Self::Running | Self::Ready, RunEvent::Wait(waiting)) => Ok(Self::Waiting(waiting)),
            // Only its jobs end that wait.
            (Self::Waiting(waiting), RunEvent::Wake) if waiting.waits_for != WaitsFor::Jobs => {
                Ok(Self::Ready)
            }
            (Self::Running, RunEvent::Interrupt) => Ok(Self::Ready),
            (Self::Running, RunEvent::Complete(end)) => Ok(Self::Completed(end)),
            // Its jobs did the work.
            (
                Self::Waiting(Waiting { waits_for: WaitsFor::Jobs, .. }),
                RunEvent::Complete(end @ (End::Succeeded | End::PartiallySucceeded)),
            ) => Ok(Self::Completed(end)),
            // Without a worker nothing can have succeeded.
            (
                Self::Queued | Self::Waiting(_) | Self::Ready,
                RunEvent::Complete(end @ (End::Failed | End::Blocked | End::Cancelled)),
            ) => Ok(Self::Completed(end)),
            _ => Err(IllegalTransition { from: self.name(), event: event.name() }),
        }
    }

    /// The status that clients see.
    pub const fn status(self) -> Status {
        match self {
            Self::Queued => Status::Queued,
            Self::Running | Self::Waiting(_) | Self::Ready => Status::Running,
            Self::Completed(_) => Status::Completed,
        }
    }

    /// The outcome that clients see.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Completed(end) => end.outcome(),
            _ => Outcome::Pending,
        }
    }

    /// What cancelling does, by somebody or because a newer run takes this one's place.
    pub const fn cancellation(self) -> Cancellation {
        match self {
            Self::Queued | Self::Ready => Cancellation::AtOnce,
            Self::Waiting(Waiting { waits_for: WaitsFor::Jobs, .. }) => Cancellation::Jobs,
            Self::Waiting(_) => Cancellation::AtOnce,
            Self::Running => Cancellation::Asked,
            Self::Completed(_) => Cancellation::Never,
        }
    }

    /// Whether the run has ended.
    pub const fn is_completed(self) -> bool {
        matches!(self, Self::Completed(_))
    }

    /// The state's name, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting(_) => "waiting",
            Self::Ready => "ready for its next attempt",
            Self::Completed(_) => "completed",
        }
    }
}

/// What cancelling a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// It ends now: nobody works on it.
    AtOnce,
    /// Its worker is asked to stop.
    Asked,
    /// Jobs that nobody works on end now, the workers of the others are asked to stop; the run
    /// ends with the last of them.
    Jobs,
    /// Nothing: it has ended.
    Never,
}

impl RunEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Claim => "be claimed",
            Self::Wait(_) => "wait",
            Self::Wake => "be woken",
            Self::Interrupt => "be interrupted",
            Self::Complete(End::Succeeded) => "succeed",
            Self::Complete(End::PartiallySucceeded) => "succeed partially",
            Self::Complete(End::Failed) => "fail",
            Self::Complete(End::Blocked) => "be blocked",
            Self::Complete(End::Cancelled) => "be cancelled",
        }
    }
}

/// What recovery does with a run that lost its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// A new attempt goes on from what the step log tells.
    Resume,
    /// A new attempt takes back what was done.
    Undo,
    /// The run waits for an operator.
    Wait(Waiting),
    /// The run ends as failed.
    GiveUp(ReasonCode),
}

/// Decides what happens to a run after its worker was lost for the `interruptions`-th time.
pub fn after_crash(on_crash: OnCrash, interruptions: u32) -> Disposition {
    if interruptions >= RUN_ATTEMPTS_MAX {
        return Disposition::GiveUp(ReasonCode::RunAttemptsExhausted);
    }
    match on_crash {
        OnCrash::Resume => Disposition::Resume,
        OnCrash::Undo => Disposition::Undo,
        OnCrash::Ask => Disposition::Wait(Waiting { waits_for: WaitsFor::Answer, until: None }),
    }
}
