//! Lists what a run may be, count, fail with and come from. Owns these registries and the
//! definitions of our own types. Face: `RunType::built_in`, `CountKey`, `ReasonCode`, `Source`.
//! Never knows how a run is executed.

use super::Definition;
use crate::base::Name;
use crate::base::keyed::keyed;

keyed! {
    /// What kinds of run there are.
    pub enum RunType: "run type", or Hosted if Name::is_dotted, like "<a hosted type, with a dot>" {
        /// Brings a compose project to the state that its files declare.
        DeployProject = "deploy_project",
        /// Takes a project's containers and networks away, on request its volumes too.
        RemoveProject = "remove_project",
        /// Stops and starts a project's containers.
        RestartProject = "restart_project",
        /// Fetches the images of a project's services from their registries.
        PullImages = "pull_images",
        /// Builds the images of a project's services.
        BuildImages = "build_images",
        /// Asks registries what the names of running images lead to now.
        CheckImages = "check_images",
        /// Reads the packages of images, and matches them with advisories.
        ScanImages = "scan_images",
        /// Looks for newer advisories.
        UpdateAdvisories = "update_advisories",
        /// Restarts one container whose health check fails.
        HealInstance = "heal_instance",
        /// Does what policies ask for about one container that runs.
        EnforcePolicy = "enforce_policy",
        /// Takes back what was done about a container.
        ReleaseContainer = "release_container",
        /// Does what a runbook of the catalog says.
        RunRunbook = "run_runbook",
    }
}

keyed! {
    /// What a run may count.
    pub enum CountKey: "count", or Registered if Name::is_any, like "<a registered name>" {
        /// Everything in scope.
        Total = "total",
        /// What was looked at.
        Processed = "processed",
        /// What was changed.
        Updated = "updated",
        /// What needed no change.
        Skipped = "skipped",
        /// What could not be done.
        Failed = "failed",
        /// Tenants in scope.
        Tenants = "tenants",
        /// Images that were built.
        Built = "built",
        /// Instances whose registry has another image under the name of theirs.
        Outdated = "outdated",
        /// Vulnerabilities in the images that were looked at.
        Vulnerabilities = "vulnerabilities",
        /// Containers, networks and volumes that were created.
        Created = "created",
        /// Containers that were replaced by new ones.
        Recreated = "recreated",
        /// Containers that were started.
        Started = "started",
        /// Containers that were stopped.
        Stopped = "stopped",
        /// Containers, networks and volumes that were removed.
        Removed = "removed",
    }
}

keyed! {
    /// Why something failed or was refused. Stable: alerts and scripts match on it.
    pub enum ReasonCode: "reason code", or Registered if Name::is_any, like "<a registered name>" {
        /// The engine does not answer.
        EngineUnreachable = "engine.unreachable",
        /// The engine answered with an error that has no code of its own.
        EngineRefused = "engine.refused",
        /// An engine call took longer than its deadline.
        EngineTimeout = "engine.timeout",
        /// An image is neither present nor can be pulled or built.
        ImageMissing = "image.missing",
        /// A registry does not let the agent in, or not as whom it came.
        RegistryDenied = "registry.denied",
        /// Building an image failed.
        ImageBuildFailed = "image.build_failed",
        /// An image cannot be read for its packages.
        ImageUnreadable = "image.unreadable",
        /// The advisories cannot be had, or are none.
        AdvisoriesUnavailable = "advisories.unavailable",
        /// A published port is taken by somebody else.
        PortInUse = "port.in_use",
        /// The engine has no driver for devices that a service asks for.
        DeviceMissing = "device.missing",
        /// A name is taken by something that is not ours.
        NameInUse = "name.in_use",
        /// Another agent on the same engine keeps the project.
        OwnedElsewhere = "project.owned_elsewhere",
        /// A host path of a mount is missing or not allowed.
        MountRefused = "mount.refused",
        /// A container ended although it should run.
        ContainerExited = "container.exited",
        /// A container did not become healthy.
        ContainerUnhealthy = "container.unhealthy",
        /// A command that is hooked to the start or stop of a container failed.
        ContainerHookFailed = "container.hook_failed",
        /// Something that a service depends on failed, so the service was not started.
        DependencyFailed = "dependency.failed",
        /// A wait took longer than its deadline.
        DeadlineExceeded = "deadline.exceeded",
        /// The input cannot be deployed as it is.
        InputInvalid = "input.invalid",
        /// What was named does not exist.
        NotFound = "not_found",
        /// A policy, an approval or a freeze window stands against it.
        Refused = "refused",
        /// What a runbook would do is not what it was when somebody looked.
        PreflightStale = "preflight.stale",
        /// The audit log is not what was written.
        AuditBroken = "audit.broken",
        /// A disk is full.
        DiskFull = "disk.full",
        /// The agent's database does not take writes.
        StoreUnavailable = "store.unavailable",
        /// Somebody cancelled the run.
        RunCancelled = "run.cancelled",
        /// A newer run of the same subject took its place.
        RunSuperseded = "run.superseded",
        /// An attempt took longer than its type allows.
        RunTimedOut = "run.timed_out",
        /// A program failed and gave no code of its own.
        RunFailed = "run.failed",
        /// The run was interrupted too often.
        RunAttemptsExhausted = "run.attempts_exhausted",
        /// The code of the run panicked.
        RunPanicked = "run.panicked",
        /// This version of the agent cannot execute the run's type.
        RunTypeUnsupported = "run.type_unsupported",
        /// An error that no other code names.
        Internal = "internal",
    }
}

