//! Counts what the agent does. Owns the one list of metric names and the registry. Face: `Metric`,
//! `Metrics`. Never takes a label from input: every label's values come from an enum or from the
//! names of kept projects, so the number of series stays bounded.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::base::keyed::keyed;

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
        /// Calls of the engine; labels `method`, `outcome`.
        EngineCalls = "wharf_engine_calls_total",
        /// Time until the engine's answer; label `method`.
        EngineCallDuration = "wharf_engine_call_duration_seconds",
        /// Transactions of the store; label `outcome`.
        StoreCommits = "wharf_store_commits_total",
        /// Time until a transaction is durable.
        StoreCommitDuration = "wharf_store_commit_duration_seconds",
        /// Audit events that were recorded; labels `event_type`, `outcome`.
        AuditEvents = "wharf_audit_events_total",
        /// Kept projects; label `desired`.
        Projects = "wharf_projects",
        /// Containers of kept projects; labels `project`, `state`, `health`.
        Containers = "wharf_containers",
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
            Self::EngineCalls => "Calls of the Docker Engine.",
            Self::EngineCallDuration => "Time until the engine's answer.",
            Self::StoreCommits => "Transactions of the database.",
            Self::StoreCommitDuration => "Time until a transaction is durable.",
            Self::AuditEvents => "Audit events that were recorded.",
            Self::Projects => "Projects that the agent keeps.",
            Self::Containers => "Containers of the projects that the agent keeps.",
            Self::ApiRequests => "Requests of the API.",
        }
    }
}

/// Seconds; an engine call takes milliseconds, a pull minutes.
const CALL_BUCKETS: &[f64] = &[0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0];
/// Seconds; a durable commit takes one write to disk.
const COMMIT_BUCKETS: &[f64] = &[0.001, 0.004, 0.016, 0.064, 0.25, 1.0, 5.0];
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
    runs_completed: IntCounterVec,
    run_duration: HistogramVec,
    engine_calls: IntCounterVec,
    engine_call_duration: HistogramVec,
    store_commits: IntCounterVec,
    store_commit_duration: Histogram,
    audit_events: IntCounterVec,
    api_requests: IntCounterVec,
}

impl Metrics {
    /// An empty set of series.
    ///
    /// # Errors
    /// When two series share a name, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = gauges(&registry, Metric::BuildInfo, &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        Ok(Self {
            store_up: gauge(&registry, Metric::StoreUp)?,
            engine_up: gauge(&registry, Metric::EngineUp)?,
            projects: gauges(&registry, Metric::Projects, &["desired"])?,
            containers: gauges(&registry, Metric::Containers, &["project", "state", "health"])?,
            runs_completed: counters(&registry, Metric::RunsCompleted, &["type", "outcome"])?,
            run_duration: histograms(&registry, Metric::RunDuration, RUN_BUCKETS, &["type"])?,
            engine_calls: counters(&registry, Metric::EngineCalls, &["method", "outcome"])?,
            engine_call_duration: histograms(
                &registry,
                Metric::EngineCallDuration,
                CALL_BUCKETS,
                &["method"],
            )?,
            store_commits: counters(&registry, Metric::StoreCommits, &["outcome"])?,
            store_commit_duration: histogram(
                &registry,
                Metric::StoreCommitDuration,
                COMMIT_BUCKETS,
            )?,
            audit_events: counters(&registry, Metric::AuditEvents, &["event_type", "outcome"])?,
            api_requests: counters(&registry, Metric::ApiRequests, &["method", "status"])?,
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

    /// An audit event was recorded.
    pub fn audit_event(&self, event_type: &str, outcome: &str) {
        self.audit_events.with_label_values(&[event_type, outcome]).inc();
    }

    /// A run ended.
    pub fn run_completed(&self, run_type: &str, outcome: &str, took: Duration) {
        self.runs_completed.with_label_values(&[run_type, outcome]).inc();
        self.run_duration.with_label_values(&[run_type]).observe(took.as_secs_f64());
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

/// The same collector, known to the registry.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn gauge(registry: &Registry, metric: Metric) -> Result<IntGauge, prometheus::Error> {
    registered(registry, IntGauge::new(metric.key(), metric.help())?)
}

fn gauges(
    registry: &Registry,
    metric: Metric,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    registered(registry, IntGaugeVec::new(Opts::new(metric.key(), metric.help()), labels)?)
}

fn counters(
    registry: &Registry,
    metric: Metric,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    registered(registry, IntCounterVec::new(Opts::new(metric.key(), metric.help()), labels)?)
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
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    registered(registry, HistogramVec::new(histogram_options(metric, buckets), labels)?)
}

fn histogram_options(metric: Metric, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(metric.key(), metric.help()).buckets(buckets.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_list_is_a_series() {
        let metrics = Metrics::new().unwrap();
        metrics.engine_call("ping", "ok", Duration::from_millis(2));
        metrics.store_commit("ok", Duration::from_millis(1));
        metrics.audit_event("agent.started", "info");
        metrics.run_completed("deploy_project", "succeeded", Duration::from_secs(3));
        metrics.api_request("GET", 200);
        metrics.projects.with_label_values(&["running"]).set(1);
        metrics.containers.with_label_values(&["shop", "running", "healthy"]).set(1);
        let text = metrics.render().unwrap();
        for metric in Metric::ALL {
            assert!(text.contains(&format!("# HELP {metric} ")), "{metric}");
        }
    }
}
