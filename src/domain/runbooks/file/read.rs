//! Reads a runbook's file. Owns its form and the words of what is wrong. Face: `read`. Never stops at
//! the first problem, and never passes a name that nothing stands for.

mod parameters;

use std::borrow::Cow;
use std::time::Duration;

use super::{
    Act, Acts, Approval, Call, CallStep, Calling, Expression, ExpressionError, Look, OnUnknown,
    Path, RunbookFile, Step, Takes, Template,
};
use crate::base::limits::{
    RUNBOOK_APPROVAL, RUNBOOK_APPROVAL_MAX, RUNBOOK_BYTES_MAX, RUNBOOK_STEPS_MAX,
    RUNBOOK_TEXT_CHARS_MAX, RUNBOOK_TIMEOUT, RUNBOOK_TIMEOUT_MAX, RUNBOOK_TRIES_MAX,
};
use crate::base::suggest::did_you_mean;
use crate::base::yaml::{self, Fields, Node, Resolved};
use crate::base::{Diagnostic, Diagnostics, Digest, Name};
use crate::domain::access::Capability;
use crate::domain::runbooks::{Entry, Locks, ReasonRule, RunbookKey, Scope};

const CODE: &str = "runbook.invalid";
const TOP: &[&str] = &[
    "key",
    "label",
    "description",
    "capability",
    "estimated_duration",
    "scopes",
    "reason",
    "parameters",
    "preflight",
    "steps",
];
const LOOK: &[&str] = &["id", "call", "with"];
const CALL: &[&str] =
    &["id", "name", "when", "call", "with", "on_unknown", "retry", "timeout", "undo"];
const APPROVE: &[&str] = &["id", "name", "when", "approve"];

/// What names may stand for at some place of the file.
#[derive(Clone)]
struct Scopes<'a> {
    parameters: Vec<&'a str>,
    looks: Vec<Teller>,
    /// The earlier steps.
    steps: Vec<Teller>,
}

/// Something that is referred to, and what it tells; unknown for one that is wrong itself.
type Teller = (String, Option<&'static [&'static str]>);

/// Reads the content of `file`.
///
/// # Errors
/// Every problem, each with its place.
pub fn read(file: &str, text: &str) -> Result<RunbookFile, Diagnostics> {
    if text.len() > RUNBOOK_BYTES_MAX {
        let message = format!("a runbook has at most {} KiB", RUNBOOK_BYTES_MAX >> 10);
        return Err(Diagnostic::new(CODE, format!("{file}: {message}")).into());
    }
    let root = yaml::parse(file, text.as_bytes())?;
    let mut top = Fields::of(&root, CODE, TOP);
    let mut problems = Vec::new();
    let key = top.required("key").and_then(|node| key(node, &mut problems));
    top.required("label");
    let label = short(&mut top, "label").unwrap_or_default();
    let description = short(&mut top, "description").unwrap_or_default();
    let words: Vec<(&str, Capability)> = Capability::ALL.iter().map(|it| (it.key(), *it)).collect();
    let capability = top.word("capability", &words).unwrap_or(Capability::RunbooksRun);
    let estimated = top.duration("estimated_duration").unwrap_or(Duration::from_secs(60));
    let scopes = scopes(&mut top, &mut problems);
    let rules = [("always", ReasonRule::Always), ("all_tenants", ReasonRule::AllTenants)];
    let reason = top.word("reason", &rules).unwrap_or(ReasonRule::AllTenants);
    let parameters = match top.node("parameters") {
        Some(node) => parameters::read(node, &mut problems),
        None => Vec::new(),
    };
    let declared = top.node("parameters").and_then(Node::as_map);
    let declared = declared.map(|map| map.0.iter().map(|(key, _)| key.text.as_str()).collect());
    let parameter_names: Vec<&str> = declared.unwrap_or_default();
    let mut names = Scopes { parameters: parameter_names, looks: Vec::new(), steps: Vec::new() };
    let looks = looks(&mut top, &mut names, &mut problems);
    top.required("steps");
    let steps = steps(&mut top, &mut names, &mut problems);
    check_reasons(&mut top, &steps, &scopes, reason);
    problems.splice(0..0, top.into_problems());
    let Some(name) = key.filter(|_| problems.is_empty()) else {
        problems.sort_by(|left, right| left.location.cmp(&right.location));
        return Err(Diagnostics(problems));
    };
    let entry = Entry {
        key: RunbookKey::File(name),
        label: Cow::Owned(label),
        description: Cow::Owned(description),
        capability,
        estimated_seconds: estimated.as_secs(),
        scopes: Cow::Owned(scopes),
        parameters: Cow::Owned(parameters),
        reason,
        locks: Locks::Runbook,
    };
    let digest = Digest::of_parts(&[b"wharfinger runbook file 1", text.as_bytes()]);
    Ok(RunbookFile { entry, name, looks, steps, digest, text: text.to_owned() })
}

