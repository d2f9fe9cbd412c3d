//! Proves what operations on projects promise through crashes, losses and cancellation, on an
//! engine in memory and agents that can be killed.

mod hooks;
mod images;
mod in_place;
mod keeping;
mod logins;
mod replacing;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Declared;
use crate::domain::audit::Actor;
use crate::domain::runs::{DeployChoices, Outcome};
use crate::facts::{ContainerState, MountKind, Protocol, labels};
use crate::operations::harness::{Agent, Ended, Host, bundle, bundle_with_context, image};
use crate::store::{AuditFilter, PageRequest};
use crate::world::docker::fake::{Behaviour, FakeEngine, HealthCourse};
use crate::world::docker::{Engine as _, EngineErrorKind, NewContainer};

/// A database with a volume, a migration that waits for it, and a server that waits for both.
const SHOP: &str = "
services:
  db:
    image: db:1
    command: [serve]
    healthcheck: { test: [CMD, ready] }
    volumes: [data:/data]
  migrate:
    image: app:1
    command: [migrate]
    depends_on: { db: { condition: service_healthy } }
  web:
    image: app:1
    command: [serve]
    ports: ['8080:80']
    environment: { COLOUR: red }
    depends_on:
      db: { condition: service_started }
      migrate: { condition: service_completed_successfully }
volumes:
  data: {}
";

/// Two services that have nothing to do with each other.
const PAIR: &str = "
services:
  one: { image: 'app:1', command: [serve] }
  two: { image: 'app:1', command: [serve], ports: ['8080:80'] }
";

fn exits(after: u32, code: i64) -> Behaviour {
    let output = vec![(false, "hello".to_owned()), (true, "no such table".to_owned())];
    Behaviour { exit: Some((after, code)), output, ..Behaviour::default() }
}

/// A host on which the migration ends.
fn shop_host() -> Host {
    let host = Host::new();
    host.engine.behave("migrate", exits(1, 0));
    host
}

fn forced(force_recreate: bool) -> DeployChoices {
    DeployChoices { force_recreate, ..DeployChoices::default() }
}

fn written(engine: &FakeEngine) -> Vec<&'static str> {
    engine.writes().iter().map(|call| call.method).collect()
}

