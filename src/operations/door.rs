//! The one door through which everything asks for a run. Owns admission: identity, audit, locks by
//! subject, closed at shutdown. Face: `Door`. Never executes anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::ids::{RunId, TenantId, UserId, WorkspaceId};
use crate::base::limits::DOOR_RETRIES_MAX;
use crate::base::{Ambient, CanonicalError};
use crate::domain::audit::{Actor, AuditEvent, AuditEvents, EventType, Outcome};
use crate::domain::runs::{
    Context, Details, End, Inputs, OperationRun, RunState, Source, SummaryCounts, WaitsFor,
    identity_hash,
};
use crate::store::{CompleteRun, Conflict, RunProgress, Scope, Store, StoreError, Write};

use super::events::{describe, run_event};
use super::signals::{Follower, Happened, Signals};

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The tenant.
    pub tenant_id: Option<TenantId>,
    /// The member who asks; none for the agent, schedules and platform users.
    pub user_id: Option<UserId>,
    /// Who asks, as shown on the run.
    pub initiator_name: String,
    /// Who asks, as the audit log keeps it.
    pub actor: Actor,
    /// Through which door.
    pub source: Source,
    /// What is asked for; its subject is what the run locks.
    pub inputs: Inputs,
    /// Records that change with the acceptance, such as the stored files, and its conditions.
    pub writes: Vec<Write>,
    /// Further events of the same transaction.
    pub events: Vec<AuditEvent>,
}

