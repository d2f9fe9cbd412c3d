//! Random projects, random engines, crashes at every step.

use proptest::prelude::*;

use super::super::model::is_up;
use super::*;
use crate::facts::{ContainerFacts, ContainerState, ImageFacts, Instance, effective};

const SERVICES: [&str; 4] = ["init", "one", "three", "two"];
const NETWORKS: [&str; 2] = ["p_left", "p_right"];

/// What one random service is made of.
#[derive(Debug, Clone)]
struct Dice {
    exists: bool,
    image: u8,
    value: u8,
    replicas: u32,
    networks: [bool; 2],
    has_anonymous: bool,
    has_check: bool,
    depends: u8,
    restarts: bool,
    shares: bool,
    port: Option<u16>,
}

fn dice() -> impl Strategy<Value = Dice> {
    let first = (any::<bool>(), 0_u8..2, 0_u8..6, 0_u32..3, any::<[bool; 2]>());
    let second = (any::<bool>(), any::<bool>(), any::<u8>(), any::<bool>(), any::<bool>());
    let port = proptest::option::of(8000_u16..8002);
    (first, second, port).prop_map(|(first, second, port)| {
        let (exists, image, value, replicas, networks) = first;
        let (has_anonymous, has_check, depends, restarts, shares) = second;
        Dice {
            exists,
            image,
            value,
            replicas,
            networks,
            has_anonymous,
            has_check,
            depends,
            restarts,
            shares,
            port,
        }
    })
}

fn project() -> impl Strategy<Value = ProjectSpec> {
    (proptest::array::uniform4(dice()), any::<[bool; 2]>()).prop_map(|(dice, internal)| {
        let mut project = ProjectSpec { name: "p".to_owned(), ..ProjectSpec::default() };
        for (name, internal) in NETWORKS.iter().zip(internal) {
            let spec = NetworkSpec { name: (*name).to_owned(), internal, ..NetworkSpec::default() };
            project.networks.insert((*name).to_owned(), spec);
        }
        for (name, dice) in SERVICES.iter().zip(&dice).filter(|(_, dice)| dice.exists) {
            let unit = unit(&project, name, dice);
            project.services.insert((*name).to_owned(), unit);
        }
        project
    })
}

fn unit(project: &ProjectSpec, name: &str, dice: &Dice) -> ServiceUnit {
    let chosen = NETWORKS.iter().zip(dice.networks).filter(|(_, chosen)| *chosen);
    let networks: Vec<_> = chosen.map(|(network, _)| *network).collect();
    let mut unit = service(&format!("image:{}", dice.image), &networks);
    unit.replicas = dice.replicas;
    unit.spec.labels.insert("value".to_owned(), (dice.value % 2).to_string());
    // Changed in place, unless it is taken away.
    unit.spec.resources.memory_bytes = [None, Some(64), Some(128)][usize::from(dice.value / 2)];
    if dice.has_anonymous {
        let mount = Mount { kind: MountKind::Anonymous, read_only: false };
        unit.spec.mounts.insert("/anonymous".to_owned(), mount);
    }
    if name == "init" {
        return unit;
    }
    (unit.post_start, unit.pre_stop) =
        (hooks(usize::from(dice.depends >> 4 & 3)), hooks(usize::from(dice.depends >> 6)));
    if dice.has_check {
        unit.spec.healthcheck = checked();
    }
    unit.spec.ports.extend(dice.port.map(|port| crate::facts::PortBinding {
        container_port: 80,
        protocol: crate::facts::Protocol::Tcp,
        host_ip: None,
        host_port: Some(port.to_string()),
    }));
    for (index, (earlier, other)) in project.services.iter().enumerate() {
        if dice.depends & (1 << index) == 0 {
            continue;
        }
        let condition = match (earlier.as_str(), &other.spec.healthcheck) {
            ("init", _) => Condition::ServiceCompletedSuccessfully,
            (_, Some(_)) => Condition::ServiceHealthy,
            (_, None) => Condition::ServiceStarted,
        };
        let dependency = Dependency { condition, required: true, restart: dice.restarts };
        unit.depends_on.insert(earlier.clone(), dependency);
    }
    let parent = project.services.iter().find(|(name, unit)| *name != "init" && unit.replicas > 0);
    if let Some((parent, _)) = parent.filter(|_| dice.shares) {
        unit.spec.network_mode = NetworkMode::Service(parent.clone());
    }
    unit
}

