//! Lists the facts that an audit event may carry. Owns the allow-list and its readable form.
//! Face: `EventContext`, `ContextItem`. Never takes a raw payload: a fact without a field here
//! cannot be recorded.

use serde::{Deserialize, Serialize};

use crate::base::Digest;
use crate::base::ids::{RevisionId, UserId};
use crate::domain::redaction::SafeText;
use crate::domain::runbooks::{RunbookKey, Scope};
use crate::domain::runs::{ReasonCode, RunType, Source};

/// Facts about an event. All are optional; what is absent is not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventContext {
    /// The status before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_status: Option<String>,
    /// The status after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_status: Option<String>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<SafeText>,
    /// Why, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<ReasonCode>,
    /// How many items were done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items_succeeded: Option<u64>,
    /// How many items could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items_failed: Option<u64>,
    /// The compose project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The stored files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_id: Option<RevisionId>,
    /// The runbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<RunbookKey>,
    /// How far it reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What it would change, as its preflight found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affected_count: Option<u64>,
    /// The platform user who started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_user_id: Option<UserId>,
    /// Their address. It stands beside the chain, as every person does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_user_email: Option<String>,
    /// Who worked on it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_assignee_user_id: Option<UserId>,
    /// Who works on it from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_assignee_user_id: Option<UserId>,
    /// The digest of the plan that was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<Digest>,
    /// The kind of run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_type: Option<RunType>,
    /// The door through which the run came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The attempt of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Where the actor connected from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// With which program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<SafeText>,
    /// What a person who was erased is called from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pseudonym: Option<String>,
    /// The version before: of the agent or of the database's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_version: Option<String>,
    /// The version after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_version: Option<String>,
}

/// One fact, readable without knowing the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextItem {
    /// What the fact is about.
    pub label: &'static str,
    /// The fact.
    pub value: String,
}

impl EventContext {
    /// The facts for people, most telling first.
    pub fn items(&self) -> Vec<ContextItem> {
        fn item(label: &'static str, value: Option<impl ToString>) -> Option<ContextItem> {
            value.map(|value| ContextItem { label, value: value.to_string() })
        }
        [
            item("Project", self.project.as_ref()),
            item("Runbook", self.runbook),
            item("Scope", self.scope),
            item("Would change", self.affected_count),
            item("Platform user", self.platform_user_id),
            item("Their address", self.platform_user_email.as_ref()),
            item("Reason", self.reason.as_ref()),
            item("Reason code", self.reason_code),
            item("Before", self.before_status.as_ref()),
            item("After", self.after_status.as_ref()),
            item("Assigned before", self.from_assignee_user_id),
            item("Assigned to", self.to_assignee_user_id),
            item("Done", self.items_succeeded),
            item("Not done", self.items_failed),
            item("Run type", self.run_type),
            item("Started through", self.source),
            item("Attempt", self.attempt),
            item("Revision", self.revision_id),
            item("Plan", self.plan_digest.map(|digest| digest.short())),
            item("From version", self.from_version.as_ref()),
            item("To version", self.to_version.as_ref()),
            item("Connected from", self.ip.as_ref()),
            item("With", self.user_agent.as_ref()),
            item("Called from then on", self.pseudonym.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
