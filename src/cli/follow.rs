//! Shows what a run does until it ends. Owns the event stream's reading and the progress view.
//! Face: `follow`. Never takes a broken connection for an end: it asks again from where it was.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::client::Client;
use super::exit::{CliError, Exit};
use super::output::{Output, duration};
use crate::api::wire::{RunView, StepView};
use crate::base::limits::{AGENT_RETURN_TIMEOUT, EVENT_BYTES_MAX};
use crate::base::time::between;
use crate::domain::runs::{Outcome, StepStatus};

/// Pause before the stream is asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// Follows a run to its end, and gives the run as it ended.
///
/// # Errors
/// When there is no such run, the agent stays away, or Ctrl-C is pressed. The run goes on then.
pub(super) async fn follow(
    client: &Client,
    output: &mut Output,
    run_id: &str,
) -> Result<RunView, CliError> {
    let mut view = Progress::default();
    let followed = tokio::select! {
        followed = follow_to_end(client, output, run_id, &mut view) => followed,
        _ = tokio::signal::ctrl_c() => Err(CliError::new(Exit::Interrupted, "interrupted")),
    };
    view.clear(output);
    followed.map_err(|error| match error.exit {
        Exit::Interrupted | Exit::Unreachable => error.hint(format!(
            "the run goes on: `wharf run follow {run_id}` shows it, `wharf run cancel {run_id}` \
             ends it"
        )),
        _ => error,
    })
}

