//! Reads runs, attempts, steps and locks. Owns their column lists. Face: one function per reading.
//! Never changes anything.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::fault::Fault;
use super::filter::Restriction;
use super::rows::{
    json, nanos, optional_parsed, optional_time, parse, parsed, small, time, unsigned,
};
use crate::base::ids::{RunId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{
    Attempt, Context, End, OperationRun, Outcome, RunState, Status, StepRecord, Subject, Waiting,
};
use crate::store::{
    Backlog, Conflict, Cursor, OpenAttempt, Page, PageRequest, RunFilter, StoreError,
};

/// The columns of a run, in the order in which `run` reads them.
const RUN: &str = "SELECT r.id, r.workspace_id, r.tenant_id, r.user_id, r.initiator_name,
    r.source, r.subject, r.status, r.outcome, r.ready, r.waits_for, r.wait_until, r.attempt,
    r.run_identity_hash, r.summary_counts, r.failure_summary, r.context, r.cancel_requested_at,
    r.created_at, r.started_at, r.completed_at FROM runs r";

fn run(row: &Row<'_>) -> Result<OperationRun, Fault> {
    let subject: String = row.get(6)?;
    let waits_for: Option<String> = row.get(10)?;
    let until = optional_time(row, 11)?;
    let identity: String = row.get(13)?;
    Ok(OperationRun {
        id: parsed(row, 0, "run id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        tenant_id: optional_parsed(row, 2, "tenant id")?,
        user_id: optional_parsed(row, 3, "user id")?,
        initiator_name: row.get(4)?,
        source: parsed(row, 5, "source")?,
        subject: Subject::parse(&subject).map_err(|error| Fault::unreadable("subject", error))?,
        state: state(
            &row.get::<_, String>(7)?,
            &row.get::<_, String>(8)?,
            row.get(9)?,
            waits_for.as_deref().map(|waits_for| (waits_for, until)),
        )?,
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

/// The state that these columns mean.
pub(super) fn state(
    status: &str,
    outcome: &str,
    ready: bool,
    waiting: Option<(&str, Option<Timestamp>)>,
) -> Result<RunState, Fault> {
    let status: Status = parse(status, "run status")?;
    let outcome: Outcome = parse(outcome, "run outcome")?;
    Ok(match (status, End::from_outcome(outcome), waiting) {
        (Status::Queued, None, None) => RunState::Queued,
        (Status::Running, None, Some((waits_for, until))) => {
            RunState::Waiting(Waiting { waits_for: parse(waits_for, "wait")?, until })
        }
        (Status::Running, None, None) if ready => RunState::Ready,
        (Status::Running, None, None) => RunState::Running,
        (Status::Completed, Some(end), None) => RunState::Completed(end),
        _ => return Err(Fault::unreadable("run state", "its columns contradict each other")),
    })
}

fn collect<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read(row)?);
    }
    Ok(items)
}

/// One run.
pub(super) fn find(connection: &Connection, id: RunId) -> Result<Option<OperationRun>, Fault> {
    let sql = format!("{RUN} WHERE r.id = ?");
    Ok(collect(connection, &sql, [id.to_string()], run)?.pop())
}

/// One run that must be there.
pub(super) fn existing(connection: &Connection, id: RunId) -> Result<OperationRun, Fault> {
    let missing = || Conflict::Missing { noun: "run", id: id.to_string() };
    find(connection, id)?.ok_or_else(|| missing().into())
}

/// A condition: the run is not completed.
pub(super) fn expect_active(connection: &Connection, id: RunId) -> Result<(), Fault> {
    match existing(connection, id)?.state.is_completed() {
        true => Err(Conflict::Ended(id).into()),
        false => Ok(()),
    }
}

/// The run with this identity that is not completed.
pub(super) fn active(
    connection: &Connection,
    workspace: WorkspaceId,
    identity: Digest,
) -> Result<Option<OperationRun>, Fault> {
    let sql = format!(
        "{RUN} WHERE r.workspace_id = ? AND r.run_identity_hash = ? AND r.status <> 'completed'"
    );
    let values = params![workspace.to_string(), identity.to_string()];
    Ok(collect(connection, &sql, values, run)?.pop())
}

/// The query of a list.
pub(super) fn query(filter: &RunFilter, page: &PageRequest) -> Result<(String, Vec<Value>), Fault> {
    let restriction = Restriction::default()
        .equals("r.workspace_id", filter.workspace_id.to_string())
        .equals_if("r.tenant_id", filter.tenant_id.as_ref())
        .equals_if("r.subject", filter.subject.as_ref())
        .any_of("r.type", &filter.run_types)
        .any_of("r.status", &filter.statuses)
        .any_of("r.outcome", &filter.outcomes)
        .any_of("r.source", &filter.sources)
        .at_least("r.created_at", filter.from.map(nanos))
        .less_than("r.created_at", filter.until.map(nanos))
        .below("r.created_at, r.id", page.after.as_ref().map(place).transpose()?);
    let limit = page.bounded_limit() + 1;
    Ok(restriction.query(RUN, "r.created_at DESC, r.id DESC", limit))
}

fn place(Cursor(text): &Cursor) -> Result<(i64, String), Fault> {
    text.split_once('~')
        .and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())))
        .ok_or_else(|| Fault::Store(StoreError::BadCursor(text.clone())))
}

