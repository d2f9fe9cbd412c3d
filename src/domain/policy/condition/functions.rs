//! The functions of conditions. Owns their names, what they take and what they may cost. Face:
//! `find`, `call`, `pattern`. Never makes more of a value than `CONDITION_TEXT_BYTES_MAX` and
//! `CONDITION_ITEMS_MAX` allow.

use regex::bytes::{Regex, RegexBuilder};

use super::evaluate::{EvaluationError, Steps};
use super::value::whole;
use super::{ConditionError, Shape, Value};
use crate::base::limits::{
    CONDITION_ITEMS_MAX, CONDITION_PATTERN_BYTES_MAX, CONDITION_PATTERN_PROGRAM_BYTES_MAX,
};

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    LowerAscii,
    UpperAscii,
    Trim,
    Split,
    Int,
    Double,
    String,
}

/// How a function is called.
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) function: Function,
    form: Form,
    pub(super) takes: &'static [Takes],
    pub(super) gives: Shape,
    pub(super) usage: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Global,
    Method,
    Both,
}

/// What an argument can be.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    Text,
    Sized,
    Scalar,
}

impl Takes {
    /// Whether a value of this shape can be one.
    pub(super) fn takes(self, shape: Shape) -> bool {
        match shape {
            Shape::Any | Shape::Text => true,
            Shape::List(_) | Shape::Map(_) => matches!(self, Self::Sized),
            Shape::Whole | Shape::Number | Shape::YesNo => matches!(self, Self::Scalar),
            Shape::Null | Shape::Object(_) => false,
        }
    }
}

impl Signature {
    /// Whether it may be called so.
    pub(super) fn fits_call(&self, is_method: bool) -> bool {
        match self.form {
            Form::Global => !is_method,
            Form::Method => is_method,
            Form::Both => true,
        }
    }
}

const fn method(
    name: &'static str,
    function: Function,
    takes: &'static [Takes],
    gives: Shape,
    usage: &'static str,
) -> Signature {
    Signature { name, function, form: Form::Method, takes, gives, usage }
}

const fn global(
    name: &'static str,
    function: Function,
    gives: Shape,
    usage: &'static str,
) -> Signature {
    Signature { name, function, form: Form::Global, takes: &[Takes::Scalar], gives, usage }
}

const TEXT: &[Takes] = &[Takes::Text];
const TEXTS: &[Takes] = &[Takes::Text, Takes::Text];

/// Every function.
pub(super) const FUNCTIONS: &[Signature] = &[
    Signature {
        name: "size",
        function: Function::Size,
        form: Form::Both,
        takes: &[Takes::Sized],
        gives: Shape::Whole,
        usage: "size(x)",
    },
    method("contains", Function::Contains, TEXTS, Shape::YesNo, "text.contains(part)"),
    method("startsWith", Function::StartsWith, TEXTS, Shape::YesNo, "text.startsWith(part)"),
    method("endsWith", Function::EndsWith, TEXTS, Shape::YesNo, "text.endsWith(part)"),
    Signature {
        name: "matches",
        function: Function::Matches,
        form: Form::Both,
        takes: TEXTS,
        gives: Shape::YesNo,
        usage: "text.matches('pattern')",
    },
    method("lowerAscii", Function::LowerAscii, TEXT, Shape::Text, "text.lowerAscii()"),
    method("upperAscii", Function::UpperAscii, TEXT, Shape::Text, "text.upperAscii()"),
    method("trim", Function::Trim, TEXT, Shape::Text, "text.trim()"),
    method("split", Function::Split, TEXTS, Shape::List(&Shape::Text), "text.split(separator)"),
    global("int", Function::Int, Shape::Whole, "int(x)"),
    global("double", Function::Double, Shape::Number, "double(x)"),
    global("string", Function::String, Shape::Text, "string(x)"),
];

/// The function of this name.
pub(super) fn find(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.iter().find(|signature| signature.name == name)
}

/// All names.
pub(super) fn names() -> Vec<&'static str> {
    FUNCTIONS.iter().map(|signature| signature.name).collect()
}

/// The pattern of `matches`, compiled once. As in RE2, which CEL names, `\w` and its like are those
/// of ASCII; the tables of Unicode would make every pattern large.
pub(super) fn pattern(text: &str, at: usize) -> Result<Regex, ConditionError> {
    if text.len() > CONDITION_PATTERN_BYTES_MAX {
        let message = format!("a pattern has at most {CONDITION_PATTERN_BYTES_MAX} bytes");
        return Err(ConditionError::new(at, message));
    }
    let built = RegexBuilder::new(text)
        .size_limit(CONDITION_PATTERN_PROGRAM_BYTES_MAX)
        .dfa_size_limit(CONDITION_PATTERN_PROGRAM_BYTES_MAX)
        .unicode(false)
        .nest_limit(16)
        .build();
    built.map_err(|error| {
        let message = match &error {
            regex::Error::CompiledTooBig(_) => {
                "the pattern becomes too large: it repeats too much".to_owned()
            }
            // The last line says what is wrong, the ones before draw the pattern.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                format!("no pattern: {}", last.trim_start_matches("error: "))
            }
        };
        ConditionError::new(at, message)
    })
}

