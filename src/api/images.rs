//! The routes of images. Owns `/v1/images…`. Face: the handlers. Never asks a registry while a client
//! waits: a run does.

use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{JsonOrDefault, Query, Reply};
use super::problem::Problem;
use super::projects::{Accepted, accepted};
use super::wire::{ImageCheck, ImageView, Page, RunAccepted};
use crate::operations::projects::Asker;

/// Which images are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ImageQuery {
    /// Of this project; of all within reach when absent.
    project: Option<String>,
    /// Only in this state: `current`, `pulled_not_deployed`, `outdated`, `pinned`, `local`, `unknown`.
    state: Option<String>,
}

/// The images that instances run, and how they stand; no registry is asked
#[utoipa::path(
    get, path = "/v1/images", operation_id = "list_images", tag = "projects", params(ImageQuery),
    responses(
        (status = 200, body = Page<ImageView>),
        (status = 404, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn list(
    Inside(api): Inside,
    Query(query): Query<ImageQuery>,
) -> Reply<Page<ImageView>> {
    let rows = api.projects.images(query.project.as_deref()).await?;
    let is_wanted =
        |image: &ImageView| query.state.as_ref().is_none_or(|state| *state == image.state);
    let items = rows.into_iter().map(ImageView::from).filter(is_wanted).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Asks registries what the names of images lead to now
#[utoipa::path(
    post, path = "/v1/images/check", operation_id = "check_images", tag = "projects",
    request_body = ImageCheck,
    responses((status = 202, body = RunAccepted), (status = 404, body = Problem))
)]
pub(super) async fn check(
    Inside(api): Inside,
    asker: Asker,
    JsonOrDefault(check): JsonOrDefault<ImageCheck>,
) -> Result<Accepted, Problem> {
    let admitted = api.projects.check_images(check.project.as_deref(), &asker).await?;
    Ok(accepted(&admitted))
}
