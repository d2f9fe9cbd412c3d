//! Works out what a declared contract becomes on an engine: with the image's settings filled in,
//! and written the one way in which equal things are equal. Owns both rules. Face: `effective`,
//! `normalise`, `resolve_namespaces`. Never asks an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    Attachment, HealthProbe, Healthcheck, ImageFacts, Mount, MountKind, NetworkMode, PortBinding,
    Protocol, STOP_GRACE_PERIOD_DEFAULT, ServiceSpec, labels,
};

/// The engine's values for a health check that names none (its API reference, `HealthConfig`).
const HEALTH_INTERVAL_DEFAULT: Duration = Duration::from_secs(30);
const HEALTH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const HEALTH_RETRIES_DEFAULT: u32 = 3;
const HEALTH_START_INTERVAL_DEFAULT: Duration = Duration::from_secs(5);

/// The contract that a container of this image is found with after it was made from `declared`.
///
/// References to other services (`network_mode: service:db`) stay as they are: see
/// [`resolve_namespaces`].
pub fn effective(declared: &ServiceSpec, image: &ImageFacts) -> ServiceSpec {
    let mut spec = declared.clone();
    let defaults = &image.defaults;
    fill_process(&mut spec, defaults);
    spec.healthcheck = merged_healthcheck(spec.healthcheck, defaults.healthcheck.as_ref());
    for (name, value) in &defaults.environment {
        spec.environment.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (key, value) in labels::without_bookkeeping(&defaults.labels) {
        spec.labels.entry(key).or_insert(value);
    }
    spec.expose.extend(defaults.expose.iter().cloned());
    for (target, mount) in &defaults.mounts {
        let is_mounted = spec.mounts.keys().any(|own| trimmed(own) == trimmed(target));
        if !is_mounted {
            spec.mounts.insert(target.clone(), mount.clone());
        }
    }
    normalise(&mut spec);
    spec
}

/// Program, arguments, user, directory and stop signal, by the engine's rule: an entry point of
/// the service's own drops the image's arguments, and an empty list of arguments is no list.
fn fill_process(spec: &mut ServiceSpec, defaults: &ServiceSpec) {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&spec.entrypoint) {
        if is_empty(&spec.command) {
            spec.command.clone_from(&defaults.command);
        }
        if spec.entrypoint.is_none() {
            spec.entrypoint.clone_from(&defaults.entrypoint);
        }
    }
    let filled = |own: &mut Option<String>, default: &Option<String>| {
        if own.as_ref().is_none_or(String::is_empty) {
            own.clone_from(default);
        }
    };
    filled(&mut spec.user, &defaults.user);
    filled(&mut spec.working_dir, &defaults.working_dir);
    filled(&mut spec.stop_signal, &defaults.stop_signal);
}

fn merged_healthcheck(
    declared: Option<Healthcheck>,
    image: Option<&Healthcheck>,
) -> Option<Healthcheck> {
    let Some(mut own) = declared else { return image.cloned() };
    let Some(image) = image else { return Some(own) };
    if own.probe == HealthProbe::Inherit {
        own.probe = image.probe.clone();
    }
    own.interval = own.interval.or(image.interval);
    own.timeout = own.timeout.or(image.timeout);
    own.retries = own.retries.or(image.retries);
    own.start_period = own.start_period.or(image.start_period);
    own.start_interval = own.start_interval.or(image.start_interval);
    Some(own)
}

/// Replaces references to other services by what they stand for: `resolved` maps the spelling in
/// the contract (`service:db`) to a container's id.
pub fn resolve_namespaces(spec: &mut ServiceSpec, resolved: &BTreeMap<String, String>) {
    let spelling = match &spec.network_mode {
        NetworkMode::Service(service) => Some(format!("service:{service}")),
        NetworkMode::Container(container) => Some(format!("container:{container}")),
        _ => None,
    };
    if let Some(id) = spelling.and_then(|spelling| resolved.get(&spelling)) {
        spec.network_mode = NetworkMode::Container(id.clone());
    }
    for mode in [&mut spec.security.ipc_mode, &mut spec.security.pid_mode] {
        if let Some(id) = mode.as_ref().and_then(|spelling| resolved.get(spelling)) {
            *mode = Some(format!("container:{id}"));
        }
    }
    let from = std::mem::take(&mut spec.volumes_from);
    spec.volumes_from = from.iter().map(|from| resolve_volumes_from(from, resolved)).collect();
}

