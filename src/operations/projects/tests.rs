//! Requests that meet each other, on a host in memory.

use std::time::Duration;

use super::*;
use crate::domain::access::Stage;
use crate::domain::audit::AuditEvents;
use crate::domain::policy::{Action, CheckId, PolicySet, Rules, Source, compile};
use crate::domain::runs::{OperationRun, RunState, SourceTree, Status};
use crate::operations::harness::{Agent, Host, PROJECT, asker, bundle};
use crate::store::{AuditFilter, PageRequest};
use crate::world::docker::{ContainerFilter, Engine as _};

const WEB: &str = "services: {web: {image: 'app:1'}}";
const OTHER: &str = "services: {web: {image: 'app:2'}}";
/// More than any request of these tests has calls of the store.
const TURNS_MAX: usize = 16;

impl Agent {
    async fn kept(&self) -> Option<Project> {
        let workspace = self.rollout.store.scope().workspace_id;
        self.rollout.store.project(workspace, PROJECT.to_owned()).await.unwrap()
    }

    async fn asked(&self, compose: &str) -> Admitted {
        let (bundle, asker) = (bundle(compose), asker());
        let choices = DeployChoices::default();
        self.projects.apply(PROJECT, &bundle, choices, &asker).await.unwrap()
    }

    /// A change by somebody else, when `turns` other calls of the store have come before it.
    async fn meanwhile(&self, turns: usize, write: Write) {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let scope = self.rollout.store.scope();
        let (name, asker) = (PROJECT, asker());
        let event = EventType::ProjectApplied;
        let event = self.projects.event(&scope, name, event, &asker, "meanwhile".to_owned());
        self.rollout.store.commit(vec![write], AuditEvents::from(event)).await.unwrap();
    }

    async fn events(&self) -> Vec<EventType> {
        let filter = AuditFilter::workspace(self.rollout.store.scope().workspace_id);
        let page = self.rollout.store.audit(filter, PageRequest::first(0)).await.unwrap();
        page.items.into_iter().map(|record| record.event.event_type).collect()
    }
}

fn forget(agent: &Agent) -> Write {
    let workspace_id = agent.rollout.store.scope().workspace_id;
    Write::ForgetProject { workspace_id, name: PROJECT.to_owned() }
}

/// A project whose removal is about to be recorded.
async fn removed() -> Agent {
    let agent = Host::new().start().await;
    agent.up(WEB).await;
    let workspace_id = agent.rollout.store.scope().workspace_id;
    let (name, at) = (PROJECT.to_owned(), agent.ambient.now());
    let unwanted = Write::KeepProject { workspace_id, name, desired: Desired::Removed, at };
    agent.meanwhile(0, unwanted).await;
    agent
}

