//! Decides what a write does to the records that it touches: the one meaning of the store, whatever
//! the database. Owns the working set, fencing, locks, limits, jobs and superseding. Face:
//! `Ledger::needs`, `Ledger::apply` and its siblings, `Ledger::into_changes`. Never reads or writes
//! a database: a dialect loads what is needed and writes out what changed.

/// Writes of rows of their own that no other write looks at: the dialect writes them as they are. A
/// pattern, so that a new kind of write has to be put here or dealt with.
macro_rules! rows_of_their_own {
    () => {
        Write::PutQueueControl(_)
            | Write::DropQueueControl { .. }
            | Write::PutRevision(_)
            | Write::Schedule(_)
            | Write::Alert(_)
            | Write::Finding(_)
            | Write::Audit(_)
            | Write::Access(_)
            | Write::Registry(_)
            | Write::Enforcement(_)
            | Write::Scan(_)
            | Write::ExpectProject { .. }
            | Write::ExpectNoProject { .. }
            | Write::ApplyProject { .. }
            | Write::KeepProject { .. }
            | Write::NoteDeployed { .. }
            | Write::ForgetProject { .. }
            | Write::ForgetVolumes { .. }
            | Write::PutAdoption(_)
            | Write::DropAdoptions { .. }
    };
}

mod attempts;
mod changes;
mod columns;
mod jobs;
mod limits;
mod needs;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::ids::{RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Name, Timestamp};
use crate::domain::runs::{
    Attempt, Definition, IllegalTransition, Job, LockScope, OperationRun, QueueControl, QueueScope,
    RunState, RunType, Subject,
};

use super::{Conflict, NewJob, Notice, Noticed, Write};

pub(super) use changes::{AttemptChange, Changes, MadeJobs, Renewal, RunChange};
pub(super) use columns::{StateColumns, state_of};
pub(super) use limits::Held;
pub(super) use needs::{Act, Need};

/// Who holds a subject, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lock {
    /// The run.
    pub(super) run_id: RunId,
    /// When it was taken.
    pub(super) acquired_at: Timestamp,
    /// When others may take it over.
    pub(super) expires_at: Timestamp,
}

/// Where a lock lies.
pub(super) type LockKey = (LockScope, Subject);

/// The records that some writes touch, as they are and as they become. What a dialect puts in is
/// never a change; `None` says that there is no such record.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    runs: BTreeMap<RunId, Option<OperationRun>>,
    /// The run of each identity that is not completed.
    identities: BTreeMap<(WorkspaceId, Digest), Option<RunId>>,
    /// The runs of each lock that are not completed.
    rivals: BTreeMap<LockKey, Vec<RunId>>,
    locks: BTreeMap<LockKey, Option<Lock>>,
    /// The open attempt of each run.
    attempts: BTreeMap<RunId, Option<Attempt>>,
    jobs: BTreeMap<(RunId, String), Option<Job>>,
    /// The jobs of a dead letter that were not done.
    undone_jobs: BTreeMap<RunId, Vec<NewJob>>,
    definitions: BTreeMap<(WorkspaceId, Name), Option<Definition>>,
    revisions: BTreeMap<RevisionId, bool>,
    controls: Option<Vec<QueueControl>>,
    /// How many attempts of a part of the queue are open.
    busy: BTreeMap<(WorkspaceId, QueueScope), u64>,
    locks_changed: BTreeSet<LockKey>,
    changes: Changes,
    notices: Vec<Notice>,
}

impl Ledger {
    /// A run, or that there is none.
    pub(super) fn put_run(&mut self, id: RunId, run: Option<OperationRun>) {
        self.runs.entry(id).or_insert(run);
    }

    /// The run with this identity that is not completed.
    pub(super) fn put_identity(
        &mut self,
        workspace: WorkspaceId,
        identity: Digest,
        run: Option<OperationRun>,
    ) {
        let id = run.as_ref().map(|run| run.id);
        if let Some(run) = run {
            self.put_run(run.id, Some(run));
        }
        self.identities.entry((workspace, identity)).or_insert(id);
    }

