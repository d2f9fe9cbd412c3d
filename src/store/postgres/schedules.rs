//! Keeps schedules. Owns their table. Face: `write` and `ReadSchedules`. Never moves a schedule's
//! progress but from where its caller saw it.

use std::time::Duration;

use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::Fault;
use super::rows::{
    flag, json, nanos, optional_nanos, optional_parsed, optional_time, parsed, time, to_json,
    unsigned,
};
use super::serve::{answer, texts};
use super::server::Session;
use super::statements::Sql;
use crate::base::ids::WorkspaceId;
use crate::domain::schedules::{Calendar, Progress, Schedule};
use crate::store::{Advance, Answer, Conflict, ReadSchedules, ScheduleWrite};

/// Changes schedules.
pub(super) async fn write(session: &Session, write: &ScheduleWrite) -> Result<(), Fault> {
    match write {
        ScheduleWrite::Put(schedule) => put(session, schedule).await,
        ScheduleWrite::Drop { workspace_id, id } => {
            let values = [workspace_id.to_string(), id.to_string()];
            let gone = session.query(Sql::DropSchedule, &[&values[0], &values[1]]).await?;
            let missing = || Conflict::Missing { noun: "schedule", id: id.to_string() };
            gone.first().map(drop).ok_or_else(|| missing().into())
        }
        ScheduleWrite::Advance(next) => advance(session, next).await,
    }
}

/// A length of time in nanoseconds; longer ones than 292 years stop there.
pub(super) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

async fn put(session: &Session, schedule: &Schedule) -> Result<(), Fault> {
    let (id, workspace) = (schedule.id.to_string(), schedule.workspace_id.to_string());
    let name = schedule.name.to_string();
    let others = session.query(Sql::ScheduleTaken, &[&workspace, &name, &id]).await?;
    if !others.is_empty() {
        return Err(Conflict::Taken { noun: "schedule", name }.into());
    }
    session
        .query(
            Sql::PutSchedule,
            &[
                &id,
                &workspace,
                &schedule.tenant_id.map(|id| id.to_string()),
                &name,
                &schedule.calendar.expression(),
                &schedule.calendar.zone_name(),
                &to_json(&schedule.task, "task")?,
                &length(schedule.jitter_max),
                &schedule.missed.key(),
                &length(schedule.missed_age_max),
                &schedule.overlap.key(),
                &i64::from(schedule.is_paused),
                &nanos(schedule.created_at),
                &nanos(schedule.updated_at),
                &nanos(schedule.progress.done_until),
                &optional_nanos(schedule.progress.held),
                &optional_nanos(schedule.progress.fired_at),
                &schedule.progress.run_id.map(|id| id.to_string()),
            ],
        )
        .await?;
    Ok(())
}

async fn advance(session: &Session, next: &Advance) -> Result<(), Fault> {
    let changed = session
        .query(
            Sql::AdvanceSchedule,
            &[
                &nanos(next.progress.done_until),
                &optional_nanos(next.progress.held),
                &optional_nanos(next.progress.fired_at),
                &next.progress.run_id.map(|id| id.to_string()),
                &next.id.to_string(),
                &nanos(next.seen.done_until),
                &optional_nanos(next.seen.held),
                &nanos(next.seen_updated_at),
            ],
        )
        .await?;
    let stale = || Conflict::Stale { noun: "schedule", name: next.name.clone() };
    changed.first().map(drop).ok_or_else(|| stale().into())
}

fn schedule(row: &Row) -> Result<Schedule, Fault> {
    let calendar = Calendar::parse(row.try_get(4)?, row.try_get(5)?);
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
        is_paused: flag(row, 11)?,
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

impl ReadSchedules for PostgresStore {
    fn schedules(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Schedule>> {
        answer(async move {
            self.many("list the schedules", Sql::Schedules, &texts([&workspace]), schedule).await
        })
    }

    fn schedule(&self, workspace: WorkspaceId, name: String) -> Answer<'_, Option<Schedule>> {
        answer(async move {
            let values = texts([&workspace, &name]);
            self.one("read the schedule", Sql::ScheduleByName, &values, schedule).await
        })
    }
}
