//! Follows what a container writes and what happens on the engine. Owns the cutting of output into
//! lines. Face: `logs`, `events`. Never ends without an error when an event stream breaks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::{EventsOptions, LogsOptions};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::session::Connection;
use super::{EngineError, EngineErrorKind, EngineEvent, LogLine, LogOptions, NETWORK_JOINED};
use crate::base::Timestamp;
use crate::base::limits::{ENGINE_CALL_TIMEOUT, LOG_LINE_BYTES_MAX};

/// What is reported of containers. Left out are `exec_…`, which every health check causes by the
/// dozen, and `attach`, `resize`, `top` and other looks at a container.
const ACTIONS: [&str; 15] = [
    "create",
    "start",
    "restart",
    "pause",
    "unpause",
    "kill",
    "stop",
    "die",
    "oom",
    "destroy",
    "rename",
    "update",
    "health_status",
    "prune",
    "connect",
];

/// Lines of a container. Without `follow`, each must come within the limit of an ordinary call.
pub(super) fn logs<'a>(
    connection: &'a Connection,
    id: &'a str,
    options: &'a LogOptions,
) -> BoxStream<'a, Result<LogLine, EngineError>> {
    let attempt = format!("read the log of container {id}");
    let since = options.since.map_or(0, Timestamp::as_second);
    let request = LogsOptions {
        follow: options.follow,
        stdout: true,
        stderr: true,
        since: i32::try_from(since).unwrap_or(i32::MAX),
        until: 0,
        timestamps: options.timestamps,
        tail: options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
    };
    let pieces = stream::once(async move {
        let session = connection.session(&attempt).await?;
        let output = session.docker.logs(id, Some(request));
        Ok(output.map_err(move |error| connection.failed(&attempt, &error)))
    })
    .try_flatten();
    let limit = (!options.follow).then_some(ENGINE_CALL_TIMEOUT);
    let lines = Lines { pieces: pieces.boxed(), limit, open: Default::default(), done: false };
    stream::unfold((lines, VecDeque::new()), Lines::next).boxed()
}

/// Pieces of output on their way to lines. The engine sends what the program wrote at once: half
/// a line, or many.
struct Lines<'a> {
    pieces: BoxStream<'a, Result<LogOutput, EngineError>>,
    limit: Option<Duration>,
    /// What has no line end yet: standard output, standard error.
    open: [Vec<u8>; 2],
    done: bool,
}

type Ready = VecDeque<Result<LogLine, EngineError>>;

impl Lines<'_> {
    async fn next(
        (mut self_, mut ready): (Self, Ready),
    ) -> Option<(Result<LogLine, EngineError>, (Self, Ready))> {
        while ready.is_empty() && !self_.done {
            self_.take_piece(&mut ready).await;
        }
        ready.pop_front().map(|line| (line, (self_, ready)))
    }

    async fn take_piece(&mut self, ready: &mut Ready) {
        let piece = match self.limit {
            Some(limit) => {
                tokio::time::timeout(limit, self.pieces.next()).await.unwrap_or_else(|_| {
                    let message = "no answer in time";
                    Some(Err(EngineError::new(EngineErrorKind::TimedOut, "read a log", message)))
                })
            }
            None => self.pieces.next().await,
        };
        match piece {
            Some(Ok(LogOutput::StdErr { message })) => self.cut(true, &message, ready),
            Some(Ok(
                LogOutput::StdOut { message }
                | LogOutput::StdIn { message }
                | LogOutput::Console { message },
            )) => self.cut(false, &message, ready),
            Some(Err(error)) => {
                ready.push_back(Err(error));
                self.done = true;
            }
            None => {
                for is_stderr in [false, true] {
                    let rest = std::mem::take(&mut self.open[usize::from(is_stderr)]);
                    if !rest.is_empty() {
                        ready.push_back(Ok(line(is_stderr, &rest)));
                    }
                }
                self.done = true;
            }
        }
    }

    fn cut(&mut self, is_stderr: bool, piece: &[u8], ready: &mut Ready) {
        let open = &mut self.open[usize::from(is_stderr)];
        for &byte in piece {
            if byte != b'\n' {
                open.push(byte);
            }
            if byte == b'\n' || open.len() >= LOG_LINE_BYTES_MAX {
                ready.push_back(Ok(line(is_stderr, open)));
                open.clear();
            }
        }
    }
}

