//! Proves how containers make way for their successors: one after the other, healthy first where
//! that is possible, and back again when the new version fails. Owns no host. Face: none. Never on
//! a real engine.

use std::time::Duration;

use super::{exits, written};
use crate::domain::runs::{DeployChoices, Outcome};
use crate::facts::{ContainerState, Protocol};
use crate::operations::harness::{Agent, Ended, Host};
use crate::world::docker::fake::{Behaviour, HealthCourse};
use crate::world::docker::{Engine as _, EngineErrorKind};

/// Three servers that may run side by side, and one that may not.
const FLEET: &str = "
services:
  web:
    image: app:1
    command: [serve]
    healthcheck: { test: [CMD, ready] }
    scale: 3
  gate:
    image: app:1
    command: [serve]
    healthcheck: { test: [CMD, ready] }
    ports: ['8080:80']
";

fn next() -> String {
    FLEET.replace("app:1", "app:2")
}

/// One service of the fleet, alone.
fn alone(service: &str) -> DeployChoices {
    DeployChoices { services: vec![service.to_owned()], ..DeployChoices::default() }
}

fn ill() -> Behaviour {
    let health = HealthCourse::UnhealthyAfter(2);
    Behaviour { health, ..exits(99, 0) }
}

/// Ids by name; every container is up and has its own name.
async fn ids(agent: &Agent) -> Vec<(String, String)> {
    let found = agent.containers().await;
    for container in found.values() {
        assert_eq!(container.state, ContainerState::Running, "{}", container.name);
        assert!(container.name.starts_with("shop-"), "{}", container.name);
    }
    found.into_values().map(|container| (container.name, container.id)).collect()
}

