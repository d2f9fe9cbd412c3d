//! Turns errors of the lower floors into problem documents. Owns the mapping. Face: the `From`
//! implementations for `Problem`. Never shows more of a cause than its own words.

use super::problem::{Problem, ProblemCode};
use crate::base::{CanonicalError, chain};
use crate::operations::{CancelError, SubmitError};
use crate::store::StoreError;
use crate::world::docker::{EngineError, EngineErrorKind};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Conflict(_) => ProblemCode::Conflict,
            StoreError::DiskFull { .. } => ProblemCode::DiskFull,
            StoreError::Unreadable { .. } => ProblemCode::Internal,
            _ => ProblemCode::Unavailable,
        };
        let problem = Self::new(code, chain(&error));
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let code = match error.kind {
            EngineErrorKind::DiskFull => ProblemCode::DiskFull,
            _ => ProblemCode::Engine,
        };
        Self::new(code, error.to_string()).hint(error.hint())
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Closed => Self::new(ProblemCode::Unavailable, error.to_string())
                .hint("try again when the agent has started again"),
            SubmitError::Busy => {
                Self::new(ProblemCode::Conflict, error.to_string()).hint("try again")
            }
            SubmitError::Identity(source) => Self::from(source),
            SubmitError::Store(source) => Self::from(source),
        }
    }
}

impl From<CanonicalError> for Problem {
    fn from(error: CanonicalError) -> Self {
        Self::new(ProblemCode::Internal, chain(&error))
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotFound(id) => Self::not_found("run", id),
            CancelError::Store(source) => Self::from(source),
            CancelError::Ended(_) | CancelError::NotAsking(_) | CancelError::Busy(_) => {
                Self::new(ProblemCode::Conflict, error.to_string())
            }
        }
    }
}
