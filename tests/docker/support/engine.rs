//! The engine that the tests use, and what they ask of it directly, past the agent.

use std::path::PathBuf;
use std::process::{Command, Output};

/// The engine's Unix socket. No engine is a failure with its reason, never a skip.
pub fn socket() -> PathBuf {
    let address = std::env::var("DOCKER_HOST").unwrap_or_default();
    let path = match address.strip_prefix("unix://") {
        Some(path) => PathBuf::from(path),
        None if address.is_empty() => PathBuf::from("/var/run/docker.sock"),
        None => panic!("these tests need an engine on a Unix socket, not {address}"),
    };
    assert!(
        path.exists(),
        "no Docker Engine at {}: run the tests through `make test`, which starts one",
        path.display()
    );
    path
}

/// Runs the `docker` client against the engine and returns what it printed.
pub fn docker(args: &[&str]) -> Output {
    Command::new("docker")
        .env("DOCKER_HOST", format!("unix://{}", socket().display()))
        .args(args)
        .output()
        .expect("the docker client can be run")
}

/// The same, trimmed; panics when the client fails.
pub fn docker_text(args: &[&str]) -> String {
    let output = docker(args);
    assert!(
        output.status.success(),
        "docker {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Ids of the containers of a project, running or not.
pub fn containers_of(project: &str) -> Vec<String> {
    let filter = format!("label=com.docker.compose.project={project}");
    docker_text(&["ps", "-aq", "--no-trunc", "--filter", &filter])
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Removes everything of a project: containers, networks and volumes.
pub fn remove_project(project: &str) {
    remove_marked(&format!("com.docker.compose.project={project}"));
}

/// Removes everything with a label: containers, networks and volumes.
pub fn remove_marked(label: &str) {
    let filter = format!("label={label}");
    for id in docker_text(&["ps", "-aq", "--no-trunc", "--filter", &filter]).lines() {
        let _ = docker(&["rm", "-fv", id]);
    }
    for kind in ["network", "volume"] {
        let listed = docker(&[kind, "ls", "-q", "--filter", &filter]);
        for name in String::from_utf8_lossy(&listed.stdout).lines() {
            let _ = docker(&[kind, "rm", name]);
        }
    }
}

/// The image that every test container runs: a static busybox.
pub fn busybox() -> String {
    image("BUSYBOX_IMAGE")
}

/// One of the images that were made for the tests, such as `REDIS_IMAGE`.
pub fn image(variable: &str) -> String {
    let variable = format!("WHARF_TEST_{variable}");
    std::env::var(&variable)
        .unwrap_or_else(|_| panic!("{variable} names no image: run the tests through `make test`"))
}
