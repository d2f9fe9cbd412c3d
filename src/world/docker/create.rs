//! Writes a contract as the engine's create request. Owns that translation. Face: `requests`.
//! Never leaves out a declared field: what the engine's API version cannot express is an error
//! that names the field.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, EndpointIpamConfig, EndpointSettings, HealthConfig,
    HostConfig, HostConfigLogConfig, NetworkingConfig, PortBinding as RequestedBinding, PortMap,
    ResourcesBlkioWeightDevice, ResourcesUlimits, RestartPolicy as RequestedRestart,
    RestartPolicyNameEnum, ThrottleDevice,
};

use super::NewContainer;
use super::create_mounts;
use super::version::ApiVersion;
use crate::facts::{
    Attachment, DeviceRequest, HealthProbe, Healthcheck, LiveSettings, NetworkMode, PortBinding,
    Resources, RestartPolicy, Security, ServiceSpec, UNMASKED, container_side, exposed_ports,
    resolve_volumes_from,
};

/// What makes one container: the create call, and the networks that it has to be connected to
/// afterwards because the API takes only one at a time.
#[derive(Debug)]
pub(super) struct CreateRequests {
    pub(super) body: ContainerCreateBody,
    pub(super) later_networks: Vec<(String, EndpointSettings)>,
}

/// The engine's word for as many processes as the host allows.
const UNLIMITED_PIDS: i64 = -1;

/// What cannot be honoured, as a sentence about the field.
pub(super) type Refusal = String;

/// The requests for a container.
///
/// # Errors
/// When a declared field has no form in this version of the API.
pub(super) fn requests(new: &NewContainer, api: ApiVersion) -> Result<CreateRequests, Refusal> {
    let spec = &new.spec;
    let mut networks = endpoints(spec, api)?;
    let later_networks = match networks.len() {
        0 | 1 => Vec::new(),
        _ if api >= ApiVersion::MANY_ENDPOINTS => Vec::new(),
        _ => networks.split_off(1),
    };
    let mut host = host_config(new, api)?;
    host.network_mode = Some(match networks.first() {
        Some((primary, _)) => primary.clone(),
        None => network_mode(new)?,
    });
    let volumes = create_mounts::write(new, api, &mut host)?;
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    labels.extend(new.bookkeeping.clone());
    let environment = spec.environment.iter();
    let body = ContainerCreateBody {
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        exposed_ports: Some(exposed_ports(spec).into_iter().collect::<Vec<_>>())
            .filter(|ports| !ports.is_empty()),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin_open),
        env: Some(environment.map(|(key, value)| format!("{key}={}", value.expose())).collect()),
        cmd: spec.command.clone(),
        healthcheck: spec.healthcheck.as_ref().map(|check| healthcheck(check, api)).transpose()?,
        image: Some(new.image.clone()),
        volumes: Some(volumes).filter(|volumes| !volumes.is_empty()),
        working_dir: spec.working_dir.clone(),
        entrypoint: spec.entrypoint.clone(),
        labels: Some(labels),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_period.map(whole_seconds),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(networks.into_iter().collect()),
        }),
        ..ContainerCreateBody::default()
    };
    Ok(CreateRequests { body, later_networks })
}

/// What changes a container's live settings. An undeclared limit is left out: the engine takes
/// nothing away. Processes alone have a word for "unlimited".
pub(super) fn update(settings: &LiveSettings) -> ContainerUpdateBody {
    ContainerUpdateBody {
        memory: settings.memory_bytes,
        memory_reservation: settings.memory_reservation_bytes,
        memory_swap: settings.swap_in_full(),
        nano_cpus: settings.nano_cpus,
        cpu_shares: settings.cpu_shares,
        cpu_quota: settings.cpu_quota_micros,
        cpu_period: settings.cpu_period_micros,
        cpuset_cpus: settings.cpuset_cpus.clone(),
        pids_limit: Some(settings.pids_max.unwrap_or(UNLIMITED_PIDS)),
        restart_policy: Some(restart(settings.restart)),
        ..ContainerUpdateBody::default()
    }
}

