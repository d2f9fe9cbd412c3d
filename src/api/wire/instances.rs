//! The wire form of service instances: what one is, how it is, what it uses. Owns the shapes. Face:
//! `InstanceView` and its parts. Never shows an environment variable or an option of a log driver: both
//! may hold a secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::projects::port;
use crate::base::Timestamp;
use crate::base::time::between;
use crate::facts::{
    ContainerFacts, ContainerState, ContainerUsage, Health, NetworkMode, RestartPolicy,
};

/// One container of a service, as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// `project/service/number`: it outlives every recreate.
    #[schema(example = "shop/web/1")]
    pub id: String,
    /// The service.
    pub service: String,
    /// Which of its containers, from 1.
    pub number: u32,
    /// The container's name on the engine.
    pub container: String,
    /// The image's name, as it was declared.
    pub image: String,
    /// The id of the image that it runs: its version.
    pub image_id: String,
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    #[schema(value_type = String, example = "running")]
    pub state: ContainerState,
    /// `none`, `starting`, `healthy` or `unhealthy`.
    #[schema(value_type = String, example = "healthy")]
    pub health: Health,
    /// What it ended with; absent while it runs.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed it at its last end for want of memory.
    pub oom_killed: bool,
    /// How often the engine restarted it since it was made.
    pub restarts: u64,
    /// When it is started again by the engine: `no`, `always`, `on-failure`, `on-failure:N` or
    /// `unless-stopped`.
    #[schema(example = "unless-stopped")]
    pub restart_policy: String,
    /// When it was started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// For how long it has been running.
    pub uptime_seconds: Option<u64>,
    /// Where it is reached.
    pub endpoints: EndpointsView,
    /// What it may use.
    pub limits: LimitsView,
    /// What it uses; absent when nobody asked, it does not run, or the engine did not tell in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
    /// The driver that takes its output; absent for the engine's own choice.
    pub log_driver: Option<String>,
    /// What enforcement did to it; absent when it runs as it was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
}

/// Where an instance is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndpointsView {
    /// Published ports, such as `127.0.0.1:8080->80/tcp`.
    pub ports: Vec<String>,
    /// Its addresses, by the name of the network.
    pub networks: BTreeMap<String, AddressView>,
}

/// Where an instance is reached in one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddressView {
    /// Absent while it does not run.
    pub ipv4: Option<String>,
    /// Absent without IPv6.
    pub ipv6: Option<String>,
    /// Names under which it is found there.
    pub aliases: Vec<String>,
}

/// What an instance may use; what is absent has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// Thousandths of a CPU.
    pub cpu_thousandths: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// What an instance uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// Thousandths of a CPU, over the last second or two.
    pub cpu_thousandths: Option<u64>,
    /// Bytes of memory, without what the kernel could take back at once.
    pub memory_bytes: u64,
    /// Percent of its limit, or of the host's memory where it has none.
    pub memory_percent: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes received since its start.
    pub received_bytes: u64,
    /// Bytes sent since its start.
    pub sent_bytes: u64,
    /// Bytes read from disks since its start.
    pub read_bytes: u64,
    /// Bytes written to disks since its start.
    pub written_bytes: u64,
}

impl From<&ContainerUsage> for UsageView {
    fn from(usage: &ContainerUsage) -> Self {
        let percent = |limit: u64| usage.memory_bytes.saturating_mul(100) / limit.max(1);
        Self {
            cpu_thousandths: usage.cpu_thousandths,
            memory_bytes: usage.memory_bytes,
            memory_percent: usage.memory_limit_bytes.map(percent),
            pids: usage.pids,
            received_bytes: usage.received_bytes_total,
            sent_bytes: usage.sent_bytes_total,
            read_bytes: usage.read_bytes_total,
            written_bytes: usage.written_bytes_total,
        }
    }
}

impl InstanceView {
    /// An instance at a moment; none for what is no instance of a service.
    pub fn of(
        container: &ContainerFacts,
        usage: Option<&ContainerUsage>,
        now: Timestamp,
    ) -> Option<Self> {
        let instance = container.instance.as_ref().filter(|_| !container.oneoff)?;
        let spec = &container.spec;
        let is_up = matches!(container.state, ContainerState::Running | ContainerState::Paused);
        let has_ended = matches!(container.state, ContainerState::Exited | ContainerState::Dead);
        Some(Self {
            id: instance.to_string(),
            service: instance.service.clone(),
            number: instance.number,
            container: container.name.clone(),
            image: spec.image.clone(),
            image_id: container.image_id.clone(),
            state: container.state,
            health: container.health,
            exit_code: has_ended.then_some(container.exit_code),
            oom_killed: container.oom_killed,
            restarts: container.restart_count,
            restart_policy: policy(spec.restart),
            started_at: container.started_at,
            uptime_seconds: container
                .started_at
                .filter(|_| is_up)
                .map(|since| between(since, now).as_secs()),
            endpoints: EndpointsView {
                ports: spec.ports.iter().map(port).collect(),
                networks: networks(container),
            },
            limits: limits(container),
            usage: usage.map(UsageView::from),
            log_driver: spec.logging.as_ref().and_then(|logging| logging.driver.clone()),
            held_back: None,
        })
    }
}

fn policy(policy: RestartPolicy) -> String {
    match policy {
        RestartPolicy::No => "no".to_owned(),
        RestartPolicy::Always => "always".to_owned(),
        RestartPolicy::OnFailure { retries_max: 0 } => "on-failure".to_owned(),
        RestartPolicy::OnFailure { retries_max } => format!("on-failure:{retries_max}"),
        RestartPolicy::UnlessStopped => "unless-stopped".to_owned(),
    }
}

fn networks(container: &ContainerFacts) -> BTreeMap<String, AddressView> {
    let aliases = |network: &str| match &container.spec.network_mode {
        NetworkMode::Networks(known) => known
            .get(network)
            .map(|attachment| attachment.aliases.iter().cloned().collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let address = |(name, address): (&String, &crate::facts::NetworkAddress)| {
        let (ipv4, ipv6) = (some(&address.ipv4_address), some(&address.ipv6_address));
        (name.clone(), AddressView { ipv4, ipv6, aliases: aliases(name) })
    };
    container.addresses.iter().map(address).collect()
}

fn limits(container: &ContainerFacts) -> LimitsView {
    let resources = &container.spec.resources;
    let positive =
        |value: Option<i64>| value.and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0);
    let of_quota = || {
        let quota = positive(resources.cpu_quota_micros)?;
        // The kernel's own period.
        let period = positive(resources.cpu_period_micros).unwrap_or(100_000);
        Some(quota.saturating_mul(1000) / period)
    };
    LimitsView {
        cpu_thousandths: positive(resources.nano_cpus).map(|it| it / 1_000_000).or_else(of_quota),
        memory_bytes: positive(resources.memory_bytes),
        pids: positive(resources.pids_max),
    }
}
