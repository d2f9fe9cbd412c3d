//! Replaces variables in text. Owns the grammar `$X ${X} ${X:-d} ${X-d} ${X:?e} ${X?e} ${X:+a}
//! ${X+a} $$`, nested at will. Face: `substitute`, `Variables`. Never reads the environment: the
//! caller gives the variables, and learns which were asked for.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits::{EXPRESSION_DEPTH_MAX, SUBSTITUTED_BYTES_MAX};
use crate::domain::redaction::has_url_password;

/// Why a text cannot be interpolated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SubstituteError {
    /// A `$` that begins nothing.
    #[error("invalid interpolation format near {0:?}")]
    Invalid(String),
    /// `${X:?message}` or `${X?message}` without a value.
    #[error("required variable `{name}` is missing a value: {message}")]
    Missing {
        /// The variable.
        name: String,
        /// What the file says about it.
        message: String,
    },
    /// Nested too deep.
    #[error("the expression is nested more than {EXPRESSION_DEPTH_MAX} levels deep")]
    TooDeep,
    /// The values add up to too much.
    #[error("variables add more than {} MiB", SUBSTITUTED_BYTES_MAX >> 20)]
    TooMuch,
}

/// The variables of a project, and which of them the files asked for.
#[derive(Debug, Default)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
    unset: RefCell<BTreeSet<String>>,
    spent: Cell<usize>,
}

impl Variables {
    /// Variables with these values.
    pub(super) fn new(values: BTreeMap<String, String>) -> Self {
        Self { values, ..Self::default() }
    }

    /// The value of a variable; remembers that it was asked for.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.values.get(name).map(String::as_str)
    }

    /// Sets a variable unless it has a value already.
    pub(super) fn set_default(&mut self, name: String, value: String) {
        self.values.entry(name).or_insert(value);
    }

    /// A copy that records into a list of its own.
    pub(super) fn fork(&self) -> Self {
        Self::new(self.values.clone())
    }

    /// The values alone.
    pub(super) fn into_values(self) -> BTreeMap<String, String> {
        self.values
    }

    /// Sets a variable, whether it has a value or not.
    pub(super) fn set(&mut self, name: String, value: String) {
        self.values.insert(name, value);
    }

    /// Whether a variable has a value; does not count as asking.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Counts what a substitution put into a text.
    fn spend(&self, bytes: usize) -> Result<(), SubstituteError> {
        let spent = self.spent.get().saturating_add(bytes);
        self.spent.set(spent);
        if spent > SUBSTITUTED_BYTES_MAX { Err(SubstituteError::TooMuch) } else { Ok(()) }
    }

    /// Takes over what a copy recorded.
    pub(super) fn join(&self, fork: &Self) {
        self.asked.borrow_mut().extend(fork.asked.borrow().iter().cloned());
    }

    /// Every name that was asked for.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Names that stood for an empty text because nothing set them, since the last call.
    pub(super) fn take_unset(&self) -> BTreeSet<String> {
        self.unset.take()
    }

    fn get_or_blank(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| {
            self.unset.borrow_mut().insert(name.to_owned());
            ""
        })
    }
}

/// Replaces every variable of a text.
///
/// # Errors
/// When a `$` begins no variable, or a required variable has no value.
pub(super) fn substitute(text: &str, variables: &Variables) -> Result<String, SubstituteError> {
    expand(text, variables, 0)
}

/// Does a text with variables give what it stands for by itself: a default, or a password within an
/// address?
pub(super) fn is_given(text: &str) -> bool {
    let nothing = Variables::default();
    match substitute(text, &nothing) {
        Ok(written) if nothing.take_unset().is_empty() => !written.is_empty(),
        Ok(written) => has_url_password(&written),
        Err(_) => false,
    }
}

/// What is left of a text whose variables nobody set.
pub(super) fn without_variables(text: &str) -> String {
    let mut left = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        left.push_str(before);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    left + rest
}

fn expand(text: &str, variables: &Variables, depth: usize) -> Result<String, SubstituteError> {
    if depth > EXPRESSION_DEPTH_MAX {
        return Err(SubstituteError::TooDeep);
    }
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        output.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(next) = after.strip_prefix('$') {
            output.push('$');
            rest = next;
        } else if let Some(braced) = after.strip_prefix('{') {
            let end = closing_brace(braced).ok_or_else(|| invalid(&rest[dollar..]))?;
            let value = braced_value(&braced[..end], variables, depth)?;
            variables.spend(value.len())?;
            output.push_str(&value);
            rest = &braced[end + 1..];
        } else {
            let (name, next) = split_name(after);
            if name.is_empty() {
                return Err(invalid(&rest[dollar..]));
            }
            let value = variables.get_or_blank(name);
            variables.spend(value.len())?;
            output.push_str(value);
            rest = next;
        }
    }
    output.push_str(rest);
    Ok(output)
}

