//! Reads which checks a policy binds, with what, and its own conditions. Owns how several checks are
//! named at once. Face: `checks`, `conditions`. Never binds a check that nobody knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::read::{actions, any_name, bounded, severities, short};
use super::{Actions, BoundCheck, BoundCondition, BuiltIn, CODE};
use crate::base::limits::{POLICY_CHECKS_MAX, POLICY_CONDITIONS_MAX};
use crate::base::suggest::did_you_mean;
use crate::base::yaml::{Fields, Map, Node};
use crate::base::{Diagnostic, Name};
use crate::domain::alerts::Severity;
use crate::domain::policy::condition::{Condition, ConditionError};
use crate::domain::policy::document::ROOT;
use crate::domain::policy::selector::Pattern;
use crate::domain::policy::{CHECKS, CheckId, HOST_CHECKS, Parameters};

const CHECK: &[&str] = &["check", "parameters", "severity", "action"];
const CONDITION: &[&str] =
    &["id", "title", "expression", "message", "remediation", "at", "severity", "action"];

/// What counts for every rule of the policy that does not say otherwise.
pub(super) struct Defaults<'a> {
    pub(super) severity: Option<Severity>,
    pub(super) parameters: Option<&'a Node>,
}

/// Every built-in check, in the order of their ids.
fn built_in() -> impl Iterator<Item = BuiltIn> {
    let services = CHECKS.iter().map(BuiltIn::Service);
    services.chain(HOST_CHECKS.iter().map(BuiltIn::Host))
}

