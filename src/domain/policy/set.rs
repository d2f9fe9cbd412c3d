//! The policies that are in force together. Owns how they are compiled, which of them are about a
//! subject, what they find, and what counts when several are. Face: `compile`, `PolicySet`,
//! `Question`, `Finding`, `Admission`. Never takes a set with a broken policy: whoever holds the last
//! good one keeps it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::condition::{Outcome, Steps};
use super::document::document;
use super::file::{self, BoundCheck, BoundCondition, BuiltIn, Exception, Policy, Trial};
use super::selector::{Selected, Selector};
use super::{Action, Parameters, Remedy, Rules, Subject, Verdict, check};
use crate::base::limits::{DIAGNOSTICS_MAX, POLICIES_MAX, POLICY_CONDITIONS_ALL_MAX};
use crate::base::{Diagnostic, Diagnostics, Digest, Name, Timestamp};
use crate::domain::access::Stage;
use crate::domain::alerts::Severity;
use crate::facts::HostFacts;

/// A file of policies: its name, as the user knows it, and its content.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file.
    pub file: &'a str,
    /// What is in it.
    pub text: &'a str,
}

impl Source<'_> {
    /// Whether it holds tests and no policy: `baseline.test.yaml`.
    pub fn is_tests(&self) -> bool {
        [".test.yaml", ".test.yml"].iter().any(|end| self.file.ends_with(end))
    }
}

/// Policies that are in force together, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    policies: Vec<Arc<Policy>>,
    tests: Vec<Trial>,
}

