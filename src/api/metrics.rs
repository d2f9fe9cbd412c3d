//! Counts what the agent does. Owns the one list of metric names and the registry. Face: `Metric`,
//! `Metrics`. Never takes a label from input: every label's values come from an enum or from the
//! names of kept projects and registered types, so the number of series stays bounded.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::base::keyed::keyed;
use crate::base::limits::INSTANCE_SERIES_MAX;
use crate::facts::{ContainerFacts, ContainerState, ContainerUsage, Health};

keyed! {
    /// Every series of the agent's own. `process_*` comes from the library.
    pub enum Metric: "metric" {
        /// Always 1; labels `version`.
        BuildInfo = "wharf_build_info",
        /// Whether the store answers and takes writes.
        StoreUp = "wharf_store_up",
        /// Whether the engine answers.
        EngineUp = "wharf_engine_up",
        /// Runs that ended; labels `type`, `outcome`.
        RunsCompleted = "wharf_runs_completed_total",
        /// From acceptance to end; label `type`.
        RunDuration = "wharf_run_duration_seconds",
        /// Runs that are not completed; label `status`.
        Runs = "wharf_runs",
        /// Since when the oldest of them was accepted; label `status`.
        OldestRunAge = "wharf_oldest_run_age_seconds",
        /// Looks at every kept project; no labels.
        ConvergenceSweeps = "wharf_convergence_sweeps_total",
        /// Looks at one kept project; label `outcome`: `settled`, `asked`, `failed`.
        ConvergenceLooks = "wharf_convergence_looks_total",
        /// Calls of the engine; labels `method`, `outcome`.
        EngineCalls = "wharf_engine_calls_total",
        /// Time until the engine's answer; label `method`.
        EngineCallDuration = "wharf_engine_call_duration_seconds",
        /// Transactions of the store; label `outcome`.
        StoreCommits = "wharf_store_commits_total",
        /// Time until a transaction is durable.
        StoreCommitDuration = "wharf_store_commit_duration_seconds",
        /// Writes that shared one durable commit.
        StoreCommitWrites = "wharf_store_commit_writes",
        /// Audit events that were recorded; labels `event_type`, `outcome`.
        AuditEvents = "wharf_audit_events_total",
        /// Tries to bring checkpoints outside; labels `anchor`, `outcome`: `ok`, `failed`.
        AuditAnchorTries = "wharf_audit_anchor_tries_total",
        /// Sealed records that an anchor does not know; label `anchor`.
        AuditAnchorLag = "wharf_audit_anchor_lag_records",
        /// Kept projects; label `desired`.
        Projects = "wharf_projects",
        /// Containers of kept projects; labels `project`, `state`, `health`.
        Containers = "wharf_containers",
        /// Whether a health check passes, and 1 where there is none; labels `project`, `service`,
        /// `number`, as of all that follow up to the last `Instance…`.
        InstanceHealthy = "wharf_instance_healthy",
        /// Restarts by the engine since the container was made.
        InstanceRestarts = "wharf_instance_restarts",
        /// Whether the kernel killed it at its last end for want of memory.
        InstanceOomKilled = "wharf_instance_oom_killed",
        /// When it was started.
        InstanceStart = "wharf_instance_start_time_seconds",
        /// CPU time since its start.
        InstanceCpu = "wharf_instance_cpu_milliseconds",
        /// Memory that it uses.
        InstanceMemory = "wharf_instance_memory_bytes",
        /// Memory that it may use.
        InstanceMemoryLimit = "wharf_instance_memory_limit_bytes",
        /// Processes and threads.
        InstancePids = "wharf_instance_pids",
        /// Instances that are too many to be told one by one.
        InstancesLeftOut = "wharf_instances_left_out",
        /// Instances whose registry has another image under the name of theirs, as far as one was
        /// asked; label `project`.
        ImagesOutdated = "wharf_images_outdated",
        /// Commands that are executed in containers.
        ExecSessions = "wharf_exec_sessions",
        /// Tries to deliver an alert; label `outcome`.
        AlertDeliveries = "wharf_alert_deliveries_total",
        /// Time until a receiver's answer; label `outcome`.
        AlertDeliveryDuration = "wharf_alert_delivery_duration_seconds",
        /// Runs by type and state; labels `type`, `state`.
        QueueRuns = "wharf_queue_runs",
        /// Age of the oldest run that wants a worker; label `type`.
        QueueOldest = "wharf_queue_oldest_seconds",
        /// Hosted workers that wait for work.
        QueueWaiting = "wharf_queue_waiting_workers",
        /// Work that hosted workers took; labels `type`, `kind`.
        QueueClaims = "wharf_queue_claims_total",
        /// Waits for work that ended without any.
        QueueWaitsOver = "wharf_queue_waits_over_total",
        /// Requests of the API; labels `method`, `status`.
        ApiRequests = "wharf_api_requests_total",
    }
}

