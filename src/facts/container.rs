//! What an engine was found to hold, read once at the edge. Owns `ContainerFacts` and its siblings
//! for images, networks, volumes and the engine itself. Face: the types. Never an engine client's
//! own types, and never a Docker id as an identity: that is `Instance`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DaemonFacts, Ipam, ServiceSpec};
use crate::base::Timestamp;

/// The identity of a container that belongs to a project: it outlives every recreate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// The project.
    pub project: String,
    /// The service.
    pub service: String,
    /// The replica, from 1.
    pub number: u32,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.project, self.service, self.number)
    }
}

/// One container as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerFacts {
    /// The engine's id: a handle for calls, never an identity.
    pub id: String,
    /// The name, without the leading slash.
    pub name: String,
    /// From Compose's labels; `None` for a container of no project.
    pub instance: Option<Instance>,
    /// A one-off container of `compose run`.
    pub oneoff: bool,
    /// The value of our own hash label, when we made it.
    pub contract_hash: Option<String>,
    /// All labels, bookkeeping ones included.
    pub all_labels: BTreeMap<String, String>,
    /// How it was configured, with the image's own settings mixed in as the engine does.
    pub spec: ServiceSpec,
    /// The id of the image it runs.
    pub image_id: String,
    /// What it does now.
    pub state: ContainerState,
    /// What its health check says.
    pub health: Health,
    /// Exit status of the last end; meaningful when it is not running.
    pub exit_code: i64,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// What the engine says went wrong at the last start.
    pub state_error: Option<String>,
    /// Restarts by the engine's policy.
    pub restart_count: u64,
    /// Creation time.
    pub created_at: Option<Timestamp>,
    /// Last start.
    pub started_at: Option<Timestamp>,
    /// Last end.
    pub finished_at: Option<Timestamp>,
    /// Addresses now, by network name.
    pub addresses: BTreeMap<String, NetworkAddress>,
    /// Names on the engine of the volumes without a name, by target path.
    pub anonymous_volumes: BTreeMap<String, String>,
}

#[cfg(test)]
impl ContainerFacts {
    /// A container that runs with this contract, and of which nothing else is known.
    pub(crate) fn running(name: &str, spec: ServiceSpec) -> Self {
        Self {
            id: format!("id-{name}"),
            name: name.to_owned(),
            instance: None,
            oneoff: false,
            contract_hash: None,
            all_labels: BTreeMap::new(),
            spec,
            image_id: "sha256:1".to_owned(),
            state: ContainerState::Running,
            health: Health::None,
            exit_code: 0,
            oom_killed: false,
            state_error: None,
            restart_count: 0,
            created_at: None,
            started_at: None,
            finished_at: None,
            addresses: BTreeMap::new(),
            anonymous_volumes: BTreeMap::new(),
        }
    }
}

/// What a container uses at a moment; totals count from its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ContainerUsage {
    /// CPU time in nanoseconds.
    pub cpu_nanos_total: u64,
    /// Thousandths of a CPU over the last second or two; none when two moments were not compared.
    pub cpu_thousandths: Option<u64>,
    /// Memory, without what the kernel could take back at once.
    pub memory_bytes: u64,
    /// The most that it may use: its limit, or the host's memory.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes received, over all networks.
    pub received_bytes_total: u64,
    /// Bytes sent, over all networks.
    pub sent_bytes_total: u64,
    /// Bytes read from disks.
    pub read_bytes_total: u64,
    /// Bytes written to disks.
    pub written_bytes_total: u64,
}

/// Where a container is reached in one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NetworkAddress {
    /// The network's id on the engine.
    pub network_id: String,
    /// Empty while the container does not run.
    pub ipv4_address: String,
    /// Empty without IPv6.
    pub ipv6_address: String,
}

/// What a container does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Between an end and the next start.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// The engine could not remove it.
    Dead,
}

/// What a health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There is no health check.
    None,
    /// Not decided yet.
    Starting,
    /// Passed.
    Healthy,
    /// Failed as often as it may.
    Unhealthy,
}

/// One image, and what it gives to a container that does not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImageFacts {
    /// When it was given a name on this engine last, where the engine says so.
    pub last_tagged_at: Option<Timestamp>,
    /// The engine's id, `sha256:…`.
    pub id: String,
    /// Names with tags.
    pub tags: Vec<String>,
    /// Names with digests.
    pub digests: Vec<String>,
    /// The defaults, in the words of a service: command, entry point, environment, user, working
    /// directory, labels, stop signal, health check, exposed ports and anonymous volumes.
    pub defaults: ServiceSpec,
    /// `os/arch[/variant]`.
    pub platform: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Creation time.
    pub created_at: Option<Timestamp>,
}

/// One network as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkFacts {
    /// The engine's id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// `local`, `swarm`, `global`.
    pub scope: String,
    /// The driver's options.
    pub driver_options: BTreeMap<String, String>,
    /// No way out of the host.
    pub internal: bool,
    /// Others may join.
    pub attachable: bool,
    /// IPv6 addresses as well.
    pub enable_ipv6: bool,
    /// Address management.
    pub ipam: Ipam,
    /// All labels.
    pub labels: BTreeMap<String, String>,
}

/// One volume as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeFacts {
    /// The name.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// The driver's options.
    pub driver_options: BTreeMap<String, String>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Where its data lies on the engine's host.
    pub mountpoint: String,
}

/// The engine itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineFacts {
    /// The id it keeps for its life.
    pub id: String,
    /// Its host's name.
    pub name: String,
    /// Version of the engine.
    pub version: String,
    /// Highest version of the API it speaks.
    pub api_version: String,
    /// Kernel of its host.
    pub kernel_version: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Storage driver.
    pub storage_driver: String,
    /// The log driver of containers that name none.
    pub logging_driver: String,
    /// Processors.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Where it keeps its data.
    pub root_dir: String,
    /// What it warns of.
    pub warnings: Vec<String>,
    /// What decides how safe its containers are.
    pub daemon: DaemonFacts,
}
