//! Lowers one service. Owns the translation of its own keys. Face: `lower`. Never decides an order:
//! dependencies are carried over as declared.

use std::collections::{BTreeMap, BTreeSet};

use super::section::{Problems, Section};
use super::{Inputs, Names, build, content, hooks, mounts, network, resources};
use crate::base::Secret;
use crate::base::limits::HEAL_TRIES_MAX;
use crate::base::units::parse_duration;
use crate::domain::compose::project::Project;
use crate::facts::{
    Condition, Dependency, DeviceMapping, HealthProbe, Healthcheck, HookKind, Logging, OnUnhealthy,
    PullPolicy, RestartPolicy, Security, ServiceSpec, ServiceUnit, UpdateOrder, Updates,
};

/// Restarts of an unhealthy container when the service does not say how many.
const TRIES_DEFAULT: u32 = 5;

/// What a service is lowered with.
pub(super) struct Context<'a> {
    /// The whole project.
    pub(super) project: &'a Project,
    /// Content and digests.
    pub(super) inputs: &'a Inputs,
    /// Names on the engine.
    pub(super) names: &'a Names,
    /// The service.
    pub(super) name: &'a str,
    /// Where problems go.
    pub(super) problems: &'a Problems,
}

/// The unit that runs a service.
pub(super) fn lower(context: &Context<'_>, mut section: Section<'_>) -> ServiceUnit {
    // Profiles have been applied, and nothing is attached to a container that an agent runs.
    section.ignore("profiles");
    section.ignore("attach");
    let mut unit = ServiceUnit {
        container_name: section.text("container_name"),
        depends_on: dependencies(context, &mut section),
        build: section.section("build").map(|build| build::lower(context, build)),
        pull_policy: pull_policy(&mut section),
        files: content::lower(context, &mut section),
        on_unhealthy: on_unhealthy(&mut section),
        post_start: hooks::lower(&mut section, HookKind::PostStart),
        pre_stop: hooks::lower(&mut section, HookKind::PreStop),
        ..ServiceUnit::default()
    };
    // What files on this host have no effect on; the loader has warned of what is filled.
    let mut deploy = section.section("deploy");
    for key in ["placement", "endpoint_mode", "rollback_config", "labels"] {
        deploy.iter_mut().for_each(|deploy| deploy.ignore(key));
    }
    let scale = section.number("scale");
    let replicas = deploy.as_mut().and_then(|deploy| deploy.number("replicas"));
    unit.replicas = replicas.or(scale).unwrap_or(1);
    let image = section.text("image");
    let (resources, device_requests) = resources::lower(&mut section, deploy.as_mut());
    let network_mode = network::mode(context, &mut section);
    let mut external_links = section.set("external_links");
    external_links.extend(network::links(&mut section, &network_mode));
    unit.spec = ServiceSpec {
        image: image.unwrap_or_else(|| format!("{}-{}", context.project.name, context.name)),
        platform: section.text("platform"),
        command: section.command("command"),
        entrypoint: section.command("entrypoint"),
        environment: environment(&mut section),
        labels: section.labels("labels"),
        annotations: section.labels("annotations"),
        user: section.text("user"),
        group_add: section.set("group_add"),
        working_dir: section.text("working_dir"),
        hostname: section.text("hostname"),
        domainname: section.text("domainname"),
        tty: section.flag("tty").unwrap_or_default(),
        stdin_open: section.flag("stdin_open").unwrap_or_default(),
        init: section.flag("init"),
        stop_signal: section.text("stop_signal"),
        stop_grace_period: section.duration("stop_grace_period"),
        restart: restart(&mut section, deploy.as_mut()),
        healthcheck: section.section("healthcheck").and_then(healthcheck),
        ports: network::ports(&mut section),
        expose: network::expose(&mut section),
        mounts: mounts::lower(context, &mut section),
        network_mode,
        extra_hosts: section.set("extra_hosts"),
        dns: section.texts("dns"),
        dns_search: section.texts("dns_search"),
        dns_options: section.texts("dns_opt"),
        external_links,
        volumes_from: section.set("volumes_from"),
        resources,
        security: Security { device_requests, ..security(&mut section) },
        logging: section.section("logging").map(|mut logging| Logging {
            driver: logging.text("driver"),
            options: logging.labels("options"),
        }),
        runtime: section.text("runtime"),
        storage_options: section.labels("storage_opt"),
    };
    let updates = deploy.as_mut().and_then(|deploy| deploy.section("update_config"));
    unit.updates = updates.map(self::updates).unwrap_or_default();
    if let Some(deploy) = &mut deploy {
        mode(deploy, unit.replicas);
    }
    unit
}

/// On one host, a container on every host is one container. A job ends, and is not kept running.
fn mode(deploy: &mut Section<'_>, replicas: u32) {
    match deploy.text("mode").as_deref() {
        None | Some("replicated") => {}
        Some("global") if replicas == 1 => {}
        Some("global") => deploy.refuse("mode", "one host has one container of it, not several"),
        Some(_) => deploy.refuse("mode", "use `replicated` or `global`: jobs need a cluster"),
    }
}

