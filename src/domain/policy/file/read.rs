//! Reads a policy's file. Owns its form and the words of what is wrong. Face: `read`. Never stops at
//! the first problem.

use super::bindings::{self, Defaults};
use super::{Actions, CODE, Policy, RULES_NAME, exceptions, trials};
use crate::base::limits::{POLICY_BYTES_MAX, POLICY_PATTERNS_MAX, POLICY_TEXT_CHARS_MAX};
use crate::base::yaml::{self, Fields, Map, Node, Resolved};
use crate::base::{Diagnostic, Diagnostics, Digest, Location, Name};
use crate::domain::access::Stage;
use crate::domain::alerts::Severity;
use crate::domain::policy::Action;
use crate::domain::policy::selector::{Pattern, Selector};

const TOP: &[&str] = &[
    "name",
    "title",
    "description",
    "owner",
    "severity",
    "match",
    "exclude",
    "action",
    "parameters",
    "checks",
    "conditions",
    "exceptions",
    "tests",
];
const SELECTOR: &[&str] = &["projects", "services", "labels", "images", "stages", "tenants"];

/// Opens a file of limited size.
pub(super) fn open(file: &str, text: &str) -> Result<Node, Diagnostics> {
    if text.len() > POLICY_BYTES_MAX {
        let message = format!("a file of policies has at most {} KiB", POLICY_BYTES_MAX >> 10);
        return Err(Diagnostic::new(CODE, format!("{file}: {message}")).into());
    }
    yaml::parse(file, text.as_bytes())
}

/// Reads the content of `file`.
///
/// # Errors
/// Every problem, each with its place.
pub fn read(file: &str, text: &str) -> Result<Policy, Diagnostics> {
    let root = open(file, text)?;
    let mut top = Fields::of(&root, CODE, TOP);
    let mut problems = Vec::new();
    let name = top.required("name").and_then(|node| name(node, &mut problems));
    for key in ["title", "owner"] {
        top.required(key);
    }
    let title = short(&mut top, "title").unwrap_or_default();
    let description = short(&mut top, "description").unwrap_or_default();
    let owner = short(&mut top, "owner").unwrap_or_default();
    let severity = top.word("severity", &severities());
    let matches = selectors(top.node("match"), &mut problems);
    let excludes = selectors(top.node("exclude"), &mut problems);
    if let (Some(node), true) = (top.node("exclude"), excludes.iter().any(Selector::is_empty)) {
        top.report(node.problem(CODE, "an empty exclusion excludes everything"));
    }
    let actions = top.node("action").map(|node| actions(node, &mut problems)).unwrap_or_default();
    let defaults = Defaults { severity, parameters: top.node("parameters") };
    let before = problems.len();
    let checks = bindings::checks(&mut top, &defaults, &mut problems);
    let conditions = bindings::conditions(&mut top, &defaults, &mut problems);
    let ids = checks.iter().map(|bound| bound.check.id().key().to_owned());
    let mut rules: Vec<String> =
        ids.chain(conditions.iter().map(|bound| bound.id.to_string())).collect();
    if rules.is_empty() && top.node("checks").is_none() && top.node("conditions").is_none() {
        let problem = root.problem(CODE, "a policy binds a check or has a condition");
        top.report(problem.help("write `checks:` or `conditions:`"));
    }
    // While one of them is wrong nobody knows which rules there are meant to be.
    if problems.len() > before {
        rules.clear();
    }
    let exceptions = exceptions::read(&mut top, &rules, &mut problems);
    let tests = match name {
        Some(name) => trials::inside(&mut top, name, &rules, &mut problems),
        None => Vec::new(),
    };
    problems.splice(0..0, top.into_problems());
    let Some(name) = name.filter(|_| problems.is_empty()) else {
        return Err(sorted(problems));
    };
    let digest = Digest::of_parts(&[b"wharfinger policy 1", text.as_bytes()]);
    let place = top_place(&root);
    Ok(Policy {
        name,
        title,
        description,
        owner,
        matches,
        excludes,
        actions,
        checks,
        conditions,
        exceptions,
        tests,
        digest,
        place,
    })
}

/// Where the name stands.
fn top_place(root: &Node) -> Option<Location> {
    root.as_map()?.get("name").map(|node| node.mark.location())
}

/// In the order of the file.
pub(super) fn sorted(mut problems: Vec<Diagnostic>) -> Diagnostics {
    problems.sort_by(|left, right| left.location.cmp(&right.location));
    Diagnostics(problems)
}

fn name(node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Name> {
    let name = any_name(node, problems)?;
    if name.as_str() == RULES_NAME {
        let problem = node.problem(CODE, format!("`{name}` stands for the agent's own rules"));
        problems.push(problem.help("choose another name"));
        return None;
    }
    Some(name)
}

/// A name of something.
pub(super) fn any_name(node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Name> {
    let text = node.as_scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            problems.push(node.problem(CODE, format!("{error}")));
            None
        }
    }
}

/// A text of bounded length.
pub(super) fn short(fields: &mut Fields<'_>, key: &str) -> Option<String> {
    let text = fields.string(key)?;
    let is_long = text.chars().count() > POLICY_TEXT_CHARS_MAX;
    if let (true, Some(node)) = (is_long, fields.node(key)) {
        let message = format!("`{key}` has at most {POLICY_TEXT_CHARS_MAX} characters");
        fields.report(node.problem(CODE, message));
        return None;
    }
    if let (true, Some(node)) = (text.trim().is_empty(), fields.node(key)) {
        fields.report(node.problem(CODE, format!("`{key}` is empty")));
        return None;
    }
    Some(text)
}

