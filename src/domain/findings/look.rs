//! Says what somebody looked at and what was wrong there. Owns what a look covers. Face: `Look`,
//! `Violation`, `Standing`. Never takes what nobody could tell for fulfilled: it is left as it was.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Finding};
use crate::base::ids::{RunId, TenantId};
use crate::base::keyed::keyed;
use crate::base::limits::LOOK_VIOLATIONS_MAX;
use crate::base::{Digest, Timestamp};
use crate::domain::alerts::Severity;
use crate::domain::policy::{self, Verdict};
use crate::domain::redaction::SafeText;

/// Changes when what is hashed changes.
const VERSION: &[u8] = b"wharfinger evidence 1";
/// Where the scope key of a policy's findings begins.
const POLICY_SCOPE: &str = "policy:";

keyed! {
    /// How a subject stands to a policy; of several rules the worst counts.
    pub enum Standing: "standing" {
        /// It breaks a rule.
        Failing = "failing",
        /// It breaks rules, and is excepted from all of those.
        Excepted = "excepted",
        /// Whether it fulfils a rule depends on what is not known.
        Unknown = "unknown",
        /// It fulfils all of them.
        Passing = "passing",
    }
}

/// Something that a look saw and that should not be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The check: its code.
    pub check_id: String,
    /// The subject: `<project>/<service>/<number>`, a container's name, or `host`.
    pub subject: String,
    /// The place inside the subject.
    pub place: String,
    /// The project, if the subject is of one.
    pub project: Option<String>,
    /// The policies that say so, the strictest first; at least one.
    pub policies: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What is demanded.
    pub title: SafeText,
    /// What is wrong.
    pub message: SafeText,
    /// What to do.
    pub remediation: SafeText,
    /// Stands for what was seen: another one ends an acceptance. Hashes what does not change by
    /// itself, so no times and no ids of containers.
    pub evidence_hash: Digest,
}

impl Violation {
    /// What makes it the same as something seen before.
    pub fn evidence(&self) -> Evidence {
        Evidence::PolicyViolation {
            check_id: self.check_id.clone(),
            subject_external_id: self.subject.clone(),
            place: self.place.clone(),
        }
    }

    /// The key of its finding in a tenant.
    pub fn key(&self, tenant: TenantId) -> Digest {
        self.evidence().recurrence_key(tenant)
    }

    /// By what it was found: the strictest policy.
    pub fn scope_key(&self) -> String {
        scope_key(self.policies.first().map_or("", String::as_str))
    }
}

/// The scope key of a policy's findings.
pub fn scope_key(policy: &str) -> String {
    format!("{POLICY_SCOPE}{policy}")
}

/// The hash of evidence that consists of these parts.
pub fn evidence_hash(parts: &[&str]) -> Digest {
    let parts: Vec<&[u8]> =
        [VERSION].into_iter().chain(parts.iter().map(|it| it.as_bytes())).collect();
    Digest::of_parts(&parts)
}

/// What was looked at in a tenant, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The tenant.
    pub tenant: TenantId,
    /// When.
    pub at: Timestamp,
    /// The run that looked. One run counts a finding once, however often it looks.
    pub run: Option<RunId>,
    /// The policies that were judged by, by name. Whoever looks at everything names those too that are
    /// not in force any more: what they found is over then.
    pub policies: BTreeSet<String>,
    /// The subjects that were judged, with their projects.
    pub subjects: BTreeMap<String, Option<String>>,
    /// What was wrong.
    pub violations: Vec<Violation>,
    /// Checks that could not be judged, with their subjects: what is known of them stays.
    pub unknown: BTreeSet<(String, String)>,
    /// How each subject stands to each policy that is about it: policy, subject.
    pub standings: BTreeMap<(String, String), Standing>,
    /// All subjects of the tenant were looked at: who is not among them is gone.
    pub is_whole: bool,
}

