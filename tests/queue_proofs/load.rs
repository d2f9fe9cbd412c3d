//! The load: client processes that ask for runs and work on them, and write down what they are told.
//! Owns what a client does. Face: `Load`. Never repeats a call whose answer is missing: that is for
//! the queue to sort out.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::agent::signal;
use crate::http::{Client, Heard};
use crate::ledger::{Asked, Counts, Entry, Journal, Told, Unit, What, Word, now};
use crate::{Random, wait_until};

/// The type of the load's runs.
pub(crate) const TYPE: &str = "proof.work";
/// How long a worker of the load may be silent.
pub(crate) const LEASE: Duration = Duration::from_millis(1000);
/// The same of the heir of a run whose worker is late.
const HEIRS_LEASE: Duration = Duration::from_secs(120);
/// The type of the run that a client claims and ends too late.
pub(crate) const LATE: &str = "proof.late";
/// Tells a process of this test program that it is a client.
const CLIENT: &str = "WHARF_PROOF_CLIENT";
/// Identities that all clients ask for, so that many ask for the same at once.
const SHARED_IDENTITIES: u64 = 6;
/// The file that says that somebody else has the run of the late client.
const HEIR: &str = "heir";
/// Subjects that the runs of some identities share.
const SUBJECTS: u64 = 4;
/// How long a client waits for an agent that does not listen.
const AWAY_PAUSE: Duration = Duration::from_millis(5);

/// What one client process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Orders {
    name: String,
    seed: u64,
    socket: PathBuf,
    /// The load's folder: its journal, and the files that say when to stop.
    dir: PathBuf,
    /// The pause between two runs that it asks for; none when it only works on one, late.
    ask_pause: Option<Duration>,
}

impl Orders {
    fn journal(&self) -> Journal {
        Journal::open(&self.dir.join("journal"), &self.name)
    }

    fn is_told(&self, word: &str) -> bool {
        self.dir.join(word).exists()
    }
}

/// Clients that run until they are told to stop; killed when dropped.
pub(crate) struct Load {
    dir: tempfile::TempDir,
    clients: Vec<Child>,
}

impl Load {
    /// Registers the type with the first of these agents and starts a client for each socket.
    pub(crate) fn start(sockets: &[PathBuf], seed: u64, ask_pause: Duration) -> Self {
        let definition = json!({
            "label": "Work of a proof", "counts": ["processed", "mails"],
            "lease_ms": u64::try_from(LEASE.as_millis()).unwrap(),
            "retry": {"attempts_max": 100, "first_ms": 20, "factor": 1, "longest_ms": 20},
        });
        let path = format!("/v1/queue/types/{TYPE}");
        Client::new(&sockets[0]).must("PUT", &path, Some(&definition));
        let dir = tempfile::tempdir().unwrap();
        let client = |(number, socket): (usize, &PathBuf)| {
            let orders = Orders {
                name: format!("client-{number}"),
                seed: seed.wrapping_add(number as u64),
                socket: socket.clone(),
                dir: dir.path().to_owned(),
                ask_pause: Some(ask_pause),
            };
            start_process(&orders)
        };
        let clients = sockets.iter().enumerate().map(client).collect();
        Self { dir, clients }
    }

    pub(crate) fn clients_count(&self) -> u64 {
        self.clients.len().try_into().unwrap()
    }

    /// What was noted so far.
    pub(crate) fn history(&self) -> Vec<Entry> {
        Journal::read(&self.dir.path().join("journal"))
    }

    /// A journal for what the test itself asks.
    pub(crate) fn journal(&self, name: &str) -> Journal {
        Journal::open(&self.dir.path().join("journal"), name)
    }

    /// Lets one client stand still for a while, as a machine does that is suspended.
    pub(crate) fn stall(&self, client: usize, length: Duration) {
        signal(&self.clients[client], Signal::STOP);
        std::thread::sleep(length);
        signal(&self.clients[client], Signal::CONT);
    }

