//! Renders an error with everything that caused it on one line. Owns that rule. Face: `chain`.
//! Never adds or drops information.

use std::error::Error;

/// `outer: cause: root cause`. Our errors never repeat their source, so nothing is said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
