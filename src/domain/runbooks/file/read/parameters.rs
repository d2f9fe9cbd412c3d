//! Reads the parameters of a runbook's file. Owns their form. Face: `read`. Never lets a default pass
//! that the parameter itself would refuse.

use std::borrow::Cow;

use super::{CODE, short};
use crate::base::Diagnostic;
use crate::base::limits::{RUNBOOK_PARAMETERS_MAX, RUNBOOK_TEXT_CHARS_MAX};
use crate::base::yaml::{Fields, Node, Resolved};
use crate::domain::runbooks::{Argument, Kind, Parameter};

const KEYS: &[&str] = &["type", "label", "default", "enum", "min", "max"];

#[derive(Clone, Copy)]
enum Word {
    Text,
    Whole,
    YesNo,
}

/// Reads them in the file's order.
pub(super) fn read(node: &Node, problems: &mut Vec<Diagnostic>) -> Vec<Parameter> {
    let Some(map) = node.as_map() else {
        let message = format!("`parameters` must be a mapping, found {}", node.kind());
        problems.push(node.problem(CODE, message));
        return Vec::new();
    };
    if let Some((key, _)) = map.0.get(RUNBOOK_PARAMETERS_MAX) {
        let message = format!("a runbook has at most {RUNBOOK_PARAMETERS_MAX} parameters");
        problems.push(key.mark.problem(CODE, message));
    }
    let mut parameters = Vec::new();
    for (key, node) in map.0.iter().take(RUNBOOK_PARAMETERS_MAX) {
        let is_word = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
        let begins = key.text.starts_with(|it: char| it.is_ascii_lowercase());
        if !begins || key.text.len() > 40 || !key.text.chars().all(is_word) {
            let message = format!(
                "`{}` is no name of a parameter: up to 40 lower-case letters, digits and `_`",
                key.text
            );
            problems.push(key.mark.problem(CODE, message));
        }
        parameters.extend(parameter(&key.text, node, problems));
    }
    parameters
}

fn parameter(name: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Parameter> {
    let mut fields = Fields::of(node, CODE, KEYS);
    let words = [("text", Word::Text), ("whole", Word::Whole), ("yes_no", Word::YesNo)];
    fields.required("type");
    let word = fields.word("type", &words);
    let label = short(&mut fields, "label").unwrap_or_else(|| name.to_owned());
    let kind = word.and_then(|word| kind(word, &mut fields));
    let default = fields.node("default");
    let value = default.and_then(literal);
    if let (Some(kind), Some(node)) = (&kind, default)
        && value.as_ref().and_then(|value| kind.read_exact(value)).is_none()
    {
        let message = format!("`default` must be {}, found {}", kind.words(), node.kind());
        fields.report(node.problem(CODE, message));
    }
    problems.extend(fields.into_problems());
    Some(Parameter {
        name: Cow::Owned(name.to_owned()),
        label: Cow::Owned(label),
        kind: kind?,
        default: value,
        is_needed: default.is_none(),
    })
}

fn kind(word: Word, fields: &mut Fields<'_>) -> Option<Kind> {
    let may_have: &[&str] = match word {
        Word::Text => &["enum", "max"],
        Word::Whole => &["min", "max"],
        Word::YesNo => &[],
    };
    for key in ["enum", "min", "max"].iter().filter(|key| !may_have.contains(key)) {
        if let Some(node) = fields.node(key) {
            fields.report(node.problem(CODE, format!("`{key}` has no meaning for this type")));
        }
    }
    match word {
        Word::YesNo => Some(Kind::YesNo),
        Word::Whole => {
            let min = whole(fields, "min").unwrap_or(i64::MIN);
            let max = whole(fields, "max").unwrap_or(i64::MAX);
            if let (true, Some(node)) = (min > max, fields.node("min")) {
                fields.report(node.problem(CODE, "`min` is greater than `max`"));
            }
            Some(Kind::Whole { min, max })
        }
        Word::Text if fields.node("enum").is_some() => {
            let words = fields.strings("enum")?;
            let is_long = |word: &String| word.chars().count() > RUNBOOK_TEXT_CHARS_MAX;
            let is_wrong = words.is_empty()
                || words.len() > RUNBOOK_PARAMETERS_MAX
                || words.iter().any(is_long);
            if let (true, Some(node)) = (is_wrong, fields.node("enum")) {
                let message = format!("`enum` has 1 to {RUNBOOK_PARAMETERS_MAX} texts");
                fields.report(node.problem(CODE, message));
            }
            Some(Kind::Choice { words })
        }
        Word::Text => {
            let most = RUNBOOK_TEXT_CHARS_MAX as u64;
            let chars_max = fields.integer("max", 1..=most).unwrap_or(most);
            Some(Kind::Text { chars_max: usize::try_from(chars_max).unwrap_or_default() })
        }
    }
}

fn whole(fields: &mut Fields<'_>, key: &str) -> Option<i64> {
    let node = fields.node(key)?;
    match literal(node) {
        Some(Argument::Whole(number)) => Some(number),
        _ => {
            let message = format!("`{key}` must be a whole number, found {}", node.kind());
            fields.report(node.problem(CODE, message));
            None
        }
    }
}

/// The value that stands in the file.
fn literal(node: &Node) -> Option<Argument> {
    match node.as_scalar()?.resolve() {
        Resolved::Bool(value) => Some(Argument::YesNo(value)),
        Resolved::Int(value) => i64::try_from(value).ok().map(Argument::Whole),
        Resolved::Text(text) => Some(Argument::Text(text.to_owned())),
        Resolved::Null | Resolved::Float(_) => None,
    }
}
