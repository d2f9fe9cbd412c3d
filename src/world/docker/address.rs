//! Says where an engine listens. Owns `EngineAddress`. Face: `EngineAddress::parse`. Never connects.

use std::fmt;
use std::path::PathBuf;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};

use super::{EngineError, EngineErrorKind};
use crate::base::limits::ENGINE_BUILD_TIMEOUT;

/// The library's own limit, which must not end a call before ours does.
const LIBRARY_TIMEOUT_SECS: u64 = 2 * ENGINE_BUILD_TIMEOUT.as_secs();

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`, without encryption.
    Tcp(String),
}

impl EngineAddress {
    /// Reads `unix:///path`, an absolute path, `tcp://host:port` or `http://host:port`.
    ///
    /// # Errors
    /// Kind `Invalid` for anything else.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let tcp = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://"));
        let path = text.strip_prefix("unix://").unwrap_or(text);
        match tcp.map(|host| host.trim_end_matches('/')) {
            Some(host) if host.contains(':') && !host.contains('/') => {
                Ok(Self::Tcp(host.to_owned()))
            }
            None if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            _ => {
                let message = format!("{text:?} is neither unix:///path nor tcp://host:port");
                Err(EngineError::new(EngineErrorKind::Invalid, "find the engine", message))
            }
        }
    }

    /// A client for this address; it connects at its first call.
    pub(super) fn client(&self) -> Result<Docker, Error> {
        match self {
            Self::Unix(path) => {
                let path = path.to_string_lossy();
                Docker::connect_with_unix(&path, LIBRARY_TIMEOUT_SECS, API_DEFAULT_VERSION)
            }
            Self::Tcp(host) => {
                let address = format!("tcp://{host}");
                Docker::connect_with_http(&address, LIBRARY_TIMEOUT_SECS, API_DEFAULT_VERSION)
            }
        }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}