fn key(node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Name> {
    let text = node.as_scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    let wrong = match text.parse::<Name>() {
        Err(error) => error.to_string(),
        Ok(name) if !name.is_dotted() => {
            format!("`{text}` has no dot: write `<of what>.<what it does>`, such as `shop.drain`")
        }
        Ok(name) if matches!(text.parse(), Ok(RunbookKey::File(_))) => return Some(name),
        Ok(_) => format!("`{text}` is a runbook of the agent's own: choose another key"),
    };
    problems.push(node.problem(CODE, wrong));
    None
}

/// A text of bounded length.
fn short(fields: &mut Fields<'_>, key: &str) -> Option<String> {
    let text = fields.string(key)?;
    let is_long = text.chars().count() > RUNBOOK_TEXT_CHARS_MAX;
    if let (true, Some(node)) = (is_long, fields.node(key)) {
        let message = format!("`{key}` has at most {RUNBOOK_TEXT_CHARS_MAX} characters");
        fields.report(node.problem(CODE, message));
        return None;
    }
    Some(text)
}

fn scopes(top: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Vec<Scope> {
    if top.node("scopes").is_none() {
        return vec![Scope::SingleTenant];
    }
    let mut scopes = Vec::new();
    for node in top.items("scopes") {
        let text = node.as_scalar().map_or("", |scalar| scalar.text.as_str());
        match text.parse::<Scope>() {
            Ok(scope) if !scopes.contains(&scope) => scopes.push(scope),
            Ok(scope) => problems.push(node.problem(CODE, format!("`{scope}` stands here twice"))),
            Err(error) => problems.push(node.problem(CODE, error.to_string())),
        }
    }
    if scopes.is_empty() {
        scopes.push(Scope::SingleTenant);
    }
    scopes
}

/// What is asked for all tenants needs a reason: the runbook's own is handed on.
fn check_reasons(top: &mut Fields<'_>, steps: &[Step], scopes: &[Scope], reason: ReasonRule) {
    if reason == ReasonRule::Always {
        return;
    }
    let needs = steps.iter().find(|step| match &step.act {
        Act::Call(call) => {
            let call = call.calling.call;
            call.runbook().is_some()
                && scopes.iter().any(|scope| {
                    *scope == Scope::SingleTenant && call.reach(*scope) == Scope::AllTenants
                })
        }
        Act::Approve(_) => false,
    });
    if let (Some(step), Some(node)) = (needs, top.node("steps")) {
        let message = format!(
            "step `{}` works for all tenants, which needs a reason; write `reason: always`",
            step.id
        );
        top.report(node.problem(CODE, message));
    }
}

fn looks(
    top: &mut Fields<'_>,
    names: &mut Scopes<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::new();
    for node in bounded(top, "preflight") {
        let mut fields = Fields::of(node, CODE, LOOK);
        let known: Vec<&str> = looks.iter().map(|look| look.id.as_str()).collect();
        let id = id(&mut fields, &known);
        let calling = calling(&mut fields, names, problems);
        if let (Some(calling), Some(node)) = (&calling, fields.node("call"))
            && calling.call.acts() != Acts::Looks
        {
            let message = format!("`{}` changes something: a preflight only looks", calling.call);
            let help = "`project.show`, `schedule.show` and `runs.dead_letters` only look";
            fields.report(node.problem(CODE, message).help(help));
        }
        problems.extend(fields.into_problems());
        if let (Some(id), Some(calling)) = (id, calling) {
            let tells = calling.call.tells();
            names.looks.push((id.clone(), (calling.call.acts() == Acts::Looks).then_some(tells)));
            looks.push(Look { id, calling });
        }
    }
    looks
}

fn bounded<'a>(top: &mut Fields<'a>, key: &str) -> &'a [Node] {
    let items = top.items(key);
    match items.get(RUNBOOK_STEPS_MAX) {
        Some(node) => {
            let message = format!("`{key}` has at most {RUNBOOK_STEPS_MAX} entries");
            top.report(node.problem(CODE, message));
            &items[..RUNBOOK_STEPS_MAX]
        }
        None => items,
    }
}