fn engine() -> World {
    let mut world = World::default();
    world.one_shots.insert("init".to_owned());
    world.add_image("image:0");
    world.add_image("image:1");
    world
}

/// What somebody, or a power cut, does to a container.
fn perturb(world: &mut World, damage: &[(usize, u8)]) {
    for (which, how) in damage {
        let containers = &mut world.observed.containers;
        if containers.is_empty() {
            return;
        }
        let index = which % containers.len();
        match how % 4 {
            0 => drop(containers.remove(index)),
            1 if is_up(&containers[index]) => {
                containers[index].state = ContainerState::Exited;
                containers[index].exit_code = 143;
            }
            2 => {
                let name = format!("image:{}", which % 2);
                world.add_image(&name);
            }
            _ => {}
        }
    }
}

/// Applies the first `steps` of a plan, in an order that depends on `seed`.
fn apply_some(world: &mut World, desired: &ProjectSpec, options: &PlanOptions, cut: (usize, u64)) {
    let options = PlanOptions { hooks_due: world.due.clone(), ..options.clone() };
    let plan = planned(desired, world, &options);
    let (steps, mut seed) = cut;
    let mut done = std::collections::BTreeSet::new();
    for _ in 0..steps.min(plan.steps.len()) {
        let is_ready = |step: &&Step| {
            !done.contains(&step.id)
                && step.depends_on.iter().chain(&step.after).all(|before| done.contains(before))
        };
        let ready: Vec<&Step> = plan.steps.iter().filter(is_ready).collect();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let step = ready[usize::try_from(seed >> 33).unwrap() % ready.len()];
        world.apply(desired, step);
        done.insert(step.id);
    }
}

fn anonymous_volumes(world: &World) -> BTreeMap<Instance, String> {
    let named = |c: &ContainerFacts| {
        Some((c.instance.clone()?, c.anonymous_volumes.values().next()?.clone()))
    };
    world.observed.containers.iter().filter_map(named).collect()
}

fn assert_as_declared(world: &World, desired: &ProjectSpec) {
    let mut wanted: Vec<(String, u32)> = Vec::new();
    for (name, unit) in &desired.services {
        wanted.extend((1..=unit.replicas).map(|number| (name.clone(), number)));
    }
    let mut found: Vec<(String, u32)> = Vec::new();
    for container in &world.observed.containers {
        let instance = container.instance.clone().unwrap();
        assert_eq!(container.name, format!("p-{}-{}", instance.service, instance.number));
        assert!(is_up(container) || instance.service == "init", "{} is down", container.name);
        let due = world.due.get(&container.id).copied().unwrap_or(0);
        let hooks = desired.services[&instance.service].post_start.len();
        assert!(due >= hooks, "{} was started, and hook {due} is missing", container.name);
        found.push((instance.service, instance.number));
    }
    found.sort();
    assert_eq!(found, wanted);
}

