//! Proves what is known beyond one life of the agent: whose a project is, what a removal still owes,
//! how containers ended. Owns no host. Face: none. Never on a real engine.

use std::time::Duration;

use super::{PAIR, written};
use crate::base::Timestamp;
use crate::domain::rollout::{Exit, PlanOptions};
use crate::domain::runs::{DeployChoices, Outcome};
use crate::facts::{ContainerFacts, labels};
use crate::operations::harness::{Agent, Host, bundle};
use crate::operations::rollout::Declared;
use crate::store::ContainerExit;
use crate::world::docker::{Engine as _, EngineErrorKind};

#[tokio::test(start_paused = true)]
async fn two_agents_on_one_engine_leave_each_other_alone() {
    let mut ours = Host::new();
    let agent = ours.start().await;
    agent.up(PAIR).await.assert(Outcome::Succeeded);
    let other = ours.beside().start().await;
    ours.engine.forget_calls();
    let (changed, id) = (PAIR.replace("serve", "other"), agent.rollout.owner());
    for ended in [other.up(&changed).await, other.restart().await, other.down(true).await] {
        ended.assert(Outcome::Blocked);
        let [(code, message)] = ended.failures()[..] else { panic!("{:?}", ended.failures()) };
        assert_eq!(code, "project.owned_elsewhere");
        assert!(message.contains(&id) && message.contains("--adopt"), "{message}");
    }
    assert_eq!(written(&ours.engine), [""; 0]);
    agent.up(PAIR).await.assert(Outcome::Succeeded);
    assert_eq!(written(&ours.engine), [""; 0]);

    let adopting = DeployChoices { adopt: true, ..DeployChoices::default() };
    other.up_with(&changed, adopting).await.assert(Outcome::Succeeded);
    agent.up(PAIR).await.assert(Outcome::Blocked);
    ours.engine.forget_calls();
    other.up(&changed).await.assert(Outcome::Succeeded);
    assert_eq!(written(&ours.engine), [""; 0], "what was taken over is its own");
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_its_database_knows_its_own_containers() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(PAIR).await.assert(Outcome::Succeeded);
    let labelled =
        |found: &crate::facts::ContainerFacts| found.all_labels.get(labels::OWNER).cloned();
    let owners: Vec<_> = agent.look().await.containers.iter().map(labelled).collect();
    assert_eq!(owners, vec![Some(agent.rollout.owner()); 2]);
    agent.kill().await;
    host.lose_database();
    host.engine.forget_calls();
    host.start().await.up(PAIR).await.assert(Outcome::Succeeded);
    assert_eq!(written(&host.engine), [""; 0]);
}

/// A service with a volume of its own, and one whose volume has no name.
const ANONYMOUS: &str = "
services:
  one: { image: 'app:1', command: [serve], volumes: [/cache, 'data:/data'] }
  two: { image: 'app:1', command: [serve], volumes: [/cache] }
volumes: { data: {} }
";

