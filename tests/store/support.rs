//! An agent process of a test's own, and what its database holds.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharfinger::store::transfer::archive::Decoder;
use wharfinger::store::transfer::{self, Part};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A state directory with its configuration, and the agent on it while one runs.
pub(crate) struct Host {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Host {
    /// Nothing is there yet but the configuration.
    pub(crate) fn new(settings: &str) -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap(), child: None };
        host.configure(settings);
        host
    }

    /// A host whose agent serves.
    pub(crate) fn started(settings: &str) -> Self {
        let mut host = Self::new(settings);
        host.start();
        host
    }

    /// Another machine, to which the keys of this one were brought.
    pub(crate) fn successor(&self, settings: &str) -> Self {
        let host = Self::new(settings);
        let keys = host.state_dir().join("keys");
        std::fs::create_dir_all(&keys).unwrap();
        std::fs::copy(self.state_dir().join("keys/store.key"), keys.join("store.key")).unwrap();
        host
    }

    pub(crate) fn configure(&self, settings: &str) {
        let nobody = self.path("nobody.sock");
        let text = format!(
            "state_dir: {}\nengine: {{address: 'unix://{}'}}\n{settings}",
            self.state_dir().display(),
            nobody.display()
        );
        std::fs::write(self.path("agent.yaml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn config(&self) -> String {
        self.path("agent.yaml").to_string_lossy().into_owned()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state_dir().join("wharf.sock")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log"));
        let log = log.unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["agent", "--config", &self.config()]).stdin(Stdio::null());
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        wait_until("the agent answers", || {
            let ended = self.child.as_mut().is_some_and(|it| it.try_wait().unwrap().is_some());
            assert!(!ended, "the agent ended:\n{}", self.log());
            self.wharf(&["run", "ls"]).status.success()
        });
    }

    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        child.wait().unwrap()
    }

    /// An agent that is expected to say why it cannot run.
    pub(crate) fn refused(&self) -> Output {
        self.wharf(&["agent", "--config", &self.config()])
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(args).env("WHARF_SOCKET", self.socket()).stdin(Stdio::null());
        command
    }

    pub(crate) fn wharf(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.wharf(&[args, &["--format", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Asks the API; none when the agent refuses or is gone.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        ask(&self.socket(), method, path, body)
    }

    /// Writes a backup through the agent, or without it.
    pub(crate) fn backup(&self, name: &str, is_offline: bool) -> PathBuf {
        let path = self.path(name);
        let (file, config) = (path.to_string_lossy().into_owned(), self.config());
        let mut args = vec!["store", "backup", &file];
        if is_offline {
            args.extend(["--config", &config]);
        }
        let output = self.wharf(&args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        path
    }

    pub(crate) fn restore(&self, archive: &Path) -> Output {
        let (file, config) = (archive.to_string_lossy().into_owned(), self.config());
        self.wharf(&["store", "restore", &file, "--config", &config, "--format", "json"])
    }

    /// Asks for a hosted run; its id.
    pub(crate) fn enqueue(&self, order: &str) -> String {
        let body = json!({"type": TYPE, "payload": {"order": order}, "identity": order});
        let answer = self.ask("POST", "/v1/queue/runs", &body).unwrap();
        answer["run"]["id"].as_str().unwrap().to_owned()
    }

    /// Takes a run and ends it so; its id.
    pub(crate) fn work(&self, worker: &str, verb: &str, body: &Value) -> String {
        let claim = json!({"types": [TYPE], "worker": worker, "limit": 1, "wait_seconds": 5});
        let claimed = self.ask("POST", "/v1/queue/claims", &claim).unwrap();
        let path = claimed["items"][0]["path"].as_str().unwrap_or_else(|| panic!("{claimed}"));
        self.ask("POST", &format!("{path}/{verb}"), body).unwrap();
        path.to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The hosted type of these tests.
pub(crate) const TYPE: &str = "shop.mail";

pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &Value) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // At once: who answers by the head alone closes on what comes after it, and the answer is lost.
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    if status >= 300 {
        return None;
    }
    let body = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        true => body.split("\r\n").skip(1).step_by(2).collect::<String>(),
        false => body.to_owned(),
    };
    Some(serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// Registers the type that these tests use.
pub(crate) fn register(host: &Host) {
    let definition = json!({
        "label": "Send a mail", "counts": ["total", "processed"], "reason_codes": ["mail.bounced"],
        "lease_ms": 600_000, "retry": {"attempts_max": 1},
    });
    host.ask("PUT", &format!("/v1/queue/types/{TYPE}"), &definition).unwrap();
}

/// Puts something of every kind into a store.
pub(crate) fn fill(host: &Host) {
    register(host);
    for order in ["done", "dead", "open", "waiting"] {
        host.enqueue(order);
    }
    host.work("w1", "complete", &json!({"outcome": "succeeded", "counts": {"processed": 3}}));
    let failure = json!({"reason_code": "mail.bounced", "message": "no such mailbox"});
    host.work("w1", "fail", &failure);
    host.work("w1", "progress", &json!({"log": "sending"}));
    let jobs: Vec<Value> =
        (0..5).map(|n| json!({"key": format!("job-{n}"), "payload": {"n": n}})).collect();
    let bulk = json!({"type": TYPE, "identity": "march", "subject": "march", "jobs": jobs});
    host.ask("POST", "/v1/queue/runs", &bulk).unwrap();
    let compose = host.path("compose.yaml");
    let services = "name: shop\nservices: {web: {image: x, environment: {KEY: a-secret}}}\n";
    std::fs::write(&compose, services).unwrap();
    host.json(&["up", "--detach", "-f", &compose.to_string_lossy()]);
    host.json(&["queue", "limit", "3", "--type", TYPE]);
    host.json(&["alert", "add-receiver", "ops", "--url", "http://127.0.0.1:9/hook"]);
    host.json(&["alert", "add-rule", "all", "--to", "ops"]);
    let schedule = ["schedule", "add", "nightly", "--cron", "30 3 * * *", "--hosted", TYPE];
    host.json(&schedule);
    host.enqueue("after");
}

/// What programs and people see of a store, apart from what agents change by starting.
pub(crate) fn portrait(host: &Host) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    let runs = host.json(&["run", "ls", "--limit", "500", "--type", TYPE]);
    for run in runs["items"].as_array().unwrap() {
        let id = run["id"].as_str().unwrap();
        seen.insert(format!("run {id}"), host.json(&["run", "show", id]));
        seen.insert(format!("jobs {id}"), host.json(&["run", "jobs", id]));
    }
    let queue = host.json(&["queue", "show"]);
    seen.insert("controls".to_owned(), queue["controls"].clone());
    for args in [["queue", "types"], ["schedule", "ls"], ["alert", "rules"], ["alert", "receivers"]]
    {
        seen.insert(args.join(" "), host.json(&args));
    }
    let projects = host.json(&["ps"]);
    seen.insert("projects".to_owned(), projects["items"][0]["name"].clone());
    seen
}

/// All rows of an archive, by table: each row by column.
pub(crate) type Tables = BTreeMap<String, Vec<BTreeMap<String, transfer::Value>>>;

pub(crate) fn tables(archive: &Path) -> Tables {
    let mut decoder = Decoder::new(std::fs::File::open(archive).unwrap());
    let mut tables = Tables::new();
    let (mut name, mut columns) = (String::new(), Vec::new());
    while let Some(part) = decoder.next_part().unwrap() {
        match part {
            Part::Table(head) => {
                (name, columns) = (head.name, head.columns);
                tables.insert(name.clone(), Vec::new());
            }
            Part::Rows(rows) => {
                let rows = rows.into_iter().map(|row| columns.iter().cloned().zip(row).collect());
                tables.get_mut(&name).unwrap().extend(rows);
            }
            Part::Header(_) | Part::TableEnd(_) | Part::End(_) => {}
        }
    }
    tables.values_mut().for_each(|rows| rows.sort());
    tables
}

/// Takes the last events of these types out of the audit log.
pub(crate) fn without_events(mut tables: Tables, types: &[&str]) -> Tables {
    let is_one = |row: &BTreeMap<String, transfer::Value>| {
        let found = &row["event_type"];
        types.iter().any(|kind| *found == transfer::Value::Text((*kind).to_owned()))
    };
    tables.get_mut("audit_events").unwrap().retain(|row| !is_one(row));
    tables
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}
