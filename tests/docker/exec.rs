//! Commands in containers on a real engine: both streams, what they end with, a terminal, what is
//! recorded and what is not.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;
use crate::support::project::Project;

const ONE: &str = "services:\n  web:\n    image: @IMAGE@\n    init: true\n    \
                   command: [sleep, '3600']\n";

fn started(folder: &std::path::Path, name: &str) -> (Agent, Project) {
    let mut agent = Agent::new(folder, &engine::socket(), "");
    agent.start();
    let project = Project::new(name, ONE);
    agent.must(&project, "up", &[]);
    (agent, project)
}

#[test]
fn a_command_has_its_streams_its_end_and_its_place_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, project) = started(folder.path(), "wharfexec-plain");
    let exec = |options: &[&str], command: &[&str], input: &str| {
        let mut words = vec!["exec", "-p", &project.name];
        words.extend(options);
        words.extend(["web", "--"]);
        words.extend(command);
        agent.wharf_told(&words, input)
    };
    let done = exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 3"], "");
    assert_eq!(done.status.code(), Some(3), "{}", text(&done.stderr));
    assert_eq!((text(&done.stdout), text(&done.stderr)), ("out\n".into(), "err\n".into()));

    // More than any buffer on the way holds, while the command writes as it reads.
    let large: String = (0..400_000).map(|n| format!("{n}\n")).collect();
    let done = exec(&[], &["cat"], &large);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout) == large, "{} of {} bytes", done.stdout.len(), large.len());

    let words = ["sh", "-c", "echo $SECRET $(id -u) $(pwd)"];
    let done = exec(&["-e", "SECRET=hunter2hunter2", "-u", "7", "-w", "/tmp"], &words, "");
    assert_eq!(text(&done.stdout), "hunter2hunter2 7 /tmp\n", "{}", text(&done.stderr));

    let missing = exec(&[], &["no-such-program"], "");
    assert!(matches!(missing.status.code(), Some(126 | 127)), "{:?}", missing.status);
    let nowhere = agent.wharf(&["exec", "-p", &project.name, "job", "--", "true"]);
    assert_eq!(nowhere.status.code(), Some(66), "{}", text(&nowhere.stderr));
    let log = agent.json(&["audit", "ls", "--limit", "200"]).to_string();
    let told = |word: &str| log.matches(word).count();
    assert_eq!((told("project_exec.started"), told("project_exec.completed")), (4, 4), "{log}");
    assert!(log.contains("`sh` in web/1") && log.contains("ended with 3"), "{log}");
    assert!(!log.contains("hunter2") && !log.contains("exit 3"), "arguments are recorded: {log}");
    assert!(!agent.log().contains("hunter2hunter2"), "{}", agent.log());
    println!("exec: {} bytes through and back, 4 commands recorded", large.len());
}

#[test]
fn a_client_that_leaves_ends_its_session_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, project) = started(folder.path(), "wharfexec-leave");
    let mut client = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["exec", "-p", &project.name, "web", "--", "sh", "-c", "echo begun; sleep 600"])
        .env("WHARF_SOCKET", agent.state_dir.join("wharf.sock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut begun = [0; 6];
    client.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"begun\n");
    client.kill().unwrap();
    client.wait().unwrap();
    wait_until("the end of the session is recorded", || {
        agent.json(&["audit", "ls"]).to_string().contains("project_exec.failed")
    });
}

#[test]
fn a_terminal_is_a_terminal_on_both_sides_and_follows_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, project) = started(folder.path(), "wharfexec-tty");
    // `script` gives the client a terminal of its own.
    let socket = agent.state_dir.join("wharf.sock");
    let wharf = env!("CARGO_BIN_EXE_wharf");
    let line = format!(
        "stty cols 101 rows 33; {wharf} exec -p {} web -- sh -c 'tty; sleep 1; stty size; read x; echo got $x'",
        project.name
    );
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("WHARF_SOCKET", &socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script of bsdutils can be run");
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut seen, start) = (String::new(), Instant::now());
    let mut buffer = [0; 1024];
    let mut is_asked = false;
    while start.elapsed() < Duration::from_secs(30) {
        let length = output.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        if !is_asked && seen.contains("33 101") {
            input.write_all(b"hello\r").unwrap();
            input.flush().unwrap();
            is_asked = true;
        }
    }
    drop(input);
    assert!(child.wait().unwrap().success(), "{seen}");
    assert!(seen.contains("/dev/pts/"), "{seen}");
    assert!(seen.contains("got hello"), "{seen}");
}
