//! The agent's doors: HTTP over a Unix socket, and over TLS. Owns routes, wire JSON, OpenAPI and who is let in.
//! Face: `router`, `openapi`, `Api`, `listen::bind`. Never decides anything about a project, and
//! never answers an error with anything but a problem document.

pub mod access;
mod alerts;
mod attempts;
mod audit;
mod backup;
mod claims;
mod contexts;
mod description;
mod exec;
mod extract;
mod follow;
mod glass;
mod health;
mod hosted_runs;
mod hosted_types;
mod images;
mod instances;
mod jobs;
pub mod listen;
mod logs;
mod members;
pub mod metrics;
mod platform;
mod policies;
pub mod problem;
mod projects;
mod queue;
mod refusals;
mod registries;
mod routes;
mod runbooks;
mod runs;
mod schedules;
pub mod tls;
pub mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;
use utoipa::openapi;
use utoipa_axum::routes;

use crate::base::limits::{BUNDLE_BYTES_MAX, ENQUEUE_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::base::{Ambient, Timestamp};
use crate::domain::access::{Capability, Need};
use crate::operations::access::Access;
use crate::operations::alerts::Alerts;
use crate::operations::backups::Backups;
use crate::operations::exec::Exec;
use crate::operations::hosted::Hosted;
use crate::operations::policies::PolicyKeeper;
use crate::operations::projects::Projects;
use crate::operations::registries::Registries;
use crate::operations::runbooks::Runbooks;
use crate::operations::schedules::Schedules;
use crate::operations::{Door, Within};
use crate::store::Store;
use crate::world::contexts::Contexts;
use crate::world::docker::SharedEngine;

pub use contexts::collect_contexts;
pub use routes::Route;

use access::{Entry, Gate, Peer};
use listen::Listener;
use metrics::Metrics;
use problem::{Problem, ProblemCode};
use routes::Builder;

/// What the routes work with. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The agent's memory.
    pub store: Arc<dyn Store>,
    /// Where runs are asked for.
    pub door: Door,
    /// Where files are applied, and projects removed, restarted and paused.
    pub projects: Projects,
    /// Where commands in containers are executed.
    pub exec: Exec,
    /// Where schedules are kept.
    pub schedules: Schedules,
    /// What projects are held to.
    pub policies: PolicyKeeper,
    /// Where the rules and receivers of alerts are kept.
    pub alerts: Alerts,
    /// Where the agent is logged in to registries of images.
    pub registries: Registries,
    /// Where runbooks are looked at and started.
    pub runbooks: Runbooks,
    /// Where backups of the store are taken.
    pub backups: Backups,
    /// The run queue for users' programs, and for operators.
    pub hosted: Hosted,
    /// The Docker Engine.
    pub engine: SharedEngine,
    /// Time and randomness.
    pub ambient: Ambient,
    /// The agent's own series.
    pub metrics: Arc<Metrics>,
    /// The build contexts that clients sent.
    pub contexts: Arc<Contexts>,
    /// Who may do what.
    pub access: Access,
    /// Which users of the machine may come in without a record.
    pub gate: Gate,
    /// Where the agent acts for who asks.
    pub within: Within,
    /// What does not change while the agent lives.
    pub about: Arc<About>,
    /// Cancelled when the agent stops: streams end then.
    pub stop: CancellationToken,
}

impl Api {
    /// The same for somebody who acts within other borders.
    fn within(&self, within: Within) -> Self {
        Self {
            projects: self.projects.within(within.clone()),
            exec: self.exec.within(within.clone()),
            schedules: self.schedules.within(within.clone()),
            alerts: self.alerts.within(within.clone()),
            registries: self.registries.within(within.clone()),
            runbooks: self.runbooks.within(within.clone()),
            hosted: self.hosted.within(within.clone()),
            access: self.access.within(within.clone()),
            within,
            ..self.clone()
        }
    }
}

/// What does not change while the agent lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// When the process started.
    pub started_at: Timestamp,
    /// Folder of the database, the keys and the build contexts.
    pub state_dir: PathBuf,
    /// Where the engine listens.
    pub engine_address: String,
}

