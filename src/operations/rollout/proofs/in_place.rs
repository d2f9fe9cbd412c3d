//! Proves that limits change on containers that go on. Owns no host. Face: none. Never on a real
//! engine.

use std::time::Duration;

use super::written;
use crate::domain::runs::Outcome;
use crate::facts::{ContainerFacts, LiveSettings, RestartPolicy};
use crate::operations::harness::{Agent, Host};
use crate::world::docker::EngineErrorKind;

const LIMITED: &str = "
services:
  one: { image: 'app:1', command: [serve], mem_limit: 64m, pids_limit: 50 }
  two: { image: 'app:1', command: [serve] }
";

fn raised() -> String {
    LIMITED.replace("64m", "128m").replace("50 }", "70, restart: always }")
}

async fn one(agent: &Agent) -> ContainerFacts {
    agent.containers().await["shop-one-1"].clone()
}

#[tokio::test(start_paused = true)]
async fn limits_change_and_the_container_goes_on() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(LIMITED).await.assert(Outcome::Succeeded);
    let before = one(&agent).await;
    host.engine.forget_calls();
    let ended = agent.up(&raised()).await;
    ended.assert(Outcome::Succeeded);
    assert_eq!(ended.keys(), ["update_container:shop-one-1"]);
    assert_eq!(written(&host.engine), ["update_container"]);
    assert_eq!(ended.run.summary_counts.iter().map(|(_, count)| count).max(), Some(1));
    let after = one(&agent).await;
    assert_eq!((&after.id, after.started_at), (&before.id, before.started_at));
    let settings = LiveSettings::of(&after.spec);
    assert_eq!((settings.memory_bytes, settings.pids_max), (Some(128 << 20), Some(70)));
    assert_eq!((settings.memory_swap_bytes, settings.restart), (None, RestartPolicy::Always));

    // As declared from now on: after a restart, and without a database.
    agent.kill().await;
    host.lose_database();
    host.engine.forget_calls();
    let agent = host.start().await;
    agent.up(&raised()).await.assert(Outcome::Succeeded);
    assert_eq!(written(&host.engine), [""; 0]);
    host.engine.update_behind("shop-one-1", &LiveSettings::of(&before.spec));
    agent.converge().await.assert(Outcome::Succeeded);
    assert_eq!(written(&host.engine), ["update_container"]);
    assert_eq!(LiveSettings::of(&one(&agent).await.spec), settings);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_agrees_and_changes_nothing_is_found_out() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(LIMITED).await.assert(Outcome::Succeeded);
    let before = one(&agent).await;
    host.engine.ignore_updates(true);
    let ended = agent.up(&raised()).await;
    assert_ne!(ended.run.outcome(), Outcome::Succeeded);
    let [(code, message)] = ended.failures()[..] else { panic!("{:?}", ended.failures()) };
    assert_eq!(code, "engine.refused");
    for words in ["resources.memory_bytes: 67108864 → 134217728", "--force-recreate one"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(one(&agent).await.id, before.id, "nothing is replaced that was not to be");
    host.engine.ignore_updates(false);
    agent.converge().await.assert(Outcome::Succeeded);
    assert_eq!(one(&agent).await.id, before.id);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_or_a_kill_leaves_the_container_as_declared() {
    for lives_for in (0..60).step_by(3) {
        let mut host = Host::new();
        let agent = host.start().await;
        agent.up(LIMITED).await.assert(Outcome::Succeeded);
        let before = one(&agent).await;
        if lives_for % 2 == 0 {
            host.engine.lose_answer("update_container");
        } else {
            host.engine.fail_next("update_container", EngineErrorKind::Internal);
        }
        let raised = raised();
        let update = tokio::time::timeout(Duration::from_millis(lives_for), agent.up(&raised));
        let _ = update.await;
        agent.kill().await;
        let agent = host.start().await;
        agent.up(&raised).await.assert(Outcome::Succeeded);
        let after = one(&agent).await;
        assert_eq!((after.id, after.spec.resources.memory_bytes), (before.id, Some(128 << 20)));
    }
}
