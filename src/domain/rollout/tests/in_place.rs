//! What is changed on a container that goes on, and what needs a new one.

use super::*;
use crate::facts::{ContainerFacts, LiveSettings, RestartPolicy, labels};

/// The shop, whose web server may use 64 MB.
fn limited() -> ProjectSpec {
    let mut desired = shop();
    web(&mut desired).spec.resources.memory_bytes = Some(64 << 20);
    desired
}

fn web(desired: &mut ProjectSpec) -> &mut ServiceUnit {
    desired.services.get_mut("web").unwrap()
}

fn running(desired: &ProjectSpec) -> World {
    let mut world = empty_engine();
    world.converge(desired, &PlanOptions::explicit());
    world
}

fn container(world: &mut World) -> &mut ContainerFacts {
    let mut all = world.observed.containers.iter_mut();
    all.find(|found| found.name == "shop-web-1").unwrap()
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|s| format!("{} {}: {}", s.action.title(), s.subject, s.cause)).collect()
}

/// The running container as the version of the agent before made it.
fn made_before(desired: &ProjectSpec, world: &mut World) {
    let former = Contract::former(&desired.services["web"], &key()).unwrap();
    let found = container(world);
    found.contract_hash = Some(format!("v1:{former}"));
    found.all_labels.insert(labels::CONTRACT.to_owned(), format!("v1:{former}"));
}

const UPDATED: &str = "update container shop-web-1: changed: resources.memory_bytes";

#[test]
fn a_limit_is_changed_on_the_container_that_runs() {
    let mut world = running(&limited());
    let id = container(&mut world).id.clone();
    let mut desired = limited();
    web(&mut desired).spec.resources.memory_bytes = Some(128 << 20);
    web(&mut desired).spec.restart = RestartPolicy::UnlessStopped;
    let plan = planned(&desired, &world, &PlanOptions::convergence());
    assert_eq!(steps(&plan), [format!("{UPDATED}, restart.name")]);
    world.converge(&desired, &PlanOptions::explicit());
    let found = container(&mut world);
    assert_eq!((found.id == id, found.spec.resources.memory_bytes), (true, Some(128 << 20)));
    assert!(planned(&desired, &world, &PlanOptions::convergence()).is_empty());
    // Its label still tells of the beginning, and the way back is open.
    let plan = planned(&limited(), &world, &PlanOptions::explicit());
    assert_eq!(steps(&plan), [format!("{UPDATED}, restart.name")]);
}

#[test]
fn a_container_that_ended_is_changed_before_it_starts() {
    let mut world = running(&limited());
    let found = container(&mut world);
    (found.state, found.exit_code) = (crate::facts::ContainerState::Exited, 143);
    let mut desired = limited();
    web(&mut desired).spec.resources.memory_bytes = Some(128 << 20);
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    assert_eq!(steps(&plan), [UPDATED, "start shop-web-1: exited with status 143"]);
    assert_eq!(plan.steps[1].depends_on, [StepId(1)]);
}

#[test]
fn what_an_engine_cannot_take_away_needs_a_new_container() {
    let world = running(&limited());
    let mut desired = limited();
    web(&mut desired).spec.resources.memory_bytes = None;
    for options in [PlanOptions::explicit(), PlanOptions::convergence()] {
        let plan = planned(&desired, &world, &options);
        let expect = "create replacement shop-web-1: changed: resources.memory_bytes";
        assert_eq!(steps(&plan)[0], expect);
    }
    let mut more = limited();
    web(&mut more).spec.resources.memory_bytes = Some(128 << 20);
    web(&mut more).spec.user = Some("1000".to_owned());
    let expect = "create replacement shop-web-1: changed: resources.memory_bytes, user";
    assert_eq!(steps(&planned(&more, &world, &PlanOptions::explicit()))[0], expect);
}

