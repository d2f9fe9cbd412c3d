//! Keeps findings, their exceptions, and how subjects stand to policies. Owns their tables. Face:
//! `write`, `finding`, `exception`. Never changes a row of another version than its writer read. Rows
//! travel as one JSON text per statement, however many there are.

use serde_json::{Value, json};
use tokio_postgres::Row;

use super::fault::Fault;
use super::rows::{
    digest, json, nanos, number, optional_nanos, optional_parsed, optional_time, parsed, signed,
    time, to_json, unsigned,
};
use super::server::Session;
use super::statements::Sql;
use crate::base::Digest;
use crate::base::ids::{FindingId, TenantId, WorkspaceId};
use crate::domain::access::Tenant;
use crate::domain::findings::{ExceptionChange, Finding, FindingException, StandingChanges, Told};
use crate::store::{Conflict, FindingChange, FindingWrite, severity_rank};

/// Changes findings.
pub(super) async fn write(session: &Session, write: &FindingWrite) -> Result<(), Fault> {
    match write {
        FindingWrite::Insert { tenant, findings } => {
            put_tenant(session, tenant).await?;
            let rows = findings.iter().map(row_of).collect::<Result<Vec<_>, _>>()?;
            session.query(Sql::InsertFindings, &[&Value::from(rows).to_string()]).await?;
            Ok(())
        }
        FindingWrite::Update(changes) => update(session, changes).await,
        FindingWrite::Add(findings) => add(session, findings).await,
        FindingWrite::PutException(exception) => put_exception(session, exception).await,
        FindingWrite::ChangeException(change) => change_exception(session, change).await,
        FindingWrite::Stand { workspace_id, tenant_id, changes } => {
            stand(session, *workspace_id, *tenant_id, changes).await
        }
        FindingWrite::Purge(ids) => purge(session, ids).await,
    }
}

async fn put_tenant(session: &Session, tenant: &Tenant) -> Result<(), Fault> {
    session
        .query(
            Sql::PlantTenant,
            &[
                &tenant.id.to_string(),
                &tenant.workspace_id.to_string(),
                &tenant.external_id,
                &tenant.name,
                &tenant.status.key(),
                &tenant.stage.key(),
                &nanos(tenant.created_at),
            ],
        )
        .await?;
    Ok(())
}

/// New rows, unless their tenant has one of their fingerprint.
async fn add(session: &Session, findings: &[Finding]) -> Result<(), Fault> {
    let rows = findings.iter().map(row_of).collect::<Result<Vec<_>, _>>()?;
    let added = session.query(Sql::AddFindings, &[&Value::from(rows).to_string()]).await?;
    if added.len() == findings.len() {
        return Ok(());
    }
    let added: Vec<String> = added.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let known = findings.iter().map(|finding| &finding.fingerprint);
    let name = known.into_iter().find(|it| !added.contains(it)).cloned().unwrap_or_default();
    Err(Conflict::Stale { noun: "finding", name }.into())
}

async fn update(session: &Session, changes: &[FindingChange]) -> Result<(), Fault> {
    let mut rows = Vec::with_capacity(changes.len());
    for FindingChange { finding, seen_version } in changes {
        let mut row = row_of(finding)?;
        row["seen_version"] = signed(*seen_version).into();
        rows.push(row);
    }
    let changed = session.query(Sql::UpdateFindings, &[&Value::from(rows).to_string()]).await?;
    if changed.len() != changes.len() {
        let changed: Vec<String> =
            changed.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let stale = changes.iter().map(|change| change.finding.id.to_string());
        let name = stale.into_iter().find(|id| !changed.contains(id)).unwrap_or_default();
        return Err(Conflict::Stale { noun: "finding", name }.into());
    }
    let merged = changes.iter().filter_map(|it| Some((it.finding.id, it.finding.merged_into?)));
    let (gone, into): (Vec<String>, Vec<String>) =
        merged.map(|(gone, into)| (gone.to_string(), into.to_string())).unzip();
    if !gone.is_empty() {
        session.query(Sql::MoveExceptions, &[&gone, &into]).await?;
    }
    Ok(())
}

async fn put_exception(session: &Session, exception: &FindingException) -> Result<(), Fault> {
    session
        .query(
            Sql::PutException,
            &[
                &exception.id.to_string(),
                &exception.workspace_id.to_string(),
                &exception.tenant_id.to_string(),
                &exception.finding_id.to_string(),
                &exception.scope_key,
                &exception.owner.to_string(),
                &exception.approver.map(|id| id.to_string()),
                &exception.reason,
                &nanos(exception.expires_at),
                &exception.status.key(),
                &exception.evidence_hash.to_string(),
                &nanos(exception.created_at),
            ],
        )
        .await?;
    Ok(())
}

async fn change_exception(session: &Session, change: &ExceptionChange) -> Result<(), Fault> {
    let id = change.exception.id.to_string();
    let found = match change.seen_status {
        Some(status) => session.query(Sql::ExceptionStands, &[&id, &status.key()]).await?,
        None => {
            let finding = change.exception.finding_id.to_string();
            session.query(Sql::FindingIsUnexcepted, &[&finding]).await?
        }
    };
    if found.is_empty() {
        return Err(Conflict::Stale { noun: "finding exception", name: id }.into());
    }
    put_exception(session, &change.exception).await
}

