//! Proves the planner: tables for causes, snapshots of printed plans, and properties over random
//! projects, crashes and perturbations.

mod causes;
mod hooks;
mod in_place;
mod layering;
mod owning;
mod printed;
mod properties;
mod replacing;
mod starting;

use std::collections::BTreeMap;

use super::model::{World, key};
use super::*;
use crate::facts::{
    Attachment, Condition, Dependency, HealthProbe, Healthcheck, Hook, Mount, MountKind,
    NetworkMode, NetworkSpec, ProjectSpec, ServiceSpec, ServiceUnit, VolumeSpec,
};

fn attached(networks: &[&str]) -> NetworkMode {
    let each = networks.iter().map(|name| ((*name).to_owned(), Attachment::default()));
    NetworkMode::Networks(each.collect())
}

fn depends(condition: Condition) -> Dependency {
    Dependency { condition, required: true, restart: false }
}

fn checked() -> Option<Healthcheck> {
    Some(Healthcheck {
        probe: HealthProbe::Shell("true".to_owned()),
        interval: None,
        timeout: None,
        retries: None,
        start_period: None,
        start_interval: None,
    })
}

/// So many hooks.
fn hooks(count: usize) -> Vec<Hook> {
    let hook = |n| Hook { command: vec![format!("hook-{n}")], ..Hook::default() };
    (0..count).map(hook).collect()
}

fn service(image: &str, networks: &[&str]) -> ServiceUnit {
    let spec = ServiceSpec {
        image: image.to_owned(),
        network_mode: attached(networks),
        ..ServiceSpec::default()
    };
    ServiceUnit { spec, replicas: 1, ..ServiceUnit::default() }
}

/// A database with a volume, a migration that waits for it, and a server that waits for both.
fn shop() -> ProjectSpec {
    let mut db = service("db:1", &["shop_back"]);
    db.spec.healthcheck = checked();
    let kind = MountKind::Volume { name: "shop_data".to_owned(), no_copy: false, subpath: None };
    db.spec.mounts.insert("/data".to_owned(), Mount { kind, read_only: false });
    let mut migrate = service("app:1", &["shop_back"]);
    migrate.depends_on.insert("db".to_owned(), depends(Condition::ServiceHealthy));
    let mut web = service("app:1", &["shop_back", "shop_front"]);
    web.depends_on.insert("db".to_owned(), depends(Condition::ServiceStarted));
    let completed = depends(Condition::ServiceCompletedSuccessfully);
    web.depends_on.insert("migrate".to_owned(), completed);
    let network = |name: &str| NetworkSpec { name: name.to_owned(), ..NetworkSpec::default() };
    ProjectSpec {
        name: "shop".to_owned(),
        services: BTreeMap::from([
            ("db".to_owned(), db),
            ("migrate".to_owned(), migrate),
            ("web".to_owned(), web),
        ]),
        networks: BTreeMap::from([
            ("back".to_owned(), network("shop_back")),
            ("front".to_owned(), network("shop_front")),
        ]),
        volumes: BTreeMap::from([(
            "data".to_owned(),
            VolumeSpec { name: "shop_data".to_owned(), ..VolumeSpec::default() },
        )]),
    }
}

/// An engine that has the images of the shop, and nothing else.
fn empty_engine() -> World {
    let mut world = World::default();
    world.one_shots.insert("migrate".to_owned());
    world.add_image("db:1");
    world.add_image("app:1");
    world.add_image("app:2");
    world
}

/// An engine on which the shop runs.
fn running_shop() -> World {
    let mut world = empty_engine();
    world.converge(&shop(), &PlanOptions::explicit());
    world
}

fn planned(desired: &ProjectSpec, world: &World, options: &PlanOptions) -> Plan {
    plan(desired, &world.observed, options, &key()).expect("a plan")
}
