//! The one object that conditions of policies are about: {service, container, image, host}. Owns its
//! fields, and how each of them follows from the facts. Face: `ROOT`, `document`. Never says that
//! something is absent when nobody knows: such a field is unknown, and names the fact that it needs.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Subject;
use super::condition::{Field, Key, List, Map, Shape, Value};
use crate::base::Timestamp;
use crate::base::time::between;
use crate::facts::{
    ContainerFacts, HealthProbe, Healthcheck, HostFacts, ImageFacts, Mount, MountKind, NetworkMode,
    PortBinding, Protocol, RestartPolicy, ServiceSpec, effective, normalise,
};

/// Declares the fields of objects.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident in $path:literal {
        $($field:literal: $shape:expr, $tells:literal;)+
    })+) => {
        $(
            $(#[$doc])*
            const $name: &[Field] = &[$(Field {
                name: $field,
                path: concat!($path, ".", $field),
                shape: $shape,
                tells: $tells,
            },)+];
        )+
    };
}

use Shape::{Map as MapOf, Object, Text, Whole, YesNo};

const TEXTS: Shape = Shape::List(&Text);
const LABELS: Shape = MapOf(&Text);

/// What a condition can name.
pub const ROOT: &[Field] = &[
    root("service", Object(SERVICE), "what is declared, or runs, with what its image gives to it"),
    root("container", Object(CONTAINER), "the container that runs; not known before it does"),
    root("image", Object(IMAGE), "the image, as soon as the engine has it"),
    root("host", Object(HOST), "the host and its engine, when somebody looked"),
];

const fn root(name: &'static str, shape: Shape, tells: &'static str) -> Field {
    Field { name, path: name, shape, tells }
}

