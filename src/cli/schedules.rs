//! The verbs of schedules: `schedule …`. Owns their text. Face: `schedules`. Never reads an
//! expression itself: what the agent says of it is shown.

use super::client::{Client, encode};
use super::exit::{CliError, Exit};
use super::follow::follow;
use super::grammar::{ScheduleAdd, ScheduleVerb};
use super::output::{Output, Table, ago};
use super::records::end;
use crate::api::wire::{FiringView, Page, RunAccepted, SchedulePut, ScheduleView, TaskView};
use crate::base::Clock as _;
use crate::base::units::parse_duration;
use crate::world::clock::SystemClock;

/// `wharf schedule …`.
pub(super) async fn schedules(
    client: &Client,
    verb: ScheduleVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        ScheduleVerb::Ls => list(client, output).await,
        ScheduleVerb::Next { name, count } => next(client, &name, count, output).await,
        ScheduleVerb::Add(add) => {
            let (name, put) = put_of(*add)?;
            let schedule: ScheduleView = client.replace(&path(&name, ""), &put).await?;
            shown(&schedule, "is set", output)
        }
        ScheduleVerb::Run { name, detach } => run(client, &name, detach, output).await,
        ScheduleVerb::Pause { name } => {
            let schedule = client.post(&path(&name, "/pause"), &serde_json::json!({})).await?;
            shown(&schedule, "is paused", output)
        }
        ScheduleVerb::Resume { name } => {
            let schedule = client.post(&path(&name, "/resume"), &serde_json::json!({})).await?;
            shown(&schedule, "goes on", output)
        }
        ScheduleVerb::Rm { name } => {
            client.delete(&path(&name, "")).await?;
            if output.is_json() {
                output.json(&serde_json::json!({ "removed": name }))?;
            } else {
                output.line(format!("schedule {name} is removed"))?;
            }
            Ok(Exit::Success)
        }
    }
}

fn path(name: &str, rest: &str) -> String {
    format!("/v1/schedules/{}{rest}", encode(name))
}

fn usage(message: impl Into<String>) -> CliError {
    CliError::new(Exit::Usage, message)
}

/// A duration of the command line in whole seconds.
pub(super) fn seconds(option: &str, text: &str) -> Result<u64, CliError> {
    let duration = parse_duration(text).map_err(|error| usage(format!("--{option}: {error}")))?;
    Ok(duration.as_secs())
}

fn put_of(add: ScheduleAdd) -> Result<(String, SchedulePut), CliError> {
    let task = match (add.deploy, add.restart, add.hosted) {
        _ if add.check_images.is_some() => {
            // Without a name: all of them.
            TaskView::CheckImages { project: add.check_images.filter(|name| !name.is_empty()) }
        }
        _ if add.scan_images.is_some() => {
            TaskView::ScanImages { project: add.scan_images.filter(|name| !name.is_empty()) }
        }
        _ if add.update_advisories => TaskView::UpdateAdvisories {},
        (Some(project), _, _) => TaskView::DeployProject {
            project,
            force_recreate: add.force_recreate,
            rebuild: add.build,
        },
        (_, Some(project), _) => TaskView::RestartProject { project, services: add.services },
        (_, _, Some(run_type)) => TaskView::Hosted {
            run_type: run_type.parse().map_err(|error| usage(format!("--hosted: {error}")))?,
            payload: match add.payload {
                Some(text) => serde_json::from_str(&text)
                    .map_err(|error| usage(format!("--payload is no JSON: {error}")))?,
                None => serde_json::Value::Null,
            },
            identity: None,
        },
        _ => {
            return Err(usage(
                "say what to do: --deploy, --restart, --check-images, --scan-images, \
                 --update-advisories or --hosted",
            ));
        }
    };
    let put = SchedulePut {
        cron: add.cron,
        time_zone: add.time_zone,
        task,
        jitter_seconds: seconds("jitter", &add.jitter)?,
        missed: add.missed.parse().map_err(|error| usage(format!("--missed: {error}")))?,
        missed_age_max_seconds: seconds("missed-age-max", &add.missed_age_max)?,
        overlap: add.overlap.parse().map_err(|error| usage(format!("--overlap: {error}")))?,
    };
    Ok((add.name, put))
}

/// Prints what became of a schedule.
fn shown(schedule: &ScheduleView, what: &str, output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(schedule)?;
        return Ok(Exit::Success);
    }
    let next = match &schedule.next {
        Some(firing) => format!("; it fires next at {}", firing.local),
        None => String::new(),
    };
    output.line(format!("schedule {} {what}{next}", schedule.name))?;
    Ok(Exit::Success)
}

async fn list(client: &Client, output: &mut Output) -> Result<Exit, CliError> {
    let page: Page<ScheduleView> = client.get("/v1/schedules").await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let mut table = Table::new(&["NAME", "CRON", "TIME ZONE", "TASK", "NEXT", "FIRED"]);
    for schedule in &page.items {
        let next = match (&schedule.next, schedule.held) {
            _ if schedule.is_paused => "paused".to_owned(),
            (_, Some(_)) => "waits for the run before".to_owned(),
            (Some(firing), None) => firing.local.clone(),
            (None, None) => "never".to_owned(),
        };
        table.row([
            schedule.name.clone(),
            schedule.put.cron.clone(),
            schedule.put.time_zone.clone(),
            task_words(&schedule.put.task),
            next,
            ago(schedule.fired_at, now),
        ]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

fn task_words(task: &TaskView) -> String {
    match task {
        TaskView::DeployProject { project, .. } => format!("deploy {project}"),
        TaskView::RestartProject { project, .. } => format!("restart {project}"),
        TaskView::CheckImages { project: Some(project) } => format!("check images of {project}"),
        TaskView::CheckImages { project: None } => "check images".to_owned(),
        TaskView::ScanImages { project: Some(project) } => format!("scan images of {project}"),
        TaskView::ScanImages { project: None } => "scan images".to_owned(),
        TaskView::UpdateAdvisories {} => "update advisories".to_owned(),
        TaskView::Hosted { run_type, .. } => run_type.to_string(),
    }
}

async fn next(
    client: &Client,
    name: &str,
    count: usize,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let query = [("count", Some(count.to_string()))];
    let page: Page<FiringView> = client.find(&path(name, "/next"), &query).await?;
    if output.is_json() {
        output.json(&page)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["PLANNED", "FIRES AT"]);
    for firing in &page.items {
        table.row([firing.local.clone(), firing.fires_at.to_string()]);
    }
    output.text(&table.render())?;
    Ok(Exit::Success)
}

async fn run(
    client: &Client,
    name: &str,
    detach: bool,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let accepted: RunAccepted = client.post(&path(name, "/run"), &serde_json::json!({})).await?;
    if detach {
        if output.is_json() {
            output.json(&accepted)?;
        } else {
            output.line(format!("run {} is queued", accepted.run.id))?;
        }
        return Ok(Exit::Success);
    }
    let run = follow(client, output, &accepted.run.id).await?;
    end(client, run, output).await
}
