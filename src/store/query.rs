//! Shapes what a list is asked for. Owns filters, pages and cursors. Face: `RunFilter`,
//! `AuditFilter`, `PageRequest`, `Page`. Never counts or skips rows: a page begins where the last
//! one ended, however much was added meanwhile.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::base::ids::{RunId, TenantId, WorkspaceId};
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::domain::access::Reach;
use crate::domain::audit::{self, ActorType, EventType};
use crate::domain::runs::{Outcome, RunType, Source, Status, Subject};

/// Where a page ended; opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Most items; 0 and what exceeds `PAGE_ITEMS_MAX` mean `PAGE_ITEMS_MAX`.
    pub limit: usize,
    /// Only what comes after this.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// The first items.
    pub fn first(limit: usize) -> Self {
        Self { limit, after: None }
    }

    pub(super) fn bounded_limit(&self) -> usize {
        if self.limit == 0 { PAGE_ITEMS_MAX } else { self.limit.min(PAGE_ITEMS_MAX) }
    }
}

/// One part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next part begins; none at the end.
    pub next: Option<Cursor>,
}

/// Which runs are wanted. What is `None` or empty does not restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this workspace.
    pub workspace_id: WorkspaceId,
    /// Within this reach.
    pub reach: Reach,
    /// Of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Of one of these types.
    pub run_types: Vec<RunType>,
    /// In one of these statuses.
    pub statuses: Vec<Status>,
    /// With one of these outcomes.
    pub outcomes: Vec<Outcome>,
    /// From one of these sources.
    pub sources: Vec<Source>,
    /// On this subject.
    pub subject: Option<Subject>,
    /// Dead letters, or what is none.
    pub is_dead_letter: Option<bool>,
    /// Created at or after this time.
    pub from: Option<Timestamp>,
    /// Created before this time.
    pub until: Option<Timestamp>,
}

impl RunFilter {
    /// All runs of a workspace.
    pub fn workspace(workspace_id: WorkspaceId) -> Self {
        Self {
            workspace_id,
            reach: Reach::All,
            tenant_id: None,
            run_types: Vec::new(),
            statuses: Vec::new(),
            outcomes: Vec::new(),
            sources: Vec::new(),
            subject: None,
            is_dead_letter: None,
            from: None,
            until: None,
        }
    }
}

/// Which audit records are wanted. What is `None` or empty does not restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this workspace.
    pub workspace_id: WorkspaceId,
    /// Within this reach.
    pub reach: Reach,
    /// Of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Of one of these types.
    pub event_types: Vec<EventType>,
    /// With one of these outcomes.
    pub outcomes: Vec<audit::Outcome>,
    /// By actors of this kind.
    pub actor_type: Option<ActorType>,
    /// By the actor of this name.
    pub actor_label: Option<String>,
    /// On targets of this kind.
    pub target_type: Option<String>,
    /// On this target.
    pub target_id: Option<String>,
    /// Written by this run.
    pub operation_run_id: Option<RunId>,
    /// With this text in the summary, whatever the case.
    pub search: Option<String>,
    /// Occurred at or after this time.
    pub date_from: Option<Timestamp>,
    /// Occurred before this time.
    pub date_until: Option<Timestamp>,
}

impl AuditFilter {
    /// All records of a workspace.
    pub fn workspace(workspace_id: WorkspaceId) -> Self {
        Self {
            workspace_id,
            reach: Reach::All,
            tenant_id: None,
            event_types: Vec::new(),
            outcomes: Vec::new(),
            actor_type: None,
            actor_label: None,
            target_type: None,
            target_id: None,
            operation_run_id: None,
            search: None,
            date_from: None,
            date_until: None,
        }
    }
}

/// What a viewer can filter the audit log by: what the newest records carry that they may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditOptions {
    /// The records that were looked at, at most `AUDIT_OPTIONS_RECORDS`.
    pub records: u64,
    /// Types, by their keys.
    pub event_types: BTreeSet<EventType>,
    /// How what happened went.
    pub outcomes: BTreeSet<audit::Outcome>,
    /// Kinds of actors.
    pub actor_types: BTreeSet<ActorType>,
    /// Actors, by name.
    pub actor_labels: BTreeSet<String>,
    /// Kinds of targets.
    pub target_types: BTreeSet<String>,
    /// Tenants.
    pub tenants: BTreeSet<TenantId>,
}

/// Records that are alike in all that one can filter by.
#[derive(Debug)]
pub(super) struct AuditOption {
    pub(super) event_type: EventType,
    pub(super) outcome: audit::Outcome,
    pub(super) actor_type: ActorType,
    pub(super) actor_label: String,
    pub(super) target_type: Option<String>,
    pub(super) tenant_id: Option<TenantId>,
    pub(super) records: u64,
}

impl FromIterator<AuditOption> for AuditOptions {
    fn from_iter<I: IntoIterator<Item = AuditOption>>(found: I) -> Self {
        let mut options = Self::default();
        for option in found {
            options.records += option.records;
            options.event_types.insert(option.event_type);
            options.outcomes.insert(option.outcome);
            options.actor_types.insert(option.actor_type);
            options.actor_labels.insert(option.actor_label);
            options.target_types.extend(option.target_type);
            options.tenants.extend(option.tenant_id);
        }
        options
    }
}
