//! Says which records a write looks at. Owns the list per write. Face: `Ledger::needs`. Never
//! names a record twice that is there already, so a dialect loads until nothing is needed.

use crate::base::ids::{RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Name};
use crate::domain::runs::{End, Inputs, OperationRun, QueueScope, RunType};
use crate::store::{AttemptRef, RunProgress, SignOfLife, Write};

use super::{Ledger, Lock, LockKey, job_lock_key, lock_key};

/// Something that is about to be done to the records.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Act<'a> {
    /// A write of a caller.
    Write(&'a Write),
    /// A run is admitted.
    Insert {
        /// The run.
        run: &'a OperationRun,
        /// Whether it ends older ones.
        supersedes: bool,
    },
    /// Somebody takes a run.
    Start {
        /// The run.
        run_id: RunId,
    },
    /// Somebody takes a job.
    StartJob {
        /// The bulk run.
        run_id: RunId,
        /// The job.
        key: &'a str,
    },
    /// A live attempt tells what it did.
    Progress {
        /// The run.
        run_id: RunId,
        /// What.
        progress: &'a RunProgress,
    },
    /// A hosted worker gives a sign of life.
    SignOfLife(&'a SignOfLife),
}

/// A record, or a count, that is looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Need {
    /// A run.
    Run(RunId),
    /// The run with this identity that is not completed.
    Identity(WorkspaceId, Digest),
    /// All runs of this lock that are not completed.
    Rivals(LockKey),
    /// A lock.
    Lock(LockKey),
    /// The open attempt of a run.
    Attempt(RunId),
    /// A job.
    Job(RunId, String),
    /// The jobs of a completed run that failed or were cancelled.
    UndoneJobs(RunId),
    /// A hosted type.
    Definition(WorkspaceId, Name),
    /// Whether a revision exists.
    Revision(RevisionId),
    /// All that holds parts of the queue back, of every workspace.
    Controls,
    /// How many attempts and jobs of a part of the queue are being executed.
    Busy(WorkspaceId, QueueScope),
}

impl Ledger {
    /// What is to be put in before the act is done. Ask again after that: some needs follow from
    /// the records of others.
    pub(in crate::store) fn needs(&self, act: Act<'_>) -> Vec<Need> {
        let mut needs = Vec::new();
        match act {
            Act::Write(write) => self.needs_of_write(write, &mut needs),
            Act::Insert { run, supersedes } => self.needs_of_insert(run, supersedes, &mut needs),
            Act::Start { run_id } => self.needs_of_start(run_id, true, &mut needs),
            Act::StartJob { run_id, key } => {
                self.need_job(run_id, key, &mut needs);
                if let Some(Some(lock)) = self.need_job_lock(run_id, key, &mut needs)
                    && lock.run_id != run_id
                {
                    self.need_run(lock.run_id, &mut needs);
                }
                self.need_limits(run_id, &mut needs);
                self.need_definition(run_id, &mut needs);
            }
            Act::Progress { run_id, progress } => self.need_progress(run_id, progress, &mut needs),
            Act::SignOfLife(sign) => self.needs_of_sign(sign, &mut needs),
        }
        needs
    }

    fn needs_of_write(&self, write: &Write, needs: &mut Vec<Need>) {
        match write {
            Write::InsertRun(run) => self.needs_of_insert(run, false, needs),
            Write::InsertBulk(bulk) => self.needs_of_insert(&bulk.run, bulk.supersedes, needs),
            Write::StartAttempt(start) => self.needs_of_start(start.run_id, false, needs),
            Write::InterruptAttempt { run_id, progress, .. } => {
                self.need_progress(*run_id, progress, needs);
            }
            Write::WaitRun { run_id, progress, .. } => {
                self.need_progress(*run_id, progress, needs);
                self.need_lock(*run_id, needs);
            }
            Write::ExpectActive { run_id }
            | Write::WakeRun { run_id }
            | Write::RequestCancel { run_id, .. }
            | Write::DismissRun { run_id } => {
                let _ = self.need_run(*run_id, needs);
            }
            Write::ExpectLease { attempt, .. } => self.need_lease(attempt, needs),
            Write::DecideRun { run_id, .. } => self.need_definition(*run_id, needs),
            Write::CompleteRun(complete) => {
                self.need_progress(complete.run_id, &complete.progress, needs);
                self.need_lock(complete.run_id, needs);
                if matches!(complete.end, End::Failed | End::PartiallySucceeded) {
                    self.need_definition(complete.run_id, needs);
                }
            }
            Write::FailAttempt(fail) => {
                self.need_definition(fail.run_id, needs);
                self.need_lock(fail.run_id, needs);
            }
            Write::CancelRun { run_id, .. } => self.need_lock(*run_id, needs),
            Write::FanOut(fan_out) => {
                self.need_definition(fan_out.run_id, needs);
                self.need_lock(fan_out.run_id, needs);
            }
            Write::AdvanceJob(advance) => {
                self.need_job(advance.run_id, &advance.key, needs);
                self.need_job_lock(advance.run_id, &advance.key, needs);
                self.need_definition(advance.run_id, needs);
            }
            Write::EndJob(end) => self.needs_of_job_end(end.run_id, &end.key, needs),
            Write::InterruptJob { run_id, key, .. } => self.needs_of_job_end(*run_id, key, needs),
            Write::RetryRun(retry) => {
                let _ = self.need_run(retry.dead, needs);
                self.needs_of_insert(&retry.run, false, needs);
                if retry.failed_jobs_only && !self.undone_jobs.contains_key(&retry.dead) {
                    needs.push(Need::UndoneJobs(retry.dead));
                }
            }
            Write::PutHostedType(_) | Write::DropHostedType { .. } | rows_of_their_own!() => {}
        }
    }