/// Calls one with values of which everything is known, apart from what is in an open list.
pub(super) fn call(
    function: Function,
    values: &[Value],
    steps: &mut Steps,
) -> Result<Value, EvaluationError> {
    let texts = |values: &[Value]| match values {
        [Value::Text(text)] => Some((text.clone(), None)),
        [Value::Text(text), Value::Text(other)] => Some((text.clone(), Some(other.clone()))),
        _ => None,
    };
    let name = || FUNCTIONS.iter().find(|it| it.function == function).map_or("", |it| it.name);
    let wrong = |values: &[Value]| {
        let kinds: Vec<&str> = values.iter().map(Value::kind).collect();
        EvaluationError::Arguments { function: name(), kinds: kinds.join(" and ") }
    };
    match (function, values) {
        (Function::Size, [value]) => return size(value).ok_or_else(|| wrong(values)),
        (Function::Int, [value]) => return int(value).ok_or_else(|| wrong(values))?,
        (Function::Double, [value]) => return double(value).ok_or_else(|| wrong(values))?,
        (Function::String, [value]) => {
            return match value {
                Value::Text(_) => Ok(value.clone()),
                Value::Whole(number) => Ok(Value::text(number.to_string())),
                Value::YesNo(value) => Ok(Value::text(value.to_string())),
                _ => Err(wrong(values)),
            };
        }
        _ => {}
    }
    let (text, other) = texts(values).ok_or_else(|| wrong(values))?;
    steps.spend_on(text.len())?;
    let other = other.as_deref();
    Ok(match (function, other) {
        (Function::Contains, Some(part)) => Value::YesNo(text.contains(part)),
        (Function::StartsWith, Some(part)) => Value::YesNo(text.starts_with(part)),
        (Function::EndsWith, Some(part)) => Value::YesNo(text.ends_with(part)),
        (Function::LowerAscii, None) => Value::text(text.to_ascii_lowercase()),
        (Function::UpperAscii, None) => Value::text(text.to_ascii_uppercase()),
        (Function::Trim, None) => Value::text(text.trim()),
        (Function::Split, Some(separator)) => split(&text, separator, steps)?,
        _ => return Err(wrong(values)),
    })
}

fn size(value: &Value) -> Option<Value> {
    let (length, open) = match value {
        Value::Text(text) => (text.chars().count(), None),
        Value::List(list) => (list.items.len(), list.open),
        Value::Map(map) => (map.entries.len(), map.open),
        _ => return None,
    };
    Some(match open {
        Some(needs) => Value::unknown(needs),
        None => Value::Whole(i64::try_from(length).unwrap_or(i64::MAX)),
    })
}

fn int(value: &Value) -> Option<Result<Value, EvaluationError>> {
    let converted = match value {
        Value::Whole(number) => Some(*number),
        Value::Number(number) => whole(number.trunc()),
        Value::Text(text) => text.parse().ok(),
        _ => return None,
    };
    Some(converted.map(Value::Whole).ok_or(EvaluationError::Converted("whole number")))
}

fn double(value: &Value) -> Option<Result<Value, EvaluationError>> {
    let converted = match value {
        #[expect(clippy::cast_precision_loss, reason = "CEL rounds here")]
        Value::Whole(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => return None,
    };
    Some(converted.map(Value::Number).ok_or(EvaluationError::Converted("number")))
}

/// Without a separator each character is a part.
fn split(text: &str, separator: &str, steps: &mut Steps) -> Result<Value, EvaluationError> {
    let mut parts: Vec<Value> = Vec::new();
    let mut add = |part: &str, steps: &mut Steps| {
        steps.spend(1)?;
        if parts.len() == CONDITION_ITEMS_MAX {
            return Err(EvaluationError::TooManyItems);
        }
        parts.push(Value::text(part));
        Ok(())
    };
    if separator.is_empty() {
        for (at, part) in text.char_indices() {
            add(&text[at..at + part.len_utf8()], steps)?;
        }
    } else {
        for part in text.split(separator) {
            add(part, steps)?;
        }
    }
    Ok(Value::list(parts))
}
