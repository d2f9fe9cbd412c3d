//! Turns what SQLite says into what the store says. Owns the classification. Face: `Fault`.
//! Never lets a `rusqlite` type out of this folder.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::base::CanonicalError;
use crate::store::{Conflict, StoreError};

/// Why a statement or a reading failed, before it is known in whose name it was done.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

/// What SQLite said, as text: several callers of one commit may have to hear it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Conflict> for Fault {
    fn from(conflict: Conflict) -> Self {
        Self::Store(conflict.into())
    }
}

impl Fault {
    /// A stored value that has no meaning.
    pub(super) fn unreadable(noun: &'static str, reason: impl ToString) -> Self {
        Self::Store(StoreError::Unreadable { noun, reason: reason.to_string() })
    }

    /// A value of ours that cannot be written as JSON.
    pub(super) fn not_canonical(noun: &'static str, error: &CanonicalError) -> Self {
        Self::unreadable(noun, crate::base::chain(error))
    }

    /// Whether the file is not as SQLite wrote it, or what stands in it has no meaning.
    pub(super) fn is_damage(&self) -> bool {
        let code = match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            Self::Store(StoreError::Unreadable { .. }) => return true,
            Self::Store(_) => return false,
        };
        // Without a code it is a value of another type than was written.
        code.is_none_or(|code| matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// What was said of it.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Sqlite(error) => error.to_string(),
            Self::Store(error) => crate::base::chain(error),
        }
    }

    /// The error of a caller who wanted to `act`.
    pub(super) fn into_store(self, path: &Path, act: &'static str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sqlite(error) => classify(&error, path, act),
        }
    }
}

/// The error that a caller hears for what SQLite said.
pub(super) fn classify(error: &rusqlite::Error, path: &Path, act: &'static str) -> StoreError {
    let path = path.to_owned();
    let source = Box::new(Said(error.to_string()));
    let Some(failure) = error.sqlite_error() else {
        return StoreError::Query { act, source };
    };
    match (failure.code, failure.extended_code) {
        // The second: the shared memory beside the database found no room.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => {
            StoreError::DiskFull { path, source }
        }
        (ErrorCode::ReadOnly, _) => StoreError::ReadOnly { path, source },
        (ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt, _) => {
            StoreError::Corrupt { path, source }
        }
        (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Conflict::Dangling { noun: "record" }.into(),
        _ => StoreError::Query { act, source },
    }
}
