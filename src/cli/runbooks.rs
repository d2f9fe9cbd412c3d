//! The verbs of runbooks: `runbook …`. Owns their text. Face: `runbooks`. Never starts one without a
//! preflight: its digest is given, or `--yes` looks first and shows what it found.

use std::path::Path;

use super::client::{Client, encode};
use super::exit::{CliError, Exit};
use super::follow::follow;
use super::grammar::{RunbookAsk as Asked, RunbookStart as Started, RunbookVerb, RunbookWord};
use super::output::{Output, Table};
use super::records::end;
use crate::api::wire::{
    PreflightView, ReasonView, RunAccepted, RunDecision, RunView, RunbookAsk, RunbookList,
    RunbookStart, RunbookView,
};
use crate::domain::runbooks::file::read;
use crate::domain::runbooks::{Argument, Arguments, Scope};

/// `wharf runbook …`.
pub(super) async fn runbooks(
    client: &Client,
    verb: RunbookVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        RunbookVerb::Ls => list(client, output).await,
        RunbookVerb::Show { key } => show(client, &key, output).await,
        RunbookVerb::Preflight { ask } => {
            let found = look(client, &ask).await?;
            if output.is_json() {
                output.json(&found)?;
            } else {
                print(&found, output)?;
                output.line(format!("Start it with: --digest {}", found.digest))?;
            }
            Ok(Exit::Success)
        }
        RunbookVerb::Start(wanted) => start(client, *wanted, output).await,
        RunbookVerb::Approve { word } => decide(client, word, true, output).await,
        RunbookVerb::Refuse { word } => decide(client, word, false, output).await,
        RunbookVerb::Validate { file } => validate(&file, output),
    }
}

/// `wharf runbook validate FILE`: every problem of the file, with its place.
pub(super) fn validate(file: &Path, output: &mut Output) -> Result<Exit, CliError> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::SystemFile,
        };
        CliError::new(exit, format!("cannot read {shown}: {error}"))
    })?;
    match read(&shown, &text) {
        Ok(runbook) => {
            if output.is_json() {
                output.json(&serde_json::json!({
                    "key": runbook.name,
                    "definition": runbook.digest,
                    "problems": [],
                }))?;
            } else {
                output.line(format!(
                    "{shown}: runbook {} of {} steps, {}",
                    runbook.name,
                    runbook.steps.len(),
                    runbook.digest.short()
                ))?;
            }
            Ok(Exit::Success)
        }
        Err(diagnostics) => {
            if output.is_json() {
                output.json(&serde_json::json!({ "problems": diagnostics }))?;
                return Ok(Exit::Data);
            }
            Err(CliError::new(Exit::Data, diagnostics.to_string()))
        }
    }
}

async fn decide(
    client: &Client,
    word: RunbookWord,
    approve: bool,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let path = format!("/v1/runs/{}/decision", encode(&word.run));
    let run: RunView = client.post(&path, &RunDecision { approve, reason: word.reason }).await?;
    if output.is_json() {
        output.json(&run)?;
    } else {
        let verb = if approve { "approved" } else { "refused" };
        output.line(format!("run {}: {verb}", run.id))?;
    }
    Ok(Exit::Success)
}

fn path(key: &str, rest: &str) -> String {
    format!("/v1/runbooks/{}{rest}", encode(key))
}

/// Where a runbook is asked for.
fn place(asked: &Asked, rest: &str) -> String {
    match &asked.platform {
        Some(workspace) => {
            let key = encode(&asked.key);
            format!("/v1/platform/workspaces/{}/runbooks/{key}{rest}", encode(workspace))
        }
        None => path(&asked.key, rest),
    }
}

fn usage(message: impl Into<String>) -> CliError {
    CliError::new(Exit::Usage, message)
}

fn ask_of(asked: &Asked) -> Result<RunbookAsk, CliError> {
    let mut parameters = Arguments::new();
    for set in &asked.set {
        let Some((name, value)) = set.split_once('=') else {
            return Err(usage(format!("--set {set}: write NAME=VALUE")));
        };
        parameters.insert(name.to_owned(), Argument::Text(value.to_owned()));
    }
    let scope = if asked.all_tenants { Scope::AllTenants } else { Scope::SingleTenant };
    Ok(RunbookAsk { scope, tenant_id: asked.tenant.clone(), parameters })
}

