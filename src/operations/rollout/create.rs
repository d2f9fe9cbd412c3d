//! Puts together what a new object is made from: the contract, the files it mounts, the labels of
//! Compose and of this agent. Owns these labels' values. Face: `new_container` and its siblings.
//! Never adds a label that changes what the container does.

use std::collections::BTreeMap;

use super::{Declared, Rollout};
use crate::base::ids::RunId;
use crate::base::{CanonicalError, Digest};
use crate::domain::rollout::{
    Contract, Observed, container_name, image_reference, networks_in_order, parents,
    replacement_name,
};
use crate::facts::{Condition, Instance, Mount, MountKind, NetworkMode, ServiceUnit, labels};
use crate::world::content_files::name_of;
use crate::world::docker::NewContainer;

/// The version that Compose's label names: `docker compose` shows containers of any.
const COMPOSE_VERSION: &str = "2.26.0";

/// A container to be made for an instance.
pub(super) struct Making<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) declared: &'a Declared,
    pub(super) observed: &'a Observed,
    pub(super) run: RunId,
    /// Ids of the containers that stand for each instance, those made by this plan included.
    pub(super) ids: &'a BTreeMap<Instance, String>,
}

impl Making<'_> {
    /// What the engine is told.
    ///
    /// # Errors
    /// When the contract has no digest, which planning has excluded.
    pub(super) fn new_container(
        &self,
        instance: &Instance,
        unit: &ServiceUnit,
        replaces: Option<&str>,
    ) -> Result<NewContainer, CanonicalError> {
        let name = container_name(unit, instance);
        let name = replaces.map_or(name.clone(), |id| replacement_name(id, &name));
        let image = image_reference(&self.declared.spec, &instance.service, unit);
        let mut spec = unit.spec.clone();
        spec.image.clone_from(&image);
        // The plan has a step of its own for each further network.
        if let Some((first, attachment)) = networks_in_order(&unit.spec).first() {
            let only = [((*first).to_owned(), (*attachment).clone())];
            spec.network_mode = NetworkMode::Networks(only.into());
        }
        for (target, file) in &unit.files {
            let digest = name_of(file, &self.rollout.key);
            let path = self.rollout.files.path(&self.declared.spec.name, &digest);
            let kind = MountKind::Bind {
                source: path.to_string_lossy().into_owned(),
                propagation: None,
                create_host_path: false,
                selinux: None,
            };
            spec.mounts.insert(target.clone(), Mount { kind, read_only: true });
        }
        let kept_volumes = replaces
            .and_then(|id| self.observed.containers.iter().find(|found| found.id == id))
            .map(|found| found.anonymous_volumes.clone())
            .unwrap_or_default();
        let bookkeeping = self.labels(instance, unit, &image)?;
        let resolved_namespaces = self.namespaces(unit);
        Ok(NewContainer { name, image, spec, bookkeeping, resolved_namespaces, kept_volumes })
    }

    /// `service:x` by its first container's id, and `x` itself for `volumes_from`.
    fn namespaces(&self, unit: &ServiceUnit) -> BTreeMap<String, String> {
        let mut resolved = BTreeMap::new();
        for (_, service, spelling) in parents(&unit.spec) {
            let (project, service) = (self.declared.spec.name.clone(), service.to_owned());
            let first = Instance { project, service: service.clone(), number: 1 };
            if let Some(id) = self.ids.get(&first) {
                resolved.insert(spelling, id.clone());
                resolved.insert(service, id.clone());
            }
        }
        resolved
    }

    fn labels(
        &self,
        instance: &Instance,
        unit: &ServiceUnit,
        image: &str,
    ) -> Result<BTreeMap<String, String>, CanonicalError> {
        let contract = Contract::of(unit, &self.rollout.key)?;
        let image_id = self.observed.images.get(image).map_or("", |found| found.id.as_str());
        let depends_on: Vec<String> = unit
            .depends_on
            .iter()
            .map(|(name, on)| format!("{name}:{}:{}", condition(on.condition), on.restart))
            .collect();
        let owner = self.rollout.owner();
        let mut all = project_labels(&instance.project, &owner, self.run);
        all.extend(contract.labels());
        let compose = [
            (labels::COMPOSE_SERVICE, instance.service.clone()),
            (labels::COMPOSE_CONTAINER_NUMBER, instance.number.to_string()),
            (labels::COMPOSE_ONEOFF, "False".to_owned()),
            // Compose ignores a container without this label. It never equals Compose's own
            // hash, so that it says what it is: made by somebody else.
            (labels::COMPOSE_CONFIG_HASH, Digest::of(contract.hash.as_bytes()).to_string()),
            (labels::COMPOSE_CONFIG_FILES, self.declared.config_files.join(",")),
            (labels::COMPOSE_WORKING_DIR, self.declared.working_dir.clone()),
            (labels::COMPOSE_IMAGE, image_id.to_owned()),
            (labels::COMPOSE_DEPENDS_ON, depends_on.join(",")),
            (labels::COMPOSE_VERSION, COMPOSE_VERSION.to_owned()),
        ];
        all.extend(compose.map(|(key, value)| (key.to_owned(), value)));
        Ok(all)
    }
}

fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::ServiceStarted => "service_started",
        Condition::ServiceHealthy => "service_healthy",
        Condition::ServiceCompletedSuccessfully => "service_completed_successfully",
    }
}

/// The labels of everything that a run of this agent makes for a project.
fn project_labels(project: &str, owner: &str, run: RunId) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::OWNER.to_owned(), owner.to_owned()),
        (labels::COMPOSE_PROJECT.to_owned(), project.to_owned()),
        (labels::PROJECT.to_owned(), project.to_owned()),
        (labels::RUN.to_owned(), run.to_string()),
    ])
}

/// The labels of a network or volume: those of the project, and its key in the compose file.
pub(super) fn keyed_labels(
    (project, owner): (&str, &str),
    run: RunId,
    label: &str,
    key: &str,
) -> BTreeMap<String, String> {
    let mut all = project_labels(project, owner, run);
    all.insert(label.to_owned(), key.to_owned());
    all.insert(labels::COMPOSE_VERSION.to_owned(), COMPOSE_VERSION.to_owned());
    all
}
