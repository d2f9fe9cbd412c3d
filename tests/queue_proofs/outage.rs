//! The database server goes away and returns: it is stopped, or it hangs with all its connections
//! open. Nothing acknowledged is lost, callers hear that they may try again, agents neither turn in
//! circles nor fill their logs, and go on by themselves.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::http::{Answer, Client, Heard};
use crate::ledger::{Asked, Broken, Entry, Told, What, Word, acknowledged, check};
use crate::load::{Load, TYPE, claim, clients_of, say};
use crate::look::{self, Watch};
use crate::{postgres, setting, wait_until};

/// How long the server is away, in seconds.
const OUTAGE_SECONDS: u64 = 4;
/// What an agent may use of a processor meanwhile: a loop without a pause uses all of it.
const PROCESSOR_MAX: Duration = Duration::from_millis(500);
/// Lines of its log, to begin with and for each second.
const LOG_LINES_MAX: (u64, u64) = (40, 2);
/// Tries to connect, to begin with and for each second: 0.1 s, 0.2 s, 0.4 s … 5 s lie between.
const TRIES_MAX: (u64, f64) = (10, 0.5);
/// How soon after its return the server is used again: the longest pause between two tries, and
/// some time for busy machines.
const RETURN_MAX: Duration = Duration::from_secs(12);
/// The type of a run that one worker holds all the time.
const HELD: &str = "proof.held";

#[test]
fn a_server_that_stops_and_returns_loses_nothing() {
    prove("stopped", postgres::Server::kill, postgres::Server::start);
}

#[test]
fn a_server_that_hangs_and_goes_on_loses_nothing() {
    prove("hung", |server| signal(server, Signal::STOP), |server| signal(server, Signal::CONT));
}

fn prove(title: &str, leave: fn(&postgres::Server), come_back: fn(&postgres::Server)) {
    let outage = Duration::from_secs(setting("WHARF_OUTAGE_SECONDS", OUTAGE_SECONDS));
    // It is stopped for the other tests of this process too, if it were shared.
    let server = postgres::Server::own();
    let database = look::wait_for(server.database());
    let mut agents: Vec<Agent> = (0..2).map(|_| Agent::on_postgres(&server, &database)).collect();
    let sockets: Vec<_> = agents.iter().flat_map(|agent| clients_of(&agent.socket(), 3)).collect();
    let load = Load::start(&sockets, 4, Duration::from_millis(40));
    let watch = Watch::start(agents[0].socket());
    let mut client = agents[0].client();
    let (mut journal, held) = hold(&mut client, &load);
    std::thread::sleep(Duration::from_secs(2));

    agents.iter().for_each(Agent::clear_log);
    let before: Vec<_> = agents.iter().map(Agent::processor_time).collect();
    let since = Instant::now();
    leave(&server);
    let heard = ask_while(&agents[1], since, outage);
    for (agent, before) in agents.iter().zip(&before) {
        check_calm(agent, agent.processor_time() - *before, outage);
    }
    come_back(&server);
    let returned = Instant::now();
    wait_until("an agent takes runs again", || enqueue(&mut agents[1].client()).is_success());
    let back = returned.elapsed();
    assert!(back < RETURN_MAX, "it took {back:?}");

    // The lease was longer than the outage: it is the holder's still, and nobody else's.
    let accepted = say(&mut client, &mut journal, &held, Word::Complete, [].into());
    assert_eq!(accepted, Told::Accepted, "the lease was lost");
    let counted = acknowledged(&load.history()).len();
    wait_until("the load goes on", || acknowledged(&load.history()).len() > counted + 10);
    load.stop_asking();
    wait_until("all runs have ended", || look::open_runs(&mut client, TYPE) == Some(0));
    let history = load.finish();
    assert!(watch.finish().0.is_empty(), "an identity was active twice");
    let facts = look::facts(&mut client, TYPE);
    assert_eq!(check(&history, &facts), Vec::<Broken>::new());
    let refusals = refusals(&history);
    assert!(
        refusals.iter().all(|(status, code)| *status == 503 && code == "unavailable"
            || code == "stale_attempt"
            || code == "not_sent"),
        "{refusals:?}"
    );
    for agent in &mut agents {
        agent.stop();
        look::verify_postgres(&agent.state_dir(), &server, &database);
    }
    server.stop();
    println!(
        "PostgreSQL {title} for {outage:?}: {} runs acknowledged, {heard} refusals heard by one \
         caller, {} by the load; used again {back:?} after its return",
        acknowledged(&history).len(),
        refusals.len()
    );
}

