//! Judges what runs: at once when something happens to a container, and all of it on a schedule. Owns
//! when a container is looked at. Face: `PolicyWatcher`. Never acts on a container: what is to be done
//! becomes a run; and looking is none.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::reconnect::{self, Following, at, next_event};
use crate::base::ids::EventId;
use crate::base::limits::{ENFORCEMENT_TOLD_MAX, ENFORCEMENT_WAITING_MAX};
use crate::base::time::between;
use crate::base::{Ambient, Timestamp, chain};
use crate::domain::alerts::EventKey;
use crate::domain::audit::{
    Actor, AuditEvent, AuditEvents, EventContext, EventType, Outcome, Target,
};
use crate::domain::enforcement::{Decision, Leave, Rung};
use crate::domain::policy::VolumeOptions;
use crate::domain::redaction::SafeText;
use crate::domain::runs::{EnforcePolicy, Inputs, Source};
use crate::facts::ContainerFacts;
use crate::operations::enforcement::{Look, LookError, Neighbours, Round, alert, project_of};
use crate::operations::findings::Findings;
use crate::operations::host_look::look_at_host;
use crate::operations::rollout::Rollout;
use crate::operations::scan_findings::POLICY as SCANS;
use crate::operations::{Admitted, Door, Request, SubmitError};
use crate::store::{EnforcementWrite, Write};
use crate::world::docker::{ContainerFilter, EngineError, EngineEvent, NETWORK_JOINED};

/// How soon what could not be looked at is looked at again.
const AGAIN: Duration = Duration::from_secs(5);

/// How what runs is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyWatchOptions {
    /// Whether anything is judged.
    pub is_enabled: bool,
    /// How often everything is, whatever happened.
    pub sweep_interval: Duration,
}

/// What the watcher did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// A container was judged, so long after the event that made it worth a look.
    Judged(Option<Duration>),
    /// A run was asked for, so long after the event.
    Asked(Rung, Option<Duration>),
    /// Something stands against what a policy asks for.
    Refused(Leave),
    /// Everything was looked at.
    Swept(Duration),
    /// Something could not be looked at.
    Failed,
}

/// Hears what the watcher does.
pub type WatchObserver = Arc<dyn Fn(Watched) + Send + Sync>;

/// Watches the containers of an engine.
pub struct PolicyWatcher {
    rollout: Rollout,
    door: Door,
    ambient: Ambient,
    options: watch::Receiver<PolicyWatchOptions>,
    observer: WatchObserver,
    findings: Option<Findings>,
    /// Containers that something happened to, in the order in which it did, and when it did.
    waiting: VecDeque<String>,
    since: BTreeMap<String, Timestamp>,
    /// Containers that are being dealt with, and when each is looked at again.
    again: BTreeMap<String, Instant>,
    sweep_due: Instant,
    /// What was told of a limit already.
    told: BTreeMap<String, Instant>,
}

impl PolicyWatcher {
    /// A watcher that does nothing yet. The options may change at any time.
    pub fn new(
        rollout: Rollout,
        door: Door,
        ambient: Ambient,
        options: watch::Receiver<PolicyWatchOptions>,
    ) -> Self {
        Self {
            rollout,
            door,
            ambient,
            options,
            observer: Arc::new(|_| {}),
            findings: None,
            waiting: VecDeque::new(),
            since: BTreeMap::new(),
            again: BTreeMap::new(),
            sweep_due: Instant::now(),
            told: BTreeMap::new(),
        }
    }

    /// The same, with somebody who hears what it does.
    #[must_use]
    pub fn observed(self, observer: WatchObserver) -> Self {
        Self { observer, ..self }
    }

    /// The same, with somebody who keeps what is found.
    #[must_use]
    pub fn keeping(self, findings: Findings) -> Self {
        Self { findings: Some(findings), ..self }
    }

    /// Watches until told to stop. A lost engine is waited for, however long it takes.
    pub async fn watch(self, stop: CancellationToken) {
        reconnect::watch(self, stop).await;
    }
}

impl Following for PolicyWatcher {
    async fn follow(&mut self) -> Result<Infallible, EngineError> {
        let engine = Arc::clone(&self.rollout.engine);
        engine.ping().await?;
        let mut events = engine.events(None);
        let mut options = self.options.clone();
        let mut policies = self.rollout.policies.changes();
        self.sweep_due = Instant::now();
        loop {
            let is_enabled = self.options.borrow().is_enabled;
            let is_waiting = is_enabled && !self.waiting.is_empty();
            let again_due = self.again.values().min().copied();
            tokio::select! {
                biased;
                Ok(()) = options.changed() => self.sweep_due = Instant::now(),
                () = policies.next() => self.sweep_due = Instant::now(),
                // What happens is taken down before the next container is looked at, so that one to
                // which several things happen at once is looked at once.
                event = next_event(&mut events) => self.happened(&event?),
                () = tokio::time::sleep_until(self.sweep_due), if is_enabled => self.sweep().await?,
                () = at(again_due), if is_enabled => self.take_again(),
                () = std::future::ready(()), if is_waiting => self.look_at_next().await,
            }
        }
    }

