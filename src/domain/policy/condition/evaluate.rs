//! Evaluates a condition. Owns CEL's rules of evaluation, what becomes of what is not known, and the
//! steps that all of it costs. Face: `evaluate`, `Steps`, `EvaluationError`. Never goes on without
//! steps: each part costs one, and what grows costs more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::functions;
use super::parse::{LoopKind, Operator};
use super::resolve::Node;
use super::rows::{End, Made, Row};
use super::value::{Key, List, Map, Value, equal, order};
use crate::base::limits::{
    CONDITION_ITEMS_MAX, CONDITION_MATCHED_BYTES_MAX, CONDITION_STEPS_ALL_MAX, CONDITION_STEPS_MAX,
    CONDITION_TEXT_BYTES_MAX,
};

/// Why a condition has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It is too expensive.
    #[error("it needs more than {CONDITION_STEPS_MAX} steps")]
    OutOfSteps,
    /// All conditions of one service are, together.
    #[error("the conditions of this service need more than {CONDITION_STEPS_ALL_MAX} steps")]
    OutOfAllSteps,
    /// A text gets too long.
    #[error("a text gets longer than {CONDITION_TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// A text is too long for a pattern.
    #[error("a text for `matches` has more than {CONDITION_MATCHED_BYTES_MAX} bytes")]
    TooLongToMatch,
    /// A list gets too long.
    #[error("a list gets longer than {CONDITION_ITEMS_MAX} items")]
    TooManyItems,
    /// An operator does not work on these values.
    #[error("`{operator}` does not work on {kinds}")]
    Operands {
        /// The operator.
        operator: &'static str,
        /// What the values are.
        kinds: String,
    },
    /// A function does not work on these values.
    #[error("`{function}` does not work on {kinds}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// What the values are.
        kinds: String,
    },
    /// A text or a number is not what it was to be converted to.
    #[error("a value is no {0}")]
    Converted(&'static str),
    /// A number gets too large.
    #[error("a number gets too large")]
    Overflow,
    /// A number is divided by zero.
    #[error("a number is divided by zero")]
    DividedByZero,
    /// A map has no such key.
    #[error("there is no `{0}`")]
    NoKey(String),
    /// A list has no such item.
    #[error("there is no item {0}")]
    NoItem(i64),
    /// It is neither true nor false.
    #[error("a condition is true or false, this is {0}")]
    NotACondition(&'static str),
}

impl EvaluationError {
    /// Whether nothing else can make up for it: it is no property of a value.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::OutOfSteps | Self::OutOfAllSteps)
    }
}

/// How much may still be evaluated: of one condition, and of all that judge one subject.
#[derive(Debug, Clone)]
pub struct Steps {
    left: u64,
    left_of_all: u64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { left: CONDITION_STEPS_MAX, left_of_all: CONDITION_STEPS_ALL_MAX }
    }
}

impl Steps {
    /// Begins another condition.
    pub fn begin(&mut self) {
        self.left = CONDITION_STEPS_MAX;
    }

    /// Takes some.
    pub(super) fn spend(&mut self, count: u64) -> Result<(), EvaluationError> {
        self.left = self.left.checked_sub(count).ok_or(EvaluationError::OutOfSteps)?;
        self.left_of_all =
            self.left_of_all.checked_sub(count).ok_or(EvaluationError::OutOfAllSteps)?;
        Ok(())
    }

