//! Makes the plan of a deployment: checks the whole project, judges its instances, drafts steps.
//! Owns the order of a replacement. Face: `plan`. Never drafts a step against a container that is
//! not ours, unless the caller asked to take over the project.
//!
//! A replacement begins with a new container under a temporary name. Killed between any two of its
//! steps, the next plan finds at least one container of the instance. While the old one exists, its
//! anonymous volumes are known by it; from the creation on, the new one holds them too. Two
//! containers of an instance are told apart by their contracts: the one that fits stays. The old
//! one works until the new one exists and everything that it waits for is ready; `replacing` says
//! how long it is there after that.

mod containers;
mod replacing;
mod surroundings;

pub use containers::networks_in_order;
pub(super) use surroundings::existing;

use std::collections::{BTreeMap, BTreeSet};

use super::drafting::{Draft, Drafted};
use super::graph;
use super::hooks;
use super::images::{ImageNeed, Subject, image_need};
use super::judge::{Judge, Judged};
use super::naming::image_reference;
use super::networks::{network_differences, volume_differences};
use super::owners::refuse_others;
use super::{Contract, Observed, Plan, PlanError, PlanErrors, PlanOptions};
use crate::base::HashKey;
use crate::facts::{
    Condition, ContainerFacts, Instance, NetworkMode, ProjectSpec, ServiceUnit, labels,
};

/// The steps that make the project as declared; none when it is.
///
/// # Errors
/// Everything that stands in the way.
pub fn plan(
    desired: &ProjectSpec,
    observed: &Observed,
    options: &PlanOptions,
    key: &HashKey,
) -> Result<Plan, PlanErrors> {
    let order = graph::dependency_order(desired)
        .map_err(|services| PlanErrors(vec![PlanError::DependencyCycle { services }]))?;
    let (contracts, mut errors) = check(desired, observed, options, key);
    if !errors.is_empty() {
        return Err(PlanErrors(errors));
    }
    let changed_networks = changed_networks(desired, observed);
    let selected = selected(desired, observed, options, &changed_networks);
    refuse_others(observed, |container| {
        let Some(instance) = &container.instance else { return true };
        let is_declared = desired.services.contains_key(&instance.service);
        !is_declared || (options.take_over && selected.contains(&instance.service))
    })?;
    let judged = BTreeMap::new();
    let changed_volumes = changed_volumes(desired, observed, options);
    let mut judge = Judge {
        desired,
        observed,
        options,
        contracts,
        key,
        changed_networks,
        changed_volumes,
        judged,
    };
    let order: Vec<_> = order.into_iter().filter(|name| selected.contains(*name)).collect();
    for service in &order {
        judge.service(service, &desired.services[*service]);
    }
    let mut planner = Planner::new(&judge);
    for service in &order {
        planner.image(service, &desired.services[*service]);
    }
    planner.remove_superfluous(&selected);
    planner.surroundings(&order);
    for service in &order {
        planner.service(service, &desired.services[*service]);
    }
    planner.settle_names();
    planner.settle_ports();
    hooks::insert(&mut planner.draft, desired, observed);
    errors.append(&mut planner.errors);
    if errors.is_empty() {
        Ok(planner.draft.finish(&desired.name))
    } else {
        Err(PlanErrors(errors))
    }
}

