//! One table: what changed, and which steps follow for which cause.

use super::*;
use crate::base::Secret;
use crate::facts::{ContainerFacts, ContainerState, Instance, RestartPolicy, labels};

/// Changes the running shop and its declaration, and compares the steps that matter, written as
/// `title subject: code`.
fn check(change: impl FnOnce(&mut ProjectSpec, &mut World), expect: &[&str]) {
    let (mut desired, mut world) = (shop(), running_shop());
    change(&mut desired, &mut world);
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    let is_detail = |step: &&Step| {
        !matches!(step.cause, Cause::Replacement | Cause::Awaited | Cause::NotConnected { .. })
            && !matches!(step.cause, Cause::NeverStarted)
    };
    let told = plan.steps.iter().filter(is_detail);
    let found: Vec<String> = told
        .map(|step| format!("{} {}: {}", step.action.title(), step.subject, step.cause.code()))
        .collect();
    assert_eq!(found, expect, "{plan}");
}

fn find<'a>(world: &'a mut World, service: &str) -> &'a mut ContainerFacts {
    let is_it = |c: &&mut ContainerFacts| c.instance.as_ref().is_some_and(|i| i.service == service);
    world.observed.containers.iter_mut().find(is_it).unwrap()
}

fn web(desired: &mut ProjectSpec) -> &mut ServiceUnit {
    desired.services.get_mut("web").unwrap()
}

#[test]
fn declaration_changes_replace_what_they_touch() {
    check(|_, _| {}, &[]);
    let replaced = "create replacement shop-web-1: contract_changed";
    check(|desired, _| web(desired).spec.image = "app:2".to_owned(), &[replaced]);
    let value = Secret::new("x".to_owned());
    let add = |d: &mut ProjectSpec, _: &mut World| {
        web(d).spec.environment.insert("KEY".to_owned(), value);
    };
    check(add, &[replaced]);
    check(|_, world| world.add_image("db:1"), &["create replacement shop-db-1: image_changed"]);
}

#[test]
fn stops_and_removals_are_made_up_for() {
    let remove = |world: &mut World, service: &str| {
        let id = find(world, service).id.clone();
        world.observed.containers.retain(|container| container.id != id);
    };
    check(|_, world| remove(world, "web"), &["create container shop-web-1: missing"]);
    let stop = |_: &mut ProjectSpec, world: &mut World| {
        let web = find(world, "web");
        (web.state, web.exit_code) = (ContainerState::Exited, 143);
    };
    check(stop, &["start shop-web-1: exited"]);
    let freeze = |_: &mut ProjectSpec, w: &mut World| find(w, "web").state = ContainerState::Paused;
    check(freeze, &["unpause shop-web-1: paused"]);
    let dead = |_: &mut ProjectSpec, w: &mut World| find(w, "web").state = ContainerState::Dead;
    check(dead, &["create replacement shop-web-1: unusable"]);
    let leave = |_: &mut ProjectSpec, world: &mut World| {
        find(world, "web").addresses.remove("shop_front");
    };
    check(leave, &[]);
}

#[test]
fn scale_goes_up_and_down_by_number() {
    check(
        |desired, _| web(desired).replicas = 3,
        &["create container shop-web-2: scaled_up", "create container shop-web-3: scaled_up"],
    );
    check(
        |desired, _| web(desired).replicas = 0,
        &["stop shop-web-1: scaled_down", "remove container shop-web-1: scaled_down"],
    );
}

#[test]
fn orphans_go_only_when_they_are_ours() {
    check(
        |desired, _| drop(desired.services.remove("web")),
        &["stop shop-web-1: orphaned", "remove container shop-web-1: orphaned"],
    );
    let foreign = |desired: &mut ProjectSpec, world: &mut World| {
        desired.services.remove("web");
        find(world, "web").contract_hash = None;
    };
    check(foreign, &[]);
    let oneoff = |desired: &mut ProjectSpec, world: &mut World| {
        desired.services.remove("web");
        find(world, "web").oneoff = true;
    };
    check(oneoff, &[]);
}

