//! Keeps how far a run of a runbook file has come, and says what is next. Owns the order: forward,
//! and backward when a step failed. Face: `Journal`, `next`. Never does a step twice that has ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Act, Approval, CallStep, EvaluationError, Known, RunbookFile, Step, Told};
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::keyed::keyed;
use crate::domain::redaction::SafeText;

keyed! {
    /// How a step ended.
    pub enum Standing: "standing of a step" {
        /// It was done.
        Succeeded = "succeeded",
        /// It could not be done.
        Failed = "failed",
        /// Its condition did not hold.
        Skipped = "skipped",
        /// Somebody refused, or nobody answered in time.
        Refused = "refused",
    }
}

keyed! {
    /// Which way a run goes.
    pub enum Phase: "phase" {
        /// From step to step.
        Forward = "forward",
        /// Back over what was done.
        Backward = "backward",
    }
}

/// A step that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The step.
    pub id: String,
    /// How.
    pub standing: Standing,
    /// What it told.
    #[serde(default, skip_serializing_if = "Told::is_empty")]
    pub told: Told,
}

/// What somebody decided. Who that was is in the audit log alone, where a person can be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether it may go on.
    pub approved: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<SafeText>,
}

/// The step that was begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Open {
    /// The step.
    pub id: String,
    /// How often it has failed.
    pub failures: u32,
    /// What it is to change, as it was before: after a crash nobody could tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The run that it asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// When it counts as failed, or as refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What is to be approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<SafeText>,
    /// Whether whoever started the run may approve it.
    pub own: bool,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The attempt after whose step an operator is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<u32>,
}

/// How far a run has come; it is part of the run's details.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Journal {
    /// What the preflight found when the run began; none before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looks: Option<BTreeMap<String, Told>>,
    /// The steps that have ended, in their order.
    pub ended: Vec<Ended>,
    /// What was taken back, in that order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undone: Vec<Ended>,
    /// The one that was begun, or whose undo was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
}

impl Journal {
    /// How a step ended.
    pub fn ended(&self, id: &str) -> Option<&Ended> {
        self.ended.iter().find(|ended| ended.id == id)
    }

    /// Which way it goes.
    pub fn phase(&self) -> Phase {
        let is_bad = |it: &Ended| matches!(it.standing, Standing::Failed | Standing::Refused);
        if self.ended.iter().any(is_bad) { Phase::Backward } else { Phase::Forward }
    }

    /// The step that was begun, when it is this one.
    pub fn open(&self, id: &str) -> Option<&Open> {
        self.open.as_ref().filter(|open| open.id == id)
    }

    /// The begun step, which is this one from now on.
    pub fn begin(&mut self, id: &str) -> &mut Open {
        if self.open.as_ref().is_none_or(|open| open.id != id) {
            self.open = Some(Open { id: id.to_owned(), ..Open::default() });
        }
        self.open.get_or_insert_default()
    }

    /// A step, or its undo, has ended.
    pub fn end(&mut self, ended: Ended) {
        self.open = None;
        match self.phase() {
            Phase::Forward => self.ended.push(ended),
            Phase::Backward => self.undone.push(ended),
        }
    }
}

/// What is next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<'a> {
    /// This step calls.
    Call(&'a Step, &'a CallStep),
    /// This step waits for somebody.
    Approve(&'a Step, &'a Approval),
    /// This step's condition does not hold.
    Skip(&'a Step),
    /// This step's condition has no value.
    Wrong(&'a Step, EvaluationError),
    /// This step is taken back.
    Undo(&'a Step, &'a CallStep),
    /// Nothing: it ends.
    End,
}

/// What is next for a run that has come so far.
pub fn next<'a>(file: &'a RunbookFile, known: &Known) -> Next<'a> {
    let journal = &known.journal;
    if journal.phase() == Phase::Backward {
        return backward(file, journal);
    }
    let Some(step) = file.steps.iter().find(|step| journal.ended(&step.id).is_none()) else {
        return Next::End;
    };
    // What was begun is done, whatever its condition says by now.
    if let (Some(when), None) = (&step.when, journal.open(&step.id)) {
        match when.holds(known) {
            Ok(true) => {}
            Ok(false) => return Next::Skip(step),
            Err(error) => return Next::Wrong(step, error),
        }
    }
    match &step.act {
        Act::Call(call) => Next::Call(step, call),
        Act::Approve(approval) => Next::Approve(step, approval),
    }
}

fn backward<'a>(file: &'a RunbookFile, journal: &Journal) -> Next<'a> {
    let is_undone = |id: &str| journal.undone.iter().any(|undone| undone.id == id);
    for ended in journal.ended.iter().rev() {
        if ended.standing != Standing::Succeeded || is_undone(&ended.id) {
            continue;
        }
        if let Some(step) = file.step(&ended.id)
            && let Act::Call(call) = &step.act
            && call.undo.is_some()
        {
            return Next::Undo(step, call);
        }
    }
    Next::End
}
