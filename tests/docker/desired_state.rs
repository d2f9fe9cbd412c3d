//! The agent keeps what was applied: after its own restart, when somebody stops or removes a
//! container, and takes over what Docker Compose's labels mark, without recreating it.

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;
use crate::support::project::Project;

const ONE: &str = "services:\n  web:\n    image: @IMAGE@\n    init: true\n    \
                   command: [sleep, '3600']\n";

fn running(name: &str) -> bool {
    let output = engine::docker(&["inspect", "-f", "{{.State.Running}}", name]);
    text(&output.stdout).trim() == "true"
}

#[test]
fn a_removed_or_stopped_container_comes_back_unless_paused() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfkeep-back", ONE);
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    agent.must(&project, "up", &[]);
    let name = "wharfkeep-back-web-1";
    engine::docker_text(&["rm", "-f", name]);
    wait_until("the removed container is back", || running(name));
    engine::docker_text(&["stop", "-t", "1", name]);
    wait_until("the stopped container runs again", || running(name));

    assert!(agent.wharf(&["pause", "-p", &project.name]).status.success());
    engine::docker_text(&["rm", "-f", name]);
    agent.stop();
    agent.start();
    let project_now = agent.json(&["ps", "-p", &project.name]);
    assert!(!running(name), "a paused project was touched: {project_now}");
    assert!(agent.wharf(&["resume", "-p", &project.name]).status.success());
    wait_until("the resumed project is whole", || running(name));
}

#[test]
fn what_happened_while_the_agent_was_away_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfkeep-away", ONE);
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    agent.must(&project, "up", &[]);
    agent.kill();
    engine::docker_text(&["rm", "-f", "wharfkeep-away-web-1"]);
    agent.start();
    wait_until("the container is back", || running("wharfkeep-away-web-1"));
}

#[test]
fn a_foreign_compose_project_is_adopted_without_a_recreate() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfkeep-adopt", ONE);
    let label = |key: &str, value: &str| format!("com.docker.compose.{key}={value}");
    let network = "wharfkeep-adopt_default";
    let labels = [
        label("project", "wharfkeep-adopt"),
        label("service", "web"),
        label("container-number", "1"),
        label("oneoff", "False"),
        label("config-hash", "made-by-somebody-else"),
    ];
    engine::docker_text(&[
        "network",
        "create",
        "--label",
        &labels[0],
        "--label",
        &label("network", "default"),
        network,
    ]);
    let mut args = vec!["run", "-d", "--name", "wharfkeep-adopt-web-1", "--init"];
    for label in &labels {
        args.extend(["--label", label]);
    }
    let image = engine::busybox();
    args.extend(["--network", network, "--network-alias", "web", &image, "sleep", "3600"]);
    let id = engine::docker_text(&args);

    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let said = agent.must(&project, "up", &[]);
    assert_eq!(engine::containers_of(&project.name), [id], "the container was recreated: {said}");
    assert_eq!(agent.on(&project, "plan", &[]).status.code(), Some(0), "adopted, nothing to do");
    let audit = agent.wharf(&["audit", "ls"]);
    assert!(text(&audit.stdout).contains("adopted"), "{}", text(&audit.stdout));
}

#[test]
fn a_deleted_database_is_said_and_nothing_is_recreated() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfkeep-db", ONE);
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    agent.must(&project, "up", &[]);
    let before = engine::containers_of(&project.name);
    agent.kill();
    for file in std::fs::read_dir(&agent.state_dir).unwrap() {
        let path = file.unwrap().path();
        if path.to_string_lossy().contains(".db") {
            std::fs::remove_file(path).unwrap();
        }
    }
    agent.start();
    agent.must(&project, "up", &[]);
    assert_eq!(engine::containers_of(&project.name), before);
}

#[test]
fn a_service_of_another_profile_is_no_orphan() {
    let folder = tempfile::tempdir().unwrap();
    let compose = "services:\n  web: {image: @IMAGE@, init: true, command: [sleep, '3600']}\n  \
                   debug: {image: @IMAGE@, init: true, command: [sleep, '3600'], profiles: [dev]}\n";
    let project = Project::new("wharfkeep-profile", compose);
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    agent.must(&project, "up", &["--profile", "dev"]);
    agent.must(&project, "up", &[]);
    assert!(running("wharfkeep-profile-debug-1"), "a service of an inactive profile was removed");
}