fields! {
    SERVICE in "service" {
        "name": Text, "its name; that of the container where it has no service";
        "project": Text, "its project";
        "image": Text, "the image's reference as it is declared";
        "registry": Text, "where the image comes from; `docker.io` when its reference says nothing";
        "repository": Text, "the image's name without registry, tag and digest";
        "tag": Text, "the image's tag";
        "digest": Text, "the image's digest in its reference, `sha256:…`";
        "is_built": YesNo, "the image is built from files that are declared with it";
        "platform": Text, "`os/arch[/variant]`";
        "user": Text, "`user[:group]`";
        "groups": TEXTS, "additional groups";
        "command": TEXTS, "arguments";
        "entrypoint": TEXTS, "the program";
        "working_dir": Text, "the folder that it begins in";
        "hostname": Text, "its host name";
        "tty": YesNo, "it has a terminal";
        "stdin_open": YesNo, "its standard input is open";
        "init": YesNo, "the first process is an init process";
        "runtime": Text, "the runtime; null is the engine's default";
        "stop_signal": Text, "the signal that stops it; null is SIGTERM";
        "stop_grace_seconds": Whole, "how long it may take to stop; null is ten seconds";
        "labels": LABELS, "its labels, without those of Compose and of this agent";
        "annotations": LABELS, "annotations for the runtime";
        "environment": TEXTS, "the names in its environment; values may be secret and are never here";
        "literals": TEXTS, "those of them whose values stand in a compose file";
        "restart": Object(RESTART), "what the engine does when it ends";
        "healthcheck": Object(HEALTHCHECK), "how its health is found out; null is not at all";
        "ports": Shape::List(&Object(PORT)), "published ports, each by itself";
        "mounts": Shape::List(&Object(MOUNT)), "what is mounted, apart from volumes without a name";
        "network_mode": Text, "`networks`, `host`, `none`, `service:…`, `container:…` or another";
        "networks": TEXTS, "its networks; none of them is the engine's default bridge";
        "extra_hosts": TEXTS, "`name=address` lines";
        "dns": TEXTS, "name servers";
        "links": TEXTS, "links to containers outside of the project";
        "volumes_from": TEXTS, "containers whose volumes are mounted as well";
        "resources": Object(RESOURCES), "limits";
        "security": Object(SECURITY), "what widens or narrows what it may do";
        "logging": Object(LOGGING), "where its output goes; null is the engine's default";
    }
    RESTART in "service.restart" {
        "policy": Text, "`no`, `always`, `on-failure` or `unless-stopped`";
        "retries_max": Whole, "of `on-failure`: it gives up after so many; 0 is never";
    }
    HEALTHCHECK in "service.healthcheck" {
        "is_disabled": YesNo, "it is switched off";
        "test": TEXTS, "the command: `CMD-SHELL` and a line, or `CMD` and words";
        "interval_seconds": Whole, "null is 30, here and for the timeout";
        "timeout_seconds": Whole, "a check that takes longer has failed";
        "retries": Whole, "failures in a row until it is unhealthy; null is 3";
        "start_period_seconds": Whole, "failures in this time do not count";
    }
    PORT in "service.ports" {
        "container_port": Whole, "the port inside";
        "protocol": Text, "`tcp`, `udp` or `sctp`";
        "host_ip": Text, "the address on the host; null is every one";
        "host_port_first": Whole, "the port on the host, or the first of a range; null lets the engine choose";
        "host_port_last": Whole, "the same, or the last of a range";
    }
    MOUNT in "service.mounts" {
        "target": Text, "the path inside";
        "type": Text, "`bind`, `volume`, `tmpfs`, `npipe` or `cluster`";
        "source": Text, "the path on the host, or the volume's name";
        "read_only": YesNo, "it cannot be written";
        "propagation": Text, "of a path of the host; null is the engine's default";
        "selinux": Text, "of a path of the host: `z` or `Z`";
        "size_bytes": Whole, "of memory";
    }
    RESOURCES in "service.resources" {
        "memory_bytes": Whole, "hard limit of memory; null is none, here and below";
        "memory_reservation_bytes": Whole, "soft limit of memory";
        "memory_swap_bytes": Whole, "memory and swap together; -1 is without limit";
        "nano_cpus": Whole, "thousand-millionths of a CPU";
        "cpu_shares": Whole, "relative weight of CPU time";
        "cpu_quota_micros": Whole, "CPU time in each period";
        "cpu_period_micros": Whole, "the length of a period";
        "cpuset_cpus": Text, "CPUs that may be used";
        "pids_max": Whole, "most processes";
        "shm_size_bytes": Whole, "the size of `/dev/shm`";
        "oom_kill_disable": YesNo, "the kernel does not kill it when memory runs out";
        "oom_score_adj": Whole, "preference for being killed";
        "ulimits": MapOf(&Object(ULIMIT)), "process limits by name";
    }
    ULIMIT in "service.resources.ulimits" {
        "soft": Whole, "the process may raise it to the hard one";
        "hard": Whole, "the end";
    }
    SECURITY in "service.security" {
        "privileged": YesNo, "it has all capabilities and devices";
        "read_only": YesNo, "its root file system cannot be written";
        "cap_add": TEXTS, "capabilities that are added, upper case without `CAP_`";
        "cap_drop": TEXTS, "capabilities that are dropped";
        "security_opt": TEXTS, "security options, each as `name` or `name=value`";
        "no_new_privileges": YesNo, "no process gains privileges that it was not started with";
        "userns_mode": Text, "`host`, or null";
        "ipc_mode": Text, "`host`, `private`, `shareable`, `container:…`, `service:…`";
        "pid_mode": Text, "`host`, `container:…`, `service:…`";
        "uts_mode": Text, "`host`, or null";
        "cgroupns_mode": Text, "`host` or `private`";
        "cgroup_parent": Text, "the control group above it";
        "devices": Shape::List(&Object(DEVICE)), "devices of the host";
        "device_cgroup_rules": TEXTS, "rules such as `c 1:3 rwm`";
        "sysctls": LABELS, "kernel parameters";
    }
    DEVICE in "service.security.devices" {
        "source": Text, "the path on the host";
        "target": Text, "the path inside";
        "permissions": Text, "some of `rwm`";
    }
    LOGGING in "service.logging" {
        "driver": Text, "the driver; null is the engine's default with other options";
        "options": LABELS, "the driver's options";
    }
    CONTAINER in "container" {
        "name": Text, "its name";
        "state": Text, "`created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`";
        "health": Text, "`none`, `starting`, `healthy` or `unhealthy`";
        "exit_code": Whole, "the status of its last end";
        "restart_count": Whole, "restarts by the engine's policy";
        "oom_killed": YesNo, "the kernel killed it for want of memory";
        "is_oneoff": YesNo, "it was made by `compose run`";
        "is_ours": YesNo, "this agent made it";
        "image_id": Text, "the id of the image that it runs";
        "labels": LABELS, "all of its labels";
        "networks": TEXTS, "networks that it is in now";
        "age_days": Whole, "whole days since it was made";
        "processes": TEXTS, "the commands of the processes inside, when somebody looked";
    }
    IMAGE in "image" {
        "id": Text, "its id, `sha256:…`";
        "tags": TEXTS, "its names with tags";
        "digests": TEXTS, "its names with digests";
        "platform": Text, "`os/arch[/variant]`";
        "size_bytes": Whole, "its size";
        "age_days": Whole, "whole days since it was made";
        "user": Text, "the user of its own";
        "labels": LABELS, "its labels";
        "environment": TEXTS, "the names in its environment";
        "command": TEXTS, "its arguments";
        "entrypoint": TEXTS, "its program";
        "working_dir": Text, "its folder";
        "stop_signal": Text, "its signal";
        "expose": TEXTS, "ports that it documents as open, such as `8080/tcp`";
        "has_healthcheck": YesNo, "it brings a health check";
        "healthcheck": Object(HEALTHCHECK), "its health check, as that of a service";
    }
    HOST in "host" {
        "security_options": TEXTS, "the engine's, such as `name=seccomp,profile=builtin`";
        "logging_driver": Text, "the log driver of containers that name none";
        "storage_driver": Text, "the storage driver";
        "insecure_registries": TEXTS, "registries whose certificates it does not check";
        "authorization_plugins": TEXTS, "plugins that are asked before each call";
        "live_restore": YesNo, "containers go on while the engine is away";
        "is_experimental": YesNo, "it has experimental features";
        "is_in_swarm": YesNo, "it is part of a swarm";
        "is_rootless": YesNo, "it does not run as root";
    }
}

