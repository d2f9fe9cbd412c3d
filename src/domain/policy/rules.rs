//! Says what is done about what a check finds, by stage. Owns the table and its defaults. Face:
//! `Rules`, `Action`. Never judges.

use std::collections::BTreeMap;

use super::{CheckId, RULES};
use crate::base::keyed::keyed;
use crate::domain::access::Stage;

keyed! {
    /// What is done about what a check finds, from the mildest to the strictest.
    pub enum Action: "action" {
        /// Nothing; nobody hears of it.
        Off = "off",
        /// It is recorded; nobody is told of it unasked.
        Audit = "audit",
        /// Whoever plans or deploys hears of it.
        Warn = "warn",
        /// It is put right where a machine can, else it is not deployed.
        Remediate = "remediate",
        /// What fails is not deployed.
        Deny = "deny",
        /// It is not deployed, and what runs loses its network.
        Quarantine = "quarantine",
    }
}

/// What is done about what each check finds, by stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(BTreeMap<(Stage, CheckId), Action>);

impl Default for Rules {
    /// A warning, except in development: nothing that was deployed before the rules were is
    /// refused until somebody asks for it.
    fn default() -> Self {
        let mut rules = Self::off();
        for stage in [Stage::Staging, Stage::Production] {
            for check in RULES {
                rules.set(stage, check, Action::Warn);
            }
        }
        rules
    }
}

impl Rules {
    /// Nothing is done about anything.
    pub fn off() -> Self {
        Self(BTreeMap::new())
    }

    /// Changes one entry.
    pub fn set(&mut self, stage: Stage, check: CheckId, action: Action) {
        self.0.insert((stage, check), action);
    }

    /// What is done about what a check finds in a stage.
    pub fn action(&self, stage: Stage, check: CheckId) -> Action {
        self.0.get(&(stage, check)).copied().unwrap_or(Action::Off)
    }

    /// Whether anything at all is not deployed.
    pub fn deny_anything(&self) -> bool {
        self.0.values().any(|action| *action == Action::Deny)
    }

    /// Whether nothing is done about anything in a stage.
    pub fn is_off(&self, stage: Stage) -> bool {
        RULES.iter().all(|check| self.action(stage, *check) == Action::Off)
    }
}
