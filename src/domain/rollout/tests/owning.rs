//! Two agents on one engine.

use super::*;
use crate::facts::labels;

/// A running shop in which containers of these services carry the label of an agent.
fn shop_of(services: &[&str], agent: &str) -> World {
    let mut world = running_shop();
    world.observed.owner = "ours".to_owned();
    for container in &mut world.observed.containers {
        let service = &container.instance.as_ref().unwrap().service;
        if services.contains(&service.as_str()) {
            container.all_labels.insert(labels::OWNER.to_owned(), agent.to_owned());
        }
    }
    world
}

const ALL: [&str; 3] = ["db", "migrate", "web"];

fn refusals(world: &World, options: &PlanOptions) -> Vec<String> {
    let made = plan(&shop(), &world.observed, options, &key());
    let errors = made.err().map(|errors| errors.0).unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn containers_without_an_owner_and_our_own_are_ours() {
    for world in [shop_of(&[], ""), shop_of(&ALL, "ours")] {
        for options in [PlanOptions::explicit(), PlanOptions::convergence()] {
            assert!(planned(&shop(), &world, &options).is_empty());
        }
    }
}

#[test]
fn project_of_another_agent_is_refused_by_name() {
    let world = shop_of(&["db", "web"], "theirs");
    let expect = "shop-db-1, shop-web-1 belong to another agent on this engine, theirs";
    for options in [PlanOptions::explicit(), PlanOptions::convergence()] {
        assert_eq!(refusals(&world, &options), [expect]);
    }
    let restart = plan_restart(&shop(), &world.observed, &RestartOptions::default()).unwrap_err();
    assert!(restart.is_refusal());
    assert_eq!(refuse_other_agents(&world.observed), Err(restart));
}

#[test]
fn take_over_replaces_everything_and_nothing_less() {
    let options = PlanOptions { take_over: true, ..PlanOptions::explicit() };
    let mut world = shop_of(&ALL, "theirs");
    let made = planned(&shop(), &world, &options);
    let causes = made.steps.iter().filter(|step| step.action.title() == "create replacement");
    let causes: Vec<_> = causes.map(|step| step.cause_text.as_str()).collect();
    assert_eq!(causes, ["taken over from agent theirs"; 3], "{made}");
    world.converge(&shop(), &options);
    assert!(planned(&shop(), &world, &PlanOptions::convergence()).is_empty());

    let world = shop_of(&ALL, "theirs");
    let services = Some(std::collections::BTreeSet::from(["db".to_owned()]));
    let part = PlanOptions { services, ..options };
    let expect = "shop-migrate-1, shop-web-1 belong to another agent on this engine, theirs";
    assert_eq!(refusals(&world, &part), [expect]);
}

#[test]
fn orphans_of_the_other_agent_go_with_the_take_over() {
    let mut desired = shop();
    desired.services.remove("web");
    let world = shop_of(&ALL, "theirs");
    let options = PlanOptions { take_over: true, ..PlanOptions::explicit() };
    let made = planned(&desired, &world, &options);
    let removed = made.steps.iter().filter(|step| step.cause == Cause::Orphaned).count();
    assert_eq!(removed, 2, "{made}");
}
