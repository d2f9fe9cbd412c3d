//! The route of a project's output. Owns `/v1/projects/{name}/logs`. Face: `stream`. Never reads
//! more than the client asked for, and ends with the client or the agent.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::future::ready;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::access::Inside;
use super::extract::{Path, Query};
use super::problem::Problem;
use super::projects::{ProjectPath, containers_of};
use super::wire::LogRecord;
use crate::base::limits::{FOLLOW_EVENTS_MAX, LOG_LINES_MAX};
use crate::facts::ContainerFacts;
use crate::world::docker::{EngineError, LogLine, LogOptions, SharedEngine};

/// Which lines are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogQuery {
    /// Of these services, separated by commas.
    service: Option<String>,
    /// Go on as lines are written.
    follow: bool,
    /// Only the last lines of each container.
    tail: Option<usize>,
    /// Begin each line with its time.
    timestamps: bool,
}

/// The output of a project's containers, one JSON object per line
#[utoipa::path(
    get, path = "/v1/projects/{name}/logs", operation_id = "read_project_logs", tag = "projects",
    params(ProjectPath, LogQuery),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = LogRecord),
        (status = 404, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn stream(
    Inside(api): Inside,
    Path(ProjectPath { name }): Path<ProjectPath>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Problem> {
    api.projects.find(&name).await?;
    let services: Vec<&str> =
        query.service.as_deref().unwrap_or_default().split(',').filter(|s| !s.is_empty()).collect();
    let is_wanted = |container: &ContainerFacts| {
        let instance = container.instance.as_ref().filter(|_| !container.oneoff);
        instance.is_some_and(|i| services.is_empty() || services.contains(&i.service.as_str()))
    };
    let mut containers = containers_of(&api, &name).await?;
    containers.retain(is_wanted);
    if containers.is_empty() {
        return Err(Problem::not_found("container of project", &name));
    }
    let lines_max = if query.follow { None } else { Some(LOG_LINES_MAX) };
    let options = LogOptions {
        follow: query.follow,
        tail: query.tail.map_or(lines_max, |tail| Some(tail.min(LOG_LINES_MAX))),
        timestamps: query.timestamps,
        since: None,
    };
    let lines = lines(api.engine, containers, options);
    let body =
        Body::from_stream(lines.take_until(api.stop.cancelled_owned()).map(Ok::<_, Infallible>));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// The lines of all containers. The engine's streams borrow the engine, so one future drives them
/// and hands the lines over; it is part of the stream, and ends with it.
fn lines(
    engine: SharedEngine,
    containers: Vec<ContainerFacts>,
    options: LogOptions,
) -> impl Stream<Item = Bytes> + Send {
    let (sender, receiver) = mpsc::channel(FOLLOW_EVENTS_MAX);
    let driver = stream::once(drive(engine, containers, options, sender));
    let driver = driver.filter_map(|()| ready(None));
    let received = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|line| (line, receiver))
    });
    stream::select(driver, received)
}

async fn drive(
    engine: SharedEngine,
    containers: Vec<ContainerFacts>,
    options: LogOptions,
    sender: mpsc::Sender<Bytes>,
) {
    let mut queue: VecDeque<_> = containers
        .iter()
        .map(|container| {
            let lines = engine.logs(&container.id, &options);
            lines.map(move |line| record(container, line)).boxed()
        })
        .collect();
    // Together when they go on for ever; else one container after the other.
    let mut all = if options.follow {
        stream::select_all(queue.drain(..)).boxed()
    } else {
        stream::iter(queue).flatten().boxed()
    };
    while let Some(record) = all.next().await {
        let Ok(mut line) = serde_json::to_vec(&record) else { continue };
        line.push(b'\n');
        if sender.send(Bytes::from(line)).await.is_err() {
            // The client is gone.
            return;
        }
    }
}

fn record(container: &ContainerFacts, line: Result<LogLine, EngineError>) -> LogRecord {
    let service = container.instance.as_ref().map(|instance| instance.service.clone());
    let (stream, text, problem) = match line {
        Ok(line) => (if line.is_stderr { "stderr" } else { "stdout" }, line.text, None),
        Err(error) => ("stderr", String::new(), Some(Box::new(Problem::from(error)))),
    };
    LogRecord {
        container: container.name.clone(),
        service: service.unwrap_or_default(),
        stream: stream.to_owned(),
        text,
        problem,
    }
}
