//! The audit log of a real agent, as an auditor has it in their hands: exported, copied, anchored,
//! tampered with, purged, and with a person erased. No engine is needed.
#![expect(clippy::unwrap_used, reason = "a test's helper fails the test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use wharfinger::base::Ambient;
use wharfinger::base::crash_points::NoCrashPoints;
use wharfinger::base::ids::EventId;
use wharfinger::domain::audit::chain::{GENESIS, link};
use wharfinger::domain::audit::seal::Checkpoint;
use wharfinger::domain::audit::{
    Actor, ActorType, AuditEvent, AuditEvents, EventContext, EventType, Outcome,
};
use wharfinger::domain::redaction::SafeText;
use wharfinger::store::Store;
use wharfinger::store::keys::Keys;
use wharfinger::store::sqlite::{self, Mode, Opening};
use wharfinger::world::clock::SystemClock;
use wharfinger::world::host::SystemEntropy;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(120);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An agent in a folder of its own, with an anchor beside it; killed when dropped.
struct Agent {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Agent {
    fn start() -> Self {
        Self::with_anchors("")
    }

    /// With anchors of the configuration beside the file.
    fn with_anchors(more: &str) -> Self {
        let mut agent = Self { dir: tempfile::tempdir().unwrap(), child: None };
        let text = format!(
            "state_dir: {}\nengine: {{address: 'unix://{}'}}\naudit: {{anchors: [{{file: {}}}{more}]}}\n",
            agent.path("state").display(),
            agent.path("nobody.sock").display(),
            agent.path("anchors").display()
        );
        std::fs::write(agent.path("agent.yaml"), text).unwrap();
        agent.spawn();
        agent
    }

