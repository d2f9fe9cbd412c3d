//! Drafts what containers need around them, and the removal of those that nobody declares. Owns
//! the order in which a network is made again. Face: methods of `Planner`. Never removes a volume
//! that was not named by who asks.
//!
//! A changed network is made again in the order *stop its members, disconnect them, remove it,
//! create it, replace the members*. The members keep their names and anonymous volumes until their
//! replacements exist, and a member that is found disconnected is replaced, so that an
//! interruption at any point is made up for.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::domain::rollout::drafting::Drafted;
use crate::domain::rollout::judge::{Judged, Verdict};
use crate::domain::rollout::networks::volume_differences;
use crate::domain::rollout::planner::belongs_to;
use crate::domain::rollout::{Action, Cause, PlanError, Target};
use crate::facts::{ContainerFacts, ContainerState, Instance, MountKind, NetworkMode, ServiceUnit};

impl<'a> Planner<'a> {
    /// Containers above the declared number, and of services that are not declared any more.
    pub(super) fn remove_superfluous(&mut self, selected: &BTreeSet<String>) {
        for container in &self.observed().containers {
            let Some(instance) = container.instance.as_ref() else { continue };
            if container.oneoff {
                continue;
            }
            let options = self.judge.options;
            let is_taken_over =
                options.take_over && self.observed().other_owner(container).is_some();
            let is_ours = is_taken_over || self.observed().is_ours(container);
            match self.judge.desired.services.get(&instance.service) {
                Some(unit) => {
                    let is_above = instance.number > unit.replicas || instance.number == 0;
                    let may_remove = is_ours || options.adopt;
                    if is_above && may_remove && selected.contains(&instance.service) {
                        self.remove(container, Cause::ScaledDown);
                    }
                }
                None if options.inactive_services.contains(&instance.service) => {}
                None if !is_ours => {
                    let message = "made by somebody else for a service that is not declared; left \
                                   alone";
                    self.draft.notice("orphan_foreign", &container.name, message);
                }
                None if options.remove_orphans && options.services.is_none() => {
                    self.remove(container, Cause::Orphaned);
                }
                None => {
                    let message = "its service is not declared any more; left alone";
                    self.draft.notice("orphan", &container.name, message);
                }
            }
        }
    }