/// How containers are replaced. A failed replacement always returns to what was before, so that
/// `pause` and `rollback` mean the same here.
fn updates(mut section: Section<'_>) -> Updates {
    section.ignore("max_failure_ratio");
    let goes_on = match section.text("failure_action").as_deref() {
        None | Some("pause" | "rollback") => false,
        Some("continue") => true,
        Some(_) => {
            section.refuse("failure_action", "use `pause`, `continue` or `rollback`");
            false
        }
    };
    let order = section.text("order");
    Updates {
        parallelism: section.number("parallelism").unwrap_or(1),
        delay: section.duration("delay").unwrap_or_default(),
        order: order.map(|order| match order.as_str() {
            "start-first" => UpdateOrder::StartFirst,
            _ => UpdateOrder::StopFirst,
        }),
        goes_on,
        monitor: section.duration("monitor").unwrap_or_default(),
    }
}

/// `x-wharfinger: {on_unhealthy: restart, max_restarts: 5}`: what Compose has no key for.
fn on_unhealthy(section: &mut Section<'_>) -> OnUnhealthy {
    const OWN: &str = "x-wharfinger";
    let Some(mut own) = section.section(OWN) else {
        if section.take(OWN).is_some() {
            section.refuse(OWN, "it must be a mapping");
        }
        return OnUnhealthy::Tell;
    };
    // The schema knows nothing of what stands in an extension.
    for (name, expected) in
        [("on_unhealthy", "it is `restart` or `tell`"), ("max_restarts", "it is a whole number")]
    {
        if own.take(name).is_some_and(|node| node.as_scalar().is_none()) {
            own.refuse(name, expected);
            return OnUnhealthy::Tell;
        }
    }
    let tries_max = own.number("max_restarts");
    if tries_max.is_some_and(|tries| !(1..=HEAL_TRIES_MAX).contains(&tries)) {
        own.refuse("max_restarts", &format!("it is 1 to {HEAL_TRIES_MAX}"));
    }
    match own.text("on_unhealthy").as_deref() {
        Some("restart") => OnUnhealthy::Restart { tries_max: tries_max.unwrap_or(TRIES_DEFAULT) },
        None | Some("tell") => {
            if tries_max.is_some() {
                own.refuse("max_restarts", "only `on_unhealthy: restart` restarts anything");
            }
            OnUnhealthy::Tell
        }
        Some(other) => {
            own.refuse("on_unhealthy", &format!("`{other}` is neither `restart` nor `tell`"));
            OnUnhealthy::Tell
        }
    }
}

/// A name that stayed without a value is not set in the container.
pub(super) fn environment(section: &mut Section<'_>) -> BTreeMap<String, Secret<String>> {
    let values = section.labels("environment").into_iter();
    values.map(|(name, value)| (name, Secret::new(value))).collect()
}

fn dependencies(context: &Context<'_>, section: &mut Section<'_>) -> BTreeMap<String, Dependency> {
    let mut dependencies = BTreeMap::new();
    for (name, node) in section.entries("depends_on") {
        let Some(mut fields) = section.open("depends_on", name, node) else { continue };
        let condition = match fields.text("condition").as_deref() {
            Some("service_healthy") => Condition::ServiceHealthy,
            Some("service_completed_successfully") => Condition::ServiceCompletedSuccessfully,
            _ => Condition::ServiceStarted,
        };
        let required = fields.flag("required").unwrap_or(true);
        let restart = fields.flag("restart").unwrap_or_default();
        // An optional dependency whose profile is not active is not there to be waited for.
        if context.project.entry("services", name).is_some() {
            dependencies.insert(name.to_owned(), Dependency { condition, required, restart });
        }
    }
    dependencies
}

/// Seconds of a day.
const DAY_SECONDS: u64 = 24 * 3600;

/// `12h`, `1d`, `1w`, `1w2d`.
fn every_seconds(text: &str) -> Option<u64> {
    let (weeks, rest) = text.split_once('w').unwrap_or(("0", text));
    let weeks = weeks.parse::<u64>().ok()?.checked_mul(7 * DAY_SECONDS)?;
    let rest = if rest.is_empty() { 0 } else { parse_duration(rest).ok()?.as_secs() };
    weeks.checked_add(rest).filter(|seconds| *seconds > 0)
}

fn pull_policy(section: &mut Section<'_>) -> PullPolicy {
    match section.text("pull_policy").as_deref() {
        None | Some("missing") => PullPolicy::Missing,
        Some("always") => PullPolicy::Always,
        Some("never") => PullPolicy::Never,
        Some("build") => PullPolicy::Build,
        Some("daily") => PullPolicy::Every { seconds: DAY_SECONDS },
        Some("weekly") => PullPolicy::Every { seconds: 7 * DAY_SECONDS },
        Some(text) => match text.strip_prefix("every_").and_then(every_seconds) {
            Some(seconds) => PullPolicy::Every { seconds },
            None => {
                section.refuse("pull_policy", "a time such as `every_12h` is in whole seconds");
                PullPolicy::Missing
            }
        },
    }
}

