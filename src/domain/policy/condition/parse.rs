//! Reads the words of a condition into a tree. Owns CEL's grammar and the precedence of operators.
//! Face: `parse`, `Tree`. Never goes deeper than `CONDITION_DEPTH_MAX`, and never knows what a name
//! stands for.

use super::words::{Word, words};
use super::{ConditionError, Value};
use crate::base::limits::CONDITION_DEPTH_MAX;
use crate::base::suggest::did_you_mean;

/// A part of a condition, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub(super) at: usize,
    pub(super) part: Part,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Value(Value),
    Name(String),
    Select(Box<Tree>, String),
    Has(Box<Tree>, String),
    Index(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Negative(Box<Tree>),
    /// `&&`, however many.
    All(Vec<Tree>),
    /// `||`, however many.
    Any(Vec<Tree>),
    Choice(Box<[Tree; 3]>),
    Both(Operator, Box<[Tree; 2]>),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Call {
        receiver: Option<Box<Tree>>,
        function: String,
        arguments: Vec<Tree>,
    },
    Loop(Box<Loop>),
}

/// One of CEL's loops over a list, or over the keys of a map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Tree,
    pub(super) variable: String,
    /// Of `map` with three arguments: which items count.
    pub(super) filter: Option<Tree>,
    pub(super) body: Tree,
}

/// What becomes of the items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// An operator between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Differs,
    Less,
    AtMost,
    Greater,
    AtLeast,
    In,
    Plus,
    Minus,
    Times,
    Divided,
    Remainder,
}

impl Operator {
    /// As it is written.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Differs => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::In => "in",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Divided => "/",
            Self::Remainder => "%",
        }
    }
}

/// From the loosest to the tightest; `&&` and `||` are looser than all of them.
const LEVELS: &[&[Operator]] = &[
    &[
        Operator::Equal,
        Operator::Differs,
        Operator::AtMost,
        Operator::AtLeast,
        Operator::Less,
        Operator::Greater,
        Operator::In,
    ],
    &[Operator::Plus, Operator::Minus],
    &[Operator::Times, Operator::Divided, Operator::Remainder],
];

/// What CEL keeps for itself, and what no name may be.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

const LOOPS: &[(&str, LoopKind)] = &[
    ("all", LoopKind::All),
    ("exists", LoopKind::Exists),
    ("exists_one", LoopKind::ExistsOne),
    ("existsOne", LoopKind::ExistsOne),
    ("filter", LoopKind::Filter),
    ("map", LoopKind::Map),
];