#[tokio::test(start_paused = true)]
async fn files_applied_at_the_end_of_a_removal_are_kept() {
    for turns in 0..TURNS_MAX {
        let agent = removed().await;
        let (admitted, ()) = tokio::join!(agent.asked(WEB), agent.meanwhile(turns, forget(&agent)));
        let kept = agent.kept().await.unwrap_or_else(|| panic!("forgotten after {turns} turns"));
        assert_eq!(kept.desired, Desired::Running, "after {turns} turns");
        let run = agent.ended(admitted.run().id).await.run;
        assert_eq!(run.outcome().key(), "succeeded", "after {turns} turns: {run:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_asked_for_again_at_the_end_of_a_removal_is_accepted() {
    for turns in 0..TURNS_MAX {
        let agent = removed().await;
        let asker = asker();
        let removal = agent.projects.remove(PROJECT, true, &asker);
        let (admitted, ()) = tokio::join!(removal, agent.meanwhile(turns, forget(&agent)));
        let admitted = admitted.unwrap_or_else(|error| panic!("after {turns} turns: {error}"));
        let run = agent.ended(admitted.run().id).await.run;
        assert_eq!(run.outcome().key(), "succeeded", "after {turns} turns: {run:?}");
        assert_eq!(agent.kept().await, None, "after {turns} turns");
    }
}

#[tokio::test(start_paused = true)]
async fn services_that_two_ask_for_at_one_time_are_both_kept() {
    const BOTH: &str = "services: {one: {image: 'app:1'}, two: {image: 'app:1'}}";
    for is_known in [false, true] {
        for turns in 0..TURNS_MAX {
            let agent = Host::new().start().await;
            if is_known {
                agent.up_services(BOTH, &["one"]).await;
            }
            let two = async {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                agent.up_services(BOTH, &["two"]).await
            };
            tokio::join!(agent.up_services(BOTH, &["one"]), two);
            let kept = agent.kept().await.unwrap().wanted.names();
            assert_eq!(kept, ["one", "two"].map(str::to_owned).into(), "after {turns} turns");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_at_the_end_of_a_removal_is_recorded_or_refused() {
    for turns in 0..TURNS_MAX {
        let agent = removed().await;
        let asker = asker();
        let resume = agent.projects.resume(PROJECT, &asker);
        let (resumed, ()) = tokio::join!(resume, agent.meanwhile(turns, forget(&agent)));
        match (resumed, agent.kept().await) {
            (Ok(_), Some(kept)) => assert_eq!(kept.desired, Desired::Running),
            (Err(ProjectError::Unknown(_)), None) => {}
            (resumed, kept) => panic!("after {turns} turns: {resumed:?}, {kept:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_never_brings_back_older_files() {
    for turns in 0..TURNS_MAX {
        let agent = Host::new().start().await;
        agent.up(WEB).await;
        agent.projects.pause(PROJECT, &asker()).await.unwrap();
        let asker = asker();
        let resume = agent.projects.resume(PROJECT, &asker);
        let apply = async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            agent.asked(OTHER).await
        };
        let (resumed, _) = tokio::join!(resume, apply);
        resumed.unwrap();
        while agent.runs().await.iter().any(|run| !run.state.is_completed()) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let kept = agent.kept().await.unwrap();
        assert_eq!(kept.deployed_revision_id, kept.revision_id, "after {turns} turns");
    }
}

/// A project with a deployment that never ends, and the run.
async fn under_way() -> (Agent, OperationRun) {
    let agent = Host::new().start().await;
    agent.engine.set_latency(Duration::from_secs(3600));
    let id = agent.asked(WEB).await.run().id;
    let run = agent.until(id, |run| run.state == RunState::Running).await;
    (agent, run)
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_again_is_kept_though_it_needs_no_new_run() {
    let (agent, run) = under_way().await;
    for desired in [Desired::Paused, Desired::Removed] {
        let asker = asker();
        if desired == Desired::Paused {
            agent.projects.pause(PROJECT, &asker).await.unwrap();
        } else {
            agent.projects.remove(PROJECT, false, &asker).await.unwrap();
        }
        assert_eq!(agent.kept().await.unwrap().desired, desired);
        let before = agent.events().await.len();
        let admitted = agent.asked(WEB).await;
        assert!(matches!(&admitted, Admitted::Existing(found) if found.id == run.id));
        assert_eq!(agent.kept().await.unwrap().desired, Desired::Running, "after {desired}");
        let mut events = agent.events().await;
        events.truncate(events.len() - before);
        events.sort_by_key(|event| event.key());
        assert_eq!(events, [EventType::RunAskedAgain, EventType::ProjectApplied]);
    }
    let removals = agent.runs().await;
    let removal = removals.iter().find(|found| found.id != run.id).unwrap();
    assert_eq!((removal.state, removal.state.status()), (RunState::Queued, Status::Queued));
    let asker = asker();
    let again = agent.projects.remove(PROJECT, false, &asker).await.unwrap();
    assert!(matches!(&again, Admitted::Existing(found) if found.id == removal.id));
    assert_eq!(agent.kept().await.unwrap().desired, Desired::Removed);
}

#[tokio::test(start_paused = true)]
async fn files_that_break_a_denied_rule_are_not_deployed_and_what_runs_is_kept() {
    const LATEST: &str = "services: {web: {image: 'app:1'}, db: {image: 'app'}}";
    let agent = Host::new().start().await;
    agent.up(WEB).await;
    let mut rules = Rules::off();
    rules.set(Stage::Production, CheckId::ImageTag, Action::Deny);
    rules.set(Stage::Production, CheckId::Limits, Action::Warn);
    agent.projects.policies().set_rules(rules.clone());
    let refused = agent.up(LATEST).await;
    assert_eq!(refused.run.outcome().key(), "blocked", "{:?}", refused.run);
    assert_eq!(refused.steps.len(), 0);
    let failure = &refused.run.failure_summary[0];
    assert_eq!((failure.reason_code.key(), failure.subject.as_str()), ("refused", "db"));
    let message = "is refused by `rule.image_tag`: image `app` has no tag (compose.yaml:1:40); name a \
                   version, or a digest";
    assert_eq!(failure.message.as_str(), message);
    assert_eq!(refused.run.failure_summary.len(), 1, "a warning stops nothing");
    // A plan tells both kinds, and changes nothing.
    let choices = DeployChoices::default();
    let preview =
        agent.projects.preview(PROJECT, &bundle(LATEST), choices, &asker()).await.unwrap();
    let notices = preview.plan.notices.iter().filter(|it| it.code.starts_with("rule."));
    let codes: Vec<(&str, &str)> =
        notices.map(|it| (it.subject.as_str(), it.code.as_str())).collect();
    let expect = [("db", "rule.image_tag"), ("db", "rule.limits"), ("web", "rule.limits")];
    assert_eq!(codes, expect);
    // Files that were refused do not come in through another door.
    assert_eq!(agent.converge().await.run.outcome().key(), "blocked");
    // What was deployed before a rule is kept, although it breaks it now.
    agent.projects.policies().set_rules(Rules::off());
    agent.up(WEB).await;
    rules.set(Stage::Production, CheckId::Limits, Action::Deny);
    agent.projects.policies().set_rules(rules);
    assert_eq!(agent.converge().await.run.outcome().key(), "succeeded");
    assert_eq!(agent.up(WEB).await.run.outcome().key(), "blocked");
    // In another stage the same files are deployed.
    agent.projects.policies().set_rules(Rules::default());
    assert_ne!(agent.up(WEB).await.run.outcome().key(), "blocked");
}

#[tokio::test(start_paused = true)]
async fn the_commit_of_the_files_is_kept_with_the_run_and_asks_for_nothing_else() {
    let agent = Host::new().start().await;
    let source = SourceTree { commit: "ab".repeat(20), is_clean: false };
    let choices = DeployChoices { source: Some(source.clone()), ..DeployChoices::default() };
    let ended = agent.up_with(WEB, choices).await;
    let Inputs::DeployProject(deploy) = &ended.run.context.inputs else { panic!("no deploy") };
    assert_eq!(deploy.choices.source, Some(source));
    let without = agent.up(WEB).await;
    assert_eq!(without.run.run_identity_hash, ended.run.run_identity_hash);
}

fn policies(text: &str) -> PolicySet {
    compile(&[Source { file: "own.yaml", text }]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_service_is_hardened_before_it_is_planned_and_nothing_is_left_to_do() {
    let agent = Host::new().start().await;
    let text = "name: own\ntitle: t\nowner: o\naction: remediate\nparameters: {memory: 64m}\nchecks: \
                [read_only_root, memory_limit, capabilities_dropped]\n";
    agent.projects.policies().replace(policies(text));
    let choices = DeployChoices::default();
    let preview = agent.projects.preview(PROJECT, &bundle(WEB), choices.clone(), &asker()).await;
    let notices = preview.unwrap().plan.notices;
    let told = "is put right as `rule.read_only_root` of policy `own` asks: its root file system can be \
                written (compose.yaml:1:12); its root file system is read-only";
    assert!(notices.iter().any(|notice| notice.message == told), "{notices:?}");
    let deployed = agent.up(WEB).await;
    assert_eq!(deployed.run.outcome().key(), "succeeded", "{:?}", deployed.run);
    let made = agent.engine.containers(&ContainerFilter::default()).await.unwrap();
    assert!(made.iter().all(|container| container.spec.security.read_only));
    assert!(made.iter().all(|it| it.spec.resources.memory_bytes == Some(64 << 20)));
    assert!(made.iter().all(|it| it.spec.security.cap_drop.contains("ALL")));
    // Neither a person nor the watcher finds anything to do.
    let preview = agent.projects.preview(PROJECT, &bundle(WEB), choices, &asker()).await.unwrap();
    assert!(preview.plan.is_empty(), "{}", preview.plan);
    assert_eq!(agent.converge().await.steps.len(), 0);
    // Without the policy the containers are made anew as their files say.
    agent.projects.policies().replace(PolicySet::default());
    assert_eq!(agent.up(WEB).await.run.outcome().key(), "succeeded");
    let made = agent.engine.containers(&ContainerFilter::default()).await.unwrap();
    assert!(made.iter().all(|container| !container.spec.security.read_only));
}

#[tokio::test(start_paused = true)]
async fn what_no_machine_can_put_right_is_refused_and_what_is_not_known_stops_nothing() {
    let agent = Host::new().start().await;
    let text = |action: &str, check: &str| {
        format!("name: own\ntitle: t\nowner: o\naction: {action}\nchecks: [{check}]\n")
    };
    for (action, check, outcome) in [
        ("remediate", "memory_limit", "blocked"),
        ("quarantine", "memory_limit", "blocked"),
        ("audit", "memory_limit", "succeeded"),
        ("warn", "memory_limit", "succeeded"),
        ("deny", "ports_needed", "succeeded"),
        ("deny", "ssh_server", "succeeded"),
    ] {
        agent.projects.policies().replace(policies(&text(action, check)));
        let ended = agent.up(WEB).await;
        assert_eq!(ended.run.outcome().key(), outcome, "{action} {check}: {:?}", ended.run);
    }
}
