//! The one door through which everything asks for a run. Owns admission: identity, audit, locks by
//! subject, closed at shutdown. Face: `Door`. Never executes anything.

mod decisions;
mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use crate::base::ids::{RunId, TenantId, UserId, WorkspaceId};
use crate::base::limits::DOOR_RETRIES_MAX;
use crate::base::time::after;
use crate::base::{Ambient, CanonicalError, Timestamp};
use crate::domain::audit::{Actor, AuditEvent, AuditEvents, EventType, Outcome};
use crate::domain::runs::{
    Context, Definition, Details, Holder, Inputs, OperationRun, Priority, RunState, RunType,
    Source, SummaryCounts, Tenants, WaitsFor, identity_hash,
};
use crate::store::{
    Accepted, Admission, Change, Claimant, Claimed, Conflict, Scope, Store, StoreError, Teller,
    Write,
};
use crate::world::tasks::Spawn;

use super::definitions::Definitions;
use super::events::{describe, notice_event, run_event, teller};
use super::signals::{Alarm, Follower, Happened, Signals};

pub use decisions::Word;
pub use queue::QueueError;

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
    /// The id of the new run, when what changes with it names it; else a new one. What names the new
    /// run is not recorded when there is a run already that does the same.
    pub run_id: Option<RunId>,
    /// What is asked for; its subject is what the run locks.
    pub inputs: Inputs,
    /// Which of the runs that could begin comes first; the type's own when absent.
    pub priority: Option<Priority>,
    /// When it may begin; at once when absent.
    pub run_at: Option<Timestamp>,
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
            run_id: None,
            inputs,
            priority: None,
            run_at: None,
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
            run_id: None,
            inputs,
            priority: None,
            run_at: None,
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
    /// A hosted type of this name is not registered in the workspace.
    #[error("the run type {0} is not registered; register it first")]
    Unregistered(RunType),
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
    /// Whoever started it cannot approve it.
    #[error("run {0} waits for somebody else than who started it")]
    Own(RunId),
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
    /// The process that executes what is admitted here when a worker is free.
    pub(super) holder: Holder,
    /// Whose hosted runs are executed or handed out here.
    pub(super) tenants: Tenants,
    pub(super) definitions: Arc<Definitions>,
    /// Starts admissions, so that one goes to its end when whoever asked has left.
    pub(super) spawn: Arc<dyn Spawn>,
}

impl Door {
    /// Accepts a request: records the run, its event and what belongs to it in one transaction, in
    /// which it begins when a worker is free and nothing stands against it. Asking again for what
    /// is not completed returns the run that does it; the rest of the request is recorded all the
    /// same.
    ///
    /// # Errors
    /// When the agent shuts down or the store does not take it; nothing is recorded then.
    pub async fn submit(&self, request: Request) -> Result<Admitted, SubmitError> {
        let door = self.clone();
        let admitting = async move { door.submit_here(request).await };
        detached(&*self.spawn, "admission", admitting).await.ok_or(SubmitError::Closed)?
    }

    async fn submit_here(&self, request: Request) -> Result<Admitted, SubmitError> {
        let run_type = request.inputs.run_type();
        let workspace = request.workspace_id;
        let found = self.definitions.find(&*self.store, &self.ambient, workspace, run_type).await;
        let definition = found.map_err(SubmitError::Store)?;
        let definition = definition.ok_or(SubmitError::Unregistered(run_type))?;
        for _ in 0..DOOR_RETRIES_MAX {
            if !self.open.load(Ordering::SeqCst) {
                return Err(SubmitError::Closed);
            }
            let run = self.queued(&request, &definition).map_err(SubmitError::Identity)?;
            let id = run.id;
            match self.admit(&request, &definition, run).await {
                Ok(Accepted::New { run, .. }) => return Ok(Admitted::New(run)),
                Ok(Accepted::Existing(run)) => {
                    self.signals.disarm(id);
                    if let Some(run) = self.join(&request, run).await? {
                        return Ok(Admitted::Existing(run));
                    }
                }
                Err(error) => {
                    self.signals.disarm(id);
                    return Err(SubmitError::Store(error));
                }
            }
        }
        Err(SubmitError::Busy)
    }

