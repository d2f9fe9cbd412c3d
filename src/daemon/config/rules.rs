//! Reads what is done about declarations that break a rule. Owns the section `rules`. Face: `read`,
//! `values`. Never judges: the policy does.

use super::schema::{KEYS, names_in};
use super::{CODE, section};
use crate::base::Diagnostic;
use crate::base::yaml::{Fields, Node};
use crate::domain::access::Stage;
use crate::domain::policy::{Action, RULES, Rules};

/// The words of an action.
const ACTIONS: &[(&str, Action)] =
    &[("off", Action::Off), ("warn", Action::Warn), ("deny", Action::Deny)];

/// The rules by stage: what the file does not say stays as it is by default.
pub(super) fn read(root: &Node, problems: &mut Vec<Diagnostic>) -> Rules {
    let mut rules = Rules::default();
    let stages: Vec<(Stage, Option<Node>)> = section(root, "rules", problems, |fields| {
        Stage::ALL.iter().map(|stage| (*stage, fields.node(stage.key()).cloned())).collect()
    });
    for (stage, node) in stages {
        let Some(node) = node else { continue };
        let known = names_in(&format!("rules.{stage}"));
        let mut fields = Fields::of(&node, CODE, &known);
        for check in RULES {
            if let Some(action) = fields.word(check.key(), ACTIONS) {
                rules.set(stage, check, action);
            }
        }
        problems.extend(fields.into_problems());
    }
    rules
}

/// The keys of the section with their values in effect.
pub(super) fn values(rules: &Rules) -> Vec<(&'static str, String)> {
    let value = |path: &'static str| {
        let (stage, check) = path.strip_prefix("rules.")?.split_once('.')?;
        let action = rules.action(stage.parse().ok()?, check.parse().ok()?);
        Some((path, action.to_string()))
    };
    KEYS.iter().filter_map(|key| value(key.path)).collect()
}
