//! Where hooks stand in each kind of plan, and where there are none.

use super::*;
use crate::facts::{ContainerFacts, ContainerState, HookKind};

/// The shop with two hooks after each start of its server and before each of its stops, and one
/// each of its database.
fn hooked() -> ProjectSpec {
    let mut project = shop();
    for (service, count) in [("db", 1), ("web", 2)] {
        let unit = project.services.get_mut(service).unwrap();
        (unit.post_start, unit.pre_stop) = (hooks(count), hooks(count));
    }
    project
}

fn running() -> World {
    let mut world = empty_engine();
    world.converge(&hooked(), &PlanOptions::explicit());
    world
}

fn found<'a>(world: &'a mut World, name: &str) -> &'a mut ContainerFacts {
    let mut containers = world.observed.containers.iter_mut();
    containers.find(|container| container.name == name).unwrap()
}

/// The steps that start, stop or hook.
fn moments(plan: &Plan) -> Vec<String> {
    let told = |step: &Step| {
        let is_moment = matches!(
            step.action,
            Action::StartContainer { .. }
                | Action::StopContainer { .. }
                | Action::RestartContainer { .. }
                | Action::RunHook { .. }
        );
        is_moment.then(|| step.action.described(&step.subject))
    };
    plan.steps.iter().filter_map(told).collect()
}

const PREPARES_WEB: [&str; 3] =
    ["run pre_stop[0] of shop-web-1", "run pre_stop[1] of shop-web-1", "stop shop-web-1"];

