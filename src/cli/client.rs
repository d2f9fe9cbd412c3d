//! Talks to the agent, over its socket or through a tunnel. Owns requests, answers and what they mean for the command.
//! Face: `Client`. Never sends a request twice that may have been acted upon.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::{CliError, Exit};
use super::tunnel::{Elsewhere, Tunnel};
use crate::api::access::{TENANT, WORKSPACE};
use crate::api::problem::{Problem, ProblemCode};
use crate::base::limits::{AGENT_ANSWER_TIMEOUT, RESPONSE_BYTES_MAX};
use crate::base::{Secret, chain};

/// A connection to an agent.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    /// Where the agent is, for people.
    shown: String,
    place: Place,
    /// The way to an agent on another host, which ends with the client.
    tunnel: Option<Arc<Tunnel>>,
}

/// Where the agent is to act, and what proves who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The workspace, when it is named.
    pub workspace: Option<String>,
    /// The tenant, when it is named.
    pub tenant: Option<String>,
    /// A token; none for the user who runs the client.
    pub token: Option<Secret<String>>,
}

impl Client {
    /// A client of the agent behind a socket. Nothing is sent yet.
    pub(super) fn new(socket: &Path) -> Result<Self, CliError> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .no_proxy()
            .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| CliError::new(Exit::Internal, chain(&error)))?;
        let shown = socket.display().to_string();
        Ok(Self { http, shown, place: Place::default(), tunnel: None })
    }

    /// A client of an agent on another host.
    pub(super) async fn elsewhere(to: &Elsewhere) -> Result<Self, CliError> {
        let tunnel = Arc::new(Tunnel::open(to).await?);
        let shown = to.host.clone();
        Ok(Self { shown, tunnel: Some(Arc::clone(&tunnel)), ..Self::new(&tunnel.socket())? })
    }

    /// The same, which asks there.
    pub(super) fn with(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// Asks for something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let request = self.request(Method::GET, path).timeout(AGENT_ANSWER_TIMEOUT);
        self.answer(request).await
    }

    /// Asks with parameters.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<T, CliError> {
        let mut address = String::from(path);
        for (name, value) in query {
            if let Some(value) = value {
                address.push(if address.contains('?') { '&' } else { '?' });
                address.push_str(&format!("{name}={}", encode(value)));
            }
        }
        self.get(&address).await
    }

    /// Asks for an act.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        self.answer(self.with_body(Method::POST, path, body)).await
    }

    /// Puts a record.
    pub(super) async fn replace<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CliError> {
        self.answer(self.with_body(Method::PUT, path, body)).await
    }

    /// Asks for an act that has no answer.
    pub(super) async fn post_empty(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(), CliError> {
        self.send(self.with_body(Method::POST, path, body)).await.map(|_| ())
    }

    /// Removes a record.
    pub(super) async fn delete(&self, path: &str) -> Result<(), CliError> {
        let request = self.request(Method::DELETE, path).timeout(AGENT_ANSWER_TIMEOUT);
        self.send(request).await.map(|_| ())
    }

    /// Sends a file.
    pub(super) async fn put(&self, path: &str, kind: &str, body: Vec<u8>) -> Result<(), CliError> {
        let request = self
            .request(Method::PUT, path)
            .timeout(AGENT_ANSWER_TIMEOUT)
            .header(reqwest::header::CONTENT_TYPE, kind)
            .body(body);
        self.send(request).await.map(|_| ())
    }

    /// Opens a stream that goes on until the agent ends it.
    pub(super) async fn stream(
        &self,
        path: &str,
        last_event_id: Option<&str>,
    ) -> Result<Response, CliError> {
        let mut request = self.request(Method::GET, path);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        self.send(request).await
    }

    /// Sends a body that goes on while the answer comes.
    pub(super) async fn exchange(
        &self,
        path: &str,
        kind: &str,
        body: reqwest::Body,
    ) -> Result<Response, CliError> {
        let request = self.request(Method::POST, path);
        self.send(request.header(reqwest::header::CONTENT_TYPE, kind).body(body)).await
    }

    /// Asks for something whose refusal carries the same body, such as `/readyz`.
    pub(super) async fn get_any<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let request = self.request(Method::GET, path).timeout(AGENT_ANSWER_TIMEOUT);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        parse(&read(response).await?)
    }

    fn with_body(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> reqwest::RequestBuilder {
        self.request(method, path).timeout(AGENT_ANSWER_TIMEOUT).json(body)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("http://wharf{path}"));
        let named = [(WORKSPACE, &self.place.workspace), (TENANT, &self.place.tenant)];
        for (header, name) in named {
            if let Some(name) = name {
                request = request.header(header, name);
            }
        }
        match &self.place.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, CliError> {
        parse(&read(self.send(request).await?).await?)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = read(response).await?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => refused(problem),
            Err(_) => not_an_agent(status),
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let shown = &self.shown;
        if error.is_timeout() {
            let message = format!("the agent at {shown} does not answer in time");
            return CliError::new(Exit::Unreachable, message)
                .hint("look at its log; `wharf doctor` examines engine and host");
        }
        let message = format!("no agent answers at {shown}: {}", root_cause(error));
        if self.tunnel.is_some() {
            return CliError::new(Exit::Unreachable, message)
                .hint("it may refuse the client certificate, or end");
        }
        CliError::new(Exit::Unreachable, message).hint(
            "start it with `wharf agent --config FILE`, or name its socket with --socket or \
             WHARF_SOCKET; `wharf doctor` examines both",
        )
    }
}

