//! Conditions of policies: expressions in CEL, the Common Expression Language, over the one object
//! of `document`. Owns the language: words, tree, shapes, values, evaluation and what each of these
//! may cost. Face: `Condition`, `Outcome`, `Steps`, `Shape`, `Field`, `Value`. Never goes deeper,
//! longer or larger than `base::limits` says, whatever it is given, and never takes what is not
//! known for true or false.

mod evaluate;
mod functions;
mod parse;
mod resolve;
mod rows;
mod shape;
#[cfg(test)]
mod tests;
mod value;
mod words;

use std::collections::BTreeSet;

pub use evaluate::{EvaluationError, Steps};
pub use shape::{Field, Shape};
pub use value::{Key, List, Map, Value};

use resolve::Node;

/// A condition, ready to be evaluated.
#[derive(Debug)]
pub struct Condition {
    text: String,
    tree: Node,
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where: so many characters from the beginning of the text.
    pub at: usize,
    /// What to do about it.
    pub help: Option<String>,
}

impl ConditionError {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), at, help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What a condition came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds, or it does not.
    Known(bool),
    /// It depends on facts that are not known here.
    Unknown(BTreeSet<&'static str>),
}

impl Condition {
    /// Reads a condition over an object with these fields.
    ///
    /// # Errors
    /// When it is not CEL, passes a limit, names a field that there is not, or is neither true nor
    /// false.
    pub fn compile(text: &str, root: &'static [Field]) -> Result<Self, ConditionError> {
        let tree = resolve::resolve(&parse::parse(text)?, root)?;
        Ok(Self { text: text.to_owned(), tree })
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Judges an object, whose fields are those that the condition was compiled for.
    ///
    /// # Errors
    /// When it needs more steps than there are, or has no value: a number that is divided by zero,
    /// for instance.
    pub fn evaluate(&self, root: &Value, steps: &mut Steps) -> Result<Outcome, EvaluationError> {
        match evaluate::evaluate(&self.tree, root, steps)? {
            Value::YesNo(holds) => Ok(Outcome::Known(holds)),
            Value::Unknown(needs) => Ok(Outcome::Unknown((*needs).clone())),
            other => Err(EvaluationError::NotACondition(other.kind())),
        }
    }
}
