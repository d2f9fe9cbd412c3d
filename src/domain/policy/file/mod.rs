//! Says what a policy is, written as YAML: what it is about, the checks and conditions that it binds,
//! what is done about what they find, who is excepted and until when, and its tests. Owns the shape.
//! Face: `Policy`, `read`, `read_tests`. Never judges, and never counts an exception that is over.

mod bindings;
mod exceptions;
mod read;
#[cfg(test)]
mod tests;
mod trials;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::condition::Condition;
use super::selector::{Pattern, Selected, Selector};
use super::{Action, Check, CheckId, HostCheck, Parameters};
use crate::base::yaml::Node;
use crate::base::{Digest, Location, Name, Timestamp};
use crate::domain::access::Stage;
use crate::domain::alerts::Severity;

pub use read::read;
pub(super) use trials::no_rule;
pub use trials::read_tests;

/// The name that no file may have: what the agent's configuration says of the five rules is a policy.
pub(super) const RULES_NAME: &str = "rules";

/// The code of every problem with a policy's file.
pub(super) const CODE: &str = "policy.invalid";

/// A policy as its file says.
#[derive(Debug)]
pub struct Policy {
    /// Its name, unique among all policies.
    pub name: Name,
    /// For people, in a line.
    pub title: String,
    /// For people, at length.
    pub description: String,
    /// Who is responsible for it.
    pub owner: String,
    /// What it is about: one of these selects it; none is everything.
    pub matches: Vec<Selector>,
    /// What it is not about although it matches.
    pub excludes: Vec<Selector>,
    /// What is done about what its rules find, where they do not say otherwise.
    pub actions: Actions,
    /// The checks that it binds, in the order of their ids.
    pub checks: Vec<BoundCheck>,
    /// Its own conditions, in the order of the file.
    pub conditions: Vec<BoundCondition>,
    /// Who is excepted.
    pub exceptions: Vec<Exception>,
    /// The tests in its own file.
    pub tests: Vec<Trial>,
    /// Stands for the file's content.
    pub digest: Digest,
    /// Where its name stands; none for what the agent's configuration says.
    pub place: Option<Location>,
}

/// What is done, by stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// In every stage that has no word of its own.
    pub default: Option<Action>,
    /// By stage.
    pub by_stage: BTreeMap<Stage, Action>,
}

impl Actions {
    /// What is done in a stage, when this says so.
    pub fn of(&self, stage: Stage) -> Option<Action> {
        self.by_stage.get(&stage).copied().or(self.default)
    }

    /// Puts others over these.
    fn overlay(&mut self, other: &Self) {
        if other.default.is_some() {
            // A word for all stages takes back the earlier ones for some.
            self.default = other.default;
            self.by_stage.clear();
        }
        self.by_stage.extend(&other.by_stage);
    }
}

/// A built-in check.
#[derive(Debug, Clone, Copy)]
pub enum BuiltIn {
    /// Of services and containers.
    Service(&'static Check),
    /// Of hosts.
    Host(&'static HostCheck),
}

impl BuiltIn {
    /// Its id.
    pub const fn id(self) -> CheckId {
        match self {
            Self::Service(check) => check.id,
            Self::Host(check) => check.id,
        }
    }

    /// The controls of the CIS Docker Benchmark that it decides.
    pub const fn cis(self) -> &'static [&'static str] {
        match self {
            Self::Service(check) => check.cis,
            Self::Host(check) => check.cis,
        }
    }

    /// How bad it is not to fulfil it.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Service(check) => check.severity,
            Self::Host(check) => check.severity,
        }
    }
}

/// A built-in check as a policy binds it.
#[derive(Debug, Clone)]
pub struct BoundCheck {
    /// The check.
    pub check: BuiltIn,
    /// With what.
    pub parameters: Arc<Parameters>,
    /// How bad a failure is here.
    pub severity: Severity,
    /// What is done about it, before the policy's own word.
    pub actions: Actions,
}

/// A condition of a policy's own.
#[derive(Debug)]
pub struct BoundCondition {
    /// Its name, unique in the policy and no check's.
    pub id: Name,
    /// What it demands.
    pub title: String,
    /// What has to be true.
    pub condition: Condition,
    /// What is wrong when it is not: lower case, no full stop.
    pub message: String,
    /// What to do then.
    pub remediation: String,
    /// The keys below the service that a failure is about.
    pub at: Vec<String>,
    /// How bad a failure is.
    pub severity: Severity,
    /// What is done about it, before the policy's own word.
    pub actions: Actions,
}

/// Somebody need not fulfil a rule for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Which rules of the policy: ids of checks and conditions.
    pub rules: Vec<Pattern>,
    /// Who.
    pub matches: Selector,
    /// Who answers for it.
    pub owner: String,
    /// Who asked for it, when that is somebody else.
    pub requester: Option<String>,
    /// Who allowed it: neither of the two.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// From when on it does not count any more.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub place: Location,
}

impl Exception {
    /// Whether it is for this rule and this subject, be it over or not.
    pub fn is_for(&self, rule: &str, selected: &Selected<'_>) -> bool {
        self.rules.iter().any(|it| it.matches(rule)) && self.matches.selects(selected)
    }

    /// Whether it still counts.
    pub fn counts(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// One test beside a policy: a service in the words of Compose, what else is known, and what is
/// expected.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What it shows.
    pub name: String,
    /// The policy that is tried.
    pub policy: Name,
    /// A compose file.
    pub compose: Compose,
    /// The service in it that is judged.
    pub service: Option<String>,
    /// Its image, in the words of a service of Compose.
    pub image: Option<Node>,
    /// Its project.
    pub project: String,
    /// The stage it is judged in.
    pub stage: Stage,
    /// The tenant it is judged in.
    pub tenant: Option<String>,
    /// When.
    pub now: Timestamp,
    /// What is expected of which rule.
    pub expects: Vec<Expectation>,
    /// Where it stands.
    pub place: Location,
}

/// A compose file within a test.
#[derive(Debug, Clone)]
pub enum Compose {
    /// As text, word for word.
    Text(Node),
    /// As a part of the test's own YAML.
    Tree(Node),
}

/// What is expected of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The id of the check or condition.
    pub rule: String,
    /// What it comes to.
    pub verdict: Expected,
    /// What is done about it, when that is said.
    pub action: Option<Action>,
    /// A part of the message, when that is said.
    pub message: Option<String>,
    /// The facts that are missing, when that is said.
    pub needs: Option<Vec<String>>,
    /// Where it stands.
    pub place: Location,
}

/// What a rule can come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is fulfilled.
    Pass,
    /// It is not.
    Fail,
    /// It depends on what is not known.
    Unknown,
    /// It is not fulfilled, and somebody is excepted.
    Excepted,
    /// The policy is not about this.
    Unmatched,
}

impl Expected {
    /// As a test writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Excepted => "excepted",
            Self::Unmatched => "unmatched",
        }
    }
}