    /// Takes as many as so many bytes cost.
    pub(super) fn spend_on(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        const BYTES_PER_STEP: usize = 32;
        self.spend(u64::try_from(bytes / BYTES_PER_STEP).unwrap_or(u64::MAX))
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

pub(super) type Evaluated = Result<Value, EvaluationError>;

/// The value of a condition.
pub(super) fn evaluate(node: &Node, root: &Value, steps: &mut Steps) -> Evaluated {
    Evaluation { root, items: Vec::new(), steps }.value(node)
}

struct Evaluation<'a> {
    root: &'a Value,
    items: Vec<Value>,
    steps: &'a mut Steps,
}

impl Evaluation<'_> {
    fn value(&mut self, node: &Node) -> Evaluated {
        self.steps.spend(1)?;
        match node {
            Node::Value(value) => Ok(value.clone()),
            Node::Root(field) => select(self.root, field),
            Node::Item(slot) => Ok(self.items.get(*slot).cloned().unwrap_or(Value::Null)),
            Node::Select(of, field) => select(&self.value(of)?, field),
            Node::Has(of, field) => has(&self.value(of)?, field),
            Node::Index(of, index) => {
                let (of, index) = (self.value(of)?, self.value(index)?);
                item(&of, &index)
            }
            Node::Not(of) => match self.value(of)? {
                Value::YesNo(value) => Ok(Value::YesNo(!value)),
                Value::Unknown(needs) => Ok(Value::Unknown(needs)),
                other => Err(operands("!", &[&other])),
            },
            Node::Negative(of) => match self.value(of)? {
                Value::Whole(number) => {
                    number.checked_neg().map(Value::Whole).ok_or(EvaluationError::Overflow)
                }
                Value::Number(number) => Ok(Value::Number(-number)),
                Value::Unknown(needs) => Ok(Value::Unknown(needs)),
                other => Err(operands("-", &[&other])),
            },
            Node::All(parts) => self.row(parts, false),
            Node::Any(parts) => self.row(parts, true),
            Node::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                match self.value(condition)? {
                    Value::YesNo(true) => self.value(yes),
                    Value::YesNo(false) => self.value(no),
                    Value::Unknown(needs) => Ok(Value::Unknown(needs)),
                    other => Err(operands("?", &[&other])),
                }
            }
            Node::Both(operator, parts) => self.both(*operator, &parts[0], &parts[1]),
            Node::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|it| self.value(it)).collect();
                let items = items?;
                // What one of them comes to may be no value at all: nothing is known of the list.
                let unknown = merged(&items.iter().collect::<Vec<_>>());
                Ok(unknown.unwrap_or_else(|| Value::list(items)))
            }
            Node::Map(entries) => self.map(entries),
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Matches(of, pattern) => self.matches(of, pattern),
            Node::Loop { kind, range, filter, body } => {
                self.each(*kind, range, filter.as_deref(), body)
            }
        }
    }

    /// `&&` and `||`: what decides makes up for what is not known, and for what has no value.
    fn row(&mut self, parts: &[Node], decides: bool) -> Evaluated {
        let mut row = Row::new(decides);
        for part in parts {
            let value = self.value(part);
            if let Some(decided) = row.take(value)? {
                return Ok(decided);
            }
        }
        row.end()
    }

    fn both(&mut self, operator: Operator, left: &Node, right: &Node) -> Evaluated {
        let (left, right) = (self.value(left)?, self.value(right)?);
        match operator {
            Operator::Equal => return equal(&left, &right, self.steps),
            Operator::Differs => {
                return Ok(match equal(&left, &right, self.steps)? {
                    Value::YesNo(value) => Value::YesNo(!value),
                    other => other,
                });
            }
            Operator::In => return self.is_in(&left, &right),
            _ => {}
        }
        if let Some(unknown) = merged(&[&left, &right]) {
            return Ok(unknown);
        }
        let wrong = || operands(operator.text(), &[&left, &right]);
        match operator {
            Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast => {
                if let (Value::Text(left), Value::Text(right)) = (&left, &right) {
                    self.steps.spend_on(left.len().min(right.len()))?;
                }
                let is_nan = |it: &Value| matches!(it, Value::Number(number) if number.is_nan());
                let Some(order) = order(&left, &right) else {
                    // A number that is none stands in no order to any.
                    let no_order = is_nan(&left) || is_nan(&right);
                    return if no_order { Ok(Value::YesNo(false)) } else { Err(wrong()) };
                };
                Ok(Value::YesNo(match operator {
                    Operator::Less => order.is_lt(),
                    Operator::AtMost => order.is_le(),
                    Operator::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }))
            }
            _ => self.reckon(operator, &left, &right),
        }
    }

    fn reckon(&mut self, operator: Operator, left: &Value, right: &Value) -> Evaluated {
        match (left, right) {
            (Value::Whole(left), Value::Whole(right)) => whole(operator, *left, *right),
            (Value::Number(left), Value::Number(right)) if operator != Operator::Remainder => {
                Ok(Value::Number(match operator {
                    Operator::Plus => left + right,
                    Operator::Minus => left - right,
                    Operator::Times => left * right,
                    _ => left / right,
                }))
            }
            (Value::Text(left), Value::Text(right)) if operator == Operator::Plus => {
                let length = left.len() + right.len();
                if length > CONDITION_TEXT_BYTES_MAX {
                    return Err(EvaluationError::TooLong);
                }
                self.steps.spend_on(length)?;
                Ok(Value::text(format!("{left}{right}")))
            }
            (Value::List(left), Value::List(right)) if operator == Operator::Plus => {
                let length = left.items.len() + right.items.len();
                if length > CONDITION_ITEMS_MAX {
                    return Err(EvaluationError::TooManyItems);
                }
                self.steps.spend(u64::try_from(length).unwrap_or(u64::MAX))?;
                let items = left.items.iter().chain(&right.items).cloned().collect();
                Ok(Value::List(Arc::new(List { items, open: left.open.or(right.open) })))
            }
            _ => Err(operands(operator.text(), &[left, right])),
        }
    }

    fn is_in(&mut self, left: &Value, right: &Value) -> Evaluated {
        // It may come to no value at all: not even an empty list says that it is not in it.
        if let (Value::Unknown(_), Some(unknown)) = (left, merged(&[left, right])) {
            return Ok(unknown);
        }
        match right {
            Value::List(list) => {
                let mut row = Row::new(true);
                for item in &list.items {
                    let same = equal(left, item, self.steps);
                    if let Some(decided) = row.take(same)? {
                        return Ok(decided);
                    }
                }
                row.open(list.open);
                row.end()
            }
            Value::Map(map) if !map.is_object => {
                let Some(key) = left.key() else { return Ok(Value::YesNo(false)) };
                match (map.entries.contains_key(&key), map.open) {
                    (false, Some(needs)) => Ok(Value::unknown(needs)),
                    (is_in, _) => Ok(Value::YesNo(is_in)),
                }
            }
            _ => match merged(&[left, right]) {
                Some(unknown) => Ok(unknown),
                None => Err(operands("in", &[left, right])),
            },
        }
    }

    fn map(&mut self, nodes: &[(Node, Node)]) -> Evaluated {
        let mut entries = BTreeMap::new();
        let mut needs = BTreeSet::new();
        for (key, value) in nodes {
            match (self.value(key)?, self.value(value)?) {
                (Value::Unknown(of_key), Value::Unknown(of_value)) => {
                    needs.extend(of_key.iter().chain(of_value.iter()));
                }
                (Value::Unknown(more), _) | (_, Value::Unknown(more)) => needs.extend(more.iter()),
                (key, value) => {
                    let key = key.key().ok_or_else(|| operands("{}", &[&key]))?;
                    entries.insert(key, value);
                }
            }
        }
        if !needs.is_empty() {
            return Ok(Value::Unknown(Arc::new(needs)));
        }
        Ok(Value::Map(Arc::new(Map { entries, open: None, is_object: false })))
    }

    fn call(&mut self, function: functions::Function, arguments: &[Node]) -> Evaluated {
        let values: Result<Vec<_>, _> = arguments.iter().map(|it| self.value(it)).collect();
        let values = values?;
        match merged(&values.iter().collect::<Vec<_>>()) {
            Some(unknown) => Ok(unknown),
            None => functions::call(function, &values, self.steps),
        }
    }

    fn matches(&mut self, of: &Node, pattern: &regex::bytes::Regex) -> Evaluated {
        match self.value(of)? {
            Value::Text(text) => {
                if text.len() > CONDITION_MATCHED_BYTES_MAX {
                    return Err(EvaluationError::TooLongToMatch);
                }
                // At worst each byte meets each place of the pattern.
                self.steps.spend_on(text.len() * pattern.as_str().len())?;
                Ok(Value::YesNo(pattern.is_match(text.as_bytes())))
            }
            Value::Unknown(needs) => Ok(Value::Unknown(needs)),
            other => Err(EvaluationError::Arguments {
                function: "matches",
                kinds: other.kind().to_owned(),
            }),
        }
    }

    fn each(
        &mut self,
        kind: LoopKind,
        range: &Node,
        filter: Option<&Node>,
        body: &Node,
    ) -> Evaluated {
        let range = self.value(range)?;
        let (items, open) = match &range {
            Value::List(list) => (Arc::clone(list), list.open),
            Value::Map(map) if !map.is_object => {
                self.steps.spend(u64::try_from(map.entries.len()).unwrap_or(u64::MAX))?;
                let items = map.entries.keys().map(Key::value).collect();
                (Arc::new(List { items, open: None }), map.open)
            }
            Value::Unknown(_) => return Ok(range),
            other => {
                let function = "a loop";
                let kinds = other.kind().to_owned();
                return Err(EvaluationError::Arguments { function, kinds });
            }
        };
        let mut end = End::new(kind);
        for item in &items.items {
            self.items.push(item.clone());
            let made = self.one(kind, filter, body, item);
            self.items.pop();
            if let Some(decided) = end.take(made)? {
                return Ok(decided);
            }
        }
        end.end(open)
    }

    /// What one item makes.
    fn one(
        &mut self,
        kind: LoopKind,
        filter: Option<&Node>,
        body: &Node,
        item: &Value,
    ) -> Result<Made, EvaluationError> {
        let condition = if kind == LoopKind::Filter { Some(body) } else { filter };
        if let Some(condition) = condition {
            match self.value(condition)? {
                Value::YesNo(true) => {}
                Value::YesNo(false) => return Ok(Made::Nothing),
                Value::Unknown(needs) => return Ok(Made::Perhaps(needs)),
                other => return Err(operands("a loop", &[&other])),
            }
        }
        match kind {
            LoopKind::Filter => Ok(Made::Value(item.clone())),
            _ => self.value(body).map(Made::Value),
        }
    }
}

