//! What operations tell of their runs in the same words. Owns what an error of the store or the engine
//! means for a run, and how a run counts. Face: `count`, `store_failure`, `container_failure`,
//! `wrong_inputs`. Never decides whether something is an error.

use super::{RunContext, RunEnd};
use crate::base::chain;
use crate::domain::runs::{CountKey, Failure, ReasonCode};
use crate::store::StoreError;
use crate::world::docker::{EngineError, EngineErrorKind};

/// Adds to one of the run's numbers. A key that the run's type does not register is a defect of the
/// operation, which the run tells.
pub(super) fn count(run: &RunContext, key: CountKey, by: usize) {
    if let Err(error) = run.count(key, by as u64) {
        run.fail(Failure::new(ReasonCode::Internal, "agent", error.to_string()));
    }
}

/// What a store that does not take a write means for a run.
pub fn store_failure(error: &StoreError) -> Failure {
    let reason_code = match error {
        StoreError::DiskFull { .. } => ReasonCode::DiskFull,
        _ => ReasonCode::StoreUnavailable,
    };
    let mut message = chain(error);
    if let Some(hint) = error.hint() {
        message.push_str("; ");
        message.push_str(&hint);
    }
    Failure::new(reason_code, "store", message)
}

/// What an engine that does nothing to one container that runs means for a run that is about it.
pub(super) fn container_failure(error: &EngineError, name: &str) -> Failure {
    let code = match error.kind {
        EngineErrorKind::Unreachable => ReasonCode::EngineUnreachable,
        EngineErrorKind::TimedOut => ReasonCode::EngineTimeout,
        EngineErrorKind::NotFound => ReasonCode::NotFound,
        _ => ReasonCode::EngineRefused,
    };
    Failure::new(code, name, format!("{error}; {}", error.hint()))
}

/// The end of a run that no door could have let in.
pub(super) fn wrong_inputs(run: &RunContext) -> RunEnd {
    let message = "the run was queued with the inputs of another type; please report it";
    RunEnd::failed(run, [Failure::new(ReasonCode::Internal, "agent", message)])
}
