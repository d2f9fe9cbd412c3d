//! The routes of the audit log. Owns `/v1/audit…`. Face: the handlers. Never changes or leaves out
//! an event.

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::extract::{Path, Query, Reply, parse, parse_list};
use super::problem::Problem;
use super::runs::page_request;
use super::wire::{AuditDetail, AuditRow, Page};
use crate::base::Timestamp;
use crate::base::ids::EventId;
use crate::domain::audit::ActorType;
use crate::store::AuditFilter;

/// Which events are wanted. Lists are separated by commas.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// With this text in the summary, whatever the case.
    search: Option<String>,
    /// Of the tenant with this id.
    tenant_id: Option<String>,
    /// Of these types.
    event_type: Option<String>,
    /// With these outcomes.
    outcome: Option<String>,
    /// By this actor: a name, or a kind such as `human` or `system`.
    actor: Option<String>,
    /// On this kind of target.
    target_type: Option<String>,
    /// On the target with this id or name.
    target_id: Option<String>,
    /// Written by this run.
    run: Option<String>,
    /// Occurred at or after this time.
    #[param(value_type = Option<String>)]
    date_from: Option<Timestamp>,
    /// Occurred before this time.
    #[param(value_type = Option<String>)]
    date_until: Option<Timestamp>,
    /// Most items, up to 500.
    limit: Option<usize>,
    /// The `next` of the last part.
    after: Option<String>,
}

/// Which event a route is about.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct EventPath {
    /// The event's id
    #[param(value_type = String)]
    id: EventId,
}

/// What happened, newest first
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_audit_events", tag = "audit", params(AuditQuery),
    responses((status = 200, body = Page<AuditRow>), (status = 400, body = Problem))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<AuditQuery>,
) -> Reply<Page<AuditRow>> {
    let actor_type = query.actor.as_deref().and_then(|actor| actor.parse::<ActorType>().ok());
    let run = query.run.as_deref().map(|id| parse("run", id)).transpose()?;
    let filter = AuditFilter {
        tenant_id: query.tenant_id.as_deref().map(|id| parse("tenant_id", id)).transpose()?,
        event_types: parse_list("event_type", query.event_type.as_deref())?,
        outcomes: parse_list("outcome", query.outcome.as_deref())?,
        actor_type,
        actor_label: query.actor.filter(|_| actor_type.is_none()),
        target_type: query.target_type,
        target_id: query.target_id,
        operation_run_id: run,
        search: query.search,
        date_from: query.date_from,
        date_until: query.date_until,
        ..AuditFilter::workspace(api.store.scope().workspace_id)
    };
    let page = api.store.audit(filter, page_request(query.limit, query.after)).await?;
    Ok(axum::Json(Page::of(page, |record| AuditRow::from(&record))))
}

/// One event with all that is known about it
#[utoipa::path(
    get, path = "/v1/audit/{id}", operation_id = "show_audit_event", tag = "audit",
    params(EventPath),
    responses((status = 200, body = AuditDetail), (status = 404, body = Problem))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Path(EventPath { id }): Path<EventPath>,
) -> Reply<AuditDetail> {
    let workspace = api.store.scope().workspace_id;
    let record = api.store.audit_record(id).await?;
    let record = record.filter(|record| record.event.workspace_id == workspace);
    let record = record.ok_or_else(|| Problem::not_found("audit event", id))?;
    Ok(axum::Json(AuditDetail::from(&record)))
}
