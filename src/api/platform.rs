//! The routes above workspaces. Owns `/v1/platform/…`. Face: the handlers. Never lets a platform user see more
//! of a workspace than what a runbook answers.

use axum::extract::Extension;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::{Inside, within};
use super::audit::{self, AuditQuery, EventPath};
use super::extract::{Json, Path, Query, Reply};
use super::members::NamePath;
use super::problem::{Problem, ProblemCode};
use super::runbooks::{self, RunbookPath};
use super::wire::{
    AuditDetail, AuditFilters, AuditRow, Page, PreflightView, RunAccepted, RunbookAsk,
    RunbookStart, WorkspacePut, WorkspaceView,
};
use crate::domain::access::{BuiltInRole, Directory, Grant, Workspace};
use crate::operations::access::WorkspaceSpec;
use crate::operations::projects::Asker;

/// Which runbook, and in which workspace.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RunbookThere {
    /// The workspace's name or id
    name: String,
    /// The runbook's key
    key: String,
}

fn find<'a>(known: &'a Directory, name: &str) -> Result<&'a Workspace, Problem> {
    known.workspace(name).ok_or_else(|| {
        Problem::new(ProblemCode::NotFound, format!("there is no workspace {name}"))
            .hint("`wharf access workspaces` lists them")
    })
}

/// All workspaces, oldest first
#[utoipa::path(
    get, path = "/v1/platform/workspaces", operation_id = "list_workspaces", tag = "platform",
    responses((status = 200, body = Page<WorkspaceView>))
)]
pub(super) async fn workspaces(Inside(api): Inside) -> Reply<Page<WorkspaceView>> {
    let known = api.access.directory().await?;
    let items = known.workspaces.iter().map(|it| WorkspaceView::of(it, &known)).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// One workspace
#[utoipa::path(
    get, path = "/v1/platform/workspaces/{name}", operation_id = "show_workspace",
    tag = "platform", params(NamePath),
    responses((status = 200, body = WorkspaceView), (status = 404, body = Problem))
)]
pub(super) async fn workspace(
    Inside(api): Inside,
    Path(NamePath { name }): Path<NamePath>,
) -> Reply<WorkspaceView> {
    let known = api.access.directory().await?;
    Ok(axum::Json(WorkspaceView::of(find(&known, &name)?, &known)))
}

/// Makes a workspace, renames it, or gives it its first owner
///
/// A new one begins with the tenant `default`.
#[utoipa::path(
    put, path = "/v1/platform/workspaces/{name}", operation_id = "put_workspace",
    tag = "platform", params(NamePath), request_body = WorkspacePut,
    responses(
        (status = 200, body = WorkspaceView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn put_workspace(
    Inside(api): Inside,
    asker: Asker,
    Path(NamePath { name }): Path<NamePath>,
    Json(put): Json<WorkspacePut>,
) -> Reply<WorkspaceView> {
    let spec = WorkspaceSpec { name: put.name, owner: put.owner };
    let workspace = api.access.put_workspace(&name, spec, &asker).await?;
    let known = api.access.directory().await?;
    Ok(axum::Json(WorkspaceView::of(&workspace, &known)))
}

/// What happened above workspaces, newest first
#[utoipa::path(
    get, path = "/v1/platform/audit", operation_id = "list_platform_events", tag = "platform",
    params(AuditQuery),
    responses((status = 200, body = Page<AuditRow>), (status = 400, body = Problem))
)]
pub(super) async fn events(
    inside: Inside,
    grant: Extension<Grant>,
    query: Query<AuditQuery>,
) -> Reply<Page<AuditRow>> {
    audit::list(inside, grant, query).await
}

/// What the newest events above workspaces can be filtered by
#[utoipa::path(
    get, path = "/v1/platform/audit/filters", operation_id = "list_platform_filters",
    tag = "platform",
    responses((status = 200, body = AuditFilters))
)]
pub(super) async fn filters(inside: Inside) -> Reply<AuditFilters> {
    audit::filters(inside).await
}

/// One event above workspaces, with all that is known about it
#[utoipa::path(
    get, path = "/v1/platform/audit/{id}", operation_id = "show_platform_event",
    tag = "platform", params(EventPath),
    responses((status = 200, body = AuditDetail), (status = 404, body = Problem))
)]
pub(super) async fn event(
    inside: Inside,
    grant: Extension<Grant>,
    path: Path<EventPath>,
) -> Reply<AuditDetail> {
    audit::show(inside, grant, path).await
}

/// The agent in a workspace, as far as runbooks need it.
async fn there(
    Inside(api): Inside,
    above: &Grant,
    name: &str,
) -> Result<(Inside, Extension<Grant>), Problem> {
    let known = api.access.directory().await?;
    // What a runbook needs of its workspace, its owner holds.
    let capabilities = BuiltInRole::Owner.capabilities();
    let grant = Grant { workspace_id: find(&known, name)?.id, capabilities, ..above.clone() };
    let borders = within(&api.store.scope(), &known, &grant, None);
    Ok((Inside(api.within(borders)), Extension(grant)))
}

/// Looks at what a runbook would do in a workspace, and changes nothing of it
///
/// That somebody looked is in the audit log of the workspace.
#[utoipa::path(
    post, path = "/v1/platform/workspaces/{name}/runbooks/{key}/preflight",
    operation_id = "preflight_runbook_there", tag = "platform", params(RunbookThere),
    request_body = RunbookAsk,
    responses(
        (status = 200, body = PreflightView),
        (status = 400, body = Problem),
        (status = 404, body = Problem)
    )
)]
pub(super) async fn preflight(
    inside: Inside,
    asker: Asker,
    Extension(above): Extension<Grant>,
    Path(RunbookThere { name, key }): Path<RunbookThere>,
    ask: Json<RunbookAsk>,
) -> Reply<PreflightView> {
    let (inside, grant) = there(inside, &above, &name).await?;
    runbooks::preflight(inside, asker, grant, Path(RunbookPath { key }), ask).await
}

/// Starts a runbook in a workspace as it was looked at; a reason is always needed
#[utoipa::path(
    post, path = "/v1/platform/workspaces/{name}/runbooks/{key}/start",
    operation_id = "start_runbook_there", tag = "platform", params(RunbookThere),
    request_body = RunbookStart,
    responses(
        (status = 202, body = RunAccepted),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem)
    )
)]
pub(super) async fn start(
    inside: Inside,
    asker: Asker,
    Extension(above): Extension<Grant>,
    Path(RunbookThere { name, key }): Path<RunbookThere>,
    start: Json<RunbookStart>,
) -> Result<(StatusCode, axum::Json<RunAccepted>), Problem> {
    let (inside, grant) = there(inside, &above, &name).await?;
    runbooks::start(inside, asker, grant, Path(RunbookPath { key }), start).await
}