/// The object for one subject.
pub fn document(subject: &Subject<'_>) -> Value {
    object([
        ("service", service(subject)),
        ("container", container(subject)),
        ("image", image(subject)),
        ("host", subject.host.map_or_else(|| absent(HOST), host)),
    ])
}

/// An object of which nothing is known.
fn absent(fields: &'static [Field]) -> Value {
    object(fields.iter().map(|field| (field.name, Value::unknown(field.path))))
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let entries = fields.into_iter().map(|(name, value)| (Key::text(name), value)).collect();
    Value::Map(Arc::new(Map { entries, open: None, is_object: true }))
}

fn text(text: Option<&str>) -> Value {
    text.filter(|text| !text.is_empty()).map_or(Value::Null, Value::text)
}

fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::list(items.into_iter().map(Value::text))
}

fn whole<T: TryInto<i64>>(number: Option<T>) -> Value {
    number.map_or(Value::Null, |number| Value::Whole(number.try_into().unwrap_or(i64::MAX)))
}

fn seconds(time: Option<Duration>) -> Value {
    whole(time.map(|time| time.as_secs()))
}

fn map(entries: &BTreeMap<String, String>, open: Option<&'static str>) -> Value {
    let entries = entries.iter().map(|(key, value)| (Key::text(key), Value::text(value))).collect();
    Value::Map(Arc::new(Map { entries, open, is_object: false }))
}

/// Whole days from a moment until now.
fn days(since: Option<Timestamp>, now: Option<Timestamp>, needs: &'static str) -> Value {
    const SECONDS: u64 = 24 * 60 * 60;
    match (since, now) {
        (Some(since), Some(now)) => whole(Some(between(since, now).as_secs() / SECONDS)),
        _ => Value::unknown(needs),
    }
}

