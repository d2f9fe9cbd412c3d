//! Puts right what a machine can before a service is planned, and says what is left. Owns how often it
//! tries, and what stops a deployment. Face: `harden`, `Hardened`, `Told`. Never acts: it changes what is
//! declared, so that plan, contract and container are about the same.

use super::set::{Admission, Finding, PolicySet, Question, strictest};
use super::{Action, CheckId, Remedy, Subject, Verdict};
use crate::base::Name;
use crate::base::limits::HARDEN_ROUNDS_MAX;
use crate::domain::alerts::Severity;
use crate::facts::ServiceSpec;

/// A service as policies let it be deployed, and what they say of it.
#[derive(Debug, Clone)]
pub struct Hardened {
    /// The contract with every remedy in it.
    pub spec: ServiceSpec,
    /// What was put right, in the order in which it was.
    pub changes: Vec<(Told, Remedy)>,
    /// What is still wrong, the strictest first.
    pub left: Vec<Told>,
}

/// A failure that nobody is excepted from, in words that outlive the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The service.
    pub service: String,
    /// The rule's id among rules of all kinds.
    pub code: String,
    /// The policies that found it, the strictest first.
    pub policies: Vec<Name>,
    /// What is asked for.
    pub action: Action,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The keys that lead to it, below the service.
    pub at: Vec<String>,
    /// What to do.
    pub remediation: String,
    /// It stops a deployment.
    pub is_refused: bool,
}

/// Applies the remedies of all rules whose action is `remediate`, until none is left to apply.
pub fn harden(set: &PolicySet, question: &Question<'_>) -> Hardened {
    let mut spec = question.subject.spec.clone();
    let mut changes = Vec::new();
    let mut rounds = 0;
    loop {
        let subject = Subject { spec: &spec, ..*question.subject };
        let findings = set.judge(&Question { subject: &subject, ..*question });
        let mut left = Vec::new();
        let mut next = spec.clone();
        for admission in strictest(&findings).iter().filter(|it| it.finding.is_open_failure()) {
            let finding = admission.finding;
            let is_due = finding.action == Action::Remediate && rounds < HARDEN_ROUNDS_MAX;
            let remedy = finding.remedy(&subject).filter(|_| is_due);
            let before = next.clone();
            if let Some(remedy) = &remedy {
                remedy.apply(&mut next);
            }
            match remedy.filter(|_| next != before) {
                Some(remedy) => changes.push((told(admission, &subject), remedy)),
                None => left.push(told(admission, &subject)),
            }
        }
        if next == spec {
            return Hardened { spec, changes, left };
        }
        spec = next;
        rounds += 1;
    }
}

/// What stops a deployment. An image is pinned when it is there: it is fetched first, and judged
/// again then.
fn is_refused(finding: &Finding<'_>, subject: &Subject<'_>) -> bool {
    match finding.action {
        Action::Off | Action::Audit | Action::Warn => false,
        Action::Remediate => {
            let waits = finding.code() == CheckId::ImageDigest.code();
            !(waits && subject.image.is_none())
        }
        Action::Deny | Action::Quarantine => true,
    }
}

fn told(admission: &Admission<'_, '_>, subject: &Subject<'_>) -> Told {
    let finding = admission.finding;
    let (message, at) = match &finding.verdict {
        Verdict::Fail { message, at } => (message.clone(), at.clone()),
        Verdict::Pass | Verdict::Unknown { .. } => (String::new(), Vec::new()),
    };
    let mut remediation = finding.rule.remediation().to_owned();
    if let Some(over) = finding.expired.iter().map(|it| it.expires_at).max() {
        remediation.push_str(&format!("; an exception for it ended at {over}"));
    }
    let mut policies = vec![finding.policy.name];
    policies.extend(&admission.also);
    Told {
        service: subject.service.to_owned(),
        code: finding.code(),
        policies,
        action: finding.action,
        severity: finding.severity,
        message,
        at,
        remediation,
        is_refused: is_refused(finding, subject),
    }
}
