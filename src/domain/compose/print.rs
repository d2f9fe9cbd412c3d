//! Prints a project as Docker Compose's canonical model. Owns what is shown and what is left out.
//! Face: `canonical`. Never shows a secret's content: it was never read into the model.

use serde_json::{Map as Json, Value as JsonValue};

use super::keys::{EXTENSION, FILE};
use super::project::Project;
use super::schema::{Fields, Shape, Show};
use crate::base::yaml::{Node, Resolved, Value, format_float};

/// The model as `docker compose config --format json` prints it: a dollar sign is doubled, so that
/// the output is a compose file again.
pub fn canonical(project: &Project) -> JsonValue {
    let mut file = Json::new();
    file.insert("name".to_owned(), JsonValue::String(project.name.clone()));
    for field in FILE.known {
        let node = project.model.get(field.name);
        if let Some(value) = field_value(node, &field.shape, field.show) {
            file.insert(field.name.to_owned(), value);
        }
    }
    for (key, node) in &project.model.0 {
        if key.text.starts_with("x-") {
            file.insert(key.text.clone(), print(node, &EXTENSION));
        }
    }
    JsonValue::Object(file)
}

/// What is shown of a key; `None` when it is not.
pub(super) fn field_value(
    node: Option<&Node>,
    shape: &'static Shape,
    show: Show,
) -> Option<JsonValue> {
    match (show, node) {
        (Show::Never, _) | (Show::Filled | Show::Present | Show::As(_), None) => None,
        (Show::Always, None) => Some(absent(shape)),
        (Show::Always | Show::Present, Some(node)) => Some(print(node, shape)),
        (Show::Filled | Show::As(_), Some(node)) => {
            let value = print(node, shape);
            (!is_empty(&value, shape)).then_some(value)
        }
    }
}

/// What stands for an absent value that is always shown.
fn absent(shape: &'static Shape) -> JsonValue {
    match shape {
        Shape::Object(fields) => JsonValue::Object(shown_when_absent(fields)),
        Shape::Map(_) => JsonValue::Object(Json::new()),
        _ => JsonValue::Null,
    }
}

fn shown_when_absent(fields: &'static Fields) -> Json<String, JsonValue> {
    fields
        .known
        .iter()
        .filter(|field| field.show == Show::Always)
        .map(|field| (field.name.to_owned(), absent(&field.shape)))
        .collect()
}

/// Empty text, zero, false, and lists and mappings of the user's own with nothing in them. A
/// mapping with known keys was asked for, even when it is empty.
fn is_empty(value: &JsonValue, shape: &Shape) -> bool {
    match (value, shape) {
        (JsonValue::Object(_), Shape::Object(_)) => false,
        (_, Shape::Short(_, inner) | Shape::OrNull(inner)) => is_empty(value, inner),
        (JsonValue::Object(entries), _) => entries.is_empty(),
        (JsonValue::Array(items), _) => items.is_empty(),
        (JsonValue::String(text), Shape::Bytes | Shape::Size) => text.is_empty() || text == "0",
        (JsonValue::String(text), Shape::Duration) => text.is_empty() || text == "0s",
        (JsonValue::String(text), _) => text.is_empty(),
        (JsonValue::Number(number), _) => number.as_f64() == Some(0.0),
        (JsonValue::Bool(value), _) => !value,
        (JsonValue::Null, _) => true,
    }
}

/// A value as JSON.
pub(super) fn print(node: &Node, shape: &'static Shape) -> JsonValue {
    match (shape, &node.value) {
        (Shape::Short(_, inner) | Shape::OrNull(inner), _) => print(node, inner),
        (Shape::Object(fields), Value::Map(map)) => {
            let mut object = Json::new();
            for field in fields.known {
                let name = match field.show {
                    Show::As(name) => name,
                    _ => field.name,
                };
                if let Some(value) = field_value(map.get(field.name), &field.shape, field.show) {
                    object.insert(name.to_owned(), value);
                }
            }
            JsonValue::Object(object)
        }
        (Shape::Map(inner), Value::Map(map)) => {
            let entries = map.0.iter().map(|(key, node)| (escape(&key.text), print(node, inner)));
            JsonValue::Object(entries.collect())
        }
        (Shape::List(inner, _), Value::Seq(items)) => {
            JsonValue::Array(items.iter().map(|item| print(item, inner)).collect())
        }
        (_, Value::Map(map)) => {
            let entries =
                map.0.iter().map(|(key, node)| (escape(&key.text), print(node, &EXTENSION)));
            JsonValue::Object(entries.collect())
        }
        (Shape::Hosts, Value::Seq(items)) => {
            let mut lines: Vec<String> =
                items.iter().filter_map(Node::as_scalar).map(|s| escape(&s.text)).collect();
            lines.sort();
            lines.into()
        }
        (_, Value::Seq(items)) => {
            JsonValue::Array(items.iter().map(|item| print(item, &EXTENSION)).collect())
        }
        (_, Value::Null) => JsonValue::Null,
        (_, Value::Scalar(scalar)) => match scalar.resolve() {
            Resolved::Null => JsonValue::Null,
            Resolved::Bool(value) => JsonValue::Bool(value),
            Resolved::Int(number) => number_json(&number.to_string()),
            Resolved::Float(number) => float_json(&scalar.text, number),
            Resolved::Text(text) => JsonValue::String(escape(text)),
        },
    }
}

fn number_json(text: &str) -> JsonValue {
    serde_json::from_str(text).unwrap_or_else(|_| JsonValue::String(text.to_owned()))
}

/// A float as it was written, when that is JSON: `.5` and `1e3` are written anew.
fn float_json(text: &str, number: f64) -> JsonValue {
    match serde_json::from_str(text) {
        Ok(json) => json,
        Err(_) => number_json(&format_float(number)),
    }
}

fn escape(text: &str) -> String {
    text.replace('$', "$$")
}
