//! The verbs that read and control records: `run …`, `audit ls` and `audit show`. Owns their text. Face:
//! `runs`, `list_events`, `show_event`. Never hides a column that a script needs: `--format json` gives the wire's own form.

use super::client::Client;
use super::exit::{CliError, Exit};
use super::follow::{end_line, failure_lines, follow};
use super::grammar::{Above, AuditLs, Part, RunLs, RunVerb};
use super::images::image_line;
use super::output::{Output, Table, ago, duration};
use super::queue;
use crate::api::wire::{AuditDetail, AuditFilters, AuditRow, Page, RunDetail, RunView};
use crate::base::time::between;
use crate::base::{Clock as _, Timestamp};
use crate::domain::runs::{JobCounts, Outcome, Status, StepStatus};
use crate::world::clock::SystemClock;

/// `wharf run …`.
pub(super) async fn runs(
    client: &Client,
    verb: RunVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        RunVerb::Ls(options) => list_runs(client, options, output).await,
        RunVerb::Show { id } => {
            let detail: RunDetail = client.get(&format!("/v1/runs/{id}")).await?;
            if output.is_json() {
                output.json(&detail)?;
            } else {
                output.text(&run_text(&detail, now()))?;
            }
            Ok(Exit::Success)
        }
        RunVerb::Enqueue(enqueue) => queue::enqueue(client, enqueue, output).await,
        RunVerb::FanOut(options) => queue::fan_out(client, &options, output).await,
        RunVerb::Jobs(jobs) => queue::jobs(client, jobs, output).await,
        RunVerb::Retry { id, failed_only } => queue::retry(client, &id, failed_only, output).await,
        RunVerb::Dismiss { id } => queue::dismiss(client, &id, output).await,
        RunVerb::Follow { id } => {
            let run = follow(client, output, &id).await?;
            end(client, run, output).await
        }
        RunVerb::Cancel { id } => {
            let path = format!("/v1/runs/{id}/cancel");
            let run: RunView = client.post(&path, &serde_json::json!({})).await?;
            if output.is_json() {
                output.json(&serde_json::json!({ "run": run }))?;
            } else if run.status == Status::Completed {
                output.line(format!("run {} was cancelled", run.id))?;
            } else {
                output.line(format!("run {} is cancelled before its next step", run.id))?;
            }
            Ok(Exit::Success)
        }
    }
}

/// Prints how a run ended, and ends the command accordingly.
pub(super) async fn end(
    client: &Client,
    run: RunView,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let exit = Exit::of_outcome(run.outcome);
    if output.is_json() {
        let detail: RunDetail = client.get(&format!("/v1/runs/{}", run.id)).await?;
        output.json(&detail)?;
        return Ok(exit);
    }
    for image in &run.images {
        output.line(image_line(image))?;
    }
    if run.outcome == Outcome::Succeeded {
        output.line(end_line(&run))?;
        return Ok(exit);
    }
    for service in &run.services {
        let reason = service.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        output.line(format!("  {} is {}{reason}", service.service, service.state))?;
    }
    Err(CliError::new(exit, end_line(&run))
        .details(failure_lines(&run))
        .hint(format!("`wharf run show {}` tells every step", run.id)))
}

async fn list_runs(client: &Client, options: RunLs, output: &mut Output) -> Result<Exit, CliError> {
    let RunLs { project_name, run_type, status, outcome, subject, dead, part } = options;
    let Part { limit, after } = part;
    let query = [
        ("project", project_name),
        ("type", run_type),
        ("status", status),
        ("outcome", outcome),
        ("subject", subject),
        ("dead", dead.then(|| "true".to_owned())),
        ("limit", Some(limit.to_string())),
        ("after", after),
    ];
    let page: Page<RunView> = client.find("/v1/runs", &query).await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["ID", "TYPE", "ABOUT", "STATUS", "OUTCOME", "STARTED BY", "AGE"]);
    for run in &page.items {
        table.row([
            run.id.clone(),
            run.run_type.to_string(),
            run.about(),
            status_word(run),
            outcome_word(run.outcome),
            run.initiator_name.clone(),
            ago(Some(run.created_at), now()),
        ]);
    }
    output.text(&table.render())?;
    more(output, page.next.as_deref());
    Ok(Exit::Success)
}

pub(super) fn more(output: &mut Output, next: Option<&str>) {
    if let Some(next) = next {
        output.note(format!("there are more: --after {next}"));
    }
}

fn status_word(run: &RunView) -> String {
    match &run.waiting {
        Some(waiting) => format!("waiting for {}", waiting.waits_for),
        None => run.status.to_string(),
    }
}

fn outcome_word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Pending => "-".to_owned(),
        ended => ended.to_string(),
    }
}

