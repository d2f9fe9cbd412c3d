//! The wire form of findings and compliance. Owns the shapes. Face: `FindingView`, `FindingDetail`,
//! `ComplianceView` and what is sent. Never shows what is out of the viewer's reach.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AuditRow;
use crate::base::Timestamp;
use crate::base::ids::UserId;
use crate::domain::access::Directory;
use crate::domain::alerts::Severity;
use crate::domain::findings::{
    CloseReason, ExceptionStatus, Finding, FindingException, FindingStatus, FindingType, Tally,
    Verb,
};

/// A person, as they are called now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PersonView {
    /// Their id, a UUID.
    pub id: String,
    /// Their name; none when their record is gone.
    pub name: Option<String>,
}

impl PersonView {
    fn of(id: UserId, directory: &Directory) -> Self {
        Self { id: id.to_string(), name: directory.user(id).map(|user| user.name.clone()) }
    }
}

/// One row of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// Its id, a UUID.
    pub id: String,
    /// Its tenant.
    pub tenant_id: String,
    /// The tenant's name, when it is known.
    pub tenant: Option<String>,
    /// `drift` or `policy_violation`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "policy_violation")]
    pub finding_type: FindingType,
    /// How much it matters: `info`, `low`, `medium`, `high` or `critical`.
    #[schema(value_type = String, example = "high")]
    pub severity: Severity,
    /// Where it stands: `new`, `triaged`, `in_progress`, `resolved`, `closed`, `reopened` or
    /// `risk_accepted`.
    #[schema(value_type = String, example = "new")]
    pub status: FindingStatus,
    /// What it is about: `<project>/<service>/<number>`, a container's name, or `host`.
    #[schema(example = "shop/web/1")]
    pub subject: String,
    /// The project, if it is about one.
    pub project: Option<String>,
    /// The check that was broken; policies only.
    #[schema(example = "rule.privileged")]
    pub check_id: Option<String>,
    /// The place inside the subject; policies only.
    pub place: Option<String>,
    /// What is demanded; empty when no look has seen it.
    pub title: String,
    /// What is wrong.
    pub message: String,
    /// The policies that say so, the strictest first.
    pub policies: Vec<String>,
    /// When it was seen first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_seen_at: Option<Timestamp>,
    /// When it was seen last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen_at: Option<Timestamp>,
    /// In how many runs or looks it was seen.
    pub times_seen: Option<u64>,
    /// How often it came back.
    pub reopen_count: u64,
    /// When it should be dealt with.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// Whether that is over.
    pub is_overdue: bool,
    /// Who works on it.
    pub assignee: Option<PersonView>,
}

impl FindingView {
    /// A finding as it is now.
    pub fn of(finding: &Finding, directory: &Directory, now: Timestamp) -> Self {
        let tenant = directory.tenants.iter().find(|it| it.id == finding.tenant_id);
        Self {
            id: finding.id.to_string(),
            tenant_id: finding.tenant_id.to_string(),
            tenant: tenant.map(|it| it.name.clone()),
            finding_type: finding.finding_type(),
            severity: finding.severity,
            status: finding.status,
            subject: finding.evidence.subject().to_owned(),
            project: finding.told.project.clone(),
            check_id: finding.evidence.check_id().map(str::to_owned),
            place: finding.evidence.place().map(str::to_owned),
            title: finding.told.title.clone(),
            message: finding.told.message.clone(),
            policies: finding.told.policies.clone(),
            first_seen_at: finding.first_seen_at,
            last_seen_at: finding.last_seen_at,
            times_seen: finding.times_seen,
            reopen_count: finding.reopen_count,
            due_at: finding.due_at,
            is_overdue: finding.due_at.is_some_and(|due_at| due_at < now),
            assignee: finding.assignee.map(|id| PersonView::of(id, directory)),
        }
    }
}

/// A finding with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FindingDetail {
    /// What the list says of it.
    #[serde(flatten)]
    pub finding: FindingView,
    /// What to do.
    pub remediation: String,
    /// By what it was found: `policy:NAME` or `baseline_profile:ID`.
    pub scope_key: String,
    /// Stands for what was seen: another one ends an acceptance.
    pub evidence_hash: Option<String>,
    /// The run that saw it last.
    pub run_id: Option<String>,
    /// When it was resolved.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
    /// When it was closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
    /// Why: `baseline_superseded`, `consolidated` or `closed_by_person`.
    #[schema(value_type = Option<String>)]
    pub close_reason: Option<CloseReason>,
    /// The finding that it was consolidated into.
    pub merged_into: Option<String>,
    /// Its exceptions, the oldest first.
    pub exceptions: Vec<ExceptionView>,
    /// What can be done with it now.
    #[schema(value_type = Vec<String>)]
    pub possible: Vec<Verb>,
    /// What happened to it, newest first, up to 100; none for who may not read the audit log.
    pub history: Option<Vec<AuditRow>>,
}

