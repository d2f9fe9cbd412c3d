//! Speaks HTTP over an agent's socket. Owns one connection, which it keeps. Face: `Client`, `Heard`.
//! Never asks twice: what became of a request whose answer is missing is unknown.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer takes, also while a database server hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    /// The agent answered.
    Answer(Answer),
    /// Nobody listened: nothing was asked.
    NotSent,
    /// It was sent, and no whole answer came: it may have been done.
    Unknown,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) retry_after: Option<String>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        self.status < 300
    }

    /// The code of a problem document.
    pub(crate) fn code(&self) -> String {
        self.body["code"].as_str().unwrap_or("none").to_owned()
    }
}

pub(crate) struct Client {
    socket: PathBuf,
    connection: Option<BufReader<UnixStream>>,
}

impl Client {
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), connection: None }
    }

    pub(crate) fn get(&mut self, path: &str) -> Heard {
        self.ask("GET", path, None)
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Heard {
        self.ask("POST", path, Some(body))
    }

    /// The body of an answer that must come.
    pub(crate) fn must(&mut self, method: &str, path: &str, body: Option<&Value>) -> Value {
        match self.ask(method, path, body) {
            Heard::Answer(answer) if answer.is_success() => answer.body,
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Heard {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match UnixStream::connect(&self.socket) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
                    BufReader::new(stream)
                }
                Err(_) => return Heard::NotSent,
            },
        };
        let text = body.map(Value::to_string).unwrap_or_default();
        let length = text.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: wharf\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{text}"
        );
        if connection.get_mut().write_all(request.as_bytes()).is_err() {
            return Heard::Unknown;
        }
        match read(&mut connection) {
            Some(answer) => {
                self.connection = Some(connection);
                Heard::Answer(answer)
            }
            None => Heard::Unknown,
        }
    }
}

/// Reads one answer; none when it did not come whole.
fn read(connection: &mut BufReader<UnixStream>) -> Option<Answer> {
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut retry_after) = (0, None);
    loop {
        line.clear();
        connection.read_line(&mut line).ok()?;
        let (name, value) = match line.trim_end().split_once(": ") {
            Some((name, value)) => (name.to_ascii_lowercase(), value),
            None if line == "\r\n" => break,
            None => return None,
        };
        match name.as_str() {
            "content-length" => length = value.parse().ok()?,
            "retry-after" => retry_after = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).ok()?;
    let body = match length {
        0 => Value::Null,
        _ => serde_json::from_slice(&body).ok()?,
    };
    Some(Answer { status, body, retry_after })
}