/// One entry of `volumes_from` as the engine takes it: a container, and `:ro` where it says so. Compose
/// writes `container:` before one that is no service.
pub fn resolve_volumes_from(entry: &str, resolved: &BTreeMap<String, String>) -> String {
    if let Some(container) = entry.strip_prefix("container:") {
        return container.to_owned();
    }
    let (name, mode) = entry.split_once(':').unwrap_or((entry, ""));
    let container = resolved.get(name).map_or(name, String::as_str);
    if mode.is_empty() { container.to_owned() } else { format!("{container}:{mode}") }
}

/// Writes the contract the one way: what means the same to the engine becomes equal, and what is
/// the engine's default becomes undeclared. Idempotent.
pub fn normalise(spec: &mut ServiceSpec) {
    for list in [&mut spec.command, &mut spec.entrypoint] {
        list.take_if(|list| list.is_empty());
    }
    for text in [
        &mut spec.user,
        &mut spec.working_dir,
        &mut spec.hostname,
        &mut spec.domainname,
        &mut spec.runtime,
        &mut spec.platform,
    ] {
        text.take_if(|text| text.is_empty());
    }
    spec.init.take_if(|init| !*init);
    spec.stop_signal = spec.stop_signal.take().and_then(|signal| normal_signal(&signal));
    spec.stop_grace_period = spec.stop_grace_period.and_then(normal_grace);
    spec.healthcheck = spec.healthcheck.take().and_then(normal_healthcheck);
    spec.logging.take_if(|logging| logging.driver.is_none() && logging.options.is_empty());
    spec.extra_hosts = spec.extra_hosts.iter().map(|line| normal_host(line)).collect();
    spec.external_links = spec.external_links.iter().map(|link| normal_link(link)).collect();
    spec.volumes_from =
        spec.volumes_from.iter().map(|from| from.trim_end_matches(":rw").to_owned()).collect();
    spec.ports = std::mem::take(&mut spec.ports).into_iter().map(normal_port).collect();
    spec.expose = exposed_ports(spec);
    normalise_mounts(spec);
    normalise_network(spec);
    normalise_resources(spec);
    normalise_security(spec);
}

/// `SIGTERM`, `TERM` and `15` are the default.
fn normal_signal(signal: &str) -> Option<String> {
    let upper = signal.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    match bare {
        "" | "TERM" | "15" => None,
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => Some(number.to_owned()),
        name => Some(format!("SIG{name}")),
    }
}

/// The engine counts whole seconds; a part of one is rounded up.
fn normal_grace(grace: Duration) -> Option<Duration> {
    let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    let whole = Duration::from_secs(seconds);
    (whole != STOP_GRACE_PERIOD_DEFAULT).then_some(whole)
}

fn normal_healthcheck(mut check: Healthcheck) -> Option<Healthcheck> {
    match check.probe {
        HealthProbe::Inherit => return None,
        HealthProbe::Disabled => {
            return Some(Healthcheck {
                probe: HealthProbe::Disabled,
                interval: None,
                timeout: None,
                retries: None,
                start_period: None,
                start_interval: None,
            });
        }
        HealthProbe::Exec(_) | HealthProbe::Shell(_) => {}
    }
    let drop = |value: &mut Option<Duration>, default: Duration| {
        value.take_if(|value| value.is_zero() || *value == default);
    };
    drop(&mut check.interval, HEALTH_INTERVAL_DEFAULT);
    drop(&mut check.timeout, HEALTH_TIMEOUT_DEFAULT);
    drop(&mut check.start_period, Duration::ZERO);
    drop(&mut check.start_interval, HEALTH_START_INTERVAL_DEFAULT);
    check.retries.take_if(|retries| *retries == 0 || *retries == HEALTH_RETRIES_DEFAULT);
    Some(check)
}

fn normal_host(line: &str) -> String {
    let (name, address) =
        line.split_once('=').or_else(|| line.split_once(':')).unwrap_or((line, ""));
    let address = address.trim();
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    format!("{}={}", name.trim(), bare.unwrap_or(address))
}

