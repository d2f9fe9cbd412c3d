//! Reads where the agent listens for clients from elsewhere. Owns the section `listen`. Face:
//! `read_tcp`, `values`. Never takes plain text for an address that others reach.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::api::tls::{TcpOptions, TlsFiles};
use crate::base::Diagnostic;
use crate::base::yaml::{Fields, Node};

use super::{CODE, absolute_path, report_at, schema};

/// `listen: {tcp: {…}}`; none when the agent listens on its socket alone.
pub(super) fn read_tcp(root: &Node, problems: &mut Vec<Diagnostic>) -> Option<TcpOptions> {
    let node = root.as_map().and_then(|map| map.get("listen")).filter(|node| !node.is_null())?;
    let fields = Fields::of(node, CODE, &schema::names_in("listen"));
    let tcp = fields.node("tcp").filter(|node| !node.is_null());
    problems.extend(fields.into_problems());
    let mut fields = Fields::of(tcp?, CODE, &schema::names_in("listen.tcp"));
    let options = read(&mut fields);
    problems.extend(fields.into_problems());
    options
}

/// The keys of the section with their values in effect, as they would be written.
pub(super) fn values(tcp: Option<&TcpOptions>) -> [(&'static str, String); 5] {
    let tls = tcp.and_then(|it| it.tls.as_ref());
    let path =
        |path: Option<&PathBuf>| path.map_or_else(String::new, |it| it.display().to_string());
    [
        ("listen.tcp.address", tcp.map_or_else(String::new, |it| it.address.to_string())),
        ("listen.tcp.certificate", path(tls.map(|it| &it.certificate))),
        ("listen.tcp.key", path(tls.map(|it| &it.key))),
        ("listen.tcp.client_ca", path(tls.and_then(|it| it.client_ca.as_ref()))),
        ("listen.tcp.plain", (tcp.is_some() && tls.is_none()).to_string()),
    ]
}

fn read(fields: &mut Fields<'_>) -> Option<TcpOptions> {
    let node = fields.required("address")?;
    let address = fields.string("address")?.parse::<SocketAddr>();
    let Ok(address) = address else {
        let message = "`address` must be an IP address and a port".to_owned();
        let help = "write `0.0.0.0:8443`, or `[::]:8443`";
        fields.report(node.problem(CODE, message).help(help));
        return None;
    };
    let mut path = |key: &str| {
        let node = fields.node(key)?;
        absolute_path(fields, key, node)
    };
    let (certificate, key, client_ca) = (path("certificate"), path("key"), path("client_ca"));
    let is_plain = fields.boolean("plain").unwrap_or(false);
    let tls = match (certificate, key, is_plain) {
        (Some(certificate), Some(key), false) => Some(TlsFiles { certificate, key, client_ca }),
        (None, None, true) if client_ca.is_none() => {
            if !address.ip().is_loopback() {
                let message = "plain text is for the loopback interface alone".to_owned();
                report_at(fields, "plain", message);
            }
            None
        }
        (.., true) => {
            let message = "`plain` and certificates exclude each other".to_owned();
            report_at(fields, "plain", message);
            None
        }
        _ => {
            let message = "`listen.tcp` needs `certificate` and `key`".to_owned();
            let help = "`plain: true` does without, on the loopback interface";
            fields.report(node.problem(CODE, message).help(help));
            None
        }
    };
    Some(TcpOptions { address, tls })
}
