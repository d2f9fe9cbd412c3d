//! Begins, keeps alive and ends attempts of runs. Owns locks and leases. Face: methods of
//! `Ledger`. Never begins an attempt on a subject that another run holds.

use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::limits::WAITING_LOCK;
use crate::base::time::after;
use crate::domain::runs::{
    Attempt, AttemptEnd, Details, Holder, OperationRun, RunEvent, RunState, Waiting, WaitsFor,
};
use crate::store::{
    AttemptRef, Claimant, Conflict, Heard, Noticed, RunProgress, SignOfLife, StartAttempt,
};

use super::changes::Renewal;
use super::jobs::working_job;
use super::{Ledger, Lock, LockKey, illegal, lock_key, working};

impl Ledger {
    /// Somebody takes a run. Answers until when he has it; none when the run needs no worker,
    /// because its jobs are made already and it waits for them.
    pub(in crate::store) fn start(
        &mut self,
        run_id: RunId,
        claimant: &Claimant,
    ) -> Result<Option<Timestamp>, Conflict> {
        let run = self.run(run_id)?;
        self.check_limits(run, run.tenant_id)?;
        let definition = self.definition(run)?;
        let lease = definition.lease.min(definition.timeout.unwrap_or(definition.lease));
        let lease_until = after(claimant.at, lease);
        let attempt = run.attempt + 1;
        let for_jobs = run.jobs.is_some();
        let (workspace, tenant, run_type) = (run.workspace_id, run.tenant_id, run.run_type());
        self.begin(run_id, attempt, &claimant.holder, claimant.at, lease_until)?;
        self.notice(run_id, Noticed::Started)?;
        if for_jobs {
            self.wait_for_jobs(run_id, attempt, claimant.at)?;
            return Ok(None);
        }
        self.count_busy(workspace, tenant, run_type);
        Ok(Some(lease_until))
    }

    /// A worker takes a run, whatever holds the queue back.
    pub(super) fn start_attempt(&mut self, start: &StartAttempt) -> Result<(), Conflict> {
        if self.run(start.run_id)?.attempt + 1 != start.attempt {
            return Err(Conflict::Fenced { run_id: start.run_id, attempt: start.attempt });
        }
        self.begin(start.run_id, start.attempt, &start.holder, start.at, start.lease_until)
    }

    fn begin(
        &mut self,
        run_id: RunId,
        number: u32,
        holder: &Holder,
        at: Timestamp,
        lease_until: Timestamp,
    ) -> Result<(), Conflict> {
        let run = self.run(run_id)?;
        run.state.transition(RunEvent::Claim).map_err(|why| illegal(run_id, why))?;
        let run = run.clone();
        self.take_lock(&run, at, lease_until)?;
        let changed = self.transit(run_id, RunEvent::Claim)?;
        changed.attempt = number;
        changed.started_at.get_or_insert(at);
        let attempt = Attempt {
            run_id,
            number,
            holder: holder.clone(),
            started_at: at,
            heartbeat_at: at,
            lease_until,
            ended_at: None,
            end: None,
        };
        self.changes.attempts.entry((run_id, number)).or_default().begun = Some(attempt.clone());
        self.attempts.insert(run_id, Some(attempt));
        Ok(())
    }

    /// Locks the subject for the run. An expired lock is taken over, and its holder, if it still
    /// has a worker, is interrupted with it: whatever that worker writes later is fenced.
    fn take_lock(
        &mut self,
        run: &OperationRun,
        at: Timestamp,
        lease_until: Timestamp,
    ) -> Result<(), Conflict> {
        match lock_key(run) {
            Some(key) => self.lock_for(run.id, key, at, lease_until),
            None => Ok(()),
        }
    }

    /// The same for a subject of its own.
    pub(super) fn lock_for(
        &mut self,
        run_id: RunId,
        key: LockKey,
        at: Timestamp,
        lease_until: Timestamp,
    ) -> Result<(), Conflict> {
        let mut acquired_at = at;
        if let Some(lock) = self.locks.get(&key).copied().flatten() {
            if lock.run_id == run_id {
                acquired_at = lock.acquired_at;
            } else {
                let holder = lock.run_id;
                if lock.expires_at > at {
                    return Err(Conflict::Locked { subject: key.1, holder });
                }
                let late = self.run(holder)?;
                if late.state == RunState::Running {
                    let nothing = RunProgress::default();
                    let attempt = late.attempt;
                    self.interrupt(holder, attempt, AttemptEnd::Interrupted, at, &nothing)?;
                    self.notice(holder, Noticed::Interrupted)?;
                }
            }
        }
        let lock = Lock { run_id, acquired_at, expires_at: lease_until };
        self.set_lock(key, Some(lock));
        Ok(())
    }

    /// An attempt lost its worker.
    pub(super) fn interrupt(
        &mut self,
        run_id: RunId,
        attempt: u32,
        end: AttemptEnd,
        at: Timestamp,
        progress: &RunProgress,
    ) -> Result<(), Conflict> {
        self.fenced(run_id, attempt)?;
        self.add(run_id, progress)?;
        self.transit(run_id, RunEvent::Interrupt)?;
        self.end_attempt(run_id, attempt, end, at);
        Ok(())
    }

