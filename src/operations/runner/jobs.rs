//! Executes one job of a bulk run and records how it ended. Owns what a job sees. Face:
//! `JobContext`, `work`. Never ends a job that another worker has.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::base::limits::STORE_RETRY_INTERVAL;
use crate::base::{Ambient, chain};
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::runs::{
    AttemptEnd, CountKey, Definition, Failure, Job, JobEnd, OperationRun, ReasonCode, Unregistered,
};
use crate::operations::events::teller;
use crate::operations::signals::{Happened, Signals};
use crate::operations::{Operation, Stop};
use crate::store::{AdvanceJob, Change, EndJob, RunProgress, Store, StoreError, Write};

use super::Runner;

/// One attempt of a job, seen from inside. Cheap to clone.
#[derive(Clone)]
pub struct JobContext {
    inner: Arc<Inner>,
}

struct Inner {
    run: OperationRun,
    job: Job,
    definition: Option<Definition>,
    ambient: Ambient,
    store: Arc<dyn Store>,
    cancel: CancellationToken,
    drain: CancellationToken,
    told: Mutex<RunProgress>,
    signals: Arc<Signals>,
}

impl JobContext {
    /// The bulk run as it was when this attempt began.
    pub fn run(&self) -> &OperationRun {
        &self.inner.run
    }

    /// The job, with its payload and the number of this attempt.
    pub fn job(&self) -> &Job {
        &self.inner.job
    }

    /// The time, randomness and crash points of the process.
    pub fn ambient(&self) -> &Ambient {
        &self.inner.ambient
    }

    /// The agent's memory.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Whether the job is to stop, and why.
    pub fn stop(&self) -> Option<Stop> {
        Stop::of(&self.inner.cancel, &self.inner.drain)
    }

    /// How far earlier attempts have come, in the operation's words.
    pub fn reached(&self) -> Option<&str> {
        self.inner.job.reached.as_deref()
    }

    /// Records a part of the job that was done: what it changed, what it counts and how far the job
    /// has come are one transaction.
    ///
    /// # Errors
    /// When another worker has the job by now, when a write cannot be made so, or when the store does
    /// not take it; nothing is recorded then.
    pub async fn advance(
        &self,
        reached: String,
        counts: Vec<(CountKey, u64)>,
        writes: Vec<Write>,
    ) -> Result<(), StoreError> {
        self.advance_with(reached, counts, writes, Vec::new()).await
    }

    /// The same with audit events.
    ///
    /// # Errors
    /// As for `advance`.
    pub async fn advance_with(
        &self,
        reached: String,
        counts: Vec<(CountKey, u64)>,
        mut writes: Vec<Write>,
        events: Vec<AuditEvent>,
    ) -> Result<(), StoreError> {
        let Inner { run, job, ambient, store, .. } = &*self.inner;
        let advance = AdvanceJob {
            run_id: run.id,
            key: job.key.clone(),
            attempt: job.attempt,
            reached,
            counts: counts.clone(),
            failures: Vec::new(),
        };
        // First of all, whether this worker may still write.
        writes.insert(0, Write::AdvanceJob(advance));
        let change = Change { writes, events, teller: teller(ambient, Actor::agent()) };
        store.change(change).await?;
        for (key, by) in counts {
            self.inner.signals.publish(run.id, ambient.now(), Happened::Counted { key, by });
        }
        Ok(())
    }

    /// This job brought work: whoever waits for some looks at once.
    pub fn look_again(&self) {
        self.inner.signals.look();
    }

    /// Adds to one of the run's numbers, when the job ends.
    ///
    /// # Errors
    /// When the run's type does not register the key.
    pub fn count(&self, key: CountKey, by: u64) -> Result<(), Unregistered> {
        if let Some(definition) = &self.inner.definition {
            definition.check_count(self.inner.run.run_type(), key)?;
        }
        self.told().counts.push((key, by));
        Ok(())
    }

    /// Tells that something went wrong; appended to the run when the job ends.
    pub fn fail(&self, failure: Failure) {
        self.told().failures.push(failure);
    }

