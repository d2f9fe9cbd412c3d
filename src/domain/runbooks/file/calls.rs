//! Lists what the steps of runbook files can call. Owns the operations' names and parameters. Face:
//! `Call`. Never acts: the shell does what these names mean.

use crate::base::keyed::keyed;
use crate::domain::access::Capability;
use crate::domain::runbooks::{Entry, RunbookKey, Scope};

keyed! {
    /// What a step can call.
    pub enum Call: "operation" {
        /// Brings a project to what was applied last.
        ProjectDeploy = "project.deploy",
        /// Stops and starts a project's containers.
        ProjectRestart = "project.restart",
        /// Takes a project's containers and networks away.
        ProjectRemove = "project.remove",
        /// Leaves a project alone.
        ProjectPause = "project.pause",
        /// Keeps a project again.
        ProjectResume = "project.resume",
        /// Tells of a project.
        ProjectShow = "project.show",
        /// Holds a schedule back.
        SchedulePause = "schedule.pause",
        /// Lets a schedule go on.
        ScheduleResume = "schedule.resume",
        /// Asks for a schedule's run now.
        ScheduleRun = "schedule.run",
        /// Tells of a schedule.
        ScheduleShow = "schedule.show",
        /// Counts the runs that are dead letters.
        DeadLetters = "runs.dead_letters",
        /// Backfills findings.
        FindingsBackfill = "findings.lifecycle.backfill",
        /// Tries dead letters again.
        RetryFailed = "runs.retry_failed",
        /// Follows the audit log.
        AuditVerify = "audit.verify",
        /// Checks the database.
        StoreMaintenance = "store.maintenance",
    }
}

/// What a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A text.
    Text,
    /// A whole number.
    Whole,
    /// Yes or no.
    YesNo,
}

/// One thing that a call takes: its name, its kind and whether it must be there.
pub(super) type Input = (&'static str, Takes, bool);

/// How a call acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acts {
    /// It only looks.
    Looks,
    /// It changes a record; done twice, it changes nothing more.
    Records,
    /// It asks for a run and ends as that does.
    Runs,
}

const PROJECT: &[Input] = &[("project", Takes::Text, true)];
const RESTART: &[Input] = &[("project", Takes::Text, true), ("service", Takes::Text, false)];
const REMOVE: &[Input] = &[("project", Takes::Text, true), ("volumes", Takes::YesNo, false)];
const SCHEDULE: &[Input] = &[("schedule", Takes::Text, true)];
const RETRY: &[Input] = &[
    ("run_type", Takes::Text, false),
    ("limit", Takes::Whole, false),
    ("failed_jobs_only", Takes::YesNo, false),
];

impl Call {
    /// What it takes.
    pub const fn inputs(self) -> &'static [Input] {
        match self {
            Self::ProjectRestart => RESTART,
            Self::ProjectRemove => REMOVE,
            Self::ProjectDeploy | Self::ProjectPause | Self::ProjectResume | Self::ProjectShow => {
                PROJECT
            }
            Self::SchedulePause | Self::ScheduleResume | Self::ScheduleRun | Self::ScheduleShow => {
                SCHEDULE
            }
            Self::RetryFailed => RETRY,
            Self::DeadLetters
            | Self::FindingsBackfill
            | Self::AuditVerify
            | Self::StoreMaintenance => &[],
        }
    }

    /// How it acts.
    pub const fn acts(self) -> Acts {
        match self {
            Self::ProjectShow | Self::ScheduleShow | Self::DeadLetters => Acts::Looks,
            Self::ProjectPause
            | Self::ProjectResume
            | Self::SchedulePause
            | Self::ScheduleResume => Acts::Records,
            Self::ProjectDeploy
            | Self::ProjectRestart
            | Self::ProjectRemove
            | Self::ScheduleRun
            | Self::FindingsBackfill
            | Self::RetryFailed
            | Self::AuditVerify
            | Self::StoreMaintenance => Acts::Runs,
        }
    }

    /// What a step can tell after it, beside its outcome.
    pub const fn tells(self) -> &'static [&'static str] {
        match self {
            Self::ProjectShow => &["is_kept", "desired"],
            Self::ScheduleShow => &["is_there", "is_paused"],
            Self::DeadLetters => &["count"],
            Self::ProjectPause
            | Self::ProjectResume
            | Self::SchedulePause
            | Self::ScheduleResume => &["changed"],
            _ => &["run_id"],
        }
    }

    /// What whoever starts a runbook with it must be allowed besides.
    pub const fn capability(self) -> Capability {
        match self {
            Self::ProjectDeploy | Self::ProjectPause | Self::ProjectResume => {
                Capability::ProjectsDeploy
            }
            Self::ProjectRestart => Capability::ProjectsRestart,
            Self::ProjectRemove => Capability::ProjectsRemove,
            Self::ProjectShow => Capability::ProjectsView,
            Self::SchedulePause | Self::ScheduleResume | Self::ScheduleRun => {
                Capability::SchedulesManage
            }
            Self::ScheduleShow => Capability::SchedulesView,
            Self::DeadLetters => Capability::RunsView,
            Self::FindingsBackfill
            | Self::RetryFailed
            | Self::AuditVerify
            | Self::StoreMaintenance => Capability::RunbooksRun,
        }
    }

    /// The built-in runbook that it starts.
    pub const fn runbook(self) -> Option<RunbookKey> {
        match self {
            Self::FindingsBackfill => Some(RunbookKey::FindingsLifecycleBackfill),
            Self::RetryFailed => Some(RunbookKey::RunsRetryFailed),
            Self::AuditVerify => Some(RunbookKey::AuditVerify),
            Self::StoreMaintenance => Some(RunbookKey::StoreMaintenance),
            _ => None,
        }
    }

    /// How far its runbook reaches when the file's own reaches so far.
    pub fn reach(self, scope: Scope) -> Scope {
        let takes = |entry: &Entry| entry.scopes.contains(&scope);
        match self.runbook().and_then(RunbookKey::built_in).is_some_and(takes) {
            true => scope,
            false => Scope::AllTenants,
        }
    }
}
