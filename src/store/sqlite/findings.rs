//! Keeps findings and their exceptions. Owns their tables. Face: `write` and `ReadFindings`. Never
//! changes a row of another version than its writer read.

use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{
    collect, json, nanos, optional_nanos, optional_parsed, optional_time, parsed, signed, time,
    to_json, unsigned,
};
use super::serve::answer;
use crate::base::Digest;
use crate::base::ids::{FindingId, TenantId, WorkspaceId};
use crate::domain::access::Tenant;
use crate::domain::findings::{Finding, FindingException};
use crate::store::{Answer, Conflict, FindingChange, FindingTotals, FindingWrite, ReadFindings};

/// Changes findings.
pub(super) fn write(connection: &Connection, write: &FindingWrite) -> Result<(), Fault> {
    match write {
        FindingWrite::Insert { tenant, findings } => {
            put_tenant(connection, tenant)?;
            findings.iter().try_for_each(|finding| insert(connection, finding))
        }
        FindingWrite::Update(changes) => {
            changes.iter().try_for_each(|change| update(connection, change))
        }
        FindingWrite::PutException(exception) => put_exception(connection, exception),
    }
}

fn put_tenant(connection: &Connection, tenant: &Tenant) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO tenants (id, workspace_id, external_id, name, status, stage, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            tenant.id.to_string(),
            tenant.workspace_id.to_string(),
            tenant.external_id,
            tenant.name,
            tenant.status.key(),
            tenant.stage.key(),
            nanos(tenant.created_at),
        ])?;
    Ok(())
}

fn insert(connection: &Connection, finding: &Finding) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO findings (id, workspace_id, tenant_id, type, severity, status,
        fingerprint, recurrence_key, lineage_key, scope_key, first_seen_at, last_seen_at,
        times_seen, reopen_count, due_at, owner, assignee, evidence,
        baseline_operation_run_id, current_operation_run_id, resolved_at, closed_at,
        close_reason, merged_into, created_at, updated_at, version) VALUES (?, ?, ?, ?, ?, ?,
        ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            finding.id.to_string(),
            finding.workspace_id.to_string(),
            finding.tenant_id.to_string(),
            finding.finding_type().key(),
            finding.severity.key(),
            finding.status.key(),
            finding.fingerprint,
            finding.recurrence_key.map(|key| key.to_string()),
            finding.lineage_key.map(|key| key.to_string()),
            finding.scope_key,
            optional_nanos(finding.first_seen_at),
            optional_nanos(finding.last_seen_at),
            finding.times_seen.map(signed),
            signed(finding.reopen_count),
            optional_nanos(finding.due_at),
            finding.owner.map(|id| id.to_string()),
            finding.assignee.map(|id| id.to_string()),
            to_json(&finding.evidence, "evidence")?,
            finding.baseline_operation_run_id.map(|id| id.to_string()),
            finding.current_operation_run_id.map(|id| id.to_string()),
            optional_nanos(finding.resolved_at),
            optional_nanos(finding.closed_at),
            finding.close_reason.map(|reason| reason.key()),
            finding.merged_into.map(|id| id.to_string()),
            nanos(finding.created_at),
            nanos(finding.updated_at),
            signed(finding.version),
        ])?;
    Ok(())
}