fn service(subject: &Subject<'_>) -> Value {
    // What runs has the image's settings already.
    let is_whole = subject.container.is_some() || subject.image.is_some();
    let spec = match (subject.container, subject.image) {
        (None, Some(image)) => effective(subject.spec, image),
        _ => {
            let mut spec = subject.spec.clone();
            normalise(&mut spec);
            spec
        }
    };
    let open = |needs: &'static str| (!is_whole).then_some(needs);
    let filled = |value: Value, needs: &'static str| match value {
        Value::Null if !is_whole => Value::unknown(needs),
        known => known,
    };
    let list = |list: &Option<Vec<String>>| list.as_ref().map_or(Value::Null, texts);
    // A program of its own drops the image's arguments.
    let command = match &spec.entrypoint {
        Some(_) => list(&spec.command),
        None => filled(list(&spec.command), "image.command"),
    };
    let environment = spec.environment.keys().map(Value::text).collect();
    let environment = List { items: environment, open: open("image.environment") };
    let healthcheck = match &spec.healthcheck {
        Some(check) if check.probe != HealthProbe::Inherit => healthcheck(check),
        _ => filled(Value::Null, "image.healthcheck"),
    };
    let reference = Reference::of(&subject.spec.image);
    let logging = spec.logging.as_ref().map_or(Value::Null, |logging| {
        object([
            ("driver", text(logging.driver.as_deref())),
            ("options", map(&logging.options, None)),
        ])
    });
    object([
        ("name", Value::text(subject.service)),
        ("project", text(subject.project)),
        ("image", text(Some(&subject.spec.image))),
        ("registry", text(Some(reference.registry))),
        ("repository", text(Some(reference.repository))),
        ("tag", text(reference.tag)),
        ("digest", text(reference.digest)),
        ("is_built", Value::YesNo(subject.is_built)),
        ("platform", text(spec.platform.as_deref())),
        ("user", filled(text(spec.user.as_deref()), "image.user")),
        ("groups", texts(&spec.group_add)),
        ("command", command),
        ("entrypoint", filled(list(&spec.entrypoint), "image.entrypoint")),
        ("working_dir", filled(text(spec.working_dir.as_deref()), "image.working_dir")),
        ("hostname", text(spec.hostname.as_deref())),
        ("tty", Value::YesNo(spec.tty)),
        ("stdin_open", Value::YesNo(spec.stdin_open)),
        ("init", Value::YesNo(spec.init == Some(true))),
        ("runtime", text(spec.runtime.as_deref())),
        ("stop_signal", filled(text(spec.stop_signal.as_deref()), "image.stop_signal")),
        ("stop_grace_seconds", seconds(spec.stop_grace_period)),
        ("labels", map(&spec.labels, open("image.labels"))),
        ("annotations", map(&spec.annotations, None)),
        ("environment", Value::List(Arc::new(environment))),
        ("literals", subject.literals.map_or(Value::unknown("declaration.environment"), texts)),
        ("restart", restart(spec.restart)),
        ("healthcheck", healthcheck),
        ("ports", Value::list(spec.ports.iter().map(port))),
        ("mounts", Value::list(spec.mounts.iter().filter_map(|(at, it)| mount(at, it)))),
        ("network_mode", network_mode(&spec)),
        ("networks", networks(&spec)),
        ("extra_hosts", texts(&spec.extra_hosts)),
        ("dns", texts(&spec.dns)),
        ("links", texts(&spec.external_links)),
        ("volumes_from", texts(&spec.volumes_from)),
        ("resources", resources(&spec)),
        ("security", security(&spec)),
        ("logging", logging),
    ])
}

/// The parts of an image's reference.
struct Reference<'a> {
    registry: &'a str,
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn of(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first, rest)
            }
            _ => ("docker.io", name),
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        Self { registry, repository, tag, digest }
    }
}

fn restart(policy: RestartPolicy) -> Value {
    let (name, retries) = match policy {
        RestartPolicy::No => ("no", None),
        RestartPolicy::Always => ("always", None),
        RestartPolicy::OnFailure { retries_max } => ("on-failure", Some(retries_max)),
        RestartPolicy::UnlessStopped => ("unless-stopped", None),
    };
    object([("policy", Value::text(name)), ("retries_max", whole(retries))])
}

fn healthcheck(check: &Healthcheck) -> Value {
    let test = match &check.probe {
        HealthProbe::Exec(words) => {
            texts(std::iter::once("CMD").chain(words.iter().map(String::as_str)))
        }
        HealthProbe::Shell(line) => texts(["CMD-SHELL", line.as_str()]),
        HealthProbe::Disabled | HealthProbe::Inherit => Value::list([]),
    };
    object([
        ("is_disabled", Value::YesNo(check.probe == HealthProbe::Disabled)),
        ("test", test),
        ("interval_seconds", seconds(check.interval)),
        ("timeout_seconds", seconds(check.timeout)),
        ("retries", whole(check.retries)),
        ("start_period_seconds", seconds(check.start_period)),
    ])
}

