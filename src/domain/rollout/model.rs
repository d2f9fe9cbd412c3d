//! An engine in memory, as strict as the real one, to which plans are applied. Owns the model of
//! the property tests. Face: `World`. Never forgives: a step that a real engine would refuse
//! panics.

use std::collections::{BTreeMap, BTreeSet};

use super::naming::replacement_name;
use super::*;
use crate::base::{HashKey, Timestamp};
use crate::facts::{
    Condition, ContainerFacts, ContainerState, Health, HookKind, ImageFacts, Instance,
    LiveSettings, MountKind, NetworkAddress, NetworkFacts, NetworkMode, ProjectSpec, ServiceSpec,
    VolumeFacts, labels,
};

pub(super) fn key() -> HashKey {
    HashKey::new([7; 32])
}

/// What an engine holds for one project.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) observed: Observed,
    /// Services whose program ends at once with status 0.
    pub(super) one_shots: BTreeSet<String>,
    /// With what status programs end that are asked to stop.
    pub(super) stop_status: i64,
    /// The next hook of each start, by container.
    pub(super) due: BTreeMap<String, usize>,
    /// How many hooks were executed for the stop that comes, by container.
    prepared: BTreeMap<String, usize>,
    ticks: i64,
}

impl World {
    fn tick(&mut self) -> i64 {
        self.ticks += 1;
        self.ticks
    }

    fn now(&mut self) -> Option<Timestamp> {
        let tick = self.tick();
        Some(Timestamp::from_second(tick).unwrap())
    }

    pub(super) fn add_image(&mut self, reference: &str) {
        let id = format!("sha256:{:064x}", self.tick());
        let image = ImageFacts {
            last_tagged_at: None,
            id,
            tags: vec![reference.to_owned()],
            digests: vec![],
            defaults: ServiceSpec::default(),
            platform: "linux/amd64".to_owned(),
            size_bytes: 0,
            created_at: None,
        };
        self.observed.images.insert(reference.to_owned(), image);
    }

    /// Makes the project as declared; images first, as the executor does. Returns all steps.
    pub(super) fn converge(&mut self, desired: &ProjectSpec, options: &PlanOptions) -> Vec<Step> {
        let mut done = Vec::new();
        let mut options = options.clone();
        for _round in 0..4 {
            options.hooks_due = self.due.clone();
            let made = plan(desired, &self.observed, &options, &key()).expect("a plan");
            if made.is_empty() {
                return done;
            }
            let has_images = made.steps.iter().any(|step| step.action.provides_image());
            for step in &made.steps {
                if has_images && !step.action.provides_image() {
                    continue;
                }
                if step.action.provides_image() {
                    options.fresh_images.insert(step.subject.clone());
                }
                self.apply(desired, step);
                done.push(step.clone());
            }
        }
        panic!("does not converge: {}", plan(desired, &self.observed, &options, &key()).unwrap());
    }

