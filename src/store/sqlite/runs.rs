//! Records steps and signs of life. Owns the step log. Face: one function per write. Never records
//! a step of an attempt that is not its run's current one.

use rusqlite::{Connection, params};

use super::fault::Fault;
use super::load::Session;
use super::rows::{nanos, optional_nanos, to_json};
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::domain::runs::{StepRecord, StepStatus};
use crate::store::RunProgress;
use crate::store::ledger::{Act, Ledger};

/// Housekeeping: progress of a live attempt.
pub(super) fn add_progress(
    session: &mut Session<'_>,
    run_id: RunId,
    attempt: u32,
    progress: &RunProgress,
) -> Result<(), Fault> {
    let mut ledger = Ledger::default();
    session.load(&mut ledger, Act::Progress { run_id, progress })?;
    ledger.progress(run_id, attempt, progress)?;
    session.flush(&mut ledger)
}

/// Housekeeping: a step began or ended.
pub(super) fn record_step(
    session: &mut Session<'_>,
    step: &StepRecord,
    progress: &RunProgress,
) -> Result<(), Fault> {
    add_progress(session, step.run_id, step.attempt, progress)?;
    session
        .connection
        .prepare_cached(
            "INSERT INTO run_steps (run_id, attempt, step_index, key, description, cause, undo,
                 status, started_at, ended_at, detail)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (run_id, attempt, step_index) DO UPDATE
             SET status = excluded.status, ended_at = excluded.ended_at, detail = excluded.detail
             WHERE run_steps.status = 'started'",
        )?
        .execute(params![
            step.run_id.to_string(),
            step.attempt,
            step.index,
            step.key,
            step.description.as_str(),
            step.cause.as_str(),
            to_json(&step.undo, "undo")?,
            step.status.key(),
            nanos(step.started_at),
            optional_nanos(step.ended_at),
            step.detail.as_ref().map(|detail| detail.as_str()),
        ])?;
    debug_assert!(step.status != StepStatus::Unknown, "only recovery says unknown");
    Ok(())
}

/// Housekeeping: a sign of life of an agent, for all that it executes. Locks of runs that nobody
/// else executes are renewed too: waiting runs keep what they locked until they end.
pub(super) fn heartbeat(
    connection: &Connection,
    instance: &str,
    at: Timestamp,
    lease_until: Timestamp,
) -> Result<(), Fault> {
    let (at, until) = (nanos(at), nanos(lease_until));
    connection
        .prepare_cached("UPDATE agents SET heartbeat_at = ? WHERE instance = ?")?
        .execute(params![at, instance])?;
    connection
        .prepare_cached(
            "UPDATE run_attempts SET heartbeat_at = ?, lease_until = ?
             WHERE instance = ? AND is_hosted = 0 AND ended_at IS NULL",
        )?
        .execute(params![at, until, instance])?;
    connection
        .prepare_cached(
            "UPDATE run_jobs SET lease_until = ?
             WHERE status = 'running' AND instance = ? AND is_hosted = 0",
        )?
        .execute(params![until, instance])?;
    connection
        .prepare_cached(
            "UPDATE locks SET expires_at = ?1 WHERE expires_at < ?1
             AND NOT EXISTS (SELECT 1 FROM run_attempts a WHERE a.run_id = locks.run_id
                 AND a.ended_at IS NULL AND (a.instance <> ?2 OR a.is_hosted = 1))",
        )?
        .execute(params![until, instance])?;
    Ok(())
}
