//! Bad input and bad days: each gives an error that names the place and the remedy, loses nothing
//! and leaves nothing half-recorded.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;
use crate::support::private_engine::PrivateEngine;
use crate::support::project::{FIVE_SERVICES, Project};

/// Exit status and error text must say all of `words`.
fn refused(output: &Output, words: &[&str]) {
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(!output.status.success(), "accepted: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "the error does not say {word:?}:\n{said}");
    }
}

/// What a user's file can get wrong, and the place and remedy that the error must name.
#[test]
fn bad_files_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let cases: &[(&str, &[&str])] = &[
        ("services:\n  web: [\n", &["compose.yaml:"]),
        ("services:\n  web:\n    imag: x\n", &["compose.yaml:3:5", "imag", "image"]),
        (
            "services:\n  a: {image: @IMAGE@, depends_on: [b]}\n  b: {image: @IMAGE@, depends_on: [a]}\n",
            &["compose.yaml:", "cycle", "a", "b"],
        ),
        (
            "services:\n  web:\n    image: ${WHARF_NOT_SET:?set it in .env}\n",
            &["compose.yaml:3:", "WHARF_NOT_SET", "set it in .env"],
        ),
        (
            "services:\n  web:\n    image: @IMAGE@\n    env_file: [missing.env]\n",
            &["compose.yaml:4:", "missing.env"],
        ),
        (
            "services:\n  web: {image: @IMAGE@}\n  web: {image: @IMAGE@}\n",
            &["compose.yaml:3:3", "web"],
        ),
    ];
    for (compose, words) in cases {
        let project = Project::new("wharfbad-file", compose);
        refused(&agent.on(&project, "up", &[]), words);
    }
    let runs = agent.json(&["run", "ls"]);
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(0), "a refused file made a run");
}

#[test]
fn unreadable_env_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let compose = "services:\n  web:\n    image: @IMAGE@\n    env_file: [secret.env]\n";
    let project = Project::new("wharfbad-env", compose);
    // Root reads every file, so the unreadable one is a folder.
    std::fs::create_dir(project.dir.path().join("secret.env")).unwrap();
    refused(&agent.on(&project, "up", &[]), &["compose.yaml:4:", "secret.env"]);
}

#[test]
fn missing_image_fails_the_run_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let compose = "services:\n  good:\n    image: @IMAGE@\n    command: [sleep, '3600']\n    init: true\n  \
                   bad:\n    image: wharfbad/absent:1.0\n    pull_policy: never\n";
    let project = Project::new("wharfbad-image", compose);
    refused(&agent.on(&project, "up", &[]), &["wharfbad/absent:1.0", "bad"]);
    let run = last_run(&agent);
    assert_eq!(run["status"], "completed");
    assert_ne!(run["outcome"], "succeeded");
    project.write("compose.yaml", &compose.replace("wharfbad/absent:1.0", "@IMAGE@"));
    agent.must(&project, "up", &[]);
}

#[test]
fn port_in_use_is_named_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let compose = format!(
        "services:\n  web:\n    image: @IMAGE@\n    init: true\n    command: [sleep, '3600']\n    \
         ports: ['127.0.0.1:{port}:80']\n"
    );
    let project = Project::new("wharfbad-port", &compose);
    refused(&agent.on(&project, "up", &[]), &[&port.to_string(), "web", "port"]);
    drop(taken);
    agent.must(&project, "up", &[]);
    assert_eq!(agent.on(&project, "plan", &[]).status.code(), Some(0));
}

#[test]
fn failed_container_shows_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let compose = "services:\n  job:\n    image: @IMAGE@\n    command: [sh, -c, 'echo no such table; exit 3']\n  \
                   web:\n    image: @IMAGE@\n    command: [sleep, '3600']\n    \
                   depends_on: {job: {condition: service_completed_successfully}}\n";
    let project = Project::new("wharfbad-job", compose);
    refused(&agent.on(&project, "up", &[]), &["job", "3", "no such table"]);
}

#[test]
fn engine_down_is_said_and_the_agent_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &folder.path().join("nobody.sock"), "");
    agent.start();
    let project = Project::new("wharfbad-down", FIVE_SERVICES);
    refused(&agent.on(&project, "plan", &[]), &["nobody.sock"]);
    let doctor = agent.wharf(&["doctor"]);
    refused(&doctor, &["engine", "nobody.sock"]);
    assert!(agent.exited().is_none(), "the agent ended:\n{}", agent.log());
}

#[test]
fn run_survives_a_restart_of_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = PrivateEngine::start(&folder.path().join("engine"));
    let mut agent = Agent::new(folder.path(), &engine.socket(), "");
    agent.start();
    let project = Project::new("wharfbad-restart", FIVE_SERVICES);
    let up = agent.on(&project, "up", &["--detach", "--format", "json"]);
    assert!(up.status.success(), "{}", text(&up.stderr));
    wait_until("the deploy is under way", || !engine.containers().is_empty());
    engine.restart();
    wait_until("the run ended", || last_run(&agent)["status"] == "completed");
    assert_eq!(last_run(&agent)["outcome"], "succeeded", "{}", agent.log());
    wait_until("nothing is left to do", || {
        agent.on(&project, "plan", &[]).status.code() == Some(0)
    });
}

#[test]
fn full_disk_is_said_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let small = SmallDisk::mount(&folder.path().join("small"), "3m");
    let mut agent = Agent::new(&small.path, &engine::socket(), "");
    agent.start();
    let project = Project::new("wharfbad-disk", FIVE_SERVICES);
    agent.must(&project, "up", &[]);
    let before = agent.json(&["run", "ls"])["items"].as_array().map(Vec::len);
    small.fill();
    project.write("compose.yaml", &FIVE_SERVICES.replace("MODE: proof", "MODE: full"));
    refused(&agent.on(&project, "up", &[]), &["disk", "space"]);
    assert!(agent.exited().is_none(), "the agent ended:\n{}", agent.log());
    small.empty();
    assert_eq!(agent.json(&["run", "ls"])["items"].as_array().map(Vec::len), before);
    agent.must(&project, "up", &[]);
    assert!(agent.stop().success());
}

fn last_run(agent: &Agent) -> serde_json::Value {
    agent.json(&["run", "ls", "--type", "deploy_project"])["items"][0].clone()
}

/// A tmpfs that can be filled.
struct SmallDisk {
    path: std::path::PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path, size: &str) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success(), "a tmpfs can be mounted (root is needed)");
        Self { path: path.to_owned() }
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.path.join("ballast")).unwrap();
        let block = [0_u8; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.path.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