    async fn lost(&mut self, error: EngineError) {
        (self.observer)(Watched::Failed);
        warn!(%error, "containers are not judged; trying again soon");
    }
}

impl PolicyWatcher {
    /// Takes down what happened to a container that may change what policies say of it.
    fn happened(&mut self, event: &EngineEvent) {
        let is_worth_a_look = matches!(
            event.action.as_str(),
            "create" | "start" | "restart" | "unpause" | "update" | "rename" | NETWORK_JOINED
        );
        if event.action == "destroy" {
            self.since.remove(&event.container_id);
            self.waiting.retain(|id| *id != event.container_id);
        }
        if !is_worth_a_look || !self.options.borrow().is_enabled {
            return;
        }
        if self.since.contains_key(&event.container_id) {
            return;
        }
        if self.waiting.len() >= ENFORCEMENT_WAITING_MAX {
            // Somebody starts more than is looked at one by one.
            self.waiting.clear();
            self.since.clear();
            self.sweep_due = Instant::now();
            return;
        }
        self.since.insert(event.container_id.clone(), event.at);
        self.waiting.push_back(event.container_id.clone());
    }

    /// Lets what is due again wait for its look.
    fn take_again(&mut self) {
        let now = Instant::now();
        let waiting = &mut self.waiting;
        self.again.retain(|id, due| {
            let is_due = *due <= now;
            if is_due && !waiting.contains(id) {
                waiting.push_back(id.clone());
            }
            !is_due
        });
    }

    async fn look_at_next(&mut self) {
        let Some(id) = self.waiting.pop_front() else { return };
        let since = self.since.remove(&id);
        if let Err(error) = self.look(&id, since).await {
            (self.observer)(Watched::Failed);
            debug!(container = id, error = %chain(&error), "container not judged");
            self.sweep_due = self.sweep_due.min(Instant::now() + AGAIN);
        }
    }

    async fn look(&mut self, id: &str, since: Option<Timestamp>) -> Result<(), LookError> {
        let round = self.rollout.enforcement_round(self.ambient.now(), None).await;
        let mut round = round.map_err(LookError::Store)?;
        let found = self.rollout.engine.container(id).await.map_err(LookError::Engine)?;
        let Some(container) = found else { return Ok(()) };
        let look = self.rollout.look_at(&mut round, &container, None).await?;
        self.follow_up(&mut round, &container, &look, since).await;
        self.keep(&mut round, false).await;
        Ok(())
    }

    /// Looks at every container, and forgets what is gone.
    async fn sweep(&mut self) -> Result<(), EngineError> {
        let began = Instant::now();
        let interval = self.options.borrow().sweep_interval;
        self.sweep_due = began + interval;
        match self.look_at_all().await {
            Ok(()) => {
                (self.observer)(Watched::Swept(began.elapsed()));
                Ok(())
            }
            Err(LookError::Engine(error)) if error.is_outcome_unknown() => Err(error),
            Err(error) => {
                (self.observer)(Watched::Failed);
                warn!(error = %chain(&error), "containers not judged");
                self.sweep_due = Instant::now() + AGAIN;
                Ok(())
            }
        }
    }

    async fn look_at_all(&mut self) -> Result<(), LookError> {
        let round = self.rollout.enforcement_round(self.ambient.now(), None).await;
        let mut round = round.map_err(LookError::Store)?;
        let engine = Arc::clone(&self.rollout.engine);
        let containers = engine.containers(&ContainerFilter::default()).await;
        let containers = containers.map_err(LookError::Engine)?;
        let volumes = engine.volumes(None).await.map_err(LookError::Engine)?;
        let volumes: VolumeOptions =
            volumes.into_iter().map(|volume| (volume.name, volume.driver_options)).collect();
        self.forget_gone(&round, &containers).await?;
        let host = look_at_host(&*engine, true).await.map_err(LookError::Engine)?;
        self.rollout.look_at_host_facts(&mut round, &host).await.map_err(LookError::Store)?;
        let neighbours = Neighbours { containers: &containers, volumes: &volumes, host: &host };
        for container in &containers {
            let look = self.rollout.look_at(&mut round, container, Some(&neighbours)).await?;
            self.follow_up(&mut round, container, &look, None).await;
            // Judging takes a while when there are many, and others have work too.
            tokio::task::yield_now().await;
        }
        self.keep(&mut round, true).await;
        Ok(())
    }

