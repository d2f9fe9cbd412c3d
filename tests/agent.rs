//! The agent as a real process, and the command line as its client, without an engine: start, stop,
//! reload, refusals, problem documents, exit codes, closed pipes.
#![expect(clippy::unwrap_used, reason = "a test's helper fails the test")]

#[path = "agent/elsewhere.rs"]
mod elsewhere;
#[path = "agent/policies.rs"]
mod policies;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use wharfinger::api::problem::{Problem, ProblemCode};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(120);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An agent in a folder of its own; killed when dropped.
struct Agent {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Agent {
    fn start(settings: &str) -> Self {
        Self::start_with(settings, |_| {})
    }

    fn start_with(settings: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut agent = Self { dir: tempfile::tempdir().unwrap(), child: None };
        agent.configure(settings);
        agent.spawn(prepare);
        wait_until("the agent answers", || {
            assert!(!agent.has_ended(), "the agent ended:\n{}", agent.log());
            agent.wharf(&["run", "ls"]).status.success()
        });
        agent
    }

    fn configure(&self, settings: &str) {
        let engine = self.dir.path().join("nobody.sock");
        let text = format!(
            "state_dir: {}\nengine: {{address: 'unix://{}'}}\n{settings}",
            self.state_dir().display(),
            engine.display()
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn spawn(&mut self, prepare: impl FnOnce(&mut Command)) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["agent", "--config"]).arg(self.config());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        prepare(&mut command);
        self.child = Some(command.spawn().unwrap());
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("agent.yaml")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        self.state_dir().join("wharf.sock")
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some())
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success());
    }

    fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.take().unwrap().wait().unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(args).env("WHARF_SOCKET", self.socket()).stdin(Stdio::null());
        command
    }

    fn wharf(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.wharf(&[args, &["--format", "json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {}", text(&output.stderr)))
    }

    /// Sends a raw request; gives status, headers and body.
    fn request(&self, head: &str, body: &[u8]) -> (u16, String, serde_json::Value) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
        .unwrap();
        // The agent may refuse by the headers alone, and close.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = text(&answer);
        let (headers, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let json = serde_json::from_str(body).unwrap_or(serde_json::Value::Null);
        (status, headers.to_ascii_lowercase(), json)
    }

    fn event_types(&self) -> Vec<String> {
        let events = self.json(&["audit", "ls", "--limit", "500"]);
        let items = events["items"].as_array().unwrap().iter();
        items.map(|event| event["event_type"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_stop_is_orderly_recorded_and_leaves_no_socket() {
    let mut agent = Agent::start("");
    assert_eq!(agent.stop().code(), Some(0), "{}", agent.log());
    assert!(!agent.socket().exists(), "the socket is left over");
    agent.spawn(|_| {});
    wait_until("the agent answers", || agent.wharf(&["run", "ls"]).status.success());
    // It answers before it has recorded that it started.
    wait_until("the start is recorded", || agent.event_types().len() > 3);
    let types = agent.event_types();
    assert_eq!(types, ["agent.started", "agent.stopped", "agent.started", "store.created"]);
}

#[test]
fn a_killed_agent_starts_again_over_its_stale_socket() {
    let mut agent = Agent::start("");
    agent.child.as_mut().unwrap().kill().unwrap();
    agent.child.take().unwrap().wait().unwrap();
    assert!(agent.socket().exists(), "a killed agent cannot clean up");
    assert_eq!(agent.wharf(&["run", "ls"]).status.code(), Some(69));
    agent.spawn(|_| {});
    wait_until("the agent answers", || agent.wharf(&["run", "ls"]).status.success());
}

#[test]
fn a_second_agent_on_the_same_state_is_refused_and_harms_nothing() {
    let agent = Agent::start("");
    let second = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["agent", "--config"])
        .arg(agent.config())
        .output()
        .unwrap();
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(75), "{said}");
    assert!(said.contains("another agent holds"), "{said}");
    assert!(said.contains("help: stop the other agent"), "{said}");
    assert!(agent.wharf(&["run", "ls"]).status.success(), "the first agent was harmed");
}

#[test]
fn state_and_socket_are_closed_to_others() {
    let agent = Agent::start("");
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(agent.state_dir()), 0o700);
    assert_eq!(mode(agent.socket()), 0o660);
}

#[test]
fn a_reload_applies_what_it_can_and_says_what_waits() {
    let agent = Agent::start("");
    agent.configure("log: {level: debug}\nruns: {workers: 2}\n");
    agent.signal("HUP");
    wait_until("the reload is recorded", || {
        agent.event_types().contains(&"configuration.reloaded".to_owned())
    });
    let events = agent.json(&["audit", "ls", "--type", "configuration.reloaded"]);
    let summary = events["items"][0]["summary"].as_str().unwrap();
    assert!(summary.contains("in effect: log.level"), "{summary}");
    assert!(summary.contains("restart: runs.workers"), "{summary}");

    std::fs::write(agent.config(), "state_dri: /x\n").unwrap();
    agent.signal("HUP");
    wait_until("the failed reload is recorded", || {
        let events = agent.json(&["audit", "ls", "--type", "configuration.reloaded"]);
        events["items"][0]["outcome"] == "failed"
    });
    assert!(agent.wharf(&["run", "ls"]).status.success(), "{}", agent.log());
}

#[test]
fn the_service_manager_hears_what_happens() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let notify = UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut agent = Agent::start_with("", |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    });
    let hear = |word: &str| {
        let mut buffer = [0; 1024];
        loop {
            let size = notify.recv(&mut buffer).unwrap_or_else(|_| panic!("{word} was not told"));
            if text(&buffer[..size]).contains(word) {
                break;
            }
        }
    };
    hear("STATUS=waiting for the Docker Engine");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    agent.signal("HUP");
    hear("RELOADING=1");
    hear("READY=1");
    agent.signal("TERM");
    hear("STOPPING=1");
    assert_eq!(agent.child.take().unwrap().wait().unwrap().code(), Some(0));
}

