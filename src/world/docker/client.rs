//! The real engine. Owns `DockerEngine` and `EngineAddress`. Face: `DockerEngine::at`, then
//! `Engine`. Never connects before the first call, so that the agent starts without its engine.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    Ipam as RequestedIpam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest,
    NetworkDisconnectRequest, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, InspectNetworkOptions, ListContainersOptions,
    ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions, RemoveImageOptions,
    RemoveVolumeOptions, RenameContainerOptions, RestartContainerOptions, StartContainerOptions,
    StopContainerOptions,
};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};

use super::session::Connection;
use super::{
    Answer, ContainerFilter, Engine, EngineError, EngineErrorKind, EngineEvent, LogLine,
    LogOptions, NewContainer, RemoveContainer, create, images, read, read_others, streams,
};
use crate::base::Timestamp;
use crate::base::limits::{ENGINE_CALL_TIMEOUT, ENGINE_PARALLEL_READS_MAX};
use crate::facts::{
    Attachment, BuildSpec, ContainerFacts, EngineFacts, ImageFacts, Ipam, IpamPool, NetworkFacts,
    NetworkSpec, STOP_GRACE_PERIOD_DEFAULT, VolumeFacts, VolumeSpec,
};

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`, without encryption.
    Tcp(String),
}

impl EngineAddress {
    /// Reads `unix:///path`, an absolute path, `tcp://host:port` or `http://host:port`.
    ///
    /// # Errors
    /// Kind `Invalid` for anything else.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let tcp = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://"));
        let path = text.strip_prefix("unix://").unwrap_or(text);
        match tcp.map(|host| host.trim_end_matches('/')) {
            Some(host) if host.contains(':') && !host.contains('/') => {
                Ok(Self::Tcp(host.to_owned()))
            }
            None if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            _ => {
                let message = format!("{text:?} is neither unix:///path nor tcp://host:port");
                Err(EngineError::new(EngineErrorKind::Invalid, "find the engine", message))
            }
        }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

/// A Docker Engine, from 20.10 (API 1.41) on.
///
/// The version of the API is agreed upon at the first call, and again after the engine was away.
///
/// **Creating a container** is one call from API 1.44 on. Older engines take one network at a
/// time: there, the container is created in the network of highest priority and connected to the
/// others at once, all before it is ever started. When that fails the container is removed again.
/// A crash between the calls leaves a container in state `created` that is not in all of its
/// networks, which [`crate::facts::differences`] shows: whoever resumes looks again, and removes
/// such a container.
pub struct DockerEngine {
    connection: Connection,
}

impl DockerEngine {
    /// The engine at this address, which need not be there yet.
    pub fn at(address: EngineAddress) -> Self {
        Self { connection: Connection::new(address) }
    }

