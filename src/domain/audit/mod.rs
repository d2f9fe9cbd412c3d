//! Says what an audit event is, and how a sequence of them proves that nothing was changed. Owns
//! the registry of event types, the snapshots, the hash chain and its seals. Face: `AuditEvent`, `EventType`,
//! `AuditEvents`, `person`, `seal`, `proof::Verifier`, `log::Proof`. Never edits or drops an event: a wrong one is followed by a later.

pub mod chain;
mod context;
mod glance;
pub mod log;
pub mod person;
pub mod proof;
mod registry;
pub mod seal;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::base::ids::{EventId, RunId, TenantId, UserId, WorkspaceId};
use crate::base::keyed::keyed;
use crate::domain::redaction::SafeText;
use crate::domain::runs::{self, End};

pub use context::{ContextItem, EventContext};
pub use registry::EventType;

keyed! {
    /// How what is recorded went.
    pub enum Outcome: "audit outcome" {
        /// It was done.
        Success = "success",
        /// It was tried and not done.
        Failed = "failed" was "failure",
        /// Some of it was done.
        Partial = "partial",
        /// Nothing to judge: a fact, an intent.
        Info = "info",
        /// It was refused.
        Blocked = "blocked",
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end {
            End::Succeeded => Self::Success,
            End::PartiallySucceeded => Self::Partial,
            End::Failed => Self::Failed,
            End::Blocked => Self::Blocked,
            End::Cancelled => Self::Info,
        }
    }
}

keyed! {
    /// What kind of actor acted.
    pub enum ActorType: "actor type" {
        /// A person.
        Human = "human",
        /// The agent itself.
        System = "system",
        /// A schedule.
        Scheduled = "scheduled",
        /// A program with a token.
        Integration = "integration",
        /// An operator of the agent, above workspaces.
        Platform = "platform",
    }
}

/// Who acted, copied when it happened, so that the event stays understandable when they are
/// renamed or gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of actor.
    pub actor_type: ActorType,
    /// Their id, if they have one.
    pub actor_id: Option<String>,
    /// Their name at that time.
    pub actor_label: String,
    /// Their address at that time.
    pub actor_email: Option<String>,
}

impl Actor {
    /// The agent itself.
    pub fn agent() -> Self {
        Self {
            actor_type: ActorType::System,
            actor_id: None,
            actor_label: "wharf agent".to_owned(),
            actor_email: None,
        }
    }

    /// A person.
    pub fn human(id: UserId, label: impl Into<String>) -> Self {
        Self {
            actor_type: ActorType::Human,
            actor_id: Some(id.to_string()),
            actor_label: label.into(),
            actor_email: None,
        }
    }
}

/// What was acted on, copied when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What kind of thing: `project`, `operation_run`, `agent`, …
    pub target_type: String,
    /// Its id or name.
    pub target_id: String,
    /// Its name at that time.
    pub target_label: String,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Its tenant.
    pub tenant_id: Option<TenantId>,
}

/// One meaningful thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Its name.
    pub id: EventId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// The tenant it belongs to, if to one.
    pub tenant_id: Option<TenantId>,
    /// What happened, from the registry.
    pub event_type: EventType,
    /// What happened, in one sentence that is understood alone. Never empty.
    pub summary: SafeText,
    /// How it went.
    pub outcome: Outcome,
    /// Who did it.
    pub actor: Actor,
    /// What it was done to.
    pub target: Option<Target>,
    /// The run that did it.
    pub operation_run_id: Option<RunId>,
    /// Facts from an allow-list.
    pub context: EventContext,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// The events of one change: at least one, by type, so that no change goes unrecorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvents {
    first: AuditEvent,
    rest: Vec<AuditEvent>,
}

impl AuditEvents {
    /// The same, and this one.
    #[must_use]
    pub fn and(mut self, event: AuditEvent) -> Self {
        self.rest.push(event);
        self
    }