#[test]
fn an_agent_without_an_engine_serves_and_says_so() {
    let agent = Agent::start("");
    let (status, _, body) = agent.request("GET /readyz HTTP/1.1", b"");
    assert_eq!((status, &body["ready"]), (503, &serde_json::json!(false)), "{body}");
    assert_eq!(body["store"], "ok");
    assert!(body["engine"].as_str().unwrap().contains("nobody.sock"), "{body}");
    let (status, ..) = agent.request("GET /healthz HTTP/1.1", b"");
    assert_eq!(status, 200);
    let doctor = agent.wharf(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(text(&doctor.stdout).contains("nobody.sock"), "{}", text(&doctor.stdout));
}

/// Everybody may stop waiting: the second signal ends an agent that waits for its runs.
#[test]
fn a_second_signal_ends_at_once() {
    for second in ["TERM", "INT"] {
        // An engine that takes every call and answers none: the run cannot reach a safe step.
        let mut agent = Agent::start("runs: {shutdown_deadline: 10m}\n");
        let silent = UnixListener::bind(agent.dir.path().join("nobody.sock")).unwrap();
        let accept = move || {
            let _open: Vec<_> = silent.incoming().collect();
        };
        std::thread::Builder::new().name("silent engine".to_owned()).spawn(accept).unwrap();
        let compose = agent.dir.path().join("compose.yaml");
        std::fs::write(&compose, "name: silent\nservices: {web: {image: x}}\n").unwrap();
        let up = agent.wharf(&["up", "--detach", "-f", compose.to_str().unwrap()]);
        assert!(up.status.success(), "{}", text(&up.stderr));
        wait_until("the run has begun", || {
            agent.json(&["run", "ls"])["items"][0]["status"] == "running"
        });
        agent.signal("TERM");
        wait_until("the agent stops", || agent.log().contains("agent stops"));
        assert!(!agent.has_ended(), "it did not wait for its run");
        let start = Instant::now();
        agent.signal(second);
        let status = agent.child.take().unwrap().wait().unwrap();
        assert!(start.elapsed() < Duration::from_secs(60), "{second}: {:?}", start.elapsed());
        assert!(agent.log().contains("told twice to stop"), "{second}: {}", agent.log());
        assert_eq!(status.code(), Some(0), "{second}");
    }
}

/// Whoever writes into a connection that its agent has closed does not hear why it was refused.
#[test]
fn a_client_says_nothing_more_before_its_command_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let agent = move || {
        let (mut client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut heard = Vec::new();
        // The client has no input: were it allowed to say so, it would.
        let end = client.read_to_end(&mut heard);
        assert!(end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        let problem = Problem::new(ProblemCode::NotFound, "there is no container of it");
        let body = serde_json::to_string(&problem).unwrap();
        let head = "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json";
        write!(client, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        heard
    };
    let agent = std::thread::Builder::new().name("agent that refuses".to_owned()).spawn(agent);
    let refused = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["exec", "-p", "shop", "web", "--", "true"])
        .env("WHARF_SOCKET", &socket)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(66), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("there is no container of it"));
    let heard = text(&agent.unwrap().join().unwrap());
    let (_, body) = heard.split_once("\r\n\r\n").unwrap();
    // One chunk: its size, the first frame, and nothing after it.
    let (_, frame) = body.split_once("\r\n").unwrap();
    assert!(frame.starts_with('s') && frame.ends_with("}\r\n"), "{body:?}");
}

#[test]
fn a_compose_file_may_come_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("shop")).unwrap();
    let config = |input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(["compose", "config", "--format", "json", "-f", "-", "-f", "over.yaml"])
            .current_dir(folder.path().join("shop"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let over = "services: {web: {environment: {A: b}}}\n";
    std::fs::write(folder.path().join("shop/over.yaml"), over).unwrap();
    let output = config("services: {web: {image: 'web:1', volumes: ['./data:/data']}}\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let model: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let web = &model["services"]["web"];
    assert_eq!((&model["name"], &web["environment"]["A"]), (&"shop".into(), &"b".into()));
    let source = web["volumes"][0]["source"].as_str().unwrap();
    assert!(source.ends_with("/shop/data"), "{source}");
    let wrong = config("services: {web: {imag: x}}\n");
    assert_eq!(wrong.status.code(), Some(65));
    assert!(text(&wrong.stderr).contains("\"file\":\"-\""), "{}", text(&wrong.stderr));
}

/// Every error is a problem document with a stable code, and says which path it is about.
#[test]
fn every_error_is_a_problem_document() {
    let agent = Agent::start("");
    let check = |head: &str, body: &[u8], status: u16, code: &str| {
        let (found, headers, json) = agent.request(&format!("{head} HTTP/1.1"), body);
        assert_eq!(
            (found, json["code"].as_str()),
            (status, Some(code)),
            "{head}: {headers} {json}"
        );
        assert!(headers.contains("content-type: application/problem+json"), "{head}: {headers}");
        assert_eq!(json["status"], status, "{head}");
        assert_eq!(json["type"], format!("/problems/{code}"), "{head}");
        let path = head.split([' ', '?']).nth(1).unwrap();
        assert_eq!(json["instance"], path, "{head}");
        for field in ["title", "detail"] {
            assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{head}: {json}");
        }
    };
    check("GET /v2", b"", 404, "not_found");
    check("DELETE /v1/runs", b"", 405, "method_not_allowed");
    check("GET /v1/runs?status=sleeping", b"", 400, "bad_request");
    check("GET /v1/runs?colour=blue", b"", 400, "bad_request");
    check("GET /v1/runs?after=elsewhere", b"", 400, "bad_request");
    check("GET /v1/audit?after=elsewhere", b"", 400, "bad_request");
    check("GET /v1/runs/abc", b"", 400, "bad_request");
    check("GET /v1/runs/0190aaaa-0000-7000-8000-000000000000", b"", 404, "not_found");
    check("GET /v1/audit/0190aaaa-0000-7000-8000-000000000000", b"", 404, "not_found");
    check("POST /v1/projects/x/restart", b"", 404, "not_found");
    check("POST /v1/projects/x/up", b"{}", 415, "unsupported_media_type");
    check("PUT /v1/contexts/abc", b"", 400, "bad_request");
    let json = "\r\ncontent-type: application/json";
    let with_type = |head: &str, body: &[u8], status: u16, code: &str| {
        let (found, headers, answer) = agent.request(&format!("{head} HTTP/1.1{json}"), body);
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{headers} {answer}");
    };
    with_type("POST /v1/projects/x/up", b"{", 400, "bad_json");
    with_type("POST /v1/projects/x/up", b"{\"bundel\": 1}", 400, "bad_json");
    with_type("POST /v1/projects/x/down", b"{\"volume\": true}", 400, "bad_json");
    with_type("POST /v1/contexts/wanted", &vec![b' '; (1 << 20) + 1], 413, "too_large");
}

#[test]
fn the_api_describes_itself() {
    let agent = Agent::start("");
    let (status, _, served) = agent.request("GET /v1/openapi.json HTTP/1.1", b"");
    assert_eq!(status, 200);
    let kept: serde_json::Value =
        serde_json::from_str(include_str!("../docs/openapi.json")).unwrap();
    assert!(served == kept, "docs/openapi.json is not what is served");
}

#[test]
fn a_closed_pipe_ends_the_client_quietly() {
    let agent = Agent::start("");
    for args in [&["audit", "ls"][..], &["config", "keys"], &["completions", "bash"], &["--help"]] {
        let mut child =
            agent.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn codes_tell_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("wrong.yaml"), "state_dri: /x\n").unwrap();
    std::fs::write(path.join("right.yaml"), "state_dir: /x\n").unwrap();
    std::fs::create_dir(path.join("empty")).unwrap();
    std::fs::create_dir(path.join("project")).unwrap();
    std::fs::write(path.join("project/compose.yaml"), "services: {web: {imag: x}}\n").unwrap();
    let check = |folder: &str, args: &[&str], code: i32, word: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(args)
            .current_dir(path.join(folder))
            .env("WHARF_SOCKET", path.join("nobody.sock"))
            .output()
            .unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    };
    check("", &["upp"], 64, "unrecognized subcommand 'upp'");
    check("", &["config", "check", "right.yaml"], 0, "right.yaml: valid");
    check("", &["config", "check", "wrong.yaml"], 78, "wrong.yaml:1:1: unknown key `state_dri`");
    check("", &["config", "check", "wrong.yaml"], 78, "did you mean `state_dir`?");
    check("", &["config", "check", "absent.yaml"], 66, "absent.yaml");
    check("", &["agent", "--config", "wrong.yaml"], 78, "unknown key");
    check("", &["run", "ls"], 69, "no agent answers at");
    check("", &["doctor"], 1, "nobody.sock");
    check("project", &["up"], 65, "compose.yaml:1:18");
    check("project", &["compose", "config"], 65, "did you mean `image`?");
    check("empty", &["up"], 66, "compose.yaml");
    check("", &["--version"], 0, "wharf 0.1.0");
}

#[test]
fn errors_are_json_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.yaml"), "state_dri: /x\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["config", "check", "wrong.yaml", "--format", "json"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["exit_code"], 78);
    assert_eq!(error["error"]["diagnostics"][0]["location"]["line"], 1);
}

#[test]
fn logs_are_json_when_asked_for() {
    let mut agent = Agent::start("log: {format: json}\n");
    agent.stop();
    let log = std::fs::File::open(agent.log_path()).unwrap();
    for line in BufReader::new(log).lines() {
        let line = line.unwrap();
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(fields["message"].is_string() && fields["level"].is_string(), "{line}");
    }
}
