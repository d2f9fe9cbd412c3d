//! Executes runs: claims what is queued, supervises it, records how it ends, recovers what a crash
//! left. Owns the life of every run after the door. Face: `Runner`. Never executes two runs of
//! one subject at once, and never ends a run twice: the attempt's number fences every write.

mod recovery;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::base::limits::{
    HEARTBEAT_INTERVAL, LEASE_DURATION, RUN_WORKERS_MAX, STORE_RETRY_INTERVAL,
};
use crate::base::time::{after, between};
use crate::base::{Ambient, chain};
use crate::domain::audit::{self, Actor, EventType, Outcome};
use crate::domain::runs::{
    AttemptEnd, OnCrash, OperationRun, RunEvent, RunState, RunType, StepRecord,
};
use crate::store::{StartAttempt, Store, StoreError, Write};
use crate::world::tasks::{Spawn, TaskLost};

use super::context::Inner;
use super::events::{describe, run_event};
use super::signals::{Happened, Signals};
use super::{Door, Operation, Purpose, RunContext};

pub use recovery::Recovered;

/// Which operation executes which type of run.
#[derive(Clone, Default)]
pub struct Operations(BTreeMap<RunType, Arc<dyn Operation>>);

impl Operations {
    /// The same, with the operation for one type.
    #[must_use]
    pub fn with(mut self, run_type: RunType, operation: Arc<dyn Operation>) -> Self {
        self.0.insert(run_type, operation);
        self
    }
}

/// How a runner works.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Names this process among all that ever wrote to the store: boot id and a random part.
    pub instance: String,
    /// Runs that execute at once.
    pub workers_max: usize,
    /// How often live runs give a sign.
    pub heartbeat_interval: Duration,
    /// What follows a crash; the registry's answer unless a test has another.
    pub on_crash: fn(RunType) -> OnCrash,
}

impl RunnerOptions {
    /// The usual ones.
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
            workers_max: RUN_WORKERS_MAX,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            on_crash: |run_type| run_type.definition().on_crash,
        }
    }
}

/// Executes runs. One per process; shared by reference count.
pub struct Runner {
    store: Arc<dyn Store>,
    ambient: Ambient,
    operations: Operations,
    options: RunnerOptions,
    spawn: Arc<dyn Spawn>,
    signals: Arc<Signals>,
    open: Arc<AtomicBool>,
    /// Cancelled when no new run may begin and live ones are to reach a safe step.
    drain: CancellationToken,
    /// Cancelled when the time for that is over.
    abandon: CancellationToken,
    /// Told when the last worker is gone.
    drained: Notify,
    /// Counts the turns of the loop.
    turns: watch::Sender<u64>,
}

/// Workers that have not ended, by their runs.
type Workers = FuturesUnordered<BoxFuture<'static, (OperationRun, Result<(), TaskLost>)>>;

