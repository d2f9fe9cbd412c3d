//! Keeps schedules. Owns their table. Face: `write` and `ReadSchedules`. Never moves a schedule's
//! progress but from where its caller saw it.

use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{
    json, nanos, optional_nanos, optional_parsed, optional_time, parsed, time, to_json, unsigned,
};
use super::serve::answer;
use crate::base::ids::{ScheduleId, WorkspaceId};
use crate::domain::schedules::{Calendar, Progress, Schedule};
use crate::store::{Advance, Answer, Conflict, ReadSchedules, ScheduleWrite};
use std::time::Duration;

/// Changes schedules.
pub(super) fn write(connection: &Connection, write: &ScheduleWrite) -> Result<(), Fault> {
    match write {
        ScheduleWrite::Put(schedule) => put(connection, schedule),
        ScheduleWrite::Drop { workspace_id, id } => remove(connection, *workspace_id, *id),
        ScheduleWrite::Advance(next) => advance(connection, next),
    }
}

/// A length of time in nanoseconds; longer ones than 292 years stop there.
pub(super) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn put(connection: &Connection, schedule: &Schedule) -> Result<(), Fault> {
    let workspace = schedule.workspace_id.to_string();
    let sql = "SELECT 1 FROM schedules WHERE workspace_id = ? AND name = ? AND id <> ?";
    let name = schedule.name.as_str();
    let id = schedule.id.to_string();
    if connection.prepare_cached(sql)?.exists(params![workspace, name, id])? {
        return Err(Conflict::Taken { noun: "schedule", name: name.to_owned() }.into());
    }
    connection
        .prepare_cached(
            "INSERT INTO schedules (id, workspace_id, tenant_id, name, expression, time_zone, task,
                 jitter_max, missed, missed_age_max, overlap, is_paused, created_at, updated_at,
                 done_until, held, fired_at, run_id)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET
                 name = excluded.name, expression = excluded.expression,
                 time_zone = excluded.time_zone, task = excluded.task,
                 jitter_max = excluded.jitter_max, missed = excluded.missed,
                 missed_age_max = excluded.missed_age_max, overlap = excluded.overlap,
                 is_paused = excluded.is_paused, updated_at = excluded.updated_at,
                 done_until = max(done_until, excluded.done_until)",
        )?
        .execute(params![
            id,
            workspace,
            schedule.tenant_id.map(|id| id.to_string()),
            name,
            schedule.calendar.expression(),
            schedule.calendar.zone_name(),
            to_json(&schedule.task, "task")?,
            length(schedule.jitter_max),
            schedule.missed.key(),
            length(schedule.missed_age_max),
            schedule.overlap.key(),
            schedule.is_paused,
            nanos(schedule.created_at),
            nanos(schedule.updated_at),
            nanos(schedule.progress.done_until),
            optional_nanos(schedule.progress.held),
            optional_nanos(schedule.progress.fired_at),
            schedule.progress.run_id.map(|id| id.to_string()),
        ])?;
    Ok(())
}

fn remove(connection: &Connection, workspace: WorkspaceId, id: ScheduleId) -> Result<(), Fault> {
    let gone = connection
        .prepare_cached("DELETE FROM schedules WHERE workspace_id = ? AND id = ?")?
        .execute(params![workspace.to_string(), id.to_string()])?;
    match gone {
        0 => Err(Conflict::Missing { noun: "schedule", id: id.to_string() }.into()),
        _ => Ok(()),
    }
}

fn advance(connection: &Connection, next: &Advance) -> Result<(), Fault> {
    let changed = connection
        .prepare_cached(
            "UPDATE schedules SET done_until = ?, held = ?, fired_at = ?, run_id = ?
             WHERE id = ? AND done_until = ? AND held IS ? AND updated_at = ?",
        )?
        .execute(params![
            nanos(next.progress.done_until),
            optional_nanos(next.progress.held),
            optional_nanos(next.progress.fired_at),
            next.progress.run_id.map(|id| id.to_string()),
            next.id.to_string(),
            nanos(next.seen.done_until),
            optional_nanos(next.seen.held),
            nanos(next.seen_updated_at),
        ])?;
    match changed {
        0 => Err(Conflict::Stale { noun: "schedule", name: next.name.clone() }.into()),
        _ => Ok(()),
    }
}

const SCHEDULE: &str = "SELECT id, workspace_id, tenant_id, name, expression, time_zone, task,
    jitter_max, missed, missed_age_max, overlap, is_paused, created_at, updated_at, done_until,
    held, fired_at, run_id FROM schedules";

fn schedule(row: &Row<'_>) -> Result<Schedule, Fault> {
    let (expression, zone): (String, String) = (row.get(4)?, row.get(5)?);
    let calendar = Calendar::parse(&expression, &zone);
    Ok(Schedule {
        id: parsed(row, 0, "schedule id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        tenant_id: optional_parsed(row, 2, "tenant id")?,
        name: parsed(row, 3, "schedule name")?,
        calendar: calendar.map_err(|error| Fault::unreadable("schedule", error))?,
        task: json(row, 6, "task")?,
        jitter_max: Duration::from_nanos(unsigned(row, 7)?),
        missed: parsed(row, 8, "missed-run policy")?,
        missed_age_max: Duration::from_nanos(unsigned(row, 9)?),
        overlap: parsed(row, 10, "overlap policy")?,
        is_paused: row.get(11)?,
        created_at: time(row, 12)?,
        updated_at: time(row, 13)?,
        progress: Progress {
            done_until: time(row, 14)?,
            held: optional_time(row, 15)?,
            fired_at: optional_time(row, 16)?,
            run_id: optional_parsed(row, 17, "run id")?,
        },
    })
}

fn list(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<Schedule>, Fault> {
    let sql = format!("{SCHEDULE} WHERE workspace_id = ? ORDER BY name");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([workspace.to_string()])?;
    let mut schedules = Vec::new();
    while let Some(row) = rows.next()? {
        schedules.push(schedule(row)?);
    }
    Ok(schedules)
}

fn find(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
) -> Result<Option<Schedule>, Fault> {
    let sql = format!("{SCHEDULE} WHERE workspace_id = ? AND name = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![workspace.to_string(), name])?;
    rows.next()?.map(schedule).transpose()
}

impl ReadSchedules for SqliteStore {
    fn schedules(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Schedule>> {
        answer(self.read("list the schedules", move |connection| list(connection, workspace)))
    }

    fn schedule(&self, workspace: WorkspaceId, name: String) -> Answer<'_, Option<Schedule>> {
        answer(self.read("read the schedule", move |connection| find(connection, workspace, &name)))
    }
}
