//! Says why the store could not do something, and what to do about it. Owns the error. Face:
//! `StoreError`, `Conflict`. Never lets a database library's type out of the store.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::ids::RunId;
use crate::domain::runs::{IllegalTransition, RunType, Subject, Unregistered};

/// The cause of an error, whatever library it came from.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record is not in the state that was expected; nothing was changed.
    #[error(transparent)]
    Conflict(Conflict),
    /// No space is left for the database.
    #[error("the disk that holds {} is full", path.display())]
    DiskFull {
        /// The database, or a file beside it.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Cause,
    },
    /// The database cannot be written.
    #[error("{} cannot be written: it is read-only", path.display())]
    ReadOnly {
        /// The database, or a file beside it.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Cause,
    },
    /// The file is not a database, or damaged.
    #[error("the file {} is not a database that can be read", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Cause,
    },
    /// Somebody removed or replaced the database while the agent works on it.
    #[error("the database {} was removed or replaced while the agent runs", path.display())]
    Replaced {
        /// The database.
        path: PathBuf,
    },
    /// A newer agent has written the database.
    #[error("the database {} has form {found}; this agent knows forms up to {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The form it has.
        found: u32,
        /// The newest form that this program knows.
        known: u32,
    },
    /// A migration that was applied differs from the one in this program.
    #[error("the database {} was brought to form {number} by other statements", path.display())]
    MigrationChanged {
        /// The database.
        path: PathBuf,
        /// The form.
        number: u32,
    },
    /// Another agent works on this state directory.
    #[error("another agent holds {}", path.display())]
    AgentRunning {
        /// The lock file.
        path: PathBuf,
    },
    /// The records went to another database, or were on their way when the move was interrupted.
    #[error("{}", moved(place, *is_done))]
    Moved {
        /// The file that says so.
        path: PathBuf,
        /// The other database.
        place: String,
        /// Whether they arrived.
        is_done: bool,
    },
    /// A file or directory of the store cannot be used.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was attempted.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The key file does not hold a key.
    #[error("the key file {} {reason}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key is not the one that the database was sealed with.
    #[error("the key {} is not the one that the database was sealed with", path.display())]
    WrongKey {
        /// The key file.
        path: PathBuf,
    },
    /// A list was asked to go on from a place that it never named.
    #[error("the cursor {0:?} was not made by this list")]
    BadCursor(String),
    /// A record cannot be read.
    #[error("the stored {noun} cannot be read: {reason}")]
    Unreadable {
        /// What was read.
        noun: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The database server does not answer, or is not ready yet. It may answer the next time. Of a
    /// change it is not known then whether it was made.
    #[error("the database {place} does not answer")]
    Away {
        /// The database.
        place: String,
        /// What was heard instead.
        #[source]
        source: Cause,
    },
    /// The database server refuses the agent.
    #[error("the database {place} does not let the agent in")]
    Refused {
        /// The database.
        place: String,
        /// What it said.
        #[source]
        source: Cause,
    },
    /// The database refused a statement for a reason of its own.
    #[error("the database could not {act}")]
    Query {
        /// What was attempted.
        act: &'static str,
        /// What the database said.
        #[source]
        source: Cause,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Stopped,
}

/// A record is not in the state that a write expects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A run that asks for the same is not completed yet.
    #[error("run {0} asks for the same and is not completed")]
    ActiveRun(RunId),
    /// The run is completed already.
    #[error("run {0} has ended")]
    Ended(RunId),
    /// The record is not what it was when it was read.
    #[error("the {noun} {id} was changed meanwhile")]
    Changed {
        /// The kind of record.
        noun: &'static str,
        /// Its name.
        id: String,
    },
    /// The writer's attempt is not the run's current one.
    #[error("attempt {attempt} of run {run_id} was taken over")]
    Fenced {
        /// The run.
        run_id: RunId,
        /// The attempt that must not write any more.
        attempt: u32,
    },
    /// Another run works on the subject.
    #[error("{subject} is locked by run {holder}")]
    Locked {
        /// The subject.
        subject: Subject,
        /// The run that holds the lock.
        holder: RunId,
    },
    /// A pause or a limit of the queue stands against the run.
    #[error("the queue holds run {0} back")]
    HeldBack(RunId),
    /// The run's type does not register what was to be added.
    #[error(transparent)]
    Unregistered(Unregistered),
    /// A bulk run has a job of this key already.
    #[error("run {run_id} has a job {key:?} already")]
    DuplicateJob {
        /// The run.
        run_id: RunId,
        /// The key.
        key: String,
    },
    /// Runs of the hosted type are not completed.
    #[error("runs of type {0} are not completed")]
    TypeInUse(RunType),
    /// The run is no dead letter.
    #[error("run {0} is no dead letter")]
    NotDead(RunId),
    /// The run cannot go from its state to the wanted one.
    #[error("run {run_id}: {why}")]
    Illegal {
        /// The run.
        run_id: RunId,
        /// What was refused.
        why: IllegalTransition,
    },
    /// The record does not exist.
    #[error("no {noun} {id}")]
    Missing {
        /// The kind of record.
        noun: &'static str,
        /// Its name.
        id: String,
    },
    /// Another record has this name.
    #[error("the name {name:?} belongs to another {noun}")]
    Taken {
        /// The kind of record.
        noun: &'static str,
        /// The name.
        name: String,
    },
    /// The record changed since its writer read it.
    #[error("{noun} {name:?} has changed meanwhile")]
    Stale {
        /// The kind of record.
        noun: &'static str,
        /// Its name.
        name: String,
    },
    /// Something stands against the change.
    #[error("the {noun} is used by {by}")]
    Used {
        /// The kind of record.
        noun: &'static str,
        /// What uses it.
        by: String,
    },
    /// The record refers to something of another workspace, or that does not exist.
    #[error("the {noun} refers to something that does not exist")]
    Dangling {
        /// The kind of record.
        noun: &'static str,
    },
}

