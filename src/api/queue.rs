//! The routes of the queue for operators. Owns `/v1/queue` and `/v1/queue/controls`. Face: the
//! handlers. Never stops what has begun.

use super::access::Inside;
use super::extract::{Json, Reply};
use super::problem::{Problem, ProblemCode};
use super::wire::{ControlView, Page, PutControl, QueueView};
use crate::operations::hosted::ControlChange;
use crate::operations::projects::Asker;

/// How the queue stands: how much is queued and runs, what holds it back, who works on it
#[utoipa::path(
    get, path = "/v1/queue", operation_id = "show_queue", tag = "queue",
    responses((status = 200, body = QueueView))
)]
pub(super) async fn show(Inside(api): Inside) -> Reply<QueueView> {
    Ok(axum::Json(QueueView::from(&api.hosted.overview().await?)))
}

/// What holds parts of the queue back
#[utoipa::path(
    get, path = "/v1/queue/controls", operation_id = "list_queue_controls", tag = "queue",
    responses((status = 200, body = Page<ControlView>))
)]
pub(super) async fn controls(Inside(api): Inside) -> Reply<Page<ControlView>> {
    let items = api.hosted.controls().await?.iter().map(ControlView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Pauses, resumes or limits a part of the queue
///
/// What has begun goes on. What is absent stays as it is.
#[utoipa::path(
    put, path = "/v1/queue/controls", operation_id = "put_queue_control", tag = "queue",
    request_body = PutControl,
    responses(
        (status = 200, body = ControlView),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn put_control(
    Inside(api): Inside,
    asker: Asker,
    Json(request): Json<PutControl>,
) -> Reply<ControlView> {
    let scope = request.scope().map_err(|unknown| {
        Problem::new(ProblemCode::BadRequest, format!("field `scope`: {unknown}"))
    })?;
    let PutControl { is_paused, concurrency_max, .. } = request;
    let change = ControlChange { scope, is_paused, concurrency_max };
    let control = api.hosted.control(change, &asker).await?;
    Ok(axum::Json(ControlView::from(&control)))
}