/// The checks that a policy binds: each entry over the ones before it.
pub(super) fn checks(
    top: &mut Fields<'_>,
    defaults: &Defaults<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<BoundCheck> {
    let mut common = Parameters::default();
    set(&mut common, defaults.parameters, problems);
    let mut bound: BTreeMap<CheckId, BoundCheck> = BTreeMap::new();
    for node in bounded(top, "checks", POLICY_CHECKS_MAX) {
        let mut fields = None;
        let named = match node.as_map() {
            Some(_) => {
                let opened = fields.insert(Fields::of(node, CODE, CHECK));
                opened.required("check")
            }
            None => Some(node),
        };
        let selected = named.map(|node| select(node, problems)).unwrap_or_default();
        let mut severity = None;
        let mut over = Actions::default();
        if let Some(fields) = &mut fields {
            severity = fields.word("severity", &severities());
            over = fields.node("action").map(|it| actions(it, problems)).unwrap_or_default();
        }
        let parameters = fields.as_ref().and_then(|fields| fields.node("parameters"));
        // Said once, whatever number of checks is selected.
        let mut told = Vec::new();
        for check in selected {
            let entry = bound.entry(check.id()).or_insert_with(|| BoundCheck {
                check,
                parameters: Arc::new(common.clone()),
                severity: defaults.severity.unwrap_or(check.severity()),
                actions: Actions::default(),
            });
            entry.actions.overlay(&over);
            entry.severity = severity.unwrap_or(entry.severity);
            if parameters.is_some() {
                let mut own = (*entry.parameters).clone();
                let mut wrong = Vec::new();
                set(&mut own, parameters, &mut wrong);
                entry.parameters = Arc::new(own);
                told = wrong;
            }
        }
        problems.extend(told);
        problems.extend(fields.map(Fields::into_problems).unwrap_or_default());
    }
    bound.into_values().collect()
}

/// Sets parameters from a mapping.
fn set(parameters: &mut Parameters, node: Option<&Node>, problems: &mut Vec<Diagnostic>) {
    let Some(node) = node else { return };
    let none = Map::default();
    if node.as_map().is_none() {
        problems.push(node.problem(CODE, "`parameters` is a mapping"));
    }
    for (key, node) in &node.as_map().unwrap_or(&none).0 {
        if let Err(error) = parameters.set(&key.text, &node.value) {
            problems.push(node.problem(CODE, error.to_string()));
        }
    }
}

/// The checks that a text names: `privileged`, `ports_*`, `cis:5`, `cis:5.4`, `*`.
fn select(node: &Node, problems: &mut Vec<Diagnostic>) -> Vec<BuiltIn> {
    let text = node.as_scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    let found: Vec<BuiltIn> = match text.strip_prefix("cis:") {
        Some(control) => built_in().filter(|it| is_of(it.cis(), control)).collect(),
        None => {
            let key = text.strip_prefix("rule.").unwrap_or(text);
            match key.parse::<Pattern>() {
                Ok(pattern) => built_in().filter(|it| pattern.matches(it.id().key())).collect(),
                Err(_) => Vec::new(),
            }
        }
    };
    if found.is_empty() {
        let known: Vec<&str> = built_in().map(|it| it.id().key()).collect();
        let problem = node.problem(CODE, format!("there is no check `{text}`"));
        let help = match text.contains([':', '*']) {
            true => "name a check, several as `ports_*`, or those of a benchmark as `cis:5`".into(),
            false => did_you_mean(text, &known),
        };
        problems.push(problem.help(help));
    }
    found
}

/// Whether one of the controls is this one or below it: 5.4 is below 5.
fn is_of(controls: &[&str], wanted: &str) -> bool {
    let is_below = |control: &&str| {
        control.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    !wanted.is_empty() && controls.iter().any(is_below)
}

/// The conditions of a policy's own.
pub(super) fn conditions(
    top: &mut Fields<'_>,
    defaults: &Defaults<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<BoundCondition> {
    let mut conditions: Vec<BoundCondition> = Vec::new();
    for node in bounded(top, "conditions", POLICY_CONDITIONS_MAX) {
        let mut fields = Fields::of(node, CODE, CONDITION);
        let id = fields.required("id").and_then(|node| {
            let id = any_name(node, problems)?;
            let is_taken = conditions.iter().any(|it| it.id == id);
            taken(id, is_taken).map_or(Some(id), |message| {
                problems.push(node.problem(CODE, message));
                None
            })
        });
        for key in ["expression", "message"] {
            fields.required(key);
        }
        let title = short(&mut fields, "title");
        let message = short(&mut fields, "message");
        let remediation = short(&mut fields, "remediation").unwrap_or_default();
        let at = fields.strings("at").unwrap_or_default();
        let severity = fields.word("severity", &severities()).or(defaults.severity);
        let own = fields.node("action").map(|it| actions(it, problems)).unwrap_or_default();
        let condition = fields.node("expression").and_then(|it| condition(it, problems));
        problems.extend(fields.into_problems());
        let (Some(id), Some(message), Some(condition)) = (id, message, condition) else { continue };
        conditions.push(BoundCondition {
            id,
            title: title.unwrap_or_else(|| id.to_string()),
            condition,
            message,
            remediation,
            at,
            severity: severity.unwrap_or(Severity::Medium),
            actions: own,
        });
    }
    conditions
}

fn taken(id: Name, is_twice: bool) -> Option<String> {
    if is_twice {
        return Some(format!("a second condition is called `{id}`"));
    }
    let is_check = id.as_str().parse::<CheckId>().is_ok();
    is_check.then(|| format!("`{id}` is a check of the agent's own: choose another id"))
}

fn condition(node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Condition> {
    let Some(scalar) = node.as_scalar() else {
        let message = format!("an expression is a text, not {}", node.kind());
        problems.push(node.problem(CODE, message));
        return None;
    };
    let wrong = match Condition::compile(&scalar.text, ROOT) {
        Ok(condition) => return Some(condition),
        Err(wrong) => wrong,
    };
    let ConditionError { message, at, help } = wrong;
    let problem = Diagnostic::new(CODE, message).at(node.place_inside(at));
    problems.push(match help {
        Some(help) => problem.help(help),
        None => problem,
    });
    None
}