/// The engine reports links of its default bridge as `/target:/own-name/alias`.
fn normal_link(link: &str) -> String {
    let (target, alias) = link.split_once(':').unwrap_or((link, link));
    let target = target.trim_start_matches('/');
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    format!("{target}:{alias}")
}

fn normal_port(mut port: PortBinding) -> PortBinding {
    port.host_ip.take_if(|ip| ip.is_empty());
    port.host_port.take_if(|range| range.is_empty() || range == "0");
    port
}

/// All ports that a container documents as open, the published ones included, one by one:
/// `8080/tcp`.
pub fn exposed_ports(spec: &ServiceSpec) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = spec.ports.iter().map(container_side).collect();
    for entry in &spec.expose {
        let (ports, protocol) = entry.split_once('/').unwrap_or((entry, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => {
                all.extend((first..=last).map(|port| format!("{port}/{protocol}")));
            }
            _ => drop(all.insert(entry.clone())),
        }
    }
    all
}

/// A port as the engine lists it: `8080/tcp`.
pub fn container_side(port: &PortBinding) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    format!("{}/{protocol}", port.container_port)
}

fn trimmed(path: &str) -> &str {
    if path == "/" { path } else { path.trim_end_matches('/') }
}

fn normalise_mounts(spec: &mut ServiceSpec) {
    let mounts = std::mem::take(&mut spec.mounts).into_iter();
    spec.mounts = mounts.map(|(target, mount)| (trimmed(&target).to_owned(), mount)).collect();
    for mount in spec.mounts.values_mut() {
        match &mut mount.kind {
            MountKind::Bind { source, propagation, .. } => {
                *source = trimmed(source).to_owned();
                propagation.take_if(|mode| mode.is_empty() || mode == "rprivate");
            }
            MountKind::Volume { subpath, .. } => drop(subpath.take_if(|path| path.is_empty())),
            MountKind::Tmpfs { .. } => normalise_tmpfs(mount),
            MountKind::Anonymous | MountKind::NamedPipe { .. } | MountKind::Cluster { .. } => {}
        }
    }
}

/// Takes `size=`, `mode=` and `ro` out of the raw options, and sorts what is left.
fn normalise_tmpfs(mount: &mut Mount) {
    let MountKind::Tmpfs { size_bytes, mode, options } = &mut mount.kind else { return };
    let raw = options.take().unwrap_or_default();
    let mut rest = BTreeSet::new();
    for option in raw.split(',').filter(|option| !option.is_empty()) {
        let size = option.strip_prefix("size=").and_then(tmpfs_size);
        let bits = option.strip_prefix("mode=").and_then(|text| u32::from_str_radix(text, 8).ok());
        match option {
            "ro" => mount.read_only = true,
            "rw" => {}
            _ if size.is_some() => *size_bytes = size,
            _ if bits.is_some() => *mode = bits,
            _ => drop(rest.insert(option)),
        }
    }
    size_bytes.take_if(|size| *size == 0);
    mode.take_if(|mode| *mode == 0);
    if !rest.is_empty() {
        *options = Some(rest.into_iter().collect::<Vec<_>>().join(","));
    }
}

/// A size as mount(8) writes it for tmpfs: bytes, or with `k`, `m`, `g`.
fn tmpfs_size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower.as_str(), 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn normalise_network(spec: &mut ServiceSpec) {
    match &mut spec.network_mode {
        NetworkMode::Other(mode) if mode == "bridge" || mode == "default" => {
            spec.network_mode = NetworkMode::default();
        }
        NetworkMode::Networks(networks) => {
            for attachment in networks.values_mut() {
                normalise_attachment(attachment, spec.hostname.as_deref());
            }
            if networks.len() == 1 && networks.get("bridge").is_some_and(is_plain) {
                networks.clear();
            }
        }
        _ => {}
    }
}

/// Is nothing declared about this membership? A hardware address is there in any case.
fn is_plain(attachment: &Attachment) -> bool {
    let given = Attachment { mac_address: None, priority: 0, ..attachment.clone() };
    given == Attachment::default()
}

