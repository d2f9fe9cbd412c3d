//! Judges each instance of a service: kept, created, replaced or adopted, and why. Owns the causes
//! of a replacement, and what is changed in place instead. Face: `Judge::service`. Never judges
//! health or drafts a step.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{self, Bond};
use super::naming::{container_name, image_reference, is_replacement_name};
use super::replacing::is_kept_name;
use super::{CONTEXT_LABEL, Cause, Contract, Observed, PlanOptions, Trigger};
use crate::base::HashKey;
use crate::facts::{
    ContainerFacts, ContainerState, FieldDifference, ImageFacts, Instance, LiveSettings, MountKind,
    NetworkMode, ProjectSpec, ServiceUnit, differences, effective, is_left_out, is_live,
    is_never_taken_away, resolve_namespaces,
};

/// What becomes of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// There is none.
    Create(Cause),
    /// It is made anew.
    Replace(&'a ContainerFacts, Cause),
    /// It is as declared.
    Keep(&'a ContainerFacts),
    /// It is as declared, and has to be noted down.
    Adopt(&'a ContainerFacts),
    /// Somebody else's, and we were not asked to take it.
    Leave(&'a ContainerFacts),
}

/// One instance, judged.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub(super) instance: Instance,
    pub(super) name: String,
    pub(super) verdict: Verdict<'a>,
    /// What is changed on the container that stays, without making it anew.
    pub(super) update: Vec<FieldDifference>,
    /// Settings that are not as declared and stay so.
    pub(super) left: Vec<Left>,
    /// Further containers of the same instance, which an interrupted replacement left.
    pub(super) leftovers: Vec<&'a ContainerFacts>,
}

/// A setting that is not as declared, and why nothing is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// The engine cannot enforce it.
    NotEnforced(String),
    /// Nobody declared it, and it can only be taken away by making the container anew.
    SetByOthers(String),
    /// Its replacement failed, and only somebody who asks for it tries again.
    Held,
}

impl<'a> Judged<'a> {
    /// The container that stays.
    pub(super) fn kept(&self) -> Option<&'a ContainerFacts> {
        match &self.verdict {
            Verdict::Keep(container) | Verdict::Adopt(container) | Verdict::Leave(container) => {
                Some(container)
            }
            Verdict::Create(_) | Verdict::Replace(..) => None,
        }
    }

    pub(super) fn is_made_anew(&self) -> bool {
        self.kept().is_none()
    }
}

/// What a judgement is based on.
pub(super) struct Judge<'a> {
    pub(super) desired: &'a ProjectSpec,
    pub(super) observed: &'a Observed,
    pub(super) options: &'a PlanOptions,
    pub(super) contracts: BTreeMap<&'a str, Contract>,
    /// The host's key for digests of content.
    pub(super) key: &'a HashKey,
    /// Differing fields of the networks that have to be made again, by name.
    pub(super) changed_networks: BTreeMap<String, Vec<String>>,
    /// Differing fields of the volumes that are made again because somebody asked, by name.
    pub(super) changed_volumes: BTreeMap<String, Vec<String>>,
    /// Instances of the services before, by service.
    pub(super) judged: BTreeMap<&'a str, Vec<Judged<'a>>>,
}

impl<'a> Judge<'a> {
    /// Judges all instances of a service; those it depends on were judged before.
    pub(super) fn service(&mut self, service: &'a str, unit: &'a ServiceUnit) {
        let numbers = 1..=unit.replicas;
        let judged = numbers.map(|number| {
            let project = self.desired.name.clone();
            self.instance(unit, Instance { project, service: service.to_owned(), number })
        });
        let judged = judged.collect();
        self.judged.insert(service, judged);
    }