#[test]
fn a_start_is_over_with_its_last_hook() {
    let text = planned(&hooked(), &empty_engine(), &PlanOptions::explicit()).to_string();
    insta::assert_snapshot!(text, @r"
    shop: 15 steps
       1  create network shop_back             does not exist
       2  create network shop_front            does not exist
       3  create volume shop_data              does not exist
       4  create container shop-db-1           does not exist  [after 1, 3]
       5  start shop-db-1                      not started yet  [after 4]
       6  run post_start[0] of shop-db-1       not started yet  [after 5]
       7  wait until healthy shop-db-1         others wait for it  [after 6]
       8  create container shop-migrate-1      does not exist  [after 1]
       9  start shop-migrate-1                 not started yet  [after 7, 8]
      10  create container shop-web-1          does not exist  [after 1, 2]
      11  connect shop-web-1 to shop_front     not connected to shop_front  [after 10]
      12  wait until completed shop-migrate-1  others wait for it  [after 9]
      13  start shop-web-1                     not started yet  [after 11, 12]
      14  run post_start[0] of shop-web-1      not started yet  [after 13]
      15  run post_start[1] of shop-web-1      not started yet  [after 14]
    ");
}

#[test]
fn a_replacement_hooks_the_new_one_before_it_is_awaited_and_the_old_one_before_it_stops() {
    let mut desired = hooked();
    desired.services.get_mut("web").unwrap().spec.image = "app:2".to_owned();
    let text = planned(&desired, &running(), &PlanOptions::explicit()).to_string();
    insta::assert_snapshot!(text, @r"
    shop: 11 steps
       1  create replacement shop-web-1                 changed: image
       2  connect shop-web-1 to shop_front              not connected to shop_front  [after 1]
       3  start shop-web-1                              not started yet  [after 2]
       4  run post_start[0] of shop-web-1               not started yet  [after 3]
       5  run post_start[1] of shop-web-1               not started yet  [after 4]
       6  wait until running shop-web-1                 others wait for it  [after 5]
       7  run pre_stop[0] of shop-web-1                 part of the replacement  [after 6]
       8  run pre_stop[1] of shop-web-1                 part of the replacement  [after 7]
       9  stop shop-web-1                               part of the replacement  [after 6, 8]
      10  remove container shop-web-1                   part of the replacement  [after 9]
      11  rename 00000000000c_shop-web-1 to shop-web-1  part of the replacement  [after 10]
    ");
}

#[test]
fn the_old_one_that_stops_first_is_hooked_first() {
    let mut desired = hooked();
    desired.services.get_mut("db").unwrap().spec.user = Some("postgres".to_owned());
    let plan = planned(&desired, &running(), &PlanOptions::explicit());
    insta::assert_snapshot!(plan.to_string(), @r"
    shop: 9 steps
      1  create replacement shop-db-1                     changed: user
      2  run pre_stop[0] of shop-db-1                     part of the replacement  [after 1]
      3  stop shop-db-1                                   part of the replacement  [after 1, 2]
      4  rename shop-db-1 to 000000000006_kept_shop-db-1  part of the replacement  [after 3]
      5  rename 000000000006_shop-db-1 to shop-db-1       part of the replacement  [after 4]
      6  start shop-db-1                                  not started yet  [after 5]
      7  run post_start[0] of shop-db-1                   not started yet  [after 6]
      8  wait until healthy shop-db-1                     others wait for it  [after 7]
      9  remove container shop-db-1                       part of the replacement  [after 8]
    ");
    // It waits for its hook to end, and needs what it would need without one.
    let stop = plan.steps.iter().find(|step| step.action.title() == "stop").unwrap();
    assert_eq!((&stop.depends_on[..], &stop.after[..]), (&[StepId(1)][..], &[StepId(2)][..]));
    assert!(plan.steps[1].action.may_fail() && !plan.steps[5].action.may_fail(), "{plan}");
}

#[test]
fn a_restart_stops_and_starts() {
    let restart = |options: &RestartOptions, world: &World| {
        plan_restart(&hooked(), &world.observed, options).unwrap()
    };
    let mut world = running();
    let plan = restart(&RestartOptions::default(), &world);
    insta::assert_snapshot!(plan.to_string(), @r"
    shop: 8 steps
      1  run pre_stop[0] of shop-db-1     requested
      2  restart shop-db-1                requested  [after 1]
      3  run post_start[0] of shop-db-1   requested  [after 2]
      4  run pre_stop[0] of shop-web-1    requested  [after 3]
      5  run pre_stop[1] of shop-web-1    requested  [after 4]
      6  restart shop-web-1               requested  [after 3, 5]
      7  run post_start[0] of shop-web-1  requested  [after 6]
      8  run post_start[1] of shop-web-1  requested  [after 7]
    note: shop-migrate-1: its work is done; name it to repeat it
    ");
    // Restarted by an earlier attempt, which came to one of the two hooks.
    let since = world.observed.containers.iter().filter_map(|found| found.started_at).min();
    let web = found(&mut world, "shop-web-1").id.clone();
    let hooks_due = BTreeMap::from([(web, 1)]);
    let rest = RestartOptions { since, hooks_due, ..RestartOptions::default() };
    assert_eq!(moments(&restart(&rest, &world)), ["run post_start[1] of shop-web-1"]);
}

#[test]
fn a_removal_hooks_what_runs_and_is_declared() {
    let all = RemovalOptions { orphans: true, ..RemovalOptions::default() };
    let plan = plan_removal(&hooked(), &running().observed, all);
    let mut expect = PREPARES_WEB.to_vec();
    expect.extend(["run pre_stop[0] of shop-db-1", "stop shop-db-1"]);
    assert_eq!(moments(&plan), expect, "{plan}");
    let unknown = ProjectSpec { name: "shop".to_owned(), ..ProjectSpec::default() };
    let plan = plan_removal(&unknown, &running().observed, all);
    assert_eq!(moments(&plan), ["stop shop-db-1", "stop shop-web-1"], "{plan}");
}

#[test]
fn what_does_not_run_is_stopped_without_hooks() {
    for (state, expect) in [
        (ContainerState::Running, &PREPARES_WEB[..]),
        (ContainerState::Paused, &PREPARES_WEB[2..]),
        (ContainerState::Restarting, &PREPARES_WEB[2..]),
        (ContainerState::Exited, &[]),
    ] {
        let (mut desired, mut world) = (hooked(), running());
        found(&mut world, "shop-web-1").state = state;
        desired.services.get_mut("web").unwrap().replicas = 0;
        let plan = planned(&desired, &world, &PlanOptions::explicit());
        assert_eq!(moments(&plan), expect, "{state:?}\n{plan}");
    }
}

#[test]
fn every_other_kind_of_plan_has_them_where_it_starts_and_stops() {
    type Case = (&'static str, fn(&mut ProjectSpec, &mut World), &'static [&'static str]);
    let starts_web: &[&str] =
        &["start shop-web-1", "run post_start[0] of shop-web-1", "run post_start[1] of shop-web-1"];
    let cases: [Case; 6] = [
        ("nothing changed", |_, _| {}, &[]),
        (
            "hooks changed",
            |desired, _| desired.services.get_mut("web").unwrap().post_start = hooks(5),
            &[],
        ),
        (
            "ended",
            |_, world| {
                let web = found(world, "shop-web-1");
                (web.state, web.exit_code) = (ContainerState::Exited, 1);
            },
            starts_web,
        ),
        ("frozen", |_, world| found(world, "shop-web-1").state = ContainerState::Paused, &[]),
        (
            "not declared any more",
            |desired, _| drop(desired.services.remove("web")),
            &["stop shop-web-1"],
        ),
        (
            "network changed",
            |desired, _| desired.networks.get_mut("front").unwrap().internal = true,
            &[
                "run pre_stop[0] of shop-web-1",
                "run pre_stop[1] of shop-web-1",
                "stop shop-web-1",
                "start shop-web-1",
                "run post_start[0] of shop-web-1",
                "run post_start[1] of shop-web-1",
            ],
        ),
    ];
    for (what, change, expect) in cases {
        let (mut desired, mut world) = (hooked(), running());
        change(&mut desired, &mut world);
        let plan = planned(&desired, &world, &PlanOptions::explicit());
        assert_eq!(moments(&plan), expect, "{what}\n{plan}");
    }
}

#[test]
fn a_restart_for_a_dependency_has_both_kinds() {
    let mut desired = hooked();
    let web = desired.services.get_mut("web").unwrap();
    web.depends_on.get_mut("db").unwrap().restart = true;
    let mut world = empty_engine();
    world.converge(&desired, &PlanOptions::explicit());
    desired.services.get_mut("db").unwrap().spec.user = Some("postgres".to_owned());
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    let web: Vec<_> = moments(&plan).into_iter().filter(|told| told.contains("web")).collect();
    let expect = [
        "run pre_stop[0] of shop-web-1",
        "run pre_stop[1] of shop-web-1",
        "restart shop-web-1",
        "run post_start[0] of shop-web-1",
        "run post_start[1] of shop-web-1",
    ];
    assert_eq!(web, expect, "{plan}");
}

#[test]
fn a_failed_replacement_is_taken_back_without_hooks() {
    let (mut desired, mut world) = (hooked(), running());
    desired.services.get_mut("db").unwrap().spec.user = Some("postgres".to_owned());
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    let is_last = |step: &&Step| step.action.title() != "wait until healthy";
    for step in plan.steps.iter().take_while(is_last) {
        world.apply(&desired, step);
    }
    let successor = found(&mut world, "shop-db-1").id.clone();
    let given_up = std::collections::BTreeSet::from([successor]);
    let options = PlanOptions { given_up, ..PlanOptions::explicit() };
    let returns = planned(&desired, &world, &options).returns().unwrap();
    assert_eq!(moments(&returns), ["stop shop-db-1", "start shop-db-1"], "{returns}");
}

#[test]
fn a_start_that_owes_hooks_is_made_up_for_and_dependents_wait() {
    let mut world = empty_engine();
    let desired = hooked();
    for step in &planned(&desired, &world, &PlanOptions::explicit()).steps {
        if matches!(step.action, Action::RunHook { hook: HookKind::PostStart, .. }) {
            break;
        }
        world.apply(&desired, step);
    }
    let options = PlanOptions { hooks_due: world.due.clone(), ..PlanOptions::explicit() };
    let plan = planned(&desired, &world, &options);
    insta::assert_snapshot!(plan.to_string(), @r"
    shop: 10 steps
       1  run post_start[0] of shop-db-1       started, and not all its hooks have ended
       2  create container shop-migrate-1      does not exist
       3  wait until healthy shop-db-1         others wait for it  [after 1]
       4  start shop-migrate-1                 not started yet  [after 2, 3]
       5  create container shop-web-1          does not exist
       6  connect shop-web-1 to shop_front     not connected to shop_front  [after 5]
       7  wait until completed shop-migrate-1  others wait for it  [after 4]
       8  start shop-web-1                     not started yet  [after 6, 7]
       9  run post_start[0] of shop-web-1      not started yet  [after 8]
      10  run post_start[1] of shop-web-1      not started yet  [after 9]
    ");
    // Nobody starts it for its hooks alone, and what runs no more has none.
    let db = found(&mut world, "shop-db-1");
    (db.state, db.exit_code) = (ContainerState::Exited, 0);
    let plan = planned(&desired, &world, &options);
    assert!(!moments(&plan).iter().any(|told| told.contains("hook")), "{plan}");
    // A run that does not know of that start leaves it as it is.
    let db = found(&mut world, "shop-db-1");
    db.state = ContainerState::Running;
    let told = moments(&planned(&desired, &world, &PlanOptions::explicit()));
    assert!(!told.contains(&"run post_start[0] of shop-db-1".to_owned()), "{told:?}");
}