#[test]
fn what_somebody_changed_is_changed_back() {
    let mut world = running(&limited());
    container(&mut world).spec.resources.memory_bytes = Some(32 << 20);
    container(&mut world).spec.restart = RestartPolicy::Always;
    let plan = planned(&limited(), &world, &PlanOptions::convergence());
    assert_eq!(steps(&plan), [format!("{UPDATED}, restart.name")]);
}

#[test]
fn a_limit_of_others_is_taken_away_only_on_demand() {
    let mut world = running(&shop());
    container(&mut world).spec.resources.memory_bytes = Some(32 << 20);
    let left = planned(&shop(), &world, &PlanOptions::convergence());
    assert_eq!((left.is_empty(), left.notices[0].code.as_str()), (true, "set_by_others"));
    let asked = planned(&shop(), &world, &PlanOptions::explicit());
    assert_eq!(asked.steps[0].action.title(), "create replacement");
}

#[test]
fn an_engine_that_leaves_a_limit_out_is_not_asked_for_ever() {
    let mut desired = limited();
    web(&mut desired).spec.resources.pids_max = Some(100);
    let mut world = running(&desired);
    container(&mut world).spec.resources.pids_max = None;
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    assert_eq!((plan.is_empty(), plan.notices[0].code.as_str()), (true, "not_enforced"));
    // Another value was never tried.
    web(&mut desired).spec.resources.pids_max = Some(200);
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    assert_eq!(plan.steps[0].action.title(), "update container");
}

#[test]
fn a_container_of_the_version_before_is_as_declared() {
    let mut world = running(&limited());
    made_before(&limited(), &mut world);
    for options in [PlanOptions::explicit(), PlanOptions::convergence()] {
        assert!(planned(&limited(), &world, &options).is_empty());
    }
    let mut desired = limited();
    web(&mut desired).spec.resources.memory_bytes = Some(128 << 20);
    assert_eq!(steps(&planned(&desired, &world, &PlanOptions::explicit())), [UPDATED]);
    world.converge(&desired, &PlanOptions::explicit());
    assert!(planned(&desired, &world, &PlanOptions::convergence()).is_empty());
    web(&mut desired).spec.user = Some("1000".to_owned());
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    assert_eq!(steps(&plan)[0], "create replacement shop-web-1: changed: user");
}

/// The running container as somebody else made it, with the record of its adoption.
fn adopted(world: &mut World, digest: crate::base::Digest) {
    let found = container(world);
    found.contract_hash = None;
    found.all_labels.retain(|key, _| !key.starts_with("wharfinger."));
    let id = found.id.clone();
    world.observed.adoptions.insert(id, Contract::of_digest(digest));
}

#[test]
fn an_adopted_container_is_changed_in_place_too() {
    let unit = &limited().services["web"];
    let current = Contract::of(unit, &key()).unwrap().digest().unwrap();
    for digest in [current, Contract::former(unit, &key()).unwrap()] {
        let mut world = running(&limited());
        adopted(&mut world, digest);
        assert!(planned(&limited(), &world, &PlanOptions::convergence()).is_empty());
        let mut desired = limited();
        web(&mut desired).spec.resources.memory_bytes = Some(128 << 20);
        assert_eq!(steps(&planned(&desired, &world, &PlanOptions::convergence())), [UPDATED]);
        web(&mut desired).spec.user = Some("1000".to_owned());
        let plan = planned(&desired, &world, &PlanOptions::convergence());
        assert_eq!(plan.steps[0].action.title(), "create replacement");
    }
}

#[test]
fn a_foreign_container_that_differs_in_limits_is_adopted_and_changed() {
    let mut world = running(&limited());
    let found = container(&mut world);
    found.contract_hash = None;
    found.all_labels.retain(|key, _| !key.starts_with("wharfinger."));
    LiveSettings::default().write_to(&mut found.spec);
    let plan = planned(&limited(), &world, &PlanOptions::explicit());
    let titles: Vec<_> = plan.steps.iter().map(|step| step.action.title()).collect();
    assert_eq!(titles, ["adopt", "update container"]);
    let left = planned(&limited(), &world, &PlanOptions::convergence());
    assert!(left.is_empty(), "{left}");
}