    /// The same, and these.
    #[must_use]
    pub fn and_all(mut self, events: impl IntoIterator<Item = AuditEvent>) -> Self {
        self.rest.extend(events);
        self
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &AuditEvent> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl From<AuditEvent> for AuditEvents {
    fn from(first: AuditEvent) -> Self {
        Self { first, rest: Vec::new() }
    }
}

/// An event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its place in this host's log, from 1, without gaps.
    pub seq: u64,
    /// When the log took it.
    pub recorded_at: Timestamp,
    /// The event.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// The type of the event that tells how a run of this type ended.
pub fn ended(run_type: runs::RunType, end: End) -> EventType {
    use runs::RunType::{
        BuildImages, CheckImages, DeployProject, EnforcePolicy, HealInstance, Hosted, PullImages,
        ReleaseContainer, RemoveProject, RestartProject, RunRunbook, ScanImages, UpdateAdvisories,
    };
    let went_well = matches!(end, End::Succeeded | End::PartiallySucceeded);
    match (run_type, end) {
        (_, End::Cancelled) => EventType::RunCancelled,
        (RunRunbook, _) if went_well => EventType::RunbookCompleted,
        (RunRunbook, _) => EventType::RunbookFailed,
        (_, End::Blocked) => EventType::RunBlocked,
        (DeployProject, _) if went_well => EventType::DeploymentCompleted,
        (DeployProject, _) => EventType::DeploymentFailed,
        (RemoveProject, _) if went_well => EventType::ProjectRemoved,
        (RemoveProject, _) => EventType::ProjectRemovalFailed,
        (RestartProject, _) if went_well => EventType::ProjectRestarted,
        (RestartProject, _) => EventType::ProjectRestartFailed,
        (PullImages, _) if went_well => EventType::ImagesPulled,
        (PullImages, _) => EventType::ImagesPullFailed,
        (BuildImages, _) if went_well => EventType::ImagesBuilt,
        (BuildImages, _) => EventType::ImagesBuildFailed,
        (CheckImages, _) if went_well => EventType::ImagesChecked,
        (CheckImages, _) => EventType::ImagesCheckFailed,
        (ScanImages, _) if went_well => EventType::ImagesScanned,
        (ScanImages, _) => EventType::ImagesScanFailed,
        (UpdateAdvisories, _) if went_well => EventType::AdvisoriesUpdated,
        (UpdateAdvisories, _) => EventType::AdvisoriesUpdateFailed,
        (HealInstance, _) if went_well => EventType::InstanceHealed,
        (HealInstance, _) => EventType::InstanceHealFailed,
        // What came of them is recorded beside, by what it was.
        (Hosted(_) | EnforcePolicy | ReleaseContainer, _) if went_well => EventType::RunCompleted,
        (Hosted(_) | EnforcePolicy | ReleaseContainer, _) => EventType::RunFailed,
    }
}

/// The type of the event that tells of the intent, before a run of this type acts.
pub fn started(run_type: runs::RunType) -> EventType {
    match run_type {
        runs::RunType::DeployProject => EventType::DeploymentStarted,
        runs::RunType::RemoveProject => EventType::ProjectRemovalStarted,
        runs::RunType::RestartProject => EventType::ProjectRestartStarted,
        runs::RunType::PullImages => EventType::ImagesPullStarted,
        runs::RunType::BuildImages => EventType::ImagesBuildStarted,
        runs::RunType::CheckImages => EventType::ImagesCheckStarted,
        runs::RunType::ScanImages => EventType::ImagesScanStarted,
        runs::RunType::UpdateAdvisories => EventType::AdvisoriesUpdateStarted,
        runs::RunType::HealInstance => EventType::InstanceHealStarted,
        // That a runbook starts is recorded with its acceptance, by whoever started it.
        runs::RunType::RunRunbook
        | runs::RunType::EnforcePolicy
        | runs::RunType::ReleaseContainer
        | runs::RunType::Hosted(_) => EventType::RunStarted,
    }
}
