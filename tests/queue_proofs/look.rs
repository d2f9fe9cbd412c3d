//! Looks at what agents have: through the API, as any user could, and in what lies on the disk. Owns
//! the reading. Face: `Watch`, `facts`, `lost`, `verify_sqlite`. Never changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use wharfinger::base::Ambient;
use wharfinger::base::crash_points::NoCrashPoints;
use wharfinger::domain::audit::proof::Verdict;
use wharfinger::store::keys::Keys;
use wharfinger::store::sqlite::{self, Mode, Opening};
use wharfinger::store::{Store, host, postgres};
use wharfinger::world::clock::SystemClock;
use wharfinger::world::host::SystemEntropy;

use crate::http::{Answer, Client, Heard};
use crate::ledger::{Counts, Facts, RunFact};

/// Every item of a list; none when the agent was away meanwhile.
fn pages(client: &mut Client, path: &str) -> Option<Vec<Value>> {
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let Heard::Answer(Answer { status: 200, body, .. }) =
            client.get(&format!("{path}&limit=500{after}"))
        else {
            return None;
        };
        items.extend(body["items"].as_array().unwrap().iter().cloned());
        match body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Some(items),
        }
    }
}

/// How many runs of a type are not completed; none when the agent is away.
pub(crate) fn open_runs(client: &mut Client, run_type: &str) -> Option<usize> {
    let path = format!("/v1/runs?type={run_type}&status=queued,running");
    pages(client, &path).map(|items| items.len())
}

/// Looks all the time whether two active runs have one identity, while the load goes on.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    pub(crate) fn start(socket: PathBuf) -> Self {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counted) = (Arc::clone(&stop), Arc::clone(&looks));
        let look = move || {
            let (mut client, mut found) = (Client::new(&socket), BTreeSet::new());
            while !told.load(Ordering::Relaxed) {
                // Newest first: when an older one of the same identity still shows as active on a
                // later page, it was when the newer one was accepted.
                if let Some(active) = pages(&mut client, "/v1/runs?status=queued,running") {
                    found.extend(twice_active(&active));
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            found
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(look).unwrap();
        Self { stop, looks, thread }
    }

    /// How often it has looked so far.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// The identities that were active twice, and how often it looked.
    pub(crate) fn finish(self) -> (BTreeSet<String>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let found = self.thread.join().unwrap();
        (found, self.looks.load(Ordering::Relaxed))
    }
}

/// Identities that more than one of these runs has.
fn twice_active(active: &[Value]) -> BTreeSet<String> {
    let mut runs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for run in active {
        let hash = run["run_identity_hash"].as_str().unwrap();
        runs.entry(hash).or_default().insert(run["id"].as_str().unwrap());
    }
    let twice = runs.into_iter().filter(|(_, runs)| runs.len() > 1);
    twice.map(|(hash, runs)| format!("{hash}: {runs:?}")).collect()
}

#[test]
fn an_identity_that_is_active_twice_is_seen() {
    let run = |id: &str, hash: &str| serde_json::json!({"id": id, "run_identity_hash": hash});
    assert!(twice_active(&[run("a", "1"), run("b", "2"), run("a", "1")]).is_empty());
    let seen = twice_active(&[run("a", "1"), run("b", "2"), run("c", "1")]);
    assert_eq!(seen, ["1: {\"a\", \"c\"}".to_owned()].into());
}

/// What the agents say of all runs of a type.
pub(crate) fn facts(client: &mut Client, run_type: &str) -> Facts {
    let mut facts = Facts::default();
    for run in pages(client, &format!("/v1/runs?type={run_type}")).unwrap() {
        let (id, fact) = fact(client, &run);
        facts.runs.insert(id, fact);
    }
    let ends = pages(client, "/v1/audit?event_type=operation_run.completed").unwrap();
    for event in ends {
        let run = event["operation_run_id"].as_str().unwrap().to_owned();
        *facts.ends.entry(run).or_default() += 1;
    }
    facts
}

fn fact(client: &mut Client, run: &Value) -> (String, RunFact) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let id = text(&run["id"]);
    let mut jobs = BTreeMap::new();
    if run["jobs"].is_object() {
        for job in pages(client, &format!("/v1/runs/{id}/jobs?")).unwrap() {
            jobs.insert(text(&job["key"]), (text(&job["status"]), number(&job["attempt"])));
        }
    }
    let counts: Counts = serde_json::from_value(run["summary_counts"].clone()).unwrap();
    let fact = RunFact {
        identity: text(&run["identity"]),
        is_completed: run["status"] == "completed",
        outcome: text(&run["outcome"]),
        attempt: number(&run["attempt"]),
        counts,
        jobs,
    };
    (id, fact)
}