/// Compiles policies and the tests beside them.
///
/// # Errors
/// Every problem of every file, each with its place. None of the policies is in force then.
pub fn compile(sources: &[Source<'_>]) -> Result<PolicySet, Diagnostics> {
    compile_with(sources, &BTreeMap::new())
}

/// The same, where some policies, by their file, are to do something else than they say.
///
/// # Errors
/// Every problem of every file, each with its place. None of the policies is in force then.
pub fn compile_with(
    sources: &[Source<'_>],
    actions: &BTreeMap<String, Action>,
) -> Result<PolicySet, Diagnostics> {
    let mut problems = Vec::new();
    let mut policies: BTreeMap<Name, (Arc<Policy>, &str)> = BTreeMap::new();
    let mut tests = Vec::new();
    let is_policy = |source: &&Source<'_>| !source.is_tests();
    if sources.iter().filter(is_policy).count() > POLICIES_MAX {
        let message = format!("at most {POLICIES_MAX} policies are in force together");
        return Err(Diagnostic::new(file::CODE, message).into());
    }
    if sources.iter().filter(|source| source.is_tests()).count() > POLICIES_MAX {
        let message = format!("at most {POLICIES_MAX} files of tests stand beside them");
        return Err(Diagnostic::new(file::CODE, message).into());
    }
    for source in sources.iter().filter(is_policy) {
        match file::read(source.file, source.text) {
            Err(more) => problems.extend(more.0),
            Ok(mut policy) => match policies.get(&policy.name) {
                Some((_, other)) => {
                    let message = format!("{other} has a policy `{}` too", policy.name);
                    let problem = Diagnostic::new(file::CODE, message).help("choose another name");
                    let place = policy.place.clone();
                    problems.push(Diagnostic { location: place, ..problem });
                }
                None => {
                    if let Some(action) = actions.get(source.file) {
                        policy.act(*action);
                    }
                    tests.extend(policy.tests.iter().cloned());
                    policies.insert(policy.name, (Arc::new(policy), source.file));
                }
            },
        }
    }
    let policies: Vec<Arc<Policy>> = policies.into_values().map(|(policy, _)| policy).collect();
    let count: usize = policies.iter().map(|policy| policy.conditions.len()).sum();
    if count > POLICY_CONDITIONS_ALL_MAX {
        let message =
            format!("all policies together have at most {POLICY_CONDITIONS_ALL_MAX} conditions");
        problems.push(Diagnostic::new(file::CODE, message));
    }
    let is_whole = problems.is_empty();
    for source in sources.iter().filter(|source| source.is_tests()) {
        match file::read_tests(source.file, source.text) {
            Err(more) => problems.extend(more.0),
            // What a broken policy has nobody knows.
            Ok(_) if !is_whole => {}
            Ok(more) => {
                problems.extend(strangers(&policies, &more));
                tests.extend(more);
            }
        }
    }
    if !problems.is_empty() {
        problems.truncate(DIAGNOSTICS_MAX);
        return Err(Diagnostics(problems));
    }
    Ok(PolicySet { policies, tests })
}

/// What the tests of a file name and nobody has.
fn strangers(policies: &[Arc<Policy>], tests: &[Trial]) -> Vec<Diagnostic> {
    let Some(first) = tests.first() else { return Vec::new() };
    let name = first.policy;
    let Some(policy) = policies.iter().find(|policy| policy.name == name) else {
        let message = format!("there is no policy `{name}`");
        return vec![Diagnostic::new(file::CODE, message).at(first.place.clone())];
    };
    let rules: Vec<String> = policy.rules().map(str::to_owned).collect();
    let expected = tests.iter().flat_map(|test| &test.expects);
    let strangers = expected.filter(|expected| !rules.contains(&expected.rule));
    strangers.map(|expected| file::no_rule(expected, &rules)).collect()
}

/// What is asked of a set: one service or container, and where and when.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What is judged.
    pub subject: &'a Subject<'a>,
    /// The stage of its tenant.
    pub stage: Stage,
    /// Its tenant's name.
    pub tenant: Option<&'a str>,
    /// Now: by it exceptions end.
    pub now: Timestamp,
}

/// A rule of a policy.
#[derive(Debug, Clone, Copy)]
pub enum Rule<'a> {
    /// A built-in check.
    Check(&'a BoundCheck),
    /// A condition of the policy's own.
    Condition(&'a BoundCondition),
}

impl Rule<'_> {
    /// Its id: the check's, or the condition's within its policy.
    pub fn id(&self) -> &str {
        match self {
            Self::Check(bound) => bound.check.id().key(),
            Self::Condition(bound) => bound.id.as_str(),
        }
    }

    /// What it demands.
    pub fn title(&self) -> &str {
        match self {
            Self::Check(bound) => match bound.check {
                BuiltIn::Service(check) => check.title,
                BuiltIn::Host(check) => check.title,
            },
            Self::Condition(bound) => &bound.title,
        }
    }

    /// What to do when it is not fulfilled.
    pub fn remediation(&self) -> &str {
        match self {
            Self::Check(bound) => match bound.check {
                BuiltIn::Service(check) => check.remediation,
                BuiltIn::Host(check) => check.remediation,
            },
            Self::Condition(bound) => &bound.remediation,
        }
    }

    /// How bad a failure is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Check(bound) => bound.severity,
            Self::Condition(bound) => bound.severity,
        }
    }

    /// What is done about a failure.
    pub fn action(&self, policy: &Policy, stage: Stage) -> Action {
        let own = match self {
            Self::Check(bound) => &bound.actions,
            Self::Condition(bound) => &bound.actions,
        };
        own.of(stage).or(policy.actions.of(stage)).unwrap_or(Action::Warn)
    }
}

/// What one rule of one policy found.
#[derive(Debug, Clone)]
pub struct Finding<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The rule.
    pub rule: Rule<'a>,
    /// What it found.
    pub verdict: Verdict,
    /// A condition that could not be judged; the verdict is a failure then.
    pub is_broken: bool,
    /// How bad a failure is.
    pub severity: Severity,
    /// What is done about a failure.
    pub action: Action,
    /// Who is excepted: nothing is done about a failure then.
    pub exception: Option<&'a Exception>,
    /// Exceptions that would have been for this failure and are over.
    pub expired: Vec<&'a Exception>,
}

