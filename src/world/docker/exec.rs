//! Executes commands in running containers. Owns the three calls of one execution, and its streams.
//! Face: `ExecSession` and one function per call. Never shows a command's arguments: they may hold a
//! secret.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::io::AsyncWrite;

use super::failure::translate;
use super::request::segment;
use super::session::Connection;
use super::{EngineError, EngineErrorKind, NewExec};

/// Bytes of output that come at once.
const OUTPUT_BYTES: usize = 16 << 10;

/// A command that was started, with its streams.
pub struct ExecSession {
    /// The engine's id of it.
    pub id: String,
    /// What it writes; ends with it.
    pub output: BoxStream<'static, Result<ExecOutput, EngineError>>,
    /// What it reads. Shutting it down tells the command that nothing more comes.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
}

impl std::fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSession").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A part of what a command writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard error, not standard output. With a terminal there is one stream.
    pub is_stderr: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// Makes an execution and starts it.
pub(super) async fn start(
    connection: &Connection,
    container: &str,
    new: &NewExec,
) -> Result<ExecSession, EngineError> {
    let attempt = "execute a command in the container";
    let container = segment(attempt, container)?;
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(new.tty),
        env: Some(new.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        cmd: Some(new.command.clone()),
        user: new.user.clone(),
        working_dir: new.working_dir.clone(),
        privileged: Some(new.privileged),
        ..CreateExecOptions::default()
    };
    let made = connection.write(attempt, |session| async move {
        session.docker.create_exec(container, options).await
    });
    let id = made.await?.id;
    let begin =
        StartExecOptions { detach: false, tty: new.tty, output_capacity: Some(OUTPUT_BYTES) };
    let started = connection
        .write(attempt, |session| async move {
            session.docker.start_exec(&id, Some(begin)).await.map(|started| (id, started))
        })
        .await?;
    let (id, StartExecResults::Attached { output, input }) = started else {
        return Err(EngineError::new(EngineErrorKind::Internal, attempt, "it has no streams"));
    };
    let output = output.map(move |part| match part {
        Ok(LogOutput::StdErr { message }) => Ok(ExecOutput { is_stderr: true, bytes: message }),
        Ok(part) => Ok(ExecOutput { is_stderr: false, bytes: part.into_bytes() }),
        Err(error) => Err(translate(attempt, &error)),
    });
    Ok(ExecSession { id, output: output.boxed(), input })
}

/// Changes the size of its terminal.
pub(super) async fn resize(
    connection: &Connection,
    id: &str,
    (columns, rows): (u16, u16),
) -> Result<(), EngineError> {
    let attempt = "resize the terminal of a command";
    let id = segment(attempt, id)?;
    let size = ResizeExecOptions { height: rows, width: columns };
    let call = connection
        .write(attempt, |session| async move { session.docker.resize_exec(id, size).await });
    call.await
}

/// What it ended with; none while it runs.
pub(super) async fn exit_code(
    connection: &Connection,
    id: &str,
) -> Result<Option<i64>, EngineError> {
    let attempt = "ask what a command ended with";
    let id = segment(attempt, id)?;
    let call =
        connection.read(attempt, |session| async move { session.docker.inspect_exec(id).await });
    let found = call.await?;
    Ok(found.exit_code.filter(|_| found.running != Some(true)))
}
