//! Checks of how a container is reached. Owns which ports and addresses are too open. Face:
//! `CHECKS`, `is_every_address`. Never judges ports of a container in the host's network: nothing
//! publishes those.

use std::net::IpAddr;

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, unknown};
use crate::domain::alerts::Severity;
use crate::domain::policy::{Remedy, SpecChange};
use crate::facts::{DaemonOption, NetworkMode, PortBinding};

/// The first port that needs no privilege.
const PRIVILEGED_END: u16 = 1024;

pub(super) const CHECKS: [Check; 6] = [
    Check {
        id: CheckId::PortsPrivileged,
        title: "No port of the host below 1024 is published",
        severity: Severity::Low,
        rationale: "Others trust what answers there to be run by the host's administrator, and \
                    services of the host may need them.",
        remediation: "publish a port above 1023, or allow it with `ports_privileged_allowed`",
        cis: &["5.8"],
        judge: ports_privileged,
        remedy: None,
    },
    Check {
        id: CheckId::ContainerPortsPrivileged,
        title: "No port of a container below 1024 is published",
        severity: Severity::Info,
        rationale: "A program that listens there is started as root, or holds \
                    `NET_BIND_SERVICE`, wherever the host does not open these ports to all.",
        remediation: "let the program listen above 1023; the port of the host may stay",
        cis: &[],
        judge: container_ports_privileged,
        remedy: None,
    },
    Check {
        id: CheckId::PortsInterface,
        title: "Ports are published on a particular address",
        severity: Severity::Medium,
        rationale: "A port on all addresses is open on each network that the host is or will be \
                    in, and the engine opens the firewall for it.",
        remediation: "write the address: `127.0.0.1:8080:80`",
        cis: &["5.14"],
        judge: ports_interface,
        remedy: Some(bind_ports),
    },
    Check {
        id: CheckId::PortsNeeded,
        title: "Only ports that are needed are published",
        severity: Severity::Low,
        rationale: "Each open port is a way in that somebody has to watch.",
        remediation: "remove it from `ports`, or list it in `ports_needed`",
        cis: &["5.9"],
        judge: ports_needed,
        remedy: None,
    },
    Check {
        id: CheckId::DefaultBridge,
        title: "No container is on the engine's default bridge",
        severity: Severity::Medium,
        rationale: "On `docker0` every container reaches every other one, whatever project it is \
                    of.",
        remediation: "join a network of the project",
        cis: &["5.30"],
        judge: default_bridge,
        remedy: None,
    },
    Check {
        id: CheckId::DefaultNetwork,
        title: "Services name the networks that they join",
        severity: Severity::Info,
        rationale: "A service that names none is on the project's default network with all others \
                    that name none: who breaks into one of them reaches all.",
        remediation: "declare `networks`, one for each group of services that talk to each other",
        cis: &[],
        judge: default_network,
        remedy: None,
    },
];

fn published<'a>(subject: &Subject<'a>) -> impl Iterator<Item = &'a PortBinding> {
    let is_hosts = subject.spec.network_mode == NetworkMode::Host;
    subject.spec.ports.iter().filter(move |_| !is_hosts)
}

/// Address and port of the host. The long form takes any text for the port, and some write
/// `published: 127.0.0.1:8080`: it says which address is meant, whatever an engine makes of it.
fn at_host(port: &PortBinding) -> (Option<&str>, Option<&str>) {
    let (address, text) = (port.host_ip.as_deref(), port.host_port.as_deref());
    match text {
        Some(text) if text.parse::<IpAddr>().is_ok() => (address.or(Some(text)), None),
        Some(text) => match text.rsplit_once(':') {
            Some((before, text)) => (address.or(Some(before)), Some(text)),
            None => (address, Some(text)),
        },
        None => (address, None),
    }
}

/// Ports of the host; none when the engine chooses one.
fn host_ports(port: &PortBinding) -> Option<(u16, u16)> {
    let (_, text) = at_host(port);
    let text = text.filter(|text| !text.is_empty())?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first > 0).then_some((first, last))
}

