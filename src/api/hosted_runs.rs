//! The routes by which programs ask for runs of their own types. Owns `POST /v1/queue/runs…`. Face:
//! the handlers. Never takes a run of a type that is not registered.

use axum::http::StatusCode;

use super::access::Inside;
use super::extract::{Json, parse};
use super::problem::{Problem, ProblemCode};
use super::wire::{Enqueue, EnqueueBatch, EnqueueJob, EnqueuedBatch, RunAccepted};
use crate::base::limits::ENQUEUE_MAX;
use crate::operations::hosted::{NewPart, NewRun};
use crate::operations::projects::Asker;
use crate::store::Scope;

/// Asks for a hosted run
///
/// Asking again for what is not completed answers the run that does it. With `jobs` it is a bulk
/// run: workers claim its jobs, and it ends once, with the last of them.
#[utoipa::path(
    post, path = "/v1/queue/runs", operation_id = "enqueue_run", tag = "queue",
    request_body = Enqueue,
    responses(
        (status = 202, body = RunAccepted),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn enqueue(
    Inside(api): Inside,
    asker: Asker,
    Json(request): Json<Enqueue>,
) -> Result<(StatusCode, axum::Json<RunAccepted>), Problem> {
    let new = new_run(request, &api.within.scope)?;
    let admitted = api.hosted.enqueue(new, &asker).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(RunAccepted::from(&admitted))))
}

/// Asks for several hosted runs
///
/// All are checked before the first is taken. Asking again for the same finds what was taken.
#[utoipa::path(
    post, path = "/v1/queue/runs/batch", operation_id = "enqueue_runs", tag = "queue",
    request_body = EnqueueBatch,
    responses(
        (status = 202, body = EnqueuedBatch),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn enqueue_batch(
    Inside(api): Inside,
    asker: Asker,
    Json(batch): Json<EnqueueBatch>,
) -> Result<(StatusCode, axum::Json<EnqueuedBatch>), Problem> {
    let count = batch.runs.len();
    if count == 0 || count > ENQUEUE_MAX {
        let detail = format!("`runs` has 1 to {ENQUEUE_MAX} entries, not {count}");
        return Err(Problem::new(ProblemCode::BadRequest, detail));
    }
    let scope = api.within.scope.clone();
    let new = batch.runs.into_iter().map(|run| new_run(run, &scope)).collect::<Result<_, _>>()?;
    let admitted = api.hosted.enqueue_all(new, &asker).await?;
    let items = admitted.iter().map(RunAccepted::from).collect();
    Ok((StatusCode::ACCEPTED, axum::Json(EnqueuedBatch { items })))
}

fn new_run(request: Enqueue, scope: &Scope) -> Result<NewRun, Problem> {
    let jobs = request.jobs.map(|jobs| jobs.into_iter().map(new_part).collect());
    Ok(NewRun {
        run_type: parse("type", &request.run_type)?,
        payload: request.payload,
        identity: request.identity,
        subject: request.subject,
        priority: request.priority,
        run_at: request.run_at,
        tenant_id: match request.tenant_id {
            None => Some(scope.tenant_id),
            Some(None) => None,
            Some(Some(id)) => Some(parse("tenant_id", &id)?),
        },
        jobs: jobs.transpose()?,
    })
}

pub(super) fn new_part(job: EnqueueJob) -> Result<NewPart, Problem> {
    Ok(NewPart {
        key: job.key,
        payload: job.payload,
        tenant_id: job.tenant_id.map(|id| parse("tenant_id", &id)).transpose()?,
    })
}
