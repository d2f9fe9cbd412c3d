//! A recording proxy between agent and engine: forwards every request, remembers its method and
//! path, and so proves what was (not) written.

#![expect(clippy::disallowed_methods, reason = "a test ends with its tasks")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

type Body = BoxBody<Bytes, hyper::Error>;

/// One request that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, without the API version.
    pub path: String,
}

impl Call {
    /// Everything but reading is a write.
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// A running proxy; it ends when this is dropped.
pub struct RecordingProxy {
    /// Where the agent connects to.
    pub socket: PathBuf,
    calls: Arc<Mutex<Vec<Call>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl RecordingProxy {
    /// Listens on `socket` and forwards to the engine's socket `upstream`.
    pub fn start(socket: &Path, upstream: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for the proxy");
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let listener = runtime
            .block_on(async { UnixListener::bind(socket) })
            .expect("the proxy's socket can be bound");
        runtime.spawn(accept(listener, upstream.to_owned(), Arc::clone(&calls)));
        Self { socket: socket.to_owned(), calls, runtime: Some(runtime) }
    }

    /// Forgets what passed so far.
    pub fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }

    /// All calls since the last `forget`.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The calls that changed something.
    pub fn writes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(Call::is_write).collect()
    }
}

impl Drop for RecordingProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn accept(listener: UnixListener, upstream: PathBuf, calls: Arc<Mutex<Vec<Call>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let upstream = upstream.clone();
        let calls = Arc::clone(&calls);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let upstream = upstream.clone();
                record(&calls, &request);
                async move { Ok::<_, hyper::Error>(forward(&upstream, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(client), service)
                .await;
        });
    }
}

fn record(calls: &Mutex<Vec<Call>>, request: &Request<Incoming>) {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let unversioned = match path.strip_prefix("/v1.").and_then(|rest| rest.find('/')) {
        Some(slash) => &path["/v1.".len() + slash..],
        None => path,
    };
    let call = Call { method: request.method().to_string(), path: unversioned.to_owned() };
    calls.lock().unwrap().push(call);
}

async fn forward(upstream: &Path, request: Request<Incoming>) -> Response<Body> {
    match try_forward(upstream, request).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(error) => {
            let text = format!("{{\"message\":\"recording proxy: {error}\"}}");
            let body = http_body_util::Full::from(text).map_err(|never| match never {});
            let mut response = Response::new(BodyExt::boxed(body));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

async fn try_forward(
    upstream: &Path,
    request: Request<Incoming>,
) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = UnixStream::connect(upstream).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