impl Look {
    /// A look that has seen nothing yet.
    pub fn new(tenant: TenantId, at: Timestamp, run: Option<RunId>) -> Self {
        Self {
            tenant,
            at,
            run,
            policies: BTreeSet::new(),
            subjects: BTreeMap::new(),
            violations: Vec::new(),
            unknown: BTreeSet::new(),
            standings: BTreeMap::new(),
            is_whole: false,
        }
    }

    /// Adds a subject, whatever was found in it.
    pub fn cover(&mut self, subject: &str, project: Option<&str>) {
        self.subjects.insert(subject.to_owned(), project.map(str::to_owned));
    }

    /// Adds what the policies in force found in a subject, all of it together: of the same rule that
    /// found the same, the strictest counts.
    pub fn take(&mut self, subject: &str, project: Option<&str>, found: &[policy::Finding<'_>]) {
        self.cover(subject, project);
        for finding in found {
            let name = finding.policy.name.to_string();
            self.policies.insert(name.clone());
            let standing = match &finding.verdict {
                Verdict::Pass => Standing::Passing,
                Verdict::Unknown { .. } => Standing::Unknown,
                Verdict::Fail { .. } if finding.exception.is_some() => Standing::Excepted,
                Verdict::Fail { .. } => Standing::Failing,
            };
            self.stand(&name, subject, standing);
            if standing == Standing::Unknown {
                self.unknown.insert((finding.code(), subject.to_owned()));
            }
        }
        for admission in policy::strictest(found) {
            let finding = admission.finding;
            let (true, Verdict::Fail { message, at }) =
                (finding.is_open_failure(), &finding.verdict)
            else {
                continue;
            };
            let (check_id, place) = (finding.code(), at.join(","));
            let strictest = finding.policy.name.to_string();
            let also = admission.also.iter().map(ToString::to_string);
            self.see(Violation {
                evidence_hash: evidence_hash(&[&check_id, &place, message]),
                check_id,
                subject: subject.to_owned(),
                place,
                project: project.map(str::to_owned),
                policies: [strictest].into_iter().chain(also).collect(),
                severity: finding.severity,
                title: SafeText::new(finding.rule.title()),
                message: SafeText::new(message),
                remediation: SafeText::new(finding.rule.remediation()),
            });
        }
    }

    /// Notes how a subject stands to a policy. Of several words the worst counts.
    pub fn stand(&mut self, policy: &str, subject: &str, standing: Standing) {
        self.policies.insert(policy.to_owned());
        let place = self.standings.entry((policy.to_owned(), subject.to_owned()));
        let known = place.or_insert(standing);
        *known = (*known).min(standing);
    }

    /// Adds something that is wrong. What is too much for one look is left as it was.
    pub fn see(&mut self, violation: Violation) {
        self.policies.extend(violation.policies.iter().cloned());
        let subject = self.subjects.entry(violation.subject.clone());
        subject.or_insert_with(|| violation.project.clone());
        for policy in &violation.policies {
            let key = (policy.clone(), violation.subject.clone());
            self.standings.insert(key, Standing::Failing);
        }
        match self.violations.len() < LOOK_VIOLATIONS_MAX {
            true => self.violations.push(violation),
            false => {
                self.unknown.insert((violation.check_id, violation.subject));
            }
        }
    }

    /// Whether it would have seen this finding.
    pub fn covers(&self, finding: &Finding) -> bool {
        let Evidence::PolicyViolation { check_id, subject_external_id: subject, .. } =
            &finding.evidence
        else {
            return false;
        };
        let is_judged = |name: &str| self.policies.contains(name);
        let of_policies = match finding.told.policies.is_empty() {
            true => finding.scope_key.strip_prefix(POLICY_SCOPE).is_some_and(is_judged),
            false => finding.told.policies.iter().all(|name| is_judged(name)),
        };
        finding.tenant_id == self.tenant
            && of_policies
            && (self.is_whole || self.subjects.contains_key(subject))
            && !self.unknown.contains(&(check_id.clone(), subject.clone()))
    }
}
