//! Listens for clients from elsewhere, with TLS. Owns the port, the handshakes and each connection's
//! client certificate. Face: `bind`, `Door`, `Keys`, `serve`. Never takes plain text but on the
//! loopback interface, and never lets a slow client keep others waiting.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::access::Remote;
use crate::base::Digest;
use crate::base::limits::{
    API_CONNECTIONS_MAX, CERTIFICATE_FILE_BYTES_MAX, REMOTE_HEAD_TIMEOUT, TLS_HANDSHAKE_TIMEOUT,
    TLS_HANDSHAKES_MAX, TLS_HANDSHAKES_PER_ADDRESS_MAX,
};
use crate::world::tasks::Spawn;

/// How long to wait after the system refused a connection, for want of file handles mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where and how the agent listens for clients from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpOptions {
    /// The address and the port.
    pub address: SocketAddr,
    /// The files of TLS; none for plain text, which is for the loopback interface alone.
    pub tls: Option<TlsFiles>,
}

/// Where certificates and keys are, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The agent's certificate, and those between it and one that clients trust.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who may have signed the certificates of clients; none for clients without certificates.
    pub client_ca: Option<PathBuf>,
}

/// Why the agent cannot listen for clients from elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {noun} in PEM form", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        noun: &'static str,
    },
    /// Everybody can read the key.
    #[error("{} can be read by every user of this host: `chmod 0640` it", path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key are of no use together.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The certificates that clients are measured by are of no use.
    #[error("the certificates of `client_ca` cannot be used")]
    ClientCa(#[source] VerifierBuilderError),
    /// Plain text would be heard by others.
    #[error("plain text is for the loopback interface alone, and {0} is not on it")]
    Plain(SocketAddr),
    /// The system refuses.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The certificates in use; read again at a reload. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys {
    files: TlsFiles,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Keys {
    /// Reads them.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let current = Arc::new(RwLock::new(Arc::new(server_config(&files)?)));
        Ok(Self { files, current })
    }

    /// Reads them again, for connections from now on. What cannot be used changes nothing.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(server_config(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }
}

fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?;
    let config = match &files.client_ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(TlsError::Unusable)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            // Who has no certificate may have a token.
            let verifier = verifier.allow_unauthenticated().build().map_err(TlsError::ClientCa)?;
            config.with_client_cert_verifier(verifier)
        }
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_single_cert(chain, key).map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let empty = || TlsError::Empty { path: path.to_owned(), noun: "certificate" };
    found.ok().filter(|found| !found.is_empty()).ok_or_else(empty)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let source = |source| TlsError::File { path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(source)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(TlsError::OpenKey { path: path.to_owned() });
    }
    let empty = |_| TlsError::Empty { path: path.to_owned(), noun: "private key" };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(empty)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let source = |source| TlsError::File { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(source)?;
    file.take(CERTIFICATE_FILE_BYTES_MAX).read_to_end(&mut text).map_err(source)?;
    Ok(text)
}

/// A port that is listened on.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    keys: Option<Keys>,
}

impl Door {
    /// The address that it listens on.
    ///
    /// # Errors
    /// When the system does not tell it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The certificates in use; none for plain text.
    pub fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }
}

/// Listens.
///
/// # Errors
/// When the files of TLS cannot be used, plain text would leave the host, or the system refuses.
pub async fn bind(options: &TcpOptions) -> Result<Door, TlsError> {
    let address = options.address;
    let keys = match &options.tls {
        Some(files) => Some(Keys::read(files.clone())?),
        None if address.ip().is_loopback() => None,
        None => return Err(TlsError::Plain(address)),
    };
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| TlsError::Bind { address, source })?;
    Ok(Door { listener, keys })
}

