//! The verbs of the run queue: `queue …`, and what `run` does to hosted runs and dead letters. Owns
//! their text. Face: `queue`, `enqueue`, `fan_out`, `jobs`, `retry`, `dismiss`. Never decides what is retried.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::Client;
use super::exit::{CliError, Exit};
use super::follow::follow;
use super::grammar::{Part, QueuePart, QueueVerb, RunEnqueue, RunFanOut, RunJobs};
use super::output::{Output, Table, ago};
use super::records::{end, more, now};
use crate::api::wire::{
    ControlView, Enqueue, FanOut, JobView, Page, Parts, PutControl, QueueView, Retry, RunAccepted,
    RunView, StandingView, TypeView,
};
use crate::base::limits::ENQUEUE_BYTES_MAX;

/// `wharf queue …`.
pub(super) async fn queue(
    client: &Client,
    verb: QueueVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        QueueVerb::Show => {
            let view: QueueView = client.get("/v1/queue").await?;
            if output.is_json() {
                output.json(&view)?;
            } else {
                output.text(&queue_text(&view))?;
            }
            Ok(Exit::Success)
        }
        QueueVerb::Types => {
            let page: Page<TypeView> = client.get("/v1/queue/types").await?;
            if output.is_json() {
                output.json(&page)?;
            } else {
                output.text(&types_text(&page.items))?;
            }
            Ok(Exit::Success)
        }
        QueueVerb::Pause(part) => control(client, part, Some(true), None, output).await,
        QueueVerb::Resume(part) => control(client, part, Some(false), None, output).await,
        QueueVerb::Limit { most, part, .. } => {
            control(client, part, None, Some(most), output).await
        }
    }
}

async fn control(
    client: &Client,
    part: QueuePart,
    is_paused: Option<bool>,
    concurrency_max: Option<Option<u32>>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let scope = match (part.run_type, part.tenant) {
        (Some(run_type), _) => format!("type:{run_type}"),
        (None, Some(tenant)) => format!("tenant:{tenant}"),
        (None, None) => "workspace".to_owned(),
    };
    let change = PutControl { scope, is_paused, concurrency_max };
    let control: ControlView = client.replace("/v1/queue/controls", &change).await?;
    if output.is_json() {
        output.json(&control)?;
    } else {
        output.line(control_text(&control))?;
    }
    Ok(Exit::Success)
}

fn control_text(control: &ControlView) -> String {
    let state = if control.is_paused { "paused" } else { "open" };
    match control.concurrency_max {
        Some(most) => format!("{}: {state}, at most {most} at once", control.scope),
        None => format!("{}: {state}, no limit", control.scope),
    }
}

fn queue_text(view: &QueueView) -> String {
    let now = now();
    let mut table = Table::new(&["TYPE", "QUEUED", "RUNNING", "OLDEST"]);
    for depth in &view.types {
        table.row([
            depth.run_type.clone(),
            depth.queued.to_string(),
            depth.running.to_string(),
            ago(depth.oldest_queued_at, now),
        ]);
    }
    let mut text = table.render();
    for control in &view.controls {
        text.push_str(&format!("{}\n", control_text(control)));
    }
    for agent in &view.agents {
        let seen = ago(Some(agent.heartbeat_at), now);
        text.push_str(&format!("agent on {}, last sign of life {seen}\n", agent.hostname));
    }
    for worker in &view.waiting_workers {
        text.push_str(&format!("{} waits for {}\n", worker.worker, worker.types.join(", ")));
    }
    text
}

fn types_text(types: &[TypeView]) -> String {
    let mut table = Table::new(&["TYPE", "ATTEMPTS", "LEASE", "TIMEOUT", "PRIORITY", "LABEL"]);
    let seconds = |millis: u64| format!("{}s", millis.div_ceil(1_000));
    for found in types {
        let definition = &found.definition;
        table.row([
            found.name.clone(),
            definition.retry.attempts_max.max(1).to_string(),
            seconds(definition.lease_ms),
            definition.timeout_ms.map_or_else(|| "-".to_owned(), seconds),
            definition.priority.to_string(),
            definition.label.clone().unwrap_or_default(),
        ]);
    }
    table.render()
}

/// `wharf run enqueue …`.
pub(super) async fn enqueue(
    client: &Client,
    options: RunEnqueue,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let payload = options.payload.as_deref().map(read_json::<Value>).transpose()?;
    let run_at = options.run_at.as_deref().map(str::parse).transpose();
    let request = Enqueue {
        run_type: options.run_type,
        payload: payload.unwrap_or_default(),
        identity: options.identity,
        subject: options.subject,
        priority: options.priority,
        run_at: run_at.map_err(|error| {
            CliError::new(Exit::Usage, format!("--run-at is no time: {error}"))
                .hint("write it like 2026-11-21T08:00:00Z")
        })?,
        tenant_id: None,
        jobs: options.jobs.as_deref().map(read_json).transpose()?,
    };
    let accepted: RunAccepted = client.post("/v1/queue/runs", &request).await?;
    if options.follow {
        let run = follow(client, output, &accepted.run.id).await?;
        return end(client, run, output).await;
    }
    if output.is_json() {
        output.json(&accepted)?;
    } else if accepted.is_new {
        output.line(format!("run {} was accepted", accepted.run.id))?;
    } else {
        output.line(format!("run {} asks for the same and is not completed", accepted.run.id))?;
    }
    Ok(Exit::Success)
}

