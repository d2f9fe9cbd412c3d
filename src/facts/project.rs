//! What a project declares, lowered from its compose model. Owns `ProjectSpec`, `ServiceUnit` and
//! what surrounds a `ServiceSpec`: build, dependencies, replicas, content. Face: the types. Never
//! holds Compose's spelling: names are the names on the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ServiceSpec;
use crate::base::{Digest, Secret};

/// A whole project, ready to be planned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProjectSpec {
    /// The project's name: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// By service name. Only services of the active profiles.
    pub services: BTreeMap<String, ServiceUnit>,
    /// By the key in the compose file.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// By the key in the compose file.
    pub volumes: BTreeMap<String, VolumeSpec>,
}

/// One service: the contract of its containers and how they come to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServiceUnit {
    /// The contract of each container.
    pub spec: ServiceSpec,
    /// Containers that run at once.
    pub replicas: u32,
    /// A fixed name for the one container.
    pub container_name: Option<String>,
    /// What has to be there before, by service name.
    pub depends_on: BTreeMap<String, Dependency>,
    /// How the image is built, when it is.
    pub build: Option<BuildSpec>,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// What is done when its health check fails.
    pub on_unhealthy: OnUnhealthy,
    /// Configs and secrets that appear as files, by target path.
    pub files: BTreeMap<String, ContentFile>,
    /// How its containers are replaced.
    pub updates: Updates,
    /// Commands after each start of a container by the agent, in order. Hooks are no part of the
    /// contract: a container goes on when they change.
    pub post_start: Vec<Hook>,
    /// Commands before the agent stops a container, in order.
    pub pre_stop: Vec<Hook>,
}

impl ServiceUnit {
    /// The hooks of that kind.
    pub fn hooks(&self, kind: HookKind) -> &[Hook] {
        match kind {
            HookKind::PostStart => &self.post_start,
            HookKind::PreStop => &self.pre_stop,
        }
    }
}

/// A command that is executed in a container because it starts or stops.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// As whom, instead of the container's user.
    pub user: Option<String>,
    /// With all capabilities.
    pub privileged: bool,
    /// In which folder, instead of the container's.
    pub working_dir: Option<String>,
    /// Variables beside the container's. Values may be secret.
    #[serde(skip)]
    pub environment: BTreeMap<String, Secret<String>>,
}

/// When a hook is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// After the start of a container.
    PostStart,
    /// Before its stop.
    PreStop,
}

impl HookKind {
    /// Its key in a compose file.
    pub fn key(self) -> &'static str {
        match self {
            Self::PostStart => "post_start",
            Self::PreStop => "pre_stop",
        }
    }
}

/// How the containers of a service are replaced by new ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Updates {
    /// How many are replaced at once; 0 is all of them.
    pub parallelism: u32,
    /// Pause between one and the next.
    pub delay: Duration,
    /// Which of the two runs first; `None` leaves the choice to the agent.
    pub order: Option<UpdateOrder>,
    /// The others are replaced although one could not be.
    pub goes_on: bool,
    /// How long a new one has to last after it proved itself.
    pub monitor: Duration,
}

impl Default for Updates {
    fn default() -> Self {
        let (delay, monitor) = (Duration::ZERO, Duration::ZERO);
        Self { parallelism: 1, delay, order: None, goes_on: false, monitor }
    }
}

/// Which of an old and a new container runs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The new one starts, then the old one stops.
    StartFirst,
    /// The old one stops, then the new one starts.
    StopFirst,
}

/// One edge of the dependency graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// What is waited for.
    pub condition: Condition,
    /// A dependency that may be missing does not stop the dependent.
    pub required: bool,
    /// Recreating the dependency restarts the dependent.
    pub restart: bool,
}

/// What a dependent waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The container was started.
    ServiceStarted,
    /// Its health check passed.
    ServiceHealthy,
    /// It exited with status 0.
    ServiceCompletedSuccessfully,
}

/// When the image of a service is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// When the engine has none.
    #[default]
    Missing,
    /// Asked for at each `up`, and never by the agent itself; only another image is a change.
    Always,
    /// Asked for at an `up` when the last time is so long ago, and never by the agent itself.
    Every {
        /// How long, in seconds.
        seconds: u64,
    },
    /// Never.
    Never,
    /// Built, even when an image of that name exists.
    Build,
}

/// What is done when the health check of a container fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnhealthy {
    /// Somebody hears of it.
    #[default]
    Tell,
    /// It is restarted; when so many restarts within an hour were in vain, somebody hears of it.
    Restart {
        /// The most of them.
        tries_max: u32,
    },
}

/// How an image is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BuildSpec {
    /// Digest over the context's files, the Dockerfile and the arguments: the same digest is the
    /// same image, and nothing is built.
    pub context_digest: Option<Digest>,
    /// Path of the Dockerfile inside the context.
    pub dockerfile: String,
    /// The Dockerfile's text, when the compose file holds it.
    pub dockerfile_inline: Option<String>,
    /// Build arguments; `None` was declared without a value.
    #[serde(skip)]
    pub args: BTreeMap<String, Option<Secret<String>>>,
    /// The stage to build.
    pub target: Option<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Images to take layers from.
    pub cache_from: Vec<String>,
    /// Do not take layers from earlier builds.
    pub no_cache: bool,
    /// Ask the registries of base images for newer ones, although they are on the host.
    pub pull: bool,
    /// Network of the build containers.
    pub network: Option<String>,
    /// `os/arch` to build for.
    pub platform: Option<String>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size_bytes: Option<i64>,
    /// `name=address` lines.
    pub extra_hosts: Vec<String>,
    /// More names for the image.
    pub tags: Vec<String>,
}

/// A config or secret as a file in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContentFile {
    /// The content; treated as secret even when it is only a config.
    #[serde(skip)]
    pub content: Secret<Vec<u8>>,
    /// Owner in the container, a number.
    pub uid: u32,
    /// Group in the container, a number.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Is it a secret, or a config?
    pub is_secret: bool,
    /// The file that the content was read from, where it was one. No part of the contract: what
    /// counts there is the content.
    #[serde(skip)]
    pub read_from: Option<String>,
}

/// A network of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetworkSpec {
    /// The name on the engine.
    pub name: String,
    /// Made and removed by somebody else.
    pub external: bool,
    /// `None` is the engine's default (`bridge`).
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_options: BTreeMap<String, String>,
    /// No way out of the host.
    pub internal: bool,
    /// Containers outside the project may join.
    pub attachable: bool,
    /// IPv6 addresses as well; `None` is the engine's default.
    pub enable_ipv6: Option<bool>,
    /// Address management.
    pub ipam: Option<Ipam>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
}

/// Address management of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ipam {
    /// `None` is `default`.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Address pools, in order.
    pub pools: Vec<IpamPool>,
}

/// One address pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IpamPool {
    /// In CIDR form.
    pub subnet: Option<String>,
    /// Part of the subnet for containers.
    pub ip_range: Option<String>,
    /// The router's address.
    pub gateway: Option<String>,
    /// Addresses used by the driver, by host name.
    pub aux_addresses: BTreeMap<String, String>,
}

/// A volume of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VolumeSpec {
    /// The name on the engine.
    pub name: String,
    /// Made and removed by somebody else.
    pub external: bool,
    /// `None` is `local`.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_options: BTreeMap<String, String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
}

/// How long a container may take to stop, when neither file nor image says so.
pub const STOP_GRACE_PERIOD_DEFAULT: Duration = Duration::from_secs(10);