    async fn admit(
        &self,
        request: &Request,
        definition: &Definition,
        run: OperationRun,
    ) -> Result<Accepted, StoreError> {
        let mut event = run_event(
            &self.ambient,
            &run,
            EventType::RunQueued,
            Outcome::Info,
            request.actor.clone(),
            format!("{} was asked for by {}", describe(&run), run.initiator_name),
        );
        event.context.source = Some(run.source);
        // Only the runner executes our own types; programs ask for theirs.
        let slot = match run.run_type().is_hosted() {
            false => Arc::clone(&self.signals.slots).try_acquire_owned().ok(),
            true => None,
        };
        let run_type = run.run_type();
        let reserved = match run_type.is_hosted() && run.run_at.is_none() {
            true => self.signals.room.reserve(run_type),
            false => None,
        };
        let at = self.ambient.now();
        let holder = match &reserved {
            Some(reserved) => reserved.holder(),
            None => slot.as_ref().map(|_| self.holder.clone()),
        };
        let claimant = holder.map(|holder| Claimant { holder, tenants: self.tenants.clone(), at });
        let lease = definition.lease.min(definition.timeout.unwrap_or(definition.lease));
        let admission = Admission {
            run: Box::new(run),
            supersedes: definition.supersedes,
            claimant,
            writes: request.writes.clone(),
            events: AuditEvents::from(event).and_all(request.events.clone()),
            teller: match run_type.is_hosted() {
                true => teller(&self.ambient, request.actor.clone()),
                false => self.arming_teller(),
            },
        };
        let accepted = self.store.admit(admission).await?;
        let Accepted::New { run, notices } = &accepted else { return Ok(accepted) };
        self.signals.tell(self.ambient.now(), notices.clone());
        match slot {
            Some(slot) if run.state == RunState::Running => {
                let lease_until = after(at, lease);
                let claimed = Claimed { run: run.clone(), job: None, lease_until };
                self.signals.hand_over(claimed, slot);
                return Ok(accepted);
            }
            Some(_) => {
                self.signals.disarm(run.id);
                self.changed(run);
            }
            None => self.changed(run),
        }
        match reserved {
            Some(reserved) if run.state == RunState::Running => {
                let lease_until = after(at, lease);
                reserved.hand_over(Claimed { run: run.clone(), job: None, lease_until });
            }
            // It looks for itself: something older is first, or stands against this run.
            Some(reserved) => drop(reserved),
            None => self.wanted(run),
        }
        Ok(accepted)
    }

    /// Somebody is to take this run.
    pub(super) fn wanted(&self, run: &OperationRun) {
        match run.run_at {
            Some(run_at) => self.signals.room.due_at(run_at),
            None if run.run_type().is_hosted() => self.signals.room.wake(&[run.run_type()]),
            None => {}
        }
        self.signals.wake.notify_one();
    }

    /// Tells of what an admission begins, and makes its cancel token before it is durable.
    fn arming_teller(&self) -> Teller {
        let (ambient, signals) = (self.ambient.clone(), Arc::clone(&self.signals));
        // A transaction that is tried again tells of it each time.
        let once = Once::new();
        Teller::new(move |notice| {
            if notice.begins_work() {
                once.call_once(|| drop(signals.arm(notice.run.id)));
            }
            Some(notice_event(&ambient, &Actor::agent(), notice))
        })
    }

