//! The verbs on policies: `policy check`, `test`, `ls`, `show`. Owns which policies are meant, and what is
//! printed of them. Face: `policies`. Never needs an agent unless its policies are asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::agent_config;
use super::client::Client;
use super::exit::{CliError, Exit};
use super::grammar::{PolicyTest, PolicyVerb, PolicyWords};
use super::output::{Output, Table};
use super::policy_check;
use crate::api::wire::{PolicyList, PolicyView};
use crate::base::suggest::did_you_mean;
use crate::base::{Diagnostic, Diagnostics};
use crate::domain::access::Stage;
use crate::domain::policy::{
    CHECKS, CheckId, HOST_CHECKS, PolicySet, SHIPPED, Source, compile, deciders, shipped_names,
    shipped_sources, try_out,
};
use crate::operations::policies::compile_sources;
use crate::world::policy_files::{PolicyFile, read_named};

/// The policies that count when none are named.
const DEFAULTS: [&str; 2] = ["baseline", "cis-docker"];

/// `wharf policy …` without an agent.
pub(super) fn policies(
    verb: PolicyVerb,
    tenant: Option<&str>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        PolicyVerb::Check(check) => policy_check::check(&check, tenant, output),
        PolicyVerb::Test(test) => run_tests(&test, output),
        PolicyVerb::Ls { checks: true, .. } => list_checks(output),
        PolicyVerb::Ls { set, .. } => {
            let set = read_all(&set)?;
            list(&PolicyList::of_set(&set), output)
        }
        PolicyVerb::Show { name, set, .. } => show(&name, &set, output),
    }
}

/// Whether the agent is asked.
pub(super) fn asks_agent(verb: &PolicyVerb) -> bool {
    matches!(verb, PolicyVerb::Ls { agent: true, .. } | PolicyVerb::Show { agent: true, .. })
}

/// `wharf policy ls --agent` and `show --agent`.
pub(super) async fn with_agent(
    client: &Client,
    verb: PolicyVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        PolicyVerb::Show { name, .. } => {
            let view: PolicyView = client.get(&format!("/v1/policies/{name}")).await?;
            show_policy(&view, output)
        }
        _ => {
            let found: PolicyList = client.get("/v1/policies").await?;
            list(&found, output)
        }
    }
}

/// What cannot be judged, whatever it is.
pub(super) fn unjudged(message: impl Into<String>, Diagnostics(found): Diagnostics) -> CliError {
    CliError::diagnostics(Exit::Changes, message, found)
}

/// The policies that were named; the defaults when none were.
pub(super) fn read_set(words: &PolicyWords) -> Result<PolicySet, CliError> {
    let is_named =
        !words.policies.is_empty() || !words.shipped.is_empty() || words.config.is_some();
    let defaults = || DEFAULTS.iter().map(|name| (*name).to_owned()).collect();
    read_words(words, if is_named { words.shipped.clone() } else { defaults() })
}

/// The same; all that are shipped when none were named.
fn read_all(words: &PolicyWords) -> Result<PolicySet, CliError> {
    let is_named =
        !words.policies.is_empty() || !words.shipped.is_empty() || words.config.is_some();
    let all = || shipped_names().into_iter().map(str::to_owned).collect();
    read_words(words, if is_named { words.shipped.clone() } else { all() })
}

fn read_words(words: &PolicyWords, shipped: Vec<String>) -> Result<PolicySet, CliError> {
    let broken = |problems| unjudged("the policies are broken", problems);
    if let Some(file) = &words.config {
        let config = agent_config::read(file)?;
        return compile_sources(&config.policies)
            .map(|set| set.with_rules(&config.rules))
            .map_err(broken);
    }
    let files = read_named(&words.policies).map_err(broken)?;
    let mut sources = Vec::new();
    for name in &shipped {
        let found = shipped_sources(name);
        if found.is_empty() {
            let message = format!("no policy `{name}` is shipped");
            return Err(
                CliError::new(Exit::Usage, message).hint(did_you_mean(name, &shipped_names()))
            );
        }
        sources.extend(found);
    }
    sources.extend(files.iter().map(|file| Source { file: &file.path, text: &file.text }));
    compile(&sources).map_err(broken)
}

