//! Makes, changes and removes containers. Owns the calls on them, and in which order a container
//! joins its networks. Face: one function per call. Never leaves a half-connected container behind
//! knowingly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptions, RemoveContainerOptions,
    RenameContainerOptions, RestartContainerOptions, StartContainerOptions, StopContainerOptions,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::failure::absent;
use super::request::{label_filters, segment};
use super::session::{Connection, Session};
use super::version::ApiVersion;
use super::{
    ContainerFilter, EngineError, EngineErrorKind, NewContainer, RemoveContainer, create, read,
    volumes,
};
use crate::base::limits::{ENGINE_CALL_TIMEOUT, ENGINE_PARALLEL_READS_MAX};
use crate::facts::{Attachment, ContainerFacts, LiveSettings, STOP_GRACE_PERIOD_DEFAULT};

/// The engine's network for containers that name none.
const DEFAULT_NETWORK: &str = "bridge";

pub(super) async fn list(
    connection: &Connection,
    filter: &ContainerFilter,
) -> Result<Vec<ContainerFacts>, EngineError> {
    let labels = filter.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let options = ListContainersOptions {
        all: true,
        filters: label_filters(labels),
        ..ListContainersOptions::default()
    };
    let list = connection.read("list containers", |session| {
        let options = options.clone();
        async move { session.docker.list_containers(Some(options)).await }
    });
    let ids = list.await?.into_iter().filter_map(|summary| summary.id);
    let inspect = |id: String| async move { find(connection, &id).await };
    let found: Vec<Option<ContainerFacts>> =
        stream::iter(ids.map(inspect)).buffered(ENGINE_PARALLEL_READS_MAX).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

pub(super) async fn find(
    connection: &Connection,
    id: &str,
) -> Result<Option<ContainerFacts>, EngineError> {
    let attempt = format!("inspect container {id}");
    let id = segment(&attempt, id)?;
    let call = connection.read(&attempt, |session| async move {
        absent(session.docker.inspect_container(id, None::<InspectContainerOptions>).await)
    });
    Ok(call.await?.map(read::container))
}

pub(super) async fn create(
    connection: &Connection,
    new: &NewContainer,
) -> Result<String, EngineError> {
    let attempt = format!("create container {}", new.name);
    let session = connection.session(&attempt).await?;
    let refuse = |why: String| EngineError::new(EngineErrorKind::Invalid, &attempt, why);
    let requests = create::requests(new, session.api).map_err(refuse)?;
    let options = CreateContainerOptions {
        name: Some(new.name.clone()),
        platform: new.spec.platform.clone().unwrap_or_default(),
    };
    let create = connection.write(&attempt, |session| async move {
        session.docker.create_container(Some(options), requests.body).await
    });
    let created = create.await.map_err(|error| unavailable_image(error, &new.image))?;
    for warning in created.warnings {
        tracing::warn!(container = %new.name, %warning, "engine warns about a new container");
    }
    for (network, endpoint) in requests.later_networks {
        if let Err(error) = join(connection, &network, &created.id, endpoint).await {
            let how = RemoveContainer { force: true, anonymous_volumes: true };
            if let Err(error) = remove(connection, &created.id, how).await {
                tracing::warn!(%error, "half-connected container stays behind");
            }
            return Err(error);
        }
    }
    Ok(created.id)
}

fn unavailable_image(mut error: EngineError, image: &str) -> EngineError {
    let said = error.message.to_ascii_lowercase();
    if error.kind == EngineErrorKind::NotFound && said.contains("image") {
        error.kind = EngineErrorKind::ImageUnavailable;
        error.message = format!("no image {image} on the engine ({})", error.message);
    }
    error
}

pub(super) async fn connect(
    connection: &Connection,
    network: &str,
    container: &str,
    attachment: &Attachment,
) -> Result<(), EngineError> {
    let attempt = format!("connect container {container} to network {network}");
    let session = connection.session(&attempt).await?;
    let refuse = |why: String| EngineError::new(EngineErrorKind::Invalid, &attempt, why);
    let endpoint = create::endpoint(network, attachment, session.api).map_err(refuse)?;
    join(connection, network, container, endpoint).await
}

/// The engine's own network takes neither names nor addresses nor links; links to it are kept with
/// the container. An older engine chooses hardware addresses itself.
pub(super) async fn rejoin(
    connection: &Connection,
    network: &str,
    container: &str,
    (attachment, links): (&Attachment, &BTreeSet<String>),
) -> Result<(), EngineError> {
    let attempt = format!("connect container {container} to network {network}");
    let session = connection.session(&attempt).await?;
    let refuse = |why: String| EngineError::new(EngineErrorKind::Invalid, &attempt, why);
    let mut attachment = attachment.clone();
    if network == DEFAULT_NETWORK {
        attachment = Attachment::default();
    }
    if session.api < ApiVersion::MANY_ENDPOINTS {
        attachment.mac_address = None;
    }
    let mut endpoint = create::endpoint(network, &attachment, session.api).map_err(refuse)?;
    if network == DEFAULT_NETWORK {
        endpoint.aliases = None;
    } else if !links.is_empty() {
        endpoint.links = Some(links.iter().cloned().collect());
    }
    join(connection, network, container, endpoint).await
}

async fn join(
    connection: &Connection,
    network: &str,
    container: &str,
    endpoint: EndpointSettings,
) -> Result<(), EngineError> {
    let attempt = format!("connect container {container} to network {network}");
    let network = segment(&attempt, network)?;
    let request =
        NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
    let call = |session: Arc<Session>| async move {
        session.docker.connect_network(network, request).await
    };
    connection.write(&attempt, call).await
}

pub(super) async fn disconnect(
    connection: &Connection,
    network: &str,
    container: &str,
) -> Result<(), EngineError> {
    let attempt = format!("disconnect container {container} from network {network}");
    let network = segment(&attempt, network)?;
    let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(false) };
    let call = connection.write(&attempt, |session| async move {
        session.docker.disconnect_network(network, request).await
    });
    call.await
}

