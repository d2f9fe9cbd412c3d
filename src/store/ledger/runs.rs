//! Admits, ends, cancels and revives runs. Owns identity, superseding, dead letters and what is
//! added to a run. Face: methods of `Ledger`. Never ends a run twice.

use std::collections::BTreeSet;

use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::time::after;
use crate::domain::alerts::of_ended_run;
use crate::domain::runs::{
    AfterFailure, AttemptEnd, Cancellation, End, Failure, IllegalTransition, Inputs, JobCounts,
    OperationRun, ReasonCode, RunEvent, RunState, Waiting, WaitsFor, after_failure,
    append_failures, increment_summary_counts, maybe_complete_bulk_run,
};
use crate::store::{CompleteRun, Conflict, FailAttempt, NewBulk, Noticed, RetryRun, RunProgress};

use super::changes::MadeJobs;
use super::{Ledger, illegal, lock_key, working};

impl Ledger {
    /// A new run. With `supersedes`, older runs of its type and subject end, or are asked to.
    pub(in crate::store) fn insert(
        &mut self,
        run: &OperationRun,
        supersedes: bool,
    ) -> Result<(), Conflict> {
        let identity = (run.workspace_id, run.run_identity_hash);
        if let Some(Some(active)) = self.identities.get(&identity)
            && self.run(*active).is_ok_and(|active| !active.state.is_completed())
        {
            return Err(Conflict::ActiveRun(*active));
        }
        if let Inputs::DeployProject(deploy) = &run.context.inputs
            && self.revisions.get(&deploy.revision_id) != Some(&true)
        {
            // It may have been dropped between the caller's look and this write.
            let id = deploy.revision_id.to_string();
            return Err(Conflict::Missing { noun: "revision", id });
        }
        self.definition(run)?;
        if supersedes {
            self.supersede(run)?;
        }
        self.runs.insert(run.id, Some(run.clone()));
        self.identities.insert(identity, Some(run.id));
        self.changes.runs.entry(run.id).or_default().inserted = true;
        Ok(())
    }

    /// A new bulk run, whose jobs can be claimed when it has its lock.
    pub(super) fn insert_bulk(&mut self, bulk: &NewBulk) -> Result<(), Conflict> {
        let NewBulk { run, jobs, supersedes } = bulk;
        let mut keys = BTreeSet::new();
        if let Some(twice) = jobs.iter().find(|job| !keys.insert(job.key.as_str())) {
            return Err(Conflict::DuplicateJob { run_id: run.id, key: twice.key.clone() });
        }
        let mut run = run.clone();
        run.jobs = Some(JobCounts::queued(jobs.len() as u64));
        self.insert(&run, *supersedes)?;
        let made = MadeJobs { run_id: run.id, jobs: jobs.clone(), ready: false };
        self.changes.jobs_made.push(made);
        Ok(())
    }

    fn supersede(&mut self, newer: &OperationRun) -> Result<(), Conflict> {
        let Some(key) = lock_key(newer) else { return Ok(()) };
        for id in self.rivals.get(&key).cloned().unwrap_or_default() {
            let older = self.run(id)?;
            let is_older = older.run_type() == newer.run_type() && older.id != newer.id;
            if is_older && !older.state.is_completed() && older.cancel_requested_at.is_none() {
                self.cancel(id, newer.created_at, Some(newer.id))?;
            }
        }
        Ok(())
    }