/// `wharf policy test`.
fn run_tests(words: &PolicyTest, output: &mut Output) -> Result<Exit, CliError> {
    if words.paths.is_empty() && !words.shipped {
        let message = "name policies, folders of policies, or `--shipped`";
        return Err(CliError::new(Exit::Usage, message));
    }
    let broken = |problems| unjudged("the policies are broken", problems);
    let files = read_named(&with_siblings(&words.paths)).map_err(broken)?;
    let shipped = if words.shipped { SHIPPED } else { &[] };
    let own = files.iter().map(|PolicyFile { path, text }| Source { file: path, text });
    let sources: Vec<Source<'_>> = shipped.iter().copied().chain(own).collect();
    let set = compile(&sources).map_err(broken)?;
    let tried = try_out(&set);
    let failed = tried.iter().filter(|tried| !tried.problems.is_empty()).count();
    if output.is_json() {
        let rows = tried.iter().map(|tried| {
            json!({
                "policy": tried.policy,
                "test": tried.name,
                "place": {"file": tried.place.file, "line": tried.place.line},
                "passed": tried.problems.is_empty(),
                "problems": tried.problems,
            })
        });
        let rows: Vec<Value> = rows.collect();
        output.json(&json!({ "tests": rows, "failed": failed }))?;
    } else {
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for tried in &tried {
            let (all, bad) = counts.entry(tried.policy.as_str()).or_default();
            *all += 1;
            *bad += usize::from(!tried.problems.is_empty());
            if !tried.problems.is_empty() {
                output.line(format!("FAILED {}: {}", tried.policy, tried.name))?;
            }
            for problem in &tried.problems {
                output.line(problem.to_string())?;
            }
        }
        for policy in set.policies() {
            let (all, bad) = counts.get(policy.name.as_str()).copied().unwrap_or_default();
            output.line(format!("{}: {all} tests, {bad} failed", policy.name))?;
        }
    }
    Ok(if failed == 0 { Exit::Success } else { Exit::Failed })
}

