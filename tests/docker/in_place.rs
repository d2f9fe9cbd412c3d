//! Limits change on a container that goes on: same id, same process, same start.

use crate::support::agent::{Agent, wait_until};
use crate::support::engine;
use crate::support::project::Project;

const LIMITED: &str = "services:\n  web:\n    image: @IMAGE@\n    init: true\n    \
                       command: [sleep, '3600']\n    mem_limit: 64m\n    cpus: 0.5\n";

/// Everything that a recreate or a restart would change.
fn life(name: &str) -> String {
    let life = "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}";
    engine::docker_text(&["inspect", "-f", life, name])
}

fn limits(name: &str) -> String {
    let limits = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} \
                  {{.HostConfig.RestartPolicy.Name}}";
    engine::docker_text(&["inspect", "-f", limits, name]).trim().to_owned()
}

#[test]
fn a_limit_changes_and_the_process_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharflimits", LIMITED);
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    agent.must(&project, "up", &[]);
    let name = "wharflimits-web-1";
    let before = life(name);
    let raised = LIMITED.replace("64m", "128m").replace("0.5", "0.75");
    let raised = format!("{raised}    pids_limit: 77\n    restart: unless-stopped\n");
    project.write("compose.yaml", &raised);
    let file = project.file();
    let plan = agent.json(&["plan", "-f", file.to_str().unwrap(), "-p", &project.name]);
    let steps = plan["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &steps[0]["action"]), (1, &"update container".into()), "{plan}");
    agent.must(&project, "up", &[]);
    assert_eq!(limits(name), "134217728 750000000 77 unless-stopped");
    assert_eq!(life(name), before, "the container goes on");

    // What the kernel enforces, read inside of the container, whatever its version of cgroups.
    let read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes \
                2>/dev/null";
    let enforced = engine::docker(&["exec", name, "sh", "-c", read]);
    assert_eq!(String::from_utf8_lossy(&enforced.stdout).trim(), "134217728");

    // As declared for an agent that knows nothing but the container, and put right by itself.
    agent.stop();
    for file in ["wharf.db", "wharf.db-wal", "wharf.db-shm"] {
        let _ = std::fs::remove_file(agent.state_dir.join(file));
    }
    agent.start();
    agent.must(&project, "up", &[]);
    assert_eq!(life(name), before);
    engine::docker_text(&["update", "--memory", "96m", "--memory-swap", "192m", name]);
    agent.stop();
    agent.start();
    let right = "134217728 750000000 77 unless-stopped";
    wait_until("the limit is as declared again", || limits(name) == right);
    assert_eq!(life(name), before);
}