/// Refuses a field that needs a newer API than the engine's.
pub(super) fn needs(api: ApiVersion, needed: ApiVersion, field: &str) -> Result<(), Refusal> {
    if api >= needed {
        return Ok(());
    }
    Err(format!("{field} needs API {needed} and the engine speaks {api}"))
}

/// Lengths of time in whole seconds, as the engine counts them; parts are rounded up.
pub(super) fn whole_seconds(time: Duration) -> i64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn healthcheck(check: &Healthcheck, api: ApiVersion) -> Result<HealthConfig, Refusal> {
    if check.start_interval.is_some() {
        needs(api, ApiVersion::MANY_ENDPOINTS, "healthcheck.start_interval")?;
    }
    let nanos = |time: Option<Duration>| {
        time.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    };
    let test = match &check.probe {
        HealthProbe::Disabled => vec!["NONE".to_owned()],
        HealthProbe::Inherit => Vec::new(),
        HealthProbe::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        HealthProbe::Exec(words) => {
            std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
        }
    };
    Ok(HealthConfig {
        test: Some(test),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        retries: check.retries.map(i64::from),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
    })
}

/// The memberships, the one with the highest priority first.
fn endpoints(
    spec: &ServiceSpec,
    api: ApiVersion,
) -> Result<Vec<(String, EndpointSettings)>, Refusal> {
    let NetworkMode::Networks(networks) = &spec.network_mode else { return Ok(Vec::new()) };
    let mut ordered: Vec<_> = networks.iter().collect();
    ordered.sort_by_key(|(name, attachment)| (-attachment.priority, (*name).clone()));
    let links: Vec<String> = spec.external_links.iter().cloned().collect();
    let request = |(name, attachment): (&String, &Attachment)| {
        let mut settings = endpoint(name, attachment, api)?;
        settings.links = Some(links.clone()).filter(|links| !links.is_empty());
        Ok((name.clone(), settings))
    };
    ordered.into_iter().map(request).collect()
}

/// One membership.
pub(super) fn endpoint(
    network: &str,
    attachment: &Attachment,
    api: ApiVersion,
) -> Result<EndpointSettings, Refusal> {
    if attachment.mac_address.is_some() {
        let field = format!("networks.{network}.mac_address");
        needs(api, ApiVersion::MANY_ENDPOINTS, &field)?;
    }
    let link_local = attachment.link_local_ips.iter().cloned().collect::<Vec<_>>();
    let pinned = EndpointIpamConfig {
        ipv4_address: attachment.ipv4_address.clone(),
        ipv6_address: attachment.ipv6_address.clone(),
        link_local_ips: Some(link_local).filter(|ips| !ips.is_empty()),
    };
    let takes_priority = api >= ApiVersion::GATEWAY_PRIORITY && attachment.priority != 0;
    Ok(EndpointSettings {
        aliases: Some(attachment.aliases.iter().cloned().collect()),
        ipam_config: Some(pinned).filter(|pinned| *pinned != EndpointIpamConfig::default()),
        mac_address: attachment.mac_address.clone(),
        driver_opts: map(&attachment.driver_options),
        gw_priority: takes_priority.then_some(attachment.priority),
        ..EndpointSettings::default()
    })
}

fn network_mode(new: &NewContainer) -> Result<String, Refusal> {
    Ok(match &new.spec.network_mode {
        NetworkMode::Networks(_) => "default".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Other(mode) => mode.clone(),
        NetworkMode::Service(service) => {
            namespace(&format!("service:{service}"), new, "network_mode")?
        }
        NetworkMode::Container(container) => {
            namespace(&format!("container:{container}"), new, "network_mode")?
        }
    })
}

/// A mode such as `service:db` with the container in place of the service.
fn namespace(mode: &str, new: &NewContainer, field: &str) -> Result<String, Refusal> {
    if let Some(id) = new.resolved_namespaces.get(mode) {
        return Ok(format!("container:{id}"));
    }
    if mode.starts_with("service:") {
        return Err(format!("{field}: no container stands for {mode}"));
    }
    Ok(mode.to_owned())
}