impl Finding<'_> {
    /// The id where rules of several kinds stand together: a check's code, or `policy.<name>.<id>`.
    pub fn code(&self) -> String {
        match self.rule {
            Rule::Check(bound) => bound.check.id().code().to_owned(),
            Rule::Condition(bound) => format!("policy.{}.{}", self.policy.name, bound.id),
        }
    }

    /// Whether something is wrong that nobody is excepted from.
    pub fn is_open_failure(&self) -> bool {
        matches!(self.verdict, Verdict::Fail { .. }) && self.exception.is_none()
    }

    /// What a machine can do about it.
    pub fn remedy(&self, subject: &Subject<'_>) -> Option<Remedy> {
        match self.rule {
            Rule::Check(BoundCheck { check: BuiltIn::Service(check), parameters, .. })
                if self.is_open_failure() =>
            {
                check.remedy.and_then(|remedy| remedy(subject, parameters))
            }
            _ => None,
        }
    }
}

/// An exception that is over, with its policy.
#[derive(Debug, Clone, Copy)]
pub struct Over<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The exception.
    pub exception: &'a Exception,
}

/// What findings of several policies come to for one rule: the strictest action counts.
#[derive(Debug, Clone)]
pub struct Admission<'a, 'b> {
    /// What counts.
    pub finding: &'b Finding<'a>,
    /// Other policies that found the same.
    pub also: Vec<Name>,
}

impl Policy {
    /// The ids of its rules.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        let checks = self.checks.iter().map(|bound| bound.check.id().key());
        checks.chain(self.conditions.iter().map(|bound| bound.id.as_str()))
    }

    /// Whether it is about this.
    pub fn is_about(&self, selected: &Selected<'_>) -> bool {
        let is_one = |all: &[Selector]| all.iter().any(|one| one.selects(selected));
        (self.matches.is_empty() || is_one(&self.matches)) && !is_one(&self.excludes)
    }

    /// Lets all of its rules do this, except those that are off.
    fn act(&mut self, action: Action) {
        self.actions = file::Actions { default: Some(action), by_stage: BTreeMap::new() };
        let checks = self.checks.iter_mut().map(|bound| &mut bound.actions);
        let conditions = self.conditions.iter_mut().map(|bound| &mut bound.actions);
        for own in checks.chain(conditions) {
            own.default = own.default.filter(|own| *own == Action::Off);
            own.by_stage.retain(|_, own| *own == Action::Off);
        }
        let parts: [&[u8]; 3] =
            [b"wharfinger policy 1", self.digest.as_bytes(), action.key().as_bytes()];
        self.digest = Digest::of_parts(&parts);
    }

    /// What the agent's configuration says of the five rules, as a policy.
    fn of_rules(name: Name, rules: &Rules) -> Self {
        let checks = super::RULES.iter().filter_map(|id| check(*id)).map(|check| {
            let action = |stage: &Stage| (*stage, rules.action(*stage, check.id));
            BoundCheck {
                check: BuiltIn::Service(check),
                parameters: Arc::new(Parameters::default()),
                severity: check.severity,
                actions: file::Actions {
                    default: None,
                    by_stage: Stage::ALL.iter().map(action).collect(),
                },
            }
        });
        let text = "what the agent's configuration says under `rules`";
        let cells = Stage::ALL
            .iter()
            .flat_map(|stage| super::RULES.into_iter().map(move |id| (*stage, id)));
        let cell = |(stage, id): (Stage, super::CheckId)| {
            format!("{stage}.{id}={}", rules.action(stage, id))
        };
        let table: Vec<String> = cells.map(cell).collect();
        Self {
            name,
            title: "The rules of the agent's configuration".to_owned(),
            description: text.to_owned(),
            owner: "the agent's configuration".to_owned(),
            matches: Vec::new(),
            excludes: Vec::new(),
            actions: file::Actions::default(),
            checks: checks.collect(),
            conditions: Vec::new(),
            exceptions: Vec::new(),
            tests: Vec::new(),
            digest: Digest::of_parts(&[b"wharfinger rules 1", table.join(" ").as_bytes()]),
            place: None,
        }
    }
}

