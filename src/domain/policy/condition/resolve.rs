//! Says what the names of a condition stand for, and refuses what can never have a value: fields that
//! there are not, functions that nobody knows, operators between what they do not fit. Owns the
//! checks before there is a value. Face: `resolve`, `Node`. Never evaluates.

use regex::bytes::Regex;

use super::functions::{self, Function};
use super::parse::{LoopKind, Operator, Part, Tree};
use super::{ConditionError, Field, Key, Shape, Value};
use crate::base::limits::CONDITION_LOOPS_MAX;
use crate::base::suggest::did_you_mean;

/// A part of a condition that can be evaluated.
#[derive(Debug)]
pub(super) enum Node {
    Value(Value),
    /// A field of the object that is judged.
    Root(Key),
    /// The item of a loop: 0 is the outermost.
    Item(usize),
    Select(Box<Node>, Key),
    Has(Box<Node>, Key),
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negative(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Choice(Box<[Node; 3]>),
    Both(Operator, Box<[Node; 2]>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Box<Regex>),
    Loop {
        kind: LoopKind,
        range: Box<Node>,
        filter: Option<Box<Node>>,
        body: Box<Node>,
    },
}

/// Resolves a whole condition.
pub(super) fn resolve(tree: &Tree, root: &'static [Field]) -> Result<Node, ConditionError> {
    let mut scope = Scope { root, items: Vec::new() };
    let (node, shape) = scope.resolve(tree)?;
    match shape {
        Shape::YesNo | Shape::Any => Ok(node),
        other => {
            let message = format!("a condition is true or false, this is {}", other.text());
            Err(ConditionError::new(tree.at, message))
        }
    }
}

struct Scope {
    root: &'static [Field],
    items: Vec<(String, Shape)>,
}

type Resolved = Result<(Node, Shape), ConditionError>;

impl Scope {
    fn resolve(&mut self, tree: &Tree) -> Resolved {
        let at = tree.at;
        match &tree.part {
            Part::Value(value) => Ok((Node::Value(value.clone()), shape_of(value))),
            Part::Name(name) => self.name(name, at),
            Part::Select(of, field) => {
                let (node, shape) = self.resolve(of)?;
                let found = field_of(shape, field, at)?;
                Ok((Node::Select(Box::new(node), Key::text(field)), found))
            }
            Part::Has(of, field) => {
                let (node, shape) = self.resolve(of)?;
                field_of(shape, field, at)?;
                Ok((Node::Has(Box::new(node), Key::text(field)), Shape::YesNo))
            }
            Part::Index(of, index) => self.index(of, index, at),
            Part::Not(of) => {
                let node = self.truth(of, "!")?;
                Ok((Node::Not(Box::new(node)), Shape::YesNo))
            }
            Part::Negative(of) => {
                let (node, shape) = self.resolve(of)?;
                match shape {
                    Shape::Any | Shape::Whole | Shape::Number => {
                        Ok((Node::Negative(Box::new(node)), shape))
                    }
                    _ => Err(unfit("-", shape, at)),
                }
            }
            Part::All(parts) => Ok((Node::All(self.truths(parts, "&&")?), Shape::YesNo)),
            Part::Any(parts) => Ok((Node::Any(self.truths(parts, "||")?), Shape::YesNo)),
            Part::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                let condition = self.truth(condition, "?")?;
                let (yes, left) = self.resolve(yes)?;
                let (no, right) = self.resolve(no)?;
                Ok((Node::Choice(Box::new([condition, yes, no])), left.either(right)))
            }
            Part::Both(operator, parts) => {
                let (left, left_shape) = self.resolve(&parts[0])?;
                let (right, right_shape) = self.resolve(&parts[1])?;
                let shape = both(*operator, left_shape, right_shape, at)?;
                Ok((Node::Both(*operator, Box::new([left, right])), shape))
            }
            Part::List(items) => {
                let nodes: Result<Vec<_>, _> = items.iter().map(|it| self.resolve(it)).collect();
                let nodes = nodes?;
                let shape = list_of(nodes.iter().map(|(_, shape)| *shape));
                Ok((Node::List(nodes.into_iter().map(|(node, _)| node).collect()), shape))
            }
            Part::Map(entries) => {
                let mut nodes = Vec::new();
                for (key, value) in entries {
                    let (node, shape) = self.resolve(key)?;
                    if !matches!(shape, Shape::Any | Shape::YesNo | Shape::Whole | Shape::Text) {
                        let message = format!("the key of a map is a text, not {}", shape.text());
                        return Err(ConditionError::new(key.at, message));
                    }
                    nodes.push((node, self.resolve(value)?.0));
                }
                Ok((Node::Map(nodes), Shape::Any))
            }
            Part::Call { receiver, function, arguments } => {
                let given = receiver.iter().map(|it| &**it).chain(arguments);
                let given: Vec<&Tree> = given.collect();
                self.call(function, receiver.is_some(), &given, at)
            }
            Part::Loop(it) => {
                let (range, shape) = self.resolve(&it.range)?;
                let Some(item) = shape.item() else {
                    let message = format!("{} has no items to go through", shape.text());
                    return Err(ConditionError::new(at, message));
                };
                if self.items.len() == CONDITION_LOOPS_MAX {
                    let message = format!("at most {CONDITION_LOOPS_MAX} loops are in one another");
                    return Err(ConditionError::new(at, message));
                }
                self.items.push((it.variable.clone(), item));
                let inner = self.inner(it.kind, it.filter.as_ref(), &it.body);
                self.items.pop();
                let (filter, body, of_body) = inner?;
                let shape = match it.kind {
                    LoopKind::Map => list_of([of_body].into_iter()),
                    LoopKind::Filter if matches!(shape, Shape::List(_)) => shape,
                    LoopKind::Filter => Shape::List(&Shape::Any),
                    LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Shape::YesNo,
                };
                let (range, filter) = (Box::new(range), filter.map(Box::new));
                Ok((Node::Loop { kind: it.kind, range, filter, body: Box::new(body) }, shape))
            }
        }
    }

