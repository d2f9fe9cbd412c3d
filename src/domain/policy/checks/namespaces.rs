//! Checks of what a container shares with its host or with other containers. Owns how sharing is
//! followed: who joins a container that is in the host's namespace is in it too. Face: `CHECKS`.
//! Never takes a container that is not known for a harmless one.

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, is_failure, peer, unknown};
use crate::domain::alerts::Severity;
use crate::domain::policy::{Namespace, Remedy, SpecChange};
use crate::facts::{DaemonOption, NetworkMode, ServiceSpec};

pub(super) const CHECKS: [Check; 7] = [
    Check {
        id: CheckId::HostNetwork,
        title: "No container uses the host's network",
        severity: Severity::High,
        rationale: "It reaches every service that listens on the host's own address alone, and \
                    opens ports that nobody declared.",
        remediation: "join a network, and publish the ports that are needed",
        cis: &["5.10"],
        judge: |subject, _| judged(subject, network, "network", "network_mode"),
        remedy: None,
    },
    Check {
        id: CheckId::HostPid,
        title: "No container sees the host's processes",
        severity: Severity::High,
        rationale: "It reads their environments and memory, and can end them.",
        remediation: "remove `pid: host`",
        cis: &["5.16"],
        judge: |subject, _| judged(subject, pid, "process", "pid"),
        remedy: Some(|subject, _| own(subject, pid, Namespace::Pid)),
    },
    Check {
        id: CheckId::HostIpc,
        title: "No container uses the host's shared memory",
        severity: Severity::High,
        rationale: "It reads and writes what processes of the host share with each other.",
        remediation: "remove `ipc: host`; `ipc: shareable` and `shm_size` cover most needs",
        cis: &["5.17"],
        judge: |subject, _| judged(subject, ipc, "IPC", "ipc"),
        remedy: Some(|subject, _| own(subject, ipc, Namespace::Ipc)),
    },
    Check {
        id: CheckId::HostUts,
        title: "No container can change the host's name",
        severity: Severity::Medium,
        rationale: "With the host's UTS namespace it sees the host's name, and changes it.",
        remediation: "remove `uts: host`",
        cis: &["5.21"],
        judge: |subject, _| judged(subject, uts, "UTS", "uts"),
        remedy: Some(|subject, _| own(subject, uts, Namespace::Uts)),
    },
    Check {
        id: CheckId::HostUserns,
        title: "No container is taken out of user namespaces",
        severity: Severity::Medium,
        rationale: "Where the daemon maps users, root inside is nobody outside; `host` takes \
                    that away from this container.",
        remediation: "remove `userns_mode: host`",
        cis: &["5.31"],
        judge: |subject, _| judged(subject, userns, "user", "userns_mode"),
        remedy: Some(|subject, _| own(subject, userns, Namespace::User)),
    },
    Check {
        id: CheckId::HostCgroupns,
        title: "No container sees the host's control groups",
        severity: Severity::Low,
        rationale: "It learns what else runs on the host, and where its own group lies.",
        remediation: "declare `cgroup: private`",
        cis: &[],
        judge: host_cgroupns,
        remedy: Some(|subject, parameters| {
            let is_wrong = is_failure(&host_cgroupns(subject, parameters));
            let change = SpecChange::OwnNamespace(Namespace::Cgroup);
            is_wrong.then(|| Remedy::Recreate(vec![change]))
        }),
    },
    Check {
        id: CheckId::JoinedNamespace,
        title: "No container shares the namespaces of another one",
        severity: Severity::Low,
        rationale: "What is in one network, process or IPC namespace is not kept apart: who \
                    breaks into one of the two is in the other as well.",
        remediation: "connect services by a network and volumes, or except this pair",
        cis: &[],
        judge: joined,
        remedy: None,
    },
];

/// Whose namespace it is.
enum Share<'a> {
    Own,
    Host,
    /// That of another container, by the name that refers to it.
    Of(&'a str),
}

type Look = for<'a> fn(&'a ServiceSpec) -> Share<'a>;

