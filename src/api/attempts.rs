//! The routes by which workers tell of an attempt, and make jobs of it. Owns
//! `/v1/queue/runs/{id}/attempts/{n}/…` and the same for jobs. Face: the handlers. Never takes a word from an attempt that was taken over.

use serde::Deserialize;

use super::access::Inside;
use super::extract::{Json, JsonOrDefault, Path, Reply, parse};
use super::hosted_runs::new_part;
use super::problem::Problem;
use super::wire::{
    Complete, Fail, FanOut, HeardView, Progress, StandingView, StepProgress, WorkFailure,
};
use crate::domain::runs::Failure;
use crate::operations::hosted::{Completion, Failed, Parts, Report, StepReport};
use crate::operations::projects::Asker;
use crate::store::{AttemptRef, Heard};

/// Which attempt a worker speaks of.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct At {
    id: String,
    #[serde(default)]
    key: Option<String>,
    attempt: String,
}

impl At {
    fn read(self) -> Result<AttemptRef, Problem> {
        let attempt = parse("attempt", &self.attempt)?;
        Ok(AttemptRef { run_id: parse("id", &self.id)?, job: self.key, attempt })
    }
}

/// Declares the four calls of a worker, once for runs and once for their jobs.
macro_rules! calls {
    (
        $module:ident, $base:literal, $noun:literal, $params:tt,
        $heartbeat:literal, $progress:literal, $complete:literal, $fail:literal
    ) => {
        pub(super) mod $module {
            use super::*;

            #[doc = concat!("A worker of a ", $noun, " is alive")]
            ///
            /// Its lease is renewed. The answer says whether somebody asked for the run to be
            /// cancelled.
            #[utoipa::path(
                        post, path = concat!($base, "/heartbeat"), operation_id = $heartbeat,
                        tag = "queue", params $params,
                        responses(
                            (status = 200, body = HeardView),
                            (status = 404, body = Problem),
                            (status = 409, body = Problem)
                        )
                    )]
            pub(in crate::api) async fn heartbeat(
                Inside(api): Inside,
                Path(at): Path<At>,
            ) -> Reply<HeardView> {
                Ok(axum::Json(view(api.hosted.heartbeat(at.read()?).await?)))
            }

            #[doc = concat!("A worker of a ", $noun, " tells what it did; a sign of life too")]
            #[utoipa::path(
                        post, path = concat!($base, "/progress"), operation_id = $progress,
                        tag = "queue", params $params, request_body = Progress,
                        responses(
                            (status = 200, body = HeardView),
                            (status = 400, body = Problem),
                            (status = 404, body = Problem),
                            (status = 409, body = Problem)
                        )
                    )]
            pub(in crate::api) async fn progress(
                Inside(api): Inside,
                Path(at): Path<At>,
                Json(progress): Json<Progress>,
            ) -> Reply<HeardView> {
                let at = at.read()?;
                let report = report(&at, progress);
                Ok(axum::Json(view(api.hosted.report(at, report).await?)))
            }

            #[doc = concat!("A ", $noun, " is done")]
            ///
            /// Counts and end are one transaction. Saying the same again changes nothing and
            /// answers the same.
            #[utoipa::path(
                        post, path = concat!($base, "/complete"), operation_id = $complete,
                        tag = "queue", params $params, request_body = Complete,
                        responses(
                            (status = 200, body = StandingView),
                            (status = 400, body = Problem),
                            (status = 404, body = Problem),
                            (status = 409, body = Problem)
                        )
                    )]
            pub(in crate::api) async fn complete(
                Inside(api): Inside,
                asker: Asker,
                Path(at): Path<At>,
                JsonOrDefault(done): JsonOrDefault<Complete>,
            ) -> Reply<StandingView> {
                let at = at.read()?;
                let done = Completion {
                    outcome: done.outcome,
                    counts: done.counts.into_iter().collect(),
                    failures: failures(&at, done.failures),
                };
                let standing = api.hosted.complete(at, done, &asker).await?;
                Ok(axum::Json(StandingView::from(&standing)))
            }

            #[doc = concat!("A ", $noun, " failed")]
            ///
            /// Its type says whether another attempt follows, and after which pause.
            #[utoipa::path(
                        post, path = concat!($base, "/fail"), operation_id = $fail,
                        tag = "queue", params $params, request_body = Fail,
                        responses(
                            (status = 200, body = StandingView),
                            (status = 400, body = Problem),
                            (status = 404, body = Problem),
                            (status = 409, body = Problem)
                        )
                    )]
            pub(in crate::api) async fn fail(
                Inside(api): Inside,
                asker: Asker,
                Path(at): Path<At>,
                Json(fail): Json<Fail>,
            ) -> Reply<StandingView> {
                let at = at.read()?;
                let Fail { reason_code, message, subject, retryable, counts } = fail;
                let failed = Failed {
                    failure: failure(&at, WorkFailure { reason_code, message, subject }),
                    retryable,
                    counts: counts.into_iter().collect(),
                };
                let standing = api.hosted.fail(at, failed, &asker).await?;
                Ok(axum::Json(StandingView::from(&standing)))
            }
        }
    };
}

