//! Judges what is declared, or runs, against rules and policies. Owns the checks with their ids and
//! words, what each stage does about what they find, and policies that bind checks and conditions. Face:
//! `CHECKS`, `HOST_CHECKS`, `judge`, `Subject`, `Parameters`, `Rules`, `compile`, `PolicySet`. Never looks
//! anything up: where a fact is not known the verdict is `unknown`, and says which fact.

mod capabilities;
mod checks;
mod cis;
pub mod condition;
pub mod document;
pub mod file;
mod harden;
mod ids;
#[cfg(test)]
mod manual;
mod parameters;
mod paths;
mod remedy;
mod rules;
mod selector;
mod set;
mod shipped;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Timestamp;
use crate::domain::alerts::Severity;
use crate::facts::{ContainerFacts, ContentFile, HostFacts, ImageFacts, ServiceSpec};

pub use checks::{CHECKS, HOST_CHECKS, looked_at};
pub use cis::{CONTROLS, Control, deciders};
pub use harden::{Hardened, Told, harden};
pub use ids::{CheckId, RULES};
pub use parameters::{PARAMETERS, Parameter, ParameterError, Parameters};
pub use remedy::{LiveChange, Namespace, Remedy, SpecChange};
pub use rules::{Action, Rules};
pub use selector::{Pattern, PatternError, Selected, Selector};
pub use set::{
    Admission, Finding, Over, PolicySet, Question, Rule, Source, compile, compile_with, strictest,
};
pub use shipped::{SHIPPED, shipped_names, shipped_sources};
pub use trial::{Tried, try_out};

/// Driver options of volumes, by the volume's name on the engine: a volume of the driver `local`
/// can be a folder of the host.
pub type VolumeOptions = BTreeMap<String, BTreeMap<String, String>>;

/// What is judged: one service or container, and what else is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The service's name, or the container's where it has no service.
    pub service: &'a str,
    /// Its project.
    pub project: Option<&'a str>,
    /// What its containers are meant to be, or were found to be.
    pub spec: &'a ServiceSpec,
    /// Its image is built from files that are declared with it.
    pub is_built: bool,
    /// Its image, when that is known.
    pub image: Option<&'a ImageFacts>,
    /// The names in its environment whose values stand in a compose file, when that is known.
    pub literals: Option<&'a BTreeSet<String>>,
    /// The configs and secrets that it gets as files, by target path, when they are known.
    pub files: Option<&'a BTreeMap<String, ContentFile>>,
    /// The container that was found; `spec` is then what its engine reports, with the image's
    /// settings mixed in.
    pub container: Option<&'a ContainerFacts>,
    /// The host it runs on, or will.
    pub host: Option<&'a HostFacts>,
    /// The other services or containers that are known, without itself: for what is shared with
    /// them. One of them may be listed under every name by which others refer to it: service,
    /// container's name, id.
    pub peers: Option<&'a [(&'a str, &'a ServiceSpec)]>,
    /// The volumes that are known.
    pub volumes: Option<&'a VolumeOptions>,
    /// The commands of the processes inside, when somebody looked.
    pub processes: Option<&'a [String]>,
    /// Now, for what grows old.
    pub now: Option<Timestamp>,
}

impl<'a> Subject<'a> {
    /// A service of which nothing but its contract is known.
    pub const fn new(service: &'a str, spec: &'a ServiceSpec) -> Self {
        Self {
            service,
            project: None,
            spec,
            is_built: false,
            image: None,
            literals: None,
            files: None,
            container: None,
            host: None,
            peers: None,
            volumes: None,
            processes: None,
            now: None,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Pass,
    /// It is not.
    Fail {
        /// What is wrong: lower case, no full stop, and never a secret.
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

/// One check: words for people, and pure functions.
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
    /// The controls of the CIS Docker Benchmark (1.6) that it decides.
    pub cis: &'static [&'static str],
    /// The check itself.
    pub judge: fn(&Subject<'_>, &Parameters) -> Verdict,
    /// What a machine can do about a failure: afterwards the check passes.
    pub remedy: Option<fn(&Subject<'_>, &Parameters) -> Option<Remedy>>,
}

/// One check of a host.
#[derive(Debug, Clone, Copy)]
pub struct HostCheck {
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
    /// The controls of the CIS Docker Benchmark (1.6) that it decides.
    pub cis: &'static [&'static str],
    /// The check itself; the place of a failure is a path or the name of an option.
    pub judge: fn(&HostFacts, &Parameters) -> Verdict,
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

/// What one check found on one host.
#[derive(Debug, Clone)]
pub struct HostJudgement {
    /// The check.
    pub check: &'static HostCheck,
    /// What it found.
    pub verdict: Verdict,
}

/// The check of this id; `None` for one of hosts.
pub fn check(id: CheckId) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id == id)
}

/// The check of hosts of this id.
pub fn host_check(id: CheckId) -> Option<&'static HostCheck> {
    HOST_CHECKS.iter().find(|check| check.id == id)
}

/// Judges a service by every check, in the order of their ids.
pub fn judge(subject: &Subject<'_>, parameters: &Parameters) -> Vec<Judgement> {
    CHECKS.iter().map(|check| check.judged(subject, parameters)).collect()
}

/// Judges a service by the checks that stages have a word about.
pub fn judge_by_rules(subject: &Subject<'_>) -> Vec<Judgement> {
    let parameters = Parameters::default();
    let checks = RULES.iter().filter_map(|id| check(*id));
    checks.map(|check| check.judged(subject, &parameters)).collect()
}

/// Judges a host by every check of hosts.
pub fn judge_host(host: &HostFacts, parameters: &Parameters) -> Vec<HostJudgement> {
    let judged = |check: &'static HostCheck| HostJudgement {
        check,
        verdict: (check.judge)(host, parameters),
    };
    HOST_CHECKS.iter().map(judged).collect()
}

impl Check {
    fn judged(&'static self, subject: &Subject<'_>, parameters: &Parameters) -> Judgement {
        let verdict = (self.judge)(subject, parameters);
        Judgement { check: self, service: subject.service.to_owned(), verdict }
    }
}
