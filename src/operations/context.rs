//! What a run sees while it executes. Owns the step log's discipline: recorded, acted, recorded
//! again. Face: `RunContext`, `Step`. Never lets a step begin once the run is to stop.

use std::collections::BTreeSet;
use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::base::ids::LoginId;
use crate::base::{Ambient, chain};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{
    CountKey, Definition, Details, Failure, OperationRun, StepRecord, StepStatus, Undo,
    Unregistered,
};
use crate::store::{RunProgress, Store, StoreError};

use super::Door;
use super::signals::{Happened, Signals};

/// What this attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The first attempt.
    First,
    /// Earlier attempts left off; their steps are in `earlier_steps`.
    Resume,
    /// A crash interrupted the run, and its type says: take back what was done.
    Undo,
}

/// Why a run is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// Somebody cancelled it.
    #[error("the run was cancelled")]
    Cancelled,
    /// The agent shuts down; a later attempt goes on.
    #[error("the agent is shutting down")]
    Draining,
}

impl Stop {
    /// What these signals ask for now.
    pub(super) fn of(cancel: &CancellationToken, drain: &CancellationToken) -> Option<Self> {
        match (cancel.is_cancelled(), drain.is_cancelled()) {
            (true, _) => Some(Self::Cancelled),
            (false, true) => Some(Self::Draining),
            (false, false) => None,
        }
    }
}

/// What a step is, before it acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is, stable over attempts, such as `container.create:web/1`.
    pub key: String,
    /// What it does, for people.
    pub description: String,
    /// Why it is done, such as `image changed`.
    pub cause: String,
    /// How it is taken back.
    pub undo: Undo,
}

/// Why a step yields nothing.
#[derive(Debug, thiserror::Error)]
pub enum StepError<E: Error + 'static> {
    /// It did not begin, because the run is to stop.
    #[error(transparent)]
    Stopped(Stop),
    /// It acted and failed.
    #[error(transparent)]
    Failed(E),
    /// It could not be recorded. When that was before it acted, it did not act.
    #[error("the step could not be recorded")]
    NotRecorded(#[source] StoreError),
}

/// One attempt of a run, seen from inside. Cheap to clone; clones may work in parallel.
#[derive(Clone)]
pub struct RunContext {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) run: OperationRun,
    /// What is fixed about the run's type; none for a hosted type that is not registered any more.
    pub(super) definition: Option<Definition>,
    pub(super) purpose: Purpose,
    pub(super) earlier_steps: Vec<StepRecord>,
    pub(super) store: Arc<dyn Store>,
    pub(super) door: Door,
    pub(super) ambient: Ambient,
    pub(super) signals: Arc<Signals>,
    pub(super) cancel: CancellationToken,
    pub(super) drain: CancellationToken,
    pub(super) next_step: AtomicU32,
    /// The logins to registries whose use was recorded.
    pub(super) logins_used: tokio::sync::Mutex<BTreeSet<LoginId>>,
    /// What the run tells of what it found and did; begins with what earlier attempts told.
    pub(super) details: Mutex<Details>,
    /// Told, but not written yet: it goes with the next step's result or with the end.
    pub(super) pending: Mutex<RunProgress>,
}

impl RunContext {
    pub(super) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The run as it was when this attempt began.
    pub fn run(&self) -> &OperationRun {
        &self.inner.run
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.inner.run.attempt
    }

    /// What is fixed about the run's type.
    pub(super) fn definition(&self) -> Option<&Definition> {
        self.inner.definition.as_ref()
    }

    /// What this attempt is for.
    pub fn purpose(&self) -> Purpose {
        self.inner.purpose
    }

    /// The steps of earlier attempts; those with status `unknown` may or may not have acted.
    pub fn earlier_steps(&self) -> &[StepRecord] {
        &self.inner.earlier_steps
    }

    /// The agent's memory.
    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Where this run asks for others.
    pub(super) fn door(&self) -> &Door {
        &self.inner.door
    }

    /// The logins to registries whose use this attempt has recorded.
    pub(super) fn logins_used(&self) -> &tokio::sync::Mutex<BTreeSet<LoginId>> {
        &self.inner.logins_used
    }

    /// The time, randomness and crash points of the process.
    pub fn ambient(&self) -> &Ambient {
        &self.inner.ambient
    }

    /// Whether the run is to stop, and why.
    pub fn stop(&self) -> Option<Stop> {
        Stop::of(&self.inner.cancel, &self.inner.drain)
    }