/// A child shares the namespace of a container that must run first.
fn with_parents_kept(mut desired: ProjectSpec) -> ProjectSpec {
    let shared: Vec<String> = desired
        .services
        .values()
        .filter_map(|unit| match &unit.spec.network_mode {
            NetworkMode::Service(parent) => Some(parent.clone()),
            _ => None,
        })
        .collect();
    for parent in shared {
        let unit = desired.services.get_mut(&parent).unwrap();
        unit.replicas = unit.replicas.max(1);
    }
    desired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn second_plan_is_empty(desired in project().prop_map(with_parents_kept)) {
        let mut world = engine();
        for options in [PlanOptions::explicit(), PlanOptions::convergence()] {
            world.converge(&desired, &options);
            prop_assert!(planned(&desired, &world, &PlanOptions::explicit()).is_empty());
            prop_assert!(planned(&desired, &world, &PlanOptions::convergence()).is_empty());
        }
        assert_as_declared(&world, &desired);
    }

    #[test]
    fn every_change_converges_after_crashes_at_any_step(
        before in project().prop_map(with_parents_kept),
        after in project().prop_map(with_parents_kept),
        cuts in proptest::collection::vec((0_usize..20, any::<u64>()), 0..4),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3),
    ) {
        let mut world = engine();
        world.converge(&before, &PlanOptions::explicit());
        perturb(&mut world, &damage);
        let volumes = anonymous_volumes(&world);
        for cut in cuts {
            apply_some(&mut world, &after, &PlanOptions::explicit(), cut);
        }
        world.converge(&after, &PlanOptions::explicit());
        assert_as_declared(&world, &after);
        let kept = anonymous_volumes(&world);
        for (instance, volume) in volumes {
            let has_one = |unit: &ServiceUnit| unit.spec.mounts.contains_key("/anonymous");
            let still_wanted = after.services.get(&instance.service).is_some_and(|unit| {
                instance.number <= unit.replicas && has_one(unit)
            });
            if still_wanted {
                prop_assert_eq!(kept.get(&instance), Some(&volume));
            }
        }
    }

    #[test]
    fn crash_and_change_of_mind_converge(
        before in project().prop_map(with_parents_kept),
        meant in project().prop_map(with_parents_kept),
        cut in (0_usize..20, any::<u64>()),
    ) {
        let mut world = engine();
        // A server that was stopped with status 0 and has no successor looks like finished work.
        world.stop_status = 143;
        world.converge(&before, &PlanOptions::explicit());
        apply_some(&mut world, &meant, &PlanOptions::explicit(), cut);
        world.converge(&before, &PlanOptions::explicit());
        assert_as_declared(&world, &before);
    }

    #[test]
    fn containers_of_others_are_never_touched(
        desired in project().prop_map(with_parents_kept),
        foreign in proptest::collection::vec(any::<prop::sample::Index>(), 1..3),
    ) {
        let mut world = engine();
        world.converge(&desired, &PlanOptions::explicit());
        let count = world.observed.containers.len();
        prop_assume!(count > 0);
        let mut ids = std::collections::BTreeSet::new();
        for index in foreign {
            let container = &mut world.observed.containers[index.index(count)];
            container.contract_hash = None;
            container.all_labels.retain(|key, _| !key.starts_with("wharfinger."));
            container.spec.labels.insert("value".to_owned(), "another".to_owned());
            ids.insert(container.id.clone());
        }
        for desired in [&desired, &ProjectSpec { name: "p".to_owned(), ..ProjectSpec::default() }] {
            let Ok(plan) = plan(desired, &world.observed, &PlanOptions::convergence(), &key())
            else { continue };
            for step in &plan.steps {
                let text = serde_json::to_string(&step.action).unwrap();
                prop_assert!(!ids.iter().any(|id| text.contains(id.as_str())), "{}", plan);
            }
            let removal = plan_removal(desired, &world.observed, RemovalOptions::default());
            let text = serde_json::to_string(&removal.steps).unwrap();
            prop_assert!(!ids.iter().any(|id| text.contains(id.as_str())), "{}", removal);
        }
    }

    #[test]
    fn what_compose_made_is_adopted_without_a_write(
        desired in project().prop_map(with_parents_kept),
    ) {
        let mut world = engine();
        world.converge(&desired, &PlanOptions::explicit());
        for container in &mut world.observed.containers {
            container.contract_hash = None;
            container.all_labels.retain(|key, _| !key.starts_with("wharfinger."));
            let image: &ImageFacts = world.observed.images.values()
                .find(|image| image.id == container.image_id).unwrap();
            container.spec = effective(&container.spec, image);
        }
        let plan = planned(&desired, &world, &PlanOptions::explicit());
        prop_assert_eq!(plan.engine_writes(), 0, "{}", plan);
        prop_assert_eq!(plan.steps.len(), world.observed.containers.len());
        world.converge(&desired, &PlanOptions::explicit());
        prop_assert!(planned(&desired, &world, &PlanOptions::convergence()).is_empty());
    }
}
