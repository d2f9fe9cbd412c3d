//! Reads and evaluates the expressions of runbook files, a part of CEL. Owns the grammar. Face:
//! `Expression`, `Template`. Never loops: what an expression costs is bounded by its length, its
//! depth and the length of the texts that it makes.

mod parse;

use std::cmp::Ordering;
use std::fmt;

use crate::base::limits::RUNBOOK_TEXT_CHARS_MAX;
use crate::domain::runbooks::Argument;

/// What a name such as `steps.drain.outcome` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(pub Vec<String>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Why an expression is none, and after how many of its characters that shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong.
    pub message: String,
    /// Characters before the place.
    pub at: usize,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// Nothing has this name by now.
    #[error("`{0}` has no value here")]
    NoValue(String),
    /// The operator does not take these.
    #[error("`{operator}` does not take {left} and {right}")]
    Types {
        /// The operator.
        operator: &'static str,
        /// Its left side.
        left: &'static str,
        /// Its right side.
        right: &'static str,
    },
    /// The number is too large.
    #[error("the number is too large")]
    Overflow,
    /// The text is too long.
    #[error("the text has more than {RUNBOOK_TEXT_CHARS_MAX} characters")]
    TooLong,
    /// A condition is something else than true or false.
    #[error("it must be true or false, not {0}")]
    NotACondition(&'static str),
}

/// What stands between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    Differs,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Plus,
    Minus,
}

impl Operator {
    const fn text(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::Differs => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Plus => "+",
            Self::Minus => "-",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Value(Argument),
    Name(Path),
    /// `has(steps.look.revision)`
    Has(Path),
    Not(Box<Node>),
    Both(Operator, Box<Node>, Box<Node>),
    /// `x in ['a', 'b']`
    In(Box<Node>, Vec<Node>),
}

/// Something that has a value when its names have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    root: Node,
}

/// What names stand for.
pub trait Names {
    /// The value of a name; none when it has none now.
    fn value(&self, path: &Path) -> Option<Argument>;
}

impl Expression {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or larger than one may be.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        parse::expression(text).map(|root| Self { root })
    }

    /// The names in it, in their order.
    pub fn names(&self) -> Vec<&Path> {
        let mut names = Vec::new();
        collect(&self.root, &mut names);
        names
    }

    /// Its value.
    ///
    /// # Errors
    /// When a name has none, or an operator does not take what it is given.
    pub fn evaluate(&self, names: &dyn Names) -> Result<Argument, EvaluationError> {
        value(&self.root, names)
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// The same, and when it is neither true nor false.
    pub fn holds(&self, names: &dyn Names) -> Result<bool, EvaluationError> {
        truth(&self.root, names)
    }
}

fn collect<'a>(node: &'a Node, names: &mut Vec<&'a Path>) {
    match node {
        Node::Value(_) => {}
        Node::Name(path) | Node::Has(path) => names.push(path),
        Node::Not(inner) => collect(inner, names),
        Node::Both(_, left, right) => {
            collect(left, names);
            collect(right, names);
        }
        Node::In(left, items) => {
            collect(left, names);
            items.iter().for_each(|item| collect(item, names));
        }
    }
}

/// The kind of a value, for people.
pub(super) const fn kind(value: &Argument) -> &'static str {
    match value {
        Argument::YesNo(_) => "a truth value",
        Argument::Whole(_) => "a number",
        Argument::Text(_) => "a text",
    }
}

fn truth(node: &Node, names: &dyn Names) -> Result<bool, EvaluationError> {
    match value(node, names)? {
        Argument::YesNo(holds) => Ok(holds),
        other => Err(EvaluationError::NotACondition(kind(&other))),
    }
}

fn value(node: &Node, names: &dyn Names) -> Result<Argument, EvaluationError> {
    Ok(match node {
        Node::Value(value) => value.clone(),
        Node::Name(path) => {
            names.value(path).ok_or_else(|| EvaluationError::NoValue(path.to_string()))?
        }
        Node::Has(path) => Argument::YesNo(names.value(path).is_some()),
        Node::Not(inner) => Argument::YesNo(!truth(inner, names)?),
        // What decides already leaves the rest alone.
        Node::Both(Operator::And, left, right) => {
            Argument::YesNo(truth(left, names)? && truth(right, names)?)
        }
        Node::Both(Operator::Or, left, right) => {
            Argument::YesNo(truth(left, names)? || truth(right, names)?)
        }
        Node::Both(operator, left, right) => {
            both(*operator, value(left, names)?, value(right, names)?)?
        }
        Node::In(left, items) => {
            let wanted = value(left, names)?;
            let mut is_in = false;
            for item in items {
                is_in = is_in || value(item, names)? == wanted;
            }
            Argument::YesNo(is_in)
        }
    })
}

