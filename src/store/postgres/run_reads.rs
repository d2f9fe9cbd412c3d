//! Reads runs, attempts, steps and jobs from rows. Owns the order of their columns, and how a state
//! is spread over them. Face: one function per record, and the queries of the lists. Never changes
//! anything.

use tokio_postgres::Row;

use super::columns::run as run_columns;
use super::fault::Fault;
use super::rows::{
    digest, flag, json, number, optional_json, optional_parsed, optional_time, parsed, small, text,
    time, unsigned,
};
use crate::base::Timestamp;
use crate::domain::redaction::SafeText;
use crate::domain::runs::{
    Agent, Attempt, Holder, HostedType, Job, JobEnd, JobState, JobStatus, OperationRun, Payload,
    Priority, QueueControl, RunState, StepRecord, Subject,
};
use crate::store::filter::{Bound, Marks};
use crate::store::ledger::{StateColumns, state_of};
use crate::store::{Backlog, Cursor, PageRequest, QueueDepth, RunFilter, StoreError, lists};

/// Reads a run from the columns of `run!`.
pub(super) fn run(row: &Row) -> Result<OperationRun, Fault> {
    let subject = row.try_get::<_, Option<&str>>(6)?.map(Subject::parse).transpose();
    Ok(OperationRun {
        id: parsed(row, 0, "run id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        tenant_id: optional_parsed(row, 2, "tenant id")?,
        user_id: optional_parsed(row, 3, "user id")?,
        initiator_name: text(row, 4)?,
        source: parsed(row, 5, "source")?,
        subject: subject.map_err(|error| Fault::unreadable("subject", error))?,
        state: state(row)?,
        attempt: small(row, 12)?,
        run_identity_hash: digest(row.try_get(13)?)?,
        summary_counts: json(row, 14, "summary counts")?,
        failure_summary: json(row, 15, "failure summary")?,
        context: json(row, 16, "run context")?,
        cancel_requested_at: optional_time(row, 17)?,
        created_at: time(row, 18)?,
        started_at: optional_time(row, 19)?,
        completed_at: optional_time(row, 20)?,
        priority: Priority(number(row.try_get(21)?)?),
        run_at: optional_time(row, 22)?,
        host_id: optional_parsed(row, 23, "host id")?,
        retried_from: optional_parsed(row, 24, "run id")?,
        failures: small(row, 25)?,
        is_dead_letter: flag(row, 26)?,
        jobs: optional_json(row, 27, "job counts")?,
    })
}

/// The state that the columns of a run mean.
fn state(row: &Row) -> Result<RunState, Fault> {
    let columns = StateColumns {
        status: parsed(row, 7, "run status")?,
        outcome: parsed(row, 8, "run outcome")?,
        ready: flag(row, 9)?,
        waits_for: optional_parsed(row, 10, "wait")?,
        wait_until: optional_time(row, 11)?,
    };
    let contradict = || Fault::unreadable("run state", "its columns contradict each other");
    state_of(columns).ok_or_else(contradict)
}

/// Reads a run of a list, with its place in it.
pub(super) fn listed(row: &Row) -> Result<(OperationRun, Cursor), Fault> {
    let run = run(row)?;
    let cursor = lists::run_cursor(&run);
    Ok((run, cursor))
}

/// The query of a list of runs, newest first.
pub(super) fn query(
    filter: &RunFilter,
    page: &PageRequest,
) -> Result<(String, Vec<Bound>), StoreError> {
    let restriction = lists::runs(Marks::Dollar, filter, page)?;
    let limit = page.bounded_limit() + 1;
    Ok(restriction.query(run_columns!(), lists::RUNS_ORDER, limit))
}

/// Reads an attempt from the columns of `attempt!`.
pub(super) fn attempt(row: &Row) -> Result<Attempt, Fault> {
    Ok(Attempt {
        run_id: parsed(row, 0, "run id")?,
        number: small(row, 1)?,
        holder: Holder {
            instance: text(row, 2)?,
            host_id: optional_parsed(row, 3, "host id")?,
            boot_id: row.try_get(4)?,
            is_hosted: flag(row, 5)?,
        },
        started_at: time(row, 6)?,
        heartbeat_at: time(row, 7)?,
        lease_until: time(row, 8)?,
        ended_at: optional_time(row, 9)?,
        end: optional_parsed(row, 10, "attempt end")?,
    })
}

/// Reads a step.
pub(super) fn step(row: &Row) -> Result<StepRecord, Fault> {
    Ok(StepRecord {
        run_id: parsed(row, 0, "run id")?,
        attempt: small(row, 1)?,
        index: small(row, 2)?,
        key: text(row, 3)?,
        description: SafeText::new(text(row, 4)?),
        cause: SafeText::new(text(row, 5)?),
        undo: json(row, 6, "undo")?,
        status: parsed(row, 7, "step status")?,
        started_at: time(row, 8)?,
        ended_at: optional_time(row, 9)?,
        detail: row.try_get::<_, Option<String>>(10)?.map(SafeText::new),
    })
}

/// Reads a job from the columns of `job!`.
pub(super) fn job(row: &Row) -> Result<Job, Fault> {
    let instance: Option<String> = row.try_get(9)?;
    let holder = match instance {
        Some(instance) => Some(Holder {
            instance,
            host_id: optional_parsed(row, 10, "host id")?,
            boot_id: row.try_get(11)?,
            is_hosted: flag(row, 12)?,
        }),
        None => None,
    };
    Ok(Job {
        run_id: parsed(row, 0, "run id")?,
        key: text(row, 1)?,
        tenant_id: optional_parsed(row, 2, "tenant id")?,
        payload: Payload::stored(text(row, 3)?),
        state: job_state(parsed(row, 4, "job status")?, optional_time(row, 5)?)?,
        attempt: small(row, 6)?,
        failures: small(row, 7)?,
        interruptions: small(row, 8)?,
        holder,
        lease_until: optional_time(row, 13)?,
        reached: row.try_get(15)?,
    })
}

fn job_state(status: JobStatus, until: Option<Timestamp>) -> Result<JobState, Fault> {
    Ok(match (status, until) {
        (JobStatus::Queued, None) => JobState::Queued,
        (JobStatus::Running, None) => JobState::Running,
        (JobStatus::Waiting, Some(until)) => JobState::Waiting { until },
        (JobStatus::Succeeded, None) => JobState::Ended(JobEnd::Succeeded),
        (JobStatus::Failed, None) => JobState::Ended(JobEnd::Failed),
        (JobStatus::Skipped, None) => JobState::Ended(JobEnd::Skipped),
        (JobStatus::Cancelled, None) => JobState::Ended(JobEnd::Cancelled),
        _ => return Err(Fault::unreadable("job state", "its columns contradict each other")),
    })
}

pub(super) fn agent(row: &Row) -> Result<Agent, Fault> {
    Ok(Agent {
        instance: text(row, 0)?,
        host_id: parsed(row, 1, "host id")?,
        boot_id: text(row, 2)?,
        hostname: text(row, 3)?,
        started_at: time(row, 4)?,
        heartbeat_at: time(row, 5)?,
    })
}

pub(super) fn hosted_type(row: &Row) -> Result<HostedType, Fault> {
    Ok(HostedType {
        workspace_id: parsed(row, 0, "workspace id")?,
        name: parsed(row, 1, "name")?,
        definition: json(row, 2, "definition")?,
        registered_at: time(row, 3)?,
        updated_at: time(row, 4)?,
    })
}

pub(super) fn queue_control(row: &Row) -> Result<QueueControl, Fault> {
    let most = row.try_get::<_, Option<i64>>(3)?;
    Ok(QueueControl {
        workspace_id: parsed(row, 0, "workspace id")?,
        scope: parsed(row, 1, "scope of the queue")?,
        is_paused: flag(row, 2)?,
        concurrency_max: most.map(number).transpose()?,
    })
}

pub(super) fn queue_depth(row: &Row) -> Result<QueueDepth, Fault> {
    Ok(QueueDepth {
        run_type: parsed(row, 0, "run type")?,
        queued: unsigned(row, 1)?,
        running: unsigned(row, 2)?,
        oldest_queued_at: optional_time(row, 3)?,
    })
}

pub(super) fn backlog(row: &Row) -> Result<Backlog, Fault> {
    Ok(Backlog {
        status: parsed(row, 0, "status")?,
        runs: unsigned(row, 1)?,
        oldest: time(row, 2)?,
    })
}