    async fn create(&self, new: &NewContainer) -> Result<String, EngineError> {
        let attempt = format!("create container {}", new.name);
        let session = self.connection.session(&attempt).await?;
        let refuse = |why: String| EngineError::new(EngineErrorKind::Invalid, &attempt, why);
        let requests = create::requests(new, session.api).map_err(refuse)?;
        let options = CreateContainerOptions {
            name: Some(new.name.clone()),
            platform: new.spec.platform.clone().unwrap_or_default(),
        };
        let create = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
            session.docker.create_container(Some(options), requests.body).await
        });
        let created = create.await.map_err(|error| unavailable_image(error, &new.image))?;
        for warning in created.warnings {
            tracing::warn!(container = %new.name, %warning, "engine warns about a new container");
        }
        for (network, endpoint) in requests.later_networks {
            let connected = self.join(&network, &created.id, endpoint).await;
            if let Err(error) = connected {
                let how = RemoveContainer { force: true, anonymous_volumes: true };
                if let Err(error) = self.remove(&created.id, how).await {
                    tracing::warn!(%error, "half-connected container stays behind");
                }
                return Err(error);
            }
        }
        Ok(created.id)
    }

    async fn join(
        &self,
        network: &str,
        container: &str,
        endpoint: bollard::models::EndpointSettings,
    ) -> Result<(), EngineError> {
        let attempt = format!("connect container {container} to network {network}");
        let network = segment(&attempt, network)?;
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(endpoint),
        };
        let call = |session: std::sync::Arc<super::session::Session>| async move {
            session.docker.connect_network(network, request).await
        };
        self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, call).await
    }

    /// How long the engine itself lets a container take to stop.
    async fn own_grace(&self, id: &str) -> Duration {
        let found = self.container(id).await.ok().flatten();
        found.and_then(|facts| facts.spec.stop_grace_period).unwrap_or(STOP_GRACE_PERIOD_DEFAULT)
    }

    async fn remove(&self, id: &str, how: RemoveContainer) -> Result<(), EngineError> {
        let attempt = format!("remove container {id}");
        let id = segment(&attempt, id)?;
        // A volume kept from a predecessor counts as named at the engine, which leaves it behind.
        let kept = if how.anonymous_volumes {
            self.container(id).await?.map(|facts| facts.anonymous_volumes).unwrap_or_default()
        } else {
            BTreeMap::new()
        };
        let options =
            RemoveContainerOptions { v: how.anonymous_volumes, force: how.force, link: false };
        self.connection
            .write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.remove_container(id, Some(options)).await
            })
            .await?;
        for volume in kept.values() {
            match self.remove_volume(volume).await {
                // Gone with the container, or in use by a successor.
                Err(error)
                    if !matches!(
                        error.kind,
                        EngineErrorKind::NotFound | EngineErrorKind::Conflict
                    ) =>
                {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn stop_limit(&self, id: &str, grace: Option<Duration>) -> Duration {
        let grace = match grace {
            Some(grace) => grace,
            None => self.own_grace(id).await,
        };
        grace.saturating_add(ENGINE_CALL_TIMEOUT)
    }
}

/// Names go into the path of a request: one that could lead elsewhere is refused.
fn segment<'a>(attempt: &str, name: &'a str) -> Result<&'a str, EngineError> {
    let is_odd =
        |c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '%' | '\\');
    let leads_elsewhere = name.is_empty()
        || name.starts_with('/')
        || name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
        || name.contains(is_odd);
    if leads_elsewhere {
        let message = format!("{name:?} is no name of the engine's");
        return Err(EngineError::new(EngineErrorKind::Invalid, attempt, message));
    }
    Ok(name)
}

fn unavailable_image(mut error: EngineError, image: &str) -> EngineError {
    let said = error.message.to_ascii_lowercase();
    if error.kind == EngineErrorKind::NotFound && said.contains("image") {
        error.kind = EngineErrorKind::ImageUnavailable;
        error.message = format!("no image {image} on the engine ({})", error.message);
    }
    error
}

/// `None` in place of "there is none".
fn absent<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn label_filters<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<HashMap<String, Vec<String>>> {
    let text = |(key, value): (&str, &str)| {
        if value.is_empty() { key.to_owned() } else { format!("{key}={value}") }
    };
    let labels: Vec<String> = labels.into_iter().map(text).collect();
    (!labels.is_empty()).then(|| HashMap::from([("label".to_owned(), labels)]))
}

fn seconds(grace: Option<Duration>) -> Option<i32> {
    grace.map(|grace| i32::try_from(create::whole_seconds(grace)).unwrap_or(i32::MAX))
}

fn merged(
    users: &BTreeMap<String, String>,
    bookkeeping: &BTreeMap<String, String>,
) -> Option<HashMap<String, String>> {
    Some(users.clone().into_iter().chain(bookkeeping.clone()).collect())
}

fn requested_ipam(ipam: &Ipam) -> RequestedIpam {
    let pool = |pool: &IpamPool| IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: merged(&pool.aux_addresses, &BTreeMap::new()),
    };
    RequestedIpam {
        driver: Some(ipam.driver.clone().unwrap_or_else(|| "default".to_owned())),
        options: merged(&ipam.options, &BTreeMap::new()),
        config: Some(ipam.pools.iter().map(pool).collect()),
    }
}

