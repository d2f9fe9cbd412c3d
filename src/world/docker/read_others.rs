//! Reads the engine's reports of images, networks, volumes and itself into facts. Owns that
//! translation. Face: one function per noun. Never fails: what a report leaves out is empty.

use std::collections::BTreeMap;

use bollard::models::{
    ImageConfig, ImageInspect, Ipam as ReportedIpam, IpamConfig, Network, NetworkInspect,
    SystemInfo, Volume,
};

use super::read::{environment, healthcheck, set, sorted, timestamp, unsigned};
use crate::facts::{
    DaemonFacts, EngineFacts, ImageFacts, Ipam, IpamPool, Mount, MountKind, NetworkFacts,
    ServiceSpec, VolumeFacts,
};

/// One image.
pub(super) fn image(report: ImageInspect) -> ImageFacts {
    let parts = [report.os, report.architecture, report.variant];
    let platform: Vec<String> =
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let tagged = report.metadata.and_then(|metadata| metadata.last_tag_time);
    ImageFacts {
        last_tagged_at: timestamp(tagged.as_deref()),
        id: report.id.unwrap_or_default(),
        tags: report.repo_tags.unwrap_or_default(),
        digests: report.repo_digests.unwrap_or_default(),
        defaults: image_defaults(report.config.unwrap_or_default()),
        platform: platform.join("/"),
        size_bytes: unsigned(report.size),
        created_at: timestamp(report.created.as_deref()),
    }
}

fn image_defaults(config: ImageConfig) -> ServiceSpec {
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let list = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
    let anonymous = Mount { kind: MountKind::Anonymous, read_only: false };
    let volumes = config.volumes.unwrap_or_default().into_iter();
    ServiceSpec {
        command: list(config.cmd),
        entrypoint: list(config.entrypoint),
        environment: environment(config.env.unwrap_or_default()),
        labels: sorted(config.labels),
        user: text(config.user),
        working_dir: text(config.working_dir),
        stop_signal: text(config.stop_signal),
        healthcheck: config.healthcheck.map(healthcheck),
        expose: set(config.exposed_ports),
        mounts: volumes.map(|target| (target, anonymous.clone())).collect(),
        ..ServiceSpec::default()
    }
}

/// One network of a list.
pub(super) fn network(report: Network) -> NetworkFacts {
    NetworkFacts {
        id: report.id.unwrap_or_default(),
        name: report.name.unwrap_or_default(),
        driver: report.driver.unwrap_or_default(),
        scope: report.scope.unwrap_or_default(),
        driver_options: sorted(report.options),
        internal: report.internal.unwrap_or_default(),
        attachable: report.attachable.unwrap_or_default(),
        enable_ipv6: report.enable_ipv6.unwrap_or_default(),
        ipam: ipam(report.ipam.unwrap_or_default()),
        labels: sorted(report.labels),
    }
}

/// One network by itself: the library has another type for it, with the same fields.
pub(super) fn inspected_network(report: NetworkInspect) -> NetworkFacts {
    network(Network {
        id: report.id,
        name: report.name,
        driver: report.driver,
        scope: report.scope,
        options: report.options,
        internal: report.internal,
        attachable: report.attachable,
        enable_ipv6: report.enable_ipv6,
        ipam: report.ipam,
        labels: report.labels,
        ..Network::default()
    })
}

fn ipam(report: ReportedIpam) -> Ipam {
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let pool = |config: IpamConfig| IpamPool {
        subnet: text(config.subnet),
        ip_range: text(config.ip_range),
        gateway: text(config.gateway),
        aux_addresses: sorted(config.auxiliary_addresses),
    };
    Ipam {
        driver: text(report.driver).filter(|driver| driver != "default"),
        options: sorted(report.options),
        pools: report.config.unwrap_or_default().into_iter().map(pool).collect(),
    }
}

/// One volume.
pub(super) fn volume(report: Volume) -> VolumeFacts {
    let sorted = |map: std::collections::HashMap<_, _>| map.into_iter().collect::<BTreeMap<_, _>>();
    VolumeFacts {
        name: report.name,
        driver: report.driver,
        driver_options: sorted(report.options),
        labels: sorted(report.labels),
        mountpoint: report.mountpoint,
    }
}

/// The engine itself.
pub(super) fn engine(report: SystemInfo, api_version: String) -> EngineFacts {
    let daemon = daemon(&report);
    EngineFacts {
        daemon,
        id: report.id.unwrap_or_default(),
        name: report.name.unwrap_or_default(),
        version: report.server_version.unwrap_or_default(),
        api_version,
        kernel_version: report.kernel_version.unwrap_or_default(),
        cgroup_version: report.cgroup_version.map(|it| it.to_string()).unwrap_or_default(),
        storage_driver: report.driver.unwrap_or_default(),
        logging_driver: report.logging_driver.unwrap_or_default(),
        cpus: unsigned(report.ncpu),
        memory_bytes: unsigned(report.mem_total),
        root_dir: report.docker_root_dir.unwrap_or_default(),
        warnings: report.warnings.unwrap_or_default(),
    }
}

/// What decides how safe its containers are.
fn daemon(report: &SystemInfo) -> DaemonFacts {
    let registries = report.registry_config.iter();
    let networks = registries.clone().flat_map(|it| it.insecure_registry_cidrs.iter().flatten());
    let named = registries.flat_map(|it| it.index_configs.iter().flatten());
    let named = named.filter(|(_, index)| index.secure == Some(false)).map(|(name, _)| name);
    let plugins = report.plugins.iter().flat_map(|it| it.authorization.iter().flatten());
    let swarm = report.swarm.as_ref().and_then(|swarm| swarm.local_node_state.as_ref());
    DaemonFacts {
        security_options: report.security_options.iter().flatten().cloned().collect(),
        logging_driver: report.logging_driver.clone().unwrap_or_default(),
        storage_driver: report.driver.clone().unwrap_or_default(),
        cgroup_version: report.cgroup_version.map(|it| it.to_string()).unwrap_or_default(),
        insecure_registries: networks.chain(named).cloned().collect(),
        authorization_plugins: plugins.cloned().collect(),
        live_restore: report.live_restore_enabled == Some(true),
        is_experimental: report.experimental_build == Some(true),
        is_in_swarm: swarm
            .is_some_and(|state| !matches!(state.to_string().as_str(), "" | "inactive")),
        warnings: report.warnings.clone().unwrap_or_default(),
    }
}
