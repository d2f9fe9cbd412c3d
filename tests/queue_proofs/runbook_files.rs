//! Runbooks of files, with a real agent that is killed between and within their steps: each step is
//! done once, what failed is taken back, an approval survives. On both databases.
//! `WHARF_RUNBOOK_RUNS=200` is a long form.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, shared_store};
use crate::http::Heard;
use crate::{PATIENCE, Random, look, postgres, setting};

const RUNS: u64 = 8;
/// How often the agent is killed in one run: fewer times than a run is given up after.
const KILLS: u64 = 4;
const KEY: &str = "proof.maintenance";

/// Two runs of its own, a record that is changed and changed back, and an approval between them.
const FILE: &str = r#"key: proof.maintenance
label: Look after the host
reason: always
parameters:
  ending: {type: text, enum: [well, badly], default: well}
preflight:
  - {id: nightly, call: schedule.show, with: {schedule: nightly}}
steps:
  - id: hold
    call: schedule.pause
    with: {schedule: nightly}
    undo: {call: schedule.resume, with: {schedule: nightly}}
  - {id: audit, call: audit.verify, when: preflight.nightly.is_there}
  - {id: go, approve: {message: "End ${{ params.ending }}?", deadline: 1h, own: true}}
  - {id: store, call: store.maintenance}
  - id: ending
    call: schedule.pause
    with: {schedule: nowhere}
    when: params.ending == 'badly'
  - id: release
    call: schedule.resume
    with: {schedule: nightly}
    when: steps.hold.changed
"#;

fn wharf(agent: &Agent, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.arg("--socket").arg(agent.socket()).args(arguments);
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    let each = [&output.stdout, &output.stderr];
    each.map(|it| String::from_utf8_lossy(it).into_owned()).concat()
}

