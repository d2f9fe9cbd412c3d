//! Says what the names in a runbook's expressions stand for. Owns the three families: `params`,
//! `preflight` and `steps`. Face: `Known`. Never invents a value: what is not known has none.

use std::collections::BTreeMap;

use super::{Journal, Names, Path, Told};
use crate::domain::runbooks::{Argument, Arguments};

/// What is known at some moment.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What the runbook was told.
    pub arguments: Arguments,
    /// What its preflight found, and its steps told so far.
    pub journal: Journal,
}

impl Names for Known {
    fn value(&self, path: &Path) -> Option<Argument> {
        let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
        match parts[..] {
            ["params", name] => self.arguments.get(name).cloned(),
            ["preflight", look, field] => {
                self.journal.looks.as_ref()?.get(look)?.get(field).cloned()
            }
            ["steps", step, "outcome"] => {
                let ended = self.journal.ended(step)?;
                Some(Argument::Text(ended.standing.to_string()))
            }
            ["steps", step, field] => self.journal.ended(step)?.told.get(field).cloned(),
            _ => None,
        }
    }
}

impl Known {
    /// What the preflight found, by look.
    pub fn looks(&self) -> BTreeMap<String, Told> {
        self.journal.looks.clone().unwrap_or_default()
    }
}
