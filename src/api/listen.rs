//! Listens on the Unix socket. Owns the socket's file and each connection's credentials. Face:
//! `bind`, `Listener`, `BindError`. Never takes the socket of an agent that lives.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::Peer;
use crate::base::limits::API_CONNECTIONS_MAX;

/// Where and for whom the agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// The socket's path.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its group; none keeps the agent's own.
    pub group_id: Option<u32>,
}

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something listens there already.
    #[error("another process listens on {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is a file in the way that is no socket.
    #[error("{} exists and is no socket", path.display())]
    NotSocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {act} {}", path.display())]
    System {
        /// What was attempted.
        act: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Listens on a Unix socket. A socket file that nobody listens on is left over from a crash, and
/// replaced.
///
/// # Errors
/// When another process listens there, another kind of file is in the way, or the system refuses.
pub fn bind(options: &SocketOptions) -> Result<Listener, BindError> {
    let path = &options.path;
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(system("listen on", path))?;
    // A confined agent may not change owners, and need not when its own group is the right one.
    let own = std::fs::metadata(path).map_err(system("look at", path))?.gid();
    if let Some(group_id) = options.group_id.filter(|group_id| *group_id != own) {
        std::os::unix::fs::chown(path, None, Some(group_id))
            .map_err(system("give a group to", path))?;
    }
    let mode = std::fs::Permissions::from_mode(options.mode);
    std::fs::set_permissions(path, mode).map_err(system("set the permissions of", path))?;
    Ok(Listener {
        listener,
        free: Arc::new(Semaphore::new(API_CONNECTIONS_MAX)),
        path: path.clone(),
    })
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", path)(error)),
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotSocket { path: path.to_owned() });
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(BindError::InUse { path: path.to_owned() });
    }
    std::fs::remove_file(path).map_err(system("remove the stale socket", path))
}

fn system(act: &'static str, path: &Path) -> impl Fn(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::System { act, path: path.clone(), source }
}

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    /// One permit per open connection.
    free: Arc<Semaphore>,
    path: PathBuf,
}

impl Listener {
    /// The group of the socket's file, whose members may come in.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn group_id(&self) -> io::Result<u32> {
        Ok(std::fs::metadata(&self.path)?.gid())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever comes next replaces a socket that is left over.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// How long to wait after the system refused a connection, for want of file handles mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        loop {
            let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else {
                // The semaphore is never closed.
                std::future::pending::<()>().await;
                continue;
            };
            let accepted = self.listener.accept().await;
            let known = accepted.and_then(|(stream, _)| {
                let credentials = stream.peer_cred()?;
                Ok((stream, Peer { uid: credentials.uid(), gid: credentials.gid() }))
            });
            match known {
                Ok((stream, peer)) => return (Connection { stream, _permit: permit }, peer),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        let own = rustix::process::geteuid().as_raw();
        Ok(Peer { uid: own, gid: rustix::process::getegid().as_raw() })
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        *stream.remote_addr()
    }
}

/// One connection; counts against the limit while it lives.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(path: &Path) -> SocketOptions {
        SocketOptions { path: path.to_owned(), mode: 0o660, group_id: None }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wharf.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file");
        let listener = bind(&options(&path)).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(matches!(bind(&options(&path)), Err(BindError::InUse { .. })));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wharf.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&options(&path)), Err(BindError::NotSocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
