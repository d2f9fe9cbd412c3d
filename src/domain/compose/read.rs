//! Reads a file's tree against the schema: every key known, every value of its kind, every short
//! form spelled out, every path absolute. Owns the checks and casts. Face: `Reading`. Never merges,
//! and never stops at the first problem.

use std::collections::BTreeSet;

use super::forms::{self, Expanded};
use super::interpolate::{SubstituteError, Variables, is_given, substitute, without_variables};
use super::paths::{absolute, is_windows};
use super::schema::{Field, Fields, Shape, Unique, Unset};
use super::unique::without_doubles;
use super::words;
use crate::base::Diagnostic;
use crate::base::limits::DIAGNOSTICS_MAX;
use crate::base::suggest::did_you_mean;
use crate::base::units::{format_duration, parse_bytes, parse_duration};
use crate::base::yaml::{Key, Map, Mark, Node, Resolved, Scalar, Value};

/// What a reading needs to know, and what it found.
pub(super) struct Reading<'a> {
    /// Relative paths start here.
    pub(super) base: &'a str,
    /// For interpolation and `~`.
    pub(super) variables: &'a Variables,
    /// What is of the wrong kind, and plainly means something, is taken so; it is told of all the
    /// same.
    pub(super) takes_as_meant: bool,
    /// Errors.
    pub(super) problems: Findings,
    /// What works but is probably not meant.
    pub(super) warnings: Findings,
    /// The places of values that came from variables.
    pub(super) interpolated: BTreeSet<String>,
}

/// The first problems of many: a file full of mistakes must not fill the memory.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Diagnostic>);

impl Findings {
    /// Adds one, while there is room.
    pub(super) fn push(&mut self, problem: Diagnostic) {
        if self.0.len() < DIAGNOSTICS_MAX {
            self.0.push(problem);
        }
    }
}

/// Code of a value of the wrong kind.
const KIND: &str = "compose.wrong_kind";

