//! Keeps projects as they were applied: notices that one is not, and asks for its deployment. Owns
//! when a project is looked at. Face: `Convergence`. Never submits a run when nothing is to be
//! done, never touches a paused project, and never floods the queue with a broken one.

mod endings;
mod pace;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use endings::{Ending, Endings};
use pace::Pace;

use super::reconnect::{self, Following, at, next_event};
use crate::base::ids::RunId;
use crate::base::{Clock, Timestamp, chain};
use crate::domain::rollout::{Exit, Observed, Plan};
use crate::domain::runs::{DeployProject, Inputs, Outcome, Source, Status, Subject};
use crate::facts::{ContainerState, Instance, labels};
use crate::operations::deploy_project::options_of;
use crate::operations::rollout::{PreviewError, Rollout};
use crate::operations::{Door, Request, SubmitError};
use crate::store::{ContainerExit, Desired, PageRequest, Project, RunFilter, StoreError, Write};
use crate::world::docker::{EngineError, EngineEvent};

/// How soon a project is looked at again while a run works on it.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// How projects are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvergenceOptions {
    /// Whether projects are kept at all.
    pub enabled: bool,
    /// How often every project is looked at, whatever happened.
    pub sweep_interval: Duration,
    /// How long further events are waited for before a project is looked at.
    pub debounce: Duration,
}

/// What the watcher noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed {
    /// Every project is to be looked at.
    Swept,
    /// A project is as applied.
    Settled,
    /// A project is not, and its deployment was asked for.
    Asked,
    /// A project could not be looked at, or its deployment not be asked for.
    Failed,
}

/// Hears what the watcher notices.
pub type Observer = Arc<dyn Fn(Noticed) + Send + Sync>;

/// Watches the engine and the projects on it.
pub struct Convergence {
    rollout: Rollout,
    door: Door,
    clock: Arc<dyn Clock>,
    options: watch::Receiver<ConvergenceOptions>,
    projects: BTreeMap<String, Watched>,
    swept_at: Option<Instant>,
    endings: Endings,
    observer: Observer,
}

/// What is remembered of a project.
#[derive(Debug, Default)]
struct Watched {
    /// When it is to be looked at.
    due: Option<Instant>,
    pace: Pace,
    /// The run that was asked for last.
    asked: Option<RunId>,
}

