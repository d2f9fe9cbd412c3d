//! Names the columns of each kind of record, and what several statements share. Owns the beginnings
//! of statements. Face: one macro per kind, for `concat!`. Never holds a whole statement.

/// The columns of a run, in the order in which `run_reads::run` reads them.
macro_rules! run {
    () => {
        "SELECT r.id, r.workspace_id, r.tenant_id, r.user_id, r.initiator_name, r.source,
         r.subject, r.status, r.outcome, r.ready, r.waits_for, r.wait_until, r.attempt,
         r.run_identity_hash, r.summary_counts, r.failure_summary, r.context,
         r.cancel_requested_at, r.created_at, r.started_at, r.completed_at, r.priority, r.run_at,
         r.host_id, r.retried_from, r.failures, r.is_dead_letter, r.jobs FROM runs r"
    };
}

/// The columns of an attempt, as `run_reads::attempt` reads them.
macro_rules! attempt {
    () => {
        "a.run_id, a.number, a.instance, a.host_id, a.boot_id, a.is_hosted, a.started_at,
         a.heartbeat_at, a.lease_until, a.ended_at, a.\"end\""
    };
}

/// The columns of a lock, as `loads::lock` reads them: the last says whether its scope is a host.
macro_rules! lock {
    () => {
        "SELECT l.scope, l.subject, l.run_id, l.acquired_at, l.expires_at,
         (SELECT count(*) FROM hosts h WHERE h.id = l.scope) FROM locks l"
    };
}

/// The columns of a job, as `run_reads::job` reads them.
macro_rules! job {
    () => {
        "SELECT j.run_id, j.key, j.tenant_id, j.payload, j.status, j.wait_until, j.attempt,
         j.failures, j.interruptions, j.instance, j.host_id, j.boot_id, j.is_hosted,
         j.lease_until, j.number FROM run_jobs j"
    };
}

macro_rules! revision {
    () => {
        "SELECT id, workspace_id, project, digest, size_bytes, created_at FROM revisions"
    };
}

macro_rules! project {
    () => {
        "SELECT workspace_id, tenant_id, name, desired, revision_id, deployed_revision_id,
         spec_digest, created_at, updated_at, wanted FROM projects"
    };
}

macro_rules! hosted_type {
    () => {
        "SELECT workspace_id, name, definition, registered_at, updated_at FROM hosted_types"
    };
}

/// Runs that are not completed need the files that they name.
macro_rules! needed_by_runs {
    () => {
        "SELECT context::json -> 'inputs' ->> 'revision_id' FROM runs
         WHERE status <> 'completed' AND context::json -> 'inputs' ->> 'revision_id' IS NOT NULL
         UNION SELECT layer.value ->> 'revision_id' FROM runs,
             json_array_elements(context::json #> '{inputs,wanted,beneath}') AS layer
         WHERE status <> 'completed'"
    };
}

macro_rules! schedule {
    () => {
        "SELECT id, workspace_id, tenant_id, name, expression, time_zone, task, jitter_max, missed,
         missed_age_max, overlap, is_paused, created_at, updated_at, done_until, held, fired_at,
         run_id FROM schedules"
    };
}

macro_rules! receiver {
    () => {
        "SELECT id, workspace_id, name, target, header_names, is_signed, timeout, created_at,
         updated_at, sealed FROM alert_receivers"
    };
}

/// The columns of a delivery, as `alerts::delivery` reads them.
macro_rules! delivery {
    () => {
        "SELECT d.id, d.receiver_id, d.event, d.status, d.due_at, d.ended_at, d.attempts, d.last
         FROM alert_deliveries d"
    };
}

pub(super) use {
    attempt, delivery, hosted_type, job, lock, needed_by_runs, project, receiver, revision, run,
    schedule,
};
