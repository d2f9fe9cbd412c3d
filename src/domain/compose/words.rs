//! Splits a command line into words. Owns the rules of Docker Compose, which are a shell's without
//! variables: quotes, backslashes, and an end at the first operator. Face: `split`.
//! Never runs or expands anything.

/// Why a command line has no words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SplitError {
    /// A quote or `$(` that is not closed, or a trailing backslash.
    #[error("a quote, parenthesis or backslash is left open")]
    Open,
    /// A parenthesis outside of quotes.
    #[error("a parenthesis outside of quotes means nothing here")]
    Parenthesis,
}

/// The words, and where the line was cut off because a shell operator began there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// The words.
    pub(super) words: Vec<String>,
    /// The operator and everything after it, which Docker Compose drops.
    pub(super) dropped: Option<String>,
}

/// Splits a line.
///
/// # Errors
/// When something is left open.
pub(super) fn split(line: &str) -> Result<Words, SplitError> {
    let mut splitter = Splitter::default();
    for (index, character) in line.char_indices() {
        if splitter.accept(character)? {
            splitter.end_word();
            let dropped = Some(line[index..].to_owned());
            return Ok(Words { words: splitter.words, dropped });
        }
    }
    if splitter.escaped || splitter.inside() {
        return Err(SplitError::Open);
    }
    splitter.end_word();
    Ok(Words { words: splitter.words, dropped: None })
}

#[derive(Default)]
struct Splitter {
    words: Vec<String>,
    word: String,
    started: bool,
    escaped: bool,
    single: bool,
    double: bool,
    back: bool,
    dollar: bool,
}

impl Splitter {
    fn inside(&self) -> bool {
        self.single || self.double || self.back || self.dollar
    }

    fn end_word(&mut self) {
        if self.started {
            self.words.push(std::mem::take(&mut self.word));
            self.started = false;
        }
    }

    fn push(&mut self, character: char) {
        self.word.push(character);
        self.started = true;
    }

    /// Takes one character; `true` when a shell operator ends the line.
    fn accept(&mut self, character: char) -> Result<bool, SplitError> {
        if self.escaped {
            self.escaped = false;
            self.push(match character {
                't' => '\t',
                'n' => '\n',
                other => other,
            });
            return Ok(false);
        }
        match character {
            '\\' if !self.single => self.escaped = true,
            ' ' | '\t' | '\r' | '\n' if !self.inside() => self.end_word(),
            '"' if !self.single && !self.dollar => {
                self.started |= self.double;
                self.double = !self.double;
            }
            '\'' if !self.double && !self.dollar => {
                self.started |= self.single;
                self.single = !self.single;
            }
            '`' if !self.single && !self.double && !self.dollar => {
                self.back = !self.back;
                self.push(character);
            }
            '(' if !self.single && !self.double && !self.back => {
                if self.dollar || !self.word.ends_with('$') {
                    return Err(SplitError::Parenthesis);
                }
                self.dollar = true;
                self.push(character);
            }
            ')' if !self.single && !self.double && !self.back => {
                self.dollar = !self.dollar;
                self.push(character);
            }
            ';' | '&' | '|' | '<' | '>' if !self.inside() => return Ok(true),
            _ => self.push(character),
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_docker_compose_splits_them() {
        let check = |line: &str, expect: &[&str]| {
            assert_eq!(split(line).unwrap().words, expect, "{line}");
        };
        check("", &[]);
        check("sleep infinity", &["sleep", "infinity"]);
        check("sh -c 'a \"b\" \\c'", &["sh", "-c", "a \"b\" \\c"]);
        check("a\\ b \"c\\\"d\" ''", &["a b", "c\"d", ""]);
        check("a=\"b c\"d", &["a=b cd"]);
        check("echo $(date -u) x", &["echo", "$(date -u)", "x"]);
        check("a --b=$HOME", &["a", "--b=$HOME"]);
        assert_eq!(split("a && b").unwrap().dropped.as_deref(), Some("&& b"));
        assert_eq!(split("a 'b"), Err(SplitError::Open));
        assert_eq!(split("a \\"), Err(SplitError::Open));
        assert_eq!(split("a (b)"), Err(SplitError::Parenthesis));
    }
}