impl Request {
    /// A request of the agent itself.
    pub fn by_agent(scope: &Scope, source: Source, inputs: Inputs) -> Self {
        let actor = Actor::agent();
        Self {
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            user_id: None,
            initiator_name: actor.actor_label.clone(),
            actor,
            source,
            inputs,
            writes: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A request of the host's owner.
    pub fn by_owner(scope: &Scope, source: Source, inputs: Inputs) -> Self {
        Self {
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            user_id: Some(scope.owner_id),
            initiator_name: scope.owner_name.clone(),
            actor: Actor::human(scope.owner_id, &scope.owner_name),
            source,
            inputs,
            writes: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Admitted {
    /// A new run was queued.
    New(OperationRun),
    /// A run that asks for the same is not completed: this one.
    Existing(OperationRun),
}

impl Admitted {
    /// The run, new or not.
    pub fn run(&self) -> &OperationRun {
        match self {
            Self::New(run) | Self::Existing(run) => run,
        }
    }
}

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The agent is shutting down.
    #[error("the agent is shutting down and accepts no new runs")]
    Closed,
    /// Runs that ask for the same come and go while it is tried.
    #[error("runs that ask for the same come and go too fast")]
    Busy,
    /// The inputs have no canonical form.
    #[error("the inputs of the run cannot be identified")]
    Identity(#[source] CanonicalError),
    /// The store did not take it.
    #[error("the run could not be recorded")]
    Store(#[source] StoreError),
}

/// Why a run was not cancelled or answered.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// There is no such run in the workspace.
    #[error("no run {0}")]
    NotFound(RunId),
    /// It has ended already.
    #[error("run {0} has ended already")]
    Ended(RunId),
    /// It does not wait for an answer.
    #[error("run {0} does not wait for an answer")]
    NotAsking(RunId),
    /// It changed again and again while it was tried.
    #[error("run {0} changes too fast")]
    Busy(RunId),
    /// The store did not take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

/// An operator's answer to a run that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on with a new attempt.
    Continue,
    /// End as cancelled.
    GiveUp,
}

/// Accepts requests for runs. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    pub(super) store: Arc<dyn Store>,
    pub(super) ambient: Ambient,
    pub(super) signals: Arc<Signals>,
    pub(super) open: Arc<AtomicBool>,
}

impl Door {
    /// Accepts a request: records the run, its event and what belongs to it in one transaction.
    /// Asking again for what is not completed returns the run that does it; the rest of the request
    /// is recorded all the same.
    ///
    /// # Errors
    /// When the agent shuts down or the store does not take it; nothing is recorded then.
    pub async fn submit(&self, request: Request) -> Result<Admitted, SubmitError> {
        for _ in 0..DOOR_RETRIES_MAX {
            if !self.open.load(Ordering::SeqCst) {
                return Err(SubmitError::Closed);
            }
            let run = self.queued(&request).map_err(SubmitError::Identity)?;
            let mut event = run_event(
                &self.ambient,
                &run,
                EventType::RunQueued,
                Outcome::Info,
                request.actor.clone(),
                format!("{} was asked for by {}", describe(&run), run.initiator_name),
            );
            event.context.source = Some(run.source);
            let mut writes = request.writes.clone();
            writes.push(Write::InsertRun(Box::new(run.clone())));
            let events = AuditEvents::from(event).and_all(request.events.clone());
            match self.store.commit(writes, events).await {
                Ok(()) => {
                    self.changed(&run);
                    self.signals.wake.notify_one();
                    return Ok(Admitted::New(run));
                }
                Err(StoreError::Conflict(Conflict::ActiveRun(id))) => {
                    if let Some(run) = self.join(&request, id).await? {
                        return Ok(Admitted::Existing(run));
                    }
                }
                Err(error) => return Err(SubmitError::Store(error)),
            }
        }
        Err(SubmitError::Busy)
    }

    /// Leaves the work to the run that does the same, and records what else the request changes:
    /// what a project is kept at may have been changed since that run was asked for. None when the
    /// run has ended meanwhile, so that a new one is due.
    async fn join(
        &self,
        request: &Request,
        id: RunId,
    ) -> Result<Option<OperationRun>, SubmitError> {
        let run = self.store.run(id).await.map_err(SubmitError::Store)?;
        let Some(run) = run.filter(|run| !run.state.is_completed()) else { return Ok(None) };
        if request.writes.iter().all(Write::is_condition) && request.events.is_empty() {
            return Ok(Some(run));
        }
        let mut event = run_event(
            &self.ambient,
            &run,
            EventType::RunAskedAgain,
            Outcome::Info,
            request.actor.clone(),
            format!("{} was asked for again by {}", describe(&run), request.initiator_name),
        );
        event.context.source = Some(request.source);
        let mut writes = vec![Write::ExpectActive { run_id: id }];
        writes.extend(request.writes.iter().cloned());
        let events = AuditEvents::from(event).and_all(request.events.clone());
        match self.store.commit(writes, events).await {
            Ok(()) => Ok(Some(run)),
            Err(StoreError::Conflict(Conflict::Ended(_))) => Ok(None),
            Err(error) => Err(SubmitError::Store(error)),
        }
    }

    fn queued(&self, request: &Request) -> Result<OperationRun, CanonicalError> {
        let inputs = request.inputs.clone();
        Ok(OperationRun {
            id: RunId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: request.workspace_id,
            tenant_id: request.tenant_id,
            user_id: request.user_id,
            initiator_name: request.initiator_name.clone(),
            source: request.source,
            subject: inputs.subject(),
            state: RunState::Queued,
            attempt: 0,
            run_identity_hash: identity_hash(request.workspace_id, request.tenant_id, &inputs)?,
            summary_counts: SummaryCounts::default(),
            failure_summary: Vec::new(),
            context: Context { inputs, details: Details::default() },
            cancel_requested_at: None,
            created_at: self.ambient.now(),
            started_at: None,
            completed_at: None,
        })
    }

    /// Cancels a run: at once when no worker has it, else its worker is asked to stop before its
    /// next step. Returns the run as it is then.
    ///
    /// # Errors
    /// When there is no such run, when it has ended, or when the store does not take it.
    pub async fn cancel(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        actor: Actor,
    ) -> Result<OperationRun, CancelError> {
        for _ in 0..DOOR_RETRIES_MAX {
            let run = self.find(workspace, id).await?;
            let (write, event_type) = match run.state {
                RunState::Completed(_) => return Err(CancelError::Ended(id)),
                RunState::Running if run.cancel_requested_at.is_some() => {
                    self.signals.cancel(id);
                    return Ok(run);
                }
                RunState::Running => (
                    Write::RequestCancel { run_id: id, at: self.ambient.now() },
                    EventType::RunCancelRequested,
                ),
                RunState::Queued | RunState::Waiting(_) | RunState::Ready => {
                    (self.give_up(&run), EventType::RunCancelled)
                }
            };
            let summary = match event_type {
                EventType::RunCancelled => {
                    format!("{} was cancelled by {}", describe(&run), actor.actor_label)
                }
                _ => format!("{} asked to cancel: {}", actor.actor_label, describe(&run)),
            };
            if self.record(&run, write, event_type, actor.clone(), summary).await? {
                self.signals.cancel(id);
                self.signals.wake.notify_one();
                return self.find(workspace, id).await.inspect(|run| self.changed(run));
            }
        }
        Err(CancelError::Busy(id))
    }

    /// Answers a run that asks what to do after a crash.
    ///
    /// # Errors
    /// When there is no such run, when it does not ask, or when the store does not take it.
    pub async fn answer(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        answer: Answer,
        actor: Actor,
    ) -> Result<OperationRun, CancelError> {
        if answer == Answer::GiveUp {
            return self.cancel(workspace, id, actor).await;
        }
        for _ in 0..DOOR_RETRIES_MAX {
            let run = self.find(workspace, id).await?;
            if run.waiting().is_none_or(|waiting| waiting.waits_for != WaitsFor::Answer) {
                return Err(CancelError::NotAsking(id));
            }
            let summary = format!("{} let {} go on", actor.actor_label, describe(&run));
            let write = Write::WakeRun { run_id: id };
            if self.record(&run, write, EventType::RunAnswered, actor.clone(), summary).await? {
                self.signals.wake.notify_one();
                return self.find(workspace, id).await.inspect(|run| self.changed(run));
            }
        }
        Err(CancelError::Busy(id))
    }

    /// Hears the news of a run from now on. Read the run after calling this, not before.
    pub fn follow(&self, id: RunId) -> Follower {
        self.signals.follow(id)
    }

    /// Accepts nothing more.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    async fn find(&self, workspace: WorkspaceId, id: RunId) -> Result<OperationRun, CancelError> {
        let run = self.store.run(id).await.map_err(CancelError::Store)?;
        run.filter(|run| run.workspace_id == workspace).ok_or(CancelError::NotFound(id))
    }

    fn give_up(&self, run: &OperationRun) -> Write {
        Write::CompleteRun(CompleteRun {
            run_id: run.id,
            attempt: run.attempt,
            end: End::Cancelled,
            at: self.ambient.now(),
            progress: RunProgress::default(),
        })
    }

    /// Commits; false when the run changed meanwhile and must be looked at again.
    async fn record(
        &self,
        run: &OperationRun,
        write: Write,
        event_type: EventType,
        actor: Actor,
        summary: String,
    ) -> Result<bool, CancelError> {
        let event = run_event(&self.ambient, run, event_type, Outcome::Info, actor, summary);
        match self.store.commit(vec![write], event.into()).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(CancelError::Store(error)),
        }
    }

    fn changed(&self, run: &OperationRun) {
        let what = Happened::Changed(Box::new(run.clone()));
        self.signals.publish(run.id, self.ambient.now(), what);
    }
}