    fn instance(&self, unit: &'a ServiceUnit, instance: Instance) -> Judged<'a> {
        let name = container_name(unit, &instance);
        let is_its = |c: &&ContainerFacts| c.instance.as_ref() == Some(&instance) && !c.oneoff;
        let (vanishing, mut found): (Vec<_>, Vec<_>) = (self.observed.containers.iter())
            .filter(is_its)
            .partition(|container| container.state == ContainerState::Removing);
        let causes: BTreeMap<&str, Option<Cause>> = (found.iter())
            .map(|container| (container.id.as_str(), self.cause_to_replace(unit, container)))
            .collect();
        // The one that fits comes first; among equals the one that works under its own name.
        found.sort_by_key(|container| {
            let is_temporary =
                is_replacement_name(&container.name, &name) || is_kept_name(&container.name, &name);
            let is_running = container.state == ContainerState::Running;
            let is_wrong = causes.get(container.id.as_str()).is_none_or(Option::is_some);
            (is_wrong, is_temporary, !is_running, container.id.as_str())
        });
        let mut leftovers = vanishing;
        let mut rest = found.into_iter();
        let Some(first) = rest.next() else {
            let has_siblings = instance.number > 1 || self.has_other_instance(&instance);
            let cause = if has_siblings { Cause::ScaledUp } else { Cause::Missing };
            let verdict = Verdict::Create(cause);
            let (update, left) = (Vec::new(), Vec::new());
            return Judged { instance, name, verdict, update, left, leftovers };
        };
        leftovers.extend(rest);
        if self.is_held_back(first) {
            let (verdict, update, left) = (Verdict::Leave(first), Vec::new(), Vec::new());
            return Judged { instance, name, verdict, update, left, leftovers: Vec::new() };
        }
        let cause = causes.get(first.id.as_str()).cloned().flatten();
        let verdict = match (self.contract_in_force(first), cause) {
            (None, _) if !self.may_take(first) => Verdict::Leave(first),
            (_, Some(cause)) => Verdict::Replace(first, cause),
            (None, None) => Verdict::Adopt(first),
            (Some(_), None) => Verdict::Keep(first),
        };
        let (mut update, mut left) = (Vec::new(), Vec::new());
        match verdict {
            Verdict::Leave(_) => leftovers.clear(),
            Verdict::Keep(kept) if self.is_held(unit, &instance, kept) => left.push(Left::Held),
            Verdict::Keep(kept) | Verdict::Adopt(kept) => {
                (update, left) = self.other_settings(unit, &instance, kept);
            }
            Verdict::Create(_) | Verdict::Replace(..) => {}
        }
        Judged { instance, name, verdict, update, left, leftovers }
    }

    /// Settings that are changed in place and are not as declared; and those of them that stay.
    fn other_settings(
        &self,
        unit: &ServiceUnit,
        instance: &Instance,
        container: &ContainerFacts,
    ) -> (Vec<FieldDifference>, Vec<Left>) {
        let (declared, observed) =
            (LiveSettings::of(&unit.spec), LiveSettings::of(&container.spec));
        let differing = declared.differences(&observed);
        if differing.is_empty() {
            return (differing, Vec::new());
        }
        let made_from = self.observed.contract_of(container);
        let contract = self.contracts.get(instance.service.as_str());
        let is_made_so = |field: &str| match (&made_from, contract) {
            (Some(made_from), Some(contract)) => made_from.is_alike(contract, field),
            _ => false,
        };
        let was_declared =
            |field: &str| made_from.as_ref().is_some_and(|made| made.parts.contains_key(field));
        let (mut update, mut left) = (Vec::new(), Vec::new());
        for found in differing {
            let field = found.field.clone();
            // The agent makes nothing anew by itself for what somebody set behind its back.
            let is_others = is_never_taken_away(&found)
                && !was_declared(&field)
                && self.options.trigger == Trigger::Convergence;
            if is_left_out(&found) && is_made_so(&field) {
                left.push(Left::NotEnforced(field));
            } else if is_others {
                left.push(Left::SetByOthers(field));
            } else {
                update.push(found);
            }
        }
        (update, left)
    }

    /// What has to be made anew for its settings' sake, by name.
    fn settings_out_of_reach(
        &self,
        unit: &ServiceUnit,
        instance: &Instance,
        container: &ContainerFacts,
    ) -> Vec<String> {
        let (differing, _) = self.other_settings(unit, instance, container);
        let (declared, observed) =
            (LiveSettings::of(&unit.spec), LiveSettings::of(&container.spec));
        if declared.can_be_reached_from(&observed, &differing) {
            return Vec::new();
        }
        differing.into_iter().map(|found| found.field).collect()
    }

    /// Does enforcement keep it as it is, and nobody asked for the project?
    pub(super) fn is_held_back(&self, container: &ContainerFacts) -> bool {
        self.options.trigger == Trigger::Convergence
            && self.observed.held_back.contains_key(&container.id)
    }

    fn has_other_instance(&self, instance: &Instance) -> bool {
        self.observed.containers.iter().any(|container| {
            container.instance.as_ref().is_some_and(|other| {
                other.service == instance.service && other.number != instance.number
            })
        })
    }

    /// The contract that a container can be compared by. One that an agent with other rules of
    /// digesting made is compared with what the engine reports, like one made by somebody else.
    fn contract_in_force(&self, container: &ContainerFacts) -> Option<Contract> {
        let contract = self.observed.contract_of(container)?;
        // A record made under rules that are known here replaces the label of another version.
        if contract.is_known_version() {
            return Some(contract);
        }
        let record = self.observed.adoptions.get(&container.id)?;
        record.is_known_version().then(|| record.clone())
    }

    fn may_take(&self, container: &ContainerFacts) -> bool {
        match self.observed.other_owner(container) {
            Some(_) => self.options.take_over,
            None => self.options.adopt || self.observed.is_ours(container),
        }
    }

    /// Why the container cannot stay.
    fn cause_to_replace(&self, unit: &ServiceUnit, container: &ContainerFacts) -> Option<Cause> {
        if container.state == ContainerState::Dead {
            return Some(Cause::Unusable);
        }
        if let Some(agent) = self.observed.other_owner(container) {
            return Some(Cause::OtherAgent { agent: agent.to_owned() });
        }
        let is_fresh = self.options.fresh_containers.contains(&container.id);
        if self.options.force_recreate && !is_fresh {
            return Some(Cause::Requested);
        }
        let instance = container.instance.as_ref()?;
        let differs = self.other_version(unit, instance, container);
        self.other_volume(container)
            .or_else(|| differs.filter(|_| !self.has_failed_before(unit, instance)))
            .or_else(|| self.other_network(unit, container))
            .or_else(|| self.other_parent(unit, container))
    }

    /// What makes the container another one than is declared.
    fn other_version(
        &self,
        unit: &ServiceUnit,
        instance: &Instance,
        container: &ContainerFacts,
    ) -> Option<Cause> {
        self.other_declaration(unit, instance, container)
            .or_else(|| self.other_image(unit, instance, container))
    }

    /// Is it left as it is although it is not as declared?
    fn is_held(&self, unit: &ServiceUnit, instance: &Instance, kept: &ContainerFacts) -> bool {
        self.has_failed_before(unit, instance) && self.other_version(unit, instance, kept).is_some()
    }

    /// Was a container as it is declared tried and taken back, so that the agent does not try it
    /// again by itself?
    fn has_failed_before(&self, unit: &ServiceUnit, instance: &Instance) -> bool {
        let Some(failed) = self.options.failed_attempts.get(&instance.service) else {
            return false;
        };
        let reference = image_reference(self.desired, &instance.service, unit);
        let image = self.observed.images.get(&reference);
        let contract = self.contracts.get(instance.service.as_str());
        let is_same =
            |(contract, image): (&Contract, &ImageFacts)| contract.attempt(&image.id) == *failed;
        self.options.trigger == Trigger::Convergence && contract.zip(image).is_some_and(is_same)
    }

    fn other_declaration(
        &self,
        unit: &ServiceUnit,
        instance: &Instance,
        container: &ContainerFacts,
    ) -> Option<Cause> {
        let in_force = self.contract_in_force(container);
        let mut fields = match &in_force {
            None => self.adoption_differences(unit, instance, container),
            Some(contract) => self.contract_differences(contract, unit, instance, container)?,
        };
        if fields.is_empty() {
            fields = self.settings_out_of_reach(unit, instance, container);
        } else {
            let (settings, _) = self.other_settings(unit, instance, container);
            fields.extend(settings.into_iter().map(|found| found.field));
            fields.sort();
        }
        match in_force {
            _ if fields.is_empty() => None,
            None => Some(Cause::AdoptionDiffers { fields }),
            Some(_) => Some(Cause::ContractChanged { fields }),
        }
    }

    /// Fields in which a container was made from, or adopted under, another declaration; those
    /// aside that are changed in place. `None` for a service without a contract.
    fn contract_differences(
        &self,
        contract: &Contract,
        unit: &ServiceUnit,
        instance: &Instance,
        container: &ContainerFacts,
    ) -> Option<Vec<String>> {
        let declared = self.contracts.get(instance.service.as_str())?;
        let digest = contract.digest();
        let is_a_record = contract.parts.is_empty();
        let is_former = |unit: &ServiceUnit| {
            digest.is_some() && digest == Contract::former(unit, self.key).ok()
        };
        if digest == declared.digest() || ((is_a_record || contract.is_former()) && is_former(unit))
        {
            return Some(Vec::new());
        }
        if !is_a_record {
            return Some(contract.differences(declared));
        }
        // The former version digested what is changed in place, too: as it still is, perhaps.
        let mut as_it_is = unit.clone();
        LiveSettings::of(&container.spec).write_to(&mut as_it_is.spec);
        if is_former(&as_it_is) {
            return Some(Vec::new());
        }
        // Only the whole digest of an adopted container is kept: its report has the names.
        let named = self.adoption_differences(unit, instance, container);
        Some(if named.is_empty() { vec!["declaration".to_owned()] } else { named })
    }

    /// Fields in which a container without our labels is not what we would have made, those aside
    /// that are changed in place.
    fn adoption_differences(
        &self,
        unit: &ServiceUnit,
        instance: &Instance,
        container: &ContainerFacts,
    ) -> Vec<String> {
        let reference = image_reference(self.desired, &instance.service, unit);
        let images = &self.observed.images;
        let Some(image) = images.get(&reference).or_else(|| images.get(&container.image_id)) else {
            return vec!["image".to_owned()];
        };
        if !is_built_from(unit, image, true) {
            return vec!["build".to_owned()];
        }
        let mut declared = effective(&unit.spec, image);
        resolve_namespaces(&mut declared, &self.kept_parents(unit));
        // What the agent mounts as files the other one mounts from elsewhere; the content is
        // taken to be as declared, and later changes are seen by its digest.
        let is_file = |field: &str| {
            let target = field.strip_prefix("mounts.").unwrap_or("");
            unit.files.keys().any(|file| {
                target.strip_prefix(file.as_str()).is_some_and(|rest| rest.starts_with('.'))
            })
        };
        let fields = differences(&declared, &container.spec).into_iter().map(|found| found.field);
        fields.filter(|field| !is_file(field) && !is_live(field)).collect()
    }

    /// Ids of the containers whose namespaces are shared, by the spelling in the contract.
    fn kept_parents(&self, unit: &ServiceUnit) -> BTreeMap<String, String> {
        let parents = graph::parents(&unit.spec).into_iter();
        let kept = parents.filter_map(|(_, service, spelling)| {
            let id = self.parent_of(service)?.kept()?.id.clone();
            Some([(spelling, id.clone()), (service.to_owned(), id)])
        });
        kept.flatten().collect()
    }

    fn parent_of(&self, service: &str) -> Option<&Judged<'a>> {
        self.judged.get(service).and_then(|judged| judged.first())
    }

