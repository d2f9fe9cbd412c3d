//! Prints a project as YAML, in the order and shape of Docker Compose. Owns block style, quoting and
//! the order of keys. Face: `canonical_yaml`. Never prints what the JSON form has and YAML leaves
//! out: empty mappings and nulls of keys that nobody wrote.

use std::cmp::Ordering;

use serde_json::Value as JsonValue;

use super::keys::{EXTENSION, FILE};
use super::print::{field_value, print};
use super::project::Project;
use super::schema::{Fields, Shape, Show};
use crate::base::yaml::{Map, Node, Resolved, Scalar, Value};

/// The model as `docker compose config` prints it. Extensions stay where they were written, so that
/// nothing is lost when it is read again.
pub fn canonical_yaml(project: &Project) -> String {
    let mut entries = vec![("name".to_owned(), Tree::Text(project.name.clone()))];
    entries.extend(known(&project.model, &FILE));
    let mut text = String::new();
    write_map(&entries, 0, &mut text);
    text
}

/// A value on its way to the text.
enum Tree {
    Text(String),
    /// A number, a truth value or null, as it is printed.
    Bare(String),
    Seq(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// The keys of a mapping in the order of their table, then its extensions.
fn known(map: &Map, fields: &'static Fields) -> Vec<(String, Tree)> {
    let mut entries = Vec::new();
    for field in fields.known {
        // Only the services of a file are shown without there being any.
        let is_kept = field.show == Show::Always && matches!(field.shape, Shape::Map(_));
        let Some(node) = map.get(field.name) else {
            if is_kept {
                entries.push((field.name.to_owned(), Tree::Map(Vec::new())));
            }
            continue;
        };
        let value = field_value(Some(node), &field.shape, field.show);
        let is_dropped = field.show == Show::Always && value.as_ref().is_some_and(is_nothing);
        if value.is_some() && (is_kept || !is_dropped) {
            entries.push((field.name.to_owned(), tree(node, &field.shape)));
        }
    }
    let extensions = map.0.iter().filter(|(key, _)| key.text.starts_with("x-"));
    let mut extensions: Vec<_> =
        extensions.map(|(key, node)| (key.text.clone(), tree(node, &EXTENSION))).collect();
    extensions.sort_by(|(left, _), (right, _)| natural(left, right));
    entries.extend(extensions);
    entries
}

/// What stands for an absent mapping.
fn is_nothing(value: &JsonValue) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn tree(node: &Node, shape: &'static Shape) -> Tree {
    match (shape, &node.value) {
        (Shape::Short(_, inner) | Shape::OrNull(inner), _) => tree(node, inner),
        (Shape::Object(fields), Value::Map(map)) => Tree::Map(known(map, fields)),
        (Shape::Map(inner), Value::Map(map)) => {
            let below = |(key, node): &(_, Node)| (named(key), tree(node, inner));
            Tree::Map(sorted(map.0.iter().map(below).collect()))
        }
        (Shape::List(inner, _), Value::Seq(items)) => {
            Tree::Seq(items.iter().map(|item| tree(item, inner)).collect())
        }
        _ => of_json(print(node, shape)),
    }
}

fn named(key: &crate::base::yaml::Key) -> String {
    key.text.replace('$', "$$")
}

fn of_json(value: JsonValue) -> Tree {
    match value {
        JsonValue::String(text) => Tree::Text(text),
        JsonValue::Array(items) => Tree::Seq(items.into_iter().map(of_json).collect()),
        JsonValue::Object(entries) => {
            Tree::Map(sorted(entries.into_iter().map(|(key, item)| (key, of_json(item))).collect()))
        }
        other => Tree::Bare(other.to_string()),
    }
}

fn sorted(mut entries: Vec<(String, Tree)>) -> Vec<(String, Tree)> {
    entries.sort_by(|(left, _), (right, _)| natural(left, right));
    entries
}

/// The order of names in the output of Go's YAML library: numbers by their value, letters after
/// everything else, and otherwise by the character.
fn natural(left: &str, right: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(left, right)| left != right) else {
        return a.len().cmp(&b.len());
    };
    let after_digit = at > 0 && a[at - 1].is_ascii_digit();
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => return a[at].cmp(&b[at]),
        (is_letter, is_other_letter) if is_letter || is_other_letter => {
            let is_less = if after_digit { is_letter } else { is_other_letter };
            return if is_less { Ordering::Less } else { Ordering::Greater };
        }
        _ => {}
    }
    // Zeros at the front say nothing, unless a digit other than zero stands before them.
    let before = a[..at].iter().rev().take_while(|c| c.is_ascii_digit());
    let is_inside = (a[at] == '0' || b[at] == '0') && before.into_iter().any(|c| *c != '0');
    let number = |text: &[char]| {
        let digits: String = text[at..].iter().take_while(|c| c.is_ascii_digit()).collect();
        let value = digits.trim_start_matches('0').to_owned();
        // As if a digit stood in front: the longer one is the greater one.
        let value = if is_inside { format!("1{digits}") } else { value };
        (value.len(), value, digits.len())
    };
    number(&a).cmp(&number(&b)).then_with(|| a[at].cmp(&b[at]))
}

