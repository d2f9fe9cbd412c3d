//! Containers are dealt with and released on an engine in memory, by agents that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::domain::enforcement::{Enforced, Place, Rung, Settings, Treatment};
use crate::domain::policy::{PolicySet, Source as PolicySource, compile};
use crate::domain::runs::{EnforcePolicy as EnforceInputs, Inputs, Outcome as RunOutcome, Source};
use crate::facts::{Attachment, ContainerFacts, ContainerState, NetworkMode, NetworkSpec};
use crate::facts::{RestartPolicy, ServiceSpec};
use crate::operations::Request;
use crate::operations::harness::{Agent, Ended, Host, asker, image};
use crate::world::docker::{Engine as _, NewContainer};

const WEB: &str = "services: {web: {image: 'app:1'}}";

pub(crate) fn policy(text: &str) -> PolicySet {
    let source = PolicySource { file: "strict.yaml", text };
    compile(&[source]).unwrap_or_else(|found| panic!("{found}"))
}

const QUARANTINE: &str =
    "name: strict\ntitle: t\nowner: o\naction: quarantine\nchecks: [privileged]";

fn enforce_on(agent: &Agent, text: &str) {
    agent.rollout.policies.replace(policy(text));
    agent.rollout.enforcement.set(Settings {
        is_enabled: true,
        unmanaged: BTreeSet::from(["strict".to_owned()]),
        actions_max: 20,
        window: Duration::from_secs(600),
    });
}

/// A container that somebody started past the agent, a member of two networks.
async fn stranger(agent: &Agent, name: &str, change: impl FnOnce(&mut ServiceSpec)) -> String {
    let engine = &agent.engine;
    engine.add_image(image("app:1"));
    let mut networks = BTreeMap::new();
    for network in ["front", "back"] {
        if engine.network(network).await.unwrap().is_none() {
            let spec = NetworkSpec { name: network.to_owned(), ..NetworkSpec::default() };
            engine.create_network(&spec, &BTreeMap::new()).await.unwrap();
        }
        let attachment = Attachment {
            aliases: BTreeSet::from([format!("{name}-{network}")]),
            ipv4_address: Some(format!("10.0.{}.7", network.len())),
            ..Attachment::default()
        };
        networks.insert(network.to_owned(), attachment);
    }
    let mut spec = ServiceSpec { image: "app:1".to_owned(), ..ServiceSpec::default() };
    spec.network_mode = NetworkMode::Networks(networks);
    change(&mut spec);
    let new = NewContainer {
        name: name.to_owned(),
        image: "app:1".to_owned(),
        spec,
        bookkeeping: BTreeMap::new(),
        resolved_namespaces: BTreeMap::new(),
        kept_volumes: BTreeMap::new(),
    };
    let id = engine.create_container(&new).await.unwrap();
    engine.start_container(&id).await.unwrap();
    id
}

async fn bad(agent: &Agent, name: &str) -> String {
    stranger(agent, name, |spec| spec.security.privileged = true).await
}

async fn found(agent: &Agent, id: &str) -> ContainerFacts {
    agent.engine.container(id).await.unwrap().unwrap()
}

async fn submit(agent: &Agent, id: &str) -> crate::base::ids::RunId {
    let container = found(agent, id).await;
    let mut round = agent.rollout.enforcement_round(agent.ambient.now(), None).await.unwrap();
    let look = agent.rollout.look_at(&mut round, &container, None).await.unwrap();
    let inputs = Inputs::EnforcePolicy(EnforceInputs {
        container_id: id.to_owned(),
        name: container.name,
        project: project_of(&look.keeper),
        codes: look.wrongs.into_iter().map(|wrong| wrong.code).collect(),
        by_hand: None,
        noticed_at: None,
    });
    let request = Request::by_agent(&agent.store.scope(), Source::Convergence, inputs);
    agent.door.submit(request).await.unwrap().run().id
}