/// The items of a list of bounded length.
pub(super) fn bounded<'a>(fields: &mut Fields<'a>, key: &str, most: usize) -> &'a [Node] {
    let items = fields.items(key);
    match items.get(most) {
        Some(node) => {
            fields.report(node.problem(CODE, format!("`{key}` has at most {most} entries")));
            &items[..most]
        }
        None => items,
    }
}

/// The words of severities.
pub(super) fn severities() -> Vec<(&'static str, Severity)> {
    Severity::ALL.iter().map(|it| (it.key(), *it)).collect()
}

/// One word for all stages, or one by stage.
pub(super) fn actions(node: &Node, problems: &mut Vec<Diagnostic>) -> Actions {
    let mut actions = Actions::default();
    let words: Vec<&str> = Action::ALL.iter().map(|it| it.key()).collect();
    let wrong = |node: &Node| {
        let message = format!("an action is one of {}, or a mapping by stage", words.join(", "));
        node.problem(CODE, message)
    };
    let word = |node: &Node| node.as_scalar().and_then(|scalar| scalar.text.parse().ok());
    let Some(map) = node.as_map() else {
        actions.default = word(node);
        if actions.default.is_none() {
            problems.push(wrong(node));
        }
        return actions;
    };
    for (key, node) in &map.0 {
        let Some(action) = word(node) else {
            problems.push(wrong(node));
            continue;
        };
        match (key.text.parse::<Stage>(), key.text.as_str()) {
            (Ok(stage), _) => drop(actions.by_stage.insert(stage, action)),
            (Err(_), "default") => actions.default = Some(action),
            (Err(error), _) => {
                let problem = key.mark.problem(CODE, error.to_string());
                problems.push(problem.help("or `default`, for all others"));
            }
        }
    }
    actions
}

/// One selector, or a list of them.
pub(super) fn selectors(node: Option<&Node>, problems: &mut Vec<Diagnostic>) -> Vec<Selector> {
    let Some(node) = node else { return Vec::new() };
    match node.as_seq() {
        Some(items) => {
            items.iter().take(POLICY_PATTERNS_MAX).map(|node| selector(node, problems)).collect()
        }
        None => vec![selector(node, problems)],
    }
}

/// What is selected.
pub(super) fn selector(node: &Node, problems: &mut Vec<Diagnostic>) -> Selector {
    let fields = Fields::of(node, CODE, SELECTOR);
    let mut count = 0;
    let mut list = |key: &str, problems: &mut Vec<Diagnostic>| {
        fields.node(key).map(|node| patterns(node, &mut count, problems)).unwrap_or_default()
    };
    let projects = list("projects", problems);
    let services = list("services", problems);
    let images = list("images", problems);
    let tenants = list("tenants", problems);
    let stages = stages(fields.node("stages"), problems);
    let mut labels = std::collections::BTreeMap::new();
    if let Some(node) = fields.node("labels") {
        let none = Map::default();
        if node.as_map().is_none() {
            let problem = node.problem(CODE, "`labels` is a mapping of labels to patterns");
            problems.push(problem.help("write `labels: {tier: web}`"));
        }
        for (key, node) in &node.as_map().unwrap_or(&none).0 {
            // A label without a pattern only has to be there.
            let patterns = match node.is_null() {
                true => Vec::new(),
                false => patterns(node, &mut count, problems),
            };
            labels.insert(key.text.clone(), patterns);
        }
    }
    if count > POLICY_PATTERNS_MAX {
        let message = format!("a selector has at most {POLICY_PATTERNS_MAX} patterns");
        problems.push(node.problem(CODE, message));
    }
    problems.extend(fields.into_problems());
    Selector { projects, services, labels, images, stages, tenants }
}

/// One pattern, or a list of them.
pub(super) fn patterns(
    node: &Node,
    count: &mut usize,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Pattern> {
    let nodes = node.as_seq().unwrap_or(std::slice::from_ref(node));
    *count += nodes.len();
    let mut patterns = Vec::new();
    for node in nodes.iter().take(POLICY_PATTERNS_MAX) {
        let text = node.as_scalar().map(|scalar| scalar.to_text()).unwrap_or_default();
        match text.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => problems.push(node.problem(CODE, format!("{error}"))),
        }
    }
    patterns
}

fn stages(node: Option<&Node>, problems: &mut Vec<Diagnostic>) -> Vec<Stage> {
    let Some(node) = node else { return Vec::new() };
    let mut stages = Vec::new();
    for node in node.as_seq().unwrap_or(std::slice::from_ref(node)) {
        match node.as_scalar().map(|scalar| scalar.resolve()) {
            Some(Resolved::Text(text)) => match text.parse() {
                Ok(stage) => stages.push(stage),
                Err(error) => {
                    problems.push(node.problem(CODE, format!("{error}")));
                }
            },
            _ => {
                problems.push(node.problem(CODE, format!("a stage is a text, not {}", node.kind())))
            }
        }
    }
    stages
}
