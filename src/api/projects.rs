//! The routes of projects. Owns `/v1/projects…`. Face: the handlers. Never opens a path that a
//! request names: files come in the request.

use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::access::Inside;
use super::extract::{Json, JsonOrDefault, Path, Reply};
use super::problem::Problem;
use super::wire::{
    Apply, ApplyOptions, Build, DownOptions, Page, PlanView, ProjectDetail, ProjectView, Pull,
    RestartOptions, RunAccepted, SourceView,
};
use crate::domain::runs::{DeployChoices, SourceTree};
use crate::facts::{ContainerFacts, labels};
use crate::operations::Admitted;
use crate::operations::projects::Asker;
use crate::world::docker::ContainerFilter;

impl From<ApplyOptions> for DeployChoices {
    fn from(options: ApplyOptions) -> Self {
        // What is no commit is not kept: nothing but its form tells what a client sent.
        let source = options.source.and_then(|it| SourceView::new(&it.commit, it.is_clean));
        Self {
            source: source.map(|it| SourceTree { commit: it.commit, is_clean: it.is_clean }),
            services: options.services,
            force_recreate: options.force_recreate,
            recreate_volumes: options.recreate_volumes,
            keep_orphans: options.keep_orphans,
            rebuild: options.rebuild,
            adopt: options.adopt,
            wait_timeout_seconds: options.wait_timeout_seconds,
        }
    }
}

/// Which project a route is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ProjectPath {
    /// The project's name
    pub(super) name: String,
}

pub(super) type Accepted = (StatusCode, axum::Json<RunAccepted>);

pub(super) fn accepted(admitted: &Admitted) -> Accepted {
    (StatusCode::ACCEPTED, axum::Json(RunAccepted::from(admitted)))
}

/// Projects that the agent keeps, by name
#[utoipa::path(
    get, path = "/v1/projects", operation_id = "list_projects", tag = "projects",
    responses((status = 200, body = Page<ProjectView>))
)]
pub(super) async fn list(Inside(api): Inside) -> Reply<Page<ProjectView>> {
    let projects = api.projects.list().await?;
    let items = projects.iter().map(ProjectView::from).collect();
    Ok(axum::Json(Page { items, next: None }))
}

/// A project and what runs of it
///
/// A project that only containers with Compose's labels tell of is shown too.
#[utoipa::path(
    get, path = "/v1/projects/{name}", operation_id = "show_project", tag = "projects",
    params(ProjectPath),
    responses(
        (status = 200, body = ProjectDetail),
        (status = 404, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn show(
    Inside(api): Inside,
    Path(ProjectPath { name }): Path<ProjectPath>,
) -> Reply<ProjectDetail> {
    let known = api.projects.find(&name).await?;
    let containers = containers_of(&api, &name).await?;
    let project = match known {
        Some(project) => ProjectView::from(&project),
        None if containers.is_empty() => return Err(Problem::not_found("project", &name)),
        None => ProjectView::unknown(&name),
    };
    let mut detail = ProjectDetail::of(project, &containers, &api.projects.agent_id());
    let held = api.enforcement.held_back().await?;
    for container in &mut detail.containers {
        container.held_back = held.get(&container.id).cloned();
    }
    Ok(axum::Json(detail))
}

/// All containers that carry the project's name, by service and number.
pub(super) async fn containers_of(api: &Api, name: &str) -> Result<Vec<ContainerFacts>, Problem> {
    let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, name);
    let mut containers = api.engine.containers(&filter).await?;
    containers.sort_by(|left, right| left.instance.cmp(&right.instance));
    Ok(containers)
}

/// What applying files would do; nothing is changed
#[utoipa::path(
    post, path = "/v1/projects/{name}/plan", operation_id = "plan_project", tag = "projects", request_body = Apply,
    params(ProjectPath),
    responses(
        (status = 200, body = PlanView),
        (status = 409, body = Problem),
        (status = 422, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn plan(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
    Json(apply): Json<Apply>,
) -> Reply<PlanView> {
    let choices = apply.options.into();
    let preview = api.projects.preview(&name, &apply.bundle, choices, &asker).await?;
    Ok(axum::Json(PlanView::try_from(&preview.plan)?))
}

/// Applies files: the project is kept as they declare from now on
#[utoipa::path(
    post, path = "/v1/projects/{name}/up", operation_id = "apply_project", tag = "projects", request_body = Apply,
    params(ProjectPath),
    responses(
        (status = 202, body = RunAccepted),
        (status = 409, body = Problem),
        (status = 422, body = Problem)
    )
)]
pub(super) async fn up(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
    Json(apply): Json<Apply>,
) -> Result<Accepted, Problem> {
    let choices = apply.options.into();
    let admitted = api.projects.apply(&name, &apply.bundle, choices, &asker).await?;
    Ok(accepted(&admitted))
}

/// Removes a project's containers and networks
#[utoipa::path(
    post, path = "/v1/projects/{name}/down", operation_id = "remove_project", tag = "projects", request_body = DownOptions,
    params(ProjectPath),
    responses((status = 202, body = RunAccepted))
)]
pub(super) async fn down(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
    JsonOrDefault(options): JsonOrDefault<DownOptions>,
) -> Result<Accepted, Problem> {
    let admitted = api.projects.remove(&name, options.volumes, &asker).await?;
    Ok(accepted(&admitted))
}