    fn needs_of_insert(&self, run: &OperationRun, supersedes: bool, needs: &mut Vec<Need>) {
        let identity = (run.workspace_id, run.run_identity_hash);
        if !self.identities.contains_key(&identity) {
            needs.push(Need::Identity(identity.0, identity.1));
        }
        if let Inputs::DeployProject(deploy) = &run.context.inputs
            && !self.revisions.contains_key(&deploy.revision_id)
        {
            needs.push(Need::Revision(deploy.revision_id));
        }
        if let RunType::Hosted(name) = run.run_type()
            && !self.definitions.contains_key(&(run.workspace_id, name))
        {
            needs.push(Need::Definition(run.workspace_id, name));
        }
        if let Some(key) = lock_key(run).filter(|_| supersedes) {
            match self.rivals.contains_key(&key) {
                false => needs.push(Need::Rivals(key)),
                // A rival that ends gives its lock back.
                true if !self.locks.contains_key(&key) => needs.push(Need::Lock(key)),
                true => {}
            }
        }
    }

    fn needs_of_start(&self, run_id: RunId, limited: bool, needs: &mut Vec<Need>) {
        self.need_lock(run_id, needs);
        let key = self.known(run_id).and_then(lock_key);
        if let Some(Some(lock)) = key.and_then(|key| self.locks.get(&key))
            && lock.run_id != run_id
        {
            self.need_run(lock.run_id, needs);
        }
        if limited {
            self.need_limits(run_id, needs);
            self.need_definition(run_id, needs);
        }
    }

    fn needs_of_sign(&self, sign: &SignOfLife, needs: &mut Vec<Need>) {
        let run_id = sign.attempt.run_id;
        self.need_definition(run_id, needs);
        self.need_lease(&sign.attempt, needs);
        if sign.attempt.job.is_none() {
            self.need_lock(run_id, needs);
        }
    }

    fn needs_of_job_end(&self, run_id: RunId, key: &str, needs: &mut Vec<Need>) {
        self.need_job(run_id, key, needs);
        self.need_job_lock(run_id, key, needs);
        self.need_definition(run_id, needs);
        self.need_lock(run_id, needs);
    }

    /// The lock of what a job locks beside its run, as far as both are known.
    fn need_job_lock(
        &self,
        run_id: RunId,
        key: &str,
        needs: &mut Vec<Need>,
    ) -> Option<Option<Lock>> {
        let job = self.jobs.get(&(run_id, key.to_owned()))?.as_ref()?;
        let lock_key = job_lock_key(self.known(run_id)?, job)?;
        let lock = self.locks.get(&lock_key).copied();
        if lock.is_none() {
            needs.push(Need::Lock(lock_key));
        }
        lock
    }

    fn known(&self, run_id: RunId) -> Option<&OperationRun> {
        self.runs.get(&run_id).and_then(Option::as_ref)
    }

    fn need_run(&self, run_id: RunId, needs: &mut Vec<Need>) -> Option<&OperationRun> {
        if !self.runs.contains_key(&run_id) && !needs.contains(&Need::Run(run_id)) {
            needs.push(Need::Run(run_id));
        }
        self.known(run_id)
    }

    fn need_job(&self, run_id: RunId, key: &str, needs: &mut Vec<Need>) {
        self.need_run(run_id, needs);
        if !self.jobs.contains_key(&(run_id, key.to_owned())) {
            needs.push(Need::Job(run_id, key.to_owned()));
        }
    }

    fn need_lease(&self, attempt: &AttemptRef, needs: &mut Vec<Need>) {
        let run_id = attempt.run_id;
        match &attempt.job {
            Some(key) => self.need_job(run_id, key, needs),
            None => {
                self.need_run(run_id, needs);
                if !self.attempts.contains_key(&run_id) {
                    needs.push(Need::Attempt(run_id));
                }
            }
        }
    }

    fn need_lock(&self, run_id: RunId, needs: &mut Vec<Need>) {
        let key = self.need_run(run_id, needs).and_then(lock_key);
        if let Some(key) = key.filter(|key| !self.locks.contains_key(key)) {
            needs.push(Need::Lock(key));
        }
    }

    fn need_definition(&self, run_id: RunId, needs: &mut Vec<Need>) {
        if let Some(run) = self.need_run(run_id, needs)
            && let RunType::Hosted(name) = run.run_type()
            && !self.definitions.contains_key(&(run.workspace_id, name))
        {
            needs.push(Need::Definition(run.workspace_id, name));
        }
    }

    fn need_progress(&self, run_id: RunId, progress: &RunProgress, needs: &mut Vec<Need>) {
        match progress.is_empty() {
            true => {
                let _ = self.need_run(run_id, needs);
            }
            false => self.need_definition(run_id, needs),
        }
    }

    fn need_limits(&self, run_id: RunId, needs: &mut Vec<Need>) {
        let Some(controls) = &self.controls else {
            needs.push(Need::Controls);
            return;
        };
        let Some(run) = self.need_run(run_id, needs) else { return };
        let limited = controls.iter().filter(|control| {
            control.concurrency_max.is_some() && control.workspace_id == run.workspace_id
        });
        for control in limited {
            let key = (control.workspace_id, control.scope);
            if !self.busy.contains_key(&key) {
                needs.push(Need::Busy(key.0, key.1));
            }
        }
    }
}
