//! Checks of an engine's daemon. Owns which of its options are too open, and what counts where an
//! option is not given. Face: `CHECKS`. Never takes a default for granted before everything that
//! could change it was seen.

use super::{CheckId, HostCheck, Parameters, Verdict, fail, quoted, unknown};
use crate::domain::alerts::Severity;
use crate::facts::{DaemonFacts, DaemonOption, HostFacts};

pub(super) const CHECKS: [HostCheck; 18] = [
    HostCheck {
        id: CheckId::HostSwarm,
        title: "The engine is no part of a swarm",
        severity: Severity::Low,
        rationale: "A swarm opens ports and lets other hosts start containers here.",
        remediation: "`docker swarm leave`, unless the swarm is needed",
        cis: &["5.1"],
        judge: |host, _| daemon(host, |it| it.is_in_swarm, "the engine is part of a swarm"),
    },
    HostCheck {
        id: CheckId::HostIcc,
        title: "Containers of the default bridge do not reach each other",
        severity: Severity::Medium,
        rationale: "Otherwise each of them reaches every port of all others there.",
        remediation: "set `icc: false` in the daemon's configuration",
        cis: &["2.2"],
        judge: icc,
    },
    HostCheck {
        id: CheckId::HostLogLevel,
        title: "The daemon logs at the level `info`",
        severity: Severity::Low,
        rationale: "Less leaves out what an investigation needs; `debug` writes down too much.",
        remediation: "set `log-level: info`, and remove `debug`",
        cis: &["2.3"],
        judge: log_level,
    },
    HostCheck {
        id: CheckId::HostIptables,
        title: "The daemon manages the firewall for its networks",
        severity: Severity::Medium,
        rationale: "Without its rules networks are not kept apart.",
        remediation: "remove `iptables: false`",
        cis: &["2.4"],
        judge: |host, _| switch(host, "iptables", Want::On, Otherwise::Pass),
    },
    HostCheck {
        id: CheckId::HostInsecureRegistries,
        title: "Every registry has to show a certificate",
        severity: Severity::High,
        rationale: "Whoever is on the way to an insecure registry puts an image of their own in \
                    the place of the one that is pulled.",
        remediation: "remove it from `insecure-registries`; give the registry a certificate",
        cis: &["2.5"],
        judge: insecure_registries,
    },
    HostCheck {
        id: CheckId::HostStorageDriver,
        title: "The storage driver is one that is maintained",
        severity: Severity::Medium,
        rationale: "`aufs`, `devicemapper` and `overlay` get no repairs any more, and `vfs` is no \
                    driver for production.",
        remediation: "use `overlay2`, or the driver of the host's own file system",
        cis: &["2.6"],
        judge: storage_driver,
    },
    HostCheck {
        id: CheckId::HostTls,
        title: "Whoever commands the daemon over a network shows a certificate",
        severity: Severity::Critical,
        rationale: "Whoever reaches an open port of the daemon is root on the host.",
        remediation: "remove the `tcp://` host, or set `tlsverify` with a certificate authority",
        cis: &["2.7"],
        judge: tls,
    },
    HostCheck {
        id: CheckId::HostUlimits,
        title: "Process limits have defaults",
        severity: Severity::Low,
        rationale: "What no service limits is then limited all the same.",
        remediation: "set `default-ulimits`, such as those for `nofile` and `nproc`",
        cis: &["2.8"],
        judge: |host, _| given(host, "default-ulimits", "default-ulimit"),
    },
    HostCheck {
        id: CheckId::HostUsernsRemap,
        title: "Root inside a container is nobody outside",
        severity: Severity::Medium,
        rationale: "With mapped users whoever breaks out of a container has no rights on the host.",
        remediation: "set `userns-remap: default`, or run the engine without root",
        cis: &["2.9"],
        judge: userns_remap,
    },
    HostCheck {
        id: CheckId::HostCgroupParent,
        title: "Containers are below the engine's control group",
        severity: Severity::Low,
        rationale: "In another group the limits of the engine's own do not count.",
        remediation: "remove `cgroup-parent`",
        cis: &["2.10"],
        judge: cgroup_parent,
    },
    HostCheck {
        id: CheckId::HostBaseDeviceSize,
        title: "The size of containers' disks is the default one",
        severity: Severity::Info,
        rationale: "A larger one lets each container fill more of the host.",
        remediation: "remove `dm.basesize` from `storage-opts`",
        cis: &["2.11"],
        judge: base_device_size,
    },
    HostCheck {
        id: CheckId::HostAuthorization,
        title: "Calls of the engine's API are authorised",
        severity: Severity::Low,
        rationale: "Without a plugin whoever may call the engine at all may do everything.",
        remediation: "add an authorisation plugin, or let nobody but the agent reach the socket",
        cis: &["2.12"],
        judge: authorization,
    },
    HostCheck {
        id: CheckId::HostCentralLogging,
        title: "Logs of containers go to a central place",
        severity: Severity::Low,
        rationale: "Logs that lie on the host alone are gone with it, and can be changed by who \
                    took it over.",
        remediation: "set `log-driver` to one that sends logs away",
        cis: &["2.13"],
        judge: central_logging,
    },
    HostCheck {
        id: CheckId::HostNoNewPrivileges,
        title: "Containers gain no privileges unless they say so",
        severity: Severity::Medium,
        rationale: "What no service says is then safe all the same.",
        remediation: "set `no-new-privileges: true`",
        cis: &["2.14"],
        judge: no_new_privileges,
    },
    HostCheck {
        id: CheckId::HostLiveRestore,
        title: "Containers outlive a restart of the daemon",
        severity: Severity::Medium,
        rationale: "Otherwise each repair of the daemon stops every service, and is put off.",
        remediation: "set `live-restore: true`",
        cis: &["2.15"],
        judge: |host, _| {
            let is_wrong = |it: &DaemonFacts| !it.live_restore && !it.is_in_swarm;
            daemon(host, is_wrong, "containers end with the daemon")
        },
    },
    HostCheck {
        id: CheckId::HostUserlandProxy,
        title: "The kernel forwards published ports",
        severity: Severity::Low,
        rationale: "A proxy process for each port is more that can be attacked, and hides the \
                    address of who connects.",
        remediation: "set `userland-proxy: false`",
        cis: &["2.16"],
        judge: |host, _| switch(host, "userland-proxy", Want::Off, Otherwise::Fail),
    },
    HostCheck {
        id: CheckId::HostSeccomp,
        title: "The daemon's own seccomp profile is in force",
        severity: Severity::High,
        rationale: "What no service says is otherwise not filtered at all.",
        remediation: "remove `seccomp-profile: unconfined`; use a kernel with seccomp",
        cis: &["2.17"],
        judge: seccomp,
    },
    HostCheck {
        id: CheckId::HostExperimental,
        title: "The daemon has no experimental features",
        severity: Severity::Low,
        rationale: "They change without notice and were looked at by few.",
        remediation: "remove `experimental: true`",
        cis: &["2.18"],
        judge: |host, _| daemon(host, |it| it.is_experimental, "experimental features are on"),
    },
];