/// `restart`, unless `deploy.restart_policy` says otherwise, as in Docker Compose.
fn restart(section: &mut Section<'_>, deploy: Option<&mut Section<'_>>) -> RestartPolicy {
    let text = section.text("restart").unwrap_or_default();
    let (name, retries) = text.split_once(':').unwrap_or((&text, ""));
    let retries = if retries.is_empty() { Some(0) } else { retries.parse().ok() };
    let declared = match (name, retries) {
        ("" | "no", Some(0)) => Some(RestartPolicy::No),
        ("always", Some(0)) => Some(RestartPolicy::Always),
        ("unless-stopped", Some(0)) => Some(RestartPolicy::UnlessStopped),
        ("on-failure", Some(retries_max)) => Some(RestartPolicy::OnFailure { retries_max }),
        _ => None,
    };
    if declared.is_none() {
        section.refuse(
            "restart",
            "use `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:3`",
        );
    }
    let Some(mut policy) = deploy.and_then(|deploy| deploy.section("restart_policy")) else {
        return declared.unwrap_or_default();
    };
    // The engine waits by itself, longer each time; the loader has warned.
    policy.ignore("delay");
    policy.ignore("window");
    let retries_max = policy.number("max_attempts").unwrap_or(0);
    match policy.text("condition").as_deref() {
        Some("none" | "no") => RestartPolicy::No,
        Some("on-failure") => RestartPolicy::OnFailure { retries_max },
        Some("unless-stopped") if retries_max == 0 => RestartPolicy::UnlessStopped,
        None | Some("any" | "always") if retries_max == 0 => RestartPolicy::Always,
        None | Some("any" | "always" | "unless-stopped") => {
            policy.refuse("max_attempts", "the engine counts attempts only for `on-failure`");
            RestartPolicy::Always
        }
        Some(_) => {
            policy.refuse("condition", "use `none`, `on-failure` or `any`");
            RestartPolicy::No
        }
    }
}

fn healthcheck(mut section: Section<'_>) -> Option<Healthcheck> {
    let disabled = section.flag("disable").unwrap_or_default();
    let test = section.texts("test");
    let words: Vec<&str> = test.iter().map(String::as_str).collect();
    let probe = match words.as_slice() {
        _ if disabled => HealthProbe::Disabled,
        [] => HealthProbe::Inherit,
        ["NONE", ..] => HealthProbe::Disabled,
        ["CMD", command @ ..] if !command.is_empty() => {
            HealthProbe::Exec(command.iter().map(|word| (*word).to_owned()).collect())
        }
        ["CMD-SHELL", line] => HealthProbe::Shell((*line).to_owned()),
        _ => {
            section.refuse("test", "a list begins with `NONE`, `CMD` or `CMD-SHELL`");
            HealthProbe::Inherit
        }
    };
    Some(Healthcheck {
        probe,
        interval: section.duration("interval"),
        timeout: section.duration("timeout"),
        retries: section.number("retries"),
        start_period: section.duration("start_period"),
        start_interval: section.duration("start_interval"),
    })
}

fn security(section: &mut Section<'_>) -> Security {
    Security {
        privileged: section.flag("privileged").unwrap_or_default(),
        read_only: section.flag("read_only").unwrap_or_default(),
        cap_add: capabilities(section.texts("cap_add")),
        cap_drop: capabilities(section.texts("cap_drop")),
        security_opt: section.set("security_opt"),
        userns_mode: section.text("userns_mode"),
        ipc_mode: section.text("ipc"),
        pid_mode: section.text("pid"),
        uts_mode: section.text("uts"),
        cgroupns_mode: section.text("cgroup"),
        cgroup_parent: section.text("cgroup_parent"),
        devices: section
            .sections("devices")
            .into_iter()
            .map(|mut device| {
                let source = device.text("source").unwrap_or_default();
                DeviceMapping {
                    target: device.text("target").unwrap_or_else(|| source.clone()),
                    permissions: device.text("permissions").unwrap_or_else(|| "rwm".to_owned()),
                    source,
                }
            })
            .collect(),
        device_requests: Vec::new(),
        device_cgroup_rules: section.set("device_cgroup_rules"),
        sysctls: section.labels("sysctls"),
        isolation: section.text("isolation"),
    }
}

/// One spelling of what may be written with and without `CAP_`, in either case.
fn capabilities(names: Vec<String>) -> BTreeSet<String> {
    let upper = names.into_iter().map(|name| name.to_ascii_uppercase());
    upper.map(|name| name.strip_prefix("CAP_").unwrap_or(&name).to_owned()).collect()
}