    /// The run waits without a worker.
    pub(super) fn wait(
        &mut self,
        run_id: RunId,
        attempt: u32,
        waiting: Waiting,
        at: Timestamp,
        progress: &RunProgress,
    ) -> Result<(), Conflict> {
        self.fenced(run_id, attempt)?;
        self.add(run_id, progress)?;
        let had_worker = self.run(run_id)?.state == RunState::Running;
        self.transit(run_id, RunEvent::Wait(waiting))?;
        if had_worker {
            self.end_attempt(run_id, attempt, AttemptEnd::Suspended, at);
        }
        self.keep_lock(run_id, at)
    }

    /// The run waits for its jobs, which can be claimed from now on.
    pub(super) fn wait_for_jobs(
        &mut self,
        run_id: RunId,
        attempt: u32,
        at: Timestamp,
    ) -> Result<(), Conflict> {
        let waiting = Waiting { waits_for: WaitsFor::Jobs, until: None };
        self.transit(run_id, RunEvent::Wait(waiting))?;
        self.end_attempt(run_id, attempt, AttemptEnd::Suspended, at);
        self.changes.jobs_opened.insert(run_id);
        self.keep_lock(run_id, at)?;
        self.notice(run_id, Noticed::WaitsForJobs)
    }

    /// A run that waits keeps its lock, also while no agent is there to renew it: else its jobs, or
    /// its next attempt, would meet another run on the subject.
    pub(super) fn keep_lock(&mut self, run_id: RunId, at: Timestamp) -> Result<(), Conflict> {
        if let Some(key) = lock_key(self.run(run_id)?)
            && let Some(lock) = self.locks.get(&key).copied().flatten()
            && lock.run_id == run_id
        {
            self.set_lock(key, Some(Lock { expires_at: after(at, WAITING_LOCK), ..lock }));
        }
        Ok(())
    }

    /// What the run waited for has happened.
    pub(super) fn wake(&mut self, run_id: RunId) -> Result<(), Conflict> {
        self.transit(run_id, RunEvent::Wake).map(drop)
    }

    /// The same with what was decided. Whoever decided saw the run as this attempt left it.
    pub(super) fn decide(
        &mut self,
        run_id: RunId,
        attempt: u32,
        details: &Details,
    ) -> Result<(), Conflict> {
        self.fenced(run_id, attempt)?;
        let details = Some(details.clone());
        self.add(run_id, &RunProgress { details, ..RunProgress::default() })?;
        self.wake(run_id)
    }

    /// Ends the open attempt.
    pub(super) fn end_attempt(
        &mut self,
        run_id: RunId,
        attempt: u32,
        end: AttemptEnd,
        at: Timestamp,
    ) {
        self.changes.attempts.entry((run_id, attempt)).or_default().ended = Some((end, at));
        self.attempts.insert(run_id, None);
    }

    /// The lease of an open attempt is still the one that somebody read.
    pub(super) fn expect_lease(
        &self,
        attempt: &AttemptRef,
        lease_until: Timestamp,
    ) -> Result<(), Conflict> {
        let AttemptRef { run_id, job, attempt: number } = attempt;
        let now = match job {
            Some(key) => {
                let job = self.job(*run_id, key)?;
                working_job(job, *number)?;
                job.lease_until
            }
            None => {
                working(self.run(*run_id)?, *number)?;
                self.attempts.get(run_id).and_then(Option::as_ref).map(|open| open.lease_until)
            }
        };
        match now == Some(lease_until) {
            true => Ok(()),
            false => Err(Conflict::Changed { noun: "lease of run", id: run_id.to_string() }),
        }
    }

    /// A hosted worker is alive. Its lease and the lock last longer from then on, but never past
    /// the longest time of an attempt.
    pub(in crate::store) fn sign_of_life(&mut self, sign: &SignOfLife) -> Result<Heard, Conflict> {
        let (run_id, number) = (sign.attempt.run_id, sign.attempt.attempt);
        if let Some(key) = &sign.attempt.job {
            return self.sign_of_job(run_id, key, number, sign);
        }
        let run = self.run(run_id)?;
        working(run, number)?;
        let key = lock_key(run);
        let cancel_requested = run.cancel_requested_at.is_some();
        let definition = self.definition(run)?;
        let open = self.attempts.get(&run_id).and_then(Option::as_ref);
        let began = open.filter(|open| open.number == number).map_or(sign.at, |it| it.started_at);
        let longest = definition.timeout.map_or(Timestamp::MAX, |timeout| after(began, timeout));
        let lease_until = after(sign.at, definition.lease).min(longest);
        self.add(run_id, &sign.progress)?;
        if let Some(Some(open)) = self.attempts.get_mut(&run_id) {
            (open.heartbeat_at, open.lease_until) = (sign.at, lease_until);
        }
        let renewal = Renewal { at: sign.at, lease_until };
        self.changes.renewals.insert((run_id, number), renewal);
        if let Some(key) = key
            && let Some(lock) = self.locks.get(&key).copied().flatten()
            && lock.run_id == run_id
        {
            self.set_lock(key, Some(Lock { expires_at: lease_until, ..lock }));
        }
        Ok(Heard { lease_until, cancel_requested })
    }
}
