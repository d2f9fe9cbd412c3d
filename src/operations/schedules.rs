//! Keeps schedules and lets them fire: what somebody asks of them, and what is done when one is due.
//! Owns their checks and audit events. Face: `Schedules`. Never fires but through the door, in the
//! transaction that notes the firing down.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::projects::Asker;
use super::rollout::deploy_as_applied;
use super::{Admitted, Door, Request, SubmitError, Within};
use crate::base::ids::{EventId, RunId, ScheduleId};
use crate::base::limits::{SCHEDULE_SPAN_MAX, SCHEDULES_MAX};
use crate::base::{Ambient, Name, Timestamp};
use crate::domain::audit::{
    Actor, ActorType, AuditEvent, EventContext, EventType, Outcome, Target,
};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{
    CheckImages, DeployCause, DeployChoices, DeployProject, Hosted, Inputs, Payload, PayloadError,
    RestartProject, ScanImages, Source, UpdateAdvisories,
};
use crate::domain::schedules::{
    Calendar, Decision, Firing, MissedPolicy, Overlap, Progress, Schedule, Task, decide, due,
};
use crate::store::{Advance, Conflict, ScheduleWrite, Store, StoreError, Write};

/// What somebody wants of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleSpec {
    /// When it fires.
    pub calendar: Calendar,
    /// What it asks for.
    pub task: Task,
    /// Each firing comes up to this much later than planned.
    pub jitter_max: Duration,
    /// What becomes of a firing that nobody was there for.
    pub missed: MissedPolicy,
    /// How old a missed firing may be that is made up for.
    pub missed_age_max: Duration,
    /// What becomes of a firing while an earlier run goes on.
    pub overlap: Overlap,
}

/// Why something asked of a schedule was not done. Nothing is recorded then.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// There is no such schedule.
    #[error("no schedule {0}")]
    Unknown(String),
    /// The task names a project that the agent does not keep.
    #[error("the agent keeps no project {0}")]
    UnknownProject(String),
    /// Nothing was ever applied of the project.
    #[error("nothing of project {0} was applied that could be deployed")]
    NothingApplied(String),
    /// The task names a type that nobody registered.
    #[error("no run type {0} is registered")]
    UnknownType(Name),
    /// The payload of a hosted run cannot be kept.
    #[error(transparent)]
    Payload(PayloadError),
    /// A length of time that is too long.
    #[error("{what} can be at most 31 days")]
    TooLong {
        /// Which.
        what: &'static str,
    },
    /// There are too many.
    #[error("a workspace has at most {SCHEDULES_MAX} schedules")]
    TooMany,
    /// The run was not accepted.
    #[error(transparent)]
    Submit(SubmitError),
    /// The store did not answer or take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

/// Keeps schedules. Cheap to clone.
#[derive(Clone)]
pub struct Schedules {
    store: Arc<dyn Store>,
    door: Door,
    ambient: Ambient,
    changed: Arc<Notify>,
    within: Within,
}

impl Schedules {
    /// Behind this door, on this store.
    pub fn new(store: Arc<dyn Store>, door: Door, ambient: Ambient) -> Self {
        let within = Within::host(store.scope());
        Self { store, door, ambient, changed: Arc::default(), within }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// Another agent may have changed one: they are looked at again.
    pub fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Waits until a schedule was changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The door through which schedules fire.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    /// All schedules, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<Vec<Schedule>, ScheduleError> {
        let mut found = self.all().await?;
        found.retain(|it| self.within.sees(it.workspace_id, it.tenant_id));
        Ok(found)
    }

    async fn all(&self) -> Result<Vec<Schedule>, ScheduleError> {
        let found = self.store.schedules(self.within.workspace()).await;
        found.map_err(ScheduleError::Store)
    }

    /// One schedule.
    ///
    /// # Errors
    /// When there is none, or the store does not answer.
    pub async fn find(&self, name: &str) -> Result<Schedule, ScheduleError> {
        let workspace = self.within.workspace();
        let found = self.store.schedule(workspace, name.to_owned()).await;
        let found = found.map_err(ScheduleError::Store)?;
        let found = found.filter(|it| self.within.sees(it.workspace_id, it.tenant_id));
        found.ok_or_else(|| ScheduleError::Unknown(name.to_owned()))
    }

