//! Says why something was refused to a program that works with the queue. Owns the error. Face:
//! `HostedError`. Never refuses without saying what to do.

use crate::base::Name;
use crate::base::ids::{RunId, TenantId};
use crate::domain::runs::{DefinitionError, PayloadError, RunType, Unregistered};
use crate::operations::{QueueError, SubmitError};
use crate::store::{Conflict, StoreError};

/// Why a call of the run queue was refused.
#[derive(Debug, thiserror::Error)]
pub enum HostedError {
    /// The agent is shutting down.
    #[error("the agent is shutting down and accepts nothing new")]
    Closed,
    /// Runs that ask for the same come and go while it is tried.
    #[error("the records change too fast")]
    Busy,
    /// More claimants wait than may.
    #[error("{0} claimants wait already")]
    TooManyWait(usize),
    /// More types are registered than may be.
    #[error("{0} types are registered already")]
    TooManyTypes(usize),
    /// More parts of the queue are paused or limited than may be.
    #[error("{0} parts of the queue are paused or limited already")]
    TooManyControls(usize),
    /// The name has no dot.
    #[error("{0} has no dot: hosted types are named like shop.send_invoices")]
    NotDotted(Name),
    /// The type is not registered.
    #[error("no hosted type {0}")]
    UnknownType(RunType),
    /// The definition is out of bounds.
    #[error("the definition cannot be registered")]
    Definition(#[source] DefinitionError),
    /// A payload or key cannot be taken.
    #[error("{0} cannot be taken")]
    Payload(String, #[source] PayloadError),
    /// A number or a combination of fields is out of bounds.
    #[error("{0}")]
    Invalid(String),
    /// There is no such run.
    #[error("no run {0}")]
    NoRun(RunId),
    /// There is no such tenant for whoever asks.
    #[error("no tenant {}", .0.map_or_else(|| "is none".to_owned(), |id| id.to_string()))]
    NoTenant(Option<TenantId>),
    /// There is no such job.
    #[error("run {0} has no job {1:?}")]
    NoJob(RunId, String),
    /// The run is no dead letter.
    #[error("run {0} is no dead letter")]
    NotDead(RunId),
    /// A run that asks for the same is active already.
    #[error("run {0} asks for the same and is not completed")]
    ActiveRun(RunId),
    /// The worker's attempt is over.
    #[error("{}", .0.told)]
    Stale(Box<Stale>),
    /// The type registers neither this count nor this reason code.
    #[error(transparent)]
    Unregistered(Unregistered),
    /// The store did not take it.
    #[error("it could not be recorded")]
    Store(#[source] StoreError),
}

/// Why a worker may not write any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// What happened, in one sentence.
    pub told: String,
    /// The number of the attempt that counts now.
    pub attempt: u32,
    /// Who executes it, if somebody does.
    pub holder: Option<String>,
}

impl HostedError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Closed => "try again when the agent has started again".to_owned(),
            Self::Busy => "try again".to_owned(),
            Self::TooManyWait(_) => {
                "claim for several types, or with a larger `limit`, in one call".to_owned()
            }
            Self::TooManyTypes(_) => {
                "remove one that is not used, with `DELETE /v1/queue/types/…`".to_owned()
            }
            Self::TooManyControls(_) => "`wharf queue show` lists them; take one away with `wharf \
                                         queue resume` and `wharf queue limit --none`"
                .to_owned(),
            Self::UnknownType(run_type) => {
                format!("register it with `PUT /v1/queue/types/{run_type}`")
            }
            Self::NotDead(_) => "`wharf run ls --dead` lists dead letters".to_owned(),
            Self::Stale(_) => {
                "stop this work and claim anew: nothing that this attempt writes counts".to_owned()
            }
            Self::Unregistered(unregistered) => {
                format!("add it to the type with `PUT /v1/queue/types/{}`", unregistered.run_type)
            }
            Self::Store(source) => return source.hint(),
            _ => return None,
        };
        Some(hint)
    }
}

impl From<StoreError> for HostedError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(Conflict::Unregistered(unregistered)) => {
                Self::Unregistered(unregistered)
            }
            StoreError::Conflict(Conflict::NotDead(id)) => Self::NotDead(id),
            StoreError::Conflict(Conflict::ActiveRun(id)) => Self::ActiveRun(id),
            other => Self::Store(other),
        }
    }
}

impl From<SubmitError> for HostedError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Closed => Self::Closed,
            SubmitError::Busy => Self::Busy,
            SubmitError::Unregistered(run_type) => Self::UnknownType(run_type),
            SubmitError::Identity(_) => {
                Self::Invalid("the run cannot be told from others".to_owned())
            }
            SubmitError::Store(source) => Self::from(source),
        }
    }
}

impl From<QueueError> for HostedError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::NotFound(id) => Self::NoRun(id),
            QueueError::NotDead(id) => Self::NotDead(id),
            QueueError::Active(id) => Self::ActiveRun(id),
            QueueError::Unregistered(run_type) => Self::UnknownType(run_type),
            QueueError::Identity(_) => {
                Self::Invalid("the run cannot be told from others".to_owned())
            }
            QueueError::Store(source) => Self::from(source),
        }
    }
}
