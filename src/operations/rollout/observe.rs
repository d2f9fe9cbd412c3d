//! Looks at everything that a plan depends on, in one bounded set of reads. Owns which reads these
//! are. Face: `Rollout::observe`. Never changes anything, and never looks at other projects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::{PreviewError, Rollout};
use crate::base::ids::WorkspaceId;
use crate::base::limits::DEPLOY_PARALLEL_CALLS_MAX;
use crate::base::time::after;
use crate::domain::enforcement::Treated;
use crate::domain::rollout::{Contract, Exit, Observed, container_name, image_reference};
use crate::facts::{
    ContainerFacts, ImageFacts, Instance, MountKind, NetworkFacts, NetworkMode, ProjectSpec,
};
use crate::facts::{VolumeFacts, labels};
use crate::store::ContainerExit;
use crate::world::docker::{Answer, ContainerFilter, Engine, EngineError};

/// How far the time of an end, as an event tells it, may be from the one that the container tells.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

impl Rollout {
    /// How the project is now.
    ///
    /// # Errors
    /// When the engine or the store does not answer.
    pub async fn observe(
        &self,
        workspace: WorkspaceId,
        spec: &ProjectSpec,
    ) -> Result<Observed, PreviewError> {
        let project = spec.name.clone();
        let (adoptions, exits, doomed, enforced) = futures_util::future::try_join4(
            self.store.adoptions(workspace, project.clone()),
            self.store.exits(workspace, project.clone()),
            self.store.doomed_volumes(workspace, project),
            self.store.enforced(workspace),
        )
        .await
        .map_err(PreviewError::Store)?;
        let mut observed = self.look(spec).await.map_err(PreviewError::Engine)?;
        let doomed =
            each(&*self.engine, doomed.into_iter().collect(), |engine, name| engine.volume(name));
        let doomed = doomed.await.map_err(PreviewError::Engine)?;
        observed.doomed_volumes = doomed.into_keys().collect();
        observed.owner = self.owner();
        observed.adoptions = adoptions
            .into_iter()
            .map(|kept| (kept.container_id, Contract::of_digest(kept.spec_hash)))
            .collect();
        observed.exits = known_exits(&observed, &exits);
        observed.files_missing = self.files_missing(spec);
        let held = enforced.treated.into_values().filter(Treated::holds_back);
        observed.held_back = held.map(|it| (it.container_id.clone(), it.told())).collect();
        Ok(observed)
    }

    async fn look(&self, spec: &ProjectSpec) -> Result<Observed, EngineError> {
        let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, &spec.name);
        let label = Some((labels::COMPOSE_PROJECT, spec.name.as_str()));
        let (containers, networks, volumes, images) = futures_util::future::try_join4(
            self.engine.containers(&filter),
            self.engine.networks(label),
            self.engine.volumes(label),
            self.images(spec),
        )
        .await?;
        let mut observed = Observed { containers, images, ..Observed::default() };
        observed.add_networks(networks);
        observed.volumes =
            volumes.into_iter().map(|volume| (volume.name.clone(), volume)).collect();
        let (networks, volumes, name_holders) = futures_util::future::try_join3(
            self.other_networks(spec, &observed),
            self.other_volumes(spec, &observed),
            self.name_holders(spec, &observed),
        )
        .await?;
        observed.networks.extend(networks);
        observed.volumes.extend(volumes);
        observed.name_holders = name_holders;
        Ok(observed)
    }

    pub(super) async fn images(
        &self,
        spec: &ProjectSpec,
    ) -> Result<BTreeMap<String, ImageFacts>, EngineError> {
        let references: BTreeSet<String> = spec
            .services
            .iter()
            .map(|(service, unit)| image_reference(spec, service, unit))
            .collect();
        each(&*self.engine, references, |engine, reference| engine.image(reference)).await
    }

    /// Declared networks without the project's label: external ones, and strangers of that name.
    async fn other_networks(
        &self,
        spec: &ProjectSpec,
        observed: &Observed,
    ) -> Result<BTreeMap<String, NetworkFacts>, EngineError> {
        let declared = spec.networks.values().map(|network| network.name.clone());
        let attached = spec.services.values().filter_map(|unit| match &unit.spec.network_mode {
            NetworkMode::Networks(networks) => Some(networks.keys().cloned()),
            _ => None,
        });
        let names = declared.chain(attached.flatten());
        let names = names.filter(|name| !observed.networks.contains_key(name)).collect();
        each(&*self.engine, names, |engine, name| engine.network(name)).await
    }

    async fn other_volumes(
        &self,
        spec: &ProjectSpec,
        observed: &Observed,
    ) -> Result<BTreeMap<String, VolumeFacts>, EngineError> {
        let declared = spec.volumes.values().map(|volume| volume.name.clone());
        let mounts = spec.services.values().flat_map(|unit| unit.spec.mounts.values());
        let mounted = mounts.filter_map(|mount| match &mount.kind {
            MountKind::Volume { name, .. } => Some(name.clone()),
            _ => None,
        });
        let names = declared.chain(mounted);
        let names = names.filter(|name| !observed.volumes.contains_key(name)).collect();
        each(&*self.engine, names, |engine, name| engine.volume(name)).await
    }

    /// Containers of others under a name that the project needs and none of its own has.
    async fn name_holders(
        &self,
        spec: &ProjectSpec,
        observed: &Observed,
    ) -> Result<BTreeMap<String, String>, EngineError> {
        let own: BTreeSet<&str> =
            observed.containers.iter().map(|container| container.name.as_str()).collect();
        let mut names = BTreeSet::new();
        for (service, unit) in &spec.services {
            for number in 1..=unit.replicas {
                let (project, service) = (spec.name.clone(), service.clone());
                let name = container_name(unit, &Instance { project, service, number });
                if !own.contains(name.as_str()) {
                    names.insert(name);
                }
            }
        }
        let found = each(&*self.engine, names, |engine, name| engine.container(name)).await?;
        // One of the project's own was made since they were listed: the next look finds it.
        let is_own = |found: &ContainerFacts| {
            found.all_labels.get(labels::COMPOSE_PROJECT) == Some(&spec.name)
        };
        let others = found.into_iter().filter(|(_, container)| !is_own(container));
        Ok(others.map(|(name, container)| (name, container.id)).collect())
    }
}

