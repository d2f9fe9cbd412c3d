//! The wire form of runbooks. Owns the shapes. Face: `RunbookView`, `RunbookAsk`, `PreflightView`,
//! `RunbookStart`. Never names a runbook that the catalog does not have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::ReasonKind;
use crate::domain::runbooks::file::{Act, Ended, Journal, RunbookFile};
use crate::domain::runbooks::{Arguments, Kind, ReasonRule, Scope, Start};
use crate::domain::runs::Source;
use crate::operations::runbooks::{Found, Looked};

/// A runbook of the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunbookView {
    /// Its key.
    #[schema(example = "findings.lifecycle.backfill")]
    pub key: String,
    /// Its name.
    pub label: String,
    /// What it does.
    pub description: String,
    /// What whoever starts it must be allowed.
    #[schema(example = "runbooks.run")]
    pub capability: String,
    /// All that its operations need besides that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// How many seconds it usually takes.
    pub estimated_seconds: u64,
    /// How far it can reach: `single_tenant`, `all_tenants`.
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    /// When it needs a reason: `always`, or for `all_tenants`.
    #[schema(value_type = String, example = "all_tenants")]
    pub reason: ReasonRule,
    /// What it can be told.
    pub parameters: Vec<ParameterView>,
    /// The digest of this entry; a run keeps the one that it was started with.
    pub definition: String,
    /// `built_in`, or `file` for one of the folder that the configuration names.
    pub source: String,
    /// What it does, step by step; for one of a file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RunbookStep>,
}

/// A step of a runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunbookStep {
    /// Its name among the steps.
    pub id: String,
    /// What it does, for people.
    pub label: String,
    /// The operation that it calls; none for one that waits for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// The operation that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// All runbooks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunbookList {
    /// The agent's own first, then those of files.
    pub items: Vec<RunbookView>,
    /// Where the list goes on: it never does.
    pub next: Option<String>,
    /// What is wrong with files that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What somebody says to a run that waits for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunDecision {
    /// Whether it may go on.
    pub approve: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<&RunbookFile> for Vec<RunbookStep> {
    fn from(file: &RunbookFile) -> Self {
        let each = file.steps.iter().map(|step| {
            let call = match &step.act {
                Act::Call(call) => Some(call),
                Act::Approve(_) => None,
            };
            RunbookStep {
                id: step.id.clone(),
                label: step.label.clone(),
                call: call.map(|call| call.calling.call.to_string()),
                undo: call.and_then(|call| call.undo.as_ref()).map(|undo| undo.call.to_string()),
            }
        });
        each.collect()
    }
}

/// Something that a runbook can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParameterView {
    /// Its name.
    pub name: String,
    /// What it means.
    pub label: String,
    /// `text`, `whole`, `yes_no` or `choice`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// The greatest number, or the most characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// The texts that it may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Its value when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// Whether it must be said.
    #[serde(default)]
    pub is_needed: bool,
}

impl From<&Found> for RunbookView {
    fn from(found: &Found) -> Self {
        let entry = found.entry();
        Self {
            key: entry.key.to_string(),
            label: entry.label.to_string(),
            description: entry.description.to_string(),
            capability: entry.capability.to_string(),
            needs: found.file().map_or_else(Vec::new, |file| {
                file.needs().iter().map(|it| it.to_string()).collect()
            }),
            estimated_seconds: entry.estimated_seconds,
            scopes: entry.scopes.to_vec(),
            reason: entry.reason,
            parameters: entry.parameters.iter().map(ParameterView::from).collect(),
            definition: found.definition().map(|digest| digest.to_string()).unwrap_or_default(),
            source: if found.file().is_some() { "file" } else { "built_in" }.to_owned(),
            steps: found.file().map(Vec::from).unwrap_or_default(),
        }
    }
}

impl From<&crate::domain::runbooks::Parameter> for ParameterView {
    fn from(parameter: &crate::domain::runbooks::Parameter) -> Self {
        let (kind, min, max) = match &parameter.kind {
            Kind::Text { chars_max } => ("text", None, i64::try_from(*chars_max).ok()),
            Kind::Whole { min, max } => ("whole", Some(*min), Some(*max)),
            Kind::YesNo => ("yes_no", None, None),
            Kind::Choice { .. } => ("choice", None, None),
        };
        let words = match &parameter.kind {
            Kind::Choice { words } => words.clone(),
            _ => Vec::new(),
        };
        Self {
            name: parameter.name.to_string(),
            label: parameter.label.to_string(),
            words,
            is_needed: parameter.is_needed,
            kind: kind.to_owned(),
            min,
            max,
            default: parameter.default.as_ref().map(|value| serde_json::json!(value)),
        }
    }
}

/// Which runbook, for whom, with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunbookAsk {
    /// `single_tenant` or `all_tenants`.
    #[schema(value_type = String, example = "all_tenants")]
    pub scope: Scope,
    /// The tenant's id; the host's own tenant when one is wanted and none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// What it is told, by parameter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub parameters: Arguments,
}

