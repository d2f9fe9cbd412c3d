//! Reads jobs. Owns their column list. Face: one function per reading. Never changes anything.

use rusqlite::{Connection, Row, params_from_iter};

use super::fault::Fault;
use super::rows::{bound, collect, optional_parsed, optional_time, parsed, small};
use super::run_reads::existing;
use crate::base::ids::RunId;
use crate::domain::runs::{Holder, Job, JobEnd, JobState, JobStatus, OperationRun, Payload};
use crate::store::filter::{Marks, Restriction};
use crate::store::{Cursor, JobFilter, NewJob, Page, PageRequest, StoreError};

const JOB: &str = "SELECT run_id, key, tenant_id, payload, status, wait_until, attempt, failures,
    interruptions, instance, host_id, boot_id, is_hosted, lease_until, number, reached FROM run_jobs";

fn job(row: &Row<'_>) -> Result<Job, Fault> {
    let status: JobStatus = parsed(row, 4, "job status")?;
    let until = optional_time(row, 5)?;
    let state = match (status, until) {
        (JobStatus::Queued, None) => JobState::Queued,
        (JobStatus::Running, None) => JobState::Running,
        (JobStatus::Waiting, Some(until)) => JobState::Waiting { until },
        (JobStatus::Succeeded, None) => JobState::Ended(JobEnd::Succeeded),
        (JobStatus::Failed, None) => JobState::Ended(JobEnd::Failed),
        (JobStatus::Skipped, None) => JobState::Ended(JobEnd::Skipped),
        (JobStatus::Cancelled, None) => JobState::Ended(JobEnd::Cancelled),
        _ => return Err(Fault::unreadable("job state", "its columns contradict each other")),
    };
    let holder = match row.get::<_, Option<String>>(9)? {
        Some(instance) => Some(Holder {
            instance,
            host_id: optional_parsed(row, 10, "host id")?,
            boot_id: row.get(11)?,
            is_hosted: row.get(12)?,
        }),
        None => None,
    };
    Ok(Job {
        run_id: parsed(row, 0, "run id")?,
        key: row.get(1)?,
        tenant_id: optional_parsed(row, 2, "tenant id")?,
        payload: Payload::stored(row.get(3)?),
        state,
        attempt: small(row, 6)?,
        failures: small(row, 7)?,
        interruptions: small(row, 8)?,
        holder,
        lease_until: optional_time(row, 13)?,
        reached: row.get(15)?,
    })
}

/// One job.
pub(super) fn find(
    connection: &Connection,
    run_id: RunId,
    key: &str,
) -> Result<Option<Job>, Fault> {
    let sql = format!("{JOB} WHERE run_id = ? AND key = ?");
    Ok(collect(connection, &sql, [run_id.to_string().as_str(), key], job)?.pop())
}

/// The jobs of a completed run that failed or were cancelled, in their order.
pub(super) fn undone(connection: &Connection, run_id: RunId) -> Result<Vec<NewJob>, Fault> {
    let sql =
        format!("{JOB} WHERE run_id = ? AND status IN ('failed', 'cancelled') ORDER BY number");
    let jobs = collect(connection, &sql, [run_id.to_string()], job)?;
    let again = |job: Job| NewJob { key: job.key, tenant_id: job.tenant_id, payload: job.payload };
    Ok(jobs.into_iter().map(again).collect())
}

/// Jobs that somebody executes, with their runs.
pub(super) fn running(connection: &Connection) -> Result<Vec<(OperationRun, Job)>, Fault> {
    let sql = format!("{JOB} INDEXED BY run_jobs_running WHERE status = 'running'");
    let jobs = collect(connection, &sql, [], job)?;
    jobs.into_iter().map(|job| Ok((existing(connection, job.run_id)?, job))).collect()
}

/// Jobs that pass the filter, in their order.
pub(super) fn list(
    connection: &Connection,
    filter: &JobFilter,
    page: &PageRequest,
) -> Result<Page<Job>, Fault> {
    let after = match &page.after {
        Some(Cursor(text)) => {
            let after: i64 =
                text.parse().map_err(|_| Fault::Store(StoreError::BadCursor(text.clone())))?;
            Some(after.saturating_add(1))
        }
        None => None,
    };
    let (sql, values) = Restriction::new(Marks::Question)
        .equals("run_id", filter.run_id.to_string())
        .any_of("status", &filter.statuses)
        .at_least("number", after)
        .query(JOB, "number", page.bounded_limit() + 1);
    let numbered = |row: &Row<'_>| Ok((job(row)?, row.get::<_, i64>(14)?));
    let items = collect(connection, &sql, params_from_iter(bound(values)), numbered)?;
    let cursor = |last: &(Job, i64)| Cursor(last.1.to_string());
    let Page { items, next } = super::page(items, page.bounded_limit(), cursor);
    Ok(Page { items: items.into_iter().map(|(job, _)| job).collect(), next })
}
