//! The wire form of runbooks. Owns the shapes. Face: `RunbookView`, `RunbookAsk`, `PreflightView`,
//! `RunbookStart`. Never names a runbook that the catalog does not have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::ReasonKind;
use crate::domain::runbooks::{Arguments, Entry, Kind, ReasonRule, Scope, Start};
use crate::domain::runs::Source;
use crate::operations::runbooks::Looked;

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
}

/// Something that a runbook can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParameterView {
    /// Its name.
    pub name: String,
    /// What it means.
    pub label: String,
    /// `text`, `whole` or `yes_no`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// The greatest number, or the most characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// Its value when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
}

impl From<&Entry> for RunbookView {
    fn from(entry: &Entry) -> Self {
        Self {
            key: entry.key.to_string(),
            label: entry.label.to_owned(),
            description: entry.description.to_owned(),
            capability: entry.capability.to_string(),
            estimated_seconds: entry.estimated_seconds,
            scopes: entry.scopes.to_vec(),
            reason: entry.reason,
            parameters: entry.parameters.iter().map(ParameterView::from).collect(),
            definition: entry.digest().map(|digest| digest.to_string()).unwrap_or_default(),
        }
    }
}

impl From<&crate::domain::runbooks::Parameter> for ParameterView {
    fn from(parameter: &crate::domain::runbooks::Parameter) -> Self {
        let (kind, min, max) = match parameter.kind {
            Kind::Text { chars_max } => ("text", None, i64::try_from(chars_max).ok()),
            Kind::Whole { min, max } => ("whole", Some(min), Some(max)),
            Kind::YesNo => ("yes_no", None, None),
        };
        Self {
            name: parameter.name.to_owned(),
            label: parameter.label.to_owned(),
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
    /// Why it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView>,
    /// The platform user who started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_initiator: Option<PlatformInitiatorView>,
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
    pub fn of(start: &Start, source: Source) -> Self {
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