/// A policy with the tests beside it, and tests with the policy that they are beside.
fn with_siblings(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for path in paths {
        let text = path.to_string_lossy();
        let sibling = [".yaml", ".yml"].iter().find_map(|end| {
            let stem = text.strip_suffix(end)?;
            Some(match stem.strip_suffix(".test") {
                Some(policy) => format!("{policy}{end}"),
                None => format!("{stem}.test{end}"),
            })
        });
        let sibling = sibling.map(PathBuf::from).filter(|sibling| sibling.is_file());
        for one in [Some(path.clone()), sibling].into_iter().flatten() {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

fn list(found: &PolicyList, output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(found)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["POLICY", "RULES", "TESTS", "ACTION", "OWNER", "TITLE"]);
    for policy in &found.items {
        let action = policy.action.get(Stage::Production.key()).cloned().unwrap_or_default();
        table.row([
            policy.name.clone(),
            policy.rules.len().to_string(),
            policy.tests.to_string(),
            action,
            policy.owner.clone(),
            policy.title.clone(),
        ]);
    }
    output.text(&table.render())?;
    if !found.problems.is_empty() {
        output.line("newer policies are refused, and these stay in force:")?;
        for problem in &found.problems {
            output.line(problem)?;
        }
    }
    Ok(Exit::Success)
}

fn list_checks(output: &mut Output) -> Result<Exit, CliError> {
    let checks = CHECKS.iter().map(|it| (it.id, it.severity, it.cis, it.title, "service"));
    let hosts = HOST_CHECKS.iter().map(|it| (it.id, it.severity, it.cis, it.title, "host"));
    let rows: Vec<_> = checks.chain(hosts).collect();
    if output.is_json() {
        let rows = rows.iter().map(|(id, severity, cis, title, about)| {
            json!({"check": id, "severity": severity, "cis": cis, "title": title, "about": about})
        });
        output.json(&rows.collect::<Vec<_>>())?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["CHECK", "ABOUT", "SEVERITY", "CIS", "DEMANDS"]);
    for (id, severity, cis, title, about) in rows {
        let cis = if cis.is_empty() { "-".to_owned() } else { cis.join(" ") };
        let (id, severity) = (id.to_string(), severity.to_string());
        table.row([id, about.to_owned(), severity, cis, title.to_owned()]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

fn show(name: &str, words: &PolicyWords, output: &mut Output) -> Result<Exit, CliError> {
    if let Some(control) = name.strip_prefix("cis:") {
        let ids = deciders(control);
        if ids.is_empty() {
            let message = format!("no check decides control {control} of the benchmark");
            return Err(CliError::new(Exit::NotFound, message).hint("`wharf policy ls --checks`"));
        }
        for id in ids {
            show_check(id, output)?;
        }
        return Ok(Exit::Success);
    }
    if let Ok(id) = name.parse::<CheckId>() {
        show_check(id, output)?;
        return Ok(Exit::Success);
    }
    let set = read_all(words)?;
    let Some(policy) = set.policy(name) else {
        let known: Vec<&str> = set.policies().iter().map(|it| it.name.as_str()).collect();
        let message = format!("there is no policy and no check `{name}`");
        return Err(CliError::new(Exit::NotFound, message).hint(did_you_mean(name, &known)));
    };
    show_policy(&PolicyView::of(policy, &set), output)
}

fn show_check(id: CheckId, output: &mut Output) -> Result<(), CliError> {
    let service = CHECKS.iter().find(|check| check.id == id).map(|it| {
        (it.title, it.severity, it.cis, it.rationale, it.remediation, it.remedy.is_some())
    });
    let host = HOST_CHECKS.iter().find(|check| check.id == id);
    let host = host.map(|it| (it.title, it.severity, it.cis, it.rationale, it.remediation, false));
    let Some((title, severity, cis, rationale, remediation, is_remedied)) = service.or(host) else {
        return Ok(());
    };
    if output.is_json() {
        return output.json(&json!({
            "check": id,
            "code": id.code(),
            "title": title,
            "severity": severity,
            "cis": cis,
            "rationale": rationale,
            "remediation": remediation,
            "machine_remedy": is_remedied,
        }));
    }
    output.line(format!("{id}: {title}"))?;
    let cis = if cis.is_empty() { "-".to_owned() } else { cis.join(", ") };
    output.line(format!("  severity     {severity}"))?;
    output.line(format!("  cis          {cis}"))?;
    output.line(format!("  why          {rationale}"))?;
    output.line(format!("  what to do   {remediation}"))?;
    let words = if is_remedied { "can put it right" } else { "cannot put it right" };
    output.line(format!("  `remediate`  a machine {words}"))
}

fn show_policy(view: &PolicyView, output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(view)?;
        return Ok(Exit::Success);
    }
    output.line(format!("{}: {}", view.name, view.title))?;
    if !view.description.is_empty() {
        output.line(format!("  {}", view.description))?;
    }
    output.line(format!("  owner {}, {} tests, digest {}", view.owner, view.tests, view.digest))?;
    let mut table =
        Table::new(&["RULE", "SEVERITY", "DEVELOPMENT", "STAGING", "PRODUCTION", "DEMANDS"]);
    for rule in &view.rules {
        let action = |stage: Stage| rule.action.get(stage.key()).cloned().unwrap_or_default();
        table.row([
            rule.id.clone(),
            rule.severity.clone(),
            action(Stage::Development),
            action(Stage::Staging),
            action(Stage::Production),
            rule.title.clone(),
        ]);
    }
    output.text(&table.render())?;
    for exception in &view.exceptions {
        output.line(format!(
            "excepted from {} until {}: {} (owner {}, approved by {})",
            exception.rules.join(", "),
            exception.expires_at,
            exception.reason,
            exception.owner,
            exception.approver
        ))?;
    }
    Ok(Exit::Success)
}

/// A problem that has no place of its own.
pub(super) fn problem(message: impl Into<String>) -> Diagnostics {
    Diagnostic::new("policy.unjudged", message).into()
}

/// Whether a path is one of a compose file's kind.
pub(super) fn is_yaml(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "yaml" || end == "yml")
}
