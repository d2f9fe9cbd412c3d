//! Lists what a run may be, count, fail with and come from. Owns these registries and each type's
//! definition. Face: `RunType::definition`, `CountKey`, `ReasonCode`, `Source`. Never knows how a
//! run is executed.

use crate::base::keyed::keyed;

keyed! {
    /// What kinds of run there are.
    pub enum RunType: "run type" {
        /// Brings a compose project to the state that its files declare.
        DeployProject = "deploy_project",
        /// Takes a project's containers and networks away, on request its volumes too.
        RemoveProject = "remove_project",
        /// Stops and starts a project's containers.
        RestartProject = "restart_project",
    }
}

keyed! {
    /// What is allowed to a role. The registry is fixed; roles are sets of its members.
    pub enum Capability: "capability" {
        /// See runs and their steps.
        RunsView = "runs.view",
        /// Cancel a run or answer its question.
        RunsControl = "runs.control",
        /// Deploy, pause and resume a project.
        ProjectsDeploy = "projects.deploy",
        /// Remove a project.
        ProjectsRemove = "projects.remove",
        /// Restart a project's containers.
        ProjectsRestart = "projects.restart",
        /// Read the audit log.
        AuditView = "audit.view",
    }
}

keyed! {
    /// What a run may count.
    pub enum CountKey: "count" {
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
    pub enum ReasonCode: "reason code" {
        /// The engine does not answer.
        EngineUnreachable = "engine.unreachable",
        /// The engine answered with an error that has no code of its own.
        EngineRefused = "engine.refused",
        /// An engine call took longer than its deadline.
        EngineTimeout = "engine.timeout",
        /// An image is neither present nor can be pulled or built.
        ImageMissing = "image.missing",
        /// Building an image failed.
        ImageBuildFailed = "image.build_failed",
        /// A published port is taken by somebody else.
        PortInUse = "port.in_use",
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
        /// A disk is full.
        DiskFull = "disk.full",
        /// The agent's database does not take writes.
        StoreUnavailable = "store.unavailable",
        /// Somebody cancelled the run.
        RunCancelled = "run.cancelled",
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

/// What is fixed about every run of one type.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// For people: what it does.
    pub label: &'static str,
    /// What happens after a crash.
    pub on_crash: OnCrash,
    /// The numbers it may count.
    pub counts: &'static [CountKey],
    /// What its initiator must be allowed to do.
    pub capability: Capability,
}

impl RunType {
    /// What is fixed about runs of this type.
    pub const fn definition(self) -> Definition {
        use CountKey::{
            Built, Created, Failed, Processed, Recreated, Removed, Skipped, Started, Stopped,
            Total, Updated,
        };
        match self {
            Self::DeployProject => Definition {
                label: "Deploy project",
                on_crash: OnCrash::Resume,
                counts: &[
                    Total, Processed, Updated, Skipped, Failed, Built, Created, Recreated, Started,
                    Stopped, Removed,
                ],
                capability: Capability::ProjectsDeploy,
            },
            Self::RemoveProject => Definition {
                label: "Remove project",
                on_crash: OnCrash::Resume,
                counts: &[Total, Processed, Updated, Skipped, Failed, Stopped, Removed],
                capability: Capability::ProjectsRemove,
            },
            Self::RestartProject => Definition {
                label: "Restart project",
                on_crash: OnCrash::Resume,
                counts: &[Total, Processed, Updated, Skipped, Failed, Started, Stopped],
                capability: Capability::ProjectsRestart,
            },
        }
    }
}
