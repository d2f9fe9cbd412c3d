//! Decides what is done about a container that runs and that policies do not let be as it is. Owns
//! the ladder of rungs, what stands against acting, the steps of each rung and what undoes them, and
//! what is remembered of a container that was dealt with. Face: `decide`, `Situation`, `Decision`,
//! `Rung`, `steps`, `Treated`. Never acts, and never guesses: what is not known is left alone.

mod decide;
mod records;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Name;
use crate::base::keyed::keyed;
use crate::domain::alerts::Severity;
use crate::domain::policy::{Action, Finding, LiveChange, Remedy, SpecChange, Subject, strictest};
use crate::facts::{ContainerFacts, labels};

pub use decide::{Decision, Leave, Situation, decide};
pub use records::{Enforced, Maintenance, Place, Switch, Treated, Treatment};
pub use steps::{Act, PlannedStep, Remembered, is_done, next_rung, release_steps, steps};

keyed! {
    /// What can be done about a container that runs, from the mildest to the strictest.
    pub enum Rung: "rung" {
        /// Limits and restart policy are changed while it runs.
        Update = "update",
        /// It is made anew, hardened.
        Recreate = "recreate",
        /// It loses its networks.
        Quarantine = "quarantine",
        /// It is frozen.
        Pause = "pause",
        /// It is stopped.
        Stop = "stop",
    }
}

/// Whose a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// This agent keeps it, as a part of this project.
    Ours {
        /// The project.
        project: String,
    },
    /// Nobody says so: people or other programs made it.
    Unmanaged,
    /// Another agent on the same engine made it.
    OtherAgent,
    /// It is a part of the agent itself.
    Ourselves,
}

impl Keeper {
    /// Whose a container is: by its labels, by what was adopted, and by what the agent itself runs in.
    pub fn of(
        container: &ContainerFacts,
        owner: &str,
        kept: &BTreeSet<String>,
        own_container: Option<&str>,
    ) -> Self {
        let label = |key: &str| container.all_labels.get(key);
        let is_itself = own_container.is_some_and(|own| {
            own.len() >= CONTAINER_ID_CHARS_MIN && container.id.starts_with(own)
        });
        if is_itself || label(labels::PART).is_some() {
            return Self::Ourselves;
        }
        match label(labels::OWNER) {
            Some(other) if other != owner => return Self::OtherAgent,
            Some(_) => {
                if let Some(project) = label(labels::PROJECT) {
                    return Self::Ours { project: project.clone() };
                }
            }
            None => {}
        }
        // Taken over from Docker Compose: it carries no label of ours.
        match &container.instance {
            Some(instance) if kept.contains(&container.id) && !container.oneoff => {
                Self::Ours { project: instance.project.clone() }
            }
            _ => Self::Unmanaged,
        }
    }
}

/// As much of a container's id as names one for certain.
const CONTAINER_ID_CHARS_MIN: usize = 12;

/// How policies are enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether anything is ever done.
    pub is_enabled: bool,
    /// The policies that count for containers that nobody manages.
    pub unmanaged: BTreeSet<String>,
    /// Most containers that are dealt with within a window.
    pub actions_max: usize,
    /// How long an action counts.
    pub window: Duration,
}

/// One thing that is wrong with a container, and what its policies want done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The rule: a check's code, or `policy.<name>.<id>`.
    pub code: String,
    /// The policies that found it, the one that counts first.
    pub policies: Vec<Name>,
    /// What is asked for.
    pub action: Action,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What a machine can do about it.
    pub remedy: Option<Remedy>,
}

impl Wrong {
    /// Whether anything is done to what runs, and not only told.
    pub fn is_enforced(&self) -> bool {
        matches!(self.action, Action::Remediate | Action::Quarantine)
    }
}

/// What is wrong, of what was found: failures that nobody is excepted from, each once, by the policy
/// with the strictest action. A condition that could not be judged counts before a deployment, and
/// is told; nothing that runs is touched for it. With `only`, other policies do not count.
pub fn wrongs(
    findings: &[Finding<'_>],
    subject: &Subject<'_>,
    only: Option<&BTreeSet<String>>,
) -> Vec<Wrong> {
    let counts = |finding: &&Finding<'_>| {
        finding.is_open_failure()
            && !finding.is_broken
            && only.is_none_or(|only| only.contains(finding.policy.name.as_str()))
    };
    let counted: Vec<Finding<'_>> = findings.iter().filter(counts).cloned().collect();
    strictest(&counted)
        .into_iter()
        .map(|admission| {
            let finding = admission.finding;
            let message = match &finding.verdict {
                crate::domain::policy::Verdict::Fail { message, .. } => message.clone(),
                _ => String::new(),
            };
            let mut policies = vec![finding.policy.name];
            policies.extend(admission.also.iter().copied());
            Wrong {
                code: finding.code(),
                policies,
                action: finding.action,
                severity: finding.severity,
                message,
                remedy: finding.remedy(subject),
            }
        })
        .collect()
}

/// How a container has to change so that remedies are fulfilled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// What the engine changes on it while it runs.
    pub live: LiveChange,
    /// For what it has to be made anew.
    pub spec: Vec<SpecChange>,
}

impl Changes {
    /// What the remedies of these come to.
    pub fn of<'a>(wrongs: impl IntoIterator<Item = &'a Wrong>) -> Self {
        let mut changes = Self::default();
        for wrong in wrongs {
            match &wrong.remedy {
                Some(Remedy::Live(change)) => changes.add(change),
                Some(Remedy::Recreate(more)) => {
                    for change in more {
                        if !changes.spec.contains(change) {
                            changes.spec.push(change.clone());
                        }
                    }
                }
                None => {}
            }
        }
        changes
    }

    /// Of two limits the smaller one counts.
    fn add(&mut self, more: &LiveChange) {
        let least = |ours: Option<i64>, theirs: Option<i64>| match (ours, theirs) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.live.memory_bytes = least(self.live.memory_bytes, more.memory_bytes);
        self.live.nano_cpus = least(self.live.nano_cpus, more.nano_cpus);
        self.live.pids_max = least(self.live.pids_max, more.pids_max);
        self.live.restart = more.restart.or(self.live.restart);
    }

    /// Whether nothing is to be changed on what runs.
    pub fn is_live_empty(&self) -> bool {
        self.live == LiveChange::default()
    }

    /// The contract with all of them.
    pub fn apply(&self, spec: &mut crate::facts::ServiceSpec) {
        Remedy::Live(self.live.clone()).apply(spec);
        Remedy::Recreate(self.spec.clone()).apply(spec);
    }
}
