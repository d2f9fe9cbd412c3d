//! Hooks on a real engine: as whom and where they are executed, what follows one that fails, and
//! what is left of them when a container goes.

use crate::support::agent::{Agent, text};
use crate::support::engine;
use crate::support::project::Project;

/// Each hook adds a line to a file in the volume, which outlasts the containers.
const HOOKED: &str = r#"
services:
  web:
    image: @IMAGE@
    command: [sleep, "3600"]
    init: true
    stop_grace_period: 1s
    user: "7"
    environment: {COLOUR: red}
    volumes: [data:/data]
    post_start:
      - command: sh -c 'echo "started $$(id -u) $$(pwd) $$COLOUR $$OWN" >> /data/log; chmod 666 /data/log'
        user: root
        working_dir: /data
        environment: {OWN: "two words"}
      - command: sh -c 'echo "ready $$(id -u)" >> log'
        working_dir: /data
    pre_stop:
      - command: sh -c 'echo "stopping $$COLOUR" >> /data/log'
volumes: {data: {}}
"#;

const STARTED: [&str; 2] = ["started 0 /data red two words", "ready 7"];

fn begin(folder: &std::path::Path, name: &str, compose: &str) -> (Agent, Project) {
    let mut agent = Agent::new(folder, &engine::socket(), "");
    agent.start();
    (agent, Project::new(name, compose))
}

/// The lines that the hooks wrote since the last look.
fn lines(project: &Project) -> Vec<String> {
    let volume = format!("{}_data:/data", project.name);
    let look = "cat /data/log; : > /data/log";
    let image = engine::busybox();
    let found = engine::docker_text(&["run", "--rm", "-v", &volume, &image, "sh", "-c", look]);
    found.lines().map(str::to_owned).collect()
}

#[test]
fn hooks_are_executed_as_declared_around_every_start_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, project) = begin(folder.path(), "wharfhooks-life", HOOKED);
    agent.must(&project, "up", &[]);
    assert_eq!(lines(&project), STARTED);
    agent.must(&project, "up", &[]);
    assert_eq!(lines(&project), [""; 0], "nothing was started");

    agent.must(&project, "restart", &[]);
    assert_eq!(lines(&project), ["stopping red", STARTED[0], STARTED[1]]);

    // Made anew: the old one is told to stop, in its own environment, before the new one starts.
    project.write("compose.yaml", &HOOKED.replace("COLOUR: red", "COLOUR: blue"));
    agent.must(&project, "up", &[]);
    let blue = STARTED[0].replace("red", "blue");
    assert_eq!(lines(&project), ["stopping red", &blue, STARTED[1]]);

    // Past the agent nothing is hooked; the start that follows is.
    engine::docker_text(&["stop", "wharfhooks-life-web-1"]);
    assert_eq!(lines(&project), [""; 0]);
    agent.must(&project, "up", &[]);
    assert_eq!(lines(&project), [&blue, STARTED[1]]);

    agent.must(&project, "down", &[]);
    assert_eq!(lines(&project), ["stopping blue"]);
}

#[test]
fn a_start_hook_that_fails_fails_the_up_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let broken = HOOKED.replace("echo \"ready $$(id -u)\" >> log", "echo no disk >&2; exit 3");
    let dependent = "  after:\n    image: @IMAGE@\n    command: [sleep, '3600']\n    \
                     init: true\n    depends_on: [web]\nvolumes:";
    let broken = broken.replace("volumes: {data", &format!("{dependent} {{data"));
    let (agent, project) = begin(folder.path(), "wharfhooks-start", &broken);
    let failed = agent.on(&project, "up", &[]);
    let told = text(&failed.stdout) + &text(&failed.stderr);
    assert!(!failed.status.success(), "{told}");
    let why =
        "post_start[1] of service web failed: it exited with status 3; its last words: no disk";
    assert!(told.contains(why) && told.contains("`wharf restart web`"), "{told}");
    assert!(told.contains("container.hook_failed"), "{told}");
    let state = ["inspect", "-f", "{{.State.Running}}"];
    let runs = |name: &str| engine::docker_text(&[&state[..], &[name]].concat());
    assert_eq!(runs("wharfhooks-start-web-1"), "true");
    assert_eq!(runs("wharfhooks-start-after-1"), "false", "it waits for the hooks");
    assert_eq!(lines(&project), STARTED[..1]);

    // A program that is not there, and a user that is not there.
    for (hook, why) in [
        ("command: no-such-program", "post_start[0] of service web failed"),
        ("{command: 'true', user: nobody-at-all}", "post_start[0] of service web failed"),
    ] {
        let compose = format!(
            "services:\n  web:\n    image: @IMAGE@\n    init: true\n    stop_grace_period: 1s\n    \
             command: [sleep, '3600']\n    post_start:\n      - {hook}\n"
        );
        agent.must(&project, "down", &[]);
        project.write("compose.yaml", &compose);
        let failed = agent.on(&project, "up", &[]);
        let told = text(&failed.stdout) + &text(&failed.stderr);
        assert!(!failed.status.success() && told.contains(why), "{told}");
        assert!(told.contains("container.hook_failed"), "{told}");
    }
}

#[test]
fn a_stop_hook_that_fails_does_not_keep_a_container_from_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let broken = HOOKED.replace("echo \"stopping $$COLOUR\" >> /data/log", "exit 5");
    let (agent, project) = begin(folder.path(), "wharfhooks-stop", &broken);
    agent.must(&project, "up", &[]);
    let down = agent.on(&project, "down", &[]);
    let told = text(&down.stdout) + &text(&down.stderr);
    assert!(down.status.success(), "{told}");
    assert!(told.contains("pre_stop[0] of service web failed: it exited with status 5"), "{told}");
    assert_eq!(engine::containers_of(&project.name), [""; 0]);
}

/// What a hook may do that has all capabilities, which its container has not.
#[test]
fn a_privileged_hook_has_every_capability() {
    let folder = tempfile::tempdir().unwrap();
    let hook = "{command: 'sh -c \"grep CapEff /proc/self/status > /data/@\"', user: root";
    let compose = HOOKED[..HOOKED.find("    post_start").unwrap()].to_owned()
        + "    cap_drop: [ALL]\n    post_start:\n      - "
        + &hook.replace('@', "plain")
        + "}\n      - "
        + &hook.replace('@', "all")
        + ", privileged: true}\nvolumes: {data: {}}\n";
    let (agent, project) = begin(folder.path(), "wharfhooks-all", &compose);
    let up = agent.on(&project, "up", &[]);
    if !up.status.success() {
        // An engine that is shut in itself cannot give what it has not, and says so of that hook.
        let told = text(&up.stdout) + &text(&up.stderr);
        assert!(told.contains("post_start[1] of service web failed"), "{told}");
        assert!(told.contains("unable to apply caps"), "{told}");
        println!("hooks: this engine may not give every capability, and was asked to");
        return;
    }
    let volume = format!("{}_data:/data", project.name);
    let image = engine::busybox();
    let look = ["run", "--rm", "-v", &volume, &image, "sh", "-c", "cat /data/plain /data/all"];
    let found = engine::docker_text(&look);
    let sets: Vec<u64> = found
        .lines()
        .map(|line| u64::from_str_radix(line.trim_start_matches("CapEff:").trim(), 16).unwrap())
        .collect();
    assert_eq!(sets[0], 0, "{found}");
    assert!(sets[1].count_ones() > 14, "more than the engine gives by itself: {found}");
}
