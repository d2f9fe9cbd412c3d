//! Proves with a recording proxy what is not written: by the second `up`, by a dry run, and by the
//! deploy of the canonical model of what already runs.

use crate::support::agent::{Agent, text};
use crate::support::engine;
use crate::support::project::{FIVE_SERVICES, Project};
use crate::support::proxy::RecordingProxy;

fn proxied(folder: &std::path::Path) -> (RecordingProxy, Agent) {
    let proxy = RecordingProxy::start(&folder.join("engine.sock"), &engine::socket());
    let mut agent = Agent::new(folder, &proxy.socket, "");
    agent.start();
    (proxy, agent)
}

#[test]
fn second_up_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfzero-second", FIVE_SERVICES);
    let (proxy, agent) = proxied(folder.path());
    agent.must(&project, "up", &[]);
    // Two networks, a volume, five containers created and started, one connected to a second network.
    assert_eq!(proxy.writes().len(), 14, "the first deploy: {:?}", proxy.writes());
    proxy.forget();
    agent.must(&project, "up", &[]);
    assert_eq!(proxy.writes(), [], "the second `up` wrote");
    assert!(!proxy.calls().is_empty(), "the second `up` looked at the engine");
}

#[test]
fn dry_run_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfzero-dry", FIVE_SERVICES);
    let (proxy, agent) = proxied(folder.path());
    let shown = agent.must(&project, "up", &["--dry-run"]);
    assert!(shown.contains("web"), "{shown}");
    let plan = agent.on(&project, "plan", &[]);
    assert_eq!(plan.status.code(), Some(2), "{}", text(&plan.stdout));
    assert_eq!(proxy.writes(), [], "a dry run wrote");
    assert_eq!(engine::containers_of(&project.name), Vec::<String>::new());
}

#[test]
fn deploying_the_canonical_model_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfzero-canon", FIVE_SERVICES);
    let (proxy, agent) = proxied(folder.path());
    agent.must(&project, "up", &[]);
    let config = agent.wharf(&[
        "compose",
        "config",
        "-f",
        project.file().to_str().unwrap(),
        "-p",
        &project.name,
    ]);
    assert!(config.status.success(), "{}", text(&config.stderr));
    project.write("compose.yaml", &text(&config.stdout));
    proxy.forget();
    agent.must(&project, "up", &[]);
    assert_eq!(proxy.writes(), [], "the canonical model was deployed as a change");
}

#[test]
fn a_change_is_seen_by_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::new("wharfzero-change", FIVE_SERVICES);
    let (proxy, agent) = proxied(folder.path());
    agent.must(&project, "up", &[]);
    project.write("compose.yaml", &FIVE_SERVICES.replace("MODE: proof", "MODE: changed"));
    proxy.forget();
    agent.must(&project, "up", &[]);
    let writes = proxy.writes();
    let created = writes.iter().filter(|call| call.path.starts_with("/containers/create")).count();
    assert_eq!(created, 1, "only the changed service is recreated: {writes:?}");
}
