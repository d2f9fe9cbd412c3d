//! Notices containers whose health check fails, asks for their restart where their service says so,
//! and lets somebody hear of it. Owns when it looks. Face: `Healer`. Never restarts anything itself,
//! and never touches a project that is paused, busy, or another agent's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::base::ids::EventId;
use crate::base::limits::HEAL_MEMORY;
use crate::base::time::between;
use crate::base::{Ambient, Timestamp, chain};
use crate::domain::alerts::{EventKey, instance_event};
use crate::domain::audit::{
    Actor, AuditEvent, AuditEvents, EventContext, EventType, Outcome, Target,
};
use crate::domain::enforcement::Treated;
use crate::domain::healing::{Decision, Found, decide};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{HealInstance, Inputs, RunType, Source, Status, Subject};
use crate::facts::{ContainerFacts, ContainerState, Health, Instance, OnUnhealthy, labels};
use crate::operations::rollout::{PreviewError, Rollout};
use crate::operations::{Door, Request, SubmitError};
use crate::store::{
    AlertWrite, AuditFilter, Desired, PageRequest, Project, RunFilter, StoreError, Write,
};
use crate::world::docker::{ContainerFilter, EngineError};

/// How often all containers are looked at, whatever the engine told.
const SWEEP: Duration = Duration::from_secs(30);
/// How long further events are waited for.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// How soon a project is looked at again while a run works on it.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// Pause before the engine's events are followed again.
const RECONNECT: Duration = Duration::from_secs(5);

/// Watches the health of the containers of kept projects.
pub struct Healer {
    rollout: Rollout,
    door: Door,
    ambient: Ambient,
    /// What was told of already; what another process told, the audit log knows.
    told: BTreeSet<String>,
}