impl StoreError {
    /// What the operator can do now; none when there is nothing but to look at the cause.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::DiskFull { path, .. } => {
                format!("free space on the file system of {}, then try again", path.display())
            }
            Self::ReadOnly { path, .. } => format!(
                "make {} and its directory writable for the agent's user, and check that the file \
                 system is not mounted read-only",
                path.display()
            ),
            Self::Corrupt { path, .. } => format!(
                "restore {0} from a backup, or move it away: the agent then starts with an empty \
                 one and finds the containers again by their labels",
                path.display()
            ),
            Self::Replaced { path } => format!(
                "put {} back and restart the agent; without it, a restart begins with an empty \
                 database and finds the containers again by their labels",
                path.display()
            ),
            Self::Newer { .. } => "start the newer version of wharf again, or restore the \
                                   database that was backed up before the upgrade"
                .to_owned(),
            Self::MigrationChanged { .. } => {
                "use the released version of wharf that wrote the database".to_owned()
            }
            Self::AgentRunning { .. } => {
                "stop the other agent, or give this one a `state_dir` of its own".to_owned()
            }
            Self::Moved { path, is_done: true, .. } => format!(
                "write `store: postgres:` into the configuration, with what the move printed; to \
                 go back to the SQLite database as it was before the move, remove {}",
                path.display()
            ),
            Self::Moved { path, .. } => format!(
                "say `wharf store move` again: it finds out how far it came; to give it up, remove \
                 {}, but only when the other database holds nothing",
                path.display()
            ),
            Self::File { path, .. } => {
                format!("check that the agent's user may use {}", path.display())
            }
            Self::Key { path, .. } => {
                format!("restore {} from a backup with mode 0600", path.display())
            }
            Self::WrongKey { path } => format!(
                "restore the {} that belongs to the database, or move both away to start empty",
                path.display()
            ),
            Self::Away { .. } => {
                "start the database server, or mend the way to it; the agent goes \
                                  on as soon as it answers"
                    .to_owned()
            }
            Self::Refused { .. } => {
                "check `store.postgres` in the configuration: the user and its \
                                     password, and that the database exists and is the user's"
                    .to_owned()
            }
            Self::Stopped => "wait until the agent has started again".to_owned(),
            Self::BadCursor(_) => "ask for the list again from its beginning".to_owned(),
            Self::Conflict(_) | Self::Unreadable { .. } | Self::Query { .. } => return None,
        };
        Some(hint)
    }

    /// The error for a file that could not be used: a full or read-only disk has its own.
    pub(super) fn file(act: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source: Box::new(source) }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, source: Box::new(source) },
            _ => Self::File { act, path, source },
        }
    }

    /// Whether somebody changed what the caller had read: reading it again helps.
    pub fn is_outrun(&self) -> bool {
        use Conflict::{Changed, Dangling, Missing};
        matches!(self.conflict(), Some(Changed { .. } | Dangling { .. } | Missing { .. }))
    }

    /// The conflict, when it is one.
    pub fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::Conflict(conflict) => Some(conflict),
            _ => None,
        }
    }
}

fn moved(place: &str, is_done: bool) -> String {
    match is_done {
        true => format!("the records of the SQLite database were moved to {place}"),
        false => format!("a move of the records to {place} was interrupted"),
    }
}

impl From<Conflict> for StoreError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}
