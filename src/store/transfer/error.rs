//! Says why a store could not be carried, and what to do about it. Owns the error. Face:
//! `TransferError`. Never says that something was changed when it was not.

use std::path::PathBuf;

use crate::base::ids::HostId;
use crate::store::StoreError;

/// Why a backup, a restore or a move was not done. What was in force before still is.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A database or a file of the agent cannot be used.
    #[error(transparent)]
    Store(StoreError),
    /// The archive cannot be read or written.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was attempted.
        act: &'static str,
        /// The archive.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no archive of ours.
    #[error("it is no backup of wharf: it does not begin like one")]
    NoArchive,
    /// The archive is not what was written.
    #[error("the backup is damaged at byte {at}: {reason}")]
    Damaged {
        /// Where it was noticed.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// A newer program wrote it.
    #[error("the records have form {found}; this program knows forms up to {known}")]
    Newer {
        /// The form they have.
        found: u32,
        /// The newest form that this program knows.
        known: u32,
    },
    /// The source was not brought to the form of this program.
    #[error("{place} is not in the form that this program works with")]
    OldForm {
        /// The database.
        place: String,
    },
    /// The records belong to other hosts.
    #[error("the records are not of this host, {ours}, but of {}", list(theirs))]
    OtherHost {
        /// This host.
        ours: HostId,
        /// Whose records they are.
        theirs: Vec<HostId>,
    },
    /// The records of several hosts cannot be kept by one of them.
    #[error("the records are of {0} hosts, and a SQLite database holds those of one")]
    ManyHosts(usize),
    /// The content was sealed with another key.
    #[error("the content of host {host_id} was sealed with another key than the one at hand")]
    OtherKey {
        /// The host.
        host_id: HostId,
    },
    /// There is no key.
    #[error("there is no key at {}", path.display())]
    NoKey {
        /// Where it should be.
        path: PathBuf,
    },
    /// What is carried does not fit the tables of the destination.
    #[error("the table {table:?} of the records does not fit: {reason}")]
    Unfit {
        /// The table.
        table: String,
        /// What does not fit.
        reason: String,
    },
    /// The destination holds something already.
    #[error("{place} holds records of wharf already")]
    NotEmpty {
        /// The database.
        place: String,
    },
    /// Agents work on the destination.
    #[error("{connections} connections of agents are open to {place}")]
    InUse {
        /// The database.
        place: String,
        /// How many.
        connections: i64,
    },
    /// The audit log does not prove itself.
    #[error("the audit log is not whole: {}", .0.join("; "))]
    AuditBroken(Vec<String>),
    /// There is no database to be carried.
    #[error("there is no database {}", path.display())]
    NoDatabase {
        /// Where it should be.
        path: PathBuf,
    },
    /// The other end is gone.
    #[error("the transfer broke off")]
    BrokenOff,
}

impl TransferError {
    /// What the operator can do now.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(error) => return error.hint(),
            Self::File { path, .. } => format!("check that you may use {}", path.display()),
            Self::NoArchive => "name a file that `wharf store backup` has written".to_owned(),
            Self::Damaged { .. } => {
                "nothing was changed: use another copy of the file, or an earlier backup".to_owned()
            }
            Self::Newer { .. } => {
                "use the version of wharf that wrote it, or a newer one".to_owned()
            }
            Self::OldForm { .. } => {
                "start the agent once: it brings its database to the newest form".to_owned()
            }
            Self::OtherHost { .. } => {
                "use the `state_dir` of one of these hosts, or one that holds only its `keys` \
                 folder: it takes over the host's id"
                    .to_owned()
            }
            Self::ManyHosts(_) => "restore it into PostgreSQL: set `store.postgres`".to_owned(),
            Self::OtherKey { .. } => {
                "put the `keys` folder of that host into `state_dir`: a backup holds no keys"
                    .to_owned()
            }
            Self::NoKey { path } => format!(
                "put the host's key there, with mode 0600 ({}): a backup holds no keys, and \
                 without them nobody can open its content",
                path.display()
            ),
            Self::NotEmpty { .. } => {
                "create an empty database for it; agents of several hosts share one only from \
                 their first start on"
                    .to_owned()
            }
            Self::InUse { .. } => {
                "stop the agents of all hosts that use the database, then try again".to_owned()
            }
            Self::AuditBroken(_) => {
                "nothing was changed: find out who changed the records that are named; a backup \
                 and its restore carry them as they are"
                    .to_owned()
            }
            Self::NoDatabase { .. } => {
                "check `state_dir` in the configuration; an agent makes its database at its first \
                 start"
                    .to_owned()
            }
            Self::Unfit { .. } | Self::BrokenOff => return None,
        };
        Some(hint)
    }
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn list(hosts: &[HostId]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
