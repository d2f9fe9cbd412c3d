//! What the agent keeps and what it leaves alone on a real engine: services that nobody asked for,
//! another agent's project, a frozen container, a registry that does not answer, anonymous volumes.

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;
use crate::support::project::Project;

const ONE: &str = "services:\n  web:\n    image: @IMAGE@\n    init: true\n    \
                   command: [sleep, '3600']\n";

const THREE: &str = "
x-idle: &idle {image: @IMAGE@, init: true, command: [sleep, '3600']}
services:
  db: {<<: *idle}
  other: {<<: *idle}
  web: {<<: *idle, depends_on: [db]}
";

fn state(name: &str) -> String {
    let output = engine::docker(&["inspect", "-f", "{{.State.Status}}", name]);
    text(&output.stdout).trim().to_owned()
}

fn started(folder: &std::path::Path) -> Agent {
    let mut agent = Agent::new(folder, &engine::socket(), "");
    agent.start();
    agent
}

#[test]
fn only_the_services_that_were_asked_for_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfkeep-part", THREE);
    let agent = started(folder.path());
    agent.must(&project, "up", &["web"]);
    // The watcher has looked at the whole project when a removed container is back.
    engine::docker_text(&["rm", "-f", "wharfkeep-part-db-1"]);
    wait_until("the dependency is back", || state("wharfkeep-part-db-1") == "running");
    assert_eq!(state("wharfkeep-part-other-1"), "", "nobody asked for it");
    agent.must(&project, "up", &["other"]);
    engine::docker_text(&["rm", "-f", "wharfkeep-part-web-1"]);
    wait_until("what was asked for before is back", || state("wharfkeep-part-web-1") == "running");
    assert_eq!(engine::containers_of(&project.name).len(), 3);
}

#[test]
fn another_agents_project_is_refused_until_it_is_adopted() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let project = Project::new("wharfkeep-two", ONE);
    let ours = started(first.path());
    let theirs = started(second.path());
    ours.must(&project, "up", &[]);
    let before = engine::containers_of(&project.name);
    let refused = theirs.on(&project, "up", &[]);
    let said = format!("{}{}", text(&refused.stdout), text(&refused.stderr));
    assert_eq!(refused.status.code(), Some(4), "blocked: {said}");
    assert!(said.contains("another agent") && said.contains("--adopt"), "{said}");
    let down = theirs.wharf(&["down", "-p", &project.name, "--volumes"]);
    assert_eq!(down.status.code(), Some(4), "{}", text(&down.stdout));
    assert_eq!(engine::containers_of(&project.name), before, "the refused agent touched it");

    theirs.must(&project, "up", &["--adopt"]);
    let after = engine::containers_of(&project.name);
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    assert_eq!(ours.on(&project, "up", &[]).status.code(), Some(4), "it is theirs now");
    assert_eq!(theirs.on(&project, "plan", &[]).status.code(), Some(0));
}

#[test]
fn a_frozen_container_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfkeep-froze", ONE);
    let agent = started(folder.path());
    agent.must(&project, "up", &[]);
    let before = engine::docker_text(&["inspect", "-f", "{{.State.Pid}}", "wharfkeep-froze-web-1"]);
    engine::docker_text(&["pause", "wharfkeep-froze-web-1"]);
    wait_until("it goes on", || state("wharfkeep-froze-web-1") == "running");
    let after = engine::docker_text(&["inspect", "-f", "{{.State.Pid}}", "wharfkeep-froze-web-1"]);
    assert_eq!(after, before, "the program was not restarted");
}

#[test]
fn a_registry_that_does_not_answer_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let image = "127.0.0.1:9/wharfkeep/always:1";
    engine::docker_text(&["tag", &engine::busybox(), image]);
    let missing = ONE.replace("@IMAGE@", image);
    let project = Project::new("wharfkeep-always", &missing);
    let agent = started(folder.path());
    agent.must(&project, "up", &[]);
    let before = engine::containers_of(&project.name);
    project.write("compose.yaml", &format!("{missing}    pull_policy: always\n"));
    assert_eq!(agent.on(&project, "plan", &[]).status.code(), Some(0), "asking is no change");
    let refused = agent.on(&project, "up", &[]);
    let said = format!("{}{}", text(&refused.stdout), text(&refused.stderr));
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("pull_policy: missing"), "{said}");
    assert_eq!(engine::containers_of(&project.name), before, "what runs was touched");
    drop(project);
    engine::docker_text(&["rmi", image]);
}

#[test]
fn a_killed_removal_leaves_no_anonymous_volume_behind() {
    let folder = tempfile::tempdir().unwrap();
    let compose = format!("{ONE}    volumes: [/cache]\n");
    let mut killed = 0;
    // Engine calls of a removal: the kills come from its first look to its end.
    for at in 1..=24 {
        let project = Project::new("wharfkeep-doomed", &compose);
        let mut agent = started(folder.path());
        agent.must(&project, "up", &[]);
        let format = "{{range .Mounts}}{{.Name}}{{end}}";
        let volume = engine::docker_text(&["inspect", "-f", format, "wharfkeep-doomed-web-1"]);
        agent.stop();
        agent.set_env("WHARF_CRASH_AT", &(at * 3).to_string());
        agent.spawn();
        let mut is_killed = false;
        wait_until("the removal was asked for or the agent was killed", || {
            let down = ["down", "-p", &project.name, "--volumes", "--detach"];
            is_killed = agent.exited().is_some();
            is_killed || agent.wharf(&down).status.success()
        });
        wait_until("the agent was killed or nothing is left", || {
            is_killed = is_killed || agent.exited().is_some();
            is_killed || engine::containers_of(&project.name).is_empty()
        });
        killed += u32::from(is_killed);
        agent.kill();
        agent.unset_env("WHARF_CRASH_AT");
        agent.start();
        let is_idle = || {
            let runs = agent.json(&["run", "ls", "--status", "queued,running"]);
            runs["items"].as_array().is_some_and(Vec::is_empty)
        };
        wait_until("the interrupted removal has ended", is_idle);
        let down = agent.wharf(&["down", "-p", &project.name, "--volumes"]);
        assert!(down.status.success(), "kill {at}: {}", text(&down.stderr));
        let left = engine::docker(&["volume", "inspect", &volume]);
        assert!(!left.status.success(), "kill {at}: volume {volume} is left");
        agent.stop();
    }
    println!("kills of a removal: {killed} of 24 points tried; no volume left");
    assert!(killed >= 6, "too few kills took place: {killed}");
}
