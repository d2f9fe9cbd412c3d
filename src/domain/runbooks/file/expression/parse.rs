//! Reads the text of an expression. Owns its words and the precedence of operators. Face:
//! `expression`. Never goes deeper than `RUNBOOK_EXPRESSION_DEPTH_MAX`, whatever it is given.

use super::{ExpressionError, Node, Operator, Path};
use crate::base::limits::{RUNBOOK_EXPRESSION_CHARS_MAX, RUNBOOK_EXPRESSION_DEPTH_MAX};
use crate::domain::runbooks::Argument;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Name(String),
    Whole(i64),
    Text(String),
    Sign(&'static str),
    End,
}

/// Longer ones first, so that `<=` is not read as `<`.
const SIGNS: &[&str] =
    &["||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "!", "(", ")", "[", "]", ",", "."];

/// From the loosest to the tightest.
const LEVELS: &[&[(&str, Operator)]] = &[
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::Differs),
        ("<=", Operator::AtMost),
        (">=", Operator::AtLeast),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
];
/// The level that comparisons and `in` share: they cannot be chained.
const COMPARISON: usize = 2;

/// Reads one.
pub(super) fn expression(text: &str) -> Result<Node, ExpressionError> {
    if text.chars().count() > RUNBOOK_EXPRESSION_CHARS_MAX {
        let message =
            format!("an expression has at most {RUNBOOK_EXPRESSION_CHARS_MAX} characters");
        return Err(ExpressionError { message, at: 0 });
    }
    let mut reader = Reader { words: words(text)?, next: 0, depth: 0 };
    let node = reader.level(0)?;
    match reader.peek() {
        Word::End => Ok(node),
        _ => Err(reader.wrong("nothing more")),
    }
}

fn words(text: &str) -> Result<Vec<(Word, usize)>, ExpressionError> {
    let chars: Vec<char> = text.chars().collect();
    let (mut words, mut at) = (Vec::new(), 0);
    while let Some(&first) = chars.get(at) {
        let begin = at;
        if first.is_whitespace() {
            at += 1;
            continue;
        }
        let run = |from: usize, fits: fn(char) -> bool| {
            from + chars[from..].iter().take_while(|it| fits(**it)).count()
        };
        let word = if first.is_ascii_alphabetic() || first == '_' {
            at = run(at, |it| it.is_ascii_alphanumeric() || it == '_');
            Word::Name(chars[begin..at].iter().collect())
        } else if first.is_ascii_digit() {
            at = run(at, |it| it.is_ascii_digit());
            let digits: String = chars[begin..at].iter().collect();
            let too_large =
                |_| ExpressionError { message: "the number is too large".to_owned(), at: begin };
            Word::Whole(digits.parse().map_err(too_large)?)
        } else if first == '\'' || first == '"' {
            let length = chars[at + 1..].iter().position(|it| *it == first);
            let Some(length) = length else {
                let message = format!("the text has no closing {first}");
                return Err(ExpressionError { message, at: begin });
            };
            at += length + 2;
            Word::Text(chars[begin + 1..at - 1].iter().collect())
        } else {
            let rest: String = chars[at..].iter().take(2).collect();
            let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) else {
                let message = format!("`{first}` has no meaning here");
                return Err(ExpressionError { message, at: begin });
            };
            at += sign.len();
            Word::Sign(sign)
        };
        words.push((word, begin));
    }
    words.push((Word::End, chars.len()));
    Ok(words)
}

struct Reader {
    words: Vec<(Word, usize)>,
    next: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> &Word {
        self.words.get(self.next).map_or(&Word::End, |(word, _)| word)
    }

