//! Orders services by what they depend on. Owns the graph of `depends_on`, shared namespaces and
//! shared volumes. Face: `dependency_order`, `parents`, `closure`. Never includes a service that
//! the project does not declare.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{NetworkMode, ProjectSpec, ServiceSpec};

/// How a container is bound to another service's first container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bond {
    /// The network namespace.
    Network,
    /// The IPC namespace.
    Ipc,
    /// The process namespace.
    Pid,
    /// The volumes.
    Volumes,
}

/// The services whose container this one is made with, and how they are spelt in the contract.
pub fn parents(spec: &ServiceSpec) -> Vec<(Bond, &str, String)> {
    let mut found = Vec::new();
    if let NetworkMode::Service(service) = &spec.network_mode {
        found.push((Bond::Network, service.as_str(), format!("service:{service}")));
    }
    for (bond, mode) in [(Bond::Ipc, &spec.security.ipc_mode), (Bond::Pid, &spec.security.pid_mode)]
    {
        if let Some(service) = mode.as_deref().and_then(|mode| mode.strip_prefix("service:")) {
            found.push((bond, service, format!("service:{service}")));
        }
    }
    for source in &spec.volumes_from {
        if !source.starts_with("container:") {
            let service = source.split(':').next().unwrap_or(source);
            found.push((Bond::Volumes, service, source.clone()));
        }
    }
    found
}

/// Everything that a service's containers come after.
pub(super) fn predecessors(project: &ProjectSpec, service: &str) -> BTreeSet<String> {
    let Some(unit) = project.services.get(service) else { return BTreeSet::new() };
    let bonds = parents(&unit.spec).into_iter().map(|(_, parent, _)| parent.to_owned());
    let all = unit.depends_on.keys().cloned().chain(bonds);
    all.filter(|name| project.services.contains_key(name)).collect()
}

/// All services, each after those it depends on.
///
/// # Errors
/// The services that wait for each other in a circle.
pub(super) fn dependency_order(project: &ProjectSpec) -> Result<Vec<&str>, Vec<String>> {
    let mut open: BTreeMap<&str, BTreeSet<String>> =
        project.services.keys().map(|name| (name.as_str(), predecessors(project, name))).collect();
    let mut order = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let free: Vec<&str> =
            open.iter().filter(|(_, before)| before.is_empty()).map(|(name, _)| *name).collect();
        if free.is_empty() {
            return Err(open.into_keys().map(str::to_owned).collect());
        }
        for name in free {
            open.remove(name);
            for before in open.values_mut() {
                before.remove(name);
            }
            order.push(name);
        }
    }
    Ok(order)
}

/// The services and everything that they depend on.
pub(super) fn closure(project: &ProjectSpec, wanted: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<String> = wanted.iter().cloned().collect();
    while let Some(name) = open.pop() {
        if project.services.contains_key(&name) && found.insert(name.clone()) {
            open.extend(predecessors(project, &name));
        }
    }
    found
}
