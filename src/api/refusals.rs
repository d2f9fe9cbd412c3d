//! Turns errors of the lower floors into problem documents. Owns the mapping. Face: the `From`
//! implementations for `Problem`. Never shows more of a cause than its own words.

use super::problem::{DiagnosticView, Problem, ProblemCode};
use crate::base::{CanonicalError, chain};
use crate::domain::compose::PROJECT_NAMES;
use crate::operations::hosted::HostedError;
use crate::operations::projects::ProjectError;
use crate::operations::rollout::PreviewError;
use crate::operations::{CancelError, SubmitError};
use crate::store::StoreError;
use crate::world::docker::{EngineError, EngineErrorKind};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Conflict(_) => ProblemCode::Conflict,
            StoreError::BadCursor(_) => ProblemCode::BadRequest,
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
            SubmitError::Unregistered(_) => Self::new(ProblemCode::NotFound, error.to_string()),
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

impl From<ProjectError> for Problem {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::Files(found) => Self::from(found),
            ProjectError::OtherProject { .. } => {
                Self::new(ProblemCode::InvalidProject, error.to_string())
            }
            ProjectError::HostPaths(ref refusals) => {
                let views = refusals.iter().map(|refusal| view(refusal.code(), refusal, None));
                let diagnostics = views.collect();
                Self { diagnostics, ..Self::new(ProblemCode::Forbidden, error.to_string()) }
                    .hint("ask root to apply it, or to add the folder to `host_paths.roots`")
            }
            ProjectError::ContextsMissing(ref digests) => {
                let missing_contexts = digests.iter().map(ToString::to_string).collect();
                let problem = Self::new(ProblemCode::ContextsMissing, error.to_string());
                Self { missing_contexts, ..problem }.hint("send them with `PUT /v1/contexts/…`")
            }
            ProjectError::Name(_) => {
                Self::new(ProblemCode::InvalidProject, error.to_string()).hint(PROJECT_NAMES)
            }
            ProjectError::Unknown(_) => Self::new(ProblemCode::NotFound, error.to_string())
                .hint("`wharf ps` lists projects; `wharf up` makes the agent keep one"),
            ProjectError::Preview(source) => Self::from(source),
            ProjectError::Submit(source) => Self::from(source),
            ProjectError::Store(source) => Self::from(source),
        }
    }
}

impl From<PreviewError> for Problem {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::Files(found) => Self::from(found),
            PreviewError::Engine(source) => Self::from(source),
            PreviewError::Store(source) => Self::from(source),
            PreviewError::Plan(ref errors) => {
                let views = errors.0.iter().map(|e| view(e.code(), e, Some(e.hint())));
                let diagnostics = views.collect();
                let detail = match errors.0.as_slice() {
                    [only] => only.to_string(),
                    several => format!("{} things stand in the way of a plan", several.len()),
                };
                Self { diagnostics, ..Self::new(ProblemCode::InvalidProject, detail) }
            }
            PreviewError::Revision { .. } | PreviewError::Bundle(_) => {
                Self::new(ProblemCode::Internal, chain(&error))
            }
        }
    }
}

/// A problem that has no place in a file.
fn view(code: &str, message: impl ToString, help: Option<&str>) -> DiagnosticView {
    let message = message.to_string();
    let text = match help {
        Some(help) => format!("{message}\n help: {help}"),
        None => message.clone(),
    };
    DiagnosticView {
        code: code.to_owned(),
        message,
        file: None,
        line: None,
        column: None,
        help: help.map(str::to_owned),
        text,
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
            CancelError::Own(_) => Self::new(ProblemCode::Forbidden, error.to_string())
                .hint("ask somebody else who may approve runbooks"),
        }
    }
}

impl From<HostedError> for Problem {
    fn from(error: HostedError) -> Self {
        let error = match error {
            HostedError::Store(source) => return Self::from(source),
            other => other,
        };
        let code = match &error {
            HostedError::Store(_) => ProblemCode::Unavailable,
            HostedError::NoRun(_)
            | HostedError::NoTenant(_)
            | HostedError::NoJob(..)
            | HostedError::UnknownType(_) => ProblemCode::NotFound,
            HostedError::NotDead(_) | HostedError::ActiveRun(_) | HostedError::Busy => {
                ProblemCode::Conflict
            }
            HostedError::Stale(_) => ProblemCode::StaleAttempt,
            HostedError::TooManyWait(_)
            | HostedError::TooManyTypes(_)
            | HostedError::TooManyControls(_) => ProblemCode::TooMany,
            HostedError::Closed => ProblemCode::Unavailable,
            HostedError::NotDotted(_)
            | HostedError::Definition(_)
            | HostedError::Payload(..)
            | HostedError::Invalid(_)
            | HostedError::Unregistered(_) => ProblemCode::BadRequest,
        };
        let problem = Self::new(code, chain(&error));
        let problem = match &error {
            HostedError::Stale(stale) => {
                Self { attempt: Some(stale.attempt), worker: stale.holder.clone(), ..problem }
            }
            _ => problem,
        };
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}
