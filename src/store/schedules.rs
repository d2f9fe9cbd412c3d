//! Shapes how schedules change and how they are read. Owns the writes and the reading face. Face:
//! `ScheduleWrite`, `ReadSchedules`. Never lets two firings of one time through: an advance names the
//! progress that it saw.

use crate::base::Timestamp;
use crate::base::ids::{ScheduleId, WorkspaceId};
use crate::domain::schedules::{Progress, Schedule};

use super::Answer;

/// One change of schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleWrite {
    /// Inserts a schedule, or replaces what somebody chose of it. Its progress stays, except that
    /// firings up to the new `done_until` are over. Conflicts with another of the same name.
    Put(Box<Schedule>),
    /// Forgets a schedule.
    Drop {
        /// Its workspace.
        workspace_id: WorkspaceId,
        /// The schedule.
        id: ScheduleId,
    },
    /// A firing is dealt with. Conflicts when somebody dealt with it already, or changed the schedule.
    Advance(Advance),
}

/// The progress of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The schedule.
    pub id: ScheduleId,
    /// Its name, for the conflict.
    pub name: String,
    /// The progress that the decision was made on.
    pub seen: Progress,
    /// When the schedule was changed last, as the decision saw it.
    pub seen_updated_at: Timestamp,
    /// The progress from now on.
    pub progress: Progress,
}

impl Advance {
    /// An advance of this schedule as it was read.
    pub fn of(schedule: &Schedule, progress: Progress) -> Self {
        Self {
            id: schedule.id,
            name: schedule.name.to_string(),
            seen: schedule.progress,
            seen_updated_at: schedule.updated_at,
            progress,
        }
    }
}

/// Reads schedules.
pub trait ReadSchedules {
    /// The schedules of a workspace, by name.
    fn schedules(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Schedule>>;
    /// One schedule.
    fn schedule(&self, workspace: WorkspaceId, name: String) -> Answer<'_, Option<Schedule>>;
}
