//! Makes and removes networks. Owns the calls on them. Face: one function per call. Never joins a
//! container to one: that is a call on the container.

use std::collections::BTreeMap;

use bollard::models::{Ipam as RequestedIpam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptions};

use super::failure::absent;
use super::request::{label_filters, merged, segment};
use super::session::Connection;
use super::{EngineError, read_others};
use crate::facts::{Ipam, IpamPool, NetworkFacts, NetworkSpec};

pub(super) async fn list(
    connection: &Connection,
    label: Option<(&str, &str)>,
) -> Result<Vec<NetworkFacts>, EngineError> {
    let call = connection.read("list networks", |session| async move {
        let options = ListNetworksOptions { filters: label_filters(label) };
        session.docker.list_networks(Some(options)).await
    });
    Ok(call.await?.into_iter().map(read_others::network).collect())
}

pub(super) async fn find(
    connection: &Connection,
    name: &str,
) -> Result<Option<NetworkFacts>, EngineError> {
    let attempt = format!("inspect network {name}");
    let segment = segment(&attempt, name)?;
    let call = connection.read(&attempt, |session| async move {
        absent(session.docker.inspect_network(segment, None::<InspectNetworkOptions>).await)
    });
    // The engine also takes the beginning of an id for a name.
    let facts = call.await?.map(read_others::inspected_network);
    Ok(facts.filter(|facts| facts.name == name || facts.id == name))
}

pub(super) async fn create(
    connection: &Connection,
    spec: &NetworkSpec,
    bookkeeping: &BTreeMap<String, String>,
) -> Result<String, EngineError> {
    let request = NetworkCreateRequest {
        name: spec.name.clone(),
        driver: spec.driver.clone(),
        internal: Some(spec.internal),
        attachable: Some(spec.attachable),
        enable_ipv6: spec.enable_ipv6,
        ipam: spec.ipam.as_ref().map(requested_ipam),
        options: merged(&spec.driver_options, &BTreeMap::new()),
        labels: merged(&spec.labels, bookkeeping),
        ..NetworkCreateRequest::default()
    };
    let attempt = format!("create network {}", spec.name);
    let call = connection
        .write(&attempt, |session| async move { session.docker.create_network(request).await });
    Ok(call.await?.id)
}

fn requested_ipam(ipam: &Ipam) -> RequestedIpam {
    let pool = |pool: &IpamPool| IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: merged(&pool.aux_addresses, &BTreeMap::new()),
    };
    RequestedIpam {
        driver: Some(ipam.driver.clone().unwrap_or_else(|| "default".to_owned())),
        options: merged(&ipam.options, &BTreeMap::new()),
        config: Some(ipam.pools.iter().map(pool).collect()),
    }
}

pub(super) async fn remove(connection: &Connection, name: &str) -> Result<(), EngineError> {
    let attempt = format!("remove network {name}");
    let name = segment(&attempt, name)?;
    let call = connection
        .write(&attempt, |session| async move { session.docker.remove_network(name).await });
    call.await
}
