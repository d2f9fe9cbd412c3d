//! Writes the events of the agent's own life into the audit log. Owns their wording. Face: the
//! functions. Never counts as done what could not be recorded: the caller hears of it.

use crate::base::ids::EventId;
use crate::base::{Ambient, Timestamp};
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::store::{Store, StoreError};

use super::config::Changes;

/// The agent serves.
pub(super) async fn started(store: &dyn Store, ambient: &Ambient) -> Result<(), StoreError> {
    let summary = format!("The agent {} started", env!("CARGO_PKG_VERSION"));
    let event = event(store, ambient, EventType::AgentStarted, Outcome::Info, summary);
    record(store, event).await
}

/// The agent stops in order; `left` runs go on at its next start.
pub(super) async fn stopped(
    store: &dyn Store,
    ambient: &Ambient,
    started_at: Timestamp,
) -> Result<(), StoreError> {
    let ran_for = ambient.now().duration_since(started_at);
    let summary = format!("The agent stopped in order after {:#}", whole_seconds(ran_for));
    let event = event(store, ambient, EventType::AgentStopped, Outcome::Info, summary);
    record(store, event).await
}

/// The configuration was read again.
pub(super) async fn reloaded(
    store: &dyn Store,
    ambient: &Ambient,
    changes: &Changes,
) -> Result<(), StoreError> {
    let list = |keys: &[&str]| if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    let summary = format!(
        "The configuration was read again; in effect: {}; waiting for a restart: {}",
        list(&changes.applied),
        list(&changes.needs_restart)
    );
    let outcome = match changes.needs_restart.is_empty() {
        true => Outcome::Success,
        false => Outcome::Partial,
    };
    let event = event(store, ambient, EventType::ConfigurationReloaded, outcome, summary);
    record(store, event).await
}

/// The configuration could not be read again; the old one stays in effect.
pub(super) async fn reload_failed(
    store: &dyn Store,
    ambient: &Ambient,
    reason: &str,
) -> Result<(), StoreError> {
    let summary = "The configuration could not be read again; the old one stays in effect";
    let mut event =
        event(store, ambient, EventType::ConfigurationReloaded, Outcome::Failed, summary);
    event.context.reason = Some(SafeText::new(reason));
    record(store, event).await
}

async fn record(store: &dyn Store, event: AuditEvent) -> Result<(), StoreError> {
    store.commit(Vec::new(), event.into()).await
}

fn event(
    store: &dyn Store,
    ambient: &Ambient,
    event_type: EventType,
    outcome: Outcome,
    summary: impl AsRef<str>,
) -> AuditEvent {
    let scope = store.scope();
    AuditEvent {
        id: EventId::generate(&*ambient.clock, &*ambient.entropy),
        workspace_id: scope.workspace_id,
        tenant_id: Some(scope.tenant_id),
        event_type,
        summary: SafeText::new(summary),
        outcome,
        actor: Actor::agent(),
        target: Some(Target {
            target_type: "agent".to_owned(),
            target_id: scope.tenant_id.to_string(),
            target_label: "wharf agent".to_owned(),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
        }),
        operation_run_id: None,
        context: EventContext::default(),
        occurred_at: ambient.now(),
    }
}

fn whole_seconds(length: jiff::SignedDuration) -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(length.as_secs())
}