fn update(connection: &Connection, change: &FindingChange) -> Result<(), Fault> {
    let FindingChange { finding, seen_version } = change;
    let id = finding.id.to_string();
    let changed = connection
        .prepare_cached(
            "UPDATE findings SET severity = ?, status = ?, fingerprint = ?, recurrence_key = ?,
                 lineage_key = ?, scope_key = ?, first_seen_at = ?, last_seen_at = ?,
                 times_seen = ?, reopen_count = ?, due_at = ?, owner = ?, assignee = ?,
                 evidence = ?, baseline_operation_run_id = ?, current_operation_run_id
                 = ?, resolved_at = ?, closed_at = ?, close_reason = ?, merged_into =
                 ?, updated_at = ?, version = ?
             WHERE id = ? AND version = ?",
        )?
        .execute(params![
            finding.severity.key(),
            finding.status.key(),
            finding.fingerprint,
            finding.recurrence_key.map(|key| key.to_string()),
            finding.lineage_key.map(|key| key.to_string()),
            finding.scope_key,
            optional_nanos(finding.first_seen_at),
            optional_nanos(finding.last_seen_at),
            finding.times_seen.map(signed),
            signed(finding.reopen_count),
            optional_nanos(finding.due_at),
            finding.owner.map(|id| id.to_string()),
            finding.assignee.map(|id| id.to_string()),
            to_json(&finding.evidence, "evidence")?,
            finding.baseline_operation_run_id.map(|id| id.to_string()),
            finding.current_operation_run_id.map(|id| id.to_string()),
            optional_nanos(finding.resolved_at),
            optional_nanos(finding.closed_at),
            finding.close_reason.map(|reason| reason.key()),
            finding.merged_into.map(|id| id.to_string()),
            nanos(finding.updated_at),
            signed(finding.version),
            id,
            signed(*seen_version),
        ])?;
    if changed == 0 {
        return Err(Conflict::Stale { noun: "finding", name: id }.into());
    }
    if let Some(into) = finding.merged_into {
        connection
            .prepare_cached("UPDATE finding_exceptions SET finding_id = ? WHERE finding_id = ?")?
            .execute([into.to_string(), id])?;
    }
    Ok(())
}

fn put_exception(connection: &Connection, exception: &FindingException) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO finding_exceptions (id, workspace_id, tenant_id, finding_id, scope_key,
        owner, approver, reason, expires_at, status, evidence_hash, created_at) VALUES (?, ?,
        ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET approver =
        excluded.approver, expires_at = excluded.expires_at, status = excluded.status,
        evidence_hash = excluded.evidence_hash",
        )?
        .execute(params![
            exception.id.to_string(),
            exception.workspace_id.to_string(),
            exception.tenant_id.to_string(),
            exception.finding_id.to_string(),
            exception.scope_key,
            exception.owner.to_string(),
            exception.approver.map(|id| id.to_string()),
            exception.reason,
            nanos(exception.expires_at),
            exception.status.key(),
            exception.evidence_hash.to_string(),
            nanos(exception.created_at),
        ])?;
    Ok(())
}

fn digest(text: &str) -> Result<Digest, Fault> {
    Digest::from_hex(text).ok_or_else(|| Fault::unreadable("digest", "64 digits are expected"))
}

fn optional_digest(row: &Row<'_>, column: usize) -> Result<Option<Digest>, Fault> {
    row.get::<_, Option<String>>(column)?.map(|text| digest(&text)).transpose()
}

fn finding(row: &Row<'_>) -> Result<Finding, Fault> {
    let times_seen = row.get::<_, Option<i64>>(12)?.map(u64::try_from).transpose();
    let times_seen = times_seen.map_err(|error| Fault::unreadable("number", error))?;
    Ok(Finding {
        id: parsed(row, 0, "finding id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        tenant_id: parsed(row, 2, "tenant id")?,
        severity: parsed(row, 4, "severity")?,
        status: parsed(row, 5, "status")?,
        fingerprint: row.get(6)?,
        recurrence_key: optional_digest(row, 7)?,
        lineage_key: optional_digest(row, 8)?,
        scope_key: row.get(9)?,
        first_seen_at: optional_time(row, 10)?,
        last_seen_at: optional_time(row, 11)?,
        times_seen,
        reopen_count: unsigned(row, 13)?,
        due_at: optional_time(row, 14)?,
        owner: optional_parsed(row, 15, "user id")?,
        assignee: optional_parsed(row, 16, "user id")?,
        evidence: json(row, 17, "evidence")?,
        baseline_operation_run_id: optional_parsed(row, 18, "run id")?,
        current_operation_run_id: optional_parsed(row, 19, "run id")?,
        resolved_at: optional_time(row, 20)?,
        closed_at: optional_time(row, 21)?,
        close_reason: optional_parsed(row, 22, "close reason")?,
        merged_into: optional_parsed(row, 23, "finding id")?,
        created_at: time(row, 24)?,
        updated_at: time(row, 25)?,
        version: unsigned(row, 26)?,
    })
}

fn exception(row: &Row<'_>) -> Result<FindingException, Fault> {
    Ok(FindingException {
        id: parsed(row, 0, "exception id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        tenant_id: parsed(row, 2, "tenant id")?,
        finding_id: parsed(row, 3, "finding id")?,
        scope_key: row.get(4)?,
        owner: parsed(row, 5, "user id")?,
        approver: optional_parsed(row, 6, "user id")?,
        reason: row.get(7)?,
        expires_at: time(row, 8)?,
        status: parsed(row, 9, "status")?,
        evidence_hash: digest(&row.get::<_, String>(10)?)?,
        created_at: time(row, 11)?,
    })
}

fn totals(
    connection: &Connection,
    workspace: WorkspaceId,
    tenant: Option<TenantId>,
) -> Result<Vec<FindingTotals>, Fault> {
    let sql = "SELECT tenant_id, count(*), count(*) FILTER (WHERE (recurrence_key IS NULL OR
        first_seen_at IS NULL OR last_seen_at IS NULL OR times_seen IS NULL OR (due_at IS NULL
        AND severity <> 'info' AND status IN ('new', 'triaged', 'in_progress', 'reopened'))))
        FROM findings WHERE workspace_id = ?1 AND (?2 IS NULL OR tenant_id = ?2) GROUP BY
        tenant_id ORDER BY tenant_id";
    let read = |row: &Row<'_>| {
        Ok(FindingTotals {
            tenant_id: parsed(row, 0, "tenant id")?,
            total: unsigned(row, 1)?,
            lacking: unsigned(row, 2)?,
        })
    };
    let values = params![workspace.to_string(), tenant.map(|id| id.to_string())];
    collect(connection, sql, values, read)
}

