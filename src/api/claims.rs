//! The route by which programs take work. Owns `POST /v1/queue/claims`. Face: the handler. Never
//! holds a connection longer than the client asked for.

use std::time::Duration;

use super::access::Inside;
use super::extract::{Json, Reply, parse};
use super::problem::Problem;
use super::wire::{ClaimWork, ClaimedWork, WorkItem};
use crate::domain::runs::RunType;
use crate::operations::hosted::ClaimRequest;

/// Takes work, and waits for it when there is none
///
/// What is answered has begun: the worker gives a sign of life before `lease_until`, and ends it
/// with `complete` or `fail`. A run that is asked for meanwhile goes to the worker that has waited
/// longest.
#[utoipa::path(
    post, path = "/v1/queue/claims", operation_id = "claim_work", tag = "queue",
    request_body = ClaimWork,
    responses(
        (status = 200, body = ClaimedWork),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 429, body = Problem)
    )
)]
pub(super) async fn claim(
    Inside(api): Inside,
    Json(request): Json<ClaimWork>,
) -> Reply<ClaimedWork> {
    let types = request.types.iter().map(|text| parse::<RunType>("types", text));
    let request = ClaimRequest {
        run_types: types.collect::<Result<_, _>>()?,
        limit: request.limit,
        worker: request.worker,
        wait: Duration::from_secs(request.wait_seconds),
    };
    let waits = !request.wait.is_zero();
    let claimed = api.hosted.claim(request).await?;
    for item in &claimed {
        let kind = if item.job.is_some() { "job" } else { "run" };
        api.metrics.queue_claim(item.run.run_type().key(), kind);
    }
    if claimed.is_empty() && waits {
        api.metrics.queue_wait_over();
    }
    Ok(axum::Json(ClaimedWork { items: claimed.iter().map(WorkItem::from).collect() }))
}
