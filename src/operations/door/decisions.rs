//! Takes what somebody says to a run that waits for it, and wakes runs that wait for others. Owns who
//! may say it. Face: `Door::decide`, `Word`. Never lets a word count that was said of an earlier wait.

use futures_util::FutureExt as _;
use tracing::debug;

use super::{Answer, CancelError, Door, describe, run_event};
use crate::base::ids::{RunId, WorkspaceId};
use crate::base::limits::{
    DOOR_RETRIES_MAX, RUNBOOK_LOOK_INTERVAL, RUNBOOK_OPEN_INTERVAL, RUNBOOK_WAKE_PAUSE,
};
use crate::domain::audit::{Actor, EventType, Outcome};
use crate::domain::redaction::SafeText;
use crate::domain::runbooks::file::Decision;
use crate::domain::runs::{OperationRun, RunState, WaitsFor};
use crate::operations::projects::Asker;
use crate::operations::signals::Followed;
use crate::store::{StoreError, Write};

/// What somebody says to a run that waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Whether it may go on.
    pub approved: bool,
    /// Why.
    pub reason: Option<SafeText>,
}

impl Door {
    /// Approves or refuses what a run waits for, or answers what it asks after a crash.
    ///
    /// # Errors
    /// When there is no such run, when it does not wait for that, when whoever started it may not
    /// say it, or when the store does not take it.
    pub async fn decide(
        &self,
        workspace: WorkspaceId,
        id: RunId,
        word: &Word,
        asker: &Asker,
    ) -> Result<OperationRun, CancelError> {
        let actor = asker.actor(&self.store.scope());
        for _ in 0..DOOR_RETRIES_MAX {
            let run = self.find(workspace, id).await?;
            match run.waiting().map(|waiting| waiting.waits_for) {
                Some(WaitsFor::Approval) => {}
                Some(WaitsFor::Answer) => {
                    let answer = if word.approved { Answer::Continue } else { Answer::GiveUp };
                    return self.answer(workspace, id, answer, actor).await;
                }
                _ if run.state.is_completed() => return Err(CancelError::Ended(id)),
                _ => return Err(CancelError::NotAsking(id)),
            }
            let (write, event_type, summary) = decided(&run, word, asker)?;
            if self.record(&run, write, event_type, actor.clone(), summary).await? {
                self.signals.wake.notify_one();
                let run = self.find(workspace, id).await?;
                self.changed(&run);
                return Ok(run);
            }
        }
        Err(CancelError::Busy(id))
    }

    /// Wakes a run that waits when another one has ended. Best effort: it also wakes by itself.
    pub(in crate::operations) fn wake_after(&self, waiting: RunId, other: RunId) {
        let door = self.clone();
        let work = async move {
            if door.has_ended(other).await {
                let waking = door.wake(waiting);
                drop(tokio::time::timeout(RUNBOOK_LOOK_INTERVAL, waking).await);
            }
        };
        drop(self.spawn.spawn("wake", work.boxed()));
    }

    /// Waits until a run has ended, as long as whoever waits for it leaves it to this.
    async fn has_ended(&self, id: RunId) -> bool {
        let mut news = self.follow(id);
        let over = tokio::time::sleep(RUNBOOK_LOOK_INTERVAL);
        tokio::pin!(over);
        loop {
            match self.store.run(id).await {
                Ok(Some(run)) if !run.state.is_completed() => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
            tokio::select! {
                biased;
                () = &mut over => return false,
                // An agent that stops leaves it to its next start.
                () = tokio::time::sleep(RUNBOOK_OPEN_INTERVAL) => {}
                heard = news.next() => if matches!(heard, Followed::Closed) { return false },
            }
            if !self.is_open() {
                return false;
            }
        }
    }

    /// It may still be on its way into its wait.
    async fn wake(&self, id: RunId) {
        loop {
            let Ok(Some(run)) = self.store.run(id).await else { return };
            match run.state {
                RunState::Waiting(waiting) if waiting.waits_for == WaitsFor::BackOff => {}
                RunState::Running => {
                    tokio::time::sleep(RUNBOOK_WAKE_PAUSE).await;
                    continue;
                }
                _ => return,
            }
            let summary = format!("{} goes on: what it waited for has come", describe(&run));
            let event = run_event(
                &self.ambient,
                &run,
                EventType::RunWoken,
                Outcome::Info,
                Actor::agent(),
                summary,
            );
            match self.store.commit(vec![Write::WakeRun { run_id: id }], event.into()).await {
                Ok(()) => {
                    self.signals.wake.notify_one();
                    return;
                }
                Err(StoreError::Conflict(conflict)) => {
                    debug!(run_id = %id, %conflict, "run changed before it was woken");
                }
                Err(_) => return,
            }
        }
    }
}

/// What is recorded of a word.
fn decided(
    run: &OperationRun,
    word: &Word,
    asker: &Asker,
) -> Result<(Write, EventType, String), CancelError> {
    let mut details = run.context.details.clone();
    let open = details.journal.as_mut().and_then(|journal| journal.open.as_mut());
    let Some(open) = open else { return Err(CancelError::NotAsking(run.id)) };
    let is_own = match (asker.user_id, run.user_id) {
        (Some(asker), Some(starter)) => asker == starter,
        _ => asker.name == run.initiator_name,
    };
    // Whoever started it may take it back, but not wave it through.
    if word.approved && !open.own && is_own {
        return Err(CancelError::Own(run.id));
    }
    let (event_type, verb) = match word.approved {
        true => (EventType::RunApproved, "approved"),
        false => (EventType::RunRefused, "refused"),
    };
    let summary = format!("{} {verb} step {} of {}", asker.name, open.id, describe(run));
    open.decision = Some(Decision { approved: word.approved, reason: word.reason.clone() });
    let (run_id, attempt, details) = (run.id, run.attempt, Box::new(details));
    Ok((Write::DecideRun { run_id, attempt, details }, event_type, summary))
}