/// Serves the API until the agent stops. Each connection is a task of its own from the beginning:
/// accepting waits for nobody.
pub async fn serve(door: Door, router: Router, spawn: Arc<dyn Spawn>, stop: CancellationToken) {
    let free = Arc::new(Semaphore::new(API_CONNECTIONS_MAX));
    let handshakes = Arc::new(Handshakes::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = door.listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ip = address.ip().to_canonical();
        // Further ones are told at once, by the end of their connection.
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
            tracing::warn!(%ip, "connection refused: too many are open");
            continue;
        };
        let Some(turn) = Handshakes::begin(&handshakes, ip) else {
            tracing::warn!(%ip, "connection refused: too many handshakes are under way");
            continue;
        };
        let acceptor = door.keys.as_ref().map(Keys::acceptor);
        let (router, stop) = (router.clone(), stop.clone());
        let connection = async move {
            attend(stream, ip, acceptor, turn, (router, stop)).await;
            drop(permit);
        };
        // It ends with its client, or when the agent stops.
        drop(spawn.spawn("client from elsewhere", connection.boxed()));
    }
}

async fn attend(
    stream: TcpStream,
    ip: IpAddr,
    acceptor: Option<TlsAcceptor>,
    turn: Turn,
    (router, stop): (Router, CancellationToken),
) {
    // Answers are small, and streams are written event by event.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        drop(turn);
        let remote = Remote { ip, certificate: None };
        return converse(stream, remote, router, stop).await;
    };
    let shaken = tokio::select! {
        () = stop.cancelled() => return,
        shaken = tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => shaken,
    };
    drop(turn);
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%ip, %error, "no handshake"),
        Err(_) => return tracing::debug!(%ip, "no handshake in time"),
    };
    let proved = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = proved.map(|certificate| Digest::of(certificate));
    converse(stream, Remote { ip, certificate }, router, stop).await;
}

/// HTTP/1.1, request by request.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    remote: Remote,
    router: Router,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(remote));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REMOTE_HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(ip = %remote.ip, %error, "connection ended");
    }
}

/// Handshakes that are under way, by address.
#[derive(Debug, Default)]
struct Handshakes(Mutex<BTreeMap<IpAddr, usize>>);

impl Handshakes {
    /// One more, unless there are too many.
    fn begin(this: &Arc<Self>, ip: IpAddr) -> Option<Turn> {
        let mut by_address = this.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = by_address.values().sum();
        let own = by_address.entry(ip).or_insert(0);
        if all >= TLS_HANDSHAKES_MAX || *own >= TLS_HANDSHAKES_PER_ADDRESS_MAX {
            if *own == 0 {
                by_address.remove(&ip);
            }
            return None;
        }
        *own += 1;
        Some(Turn { of: Arc::clone(this), ip })
    }
}

/// One handshake; it counts while this lives.
#[derive(Debug)]
struct Turn {
    of: Arc<Handshakes>,
    ip: IpAddr,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut by_address = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = by_address.get_mut(&self.ip) {
            *own -= 1;
            if *own == 0 {
                by_address.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_bounded_for_each_address_and_for_all() {
        let all = Arc::new(Handshakes::default());
        let address = |number: usize| IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]);
        let mut turns: Vec<Turn> = (0..TLS_HANDSHAKES_PER_ADDRESS_MAX)
            .map(|_| Handshakes::begin(&all, address(0)).unwrap())
            .collect();
        assert!(Handshakes::begin(&all, address(0)).is_none());
        for number in 1..TLS_HANDSHAKES_MAX / TLS_HANDSHAKES_PER_ADDRESS_MAX {
            for _ in 0..TLS_HANDSHAKES_PER_ADDRESS_MAX {
                turns.push(Handshakes::begin(&all, address(number)).unwrap());
            }
        }
        assert!(Handshakes::begin(&all, address(99)).is_none(), "{}", turns.len());
        turns.truncate(1);
        assert!(Handshakes::begin(&all, address(99)).is_some());
        drop(turns);
        assert!(all.0.lock().unwrap().is_empty(), "nothing is remembered of those who went");
    }

    #[tokio::test]
    async fn plain_text_stays_on_the_host() {
        let options = |address: &str| TcpOptions { address: address.parse().unwrap(), tls: None };
        assert!(matches!(bind(&options("0.0.0.0:0")).await, Err(TlsError::Plain(_))));
        assert!(bind(&options("127.0.0.1:0")).await.is_ok());
    }
}