    /// Keeps what was found. After a look at everything, what policies found that are not in force any
    /// more is over.
    async fn keep(&self, round: &mut Round, is_whole: bool) {
        let Some(findings) = &self.findings else { return };
        for mut seen in round.take_seen(is_whole) {
            let named = match is_whole {
                true => findings.policies_named(seen.tenant).await,
                false => Ok(BTreeSet::new()),
            };
            // What scans find has a policy of its own name, which no look at containers judges by.
            let recorded = match named {
                Ok(named) => {
                    seen.policies.extend(named.into_iter().filter(|name| name != SCANS));
                    findings.record(seen).await.map(|_| ())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = recorded {
                (self.observer)(Watched::Failed);
                warn!(error = %chain(&error), "what was found is not kept");
            }
        }
    }

    /// Containers that were dealt with and are no more: nothing undoes anything about them.
    async fn forget_gone(
        &self,
        round: &Round,
        containers: &[ContainerFacts],
    ) -> Result<(), LookError> {
        let is_there = |id: &str| containers.iter().any(|container| container.id == id);
        for treated in round.enforced.treated.values().filter(|it| !is_there(&it.container_id)) {
            let summary = format!("container {} is gone", treated.name);
            let target = (treated.container_id.as_str(), treated.name.as_str());
            let event = self.event(EventType::EnforcementForgotten, target, &summary);
            let forget = EnforcementWrite::DropTreated {
                workspace_id: self.rollout.store.scope().workspace_id,
                container_id: treated.container_id.clone(),
            };
            let committed =
                self.rollout.store.commit(vec![Write::Enforcement(forget)], event.into());
            committed.await.map_err(LookError::Store)?;
        }
        Ok(())
    }

    /// Does what was decided: asks for a run, or lets somebody hear why there is none.
    async fn follow_up(
        &mut self,
        round: &mut Round,
        container: &ContainerFacts,
        look: &Look,
        since: Option<Timestamp>,
    ) {
        let elapsed = || since.map(|since| between(since, self.ambient.now()));
        (self.observer)(Watched::Judged(elapsed()));
        if round.under_way.contains(&container.id) {
            // What happens to it after the run's own last look is nobody's yet.
            if self.again.len() < ENFORCEMENT_WAITING_MAX {
                self.again.insert(container.id.clone(), Instant::now() + AGAIN);
            }
            return;
        }
        let Decision::Act { rung, codes, policies, .. } = &look.decision else {
            if let Decision::Leave(leave) = look.decision
                && leave.is_refusal()
            {
                (self.observer)(Watched::Refused(leave));
                if leave == Leave::LimitReached {
                    self.tell_of_limit(round, container).await;
                }
            }
            return;
        };
        let inputs = Inputs::EnforcePolicy(EnforcePolicy {
            container_id: container.id.clone(),
            name: container.name.clone(),
            project: project_of(&look.keeper),
            codes: codes.clone(),
            by_hand: None,
            noticed_at: since,
        });
        let scope = self.rollout.store.scope();
        let mut request = Request::by_agent(&scope, Source::Convergence, inputs);
        request.tenant_id = look.tenant.or(request.tenant_id);
        match self.door.submit(request).await {
            Ok(Admitted::New(run)) => {
                round.recent.push(round.now);
                (self.observer)(Watched::Asked(*rung, elapsed()));
                let policies = policies.join(", ");
                let (name, run_id) = (&container.name, run.id);
                info!(container = name, %rung, policies, %run_id, "policies do not let it be");
            }
            Ok(Admitted::Existing(_)) => {}
            Err(SubmitError::Closed) => debug!("the agent is shutting down"),
            Err(error) => {
                (self.observer)(Watched::Failed);
                warn!(container = container.name, error = %chain(&error), "nothing is done about it");
                self.sweep_due = self.sweep_due.min(Instant::now() + AGAIN);
            }
        }
    }

    /// Lets somebody hear that more would have to be done than may be, once in a while for each.
    async fn tell_of_limit(&mut self, round: &Round, container: &ContainerFacts) {
        let window = round.settings.window;
        self.told.retain(|_, at| at.elapsed() < window);
        if self.told.contains_key(&container.id) || self.told.len() >= ENFORCEMENT_TOLD_MAX {
            return;
        }
        let summary = format!(
            "policies ask for something to be done about container {}, but {} containers were dealt \
             with within {} seconds already; look at the policies, or raise `enforcement.actions_max`",
            container.name,
            round.recent.len(),
            window.as_secs()
        );
        let target = (container.id.as_str(), container.name.as_str());
        let event = self.event(EventType::EnforcementLimitReached, target, &summary);
        let id: String = container.id.chars().take(12).collect();
        let about = format!("{id}@{}", round.now.as_second());
        let scope = self.rollout.store.scope();
        let key = EventKey::EnforcementLimitReached;
        let raise = alert(key, &scope, &about, &summary, round.now);
        let committed = self.rollout.store.commit(vec![raise], AuditEvents::from(event)).await;
        match committed {
            Ok(()) => {
                self.told.insert(container.id.clone(), Instant::now());
            }
            Err(error) => {
                warn!(error = %chain(&error), "that the limit is reached is not recorded")
            }
        }
    }

    fn event(&self, event_type: EventType, (id, name): (&str, &str), summary: &str) -> AuditEvent {
        let scope = self.rollout.store.scope();
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Info,
            actor: Actor::agent(),
            target: Some(Target {
                target_type: "container".to_owned(),
                target_id: id.to_owned(),
                target_label: name.to_owned(),
                workspace_id: scope.workspace_id,
                tenant_id: Some(scope.tenant_id),
            }),
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: self.ambient.now(),
        }
    }
}