impl Reading<'_> {
    /// Reports an error.
    pub(super) fn refuse(&mut self, mark: &Mark, code: &'static str, message: impl Into<String>) {
        self.problems.push(mark.problem(code, message));
    }

    /// Replaces variables in every scalar of a tree.
    pub(super) fn interpolate(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Null => {}
            Value::Seq(items) => items.iter_mut().for_each(|item| self.interpolate(item)),
            Value::Map(map) => map.0.iter_mut().for_each(|(_, value)| self.interpolate(value)),
            Value::Scalar(scalar) if scalar.text.contains('$') => {
                if scalar.text.replace("$$", "").contains('$') && !is_given(&scalar.text) {
                    self.interpolated.insert(format!("{:?}", node.mark));
                }
                match substitute(&scalar.text, self.variables) {
                    Ok(text) => *scalar = Scalar { text, plain: false },
                    Err(error) => {
                        self.problems.push(substitution_problem(&node.mark, &error));
                        if let (true, SubstituteError::Missing { .. }) =
                            (self.takes_as_meant, &error)
                        {
                            *scalar =
                                Scalar { text: without_variables(&scalar.text), plain: false };
                        }
                    }
                }
                for name in self.variables.take_unset() {
                    let message = format!("variable `{name}` is not set; an empty text is used");
                    let warning = node.mark.problem("compose.variable_unset", message);
                    self.warnings.push(warning.help(format!("set it, or write `${{{name}:-}}`")));
                }
            }
            Value::Scalar(_) => {}
        }
    }

    /// Reads a value of a kind. `None` after a problem, which is then reported.
    pub(super) fn read(&mut self, node: Node, shape: &'static Shape, key: &str) -> Option<Node> {
        match node.tag.as_deref() {
            Some("!reset") => return Some(node),
            None | Some("!override") => {}
            Some(tag) => {
                let message = format!("the tag `{tag}` has no meaning in a compose file");
                self.refuse(&node.mark, "compose.tag", message);
                return None;
            }
        }
        let (tag, mark) = (node.tag.clone(), node.mark.clone());
        let mut read = self.read_untagged(node, shape, key)?;
        (read.tag, read.mark) = (tag, mark);
        Some(read)
    }

    fn read_untagged(&mut self, node: Node, shape: &'static Shape, key: &str) -> Option<Node> {
        match shape {
            Shape::Any => Some(node),
            Shape::Object(fields) => self.object(node, fields, key),
            Shape::Map(inner) => self.map(node, inner, key),
            Shape::List(inner, unique) => {
                let items = self.list(node, inner, key)?;
                let (items, mark) = items;
                if *unique == Unique::Distinct {
                    self.refuse_doubles(&items, key);
                }
                Some(Node::new(Value::Seq(without_doubles(items, *unique)), mark))
            }
            Shape::Short(form, inner) => {
                let long = match forms::expand(self, node, *form, key)? {
                    Expanded::Long(long) => long,
                    Expanded::Done(done) => return Some(done),
                };
                let read = self.read_untagged(long, inner, key)?;
                Some(forms::settle_paths(self, read, *form))
            }
            Shape::OrNull(inner) => self.read_untagged(node, inner, key),
            Shape::Options if node.as_map().is_none() => {
                self.wrong_kind(&node, key, "a mapping");
                None
            }
            Shape::Options => self.pairs(node, Unset::Empty, key),
            Shape::Pairs(unset) => self.pairs(node, *unset, key),
            Shape::Hosts => self.hosts(node, key),
            Shape::Command => self.command(node, key),
            Shape::HealthTest => self.health_test(node, key),
            _ => self.scalar(node, shape, key),
        }
    }

    /// Reports a value of the wrong kind.
    pub(super) fn wrong_kind(&mut self, node: &Node, key: &str, expected: &str) {
        let found = match node.as_scalar() {
            Some(scalar) => format!("`{}`", scalar.text.chars().take(60).collect::<String>()),
            None => node.kind().to_owned(),
        };
        let message = format!("`{key}` must be {expected}, found {found}");
        let mut problem = node.problem(KIND, message);
        let is_bare = node.as_scalar().is_some_and(|scalar| scalar.plain);
        if expected == "text" && is_bare {
            problem = problem.help("put quotes around the value");
        }
        self.problems.push(problem);
    }

    /// Reports each text that a list holds for the second time.
    pub(super) fn refuse_doubles(&mut self, items: &[Node], key: &str) {
        let mut seen = BTreeSet::new();
        for item in items {
            let Some(scalar) = item.as_scalar() else { continue };
            if !seen.insert(scalar.text.as_str()) {
                let message = format!("`{key}` holds `{}` twice", scalar.text);
                self.problems.push(item.problem("compose.double", message).help("remove one"));
            }
        }
    }

    fn object(&mut self, node: Node, fields: &'static Fields, key: &str) -> Option<Node> {
        let Value::Map(map) = node.value else {
            self.wrong_kind(&node, key, "a mapping");
            return None;
        };
        let mut read = Map::default();
        for (name, value) in map.0 {
            if name.text.starts_with("x-") {
                read.0.push((name, value));
                continue;
            }
            let Some(field) = fields.find(&name.text) else {
                self.unknown_key(&name, fields);
                continue;
            };
            if value.is_null() && value.tag.is_none() {
                // A later file may fill it; `require` reports what stays empty.
                if !matches!(field.shape, Shape::OrNull(_)) {
                    read.0.push((name, value));
                }
                continue;
            }
            if let Some(value) = self.read(value, &field.shape, field.name) {
                read.0.push((name, value));
            }
        }
        Some(Node::new(Value::Map(read), node.mark))
    }

    fn unknown_key(&mut self, name: &Key, fields: &'static Fields) {
        let message = format!("unknown key `{}`", name.text);
        let help = did_you_mean(&name.text, &fields.names());
        self.problems.push(name.mark.problem("compose.unknown_key", message).help(help));
    }

    fn map(&mut self, node: Node, inner: &'static Shape, key: &str) -> Option<Node> {
        let Value::Map(map) = node.value else {
            self.wrong_kind(&node, key, "a mapping");
            return None;
        };
        let mut read = Map::default();
        for (name, value) in map.0 {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if !is_text_key(&name) || name.text.is_empty() || !name.text.chars().all(allowed) {
                let message = format!("`{}` is not a name for an entry of `{key}`", name.text);
                let problem = name.mark.problem("compose.name", message);
                let help = "use letters, digits, `.`, `_` and `-`; quote a number";
                self.problems.push(problem.help(help));
                continue;
            }
            if value.is_null() && value.tag.is_none() {
                read.0.push((name, value));
                continue;
            }
            if let Some(value) = self.read(value, inner, &name.text) {
                read.0.push((name, value));
            }
        }
        Some(Node::new(Value::Map(read), node.mark))
    }

    fn list(&mut self, node: Node, inner: &'static Shape, key: &str) -> Option<(Vec<Node>, Mark)> {
        let Value::Seq(items) = node.value else {
            self.wrong_kind(&node, key, "a list");
            return None;
        };
        let read = items.into_iter().filter_map(|item| self.read(item, inner, key)).collect();
        Some((read, node.mark))
    }

    /// `KEY=value` lines or a mapping become a mapping of text or null.
    fn pairs(&mut self, node: Node, unset: Unset, key: &str) -> Option<Node> {
        let mut read = Map::default();
        let absent = |mark: Mark| match unset {
            Unset::Inherit => Node::new(Value::Null, mark),
            Unset::Empty => Node::text("", mark),
        };
        match node.value {
            Value::Map(map) => {
                for (name, value) in map.0 {
                    if !is_text_key(&name) {
                        let message = format!("the key `{}` must be quoted", name.text);
                        self.refuse(&name.mark, "compose.name", message);
                        continue;
                    }
                    let value = match (value.tag.as_deref(), &value.value) {
                        (Some("!reset"), _) => value,
                        (_, Value::Null) => absent(value.mark),
                        (_, Value::Scalar(scalar)) => Node::text(scalar.to_text(), value.mark),
                        _ => {
                            self.wrong_kind(&value, &name.text, "text or a number");
                            continue;
                        }
                    };
                    read.insert(Key { plain: false, ..name }, value);
                }
            }
            Value::Seq(items) => {
                for item in items {
                    let Some(scalar) = item.as_scalar() else {
                        self.wrong_kind(&item, key, "a list of `KEY=value` texts");
                        continue;
                    };
                    let text = scalar.to_text();
                    let (name, value) = match text.split_once('=') {
                        Some((name, value)) => (name, Node::text(value, item.mark.clone())),
                        None => (text.as_str(), absent(item.mark.clone())),
                    };
                    let name = Key { text: name.to_owned(), plain: false, mark: item.mark.clone() };
                    read.insert(name, value);
                }
            }
            _ => {
                self.wrong_kind(&node, key, "a mapping or a list of `KEY=value` texts");
                return None;
            }
        }
        Some(Node::new(Value::Map(read), node.mark))
    }

    /// `host=address` or `host:address` lines, or a mapping to one or more addresses.
    fn hosts(&mut self, node: Node, key: &str) -> Option<Node> {
        let mut lines: Vec<(String, String, Mark)> = Vec::new();
        match node.value {
            Value::Seq(items) => {
                for item in items {
                    let text = item.as_scalar().map(|scalar| scalar.text.clone());
                    let split = text
                        .as_deref()
                        .and_then(|text| text.split_once('=').or_else(|| text.split_once(':')));
                    match split {
                        Some((host, address)) => {
                            lines.push((host.to_owned(), address.to_owned(), item.mark));
                        }
                        None => self.wrong_kind(&item, key, "a list of `host=address` texts"),
                    }
                }
            }
            Value::Map(map) => {
                for (host, value) in map.0 {
                    let addresses = match value.value {
                        Value::Seq(items) => items,
                        _ => vec![value],
                    };
                    for address in addresses {
                        match address.as_scalar() {
                            Some(scalar) => {
                                lines.push((host.text.clone(), scalar.to_text(), address.mark));
                            }
                            None => self.wrong_kind(&address, &host.text, "an address"),
                        }
                    }
                }
            }
            _ => {
                self.wrong_kind(&node, key, "a mapping or a list of `host=address` texts");
                return None;
            }
        }
        let lines = lines.into_iter().map(|(host, address, mark)| {
            let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            Node::text(format!("{host}={}", bare.unwrap_or(&address)), mark)
        });
        Some(Node::new(Value::Seq(lines.collect()), node.mark))
    }

    fn command(&mut self, node: Node, key: &str) -> Option<Node> {
        let Value::Scalar(scalar) = &node.value else {
            return self.texts(node, key);
        };
        match words::split(&scalar.to_text()) {
            Ok(split) => {
                if let Some(dropped) = split.dropped {
                    let message = format!("`{key}` ends before `{dropped}`");
                    let warning = node.problem("compose.command_cut", message);
                    let help = "no shell runs the line; write `sh -c '…'` for operators";
                    self.warnings.push(warning.help(help));
                }
                let items = split.words.into_iter().map(|word| Node::text(word, node.mark.clone()));
                Some(Node::new(Value::Seq(items.collect()), node.mark.clone()))
            }
            Err(error) => {
                self.refuse(&node.mark, "compose.command", format!("`{key}`: {error}"));
                None
            }
        }
    }

    fn health_test(&mut self, node: Node, key: &str) -> Option<Node> {
        let Value::Scalar(scalar) = &node.value else {
            return self.texts(node, key);
        };
        let shell = [
            Node::text("CMD-SHELL", node.mark.clone()),
            Node::text(scalar.to_text(), node.mark.clone()),
        ];
        Some(Node::new(Value::Seq(shell.into()), node.mark))
    }

    fn texts(&mut self, node: Node, key: &str) -> Option<Node> {
        let (items, mark) = self.list(node, &Shape::Text, key)?;
        Some(Node::new(Value::Seq(items), mark))
    }

    fn scalar(&mut self, node: Node, shape: &'static Shape, key: &str) -> Option<Node> {
        let Some(scalar) = node.as_scalar() else {
            self.wrong_kind(&node, key, expected(shape));
            return None;
        };
        let cast = match shape {
            Shape::Text => match scalar.resolve() {
                Resolved::Text(text) => Some(quoted(text)),
                _ => None,
            },
            Shape::Loose => Some(quoted(scalar.to_text())),
            Shape::Word(words) => {
                words.contains(&scalar.text.as_str()).then(|| quoted(&scalar.text))
            }
            Shape::Path | Shape::Context => Some(quoted(self.path(scalar, shape))),
            Shape::Flag => flag(scalar).map(|flag| bare(flag.to_string())),
            Shape::Integer => integer(scalar).map(|number| bare(number.to_string())),
            Shape::Float => float(scalar).map(bare),
            Shape::Bytes => size(scalar).map(|bytes| quoted(bytes.to_string())),
            Shape::Size => match scalar.resolve() {
                Resolved::Text(_) => size(scalar).map(|bytes| quoted(bytes.to_string())),
                _ => None,
            },
            Shape::PullPolicy => is_pull_policy(&scalar.text).then(|| quoted(&scalar.text)),
            Shape::Count if scalar.text == "all" => Some(bare("-1")),
            Shape::Count => integer(scalar).map(|number| bare(number.to_string())),
            Shape::Mode => mode(scalar).map(|mode| bare(mode.to_string())),
            Shape::Duration => match scalar.resolve() {
                Resolved::Text(text) => {
                    parse_duration(text).ok().map(|d| quoted(format_duration(d)))
                }
                _ => None,
            },
            _ => Some(scalar.clone()),
        };
        if cast.is_none() {
            if let Shape::Word(words) = shape {
                let message = format!("`{key}` cannot be `{}`", scalar.text);
                let help = did_you_mean(&scalar.text, words);
                self.problems.push(node.problem(KIND, message).help(help));
            } else {
                self.wrong_kind(&node, key, expected(shape));
            }
        }
        let meant = self.takes_as_meant && matches!(shape, Shape::Text) && !scalar.text.is_empty();
        let cast = cast.or_else(|| meant.then(|| quoted(&scalar.text)));
        Some(Node::new(Value::Scalar(cast?), node.mark))
    }

    fn path(&self, scalar: &Scalar, shape: &Shape) -> String {
        let text = &scalar.text;
        if matches!(shape, Shape::Context) && is_remote(text) {
            return text.clone();
        }
        self.absolute(text)
    }

    /// A path of this file, absolute. One that was absolute already is left to the letter, because
    /// a trailing slash may mean something to who reads it.
    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') || is_windows(path) {
            return path.to_owned();
        }
        let home = if path.starts_with('~') { self.variables.get("HOME") } else { None };
        absolute(self.base, path, home)
    }
}

