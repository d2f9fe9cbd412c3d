//! Recovers runs whose worker is gone. Owns what happens at start, before anything is claimed, and
//! the look at leases from then on. Face: `Runner::start`, `Runner::recover`. Never waits for the
//! lease of an older process of this host: one agent runs per host, so it is dead. What the store
//! gave to this process and the answer never told is taken back too: its lease is always renewed.

use std::time::Duration;

use tracing::{error, warn};

use crate::base::Timestamp;
use crate::base::chain;
use crate::base::ids::RunId;
use crate::base::limits::STORE_RETRY_INTERVAL;
use crate::base::time::between;
use crate::domain::audit::{self, Actor, AuditEvents, EventType, Outcome};
use crate::domain::runs::{
    Agent, Attempt, AttemptEnd, Disposition, End, Failure, Holder, Job, OnCrash, OperationRun,
    ReasonCode, after_crash,
};
use crate::operations::events::{describe, describe_end, run_event, teller};
use crate::store::{AttemptRef, Change, CompleteRun, OpenAttempt, RunProgress, StoreError, Write};

use super::Runner;

/// The shortest pause between two looks at leases.
const LEASE_PAUSE_MIN: Duration = Duration::from_millis(1);

/// What recovery found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Runs that go on, forward or backward.
    pub resumed: usize,
    /// Runs that wait for an operator.
    pub asking: usize,
    /// Runs that were ended: cancelled before the crash, or interrupted too often.
    pub ended: usize,
    /// Jobs that want another worker.
    pub jobs: usize,
}

impl Runner {
    /// Makes this process known, and takes over what older ones of this host left. Call it once,
    /// before `serve`.
    ///
    /// # Errors
    /// When the store does not answer or does not take it.
    pub async fn start(&self) -> Result<Recovered, StoreError> {
        self.store.register_agent(self.agent()).await?;
        self.recover().await
    }

    /// Takes over what lost its worker: of this host at once, of others when the lease is over.
    ///
    /// # Errors
    /// When the store does not answer or does not take it.
    pub async fn recover(&self) -> Result<Recovered, StoreError> {
        let mut recovered = Recovered::default();
        // What is claimed meanwhile is noted by itself.
        self.signals.room.forget_lease_end();
        let agent = self.agent();
        let lost = self.store.lost(agent.clone(), self.ambient.now()).await?;
        if let Some(end) = lost.next_lease_end {
            self.signals.room.leased(end);
        }
        for open in lost.attempts {
            if self.has_in_hand(open.run.id, &open.attempt.holder, &agent) {
                continue;
            }
            match self.settle(&open).await? {
                Some(Settled::Resumed) => recovered.resumed += 1,
                Some(Settled::Asking) => recovered.asking += 1,
                Some(Settled::Ended) => recovered.ended += 1,
                None => {}
            }
        }
        for (run, job) in lost.jobs {
            if job.holder.as_ref().is_some_and(|it| self.has_in_hand(run.id, it, &agent)) {
                continue;
            }
            self.give_back(&job).await?;
            recovered.jobs += 1;
        }
        Ok(recovered)
    }

    /// Whether this process executes it, as far as one knows by the run: what is to be executed is
    /// armed before it is durable. While it drains, what it left is for the next one.
    fn has_in_hand(&self, run_id: RunId, holder: &Holder, agent: &Agent) -> bool {
        let is_wanted = self.drain.is_cancelled() || self.signals.is_armed(run_id);
        holder.is_process(agent) && is_wanted
    }

