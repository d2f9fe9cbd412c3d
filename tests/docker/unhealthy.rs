//! A container whose health check fails on command: told of, restarted where its service says so, and
//! given up with an alert; also when the agent dies meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;
use crate::support::project::Project;

/// Each start writes a line; the file `sick` makes it unhealthy, whenever it is started.
const SICK: &str = "
services:
  web:
    image: @IMAGE@
    init: true
    command: [sh, -c, 'echo started >> /state/starts; exec sleep 3600']
    volumes: [state:/state]
    healthcheck: {test: [CMD-SHELL, 'test ! -e /state/sick'], interval: 1s, retries: 1}
    x-wharfinger: {on_unhealthy: restart, max_restarts: 2}
  calm:
    image: @IMAGE@
    init: true
    command: [sleep, '3600']
    healthcheck: {test: [CMD-SHELL, 'test ! -e /tmp/sick'], interval: 1s, retries: 1}
volumes: {state: {}}
";

/// Answers every delivery, and keeps what it said.
fn webhook() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    let answers = move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
            // The body is JSON and ends with its last brace.
            while !said.ends_with(b"}") {
                match stream.read(&mut buffer) {
                    Ok(length) if length > 0 => said.extend_from_slice(&buffer[..length]),
                    _ => break,
                }
            }
            kept.lock().unwrap().push(text(&said));
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        }
    };
    std::thread::Builder::new().name("webhook".to_owned()).spawn(answers).unwrap();
    (address, heard)
}

fn starts(name: &str) -> usize {
    let output = engine::docker(&["exec", name, "cat", "/state/starts"]);
    text(&output.stdout).lines().count()
}

fn heard_of(heard: &Mutex<Vec<String>>, word: &str) -> usize {
    heard.lock().unwrap().iter().filter(|said| said.contains(word)).count()
}

#[test]
fn an_unhealthy_container_is_restarted_with_pauses_and_given_up_with_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let (address, heard) = webhook();
    let project = Project::new("wharfheal", SICK);
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    for words in [
        vec!["alert", "add-receiver", "desk", "--url", &address],
        vec!["alert", "add-rule", "health", "--to", "desk", "--event", "instances.*"],
    ] {
        let made = agent.wharf(&words);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    agent.must(&project, "up", &[]);
    assert_eq!(starts("wharfheal-web-1"), 1);

    // A service that says nothing is told of, and left as it is.
    engine::docker_text(&["exec", "wharfheal-calm-1", "touch", "/tmp/sick"]);
    wait_until("the unhealthy container is told of", || {
        heard_of(&heard, "instances.unhealthy") == 1
    });

    engine::docker_text(&["exec", "wharfheal-web-1", "touch", "/state/sick"]);
    wait_until("it is restarted", || starts("wharfheal-web-1") == 2);
    // What the agent knows of its tries is with its runs.
    agent.kill();
    agent.start();
    wait_until("it is restarted again", || starts("wharfheal-web-1") == 3);
    wait_until("it is given up", || heard_of(&heard, "instances.not_healed") == 1);
    agent.kill();
    agent.start();
    // The agent has looked again when it tells of something that came later.
    engine::docker_text(&["restart", "-t", "0", "wharfheal-calm-1"]);
    engine::docker_text(&["exec", "wharfheal-calm-1", "touch", "/tmp/sick"]);
    wait_until("the next time is told of", || heard_of(&heard, "instances.unhealthy") == 2);
    assert_eq!(starts("wharfheal-web-1"), 3, "two restarts, and no more");
    assert_eq!(heard_of(&heard, "instances.not_healed"), 1, "told once");
    let runs = agent.json(&["run", "ls", "--limit", "100"]);
    let runs = runs["items"].as_array().unwrap().iter();
    let runs: Vec<_> = runs.filter(|run| run["type"] == "heal_instance").collect();
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert!(runs.iter().all(|run| run["outcome"] == "succeeded"), "{runs:?}");
    println!("unhealthy: 2 restarts as runs, over 2 kills of the agent; told once of giving up");
}
