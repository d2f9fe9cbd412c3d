//! Checks of where a container's output goes. Owns what an engine fills in: a service that names no
//! driver has its daemon's. Face: `CHECKS`. Never takes a driver that it does not know for one that
//! fills the disk.

use std::collections::BTreeMap;

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, is_failure, unknown};
use crate::domain::alerts::Severity;
use crate::domain::policy::{Remedy, SpecChange};
use crate::facts::{DaemonOption, Logging};

pub(super) const CHECKS: [Check; 2] = [
    Check {
        id: CheckId::LogRotation,
        title: "Logs do not fill the disk",
        severity: Severity::Medium,
        rationale: "The driver `json-file` writes one file without end unless it is told a size: \
                    a service that talks much, or is made to, fills the host's disk.",
        remediation: "declare `logging.options.max-size` and `max-file`, or the driver `local`",
        cis: &[],
        judge: log_rotation,
        remedy: Some(rotate),
    },
    Check {
        id: CheckId::LoggingDisabled,
        title: "Somebody keeps the logs",
        severity: Severity::Medium,
        rationale: "With the driver `none` nobody finds out what happened.",
        remediation: "remove `logging.driver: none`",
        cis: &[],
        judge: logging_disabled,
        remedy: Some(enable),
    },
];

const JSON_FILE: &str = "json-file";
const NONE: &str = "none";
const MAX_SIZE: &str = "max-size";

/// A driver with its options, and whether the daemon's options could add to them.
struct Effective<'a> {
    driver: &'a str,
    options: Option<&'a BTreeMap<String, String>>,
    has_daemons: bool,
}

/// The driver in force; none when the daemon's is not known.
fn effective<'a>(subject: &Subject<'a>) -> Option<Effective<'a>> {
    let own = subject.spec.logging.as_ref();
    let options = own.map(|logging| &logging.options);
    let daemon = subject.host.and_then(|host| host.daemon.as_ref());
    let default = daemon.map(|daemon| daemon.logging_driver.as_str());
    let default = default.filter(|driver| !driver.is_empty());
    let declared = own.and_then(|logging| logging.driver.as_deref());
    let driver = declared.or(default)?;
    // The report of a container has the daemon's options already; another driver than the daemon's
    // has none of them.
    let is_other = declared.is_some() && default.is_some_and(|default| default != driver);
    Some(Effective { driver, options, has_daemons: subject.container.is_none() && !is_other })
}

fn is_size(text: &str) -> bool {
    !matches!(text.trim(), "" | "-1" | "0")
}

fn log_rotation(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let Some(found) = effective(subject) else { return unknown(vec!["host.logging"]) };
    if found.driver != JSON_FILE {
        return Verdict::Pass;
    }
    let at = &["logging", "options"];
    let wrong = || fail("its log is one file that grows without end", at);
    if let Some(size) = found.options.and_then(|options| options.get(MAX_SIZE)) {
        return if is_size(size) { Verdict::Pass } else { wrong() };
    }
    if !found.has_daemons {
        return wrong();
    }
    match subject.host.map(|host| host.option("log-opts", "log-opt")) {
        Some(DaemonOption::Set(options)) => {
            let size = options.iter().find_map(|option| option.strip_prefix("max-size="));
            if size.is_some_and(is_size) { Verdict::Pass } else { wrong() }
        }
        Some(DaemonOption::Default) => wrong(),
        Some(DaemonOption::Unknown) | None => unknown(vec!["host.logging"]),
    }
}

/// A size and a number of files that keep some days of an ordinary service.
fn rotate(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    is_failure(&log_rotation(subject, parameters)).then_some(())?;
    let mut logging =
        subject.spec.logging.clone().unwrap_or(Logging { driver: None, options: BTreeMap::new() });
    logging.driver = Some(JSON_FILE.to_owned());
    logging.options.insert(MAX_SIZE.to_owned(), "10m".to_owned());
    logging.options.entry("max-file".to_owned()).or_insert_with(|| "3".to_owned());
    Some(Remedy::Recreate(vec![SpecChange::Logging(logging)]))
}

fn logging_disabled(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    match effective(subject) {
        Some(found) if found.driver.eq_ignore_ascii_case(NONE) => {
            fail("its output is thrown away", &["logging", "driver"])
        }
        // A daemon's default is hardly ever `none`, and is looked at with the host.
        _ => Verdict::Pass,
    }
}

fn enable(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let is_wrong = logging_disabled(subject, parameters) != Verdict::Pass;
    let logging = Logging { driver: Some("local".to_owned()), options: BTreeMap::new() };
    is_wrong.then(|| Remedy::Recreate(vec![SpecChange::Logging(logging)]))
}
