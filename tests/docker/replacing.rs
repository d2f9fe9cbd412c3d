//! Containers make way for their successors on a real engine: one after the other, with the others
//! serving, and back again when the new version fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::agent::{Agent, text};
use crate::support::engine;
use crate::support::project::Project;

/// Three servers that are healthy as soon as they wrote a file, and one that needs a port.
const FLEET: &str = r#"
services:
  web:
    image: @IMAGE@
    init: true
    command: [sh, -c, "touch /tmp/@READY@; exec sleep 3600"]
    environment: {VERSION: one}
    healthcheck: {test: [CMD, test, -f, /tmp/ready], interval: 300ms, timeout: 5s, retries: 3}
    deploy: {replicas: 3, update_config: {order: @ORDER@}}
"#;

fn fleet(version: &str, ready: &str, order: &str) -> String {
    let text = FLEET.replace("VERSION: one", &format!("VERSION: {version}"));
    text.replace("@READY@", ready).replace("@ORDER@", order)
}

/// Ids of the containers by name, of those that run.
fn running(project: &str) -> Vec<String> {
    let label = format!("label=com.docker.compose.project={project}");
    let format = "{{.Names}} {{.ID}}";
    let found = engine::docker_text(&["ps", "--no-trunc", "--filter", &label, "--format", format]);
    let mut lines: Vec<String> = found.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn healthy(project: &str) -> usize {
    let label = format!("label=com.docker.compose.project={project}");
    let args = ["ps", "-q", "--filter", &label, "--filter", "health=healthy"];
    engine::docker_text(&args).lines().count()
}

#[test]
fn replicas_are_replaced_one_after_the_other_and_others_serve() {
    for (order, least) in [("stop-first", 2), ("start-first", 3)] {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("wharfroll-{order}");
        let project = Project::new(&name, &fleet("one", "ready", order));
        let mut agent = Agent::new(folder.path(), &engine::socket(), "");
        agent.start();
        agent.must(&project, "up", &[]);
        let before = running(&name);
        assert_eq!((before.len(), healthy(&name)), (3, 3));
        project.write("compose.yaml", &fleet("two", "ready", order));
        let (is_over, fewest, looks) =
            (AtomicBool::new(false), AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    fewest.fetch_min(healthy(&name), Ordering::SeqCst);
                    looks.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
            let output = agent.on(&project, "up", &[]);
            is_over.store(true, Ordering::SeqCst);
            assert!(output.status.success(), "{}", agent.log());
        });
        let (fewest, looks) = (fewest.into_inner(), looks.into_inner());
        println!("{order}: never fewer than {fewest} of 3 healthy, in {looks} looks");
        assert!(looks > 10 && fewest >= least, "{order}: {fewest} healthy at worst");
        let after = running(&name);
        assert_eq!(after.len(), 3, "{after:?}");
        assert!(after.iter().all(|line| !before.contains(line)), "{before:?} {after:?}");
        assert_eq!(healthy(&name), 3);
    }
}

#[test]
fn a_version_that_fails_gives_back_and_the_old_one_serves() {
    for order in ["stop-first", "start-first"] {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("wharfback-{order}");
        let project = Project::new(&name, &fleet("one", "ready", order));
        let mut agent = Agent::new(folder.path(), &engine::socket(), "");
        agent.start();
        agent.must(&project, "up", &[]);
        let before = running(&name);
        project.write("compose.yaml", &fleet("two", "never", order));
        let output = agent.on(&project, "up", &[]);
        assert!(!output.status.success());
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(said.contains("unhealthy"), "{said}");
        assert_eq!(running(&name), before, "{said}");
        let all = engine::containers_of(&name);
        assert_eq!(all.len(), 3, "{all:?}");
        // The agent looks at once when it starts, and leaves what failed to who asks.
        agent.stop();
        agent.start();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(running(&name), before);
        let file = project.file();
        let plan = agent.json(&["plan", "-f", file.to_str().unwrap(), "-p", &name]);
        assert_eq!(plan["summary"], serde_json::json!({"replace": 3}), "{plan}");
        project.write("compose.yaml", &fleet("three", "ready", order));
        agent.must(&project, "up", &[]);
        assert_eq!(healthy(&name), 3);
    }
}

#[test]
fn the_old_one_is_kept_until_the_new_one_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let name = "wharfkept";
    let compose = |version: &str| {
        let one = fleet(version, "ready", "stop-first").replace("replicas: 3", "replicas: 1");
        // Healthy after two seconds.
        one.replace("touch", "sleep 2; touch").replace("retries: 3", "retries: 60")
    };
    let project = Project::new(name, &compose("one"));
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    agent.must(&project, "up", &[]);
    project.write("compose.yaml", &compose("two"));
    let seen = AtomicBool::new(false);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                let label = format!("label=com.docker.compose.project={name}");
                let format = "{{.Names}} {{.State}}";
                let args = ["ps", "-a", "--filter", &label, "--format", format];
                let found = engine::docker_text(&args);
                let is_kept =
                    found.lines().any(|line| line.contains("_kept_wharfkept-web-1 exited"));
                let is_new = found.lines().any(|line| line == "wharfkept-web-1 running");
                if is_kept && is_new {
                    seen.store(true, Ordering::SeqCst);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let output = agent.on(&project, "up", &[]);
        is_over.store(true, Ordering::SeqCst);
        assert!(output.status.success(), "{}", agent.log());
    });
    assert!(seen.into_inner(), "the old one was never seen beside the new one");
    assert_eq!(engine::containers_of(name).len(), 1);
}
