//! Writes out what the ledger changed. Owns the statements that change runs, attempts, locks and
//! jobs. Face: `Session::flush`. Never changes a row that the ledger did not.

use rusqlite::{CachedStatement, Connection, params};

use super::deliveries;
use super::fault::Fault;
use super::load::Session;
use super::rows::{nanos, optional_nanos, to_json};
use crate::base::ids::RunId;
use crate::domain::runs::{Failure, Holder, Job, JobState, OperationRun, Subject, SummaryCounts};
use crate::store::ledger::{
    AttemptChange, Changes, Ledger, Lock, LockKey, MadeJobs, RunChange, StateColumns,
};

impl Session<'_> {
    /// Writes out what changed since the last time.
    pub(super) fn flush(&mut self, ledger: &mut Ledger) -> Result<(), Fault> {
        let changes = ledger.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let connection = self.connection;
        write_runs(connection, ledger, &changes)?;
        for (key, lock) in changes.locks.iter().filter(|(_, lock)| lock.is_none()) {
            write_lock(connection, key, lock.as_ref())?;
        }
        for (key, lock) in changes.locks.iter().filter(|(_, lock)| lock.is_some()) {
            write_lock(connection, key, lock.as_ref())?;
        }
        for ((run_id, number), change) in &changes.attempts {
            write_attempt(connection, ledger, *run_id, *number, change)?;
        }
        for ((run_id, number), renewal) in &changes.renewals {
            connection
                .prepare_cached(
                    "UPDATE run_attempts SET heartbeat_at = ?, lease_until = ?
                     WHERE run_id = ? AND number = ?",
                )?
                .execute(params![
                    nanos(renewal.at),
                    nanos(renewal.lease_until),
                    run_id.to_string(),
                    number
                ])?;
        }
        write_jobs(connection, ledger, &changes)?;
        changes.alerts.iter().try_for_each(|event| deliveries::raise(connection, event))
    }
}

