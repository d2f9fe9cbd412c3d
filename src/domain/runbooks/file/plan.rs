//! Says what a run of a runbook file would do, as far as that is known before it begins. Owns the
//! words. Face: `plan`. Never guesses: what hangs on an earlier step is decided when it is reached.

use std::collections::BTreeMap;

use super::{Act, Calling, EvaluationError, Known, RunbookFile, Step};
use crate::domain::redaction::SafeText;
use crate::domain::runbooks::Preflight;

/// What is known of a step.
enum Planned {
    /// It is done, in these words.
    Done(String),
    /// Its condition does not hold.
    LeftOut,
    /// It hangs on an earlier step.
    DecidedLater(String),
    /// It cannot be done so.
    Wrong(String),
}

/// What a run would do: the same facts yield the same preflight.
pub fn plan(file: &RunbookFile, known: &Known) -> Preflight {
    let mut facts = BTreeMap::new();
    for (look, told) in &known.looks() {
        for (field, value) in told {
            facts.insert(format!("preflight.{look}.{field}"), value.to_string());
        }
    }
    let mut affected = 0;
    for (index, step) in file.steps.iter().enumerate() {
        let (is_done, words) = match planned(step, known) {
            Planned::Done(words) => (true, words),
            Planned::LeftOut => (false, "left out: its condition does not hold".to_owned()),
            Planned::DecidedLater(words) => (true, format!("{words}; decided when it is reached")),
            Planned::Wrong(words) => (true, format!("fails: {words}")),
        };
        affected += u64::from(is_done);
        let words = SafeText::new(words).to_string();
        facts.insert(format!("step {:02} {}", index + 1, step.id), words);
    }
    Preflight {
        affected_count: affected,
        total_count: file.steps.len() as u64,
        estimated_tenants: None,
        facts,
    }
}

fn planned(step: &Step, known: &Known) -> Planned {
    let words = match &step.act {
        Act::Call(call) => words(&call.calling, known),
        Act::Approve(approval) => approval
            .message
            .evaluate(known)
            .map(|message| format!("waits for an approval: {message}")),
    };
    let words = match words {
        Ok(words) => words,
        Err(EvaluationError::NoValue(_)) => label(step),
        Err(error) => return Planned::Wrong(error.to_string()),
    };
    match step.when.as_ref().map(|when| when.holds(known)) {
        None | Some(Ok(true)) => Planned::Done(words),
        Some(Ok(false)) => Planned::LeftOut,
        Some(Err(EvaluationError::NoValue(_))) => Planned::DecidedLater(words),
        Some(Err(error)) => Planned::Wrong(error.to_string()),
    }
}

fn label(step: &Step) -> String {
    match &step.act {
        Act::Call(call) => call.calling.call.to_string(),
        Act::Approve(_) => "waits for an approval".to_owned(),
    }
}

/// `project.restart project=shop`
fn words(calling: &Calling, known: &Known) -> Result<String, EvaluationError> {
    let mut words = calling.call.to_string();
    for (name, value) in &calling.with {
        words.push_str(&format!(" {name}={}", value.evaluate(known)?));
    }
    Ok(words)
}
