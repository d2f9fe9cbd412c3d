//! The verb `exec`: a command in a container, with this terminal as its own. Owns both streams and the
//! terminal's modes. Face: `exec`. Never leaves the terminal in another mode than it found it in.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::ready;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, stdin};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::client::{Client, refused};
use super::exit::{CliError, Exit};
use super::grammar::Exec;
use crate::api::problem::Problem;
use crate::api::wire::{EXEC_MEDIA_TYPE, ExecEnded, ExecNew, ExecSize, Frame, FrameKind, Frames};
use crate::world::terminal::{Raw, size};

/// Bytes of standard input that are sent at once.
const INPUT_BYTES: usize = 16 << 10;
/// The size of a terminal that does not tell it.
const SIZE_DEFAULT: (u16, u16) = (80, 24);

/// `wharf exec`: ends with what the command ends with.
pub(super) async fn exec(client: &Client, exec: Exec) -> Result<Exit, CliError> {
    let project = exec.files.name()?;
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let is_terminal = has_terminal && !exec.no_tty;
    let new = ExecNew {
        service: exec.service,
        number: exec.index,
        command: exec.command,
        user: exec.user,
        working_dir: exec.workdir,
        environment: environment(&exec.environment)?,
        terminal: is_terminal.then(current_size),
    };
    let raw = is_terminal.then(Raw::stdin).transpose().map_err(|error| {
        CliError::new(Exit::SystemFile, format!("cannot use the terminal: {error}"))
    })?;
    let carried = carry(client, &project, &new, is_terminal).await;
    drop(raw);
    carried
}

/// `K=V`, or `K` alone for the value that it has here.
fn environment(words: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        None if !word.is_empty() => {
            let value = std::env::var(word).map_err(|_| {
                CliError::new(Exit::Usage, format!("variable {word} has no value here"))
                    .hint(format!("write `-e {word}=VALUE`"))
            })?;
            Ok((word.clone(), value))
        }
        _ => Err(CliError::new(Exit::Usage, format!("`-e {word}` is no NAME=VALUE"))),
    };
    words.iter().map(pair).collect()
}

fn current_size() -> ExecSize {
    let (columns, rows) = size().unwrap_or(SIZE_DEFAULT);
    ExecSize { columns, rows }
}

async fn carry(
    client: &Client,
    project: &str,
    new: &ExecNew,
    is_terminal: bool,
) -> Result<Exit, CliError> {
    let first = Frame::json(FrameKind::Spec, new).encode();
    let mut resized = match is_terminal {
        true => Some(signal(SignalKind::window_change()).map_err(|error| {
            CliError::new(Exit::Internal, format!("cannot follow the terminal's size: {error}"))
        })?),
        false => None,
    };
    // An agent that refuses closes the connection: whoever still writes into it never hears why. So
    // nothing follows the first frame before the agent has taken it.
    let (taken, is_taken) = oneshot::channel();
    let following = stream::once(is_taken).filter_map(|taken| ready(taken.ok()));
    let said = stream::once(ready(first)).chain(following.flat_map(move |()| said(resized.take())));
    let said = said.chain(stream::pending());
    let body = reqwest::Body::wrap_stream(said.map(Ok::<_, std::io::Error>));
    let path = format!("/v1/projects/{project}/exec");
    let mut parts = client.exchange(&path, EXEC_MEDIA_TYPE, body).await?.bytes_stream();
    // Nobody waits for it if the connection broke since, and the answer's end tells so.
    let _ = taken.send(());
    let mut frames = Frames::default();
    let broken = || {
        CliError::new(Exit::Unreachable, "the connection to the agent broke off")
            .hint("the command may go on in the container")
    };
    loop {
        let read = frames.take().map_err(|error| CliError::new(Exit::Internal, error.to_string()));
        match read? {
            Some(frame) => {
                if let Some(exit) = show(&frame)? {
                    return Ok(exit);
                }
            }
            None => match parts.next().await {
                Some(Ok(piece)) => frames.push(&piece),
                _ => return Err(broken()),
            },
        }
    }
}

/// What this side says: what is typed, that it ends, how large the terminal is.
fn said(resized: Option<Signal>) -> impl futures_util::Stream<Item = Bytes> + Send {
    let typed = stream::unfold(Some(stdin()), |input| async move {
        let mut input = input?;
        let mut buffer = vec![0; INPUT_BYTES];
        match input.read(&mut buffer).await {
            Ok(length) if length > 0 => {
                buffer.truncate(length);
                Some((Frame::new(FrameKind::Input, buffer).encode(), Some(input)))
            }
            // A standard input that cannot be read has nothing to say.
            _ => Some((Frame::new(FrameKind::InputEnds, Bytes::new()).encode(), None)),
        }
    });
    let sizes = stream::unfold(resized, |resized| async move {
        let mut resized = resized?;
        resized.recv().await?;
        Some((Frame::json(FrameKind::Resize, &current_size()).encode(), Some(resized)))
    });
    // The request goes on until the answer ends it: whoever leaves ends the session.
    stream::select(typed.chain(stream::pending()), sizes)
}

fn show(frame: &Frame) -> Result<Option<Exit>, CliError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => CliError::new(Exit::Success, "nobody reads any more"),
        _ => CliError::new(Exit::SystemFile, format!("cannot write the output: {error}")),
    };
    let unread = |_| CliError::new(Exit::Internal, "the agent's answer cannot be read");
    match frame.kind {
        FrameKind::Output => {
            let mut out = std::io::stdout().lock();
            out.write_all(&frame.content).and_then(|()| out.flush()).map_err(failed)?;
        }
        FrameKind::Error => {
            std::io::stderr().lock().write_all(&frame.content).map_err(failed)?;
        }
        FrameKind::Ended => {
            let ended: ExecEnded = serde_json::from_slice(&frame.content).map_err(unread)?;
            // What the system passes on of a program's end: its lowest eight bits.
            let code = ended.exit_code.rem_euclid(256);
            return Ok(Some(Exit::Command(u8::try_from(code).unwrap_or(u8::MAX))));
        }
        FrameKind::Failed => {
            let problem: Problem = serde_json::from_slice(&frame.content).map_err(unread)?;
            return Err(refused(problem));
        }
        _ => {}
    }
    Ok(None)
}