fn write_map(entries: &[(String, Tree)], indent: usize, out: &mut String) {
    for (place, (key, value)) in entries.iter().enumerate() {
        // The first entry of a mapping in a list stands behind the dash.
        if place > 0 || !out.ends_with("- ") {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&inline(key));
        out.push(':');
        match value {
            Tree::Map(below) if !below.is_empty() => {
                out.push('\n');
                write_map(below, indent + 2, out);
            }
            Tree::Seq(items) if !items.is_empty() => {
                out.push('\n');
                write_seq(items, indent + 2, out);
            }
            _ => {
                out.push(' ');
                write_leaf(value, indent, out);
            }
        }
    }
}

fn write_seq(items: &[Tree], indent: usize, out: &mut String) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 || !out.ends_with("- ") {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str("- ");
        match item {
            Tree::Map(below) if !below.is_empty() => write_map(below, indent + 2, out),
            Tree::Seq(below) if !below.is_empty() => write_seq(below, indent + 2, out),
            _ => write_leaf(item, indent, out),
        }
    }
}

fn write_leaf(value: &Tree, indent: usize, out: &mut String) {
    match value {
        Tree::Bare(text) => out.push_str(text),
        Tree::Text(text) if is_block(text) => return write_block(text, indent + 2, out),
        Tree::Text(text) => out.push_str(&inline(text)),
        Tree::Seq(_) => out.push_str("[]"),
        Tree::Map(_) => out.push_str("{}"),
    }
    out.push('\n');
}

/// Is it written line by line, behind a `|`?
fn is_block(text: &str) -> bool {
    let is_plain_line = |line: &str| !line.ends_with(' ') && line.chars().all(is_shown);
    text.contains('\n') && !text.contains('\r') && text.split('\n').all(is_plain_line)
}