keyed! {
    /// Through which door a run came.
    pub enum Source: "source" {
        /// The command-line client.
        Cli = "cli",
        /// Another client of the API.
        Api = "api",
        /// A schedule.
        Schedule = "schedule",
        /// The agent itself, keeping what was applied.
        Convergence = "convergence",
        /// An alert.
        Alert = "alert",
        /// The web console.
        Console = "console",
        /// A program's deploy hook.
        DeployHook = "deploy_hook",
    }
}

keyed! {
    /// What happens to a run whose process died.
    pub enum OnCrash: "crash rule" {
        /// A new attempt goes on; every step of the operation may be repeated.
        Resume = "resume",
        /// A new attempt takes back what was done.
        Undo = "undo",
        /// The run waits for an operator's answer.
        Ask = "ask",
    }
}

/// What our own types are.
mod built_in {
    use super::CountKey::{
        Built, Created, Failed, Outdated, Processed, Recreated, Removed, Skipped, Started, Stopped,
        Tenants, Total, Updated, Vulnerabilities,
    };
    use super::{CountKey, Definition};
    use crate::domain::access::Capability;
    use crate::domain::runs::Retry;

    const DEPLOY: &[CountKey] = &[
        Total, Processed, Updated, Skipped, Failed, Built, Created, Recreated, Started, Stopped,
        Removed,
    ];
    const REMOVE: &[CountKey] = &[Total, Processed, Updated, Skipped, Failed, Stopped, Removed];
    const RESTART: &[CountKey] = &[Total, Processed, Updated, Skipped, Failed, Started, Stopped];

    const PULL: &[CountKey] = &[Total, Processed, Updated, Skipped, Failed];
    const BUILD: &[CountKey] = &[Total, Processed, Built, Skipped, Failed];

    const CHECK: &[CountKey] = &[Total, Processed, Skipped, Outdated];

    const SCAN: &[CountKey] =
        &[Total, Processed, Updated, Skipped, Failed, Removed, Vulnerabilities];
    const ADVISORIES: &[CountKey] = &[Total, Updated, Skipped];

    const HEAL: &[CountKey] = &[Skipped, Failed, Started];

    const ENFORCE: &[CountKey] = &[Total, Updated, Skipped, Failed, Recreated, Stopped];
    const RELEASE: &[CountKey] = &[Total, Updated, Skipped, Failed, Started];

    const RUNBOOK: &[CountKey] = &[Total, Processed, Updated, Skipped, Failed, Tenants];

    /// A runbook that fails is a dead letter: somebody looks at it before it is tried again.
    const RUNBOOK_RETRY: Retry = Retry { attempts_max: 1, ..Retry::NEVER };

    pub(super) static DEPLOY_PROJECT: Definition =
        Definition::built_in("Deploy project", Capability::ProjectsDeploy, DEPLOY);
    pub(super) static REMOVE_PROJECT: Definition =
        Definition::built_in("Remove project", Capability::ProjectsRemove, REMOVE);
    pub(super) static RESTART_PROJECT: Definition =
        Definition::built_in("Restart project", Capability::ProjectsRestart, RESTART);
    pub(super) static PULL_IMAGES: Definition =
        Definition::built_in("Pull images", Capability::ProjectsDeploy, PULL);
    pub(super) static BUILD_IMAGES: Definition =
        Definition::built_in("Build images", Capability::ProjectsDeploy, BUILD);
    pub(super) static CHECK_IMAGES: Definition =
        Definition::built_in("Check images", Capability::ProjectsDeploy, CHECK);
    pub(super) static SCAN_IMAGES: Definition =
        Definition::built_in("Scan images", Capability::ProjectsDeploy, SCAN);
    pub(super) static UPDATE_ADVISORIES: Definition =
        Definition::built_in("Update advisories", Capability::ProjectsDeploy, ADVISORIES);
    pub(super) static HEAL_INSTANCE: Definition =
        Definition::built_in("Heal instance", Capability::ProjectsRestart, HEAL);
    pub(super) static ENFORCE_POLICY: Definition =
        Definition::built_in("Enforce policy", Capability::EnforcementManage, ENFORCE);
    pub(super) static RELEASE_CONTAINER: Definition =
        Definition::built_in("Release container", Capability::EnforcementManage, RELEASE);
    pub(super) static RUN_RUNBOOK: Definition =
        Definition::built_in("Run runbook", Capability::RunbooksRun, RUNBOOK)
            .tried_again(RUNBOOK_RETRY);
}

impl RunType {
    /// What is fixed about runs of this type; none for a hosted type, whose definition is a record.
    pub fn built_in(self) -> Option<&'static Definition> {
        match self {
            Self::DeployProject => Some(&built_in::DEPLOY_PROJECT),
            Self::RemoveProject => Some(&built_in::REMOVE_PROJECT),
            Self::RestartProject => Some(&built_in::RESTART_PROJECT),
            Self::PullImages => Some(&built_in::PULL_IMAGES),
            Self::BuildImages => Some(&built_in::BUILD_IMAGES),
            Self::CheckImages => Some(&built_in::CHECK_IMAGES),
            Self::ScanImages => Some(&built_in::SCAN_IMAGES),
            Self::UpdateAdvisories => Some(&built_in::UPDATE_ADVISORIES),
            Self::HealInstance => Some(&built_in::HEAL_INSTANCE),
            Self::EnforcePolicy => Some(&built_in::ENFORCE_POLICY),
            Self::ReleaseContainer => Some(&built_in::RELEASE_CONTAINER),
            Self::RunRunbook => Some(&built_in::RUN_RUNBOOK),
            Self::Hosted(_) => None,
        }
    }

    /// Whether programs of users execute it.
    pub const fn is_hosted(self) -> bool {
        matches!(self, Self::Hosted(_))
    }

    /// For people: what it does; a hosted type's name.
    pub fn label(&self) -> &str {
        self.built_in().map_or(self.key(), |definition| &definition.label)
    }
}
