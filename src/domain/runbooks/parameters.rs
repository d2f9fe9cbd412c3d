//! Checks what a runbook is told. Owns the kinds of parameters. Face: `Parameter`, `Arguments`.
//! Never lets an argument pass that no parameter names.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
}

/// Something that a runbook can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// For people: what it means.
    pub label: &'static str,
    /// What it takes.
    #[serde(flatten)]
    pub kind: Kind,
    /// Its value when nothing is said; absent then, when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Argument>,
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
        name: &'static str,
        /// What it takes.
        wanted: String,
        /// What was given.
        given: String,
    },
}

impl Kind {
    /// The value that it takes, in its own kind: a command line gives texts.
    fn read(self, given: &Argument) -> Option<Argument> {
        match (self, given) {
            (Self::Text { chars_max }, Argument::Text(text)) => {
                (text.chars().count() <= chars_max).then(|| given.clone())
            }
            (Self::Whole { min, max }, Argument::Whole(number)) => {
                (min..=max).contains(number).then(|| given.clone())
            }
            (Self::Whole { .. }, Argument::Text(text)) => {
                self.read(&Argument::Whole(text.parse().ok()?))
            }
            (Self::YesNo, Argument::YesNo(_)) => Some(given.clone()),
            (Self::YesNo, Argument::Text(text)) => Some(Argument::YesNo(text.parse().ok()?)),
            _ => None,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Text { chars_max } => format!("a text of at most {chars_max} characters"),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::YesNo => "true or false".to_owned(),
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
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(ParameterError::Unknown { name: name.clone(), known });
    }
    let mut complete = Arguments::new();
    for parameter in parameters {
        let value = match given.get(parameter.name) {
            Some(given) => {
                Some(parameter.kind.read(given).ok_or_else(|| ParameterError::Wrong {
                    name: parameter.name,
                    wanted: parameter.kind.words(),
                    given: given.to_string(),
                })?)
            }
            None => parameter.default.clone(),
        };
        complete.extend(value.map(|value| (parameter.name.to_owned(), value)));
    }
    Ok(complete)
}
