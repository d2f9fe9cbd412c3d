//! Enforces policies on what runs. Owns how a container is looked at, the run that deals with it, the
//! one that releases it, and what people say: the switch, maintenance, quarantine by hand. Face:
//! `Enforcement`, `SharedEnforcement`, `Round`, `EnforcePolicy`, `ReleaseContainer`. Never decides: the
//! domain does; and never acts outside a run's recorded step.

mod commands;
mod enforce;
mod look;
mod recreate;
mod release;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use commands::project_of;
pub use commands::{Enforcement, EnforcementError, Standing};
pub use enforce::EnforcePolicy;
pub(crate) use look::processes;
pub use look::{Look, LookError, Neighbours, Round};
pub use release::ReleaseContainer;
pub use shared::{DoneObserver, SharedEnforcement};

use crate::base::Ambient;
use crate::base::ids::EventId;
use crate::domain::alerts::{EventKey, instance_event};
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::domain::runs::OperationRun;
use crate::store::{AlertWrite, Scope, Write};

/// An event about a container, or about the whole host.
fn event(
    ambient: &Ambient,
    scope: &Scope,
    (event_type, outcome, actor): (EventType, Outcome, Actor),
    (target_type, target_id, target_label): (&str, &str, &str),
    (project, summary): (Option<&str>, &str),
) -> AuditEvent {
    AuditEvent {
        id: EventId::generate(&*ambient.clock, &*ambient.entropy),
        workspace_id: scope.workspace_id,
        tenant_id: Some(scope.tenant_id),
        event_type,
        summary: SafeText::new(summary),
        outcome,
        actor,
        target: Some(Target {
            target_type: target_type.to_owned(),
            target_id: target_id.to_owned(),
            target_label: target_label.to_owned(),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
        }),
        operation_run_id: None,
        context: EventContext { project: project.map(str::to_owned), ..EventContext::default() },
        occurred_at: ambient.now(),
    }
}

/// The same, of a run.
fn of_run(event: AuditEvent, run: &OperationRun) -> AuditEvent {
    AuditEvent { operation_run_id: Some(run.id), tenant_id: run.tenant_id, ..event }
}

/// Lets somebody hear of it; raised again about the same, it is the same event.
pub(crate) fn alert(
    key: EventKey,
    scope: &Scope,
    about: &str,
    summary: &str,
    at: crate::base::Timestamp,
) -> Write {
    let place = (scope.workspace_id, Some(scope.tenant_id));
    let event = instance_event(key, place, about, summary, at);
    Write::Alert(AlertWrite::Raise(Box::new(event)))
}