    fn told(&self) -> MutexGuard<'_, RunProgress> {
        self.inner.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Executes a job's attempt that has begun, to its recorded end.
pub(super) async fn work(
    runner: Arc<Runner>,
    run: OperationRun,
    job: Job,
    cancel: CancellationToken,
) {
    // It may have been cancelled between the claim and the making of the token.
    if matches!(runner.store.run(run.id).await, Ok(Some(now)) if now.cancel_requested_at.is_some())
    {
        cancel.cancel();
    }
    let definition = runner.definition(&run).await.unwrap_or_default();
    let context = JobContext {
        inner: Arc::new(Inner {
            run,
            job,
            definition,
            ambient: runner.ambient.clone(),
            store: Arc::clone(&runner.store),
            cancel,
            drain: runner.drain.clone(),
            told: Mutex::default(),
            signals: Arc::clone(&runner.signals),
        }),
    };
    let end = execute(&runner, &context).await;
    record(&runner, &context, end).await;
}

/// How the attempt ended; none when it stopped for a later one to go on.
async fn execute(runner: &Runner, context: &JobContext) -> Option<JobEnd> {
    let Inner { run, job, definition, .. } = &*context.inner;
    let about = format!("job:{}", job.key);
    let run_type = run.run_type();
    let Some(operation) = runner.operations.0.get(&run_type) else {
        let message = format!("this agent cannot execute runs of type {run_type}");
        context.fail(Failure::new(ReasonCode::RunTypeUnsupported, about, message));
        return Some(JobEnd::Failed);
    };
    let executed = async {
        let executed = async { Operation::execute_job(&**operation, context.clone()).await };
        AssertUnwindSafe(executed).catch_unwind().await
    };
    let ended = tokio::select! {
        biased;
        executed = executed => executed.unwrap_or_else(|_| {
            let message = "the code of this job panicked; see the agent's log, and please report it";
            context.fail(Failure::new(ReasonCode::RunPanicked, about, message));
            JobEnd::Failed
        }),
        () = super::worker::timeout(definition.as_ref()) => {
            let message = "the job took longer than its type allows";
            context.fail(Failure::new(ReasonCode::RunTimedOut, about, message));
            JobEnd::Failed
        }
        () = runner.abandon.cancelled() => return None,
    };
    match (ended, context.stop()) {
        // It stopped because the agent does; nothing is said about the job.
        (JobEnd::Cancelled, Some(Stop::Draining)) => None,
        (ended, _) => Some(ended),
    }
}

async fn record(runner: &Runner, context: &JobContext, end: Option<JobEnd>) {
    let Inner { run, job, .. } = &*context.inner;
    let RunProgress { counts, failures, .. } = std::mem::take(&mut *context.told());
    let at = runner.ambient.now();
    let write = match end {
        Some(end) => Write::EndJob(EndJob {
            run_id: run.id,
            key: job.key.clone(),
            attempt: job.attempt,
            end,
            is_final: false,
            at,
            random: runner.ambient.entropy.next_u64(),
            counts,
            failures,
        }),
        None => Write::InterruptJob {
            run_id: run.id,
            key: job.key.clone(),
            attempt: job.attempt,
            end: AttemptEnd::Released,
            at,
        },
    };
    loop {
        let change = Change {
            writes: vec![write.clone()],
            events: Vec::new(),
            teller: teller(&runner.ambient, Actor::agent()),
        };
        match runner.store.change(change).await {
            Ok(notices) => {
                info!(run_id = %run.id, job = job.key, "job left its worker");
                return runner.tell(notices);
            }
            Err(StoreError::Conflict(conflict)) => {
                warn!(run_id = %run.id, job = job.key, %conflict, "the job's end is refused");
                return;
            }
            Err(error) => {
                error!(run_id = %run.id, error = %chain(&error), "recording the job's end again");
            }
        }
        tokio::select! {
            biased;
            () = runner.abandon.cancelled() => return,
            () = tokio::time::sleep(STORE_RETRY_INTERVAL) => {}
        }
    }
}
