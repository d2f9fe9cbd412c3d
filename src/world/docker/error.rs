//! Says why an engine call failed, in few kinds that callers can act upon. Owns `EngineError`.
//! Face: `EngineError::kind`. Never shows a raw body of more than one line.

use std::fmt;

/// What sort of failure it is; decides between retry, refuse and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineErrorKind {
    /// Nobody answers, or the connection broke: whether a write happened is unknown.
    Unreachable,
    /// The time limit passed: whether a write happened is unknown.
    TimedOut,
    /// The engine has no such object.
    NotFound,
    /// The object is in a state that forbids the call, or a name is taken.
    Conflict,
    /// A host port is in use.
    PortInUse,
    /// The engine has no driver for the devices that were asked for.
    NoDevice,
    /// The engine refuses the request as malformed or unsupported.
    Invalid,
    /// No space left where the engine keeps its data.
    DiskFull,
    /// The image cannot be had: no registry answers, or it does not hold it.
    ImageUnavailable,
    /// A registry does not let us in, or not with these credentials.
    Denied,
    /// A build's own step failed.
    BuildFailed,
    /// Anything else that the engine reports.
    Internal,
}

/// A failed engine call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// What sort.
    pub kind: EngineErrorKind,
    /// What was attempted, such as `start container web-1`.
    pub attempt: String,
    /// What the engine or the connection said: one line, sanitised.
    pub message: String,
}

impl EngineError {
    /// A failed `attempt`.
    pub fn new(
        kind: EngineErrorKind,
        attempt: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, attempt: attempt.into(), message: message.into() }
    }

    /// What the operator can do now.
    pub fn hint(&self) -> &'static str {
        match self.kind {
            EngineErrorKind::Unreachable => "start the Docker Engine, or check its address",
            EngineErrorKind::TimedOut => "look at the engine's own log; it may be overloaded",
            EngineErrorKind::NotFound => "look again: somebody may have removed it",
            EngineErrorKind::Conflict => "remove or rename what is in the way",
            EngineErrorKind::PortInUse => "free the port, or publish another one",
            EngineErrorKind::NoDevice => {
                "install the driver of these devices and its runtime on the host (for graphics \
                 cards of NVIDIA: the NVIDIA Container Toolkit), or ask for none"
            }
            EngineErrorKind::Invalid => "correct the service's definition",
            EngineErrorKind::DiskFull => "free space where the engine keeps its data",
            EngineErrorKind::ImageUnavailable => "build or load the image on this host",
            EngineErrorKind::Denied => {
                "log in to the registry with `wharf registry login HOST --username USER`"
            }
            EngineErrorKind::BuildFailed => "mend the failing line of the Dockerfile",
            EngineErrorKind::Internal => "look at the engine's own log",
        }
    }

    /// May the call have acted although it failed?
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self.kind, EngineErrorKind::Unreachable | EngineErrorKind::TimedOut)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.attempt, self.message)
    }
}

impl std::error::Error for EngineError {}