/// Restarts a project's containers
#[utoipa::path(
    post, path = "/v1/projects/{name}/restart", operation_id = "restart_project", tag = "projects", request_body = RestartOptions,
    params(ProjectPath),
    responses((status = 202, body = RunAccepted), (status = 404, body = Problem))
)]
pub(super) async fn restart(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
    JsonOrDefault(options): JsonOrDefault<RestartOptions>,
) -> Result<Accepted, Problem> {
    let admitted = api.projects.restart(&name, options.services, &asker).await?;
    Ok(accepted(&admitted))
}

/// Fetches the images of a project's services; no container is changed
///
/// The services of the files that are sent, else of the project as the agent keeps it.
#[utoipa::path(
    post, path = "/v1/projects/{name}/pull", operation_id = "pull_project_images", tag = "projects", request_body = Pull,
    params(ProjectPath),
    responses(
        (status = 202, body = RunAccepted),
        (status = 404, body = Problem),
        (status = 422, body = Problem)
    )
)]
pub(super) async fn pull(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
    JsonOrDefault(pull): JsonOrDefault<Pull>,
) -> Result<Accepted, Problem> {
    let (bundle, choices) = pull.into_parts();
    let admitted = api.projects.pull(&name, bundle.as_ref(), choices, &asker).await?;
    Ok(accepted(&admitted))
}

/// Builds the images of a project's services; nothing is started
///
/// The services of the files that are sent, else of the project as the agent keeps it.
#[utoipa::path(
    post, path = "/v1/projects/{name}/build", operation_id = "build_project_images", tag = "projects", request_body = Build,
    params(ProjectPath),
    responses(
        (status = 202, body = RunAccepted),
        (status = 404, body = Problem),
        (status = 409, body = Problem),
        (status = 422, body = Problem)
    )
)]
pub(super) async fn build(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
    JsonOrDefault(build): JsonOrDefault<Build>,
) -> Result<Accepted, Problem> {
    let (bundle, choices) = build.into_parts();
    let admitted = api.projects.build(&name, bundle.as_ref(), choices, &asker).await?;
    Ok(accepted(&admitted))
}

/// Leaves a project alone until it is resumed
#[utoipa::path(
    post, path = "/v1/projects/{name}/pause", operation_id = "pause_project", tag = "projects",
    params(ProjectPath),
    responses((status = 200, body = ProjectView), (status = 404, body = Problem))
)]
pub(super) async fn pause(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
) -> Reply<ProjectView> {
    let project = api.projects.pause(&name, &asker).await?;
    Ok(axum::Json(ProjectView::from(&project)))
}

/// Keeps a paused project as declared again
#[utoipa::path(
    post, path = "/v1/projects/{name}/resume", operation_id = "resume_project", tag = "projects",
    params(ProjectPath),
    responses((status = 200, body = ProjectView), (status = 404, body = Problem))
)]
pub(super) async fn resume(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
) -> Reply<ProjectView> {
    let project = api.projects.resume(&name, &asker).await?;
    Ok(axum::Json(ProjectView::from(&project)))
}