async fn enforce(agent: &Agent, id: &str) -> Ended {
    let run = submit(agent, id).await;
    agent.ended(run).await
}

fn people(agent: &Agent) -> Enforcement {
    Enforcement::new(agent.rollout.clone(), agent.door.clone(), agent.ambient.clone())
}

async fn release(agent: &Agent, name: &str) -> Ended {
    let hour = Duration::from_secs(3600);
    let admitted = people(agent).release(name, "it is fixed".to_owned(), hour, &asker()).await;
    agent.ended(admitted.unwrap().run().id).await
}

async fn known(agent: &Agent) -> Enforced {
    agent.store.enforced(agent.store.scope().workspace_id).await.unwrap()
}

fn networks(container: &ContainerFacts) -> Vec<&str> {
    match &container.spec.network_mode {
        NetworkMode::Networks(networks) => networks.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_container_gets_back_exactly_what_it_lost() {
    let agent = Host::new().start().await;
    enforce_on(&agent, QUARANTINE);
    let id = bad(&agent, "evil").await;
    let before = found(&agent, &id).await;
    let ended = enforce(&agent, &id).await;
    ended.assert(RunOutcome::Succeeded);
    assert_eq!(ended.keys(), ["enforce.disconnect:back:evil", "enforce.disconnect:front:evil"]);
    let held = found(&agent, &id).await;
    assert!(networks(&held).is_empty() && held.state == ContainerState::Running);
    let treated = &known(&agent).await.treated[&id];
    assert_eq!((treated.state, treated.rung), (Treatment::InForce, Rung::Quarantine));
    assert_eq!(treated.policies, ["strict"]);
    // A second run does nothing.
    agent.engine.forget_calls();
    let again = enforce(&agent, &id).await;
    again.assert(RunOutcome::Succeeded);
    assert!(agent.engine.writes().is_empty() && again.steps.is_empty());
    release(&agent, "evil").await.assert(RunOutcome::Succeeded);
    let after = found(&agent, &id).await;
    assert_eq!(after.spec, before.spec);
    // For a while policies leave it alone; then they ask again.
    let again = enforce(&agent, &id).await;
    assert!(again.steps.is_empty());
    tokio::time::sleep(Duration::from_secs(3700)).await;
    enforce(&agent, &id).await.assert(RunOutcome::Succeeded);
    assert!(networks(&found(&agent, &id).await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_step_a_container_is_dealt_with_or_released_wholly() {
    for kill_at in 0..8 {
        let mut host = Host::new();
        let agent = host.start().await;
        enforce_on(&agent, QUARANTINE);
        let id = bad(&agent, "evil").await;
        let before = found(&agent, &id).await;
        let run = submit(&agent, &id).await;
        // So long after the beginning: before and within each of its steps.
        tokio::time::sleep(Duration::from_millis(4 * kill_at + 1)).await;
        agent.kill().await;
        let agent = host.start().await;
        enforce_on(&agent, QUARANTINE);
        let ended = agent.ended(run).await;
        ended.assert(RunOutcome::Succeeded);
        assert!(networks(&found(&agent, &id).await).is_empty(), "{kill_at}");
        let treated = known(&agent).await.treated[&id].clone();
        assert_eq!(treated.state, Treatment::InForce, "{kill_at}");
        assert_eq!(treated.undo.networks.len(), 2, "{kill_at}");
        let hour = Duration::from_secs(3600);
        let admitted = people(&agent).release("evil", "why".to_owned(), hour, &asker()).await;
        let run = admitted.unwrap().run().id;
        tokio::time::sleep(Duration::from_millis(4 * kill_at + 1)).await;
        agent.kill().await;
        let agent = host.start().await;
        agent.ended(run).await.assert(RunOutcome::Succeeded);
        assert_eq!(found(&agent, &id).await.spec, before.spec, "{kill_at}");
        assert_eq!(known(&agent).await.treated[&id].state, Treatment::Released, "{kill_at}");
        agent.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_ignores_leads_to_the_next_rung() {
    let agent = Host::new().start().await;
    enforce_on(&agent, QUARANTINE);
    let id = bad(&agent, "evil").await;
    agent.engine.ignore("disconnect_network");
    enforce(&agent, &id).await.assert(RunOutcome::Succeeded);
    assert_eq!(found(&agent, &id).await.state, ContainerState::Paused);
    assert_eq!(known(&agent).await.treated[&id].rung, Rung::Pause);
    let other = bad(&agent, "worse").await;
    agent.engine.ignore("pause_container");
    let ended = enforce(&agent, &other).await;
    ended.assert(RunOutcome::Succeeded);
    let expect = [
        "enforce.disconnect:back:worse",
        "enforce.disconnect:front:worse",
        "enforce.pause:worse",
        "enforce.stop:worse",
    ];
    assert_eq!(ended.keys(), expect);
    assert_eq!(found(&agent, &other).await.state, ContainerState::Exited);
    release(&agent, "worse").await.assert(RunOutcome::Succeeded);
    assert_eq!(found(&agent, &other).await.state, ContainerState::Running);
    let last = bad(&agent, "worst").await;
    agent.engine.ignore("stop_container");
    let ended = enforce(&agent, &last).await;
    ended.assert(RunOutcome::Failed);
    assert_eq!(known(&agent).await.treated[&last].state, Treatment::GivenUp);
    // It is not tried for ever.
    assert!(enforce(&agent, &last).await.steps.is_empty());
}

#[tokio::test(start_paused = true)]
async fn live_settings_are_changed_and_changed_back() {
    let agent = Host::new().start().await;
    enforce_on(
        &agent,
        "name: strict\ntitle: t\nowner: o\naction: remediate\nchecks: [restart_policy]",
    );
    let id = stranger(&agent, "clingy", |spec| spec.restart = RestartPolicy::Always).await;
    enforce(&agent, &id).await.assert(RunOutcome::Succeeded);
    let changed = found(&agent, &id).await.spec.restart;
    assert!(matches!(changed, RestartPolicy::OnFailure { .. }), "{changed:?}");
    assert_eq!(known(&agent).await.treated[&id].rung, Rung::Update);
    release(&agent, "clingy").await.assert(RunOutcome::Succeeded);
    assert_eq!(found(&agent, &id).await.spec.restart, RestartPolicy::Always);
    // An engine that says yes and does nothing: nobody else's container is made anew for it.
    agent.engine.ignore_updates(true);
    let id = stranger(&agent, "deaf", |spec| spec.restart = RestartPolicy::Always).await;
    let ended = enforce(&agent, &id).await;
    ended.assert(RunOutcome::Failed);
    assert_eq!(ended.keys(), ["enforce.update:deaf"]);
    let treated = &known(&agent).await.treated[&id];
    assert_eq!((treated.state, treated.rung), (Treatment::GivenUp, Rung::Recreate));
}

#[tokio::test(start_paused = true)]
async fn a_container_of_ours_is_made_anew_hardened() {
    let agent = Host::new().start().await;
    agent
        .up("services: {web: {image: 'app:1', privileged: true}}")
        .await
        .assert(RunOutcome::Succeeded);
    let before = agent.containers().await["shop-web-1"].clone();
    enforce_on(&agent, "name: strict\ntitle: t\nowner: o\naction: remediate\nchecks: [privileged]");
    let ended = enforce(&agent, &before.id).await;
    ended.assert(RunOutcome::Succeeded);
    let after = agent.containers().await["shop-web-1"].clone();
    assert!(!after.spec.security.privileged && after.id != before.id);
    assert_eq!(after.state, ContainerState::Running);
    assert!(known(&agent).await.treated.is_empty());
    agent.engine.forget_calls();
    agent.converge().await.assert(RunOutcome::Succeeded);
    assert!(enforce(&agent, &after.id).await.steps.is_empty());
    assert!(agent.engine.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn convergence_leaves_what_is_held_back_and_an_explicit_up_lifts_it() {
    let agent = Host::new().start().await;
    agent.up(WEB).await.assert(RunOutcome::Succeeded);
    let id = agent.containers().await["shop-web-1"].id.clone();
    enforce_on(&agent, QUARANTINE);
    let admitted = people(&agent).quarantine("shop-web-1", "it is odd".to_owned(), &asker()).await;
    agent.ended(admitted.unwrap().run().id).await.assert(RunOutcome::Succeeded);
    assert!(networks(&found(&agent, &id).await).is_empty());
    agent.engine.forget_calls();
    agent.converge().await.assert(RunOutcome::Succeeded);
    assert!(agent.engine.writes().is_empty(), "{:?}", agent.engine.writes());
    let held = people(&agent).held_back().await.unwrap();
    assert_eq!(held[&id], "without its networks by enforcement: it is odd");
    agent.up(WEB).await.assert(RunOutcome::Succeeded);
    assert_eq!(networks(&found(&agent, &id).await), ["shop_default"]);
    assert!(known(&agent).await.treated.is_empty());
    // One that is frozen is not let go on either.
    agent.engine.ignore("disconnect_network");
    let admitted = people(&agent).quarantine("shop-web-1", "it is odd".to_owned(), &asker()).await;
    agent.ended(admitted.unwrap().run().id).await.assert(RunOutcome::Succeeded);
    agent.converge().await.assert(RunOutcome::Succeeded);
    assert_eq!(found(&agent, &id).await.state, ContainerState::Paused);
    agent.up(WEB).await.assert(RunOutcome::Succeeded);
    assert_eq!(found(&agent, &id).await.state, ContainerState::Running);
}

#[tokio::test(start_paused = true)]
async fn switched_off_or_in_maintenance_nothing_is_done() {
    let agent = Host::new().start().await;
    enforce_on(&agent, QUARANTINE);
    let id = bad(&agent, "evil").await;
    agent.engine.forget_calls();
    let people = people(&agent);
    people.switch(true, "an incident".to_owned(), &asker()).await.unwrap();
    assert!(enforce(&agent, &id).await.steps.is_empty());
    people.switch(false, "it is over".to_owned(), &asker()).await.unwrap();
    let hour = Duration::from_secs(3600);
    let begun = people.begin_maintenance(Place::Host, hour, "a move".to_owned(), &asker()).await;
    begun.unwrap();
    assert!(enforce(&agent, &id).await.steps.is_empty());
    let (_, look, steps) = people.plan("evil").await.unwrap();
    assert_eq!(format!("{:?}", look.decision), "Leave(Maintenance)");
    assert!(steps.is_empty() && agent.engine.writes().is_empty());
    tokio::time::sleep(hour).await;
    assert_eq!(people.standing().await.unwrap().enforced.maintenance, []);
    let (_, _, steps) = people.plan("evil").await.unwrap();
    assert_eq!(steps.len(), 2);
    assert!(agent.engine.writes().is_empty());
    enforce(&agent, &id).await.assert(RunOutcome::Succeeded);
    let refused = people.end_maintenance(Place::Host, &asker()).await.unwrap_err();
    assert_eq!(refused.to_string(), "no maintenance of host");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_gone_is_forgotten() {
    let agent = Host::new().start().await;
    enforce_on(&agent, QUARANTINE);
    let id = bad(&agent, "evil").await;
    enforce(&agent, &id).await.assert(RunOutcome::Succeeded);
    agent.engine.remove_behind("evil");
    release(&agent, "evil").await.assert(RunOutcome::Succeeded);
    assert!(known(&agent).await.treated.is_empty());
    let refused = people(&agent).plan("evil").await.unwrap_err();
    assert_eq!(refused.to_string(), "no container evil on this engine");
}
