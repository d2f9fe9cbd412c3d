//! Keeps secrets out of what is said about a user's files. Owns which values of variables are
//! secrets: those whose names announce it. Face: `Known`. Never hides a place, or what has to be
//! done about it.

use super::{announces_secret, redact};
use crate::base::limits::KNOWN_SECRET_CHARS_MIN;
use crate::base::{Diagnostic, Diagnostics, Secret};

/// Values that are secrets, longest first, each with the name of its variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known(Vec<(Secret<String>, String)>);

impl Known {
    /// Those of these variables whose names announce a secret. A value that is too short to be one
    /// stays: it would be found in every other word.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let secrets = variables.into_iter().filter(|(name, value)| {
            announces_secret(name) && value.chars().count() >= KNOWN_SECRET_CHARS_MIN
        });
        let mut known: Vec<_> =
            secrets.map(|(name, value)| (Secret::new(value.clone()), name.clone())).collect();
        known.sort_by_key(|(value, _)| std::cmp::Reverse(value.expose().len()));
        Self(known)
    }

    /// The text with the names of variables in the place of their values, and without whatever else
    /// looks like a secret.
    pub fn conceal(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, name) in &self.0 {
            if text.contains(value.expose()) {
                text = text.replace(value.expose(), &format!("${{{name}}}"));
            }
        }
        redact(&text)
    }

    /// What is said about a file, in the message and in the line that it shows.
    #[must_use]
    pub fn in_diagnostic(&self, mut found: Diagnostic) -> Diagnostic {
        found.message = self.conceal(&found.message);
        found.help = found.help.map(|help| self.conceal(&help));
        if let Some(at) = &mut found.location {
            at.excerpt = self.conceal(&at.excerpt);
        }
        found
    }

    /// The same for all that is said.
    #[must_use]
    pub fn in_diagnostics(&self, Diagnostics(found): Diagnostics) -> Diagnostics {
        Diagnostics(found.into_iter().map(|found| self.in_diagnostic(found)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::Location;

    #[test]
    fn values_give_way_to_their_names_where_the_names_announce_secrets() {
        let variables = [
            ("DB_PASSWORD", "hunter22"),
            ("DB_PASSWORD_FILE_TOKEN", "hunter22-and-more"),
            ("PORT", "eighty-80"),
            ("PIN_SECRET", "1234"),
        ];
        let variables: BTreeMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let known = Known::of(&variables);
        let check = |text: &str, expect: &str| assert_eq!(known.conceal(text), expect);
        check("`hunter22` is no size", "`${DB_PASSWORD}` is no size");
        check("x-hunter22-and-more", "x-${DB_PASSWORD_FILE_TOKEN}");
        check("`eighty-80` is not a port", "`eighty-80` is not a port");
        check("`1234` is not a port", "`1234` is not a port");
        check("  DB_PASSWORD: [abc]", "  DB_PASSWORD: [redacted]");
    }

    #[test]
    fn a_diagnostic_keeps_its_place_and_loses_the_secret() {
        let line = "      DB_PASSWORD: \"open";
        let found = Diagnostic::new("yaml", "the quote is not closed").at(Location::at(
            "compose.yaml",
            line,
            1,
            20,
        ));
        let told = Known::default().in_diagnostics(found.into()).to_string();
        let expect = "compose.yaml:1:20: the quote is not closed\n 1 |       DB_PASSWORD: [redacted]\n   |                    ^";
        assert_eq!(told, expect);
    }
}
