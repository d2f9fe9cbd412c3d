//! Executes runs: claims what is queued, supervises it, records how it ends, recovers what a crash
//! left. Owns the life of every run after the door. Face: `Runner`. Never executes two runs of
//! one subject at once, and never ends a run twice: the attempt's number fences every write.

mod jobs;
mod recovery;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::base::ids::RunId;
use crate::base::limits::{
    HEARTBEAT_INTERVAL, LEASE_DURATION, RUN_WORKERS_MAX, STORE_RETRY_INTERVAL,
};
use crate::base::time::{after, between};
use crate::base::{Ambient, chain};
use crate::domain::audit::{Actor, EventType, Outcome};
use crate::domain::runs::{
    Agent, AttemptEnd, Definition, Holder, OnCrash, OperationRun, RunState, RunType, StepRecord,
    Tenants,
};
use crate::store::{Claim, Claimant, Claimed, Notice, Store, StoreError, Teller, Write};
use crate::world::tasks::{Spawn, TaskLost};

use super::context::Inner;
use super::definitions::Definitions;
use super::events::{describe, notice_event, run_event};
use super::hosted::Hosted;
use super::signals::{Happened, Signals};
use super::{Door, Operation, Purpose, RunContext};

pub use jobs::JobContext;
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
    /// The boot of the host that it runs in.
    pub boot_id: String,
    /// The host's name, for people.
    pub hostname: String,
    /// Runs that execute at once.
    pub workers_max: usize,
    /// Whose runs are executed and handed out here.
    pub tenants: Tenants,
    /// How often live runs give a sign.
    pub heartbeat_interval: Duration,
    /// What follows a crash; the registry's answer unless a test has another.
    pub on_crash: fn(RunType) -> OnCrash,
}