/// Those of the runs that the agent does not know.
pub(crate) fn lost<'a>(
    client: &mut Client,
    runs: impl IntoIterator<Item = &'a String>,
) -> BTreeSet<&'a str> {
    let mut missing: BTreeSet<&str> = runs.into_iter().map(String::as_str).collect();
    let mut after = String::new();
    // Newest first, many at once: asked for one by one, a load could make them faster than that.
    while !missing.is_empty() {
        let heard = client.get(&format!("/v1/runs?limit=500{after}"));
        let Heard::Answer(Answer { status: 200, body, .. }) = heard else {
            panic!("the list of runs: {heard:?}")
        };
        for run in body["items"].as_array().unwrap() {
            missing.remove(run["id"].as_str().unwrap());
        }
        match body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    missing
}

/// Follows the chain of the audit log in a copy of what an agent has on its disk, and gives the
/// number of its records. The agent may be dead; while it lives, it must not write.
pub(crate) fn verify_sqlite(state_dir: &Path) -> u64 {
    let copy = copy_of(state_dir);
    let store = opened(copy.path());
    whole(wait_for(store.verify_audit()).unwrap())
}

/// The same for a stopped agent that shares a database.
pub(crate) fn verify_postgres(
    state_dir: &Path,
    server: &crate::postgres::Server,
    database: &str,
) -> u64 {
    let copy = copy_of(state_dir);
    wait_for(async {
        let store = opened_on(copy.path(), server, database).await;
        whole(store.verify_audit().await.unwrap())
    })
}

/// What became of the findings of a store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Consolidated {
    /// How many were taken into another.
    pub(crate) gone: u64,
    /// How often those that go on were seen, all together.
    pub(crate) seen: u64,
    /// How many of those that go on have the key of another.
    pub(crate) twice: u64,
}

/// The same of an agent that is stopped: in a copy of its folder, or in the database it shares.
pub(crate) fn consolidated(
    state_dir: &Path,
    shared: Option<(&crate::postgres::Server, &str)>,
) -> Consolidated {
    let copy = copy_of(state_dir);
    wait_for(async {
        let store = match shared {
            Some((server, database)) => opened_on(copy.path(), server, database).await,
            None => opened(copy.path()),
        };
        count_consolidated(&*store).await
    })
}

async fn count_consolidated(store: &dyn Store) -> Consolidated {
    let workspace = store.scope().workspace_id;
    let mut found = Consolidated::default();
    for totals in store.finding_totals(workspace, None).await.unwrap() {
        let (mut keys, mut after) = (BTreeSet::new(), None);
        loop {
            let page = store.findings_after(workspace, totals.tenant_id, after, 5_000);
            let page = page.await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for finding in page {
                if finding.merged_into.is_some() {
                    found.gone += 1;
                    continue;
                }
                found.seen += finding.times_seen.unwrap();
                found.twice += u64::from(!keys.insert(finding.recurrence_key.unwrap()));
            }
        }
    }
    found
}

/// The store of a folder that no agent works on.
fn opened(state_dir: &Path) -> Arc<dyn Store> {
    let (ambient, keys) = (ambient(), keys(state_dir));
    let opened = sqlite::open(Opening {
        state_dir,
        keys: &keys,
        ambient: &ambient,
        os_user: "proof",
        hostname: "proof",
        agent_version: "proof",
        mode: Mode::Inline,
        on_commit: None,
    });
    opened.unwrap_or_else(|error| panic!("the copy: {error:?}")).store
}

/// The same in a database.
async fn opened_on(
    state_dir: &Path,
    server: &crate::postgres::Server,
    database: &str,
) -> Arc<dyn Store> {
    let (ambient, keys) = (ambient(), keys(state_dir));
    let server = postgres::Server {
        host: postgres::Host::Socket(server.socket()),
        port: 5432,
        user: "wharf".to_owned(),
        password: None,
        database: database.to_owned(),
    };
    let opened = postgres::open(postgres::Opening {
        server,
        readers_max: 1,
        state_dir: state_dir.to_owned(),
        host_id: host::open_or_create(state_dir, &ambient).unwrap(),
        keys,
        ambient,
        os_user: "proof".to_owned(),
        hostname: "proof".to_owned(),
        agent_version: "proof".to_owned(),
        on_commit: None,
    });
    opened.await.unwrap_or_else(|error| panic!("the copy: {error:?}")).store
}

fn whole(verdict: Verdict) -> u64 {
    assert!(verdict.breaks.is_empty(), "the audit log is broken: {:?}", verdict.breaks);
    verdict.records
}

fn copy_of(state_dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("keys")).unwrap();
    for name in ["wharf.db", "wharf.db-wal", "host_id", "keys/store.key"] {
        let from = state_dir.join(name);
        if from.exists() {
            std::fs::copy(from, copy.path().join(name)).unwrap();
        }
    }
    copy
}

fn ambient() -> Ambient {
    Ambient {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        crash_points: Arc::new(NoCrashPoints),
    }
}

fn keys(state_dir: &Path) -> Keys {
    Keys::open_or_create(state_dir, &SystemEntropy).unwrap()
}

/// Waits for what a store answers.
pub(crate) fn wait_for<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(answer)
}