/// Why a look led to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the store does not answer")]
    Store(#[source] StoreError),
    #[error("the project cannot be planned")]
    Preview(#[source] PreviewError),
    #[error("the deployment could not be asked for")]
    Submit(#[source] SubmitError),
}

impl Convergence {
    /// A watcher that does nothing yet. The options may change at any time.
    pub fn new(
        rollout: Rollout,
        door: Door,
        clock: Arc<dyn Clock>,
        options: watch::Receiver<ConvergenceOptions>,
    ) -> Self {
        Self {
            rollout,
            door,
            clock,
            options,
            projects: BTreeMap::new(),
            swept_at: None,
            endings: Endings::default(),
            observer: Arc::new(|_| {}),
        }
    }

    /// The same, with somebody who hears what it notices.
    #[must_use]
    pub fn observed(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    /// Watches until told to stop. A lost engine is waited for, however long it takes.
    pub async fn watch(self, stop: CancellationToken) {
        reconnect::watch(self, stop).await;
    }
}

impl Following for Convergence {
    async fn follow(&mut self) -> Result<Infallible, EngineError> {
        let engine = Arc::clone(&self.rollout.engine);
        engine.ping().await?;
        let mut events = engine.events(self.endings.last_event_at());
        let mut options = self.options.clone();
        self.all_are_due().await;
        loop {
            let swept_at = self.swept_at.unwrap_or_else(Instant::now);
            let sweep = swept_at + self.options().sweep_interval;
            let next_look = self.projects.values().filter_map(|watched| watched.due).min();
            tokio::select! {
                biased;
                // What is due comes before what happens: a stream of events puts nothing off.
                Ok(()) = options.changed() => self.all_are_due().await,
                () = tokio::time::sleep_until(sweep) => self.all_are_due().await,
                () = at(next_look) => self.look_at_due().await?,
                event = next_event(&mut events) => self.happened(&event?).await,
            }
        }
    }

    async fn lost(&mut self, error: EngineError) {
        warn!(%error, "the engine's events ended; following them again soon");
        let seen_at = self.clock.now();
        for ending in self.endings.engine_lost() {
            self.record(ending, 0, seen_at).await;
        }
    }
}

impl Convergence {
    fn options(&self) -> ConvergenceOptions {
        *self.options.borrow()
    }

    /// Takes note of an event, and decides whether its project is worth a look.
    async fn happened(&mut self, event: &EngineEvent) {
        let Some(project) = event.attributes.get(labels::COMPOSE_PROJECT).cloned() else { return };
        if let Some(ending) = self.endings.happened(event) {
            let status = event.attributes.get("exitCode").and_then(|status| status.parse().ok());
            self.record(ending, status.unwrap_or_default(), event.at).await;
        }
        if matches!(event.action.as_str(), "die" | "stop" | "pause" | "destroy" | "rename" | "oom")
        {
            self.due_in(&project, self.options().debounce);
        }
    }

    /// Keeps how a container ended beyond the life of this process.
    async fn record(&self, ending: Ending, exit_code: i64, seen_at: Timestamp) {
        let exit = ContainerExit {
            workspace_id: self.rollout.store.scope().workspace_id,
            project: ending.instance.project,
            service: ending.instance.service,
            number: ending.instance.number,
            container_id: ending.container_id,
            ended: ending.ended,
            exit_code,
            count: 1,
            seen_at,
        };
        if let Err(error) = self.rollout.store.record_exit(exit).await {
            warn!(error = %chain(&error), "exit not recorded");
        }
    }

    /// The first event decides when: a stream of events must not put the look off for ever.
    fn due_in(&mut self, project: &str, pause: Duration) {
        let watched = self.projects.entry(project.to_owned()).or_default();
        let then = Instant::now() + pause;
        watched.due = Some(watched.due.map_or(then, |due| due.min(then)));
    }

    async fn all_are_due(&mut self) {
        self.swept_at = Some(Instant::now());
        (self.observer)(Noticed::Swept);
        let debounce = self.options().debounce;
        let workspace = self.rollout.store.scope().workspace_id;
        match self.rollout.store.projects(workspace).await {
            Ok(projects) => {
                let kept: BTreeMap<_, _> =
                    projects.into_iter().map(|project| (project.name, ())).collect();
                self.projects.retain(|name, _| kept.contains_key(name));
                for name in kept.keys() {
                    self.due_in(name, debounce);
                }
            }
            Err(error) => warn!(error = %chain(&error), "the projects cannot be listed"),
        }
    }

    async fn look_at_due(&mut self) -> Result<(), EngineError> {
        let now = Instant::now();
        let is_due = |watched: &Watched| watched.due.is_some_and(|due| due <= now);
        let due = self.projects.iter().filter(|(_, watched)| is_due(watched));
        let names: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(watched) = self.projects.get_mut(&name) {
                watched.due = None;
            }
            // Events are read all the same: they tell how containers ended.
            if !self.options().enabled {
                continue;
            }
            match self.look(&name).await {
                Ok(()) => {}
                // Whoever follows the events notices the same, and waits for the engine.
                Err(LookError::Preview(PreviewError::Engine(error)))
                    if error.is_outcome_unknown() =>
                {
                    (self.observer)(Noticed::Failed);
                    return Err(error);
                }
                Err(LookError::Submit(SubmitError::Closed)) => {
                    debug!(project = name, "the agent is shutting down");
                }
                Err(error) => {
                    (self.observer)(Noticed::Failed);
                    warn!(project = name, error = %chain(&error), "project not looked at");
                    let watched = self.projects.entry(name).or_default();
                    let pause = watched.pace.tried(Instant::now());
                    watched.due = Some(Instant::now() + pause);
                }
            }
        }
        Ok(())
    }

    /// Looks at one project, and asks for its deployment if something has to be done.
    async fn look(&mut self, name: &str) -> Result<(), LookError> {
        let workspace = self.rollout.store.scope().workspace_id;
        let project = self.rollout.store.project(workspace, name.to_owned()).await;
        let Some(project) = project.map_err(LookError::Store)? else {
            self.projects.remove(name);
            return Ok(());
        };
        let Some(inputs) = self.inputs(&project).await? else { return Ok(()) };
        let still_so = project.expected();
        if self.is_busy(name).await? {
            self.due_in(name, BUSY_PAUSE);
            return Ok(());
        }
        self.learn_from_last_run(name).await?;
        let watched = self.projects.entry(name.to_owned()).or_default();
        if let Some(wait) = watched.pace.wait(Instant::now()) {
            self.due_in(name, wait);
            return Ok(());
        }
        let (plan, is_refused) = self.plan(&inputs).await?;
        let now = Instant::now();
        // Files that policies refuse wait for other files or other policies; what is deployed is
        // kept whatever they say.
        let waits = is_refused && project.deployed_revision_id != Some(inputs.revision_id);
        if plan.is_empty() || waits {
            (self.observer)(Noticed::Settled);
            self.projects.entry(name.to_owned()).or_default().pace.settled(now);
            return Ok(());
        }
        self.submit(name, inputs, still_so, &plan).await
    }

    /// What a deployment of the project would be asked to do; `None` when it is to be left alone.
    async fn inputs(&self, project: &Project) -> Result<Option<DeployProject>, LookError> {
        if project.desired != Desired::Running {
            return Ok(None);
        }
        self.rollout.deploy_as_applied(project).await.map_err(LookError::Store)
    }

    /// Does a run work on the project, or is one about to?
    async fn is_busy(&self, project: &str) -> Result<bool, LookError> {
        let filter = RunFilter {
            statuses: vec![Status::Queued, Status::Running],
            subject: Some(Subject::project(project)),
            ..RunFilter::workspace(self.rollout.store.scope().workspace_id)
        };
        let runs = self.rollout.store.runs(filter, PageRequest::first(1)).await;
        Ok(!runs.map_err(LookError::Store)?.items.is_empty())
    }

    async fn learn_from_last_run(&mut self, name: &str) -> Result<(), LookError> {
        let Some(watched) = self.projects.get_mut(name) else { return Ok(()) };
        let Some(id) = watched.asked.take() else { return Ok(()) };
        let run = self.rollout.store.run(id).await.map_err(LookError::Store)?;
        if run.is_some_and(|run| run.outcome() != Outcome::Succeeded) {
            watched.pace.failed(Instant::now());
        }
        Ok(())
    }

    async fn plan(&mut self, inputs: &DeployProject) -> Result<(Plan, bool), LookError> {
        let workspace = self.rollout.store.scope().workspace_id;
        let declared = self.rollout.declared(inputs.revision_id).await;
        let newest = declared.map_err(LookError::Preview)?;
        let declared = self.rollout.layered(newest, &inputs.wanted).await;
        let declared = declared.map_err(LookError::Preview)?;
        let mut options = options_of(inputs, &declared);
        let failed = self.rollout.failed_attempts(workspace, &inputs.project).await;
        options.failed_attempts = failed.map_err(LookError::Store)?;
        let (scope, now) = (self.rollout.store.scope(), self.clock.now());
        let preview = self.rollout.preview_judged(&scope, &declared, (&options, now)).await;
        let preview = preview.map_err(LookError::Preview)?;
        let containers = preview.observed.containers.iter();
        let running = containers.filter(|found| found.state == ContainerState::Running);
        let running: Vec<(String, Instance)> =
            running.filter_map(|found| Some((found.id.clone(), found.instance.clone()?))).collect();
        self.outlived(&inputs.project, &preview.observed, &running).await;
        self.endings.are_running(running.into_iter());
        Ok((preview.plan, preview.is_refused))
    }

    /// Containers that outlived their engine have not ended with it: when they end later, unseen,
    /// the record must not say so.
    async fn outlived(&self, project: &str, observed: &Observed, running: &[(String, Instance)]) {
        let is_said_lost = |id: &String| observed.exits.get(id) == Some(&Exit::WithTheEngine);
        let ids = running.iter().map(|(id, _)| id.clone()).filter(is_said_lost);
        let ids: Vec<String> = ids.collect();
        if ids.is_empty() {
            return;
        }
        let workspace = self.rollout.store.scope().workspace_id;
        let forgotten = self.rollout.store.forget_exits(workspace, project.to_owned(), ids).await;
        if let Err(error) = forgotten {
            warn!(error = %chain(&error), "exit not forgotten");
        }
    }

    async fn submit(
        &mut self,
        name: &str,
        inputs: DeployProject,
        still_so: Write,
        plan: &Plan,
    ) -> Result<(), LookError> {
        let scope = self.rollout.store.scope();
        let inputs = Inputs::DeployProject(inputs);
        let mut request = Request::by_agent(&scope, Source::Convergence, inputs);
        // Behind a pause or newer files, the deployment of what was looked at would undo them.
        request.writes.push(still_so);
        let admitted = match self.door.submit(request).await {
            Err(SubmitError::Store(error)) if error.is_outrun() => {
                debug!(project = name, error = %chain(&error), "the project was changed meanwhile");
                self.due_in(name, BUSY_PAUSE);
                return Ok(());
            }
            admitted => admitted.map_err(LookError::Submit)?,
        };
        (self.observer)(Noticed::Asked);
        let run_id = admitted.run().id;
        let cause = plan.steps.first().map(|step| format!("{}: {}", step.subject, step.cause_text));
        info!(project = name, %run_id, steps = plan.steps.len(), cause, "project is not as applied");
        let watched = self.projects.entry(name.to_owned()).or_default();
        watched.asked = Some(run_id);
        watched.pace.tried(Instant::now());
        self.due_in(name, BUSY_PAUSE);
        Ok(())
    }
}
