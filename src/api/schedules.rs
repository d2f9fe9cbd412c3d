//! The routes of schedules. Owns `/v1/schedules…`. Face: the handlers. Never fires one: the watcher
//! does, and `run` asks the door.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::access::Inside;
use super::extract::{Json, Path, Query, Reply, parse};
use super::problem::{Problem, ProblemCode};
use super::wire::{FiringView, Page, RunAccepted, SchedulePut, ScheduleView};
use crate::base::Name;
use crate::base::limits::SCHEDULE_FIRINGS_MAX;
use crate::domain::schedules::{Schedule, next};
use crate::operations::projects::Asker;
use crate::operations::schedules::{ScheduleError, ScheduleSpec};

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let text = error.to_string();
        match error {
            ScheduleError::Unknown(_) => {
                Self::new(ProblemCode::NotFound, text).hint("`wharf schedule ls` lists them")
            }
            ScheduleError::UnknownProject(_) => Self::new(ProblemCode::NotFound, text)
                .hint("`wharf ps` lists projects; `wharf up` makes the agent keep one"),
            ScheduleError::NothingApplied(_) => {
                Self::new(ProblemCode::NotFound, text).hint("apply its files first: `wharf up`")
            }
            ScheduleError::UnknownType(_) => {
                Self::new(ProblemCode::NotFound, text).hint("register it first")
            }
            ScheduleError::Payload(_) | ScheduleError::TooLong { .. } | ScheduleError::TooMany => {
                Self::new(ProblemCode::BadRequest, text)
            }
            ScheduleError::Submit(source) => Self::from(source),
            ScheduleError::Store(source) => Self::from(source),
        }
    }
}

/// Which schedule a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct SchedulePath {
    /// The schedule's name
    name: String,
}

fn view(api: &Api, schedule: &Schedule) -> ScheduleView {
    let firing = match schedule.is_paused {
        true => None,
        false => next(schedule, api.ambient.now(), 1).pop(),
    };
    ScheduleView::of(schedule, firing)
}

/// Schedules, by name
#[utoipa::path(
    get, path = "/v1/schedules", operation_id = "list_schedules", tag = "schedules",
    responses((status = 200, body = Page<ScheduleView>))
)]
pub(super) async fn list(Inside(api): Inside) -> Reply<Page<ScheduleView>> {
    let schedules = api.schedules.list().await?;
    let items = schedules.iter().map(|schedule| view(&api, schedule)).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// One schedule
#[utoipa::path(
    get, path = "/v1/schedules/{name}", operation_id = "show_schedule", tag = "schedules",
    params(SchedulePath),
    responses((status = 200, body = ScheduleView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Inside(api): Inside,
    Path(SchedulePath { name }): Path<SchedulePath>,
) -> Reply<ScheduleView> {
    Ok(axum::Json(view(&api, &api.schedules.find(&name).await?)))
}

/// Makes a schedule, or changes what it does
///
/// It fires from now on: what an older form of it would have done meanwhile is over.
#[utoipa::path(
    put, path = "/v1/schedules/{name}", operation_id = "put_schedule", tag = "schedules",
    params(SchedulePath),
    request_body = SchedulePut,
    responses(
        (status = 200, body = ScheduleView),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn put(
    Inside(api): Inside,
    asker: Asker,
    Path(SchedulePath { name }): Path<SchedulePath>,
    Json(put): Json<SchedulePut>,
) -> Reply<ScheduleView> {
    let name: Name = parse("name", &name)?;
    let spec = ScheduleSpec::try_from(put)
        .map_err(|error| Problem::new(ProblemCode::BadRequest, error.to_string()))?;
    let schedule = api.schedules.put(name, spec, &asker).await?;
    Ok(axum::Json(view(&api, &schedule)))
}

/// Removes a schedule; a run that it asked for goes on
#[utoipa::path(
    delete, path = "/v1/schedules/{name}", operation_id = "remove_schedule", tag = "schedules",
    params(SchedulePath),
    responses((status = 204), (status = 404, body = Problem))
)]
pub(super) async fn remove(
    Inside(api): Inside,
    asker: Asker,
    Path(SchedulePath { name }): Path<SchedulePath>,
) -> Result<StatusCode, Problem> {
    api.schedules.remove(&name, &asker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks for a schedule's run now, beside its firings
#[utoipa::path(
    post, path = "/v1/schedules/{name}/run", operation_id = "run_schedule", tag = "schedules",
    params(SchedulePath),
    responses((status = 202, body = RunAccepted), (status = 404, body = Problem))
)]
pub(super) async fn run(
    Inside(api): Inside,
    asker: Asker,
    Path(SchedulePath { name }): Path<SchedulePath>,
) -> Result<(StatusCode, axum::Json<RunAccepted>), Problem> {
    let admitted = api.schedules.run_now(&name, &asker).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(RunAccepted::from(&admitted))))
}

/// Holds a schedule back until it is resumed
#[utoipa::path(
    post, path = "/v1/schedules/{name}/pause", operation_id = "pause_schedule", tag = "schedules",
    params(SchedulePath),
    responses((status = 200, body = ScheduleView), (status = 404, body = Problem))
)]
pub(super) async fn pause(
    Inside(api): Inside,
    asker: Asker,
    Path(SchedulePath { name }): Path<SchedulePath>,
) -> Reply<ScheduleView> {
    let schedule = api.schedules.set_paused(&name, true, &asker).await?;
    Ok(axum::Json(view(&api, &schedule)))
}

/// Lets a paused schedule go on; what it left out is not made up for
#[utoipa::path(
    post, path = "/v1/schedules/{name}/resume", operation_id = "resume_schedule", tag = "schedules",
    params(SchedulePath),
    responses((status = 200, body = ScheduleView), (status = 404, body = Problem))
)]
pub(super) async fn resume(
    Inside(api): Inside,
    asker: Asker,
    Path(SchedulePath { name }): Path<SchedulePath>,
) -> Reply<ScheduleView> {
    let schedule = api.schedules.set_paused(&name, false, &asker).await?;
    Ok(axum::Json(view(&api, &schedule)))
}

/// How many firings are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FiringQuery {
    /// Up to 100; 10 when absent.
    count: Option<usize>,
}

const FIRINGS_DEFAULT: usize = 10;

/// The next firings of a schedule, as if it were not paused
#[utoipa::path(
    get, path = "/v1/schedules/{name}/next", operation_id = "next_firings", tag = "schedules",
    params(SchedulePath, FiringQuery),
    responses((status = 200, body = Page<FiringView>), (status = 404, body = Problem))
)]
pub(super) async fn firings(
    Inside(api): Inside,
    Path(SchedulePath { name }): Path<SchedulePath>,
    Query(query): Query<FiringQuery>,
) -> Reply<Page<FiringView>> {
    let schedule = api.schedules.find(&name).await?;
    let count = query.count.unwrap_or(FIRINGS_DEFAULT).min(SCHEDULE_FIRINGS_MAX);
    let firings = next(&schedule, api.ambient.now(), count);
    let items = firings.into_iter().map(|firing| FiringView::of(&schedule, firing)).collect();
    Ok(axum::Json(Page { items, next: None }))
}