#[test]
fn members_follow_a_network_that_was_replaced() {
    let replace = |_: &mut ProjectSpec, world: &mut World| {
        world.observed.networks.get_mut("shop_front").unwrap().id = "another".to_owned();
    };
    check(replace, &["create replacement shop-web-1: network_replaced"]);
}

#[test]
fn children_follow_their_parent() {
    let mut desired = shop();
    let mut child = service("app:1", &[]);
    child.spec.network_mode = NetworkMode::Service("web".to_owned());
    desired.services.insert("child".to_owned(), child);
    let mut world = running_shop();
    world.converge(&desired, &PlanOptions::explicit());
    web(&mut desired).spec.hostname = Some("other".to_owned());
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    let codes: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| step.action.title() == "create replacement")
        .map(|step| (step.subject.as_str(), step.cause.code()))
        .collect();
    let expect = [("shop-web-1", "contract_changed"), ("shop-child-1", "parent_replaced")];
    assert_eq!(codes, expect);
}

#[test]
fn dependents_that_ask_for_it_restart_even_after_a_crash() {
    let mut desired = shop();
    web(&mut desired).depends_on.get_mut("db").unwrap().restart = true;
    let mut world = running_shop();
    let db = desired.services.get_mut("db").unwrap();
    db.spec.hostname = Some("other".to_owned());
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    let restarts = |plan: &Plan| {
        plan.steps
            .iter()
            .any(|step| step.action.title() == "restart" && step.subject == "shop-web-1")
    };
    assert!(restarts(&plan), "{plan}");
    let before = plan.steps.iter().take_while(|step| step.action.title() != "restart");
    for step in before.cloned().collect::<Vec<_>>() {
        world.apply(&desired, &step);
    }
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    assert!(restarts(&plan), "{plan}");
    world.converge(&desired, &PlanOptions::explicit());
    assert!(planned(&desired, &world, &PlanOptions::explicit()).is_empty());
}

#[test]
fn interrupted_replacement_starts_the_old_one_again_when_minds_change() {
    let (old, mut world) = (shop(), running_shop());
    let mut meant = shop();
    web(&mut meant).spec.restart = RestartPolicy::No;
    web(&mut meant).spec.hostname = Some("other".to_owned());
    let plan = planned(&meant, &world, &PlanOptions::explicit());
    let until_stopped = plan.steps.iter().take_while(|s| s.action.title() != "remove container");
    for step in until_stopped.cloned().collect::<Vec<_>>() {
        world.apply(&meant, &step);
    }
    world.converge(&old, &PlanOptions::convergence());
    let web = find(&mut world, "web");
    assert_eq!((web.name.as_str(), web.state), ("shop-web-1", ContainerState::Running));
}

#[test]
fn what_stands_in_the_way_is_told_at_once() {
    let mut world = running_shop();
    let mut desired = shop();
    let front = desired.networks.get_mut("front").unwrap();
    (front.external, front.name) = (true, "elsewhere".to_owned());
    desired.volumes.get_mut("data").unwrap().external = true;
    world.observed.volumes.clear();
    web(&mut desired).container_name = Some("fixed".to_owned());
    web(&mut desired).replicas = 2;
    let back = world.observed.networks.get_mut("shop_back").unwrap();
    back.labels.insert(labels::COMPOSE_PROJECT.to_owned(), "other".to_owned());
    let errors = plan(&desired, &world.observed, &PlanOptions::explicit(), &key()).unwrap_err();
    let codes: Vec<_> = errors.0.iter().map(PlanError::code).collect();
    let expect = [
        "name_for_several",
        "foreign_network",
        "external_network_missing",
        "external_volume_missing",
    ];
    assert_eq!(codes, expect);
}