    /// Takes over what a lease ends of as soon as it ends, until it is dropped.
    pub(super) async fn reap(&self) {
        loop {
            let over = async {
                match self.signals.room.lease_end() {
                    Some(end) => {
                        let pause = between(self.ambient.now(), end);
                        tokio::time::sleep(pause.max(LEASE_PAUSE_MIN)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.signals.room.lease_ends_sooner() => continue,
                () = over => {}
            }
            if let Err(error) = self.recover().await {
                // The heartbeat looks for lost workers too.
                error!(error = %chain(&error), "cannot take over what a lease ended of");
                tokio::time::sleep(STORE_RETRY_INTERVAL).await;
            }
        }
    }

    /// The same for one run whose worker was lost while this process lives.
    pub(super) async fn recover_run(&self, run_id: RunId) -> Result<(), StoreError> {
        let open = self.store.open_attempts().await?;
        for open in open.iter().filter(|open| open.run.id == run_id) {
            self.settle(open).await?;
        }
        Ok(())
    }

    /// A job that lost its worker wants another one.
    pub(super) async fn give_back(&self, job: &Job) -> Result<(), StoreError> {
        warn!(run_id = %job.run_id, job = job.key, "job was interrupted");
        let attempt =
            AttemptRef { run_id: job.run_id, job: Some(job.key.clone()), attempt: job.attempt };
        let held = job.holder.as_ref().zip(job.lease_until);
        let unrenewed = held.and_then(|(holder, until)| self.unrenewed(attempt, holder, until));
        let interrupt = Write::InterruptJob {
            run_id: job.run_id,
            key: job.key.clone(),
            attempt: job.attempt,
            end: AttemptEnd::Interrupted,
            at: self.ambient.now(),
        };
        let teller = teller(&self.ambient, Actor::agent());
        let writes = unrenewed.into_iter().chain([interrupt]).collect();
        match self.store.change(Change { writes, events: Vec::new(), teller }).await {
            Ok(notices) => {
                self.tell(notices);
                Ok(())
            }
            // It ended meanwhile, or is alive after all, or another agent was faster.
            Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The condition that a worker is taken for lost only as long as it says nothing: what a late
    /// sign of life has renewed stays with its worker. This process renews by itself whatever it
    /// holds, so that a renewal says nothing then.
    fn unrenewed(
        &self,
        attempt: AttemptRef,
        holder: &Holder,
        lease_until: Timestamp,
    ) -> Option<Write> {
        let is_own = holder.is_process(&self.agent());
        (!is_own).then_some(Write::ExpectLease { attempt, lease_until })
    }

    /// What becomes of an attempt without a worker; none when it ended meanwhile, or its worker is
    /// alive after all.
    async fn settle(&self, open: &OpenAttempt) -> Result<Option<Settled>, StoreError> {
        let run = &open.run;
        let on_crash = match run.run_type().is_hosted() {
            false => (self.options.on_crash)(run.run_type()),
            true => self.definition(run).await?.map_or(OnCrash::Resume, |it| it.on_crash),
        };
        let disposition = if run.cancel_requested_at.is_some() {
            Disposition::GiveUp(ReasonCode::RunCancelled)
        } else {
            after_crash(on_crash, open.interruptions + 1)
        };
        warn!(run_id = %run.id, attempt = run.attempt, ?disposition, "run was interrupted");
        let (writes, events, settled) = self.settlement(run, disposition);
        let attempt = AttemptRef { run_id: run.id, job: None, attempt: run.attempt };
        let Attempt { holder, lease_until, .. } = &open.attempt;
        let unrenewed = self.unrenewed(attempt, holder, *lease_until);
        let writes = unrenewed.into_iter().chain(writes).collect();
        match self.store.commit(writes, events).await {
            Ok(()) => {}
            Err(StoreError::Conflict(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        self.announce(run, run.state).await;
        self.signals.look();
        Ok(Some(settled))
    }

    fn settlement(
        &self,
        run: &OperationRun,
        disposition: Disposition,
    ) -> (Vec<Write>, AuditEvents, Settled) {
        let at = self.ambient.now();
        let mut writes = vec![Write::InterruptAttempt {
            run_id: run.id,
            attempt: run.attempt,
            end: AttemptEnd::Interrupted,
            at,
            progress: RunProgress::default(),
        }];
        let mut interrupted = run_event(
            &self.ambient,
            run,
            EventType::RunInterrupted,
            Outcome::Failed,
            Actor::agent(),
            format!("{} lost its worker in attempt {}", describe(run), run.attempt),
        );
        interrupted.context.attempt = Some(run.attempt);
        let events = AuditEvents::from(interrupted);
        match disposition {
            Disposition::Resume | Disposition::Undo => (writes, events, Settled::Resumed),
            Disposition::Wait(waiting) => {
                writes.push(Write::WaitRun {
                    run_id: run.id,
                    attempt: run.attempt,
                    waiting,
                    at,
                    progress: RunProgress::default(),
                });
                let asks = run_event(
                    &self.ambient,
                    run,
                    EventType::RunWaiting,
                    Outcome::Info,
                    Actor::agent(),
                    format!("{} waits for an operator's answer after a crash", describe(run)),
                );
                (writes, events.and(asks), Settled::Asking)
            }
            Disposition::GiveUp(reason_code) => {
                let (write, ended) = self.given_up(run, reason_code);
                writes.push(write);
                (writes, events.and(ended), Settled::Ended)
            }
        }
    }

    fn given_up(&self, run: &OperationRun, reason_code: ReasonCode) -> (Write, audit::AuditEvent) {
        let (end, failures) = match reason_code {
            ReasonCode::RunCancelled => (End::Cancelled, Vec::new()),
            _ => {
                let message = format!(
                    "the run lost its worker in {} attempts; look into the agent's log for what \
                     ends the process, then start it again",
                    run.attempt
                );
                (End::Failed, vec![Failure::new(reason_code, "agent", message)])
            }
        };
        let mut told = run.clone();
        told.failure_summary.extend(failures.iter().cloned());
        let mut event = run_event(
            &self.ambient,
            run,
            audit::ended(run.run_type(), end),
            end.into(),
            Actor::agent(),
            describe_end(&told, end),
        );
        event.context.reason_code = Some(reason_code);
        let write = Write::CompleteRun(CompleteRun {
            run_id: run.id,
            attempt: run.attempt,
            end,
            at: self.ambient.now(),
            progress: RunProgress { failures, ..RunProgress::default() },
        });
        (write, event)
    }
}

enum Settled {
    Resumed,
    Asking,
    Ended,
}