impl Metric {
    const fn help(self) -> &'static str {
        match self {
            Self::BuildInfo => "Always 1; the label tells the version.",
            Self::StoreUp => "Whether the database answers and takes writes.",
            Self::EngineUp => "Whether the Docker Engine answers.",
            Self::RunsCompleted => "Runs that ended.",
            Self::RunDuration => "Time from a run's acceptance to its end.",
            Self::Runs => "Runs that are not completed.",
            Self::OldestRunAge => "Time since the oldest run that is not completed was accepted.",
            Self::ConvergenceSweeps => "Looks at every kept project, whatever happened.",
            Self::ConvergenceLooks => "Looks at one kept project.",
            Self::EngineCalls => "Calls of the Docker Engine.",
            Self::EngineCallDuration => "Time until the engine's answer.",
            Self::StoreCommits => "Transactions of the database.",
            Self::StoreCommitDuration => "Time until a transaction is durable.",
            Self::StoreCommitWrites => "Writes that shared one durable commit.",
            Self::AuditEvents => "Audit events that were recorded.",
            Self::AuditAnchorTries => "Tries to bring checkpoints of the audit log outside.",
            Self::AuditAnchorLag => "Sealed records of the audit log that an anchor does not know.",
            Self::Projects => "Projects that the agent keeps.",
            Self::Containers => "Containers of the projects that the agent keeps.",
            Self::InstanceHealthy => {
                "Whether an instance is healthy, or runs without a health check."
            }
            Self::InstanceRestarts => "Restarts of an instance by the engine since it was made.",
            Self::InstanceOomKilled => "Whether an instance ended last for want of memory.",
            Self::InstanceStart => "When an instance was started, in seconds since 1970.",
            Self::InstanceCpu => "CPU time that a running instance used since its start.",
            Self::InstanceMemory => "Memory that a running instance uses.",
            Self::InstanceMemoryLimit => "Memory that a running instance may use.",
            Self::InstancePids => "Processes and threads of a running instance.",
            Self::InstancesLeftOut => "Instances beyond the 500 that are told one by one.",
            Self::ImagesOutdated => "Instances whose registry has a newer image, when last asked.",
            Self::ExecSessions => "Commands that are executed in containers now.",
            Self::AlertDeliveries => "Tries to deliver an alert.",
            Self::AlertDeliveryDuration => "Time until the answer of an alert's receiver.",
            Self::QueueRuns => "Runs that are queued or running.",
            Self::QueueOldest => "Age of the oldest run that wants a worker.",
            Self::QueueWaiting => "Hosted workers that wait for work.",
            Self::QueueClaims => "Runs and jobs that hosted workers took.",
            Self::QueueWaitsOver => "Waits of hosted workers that ended without work.",
            Self::ApiRequests => "Requests of the API.",
        }
    }
}

impl Metric {
    const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::BuildInfo => &["version"],
            Self::Runs | Self::OldestRunAge => &["status"],
            Self::RunsCompleted => &["type", "outcome"],
            Self::RunDuration | Self::QueueOldest => &["type"],
            Self::QueueRuns => &["type", "state"],
            Self::QueueClaims => &["type", "kind"],
            Self::EngineCalls => &["method", "outcome"],
            Self::EngineCallDuration => &["method"],
            Self::StoreCommits
            | Self::ConvergenceLooks
            | Self::AlertDeliveries
            | Self::AlertDeliveryDuration => &["outcome"],
            Self::AuditEvents => &["event_type", "outcome"],
            Self::AuditAnchorTries => &["anchor", "outcome"],
            Self::AuditAnchorLag => &["anchor"],
            Self::ImagesOutdated => &["project"],
            Self::Projects => &["desired"],
            Self::Containers => &["project", "state", "health"],
            Self::ApiRequests => &["method", "status"],
            Self::InstanceHealthy
            | Self::InstanceRestarts
            | Self::InstanceOomKilled
            | Self::InstanceStart
            | Self::InstanceCpu
            | Self::InstanceMemory
            | Self::InstanceMemoryLimit
            | Self::InstancePids => &["project", "service", "number"],
            Self::StoreUp
            | Self::EngineUp
            | Self::StoreCommitDuration
            | Self::StoreCommitWrites
            | Self::QueueWaiting
            | Self::QueueWaitsOver
            | Self::InstancesLeftOut
            | Self::ExecSessions
            | Self::ConvergenceSweeps => &[],
        }
    }
}