    /// Makes a schedule, or changes what it does. It fires from now on: what an older form of it
    /// would have done meanwhile is over.
    ///
    /// # Errors
    /// When it asks for something that cannot be, or the store does not take it.
    pub async fn put(
        &self,
        name: Name,
        spec: ScheduleSpec,
        asker: &Asker,
    ) -> Result<Schedule, ScheduleError> {
        let too_long = |what| ScheduleError::TooLong { what };
        if spec.jitter_max > SCHEDULE_SPAN_MAX {
            return Err(too_long("jitter"));
        }
        if spec.missed_age_max > SCHEDULE_SPAN_MAX {
            return Err(too_long("the age of a missed firing"));
        }
        self.inputs(&spec.task).await?;
        let scope = self.within.scope.clone();
        let now = self.ambient.now();
        let known = self.all().await?;
        let old = known.iter().find(|schedule| schedule.name == name);
        if old.is_some_and(|old| !self.within.sees(old.workspace_id, old.tenant_id)) {
            return Err(ScheduleError::Unknown(name.to_string()));
        }
        if old.is_none() && known.len() >= SCHEDULES_MAX {
            return Err(ScheduleError::TooMany);
        }
        let schedule = Schedule {
            id: match old {
                Some(old) => old.id,
                None => ScheduleId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            },
            workspace_id: scope.workspace_id,
            // Whoever changes one leaves it where it is.
            tenant_id: old.map_or(Some(scope.tenant_id), |old| old.tenant_id),
            name,
            calendar: spec.calendar,
            task: spec.task,
            jitter_max: spec.jitter_max,
            missed: spec.missed,
            missed_age_max: spec.missed_age_max,
            overlap: spec.overlap,
            is_paused: old.is_some_and(|old| old.is_paused),
            created_at: old.map_or(now, |old| old.created_at),
            updated_at: now,
            progress: Progress::from(now),
        };
        let (event_type, verb) = match old {
            Some(_) => (EventType::ScheduleUpdated, "changed"),
            None => (EventType::ScheduleCreated, "made"),
        };
        let of = schedule.task.project().map_or_else(String::new, |name| format!(" of {name}"));
        let what = format!("{}{of}, {}", schedule.task.run_type(), schedule.calendar);
        let summary = format!("{} {verb} schedule {name}: {what}", asker.name);
        self.record(
            &schedule,
            ScheduleWrite::Put(Box::new(schedule.clone())),
            event_type,
            asker,
            summary,
        )
        .await?;
        Ok(schedule)
    }

    /// Forgets a schedule. A run that it asked for goes on.
    ///
    /// # Errors
    /// When there is none, or the store does not take it.
    pub async fn remove(&self, name: &str, asker: &Asker) -> Result<(), ScheduleError> {
        let schedule = self.find(name).await?;
        let write = ScheduleWrite::Drop { workspace_id: schedule.workspace_id, id: schedule.id };
        let summary = format!("{} removed schedule {name}", asker.name);
        self.record(&schedule, write, EventType::ScheduleRemoved, asker, summary).await
    }

    /// Holds a schedule back, or lets it go on: from its next firing, whatever was left out.
    ///
    /// # Errors
    /// When there is none, or the store does not take it.
    pub async fn set_paused(
        &self,
        name: &str,
        is_paused: bool,
        asker: &Asker,
    ) -> Result<Schedule, ScheduleError> {
        let old = self.find(name).await?;
        if old.is_paused == is_paused {
            return Ok(old);
        }
        let now = self.ambient.now();
        let progress = Progress { done_until: now.max(old.progress.done_until), ..old.progress };
        let schedule = Schedule { is_paused, updated_at: now, progress, ..old };
        let (event_type, verb) = match is_paused {
            true => (EventType::SchedulePaused, "paused"),
            false => (EventType::ScheduleResumed, "resumed"),
        };
        let summary = format!("{} {verb} schedule {name}", asker.name);
        let write = ScheduleWrite::Put(Box::new(schedule.clone()));
        self.record(&schedule, write, event_type, asker, summary).await?;
        Ok(schedule)
    }

    /// Asks for a schedule's run now, beside its firings.
    ///
    /// # Errors
    /// When there is none, or the run is not accepted.
    pub async fn run_now(&self, name: &str, asker: &Asker) -> Result<Admitted, ScheduleError> {
        let request = self.firing(name, asker).await?;
        self.door.submit(request).await.map_err(ScheduleError::Submit)
    }