/// What the system said; the library's own words around it say nothing new.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn not_an_agent(status: StatusCode) -> CliError {
    CliError::new(Exit::Internal, format!("whatever listens there is no agent: it said {status}"))
}

async fn read(response: Response) -> Result<Vec<u8>, CliError> {
    let mut body = Vec::new();
    let mut parts = response.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| {
            let message = format!("the agent's answer broke off: {}", root_cause(&error));
            CliError::new(Exit::Unreachable, message)
        })?;
        body.extend_from_slice(&part);
        if body.len() > RESPONSE_BYTES_MAX {
            return Err(CliError::new(Exit::Internal, "the agent's answer is too large"));
        }
    }
    Ok(body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CliError> {
    serde_json::from_slice(body).map_err(|error| {
        CliError::new(Exit::Internal, format!("the agent's answer cannot be read: {error}"))
            .hint("agent and client may be of different versions: compare `wharf --version`")
    })
}

/// What a refusal of the agent means for the command.
pub(super) fn refused(problem: Problem) -> CliError {
    let exit = match problem.code {
        ProblemCode::BadRequest => Exit::Usage,
        ProblemCode::InvalidProject | ProblemCode::TooLarge | ProblemCode::RegistryDenied => {
            Exit::Data
        }
        ProblemCode::Forbidden | ProblemCode::Unauthenticated => Exit::Denied,
        ProblemCode::NotFound => Exit::NotFound,
        ProblemCode::Conflict | ProblemCode::StaleAttempt | ProblemCode::ContextsMissing => {
            Exit::Blocked
        }
        ProblemCode::TooMany
        | ProblemCode::Engine
        | ProblemCode::Unavailable
        | ProblemCode::DiskFull => Exit::Unavailable,
        ProblemCode::BadJson
        | ProblemCode::MethodNotAllowed
        | ProblemCode::UnsupportedMediaType
        | ProblemCode::Internal => Exit::Internal,
    };
    let details = problem.diagnostics.into_iter().map(|diagnostic| diagnostic.text).collect();
    CliError { hint: problem.hint, ..CliError::new(exit, problem.detail) }.details(details)
}

/// A value for the query string (RFC 3986, unreserved characters stay).
pub(super) fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        let check = |value, expect| assert_eq!(encode(value), expect);
        check("shop-1", "shop-1");
        check("a b&c=ä", "a%20b%26c%3D%C3%A4");
    }
}