/// `wharf run fan-out …`.
pub(super) async fn fan_out(
    client: &Client,
    options: &RunFanOut,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let RunFanOut { id, attempt, jobs } = options;
    let request = FanOut { jobs: read_json(jobs)?, counts: BTreeMap::new() };
    let path = format!("/v1/queue/runs/{id}/attempts/{attempt}/jobs");
    let standing: StandingView = client.post(&path, &request).await?;
    if output.is_json() {
        output.json(&standing)?;
    } else {
        output.line(format!("run {id} waits for its {} jobs", request.jobs.len()))?;
    }
    Ok(Exit::Success)
}

/// Reads a file of JSON; `-` is standard input.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let name = path.display();
    let failed = |exit, error: &dyn std::fmt::Display| {
        CliError::new(exit, format!("{name} cannot be read: {error}"))
    };
    let most = ENQUEUE_BYTES_MAX as u64 + 1;
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().take(most).read_to_string(&mut text),
        false => match std::fs::File::open(path) {
            Ok(file) => file.take(most).read_to_string(&mut text),
            Err(error) => return Err(failed(Exit::NotFound, &error)),
        },
    };
    read.map_err(|error| failed(Exit::SystemFile, &error))?;
    serde_json::from_str(&text).map_err(|error| failed(Exit::Data, &error))
}

/// `wharf run jobs …`.
pub(super) async fn jobs(
    client: &Client,
    options: RunJobs,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let RunJobs { id, status, part: Part { limit, after } } = options;
    let query = [("status", status), ("limit", Some(limit.to_string())), ("after", after)];
    let page: Page<JobView> = client.find(&format!("/v1/runs/{id}/jobs"), &query).await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["KEY", "STATUS", "ATTEMPT", "FAILURES", "WORKER"]);
    for job in &page.items {
        table.row([
            job.key.clone(),
            job.status.to_string(),
            job.attempt.to_string(),
            job.failures.to_string(),
            job.worker.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    output.text(&table.render())?;
    more(output, page.next.as_deref());
    Ok(Exit::Success)
}

/// `wharf run retry …`.
pub(super) async fn retry(
    client: &Client,
    id: &str,
    failed_only: bool,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let parts = if failed_only { Parts::FailedOnly } else { Parts::All };
    let run: RunView = client.post(&format!("/v1/runs/{id}/retry"), &Retry { parts }).await?;
    if output.is_json() {
        output.json(&json!({ "run": run }))?;
    } else {
        output.line(format!("run {} tries it again", run.id))?;
    }
    Ok(Exit::Success)
}

/// `wharf run dismiss …`.
pub(super) async fn dismiss(
    client: &Client,
    id: &str,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let run: RunView = client.post(&format!("/v1/runs/{id}/dismiss"), &json!({})).await?;
    if output.is_json() {
        output.json(&json!({ "run": run }))?;
    } else {
        output.line(format!("run {} is no dead letter any more", run.id))?;
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::{DepthView, TypeDefinition, WaitingWorker};
    use crate::base::Timestamp;

    #[test]
    fn the_queue_is_shown_with_what_holds_it_back_and_who_waits() {
        let view = QueueView {
            types: vec![DepthView {
                run_type: "shop.mail".to_owned(),
                queued: 12,
                running: 3,
                oldest_queued_at: None,
            }],
            controls: vec![ControlView {
                scope: "workspace".to_owned(),
                is_paused: true,
                concurrency_max: Some(4),
            }],
            agents: Vec::new(),
            waiting_workers: vec![WaitingWorker {
                worker: "mailer-1".to_owned(),
                types: vec!["shop.mail".to_owned(), "shop.bill".to_owned()],
            }],
        };
        insta::assert_snapshot!(queue_text(&view), @r"
        TYPE       QUEUED  RUNNING  OLDEST
        shop.mail  12      3        -
        workspace: paused, at most 4 at once
        mailer-1 waits for shop.mail, shop.bill
        ");
    }

    #[test]
    fn types_are_shown_with_what_bounds_their_runs() {
        let definition = TypeDefinition {
            label: Some("Send mails".to_owned()),
            timeout_ms: Some(1_500),
            ..TypeDefinition::default()
        };
        let at = Timestamp::UNIX_EPOCH;
        let found = TypeView {
            name: "shop.mail".to_owned(),
            definition,
            registered_at: at,
            updated_at: at,
        };
        insta::assert_snapshot!(types_text(&[found]), @r"
        TYPE       ATTEMPTS  LEASE  TIMEOUT  PRIORITY  LABEL
        shop.mail  5         60s    2s       0         Send mails
        ");
    }
}
