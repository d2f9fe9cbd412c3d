//! The wire form of schedules. Owns the shapes. Face: `ScheduleView`, `SchedulePut`, `FiringView`.
//! Never takes what the domain would refuse: what is put goes through its parsers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::{Name, Timestamp};
use crate::domain::schedules::{
    Calendar, CalendarError, Firing, MissedPolicy, Overlap, Schedule, Task,
};
use crate::operations::schedules::ScheduleSpec;

/// What a schedule asks for when it fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskView {
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
        #[schema(value_type = String, example = "shop.send_invoices")]
        run_type: Name,
        /// What it is to do.
        #[serde(default)]
        payload: serde_json::Value,
        /// Requests with this key ask for the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
    },
}

impl From<TaskView> for Task {
    fn from(view: TaskView) -> Self {
        match view {
            TaskView::DeployProject { project, force_recreate, rebuild } => {
                Self::DeployProject { project, force_recreate, rebuild }
            }
            TaskView::RestartProject { project, services } => {
                Self::RestartProject { project, services }
            }
            TaskView::CheckImages { project } => Self::CheckImages { project },
            TaskView::ScanImages { project } => Self::ScanImages { project },
            TaskView::UpdateAdvisories {} => Self::UpdateAdvisories {},
            TaskView::Hosted { run_type, payload, identity } => {
                Self::Hosted { run_type, payload, identity }
            }
        }
    }
}

impl From<&Task> for TaskView {
    fn from(task: &Task) -> Self {
        match task.clone() {
            Task::DeployProject { project, force_recreate, rebuild } => {
                Self::DeployProject { project, force_recreate, rebuild }
            }
            Task::RestartProject { project, services } => {
                Self::RestartProject { project, services }
            }
            Task::CheckImages { project } => Self::CheckImages { project },
            Task::ScanImages { project } => Self::ScanImages { project },
            Task::UpdateAdvisories {} => Self::UpdateAdvisories {},
            Task::Hosted { run_type, payload, identity } => {
                Self::Hosted { run_type, payload, identity }
            }
        }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

fn skip_missed() -> MissedPolicy {
    MissedPolicy::Skip
}

fn skip_overlap() -> Overlap {
    Overlap::Skip
}

const fn an_hour() -> u64 {
    3600
}

/// What a schedule is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulePut {
    /// Five fields: minute, hour, day of month, month, day of week; or `@daily` and its kin.
    #[schema(example = "30 3 * * *")]
    pub cron: String,
    /// The IANA name of the time zone.
    #[serde(default = "utc")]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// What it asks for.
    pub task: TaskView,
    /// Each firing comes up to so many seconds later than planned, always by the same amount.
    #[serde(default)]
    pub jitter_seconds: u64,
    /// What becomes of a firing that nobody was there for: `skip` or `run_once`.
    #[serde(default = "skip_missed")]
    #[schema(value_type = String, example = "skip")]
    pub missed: MissedPolicy,
    /// How many seconds old a missed firing may be that `run_once` makes up for.
    #[serde(default = "an_hour")]
    pub missed_age_max_seconds: u64,
    /// What becomes of a firing while an earlier run goes on: `skip`, `queue` or `cancel_running`.
    #[serde(default = "skip_overlap")]
    #[schema(value_type = String, example = "skip")]
    pub overlap: Overlap,
}

impl TryFrom<SchedulePut> for ScheduleSpec {
    type Error = CalendarError;

    fn try_from(put: SchedulePut) -> Result<Self, CalendarError> {
        Ok(Self {
            calendar: Calendar::parse(&put.cron, &put.time_zone)?,
            task: put.task.into(),
            jitter_max: Duration::from_secs(put.jitter_seconds),
            missed: put.missed,
            missed_age_max: Duration::from_secs(put.missed_age_max_seconds),
            overlap: put.overlap,
        })
    }
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleView {
    /// Its id, a UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub put: SchedulePut,
    /// Whether it is held back.
    pub is_paused: bool,
    /// Its next firing; none when it is paused or never fires again.
    pub next: Option<FiringView>,
    /// The planned time of the latest firing that became a run.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub fired_at: Option<Timestamp>,
    /// That run.
    pub run_id: Option<String>,
    /// The planned time of a firing that waits for the end of an earlier run.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub held: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl ScheduleView {
    /// A schedule with its next firing.
    pub fn of(schedule: &Schedule, next: Option<Firing>) -> Self {
        Self {
            id: schedule.id.to_string(),
            name: schedule.name.to_string(),
            put: SchedulePut {
                cron: schedule.calendar.expression().to_owned(),
                time_zone: schedule.calendar.zone_name().to_owned(),
                task: TaskView::from(&schedule.task),
                jitter_seconds: schedule.jitter_max.as_secs(),
                missed: schedule.missed,
                missed_age_max_seconds: schedule.missed_age_max.as_secs(),
                overlap: schedule.overlap,
            },
            is_paused: schedule.is_paused,
            next: next.map(|firing| FiringView::of(schedule, firing)),
            fired_at: schedule.progress.fired_at,
            run_id: schedule.progress.run_id.map(|id| id.to_string()),
            held: schedule.progress.held,
            created_at: schedule.created_at,
            updated_at: schedule.updated_at,
        }
    }
}

/// One time at which a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FiringView {
    /// The time that its expression says.
    #[schema(value_type = String, format = DateTime)]
    pub planned_at: Timestamp,
    /// The same with its jitter: it fires at this time.
    #[schema(value_type = String, format = DateTime)]
    pub fires_at: Timestamp,
    /// The planned time as people in its time zone read it.
    #[schema(example = "2026-03-29 03:00 CEST")]
    pub local: String,
}

impl FiringView {
    /// A firing of this schedule.
    pub fn of(schedule: &Schedule, firing: Firing) -> Self {
        Self {
            planned_at: firing.planned_at,
            fires_at: firing.fires_at,
            local: schedule.calendar.local(firing.planned_at),
        }
    }
}