/// What is missing when the engine was not asked.
const NEEDS_DAEMON: &str = "host.daemon";
/// What is missing when not everything that configures the daemon was seen.
const NEEDS_OPTIONS: &str = "host.daemon_options";

fn daemon(host: &HostFacts, is_wrong: fn(&DaemonFacts) -> bool, message: &str) -> Verdict {
    match &host.daemon {
        Some(daemon) if is_wrong(daemon) => fail(message, &[]),
        Some(_) => Verdict::Pass,
        None => unknown(vec![NEEDS_DAEMON]),
    }
}

/// What a switch has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    On,
    Off,
}

/// What it is to leave a switch as it is by default.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    Pass,
    Fail,
}

fn is_on(values: &[String]) -> bool {
    values.last().is_some_and(|value| matches!(value.as_str(), "true" | "1" | "t" | "T" | "TRUE"))
}

/// An option that is on or off, and has one name in both places.
fn switch(host: &HostFacts, name: &str, want: Want, otherwise: Otherwise) -> Verdict {
    match host.option(name, name) {
        DaemonOption::Set(values) if is_on(&values) == (want == Want::On) => Verdict::Pass,
        DaemonOption::Set(values) => {
            let state = if is_on(&values) { "on" } else { "off" };
            fail(format!("`{name}` is {state}"), &[name])
        }
        DaemonOption::Default if otherwise == Otherwise::Pass => Verdict::Pass,
        DaemonOption::Default => fail(format!("`{name}` is not set"), &[name]),
        DaemonOption::Unknown => unknown(vec![NEEDS_OPTIONS]),
    }
}

