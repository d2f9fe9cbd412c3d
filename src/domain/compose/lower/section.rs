//! Takes a mapping apart key by key, and reports every key that nobody took. Owns that guarantee: a
//! key without a counterpart can never be lost in silence. Face: `Section`, `Problems`. Never
//! converts a value that the schema has not checked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::Diagnostic;
use crate::base::units::parse_duration;
use crate::base::yaml::{Map, Mark, Node, Value};

/// Problems of one lowering, shared by all sections.
pub(super) type Problems = RefCell<Vec<Diagnostic>>;

/// A mapping that is being taken apart. Dropping it reports what is left.
pub(super) struct Section<'a> {
    path: String,
    mark: &'a Mark,
    map: &'a Map,
    left: BTreeSet<&'a str>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// Opens a mapping; `path` names it in problems, such as `services.web`.
    pub(super) fn of(node: &'a Node, path: String, problems: &'a Problems) -> Option<Self> {
        let map = node.as_map()?;
        let names = map.0.iter().map(|(key, _)| key.text.as_str());
        let left = names.filter(|name| !name.starts_with("x-")).collect();
        Some(Self { path, mark: &node.mark, map, left, problems })
    }

    /// The value of a key; null and empty text count as absent.
    pub(super) fn take(&mut self, key: &str) -> Option<&'a Node> {
        self.left.remove(key);
        let node = self.map.get(key)?;
        let is_empty = node.is_null() || node.as_scalar().is_some_and(|s| s.text.is_empty());
        (!is_empty).then_some(node)
    }

    /// Takes a key that has no effect on what runs; every use says why.
    pub(super) fn ignore(&mut self, key: &str) {
        self.left.remove(key);
    }

    /// Reports a problem with a key that was taken.
    pub(super) fn refuse(&self, key: &str, reason: &str) {
        let mark = self.map.get(key).map_or(self.mark, |node| &node.mark);
        report(self.problems, mark, &format!("{}.{key}", self.path), reason);
    }

    /// Text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        Some(self.take(key)?.as_scalar()?.text.clone())
    }

    /// A truth value.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        Some(self.take(key)?.as_scalar()?.text == "true")
    }

    /// A number; one that does not fit is reported.
    pub(super) fn number<T: std::str::FromStr>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.refuse(key, &format!("`{text}` is out of range"));
        }
        number
    }

    /// A duration.
    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        parse_duration(&self.text(key)?).ok()
    }

    /// A list of texts, in order.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let items = self.take(key).and_then(Node::as_seq).unwrap_or_default();
        items.iter().filter_map(|item| Some(item.as_scalar()?.text.clone())).collect()
    }

    /// A list of texts whose order means nothing.
    pub(super) fn set(&mut self, key: &str) -> BTreeSet<String> {
        self.texts(key).into_iter().collect()
    }

    /// A command: an empty list is a value.
    pub(super) fn command(&mut self, key: &str) -> Option<Vec<String>> {
        self.map.get(key).filter(|node| !node.is_null())?;
        Some(self.texts(key))
    }

    /// A mapping to text or nothing.
    pub(super) fn pairs(&mut self, key: &str) -> BTreeMap<String, Option<String>> {
        let pairs = self.take(key).and_then(Node::as_map);
        let pairs = pairs.map(|map| map.0.as_slice()).unwrap_or_default();
        let text = |node: &Node| node.as_scalar().map(|scalar| scalar.text.clone());
        pairs.iter().map(|(key, node)| (key.text.clone(), text(node))).collect()
    }

    /// The same without what has no value.
    pub(super) fn labels(&mut self, key: &str) -> BTreeMap<String, String> {
        self.pairs(key).into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// A mapping below this one.
    pub(super) fn section(&mut self, key: &str) -> Option<Section<'a>> {
        Section::of(self.take(key)?, format!("{}.{key}", self.path), self.problems)
    }

    /// A list of mappings below this one.
    pub(super) fn sections(&mut self, key: &str) -> Vec<Section<'a>> {
        let items = self.take(key).and_then(Node::as_seq).unwrap_or_default();
        let path = format!("{}.{key}", self.path);
        items.iter().filter_map(|item| Section::of(item, path.clone(), self.problems)).collect()
    }

    /// The same, where each is named by its place in the list.
    pub(super) fn numbered(&mut self, key: &str) -> Vec<Section<'a>> {
        let items = self.take(key).and_then(Node::as_seq).unwrap_or_default();
        let sections = items.iter().enumerate().filter_map(|(index, item)| {
            Section::of(item, format!("{}.{key}[{index}]", self.path), self.problems)
        });
        sections.collect()
    }

    /// A mapping with names of the user's choice; an entry may be null.
    pub(super) fn entries(&mut self, key: &str) -> Vec<(&'a str, &'a Node)> {
        let map = self.take(key).and_then(Node::as_map);
        let entries = map.map(|map| map.0.as_slice()).unwrap_or_default();
        entries.iter().map(|(key, node)| (key.text.as_str(), node)).collect()
    }

    /// Opens an entry of this mapping's child `key`.
    pub(super) fn open(&self, key: &str, name: &str, node: &'a Node) -> Option<Section<'a>> {
        Section::of(node, format!("{}.{key}.{name}", self.path), self.problems)
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for (key, node) in &self.map.0 {
            if self.left.contains(key.text.as_str()) && holds_something(node) {
                let path = format!("{}.{}", self.path, key.text);
                report(self.problems, &key.mark, &path, reason(&key.text));
            }
        }
    }
}

/// Nothing is lost with an empty list or mapping.
pub(in crate::domain::compose) fn holds_something(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Scalar(scalar) => !scalar.text.is_empty(),
        Value::Seq(items) => !items.is_empty(),
        Value::Map(map) => map.0.iter().any(|(_, node)| holds_something(node)),
    }
}

fn report(problems: &Problems, mark: &Mark, path: &str, reason: &str) {
    let message = format!("`{path}` cannot be honoured: {reason}");
    let problem = mark.problem("compose.not_honoured", message);
    problems.borrow_mut().push(problem.help("remove it, or deploy this project another way"));
}

/// Why a key has no counterpart.
fn reason(key: &str) -> &'static str {
    match key {
        "develop" => "files are watched by a development session, not by a deployment",
        "models" => "models are served by another program, not by the engine",
        "provider" => "another program would have to make this service",
        "credential_spec" => "it belongs to Windows containers",
        "ssh" | "additional_contexts" | "cache_to" | "entitlements" | "secrets" => {
            "the engine's build API does not take it"
        }
        _ => "there is no counterpart for it",
    }
}
