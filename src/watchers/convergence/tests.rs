//! The watcher on a fake engine, with a real store, door and runner.

use super::*;
use crate::facts::ContainerState;
use crate::operations::rollout::stage::{PROJECT, Stage};
use crate::world::docker::fake::Behaviour;
use crate::world::tasks::Spawn as _;
use futures_util::FutureExt as _;

const WEB: &str = "
services:
  once: {image: 'db:1'}
  web: {image: 'app:1'}
";

/// A stage with a project that runs, and a watcher.
async fn watched() -> (Stage, watch::Sender<ConvergenceOptions>) {
    let stage = Stage::set().await;
    stage.engine.behave("once", Behaviour { exit: Some((1, 0)), ..Behaviour::default() });
    let options = ConvergenceOptions {
        enabled: true,
        sweep_interval: Duration::from_secs(600),
        debounce: Duration::from_millis(500),
    };
    let clock = Arc::clone(&stage.ambient.clock);
    let (set_options, options) = watch::channel(options);
    let watcher = Convergence::new(stage.rollout.clone(), stage.door.clone(), clock, options);
    let watch = watcher.watch(stage.supervisor.stop_token()).boxed();
    let _task = stage.supervisor.spawn("convergence", watch);
    let run = stage.up(WEB).await;
    assert_eq!(run.outcome(), Outcome::Succeeded, "{:?}", run.failure_summary);
    pass(10).await;
    (stage, set_options)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn state_of_web(stage: &Stage) -> Option<ContainerState> {
    stage.containers().await.get("shop-web-1").map(|container| container.state)
}

#[tokio::test(start_paused = true)]
async fn observation_is_not_a_run() {
    let (stage, _options) = watched().await;
    pass(3_600).await;
    assert_eq!(stage.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn removed_or_stopped_container_comes_back() {
    let (stage, _options) = watched().await;
    stage.engine.remove_behind("shop-web-1");
    pass(10).await;
    assert_eq!(state_of_web(&stage).await, Some(ContainerState::Running));
    pass(120).await;
    stage.engine.stop_behind("shop-web-1");
    pass(10).await;
    assert_eq!(state_of_web(&stage).await, Some(ContainerState::Running));
    let runs = stage.runs().await;
    assert_eq!(runs.len(), 3);
    assert!(runs[..2].iter().all(|run| run.source == Source::Convergence));
}

#[tokio::test(start_paused = true)]
async fn finished_work_is_not_repeated() {
    let (stage, _options) = watched().await;
    assert_eq!(stage.containers().await["shop-once-1"].state, ContainerState::Exited);
    pass(1_000).await;
    assert_eq!(stage.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn engine_restart_is_made_up_for() {
    let (stage, _options) = watched().await;
    stage.engine.restart();
    pass(60).await;
    assert_eq!(state_of_web(&stage).await, Some(ContainerState::Running));
    assert_eq!(stage.containers().await["shop-once-1"].state, ContainerState::Exited);
}

#[tokio::test(start_paused = true)]
async fn paused_project_is_left_alone_until_it_is_resumed() {
    let (stage, _options) = watched().await;
    stage.projects.pause(PROJECT, &Stage::asker()).await.unwrap();
    stage.engine.remove_behind("shop-web-1");
    pass(1_000).await;
    assert_eq!(state_of_web(&stage).await, None);
    stage.projects.resume(PROJECT, &Stage::asker()).await.unwrap();
    pass(10).await;
    assert_eq!(state_of_web(&stage).await, Some(ContainerState::Running));
}

#[tokio::test(start_paused = true)]
async fn broken_project_does_not_flood_the_queue() {
    let (stage, _options) = watched().await;
    let failures = 60;
    for _ in 0..failures {
        let kind = crate::world::docker::EngineErrorKind::PortInUse;
        stage.engine.fail_next("start_container", kind);
    }
    stage.engine.remove_behind("shop-web-1");
    pass(3_600).await;
    let runs = stage.runs().await.len();
    assert!((10..=22).contains(&runs), "{runs} runs in an hour");
}

#[tokio::test(start_paused = true)]
async fn agent_without_an_engine_waits_for_it() {
    let (stage, _options) = watched().await;
    stage.engine.set_unreachable(true);
    pass(300).await;
    stage.engine.set_unreachable(false);
    stage.engine.remove_behind("shop-web-1");
    pass(60).await;
    assert_eq!(state_of_web(&stage).await, Some(ContainerState::Running));
}

#[tokio::test(start_paused = true)]
async fn watcher_ends_when_told() {
    let (stage, _options) = watched().await;
    assert_eq!(
        stage.supervisor.shut_down(Duration::from_secs(1)).await,
        1,
        "only the runner is left"
    );
}

#[tokio::test(start_paused = true)]
async fn options_change_while_it_watches() {
    let (stage, options) = watched().await;
    options.send_modify(|options| options.enabled = false);
    stage.engine.remove_behind("shop-web-1");
    pass(1_000).await;
    assert_eq!(state_of_web(&stage).await, None);
    options.send_modify(|options| options.enabled = true);
    pass(10).await;
    assert_eq!(state_of_web(&stage).await, Some(ContainerState::Running));
}
