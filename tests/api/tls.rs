//! Clients from elsewhere, through a real port with TLS: tokens, client certificates, and whoever has
//! neither, is slow, or guesses.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use wharfinger::api::tls::{self, Keys, TcpOptions, TlsFiles};
use wharfinger::base::ids::TokenId;
use wharfinger::domain::access::{BuiltInRole, Reach, Token, TokenText};
use wharfinger::domain::audit::EventType;
use wharfinger::domain::redaction::SafeText;
use wharfinger::store::{AccessWrite, AuditFilter, PageRequest};

use super::*;

/// Somebody who signs certificates.
struct Ca {
    certificate: Certificate,
    key: KeyPair,
}

/// A certificate with its key.
struct Signed {
    certificate: Certificate,
    key: KeyPair,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut of = CertificateParams::new(Vec::new()).unwrap();
        of.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { certificate: of.self_signed(&key).unwrap(), key }
    }

    fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let of = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = of.signed_by(&key, &self.certificate, &self.key).unwrap();
        Signed { certificate, key }
    }
}

impl Signed {
    fn fingerprint(&self) -> String {
        Digest::of(self.certificate.der()).to_string()
    }

    fn write(&self, dir: &Path, secret_mode: u32) -> (std::path::PathBuf, std::path::PathBuf) {
        use std::os::unix::fs::PermissionsExt as _;
        let (certificate, key) = (dir.join("agent.pem"), dir.join("agent.key"));
        std::fs::write(&certificate, self.certificate.pem()).unwrap();
        std::fs::write(&key, self.key.serialize_pem()).unwrap();
        let mode = std::fs::Permissions::from_mode(secret_mode);
        std::fs::set_permissions(&key, mode).unwrap();
        (certificate, key)
    }
}

/// A client that trusts `ca` and may have a certificate.
fn client(ca: &Ca, own: Option<&Signed>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    match own {
        Some(own) => {
            let chain: Vec<CertificateDer<'static>> = vec![own.certificate.der().clone()];
            let key = PrivateKeyDer::try_from(own.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    }
}

/// An agent that listens for clients from elsewhere.
struct Elsewhere {
    agent: Fixture,
    ca: Ca,
    address: SocketAddr,
    keys: Keys,
}

/// An answer: status, `Retry-After`, body.
type Heard = (u16, Option<u32>, Value);

impl Elsewhere {
    async fn new() -> Self {
        Self::allowing(Allowance::default()).await
    }

    async fn allowing(allowance: Allowance) -> Self {
        let (agent, ca) = (Fixture::allowing(allowance).await, Ca::new());
        let (certificate, key) = ca.sign("localhost").write(agent.dir.path(), 0o600);
        let client_ca = agent.dir.path().join("clients.pem");
        std::fs::write(&client_ca, ca.certificate.pem()).unwrap();
        let files = TlsFiles { certificate, key, client_ca: Some(client_ca) };
        let address = "127.0.0.1:0".parse().unwrap();
        let door = tls::bind(&TcpOptions { address, tls: Some(files) }).await.unwrap();
        let (address, keys) = (door.address().unwrap(), door.keys().unwrap().clone());
        let (spawn, stop) = (Arc::new(agent.supervisor.clone()), agent.supervisor.stop_token());
        tokio::spawn(tls::serve(door, agent.router.clone(), spawn, stop));
        Self { agent, ca, address, keys }
    }

    /// A member with everything, and a token of theirs.
    async fn token(&self, name: &str) -> (String, String) {
        self.member(name).await;
        let new = json!({"label": "a test", "user": name});
        let made = self.agent.post("/v1/access/tokens", new, 201).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["token"]), text(&made["details"]["id"]))
    }

    async fn member(&self, name: &str) {
        let put = async |path: String, body: Value| {
            let (status, body) = self.agent.ask(Method::PUT, &path, Some(body)).await;
            assert_eq!(status, 200, "{path}: {body}");
        };
        put(format!("/v1/access/users/{name}"), json!({})).await;
        let all = json!({"role": "operator", "tenants": null});
        put(format!("/v1/access/members/{name}"), all).await;
    }

    async fn ask(&self, client: &ClientConfig, token: Option<&str>, path: &str) -> Option<Heard> {
        self.open(client).await?.ask(token, path).await
    }

    async fn open(&self, client: &ClientConfig) -> Option<Open> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(client.clone()));
        let stream = connector.connect(name, stream).await.ok()?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.ok()?;
        tokio::spawn(connection);
        Some(Open { sender })
    }

    async fn events(&self, kind: EventType) -> Vec<String> {
        let workspace = self.agent.store.scope().workspace_id;
        let filter = AuditFilter { event_types: vec![kind], ..AuditFilter::workspace(workspace) };
        let found = self.agent.store.audit(filter, PageRequest::first(500)).await.unwrap();
        found.items.iter().map(|it| it.event.summary.to_string()).collect()
    }
}

