//! Everything that an agent tells or keeps in the open. Owns what was read. Face: `Harvest`. Never
//! leaves out a route that can be read: the description of the API names them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::support::agent::Agent;

/// Texts by the name of where they come from.
#[derive(Default)]
pub struct Harvest {
    texts: BTreeMap<String, Vec<u8>>,
}

/// Asks the agent, and gives the whole answer.
pub fn ask(agent: &Agent, method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(agent.state_dir.join("wharf.sock")).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: wharf\r\nconnection: close\r\n{headers}\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    // At once: who refuses by the head alone closes on what comes after it.
    stream.write_all([head, body.to_owned()].concat().as_bytes()).unwrap();
    // However long a busy agent takes to begin, its answer is waited for; of one that never ends, the
    // beginning is read.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = vec![0; 1];
    let begun = stream.read(&mut answer).expect("the agent answers in time");
    answer.truncate(begun);
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The JSON of an answer.
pub fn json(answer: &[u8]) -> Value {
    let text = String::from_utf8_lossy(answer);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    // The body may come in pieces.
    let from = body.find(['{', '[']).unwrap_or(body.len());
    let to = body.rfind(['}', ']']).map_or(from, |at| at + 1);
    serde_json::from_str(&body[from..to]).unwrap_or(Value::Null)
}

impl Harvest {
    /// A text.
    pub fn text(&mut self, name: &str, text: impl AsRef<[u8]>) {
        let name = format!("{name} {}", self.texts.len());
        self.texts.insert(name, text.as_ref().to_vec());
    }

    /// What a command said.
    pub fn output(&mut self, name: &str, output: &Output) {
        self.text(name, [output.stdout.as_slice(), &output.stderr].concat());
    }

    /// What came as an answer.
    pub fn asked(&mut self, agent: &Agent, method: &str, path: &str, body: &Value) -> Value {
        let answer = ask(agent, method, path, "", &body.to_string());
        self.text(path, &answer);
        json(&answer)
    }

    /// Everything that can be read of an agent: each route, each record, its log, its files.
    pub fn everything(&mut self, agent: &Agent) {
        let description = self.asked(agent, "GET", "/v1/openapi.json", &Value::Null);
        let paths = description["paths"].as_object().unwrap();
        let readable = paths.iter().filter(|(_, item)| item.get("get").is_some());
        let readable: Vec<&str> = readable.map(|(path, _)| path.as_str()).collect();
        assert!(readable.len() > 20, "{readable:?}");
        let ids = |harvest: &mut Self, list: &str, key: &str| {
            let page = harvest.asked(agent, "GET", list, &Value::Null);
            let items = page["items"].as_array().cloned().unwrap_or_default();
            let texts = items.iter().map(|item| item[key].as_str().unwrap_or_default().to_owned());
            texts.collect::<Vec<_>>()
        };
        for path in &readable {
            let Some((before, after)) = path.split_once('{') else {
                // What never ends is read by itself.
                self.asked(agent, "GET", &with_limit(path), &Value::Null);
                continue;
            };
            let list = with_limit(before.trim_end_matches('/'));
            let key = after.split_once('}').map_or("id", |(key, _)| key);
            let rest = after.split_once('}').map_or("", |(_, rest)| rest);
            for id in ids(self, &list, key) {
                self.asked(agent, "GET", &format!("{before}{id}{rest}"), &Value::Null);
            }
        }
        self.text("log", agent.log());
        for file in ["wharf.db", "wharf.db-wal"] {
            let bytes = std::fs::read(agent.state_dir.join(file)).unwrap_or_default();
            self.text(file, bytes);
        }
    }

    /// All texts, by name.
    pub fn texts(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.texts.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// How much.
    pub fn bytes(&self) -> usize {
        self.texts.values().map(Vec::len).sum()
    }
}

/// The longest page, of what comes in pages.
fn with_limit(path: &str) -> String {
    match path {
        "/v1/runs" | "/v1/audit" | "/v1/alerts/deliveries" => format!("{path}?limit=500"),
        _ => path.to_owned(),
    }
}