    /// Images apart, everything that containers are made with.
    pub(super) fn surroundings(&mut self, order: &[&'a str]) {
        let services = &self.judge.desired.services;
        let (mut networks, mut volumes) = (BTreeSet::new(), BTreeSet::new());
        for service in order {
            let unit = &services[*service];
            networks.extend(network_names(unit));
            volumes.extend(volume_names(unit));
            if self.observed().files_missing.contains(*service) && !unit.files.is_empty() {
                let action = Action::WriteFiles { service: (*service).to_owned() };
                let step = self.draft.add(action, *service, Cause::FilesMissing);
                self.files.insert((*service).to_owned(), step);
            }
        }
        for surplus in &self.observed().surplus_networks {
            let cause = Cause::NetworkDoubled { network: surplus.name.clone() };
            let step = self.draft.add(Action::RemoveNetwork, &surplus.id, cause);
            self.networks.insert(surplus.name.clone(), step);
        }
        for (key, network) in &self.judge.desired.networks {
            if networks.contains(network.name.as_str()) && !network.external {
                self.network(key, &network.name);
            }
        }
        for (key, volume) in &self.judge.desired.volumes {
            if volumes.contains(volume.name.as_str()) && !volume.external {
                self.volume(key, &volume.name);
            }
        }
    }

    fn network(&mut self, key: &str, name: &str) {
        let changed = self.judge.changed_networks.get(name);
        if changed.is_none() && self.observed().networks.contains_key(name) {
            return;
        }
        let create = Action::CreateNetwork { key: key.to_owned() };
        let Some(fields) = changed else {
            let step = self.draft.add(create, name, Cause::Missing);
            self.networks.insert(name.to_owned(), step);
            return;
        };
        let cause = Cause::NetworkChanged { network: name.to_owned(), fields: fields.clone() };
        let left: Vec<Drafted> = self.empty_network(name, &cause);
        let removal = self.draft.add(Action::RemoveNetwork, name, cause.clone());
        self.draft.need(removal, left);
        let step = self.draft.add(create, name, cause);
        self.draft.need(step, [removal]);
        self.networks.insert(name.to_owned(), step);
    }

    /// Takes all members out of a network.
    fn empty_network(&mut self, network: &str, cause: &Cause) -> Vec<Drafted> {
        let mut left = Vec::new();
        for container in &self.observed().containers {
            if !container.addresses.contains_key(network) {
                continue;
            }
            if let Some(removal) = self.removed.get(&container.id) {
                left.push(*removal);
                continue;
            }
            let Some(target) = self.replaced_target(container) else {
                let (network, container) = (network.to_owned(), container.name.clone());
                self.errors.push(PlanError::NetworkInUse { network, container });
                continue;
            };
            let stop = self.stop(container, cause.clone());
            let network = network.to_owned();
            let action = Action::DisconnectNetwork { container: target, network };
            let step = self.draft.add(action, container.name.clone(), cause.clone());
            self.draft.need(step, stop);
            self.disconnected.entry(container.id.clone()).or_default().push(step);
            left.push(step);
        }
        left
    }

    /// The container as a target, if this plan replaces or removes it.
    fn replaced_target(&self, container: &ContainerFacts) -> Option<Target> {
        let instance = container.instance.as_ref()?;
        let judged = self.judged(&instance.service).iter().find(|j| j.instance == *instance)?;
        let is_replaced = matches!(judged.verdict, Verdict::Replace(old, _) if old == container);
        let is_leftover = judged.leftovers.contains(&container);
        (is_replaced || is_leftover).then(|| existing(container, instance))
    }

    fn volume(&mut self, key: &str, name: &str) {
        let Some(found) = self.observed().volumes.get(name) else {
            let action = Action::CreateVolume { key: key.to_owned() };
            let step = self.draft.add(action, name, Cause::Missing);
            self.volumes.insert(name.to_owned(), step);
            return;
        };
        let fields = volume_differences(&self.judge.desired.volumes[key], found);
        if self.judge.changed_volumes.contains_key(name) {
            self.volume_anew(key, name, fields);
        } else if !fields.is_empty() {
            let message = format!(
                "declared differently ({}), and kept as it is, because it holds data; `wharf up \
                 --recreate-volume {key}` makes it anew and loses them",
                fields.join(", ")
            );
            self.draft.notice("volume_changed", name, message);
        }
        if !belongs_to(&found.labels, &self.judge.desired.name) {
            let message = "made by somebody else, and used; declare it `external: true`";
            self.draft.notice("volume_foreign", name, message);
        }
    }

    /// Removes all that mount a volume, the volume, and makes it again, empty.
    fn volume_anew(&mut self, key: &str, name: &str, fields: Vec<String>) {
        let cause = Cause::VolumeChanged { volume: name.to_owned(), fields };
        let mut gone = Vec::new();
        for container in &self.observed().containers {
            let is_it =
                |kind: &MountKind| matches!(kind, MountKind::Volume { name: n, .. } if n == name);
            if !container.spec.mounts.values().any(|mount| is_it(&mount.kind)) {
                continue;
            }
            if self.removed.contains_key(&container.id) || self.replaced_target(container).is_some()
            {
                gone.extend(self.remove(container, cause.clone()));
            } else {
                let (volume, container) = (name.to_owned(), container.name.clone());
                self.errors.push(PlanError::VolumeInUse { volume, container });
            }
        }
        let removal = self.draft.add(Action::RemoveVolume, name, cause.clone());
        self.draft.need(removal, gone);
        let create = Action::CreateVolume { key: key.to_owned() };
        let step = self.draft.add(create, name, cause);
        self.draft.need(step, [removal]);
        self.volumes.insert(name.to_owned(), step);
    }

    /// Stops a container, once; `None` when it does not run.
    pub(super) fn stop(&mut self, container: &ContainerFacts, cause: Cause) -> Option<Drafted> {
        let is_up = matches!(
            container.state,
            ContainerState::Running | ContainerState::Restarting | ContainerState::Paused
        );
        let instance = container.instance.as_ref()?;
        if !is_up {
            return None;
        }
        if let Some(step) = self.stopped.get(&container.id) {
            return Some(*step);
        }
        let action = Action::StopContainer { container: existing(container, instance) };
        let step = self.draft.add(action, container.name.clone(), cause);
        self.stopped.insert(container.id.clone(), step);
        Some(step)
    }

    /// Stops and removes a container, once.
    pub(super) fn remove(&mut self, container: &ContainerFacts, cause: Cause) -> Option<Drafted> {
        let instance = container.instance.as_ref()?;
        if let Some(step) = self.removed.get(&container.id) {
            return Some(*step);
        }
        let stop = self.stop(container, cause.clone());
        let action = Action::RemoveContainer { container: existing(container, instance) };
        let step = self.draft.add(action, container.name.clone(), cause);
        self.draft.need(step, stop);
        let disconnected = self.disconnected.get(&container.id).cloned().unwrap_or_default();
        self.draft.need(step, disconnected);
        self.removed.insert(container.id.clone(), step);
        Some(step)
    }

    /// The steps that must be done before a container of the service can be made.
    pub(super) fn made_with(&self, unit: &ServiceUnit, judged: &Judged<'_>) -> Vec<Drafted> {
        let service = &judged.instance.service;
        let image = crate::domain::rollout::image_reference(self.judge.desired, service, unit);
        let pick = |steps: &BTreeMap<String, Drafted>, names: Vec<&str>| {
            names.into_iter().filter_map(|name| steps.get(name).copied()).collect::<Vec<_>>()
        };
        let mut before = pick(&self.images, vec![&image]);
        before.extend(pick(&self.files, vec![service]));
        before.extend(pick(&self.networks, network_names(unit).collect()));
        before.extend(pick(&self.volumes, volume_names(unit).collect()));
        before
    }
}

/// An existing container as a target.
pub(in crate::domain::rollout) fn existing(
    container: &ContainerFacts,
    instance: &Instance,
) -> Target {
    Target { instance: instance.clone(), id: Some(container.id.clone()) }
}

fn network_names(unit: &ServiceUnit) -> impl Iterator<Item = &str> {
    let networks = match &unit.spec.network_mode {
        NetworkMode::Networks(networks) => Some(networks.keys()),
        _ => None,
    };
    networks.into_iter().flatten().map(String::as_str)
}

fn volume_names(unit: &ServiceUnit) -> impl Iterator<Item = &str> {
    unit.spec.mounts.values().filter_map(|mount| match &mount.kind {
        MountKind::Volume { name, .. } => Some(name.as_str()),
        _ => None,
    })
}