    pub(super) fn apply(&mut self, desired: &ProjectSpec, step: &Step) {
        match &step.action {
            Action::BuildImage { service, image } => {
                self.add_image(image);
                let build = desired.services[service].build.as_ref();
                let digest = build.and_then(|build| build.context_digest).unwrap();
                let image = self.observed.images.get_mut(image).unwrap();
                image.defaults.labels.insert(CONTEXT_LABEL.to_owned(), digest.to_string());
            }
            Action::PullImage { image, .. } => self.add_image(image),
            Action::CreateNetwork { key } => self.create_network(desired, key),
            Action::RemoveNetwork => {
                let name = &step.subject;
                let is_member = |c: &ContainerFacts| c.addresses.contains_key(name);
                assert!(!self.observed.containers.iter().any(is_member), "{name} has members");
                self.observed.networks.remove(name).expect("the network exists");
            }
            Action::CreateVolume { key } => {
                let name = desired.volumes[key].name.clone();
                let volume = VolumeFacts {
                    name: name.clone(),
                    driver: "local".to_owned(),
                    driver_options: desired.volumes[key].driver_options.clone(),
                    labels: owned_by(&desired.name),
                    mountpoint: String::new(),
                };
                assert!(self.observed.volumes.insert(name, volume).is_none());
            }
            Action::RemoveVolume => {
                let is_it = |kind: &MountKind| matches!(kind, MountKind::Volume { name, .. } if *name == step.subject);
                let mounts = |c: &ContainerFacts| c.spec.mounts.values().any(|m| is_it(&m.kind));
                let user = self.observed.containers.iter().find(|found| mounts(found));
                assert!(user.is_none(), "{user:?} mounts {}", step.subject);
                self.observed.volumes.remove(&step.subject);
            }
            Action::RemoveImage => drop(self.observed.images.remove(&step.subject)),
            Action::WriteFiles { service } => {
                self.observed.files_missing.remove(service);
            }
            Action::CreateContainer { instance, replaces } => {
                self.create(desired, instance, replaces.as_deref());
            }
            Action::AdoptContainer { container } => {
                let id = self.find(desired, container).id.clone();
                let unit = &desired.services[&container.instance.service];
                let contract = Contract::of(unit, &key()).unwrap();
                self.observed.adoptions.insert(id, contract);
            }
            Action::RemoveContainer { container } => {
                let found = self.find(desired, container);
                assert!(!is_up(found), "{} is removed while it runs", found.name);
                let id = found.id.clone();
                self.observed.containers.retain(|container| container.id != id);
            }
            Action::UpdateContainer { container, fields } => {
                let declared = &desired.services[&container.instance.service].spec;
                let settings = LiveSettings::of(declared);
                let found = self.find(desired, container);
                let observed = LiveSettings::of(&found.spec);
                let differing = settings.differences(&observed);
                assert!(fields.iter().all(|field| differing.iter().any(|it| it.field == *field)));
                assert!(settings.can_be_reached_from(&observed, &differing), "{}", found.name);
                settings.write_to(&mut found.spec);
            }
            Action::RenameContainer { container, name } => {
                self.assert_name_is_free(name);
                self.find(desired, container).name = name.clone();
            }
            Action::ConnectNetwork { container, network } => {
                let network_id = self.observed.networks[network].id.clone();
                let address = NetworkAddress { network_id, ..NetworkAddress::default() };
                self.find(desired, container).addresses.insert(network.clone(), address);
            }
            Action::DisconnectNetwork { container, network } => {
                self.find(desired, container).addresses.remove(network).expect("a member");
            }
            Action::StopContainer { container } => {
                let status = self.stop_status;
                self.assert_is_prepared(desired, container, step);
                let found = self.find(desired, container);
                found.state = ContainerState::Exited;
                found.exit_code = status;
            }
            Action::StartContainer { container } | Action::RestartContainer { container } => {
                if matches!(step.action, Action::RestartContainer { .. }) {
                    self.assert_is_prepared(desired, container, step);
                }
                self.start(desired, container);
                let id = self.find(desired, container).id.clone();
                if step.cause != Cause::ReplacementFailed {
                    self.due.insert(id, 0);
                }
            }
            Action::RunHook { container, hook, index } => {
                let found = self.find(desired, container);
                assert_eq!(found.state, ContainerState::Running, "{} runs a hook", found.name);
                let id = found.id.clone();
                let unit = &desired.services[&container.instance.service];
                assert!(*index < unit.hooks(*hook).len());
                match hook {
                    HookKind::PostStart => {
                        assert_eq!(self.due.insert(id, index + 1), Some(*index), "one by one");
                    }
                    HookKind::PreStop => {
                        self.prepared.insert(id, index + 1);
                    }
                }
            }
            Action::UnpauseContainer { container } => {
                let found = self.find(desired, container);
                assert_eq!(found.state, ContainerState::Paused, "{} is not frozen", found.name);
                found.state = ContainerState::Running;
            }
            Action::WaitFor { container, condition, .. } => {
                self.check(desired, container, *condition);
            }
            Action::Pause { .. } => {}
        }
    }

    /// Nobody stops what runs and has hooks without executing them first.
    fn assert_is_prepared(&mut self, desired: &ProjectSpec, target: &Target, step: &Step) {
        let found = self.find(desired, target);
        let (id, runs) = (found.id.clone(), found.state == ContainerState::Running);
        let prepared = self.prepared.remove(&id).unwrap_or(0);
        if let Some(unit) = desired.services.get(&target.instance.service)
            && runs
            && step.cause != Cause::ReplacementFailed
        {
            // More, when somebody changed their mind since.
            assert!(prepared >= unit.pre_stop.len(), "{} is stopped", step.subject);
        }
    }

    fn find(&mut self, desired: &ProjectSpec, target: &Target) -> &mut ContainerFacts {
        let contract = desired.services.get(&target.instance.service);
        let contract = contract.map(|unit| Contract::of(unit, &key()).unwrap().hash);
        let mut found = self.observed.containers.iter_mut().filter(|c| match &target.id {
            Some(id) => c.id == *id,
            None => c.instance.as_ref() == Some(&target.instance) && c.contract_hash == contract,
        });
        // A forced replacement has the contract of what it replaces: it is the younger one.
        let all: Vec<_> = found.by_ref().collect();
        all.into_iter().max_by_key(|c| c.created_at).expect("the container exists")
    }

    fn assert_name_is_free(&self, name: &str) {
        let is_taken = self.observed.containers.iter().any(|container| container.name == name);
        assert!(!is_taken, "{name} is taken");
    }