fn port(port: &PortBinding) -> Value {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    let range = port.host_port.as_deref().unwrap_or_default();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| whole(text.parse::<u16>().ok());
    object([
        ("container_port", whole(Some(port.container_port))),
        ("protocol", Value::text(protocol)),
        ("host_ip", text(port.host_ip.as_deref())),
        ("host_port_first", number(first)),
        ("host_port_last", number(last)),
    ])
}

/// Volumes without a name are left out: those of an image are not known before it is there, and none
/// of them has a source.
fn mount(target: &str, mount: &Mount) -> Option<Value> {
    let none: (Option<&str>, Option<&str>, Option<u64>) = (None, None, None);
    let (kind, source, (propagation, selinux, size)) = match &mount.kind {
        MountKind::Bind { source, propagation, selinux, .. } => {
            ("bind", Some(source), (propagation.as_deref(), selinux.as_deref(), None))
        }
        MountKind::Volume { name, .. } => ("volume", Some(name), none),
        MountKind::Tmpfs { size_bytes, .. } => ("tmpfs", None, (None, None, *size_bytes)),
        MountKind::NamedPipe { source } => ("npipe", Some(source), none),
        MountKind::Cluster { source } => ("cluster", Some(source), none),
        MountKind::Anonymous => return None,
    };
    Some(object([
        ("target", Value::text(target)),
        ("type", Value::text(kind)),
        ("source", text(source.map(String::as_str))),
        ("read_only", Value::YesNo(mount.read_only)),
        ("propagation", text(propagation)),
        ("selinux", text(selinux)),
        ("size_bytes", whole(size)),
    ]))
}

fn network_mode(spec: &ServiceSpec) -> Value {
    match &spec.network_mode {
        NetworkMode::Networks(_) => Value::text("networks"),
        NetworkMode::Host => Value::text("host"),
        NetworkMode::None => Value::text("none"),
        NetworkMode::Service(name) => Value::text(format!("service:{name}")),
        NetworkMode::Container(name) => Value::text(format!("container:{name}")),
        NetworkMode::Other(mode) => Value::text(mode),
    }
}

fn networks(spec: &ServiceSpec) -> Value {
    match &spec.network_mode {
        NetworkMode::Networks(networks) => texts(networks.keys()),
        _ => Value::list([]),
    }
}

fn resources(spec: &ServiceSpec) -> Value {
    let it = &spec.resources;
    let ulimits = it.ulimits.iter().map(|(name, limit)| {
        let fields = [("soft", Value::Whole(limit.soft)), ("hard", Value::Whole(limit.hard))];
        (Key::text(name), object(fields))
    });
    let ulimits = Map { entries: ulimits.collect(), open: None, is_object: false };
    object([
        ("memory_bytes", whole(it.memory_bytes)),
        ("memory_reservation_bytes", whole(it.memory_reservation_bytes)),
        ("memory_swap_bytes", whole(it.memory_swap_bytes)),
        ("nano_cpus", whole(it.nano_cpus)),
        ("cpu_shares", whole(it.cpu_shares)),
        ("cpu_quota_micros", whole(it.cpu_quota_micros)),
        ("cpu_period_micros", whole(it.cpu_period_micros)),
        ("cpuset_cpus", text(it.cpuset_cpus.as_deref())),
        ("pids_max", whole(it.pids_max)),
        ("shm_size_bytes", whole(it.shm_size_bytes)),
        ("oom_kill_disable", Value::YesNo(it.oom_kill_disable)),
        ("oom_score_adj", whole(it.oom_score_adj)),
        ("ulimits", Value::Map(Arc::new(ulimits))),
    ])
}

fn security(spec: &ServiceSpec) -> Value {
    let it = &spec.security;
    let devices = it.devices.iter().map(|device| {
        object([
            ("source", Value::text(&device.source)),
            ("target", Value::text(&device.target)),
            ("permissions", Value::text(&device.permissions)),
        ])
    });
    object([
        ("privileged", Value::YesNo(it.privileged)),
        ("read_only", Value::YesNo(it.read_only)),
        ("cap_add", texts(&it.cap_add)),
        ("cap_drop", texts(&it.cap_drop)),
        ("security_opt", texts(&it.security_opt)),
        // The one spelling of it after `normalise`.
        ("no_new_privileges", Value::YesNo(it.security_opt.contains("no-new-privileges"))),
        ("userns_mode", text(it.userns_mode.as_deref())),
        ("ipc_mode", text(it.ipc_mode.as_deref())),
        ("pid_mode", text(it.pid_mode.as_deref())),
        ("uts_mode", text(it.uts_mode.as_deref())),
        ("cgroupns_mode", text(it.cgroupns_mode.as_deref())),
        ("cgroup_parent", text(it.cgroup_parent.as_deref())),
        ("devices", Value::list(devices)),
        ("device_cgroup_rules", texts(&it.device_cgroup_rules)),
        ("sysctls", map(&it.sysctls, None)),
    ])
}

