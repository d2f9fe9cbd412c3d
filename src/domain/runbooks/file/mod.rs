//! Says what a user's own runbook is, written as YAML: what it asks, what it looks at, its steps and
//! how they are taken back. Owns the shape. Face: `RunbookFile`, `Journal`, `next`. Never acts, and
//! never forgets the text that it was read from: a run keeps that.

mod calls;
mod expression;
mod journal;
mod names;
mod plan;
mod read;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{Arguments, Entry, Parameter, Scope};
use crate::base::ids::RunId;
use crate::base::keyed::keyed;
use crate::base::{Digest, Name};
use crate::domain::access::CapabilitySet;

pub use calls::{Acts, Call, Takes};
pub use expression::{EvaluationError, Expression, ExpressionError, Names, Path, Template};
pub use journal::{Decision, Ended, Journal, Next, Open, Phase, Standing, next};
pub use names::Known;
pub use plan::plan;
pub use read::read;

/// A runbook as its file says.
#[derive(Debug, Clone, PartialEq)]
pub struct RunbookFile {
    /// What the catalog shows.
    pub entry: Entry,
    /// Its name in the catalog.
    pub name: Name,
    /// What it looks at before it starts.
    pub looks: Vec<Look>,
    /// What it does, in this order.
    pub steps: Vec<Step>,
    /// Stands for the file's content.
    pub digest: Digest,
    /// The content.
    pub text: String,
}

/// Something that is looked at before a start.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Its name among the looks.
    pub id: String,
    /// What looks.
    pub calling: Calling,
}

/// An operation, and with what.
#[derive(Debug, Clone, PartialEq)]
pub struct Calling {
    /// The operation.
    pub call: Call,
    /// With what, by the names of its inputs.
    pub with: Vec<(String, Template)>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name among the steps.
    pub id: String,
    /// For people.
    pub label: String,
    /// The condition under which it is done.
    pub when: Option<Expression>,
    /// What it does.
    pub act: Act,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Calls an operation.
    Call(Box<CallStep>),
    /// Waits until somebody approves.
    Approve(Approval),
}

/// A step that calls an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct CallStep {
    /// What it calls.
    pub calling: Calling,
    /// What becomes of it when nobody knows whether it acted.
    pub on_unknown: OnUnknown,
    /// How often it is tried.
    pub tries: u32,
    /// The pause between two tries.
    pub pause: Duration,
    /// The longest time of one try.
    pub timeout: Duration,
    /// What takes it back.
    pub undo: Option<Calling>,
}

/// A step that waits until somebody approves.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// What is to be approved, for people.
    pub message: Template,
    /// How long it is waited for; after that it counts as refused.
    pub deadline: Duration,
    /// Whether whoever started the runbook may approve it too.
    pub own: bool,
}

keyed! {
    /// What becomes of a step when nobody knows whether it acted.
    pub enum OnUnknown: "answer to an unknown step" {
        /// It is done again: every operation recognises what it did.
        Retry = "retry",
        /// It is looked whether it was done.
        Probe = "probe",
        /// An operator is asked.
        Ask = "ask",
    }
}

impl RunbookFile {
    /// What it can be told.
    pub fn parameters(&self) -> &[Parameter] {
        &self.entry.parameters
    }

    /// What whoever starts it must be allowed: its own, and what its operations need.
    pub fn needs(&self) -> CapabilitySet {
        let needed = self.calls().map(Call::capability);
        needed.chain([self.entry.capability]).collect()
    }

    /// Whether it works for all tenants although it is started with this scope: one of its
    /// operations knows no other one.
    pub fn works_for_all(&self, scope: Scope) -> bool {
        let for_all = |call: Call| call.reach(scope) == Scope::AllTenants;
        self.calls().any(|call| call.runbook().is_some() && for_all(call))
    }

    /// Everything that it calls.
    fn calls(&self) -> impl Iterator<Item = Call> {
        let looks = self.looks.iter().map(|look| &look.calling);
        let steps = self.steps.iter().filter_map(|step| match &step.act {
            Act::Call(call) => Some(call),
            Act::Approve(_) => None,
        });
        let steps = steps.flat_map(|call| std::iter::once(&call.calling).chain(&call.undo));
        looks.chain(steps).map(|calling| calling.call)
    }

    /// The step of this name.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }
}

/// The id of a run that a step asks for: the same each time it is asked for, so that a crash between
/// asking and noting it asks for nothing twice. It sorts where the runbook's own run does.
pub fn run_of_step(run: RunId, step: &str, attempt: u32, is_undo: bool) -> RunId {
    let digest = Digest::of_parts(&[
        b"wharfinger step of a runbook 1",
        run.as_bytes(),
        step.as_bytes(),
        &attempt.to_be_bytes(),
        &[u8::from(is_undo)],
    ]);
    let mut bytes = *run.as_bytes();
    // The time and the version stay; what was random follows from the step.
    bytes[9..].copy_from_slice(&digest.as_bytes()[..7]);
    RunId::from_u128(u128::from_be_bytes(bytes))
}

/// What a step told.
pub type Told = Arguments;
