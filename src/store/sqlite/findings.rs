//! Keeps findings, their exceptions, and how subjects stand to policies. Owns their tables. Face:
//! `write`, `finding`, `exception`. Never changes a row of another version than its writer read.

use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::rows::{
    json, nanos, optional_nanos, optional_parsed, optional_time, parsed, signed, time, to_json,
    unsigned,
};
use crate::base::Digest;
use crate::base::ids::{FindingId, TenantId, WorkspaceId};
use crate::domain::access::Tenant;
use crate::domain::findings::{ExceptionChange, Finding, FindingException, StandingChanges, Told};
use crate::store::{Conflict, FindingChange, FindingWrite, severity_rank};

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
        FindingWrite::Add(findings) => findings.iter().try_for_each(|it| add(connection, it)),
        FindingWrite::PutException(exception) => put_exception(connection, exception),
        FindingWrite::ChangeException(change) => change_exception(connection, change),
        FindingWrite::Stand { workspace_id, tenant_id, changes } => {
            stand(connection, *workspace_id, *tenant_id, changes)
        }
        FindingWrite::Purge(ids) => ids.iter().try_for_each(|id| purge(connection, *id)),
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

/// A new row: its columns in the order of `execute`.
const INSERT: &str = "INSERT INTO findings (id, workspace_id, tenant_id, type, created_at,
     severity, status, fingerprint, recurrence_key, lineage_key, scope_key, first_seen_at,
     last_seen_at, times_seen, reopen_count, due_at, owner, assignee, evidence,
     baseline_operation_run_id, current_operation_run_id, resolved_at, closed_at, close_reason,
     merged_into, updated_at, version, evidence_hash, title, message, remediation, project,
     policies, overdue_told_at, subject, check_id, severity_rank)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
     ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37)";

/// A row that changes, with the same numbers: the first five columns stay.
const UPDATE: &str = "UPDATE findings SET severity = ?6, status = ?7, fingerprint = ?8,
     recurrence_key = ?9, lineage_key = ?10, scope_key = ?11, first_seen_at = ?12,
     last_seen_at = ?13, times_seen = ?14, reopen_count = ?15, due_at = ?16, owner = ?17,
     assignee = ?18, evidence = ?19, baseline_operation_run_id = ?20,
     current_operation_run_id = ?21, resolved_at = ?22, closed_at = ?23, close_reason = ?24,
     merged_into = ?25, updated_at = ?26, version = ?27, evidence_hash = ?28, title = ?29,
     message = ?30, remediation = ?31, project = ?32, policies = ?33, overdue_told_at = ?34,
     subject = ?35, check_id = ?36, severity_rank = ?37
     WHERE id = ?1 AND version = ?38";

/// Executes a statement with what is in a finding and, where it asks for that, the version that its
/// writer read. The answer is how many rows that changed.
fn execute(
    connection: &Connection,
    sql: &str,
    finding: &Finding,
    seen_version: u64,
) -> Result<usize, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let asked = statement.parameter_count();
    let values = params![
        finding.id.to_string(),
        finding.workspace_id.to_string(),
        finding.tenant_id.to_string(),
        finding.finding_type().key(),
        nanos(finding.created_at),
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
        finding.evidence_hash.map(|hash| hash.to_string()),
        finding.told.title,
        finding.told.message,
        finding.told.remediation,
        finding.told.project,
        to_json(&finding.told.policies, "policies")?,
        optional_nanos(finding.overdue_told_at),
        finding.evidence.subject(),
        finding.evidence.check_id(),
        severity_rank(finding.severity),
        signed(seen_version),
    ];
    Ok(statement.execute(&values[..asked])?)
}

fn insert(connection: &Connection, finding: &Finding) -> Result<(), Fault> {
    execute(connection, INSERT, finding, 0).map(drop)
}

