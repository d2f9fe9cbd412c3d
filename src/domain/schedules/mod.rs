//! Decides when a schedule fires and what comes of it. Owns the schedule, its calendar and its
//! policies for what was missed and for what overlaps. Face: `Schedule`, `Calendar`, `due`, `next`,
//! `decide`. Never asks for a run: it says that one is due.

mod calendar;
mod firing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::{RunId, ScheduleId, TenantId, WorkspaceId};
use crate::base::keyed::keyed;
use crate::base::{Name, Timestamp};
use crate::domain::runs::RunType;

pub use calendar::{Calendar, CalendarError};
pub use firing::{Decision, Due, Firing, decide, due, next, wakes_at};

keyed! {
    /// What becomes of a firing that nobody was there for.
    pub enum MissedPolicy: "missed-run policy" {
        /// It is left out; the next one comes as planned.
        Skip = "skip",
        /// The latest one is made up for, once, unless it is too old.
        RunOnce = "run_once",
    }
}

keyed! {
    /// What becomes of a firing while the run of an earlier one goes on.
    pub enum Overlap: "overlap policy" {
        /// It is left out.
        Skip = "skip",
        /// It waits until that run has ended; of several that wait, the latest stays.
        Queue = "queue",
        /// That run is asked to stop, and this one begins when it has ended.
        CancelRunning = "cancel_running",
    }
}

/// What a schedule asks for when it fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Task {
    /// Brings a project to what was applied last.
    DeployProject {
        /// The compose project.
        project: String,
        /// Replace containers even when nothing changed.
        #[serde(default)]
        force_recreate: bool,
        /// Build images even when one of the same files exists.
        #[serde(default)]
        rebuild: bool,
    },
    /// Restarts a project's containers.
    RestartProject {
        /// The compose project.
        project: String,
        /// Only these services; empty for all.
        #[serde(default)]
        services: Vec<String>,
    },
    /// Asks registries for newer images.
    CheckImages {
        /// The compose project; all of them when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
    },
    /// Reads the packages of images, and matches them with advisories.
    ScanImages {
        /// The compose project; all of them when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
    },
    /// Looks for newer advisories.
    UpdateAdvisories {},
    /// Asks for a run that a user's program executes.
    Hosted {
        /// Its registered type.
        run_type: Name,
        /// What it is to do.
        #[serde(default)]
        payload: serde_json::Value,
        /// Requests with this key ask for the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
    },
}

impl Task {
    /// The type of the runs that it asks for.
    pub fn run_type(&self) -> RunType {
        match self {
            Self::Hosted { run_type, .. } => RunType::Hosted(*run_type),
            Self::DeployProject { .. } => RunType::DeployProject,
            Self::RestartProject { .. } => RunType::RestartProject,
            Self::CheckImages { .. } => RunType::CheckImages,
            Self::ScanImages { .. } => RunType::ScanImages,
            Self::UpdateAdvisories {} => RunType::UpdateAdvisories,
        }
    }

    /// The compose project that it is done to, if to one.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::DeployProject { project, .. } | Self::RestartProject { project, .. } => {
                Some(project)
            }
            Self::CheckImages { project } | Self::ScanImages { project } => project.as_deref(),
            Self::UpdateAdvisories {} | Self::Hosted { .. } => None,
        }
    }
}

/// When something is asked for, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its own.
    pub id: ScheduleId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// The tenant its runs belong to.
    pub tenant_id: Option<TenantId>,
    /// What people call it; unique in the workspace.
    pub name: Name,
    /// When it fires.
    pub calendar: Calendar,
    /// What it asks for.
    pub task: Task,
    /// Each firing comes up to this much later than planned, always by the same amount.
    pub jitter_max: Duration,
    /// What becomes of a firing that nobody was there for.
    pub missed: MissedPolicy,
    /// How old a missed firing may be that is made up for.
    pub missed_age_max: Duration,
    /// What becomes of a firing while an earlier run goes on.
    pub overlap: Overlap,
    /// Whether it is held back; what would have fired meanwhile is not made up for.
    pub is_paused: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody changed it last; a firing changes only the progress.
    pub updated_at: Timestamp,
    /// How far it is.
    pub progress: Progress,
}

/// How far a schedule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Every firing that was planned up to here is dealt with.
    pub done_until: Timestamp,
    /// The planned time of a firing that waits for the end of an earlier run.
    pub held: Option<Timestamp>,
    /// The planned time of the latest firing that became a run.
    pub fired_at: Option<Timestamp>,
    /// That run.
    pub run_id: Option<RunId>,
}

impl Progress {
    /// The progress of a schedule that begins at a time.
    pub fn from(start: Timestamp) -> Self {
        Self { done_until: start, held: None, fired_at: None, run_id: None }
    }
}
