//! What a value can be, as far as that is known before there is one. Owns the words for it. Face:
//! `Shape`, `Field`. Never a value.

/// What a value can be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything.
    Any,
    /// Nothing.
    Null,
    /// True or false.
    YesNo,
    /// A whole number.
    Whole,
    /// A number with a fraction.
    Number,
    /// A text.
    Text,
    /// A list of these.
    List(&'static Self),
    /// A map from texts to these.
    Map(&'static Self),
    /// An object with these fields.
    Object(&'static [Field]),
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The path to it, as a condition writes it: what is needed when it is not known.
    pub path: &'static str,
    /// What it can be. What is not declared is null, whatever this says.
    pub shape: Shape,
    /// What it tells: a sentence's part, without full stop.
    pub tells: &'static str,
}

impl Shape {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Null => "nothing",
            Self::YesNo => "a truth value",
            Self::Whole => "a whole number",
            Self::Number => "a number with a fraction",
            Self::Text => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Object(_) => "an object",
        }
    }

    /// Whether values of the two can ever be equal.
    pub(super) fn may_equal(self, other: Self) -> bool {
        use Shape::{Any, List, Map, Null, Number, Object, Text, Whole, YesNo};
        match (self, other) {
            (Any | Null, _) | (_, Any | Null) => true,
            (Whole | Number, Whole | Number) => true,
            (List(left), List(right)) => left.may_equal(*right),
            _ => matches!(
                (self, other),
                (YesNo, YesNo) | (Text, Text) | (Map(_) | Object(_), Map(_) | Object(_))
            ),
        }
    }

    /// What is in a list of these, or what the keys of a map are.
    pub(super) fn item(self) -> Option<Self> {
        match self {
            Self::Any => Some(Self::Any),
            Self::List(item) => Some(*item),
            Self::Map(_) => Some(Self::Text),
            _ => None,
        }
    }

    /// The shape that a choice between two of them has.
    pub(super) fn either(self, other: Self) -> Self {
        if std::mem::discriminant(&self) == std::mem::discriminant(&other)
            && matches!(self, Self::YesNo | Self::Whole | Self::Number | Self::Text | Self::Null)
        {
            self
        } else {
            Self::Any
        }
    }
}
