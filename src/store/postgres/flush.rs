//! Writes out what the callers of a transaction changed: one statement per kind, whatever the
//! number. Owns the order of the statements. Face: `Pending`, `Calls`. Never changes a row that the
//! ledger did not.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::ToSql;

use super::cache::Cache;
use super::fault::Fault;
use super::news::{Topic, Topics};
use super::projects::{self, SealedRevision};
use super::rows::{nanos, optional_nanos, signed, to_json};
use super::statements::Sql;
use crate::base::Timestamp;
use crate::base::ids::{RunId, WorkspaceId};
use crate::domain::alerts::AlertEvent;
use crate::domain::runs::{
    Agent, Attempt, Job, JobState, OperationRun, Source, StepRecord, Subject,
};
use crate::store::ledger::{
    AttemptChange, Changes, Ledger, Lock, LockKey, MadeJobs, Renewal, RunChange, StateColumns,
};
use crate::store::{ContainerExit, Write};

/// A value that a statement takes with it.
pub(super) type Owned = Box<dyn ToSql + Sync + Send>;

/// Statements that follow each other without waiting for answers.
#[derive(Default)]
pub(super) struct Calls(pub(super) Vec<(Sql, Vec<Owned>)>);

impl Calls {
    pub(super) fn add(&mut self, sql: Sql, values: Vec<Owned>) {
        self.0.push((sql, values));
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which statements, in their order.
    pub(super) fn kinds(&self) -> Vec<Sql> {
        self.0.iter().map(|(sql, _)| *sql).collect()
    }
}

/// Columns of rows that go to the server as arrays.
macro_rules! columns {
    ($rows:expr, $row:ident => $($value:expr),+ $(,)?) => {
        vec![$(Box::new($rows.iter().map(|$row| $value).collect::<Vec<_>>()) as Owned),+]
    };
}

/// What is not written out yet.
#[derive(Default)]
pub(super) struct Pending {
    runs: BTreeMap<RunId, RunChange>,
    locks: BTreeMap<LockKey, Option<Lock>>,
    attempts: BTreeMap<(RunId, u32), AttemptChange>,
    renewals: BTreeMap<(RunId, u32), Renewal>,
    jobs_made: Vec<MadeJobs>,
    jobs: BTreeSet<(RunId, String)>,
    jobs_opened: BTreeSet<RunId>,
    jobs_cancelled: BTreeSet<RunId>,
    alerts: Vec<AlertEvent>,
    /// Before the changes above.
    first: Calls,
    /// After them.
    last: Calls,
    /// Something changed that others than the callers looked at already.
    touched: bool,
    has_controls: bool,
    /// Where other agents have to look.
    pub(super) topics: Topics,
    /// Attempts ended: others may begin where there is a limit.
    pub(super) frees_places: bool,
}

impl Pending {
    /// Adds what a caller changed, and shows it to the callers after him.
    pub(super) fn add(&mut self, ledger: &mut Ledger, cache: &mut Cache) {
        let changes = ledger.take_changes();
        cache.absorb(ledger, &changes);
        let Changes {
            runs,
            locks,
            attempts,
            renewals,
            jobs_made,
            jobs,
            jobs_opened,
            jobs_cancelled,
            alerts,
        } = changes;
        self.alerts.extend(alerts);
        for (id, change) in runs {
            if let Some(Some(run)) = cache.runs.get(&id) {
                self.topics.extend(topics(run));
            }
            let known = self.runs.entry(id).or_default();
            known.inserted |= change.inserted;
            known.state |= change.state;
            known.progress |= change.progress;
        }
        for (key, lock) in locks {
            if lock.is_none() {
                self.topics.insert(Topic::Work);
            }
            self.locks.insert(key, lock);
        }
        for (key, change) in attempts {
            let known = self.attempts.entry(key).or_default();
            known.begun = change.begun.or(known.begun.take());
            known.ended = change.ended.or(known.ended);
            self.frees_places |= known.ended.is_some();
        }
        self.renewals.extend(renewals);
        let of_jobs = jobs.iter().filter_map(|key| cache.jobs.get(key)?.as_ref());
        for state in of_jobs.map(|job| &job.state) {
            self.frees_places |= !matches!(state, JobState::Running);
            if matches!(state, JobState::Queued | JobState::Waiting { .. }) {
                self.topics.insert(Topic::Work);
            }
        }
        if !jobs_opened.is_empty() || !jobs_made.is_empty() {
            self.topics.insert(Topic::Work);
        }
        self.jobs_made.extend(jobs_made);
        self.jobs.extend(jobs);
        self.jobs_opened.extend(jobs_opened);
        self.jobs_cancelled.extend(jobs_cancelled);
    }

