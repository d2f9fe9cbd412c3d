//! The routes of the audit log. Owns `/v1/audit…`. Face: the handlers. Never changes or leaves out
//! an event.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Extension;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::access::{Caller, Inside, absent};
use super::extract::{Json, Path, Query, Reply, parse, parse_list};
use super::problem::{Problem, ProblemCode};
use super::runs::page_request;
use super::wire::{
    AuditDetail, AuditErase, AuditErased, AuditFilters, AuditKey, AuditPurge, AuditPurged,
    AuditRow, Page, Viewer, cloud_event,
};
use crate::base::ids::EventId;
use crate::base::{Timestamp, chain};
use crate::domain::access::Grant;
use crate::domain::audit::log::{Entry, Stored};
use crate::domain::audit::person;
use crate::domain::audit::seal::PurgeCause;
use crate::domain::audit::{ActorType, AuditEvent};
use crate::operations::Within;
use crate::operations::audit::{AuditLog, EraseError, ExportBytes};
use crate::operations::projects::Asker;
use crate::store::{AuditFilter, StoreError};

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
    Inside(api): Inside,
    Extension(grant): Extension<Grant>,
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
        reach: api.within.reach.clone(),
        ..AuditFilter::workspace(api.within.workspace())
    };
    let page = api.store.audit(filter, page_request(query.limit, query.after)).await?;
    let directory = api.access.directory().await?;
    let viewer = Viewer { capabilities: grant.capabilities, directory: Some(&directory) };
    Ok(axum::Json(Page::of(page, |record| AuditRow::of(&record, viewer))))
}

/// What the newest events within reach can be filtered by
#[utoipa::path(
    get, path = "/v1/audit/filters", operation_id = "list_audit_filters", tag = "audit",
    responses((status = 200, body = AuditFilters))
)]
pub(super) async fn filters(Inside(api): Inside) -> Reply<AuditFilters> {
    let filter = AuditFilter {
        reach: api.within.reach.clone(),
        ..AuditFilter::workspace(api.within.workspace())
    };
    let found = api.store.audit_options(filter).await?;
    let directory = api.access.directory().await?;
    Ok(axum::Json(AuditFilters::of(found, &directory)))
}

/// One event with all that is known about it
#[utoipa::path(
    get, path = "/v1/audit/{id}", operation_id = "show_audit_event", tag = "audit",
    params(EventPath),
    responses((status = 200, body = AuditDetail), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Inside(api): Inside,
    Extension(grant): Extension<Grant>,
    Path(EventPath { id }): Path<EventPath>,
) -> Reply<AuditDetail> {
    let record = api.store.audit_record(id).await?;
    let is_seen = |event: &AuditEvent| api.within.sees(event.workspace_id, event.tenant_id);
    let record = record.filter(|record| is_seen(&record.event));
    let record = record.ok_or_else(|| Problem::not_found("audit event", id))?;
    let viewer = Viewer { capabilities: grant.capabilities, directory: None };
    Ok(axum::Json(AuditDetail::of(&record, viewer)))
}

