//! What one container of a service is meant to be, or was found to be. Owns `ServiceSpec` and its
//! parts. Face: the types. Never holds an engine's defaults: `None` and empty mean "not declared".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Secret;

/// The contract of one container: every field that decides how it runs.
///
/// Compared field by field between declaration and report. Lists whose order has no meaning are
/// sets; lengths of time are `Duration`; sizes are bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServiceSpec {
    /// The image reference as declared, such as `postgres:15.6`.
    pub image: String,
    /// `os/arch[/variant]`, when a particular one is asked for.
    pub platform: Option<String>,
    /// Arguments; `None` takes the image's.
    pub command: Option<Vec<String>>,
    /// Program; `None` takes the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Environment. Values may be secret: only keyed digests of them are ever stored or shown.
    #[serde(skip)]
    pub environment: BTreeMap<String, Secret<String>>,
    /// The user's labels, without the bookkeeping labels of Compose and of this agent.
    pub labels: BTreeMap<String, String>,
    /// Annotations for the runtime.
    pub annotations: BTreeMap<String, String>,
    /// `user[:group]`; `None` takes the image's.
    pub user: Option<String>,
    /// Additional groups.
    pub group_add: BTreeSet<String>,
    /// Absolute path; `None` takes the image's.
    pub working_dir: Option<String>,
    /// Host name inside the container.
    pub hostname: Option<String>,
    /// NIS domain name inside the container.
    pub domainname: Option<String>,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin_open: bool,
    /// Run an init process as PID 1; `None` takes the engine's default.
    pub init: Option<bool>,
    /// Signal that asks the container to stop; `None` takes the image's.
    pub stop_signal: Option<String>,
    /// How long it may take to stop before it is killed; `None` is the engine's ten seconds.
    pub stop_grace_period: Option<Duration>,
    /// What the engine does when the container exits.
    pub restart: RestartPolicy,
    /// `None` takes the image's.
    pub healthcheck: Option<Healthcheck>,
    /// Published ports.
    pub ports: BTreeSet<PortBinding>,
    /// Ports documented as open to other containers, such as `8080/tcp`.
    pub expose: BTreeSet<String>,
    /// File systems mounted into the container, by target path.
    pub mounts: BTreeMap<String, Mount>,
    /// How it is connected.
    pub network_mode: NetworkMode,
    /// `name=address` lines for `/etc/hosts`; order does not matter.
    pub extra_hosts: BTreeSet<String>,
    /// Name servers, in order.
    pub dns: Vec<String>,
    /// Search domains, in order.
    pub dns_search: Vec<String>,
    /// Resolver options, in order.
    pub dns_options: Vec<String>,
    /// Names for other containers in its networks alone (`name[:alias]`): containers outside the
    /// project, and services under an alias.
    pub external_links: BTreeSet<String>,
    /// Containers whose volumes are mounted as well (`name[:mode]`).
    pub volumes_from: BTreeSet<String>,
    /// Limits.
    pub resources: Resources,
    /// Everything that widens or narrows what the container may do.
    pub security: Security,
    /// Log driver; `None` takes the engine's default.
    pub logging: Option<Logging>,
    /// OCI runtime; `None` takes the engine's default.
    pub runtime: Option<String>,
    /// Driver options for the writable layer.
    pub storage_options: BTreeMap<String, String>,
}

/// What the engine does when a container exits.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// Starts it again, whatever happened.
    Always,
    /// Starts it again after a non-zero exit.
    OnFailure {
        /// Gives up after this many times; 0 is never.
        retries_max: u32,
    },
    /// Starts it again unless somebody stopped it.
    UnlessStopped,
}

/// How health is found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Healthcheck {
    /// The probe.
    pub probe: HealthProbe,
    /// Time between two probes; `None` everywhere below is the engine's default.
    pub interval: Option<Duration>,
    /// A probe that takes longer has failed.
    pub timeout: Option<Duration>,
    /// Failures in a row until unhealthy.
    pub retries: Option<u32>,
    /// Failures during this time after the start do not count.
    pub start_period: Option<Duration>,
    /// Time between two probes during the start period (API 1.44).
    pub start_interval: Option<Duration>,
}

/// The command of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthProbe {
    /// Switches the image's own check off.
    Disabled,
    /// Takes the image's command with the timings given here.
    Inherit,
    /// A program with arguments.
    Exec(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
}

/// A transport protocol of a port.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One published port. Ranges are expanded before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PortBinding {
    /// The port inside the container.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The address on the host; `None` is all of them.
    pub host_ip: Option<String>,
    /// The port on the host, or a range `8000-8010` to choose from; `None` lets the engine choose.
    pub host_port: Option<String>,
}

/// One file system in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Not writable.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute path on the engine's host.
        source: String,
        /// `rprivate`, `rshared`, …; `None` is the engine's default.
        propagation: Option<String>,
        /// Create a missing directory instead of failing.
        create_host_path: bool,
        /// SELinux relabelling: `z` or `Z`.
        selinux: Option<String>,
    },
    /// A volume, by its name on the engine.
    Volume {
        /// The name on the engine.
        name: String,
        /// Do not copy the image's content into an empty volume.
        no_copy: bool,
        /// A directory inside the volume (API 1.45).
        subpath: Option<String>,
    },
    /// A volume without a name, which lives as long as its container's successors.
    Anonymous,
    /// Memory.
    Tmpfs {
        /// Size limit in bytes.
        size_bytes: Option<u64>,
        /// Permission bits.
        mode: Option<u32>,
        /// Raw mount options of the short form, such as `noexec,uid=5`.
        options: Option<String>,
    },
    /// A Windows named pipe.
    NamedPipe {
        /// The pipe on the host.
        source: String,
    },
    /// A swarm cluster volume.
    Cluster {
        /// The cluster volume.
        source: String,
    },
}