#[test]
fn name_of_another_container_is_not_taken() {
    let mut world = running_shop();
    let mut desired = shop();
    web(&mut desired).container_name = Some("taken".to_owned());
    world.observed.name_holders.insert("taken".to_owned(), "id".to_owned());
    let errors = plan(&desired, &world.observed, &PlanOptions::explicit(), &key()).unwrap_err();
    assert_eq!(errors.0, [PlanError::NameTaken { name: "taken".to_owned() }]);
}

#[test]
fn absent_image_is_pulled_or_refused() {
    let (mut desired, mut world) = (shop(), running_shop());
    web(&mut desired).spec.image = "new:1".to_owned();
    let pulled = planned(&desired, &world, &PlanOptions::explicit());
    assert_eq!(pulled.steps[0].action.title(), "pull image");
    web(&mut desired).pull_policy = crate::facts::PullPolicy::Never;
    let refused = plan(&desired, &world.observed, &PlanOptions::explicit(), &key()).unwrap_err();
    assert_eq!(refused.0[0].code(), "image_missing");
    world.add_image("new:1");
    assert!(plan(&desired, &world.observed, &PlanOptions::explicit(), &key()).is_ok());
}

#[test]
fn foreign_containers_are_adopted_only_on_demand() {
    let mut world = running_shop();
    let web = find(&mut world, "web");
    let instance: Option<Instance> = web.instance.clone();
    (web.contract_hash, web.spec.user) = (None, Some("root".to_owned()));
    assert!(instance.is_some());
    let left = planned(&shop(), &world, &PlanOptions::convergence());
    assert!(left.is_empty(), "{left}");
    assert_eq!(left.notices[0].code, "not_adopted");
    let taken = planned(&shop(), &world, &PlanOptions::explicit());
    assert_eq!(taken.steps[0].cause, Cause::AdoptionDiffers { fields: vec!["user".to_owned()] });
}

#[test]
fn a_volume_is_made_anew_only_when_it_is_named() {
    let changed = || {
        let mut desired = shop();
        desired.volumes.get_mut("data").unwrap().driver_options.insert("o".into(), "ro".into());
        desired
    };
    let world = running_shop();
    for options in [PlanOptions::explicit(), PlanOptions::convergence()] {
        let plan = planned(&changed(), &world, &options);
        assert_eq!((plan.is_empty(), plan.notices[0].code.as_str()), (true, "volume_changed"));
        assert!(plan.notices[0].message.contains("--recreate-volume data"), "{plan}");
    }
    let recreate_volumes = std::collections::BTreeSet::from(["data".to_owned()]);
    let named = PlanOptions { recreate_volumes, ..PlanOptions::explicit() };
    let plan = planned(&changed(), &world, &named);
    let titles: Vec<_> = plan.steps.iter().map(|step| step.action.title()).collect();
    let expect = [
        "stop",
        "remove container",
        "remove volume",
        "create volume",
        "create replacement",
        "rename",
        "start",
    ];
    assert_eq!(titles[..7], expect, "{plan}");
    assert!(
        plan.steps.iter().all(|step| step.subject.contains("db") || step.subject.contains("data"))
    );
    // Asked for what is as declared, or for what is not there: nothing, or an answer.
    assert!(planned(&shop(), &world, &named).is_empty());
    let recreate_volumes = std::collections::BTreeSet::from(["other".to_owned()]);
    let unknown = PlanOptions { recreate_volumes, ..PlanOptions::explicit() };
    let errors = plan_errors(&shop(), &world, &unknown);
    assert_eq!(errors[0].code(), "unknown_volume");
    // Another service that mounts it and is not part of this stands in the way.
    let mut shared = changed();
    let mount = shared.services["db"].spec.mounts["/data"].clone();
    web(&mut shared).spec.mounts.insert("/data".to_owned(), mount);
    let mut world = empty_engine();
    let mut before = shared.clone();
    before.volumes = shop().volumes;
    world.converge(&before, &PlanOptions::explicit());
    let services = Some(std::collections::BTreeSet::from(["db".to_owned()]));
    let alone = PlanOptions { services, ..named.clone() };
    assert_eq!(plan_errors(&shared, &world, &alone)[0].code(), "volume_in_use");
    let together = planned(&shared, &world, &named);
    for step in &together.steps {
        world.apply(&shared, step);
    }
    world
        .observed
        .volumes
        .get_mut("shop_data")
        .unwrap()
        .driver_options
        .insert("o".into(), "ro".into());
    assert!(planned(&shared, &world, &named).is_empty());
}

