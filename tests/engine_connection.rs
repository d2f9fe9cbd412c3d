//! What the client promises about a connection that breaks: reads are repeated, writes are not,
//! and an engine that comes back is found again. Talks to a server that breaks on purpose.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]
#![expect(clippy::disallowed_methods, reason = "a test ends with its tasks")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use wharfinger::base::limits::ENGINE_READ_RETRIES_MAX;
use wharfinger::world::docker::{DockerEngine, Engine, EngineAddress, EngineErrorKind};

/// A server with the two answers that the tests need.
struct Server {
    state: Arc<Mutex<State>>,
}

struct State {
    api_version: &'static str,
    /// Requests (the version apart) whose connection is dropped without an answer.
    to_drop: u32,
    requests: Vec<String>,
}

impl Server {
    fn start(path: &Path, to_drop: u32) -> Self {
        let listener = UnixListener::bind(path).expect("the socket can be bound");
        let state = State { api_version: "1.41", to_drop, requests: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self { state }
    }

    /// Requests apart from those for the version.
    fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

async fn answer(mut stream: UnixStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let request = head.split(" HTTP/").next().unwrap_or_default().to_owned();
    let body = {
        let mut state = state.lock().unwrap();
        if request == "GET /version" {
            format!("{{\"ApiVersion\":\"{}\",\"MinAPIVersion\":\"1.12\"}}", state.api_version)
        } else {
            state.requests.push(request);
            if state.to_drop > 0 {
                state.to_drop -= 1;
                return;
            }
            "OK".to_owned()
        }
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    // The client may be gone, which is its own affair.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

fn engine_at(path: &Path) -> DockerEngine {
    DockerEngine::at(EngineAddress::Unix(path.to_owned()))
}

#[tokio::test]
async fn read_is_repeated_until_the_engine_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let server = Server::start(&path, 2);
    engine_at(&path).ping().await.unwrap();
    assert_eq!(server.requests(), ["GET /v1.41/_ping"; 3]);
}

#[tokio::test]
async fn read_is_given_up_after_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let server = Server::start(&path, u32::MAX);
    let error = engine_at(&path).ping().await.expect_err("nobody answers");
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    assert!(error.message.starts_with("unix:///"), "{error}");
    assert_eq!(server.requests().len() as u32, ENGINE_READ_RETRIES_MAX + 1);
}

#[tokio::test]
async fn write_is_never_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let server = Server::start(&path, u32::MAX);
    let error = engine_at(&path).start_container("web").await.expect_err("nobody answers");
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    assert!(error.is_outcome_unknown());
    assert_eq!(server.requests(), ["POST /v1.41/containers/web/start"]);
}

#[tokio::test]
async fn engine_that_comes_back_newer_is_spoken_to_in_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let engine = engine_at(&path);
    let error = engine.start_container("web").await.expect_err("it is not there yet");
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    let server = Server::start(&path, 0);
    engine.ping().await.unwrap();
    {
        let mut state = server.state.lock().unwrap();
        state.api_version = "1.47";
        state.to_drop = 1;
    }
    engine.ping().await.unwrap();
    let expect = ["GET /v1.41/_ping", "GET /v1.41/_ping", "GET /v1.47/_ping"];
    assert_eq!(server.requests(), expect);
}
