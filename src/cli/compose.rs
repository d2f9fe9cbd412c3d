//! The verbs on compose files alone: `compose config` and `compose check`. Owns what they print.
//! Face: `print_model`, `check`. Never asks an agent or an engine: what only they know is `unknown`.

use std::path::Path;

use serde_json::json;

use super::agent_config;
use super::exit::{CliError, Exit};
use super::grammar::Files;
use super::output::Output;
use super::project_files::{Scale, read_bundle, read_project};
use super::projects::wrong_files;
use super::sarif::{self, Level};
use crate::base::Diagnostic;
use crate::domain::access::Stage;
use crate::domain::compose::{Project, canonical, canonical_yaml, load_bundle, lower};
use crate::domain::policy::{Action, Judgement, Rules, Subject, Verdict, judge_by_rules};
use crate::facts::ProjectSpec;

/// `wharf compose config`.
pub(super) fn print_model(files: &Files, output: &mut Output) -> Result<Exit, CliError> {
    let (project, _) = read_project(&files.options()?).map_err(wrong_files)?;
    if output.is_sarif() {
        let found: Vec<_> =
            project.warnings.into_iter().map(|found| (Level::Warning, found)).collect();
        output.json(&sarif::log(&found))?;
        return Ok(Exit::Success);
    }
    for warning in &project.warnings {
        output.note(format!("warning: {warning}"));
    }
    if output.is_json() {
        output.json(&canonical(&project))?;
    } else {
        let text = canonical_yaml(&project);
        output.line(text.strip_suffix('\n').unwrap_or(&text))?;
    }
    Ok(Exit::Success)
}

/// A rule that a service breaks, or that needs to know more.
struct Found {
    judgement: Judgement,
    level: Level,
    diagnostic: Diagnostic,
}

/// `wharf compose check`.
pub(super) fn check(
    files: &Files,
    stage: Stage,
    config: Option<&Path>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let rules = match config {
        Some(file) => agent_config::read(file)?.rules,
        None => Rules::default(),
    };
    let bundle = read_bundle(&files.options()?, &Scale::new()).map_err(wrong_files)?;
    let project = load_bundle(&bundle).map_err(wrong_files)?;
    let spec = lower(&project, &bundle.inputs()).map_err(wrong_files)?;
    let judged = judgements(&project, &spec, &rules, stage);
    let unknown: Vec<&Judgement> =
        judged.iter().filter(|j| matches!(j.verdict, Verdict::Unknown { .. })).collect();
    let found: Vec<Found> =
        judged.iter().filter_map(|j| found(&project, &rules, stage, j)).collect();
    let is_denied = found.iter().any(|found| found.level == Level::Error);
    if output.is_sarif() {
        let warnings = project.warnings.iter().map(|found| (Level::Warning, found.clone()));
        let broken = found.iter().map(|found| (found.level, found.diagnostic.clone()));
        output.json(&sarif::log(&warnings.chain(broken).collect::<Vec<_>>()))?;
    } else if output.is_json() {
        output.json(&report(&project, &spec, stage, &found, &unknown))?;
    } else {
        for warning in &project.warnings {
            output.line(format!("warning: {warning}"))?;
        }
        for Found { judgement, level, diagnostic } in &found {
            let (service, id) = (&judgement.service, judgement.check.id.code());
            output.line(format!("{}: {service} breaks `{id}`\n{diagnostic}", level.word()))?;
        }
        for Judgement { check, service, verdict } in unknown {
            let Verdict::Unknown { needs } = verdict else { continue };
            let id = check.id.code();
            output.line(format!("unknown: {service}: `{id}` needs {}", needs.join(", ")))?;
        }
        let (services, broken) = (spec.services.len(), found.len());
        output.line(format!("{}: {services} services, {broken} broken rules", project.name))?;
    }
    Ok(if is_denied { Exit::Failed } else { Exit::Success })
}

/// Every service by every check that counts in the stage.
fn judgements(
    project: &Project,
    spec: &ProjectSpec,
    rules: &Rules,
    stage: Stage,
) -> Vec<Judgement> {
    let judged = spec.services.iter().flat_map(|(service, unit)| {
        judge_by_rules(&Subject {
            is_built: unit.build.is_some(),
            literals: project.literals(service),
            ..Subject::new(service, &unit.spec)
        })
    });
    judged.filter(|judged| rules.action(stage, judged.check.id) != Action::Off).collect()
}

fn found(project: &Project, rules: &Rules, stage: Stage, judged: &Judgement) -> Option<Found> {
    let Verdict::Fail { message, at } = &judged.verdict else { return None };
    let path: Vec<&str> = at.iter().map(String::as_str).collect();
    let message = format!("service `{}`: {message}", judged.service);
    let problem = Diagnostic::new(judged.check.id.code(), message).help(judged.check.remediation);
    let diagnostic = match project.place(&judged.service, &path) {
        Some(place) => problem.at(place),
        None => problem,
    };
    let level = match rules.action(stage, judged.check.id) {
        Action::Deny | Action::Remediate | Action::Quarantine => Level::Error,
        Action::Off | Action::Audit | Action::Warn => Level::Warning,
    };
    Some(Found { judgement: judged.clone(), level, diagnostic })
}

fn report(
    project: &Project,
    spec: &ProjectSpec,
    stage: Stage,
    found: &[Found],
    unknown: &[&Judgement],
) -> serde_json::Value {
    let broken = found.iter().map(|found| {
        json!({
            "rule": found.judgement.check.id.code(),
            "service": found.judgement.service,
            "verdict": "fail",
            "level": found.level.word(),
            "severity": found.judgement.check.severity,
            "diagnostic": found.diagnostic,
        })
    });
    let needing = unknown.iter().filter_map(|judged| match &judged.verdict {
        Verdict::Unknown { needs } => Some(json!({
            "rule": judged.check.id.code(),
            "service": judged.service,
            "verdict": "unknown",
            "needs": needs,
        })),
        _ => None,
    });
    json!({
        "project": project.name,
        "stage": stage,
        "services": spec.services.len(),
        "findings": broken.chain(needing).collect::<Vec<_>>(),
        "warnings": project.warnings,
    })
}