/// Serves the API until the agent stops and the last answer is given.
pub async fn serve(listener: Listener, routes: Routes, api: Api) {
    let stop = api.stop.clone();
    let service = routes.with(api).into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "API ended");
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "wharfinger",
        description = "The API of a wharfinger agent, over its Unix socket and, where that is \
                       configured, over TLS. Every error is a problem document (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "projects", description = "Compose projects that the agent keeps"),
        (name = "runs", description = "Everything long-running"),
        (name = "queue", description = "The run queue: types of programs, their work, controls"),
        (name = "schedules", description = "What is asked for again and again"),
        (name = "runbooks", description = "What an operator starts after a look at it"),
        (name = "alerts", description = "Who hears of what happens"),
        (name = "registries", description = "Where images come from, and as whom they are pulled"),
        (name = "policies", description = "What projects and hosts are held to"),
        (name = "audit", description = "What happened, append-only"),
        (name = "access", description = "Who may do what"),
        (name = "platform", description = "What lies above workspaces"),
        (name = "agent", description = "How the agent is")
    ),
    components(schemas(problem::Problem))
)]
struct Description;

/// All routes with what they need. Whoever adds one says for whom it is.
fn documented_routes() -> Builder {
    use Capability::{
        AccessManage, AccessView, AgentView, AlertsManage, AlertsView, AuditExport, AuditView,
        FindingsView, PlatformAudit, PlatformBreakGlass, PlatformRunbooks, PlatformStore,
        PlatformUsers, PlatformWorkspaces, ProjectsDeploy, ProjectsExec, ProjectsLogs,
        ProjectsRemove, ProjectsRestart, ProjectsView, QueueControl, RegistriesManage,
        RegistriesView, RunbooksApprove, RunbooksRun, RunbooksView, RunsControl, RunsEnqueue,
        RunsHost, RunsView, SchedulesManage, SchedulesView,
    };
    use Need::{Known, Member, Open, Platform, Whole};
    const SMALL: usize = REQUEST_BYTES_MAX;
    Builder::new(Description::openapi())
        .add(Member(ProjectsView), SMALL, routes!(projects::list))
        .add(Member(ProjectsView), SMALL, routes!(projects::show))
        .add(Member(ProjectsView), SMALL, routes!(instances::list))
        .add(Member(ProjectsDeploy), BUNDLE_BYTES_MAX, routes!(projects::plan))
        .add(Member(ProjectsDeploy), BUNDLE_BYTES_MAX, routes!(projects::up))
        .add(Member(ProjectsRemove), SMALL, routes!(projects::down))
        .add(Member(ProjectsRestart), SMALL, routes!(projects::restart))
        .add(Member(ProjectsDeploy), BUNDLE_BYTES_MAX, routes!(projects::pull))
        .add(Member(ProjectsDeploy), BUNDLE_BYTES_MAX, routes!(projects::build))
        .add(Member(ProjectsView), SMALL, routes!(images::list))
        .add(Member(ProjectsDeploy), SMALL, routes!(images::check))
        .add(Member(ProjectsDeploy), SMALL, routes!(projects::pause))
        .add(Member(ProjectsDeploy), SMALL, routes!(projects::resume))
        .add(Member(ProjectsLogs), SMALL, routes!(logs::stream))
        .add(Member(ProjectsExec), SMALL, routes!(exec::start))
        .add(Member(ProjectsDeploy), SMALL, routes!(contexts::wanted))
        .add(Member(ProjectsDeploy), BUNDLE_BYTES_MAX, routes!(contexts::put))
        .add(Member(RunsView), SMALL, routes!(runs::list))
        .add(Member(RunsView), SMALL, routes!(runs::show))
        .add(Member(RunsView), SMALL, routes!(runs::follow))
        .add(Member(RunsControl), SMALL, routes!(runs::cancel))
        .add(Member(RunsView), SMALL, routes!(jobs::list))
        .add(Member(RunsControl), SMALL, routes!(jobs::retry))
        .add(Member(RunsControl), SMALL, routes!(jobs::dismiss))
        .add(Whole(RunsView), SMALL, routes!(queue::show))
        .add(Whole(RunsView), SMALL, routes!(queue::controls))
        .add(Whole(QueueControl), SMALL, routes!(queue::put_control))
        .add(Member(RunsEnqueue), ENQUEUE_BYTES_MAX, routes!(hosted_runs::enqueue))
        .add(Member(RunsEnqueue), ENQUEUE_BYTES_MAX, routes!(hosted_runs::enqueue_batch))
        .add(Member(RunsView), SMALL, routes!(hosted_types::list))
        .add(Member(RunsView), SMALL, routes!(hosted_types::show))
        .add(Whole(RunsHost), SMALL, routes!(hosted_types::put))
        .add(Whole(RunsHost), SMALL, routes!(hosted_types::delete))
        .add(Whole(RunsHost), SMALL, routes!(claims::claim))
        .add(Member(RunsHost), SMALL, routes!(attempts::of_run::heartbeat))
        .add(Member(RunsHost), SMALL, routes!(attempts::of_run::progress))
        .add(Member(RunsHost), SMALL, routes!(attempts::of_run::complete))
        .add(Member(RunsHost), SMALL, routes!(attempts::of_run::fail))
        .add(Member(RunsHost), SMALL, routes!(attempts::of_job::heartbeat))
        .add(Member(RunsHost), SMALL, routes!(attempts::of_job::progress))
        .add(Member(RunsHost), SMALL, routes!(attempts::of_job::complete))
        .add(Member(RunsHost), SMALL, routes!(attempts::of_job::fail))
        .add(Member(RunsHost), ENQUEUE_BYTES_MAX, routes!(attempts::fan_out))
        .add(Member(SchedulesView), SMALL, routes!(schedules::list))
        .add(Member(SchedulesView), SMALL, routes!(schedules::show))
        .add(Member(SchedulesManage), SMALL, routes!(schedules::put))
        .add(Member(SchedulesManage), SMALL, routes!(schedules::remove))
        .add(Member(SchedulesView), SMALL, routes!(schedules::firings))
        .add(Member(SchedulesManage), SMALL, routes!(schedules::run))
        .add(Member(SchedulesManage), SMALL, routes!(schedules::pause))
        .add(Member(SchedulesManage), SMALL, routes!(schedules::resume))
        .add(Member(RunbooksView), SMALL, routes!(runbooks::list))
        .add(Member(RunbooksView), SMALL, routes!(runbooks::show))
        .add(Member(RunbooksRun), SMALL, routes!(runbooks::preflight))
        .add(Member(RunbooksRun), SMALL, routes!(runbooks::start))
        .add(Member(RunbooksApprove), SMALL, routes!(runbooks::decide))
        .add(Whole(AlertsView), SMALL, routes!(alerts::rules))
        .add(Whole(AlertsManage), SMALL, routes!(alerts::put_rule))
        .add(Whole(AlertsManage), SMALL, routes!(alerts::remove_rule))
        .add(Whole(AlertsView), SMALL, routes!(alerts::receivers))
        .add(Whole(AlertsManage), SMALL, routes!(alerts::put_receiver))
        .add(Whole(AlertsManage), SMALL, routes!(alerts::remove_receiver))
        .add(Whole(AlertsManage), SMALL, routes!(alerts::test))
        .add(Whole(AlertsView), SMALL, routes!(alerts::deliveries))
        .add(Whole(AlertsView), SMALL, routes!(alerts::delivery))
        .add(Whole(AlertsManage), SMALL, routes!(alerts::retry))
        .add(Whole(RegistriesView), SMALL, routes!(registries::list))
        .add(Whole(RegistriesManage), SMALL, routes!(registries::put))
        .add(Whole(RegistriesManage), SMALL, routes!(registries::remove))
        .add(Whole(FindingsView), SMALL, routes!(policies::list))
        .add(Whole(FindingsView), SMALL, routes!(policies::show))
        .add(Member(AuditView), SMALL, routes!(audit::list))
        .add(Member(AuditView), SMALL, routes!(audit::filters))
        .add(Member(AuditView), SMALL, routes!(audit::show))
        .add(Member(AuditExport), SMALL, routes!(audit::cloud_events))
        .add(Whole(AuditExport), SMALL, routes!(audit::export))
        .add(Member(AuditView), SMALL, routes!(audit::key))
        .add(Platform(PlatformAudit), SMALL, routes!(audit::purge))
        .add(Platform(PlatformAudit), SMALL, routes!(audit::erase))
        .add(Known, SMALL, routes!(members::whoami))
        .add(Whole(AccessView), SMALL, routes!(members::members))
        .add(Whole(AccessManage), SMALL, routes!(members::put_member))
        .add(Whole(AccessManage), SMALL, routes!(members::remove_member))
        .add(Platform(PlatformUsers), SMALL, routes!(members::users))
        .add(Platform(PlatformUsers), SMALL, routes!(members::put_user))
        .add(Whole(AccessView), SMALL, routes!(members::roles))
        .add(Whole(AccessManage), SMALL, routes!(members::put_role))
        .add(Whole(AccessManage), SMALL, routes!(members::remove_role))
        .add(Member(RunsView), SMALL, routes!(members::tenants))
        .add(Whole(AccessManage), SMALL, routes!(members::put_tenant))
        .add(Whole(AccessView), SMALL, routes!(members::tokens))
        .add(Whole(AccessManage), SMALL, routes!(members::create_token))
        .add(Whole(AccessManage), SMALL, routes!(members::revoke_token))
        .add(Platform(PlatformUsers), SMALL, routes!(glass::certificates))
        .add(Platform(PlatformUsers), SMALL, routes!(glass::add_certificate))
        .add(Platform(PlatformUsers), SMALL, routes!(glass::remove_certificate))
        .add(Platform(PlatformBreakGlass), SMALL, routes!(glass::elevations))
        .add(Platform(PlatformBreakGlass), SMALL, routes!(glass::break_glass))
        .add(Platform(PlatformBreakGlass), SMALL, routes!(glass::mend_glass))
        .add(Platform(PlatformWorkspaces), SMALL, routes!(platform::workspaces))
        .add(Platform(PlatformWorkspaces), SMALL, routes!(platform::workspace))
        .add(Platform(PlatformWorkspaces), SMALL, routes!(platform::put_workspace))
        .add(Platform(PlatformAudit), SMALL, routes!(platform::events))
        .add(Platform(PlatformAudit), SMALL, routes!(platform::filters))
        .add(Platform(PlatformAudit), SMALL, routes!(platform::event))
        .add(Platform(PlatformRunbooks), SMALL, routes!(platform::preflight))
        .add(Platform(PlatformRunbooks), SMALL, routes!(platform::start))
        .add(Platform(PlatformStore), SMALL, routes!(backup::take))
        .add(Open, SMALL, routes!(health::healthz))
        .add(Open, SMALL, routes!(health::readyz))
        .add(Member(AgentView), SMALL, routes!(health::agent))
        .add(Whole(AgentView), SMALL, routes!(health::metrics))
        .add(Known, SMALL, routes!(health::openapi))
}