/// An option that has to have some value.
fn given(host: &HostFacts, key: &str, argument: &str) -> Verdict {
    match host.option(key, argument) {
        DaemonOption::Set(values) if !values.is_empty() => Verdict::Pass,
        DaemonOption::Set(_) | DaemonOption::Default => fail(format!("`{key}` is not set"), &[key]),
        DaemonOption::Unknown => unknown(vec![NEEDS_OPTIONS]),
    }
}

fn icc(host: &HostFacts, _: &Parameters) -> Verdict {
    const OPTION: &str = "com.docker.network.bridge.enable_icc";
    match host.bridge_options.as_ref().and_then(|options| options.get(OPTION)) {
        Some(value) if value == "false" => Verdict::Pass,
        Some(_) => fail("containers of the default bridge reach each other", &["icc"]),
        None => switch(host, "icc", Want::Off, Otherwise::Fail),
    }
}

fn log_level(host: &HostFacts, _: &Parameters) -> Verdict {
    if let DaemonOption::Set(values) = host.option("debug", "debug")
        && is_on(&values)
    {
        return fail("`debug` is on", &["debug"]);
    }
    match host.option("log-level", "log-level") {
        DaemonOption::Set(values) if values.last().is_none_or(|level| level == "info") => {
            Verdict::Pass
        }
        DaemonOption::Set(values) => {
            let level = values.last().cloned().unwrap_or_default();
            fail(format!("the daemon logs at the level `{level}`"), &["log-level"])
        }
        DaemonOption::Default => Verdict::Pass,
        DaemonOption::Unknown => unknown(vec![NEEDS_OPTIONS]),
    }
}

/// The engine itself trusts its own host.
fn is_loopback(registry: &str) -> bool {
    let host = registry.split('/').next().unwrap_or_default();
    let is_v6 = host.starts_with("::1") || host.starts_with("[::1]");
    let name = host.split(':').next().unwrap_or_default();
    let is_v4 = name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_v6 || is_v4 || name == "localhost"
}

fn insecure_registries(host: &HostFacts, _: &Parameters) -> Verdict {
    const KEY: &str = "insecure-registries";
    let registries: Vec<String> = match &host.daemon {
        Some(daemon) => daemon.insecure_registries.iter().cloned().collect(),
        None => match host.option(KEY, "insecure-registry") {
            DaemonOption::Set(values) => values,
            DaemonOption::Default => Vec::new(),
            DaemonOption::Unknown => return unknown(vec![NEEDS_DAEMON]),
        },
    };
    let open: Vec<&str> =
        registries.iter().map(String::as_str).filter(|registry| !is_loopback(registry)).collect();
    match open.is_empty() {
        true => Verdict::Pass,
        false => fail(format!("{} need not show a certificate", quoted(open)), &[KEY]),
    }
}

fn storage_driver(host: &HostFacts, _: &Parameters) -> Verdict {
    const OLD: [&str; 4] = ["aufs", "devicemapper", "overlay", "vfs"];
    let is_old = |daemon: &DaemonFacts| OLD.contains(&daemon.storage_driver.as_str());
    match &host.daemon {
        Some(daemon) if is_old(daemon) => {
            fail(format!("the storage driver is `{}`", daemon.storage_driver), &["storage-driver"])
        }
        Some(_) => Verdict::Pass,
        None => unknown(vec![NEEDS_DAEMON]),
    }
}

