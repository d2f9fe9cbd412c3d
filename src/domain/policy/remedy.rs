//! Says how a service has to change so that a check passes. Owns the changes that a machine can
//! make, and what each of them does to a contract. Face: `Remedy`, `LiveChange`, `SpecChange`.
//! Never acts, and never guesses: where only a person knows what is right there is no remedy.

use std::fmt;

use serde::Serialize;

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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(change) => change.fmt(f),
            Self::Recreate(changes) => {
                let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(", "))
            }
        }
    }
}

impl fmt::Display for LiveChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if let Some(bytes) = self.memory_bytes {
            words.push(format!("its memory is limited to {bytes} bytes"));
        }
        if let Some(nano_cpus) = self.nano_cpus {
            let (whole, part) = (nano_cpus / 1_000_000_000, nano_cpus % 1_000_000_000);
            let part = format!("{part:09}");
            let part = part.trim_end_matches('0');
            let dot = if part.is_empty() { "" } else { "." };
            words.push(format!("its CPU time is limited to {whole}{dot}{part} CPUs"));
        }
        if let Some(pids) = self.pids_max {
            words.push(format!("its processes are limited to {pids}"));
        }
        if let Some(restart) = self.restart {
            let policy = match restart {
                RestartPolicy::No => "no".to_owned(),
                RestartPolicy::Always => "always".to_owned(),
                RestartPolicy::OnFailure { retries_max } => format!("on-failure:{retries_max}"),
                RestartPolicy::UnlessStopped => "unless-stopped".to_owned(),
            };
            words.push(format!("its restart policy is {policy}"));
        }
        f.write_str(&words.join(", "))
    }
}

impl fmt::Display for SpecChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unprivileged => f.write_str("it is not privileged"),
            Self::ReadOnlyRoot => f.write_str("its root file system is read-only"),
            Self::RemoveCapability(name) => write!(f, "capability `{name}` is not added"),
            Self::DropCapability(name) => write!(f, "capability `{name}` is dropped"),
            Self::AddSecurityOption(option) => write!(f, "security option `{option}` is added"),
            Self::RemoveSecurityOption(option) => {
                write!(f, "security option `{option}` is left out")
            }
            Self::RemoveSysctl(name) => write!(f, "kernel parameter `{name}` is not set"),
            Self::RemoveDevice(source) => write!(f, "device `{source}` is left out"),
            Self::RemoveDeviceRule(rule) => write!(f, "device rule `{rule}` is left out"),
            Self::OwnNamespace(namespace) => {
                let kind = match namespace {
                    Namespace::Pid => "process",
                    Namespace::Ipc => "IPC",
                    Namespace::Uts => "host name",
                    Namespace::User => "user",
                    Namespace::Cgroup => "control group",
                };
                write!(f, "it has a {kind} namespace of its own")
            }
            Self::DefaultCgroupParent => f.write_str("its control group is the engine's"),
            Self::RemoveMount(target) => write!(f, "nothing is mounted at `{target}`"),
            Self::ReadOnlyMount(target) => write!(f, "what is mounted at `{target}` is read-only"),
            Self::PrivateMount(target) => {
                write!(f, "what is mounted at `{target}` does not spread")
            }
            Self::BindPorts(address) => write!(f, "its ports are published on {address} alone"),
            Self::RemoveUlimit(name) => write!(f, "process limit `{name}` is the engine's"),
            Self::Logging(logging) => {
                let driver = logging.driver.as_deref().unwrap_or("the engine's");
                write!(f, "its log driver is {driver}")?;
                let mut options = logging.options.iter();
                options.try_for_each(|(name, value)| write!(f, " {name}={value}"))
            }
            Self::Image(reference) => write!(f, "its image is `{reference}`"),
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
