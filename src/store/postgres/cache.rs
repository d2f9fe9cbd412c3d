//! Holds the rows that one transaction has looked at, as they are and as its callers change them one
//! after the other. Owns the loading. Face: `Cache::begin`, `provide`, `absorb`. Never gives one
//! caller's refused changes to the next: each decides on a ledger of his own, filled from here.

use std::collections::{BTreeMap, BTreeSet};

use super::acts::acts;
use super::batch::Work;
use super::claims::{self, Ahead, Queue};
use super::fault::Fault;
use super::loads;
use super::server::Session;
use crate::base::ids::{RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Name};
use crate::domain::runs::{Attempt, Definition, Job, OperationRun, QueueControl, RunType};
use crate::store::NewJob;
use crate::store::ledger::{Act, Changes, Held, Ledger, Lock, LockKey, Need};

/// The rows. What is absent was not looked at; `None` says that there is no such row.
#[derive(Debug, Default)]
pub(super) struct Cache {
    pub(super) runs: BTreeMap<RunId, Option<OperationRun>>,
    pub(super) identities: BTreeMap<(WorkspaceId, Digest), Option<RunId>>,
    pub(super) rivals: BTreeMap<LockKey, Vec<RunId>>,
    pub(super) locks: BTreeMap<LockKey, Option<Lock>>,
    /// Locks that have a row, which nobody else changes while this transaction lasts.
    pub(super) locks_stored: BTreeSet<LockKey>,
    pub(super) attempts: BTreeMap<RunId, Option<Attempt>>,
    pub(super) jobs: BTreeMap<(RunId, String), Option<Job>>,
    pub(super) undone_jobs: BTreeMap<RunId, Vec<NewJob>>,
    pub(super) definitions: BTreeMap<(WorkspaceId, Name), Option<Definition>>,
    pub(super) revisions: BTreeMap<RevisionId, bool>,
    pub(super) controls: Option<Vec<QueueControl>>,
    pub(super) busy: BTreeMap<Held, u64>,
    /// What the claims of this transaction look for.
    pub(super) queues: Vec<Queue>,
    /// Whether runs of a type waited for a worker when the transaction began.
    pub(super) ready_types: BTreeMap<RunType, bool>,
    /// Candidates that a claim of this transaction has looked at: no other one does.
    pub(super) tried_runs: BTreeSet<RunId>,
    pub(super) tried_jobs: BTreeSet<(RunId, String)>,
}

impl Cache {
    /// An empty one, in whose transaction these revisions are stored.
    pub(super) fn expecting(revisions: &[RevisionId]) -> Self {
        let revisions = revisions.iter().map(|id| (*id, true)).collect();
        Self { revisions, ..Self::default() }
    }

    /// Begins the transaction, and loads what the works will look at as far as it is known now.
    /// Answers whether what was due became ready.
    pub(super) async fn begin(
        &mut self,
        session: &Session,
        works: &[&Work],
        is_held_back: bool,
    ) -> Result<bool, Fault> {
        let acts: Vec<Vec<Act<'_>>> = works.iter().map(|work| acts(work)).collect();
        let Ahead { mut needs, calls, asked } = claims::ahead(self, works, is_held_back);
        needs.extend(self.missing(&acts));
        let answers = loads::begin(self, session, needs, calls).await?;
        let is_due = claims::absorb(session, self, asked, &answers).await?;
        self.prefetch(session, &acts).await?;
        Ok(is_due)
    }