/// Engines before API 1.44 add the host name to the aliases in networks joined later.
fn normalise_attachment(attachment: &mut Attachment, hostname: Option<&str>) {
    attachment.aliases.retain(|alias| Some(alias.as_str()) != hostname);
    for address in [&mut attachment.ipv4_address, &mut attachment.ipv6_address] {
        address.take_if(|address| address.is_empty());
    }
    let mac = attachment.mac_address.take().filter(|mac| !mac.is_empty());
    attachment.mac_address = mac.map(|mac| mac.to_ascii_lowercase().replace('-', ":"));
}

pub(super) fn normalise_resources(spec: &mut ServiceSpec) {
    let resources = &mut spec.resources;
    for size in [
        &mut resources.memory_bytes,
        &mut resources.memory_reservation_bytes,
        &mut resources.memory_swap_bytes,
        &mut resources.nano_cpus,
        &mut resources.cpu_shares,
        &mut resources.cpu_quota_micros,
        &mut resources.cpu_period_micros,
        &mut resources.cpu_rt_runtime_micros,
        &mut resources.cpu_rt_period_micros,
        &mut resources.cpu_count,
        &mut resources.cpu_percent,
        &mut resources.shm_size_bytes,
        &mut resources.oom_score_adj,
    ] {
        size.take_if(|size| *size == 0);
    }
    // The engine allows as much swap as memory when nothing is said.
    let doubled = resources.memory_bytes.and_then(|memory| memory.checked_mul(2));
    resources.memory_swap_bytes.take_if(|swap| doubled == Some(*swap));
    resources.memory_swappiness.take_if(|swappiness| *swappiness < 0);
    resources.pids_max.take_if(|pids| *pids <= 0);
    resources.cpuset_cpus.take_if(|cpus| cpus.is_empty());
    resources.blkio.weight.take_if(|weight| *weight == 0);
}

fn normalise_security(spec: &mut ServiceSpec) {
    let security = &mut spec.security;
    for caps in [&mut security.cap_add, &mut security.cap_drop] {
        *caps = caps.iter().map(|cap| normal_capability(cap)).collect();
    }
    let is_host = |mode: &Option<String>| mode.as_deref() == Some("host");
    // The engine adds this option itself to containers that share so much with the host.
    let is_label_disabled =
        security.privileged || is_host(&security.ipc_mode) || is_host(&security.pid_mode);
    // Of two words the engine takes the last one, and a set has no last one: both stay.
    let contradicts = is_contradictory(&security.security_opt);
    security.security_opt = security
        .security_opt
        .iter()
        .filter_map(|option| normal_security_option(option))
        .filter(|option| !(is_label_disabled && option == "label=disable"))
        .chain(contradicts.then(|| "no-new-privileges=false".to_owned()))
        .collect();
    for mode in [
        &mut security.userns_mode,
        &mut security.ipc_mode,
        &mut security.pid_mode,
        &mut security.uts_mode,
        &mut security.cgroupns_mode,
        &mut security.cgroup_parent,
    ] {
        mode.take_if(|mode| mode.is_empty());
    }
    security.isolation.take_if(|mode| mode.is_empty() || mode == "default");
    for device in &mut security.devices {
        if device.target.is_empty() {
            device.target.clone_from(&device.source);
        }
        if device.permissions.is_empty() {
            "rwm".clone_into(&mut device.permissions);
        }
    }
    security.devices.sort();
    for request in &mut security.device_requests {
        request.driver.take_if(|driver| driver.is_empty());
        request.capabilities.retain(|all| !all.is_empty());
    }
    security.device_requests.sort();
}

fn normal_capability(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

/// Does it say both that a process may gain privileges and that it may not?
fn is_contradictory(options: &BTreeSet<String>) -> bool {
    let words: BTreeSet<Option<String>> = options
        .iter()
        .filter(|option| option.starts_with("no-new-privileges"))
        .map(|option| normal_security_option(option))
        .collect();
    words.len() > 1 && words.contains(&None)
}

/// `key:value` is the old spelling of `key=value`; `no-new-privileges` alone means true.
fn normal_security_option(option: &str) -> Option<String> {
    let split = option.split_once('=').or_else(|| option.split_once(':'));
    match split.unwrap_or((option, "")) {
        ("no-new-privileges", "" | "true" | "1") => Some("no-new-privileges".to_owned()),
        ("no-new-privileges", "false" | "0") => None,
        (key, "") => Some(key.to_owned()),
        (key, value) => Some(format!("{key}={value}")),
    }
}

#[cfg(test)]
mod tests;
