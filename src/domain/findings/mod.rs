//! Says what a finding is: drift or a violated policy, one row however often it is seen. Owns the
//! lifecycle's fields, what makes two findings the same, and how old rows come to it. Face:
//! `Finding`, `Evidence`, `Look`, `observe_seen`, `observe_unseen`, `command`, `standings`, `backfill`.
//! Never looks at a host: what was seen comes in.

mod backfill;
mod compliance;
mod identity;
mod legacy;
mod lifecycle;
mod look;
mod observe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::{ExceptionId, FindingId, RunId, TenantId, UserId, WorkspaceId};
use crate::base::keyed::keyed;
use crate::base::{Digest, Timestamp};
use crate::domain::alerts::Severity;

pub use backfill::{Backfilled, Change, backfill, wanted_keys};
pub use compliance::{PolicyStanding, StandingChanges, Tally, standings};
pub use identity::{ChangeType, Evidence, FindingType};
pub use legacy::Legacy;
pub use lifecycle::{
    Command, Decision, EXCEPTION_DAYS_MAX, Refused, Verb, check, check_exception, command,
    decide_exception,
};
pub use look::{Look, Standing, Violation, evidence_hash, scope_key};
pub use observe::{
    ExceptionChange, Happened, Observed, What, expire, observe_seen, observe_unseen,
};

keyed! {
    /// Where a finding stands.
    pub enum FindingStatus: "status of a finding" {
        /// Nobody has looked at it.
        New = "new",
        /// Somebody has.
        Triaged = "triaged",
        /// Somebody works on it.
        InProgress = "in_progress",
        /// A covered comparison did not see it any more.
        Resolved = "resolved",
        /// A person, or a newer snapshot, is done with it.
        Closed = "closed",
        /// It was seen again after it was resolved or closed.
        Reopened = "reopened",
        /// It is accepted until its exception ends.
        RiskAccepted = "risk_accepted",
    }
}

impl FindingStatus {
    /// Whether somebody has to do something about it by a certain day.
    pub const fn wants_due_date(self) -> bool {
        matches!(self, Self::New | Self::Triaged | Self::InProgress | Self::Reopened)
    }

    /// Whether it is over.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Resolved | Self::Closed)
    }

    /// All that are not over.
    pub fn open() -> Vec<Self> {
        Self::ALL.iter().copied().filter(|status| !status.is_over()).collect()
    }
}

keyed! {
    /// Why a finding was closed.
    pub enum CloseReason: "close reason" {
        /// A newer snapshot of the baseline took the place of the one it was compared with.
        BaselineSuperseded = "baseline_superseded",
        /// It was the same as another one, which goes on.
        Consolidated = "consolidated",
        /// A person closed it.
        ClosedByPerson = "closed_by_person",
    }
}

/// What is told of a finding to people; empty when no look has seen it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What is demanded.
    pub title: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remediation: String,
    /// The project, if it is about one.
    pub project: Option<String>,
    /// The policies that say so, the strictest first.
    pub policies: Vec<String>,
}

impl Told {
    fn of(violation: &Violation) -> Self {
        Self {
            title: violation.title.to_string(),
            message: violation.message.to_string(),
            remediation: violation.remediation.to_string(),
            project: violation.project.clone(),
            policies: violation.policies.clone(),
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name.
    pub id: FindingId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// How much it matters.
    pub severity: Severity,
    /// Where it stands.
    pub status: FindingStatus,
    /// Unique in the tenant. In rows of the form before lifecycles any text, then the recurrence
    /// key.
    pub fingerprint: String,
    /// Equal for what is the same, however often it is seen. Absent before lifecycles.
    pub recurrence_key: Option<Digest>,
    /// The same over snapshots of a baseline; drift only.
    pub lineage_key: Option<Digest>,
    /// What it was found by: `baseline_profile:ID` or `policy:NAME`.
    pub scope_key: String,
    /// When it was seen first. Absent before lifecycles.
    pub first_seen_at: Option<Timestamp>,
    /// When it was seen last. Absent before lifecycles.
    pub last_seen_at: Option<Timestamp>,
    /// In how many inventories it was seen. Absent before lifecycles.
    pub times_seen: Option<u64>,
    /// How often it came back.
    pub reopen_count: u64,
    /// When it should be dealt with.
    pub due_at: Option<Timestamp>,
    /// Whose it is.
    pub owner: Option<UserId>,
    /// Who works on it.
    pub assignee: Option<UserId>,
    /// What was seen.
    pub evidence: Evidence,
    /// Stands for all of it that does not change by itself. Absent when no look has seen it.
    pub evidence_hash: Option<Digest>,
    /// What is told of it.
    pub told: Told,
    /// When somebody was told that it is overdue.
    pub overdue_told_at: Option<Timestamp>,
    /// The run that captured what it was compared with.
    pub baseline_operation_run_id: Option<RunId>,
    /// The run that saw it last.
    pub current_operation_run_id: Option<RunId>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// Why it was closed.
    pub close_reason: Option<CloseReason>,
    /// The finding that it was consolidated into.
    pub merged_into: Option<FindingId>,
    /// When its row was made.
    pub created_at: Timestamp,
    /// When its row changed last.
    pub updated_at: Timestamp,
    /// Counts its changes: who writes it says which one he read.
    pub version: u64,
}

impl Finding {
    /// What kind of finding it is.
    pub const fn finding_type(&self) -> FindingType {
        self.evidence.finding_type()
    }

    /// Whether it has all that its lifecycle needs.
    pub const fn is_complete(&self) -> bool {
        let wants_due = self.status.wants_due_date() && !matches!(self.severity, Severity::Info);
        self.recurrence_key.is_some()
            && self.first_seen_at.is_some()
            && self.last_seen_at.is_some()
            && self.times_seen.is_some()
            && (self.due_at.is_some() || !wants_due)
    }
}

/// How long somebody has for a finding; what is only good to know has no date.
pub const fn time_allowed(severity: Severity) -> Option<Duration> {
    const DAY: u64 = 24 * 3600;
    match severity {
        Severity::Critical => Some(Duration::from_secs(3 * DAY)),
        Severity::High => Some(Duration::from_secs(7 * DAY)),
        Severity::Medium => Some(Duration::from_secs(14 * DAY)),
        Severity::Low => Some(Duration::from_secs(30 * DAY)),
        Severity::Info => None,
    }
}

keyed! {
    /// Where an exception stands.
    pub enum ExceptionStatus: "status of an exception" {
        /// Somebody asked for it.
        Requested = "requested",
        /// Another person approved it.
        Approved = "approved",
        /// It was refused.
        Rejected = "rejected",
        /// Its time is over.
        Expired = "expired",
        /// It was taken back.
        Revoked = "revoked",
    }
}

/// A finding that is accepted for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingException {
    /// Its name.
    pub id: ExceptionId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// The finding.
    pub finding_id: FindingId,
    /// The scope of the finding.
    pub scope_key: String,
    /// Who asked for it and answers for it.
    pub owner: UserId,
    /// Who approved it: another person.
    pub approver: Option<UserId>,
    /// Why.
    pub reason: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub status: ExceptionStatus,
    /// What was accepted: other evidence is not.
    pub evidence_hash: Digest,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl FindingException {
    /// Whether its time is not over.
    pub fn counts(&self, at: Timestamp) -> bool {
        at < self.expires_at
    }

    /// Whether it is asked for or in force.
    pub fn is_open(&self, at: Timestamp) -> bool {
        use ExceptionStatus::{Approved, Requested};
        matches!(self.status, Requested | Approved) && self.counts(at)
    }
}
