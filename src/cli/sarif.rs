//! Prints findings as SARIF 2.1.0, which code hosts and editors read. Owns the shape. Face: `log`,
//! `Level`. Never invents a rule: a result's rule is the stable code of its diagnostic.

use serde_json::{Value, json};

use crate::base::Diagnostic;
use crate::domain::compose::title_of;
use crate::domain::policy::CHECKS;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// It is refused.
    Error,
    /// It works and should be looked at.
    Warning,
}

impl Level {
    /// The word of SARIF, which JSON output uses as well.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One run of one tool with these results.
pub(super) fn log(found: &[(Level, Diagnostic)]) -> Value {
    let mut codes: Vec<&str> = found.iter().map(|(_, found)| found.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes.iter().map(|code| rule(code)).collect();
    let results: Vec<Value> = found
        .iter()
        .map(|(level, found)| result(*level, found, codes.binary_search(&found.code).ok()))
        .collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/\
                    sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "wharf",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: &str) -> Value {
    match CHECKS.iter().find(|check| check.id.code() == code) {
        Some(check) => json!({
            "id": code,
            "shortDescription": {"text": check.title},
            "fullDescription": {"text": check.rationale},
            "help": {"text": check.remediation},
        }),
        None => json!({"id": code, "shortDescription": {"text": title_of(code)}}),
    }
}

fn result(level: Level, found: &Diagnostic, rule_index: Option<usize>) -> Value {
    let text = match &found.help {
        Some(help) => format!("{}; {help}", found.message),
        None => found.message.clone(),
    };
    let mut result = json!({
        "ruleId": found.code,
        "level": level.word(),
        "message": {"text": text},
        "locations": [],
    });
    if let Some(index) = rule_index {
        result["ruleIndex"] = json!(index);
    }
    if let Some(at) = &found.location {
        let mut region = json!({"startLine": at.line, "startColumn": at.column});
        if !at.excerpt.is_empty() {
            region["snippet"] = json!({"text": at.excerpt});
        }
        result["locations"] = json!([{"physicalLocation": {
            "artifactLocation": {"uri": uri(&at.file)},
            "region": region,
        }}]);
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
    use crate::base::Location;

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
