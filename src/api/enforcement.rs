//! The routes of enforcement. Owns `/v1/enforcement…`. Face: the handlers. Never decides: the domain
//! does.

use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{Json, JsonOrDefault, Query, Reply};
use super::problem::{Problem, ProblemCode};
use super::projects::{Accepted, accepted};
use super::wire::{
    EnforcementPlanView, EnforcementView, MaintenanceBegin, MaintenanceEnd, MaintenanceView, Page,
    QuarantineAsk, ReleaseAsk, RunAccepted, SwitchPut, SwitchView, TreatedView, place_of,
};
use crate::operations::enforcement::EnforcementError;
use crate::operations::projects::Asker;

/// For how long policies leave a released container alone, when nothing is said.
const RELEASE_GRACE: Duration = Duration::from_secs(3600);

impl From<EnforcementError> for Problem {
    fn from(error: EnforcementError) -> Self {
        let text = error.to_string();
        match error {
            EnforcementError::NoContainer(_) => Self::new(ProblemCode::NotFound, text)
                .hint("name it by its name or id, as `docker ps -a` shows it"),
            EnforcementError::NotTreated(_) => Self::new(ProblemCode::NotFound, text)
                .hint("`wharf quarantine ls` lists those that something is done to"),
            EnforcementError::NoMaintenance(_) => Self::new(ProblemCode::NotFound, text)
                .hint("`wharf maintenance ls` lists what is worked on"),
            EnforcementError::Untouchable { .. } => Self::new(ProblemCode::Conflict, text),
            EnforcementError::TooMany => Self::new(ProblemCode::Conflict, text)
                .hint("end maintenance that is over with `wharf maintenance end`"),
            EnforcementError::Invalid(_) => Self::new(ProblemCode::BadRequest, text),
            EnforcementError::Engine(source) => Self::from(source),
            EnforcementError::Submit(source) => Self::from(source),
            EnforcementError::Store(source) => Self::from(source),
        }
    }
}

/// Which container is asked about.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanQuery {
    /// Its name or id.
    container: String,
}

/// How it stands with enforcement
#[utoipa::path(
    get, path = "/v1/enforcement", operation_id = "show_enforcement", tag = "enforcement",
    responses((status = 200, body = EnforcementView))
)]
pub(super) async fn show(Inside(api): Inside) -> Reply<EnforcementView> {
    let standing = api.enforcement.standing().await?;
    Ok(axum::Json(EnforcementView::from(&standing)))
}

/// Switches enforcement off or on
#[utoipa::path(
    put, path = "/v1/enforcement/switch", operation_id = "switch_enforcement",
    tag = "enforcement", request_body = SwitchPut,
    responses((status = 200, body = SwitchView), (status = 400, body = Problem))
)]
pub(super) async fn switch(
    Inside(api): Inside,
    asker: Asker,
    Json(put): Json<SwitchPut>,
) -> Reply<SwitchView> {
    let switch = api.enforcement.switch(put.is_off, put.reason, &asker).await?;
    Ok(axum::Json(SwitchView::from(&switch)))
}

/// What would be done about a container now; nothing is changed
#[utoipa::path(
    get, path = "/v1/enforcement/plan", operation_id = "plan_enforcement", tag = "enforcement",
    params(PlanQuery),
    responses(
        (status = 200, body = EnforcementPlanView),
        (status = 404, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn plan(
    Inside(api): Inside,
    Query(query): Query<PlanQuery>,
) -> Reply<EnforcementPlanView> {
    let (container, look, steps) = api.enforcement.plan(&query.container).await?;
    Ok(axum::Json(EnforcementPlanView::of(&container, &look, &steps)))
}

/// Containers that were dealt with, by id
#[utoipa::path(
    get, path = "/v1/enforcement/containers", operation_id = "list_enforced_containers",
    tag = "enforcement", responses((status = 200, body = Page<TreatedView>))
)]
pub(super) async fn containers(Inside(api): Inside) -> Reply<Page<TreatedView>> {
    let standing = api.enforcement.standing().await?;
    let items = standing.enforced.treated.values().map(TreatedView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Shuts a container off: it loses its networks, or is frozen where it has none of its own
#[utoipa::path(
    post, path = "/v1/enforcement/quarantine", operation_id = "quarantine_container",
    tag = "enforcement", request_body = QuarantineAsk,
    responses(
        (status = 202, body = RunAccepted),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn quarantine(
    Inside(api): Inside,
    asker: Asker,
    Json(ask): Json<QuarantineAsk>,
) -> Result<Accepted, Problem> {
    let admitted = api.enforcement.quarantine(&ask.container, ask.reason, &asker).await?;
    Ok(accepted(&admitted))
}

/// Takes back what was done about a container
#[utoipa::path(
    post, path = "/v1/enforcement/release", operation_id = "release_container",
    tag = "enforcement", request_body = ReleaseAsk,
    responses(
        (status = 202, body = RunAccepted),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn release(
    Inside(api): Inside,
    asker: Asker,
    Json(ask): Json<ReleaseAsk>,
) -> Result<Accepted, Problem> {
    let grace = ask.grace_seconds.map_or(RELEASE_GRACE, Duration::from_secs);
    let admitted = api.enforcement.release(&ask.container, ask.reason, grace, &asker).await?;
    Ok(accepted(&admitted))
}

/// What is being worked on
#[utoipa::path(
    get, path = "/v1/enforcement/maintenance", operation_id = "list_maintenance",
    tag = "enforcement", responses((status = 200, body = Page<MaintenanceView>))
)]
pub(super) async fn maintenance(Inside(api): Inside) -> Reply<Page<MaintenanceView>> {
    let standing = api.enforcement.standing().await?;
    let items = standing.enforced.maintenance.iter().map(MaintenanceView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Begins maintenance of a project or the host, or gives it another end: nothing is enforced there
#[utoipa::path(
    post, path = "/v1/enforcement/maintenance", operation_id = "begin_maintenance",
    tag = "enforcement", request_body = MaintenanceBegin,
    responses(
        (status = 200, body = MaintenanceView),
        (status = 400, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn begin_maintenance(
    Inside(api): Inside,
    asker: Asker,
    Json(begin): Json<MaintenanceBegin>,
) -> Reply<MaintenanceView> {
    let lasts = Duration::from_secs(begin.seconds);
    let place = place_of(begin.project);
    let begun = api.enforcement.begin_maintenance(place, lasts, begin.reason, &asker).await?;
    Ok(axum::Json(MaintenanceView::from(&begun)))
}

/// Ends maintenance of a project or the host
#[utoipa::path(
    post, path = "/v1/enforcement/maintenance/end", operation_id = "end_maintenance",
    tag = "enforcement", request_body = MaintenanceEnd,
    responses((status = 204), (status = 404, body = Problem))
)]
pub(super) async fn end_maintenance(
    Inside(api): Inside,
    asker: Asker,
    JsonOrDefault(end): JsonOrDefault<MaintenanceEnd>,
) -> Result<StatusCode, Problem> {
    api.enforcement.end_maintenance(place_of(end.project), &asker).await?;
    Ok(StatusCode::NO_CONTENT)
}
