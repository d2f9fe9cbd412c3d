//! What each rung does to a container, how one sees that it is done, and what takes it back. Owns
//! the steps. Face: `steps`, `release_steps`, `is_done`, `next_rung`, `Remembered`. Never takes a
//! call's answer for its effect: an engine may leave out what it was asked for without a word.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Changes, Rung};
use crate::domain::policy::{Action, LiveChange};
use crate::facts::{
    Attachment, ContainerFacts, ContainerState, LiveSettings, NetworkMode, RestartPolicy,
};

/// What undoes what was done to a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// The networks that it was a member of, with names and addresses there.
    pub networks: BTreeMap<String, Attachment>,
    /// Links to other containers.
    pub links: BTreeSet<String>,
    /// The limits that it had, of those that were changed.
    pub live: LiveChange,
    /// Limits that it did not have; an engine takes none away from a container.
    pub had_none: BTreeSet<String>,
    /// It was frozen by us.
    pub is_paused: bool,
    /// It was stopped by us.
    pub is_stopped: bool,
}

impl Remembered {
    /// What is to be remembered of a container before a rung is tried: what is known from earlier
    /// stays, for the container shows it no more.
    #[must_use]
    pub fn before(mut self, rung: Rung, container: &ContainerFacts, changes: &Changes) -> Self {
        match rung {
            Rung::Update => {
                let before = LiveSettings::of(&container.spec);
                let wanted = &changes.live;
                let mut note = |name: &str, is_changed: bool, was: bool| {
                    if is_changed && !was {
                        self.had_none.insert(name.to_owned());
                    }
                };
                note("memory_bytes", wanted.memory_bytes.is_some(), before.memory_bytes.is_some());
                note("nano_cpus", wanted.nano_cpus.is_some(), before.nano_cpus.is_some());
                note("pids_max", wanted.pids_max.is_some(), before.pids_max.is_some());
                let live = &mut self.live;
                if wanted.memory_bytes.is_some() {
                    live.memory_bytes = live.memory_bytes.or(before.memory_bytes);
                }
                if wanted.nano_cpus.is_some() {
                    live.nano_cpus = live.nano_cpus.or(before.nano_cpus);
                }
                if wanted.pids_max.is_some() {
                    live.pids_max = live.pids_max.or(before.pids_max);
                }
                if wanted.restart.is_some() {
                    live.restart = live.restart.or(Some(before.restart));
                }
            }
            Rung::Quarantine => {
                for (name, attachment) in members(container) {
                    self.networks.entry(name.clone()).or_insert_with(|| attachment.clone());
                }
                if !members(container).is_empty() {
                    self.links.extend(container.spec.external_links.iter().cloned());
                }
            }
            Rung::Pause => self.is_paused = true,
            Rung::Stop => self.is_stopped = true,
            Rung::Recreate => {}
        }
        self
    }
}

/// One effect on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Changes limits and restart policy.
    Update(LiveSettings),
    /// Makes it anew, hardened.
    Recreate,
    /// Leaves a network.
    Disconnect(String),
    /// Joins a network again.
    Connect(String),
    /// Freezes it.
    Pause,
    /// Lets it go on.
    Unpause,
    /// Stops it.
    Stop,
    /// Starts it.
    Start,
}

/// One step: what is recorded before it acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// What it is, stable over attempts.
    pub key: String,
    /// For people.
    pub description: String,
    /// How it is taken back; `None` when it cannot be.
    pub undo: Option<String>,
    /// What it does.
    pub act: Act,
}

/// The networks that a container is a member of. A contract leaves out the engine's own one, which
/// those are in that name none; what the container was found in does not.
fn members(container: &ContainerFacts) -> BTreeMap<String, Attachment> {
    let NetworkMode::Networks(networks) = &container.spec.network_mode else {
        return BTreeMap::new();
    };
    let found = container.addresses.keys().chain(networks.keys());
    found.map(|name| (name.clone(), networks.get(name).cloned().unwrap_or_default())).collect()
}

/// Whether a container can lose its network: one with the host's, with another container's or with
/// none cannot.
pub(super) fn loses_network(container: &ContainerFacts) -> bool {
    matches!(container.spec.network_mode, NetworkMode::Networks(_))
}

/// Whether a container is as the rung makes it.
pub fn is_done(rung: Rung, container: &ContainerFacts, changes: &Changes) -> bool {
    let is_active = matches!(container.state, ContainerState::Running | ContainerState::Restarting);
    match rung {
        Rung::Update => {
            let found = LiveSettings::of(&container.spec);
            let mut wanted = found.clone();
            changes.live.apply(&mut wanted);
            wanted == found
        }
        Rung::Recreate => {
            let mut wanted = container.spec.clone();
            changes.apply(&mut wanted);
            wanted == container.spec
        }
        Rung::Quarantine => loses_network(container) && members(container).is_empty(),
        Rung::Pause => !is_active,
        Rung::Stop => !is_active && container.state != ContainerState::Paused,
    }
}

