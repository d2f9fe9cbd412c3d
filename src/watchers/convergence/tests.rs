//! The watcher on a fake engine, with a real store, door and runner.

use super::*;
use crate::domain::runs::DeployChoices;
use crate::facts::ContainerState;
use crate::operations::harness::{Agent, Host, PROJECT, asker, bundle};
use crate::world::docker::fake::Behaviour;
use crate::world::tasks::Spawn as _;
use futures_util::FutureExt as _;

const WEB: &str = "
services:
  once: {image: 'db:1'}
  web: {image: 'app:1'}
";

/// An agent with a project that runs, and a watcher.
async fn watched() -> (Agent, watch::Sender<ConvergenceOptions>) {
    watched_by(Arc::new(|_| {})).await
}

/// The same, with somebody who hears what the watcher notices.
async fn watched_by(observer: Observer) -> (Agent, watch::Sender<ConvergenceOptions>) {
    let (agent, options) = empty_by(observer).await;
    agent.up(WEB).await.assert(Outcome::Succeeded);
    pass(10).await;
    (agent, options)
}

/// An agent with a watcher and nothing to watch.
async fn empty() -> (Agent, watch::Sender<ConvergenceOptions>) {
    empty_by(Arc::new(|_| {})).await
}

async fn empty_by(observer: Observer) -> (Agent, watch::Sender<ConvergenceOptions>) {
    let agent = Host::new().start().await;
    agent.engine.behave("once", Behaviour { exit: Some((1, 0)), ..Behaviour::default() });
    let options = ConvergenceOptions {
        enabled: true,
        sweep_interval: Duration::from_secs(600),
        debounce: Duration::from_millis(500),
    };
    let clock = Arc::clone(&agent.ambient.clock);
    let (set_options, options) = watch::channel(options);
    let watcher = Convergence::new(agent.rollout.clone(), agent.door.clone(), clock, options)
        .observed(observer);
    let watch = watcher.watch(agent.supervisor.stop_token()).boxed();
    let _task = agent.supervisor.spawn("convergence", watch);
    (agent, set_options)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn state_of_web(agent: &Agent) -> Option<ContainerState> {
    agent.containers().await.get("shop-web-1").map(|container| container.state)
}

#[tokio::test(start_paused = true)]
async fn observation_is_not_a_run() {
    let (agent, _options) = watched().await;
    pass(3_600).await;
    assert_eq!(agent.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn removed_or_stopped_container_comes_back() {
    let (agent, _options) = watched().await;
    agent.engine.remove_behind("shop-web-1");
    pass(10).await;
    assert_eq!(state_of_web(&agent).await, Some(ContainerState::Running));
    pass(120).await;
    agent.engine.stop_behind("shop-web-1");
    pass(10).await;
    assert_eq!(state_of_web(&agent).await, Some(ContainerState::Running));
    let runs = agent.runs().await;
    assert_eq!(runs.len(), 3);
    assert!(runs[..2].iter().all(|run| run.source == Source::Convergence));
}

#[tokio::test(start_paused = true)]
async fn frozen_container_goes_on() {
    let (agent, _options) = watched().await;
    let id = agent.containers().await["shop-web-1"].id.clone();
    agent.engine.forget_calls();
    agent.engine.pause_behind("shop-web-1");
    pass(10).await;
    let web = &agent.containers().await["shop-web-1"];
    assert_eq!((web.state, &web.id), (ContainerState::Running, &id));
    let written: Vec<_> = agent.engine.writes().iter().map(|call| call.method).collect();
    assert_eq!(written, ["unpause_container"]);
    let run = &agent.runs().await[0];
    let step = &agent.store.steps(run.id).await.unwrap()[0];
    assert_eq!((step.key.as_str(), step.cause.as_str()), ("unpause:shop-web-1", "frozen"));
    assert!(run.context.details.plan_digest.is_some(), "{:?}", run.context.details);
}

#[tokio::test(start_paused = true)]
async fn finished_work_is_not_repeated() {
    let (agent, _options) = watched().await;
    assert_eq!(agent.containers().await["shop-once-1"].state, ContainerState::Exited);
    pass(1_000).await;
    assert_eq!(agent.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn engine_restart_is_made_up_for() {
    let (agent, _options) = watched().await;
    agent.engine.restart();
    pass(60).await;
    assert_eq!(state_of_web(&agent).await, Some(ContainerState::Running));
    assert_eq!(agent.containers().await["shop-once-1"].state, ContainerState::Exited);
}

#[tokio::test(start_paused = true)]
async fn paused_project_is_left_alone_until_it_is_resumed() {
    let (agent, _options) = watched().await;
    agent.projects.pause(PROJECT, &asker()).await.unwrap();
    agent.engine.remove_behind("shop-web-1");
    pass(1_000).await;
    assert_eq!(state_of_web(&agent).await, None);
    agent.projects.resume(PROJECT, &asker()).await.unwrap();
    pass(10).await;
    assert_eq!(state_of_web(&agent).await, Some(ContainerState::Running));
}

#[tokio::test(start_paused = true)]
async fn broken_project_does_not_flood_the_queue() {
    let (agent, _options) = watched().await;
    let failures = 60;
    for _ in 0..failures {
        let kind = crate::world::docker::EngineErrorKind::PortInUse;
        agent.engine.fail_next("start_container", kind);
    }
    agent.engine.remove_behind("shop-web-1");
    pass(3_600).await;
    let runs = agent.runs().await.len();
    assert!((10..=22).contains(&runs), "{runs} runs in an hour");
}

#[tokio::test(start_paused = true)]
async fn agent_without_an_engine_waits_for_it() {
    let (agent, _options) = watched().await;
    agent.engine.set_unreachable(true);
    pass(300).await;
    agent.engine.set_unreachable(false);
    agent.engine.remove_behind("shop-web-1");
    pass(60).await;
    assert_eq!(state_of_web(&agent).await, Some(ContainerState::Running));
}

#[tokio::test(start_paused = true)]
async fn watcher_ends_when_told() {
    let (agent, _options) = watched().await;
    assert_eq!(
        agent.supervisor.shut_down(Duration::from_secs(1)).await,
        1,
        "only the runner is left"
    );
}

#[tokio::test(start_paused = true)]
async fn options_change_while_it_watches() {
    let (agent, options) = watched().await;
    options.send_modify(|options| options.enabled = false);
    agent.engine.remove_behind("shop-web-1");
    pass(1_000).await;
    assert_eq!(state_of_web(&agent).await, None);
    options.send_modify(|options| options.enabled = true);
    pass(10).await;
    assert_eq!(state_of_web(&agent).await, Some(ContainerState::Running));
}

const THREE: &str = "
services:
  db: {image: 'db:1'}
  other: {image: 'app:1'}
  web: {image: 'app:1', depends_on: [db]}
";

/// The services that run, each with its image.
async fn running(agent: &Agent) -> String {
    let found = agent.containers().await.into_values();
    let found = found.filter(|container| container.state == ContainerState::Running);
    let told = found.map(|found| format!("{}={}", found.name, found.spec.image));
    told.collect::<Vec<_>>().join(" ").replace("shop-", "")
}

#[tokio::test(start_paused = true)]
async fn only_what_was_asked_for_is_kept() {
    let (agent, _options) = empty().await;
    agent.up_services(THREE, &["web"]).await;
    pass(1_000).await;
    assert_eq!(running(&agent).await, "db-1=db:1 web-1=app:1", "and what it depends on");
    agent.engine.remove_behind("shop-db-1");
    pass(10).await;
    assert_eq!(running(&agent).await, "db-1=db:1 web-1=app:1");

    agent.up_services(THREE, &["other"]).await;
    agent.engine.remove_behind("shop-web-1");
    pass(200).await;
    assert_eq!(running(&agent).await, "db-1=db:1 other-1=app:1 web-1=app:1", "it adds");
}

#[tokio::test(start_paused = true)]
async fn plain_up_means_everything_again() {
    let (agent, _options) = empty().await;
    agent.up_services(THREE, &["db"]).await;
    agent.up(THREE).await;
    agent.engine.remove_behind("shop-other-1");
    pass(200).await;
    assert_eq!(running(&agent).await, "db-1=db:1 other-1=app:1 web-1=app:1");
}

#[tokio::test(start_paused = true)]
async fn services_that_were_not_asked_for_stay_at_their_revision() {
    let (agent, _options) = empty().await;
    agent.up(THREE).await;
    pass(60).await;
    let before = agent.containers().await;
    let newer = THREE.replace("app:1", "app:2");
    agent.up_services(&newer, &["web"]).await.assert(Outcome::Succeeded);
    pass(1_000).await;
    assert_eq!(agent.runs().await.len(), 2, "nothing else had to be done");
    assert_eq!(running(&agent).await, "db-1=db:1 other-1=app:1 web-1=app:2");
    let after = agent.containers().await;
    assert_eq!(after["shop-other-1"].id, before["shop-other-1"].id);

    agent.engine.remove_behind("shop-other-1");
    pass(10).await;
    assert_eq!(running(&agent).await, "db-1=db:1 other-1=app:1 web-1=app:2", "as it was applied");
    agent.up(&newer).await;
    assert_eq!(running(&agent).await, "db-1=db:1 other-1=app:2 web-1=app:2");
}

#[tokio::test(start_paused = true)]
async fn service_that_nobody_declares_is_refused_and_not_kept() {
    let (agent, _options) = empty().await;
    let services = vec!["wbe".to_owned()];
    let choices = DeployChoices { services, ..DeployChoices::default() };
    let refused = agent.projects.apply(PROJECT, &bundle(THREE), choices, &asker()).await;
    assert!(refused.unwrap_err().to_string().contains("\"wbe\""));
    let workspace = agent.store.scope().workspace_id;
    assert_eq!(agent.store.projects(workspace).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn container_that_outlives_its_engine_has_not_ended() {
    let (agent, _options) = watched().await;
    let recorded = async || -> Vec<(String, Exit)> {
        let workspace = agent.store.scope().workspace_id;
        let exits = agent.store.exits(workspace, PROJECT.to_owned()).await.unwrap();
        exits.into_iter().map(|exit| (exit.service, exit.ended)).collect()
    };
    let once = ("once".to_owned(), Exit::OnItsOwn);
    assert_eq!(agent.containers().await["shop-once-1"].state, ContainerState::Exited);
    pass(10).await;
    agent.engine.set_unreachable(true);
    pass(60).await;
    assert_eq!(recorded().await, [once.clone(), ("web".to_owned(), Exit::WithTheEngine)]);
    agent.engine.set_unreachable(false);
    pass(60).await;
    assert_eq!(recorded().await, [once], "it was found running");
    assert_eq!(agent.runs().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_noticed_is_told() {
    let noticed: Arc<std::sync::Mutex<Vec<Noticed>>> = Arc::default();
    let log = Arc::clone(&noticed);
    let (agent, _options) = watched_by(Arc::new(move |what| log.lock().unwrap().push(what))).await;
    let take = || std::mem::take(&mut *noticed.lock().unwrap());
    pass(60).await;
    take();
    // A sweep finds everything as applied.
    pass(600).await;
    let found = take();
    assert_eq!(found.iter().filter(|what| **what == Noticed::Swept).count(), 1, "{found:?}");
    let others: Vec<&Noticed> = found.iter().filter(|what| **what != Noticed::Swept).collect();
    assert!(!others.is_empty(), "nothing was looked at");
    assert!(others.iter().all(|what| **what == Noticed::Settled), "{found:?}");
    agent.engine.remove_behind("shop-web-1");
    pass(60).await;
    assert!(take().contains(&Noticed::Asked));
}
