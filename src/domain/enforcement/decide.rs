//! Decides about one container. Owns the order in which reasons against acting count. Face:
//! `decide`, `Situation`, `Decision`, `Leave`. Never looks anything up.

use super::steps::{is_done, loses_network};
use super::{Changes, Keeper, Maintenance, Rung, Settings, Switch, Treated, Treatment, Wrong};
use crate::base::Timestamp;
use crate::base::keyed::keyed;
use crate::base::time::between;
use crate::domain::policy::Action;
use crate::facts::{ContainerFacts, ContainerState};

keyed! {
    /// Why nothing is done about a container.
    pub enum Leave: "reason to leave" {
        /// Nothing is wrong with it that anybody knows of.
        Fulfilled = "fulfilled",
        /// What is wrong is told, and nothing else is asked for.
        Told = "told",
        /// It does not run.
        NotRunning = "not_running",
        /// It is a part of the agent.
        OwnPart = "own_part",
        /// Another agent made it.
        OtherAgent = "other_agent",
        /// Nobody manages it, and the policy is not in force for such.
        NotOptedIn = "not_opted_in",
        /// The configuration does not let policies be enforced.
        Disabled = "disabled",
        /// Somebody switched enforcement off.
        SwitchedOff = "switched_off",
        /// Its host or project is being worked on.
        Maintenance = "maintenance",
        /// All of it was done already.
        Treated = "treated",
        /// Somebody released it a while ago.
        Released = "released",
        /// It was tried in vain.
        GivenUp = "given_up",
        /// No machine can put it right.
        NoRemedy = "no_remedy",
        /// As much was done as may be done in a while.
        LimitReached = "limit_reached",
    }
}

impl Leave {
    /// Whether something stands against what a policy asks for.
    pub const fn is_refusal(self) -> bool {
        !matches!(self, Self::Fulfilled | Self::Told | Self::NotRunning | Self::Treated)
    }
}

/// Everything that the decision about a container depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The container as its engine reports it.
    pub container: &'a ContainerFacts,
    /// Whose it is.
    pub keeper: &'a Keeper,
    /// What is wrong with it.
    pub wrongs: &'a [Wrong],
    /// What of that counts for one that nobody manages: what the policies find that are in force for
    /// such.
    pub opted_in: &'a [Wrong],
    /// How policies are enforced.
    pub settings: &'a Settings,
    /// Whether somebody switched enforcement off.
    pub switch: Option<&'a Switch>,
    /// What is being worked on.
    pub maintenance: &'a [Maintenance],
    /// What was done about it before.
    pub treated: Option<&'a Treated>,
    /// When containers of this host were dealt with, in any order.
    pub recent: &'a [Timestamp],
    /// Now.
    pub now: Timestamp,
}

/// What is done about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Leave(Leave),
    /// This, and what is stricter when the engine does not do it.
    Act {
        /// The first rung.
        rung: Rung,
        /// Codes of the rules that ask for it.
        codes: Vec<String>,
        /// Policies that ask for it.
        policies: Vec<String>,
        /// How the container has to change, for the rungs that change it.
        changes: Changes,
    },
}

/// What is done about a container.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { container, keeper, settings, now, .. } = situation;
    let enforced = |wrongs: &'_ [Wrong]| -> Vec<Wrong> {
        wrongs.iter().filter(|wrong| wrong.is_enforced()).cloned().collect()
    };
    let mut wrongs = enforced(situation.wrongs);
    if wrongs.is_empty() {
        let is_told = !situation.wrongs.is_empty();
        return Decision::Leave(if is_told { Leave::Told } else { Leave::Fulfilled });
    }
    match keeper {
        Keeper::Ourselves => return Decision::Leave(Leave::OwnPart),
        Keeper::OtherAgent => return Decision::Leave(Leave::OtherAgent),
        Keeper::Unmanaged => {
            wrongs = enforced(situation.opted_in);
            if wrongs.is_empty() {
                return Decision::Leave(Leave::NotOptedIn);
            }
        }
        Keeper::Ours { .. } => {}
    }
    let wants = |action: Action| wrongs.iter().filter(move |wrong| wrong.action == action);
    let is_quarantine = wants(Action::Quarantine).next().is_some();
    let chosen = if is_quarantine { Action::Quarantine } else { Action::Remediate };
    let codes: Vec<String> = wants(chosen).map(|wrong| wrong.code.clone()).collect();
    if let Some(leave) = against(situation, &codes) {
        return Decision::Leave(leave);
    }
    let changes = match is_quarantine {
        true => Changes::default(),
        false => Changes::of(&wrongs),
    };
    let rung = match is_quarantine {
        true if loses_network(container) => Rung::Quarantine,
        true => Rung::Pause,
        // Made anew, it gets all that could be changed while it runs, too.
        false if !changes.spec.is_empty() => Rung::Recreate,
        false if !changes.is_live_empty() => Rung::Update,
        false => return Decision::Leave(Leave::NoRemedy),
    };
    let is_recent = |at: &&Timestamp| between(**at, *now) < settings.window;
    if situation.recent.iter().filter(is_recent).count() >= settings.actions_max {
        return Decision::Leave(Leave::LimitReached);
    }
    let mut policies: Vec<String> =
        wants(chosen).flat_map(|wrong| &wrong.policies).map(ToString::to_string).collect();
    policies.sort();
    policies.dedup();
    Decision::Act { rung, codes, policies, changes }
}

/// What stands against acting on a container that something is wrong with.
fn against(situation: &Situation<'_>, codes: &[String]) -> Option<Leave> {
    let Situation { container, keeper, settings, now, .. } = situation;
    if let Some(treated) = situation.treated {
        let is_same = codes.iter().all(|code| treated.codes.contains(code));
        match treated.state {
            Treatment::InForce if is_done(treated.rung, container, &treated.changes) => {
                return Some(Leave::Treated);
            }
            Treatment::GivenUp if is_same => return Some(Leave::GivenUp),
            Treatment::Released if treated.released_until.is_none_or(|until| *now < until) => {
                return Some(Leave::Released);
            }
            _ => {}
        }
    }
    let is_active = matches!(
        container.state,
        ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
    );
    if !is_active {
        return Some(Leave::NotRunning);
    }
    if !settings.is_enabled {
        return Some(Leave::Disabled);
    }
    if situation.switch.is_some_and(|switch| switch.is_off) {
        return Some(Leave::SwitchedOff);
    }
    let project = match keeper {
        Keeper::Ours { project } => Some(project.as_str()),
        _ => container.instance.as_ref().map(|instance| instance.project.as_str()),
    };
    let is_worked_on = situation.maintenance.iter().any(|one| one.covers(project, *now));
    is_worked_on.then_some(Leave::Maintenance)
}
