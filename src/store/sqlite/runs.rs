//! Changes runs, attempts, steps and locks. Owns every transition: each goes through the domain's
//! state machine, fenced by the attempt's number. Face: one function per write. Never begins an
//! attempt on a subject that another run holds.

use rusqlite::{Connection, params};

use super::fault::Fault;
use super::rows::{nanos, optional_nanos, to_json};
use super::{projects, run_reads};
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::limits::FAILURES_MAX;
use crate::domain::runs::{
    AttemptEnd, IllegalTransition, Inputs, OperationRun, RunEvent, RunState, StepRecord,
    StepStatus, Subject, Waiting,
};
use crate::store::{CompleteRun, Conflict, RunProgress, StartAttempt};

/// How a state is spread over columns.
struct StateColumns {
    status: &'static str,
    outcome: &'static str,
    ready: bool,
    waits_for: Option<&'static str>,
    wait_until: Option<i64>,
}

impl StateColumns {
    fn of(state: RunState) -> Self {
        let waiting = match state {
            RunState::Waiting(waiting) => Some(waiting),
            _ => None,
        };
        Self {
            status: state.status().key(),
            outcome: state.outcome().key(),
            ready: matches!(state, RunState::Queued | RunState::Ready),
            waits_for: waiting.map(|waiting| waiting.waits_for.key()),
            wait_until: optional_nanos(waiting.and_then(|waiting| waiting.until)),
        }
    }
}

/// A new run.
pub(super) fn insert(connection: &Connection, run: &OperationRun) -> Result<(), Fault> {
    if let Some(active) = run_reads::active(connection, run.workspace_id, run.run_identity_hash)? {
        return Err(Conflict::ActiveRun(active.id).into());
    }
    if let Inputs::DeployProject(deploy) = &run.context.inputs
        && projects::find_revision(connection, deploy.revision_id)?.is_none()
    {
        // It may have been dropped between the caller's look and this write.
        let id = deploy.revision_id.to_string();
        return Err(Conflict::Missing { noun: "revision", id }.into());
    }
    let state = StateColumns::of(run.state);
    let later = run.run_at.filter(|run_at| *run_at > run.created_at);
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
            state.status,
            state.outcome,
            state.ready && later.is_none(),
            state.waits_for,
            state.wait_until.or(optional_nanos(later)),
            run.attempt,
            run.failures,
            run.is_dead_letter,
            run.run_identity_hash.to_string(),
            to_json(&run.summary_counts, "summary counts")?,
            to_json(&run.failure_summary, "failure summary")?,
            run.jobs.map(|jobs| to_json(&jobs, "job counts")).transpose()?,
            to_json(&run.context, "run context")?,
            optional_nanos(run.cancel_requested_at),
            nanos(run.created_at),
            optional_nanos(run.started_at),
            optional_nanos(run.completed_at),
        ])?;
    Ok(())
}

/// A worker takes a run.
pub(super) fn start(connection: &Connection, start: &StartAttempt) -> Result<(), Fault> {
    let run = run_reads::existing(connection, start.run_id)?;
    if run.attempt + 1 != start.attempt {
        return Err(Conflict::Fenced { run_id: run.id, attempt: start.attempt }.into());
    }
    change(connection, &run, RunEvent::Claim)?;
    take_lock(connection, &run, start)?;
    connection
        .prepare_cached(
            "UPDATE runs SET attempt = ?, started_at = coalesce(started_at, ?) WHERE id = ?",
        )?
        .execute(params![start.attempt, nanos(start.at), run.id.to_string()])?;
    connection
        .prepare_cached(
            "INSERT INTO run_attempts (run_id, number, instance, host_id, boot_id, is_hosted,
                 started_at, heartbeat_at, lease_until)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            run.id.to_string(),
            start.attempt,
            start.holder.instance,
            start.holder.host_id.map(|id| id.to_string()),
            start.holder.boot_id,
            start.holder.is_hosted,
            nanos(start.at),
            nanos(start.at),
            nanos(start.lease_until),
        ])?;
    Ok(())
}

