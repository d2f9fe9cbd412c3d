//! The route of service instances. Owns `/v1/projects/{name}/instances`, and how their usage is read in
//! bounds. Face: `list`, `usages`. Never waits for a container whose engine does not tell.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{Path, Query, Reply};
use super::problem::Problem;
use super::projects::{ProjectPath, containers_of};
use super::wire::{InstanceView, Page};
use crate::base::limits::{ENGINE_PARALLEL_READS_MAX, INSTANCE_USAGES_MAX};
use crate::facts::{ContainerFacts, ContainerState, ContainerUsage};
use crate::world::docker::{Reading, SharedEngine};

/// What is wanted of the instances.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct InstanceQuery {
    /// Of these services, separated by commas.
    service: Option<String>,
    /// What they use, too: the engine takes a second or two to tell. Of at most 200 instances.
    usage: bool,
}

/// The instances of a project's services, by service and number
#[utoipa::path(
    get, path = "/v1/projects/{name}/instances", operation_id = "list_project_instances",
    tag = "projects", params(ProjectPath, InstanceQuery),
    responses(
        (status = 200, body = Page<InstanceView>),
        (status = 404, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn list(
    Inside(api): Inside,
    Path(ProjectPath { name }): Path<ProjectPath>,
    Query(query): Query<InstanceQuery>,
) -> Reply<Page<InstanceView>> {
    let known = api.projects.find(&name).await?;
    let mut containers = containers_of(&api, &name).await?;
    if known.is_none() && containers.is_empty() {
        return Err(Problem::not_found("project", &name));
    }
    let services: Vec<&str> =
        query.service.as_deref().unwrap_or_default().split(',').filter(|s| !s.is_empty()).collect();
    containers.retain(|container| {
        let instance = container.instance.as_ref().filter(|_| !container.oneoff);
        instance.is_some_and(|it| services.is_empty() || services.contains(&it.service.as_str()))
    });
    let usages = match query.usage {
        true => usages(&api.engine, &containers, Reading::Rates).await,
        false => BTreeMap::new(),
    };
    let now = api.ambient.now();
    let held = api.enforcement.held_back().await?;
    let items = containers.iter().filter_map(|container| {
        let view = InstanceView::of(container, usages.get(&container.id), now)?;
        Some(InstanceView { held_back: held.get(&container.id).cloned(), ..view })
    });
    Ok(axum::Json(Page { items: items.collect(), next: None }))
}

/// What running containers use, by id: of so many at most, a few at a time. Whatever the engine does not
/// tell is left out.
pub(super) async fn usages(
    engine: &SharedEngine,
    containers: &[ContainerFacts],
    reading: Reading,
) -> BTreeMap<String, ContainerUsage> {
    let running: Vec<String> = containers
        .iter()
        .filter(|container| container.state == ContainerState::Running)
        .take(INSTANCE_USAGES_MAX)
        .map(|container| container.id.clone())
        .collect();
    let read = |id: String| async move {
        let usage = engine.usage(&id, reading).await;
        Some((id, usage.ok().flatten()?))
    };
    let read = stream::iter(running).map(read).buffer_unordered(ENGINE_PARALLEL_READS_MAX);
    read.filter_map(std::future::ready).collect().await
}
