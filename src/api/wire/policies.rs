//! The wire form of policies. Owns the shapes. Face: `PolicyList`, `PolicyView`. Never judges.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::Stage;
use crate::domain::policy::file::{BuiltIn, Policy};
use crate::domain::policy::{PolicySet, Rule};
use crate::operations::policies::Loading;

/// The policies in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyList {
    /// By name; `rules` is what the agent's configuration says of the five rules.
    pub items: Vec<PolicyView>,
    /// Where the list goes on: it never does.
    pub next: Option<String>,
    /// Since when they are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_at: Option<String>,
    /// Why newer ones are not in force; nothing when these are the newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// What it is, in a line.
    pub title: String,
    /// The same at length.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// Stands for its content, and for what the configuration lets it do instead.
    pub digest: String,
    /// What is done about a failure, by stage, where a rule says nothing else.
    pub action: BTreeMap<String, String>,
    /// Checks that it binds, then its own conditions.
    pub rules: Vec<PolicyRuleView>,
    /// Who is excepted.
    pub exceptions: Vec<PolicyExceptionView>,
    /// Tests in its file and beside it.
    pub tests: usize,
}

/// A rule of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyRuleView {
    /// The check's id, or the condition's.
    pub id: String,
    /// `service_check`, `host_check` or `condition`.
    pub kind: String,
    /// What it demands.
    pub title: String,
    /// How bad a failure is.
    pub severity: String,
    /// What is done about a failure, by stage.
    pub action: BTreeMap<String, String>,
    /// What to do about a failure.
    pub remediation: String,
    /// Controls of the CIS Docker Benchmark that it decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cis: Vec<String>,
}

/// Somebody who need not fulfil rules for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyExceptionView {
    /// Patterns of rules.
    pub rules: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// Who allowed it.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// When it is over.
    pub expires_at: String,
}

impl PolicyList {
    /// What is in force, and how the last try to change it went.
    pub fn of(set: &PolicySet, loading: &Loading) -> Self {
        Self {
            loaded_at: loading.loaded_at.map(|at| at.to_string()),
            problems: loading.problems.iter().map(ToString::to_string).collect(),
            ..Self::of_set(set)
        }
    }

    /// Policies, whether they are in force or not.
    pub fn of_set(set: &PolicySet) -> Self {
        let items = set.policies().iter().map(|policy| PolicyView::of(policy, set)).collect();
        Self { items, next: None, loaded_at: None, problems: Vec::new() }
    }
}

impl PolicyView {
    /// A policy of a set.
    pub fn of(policy: &Policy, set: &PolicySet) -> Self {
        let checks = policy.checks.iter().map(Rule::Check);
        let rules = checks.chain(policy.conditions.iter().map(Rule::Condition));
        let action = |stage: &Stage| {
            policy.actions.of(*stage).map(|action| (stage.to_string(), action.to_string()))
        };
        let exceptions = policy.exceptions.iter().map(|exception| PolicyExceptionView {
            rules: exception.rules.iter().map(|rule| rule.as_str().to_owned()).collect(),
            owner: exception.owner.clone(),
            approver: exception.approver.clone(),
            reason: exception.reason.clone(),
            expires_at: exception.expires_at.to_string(),
        });
        Self {
            name: policy.name.to_string(),
            title: policy.title.clone(),
            description: policy.description.clone(),
            owner: policy.owner.clone(),
            digest: policy.digest.to_string(),
            action: Stage::ALL.iter().filter_map(action).collect(),
            rules: rules.map(|rule| PolicyRuleView::of(&rule, policy)).collect(),
            exceptions: exceptions.collect(),
            tests: set.tests().iter().filter(|test| test.policy == policy.name).count(),
        }
    }
}

impl PolicyRuleView {
    fn of(rule: &Rule<'_>, policy: &Policy) -> Self {
        let (kind, cis) = match rule {
            Rule::Check(bound) => match bound.check {
                BuiltIn::Service(_) => ("service_check", bound.check.cis()),
                BuiltIn::Host(_) => ("host_check", bound.check.cis()),
            },
            Rule::Condition(_) => ("condition", [].as_slice()),
        };
        let action = |stage: &Stage| (stage.to_string(), rule.action(policy, *stage).to_string());
        Self {
            id: rule.id().to_owned(),
            kind: kind.to_owned(),
            title: rule.title().to_owned(),
            severity: rule.severity().to_string(),
            action: Stage::ALL.iter().map(action).collect(),
            remediation: rule.remediation().to_owned(),
            cis: cis.iter().map(|control| (*control).to_owned()).collect(),
        }
    }
}
