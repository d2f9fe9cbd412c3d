//! Reads the short form of ports. Owns the grammar `[[address:][published]:]target[/protocol]` with
//! ranges. Face: `parse`. Never binds more than the numbers say: ranges must match in length.

/// One port of a short form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// The address on the host.
    pub(super) host_ip: Option<String>,
    /// The port or range on the host.
    pub(super) published: Option<String>,
    /// The port in the container.
    pub(super) target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(super) protocol: String,
}

/// Reads one short form; a range yields several ports, in the order that Docker Compose gives them
/// (by the text of the container port).
///
/// # Errors
/// A sentence about the part that is wrong.
pub(super) fn parse(spec: &str) -> Result<Vec<Port>, String> {
    let (rest, protocol) = spec.rsplit_once('/').unwrap_or((spec, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("`{protocol}` is not a protocol: use tcp, udp or sctp"));
    }
    let (host, target) = rest.rsplit_once(':').map_or((None, rest), |(h, t)| (Some(h), t));
    let (host_ip, published) = split_host(host)?;
    let (first, last) = range(target)?;
    let published = published.map(range).transpose()?;
    let count = last - first;
    let mut ports = Vec::new();
    for offset in 0..=count {
        let published = match published {
            None => None,
            Some((low, high)) if high - low == count => Some((low + offset).to_string()),
            Some((low, high)) if count == 0 => Some(format!("{low}-{high}")),
            Some(_) => {
                return Err("the two ranges do not have the same length".to_owned());
            }
        };
        let host_ip = host_ip.clone();
        ports.push(Port { host_ip, published, target: first + offset, protocol: protocol.clone() });
    }
    ports.sort_by_key(|port| port.target.to_string());
    Ok(ports)
}

/// What can be told of a short form that is wrong: ranges that do not fit each other are published
/// from their first ports on; a target that is no number is 0, and an address that is none is left
/// out.
pub(super) fn as_meant(spec: &str) -> Port {
    let (rest, protocol) = spec.rsplit_once('/').unwrap_or((spec, "tcp"));
    let (host, target) = rest.rsplit_once(':').map_or((None, rest), |(h, t)| (Some(h), t));
    let target = range(target).map_or(0, |(first, _)| first);
    let (address, published) = match host.map(|host| host.rsplit_once(':').unwrap_or(("", host))) {
        Some((address, published)) => (address, published),
        None => ("", ""),
    };
    let is_address = address.parse::<std::net::IpAddr>().is_ok();
    let host_ip = is_address.then(|| address.to_owned());
    let published = (!published.is_empty()).then(|| published.to_owned());
    Port { host_ip, published, target, protocol: protocol.to_ascii_lowercase() }
}

/// The address, without brackets, and the published port or range.
fn split_host(host: Option<&str>) -> Result<(Option<String>, Option<&str>), String> {
    let Some(host) = host else { return Ok((None, None)) };
    let (address, port) = match host.rsplit_once(':') {
        Some((address, port)) => (address, port),
        // Only an address in brackets may stand without a port.
        None if host.starts_with('[') => (host, ""),
        None => ("", host),
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(address);
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("`{address}` is not an address"));
    }
    let address = (!address.is_empty()).then(|| address.to_owned());
    Ok((address, (!port.is_empty()).then_some(port)))
}

/// A port, or a range of them.
pub(super) fn range(text: &str) -> Result<(u16, u16), String> {
    let number = |part: &str| {
        part.parse::<u16>().map_err(|_| format!("`{part}` is not a port from 0 to 65535"))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err(format!("the range `{text}` runs backwards"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_spell_out() {
        let check = |spec: &str, expect: &[&str]| {
            let ports = parse(spec).unwrap().into_iter().map(|port| {
                let host = port.host_ip.unwrap_or_default();
                let published = port.published.unwrap_or_default();
                format!("{host}|{published}|{}/{}", port.target, port.protocol)
            });
            assert_eq!(ports.collect::<Vec<_>>(), expect, "{spec}");
        };
        check("80", &["||80/tcp"]);
        check("53/udp", &["||53/udp"]);
        check("8080:80", &["|8080|80/tcp"]);
        check("127.0.0.1:8080:80/TCP", &["127.0.0.1|8080|80/tcp"]);
        check("127.0.0.1::80", &["127.0.0.1||80/tcp"]);
        check("[::1]:8080:80", &["::1|8080|80/tcp"]);
        check("::1:8080:80", &["::1|8080|80/tcp"]);
        check("8000-8002:80", &["|8000-8002|80/tcp"]);
        check("3000-3001:4000-4001", &["|3000|4000/tcp", "|3001|4001/tcp"]);
        check("9999-10000", &["||10000/tcp", "||9999/tcp"]);
    }

    #[test]
    fn bad_forms_say_what_is_wrong() {
        let check = |spec: &str, expect: &str| assert_eq!(parse(spec), Err(expect.to_owned()));
        check("", "`` is not a port from 0 to 65535");
        check("x:80", "`x` is not a port from 0 to 65535");
        check("70000", "`70000` is not a port from 0 to 65535");
        check("80/icmp", "`icmp` is not a protocol: use tcp, udp or sctp");
        check("1-3:1-2", "the two ranges do not have the same length");
        check("3-1", "the range `3-1` runs backwards");
        check("host:80:80", "`host` is not an address");
    }
}
