//! Puts names and labels into requests. Owns what is safe in a request's path. Face: `segment`,
//! `label_filters`, `merged`. Never sends anything.

use std::collections::{BTreeMap, HashMap};

use super::{EngineError, EngineErrorKind};

/// Names go into the path of a request: one that could lead elsewhere is refused.
pub(super) fn segment<'a>(attempt: &str, name: &'a str) -> Result<&'a str, EngineError> {
    let is_odd =
        |c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '%' | '\\');
    let leads_elsewhere = name.is_empty()
        || name.starts_with('/')
        || name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
        || name.contains(is_odd);
    if leads_elsewhere {
        let message = format!("{name:?} is no name of the engine's");
        return Err(EngineError::new(EngineErrorKind::Invalid, attempt, message));
    }
    Ok(name)
}

/// The filter that lets only objects with these labels through; an empty value means any.
pub(super) fn label_filters<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<HashMap<String, Vec<String>>> {
    let text = |(key, value): (&str, &str)| {
        if value.is_empty() { key.to_owned() } else { format!("{key}={value}") }
    };
    let labels: Vec<String> = labels.into_iter().map(text).collect();
    (!labels.is_empty()).then(|| HashMap::from([("label".to_owned(), labels)]))
}

/// Both maps in the library's form.
pub(super) fn merged(
    users: &BTreeMap<String, String>,
    bookkeeping: &BTreeMap<String, String>,
) -> Option<HashMap<String, String>> {
    Some(users.clone().into_iter().chain(bookkeeping.clone()).collect())
}
