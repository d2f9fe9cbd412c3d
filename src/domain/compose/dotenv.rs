//! Reads files of `KEY=value` lines: `.env`, `--env-file` and `env_file`. Owns quoting, comments,
//! escapes and `export`. Face: `parse`. Never overrides a variable: who wins is the caller's rule.

use std::collections::BTreeMap;

use super::interpolate::{Variables, substitute};
use crate::base::{Diagnostic, Location};

/// Reads a file. Unquoted and double-quoted values may use variables: those of `variables` first,
/// then those set further up. A key without `=` is taken from `variables`, and skipped when unset.
///
/// # Errors
/// The first line that has another form, with its place.
pub(super) fn parse(
    file: &str,
    text: &str,
    variables: &Variables,
) -> Result<BTreeMap<String, String>, Box<Diagnostic>> {
    let mut values = BTreeMap::new();
    let mut known = variables.fork();
    let mut cursor = Cursor { file, text, offset: 0 };
    while let Some(key) = cursor.next_key()? {
        match key {
            Key::Inherited(name) => {
                if let Some(value) = variables.get(&name) {
                    values.insert(name, value.to_owned());
                }
            }
            Key::Assigned(name) => {
                let at = cursor.offset;
                let value = match cursor.value()? {
                    Raw::Literal(value) => value,
                    Raw::Template(template) => substitute(&template, &known)
                        .map_err(|error| Box::new(cursor.problem(at, error.to_string())))?,
                };
                if !variables.has(&name) {
                    known.set(name.clone(), value.clone());
                }
                values.insert(name, value);
            }
        }
    }
    variables.join(&known);
    Ok(values)
}

/// Reads a file of `format: raw`: everything after `=` is the value, to the letter.
pub(super) fn parse_raw(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.to_owned())).collect()
}

enum Key {
    Assigned(String),
    Inherited(String),
}

enum Raw {
    /// To the letter.
    Literal(String),
    /// With variables.
    Template(String),
}

struct Cursor<'a> {
    file: &'a str,
    text: &'a str,
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    fn problem(&self, offset: usize, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new("compose.env_file", message)
            .at(Location::at_offset(self.file, self.text, offset))
            .help("write `KEY=value`; quote a value that holds spaces, `#` or `$`")
    }

    fn skip_blank_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.offset += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.offset += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    /// Moves past a key and what separates it from its value.
    fn next_key(&mut self) -> Result<Option<Key>, Box<Diagnostic>> {
        self.skip_blank_and_comments();
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with([' ', '\t'])
        {
            self.offset = self.text.len() - after.trim_start_matches([' ', '\t']).len();
        }
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(None);
        }
        let end = rest.find(['=', ':', '\n']).unwrap_or(rest.len());
        let name = rest[..end].trim_end();
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
        if let Some(bad) = name.find(|c: char| !allowed(c)) {
            let shown = name[bad..].chars().next().unwrap_or(' ');
            let message = format!("unexpected character {shown:?} in a variable's name");
            return Err(Box::new(self.problem(self.offset + bad, message)));
        }
        if name.is_empty() {
            return Err(Box::new(self.problem(self.offset, "a variable's name is missing")));
        }
        let inherited = !rest[end..].starts_with(['=', ':']);
        self.offset += end;
        if inherited {
            return Ok(Some(Key::Inherited(name.to_owned())));
        }
        self.offset += 1;
        let blank = self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\r']).len();
        self.offset += blank;
        Ok(Some(Key::Assigned(name.to_owned())))
    }

    fn value(&mut self) -> Result<Raw, Box<Diagnostic>> {
        let rest = self.rest();
        let quote = match rest.chars().next() {
            Some(quote @ ('\'' | '"')) => quote,
            _ => {
                let end = rest.find('\n').unwrap_or(rest.len());
                self.offset += end;
                let line = &rest[..end];
                let value = if line.starts_with('#') {
                    ""
                } else {
                    line.split(" #").next().unwrap_or_default()
                };
                return Ok(Raw::Template(value.trim_end().to_owned()));
            }
        };
        let mut escaped = false;
        for (index, character) in rest.char_indices().skip(1) {
            if character == quote && !escaped {
                let inner = &rest[1..index];
                self.offset += index + 1;
                self.skip_after_quote();
                return Ok(match quote {
                    '"' => Raw::Template(unescape(inner)),
                    _ => Raw::Literal(inner.replace("\\'", "'")),
                });
            }
            escaped = character == '\\' && !escaped;
        }
        Err(Box::new(self.problem(self.offset, "the quote is not closed")))
    }

    /// A comment may follow a quoted value.
    fn skip_after_quote(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t']);
        if trimmed.starts_with('#') {
            self.offset += rest.find('\n').unwrap_or(rest.len());
        }
    }
}