    /// Leaves the work to the run that does the same, and records what else the request changes:
    /// what a project is kept at may have been changed since that run was asked for. None when the
    /// run has ended meanwhile, so that a new one is due.
    async fn join(
        &self,
        request: &Request,
        run: OperationRun,
    ) -> Result<Option<OperationRun>, SubmitError> {
        // It may have ended between the refusal of the new one and the reading of this one.
        if run.state.is_completed() {
            return Ok(None);
        }
        let is_nothing =
            request.writes.iter().all(Write::is_condition) && request.events.is_empty();
        // What names the new run is about that run alone: whoever asked decides what is to follow.
        if is_nothing || request.run_id.is_some() {
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
        let mut writes = vec![Write::ExpectActive { run_id: run.id }];
        writes.extend(request.writes.iter().cloned());
        let events = AuditEvents::from(event).and_all(request.events.clone());
        match self.store.commit(writes, events).await {
            Ok(()) => Ok(Some(run)),
            Err(StoreError::Conflict(Conflict::Ended(_))) => Ok(None),
            Err(error) => Err(SubmitError::Store(error)),
        }
    }

    pub(super) fn queued(
        &self,
        request: &Request,
        definition: &Definition,
    ) -> Result<OperationRun, CanonicalError> {
        let inputs = request.inputs.clone();
        let is_of_host = inputs.is_of_host();
        Ok(OperationRun {
            id: request
                .run_id
                .unwrap_or_else(|| RunId::generate(&*self.ambient.clock, &*self.ambient.entropy)),
            workspace_id: request.workspace_id,
            tenant_id: request.tenant_id,
            user_id: request.user_id,
            initiator_name: request.initiator_name.clone(),
            source: request.source,
            subject: inputs.subject(),
            priority: request.priority.unwrap_or(definition.priority),
            run_at: request.run_at.filter(|run_at| *run_at > self.ambient.now()),
            // What is a thing of this host is done here; the rest any agent may do.
            host_id: self.holder.host_id.filter(|_| is_of_host),
            retried_from: None,
            state: RunState::Queued,
            attempt: 0,
            failures: 0,
            is_dead_letter: false,
            jobs: None,
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

    /// Cancels a run: at once when nobody works on it, else whoever does is asked to stop before
    /// the next step. Returns the run as it is then.
    ///
    /// # Errors
    /// When there is no such run, when it has ended, or when the store does not take it.
    pub async fn cancel(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        actor: Actor,
    ) -> Result<OperationRun, CancelError> {
        let run = self.find(workspace, id).await?;
        match run.state {
            RunState::Completed(_) => return Err(CancelError::Ended(id)),
            _ if run.cancel_requested_at.is_some() => {
                self.signals.cancel(id);
                return Ok(run);
            }
            _ => {}
        }
        let change = Change {
            writes: vec![Write::CancelRun { run_id: id, at: self.ambient.now() }],
            events: Vec::new(),
            teller: teller(&self.ambient, actor),
        };
        match self.store.change(change).await {
            Ok(notices) => self.signals.tell(self.ambient.now(), notices),
            // It ended meanwhile: there is nothing else that refuses a cancellation.
            Err(StoreError::Conflict(_)) => return Err(CancelError::Ended(id)),
            Err(error) => return Err(CancelError::Store(error)),
        }
        Ok(self.find(workspace, id).await?)
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
                let run = self.find(workspace, id).await?;
                self.changed(&run);
                return Ok(run);
            }
        }
        Err(CancelError::Busy(id))
    }

    /// Hears the news of a run from now on. Read the run after calling this, not before.
    pub fn follow(&self, id: RunId) -> Follower {
        self.signals.follow(id)
    }

    /// Hears of every run that fails from now on.
    pub fn alarm(&self) -> Alarm {
        self.signals.alarm()
    }

    /// Whether requests are accepted.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Accepts nothing more.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    async fn find(&self, workspace: WorkspaceId, id: RunId) -> Result<OperationRun, NotThere> {
        let run = self.store.run(id).await.map_err(NotThere::Store)?;
        run.filter(|run| run.workspace_id == workspace).ok_or(NotThere::Run(id))
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

/// Does something to its end, even when whoever asked for it leaves. None when the process stops.
pub(super) async fn detached<T: Send + 'static>(
    spawn: &dyn Spawn,
    name: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    let work = async move {
        // What nobody hears of is dropped.
        drop(tell.send(work.await));
    };
    drop(spawn.spawn(name, work.boxed()));
    told.await.ok()
}

/// Why a run cannot be read.
enum NotThere {
    Run(RunId),
    Store(StoreError),
}

impl From<NotThere> for CancelError {
    fn from(why: NotThere) -> Self {
        match why {
            NotThere::Run(id) => Self::NotFound(id),
            NotThere::Store(error) => Self::Store(error),
        }
    }
}
