//! Commands in containers and service instances through the router: what is asked, what comes back,
//! what is recorded.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use wharfinger::api::wire::{EXEC_MEDIA_TYPE, ExecNew, Frame, FrameKind, Frames};
use wharfinger::base::limits::EXEC_SESSIONS_MAX;

use super::*;

fn new(command: &[&str]) -> ExecNew {
    ExecNew {
        service: "web".to_owned(),
        number: 1,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: BTreeMap::from([("TOKEN".to_owned(), "SECRET-TOKEN".to_owned())]),
        ..ExecNew::default()
    }
}

/// Executes a command; the answer is its status, and the frames or the problem.
async fn exec(agent: &Fixture, first: Frame) -> (u16, Vec<Frame>, Value) {
    let end = Frame::new(FrameKind::InputEnds, "");
    let body = reqwest::Body::from([first.encode(), end.encode()].concat());
    let request = agent.http.post("http://wharf/v1/projects/shop/exec").body(body);
    let answer = request.header("content-type", EXEC_MEDIA_TYPE).send().await.unwrap();
    let (status, bytes) = (answer.status().as_u16(), answer.bytes().await.unwrap());
    let mut frames = Frames::default();
    frames.push(&bytes);
    let mut found = Vec::new();
    while let Ok(Some(frame)) = frames.take() {
        found.push(frame);
    }
    (status, found, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn shop() -> Fixture {
    let agent = Fixture::working().await;
    let run = agent.up(WEB).await;
    assert_eq!(agent.events(&run, None, usize::MAX).await.last().unwrap().name, "end");
    agent
}

#[tokio::test]
async fn a_command_is_executed_and_its_arguments_are_not_recorded() {
    let agent = shop().await;
    let (status, frames, _) =
        exec(&agent, Frame::json(FrameKind::Spec, &new(&["echo", "SECRET", "word"]))).await;
    assert_eq!(status, 200);
    assert_eq!(frames[0], Frame::new(FrameKind::Output, "SECRET word\n"));
    assert_eq!(frames[1], Frame::new(FrameKind::Ended, r#"{"exit_code":0}"#));
    let (_, frames, _) = exec(&agent, Frame::json(FrameKind::Spec, &new(&["/bin/false"]))).await;
    assert_eq!(frames.last().unwrap().kind, FrameKind::Ended);
    let log = agent.get("/v1/audit").await.to_string();
    assert!(log.contains("`echo` in web/1") && log.contains("`false` in web/1"), "{log}");
    assert_eq!(log.matches("project_exec.completed").count(), 2, "{log}");
    assert!(!log.contains("SECRET"), "{log}");
}

#[tokio::test]
async fn what_cannot_be_executed_is_answered_as_everywhere() {
    let agent = shop().await;
    let check = async |first: Frame, expect: u16, code: &str| {
        let (status, _, problem) = exec(&agent, first).await;
        assert_eq!((status, &problem["code"]), (expect, &json!(code)), "{problem}");
        assert!(!problem.to_string().contains("SECRET"), "{problem}");
    };
    let spec = |new: &ExecNew| Frame::json(FrameKind::Spec, new);
    check(spec(&ExecNew { service: "job".to_owned(), ..new(&["true"]) }), 404, "not_found").await;
    check(spec(&ExecNew { number: 2, ..new(&["true"]) }), 404, "not_found").await;
    check(spec(&new(&[])), 400, "bad_request").await;
    check(Frame::new(FrameKind::Input, "SECRET"), 400, "bad_request").await;
    check(Frame::new(FrameKind::Spec, r#"{"SECRET": 1}"#), 400, "bad_request").await;
    agent.engine.stop_behind("shop-web-1");
    check(spec(&new(&["true"])), 409, "conflict").await;
}

#[tokio::test]
async fn only_so_many_commands_are_executed_at_once() {
    let agent = shop().await;
    let mut open = Vec::new();
    for _ in 0..EXEC_SESSIONS_MAX {
        let body = Frame::json(FrameKind::Spec, &new(&["sleep"])).encode();
        // The request's body does not end: the client stays.
        let head = format!(
            "POST /v1/projects/shop/exec HTTP/1.1\r\nhost: wharf\r\ncontent-type: \
             {EXEC_MEDIA_TYPE}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        );
        let socket = agent.dir.path().join("wharf.sock");
        let mut client = tokio::net::UnixStream::connect(socket).await.unwrap();
        client.write_all(&[head.as_bytes(), &body, b"\r\n"].concat()).await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        open.push(client);
    }
    let spec = Frame::json(FrameKind::Spec, &new(&["true"]));
    let (status, _, problem) = exec(&agent, spec.clone()).await;
    assert_eq!((status, &problem["code"]), (429, &json!("too_many")), "{problem}");
    // Who leaves makes room.
    drop(open);
    for _ in 0..500 {
        if exec(&agent, spec.clone()).await.0 == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no session ended with its client");
}

#[tokio::test]
async fn instances_are_told_with_what_they_use() {
    let agent = shop().await;
    let told = agent.get("/v1/projects/shop/instances?usage=true").await;
    let instance = &told["items"][0];
    assert_eq!(instance["id"], "shop/web/1");
    assert_eq!((&instance["state"], &instance["health"]), (&json!("running"), &json!("none")));
    assert_eq!(instance["usage"]["memory_bytes"], 8 << 20);
    assert_eq!(instance["usage"]["cpu_thousandths"], 125);
    assert_eq!(instance["usage"]["memory_percent"], 12);
    assert!(instance["endpoints"]["networks"]["shop_default"]["ipv4"].is_string(), "{instance}");
    let told = agent.get("/v1/projects/shop/instances").await;
    assert!(told["items"][0].get("usage").is_none(), "{told}");
    let none = agent.get("/v1/projects/shop/instances?service=job").await;
    assert_eq!(none["items"], json!([]));
    let metrics =
        agent.http.get("http://wharf/metrics").send().await.unwrap().text().await.unwrap();
    let labels = r#"{number="1",project="shop",service="web"}"#;
    assert!(metrics.contains(&format!("wharf_instance_healthy{labels} 1")), "{metrics}");
    assert!(metrics.contains(&format!("wharf_instance_memory_bytes{labels} 8388608")), "{metrics}");
}