    /// The runs that lock a subject, or wait for its lock, and are not completed.
    pub(super) fn put_rivals(&mut self, key: LockKey, runs: Vec<OperationRun>) {
        let ids = runs.iter().map(|run| run.id).collect();
        runs.into_iter().for_each(|run| self.put_run(run.id, Some(run)));
        self.rivals.entry(key).or_insert(ids);
    }

    /// A lock, or that nobody holds it.
    pub(super) fn put_lock(&mut self, key: LockKey, lock: Option<Lock>) {
        self.locks.entry(key).or_insert(lock);
    }

    /// The open attempt of a run, or that there is none.
    pub(super) fn put_attempt(&mut self, run_id: RunId, attempt: Option<Attempt>) {
        self.attempts.entry(run_id).or_insert(attempt);
    }

    /// A job, or that there is none.
    pub(super) fn put_job(&mut self, run_id: RunId, key: &str, job: Option<Job>) {
        self.jobs.entry((run_id, key.to_owned())).or_insert(job);
    }

    /// The jobs of a completed run that failed or were cancelled, in their order.
    pub(super) fn put_undone_jobs(&mut self, run_id: RunId, jobs: Vec<NewJob>) {
        self.undone_jobs.entry(run_id).or_insert(jobs);
    }

    /// The definition of a hosted type, or that there is none.
    pub(super) fn put_definition(
        &mut self,
        workspace: WorkspaceId,
        name: Name,
        definition: Option<Definition>,
    ) {
        self.definitions.entry((workspace, name)).or_insert(definition);
    }

    /// Whether there is such a revision.
    pub(super) fn put_revision(&mut self, id: RevisionId, exists: bool) {
        self.revisions.entry(id).or_insert(exists);
    }

    /// All that holds parts of the queue back.
    pub(super) fn put_controls(&mut self, controls: Vec<QueueControl>) {
        self.controls.get_or_insert(controls);
    }

    /// How many attempts of a part of the queue are open.
    pub(super) fn put_busy(&mut self, workspace: WorkspaceId, scope: QueueScope, count: u64) {
        self.busy.entry((workspace, scope)).or_insert(count);
    }