/// The steps that lead a container to a rung from how it is now.
pub fn steps(rung: Rung, container: &ContainerFacts, changes: &Changes) -> Vec<PlannedStep> {
    let name = &container.name;
    if is_done(rung, container, changes) {
        return Vec::new();
    }
    let one = |key: &str, description: String, undo: Option<String>, act: Act| PlannedStep {
        key: format!("{key}:{name}"),
        description,
        undo,
        act,
    };
    match rung {
        Rung::Update => {
            let mut wanted = LiveSettings::of(&container.spec);
            changes.live.apply(&mut wanted);
            vec![one(
                "enforce.update",
                format!("change {} of container {name}", told(&changes.live)),
                Some(format!("change {name} back, as far as the engine can")),
                Act::Update(wanted),
            )]
        }
        Rung::Recreate => vec![one(
            "enforce.recreate",
            format!("make container {name} anew, hardened"),
            None,
            Act::Recreate,
        )],
        Rung::Quarantine => members(container)
            .into_keys()
            .map(|network| {
                one(
                    &format!("enforce.disconnect:{network}"),
                    format!("disconnect container {name} from network {network}"),
                    Some(format!("connect {name} to {network} again")),
                    Act::Disconnect(network),
                )
            })
            .collect(),
        Rung::Pause => vec![one(
            "enforce.pause",
            format!("freeze container {name}"),
            Some(format!("let {name} go on")),
            Act::Pause,
        )],
        Rung::Stop => vec![one(
            "enforce.stop",
            format!("stop container {name}"),
            Some(format!("start {name}")),
            Act::Stop,
        )],
    }
}

/// The next rung when the engine did not do this one. What is to be put right is not punished: where
/// no machine can, somebody hears of it.
pub fn next_rung(rung: Rung, action: Action) -> Option<Rung> {
    match (action, rung) {
        (Action::Remediate, Rung::Update) => Some(Rung::Recreate),
        (Action::Quarantine, Rung::Quarantine) => Some(Rung::Pause),
        (Action::Quarantine, Rung::Pause) => Some(Rung::Stop),
        _ => None,
    }
}

/// The steps that take back what was done, from how the container is now. What others did meanwhile
/// stays.
pub fn release_steps(undo: &Remembered, container: &ContainerFacts) -> Vec<PlannedStep> {
    let name = &container.name;
    let one = |key: &str, description: String, act: Act| PlannedStep {
        key: format!("{key}:{name}"),
        description,
        undo: None,
        act,
    };
    let mut steps = Vec::new();
    let found = LiveSettings::of(&container.spec);
    let mut before = found.clone();
    undo.live.apply(&mut before);
    if before != found {
        let what = told(&undo.live);
        let description = format!("change {what} of container {name} back");
        steps.push(one("release.update", description, Act::Update(before)));
    }
    if undo.is_paused && container.state == ContainerState::Paused {
        let description = format!("let container {name} go on");
        steps.push(one("release.unpause", description, Act::Unpause));
    }
    let present = members(container);
    for network in undo.networks.keys().filter(|network| !present.contains_key(*network)) {
        let description = format!("connect container {name} to network {network} again");
        let key = format!("release.connect:{network}");
        steps.push(one(&key, description, Act::Connect(network.clone())));
    }
    let is_ended = matches!(container.state, ContainerState::Exited | ContainerState::Created);
    if undo.is_stopped && is_ended {
        steps.push(one("release.start", format!("start container {name}"), Act::Start));
    }
    steps
}

/// The settings that a change is about, for people.
fn told(change: &LiveChange) -> String {
    let mut parts = Vec::new();
    let mut add = |name: &str, value: Option<i64>| {
        parts.extend(value.map(|value| format!("{name} to {value}")));
    };
    add("memory_bytes", change.memory_bytes);
    add("nano_cpus", change.nano_cpus);
    add("pids_max", change.pids_max);
    parts.extend(change.restart.map(|restart| {
        let name = match restart {
            RestartPolicy::No => "no".to_owned(),
            RestartPolicy::Always => "always".to_owned(),
            RestartPolicy::UnlessStopped => "unless-stopped".to_owned(),
            RestartPolicy::OnFailure { retries_max } => format!("on-failure:{retries_max}"),
        };
        format!("restart to {name}")
    }));
    parts.join(", ")
}
