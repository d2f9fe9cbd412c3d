//! Lists every key of a compose file with its kind, in the words of `schema`. Owns the tables; they
//! follow the Compose Specification, in the order in which Docker Compose prints them as YAML. Face: `FILE`, `FILE_SHAPE`, `SERVICE_SHAPE`. Never holds a key
//! that Docker Compose does not know.

use super::schema::Shape::{
    self, Any, Bytes, Command, Duration, Flag, Float, Integer, List, Map, Object, Pairs, Text,
};
use super::schema::{Field, Fields, Form, Show, Unique, Unset};

/// A whole compose file, as a kind.
pub(super) static FILE_SHAPE: Shape = Object(&FILE);
/// One service, as a kind.
pub(super) static SERVICE_SHAPE: Shape = Object(&SERVICE);
/// The kind of an extension's value.
pub(super) static EXTENSION: Shape = Any;

/// Texts of which a later one replaces the same one.
const TEXTS: Shape = List(&Text, Unique::Text);
/// Texts that may repeat.
const MANY_TEXTS: Shape = List(&Text, Unique::No);
/// Texts of which none may repeat.
const DISTINCT_TEXTS: Shape = List(&Text, Unique::Distinct);
const LOOSE_TEXTS: Shape = List(&Shape::Loose, Unique::Text);
const ONE_OR_MORE: Shape = Shape::Short(Form::OneOrMore, &TEXTS);
const LABELS: Shape = Pairs(Unset::Empty);
const OPTIONS: Shape = Shape::Options;
const EXTERNAL: Shape = Shape::Short(Form::External, &Flag);

/// A whole compose file.
pub(super) static FILE: Fields = fields(&[
    never("version", Text),
    never("name", Text),
    never("include", List(&Shape::Short(Form::Include, &Object(&INCLUDE)), Unique::No)),
    always("services", Map(&Object(&SERVICE))),
    filled("networks", Map(&Object(&NETWORK))),
    filled("volumes", Map(&Shape::Short(Form::Volume, &Object(&VOLUME)))),
    filled("secrets", Map(&Object(&SECRET))),
    filled("configs", Map(&Object(&CONFIG))),
    filled("models", Map(&Object(&MODEL))),
]);

static MODEL: Fields = Fields {
    known: &[
        filled("name", Text),
        filled("model", Text),
        filled("context_size", Integer),
        filled("runtime_flags", MANY_TEXTS),
    ],
    required: &["model"],
};

static INCLUDE: Fields = Fields {
    known: &[
        filled("path", Shape::Short(Form::OneOrMore, &List(&Text, Unique::No))),
        filled("project_directory", Text),
        filled("env_file", Shape::Short(Form::OneOrMore, &List(&Text, Unique::No))),
    ],
    required: &["path"],
};