fn steps(
    top: &mut Fields<'_>,
    names: &mut Scopes<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Step> {
    let items = bounded(top, "steps");
    if let (true, Some(node)) = (items.is_empty(), top.node("steps")) {
        top.report(node.problem(CODE, "a runbook has at least one step"));
    }
    let mut steps: Vec<Step> = Vec::new();
    for node in items {
        let is_approval = node.as_map().is_some_and(|map| map.get("approve").is_some());
        let mut fields = Fields::of(node, CODE, if is_approval { APPROVE } else { CALL });
        let known: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
        let id = id(&mut fields, &known);
        let label = short(&mut fields, "name");
        let when = fields.node("when").and_then(|node| condition(node, names, problems));
        let act = match is_approval {
            true => approval(&fields, names, problems).map(Act::Approve),
            false => call_step(&mut fields, names, problems).map(|it| Act::Call(Box::new(it))),
        };
        problems.extend(fields.into_problems());
        if let Some(id) = id {
            let tells: Option<&[&str]> = match &act {
                Some(Act::Call(call)) => Some(call.calling.call.tells()),
                Some(Act::Approve(_)) => Some(&[]),
                None => None,
            };
            names.steps.push((id.clone(), tells));
            if let Some(act) = act {
                steps.push(Step { label: label.unwrap_or_else(|| id.clone()), id, when, act });
            }
        }
    }
    steps
}

fn id(fields: &mut Fields<'_>, known: &[&str]) -> Option<String> {
    let node = fields.required("id")?;
    let text = node.as_scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    let is_word = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    let fits = text.chars().all(is_word) && text.len() <= 40;
    if !fits || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        let message = format!(
            "`{text}` is no id: up to 40 lower-case letters, digits and `_`, beginning with a letter"
        );
        fields.report(node.problem(CODE, message));
        return None;
    }
    if known.contains(&text) {
        fields.report(node.problem(CODE, format!("`{text}` is the id of an earlier one")));
        return None;
    }
    Some(text.to_owned())
}

