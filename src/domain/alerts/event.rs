//! Lists what can happen inside the agent that somebody may want to hear of. Owns the registry and
//! what an event tells. Face: `EventKey`, `AlertEvent`, `of_ended_run`. Never carries what a run was
//! asked to do: only which run, of what type, on what, and its first failure in sanitised words.

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::base::ids::{ElevationId, RunId, TenantId, WorkspaceId};
use crate::base::keyed::keyed;
use crate::domain::redaction::SafeText;
use crate::domain::runs::{OperationRun, Outcome, ReasonCode, RunType};

keyed! {
    /// What can happen. Rules and receivers match on these keys.
    pub enum EventKey: "internal event" {
        /// A run ended as failed.
        RunFailed = "operations.run.failed",
        /// A run ended with its retries used up: somebody must try it again or dismiss it.
        RunDeadLetter = "operations.run.dead_letter",
        /// A platform user holds everything for a time.
        BreakGlassStarted = "break_glass.started",
        /// The health check of a container fails.
        InstanceUnhealthy = "instances.unhealthy",
        /// The health check of a container fails, and restarts did not help.
        InstanceNotHealed = "instances.not_healed",
        /// Policies were refused: the ones before stay in force.
        PolicyRefused = "policies.refused",
        /// Somebody tries a receiver out.
        Test = "alerts.test",
    }
}

keyed! {
    /// How much it matters, least first.
    pub enum Severity: "severity" {
        /// Good to know.
        Info = "info",
        /// Some day.
        Low = "low",
        /// This week.
        Medium = "medium",
        /// Today.
        High = "high",
        /// Now.
        Critical = "critical",
    }
}

impl EventKey {
    /// How much an event of this kind matters.
    pub const fn severity(self) -> Severity {
        match self {
            Self::RunFailed | Self::InstanceUnhealthy | Self::PolicyRefused => Severity::High,
            Self::RunDeadLetter | Self::BreakGlassStarted | Self::InstanceNotHealed => {
                Severity::Critical
            }
            Self::Test => Severity::Info,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEvent {
    /// What.
    pub key: EventKey,
    /// How much it matters.
    pub severity: Severity,
    /// What it happened to, unique with the key: raised again, it is the same event.
    pub about: String,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The tenant; none for the whole workspace.
    pub tenant_id: Option<TenantId>,
    /// What happened, in one sentence that is understood alone.
    pub summary: SafeText,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunFacts>,
    /// When.
    pub occurred_at: Timestamp,
}

/// What an event tells of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The run.
    pub run_id: RunId,
    /// Its type.
    pub run_type: RunType,
    /// What it was about: its subject, or the whole workspace.
    pub scope: String,
    /// The first thing that went wrong, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<ReasonCode>,
}

/// What is raised when a run has ended; nothing for most.
pub fn of_ended_run(run: &OperationRun, at: Timestamp) -> Vec<AlertEvent> {
    let mut keys = Vec::new();
    if run.outcome() == Outcome::Failed {
        keys.push(EventKey::RunFailed);
    }
    if run.is_dead_letter {
        keys.push(EventKey::RunDeadLetter);
    }
    keys.into_iter().map(|key| of_run(run, key, at)).collect()
}

fn of_run(run: &OperationRun, key: EventKey, at: Timestamp) -> AlertEvent {
    let scope = match &run.subject {
        Some(subject) => subject.to_string(),
        None => "workspace".to_owned(),
    };
    let how = match key {
        EventKey::RunDeadLetter => "needs somebody: its retries are used up",
        _ => "failed",
    };
    let first = run.failure_summary.first();
    let why = first
        .map_or_else(String::new, |failure| format!(": {}: {}", failure.subject, failure.message));
    AlertEvent {
        key,
        severity: key.severity(),
        about: run.id.to_string(),
        workspace_id: run.workspace_id,
        tenant_id: run.tenant_id,
        summary: SafeText::new(format!("{} of {scope} {how}{why}", run.run_type())),
        run: Some(RunFacts {
            run_id: run.id,
            run_type: run.run_type(),
            scope,
            reason_code: first.map(|failure| failure.reason_code),
        }),
        occurred_at: at,
    }
}

/// What is raised when a platform user breaks the glass.
pub fn broken_glass_event(
    workspace_id: WorkspaceId,
    about: ElevationId,
    summary: SafeText,
    at: Timestamp,
) -> AlertEvent {
    AlertEvent {
        key: EventKey::BreakGlassStarted,
        severity: EventKey::BreakGlassStarted.severity(),
        about: about.to_string(),
        workspace_id,
        tenant_id: None,
        summary,
        run: None,
        occurred_at: at,
    }
}

/// What is raised when policies could not be put in force.
pub fn policies_refused_event(
    (workspace_id, tenant_id): (WorkspaceId, TenantId),
    summary: &str,
    at: Timestamp,
) -> AlertEvent {
    AlertEvent {
        key: EventKey::PolicyRefused,
        severity: EventKey::PolicyRefused.severity(),
        about: at.to_string(),
        workspace_id,
        tenant_id: Some(tenant_id),
        summary: SafeText::new(summary),
        run: None,
        occurred_at: at,
    }
}

/// What is raised about the health of a container; `about` names it from one start to its end.
pub fn instance_event(
    key: EventKey,
    (workspace_id, tenant_id): (WorkspaceId, Option<TenantId>),
    about: &str,
    summary: &str,
    at: Timestamp,
) -> AlertEvent {
    AlertEvent {
        key,
        severity: key.severity(),
        about: about.to_owned(),
        workspace_id,
        tenant_id,
        summary: SafeText::new(summary),
        run: None,
        occurred_at: at,
    }
}

/// What somebody sends to try a receiver out; `about` makes it different from the last try.
pub fn test_event(
    workspace_id: WorkspaceId,
    about: impl Into<String>,
    receiver: &str,
    at: Timestamp,
) -> AlertEvent {
    AlertEvent {
        key: EventKey::Test,
        severity: EventKey::Test.severity(),
        about: about.into(),
        workspace_id,
        tenant_id: None,
        summary: SafeText::new(format!("A test of receiver {receiver}: nothing has happened")),
        run: None,
        occurred_at: at,
    }
}
