//! The verbs on projects: `up`, `plan`, `down`, `ps`, `logs`, `restart`, `pause` and `resume`. Owns what is sent and what is printed. Face: the functions. Never sends a file
//! that the project does not name.

use std::io::Write as _;
use std::path::Path;

use futures_util::StreamExt as _;

use super::client::Client;
use super::exit::{CliError, Exit};
use super::follow::follow;
use super::grammar::{Down, Files, Logs, Plan, Restart, Up};
use super::output::{Output, Table, ago};
use super::project_files::{list_context, read_bundle, read_project};
use super::records;
use super::source::source_of;
use crate::api::wire::{
    Apply, ApplyOptions, ContextsMissing, ContextsWanted, DownOptions, LogRecord, Page, PlanView,
    ProjectDetail, ProjectView, RestartOptions, RunAccepted, SourceView,
};
use crate::base::{Clock as _, Diagnostics};
use crate::domain::compose::{Bundle, Options, PROJECT_NAMES, is_project_name, load_bundle};
use crate::facts::{ContainerState, Health};
use crate::world::clock::SystemClock;
use crate::world::contexts;

impl Files {
    /// What the user asked for, for the loader.
    pub(super) fn options(&self) -> Result<Options, CliError> {
        let directory = std::env::current_dir().map_err(|error| {
            CliError::new(Exit::SystemFile, format!("cannot tell the present folder: {error}"))
        })?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(Options {
            directory: text(&directory),
            files: self.files.iter().map(|path| text(path)).collect(),
            project_directory: self.project_directory.as_deref().map(text),
            env_files: self.env_files.iter().map(|path| text(path)).collect(),
            profiles: self.profiles.clone(),
            project_name: self.project_name.clone(),
            services: Vec::new(),
        })
    }

    /// The project's name: given, or read from its files.
    pub(super) fn name(&self) -> Result<String, CliError> {
        match (&self.project_name, self.files.is_empty()) {
            (Some(name), true) if is_project_name(name) => Ok(name.clone()),
            (Some(name), true) => {
                let message = format!("`{name}` is not a project name");
                Err(CliError::new(Exit::Usage, message).hint(PROJECT_NAMES))
            }
            _ => Ok(read_project(&self.options()?).map_err(wrong_files)?.0.name),
        }
    }

