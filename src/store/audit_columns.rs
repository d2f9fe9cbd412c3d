//! Says what the filters of the audit log look at: a copy of parts of each record's body. Owns that
//! copy, for every dialect. Face: `AuditColumns`. Never reads or writes the database.

use super::filter::nanos;
use crate::domain::audit::AuditEvent;
use crate::domain::audit::person::{self, Facts, Personal, Text};
use crate::domain::redaction::SafeText;

/// What the filters look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditColumns {
    pub(super) id: String,
    pub(super) workspace_id: String,
    pub(super) tenant_id: Option<String>,
    pub(super) event_type: String,
    pub(super) outcome: String,
    pub(super) actor_type: String,
    pub(super) actor_label: String,
    pub(super) target_type: Option<String>,
    pub(super) target_id: Option<String>,
    pub(super) operation_run_id: Option<String>,
    pub(super) summary: String,
    pub(super) occurred_at: i64,
}

impl AuditColumns {
    /// Of an event whose summary reads like this.
    pub(super) fn with(event: &AuditEvent, summary: &SafeText) -> Self {
        Self { summary: summary.as_str().to_owned(), ..Self::of(event) }
    }

    /// Whether they are those of this body, beside which these persons stand.
    pub(super) fn fit(&self, body: &[u8], personal: &Personal) -> bool {
        // Texts are compared as they stand there; only what differs is read and written anew.
        let same = |body: &Facts<'_>| {
            let target = body.target.as_ref();
            let is = |own: &Option<String>, text: Option<&Text<'_>>| {
                own.as_deref() == text.map(|text| &*text.0)
            };
            self.id == body.id.0
                && self.workspace_id == body.workspace_id.0
                && is(&self.tenant_id, body.tenant_id.as_ref())
                && self.event_type == body.event_type.0
                && self.outcome == body.outcome.0
                && self.actor_type == body.actor_type()
                && self.actor_label == body.actor_label(personal)
                && is(&self.target_type, target.map(|target| &target.target_type))
                && is(&self.target_id, target.map(|target| &target.target_id))
                && is(&self.operation_run_id, body.operation_run_id.as_ref())
                && self.summary == body.summary(personal)
                && self.occurred_at == nanos(body.occurred_at)
        };
        Facts::of(body).is_some_and(|body| same(&body))
            || match person::join(body, personal) {
                Ok((record, _)) => *self == Self::of(&record.event),
                // The proof says itself that it cannot be read.
                Err(_) => true,
            }
    }

    /// Of an event.
    pub(super) fn of(event: &AuditEvent) -> Self {
        let target = event.target.as_ref();
        Self {
            id: event.id.to_string(),
            workspace_id: event.workspace_id.to_string(),
            tenant_id: event.tenant_id.map(|id| id.to_string()),
            event_type: event.event_type.to_string(),
            outcome: event.outcome.to_string(),
            actor_type: event.actor.actor_type.to_string(),
            actor_label: event.actor.actor_label.clone(),
            target_type: target.map(|target| target.target_type.clone()),
            target_id: target.map(|target| target.target_id.clone()),
            operation_run_id: event.operation_run_id.map(|id| id.to_string()),
            summary: event.summary.as_str().to_owned(),
            occurred_at: nanos(event.occurred_at),
        }
    }
}
