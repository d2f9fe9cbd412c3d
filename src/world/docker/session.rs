//! Holds the way to an engine: the negotiated API version, and the rule which calls
//! are tried again. Owns `Session`. Face: `Connection::read`, `Connection::write`. Never repeats a
//! call that changes something.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{BollardRequest, Docker, body_full};
use futures_util::FutureExt;
use http_body_util::BodyExt;

use super::failure::translate;
use super::version::{ApiVersion, negotiate};
use super::{EngineAddress, EngineError, EngineErrorKind};
use crate::base::limits::{ENGINE_CALL_TIMEOUT, ENGINE_CONNECT_TIMEOUT, ENGINE_READ_RETRIES_MAX};

/// The pause before the first repetition of a read; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A client that speaks one version of the API. The library opens a connection for each call, so
/// a restarted engine needs nothing but the next call.
pub(super) struct Session {
    pub(super) docker: Docker,
    pub(super) api: ApiVersion,
    /// The newest version that the engine speaks.
    pub(super) reported_api: String,
}

impl Session {
    /// A client whose next call is this one instead, with a JSON body: for calls that the library does
    /// not know. Used for one `ping`, whose answer is a text of any kind.
    pub(super) fn posting(&self, path: &'static str, body: bytes::Bytes) -> Docker {
        let api = self.api;
        self.docker.clone().with_request_modifier(move |mut request| {
            *request.method_mut() = http::Method::POST;
            let json = http::HeaderValue::from_static("application/json");
            request.headers_mut().insert(http::header::CONTENT_TYPE, json);
            *request.body_mut() = body_full(body.clone());
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static(path));
            if let Ok(uri) = http::Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
            adapt(request, api)
        })
    }
}

/// The way to one engine, which may come and go.
pub(super) struct Connection {
    address: EngineAddress,
    session: Mutex<Option<Arc<Session>>>,
}

impl Connection {
    pub(super) fn new(address: EngineAddress) -> Self {
        Self { address, session: Mutex::new(None) }
    }