/// How containers ended, as far as somebody watched and wrote it down. A record of an earlier end
/// than the container's last says nothing: the container was started since, or is said to have ended
/// later than the event may lag, or with another status. An engine that goes ends its containers
/// later than it is seen to go, some only when it comes back: there it counts alone that the
/// container was not started since.
fn known_exits(observed: &Observed, recorded: &[ContainerExit]) -> BTreeMap<String, Exit> {
    let is_of_last_end = |exit: &ContainerExit, container: &ContainerFacts| {
        let is_started_since = container.started_at.is_some_and(|at| at >= exit.seen_at);
        let may_end_until = after(exit.seen_at, CLOCK_TOLERANCE);
        let is_in_time = container.finished_at.is_none_or(|at| at <= may_end_until);
        // Of a container that somebody ended, the engine does not always tell the status.
        let is_its_status = exit.exit_code == container.exit_code;
        exit.container_id == container.id
            && !is_started_since
            && match exit.ended {
                Exit::OnItsOwn => is_in_time && is_its_status,
                Exit::ByHand => is_in_time,
                Exit::WithTheEngine => true,
            }
    };
    let known = observed.containers.iter().filter_map(|container| {
        let exit = recorded.iter().find(|exit| is_of_last_end(exit, container))?;
        Some((container.id.clone(), exit.ended))
    });
    known.collect()
}

/// A read by name.
pub(super) type Ask<T> = for<'a> fn(&'a dyn Engine, &'a str) -> Answer<'a, Option<T>>;

/// Asks for each name, a few at a time, and keeps what exists.
pub(super) async fn each<T: Send>(
    engine: &dyn Engine,
    names: BTreeSet<String>,
    ask: Ask<T>,
) -> Result<BTreeMap<String, T>, EngineError> {
    let mut names = names.into_iter();
    let mut asked = FuturesUnordered::new();
    let mut found = BTreeMap::new();
    loop {
        while asked.len() < DEPLOY_PARALLEL_CALLS_MAX {
            let Some(name) = names.next() else { break };
            asked.push(look_up(engine, name, ask));
        }
        match asked.next().await {
            None => return Ok(found),
            Some((name, answer)) => found.extend(answer?.map(|thing| (name, thing))),
        }
    }
}

async fn look_up<T>(
    engine: &dyn Engine,
    name: String,
    ask: Ask<T>,
) -> (String, Result<Option<T>, EngineError>) {
    let answer = ask(engine, &name).await;
    (name, answer)
}
