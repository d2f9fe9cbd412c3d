//! Lowers what connects a container: networks, ports, links. Owns these translations. Face: `mode`,
//! `ports`, `expose`, `links`. Never chooses an address or a port.

use std::collections::{BTreeMap, BTreeSet};

use super::section::Section;
use super::service::Context;
use crate::domain::compose::ports::range;
use crate::facts::{Attachment, NetworkMode, PortBinding, Protocol};

/// The network mode, or the networks with the service's name as an alias in each.
pub(super) fn mode(context: &Context<'_>, section: &mut Section<'_>) -> NetworkMode {
    if let Some(mode) = section.text("network_mode") {
        return match mode.split_once(':') {
            Some(("service", name)) => NetworkMode::Service(name.to_owned()),
            Some(("container", name)) => NetworkMode::Container(name.to_owned()),
            _ if mode == "host" => NetworkMode::Host,
            _ if mode == "none" => NetworkMode::None,
            _ => NetworkMode::Other(mode),
        };
    }
    let mut networks: BTreeMap<String, Attachment> = BTreeMap::new();
    for (key, node) in section.entries("networks") {
        let fields = section.open("networks", key, node);
        let mut attachment = fields.map(attachment).unwrap_or_default();
        attachment.aliases.insert(context.name.to_owned());
        let name = context.names.networks.get(key).cloned().unwrap_or_else(|| key.to_owned());
        networks.insert(name, attachment);
    }
    if let Some(address) = section.text("mac_address") {
        let first = networks.iter_mut().max_by(|(left_name, left), (right_name, right)| {
            left.priority.cmp(&right.priority).then_with(|| right_name.cmp(left_name))
        });
        match first {
            Some((_, attachment)) => attachment.mac_address = Some(address),
            None => section.refuse("mac_address", "the service joins no network"),
        }
    }
    NetworkMode::Networks(networks)
}

fn attachment(mut fields: Section<'_>) -> Attachment {
    Attachment {
        aliases: fields.set("aliases"),
        ipv4_address: fields.text("ipv4_address"),
        ipv6_address: fields.text("ipv6_address"),
        link_local_ips: fields.set("link_local_ips"),
        mac_address: fields.text("mac_address"),
        priority: fields.number("priority").unwrap_or_default(),
        driver_options: fields.labels("driver_opts"),
    }
}

/// Links under another alias, as `service:alias`: the engine resolves the alias by the service's
/// name in the networks that both are in, so that it goes on when a container is replaced, and stands
/// for all containers of the service. Without another alias a link says no more than the network does.
pub(super) fn links(section: &mut Section<'_>, mode: &NetworkMode) -> BTreeSet<String> {
    let links = section.set("links");
    if !links.is_empty() && !matches!(mode, NetworkMode::Networks(_)) {
        section.refuse("links", "services find each other by name only in `networks`");
    }
    let is_alias =
        |link: &String| link.split_once(':').is_some_and(|(service, alias)| service != alias);
    links.into_iter().filter(is_alias).collect()
}

/// Published ports.
pub(super) fn ports(section: &mut Section<'_>) -> BTreeSet<PortBinding> {
    let mut ports = BTreeSet::new();
    for mut port in section.sections("ports") {
        // Both modes publish on this host: there is no other. The others are for who reads the file.
        for key in ["mode", "name", "app_protocol"] {
            port.ignore(key);
        }
        let protocol = match port.text("protocol").as_deref() {
            Some("udp") => Protocol::Udp,
            Some("sctp") => Protocol::Sctp,
            None | Some("tcp") => Protocol::Tcp,
            Some(_) => {
                port.refuse("protocol", "use `tcp`, `udp` or `sctp`");
                Protocol::Tcp
            }
        };
        let Some(container_port) = port.number("target") else { continue };
        ports.insert(PortBinding {
            container_port,
            protocol,
            host_ip: port.text("host_ip"),
            host_port: port.text("published").filter(|port| port != "0"),
        });
    }
    ports
}

/// Ports open to other containers, one by one, with their protocol.
pub(super) fn expose(section: &mut Section<'_>) -> BTreeSet<String> {
    let mut exposed = BTreeSet::new();
    for text in section.texts("expose") {
        let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        match range(ports) {
            Ok((first, last)) => {
                exposed.extend((first..=last).map(|port| format!("{port}/{protocol}")));
            }
            Err(reason) => section.refuse("expose", &reason),
        }
    }
    exposed
}