/// What a runbook would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PreflightView {
    /// What was asked, with what was left out.
    pub asked: RunbookAsk,
    /// What would change.
    pub affected_count: u64,
    /// What would be looked at.
    pub total_count: u64,
    /// The tenants that it would work for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_tenants: Option<u64>,
    /// What else is good to know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Whoever starts the runbook says this: when it would do something else by then, the run is
    /// blocked.
    pub digest: String,
}

impl From<Looked> for PreflightView {
    fn from(looked: Looked) -> Self {
        let Looked { ask, preflight, digest } = looked;
        Self {
            asked: RunbookAsk {
                scope: ask.scope,
                tenant_id: ask.target_tenant_id.map(|id| id.to_string()),
                parameters: ask.arguments,
            },
            affected_count: preflight.affected_count,
            total_count: preflight.total_count,
            estimated_tenants: preflight.estimated_tenants,
            facts: preflight.facts,
            digest: digest.to_string(),
        }
    }
}

/// Why somebody does something that needs a reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonView {
    /// `DATA_REPAIR`, `INCIDENT`, `SUPPORT` or `SECURITY`.
    #[schema(value_type = String, example = "DATA_REPAIR")]
    pub reason_code: ReasonKind,
    /// In words.
    pub reason_text: String,
}

/// Starts a runbook as it was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunbookStart {
    /// `single_tenant` or `all_tenants`.
    #[schema(value_type = String, example = "all_tenants")]
    pub scope: Scope,
    /// The tenant's id; the host's own tenant when one is wanted and none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// What it is told, by parameter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub parameters: Arguments,
    /// The digest of the preflight that was looked at.
    pub preflight_digest: String,
    /// Why; needed for all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView>,
}

/// The runbook that a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunbookOfRun {
    /// Its key.
    pub key: String,
    /// `single_tenant` or `all_tenants`.
    #[schema(value_type = String, example = "all_tenants")]
    pub scope: Scope,
    /// The tenant.
    pub target_tenant_id: Option<String>,
    /// `system_ui`, `cli`, `deploy_hook`, `api`, `schedule` or `alert`.
    pub source: String,
    /// What it was told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub parameters: Arguments,
    /// What would have changed when it was started.
    pub affected_count: u64,
    /// What would have been looked at.
    pub total_count: u64,
    /// The tenants that it would have worked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_tenants: Option<u64>,
    /// How its steps ended so far, of a file's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepOfRunbook>,
    /// What was taken back, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<StepOfRunbook>,
    /// The step that waits for somebody's approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
    /// Why it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView>,
    /// The platform user who started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_initiator: Option<PlatformInitiatorView>,
}

/// How a step of a runbook ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepOfRunbook {
    /// Its name among the steps.
    pub id: String,
    /// `succeeded`, `failed`, `skipped` or `refused`.
    pub outcome: String,
    /// What it told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub told: Arguments,
}

/// What waits for somebody's approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalView {
    /// The step.
    pub step: String,
    /// What is to be approved.
    pub message: String,
    /// Whether whoever started the run may approve it.
    pub own: bool,
}

impl From<&Ended> for StepOfRunbook {
    fn from(ended: &Ended) -> Self {
        Self { id: ended.id.clone(), outcome: ended.standing.to_string(), told: ended.told.clone() }
    }
}

/// A platform user who started a runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlatformInitiatorView {
    /// Who.
    pub platform_user_id: String,
    /// Their address at that time.
    pub email: Option<String>,
    /// Their name at that time.
    pub name: String,
    /// Whether they had broken the glass.
    pub is_break_glass: bool,
}

impl RunbookOfRun {
    /// What a run's inputs tell.
    pub fn of(start: &Start, source: Source, journal: Option<&Journal>) -> Self {
        let open = journal.and_then(|journal| journal.open.as_ref());
        let approval = open.filter(|open| open.decision.is_none()).and_then(|open| {
            let message = open.message.as_ref()?.to_string();
            Some(ApprovalView { step: open.id.clone(), message, own: open.own })
        });
        let each = |steps: &[Ended]| steps.iter().map(StepOfRunbook::from).collect();
        let source = match source {
            Source::Console => "system_ui",
            other => other.key(),
        };
        Self {
            key: start.runbook.key.to_string(),
            scope: start.runbook.scope,
            target_tenant_id: start.runbook.target_tenant_id.map(|id| id.to_string()),
            source: source.to_owned(),
            parameters: start.runbook.arguments.clone(),
            affected_count: start.preflight.affected_count,
            total_count: start.preflight.total_count,
            estimated_tenants: start.preflight.estimated_tenants,
            steps: journal.map(|it| each(&it.ended)).unwrap_or_default(),
            undone: journal.map(|it| each(&it.undone)).unwrap_or_default(),
            approval,
            reason: start.reason.as_ref().map(|reason| ReasonView {
                reason_code: reason.reason_code,
                reason_text: reason.reason_text.to_string(),
            }),
            platform_initiator: start.platform_initiator.as_ref().map(|it| PlatformInitiatorView {
                platform_user_id: it.platform_user_id.to_string(),
                email: it.email.clone(),
                name: it.name.clone(),
                is_break_glass: it.is_break_glass,
            }),
        }
    }
}