fn done(agent: &Agent, arguments: &[&str]) -> String {
    let output = wharf(agent, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder with the runbook, and an agent that knows the schedule that it speaks of.
fn prepared(dir: &Path, store: &str) -> Agent {
    let folder = dir.join("runbooks");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("maintenance.yaml"), FILE).unwrap();
    let settings = format!("{store}runbooks: {{directory: '{}'}}\n", folder.display());
    let mut agent = Agent::prepared_with(dir, &settings);
    agent.start();
    agent.await_listening();
    let mut client = agent.client();
    let mail = json!({"label": "Mail"});
    client.must("PUT", "/v1/queue/types/proof.mail", Some(&mail));
    let nightly =
        json!({"cron": "0 3 * * *", "task": {"type": "hosted", "run_type": "proof.mail"}});
    client.must("PUT", "/v1/schedules/nightly", Some(&nightly));
    agent
}

fn start(agent: &Agent, ending: &str) -> String {
    let said = format!("ending={ending}");
    let why = ["--reason-code", "SUPPORT", "--reason", "a proof"];
    let mut arguments =
        vec!["runbook", "start", KEY, "--yes", "--detach", "--format", "json", "--set", &said];
    arguments.extend(why);
    let accepted: Value = serde_json::from_str(&done(agent, &arguments)).unwrap();
    accepted["run"]["id"].as_str().unwrap().to_owned()
}

fn read(agent: &Agent, id: &str) -> Value {
    match agent.client().get(&format!("/v1/runs/{id}")) {
        Heard::Answer(mut answer) if answer.is_success() => answer.body["run"].take(),
        other => panic!("run {id}: {other:?}"),
    }
}

fn runs_of(agent: &Agent, key: &str) -> usize {
    let page = agent.client().must("GET", "/v1/runs?type=run_runbook&limit=500", None);
    assert!(page["next"].is_null(), "one page holds them");
    let runs = page["items"].as_array().unwrap().iter();
    runs.filter(|run| run["runbook"]["key"] == key && run["outcome"] == "succeeded").count()
}

fn is_held(agent: &Agent) -> bool {
    let schedule = agent.client().must("GET", "/v1/schedules/nightly", None);
    schedule["is_paused"].as_bool().unwrap()
}

/// What is known of the steps: `hold succeeded, audit succeeded …`.
fn steps(run: &Value, which: &str) -> String {
    let steps = run["runbook"][which].as_array().cloned().unwrap_or_default();
    let word = |step: &Value| {
        let (id, outcome) = (step["id"].as_str().unwrap(), step["outcome"].as_str().unwrap());
        format!("{id} {outcome}")
    };
    steps.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Kills the agent here and there until the run has ended, and approves what it waits for.
fn endure(agent: &mut Agent, id: &str, random: &mut Random, kills: &mut u64) -> Value {
    let (since, mut left) = (Instant::now(), KILLS);
    loop {
        assert!(since.elapsed() < PATIENCE, "the run goes on: {}", read(agent, id));
        let run = read(agent, id);
        if run["status"] == "completed" {
            return run;
        }
        if run["waiting"]["for"] == "approval" && left < KILLS {
            // It may have been heard although the answer was not.
            let decided = wharf(agent, &["runbook", "approve", id, "--reason", "it is time"]);
            assert!(decided.status.success(), "{}", told(&decided));
        }
        if left > 0 {
            left -= 1;
            *kills += 1;
            std::thread::sleep(random.between(Duration::ZERO, Duration::from_millis(30)));
            agent.kill();
            agent.start();
            agent.await_listening();
        } else {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn prove(place: &str, agent: &mut Agent) {
    let runs = setting("WHARF_RUNBOOK_RUNS", RUNS);
    let (mut random, mut kills) = (Random(7), 0);
    let since = Instant::now();
    for number in 0..runs {
        let ending = if number % 2 == 0 { "well" } else { "badly" };
        let id = start(agent, ending);
        let run = endure(agent, &id, &mut random, &mut kills);
        let before = "hold succeeded, audit succeeded, go succeeded, store succeeded";
        let (outcome, expect, undone) = match ending {
            "well" => ("succeeded", ", ending skipped, release succeeded", ""),
            _ => ("failed", ", ending failed", "hold succeeded"),
        };
        assert_eq!(run["outcome"], outcome, "{run:#}");
        assert_eq!(steps(&run, "steps"), format!("{before}{expect}"), "{run:#}");
        assert_eq!(steps(&run, "undone"), undone, "{run:#}");
        assert!(!is_held(agent), "the schedule goes on after run {number}, which ended {ending}");
        let asked = usize::try_from(number).unwrap() + 1;
        for key in ["audit.verify", "store.maintenance"] {
            assert_eq!(runs_of(agent, key), asked, "{key}: asked for once in each run");
        }
    }
    println!(
        "{place}: {runs} runs of a runbook's file with {kills} kills in {:?}: each step done once, \
         every second one taken back",
        since.elapsed()
    );
    agent.kill();
}

#[test]
fn a_runbook_of_a_file_is_done_once_however_often_its_agent_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = prepared(folder.path(), "");
    prove("SQLite", &mut agent);
    look::verify_sqlite(&agent.state_dir());
}

#[test]
fn the_same_runbook_is_done_once_in_a_database_that_agents_share() {
    let folder = tempfile::tempdir().unwrap();
    let server = postgres::Server::shared();
    let database = look::wait_for(server.database());
    let mut agent = prepared(folder.path(), &shared_store(server, &database));
    prove("PostgreSQL", &mut agent);
    look::verify_postgres(&agent.state_dir(), server, &database);
}

#[test]
fn an_operator_looks_starts_refuses_and_is_told_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let agent = prepared(folder.path(), "");
    let listed = done(&agent, &["runbook", "ls"]);
    assert!(listed.contains(KEY) && listed.contains("store.maintenance"), "{listed}");
    let shown = done(&agent, &["runbook", "show", KEY]);
    assert!(shown.contains("1. hold: schedule.pause, taken back by schedule.resume"), "{shown}");
    let looked = done(&agent, &["runbook", "preflight", KEY]);
    assert!(looked.contains("step 03 go: waits for an approval: End well?"), "{looked}");
    let wrong = wharf(&agent, &["runbook", "preflight", KEY, "--set", "ending=soon"]);
    assert!(told(&wrong).contains("parameter ending takes one of well, badly"), "{}", told(&wrong));
    // Whoever may start runbooks, but not do what this one does, starts nothing.
    let made = done(
        &agent,
        &[
            "access",
            "token",
            "create",
            "narrow",
            "--user",
            "root",
            "--allow",
            "runbooks.view",
            "--allow",
            "runbooks.run",
            "--allow",
            "schedules.view",
        ],
    );
    let token = made.split_whitespace().find(|word| word.starts_with("wharf_")).unwrap();
    let mut narrow = Command::new(env!("CARGO_BIN_EXE_wharf"));
    narrow.env("WHARF_TOKEN", token).arg("--socket").arg(agent.socket());
    let narrow = narrow.args(["runbook", "preflight", KEY]).output().unwrap();
    assert!(!narrow.status.success());
    assert!(told(&narrow).contains("it needs schedules.manage"), "{}", told(&narrow));
    // Refused: taken back, and blocked.
    let id = start(&agent, "well");
    crate::wait_until("it asks", || read(&agent, &id)["waiting"]["for"] == "approval");
    assert_eq!(read(&agent, &id)["runbook"]["approval"]["message"], "End well?");
    assert!(is_held(&agent));
    done(&agent, &["runbook", "refuse", &id, "--reason", "not today"]);
    crate::wait_until("it ends", || read(&agent, &id)["status"] == "completed");
    let run = read(&agent, &id);
    assert_eq!(
        (&run["outcome"], steps(&run, "undone").as_str()),
        (&json!("blocked"), "hold succeeded")
    );
    assert!(!is_held(&agent));
    let refused = agent.client().must("GET", "/v1/audit?event_type=operation_run.refused", None);
    assert_eq!(refused["items"].as_array().unwrap().len(), 1);
    // A digest of what the file said before is stale.
    let looked = done(&agent, &["runbook", "preflight", KEY, "--format", "json"]);
    let looked: Value = serde_json::from_str(&looked).unwrap();
    let path = folder.path().join("runbooks/maintenance.yaml");
    std::fs::write(&path, FILE.replace("Look after", "Look well after")).unwrap();
    let digest = looked["digest"].as_str().unwrap();
    let why = ["--reason-code", "SUPPORT", "--reason", "a proof"];
    let stale = wharf(&agent, &[&["runbook", "start", KEY, "--digest", digest][..], &why].concat());
    assert!(!stale.status.success());
    assert!(
        told(&stale).contains("preflight.stale") || told(&stale).contains("look again"),
        "{}",
        told(&stale)
    );
    // A file that is none: told where, by the agent and without it.
    std::fs::write(&path, FILE.replace("call: audit.verify", "call: audit.verfy")).unwrap();
    let gone = wharf(&agent, &["runbook", "show", KEY]);
    assert!(told(&gone).contains("there is no runbook proof.maintenance"), "{}", told(&gone));
    let listed = told(&wharf(&agent, &["runbook", "ls"]));
    assert!(
        listed.contains("maintenance.yaml:13:23: there is no operation `audit.verfy`"),
        "{listed}"
    );
    let path = path.to_str().unwrap();
    let checked = wharf(&agent, &["runbook", "validate", path]);
    assert_eq!(checked.status.code(), Some(65), "{}", told(&checked));
    assert!(told(&checked).contains("did you mean `audit.verify`"), "{}", told(&checked));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/runbooks/shop-maintenance.yaml");
    let checked = done(&agent, &["runbook", "validate", example]);
    assert!(checked.contains("runbook shop.maintenance of 4 steps"), "{checked}");
}
