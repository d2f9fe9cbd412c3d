//! Counts what the agent does. Owns the registry. Face: `Metric`, `Metrics`. Never takes a label from
//! input: every label's values come from an enum or from the names of kept projects, registered
//! types and policies, so the number of series stays bounded.

mod enforcement;
mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::base::limits::INSTANCE_SERIES_MAX;
use crate::domain::alerts::Severity;
use crate::domain::findings::{Standing, Tally};
use crate::facts::{ContainerFacts, ContainerState, ContainerUsage, Health};
use crate::store::FindingCount;

use enforcement::EnforcementSeries;
pub use names::Metric;

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
    /// What is told of findings and compliance.
    pub(super) findings: FindingSeries,
    /// Instances with an outdated image by project.
    pub(super) images_outdated: IntGaugeVec,
    /// Vulnerabilities by severity.
    pub(super) image_vulnerabilities: IntGaugeVec,
    /// Images that were scanned.
    pub(super) images_scanned: IntGauge,
    /// Seconds since the source of advisories was looked at.
    pub(super) advisories_age: IntGauge,
    /// Seconds since the newest advisory changed.
    pub(super) advisories_newest_age: IntGauge,
    /// Advisories in force.
    pub(super) advisories: IntGauge,
    /// Runs that are not completed, by status.
    pub(super) runs: IntGaugeVec,
    /// Seconds since the oldest of them was accepted.
    pub(super) oldest_run_age: IntGaugeVec,
    convergence_sweeps: IntCounter,
    convergence_looks: IntCounterVec,
    enforcement: EnforcementSeries,
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
    policies: IntGauge,
    policy_loads_failed: IntCounter,
    policies_loaded_at: IntGauge,
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
            findings: FindingSeries::new(&registry)?,
            images_outdated: gauges(&registry, Metric::ImagesOutdated)?,
            image_vulnerabilities: gauges(&registry, Metric::ImageVulnerabilities)?,
            images_scanned: gauge(&registry, Metric::ImagesScanned)?,
            advisories_age: gauge(&registry, Metric::AdvisoriesAge)?,
            advisories_newest_age: gauge(&registry, Metric::AdvisoriesNewestAge)?,
            advisories: gauge(&registry, Metric::Advisories)?,
            runs: gauges(&registry, Metric::Runs)?,
            oldest_run_age: gauges(&registry, Metric::OldestRunAge)?,
            queue_runs: gauges(&registry, Metric::QueueRuns)?,
            queue_oldest: gauges(&registry, Metric::QueueOldest)?,
            queue_waiting: gauge(&registry, Metric::QueueWaiting)?,
            queue_claims: counters(&registry, Metric::QueueClaims)?,
            queue_waits_over: counter(&registry, Metric::QueueWaitsOver)?,
            convergence_sweeps: counter(&registry, Metric::ConvergenceSweeps)?,
            convergence_looks: counters(&registry, Metric::ConvergenceLooks)?,
            enforcement: EnforcementSeries::new(&registry)?,
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
            policies: gauge(&registry, Metric::Policies)?,
            policy_loads_failed: counter(&registry, Metric::PolicyLoadFailures)?,
            policies_loaded_at: gauge(&registry, Metric::PoliciesLoaded)?,
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

    /// A container was judged, so long after the event that told of it.
    pub fn enforcement_judged(&self, outcome: &str, delay: Option<Duration>) {
        self.enforcement.judged(outcome, delay);
    }

    /// A container was dealt with, so long after the event that told of it.
    pub fn enforcement_acted(&self, rung: &str, delay: Option<Duration>) {
        self.enforcement.acted(rung, delay);
    }

    /// Something stood against what policies ask for.
    pub fn enforcement_refused(&self, reason: &str) {
        self.enforcement.refused(reason);
    }

    /// Everything that runs was judged.
    pub fn enforcement_swept(&self, took: Duration) {
        self.enforcement.swept(took);
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

    /// So many policies are in force since then, and so many tries to change them failed.
    pub fn policies(&self, count: usize, loaded_at: Option<i64>, failures: u64) {
        self.policies.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.policies_loaded_at.set(loaded_at.unwrap_or_default());
        self.policy_loads_failed.inc_by(failures.saturating_sub(self.policy_loads_failed.get()));
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

/// The series of findings and compliance. Each look at all of them replaces what the last one told.
#[derive(Debug)]
pub(super) struct FindingSeries {
    open: IntGaugeVec,
    overdue: IntGaugeVec,
    subjects: IntGaugeVec,
    compliance: GaugeVec,
}

impl FindingSeries {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let compliance = Metric::PolicyCompliance;
        let compliance = GaugeVec::new(options(compliance), compliance.labels())?;
        Ok(Self {
            open: gauges(registry, Metric::FindingsOpen)?,
            overdue: gauges(registry, Metric::FindingsOverdue)?,
            subjects: gauges(registry, Metric::PolicySubjects)?,
            compliance: registered(registry, compliance)?,
        })
    }

    /// Forgets what was told, and tells this. Every severity has a number of what is overdue.
    pub(super) fn set(&self, findings: &[FindingCount], policies: &BTreeMap<String, Tally>) {
        self.open.reset();
        self.subjects.reset();
        self.compliance.reset();
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for severity in Severity::ALL {
            self.overdue.with_label_values(&[severity.key()]).set(0);
        }
        for count in findings {
            let (severity, status) = (count.severity.key(), count.status.key());
            let labels = [count.finding_type.key(), severity, status];
            self.open.with_label_values(&labels).set(number(count.total));
            self.overdue.with_label_values(&[severity]).add(number(count.overdue));
        }
        for (policy, tally) in policies {
            for (standing, count) in [
                (Standing::Passing, tally.passing),
                (Standing::Failing, tally.failing),
                (Standing::Excepted, tally.excepted),
                (Standing::Unknown, tally.unknown),
            ] {
                let labels = [policy.as_str(), standing.key()];
                self.subjects.with_label_values(&labels).set(number(count));
            }
            if let Some(ratio) = tally.hundredths().and_then(|it| u32::try_from(it).ok()) {
                let ratio = f64::from(ratio) / 10_000.0;
                self.compliance.with_label_values(&[policy.as_str()]).set(ratio);
            }
        }
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