/// A build context that is no path: a URL, a repository, or the image of another service.
pub(super) fn is_remote(context: &str) -> bool {
    context.contains("://")
        || ["git@", "github.com/", "service:"].iter().any(|prefix| context.starts_with(prefix))
}

fn is_text_key(key: &Key) -> bool {
    let scalar = Scalar { text: key.text.clone(), plain: key.plain };
    matches!(scalar.resolve(), Resolved::Text(_))
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Flag => "`true` or `false`",
        Shape::Integer => "a whole number",
        Shape::Float => "a number",
        Shape::Bytes => "a size, such as `512m`",
        Shape::Size => "a size in quotes or with a unit, such as `512m`",
        Shape::PullPolicy => {
            "`always`, `never`, `missing`, `build`, `daily`, `weekly` or a time such as `every_12h`"
        }
        Shape::Object(_) | Shape::Map(_) | Shape::Options => "a mapping",
        Shape::Pairs(_) | Shape::Hosts => "a mapping or a list",
        Shape::List(..) => "a list",
        Shape::OrNull(inner) | Shape::Short(_, inner) => expected(inner),
        Shape::Count => "a whole number or `all`",
        Shape::Mode => "permission bits in octal, such as `0440`",
        Shape::Duration => "a duration, such as `90s` or `1m30s`",
        Shape::Path | Shape::Context => "a path",
        Shape::Loose => "text or a number",
        _ => "text",
    }
}