/// The whole log of this host, in its order, with what proves it; whole only with its last line
#[utoipa::path(
    get, path = "/v1/audit/export", operation_id = "export_audit_log", tag = "audit",
    responses(
        (status = 200, content_type = "application/x-ndjson", body = Object),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn export(
    Inside(api): Inside,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    // The log is one chain for everything of the host: nothing can be left out of a part of it.
    let known = api.access.directory().await?;
    let workspaces = known.workspaces.iter().filter(|it| !it.is_platform).count();
    let is_whole = api.within.is_home && (workspaces <= 1 || caller.principal.is_above());
    if !is_whole {
        return Err(absent());
    }
    Ok(handed_out(&api, log(&api).export()))
}

/// The events within reach that this host recorded, oldest first, as CloudEvents 1.0
#[utoipa::path(
    get, path = "/v1/audit/cloudevents", operation_id = "export_cloud_events", tag = "audit",
    responses((status = 200, content_type = "application/x-ndjson", body = Object))
)]
pub(super) async fn cloud_events(Inside(api): Inside) -> Response {
    let host = api.store.scope().host_id.to_string();
    let within = api.within.clone();
    let lines = log(&api).entries().filter_map(move |entry| {
        let line = match entry {
            Ok(Entry::Record(stored)) => line_of(&stored, &host, &within).transpose(),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        std::future::ready(line)
    });
    handed_out(&api, lines.boxed())
}

/// A record as a line, when it lies within reach.
fn line_of(stored: &Stored, host: &str, within: &Within) -> Result<Option<Bytes>, StoreError> {
    let personal = stored.personal.clone().unwrap_or_default();
    let (record, _) = person::join(&stored.link.body, &personal)
        .map_err(|error| StoreError::Unreadable { noun: "audit event", reason: chain(&error) })?;
    if !within.sees(record.event.workspace_id, record.event.tenant_id) {
        return Ok(None);
    }
    let event = cloud_event(&record, host, &stored.link.hash.to_string());
    Ok(Some(Bytes::from(format!("{event}\n"))))
}

fn handed_out(api: &Api, lines: ExportBytes) -> Response {
    let lines = lines.inspect(|lines| {
        if let Err(error) = lines {
            tracing::error!(error = %chain(error), "export of the audit log broken off");
        }
    });
    let lines = lines.take_until(api.stop.clone().cancelled_owned());
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

/// The half of the key that seals this host's log which everybody may have
#[utoipa::path(
    get, path = "/v1/audit/key", operation_id = "show_audit_key", tag = "audit",
    responses((status = 200, body = AuditKey))
)]
pub(super) async fn key(Inside(api): Inside) -> Reply<AuditKey> {
    let key = api.store.audit_key();
    Ok(axum::Json(AuditKey {
        host_id: api.store.scope().host_id.to_string(),
        key_id: key.id(),
        public_key: key.to_string(),
    }))
}

/// Purge whole segments that ended before a time
#[utoipa::path(
    post, path = "/v1/audit/purge", operation_id = "purge_audit_log", tag = "audit",
    request_body = AuditPurge,
    responses(
        (status = 200, body = AuditPurged), (status = 400, body = Problem),
        (status = 415, body = Problem), (status = 503, body = Problem)
    )
)]
pub(super) async fn purge(
    Inside(api): Inside,
    asker: Asker,
    Json(purge): Json<AuditPurge>,
) -> Reply<AuditPurged> {
    let actor = asker.actor(&api.store.scope());
    let purged = log(&api).purge(actor, purge.before, PurgeCause::Request).await?;
    Ok(axum::Json(AuditPurged { records: purged.records, to_seq: purged.to_seq }))
}

/// Replace a person in the log by a pseudonym; what the log proves stays
#[utoipa::path(
    post, path = "/v1/audit/erase", operation_id = "erase_person", tag = "audit",
    request_body = AuditErase,
    responses(
        (status = 200, body = AuditErased), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 415, body = Problem), (status = 503, body = Problem)
    )
)]
pub(super) async fn erase(
    Inside(api): Inside,
    asker: Asker,
    Json(erase): Json<AuditErase>,
) -> Reply<AuditErased> {
    let erased = log(&api).erase(&asker, &erase.person).await;
    let pseudonym = erased.map_err(|error| match error {
        EraseError::Store(error) => Problem::from(error),
        error @ EraseError::Unknown(_) => Problem::new(ProblemCode::NotFound, error.to_string())
            .hint("`wharf audit ls --actor` finds people; an id such as `uid:1001` does too"),
        error @ EraseError::Several { .. } => {
            Problem::new(ProblemCode::Conflict, error.to_string()).hint("name one of the ids")
        }
    })?;
    Ok(axum::Json(AuditErased { pseudonym }))
}

fn log(api: &Api) -> AuditLog {
    AuditLog::new(Arc::clone(&api.store), api.ambient.clone())
}