#[tokio::test(start_paused = true)]
async fn a_killed_removal_leaves_no_volume_behind() {
    for lives_for in (0..90).step_by(3) {
        let mut host = Host::new();
        let agent = host.start().await;
        agent.up(ANONYMOUS).await.assert(Outcome::Succeeded);
        assert_eq!(host.engine.volumes(None).await.unwrap().len(), 3);
        let removal = tokio::time::timeout(Duration::from_millis(lives_for), agent.down(true));
        let _ = removal.await;
        agent.kill().await;
        let agent = host.start().await;
        agent.down(true).await.assert(Outcome::Succeeded);
        assert_eq!(host.engine.volumes(None).await.unwrap(), [], "killed after {lives_for} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_removal_could_not_remove_the_next_one_does() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(ANONYMOUS).await.assert(Outcome::Succeeded);
    for _ in 0..3 {
        host.engine.fail_next("remove_volume", EngineErrorKind::Invalid);
    }
    agent.down(true).await.assert(Outcome::PartiallySucceeded);
    assert_eq!(host.engine.volumes(None).await.unwrap().len(), 3);
    agent.kill().await;
    let agent = host.start().await;
    agent.down(true).await.assert(Outcome::Succeeded);
    assert_eq!(host.engine.volumes(None).await.unwrap(), []);
    let workspace = agent.store.scope().workspace_id;
    let doomed = agent.store.doomed_volumes(workspace, "shop".to_owned()).await;
    assert_eq!(doomed.unwrap(), [""; 0]);
}

/// Somebody watched and wrote down that the container ended with status 0.
async fn note_end(agent: &Agent, container: &ContainerFacts, ended: Exit, seen_at: Timestamp) {
    let instance = container.instance.clone().unwrap();
    let exit = ContainerExit {
        workspace_id: agent.store.scope().workspace_id,
        project: instance.project,
        service: instance.service,
        number: instance.number,
        container_id: container.id.clone(),
        ended,
        exit_code: 0,
        count: 1,
        seen_at,
    };
    agent.store.record_exit(exit).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn how_a_container_ended_is_known_after_a_restart_of_the_agent() {
    for (ended, starts) in [(Exit::OnItsOwn, 0), (Exit::ByHand, 1), (Exit::WithTheEngine, 1)] {
        let mut host = Host::new();
        let agent = host.start().await;
        agent.up(PAIR).await.assert(Outcome::Succeeded);
        // Status 0 tells nothing: only who watched knows whether its work is done.
        host.engine.exit_container("shop-one-1", 0);
        let container = agent.look().await.containers.remove(0);
        note_end(&agent, &container, ended, container.finished_at.unwrap()).await;
        agent.kill().await;
        let agent = host.start().await;
        assert_eq!(agent.look().await.exits.get(&container.id), Some(&ended));
        host.engine.forget_calls();
        agent.converge().await.assert(Outcome::Succeeded);
        assert_eq!(written(&host.engine), vec!["start_container"; starts], "{ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_saw_is_not_taken_for_the_one_before() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(PAIR).await.assert(Outcome::Succeeded);
    // Its program ended, it was started again, and the kernel killed it, all within a second.
    host.engine.exit_container("shop-one-1", 137);
    let container = agent.look().await.containers.remove(0);
    note_end(&agent, &container, Exit::OnItsOwn, container.finished_at.unwrap()).await;
    assert_eq!(agent.look().await.exits, [].into());
    host.engine.forget_calls();
    agent.converge().await.assert(Outcome::Succeeded);
    assert_eq!(written(&host.engine), ["start_container"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_last_start_says_nothing_however_short_ago() {
    for ended in [Exit::OnItsOwn, Exit::ByHand, Exit::WithTheEngine] {
        let mut host = Host::new();
        let agent = host.start().await;
        agent.up(PAIR).await.assert(Outcome::Succeeded);
        host.engine.exit_container("shop-one-1", 0);
        let container = agent.look().await.containers.remove(0);
        note_end(&agent, &container, ended, container.started_at.unwrap()).await;
        assert_eq!(agent.look().await.exits, [].into(), "{ended}");
    }
}

/// Two services in one network, and one service in the same network, which is another by then.
const NETWORKED: [&str; 2] = [
    "services: {one: {image: 'app:1'}, two: {image: 'app:1'}}",
    "services: {one: {image: 'app:1'}}\nnetworks: {default: {internal: true}}",
];

#[tokio::test(start_paused = true)]
async fn what_an_up_could_not_remove_is_removed_without_being_asked_again() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(NETWORKED[0]).await.assert(Outcome::Succeeded);
    for _ in 0..9 {
        host.engine.fail_next("stop_container", EngineErrorKind::Invalid);
    }
    assert_ne!(agent.up(NETWORKED[1]).await.run.outcome(), Outcome::Succeeded);
    assert!(agent.containers().await.contains_key("shop-two-1"));
    host.engine.forget_faults();
    agent.converge().await.assert(Outcome::Succeeded);
    let names: Vec<String> = agent.containers().await.into_keys().collect();
    assert_eq!(names, ["shop-one-1"]);
}

#[tokio::test(start_paused = true)]
async fn an_orphan_that_is_to_stay_stays_and_stands_in_the_way_of_its_network() {
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(NETWORKED[0]).await.assert(Outcome::Succeeded);
    let keeping = || DeployChoices { keep_orphans: true, ..DeployChoices::default() };
    let without = "services: {one: {image: 'app:1'}}";
    agent.up_with(without, keeping()).await.assert(Outcome::Succeeded);
    agent.converge().await.assert(Outcome::Succeeded);
    assert!(agent.containers().await.contains_key("shop-two-1"));
    let asked = agent.up_with(NETWORKED[1], keeping()).await;
    for ended in [asked, agent.converge().await] {
        let [(_, message)] = ended.failures()[..] else { panic!("{:?}", ended.failures()) };
        let expect = "container \"shop-two-1\" keeps it in use";
        assert!(message.contains(expect), "{message}");
    }
    assert!(agent.containers().await.contains_key("shop-two-1"));
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_while_containers_are_made_takes_none_for_a_strangers() {
    let declared = Declared::from_bundle(&bundle(PAIR)).unwrap();
    let mut seen_on_the_way = 0;
    for begins_after in (0..300).step_by(10) {
        let mut host = Host::new();
        let agent = host.start().await;
        host.engine.set_latency(Duration::from_millis(10));
        let run = agent.submit(PAIR).await;
        tokio::time::sleep(Duration::from_millis(begins_after)).await;
        let workspace = agent.store.scope().workspace_id;
        let options = PlanOptions::convergence();
        let preview = agent.rollout.preview(workspace, &declared, &options).await;
        let plan = preview.unwrap_or_else(|error| panic!("after {begins_after} ms: {error}")).plan;
        seen_on_the_way += usize::from(!plan.is_empty());
        agent.ended(run).await.assert(Outcome::Succeeded);
    }
    assert!(seen_on_the_way > 3, "nothing was under way");
}