    /// Cancels a run: at once, or by asking whoever works on it.
    pub(super) fn cancel(
        &mut self,
        run_id: RunId,
        at: Timestamp,
        superseded_by: Option<RunId>,
    ) -> Result<(), Conflict> {
        let cancellation = self.run(run_id)?.state.cancellation();
        if cancellation == Cancellation::Never {
            let why = IllegalTransition { from: "completed", event: "be cancelled" };
            return Err(illegal(run_id, why));
        }
        if let Some(newer) = superseded_by {
            let message = format!("run {newer} of the same subject took its place");
            let failure = Failure::new(ReasonCode::RunSuperseded, "run", message);
            self.touch(run_id)?.failure_summary.push(failure);
            self.changes.runs.entry(run_id).or_default().progress = true;
        }
        let run = self.touch(run_id)?;
        run.cancel_requested_at.get_or_insert(at);
        match cancellation {
            Cancellation::AtOnce => {
                self.finish(run_id, End::Cancelled, at)?;
                let what = Noticed::Ended { end: End::Cancelled, superseded_by };
                self.notice(run_id, what)
            }
            Cancellation::Asked => self.notice(run_id, Noticed::CancelAsked { superseded_by }),
            Cancellation::Jobs => {
                let jobs = run.jobs.get_or_insert_default();
                jobs.cancel_idle();
                let end = maybe_complete_bulk_run(jobs);
                self.changes.jobs_cancelled.insert(run_id);
                match end {
                    None => self.notice(run_id, Noticed::CancelAsked { superseded_by }),
                    Some(_) => {
                        self.finish(run_id, End::Cancelled, at)?;
                        let what = Noticed::Ended { end: End::Cancelled, superseded_by };
                        self.notice(run_id, what)
                    }
                }
            }
            Cancellation::Never => Ok(()),
        }
    }

    /// Somebody asked for a running run to be cancelled.
    pub(super) fn request_cancel(&mut self, run_id: RunId, at: Timestamp) -> Result<(), Conflict> {
        let state = self.run(run_id)?.state;
        if state != RunState::Running {
            let why = IllegalTransition { from: state.name(), event: "be asked to stop" };
            return Err(illegal(run_id, why));
        }
        self.touch(run_id)?.cancel_requested_at.get_or_insert(at);
        Ok(())
    }

    /// The run ends as its worker says, or as who gives it up does.
    pub(super) fn complete(&mut self, complete: &CompleteRun) -> Result<(), Conflict> {
        let CompleteRun { run_id, attempt, end, at, progress } = complete;
        self.fenced(*run_id, *attempt)?;
        if self.run(*run_id)?.waiting().is_some_and(|it| it.waits_for == WaitsFor::Jobs) {
            // The attempt ended when it fanned out; what follows is the jobs' to say.
            return Err(Conflict::Fenced { run_id: *run_id, attempt: *attempt });
        }
        self.add(*run_id, progress)?;
        if self.run(*run_id)?.state == RunState::Running {
            self.end_attempt(*run_id, *attempt, AttemptEnd::Completed, *at);
        }
        self.finish(*run_id, *end, *at)
    }

    /// An attempt failed: another one follows, or the end.
    pub(super) fn fail(&mut self, fail: &FailAttempt) -> Result<(), Conflict> {
        let FailAttempt { run_id, attempt, end, at, random, progress } = fail;
        let run = self.run(*run_id)?;
        working(run, *attempt)?;
        let failures = run.failures.saturating_add(1);
        let follows = match run.cancel_requested_at {
            Some(_) => AfterFailure::End,
            None => after_failure(&self.definition(run)?.retry, failures, *random),
        };
        self.add(*run_id, progress)?;
        let AfterFailure::Retry(pause) = follows else {
            self.touch(*run_id)?.failures = failures;
            self.end_attempt(*run_id, *attempt, AttemptEnd::Completed, *at);
            self.finish(*run_id, *end, *at)?;
            return self.notice(*run_id, Noticed::Ended { end: *end, superseded_by: None });
        };
        let until = after(*at, pause);
        self.end_attempt(*run_id, *attempt, AttemptEnd::Failed, *at);
        let waiting = Waiting { waits_for: WaitsFor::BackOff, until: Some(until) };
        self.transit(*run_id, RunEvent::Wait(waiting))?.failures = failures;
        self.keep_lock(*run_id, *at)?;
        self.notice(*run_id, Noticed::AttemptFailed { until })
    }