/// Seconds; an engine call takes milliseconds, a pull minutes.
const CALL_BUCKETS: &[f64] = &[0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0];
/// Seconds; a durable commit takes one write to disk.
const COMMIT_BUCKETS: &[f64] = &[0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 5.0];
/// Writes; no more than `STORE_BATCH_MAX` share a commit.
const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 16.0, 64.0, 256.0];
/// Seconds; a deploy that changes nothing takes less than one.
const RUN_BUCKETS: &[f64] = &[0.5, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// The agent's own series.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Whether the store answers.
    pub(super) store_up: IntGauge,
    /// Whether the engine answers.
    pub(super) engine_up: IntGauge,
    /// Kept projects by desired state.
    pub(super) projects: IntGaugeVec,
    /// Containers by project, state and health.
    pub(super) containers: IntGaugeVec,
    /// What is told of each instance.
    pub(super) instances: InstanceSeries,
    /// Commands that are executed now.
    pub(super) exec_sessions: IntGauge,
    /// Instances with an outdated image by project.
    pub(super) images_outdated: IntGaugeVec,
    /// Runs that are not completed, by status.
    pub(super) runs: IntGaugeVec,
    /// Seconds since the oldest of them was accepted.
    pub(super) oldest_run_age: IntGaugeVec,
    convergence_sweeps: IntCounter,
    convergence_looks: IntCounterVec,
    /// Queued and running runs by type.
    pub(super) queue_runs: IntGaugeVec,
    /// Age of the oldest queued run by type.
    pub(super) queue_oldest: IntGaugeVec,
    /// Hosted workers that wait.
    pub(super) queue_waiting: IntGauge,
    queue_claims: IntCounterVec,
    queue_waits_over: IntCounter,
    runs_completed: IntCounterVec,
    run_duration: HistogramVec,
    engine_calls: IntCounterVec,
    engine_call_duration: HistogramVec,
    store_commits: IntCounterVec,
    store_commit_duration: Histogram,
    store_commit_writes: Histogram,
    audit_events: IntCounterVec,
    audit_anchor_tries: IntCounterVec,
    audit_anchor_lag: IntGaugeVec,
    alert_deliveries: IntCounterVec,
    alert_delivery_duration: HistogramVec,
    api_requests: IntCounterVec,
}