    /// A run as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn run(&self, id: RunId) -> Result<&OperationRun, Conflict> {
        let found = self.runs.get(&id).and_then(Option::as_ref);
        found.ok_or_else(|| Conflict::Missing { noun: "run", id: id.to_string() })
    }

    /// Applies one write.
    ///
    /// # Errors
    /// When a record is not in the state that the write expects. The set is of no use then.
    pub(super) fn apply(&mut self, write: &Write) -> Result<(), Conflict> {
        match write {
            Write::ExpectActive { run_id } => match self.run(*run_id)?.state.is_completed() {
                true => Err(Conflict::Ended(*run_id)),
                false => Ok(()),
            },
            Write::ExpectLease { attempt, lease_until } => self.expect_lease(attempt, *lease_until),
            Write::InsertRun(run) => self.insert(run, false),
            Write::InsertBulk(bulk) => self.insert_bulk(bulk),
            Write::StartAttempt(start) => self.start_attempt(start),
            Write::InterruptAttempt { run_id, attempt, end, at, progress } => {
                self.interrupt(*run_id, *attempt, *end, *at, progress)
            }
            Write::WaitRun { run_id, attempt, waiting, at, progress } => {
                self.wait(*run_id, *attempt, *waiting, *at, progress)
            }
            Write::WakeRun { run_id } => self.wake(*run_id),
            Write::DecideRun { run_id, attempt, details } => {
                self.decide(*run_id, *attempt, details)
            }
            Write::RequestCancel { run_id, at } => self.request_cancel(*run_id, *at),
            Write::CompleteRun(complete) => self.complete(complete),
            Write::FailAttempt(fail) => self.fail(fail),
            Write::CancelRun { run_id, at } => self.cancel(*run_id, *at, None),
            Write::FanOut(fan_out) => self.fan_out(fan_out),
            Write::AdvanceJob(advance) => self.advance_job(advance),
            Write::EndJob(end) => self.end_job(end),
            Write::InterruptJob { run_id, key, attempt, end, at } => {
                self.interrupt_job(*run_id, key, *attempt, *end, *at)
            }
            Write::RetryRun(retry) => self.retry(retry),
            Write::DismissRun { run_id } => self.dismiss(*run_id),
            Write::PutHostedType(hosted) => {
                let key = (hosted.workspace_id, hosted.name);
                self.definitions.insert(key, Some(hosted.definition.clone()));
                Ok(())
            }
            Write::DropHostedType { workspace_id, name } => {
                self.definitions.insert((*workspace_id, *name), None);
                Ok(())
            }
            rows_of_their_own!() => Ok(()),
        }
    }

    /// What was decided since the last call.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What is to be written out, since the last call.
    pub(super) fn take_changes(&mut self) -> Changes {
        let mut changes = std::mem::take(&mut self.changes);
        for key in std::mem::take(&mut self.locks_changed) {
            let lock = self.locks.get(&key).copied().flatten();
            changes.locks.push((key, lock));
        }
        changes
    }

    /// A job as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn job(&self, run_id: RunId, key: &str) -> Result<&Job, Conflict> {
        let found = self.jobs.get(&(run_id, key.to_owned())).and_then(Option::as_ref);
        found.ok_or_else(|| Conflict::Missing { noun: "job", id: format!("{run_id}/{key}") })
    }

    /// A run, to be changed in its columns of state.
    fn touch(&mut self, id: RunId) -> Result<&mut OperationRun, Conflict> {
        let run = self.runs.get_mut(&id).and_then(Option::as_mut);
        let run = run.ok_or_else(|| Conflict::Missing { noun: "run", id: id.to_string() })?;
        self.changes.runs.entry(id).or_default().state = true;
        Ok(run)
    }

    fn set_lock(&mut self, key: LockKey, lock: Option<Lock>) {
        self.locks.insert(key.clone(), lock);
        self.locks_changed.insert(key);
    }

    fn notice(&mut self, run_id: RunId, what: Noticed) -> Result<(), Conflict> {
        let run = self.run(run_id)?.clone();
        self.notices.push(Notice { run, what });
        Ok(())
    }

    /// What is fixed about runs of a type.
    ///
    /// # Errors
    /// When a hosted type is not registered.
    fn definition(&self, run: &OperationRun) -> Result<&Definition, Conflict> {
        let run_type = run.run_type();
        if let Some(definition) = run_type.built_in() {
            return Ok(definition);
        }
        let hosted = match run_type {
            RunType::Hosted(name) => self.definitions.get(&(run.workspace_id, name)),
            _ => None,
        };
        let missing = || Conflict::Missing { noun: "hosted type", id: run_type.to_string() };
        hosted.and_then(Option::as_ref).ok_or_else(missing)
    }
}

/// Where the lock of a run lies; none for one that locks nothing.
fn lock_key(run: &OperationRun) -> Option<LockKey> {
    Some((run.lock_scope()?, run.subject.clone()?))
}

/// Where the lock lies of what a job locks beside its run.
fn job_lock_key(run: &OperationRun, job: &Job) -> Option<LockKey> {
    Some((run.lock_scope()?, run.context.inputs.job_subject(job.tenant_id)?))
}

fn illegal(run_id: RunId, why: IllegalTransition) -> Conflict {
    Conflict::Illegal { run_id, why }
}

/// The run is executed by this attempt: what a worker's writes need.
fn working(run: &OperationRun, attempt: u32) -> Result<(), Conflict> {
    match run.attempt == attempt && run.state == RunState::Running {
        true => Ok(()),
        false => Err(Conflict::Fenced { run_id: run.id, attempt }),
    }
}