async fn stand(
    session: &Session,
    workspace: WorkspaceId,
    tenant: TenantId,
    changes: &StandingChanges,
) -> Result<(), Fault> {
    let (workspace, tenant) = (workspace.to_string(), tenant.to_string());
    if !changes.put.is_empty() {
        let row = |it: &crate::domain::findings::PolicyStanding| {
            json!({
                "policy": it.policy,
                "subject": it.subject,
                "project": it.project,
                "standing": it.standing.key(),
                "since": nanos(it.since),
            })
        };
        let rows = Value::from(changes.put.iter().map(row).collect::<Vec<_>>()).to_string();
        session.query(Sql::PutStandings, &[&workspace, &tenant, &rows]).await?;
    }
    if !changes.dropped.is_empty() {
        let (policies, subjects): (Vec<String>, Vec<String>) =
            changes.dropped.iter().cloned().unzip();
        session.query(Sql::DropStandings, &[&tenant, &policies, &subjects]).await?;
    }
    Ok(())
}

async fn purge(session: &Session, ids: &[FindingId]) -> Result<(), Fault> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    session.query(Sql::PurgeExceptions, &[&texts]).await?;
    let gone = session.query(Sql::PurgeFindings, &[&texts]).await?;
    if gone.len() == texts.len() {
        return Ok(());
    }
    let gone: Vec<String> = gone.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let name = texts.into_iter().find(|id| !gone.contains(id)).unwrap_or_default();
    Err(Conflict::Stale { noun: "finding", name }.into())
}

/// A row as `jsonb_to_recordset` takes it.
fn row_of(finding: &Finding) -> Result<Value, Fault> {
    Ok(json!({
        "id": finding.id.to_string(),
        "workspace_id": finding.workspace_id.to_string(),
        "tenant_id": finding.tenant_id.to_string(),
        "type": finding.finding_type().key(),
        "severity": finding.severity.key(),
        "status": finding.status.key(),
        "fingerprint": finding.fingerprint,
        "recurrence_key": finding.recurrence_key.map(|key| key.to_string()),
        "lineage_key": finding.lineage_key.map(|key| key.to_string()),
        "scope_key": finding.scope_key,
        "first_seen_at": optional_nanos(finding.first_seen_at),
        "last_seen_at": optional_nanos(finding.last_seen_at),
        "times_seen": finding.times_seen.map(signed),
        "reopen_count": signed(finding.reopen_count),
        "due_at": optional_nanos(finding.due_at),
        "owner": finding.owner.map(|id| id.to_string()),
        "assignee": finding.assignee.map(|id| id.to_string()),
        "evidence": to_json(&finding.evidence, "evidence")?,
        "baseline_operation_run_id": finding.baseline_operation_run_id.map(|id| id.to_string()),
        "current_operation_run_id": finding.current_operation_run_id.map(|id| id.to_string()),
        "resolved_at": optional_nanos(finding.resolved_at),
        "closed_at": optional_nanos(finding.closed_at),
        "close_reason": finding.close_reason.map(|reason| reason.key()),
        "merged_into": finding.merged_into.map(|id| id.to_string()),
        "created_at": nanos(finding.created_at),
        "updated_at": nanos(finding.updated_at),
        "version": signed(finding.version),
        "evidence_hash": finding.evidence_hash.map(|hash| hash.to_string()),
        "title": finding.told.title,
        "message": finding.told.message,
        "remediation": finding.told.remediation,
        "project": finding.told.project,
        "policies": to_json(&finding.told.policies, "policies")?,
        "overdue_told_at": optional_nanos(finding.overdue_told_at),
        "subject": finding.evidence.subject(),
        "check_id": finding.evidence.check_id(),
        "severity_rank": severity_rank(finding.severity),
    }))
}

fn optional_digest(row: &Row, column: usize) -> Result<Option<Digest>, Fault> {
    row.try_get::<_, Option<&str>>(column)?.map(digest).transpose()
}

/// Reads a finding from the columns of `finding_columns!`.
pub(super) fn finding(row: &Row) -> Result<Finding, Fault> {
    let times_seen = row.try_get::<_, Option<i64>>(12)?.map(number).transpose()?;
    Ok(Finding {
        id: parsed(row, 0, "finding id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        tenant_id: parsed(row, 2, "tenant id")?,
        severity: parsed(row, 4, "severity")?,
        status: parsed(row, 5, "status")?,
        fingerprint: row.try_get(6)?,
        recurrence_key: optional_digest(row, 7)?,
        lineage_key: optional_digest(row, 8)?,
        scope_key: row.try_get(9)?,
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
            title: row.try_get(28)?,
            message: row.try_get(29)?,
            remediation: row.try_get(30)?,
            project: row.try_get(31)?,
            policies: json(row, 32, "policies")?,
        },
        overdue_told_at: optional_time(row, 33)?,
    })
}

/// Reads an exception from the columns of `exception_columns!`.
pub(super) fn exception(row: &Row) -> Result<FindingException, Fault> {
    Ok(FindingException {
        id: parsed(row, 0, "exception id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        tenant_id: parsed(row, 2, "tenant id")?,
        finding_id: parsed(row, 3, "finding id")?,
        scope_key: row.try_get(4)?,
        owner: parsed(row, 5, "user id")?,
        approver: optional_parsed(row, 6, "user id")?,
        reason: row.try_get(7)?,
        expires_at: time(row, 8)?,
        status: parsed(row, 9, "status")?,
        evidence_hash: digest(row.try_get(10)?)?,
        created_at: time(row, 11)?,
    })
}
