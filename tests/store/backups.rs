use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::{
    Host, TYPE, ask, code, fill, portrait, register, tables, text, wait_until, without_events,
};

/// Programs ask for runs all the time, and note what was answered.
struct Load {
    answered: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn on(host: &Host, programs: usize) -> Self {
        let (answered, is_over) =
            (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let threads = (0..programs).map(|program| {
            let (answered, is_over) = (Arc::clone(&answered), Arc::clone(&is_over));
            let socket = host.socket();
            let work = move || {
                for number in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let order = format!("{program}-{number}");
                    let body = json!({"type": TYPE, "payload": order, "identity": order});
                    if let Some(answer) = ask(&socket, "POST", "/v1/queue/runs", &body) {
                        let id = answer["run"]["id"].as_str().unwrap().to_owned();
                        answered.lock().unwrap().push(id);
                    }
                }
            };
            std::thread::Builder::new().name("load".to_owned()).spawn(work).unwrap()
        });
        let threads = threads.collect();
        Self { answered, is_over, threads }
    }

    fn answered(&self) -> Vec<String> {
        self.answered.lock().unwrap().clone()
    }

    fn stop(self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// The ids of the runs in an archive.
fn runs(archive: &Path) -> BTreeSet<String> {
    let id = |row: &std::collections::BTreeMap<String, _>| match &row["id"] {
        wharfinger::store::transfer::Value::Text(id) => id.clone(),
        other => panic!("{other:?}"),
    };
    tables(archive)["runs"].iter().map(id).collect()
}

#[test]
fn a_backup_under_load_holds_all_that_was_answered_and_is_restored_elsewhere() {
    let mut host = Host::started("");
    fill(&host);
    let load = Load::on(&host, 4);
    wait_until("there is much", || load.answered().len() > 400);
    let before = load.answered();
    let archive = host.backup("live.backup", false);
    let after = load.answered();
    load.stop();
    let held = runs(&archive);
    let missing: Vec<_> = before.iter().filter(|id| !held.contains(*id)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "answered before the backup began");
    assert!(after.len() > before.len(), "nothing was answered while the backup was taken");
    let events = host.json(&["audit", "ls", "--type", "store.backed_up"]);
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
    let mode = std::fs::metadata(&archive).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    host.stop();

    let mut elsewhere = host.successor("");
    let restored = elsewhere.restore(&archive);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let told: serde_json::Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(told["audit"]["breaks"], json!([]));
    assert!(told["audit"]["records"].as_u64().unwrap() > 400, "{told}");
    // All that came is there, and the log goes on with what happened.
    let copy = elsewhere.backup("copy.backup", true);
    let events = ["store.restored"];
    assert!(without_events(tables(&copy), &events) == tables(&archive), "not the same rows");
    elsewhere.start();
    for id in before.iter().step_by(50) {
        assert_eq!(elsewhere.json(&["run", "show", id])["run"]["id"], json!(id));
    }
    let events = elsewhere.json(&["audit", "ls", "--type", "store.restored"]);
    let summary = events["items"][0]["summary"].as_str().unwrap();
    assert!(summary.contains(told["sha256"].as_str().unwrap()), "{summary}");
    // What was sealed opens there.
    let again = elsewhere.backup("again.backup", false);
    assert!(tables(&again)["revision_chunks"] == tables(&archive)["revision_chunks"]);
}

#[test]
fn a_restore_sets_the_old_database_aside_and_needs_the_agent_to_be_stopped() {
    let mut host = Host::started("");
    fill(&host);
    let archive = host.backup("a.backup", false);
    let then = portrait(&host);
    let late = host.enqueue("late");
    let running = host.restore(&archive);
    assert_eq!(code(&running), Some(75), "{}", text(&running.stderr));
    assert!(text(&running.stderr).contains("another agent holds"), "{}", text(&running.stderr));
    host.stop();
    let restored = host.restore(&archive);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let told: serde_json::Value = serde_json::from_slice(&restored.stdout).unwrap();
    let aside = told["set_aside"].as_str().unwrap().to_owned();
    host.start();
    assert_eq!(portrait(&host), then);
    assert_eq!(code(&host.wharf(&["run", "show", &late])), Some(66));
    host.stop();
    // The one that was set aside is whole.
    std::fs::rename(host.state_dir().join("wharf.db"), host.path("restored.db")).unwrap();
    std::fs::rename(aside, host.state_dir().join("wharf.db")).unwrap();
    host.start();
    assert_eq!(host.json(&["run", "show", &late])["run"]["id"], json!(late));
    let again = host.wharf(&["store", "backup", &archive.to_string_lossy()]);
    assert_eq!(code(&again), Some(74), "a backup is never overwritten");
}

#[test]
fn a_damaged_backup_is_refused_wherever_it_is_damaged() {
    let mut host = Host::started("");
    fill(&host);
    let archive = host.backup("whole.backup", false);
    host.stop();
    let whole = std::fs::read(&archive).unwrap();
    let old = std::fs::read(host.state_dir().join("wharf.db")).unwrap();
    let damaged = host.path("damaged.backup");
    let check = |bytes: &[u8], what: &str| {
        std::fs::write(&damaged, bytes).unwrap();
        let output = host.restore(&damaged);
        let said = text(&output.stderr);
        assert_eq!(code(&output), Some(65), "{what}: {said}");
        let names = std::fs::read_dir(host.state_dir()).unwrap();
        let names: Vec<_> =
            names.map(|it| text(it.unwrap().file_name().as_encoded_bytes())).collect();
        assert!(!names.iter().any(|name| name.contains("before")), "{what}: {names:?}");
        assert!(std::fs::read(host.state_dir().join("wharf.db")).unwrap() == old, "{what}");
    };
    for part in 0..16 {
        let at = (whole.len() - 1) * part / 15;
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        check(&bytes, &format!("byte {at} of {} was changed", whole.len()));
        check(&whole[..at], &format!("it ends before byte {at}"));
    }
    check(&[&whole[..], b"x"].concat(), "something follows");
    let newer = [b"wharfinger backup 9\n", &whole[20..]].concat();
    check(&newer, "a newer layout");
    std::fs::write(&damaged, &newer).unwrap();
    let said = text(&host.restore(&damaged).stderr);
    assert!(said.contains("form 9; this program knows forms up to 1"), "{said}");
    assert!(host.restore(&archive).status.success(), "the whole one is taken");
}

#[test]
fn a_backup_of_another_key_or_host_is_refused() {
    let mut host = Host::started("");
    fill(&host);
    let archive = host.backup("a.backup", false);
    host.stop();
    let refused = |elsewhere: &Host, word: &str| {
        let output = elsewhere.restore(&archive);
        let said = text(&output.stderr);
        assert_eq!(code(&output), Some(78), "{said}");
        assert!(said.contains(word), "{said}");
        assert!(!elsewhere.state_dir().join("wharf.db").exists(), "{word}");
    };
    let keyless = Host::new("");
    refused(&keyless, "there is no key at");
    let other = host.successor("");
    std::fs::write(other.state_dir().join("keys/store.key"), "11".repeat(32)).unwrap();
    refused(&other, "was sealed with another key");
    let named = host.successor("");
    let id = "0190aaaa-0000-7000-8000-000000000000\n";
    std::fs::write(named.state_dir().join("host_id"), id).unwrap();
    refused(&named, "are not of this host");
    let absent = host.restore(Path::new("/nowhere/a.backup"));
    assert_eq!(code(&absent), Some(66));
}

/// Killed at every crash point: the old database is in force or the new one, each whole.
#[test]
fn a_restore_that_is_killed_leaves_the_old_database_or_the_new_one() {
    let mut source = Host::started("");
    fill(&source);
    let archive = source.backup("a.backup", false);
    source.enqueue("late");
    source.stop();
    let old = tables(&source.backup("old.backup", true));
    let new = tables(&archive);
    let state = source.state_dir();
    let saved = source.path("saved");
    copy_folder(&state, &saved);
    let mut left = Vec::new();
    for point in 1.. {
        std::fs::remove_dir_all(&state).unwrap();
        copy_folder(&saved, &state);
        let (file, config) = (archive.to_string_lossy().into_owned(), source.config());
        let output = source
            .command(&["store", "restore", &file, "--config", &config])
            .env("WHARF_CRASH_AT", point.to_string())
            .output()
            .unwrap();
        let found = tables(&source.backup(&format!("{point}.backup"), true));
        let is_old = found == old;
        assert!(is_old || without_events(found, &["store.restored"]) == new, "crash {point}");
        left.push(is_old);
        // Whoever comes next gets through.
        assert!(source.restore(&archive).status.success(), "after crash {point}");
        if output.status.success() {
            break;
        }
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9));
    }
    assert_eq!(left, [true, true, false, false], "which one was in force after each crash");
    source.start();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_folder(&entry.path(), &target),
            kind if kind.is_file() => drop(std::fs::copy(entry.path(), target).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn two_backups_at_once_are_one_too_many() {
    let host = Host::started("");
    register(&host);
    let started = std::os::unix::net::UnixStream::connect(host.socket()).unwrap();
    // Whoever asks and does not read keeps his turn.
    let big = json!({"type": TYPE, "identity": "big",
        "jobs": (0..200).map(|n| json!({"key": format!("j{n}"), "payload": "x".repeat(60_000)}))
            .collect::<Vec<_>>()});
    host.ask("POST", "/v1/queue/runs", &big).unwrap();
    use std::io::{Read as _, Write as _};
    let mut started = started;
    started.write_all(b"GET /v1/store/backup HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    started.read_exact(&mut [0; 16]).unwrap();
    let path = host.path("second.backup");
    let second = host.wharf(&["store", "backup", &path.to_string_lossy()]);
    assert_eq!(code(&second), Some(75), "{}", text(&second.stderr));
    assert!(!path.exists() && !host.path("second.backup.part").exists());
    drop(started);
    wait_until("the turn is free", || {
        host.wharf(&["store", "backup", &path.to_string_lossy()]).status.success()
    });
}