impl Runner {
    /// A runner that does nothing yet: `recover` first, then `serve`.
    pub fn new(
        store: Arc<dyn Store>,
        ambient: Ambient,
        operations: Operations,
        spawn: Arc<dyn Spawn>,
        options: RunnerOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            ambient,
            operations,
            options,
            spawn,
            signals: Arc::new(Signals::new()),
            open: Arc::new(AtomicBool::new(true)),
            drain: CancellationToken::new(),
            abandon: CancellationToken::new(),
            drained: Notify::new(),
            turns: watch::Sender::new(0),
        })
    }

    /// The door in front of this runner.
    pub fn door(&self) -> Door {
        Door {
            store: Arc::clone(&self.store),
            ambient: self.ambient.clone(),
            signals: Arc::clone(&self.signals),
            open: Arc::clone(&self.open),
        }
    }

    /// Claims and executes runs until the runner is drained.
    pub async fn serve(self: Arc<Self>) {
        let mut workers = Workers::new();
        let mut heartbeat = tokio::time::interval(self.options.heartbeat_interval);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let draining = self.drain.is_cancelled();
            if draining && workers.is_empty() {
                break;
            }
            let pause = if draining { None } else { self.advance(&mut workers).await };
            let pause = pause.unwrap_or(self.options.heartbeat_interval);
            self.turns.send_modify(|turns| *turns = turns.wrapping_add(1));
            tokio::select! {
                biased;
                // First of all: many runs that end must not make the live ones look dead.
                _ = heartbeat.tick() => self.heartbeat().await,
                Some((run, end)) = workers.next() => self.bury(&run, end).await,
                () = self.drain.cancelled(), if !draining => {}
                () = self.signals.wake.notified(), if !draining => {}
                () = tokio::time::sleep(pause), if !draining => {}
            }
        }
        self.drained.notify_one();
    }

    /// Returns when the loop has looked for work once more: proof that it turns. At once while it is
    /// drained, which has a deadline of its own.
    pub async fn turn(&self) {
        let mut turns = self.turns.subscribe();
        self.signals.wake.notify_one();
        tokio::select! {
            biased;
            // The sender lives as long as this runner.
            _ = turns.changed() => {}
            () = self.drain.cancelled() => {}
        }
    }

    /// Stops in order: nothing new begins, live runs are asked to reach a safe step. Those that
    /// have not after `deadline` are left where they are, for the next start to go on. Returns
    /// when the last worker is gone.
    pub async fn drain(&self, deadline: Duration) {
        self.door().close();
        self.drain.cancel();
        let drained = self.drained.notified();
        tokio::pin!(drained);
        if tokio::time::timeout(deadline, &mut drained).await.is_err() {
            warn!("runs did not reach a safe step in time; they go on at the next start");
            self.abandon.cancel();
            drained.await;
        }
    }

    /// Wakes what is due and claims what it can. Returns how long to sleep before the next look;
    /// none when only news can change anything.
    async fn advance(self: &Arc<Self>, workers: &mut Workers) -> Option<Duration> {
        match self.try_advance(workers).await {
            Ok(None) => None,
            Ok(Some(due)) => {
                let pause = between(self.ambient.now(), due);
                Some(pause.clamp(Duration::from_millis(1), self.options.heartbeat_interval))
            }
            Err(error) => {
                error!(error = %chain(&error), "cannot claim runs; trying again");
                Some(STORE_RETRY_INTERVAL)
            }
        }
    }

    async fn try_advance(
        self: &Arc<Self>,
        workers: &mut Workers,
    ) -> Result<Option<crate::base::Timestamp>, StoreError> {
        for run in self.store.due(self.ambient.now()).await? {
            self.wake(&run).await?;
        }
        loop {
            let free = self.options.workers_max.saturating_sub(workers.len());
            if free == 0 {
                break;
            }
            let candidates = self.store.claimable(self.ambient.now(), free).await?;
            let mut claimed_any = false;
            for run in candidates {
                if let Some(worker) = self.claim(run).await? {
                    workers.push(worker);
                    claimed_any = true;
                }
            }
            if !claimed_any {
                break;
            }
        }
        self.store.next_due().await
    }

    async fn wake(&self, run: &OperationRun) -> Result<(), StoreError> {
        let event = run_event(
            &self.ambient,
            run,
            EventType::RunWoken,
            Outcome::Info,
            Actor::agent(),
            format!("{} goes on: what it waited for has come", describe(run)),
        );
        match self.store.commit(vec![Write::WakeRun { run_id: run.id }], event.into()).await {
            Err(StoreError::Conflict(conflict)) => {
                debug!(run_id = %run.id, %conflict, "run changed before it was woken");
                Ok(())
            }
            other => other,
        }
    }

    /// Begins an attempt and starts its worker; none when somebody was faster.
    async fn claim(
        self: &Arc<Self>,
        mut run: OperationRun,
    ) -> Result<Option<BoxFuture<'static, (OperationRun, Result<(), TaskLost>)>>, StoreError> {
        let (purpose, earlier_steps) = self.history(&run).await?;
        let now = self.ambient.now();
        // Armed before the claim is durable, so that no cancellation falls between.
        let cancel = self.signals.arm(run.id);
        let was_started = run.started_at.is_some();
        run.attempt += 1;
        run.started_at.get_or_insert(now);
        run.state = match run.state.transition(RunEvent::Claim) {
            Ok(state) => state,
            Err(illegal) => {
                debug!(run_id = %run.id, %illegal, "run not claimed");
                self.signals.disarm(run.id);
                return Ok(None);
            }
        };
        let (event_type, summary) = if was_started {
            let summary = format!("{} goes on with attempt {}", describe(&run), run.attempt);
            (EventType::RunRetried, summary)
        } else {
            (audit::started(run.run_type()), format!("{} began", describe(&run)))
        };
        let actor = Actor::agent();
        let mut event = run_event(&self.ambient, &run, event_type, Outcome::Info, actor, summary);
        event.context.attempt = Some(run.attempt);
        let start = Write::StartAttempt(StartAttempt {
            run_id: run.id,
            attempt: run.attempt,
            instance: self.options.instance.clone(),
            at: now,
            lease_until: after(now, LEASE_DURATION),
        });
        if let Err(error) = self.store.commit(vec![start], event.into()).await {
            self.signals.disarm(run.id);
            return match error {
                StoreError::Conflict(conflict) => {
                    debug!(run_id = %run.id, %conflict, "run not claimed");
                    Ok(None)
                }
                error => Err(error),
            };
        }
        info!(run_id = %run.id, run_type = %run.run_type(), attempt = run.attempt, "run started");
        self.changed(&run);
        let context = RunContext::new(Inner {
            run: run.clone(),
            purpose,
            earlier_steps,
            store: Arc::clone(&self.store),
            ambient: self.ambient.clone(),
            signals: Arc::clone(&self.signals),
            cancel,
            drain: self.drain.clone(),
            next_step: AtomicU32::new(0),
            details: std::sync::Mutex::new(run.context.details.clone()),
            pending: std::sync::Mutex::default(),
        });
        let work = worker::work(Arc::clone(self), context).boxed();
        let handle = self.spawn.spawn("run", work);
        Ok(Some(handle.map(|end| (run, end)).boxed()))
    }

    /// What the new attempt is for, and what the earlier ones did.
    async fn history(&self, run: &OperationRun) -> Result<(Purpose, Vec<StepRecord>), StoreError> {
        if run.attempt == 0 {
            return Ok((Purpose::First, Vec::new()));
        }
        let attempts = self.store.attempts(run.id).await?;
        let steps = self.store.steps(run.id).await?;
        // Once a crash has turned a run round, every later attempt goes on undoing.
        let undo = (self.options.on_crash)(run.run_type()) == OnCrash::Undo
            && attempts.iter().any(|past| past.end == Some(AttemptEnd::Interrupted));
        Ok((if undo { Purpose::Undo } else { Purpose::Resume }, steps))
    }

    /// After a worker is gone. One that was lost left its run without an end: the run is made
    /// ready again, as after a crash.
    async fn bury(&self, run: &OperationRun, end: Result<(), TaskLost>) {
        self.signals.disarm(run.id);
        let Err(lost) = end else { return };
        error!(run_id = %run.id, %lost, "worker lost; the run is recovered");
        if let Err(error) = self.recover_run(run.id).await {
            error!(run_id = %run.id, error = %chain(&error), "run not recovered");
        }
    }

    async fn heartbeat(&self) {
        let now = self.ambient.now();
        let instance = self.options.instance.clone();
        let lease_until = after(now, LEASE_DURATION);
        if let Err(error) = self.store.heartbeat(instance, now, lease_until).await {
            error!(error = %chain(&error), "no sign of life recorded");
        }
    }

    fn changed(&self, run: &OperationRun) {
        let what = Happened::Changed(Box::new(run.clone()));
        self.signals.publish(run.id, self.ambient.now(), what);
    }

    /// Reads a run again and tells its followers.
    async fn announce(&self, run: &OperationRun, state: RunState) {
        match self.store.run(run.id).await {
            Ok(Some(run)) => self.changed(&run),
            Ok(None) | Err(_) => {
                let mut run = run.clone();
                run.state = state;
                self.changed(&run);
            }
        }
    }
}
