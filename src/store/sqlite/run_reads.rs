//! Reads runs, attempts, steps and locks. Owns their column lists. Face: one function per reading.
//! Never changes anything.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::fault::Fault;
use super::rows::{
    bound, collect, json, nanos, optional_json, optional_parsed, optional_time, parsed, small,
    time, unsigned,
};
use crate::base::ids::{RunId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{
    Attempt, Context, Holder, LockScope, OperationRun, Priority, RunState, Status, StepRecord,
    Subject,
};
use crate::store::filter::Marks;
use crate::store::ledger::{Lock, StateColumns, state_of};
use crate::store::{Backlog, Conflict, OpenAttempt, Page, PageRequest, RunFilter, lists};

/// The columns of a run, in the order in which `run` reads them.
macro_rules! columns {
    () => {
        "SELECT r.id, r.workspace_id, r.tenant_id, r.user_id, r.initiator_name,
    r.source, r.subject, r.status, r.outcome, r.ready, r.waits_for, r.wait_until, r.attempt,
    r.run_identity_hash, r.summary_counts, r.failure_summary, r.context, r.cancel_requested_at,
    r.created_at, r.started_at, r.completed_at, r.priority, r.run_at, r.host_id, r.retried_from,
    r.failures, r.is_dead_letter, r.jobs FROM runs r"
    };
}

const RUN: &str = columns!();

fn run(row: &Row<'_>) -> Result<OperationRun, Fault> {
    let identity: String = row.get(13)?;
    Ok(OperationRun {
        id: parsed(row, 0, "run id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        tenant_id: optional_parsed(row, 2, "tenant id")?,
        user_id: optional_parsed(row, 3, "user id")?,
        initiator_name: row.get(4)?,
        source: parsed(row, 5, "source")?,
        subject: match row.get_ref(6)?.as_str_or_null().map_err(|_| not_text())? {
            Some(subject) => Some(parse_subject(subject)?),
            None => None,
        },
        priority: Priority(row.get(21)?),
        run_at: optional_time(row, 22)?,
        host_id: optional_parsed(row, 23, "host id")?,
        retried_from: optional_parsed(row, 24, "run id")?,
        failures: small(row, 25)?,
        is_dead_letter: row.get(26)?,
        jobs: optional_json(row, 27, "job counts")?,
        state: state(row)?,
        attempt: small(row, 12)?,
        run_identity_hash: Digest::try_from(identity)
            .map_err(|error| Fault::unreadable("identity hash", error))?,
        summary_counts: json(row, 14, "summary counts")?,
        failure_summary: json(row, 15, "failure summary")?,
        context: json::<Context>(row, 16, "run context")?,
        cancel_requested_at: optional_time(row, 17)?,
        created_at: time(row, 18)?,
        started_at: optional_time(row, 19)?,
        completed_at: optional_time(row, 20)?,
    })
}

fn state(row: &Row<'_>) -> Result<RunState, Fault> {
    let status: Status = parsed(row, 7, "run status")?;
    let columns = StateColumns {
        status,
        outcome: parsed(row, 8, "run outcome")?,
        ready: row.get(9)?,
        waits_for: optional_parsed(row, 10, "wait")?,
        // That of a queued run is when it may begin, which the run says itself.
        wait_until: optional_time(row, 11)?,
    };
    let contradict = || Fault::unreadable("run state", "its columns contradict each other");
    state_of(columns).ok_or_else(contradict)
}

fn not_text() -> Fault {
    Fault::unreadable("subject", "it is no text")
}

fn parse_subject(text: &str) -> Result<Subject, Fault> {
    Subject::parse(text).map_err(|error| Fault::unreadable("subject", error))
}

/// One run.
pub(super) fn find(connection: &Connection, id: RunId) -> Result<Option<OperationRun>, Fault> {
    let sql = concat!(columns!(), " WHERE r.id = ?");
    Ok(collect(connection, sql, [id.to_string()], run)?.pop())
}

/// One run that must be there.
pub(super) fn existing(connection: &Connection, id: RunId) -> Result<OperationRun, Fault> {
    let missing = || Conflict::Missing { noun: "run", id: id.to_string() };
    find(connection, id)?.ok_or_else(|| missing().into())
}

/// The run with this identity that is not completed.
pub(super) fn active(
    connection: &Connection,
    workspace: WorkspaceId,
    identity: Digest,
) -> Result<Option<OperationRun>, Fault> {
    let sql = concat!(
        columns!(),
        " WHERE r.workspace_id = ? AND r.run_identity_hash = ? AND r.status <> 'completed'"
    );
    let values = params![workspace.to_string(), identity.to_string()];
    Ok(collect(connection, sql, values, run)?.pop())
}

/// The query of a list.
pub(super) fn query(filter: &RunFilter, page: &PageRequest) -> Result<(String, Vec<Value>), Fault> {
    let restriction = lists::runs(Marks::Question, filter, page).map_err(Fault::Store)?;
    let limit = page.bounded_limit() + 1;
    let (sql, values) = restriction.query(RUN, lists::RUNS_ORDER, limit);
    Ok((sql, bound(values)))
}

/// Runs that pass the filter, newest first.
pub(super) fn list(
    connection: &Connection,
    filter: &RunFilter,
    page: &PageRequest,
) -> Result<Page<OperationRun>, Fault> {
    let (sql, values) = query(filter, page)?;
    let items = collect(connection, &sql, params_from_iter(values), run)?;
    Ok(super::page(items, page.bounded_limit(), lists::run_cursor))
}

const ATTEMPT: &str =
    "SELECT run_id, number, instance, host_id, boot_id, is_hosted, started_at, heartbeat_at,
     lease_until, ended_at, end FROM run_attempts";

fn attempt(row: &Row<'_>) -> Result<Attempt, Fault> {
    Ok(Attempt {
        run_id: parsed(row, 0, "run id")?,
        number: small(row, 1)?,
        holder: Holder {
            instance: row.get(2)?,
            host_id: optional_parsed(row, 3, "host id")?,
            boot_id: row.get(4)?,
            is_hosted: row.get(5)?,
        },
        started_at: time(row, 6)?,
        heartbeat_at: time(row, 7)?,
        lease_until: time(row, 8)?,
        ended_at: optional_time(row, 9)?,
        end: optional_parsed(row, 10, "attempt end")?,
    })
}

/// The attempts of a run, first first.
pub(super) fn attempts(connection: &Connection, run_id: RunId) -> Result<Vec<Attempt>, Fault> {
    let sql = format!("{ATTEMPT} WHERE run_id = ? ORDER BY number");
    collect(connection, &sql, [run_id.to_string()], attempt)
}

/// The open attempt of a run.
pub(super) fn open_attempt(
    connection: &Connection,
    run_id: RunId,
) -> Result<Option<Attempt>, Fault> {
    let sql = format!("{ATTEMPT} WHERE run_id = ? AND ended_at IS NULL");
    Ok(collect(connection, &sql, [run_id.to_string()], attempt)?.pop())
}

/// Attempts that no process ended, with their runs.
pub(super) fn open_attempts(connection: &Connection) -> Result<Vec<OpenAttempt>, Fault> {
    let sql = format!("{ATTEMPT} WHERE ended_at IS NULL ORDER BY started_at, run_id");
    let open = collect(connection, &sql, [], attempt)?;
    let count = "SELECT count(*) FROM run_attempts WHERE run_id = ? AND end = 'interrupted'";
    open.into_iter()
        .map(|attempt| {
            let run = existing(connection, attempt.run_id)?;
            let interruptions = connection
                .prepare_cached(count)?
                .query_row([attempt.run_id.to_string()], |row| row.get(0))?;
            Ok(OpenAttempt { run, attempt, interruptions })
        })
        .collect()
}

/// The steps of a run, over all attempts, in order.
pub(super) fn steps(connection: &Connection, run_id: RunId) -> Result<Vec<StepRecord>, Fault> {
    let sql = "SELECT run_id, attempt, step_index, key, description, cause, undo, status,
               started_at, ended_at, detail
               FROM run_steps WHERE run_id = ? ORDER BY attempt, step_index";
    collect(connection, sql, [run_id.to_string()], |row| {
        Ok(StepRecord {
            run_id: parsed(row, 0, "run id")?,
            attempt: small(row, 1)?,
            index: small(row, 2)?,
            key: row.get(3)?,
            description: SafeText::new(row.get::<_, String>(4)?),
            cause: SafeText::new(row.get::<_, String>(5)?),
            undo: json(row, 6, "undo")?,
            status: parsed(row, 7, "step status")?,
            started_at: time(row, 8)?,
            ended_at: optional_time(row, 9)?,
            detail: row.get::<_, Option<String>>(10)?.map(SafeText::new),
        })
    })
}

/// Runs that are not completed and lock this subject, or wait for its lock, oldest first.
pub(super) fn rivals(
    connection: &Connection,
    scope: LockScope,
    subject: &Subject,
) -> Result<Vec<OperationRun>, Fault> {
    let sql = concat!(
        columns!(),
        " WHERE r.status <> 'completed' AND r.lock_scope = ? AND r.subject = ?
         ORDER BY r.created_at, r.id"
    );
    collect(connection, sql, params![scope.to_string(), subject.as_str()], run)
}

/// Waiting runs whose time has come and that somebody must wake. What only waits for its next
/// attempt, a claim finds by itself.
pub(super) const DUE: &str = concat!(
    columns!(),
    " WHERE r.wait_until IS NOT NULL AND r.wait_until <= ?
     AND r.status = 'running' AND r.waits_for <> 'back_off'
     ORDER BY r.wait_until"
);

/// Waiting runs whose time has come.
pub(super) fn due(connection: &Connection, at: Timestamp) -> Result<Vec<OperationRun>, Fault> {
    collect(connection, DUE, [nanos(at)], run)
}

/// When something is due next: a waiting run, a later one, a job.
pub(super) const NEXT_DUE: &str = "SELECT min(due) FROM (
        SELECT min(wait_until) AS due FROM runs WHERE wait_until IS NOT NULL
        UNION ALL
        SELECT min(wait_until) FROM run_jobs WHERE wait_until IS NOT NULL AND ready = 0)";

/// When something is due next.
pub(super) fn next_due(connection: &Connection) -> Result<Option<Timestamp>, Fault> {
    let found = collect(connection, NEXT_DUE, [], |row| optional_time(row, 0))?;
    Ok(found.into_iter().next().flatten())
}

/// The runs that are not completed, by status.
pub(super) fn backlog(connection: &Connection) -> Result<Vec<Backlog>, Fault> {
    let sql = "SELECT status, count(*), min(created_at) FROM runs WHERE status <> 'completed'
        GROUP BY status ORDER BY status";
    collect(connection, sql, [], |row| {
        Ok(Backlog {
            status: parsed(row, 0, "status")?,
            runs: unsigned(row, 1)?,
            oldest: time(row, 2)?,
        })
    })
}

/// Who holds a subject, and until when.
pub(super) fn lock(
    connection: &Connection,
    scope: LockScope,
    subject: &Subject,
) -> Result<Option<Lock>, Fault> {
    let sql = "SELECT run_id, acquired_at, expires_at FROM locks WHERE scope = ? AND subject = ?";
    let read = |row: &Row<'_>| {
        let run_id = parsed(row, 0, "run id")?;
        Ok(Lock { run_id, acquired_at: time(row, 1)?, expires_at: time(row, 2)? })
    };
    let values = params![scope.to_string(), subject.as_str()];
    Ok(collect(connection, sql, values, read)?.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_back() {
        for subject in [Subject::project("shop"), Subject::app("march")] {
            assert_eq!(Subject::parse(subject.as_str()), Ok(subject));
        }
    }
}
