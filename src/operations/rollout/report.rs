//! Says what went wrong, with a code for programs and a remedy for people. Owns the mapping from
//! errors to failures. Face: `failures_of`, `plan_failures`. Never shows more of a log than its
//! last lines.

use super::PreviewError;
use super::hook::{HookError, Placed};
use super::wait::WaitError;
use crate::base::chain;
use crate::domain::rollout::{PlanErrors, Step};
use crate::domain::runs::{Failure, ReasonCode};
use crate::facts::{FieldDifference, HookKind};
use crate::operations::{Stop, store_failure};
use crate::world::content_files::ContentFileError;
use crate::world::contexts::ContextError;
use crate::world::docker::{EngineError, EngineErrorKind};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActError {
    /// The engine refused or vanished.
    #[error(transparent)]
    Engine(EngineError),
    /// A wait was in vain.
    #[error(transparent)]
    Wait(WaitError),
    /// The engine said yes to a change and did not make it.
    #[error(
        "the engine agreed to change container {name} and kept it as it was: {}", list(.not_taken)
    )]
    NotTaken {
        /// The container.
        name: String,
        /// Its service.
        service: String,
        /// What is still not as declared.
        not_taken: Vec<FieldDifference>,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(ContentFileError),
    /// The build context is not there.
    #[error(transparent)]
    Context(ContextError),
    /// The plan speaks of something that the project does not declare.
    #[error("the plan names {0}, which the project does not declare")]
    Undeclared(String),
    /// What was to be kept could not be recorded.
    #[error("the adoption could not be recorded")]
    Store(#[source] crate::store::StoreError),
    /// A command that is hooked to the container's life failed.
    #[error("{place} failed")]
    Hook {
        /// Which one.
        place: String,
        /// What can be done.
        hint: String,
        /// Why.
        #[source]
        source: HookError,
    },
    /// That hooks are due after a start could not be recorded, so that nothing was started.
    #[error("the hooks that follow the start could not be recorded")]
    Due(#[source] crate::store::StoreError),
    /// The login to a registry could not be read, or its use not recorded.
    #[error("the login to the image's registry could not be used")]
    Login(#[source] crate::store::StoreError),
}

fn list(differences: &[FieldDifference]) -> String {
    let each: Vec<String> = differences.iter().map(ToString::to_string).collect();
    each.join(", ")
}

impl ActError {
    /// That hook failed so.
    pub(super) fn of_hook(placed: Placed<'_>, source: HookError) -> Self {
        let Placed { kind, index, service, .. } = placed;
        let hint = match kind {
            HookKind::PostStart => format!(
                "correct the hook; it runs again when a container of the service is started again, \
                 as by `wharf restart {service}`"
            ),
            HookKind::PreStop => {
                "correct the hook; the container is stopped all the same".to_owned()
            }
        };
        Self::Hook { place: format!("{}[{index}] of service {service}", kind.key()), hint, source }
    }

    /// The engine may have acted, or it is gone: look again before anything else is done.
    pub(super) fn loses_engine(&self) -> bool {
        match self {
            // An engine that shuts down answers with errors of its own making before it goes.
            Self::Engine(error) | Self::Wait(WaitError::Engine(error)) => {
                error.is_outcome_unknown() || error.kind == EngineErrorKind::Internal
            }
            // An engine that cannot execute a command in a container says so in its own words.
            Self::Hook { source: HookError::Engine(error), .. } => error.is_outcome_unknown(),
            _ => false,
        }
    }

    /// Was a container waited for in vain, or did its hook fail, and not because of what happened
    /// around it?
    pub(super) fn blames_container(&self) -> bool {
        match self {
            Self::Wait(error) => matches!(
                error,
                WaitError::Unhealthy { .. }
                    | WaitError::TooLate { .. }
                    | WaitError::NoHealthcheck { .. }
            ),
            Self::Hook { source, .. } => {
                matches!(source, HookError::Exited { .. } | HookError::TooLate { .. })
            }
            _ => false,
        }
    }

    /// Why the run is to stop, when the step noticed that.
    pub(super) fn stop(&self) -> Option<Stop> {
        match self {
            Self::Wait(WaitError::Stopped(stop))
            | Self::Hook { source: HookError::Stopped(stop), .. } => Some(*stop),
            _ => None,
        }
    }

    /// What was planned is no longer how it is: somebody else was faster.
    pub(super) fn is_stale(&self) -> bool {
        let kind = match self {
            Self::Engine(error) => error.kind,
            Self::Wait(WaitError::Gone { .. }) => return true,
            Self::Hook { source, .. } => return source.is_stale(),
            _ => return false,
        };
        matches!(kind, EngineErrorKind::NotFound | EngineErrorKind::Conflict)
    }

    pub(super) fn failure(&self, subject: &str) -> Failure {
        match self {
            Self::Engine(error) | Self::Wait(WaitError::Engine(error)) => {
                engine_failure(error, subject)
            }
            Self::Store(error) | Self::Login(error) | Self::Due(error) => store_failure(error),
            Self::Hook { hint, source, .. } => {
                let message = format!("{}; {hint}", chain(self));
                let code = match source {
                    HookError::Engine(error) if error.is_outcome_unknown() => {
                        engine_failure(error, subject).reason_code
                    }
                    _ => ReasonCode::ContainerHookFailed,
                };
                Failure::new(code, subject, message)
            }
            Self::Wait(error) => {
                let (code, hint) = match error {
                    WaitError::Unhealthy { .. } | WaitError::NoHealthcheck { .. } => {
                        (ReasonCode::ContainerUnhealthy, "correct its health check, or itself")
                    }
                    WaitError::TooLate { .. } => {
                        (ReasonCode::DeadlineExceeded, "give it more time, or look at its log")
                    }
                    _ => (ReasonCode::ContainerExited, "look at its log with `wharf logs`"),
                };
                Failure::new(code, subject, format!("{}; {hint}", chain(error)))
            }
            Self::File(error) => {
                let said = chain(error);
                // What chown(2) answers to everybody but root.
                let hint = if said.contains("Operation not permitted") {
                    "leave out `uid` and `gid` of the config or secret: only an agent that runs as \
                     root can give files away"
                } else {
                    "look at the space and the owner of the agent's state directory"
                };
                let message = format!("{said}; {hint}");
                let full = said.contains("No space left");
                let code = if full { ReasonCode::DiskFull } else { ReasonCode::Internal };
                Failure::new(code, subject, message)
            }
            Self::Context(error) => {
                let message = format!("{}; run `wharf up` again to send it", chain(error));
                Failure::new(ReasonCode::NotFound, subject, message)
            }
            Self::NotTaken { service, .. } => {
                let hint = format!(
                    "make it anew with `wharf up --force-recreate {service}`, or remove the setting"
                );
                Failure::new(ReasonCode::EngineRefused, subject, format!("{}; {hint}", chain(self)))
            }
            Self::Undeclared(_) => Failure::new(ReasonCode::Internal, subject, chain(self)),
        }
    }
}

/// Why a step failed. An image that is there and only had to be asked for is named as such: what
/// runs was not touched.
pub(super) fn failure_of(step: &Step, error: &ActError) -> Failure {
    match error {
        ActError::Engine(engine) if step.only_asks() => {
            let message = format!(
                "{engine}; `pull_policy` asks the registry although the image is here: make it \
                 answer, or declare `pull_policy: missing` to use the image that is on this host"
            );
            Failure::new(engine_failure(engine, "").reason_code, &step.subject, message)
        }
        _ => error.failure(&step.subject),
    }
}

fn engine_failure(error: &EngineError, subject: &str) -> Failure {
    let code = match error.kind {
        EngineErrorKind::Unreachable => ReasonCode::EngineUnreachable,
        EngineErrorKind::TimedOut => ReasonCode::EngineTimeout,
        EngineErrorKind::NotFound => ReasonCode::NotFound,
        EngineErrorKind::Conflict => ReasonCode::NameInUse,
        EngineErrorKind::PortInUse => ReasonCode::PortInUse,
        EngineErrorKind::NoDevice => ReasonCode::DeviceMissing,
        EngineErrorKind::Invalid => ReasonCode::InputInvalid,
        EngineErrorKind::DiskFull => ReasonCode::DiskFull,
        EngineErrorKind::ImageUnavailable => ReasonCode::ImageMissing,
        EngineErrorKind::Denied => ReasonCode::RegistryDenied,
        EngineErrorKind::BuildFailed => ReasonCode::ImageBuildFailed,
        EngineErrorKind::Internal => ReasonCode::EngineRefused,
    };
    Failure::new(code, subject, format!("{error}; {}", error.hint()))
}

/// What stands in the way of every plan, as failures.
pub fn plan_failures(errors: &PlanErrors) -> Vec<Failure> {
    let failure = |error: &crate::domain::rollout::PlanError| {
        let code = match error.code() {
            "image_missing" => ReasonCode::ImageMissing,
            "other_agent" => ReasonCode::OwnedElsewhere,
            "name_taken" | "foreign_network" => ReasonCode::NameInUse,
            _ => ReasonCode::InputInvalid,
        };
        Failure::new(code, error.subject(), format!("{error}; {}", error.hint()))
    };
    errors.0.iter().map(failure).collect()
}

/// Why there is no plan, as failures of the project.
pub fn failures_of(error: &PreviewError, project: &str) -> Vec<Failure> {
    let one = |code, message: String| vec![Failure::new(code, project, message)];
    match error {
        PreviewError::Engine(error) => vec![engine_failure(error, project)],
        PreviewError::Plan(errors) => plan_failures(errors),
        PreviewError::Store(error) => vec![store_failure(error)],
        PreviewError::Files(_) => one(ReasonCode::InputInvalid, chain(error)),
        PreviewError::Revision { .. } | PreviewError::Bundle(_) => {
            one(ReasonCode::NotFound, format!("{}; run `wharf up` again", chain(error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_has_the_fitting_remedy() {
        let check = |os_error: i32, code: ReasonCode, word: &str| {
            let source = std::io::Error::from_raw_os_error(os_error);
            let path = std::path::PathBuf::from("/state/files/x");
            let error = ActError::File(ContentFileError { attempt: "write", path, source });
            let failure = error.failure("web");
            assert_eq!(failure.reason_code, code);
            assert!(failure.message.to_string().contains(word), "{:?}", failure.message);
        };
        // EPERM, ENOSPC, EACCES.
        check(1, ReasonCode::Internal, "leave out `uid` and `gid`");
        check(28, ReasonCode::DiskFull, "look at the space");
        check(13, ReasonCode::Internal, "the owner of the agent's state directory");
    }
}