impl Engine for DockerEngine {
    fn ping(&self) -> Answer<'_, ()> {
        let call = self.connection.read("reach the engine", |session| async move {
            session.docker.ping().await.map(drop)
        });
        call.boxed()
    }

    fn info(&self) -> Answer<'_, EngineFacts> {
        let call = self.connection.read("ask the engine about itself", |session| async move {
            let report = session.docker.info().await?;
            Ok(read_others::engine(report, session.reported_api.clone()))
        });
        call.boxed()
    }

    fn containers<'a>(&'a self, filter: &'a ContainerFilter) -> Answer<'a, Vec<ContainerFacts>> {
        async move {
            let labels = filter.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let options = ListContainersOptions {
                all: true,
                filters: label_filters(labels),
                ..ListContainersOptions::default()
            };
            let list = self.connection.read("list containers", |session| {
                let options = options.clone();
                async move { session.docker.list_containers(Some(options)).await }
            });
            let ids = list.await?.into_iter().filter_map(|summary| summary.id);
            let inspect = |id: String| async move { self.container(&id).await };
            let found: Vec<Option<ContainerFacts>> = stream::iter(ids.map(inspect))
                .buffered(ENGINE_PARALLEL_READS_MAX)
                .try_collect()
                .await?;
            Ok(found.into_iter().flatten().collect())
        }
        .boxed()
    }

    fn container<'a>(&'a self, id: &'a str) -> Answer<'a, Option<ContainerFacts>> {
        async move {
            let attempt = format!("inspect container {id}");
            let id = segment(&attempt, id)?;
            let call = self.connection.read(&attempt, |session| async move {
                let options = None::<InspectContainerOptions>;
                absent(session.docker.inspect_container(id, options).await)
            });
            Ok(call.await?.map(read::container))
        }
        .boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<ImageFacts>> {
        async move {
            let attempt = format!("inspect image {reference}");
            let reference = segment(&attempt, reference)?;
            let call = self.connection.read(&attempt, |session| async move {
                absent(session.docker.inspect_image(reference).await)
            });
            Ok(call.await?.map(read_others::image))
        }
        .boxed()
    }

    fn networks<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<NetworkFacts>> {
        async move {
            let call = self.connection.read("list networks", |session| async move {
                let options = ListNetworksOptions { filters: label_filters(label) };
                session.docker.list_networks(Some(options)).await
            });
            Ok(call.await?.into_iter().map(read_others::network).collect())
        }
        .boxed()
    }

    fn network<'a>(&'a self, name: &'a str) -> Answer<'a, Option<NetworkFacts>> {
        async move {
            let attempt = format!("inspect network {name}");
            let segment = segment(&attempt, name)?;
            let call = self.connection.read(&attempt, |session| async move {
                let options = None::<InspectNetworkOptions>;
                absent(session.docker.inspect_network(segment, options).await)
            });
            // The engine also takes the beginning of an id for a name.
            let facts = call.await?.map(read_others::inspected_network);
            Ok(facts.filter(|facts| facts.name == name || facts.id == name))
        }
        .boxed()
    }

    fn volumes<'a>(&'a self, label: Option<(&'a str, &'a str)>) -> Answer<'a, Vec<VolumeFacts>> {
        async move {
            let call = self.connection.read("list volumes", |session| async move {
                let options = ListVolumesOptions { filters: label_filters(label) };
                session.docker.list_volumes(Some(options)).await
            });
            let listed = call.await?.volumes.unwrap_or_default();
            Ok(listed.into_iter().map(read_others::volume).collect())
        }
        .boxed()
    }

    fn volume<'a>(&'a self, name: &'a str) -> Answer<'a, Option<VolumeFacts>> {
        async move {
            let attempt = format!("inspect volume {name}");
            let name = segment(&attempt, name)?;
            let call = self.connection.read(&attempt, |session| async move {
                absent(session.docker.inspect_volume(name).await)
            });
            Ok(call.await?.map(read_others::volume))
        }
        .boxed()
    }

    fn create_container<'a>(&'a self, new: &'a NewContainer) -> Answer<'a, String> {
        self.create(new).boxed()
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            let attempt = format!("start container {id}");
            let id = segment(&attempt, id)?;
            let call = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.start_container(id, None::<StartContainerOptions>).await
            });
            call.await
        }
        .boxed()
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace: Option<Duration>) -> Answer<'a, ()> {
        async move {
            let attempt = format!("stop container {id}");
            let id = segment(&attempt, id)?;
            let limit = self.stop_limit(id, grace).await;
            let options = StopContainerOptions { signal: None, t: seconds(grace) };
            let call = self.connection.write(&attempt, limit, |session| async move {
                session.docker.stop_container(id, Some(options)).await
            });
            call.await
        }
        .boxed()
    }

    fn restart_container<'a>(&'a self, id: &'a str, grace: Option<Duration>) -> Answer<'a, ()> {
        async move {
            let attempt = format!("restart container {id}");
            let id = segment(&attempt, id)?;
            let limit = self.stop_limit(id, grace).await;
            let options = RestartContainerOptions { signal: None, t: seconds(grace) };
            let call = self.connection.write(&attempt, limit, |session| async move {
                session.docker.restart_container(id, Some(options)).await
            });
            call.await
        }
        .boxed()
    }

    fn remove_container<'a>(&'a self, id: &'a str, how: RemoveContainer) -> Answer<'a, ()> {
        self.remove(id, how).boxed()
    }

    fn rename_container<'a>(&'a self, id: &'a str, name: &'a str) -> Answer<'a, ()> {
        async move {
            let attempt = format!("rename container {id} to {name}");
            let id = segment(&attempt, id)?;
            let options = RenameContainerOptions { name: name.to_owned() };
            let call = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.rename_container(id, options).await
            });
            call.await
        }
        .boxed()
    }

    fn connect_network<'a>(
        &'a self,
        network: &'a str,
        container: &'a str,
        attachment: &'a Attachment,
    ) -> Answer<'a, ()> {
        async move {
            let attempt = format!("connect container {container} to network {network}");
            let session = self.connection.session(&attempt).await?;
            let refuse = |why: String| EngineError::new(EngineErrorKind::Invalid, &attempt, why);
            let endpoint = create::endpoint(network, attachment, session.api).map_err(refuse)?;
            self.join(network, container, endpoint).await
        }
        .boxed()
    }

    fn disconnect_network<'a>(&'a self, network: &'a str, container: &'a str) -> Answer<'a, ()> {
        async move {
            let attempt = format!("disconnect container {container} from network {network}");
            let network = segment(&attempt, network)?;
            let request =
                NetworkDisconnectRequest { container: container.to_owned(), force: Some(false) };
            let call = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.disconnect_network(network, request).await
            });
            call.await
        }
        .boxed()
    }

    fn create_network<'a>(
        &'a self,
        spec: &'a NetworkSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, String> {
        async move {
            let request = NetworkCreateRequest {
                name: spec.name.clone(),
                driver: spec.driver.clone(),
                internal: Some(spec.internal),
                attachable: Some(spec.attachable),
                enable_ipv6: spec.enable_ipv6,
                ipam: spec.ipam.as_ref().map(requested_ipam),
                options: merged(&spec.driver_options, &BTreeMap::new()),
                labels: merged(&spec.labels, bookkeeping),
                ..NetworkCreateRequest::default()
            };
            let attempt = format!("create network {}", spec.name);
            let call = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.create_network(request).await
            });
            Ok(call.await?.id)
        }
        .boxed()
    }

    fn remove_network<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        async move {
            let attempt = format!("remove network {name}");
            let name = segment(&attempt, name)?;
            let call = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.remove_network(name).await
            });
            call.await
        }
        .boxed()
    }

    fn create_volume<'a>(
        &'a self,
        spec: &'a VolumeSpec,
        bookkeeping: &'a BTreeMap<String, String>,
    ) -> Answer<'a, ()> {
        async move {
            let request = VolumeCreateRequest {
                name: Some(spec.name.clone()),
                driver: spec.driver.clone(),
                driver_opts: merged(&spec.driver_options, &BTreeMap::new()),
                labels: merged(&spec.labels, bookkeeping),
                ..VolumeCreateRequest::default()
            };
            let attempt = format!("create volume {}", spec.name);
            let call = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.create_volume(request).await
            });
            call.await.map(drop)
        }
        .boxed()
    }

    fn remove_volume<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        async move {
            let attempt = format!("remove volume {name}");
            let name = segment(&attempt, name)?;
            let call = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.remove_volume(name, None::<RemoveVolumeOptions>).await
            });
            call.await
        }
        .boxed()
    }

    fn pull_image<'a>(
        &'a self,
        reference: &'a str,
        platform: Option<&'a str>,
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, ()> {
        images::pull(&self.connection, reference, platform, progress).boxed()
    }

    fn build_image<'a>(
        &'a self,
        build: &'a BuildSpec,
        tags: &'a [String],
        context: Bytes,
        progress: &'a (dyn Fn(String) + Send + Sync),
    ) -> Answer<'a, String> {
        images::build(&self.connection, build, tags, context, progress).boxed()
    }

    fn remove_image<'a>(&'a self, reference: &'a str) -> Answer<'a, ()> {
        async move {
            let attempt = format!("remove image {reference}");
            let reference = segment(&attempt, reference)?;
            let call = self.connection.write(&attempt, ENGINE_CALL_TIMEOUT, |session| async move {
                session.docker.remove_image(reference, None::<RemoveImageOptions>, None).await
            });
            call.await.map(drop)
        }
        .boxed()
    }

    fn logs<'a>(
        &'a self,
        id: &'a str,
        options: &'a LogOptions,
    ) -> BoxStream<'a, Result<LogLine, EngineError>> {
        match segment("read a log", id) {
            Ok(id) => streams::logs(&self.connection, id, options),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn events(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<EngineEvent, EngineError>> {
        streams::events(&self.connection, since)
    }
}
