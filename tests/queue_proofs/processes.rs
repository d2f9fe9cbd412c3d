//! Many processes at once, on either database: nobody works with a lease that somebody else has,
//! counts are exact, a bulk run ends once. Workers stand still beyond their leases, so that fencing
//! has something to refuse.

use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::ledger::{Asked, Broken, Entry, Told, What, Word, acknowledged, check};
use crate::load::{LEASE, Load, TYPE, clients_of, enqueue};
use crate::look::{self, Watch};
use crate::{PATIENCE, Random, postgres, wait_until};

/// Clients of the one agent.
const CLIENTS: usize = 8;
/// Agents that share a database.
const AGENTS: usize = 8;
/// How long runs are asked for at least.
const ASKING: Duration = Duration::from_secs(3);
/// What must have happened before it ends, however long a busy machine takes for it.
const ACKNOWLEDGED_MIN: usize = 100;
const LOOKS_MIN: u64 = 10;
/// Jobs of the bulk run.
const JOBS: u64 = 80;

#[test]
fn eight_processes_on_one_agent_never_share_a_lease() {
    let agent = Agent::on_sqlite();
    let load = Load::start(&clients_of(&agent.socket(), CLIENTS), 1, Duration::from_millis(20));
    prove(&agent, load, "SQLite, 8 clients");
    look::verify_sqlite(&agent.state_dir());
}

#[test]
fn eight_agents_on_one_database_never_share_a_lease() {
    let server = postgres::Server::shared();
    let database = look::wait_for(server.database());
    let mut agents: Vec<Agent> =
        (0..AGENTS).map(|_| Agent::on_postgres(server, &database)).collect();
    let sockets: Vec<_> = agents.iter().map(Agent::socket).collect();
    let load = Load::start(&sockets, 2, Duration::from_millis(60));
    prove(&agents[0], load, "PostgreSQL, 8 agents with a client each");
    for agent in &mut agents {
        agent.stop();
        look::verify_postgres(&agent.state_dir(), server, &database);
    }
}

/// Lets the load run, stalls its workers, and judges all that happened.
fn prove(agent: &Agent, load: Load, title: &str) {
    let watch = Watch::start(agent.socket());
    let mut client = agent.client();
    enqueue(&mut client, &mut load.journal("bulk"), "bulk", Some("bulk"), Some(JOBS));
    load.end_late(&agent.socket());
    let (start, mut random) = (Instant::now(), Random(3));
    while start.elapsed() < ASKING || !is_enough(&load, &watch) {
        assert!(start.elapsed() < PATIENCE, "this proves too little");
        let length = random.between(LEASE / 10, LEASE * 5 / 2);
        load.stall(random.below(load.clients_count()).try_into().unwrap(), length);
    }
    load.stop_asking();
    wait_until("all runs have ended", || look::open_runs(&mut client, TYPE) == Some(0));
    let history = load.finish();
    let (twice, looks) = watch.finish();
    assert!(twice.is_empty(), "active twice: {twice:?}");
    let facts = look::facts(&mut client, TYPE);
    assert_eq!(check(&history, &facts), Vec::<Broken>::new());
    let bulk = facts.runs.values().find(|run| run.identity == "bulk").unwrap();
    assert_eq!(bulk.counts["processed"], JOBS);
    let (runs, stale) = (acknowledged(&history).len(), late_ends(&history));
    let again = facts.runs.values().filter(|run| run.attempt > 1).count();
    println!(
        "{title}: {runs} runs acknowledged, {} calls, {again} runs executed again, {stale} late \
         ends refused, {looks} looks at what is active",
        history.len()
    );
    assert!(stale > 0, "the late client's end was not refused");
}

/// Whether enough was asked for, some of it while it was active, and often enough looked at.
fn is_enough(load: &Load, watch: &Watch) -> bool {
    let history = load.history();
    let runs = acknowledged(&history);
    let acknowledgements = history.iter().filter(|entry| {
        matches!(&entry.what, What::Asked { told: Asked::Acknowledged { .. }, .. })
    });
    runs.len() >= ACKNOWLEDGED_MIN
        && runs.len() < acknowledgements.count()
        && watch.looks() >= LOOKS_MIN
}

/// Ends that were refused because their attempt had been taken over.
pub(crate) fn late_ends(history: &[Entry]) -> usize {
    let is_late = |entry: &&Entry| {
        matches!(&entry.what, What::Said { word: Word::Complete, told: Told::Refused { code, .. }, .. }
            if code == "stale_attempt")
    };
    history.iter().filter(is_late).count()
}
