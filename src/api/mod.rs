//! The agent's doors: HTTP over a Unix socket. Owns routes, wire JSON, OpenAPI and who is let in.
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
mod extract;
mod follow;
mod health;
mod hosted_runs;
mod hosted_types;
mod jobs;
pub mod listen;
mod logs;
pub mod metrics;
pub mod problem;
mod projects;
mod queue;
mod refusals;
mod runbooks;
mod runs;
mod schedules;
pub mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;
use utoipa::openapi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits::{BUNDLE_BYTES_MAX, ENQUEUE_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::base::{Ambient, Timestamp};
use crate::operations::Door;
use crate::operations::alerts::Alerts;
use crate::operations::backups::Backups;
use crate::operations::hosted::Hosted;
use crate::operations::projects::Projects;
use crate::operations::runbooks::Runbooks;
use crate::operations::schedules::Schedules;
use crate::store::Store;
use crate::world::contexts::Contexts;
use crate::world::docker::SharedEngine;

pub use contexts::collect_contexts;

use access::{Gate, Peer};
use listen::Listener;
use metrics::Metrics;
use problem::{Problem, ProblemCode};

/// What the routes work with. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The agent's memory.
    pub store: Arc<dyn Store>,
    /// Where runs are asked for.
    pub door: Door,
    /// Where files are applied, and projects removed, restarted and paused.
    pub projects: Projects,
    /// Where schedules are kept.
    pub schedules: Schedules,
    /// Where the rules and receivers of alerts are kept.
    pub alerts: Alerts,
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
    /// Who may come in.
    pub gate: Gate,
    /// What does not change while the agent lives.
    pub about: Arc<About>,
    /// Cancelled when the agent stops: streams end then.
    pub stop: CancellationToken,
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
        description = "The local API of a wharfinger agent, over its Unix socket. Every error is a \
                       problem document (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "projects", description = "Compose projects that the agent keeps"),
        (name = "runs", description = "Everything long-running"),
        (name = "queue", description = "The run queue: types of programs, their work, controls"),
        (name = "schedules", description = "What is asked for again and again"),
        (name = "runbooks", description = "What an operator starts after a look at it"),
        (name = "alerts", description = "Who hears of what happens"),
        (name = "audit", description = "What happened, append-only"),
        (name = "agent", description = "How the agent is")
    ),
    components(schemas(problem::Problem))
)]
struct Description;

fn documented_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(projects::list))
        .routes(routes!(projects::show))
        .routes(routes!(projects::down))
        .routes(routes!(projects::restart))
        .routes(routes!(projects::pause))
        .routes(routes!(projects::resume))
        .routes(routes!(logs::stream))
        .routes(routes!(contexts::wanted))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(runs::follow))
        .routes(routes!(runs::cancel))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::dismiss))
        .routes(routes!(queue::show))
        .routes(routes!(queue::controls, queue::put_control))
        .routes(routes!(hosted_types::list))
        .routes(routes!(hosted_types::show, hosted_types::put, hosted_types::delete))
        .routes(routes!(claims::claim))
        .routes(routes!(attempts::of_run::heartbeat))
        .routes(routes!(attempts::of_run::progress))
        .routes(routes!(attempts::of_run::complete))
        .routes(routes!(attempts::of_run::fail))
        .routes(routes!(attempts::of_job::heartbeat))
        .routes(routes!(attempts::of_job::progress))
        .routes(routes!(attempts::of_job::complete))
        .routes(routes!(attempts::of_job::fail))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::show, schedules::put, schedules::remove))
        .routes(routes!(schedules::firings))
        .routes(routes!(schedules::run))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(runbooks::list))
        .routes(routes!(runbooks::show))
        .routes(routes!(runbooks::preflight))
        .routes(routes!(runbooks::start))
        .routes(routes!(alerts::rules))
        .routes(routes!(alerts::put_rule, alerts::remove_rule))
        .routes(routes!(alerts::receivers))
        .routes(routes!(alerts::put_receiver, alerts::remove_receiver))
        .routes(routes!(alerts::test))
        .routes(routes!(alerts::deliveries))
        .routes(routes!(alerts::delivery))
        .routes(routes!(alerts::retry))
        .routes(routes!(audit::list))
        .routes(routes!(audit::show))
        .routes(routes!(audit::export))
        .routes(routes!(audit::key))
        .routes(routes!(audit::purge))
        .routes(routes!(audit::erase))
        .routes(routes!(backup::take))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::agent))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .merge(large_routes())
        .merge(enqueue_routes())
}

/// Routes that take a project's files.
fn large_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(projects::plan))
        .routes(routes!(projects::up))
        .routes(routes!(contexts::put))
        .layer(DefaultBodyLimit::max(BUNDLE_BYTES_MAX))
}

/// Routes that take bulk runs with their jobs.
fn enqueue_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(hosted_runs::enqueue))
        .routes(routes!(hosted_runs::enqueue_batch))
        .routes(routes!(attempts::fan_out))
        .layer(DefaultBodyLimit::max(ENQUEUE_BYTES_MAX))
}

/// The description of the API that is served and kept in the tree.
pub fn openapi() -> openapi::OpenApi {
    let mut description = documented_routes().into_openapi();
    description::complete(&mut description);
    description
}

/// All routes, with nobody to answer yet. Putting them together takes some milliseconds and needs
/// nothing of the agent, so that it can be done while the database is opened.
#[derive(Debug)]
pub struct Routes(Router<Api>);

impl Routes {
    /// Puts them together.
    pub fn new() -> Self {
        let (router, _) = documented_routes().split_for_parts();
        Self(router.fallback(no_route).method_not_allowed_fallback(no_method))
    }

    /// Lets the agent answer, behind the check of who comes in.
    fn with(self, api: Api) -> Router {
        self.0
            .layer(middleware::from_fn_with_state(api.gate, access::admit))
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

async fn no_route(request: Request) -> Problem {
    let path = request.uri().path().to_owned();
    extract::discard(request.into_body().into_data_stream()).await;
    Problem::new(ProblemCode::NotFound, format!("there is no route {path}"))
        .hint("the routes are described at /v1/openapi.json")
}

async fn no_method(request: Request) -> Problem {
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