    /// What the ends of runs raised: the rules say who hears of it.
    pub(super) fn take_alerts(&mut self) -> Vec<AlertEvent> {
        std::mem::take(&mut self.alerts)
    }

    /// Rows changed without the ledger.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    /// Whether many rows change that no caller has looked at.
    pub(super) fn is_mass(&self) -> bool {
        self.has_controls
            || !self.jobs_made.is_empty()
            || !self.jobs_opened.is_empty()
            || !self.jobs_cancelled.is_empty()
    }

    /// Whether nothing has changed or will.
    pub(super) fn is_idle(&self) -> bool {
        !self.touched
            && !self.is_mass()
            && self.runs.is_empty()
            && self.locks.is_empty()
            && self.attempts.is_empty()
            && self.renewals.is_empty()
            && self.jobs.is_empty()
            && self.first.is_empty()
            && self.last.is_empty()
    }

    /// Stores a bundle.
    pub(super) fn put_revision(&mut self, host: &str, revision: &SealedRevision) {
        projects::put_revision(&mut self.first, host, revision);
    }

    /// Writes a row that no other write looks at.
    pub(super) fn put_row(&mut self, host: &str, write: &Write) -> Result<(), Fault> {
        match write {
            Write::PutHostedType(hosted) => {
                let definition = to_json(&hosted.definition, "definition")?;
                let values: Vec<Owned> = vec![
                    Box::new(hosted.workspace_id.to_string()),
                    Box::new(hosted.name.to_string()),
                    Box::new(definition),
                    Box::new(nanos(hosted.registered_at)),
                    Box::new(nanos(hosted.updated_at)),
                ];
                self.last.add(Sql::PutHostedType, values);
                // The definition is looked at by whoever comes next.
                self.has_controls = true;
            }
            Write::PutQueueControl(control) => {
                let values: Vec<Owned> = vec![
                    Box::new(control.workspace_id.to_string()),
                    Box::new(control.scope.to_string()),
                    Box::new(i64::from(control.is_paused)),
                    Box::new(control.concurrency_max.map(i64::from)),
                ];
                self.last.add(Sql::PutQueueControl, values);
                self.has_controls = true;
                self.topics.insert(Topic::Work);
            }
            Write::DropQueueControl { workspace_id, scope } => {
                let values: Vec<Owned> =
                    vec![Box::new(workspace_id.to_string()), Box::new(scope.to_string())];
                self.last.add(Sql::DropQueueControl, values);
                self.has_controls = true;
                self.topics.insert(Topic::Work);
            }
            write => projects::write(&mut self.last, host, write)?,
        }
        Ok(())
    }

    /// A step began or ended. Its attempt has a row already: its worker was told of it.
    pub(super) fn put_step(&mut self, step: &StepRecord) -> Result<(), Fault> {
        let values: Vec<Owned> = vec![
            Box::new(step.run_id.to_string()),
            Box::new(i64::from(step.attempt)),
            Box::new(i64::from(step.index)),
            Box::new(step.key.clone()),
            Box::new(step.description.as_str().to_owned()),
            Box::new(step.cause.as_str().to_owned()),
            Box::new(to_json(&step.undo, "undo")?),
            Box::new(step.status.key()),
            Box::new(nanos(step.started_at)),
            Box::new(optional_nanos(step.ended_at)),
            Box::new(step.detail.as_ref().map(|detail| detail.as_str().to_owned())),
        ];
        self.first.add(Sql::PutStep, values);
        Ok(())
    }

