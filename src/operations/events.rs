//! Writes the sentences of the audit log that tell of runs. Owns their wording. Face: `run_event`.
//! Never decides whether something is recorded: the store refuses a change without an event.

use crate::base::Ambient;
use crate::base::ids::EventId;
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{End, Inputs, OperationRun};

/// An event about a run; its target is the project for what happens to the project, else the run.
pub fn run_event(
    ambient: &Ambient,
    run: &OperationRun,
    event_type: EventType,
    outcome: Outcome,
    actor: Actor,
    summary: impl AsRef<str>,
) -> AuditEvent {
    let project = run.context.inputs.project();
    let (target_type, target_id, target_label) = match (event_type.family(), project) {
        ("operation_run", _) | (_, None) => ("operation_run", run.id.to_string(), describe(run)),
        (_, Some(project)) => ("project", project.to_owned(), project.to_owned()),
    };
    AuditEvent {
        id: EventId::generate(&*ambient.clock, &*ambient.entropy),
        workspace_id: run.workspace_id,
        tenant_id: run.tenant_id,
        event_type,
        summary: SafeText::new(summary),
        outcome,
        actor,
        target: Some(Target {
            target_type: target_type.to_owned(),
            target_id,
            target_label,
            workspace_id: run.workspace_id,
            tenant_id: run.tenant_id,
        }),
        operation_run_id: Some(run.id),
        context: EventContext {
            project: project.map(str::to_owned),
            run_type: Some(run.run_type()),
            ..EventContext::default()
        },
        occurred_at: ambient.now(),
    }
}

/// `Deploy project shop`, `shop.send_invoices march`.
pub(super) fn describe(run: &OperationRun) -> String {
    let run_type = run.run_type();
    let about = match &run.context.inputs {
        Inputs::Hosted(hosted) => {
            hosted.identity.as_deref().or(hosted.subject.as_ref().map(|subject| subject.as_str()))
        }
        inputs => inputs.project(),
    };
    match about {
        Some(about) => format!("{} {about}", run_type.label()),
        None => run_type.label().to_owned(),
    }
}

/// One sentence about how a run ended.
pub(super) fn describe_end(run: &OperationRun, end: End) -> String {
    let how = match end {
        End::Succeeded => "succeeded",
        End::PartiallySucceeded => "succeeded in part",
        End::Failed => "failed",
        End::Blocked => "was refused",
        End::Cancelled => "was cancelled",
    };
    match run.failure_summary.first() {
        Some(failure) if end != End::Succeeded => {
            format!("{} {how}: {}: {}", describe(run), failure.subject, failure.message)
        }
        _ => format!("{} {how}", describe(run)),
    }
}
