//! Names the columns of each kind of record, and what several statements share. Owns the beginnings
//! of statements. Face: one macro per kind, for `concat!`. Never holds a
//! whole statement, but those that name all columns of a record of access.

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
         j.lease_until, j.number, j.reached FROM run_jobs j"
    };
}

/// What `Finding::is_complete` denies; the suite compares them.
macro_rules! lacking {
    () => {
        "(recurrence_key IS NULL OR first_seen_at IS NULL OR last_seen_at IS NULL \
          OR times_seen IS NULL OR (due_at IS NULL AND severity <> 'info' \
          AND status IN ('new', 'triaged', 'in_progress', 'reopened')))"
    };
}

/// The columns of a finding, as `findings::finding` reads them.
macro_rules! finding_columns {
    () => {
        "id, workspace_id, tenant_id, type, severity, status, fingerprint, \
          recurrence_key, lineage_key, scope_key, first_seen_at, last_seen_at, times_seen, \
          reopen_count, due_at, owner, assignee, evidence, baseline_operation_run_id, \
          current_operation_run_id, resolved_at, closed_at, close_reason, merged_into, \
          created_at, updated_at, version, evidence_hash, title, message, remediation, project, \
          policies, overdue_told_at, subject, check_id, severity_rank"
    };
}

/// The columns of an exception.
macro_rules! exception_columns {
    () => {
        "id, workspace_id, tenant_id, finding_id, scope_key, owner, approver, reason, expires_at, \
          status, evidence_hash, created_at"
    };
}

/// The columns of findings with their types, as rows of JSON are read.
macro_rules! finding_shape {
    () => {
        "id text, workspace_id text, tenant_id text, type text, severity text, status \
         text, fingerprint text, recurrence_key text, lineage_key text, scope_key text, \
         first_seen_at bigint, last_seen_at bigint, times_seen bigint, reopen_count \
         bigint, due_at bigint, owner text, assignee text, evidence text, \
         baseline_operation_run_id text, current_operation_run_id text, resolved_at \
         bigint, closed_at bigint, close_reason text, merged_into text, created_at \
         bigint, updated_at bigint, version bigint, evidence_hash text, title text, \
         message text, remediation text, project text, policies text, overdue_told_at \
         bigint, subject text, check_id text, severity_rank bigint"
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

/// Everything that decides who may do what, each record as its kind and a list of columns.
macro_rules! access {
    () => {
        "SELECT 'workspace', json_build_array(id, name, is_platform, created_at)::text
            FROM workspaces
        UNION ALL SELECT 'tenant', json_build_array(id, workspace_id, external_id, name, status,
            stage, created_at)::text FROM tenants
        UNION ALL SELECT 'user', json_build_array(id, name, email, kind, is_break_glass,
            os_host_id, os_uid, disabled_at, created_at)::text FROM users
        UNION ALL SELECT 'membership', json_build_array(workspace_id, user_id, role,
            reaches_all)::text FROM memberships
        UNION ALL SELECT 'entitlement', json_build_array(workspace_id, user_id, tenant_id)::text
            FROM entitlements
        UNION ALL SELECT 'role', json_build_array(workspace_id, name, capabilities::json)::text
            FROM roles
        UNION ALL SELECT 'token', json_build_array(id, label, user_id, workspace_id,
            capabilities::json, reach::json, hash, created_at, expires_at, revoked_at)::text
            FROM access_tokens
        UNION ALL SELECT 'certificate', json_build_array(id, fingerprint, user_id,
            created_at)::text FROM access_certificates
        UNION ALL SELECT 'elevation', json_build_array(id, user_id, reason_code, reason_text,
            started_at, expires_at, ended_at)::text FROM elevations"
    };
}

/// How many records of access of each kind there are.
macro_rules! access_counts {
    () => {
        "SELECT (SELECT count(*) FROM workspaces), (SELECT count(*) FROM tenants),
        (SELECT count(*) FROM users), (SELECT count(*) FROM memberships),
        (SELECT count(*) FROM entitlements), (SELECT count(*) FROM roles),
        (SELECT count(*) FROM access_tokens), (SELECT count(*) FROM access_certificates),
        (SELECT count(*) FROM elevations)"
    };
}

/// Inserts or replaces a user.
macro_rules! put_user {
    () => {
        "INSERT INTO users (id, name, email, kind, is_break_glass, os_host_id, os_uid,
            disabled_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email,
            is_break_glass = excluded.is_break_glass, os_host_id = excluded.os_host_id,
            os_uid = excluded.os_uid, disabled_at = excluded.disabled_at"
    };
}

/// Inserts or replaces a tenant.
macro_rules! put_tenant {
    () => {
        "INSERT INTO tenants AS t (id, workspace_id, external_id, name, status, stage,
            created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id, name = excluded.name,
            status = excluded.status, stage = excluded.stage
        WHERE t.workspace_id = excluded.workspace_id RETURNING id"
    };
}

/// Inserts a token.
macro_rules! insert_token {
    () => {
        "INSERT INTO access_tokens (id, label, user_id, workspace_id, capabilities,
            reach, hash, created_at, expires_at, revoked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    };
}

pub(super) use {
    access, access_counts, attempt, delivery, exception_columns, finding_columns, finding_shape,
    hosted_type, insert_token, job, lacking, lock, needed_by_runs, project, put_tenant, put_user,
    receiver, revision, run, schedule,
};