fn write_block(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let body = text.strip_suffix('\n');
    match body {
        None => out.push('-'),
        Some(body) if body.is_empty() || body.ends_with('\n') => out.push('+'),
        Some(_) => {}
    }
    out.push('\n');
    for line in body.unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// May it stand outside of double quotes?
fn is_shown(c: char) -> bool {
    c == '\t' || !(c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
}

/// A text on one line: bare where that reads as the same text, else in the quotes that it needs.
fn inline(text: &str) -> String {
    let is_clean = text.chars().all(|c| is_shown(c) && c != '\t');
    if !is_clean || text.is_empty() || reads_as_another_kind(text) {
        return double_quoted(text);
    }
    if has_meaning(text) { format!("'{}'", text.replace('\'', "''")) } else { text.to_owned() }
}

/// Would it be a number, a truth value, a time or nothing without quotes, here or for an older
/// reader?
fn reads_as_another_kind(text: &str) -> bool {
    const OLD: [&str; 8] = ["y", "yes", "on", "n", "no", "off", "true", "false"];
    let scalar = Scalar { text: text.to_owned(), plain: true };
    let is_number = || {
        let digits = text.replace('_', "");
        let bare = digits.trim_start_matches(['+', '-']);
        bare.parse::<f64>()
            .is_ok_and(|_| bare.starts_with(|c: char| c == '.' || c.is_ascii_digit()))
            || ["0x", "0o", "0b"].iter().any(|radix| bare.to_ascii_lowercase().starts_with(radix))
    };
    !matches!(scalar.resolve(), Resolved::Text(_))
        || OLD.contains(&text.to_ascii_lowercase().as_str())
        || is_number()
        || is_base_60(text)
        || is_date(text)
}

/// `12:30:45`, which was a number once: after the first part, each is below sixty.
fn is_base_60(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let below_sixty = |part: &str| part.parse::<u8>().is_ok_and(|n| n < 60) && part.len() <= 2;
    let mut parts = whole.trim_start_matches(['+', '-']).split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let is_number = !first.is_empty() && digits(first) && digits(fraction);
    is_number && !rest.is_empty() && rest.into_iter().all(below_sixty)
}

/// `2001-01-01`, alone or before a time.
fn is_date(text: &str) -> bool {
    let day = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = day.split('-').collect();
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let sizes = |part: &&str| (1..=2).contains(&part.len());
    matches!(parts.as_slice(), [year, rest @ ..]
        if year.len() == 4 && rest.len() == 2 && rest.iter().all(sizes) && parts.iter().all(|p| digits(p)))
}

/// Does a character of it mean something to YAML where it stands?
fn has_meaning(text: &str) -> bool {
    let mut before = None;
    let mut characters = text.chars().peekable();
    if text.starts_with("---") || text.starts_with("...") || text.ends_with(' ') {
        return true;
    }
    while let Some(c) = characters.next() {
        let ends = characters.peek().is_none_or(|next| *next == ' ');
        let means = match (before, c) {
            (None, ' ' | '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!') => true,
            (None, '|' | '>' | '\'' | '"' | '%' | '@' | '`') => true,
            (None, '-' | '?') | (_, ':') => ends,
            (Some(' '), '#') => true,
            _ => false,
        };
        if means {
            return true;
        }
        before = Some(c);
    }
    false
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\0' => quoted.push_str("\\0"),
            c if is_shown(c) => quoted.push(c),
            c if u32::from(c) <= 0xff => quoted.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_only_where_they_must_be() {
        let check = |text: &str, expect: &str| assert_eq!(inline(text), expect, "{text:?}");
        for plain in [
            "9:00 h",
            "1:99",
            "a b",
            ":x",
            "x]",
            "it's",
            "a\\b",
            "a,b",
            "ü€",
            "a#b",
            "=",
            "8080:80/tcp",
            "-x",
        ] {
            check(plain, plain);
        }
        for single in
            ["a: b", "# x", " lead", "trail ", "*star", "a #b", "{a}", "- x", "@x", "%x", "x:"]
        {
            check(single, &format!("'{single}'"));
        }
        check("\"q\"", "'\"q\"'");
        check("'q", "'''q'");
        for double in
            ["yes", "Y", "1", "1.5", "0x1f", "1e3", "null", "~", "2001-01-01", "12:30:45", "", "on"]
        {
            check(double, &format!("\"{double}\""));
        }
        check("tab\there", "\"tab\\there\"");
        check("a\u{7}\u{2028}", "\"a\\x07\\u2028\"");
    }

    #[test]
    fn names_are_in_the_order_of_gos_library() {
        let check = |names: &[&str]| {
            for pair in names.windows(2) {
                assert_eq!(natural(pair[0], pair[1]), Ordering::Less, "{pair:?}");
                assert_eq!(natural(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
            }
        };
        check(&["A", "AA", "AB", "B", "a", "a1", "a2", "a10", "ab"]);
        check(&["a-1", "a_1", "a1", "aB"]);
        check(&["s1b", "s1-b", "s01"]);
    }

    #[test]
    fn lines_keep_their_ends() {
        let check = |text: &str, expect: &str| {
            let mut out = String::new();
            write_leaf(&Tree::Text(text.to_owned()), 0, &mut out);
            assert_eq!(out, expect, "{text:?}");
        };
        check("a\nb", "|-\n  a\n  b\n");
        check("a\nb\n", "|\n  a\n  b\n");
        check("a\n\n", "|+\n  a\n\n");
        check("\n a\n", "|2\n\n   a\n");
        check("a \nb", "\"a \\nb\"\n");
        check("a\r\nb", "\"a\\r\\nb\"\n");
    }
}
