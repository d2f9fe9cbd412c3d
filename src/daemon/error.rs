//! Says why the agent cannot run, and what to do about it. Owns the error. Face: `RunError`. Never
//! hides its source.

use super::state_dir::StateDirError;
use crate::api::listen::BindError;
use crate::api::tls::TlsError;
use crate::store::StoreError;
use crate::world::contexts::ContextError;
use crate::world::docker::EngineError;

/// Why the agent cannot run, or ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log cannot be written.
    #[error("cannot start the log")]
    Log(#[source] tracing_subscriber::util::TryInitError),
    /// The system gives no threads or signals.
    #[error("cannot {act}")]
    System {
        /// What was attempted.
        act: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The state folder cannot be used.
    #[error(transparent)]
    StateDir(StateDirError),
    /// The store cannot be opened or does not take the first records.
    #[error("cannot open the store")]
    Store(#[source] StoreError),
    /// The password of the database cannot be read.
    #[error("cannot read the password file {}", path.display())]
    Password {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The build contexts cannot be kept.
    #[error("cannot keep build contexts")]
    Contexts(#[source] ContextError),
    /// The address of the engine is no address.
    #[error("the address of the engine cannot be used")]
    EngineAddress(#[source] EngineError),
    /// The socket's group does not exist.
    #[error("there is no group {0:?} for the socket")]
    Group(String),
    /// The agent cannot listen.
    #[error("cannot open the socket")]
    Bind(#[source] BindError),
    /// The agent cannot listen for clients from elsewhere.
    #[error("cannot listen as `listen.tcp` says")]
    Tcp(#[source] TlsError),
    /// A series of the metrics cannot be registered.
    #[error("cannot register the metrics")]
    Metrics(#[source] prometheus::Error),
    /// A task that must live as long as the agent ended.
    #[error("the {0} ended by itself")]
    TaskEnded(&'static str),
}

impl RunError {
    /// Whether the configuration has to be changed.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::EngineAddress(_)
                | Self::Group(_)
                | Self::Tcp(TlsError::OpenKey { .. } | TlsError::Empty { .. } | TlsError::Plain(_))
        )
    }

    /// What the operator can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::StateDir(error) => {
                Some(format!("check that the agent's user may use {}", error.path.display()))
            }
            Self::Group(_) => Some("create the group, or change `socket.group`".to_owned()),
            Self::EngineAddress(_) => {
                Some("set `engine.address: unix:///var/run/docker.sock`".to_owned())
            }
            Self::Bind(BindError::InUse { .. }) => {
                Some("stop the other process, or give this agent another `socket.path`".to_owned())
            }
            Self::Bind(BindError::NotSocket { .. }) => {
                Some("move the file away, or change `socket.path`".to_owned())
            }
            Self::Bind(BindError::System { .. }) => {
                Some("check that the folder of `socket.path` exists and is writable".to_owned())
            }
            Self::Password { path, .. } => Some(format!(
                "write the password into {}, readable by the agent's user, or change \
                 `store.postgres.password_file`",
                path.display()
            )),
            Self::Tcp(_) => Some(
                "look at `listen.tcp` in the configuration and at the files that it names"
                    .to_owned(),
            ),
            Self::TaskEnded(_) => {
                Some("look at the log; the agent can be started again".to_owned())
            }
            Self::Log(_) | Self::System { .. } | Self::Contexts(_) | Self::Metrics(_) => None,
        }
    }
}
