//! Images behind a login: pulled as whom the agent is logged in, and that it did so is recorded once.

use std::sync::Arc;

use super::*;
use crate::base::Secret;
use crate::domain::audit::EventType;
use crate::domain::registries::Credentials;
use crate::operations::harness::asker;
use crate::operations::registries::{Registries, RegistryError};

const TWO: &str = "
services:
  web: { image: 'registry.example.org/web:1' }
  job: { image: 'registry.example.org/job:1' }
";

pub(super) fn host() -> Host {
    let host = Host::new();
    for name in ["registry.example.org/web:1", "registry.example.org/job:1"] {
        host.engine.offer_image(name, image(name));
    }
    host.engine.want_login(Credentials {
        registry: "registry.example.org".parse().unwrap(),
        username: "ci".to_owned(),
        password: Secret::new("open sesame".to_owned()),
    });
    host
}

pub(super) async fn log_in(agent: &Agent, password: &str) -> Result<(), RegistryError> {
    let engine = Arc::clone(&agent.engine) as _;
    let registries = Registries::new(Arc::clone(&agent.store), engine, agent.ambient.clone());
    let registry = "registry.example.org".parse().unwrap();
    let password = Secret::new(password.to_owned());
    registries.login(registry, "ci".to_owned(), password, &asker()).await.map(drop)
}

pub(super) async fn told(agent: &Agent, kind: EventType) -> usize {
    let filter = AuditFilter {
        event_types: vec![kind],
        ..AuditFilter::workspace(agent.store.scope().workspace_id)
    };
    agent.store.audit(filter, PageRequest::first(50)).await.unwrap().items.len()
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_wants_a_login_is_refused_without_one_and_used_once_a_run_with_it() {
    let mut host = host();
    let agent = host.start().await;
    let refused = agent.up(TWO).await;
    refused.assert(Outcome::Failed);
    assert!(refused.failures().iter().all(|(code, _)| *code == "registry.denied"));
    assert!(refused.failures()[0].1.contains("wharf registry login"), "{:?}", refused.failures());
    assert!(matches!(log_in(&agent, "wrong").await, Err(RegistryError::Refused { .. })));
    assert_eq!(told(&agent, EventType::RegistryLoginUsed).await, 0);

    log_in(&agent, "open sesame").await.unwrap();
    agent.up(TWO).await.assert(Outcome::Succeeded);
    assert_eq!(told(&agent, EventType::RegistryLoginUsed).await, 1, "two pulls, one run");
}

#[tokio::test(start_paused = true)]
async fn the_use_of_a_login_is_recorded_once_although_the_agent_dies() {
    let mut host = host();
    let agent = host.start().await;
    log_in(&agent, "open sesame").await.unwrap();
    host.engine.set_latency(Duration::from_millis(50));
    let run = agent.submit(TWO).await;
    while told(&agent, EventType::RegistryLoginUsed).await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    agent.kill().await;
    let agent = host.start().await;
    let ended = agent.ended(run).await;
    ended.assert(Outcome::Succeeded);
    assert!(ended.run.attempt > 1, "the agent died too late to prove anything");
    assert_eq!(told(&agent, EventType::RegistryLoginUsed).await, 1);
}