#[tokio::test(start_paused = true)]
async fn several_are_replaced_one_after_the_other_and_serve_all_the_time() {
    for (compose, least) in [
        (next(), 3),
        (
            next().replace(
                "scale: 3",
                "scale: 3\n    deploy: { update_config: { order: stop-first } }",
            ),
            2,
        ),
    ] {
        let mut host = Host::new();
        let agent = host.start().await;
        agent.up(FLEET).await.assert(Outcome::Succeeded);
        let id = agent.apply(&crate::operations::harness::bundle(&compose), alone("web")).await;
        let mut fewest = usize::MAX;
        while !agent.run(id).await.state.is_completed() {
            let found = agent.containers().await.into_values();
            let up = found.filter(|c| {
                c.state == ContainerState::Running
                    && c.instance.as_ref().is_some_and(|instance| instance.service == "web")
            });
            fewest = fewest.min(up.count());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ended = agent.ended(id).await;
        ended.assert(Outcome::Succeeded);
        assert_eq!(fewest, least, "{:#?}", ended.keys());
        let proved = |number| ended.place(&format!("wait_until_healthy:shop-web-{number}"));
        let made = |number| ended.place(&format!("create_replacement:shop-web-{number}"));
        assert!(proved(1) < made(2) && proved(2) < made(3), "{:#?}", ended.keys());
        assert_eq!(ids(&agent).await.len(), 4);
    }
}

/// The new version of a service fails, and the old one is as it was.
async fn fails(agent: &Agent, compose: &str, service: &str, code: &str) -> Ended {
    let before = ids(agent).await;
    let ended = agent.up_with(compose, alone(service)).await;
    ended.assert(Outcome::Failed);
    assert_eq!(ended.failures()[0].0, code, "{:?}", ended.failures());
    assert_eq!(ids(agent).await, before);
    ended
}

#[tokio::test(start_paused = true)]
async fn a_version_that_fails_gives_back_and_is_not_tried_again_unasked() {
    for service in ["web", "gate"] {
        let mut host = Host::new();
        let agent = host.start().await;
        agent.up(FLEET).await.assert(Outcome::Succeeded);
        host.engine.behave(service, ill());
        let ended = fails(&agent, &next(), service, "container.unhealthy").await;
        let made = |key: &&&str| key.starts_with("create_replacement");
        assert_eq!(ended.keys().iter().filter(made).count(), 1, "the others wait in line");
        host.engine.forget_calls();
        for _ in 0..3 {
            agent.converge().await.assert(Outcome::Succeeded);
        }
        assert_eq!(written(&host.engine), [""; 0], "nobody asked");
        // What is held is kept up, as it is.
        let name = format!("shop-{service}-1");
        host.engine.stop_behind(&name);
        agent.converge().await.assert(Outcome::Succeeded);
        assert_eq!(written(&host.engine), ["start_container"]);
        fails(&agent, &next(), service, "container.unhealthy").await;
        host.engine.behave(service, Behaviour::default());
        agent.up(&next()).await.assert(Outcome::Succeeded);
        host.engine.forget_calls();
        agent.converge().await.assert(Outcome::Succeeded);
        assert_eq!(written(&host.engine), [""; 0]);
    }
}

/// What went wrong around a version says nothing about it.
#[tokio::test(start_paused = true)]
async fn a_version_that_its_engine_did_not_start_gives_back_and_is_tried_again() {
    for service in ["web", "gate"] {
        let mut host = Host::new();
        let agent = host.start().await;
        agent.up(FLEET).await.assert(Outcome::Succeeded);
        host.engine.fail_next("start_container", EngineErrorKind::DiskFull);
        fails(&agent, &next(), service, "disk.full").await;
        let before = ids(&agent).await;
        agent.converge().await.assert(Outcome::Succeeded);
        for (name, id) in ids(&agent).await {
            let is_new = !before.contains(&(name.clone(), id));
            assert_eq!(is_new, name.starts_with(&format!("shop-{service}-")), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_ends_or_cannot_start_gives_back() {
    for service in ["web", "gate"] {
        let mut host = Host::new();
        let agent = host.start().await;
        agent.up(FLEET).await.assert(Outcome::Succeeded);
        host.engine.behave(service, exits(1, 3));
        let ended = fails(&agent, &next(), service, "container.exited").await;
        assert!(ended.failures()[0].1.contains("no such table"), "{:?}", ended.failures());
        host.engine.behave(service, Behaviour::default());
        let taken = next().replace("8080:80", "9090:80");
        host.engine.occupy_port(Protocol::Tcp, 9090);
        if service == "gate" {
            fails(&agent, &taken, service, "port.in_use").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_never_gets_healthy_gives_back_when_its_time_is_over() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(FLEET).await.assert(Outcome::Succeeded);
    let health = HealthCourse::HealthyAfter(u32::MAX);
    host.engine.behave("web", Behaviour { health, ..Behaviour::default() });
    fails(&agent, &next(), "web", "deadline.exceeded").await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_point_one_version_or_the_other_serves_in_the_end() {
    for (service, is_ill) in [("web", false), ("web", true), ("gate", false), ("gate", true)] {
        for lives_for in (1..400).step_by(23) {
            let mut host = Host::new();
            let agent = host.start().await;
            agent.up(FLEET).await.assert(Outcome::Succeeded);
            let before = ids(&agent).await;
            host.engine.behave(service, if is_ill { ill() } else { Behaviour::default() });
            let next = next();
            let up = agent.up_with(&next, alone(service));
            let _ = tokio::time::timeout(Duration::from_millis(lives_for), up).await;
            agent.kill().await;
            let agent = host.start().await;
            for run in agent.runs().await {
                agent.ended(run.id).await;
            }
            let _ = agent.converge().await;
            let after = ids(&agent).await;
            assert_eq!(after.len(), 4, "killed after {lives_for} ms");
            if is_ill {
                assert_eq!(after, before, "killed after {lives_for} ms");
            }
            host.engine.forget_calls();
            agent.converge().await.assert(Outcome::Succeeded);
            assert_eq!(written(&host.engine), [""; 0], "killed after {lives_for} ms");
            assert_eq!(host.engine.volumes(None).await.unwrap(), []);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_exactly_the_plan_and_planning_writes_nothing() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(FLEET).await.assert(Outcome::Succeeded);
    let changed = FLEET.replace("scale: 3", "scale: 2\n    mem_limit: 64m");
    let changed = changed.replace("ports: ['8080:80']", "ports: ['8080:80']\n    user: '1000'");
    let changed = format!("{changed}  late: {{ image: 'app:1', command: [serve] }}\n");
    host.engine.forget_calls();
    let bundle = crate::operations::harness::bundle(&changed);
    let declared = crate::operations::rollout::Declared::from_bundle(&bundle).unwrap();
    let workspace = agent.store.scope().workspace_id;
    let options = crate::domain::rollout::PlanOptions::explicit();
    let preview = agent.rollout.preview(workspace, &declared, &options).await.unwrap();
    assert_eq!(written(&host.engine), [""; 0], "a plan writes nothing");
    let plan = preview.plan;
    let key = |step: &crate::domain::rollout::Step| {
        format!("{}:{}", step.action.title().replace(' ', "_"), step.subject)
    };
    let mut planned: Vec<String> = plan.steps.iter().map(key).collect();
    let digest = plan.digest().unwrap();
    let ended = agent.up(&changed).await;
    ended.assert(Outcome::Succeeded);
    assert_eq!(ended.run.context.details.plan_digest, Some(digest));
    let mut done: Vec<String> = ended.keys().into_iter().map(str::to_owned).collect();
    planned.sort();
    done.sort();
    assert_eq!(done, planned);
    let summary: Vec<String> =
        plan.summary().iter().map(|(kind, count)| format!("{count} to {}", kind.word())).collect();
    let expect = ["1 to create", "2 to update", "1 to replace", "1 to remove"];
    assert_eq!(summary, expect, "{}", plan.diff());
}