async fn follow_to_end(
    client: &Client,
    output: &mut Output,
    run_id: &str,
    view: &mut Progress,
) -> Result<RunView, CliError> {
    let mut last_id: Option<String> = None;
    let mut lost_at: Option<Instant> = None;
    loop {
        match read_stream(client, output, run_id, &mut last_id, view).await {
            Ok(Some(run)) => return Ok(run),
            Ok(None) => lost_at = None,
            Err(error) if error.exit == Exit::Unreachable => {
                let since = *lost_at.get_or_insert_with(Instant::now);
                if since.elapsed() > AGENT_RETURN_TIMEOUT {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Reads events until the run ended, or the connection did (`None`).
async fn read_stream(
    client: &Client,
    output: &mut Output,
    run_id: &str,
    last_id: &mut Option<String>,
    view: &mut Progress,
) -> Result<Option<RunView>, CliError> {
    let path = format!("/v1/runs/{run_id}/events");
    let mut bytes = client.stream(&path, last_id.as_deref()).await?.bytes_stream();
    let mut parser = EventParser::default();
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        let part = tokio::select! {
            part = bytes.next() => part,
            _ = tick.tick() => {
                view.draw(output);
                continue;
            }
        };
        let Some(Ok(part)) = part else { return Ok(None) };
        for event in parser.push(&part)? {
            if let Some(id) = &event.id {
                *last_id = Some(id.clone());
            }
            match event.name.as_str() {
                "step" => view.step(output, parse(&event)?)?,
                "log" => view.log(output, &event.data)?,
                "end" => return parse(&event).map(Some),
                "bye" => return Ok(None),
                // `run` and whatever a newer agent tells.
                _ => {}
            }
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(event: &SentEvent) -> Result<T, CliError> {
    serde_json::from_str(&event.data).map_err(|error| {
        CliError::new(Exit::Internal, format!("an event of the agent cannot be read: {error}"))
    })
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SentEvent {
    name: String,
    id: Option<String>,
    data: String,
}

/// Reads server-sent events (HTML standard, section 9.2) out of a stream's parts.
#[derive(Debug, Default)]
struct EventParser {
    rest: Vec<u8>,
    event: SentEvent,
}

impl EventParser {
    fn push(&mut self, part: &[u8]) -> Result<Vec<SentEvent>, CliError> {
        self.rest.extend_from_slice(part);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches(['\n', '\r']), &mut events);
        }
        if self.rest.len() + self.event.data.len() > EVENT_BYTES_MAX {
            return Err(CliError::new(Exit::Internal, "an event of the agent is too large"));
        }
        Ok(events)
    }

    fn line(&mut self, line: &str, events: &mut Vec<SentEvent>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.name.is_empty() {
                events.push(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment keeps the connection alive.
            _ => {}
        }
    }
}

/// The view of a run that is under way: on a terminal a last line that tells what is being done
/// now, else one line per step that ended.
#[derive(Debug, Default)]
struct Progress {
    open: BTreeMap<(u32, u32), (StepView, Option<Instant>)>,
    is_drawn: bool,
}

/// Names of steps that the last line holds.
const OPEN_STEPS_SHOWN_MAX: usize = 3;

impl Progress {
    fn step(&mut self, output: &mut Output, step: StepView) -> Result<(), CliError> {
        let place = (step.attempt, step.index);
        if step.status == StepStatus::Started {
            self.open.insert(place, (step, Some(Instant::now())));
            self.draw(output);
            return Ok(());
        }
        self.open.remove(&place);
        self.print(output, &step_line(&step))?;
        self.draw(output);
        Ok(())
    }

    fn log(&mut self, output: &mut Output, line: &str) -> Result<(), CliError> {
        for line in line.lines() {
            self.print(output, &format!("  {line}"))?;
        }
        self.draw(output);
        Ok(())
    }

    fn print(&mut self, output: &mut Output, line: &str) -> Result<(), CliError> {
        if output.is_json() {
            return Ok(());
        }
        self.clear(output);
        output.line(line)
    }

    /// Writes the last line anew.
    fn draw(&mut self, output: &mut Output) {
        if output.is_json() || !output.is_terminal || !std::io::stdout().is_terminal() {
            return;
        }
        let mut names: Vec<String> = self
            .open
            .values()
            .take(OPEN_STEPS_SHOWN_MAX)
            .map(|(step, since)| {
                let took = since.map(|since| duration(since.elapsed())).unwrap_or_default();
                format!("{} {took}", step.description)
            })
            .collect();
        if self.open.len() > OPEN_STEPS_SHOWN_MAX {
            names.push(format!("{} more", self.open.len() - OPEN_STEPS_SHOWN_MAX));
        }
        if names.is_empty() {
            self.clear(output);
            return;
        }
        // Back to the line's begin, erase it; the line is cut rather than wrapped.
        let line: String = format!("  …      {}", names.join(", ")).chars().take(100).collect();
        if output.text(&format!("\r\x1b[2K{line}")).is_ok() {
            self.is_drawn = true;
        }
    }

    /// Takes the last line away.
    fn clear(&mut self, output: &mut Output) {
        if std::mem::take(&mut self.is_drawn) {
            // The next write tells when the reader is gone.
            let _ = output.text("\r\x1b[2K");
        }
    }
}

fn step_line(step: &StepView) -> String {
    let mark = match step.status {
        StepStatus::Started => "…",
        StepStatus::Succeeded => "ok",
        StepStatus::Failed => "FAILED",
        StepStatus::Unknown => "cut off",
    };
    let mut line = format!("  {mark:<7}{}", step.description);
    if !step.cause.is_empty() {
        line.push_str(&format!("  ({})", step.cause));
    }
    if let Some(ended_at) = step.ended_at {
        line.push_str(&format!("  {}", duration(between(step.started_at, ended_at))));
    }
    if let Some(detail) = step.detail.as_ref().filter(|_| step.status == StepStatus::Failed) {
        line.push_str(&format!("\n         {}", detail.replace('\n', "\n         ")));
    }
    line
}

/// How a run ended, in one line.
pub(super) fn end_line(run: &RunView) -> String {
    let outcome = run.outcome.key().replace('_', " ");
    let mut line = format!("{}: {outcome}", run.about());
    if let (Some(started), Some(completed)) = (run.started_at, run.completed_at) {
        line.push_str(&format!(" in {}", duration(between(started, completed))));
    }
    let shown =
        ["built", "created", "updated", "recreated", "started", "stopped", "removed", "failed"];
    let counts: Vec<String> = shown
        .iter()
        .filter_map(|key| Some((key, run.summary_counts.get(*key)?)))
        .filter(|(_, count)| **count > 0)
        .map(|(key, count)| format!("{count} {key}"))
        .collect();
    if !counts.is_empty() {
        line.push_str(&format!(": {}", counts.join(", ")));
    } else if run.outcome == Outcome::Succeeded {
        line.push_str(": nothing had to change");
    }
    line
}

/// The failures of a run, one text each.
pub(super) fn failure_lines(run: &RunView) -> Vec<String> {
    let failures = run.failure_summary.iter();
    failures
        .map(|failure| {
            let message = failure.message.replace('\n', "\n    ");
            format!("  {} [{}]: {message}", failure.subject, failure.reason_code)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        let text = ": hello\n\nevent: step\nid: 3.1\ndata: {\"a\":\ndata: 1}\n\nevent: end\r\ndata:x\r\n\r\n";
        let expect = [
            SentEvent {
                name: "step".to_owned(),
                id: Some("3.1".to_owned()),
                data: "{\"a\":\n1}".to_owned(),
            },
            SentEvent { name: "end".to_owned(), id: None, data: "x".to_owned() },
        ];
        for size in 1..text.len() {
            let mut parser = EventParser::default();
            let parts = text.as_bytes().chunks(size);
            let events: Vec<_> = parts.flat_map(|part| parser.push(part).unwrap()).collect();
            assert_eq!(events, expect, "in parts of {size}");
        }
    }
}