    /// Waits until the run is to stop: for the other arm of a `select!` around a long wait.
    pub async fn stopped(&self) -> Stop {
        tokio::select! {
            biased;
            () = self.inner.cancel.cancelled() => Stop::Cancelled,
            () = self.inner.drain.cancelled() => Stop::Draining,
        }
    }

    /// Records a step, acts, and records what came of it. The future is not polled before the
    /// record is durable. Steps may run in parallel.
    ///
    /// # Errors
    /// When the run is to stop, when the step fails, or when it cannot be recorded.
    pub async fn step<T, E: Error + 'static>(
        &self,
        step: Step,
        act: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StepError<E>> {
        if let Some(stop) = self.stop() {
            return Err(StepError::Stopped(stop));
        }
        let mut record = self.begin(step);
        self.record(&record, RunProgress::default()).await.map_err(StepError::NotRecorded)?;
        let acted = act.await;
        record.ended_at = Some(self.inner.ambient.now());
        match &acted {
            Ok(_) => record.status = StepStatus::Succeeded,
            Err(error) => {
                record.status = StepStatus::Failed;
                record.detail = Some(SafeText::new(chain(error)));
            }
        }
        let progress = self.take_progress();
        if let Err(error) = self.record(&record, progress.clone()).await {
            self.put_back(progress);
            // What went wrong in the world tells more than what went wrong in the log.
            return Err(match acted {
                Ok(_) => StepError::NotRecorded(error),
                Err(failed) => StepError::Failed(failed),
            });
        }
        acted.map_err(StepError::Failed)
    }

    fn begin(&self, step: Step) -> StepRecord {
        StepRecord {
            run_id: self.inner.run.id,
            attempt: self.attempt(),
            index: self.inner.next_step.fetch_add(1, Ordering::Relaxed),
            key: step.key,
            description: SafeText::new(step.description),
            cause: SafeText::new(step.cause),
            undo: step.undo,
            status: StepStatus::Started,
            started_at: self.inner.ambient.now(),
            ended_at: None,
            detail: None,
        }
    }

    async fn record(&self, record: &StepRecord, progress: RunProgress) -> Result<(), StoreError> {
        self.inner.store.record_step(record.clone(), progress).await?;
        self.publish(Happened::Step(Box::new(record.clone())));
        Ok(())
    }

    /// Adds to one of the run's numbers.
    ///
    /// # Errors
    /// When the run's type does not register the key.
    pub fn count(&self, key: CountKey, by: u64) -> Result<(), Unregistered> {
        if let Some(definition) = &self.inner.definition {
            definition.check_count(self.inner.run.run_type(), key)?;
        }
        self.lock_pending().counts.push((key, by));
        self.publish(Happened::Counted { key, by });
        Ok(())
    }

    /// Tells that something went wrong. The run's verdict stays the operation's to give.
    pub fn fail(&self, failure: Failure) {
        self.lock_pending().failures.push(failure.clone());
        self.publish(Happened::Failed(failure));
    }

    /// Changes the details that the run tells.
    pub fn describe(&self, change: impl FnOnce(&mut Details)) {
        let mut details = self.inner.details.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut details);
        self.lock_pending().details = Some(details.clone());
    }

    /// The details that the run tells by now.
    pub fn details(&self) -> Details {
        self.inner.details.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes what was told by now, without waiting for a step's end.
    ///
    /// # Errors
    /// When the store does not take it; it goes with what is written next then.
    pub(super) async fn save(&self) -> Result<(), StoreError> {
        let progress = self.take_progress();
        let (run, attempt) = (self.inner.run.id, self.attempt());
        let saved = self.inner.store.add_progress(run, attempt, progress.clone()).await;
        if saved.is_err() {
            self.put_back(progress);
        }
        saved
    }

    /// Tells followers what the run is doing. Not kept.
    pub fn log(&self, line: impl AsRef<str>) {
        self.publish(Happened::Log(SafeText::new(line)));
    }

    fn publish(&self, what: Happened) {
        self.inner.signals.publish(self.inner.run.id, self.inner.ambient.now(), what);
    }

    pub(super) fn take_progress(&self) -> RunProgress {
        std::mem::take(&mut *self.lock_pending())
    }

    /// Puts progress that was not written back in front of what came later.
    fn put_back(&self, earlier: RunProgress) {
        let mut pending = self.lock_pending();
        let later = std::mem::replace(&mut *pending, earlier);
        pending.counts.extend(later.counts);
        pending.failures.extend(later.failures);
        pending.details = later.details.or(pending.details.take());
    }

    fn lock_pending(&self) -> MutexGuard<'_, RunProgress> {
        self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
