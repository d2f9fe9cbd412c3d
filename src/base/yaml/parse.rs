//! Builds the tree from the parser's events. Owns anchors, merge keys, duplicate keys and the
//! limits. Face: `parse`, `parse_all`. Never recurses over the input's nesting.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Key, Map, Mark, Node, Resolved, Scalar, Source, Value, resolve};
use crate::base::limits::{
    DIAGNOSTICS_MAX, YAML_BYTES_MAX, YAML_DEPTH_MAX, YAML_KEYS_MAX, YAML_NODES_MAX,
};
use crate::base::{Diagnostic, Diagnostics};

/// Reads a file that holds at most one document; an empty file is null.
///
/// # Errors
/// When the text is not YAML, passes a limit, repeats a key, or holds several documents.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Node, Diagnostics> {
    let mut documents = parse_all(file, bytes)?;
    match documents.len() {
        0 => {
            let source = Arc::new(Source::new(file, ""));
            Ok(Node::new(Value::Null, Mark { source, line: 1, column: 1 }))
        }
        1 => Ok(documents.remove(0)),
        _ => {
            let problem = documents[1].problem("yaml.documents", "a second document begins here");
            Err(problem.help("keep one document in the file and remove the `---` line").into())
        }
    }
}

/// Reads every document of a file, in order.
///
/// # Errors
/// When the text is not YAML, passes a limit, or repeats a key.
pub fn parse_all(file: &str, bytes: &[u8]) -> Result<Vec<Node>, Diagnostics> {
    if bytes.len() > YAML_BYTES_MAX {
        let message = format!("{file}: larger than {} MiB", YAML_BYTES_MAX >> 20);
        return Err(Diagnostic::new("yaml.too_large", message).into());
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            let message = format!("{file}:{line}: not UTF-8 text");
            return Err(Diagnostic::new("yaml.not_utf8", message).into());
        }
    };
    let source = Arc::new(Source::new(file, text));
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let mark = mark_at(&source, error.marker());
            Diagnostics::from(mark.problem("yaml.syntax", format!("not YAML: {}", error.info())))
        })?;
        builder.accept(event, mark_at(&source, &span.start))?;
    }
    if builder.problems.is_empty() {
        Ok(builder.documents)
    } else {
        Err(Diagnostics(builder.problems))
    }
}

fn mark_at(source: &Arc<Source>, marker: &Marker) -> Mark {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Mark {
        source: Arc::clone(source),
        line: number(marker.line()),
        column: number(marker.col()).saturating_add(1),
    }
}

/// A list or mapping whose end has not been read yet.
struct Open {
    value: OpenValue,
    tag: Option<Box<str>>,
    mark: Mark,
    anchor: usize,
    size: usize,
    height: usize,
}

enum OpenValue {
    Seq(Vec<Node>),
    Map { entries: Map, key: Option<Key>, merges: Vec<Node> },
}

/// A finished node with what its expansion costs.
#[derive(Clone)]
struct Measured {
    node: Node,
    size: usize,
    height: usize,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Measured>,
    documents: Vec<Node>,
    problems: Vec<Diagnostic>,
    nodes: usize,
}

impl Builder {
    fn accept(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Diagnostics> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, &mark)?;
                let node = scalar(&text, style, tag.as_deref(), mark);
                self.finish(Measured { node, size: 1, height: 0 }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(OpenValue::Seq(Vec::new()), anchor, tag.as_deref(), mark)
            }
            Event::MappingStart(anchor, tag) => {
                let value =
                    OpenValue::Map { entries: Map::default(), key: None, merges: Vec::new() };
                self.open(value, anchor, tag.as_deref(), mark)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let expanded = self.expand(anchor, &mark)?;
                self.finish(expanded, 0)
            }
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    /// A copy of what the anchor holds; the limits are checked before anything is copied.
    fn expand(&mut self, anchor: usize, mark: &Mark) -> Result<Measured, Diagnostics> {
        let Some(measured) = self.anchors.get(&anchor) else {
            let message = "the anchor contains this alias to itself";
            return Err(mark.problem("yaml.recursive_alias", message).into());
        };
        if self.nodes + measured.size > YAML_NODES_MAX {
            return Err(too_many_nodes(mark).into());
        }
        if self.stack.len() + measured.height > YAML_DEPTH_MAX {
            return Err(too_deep(mark).into());
        }
        self.nodes += measured.size;
        Ok(measured.clone())
    }

    fn count(&mut self, nodes: usize, mark: &Mark) -> Result<(), Diagnostics> {
        self.nodes += nodes;
        if self.nodes > YAML_NODES_MAX { Err(too_many_nodes(mark).into()) } else { Ok(()) }
    }

