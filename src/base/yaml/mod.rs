//! Reads YAML and remembers where everything stood. Owns the tree, anchors, merge keys and limits.
//! Face: `parse`, `parse_all`, `Node`, `Fields`. Never lets a duplicate key or a tag vanish, and
//! never expands aliases past the limits, so a YAML bomb is refused before it costs memory.

mod fields;
mod parse;
mod scalar;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use fields::Fields;
pub use parse::{parse, parse_all};
pub use scalar::{Resolved, format_float, resolve};

use super::limits::EXCERPT_CHARS_MAX;
use super::{Diagnostic, Location};

/// A place in a file that is still in memory; cheap to copy, one per node.
#[derive(Clone)]
pub struct Mark {
    source: Arc<Source>,
    line: u32,
    column: u32,
}

/// A file's name and text, kept for excerpts.
struct Source {
    file: String,
    text: String,
    /// Where each line begins, so that a thousand problems do not read the file a thousand times.
    lines: Vec<usize>,
}

impl Source {
    fn new(file: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { file: file.to_owned(), text: text.to_owned(), lines }
    }

    fn line(&self, number: usize) -> &str {
        let start = self.lines.get(number.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let rest = &self.text[start..];
        rest.split(['\n', '\r']).next().unwrap_or_default()
    }
}

impl Mark {
    /// A place for a value that no file wrote, such as a default.
    pub fn nowhere() -> Self {
        Self { source: Arc::new(Source::new("", "")), line: 1, column: 1 }
    }

    /// The file that the mark points into, as the user named it.
    pub fn file(&self) -> &str {
        &self.source.file
    }

    /// The place with the line's text; without meaning for a mark that points nowhere.
    pub fn location(&self) -> Location {
        let (line, column) = (self.line as usize, self.column as usize);
        let excerpt = self.source.line(line).chars().take(EXCERPT_CHARS_MAX).collect();
        Location { file: self.source.file.clone(), line, column, excerpt }
    }

    /// A problem at this place.
    pub fn problem(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        let problem = Diagnostic::new(code, message);
        if self.source.file.is_empty() { problem } else { problem.at(self.location()) }
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.file, self.line, self.column)
    }
}

/// One value of a document.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it holds.
    pub value: Value,
    /// Its tag, such as `!reset`; the core tags (`!!str` …) are applied and not kept.
    pub tag: Option<Box<str>>,
    /// Where it begins.
    pub mark: Mark,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// Text, not yet resolved to a number or a truth value.
    Scalar(Scalar),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping in the file's order.
    Map(Map),
}

/// A scalar that is not null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, after the removal of quotes and escapes.
    pub text: String,
    /// Written without quotes, so that it may stand for a number or a truth value.
    pub plain: bool,
}

impl Scalar {
    /// What the scalar stands for: quotes always make text.
    pub fn resolve(&self) -> Resolved<'_> {
        if self.plain { resolve(&self.text) } else { Resolved::Text(&self.text) }
    }

    /// The text that Docker Compose makes of the scalar where it needs text: numbers are printed
    /// anew, so an unquoted `0x10` becomes `16`.
    pub fn to_text(&self) -> String {
        match self.resolve() {
            Resolved::Null => String::new(),
            Resolved::Bool(value) => value.to_string(),
            Resolved::Int(value) => value.to_string(),
            Resolved::Float(value) => format_float(value),
            Resolved::Text(text) => text.to_owned(),
        }
    }
}

/// A mapping's key.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key's text.
    pub text: String,
    /// Written without quotes.
    pub plain: bool,
    /// Where it stands.
    pub mark: Mark,
}

/// A mapping: no key twice, in the file's order.
#[derive(Debug, Clone, Default)]
pub struct Map(pub Vec<(Key, Node)>);

impl Map {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// The key as it was written, with its value.
    pub fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        self.0.iter().find(|(name, _)| name.text == key)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.iter_mut().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<(Key, Node)> {
        let index = self.0.iter().position(|(name, _)| name.text == key)?;
        Some(self.0.remove(index))
    }

    /// Puts a value under a key, in the place of the one that was there.
    pub fn insert(&mut self, key: Key, node: Node) {
        match self.0.iter_mut().find(|(name, _)| name.text == key.text) {
            Some(entry) => *entry = (key, node),
            None => self.0.push((key, node)),
        }
    }
}

impl Node {
    /// A node without a tag.
    pub fn new(value: Value, mark: Mark) -> Self {
        Self { value, tag: None, mark }
    }

    /// Quoted text at a place.
    pub fn text(text: impl Into<String>, mark: Mark) -> Self {
        Self::new(Value::Scalar(Scalar { text: text.into(), plain: false }), mark)
    }

    /// A problem at this node.
    pub fn problem(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.mark.problem(code, message)
    }

    /// The place of a character within a scalar's text: exact where the file holds that line of the
    /// text as it is, else the scalar's own place.
    pub fn place_inside(&self, character: usize) -> Location {
        let own = self.mark.location();
        let Some(scalar) = self.as_scalar() else { return own };
        let before: String = scalar.text.chars().take(character).collect();
        let index = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let text = scalar.text.split('\n').nth(index).unwrap_or_default();
        if text.is_empty() {
            return own;
        }
        // A block begins on the line behind its mark.
        for line in [own.line + index, own.line + index + 1] {
            let held = self.mark.source.line(line);
            let skipped = if line == own.line { own.column - 1 } else { 0 };
            let from = held.char_indices().nth(skipped).map_or(held.len(), |(at, _)| at);
            if let Some(found) = held[from..].find(text) {
                let column = held[..from + found].chars().count() + column + 1;
                let excerpt = held.chars().take(EXCERPT_CHARS_MAX).collect();
                return Location { file: own.file, line, column, excerpt };
            }
        }
        own
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The scalar, if it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// What the node is, for people.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => "nothing",
                Resolved::Bool(_) => "a truth value",
                Resolved::Int(_) | Resolved::Float(_) => "a number",
                Resolved::Text(_) => "text",
            },
        }
    }
}
