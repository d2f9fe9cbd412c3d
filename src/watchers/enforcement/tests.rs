//! The watcher on a fake engine, with a real store, door and runner.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;

use super::*;
use crate::domain::enforcement::Settings;
use crate::domain::findings::{Look as Seen, Standing};
use crate::domain::policy::{Source as PolicySource, compile};
use crate::domain::runs::Status;
use crate::facts::{LiveSettings, NetworkSpec, ServiceSpec, labels};
use crate::operations::harness::{Agent, Host, image};
use crate::store::{AuditFilter, PageRequest};
use crate::world::docker::Engine as _;
use crate::world::docker::NewContainer;
use crate::world::docker::fake::Behaviour;
use crate::world::tasks::Spawn as _;

const POLICY: &str = "name: strict\ntitle: t\nowner: o\naction: quarantine\nchecks: [privileged]";

async fn watched(actions_max: usize) -> Agent {
    let agent = Host::new().start().await;
    agent.engine.add_image(image("app:1"));
    let source = PolicySource { file: "strict.yaml", text: POLICY };
    agent.rollout.policies.replace(compile(&[source]).unwrap());
    agent.rollout.enforcement.set(Settings {
        is_enabled: true,
        unmanaged: BTreeSet::from(["strict".to_owned()]),
        actions_max,
        window: Duration::from_secs(600),
    });
    let options = PolicyWatchOptions { is_enabled: true, sweep_interval: Duration::from_secs(300) };
    let (_, options) = watch::channel(options);
    let (rollout, door) = (agent.rollout.clone(), agent.door.clone());
    let watcher = PolicyWatcher::new(rollout, door, agent.ambient.clone(), options);
    let findings = Findings::new(Arc::clone(&agent.store), agent.ambient.clone());
    let watcher = watcher.keeping(findings);
    let watch = watcher.watch(agent.supervisor.stop_token()).boxed();
    let _task = agent.supervisor.spawn("enforcement", watch);
    pass(Duration::from_secs(1)).await;
    agent
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn start(agent: &Agent, name: &str, privileged: bool, label: Option<(&str, &str)>) -> String {
    let mut spec = ServiceSpec { image: "app:1".to_owned(), ..ServiceSpec::default() };
    spec.security.privileged = privileged;
    let bookkeeping = label.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let new = NewContainer {
        name: name.to_owned(),
        image: "app:1".to_owned(),
        spec,
        bookkeeping: bookkeeping.into_iter().collect(),
        resolved_namespaces: BTreeMap::new(),
        kept_volumes: BTreeMap::new(),
    };
    let id = agent.engine.create_container(&new).await.unwrap();
    agent.engine.start_container(&id).await.unwrap();
    id
}

async fn has_network(agent: &Agent, id: &str) -> bool {
    let found = agent.engine.container(id).await.unwrap().unwrap();
    !found.addresses.is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_bad_container_loses_its_network_within_a_second() {
    let agent = watched(20).await;
    let id = start(&agent, "evil", true, None).await;
    pass(Duration::from_secs(1)).await;
    assert!(!has_network(&agent, &id).await);
    let runs = agent.runs().await;
    assert_eq!(runs.len(), 1);
    // Connected again behind the agent's back, it loses the network again.
    agent.engine.connect_behind("bridge", "evil");
    pass(Duration::from_secs(301)).await;
    assert!(!has_network(&agent, &id).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_good_foreign_or_our_own_part_is_never_touched() {
    let agent = watched(20).await;
    start(&agent, "good", false, None).await;
    start(&agent, "foreign", true, Some((labels::OWNER, "another"))).await;
    start(&agent, "proxy", true, Some((labels::PART, "proxy"))).await;
    agent.engine.forget_calls();
    for _ in 0..20 {
        agent.engine.pause_behind("good");
        agent.engine.unpause_container("foreign").await.unwrap();
        pass(Duration::from_secs(60)).await;
        agent.engine.unpause_container("good").await.unwrap();
    }
    assert!(agent.runs().await.is_empty());
    let written = agent.engine.writes();
    assert!(written.iter().all(|call| call.method == "unpause_container"), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_the_engine_was_away_is_seen_by_the_sweep() {
    let agent = watched(20).await;
    agent.engine.set_unreachable(true);
    pass(Duration::from_secs(5)).await;
    agent.engine.set_unreachable(false);
    // The stream of events broke; the container starts before anybody follows it again.
    let id = start(&agent, "evil", true, None).await;
    pass(Duration::from_secs(20)).await;
    assert!(!has_network(&agent, &id).await);
}

#[tokio::test(start_paused = true)]
async fn more_than_may_be_done_is_told_and_not_done() {
    let agent = watched(2).await;
    let mut ids = Vec::new();
    for name in ["one", "two", "three", "four"] {
        ids.push(start(&agent, name, true, None).await);
        pass(Duration::from_secs(1)).await;
    }
    let mut held = 0;
    for id in &ids {
        held += usize::from(!has_network(&agent, id).await);
    }
    assert_eq!(held, 2);
    let filter = AuditFilter {
        event_types: vec![EventType::EnforcementLimitReached],
        ..AuditFilter::workspace(agent.store.scope().workspace_id)
    };
    let told = agent.store.audit(filter, PageRequest::first(0)).await.unwrap().items;
    assert_eq!(told.len(), 2);
    // When the window is over, the sweep goes on.
    pass(Duration::from_secs(1_000)).await;
    for id in &ids {
        assert!(!has_network(&agent, id).await);
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_containers_are_judged_in_one_sweep() {
    let agent = watched(500).await;
    agent.engine.set_latency(Duration::ZERO);
    for number in 0..500 {
        start(&agent, &format!("good-{number}"), false, None).await;
    }
    let id = start(&agent, "evil", true, None).await;
    pass(Duration::from_secs(2)).await;
    assert!(!has_network(&agent, &id).await);
    assert_eq!(agent.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_forgotten_by_the_sweep() {
    let agent = watched(20).await;
    start(&agent, "evil", true, None).await;
    pass(Duration::from_secs(2)).await;
    agent.engine.remove_behind("evil");
    pass(Duration::from_secs(301)).await;
    let workspace = agent.store.scope().workspace_id;
    assert!(agent.store.enforced(workspace).await.unwrap().treated.is_empty());
}

/// A container that is looked at while it is being dealt with, and of which the answer arrives when
/// that is over: what it was before is no reason to deal with it again.
#[tokio::test(start_paused = true)]
async fn an_old_answer_about_a_container_asks_for_nothing_twice() {
    let agent = watched(20).await;
    for name in ["one", "two", "three"] {
        let spec = NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() };
        agent.engine.create_network(&spec, &BTreeMap::new()).await.unwrap();
    }
    let settings = agent.rollout.enforcement.settings();
    agent.rollout.enforcement.set(Settings { is_enabled: false, ..settings.clone() });
    let id = start(&agent, "evil", true, None).await;
    for name in ["one", "two", "three"] {
        agent.engine.connect_behind(name, "evil");
    }
    pass(Duration::from_secs(5)).await;
    assert!(agent.runs().await.is_empty());
    agent.rollout.enforcement.set(settings);
    agent.engine.set_latency(Duration::from_millis(200));
    agent.engine.update_behind("evil", &LiveSettings::default());
    // It is found to be wrong, and a network goes every 200 ms, when this look comes between.
    pass(Duration::from_millis(650)).await;
    agent.engine.delay_answer("container", Duration::from_secs(3));
    agent.engine.update_behind("evil", &LiveSettings::default());
    pass(Duration::from_millis(250)).await;
    let runs = agent.runs().await;
    assert!(runs.iter().any(|run| run.status() != Status::Completed), "too late");
    pass(Duration::from_secs(10)).await;
    assert!(!has_network(&agent, &id).await);
    assert_eq!(agent.runs().await.len(), 1);
}

/// Whoever gives the network back just before a run ends, after its last look, finds the watcher there.
#[tokio::test(start_paused = true)]
async fn what_happens_at_the_end_of_a_run_is_looked_at_after_it() {
    let agent = watched(20).await;
    agent.engine.set_latency(Duration::from_millis(200));
    let id = start(&agent, "evil", true, None).await;
    // The run's last answer, of a container without network, arrives late; by then it has one.
    let is_cut = || agent.engine.writes().iter().any(|call| call.method == "disconnect_network");
    while !is_cut() {
        pass(Duration::from_millis(10)).await;
    }
    agent.engine.delay_answer("container", Duration::from_secs(2));
    pass(Duration::from_millis(300)).await;
    agent.engine.connect_behind("bridge", "evil");
    pass(Duration::from_secs(30)).await;
    assert!(!has_network(&agent, &id).await);
    assert_eq!(agent.runs().await.len(), 2);
}

/// What its command does not say, its processes do; and a look costs a call only where a policy asks.
#[tokio::test(start_paused = true)]
async fn a_server_inside_is_found_by_its_process() {
    let agent = watched(20).await;
    let source = PolicySource {
        file: "strict.yaml",
        text: "name: strict\ntitle: t\nowner: o\naction: quarantine\nchecks: [ssh_server]",
    };
    start(&agent, "unasked", false, None).await;
    pass(Duration::from_secs(1)).await;
    let asked = || agent.engine.calls().iter().any(|call| call.method == "processes");
    assert!(!asked());
    agent.rollout.policies.replace(compile(&[source]).unwrap());
    let processes = vec!["sshd: /usr/sbin/sshd -D [listener]".to_owned()];
    agent.engine.behave("evil", Behaviour { processes, ..Behaviour::default() });
    let good = start(&agent, "good", false, None).await;
    let evil = start(&agent, "evil", false, None).await;
    pass(Duration::from_secs(1)).await;
    assert!(asked());
    assert!(has_network(&agent, &good).await);
    assert!(!has_network(&agent, &evil).await);
}

/// Policies that are put in force count for what runs already, and not when the next sweep is due.
#[tokio::test(start_paused = true)]
async fn other_policies_are_held_against_what_runs() {
    let agent = watched(20).await;
    let id = start(&agent, "host", false, None).await;
    pass(Duration::from_secs(1)).await;
    assert!(has_network(&agent, &id).await);
    let text = "name: strict\ntitle: t\nowner: o\naction: quarantine\nchecks: [memory_limit]";
    let source = PolicySource { file: "strict.yaml", text };
    agent.rollout.policies.replace(compile(&[source]).unwrap());
    pass(Duration::from_secs(1)).await;
    assert!(!has_network(&agent, &id).await);
}

/// What a policy found is over when it is not in force any more, and comes back with it; what scans
/// found has nothing to do with that.
#[tokio::test(start_paused = true)]
async fn findings_of_a_policy_that_is_taken_away_are_over() {
    let agent = watched(0).await;
    let findings = Findings::new(Arc::clone(&agent.store), agent.ambient.clone());
    let tenant = agent.store.scope().tenant_id;
    let open = || async {
        let named = findings.policies_named(tenant).await.unwrap();
        named.into_iter().collect::<Vec<_>>()
    };
    let mut scanned = Seen::new(tenant, agent.ambient.now(), None);
    scanned.stand(SCANS, "app:1", Standing::Failing);
    findings.record(scanned).await.unwrap();
    start(&agent, "evil", true, None).await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(open().await, [SCANS, "strict"]);
    let other = PolicySource {
        file: "calm.yaml",
        text: "name: calm\ntitle: t\nowner: o\naction: audit\nchecks: [memory_limit]",
    };
    agent.rollout.policies.replace(compile(&[other]).unwrap());
    pass(Duration::from_secs(1)).await;
    assert_eq!(open().await, ["calm", SCANS]);
}
