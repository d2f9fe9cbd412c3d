//! Makes, begins and ends jobs, and completes a bulk run with the last of them. Owns that each
//! job counts once. Face: methods of `Ledger`. Never changes a bulk run that has ended.

use std::collections::BTreeSet;

use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::limits::RUN_ATTEMPTS_MAX;
use crate::base::time::after;
use crate::domain::runs::{
    AfterFailure, AttemptEnd, End, Failure, IllegalTransition, Job, JobCounts, JobEnd, JobEvent,
    JobState, OperationRun, ReasonCode, RunState, WaitsFor, after_failure, maybe_complete_bulk_run,
};
use crate::store::{
    AdvanceJob, Claimant, Conflict, EndJob, FanOut, Heard, Noticed, RunProgress, SignOfLife,
};

use super::changes::MadeJobs;
use super::{Ledger, illegal, job_lock_key, working};

impl Ledger {
    /// A running run becomes a bulk run.
    pub(super) fn fan_out(&mut self, fan_out: &FanOut) -> Result<(), Conflict> {
        let FanOut { run_id, attempt, jobs, at, progress } = fan_out;
        let run = self.run(*run_id)?;
        working(run, *attempt)?;
        if run.jobs.is_some() {
            let why = IllegalTransition { from: "made of jobs already", event: "fan out" };
            return Err(illegal(*run_id, why));
        }
        let mut keys = BTreeSet::new();
        if let Some(twice) = jobs.iter().find(|job| !keys.insert(job.key.as_str())) {
            return Err(Conflict::DuplicateJob { run_id: *run_id, key: twice.key.clone() });
        }
        self.add(*run_id, progress)?;
        self.touch(*run_id)?.jobs = Some(JobCounts::queued(jobs.len() as u64));
        if jobs.is_empty() {
            let end = AttemptEnd::Completed;
            self.end_attempt(*run_id, *attempt, end, *at);
            self.finish(*run_id, End::Succeeded, *at)?;
            let what = Noticed::Ended { end: End::Succeeded, superseded_by: None };
            return self.notice(*run_id, what);
        }
        let made = MadeJobs { run_id: *run_id, jobs: jobs.clone(), ready: true };
        self.changes.jobs_made.push(made);
        self.wait_for_jobs(*run_id, *attempt, *at)?;
        // Somebody may have asked to cancel while the jobs were listed.
        if self.run(*run_id)?.cancel_requested_at.is_some() {
            self.cancel(*run_id, *at, None)?;
        }
        Ok(())
    }

    /// Somebody takes a job. Answers until when he has it.
    pub(in crate::store) fn start_job(
        &mut self,
        run_id: RunId,
        key: &str,
        claimant: &Claimant,
    ) -> Result<Timestamp, Conflict> {
        let run = self.waiting_for_jobs(run_id)?;
        let (workspace, run_type) = (run.workspace_id, run.run_type());
        let job = self.job(run_id, key)?;
        let tenant = job.tenant_id.or(run.tenant_id);
        self.check_limits(run, tenant)?;
        let definition = self.definition(run)?;
        let lease = definition.lease.min(definition.timeout.unwrap_or(definition.lease));
        let lease_until = after(claimant.at, lease);
        let number = job.attempt + 1;
        if let Some(lock) = job_lock_key(run, job) {
            self.lock_for(run_id, lock, claimant.at, lease_until)?;
        }
        let job = self.move_job(run_id, key, JobEvent::Claim)?;
        job.attempt = number;
        job.holder = Some(claimant.holder.clone());
        job.lease_until = Some(lease_until);
        self.count_busy(workspace, tenant, run_type);
        Ok(lease_until)
    }

    /// A part of a job was done.
    pub(super) fn advance_job(&mut self, advance: &AdvanceJob) -> Result<(), Conflict> {
        let AdvanceJob { run_id, key, attempt, reached, counts, failures } = advance;
        let run = self.waiting_for_jobs(*run_id)?;
        let job = self.job(*run_id, key)?;
        working_job(job, *attempt)?;
        if let Some(lock) = job_lock_key(run, job) {
            let lock = self.locks.get(&lock).copied().flatten();
            if lock.is_none_or(|lock| lock.run_id != *run_id) {
                // Its lease was over, and another run works on the tenant.
                return Err(Conflict::Fenced { run_id: *run_id, attempt: *attempt });
            }
        }
        let progress =
            RunProgress { counts: counts.clone(), failures: failures.clone(), details: None };
        self.add(*run_id, &progress)?;
        let id = (*run_id, key.clone());
        if let Some(job) = self.jobs.get_mut(&id).and_then(Option::as_mut) {
            job.reached = Some(reached.clone());
        }
        self.changes.jobs.insert(id);
        Ok(())
    }

    /// A job's attempt ends.
    pub(super) fn end_job(&mut self, ended: &EndJob) -> Result<(), Conflict> {
        let EndJob { run_id, key, attempt, end, is_final, at, random, counts, failures } = ended;
        let run = self.waiting_for_jobs(*run_id)?;
        let job = self.job(*run_id, key)?;
        working_job(job, *attempt)?;
        let failed = job.failures.saturating_add(u32::from(*end == JobEnd::Failed));
        let cancelled = run.cancel_requested_at.is_some();
        if *end == JobEnd::Failed && !is_final && !cancelled {
            let retry = &self.definition(run)?.retry;
            if let AfterFailure::Retry(pause) = after_failure(retry, failed, *random) {
                let until = after(*at, pause);
                let job = self.move_job(*run_id, key, JobEvent::Retry { until })?;
                job.failures = failed;
                return Ok(());
            }
        }
        self.move_job(*run_id, key, JobEvent::End(*end))?.failures = failed;
        let progress =
            RunProgress { counts: counts.clone(), failures: failures.clone(), details: None };
        self.add(*run_id, &progress)?;
        self.maybe_complete(*run_id, *at)
    }