    /// A client more, which stands still with the run that it holds until somebody else has it, and
    /// tries to end it then.
    pub(crate) fn end_late(&self, socket: &Path) {
        let (mut client, mut journal) = (Client::new(socket), self.journal(LATE));
        let register = |client: &mut Client, lease: Duration| {
            let definition = json!({
                "label": "Late", "lease_ms": u64::try_from(lease.as_millis()).unwrap(),
                "retry": {"attempts_max": 2, "first_ms": 1, "factor": 1, "longest_ms": 1},
            });
            client.must("PUT", &format!("/v1/queue/types/{LATE}"), Some(&definition));
        };
        register(&mut client, LEASE);
        client.must("POST", "/v1/queue/runs", Some(&json!({"type": LATE, "tenant_id": null})));
        let orders = Orders {
            name: "late".to_owned(),
            seed: 0,
            socket: socket.to_owned(),
            dir: self.dir.path().to_owned(),
            ask_pause: None,
        };
        let mut late = start_process(&orders);
        wait_until("it has begun", || self.history().iter().any(|entry| began(entry, "late")));
        signal(&late, Signal::STOP);
        // The heir is to hold it until the late one has tried, however long that takes here.
        register(&mut client, HEIRS_LEASE);
        let mut items = Vec::new();
        wait_until("its lease is over", || {
            items = claim(&mut client, &mut journal, LATE, "heir", 1, 1);
            !items.is_empty()
        });
        assert_eq!(attempt(&items[0]), 2);
        std::fs::write(self.dir.path().join(HEIR), "").unwrap();
        signal(&late, Signal::CONT);
        wait_until("it has ended", || late.try_wait().unwrap().is_some());
        assert!(late.wait().unwrap().success(), "its end was not refused");
        let told = say(&mut client, &mut journal, &items[0], Word::Complete, Counts::new());
        assert_eq!(told, Told::Accepted, "the heir's end");
    }

    /// Nothing more is asked for; workers go on.
    pub(crate) fn stop_asking(&self) {
        std::fs::write(self.dir.path().join("stop"), "").unwrap();
    }

    /// The workers stop too; gives the whole history.
    pub(crate) fn finish(mut self) -> Vec<Entry> {
        std::fs::write(self.dir.path().join("finish"), "").unwrap();
        for client in &mut self.clients {
            wait_until("the client has ended", || client.try_wait().unwrap().is_some());
            assert!(client.wait().unwrap().success(), "a client failed");
        }
        self.history()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for client in &mut self.clients {
            // It may have ended by itself.
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

/// Starts this test program once more, as a client.
fn start_process(orders: &Orders) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "load::a_client", "--ignored", "--nocapture", "--quiet"]);
    command.env(CLIENT, serde_json::to_string(orders).unwrap());
    let log = std::fs::File::create(orders.dir.join(&orders.name)).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.process_group(0).spawn().unwrap()
}

#[test]
#[ignore = "it is the client process that the other tests start"]
fn a_client() {
    let orders = std::env::var(CLIENT).expect("the other tests say what it is to do");
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let Some(ask_pause) = orders.ask_pause else { return be_late(&orders) };
    std::thread::scope(|scope| {
        let asking = std::thread::Builder::new().name("ask".to_owned());
        let asking = asking.spawn_scoped(scope, || ask(&orders, ask_pause)).unwrap();
        work(&orders);
        asking.join().unwrap();
    });
}

/// Asks for runs: of its own identities, and of those that everybody asks for.
fn ask(orders: &Orders, pause: Duration) {
    let (mut client, mut journal) = (Client::new(&orders.socket), orders.journal());
    let mut random = Random(orders.seed);
    for number in 0_u64.. {
        if orders.is_told("stop") {
            break;
        }
        let shared = random.once_in(3).then(|| random.below(SHARED_IDENTITIES));
        let (identity, subject) = match shared {
            Some(shared) => (format!("shared-{shared}"), None),
            None => {
                let subject = random.once_in(4).then(|| format!("s-{}", random.below(SUBJECTS)));
                (format!("{}-{number}", orders.name), subject)
            }
        };
        enqueue(&mut client, &mut journal, &identity, subject.as_deref(), None);
        std::thread::sleep(pause);
    }
}

/// Asks for one run, and notes what came of it.
pub(crate) fn enqueue(
    client: &mut Client,
    journal: &mut Journal,
    identity: &str,
    subject: Option<&str>,
    jobs: Option<u64>,
) {
    let jobs = jobs.map(|jobs| {
        (0..jobs).map(|n| json!({"key": format!("job-{n}"), "payload": n})).collect::<Vec<_>>()
    });
    // For the whole workspace: agents of several hosts must see that it is the same.
    let mut request = json!({"type": TYPE, "identity": identity, "tenant_id": null});
    request["subject"] = json!(subject);
    request["jobs"] = json!(jobs);
    let sent = now();
    let told = match client.post("/v1/queue/runs", &request) {
        Heard::Answer(answer) if answer.is_success() => {
            let run = answer.body["run"]["id"].as_str().unwrap().to_owned();
            Asked::Acknowledged { run }
        }
        Heard::Answer(answer) => Asked::Refused { status: answer.status, code: answer.code() },
        Heard::Unknown => Asked::Unknown,
        Heard::NotSent => return std::thread::sleep(AWAY_PAUSE),
    };
    journal.note(sent, What::Asked { identity: identity.to_owned(), told });
}

