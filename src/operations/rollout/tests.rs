//! Deployments on the strict fake engine: what is written, what is not, and what faults do.

use super::stage::{PROJECT, Stage, bundle};
use crate::domain::runs::{Outcome, ReasonCode};
use crate::facts::{ContainerState, Protocol};
use crate::operations::projects::ApplyChoices;
use crate::world::docker::fake::{Behaviour, HealthCourse};
use crate::world::docker::{Engine as _, EngineErrorKind};

const SHOP: &str = "
services:
  db:
    image: db:1
    volumes: [data:/data]
    healthcheck: {test: [CMD, ready]}
  migrate:
    image: app:1
    depends_on: {db: {condition: service_healthy}}
  web:
    image: app:1
    ports: ['8080:80']
    depends_on: {migrate: {condition: service_completed_successfully}}
volumes: {data: {}}
";

/// A stage on which the migration ends well.
async fn shop() -> Stage {
    let stage = Stage::set().await;
    let done = Behaviour { exit: Some((1, 0)), ..Behaviour::default() };
    stage.engine.behave("migrate", done);
    stage
}

fn reasons(run: &crate::domain::runs::OperationRun) -> Vec<ReasonCode> {
    run.failure_summary.iter().map(|failure| failure.reason_code).collect()
}

#[tokio::test(start_paused = true)]
async fn second_up_and_preview_write_nothing() {
    let stage = shop().await;
    let first = stage.up(SHOP).await;
    assert_eq!(first.outcome(), Outcome::Succeeded, "{:?}", first.failure_summary);
    assert_eq!(stage.containers().await["shop-web-1"].state, ContainerState::Running);
    stage.writes();
    let second = stage.up(SHOP).await;
    assert_eq!(second.outcome(), Outcome::Succeeded);
    let changed = SHOP.replace("8080", "8081");
    let (changed, asker) = (bundle(&changed), Stage::asker());
    let preview = stage.projects.preview(PROJECT, &changed, ApplyChoices::default(), &asker).await;
    assert!(!preview.unwrap().plan.is_empty());
    assert_eq!(stage.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn change_replaces_only_what_it_touches() {
    let stage = shop().await;
    stage.up(SHOP).await;
    stage.writes();
    let run = stage.up(&SHOP.replace("8080", "8081")).await;
    assert_eq!(run.outcome(), Outcome::Succeeded, "{:?}", run.failure_summary);
    let methods: Vec<String> =
        stage.writes().iter().map(|w| w.split(' ').next().unwrap().to_owned()).collect();
    let expect = [
        "create_container",
        "stop_container",
        "remove_container",
        "rename_container",
        "start_container",
    ];
    assert_eq!(methods, expect);
    assert_eq!(stage.containers().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn failed_migration_keeps_its_dependent_down_and_tells_its_last_words() {
    let stage = shop().await;
    let output = vec![(true, "no such table".to_owned())];
    let failing = Behaviour { exit: Some((1, 3)), output, ..Behaviour::default() };
    stage.engine.behave("migrate", failing);
    let run = stage.up(SHOP).await;
    assert_eq!(run.outcome(), Outcome::PartiallySucceeded);
    assert_eq!(reasons(&run), [ReasonCode::ContainerExited]);
    let message = run.failure_summary[0].message.as_str();
    assert!(message.contains("status 3") && message.contains("no such table"), "{message}");
    let containers = stage.containers().await;
    assert_eq!(containers["shop-db-1"].state, ContainerState::Running);
    assert_eq!(containers["shop-web-1"].state, ContainerState::Created);
}

#[tokio::test(start_paused = true)]
async fn unhealthy_dependency_is_told() {
    let stage = shop().await;
    let ill = Behaviour { health: HealthCourse::UnhealthyAfter(2), ..Behaviour::default() };
    stage.engine.behave("db", ill);
    let run = stage.up(SHOP).await;
    assert_eq!(reasons(&run), [ReasonCode::ContainerUnhealthy]);
    assert_eq!(stage.containers().await["shop-migrate-1"].state, ContainerState::Created);
}

#[tokio::test(start_paused = true)]
async fn port_in_use_is_told_and_siblings_go_on() {
    let stage = shop().await;
    stage.engine.occupy_port(Protocol::Tcp, 8080);
    let run = stage.up(SHOP).await;
    assert_eq!(reasons(&run), [ReasonCode::PortInUse]);
    assert_eq!(run.failure_summary[0].subject, "shop-web-1");
    assert_eq!(stage.containers().await["shop-db-1"].state, ContainerState::Running);
}

#[tokio::test(start_paused = true)]
async fn missing_image_is_told() {
    let stage = shop().await;
    let run = stage.up("services: {web: {image: 'nowhere:1'}}").await;
    assert_eq!(run.outcome(), Outcome::Failed);
    assert_eq!(reasons(&run), [ReasonCode::ImageMissing]);
}

/// Every call that changes something fails once, before or after it acted: the run goes on.
#[tokio::test(start_paused = true)]
async fn lost_answers_are_made_up_for() {
    let methods = [
        "create_network",
        "create_volume",
        "create_container",
        "start_container",
        "stop_container",
        "remove_container",
        "rename_container",
    ];
    for method in methods {
        for has_acted in [true, false] {
            let stage = shop().await;
            let fault = || match has_acted {
                true => stage.engine.lose_answer(method),
                false => stage.engine.fail_next(method, EngineErrorKind::Unreachable),
            };
            fault();
            let first = stage.up(SHOP).await;
            let context = format!("{method}, acted: {has_acted}: {:?}", first.failure_summary);
            assert_eq!(first.outcome(), Outcome::Succeeded, "{context}");
            fault();
            let second = stage.up(&SHOP.replace("8080", "8081")).await;
            let context = format!("{method}, acted: {has_acted}: {:?}", second.failure_summary);
            assert_eq!(second.outcome(), Outcome::Succeeded, "{context}");
            let containers = stage.containers().await;
            let names: Vec<&str> = containers.keys().map(String::as_str).collect();
            assert_eq!(names, ["shop-db-1", "shop-migrate-1", "shop-web-1"], "{context}");
            assert_eq!(containers["shop-web-1"].state, ContainerState::Running, "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn engine_that_restarts_in_the_middle_is_waited_for() {
    let stage = shop().await;
    stage.engine.set_unreachable(true);
    let (files, asker) = (bundle(SHOP), Stage::asker());
    let applied = stage.projects.apply(PROJECT, &files, ApplyChoices::default(), &asker).await;
    let id = applied.unwrap().run().id;
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    stage.engine.set_unreachable(false);
    assert_eq!(stage.end_of(id).await.outcome(), Outcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_always_conflicts_is_told_with_the_engines_words() {
    let stage = shop().await;
    for _ in 0..40 {
        stage.engine.fail_next("create_network", EngineErrorKind::Conflict);
    }
    let run = stage.up(SHOP).await;
    assert_eq!(run.outcome(), Outcome::Failed, "nothing runs");
    assert_eq!(reasons(&run), [ReasonCode::NameInUse]);
}

#[tokio::test(start_paused = true)]
async fn removal_takes_everything_but_the_data() {
    let stage = shop().await;
    stage.up(SHOP).await;
    let admitted = stage.projects.remove(PROJECT, false, &Stage::asker()).await.unwrap();
    let run = stage.end_of(admitted.run().id).await;
    assert_eq!(run.outcome(), Outcome::Succeeded, "{:?}", run.failure_summary);
    assert!(stage.containers().await.is_empty());
    assert!(stage.engine.network("shop_default").await.unwrap().is_none());
    assert!(stage.engine.volume("shop_data").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn restart_happens_once() {
    let stage = shop().await;
    stage.up(SHOP).await;
    stage.writes();
    let admitted = stage.projects.restart(PROJECT, Vec::new(), &Stage::asker()).await.unwrap();
    assert_eq!(stage.end_of(admitted.run().id).await.outcome(), Outcome::Succeeded);
    let restarts = stage.writes();
    assert_eq!(restarts.len(), 2, "{restarts:?}");
    assert!(restarts.iter().all(|write| write.starts_with("restart_container")));
}
