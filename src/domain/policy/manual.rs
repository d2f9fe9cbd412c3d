//! Writes the list of checks. Owns `docs/checks.md`. Face: `manual`. Never says anything that the
//! registry of checks does not.

use super::{CHECKS, CONTROLS, HOST_CHECKS, PARAMETERS, deciders};

/// The text of `docs/checks.md`.
pub(super) fn manual() -> String {
    let mut lines = vec![
        "# Checks".to_owned(),
        String::new(),
        "Made from the registry of checks; do not edit. One check gives one verdict, whether a \
         service was read from a compose file or found on an engine: `pass`, `fail` with the \
         place, or `unknown` with the facts that are missing. Paths, options and addresses are \
         judged by what the engine makes of them, however they are spelled. The numbers are those \
         of the CIS Docker Benchmark 1.6. Where a \
         machine can make a check pass, a policy may let it."
            .to_owned(),
        String::new(),
        "## Services and containers".to_owned(),
    ];
    for check in CHECKS {
        let remedy = if check.remedy.is_some() { "yes" } else { "no" };
        lines.extend(entry(check.id.key(), check.title, check.rationale, check.remediation));
        lines.push(format!(
            "Severity: {} · CIS: {} · machine remediation: {remedy}",
            check.severity,
            numbers(check.cis),
        ));
    }
    lines.extend([String::new(), "## Hosts".to_owned()]);
    for check in HOST_CHECKS {
        lines.extend(entry(check.id.key(), check.title, check.rationale, check.remediation));
        lines.push(format!("Severity: {} · CIS: {}", check.severity, numbers(check.cis)));
    }
    lines.extend(parameters());
    lines.extend(controls());
    lines.push(String::new());
    lines.join("\n")
}

fn entry(id: &str, title: &str, rationale: &str, remediation: &str) -> Vec<String> {
    vec![
        String::new(),
        format!("### `{id}`"),
        String::new(),
        format!("{title}. {rationale}"),
        String::new(),
        format!("What to do: {remediation}."),
        String::new(),
    ]
}

fn numbers(cis: &[&str]) -> String {
    if cis.is_empty() { "none".to_owned() } else { cis.join(", ") }
}

fn parameters() -> Vec<String> {
    let mut lines = vec![
        String::new(),
        "## Parameters".to_owned(),
        String::new(),
        "| parameter | takes | meaning | without it |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    lines.extend(
        PARAMETERS.iter().map(|it| {
            format!("| `{}` | {} | {} | {} |", it.name, it.takes, it.meaning, it.default)
        }),
    );
    lines
}

fn controls() -> Vec<String> {
    let mut lines = vec![
        String::new(),
        "## Controls of the benchmark".to_owned(),
        String::new(),
        "| control | asks for | decided by |".to_owned(),
        "|---|---|---|".to_owned(),
    ];
    lines.extend(CONTROLS.iter().map(|control| {
        let checks = deciders(control.number);
        let by = match checks.is_empty() {
            true => format!("no check: {}", control.undecided),
            false => checks.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", "),
        };
        format!("| {} | {} | {by} |", control.number, control.title)
    }));
    lines
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_list_of_checks_is_fresh() {
        crate::fresh_file("docs/checks.md", &super::manual());
    }
}
