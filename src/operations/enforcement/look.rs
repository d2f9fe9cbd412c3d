//! Looks at a container as policies see it. Owns what a judgement of it is made from. Face: `Round`,
//! `Look`, `Rollout::enforcement_round`. Never acts.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Timestamp;
use crate::base::ids::{RunId, TenantId};
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::base::time::between;
use crate::domain::enforcement::{
    Decision, Enforced, Keeper, Settings, Situation, Wrong, decide, wrongs,
};
use crate::domain::findings::Look as Seen;
use crate::domain::policy::{Finding, Subject, Verdict, VolumeOptions};
use crate::domain::runs::{CountKey, Inputs, OperationRun, RunType, Status};
use crate::facts::{ContainerFacts, ContainerState, HostFacts, ServiceSpec, labels};
use crate::operations::rollout::{Gate, Rollout};
use crate::store::{PageRequest, RunFilter, StoreError};
use crate::world::docker::{Engine, EngineError};

/// The host, among the subjects of findings.
const HOST_SUBJECT: &str = "host";

/// Why a container was not judged.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The engine does not answer.
    #[error("the engine does not answer")]
    Engine(#[source] EngineError),
    /// The store does not answer.
    #[error("the store does not answer")]
    Store(#[source] StoreError),
}

/// What decisions about containers are made from, beside the containers: as it is at one moment.
pub struct Round {
    /// How policies are enforced.
    pub settings: Settings,
    /// What stands of enforcement.
    pub enforced: Enforced,
    /// When containers were dealt with.
    pub recent: Vec<Timestamp>,
    /// Ids of the containers that are being dealt with.
    pub under_way: BTreeSet<String>,
    /// When it was.
    pub now: Timestamp,
    owner: String,
    /// The tenant of each project that is kept.
    projects: BTreeMap<String, Option<TenantId>>,
    gates: BTreeMap<Option<TenantId>, Option<Gate>>,
    /// Ids of containers that were taken over, and the projects that were asked for them.
    adopted: BTreeSet<String>,
    asked: BTreeSet<String>,
    /// What was seen, by tenant, for whoever keeps findings.
    seen: BTreeMap<TenantId, Seen>,
}

impl Round {
    /// What was seen since the round began, by tenant. When everything was looked at, all policies in
    /// force were judged by, also those that are about nothing that is there.
    pub fn take_seen(&mut self, is_whole: bool) -> Vec<Seen> {
        // Of a tenant that has nothing any more, that is what was seen.
        let tenants = self.projects.values().filter(|_| is_whole).filter_map(|tenant| *tenant);
        for tenant in tenants {
            let nothing = || Seen::new(tenant, self.now, None);
            self.seen.entry(tenant).or_insert_with(nothing);
        }
        let mut all: Vec<Seen> = std::mem::take(&mut self.seen).into_values().collect();
        for seen in all.iter_mut().filter(|_| is_whole) {
            let gates = self.gates.values().flatten();
            seen.policies.extend(gates.flat_map(Gate::names));
            seen.is_whole = true;
        }
        all
    }
}

/// What policies say of one container, and what is done about it.
#[derive(Debug, Clone)]
pub struct Look {
    /// Whose it is.
    pub keeper: Keeper,
    /// The tenant it is judged for; none for one of no project.
    pub tenant: Option<TenantId>,
    /// What is wrong with it.
    pub wrongs: Vec<Wrong>,
    /// What could not be told, by the codes of rules.
    pub unknown: BTreeSet<String>,
    /// What is done about it.
    pub decision: Decision,
}

/// What else an engine holds, when all of it was looked at.
pub struct Neighbours<'a> {
    /// All containers.
    pub containers: &'a [ContainerFacts],
    /// Options of volumes.
    pub volumes: &'a VolumeOptions,
    /// Its host.
    pub host: &'a HostFacts,
}

