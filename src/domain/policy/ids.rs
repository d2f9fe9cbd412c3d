//! Names every check. Owns the ids: they stand in configurations, policies, findings and
//! exceptions, and never change. Face: `CheckId`, `RULES`. Never judges.

use crate::base::keyed::keyed;

/// Declares the ids, and what stands for each of them among ids of other kinds.
macro_rules! check_ids {
    ($($(#[$doc:meta])* $member:ident = $key:literal,)+) => {
        keyed! {
            /// A check, by its stable id.
            pub enum CheckId: "check" {
                $($(#[$doc])* $member = $key,)+
            }
        }

        impl CheckId {
            /// The id where rules of several kinds stand together: in diagnostics, notices and
            /// SARIF.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$member => concat!("rule.", $key),)+
                }
            }
        }
    };
}

/// The checks that each stage has a word about in the agent's configuration.
pub const RULES: [CheckId; 5] = [
    CheckId::HealthCheck,
    CheckId::NonRootUser,
    CheckId::ExternalSecrets,
    CheckId::ImageTag,
    CheckId::Limits,
];

check_ids! {
    /// Every service has a health check.
    HealthCheck = "health_check",
    /// A service does not run as root.
    NonRootUser = "non_root_user",
    /// Secrets come from files outside of the configuration alone.
    ExternalSecrets = "external_secrets",
    /// Images have a specific tag.
    ImageTag = "image_tag",
    /// CPU and memory are limited.
    Limits = "limits",

    /// No container has all privileges.
    Privileged = "privileged",
    /// No capability that gives the host away.
    CapabilitiesDangerous = "capabilities_dangerous",
    /// No capability beyond the allowed ones.
    CapabilitiesAdded = "capabilities_added",
    /// All capabilities are dropped before some are added.
    CapabilitiesDropped = "capabilities_dropped",
    /// No process gains privileges that it was not started with.
    NoNewPrivileges = "no_new_privileges",
    /// A seccomp profile is in force.
    Seccomp = "seccomp",
    /// An AppArmor profile is in force.
    Apparmor = "apparmor",
    /// SELinux confines it.
    Selinux = "selinux",
    /// The root file system is read-only.
    ReadOnlyRoot = "read_only_root",
    /// The kernel's own files stay masked.
    MaskedPaths = "masked_paths",
    /// Kernel parameters stay as they are, except harmless ones.
    Sysctls = "sysctls",
    /// No control group other than the engine's.
    CgroupParent = "cgroup_parent",
    /// No devices of the host.
    Devices = "devices",
    /// No devices that are the host itself.
    DevicesDangerous = "devices_dangerous",

    /// The network is not the host's.
    HostNetwork = "host_network",
    /// The process table is not the host's.
    HostPid = "host_pid",
    /// Shared memory is not the host's.
    HostIpc = "host_ipc",
    /// The host name is not the host's.
    HostUts = "host_uts",
    /// The users are not the host's.
    HostUserns = "host_userns",
    /// The view of control groups is not the host's.
    HostCgroupns = "host_cgroupns",
    /// No namespace is that of another container.
    JoinedNamespace = "joined_namespace",

    /// No engine can be commanded from inside.
    DockerSocket = "docker_socket",
    /// No sensitive path of the host is mounted.
    HostPaths = "host_paths",
    /// Mounts do not spread to the host.
    MountPropagation = "mount_propagation",
    /// No volume has several writers.
    SharedVolume = "shared_volume",

    /// No port of the host below 1024.
    PortsPrivileged = "ports_privileged",
    /// No port of a container below 1024 is published.
    ContainerPortsPrivileged = "container_ports_privileged",
    /// Ports are open on a particular address.
    PortsInterface = "ports_interface",
    /// Only needed ports are open.
    PortsNeeded = "ports_needed",
    /// Not on the engine's default bridge.
    DefaultBridge = "default_bridge",
    /// Not on the network that every service of a project is on.
    DefaultNetwork = "default_network",

    /// Memory is limited.
    MemoryLimit = "memory_limit",
    /// CPU time is limited or weighted.
    CpuLimit = "cpu_limit",
    /// The number of processes is limited.
    PidsLimit = "pids_limit",
    /// Process limits are not raised without bound.
    Ulimits = "ulimits",
    /// Restarts are bounded.
    RestartPolicy = "restart_policy",
    /// Logs do not fill the disk.
    LogRotation = "log_rotation",
    /// Somebody keeps the logs.
    LoggingDisabled = "logging_disabled",
    /// No ssh server runs inside.
    SshServer = "ssh_server",

    /// No secrets in the environment.
    EnvironmentSecrets = "environment_secrets",
    /// No secret in a command.
    CommandSecrets = "command_secrets",
    /// Images come from trusted registries.
    ImageRegistry = "image_registry",
    /// Images are pinned by digest.
    ImageDigest = "image_digest",
    /// Images are not old.
    ImageAge = "image_age",
    /// Images say where they come from.
    ImageProvenance = "image_provenance",

    /// The engine is no part of a swarm.
    HostSwarm = "host_swarm",
    /// Containers of the default bridge do not reach each other.
    HostIcc = "host_icc",
    /// The daemon logs what matters and no more.
    HostLogLevel = "host_log_level",
    /// The daemon manages the firewall.
    HostIptables = "host_iptables",
    /// No registry is spoken to without a checked certificate.
    HostInsecureRegistries = "host_insecure_registries",
    /// The storage driver is a maintained one.
    HostStorageDriver = "host_storage_driver",
    /// Whoever commands the daemon over TCP shows a certificate.
    HostTls = "host_tls",
    /// Process limits have defaults.
    HostUlimits = "host_ulimits",
    /// Root inside is nobody outside.
    HostUsernsRemap = "host_userns_remap",
    /// Containers are below the engine's control group.
    HostCgroupParent = "host_cgroup_parent",
    /// The size of containers' disks is the default one.
    HostBaseDeviceSize = "host_base_device_size",
    /// Calls of the engine's API are authorised.
    HostAuthorization = "host_authorization",
    /// Logs go to a central place.
    HostCentralLogging = "host_central_logging",
    /// Containers do not gain privileges unless they say so.
    HostNoNewPrivileges = "host_no_new_privileges",
    /// Containers outlive the daemon's restart.
    HostLiveRestore = "host_live_restore",
    /// The kernel forwards ports, and no proxy process.
    HostUserlandProxy = "host_userland_proxy",
    /// The daemon's seccomp profile is in force.
    HostSeccomp = "host_seccomp",
    /// No experimental features.
    HostExperimental = "host_experimental",
    /// Whose the daemon's service unit is.
    HostFileService = "host_file_service",
    /// Whose the unit of the daemon's socket is.
    HostFileSocketUnit = "host_file_socket_unit",
    /// Whose the daemon's configuration folder is.
    HostFileFolder = "host_file_folder",
    /// Whose the certificates of registries are.
    HostFileRegistryCertificates = "host_file_registry_certificates",
    /// Whose the daemon's certificate authority is.
    HostFileTlsAuthority = "host_file_tls_authority",
    /// Whose the daemon's certificate is.
    HostFileTlsCertificate = "host_file_tls_certificate",
    /// Whose the daemon's key is.
    HostFileTlsKey = "host_file_tls_key",
    /// Whose the daemon's socket is.
    HostFileSocket = "host_file_socket",
    /// Whose the daemon's configuration is.
    HostFileConfiguration = "host_file_configuration",
    /// Whose the daemon's environment is, on Debian's kind of systems.
    HostFileDefaults = "host_file_defaults",
    /// Whose the daemon's environment is, on Red Hat's kind of systems.
    HostFileSysconfig = "host_file_sysconfig",
    /// Whose containerd's socket is.
    HostFileContainerdSocket = "host_file_containerd_socket",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_check_is_its_id_among_rules() {
        for check in CheckId::ALL {
            assert_eq!(check.code(), format!("rule.{check}"));
        }
    }
}