/// Runs that pass the filter, newest first.
pub(super) fn list(
    connection: &Connection,
    filter: &RunFilter,
    page: &PageRequest,
) -> Result<Page<OperationRun>, Fault> {
    let (sql, values) = query(filter, page)?;
    let items = collect(connection, &sql, params_from_iter(values), run)?;
    let cursor = |last: &OperationRun| Cursor(format!("{}~{}", nanos(last.created_at), last.id));
    Ok(super::page(items, page.bounded_limit(), cursor))
}

const ATTEMPT: &str =
    "SELECT run_id, number, instance, started_at, heartbeat_at, ended_at, end FROM run_attempts";

fn attempt(row: &Row<'_>) -> Result<Attempt, Fault> {
    Ok(Attempt {
        run_id: parsed(row, 0, "run id")?,
        number: small(row, 1)?,
        instance: row.get(2)?,
        started_at: time(row, 3)?,
        heartbeat_at: time(row, 4)?,
        ended_at: optional_time(row, 5)?,
        end: optional_parsed(row, 6, "attempt end")?,
    })
}

/// The attempts of a run, first first.
pub(super) fn attempts(connection: &Connection, run_id: RunId) -> Result<Vec<Attempt>, Fault> {
    let sql = format!("{ATTEMPT} WHERE run_id = ? ORDER BY number");
    collect(connection, &sql, [run_id.to_string()], attempt)
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

/// Runs that want a worker: their subject is free or theirs, and no older run of it is ready.
pub(super) fn claimable(
    connection: &Connection,
    at: Timestamp,
    limit: usize,
) -> Result<Vec<OperationRun>, Fault> {
    // A run that holds the lock comes before an older one: when the clock was set back, or both came
    // in one instant, each would wait for the other for ever.
    let sql = format!(
        "{RUN} WHERE r.ready = 1
         AND NOT EXISTS (SELECT 1 FROM locks l
             WHERE l.subject = r.subject AND l.run_id <> r.id AND l.expires_at > ?1)
         AND (EXISTS (SELECT 1 FROM locks l
                 WHERE l.subject = r.subject AND l.run_id = r.id AND l.expires_at > ?1)
             OR NOT EXISTS (SELECT 1 FROM runs o
                 WHERE o.ready = 1 AND o.subject = r.subject
                 AND (o.created_at, o.id) < (r.created_at, r.id)))
         ORDER BY r.created_at, r.id LIMIT ?2"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    collect(connection, &sql, params![nanos(at), limit], run)
}

/// Waiting runs whose time has come.
pub(super) fn due(connection: &Connection, at: Timestamp) -> Result<Vec<OperationRun>, Fault> {
    let sql = format!("{RUN} WHERE r.wait_until <= ? ORDER BY r.wait_until, r.id");
    collect(connection, &sql, [nanos(at)], run)
}

/// When the next waiting run's time comes.
pub(super) fn next_due(connection: &Connection) -> Result<Option<Timestamp>, Fault> {
    let sql = "SELECT min(wait_until) FROM runs WHERE wait_until IS NOT NULL";
    let found = collect(connection, sql, [], |row| optional_time(row, 0))?;
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
    subject: &Subject,
) -> Result<Option<(RunId, Timestamp)>, Fault> {
    let sql = "SELECT run_id, expires_at FROM locks WHERE subject = ?";
    let read = |row: &Row<'_>| Ok((parsed(row, 0, "run id")?, time(row, 1)?));
    Ok(collect(connection, sql, [subject.as_str()], read)?.pop())
}