    fn other_image(
        &self,
        unit: &ServiceUnit,
        instance: &Instance,
        container: &ContainerFacts,
    ) -> Option<Cause> {
        let reference = image_reference(self.desired, &instance.service, unit);
        let image = self.observed.images.get(&reference)?;
        (image.id != container.image_id)
            .then(|| Cause::ImageChanged { from: container.image_id.clone(), to: image.id.clone() })
    }

    /// A volume that is about to be removed holds on to every container that mounts it.
    fn other_volume(&self, container: &ContainerFacts) -> Option<Cause> {
        let mut mounts = container.spec.mounts.values();
        mounts.find_map(|mount| {
            let MountKind::Volume { name, .. } = &mount.kind else { return None };
            let fields = self.changed_volumes.get(name)?.clone();
            Some(Cause::VolumeChanged { volume: name.clone(), fields })
        })
    }

    pub(super) fn other_network(
        &self,
        unit: &ServiceUnit,
        container: &ContainerFacts,
    ) -> Option<Cause> {
        let NetworkMode::Networks(declared) = &unit.spec.network_mode else { return None };
        for network in declared.keys() {
            if let Some(fields) = self.changed_networks.get(network) {
                let (network, fields) = (network.clone(), fields.clone());
                return Some(Cause::NetworkChanged { network, fields });
            }
            let found = self.observed.networks.get(network);
            match (container.addresses.get(network), found) {
                (Some(address), found)
                    if !address.network_id.is_empty()
                        && found.is_none_or(|found| found.id != address.network_id) =>
                {
                    return Some(Cause::NetworkReplaced { network: network.clone() });
                }
                // A change of the network that was interrupted leaves such a container. Made
                // anew, it is started for certain, however it had ended.
                (None, _) if container.state == ContainerState::Exited => {
                    return Some(Cause::NotConnected { network: network.clone() });
                }
                _ => {}
            }
        }
        None
    }

