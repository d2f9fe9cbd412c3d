//! The values of conditions. Owns equality, order and what is partly known. Face: `Value`, `List`,
//! `Map`, `Key`. Never copies a list, a map or a text: they are shared.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::evaluate::{EvaluationError, Steps};

/// A value of a condition, or of the object that it judges.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing is declared.
    Null,
    /// True or false.
    YesNo(bool),
    /// A whole number.
    Whole(i64),
    /// A number with a fraction.
    Number(f64),
    /// A text.
    Text(Arc<str>),
    /// A list.
    List(Arc<List>),
    /// A map, or an object.
    Map(Arc<Map>),
    /// It depends on these facts, which are not known here.
    Unknown(Arc<BTreeSet<&'static str>>),
}

/// A list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct List {
    /// What is known to be in it.
    pub items: Vec<Value>,
    /// The fact on which depends what else is in it.
    pub open: Option<&'static str>,
}

/// A map or an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// What is known to be in it.
    pub entries: BTreeMap<Key, Value>,
    /// The fact on which depends what else is in it.
    pub open: Option<&'static str>,
    /// An object, whose fields are always there: one that is null or empty counts as not declared.
    pub is_object: bool,
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// True or false.
    YesNo(bool),
    /// A whole number.
    Whole(i64),
    /// A text.
    Text(Arc<str>),
}

impl Key {
    /// A key that is a text.
    pub fn text(text: &str) -> Self {
        Self::Text(Arc::from(text))
    }

    /// The key for people: the beginning of a long one.
    pub(super) fn shown(&self) -> String {
        const CHARS: usize = 100;
        match self {
            Self::YesNo(value) => value.to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Text(text) => text.chars().take(CHARS).collect(),
        }
    }

    /// The key as a value.
    pub fn value(&self) -> Value {
        match self {
            Self::YesNo(value) => Value::YesNo(*value),
            Self::Whole(number) => Value::Whole(*number),
            Self::Text(text) => Value::Text(Arc::clone(text)),
        }
    }
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    /// A list of which everything is known.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(Arc::new(List { items: items.into_iter().collect(), open: None }))
    }

    /// What depends on one fact.
    pub fn unknown(needs: &'static str) -> Self {
        Self::Unknown(Arc::new(BTreeSet::from([needs])))
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::YesNo(_) => "a truth value",
            Self::Whole(_) => "a whole number",
            Self::Number(_) => "a number with a fraction",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(map) if map.is_object => "an object",
            Self::Map(_) => "a map",
            Self::Unknown(_) => "not known",
        }
    }

    /// The key that it is, if it can be one.
    pub(super) fn key(&self) -> Option<Key> {
        match self {
            Self::YesNo(value) => Some(Key::YesNo(*value)),
            Self::Whole(number) => Some(Key::Whole(*number)),
            Self::Text(text) => Some(Key::Text(Arc::clone(text))),
            // As in CEL, a number without a fraction is the whole number.
            Self::Number(number) => whole(*number).map(Key::Whole),
            _ => None,
        }
    }

    /// Whether something is declared: nothing, and what is empty, is not.
    pub(super) fn is_declared(&self) -> Self {
        match self {
            Self::Null => Self::YesNo(false),
            Self::List(list) => emptiness(list.items.is_empty(), list.open),
            Self::Map(map) if !map.is_object => emptiness(map.entries.is_empty(), map.open),
            Self::Unknown(_) => self.clone(),
            _ => Self::YesNo(true),
        }
    }
}

fn emptiness(is_empty: bool, open: Option<&'static str>) -> Value {
    match open {
        Some(needs) if is_empty => Value::unknown(needs),
        _ => Value::YesNo(!is_empty),
    }
}

/// The whole number that a number is.
pub(super) fn whole(number: f64) -> Option<i64> {
    const LARGEST: f64 = 9_223_372_036_854_775_808.0;
    let fits = number.fract() == 0.0 && (-LARGEST..LARGEST).contains(&number);
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and fits")]
    fits.then_some(number as i64)
}