/// What must hold before anything is judged.
fn check<'a>(
    desired: &'a ProjectSpec,
    observed: &Observed,
    options: &PlanOptions,
    key: &HashKey,
) -> (BTreeMap<&'a str, Contract>, Vec<PlanError>) {
    let (mut contracts, mut errors) = (BTreeMap::new(), Vec::new());
    for service in options.services.iter().flatten() {
        if !desired.services.contains_key(service) {
            errors.push(PlanError::UnknownService { service: service.clone() });
        }
    }
    for (service, unit) in &desired.services {
        if unit.container_name.is_some() && unit.replicas > 1 {
            let (service, replicas) = (service.clone(), unit.replicas);
            errors.push(PlanError::NameForSeveral { service, replicas });
        }
        match Contract::of(unit, key) {
            Ok(contract) => drop(contracts.insert(service.as_str(), contract)),
            Err(_) => errors.push(PlanError::NumberTooLarge { service: service.clone() }),
        }
    }
    for network in desired.networks.values() {
        let (name, found) = (network.name.clone(), observed.networks.get(&network.name));
        let project = desired.name.clone();
        match found {
            None if network.external => {
                errors.push(PlanError::ExternalNetworkMissing { network: name });
            }
            Some(found) if !network.external && !belongs_to(&found.labels, &project) => {
                errors.push(PlanError::ForeignNetwork { network: name, project });
            }
            _ => {}
        }
    }
    for key in &options.recreate_volumes {
        if desired.volumes.get(key).is_none_or(|volume| volume.external) {
            errors.push(PlanError::UnknownVolume { volume: key.clone() });
        }
    }
    for volume in desired.volumes.values().filter(|volume| volume.external) {
        if !observed.volumes.contains_key(&volume.name) {
            let volume = volume.name.clone();
            errors.push(PlanError::ExternalVolumeMissing { volume });
        }
    }
    (contracts, errors)
}

/// Does an object with these labels belong to the project?
pub(super) fn belongs_to(found: &BTreeMap<String, String>, project: &str) -> bool {
    found.get(labels::COMPOSE_PROJECT).is_some_and(|owner| owner == project)
}

fn changed_networks(desired: &ProjectSpec, observed: &Observed) -> BTreeMap<String, Vec<String>> {
    let own = desired.networks.values().filter(|network| !network.external);
    let compared = own.filter_map(|spec| {
        let fields = network_differences(spec, observed.networks.get(&spec.name)?);
        (!fields.is_empty()).then(|| (spec.name.clone(), fields))
    });
    compared.collect()
}

/// Volumes that are made again: asked for, of this project, and not as declared.
fn changed_volumes(
    desired: &ProjectSpec,
    observed: &Observed,
    options: &PlanOptions,
) -> BTreeMap<String, Vec<String>> {
    let asked = options.recreate_volumes.iter().filter_map(|key| desired.volumes.get(key));
    let compared = asked.filter(|volume| !volume.external).filter_map(|spec| {
        let fields = volume_differences(spec, observed.volumes.get(&spec.name)?);
        (!fields.is_empty()).then(|| (spec.name.clone(), fields))
    });
    compared.collect()
}

/// The services that were asked for, those they need, and those that a changed network drags in:
/// what runs in it has to leave it, and nothing is made for its sake that was not there.
fn selected(
    desired: &ProjectSpec,
    observed: &Observed,
    options: &PlanOptions,
    changed_networks: &BTreeMap<String, Vec<String>>,
) -> BTreeSet<String> {
    let Some(asked) = &options.services else { return desired.services.keys().cloned().collect() };
    let mut selected = graph::closure(desired, asked);
    let is_dragged_in = |unit: &ServiceUnit| match &unit.spec.network_mode {
        NetworkMode::Networks(networks) => {
            networks.keys().any(|network| changed_networks.contains_key(network))
        }
        _ => false,
    };
    let dragged_in = desired.services.iter().filter(|(_, unit)| is_dragged_in(unit));
    let dragged_in = dragged_in.map(|(name, _)| name.clone()).collect();
    let instances = observed.containers.iter().filter_map(|found| found.instance.as_ref());
    let existing: BTreeSet<&String> = instances.map(|instance| &instance.service).collect();
    let dragged_in = graph::closure(desired, &dragged_in).into_iter();
    selected.extend(dragged_in.filter(|service| existing.contains(service)));
    selected
}

/// Drafts the steps of a judged project.
struct Planner<'a> {
    judge: &'a Judge<'a>,
    draft: Draft,
    errors: Vec<PlanError>,
    /// Steps that provide an image, by reference.
    images: BTreeMap<String, Drafted>,
    /// Steps that write files, by service.
    files: BTreeMap<String, Drafted>,
    /// Steps that make networks and volumes, by name.
    networks: BTreeMap<String, Drafted>,
    volumes: BTreeMap<String, Drafted>,
    /// By id of an existing container.
    stopped: BTreeMap<String, Drafted>,
    disconnected: BTreeMap<String, Vec<Drafted>>,
    removed: BTreeMap<String, Drafted>,
    /// By instance.
    created: BTreeMap<Instance, Drafted>,
    started: BTreeMap<Instance, Drafted>,
    waits: BTreeMap<(Instance, Condition), Drafted>,
    /// Successors that have to last for so many seconds after they proved themselves.
    monitored: BTreeMap<Instance, u64>,
    /// Steps that give a container its final name.
    names: Vec<(Drafted, &'a Judged<'a>)>,
    /// Steps that make a container bind its ports, and its service.
    binds: Vec<(Drafted, Instance)>,
}

