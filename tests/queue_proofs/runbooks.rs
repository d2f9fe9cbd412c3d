//! A runbook over all tenants whose agent is killed in the middle: the counts are exact, what is the
//! same is consolidated once, and a second run finds nothing to do. On both databases. `WHARF_FINDINGS_TENANTS=1000
//! WHARF_FINDINGS_EACH=1000` is the long form.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::http::Heard;
use crate::look::Consolidated;
use crate::{Random, look, postgres, setting};

const TENANTS: u64 = 30;
const EACH: u64 = 400;
/// How often the agent is killed before the run has ended.
const KILLS: u64 = 3;
/// The long form takes minutes.
const PATIENCE: Duration = Duration::from_secs(1_800);
const RUNBOOK: &str = "/v1/runbooks/findings.lifecycle.backfill";

fn asked(heard: Heard) -> Value {
    match heard {
        Heard::Answer(answer) => {
            assert!(answer.is_success(), "{}: {}", answer.status, answer.body);
            answer.body
        }
        other => panic!("no answer: {other:?}"),
    }
}

/// Looks, then starts with what was found.
fn start(agent: &Agent) -> (Value, String) {
    let mut client = agent.client();
    let all = json!({ "scope": "all_tenants" });
    let found = asked(client.post(&format!("{RUNBOOK}/preflight"), &all));
    let body = json!({
        "scope": "all_tenants",
        "preflight_digest": found["digest"],
        "reason": { "reason_code": "DATA_REPAIR", "reason_text": "rows of an old form" },
    });
    let accepted = asked(client.post(&format!("{RUNBOOK}/start"), &body));
    (found, accepted["run"]["id"].as_str().unwrap().to_owned())
}

fn read(agent: &Agent, id: &str) -> Value {
    asked(agent.client().get(&format!("/v1/runs/{id}")))["run"].take()
}

fn count(run: &Value, key: &str) -> u64 {
    run["summary_counts"][key].as_u64().unwrap_or(0)
}

fn ended(agent: &Agent, id: &str) -> Value {
    let since = Instant::now();
    loop {
        let run = read(agent, id);
        if run["status"] == "completed" {
            return run;
        }
        assert!(since.elapsed() < PATIENCE, "the run goes on: {run}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_backfill_whose_agent_is_killed_counts_every_finding_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::prepared_in(folder.path());
    prove("SQLite", folder.path(), &mut agent, None);
    look::verify_sqlite(&agent.state_dir());
}

#[test]
fn the_same_holds_in_a_database_that_agents_share() {
    let folder = tempfile::tempdir().unwrap();
    let server = postgres::Server::shared();
    let database = look::wait_for(server.database());
    let mut agent = Agent::prepared_on(folder.path(), server, &database);
    prove("PostgreSQL", folder.path(), &mut agent, Some((server, &database)));
    look::verify_postgres(&agent.state_dir(), server, &database);
}

fn prove(place: &str, folder: &Path, agent: &mut Agent, shared: Option<(&postgres::Server, &str)>) {
    let tenants = setting("WHARF_FINDINGS_TENANTS", TENANTS);
    let each = setting("WHARF_FINDINGS_EACH", EACH);
    let planting = Instant::now();
    let planted = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["store", "plant", "--format", "json", "--config"])
        .arg(folder.join("agent.yaml"))
        .args(["--tenants", &tenants.to_string(), "--findings", &each.to_string()])
        .output()
        .unwrap();
    assert!(planted.status.success(), "{}", String::from_utf8_lossy(&planted.stderr));
    let planted: Value = serde_json::from_slice(&planted.stdout).unwrap();
    let (total, complete) = (tenants * each, planted["complete"].as_u64().unwrap());
    let planting = planting.elapsed();
    agent.start();
    agent.await_listening();
    let since = Instant::now();
    let (found, id) = start(agent);
    assert_eq!(found["total_count"], total);
    assert_eq!(found["affected_count"], total - complete);
    assert_eq!(found["estimated_tenants"], tenants);
    let mut random = Random(1);
    let mut kills = Vec::new();
    for kill in 1..=KILLS {
        // Somewhere after this part of the work, in the middle of a page or between two.
        let wanted = total * kill / (KILLS + 1);
        while count(&read(agent, &id), "processed") < wanted {
            assert!(since.elapsed() < PATIENCE, "the run stands still");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(random.between(Duration::ZERO, Duration::from_millis(10)));
        agent.kill();
        agent.start();
        agent.await_listening();
        let run = read(agent, &id);
        assert_ne!(run["status"], "completed", "killed too late: {run}");
        kills.push(count(&run, "processed"));
    }
    let first = ended(agent, &id);
    let took = since.elapsed();
    assert_eq!(first["outcome"], "succeeded", "{first}");
    let counts = |run: &Value| {
        ["total", "processed", "updated", "skipped", "failed", "tenants"].map(|key| count(run, key))
    };
    assert_eq!(counts(&first), [total, total, total - complete, complete, 0, tenants]);
    let (found, id) = start(agent);
    assert_eq!(found["affected_count"], 0, "nothing is left to do");
    let second = ended(agent, &id);
    assert_eq!(second["outcome"], "succeeded", "{second}");
    assert_eq!(counts(&second), [total, total, 0, total, 0, tenants]);
    agent.kill();
    let expect =
        Consolidated { gone: planted["duplicates"].as_u64().unwrap(), seen: total, twice: 0 };
    let found = look::consolidated(&agent.state_dir(), shared);
    assert_eq!(found, expect, "each row counts once, in exactly one that goes on");
    let gone = found.gone;
    println!(
        "{place}: backfill of {tenants} tenants x {each} findings, made in {planting:?}: {took:?} with {} \
         kills at {kills:?}, {} of {total} updated, {gone} consolidated; the second run skipped all",
        kills.len(),
        total - complete,
    );
}
