//! Policies on a real engine: what is denied is not deployed and says where, what a machine can put right
//! is, broken files change nothing, and a look at what runs finds what a look at its file finds.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::agent::{Agent, text, wait_until};
use crate::support::engine;
use crate::support::project::Project;

const DENY: &str = "
name: proof
title: What the proof is held to
owner: proof
match: {projects: ['wharfpolicy-*']}
action: deny
checks: [host_pid, docker_socket]
";

const HARDEN: &str = "
name: proof
title: What the proof is put right to
owner: proof
match: {projects: ['wharfpolicy-*']}
action: remediate
parameters: {memory: 96m, pids: 50}
checks: [no_new_privileges, capabilities_dropped, read_only_root, memory_limit, pids_limit]
";

const WEB: &str = "services:\n  web:\n    image: @IMAGE@\n    init: true\n    \
                   command: [sleep, '3600']\n";

fn put(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
}

/// An agent with a folder of policies.
fn agent(folder: &Path, policy: &str) -> Agent {
    let policies = folder.join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::set_permissions(&policies, std::fs::Permissions::from_mode(0o755)).unwrap();
    put(&policies, "proof.yaml", policy);
    let settings = format!("policies: {{directory: {}}}\n", policies.display());
    let mut agent = Agent::new(folder, &engine::socket(), &settings);
    agent.start();
    agent
}

/// The rules with this verdict, as `policy check` tells them.
fn rules(verdict: &str, args: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    let socket = format!("unix://{}", engine::socket().display());
    let output = command
        .args(["policy", "check", "--format", "json"])
        .args(args)
        .env("DOCKER_HOST", socket)
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let rows = found["findings"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["verdict"] == verdict);
    rows.map(|row| row["rule"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_denied_is_not_deployed_and_says_where_until_the_file_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let agent = agent(folder.path(), DENY);
    let wrong = format!("{WEB}    pid: host\n");
    let project = Project::new("wharfpolicy-deny", &wrong);
    let plan = agent.on(&project, "plan", &[]);
    let said = format!("{}{}", text(&plan.stdout), text(&plan.stderr));
    assert!(said.contains("is refused by `rule.host_pid` of policy `proof`"), "{said}");
    let refused = agent.on(&project, "up", &[]);
    let said = format!("{}{}", text(&refused.stdout), text(&refused.stderr));
    assert_eq!(refused.status.code(), Some(4), "blocked: {said}");
    assert!(said.contains("compose.yaml:6:5"), "the place: {said}");
    assert!(said.contains("remove `pid: host`"), "the remedy: {said}");
    assert!(engine::containers_of(&project.name).is_empty());
    // The watcher leaves refused files alone.
    let runs = || agent.json(&["run", "ls"])["items"].as_array().unwrap().len();
    let before = runs();
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(runs(), before);
    project.write("compose.yaml", WEB);
    agent.must(&project, "up", &[]);
    assert_eq!(engine::containers_of(&project.name).len(), 1);

    // Broken policies change nothing, and a restart does not either.
    let policies = folder.path().join("policies");
    put(&policies, "proof.yaml", "name: proof\nchecks: [privileeged]\n");
    let in_force = || agent.json(&["policy", "ls", "--agent"]);
    wait_until("the broken policy is seen", || in_force()["problems"].is_array());
    assert!(in_force()["problems"][0].as_str().unwrap().contains("proof.yaml:"), "{}", in_force());
    project.write("compose.yaml", &wrong);
    assert_eq!(agent.on(&project, "up", &[]).status.code(), Some(4));
    let mut agent = agent;
    agent.stop();
    agent.start();
    assert_eq!(agent.on(&project, "up", &[]).status.code(), Some(4), "kept over a restart");
    let told = text(&agent.wharf(&["audit", "ls", "--type", "policy.refused"]).stdout);
    assert!(told.contains("in force are: proof"), "{told}");
    put(&policies, "proof.yaml", &DENY.replace("deny", "warn"));
    wait_until("the mended policy is in force", || {
        agent.on(&project, "up", &[]).status.code() == Some(0)
    });
}

#[test]
fn what_a_machine_can_put_right_is_put_right_before_it_is_planned_and_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let agent = agent(folder.path(), HARDEN);
    let project = Project::new("wharfpolicy-harden", WEB);
    let plan = text(&agent.on(&project, "plan", &[]).stdout);
    assert!(plan.contains("is put right as `rule.read_only_root` of policy `proof`"), "{plan}");
    agent.must(&project, "up", &[]);
    let name = "wharfpolicy-harden-web-1";
    let format = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} \
                  {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}";
    let made = engine::docker_text(&["inspect", "-f", format, name]);
    let expect = "true 100663296 50 [ALL] [no-new-privileges:true]";
    assert_eq!(made.trim().replace("no-new-privileges=true", "no-new-privileges:true"), expect);
    // Plan, contract and container are about the same: nothing is left to do.
    assert_eq!(agent.on(&project, "plan", &[]).status.code(), Some(0));
    let id = engine::docker_text(&["inspect", "-f", "{{.Id}}", name]);
    engine::docker_text(&["kill", name]);
    let state = || engine::docker_text(&["inspect", "-f", "{{.State.Status}}", name]);
    wait_until("the watcher starts it again", || state().trim() == "running");
    assert_eq!(engine::docker_text(&["inspect", "-f", "{{.Id}}", name]), id, "it was not remade");
}