    /// A job lost its worker.
    pub(super) fn interrupt_job(
        &mut self,
        run_id: RunId,
        key: &str,
        attempt: u32,
        end: AttemptEnd,
        at: Timestamp,
    ) -> Result<(), Conflict> {
        let cancelled = self.waiting_for_jobs(run_id)?.cancel_requested_at.is_some();
        let job = self.job(run_id, key)?;
        working_job(job, attempt)?;
        let interruptions = job.interruptions + u32::from(end == AttemptEnd::Interrupted);
        if cancelled {
            self.end_without_worker(run_id, key, JobEnd::Cancelled, interruptions)?;
        } else if end == AttemptEnd::Released || interruptions < RUN_ATTEMPTS_MAX {
            self.move_job(run_id, key, JobEvent::Interrupt)?.interruptions = interruptions;
            return Ok(());
        } else {
            self.end_without_worker(run_id, key, JobEnd::Failed, interruptions)?;
            let message = format!(
                "the job lost its worker {interruptions} times; find out what ends the worker, \
                 then retry the run's failed jobs"
            );
            let failure =
                Failure::new(ReasonCode::RunAttemptsExhausted, format!("job:{key}"), message);
            let progress = RunProgress { failures: vec![failure], ..RunProgress::default() };
            self.add(run_id, &progress)?;
        }
        self.maybe_complete(run_id, at)
    }

    /// The end of a job that its worker did not bring. It uses up a number of its own, so that a
    /// late word of the worker that ends it alike is not taken for the one that counted.
    fn end_without_worker(
        &mut self,
        run_id: RunId,
        key: &str,
        end: JobEnd,
        interruptions: u32,
    ) -> Result<(), Conflict> {
        let job = self.move_job(run_id, key, JobEvent::End(end))?;
        job.interruptions = interruptions;
        job.attempt += 1;
        Ok(())
    }

    /// The end of the last job is the end of the run.
    fn maybe_complete(&mut self, run_id: RunId, at: Timestamp) -> Result<(), Conflict> {
        let jobs = self.run(run_id)?.jobs.unwrap_or_default();
        let Some(end) = maybe_complete_bulk_run(&jobs) else { return Ok(()) };
        self.finish(run_id, end, at)?;
        self.notice(run_id, Noticed::Ended { end, superseded_by: None })
    }

    /// A hosted worker of a job is alive.
    pub(super) fn sign_of_job(
        &mut self,
        run_id: RunId,
        key: &str,
        attempt: u32,
        sign: &SignOfLife,
    ) -> Result<Heard, Conflict> {
        let run = self.run(run_id)?;
        working_job(self.job(run_id, key)?, attempt)?;
        let cancel_requested = run.cancel_requested_at.is_some();
        let lease_until = after(sign.at, self.definition(run)?.lease);
        self.add(run_id, &sign.progress)?;
        let job = self.jobs.get_mut(&(run_id, key.to_owned())).and_then(Option::as_mut);
        if let Some(job) = job {
            job.lease_until = Some(lease_until);
        }
        self.changes.jobs.insert((run_id, key.to_owned()));
        Ok(Heard { lease_until, cancel_requested })
    }

    /// The one place where a job's state changes, and the counts of its run with it.
    fn move_job(
        &mut self,
        run_id: RunId,
        key: &str,
        event: JobEvent,
    ) -> Result<&mut Job, Conflict> {
        let from = self.job(run_id, key)?.state;
        let to = from.transition(event).map_err(|why| illegal(run_id, why))?;
        self.touch(run_id)?.jobs.get_or_insert_default().moved(from.status(), to.status());
        if to != JobState::Running
            && let Some(lock) = job_lock_key(self.run(run_id)?, self.job(run_id, key)?)
            && self.locks.get(&lock).copied().flatten().is_some_and(|it| it.run_id == run_id)
        {
            self.set_lock(lock, None);
        }
        let id = (run_id, key.to_owned());
        self.changes.jobs.insert(id.clone());
        let missing = || Conflict::Missing { noun: "job", id: format!("{run_id}/{key}") };
        let job = self.jobs.get_mut(&id).and_then(Option::as_mut).ok_or_else(missing)?;
        job.state = to;
        if to != JobState::Running {
            (job.holder, job.lease_until) = (None, None);
        }
        Ok(job)
    }

    fn waiting_for_jobs(&self, run_id: RunId) -> Result<&OperationRun, Conflict> {
        let run = self.run(run_id)?;
        match run.state {
            RunState::Waiting(waiting) if waiting.waits_for == WaitsFor::Jobs => Ok(run),
            state => {
                let why = IllegalTransition { from: state.name(), event: "have jobs executed" };
                Err(illegal(run_id, why))
            }
        }
    }
}

/// The job is executed by this attempt.
pub(super) fn working_job(job: &Job, attempt: u32) -> Result<(), Conflict> {
    match job.attempt == attempt && job.state == JobState::Running {
        true => Ok(()),
        false => Err(Conflict::Fenced { run_id: job.run_id, attempt }),
    }
}