/// One service.
pub(super) static SERVICE: Fields = fields(&[
    filled("profiles", TEXTS),
    filled("annotations", LABELS),
    present("attach", Flag),
    filled("build", Shape::Short(Form::Build, &Object(&BUILD))),
    filled("develop", Shape::OrNull(&Object(&DEVELOP))),
    filled("blkio_config", Object(&BLKIO)),
    filled("cap_add", TEXTS),
    filled("cap_drop", TEXTS),
    filled("cgroup_parent", Text),
    filled("cgroup", Shape::Word(&["host", "private"])),
    filled("cpu_count", Integer),
    filled("cpu_percent", Float),
    filled("cpu_period", Integer),
    filled("cpu_quota", Integer),
    filled("cpu_rt_period", Integer),
    filled("cpu_rt_runtime", Integer),
    filled("cpus", Float),
    filled("cpuset", Text),
    filled("cpu_shares", Integer),
    always("command", Shape::OrNull(&Command)),
    filled(
        "configs",
        List(&Shape::Short(Form::Reference, &Object(&REFERENCE)), Unique::Mounted("")),
    ),
    filled("container_name", Text),
    filled("credential_spec", Object(&CREDENTIAL_SPEC)),
    filled("depends_on", Shape::Short(Form::DependsOn, &Map(&Object(&DEPENDENCY)))),
    filled("deploy", Shape::OrNull(&Object(&DEPLOY))),
    filled("device_cgroup_rules", DISTINCT_TEXTS),
    filled("devices", List(&Shape::Short(Form::Device, &Object(&DEVICE)), Unique::Target)),
    filled("dns", ONE_OR_MORE),
    filled("dns_opt", TEXTS),
    filled("dns_search", ONE_OR_MORE),
    filled("domainname", Text),
    always("entrypoint", Shape::OrNull(&Command)),
    filled("provider", Object(&PROVIDER)),
    filled("environment", Pairs(Unset::Inherit)),
    never("env_file", Shape::Short(Form::EnvFile, &List(&Object(&ENV_FILE), Unique::Path))),
    filled("expose", LOOSE_TEXTS),
    never("extends", Shape::Short(Form::Extends, &Object(&EXTENDS))),
    filled("external_links", DISTINCT_TEXTS),
    filled("extra_hosts", Shape::Hosts),
    filled("group_add", List(&Shape::Loose, Unique::Distinct)),
    filled("gpus", Shape::Short(Form::Gpus, &List(&Object(&GPU_REQUEST), Unique::No))),
    filled("hostname", Text),
    filled("healthcheck", Object(&HEALTHCHECK)),
    filled("image", Text),
    present("init", Flag),
    filled("ipc", Text),
    filled("isolation", Text),
    filled("labels", LABELS),
    never("label_file", Shape::Short(Form::OneOrMore, &List(&Shape::Path, Unique::Text))),
    filled("links", TEXTS),
    filled("logging", Object(&LOGGING)),
    filled("mem_limit", Bytes),
    filled("mem_reservation", Bytes),
    filled("memswap_limit", Bytes),
    filled("mem_swappiness", Bytes),
    filled("mac_address", Text),
    filled("models", Shape::Short(Form::Networks, &Map(&Object(&MODEL_USE)))),
    filled("network_mode", Text),
    filled("networks", Shape::Short(Form::Networks, &Map(&Object(&ATTACHMENT)))),
    filled("oom_kill_disable", Flag),
    filled("oom_score_adj", Integer),
    filled("pid", Shape::OrNull(&Text)),
    filled("pids_limit", Integer),
    filled("platform", Text),
    filled("ports", Shape::Short(Form::Ports, &List(&Object(&PORT), Unique::Port))),
    filled("privileged", Flag),
    filled("pull_policy", Shape::PullPolicy),
    filled("read_only", Flag),
    filled("restart", Text),
    filled("runtime", Text),
    present("scale", Integer),
    filled(
        "secrets",
        List(
            &Shape::Short(Form::SecretReference, &Object(&REFERENCE)),
            Unique::Mounted("/run/secrets"),
        ),
    ),
    filled("security_opt", DISTINCT_TEXTS),
    filled("shm_size", Bytes),
    filled("stdin_open", Flag),
    present("stop_grace_period", Duration),
    filled("stop_signal", Text),
    filled("storage_opt", OPTIONS),
    filled("sysctls", LABELS),
    filled("tmpfs", ONE_OR_MORE),
    filled("tty", Flag),
    filled("ulimits", ULIMITS),
    filled("user", Text),
    filled("userns_mode", Text),
    filled("uts", Text),
    filled("volumes", List(&Shape::Short(Form::Mount, &Object(&MOUNT)), Unique::Target)),
    filled("volumes_from", DISTINCT_TEXTS),
    filled("working_dir", Text),
    filled("post_start", List(&Object(&HOOK), Unique::No)),
    filled("pre_stop", List(&Object(&HOOK), Unique::No)),
]);

/// Every key that a service may have, extensions aside.
pub fn service_keys() -> impl Iterator<Item = &'static str> {
    SERVICE.known.iter().map(|field| field.name)
}

static MODEL_USE: Fields = fields(&[filled("endpoint_var", Text), filled("model_var", Text)]);

static PROVIDER: Fields =
    Fields { known: &[filled("type", Text), filled("options", Map(&Any))], required: &["type"] };

const ULIMITS: Shape = Map(&Shape::Short(Form::Ulimit, &Object(&ULIMIT)));

static ULIMIT: Fields = Fields {
    known: &[filled("soft", Integer), filled("hard", Integer)],
    required: &["hard", "soft"],
};

static BLKIO: Fields = fields(&[
    filled("weight", Integer),
    filled("weight_device", List(&Object(&BLKIO_WEIGHT), Unique::No)),
    filled("device_read_bps", List(&Object(&BLKIO_RATE), Unique::No)),
    filled("device_read_iops", List(&Object(&BLKIO_RATE), Unique::No)),
    filled("device_write_bps", List(&Object(&BLKIO_RATE), Unique::No)),
    filled("device_write_iops", List(&Object(&BLKIO_RATE), Unique::No)),
]);

static BLKIO_WEIGHT: Fields =
    fields(&[named("path", "Path", Text), named("weight", "Weight", Integer)]);
static BLKIO_RATE: Fields = fields(&[named("path", "Path", Text), named("rate", "Rate", Bytes)]);