async fn look(client: &Client, asked: &Asked) -> Result<PreflightView, CliError> {
    client.post(&place(asked, "/preflight"), &ask_of(asked)?).await
}

fn print(found: &PreflightView, output: &mut Output) -> Result<(), CliError> {
    let tenants = match found.estimated_tenants {
        Some(tenants) => format!(" of {tenants} tenants"),
        None => String::new(),
    };
    output.line(format!(
        "It would change {} of {}{tenants}.",
        found.affected_count, found.total_count
    ))?;
    for (name, value) in &found.facts {
        output.line(format!("  {name}: {value}"))?;
    }
    Ok(())
}

async fn start(client: &Client, wanted: Started, output: &mut Output) -> Result<Exit, CliError> {
    let RunbookAsk { scope, tenant_id, parameters } = ask_of(&wanted.ask)?;
    let preflight_digest = match wanted.digest {
        Some(digest) => digest,
        None => {
            let found = look(client, &wanted.ask).await?;
            if !output.is_json() {
                print(&found, output)?;
            }
            found.digest
        }
    };
    let reason = match (wanted.reason_code, wanted.reason) {
        (Some(code), Some(reason_text)) => Some(ReasonView {
            reason_code: code.parse().map_err(|error| usage(format!("--reason-code: {error}")))?,
            reason_text,
        }),
        _ => None,
    };
    let body = RunbookStart { scope, tenant_id, parameters, preflight_digest, reason };
    let accepted: RunAccepted = client.post(&place(&wanted.ask, "/start"), &body).await?;
    // Who is no member of the workspace does not see its runs.
    if wanted.detach || wanted.ask.platform.is_some() {
        if output.is_json() {
            output.json(&accepted)?;
        } else {
            let state = if accepted.is_new { "is queued" } else { "does it already" };
            output.line(format!("run {} {state}", accepted.run.id))?;
        }
        return Ok(Exit::Success);
    }
    let run = follow(client, output, &accepted.run.id).await?;
    end(client, run, output).await
}

async fn list(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let page: RunbookList = client.get("/v1/runbooks").await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["KEY", "WHAT IT DOES", "SCOPES", "USUALLY"]);
    for runbook in &page.items {
        table.row([
            runbook.key.clone(),
            runbook.label.clone(),
            scopes(runbook),
            format!("{} s", runbook.estimated_seconds),
        ]);
    }
    output.text(&table.render())?;
    for problem in &page.problems {
        output.note(format!("warning: {problem}"));
    }
    Ok(Exit::Success)
}

fn scopes(runbook: &RunbookView) -> String {
    let scopes: Vec<&str> = runbook.scopes.iter().map(|scope| scope.key()).collect();
    scopes.join(", ")
}

async fn show(client: &Client, key: &str, output: &mut Output) -> Result<Exit, CliError> {
    let runbook: RunbookView = client.get(&path(key, "")).await?;
    if output.is_json() {
        output.json(&runbook)?;
        return Ok(Exit::Success);
    }
    output.line(format!("{}: {}", runbook.key, runbook.label))?;
    output.line(&runbook.description)?;
    output.line(format!("Scopes: {}", scopes(&runbook)))?;
    let needs = match runbook.needs.is_empty() {
        true => runbook.capability.clone(),
        false => runbook.needs.join(", "),
    };
    output.line(format!("Needs: {needs}"))?;
    output.line(format!("Usually takes: {} s", runbook.estimated_seconds))?;
    for parameter in &runbook.parameters {
        let default = match &parameter.default {
            Some(value) => format!(", {value} when nothing is said"),
            None => String::new(),
        };
        let line =
            format!("  {} ({}{default}): {}", parameter.name, parameter.kind, parameter.label);
        output.line(line)?;
    }
    for (index, step) in runbook.steps.iter().enumerate() {
        let does = step.call.as_deref().unwrap_or("waits for an approval");
        let undo = match &step.undo {
            Some(undo) => format!(", taken back by {undo}"),
            None => String::new(),
        };
        output.line(format!("  {}. {}: {does}{undo}", index + 1, step.label))?;
    }
    Ok(Exit::Success)
}
