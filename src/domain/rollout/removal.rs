//! Plans how a project is taken down. Owns that order: dependents first, networks after their
//! members, data last and only on demand. Face: `plan_removal`. Never removes what belongs to
//! another project or was declared external.

use std::collections::{BTreeMap, BTreeSet};

use super::drafting::{Draft, Drafted};
use super::graph;
use super::hooks;
use super::naming::image_reference;
use super::planner::{belongs_to, existing};
use super::{Action, Cause, Observed, Plan};
use crate::facts::{ContainerFacts, ContainerState, ProjectSpec};

/// What goes besides containers and networks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemovalOptions {
    /// The project's volumes, named and anonymous, with their data.
    pub volumes: bool,
    /// Images that were built for the project.
    pub built_images: bool,
    /// Our containers of services that are not declared any more.
    pub orphans: bool,
    /// Containers that somebody else made with Compose for declared services.
    pub unmanaged: bool,
}

/// The steps that take the project down. `desired` is what was applied last; without it nothing
/// is known of dependencies, and all its containers count as orphans.
pub fn plan_removal(desired: &ProjectSpec, observed: &Observed, options: RemovalOptions) -> Plan {
    let mut removal = Removal { desired, observed, draft: Draft::default() };
    let (leaving, staying): (Vec<_>, Vec<_>) = observed
        .containers
        .iter()
        .partition(|container| is_leaving(desired, observed, container, options));
    for container in &staying {
        let message = "not removed: it is a one-off container, or somebody else's";
        removal.draft.notice("left_alone", &container.name, message);
    }
    let removed = removal.containers(&leaving);
    removal.networks(&staying, &removed);
    if options.volumes {
        removal.volumes(&leaving, &removed);
    }
    if options.built_images {
        removal.images(&removed);
    }
    hooks::insert(&mut removal.draft, desired, observed);
    removal.draft.finish(&desired.name)
}

fn is_leaving(
    desired: &ProjectSpec,
    observed: &Observed,
    container: &ContainerFacts,
    options: RemovalOptions,
) -> bool {
    let Some(instance) = container.instance.as_ref() else { return false };
    let is_declared = desired.services.contains_key(&instance.service);
    let is_ours = observed.is_ours(container);
    let is_covered =
        if is_declared { is_ours || options.unmanaged } else { is_ours && options.orphans };
    is_covered && !container.oneoff
}

struct Removal<'a> {
    desired: &'a ProjectSpec,
    observed: &'a Observed,
    draft: Draft,
}

impl Removal<'_> {
    /// Stops and removes containers; answers with the removals by id.
    fn containers(&mut self, leaving: &[&ContainerFacts]) -> BTreeMap<String, Drafted> {
        let (mut stopped, mut removed) = (BTreeMap::<&str, Vec<Drafted>>::new(), BTreeMap::new());
        // A circle cannot be taken down in order, but it can be taken down.
        let order = graph::dependency_order(self.desired).unwrap_or_default();
        let rank: BTreeMap<&str, usize> =
            (1..).zip(order).map(|(n, service)| (service, n)).collect();
        let mut containers: Vec<_> = leaving
            .iter()
            .filter_map(|container| Some((*container, container.instance.as_ref()?)))
            .collect();
        let rank_of = |service: &str| std::cmp::Reverse(rank.get(service).copied().unwrap_or(0));
        containers.sort_by_key(|(_, instance)| (rank_of(&instance.service), instance.number));
        for (container, instance) in containers {
            let dependents =
                self.desired.services.keys().filter(|name| {
                    graph::predecessors(self.desired, name).contains(&instance.service)
                });
            let before: Vec<Drafted> = dependents
                .filter_map(|name| stopped.get(name.as_str()))
                .flatten()
                .copied()
                .collect();
            let target = existing(container, instance);
            let action = Action::RemoveContainer { container: target.clone() };
            if matches!(
                container.state,
                ContainerState::Running | ContainerState::Restarting | ContainerState::Paused
            ) {
                let stop = Action::StopContainer { container: target };
                let stop = self.draft.add(stop, container.name.clone(), Cause::Requested);
                self.draft.need(stop, before);
                let removal = self.draft.add(action, container.name.clone(), Cause::Requested);
                self.draft.need(removal, [stop]);
                stopped.entry(&instance.service).or_default().push(stop);
                removed.insert(container.id.clone(), removal);
            } else {
                let removal = self.draft.add(action, container.name.clone(), Cause::Requested);
                self.draft.need(removal, before);
                stopped.entry(&instance.service).or_default().push(removal);
                removed.insert(container.id.clone(), removal);
            }
        }
        removed
    }

    fn networks(&mut self, staying: &[&ContainerFacts], removed: &BTreeMap<String, Drafted>) {
        let is_external = |name: &str| {
            self.desired.networks.values().any(|network| network.external && network.name == name)
        };
        let mut surplus = Vec::new();
        for doubled in &self.observed.surplus_networks {
            let cause = Cause::NetworkDoubled { network: doubled.name.clone() };
            surplus.push(self.draft.add(Action::RemoveNetwork, doubled.id.clone(), cause));
        }
        for (name, network) in &self.observed.networks {
            if is_external(name) || !belongs_to(&network.labels, &self.desired.name) {
                continue;
            }
            if let Some(member) = staying.iter().find(|c| c.addresses.contains_key(name)) {
                let message = format!("kept: container {} is a member", member.name);
                self.draft.notice("network_in_use", name, message);
                continue;
            }
            let step = self.draft.add(Action::RemoveNetwork, name.clone(), Cause::Requested);
            self.draft.need(step, removed.values().copied());
            // The name alone is ambiguous as long as another network has it too.
            self.draft.need(step, surplus.iter().copied());
        }
    }

    fn volumes(&mut self, leaving: &[&ContainerFacts], removed: &BTreeMap<String, Drafted>) {
        let is_external = |name: &str| {
            self.desired.volumes.values().any(|volume| volume.external && volume.name == name)
        };
        let own = self.observed.volumes.iter().filter(|(name, volume)| {
            !is_external(name) && belongs_to(&volume.labels, &self.desired.name)
        });
        let mut names: BTreeSet<&String> = own.map(|(name, _)| name).collect();
        names.extend(leaving.iter().flat_map(|container| container.anonymous_volumes.values()));
        let is_leaving = |c: &&ContainerFacts| leaving.iter().any(|gone| gone.id == c.id);
        let staying = self.observed.containers.iter().filter(|c| !is_leaving(c));
        let used: BTreeSet<&String> = staying.flat_map(|c| c.anonymous_volumes.values()).collect();
        names.extend(self.observed.doomed_volumes.iter().filter(|name| !used.contains(name)));
        for name in names {
            let step = self.draft.add(Action::RemoveVolume, name.clone(), Cause::Requested);
            self.draft.need(step, removed.values().copied());
        }
    }

    fn images(&mut self, removed: &BTreeMap<String, Drafted>) {
        let built = self.desired.services.iter().filter(|(_, unit)| unit.build.is_some());
        let names: BTreeSet<String> =
            built.map(|(service, unit)| image_reference(self.desired, service, unit)).collect();
        for name in names.into_iter().filter(|name| self.observed.images.contains_key(name)) {
            let step = self.draft.add(Action::RemoveImage, name, Cause::Requested);
            self.draft.need(step, removed.values().copied());
        }
    }
}