fn call_step(
    fields: &mut Fields<'_>,
    names: &Scopes<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<CallStep> {
    let calling = calling(fields, names, problems);
    let words: Vec<(&str, OnUnknown)> =
        [("retry", OnUnknown::Retry), ("probe", OnUnknown::Probe), ("ask", OnUnknown::Ask)]
            .to_vec();
    let on_unknown = fields.word("on_unknown", &words).unwrap_or(OnUnknown::Retry);
    let (mut tries, mut pause) = (1, Duration::ZERO);
    if let Some(node) = fields.node("retry") {
        let mut retry = Fields::of(node, CODE, &["attempts", "pause"]);
        let attempts = retry.integer("attempts", 1..=RUNBOOK_TRIES_MAX).unwrap_or(1);
        tries = u32::try_from(attempts).unwrap_or(1);
        pause = span(&mut retry, "pause", RUNBOOK_TIMEOUT_MAX).unwrap_or(Duration::from_secs(10));
        problems.extend(retry.into_problems());
    }
    let timeout = span(fields, "timeout", RUNBOOK_TIMEOUT_MAX).unwrap_or(RUNBOOK_TIMEOUT);
    let undo = fields.node("undo").and_then(|node| {
        let mut undo = Fields::of(node, CODE, &["call", "with"]);
        // What takes the step back may use what the step told.
        let undone = calling_after(&mut undo, names, &calling, fields.node("id"), problems);
        problems.extend(undo.into_problems());
        undone
    });
    Some(CallStep { calling: calling?, on_unknown, tries, pause, timeout, undo })
}

fn calling_after(
    undo: &mut Fields<'_>,
    names: &Scopes<'_>,
    calling: &Option<Calling>,
    id: Option<&Node>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Calling> {
    let id = id.and_then(Node::as_scalar).map(|scalar| scalar.text.clone());
    let mut with_own = names.clone();
    with_own.steps.extend(id.map(|id| (id, calling.as_ref().map(|it| it.call.tells()))));
    self::calling(undo, &with_own, problems)
}

/// A duration within bounds.
fn span(fields: &mut Fields<'_>, key: &str, longest: Duration) -> Option<Duration> {
    let length = fields.duration(key)?;
    if let (true, Some(node)) = (length > longest || length.is_zero(), fields.node(key)) {
        let longest = crate::base::units::format_duration(longest);
        let message = format!("`{key}` lies between one moment and {longest}");
        fields.report(node.problem(CODE, message));
        return None;
    }
    Some(length)
}

fn approval(
    fields: &Fields<'_>,
    names: &Scopes<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Approval> {
    let node = fields.node("approve")?;
    let mut approve = Fields::of(node, CODE, &["message", "deadline", "own"]);
    let message = approve.required("message");
    let message = message.and_then(|node| template(node, names, problems));
    let deadline = span(&mut approve, "deadline", RUNBOOK_APPROVAL_MAX).unwrap_or(RUNBOOK_APPROVAL);
    let own = approve.boolean("own").unwrap_or(false);
    problems.extend(approve.into_problems());
    Some(Approval { message: message?, deadline, own })
}

fn calling(
    fields: &mut Fields<'_>,
    names: &Scopes<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Calling> {
    let node = fields.required("call")?;
    let text = node.as_scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    let Ok(call) = text.parse::<Call>() else {
        let known: Vec<&str> = Call::ALL.iter().map(|call| call.key()).collect();
        let problem = node.problem(CODE, format!("there is no operation `{text}`"));
        fields.report(problem.help(did_you_mean(text, &known)));
        return None;
    };
    let inputs: Vec<&str> = call.inputs().iter().map(|(name, ..)| *name).collect();
    let mut with = Vec::new();
    let given = fields.node("with");
    if let Some(given) = given {
        problems.extend(Fields::of(given, CODE, &inputs).into_problems());
    }
    let given = given.and_then(Node::as_map);
    for (name, takes, is_needed) in call.inputs() {
        let value = given.and_then(|map| map.get(name)).filter(|node| !node.is_null());
        match value {
            Some(value) => {
                let value = input(value, name, *takes, names, problems);
                with.extend(value.map(|value| ((*name).to_owned(), value)));
            }
            None if *is_needed => {
                problems.push(node.problem(CODE, format!("`{call}` needs `with: {{{name}: …}}`")));
            }
            None => {}
        }
    }
    Some(Calling { call, with })
}

/// A value for an input: one that stands there is checked now, one that is made later is then.
fn input(
    node: &Node,
    name: &str,
    takes: Takes,
    names: &Scopes<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Template> {
    let value = template(node, names, problems)?;
    let resolved = node.as_scalar().map(yaml::Scalar::resolve);
    let fits = match takes {
        Takes::Text => true,
        Takes::Whole => matches!(resolved, Some(Resolved::Int(_))),
        Takes::YesNo => matches!(resolved, Some(Resolved::Bool(_))),
    };
    if value.literal().is_some() && !fits {
        let wanted = match takes {
            Takes::Text => "a text",
            Takes::Whole => "a whole number",
            Takes::YesNo => "`true` or `false`",
        };
        let message = format!("`{name}` must be {wanted}, found {}", node.kind());
        problems.push(node.problem(CODE, message));
        return None;
    }
    Some(value)
}

fn template(node: &Node, names: &Scopes<'_>, problems: &mut Vec<Diagnostic>) -> Option<Template> {
    let Some(scalar) = node.as_scalar().filter(|_| node.tag.is_none()) else {
        problems.push(node.problem(CODE, format!("expected text, found {}", node.kind())));
        return None;
    };
    if scalar.text.chars().count() > RUNBOOK_TEXT_CHARS_MAX {
        let message = format!("a text has at most {RUNBOOK_TEXT_CHARS_MAX} characters");
        problems.push(node.problem(CODE, message));
        return None;
    }
    match Template::parse(&scalar.text) {
        Ok(template) => check_names(node, template.names(), names, problems).then_some(template),
        Err(error) => {
            problems.push(inside(node, &error));
            None
        }
    }
}

/// A condition, with or without the marks of an expression.
fn condition(
    node: &Node,
    names: &Scopes<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Expression> {
    let text = node.as_scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    let bare = text.trim();
    let inner = bare.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
    let offset = match inner {
        Some(_) => text.chars().count() - text.trim_start().chars().count() + 3,
        None => 0,
    };
    match Expression::parse(inner.unwrap_or(text)) {
        Ok(expression) => {
            check_names(node, expression.names(), names, problems).then_some(expression)
        }
        Err(error) => {
            problems.push(inside(node, &ExpressionError { at: error.at + offset, ..error }));
            None
        }
    }
}

/// A problem within a text: its place when the text stands in the file as it is.
fn inside(node: &Node, error: &ExpressionError) -> Diagnostic {
    let mut problem = node.problem(CODE, error.message.clone());
    if let (Some(at), Some(scalar)) = (&mut problem.location, node.as_scalar()) {
        let quote = usize::from(!scalar.plain);
        let begin = at.column - 1 + quote;
        let shown: String =
            at.excerpt.chars().skip(begin).take(scalar.text.chars().count()).collect();
        if shown == scalar.text {
            at.column += quote + error.at;
        }
    }
    problem
}

/// Whether every name stands for something at this place.
fn check_names(
    node: &Node,
    used: Vec<&Path>,
    names: &Scopes<'_>,
    problems: &mut Vec<Diagnostic>,
) -> bool {
    let before = problems.len();
    for path in used {
        let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
        let wrong = match parts[..] {
            ["params", name] => unknown("a parameter", name, &names.parameters),
            ["preflight", look, field] => {
                told_by(&names.looks, look, field, "part of the preflight", false)
            }
            ["steps", step, field] => told_by(&names.steps, step, field, "an earlier step", true),
            _ => Some((
                format!("`{path}` stands for nothing"),
                "write `params.NAME`, `preflight.ID.FIELD` or `steps.ID.FIELD`".to_owned(),
            )),
        };
        if let Some((message, help)) = wrong {
            problems.push(node.problem(CODE, message).help(help));
        }
    }
    problems.len() == before
}

fn told_by(
    tellers: &[Teller],
    id: &str,
    field: &str,
    what: &str,
    has_outcome: bool,
) -> Option<(String, String)> {
    let known: Vec<&str> = tellers.iter().map(|(id, _)| id.as_str()).collect();
    match tellers.iter().find(|(known, _)| known == id) {
        None => unknown(what, id, &known),
        Some(_) if has_outcome && field == "outcome" => None,
        Some((_, tells)) => unknown(&format!("told by `{id}`"), field, (*tells)?),
    }
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Option<(String, String)> {
    if known.contains(&name) {
        return None;
    }
    Some((format!("`{name}` is not {what}"), did_you_mean(name, known)))
}