    /// An agent has started; older ones of its host have not survived it.
    pub(super) fn register_agent(&mut self, agent: &Agent) {
        let host = agent.host_id.to_string();
        self.last.add(Sql::DropAgents, vec![Box::new(host.clone())]);
        let values: Vec<Owned> = vec![
            Box::new(agent.instance.clone()),
            Box::new(host),
            Box::new(agent.boot_id.clone()),
            Box::new(agent.hostname.clone()),
            Box::new(nanos(agent.started_at)),
            Box::new(nanos(agent.heartbeat_at)),
        ];
        self.last.add(Sql::InsertAgent, values);
    }

    /// An agent is alive, and with it what it executes and what waits without a worker.
    pub(super) fn heartbeat(&mut self, instance: &str, at: Timestamp, lease_until: Timestamp) {
        for sql in [Sql::BeatAttempts, Sql::BeatJobs, Sql::BeatLocks, Sql::BeatAgent] {
            let mut values: Vec<Owned> = vec![Box::new(instance.to_owned())];
            if matches!(sql, Sql::BeatAttempts | Sql::BeatAgent) {
                values.push(Box::new(nanos(at)));
            }
            if sql != Sql::BeatAgent {
                values.push(Box::new(nanos(lease_until)));
            }
            self.last.add(sql, values);
        }
    }

    /// A container exited.
    pub(super) fn put_exit(&mut self, host: &str, exit: &ContainerExit) {
        projects::record_exit(&mut self.last, host, exit);
    }

    /// Containers run again whose exits were remembered.
    pub(super) fn forget_exits(&mut self, host: &str, of: (WorkspaceId, &str), ids: &[String]) {
        projects::note_names(&mut self.last, Sql::ForgetExits, host, of, ids);
    }

    /// Anonymous volumes are about to be removed.
    pub(super) fn doom_volumes(&mut self, host: &str, of: (WorkspaceId, &str), names: &[String]) {
        projects::note_names(&mut self.last, Sql::DoomVolumes, host, of, names);
    }