fn host_config(new: &NewContainer, api: ApiVersion) -> Result<HostConfig, Refusal> {
    let spec = &new.spec;
    if !spec.annotations.is_empty() {
        needs(api, ApiVersion::ANNOTATIONS, "annotations")?;
    }
    let is_on_networks =
        matches!(&spec.network_mode, NetworkMode::Networks(networks) if !networks.is_empty());
    let logging = spec.logging.as_ref();
    let mut host = HostConfig {
        annotations: map(&spec.annotations),
        group_add: list(&spec.group_add),
        init: spec.init,
        restart_policy: Some(restart(spec.restart)),
        port_bindings: Some(port_bindings(&spec.ports)),
        extra_hosts: Some(spec.extra_hosts.iter().map(|line| host_line(line)).collect()),
        dns: Some(spec.dns.clone()),
        dns_search: Some(spec.dns_search.clone()),
        dns_options: Some(spec.dns_options.clone()),
        links: list(&spec.external_links).filter(|_| !is_on_networks),
        volumes_from: Some(volumes_from(new)).filter(|from| !from.is_empty()),
        log_config: logging.map(|logging| HostConfigLogConfig {
            typ: logging.driver.clone(),
            config: Some(logging.options.clone().into_iter().collect()),
        }),
        runtime: spec.runtime.clone(),
        storage_opt: map(&spec.storage_options),
        ..HostConfig::default()
    };
    write_resources(&spec.resources, &mut host);
    write_security(&spec.security, new, &mut host)?;
    Ok(host)
}

/// `name=address` as the engine writes it, `name:address`.
fn host_line(line: &str) -> String {
    match line.split_once('=') {
        Some((name, address)) => format!("{name}:{address}"),
        None => line.to_owned(),
    }
}

fn volumes_from(new: &NewContainer) -> Vec<String> {
    let from = new.spec.volumes_from.iter();
    from.map(|entry| resolve_volumes_from(entry, &new.resolved_namespaces)).collect()
}

fn restart(policy: RestartPolicy) -> RequestedRestart {
    let (name, retries) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, 0),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, 0),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, 0),
        RestartPolicy::OnFailure { retries_max } => {
            (RestartPolicyNameEnum::ON_FAILURE, i64::from(retries_max))
        }
    };
    RequestedRestart { name: Some(name), maximum_retry_count: Some(retries) }
}

fn port_bindings(ports: &BTreeSet<PortBinding>) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let bindings = map.entry(container_side(port)).or_default().get_or_insert_default();
        bindings.push(RequestedBinding {
            host_ip: port.host_ip.clone(),
            host_port: port.host_port.clone(),
        });
    }
    map
}

fn write_resources(resources: &Resources, host: &mut HostConfig) {
    let ulimits = resources.ulimits.iter().map(|(name, limit)| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    });
    host.memory = resources.memory_bytes;
    host.memory_reservation = resources.memory_reservation_bytes;
    host.memory_swap = resources.memory_swap_bytes;
    host.memory_swappiness = resources.memory_swappiness;
    host.nano_cpus = resources.nano_cpus;
    host.cpu_shares = resources.cpu_shares;
    host.cpu_quota = resources.cpu_quota_micros;
    host.cpu_period = resources.cpu_period_micros;
    host.cpu_realtime_runtime = resources.cpu_rt_runtime_micros;
    host.cpu_realtime_period = resources.cpu_rt_period_micros;
    host.cpuset_cpus.clone_from(&resources.cpuset_cpus);
    host.cpu_count = resources.cpu_count;
    host.cpu_percent = resources.cpu_percent;
    host.pids_limit = resources.pids_max;
    host.shm_size = resources.shm_size_bytes;
    host.oom_kill_disable = resources.oom_kill_disable.then_some(true);
    host.oom_score_adj = resources.oom_score_adj;
    host.ulimits = Some(ulimits.collect());
    let blkio = &resources.blkio;
    host.blkio_weight = blkio.weight;
    host.blkio_weight_device = Some(weights(&blkio.weight_device));
    host.blkio_device_read_bps = Some(rates(&blkio.read_bps));
    host.blkio_device_read_iops = Some(rates(&blkio.read_iops));
    host.blkio_device_write_bps = Some(rates(&blkio.write_bps));
    host.blkio_device_write_iops = Some(rates(&blkio.write_iops));
}