/// A connection.
struct Open {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Open {
    async fn ask(&mut self, token: Option<&str>, path: &str) -> Option<Heard> {
        let mut request = hyper::Request::get(path).header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let response = self.sender.send_request(request).await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        assert_eq!(status == 401, headers.contains_key("www-authenticate"));
        let wait = headers.get("retry-after").map(|it| it.to_str().unwrap().parse().unwrap());
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, wait, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

const ME: &str = "/v1/access/me";

#[tokio::test]
async fn a_token_is_who_asks_until_it_is_revoked_or_over() {
    let host = Elsewhere::new().await;
    let (token, id) = host.token("kim").await;
    let anybody = client(&host.ca, None);
    let (status, _, body) = host.ask(&anybody, None, ME).await.unwrap();
    assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")));
    assert_eq!(host.ask(&anybody, None, "/v1/runs").await.unwrap().0, 401);
    assert_eq!(host.ask(&anybody, None, "/v1/no-such-route").await.unwrap().0, 401);
    assert_eq!(host.ask(&anybody, None, "/healthz").await.unwrap().0, 200);
    let mut open = host.open(&anybody).await.unwrap();
    let (status, _, me) = open.ask(Some(&token), ME).await.unwrap();
    assert_eq!((status, &me["name"], &me["via"]), (200, &json!("kim"), &json!("token")));
    assert_eq!(open.ask(Some(&token), "/v1/runs").await.unwrap().0, 200);
    assert_eq!(open.ask(Some(&token), "/v1/access/tokens").await.unwrap().0, 403, "no manager");
    assert_eq!(open.ask(Some(&token), "/v1/store/backup").await.unwrap().0, 404, "not above");
    host.agent.post(&format!("/v1/access/tokens/{id}/revoke"), json!({}), 200).await;
    assert_eq!(open.ask(Some(&token), ME).await.unwrap().0, 401, "on the same connection");
    // One that was worth something until a second ago.
    let (scope, ambient) = (host.agent.store.scope(), &host.agent.ambient);
    let text = TokenText::generate(
        TokenId::generate(&*ambient.clock, &*ambient.entropy),
        &*ambient.entropy,
    );
    let known = host.agent.store.access().await.unwrap();
    let user_id = known.users.iter().find(|it| it.name == "kim").unwrap().id;
    let over = Token {
        id: text.id,
        label: SafeText::new("over"),
        user_id,
        workspace_id: Some(scope.workspace_id),
        capabilities: BuiltInRole::Operator.capabilities(),
        reach: Reach::All,
        hash: text.hash(&*ambient.entropy),
        created_at: ambient.now(),
        expires_at: wharfinger::base::time::after(ambient.now(), Duration::from_secs(2)),
        revoked_at: None,
    };
    host.agent.write(AccessWrite::InsertToken(Box::new(over))).await;
    // Others hear of it when their picture of the records is old.
    host.member("kim").await;
    let text = text.reveal();
    assert_eq!(open.ask(Some(text.expose()), ME).await.unwrap().0, 200);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(open.ask(Some(text.expose()), ME).await.unwrap().0, 401);
    assert!(host.ask(&client(&Ca::new(), None), None, "/healthz").await.is_none(), "another CA");
}

#[tokio::test]
async fn a_client_certificate_is_who_it_stands_for() {
    let host = Elsewhere::new().await;
    host.member("lou").await;
    let own = host.ca.sign("lou.example.org");
    let lou = client(&host.ca, Some(&own));
    assert_eq!(host.ask(&lou, None, ME).await.unwrap().0, 401, "it stands for nobody yet");
    let new = json!({"user": "lou", "fingerprint": own.fingerprint()});
    let made = host.agent.post("/v1/access/certificates", new.clone(), 201).await;
    let mut open = host.open(&lou).await.unwrap();
    let (status, _, me) = open.ask(None, ME).await.unwrap();
    assert_eq!((status, &me["name"], &me["via"]), (200, &json!("lou"), &json!("certificate")));
    assert_eq!(open.ask(None, "/v1/runs").await.unwrap().0, 200);
    let (status, again) = host.agent.ask(Method::POST, "/v1/access/certificates", Some(new)).await;
    assert_eq!(status, 409, "{again}");
    // Whoever is signed by somebody else does not come so far.
    let stranger = Ca::new().sign("lou.example.org");
    assert!(host.ask(&client(&host.ca, Some(&stranger)), None, ME).await.is_none());
    let path = format!("/v1/access/certificates/{}", made["id"].as_str().unwrap());
    let (status, _) = host.agent.ask(Method::DELETE, &path, None).await;
    assert_eq!(status, 204);
    assert_eq!(open.ask(None, ME).await.unwrap().0, 401, "on the same connection");
}

#[tokio::test]
async fn plain_text_and_slow_clients_get_nothing_and_stop_nobody() {
    let host = Elsewhere::new().await;
    let anybody = client(&host.ca, None);
    let mut plain = TcpStream::connect(host.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    // It may end with a reset.
    let _ = plain.read_to_end(&mut heard).await;
    assert!(!heard.starts_with(b"HTTP/"), "{heard:?}");
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(host.address).await.unwrap());
    }
    for _ in 0..20 {
        let asked = host.ask(&anybody, None, "/healthz");
        let heard = tokio::time::timeout(Duration::from_secs(3), asked).await;
        assert_eq!(heard.expect("nobody waits for the silent").unwrap().0, 200);
    }
    // More of them from one address are not taken: their connection ends at once.
    for _ in 0..10 {
        silent.push(TcpStream::connect(host.address).await.unwrap());
    }
    let mut ended = 0;
    for stream in &mut silent {
        let read = stream.read_u8();
        ended += usize::from(tokio::time::timeout(Duration::from_millis(50), read).await.is_ok());
    }
    assert_eq!(ended, silent.len() - 16, "16 handshakes of an address are under way");
    drop(silent);
    assert_eq!(host.ask(&anybody, None, "/healthz").await.unwrap().0, 200);
}

#[tokio::test]
async fn certificates_are_read_again_and_bad_ones_change_nothing() {
    let host = Elsewhere::new().await;
    let other = Ca::new();
    let before = client(&host.ca, None);
    let after = client(&other, None);
    assert!(host.ask(&after, None, "/healthz").await.is_none());
    other.sign("localhost").write(host.agent.dir.path(), 0o600);
    host.keys.reload().unwrap();
    assert!(host.ask(&before, None, "/healthz").await.is_none());
    assert_eq!(host.ask(&after, None, "/healthz").await.unwrap().0, 200);
    let (certificate, _) = other.sign("localhost").write(host.agent.dir.path(), 0o644);
    let refused = host.keys.reload().unwrap_err().to_string();
    assert!(refused.contains("chmod 0640"), "{refused}");
    std::fs::write(certificate, "nothing").unwrap();
    assert!(host.keys.reload().is_err());
    assert_eq!(host.ask(&after, None, "/healthz").await.unwrap().0, 200);
}

#[tokio::test]
async fn who_guesses_is_locked_out_and_that_is_recorded_once() {
    let host = Elsewhere::new().await;
    let anybody = client(&host.ca, None);
    let (token, _) = host.token("kim").await;
    let mut open = host.open(&anybody).await.unwrap();
    assert_eq!(open.ask(Some(&token), ME).await.unwrap().0, 200);
    let allowance = Allowance::default();
    let entropy = &*host.agent.ambient.entropy;
    let guess = || {
        let id = TokenId::generate(&*host.agent.ambient.clock, entropy);
        TokenText::generate(id, entropy).reveal().expose().clone()
    };
    for number in 1..=allowance.failures_max {
        assert_eq!(open.ask(Some(&guess()), ME).await.unwrap().0, 401, "guess {number}");
    }
    for _ in 0..20 {
        let (status, wait, body) = open.ask(Some(&guess()), ME).await.unwrap();
        assert_eq!((status, &body["code"]), (429, &json!("too_many")));
        assert!(wait.is_some_and(|seconds| (1..=60).contains(&seconds)), "{wait:?}");
    }
    // Nobody comes in from there meanwhile, whatever they hold; others do.
    assert_eq!(open.ask(Some(&token), ME).await.unwrap().0, 429);
    assert_eq!(host.agent.ask(Method::GET, ME, None).await.0, 200);
    let told = host.events(EventType::AccessLockedOut).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!told[0].contains("127.0.0.1"), "an address is a person's: {told:?}");
}

#[tokio::test]
async fn who_guesses_one_token_locks_that_token() {
    let host = Elsewhere::new().await;
    let (token, _) = host.token("kim").await;
    let wrong = format!("{}{}", &token[..token.len() - 64], "0".repeat(64));
    let max = Allowance::default().failures_max;
    // As a user of this host, so that it is the token and not the address that is locked.
    let ask = async |text: &str| {
        let request = host.agent.http.get(format!("http://wharf{ME}")).bearer_auth(text);
        request.send().await.unwrap().status().as_u16()
    };
    for _ in 0..max {
        assert_eq!(ask(&wrong).await, 401);
    }
    let anybody = client(&host.ca, None);
    assert_eq!(host.ask(&anybody, Some(&token), ME).await.unwrap().0, 429);
    let told = host.events(EventType::AccessLockedOut).await;
    assert_eq!(told.len(), 2, "the token and who guessed: {told:?}");
}

#[tokio::test]
async fn who_asks_too_much_has_to_wait_and_others_do_not() {
    let allowance = Allowance { per_second: 1, burst: 20, ..Allowance::default() };
    let host = Elsewhere::allowing(allowance).await;
    let (one, _) = host.token("kim").await;
    let (other, _) = host.token("lou").await;
    let mut open = host.open(&client(&host.ca, None)).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(open.ask(Some(&one), ME).await.unwrap().0);
    }
    assert_eq!(answers[..20], [200; 20]);
    assert!(answers.contains(&429), "{answers:?}");
    assert_eq!(open.ask(Some(&other), ME).await.unwrap().0, 200);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(open.ask(Some(&one), ME).await.unwrap().0, 200);
    let told = host.events(EventType::AccessLockedOut).await;
    assert!(told.is_empty(), "asking much is no guessing: {told:?}");
}
