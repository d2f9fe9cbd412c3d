//! Checks what a runbook is told. Owns the kinds of parameters. Face: `Parameter`, `Arguments`.
//! Never lets an argument pass that no parameter names.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// Yes or no.
    YesNo(bool),
    /// A whole number.
    Whole(i64),
    /// A text.
    Text(String),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::YesNo(value) => value.fmt(f),
            Self::Whole(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// What a runbook is told, by parameter.
pub type Arguments = BTreeMap<String, Argument>;

/// What a parameter takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// A text.
    Text {
        /// Most characters.
        chars_max: usize,
    },
    /// A whole number.
    Whole {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// Yes or no.
    YesNo,
    /// One of a few texts.
    Choice {
        /// Which.
        words: Vec<String>,
    },
}

/// Something that a runbook can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: Cow<'static, str>,
    /// For people: what it means.
    pub label: Cow<'static, str>,
    /// What it takes.
    #[serde(flatten)]
    pub kind: Kind,
    /// Its value when nothing is said; absent then, when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Argument>,
    /// Whether it must be said.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_needed: bool,
}

/// An argument that a runbook does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// No parameter has this name.
    #[error("there is no parameter {name:?}; known are {known}")]
    Unknown {
        /// What was given.
        name: String,
        /// What there is.
        known: String,
    },
    /// The value does not fit.
    #[error("parameter {name} takes {wanted}, not {given:?}")]
    Wrong {
        /// The parameter.
        name: String,
        /// What it takes.
        wanted: String,
        /// What was given.
        given: String,
    },
    /// It must be said, and was not.
    #[error("parameter {name} is needed: {wanted}")]
    Missing {
        /// The parameter.
        name: String,
        /// What it takes.
        wanted: String,
    },
}

impl Kind {
    /// The value, when it is of this kind and within its bounds.
    pub(super) fn read_exact(&self, given: &Argument) -> Option<Argument> {
        let fits = match (self, given) {
            (Self::Text { chars_max }, Argument::Text(text)) => text.chars().count() <= *chars_max,
            (Self::Whole { min, max }, Argument::Whole(number)) => (min..=max).contains(&number),
            (Self::Choice { words }, Argument::Text(text)) => words.contains(text),
            (Self::YesNo, Argument::YesNo(_)) => true,
            _ => false,
        };
        fits.then(|| given.clone())
    }

    /// The same for a value that may be written as text: a command line gives texts.
    fn read(&self, given: &Argument) -> Option<Argument> {
        match (self, given) {
            (Self::Whole { .. }, Argument::Text(text)) => {
                self.read_exact(&Argument::Whole(text.parse().ok()?))
            }
            (Self::YesNo, Argument::Text(text)) => Some(Argument::YesNo(text.parse().ok()?)),
            _ => self.read_exact(given),
        }
    }

    /// What it takes, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Text { chars_max } => format!("a text of at most {chars_max} characters"),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::YesNo => "true or false".to_owned(),
            Self::Choice { words } => format!("one of {}", words.join(", ")),
        }
    }
}

/// The arguments, checked, with the defaults of what was not said.
pub(super) fn complete(
    parameters: &[Parameter],
    given: &Arguments,
) -> Result<Arguments, ParameterError> {
    let known = |name: &str| parameters.iter().any(|parameter| parameter.name == name);
    if let Some(name) = given.keys().find(|name| !known(name)) {
        let names: Vec<&str> = parameters.iter().map(|parameter| &*parameter.name).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(ParameterError::Unknown { name: name.clone(), known });
    }
    let mut complete = Arguments::new();
    for parameter in parameters {
        let (name, wanted) = (parameter.name.to_string(), parameter.kind.words());
        let value = match given.get(&*parameter.name) {
            Some(given) => match parameter.kind.read(given) {
                Some(value) => Some(value),
                None => {
                    let given = given.to_string();
                    return Err(ParameterError::Wrong { name, wanted, given });
                }
            },
            None if parameter.is_needed => return Err(ParameterError::Missing { name, wanted }),
            None => parameter.default.clone(),
        };
        complete.extend(value.map(|value| (name, value)));
    }
    Ok(complete)
}