    fn spawn(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["agent", "--config"]).arg(self.path("agent.yaml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        wait_until("the agent answers", || self.wharf(&["run", "ls"]).status.success());
    }

    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(told.success() && child.wait().unwrap().success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn wharf(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(args).env("WHARF_SOCKET", self.path("state").join("wharf.sock"));
        command.current_dir(self.dir.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        let output = self.wharf(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and verdict of a verification.
    fn verify(&self, more: &[&str]) -> (Option<i32>, serde_json::Value) {
        let output = self.wharf(&[&["audit", "verify", "--format", "json"], more].concat());
        let verdict = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), verdict)
    }

    fn whole(&self, more: &[&str]) -> u64 {
        let (code, verdict) = self.verify(more);
        assert_eq!((code, &verdict["is_whole"]), (Some(0), &true.into()), "{more:?}: {verdict}");
        verdict["records"].as_u64().unwrap()
    }

    /// The first bad event that is found.
    fn first_bad(&self, more: &[&str]) -> u64 {
        let (code, verdict) = self.verify(more);
        assert_eq!((code, &verdict["is_whole"]), (Some(1), &false.into()), "{more:?}: {verdict}");
        verdict["first_bad"].as_u64().unwrap()
    }

    fn anchored(&self) -> usize {
        std::fs::read_to_string(self.path("anchors")).unwrap_or_default().lines().count()
    }

    /// Something that is recorded, sealed and anchored.
    fn happen(&self) {
        let anchored = self.anchored();
        for name in ["a", "b", "c"] {
            let url = format!("http://localhost:9/{name}");
            self.done(&["alert", "add-receiver", name, "--url", &url]);
        }
        wait_until("its checkpoint is anchored", || self.anchored() > anchored);
    }
}

/// The agent's database and what belongs to it, as somebody copies it.
fn copy(agent: &Agent, name: &str) -> PathBuf {
    let folder = agent.path(name);
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["wharf.db", "wharf.db-wal"] {
        let from = agent.path("state").join(file);
        if from.exists() {
            std::fs::copy(from, folder.join(file)).unwrap();
        }
    }
    folder.join("wharf.db")
}

fn replace_bytes(path: &Path, from: &[u8], to: &[u8]) -> usize {
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, it)| *it == from)
        .map(|it| it.0)
        .collect();
    for place in &places {
        bytes[*place..place + to.len()].copy_from_slice(to);
    }
    std::fs::write(path, bytes).unwrap();
    places.len()
}

#[test]
fn an_auditor_proves_the_log_and_finds_what_was_done_to_it() {
    let mut agent = Agent::start();
    agent.happen();
    let key = agent.done(&["audit", "key"]);
    std::fs::write(agent.path("host.key"), key).unwrap();
    agent.done(&["audit", "export", "log.jsonl"]);
    let beside = ["--anchors", "anchors", "--key", "host.key"];
    let records = agent.whole(&beside);
    let file = [&["--file", "log.jsonl"], &beside[..]].concat();
    assert_eq!(agent.whole(&file), records);
    let again = agent.wharf(&["audit", "export", "log.jsonl"]);
    assert_eq!(again.status.code(), Some(74), "an export replaces nothing");

    // The export, damaged in every way.
    let text = std::fs::read_to_string(agent.path("log.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let record = |seq: u64| {
        let mark = format!("\"seq\":{seq},");
        let is = |line: &&str| line.starts_with("{\"kind\":\"record\"") && line.contains(&mark);
        lines.iter().position(is).unwrap()
    };
    let damaged = ["--file", "damaged.jsonl", "--anchors", "anchors", "--key", "host.key"];
    let check = |damage: &dyn Fn(&mut Vec<String>), expect: u64| {
        let mut own: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        damage(&mut own);
        std::fs::write(agent.path("damaged.jsonl"), own.join("\n") + "\n").unwrap();
        assert_eq!(agent.first_bad(&damaged), expect);
    };
    check(&|it| it[record(3)] = it[record(3)].replace("put", "pit"), 3);
    check(&|it| drop(it.remove(record(3))), 3);
    check(&|it| it.insert(record(3), it[record(4)].clone()), 3);
    check(&|it| it.swap(record(3), record(4)), 3);
    check(&|it| it.truncate(record(4)), 4);

    // What is no log at all, and what is not there.
    assert_eq!(agent.verify(&["--file", "agent.yaml"]).0, Some(65));
    assert_eq!(agent.verify(&["--file", "nothing.jsonl"]).0, Some(66));

    // The raw bytes of a copied database: what was written into the record, nothing else.
    agent.stop();
    let database = copy(&agent, "copied");
    let name = database.display().to_string();
    let by_file = [&["--file", name.as_str()], &beside[..]].concat();
    // The agent has recorded its stop since.
    assert!(agent.whole(&by_file) > records);
    assert!(replace_bytes(&database, b"alert_receiver.put", b"alert_receiver.pit") > 0);
    assert_eq!(agent.first_bad(&by_file), 3);
    // Somebody with a database of their own and another key.
    let mut other = Agent::start();
    other.happen();
    other.stop();
    let name = copy(&other, "copied").display().to_string();
    let foreign = [&["--file", name.as_str()], &beside[..]].concat();
    assert!(agent.first_bad(&foreign) <= 6);
    other.whole(&["--file", &name]);
}

#[test]
fn a_person_is_erased_and_the_anchored_log_still_verifies() {
    let agent = Agent::start();
    agent.happen();
    let row = &serde_json::from_str::<serde_json::Value>(
        &agent.done(&["audit", "ls", "--actor", "human", "--format", "json"]),
    )
    .unwrap()["items"][0];
    let name = row["actor_label"].as_str().unwrap().to_owned();
    let said = agent.done(&["audit", "erase-person", &name, "--format", "json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let pseudonym = said["pseudonym"].as_str().unwrap();
    agent.whole(&["--anchors", "anchors"]);
    let found = agent.done(&["audit", "ls", "--actor", pseudonym]);
    assert!(found.contains("alert_receiver.put") && found.contains(pseudonym), "{found}");
    let nobody = agent.wharf(&["audit", "erase-person", "nobody at all"]);
    assert_eq!(nobody.status.code(), Some(66), "{nobody:?}");
    // All segments but the last go, and a tombstone stays in their place.
    agent.happen();
    let purged = agent.done(&["audit", "purge", "--before", "2999-01-01T00:00:00Z"]);
    assert!(purged.contains("records purged") && !purged.starts_with("0 "), "{purged}");
    let left = agent.whole(&["--anchors", "anchors"]);
    assert!(left < 10, "{left}");
    let events = agent.done(&["audit", "export", "--as", "cloudevents"]);
    let event: serde_json::Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], event["data"]["event_type"]);
}

/// What records say of one person, who is no user of the machine.
const SECRETS: [&str; 3] = ["quixotina", "q.mancha@example.org", "192.0.2.77"];
/// Records of that person; an erasure takes some forty transactions for them.
const PERSON_RECORDS: usize = 20_000;
/// How many are looked at before the agent is killed.
const BEFORE_KILL: i64 = 3_000;

fn quixotic(store: &dyn Store, ambient: &Ambient) -> AuditEvent {
    let scope = store.scope();
    let [label, email, ip] = SECRETS.map(str::to_owned);
    let summary = SafeText::new(format!("{label} paused the project shop"));
    let mut actor = Actor::human(scope.owner_id, &label);
    (actor.actor_id, actor.actor_email) = (Some("uid:4242".to_owned()), Some(email));
    assert_eq!(actor.actor_type, ActorType::Human);
    AuditEvent {
        id: EventId::generate(&*ambient.clock, &*ambient.entropy),
        workspace_id: scope.workspace_id,
        tenant_id: None,
        event_type: EventType::ProjectPaused,
        summary,
        outcome: Outcome::Success,
        actor,
        target: None,
        operation_run_id: None,
        context: EventContext { ip: Some(ip), ..EventContext::default() },
        occurred_at: ambient.now(),
    }
}

/// Writes the records of that person, while no agent runs.
async fn fill(state_dir: &Path) {
    let ambient = Ambient {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        crash_points: Arc::new(NoCrashPoints),
    };
    let keys = Keys::open_or_create(state_dir, &*ambient.entropy).unwrap();
    let opened = sqlite::open(Opening {
        state_dir,
        keys: &keys,
        ambient: &ambient,
        os_user: "test",
        hostname: "test",
        agent_version: "test",
        mode: Mode::Threaded,
        on_commit: None,
    });
    let store = opened.unwrap().store;
    for _ in 0..PERSON_RECORDS / 1_000 {
        let mut events: AuditEvents = quixotic(&*store, &ambient).into();
        for _ in 1..1_000 {
            events = events.and(quixotic(&*store, &ambient));
        }
        store.commit(Vec::new(), events).await.unwrap();
    }
    store.close().await.unwrap();
}

/// How far the erasure is, whether it is complete, and how many records name the person.
fn erasure(database: &Path) -> (i64, bool, i64) {
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    let sql = "SELECT coalesce(max(next_seq), 0), count(completed_at) > 0,
            (SELECT count(*) FROM audit_events WHERE instr(personal, ?1)
                OR instr(summary, ?1) OR instr(actor_label, ?1) OR instr(body, ?1))
        FROM audit_erasures";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    connection.query_row(sql, [SECRETS[0]], read).unwrap()
}

#[tokio::test]
async fn an_erasure_that_a_kill_interrupts_is_completed_by_the_next_agent() {
    let mut agent = Agent::start();
    agent.stop();
    fill(&agent.path("state")).await;
    agent.spawn();
    wait_until("the records are sealed and anchored", || agent.anchored() > PERSON_RECORDS / 1_000);
    let database = agent.path("state").join("wharf.db");
    assert_eq!(erasure(&database), (0, false, PERSON_RECORDS as i64));
    let looking = Connection::open(&database).unwrap();
    looking.busy_timeout(PATIENCE).unwrap();
    let mut asking = Command::new(env!("CARGO_BIN_EXE_wharf"));
    asking.args(["audit", "erase-person", SECRETS[0]]);
    asking.env("WHARF_SOCKET", agent.path("state").join("wharf.sock"));
    asking.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut asking = asking.spawn().unwrap();
    wait_until("some records are erased", || {
        let sql = "SELECT coalesce(max(next_seq), 0) FROM audit_erasures";
        looking.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() > BEFORE_KILL
    });
    let mut child = agent.child.take().unwrap();
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!asking.wait().unwrap().success(), "nobody answered");
    let (next, is_complete, named) = erasure(&database);
    assert!(next > BEFORE_KILL && !is_complete, "killed too late: {next}");
    assert!(named > 0 && named < PERSON_RECORDS as i64, "{named} records name them");

    agent.spawn();
    wait_until("the erasure is complete", || erasure(&database).1);
    assert_eq!(erasure(&database).2, 0);
    assert!(agent.whole(&["--anchors", "anchors"]) > PERSON_RECORDS as u64);
    agent.stop();
    // Once its free pages are gone, the whole file says nothing of them.
    let copied = copy(&agent, "rewritten");
    Connection::open(&copied).unwrap().execute_batch("VACUUM").unwrap();
    let bytes = std::fs::read(&copied).unwrap();
    for secret in SECRETS {
        let found = bytes.windows(secret.len()).any(|it| it == secret.as_bytes());
        assert!(!found, "{secret} is still there");
    }
    agent.whole(&["--file", &copied.display().to_string(), "--anchors", "anchors"]);
}

/// Takes the protection of the log away.
const UNLOCK: &str = "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted;
    DROP TRIGGER audit_checkpoint_is_never_changed; DROP TRIGGER audit_checkpoint_is_never_deleted";

/// Somebody outside who keeps what they are sent, after they were away for a while. Their address,
/// and the messages, a line each.
fn witness() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/secret", listener.local_addr().unwrap());
    let kept = Arc::new(Mutex::new(String::new()));
    let got = Arc::clone(&kept);
    let serve = move || {
        let mut is_away = true;
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap() > 2 {
                let named = line.to_lowercase();
                if let Some(text) = named.strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let status = if is_away { "503 Service Unavailable" } else { "204 No Content" };
            if !is_away {
                let mut kept = got.lock().unwrap();
                kept.push_str(&String::from_utf8(body).unwrap());
                kept.push('\n');
            }
            is_away = false;
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    };
    std::thread::Builder::new().name("witness".to_owned()).spawn(serve).unwrap();
    (address, kept)
}

/// Changes a record and signs everything anew, as whoever owns the host can.
fn forge(database: &Path, state_dir: &Path, seq: u64) {
    let keys = Keys::open_or_create(state_dir, &SystemEntropy).unwrap();
    let connection = Connection::open(database).unwrap();
    connection.execute_batch(UNLOCK).unwrap();
    let bodies: Vec<String> = connection
        .prepare("SELECT body FROM audit_events ORDER BY seq")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut previous = GENESIS;
    for (number, body) in (1..).zip(bodies) {
        let body = match number == seq {
            true => body.replace("\"recorded_at\":\"2", "\"recorded_at\":\"1"),
            false => body,
        };
        let next = link(previous, number, body.clone().into_bytes());
        previous = next.hash;
        let sql = "UPDATE audit_events SET body = ?, hash = ? WHERE seq = ?";
        let values = params![body, next.hash.to_string(), i64::try_from(number).unwrap()];
        connection.execute(sql, values).unwrap();
        let sql = "SELECT body FROM audit_checkpoints WHERE seq = ?";
        let sealed = connection
            .query_row(sql, [i64::try_from(number).unwrap()], |row| row.get::<_, String>(0));
        if let Ok(text) = sealed {
            let mut sealed = serde_json::from_str::<Checkpoint>(&text).unwrap().sealed;
            sealed.hash = next.hash;
            let anew = keys.audit().checkpoint(sealed).unwrap();
            let text = serde_json::to_value(&anew).unwrap().to_string();
            let sql = "UPDATE audit_checkpoints SET body = ? WHERE seq = ?";
            connection.execute(sql, params![text, i64::try_from(number).unwrap()]).unwrap();
        }
    }
}

#[test]
fn an_anchor_tells_what_the_owner_of_the_host_hides() {
    let (address, kept) = witness();
    let mut agent = Agent::with_anchors(&format!(", {{webhook: '{address}'}}"));
    agent.happen();
    agent.happen();
    agent.stop();
    let read = |text: &str| -> Vec<u64> {
        let seqs = text.lines().map(|it| serde_json::from_str::<Checkpoint>(it).unwrap());
        seqs.map(|checkpoint| checkpoint.sealed.seq).collect()
    };
    let sealed = read(&std::fs::read_to_string(agent.path("anchors")).unwrap());
    // The receiver was away at first, and has everything in the end; not what was sealed at the stop.
    agent.spawn();
    let all = |kept: &str| sealed.iter().all(|seq| kept.contains(&format!("\"seq\":{seq},")));
    wait_until("the receiver has them all", || all(&kept.lock().unwrap()));
    std::fs::write(agent.path("messages"), &*kept.lock().unwrap()).unwrap();
    agent.stop();

    let (first, last) = (sealed[0], *sealed.last().unwrap());
    let damaged = |name: &str, damage: &dyn Fn(&Path), expect: u64| {
        let database = copy(&agent, name);
        damage(&database);
        let name = database.display().to_string();
        // The host alone cannot know.
        agent.whole(&["--file", &name]);
        for anchors in ["anchors", "messages"] {
            assert_eq!(agent.first_bad(&["--file", &name, "--anchors", anchors]), expect);
        }
    };
    let cut = |database: &Path| {
        let connection = Connection::open(database).unwrap();
        let cut = format!(
            "{UNLOCK}; DELETE FROM audit_events WHERE seq >= {last};
             DELETE FROM audit_checkpoints WHERE seq >= {last}"
        );
        connection.execute_batch(&cut).unwrap();
    };
    damaged("cut", &cut, last);
    damaged("forged", &|it| forge(it, &agent.path("state"), first), first);
    // What a live agent works on.
    agent.spawn();
    agent.whole(&["--anchors", "messages"]);
    let live = agent.path("state").join("wharf.db");
    let damage =
        format!("{UNLOCK}; UPDATE audit_events SET outcome = 'blocked' WHERE seq = {first}");
    Connection::open(live).unwrap().execute_batch(&damage).unwrap();
    assert_eq!(agent.first_bad(&[]), first);
}