    /// A dead letter is tried again by a new run.
    pub(super) fn retry(&mut self, retry: &RetryRun) -> Result<(), Conflict> {
        let dead = self.run(retry.dead)?;
        if !dead.is_dead_letter || dead.workspace_id != retry.run.workspace_id {
            return Err(Conflict::NotDead(retry.dead));
        }
        let mut run = (*retry.run).clone();
        run.retried_from = Some(retry.dead);
        let undone = match retry.failed_jobs_only {
            true => self.undone_jobs.get(&retry.dead).cloned().unwrap_or_default(),
            false => Vec::new(),
        };
        if !undone.is_empty() {
            run.jobs = Some(JobCounts::queued(undone.len() as u64));
        }
        self.insert(&run, false)?;
        if !undone.is_empty() {
            let made = MadeJobs { run_id: run.id, jobs: undone, ready: false };
            self.changes.jobs_made.push(made);
        }
        self.touch(retry.dead)?.is_dead_letter = false;
        Ok(())
    }

    /// A dead letter was dealt with otherwise.
    pub(super) fn dismiss(&mut self, run_id: RunId) -> Result<(), Conflict> {
        if !self.run(run_id)?.is_dead_letter {
            return Err(Conflict::NotDead(run_id));
        }
        self.touch(run_id)?.is_dead_letter = false;
        Ok(())
    }

    /// Ends a run and gives its lock back.
    pub(super) fn finish(
        &mut self,
        run_id: RunId,
        end: End,
        at: Timestamp,
    ) -> Result<(), Conflict> {
        let undone = matches!(end, End::Failed | End::PartiallySucceeded);
        let run = self.run(run_id)?;
        // A hosted type that is not there any more has no dead letters to look at.
        let wants_letters = |run| self.definition(run).is_ok_and(|it| it.retry.attempts_max > 0);
        let is_dead_letter = undone && run.cancel_requested_at.is_none() && wants_letters(run);
        let key = lock_key(run);
        let run = self.transit(run_id, RunEvent::Complete(end))?;
        run.is_dead_letter = is_dead_letter;
        run.completed_at = Some(at);
        // One that ends before it began leaves no job that looks as if it were still to be done.
        let left = run.jobs.as_mut().map_or(0, JobCounts::cancel_idle);
        let raised = of_ended_run(run, at);
        if left > 0 {
            self.changes.jobs_cancelled.insert(run_id);
        }
        self.changes.alerts.extend(raised);
        if let Some(key) = key
            && self.locks.get(&key).copied().flatten().is_some_and(|lock| lock.run_id == run_id)
        {
            self.set_lock(key, None);
        }
        Ok(())
    }

    /// The one place where a run's state changes.
    pub(super) fn transit(
        &mut self,
        run_id: RunId,
        event: RunEvent,
    ) -> Result<&mut OperationRun, Conflict> {
        let next = self.run(run_id)?.state.transition(event);
        let next = next.map_err(|why| illegal(run_id, why))?;
        let run = self.touch(run_id)?;
        run.state = next;
        Ok(run)
    }

    /// Fails when this attempt is not the run's latest.
    pub(super) fn fenced(&self, run_id: RunId, attempt: u32) -> Result<(), Conflict> {
        match self.run(run_id)?.attempt == attempt {
            true => Ok(()),
            false => Err(Conflict::Fenced { run_id, attempt }),
        }
    }

    /// A live attempt tells what it did.
    pub(in crate::store) fn progress(
        &mut self,
        run_id: RunId,
        attempt: u32,
        progress: &RunProgress,
    ) -> Result<(), Conflict> {
        working(self.run(run_id)?, attempt)?;
        self.add(run_id, progress)
    }

    /// Adds numbers and failures, replaces details.
    pub(super) fn add(&mut self, run_id: RunId, progress: &RunProgress) -> Result<(), Conflict> {
        if progress.is_empty() {
            return Ok(());
        }
        let run = self.run(run_id)?;
        let (run_type, definition) = (run.run_type(), self.definition(run)?);
        let (mut counts, mut failures) = (run.summary_counts.clone(), run.failure_summary.clone());
        increment_summary_counts(&mut counts, run_type, definition, &progress.counts)
            .and_then(|()| append_failures(&mut failures, run_type, definition, &progress.failures))
            .map_err(Conflict::Unregistered)?;
        let run = self.touch(run_id)?;
        (run.summary_counts, run.failure_summary) = (counts, failures);
        if let Some(details) = &progress.details {
            run.context.details = details.clone();
        }
        self.changes.runs.entry(run_id).or_default().progress = true;
        Ok(())
    }
}
