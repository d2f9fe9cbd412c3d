//! Shapes how what stands of enforcement changes and how it is read. Owns these writes, and how a
//! record is kept. Face: `EnforcementWrite`, `ReadEnforcement`. Never keeps more containers than
//! there can be: one that is gone is forgotten by whoever notices.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Answer, StoreError};
use crate::base::ids::WorkspaceId;
use crate::base::keyed::keyed;
use crate::domain::enforcement::{Enforced, Maintenance, Place, Switch, Treated};

keyed! {
    /// What a record is about.
    pub enum RecordKind: "kind of enforcement record" {
        /// A container that was dealt with.
        Treated = "treated",
        /// Whether anything is done at all.
        Switch = "switch",
        /// What is being worked on.
        Maintenance = "maintenance",
    }
}

/// One change of what stands of enforcement on this host.
#[derive(Debug, Clone)]
pub enum EnforcementWrite {
    /// Inserts or replaces what is known of a container that was dealt with.
    PutTreated {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The container.
        treated: Box<Treated>,
    },
    /// Forgets a container.
    DropTreated {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The engine's id of the container.
        container_id: String,
    },
    /// Switches enforcement off or on.
    PutSwitch {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// How it is switched.
        switch: Switch,
    },
    /// Inserts or replaces work on a host or project.
    PutMaintenance {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The work.
        maintenance: Maintenance,
    },
    /// That work is over.
    DropMaintenance {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// What was worked on.
        place: Place,
    },
}

/// The key of the one switch.
const SWITCH_KEY: &str = "host";

/// A row as both dialects keep it; one without a body goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) workspace_id: WorkspaceId,
    pub(super) kind: RecordKind,
    pub(super) key: String,
    pub(super) body: Option<String>,
}

impl EnforcementWrite {
    /// The row that is written or removed.
    pub(super) fn row(&self) -> Result<Row, StoreError> {
        let (workspace_id, kind, key, body) = match self {
            Self::PutTreated { workspace_id, treated } => {
                let body = text(&**treated)?;
                (workspace_id, RecordKind::Treated, treated.container_id.clone(), Some(body))
            }
            Self::DropTreated { workspace_id, container_id } => {
                (workspace_id, RecordKind::Treated, container_id.clone(), None)
            }
            Self::PutSwitch { workspace_id, switch } => {
                (workspace_id, RecordKind::Switch, SWITCH_KEY.to_owned(), Some(text(switch)?))
            }
            Self::PutMaintenance { workspace_id, maintenance } => {
                let body = text(maintenance)?;
                (workspace_id, RecordKind::Maintenance, maintenance.place.to_string(), Some(body))
            }
            Self::DropMaintenance { workspace_id, place } => {
                (workspace_id, RecordKind::Maintenance, place.to_string(), None)
            }
        };
        Ok(Row { workspace_id: *workspace_id, kind, key, body })
    }
}

/// Adds a row to what stands.
pub(super) fn add(enforced: &mut Enforced, kind: RecordKind, body: &str) -> Result<(), StoreError> {
    match kind {
        RecordKind::Treated => {
            let treated: Treated = read(body)?;
            enforced.treated.insert(treated.container_id.clone(), treated);
        }
        RecordKind::Switch => enforced.switch = Some(read(body)?),
        RecordKind::Maintenance => enforced.maintenance.push(read(body)?),
    }
    Ok(())
}

fn text(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(|error| unreadable(&error))
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Unreadable { noun: "enforcement record", reason: error.to_string() }
}

/// Reads what stands of enforcement on this host.
pub trait ReadEnforcement {
    /// All of it.
    fn enforced(&self, workspace: WorkspaceId) -> Answer<'_, Enforced>;
}
