//! How containers make way for their successors, and how they come back.

use super::*;
use crate::facts::{
    ContainerFacts, ContainerState, Health, PortBinding, Protocol, UpdateOrder, Updates,
};

/// Servers with a health check that may run side by side.
fn fleet(replicas: u32) -> ProjectSpec {
    let mut web = service("app:1", &[]);
    (web.replicas, web.spec.healthcheck) = (replicas, checked());
    let services = BTreeMap::from([("web".to_owned(), web)]);
    ProjectSpec { name: "shop".to_owned(), services, ..ProjectSpec::default() }
}

fn web(desired: &mut ProjectSpec) -> &mut ServiceUnit {
    desired.services.get_mut("web").unwrap()
}

fn next_version(desired: &ProjectSpec) -> ProjectSpec {
    let mut next = desired.clone();
    web(&mut next).spec.image = "app:2".to_owned();
    next
}

fn running(desired: &ProjectSpec) -> World {
    let mut world = empty_engine();
    world.converge(desired, &PlanOptions::explicit());
    world
}

fn with_port(desired: &mut ProjectSpec) {
    let (container_port, protocol, host_ip) = (80, Protocol::Tcp, None);
    let host_port = Some("8080".to_owned());
    let port = PortBinding { container_port, protocol, host_ip, host_port };
    web(desired).spec.ports.insert(port);
}

/// The words of a plan's steps, without their subjects.
fn words(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.action.title()).collect()
}

const BESIDE: [&str; 6] =
    ["create replacement", "start", "wait until healthy", "stop", "remove container", "rename"];
const IN_TURN: [&str; 7] = [
    "create replacement",
    "stop",
    "rename",
    "rename",
    "start",
    "wait until healthy",
    "remove container",
];

#[track_caller]
fn check(change: impl Fn(&mut ProjectSpec), expect: &[&str]) {
    let mut desired = fleet(1);
    change(&mut desired);
    let plan = planned(&next_version(&desired), &running(&desired), &PlanOptions::explicit());
    assert_eq!(words(&plan), expect, "{plan}");
}

fn mounted(kind: MountKind, read_only: bool) -> impl Fn(&mut ProjectSpec) {
    move |desired| {
        let mount = Mount { kind: kind.clone(), read_only };
        web(desired).spec.mounts.insert("/data".to_owned(), mount);
    }
}

fn volume() -> MountKind {
    MountKind::Volume { name: "other".to_owned(), no_copy: false, subpath: None }
}

fn declared(order: UpdateOrder) -> impl Fn(&mut ProjectSpec) {
    move |desired| web(desired).updates.order = Some(order)
}

#[test]
fn the_new_one_runs_first_where_nothing_forbids_it() {
    check(|_| {}, &BESIDE);
    check(mounted(volume(), true), &BESIDE);
    check(with_port, &IN_TURN);
    check(mounted(volume(), false), &IN_TURN);
    check(mounted(MountKind::Anonymous, false), &IN_TURN);
    check(|desired| web(desired).container_name = Some("web".to_owned()), &IN_TURN);
    check(|desired| web(desired).spec.network_mode = NetworkMode::Host, &IN_TURN);
    check(declared(UpdateOrder::StopFirst), &IN_TURN);
    let shared = |desired: &mut ProjectSpec| {
        mounted(volume(), false)(desired);
        declared(UpdateOrder::StartFirst)(desired);
    };
    check(shared, &BESIDE);
    let impossible = |desired: &mut ProjectSpec| {
        with_port(desired);
        declared(UpdateOrder::StartFirst)(desired);
    };
    check(impossible, &IN_TURN);
    let mut desired = fleet(1);
    impossible(&mut desired);
    let plan = planned(&next_version(&desired), &running(&desired), &PlanOptions::explicit());
    assert_eq!(plan.notices[0].code, "start_first_impossible");
}

#[test]
fn several_containers_share_a_volume_anyway() {
    let mut desired = fleet(2);
    mounted(volume(), false)(&mut desired);
    let plan = planned(&next_version(&desired), &running(&desired), &PlanOptions::explicit());
    assert_eq!(words(&plan)[..6], BESIDE, "{plan}");
}