/// Reads one.
pub(super) fn parse(text: &str) -> Result<Tree, ConditionError> {
    let mut reader = Reader { words: words(text)?, next: 0, depth: 0 };
    let tree = reader.choice()?;
    match reader.peek() {
        Word::End => Ok(tree),
        Word::Sign("=") => Err(reader.wrong("an operator")),
        _ => Err(reader.wrong("an operator or its end")),
    }
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

    fn at(&self) -> usize {
        self.words.get(self.next).or(self.words.last()).map_or(0, |(_, at)| *at)
    }

    fn take(&mut self) -> Word {
        let word = self.peek().clone();
        self.next += 1;
        word
    }

    fn sees(&self, sign: &str) -> bool {
        matches!(self.peek(), Word::Sign(found) if *found == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_there = self.sees(sign);
        self.next += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, sign: &str) -> Result<(), ConditionError> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(self.wrong(&format!("`{sign}`"))),
        }
    }

    fn wrong(&self, expected: &str) -> ConditionError {
        let message = format!("expected {expected}, found {}", self.peek().shown());
        ConditionError::new(self.at(), message)
    }

    /// Everything that nests goes through here.
    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ConditionError>,
    ) -> Result<T, ConditionError> {
        if self.depth == CONDITION_DEPTH_MAX {
            let message = format!("a condition nests at most {CONDITION_DEPTH_MAX} deep");
            return Err(ConditionError::new(self.at(), message));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// What makes the tree deeper without a bracket.
    fn chained(&self, count: usize) -> Result<(), ConditionError> {
        if count <= CONDITION_DEPTH_MAX {
            return Ok(());
        }
        let message = format!("at most {CONDITION_DEPTH_MAX} follow one another here");
        Err(ConditionError::new(self.at(), message))
    }

    fn choice(&mut self) -> Result<Tree, ConditionError> {
        let condition = self.any()?;
        let at = self.at();
        if !self.takes("?") {
            return Ok(condition);
        }
        let yes = self.deeper(Self::any)?;
        self.expect(":")?;
        let no = self.deeper(Self::choice)?;
        Ok(Tree { at, part: Part::Choice(Box::new([condition, yes, no])) })
    }

    fn any(&mut self) -> Result<Tree, ConditionError> {
        self.row("||", Self::all, Part::Any)
    }

    fn all(&mut self) -> Result<Tree, ConditionError> {
        self.row("&&", |reader| reader.level(0), Part::All)
    }

    fn row(
        &mut self,
        sign: &str,
        read: fn(&mut Self) -> Result<Tree, ConditionError>,
        part: fn(Vec<Tree>) -> Part,
    ) -> Result<Tree, ConditionError> {
        let first = read(self)?;
        if !self.sees(sign) {
            return Ok(first);
        }
        let at = self.at();
        let mut parts = vec![first];
        while self.takes(sign) {
            parts.push(read(self)?);
        }
        Ok(Tree { at, part: part(parts) })
    }

    fn operator(&self, level: usize) -> Option<Operator> {
        let operators = LEVELS.get(level)?;
        let is_next = |operator: &&Operator| match self.peek() {
            Word::Sign(sign) => *sign == operator.text(),
            Word::Name(name) => name == "in" && **operator == Operator::In,
            _ => false,
        };
        operators.iter().find(is_next).copied()
    }

    fn level(&mut self, level: usize) -> Result<Tree, ConditionError> {
        if level == LEVELS.len() {
            return self.unary();
        }
        let mut left = self.level(level + 1)?;
        let mut count = 0;
        while let Some(operator) = self.operator(level) {
            count += 1;
            self.chained(count)?;
            let at = self.at();
            self.next += 1;
            let right = self.level(level + 1)?;
            left = Tree { at, part: Part::Both(operator, Box::new([left, right])) };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Tree, ConditionError> {
        let at = self.at();
        if self.takes("!") {
            let of = self.deeper(Self::unary)?;
            return Ok(Tree { at, part: Part::Not(Box::new(of)) });
        }
        if self.takes("-") {
            if let Some(number) = self.negative_number() {
                let literal = Tree { at, part: Part::Value(number?) };
                return self.members(literal);
            }
            let of = self.deeper(Self::unary)?;
            return Ok(Tree { at, part: Part::Negative(Box::new(of)) });
        }
        let first = self.primary()?;
        self.members(first)
    }

    /// A number behind a minus: the smallest one has no positive.
    fn negative_number(&mut self) -> Option<Result<Value, ConditionError>> {
        let value = match self.peek() {
            Word::Whole(number) => match 0_i64.checked_sub_unsigned(*number) {
                Some(number) => Ok(Value::Whole(number)),
                None => Err(ConditionError::new(self.at(), "the number is too large")),
            },
            Word::Number(number) => Ok(Value::Number(-number)),
            _ => return None,
        };
        self.next += 1;
        Some(value)
    }

    /// Fields, items and calls behind a value.
    fn members(&mut self, first: Tree) -> Result<Tree, ConditionError> {
        let mut of = first;
        let mut count = 0;
        loop {
            let at = self.at();
            if self.takes("[") {
                let index = self.deeper(Self::choice)?;
                self.expect("]")?;
                of = Tree { at, part: Part::Index(Box::new(of), Box::new(index)) };
            } else if self.takes(".") {
                let at = self.at();
                let name = self.field()?;
                of = match self.takes("(") {
                    true => self.method(of, name, at)?,
                    false => Tree { at, part: Part::Select(Box::new(of), name) },
                };
            } else {
                return Ok(of);
            }
            count += 1;
            self.chained(count)?;
        }
    }

    /// The name behind a dot, which may be a reserved one.
    fn field(&mut self) -> Result<String, ConditionError> {
        match self.take() {
            Word::Name(name) => Ok(name),
            _ => {
                self.next -= 1;
                Err(self.wrong("the name of a field or a function"))
            }
        }
    }

    fn method(&mut self, of: Tree, function: String, at: usize) -> Result<Tree, ConditionError> {
        let arguments = self.arguments(")")?;
        let kind = LOOPS.iter().find(|(name, _)| *name == function).map(|(_, kind)| *kind);
        let Some(kind) = kind else {
            let receiver = Some(Box::new(of));
            return Ok(Tree { at, part: Part::Call { receiver, function, arguments } });
        };
        let takes = if kind == LoopKind::Map { "2 or 3" } else { "2" };
        let is_right = arguments.len() == 2 || (arguments.len() == 3 && kind == LoopKind::Map);
        if !is_right {
            let message = format!("`{function}` takes {takes} arguments");
            let problem = ConditionError::new(at, message);
            return Err(problem.help(format!("write `.{function}(item, …)`")));
        }
        let mut arguments = arguments.into_iter();
        let variable = match arguments.next() {
            Some(Tree { part: Part::Name(name), .. }) => name,
            other => {
                let at = other.map_or(at, |tree| tree.at);
                let message = format!("the first argument of `{function}` names the item");
                let problem = ConditionError::new(at, message);
                return Err(problem.help(format!("write `.{function}(item, …)`")));
            }
        };
        let filter = if arguments.len() == 2 { arguments.next() } else { None };
        let Some(body) = arguments.next() else { return Err(self.wrong("an argument")) };
        let part = Part::Loop(Box::new(Loop { kind, range: of, variable, filter, body }));
        Ok(Tree { at, part })
    }

    fn primary(&mut self) -> Result<Tree, ConditionError> {
        let at = self.at();
        let value = |value| Ok(Tree { at, part: Part::Value(value) });
        match self.take() {
            Word::Whole(number) => match i64::try_from(number) {
                Ok(number) => value(Value::Whole(number)),
                Err(_) => Err(ConditionError::new(at, "the number is too large")),
            },
            Word::Number(number) => value(Value::Number(number)),
            Word::Text(text) => value(Value::text(text)),
            Word::Name(name) => match &*name {
                "true" => value(Value::YesNo(true)),
                "false" => value(Value::YesNo(false)),
                "null" => value(Value::Null),
                _ => self.name(name, at),
            },
            Word::Sign("(") => {
                let inner = self.deeper(Self::choice)?;
                self.expect(")")?;
                Ok(inner)
            }
            Word::Sign("[") => Ok(Tree { at, part: Part::List(self.arguments("]")?) }),
            Word::Sign("{") => self.map(at),
            Word::Sign(_) | Word::End => {
                self.next -= 1;
                Err(self.wrong("a value"))
            }
        }
    }

    fn name(&mut self, name: String, at: usize) -> Result<Tree, ConditionError> {
        if RESERVED.contains(&&*name) {
            return Err(ConditionError::new(at, format!("`{name}` is a word of the language")));
        }
        if !self.takes("(") {
            return Ok(Tree { at, part: Part::Name(name) });
        }
        let mut arguments = self.arguments(")")?;
        if name != "has" {
            let part = Part::Call { receiver: None, function: name, arguments };
            return Ok(Tree { at, part });
        }
        match (arguments.pop(), arguments.is_empty()) {
            (Some(Tree { at, part: Part::Select(of, field) }), true) => {
                Ok(Tree { at, part: Part::Has(of, field) })
            }
            _ => {
                let problem = ConditionError::new(at, "`has` asks for one field");
                Err(problem.help("write `has(service.user)`"))
            }
        }
    }

    fn arguments(&mut self, end: &str) -> Result<Vec<Tree>, ConditionError> {
        let mut items = Vec::new();
        while !self.takes(end) {
            if !items.is_empty() {
                self.expect(",")?;
                // A list may end with a comma.
                if end == "]" && self.takes(end) {
                    break;
                }
            }
            items.push(self.deeper(Self::choice)?);
        }
        Ok(items)
    }

    fn map(&mut self, at: usize) -> Result<Tree, ConditionError> {
        let mut entries = Vec::new();
        while !self.takes("}") {
            if !entries.is_empty() {
                self.expect(",")?;
                if self.takes("}") {
                    break;
                }
            }
            let key = self.deeper(Self::choice)?;
            self.expect(":")?;
            entries.push((key, self.deeper(Self::choice)?));
        }
        Ok(Tree { at, part: Part::Map(entries) })
    }
}

/// The words nearest to what is no loop and no function.
pub(super) fn near_function(name: &str, functions: &[&str]) -> String {
    let known: Vec<&str> =
        functions.iter().copied().chain(LOOPS.iter().map(|(name, _)| *name)).collect();
    did_you_mean(name, &known)
}
