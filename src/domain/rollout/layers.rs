//! Lays a project's revisions over each other: each wanted service as the newest revision that was
//! asked for it declares it. Owns that rule. Face: `layered`, `Revision`. Never invents a
//! declaration: a service, network or volume is taken whole from one revision.

use std::collections::{BTreeMap, BTreeSet};

use super::graph;
use crate::facts::{MountKind, NetworkMode, ProjectSpec, ServiceUnit};

/// What one revision declares, and which of its services were asked for.
#[derive(Debug, Clone)]
pub struct Revision {
    /// The declaration.
    pub spec: ProjectSpec,
    /// Services that were asked for; empty for all. What they depend on is meant too.
    pub services: BTreeSet<String>,
}

/// The project of these revisions, the newest first, and for each wanted service the place of the
/// revision that declares it. Services that nobody wants stay as the newest revision declares them.
pub fn layered(revisions: Vec<Revision>) -> (ProjectSpec, BTreeMap<String, usize>) {
    let mut wanted = BTreeMap::new();
    for (place, revision) in revisions.iter().enumerate() {
        let meant = match revision.services.is_empty() {
            true => revision.spec.services.keys().cloned().collect(),
            false => graph::closure(&revision.spec, &revision.services),
        };
        for service in meant {
            wanted.entry(service).or_insert(place);
        }
    }
    let mut revisions = revisions.into_iter().map(|revision| revision.spec);
    let mut spec = revisions.next().unwrap_or_default();
    for (earlier, place) in revisions.zip(1..) {
        let kept = wanted.iter().filter(|(_, declares)| **declares == place);
        for (service, _) in kept {
            if let Some(unit) = earlier.services.get(service) {
                surround(&mut spec, &earlier, unit);
                spec.services.insert(service.clone(), unit.clone());
            }
        }
    }
    (spec, wanted)
}

/// Adds the networks and volumes of a service that only its own revision declares.
fn surround(spec: &mut ProjectSpec, earlier: &ProjectSpec, unit: &ServiceUnit) {
    if let NetworkMode::Networks(attached) = &unit.spec.network_mode {
        for (key, network) in &earlier.networks {
            let is_known = spec.networks.values().any(|known| known.name == network.name);
            if attached.contains_key(&network.name) && !is_known {
                let key = free_key(&spec.networks, key, &network.name);
                spec.networks.insert(key, network.clone());
            }
        }
    }
    for (key, volume) in &earlier.volumes {
        let is_mounted = unit.spec.mounts.values().any(
            |mount| matches!(&mount.kind, MountKind::Volume { name, .. } if *name == volume.name),
        );
        let is_known = spec.volumes.values().any(|known| known.name == volume.name);
        if is_mounted && !is_known {
            let key = free_key(&spec.volumes, key, &volume.name);
            spec.volumes.insert(key, volume.clone());
        }
    }
}

/// The key, or the name on the engine when the newest revision means something else by the key.
fn free_key<T>(known: &BTreeMap<String, T>, key: &str, name: &str) -> String {
    if known.contains_key(key) { name.to_owned() } else { key.to_owned() }
}