fn write_runs(connection: &Connection, ledger: &Ledger, changes: &Changes) -> Result<(), Fault> {
    // Those that exist first: a run that ends gives its identity back to a new one.
    for new in [false, true] {
        for (id, change) in changes.runs.iter().filter(|(_, change)| change.inserted == new) {
            let Some(run) = ledger.changed_run(*id) else { continue };
            match change {
                RunChange { inserted: true, .. } => insert_run(connection, run)?,
                RunChange { state, progress, .. } => {
                    if *state {
                        update_state(connection, run)?;
                    }
                    if *progress {
                        update_progress(connection, run)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn counts_json(counts: &SummaryCounts) -> Result<String, Fault> {
    if counts.is_empty() { Ok("{}".to_owned()) } else { to_json(counts, "summary counts") }
}

fn failures_json(failures: &[Failure]) -> Result<String, Fault> {
    if failures.is_empty() { Ok("[]".to_owned()) } else { to_json(&failures, "failure summary") }
}

fn jobs_json(run: &OperationRun) -> Result<Option<String>, Fault> {
    run.jobs.map(|jobs| to_json(&jobs, "job counts")).transpose()
}

fn insert_run(connection: &Connection, run: &OperationRun) -> Result<(), Fault> {
    let state = StateColumns::of(run);
    connection
        .prepare_cached(
            "INSERT INTO runs (id, workspace_id, tenant_id, user_id, initiator_name, source, type,
                 subject, lock_scope, priority, run_at, host_id, retried_from, status, outcome,
                 ready, waits_for, wait_until, attempt, failures, is_dead_letter,
                 run_identity_hash, summary_counts, failure_summary, jobs, context,
                 cancel_requested_at, created_at, started_at, completed_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
                 ?, ?, ?, ?)",
        )?
        .execute(params![
            run.id.to_string(),
            run.workspace_id.to_string(),
            run.tenant_id.map(|id| id.to_string()),
            run.user_id.map(|id| id.to_string()),
            run.initiator_name,
            run.source.key(),
            run.run_type().key(),
            run.subject.as_ref().map(Subject::as_str),
            run.lock_scope().map(|scope| scope.to_string()),
            run.priority.0,
            optional_nanos(run.run_at),
            run.host_id.map(|id| id.to_string()),
            run.retried_from.map(|id| id.to_string()),
            state.status.key(),
            state.outcome.key(),
            state.ready,
            state.waits_for.map(|waits_for| waits_for.key()),
            optional_nanos(state.wait_until),
            run.attempt,
            run.failures,
            run.is_dead_letter,
            run.run_identity_hash.to_string(),
            counts_json(&run.summary_counts)?,
            failures_json(&run.failure_summary)?,
            jobs_json(run)?,
            to_json(&run.context, "run context")?,
            optional_nanos(run.cancel_requested_at),
            nanos(run.created_at),
            optional_nanos(run.started_at),
            optional_nanos(run.completed_at),
        ])?;
    Ok(())
}

fn update_state(connection: &Connection, run: &OperationRun) -> Result<(), Fault> {
    let state = StateColumns::of(run);
    connection
        .prepare_cached(
            "UPDATE runs SET status = ?, outcome = ?, ready = ?, waits_for = ?, wait_until = ?,
                 attempt = ?, failures = ?, is_dead_letter = ?, jobs = ?, cancel_requested_at = ?,
                 started_at = ?, completed_at = ?
             WHERE id = ?",
        )?
        .execute(params![
            state.status.key(),
            state.outcome.key(),
            state.ready,
            state.waits_for.map(|waits_for| waits_for.key()),
            optional_nanos(state.wait_until),
            run.attempt,
            run.failures,
            run.is_dead_letter,
            jobs_json(run)?,
            optional_nanos(run.cancel_requested_at),
            optional_nanos(run.started_at),
            optional_nanos(run.completed_at),
            run.id.to_string(),
        ])?;
    Ok(())
}

fn update_progress(connection: &Connection, run: &OperationRun) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE runs SET summary_counts = ?, failure_summary = ?, context = ? WHERE id = ?",
        )?
        .execute(params![
            counts_json(&run.summary_counts)?,
            failures_json(&run.failure_summary)?,
            to_json(&run.context, "run context")?,
            run.id.to_string(),
        ])?;
    Ok(())
}

fn write_lock(connection: &Connection, key: &LockKey, lock: Option<&Lock>) -> Result<(), Fault> {
    let (scope, subject) = (key.0.to_string(), key.1.as_str());
    let Some(lock) = lock else {
        connection
            .prepare_cached("DELETE FROM locks WHERE scope = ? AND subject = ?")?
            .execute(params![scope, subject])?;
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO locks (scope, subject, run_id, acquired_at, expires_at)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (scope, subject) DO UPDATE SET run_id = excluded.run_id,
                 acquired_at = excluded.acquired_at, expires_at = excluded.expires_at",
        )?
        .execute(params![
            scope,
            subject,
            lock.run_id.to_string(),
            nanos(lock.acquired_at),
            nanos(lock.expires_at),
        ])?;
    Ok(())
}

/// Attempts are written in the order of their numbers, so an older one ends before a newer begins.
/// Steps that began and did not report may have acted or not.
fn write_attempt(
    connection: &Connection,
    ledger: &Ledger,
    run_id: RunId,
    number: u32,
    change: &AttemptChange,
) -> Result<(), Fault> {
    let (end, ended_at) = match change.ended {
        Some((end, at)) => (Some(end.key()), Some(nanos(at))),
        None => (None, None),
    };
    let Some(begun) = &change.begun else {
        connection
            .prepare_cached(
                "UPDATE run_attempts SET ended_at = ?, end = ?
                 WHERE run_id = ? AND number = ? AND ended_at IS NULL",
            )?
            .execute(params![ended_at, end, run_id.to_string(), number])?;
        // Programs of users have no steps.
        if ledger.changed_run(run_id).is_some_and(|run| !run.run_type().is_hosted()) {
            connection
                .prepare_cached(
                    "UPDATE run_steps SET status = 'unknown'
                     WHERE run_id = ? AND attempt = ? AND status = 'started'",
                )?
                .execute(params![run_id.to_string(), number])?;
        }
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO run_attempts (run_id, number, instance, host_id, boot_id, is_hosted,
                 started_at, heartbeat_at, lease_until, ended_at, end)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            run_id.to_string(),
            number,
            begun.holder.instance,
            begun.holder.host_id.map(|id| id.to_string()),
            begun.holder.boot_id,
            begun.holder.is_hosted,
            nanos(begun.started_at),
            nanos(begun.heartbeat_at),
            nanos(begun.lease_until),
            ended_at,
            end,
        ])?;
    Ok(())
}

fn write_jobs(connection: &Connection, ledger: &Ledger, changes: &Changes) -> Result<(), Fault> {
    for made in &changes.jobs_made {
        insert_jobs(connection, ledger, made)?;
    }
    for key in &changes.jobs {
        if let Some(job) = ledger.changed_job(key) {
            update_job(connection, job)?;
        }
    }
    for run_id in &changes.jobs_opened {
        connection
            .prepare_cached(
                "UPDATE run_jobs SET ready = 1
                 WHERE run_id = ? AND status = 'queued' AND ready = 0",
            )?
            .execute([run_id.to_string()])?;
    }
    for run_id in &changes.jobs_cancelled {
        connection
            .prepare_cached(
                "UPDATE run_jobs SET status = 'cancelled', ready = 0, wait_until = NULL
                 WHERE run_id = ? AND status IN ('queued', 'waiting')",
            )?
            .execute([run_id.to_string()])?;
    }
    Ok(())
}

fn insert_jobs(connection: &Connection, ledger: &Ledger, made: &MadeJobs) -> Result<(), Fault> {
    let Some(run) = ledger.changed_run(made.run_id) else { return Ok(()) };
    let (run_id, run_type) = (run.id.to_string(), run.run_type());
    let mut insert: CachedStatement<'_> = connection.prepare_cached(
        "INSERT INTO run_jobs (run_id, key, number, tenant_id, payload, type, priority, created_at,
             status, ready, attempt, failures, interruptions, subject)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, 0, 0, 0, ?)",
    )?;
    for (number, job) in made.jobs.iter().enumerate() {
        insert.execute(params![
            run_id,
            job.key,
            i64::try_from(number).unwrap_or(i64::MAX),
            job.tenant_id.map(|id| id.to_string()),
            job.payload.as_str(),
            run_type.key(),
            run.priority.0,
            nanos(run.created_at),
            made.ready,
            run.context.inputs.job_subject(job.tenant_id).map(String::from),
        ])?;
    }
    Ok(())
}

fn update_job(connection: &Connection, job: &Job) -> Result<(), Fault> {
    let wait_until = match job.state {
        JobState::Waiting { until } => Some(nanos(until)),
        _ => None,
    };
    let holder = job.holder.as_ref();
    connection
        .prepare_cached(
            "UPDATE run_jobs SET status = ?, ready = ?, wait_until = ?, attempt = ?, failures = ?,
                 interruptions = ?, instance = ?, host_id = ?, boot_id = ?, is_hosted = ?,
                 lease_until = ?, reached = ?
             WHERE run_id = ? AND key = ?",
        )?
        .execute(params![
            job.state.status().key(),
            job.state == JobState::Queued,
            wait_until,
            job.attempt,
            job.failures,
            job.interruptions,
            holder.map(|holder: &Holder| &holder.instance),
            holder.and_then(|holder| holder.host_id).map(|id| id.to_string()),
            holder.and_then(|holder| holder.boot_id.as_ref()),
            holder.map(|holder| holder.is_hosted),
            optional_nanos(job.lease_until),
            job.reached,
            job.run_id.to_string(),
            job.key,
        ])?;
    Ok(())
}
