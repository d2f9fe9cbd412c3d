//! Names the series of the agent's own. Owns the one list of metric names with their words. Face:
//! `Metric`. Never counts.

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
        /// Runs that are not completed; label `status`.
        Runs = "wharf_runs",
        /// Since when the oldest of them was accepted; label `status`.
        OldestRunAge = "wharf_oldest_run_age_seconds",
        /// Looks at every kept project; no labels.
        ConvergenceSweeps = "wharf_convergence_sweeps_total",
        /// Looks at one kept project; label `outcome`: `settled`, `asked`, `failed`.
        ConvergenceLooks = "wharf_convergence_looks_total",
        /// Looks at one container by the policies in force; label `outcome`: `judged`, `asked` (a run
        /// was asked for), `failed`.
        EnforcementLooks = "wharf_enforcement_looks_total",
        /// From an event of the engine to the verdict about its container.
        EnforcementVerdictDelay = "wharf_enforcement_verdict_delay_seconds",
        /// Containers that were dealt with; label `rung`.
        EnforcementActions = "wharf_enforcement_actions_total",
        /// From an event of the engine until its container was dealt with; label `rung`.
        EnforcementActionDelay = "wharf_enforcement_action_delay_seconds",
        /// What policies asked for and something stood against; label `reason`.
        EnforcementRefusals = "wharf_enforcement_refusals_total",
        /// How long judging everything that runs took.
        EnforcementSweepDuration = "wharf_enforcement_sweep_duration_seconds",
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
        /// Vulnerabilities of the images that were scanned; label `severity`.
        ImageVulnerabilities = "wharf_image_vulnerabilities",
        /// Images that were scanned.
        ImagesScanned = "wharf_images_scanned",
        /// Time since the source of advisories was looked at; -1 without advisories.
        AdvisoriesAge = "wharf_advisories_age_seconds",
        /// Time since the newest advisory changed; -1 without advisories.
        AdvisoriesNewestAge = "wharf_advisories_newest_age_seconds",
        /// Advisories in force.
        Advisories = "wharf_advisories",
        /// Commands that are executed in containers.
        ExecSessions = "wharf_exec_sessions",
        /// Findings that are not over; labels `type`, `severity`, `status`.
        FindingsOpen = "wharf_findings_open",
        /// Those of them that should have been dealt with; label `severity`.
        FindingsOverdue = "wharf_findings_overdue",
        /// Subjects that policies are about; labels `policy`, `standing`.
        PolicySubjects = "wharf_policy_subjects",
        /// Those that pass, of those that pass or fail; label `policy`.
        PolicyCompliance = "wharf_policy_compliance_ratio",
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
        /// Policies in force, what the configuration says among them.
        Policies = "wharf_policies",
        /// Tries to put other policies in force that were refused.
        PolicyLoadFailures = "wharf_policy_load_failures_total",
        /// When those in force were put in force.
        PoliciesLoaded = "wharf_policies_loaded_time_seconds",
    }
}

impl Metric {
    pub(super) const fn help(self) -> &'static str {
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
            Self::EnforcementLooks => "Looks at one container by the policies in force.",
            Self::EnforcementVerdictDelay => {
                "Time from an event of the engine to the verdict about its container."
            }
            Self::EnforcementActions => "Containers that were dealt with.",
            Self::EnforcementActionDelay => {
                "Time from an event of the engine until its container was dealt with."
            }
            Self::EnforcementRefusals => {
                "What policies asked for about a container and something stood against."
            }
            Self::EnforcementSweepDuration => "Time that judging everything that runs took.",
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
            Self::ImageVulnerabilities => "Vulnerabilities of the images that were scanned.",
            Self::ImagesScanned => "Images whose packages are known.",
            Self::AdvisoriesAge => {
                "Seconds since the source of advisories was looked at; -1 without advisories."
            }
            Self::AdvisoriesNewestAge => {
                "Seconds since the newest advisory changed; -1 without advisories."
            }
            Self::Advisories => "Advisories that images are matched with.",
            Self::ExecSessions => "Commands that are executed in containers now.",
            Self::FindingsOpen => "Findings that are neither resolved nor closed.",
            Self::FindingsOverdue => "Open findings that should have been dealt with.",
            Self::PolicySubjects => "Subjects by how they stood to a policy when last judged.",
            Self::PolicyCompliance => "Subjects that pass, of those that pass or fail, 0 to 1.",
            Self::AlertDeliveries => "Tries to deliver an alert.",
            Self::AlertDeliveryDuration => "Time until the answer of an alert's receiver.",
            Self::QueueRuns => "Runs that are queued or running.",
            Self::QueueOldest => "Age of the oldest run that wants a worker.",
            Self::QueueWaiting => "Hosted workers that wait for work.",
            Self::QueueClaims => "Runs and jobs that hosted workers took.",
            Self::QueueWaitsOver => "Waits of hosted workers that ended without work.",
            Self::ApiRequests => "Requests of the API.",
            Self::Policies => "Policies in force.",
            Self::PolicyLoadFailures => "Tries to put policies in force that were refused.",
            Self::PoliciesLoaded => "When the policies in force were read, in seconds since 1970.",
        }
    }
}

impl Metric {
    pub(super) const fn labels(self) -> &'static [&'static str] {
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
            | Self::EnforcementLooks
            | Self::AlertDeliveries
            | Self::AlertDeliveryDuration => &["outcome"],
            Self::EnforcementActions | Self::EnforcementActionDelay => &["rung"],
            Self::EnforcementRefusals => &["reason"],
            Self::AuditEvents => &["event_type", "outcome"],
            Self::AuditAnchorTries => &["anchor", "outcome"],
            Self::AuditAnchorLag => &["anchor"],
            Self::FindingsOpen => &["type", "severity", "status"],
            Self::FindingsOverdue => &["severity"],
            Self::PolicySubjects => &["policy", "standing"],
            Self::PolicyCompliance => &["policy"],
            Self::ImagesOutdated => &["project"],
            Self::ImageVulnerabilities => &["severity"],
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
            | Self::Policies
            | Self::PolicyLoadFailures
            | Self::PoliciesLoaded
            | Self::StoreCommitDuration
            | Self::StoreCommitWrites
            | Self::QueueWaiting
            | Self::QueueWaitsOver
            | Self::InstancesLeftOut
            | Self::ExecSessions
            | Self::EnforcementVerdictDelay
            | Self::EnforcementSweepDuration
            | Self::ImagesScanned
            | Self::AdvisoriesAge
            | Self::AdvisoriesNewestAge
            | Self::Advisories
            | Self::ConvergenceSweeps => &[],
        }
    }
}