/// The writes to the engine are exactly the steps that say so.
#[track_caller]
fn assert_all_recorded(engine: &FakeEngine, ended: &Ended) {
    let is_write = |step: &&str| {
        !["wait_until", "pause_before", "write_files", "adopt"]
            .iter()
            .any(|other| step.starts_with(other))
    };
    let recorded = ended.keys().into_iter().filter(is_write).count();
    assert_eq!(recorded, engine.writes().len(), "{:#?}\n{:#?}", ended.keys(), engine.writes());
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_brings_everything_up_in_order() {
    let mut host = shop_host();
    let agent = host.start().await;
    let ended = agent.up(SHOP).await;
    ended.assert(Outcome::Succeeded);
    assert_all_recorded(&host.engine, &ended);
    let order = [
        "pull_image:db:1",
        "create_container:shop-db-1",
        "start:shop-db-1",
        "wait_until_healthy:shop-db-1",
        "start:shop-migrate-1",
        "wait_until_completed:shop-migrate-1",
        "start:shop-web-1",
    ];
    let places: Vec<usize> = order.iter().map(|key| ended.place(key)).collect();
    assert!(places.is_sorted(), "{:#?}", ended.keys());
    assert!(ended.place("create_network:shop_default") < ended.place(order[1]));
    assert!(ended.place("create_volume:shop_data") < ended.place(order[1]));
    let standing = ended.standing();
    assert_eq!(standing["db"], "healthy");
    assert_eq!(standing["migrate"], "completed");
    assert_eq!(standing["web"], "running");
    let scope = agent.store.scope().workspace_id;
    let project = agent.store.project(scope, "shop".to_owned()).await.unwrap().unwrap();
    assert_eq!(project.deployed_revision_id, project.revision_id);
    // The run and its last event name the plan that it began with: the images to be fetched.
    let digest = ended.run.context.details.plan_digest.expect("a digest");
    let filter =
        AuditFilter { operation_run_id: Some(ended.run.id), ..AuditFilter::workspace(scope) };
    let told = agent.store.audit(filter, PageRequest::first(1)).await.unwrap();
    assert_eq!(told.items[0].event.context.plan_digest, Some(digest));
}

#[tokio::test(start_paused = true)]
async fn a_second_deploy_writes_nothing() {
    let mut host = shop_host();
    let agent = host.start().await;
    agent.up(SHOP).await.assert(Outcome::Succeeded);
    host.engine.forget_calls();
    let again = agent.up(SHOP).await;
    again.assert(Outcome::Succeeded);
    assert_eq!(written(&host.engine), [""; 0]);
    assert_eq!(again.keys(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_variable_replaces_its_service_alone() {
    let mut host = shop_host();
    let agent = host.start().await;
    agent.up(SHOP).await.assert(Outcome::Succeeded);
    host.engine.forget_calls();
    let ended = agent.up(&SHOP.replace("red", "blue")).await;
    ended.assert(Outcome::Succeeded);
    let expect = [
        "create_container",
        "stop_container",
        "rename_container",
        "rename_container",
        "start_container",
        "remove_container",
    ];
    assert_eq!(written(&host.engine), expect);
    assert!(ended.keys().iter().all(|key| key.contains("shop-web-1")), "{:?}", ended.keys());
}

#[tokio::test(start_paused = true)]
async fn a_port_in_use_fails_one_service_and_the_others_come_up() {
    let mut host = Host::new();
    host.engine.occupy_port(Protocol::Tcp, 8080);
    let ended = host.start().await.up(PAIR).await;
    ended.assert(Outcome::PartiallySucceeded);
    assert_eq!(ended.failures()[0].0, "port.in_use");
    assert_eq!(ended.standing()["one"], "running");
    assert_eq!(ended.standing()["two"], "not_started");
}

#[tokio::test(start_paused = true)]
async fn a_deploy_after_which_nothing_runs_has_failed() {
    let mut host = Host::new();
    host.engine.occupy_port(Protocol::Tcp, 8080);
    let alone = "services:\n  two: { image: 'app:1', command: [serve], ports: ['8080:80'] }\n";
    host.start().await.up(alone).await.assert(Outcome::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_failed_migration_says_its_last_words_and_starts_once() {
    let mut host = Host::new();
    host.engine.behave("migrate", exits(1, 3));
    let agent = host.start().await;
    // Nobody asked for another try of the second run, which says all the same what is missing.
    for (ended, tries) in [(agent.up(SHOP).await, 1), (agent.converge().await, 0)] {
        assert_ne!(ended.run.outcome(), Outcome::Succeeded);
        let [(code, message)] = ended.failures()[..] else { panic!("{:?}", ended.failures()) };
        assert_eq!(code, "container.exited");
        assert!(message.contains("status 3") && message.contains("no such table"), "{message}");
        assert_eq!(ended.standing()["migrate"], "failed");
        assert_eq!(ended.standing()["web"], "not_started");
        let starts = ended.keys().into_iter().filter(|key| *key == "start:shop-migrate-1");
        assert_eq!(starts.count(), tries);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_service_ends_the_run_with_its_reason() {
    let mut host = Host::new();
    let health = HealthCourse::UnhealthyAfter(2);
    host.engine.behave("db", Behaviour { health, ..exits(99, 0) });
    let ended = host.start().await.up(SHOP).await;
    ended.assert(Outcome::PartiallySucceeded);
    let [(code, message)] = ended.failures()[..] else { panic!("{:?}", ended.failures()) };
    assert_eq!(code, "container.unhealthy");
    assert!(message.contains("no such table"), "{message}");
    assert_eq!(ended.standing()["db"], "unhealthy");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ends_at_once_counts_by_its_status() {
    for (code, outcome, starts) in [(0, Outcome::Succeeded, 1), (1, Outcome::Failed, 1)] {
        let mut host = Host::new();
        host.engine.behave("job", exits(0, code));
        let job = "services:\n  job: { image: 'app:1', command: [work] }\n";
        let ended = host.start().await.up(job).await;
        ended.assert(outcome);
        let started = ended.keys().into_iter().filter(|key| *key == "start:shop-job-1");
        assert_eq!(started.count(), starts, "{:?}", ended.failures());
        assert_eq!(ended.failures().len(), usize::from(code != 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_always_refuses_is_believed_soon_and_one_that_mends_is_not() {
    for (refusals, outcome) in [(2, Outcome::Succeeded), (50, Outcome::Failed)] {
        let mut host = Host::new();
        for _ in 0..refusals {
            host.engine.fail_next("start_container", EngineErrorKind::Internal);
        }
        let alone = "services:\n  one: { image: 'app:1', command: [serve] }\n";
        let ended = host.start().await.up(alone).await;
        ended.assert(outcome);
        let starts = ended.keys().into_iter().filter(|key| *key == "start:shop-one-1").count();
        assert!(starts <= 4, "{:?}", ended.keys());
        let codes: Vec<&str> = ended.failures().iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, if refusals > 2 { &["engine.refused"][..] } else { &[] });
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_outlasts_an_engine_that_goes_away() {
    let mut host = shop_host();
    let agent = host.start().await;
    let id = agent.submit(SHOP).await;
    agent.steps_taken(id, 6).await;
    host.engine.set_unreachable(true);
    tokio::time::sleep(Duration::from_secs(100)).await;
    host.engine.set_unreachable(false);
    let ended = agent.ended(id).await;
    ended.assert(Outcome::Succeeded);
    assert_eq!(ended.failures(), []);
    assert_eq!(ended.standing()["db"], "healthy");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stays_away_ends_the_run() {
    let mut host = Host::new();
    host.engine.set_unreachable(true);
    let ended = host.start().await.up(SHOP).await;
    ended.assert(Outcome::Failed);
    assert_eq!(ended.failures()[0].0, "engine.unreachable");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_looked_up_and_not_repeated() {
    for method in ["pull_image", "create_network", "create_container", "start_container"] {
        let mut host = shop_host();
        host.engine.lose_answer(method);
        let agent = host.start().await;
        let id = agent.apply(&bundle(SHOP), forced(true)).await;
        let ended = agent.ended(id).await;
        ended.assert(Outcome::Succeeded);
        let made = written(&host.engine).into_iter().filter(|made| *made == "create_container");
        assert_eq!(made.count(), 3, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_keeps_refusing_ends_the_run_with_its_words() {
    let mut host = Host::new();
    for _ in 0..20 {
        host.engine.fail_next("start_container", EngineErrorKind::Conflict);
    }
    let ended = host.start().await.up(PAIR).await;
    ended.assert(Outcome::Failed);
    assert!(ended.failures()[0].1.contains("a fault was planned"), "{:?}", ended.failures());
    assert!(ended.run.failure_summary.len() <= 2, "{:?}", ended.failures());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_stops_between_steps() {
    let mut host = shop_host();
    let agent = host.start().await;
    let id = agent.submit(SHOP).await;
    agent.steps_taken(id, 5).await;
    let scope = agent.store.scope();
    let actor = Actor::human(scope.owner_id, &scope.owner_name);
    agent.door.cancel(scope.workspace_id, id, actor).await.unwrap();
    let ended = agent.ended(id).await;
    ended.assert(Outcome::Cancelled);
    assert_all_recorded(&host.engine, &ended);
    assert!(!ended.keys().contains(&"start:shop-web-1"), "{:?}", ended.keys());
}

const WITH_FILES: &str = "
services:
  one: { image: 'app:1', command: [serve], configs: [settings], secrets: [password] }
  two: { image: 'app:1', command: [serve], configs: [settings] }
configs: { settings: { content: 'colour: red' } }
secrets: { password: { environment: PASSWORD } }
";

#[tokio::test(start_paused = true)]
async fn configs_are_files_that_containers_mount_until_nobody_needs_them() {
    let compose = WITH_FILES.replace(", secrets: [password]", "");
    let compose = compose.replace("secrets: { password: { environment: PASSWORD } }", "");
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(&compose).await.assert(Outcome::Succeeded);
    let sources = |observed: &crate::domain::rollout::Observed| -> Vec<String> {
        let mounts = observed.containers.iter().map(|c| c.spec.mounts["/settings"].clone());
        mounts
            .map(|mount| match mount.kind {
                MountKind::Bind { source, .. } if mount.read_only => source,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let first = sources(&agent.look().await);
    assert_eq!(first[0], first[1], "one content, one file");
    let blue = compose.replace("red", "blue");
    let only_one = DeployChoices { services: vec!["one".to_owned()], ..DeployChoices::default() };
    let id = agent.apply(&bundle(&blue), only_one).await;
    agent.ended(id).await.assert(Outcome::Succeeded);
    let kept = |path: &str| {
        agent
            .rollout
            .name_at("shop", path)
            .is_some_and(|name| agent.rollout.files.is_there("shop", &name))
    };
    let second = sources(&agent.look().await);
    assert_eq!(second.iter().filter(|source| **source == first[0]).count(), 1);
    assert!(second.iter().all(|source| kept(source)), "the other service keeps its file");
    agent.up(&blue).await.assert(Outcome::Succeeded);
    assert!(!kept(&first[0]), "nobody mounts the old content any more");
    agent.down(false).await.assert(Outcome::Succeeded);
    assert!(second.iter().all(|source| !kept(source)));
}

#[tokio::test(start_paused = true)]
async fn a_removal_goes_the_other_way() {
    let mut host = shop_host();
    let agent = host.start().await;
    agent.up(SHOP).await.assert(Outcome::Succeeded);
    host.engine.forget_calls();
    let ended = agent.down(true).await;
    ended.assert(Outcome::Succeeded);
    assert_all_recorded(&host.engine, &ended);
    let order = ["stop:shop-web-1", "stop:shop-db-1", "remove_network:shop_default"];
    let places: Vec<usize> = order.iter().map(|key| ended.place(key)).collect();
    assert!(places.is_sorted(), "{:#?}", ended.keys());
    ended.place("remove_volume:shop_data");
    let left = agent.look().await;
    assert!(left.containers.is_empty() && left.networks.is_empty() && left.volumes.is_empty());
    let scope = agent.store.scope().workspace_id;
    assert_eq!(agent.store.project(scope, "shop".to_owned()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_restart_restarts_each_container_once() {
    for loses_answer in [false, true] {
        let mut host = shop_host();
        let agent = host.start().await;
        agent.up(SHOP).await.assert(Outcome::Succeeded);
        tokio::time::sleep(Duration::from_secs(1)).await;
        host.engine.forget_calls();
        if loses_answer {
            host.engine.lose_answer("restart_container");
        }
        let ended = agent.restart().await;
        ended.assert(Outcome::Succeeded);
        assert_eq!(written(&host.engine), ["restart_container"; 2], "not the migration");
        assert_eq!(ended.keys(), ["restart:shop-db-1", "restart:shop-web-1"]);
    }
}

const BUILT: &str = "
services:
  web:
    command: [serve]
    build: { context: ., dockerfile_inline: 'FROM app:1' }
";

#[tokio::test(start_paused = true)]
async fn an_image_is_built_and_its_container_made_from_it() {
    use crate::domain::compose::dockerignore::context_digest;
    let mut host = Host::new();
    host.engine.add_image(image("app:1"));
    let agent = host.start().await;
    let archive = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let digest = context_digest(&[]);
    agent.rollout.contexts.put(&digest, &archive).unwrap();
    let bundle = bundle_with_context(BUILT, digest);
    // Somebody removes an image while the engine searches for earlier layers.
    host.engine.fail_next("build_image", EngineErrorKind::Conflict);
    let id = agent.apply(&bundle, DeployChoices::default()).await;
    let ended = agent.ended(id).await;
    ended.assert(Outcome::Succeeded);
    assert!(ended.keys()[0].starts_with("build_image:"), "{:?}", ended.keys());
    host.engine.forget_calls();
    let id = agent.apply(&bundle, DeployChoices::default()).await;
    agent.ended(id).await.assert(Outcome::Succeeded);
    assert_eq!(written(&host.engine), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_adoption_writes_nothing_to_the_engine() {
    let mut host = Host::new();
    let agent = host.start().await;
    let engine = &host.engine;
    engine.add_image(image("app:1"));
    let declared = Declared::from_bundle(&bundle(PAIR)).unwrap();
    let project = (labels::COMPOSE_PROJECT.to_owned(), "shop".to_owned());
    let owned = BTreeMap::from([project]);
    for network in declared.spec.networks.values() {
        engine.create_network(network, &owned).await.unwrap();
    }
    for (service, unit) in &declared.spec.services {
        let mut bookkeeping = owned.clone();
        bookkeeping.insert(labels::COMPOSE_SERVICE.to_owned(), service.clone());
        bookkeeping.insert(labels::COMPOSE_CONTAINER_NUMBER.to_owned(), "1".to_owned());
        bookkeeping.insert(labels::COMPOSE_ONEOFF.to_owned(), "False".to_owned());
        bookkeeping.insert(labels::COMPOSE_CONFIG_HASH.to_owned(), "theirs".to_owned());
        let new = NewContainer {
            name: format!("shop-{service}-1"),
            image: "app:1".to_owned(),
            spec: unit.spec.clone(),
            bookkeeping,
            resolved_namespaces: BTreeMap::new(),
            kept_volumes: BTreeMap::new(),
        };
        let id = engine.create_container(&new).await.unwrap();
        engine.start_container(&id).await.unwrap();
    }
    engine.forget_calls();
    let ended = agent.up(PAIR).await;
    ended.assert(Outcome::Succeeded);
    assert_eq!(ended.keys(), ["adopt:shop-one-1", "adopt:shop-two-1"]);
    let again = agent.up(PAIR).await;
    again.assert(Outcome::Succeeded);
    assert_eq!(again.keys(), [""; 0]);
    assert_eq!(written(engine), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_a_file_and_appears_nowhere_else() {
    let mut host = Host::new();
    let agent = host.start().await;
    let ended = agent.up(WITH_FILES).await;
    ended.assert(Outcome::Succeeded);
    let found = agent.look().await;
    let one = found.containers.iter().find(|found| found.name == "shop-one-1").unwrap();
    let mount = &one.spec.mounts["/run/secrets/password"];
    assert!(mount.read_only && matches!(mount.kind, MountKind::Bind { .. }), "{mount:?}");
    let told = format!("{:?} {:?} {:?}", ended.run, ended.steps, found.containers);
    assert!(!told.contains("sesame"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_waits_for_the_health_of_what_was_started_before() {
    let one = "
services:
  db: { image: 'db:1', command: [serve], healthcheck: { test: [CMD, ready] } }
";
    let mut host = Host::new();
    let health = HealthCourse::HealthyAfter(30);
    host.engine.behave("db", Behaviour { health, ..Behaviour::default() });
    let agent = host.start().await;
    let id = agent.submit(one).await;
    agent.steps_taken(id, 5).await;
    agent.kill().await;
    let ended = host.start().await.ended(id).await;
    ended.assert(Outcome::Succeeded);
    assert_eq!(ended.run.attempt, 2);
    assert_eq!(ended.standing()["db"], "healthy");
}

#[tokio::test(start_paused = true)]
async fn a_killed_restart_restarts_nothing_twice() {
    let mut host = shop_host();
    let agent = host.start().await;
    agent.up(SHOP).await.assert(Outcome::Succeeded);
    tokio::time::sleep(Duration::from_secs(1)).await;
    host.engine.forget_calls();
    let id = agent.submit_restart().await;
    agent.steps_taken(id, 2).await;
    agent.kill().await;
    host.start().await.ended(id).await.assert(Outcome::Succeeded);
    assert_eq!(written(&host.engine), ["restart_container"; 2]);
}

/// Killed at any time, with answers lost on the way, the agent's next life ends the run as if
/// nothing had been.
#[tokio::test(start_paused = true)]
async fn a_killed_agent_goes_on_where_the_host_is() {
    let methods = ["create_container", "start_container", "stop_container", "rename_container"];
    let blue = SHOP.replace("red", "blue");
    for seed in 0..40_u64 {
        let mut host = shop_host();
        let mut agent = host.start().await;
        if seed % 2 == 1 {
            agent.up(SHOP).await.assert(Outcome::Succeeded);
        }
        let id = agent.apply(&bundle(&blue), forced(seed % 4 == 3)).await;
        for life in 1..=3 {
            // No two seeds die at the same times: the numbers have no common divisor.
            let lives_for = (seed * 37 + life * 59) % 211;
            let unlucky = methods[usize::try_from(seed + life).unwrap() % methods.len()];
            host.engine.lose_answer(unlucky);
            tokio::time::sleep(Duration::from_millis(lives_for)).await;
            agent.kill().await;
            agent = host.start().await;
        }
        let ended = agent.ended(id).await;
        ended.assert(Outcome::Succeeded);
        assert_as_declared(&agent, &format!("seed {seed}")).await;
        host.engine.forget_calls();
        agent.up(&blue).await.assert(Outcome::Succeeded);
        assert_eq!(written(&host.engine), [""; 0], "seed {seed}");
    }
}

/// The shop runs, under its own names, and nothing else is there.
async fn assert_as_declared(agent: &Agent, when: &str) {
    let found = agent.look().await;
    let standing: BTreeMap<&str, ContainerState> =
        found.containers.iter().map(|found| (found.name.as_str(), found.state)).collect();
    let expect = BTreeMap::from([
        ("shop-db-1", ContainerState::Running),
        ("shop-migrate-1", ContainerState::Exited),
        ("shop-web-1", ContainerState::Running),
    ]);
    assert_eq!(standing, expect, "{when}");
    assert_eq!(found.containers.len(), 3, "{when}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_always_pulled_is_asked_for_and_nothing_else_is_written() {
    let always = "
services:
  one: { image: 'app:1', command: [serve], pull_policy: always }
";
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(always).await.assert(Outcome::Succeeded);
    host.engine.forget_calls();
    let again = agent.up(always).await;
    again.assert(Outcome::Succeeded);
    assert_eq!(again.keys(), ["pull_image:app:1"]);
    assert_eq!(written(&host.engine), ["pull_image"], "the container stays");

    host.engine.fail_next("pull_image", EngineErrorKind::ImageUnavailable);
    let refused = agent.up(always).await;
    let [(code, message)] = refused.failures()[..] else { panic!("{:?}", refused.failures()) };
    assert_eq!(code, "image.missing");
    assert!(message.contains("`pull_policy: missing`"), "{message}");
    assert_eq!(refused.standing()["one"], "running");
}
