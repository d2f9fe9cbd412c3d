//! Splits the text of a condition into words. Owns CEL's spelling: names, numbers, texts with their
//! escapes, signs, comments. Face: `words`, `Word`. Never looks at more than `CONDITION_BYTES_MAX`.

use super::ConditionError;
use crate::base::limits::{CONDITION_BYTES_MAX, CONDITION_WORDS_MAX};

/// One word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A name, `true`, `false`, `null` and `in` among them.
    Name(String),
    /// A whole number without sign: larger than what fits only behind a minus.
    Whole(u64),
    /// A number with a fraction or an exponent.
    Number(f64),
    /// A text.
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// Behind the last one.
    End,
}

impl Word {
    /// The word for people.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Whole(number) => format!("`{number}`"),
            Self::Number(number) => format!("`{number}`"),
            Self::Text(_) => "a text".to_owned(),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "its end".to_owned(),
        }
    }
}

/// Longer ones first, so that `<=` is not read as `<`.
const SIGNS: &[&str] = &[
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")",
    "[", "]", "{", "}", ",", ".",
];

/// The words with their places, in characters; the last one is `End`.
pub(super) fn words(text: &str) -> Result<Vec<(Word, usize)>, ConditionError> {
    if text.len() > CONDITION_BYTES_MAX {
        let message = format!("a condition has at most {CONDITION_BYTES_MAX} bytes");
        return Err(ConditionError::new(0, message));
    }
    let chars: Vec<char> = text.chars().collect();
    let mut reader = Reader { chars: &chars, at: 0 };
    let mut words = Vec::new();
    loop {
        reader.skip();
        let begin = reader.at;
        let word = reader.word()?;
        let is_end = word == Word::End;
        words.push((word, begin));
        if is_end {
            return Ok(words);
        }
        if words.len() > CONDITION_WORDS_MAX {
            let message = format!("a condition has at most {CONDITION_WORDS_MAX} words");
            return Err(ConditionError::new(begin, message));
        }
    }
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, expected)| self.peek(ahead) == Some(expected))
    }

    fn run(&mut self, fits: impl Fn(char) -> bool) -> String {
        let begin = self.at;
        while self.peek(0).is_some_and(&fits) {
            self.at += 1;
        }
        self.chars[begin..self.at].iter().collect()
    }

    /// Spaces and comments.
    fn skip(&mut self) {
        loop {
            self.run(|it| matches!(it, ' ' | '\t' | '\r' | '\n' | '\u{c}'));
            if !self.starts_with("//") {
                return;
            }
            self.run(|it| it != '\n');
        }
    }

    fn word(&mut self) -> Result<Word, ConditionError> {
        let Some(first) = self.peek(0) else { return Ok(Word::End) };
        if let Some(raw) = self.opens_text() {
            self.at += usize::from(raw);
            return self.text(raw);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let name = self.run(|it| it.is_ascii_alphanumeric() || it == '_');
            if matches!(&*name, "b" | "B" | "rb" | "br") && matches!(self.peek(0), Some('"' | '\''))
            {
                let at = self.at - name.len();
                let problem = ConditionError::new(at, "bytes have no meaning here");
                return Err(problem.help("write a text without the `b`"));
            }
            return Ok(Word::Name(name));
        }
        let is_fraction = first == '.' && self.peek(1).is_some_and(|it| it.is_ascii_digit());
        if first.is_ascii_digit() || is_fraction {
            return self.number();
        }
        let sign = SIGNS.iter().find(|sign| self.starts_with(sign));
        let Some(sign) = sign else {
            let message = format!("`{}` has no meaning here", first.escape_default());
            return Err(ConditionError::new(self.at, message));
        };
        self.at += sign.len();
        Ok(Word::Sign(sign))
    }

    fn number(&mut self) -> Result<Word, ConditionError> {
        let begin = self.at;
        let wrong = |message: &str| Err(ConditionError::new(begin, message));
        if self.starts_with("0x") || self.starts_with("0X") {
            self.at += 2;
            let digits = self.run(|it| it.is_ascii_hexdigit());
            self.ends_number(begin)?;
            return match u64::from_str_radix(&digits, 16) {
                Ok(number) => Ok(Word::Whole(number)),
                Err(_) if digits.is_empty() => wrong("`0x` needs digits"),
                Err(_) => wrong("the number is too large"),
            };
        }
        let mut text = self.run(|it| it.is_ascii_digit());
        let mut is_whole = true;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|it| it.is_ascii_digit()) {
            is_whole = false;
            self.at += 1;
            text = format!("{text}.{}", self.run(|it| it.is_ascii_digit()));
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.peek(1), Some('+' | '-')));
            if self.peek(1 + sign).is_some_and(|it| it.is_ascii_digit()) {
                is_whole = false;
                let exponent: String = self.chars[self.at..=self.at + sign].iter().collect();
                self.at += 1 + sign;
                text = format!("{text}{exponent}{}", self.run(|it| it.is_ascii_digit()));
            }
        }
        self.ends_number(begin)?;
        if is_whole {
            return text.parse().map_or_else(
                |_| wrong("the number is too large"),
                |number| Ok(Word::Whole(number)),
            );
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Word::Number(number)),
            _ => wrong("the number is too large"),
        }
    }

    /// What follows a number at once belongs to it.
    fn ends_number(&self, begin: usize) -> Result<(), ConditionError> {
        match self.peek(0) {
            Some('u' | 'U') => {
                let problem = ConditionError::new(begin, "unsigned numbers have no meaning here");
                Err(problem.help("write the number without the `u`"))
            }
            Some(it) if it.is_alphanumeric() || it == '_' => {
                Err(ConditionError::new(self.at, format!("`{it}` cannot follow a number")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a text begins here, and whether it is raw.
    fn opens_text(&self) -> Option<bool> {
        match (self.peek(0)?, self.peek(1)) {
            ('"' | '\'', _) => Some(false),
            ('r' | 'R', Some('"' | '\'')) => Some(true),
            _ => None,
        }
    }

    fn text(&mut self, raw: bool) -> Result<Word, ConditionError> {
        let begin = self.at;
        let quote = self.peek(0).unwrap_or('"');
        let is_long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let end: String = std::iter::repeat_n(quote, if is_long { 3 } else { 1 }).collect();
        self.at += end.len();
        let mut text = String::new();
        loop {
            if self.starts_with(&end) {
                self.at += end.len();
                return Ok(Word::Text(text));
            }
            match self.peek(0) {
                Some('\n' | '\r') if !is_long => {
                    let message = "a text ends on the line that it begins on";
                    return Err(ConditionError::new(begin, message));
                }
                Some('\\') if !raw => text.push(self.escape()?),
                Some(it) => {
                    self.at += 1;
                    text.push(it);
                }
                None => {
                    let message = format!("the text has no closing {end}");
                    return Err(ConditionError::new(begin, message));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, ConditionError> {
        let begin = self.at;
        let wrong = || ConditionError::new(begin, "what follows the `\\` has no meaning");
        let kind = self.peek(1).ok_or_else(wrong)?;
        self.at += 2;
        let digits = |reader: &mut Self, count: usize, radix: u32| {
            let digits: String = (0..count).filter_map(|ahead| reader.peek(ahead)).collect();
            reader.at += count;
            let is_whole = digits.len() == count && digits.chars().all(|it| it.is_digit(radix));
            let code = is_whole.then(|| u32::from_str_radix(&digits, radix).ok()).flatten();
            code.and_then(char::from_u32).ok_or_else(wrong)
        };
        match kind {
            'a' => Ok('\u{7}'),
            'b' => Ok('\u{8}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\u{b}'),
            '"' | '\'' | '\\' | '?' | '`' => Ok(kind),
            'x' | 'X' => digits(self, 2, 16),
            'u' => digits(self, 4, 16),
            'U' => digits(self, 8, 16),
            '0'..='3' => {
                self.at -= 1;
                digits(self, 3, 8)
            }
            _ => Err(wrong()),
        }
    }
}