impl Metrics {
    /// An empty set of series.
    ///
    /// # Errors
    /// When two series share a name, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = gauges(&registry, Metric::BuildInfo)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        Ok(Self {
            store_up: gauge(&registry, Metric::StoreUp)?,
            engine_up: gauge(&registry, Metric::EngineUp)?,
            projects: gauges(&registry, Metric::Projects)?,
            containers: gauges(&registry, Metric::Containers)?,
            instances: InstanceSeries::new(&registry)?,
            exec_sessions: gauge(&registry, Metric::ExecSessions)?,
            images_outdated: gauges(&registry, Metric::ImagesOutdated)?,
            runs: gauges(&registry, Metric::Runs)?,
            oldest_run_age: gauges(&registry, Metric::OldestRunAge)?,
            queue_runs: gauges(&registry, Metric::QueueRuns)?,
            queue_oldest: gauges(&registry, Metric::QueueOldest)?,
            queue_waiting: gauge(&registry, Metric::QueueWaiting)?,
            queue_claims: counters(&registry, Metric::QueueClaims)?,
            queue_waits_over: counter(&registry, Metric::QueueWaitsOver)?,
            convergence_sweeps: counter(&registry, Metric::ConvergenceSweeps)?,
            convergence_looks: counters(&registry, Metric::ConvergenceLooks)?,
            runs_completed: counters(&registry, Metric::RunsCompleted)?,
            run_duration: histograms(&registry, Metric::RunDuration, RUN_BUCKETS)?,
            engine_calls: counters(&registry, Metric::EngineCalls)?,
            engine_call_duration: histograms(&registry, Metric::EngineCallDuration, CALL_BUCKETS)?,
            store_commits: counters(&registry, Metric::StoreCommits)?,
            store_commit_duration: histogram(
                &registry,
                Metric::StoreCommitDuration,
                COMMIT_BUCKETS,
            )?,
            store_commit_writes: histogram(&registry, Metric::StoreCommitWrites, BATCH_BUCKETS)?,
            audit_events: counters(&registry, Metric::AuditEvents)?,
            audit_anchor_tries: counters(&registry, Metric::AuditAnchorTries)?,
            audit_anchor_lag: gauges(&registry, Metric::AuditAnchorLag)?,
            alert_deliveries: counters(&registry, Metric::AlertDeliveries)?,
            alert_delivery_duration: histograms(
                &registry,
                Metric::AlertDeliveryDuration,
                CALL_BUCKETS,
            )?,
            api_requests: counters(&registry, Metric::ApiRequests)?,
            registry,
        })
    }

    /// A call of the engine was answered.
    pub fn engine_call(&self, method: &str, outcome: &str, took: Duration) {
        self.engine_calls.with_label_values(&[method, outcome]).inc();
        self.engine_call_duration.with_label_values(&[method]).observe(took.as_secs_f64());
    }

    /// A transaction of the store ended.
    pub fn store_commit(&self, outcome: &str, took: Duration) {
        self.store_commits.with_label_values(&[outcome]).inc();
        self.store_commit_duration.observe(took.as_secs_f64());
    }

    /// So many writes shared one durable commit.
    pub fn store_batch(&self, writes: usize) {
        self.store_commit_writes.observe(u32::try_from(writes).unwrap_or(u32::MAX).into());
    }

    /// Every kept project is to be looked at.
    pub fn convergence_swept(&self) {
        self.convergence_sweeps.inc();
    }

    /// A kept project was looked at.
    pub fn convergence_looked(&self, outcome: &str) {
        self.convergence_looks.with_label_values(&[outcome]).inc();
    }

    /// An audit event was recorded.
    pub fn audit_event(&self, event_type: &str, outcome: &str) {
        self.audit_events.with_label_values(&[event_type, outcome]).inc();
    }

    /// An anchor was tried; so many sealed records it does not know now.
    pub fn audit_anchor(&self, anchor: &str, is_reached: bool, lag: u64) {
        let outcome = if is_reached { "ok" } else { "failed" };
        self.audit_anchor_tries.with_label_values(&[anchor, outcome]).inc();
        let lag = i64::try_from(lag).unwrap_or(i64::MAX);
        self.audit_anchor_lag.with_label_values(&[anchor]).set(lag);
    }

    /// A run ended.
    pub fn run_completed(&self, run_type: &str, outcome: &str, took: Duration) {
        self.runs_completed.with_label_values(&[run_type, outcome]).inc();
        self.run_duration.with_label_values(&[run_type]).observe(took.as_secs_f64());
    }

    /// A try to deliver an alert ended: `delivered`, `failed` or `given_up`.
    pub fn alert_delivery(&self, outcome: &str, took: Duration) {
        self.alert_deliveries.with_label_values(&[outcome]).inc();
        self.alert_delivery_duration.with_label_values(&[outcome]).observe(took.as_secs_f64());
    }

    /// A hosted worker took a run or a job. Types are registered, so their number is bounded.
    pub(super) fn queue_claim(&self, run_type: &str, kind: &str) {
        self.queue_claims.with_label_values(&[run_type, kind]).inc();
    }

    /// A hosted worker waited in vain.
    pub(super) fn queue_wait_over(&self) {
        self.queue_waits_over.inc();
    }

    /// A request of the API was answered.
    pub(super) fn api_request(&self, method: &str, status: u16) {
        self.api_requests.with_label_values(&[method, &status.to_string()]).inc();
    }

    /// All series in Prometheus's text format.
    ///
    /// # Errors
    /// When a series cannot be written as text.
    pub(super) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The series of single instances. Each look at all of them replaces what the last one told.
#[derive(Debug)]
pub(super) struct InstanceSeries {
    healthy: IntGaugeVec,
    restarts: IntGaugeVec,
    oom_killed: IntGaugeVec,
    start: IntGaugeVec,
    cpu: IntGaugeVec,
    memory: IntGaugeVec,
    memory_limit: IntGaugeVec,
    pids: IntGaugeVec,
    left_out: IntGauge,
}