/// Why a look led to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the engine does not answer")]
    Engine(#[source] EngineError),
    #[error("the store does not answer")]
    Store(#[source] StoreError),
    #[error("what is kept of the project cannot be read")]
    Kept(#[source] PreviewError),
    #[error("the restart could not be asked for")]
    Submit(#[source] SubmitError),
}

impl Healer {
    /// A watcher that does nothing yet.
    pub fn new(rollout: Rollout, door: Door, ambient: Ambient) -> Self {
        Self { rollout, door, ambient, told: BTreeSet::new() }
    }

    /// Watches until told to stop.
    pub async fn watch(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.follow() => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    /// Follows the engine until the connection breaks.
    async fn follow(&mut self) {
        let engine = Arc::clone(&self.rollout.engine);
        let mut events = engine.events(None);
        let mut due = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => {
                    let pause = match self.look().await {
                        Ok(pause) => pause,
                        Err(error) => {
                            warn!(error = %chain(&error), "the health of containers not looked at");
                            SWEEP
                        }
                    };
                    due = Instant::now() + pause;
                }
                event = events.next() => match event {
                    Some(Ok(event)) if event.action.starts_with("health_status") => {
                        due = due.min(Instant::now() + DEBOUNCE);
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    }

    /// Looks at all containers; the answer is when to look again.
    async fn look(&mut self) -> Result<Duration, LookError> {
        let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, "");
        let containers = self.rollout.engine.containers(&filter).await;
        let own = self.rollout.owner();
        let mut sick: BTreeMap<String, Vec<ContainerFacts>> = BTreeMap::new();
        for container in containers.map_err(LookError::Engine)? {
            let is_own = container.all_labels.get(labels::OWNER).is_none_or(|owner| *owner == own);
            let is_sick =
                container.state == ContainerState::Running && container.health == Health::Unhealthy;
            if let Some(instance) = container.instance.as_ref().filter(|_| is_own && is_sick)
                && !container.oneoff
            {
                sick.entry(instance.project.clone()).or_default().push(container);
            }
        }
        let is_there = |told: &String| {
            let mut all = sick.values().flatten();
            all.any(|container| *told == episode(container))
        };
        self.told.retain(is_there);
        if sick.is_empty() {
            return Ok(SWEEP);
        }
        let workspace = self.rollout.store.scope().workspace_id;
        // What lost its network on purpose is not healed.
        let enforced = self.rollout.store.enforced(workspace).await.map_err(LookError::Store)?;
        let is_held = |container: &ContainerFacts| {
            enforced.treated.get(&container.id).is_some_and(Treated::holds_back)
        };
        for containers in sick.values_mut() {
            containers.retain(|container| !is_held(container));
        }
        sick.retain(|_, containers| !containers.is_empty());
        let projects = self.rollout.store.projects(workspace).await.map_err(LookError::Store)?;
        let mut pause = SWEEP;
        for project in projects.iter().filter(|project| project.desired == Desired::Running) {
            let Some(containers) = sick.get(&project.name) else { continue };
            match self.look_at(project, containers).await {
                Ok(then) => pause = pause.min(then),
                Err(LookError::Submit(SubmitError::Closed)) => {
                    debug!("the agent is shutting down");
                }
                Err(error) => {
                    let project = &project.name;
                    warn!(project, error = %chain(&error), "unhealthy container not dealt with");
                }
            }
        }
        Ok(pause)
    }

    async fn look_at(
        &mut self,
        project: &Project,
        containers: &[ContainerFacts],
    ) -> Result<Duration, LookError> {
        let kept = self.rollout.kept(project).await.map_err(LookError::Kept)?;
        let Some(kept) = kept else { return Ok(SWEEP) };
        if self.is_busy(project).await? {
            return Ok(BUSY_PAUSE);
        }
        let (mut pause, now) = (SWEEP, self.ambient.now());
        let tries = self.tries(project, now).await?;
        for container in containers {
            let Some(instance) = &container.instance else { continue };
            let Some(unit) = kept.spec.services.get(&instance.service) else { continue };
            let own = (instance.service.clone(), instance.number);
            let tries = tries.get(&own).map(Vec::as_slice).unwrap_or_default();
            let found = Found { state: container.state, health: container.health, tries };
            match decide(unit.on_unhealthy, &found, now) {
                Decision::Nothing => {}
                Decision::Tell => self.tell(project, container, None).await?,
                Decision::GiveUp => self.tell(project, container, Some(tries.len())).await?,
                Decision::Wait(then) => pause = pause.min(between(now, then)),
                Decision::Restart(number_of_try) => {
                    let rule = (unit.on_unhealthy, unit.spec.stop_grace_period);
                    self.restart(project, container, number_of_try, rule).await?;
                    pause = pause.min(BUSY_PAUSE);
                }
            }
        }
        Ok(pause.max(DEBOUNCE))
    }

    /// A project that a run works on is left to it.
    async fn is_busy(&self, project: &Project) -> Result<bool, LookError> {
        let filter = RunFilter {
            statuses: vec![Status::Queued, Status::Running],
            subject: Some(Subject::project(&project.name)),
            ..RunFilter::workspace(project.workspace_id)
        };
        let runs = self.rollout.store.runs(filter, PageRequest::first(1)).await;
        Ok(!runs.map_err(LookError::Store)?.items.is_empty())
    }

    /// When a restart of each instance was asked for, of late. The runs are the memory: what another
    /// process asked for counts as well.
    async fn tries(
        &self,
        project: &Project,
        now: Timestamp,
    ) -> Result<BTreeMap<(String, u32), Vec<Timestamp>>, LookError> {
        let filter = RunFilter {
            run_types: vec![RunType::HealInstance],
            subject: Some(Subject::project(&project.name)),
            from: now.saturating_sub(HEAL_MEMORY).ok(),
            ..RunFilter::workspace(project.workspace_id)
        };
        let page = PageRequest::first(crate::base::limits::PAGE_ITEMS_MAX);
        let runs = self.rollout.store.runs(filter, page).await.map_err(LookError::Store)?;
        let mut tries: BTreeMap<(String, u32), Vec<Timestamp>> = BTreeMap::new();
        for run in runs.items {
            if let Inputs::HealInstance(inputs) = run.context.inputs {
                let own = (inputs.service, inputs.number);
                tries.entry(own).or_default().push(run.created_at);
            }
        }
        Ok(tries)
    }

    async fn restart(
        &self,
        project: &Project,
        container: &ContainerFacts,
        number_of_try: u32,
        (rule, grace): (OnUnhealthy, Option<Duration>),
    ) -> Result<(), LookError> {
        let (Some(instance), OnUnhealthy::Restart { tries_max }) = (&container.instance, rule)
        else {
            return Ok(());
        };
        let inputs = Inputs::HealInstance(HealInstance {
            project: project.name.clone(),
            service: instance.service.clone(),
            number: instance.number,
            container_id: container.id.clone(),
            number_of_try,
            tries_max,
            grace_seconds: grace.map(|grace| grace.as_secs()),
        });
        let scope = self.rollout.store.scope();
        let mut request = Request::by_agent(&scope, Source::Convergence, inputs);
        // Behind a pause or newer files it is not wanted any more.
        request.writes.push(project.expected());
        match self.door.submit(request).await {
            Err(SubmitError::Store(error)) if error.is_outrun() => Ok(()),
            admitted => admitted.map(drop).map_err(LookError::Submit),
        }
    }

    /// Lets somebody hear of it, once while the container runs so.
    async fn tell(
        &mut self,
        project: &Project,
        container: &ContainerFacts,
        tries: Option<usize>,
    ) -> Result<(), LookError> {
        let Some(instance) = &container.instance else { return Ok(()) };
        let episode = episode(container);
        if self.told.contains(&episode) {
            return Ok(());
        }
        let filter = AuditFilter {
            event_types: vec![EventType::InstanceUnhealthy],
            target_id: Some(episode.clone()),
            ..AuditFilter::workspace(project.workspace_id)
        };
        let known = self.rollout.store.audit(filter, PageRequest::first(1)).await;
        if known.map_err(LookError::Store)?.items.is_empty() {
            let (key, how) = match tries {
                None => (EventKey::InstanceUnhealthy, "is unhealthy".to_owned()),
                Some(0) => (EventKey::InstanceNotHealed, "is unhealthy".to_owned()),
                Some(count) => {
                    (EventKey::InstanceNotHealed, format!("is unhealthy after {count} restarts"))
                }
            };
            let summary = format!("{instance} {how} (container {})", container.name);
            let (event, about) = (self.event(project, instance, &episode, &summary), &episode);
            let at = self.ambient.now();
            let (workspace, tenant) = (project.workspace_id, project.tenant_id);
            let alert = instance_event(key, (workspace, tenant), about, &summary, at);
            let raise = Write::Alert(AlertWrite::Raise(Box::new(alert)));
            let committed = self.rollout.store.commit(vec![raise], AuditEvents::from(event)).await;
            committed.map_err(LookError::Store)?;
            warn!(project = project.name, container = container.name, "{how}");
        }
        self.told.insert(episode);
        Ok(())
    }

    fn event(
        &self,
        project: &Project,
        instance: &Instance,
        episode: &str,
        summary: &str,
    ) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: project.workspace_id,
            tenant_id: project.tenant_id,
            event_type: EventType::InstanceUnhealthy,
            summary: SafeText::new(summary),
            outcome: Outcome::Info,
            actor: Actor::agent(),
            target: Some(Target {
                target_type: "instance".to_owned(),
                target_id: episode.to_owned(),
                target_label: instance.to_string(),
                workspace_id: project.workspace_id,
                tenant_id: project.tenant_id,
            }),
            operation_run_id: None,
            context: EventContext {
                project: Some(project.name.clone()),
                ..EventContext::default()
            },
            occurred_at: self.ambient.now(),
        }
    }
}

/// A container from one start to its end: unhealthy twice in it is told of once.
fn episode(container: &ContainerFacts) -> String {
    let since = container.started_at.map_or(0, |at| at.as_millisecond());
    let id: String = container.id.chars().take(12).collect();
    format!("{id}@{since}")
}
