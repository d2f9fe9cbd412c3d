//! Shapes how findings change and how they are read. Owns their writes. Face: `FindingWrite`,
//! `ReadFindings`, `FindingFilter`. Never changes a row that is not the one that its writer read.

use std::collections::BTreeSet;

use crate::base::ids::{FindingId, TenantId, UserId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::access::{Reach, Tenant};
use crate::domain::alerts::Severity;
use crate::domain::findings::{
    Change, ExceptionChange, Finding, FindingException, FindingStatus, FindingType, PolicyStanding,
    Standing, StandingChanges,
};

use super::{Answer, Page, PageRequest};

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
    /// New rows of a tenant that exists. Conflicts when one of its fingerprint is there already.
    Add(Vec<Finding>),
    /// A new exception, or one that changes.
    PutException(Box<FindingException>),
    /// An exception that changes, or a new one. Conflicts when its status is not the one that was read.
    ChangeException(Box<ExceptionChange>),
    /// How subjects of a tenant stand to policies: what is put and dropped counts from now on.
    Stand {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The tenant.
        tenant_id: TenantId,
        /// What changes.
        changes: StandingChanges,
    },
    /// Forgets findings that are over, with their exceptions. Conflicts when one is not.
    Purge(Vec<FindingId>),
}

/// A row that is to be written, and the version that was read.
pub type FindingChange = Change;

/// A severity as lists are sorted by it.
pub(super) fn severity_rank(severity: Severity) -> i64 {
    match severity {
        Severity::Info => 0,
        Severity::Low => 1,
        Severity::Medium => 2,
        Severity::High => 3,
        Severity::Critical => 4,
    }
}

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

/// Open findings that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindingCount {
    /// The kind.
    pub finding_type: FindingType,
    /// How bad they are.
    pub severity: Severity,
    /// Where they stand.
    pub status: FindingStatus,
    /// How many there are.
    pub total: u64,
    /// How many of them are overdue.
    pub overdue: u64,
}

/// How many subjects of a project stand so to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingCount {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The policy.
    pub policy: String,
    /// The project; none for what is of none.
    pub project: Option<String>,
    /// How they stand.
    pub standing: Standing,
    /// How many there are.
    pub subjects: u64,
}

/// Which findings are wanted. What is `None` or empty does not restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingFilter {
    /// Of this workspace.
    pub workspace_id: WorkspaceId,
    /// Within this reach.
    pub reach: Reach,
    /// Of this tenant.
    pub tenant_id: Option<TenantId>,
    /// In one of these statuses.
    pub statuses: Vec<FindingStatus>,
    /// Of one of these severities.
    pub severities: Vec<Severity>,
    /// Of one of these kinds.
    pub types: Vec<FindingType>,
    /// That this policy says.
    pub policy: Option<String>,
    /// By this check.
    pub check_id: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// About this subject.
    pub subject: Option<String>,
    /// That this person works on.
    pub assignee: Option<UserId>,
    /// That should have been dealt with before this time.
    pub due_before: Option<Timestamp>,
    /// With this text in what is told of them, whatever the case.
    pub search: Option<String>,
}

impl FindingFilter {
    /// All findings of a workspace.
    pub fn workspace(workspace_id: WorkspaceId) -> Self {
        Self {
            workspace_id,
            reach: Reach::All,
            tenant_id: None,
            statuses: Vec::new(),
            severities: Vec::new(),
            types: Vec::new(),
            policy: None,
            check_id: None,
            project: None,
            subject: None,
            assignee: None,
            due_before: None,
            search: None,
        }
    }
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

    /// These findings, by their ids.
    fn findings_by_id(&self, ids: Vec<FindingId>) -> Answer<'_, Vec<Finding>>;

    /// Findings that pass the filter, the most severe first, then the newest.
    fn findings(&self, filter: FindingFilter, page: PageRequest) -> Answer<'_, Page<Finding>>;

    /// Findings of a tenant that are not over, in the order of their ids, after one of them.
    fn open_findings(
        &self,
        tenant: TenantId,
        after: Option<FindingId>,
        limit: usize,
    ) -> Answer<'_, Vec<Finding>>;

    /// The exceptions of these findings, by their ids.
    fn exceptions_of(&self, findings: Vec<FindingId>) -> Answer<'_, Vec<FindingException>>;

    /// Exceptions that are asked for or in force although their time is over, the oldest first.
    fn exceptions_over(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<FindingException>>;

    /// Findings that should have been dealt with by then, and of which nobody was told so, the longest
    /// overdue first.
    fn findings_overdue(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<Finding>>;

    /// Findings that are over and did not change since then, the oldest first.
    fn findings_finished(&self, before: Timestamp, limit: usize) -> Answer<'_, Vec<Finding>>;

    /// Open findings of all workspaces, counted.
    fn finding_counts(&self, at: Timestamp) -> Answer<'_, Vec<FindingCount>>;

    /// The policies that findings of a tenant, or standings in it, name.
    fn policies_named(&self, tenant: TenantId) -> Answer<'_, BTreeSet<String>>;

    /// How subjects of a tenant stand: all, or these.
    fn policy_standings(
        &self,
        tenant: TenantId,
        subjects: Option<Vec<String>>,
    ) -> Answer<'_, Vec<PolicyStanding>>;

    /// How many subjects stand how, by tenant, policy and project: of a workspace, or of all.
    fn standing_counts(&self, workspace: Option<WorkspaceId>) -> Answer<'_, Vec<StandingCount>>;
}
