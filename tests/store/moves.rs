use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::postgres::Server;
use crate::support::{Host, code, fill, portrait, tables, text, without_events};

/// A database of a test's own, and how a configuration names it.
async fn database() -> (String, String) {
    let name = Server::shared().database().await;
    let socket = Server::shared().socket();
    let setting =
        format!("store: {{postgres: {{host: {}, database: {name}}}}}\n", socket.display());
    (name, setting)
}

fn move_command(host: &Host, database: &str) -> Command {
    let socket = Server::shared().socket().to_string_lossy().into_owned();
    let config = host.config();
    host.command(&["store", "move", "--config", &config, "--host", &socket, "--database", database])
}

fn moved(host: &Host, database: &str) -> Value {
    let output = move_command(host, database).args(["--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(output: &Output, expect: i32, word: &str) {
    let said = text(&output.stderr);
    assert_eq!(code(output), Some(expect), "{said}");
    assert!(said.contains(word), "{said}");
}

#[tokio::test]
async fn a_move_brings_everything_and_keeps_agents_away_from_the_old_database() {
    let (name, setting) = database().await;
    let mut host = Host::started("");
    fill(&host);
    refused(&move_command(&host, &name).output().unwrap(), 75, "another agent holds");
    let before = portrait(&host);
    host.stop();
    let old = host.backup("old.backup", true);
    let told = moved(&host, &name);
    assert_eq!(told["audit"]["records_before"], told["audit"]["records_after"]);
    assert_eq!(told["tables"]["run_jobs"], 5, "{told}");

    refused(&host.refused(), 75, "were moved to");
    refused(&host.refused(), 75, "wharf.db.moved");
    let again = moved(&host, &name);
    assert_eq!(again["was_there"], json!(true), "a second move finds the first");
    let (other, _) = database().await;
    refused(&move_command(&host, &other).output().unwrap(), 4, "were moved to");

    host.configure(&setting);
    let new = host.backup("new.backup", true);
    assert!(without_events(tables(&new), &["store.moved"]) == tables(&old), "not the same rows");
    // What the move printed is what the agent reads.
    host.configure(told["setting"].as_str().unwrap());
    host.start();
    assert_eq!(portrait(&host), before);
    let events = host.json(&["audit", "ls", "--type", "store.moved"]);
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    host.stop();

    // The way back that the mark tells of.
    host.configure("");
    std::fs::remove_file(host.state_dir().join("wharf.db.moved")).unwrap();
    host.start();
    assert_eq!(portrait(&host), before);
}

#[tokio::test]
async fn a_move_into_a_database_that_holds_something_is_refused() {
    let (name, setting) = database().await;
    let mut other = Host::started(&setting);
    other.stop();
    let mut host = Host::started("");
    fill(&host);
    host.stop();
    refused(&move_command(&host, &name).output().unwrap(), 4, "holds records of wharf already");
    host.start();
    host.stop();
    refused(&move_command(&host, "absent").output().unwrap(), 75, "absent");
    host.start();
}

/// Killed at every crash point: the records are in force in one place, or a further move finds out.
#[tokio::test]
async fn a_move_that_is_killed_is_ended_by_the_next() {
    let mut host = Host::started("");
    fill(&host);
    host.stop();
    let old = tables(&host.backup("old.backup", true));
    let mark = host.state_dir().join("wharf.db.moved");
    let mut points = 0;
    for point in 1.. {
        let (name, setting) = database().await;
        host.configure("");
        // The mark of the last round; the database is as it was.
        let _ = std::fs::remove_file(&mark);
        let killed =
            move_command(&host, &name).env("WHARF_CRASH_AT", point.to_string()).output().unwrap();
        // Whatever happened, the old one is whole and no agent begins on it by mistake.
        assert!(tables(&host.backup(&format!("{point}.backup"), true)) == old, "crash {point}");
        refused(&host.refused(), 75, "move");
        moved(&host, &name);
        host.configure(&setting);
        let new = tables(&host.backup(&format!("{point}.new"), true));
        assert!(without_events(new, &["store.moved"]) == old, "crash {point}");
        if killed.status.success() {
            break;
        }
        assert_eq!(killed.status.signal(), Some(9), "{}", text(&killed.stderr));
        points = point;
    }
    assert_eq!(points, 5, "marked, before and after the commit, arrived, done");
}

#[tokio::test]
async fn a_backup_goes_from_either_database_into_either() {
    let (_, setting) = database().await;
    let mut host = Host::started("");
    fill(&host);
    host.stop();
    let first = host.backup("sqlite.backup", true);
    // Into PostgreSQL, from there into SQLite, and into PostgreSQL again over what is there.
    let mut second = host.successor(&setting);
    assert!(second.restore(&first).status.success());
    second.start();
    let live = portrait(&second);
    let archive = second.backup("postgres.backup", false);
    refused(&second.restore(&archive), 75, "another agent holds");
    second.stop();
    let mut third = host.successor("");
    let restored = third.restore(&archive);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let copy = tables(&third.backup("copy.backup", true));
    let same = without_events(copy, &["store.restored"]);
    assert!(same == without_events(tables(&archive), &["store.restored"]), "not the same rows");
    third.start();
    assert_eq!(portrait(&third), live);
    third.stop();
    let over = second.restore(&first);
    assert!(over.status.success(), "{}", text(&over.stderr));
    let told: Value = serde_json::from_slice(&over.stdout).unwrap();
    assert!(told["set_aside"].as_str().unwrap().starts_with("schema wharf_before_"), "{told}");
    let found = tables(&second.backup("over.backup", true));
    assert!(without_events(found, &["store.restored"]) == tables(&first), "not the same rows");
    second.start();
}

#[tokio::test]
async fn a_restore_into_a_database_that_agents_use_is_refused() {
    let (_, setting) = database().await;
    let mut host = Host::started(&setting);
    fill(&host);
    let archive = host.backup("a.backup", false);
    let other = Host::started(&setting);
    host.stop();
    refused(&host.restore(&archive), 75, "connections of agents are open");
    drop(other);
    // Two hosts share it: SQLite cannot hold both.
    let both = host.backup("both.backup", true);
    let alone = host.successor("");
    refused(&alone.restore(&both), 65, "the records are of 2 hosts");
    crate::support::wait_until("the killed agent's connections are gone", || {
        host.restore(&archive).status.success()
    });
}
