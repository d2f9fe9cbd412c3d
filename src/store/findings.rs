//! Shapes how findings change and how they are read. Owns their writes. Face: `FindingWrite`, `ReadFindings`. Never changes a row that is not the one that its
//! writer read.

use crate::base::Digest;
use crate::base::ids::{FindingId, TenantId, WorkspaceId};
use crate::domain::access::Tenant;
use crate::domain::findings::{Change, Finding, FindingException};

use super::Answer;

/// One change of findings.
#[derive(Debug, Clone)]
pub enum FindingWrite {
    /// New rows as they are, whatever they lack; and their tenant, when there is none of its id.
    Insert {
        /// The tenant of all of them.
        tenant: Box<Tenant>,
        /// The rows.
        findings: Vec<Finding>,
    },
    /// Rows that change, in this order. Conflicts when one is not the version that was read.
    /// Exceptions of a row that was consolidated go with it.
    Update(Vec<FindingChange>),
    /// A new exception, or one that changes.
    PutException(Box<FindingException>),
}

/// A row that is to be written, and the version that was read.
pub type FindingChange = Change;

/// The findings of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindingTotals {
    /// The tenant.
    pub tenant_id: TenantId,
    /// How many there are.
    pub total: u64,
    /// How many lack what their lifecycle needs: those that `Finding::is_complete` denies.
    pub lacking: u64,
}

/// Reads findings.
pub trait ReadFindings {
    /// The findings of a workspace's tenants, or of one of them, counted; tenants without any are
    /// not listed.
    fn finding_totals(
        &self,
        workspace: WorkspaceId,
        tenant: Option<TenantId>,
    ) -> Answer<'_, Vec<FindingTotals>>;

    /// Findings of a tenant in the order of their ids, after one of them.
    fn findings_after(
        &self,
        workspace: WorkspaceId,
        tenant: TenantId,
        after: Option<FindingId>,
        limit: usize,
    ) -> Answer<'_, Vec<Finding>>;

    /// Findings of a tenant that have one of these keys as their fingerprint.
    fn findings_by_fingerprint(
        &self,
        tenant: TenantId,
        keys: Vec<Digest>,
    ) -> Answer<'_, Vec<Finding>>;

    /// The exceptions of a finding, by their ids.
    fn finding_exceptions(&self, finding: FindingId) -> Answer<'_, Vec<FindingException>>;
}
