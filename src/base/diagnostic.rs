//! Says what is wrong in a user's file, where, and what to do. Owns the shape and the text form.
//! Face: `Diagnostic`, `Location`, `Diagnostics`. Never speaks of a file without its position.

use std::fmt;

use serde::Serialize;

use super::limits::{EXCERPT_AFTER_CHARS_MIN, EXCERPT_SHOWN_CHARS_MAX};

/// A place in a text file. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text, without its end.
    pub excerpt: String,
}

impl Location {
    /// The place of byte `offset` in `text`, the content of `file`.
    pub fn at_offset(file: &str, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Self::at(file, text, line, column)
    }

    /// The place at this line and column of `text`, the content of `file`.
    pub fn at(file: &str, text: &str, line: usize, column: usize) -> Self {
        let excerpt = text.lines().nth(line.saturating_sub(1)).unwrap_or("").to_owned();
        Self { file: file.to_owned(), line, column, excerpt }
    }
}

/// One problem with a user's file, or with what the files say together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Stable, machine-readable name, such as `compose.unknown_key`.
    pub code: &'static str,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where; absent only for what has no place, such as a missing file.
    pub location: Option<Location>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A problem without a place yet.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), location: None, help: None }
    }

    /// The same, with its place.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// The same, with what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.location {
            write!(f, "{}:{}:{}: ", at.file, at.line, at.column)?;
        }
        f.write_str(&self.message)?;
        if let Some(at) = &self.location {
            let number = at.line.to_string();
            let margin = " ".repeat(number.len());
            let before = at.column.saturating_sub(1);
            // A place far to the right brings its surroundings, not the line's beginning.
            let start = if before + EXCERPT_AFTER_CHARS_MIN > EXCERPT_SHOWN_CHARS_MAX {
                before.saturating_sub(EXCERPT_SHOWN_CHARS_MAX / 2)
            } else {
                0
            };
            let cut = if start > 0 { "…" } else { "" };
            let text = || at.excerpt.chars().skip(start);
            let shown: String = cut.chars().chain(text().take(EXCERPT_SHOWN_CHARS_MAX)).collect();
            let indent: String = cut
                .chars()
                .chain(text().take(before - start))
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(f, "\n {number} | {shown}\n {margin} | {indent}^")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// Several problems, found in one reading. Never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
impl Diagnostics {
    /// `line:column message` of each, in the order of the file.
    pub(crate) fn placed(&self) -> Vec<String> {
        let told = |it: &Diagnostic| match &it.location {
            Some(at) => format!("{}:{} {}", at.line, at.column, it.message),
            None => it.message.clone(),
        };
        self.0.iter().map(told).collect()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_place_and_says_what_to_do() {
        let text = "services:\n  web:\n    imag: x\n";
        let diagnostic = Diagnostic::new("compose.unknown_key", "unknown key `imag`")
            .at(Location::at_offset("compose.yaml", text, 21))
            .help("did you mean `image`?");
        let expect = "compose.yaml:3:5: unknown key `imag`\n 3 |     imag: x\n   |     ^\n \
                      help: did you mean `image`?";
        assert_eq!(diagnostic.to_string(), expect);
    }
    #[test]
    fn a_place_far_to_the_right_is_shown() {
        let text = format!("services: {{{}imag: x}}", " ".repeat(300));
        let offset = text.find("imag").unwrap();
        let diagnostic = Diagnostic::new("compose.unknown_key", "unknown key `imag`")
            .at(Location::at_offset("compose.yaml", &text, offset));
        let shown = diagnostic.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        let [_, excerpt, pointer] = lines[..] else { panic!("{shown}") };
        let place = pointer.chars().position(|c| c == '^').unwrap();
        let pointed: String = excerpt.chars().skip(place).take(4).collect();
        assert_eq!(pointed, "imag", "{shown}");
    }
}