fn plan_errors(desired: &ProjectSpec, world: &World, options: &PlanOptions) -> Vec<PlanError> {
    plan(desired, &world.observed, options, &key()).unwrap_err().0
}

#[test]
fn doubled_network_goes_and_the_one_in_use_stays() {
    let double = |_: &mut ProjectSpec, world: &mut World| {
        let used = world.observed.networks.remove("shop_back").unwrap();
        // The surplus one has the lower id, and nobody uses it.
        let mut surplus = used.clone();
        surplus.id = "a".to_owned();
        world.observed.add_networks(vec![surplus, used.clone()]);
        assert_eq!(world.observed.networks["shop_back"].id, used.id);
    };
    check(double, &["remove network a: network_doubled"]);
}

#[test]
fn asking_the_registry_is_no_change() {
    let (mut desired, mut world) = (shop(), running_shop());
    web(&mut desired).pull_policy = crate::facts::PullPolicy::Always;
    let asks = planned(&desired, &world, &PlanOptions::explicit());
    let [step] = asks.steps.as_slice() else { panic!("{asks}") };
    assert_eq!((step.action.title(), step.cause.code()), ("pull image", "pull_always"));
    assert!(!asks.has_changes() && !asks.is_empty() && asks.engine_writes() == 0);
    assert!(planned(&desired, &world, &PlanOptions::convergence()).is_empty());
    world.observed.images.remove("app:1");
    world.observed.containers.clear();
    assert!(planned(&desired, &world, &PlanOptions::explicit()).has_changes());
}

#[test]
fn an_image_is_asked_for_again_when_the_last_time_is_long_ago() {
    let (mut desired, mut world) = (shop(), running_shop());
    web(&mut desired).pull_policy = crate::facts::PullPolicy::Every { seconds: 3600 };
    let at = |text: &str| Some(text.parse::<crate::base::Timestamp>().unwrap());
    let (noon, early, late) =
        (at("2026-01-01T12:00:00Z"), at("2026-01-01T11:00:00Z"), at("2026-01-01T11:00:01Z"));
    let mut check = |now, pulled: Option<_>, tagged, expect: &str| {
        let image = world.observed.images.get_mut("app:1").unwrap();
        image.last_tagged_at = tagged;
        let last_pulls = pulled.map(|at| ("app:1".to_owned(), at)).into_iter().collect();
        let options = PlanOptions { now, last_pulls, ..PlanOptions::explicit() };
        let plan = planned(&desired, &world, &options);
        let found = plan.steps.first().map_or("", |step| step.cause_text.as_str());
        assert_eq!(found, expect);
        assert!(!plan.has_changes() && plan.steps.len() < 2, "{plan}");
        let options = PlanOptions { trigger: Trigger::Convergence, ..options };
        assert!(planned(&desired, &world, &options).is_empty());
    };
    let unknown = "pull_policy is every 1h, and nobody knows when it was pulled";
    let old = "pull_policy is every 1h, and it was pulled at 2026-01-01T11:00:00Z";
    check(noon, None, None, unknown);
    check(noon, early, None, old);
    check(noon, None, early, old);
    check(noon, late, None, "");
    check(noon, early, late, "");
    check(noon, late, early, "");
}
