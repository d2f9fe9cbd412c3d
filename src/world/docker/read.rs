//! Reads the engine's reports into facts. Owns that translation for containers. Face: `container`
//! and the small readers that its siblings share. Never keeps a default that the engine filled in
//! where a contract has an undeclared form of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState as ReportedState,
    ContainerStateStatusEnum, EndpointSettings, HealthConfig, HealthStatusEnum, HostConfig,
    ResourcesBlkioWeightDevice, RestartPolicy as ReportedRestart, RestartPolicyNameEnum,
    ThrottleDevice,
};

use super::read_mounts;
use crate::base::{Secret, Timestamp};
use crate::facts::{
    Attachment, BlkioLimits, ContainerFacts, ContainerState, DeviceMapping, DeviceRequest, Health,
    HealthProbe, Healthcheck, Logging, NetworkAddress, NetworkMode, PortBinding, Protocol,
    Resources, RestartPolicy, Security, ServiceSpec, UNMASKED, Ulimit, labels, normalise,
};

/// Characters of a container's id that stand for it as host name and alias.
const SHORT_ID_CHARS: usize = 12;

/// One container from its inspection.
pub(super) fn container(report: ContainerInspectResponse) -> ContainerFacts {
    let id = report.id.unwrap_or_default();
    let config = report.config.unwrap_or_default();
    let host = report.host_config.unwrap_or_default();
    let networks =
        report.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let state = report.state.unwrap_or_default();
    let all_labels = sorted(config.labels.clone());
    ContainerFacts {
        name: report.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        instance: labels::instance_of(&all_labels),
        oneoff: labels::is_oneoff(&all_labels),
        contract_hash: all_labels.get(labels::CONTRACT).cloned(),
        spec: spec(&id, config, host, &networks),
        image_id: report.image.unwrap_or_default(),
        state: container_state(&state),
        health: health(&state),
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        state_error: state.error.filter(|error| !error.is_empty()),
        restart_count: unsigned(report.restart_count),
        created_at: timestamp(report.created.as_deref()),
        started_at: timestamp(state.started_at.as_deref()),
        finished_at: timestamp(state.finished_at.as_deref()),
        addresses: networks.into_iter().map(|(name, end)| (name, address(end))).collect(),
        anonymous_volumes: read_mounts::anonymous_names(report.mounts.unwrap_or_default()),
        all_labels,
        id,
    }
}

/// Empty lists of what is hidden are somebody's wish, which the engine does not repeat among its options. It
/// leaves them out for privileged containers, from which it hides nothing anyway.
fn security_options(host: &HostConfig) -> BTreeSet<String> {
    let is_empty = |paths: &Option<Vec<String>>| paths.as_ref().is_some_and(Vec::is_empty);
    let mut options = set(host.security_opt.clone());
    if is_empty(&host.masked_paths) && is_empty(&host.readonly_paths) {
        options.insert(UNMASKED.to_owned());
    }
    options
}

fn container_state(state: &ReportedState) -> ContainerState {
    use ContainerStateStatusEnum as Reported;
    match state.status.unwrap_or(Reported::EMPTY) {
        Reported::EMPTY | Reported::CREATED => ContainerState::Created,
        Reported::RUNNING | Reported::STOPPING => ContainerState::Running,
        Reported::PAUSED => ContainerState::Paused,
        Reported::RESTARTING => ContainerState::Restarting,
        Reported::REMOVING => ContainerState::Removing,
        Reported::EXITED => ContainerState::Exited,
        Reported::DEAD => ContainerState::Dead,
    }
}

fn health(state: &ReportedState) -> Health {
    match state.health.as_ref().and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::None,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}

fn address(endpoint: EndpointSettings) -> NetworkAddress {
    NetworkAddress {
        network_id: endpoint.network_id.unwrap_or_default(),
        ipv4_address: endpoint.ip_address.unwrap_or_default(),
        ipv6_address: endpoint.global_ipv6_address.unwrap_or_default(),
    }
}