fn tls(host: &HostFacts, _: &Parameters) -> Verdict {
    let mut warned = host.daemon.iter().flat_map(|daemon| &daemon.warnings);
    let at = &["hosts"];
    if warned.any(|warning| warning.contains("API is accessible on")) {
        return fail("the engine says itself that its API is open to the network", at);
    }
    let hosts = match host.option("hosts", "host") {
        DaemonOption::Set(hosts) => hosts,
        DaemonOption::Default => return Verdict::Pass,
        DaemonOption::Unknown => return unknown(vec![NEEDS_OPTIONS]),
    };
    let is_local = |host: &&String| {
        ["unix://", "fd://", "npipe://"].iter().any(|scheme| host.starts_with(scheme))
    };
    let Some(open) = hosts.iter().find(|host| !is_local(host)) else { return Verdict::Pass };
    match host.option("tlsverify", "tlsverify") {
        DaemonOption::Set(values) if is_on(&values) => Verdict::Pass,
        DaemonOption::Unknown => unknown(vec![NEEDS_OPTIONS]),
        _ => fail(format!("whoever reaches `{open}` commands the daemon"), at),
    }
}

fn userns_remap(host: &HostFacts, _: &Parameters) -> Verdict {
    let known = |name| host.security_option(name);
    match (known("userns"), known("rootless")) {
        (Some(Some(_)), _) | (_, Some(Some(_))) => Verdict::Pass,
        (Some(None), _) => fail("users of containers are users of the host", &["userns-remap"]),
        (None, _) => given(host, "userns-remap", "userns-remap"),
    }
}

fn cgroup_parent(host: &HostFacts, _: &Parameters) -> Verdict {
    match host.option("cgroup-parent", "cgroup-parent") {
        DaemonOption::Set(values) => match values.last().map(String::as_str) {
            None | Some("" | "docker" | "/docker" | "system.slice") => Verdict::Pass,
            Some(parent) => fail(format!("containers are below `{parent}`"), &["cgroup-parent"]),
        },
        DaemonOption::Default => Verdict::Pass,
        DaemonOption::Unknown => unknown(vec![NEEDS_OPTIONS]),
    }
}

fn base_device_size(host: &HostFacts, _: &Parameters) -> Verdict {
    match host.option("storage-opts", "storage-opt") {
        DaemonOption::Set(values) if values.iter().any(|it| it.starts_with("dm.basesize")) => {
            fail("`dm.basesize` is set", &["storage-opts"])
        }
        DaemonOption::Set(_) | DaemonOption::Default => Verdict::Pass,
        DaemonOption::Unknown => unknown(vec![NEEDS_OPTIONS]),
    }
}

fn authorization(host: &HostFacts, _: &Parameters) -> Verdict {
    match &host.daemon {
        Some(daemon) if !daemon.authorization_plugins.is_empty() => Verdict::Pass,
        Some(_) => fail("nobody is asked before a call", &["authorization-plugins"]),
        None => given(host, "authorization-plugins", "authorization-plugin"),
    }
}

fn central_logging(host: &HostFacts, _: &Parameters) -> Verdict {
    let driver = host.daemon.as_ref().map(|daemon| daemon.logging_driver.as_str());
    match driver {
        Some(driver @ ("json-file" | "local" | "none")) => {
            fail(format!("the log driver is `{driver}`"), &["log-driver"])
        }
        Some("") | None => unknown(vec![NEEDS_DAEMON]),
        Some(_) => Verdict::Pass,
    }
}

fn no_new_privileges(host: &HostFacts, _: &Parameters) -> Verdict {
    const NAME: &str = "no-new-privileges";
    match host.security_option(NAME) {
        Some(Some(_)) => Verdict::Pass,
        Some(None) => fail(format!("`{NAME}` is not set"), &[NAME]),
        None => switch(host, NAME, Want::On, Otherwise::Fail),
    }
}

fn seccomp(host: &HostFacts, _: &Parameters) -> Verdict {
    match host.security_option("seccomp") {
        None => unknown(vec![NEEDS_DAEMON]),
        Some(None) => fail("the engine has no seccomp", &["seccomp-profile"]),
        Some(Some(profile)) if profile.ends_with("unconfined") => {
            fail("the daemon's seccomp profile is `unconfined`", &["seccomp-profile"])
        }
        Some(Some(_)) => Verdict::Pass,
    }
}
