//! Reads a mapping with known keys, as configuration and policy files are. Owns the checks and
//! their wording. Face: `Fields`. Never stops at the first problem: each goes into the caller's
//! list, and the caller goes on with nothing in that place.

use std::time::Duration;

use super::{Map, Mark, Node, Resolved, Value};
use crate::base::suggest::did_you_mean;
use crate::base::units::{parse_bytes, parse_duration};
use crate::base::{Diagnostic, Diagnostics};

/// A mapping whose keys are known. Every getter answers `None` for a key that is absent or null,
/// and for a value of the wrong kind, which it reports.
#[derive(Debug)]
pub struct Fields<'a> {
    map: Option<&'a Map>,
    mark: &'a Mark,
    code: &'static str,
    problems: Vec<Diagnostic>,
}

impl<'a> Fields<'a> {
    /// Opens a mapping (null counts as an empty one) and reports keys that are not `known`.
    /// Problems carry `code`.
    pub fn of(node: &'a Node, code: &'static str, known: &[&str]) -> Self {
        let mut fields = Self { map: node.as_map(), mark: &node.mark, code, problems: Vec::new() };
        if let Some(tag) = &node.tag {
            fields.report(node.problem(code, format!("the tag `{tag}` has no meaning here")));
        }
        if fields.map.is_none() && !node.is_null() {
            let message = format!("expected a mapping, found {}", node.kind());
            fields.report(node.problem(code, message).help(did_you_mean("", known)));
        }
        for (key, _) in fields.map.map_or(&[][..], |map| &map.0) {
            if !known.contains(&key.text.as_str()) {
                let problem = key.mark.problem(code, format!("unknown key `{}`", key.text));
                fields.report(problem.help(did_you_mean(&key.text, known)));
            }
        }
        fields
    }

    /// Adds a problem of the caller's own.
    pub fn report(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When any problem was reported.
    pub fn finish(self) -> Result<(), Diagnostics> {
        if self.problems.is_empty() { Ok(()) } else { Err(Diagnostics(self.problems)) }
    }

    /// The problems so far, for a caller that collects those of several mappings.
    pub fn into_problems(self) -> Vec<Diagnostic> {
        self.problems
    }

    /// The value under a key; null counts as absent.
    pub fn node(&self, key: &str) -> Option<&'a Node> {
        self.map.and_then(|map| map.get(key)).filter(|node| !node.is_null())
    }

    /// The same, reported when it is absent.
    pub fn required(&mut self, key: &str) -> Option<&'a Node> {
        let node = self.node(key);
        if node.is_none() {
            let message = format!("`{key}` is missing");
            self.report(self.mark.problem(self.code, message));
        }
        node
    }

    /// Text. A number or truth value must be quoted to count as text.
    pub fn string(&mut self, key: &str) -> Option<String> {
        let node = self.node(key)?;
        self.read(key, node, "text", as_text)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        self.read(key, node, "`true` or `false`", |node| match node.as_scalar()?.resolve() {
            Resolved::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let node = self.node(key)?;
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, node, &expected, |node| match node.as_scalar()?.resolve() {
            Resolved::Int(value) => u64::try_from(value).ok().filter(|value| range.contains(value)),
            _ => None,
        })
    }

    /// A duration such as `90s` or `1m30s`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let node = self.node(key)?;
        let expected = "a duration, such as `90s` or `1m30s`";
        self.read(key, node, expected, |node| parse_duration(&node.as_scalar()?.text).ok())
    }

    /// A size such as `512m`, in bytes.
    pub fn bytes(&mut self, key: &str) -> Option<u64> {
        let node = self.node(key)?;
        let expected = "a size, such as `64k` or `512m`";
        self.read(key, node, expected, |node| parse_bytes(&node.as_scalar()?.text).ok())
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let node = self.node(key)?;
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {}", names.join(", "));
        self.read(key, node, &expected, |node| {
            let text = &node.as_scalar()?.text;
            words.iter().find_map(|(name, value)| (name == text).then_some(*value))
        })
    }

    /// A list of texts.
    pub fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        self.read(key, node, "a list of texts", |node| node.as_seq()?.iter().map(as_text).collect())
    }

    /// The items of a list, for the caller to read one by one.
    pub fn items(&mut self, key: &str) -> &'a [Node] {
        let Some(node) = self.node(key) else { return &[] };
        self.read(key, node, "a list", Node::as_seq).unwrap_or_default()
    }

    fn read<T>(
        &mut self,
        key: &str,
        node: &'a Node,
        expected: &str,
        read: impl FnOnce(&'a Node) -> Option<T>,
    ) -> Option<T> {
        let value = if node.tag.is_none() { read(node) } else { None };
        if value.is_none() {
            let found = match &node.value {
                Value::Scalar(scalar) => format!("`{}`", scalar.text),
                _ => node.kind().to_owned(),
            };
            let message = format!("`{key}` must be {expected}, found {found}");
            self.report(node.problem(self.code, message));
        }
        value
    }
}

fn as_text(node: &Node) -> Option<String> {
    match node.as_scalar()?.resolve() {
        Resolved::Text(text) => Some(text.to_owned()),
        _ => None,
    }
}