impl FindingDetail {
    /// A finding as it is now.
    pub fn of(
        (finding, exceptions): (&Finding, &[FindingException]),
        history: Option<Vec<AuditRow>>,
        directory: &Directory,
        now: Timestamp,
    ) -> Self {
        let possible = match finding.merged_into {
            Some(_) => Vec::new(),
            None => Verb::legal(finding.status),
        };
        Self {
            finding: FindingView::of(finding, directory, now),
            remediation: finding.told.remediation.clone(),
            scope_key: finding.scope_key.clone(),
            evidence_hash: finding.evidence_hash.map(|hash| hash.to_string()),
            run_id: finding.current_operation_run_id.map(|id| id.to_string()),
            resolved_at: finding.resolved_at,
            closed_at: finding.closed_at,
            close_reason: finding.close_reason,
            merged_into: finding.merged_into.map(|id| id.to_string()),
            exceptions: exceptions.iter().map(|it| ExceptionView::of(it, directory)).collect(),
            possible,
            history,
        }
    }
}

/// A finding that is accepted for a time, or that somebody wants accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExceptionView {
    /// Its id, a UUID.
    pub id: String,
    /// Where it stands: `requested`, `approved`, `rejected`, `expired` or `revoked`.
    #[schema(value_type = String, example = "requested")]
    pub status: ExceptionStatus,
    /// Who asked for it and answers for it.
    pub owner: PersonView,
    /// Who decided about it: another person.
    pub approver: Option<PersonView>,
    /// Why.
    pub reason: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl ExceptionView {
    /// An exception, with the names of its people.
    pub fn of(exception: &FindingException, directory: &Directory) -> Self {
        Self {
            id: exception.id.to_string(),
            status: exception.status,
            owner: PersonView::of(exception.owner, directory),
            approver: exception.approver.map(|id| PersonView::of(id, directory)),
            reason: exception.reason.clone(),
            expires_at: exception.expires_at,
            created_at: exception.created_at,
        }
    }
}

/// What is done with a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingAct {
    /// `triage`, `start`, `resolve`, `close` or `reopen`.
    #[schema(value_type = String, example = "triage")]
    pub verb: Verb,
    /// Why; needed to close one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whom a finding is given to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingAssign {
    /// A member, by name or id; none takes it back.
    pub assignee: Option<String>,
}

/// What is asked of who may accept a risk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptionAsk {
    /// Why it can be accepted.
    pub reason: String,
    /// Until when, within a year.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A decision about an exception.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptionDecision {
    /// Whether the risk is accepted.
    pub is_approved: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why an exception is taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExceptionRevoke {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How subjects stand to policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComplianceView {
    /// What the rows are about: `policy`, `project` or `tenant`.
    pub by: String,
    /// The rows, by name.
    pub items: Vec<ComplianceRow>,
    /// All of them together.
    pub total: ComplianceCounts,
}

/// One policy, project or tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComplianceRow {
    /// Its name; `-` for what is of no project.
    pub name: String,
    /// The counts.
    #[serde(flatten)]
    pub counts: ComplianceCounts,
}

/// How many subjects stand how. A subject that several policies are about counts for each of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComplianceCounts {
    /// All that were judged.
    pub judged: u64,
    /// Those that fulfil all rules.
    pub passing: u64,
    /// Those that break one.
    pub failing: u64,
    /// Those that break some, and are excepted from all of those.
    pub excepted: u64,
    /// Those of which it depends on what is not known.
    pub unknown: u64,
    /// Those that pass, in percent of those that pass or fail; none when there are none.
    pub percent: Option<f64>,
}

impl From<Tally> for ComplianceCounts {
    fn from(tally: Tally) -> Self {
        let hundredths = tally.hundredths().and_then(|it| u32::try_from(it).ok());
        Self {
            judged: tally.judged(),
            passing: tally.passing,
            failing: tally.failing,
            excepted: tally.excepted,
            unknown: tally.unknown,
            percent: hundredths.map(|hundredths| f64::from(hundredths) / 100.0),
        }
    }
}
