//! The routes that tell how the agent is. Owns `/healthz`, `/readyz`, `/metrics` and the API's own
//! description. Face: the handlers. Never waits longer than `HEALTH_TIMEOUT` for an answer.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::access::Inside;
use super::instances::usages;
use super::problem::{Problem, ProblemCode};
use super::wire::AgentView;
use crate::base::limits::HEALTH_TIMEOUT;
use crate::base::time::between;
use crate::base::{Timestamp, chain};
use crate::domain::findings::Tally;
use crate::domain::runs::Status;
use crate::facts::{ContainerFacts, labels};
use crate::world::docker::{ContainerFilter, Reading};
use crate::world::host;

/// Whether the agent can work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether everything that it needs answers.
    pub ready: bool,
    /// The agent's version.
    pub version: String,
    /// `ok`, or what is wrong with the database.
    pub store: String,
    /// `ok`, or what is wrong with the engine.
    pub engine: String,
}

/// The process lives
#[utoipa::path(get, path = "/healthz", operation_id = "tell_alive", tag = "agent", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The agent can work: its database and its engine answer
#[utoipa::path(
    get, path = "/readyz", operation_id = "tell_ready", tag = "agent",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness))
)]
pub(super) async fn readyz(State(api): State<Api>) -> (StatusCode, axum::Json<Readiness>) {
    let found = readiness(&api).await;
    let status = if found.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(found))
}

