//! The operators' side of the door: dead letters, controls of the queue, hosted types. Owns their
//! events. Face: methods of `Door`. Never stops what has begun.

use super::{Door, NotThere, Request};
use crate::base::ids::{EventId, RunId, WorkspaceId};
use crate::base::{CanonicalError, Name};
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{HostedType, OperationRun, QueueControl, RunType};
use crate::operations::events::{describe, run_event, teller};
use crate::store::{Change, Conflict, RetryRun, StoreError, Write};

/// Why a dead letter was not tried again or dismissed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// There is no such run in the workspace.
    #[error("no run {0}")]
    NotFound(RunId),
    /// It is no dead letter.
    #[error("run {0} is no dead letter")]
    NotDead(RunId),
    /// A run that asks for the same is not completed.
    #[error("run {0} asks for the same and is not completed")]
    Active(RunId),
    /// A hosted type of this name is not registered in the workspace.
    #[error("the run type {0} is not registered; register it first")]
    Unregistered(RunType),
    /// The inputs have no canonical form.
    #[error("the inputs of the run cannot be identified")]
    Identity(#[source] CanonicalError),
    /// The store did not take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

impl Door {
    /// Tries a dead letter again: a new run, with all that it was asked for or only with the jobs
    /// that were not done. The dead letter is none from then on.
    ///
    /// # Errors
    /// When there is no such run, when it is no dead letter, when a run that asks for the same is
    /// not completed, or when the store does not take it.
    pub async fn retry(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        failed_jobs_only: bool,
        requester: &Request,
    ) -> Result<OperationRun, QueueError> {
        let dead = self.find(workspace, id).await?;
        let request = Request {
            tenant_id: dead.tenant_id,
            inputs: dead.context.inputs.clone(),
            priority: Some(dead.priority),
            ..requester.clone()
        };
        let found = self
            .definitions
            .find(&*self.store, &self.ambient, workspace, dead.run_type())
            .await
            .map_err(QueueError::Store)?;
        let definition = found.ok_or(QueueError::Unregistered(dead.run_type()))?;
        let mut run = self.queued(&request, &definition).map_err(QueueError::Identity)?;
        run.retried_from = Some(id);
        let summary = format!("{} was asked for again by {}", describe(&run), run.initiator_name);
        let info = Outcome::Info;
        let event = EventType::RunQueued;
        let event = run_event(&self.ambient, &run, event, info, request.actor.clone(), summary);
        let new = run.id;
        let write = Write::RetryRun(RetryRun { dead: id, run: Box::new(run), failed_jobs_only });
        self.change(id, write, event).await?;
        let run = self.find(workspace, new).await?;
        self.wanted(&run);
        Ok(run)
    }

    /// Notes that a dead letter was dealt with otherwise.
    ///
    /// # Errors
    /// When there is no such run, when it is no dead letter, or when the store does not take it.
    pub async fn dismiss(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        actor: Actor,
    ) -> Result<OperationRun, QueueError> {
        let run = self.find(workspace, id).await?;
        let summary =
            format!("{} dismissed the dead letter: {}", actor.actor_label, describe(&run));
        let event = EventType::RunDismissed;
        let event = run_event(&self.ambient, &run, event, Outcome::Info, actor, summary);
        self.change(id, Write::DismissRun { run_id: id }, event).await?;
        Ok(self.find(workspace, id).await?)
    }

    async fn change(&self, id: RunId, write: Write, event: AuditEvent) -> Result<(), QueueError> {
        let teller = teller(&self.ambient, event.actor.clone());
        let change = Change { writes: vec![write], events: vec![event], teller };
        match self.store.change(change).await {
            Ok(notices) => {
                self.signals.tell(self.ambient.now(), notices);
                Ok(())
            }
            Err(StoreError::Conflict(Conflict::NotDead(_))) => Err(QueueError::NotDead(id)),
            Err(StoreError::Conflict(Conflict::ActiveRun(active))) => {
                Err(QueueError::Active(active))
            }
            Err(error) => Err(QueueError::Store(error)),
        }
    }

    /// Pauses, resumes or limits a part of the queue. What has begun goes on.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn control(&self, control: QueueControl, actor: Actor) -> Result<(), StoreError> {
        let QueueControl { workspace_id, scope, is_paused, concurrency_max } = control;
        let known = self.store.queue_controls(workspace_id).await?;
        let was_paused = known.iter().any(|known| known.scope == scope && known.is_paused);
        let (event_type, what) = match (was_paused, is_paused, concurrency_max) {
            (false, true, _) => (EventType::QueuePaused, "was paused".to_owned()),
            (true, false, _) => (EventType::QueueResumed, "goes on".to_owned()),
            (_, _, Some(most)) => {
                (EventType::QueueLimited, format!("executes at most {most} at once"))
            }
            (_, _, None) => (EventType::QueueLimited, "has no limit".to_owned()),
        };
        let summary = format!("The queue of {scope} {what}, by {}", actor.actor_label);
        let event = AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id,
            tenant_id: None,
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Info,
            actor,
            target: Some(Target {
                target_type: "queue".to_owned(),
                target_id: scope.to_string(),
                target_label: scope.to_string(),
                workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: self.ambient.now(),
        };
        let write = match (is_paused, concurrency_max) {
            (false, None) => Write::DropQueueControl { workspace_id, scope },
            _ => Write::PutQueueControl(control),
        };
        self.store.commit(vec![write], event.into()).await?;
        self.signals.room.set_limited(concurrency_max.is_some());
        self.signals.look();
        Ok(())
    }

    /// Registers a hosted type, or changes its definition.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn register(&self, hosted: HostedType, actor: Actor) -> Result<(), StoreError> {
        let (workspace_id, name) = (hosted.workspace_id, hosted.name);
        let event = self.type_event(workspace_id, name, EventType::HostedTypeRegistered, actor);
        let write = Write::PutHostedType(Box::new(hosted));
        let committed = self.store.commit(vec![write], event.into()).await;
        self.definitions.forget(workspace_id, name);
        committed
    }

    /// Removes a hosted type that no active run is of.
    ///
    /// # Errors
    /// When there is none, a run of it is not completed, or the store does not take it.
    pub async fn unregister(
        &self,
        workspace_id: WorkspaceId,
        name: Name,
        actor: Actor,
    ) -> Result<(), StoreError> {
        let event = self.type_event(workspace_id, name, EventType::HostedTypeRemoved, actor);
        let write = Write::DropHostedType { workspace_id, name };
        let committed = self.store.commit(vec![write], event.into()).await;
        self.definitions.forget(workspace_id, name);
        committed
    }

    fn type_event(
        &self,
        workspace_id: WorkspaceId,
        name: Name,
        event_type: EventType,
        actor: Actor,
    ) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id,
            tenant_id: None,
            event_type,
            summary: SafeText::new(format!(
                "{} {} the hosted type {name}",
                actor.actor_label,
                event_type.verb()
            )),
            outcome: Outcome::Success,
            actor,
            target: Some(Target {
                target_type: "hosted_type".to_owned(),
                target_id: name.to_string(),
                target_label: name.to_string(),
                workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context: EventContext {
                run_type: Some(RunType::Hosted(name)),
                ..EventContext::default()
            },
            occurred_at: self.ambient.now(),
        }
    }
}

impl From<NotThere> for QueueError {
    fn from(why: NotThere) -> Self {
        match why {
            NotThere::Run(id) => Self::NotFound(id),
            NotThere::Store(error) => Self::Store(error),
        }
    }
}