    /// Whether the command line or the folder names a project at all.
    pub(super) fn name_if_any(&self) -> Result<Option<String>, CliError> {
        let is_named = self.project_name.is_some() || !self.files.is_empty();
        match self.name() {
            Ok(name) => Ok(Some(name)),
            Err(error) if !is_named && is_file_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_file_missing(error: &CliError) -> bool {
    error.diagnostics.iter().all(|found| found.code == "compose.no_file")
}

/// What problems in a project's files mean for a command.
pub(super) fn wrong_files(Diagnostics(found): Diagnostics) -> CliError {
    let message = match found.len() {
        1 => "the project's files are wrong".to_owned(),
        count => format!("{count} problems in the project's files"),
    };
    let missing = ["compose.no_file", "compose.file_missing"];
    let is_missing = found.iter().all(|found| missing.contains(&found.code));
    let exit = if is_missing { Exit::NotFound } else { Exit::Data };
    CliError::diagnostics(exit, message, found)
}

/// Reads a project's files, and says what works but is probably not meant.
/// A service that is named brings its profiles with it.
pub(super) fn bundle_of(
    files: &Files,
    (services, scale): (&[String], &[(String, u32)]),
    output: &mut Output,
) -> Result<(String, Bundle, Option<SourceView>), CliError> {
    let options = Options { services: services.to_vec(), ..files.options()? };
    let scale = scale.iter().cloned().collect();
    let bundle = read_bundle(&options, &scale).map_err(wrong_files)?;
    let project = load_bundle(&bundle).map_err(wrong_files)?;
    for warning in &project.warnings {
        output.note(format!("warning: {warning}"));
    }
    let source = source_of(Path::new(&project.directory));
    Ok((project.name, bundle, source))
}

/// `wharf up`.
pub(super) async fn up(client: &Client, up: Up, output: &mut Output) -> Result<Exit, CliError> {
    let (name, bundle, source) = bundle_of(&up.files, (&up.services, &up.scale), output)?;
    let options = ApplyOptions {
        services: up.services,
        force_recreate: up.force_recreate,
        recreate_volumes: up.recreate_volumes,
        keep_orphans: up.keep_orphans,
        rebuild: up.build,
        adopt: up.adopt,
        source,
        wait_timeout_seconds: up.wait_timeout,
    };
    if up.dry_run {
        let plan = ask_plan(client, &name, Apply { bundle, options }).await?;
        print_plan(&plan, output)?;
        return Ok(Exit::Success);
    }
    send_contexts(client, &bundle).await?;
    let path = format!("/v1/projects/{name}/up");
    let accepted: RunAccepted = client.post(&path, &Apply { bundle, options }).await?;
    finish(client, accepted, up.detach, output).await
}

/// `wharf plan`.
pub(super) async fn plan(
    client: &Client,
    plan: Plan,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let (name, bundle, source) = bundle_of(&plan.files, (&plan.services, &plan.scale), output)?;
    let options = ApplyOptions {
        services: plan.services,
        force_recreate: plan.force_recreate,
        recreate_volumes: plan.recreate_volumes,
        keep_orphans: plan.keep_orphans,
        adopt: plan.adopt,
        source,
        ..ApplyOptions::default()
    };
    let plan = ask_plan(client, &name, Apply { bundle, options }).await?;
    print_plan(&plan, output)?;
    Ok(if plan.has_changes { Exit::Changes } else { Exit::Success })
}

async fn ask_plan(client: &Client, name: &str, apply: Apply) -> Result<PlanView, CliError> {
    client.post(&format!("/v1/projects/{name}/plan"), &apply).await
}

fn print_plan(plan: &PlanView, output: &mut Output) -> Result<(), CliError> {
    if output.is_json() { output.json(plan) } else { output.text(&plan.text) }
}

/// Sends the build contexts that the agent does not have.
pub(super) async fn send_contexts(client: &Client, bundle: &Bundle) -> Result<(), CliError> {
    if bundle.build_contexts.is_empty() {
        return Ok(());
    }
    let digests = bundle.build_contexts.iter().map(|context| context.digest.to_string()).collect();
    let wanted: ContextsMissing =
        client.post("/v1/contexts/wanted", &ContextsWanted { digests }).await?;
    for digest in wanted.missing {
        let contexts = bundle.build_contexts.iter();
        let Some(context) = contexts.into_iter().find(|known| known.digest.to_string() == digest)
        else {
            continue;
        };
        let root = Path::new(&context.path);
        let listed = list_context(root, &context.dockerfile);
        let packed = listed.and_then(|entries| contexts::pack(root, &entries));
        let archive = packed.map_err(|error| {
            let message = format!("cannot pack the build context {}: {error}", context.path);
            CliError::new(Exit::SystemFile, message)
        })?;
        client.put(&format!("/v1/contexts/{digest}"), "application/x-tar", archive).await?;
    }
    Ok(())
}

/// `wharf down`.
pub(super) async fn down(
    client: &Client,
    down: Down,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let path = format!("/v1/projects/{}/down", down.files.name()?);
    let accepted = client.post(&path, &DownOptions { volumes: down.volumes }).await?;
    finish(client, accepted, down.detach, output).await
}

/// `wharf restart`.
pub(super) async fn restart(
    client: &Client,
    restart: Restart,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let path = format!("/v1/projects/{}/restart", restart.files.name()?);
    let accepted = client.post(&path, &RestartOptions { services: restart.services }).await?;
    finish(client, accepted, restart.detach, output).await
}

/// Follows a run that was accepted, unless the user does not want to wait.
pub(super) async fn finish(
    client: &Client,
    accepted: RunAccepted,
    detach: bool,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let id = accepted.run.id.clone();
    if detach {
        if output.is_json() {
            output.json(&accepted)?;
        } else {
            output.line(format!("run {id} was accepted; `wharf run follow {id}` shows it"))?;
        }
        return Ok(Exit::Success);
    }
    if !output.is_json() {
        let which = if accepted.is_new { "" } else { " asks for the same and goes on" };
        output.line(format!("run {id}{which}"))?;
    }
    let run = follow(client, output, &id).await?;
    records::end(client, run, output).await
}

/// `wharf pause` and `wharf resume`.
pub(super) async fn keep(
    client: &Client,
    files: &Files,
    verb: &str,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let path = format!("/v1/projects/{}/{verb}", files.name()?);
    let project: ProjectView = client.post(&path, &serde_json::json!({})).await?;
    if output.is_json() {
        output.json(&serde_json::json!({ "project": project }))?;
    } else {
        let desired = project.desired.as_deref().unwrap_or("unknown");
        output.line(format!("{}: kept {desired}", project.name))?;
    }
    Ok(Exit::Success)
}

/// `wharf ps`: one project, or all when neither the command line nor the folder names one.
pub(super) async fn ps(
    client: &Client,
    files: &Files,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let Some(name) = files.name_if_any()? else { return list(client, output).await };
    let detail: ProjectDetail = client.get(&format!("/v1/projects/{name}")).await?;
    if output.is_json() {
        output.json(&detail)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["NAME", "SERVICE", "IMAGE", "STATE", "SINCE", "PORTS"]);
    for container in &detail.containers {
        let since = match container.state {
            ContainerState::Exited | ContainerState::Dead => container.finished_at,
            ContainerState::Created => container.created_at,
            _ => container.started_at,
        };
        table.row([
            container.name.clone(),
            container.service.clone(),
            container.image.clone(),
            match &container.held_back {
                Some(_) => format!(
                    "{}, held back",
                    state_words(container.state, container.health, container.exit_code)
                ),
                None => state_words(container.state, container.health, container.exit_code),
            },
            ago(since, now),
            container.ports.join(", "),
        ]);
    }
    output.text(&table.render())?;
    for container in &detail.containers {
        if let Some(what) = &container.held_back {
            output.note(format!("{} is {what}", container.name));
        }
    }
    match detail.project.desired.as_deref() {
        None => output.note(format!("{name} is not kept by this agent; `wharf up` takes it over")),
        Some("paused") => output.note(format!("{name} is paused; `wharf resume` keeps it again")),
        Some(_) => {}
    }
    Ok(Exit::Success)
}

pub(super) fn state_words(state: ContainerState, health: Health, exit_code: Option<i64>) -> String {
    let state = format!("{state:?}").to_lowercase();
    match (health, exit_code) {
        (_, Some(code)) => format!("{state} ({code})"),
        (Health::None, None) => state,
        (health, None) => format!("{state} ({})", format!("{health:?}").to_lowercase()),
    }
}

async fn list(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let projects: Page<ProjectView> = client.get("/v1/projects").await?;
    if output.is_json() {
        output.json(&projects)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["PROJECT", "KEPT", "CHANGED"]);
    for project in &projects.items {
        table.row([
            project.name.clone(),
            project.desired.clone().unwrap_or_else(|| "-".to_owned()),
            ago(project.updated_at, now),
        ]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

/// `wharf logs`.
pub(super) async fn logs(
    client: &Client,
    logs: Logs,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let name = logs.files.name()?;
    let mut path =
        format!("/v1/projects/{name}/logs?follow={}&timestamps={}", logs.follow, logs.timestamps);
    if let Some(tail) = logs.tail {
        path.push_str(&format!("&tail={tail}"));
    }
    if !logs.services.is_empty() {
        path.push_str(&format!("&service={}", super::client::encode(&logs.services.join(","))));
    }
    let mut parts = client.stream(&path, None).await?.bytes_stream();
    let mut rest = Vec::new();
    loop {
        let part = tokio::select! {
            part = parts.next() => part,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Success),
        };
        let Some(part) = part else { break };
        let part = part
            .map_err(|_| CliError::new(Exit::Unreachable, "the stream of log lines broke off"))?;
        // A write to memory cannot fail.
        let _ = rest.write_all(&part);
        while let Some(end) = rest.iter().position(|byte: &u8| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            print_log_line(&line, output)?;
        }
    }
    Ok(Exit::Success)
}

fn print_log_line(line: &[u8], output: &mut Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.text(&String::from_utf8_lossy(line));
    }
    let record: LogRecord = serde_json::from_slice(line).map_err(|error| {
        CliError::new(Exit::Internal, format!("a log line of the agent cannot be read: {error}"))
    })?;
    match record.problem {
        Some(problem) => Err(super::client::refused(*problem)),
        None => output.line(format!("{} | {}", record.container, record.text)),
    }
}
