//! The routes of runs. Owns `/v1/runs…`. Face: the handlers. Never starts a run: whatever does is a
//! route of the thing that it acts on.

use std::convert::Infallible;

use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::access::Inside;
use super::extract::{Path, Query, Reply, parse_list};
use super::follow::{self, Cursor};
use super::problem::{Problem, ProblemCode};
use super::wire::{AttemptView, Page, RunDetail, RunEvent, RunView, StepView};
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::limits::PAGE_ITEMS_DEFAULT;
use crate::domain::runs::{Inputs, OperationRun, Subject};
use crate::operations::projects::Asker;
use crate::store::{self, PageRequest, RunFilter};

/// Which runs are wanted. Lists are separated by commas.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RunQuery {
    /// Of these types.
    #[serde(rename = "type")]
    run_type: Option<String>,
    /// In these statuses.
    status: Option<String>,
    /// With these outcomes.
    outcome: Option<String>,
    /// From these sources.
    source: Option<String>,
    /// On this compose project.
    project: Option<String>,
    /// On this subject, such as `app:march`.
    subject: Option<String>,
    /// Dead letters, or what is none.
    dead: Option<bool>,
    /// Created at or after this time.
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Created before this time.
    #[param(value_type = Option<String>)]
    until: Option<Timestamp>,
    /// Most items, up to 500.
    limit: Option<usize>,
    /// The `next` of the last part.
    after: Option<String>,
}

/// Which run a route is about.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RunPath {
    /// The run's id
    #[param(value_type = String)]
    pub(super) id: RunId,
}

/// Runs, newest first
#[utoipa::path(
    get, path = "/v1/runs", operation_id = "list_runs", tag = "runs", params(RunQuery),
    responses((status = 200, body = Page<RunView>), (status = 400, body = Problem))
)]
pub(super) async fn list(
    Inside(api): Inside,
    Query(query): Query<RunQuery>,
) -> Reply<Page<RunView>> {
    let filter = RunFilter {
        run_types: parse_list("type", query.run_type.as_deref())?,
        statuses: parse_list("status", query.status.as_deref())?,
        outcomes: parse_list("outcome", query.outcome.as_deref())?,
        sources: parse_list("source", query.source.as_deref())?,
        subject: match (query.subject, query.project) {
            (Some(subject), None) => Some(Subject::parse(&subject).map_err(|unknown| {
                Problem::new(ProblemCode::BadRequest, format!("parameter `subject`: {unknown}"))
            })?),
            (Some(_), Some(_)) => {
                let detail = "`project` is short for `subject=project:…`: give one of them";
                return Err(Problem::new(ProblemCode::BadRequest, detail));
            }
            (None, project) => project.as_deref().map(Subject::project),
        },
        is_dead_letter: query.dead,
        from: query.from,
        until: query.until,
        reach: api.within.reach.clone(),
        ..RunFilter::workspace(api.within.workspace())
    };
    let page = page_request(query.limit, query.after);
    let page = api.store.runs(filter, page).await?;
    Ok(axum::Json(Page::of(page, |run| RunView::from(&run))))
}

pub(super) fn page_request(limit: Option<usize>, after: Option<String>) -> PageRequest {
    PageRequest { limit: limit.unwrap_or(PAGE_ITEMS_DEFAULT), after: after.map(store::Cursor) }
}

/// One run with its attempts and steps
#[utoipa::path(
    get, path = "/v1/runs/{id}", operation_id = "show_run", tag = "runs", params(RunPath),
    responses((status = 200, body = RunDetail), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Inside(api): Inside,
    Path(RunPath { id }): Path<RunPath>,
) -> Reply<RunDetail> {
    let run = find(&api, id).await?;
    let attempts = api.store.attempts(run.id).await?;
    let steps = api.store.steps(run.id).await?;
    Ok(axum::Json(RunDetail {
        run: RunView::from(&run),
        payload: payload(&run),
        attempts: attempts.iter().map(AttemptView::from).collect(),
        steps: steps.iter().map(StepView::from).collect(),
    }))
}

/// What a hosted run is to do.
fn payload(run: &OperationRun) -> Option<serde_json::Value> {
    match &run.context.inputs {
        Inputs::Hosted(hosted) => Some(hosted.payload.value()),
        _ => None,
    }
}

/// What happens to a run, as server-sent events
///
/// `run` when its record changed, `step` when a step began or ended, `log` for lines that are not
/// kept, `end` last. Send `Last-Event-ID` to go on after a broken connection.
#[utoipa::path(
    get, path = "/v1/runs/{id}/events", operation_id = "follow_run", tag = "runs",
    params(
        RunPath,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen")
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = RunEvent),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn follow(
    Inside(api): Inside,
    Path(RunPath { id }): Path<RunPath>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let cursor = match headers.get("last-event-id") {
        Some(value) => {
            value.to_str().ok().and_then(|text| text.parse::<Cursor>().ok()).ok_or_else(|| {
                Problem::new(ProblemCode::BadRequest, "`Last-Event-ID` is not an id of this stream")
            })?
        }
        None => Cursor::default(),
    };
    let run = find(&api, id).await?;
    let events = follow::events(&api.door, api.store, api.stop, run.id, cursor);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Cancels a run: at once when nobody works on it, else before its next step
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", operation_id = "cancel_run", tag = "runs",
    params(RunPath),
    responses(
        (status = 202, body = RunView),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn cancel(
    Inside(api): Inside,
    asker: Asker,
    Path(RunPath { id }): Path<RunPath>,
) -> Result<(StatusCode, axum::Json<RunView>), Problem> {
    let (scope, id) = (&api.within.scope, find(&api, id).await?.id);
    let run = api.door.cancel(scope.workspace_id, id, asker.actor(scope)).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(RunView::from(&run))))
}

/// A run within reach. Another does not exist for the caller.
pub(super) async fn find(api: &Api, id: RunId) -> Result<OperationRun, Problem> {
    let run = api.store.run(id).await?;
    let run = run.filter(|run| api.within.sees(run.workspace_id, run.tenant_id));
    run.ok_or_else(|| Problem::not_found("run", id))
}