async fn readiness(api: &Api) -> Readiness {
    const LATE: &str = "does not answer in time";
    let store = tokio::time::timeout(HEALTH_TIMEOUT, api.store.check());
    let engine = tokio::time::timeout(HEALTH_TIMEOUT, api.engine.ping());
    let (store, engine) = tokio::join!(store, engine);
    let store = match store {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(chain(&error)),
        Err(_) => Some(LATE.to_owned()),
    };
    let engine = match engine {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(LATE.to_owned()),
    };
    Readiness {
        ready: store.is_none() && engine.is_none(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: store.unwrap_or_else(|| "ok".to_owned()),
        engine: engine.unwrap_or_else(|| "ok".to_owned()),
    }
}

/// The agent itself
#[utoipa::path(get, path = "/v1/agent", operation_id = "show_agent", tag = "agent", responses((status = 200, body = AgentView)))]
pub(super) async fn agent(Inside(api): Inside) -> axum::Json<AgentView> {
    let found = readiness(&api).await;
    let space = host::disk_space(&api.about.state_dir);
    axum::Json(AgentView {
        id: api.projects.agent_id(),
        version: found.version,
        started_at: api.about.started_at,
        now: api.ambient.now(),
        state_dir: api.about.state_dir.display().to_string(),
        state_dir_available_bytes: space.ok().map(|space| space.available_bytes),
        engine_address: api.about.engine_address.clone(),
        engine: found.engine,
        store: found.store,
    })
}

/// The agent's series in Prometheus's text format
#[utoipa::path(
    get, path = "/metrics", operation_id = "read_metrics", tag = "agent",
    responses((status = 200, content_type = "text/plain", body = String))
)]
pub(super) async fn metrics(Inside(api): Inside) -> Result<Response, Problem> {
    let found = readiness(&api).await;
    api.metrics.store_up.set(i64::from(found.store == "ok"));
    api.metrics.engine_up.set(i64::from(found.engine == "ok"));
    if found.store == "ok" {
        count_runs(&api).await?;
        count_projects(&api, found.engine == "ok").await?;
        count_queue(&api).await?;
        count_findings(&api).await?;
        count_scans(&api).await?;
    }
    let text = api.metrics.render().map_err(|error| {
        Problem::new(ProblemCode::Internal, format!("cannot write the metrics: {error}"))
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

async fn count_runs(api: &Api) -> Result<(), Problem> {
    let now = api.ambient.now();
    for status in [Status::Queued, Status::Running] {
        api.metrics.runs.with_label_values(&[status.key()]).set(0);
        api.metrics.oldest_run_age.with_label_values(&[status.key()]).set(0);
    }
    for backlog in api.store.backlog().await? {
        let label = [backlog.status.key()];
        let count = i64::try_from(backlog.runs).unwrap_or(i64::MAX);
        api.metrics.runs.with_label_values(&label).set(count);
        let age = between(backlog.oldest, now).as_secs();
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        api.metrics.oldest_run_age.with_label_values(&label).set(age);
    }
    Ok(())
}

async fn count_scans(api: &Api) -> Result<(), Problem> {
    const SEVERITIES: [&str; 6] = ["critical", "high", "medium", "low", "info", "unknown"];
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let scans = api.store.image_scans(api.within.workspace()).await?;
    for severity in SEVERITIES {
        let counts = scans.iter().filter_map(|scan| scan.summary.counts.get(severity));
        let series = api.metrics.image_vulnerabilities.with_label_values(&[severity]);
        series.set(number(counts.sum()));
    }
    api.metrics.images_scanned.set(number(scans.len() as u64));
    // A list that cannot be read counts as none.
    let head = api.scans.advisories().ok().and_then(|known| known.head);
    let age = |at: Option<Timestamp>| {
        at.map_or(-1, |at| number(between(at, api.ambient.now()).as_secs()))
    };
    api.metrics.advisories_age.set(age(head.as_ref().map(|head| head.checked_at)));
    api.metrics.advisories_newest_age.set(age(head.as_ref().and_then(|head| head.newest)));
    api.metrics.advisories.set(head.map_or(0, |head| number(head.advisories)));
    Ok(())
}

async fn count_projects(api: &Api, engine_answers: bool) -> Result<(), Problem> {
    let projects = api.store.projects(api.within.workspace()).await?;
    api.metrics.projects.reset();
    for project in &projects {
        api.metrics.projects.with_label_values(&[project.desired.key()]).inc();
    }
    api.metrics.containers.reset();
    api.metrics.images_outdated.reset();
    api.metrics.instances.set(&[]);
    api.metrics.exec_sessions.set(i64::try_from(api.exec.open()).unwrap_or(i64::MAX));
    if !engine_answers || projects.is_empty() {
        return Ok(());
    }
    let outdated = tokio::time::timeout(HEALTH_TIMEOUT, api.projects.outdated()).await;
    for (project, count) in outdated.ok().and_then(Result::ok).unwrap_or_default() {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        api.metrics.images_outdated.with_label_values(&[project.as_str()]).set(count);
    }
    let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, "");
    let containers = tokio::time::timeout(HEALTH_TIMEOUT, api.engine.containers(&filter)).await;
    let Ok(Ok(containers)) = containers else { return Ok(()) };
    let is_kept = |container: &ContainerFacts| {
        let instance = container.instance.as_ref();
        instance.is_some_and(|it| projects.iter().any(|project| project.name == it.project))
    };
    let mut containers: Vec<ContainerFacts> = containers.into_iter().filter(is_kept).collect();
    for container in &containers {
        let Some(instance) = &container.instance else { continue };
        let state = word(&container.state);
        let health = word(&container.health);
        let values = [instance.project.as_str(), &state, &health];
        api.metrics.containers.with_label_values(&values).inc();
    }
    containers.retain(|container| !container.oneoff);
    containers.sort_by(|left, right| left.instance.cmp(&right.instance));
    // Whoever asks for metrics does not wait for long: what comes later is left out this time.
    let usages = usages(&api.engine, &containers, Reading::Totals);
    let usages = tokio::time::timeout(HEALTH_TIMEOUT, usages).await.unwrap_or_default();
    let found: Vec<_> =
        containers.iter().map(|container| (container, usages.get(&container.id))).collect();
    api.metrics.instances.set(&found);
    Ok(())
}

async fn count_queue(api: &Api) -> Result<(), Problem> {
    let depths = api.store.queue_depths(api.within.workspace()).await?;
    let (runs, oldest) = (&api.metrics.queue_runs, &api.metrics.queue_oldest);
    runs.reset();
    oldest.reset();
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    for depth in depths {
        let run_type = depth.run_type.key();
        runs.with_label_values(&[run_type, "queued"]).set(number(depth.queued));
        runs.with_label_values(&[run_type, "running"]).set(number(depth.running));
        if let Some(since) = depth.oldest_queued_at {
            let age = between(since, api.ambient.now());
            oldest.with_label_values(&[run_type]).set(number(age.as_secs()));
        }
    }
    let waiting = api.hosted.waiting();
    api.metrics.queue_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    Ok(())
}

/// Findings of all workspaces, and compliance by policy.
async fn count_findings(api: &Api) -> Result<(), Problem> {
    let findings = api.store.finding_counts(api.ambient.now()).await?;
    let mut policies: BTreeMap<String, Tally> = BTreeMap::new();
    for count in api.store.standing_counts(None).await? {
        policies.entry(count.policy).or_default().add(count.standing, count.subjects);
    }
    api.metrics.findings.set(&findings, &policies);
    Ok(())
}

/// The word that an enum of the vocabulary has in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

/// The description of this API
#[utoipa::path(
    get, path = "/v1/openapi.json", operation_id = "describe_api", tag = "agent",
    responses((status = 200, content_type = "application/json", body = Object))
)]
pub(super) async fn openapi() -> axum::Json<utoipa::openapi::OpenApi> {
    axum::Json(super::openapi())
}