fn invalid(near: &str) -> SubstituteError {
    SubstituteError::Invalid(near.chars().take(40).collect())
}

/// The `}` that ends an expression; only `${` opens another one, as in Docker Compose.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut previous = 0;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'}' => open -= 1,
            b'{' if previous == b'$' => open += 1,
            _ => {}
        }
        if open == 0 {
            return Some(index);
        }
        previous = byte;
    }
    None
}

fn split_name(text: &str) -> (&str, &str) {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let end = if starts {
        text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
    } else {
        0
    };
    text.split_at(end)
}

/// The value of `NAME`, or of `NAME` with an operator and a word.
fn braced_value(
    expression: &str,
    variables: &Variables,
    depth: usize,
) -> Result<String, SubstituteError> {
    let (name, rest) = split_name(expression);
    if name.is_empty() {
        return Err(invalid(&format!("${{{expression}}}")));
    }
    if rest.is_empty() {
        return Ok(variables.get_or_blank(name).to_owned());
    }
    let (empty_counts_as_unset, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let mut characters = rest.chars();
    let operator = characters.next();
    let word = characters.as_str();
    let value = variables.get(name).filter(|value| !(empty_counts_as_unset && value.is_empty()));
    match (operator, value) {
        (Some('-' | '?'), Some(value)) => Ok(value.to_owned()),
        (Some('-'), None) | (Some('+'), Some(_)) => expand(word, variables, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => {
            let message = expand(word, variables, depth + 1)?;
            Err(SubstituteError::Missing { name: name.to_owned(), message })
        }
        _ => Err(invalid(&format!("${{{expression}}}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let pairs = [("A", "a"), ("EMPTY", ""), ("B", "b$c")];
        Variables::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn every_operator_does_what_the_shell_does() {
        let check = |text: &str, expect: &str| {
            assert_eq!(substitute(text, &variables()).as_deref(), Ok(expect), "{text}");
        };
        check("plain", "plain");
        check("$A-${A}.$$A", "a-a.$A");
        check("x${NONE}y$NONE", "xy");
        check("$B", "b$c");
        check("${A:-d}${NONE:-d}${EMPTY:-d}", "add");
        check("${A-d}${NONE-d}${EMPTY-d}", "ad");
        check("${A:+s}${NONE:+s}${EMPTY:+s}", "s");
        check("${A+s}${NONE+s}${EMPTY+s}", "ss");
        check("${A:?e}${EMPTY?e}", "a");
        check("${NONE:-${EMPTY:-${A}}}", "a");
        check("${NONE:-a:b-c?d}", "a:b-c?d");
        check("${NONE:-{x}}", "{x}");
        check("${NONE:-$$}", "$");
        check("${NONE:-}", "");
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, expect: SubstituteError| {
            assert_eq!(substitute(text, &variables()), Err(expect), "{text}");
        };
        let missing = |name: &str, message: &str| SubstituteError::Missing {
            name: name.to_owned(),
            message: message.to_owned(),
        };
        check("${NONE:?set it}", missing("NONE", "set it"));
        check("${EMPTY:?$A}", missing("EMPTY", "a"));
        check("${NONE?}", missing("NONE", ""));
        check("$(date)", SubstituteError::Invalid("$(date)".into()));
        check("a$", SubstituteError::Invalid("$".into()));
        check("${A", SubstituteError::Invalid("${A".into()));
        check("${}", SubstituteError::Invalid("${}".into()));
        check("${A!x}", SubstituteError::Invalid("${A!x}".into()));
        check("${1}", SubstituteError::Invalid("${1}".into()));
        let deep = format!("{}{}", "${N:-".repeat(100), "}".repeat(100));
        check(&deep, SubstituteError::TooDeep);
    }

    #[test]
    fn names_that_were_asked_for_are_known() {
        let variables = variables();
        substitute("$A ${NONE} ${OTHER:-x}", &variables).unwrap();
        assert_eq!(variables.asked().into_iter().collect::<Vec<_>>(), ["A", "NONE", "OTHER"]);
        assert_eq!(variables.take_unset().into_iter().collect::<Vec<_>>(), ["NONE"]);
    }
}
