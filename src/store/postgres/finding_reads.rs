//! Reads findings, their exceptions, and how subjects stand to policies. Owns the query of their list.
//! Face: `ReadFindings`. Never changes anything.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::PostgresStore;
use super::columns::finding_columns;
use super::fault::Fault;
use super::findings::{exception, finding};
use super::rows::{nanos, parsed, text, time, unsigned};
use super::serve::{answer, cut, texts};
use super::statements::Sql;
use crate::base::ids::{FindingId, TenantId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::findings::{Finding, FindingException, PolicyStanding};
use crate::store::filter::{Bound, Marks};
use crate::store::{
    Answer, Cursor, FindingCount, FindingFilter, FindingTotals, Page, PageRequest, ReadFindings,
    StandingCount, StoreError, lists,
};

/// The query of a list of findings.
pub(super) fn query(
    filter: &FindingFilter,
    page: &PageRequest,
) -> Result<(String, Vec<Bound>), StoreError> {
    let restriction = lists::findings(Marks::Dollar, filter, page)?;
    let select = concat!("SELECT ", finding_columns!(), " FROM findings f");
    Ok(restriction.query(select, lists::FINDINGS_ORDER, page.bounded_limit() + 1))
}

fn listed(row: &Row) -> Result<(Finding, Cursor), Fault> {
    let finding = finding(row)?;
    let cursor = lists::finding_cursor(&finding);
    Ok((finding, cursor))
}

fn standing(row: &Row) -> Result<PolicyStanding, Fault> {
    Ok(PolicyStanding {
        tenant_id: parsed(row, 0, "tenant id")?,
        policy: text(row, 1)?,
        subject: text(row, 2)?,
        project: row.try_get(3)?,
        standing: parsed(row, 4, "standing")?,
        since: time(row, 5)?,
    })
}

fn ids(findings: &[FindingId]) -> Bound {
    Bound::Texts(findings.iter().map(ToString::to_string).collect())
}

fn until(at: Timestamp, limit: usize) -> [Bound; 2] {
    [Bound::Number(nanos(at)), most(limit)]
}

fn most(limit: usize) -> Bound {
    Bound::Number(i64::try_from(limit).unwrap_or(i64::MAX))
}

fn totals(row: &Row) -> Result<FindingTotals, Fault> {
    Ok(FindingTotals {
        tenant_id: parsed(row, 0, "tenant id")?,
        total: unsigned(row, 1)?,
        lacking: unsigned(row, 2)?,
    })
}

impl ReadFindings for PostgresStore {
    fn finding_totals(
        &self,
        workspace: WorkspaceId,
        tenant: Option<TenantId>,
    ) -> Answer<'_, Vec<FindingTotals>> {
        answer(async move {
            let tenants = tenant.iter().map(ToString::to_string).collect();
            let values = [Bound::Text(workspace.to_string()), Bound::Texts(tenants)];
            self.many("count the findings", Sql::FindingTotals, &values, totals).await
        })
    }

    fn findings_after(
        &self,
        workspace: WorkspaceId,
        tenant: TenantId,
        after: Option<FindingId>,
        limit: usize,
    ) -> Answer<'_, Vec<Finding>> {
        answer(async move {
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            let [workspace, tenant, after] = texts([&workspace, &tenant, &after]);
            let values = [workspace, tenant, after, most(limit)];
            self.many("list the findings", Sql::FindingsAfter, &values, finding).await
        })
    }

    fn findings_by_fingerprint(
        &self,
        tenant: TenantId,
        keys: Vec<Digest>,
    ) -> Answer<'_, Vec<Finding>> {
        answer(async move {
            let keys = keys.iter().map(Digest::to_string).collect();
            let values = [Bound::Text(tenant.to_string()), Bound::Texts(keys)];
            self.many("find the findings", Sql::FindingsByFingerprint, &values, finding).await
        })
    }

    fn finding_exceptions(&self, finding: FindingId) -> Answer<'_, Vec<FindingException>> {
        answer(async move {
            let values = texts([&finding]);
            self.many("list the exceptions", Sql::FindingExceptions, &values, exception).await
        })
    }

    fn findings_by_id(&self, findings: Vec<FindingId>) -> Answer<'_, Vec<Finding>> {
        answer(async move {
            let values = [ids(&findings)];
            self.many("find the findings", Sql::FindingsById, &values, finding).await
        })
    }

    fn findings(&self, filter: FindingFilter, page: PageRequest) -> Answer<'_, Page<Finding>> {
        answer(async move {
            let (sql, values) = query(&filter, &page)?;
            self.is_open()?;
            let found = self.readers.rows("list the findings", &sql, &values, listed).await?;
            Ok(cut(found, page.bounded_limit()))
        })
    }

    fn open_findings(
        &self,
        tenant: TenantId,
        after: Option<FindingId>,
        limit: usize,
    ) -> Answer<'_, Vec<Finding>> {
        answer(async move {
            let after = after.map(|id| id.to_string()).unwrap_or_default();
            let [tenant, after] = texts([&tenant, &after]);
            let values = [tenant, after, most(limit)];
            self.many("list the findings", Sql::OpenFindings, &values, finding).await
        })
    }

    fn exceptions_of(&self, findings: Vec<FindingId>) -> Answer<'_, Vec<FindingException>> {
        answer(async move {
            let values = [ids(&findings)];
            self.many("list the exceptions", Sql::ExceptionsOf, &values, exception).await
        })
    }

    fn exceptions_over(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<FindingException>> {
        answer(async move {
            let values = until(at, limit);
            self.many("list the exceptions", Sql::ExceptionsOver, &values, exception).await
        })
    }

    fn findings_overdue(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<Finding>> {
        answer(async move {
            let values = until(at, limit);
            self.many("list the findings", Sql::OverdueFindings, &values, finding).await
        })
    }

    fn findings_finished(&self, before: Timestamp, limit: usize) -> Answer<'_, Vec<Finding>> {
        answer(async move {
            let values = until(before, limit);
            self.many("list the findings", Sql::FinishedFindings, &values, finding).await
        })
    }

    fn finding_counts(&self, at: Timestamp) -> Answer<'_, Vec<FindingCount>> {
        let read = |row: &Row| {
            Ok(FindingCount {
                finding_type: parsed(row, 0, "type of finding")?,
                severity: parsed(row, 1, "severity")?,
                status: parsed(row, 2, "status of a finding")?,
                total: unsigned(row, 3)?,
                overdue: unsigned(row, 4)?,
            })
        };
        answer(async move {
            let values = [Bound::Number(nanos(at))];
            self.many("count the findings", Sql::FindingCounts, &values, read).await
        })
    }

    fn policies_named(&self, tenant: TenantId) -> Answer<'_, BTreeSet<String>> {
        answer(async move {
            let read = |row: &Row| text(row, 0);
            let values = texts([&tenant]);
            let names = self.many("list the policies", Sql::PoliciesNamed, &values, read).await?;
            Ok(names.into_iter().collect())
        })
    }

    fn policy_standings(
        &self,
        tenant: TenantId,
        subjects: Option<Vec<String>>,
    ) -> Answer<'_, Vec<PolicyStanding>> {
        answer(async move {
            let [tenant] = texts([&tenant]);
            let (sql, values) = match subjects {
                Some(subjects) => (Sql::StandingsOfSubjects, vec![tenant, Bound::Texts(subjects)]),
                None => (Sql::PolicyStandings, vec![tenant]),
            };
            self.many("read the compliance", sql, &values, standing).await
        })
    }

    fn standing_counts(&self, workspace: Option<WorkspaceId>) -> Answer<'_, Vec<StandingCount>> {
        let read = |row: &Row| {
            Ok(StandingCount {
                tenant_id: parsed(row, 0, "tenant id")?,
                policy: text(row, 1)?,
                project: row.try_get(2)?,
                standing: parsed(row, 3, "standing")?,
                subjects: unsigned(row, 4)?,
            })
        };
        answer(async move {
            let values = [Bound::Texts(workspace.iter().map(ToString::to_string).collect())];
            self.many("read the compliance", Sql::StandingCounts, &values, read).await
        })
    }
}