/// The escapes of double quotes; `\$` becomes `$$`, which stays a dollar sign later on.
fn unescape(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            output.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => output.push('\n'),
            Some('r') => output.push('\r'),
            Some('t') => output.push('\t'),
            Some('a') => output.push('\u{7}'),
            Some('b') => output.push('\u{8}'),
            Some('f') => output.push('\u{c}'),
            Some('v') => output.push('\u{b}'),
            Some('$') => output.push_str("$$"),
            Some(other @ ('"' | '\\' | '\'')) => output.push(other),
            Some(other) => output.extend(['\\', other]),
            None => output.push('\\'),
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let pairs = [("HOST", "shell"), ("A", "outer")];
        Variables::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    fn check(text: &str, expect: &[(&str, &str)]) {
        let parsed = parse(".env", text, &variables()).unwrap();
        let parsed: Vec<(&str, &str)> =
            parsed.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(parsed, expect, "{text}");
    }

    #[test]
    fn lines_become_values() {
        check("", &[]);
        check("# c\n\nK=v\n", &[("K", "v")]);
        check("export K = v # note\n", &[("K", "v")]);
        check("K=v#x\n", &[("K", "v#x")]);
        check("K: v\n", &[("K", "v")]);
        check("K=\nL= # c\n", &[("K", ""), ("L", "")]);
        check("K='a $A # \"b\"' # c\nL=2", &[("K", "a $A # \"b\""), ("L", "2")]);
        check("K=\"a\\n\\\"$HOST\\\" \\$A\"\n", &[("K", "a\n\"shell\" $A")]);
        check("K=\"two\nlines\"\n", &[("K", "two\nlines")]);
        check("X=1\nK=$X-${X}-${NONE:-d}\n", &[("K", "1-1-d"), ("X", "1")]);
        check("HOST\nNONE\n", &[("HOST", "shell")]);
        check("K=a=b\r\n", &[("K", "a=b")]);
        check("a.b-c=1\n", &[("a.b-c", "1")]);
        check(
            "A=file\nK=$A\nX=1\nX=2\nY=$X\n",
            &[("A", "file"), ("K", "outer"), ("X", "2"), ("Y", "2")],
        );
    }

    #[test]
    fn bad_lines_name_the_place() {
        let check = |text: &str, expect: &str| {
            let problem = parse(".env", text, &variables()).unwrap_err();
            assert_eq!(problem.to_string().lines().next(), Some(expect), "{text}");
        };
        check("K=1\nA B=2\n", ".env:2:2: unexpected character ' ' in a variable's name");
        check("K='x\n", ".env:1:3: the quote is not closed");
        check("=x\n", ".env:1:1: a variable's name is missing");
        let laughs: String = (1..40).map(|n| format!("L{n}=$L{}$L{}\n", n - 1, n - 1)).collect();
        check(&format!("L0=ha\n{laughs}"), ".env:24:5: variables add more than 16 MiB");
        check("K=$(x)\n", ".env:1:3: invalid interpolation format near \"$(x)\"");
    }
}