fn ports_privileged(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let is_wrong =
        |port: &u16| *port < PRIVILEGED_END && !parameters.ports_privileged_allowed.contains(port);
    let ranges = published(subject).filter_map(host_ports);
    let mut wrong = ranges
        .filter_map(|(first, last)| (first..=last.min(PRIVILEGED_END)).find(|port| is_wrong(port)));
    match wrong.next() {
        Some(port) => fail(format!("port {port} of the host is published"), &["ports"]),
        None => Verdict::Pass,
    }
}

fn container_ports_privileged(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let mut ports = published(subject).map(|port| port.container_port);
    match ports.find(|port| (1..PRIVILEGED_END).contains(port)) {
        Some(port) => fail(format!("port {port} of the container is published"), &["ports"]),
        None => Verdict::Pass,
    }
}

/// Does an address of a published port stand for all of them? Nothing does, and every way to write
/// zero.
pub(in crate::domain::policy) fn is_every_address(address: Option<&str>) -> bool {
    let text = address.unwrap_or_default().trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() || bare == "*" {
        return true;
    }
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_unspecified(),
        // `0`, `0.0`, `00.0.0.0`: old libraries read them as zero.
        Err(_) => bare.bytes().all(|byte| matches!(byte, b'0' | b'.' | b'x')),
    }
}

fn is_open(subject: &Subject<'_>, port: &PortBinding) -> bool {
    let (address, _) = at_host(port);
    if !is_every_address(address) {
        return false;
    }
    // What says no address at all gets the daemon's.
    let says_nothing = address.is_none_or(|address| address.trim().is_empty());
    let by_host = subject.host.map(|host| host.option("ip", "ip"));
    match by_host {
        Some(DaemonOption::Set(values)) if says_nothing => {
            is_every_address(values.first().map(String::as_str))
        }
        _ => true,
    }
}

fn ports_interface(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    match published(subject).find(|port| is_open(subject, port)) {
        Some(port) => {
            fail(format!("port {} is published on all addresses", port.container_port), &["ports"])
        }
        None => Verdict::Pass,
    }
}

fn bind_ports(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let address = parameters.ports_address.filter(|address| !address.is_unspecified())?;
    published(subject).find(|port| is_open(subject, port))?;
    Some(Remedy::Recreate(vec![SpecChange::BindPorts(address.to_string())]))
}

fn ports_needed(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let mut ports = published(subject).map(|port| port.container_port).peekable();
    if ports.peek().is_none() {
        return Verdict::Pass;
    }
    let Some(needed) = &parameters.ports_needed else {
        return unknown(vec!["parameters.ports_needed"]);
    };
    match ports.find(|port| !needed.contains(port)) {
        Some(port) => fail(format!("port {port} is published and not needed"), &["ports"]),
        None => Verdict::Pass,
    }
}

fn default_bridge(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let is_default = match &subject.spec.network_mode {
        NetworkMode::Networks(networks) => networks.is_empty() || networks.contains_key("bridge"),
        NetworkMode::Other(mode) => mode == "bridge" || mode == "default",
        _ => false,
    };
    match is_default {
        true => fail("it is on the engine's default bridge", &["network_mode"]),
        false => Verdict::Pass,
    }
}

/// The network that Compose makes for services that name none is called after the project.
fn default_network(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let is_default = |name: &String| match subject.project {
        Some(project) => name.strip_prefix(project) == Some("_default"),
        None => name.ends_with("_default"),
    };
    match &subject.spec.network_mode {
        NetworkMode::Networks(networks) if networks.keys().any(is_default) => {
            fail("it is on the project's default network", &["networks"])
        }
        _ => Verdict::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::is_every_address;

    #[test]
    fn zero_is_every_address_however_it_is_written() {
        for text in
            ["", "0.0.0.0", "::", "[::]", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "0", "*", " 0.0.0.0"]
        {
            assert!(is_every_address(Some(text)), "{text}");
        }
        assert!(is_every_address(None));
        for text in ["127.0.0.1", "::1", "[::1]", "10.0.0.1", "eth0"] {
            assert!(!is_every_address(Some(text)), "{text}");
        }
    }
}