impl<'a> Planner<'a> {
    fn new(judge: &'a Judge<'a>) -> Self {
        Self {
            judge,
            draft: Draft::default(),
            errors: Vec::new(),
            images: BTreeMap::new(),
            files: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            stopped: BTreeMap::new(),
            disconnected: BTreeMap::new(),
            removed: BTreeMap::new(),
            created: BTreeMap::new(),
            started: BTreeMap::new(),
            waits: BTreeMap::new(),
            monitored: BTreeMap::new(),
            names: Vec::new(),
            binds: Vec::new(),
        }
    }

    fn observed(&self) -> &'a Observed {
        self.judge.observed
    }

    fn judged(&self, service: &str) -> &'a [Judged<'a>] {
        self.judge.judged.get(service).map_or(&[], Vec::as_slice)
    }

    /// The image of a service, when it has to be fetched.
    fn image(&mut self, service: &'a str, unit: &'a ServiceUnit) {
        let project = self.judge.desired;
        let is_used = self.judged(service).iter().any(Judged::is_made_anew);
        let contract = &self.judge.contracts[service];
        let subject = Subject { project, service, unit, contract, is_used };
        match image_need(&subject, self.observed(), self.judge.options) {
            Err(error) => self.errors.push(error),
            Ok(ImageNeed::Nothing) => {}
            Ok(ImageNeed::Fetch(action, cause)) => {
                let image = image_reference(project, service, unit);
                let reference = image.clone();
                if !self.images.contains_key(&image) {
                    let step = self.draft.add(action, image.clone(), cause);
                    self.images.insert(image, step);
                }
                let message = "unknown until then; its containers are planned again when it is \
                               there";
                self.draft.notice("image_unknown", &reference, message);
            }
        }
    }

    /// Ports become free before others bind them: a port may move from one service to another.
    fn settle_ports(&mut self) {
        for (bind, instance) in std::mem::take(&mut self.binds) {
            let wanted = host_ports(&self.judge.desired.services[&instance.service].spec.ports);
            for container in &self.observed().containers {
                let Some(freed) = self.stopped.get(&container.id) else { continue };
                let held = host_ports(&container.spec.ports);
                if container.instance.as_ref() != Some(&instance) && !held.is_disjoint(&wanted) {
                    self.draft.need_unless_cyclic(bind, *freed);
                }
            }
        }
    }

    /// A name is free before another container takes it.
    fn settle_names(&mut self) {
        for (step, judged) in std::mem::take(&mut self.names) {
            let is_own = |container: &ContainerFacts| {
                container.instance.as_ref() == Some(&judged.instance) && !container.oneoff
            };
            let mut others = self.observed().containers.iter();
            let holder = others.find(|c| c.name == judged.name && !is_own(c));
            match holder.map(|holder| self.removed.get(&holder.id)) {
                Some(Some(removal)) => self.draft.need_unless_cyclic(step, *removal),
                Some(None) => self.errors.push(PlanError::NameTaken { name: judged.name.clone() }),
                None if self.observed().name_holders.contains_key(&judged.name) => {
                    self.errors.push(PlanError::NameTaken { name: judged.name.clone() });
                }
                None => {}
            }
        }
    }
}

/// The fixed ports of the host among some bindings, by protocol.
fn host_ports(
    ports: &BTreeSet<crate::facts::PortBinding>,
) -> BTreeSet<(crate::facts::Protocol, String)> {
    let fixed = ports.iter().filter_map(|port| Some((port.protocol, port.host_port.clone()?)));
    fixed.collect()
}
