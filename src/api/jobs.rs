//! The routes of a bulk run's jobs, and of dead letters. Owns `/v1/runs/{id}/jobs`, `…/retry` and
//! `…/dismiss`. Face: the handlers. Never changes a run that is no dead letter.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{JsonOrDefault, Path, Query, Reply, parse_list};
use super::problem::Problem;
use super::runs::{RunPath, find, page_request};
use super::wire::{JobView, Page, Parts, Retry, RunView};
use crate::operations::hosted::RetryParts;
use crate::operations::projects::Asker;
use crate::store::JobFilter;

/// Which jobs are wanted. Lists are separated by commas.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct JobQuery {
    /// In these statuses.
    status: Option<String>,
    /// Most items, up to 500.
    limit: Option<usize>,
    /// The `next` of the last part.
    after: Option<String>,
}

/// The jobs of a bulk run, in the order in which they were made
#[utoipa::path(
    get, path = "/v1/runs/{id}/jobs", operation_id = "list_jobs", tag = "runs",
    params(RunPath, JobQuery),
    responses(
        (status = 200, body = Page<JobView>),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn list(
    Inside(api): Inside,
    Path(RunPath { id }): Path<RunPath>,
    Query(query): Query<JobQuery>,
) -> Reply<Page<JobView>> {
    let run = find(&api, id).await?;
    let filter =
        JobFilter { run_id: run.id, statuses: parse_list("status", query.status.as_deref())? };
    let page = api.store.jobs(filter, page_request(query.limit, query.after)).await?;
    Ok(axum::Json(Page::of(page, |job| JobView::from(&job))))
}

/// Tries a dead letter again, as a new run
///
/// With `failed_only`, a bulk run takes only the jobs that were not done. The old run is no dead
/// letter from then on.
#[utoipa::path(
    post, path = "/v1/runs/{id}/retry", operation_id = "retry_run", tag = "runs",
    request_body = Retry,
    params(RunPath),
    responses(
        (status = 202, body = RunView),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn retry(
    Inside(api): Inside,
    asker: Asker,
    Path(RunPath { id }): Path<RunPath>,
    JsonOrDefault(retry): JsonOrDefault<Retry>,
) -> Result<(StatusCode, axum::Json<RunView>), Problem> {
    let parts = match retry.parts {
        Parts::All => RetryParts::All,
        Parts::FailedOnly => RetryParts::FailedOnly,
    };
    let run = api.hosted.retry(id, parts, &asker).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(RunView::from(&run))))
}

/// Notes that a dead letter was dealt with otherwise
#[utoipa::path(
    post, path = "/v1/runs/{id}/dismiss", operation_id = "dismiss_run", tag = "runs",
    params(RunPath),
    responses(
        (status = 200, body = RunView),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn dismiss(
    Inside(api): Inside,
    asker: Asker,
    Path(RunPath { id }): Path<RunPath>,
) -> Reply<RunView> {
    let run = api.hosted.dismiss(id, &asker).await?;
    Ok(axum::Json(RunView::from(&run)))
}
