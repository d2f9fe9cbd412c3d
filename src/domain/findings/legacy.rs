//! Makes rows of the form before lifecycles, for tests, benchmarks and demonstrations. Owns what is
//! known of them beforehand. Face: `Legacy`. Never draws a number: equal calls make equal rows.

use super::{ChangeType, Evidence, Finding, FindingStatus, Told, backfill};
use crate::base::Timestamp;
use crate::base::ids::{FindingId, TenantId, WorkspaceId};
use crate::domain::access::{Stage, Tenant, TenantStatus};
use crate::domain::alerts::Severity;

/// Every so many-th row has its lifecycle already.
const COMPLETE_EVERY: u64 = 20;
/// Every so many-th row is about the same as the row before it.
const DUPLICATE_EVERY: u64 = 10;

/// Tenants with findings of the form before lifecycles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legacy {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Tells these tenants and rows from others.
    pub series: u32,
    /// Findings of each tenant.
    pub findings: u64,
    /// When the rows were made.
    pub at: Timestamp,
}

impl Legacy {
    /// The tenant with this number.
    pub fn tenant(&self, number: u64) -> Tenant {
        Tenant {
            id: TenantId::from_u128(self.id(number, 0)),
            workspace_id: self.workspace_id,
            external_id: None,
            name: format!("legacy-{}-{number}", self.series),
            status: TenantStatus::Active,
            stage: Stage::Development,
            created_at: self.at,
        }
    }

    /// The rows of that tenant, in the order of their ids.
    pub fn rows(&self, number: u64) -> impl Iterator<Item = Finding> + '_ {
        let tenant = self.tenant(number).id;
        (0..self.findings).map(move |row| self.row(tenant, number, row))
    }

    /// Rows of a tenant that have their lifecycle already: a backfill skips them.
    pub const fn complete(&self) -> u64 {
        self.findings.div_ceil(COMPLETE_EVERY)
    }

    /// Rows of a tenant that a backfill consolidates.
    pub const fn duplicates(&self) -> u64 {
        self.findings / DUPLICATE_EVERY
    }

    fn row(&self, tenant: TenantId, number: u64, row: u64) -> Finding {
        let repeats = row % DUPLICATE_EVERY == DUPLICATE_EVERY - 1;
        let subject = format!("shop/service-{}/1", if repeats { row - 1 } else { row });
        let evidence = match row % 3 {
            0 => Evidence::PolicyViolation {
                check_id: "cis-5.10".to_owned(),
                subject_external_id: subject,
                place: "memory".to_owned(),
            },
            _ => Evidence::Drift {
                baseline_snapshot_id: "first".to_owned(),
                policy_type: "container".to_owned(),
                subject_external_id: subject,
                change_type: ChangeType::Changed,
            },
        };
        // A duplicate says the same, so it is of the same kind.
        let evidence = match repeats {
            true => self.row(tenant, number, row - 1).evidence,
            false => evidence,
        };
        let is_policy = matches!(evidence, Evidence::PolicyViolation { .. });
        let scope_key = if is_policy { "policy:limits" } else { "baseline_profile:first" };
        let finding = Finding {
            severity: Severity::ALL[(row % 5) as usize],
            status: FindingStatus::ALL[(row % 7) as usize],
            fingerprint: format!("{}-{number}-{row}", self.series),
            scope_key: scope_key.to_owned(),
            ..bare(self.id(number, row + 1), (self.workspace_id, tenant), evidence, self.at)
        };
        if !row.is_multiple_of(COMPLETE_EVERY) {
            return finding;
        }
        let mut filled = backfill(std::slice::from_ref(&finding), &[], self.at);
        filled.changes.pop().map_or(finding, |change| change.finding)
    }

    /// Ids that sort by series, tenant and row.
    fn id(&self, number: u64, row: u64) -> u128 {
        u128::from(self.series) << 96 | u128::from(number) << 48 | u128::from(row)
    }
}

/// A row of the form before lifecycles, new and of high severity: nothing is known of what it is the
/// same as, and of when it was seen.
pub(super) fn bare(
    id: u128,
    (workspace_id, tenant_id): (WorkspaceId, TenantId),
    evidence: Evidence,
    at: Timestamp,
) -> Finding {
    Finding {
        id: FindingId::from_u128(id),
        workspace_id,
        tenant_id,
        severity: Severity::High,
        status: FindingStatus::New,
        fingerprint: format!("legacy-{id}"),
        recurrence_key: None,
        lineage_key: None,
        scope_key: "baseline_profile:p".to_owned(),
        first_seen_at: None,
        last_seen_at: None,
        times_seen: None,
        reopen_count: 0,
        due_at: None,
        owner: None,
        assignee: None,
        evidence,
        evidence_hash: None,
        told: Told::default(),
        overdue_told_at: None,
        baseline_operation_run_id: None,
        current_operation_run_id: None,
        resolved_at: None,
        closed_at: None,
        close_reason: None,
        merged_into: None,
        created_at: at,
        updated_at: at,
        version: 1,
    }
}
