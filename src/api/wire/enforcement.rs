//! The wire form of enforcement. Owns the shapes. Face: `EnforcementView`, `TreatedView`,
//! `EnforcementPlanView`, `MaintenanceView` and what is asked. Never shows how a container was
//! configured: only what is wrong with it, and what is done.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::Timestamp;
use crate::domain::enforcement::{
    Decision, Keeper, Maintenance, Place, PlannedStep, Rung, Switch, Treated, Treatment,
};
use crate::domain::policy::Action;
use crate::facts::ContainerFacts;
use crate::operations::enforcement::{Look, Standing};

/// How it stands with enforcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnforcementView {
    /// Whether the configuration lets policies be enforced on what runs.
    pub is_enabled: bool,
    /// How it is switched; absent when nobody ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<SwitchView>,
    /// Policies that are enforced on containers that nobody manages.
    pub unmanaged: Vec<String>,
    /// Most containers that are dealt with within the window.
    pub actions_max: usize,
    /// The window, in seconds.
    pub window_seconds: u64,
    /// How many were within it.
    pub recent_actions: usize,
    /// Containers that are held back, changed, released or given up.
    pub containers: usize,
}

/// How enforcement is switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchView {
    /// Nothing is done.
    pub is_off: bool,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Switches enforcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchPut {
    /// Nothing is done from now on.
    pub is_off: bool,
    /// Why.
    pub reason: String,
}

/// A container that was dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TreatedView {
    /// The engine's id.
    pub container_id: String,
    /// Its name.
    pub name: String,
    /// The project as a part of which this agent keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// `begun`, `in_force`, `released` or `given_up`.
    #[schema(value_type = String, example = "in_force")]
    pub state: Treatment,
    /// `update`, `recreate`, `quarantine`, `pause` or `stop`.
    #[schema(value_type = String, example = "quarantine")]
    pub rung: Rung,
    /// The rules that asked for it; none when somebody did by hand.
    pub rules: Vec<String>,
    /// The policies that asked for it.
    pub policies: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// The run that did it last.
    pub run_id: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The networks that a release gives back.
    pub networks: Vec<String>,
    /// Until when policies leave a released one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub released_until: Option<Timestamp>,
}

/// Shuts a container off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuarantineAsk {
    /// Its name or id.
    pub container: String,
    /// Why.
    pub reason: String,
}

/// Releases a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseAsk {
    /// Its name or id.
    pub container: String,
    /// Why.
    pub reason: String,
    /// For how long policies leave it alone afterwards; an hour if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
}

/// What would be done about a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnforcementPlanView {
    /// The engine's id.
    pub container_id: String,
    /// Its name.
    pub name: String,
    /// `ours`, `unmanaged`, `other_agent` or `own_part`.
    #[schema(example = "ours")]
    pub keeper: String,
    /// What is wrong with it.
    pub wrongs: Vec<WrongView>,
    /// Rules that could not be told.
    pub unknown: Vec<String>,
    /// The first rung that would be tried; absent when nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "quarantine")]
    pub rung: Option<Rung>,
    /// Why nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_because: Option<String>,
    /// The steps of the first rung.
    pub steps: Vec<EnforcementStepView>,
}

/// One thing that is wrong with a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrongView {
    /// The rule.
    pub code: String,
    /// The policies that found it.
    pub policies: Vec<String>,
    /// What they want done about it.
    #[schema(value_type = String, example = "quarantine")]
    pub action: Action,
    /// What is wrong.
    pub message: String,
}

/// One step of what would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnforcementStepView {
    /// What it does.
    pub description: String,
    /// What takes it back; absent when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// A time in which nothing is done to a host or a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceView {
    /// The project; absent for the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Who works on it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub began_at: Timestamp,
    /// Until when at most.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}

/// Begins maintenance, or gives it another end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceBegin {
    /// The project; absent for the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Why.
    pub reason: String,
    /// For how long at most.
    pub seconds: u64,
}

/// Ends maintenance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceEnd {
    /// The project; absent for the whole host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// What a project, or none, stands for.
pub fn place_of(project: Option<String>) -> Place {
    project.map_or(Place::Host, Place::Project)
}

impl From<&Standing> for EnforcementView {
    fn from(standing: &Standing) -> Self {
        let settings = &standing.settings;
        Self {
            is_enabled: settings.is_enabled,
            switch: standing.enforced.switch.as_ref().map(SwitchView::from),
            unmanaged: settings.unmanaged.iter().cloned().collect(),
            actions_max: settings.actions_max,
            window_seconds: settings.window.as_secs(),
            recent_actions: standing.recent,
            containers: standing.enforced.treated.len(),
        }
    }
}

impl From<&Switch> for SwitchView {
    fn from(switch: &Switch) -> Self {
        let Switch { is_off, by, reason, at } = switch.clone();
        Self { is_off, by, reason, at }
    }
}

impl From<&Treated> for TreatedView {
    fn from(treated: &Treated) -> Self {
        Self {
            container_id: treated.container_id.clone(),
            name: treated.name.clone(),
            project: treated.project.clone(),
            state: treated.state,
            rung: treated.rung,
            rules: treated.codes.clone(),
            policies: treated.policies.clone(),
            reason: treated.reason.clone(),
            by: treated.by.clone(),
            run_id: treated.run_id.to_string(),
            since: treated.since,
            networks: treated.undo.networks.keys().cloned().collect(),
            released_until: treated.released_until,
        }
    }
}

impl From<&Maintenance> for MaintenanceView {
    fn from(maintenance: &Maintenance) -> Self {
        let Maintenance { place, by, reason, began_at, ends_at } = maintenance.clone();
        let project = match place {
            Place::Host => None,
            Place::Project(name) => Some(name),
        };
        Self { project, by, reason, began_at, ends_at }
    }
}

impl EnforcementPlanView {
    /// What was found, decided and planned.
    pub fn of(container: &ContainerFacts, look: &Look, steps: &[PlannedStep]) -> Self {
        let keeper = match &look.keeper {
            Keeper::Ours { .. } => "ours",
            Keeper::Unmanaged => "unmanaged",
            Keeper::OtherAgent => "other_agent",
            Keeper::Ourselves => "own_part",
        };
        let (rung, left_because) = match &look.decision {
            Decision::Act { rung, .. } => (Some(*rung), None),
            Decision::Leave(leave) => (None, Some(leave.key().to_owned())),
        };
        let wrongs = look.wrongs.iter().map(|wrong| WrongView {
            code: wrong.code.clone(),
            policies: wrong.policies.iter().map(ToString::to_string).collect(),
            action: wrong.action,
            message: wrong.message.clone(),
        });
        let steps = steps.iter().map(|step| EnforcementStepView {
            description: step.description.clone(),
            undo: step.undo.clone(),
        });
        Self {
            container_id: container.id.clone(),
            name: container.name.clone(),
            keeper: keeper.to_owned(),
            wrongs: wrongs.collect(),
            unknown: look.unknown.iter().cloned().collect(),
            rung,
            left_because,
            steps: steps.collect(),
        }
    }
}