/// A run for people.
fn run_text(detail: &RunDetail, now: Timestamp) -> String {
    let run = &detail.run;
    let mut text = format!("run {}\n", run.id);
    let mut fact = |name: &str, value: String| text.push_str(&format!("  {name:<12}{value}\n"));
    fact("type", format!("{} of {}", run.run_type, run.about()));
    fact("status", format!("{}, {}", status_word(run), run.outcome));
    fact("started by", format!("{} through {}", run.initiator_name, run.source));
    fact("accepted", format!("{} ({})", run.created_at, ago(Some(run.created_at), now)));
    if let (Some(started), Some(completed)) = (run.started_at, run.completed_at) {
        fact("took", duration(between(started, completed)));
    }
    let counts: Vec<String> =
        run.summary_counts.iter().map(|(key, count)| format!("{count} {key}")).collect();
    if !counts.is_empty() {
        fact("counts", counts.join(", "));
    }
    if let Some(configuration) = &run.configuration {
        fact("files", configuration.digest.clone());
        if let Some(source) = &configuration.source {
            let state = if source.is_clean { "" } else { ", with changes" };
            fact("commit", format!("{}{state}", source.commit));
        }
    }
    if let Some(jobs) = &run.jobs {
        fact("jobs", job_words(jobs));
    }
    if run.is_dead_letter {
        fact("dead letter", "try it again with `wharf run retry`, or `dismiss` it".to_owned());
    }
    if let Some(dead) = &run.retried_from {
        fact("retry of", dead.clone());
    }
    if let Some(payload) = &detail.payload {
        fact("payload", payload.to_string());
    }
    for attempt in &detail.attempts {
        let end = attempt.end.as_deref().unwrap_or("under way");
        fact("attempt", format!("{}, begun {}, {end}", attempt.number, attempt.started_at));
    }
    for step in &detail.steps {
        let took = step.ended_at.map(|ended| duration(between(step.started_at, ended)));
        let took = took.unwrap_or_else(|| "-".to_owned());
        text.push_str(&format!("  {}.{:<3}", step.attempt, step.index));
        text.push_str(&format!("{:<10}{:>6}  {}", step.status, took, step.description));
        if !step.cause.is_empty() {
            text.push_str(&format!("  ({})", step.cause));
        }
        text.push('\n');
        if let Some(detail) = step.detail.as_ref().filter(|_| step.status != StepStatus::Succeeded)
        {
            text.push_str(&format!("       {}\n", detail.replace('\n', "\n       ")));
        }
    }
    for service in &run.services {
        let reason = service.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        text.push_str(&format!("  service {} is {}{reason}\n", service.service, service.state));
    }
    for image in &run.images {
        text.push_str(&format!("{}\n", image_line(image)));
    }
    for line in &run.policies {
        text.push_str(&format!("  policy: {} {}\n", line.service, line.message));
    }
    for failure in failure_lines(run) {
        text.push_str(&format!("{failure}\n"));
    }
    text
}

/// `3 queued, 2 running, 95 succeeded`.
fn job_words(jobs: &JobCounts) -> String {
    let counts = [
        (jobs.queued, "queued"),
        (jobs.running, "running"),
        (jobs.waiting, "waiting"),
        (jobs.succeeded, "succeeded"),
        (jobs.failed, "failed"),
        (jobs.skipped, "skipped"),
        (jobs.cancelled, "cancelled"),
    ];
    let words = counts.iter().filter(|(count, _)| *count > 0);
    words.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// `wharf audit show ID`.
pub(super) async fn show_event(
    client: &Client,
    (id, above): (&str, Above),
    output: &mut Output,
) -> Result<Exit, CliError> {
    let detail: AuditDetail = client.get(&format!("{}/{id}", log_of(above))).await?;
    if output.is_json() {
        output.json(&detail)?;
    } else {
        output.text(&event_text(&detail))?;
    }
    Ok(Exit::Success)
}

/// Where the events are.
fn log_of(above: Above) -> &'static str {
    if above.platform { "/v1/platform/audit" } else { "/v1/audit" }
}

/// `wharf audit ls`.
pub(super) async fn list_events(
    client: &Client,
    options: AuditLs,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let of_project = options.project_name.as_ref().map(|_| "project".to_owned());
    let query = [
        ("search", options.search),
        ("event_type", options.event_type),
        ("outcome", options.outcome),
        ("actor", options.actor),
        ("target_type", options.target_type.or(of_project)),
        ("target_id", options.target.or(options.project_name)),
        ("run", options.run),
        ("date_from", options.from),
        ("date_until", options.until),
        ("limit", Some(options.part.limit.to_string())),
        ("after", options.part.after),
    ];
    let page: Page<AuditRow> = client.find(log_of(options.above), &query).await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["SEQ", "WHEN", "TYPE", "OUTCOME", "ACTOR", "SUMMARY"]);
    for event in &page.items {
        table.row([
            event.seq.to_string(),
            format!("{:.0}", event.occurred_at),
            event.event_type.clone(),
            event.outcome.clone(),
            event.actor_label.clone(),
            event.summary.lines().next().unwrap_or_default().to_owned(),
        ]);
    }
    output.text(&table.render())?;
    more(output, page.next.as_deref());
    Ok(Exit::Success)
}

