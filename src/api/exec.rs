//! The route of commands in containers. Owns `/v1/projects/{name}/exec`. Face: `start`. Never reads
//! more of a client than the command takes, and never names a command's arguments.

use std::convert::Infallible;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::ready;
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;

use super::access::Inside;
use super::extract::Path;
use super::problem::{Problem, ProblemCode};
use super::projects::{ProjectPath, containers_of};
use super::wire::{
    EXEC_MEDIA_TYPE, ExecEnded, ExecNew, ExecSize, Frame, FrameError, FrameKind, Frames,
};
use crate::base::limits::EXEC_SPEC_TIMEOUT;
use crate::domain::redaction::sanitise;
use crate::facts::Instance;
use crate::operations::exec::{ExecError, Heard, Session, SessionEnd, Told};
use crate::operations::projects::Asker;

impl From<ExecError> for Problem {
    fn from(error: ExecError) -> Self {
        let text = error.to_string();
        match error {
            ExecError::Invalid(_) => Self::new(ProblemCode::BadRequest, text),
            ExecError::Unknown { .. } => {
                Self::new(ProblemCode::NotFound, text).hint("`wharf ps` lists them")
            }
            ExecError::NotRunning { .. } => Self::new(ProblemCode::Conflict, text)
                .hint("`wharf up` starts it; `wharf logs` tells why it ended"),
            ExecError::TooMany => {
                Self::new(ProblemCode::TooMany, text).hint("wait until one of them ends")
            }
            ExecError::Engine(source) => Self::from(source),
            ExecError::Store(source) => Self::from(source),
        }
    }
}

impl From<FrameError> for Problem {
    fn from(error: FrameError) -> Self {
        Self::new(ProblemCode::BadRequest, error.to_string())
            .hint("docs/exec.md describes the frames; `wharf exec` speaks them")
    }
}

/// Executes a command in a container of a project
///
/// Both bodies are frames: a letter, four bytes with the length of the content (the highest first), the
/// content. The client sends `s` (what is to be executed, as JSON) first, then `i` (standard input),
/// `e` (its end) and `r` (the size of the terminal, as JSON) while the answer comes: `o` (standard
/// output), `2` (standard error), and last `x` (how it ended, as JSON) or `f` (a problem document).
#[utoipa::path(
    post, path = "/v1/projects/{name}/exec", operation_id = "execute_in_project", tag = "projects",
    params(ProjectPath),
    request_body(content_type = "application/vnd.wharf.exec", content = inline(String)),
    responses(
        (status = 200, content_type = "application/vnd.wharf.exec", body = inline(String)),
        (status = 404, body = Problem),
        (status = 409, body = Problem),
        (status = 502, body = Problem)
    )
)]
pub(super) async fn start(
    Inside(api): Inside,
    asker: Asker,
    Path(ProjectPath { name }): Path<ProjectPath>,
    request: Request,
) -> Result<Response, Problem> {
    let project = api.projects.find(&name).await?;
    let mut body = request.into_body().into_data_stream();
    let mut frames = Frames::default();
    let read = tokio::time::timeout(EXEC_SPEC_TIMEOUT, spec(&mut body, &mut frames)).await;
    let new = read.map_err(|_| bad("the first frame did not come in time"))??;
    let instance = Instance { project: name, service: new.service.clone(), number: new.number };
    let containers = containers_of(&api, &instance.project).await?;
    let tenant_id = project.and_then(|project| project.tenant_id);
    let session = api.exec.start(&containers, instance, tenant_id, new.into(), &asker).await?;
    let answer = Body::from_stream(carry(body, frames, session).map(Ok::<_, Infallible>));
    Ok(([(header::CONTENT_TYPE, EXEC_MEDIA_TYPE)], answer).into_response())
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::BadRequest, detail)
}

/// Reads the first frame.
async fn spec(body: &mut BodyDataStream, frames: &mut Frames) -> Result<ExecNew, Problem> {
    loop {
        if let Some(frame) = frames.take()? {
            if frame.kind != FrameKind::Spec {
                return Err(bad("the first frame must say what is to be executed"));
            }
            // What is said about it could repeat an argument.
            return serde_json::from_slice(&frame.content).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                bad(format!("the first frame is not what is expected, at {line}:{column}"))
            });
        }
        match body.next().await {
            Some(Ok(piece)) => frames.push(&piece),
            Some(Err(error)) => return Err(bad(sanitise(&error.to_string()))),
            None => return Err(bad("the body ended before its first frame")),
        }
    }
}

/// What the client hears, while what it says is handed on: one future does so, as a part of the stream,
/// and ends with it.
fn carry(
    body: BodyDataStream,
    frames: Frames,
    session: Session,
) -> impl Stream<Item = Bytes> + Send {
    let Session { told, heard } = session;
    let feeding = stream::once(feed(body, frames, told)).filter_map(|()| ready(None));
    let heard = stream::unfold(Some(heard), |heard| async move {
        let mut heard = heard?;
        let next = heard.recv().await?;
        let is_last = !matches!(next, Heard::Output(_));
        Some((frame(next).encode(), (!is_last).then_some(heard)))
    });
    // The answer ends with what is heard, whatever the client still wants to say.
    let heard = heard.map(Some).chain(stream::iter([None]));
    stream::select(heard, feeding).take_while(|part| ready(part.is_some())).filter_map(ready)
}

async fn feed(mut body: BodyDataStream, mut frames: Frames, told: mpsc::Sender<Told>) {
    let mut is_over = false;
    loop {
        let word = match frames.take() {
            Ok(Some(frame)) => match frame.kind {
                FrameKind::Input => Told::Input(frame.content),
                FrameKind::InputEnds => Told::InputEnds,
                FrameKind::Resize => match serde_json::from_slice::<ExecSize>(&frame.content) {
                    Ok(size) => Told::Resized(size.columns, size.rows),
                    Err(_) => continue,
                },
                _ => continue,
            },
            Ok(None) => match body.next().await {
                Some(Ok(piece)) => {
                    frames.push(&piece);
                    continue;
                }
                // The client says no more. Whether it has left, its answer tells.
                None => {
                    is_over = true;
                    Told::InputEnds
                }
                // The connection broke: nobody hears the answer.
                Some(Err(_)) => {
                    let _ = told.send(Told::Left).await;
                    return;
                }
            },
            Err(_) => return,
        };
        let is_last = is_over && matches!(word, Told::InputEnds);
        if told.send(word).await.is_err() || is_last {
            return;
        }
    }
}

fn frame(heard: Heard) -> Frame {
    match heard {
        Heard::Output(part) => {
            let kind = if part.is_stderr { FrameKind::Error } else { FrameKind::Output };
            Frame::new(kind, part.bytes)
        }
        Heard::Ended(exit_code) => Frame::json(FrameKind::Ended, &ExecEnded { exit_code }),
        Heard::Broke(SessionEnd::Engine(error)) => {
            Frame::json(FrameKind::Failed, &Problem::from(error))
        }
        Heard::Broke(end) => {
            let problem = Problem::new(ProblemCode::Unavailable, end.to_string());
            Frame::json(FrameKind::Failed, &problem)
        }
    }
}
