//! Checks of capabilities. Owns what may be added and what has to be dropped. Face: `CHECKS`. Never
//! judges a privileged container's: that has them all, and a check of its own.

use std::collections::BTreeSet;

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, is_failure, quoted};
use crate::domain::alerts::Severity;
use crate::domain::policy::capabilities::{ALL, DANGEROUS, effective, plain};
use crate::domain::policy::{Remedy, SpecChange};

pub(super) const CHECKS: [Check; 3] = [
    Check {
        id: CheckId::CapabilitiesDangerous,
        title: "No container has a capability that gives the host away",
        severity: Severity::Critical,
        rationale: "With one of these a process that is root inside loads code into the kernel, \
                    reads other processes or changes the host's network: the walls of the \
                    container are no walls to it.",
        remediation: "remove it from `cap_add`, or allow it to this service alone",
        cis: &["5.4"],
        judge: dangerous,
        remedy: Some(remove_dangerous),
    },
    Check {
        id: CheckId::CapabilitiesAdded,
        title: "No container has capabilities beyond those that are allowed",
        severity: Severity::Medium,
        rationale: "Each capability is a part of root's power; a service needs few of them, and \
                    whoever breaks in has all of them.",
        remediation: "remove it from `cap_add`, or allow it with `capabilities_allowed`",
        cis: &["5.4"],
        judge: added,
        remedy: Some(remove_added),
    },
    Check {
        id: CheckId::CapabilitiesDropped,
        title: "Containers drop all capabilities and add those they need",
        severity: Severity::Low,
        rationale: "The engine gives fourteen capabilities to whoever does not say otherwise, \
                    among them those to forge packets and to change any file's owner. Few \
                    services need one of them.",
        remediation: "declare `cap_drop: [ALL]`, and `cap_add` for what is needed",
        cis: &["5.4"],
        judge: dropped,
        remedy: Some(drop_all),
    },
];

/// Capabilities that are in force, dangerous and not allowed.
fn dangers(subject: &Subject<'_>, parameters: &Parameters) -> Vec<&'static str> {
    if subject.spec.security.privileged {
        return Vec::new();
    }
    let has = effective(&subject.spec.security);
    let is_wrong =
        |name: &&&str| has.contains(**name) && !parameters.capabilities_allowed.contains(**name);
    DANGEROUS.iter().filter(is_wrong).copied().collect()
}

fn dangerous(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let found = dangers(subject, parameters);
    if found.is_empty() {
        return Verdict::Pass;
    }
    let is_all = subject.spec.security.cap_add.iter().any(|name| plain(name) == ALL);
    let what = match is_all {
        true => "every capability".to_owned(),
        false => quoted(found),
    };
    fail(format!("it adds {what}"), &["cap_add"])
}

fn remove_dangerous(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let found = dangers(subject, parameters);
    let is_wrong = |name: &&String| {
        let plain = plain(name);
        plain == ALL || found.contains(&plain.as_str())
    };
    let names = subject.spec.security.cap_add.iter().filter(is_wrong);
    recreate(names.map(|name| SpecChange::RemoveCapability(name.clone())).collect())
}

/// As they are spelled.
fn too_many<'a>(subject: &Subject<'a>, parameters: &Parameters) -> Vec<&'a str> {
    if subject.spec.security.privileged {
        return Vec::new();
    }
    let is_wrong = |name: &&String| {
        let plain = plain(name);
        // What is dangerous fails above; once is enough.
        plain != ALL
            && !DANGEROUS.contains(&plain.as_str())
            && !parameters.capabilities_allowed.contains(&plain)
    };
    subject.spec.security.cap_add.iter().filter(is_wrong).map(String::as_str).collect()
}

fn added(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let found = too_many(subject, parameters);
    match found.is_empty() {
        true => Verdict::Pass,
        false => fail(format!("it adds {}", quoted(found)), &["cap_add"]),
    }
}

fn remove_added(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let names = too_many(subject, parameters).into_iter();
    recreate(names.map(|name| SpecChange::RemoveCapability(name.to_owned())).collect())
}

fn dropped(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let security = &subject.spec.security;
    let has = |names: &BTreeSet<String>| names.iter().any(|name| plain(name) == ALL);
    match (has(&security.cap_add), has(&security.cap_drop)) {
        (false, true) => Verdict::Pass,
        // The engine takes the addition for the stronger word.
        (true, true) => fail("it drops all capabilities and adds all of them", &["cap_add"]),
        (_, false) => fail("it does not drop `ALL` capabilities", &["cap_drop"]),
    }
}

fn drop_all(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    is_failure(&dropped(subject, parameters)).then_some(())?;
    let all = subject.spec.security.cap_add.iter().filter(|name| plain(name) == ALL);
    let mut changes: Vec<SpecChange> =
        all.map(|name| SpecChange::RemoveCapability(name.clone())).collect();
    changes.push(SpecChange::DropCapability(ALL.to_owned()));
    recreate(changes)
}

fn recreate(changes: Vec<SpecChange>) -> Option<Remedy> {
    (!changes.is_empty()).then_some(Remedy::Recreate(changes))
}
