//! Writes the sentences of the audit log that tell of runs. Owns their wording. Face: `run_event`.
//! Never decides whether something is recorded: the store refuses a change without an event.

use crate::base::Ambient;
use crate::base::ids::EventId;
use crate::domain::audit::{self, Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::domain::runbooks::Start;
use crate::domain::runs::{End, Inputs, OperationRun};
use crate::store::{Notice, Noticed, Teller};

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
            ..run.context.inputs.runbook().map(runbook_context).unwrap_or_default()
        },
        occurred_at: ambient.now(),
    }
}

/// What the events of a runbook's run tell of it.
fn runbook_context(start: &Start) -> EventContext {
    let platform = start.platform_initiator.as_ref();
    EventContext {
        runbook: Some(start.runbook.key),
        scope: Some(start.runbook.scope),
        affected_count: Some(start.preflight.affected_count),
        reason: start.reason.as_ref().map(|reason| reason.reason_text.clone()),
        platform_user_id: platform.map(|platform| platform.platform_user_id),
        platform_user_email: platform.and_then(|platform| platform.email.clone()),
        ..EventContext::default()
    }
}

/// `Deploy project shop`, `shop.send_invoices march`.
pub(super) fn describe(run: &OperationRun) -> String {
    let run_type = run.run_type();
    let about = match &run.context.inputs {
        Inputs::Hosted(hosted) => {
            hosted.identity.as_deref().or(hosted.subject.as_ref().map(|subject| subject.as_str()))
        }
        Inputs::RunRunbook(start) => Some(start.runbook.key.key()),
        inputs => match inputs.container() {
            Some((_, name)) => Some(name),
            None => inputs.project(),
        },
    };
    match about {
        Some(about) => format!("{} {about}", run_type.label()),
        None => run_type.label().to_owned(),
    }
}

/// The event of something that the store decided. That an attempt begins is recorded before
/// anybody acts: the beginning is the intent, and the agent's, whoever asked for the run.
pub fn notice_event(ambient: &Ambient, actor: &Actor, notice: &Notice) -> AuditEvent {
    let run = &notice.run;
    let about = describe(run);
    let (event_type, outcome, summary) = match notice.what {
        Noticed::Started if run.attempt > 1 => {
            let summary = format!("{about} goes on with attempt {}", run.attempt);
            (EventType::RunRetried, Outcome::Info, summary)
        }
        Noticed::Started => {
            (audit::started(run.run_type()), Outcome::Info, format!("{about} began"))
        }
        Noticed::AttemptFailed { until } => {
            let summary = format!(
                "{} in attempt {}; the next one follows at {until:.0}",
                describe_end(run, End::Failed),
                run.attempt
            );
            (EventType::RunAttemptFailed, Outcome::Failed, summary)
        }
        Noticed::Interrupted => {
            let summary = format!("{about} lost its worker in attempt {}", run.attempt);
            (EventType::RunInterrupted, Outcome::Failed, summary)
        }
        Noticed::WaitsForJobs => {
            let jobs = run.jobs.unwrap_or_default().open();
            (EventType::RunWaiting, Outcome::Info, format!("{about} waits for its {jobs} jobs"))
        }
        Noticed::CancelAsked { superseded_by } => {
            let summary = match superseded_by {
                Some(newer) => format!("{about} is asked to stop: run {newer} takes its place"),
                None => format!("{} asked to cancel: {about}", actor.actor_label),
            };
            (EventType::RunCancelRequested, Outcome::Info, summary)
        }
        Noticed::Ended { end, superseded_by } => {
            let summary = match (end, superseded_by) {
                (End::Cancelled, Some(newer)) => {
                    format!("{about} was cancelled: run {newer} takes its place")
                }
                (End::Cancelled, None) => {
                    format!("{about} was cancelled by {}", actor.actor_label)
                }
                (end, _) => describe_end(run, end),
            };
            (audit::ended(run.run_type(), end), end.into(), summary)
        }
    };
    let actor = match notice.what {
        Noticed::Started => Actor::agent(),
        _ => actor.clone(),
    };
    let mut event = run_event(ambient, run, event_type, outcome, actor, summary);
    event.context.attempt = Some(run.attempt).filter(|attempt| *attempt > 0);
    if !matches!(notice.what, Noticed::Started | Noticed::WaitsForJobs) {
        event.context.reason_code = run.failure_summary.last().map(|failure| failure.reason_code);
    }
    event
}

/// Tells of notices in the name of this actor.
pub fn teller(ambient: &Ambient, actor: Actor) -> Teller {
    let ambient = ambient.clone();
    Teller::new(move |notice| Some(notice_event(&ambient, &actor, notice)))
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