    /// A call that changes nothing: repeated a few times while the engine cannot be reached.
    pub(super) async fn read<T, F>(
        &self,
        attempt: &str,
        call: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut pause = FIRST_PAUSE;
        for _ in 0..ENGINE_READ_RETRIES_MAX {
            match self.once(attempt, ENGINE_CALL_TIMEOUT, &call).await {
                Err(error) if error.kind == EngineErrorKind::Unreachable => {
                    tracing::debug!(%error, "engine call is tried again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                done => return done,
            }
        }
        self.once(attempt, ENGINE_CALL_TIMEOUT, &call).await
    }

    /// A call that changes something: made once, because a broken connection does not say whether
    /// the engine acted.
    pub(super) async fn write<T, F>(
        &self,
        attempt: &str,
        call: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.once(attempt, ENGINE_CALL_TIMEOUT, call).await
    }

    /// The same, for a call that may take that long.
    pub(super) async fn once<T, F>(
        &self,
        attempt: &str,
        limit: Duration,
        call: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let session = self.session(attempt).await?;
        let answer = tokio::time::timeout(limit, call(session)).await;
        let answer = answer.unwrap_or(Err(Error::RequestTimeoutError));
        answer.map_err(|error| self.failed(attempt, &error))
    }

    /// The session, negotiated anew when there is none.
    pub(super) async fn session(&self, attempt: &str) -> Result<Arc<Session>, EngineError> {
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let opened = tokio::time::timeout(ENGINE_CONNECT_TIMEOUT, self.open(attempt)).await;
        let session = Arc::new(opened.unwrap_or_else(|_| {
            let message = format!("{}: no answer in time", self.address);
            Err(EngineError::new(EngineErrorKind::Unreachable, attempt, message))
        })?);
        *self.slot() = Some(Arc::clone(&session));
        Ok(session)
    }

    /// What a failure means; the next call negotiates again if the engine may be another one.
    pub(super) fn failed(&self, attempt: &str, error: &Error) -> EngineError {
        let mut failure = translate(attempt, error);
        let is_unreachable = failure.kind == EngineErrorKind::Unreachable;
        if is_unreachable || failure.message.contains("client version") {
            *self.slot() = None;
        }
        if is_unreachable {
            failure.message = format!("{}: {}", self.address, failure.message);
        }
        failure
    }

    async fn open(&self, attempt: &str) -> Result<Session, EngineError> {
        let plain = self.address.client().map_err(|error| self.failed(attempt, &error))?;
        let version = plain.version().await.map_err(|error| self.failed(attempt, &error))?;
        let newest = version.api_version.unwrap_or_default();
        let api = negotiate(&newest, version.min_api_version.as_deref())
            .map_err(|why| EngineError::new(EngineErrorKind::Invalid, attempt, why))?;
        let docker = plain.with_request_modifier(move |request| adapt(request, api));
        Ok(Session { docker, api, reported_api: newest })
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.slot().clone()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Joins several values of one query key, which the library can hold only once. No tag and no
/// host name contains it.
pub(super) const MANY_VALUES: char = '\n';

/// Mends what the library cannot say: the version in the path, which it drops; keys that the
/// engine reads several times; and `CheckDuplicate`, without which engines before API 1.44 make a
/// second network of the same name.
fn adapt(mut request: BollardRequest, api: ApiVersion) -> BollardRequest {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().map(|query| format!("?{}", repeat_keys(query)));
    let target = format!("/v{api}{path}{}", query.unwrap_or_default());
    let mut parts = request.uri().clone().into_parts();
    if let Ok(target) = target.parse() {
        parts.path_and_query = Some(target);
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    if path == "/networks/create" && api < ApiVersion::MANY_ENDPOINTS {
        check_duplicate(&mut request);
    }
    request
}

/// `t=a%0Ab` becomes `t=a&t=b`.
fn repeat_keys(query: &str) -> String {
    let pairs = query.split('&').flat_map(|pair| {
        let (key, values) = pair.split_once('=').unwrap_or((pair, ""));
        let is_repeated = key == "t" || key == "extrahosts";
        let values = if is_repeated { values.split("%0A").collect() } else { vec![values] };
        values.into_iter().map(move |value| format!("{key}={value}"))
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn check_duplicate(request: &mut BollardRequest) {
    // The body is in memory as a whole, so that collecting it never waits.
    let body = std::mem::replace(request.body_mut(), body_full(bytes::Bytes::new()));
    let Some(Ok(collected)) = body.collect().now_or_never() else { return };
    let bytes = collected.to_bytes();
    let with_check = serde_json::from_slice::<serde_json::Value>(&bytes).ok().map(|mut value| {
        value["CheckDuplicate"] = true.into();
        bytes::Bytes::from(value.to_string())
    });
    *request.body_mut() = body_full(with_check.unwrap_or(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, body: &'static str) -> BollardRequest {
        http::Request::builder().uri(uri).body(body_full(body.into())).unwrap()
    }

    #[test]
    fn version_is_put_before_the_path() {
        let adapted = adapt(request("unix://2f76/containers/json?all=true", ""), ApiVersion(1, 41));
        assert_eq!(adapted.uri().to_string(), "unix://2f76/v1.41/containers/json?all=true");
    }

    #[test]
    fn keys_with_several_values_are_repeated() {
        let adapted = adapt(request("http://h/build?t=a%3A1%0Ab&q=x%0Ay", ""), ApiVersion(1, 44));
        assert_eq!(adapted.uri().to_string(), "http://h/v1.44/build?t=a%3A1&t=b&q=x%0Ay");
    }

    #[test]
    fn old_engines_are_asked_to_refuse_a_second_network_of_one_name() {
        let body = |api| {
            let adapted = adapt(request("http://h/networks/create", r#"{"Name":"a"}"#), api);
            let collected = adapted.into_body().collect().now_or_never().unwrap().unwrap();
            String::from_utf8(collected.to_bytes().to_vec()).unwrap()
        };
        assert_eq!(body(ApiVersion(1, 43)), r#"{"CheckDuplicate":true,"Name":"a"}"#);
        assert_eq!(body(ApiVersion(1, 44)), r#"{"Name":"a"}"#);
    }
}
