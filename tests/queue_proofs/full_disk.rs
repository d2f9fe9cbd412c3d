//! The disk of an agent's database becomes full under load. Writes are refused with the reason and the
//! remedy, the agent lives and is read, and it goes on by itself when there is space again. The disk
//! is a small file system in memory that only the agent's process sees.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::agent::Agent;
use crate::http::{Answer, Client, Heard};
use crate::ledger::{Broken, acknowledged, check};
use crate::load::{Load, TYPE, clients_of};
use crate::look::{self, Watch};
use crate::wait_until;

/// How large the disk is.
const DISK: &str = "16m";

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = on_a_small_disk(&folder);
    let load = Load::start(&clients_of(&agent.socket(), 4), 6, Duration::from_millis(15));
    let watch = Watch::start(agent.socket());
    let mut client = agent.client();
    for round in 1..=2 {
        std::thread::sleep(Duration::from_millis(700));
        let filler = disk_of(&agent).join("filler");
        fill(&filler);
        // What is active already is found without a write: each asks for something else.
        let (mut refused, mut asked) = (None, 0);
        wait_until("a write is refused", || {
            // Meanwhile the journal may still have room that was kept.
            let _ = File::options().append(true).open(&filler).map(|mut it| fill_up(&mut it));
            asked += 1;
            refused = Some(enqueue(&mut client, &format!("full-{round}-{asked}")));
            refused.as_ref().is_some_and(|answer| !answer.is_success())
        });
        let refused = refused.unwrap();
        assert_eq!((refused.status, refused.code()), (507, "disk_full".to_owned()));
        let hint = refused.body["hint"].as_str().unwrap();
        assert!(hint.contains("free space on the file system of"), "{hint}");
        assert!(hint.contains("wharf.db"), "{hint}");
        assert!(refused.retry_after.is_some(), "it does not say when to try again");
        std::thread::sleep(Duration::from_millis(700));
        assert!(!agent.has_ended(), "the agent ended:\n{}", agent.log());
        let known = acknowledged(&load.history());
        let lost = look::lost(&mut client, &known);
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        std::fs::remove_file(&filler).unwrap();
        wait_until("writes are taken again", || {
            enqueue(&mut client, &format!("free-{round}")).is_success()
        });
    }
    load.stop_asking();
    wait_until("all runs have ended", || look::open_runs(&mut client, TYPE) == Some(0));
    let history = load.finish();
    assert!(watch.finish().0.is_empty(), "an identity was active twice");
    assert_eq!(check(&history, &look::facts(&mut client, TYPE)), Vec::<Broken>::new());
    let disk = disk_of(&agent);
    agent.pause();
    let records = look::verify_sqlite(&disk);
    println!(
        "full disk, twice: {} runs acknowledged, {records} audit records, none lost",
        acknowledged(&history).len()
    );
}

/// An agent whose state lies on a disk of its own; its socket does not.
fn on_a_small_disk(folder: &tempfile::TempDir) -> Agent {
    let dir = folder.path();
    std::fs::create_dir(dir.join("state")).unwrap();
    let socket = dir.join("wharf.sock");
    let mut agent = Agent::prepared_at(dir, &socket);
    let mut within = Command::new("unshare");
    within.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        within.arg("--map-root-user");
    }
    let script = format!("mount -t tmpfs -o size={DISK} disk \"$0/state\" && exec \"$@\"");
    within.args(["--", "sh", "-c", &script]).arg(dir);
    agent.start_within(within);
    agent.await_listening();
    agent
}

/// The agent's folder as its own process sees it.
fn disk_of(agent: &Agent) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", agent.pid()));
    root.join(agent.state_dir().strip_prefix("/").unwrap())
}

fn fill(path: &std::path::Path) {
    fill_up(&mut File::create(path).unwrap());
}

/// Writes until nothing more fits.
fn fill_up(file: &mut File) {
    let block = [0x5a; 4096];
    while file.write_all(&block).is_ok() {}
}

fn enqueue(client: &mut Client, identity: &str) -> Answer {
    let request = json!({"type": TYPE, "identity": identity, "tenant_id": null});
    match client.post("/v1/queue/runs", &request) {
        Heard::Answer(answer) => answer,
        other => panic!("the agent is gone: {other:?}"),
    }
}
