//! Reads the tests beside a policy: those in its own file, and those in a file of tests. Owns their
//! form. Face: `inside`, `read_tests`. Never runs one.

use super::exceptions::moment;
use super::read::{any_name, bounded, open, short, sorted};
use super::{CODE, Compose, Expectation, Expected, Trial};
use crate::base::limits::POLICY_TESTS_MAX;
use crate::base::suggest::did_you_mean;
use crate::base::yaml::{Fields, Node, Resolved};
use crate::base::{Diagnostic, Diagnostics, Name, Timestamp};
use crate::domain::access::Stage;
use crate::domain::policy::Action;

const TOP: &[&str] = &["policy", "tests"];
const TRIAL: &[&str] =
    &["name", "compose", "service", "image", "project", "stage", "tenant", "now", "expect"];
const EXPECT: &[&str] = &["verdict", "action", "message", "needs"];

/// When a test is judged that does not say so: a day before any exception of our own ends.
const NOW: &str = "2026-01-01T00:00:00Z";

const VERDICTS: &[(&str, Expected)] = &[
    (Expected::Pass.word(), Expected::Pass),
    (Expected::Fail.word(), Expected::Fail),
    (Expected::Unknown.word(), Expected::Unknown),
    (Expected::Excepted.word(), Expected::Excepted),
    (Expected::Unmatched.word(), Expected::Unmatched),
];

/// The tests of a policy's own file, whose rules are known.
pub(super) fn inside(
    top: &mut Fields<'_>,
    policy: Name,
    rules: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Vec<Trial> {
    let tests = read(top, policy, problems);
    for expected in tests.iter().flat_map(|test| &test.expects) {
        if !rules.is_empty() && !rules.contains(&expected.rule) {
            problems.push(no_rule(expected, rules));
        }
    }
    tests
}

/// A rule that a test names and that the policy does not have.
pub(in crate::domain::policy) fn no_rule(expected: &Expectation, rules: &[String]) -> Diagnostic {
    let known: Vec<&str> = rules.iter().map(String::as_str).collect();
    let message = format!("this policy has no rule `{}`", expected.rule);
    let problem = Diagnostic::new(CODE, message).at(expected.place.clone());
    problem.help(did_you_mean(&expected.rule, &known))
}

/// Reads a file of tests.
///
/// # Errors
/// Every problem, each with its place.
pub fn read_tests(file: &str, text: &str) -> Result<Vec<Trial>, Diagnostics> {
    let root = open(file, text)?;
    let mut top = Fields::of(&root, CODE, TOP);
    let mut problems = Vec::new();
    let policy = top.required("policy").and_then(|node| any_name(node, &mut problems));
    top.required("tests");
    let tests = policy.map(|policy| read(&mut top, policy, &mut problems)).unwrap_or_default();
    problems.splice(0..0, top.into_problems());
    if problems.is_empty() { Ok(tests) } else { Err(sorted(problems)) }
}

fn read(top: &mut Fields<'_>, policy: Name, problems: &mut Vec<Diagnostic>) -> Vec<Trial> {
    let nodes = bounded(top, "tests", POLICY_TESTS_MAX);
    nodes.iter().filter_map(|node| trial(node, policy, problems)).collect()
}

fn trial(node: &Node, policy: Name, problems: &mut Vec<Diagnostic>) -> Option<Trial> {
    let mut fields = Fields::of(node, CODE, TRIAL);
    for key in ["name", "compose", "expect"] {
        fields.required(key);
    }
    let name = short(&mut fields, "name");
    let compose = fields.node("compose").and_then(|node| {
        if node.as_map().is_some() {
            return Some(Compose::Tree(node.clone()));
        }
        if let Some(Resolved::Text(_)) = node.as_scalar().map(|scalar| scalar.resolve()) {
            return Some(Compose::Text(node.clone()));
        }
        let message = format!("`compose` is a compose file, not {}", node.kind());
        problems.push(node.problem(CODE, message));
        None
    });
    let image = fields.node("image").cloned();
    if let Some(node) = image.as_ref().filter(|node| node.as_map().is_none()) {
        let problem = node.problem(CODE, format!("`image` is a mapping, not {}", node.kind()));
        problems.push(problem.help("say what it brings, as a service: `image: {user: app}`"));
    }
    let service = short(&mut fields, "service");
    let project = short(&mut fields, "project").unwrap_or_else(|| "test".to_owned());
    let tenant = short(&mut fields, "tenant");
    let stages: Vec<(&str, Stage)> = Stage::ALL.iter().map(|it| (it.key(), *it)).collect();
    let stage = fields.word("stage", &stages).unwrap_or(Stage::Production);
    let now = match fields.node("now") {
        Some(node) => moment(node, false, problems),
        None => NOW.parse::<Timestamp>().ok(),
    };
    let expects = fields.node("expect").map(|node| expectations(node, problems));
    problems.extend(fields.into_problems());
    let place = node.mark.location();
    let (name, compose, now, expects) = (name?, compose?, now?, expects?);
    Some(Trial {
        name,
        policy,
        compose,
        service,
        image,
        project,
        stage,
        tenant,
        now,
        expects,
        place,
    })
}

fn expectations(node: &Node, problems: &mut Vec<Diagnostic>) -> Vec<Expectation> {
    let Some(map) = node.as_map().filter(|map| !map.0.is_empty()) else {
        let problem = node.problem(CODE, "a test expects something of a rule");
        problems.push(problem.help("write `expect: {privileged: fail}`"));
        return Vec::new();
    };
    let mut expects = Vec::new();
    for (key, node) in &map.0 {
        let place = key.mark.location();
        let rule = key.text.strip_prefix("rule.").unwrap_or(&key.text).to_owned();
        let none = Expectation {
            rule,
            verdict: Expected::Pass,
            action: None,
            message: None,
            needs: None,
            place,
        };
        if node.as_map().is_some() {
            let mut fields = Fields::of(node, CODE, EXPECT);
            fields.required("verdict");
            let verdict = fields.word("verdict", VERDICTS);
            let actions: Vec<(&str, Action)> =
                Action::ALL.iter().map(|it| (it.key(), *it)).collect();
            let action = fields.word("action", &actions);
            let message = short(&mut fields, "message");
            let needs = fields.strings("needs");
            problems.extend(fields.into_problems());
            let Some(verdict) = verdict else { continue };
            expects.push(Expectation { verdict, action, message, needs, ..none });
            continue;
        }
        let word = node.as_scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
        match VERDICTS.iter().find(|(known, _)| *known == word) {
            Some((_, verdict)) => expects.push(Expectation { verdict: *verdict, ..none }),
            None => {
                let known: Vec<&str> = VERDICTS.iter().map(|(word, _)| *word).collect();
                let message = format!("expected is one of {}", known.join(", "));
                problems.push(node.problem(CODE, message));
            }
        }
    }
    expects
}