    fn create_network(&mut self, desired: &ProjectSpec, key: &str) {
        let spec = &desired.networks[key];
        let network = NetworkFacts {
            id: format!("net{}", self.tick()),
            name: spec.name.clone(),
            driver: spec.driver.clone().unwrap_or_else(|| "bridge".to_owned()),
            scope: "local".to_owned(),
            driver_options: spec.driver_options.clone(),
            internal: spec.internal,
            attachable: spec.attachable,
            enable_ipv6: spec.enable_ipv6.unwrap_or_default(),
            ipam: spec.ipam.clone().unwrap_or_default(),
            labels: owned_by(&desired.name),
        };
        assert!(self.observed.networks.insert(spec.name.clone(), network).is_none());
    }

    fn create(&mut self, desired: &ProjectSpec, instance: &Instance, replaces: Option<&str>) {
        let unit = &desired.services[&instance.service];
        let mut name = container_name(unit, instance);
        let mut anonymous_volumes = BTreeMap::new();
        if let Some(id) = replaces {
            name = replacement_name(id, &name);
            // It may have gone before, with a volume that is made anew.
            let old = self.observed.containers.iter().find(|container| container.id == id);
            anonymous_volumes = old.map(|old| old.anonymous_volumes.clone()).unwrap_or_default();
        }
        self.assert_name_is_free(&name);
        let tick = self.tick();
        let has_anonymous = unit.spec.mounts.values().any(|m| m.kind == MountKind::Anonymous);
        if has_anonymous && anonymous_volumes.is_empty() {
            anonymous_volumes.insert("/anonymous".to_owned(), format!("anonymous{tick}"));
        }
        let reference = image_reference(desired, &instance.service, unit);
        let mut spec = unit.spec.clone();
        if let NetworkMode::Service(parent) = &unit.spec.network_mode {
            let is_parent = |c: &&ContainerFacts| {
                c.instance.as_ref().is_some_and(|i| i.service == *parent && i.number == 1)
            };
            let parents = self.observed.containers.iter().filter(is_parent);
            let parent = parents.max_by_key(|c| c.created_at).expect("the parent exists");
            spec.network_mode = NetworkMode::Container(parent.id.clone());
        }
        let contract = Contract::of(unit, &key()).unwrap();
        let mut all_labels = owned_by(&desired.name);
        all_labels.extend(contract.labels());
        let first = networks_in_order(&unit.spec).first().map(|(network, _)| (*network).to_owned());
        let join = |network: String| {
            let network_id = self.observed.networks[&network].id.clone();
            (network, NetworkAddress { network_id, ..NetworkAddress::default() })
        };
        let addresses = first.map(join).into_iter().collect();
        let container = ContainerFacts {
            id: format!("{tick:012x}{:052x}", 0),
            name,
            instance: Some(instance.clone()),
            oneoff: false,
            contract_hash: Some(contract.hash),
            all_labels,
            spec,
            image_id: self.observed.images[&reference].id.clone(),
            state: ContainerState::Created,
            health: Health::None,
            exit_code: 0,
            oom_killed: false,
            state_error: None,
            restart_count: 0,
            created_at: self.now(),
            started_at: None,
            finished_at: None,
            addresses,
            anonymous_volumes,
        };
        self.observed.containers.push(container);
    }

    fn start(&mut self, desired: &ProjectSpec, target: &Target) {
        let started_at = self.now();
        let ends_at_once = self.one_shots.contains(&target.instance.service);
        let networks = self.observed.networks.clone();
        let ids: Vec<_> = self.observed.containers.iter().filter(|c| is_up(c)).collect();
        let running: BTreeSet<String> = ids.into_iter().map(|c| c.id.clone()).collect();
        let found = self.find(desired, target);
        for (name, address) in &found.addresses {
            let id = networks.get(name).map(|network| &network.id);
            assert_eq!(Some(&address.network_id), id, "{} joins {name}", found.name);
        }
        if let NetworkMode::Container(parent) = &found.spec.network_mode {
            assert!(running.contains(parent), "the parent of {} does not run", found.name);
        }
        found.started_at = started_at;
        found.exit_code = 0;
        found.state = if ends_at_once { ContainerState::Exited } else { ContainerState::Running };
        found.health =
            if found.spec.healthcheck.is_some() { Health::Healthy } else { Health::None };
    }

    fn check(&mut self, desired: &ProjectSpec, target: &Target, condition: Condition) {
        let found = self.find(desired, target);
        let is_fulfilled = match condition {
            Condition::ServiceStarted => is_up(found),
            Condition::ServiceHealthy => is_up(found) && found.health == Health::Healthy,
            Condition::ServiceCompletedSuccessfully => {
                found.state == ContainerState::Exited && found.exit_code == 0
            }
        };
        assert!(is_fulfilled, "{} is not as awaited", found.name);
    }
}

pub(super) fn is_up(container: &ContainerFacts) -> bool {
    matches!(
        container.state,
        ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
    )
}

fn owned_by(project: &str) -> BTreeMap<String, String> {
    [(labels::COMPOSE_PROJECT.to_owned(), project.to_owned())].into()
}
