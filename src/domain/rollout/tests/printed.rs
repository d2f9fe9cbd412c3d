//! Plans as people read them.

use super::*;

#[test]
fn first_deployment_is_printed_with_causes_and_order() {
    let text = planned(&shop(), &empty_engine(), &PlanOptions::explicit()).to_string();
    insta::assert_snapshot!(text, @r"
    shop: 12 steps
       1  create network shop_back             does not exist
       2  create network shop_front            does not exist
       3  create volume shop_data              does not exist
       4  create container shop-db-1           does not exist  [after 1, 3]
       5  start shop-db-1                      not started yet  [after 4]
       6  wait until healthy shop-db-1         others wait for it  [after 5]
       7  create container shop-migrate-1      does not exist  [after 1]
       8  start shop-migrate-1                 not started yet  [after 6, 7]
       9  create container shop-web-1          does not exist  [after 1, 2]
      10  connect shop-web-1 to shop_front     not connected to shop_front  [after 9]
      11  wait until completed shop-migrate-1  others wait for it  [after 8]
      12  start shop-web-1                     not started yet  [after 10, 11]
    ");
}

#[test]
fn nothing_to_do_is_one_line() {
    let text = planned(&shop(), &running_shop(), &PlanOptions::explicit()).to_string();
    insta::assert_snapshot!(text, @"shop: nothing to do");
}

#[test]
fn replacement_proves_the_new_before_it_stops_the_old() {
    let mut desired = shop();
    desired.services.get_mut("web").unwrap().spec.image = "app:2".to_owned();
    let text = planned(&desired, &running_shop(), &PlanOptions::explicit()).to_string();
    insta::assert_snapshot!(text, @r"
    shop: 7 steps
      1  create replacement shop-web-1                 changed: image
      2  connect shop-web-1 to shop_front              not connected to shop_front  [after 1]
      3  start shop-web-1                              not started yet  [after 2]
      4  wait until running shop-web-1                 others wait for it  [after 3]
      5  stop shop-web-1                               part of the replacement  [after 4]
      6  remove container shop-web-1                   part of the replacement  [after 5]
      7  rename 00000000000c_shop-web-1 to shop-web-1  part of the replacement  [after 6]
    ");
}

#[test]
fn a_database_with_a_volume_is_kept_until_its_successor_is_healthy() {
    let mut desired = shop();
    desired.services.get_mut("db").unwrap().spec.user = Some("postgres".to_owned());
    let text = planned(&desired, &running_shop(), &PlanOptions::explicit()).to_string();
    insta::assert_snapshot!(text, @r"
    shop: 7 steps
      1  create replacement shop-db-1                     changed: user
      2  stop shop-db-1                                   part of the replacement  [after 1]
      3  rename shop-db-1 to 000000000006_kept_shop-db-1  part of the replacement  [after 2]
      4  rename 000000000006_shop-db-1 to shop-db-1       part of the replacement  [after 3]
      5  start shop-db-1                                  not started yet  [after 4]
      6  wait until healthy shop-db-1                     others wait for it  [after 5]
      7  remove container shop-db-1                       part of the replacement  [after 6]
    ");
}

#[test]
fn a_plan_is_told_field_by_field_and_no_secret_is() {
    let mut world = running_shop();
    let mut desired = shop();
    let web = desired.services.get_mut("web").unwrap();
    web.spec.image = "app:2".to_owned();
    web.spec.user = Some("1000".to_owned());
    web.spec.command = Some(vec!["serve".to_owned(), "--password=hunter2".to_owned()]);
    web.spec.environment.insert("KEY".to_owned(), crate::base::Secret::new("hunter2".to_owned()));
    web.replicas = 2;
    let db = desired.services.get_mut("db").unwrap();
    db.spec.resources.memory_bytes = Some(128 << 20);
    db.spec.resources.nano_cpus = Some(1_500_000_000);
    let is_db = |found: &&mut crate::facts::ContainerFacts| found.name == "shop-db-1";
    let found = world.observed.containers.iter_mut().find(is_db).unwrap();
    found.spec.resources.memory_bytes = Some(64 << 20);
    desired.volumes.get_mut("data").unwrap().driver = Some("nfs".to_owned());
    let plan = planned(&desired, &world, &PlanOptions::explicit());
    assert!(!serde_json::to_string(&plan).unwrap().contains("hunter2"));
    let told = plan.diff();
    let changes = told.split("steps\n").next().unwrap();
    insta::assert_snapshot!(changes, @r"
    shop: 1 to create, 1 to update, 1 to replace
      db
        ~ shop-db-1: update
            resources.memory_bytes: 64 MiB → 128 MiB
            resources.nano_cpus: nothing → 1.5 CPUs
      web
        ± shop-web-1: replace, the new one runs first
            command (values not shown)
            environment.KEY (values not shown)
            image: app:1 (000000000000) → app:2 (000000000000)
            user: nothing → 1000
        + shop-web-2: create (more containers are declared)
    ");
    assert!(told.contains("note: shop_data: declared differently (driver)"), "{told}");
}

#[test]
fn changed_network_replaces_its_members() {
    let mut desired = shop();
    desired.networks.get_mut("front").unwrap().internal = true;
    let text = planned(&desired, &running_shop(), &PlanOptions::explicit()).to_string();
    insta::assert_snapshot!(text, @r"
    shop: 9 steps
      1  stop shop-web-1                               network shop_front changed: internal
      2  disconnect shop-web-1 from shop_front         network shop_front changed: internal  [after 1]
      3  remove network shop_front                     network shop_front changed: internal  [after 2]
      4  create network shop_front                     network shop_front changed: internal  [after 3]
      5  create replacement shop-web-1                 network shop_front changed: internal  [after 4]
      6  connect shop-web-1 to shop_front              not connected to shop_front  [after 5]
      7  remove container shop-web-1                   part of the replacement  [after 6]
      8  rename 00000000000c_shop-web-1 to shop-web-1  part of the replacement  [after 7]
      9  start shop-web-1                              not started yet  [after 8]
    ");
}

#[test]
fn missing_image_is_unknown_until_it_is_built() {
    let mut world = running_shop();
    let mut desired = shop();
    let web = desired.services.get_mut("web").unwrap();
    let context_digest = Some(crate::base::Digest::of(b"context"));
    web.build = Some(crate::facts::BuildSpec { context_digest, ..Default::default() });
    world.observed.images.remove("app:1");
    let text = planned(&desired, &world, &PlanOptions::explicit()).to_string();
    insta::assert_snapshot!(text, @r"
    shop: 8 steps
      1  build image app:1                             does not exist
      2  create replacement shop-web-1                 changed: build  [after 1]
      3  connect shop-web-1 to shop_front              not connected to shop_front  [after 2]
      4  start shop-web-1                              not started yet  [after 3]
      5  wait until running shop-web-1                 others wait for it  [after 4]
      6  stop shop-web-1                               part of the replacement  [after 5]
      7  remove container shop-web-1                   part of the replacement  [after 6]
      8  rename 00000000000c_shop-web-1 to shop-web-1  part of the replacement  [after 7]
    note: app:1: unknown until then; its containers are planned again when it is there
    ");
}

#[test]
fn removal_goes_from_dependents_to_dependencies() {
    let options = RemovalOptions { volumes: true, ..RemovalOptions::default() };
    let text = plan_removal(&shop(), &running_shop().observed, options).to_string();
    insta::assert_snapshot!(text, @r"
    shop: 8 steps
      1  stop shop-web-1                  requested
      2  remove container shop-web-1      requested  [after 1]
      3  remove container shop-migrate-1  requested  [after 1]
      4  stop shop-db-1                   requested  [after 3]
      5  remove container shop-db-1       requested  [after 4]
      6  remove network shop_back         requested  [after 2, 5]
      7  remove network shop_front        requested  [after 2, 5]
      8  remove volume shop_data          requested  [after 2, 5]
    ");
}

#[test]
fn restart_follows_dependencies() {
    let text = plan_restart(&shop(), &running_shop().observed, &RestartOptions::default())
        .unwrap()
        .to_string();
    insta::assert_snapshot!(text, @r"
    shop: 2 steps
      1  restart shop-db-1   requested
      2  restart shop-web-1  requested  [after 1]
    note: shop-migrate-1: its work is done; name it to repeat it
    ");
}

#[test]
fn plan_survives_json_and_its_digest_is_stable() {
    let plan = planned(&shop(), &empty_engine(), &PlanOptions::explicit());
    let text = serde_json::to_string(&plan).unwrap();
    let again: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(plan, again);
    assert_eq!(plan.digest().unwrap(), again.digest().unwrap());
    let mut other = shop();
    other.services.get_mut("web").unwrap().depends_on.clear();
    let other = planned(&other, &empty_engine(), &PlanOptions::explicit());
    assert_ne!(plan.digest().unwrap(), other.digest().unwrap());
}