#[test]
fn a_port_that_changes_is_in_nobodys_way() {
    let (mut old, mut new) = (fleet(1), fleet(1));
    with_port(&mut old);
    with_port(&mut new);
    let ports = std::mem::take(&mut web(&mut new).spec.ports);
    let other = |port| PortBinding { host_port: Some("8081".to_owned()), ..port };
    web(&mut new).spec.ports = ports.into_iter().map(other).collect();
    let plan = planned(&new, &running(&old), &PlanOptions::explicit());
    assert_eq!(words(&plan), BESIDE);
}

/// Which creations wait, directly or not, for the proof of which instance.
fn waits_for(plan: &Plan, create: &str, proof: &str) -> bool {
    let find = |title: &str, subject: &str| {
        let mut steps = plan.steps.iter();
        steps.find(|step| step.action.title() == title && step.subject == subject).unwrap()
    };
    let mut open = vec![find("create replacement", create)];
    let target = find("wait until healthy", proof).id;
    while let Some(step) = open.pop() {
        if step.id == target {
            return true;
        }
        open.extend(step.depends_on.iter().map(|id| plan.step(*id).unwrap()));
    }
    false
}

#[test]
fn several_are_replaced_one_after_the_other() {
    let plan_with = |updates: Updates| {
        let mut desired = fleet(3);
        web(&mut desired).updates = updates;
        let world = running(&desired);
        planned(&next_version(&desired), &world, &PlanOptions::explicit())
    };
    let plan = plan_with(Updates::default());
    assert!(waits_for(&plan, "shop-web-2", "shop-web-1"), "{plan}");
    assert!(waits_for(&plan, "shop-web-3", "shop-web-2"), "{plan}");
    let two = plan_with(Updates { parallelism: 2, ..Updates::default() });
    assert!(!waits_for(&two, "shop-web-2", "shop-web-1"), "{two}");
    assert!(waits_for(&two, "shop-web-3", "shop-web-1"), "{two}");
    let all = plan_with(Updates { parallelism: 0, ..Updates::default() });
    assert!(!waits_for(&all, "shop-web-3", "shop-web-1"), "{all}");
    let ready = plan_with(Updates { goes_on: true, ..Updates::default() });
    let second = ready.steps.iter().find(|step| step.subject == "shop-web-2").unwrap();
    assert_eq!((second.depends_on.len(), second.after.len()), (0, 1), "{ready}");
    let delay = std::time::Duration::from_secs(7);
    let monitor = std::time::Duration::from_secs(9);
    let slow = plan_with(Updates { delay, monitor, ..Updates::default() });
    let pauses = slow.steps.iter().filter(|step| step.action == Action::Pause { seconds: 7 });
    assert_eq!(pauses.count(), 2, "{slow}");
    assert!(waits_for(&slow, "shop-web-2", "shop-web-1"));
    let is_watched =
        |step: &&Step| matches!(step.action, Action::WaitFor { steady_seconds: 9, .. });
    assert_eq!(slow.steps.iter().filter(is_watched).count(), 3);
}

fn named<'a>(world: &'a World, name: &str) -> &'a ContainerFacts {
    world.observed.containers.iter().find(|found| found.name == name).unwrap()
}

/// The successor, while it works.
fn successor<'a>(world: &'a mut World, old: &str) -> Option<&'a mut ContainerFacts> {
    let mut all = world.observed.containers.iter_mut();
    all.find(|found| found.id != old && found.state == ContainerState::Running)
}

