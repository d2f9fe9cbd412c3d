//! Sends messages over HTTP. Owns the client: one pool of connections, TLS by the host's roots. Face:
//! `HttpNotify`. Never goes through a proxy of the environment.

use std::error::Error;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::OnceCell;

use super::{Message, Notify, judge, too_late};
use crate::base::limits::ALERT_ANSWER_BYTES_MAX;
use crate::domain::alerts::NotReceived;

/// Tells receivers over HTTP.
#[derive(Debug)]
pub struct HttpNotify {
    plain: Client<HttpConnector, Full<Bytes>>,
    /// Made when it is first needed: it reads whom the host trusts.
    secure: OnceCell<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

impl Default for HttpNotify {
    fn default() -> Self {
        let plain = Client::builder(TokioExecutor::new()).build_http();
        Self { plain, secure: OnceCell::new() }
    }
}

impl HttpNotify {
    async fn try_send(&self, message: Message) -> Result<u16, NotReceived> {
        let timeout = message.timeout;
        let request = request(message)?;
        let answered = async {
            let response = match request.uri().scheme_str() {
                Some("https") => self.secure().await?.request(request).await,
                _ => self.plain.request(request).await,
            };
            let response = response.map_err(|error| failed(&error))?;
            let status = response.status().as_u16();
            let excerpt = match response.status().is_success() {
                true => Vec::new(),
                false => excerpt(response).await,
            };
            judge(status, &String::from_utf8_lossy(&excerpt))
        };
        match tokio::time::timeout(timeout, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(too_late(timeout)),
        }
    }

    async fn secure(
        &self,
    ) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, NotReceived> {
        let made = self.secure.get_or_try_init(|| async {
            let read = || HttpsConnectorBuilder::new().with_native_roots();
            #[expect(clippy::disallowed_methods, reason = "the disk is waited for on a thread")]
            let read = tokio::task::spawn_blocking(read).await;
            let read = read.map_err(std::io::Error::other).flatten().map_err(|error| {
                let mend = "install the package `ca-certificates`";
                not_received(format!("this host trusts no certificate: {error}; {mend}"))
            })?;
            let connector = read.https_only().enable_http1().build();
            Ok(Client::builder(TokioExecutor::new()).build(connector))
        });
        made.await
    }
}

fn not_received(error: impl Into<String>) -> NotReceived {
    NotReceived { http_status: None, error: error.into() }
}

fn request(message: Message) -> Result<Request<Full<Bytes>>, NotReceived> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(message.url.expose())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("wharf/", env!("CARGO_PKG_VERSION")));
    for (name, value) in &message.headers {
        let unusable = |what: &str| not_received(format!("the {what} of a header is unusable"));
        let name = HeaderName::try_from(name).map_err(|_| unusable("name"))?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| unusable("value"))?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    let request = request.body(Full::new(message.body));
    request.map_err(|_| not_received("its address is unusable"))
}

/// The beginning of an answer's text.
async fn excerpt(response: Response<Incoming>) -> Vec<u8> {
    let mut excerpt = Vec::new();
    let mut body = response.into_body();
    while excerpt.len() < ALERT_ANSWER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        excerpt.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    excerpt.truncate(ALERT_ANSWER_BYTES_MAX);
    excerpt
}

/// What went wrong, without the address.
fn failed(error: &hyper_util::client::legacy::Error) -> NotReceived {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    not_received(format!("it cannot be reached: {cause}"))
}

impl Notify for HttpNotify {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<u16, NotReceived>> {
        self.try_send(message).boxed()
    }
}