    fn inner(
        &mut self,
        kind: LoopKind,
        filter: Option<&Tree>,
        body: &Tree,
    ) -> Result<(Option<Node>, Node, Shape), ConditionError> {
        let filter = filter.map(|filter| self.truth(filter, "map")).transpose()?;
        if kind == LoopKind::Map {
            let (node, shape) = self.resolve(body)?;
            return Ok((filter, node, shape));
        }
        let node = self.truth(body, "the condition of a loop")?;
        Ok((filter, node, Shape::YesNo))
    }

    fn name(&self, name: &str, at: usize) -> Resolved {
        // The innermost loop counts.
        if let Some(slot) = self.items.iter().rposition(|(item, _)| item == name) {
            return Ok((Node::Item(slot), self.items[slot].1));
        }
        if let Some(field) = self.root.iter().find(|field| field.name == name) {
            return Ok((Node::Root(Key::text(field.name)), field.shape));
        }
        let known = self.items.iter().map(|(item, _)| item.as_str());
        let known: Vec<&str> = known.chain(self.root.iter().map(|field| field.name)).collect();
        let problem = ConditionError::new(at, format!("nothing is called `{name}`"));
        Err(problem.help(did_you_mean(name, &known)))
    }

    fn index(&mut self, of: &Tree, index: &Tree, at: usize) -> Resolved {
        let (node, shape) = self.resolve(of)?;
        let (index_node, index_shape) = self.resolve(index)?;
        let found = match (shape, index_shape) {
            (Shape::Any, _) => Shape::Any,
            (Shape::List(item), Shape::Any | Shape::Whole) => *item,
            (Shape::Map(item), Shape::Any | Shape::Text) => *item,
            (Shape::Object(_), Shape::Any | Shape::Text) => {
                let problem = ConditionError::new(at, "an object has fields, no items");
                return Err(problem.help("write `.` and the name of the field"));
            }
            (Shape::List(_), _) => {
                let message = format!("an item of a list has a number, not {}", index_shape.text());
                return Err(ConditionError::new(index.at, message));
            }
            (Shape::Map(_), _) => {
                let message = format!("a key of this map is a text, not {}", index_shape.text());
                return Err(ConditionError::new(index.at, message));
            }
            _ => {
                let message = format!("{} has no items", shape.text());
                return Err(ConditionError::new(at, message));
            }
        };
        Ok((Node::Index(Box::new(node), Box::new(index_node)), found))
    }

    fn truths(&mut self, parts: &[Tree], operator: &str) -> Result<Vec<Node>, ConditionError> {
        parts.iter().map(|part| self.truth(part, operator)).collect()
    }

    fn truth(&mut self, tree: &Tree, operator: &str) -> Result<Node, ConditionError> {
        let (node, shape) = self.resolve(tree)?;
        match shape {
            Shape::Any | Shape::YesNo => Ok(node),
            _ => Err(unfit(operator, shape, tree.at)),
        }
    }