#[test]
fn a_successor_that_fails_gives_back_from_every_point() {
    for change in [|_: &mut ProjectSpec| {}, with_port] {
        let mut desired = fleet(1);
        change(&mut desired);
        let next = next_version(&desired);
        let mut returned = 0;
        for cut in 0.. {
            let mut world = running(&desired);
            world.stop_status = 0;
            let old = named(&world, "shop-web-1").id.clone();
            let plan = planned(&next, &world, &PlanOptions::explicit());
            if plan.steps[..cut].iter().any(|step| step.action.title().starts_with("wait")) {
                break;
            }
            for step in &plan.steps[..cut] {
                world.apply(&next, step);
            }
            let Some(found) = successor(&mut world, &old) else { continue };
            found.health = Health::Unhealthy;
            let id = found.id.clone();
            let plan = planned(&next, &world, &PlanOptions::convergence());
            let returns = plan.returns().unwrap_or_else(|| panic!("nothing returns: {plan}"));
            for step in &returns.steps {
                assert_eq!(step.cause, Cause::ReplacementFailed);
                world.apply(&next, step);
            }
            let [left] = &world.observed.containers[..] else { panic!("{id} stayed") };
            assert_eq!((&left.id, left.name.as_str()), (&old, "shop-web-1"));
            assert_eq!(left.state, ContainerState::Running);
            returned += 1;
        }
        assert!(returned > 0);
    }
}

#[test]
fn what_failed_is_left_to_somebody_who_asks() {
    let (world, next) = (running(&fleet(1)), next_version(&fleet(1)));
    let contract = Contract::of(&next.services["web"], &key()).unwrap();
    let attempt = contract.attempt(&world.observed.images["app:2"].id);
    let failed_attempts = BTreeMap::from([("web".to_owned(), attempt)]);
    let convergence = PlanOptions { failed_attempts, ..PlanOptions::convergence() };
    let held = planned(&next, &world, &convergence);
    assert_eq!((held.is_empty(), held.notices[0].code.as_str()), (true, "replacement_failed"));
    let explicit = PlanOptions { trigger: Trigger::Explicit, ..convergence.clone() };
    assert!(!planned(&next, &world, &explicit).is_empty());
    // Another declaration, or another image of the same name, was never tried.
    let mut corrected = next.clone();
    web(&mut corrected).spec.user = Some("1000".to_owned());
    assert!(!planned(&corrected, &world, &convergence).is_empty());
    let mut pulled = world.clone();
    pulled.add_image("app:2");
    assert!(!planned(&next, &pulled, &convergence).is_empty());
    // What is held is kept up.
    let mut stopped = world.clone();
    let found = &mut stopped.observed.containers[0];
    (found.state, found.exit_code) = (ContainerState::Exited, 143);
    assert_eq!(words(&planned(&next, &stopped, &convergence))[0], "start");
}

#[test]
fn a_successor_that_was_stopped_has_not_failed() {
    let mut desired = fleet(1);
    with_port(&mut desired);
    let (mut world, next) = (running(&desired), next_version(&desired));
    let plan = planned(&next, &world, &PlanOptions::explicit());
    let until_started = plan.steps.iter().take_while(|s| !s.action.title().starts_with("wait"));
    for step in until_started.cloned().collect::<Vec<_>>() {
        world.apply(&next, &step);
    }
    let found = world.observed.containers.iter_mut().find(|found| found.name == "shop-web-1");
    let found = found.unwrap();
    (found.state, found.exit_code) = (ContainerState::Exited, 137);
    let (id, plan) = (found.id.clone(), planned(&next, &world, &PlanOptions::convergence()));
    assert_eq!(plan.returns(), None, "{plan}");
    world.converge(&next, &PlanOptions::convergence());
    assert_eq!(named(&world, "shop-web-1").id, id);
    assert_eq!(world.observed.containers.len(), 1);
}

#[test]
fn what_has_no_way_back_is_replaced_plainly() {
    let mut desired = shop();
    let mut child = service("app:1", &[]);
    child.spec.network_mode = NetworkMode::Service("web".to_owned());
    desired.services.insert("child".to_owned(), child);
    let world = running(&desired);
    web(&mut desired).spec.image = "app:2".to_owned();
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    let places = |title: &str| {
        let find = |step: &&Step| step.action.title() == title && step.subject == "shop-web-1";
        plan.steps.iter().find(find).map(|step| step.id)
    };
    assert!(places("remove container") < places("start"), "{plan}");
    // A job that has done its work serves nobody.
    let mut desired = shop();
    let world = running(&desired);
    desired.services.get_mut("migrate").unwrap().spec.image = "app:2".to_owned();
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    assert!(!words(&plan).contains(&"wait until running"), "{plan}");
}