    /// The request of a schedule's run.
    pub(super) async fn firing(&self, name: &str, asker: &Asker) -> Result<Request, ScheduleError> {
        let schedule = self.find(name).await?;
        let inputs = self.inputs(&schedule.task).await?;
        Ok(Request { tenant_id: schedule.tenant_id, ..asker.request(&self.within.scope, inputs) })
    }

    /// The run that a schedule's firing would meet: one that asks for the same, or the one that it
    /// asked for last, when that has not ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn running(&self, schedule: &Schedule) -> Result<Option<RunId>, ScheduleError> {
        let Some(id) = schedule.progress.run_id else { return Ok(None) };
        let run = self.store.run(id).await.map_err(ScheduleError::Store)?;
        Ok(run.filter(|run| !run.state.is_completed()).map(|run| run.id))
    }

    /// Does what is to be done about a schedule now. Returns the run that a firing waits for, when
    /// one does.
    ///
    /// # Errors
    /// When the store does not answer or take it: nothing was done, and it is to be tried again.
    pub async fn advance(&self, schedule: &Schedule) -> Result<Option<RunId>, ScheduleError> {
        let now = self.ambient.now();
        let running = self.running(schedule).await?;
        let waits_for = |progress: &Progress| running.filter(|_| progress.held.is_some());
        let Some(decision) = decide(schedule, running.is_some(), now) else {
            return Ok(waits_for(&schedule.progress));
        };
        match decision {
            Decision::Run(firing) => self.fire(schedule, firing).await,
            Decision::Miss(firing) => {
                let summary = format!("{} was missed and is left out", self.told(schedule, firing));
                let event_type = EventType::ScheduleMissed;
                self.pass(schedule, firing, None, event_type, Outcome::Info, summary).await?;
                Ok(None)
            }
            Decision::Skip(firing) => {
                let told = self.told(schedule, firing);
                let summary = format!("{told} is left out: the run before goes on");
                let event_type = EventType::ScheduleSkipped;
                self.pass(schedule, firing, None, event_type, Outcome::Blocked, summary).await?;
                Ok(None)
            }
            Decision::Hold(firing) | Decision::CancelAndHold(firing) => {
                let told = self.told(schedule, firing);
                let summary = format!("{told} waits: the run before goes on");
                let event_type = EventType::ScheduleHeld;
                let held = Some(firing.planned_at);
                self.pass(schedule, firing, held, event_type, Outcome::Info, summary).await?;
                if let (Decision::CancelAndHold(_), Some(run_id)) = (decision, running) {
                    // It may end before it hears of it: then there is nothing to stop.
                    let cancelled =
                        self.door.cancel(schedule.workspace_id, run_id, actor(schedule)).await;
                    if let Err(error) = cancelled {
                        tracing::debug!(%run_id, %error, "the run before was not cancelled");
                    }
                }
                Ok(running)
            }
        }
    }

    /// Asks for the run of a firing, and notes the firing down in the same transaction.
    async fn fire(
        &self,
        schedule: &Schedule,
        firing: Firing,
    ) -> Result<Option<RunId>, ScheduleError> {
        let inputs = match self.inputs(&schedule.task).await {
            Ok(inputs) => inputs,
            Err(error @ ScheduleError::Store(_)) => return Err(error),
            Err(error) => {
                let summary = format!("{} cannot run: {error}", self.told(schedule, firing));
                let event_type = EventType::ScheduleFailed;
                self.pass(schedule, firing, None, event_type, Outcome::Failed, summary).await?;
                return Ok(None);
            }
        };
        let run_id = RunId::generate(&*self.ambient.clock, &*self.ambient.entropy);
        let progress = Progress {
            done_until: firing.planned_at.max(schedule.progress.done_until),
            held: None,
            fired_at: Some(firing.planned_at),
            run_id: Some(run_id),
        };
        let advance = ScheduleWrite::Advance(Advance::of(schedule, progress));
        let mut summary = format!("{} fires", self.told(schedule, firing));
        if let Some(since) = due(schedule, self.ambient.now()).and_then(|due| due.missed_since) {
            summary.push_str(&format!("; missed since {}", schedule.calendar.local(since)));
        }
        let mut event =
            self.event(schedule, EventType::ScheduleFired, Outcome::Info, actor(schedule), summary);
        event.operation_run_id = Some(run_id);
        let scope = self.within.scope.clone();
        let request = Request {
            run_id: Some(run_id),
            workspace_id: schedule.workspace_id,
            tenant_id: schedule.tenant_id,
            initiator_name: format!("schedule {}", schedule.name),
            actor: actor(schedule),
            writes: vec![Write::Schedule(advance)],
            events: vec![event],
            ..Request::by_agent(&scope, Source::Schedule, inputs)
        };
        match self.door.submit(request).await {
            Ok(Admitted::New(_)) => Ok(None),
            Ok(Admitted::Existing(run)) => self.meet(schedule, firing, run.id).await,
            // Another agent was faster, or somebody changed it: it is looked at again.
            Err(SubmitError::Store(StoreError::Conflict(Conflict::Stale { .. }))) => Ok(None),
            Err(error) => Err(ScheduleError::Submit(error)),
        }
    }

    /// Somebody else's run that asks for the same goes on: it does what the firing would have done,
    /// or the firing waits for it.
    async fn meet(
        &self,
        schedule: &Schedule,
        firing: Firing,
        run_id: RunId,
    ) -> Result<Option<RunId>, ScheduleError> {
        let told = self.told(schedule, firing);
        let (held, event_type, outcome, summary) = match schedule.overlap {
            Overlap::Skip => (
                None,
                EventType::ScheduleSkipped,
                Outcome::Blocked,
                format!("{told} is left out: run {run_id} asks for the same"),
            ),
            // That run is not this schedule's to cancel.
            Overlap::Queue | Overlap::CancelRunning => (
                Some(firing.planned_at),
                EventType::ScheduleHeld,
                Outcome::Info,
                format!("{told} waits: run {run_id} asks for the same"),
            ),
        };
        let progress = Progress {
            done_until: firing.planned_at.max(schedule.progress.done_until),
            held,
            run_id: Some(run_id),
            ..schedule.progress
        };
        self.note(schedule, progress, event_type, outcome, summary).await?;
        Ok(held.map(|_| run_id))
    }

    /// Notes down that a firing is over, or waits.
    async fn pass(
        &self,
        schedule: &Schedule,
        firing: Firing,
        held: Option<Timestamp>,
        event_type: EventType,
        outcome: Outcome,
        summary: String,
    ) -> Result<(), ScheduleError> {
        let done_until = firing.planned_at.max(schedule.progress.done_until);
        // A firing that could not become a run does not wait any longer either.
        let held = held.or(schedule.progress.held.filter(|waits| *waits != firing.planned_at));
        let progress = Progress { done_until, held, ..schedule.progress };
        self.note(schedule, progress, event_type, outcome, summary).await
    }

    async fn note(
        &self,
        schedule: &Schedule,
        progress: Progress,
        event_type: EventType,
        outcome: Outcome,
        summary: String,
    ) -> Result<(), ScheduleError> {
        let advance = ScheduleWrite::Advance(Advance::of(schedule, progress));
        let event = self.event(schedule, event_type, outcome, actor(schedule), summary);
        match self.store.commit(vec![Write::Schedule(advance)], event.into()).await {
            Err(StoreError::Conflict(Conflict::Stale { .. })) => Ok(()),
            other => other.map_err(ScheduleError::Store),
        }
    }

    /// What a run of the task is asked to do, as things are now.
    async fn inputs(&self, task: &Task) -> Result<Inputs, ScheduleError> {
        let workspace = self.within.workspace();
        match task {
            Task::DeployProject { project, force_recreate, rebuild } => {
                let known = self.store.project(workspace, project.clone()).await;
                let known = known.map_err(ScheduleError::Store)?;
                let known = known.filter(|it| self.within.sees(it.workspace_id, it.tenant_id));
                let known = known.ok_or_else(|| ScheduleError::UnknownProject(project.clone()))?;
                let nothing = || ScheduleError::NothingApplied(project.clone());
                let deploy = deploy_as_applied(&*self.store, &known).await;
                let deploy = deploy.map_err(ScheduleError::Store)?.ok_or_else(nothing)?;
                Ok(Inputs::DeployProject(DeployProject {
                    cause: DeployCause::Apply,
                    choices: DeployChoices {
                        force_recreate: *force_recreate,
                        rebuild: *rebuild,
                        ..deploy.choices
                    },
                    ..deploy
                }))
            }
            Task::RestartProject { project, services } => {
                let known = self.store.project(workspace, project.clone()).await;
                known
                    .map_err(ScheduleError::Store)?
                    .filter(|it| self.within.sees(it.workspace_id, it.tenant_id))
                    .ok_or_else(|| ScheduleError::UnknownProject(project.clone()))?;
                let (project, services) = (project.clone(), services.clone());
                Ok(Inputs::RestartProject(RestartProject { project, services }))
            }
            Task::CheckImages { project } => {
                let projects = self.projects_of(project.as_deref()).await?;
                Ok(Inputs::CheckImages(CheckImages { projects }))
            }
            Task::ScanImages { project } => {
                let projects = self.projects_of(project.as_deref()).await?;
                Ok(Inputs::ScanImages(ScanImages { projects, images: Vec::new() }))
            }
            Task::UpdateAdvisories {} => Ok(Inputs::UpdateAdvisories(UpdateAdvisories {})),
            Task::Hosted { run_type, payload, identity } => {
                let known = self.store.hosted_type(workspace, *run_type).await;
                known
                    .map_err(ScheduleError::Store)?
                    .ok_or(ScheduleError::UnknownType(*run_type))?;
                let payload = Payload::new(payload).map_err(ScheduleError::Payload)?;
                let identity = identity.clone();
                Ok(Inputs::Hosted(Hosted { run_type: *run_type, payload, identity, subject: None }))
            }
        }
    }

    /// One project, or all within reach.
    async fn projects_of(&self, project: Option<&str>) -> Result<Vec<String>, ScheduleError> {
        let known = self.store.projects(self.within.workspace()).await;
        let known = known.map_err(ScheduleError::Store)?;
        let seen = known.into_iter().filter(|it| self.within.sees(it.workspace_id, it.tenant_id));
        let mut projects: Vec<String> = seen.map(|project| project.name).collect();
        if let Some(project) = project {
            projects.retain(|name| name == project);
            if projects.is_empty() {
                return Err(ScheduleError::UnknownProject(project.to_owned()));
            }
        }
        Ok(projects)
    }

    /// `The firing of schedule nightly planned for 2026-06-01 03:00 CEST`.
    fn told(&self, schedule: &Schedule, firing: Firing) -> String {
        let planned = schedule.calendar.local(firing.planned_at);
        format!("The firing of schedule {} planned for {planned}", schedule.name)
    }

    async fn record(
        &self,
        schedule: &Schedule,
        write: ScheduleWrite,
        event_type: EventType,
        asker: &Asker,
        summary: String,
    ) -> Result<(), ScheduleError> {
        let actor = asker.actor(&self.within.scope);
        let event = self.event(schedule, event_type, Outcome::Success, actor, summary);
        let committed = self.store.commit(vec![Write::Schedule(write)], event.into()).await;
        committed.map_err(ScheduleError::Store)?;
        self.changed.notify_one();
        Ok(())
    }

    fn event(
        &self,
        schedule: &Schedule,
        event_type: EventType,
        outcome: Outcome,
        actor: Actor,
        summary: String,
    ) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: schedule.workspace_id,
            tenant_id: schedule.tenant_id,
            event_type,
            summary: SafeText::new(summary),
            outcome,
            actor,
            target: Some(Target {
                target_type: "schedule".to_owned(),
                target_id: schedule.id.to_string(),
                target_label: schedule.name.to_string(),
                workspace_id: schedule.workspace_id,
                tenant_id: schedule.tenant_id,
            }),
            operation_run_id: None,
            context: EventContext {
                project: schedule.task.project().map(str::to_owned),
                run_type: Some(schedule.task.run_type()),
                ..EventContext::default()
            },
            occurred_at: self.ambient.now(),
        }
    }
}

/// The schedule, as the audit log keeps who acted.
fn actor(schedule: &Schedule) -> Actor {
    Actor {
        actor_type: ActorType::Scheduled,
        actor_id: Some(schedule.id.to_string()),
        actor_label: format!("schedule {}", schedule.name),
        actor_email: None,
    }
}
