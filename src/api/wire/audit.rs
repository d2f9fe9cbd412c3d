//! The wire form of the audit log. Owns the row of the list and the detail. Face: `AuditRow`,
//! `AuditDetail`, `Viewer`. Never needs a second record to be understood, nor leads a viewer to what
//! they may not look at.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::base::Timestamp;
use crate::domain::access::{Capability, CapabilitySet, Directory, Tenant};
use crate::domain::audit::{Actor, AuditEvent, AuditRecord, ContextItem, Target};
use crate::operations::findings::FINDING_TARGET;
use crate::store::AuditOptions;

/// Who looks at records: what they may follow, and what they may know the names of.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// What they may do where they look.
    pub capabilities: CapabilitySet,
    /// Where names of tenants come from; none are told without it.
    pub directory: Option<&'a Directory>,
}

impl Viewer<'_> {
    /// Someone who reads a whole log, outside of this host: everything is told that a record carries.
    pub const OUTSIDE: Self = Self { capabilities: CapabilitySet::NONE, directory: None };

    fn tenant_label(self, event: &AuditEvent) -> Option<String> {
        let tenants = &self.directory?.tenants;
        Some(tenants.iter().find(|it| Some(it.id) == event.tenant_id)?.name.clone())
    }

    /// The finding; else the run that did it, else the project, when the event's type has a target that
    /// can be shown.
    fn related_link(self, event: &AuditEvent) -> Option<String> {
        if !event.event_type.supports_target_link() {
            return None;
        }
        if event.event_type.family() != FINDING_TARGET
            && let Some(run) = event.operation_run_id
        {
            let may = self.capabilities.has(Capability::RunsView);
            return may.then(|| format!("/v1/runs/{run}"));
        }
        if event.event_type.family() == FINDING_TARGET {
            let may = self.capabilities.has(Capability::FindingsView);
            let target = event.target.as_ref().filter(|_| may)?;
            return Some(format!("/v1/findings/{}", target.target_id));
        }
        let target = event.target.as_ref().filter(|target| target.target_type == "project")?;
        let may = self.capabilities.has(Capability::ProjectsView);
        may.then(|| format!("/v1/projects/{}", target.target_id))
    }
}

/// One row of the list, led by its summary and understandable alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRow {
    /// Its id, a UUID.
    pub id: String,
    /// Its place in this host's log, from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// What happened, in one sentence.
    pub summary: String,
    /// What happened, from the registry.
    #[schema(example = "deployment.completed")]
    pub event_type: String,
    /// How it went.
    #[schema(example = "success")]
    pub outcome: String,
    /// Who did it.
    pub actor_label: String,
    /// What kind of actor.
    #[schema(example = "human")]
    pub actor_type: String,
    /// What it was done to.
    pub target_label: Option<String>,
    /// What kind of thing that is.
    pub target_type: Option<String>,
    /// The workspace it belongs to.
    pub workspace_id: String,
    /// The tenant it belongs to, if to one.
    pub tenant_id: Option<String>,
    /// Its name today.
    pub tenant_label: Option<String>,
    /// The run that did it.
    pub operation_run_id: Option<String>,
    /// Whether the viewer can look at the target.
    pub has_related_link: bool,
}

impl AuditRow {
    /// A record as a viewer sees it.
    pub fn of(record: &AuditRecord, viewer: Viewer<'_>) -> Self {
        let event = &record.event;
        let target = event.target.as_ref();
        Self {
            id: event.id.to_string(),
            seq: record.seq,
            occurred_at: event.occurred_at,
            summary: event.summary.to_string(),
            event_type: event.event_type.to_string(),
            outcome: event.outcome.to_string(),
            actor_label: event.actor.actor_label.clone(),
            actor_type: event.actor.actor_type.to_string(),
            target_label: target.map(|target| target.target_label.clone()),
            target_type: target.map(|target| target.target_type.clone()),
            workspace_id: event.workspace_id.to_string(),
            tenant_id: event.tenant_id.map(|id| id.to_string()),
            tenant_label: viewer.tenant_label(event),
            operation_run_id: event.operation_run_id.map(|id| id.to_string()),
            has_related_link: viewer.related_link(event).is_some(),
        }
    }
}

/// One event with all that is known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditDetail {
    /// Its id, a UUID.
    pub id: String,
    /// Its place in this host's log.
    pub seq: u64,
    /// What happened, in one sentence.
    pub summary: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// When the log took it.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Timestamp,
    /// What happened, from the registry.
    pub event_type: String,
    /// How it went.
    pub outcome: String,
    /// Who did it, as they were then.
    pub actor: ActorView,
    /// What it was done to, as it was then.
    pub target: Option<TargetView>,
    /// The run that did it.
    pub operation_run_id: Option<String>,
    /// Readable facts, most telling first.
    pub context_items: Vec<ContextItemView>,
    /// The same facts for programs.
    #[schema(value_type = Object)]
    pub technical_metadata: Map<String, Value>,
    /// Where the viewer can look at the target.
    pub related_link: Option<String>,
}

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorView {
    /// What kind of actor.
    pub actor_type: String,
    /// Their id.
    pub actor_id: Option<String>,
    /// Their name.
    pub actor_label: String,
    /// Their address.
    pub actor_email: Option<String>,
}