calls!(
    of_run,
    "/v1/queue/runs/{id}/attempts/{attempt}",
    "run",
    (
        ("id" = String, Path, description = "The run's id"),
        ("attempt" = u32, Path, description = "The attempt's number, from the claim")
    ),
    "run_heartbeat",
    "run_progress",
    "complete_run",
    "fail_run"
);

calls!(
    of_job,
    "/v1/queue/runs/{id}/jobs/{key}/attempts/{attempt}",
    "job",
    (
        ("id" = String, Path, description = "The bulk run's id"),
        ("key" = String, Path, description = "The job's key"),
        ("attempt" = u32, Path, description = "The attempt's number, from the claim")
    ),
    "job_heartbeat",
    "job_progress",
    "complete_job",
    "fail_job"
);

/// A worker makes jobs of its run
///
/// The run becomes a bulk run, and the attempt is over: workers claim the jobs, and the run ends
/// with the last of them. Saying the same again changes nothing and answers the same; other jobs
/// are refused.
#[utoipa::path(
    post, path = "/v1/queue/runs/{id}/attempts/{attempt}/jobs", operation_id = "fan_out_run",
    tag = "queue",
    params(
        ("id" = String, Path, description = "The run's id"),
        ("attempt" = u32, Path, description = "The attempt's number, from the claim")
    ),
    request_body = FanOut,
    responses(
        (status = 200, body = StandingView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn fan_out(
    Inside(api): Inside,
    asker: Asker,
    Path(at): Path<At>,
    Json(request): Json<FanOut>,
) -> Reply<StandingView> {
    let at = at.read()?;
    let jobs = request.jobs.into_iter().map(new_part).collect::<Result<_, _>>()?;
    let parts = Parts { jobs, counts: request.counts.into_iter().collect() };
    let standing = api.hosted.fan_out(at, parts, &asker).await?;
    Ok(axum::Json(StandingView::from(&standing)))
}

fn view(heard: Heard) -> HeardView {
    let Heard { lease_until, cancel_requested } = heard;
    HeardView { lease_until, cancel_requested }
}

fn failure(at: &AttemptRef, failure: WorkFailure) -> Failure {
    let subject = failure.subject.unwrap_or_else(|| match &at.job {
        Some(key) => format!("job:{key}"),
        None => "run".to_owned(),
    });
    Failure::new(failure.reason_code, subject, failure.message)
}

fn failures(at: &AttemptRef, told: Vec<WorkFailure>) -> Vec<Failure> {
    told.into_iter().map(|it| failure(at, it)).collect()
}

fn report(at: &AttemptRef, progress: Progress) -> Report {
    Report {
        counts: progress.counts.into_iter().collect(),
        failures: failures(at, progress.failures),
        log: progress.log,
        steps: progress.steps.into_iter().map(step).collect(),
    }
}

fn step(step: StepProgress) -> StepReport {
    StepReport {
        index: step.index,
        undo: step.undo(),
        key: step.key,
        description: step.description,
        cause: step.cause,
        status: step.status,
        detail: step.detail,
    }
}
