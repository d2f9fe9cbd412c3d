//! Reads findings, their exceptions, and how subjects stand to policies. Owns the queries. Face:
//! `ReadFindings`. Never changes anything.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::findings::{exception, finding};
use super::rows::{bound, collect, nanos, parsed, time, unsigned};
use super::serve::answer;
use super::{SqliteStore, page};
use crate::base::ids::{FindingId, TenantId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::findings::{Finding, FindingException, PolicyStanding};
use crate::store::filter::Marks;
use crate::store::{
    Answer, FindingCount, FindingFilter, FindingTotals, Page, PageRequest, ReadFindings,
    StandingCount, StoreError, lists,
};

/// The columns of a finding, as `findings::finding` reads them.
macro_rules! finding_columns {
    () => {
        "SELECT f.id, f.workspace_id, f.tenant_id, f.type, f.severity, f.status, f.fingerprint,
         f.recurrence_key, f.lineage_key, f.scope_key, f.first_seen_at, f.last_seen_at,
         f.times_seen, f.reopen_count, f.due_at, f.owner, f.assignee, f.evidence,
         f.baseline_operation_run_id, f.current_operation_run_id, f.resolved_at, f.closed_at,
         f.close_reason, f.merged_into, f.created_at, f.updated_at, f.version, f.evidence_hash,
         f.title, f.message, f.remediation, f.project, f.policies, f.overdue_told_at
         FROM findings f"
    };
}

/// The columns of an exception, as `findings::exception` reads them.
macro_rules! exception_columns {
    () => {
        "SELECT e.id, e.workspace_id, e.tenant_id, e.finding_id, e.scope_key, e.owner, e.approver,
         e.reason, e.expires_at, e.status, e.evidence_hash, e.created_at
         FROM finding_exceptions e"
    };
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
pub(super) const AFTER: &str = concat!(
    finding_columns!(),
    " WHERE f.workspace_id = ? AND f.tenant_id = ? AND f.id > ? ORDER BY f.id LIMIT ?"
);

/// Findings by their fingerprints: by an index, as a test sees to.
pub(super) const BY_FINGERPRINT: &str = concat!(
    finding_columns!(),
    " WHERE f.tenant_id = ? AND f.fingerprint IN (SELECT value FROM json_each(?))"
);

/// Those of a tenant that are not over: by an index, as a test sees to.
pub(super) const OPEN: &str = concat!(
    finding_columns!(),
    " WHERE f.tenant_id = ? AND f.id > ? AND f.status NOT IN ('resolved', 'closed')
     ORDER BY f.id LIMIT ?"
);

/// Those that are overdue: by an index, as a test sees to.
pub(super) const OVERDUE: &str = concat!(
    finding_columns!(),
    " WHERE f.due_at IS NOT NULL AND f.overdue_told_at IS NULL AND f.due_at < ?
     ORDER BY f.due_at LIMIT ?"
);

/// Those that are over: by an index, as a test sees to.
pub(super) const FINISHED: &str = concat!(
    finding_columns!(),
    " WHERE f.status IN ('resolved', 'closed') AND f.updated_at < ?
     ORDER BY f.updated_at LIMIT ?"
);

/// Exceptions whose time is over: by an index, as a test sees to.
pub(super) const EXCEPTIONS_OVER: &str = concat!(
    exception_columns!(),
    " WHERE e.status IN ('requested', 'approved') AND e.expires_at <= ?
     ORDER BY e.expires_at LIMIT ?"
);

/// How subjects stand.
const STANDINGS: &str = "SELECT tenant_id, policy, subject, project, standing, since
    FROM policy_standings WHERE tenant_id = ?";

/// The query of a list of findings.
pub(super) fn query(
    filter: &FindingFilter,
    request: &PageRequest,
) -> Result<(String, Vec<Value>), StoreError> {
    let limit = request.bounded_limit();
    let restriction = lists::findings(Marks::Question, filter, request)?;
    let (sql, values) = restriction.query(finding_columns!(), lists::FINDINGS_ORDER, limit + 1);
    Ok((sql, bound(values)))
}

fn list(
    connection: &Connection,
    filter: &FindingFilter,
    request: &PageRequest,
) -> Result<Page<Finding>, Fault> {
    let (sql, values) = query(filter, request).map_err(Fault::Store)?;
    let found = collect(connection, &sql, rusqlite::params_from_iter(values), finding)?;
    Ok(page(found, request.bounded_limit(), lists::finding_cursor))
}

fn texts<T: ToString>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    serde_json::Value::from(texts).to_string()
}

fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn standing(row: &Row<'_>) -> Result<PolicyStanding, Fault> {
    Ok(PolicyStanding {
        tenant_id: parsed(row, 0, "tenant id")?,
        policy: row.get(1)?,
        subject: row.get(2)?,
        project: row.get(3)?,
        standing: parsed(row, 4, "standing")?,
        since: time(row, 5)?,
    })
}

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
            let sql = concat!(exception_columns!(), " WHERE e.finding_id = ? ORDER BY e.id");
            collect(connection, sql, [finding.to_string()], exception)
        }))
    }

    fn findings_by_id(&self, ids: Vec<FindingId>) -> Answer<'_, Vec<Finding>> {
        answer(self.read("find the findings", move |connection| {
            let sql = concat!(
                finding_columns!(),
                " WHERE f.id IN (SELECT value FROM json_each(?)) ORDER BY f.id"
            );
            collect(connection, sql, [texts(&ids)], finding)
        }))
    }

    fn findings(&self, filter: FindingFilter, page: PageRequest) -> Answer<'_, Page<Finding>> {
        answer(self.read("list the findings", move |connection| list(connection, &filter, &page)))
    }

    fn open_findings(
        &self,
        tenant: TenantId,
        after: Option<FindingId>,
        limit: usize,
    ) -> Answer<'_, Vec<Finding>> {
        answer(self.read("list the findings", move |connection| {
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            collect(connection, OPEN, params![tenant.to_string(), after, most(limit)], finding)
        }))
    }

    fn exceptions_of(&self, findings: Vec<FindingId>) -> Answer<'_, Vec<FindingException>> {
        answer(self.read("list the exceptions", move |connection| {
            let sql = concat!(
                exception_columns!(),
                " WHERE e.finding_id IN (SELECT value FROM json_each(?)) ORDER BY e.id"
            );
            collect(connection, sql, [texts(&findings)], exception)
        }))
    }

    fn exceptions_over(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<FindingException>> {
        answer(self.read("list the exceptions", move |connection| {
            collect(connection, EXCEPTIONS_OVER, params![nanos(at), most(limit)], exception)
        }))
    }

    fn findings_overdue(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<Finding>> {
        answer(self.read("list the findings", move |connection| {
            collect(connection, OVERDUE, params![nanos(at), most(limit)], finding)
        }))
    }

    fn findings_finished(&self, before: Timestamp, limit: usize) -> Answer<'_, Vec<Finding>> {
        answer(self.read("list the findings", move |connection| {
            collect(connection, FINISHED, params![nanos(before), most(limit)], finding)
        }))
    }

    fn finding_counts(&self, at: Timestamp) -> Answer<'_, Vec<FindingCount>> {
        let read = |row: &Row<'_>| {
            Ok(FindingCount {
                finding_type: parsed(row, 0, "type of finding")?,
                severity: parsed(row, 1, "severity")?,
                status: parsed(row, 2, "status of a finding")?,
                total: unsigned(row, 3)?,
                overdue: unsigned(row, 4)?,
            })
        };
        answer(self.read("count the findings", move |connection| {
            let sql = "SELECT type, severity, status, count(*), count(*) FILTER (WHERE due_at < ?)
                FROM findings WHERE status NOT IN ('resolved', 'closed')
                GROUP BY type, severity, status ORDER BY type, severity, status";
            collect(connection, sql, [nanos(at)], read)
        }))
    }

    fn policies_named(&self, tenant: TenantId) -> Answer<'_, BTreeSet<String>> {
        answer(self.read("list the policies", move |connection| {
            let sql = "SELECT p.value FROM findings f, json_each(f.policies) p
                WHERE f.tenant_id = ?1 AND f.status NOT IN ('resolved', 'closed')
                UNION SELECT policy FROM policy_standings WHERE tenant_id = ?1";
            let names = collect(connection, sql, [tenant.to_string()], |row| Ok(row.get(0)?))?;
            Ok(names.into_iter().collect())
        }))
    }

    fn policy_standings(
        &self,
        tenant: TenantId,
        subjects: Option<Vec<String>>,
    ) -> Answer<'_, Vec<PolicyStanding>> {
        answer(self.read("read the compliance", move |connection| {
            let order = " ORDER BY policy, subject";
            match subjects {
                Some(subjects) => {
                    let these = " AND subject IN (SELECT value FROM json_each(?))";
                    let sql = [STANDINGS, these, order].concat();
                    let values = params![tenant.to_string(), texts(&subjects)];
                    collect(connection, &sql, values, standing)
                }
                None => {
                    let sql = [STANDINGS, order].concat();
                    collect(connection, &sql, params![tenant.to_string()], standing)
                }
            }
        }))
    }

    fn standing_counts(&self, workspace: Option<WorkspaceId>) -> Answer<'_, Vec<StandingCount>> {
        let read = |row: &Row<'_>| {
            Ok(StandingCount {
                tenant_id: parsed(row, 0, "tenant id")?,
                policy: row.get(1)?,
                project: row.get(2)?,
                standing: parsed(row, 3, "standing")?,
                subjects: unsigned(row, 4)?,
            })
        };
        answer(self.read("read the compliance", move |connection| {
            let sql = "SELECT tenant_id, policy, project, standing, count(*) FROM policy_standings
                WHERE ?1 IS NULL OR workspace_id = ?1
                GROUP BY tenant_id, policy, project, standing
                ORDER BY tenant_id, policy, project, standing";
            collect(connection, sql, [workspace.map(|id| id.to_string())], read)
        }))
    }
}