impl Neighbours<'_> {
    /// The others, by each name under which one may be meant: its name, its id, and within a project
    /// its service.
    fn peers_of(&self, container: &ContainerFacts) -> Vec<(&str, &ServiceSpec)> {
        let project =
            |it: &ContainerFacts| it.instance.as_ref().map(|instance| instance.project.clone());
        let own = project(container);
        let others = self.containers.iter().filter(|other| other.id != container.id);
        let names = others.flat_map(|other| {
            let is_sibling = own.is_some() && project(other) == own;
            let service = other.instance.as_ref().filter(|_| is_sibling);
            let service = service.map(|instance| instance.service.as_str());
            let names = [Some(other.name.as_str()), Some(other.id.as_str()), service];
            names.into_iter().flatten().map(|name| (name, &other.spec))
        });
        names.collect()
    }
}

impl Rollout {
    /// Everything that decisions are made from now. What `own` did does not count as done before.
    ///
    /// Read before the containers are: a run writes down what it did when it is done, so that whoever
    /// reads what runs, then what was done, and then the container never takes one that was dealt with
    /// in between for one that nobody dealt with.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn enforcement_round(
        &self,
        now: Timestamp,
        own: Option<RunId>,
    ) -> Result<Round, StoreError> {
        let workspace = self.store.scope().workspace_id;
        let settings = self.enforcement.settings();
        let filter = RunFilter {
            run_types: vec![RunType::EnforcePolicy],
            from: now.saturating_sub(settings.window).ok(),
            ..RunFilter::workspace(workspace)
        };
        let runs = self.store.runs(filter, PageRequest::first(PAGE_ITEMS_MAX)).await?;
        let (enforced, projects) = futures_util::future::try_join(
            self.store.enforced(workspace),
            self.store.projects(workspace),
        )
        .await?;
        // What somebody did by hand, and what turned out to need nothing, uses nothing up.
        let counts = |run: &OperationRun| {
            let is_by_policy = matches!(
                &run.context.inputs,
                Inputs::EnforcePolicy(inputs) if inputs.by_hand.is_none()
            );
            is_by_policy && Some(run.id) != own && run.summary_counts.get(CountKey::Skipped) == 0
        };
        let recent = runs.items.iter().filter(|run| counts(run)).map(|run| run.created_at);
        let is_active =
            |run: &&OperationRun| run.status() != Status::Completed && Some(run.id) != own;
        let active = runs.items.iter().filter(is_active);
        let container =
            |run: &OperationRun| run.context.inputs.container().map(|(id, _)| id.to_owned());
        Ok(Round {
            under_way: active.filter_map(container).collect(),
            recent: recent.filter(|at| between(*at, now) < settings.window).collect(),
            settings,
            enforced,
            now,
            owner: self.owner(),
            projects: projects.into_iter().map(|it| (it.name, it.tenant_id)).collect(),
            gates: BTreeMap::new(),
            adopted: BTreeSet::new(),
            asked: BTreeSet::new(),
            seen: BTreeMap::new(),
        })
    }

    /// Judges a container and decides about it.
    ///
    /// # Errors
    /// When the engine or the store does not answer.
    pub async fn look_at(
        &self,
        round: &mut Round,
        container: &ContainerFacts,
        neighbours: Option<&Neighbours<'_>>,
    ) -> Result<Look, LookError> {
        let keeper = self.keeper(round, container).await.map_err(LookError::Store)?;
        let project = container.instance.as_ref().map(|instance| instance.project.as_str());
        let tenant = project.and_then(|project| round.projects.get(project).copied()).flatten();
        if !round.gates.contains_key(&tenant) {
            let gate = self.gate(tenant, round.now).await.map_err(LookError::Store)?;
            round.gates.insert(tenant, gate);
        }
        let image = self.enforcement.image(&*self.engine, &container.image_id).await;
        let image = image.map_err(LookError::Engine)?;
        let processes = match round.gates.get(&tenant).and_then(Option::as_ref) {
            Some(gate) if gate.asks_for_processes() => processes(&*self.engine, container).await,
            _ => None,
        };
        let service = container.instance.as_ref().map(|instance| instance.service.as_str());
        let peers = neighbours.map(|all| all.peers_of(container));
        let subject = Subject {
            project,
            // What no registry knows was built here.
            is_built: image.as_deref().is_some_and(|image| image.digests.is_empty()),
            image: image.as_deref(),
            container: Some(container),
            peers: peers.as_deref(),
            volumes: neighbours.map(|all| all.volumes),
            host: neighbours.map(|all| all.host),
            processes: processes.as_deref(),
            now: Some(round.now),
            ..Subject::new(service.unwrap_or(&container.name), &container.spec)
        };
        let gate = round.gates.get(&tenant).and_then(Option::as_ref);
        let findings = gate.map(|gate| gate.judge(&subject)).unwrap_or_default();
        let found = wrongs(&findings, &subject, None);
        let opted_in = wrongs(&findings, &subject, Some(&round.settings.unmanaged));
        let home = tenant.unwrap_or(self.store.scope().tenant_id);
        let seen = round.seen.entry(home).or_insert_with(|| Seen::new(home, round.now, None));
        let name = container.instance.as_ref().map(ToString::to_string);
        seen.take(name.as_deref().unwrap_or(&container.name), project, &findings);
        let decision = decide(&Situation {
            container,
            keeper: &keeper,
            wrongs: &found,
            opted_in: &opted_in,
            settings: &round.settings,
            switch: round.enforced.switch.as_ref(),
            maintenance: &round.enforced.maintenance,
            treated: round.enforced.treated.get(&container.id),
            recent: &round.recent,
            now: round.now,
        });
        let is_unknown =
            |finding: &&Finding<'_>| matches!(finding.verdict, Verdict::Unknown { .. });
        let unknown = findings.iter().filter(is_unknown).map(Finding::code).collect();
        Ok(Look { keeper, tenant, wrongs: found, unknown, decision })
    }

    /// Judges the host for its own tenant. Nothing is done about a host: what is wrong is told.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_at_host_facts(
        &self,
        round: &mut Round,
        host: &HostFacts,
    ) -> Result<(), StoreError> {
        let home = self.store.scope().tenant_id;
        let gate = self.gate(Some(home), round.now).await?;
        let findings = gate.as_ref().map(|gate| gate.judge_host(host)).unwrap_or_default();
        let seen = round.seen.entry(home).or_insert_with(|| Seen::new(home, round.now, None));
        seen.take(HOST_SUBJECT, None, &findings);
        Ok(())
    }

    /// Whose a container is.
    async fn keeper(
        &self,
        round: &mut Round,
        container: &ContainerFacts,
    ) -> Result<Keeper, StoreError> {
        let is_labelled = container.all_labels.contains_key(labels::OWNER);
        if let Some(instance) = container.instance.as_ref().filter(|_| !is_labelled)
            && round.projects.contains_key(&instance.project)
            && !round.asked.contains(&instance.project)
        {
            let workspace = self.store.scope().workspace_id;
            let adopted = self.store.adoptions(workspace, instance.project.clone()).await?;
            round.adopted.extend(adopted.into_iter().map(|adoption| adoption.container_id));
            round.asked.insert(instance.project.clone());
        }
        let own = self.enforcement.own_container();
        Ok(Keeper::of(container, &round.owner, &round.adopted, own))
    }
}

/// What runs inside, as far as the engine tells; where it does not, nobody knows, and the rest of what
/// is judged counts all the same.
pub(crate) async fn processes(
    engine: &dyn Engine,
    container: &ContainerFacts,
) -> Option<Vec<String>> {
    if container.state != ContainerState::Running {
        return None;
    }
    engine.processes(&container.id).await.unwrap_or_else(|error| {
        tracing::debug!(container = container.name, %error, "its processes are not known");
        None
    })
}