pub(super) async fn start(connection: &Connection, id: &str) -> Result<(), EngineError> {
    let attempt = format!("start container {id}");
    let id = segment(&attempt, id)?;
    let call = connection.write(&attempt, |session| async move {
        session.docker.start_container(id, None::<StartContainerOptions>).await
    });
    call.await
}

pub(super) async fn stop(
    connection: &Connection,
    id: &str,
    grace: Option<Duration>,
) -> Result<(), EngineError> {
    let attempt = format!("stop container {id}");
    let id = segment(&attempt, id)?;
    let limit = stop_limit(connection, id, grace).await;
    let options = StopContainerOptions { signal: None, t: seconds(grace) };
    let call = connection.once(&attempt, limit, |session| async move {
        session.docker.stop_container(id, Some(options)).await
    });
    call.await
}

pub(super) async fn restart(
    connection: &Connection,
    id: &str,
    grace: Option<Duration>,
) -> Result<(), EngineError> {
    let attempt = format!("restart container {id}");
    let id = segment(&attempt, id)?;
    let limit = stop_limit(connection, id, grace).await;
    let options = RestartContainerOptions { signal: None, t: seconds(grace) };
    let call = connection.once(&attempt, limit, |session| async move {
        session.docker.restart_container(id, Some(options)).await
    });
    call.await
}

pub(super) async fn pause(connection: &Connection, id: &str) -> Result<(), EngineError> {
    let attempt = format!("pause container {id}");
    let id = segment(&attempt, id)?;
    let call = connection
        .write(&attempt, |session| async move { session.docker.pause_container(id).await });
    call.await
}

pub(super) async fn unpause(connection: &Connection, id: &str) -> Result<(), EngineError> {
    let attempt = format!("unpause container {id}");
    let id = segment(&attempt, id)?;
    let call = connection
        .write(&attempt, |session| async move { session.docker.unpause_container(id).await });
    match call.await {
        Err(error) if error.message.contains("is not paused") => Ok(()),
        called => called,
    }
}

/// How long a call may take that waits until a container has stopped.
async fn stop_limit(connection: &Connection, id: &str, grace: Option<Duration>) -> Duration {
    let grace = match grace {
        Some(grace) => grace,
        None => own_grace(connection, id).await,
    };
    grace.saturating_add(ENGINE_CALL_TIMEOUT)
}

/// How long the engine itself lets a container take to stop.
async fn own_grace(connection: &Connection, id: &str) -> Duration {
    let found = find(connection, id).await.ok().flatten();
    found.and_then(|facts| facts.spec.stop_grace_period).unwrap_or(STOP_GRACE_PERIOD_DEFAULT)
}

fn seconds(grace: Option<Duration>) -> Option<i32> {
    grace.map(|grace| i32::try_from(create::whole_seconds(grace)).unwrap_or(i32::MAX))
}

pub(super) async fn remove(
    connection: &Connection,
    id: &str,
    how: RemoveContainer,
) -> Result<(), EngineError> {
    let attempt = format!("remove container {id}");
    let id = segment(&attempt, id)?;
    // A volume kept from a predecessor counts as named at the engine, which leaves it behind.
    let kept = if how.anonymous_volumes {
        let found = find(connection, id).await?;
        found.map(|facts| facts.anonymous_volumes).unwrap_or_default()
    } else {
        BTreeMap::new()
    };
    let options =
        RemoveContainerOptions { v: how.anonymous_volumes, force: how.force, link: false };
    let call = connection.write(&attempt, |session| async move {
        session.docker.remove_container(id, Some(options)).await
    });
    call.await?;
    for volume in kept.values() {
        match volumes::remove(connection, volume).await {
            // Gone with the container, or in use by a successor.
            Err(error)
                if matches!(error.kind, EngineErrorKind::NotFound | EngineErrorKind::Conflict) => {}
            removed => removed?,
        }
    }
    Ok(())
}

pub(super) async fn update(
    connection: &Connection,
    id: &str,
    settings: &LiveSettings,
) -> Result<(), EngineError> {
    let attempt = format!("update container {id}");
    let id = segment(&attempt, id)?;
    let body = create::update(settings);
    let call = connection
        .write(&attempt, |session| async move { session.docker.update_container(id, body).await });
    call.await
}

pub(super) async fn rename(
    connection: &Connection,
    id: &str,
    name: &str,
) -> Result<(), EngineError> {
    let attempt = format!("rename container {id} to {name}");
    let id = segment(&attempt, id)?;
    let options = RenameContainerOptions { name: name.to_owned() };
    let call = connection.write(&attempt, |session| async move {
        session.docker.rename_container(id, options).await
    });
    call.await
}