static BUILD: Fields = fields(&[
    filled("context", Shape::Context),
    filled("dockerfile", Text),
    filled("dockerfile_inline", Text),
    filled("entitlements", MANY_TEXTS),
    filled("args", Pairs(Unset::Inherit)),
    filled("ssh", Shape::Short(Form::Ssh, &LOOSE_TEXTS)),
    filled("labels", LABELS),
    filled("cache_from", MANY_TEXTS),
    filled("cache_to", MANY_TEXTS),
    filled("no_cache", Flag),
    filled("additional_contexts", Pairs(Unset::Empty)),
    filled("pull", Flag),
    filled("extra_hosts", Shape::Hosts),
    filled("isolation", Text),
    filled("network", Text),
    filled("target", Text),
    filled(
        "secrets",
        List(&Shape::Short(Form::Reference, &Object(&REFERENCE)), Unique::Mounted("")),
    ),
    filled("shm_size", Bytes),
    filled("tags", TEXTS),
    filled("ulimits", ULIMITS),
    filled("platforms", MANY_TEXTS),
    filled("privileged", Flag),
]);

static REFERENCE: Fields = Fields {
    known: &[
        filled("source", Text),
        filled("target", Text),
        filled("uid", Text),
        filled("gid", Text),
        present("mode", Shape::Mode),
    ],
    required: &[],
};

static CREDENTIAL_SPEC: Fields =
    fields(&[filled("config", Text), filled("file", Text), filled("registry", Text)]);

static DEPENDENCY: Fields = Fields {
    known: &[
        filled(
            "condition",
            Shape::Word(&["service_started", "service_healthy", "service_completed_successfully"]),
        ),
        filled("restart", Flag),
        present("required", Flag),
    ],
    required: &["condition"],
};

static DEPLOY: Fields = fields(&[
    filled("mode", Text),
    present("replicas", Integer),
    filled("labels", LABELS),
    filled("update_config", Object(&UPDATE)),
    filled("rollback_config", Object(&UPDATE)),
    always("resources", Object(&RESOURCES)),
    filled("restart_policy", Object(&RESTART_POLICY)),
    always("placement", Object(&PLACEMENT)),
    filled("endpoint_mode", Text),
]);

static UPDATE: Fields = fields(&[
    present("parallelism", Integer),
    filled("delay", Duration),
    filled("failure_action", Text),
    filled("monitor", Duration),
    filled("max_failure_ratio", Float),
    filled("order", Shape::Word(&["start-first", "stop-first"])),
]);

static RESOURCES: Fields =
    fields(&[filled("limits", Object(&LIMITS)), filled("reservations", Object(&RESERVATIONS))]);

static LIMITS: Fields =
    fields(&[filled("cpus", Float), filled("memory", Shape::Size), filled("pids", Integer)]);

static RESERVATIONS: Fields = fields(&[
    filled("cpus", Float),
    filled("memory", Shape::Size),
    filled("devices", List(&Object(&DEVICE_REQUEST), Unique::No)),
    filled("generic_resources", List(&Object(&GENERIC_RESOURCE), Unique::No)),
]);

static DEVICE_REQUEST: Fields = Fields { known: &DEVICE_REQUEST_KEYS, required: &["capabilities"] };

static GPU_REQUEST: Fields = fields(&DEVICE_REQUEST_KEYS);

static DEVICE_REQUEST_KEYS: [Field; 5] = [
    filled("capabilities", DISTINCT_TEXTS),
    filled("driver", Text),
    filled("count", Shape::Count),
    filled("device_ids", TEXTS),
    filled("options", OPTIONS),
];

static GENERIC_RESOURCE: Fields =
    fields(&[filled("discrete_resource_spec", Object(&DISCRETE_RESOURCE))]);

static DISCRETE_RESOURCE: Fields = fields(&[present("kind", Text), present("value", Integer)]);

static RESTART_POLICY: Fields = fields(&[
    filled("condition", Text),
    present("delay", Duration),
    present("max_attempts", Integer),
    present("window", Duration),
]);

static PLACEMENT: Fields = fields(&[
    filled("constraints", MANY_TEXTS),
    filled("preferences", List(&Object(&PREFERENCE), Unique::No)),
    filled("max_replicas_per_node", Integer),
]);

static PREFERENCE: Fields = fields(&[filled("spread", Text)]);

static DEVELOP: Fields = fields(&[filled("watch", List(&Object(&WATCH), Unique::No))]);