fn both(operator: Operator, left: Argument, right: Argument) -> Result<Argument, EvaluationError> {
    use Argument::{Text, Whole, YesNo};
    let wrong = EvaluationError::Types {
        operator: operator.text(),
        left: kind(&left),
        right: kind(&right),
    };
    let order = |expected: fn(Ordering) -> bool| match (&left, &right) {
        (Whole(left), Whole(right)) => Ok(YesNo(expected(left.cmp(right)))),
        (Text(left), Text(right)) => Ok(YesNo(expected(left.cmp(right)))),
        _ => Err(wrong.clone()),
    };
    match operator {
        // Values of two kinds are never equal; asking so is a mistake that nobody would notice.
        Operator::Equal | Operator::Differs if kind(&left) != kind(&right) => Err(wrong),
        Operator::Equal => Ok(YesNo(left == right)),
        Operator::Differs => Ok(YesNo(left != right)),
        Operator::Less => order(Ordering::is_lt),
        Operator::AtMost => order(Ordering::is_le),
        Operator::Greater => order(Ordering::is_gt),
        Operator::AtLeast => order(Ordering::is_ge),
        Operator::Plus => match (left, right) {
            (Whole(left), Whole(right)) => {
                left.checked_add(right).map(Whole).ok_or(EvaluationError::Overflow)
            }
            (Text(left), Text(right)) => bounded(left + &right).map(Text),
            _ => Err(wrong),
        },
        Operator::Minus => match (left, right) {
            (Whole(left), Whole(right)) => {
                left.checked_sub(right).map(Whole).ok_or(EvaluationError::Overflow)
            }
            _ => Err(wrong),
        },
        Operator::And | Operator::Or => Err(wrong),
    }
}

fn bounded(text: String) -> Result<String, EvaluationError> {
    match text.chars().count() > RUNBOOK_TEXT_CHARS_MAX {
        true => Err(EvaluationError::TooLong),
        false => Ok(text),
    }
}

/// A text with expressions in it: `web-${{ params.color }}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Expression),
}

/// What begins an expression in a text, and what ends it.
const MARKS: (&str, &str) = ("${{", "}}");

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// When an expression in it is none, or has no end.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let (mut parts, mut rest, mut at) = (Vec::new(), text, 0);
        while let Some((before, after)) = rest.split_once(MARKS.0) {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let begin = at + before.chars().count() + MARKS.0.len();
            let Some((inner, left)) = after.split_once(MARKS.1) else {
                let message = format!("`{}` has no `{}`", MARKS.0, MARKS.1);
                return Err(ExpressionError { message, at: begin - MARKS.0.len() });
            };
            let expression = Expression::parse(inner)
                .map_err(|error| ExpressionError { at: begin + error.at, ..error })?;
            parts.push(Part::Value(expression));
            at = begin + inner.chars().count() + MARKS.1.len();
            rest = left;
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The names in it.
    pub fn names(&self) -> Vec<&Path> {
        let expressions = self.parts.iter().filter_map(|part| match part {
            Part::Value(expression) => Some(expression),
            Part::Text(_) => None,
        });
        expressions.flat_map(Expression::names).collect()
    }

    /// The text, when there is no expression in it.
    pub fn literal(&self) -> Option<&str> {
        match &self.parts[..] {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its value: of the kind that a single expression has, else a text.
    ///
    /// # Errors
    /// When one of its expressions has none, or the text gets too long.
    pub fn evaluate(&self, names: &dyn Names) -> Result<Argument, EvaluationError> {
        if let [Part::Value(only)] = &self.parts[..] {
            return only.evaluate(names);
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value(expression) => {
                    text.push_str(&expression.evaluate(names)?.to_string());
                }
            }
            text = bounded(text)?;
        }
        Ok(Argument::Text(text))
    }
}