    /// Loads what these acts, each for itself, will look at.
    pub(super) async fn prefetch(
        &mut self,
        session: &Session,
        acts: &[Vec<Act<'_>>],
    ) -> Result<(), Fault> {
        loop {
            let needs = self.missing(acts);
            if needs.is_empty() {
                return Ok(());
            }
            self.load(session, needs).await?;
        }
    }

    /// What the acts of each caller look at and is not here.
    fn missing(&self, acts: &[Vec<Act<'_>>]) -> BTreeSet<Need> {
        let mut missing = BTreeSet::new();
        for acts in acts {
            let mut ledger = Ledger::default();
            for act in acts {
                self.fill(&mut ledger, *act, &mut missing);
            }
        }
        missing
    }

    /// Fills a ledger from here with all that the act looks at, as far as it is here.
    fn fill(&self, ledger: &mut Ledger, act: Act<'_>, missing: &mut BTreeSet<Need>) {
        loop {
            let needs = ledger.needs(act);
            let mut is_filled = false;
            for need in needs {
                if self.put(&need, ledger) {
                    is_filled = true;
                } else {
                    missing.insert(need);
                }
            }
            if !is_filled {
                return;
            }
        }
    }

    /// Fills a ledger with all that the act looks at.
    pub(super) async fn provide(
        &mut self,
        session: &Session,
        ledger: &mut Ledger,
        act: Act<'_>,
    ) -> Result<(), Fault> {
        loop {
            let mut missing = BTreeSet::new();
            self.fill(ledger, act, &mut missing);
            if missing.is_empty() {
                return Ok(());
            }
            self.load(session, missing).await?;
        }
    }

    /// Fills a ledger with what holds parts of the queue back, and how full they are.
    pub(super) async fn provide_limits(
        &mut self,
        session: &Session,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        if self.controls.is_none() {
            self.load(session, BTreeSet::from([Need::Controls])).await?;
        }
        self.put(&Need::Controls, ledger);
        let busy = ledger.limited().into_iter().map(|(id, scope)| Need::Busy(id, scope));
        let busy: BTreeSet<Need> = busy.collect();
        let missing: BTreeSet<Need> =
            busy.iter().filter(|need| !self.put(need, ledger)).cloned().collect();
        if !missing.is_empty() {
            self.load(session, missing.clone()).await?;
            for need in &missing {
                self.put(need, ledger);
            }
        }
        Ok(())
    }

    async fn load(&mut self, session: &Session, needs: BTreeSet<Need>) -> Result<(), Fault> {
        loads::load(self, session, needs).await
    }

    /// Puts one row into a ledger; false when it is not here.
    fn put(&self, need: &Need, ledger: &mut Ledger) -> bool {
        match need {
            Need::Run(id) => {
                let Some(run) = self.runs.get(id) else { return false };
                ledger.put_run(*id, run.clone());
            }
            Need::Identity(workspace, identity) => {
                let Some(id) = self.identities.get(&(*workspace, *identity)) else { return false };
                let run = id.and_then(|id| self.runs.get(&id).cloned().flatten());
                ledger.put_identity(*workspace, *identity, run);
            }
            Need::Rivals(key) => {
                let Some(ids) = self.rivals.get(key) else { return false };
                let runs = ids.iter().filter_map(|id| self.runs.get(id).cloned().flatten());
                ledger.put_rivals(key.clone(), runs.collect());
            }
            Need::Lock(key) => {
                let Some(lock) = self.locks.get(key) else { return false };
                ledger.put_lock(key.clone(), *lock);
            }
            Need::Attempt(run_id) => {
                let Some(attempt) = self.attempts.get(run_id) else { return false };
                ledger.put_attempt(*run_id, attempt.clone());
            }
            Need::Job(run_id, key) => {
                let Some(job) = self.jobs.get(&(*run_id, key.clone())) else { return false };
                ledger.put_job(*run_id, key, job.clone());
            }
            Need::UndoneJobs(run_id) => {
                let Some(jobs) = self.undone_jobs.get(run_id) else { return false };
                ledger.put_undone_jobs(*run_id, jobs.clone());
            }
            Need::Definition(workspace, name) => {
                let found = self.definitions.get(&(*workspace, *name));
                let Some(definition) = found else { return false };
                ledger.put_definition(*workspace, *name, definition.clone());
            }
            Need::Revision(id) => {
                let Some(exists) = self.revisions.get(id) else { return false };
                ledger.put_revision(*id, *exists);
            }
            Need::Controls => {
                let Some(controls) = &self.controls else { return false };
                ledger.put_controls(controls.clone());
            }
            Need::Busy(workspace, scope) => {
                let Some(count) = self.busy.get(&(*workspace, *scope)) else { return false };
                ledger.put_busy(*workspace, *scope, *count);
            }
        }
        true
    }

    /// Takes over what a caller changed, for the callers after him.
    pub(super) fn absorb(&mut self, ledger: &Ledger, changes: &Changes) {
        for (id, change) in &changes.runs {
            let Some(run) = ledger.changed_run(*id).cloned() else { continue };
            if change.inserted {
                self.identities.insert((run.workspace_id, run.run_identity_hash), Some(*id));
                if let (Some(scope), Some(subject)) = (run.lock_scope(), run.subject.clone())
                    && let Some(rivals) = self.rivals.get_mut(&(scope, subject))
                {
                    rivals.push(*id);
                }
            }
            self.runs.insert(*id, Some(run));
        }
        for (key, lock) in &changes.locks {
            self.locks.insert(key.clone(), *lock);
        }
        for ((run_id, _), change) in &changes.attempts {
            let open = change.begun.clone().filter(|_| change.ended.is_none());
            self.attempts.insert(*run_id, open);
        }
        for ((run_id, _), renewal) in &changes.renewals {
            if let Some(Some(open)) = self.attempts.get_mut(run_id) {
                (open.heartbeat_at, open.lease_until) = (renewal.at, renewal.lease_until);
            }
        }
        for key in &changes.jobs {
            if let Some(job) = ledger.changed_job(key) {
                self.jobs.insert(key.clone(), Some(job.clone()));
            }
        }
        for (held, count) in &mut self.busy {
            *count = ledger.busy(held).unwrap_or(*count);
        }
    }
}