/// Locks the subject for the run. An expired lock is taken over, and its holder, if it still has a
/// worker, is interrupted in the same transaction: whatever that worker writes later is fenced.
fn take_lock(
    connection: &Connection,
    run: &OperationRun,
    start: &StartAttempt,
) -> Result<(), Fault> {
    let (Some(subject), Some(scope)) = (&run.subject, run.lock_scope()) else { return Ok(()) };
    if let Some((holder, expires_at)) = run_reads::lock(connection, scope, subject)?
        && holder != run.id
    {
        if expires_at > start.at {
            return Err(Conflict::Locked { subject: subject.clone(), holder }.into());
        }
        let late = run_reads::existing(connection, holder)?;
        if late.state == RunState::Running {
            let nothing = RunProgress::default();
            interrupt(
                connection,
                holder,
                late.attempt,
                AttemptEnd::Interrupted,
                start.at,
                &nothing,
            )?;
        }
        unlock(connection, holder)?;
    }
    connection
        .prepare_cached(
            "INSERT INTO locks (scope, subject, run_id, acquired_at, expires_at)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (scope, subject) DO UPDATE SET expires_at = excluded.expires_at",
        )?
        .execute(params![
            scope.to_string(),
            subject.as_str(),
            run.id.to_string(),
            nanos(start.at),
            nanos(start.lease_until),
        ])?;
    Ok(())
}

fn unlock(connection: &Connection, run: RunId) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM locks WHERE run_id = ?")?.execute([run.to_string()])?;
    Ok(())
}

/// An attempt lost its worker.
pub(super) fn interrupt(
    connection: &Connection,
    run_id: RunId,
    attempt: u32,
    end: AttemptEnd,
    at: Timestamp,
    progress: &RunProgress,
) -> Result<(), Fault> {
    let run = fenced(connection, run_id, attempt)?;
    add(connection, &run, progress)?;
    change(connection, &run, RunEvent::Interrupt)?;
    end_attempt(connection, run_id, attempt, end, at)
}

/// The run waits without a worker.
pub(super) fn wait(
    connection: &Connection,
    run_id: RunId,
    attempt: u32,
    waiting: Waiting,
    at: Timestamp,
    progress: &RunProgress,
) -> Result<(), Fault> {
    let run = fenced(connection, run_id, attempt)?;
    add(connection, &run, progress)?;
    change(connection, &run, RunEvent::Wait(waiting))?;
    end_attempt(connection, run_id, attempt, AttemptEnd::Suspended, at)
}

/// What the run waited for has happened.
pub(super) fn wake(connection: &Connection, run_id: RunId) -> Result<(), Fault> {
    let run = run_reads::existing(connection, run_id)?;
    change(connection, &run, RunEvent::Wake)
}

/// Somebody asked for a running run to be cancelled.
pub(super) fn request_cancel(
    connection: &Connection,
    run_id: RunId,
    at: Timestamp,
) -> Result<(), Fault> {
    let run = run_reads::existing(connection, run_id)?;
    if run.state != RunState::Running {
        let why = IllegalTransition { from: run.state.name(), event: "be asked to stop" };
        return Err(Conflict::Illegal { run_id, why }.into());
    }
    connection
        .prepare_cached(
            "UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, ?) WHERE id = ?",
        )?
        .execute(params![nanos(at), run_id.to_string()])?;
    Ok(())
}

/// The run ends, and its lock with it.
pub(super) fn complete(connection: &Connection, complete: &CompleteRun) -> Result<(), Fault> {
    let run = fenced(connection, complete.run_id, complete.attempt)?;
    add(connection, &run, &complete.progress)?;
    change(connection, &run, RunEvent::Complete(complete.end))?;
    connection
        .prepare_cached("UPDATE runs SET completed_at = ? WHERE id = ?")?
        .execute(params![nanos(complete.at), run.id.to_string()])?;
    end_attempt(connection, run.id, complete.attempt, AttemptEnd::Completed, complete.at)?;
    unlock(connection, run.id)
}

/// Ends the attempt if it is open. Steps that began and did not report may have acted or not.
fn end_attempt(
    connection: &Connection,
    run_id: RunId,
    attempt: u32,
    end: AttemptEnd,
    at: Timestamp,
) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE run_attempts SET ended_at = ?, end = ?
             WHERE run_id = ? AND number = ? AND ended_at IS NULL",
        )?
        .execute(params![nanos(at), end.key(), run_id.to_string(), attempt])?;
    connection
        .prepare_cached(
            "UPDATE run_steps SET status = 'unknown'
             WHERE run_id = ? AND attempt = ? AND status = 'started'",
        )?
        .execute(params![run_id.to_string(), attempt])?;
    Ok(())
}

/// The run, if this attempt is its latest.
fn fenced(connection: &Connection, run_id: RunId, attempt: u32) -> Result<OperationRun, Fault> {
    let run = run_reads::existing(connection, run_id)?;
    if run.attempt != attempt {
        return Err(Conflict::Fenced { run_id, attempt }.into());
    }
    Ok(run)
}