    fn other_parent(&self, unit: &ServiceUnit, container: &ContainerFacts) -> Option<Cause> {
        let is_bound_elsewhere = |bond: Bond, service: &str| {
            let Some(parent) = self.parent_of(service) else { return false };
            let Some(kept) = parent.kept() else { return true };
            let is_other = |mode: &Option<String>| {
                let id = mode.as_deref().and_then(|mode| mode.strip_prefix("container:"));
                id.is_some_and(|id| id != kept.id)
            };
            match bond {
                Bond::Network => matches!(
                    &container.spec.network_mode, NetworkMode::Container(id) if *id != kept.id
                ),
                Bond::Ipc => is_other(&container.spec.security.ipc_mode),
                Bond::Pid => is_other(&container.spec.security.pid_mode),
                Bond::Volumes => kept.created_at > container.created_at,
            }
        };
        let parents = graph::parents(&unit.spec);
        let (_, service, _) =
            parents.into_iter().find(|(bond, service, _)| is_bound_elsewhere(*bond, service))?;
        Some(Cause::ParentReplaced { service: service.to_owned() })
    }

    /// Networks to which a container that stays has to be connected.
    pub(super) fn missing_networks(
        &self,
        unit: &'a ServiceUnit,
        container: &ContainerFacts,
    ) -> BTreeSet<&'a str> {
        let NetworkMode::Networks(declared) = &unit.spec.network_mode else {
            return BTreeSet::new();
        };
        let is_absent = |network: &&String| !container.addresses.contains_key(*network);
        declared.keys().filter(is_absent).map(String::as_str).collect()
    }
}

/// Was the image built from the files of the bundle? One without our label, which somebody else
/// built, passes where it `may_be_foreign`.
pub(super) fn is_built_from(unit: &ServiceUnit, image: &ImageFacts, may_be_foreign: bool) -> bool {
    let Some(build) = &unit.build else { return true };
    let Some(wanted) = build.context_digest else { return true };
    match image.defaults.labels.get(CONTEXT_LABEL) {
        Some(label) => *label == wanted.to_string(),
        None => may_be_foreign,
    }
}