impl PolicySet {
    /// The same, with what the agent's configuration says of the five rules.
    #[must_use]
    pub fn with_rules(mut self, rules: &Rules) -> Self {
        if let Ok(name) = file::RULES_NAME.parse() {
            self.policies.retain(|other| other.name != name);
            self.policies.push(Arc::new(Policy::of_rules(name, rules)));
            self.policies.sort_by_key(|policy| policy.name);
        }
        self
    }

    /// The policy of this name alone, without tests.
    pub(super) fn only(&self, name: Name) -> Option<Self> {
        let policy = self.policies.iter().find(|policy| policy.name == name)?;
        Some(Self { policies: vec![Arc::clone(policy)], tests: Vec::new() })
    }

    /// All of them, by name.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// The policy of this name.
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name.as_str() == name).map(|it| &**it)
    }

    /// The tests beside them.
    pub fn tests(&self) -> &[Trial] {
        &self.tests
    }

    /// Whether a rule asks what runs inside containers, which costs a call of the engine for each.
    pub fn asks_for_processes(&self) -> bool {
        self.policies.iter().any(|policy| {
            let is_check = |bound: &BoundCheck| match &bound.check {
                BuiltIn::Service(check) => check.id == super::CheckId::SshServer,
                BuiltIn::Host(_) => false,
            };
            let mut conditions = policy.conditions.iter();
            policy.checks.iter().any(is_check)
                || conditions.any(|bound| bound.condition.text().contains("processes"))
        })
    }

    /// Whether nothing is done about anything.
    pub fn is_idle(&self) -> bool {
        let acts = |policy: &Policy, rule: Rule<'_>| {
            Stage::ALL.iter().any(|stage| rule.action(policy, *stage) != Action::Off)
        };
        self.policies.iter().all(|policy| {
            let mut rules = policy.checks.iter().map(Rule::Check);
            let mut own = policy.conditions.iter().map(Rule::Condition);
            !rules.any(|rule| acts(policy, rule)) && !own.any(|rule| acts(policy, rule))
        })
    }

    /// The exceptions that are over, however long.
    pub fn expired(&self, now: Timestamp) -> Vec<Over<'_>> {
        let mut over = Vec::new();
        for policy in &self.policies {
            for exception in policy.exceptions.iter().filter(|it| !it.counts(now)) {
                over.push(Over { policy, exception });
            }
        }
        over
    }

    /// The policies that are about a subject.
    pub fn about<'a>(&'a self, question: &Question<'_>) -> Vec<&'a Policy> {
        let selected = question.selected();
        let about = self.policies.iter().filter(|policy| policy.is_about(&selected));
        about.map(|policy| &**policy).collect()
    }

    /// Judges a service or container by every policy that is about it, by every rule that is not
    /// switched off: by policy, then checks by id, then conditions in the order of their file.
    pub fn judge(&self, question: &Question<'_>) -> Vec<Finding<'_>> {
        let subject = Subject { now: Some(question.now), ..*question.subject };
        let mut steps = Steps::default();
        // Built once, and only for who has conditions.
        let mut object = None;
        let mut findings = Vec::new();
        for policy in self.about(question) {
            for bound in &policy.checks {
                let BuiltIn::Service(check) = bound.check else { continue };
                let rule = Rule::Check(bound);
                if rule.action(policy, question.stage) == Action::Off {
                    continue;
                }
                let verdict = (check.judge)(&subject, &bound.parameters);
                findings.push(question.found(policy, rule, verdict, false));
            }
            for bound in &policy.conditions {
                let rule = Rule::Condition(bound);
                if rule.action(policy, question.stage) == Action::Off {
                    continue;
                }
                let object = object.get_or_insert_with(|| document(&subject));
                steps.begin();
                let (verdict, is_broken) = match bound.condition.evaluate(object, &mut steps) {
                    Ok(Outcome::Known(true)) => (Verdict::Pass, false),
                    Ok(Outcome::Known(false)) => (bound.fails(bound.message.clone()), false),
                    Ok(Outcome::Unknown(needs)) => {
                        (Verdict::Unknown { needs: needs.into_iter().collect() }, false)
                    }
                    Err(error) => (bound.fails(format!("it cannot be judged: {error}")), true),
                };
                findings.push(question.found(policy, rule, verdict, is_broken));
            }
        }
        findings
    }

    /// Judges a host by the checks of hosts that policies bind, of those that do not select services.
    pub fn judge_host(
        &self,
        host: &HostFacts,
        stage: Stage,
        tenant: Option<&str>,
        now: Timestamp,
    ) -> Vec<Finding<'_>> {
        let selected = Selected { subject: None, stage, tenant };
        let mut findings = Vec::new();
        for policy in self.policies.iter().filter(|policy| policy.is_about(&selected)) {
            for bound in &policy.checks {
                let BuiltIn::Host(check) = bound.check else { continue };
                let rule = Rule::Check(bound);
                if rule.action(policy, stage) == Action::Off {
                    continue;
                }
                let verdict = (check.judge)(host, &bound.parameters);
                findings.push(found(policy, rule, verdict, false, &selected, now));
            }
        }
        findings
    }
}