    fn take(&mut self) -> Word {
        let word = self.peek().clone();
        self.next += 1;
        word
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.peek(), Word::Sign(found) if *found == sign);
        self.next += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, sign: &str) -> Result<(), ExpressionError> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(self.wrong(&format!("`{sign}`"))),
        }
    }

    fn wrong(&self, expected: &str) -> ExpressionError {
        let found = match self.peek() {
            Word::Name(name) => format!("`{name}`"),
            Word::Whole(number) => format!("`{number}`"),
            Word::Text(text) => format!("'{text}'"),
            Word::Sign(sign) => format!("`{sign}`"),
            Word::End => "its end".to_owned(),
        };
        let at = self.words.get(self.next).map_or(0, |(_, at)| *at);
        ExpressionError { message: format!("expected {expected}, found {found}"), at }
    }

    /// Everything that nests goes through here.
    fn deeper(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Node, ExpressionError>,
    ) -> Result<Node, ExpressionError> {
        if self.depth == RUNBOOK_EXPRESSION_DEPTH_MAX {
            let at = self.words.get(self.next).map_or(0, |(_, at)| *at);
            let message =
                format!("an expression nests at most {RUNBOOK_EXPRESSION_DEPTH_MAX} deep");
            return Err(ExpressionError { message, at });
        }
        self.depth += 1;
        let node = read(self);
        self.depth -= 1;
        node
    }

    fn level(&mut self, level: usize) -> Result<Node, ExpressionError> {
        let Some(operators) = LEVELS.get(level) else { return self.single() };
        let mut left = self.level(level + 1)?;
        // Each operator makes the tree one deeper, as a bracket would.
        let mut chained = 0;
        loop {
            if level == COMPARISON && matches!(self.peek(), Word::Name(name) if name == "in") {
                self.next += 1;
                left = Node::In(Box::new(left), self.list()?);
                return Ok(left);
            }
            let sign = operators
                .iter()
                .find(|(sign, _)| matches!(self.peek(), Word::Sign(found) if found == sign));
            let Some((_, operator)) = sign else { return Ok(left) };
            chained += 1;
            if chained > RUNBOOK_EXPRESSION_DEPTH_MAX {
                return Err(self.wrong("fewer operators in a row"));
            }
            self.next += 1;
            let right = self.level(level + 1)?;
            left = Node::Both(*operator, Box::new(left), Box::new(right));
            if level == COMPARISON {
                return Ok(left);
            }
        }
    }

    fn list(&mut self) -> Result<Vec<Node>, ExpressionError> {
        self.expect("[")?;
        let mut items = Vec::new();
        while !self.takes("]") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.deeper(|reader| reader.level(0))?);
        }
        Ok(items)
    }

    fn single(&mut self) -> Result<Node, ExpressionError> {
        if self.takes("!") {
            return Ok(Node::Not(Box::new(self.deeper(Self::single)?)));
        }
        if self.takes("(") {
            let inner = self.deeper(|reader| reader.level(0))?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.takes("-") {
            return match self.take() {
                Word::Whole(number) => Ok(Node::Value(Argument::Whole(-number))),
                _ => {
                    self.next -= 1;
                    Err(self.wrong("a number"))
                }
            };
        }
        match self.take() {
            Word::Whole(number) => Ok(Node::Value(Argument::Whole(number))),
            Word::Text(text) => Ok(Node::Value(Argument::Text(text))),
            Word::Name(name) => match name.as_str() {
                "true" => Ok(Node::Value(Argument::YesNo(true))),
                "false" => Ok(Node::Value(Argument::YesNo(false))),
                "has" if self.takes("(") => {
                    let first = self.name()?;
                    let path = self.path(first)?;
                    self.expect(")")?;
                    Ok(Node::Has(path))
                }
                _ => Ok(Node::Name(self.path(name)?)),
            },
            Word::Sign(_) | Word::End => {
                self.next -= 1;
                Err(self.wrong("a value"))
            }
        }
    }

    fn name(&mut self) -> Result<String, ExpressionError> {
        match self.take() {
            Word::Name(name) => Ok(name),
            _ => {
                self.next -= 1;
                Err(self.wrong("a name"))
            }
        }
    }

    fn path(&mut self, first: String) -> Result<Path, ExpressionError> {
        let mut parts = vec![first];
        while self.takes(".") {
            parts.push(self.name()?);
        }
        Ok(Path(parts))
    }
}
