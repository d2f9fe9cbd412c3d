use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::operations::harness::{Agent, Host};
use crate::store::{AuditFilter, PageRequest};

const SHOP: &str = "
name: shop
title: What the shop is held to
owner: shop-team
action: deny
checks: [privileged]
";

struct Desk {
    agent: Agent,
    dir: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("policies")).unwrap();
        let desk = Self { agent: Host::new().start().await, dir };
        desk.mode("policies", 0o755);
        desk
    }

    fn mode(&self, name: &str, mode: u32) {
        let path = self.dir.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join("policies").join(name), text).unwrap();
        self.mode(&format!("policies/{name}"), 0o644);
    }

    fn sources(&self) -> PolicySources {
        let directory = Some(self.dir.path().join("policies"));
        PolicySources { directory, shipped: Vec::new() }
    }

    /// A keeper as an agent that starts makes it.
    fn keeper(&self) -> PolicyKeeper {
        let (store, ambient) = (Arc::clone(&self.agent.store), self.agent.ambient.clone());
        let shared = SharedPolicies::new(PolicySet::default());
        PolicyKeeper::new(shared, store, ambient, self.dir.path(), Arc::new(|_, _| {}))
    }

    async fn started(&self) -> PolicyKeeper {
        let keeper = self.keeper();
        keeper.load(self.sources()).await;
        keeper
    }

    async fn recorded(&self) -> Vec<String> {
        let filter = AuditFilter::workspace(self.agent.store.scope().workspace_id);
        let events = self.agent.store.audit(filter, PageRequest::first(100)).await.unwrap();
        let mut told: Vec<String> = events
            .items
            .iter()
            .map(|event| event.event.event_type.to_string())
            .filter(|key| key.starts_with("policy."))
            .collect();
        told.sort();
        told
    }
}

fn names(keeper: &PolicyKeeper) -> Vec<String> {
    let set = keeper.policies().now();
    set.policies().iter().map(|policy| policy.name.to_string()).collect()
}

#[tokio::test]
async fn a_broken_set_leaves_the_last_good_one_in_force_also_over_a_restart() {
    let desk = Desk::new().await;
    desk.put("shop.yaml", SHOP);
    let keeper = desk.started().await;
    assert_eq!(names(&keeper), ["rules", "shop"]);
    desk.put("other.yaml", "name: other\nchecks: [privileeged]\nfoo: bar\n");
    keeper.load(desk.sources()).await;
    assert_eq!(names(&keeper), ["rules", "shop"]);
    let loading = keeper.loading();
    assert_eq!(loading.failures, 1);
    let places: Vec<String> = loading
        .problems
        .iter()
        .filter_map(|problem| problem.location.as_ref())
        .map(|at| format!("{}:{}", at.file.rsplit('/').next().unwrap(), at.line))
        .collect();
    assert!(places.contains(&"other.yaml:2".to_owned()), "{places:?}");
    assert!(places.contains(&"other.yaml:3".to_owned()), "{places:?}");
    // The same again is not told again.
    keeper.load(desk.sources()).await;
    assert_eq!(desk.recorded().await, ["policy.changed", "policy.refused"]);
    // Another life begins with broken files, and even without the good one.
    fs::remove_file(desk.dir.path().join("policies/shop.yaml")).unwrap();
    let next = desk.started().await;
    assert_eq!(names(&next), ["rules", "shop"]);
    assert_eq!(next.loading().failures, 1);
    let mode = fs::metadata(desk.dir.path().join("policies.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Good ones replace them.
    desk.put("other.yaml", &SHOP.replace("name: shop", "name: other"));
    next.load(desk.sources()).await;
    assert_eq!(names(&next), ["other", "rules"]);
    assert!(next.loading().problems.is_empty());
    // What did not change is not recorded again.
    let before = desk.recorded().await.len();
    drop(desk.started().await);
    assert_eq!(desk.recorded().await.len(), before);
}

#[tokio::test]
async fn a_folder_that_others_may_change_is_refused() {
    let desk = Desk::new().await;
    desk.put("shop.yaml", SHOP);
    desk.mode("policies", 0o777);
    let keeper = desk.started().await;
    assert_eq!(names(&keeper), ["rules"]);
    let problems = keeper.loading().problems;
    assert!(problems[0].message.contains("chmod go-w"), "{problems:?}");
    desk.mode("policies", 0o755);
    keeper.look().await;
    assert_eq!(names(&keeper), ["rules"], "a change counts when it stands still");
    keeper.look().await;
    assert_eq!(names(&keeper), ["rules", "shop"]);
    let loaded_at = keeper.loading().loaded_at;
    keeper.look().await;
    assert_eq!(keeper.loading().loaded_at, loaded_at);
}

#[tokio::test]
async fn a_shipped_policy_does_what_the_configuration_says() {
    let desk = Desk::new().await;
    let keeper = desk.keeper();
    let shipped = |action| Shipped { name: "restricted".to_owned(), action };
    let sources = |action| PolicySources { directory: None, shipped: vec![shipped(action)] };
    keeper.load(sources(Some(Action::Audit))).await;
    let set = keeper.policies().now();
    let audited = set.policy("restricted").unwrap();
    assert_eq!(audited.actions.default, Some(Action::Audit));
    assert!(audited.checks.iter().all(|bound| {
        let own = bound.actions.default.into_iter().chain(bound.actions.by_stage.values().copied());
        own.clone().all(|action| action == Action::Off)
    }));
    let digest = audited.digest;
    keeper.load(sources(None)).await;
    assert_ne!(keeper.policies().now().policy("restricted").unwrap().digest, digest);
    assert_eq!(desk.recorded().await, ["policy.changed", "policy.changed"]);
    keeper.load(PolicySources::default()).await;
    assert_eq!(names(&keeper), ["rules"]);
}
