//! What is remembered of enforcement on a host: containers that were dealt with and what undoes it,
//! the switch, work that is under way. Owns their shapes. Face: `Treated`, `Switch`, `Maintenance`.
//! Never holds an environment: what undoes an action needs none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Changes, Remembered, Rung};
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::keyed::keyed;

keyed! {
    /// How it stands with what is done about a container.
    pub enum Treatment: "treatment" {
        /// A run is about to act, or acted and did not come to its end.
        Begun = "begun",
        /// It was done.
        InForce = "in_force",
        /// It was taken back.
        Released = "released",
        /// Every rung was tried in vain.
        GivenUp = "given_up",
    }
}

/// A container that was dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Treated {
    /// The engine's id of the container.
    pub container_id: String,
    /// Its name then.
    pub name: String,
    /// Its project, when it has one.
    pub project: Option<String>,
    /// How it stands.
    pub state: Treatment,
    /// The strictest rung that was tried.
    pub rung: Rung,
    /// The rules that asked for it; none when somebody did by hand.
    #[serde(default)]
    pub codes: Vec<String>,
    /// The policies that asked for it.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Why, in one sentence.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// The run that did it last.
    pub run_id: RunId,
    /// Since when.
    pub since: Timestamp,
    /// What was changed on the container.
    #[serde(default)]
    pub changes: Changes,
    /// What undoes it.
    #[serde(default)]
    pub undo: Remembered,
    /// Until when one that was released is left alone.
    #[serde(default)]
    pub released_until: Option<Timestamp>,
}

impl Treated {
    /// Whether the agent leaves the container as enforcement made it.
    pub fn holds(&self) -> bool {
        matches!(self.state, Treatment::Begun | Treatment::InForce)
    }

    /// What was done and why, as whoever asks about the container reads it.
    pub fn told(&self) -> String {
        let done = match self.rung {
            Rung::Update => "changed in place",
            Rung::Recreate => "made anew",
            Rung::Quarantine => "without its networks",
            Rung::Pause => "frozen",
            Rung::Stop => "stopped",
        };
        format!("{done} by enforcement: {}", self.reason)
    }

    /// Whether it is kept from running as it was declared: without network, frozen or stopped.
    pub fn holds_back(&self) -> bool {
        self.holds() && self.rung >= Rung::Quarantine
    }
}

/// Whether policies are enforced on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Nothing is done.
    pub is_off: bool,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// What is being worked on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Place {
    /// The whole host.
    Host,
    /// A project.
    Project(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Project(name) => write!(f, "project:{name}"),
        }
    }
}

/// A time in which nothing is done to a host or a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// What is worked on.
    pub place: Place,
    /// Who works on it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub began_at: Timestamp,
    /// Until when at most.
    pub ends_at: Timestamp,
}

impl Maintenance {
    /// Whether a container of this project is left alone now.
    pub fn covers(&self, project: Option<&str>, now: Timestamp) -> bool {
        let is_its = match &self.place {
            Place::Host => true,
            Place::Project(name) => project == Some(name.as_str()),
        };
        is_its && self.began_at <= now && now < self.ends_at
    }
}

/// What stands of enforcement on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enforced {
    /// Containers that were dealt with, by the engine's id.
    pub treated: BTreeMap<String, Treated>,
    /// How enforcement is switched, when somebody ever did.
    pub switch: Option<Switch>,
    /// What is being worked on, or was.
    pub maintenance: Vec<Maintenance>,
}