fn weights(devices: &BTreeMap<String, u16>) -> Vec<ResourcesBlkioWeightDevice> {
    let device = |(path, weight): (&String, &u16)| ResourcesBlkioWeightDevice {
        path: Some(path.clone()),
        weight: Some(usize::from(*weight)),
    };
    devices.iter().map(device).collect()
}

fn rates(devices: &BTreeMap<String, u64>) -> Vec<ThrottleDevice> {
    let device = |(path, rate): (&String, &u64)| ThrottleDevice {
        path: Some(path.clone()),
        rate: Some(i64::try_from(*rate).unwrap_or(i64::MAX)),
    };
    devices.iter().map(device).collect()
}

fn write_security(
    security: &Security,
    new: &NewContainer,
    host: &mut HostConfig,
) -> Result<(), Refusal> {
    let resolved = |mode: &Option<String>, field: &str| {
        mode.as_deref().map(|mode| namespace(mode, new, field)).transpose()
    };
    let devices = security.devices.iter().map(|device| bollard::models::DeviceMapping {
        path_on_host: Some(device.source.clone()),
        path_in_container: Some(if device.target.is_empty() {
            device.source.clone()
        } else {
            device.target.clone()
        }),
        cgroup_permissions: Some(if device.permissions.is_empty() {
            "rwm".to_owned()
        } else {
            device.permissions.clone()
        }),
    });
    host.privileged = Some(security.privileged);
    host.readonly_rootfs = Some(security.read_only);
    host.cap_add = list(&security.cap_add);
    host.cap_drop = list(&security.cap_drop);
    // No option of the engine's: two of its lists are empty then, instead of its defaults.
    let (unmasked, options): (BTreeSet<String>, BTreeSet<String>) =
        security.security_opt.iter().cloned().partition(|option| option == UNMASKED);
    host.security_opt = list(&options);
    if !unmasked.is_empty() {
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
    host.userns_mode.clone_from(&security.userns_mode);
    host.ipc_mode = resolved(&security.ipc_mode, "ipc")?;
    host.pid_mode = resolved(&security.pid_mode, "pid")?;
    host.uts_mode.clone_from(&security.uts_mode);
    host.cgroupns_mode = known(&security.cgroupns_mode, "cgroup")?;
    host.cgroup_parent.clone_from(&security.cgroup_parent);
    host.devices = Some(devices.collect());
    // Every API version that is spoken takes them: they came with 1.40.
    let requests: Vec<_> = security.device_requests.iter().map(device_request).collect();
    host.device_requests = Some(requests).filter(|requests| !requests.is_empty());
    host.device_cgroup_rules = list(&security.device_cgroup_rules);
    host.sysctls = map(&security.sysctls);
    host.isolation = known(&security.isolation, "isolation")?;
    Ok(())
}

fn device_request(request: &DeviceRequest) -> bollard::models::DeviceRequest {
    let capabilities = request.capabilities.iter().map(|all| all.iter().cloned().collect());
    bollard::models::DeviceRequest {
        driver: request.driver.clone(),
        count: (request.count != 0).then_some(request.count),
        device_ids: list(&request.device_ids),
        capabilities: Some(capabilities.collect()),
        options: map(&request.options),
    }
}

/// One of the words that the engine knows for a field.
pub(super) fn known<T>(word: &Option<String>, field: &str) -> Result<Option<T>, Refusal>
where
    T: std::str::FromStr,
{
    let refuse = |word: &String| format!("{field}: the engine knows no {word:?}");
    word.as_ref().map(|word| word.parse().map_err(|_| refuse(word))).transpose()
}

fn map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

fn list(set: &BTreeSet<String>) -> Option<Vec<String>> {
    (!set.is_empty()).then(|| set.iter().cloned().collect())
}

#[cfg(test)]
mod tests;