/// A new row, unless its tenant has one of its fingerprint.
fn add(connection: &Connection, finding: &Finding) -> Result<(), Fault> {
    let sql = "SELECT 1 FROM findings WHERE tenant_id = ? AND fingerprint = ?";
    let values = [finding.tenant_id.to_string(), finding.fingerprint.clone()];
    if connection.prepare_cached(sql)?.exists(values)? {
        return Err(Conflict::Stale { noun: "finding", name: finding.fingerprint.clone() }.into());
    }
    insert(connection, finding)
}

fn update(connection: &Connection, change: &FindingChange) -> Result<(), Fault> {
    let FindingChange { finding, seen_version } = change;
    let id = finding.id.to_string();
    if execute(connection, UPDATE, finding, *seen_version)? == 0 {
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

fn change_exception(connection: &Connection, change: &ExceptionChange) -> Result<(), Fault> {
    let id = change.exception.id.to_string();
    let (sql, values) = match change.seen_status {
        Some(status) => (
            "SELECT 1 FROM finding_exceptions WHERE id = ? AND status = ?",
            vec![id.clone(), status.key().to_owned()],
        ),
        None => (
            "SELECT 1 FROM findings WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM finding_exceptions
                 WHERE finding_id = ?1 AND status IN ('requested', 'approved'))",
            vec![change.exception.finding_id.to_string()],
        ),
    };
    if !connection.prepare_cached(sql)?.exists(rusqlite::params_from_iter(values))? {
        return Err(Conflict::Stale { noun: "finding exception", name: id }.into());
    }
    put_exception(connection, &change.exception)
}

fn stand(
    connection: &Connection,
    workspace: WorkspaceId,
    tenant: TenantId,
    changes: &StandingChanges,
) -> Result<(), Fault> {
    let (workspace, tenant) = (workspace.to_string(), tenant.to_string());
    let mut put = connection.prepare_cached(
        "INSERT INTO policy_standings (workspace_id, tenant_id, policy, subject, project, standing,
             since) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (tenant_id, policy, subject) DO UPDATE SET project = excluded.project,
             standing = excluded.standing, since = excluded.since",
    )?;
    for row in &changes.put {
        put.execute(params![
            workspace,
            tenant,
            row.policy,
            row.subject,
            row.project,
            row.standing.key(),
            nanos(row.since),
        ])?;
    }
    let mut dropped = connection.prepare_cached(
        "DELETE FROM policy_standings WHERE tenant_id = ? AND policy = ? AND subject = ?",
    )?;
    for (policy, subject) in &changes.dropped {
        dropped.execute(params![tenant, policy, subject])?;
    }
    Ok(())
}

fn purge(connection: &Connection, finding: FindingId) -> Result<(), Fault> {
    let id = finding.to_string();
    connection
        .prepare_cached("DELETE FROM finding_exceptions WHERE finding_id = ?")?
        .execute([&id])?;
    let gone = connection
        .prepare_cached("DELETE FROM findings WHERE id = ? AND status IN ('resolved', 'closed')")?
        .execute([&id])?;
    match gone {
        0 => Err(Conflict::Stale { noun: "finding", name: id }.into()),
        _ => Ok(()),
    }
}

fn digest(text: &str) -> Result<Digest, Fault> {
    Digest::from_hex(text).ok_or_else(|| Fault::unreadable("digest", "64 digits are expected"))
}

fn optional_digest(row: &Row<'_>, column: usize) -> Result<Option<Digest>, Fault> {
    row.get::<_, Option<String>>(column)?.map(|text| digest(&text)).transpose()
}

/// Reads a finding from the columns of `finding_columns!`.
pub(super) fn finding(row: &Row<'_>) -> Result<Finding, Fault> {
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
        evidence_hash: optional_digest(row, 27)?,
        told: Told {
            title: row.get(28)?,
            message: row.get(29)?,
            remediation: row.get(30)?,
            project: row.get(31)?,
            policies: json(row, 32, "policies")?,
        },
        overdue_told_at: optional_time(row, 33)?,
    })
}

/// Reads an exception from the columns of `exception_columns!`.
pub(super) fn exception(row: &Row<'_>) -> Result<FindingException, Fault> {
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