    /// The statements that write it all out; nothing is pending then.
    pub(super) fn take(&mut self, cache: &Cache) -> Result<Calls, Fault> {
        let pending = std::mem::take(self);
        (self.topics, self.frees_places) = (pending.topics, pending.frees_places);
        self.touched = true;
        self.alerts = pending.alerts;
        let mut calls = pending.first;
        write_runs(&mut calls, cache, &pending.runs)?;
        write_locks(&mut calls, cache, &pending.locks);
        write_attempts(&mut calls, &pending.attempts);
        if !pending.renewals.is_empty() {
            let (keys, renewals): (Vec<_>, Vec<_>) = pending.renewals.into_iter().unzip();
            let mut values = columns!(keys, key => key.0.to_string(), i64::from(key.1));
            values.extend(columns!(renewals, it => nanos(it.at), nanos(it.lease_until)));
            calls.add(Sql::RenewAttempts, values);
        }
        for made in &pending.jobs_made {
            make_jobs(&mut calls, cache, made);
        }
        let jobs = pending.jobs.iter().filter_map(|key| cache.jobs.get(key)?.as_ref());
        write_jobs(&mut calls, &jobs.collect::<Vec<_>>());
        for (sql, ids) in
            [(Sql::OpenJobs, pending.jobs_opened), (Sql::CancelJobs, pending.jobs_cancelled)]
        {
            if !ids.is_empty() {
                let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
                calls.add(sql, vec![Box::new(ids)]);
            }
        }
        calls.append(pending.last);
        Ok(calls)
    }
}

/// Where other agents have to look because a run is as it is now.
fn topics(run: &OperationRun) -> impl Iterator<Item = Topic> {
    let columns = StateColumns::of(run);
    let is_over = run.state.is_completed();
    let told = [
        (Topic::Work, columns.ready || columns.wait_until.is_some()),
        (Topic::Cancel, run.cancel_requested_at.is_some() && !is_over),
        (Topic::Schedule, run.source == Source::Schedule && is_over),
    ];
    told.into_iter().filter(|(_, is_told)| *is_told).map(|(topic, _)| topic)
}

fn write_runs(
    calls: &mut Calls,
    cache: &Cache,
    changes: &BTreeMap<RunId, RunChange>,
) -> Result<(), Fault> {
    let of = |wanted: fn(&RunChange) -> bool| -> Vec<&OperationRun> {
        let changed = changes.iter().filter(|(_, change)| wanted(change));
        changed.filter_map(|(id, _)| cache.runs.get(id)?.as_ref()).collect()
    };
    // Those that exist first: a run that ends gives its identity back to a new one.
    let changed = of(|change| change.state && !change.inserted);
    if !changed.is_empty() {
        let mut values = columns!(changed, run => run.id.to_string());
        values.extend(state_columns(&changed)?);
        calls.add(Sql::UpdateRuns, values);
    }
    let progressed = of(|change| change.progress && !change.inserted);
    if !progressed.is_empty() {
        let mut values = columns!(progressed, run => run.id.to_string());
        values.extend(progress_columns(&progressed)?);
        calls.add(Sql::UpdateProgress, values);
    }
    let new = of(|change| change.inserted);
    if !new.is_empty() {
        let mut values = columns!(new, run =>
            run.id.to_string(),
            run.workspace_id.to_string(),
            run.tenant_id.map(|id| id.to_string()),
            run.user_id.map(|id| id.to_string()),
            run.initiator_name.clone(),
            run.source.key(),
            run.run_type().to_string(),
            run.subject.as_ref().map(Subject::to_string),
            run.lock_scope().map(|scope| scope.to_string()),
            i64::from(run.priority.0),
            optional_nanos(run.run_at),
            run.host_id.map(|id| id.to_string()),
            run.retried_from.map(|id| id.to_string()),
            run.run_identity_hash.to_string(),
            nanos(run.created_at),
        );
        values.extend(state_columns(&new)?);
        values.extend(progress_columns(&new)?);
        calls.add(Sql::InsertRuns, values);
    }
    Ok(())
}

/// The columns that follow from a run's state, in the order of the statements.
fn state_columns(runs: &[&OperationRun]) -> Result<Vec<Owned>, Fault> {
    let states: Vec<_> = runs.iter().map(|run| StateColumns::of(run)).collect();
    let mut jobs = Vec::with_capacity(runs.len());
    for run in runs {
        jobs.push(run.jobs.map(|jobs| to_json(&jobs, "job counts")).transpose()?);
    }
    let mut values = columns!(states, state =>
        state.status.key(),
        state.outcome.key(),
        i64::from(state.ready),
        state.waits_for.map(|waits_for| waits_for.key()),
        optional_nanos(state.wait_until),
    );
    values.extend(columns!(runs, run =>
        i64::from(run.attempt),
        i64::from(run.failures),
        i64::from(run.is_dead_letter),
        optional_nanos(run.cancel_requested_at),
        optional_nanos(run.started_at),
        optional_nanos(run.completed_at),
    ));
    values.push(Box::new(jobs));
    Ok(values)
}

/// What a run has done so far, in the order of the statements.
fn progress_columns(runs: &[&OperationRun]) -> Result<Vec<Owned>, Fault> {
    let mut columns = [const { Vec::<String>::new() }; 3];
    for run in runs {
        columns[0].push(to_json(&run.summary_counts, "summary counts")?);
        columns[1].push(to_json(&run.failure_summary, "failure summary")?);
        columns[2].push(to_json(&run.context, "run context")?);
    }
    Ok(columns.into_iter().map(|column| Box::new(column) as Owned).collect())
}

/// Locks that go before locks that come: a run holds one at most. A lock without a row is inserted
/// and nothing else, so that of two agents who found it free the second one fails.
fn write_locks(calls: &mut Calls, cache: &Cache, locks: &BTreeMap<LockKey, Option<Lock>>) {
    let stored = |key: &LockKey| cache.locks_stored.contains(key);
    let free = locks.iter().filter(|(key, lock)| lock.is_none() && stored(key));
    let free: Vec<&LockKey> = free.map(|(key, _)| key).collect();
    if !free.is_empty() {
        calls.add(Sql::DropLocks, columns!(free, key => key.0.to_string(), key.1.to_string()));
    }
    let held = locks.iter().filter_map(|(key, lock)| Some((key, (*lock)?)));
    let (old, new): (Vec<_>, Vec<_>) = held.partition(|(key, _)| stored(key));
    for (sql, rows) in [(Sql::UpdateLocks, old), (Sql::InsertLocks, new)] {
        if !rows.is_empty() {
            let (keys, locks): (Vec<&LockKey>, Vec<Lock>) = rows.into_iter().unzip();
            let mut values = columns!(keys, key => key.0.to_string(), key.1.to_string());
            values.extend(columns!(locks, lock =>
                lock.run_id.to_string(), nanos(lock.acquired_at), nanos(lock.expires_at)));
            calls.add(sql, values);
        }
    }
}

/// Attempts that end before attempts that begin: one is open at most. Steps that began and did not
/// report may have acted or not.
fn write_attempts(calls: &mut Calls, changes: &BTreeMap<(RunId, u32), AttemptChange>) {
    let ended = changes.iter().filter(|(_, change)| change.begun.is_none());
    let ended = ended.filter_map(|(key, change)| Some((*key, change.ended?)));
    let (keys, ends): (Vec<(RunId, u32)>, Vec<_>) = ended.unzip();
    if !keys.is_empty() {
        let of = || columns!(keys, key => key.0.to_string(), i64::from(key.1));
        let mut values = of();
        values.extend(columns!(ends, end => nanos(end.1), end.0.key()));
        calls.add(Sql::EndAttempts, values);
        calls.add(Sql::ForgetSteps, of());
    }
    let begun = changes.values().filter_map(|it| Some((it.begun.as_ref()?, it.ended)));
    let (begun, ends): (Vec<&Attempt>, Vec<_>) = begun.unzip();
    if !begun.is_empty() {
        let mut values = columns!(begun, attempt =>
            attempt.run_id.to_string(),
            i64::from(attempt.number),
            attempt.holder.instance.clone(),
            attempt.holder.host_id.map(|id| id.to_string()),
            attempt.holder.boot_id.clone(),
            i64::from(attempt.holder.is_hosted),
            nanos(attempt.started_at),
            nanos(attempt.heartbeat_at),
            nanos(attempt.lease_until));
        values.extend(columns!(ends, end =>
            end.map(|(_, at)| nanos(at)), end.map(|(end, _)| end.key())));
        calls.add(Sql::InsertAttempts, values);
    }
}

fn make_jobs(calls: &mut Calls, cache: &Cache, made: &MadeJobs) {
    let Some(Some(run)) = cache.runs.get(&made.run_id) else { return };
    let mut values: Vec<Owned> = vec![
        Box::new(made.run_id.to_string()),
        Box::new(run.run_type().to_string()),
        Box::new(i64::from(run.priority.0)),
        Box::new(nanos(run.created_at)),
        Box::new(i64::from(made.ready)),
    ];
    let numbers: Vec<i64> = (0..made.jobs.len() as u64).map(signed).collect();
    values.push(Box::new(made.jobs.iter().map(|job| job.key.clone()).collect::<Vec<_>>()));
    values.push(Box::new(numbers));
    values.extend(columns!(made.jobs, job =>
        job.tenant_id.map(|id| id.to_string()),
        job.payload.as_str().to_owned(),
        run.context.inputs.job_subject(job.tenant_id).map(String::from)));
    calls.add(Sql::InsertJobs, values);
}

fn write_jobs(calls: &mut Calls, jobs: &[&Job]) {
    if jobs.is_empty() {
        return;
    }
    let until = |job: &Job| match job.state {
        JobState::Waiting { until } => Some(nanos(until)),
        _ => None,
    };
    calls.add(
        Sql::UpdateJobs,
        columns!(jobs, job =>
            job.run_id.to_string(),
            job.key.clone(),
            job.state.status().key(),
            i64::from(job.state == JobState::Queued),
            until(job),
            i64::from(job.attempt),
            i64::from(job.failures),
            i64::from(job.interruptions),
            job.holder.as_ref().map(|holder| holder.instance.clone()),
            job.holder.as_ref().and_then(|holder| holder.host_id).map(|id| id.to_string()),
            job.holder.as_ref().and_then(|holder| holder.boot_id.clone()),
            job.holder.as_ref().map(|holder| i64::from(holder.is_hosted)),
            optional_nanos(job.lease_until),
            job.reached.clone()),
    );
}