fn spec(
    id: &str,
    config: ContainerConfig,
    host: HostConfig,
    networks: &HashMap<String, EndpointSettings>,
) -> ServiceSpec {
    let short_id: String = id.chars().take(SHORT_ID_CHARS).collect();
    let mut spec = ServiceSpec {
        image: config.image.unwrap_or_default(),
        platform: None,
        command: config.cmd,
        entrypoint: config.entrypoint,
        environment: environment(config.env.unwrap_or_default()),
        labels: labels::without_bookkeeping(&sorted(config.labels)),
        annotations: sorted(host.annotations.clone()),
        user: config.user,
        group_add: set(host.group_add.clone()),
        working_dir: config.working_dir,
        hostname: config.hostname.filter(|name| *name != short_id),
        domainname: config.domainname,
        tty: config.tty.unwrap_or_default(),
        stdin_open: config.open_stdin.unwrap_or_default(),
        init: host.init,
        stop_signal: config.stop_signal,
        stop_grace_period: config.stop_timeout.map(seconds),
        restart: restart(host.restart_policy.clone()),
        healthcheck: config.healthcheck.map(healthcheck),
        ports: published(&host, config.exposed_ports.as_deref().unwrap_or_default()),
        expose: set(config.exposed_ports),
        mounts: read_mounts::mounts(&host, config.volumes.unwrap_or_default()),
        network_mode: network_mode(&host, &short_id, networks),
        extra_hosts: set(host.extra_hosts.clone()),
        dns: host.dns.clone().unwrap_or_default(),
        dns_search: host.dns_search.clone().unwrap_or_default(),
        dns_options: host.dns_options.clone().unwrap_or_default(),
        external_links: links(&host, networks),
        volumes_from: set(host.volumes_from.clone()),
        resources: resources(&host),
        security: security(&host),
        logging: host.log_config.map(|log| Logging {
            driver: log.typ.filter(|driver| !driver.is_empty()),
            options: sorted(log.config),
        }),
        runtime: host.runtime,
        storage_options: sorted(host.storage_opt),
    };
    normalise(&mut spec);
    spec
}

/// `NAME=value` lines. A line without `=` takes a variable away: it is none.
pub(super) fn environment(lines: Vec<String>) -> BTreeMap<String, Secret<String>> {
    let pairs = lines.iter().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned()))).collect()
}

fn restart(policy: Option<ReportedRestart>) -> RestartPolicy {
    let policy = policy.unwrap_or_default();
    match policy.name.unwrap_or(RestartPolicyNameEnum::EMPTY) {
        RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO => RestartPolicy::No,
        RestartPolicyNameEnum::ALWAYS => RestartPolicy::Always,
        RestartPolicyNameEnum::UNLESS_STOPPED => RestartPolicy::UnlessStopped,
        RestartPolicyNameEnum::ON_FAILURE => {
            let retries = policy.maximum_retry_count.unwrap_or_default();
            RestartPolicy::OnFailure { retries_max: u32::try_from(retries).unwrap_or_default() }
        }
    }
}

pub(super) fn healthcheck(config: HealthConfig) -> Healthcheck {
    let mut test = config.test.unwrap_or_default();
    let probe = match test.first().map(String::as_str) {
        None => HealthProbe::Inherit,
        Some("NONE") => HealthProbe::Disabled,
        Some("CMD-SHELL") => HealthProbe::Shell(test.get(1).cloned().unwrap_or_default()),
        Some("CMD") => HealthProbe::Exec(test.split_off(1)),
        Some(_) => HealthProbe::Exec(test),
    };
    let nanos = |value: Option<i64>| value.map(|nanos| Duration::from_nanos(unsigned(Some(nanos))));
    Healthcheck {
        probe,
        interval: nanos(config.interval),
        timeout: nanos(config.timeout),
        retries: config.retries.and_then(|retries| u32::try_from(retries).ok()),
        start_period: nanos(config.start_period),
        start_interval: nanos(config.start_interval),
    }
}