/// How a container is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// Member of these networks, by name on the engine. Empty: the engine's default bridge.
    Networks(BTreeMap<String, Attachment>),
    /// The host's own network.
    Host,
    /// No network.
    None,
    /// The network of another service's container.
    Service(String),
    /// The network of a container, by name or id.
    Container(String),
    /// Another mode of the engine, word for word.
    Other(String),
}

impl Default for NetworkMode {
    fn default() -> Self {
        Self::Networks(BTreeMap::new())
    }
}

/// A membership in one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Names under which the container is found there.
    pub aliases: BTreeSet<String>,
    /// Pinned address.
    pub ipv4_address: Option<String>,
    /// Pinned address.
    pub ipv6_address: Option<String>,
    /// Link-local addresses.
    pub link_local_ips: BTreeSet<String>,
    /// Pinned hardware address.
    pub mac_address: Option<String>,
    /// Networks are connected in falling priority; the first gives the default route.
    pub priority: i64,
    /// Driver options.
    pub driver_options: BTreeMap<String, String>,
}

/// Limits of one container. Sizes in bytes; `None` is unlimited or the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Hard limit of memory.
    pub memory_bytes: Option<i64>,
    /// Soft limit of memory.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together; -1 is unlimited swap.
    pub memory_swap_bytes: Option<i64>,
    /// Tendency to swap, 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// Thousand-millionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Relative weight of CPU time.
    pub cpu_shares: Option<i64>,
    /// Microseconds of CPU time in each period.
    pub cpu_quota_micros: Option<i64>,
    /// Length of a period in microseconds.
    pub cpu_period_micros: Option<i64>,
    /// Real-time scheduling, microseconds in each period.
    pub cpu_rt_runtime_micros: Option<i64>,
    /// Real-time scheduling, length of a period in microseconds.
    pub cpu_rt_period_micros: Option<i64>,
    /// CPUs that may be used, such as `0-2`.
    pub cpuset_cpus: Option<String>,
    /// Windows: number of CPUs.
    pub cpu_count: Option<i64>,
    /// Windows: percentage of CPUs.
    pub cpu_percent: Option<i64>,
    /// Most processes; -1 is unlimited.
    pub pids_max: Option<i64>,
    /// Size of `/dev/shm`.
    pub shm_size_bytes: Option<i64>,
    /// The kernel does not kill it when memory runs out.
    pub oom_kill_disable: bool,
    /// Preference for being killed, -1000 to 1000.
    pub oom_score_adj: Option<i64>,
    /// Process limits by name.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Block device limits.
    pub blkio: BlkioLimits,
}

/// A soft and a hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ulimit {
    /// May be raised by the process up to the hard one.
    pub soft: i64,
    /// The end.
    pub hard: i64,
}

/// Block device limits: weights, and rates by device path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlkioLimits {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Relative weight by device.
    pub weight_device: BTreeMap<String, u16>,
    /// Bytes per second.
    pub read_bps: BTreeMap<String, u64>,
    /// Operations per second.
    pub read_iops: BTreeMap<String, u64>,
    /// Bytes per second.
    pub write_bps: BTreeMap<String, u64>,
    /// Operations per second.
    pub write_iops: BTreeMap<String, u64>,
}

/// The security option that hides none of the kernel's own files from a container.
pub const UNMASKED: &str = "systempaths=unconfined";

/// Everything that widens or narrows what a container may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Security {
    /// All capabilities, all devices.
    pub privileged: bool,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// Capabilities added, upper case without `CAP_`, as the compose file may spell either.
    pub cap_add: BTreeSet<String>,
    /// Capabilities dropped, in the same spelling.
    pub cap_drop: BTreeSet<String>,
    /// `no-new-privileges:true`, `seccomp=…`, `apparmor=…`, `label=…`, [`UNMASKED`].
    pub security_opt: BTreeSet<String>,
    /// `host`, or `None` for the engine's default.
    pub userns_mode: Option<String>,
    /// `host`, `private`, `shareable`, `container:…`, `service:…`.
    pub ipc_mode: Option<String>,
    /// `host`, `container:…`, `service:…`.
    pub pid_mode: Option<String>,
    /// `host`.
    pub uts_mode: Option<String>,
    /// `host` or `private`.
    pub cgroupns_mode: Option<String>,
    /// Parent control group.
    pub cgroup_parent: Option<String>,
    /// Devices of the host.
    pub devices: Vec<DeviceMapping>,
    /// Devices that a driver of the engine chooses, such as graphics cards.
    pub device_requests: Vec<DeviceRequest>,
    /// Rules such as `c 1:3 rwm`.
    pub device_cgroup_rules: BTreeSet<String>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Windows isolation technology.
    pub isolation: Option<String>,
}

/// One device of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DeviceMapping {
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Some of `rwm`.
    pub permissions: String,
}

/// Devices that a driver of the engine chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DeviceRequest {
    /// Name of the driver; `None` is the first one that has the capabilities.
    pub driver: Option<String>,
    /// How many; -1 is all of them, 0 leaves it to `device_ids`.
    pub count: i64,
    /// Which ones.
    pub device_ids: BTreeSet<String>,
    /// What they can do: everything that one of these sets names.
    pub capabilities: BTreeSet<BTreeSet<String>>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Name of the driver; `None` is the engine's default with other options.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}