impl InstanceSeries {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            healthy: gauges(registry, Metric::InstanceHealthy)?,
            restarts: gauges(registry, Metric::InstanceRestarts)?,
            oom_killed: gauges(registry, Metric::InstanceOomKilled)?,
            start: gauges(registry, Metric::InstanceStart)?,
            cpu: gauges(registry, Metric::InstanceCpu)?,
            memory: gauges(registry, Metric::InstanceMemory)?,
            memory_limit: gauges(registry, Metric::InstanceMemoryLimit)?,
            pids: gauges(registry, Metric::InstancePids)?,
            left_out: gauge(registry, Metric::InstancesLeftOut)?,
        })
    }

    /// Forgets all instances, and tells of these: of so many at most, one by one.
    pub(super) fn set(&self, found: &[(&ContainerFacts, Option<&ContainerUsage>)]) {
        let all = [
            &self.healthy,
            &self.restarts,
            &self.oom_killed,
            &self.start,
            &self.cpu,
            &self.memory,
            &self.memory_limit,
            &self.pids,
        ];
        all.into_iter().for_each(IntGaugeVec::reset);
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.left_out.set(number(found.len().saturating_sub(INSTANCE_SERIES_MAX) as u64));
        for (container, usage) in found.iter().take(INSTANCE_SERIES_MAX) {
            let Some(instance) = &container.instance else { continue };
            let replica = instance.number.to_string();
            let labels = [instance.project.as_str(), &instance.service, &replica];
            let set = |series: &IntGaugeVec, value| series.with_label_values(&labels).set(value);
            let is_healthy = container.state == ContainerState::Running
                && matches!(container.health, Health::Healthy | Health::None);
            set(&self.healthy, i64::from(is_healthy));
            set(&self.restarts, number(container.restart_count));
            set(&self.oom_killed, i64::from(container.oom_killed));
            if let Some(started_at) = container.started_at {
                set(&self.start, started_at.as_second());
            }
            let Some(usage) = usage else { continue };
            set(&self.cpu, number(usage.cpu_nanos_total / 1_000_000));
            set(&self.memory, number(usage.memory_bytes));
            set(&self.pids, number(usage.pids));
            if let Some(limit) = usage.memory_limit_bytes {
                set(&self.memory_limit, number(limit));
            }
        }
    }
}

/// The same collector, known to the registry.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn gauge(registry: &Registry, metric: Metric) -> Result<IntGauge, prometheus::Error> {
    registered(registry, IntGauge::with_opts(options(metric))?)
}

fn gauges(registry: &Registry, metric: Metric) -> Result<IntGaugeVec, prometheus::Error> {
    registered(registry, IntGaugeVec::new(options(metric), metric.labels())?)
}

fn counter(registry: &Registry, metric: Metric) -> Result<IntCounter, prometheus::Error> {
    registered(registry, IntCounter::with_opts(options(metric))?)
}

fn counters(registry: &Registry, metric: Metric) -> Result<IntCounterVec, prometheus::Error> {
    registered(registry, IntCounterVec::new(options(metric), metric.labels())?)
}

fn histogram(
    registry: &Registry,
    metric: Metric,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    registered(registry, Histogram::with_opts(histogram_options(metric, buckets))?)
}

fn histograms(
    registry: &Registry,
    metric: Metric,
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    registered(registry, HistogramVec::new(histogram_options(metric, buckets), metric.labels())?)
}

fn options(metric: Metric) -> Opts {
    Opts::new(metric.key(), metric.help())
}