/// `wharf audit filters`: each with what it takes.
pub(super) async fn list_filters(
    client: &Client,
    above: Above,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let filters: AuditFilters = client.get(&format!("{}/filters", log_of(above))).await?;
    if output.is_json() {
        output.json(&filters)?;
        return Ok(Exit::Success);
    }
    let tenants = filters.tenants.into_iter().map(|tenant| tenant.name).collect();
    let mut table = Table::new(&["FILTER", "VALUE"]);
    for (filter, values) in [
        ("--type", filters.event_types),
        ("--outcome", filters.outcomes),
        ("--actor", filters.actors),
        ("--target-type", filters.target_types),
        ("--tenant", tenants),
    ] {
        for value in values {
            table.row([filter.to_owned(), value]);
        }
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

/// An event for people.
fn event_text(event: &AuditDetail) -> String {
    let mut text = format!("{}\n", event.summary);
    let mut fact = |name: &str, value: &str| text.push_str(&format!("  {name:<16}{value}\n"));
    fact("when", &event.occurred_at.to_string());
    fact("type", &event.event_type);
    fact("outcome", &event.outcome);
    fact("actor", &format!("{} ({})", event.actor.actor_label, event.actor.actor_type));
    if let Some(target) = &event.target {
        fact("target", &format!("{} ({})", target.target_label, target.target_type));
    }
    if let Some(run) = &event.operation_run_id {
        fact("run", run);
    }
    for item in &event.context_items {
        fact(&item.label.to_lowercase(), &item.value);
    }
    fact("id", &event.id);
    fact("place in the log", &event.seq.to_string());
    text
}

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::{AttemptView, FailureView, ServiceEnd, StepView};
    use crate::domain::runs::{RunType, Source};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_240_000 + seconds).unwrap()
    }

    fn step(index: u32, status: StepStatus, description: &str) -> StepView {
        StepView {
            attempt: 1,
            index,
            key: format!("step:{index}"),
            description: description.to_owned(),
            cause: "does not exist".to_owned(),
            status,
            started_at: at(1),
            ended_at: Some(at(3)),
            detail: (status == StepStatus::Failed)
                .then(|| "port 80 is in use\nby nginx".to_owned()),
        }
    }

    fn failed_run() -> RunDetail {
        let run = RunView {
            id: "01a1fcab-0000-7000-8000-000000000000".to_owned(),
            workspace_id: "w".to_owned(),
            tenant_id: None,
            user_id: None,
            initiator_name: "ann".to_owned(),
            source: Source::Cli,
            run_type: RunType::DeployProject,
            subject: Some("project:shop".to_owned()),
            project: Some("shop".to_owned()),
            runbook: None,
            status: Status::Completed,
            outcome: Outcome::PartiallySucceeded,
            waiting: None,
            attempt: 1,
            failures: 0,
            priority: 0,
            run_at: None,
            retried_from: None,
            is_dead_letter: false,
            jobs: None,
            identity: None,
            run_identity_hash: "00".to_owned(),
            summary_counts: [("created".to_owned(), 1), ("failed".to_owned(), 1)].into(),
            failure_summary: vec![FailureView {
                reason_code: "port.in_use".to_owned(),
                message: "port 80 is in use".to_owned(),
                subject: "service:web".to_owned(),
            }],
            services: vec![ServiceEnd {
                service: "web".to_owned(),
                state: "not_started".to_owned(),
                reason: Some("port 80 is in use".to_owned()),
            }],
            images: Vec::new(),
            policies: Vec::new(),
            plan_digest: None,
            configuration: None,
            cancel_requested_at: None,
            created_at: at(0),
            started_at: Some(at(1)),
            completed_at: Some(at(4)),
        };
        let attempts = vec![AttemptView {
            number: 1,
            worker: "boot/1".to_owned(),
            started_at: at(1),
            heartbeat_at: at(3),
            ended_at: Some(at(4)),
            end: Some("completed".to_owned()),
        }];
        let steps = vec![
            step(0, StepStatus::Succeeded, "create container shop-web-1"),
            step(1, StepStatus::Failed, "start shop-web-1"),
        ];
        RunDetail { run, payload: None, attempts, steps }
    }

    #[test]
    fn a_run_is_shown_with_all_that_went_wrong() {
        insta::assert_snapshot!(run_text(&failed_run(), at(64)), @r"
        run 01a1fcab-0000-7000-8000-000000000000
          type        deploy_project of shop
          status      completed, partially_succeeded
          started by  ann through cli
          accepted    2026-11-21T05:46:40Z (1m4s ago)
          took        3.0s
          counts      1 created, 1 failed
          attempt     1, begun 2026-11-21T05:46:41Z, completed
          1.0  succeeded   2.0s  create container shop-web-1  (does not exist)
          1.1  failed      2.0s  start shop-web-1  (does not exist)
               port 80 is in use
               by nginx
          service web is not_started: port 80 is in use
          service:web [port.in_use]: port 80 is in use
        ");
    }

    #[test]
    fn the_end_of_a_run_is_one_line_and_its_failures() {
        let run = failed_run().run;
        insta::assert_snapshot!(end_line(&run), @"shop: partially succeeded in 3.0s: 1 created, 1 failed");
        insta::assert_snapshot!(failure_lines(&run).join("\n"), @"  service:web [port.in_use]: port 80 is in use");
    }
}