    fn open(
        &mut self,
        value: OpenValue,
        anchor: usize,
        tag: Option<&Tag>,
        mark: Mark,
    ) -> Result<(), Diagnostics> {
        self.count(1, &mark)?;
        if self.stack.len() >= YAML_DEPTH_MAX {
            return Err(too_deep(&mark).into());
        }
        let tag = tag.and_then(kept_tag);
        self.stack.push(Open { value, tag, mark, anchor, size: 1, height: 0 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Diagnostics> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let value = match open.value {
            OpenValue::Seq(items) => Value::Seq(items),
            OpenValue::Map { entries, merges, .. } => Value::Map(merged(entries, merges)?),
        };
        let node = Node { value, tag: open.tag, mark: open.mark };
        self.finish(Measured { node, size: open.size, height: open.height + 1 }, open.anchor)
    }

    /// Puts a finished node where it belongs: a key, a value, an item, or the document itself.
    fn finish(&mut self, measured: Measured, anchor: usize) -> Result<(), Diagnostics> {
        if anchor > 0 {
            self.anchors.insert(anchor, measured.clone());
        }
        let Some(parent) = self.stack.last_mut() else {
            self.documents.push(measured.node);
            return Ok(());
        };
        parent.size += measured.size;
        parent.height = parent.height.max(measured.height);
        match &mut parent.value {
            OpenValue::Seq(items) => items.push(measured.node),
            OpenValue::Map { entries, key, merges } => match key.take() {
                None => *key = Some(as_key(measured.node)?),
                Some(name) if name.plain && name.text == "<<" => merges.push(measured.node),
                Some(name) if entries.0.len() >= YAML_KEYS_MAX => {
                    return Err(too_many_keys(&name.mark).into());
                }
                Some(name) => match entries.entry(&name.text) {
                    None => entries.0.push((name, measured.node)),
                    Some((first, _)) if self.problems.len() < DIAGNOSTICS_MAX => {
                        self.problems.push(duplicate(first, &name));
                    }
                    Some(_) => {}
                },
            },
        }
        Ok(())
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, mark: Mark) -> Node {
    let mut plain = style == ScalarStyle::Plain;
    if let Some(tag) = tag.filter(|tag| tag.is_yaml_core_schema()) {
        plain = tag.suffix != "str";
    }
    let value = if plain && resolve(text) == Resolved::Null {
        Value::Null
    } else {
        Value::Scalar(Scalar { text: text.to_owned(), plain })
    };
    Node { value, tag: tag.and_then(kept_tag), mark }
}

/// Core tags say what the value resolves to anyway; every other tag must reach the reader.
fn kept_tag(tag: &Tag) -> Option<Box<str>> {
    const APPLIED: [&str; 7] = ["str", "int", "float", "bool", "null", "map", "seq"];
    if tag.is_yaml_core_schema() {
        let known = APPLIED.contains(&tag.suffix.as_str());
        return (!known).then(|| format!("!!{}", tag.suffix).into());
    }
    Some(format!("{}{}", tag.handle, tag.suffix).into())
}

fn as_key(node: Node) -> Result<Key, Diagnostics> {
    match node.value {
        Value::Scalar(Scalar { text, plain }) => Ok(Key { text, plain, mark: node.mark }),
        Value::Null => Err(node.problem("yaml.key", "a key must not be empty").into()),
        Value::Seq(_) | Value::Map(_) => Err(node.problem("yaml.key", "a key must be text").into()),
    }
}

fn duplicate(first: &Key, second: &Key) -> Diagnostic {
    let at = first.mark.location();
    let message = format!("`{}` is given twice", second.text);
    let help = format!("it was first given in line {}, column {}", at.line, at.column);
    second.mark.problem("yaml.duplicate_key", message).help(help)
}

/// Explicit keys win over merged ones, and an earlier merged mapping over a later one.
fn merged(mut entries: Map, merges: Vec<Node>) -> Result<Map, Diagnostics> {
    for merge in merges {
        let mappings = match merge.value {
            Value::Seq(items) => items,
            _ => vec![merge],
        };
        for node in mappings {
            let Value::Map(map) = node.value else {
                let message = "`<<` takes a mapping or a list of them";
                return Err(node.problem("yaml.merge", message).into());
            };
            for (key, value) in map.0 {
                if entries.get(&key.text).is_some() {
                    continue;
                }
                if entries.0.len() >= YAML_KEYS_MAX {
                    return Err(too_many_keys(&key.mark).into());
                }
                entries.0.push((key, value));
            }
        }
    }
    Ok(entries)
}

fn too_many_nodes(mark: &Mark) -> Diagnostic {
    let message = format!("more than {YAML_NODES_MAX} values once aliases are expanded");
    mark.problem("yaml.too_many_nodes", message)
}

fn too_many_keys(mark: &Mark) -> Diagnostic {
    mark.problem("yaml.too_many_keys", format!("more than {YAML_KEYS_MAX} keys in one mapping"))
}

fn too_deep(mark: &Mark) -> Diagnostic {
    mark.problem("yaml.too_deep", format!("nested more than {YAML_DEPTH_MAX} levels deep"))
}