fn histogram_options(metric: Metric, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(metric.key(), metric.help()).buckets(buckets.to_vec())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::Timestamp;
    use crate::facts::{Instance, ServiceSpec};

    fn container() -> ContainerFacts {
        ContainerFacts {
            id: "c".to_owned(),
            name: "shop-web-1".to_owned(),
            instance: None,
            oneoff: false,
            contract_hash: None,
            all_labels: BTreeMap::new(),
            spec: ServiceSpec::default(),
            image_id: "sha256:1".to_owned(),
            state: ContainerState::Running,
            health: Health::Unhealthy,
            exit_code: 0,
            oom_killed: false,
            state_error: None,
            restart_count: 2,
            created_at: None,
            started_at: Some(Timestamp::UNIX_EPOCH),
            finished_at: None,
            addresses: BTreeMap::new(),
            anonymous_volumes: BTreeMap::new(),
        }
    }

    #[test]
    fn so_many_instances_are_told_one_by_one_and_each_look_replaces_the_last() {
        let metrics = Metrics::new().unwrap();
        let many: Vec<ContainerFacts> = (1..=502)
            .map(|number| {
                let (project, service) = ("shop".to_owned(), "web".to_owned());
                ContainerFacts {
                    instance: Some(Instance { project, service, number }),
                    ..container()
                }
            })
            .collect();
        let found: Vec<_> = many.iter().map(|container| (container, None)).collect();
        metrics.instances.set(&found);
        let series = |metrics: &Metrics| {
            let text = metrics.render().unwrap();
            text.lines().filter(|line| line.starts_with("wharf_instance_healthy{")).count()
        };
        assert_eq!(series(&metrics), 500);
        assert!(metrics.render().unwrap().contains("wharf_instances_left_out 2"));
        metrics.instances.set(&found[..1]);
        assert_eq!(series(&metrics), 1);
        let text = metrics.render().unwrap();
        let labels = "{number=\"1\",project=\"shop\",service=\"web\"}";
        assert!(text.contains(&format!("wharf_instance_healthy{labels} 0")), "{text}");
        assert!(text.contains(&format!("wharf_instance_restarts{labels} 2")), "{text}");
    }

    /// Metrics of which every series was counted once.
    fn filled() -> Metrics {
        let metrics = Metrics::new().unwrap();
        metrics.engine_call("ping", "ok", Duration::from_millis(2));
        metrics.store_commit("ok", Duration::from_millis(1));
        metrics.store_batch(3);
        metrics.convergence_swept();
        metrics.convergence_looked("settled");
        metrics.runs.with_label_values(&["queued"]).set(1);
        metrics.oldest_run_age.with_label_values(&["queued"]).set(1);
        metrics.audit_event("agent.started", "info");
        metrics.audit_anchor("file /mnt/anchors", true, 7);
        metrics.run_completed("deploy_project", "succeeded", Duration::from_secs(3));
        metrics.alert_delivery("delivered", Duration::from_millis(20));
        metrics.api_request("GET", 200);
        metrics.queue_claim("shop.mail", "run");
        metrics.queue_wait_over();
        metrics.queue_runs.with_label_values(&["shop.mail", "queued"]).set(1);
        metrics.queue_oldest.with_label_values(&["shop.mail"]).set(1);
        let instance =
            Some(Instance { project: "shop".to_owned(), service: "web".to_owned(), number: 1 });
        let container = ContainerFacts { instance, ..container() };
        let usage = ContainerUsage { memory_limit_bytes: Some(1), ..ContainerUsage::default() };
        metrics.instances.set(&[(&container, Some(&usage))]);
        metrics.projects.with_label_values(&["running"]).set(1);
        metrics.images_outdated.with_label_values(&["shop"]).set(1);
        metrics.containers.with_label_values(&["shop", "running", "healthy"]).set(1);
        metrics
    }

    #[test]
    fn every_name_of_the_list_is_a_series() {
        let text = filled().render().unwrap();
        for metric in Metric::ALL {
            assert!(text.contains(&format!("# HELP {metric} ")), "{metric}");
        }
    }

    #[test]
    fn the_list_in_the_tree_is_fresh() {
        let rendered = filled().render().unwrap();
        let series: Vec<&str> = rendered.lines().collect();
        let mut text =
            "# Metrics\n\n`/metrics` gives these series in Prometheus's text format, and \
                        the library's `process_*`.\n\n| series | type | labels | meaning |\n\
                        |---|---|---|---|\n"
                .to_owned();
        for metric in Metric::ALL {
            let kind = series.iter().find_map(|line| {
                line.strip_prefix("# TYPE ")?.strip_prefix(metric.key())?.strip_prefix(' ')
            });
            let kind = kind.unwrap();
            let labels: Vec<String> =
                metric.labels().iter().map(|label| format!("`{label}`")).collect();
            let (labels, help) = (labels.join(", "), metric.help());
            text.push_str(&format!("| `{metric}` | {kind} | {labels} | {help} |\n"));
        }
        crate::fresh_file("docs/metrics.md", &text);
    }
}
