//! Turns what PostgreSQL says into what the store says. Owns the classification. Face: `Fault`.
//! Never lets a type of the client library out of this folder.

use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use crate::store::{Conflict, StoreError};

/// Why a statement failed, before it is known in whose name it was done.
#[derive(Debug)]
pub(super) enum Fault {
    Postgres(tokio_postgres::Error),
    /// It did not answer in time.
    Slow,
    Store(StoreError),
}

/// What the server said, as text: several callers of one commit may have to hear it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<Conflict> for Fault {
    fn from(conflict: Conflict) -> Self {
        Self::Store(conflict.into())
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Fault {
    /// A stored value that has no meaning.
    pub(super) fn unreadable(noun: &'static str, reason: impl ToString) -> Self {
        Self::Store(StoreError::Unreadable { noun, reason: reason.to_string() })
    }

    /// Whether the server, or the way to it, is what failed: another connection may do.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Slow => true,
            Self::Store(error) => matches!(error, StoreError::Away { .. }),
            Self::Postgres(error) => match error.code() {
                None => is_wire(error),
                Some(state) => is_passing(state),
            },
        }
    }

    /// Whether the transaction failed for the sake of another one, so that it may succeed now.
    pub(super) fn is_collision(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        error.code().is_some_and(|state| {
            [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::UNIQUE_VIOLATION,
            ]
            .contains(state)
        })
    }

    /// The error of a caller who wanted to `act` in the database at `place`.
    pub(super) fn told(&self, place: &str, act: &'static str) -> StoreError {
        match self {
            Self::Slow => {
                let source = Box::new(Said("it did not answer in time".to_owned()));
                StoreError::Away { place: place.to_owned(), source }
            }
            Self::Postgres(error) => classify(error, self.is_away(), place, act),
            Self::Store(StoreError::Away { place, source }) => {
                let source = Box::new(Said(source.to_string()));
                StoreError::Away { place: place.clone(), source }
            }
            Self::Store(error) => match error.conflict() {
                Some(conflict) => conflict.clone().into(),
                None => {
                    StoreError::Query { act, source: Box::new(Said(crate::base::chain(error))) }
                }
            },
        }
    }

    /// The same when nobody else has to hear it.
    pub(super) fn into_store(self, place: &str, act: &'static str) -> StoreError {
        match self {
            Self::Store(error) => error,
            fault => fault.told(place, act),
        }
    }
}

/// Whether the connection, and not a value or an answer, is what failed.
fn is_wire(error: &tokio_postgres::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if found.is::<std::io::Error>() {
            return true;
        }
        cause = found.source();
    }
    error.is_closed() || error.to_string().starts_with("timeout")
}

/// Whether the server says that it cannot now, rather than that it will not.
fn is_passing(state: &SqlState) -> bool {
    state.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IDLE_SESSION_TIMEOUT,
            SqlState::QUERY_CANCELED,
        ]
        .contains(state)
}

fn classify(
    error: &tokio_postgres::Error,
    is_away: bool,
    place: &str,
    act: &'static str,
) -> StoreError {
    let said = match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => crate::base::chain(error),
    };
    let source = Box::new(Said(said));
    let place = place.to_owned();
    if is_away {
        return StoreError::Away { place, source };
    }
    match error.code() {
        Some(state) if *state == SqlState::DISK_FULL => {
            StoreError::DiskFull { path: PathBuf::from(place), source }
        }
        Some(state) if *state == SqlState::FOREIGN_KEY_VIOLATION => {
            Conflict::Dangling { noun: "record" }.into()
        }
        // 28: the server does not let this role in. 3D, 42501: there is nothing for it there.
        Some(state)
            if state.code().starts_with("28")
                || *state == SqlState::INVALID_CATALOG_NAME
                || *state == SqlState::INSUFFICIENT_PRIVILEGE =>
        {
            StoreError::Refused { place, source }
        }
        _ => StoreError::Query { act, source },
    }
}