fn whole(operator: Operator, left: i64, right: i64) -> Evaluated {
    let is_division = matches!(operator, Operator::Divided | Operator::Remainder);
    if is_division && right == 0 {
        return Err(EvaluationError::DividedByZero);
    }
    let value = match operator {
        Operator::Plus => left.checked_add(right),
        Operator::Minus => left.checked_sub(right),
        Operator::Times => left.checked_mul(right),
        Operator::Divided => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    value.map(Value::Whole).ok_or(EvaluationError::Overflow)
}

pub(super) fn operands(operator: &'static str, values: &[&Value]) -> EvaluationError {
    let kinds: Vec<&str> = values.iter().map(|value| value.kind()).collect();
    EvaluationError::Operands { operator, kinds: kinds.join(" and ") }
}

/// What is not known of some values, together.
fn merged(values: &[&Value]) -> Option<Value> {
    let needs = values.iter().filter_map(|value| match value {
        Value::Unknown(needs) => Some(needs.iter().copied()),
        _ => None,
    });
    let needs: BTreeSet<&'static str> = needs.flatten().collect();
    (!needs.is_empty()).then(|| Value::Unknown(Arc::new(needs)))
}

fn select(of: &Value, field: &Key) -> Evaluated {
    let missing = || EvaluationError::NoKey(field.shown());
    match of {
        Value::Map(map) => match (map.entries.get(field), map.open) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(needs)) => Ok(Value::unknown(needs)),
            (None, None) => Err(missing()),
        },
        Value::Unknown(_) => Ok(of.clone()),
        // The field of what is not declared is not declared.
        Value::Null => Ok(Value::Null),
        other => Err(operands(".", &[other])),
    }
}