    fn call(&mut self, name: &str, is_method: bool, given: &[&Tree], at: usize) -> Resolved {
        let Some(signature) = functions::find(name) else {
            let message = format!("there is no function `{name}`");
            let help = super::parse::near_function(name, &functions::names());
            return Err(ConditionError::new(at, message).help(help));
        };
        if given.len() != signature.takes.len() || !signature.fits_call(is_method) {
            let message = format!("`{name}` is written `{}`", signature.usage);
            return Err(ConditionError::new(at, message));
        }
        let mut nodes = Vec::new();
        for (tree, takes) in given.iter().zip(signature.takes) {
            let (node, shape) = self.resolve(tree)?;
            if !takes.takes(shape) {
                let message = format!("`{name}` does not work on {}", shape.text());
                let problem = ConditionError::new(tree.at, message);
                return Err(problem.help(format!("it is written `{}`", signature.usage)));
            }
            nodes.push(node);
        }
        if signature.function != Function::Matches {
            return Ok((Node::Call(signature.function, nodes), signature.gives));
        }
        let pattern = match (nodes.pop(), given.last()) {
            (Some(Node::Value(Value::Text(pattern))), Some(tree)) => {
                functions::pattern(&pattern, tree.at)?
            }
            (_, tree) => {
                let at = tree.map_or(at, |tree| tree.at);
                return Err(ConditionError::new(at, "the pattern of `matches` is written out"));
            }
        };
        let of = nodes.pop().unwrap_or(Node::Value(Value::Null));
        Ok((Node::Matches(Box::new(of), Box::new(pattern)), Shape::YesNo))
    }
}

fn unfit(operator: &str, shape: Shape, at: usize) -> ConditionError {
    let message = if operator.starts_with(|it: char| it.is_ascii_alphabetic()) {
        format!("{operator} is true or false, this is {}", shape.text())
    } else {
        format!("`{operator}` does not work on {}", shape.text())
    };
    ConditionError::new(at, message)
}

fn shape_of(value: &Value) -> Shape {
    match value {
        Value::Null => Shape::Null,
        Value::YesNo(_) => Shape::YesNo,
        Value::Whole(_) => Shape::Whole,
        Value::Number(_) => Shape::Number,
        Value::Text(_) => Shape::Text,
        Value::List(_) | Value::Map(_) | Value::Unknown(_) => Shape::Any,
    }
}

/// A list of one shape, when all of its items have it.
fn list_of(shapes: impl Iterator<Item = Shape>) -> Shape {
    match shapes.reduce(Shape::either) {
        Some(Shape::Text) => Shape::List(&Shape::Text),
        Some(Shape::Whole) => Shape::List(&Shape::Whole),
        Some(Shape::YesNo) => Shape::List(&Shape::YesNo),
        _ => Shape::List(&Shape::Any),
    }
}

fn field_of(shape: Shape, name: &str, at: usize) -> Result<Shape, ConditionError> {
    match shape {
        Shape::Any => Ok(Shape::Any),
        Shape::Map(item) => Ok(*item),
        Shape::Object(fields) => match fields.iter().find(|field| field.name == name) {
            Some(field) => Ok(field.shape),
            None => {
                let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
                let problem = ConditionError::new(at, format!("there is no field `{name}`"));
                Err(problem.help(did_you_mean(name, &names)))
            }
        },
        other => Err(ConditionError::new(at, format!("{} has no fields", other.text()))),
    }
}

fn both(operator: Operator, left: Shape, right: Shape, at: usize) -> Result<Shape, ConditionError> {
    use Shape::{Any, List, Map, Number, Text, Whole, YesNo};
    let never = |what: &str| {
        let message = format!("{} is never {what} {}", left.text(), right.text());
        Err(ConditionError::new(at, message))
    };
    let wrong = || {
        let (left, right) = (left.text(), right.text());
        let message = format!("`{}` does not work on {left} and {right}", operator.text());
        Err(ConditionError::new(at, message))
    };
    match operator {
        Operator::Equal | Operator::Differs if left.may_equal(right) => Ok(YesNo),
        Operator::Equal | Operator::Differs => never("equal to"),
        Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast => {
            match (left, right) {
                (Any, Any | Whole | Number | Text | YesNo)
                | (Whole | Number | Text | YesNo, Any)
                | (Whole | Number, Whole | Number)
                | (Text, Text)
                | (YesNo, YesNo) => Ok(YesNo),
                _ => wrong(),
            }
        }
        Operator::In => match right {
            Any => Ok(YesNo),
            List(item) if left.may_equal(*item) => Ok(YesNo),
            Map(_) if matches!(left, Any | Text) => Ok(YesNo),
            List(_) | Map(_) => never("in this list:"),
            _ => wrong(),
        },
        Operator::Plus | Operator::Minus | Operator::Times | Operator::Divided => {
            let is_plus = operator == Operator::Plus;
            match (left, right) {
                (Whole, Whole) => Ok(Whole),
                (Number, Number) => Ok(Number),
                (Text, Text) if is_plus => Ok(Text),
                (List(_), List(_)) if is_plus => Ok(List(&Any)),
                (Any, Whole | Number | Any) | (Whole | Number, Any) => Ok(Any),
                (Any, Text | List(_)) | (Text | List(_), Any) if is_plus => Ok(Any),
                _ => wrong(),
            }
        }
        Operator::Remainder => match (left, right) {
            (Any | Whole, Any | Whole) => Ok(Whole),
            _ => wrong(),
        },
    }
}
