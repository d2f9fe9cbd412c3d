//! The routes of scans. Owns `/v1/images/scan…`, `/v1/images/vulnerabilities`, `/v1/images/sbom` and
//! `/v1/images/advisories…`. Face: the handlers. Never reads an image while a client waits: a run does.

use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{JsonOrDefault, Query, Reply};
use super::problem::{Problem, ProblemCode};
use super::projects::{Accepted, accepted};
use super::wire::{
    AdvisoriesView, ImageScanRequest, ImageScanView, ImageVulnerabilities, Page, RunAccepted,
};
use crate::domain::sbom::{Described, cyclonedx};
use crate::operations::projects::Asker;
use crate::operations::scans::{ScanQueryError, Scans};

impl From<ScanQueryError> for Problem {
    fn from(error: ScanQueryError) -> Self {
        let text = error.to_string();
        match error {
            ScanQueryError::UnknownProject(_) => Self::new(ProblemCode::NotFound, text)
                .hint("`wharf ps` lists the projects within reach"),
            ScanQueryError::NotScanned(_) => Self::new(ProblemCode::NotFound, text)
                .hint("`wharf images scan IMAGE` scans one; `wharf images vulnerabilities` lists those that were"),
            ScanQueryError::OutOfReach(_) => Self::new(ProblemCode::NotFound, text),
            ScanQueryError::TooMany => Self::new(ProblemCode::BadRequest, text),
            ScanQueryError::Damaged { .. } => Self::new(ProblemCode::Internal, text),
            ScanQueryError::Advisories(_) => Self::new(ProblemCode::Conflict, text)
                .hint("name a file, a folder or an `https://` address at `images.advisories`"),
            ScanQueryError::Submit(source) => Self::from(source),
            ScanQueryError::Engine(source) => Self::from(source),
            ScanQueryError::Store(source) => Self::from(source),
        }
    }
}

/// Which image.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct OneImage {
    /// Its name, its id, or at least twelve digits of its id
    image: String,
}

/// Reads the packages of images and matches them with advisories
#[utoipa::path(
    post, path = "/v1/images/scan", operation_id = "scan_images", tag = "projects",
    request_body = ImageScanRequest,
    responses(
        (status = 202, body = RunAccepted),
        (status = 404, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn scan(
    Inside(api): Inside,
    asker: Asker,
    JsonOrDefault(scan): JsonOrDefault<ImageScanRequest>,
) -> Result<Accepted, Problem> {
    let admitted = api.scans.scan(scan.project.as_deref(), scan.images, &asker).await?;
    Ok(accepted(&admitted))
}

/// The images that were scanned, and how many vulnerabilities each has
#[utoipa::path(
    get, path = "/v1/images/scans", operation_id = "list_image_scans", tag = "projects",
    responses((status = 200, body = Page<ImageScanView>), (status = 502, body = Problem))
)]
pub(super) async fn list(Inside(api): Inside) -> Reply<Page<ImageScanView>> {
    let items = api.scans.list().await?.iter().map(ImageScanView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// The vulnerabilities of an image, the worst first
#[utoipa::path(
    get, path = "/v1/images/vulnerabilities", operation_id = "list_image_vulnerabilities",
    tag = "projects", params(OneImage),
    responses(
        (status = 200, body = ImageVulnerabilities),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn vulnerabilities(
    Inside(api): Inside,
    Query(OneImage { image }): Query<OneImage>,
) -> Reply<ImageVulnerabilities> {
    let scan = api.scans.find(&image).await?;
    let found = Scans::vulnerabilities(&scan)?;
    Ok(axum::Json(ImageVulnerabilities {
        scan: ImageScanView::of(&scan),
        vulnerabilities: found.into_iter().map(Into::into).collect(),
    }))
}

/// The packages of an image, as a CycloneDX document
#[utoipa::path(
    get, path = "/v1/images/sbom", operation_id = "read_image_sbom", tag = "projects",
    params(OneImage),
    responses(
        (status = 200, body = Object),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn sbom(
    Inside(api): Inside,
    Query(OneImage { image }): Query<OneImage>,
) -> Reply<serde_json::Value> {
    let scan = api.scans.find(&image).await?;
    let inventory = Scans::inventory(&scan)?;
    let described = Described {
        name: scan.summary.names.first().unwrap_or(&scan.image_id),
        image_id: &scan.image_id,
        digests: &scan.summary.digests,
        at: scan.scanned_at,
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(axum::Json(cyclonedx(&inventory, &described)))
}

/// The advisories that images are matched with
#[utoipa::path(
    get, path = "/v1/images/advisories", operation_id = "show_advisories", tag = "projects",
    responses((status = 200, body = AdvisoriesView), (status = 409, body = Problem))
)]
pub(super) async fn advisories(Inside(api): Inside) -> Reply<AdvisoriesView> {
    Ok(axum::Json(AdvisoriesView::from(api.scans.advisories()?)))
}

/// Looks for newer advisories at their source
#[utoipa::path(
    post, path = "/v1/images/advisories/update", operation_id = "update_advisories",
    tag = "projects",
    responses((status = 202, body = RunAccepted), (status = 409, body = Problem))
)]
pub(super) async fn update(Inside(api): Inside, asker: Asker) -> Result<Accepted, Problem> {
    let admitted = api.scans.update(&asker).await?;
    Ok(accepted(&admitted))
}
