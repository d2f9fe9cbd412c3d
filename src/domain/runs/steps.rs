//! Describes a run's attempts and its step log. Owns both records. Face: `Attempt`, `StepRecord`.
//! Never lets a step act before its record says that it began.

use serde::{Deserialize, Serialize};

use super::Holder;
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::keyed::keyed;
use crate::domain::redaction::SafeText;

keyed! {
    /// How an attempt ended.
    pub enum AttemptEnd: "attempt end" {
        /// The run ended with it.
        Completed = "completed",
        /// Its process died or lost its lease before the run ended.
        Interrupted = "interrupted",
        /// Its process shut down in order; the attempt stopped at a safe step.
        Released = "released",
        /// It failed, and another attempt follows.
        Failed = "failed",
        /// It put the run aside, to wait.
        Suspended = "suspended",
    }
}

/// One try at a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The run.
    pub run_id: RunId,
    /// Its number, from 1; the fencing token of everything it writes.
    pub number: u32,
    /// Who executes it.
    pub holder: Holder,
    /// When it began.
    pub started_at: Timestamp,
    /// The last sign of life.
    pub heartbeat_at: Timestamp,
    /// When the next one must have come.
    pub lease_until: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub end: Option<AttemptEnd>,
}

keyed! {
    /// Where a step stands.
    pub enum StepStatus: "step status" {
        /// It may have acted.
        Started = "started",
        /// It acted.
        Succeeded = "succeeded",
        /// It reported that it failed.
        Failed = "failed",
        /// Its process died before it reported: it may or may not have acted.
        Unknown = "unknown",
    }
}

/// How a step is taken back, in words and by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Undo {
    /// It changed nothing.
    Nothing,
    /// It is taken back by this, such as `remove container shop-web-1`.
    By {
        /// The opposite step, for people and for the operation.
        description: String,
    },
    /// It cannot be taken back.
    Impossible,
}

/// One step of one attempt, recorded before it acts and again when it has acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRecord {
    /// The run.
    pub run_id: RunId,
    /// The attempt.
    pub attempt: u32,
    /// The step's place in the attempt, from 0, in the order of beginning.
    pub index: u32,
    /// What it is, stable over attempts, such as `container.create:web/1`.
    pub key: String,
    /// What it does, for people.
    pub description: SafeText,
    /// Why it is done, such as `image changed`.
    pub cause: SafeText,
    /// How it is taken back.
    pub undo: Undo,
    /// Where it stands.
    pub status: StepStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What came of it: an id, an error, the last lines of a log.
    pub detail: Option<SafeText>,
}