/// The words of 2.26, and the later ones that say how old an image may get.
fn is_pull_policy(text: &str) -> bool {
    const WORDS: [&str; 7] =
        ["always", "never", "missing", "if_not_present", "build", "daily", "weekly"];
    let is_time = |time: &str| parse_duration(&time.replace('w', "d")).is_ok_and(|d| !d.is_zero());
    text.is_empty() || WORDS.contains(&text) || text.strip_prefix("every_").is_some_and(is_time)
}

pub(super) fn quoted(text: impl Into<String>) -> Scalar {
    Scalar { text: text.into(), plain: false }
}

pub(super) fn bare(text: impl Into<String>) -> Scalar {
    Scalar { text: text.into(), plain: true }
}

fn flag(scalar: &Scalar) -> Option<bool> {
    match scalar.text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Some(true),
        "false" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

pub(super) fn integer(scalar: &Scalar) -> Option<i64> {
    match scalar.resolve() {
        Resolved::Int(number) => i64::try_from(number).ok(),
        Resolved::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number as Go prints a `float32`: the shortest digits that give the same value.
fn float(scalar: &Scalar) -> Option<String> {
    let number: f32 = match scalar.resolve() {
        Resolved::Int(number) => number.to_string().parse().ok()?,
        Resolved::Float(number) => number.to_string().parse().ok()?,
        Resolved::Text(text) => text.parse().ok()?,
        _ => return None,
    };
    number.is_finite().then(|| number.to_string())
}

fn size(scalar: &Scalar) -> Option<i64> {
    match scalar.resolve() {
        Resolved::Int(number) => i64::try_from(number).ok(),
        Resolved::Text(text) => match text.parse() {
            Ok(number) => Some(number),
            Err(_) => i64::try_from(parse_bytes(text).ok()?).ok(),
        },
        _ => None,
    }
}

fn mode(scalar: &Scalar) -> Option<i64> {
    match scalar.resolve() {
        Resolved::Int(number) => i64::try_from(number).ok(),
        Resolved::Text(text) => i64::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        _ => None,
    }
}

fn substitution_problem(mark: &Mark, error: &SubstituteError) -> Diagnostic {
    match error {
        SubstituteError::Missing { name, .. } => mark
            .problem("compose.variable_missing", error.to_string())
            .help(format!("set `{name}` in the environment, in `.env` or with --env-file")),
        SubstituteError::Invalid(_) => mark
            .problem("compose.interpolation", error.to_string())
            .help("write `$$` where a dollar sign is meant"),
        SubstituteError::TooDeep | SubstituteError::TooMuch => {
            mark.problem("compose.interpolation", error.to_string())
        }
    }
}

/// Reports keys that are required and absent, once all files are merged.
pub(super) fn require(
    node: &Node,
    shape: &'static Shape,
    key: &str,
    problems: &mut Vec<Diagnostic>,
) {
    match (shape, &node.value) {
        (Shape::Short(_, inner) | Shape::OrNull(inner), _) => require(node, inner, key, problems),
        (Shape::Object(fields), Value::Map(map)) => {
            for name in fields.required {
                if map.get(name).is_none() {
                    let message = format!("`{name}` is missing in `{key}`");
                    problems.push(node.problem("compose.missing_key", message));
                }
            }
            for (name, value) in &map.0 {
                let Some(Field { shape, name, .. }) = fields.find(&name.text) else { continue };
                if value.is_null() {
                    let message = format!("`{name}` must be {}, found nothing", expected(shape));
                    let help = "remove the key, or give it a value";
                    problems.push(value.problem(KIND, message).help(help));
                } else {
                    require(value, shape, name, problems);
                }
            }
        }
        (Shape::Object(fields), Value::Null) if !fields.required.is_empty() => {
            let message = format!("`{}` is missing in `{key}`", fields.required.join("` and `"));
            problems.push(node.problem("compose.missing_key", message));
        }
        (Shape::Map(inner), Value::Map(map)) => {
            map.0.iter().for_each(|(name, value)| require(value, inner, &name.text, problems));
        }
        (Shape::List(inner, _), Value::Seq(items)) => {
            items.iter().for_each(|item| require(item, inner, key, problems));
        }
        _ => {}
    }
}