/// Claims and executes until it is told to finish.
fn work(orders: &Orders) {
    let (mut client, mut journal) = (Client::new(&orders.socket), orders.journal());
    let mut random = Random(!orders.seed);
    while !orders.is_told("finish") {
        let limit = 1 + random.below(3);
        for item in claim(&mut client, &mut journal, TYPE, &orders.name, limit, 1) {
            execute(&mut client, &mut journal, &item, &mut random);
        }
    }
}

/// Claims one run, and ends it when somebody else has it.
fn be_late(orders: &Orders) {
    let (mut client, mut journal) = (Client::new(&orders.socket), orders.journal());
    let items = claim(&mut client, &mut journal, LATE, &orders.name, 1, 0);
    wait_until("somebody else has it", || orders.is_told(HEIR));
    let told = say(&mut client, &mut journal, &items[0], Word::Complete, Counts::new());
    assert!(matches!(told, Told::Refused { code, .. } if code == "stale_attempt"));
}

fn began(entry: &Entry, by: &str) -> bool {
    entry.by == by && matches!(entry.what, What::Began { .. })
}

/// Takes work, and notes what it was given.
pub(crate) fn claim(
    client: &mut Client,
    journal: &mut Journal,
    run_type: &str,
    worker: &str,
    limit: u64,
    wait_seconds: u64,
) -> Vec<Value> {
    let request = json!({
        "types": [run_type], "worker": worker, "limit": limit, "wait_seconds": wait_seconds,
    });
    let sent = now();
    let items = match client.post("/v1/queue/claims", &request) {
        Heard::Answer(answer) if answer.is_success() => answer.body["items"].clone(),
        Heard::Answer(answer) => {
            let (status, code) = (answer.status, answer.code());
            journal.note(sent, What::Refused { status, code });
            std::thread::sleep(AWAY_PAUSE);
            return Vec::new();
        }
        // What it was given then, nobody holds: its lease runs out.
        Heard::Unknown => return Vec::new(),
        Heard::NotSent => {
            std::thread::sleep(AWAY_PAUSE);
            return Vec::new();
        }
    };
    let Value::Array(items) = items else { panic!("a claim was answered with {items}") };
    for item in &items {
        let subject = item["subject"].as_str().map(str::to_owned);
        journal.note(sent, What::Began { unit: unit(item), attempt: attempt(item), subject });
    }
    items
}

/// Works for a while and says how it went. A worker that stood still meanwhile does not know it.
fn execute(client: &mut Client, journal: &mut Journal, item: &Value, random: &mut Random) {
    std::thread::sleep(random.between(Duration::ZERO, Duration::from_millis(12)));
    if random.once_in(3) {
        say(client, journal, item, Word::Heartbeat, Counts::new());
        std::thread::sleep(random.between(Duration::ZERO, Duration::from_millis(12)));
    }
    if random.once_in(12) {
        say(client, journal, item, Word::Fail, Counts::new());
    } else {
        // Each attempt counts something else, so that a wrong one would be seen in the sum.
        let mails = 1 + u64::from(attempt(item)) * 7 + random.below(5);
        let counts = [("processed".to_owned(), 1), ("mails".to_owned(), mails)];
        say(client, journal, item, Word::Complete, counts.into());
    }
}

/// Tells of an attempt, and notes what came of it.
pub(crate) fn say(
    client: &mut Client,
    journal: &mut Journal,
    item: &Value,
    word: Word,
    counts: Counts,
) -> Told {
    let (verb, body) = match word {
        Word::Heartbeat => ("heartbeat", json!({})),
        Word::Complete => ("complete", json!({"counts": counts})),
        Word::Fail => ("fail", json!({"message": "it failed on purpose"})),
    };
    let path = format!("{}/{verb}", item["path"].as_str().unwrap());
    let sent = now();
    let told = match client.post(&path, &body) {
        Heard::Answer(answer) if answer.is_success() => Told::Accepted,
        Heard::Answer(answer) => Told::Refused { status: answer.status, code: answer.code() },
        Heard::Unknown => Told::Unknown,
        // Nothing was said: the lease runs out.
        Heard::NotSent => Told::Refused { status: 0, code: "not_sent".to_owned() },
    };
    let (unit, attempt) = (unit(item), attempt(item));
    journal.note(sent, What::Said { unit, attempt, word, counts, told: told.clone() });
    told
}

fn unit(item: &Value) -> Unit {
    let text = |field: &str| item[field].as_str().map(str::to_owned);
    Unit { run: text("run_id").unwrap(), job: text("job") }
}

fn attempt(item: &Value) -> u32 {
    item["attempt"].as_u64().unwrap().try_into().unwrap()
}

/// The sockets of one agent, once for each of its clients.
pub(crate) fn clients_of(socket: &Path, count: usize) -> Vec<PathBuf> {
    vec![socket.to_owned(); count]
}
