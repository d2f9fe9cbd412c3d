//! The routes of runbooks. Owns `/v1/runbooks…` and `/v1/runs/{id}/decision`. Face: the handlers.
//! Never starts one that nobody looked at: a start carries the digest of a preflight. A file is
//! started by whoever may do all that its steps do.

use axum::extract::Extension;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::{Inside, absent, forbidden};
use super::extract::{Json, Path, Reply, parse};
use super::problem::{Problem, ProblemCode};
use super::wire::{
    PreflightView, RunAccepted, RunDecision, RunView, RunbookAsk, RunbookList, RunbookStart,
    RunbookView,
};
use crate::base::Digest;
use crate::base::ids::TenantId;
use crate::domain::access::{CapabilitySet, Grant, Reason};
use crate::domain::redaction::SafeText;
use crate::domain::runbooks::{Arguments, RunbookKey, Scope};
use crate::operations::Word;
use crate::operations::projects::Asker;
use crate::operations::runbooks::{Catalog, RunbookError, Runbooks, Wish};

impl From<RunbookError> for Problem {
    fn from(error: RunbookError) -> Self {
        let text = error.to_string();
        match error {
            RunbookError::Ask(_) => Self::new(ProblemCode::BadRequest, text)
                .hint("`wharf runbook show KEY` tells what it takes"),
            RunbookError::Look(_) => Self::new(ProblemCode::Conflict, text),
            RunbookError::Unknown(_) => {
                Self::new(ProblemCode::NotFound, text).hint("`wharf runbook ls` lists them")
            }
            RunbookError::UnknownTenant(_) => Self::new(ProblemCode::NotFound, text),
            RunbookError::OutOfReach => absent(),
            RunbookError::Digest(source) => Self::from(source),
            RunbookError::Submit(source) => Self::from(source),
            RunbookError::Store(source) => Self::from(source),
        }
    }
}

/// Which runbook a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RunbookPath {
    /// The runbook's key
    pub(super) key: String,
}

fn find(key: &str) -> Result<RunbookKey, Problem> {
    let unknown = |_| {
        Problem::new(ProblemCode::NotFound, format!("there is no runbook {key:?}"))
            .hint("`wharf runbook ls` lists them")
    };
    key.parse().map_err(unknown)
}

fn wish(
    runbooks: &Runbooks,
    (key, grant): (&str, &Grant),
    scope: Scope,
    tenant_id: Option<&str>,
    arguments: Arguments,
) -> Result<Wish, Problem> {
    let tenant_id: Option<TenantId> = tenant_id.map(|text| parse("tenant_id", text)).transpose()?;
    let key = find(key)?;
    let found = runbooks.find(key)?;
    let needs = match found.file() {
        Some(file) => file.needs(),
        None => CapabilitySet::of(&[found.entry().capability]),
    };
    if let Some(missing) = needs.iter().find(|needed| !grant.capabilities.has(*needed)) {
        return Err(forbidden(missing));
    }
    Ok(Wish { key, scope, tenant_id, arguments })
}

/// The catalog of runbooks
#[utoipa::path(
    get, path = "/v1/runbooks", operation_id = "list_runbooks", tag = "runbooks",
    responses((status = 200, body = RunbookList))
)]
pub(super) async fn list(Inside(api): Inside) -> Reply<RunbookList> {
    let Catalog { runbooks, problems } = api.runbooks.catalog();
    let items = runbooks.iter().map(RunbookView::from).collect();
    Ok(axum::Json(RunbookList { items, next: None, problems }))
}

/// One runbook
#[utoipa::path(
    get, path = "/v1/runbooks/{key}", operation_id = "show_runbook", tag = "runbooks",
    params(RunbookPath),
    responses((status = 200, body = RunbookView), (status = 404, body = Problem))
)]
pub(super) async fn show(
    Inside(api): Inside,
    Path(RunbookPath { key }): Path<RunbookPath>,
) -> Reply<RunbookView> {
    Ok(axum::Json(RunbookView::from(&api.runbooks.find(find(&key)?)?)))
}

/// Looks at what a runbook would do, and changes nothing of it
///
/// That somebody looked is in the audit log.
#[utoipa::path(
    post, path = "/v1/runbooks/{key}/preflight", operation_id = "preflight_runbook",
    tag = "runbooks",
    params(RunbookPath),
    request_body = RunbookAsk,
    responses(
        (status = 200, body = PreflightView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn preflight(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(RunbookPath { key }): Path<RunbookPath>,
    Json(ask): Json<RunbookAsk>,
) -> Reply<PreflightView> {
    let wish =
        wish(&api.runbooks, (&key, &grant), ask.scope, ask.tenant_id.as_deref(), ask.parameters)?;
    Ok(axum::Json(PreflightView::from(api.runbooks.preflight(&wish, &asker).await?)))
}

/// Starts a runbook as it was looked at
///
/// The run looks again before it changes anything; when it would do something else than what was
/// looked at, it ends as `blocked` with the reason `preflight.stale`.
#[utoipa::path(
    post, path = "/v1/runbooks/{key}/start", operation_id = "start_runbook", tag = "runbooks",
    params(RunbookPath),
    request_body = RunbookStart,
    responses(
        (status = 202, body = RunAccepted),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn start(
    Inside(api): Inside,
    asker: Asker,
    Extension(grant): Extension<Grant>,
    Path(RunbookPath { key }): Path<RunbookPath>,
    Json(start): Json<RunbookStart>,
) -> Result<(StatusCode, axum::Json<RunAccepted>), Problem> {
    let wish = wish(
        &api.runbooks,
        (&key, &grant),
        start.scope,
        start.tenant_id.as_deref(),
        start.parameters,
    )?;
    let wrong = || {
        Problem::new(
            ProblemCode::BadRequest,
            "preflight_digest is no digest: 64 digits are expected",
        )
        .hint("`wharf runbook preflight KEY` tells it")
    };
    let digest = Digest::from_hex(&start.preflight_digest).ok_or_else(wrong)?;
    let reason = start.reason.map(|reason| Reason {
        reason_code: reason.reason_code,
        reason_text: SafeText::new(reason.reason_text),
    });
    let admitted = api.runbooks.start(&wish, digest, reason, &asker).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(RunAccepted::from(&admitted))))
}

/// Approves or refuses what a run waits for
///
/// For a run that waits for an approval, or asks after a crash whether to go on. Who started a run
/// cannot approve it, unless the runbook says so.
#[utoipa::path(
    post, path = "/v1/runs/{id}/decision", operation_id = "decide_run", tag = "runbooks",
    params(("id" = String, Path, description = "The run's id")),
    request_body = RunDecision,
    responses(
        (status = 200, body = RunView),
        (status = 400, body = Problem),
        (status = 403, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn decide(
    Inside(api): Inside,
    asker: Asker,
    Path(id): Path<String>,
    Json(said): Json<RunDecision>,
) -> Reply<RunView> {
    let id = super::runs::find(&api, parse("id", &id)?).await?.id;
    let word = Word { approved: said.approve, reason: said.reason.map(SafeText::new) };
    let run = api.door.decide(api.within.workspace(), id, &word, &asker).await?;
    Ok(axum::Json(RunView::from(&run)))
}
