//! Says how a service has to change so that a check passes. Owns the changes that a machine can
//! make, and what each of them does to a contract. Face: `Remedy`, `LiveChange`, `SpecChange`.
//! Never acts, and never guesses: where only a person knows what is right there is no remedy.

use serde::{Deserialize, Serialize};

use crate::facts::{LiveSettings, Logging, MountKind, NetworkMode, RestartPolicy, ServiceSpec};

/// What a machine can do about a failed check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// The engine changes it on the container that runs.
    Live(LiveChange),
    /// The container has to be made anew with these changes.
    Recreate(Vec<SpecChange>),
}

/// Live settings to set; `None` leaves one as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveChange {
    /// Hard limit of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<i64>,
    /// Thousand-millionths of a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<i64>,
    /// Most processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<i64>,
    /// What the engine does when the container exits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
}

/// A namespace that a container can share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// Processes.
    Pid,
    /// Shared memory and message queues.
    Ipc,
    /// Host name.
    Uts,
    /// Users.
    User,
    /// Control groups.
    Cgroup,
}

/// One change of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpecChange {
    /// Not privileged any more.
    Unprivileged,
    /// The root file system becomes read-only.
    ReadOnlyRoot,
    /// A capability is not added any more.
    RemoveCapability(String),
    /// A capability, or `ALL`, is dropped.
    DropCapability(String),
    /// A security option is added.
    AddSecurityOption(String),
    /// A security option goes, in exactly this spelling.
    RemoveSecurityOption(String),
    /// A kernel parameter is not set any more.
    RemoveSysctl(String),
    /// A device of the host is not passed on any more.
    RemoveDevice(String),
    /// A rule about devices goes.
    RemoveDeviceRule(String),
    /// Back to a namespace of its own.
    OwnNamespace(Namespace),
    /// Back to the engine's control group.
    DefaultCgroupParent,
    /// What is mounted at this path inside is not mounted any more.
    RemoveMount(String),
    /// What is mounted at this path inside cannot be written any more.
    ReadOnlyMount(String),
    /// What is mounted at this path inside does not spread any more.
    PrivateMount(String),
    /// Ports on all addresses are published on this one.
    BindPorts(String),
    /// A process limit is not raised any more.
    RemoveUlimit(String),
    /// The log driver and its options.
    Logging(Logging),
    /// Another reference to an image.
    Image(String),
}

impl Remedy {
    /// The contract as it would be.
    pub fn apply(&self, spec: &mut ServiceSpec) {
        match self {
            Self::Live(change) => {
                let mut live = LiveSettings::of(spec);
                change.apply(&mut live);
                live.write_to(spec);
            }
            Self::Recreate(changes) => changes.iter().for_each(|change| change.apply(spec)),
        }
    }
}

impl LiveChange {
    /// The settings as they would be.
    pub fn apply(&self, settings: &mut LiveSettings) {
        settings.memory_bytes = self.memory_bytes.or(settings.memory_bytes);
        settings.nano_cpus = self.nano_cpus.or(settings.nano_cpus);
        settings.pids_max = self.pids_max.or(settings.pids_max);
        settings.restart = self.restart.unwrap_or(settings.restart);
    }
}

impl SpecChange {
    /// Makes the change.
    pub fn apply(&self, spec: &mut ServiceSpec) {
        let security = &mut spec.security;
        match self {
            Self::Unprivileged => security.privileged = false,
            Self::ReadOnlyRoot => security.read_only = true,
            Self::RemoveCapability(name) => drop(security.cap_add.remove(name)),
            Self::DropCapability(name) => drop(security.cap_drop.insert(name.clone())),
            Self::AddSecurityOption(option) => drop(security.security_opt.insert(option.clone())),
            Self::RemoveSecurityOption(option) => drop(security.security_opt.remove(option)),
            Self::RemoveSysctl(name) => drop(security.sysctls.remove(name)),
            Self::RemoveDevice(source) => {
                security.devices.retain(|device| device.source != *source);
            }
            Self::RemoveDeviceRule(rule) => drop(security.device_cgroup_rules.remove(rule)),
            Self::OwnNamespace(namespace) => match namespace {
                Namespace::Pid => security.pid_mode = None,
                Namespace::Ipc => security.ipc_mode = None,
                Namespace::Uts => security.uts_mode = None,
                Namespace::User => security.userns_mode = None,
                Namespace::Cgroup => security.cgroupns_mode = Some("private".to_owned()),
            },
            Self::DefaultCgroupParent => security.cgroup_parent = None,
            Self::RemoveMount(target) => drop(spec.mounts.remove(target)),
            Self::ReadOnlyMount(target) => {
                if let Some(mount) = spec.mounts.get_mut(target) {
                    mount.read_only = true;
                }
            }
            Self::PrivateMount(target) => {
                let mount = spec.mounts.get_mut(target);
                if let Some(MountKind::Bind { propagation, .. }) =
                    mount.map(|mount| &mut mount.kind)
                {
                    *propagation = None;
                }
            }
            Self::BindPorts(address) => bind_ports(spec, address),
            Self::RemoveUlimit(name) => drop(spec.resources.ulimits.remove(name)),
            Self::Logging(logging) => spec.logging = Some(logging.clone()),
            Self::Image(reference) => spec.image.clone_from(reference),
        }
    }
}

fn bind_ports(spec: &mut ServiceSpec, address: &str) {
    if spec.network_mode == NetworkMode::Host {
        return;
    }
    let ports = std::mem::take(&mut spec.ports).into_iter();
    spec.ports = ports
        .map(|mut port| {
            if super::checks::network::is_every_address(port.host_ip.as_deref()) {
                port.host_ip = Some(address.to_owned());
            }
            port
        })
        .collect();
}