/// Everything that is published. `docker run -P` binds nothing by name: the engine then publishes
/// all that is exposed, on all addresses and ports of its choice.
fn published(host: &HostConfig, exposed: &[String]) -> BTreeSet<PortBinding> {
    let bound = host.port_bindings.clone().unwrap_or_default();
    let is_all = host.publish_all_ports.unwrap_or_default();
    let others = exposed.iter().filter(|port| is_all && !bound.contains_key(*port));
    let chosen = || Some(vec![bollard::models::PortBinding::default()]);
    let others: Vec<_> = others.map(|port| (port.clone(), chosen())).collect();
    bound.into_iter().chain(others).flat_map(ports).collect()
}

/// The bindings of one port, such as `80/tcp`.
fn ports(
    (port, bindings): (String, Option<Vec<bollard::models::PortBinding>>),
) -> Vec<PortBinding> {
    let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
    let Ok(container_port) = number.parse() else { return Vec::new() };
    let protocol = match protocol {
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    let bindings = bindings.unwrap_or_default().into_iter();
    let read = |binding: bollard::models::PortBinding| PortBinding {
        container_port,
        protocol,
        host_ip: binding.host_ip,
        host_port: binding.host_port,
    };
    bindings.map(read).collect()
}

fn network_mode(
    host: &HostConfig,
    short_id: &str,
    networks: &HashMap<String, EndpointSettings>,
) -> NetworkMode {
    let mode = host.network_mode.as_deref().unwrap_or("default");
    match mode {
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match mode.strip_prefix("container:") {
            Some(id) => NetworkMode::Container(id.to_owned()),
            None => {
                let member = |(name, end): (&String, &EndpointSettings)| {
                    (name.clone(), attachment(end, short_id))
                };
                NetworkMode::Networks(networks.iter().map(member).collect())
            }
        },
    }
}

fn attachment(endpoint: &EndpointSettings, short_id: &str) -> Attachment {
    let pinned = endpoint.ipam_config.clone().unwrap_or_default();
    let aliases = endpoint.aliases.clone().unwrap_or_default();
    Attachment {
        // Engines before API 1.44 add the container's own short id to its aliases.
        aliases: aliases.into_iter().filter(|alias| alias != short_id).collect(),
        ipv4_address: pinned.ipv4_address,
        ipv6_address: pinned.ipv6_address,
        link_local_ips: set(pinned.link_local_ips),
        mac_address: endpoint.mac_address.clone(),
        priority: endpoint.gw_priority.unwrap_or_default(),
        driver_options: sorted(endpoint.driver_opts.clone()),
    }
}

fn links(
    host: &HostConfig,
    networks: &HashMap<String, EndpointSettings>,
) -> std::collections::BTreeSet<String> {
    let on_networks = networks.values().filter_map(|endpoint| endpoint.links.as_ref());
    on_networks.chain(host.links.as_ref()).flatten().cloned().collect()
}

fn resources(host: &HostConfig) -> Resources {
    let ulimits = host.ulimits.clone().unwrap_or_default().into_iter();
    Resources {
        memory_bytes: host.memory,
        memory_reservation_bytes: host.memory_reservation,
        memory_swap_bytes: host.memory_swap,
        memory_swappiness: host.memory_swappiness,
        nano_cpus: host.nano_cpus,
        cpu_shares: host.cpu_shares,
        cpu_quota_micros: host.cpu_quota,
        cpu_period_micros: host.cpu_period,
        cpu_rt_runtime_micros: host.cpu_realtime_runtime,
        cpu_rt_period_micros: host.cpu_realtime_period,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpu_count: host.cpu_count,
        cpu_percent: host.cpu_percent,
        pids_max: host.pids_limit,
        shm_size_bytes: host.shm_size,
        oom_kill_disable: host.oom_kill_disable.unwrap_or_default(),
        oom_score_adj: host.oom_score_adj,
        ulimits: ulimits
            .filter_map(|limit| {
                let (soft, hard) = (limit.soft.unwrap_or_default(), limit.hard.unwrap_or_default());
                Some((limit.name?, Ulimit { soft, hard }))
            })
            .collect(),
        blkio: BlkioLimits {
            weight: host.blkio_weight,
            weight_device: weights(host.blkio_weight_device.clone()),
            read_bps: rates(host.blkio_device_read_bps.clone()),
            read_iops: rates(host.blkio_device_read_iops.clone()),
            write_bps: rates(host.blkio_device_write_bps.clone()),
            write_iops: rates(host.blkio_device_write_iops.clone()),
        },
    }
}

fn weights(devices: Option<Vec<ResourcesBlkioWeightDevice>>) -> BTreeMap<String, u16> {
    let weight = |device: ResourcesBlkioWeightDevice| {
        Some((device.path?, u16::try_from(device.weight?).ok()?))
    };
    devices.unwrap_or_default().into_iter().filter_map(weight).collect()
}

fn rates(devices: Option<Vec<ThrottleDevice>>) -> BTreeMap<String, u64> {
    let rate = |device: ThrottleDevice| Some((device.path?, u64::try_from(device.rate?).ok()?));
    devices.unwrap_or_default().into_iter().filter_map(rate).collect()
}

fn security(host: &HostConfig) -> Security {
    let devices = host.devices.clone().unwrap_or_default().into_iter();
    let requests = host.device_requests.clone().unwrap_or_default().into_iter();
    Security {
        privileged: host.privileged.unwrap_or_default(),
        read_only: host.readonly_rootfs.unwrap_or_default(),
        cap_add: set(host.cap_add.clone()),
        cap_drop: set(host.cap_drop.clone()),
        security_opt: security_options(host),
        userns_mode: host.userns_mode.clone(),
        ipc_mode: host.ipc_mode.clone(),
        pid_mode: host.pid_mode.clone(),
        uts_mode: host.uts_mode.clone(),
        cgroupns_mode: host.cgroupns_mode.map(|mode| mode.to_string()),
        cgroup_parent: host.cgroup_parent.clone(),
        devices: devices
            .map(|device| DeviceMapping {
                source: device.path_on_host.unwrap_or_default(),
                target: device.path_in_container.unwrap_or_default(),
                permissions: device.cgroup_permissions.unwrap_or_default(),
            })
            .collect(),
        device_requests: requests.map(device_request).collect(),
        device_cgroup_rules: set(host.device_cgroup_rules.clone()),
        sysctls: sorted(host.sysctls.clone()),
        isolation: host.isolation.map(|mode| mode.to_string()),
    }
}

fn device_request(request: bollard::models::DeviceRequest) -> DeviceRequest {
    let capabilities = request.capabilities.unwrap_or_default().into_iter();
    DeviceRequest {
        driver: request.driver,
        count: request.count.unwrap_or_default(),
        device_ids: set(request.device_ids),
        capabilities: capabilities.map(|all| set(Some(all))).collect(),
        options: sorted(request.options),
    }
}

/// A map in the order of its keys.
pub(super) fn sorted(map: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().collect()
}

/// A list whose order has no meaning.
pub(super) fn set(list: Option<Vec<String>>) -> std::collections::BTreeSet<String> {
    list.unwrap_or_default().into_iter().collect()
}

/// A number that is never negative in an honest report.
pub(super) fn unsigned(value: Option<i64>) -> u64 {
    u64::try_from(value.unwrap_or_default()).unwrap_or_default()
}

fn seconds(value: i64) -> Duration {
    Duration::from_secs(unsigned(Some(value)))
}

/// A time; the engine writes the year 1 for "never".
pub(super) fn timestamp(text: Option<&str>) -> Option<Timestamp> {
    text.filter(|text| !text.starts_with("0001-")).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests;