fn container(subject: &Subject<'_>) -> Value {
    let Some(it) = subject.container else { return absent(CONTAINER) };
    let word = |value: serde_json::Result<serde_json::Value>| match value {
        Ok(serde_json::Value::String(word)) => Value::text(word),
        _ => Value::Null,
    };
    let processes = subject.processes.map_or(Value::unknown("container.processes"), texts);
    object([
        ("name", Value::text(&it.name)),
        ("state", word(serde_json::to_value(it.state))),
        ("health", word(serde_json::to_value(it.health))),
        ("exit_code", Value::Whole(it.exit_code)),
        ("restart_count", whole(Some(it.restart_count))),
        ("oom_killed", Value::YesNo(it.oom_killed)),
        ("is_oneoff", Value::YesNo(it.oneoff)),
        ("is_ours", Value::YesNo(it.contract_hash.is_some())),
        ("image_id", text(Some(&it.image_id))),
        ("labels", map(&it.all_labels, None)),
        ("networks", texts(it.addresses.keys())),
        ("age_days", age_of(it, subject.now)),
        ("processes", processes),
    ])
}

fn age_of(container: &ContainerFacts, now: Option<Timestamp>) -> Value {
    days(container.created_at, now, "container.age_days")
}

fn image(subject: &Subject<'_>) -> Value {
    let Some(it) = subject.image else { return absent(IMAGE) };
    let ImageFacts {
        id,
        tags,
        digests,
        defaults,
        platform,
        size_bytes,
        created_at,
        last_tagged_at: _,
    } = it;
    let list = |list: &Option<Vec<String>>| list.as_ref().map_or(Value::Null, texts);
    let names: BTreeSet<&String> = defaults.environment.keys().collect();
    let check = defaults.healthcheck.as_ref();
    let is_check =
        |check: &&Healthcheck| matches!(check.probe, HealthProbe::Exec(_) | HealthProbe::Shell(_));
    object([
        ("id", text(Some(id))),
        ("tags", texts(tags)),
        ("digests", texts(digests)),
        ("platform", text(Some(platform))),
        ("size_bytes", whole(Some(*size_bytes))),
        ("age_days", days(*created_at, subject.now, "image.age_days")),
        ("user", text(defaults.user.as_deref())),
        ("labels", map(&defaults.labels, None)),
        ("environment", texts(names)),
        ("command", list(&defaults.command)),
        ("entrypoint", list(&defaults.entrypoint)),
        ("working_dir", text(defaults.working_dir.as_deref())),
        ("stop_signal", text(defaults.stop_signal.as_deref())),
        ("expose", texts(&defaults.expose)),
        ("has_healthcheck", Value::YesNo(check.is_some_and(|check| is_check(&check)))),
        ("healthcheck", check.map_or(Value::Null, healthcheck)),
    ])
}

fn host(facts: &HostFacts) -> Value {
    let Some(daemon) = &facts.daemon else { return absent(HOST) };
    let is_rootless = matches!(facts.security_option("rootless"), Some(Some(_)));
    object([
        ("security_options", texts(&daemon.security_options)),
        ("logging_driver", text(Some(&daemon.logging_driver))),
        ("storage_driver", text(Some(&daemon.storage_driver))),
        ("insecure_registries", texts(&daemon.insecure_registries)),
        ("authorization_plugins", texts(&daemon.authorization_plugins)),
        ("live_restore", Value::YesNo(daemon.live_restore)),
        ("is_experimental", Value::YesNo(daemon.is_experimental)),
        ("is_in_swarm", Value::YesNo(daemon.is_in_swarm)),
        ("is_rootless", Value::YesNo(is_rootless)),
    ])
}