/// What counts of the findings about one subject: of those of the same rule that found the same, the
/// one with the strictest action; then the most severe first.
pub fn strictest<'a, 'b>(findings: &'b [Finding<'a>]) -> Vec<Admission<'a, 'b>> {
    let mut admissions: Vec<Admission<'a, 'b>> = Vec::new();
    for finding in findings {
        let is_same = |other: &Admission<'_, '_>| {
            other.finding.code() == finding.code()
                && other.finding.verdict == finding.verdict
                && other.finding.exception.is_some() == finding.exception.is_some()
        };
        match admissions.iter_mut().find(|other| is_same(other)) {
            Some(other) => {
                let is_stricter = (finding.action, finding.severity)
                    > (other.finding.action, other.finding.severity);
                let weaker = if is_stricter { other.finding } else { finding };
                other.also.push(weaker.policy.name);
                if is_stricter {
                    other.finding = finding;
                }
            }
            None => admissions.push(Admission { finding, also: Vec::new() }),
        }
    }
    admissions.sort_by_key(|admission| {
        let finding = admission.finding;
        std::cmp::Reverse((finding.is_open_failure(), finding.action, finding.severity))
    });
    admissions
}

impl BoundCondition {
    fn fails(&self, message: String) -> Verdict {
        Verdict::Fail { message, at: self.at.clone() }
    }
}

impl Question<'_> {
    fn selected(&self) -> Selected<'_> {
        Selected { subject: Some(self.subject), stage: self.stage, tenant: self.tenant }
    }

    fn found<'a>(
        &self,
        policy: &'a Policy,
        rule: Rule<'a>,
        verdict: Verdict,
        is_broken: bool,
    ) -> Finding<'a> {
        found(policy, rule, verdict, is_broken, &self.selected(), self.now)
    }
}

fn found<'a>(
    policy: &'a Policy,
    rule: Rule<'a>,
    verdict: Verdict,
    is_broken: bool,
    selected: &Selected<'_>,
    now: Timestamp,
) -> Finding<'a> {
    let mut exception: Option<&'a Exception> = None;
    let mut expired = Vec::new();
    if matches!(verdict, Verdict::Fail { .. }) {
        for one in policy.exceptions.iter().filter(|it| it.is_for(rule.id(), selected)) {
            match one.counts(now) {
                // Of several, the one that lasts longest.
                true => {
                    let is_longer = |it: &&Exception| it.expires_at >= one.expires_at;
                    exception = exception.filter(is_longer).or(Some(one));
                }
                false => expired.push(one),
            }
        }
    }
    let severity = rule.severity();
    let action = rule.action(policy, selected.stage);
    Finding { policy, rule, verdict, is_broken, severity, action, exception, expired }
}