fn has(of: &Value, field: &Key) -> Evaluated {
    match of {
        Value::Map(map) => match (map.entries.get(field), map.open) {
            (Some(value), _) if map.is_object => Ok(value.is_declared()),
            (Some(_), _) => Ok(Value::YesNo(true)),
            (None, Some(needs)) => Ok(Value::unknown(needs)),
            (None, None) => Ok(Value::YesNo(false)),
        },
        Value::Unknown(_) => Ok(of.clone()),
        Value::Null => Ok(Value::YesNo(false)),
        other => Err(operands("has", &[other])),
    }
}

fn item(of: &Value, index: &Value) -> Evaluated {
    if let Some(unknown) = merged(&[of, index]) {
        return Ok(unknown);
    }
    match of {
        Value::List(list) => {
            let Some(Key::Whole(number)) = index.key() else {
                return Err(operands("[]", &[of, index]));
            };
            // What is not known of a list may stand before any of its items.
            if let Some(needs) = list.open {
                return Ok(Value::unknown(needs));
            }
            let found = usize::try_from(number).ok().and_then(|number| list.items.get(number));
            found.cloned().ok_or(EvaluationError::NoItem(number))
        }
        Value::Map(map) => {
            let Some(key) = index.key() else { return Err(operands("[]", &[of, index])) };
            match (map.entries.get(&key), map.open) {
                (Some(value), _) => Ok(value.clone()),
                (None, Some(needs)) => Ok(Value::unknown(needs)),
                (None, None) => Err(EvaluationError::NoKey(key.shown())),
            }
        }
        other => Err(operands("[]", &[other, index])),
    }
}