static WATCH: Fields = Fields {
    known: &[
        filled("path", Shape::Path),
        filled("action", Shape::Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"])),
        filled("target", Text),
        always("exec", Object(&HOOK)),
        filled("ignore", ONE_OR_MORE),
    ],
    required: &["path", "action"],
};

static HOOK: Fields = fields(&[
    always("command", Shape::OrNull(&Command)),
    filled("user", Text),
    filled("privileged", Flag),
    filled("working_dir", Text),
    filled("environment", Pairs(Unset::Inherit)),
]);

static DEVICE: Fields = Fields {
    known: &[filled("source", Text), filled("target", Text), filled("permissions", Text)],
    required: &["source"],
};

static ENV_FILE: Fields = Fields {
    known: &[
        filled("path", Shape::Path),
        present("required", Flag),
        filled("format", Shape::Word(&["raw"])),
    ],
    required: &["path"],
};

static EXTENDS: Fields =
    Fields { known: &[filled("service", Text), filled("file", Text)], required: &["service"] };

static HEALTHCHECK: Fields = fields(&[
    filled("test", Shape::HealthTest),
    present("timeout", Duration),
    present("interval", Duration),
    present("retries", Integer),
    present("start_period", Duration),
    present("start_interval", Duration),
    filled("disable", Flag),
]);

static LOGGING: Fields = fields(&[filled("driver", Text), filled("options", OPTIONS)]);

static ATTACHMENT: Fields = fields(&[
    filled("priority", Integer),
    filled("aliases", TEXTS),
    filled("ipv4_address", Text),
    filled("ipv6_address", Text),
    filled("link_local_ips", TEXTS),
    filled("mac_address", Text),
    filled("driver_opts", OPTIONS),
]);

static PORT: Fields = Fields {
    known: &[
        filled("name", Text),
        filled("mode", Text),
        filled("host_ip", Text),
        filled("target", Integer),
        filled("published", Shape::Loose),
        filled("protocol", Text),
        filled("app_protocol", Text),
    ],
    required: &["target"],
};

static MOUNT: Fields = Fields {
    known: &[
        filled("type", Shape::Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"])),
        filled("source", Text),
        filled("target", Text),
        filled("read_only", Flag),
        filled("consistency", Text),
        filled("bind", Object(&MOUNT_BIND)),
        filled("volume", Object(&MOUNT_VOLUME)),
        filled("tmpfs", Object(&MOUNT_TMPFS)),
        filled("image", Object(&MOUNT_IMAGE)),
    ],
    required: &["type"],
};

static MOUNT_BIND: Fields = fields(&[
    filled("selinux", Shape::Word(&["z", "Z"])),
    filled("propagation", Text),
    filled("create_host_path", Flag),
    filled("recursive", Shape::Word(&["enabled", "disabled", "writable", "readonly"])),
]);

static MOUNT_VOLUME: Fields =
    fields(&[filled("labels", LABELS), filled("nocopy", Flag), filled("subpath", Text)]);

static MOUNT_TMPFS: Fields = fields(&[filled("size", Bytes), filled("mode", Integer)]);

static MOUNT_IMAGE: Fields = fields(&[filled("subpath", Text)]);

static NETWORK: Fields = fields(&[
    filled("name", Text),
    filled("driver", Text),
    filled("driver_opts", OPTIONS),
    always("ipam", Object(&IPAM)),
    filled("external", EXTERNAL),
    filled("internal", Flag),
    filled("attachable", Flag),
    filled("labels", LABELS),
    present("enable_ipv4", Flag),
    present("enable_ipv6", Flag),
]);

static IPAM: Fields = fields(&[
    filled("driver", Text),
    filled("config", List(&Object(&IPAM_POOL), Unique::Subnet)),
    never("options", OPTIONS),
]);

static IPAM_POOL: Fields = fields(&[
    filled("subnet", Text),
    filled("gateway", Text),
    filled("ip_range", Text),
    filled("aux_addresses", OPTIONS),
]);

static VOLUME: Fields = fields(&[
    filled("name", Text),
    filled("driver", Text),
    filled("driver_opts", OPTIONS),
    filled("external", EXTERNAL),
    filled("labels", LABELS),
]);

static SECRET: Fields = fields(&[
    filled("name", Text),
    filled("file", Shape::Path),
    filled("environment", Text),
    filled("external", EXTERNAL),
    filled("labels", LABELS),
    filled("driver", Text),
    filled("driver_opts", OPTIONS),
    filled("template_driver", Text),
]);

static CONFIG: Fields = fields(&[
    filled("name", Text),
    filled("file", Shape::Path),
    filled("environment", Text),
    filled("content", Text),
    filled("external", EXTERNAL),
    filled("labels", LABELS),
    filled("template_driver", Text),
]);

const fn filled(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, show: Show::Filled }
}

const fn present(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, show: Show::Present }
}

const fn always(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, show: Show::Always }
}

const fn named(name: &'static str, json: &'static str, shape: Shape) -> Field {
    Field { name, shape, show: Show::As(json) }
}

const fn never(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, show: Show::Never }
}

const fn fields(known: &'static [Field]) -> Fields {
    Fields { known, required: &[] }
}
