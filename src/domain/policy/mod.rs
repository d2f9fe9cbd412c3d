//! Judges what is declared, or runs, against rules. Owns the checks with their ids and words, and
//! what each stage does about what they find. Face: `CHECKS`, `judge`, `Subject`, `Rules`. Never
//! looks anything up: where a fact is not known the verdict is `unknown`, and says which fact.

mod compose_rules;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::base::keyed::keyed;
use crate::domain::alerts::Severity;
use crate::facts::{ImageFacts, ServiceSpec};

pub use compose_rules::CHECKS;
pub use rules::{Action, Rules};

keyed! {
    /// A check, by its stable id.
    pub enum CheckId: "check" {
        /// Every service has a health check.
        HealthCheck = "health_check",
        /// A service does not run as root.
        NonRootUser = "non_root_user",
        /// Secrets come from files outside of the configuration alone.
        ExternalSecrets = "external_secrets",
        /// Images have a specific tag.
        ImageTag = "image_tag",
        /// CPU and memory are limited.
        Limits = "limits",
    }
}

/// What is judged: one service, and what else is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The service's name.
    pub service: &'a str,
    /// What its containers are meant to be, or were found to be.
    pub spec: &'a ServiceSpec,
    /// Its image is built from files that are declared with it.
    pub is_built: bool,
    /// Its image, when that is known.
    pub image: Option<&'a ImageFacts>,
    /// The names in its environment whose values stand in a compose file, when that is known.
    pub literals: Option<&'a BTreeSet<String>>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Pass,
    /// It is not.
    Fail {
        /// What is wrong: lower case, no full stop.
        message: String,
        /// The keys that lead to it, below the service.
        at: Vec<String>,
    },
    /// It depends on what is not known here.
    Unknown {
        /// The facts that are missing, such as `image.user`.
        needs: Vec<&'static str>,
    },
}

/// One check: words for people, and a pure function.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its stable id.
    pub id: CheckId,
    /// What it demands: a sentence without full stop.
    pub title: &'static str,
    /// How bad it is not to fulfil it.
    pub severity: Severity,
    /// Why it is demanded.
    pub rationale: &'static str,
    /// What to do.
    pub remediation: &'static str,
    /// The check itself.
    pub judge: fn(&Subject<'_>) -> Verdict,
}

impl CheckId {
    /// The id where rules of several kinds stand together: in diagnostics, notices and SARIF.
    pub const fn code(self) -> &'static str {
        match self {
            Self::HealthCheck => "rule.health_check",
            Self::NonRootUser => "rule.non_root_user",
            Self::ExternalSecrets => "rule.external_secrets",
            Self::ImageTag => "rule.image_tag",
            Self::Limits => "rule.limits",
        }
    }
}

/// What one check found in one service.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The check.
    pub check: &'static Check,
    /// The service.
    pub service: String,
    /// What it found.
    pub verdict: Verdict,
}

/// Judges a service by every check, in the order of their ids.
pub fn judge(subject: &Subject<'_>) -> Vec<Judgement> {
    let judged = |check: &'static Check| Judgement {
        check,
        service: subject.service.to_owned(),
        verdict: (check.judge)(subject),
    };
    CHECKS.iter().map(judged).collect()
}
