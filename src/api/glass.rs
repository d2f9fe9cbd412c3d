//! The routes of client certificates and of broken glass. Owns `/v1/access/certificates…` and
//! `/v1/access/break-glass…`. Face: the handlers. Never lets the glass be broken without a reason.

use std::time::Duration;

use axum::extract::Extension;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{Json, Path, Reply, parse};
use super::problem::{Problem, ProblemCode};
use super::wire::{CertificateNew, CertificateView, ElevationView, GlassBreak, GlassMend, Page};
use crate::base::Digest;
use crate::base::ids::CertificateId;
use crate::domain::access::{Grant, Reason};
use crate::domain::redaction::SafeText;
use crate::operations::projects::Asker;

/// How long the glass stays broken when nobody says otherwise.
const GLASS_LIFE_DEFAULT: Duration = Duration::from_secs(3600);

/// Which certificate a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CertificatePath {
    /// The certificate's id
    id: String,
}

/// The client certificates that stand for users, oldest first
#[utoipa::path(
    get, path = "/v1/access/certificates", operation_id = "list_certificates", tag = "access",
    responses((status = 200, body = Page<CertificateView>))
)]
pub(super) async fn certificates(Inside(api): Inside) -> Reply<Page<CertificateView>> {
    let known = api.access.directory().await?;
    let items = known.certificates.iter().map(|it| CertificateView::of(it, &known)).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Lets a client certificate stand for a user
#[utoipa::path(
    post, path = "/v1/access/certificates", operation_id = "add_certificate", tag = "access",
    request_body = CertificateNew,
    responses(
        (status = 201, body = CertificateView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn add_certificate(
    Inside(api): Inside,
    asker: Asker,
    Json(CertificateNew { user, fingerprint }): Json<CertificateNew>,
) -> Result<(StatusCode, axum::Json<CertificateView>), Problem> {
    let digits = fingerprint.replace(':', "").to_ascii_lowercase();
    let wrong = || {
        let detail = "fingerprint is no SHA-256 of a certificate: 64 digits are expected";
        Problem::new(ProblemCode::BadRequest, detail)
            .hint("`openssl x509 -in FILE -noout -fingerprint -sha256` tells it")
    };
    let fingerprint = Digest::from_hex(&digits).ok_or_else(wrong)?;
    let certificate = api.access.add_certificate(&user, fingerprint, &asker).await?;
    let known = api.access.directory().await?;
    Ok((StatusCode::CREATED, axum::Json(CertificateView::of(&certificate, &known))))
}

/// Lets a client certificate stand for nobody any more, from now on
#[utoipa::path(
    delete, path = "/v1/access/certificates/{id}", operation_id = "remove_certificate",
    tag = "access", params(CertificatePath),
    responses((status = 204), (status = 404, body = Problem))
)]
pub(super) async fn remove_certificate(
    Inside(api): Inside,
    asker: Asker,
    Path(CertificatePath { id }): Path<CertificatePath>,
) -> Result<StatusCode, Problem> {
    let id: CertificateId = parse("id", &id)?;
    api.access.drop_certificate(id, &asker).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The times that the glass was broken, oldest first
#[utoipa::path(
    get, path = "/v1/access/break-glass", operation_id = "list_broken_glass", tag = "access",
    responses((status = 200, body = Page<ElevationView>))
)]
pub(super) async fn elevations(Inside(api): Inside) -> Reply<Page<ElevationView>> {
    let known = api.access.directory().await?;
    let now = api.ambient.now();
    let items = known.elevations.iter().map(|it| ElevationView::of(it, &known, now)).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// Breaks the glass: whoever asks holds everything, in every workspace, until the time is over
///
/// It is in the audit log, and those whom the alert rules name hear of it.
#[utoipa::path(
    post, path = "/v1/access/break-glass", operation_id = "break_glass", tag = "access",
    request_body = GlassBreak,
    responses((status = 201, body = ElevationView), (status = 400, body = Problem))
)]
pub(super) async fn break_glass(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Json(GlassBreak { reason, life_seconds }): Json<GlassBreak>,
) -> Result<(StatusCode, axum::Json<ElevationView>), Problem> {
    let reason =
        Reason { reason_code: reason.reason_code, reason_text: SafeText::new(reason.reason_text) };
    let life = life_seconds.map_or(GLASS_LIFE_DEFAULT, Duration::from_secs);
    let elevation = api.access.break_glass((reason, life), (&asker, &grant)).await?;
    api.alerts.changed().notify_one();
    let known = api.access.directory().await?;
    let view = ElevationView::of(&elevation, &known, api.ambient.now());
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Ends what a platform user holds by broken glass
#[utoipa::path(
    post, path = "/v1/access/break-glass/end", operation_id = "mend_glass", tag = "access",
    request_body = GlassMend,
    responses(
        (status = 204), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn mend_glass(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Json(GlassMend { user }): Json<GlassMend>,
) -> Result<StatusCode, Problem> {
    api.access.mend_glass(user.as_deref(), (&asker, &grant)).await?;
    Ok(StatusCode::NO_CONTENT)
}