/// The description of the API that is served and kept in the tree.
pub fn openapi() -> openapi::OpenApi {
    let (_, mut description, _) = documented_routes().finish();
    description::complete(&mut description);
    description
}

/// All routes, with nobody to answer yet. Putting them together takes some milliseconds and needs
/// nothing of the agent, so that it can be done while the database is opened.
#[derive(Debug)]
pub struct Routes {
    router: Router<Api>,
    list: Vec<Route>,
}

impl Routes {
    /// Puts them together.
    pub fn new() -> Self {
        let (router, _, list) = documented_routes().finish();
        let router = router.fallback(no_route).method_not_allowed_fallback(no_method);
        Self { router, list }
    }

    /// All of them, each with what it needs.
    pub fn list(&self) -> &[Route] {
        &self.list
    }

    /// Lets the agent answer, behind the check of who asks.
    fn with(self, api: Api) -> Router {
        self.router
            .layer(Extension(Entry(api.clone())))
            .layer(middleware::from_fn_with_state(Arc::clone(&api.metrics), observe))
            .with_state(api)
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

/// All routes of an agent.
pub fn router(api: Api) -> Router {
    Routes::new().with(api)
}

async fn no_route(mut request: Request) -> Problem {
    // Strangers are not told which routes there are.
    if let Err(problem) = access::enter(Need::Known, &mut request).await {
        return problem;
    }
    let path = request.uri().path().to_owned();
    extract::discard(request.into_body().into_data_stream()).await;
    Problem::new(ProblemCode::NotFound, format!("there is no route {path}"))
        .hint("the routes are described at /v1/openapi.json")
}

async fn no_method(mut request: Request) -> Problem {
    if let Err(problem) = access::enter(Need::Known, &mut request).await {
        return problem;
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    extract::discard(request.into_body().into_data_stream()).await;
    Problem::new(ProblemCode::MethodNotAllowed, format!("{path} does not know {method}"))
        .hint("the routes are described at /v1/openapi.json")
}

/// Counts a request, and writes into a problem document which path it is about.
async fn observe(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    metrics.api_request(known_method(&method), response.status().as_u16());
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else { return response };
    if problem.status >= 500 {
        tracing::warn!(%method, path, code = %problem.code, detail = problem.detail, "request failed");
    }
    problem.instance = Some(path);
    let allowed = response.headers().get(axum::http::header::ALLOW).cloned();
    let mut response = problem.into_response();
    if let Some(allowed) = allowed {
        response.headers_mut().insert(axum::http::header::ALLOW, allowed);
    }
    response
}

/// A client may invent methods; a label may not.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[cfg(test)]
mod openapi_tests {
    /// The description in the tree is what is served.
    #[test]
    fn the_description_in_the_tree_is_fresh() {
        let text = super::openapi().to_pretty_json().unwrap();
        crate::fresh_file("docs/openapi.json", &format!("{text}\n"));
    }
}