fn line(is_stderr: bool, bytes: &[u8]) -> LogLine {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    LogLine { is_stderr, text: String::from_utf8_lossy(bytes).into_owned() }
}

/// What happens to containers, from `since` or from the moment of the first poll on.
pub(super) fn events(
    connection: &Connection,
    since: Option<Timestamp>,
) -> BoxStream<'_, Result<EngineEvent, EngineError>> {
    let attempt = "follow the engine's events";
    let actions = ACTIONS.iter().map(|action| (*action).to_owned()).collect();
    let request = EventsOptions {
        since: since.map(|since| format!("{}.{:09}", since.as_second(), since.subsec_nanosecond())),
        until: None,
        filters: Some(HashMap::from([
            ("type".to_owned(), vec!["container".to_owned(), "network".to_owned()]),
            ("event".to_owned(), actions),
        ])),
    };
    let heard = stream::once(async move {
        let session = connection.session(attempt).await?;
        let events = session.docker.events(Some(request));
        Ok(events.map_err(move |error| connection.failed(attempt, &error)))
    });
    let ended = stream::once(async move {
        let end = Error::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        Err(connection.failed(attempt, &end))
    });
    let heard = heard.try_flatten();
    heard.try_filter_map(|message| async move { Ok(event(message)) }).chain(ended).boxed()
}

/// What happens to a network is told when a container joined one.
fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor.unwrap_or_default();
    if message.typ == Some(EventMessageTypeEnum::NETWORK) {
        let container = actor.attributes?.remove("container")?;
        let is_joined = message.action.as_deref() == Some("connect");
        return is_joined.then(|| EngineEvent {
            at: time(message.time_nano),
            action: NETWORK_JOINED.to_owned(),
            container_id: container,
            attributes: BTreeMap::new(),
        });
    }
    Some(EngineEvent {
        at: time(message.time_nano),
        action: message.action.unwrap_or_default(),
        container_id: actor.id.unwrap_or_default(),
        attributes: actor.attributes.unwrap_or_default().into_iter().collect(),
    })
}

fn time(nanos: Option<i64>) -> Timestamp {
    let nanos = i128::from(nanos.unwrap_or_default());
    Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(pieces: &[(bool, &str)], expect: &[(bool, &str)]) {
        let outputs: Vec<_> = pieces
            .iter()
            .map(|&(is_stderr, text)| {
                let message = text.to_owned().into();
                Ok(match is_stderr {
                    true => LogOutput::StdErr { message },
                    false => LogOutput::StdOut { message },
                })
            })
            .collect();
        let pieces = stream::iter(outputs).boxed();
        let lines = Lines { pieces, limit: None, open: Default::default(), done: false };
        let found: Vec<LogLine> =
            stream::unfold((lines, VecDeque::new()), Lines::next).try_collect().await.unwrap();
        let found: Vec<_> = found.iter().map(|line| (line.is_stderr, line.text.as_str())).collect();
        assert_eq!(found, expect);
    }

    #[tokio::test]
    async fn pieces_become_lines() {
        check(
            &[(false, "a\nb"), (true, "x\r\n"), (false, "c\n")],
            &[(false, "a"), (true, "x"), (false, "bc")],
        )
        .await;
        check(&[(false, "\n\nlast")], &[(false, ""), (false, ""), (false, "last")]).await;
    }

    #[tokio::test]
    async fn endless_line_is_cut_at_the_limit() {
        let long = "y".repeat(LOG_LINE_BYTES_MAX + 1);
        check(&[(false, &long)], &[(false, &long[1..]), (false, "y")]).await;
    }
}