/// Whether two values are equal: true, false, or unknown. Values of two kinds differ, numbers apart.
pub(super) fn equal(
    left: &Value,
    right: &Value,
    steps: &mut Steps,
) -> Result<Value, EvaluationError> {
    steps.spend(1)?;
    Ok(match (left, right) {
        (Value::Unknown(left), Value::Unknown(right)) => {
            Value::Unknown(Arc::new(left.union(right).copied().collect()))
        }
        (Value::Unknown(needs), _) | (_, Value::Unknown(needs)) => {
            Value::Unknown(Arc::clone(needs))
        }
        (Value::List(left), Value::List(right)) => {
            let open: Vec<&'static str> = left.open.into_iter().chain(right.open).collect();
            // What is not known of a list may stand anywhere in it.
            if !open.is_empty() {
                return Ok(Value::Unknown(Arc::new(open.into_iter().collect())));
            }
            if left.items.len() != right.items.len() {
                return Ok(Value::YesNo(false));
            }
            all_equal(left.items.iter().zip(&right.items), BTreeSet::new(), steps)?
        }
        (Value::Map(left), Value::Map(right)) => {
            let shared = left
                .entries
                .iter()
                .filter_map(|(key, value)| right.entries.get(key).map(|other| (value, other)));
            let shared: Vec<_> = shared.collect();
            let is_missing = |of: &Map, length| of.open.is_none() && shared.len() < length;
            // A key that only one of them has, and that the other cannot have.
            if is_missing(right, left.entries.len()) || is_missing(left, right.entries.len()) {
                return Ok(Value::YesNo(false));
            }
            let open = left.open.into_iter().chain(right.open).collect();
            all_equal(shared.into_iter(), open, steps)?
        }
        (Value::Text(left), Value::Text(right)) => {
            steps.spend_on(left.len().min(right.len()))?;
            Value::YesNo(left == right)
        }
        _ => Value::YesNo(order(left, right) == Some(Ordering::Equal) || both_null(left, right)),
    })
}

fn both_null(left: &Value, right: &Value) -> bool {
    matches!((left, right), (Value::Null, Value::Null))
}

fn all_equal<'a>(
    pairs: impl Iterator<Item = (&'a Value, &'a Value)>,
    mut needs: BTreeSet<&'static str>,
    steps: &mut Steps,
) -> Result<Value, EvaluationError> {
    for (left, right) in pairs {
        match equal(left, right, steps)? {
            Value::YesNo(true) => {}
            Value::Unknown(more) => needs.extend(more.iter()),
            _ => return Ok(Value::YesNo(false)),
        }
    }
    Ok(if needs.is_empty() { Value::YesNo(true) } else { Value::Unknown(Arc::new(needs)) })
}

/// How two values stand to each other; none for values of kinds that have no order.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::YesNo(left), Value::YesNo(right)) => Some(left.cmp(right)),
        (Value::Whole(left), Value::Whole(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.partial_cmp(right),
        (Value::Whole(left), Value::Number(right)) => compare(*left, *right),
        (Value::Number(left), Value::Whole(right)) => compare(*right, *left).map(Ordering::reverse),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Compares without rounding: a whole number past 2^53 is not every number near it.
fn compare(whole: i64, number: f64) -> Option<Ordering> {
    const LARGEST: f64 = 9_223_372_036_854_775_808.0;
    if number.is_nan() {
        return None;
    }
    if number >= LARGEST {
        return Some(Ordering::Less);
    }
    if number < -LARGEST {
        return Some(Ordering::Greater);
    }
    #[expect(clippy::cast_possible_truncation, reason = "it fits, and the fraction is looked at")]
    let below = number.floor() as i64;
    let has_fraction = number.fract() != 0.0;
    Some(whole.cmp(&below).then(if has_fraction { Ordering::Less } else { Ordering::Equal }))
}