#[test]
fn what_runs_gets_the_verdict_that_its_file_gets() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    let wrong = format!(
        "{WEB}    cap_add: [SYS_ADMIN]\n    pid: host\n    security_opt: [seccomp:unconfined]\n    \
         volumes: ['/etc:/host:ro']\n"
    );
    let project = Project::new("wharfpolicy-same", &wrong);
    agent.must(&project, "up", &[]);
    let file = project.file();
    let of_file = ["-f", file.to_str().unwrap(), "--shipped", "baseline"];
    let of_engine = ["--engine", "-p", &project.name, "--shipped", "baseline"];
    let declared = rules("fail", &of_file);
    assert!(declared.len() >= 4, "{declared:?}");
    // More is known of what runs; what was known before comes to the same.
    let unknown = rules("unknown", &of_file);
    let live = rules("fail", &of_engine);
    assert_eq!(live.difference(&unknown).cloned().collect::<BTreeSet<_>>(), declared);
    assert!(rules("unknown", &of_engine).is_subset(&unknown));
}

const NO_SSH: &str = "
name: ssh
title: No way in past the engine
owner: proof
action: warn
checks: [ssh_server]
";

/// What a command does not tell is seen where it runs: a server is known by its process.
#[test]
fn a_server_that_hides_from_its_file_is_seen_where_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "");
    agent.start();
    put(folder.path(), "ssh.yaml", NO_SSH);
    let policy = folder.path().join("ssh.yaml");
    let policy = ["--policy", policy.to_str().unwrap()];
    let services = "services:
  good:
    image: '@REDIS@'
  bad:
    image: '@REDIS@'
    user: '0'
    entrypoint: []
    command: [sh, -c, 'p=ss; cp \"$$(command -v redis-server)\" /$${p}hd && exec /$${p}hd']
";
    let services = services.replace("@REDIS@", &engine::image("REDIS_IMAGE"));
    let project = Project::new("wharfpolicy-ssh", &services);
    agent.must(&project, "up", &[]);
    let file = project.file();
    let of_file = [&["-f", file.to_str().unwrap()], policy.as_slice()].concat();
    assert!(rules("fail", &of_file).is_empty());
    assert_eq!(rules("unknown", &of_file), BTreeSet::from(["rule.ssh_server".to_owned()]));
    let of_engine = [&["--engine", "-p", &project.name], policy.as_slice()].concat();
    wait_until("it is its own program", || {
        let top = ["top", "wharfpolicy-ssh-bad-1", "-eo", "pid,args"];
        engine::docker_text(&top).contains("/sshd")
    });
    assert_eq!(rules("fail", &of_engine), BTreeSet::from(["rule.ssh_server".to_owned()]));
    assert!(rules("unknown", &of_engine).is_empty(), "both were looked at");
}