impl RunnerOptions {
    /// The usual ones.
    pub fn new(instance: impl Into<String>) -> Self {
        let instance = instance.into();
        let boot_id = instance.split_once('/').map_or(instance.as_str(), |(boot, _)| boot);
        Self {
            boot_id: boot_id.to_owned(),
            hostname: String::new(),
            instance,
            workers_max: RUN_WORKERS_MAX,
            tenants: Tenants::All,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            on_crash: |run_type| run_type.built_in().map_or(OnCrash::Resume, |it| it.on_crash),
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
    definitions: Arc<Definitions>,
    /// Cancelled when no new run may begin and live ones are to reach a safe step.
    drain: CancellationToken,
    /// Cancelled when the time for that is over.
    abandon: CancellationToken,
    /// Told when the last worker is gone.
    drained: Notify,
    /// Counts the turns of the loop.
    turns: watch::Sender<u64>,
}

/// A worker that has not ended, and what it executes.
type Worker = BoxFuture<'static, (Claimed, Result<(), TaskLost>)>;

type Workers = FuturesUnordered<Worker>;

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
            definitions: Arc::default(),
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
            holder: self.holder(),
            tenants: self.options.tenants.clone(),
            definitions: Arc::clone(&self.definitions),
            spawn: Arc::clone(&self.spawn),
        }
    }

    /// What hosts the runs of users' programs, beside this runner.
    pub fn hosted(&self) -> Hosted {
        Hosted::new(self.door(), self.options.boot_id.clone(), self.drain.clone())
    }

    /// Claims and executes runs until the runner is drained.
    pub async fn serve(self: Arc<Self>) {
        let mut workers = Workers::new();
        let mut heartbeat = tokio::time::interval(self.options.heartbeat_interval);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.signals.slots.add_permits(self.options.workers_max);
        let reap = self.reap();
        tokio::pin!(reap);
        loop {
            let draining = self.drain.is_cancelled();
            for (claimed, slot) in self.signals.take_begun() {
                workers.push(self.begin(claimed, slot));
            }
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
                Some((claimed, end)) = workers.next() => self.bury(&claimed, end).await,
                () = &mut reap => {}
                () = self.drain.cancelled(), if !draining => {}
                // While draining too: what a door had begun is still to be executed.
                () = self.signals.wake.notified() => {}
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

    /// Somebody else may have brought work: this runner and waiting claimants look at once.
    pub fn look_again(&self) {
        self.signals.look();
    }

    /// Somebody else may have asked for runs to be cancelled that are executed here: they hear it.
    pub async fn hear_cancels(&self) {
        for run_id in self.signals.armed() {
            if let Ok(Some(run)) = self.store.run(run_id).await
                && run.cancel_requested_at.is_some()
            {
                self.signals.cancel(run_id);
            }
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
            let mut slots = Vec::new();
            while let Ok(slot) = Arc::clone(&self.signals.slots).try_acquire_owned() {
                slots.push(slot);
            }
            let claimed = match slots.len() {
                0 => Vec::new(),
                free => self.claim(free).await?,
            };
            if claimed.is_empty() {
                break;
            }
            let taken = claimed.into_iter().zip(slots);
            workers.extend(taken.map(|(claimed, slot)| self.begin(claimed, slot)));
        }
        let due = self.store.next_due().await?;
        // What is due and finds no worker is taken when one is free; until then, looking at it all
        // the time would help nobody.
        let earliest = after(self.ambient.now(), STORE_RETRY_INTERVAL);
        Ok(match self.signals.slots.available_permits() {
            0 => due.map(|due| due.max(earliest)),
            _ => due,
        })
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

    /// Takes up to `limit` runs and jobs.
    async fn claim(&self, limit: usize) -> Result<Vec<Claimed>, StoreError> {
        let armed = Arc::new(Mutex::new(Vec::new()));
        let claimant = Claimant {
            holder: self.holder(),
            tenants: self.options.tenants.clone(),
            at: self.ambient.now(),
        };
        let claim = Claim {
            claimant,
            workspace_id: None,
            run_types: self.run_types(),
            limit,
            teller: self.arming_teller(&armed),
        };
        let claimed = self.store.claim(claim).await;
        let mut armed = std::mem::take(&mut *armed.lock().unwrap_or_else(PoisonError::into_inner));
        for begun in claimed.iter().flatten().filter(|begun| begun.job.is_none()) {
            if let Some(place) = armed.iter().position(|id| *id == begun.run.id) {
                armed.swap_remove(place);
            }
        }
        // What failed, or was told of by a transaction that was tried again.
        armed.iter().for_each(|id| self.signals.disarm(*id));
        claimed
    }

    /// Tells of what a claim takes, and makes its cancel tokens before it is durable, so that no
    /// cancellation falls between.
    fn arming_teller(&self, armed: &Arc<Mutex<Vec<RunId>>>) -> Teller {
        let (ambient, signals) = (self.ambient.clone(), Arc::clone(&self.signals));
        let armed = Arc::clone(armed);
        Teller::new(move |notice| {
            if notice.begins_work() {
                signals.arm(notice.run.id);
                armed.lock().unwrap_or_else(PoisonError::into_inner).push(notice.run.id);
            }
            Some(notice_event(&ambient, &Actor::agent(), notice))
        })
    }

    /// What this runner takes: our own types, so that one without an operation ends with the
    /// reason, and whatever else it has operations for.
    fn run_types(&self) -> Vec<RunType> {
        let others = self.operations.0.keys().filter(|run_type| run_type.is_hosted());
        RunType::ALL.iter().chain(others).copied().collect()
    }

    /// This process, as other agents see it.
    fn agent(&self) -> Agent {
        let now = self.ambient.now();
        Agent {
            instance: self.options.instance.clone(),
            host_id: self.store.scope().host_id,
            boot_id: self.options.boot_id.clone(),
            hostname: self.options.hostname.clone(),
            started_at: now,
            heartbeat_at: now,
        }
    }

    fn holder(&self) -> Holder {
        Holder::agent(&self.agent())
    }

    /// Starts the worker of an attempt that has begun. It holds its place until it ends.
    fn begin(self: &Arc<Self>, claimed: Claimed, slot: OwnedSemaphorePermit) -> Worker {
        let run = claimed.run.clone();
        let work = match claimed.job.clone() {
            Some(job) => {
                let cancel = self.signals.arm(run.id);
                info!(run_id = %run.id, job = job.key, attempt = job.attempt, "job started");
                jobs::work(Arc::clone(self), run, job, cancel).boxed()
            }
            None => {
                let cancel = self.signals.token(run.id);
                let (run_id, run_type) = (run.id, run.run_type());
                info!(%run_id, %run_type, attempt = run.attempt, "run started");
                self.changed(&run);
                worker::work(Arc::clone(self), run, cancel).boxed()
            }
        };
        let handle = self.spawn.spawn("run", work);
        async move {
            let end = handle.await;
            drop(slot);
            (claimed, end)
        }
        .boxed()
    }

    /// What is fixed about a run's type; none for a hosted type that is not registered any more.
    async fn definition(&self, run: &OperationRun) -> Result<Option<Definition>, StoreError> {
        self.definitions.find(&*self.store, &self.ambient, run.workspace_id, run.run_type()).await
    }

    /// What a new attempt sees.
    async fn context(
        &self,
        run: OperationRun,
        cancel: CancellationToken,
    ) -> Result<RunContext, StoreError> {
        let (purpose, earlier_steps) = self.history(&run).await?;
        Ok(RunContext::new(Inner {
            definition: self.definition(&run).await?,
            details: Mutex::new(run.context.details.clone()),
            run,
            purpose,
            earlier_steps,
            store: Arc::clone(&self.store),
            door: self.door(),
            ambient: self.ambient.clone(),
            signals: Arc::clone(&self.signals),
            cancel,
            drain: self.drain.clone(),
            next_step: AtomicU32::new(0),
            logins_used: tokio::sync::Mutex::default(),
            pending: Mutex::default(),
        }))
    }

    /// What the new attempt is for, and what the earlier ones did.
    async fn history(&self, run: &OperationRun) -> Result<(Purpose, Vec<StepRecord>), StoreError> {
        if run.attempt <= 1 {
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
    async fn bury(&self, claimed: &Claimed, end: Result<(), TaskLost>) {
        let run = &claimed.run;
        self.signals.disarm(run.id);
        self.signals.room.freed(run);
        let Err(lost) = end else { return };
        error!(run_id = %run.id, %lost, "worker lost; the run is recovered");
        let recovered = match &claimed.job {
            Some(job) => self.give_back(job).await,
            None => self.recover_run(run.id).await,
        };
        if let Err(error) = recovered {
            error!(run_id = %run.id, error = %chain(&error), "run not recovered");
        }
    }

    /// A sign of life; and a look at those who gave none, and at requests to cancel that another
    /// agent took.
    async fn heartbeat(&self) {
        let now = self.ambient.now();
        let instance = self.options.instance.clone();
        let lease_until = after(now, LEASE_DURATION);
        if let Err(error) = self.store.heartbeat(instance, now, lease_until).await {
            error!(error = %chain(&error), "no sign of life recorded");
            return;
        }
        if let Err(error) = self.recover().await {
            error!(error = %chain(&error), "cannot look for lost workers");
        }
        self.hear_cancels().await;
    }

    /// Tells followers, and workers here, what a transaction decided.
    fn tell(&self, notices: Vec<Notice>) {
        self.signals.tell(self.ambient.now(), notices);
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