fn network(spec: &ServiceSpec) -> Share<'_> {
    match &spec.network_mode {
        NetworkMode::Host => Share::Host,
        NetworkMode::Service(name) | NetworkMode::Container(name) => Share::Of(name),
        // An external network whose name is the word for a mode is that mode.
        NetworkMode::Networks(networks) => {
            let mut shares = networks.keys().map(|name| of_text(Some(name)));
            shares.find(|share| !matches!(share, Share::Own)).unwrap_or(Share::Own)
        }
        NetworkMode::Other(mode) => of_text(Some(mode)),
        NetworkMode::None => Share::Own,
    }
}

fn pid(spec: &ServiceSpec) -> Share<'_> {
    of_text(spec.security.pid_mode.as_deref())
}

fn ipc(spec: &ServiceSpec) -> Share<'_> {
    of_text(spec.security.ipc_mode.as_deref())
}

fn uts(spec: &ServiceSpec) -> Share<'_> {
    of_text(spec.security.uts_mode.as_deref())
}

fn userns(spec: &ServiceSpec) -> Share<'_> {
    of_text(spec.security.userns_mode.as_deref())
}

fn cgroupns(spec: &ServiceSpec) -> Share<'_> {
    of_text(spec.security.cgroupns_mode.as_deref())
}

fn of_text(mode: Option<&str>) -> Share<'_> {
    let mode = mode.unwrap_or_default().trim();
    match mode.split_once(':') {
        Some(("service" | "container", name)) => Share::Of(name),
        _ if mode.eq_ignore_ascii_case("host") => Share::Host,
        _ => Share::Own,
    }
}

/// Whether it is in the host's namespace, itself or through others; `None` when one of them is not
/// known.
fn is_hosts(subject: &Subject<'_>, look: Look) -> Option<bool> {
    let mut spec = subject.spec;
    // More containers than there are form a ring, which the engine refuses.
    for _ in 0..=subject.peers.map_or(0, <[_]>::len) {
        match look(spec) {
            Share::Own => return Some(false),
            Share::Host => return Some(true),
            Share::Of(name) => spec = peer(subject, name)?,
        }
    }
    Some(false)
}

fn judged(subject: &Subject<'_>, look: Look, what: &str, key: &str) -> Verdict {
    match is_hosts(subject, look) {
        Some(false) => Verdict::Pass,
        None => unknown(vec!["peers"]),
        Some(true) => match look(subject.spec) {
            Share::Of(name) => {
                fail(format!("it is in the host's {what} namespace, through `{name}`"), &[key])
            }
            Share::Own | Share::Host => {
                fail(format!("it is in the host's {what} namespace"), &[key])
            }
        },
    }
}

fn own(subject: &Subject<'_>, look: Look, namespace: Namespace) -> Option<Remedy> {
    let is_wrong = is_hosts(subject, look) == Some(true);
    is_wrong.then(|| Remedy::Recreate(vec![SpecChange::OwnNamespace(namespace)]))
}

/// What a service does not say the daemon decides, by its own option or by the host's version of control
/// groups: with the first, the default is the host's view. A container's report says it.
fn host_cgroupns(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let mode = subject.spec.security.cgroupns_mode.as_deref().unwrap_or_default().trim();
    if !mode.is_empty() {
        return judged(subject, cgroupns, "cgroup", "cgroup");
    }
    let key = "default-cgroupns-mode";
    let chosen = subject.host.map(|host| host.option(key, key));
    let daemon = subject.host.and_then(|host| host.daemon.as_ref());
    let is_hosts = match (&chosen, daemon) {
        (Some(DaemonOption::Set(modes)), _) if !modes.is_empty() => modes[0] == "host",
        (_, Some(daemon)) => daemon.cgroup_version == "1",
        (_, None) => return unknown(vec!["host.cgroup_version"]),
    };
    if is_hosts {
        return fail("its engine gives it the host's view of control groups", &["cgroup"]);
    }
    Verdict::Pass
}

fn joined(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let looks: [(Look, &str, &str); 3] =
        [(network, "network", "network_mode"), (pid, "process", "pid"), (ipc, "IPC", "ipc")];
    for (look, what, key) in looks {
        if let Share::Of(name) = look(subject.spec) {
            return fail(format!("it shares the {what} namespace of `{name}`"), &[key]);
        }
    }
    Verdict::Pass
}
