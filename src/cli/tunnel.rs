//! Reaches an agent on another host: carries what the client says to its port, through TLS. Owns the
//! connection there and whom the client trusts. Face: `Tunnel`. Never sends plain text to another
//! host, and never takes an agent whose certificate nobody vouches for.

use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use hyper_rustls::ConfigBuilderExt as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpStream, UnixListener};
use tokio_rustls::TlsConnector;

use super::exit::{CliError, Exit};
use crate::base::Entropy as _;
use crate::base::limits::{AGENT_CONNECT_TIMEOUT, CERTIFICATE_FILE_BYTES_MAX};
use crate::world::host::SystemEntropy;
use crate::world::tasks::{Spawn as _, Supervisor};

/// The agent, and who asks it.
#[derive(Debug, Clone, Default)]
pub(super) struct Elsewhere {
    /// `https://NAME:PORT`, or `http://` on the loopback interface.
    pub host: String,
    /// Certificates that the agent's is signed by; none for those that this host trusts.
    pub ca: Option<PathBuf>,
    /// A client certificate with its key, in one file.
    pub certificate: Option<PathBuf>,
}

/// A socket of this user alone, behind which an agent on another host answers.
pub(super) struct Tunnel {
    dir: PathBuf,
    /// The tasks that carry; they end with it.
    _tasks: Supervisor,
}

impl Tunnel {
    /// Reaches the agent once, to say at once what is wrong, then listens for the client.
    pub(super) async fn open(to: &Elsewhere) -> Result<Self, CliError> {
        let way = Way::parse(to)?;
        drop(way.connect().await?);
        let dir = std::env::temp_dir().join(format!("wharf-{:016x}", SystemEntropy.next_u64()));
        let failed = |error| {
            let message = format!("cannot make {}: {error}", dir.display());
            CliError::new(Exit::SystemFile, message)
        };
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
        let tasks = Supervisor::new();
        let tunnel = Self { dir: dir.clone(), _tasks: tasks.clone() };
        let listener = UnixListener::bind(tunnel.socket()).map_err(failed)?;
        let carry = async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let way = way.clone();
                let carry = async move {
                    // A connection that breaks off says so to the client.
                    if let Ok(mut agent) = way.connect().await {
                        let _ = copy_bidirectional(&mut client, &mut agent).await;
                    }
                };
                drop(tasks.spawn("connection", carry.boxed()));
            }
        };
        drop(tunnel._tasks.spawn("tunnel", carry.boxed()));
        Ok(tunnel)
    }

    /// Where the client finds it.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // What is left over holds nothing.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How the agent is reached.
#[derive(Clone)]
struct Way {
    name: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Way {
    fn parse(to: &Elsewhere) -> Result<Self, CliError> {
        let wrong = || {
            CliError::new(Exit::Usage, format!("{:?} is no address of an agent", to.host))
                .hint("write https://NAME or https://NAME:PORT")
        };
        let uri: http::Uri = to.host.parse().map_err(|_| wrong())?;
        let name = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        if !matches!(uri.path(), "" | "/") {
            return Err(wrong());
        }
        match uri.scheme_str() {
            Some("https") => {
                let server = ServerName::try_from(name.clone()).map_err(|_| wrong())?;
                let connector = TlsConnector::from(Arc::new(client_config(to)?));
                let port = uri.port_u16().unwrap_or(443);
                Ok(Self { name, port, tls: Some((connector, server)) })
            }
            Some("http") => {
                let is_here = name == "localhost"
                    || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
                if !is_here {
                    let message = "plain text is for this host alone: others would read the token";
                    return Err(CliError::new(Exit::Usage, message).hint("write https://…"));
                }
                Ok(Self { name, port: uri.port_u16().unwrap_or(80), tls: None })
            }
            _ => Err(wrong()),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, CliError> {
        let Self { name, port, tls } = self;
        let failed = |error: std::io::Error| {
            CliError::new(Exit::Unreachable, format!("no agent answers at {name}:{port}: {error}"))
                .hint("`listen.tcp` in its configuration says where; `--ca FILE` whom you trust")
        };
        let connecting = async {
            let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(failed)?;
            // Requests are small.
            let _ = stream.set_nodelay(true);
            match tls {
                None => Ok(Box::new(stream) as Box<dyn Stream>),
                Some((connector, server)) => {
                    let shaken = connector.connect(server.clone(), stream).await;
                    Ok(Box::new(shaken.map_err(failed)?) as Box<dyn Stream>)
                }
            }
        };
        match tokio::time::timeout(AGENT_CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(failed(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

fn client_config(to: &Elsewhere) -> Result<ClientConfig, CliError> {
    let unusable = |error: rustls::Error| {
        CliError::new(Exit::Data, format!("the certificates cannot be used: {error}"))
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &to.ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(unusable)?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_native_roots().map_err(|error| {
            CliError::new(Exit::Unavailable, format!("this host trusts no certificate: {error}"))
                .hint("install the package `ca-certificates`, or name one with --ca")
        })?,
    };
    let mut config = match &to.certificate {
        Some(path) => {
            let key = PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| {
                let message = format!("{} holds no private key in PEM form", path.display());
                CliError::new(Exit::Data, message).hint("put certificate and key into one file")
            })?;
            builder.with_client_auth_cert(certificates(path)?, key).map_err(unusable)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificates of a PEM file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CliError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
        let message = format!("{} holds no certificate in PEM form", path.display());
        CliError::new(Exit::Data, message)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| {
        CliError::new(Exit::SystemFile, format!("cannot read {}: {error}", path.display()))
    };
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(CERTIFICATE_FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_host() {
        let check = |host: &str, expect: bool| {
            let ca = None;
            let to = Elsewhere { host: host.to_owned(), ca, certificate: None };
            assert_eq!(Way::parse(&to).is_ok(), expect, "{host}");
        };
        check("http://127.0.0.1:8443", true);
        check("http://localhost:8443", true);
        check("http://[::1]:8443", true);
        check("http://10.0.0.1:8443", false);
        check("http://agent.example.org", false);
        check("agent.example.org", false);
        check("ftp://127.0.0.1", false);
        check("http://127.0.0.1/path", false);
    }
}