/// A worker takes a run with a long lease.
fn hold(client: &mut Client, load: &Load) -> (crate::ledger::Journal, Value) {
    let definition = json!({"label": "Held", "lease_ms": 120_000});
    client.must("PUT", &format!("/v1/queue/types/{HELD}"), Some(&definition));
    client.must("POST", "/v1/queue/runs", Some(&json!({"type": HELD, "tenant_id": null})));
    let mut journal = load.journal(HELD);
    let mut items = claim(client, &mut journal, HELD, "holder", 1, 0);
    (journal, items.pop().expect("it was just asked for"))
}

/// Asks for runs until the outage is over. Whoever is refused hears when to try again; gives how
/// often that was.
fn ask_while(agent: &Agent, since: Instant, outage: Duration) -> u32 {
    let mut refused = 0;
    while since.elapsed() < outage {
        let socket = agent.socket();
        let asking = std::thread::Builder::new().name("ask".to_owned());
        let asking = asking.spawn(move || enqueue(&mut Client::new(&socket))).unwrap();
        // While a server hangs, a call may last until it goes on.
        while !asking.is_finished() && since.elapsed() < outage {
            std::thread::sleep(Duration::from_millis(20));
        }
        if !asking.is_finished() {
            break;
        }
        let answer = asking.join().unwrap();
        if !answer.is_success() {
            refused += 1;
            assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()));
            assert!(answer.retry_after.is_some(), "it does not say when to try again");
            let hint = answer.body["hint"].as_str().unwrap_or_default();
            assert!(hint.starts_with("start the database server"), "{}", answer.body);
        }
    }
    refused
}

fn enqueue(client: &mut Client) -> Answer {
    let request = json!({"type": TYPE, "identity": "outage", "tenant_id": null});
    match client.post("/v1/queue/runs", &request) {
        Heard::Answer(answer) => answer,
        other => panic!("the agent is gone: {other:?}"),
    }
}

/// The agent waited: it neither turned in circles nor wrote much.
fn check_calm(agent: &Agent, used: Duration, outage: Duration) {
    let log = agent.log();
    let lines = log.lines().count() as u64;
    let tries = log.lines().filter(|line| line.contains("the database is away")).count() as u64;
    let seconds = outage.as_secs();
    println!("while away: {used:?} of a processor, {lines} log lines, {tries} tries");
    assert!(used < PROCESSOR_MAX, "it used {used:?}:\n{log}");
    assert!(lines <= LOG_LINES_MAX.0 + LOG_LINES_MAX.1 * seconds, "{lines} lines:\n{log}");
    assert!(tries as f64 <= TRIES_MAX.0 as f64 + TRIES_MAX.1 * seconds as f64, "{log}");
}

fn refusals(history: &[Entry]) -> Vec<(u16, String)> {
    let refusal = |entry: &Entry| match &entry.what {
        What::Asked { told: Asked::Refused { status, code }, .. }
        | What::Said { told: Told::Refused { status, code }, .. }
        | What::Refused { status, code } => Some((*status, code.clone())),
        _ => None,
    };
    history.iter().filter_map(refusal).collect()
}

/// Sends a signal to the server and all its children, each by its own id.
fn signal(server: &postgres::Server, signal: Signal) {
    let data = server.socket().parent().unwrap().join("data/postmaster.pid");
    let text = std::fs::read_to_string(data).unwrap();
    let postmaster: i32 = text.lines().next().unwrap().parse().unwrap();
    let mut pids = children(postmaster);
    pids.push(postmaster);
    for pid in pids {
        // A child may have ended meanwhile.
        let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
    }
}

fn children(parent: i32) -> Vec<i32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let list = std::fs::read_to_string(Path::new(&path)).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