/// What was acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetView {
    /// What kind of thing.
    pub target_type: String,
    /// Its id or name.
    pub target_id: String,
    /// Its name.
    pub target_label: String,
}

/// One readable fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContextItemView {
    /// What the fact is about.
    pub label: String,
    /// The fact.
    pub value: String,
}

impl AuditDetail {
    /// A record as a viewer sees it.
    pub fn of(record: &AuditRecord, viewer: Viewer<'_>) -> Self {
        let event = &record.event;
        let metadata = match serde_json::to_value(&event.context) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        Self {
            id: event.id.to_string(),
            seq: record.seq,
            summary: event.summary.to_string(),
            occurred_at: event.occurred_at,
            recorded_at: record.recorded_at,
            event_type: event.event_type.to_string(),
            outcome: event.outcome.to_string(),
            actor: ActorView::from(&event.actor),
            target: event.target.as_ref().map(TargetView::from),
            operation_run_id: event.operation_run_id.map(|id| id.to_string()),
            context_items: event.context.items().iter().map(ContextItemView::from).collect(),
            technical_metadata: metadata,
            related_link: viewer.related_link(event),
        }
    }
}

/// The half of the audit key that everybody may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditKey {
    /// Whose log it seals.
    pub host_id: String,
    /// What checkpoints call it.
    pub key_id: String,
    /// An ed25519 key: 64 hexadecimal digits.
    pub public_key: String,
}

/// What is to be purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditPurge {
    /// Whole segments that ended before this time.
    #[schema(value_type = String, format = DateTime)]
    pub before: Timestamp,
}

/// What was purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPurged {
    /// How many records.
    pub records: u64,
    /// The last one of them.
    pub to_seq: Option<u64>,
}

/// Who is to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditErase {
    /// The id that their records carry, or their name.
    #[schema(example = "uid:1001")]
    pub person: String,
}

/// Who was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditErased {
    /// What they are called from then on.
    #[schema(example = "person-7f3a91c04d")]
    pub pseudonym: String,
}

/// A record as an event for other systems (CloudEvents 1.0, JSON).
pub fn cloud_event(record: &AuditRecord, host_id: &str, hash: &str) -> Value {
    let event = &record.event;
    let subject = event.target.as_ref().map(|it| format!("{}/{}", it.target_type, it.target_id));
    serde_json::json!({
        "specversion": "1.0",
        "id": event.id.to_string(),
        "source": format!("urn:wharfinger:host:{host_id}"),
        "type": event.event_type.to_string(),
        "subject": subject,
        "time": event.occurred_at,
        "sequence": format!("{:020}", record.seq),
        "hash": hash,
        "datacontenttype": "application/json",
        "data": AuditDetail::of(record, Viewer::OUTSIDE),
    })
}

/// What the viewer can filter by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditFilters {
    /// How many of the newest records were looked at.
    pub records: u64,
    /// Types of events.
    pub event_types: Vec<String>,
    /// Outcomes.
    pub outcomes: Vec<String>,
    /// Actors: their kinds, then their names.
    pub actors: Vec<String>,
    /// Kinds of targets.
    pub target_types: Vec<String>,
    /// Tenants.
    pub tenants: Vec<AuditTenant>,
}

/// A tenant whose records the viewer sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditTenant {
    /// Its id, a UUID.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl AuditFilters {
    /// What was found, with the names of tenants.
    pub fn of(found: AuditOptions, directory: &Directory) -> Self {
        fn texts<T: ToString>(members: impl IntoIterator<Item = T>) -> Vec<String> {
            members.into_iter().map(|member| member.to_string()).collect()
        }
        let mut actors = texts(found.actor_types);
        actors.extend(found.actor_labels);
        let tenants = directory.tenants.iter().filter(|it| found.tenants.contains(&it.id));
        let tenant = |it: &Tenant| AuditTenant { id: it.id.to_string(), name: it.name.clone() };
        Self {
            records: found.records,
            event_types: texts(found.event_types),
            outcomes: texts(found.outcomes),
            actors,
            target_types: found.target_types.into_iter().collect(),
            tenants: tenants.map(tenant).collect(),
        }
    }
}

impl From<&Actor> for ActorView {
    fn from(actor: &Actor) -> Self {
        Self {
            actor_type: actor.actor_type.to_string(),
            actor_id: actor.actor_id.clone(),
            actor_label: actor.actor_label.clone(),
            actor_email: actor.actor_email.clone(),
        }
    }
}

impl From<&Target> for TargetView {
    fn from(target: &Target) -> Self {
        Self {
            target_type: target.target_type.clone(),
            target_id: target.target_id.clone(),
            target_label: target.target_label.clone(),
        }
    }
}

impl From<&ContextItem> for ContextItemView {
    fn from(item: &ContextItem) -> Self {
        Self { label: item.label.to_owned(), value: item.value.clone() }
    }
}
