//! Prints findings as SARIF 2.1.0, which code hosts and editors read. Owns the shape. Face: `log`,
//! `log_of`, `Entry`, `Level`. Never invents a rule: a result's rule is the stable code of its diagnostic.

use serde_json::{Map, Value, json};

use crate::base::{Diagnostic, Digest, Location};
use crate::domain::alerts::Severity;
use crate::domain::compose::title_of;
use crate::domain::policy::{CHECKS, HOST_CHECKS};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// It is refused.
    Error,
    /// It works and should be looked at.
    Warning,
    /// It is recorded.
    Note,
}

impl Level {
    /// The word of SARIF, which JSON output uses as well.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A result with what its rule says.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub level: Level,
    /// The rule's stable code.
    pub code: String,
    /// What the rule demands.
    pub title: String,
    /// What to do.
    pub help: String,
    pub message: String,
    pub location: Option<Location>,
    /// What it is about, when that is more than a place.
    pub subject: Option<String>,
    /// Why nothing is done about it.
    pub suppression: Option<String>,
    pub properties: Map<String, Value>,
}

impl Entry {
    /// A problem with a file.
    pub(super) fn of(level: Level, found: &Diagnostic) -> Self {
        let message = match &found.help {
            Some(help) => format!("{}; {help}", found.message),
            None => found.message.clone(),
        };
        Self {
            level,
            code: found.code.to_owned(),
            title: title_of(found.code).to_owned(),
            help: String::new(),
            message,
            location: found.location.clone(),
            subject: None,
            suppression: None,
            properties: Map::new(),
        }
    }
}

/// One run of one tool with these problems.
pub(super) fn log(found: &[(Level, Diagnostic)]) -> Value {
    let entries = found.iter().map(|(level, found)| Entry::of(*level, found));
    log_of(&entries.collect::<Vec<_>>(), Vec::new())
}

/// One run of one tool with these results, and what it notifies of besides.
pub(super) fn log_of(found: &[Entry], notifications: Vec<Value>) -> Value {
    let mut entries: Vec<&Entry> = found.iter().collect();
    entries.sort_by(|left, right| left.code.cmp(&right.code));
    entries.dedup_by(|left, right| left.code == right.code);
    let codes: Vec<&str> = entries.iter().map(|entry| entry.code.as_str()).collect();
    let rules: Vec<Value> = entries.iter().map(|entry| rule(entry)).collect();
    let results: Vec<Value> = found
        .iter()
        .map(|entry| result(entry, codes.binary_search(&entry.code.as_str()).ok()))
        .collect();
    let mut run = json!({
        "tool": {"driver": {
            "name": "wharf",
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": rules,
        }},
        "columnKind": "unicodeCodePoints",
        "results": results,
    });
    if !notifications.is_empty() {
        run["invocations"] = json!([{
            "executionSuccessful": true,
            "toolExecutionNotifications": notifications,
        }]);
    }
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/\
                    sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    })
}

fn rule(entry: &Entry) -> Value {
    let code = entry.code.as_str();
    let of_services = CHECKS
        .iter()
        .map(|it| (it.id, it.title, it.rationale, it.remediation, it.severity, it.cis));
    let of_hosts = HOST_CHECKS
        .iter()
        .map(|it| (it.id, it.title, it.rationale, it.remediation, it.severity, it.cis));
    match of_services.chain(of_hosts).find(|check| check.0.code() == code) {
        Some((_, title, rationale, remediation, severity, cis)) => {
            let controls = cis.iter().map(|control| format!("CIS-{control}"));
            let tags: Vec<String> = ["security".to_owned()].into_iter().chain(controls).collect();
            json!({
                "id": code,
                "shortDescription": {"text": title},
                "fullDescription": {"text": rationale},
                "help": {"text": remediation},
                "properties": {
                    "tags": tags,
                    "security-severity": score(severity),
                },
            })
        }
        None if entry.help.is_empty() => {
            json!({"id": code, "shortDescription": {"text": entry.title}})
        }
        None => json!({
            "id": code,
            "shortDescription": {"text": entry.title},
            "help": {"text": entry.help},
        }),
    }
}

/// The number that code hosts sort findings by.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "0.0",
        Severity::Low => "3.0",
        Severity::Medium => "5.5",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    }
}

fn result(entry: &Entry, rule_index: Option<usize>) -> Value {
    let mut result = json!({
        "ruleId": entry.code,
        "level": entry.level.word(),
        "message": {"text": entry.message},
        "locations": [],
    });
    if let Some(index) = rule_index {
        result["ruleIndex"] = json!(index);
    }
    let mut location = Map::new();
    if let Some(at) = &entry.location {
        let mut region = json!({"startLine": at.line, "startColumn": at.column});
        if !at.excerpt.is_empty() {
            region["snippet"] = json!({"text": at.excerpt});
        }
        let place = json!({"artifactLocation": {"uri": uri(&at.file)}, "region": region});
        location.insert("physicalLocation".to_owned(), place);
    }
    if let Some(subject) = &entry.subject {
        let name = subject.rsplit('/').next().unwrap_or_default();
        let logical = json!([{"name": name, "fullyQualifiedName": subject, "kind": "resource"}]);
        location.insert("logicalLocations".to_owned(), logical);
        // The same finding in a file that moved is the same finding.
        let print = Digest::of_parts(&[entry.code.as_bytes(), subject.as_bytes()]);
        result["partialFingerprints"] = json!({"wharf/v1": print});
    }
    if !location.is_empty() {
        result["locations"] = json!([location]);
    }
    if let Some(reason) = &entry.suppression {
        result["suppressions"] =
            json!([{"kind": "external", "status": "accepted", "justification": reason}]);
    }
    if !entry.properties.is_empty() {
        result["properties"] = Value::Object(entry.properties.clone());
    }
    result
}

/// A file as a reference: relative to where the command ran, or absolute.
fn uri(file: &str) -> String {
    let mut text = if file.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_what_its_schema_requires() {
        let text = "services:\n  web:\n    imag: x\n";
        let at = |file: &str| Location::at(file, text, 3, 5);
        let found = [
            (
                Level::Error,
                Diagnostic::new("compose.unknown_key", "unknown key `imag`").at(at("a b.yaml")),
            ),
            (
                Level::Warning,
                Diagnostic::new("rule.limits", "none").at(at("/p/c.yaml")).help("add them"),
            ),
            (Level::Error, Diagnostic::new("compose.unknown_key", "unknown key `x`")),
        ];
        let log = log(&found);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(run["tool"]["driver"]["name"], "wharf");
        assert_eq!(rules.len(), 2);
        for rule in rules {
            assert!(rule["shortDescription"]["text"].as_str().unwrap().len() > 5, "{rule}");
        }
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for result in results {
            let index = result["ruleIndex"].as_u64().unwrap();
            assert_eq!(rules[usize::try_from(index).unwrap()]["id"], result["ruleId"]);
            assert!(result["message"]["text"].is_string());
        }
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b.yaml");
        let region = json!({"startLine": 3, "startColumn": 5, "snippet": {"text": "    imag: x"}});
        assert_eq!(place["region"], region);
        let place = &results[1]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "file:///p/c.yaml");
        assert_eq!(results[1]["message"]["text"], "none; add them");
        assert_eq!(results[2]["locations"], json!([]));
    }
}
