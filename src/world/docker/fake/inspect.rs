//! Reports what is on the engine in memory. Owns the reading of `State`. Face: `facts_of`,
//! `selected`. Never changes anything.

use std::collections::BTreeMap;

use super::container::Container;
use super::state::State;
use crate::facts::{
    ContainerFacts, DaemonFacts, EngineFacts, NetworkAddress, NetworkFacts, NetworkMode,
    VolumeFacts, labels, normalise,
};
use crate::world::docker::ContainerFilter;

impl State {
    pub(super) fn facts_of(&self, container: &Container) -> ContainerFacts {
        let mut spec = container.spec.clone();
        if matches!(spec.network_mode, NetworkMode::Networks(_)) {
            spec.network_mode = NetworkMode::Networks(container.networks.clone());
        }
        normalise(&mut spec);
        let is_active = container.is_active();
        let address = |name: &String| {
            let given = container.addresses.get(name).filter(|_| is_active);
            NetworkAddress {
                network_id: self.network(name).map(|it| it.id.clone()).unwrap_or_default(),
                ipv4_address: given.cloned().unwrap_or_default(),
                ipv6_address: String::new(),
            }
        };
        ContainerFacts {
            id: container.id.clone(),
            name: container.name.clone(),
            instance: labels::instance_of(&container.all_labels),
            oneoff: labels::is_oneoff(&container.all_labels),
            contract_hash: container.all_labels.get(labels::CONTRACT).cloned(),
            all_labels: container.all_labels.clone(),
            spec,
            image_id: container.image_id.clone(),
            state: container.state,
            health: container.health,
            exit_code: container.exit_code,
            oom_killed: false,
            state_error: container.state_error.clone(),
            restart_count: container.restart_count,
            created_at: Some(container.created_at),
            started_at: container.started_at,
            finished_at: container.finished_at,
            addresses: container
                .networks
                .keys()
                .map(|name| (name.clone(), address(name)))
                .collect(),
            anonymous_volumes: container.anonymous_volumes.clone(),
        }
    }

    /// Positions of the containers with these labels, the newest first as the engine lists them.
    pub(super) fn selected(&self, filter: &ContainerFilter) -> Vec<usize> {
        let is_meant = |position: &usize| {
            let found = &self.containers[*position].all_labels;
            filter.labels.iter().all(|(key, value)| carries(found, Some((key, value))))
        };
        (0..self.containers.len()).rev().filter(is_meant).collect()
    }

    pub(super) fn networks_with(&self, label: Option<(&str, &str)>) -> Vec<NetworkFacts> {
        self.networks.iter().filter(|it| carries(&it.labels, label)).cloned().collect()
    }

    pub(super) fn volumes_with(&self, label: Option<(&str, &str)>) -> Vec<VolumeFacts> {
        self.volumes.values().filter(|it| carries(&it.labels, label)).cloned().collect()
    }
}

fn carries(found: &BTreeMap<String, String>, label: Option<(&str, &str)>) -> bool {
    label.is_none_or(|(key, value)| {
        found.get(key).is_some_and(|carried| value.is_empty() || carried == value)
    })
}

/// What the engine in memory says of itself.
pub(super) fn engine_facts() -> EngineFacts {
    EngineFacts {
        id: "FAKE:ENGINE".to_owned(),
        name: "fake".to_owned(),
        version: "29.0.0".to_owned(),
        api_version: "1.52".to_owned(),
        kernel_version: "6.1.0".to_owned(),
        cgroup_version: "2".to_owned(),
        storage_driver: "overlay2".to_owned(),
        logging_driver: "json-file".to_owned(),
        cpus: 2,
        memory_bytes: 4 << 30,
        root_dir: "/var/lib/docker".to_owned(),
        warnings: Vec::new(),
        daemon: DaemonFacts {
            logging_driver: "json-file".to_owned(),
            storage_driver: "overlay2".to_owned(),
            cgroup_version: "2".to_owned(),
            security_options: ["name=seccomp,profile=builtin".to_owned()].into(),
            ..DaemonFacts::default()
        },
    }
}
