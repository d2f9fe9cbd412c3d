//! Rows of values of which one may decide, and what loops come to. Owns what becomes of what is not
//! known, and of what has no value. Face: `Row`, `Made`, `End`. Never says more of a loop than holds
//! whatever the unknown turns out to be.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Value;
use super::evaluate::{Evaluated, EvaluationError, operands};
use super::parse::LoopKind;
use crate::base::limits::CONDITION_ITEMS_MAX;

/// What an item of a loop makes.
pub(super) enum Made {
    Value(Value),
    Nothing,
    /// Whether it counts is not known.
    Perhaps(Arc<BTreeSet<&'static str>>),
}

/// `||` over some values, or `&&`: one of them decides.
pub(super) struct Row {
    decides: bool,
    needs: BTreeSet<&'static str>,
    failed: Option<EvaluationError>,
}

impl Row {
    pub(super) fn new(decides: bool) -> Self {
        Self { decides, needs: BTreeSet::new(), failed: None }
    }

    pub(super) fn take(&mut self, value: Evaluated) -> Result<Option<Value>, EvaluationError> {
        match value {
            Ok(Value::YesNo(value)) if value == self.decides => {
                return Ok(Some(Value::YesNo(value)));
            }
            Ok(Value::YesNo(_)) => {}
            Ok(Value::Unknown(needs)) => self.needs.extend(needs.iter()),
            Ok(other) => {
                let operator = if self.decides { "||" } else { "&&" };
                self.failed.get_or_insert(operands(operator, &[&other]));
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => drop(self.failed.get_or_insert(error)),
        }
        Ok(None)
    }

    pub(super) fn open(&mut self, open: Option<&'static str>) {
        self.needs.extend(open);
    }

    /// What is not known counts before what has no value: it could still decide.
    pub(super) fn end(self) -> Evaluated {
        match self.failed {
            _ if !self.needs.is_empty() => Ok(Value::Unknown(Arc::new(self.needs))),
            Some(error) => Err(error),
            None => Ok(Value::YesNo(!self.decides)),
        }
    }
}

/// What a loop comes to.
pub(super) enum End {
    Row(Row),
    One { count: usize, needs: BTreeSet<&'static str> },
    List { items: Vec<Value>, needs: BTreeSet<&'static str> },
}

impl End {
    pub(super) fn new(kind: LoopKind) -> Self {
        match kind {
            LoopKind::All => Self::Row(Row::new(false)),
            LoopKind::Exists => Self::Row(Row::new(true)),
            LoopKind::ExistsOne => Self::One { count: 0, needs: BTreeSet::new() },
            LoopKind::Filter | LoopKind::Map => {
                Self::List { items: Vec::new(), needs: BTreeSet::new() }
            }
        }
    }

    pub(super) fn take(
        &mut self,
        made: Result<Made, EvaluationError>,
    ) -> Result<Option<Value>, EvaluationError> {
        match self {
            Self::Row(row) => {
                return row.take(made.map(|made| match made {
                    Made::Value(value) => value,
                    Made::Nothing => Value::Null,
                    Made::Perhaps(needs) => Value::Unknown(needs),
                }));
            }
            Self::One { count, needs } => match made? {
                Made::Value(Value::YesNo(value)) => *count += usize::from(value),
                Made::Value(Value::Unknown(more)) | Made::Perhaps(more) => {
                    needs.extend(more.iter());
                }
                Made::Value(other) => return Err(operands("exists_one", &[&other])),
                Made::Nothing => {}
            },
            Self::List { items, needs } => match made? {
                Made::Value(Value::Unknown(more)) | Made::Perhaps(more) => {
                    needs.extend(more.iter());
                }
                Made::Value(_) if items.len() == CONDITION_ITEMS_MAX => {
                    return Err(EvaluationError::TooManyItems);
                }
                Made::Value(value) => items.push(value),
                Made::Nothing => {}
            },
        }
        Ok(None)
    }

    /// The end, with the fact on which depends what else there is to go through.
    pub(super) fn end(self, open: Option<&'static str>) -> Evaluated {
        let (value, mut needs) = match self {
            Self::Row(mut row) => {
                row.open(open);
                return row.end();
            }
            Self::One { count, needs } => (Value::YesNo(count == 1), needs),
            Self::List { items, needs } => (Value::list(items), needs),
        };
        // One that is not known may come to no value at all, and with it the whole.
        needs.extend(open);
        Ok(if needs.is_empty() { value } else { Value::Unknown(Arc::new(needs)) })
    }
}