/// A page of a tenant's findings: by an index, as a test sees to.
pub(super) const AFTER: &str =
    "SELECT id, workspace_id, tenant_id, type, severity, status, fingerprint,
        recurrence_key, lineage_key, scope_key, first_seen_at, last_seen_at, times_seen,
        reopen_count, due_at, owner, assignee, evidence, baseline_operation_run_id,
        current_operation_run_id, resolved_at, closed_at, close_reason, merged_into,
        created_at, updated_at, version FROM findings WHERE workspace_id = ? AND tenant_id = ?
        AND id > ? ORDER BY id LIMIT ?";

/// Findings by their fingerprints: by an index, as a test sees to.
pub(super) const BY_FINGERPRINT: &str =
    "SELECT id, workspace_id, tenant_id, type, severity, status, fingerprint,
        recurrence_key, lineage_key, scope_key, first_seen_at, last_seen_at, times_seen,
        reopen_count, due_at, owner, assignee, evidence, baseline_operation_run_id,
        current_operation_run_id, resolved_at, closed_at, close_reason, merged_into,
        created_at, updated_at, version FROM findings WHERE tenant_id = ? AND fingerprint IN
        (SELECT value FROM json_each(?))";

impl ReadFindings for SqliteStore {
    fn finding_totals(
        &self,
        workspace: WorkspaceId,
        tenant: Option<TenantId>,
    ) -> Answer<'_, Vec<FindingTotals>> {
        answer(
            self.read("count the findings", move |connection| {
                totals(connection, workspace, tenant)
            }),
        )
    }

    fn findings_after(
        &self,
        workspace: WorkspaceId,
        tenant: TenantId,
        after: Option<FindingId>,
        limit: usize,
    ) -> Answer<'_, Vec<Finding>> {
        answer(self.read("list the findings", move |connection| {
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let values = params![workspace.to_string(), tenant.to_string(), after, limit];
            collect(connection, AFTER, values, finding)
        }))
    }

    fn findings_by_fingerprint(
        &self,
        tenant: TenantId,
        keys: Vec<Digest>,
    ) -> Answer<'_, Vec<Finding>> {
        answer(self.read("find the findings", move |connection| {
            let keys: Vec<String> = keys.iter().map(Digest::to_string).collect();
            let keys = serde_json::Value::from(keys).to_string();
            collect(connection, BY_FINGERPRINT, params![tenant.to_string(), keys], finding)
        }))
    }

    fn finding_exceptions(&self, finding: FindingId) -> Answer<'_, Vec<FindingException>> {
        answer(self.read("list the exceptions", move |connection| {
            let sql = "SELECT id, workspace_id, tenant_id, finding_id, scope_key, owner, approver, reason,
        expires_at, status, evidence_hash, created_at FROM finding_exceptions WHERE finding_id
        = ? ORDER BY id";
            collect(connection, sql, [finding.to_string()], exception)
        }))
    }
}