/// The run, if this attempt is its latest and has not ended: what a worker's writes need.
fn working(connection: &Connection, run_id: RunId, attempt: u32) -> Result<OperationRun, Fault> {
    let run = fenced(connection, run_id, attempt)?;
    if run.state != RunState::Running {
        return Err(Conflict::Fenced { run_id, attempt }.into());
    }
    Ok(run)
}

/// The one place where a run's state changes.
fn change(connection: &Connection, run: &OperationRun, event: RunEvent) -> Result<(), Fault> {
    let next =
        run.state.transition(event).map_err(|why| Conflict::Illegal { run_id: run.id, why })?;
    let state = StateColumns::of(next);
    // The CHECK on `completed_at` looks at both columns, so they change together.
    let completed = matches!(next, RunState::Completed(_));
    connection
        .prepare_cached(
            "UPDATE runs SET status = ?, outcome = ?, ready = ?, waits_for = ?, wait_until = ?,
                 completed_at = CASE WHEN ? THEN coalesce(started_at, created_at) END
             WHERE id = ?",
        )?
        .execute(params![
            state.status,
            state.outcome,
            state.ready,
            state.waits_for,
            state.wait_until,
            completed,
            run.id.to_string(),
        ])?;
    Ok(())
}

/// Adds numbers and failures, replaces details. Reads and writes within the one writer, so that
/// no addition is ever lost.
fn add(connection: &Connection, run: &OperationRun, progress: &RunProgress) -> Result<(), Fault> {
    if progress.is_empty() {
        return Ok(());
    }
    let mut counts = run.summary_counts.clone();
    for (key, by) in &progress.counts {
        counts.add(*key, *by);
    }
    let mut failures = run.failure_summary.clone();
    failures.extend(progress.failures.iter().cloned());
    failures.truncate(FAILURES_MAX);
    let mut context = run.context.clone();
    if let Some(details) = &progress.details {
        context.details = details.clone();
    }
    connection
        .prepare_cached(
            "UPDATE runs SET summary_counts = ?, failure_summary = ?, context = ? WHERE id = ?",
        )?
        .execute(params![
            to_json(&counts, "summary counts")?,
            to_json(&failures, "failure summary")?,
            to_json(&context, "run context")?,
            run.id.to_string(),
        ])?;
    Ok(())
}

/// Housekeeping: progress of a live attempt.
pub(super) fn add_progress(
    connection: &Connection,
    run_id: RunId,
    attempt: u32,
    progress: &RunProgress,
) -> Result<(), Fault> {
    let run = working(connection, run_id, attempt)?;
    add(connection, &run, progress)
}

/// Housekeeping: a step began or ended.
pub(super) fn record_step(
    connection: &Connection,
    step: &StepRecord,
    progress: &RunProgress,
) -> Result<(), Fault> {
    let run = working(connection, step.run_id, step.attempt)?;
    connection
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
    add(connection, &run, progress)
}

/// Housekeeping: a sign of life. Locks of waiting runs are renewed with those of live ones: they
/// keep what they locked until they end.
pub(super) fn heartbeat(
    connection: &Connection,
    instance: &str,
    at: Timestamp,
    lease_until: Timestamp,
) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE run_attempts SET heartbeat_at = ?, lease_until = ?
             WHERE instance = ? AND ended_at IS NULL",
        )?
        .execute(params![nanos(at), nanos(lease_until), instance])?;
    connection
        .prepare_cached("UPDATE locks SET expires_at = ? WHERE expires_at < ?")?
        .execute(params![nanos(lease_until), nanos(lease_until)])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::runs::{End, WaitsFor};

    #[test]
    fn every_state_reads_back_from_its_columns() {
        let waiting = Waiting { waits_for: WaitsFor::Answer, until: Some(Timestamp::UNIX_EPOCH) };
        for state in [
            RunState::Queued,
            RunState::Running,
            RunState::Ready,
            RunState::Waiting(waiting),
            RunState::Completed(End::Blocked),
        ] {
            let columns = StateColumns::of(state);
            let read = run_reads::state(
                columns.status,
                columns.outcome,
                columns.ready,
                columns.waits_for.map(|text| (text, Some(Timestamp::UNIX_EPOCH))),
            );
            assert_eq!(read.unwrap(), state);
        }
    }

    #[test]
    fn a_subject_reads_back() {
        let subject = Subject::project("shop");
        assert_eq!(Subject::parse(subject.as_str()), Ok(subject));
    }
}
