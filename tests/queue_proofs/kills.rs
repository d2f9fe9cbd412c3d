//! `kill -9` of agents under load, again and again. After each restart: nothing that was acknowledged
//! is lost, no identity is active twice, nothing ended twice, the audit log is whole. Also measures
//! how long after its start an agent gives work out.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::agent::Agent;
use crate::ledger::{Broken, Entry, Journal, Word, acknowledged, check};
use crate::load::{Load, TYPE, claim, clients_of, say};
use crate::look::{self, Watch};
use crate::{Random, postgres, setting, wait_until};

/// Kills on SQLite, and on PostgreSQL one for every so many of them.
const KILLS: u64 = 15;
const KILLS_PER_POSTGRES_KILL: u64 = 5;
/// Kills of one database; then the next one begins, so that checks stay quick.
const KILLS_PER_LIFE: u64 = 100;
/// The type whose runs only the measurement claims.
const PROBE: &str = "proof.probe";
/// The longest time from the start of the process to the first claim, of 99 in 100 restarts.
const FIRST_CLAIM_MAX: Duration = Duration::from_millis(50);
/// Runs that a life must have acknowledged before it ends, however long a busy machine takes.
const ACKNOWLEDGED_MIN: usize = 20;
/// Fewer restarts than that have no percentile.
const MEASURED_MIN: usize = 100;

/// What all lives together amount to.
#[derive(Default)]
struct Sum {
    kills: u64,
    acknowledged: usize,
    again: usize,
    unknown: usize,
    looks: u64,
    /// From the start of the process until it listens, from then to the first claim, and both.
    listening: Vec<Duration>,
    claiming: Vec<Duration>,
    first_claim: Vec<Duration>,
}

impl Sum {
    fn print(&mut self, title: &str) {
        println!(
            "{title}: {} kills, {} runs acknowledged, {} executed again, {} answers unknown, {} \
             looks at what is active",
            self.kills, self.acknowledged, self.again, self.unknown, self.looks
        );
        for (what, times) in [
            ("start -> listening", &mut self.listening),
            ("listening -> first claim", &mut self.claiming),
            ("start -> first claim", &mut self.first_claim),
        ] {
            times.sort_unstable();
            let [half, most, all] = [50, 99, 100].map(|percent| percentile(times, percent));
            println!("{title}: {what}: p50 {half:?}, p99 {most:?}, longest {all:?}");
        }
    }

    /// Waits until a started agent gives work.
    fn measure(&mut self, agent: &mut Agent, probe: &mut Probe) {
        let listening = agent.await_listening();
        let first_claim = probe.first_claim(agent);
        self.listening.push(listening);
        self.claiming.push(first_claim - listening);
        self.first_claim.push(first_claim);
    }
}

/// What so many of 100 do not exceed, of sorted times.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent).div_ceil(100) - 1]
}

#[test]
fn an_agent_killed_under_load_loses_nothing() {
    let kills = setting("WHARF_KILLS", KILLS);
    let mut sum = Sum::default();
    while sum.kills < kills {
        let seed = sum.kills + 1;
        live_on_sqlite(&mut sum, seed, (kills - seed + 1).min(KILLS_PER_LIFE));
    }
    sum.print("SQLite");
    let p99 = percentile(&sum.first_claim, 99);
    if sum.first_claim.len() >= MEASURED_MIN && !cfg!(debug_assertions) {
        assert!(p99 <= FIRST_CLAIM_MAX, "the first claim took {p99:?}");
    }
}

fn live_on_sqlite(sum: &mut Sum, seed: u64, kills: u64) {
    let mut agent = Agent::on_sqlite();
    let load = Load::start(&clients_of(&agent.socket(), 8), seed, Duration::from_millis(25));
    let mut probe = Probe::new(&agent, &load, kills);
    let watch = Watch::start(agent.socket());
    let mut random = Random(seed);
    let mut known = BTreeSet::new();
    for _ in 0..kills {
        std::thread::sleep(random.between(Duration::from_millis(20), Duration::from_millis(250)));
        agent.kill();
        look::verify_sqlite(&agent.state_dir());
        agent.start();
        sum.measure(&mut agent, &mut probe);
        check_new(&agent, &load.history(), &mut known);
        sum.kills += 1;
    }
    end(sum, &agent, load, watch);
    look::verify_sqlite(&agent.state_dir());
}

#[test]
fn agents_of_one_database_killed_under_load_lose_nothing() {
    let kills = (setting("WHARF_KILLS", KILLS * 2) / KILLS_PER_POSTGRES_KILL).max(1);
    let server = postgres::Server::shared();
    let mut sum = Sum::default();
    while sum.kills < kills {
        let seed = sum.kills + 1;
        live_on_postgres(&mut sum, server, seed, (kills - seed + 1).min(KILLS_PER_LIFE));
    }
    sum.print("PostgreSQL");
}

fn live_on_postgres(sum: &mut Sum, server: &postgres::Server, seed: u64, kills: u64) {
    let database = look::wait_for(server.database());
    let mut agents: Vec<Agent> = (0..3).map(|_| Agent::on_postgres(server, &database)).collect();
    let sockets: Vec<_> = agents.iter().flat_map(|agent| clients_of(&agent.socket(), 2)).collect();
    let load = Load::start(&sockets, seed, Duration::from_millis(50));
    let mut probe = Probe::new(&agents[0], &load, kills);
    let watch = Watch::start(agents[0].socket());
    let mut random = Random(seed);
    let mut known = BTreeSet::new();
    for _ in 0..kills {
        std::thread::sleep(random.between(Duration::from_millis(50), Duration::from_millis(400)));
        let agent = &mut agents[usize::try_from(random.below(3)).unwrap()];
        agent.kill();
        look::verify_postgres(&agent.state_dir(), server, &database);
        agent.start();
        sum.measure(agent, &mut probe);
        check_new(agent, &load.history(), &mut known);
        sum.kills += 1;
    }
    end(sum, &agents[0], load, watch);
    for agent in &mut agents {
        agent.stop();
        look::verify_postgres(&agent.state_dir(), server, &database);
    }
}

/// Nothing that was acknowledged since the last kill is lost.
fn check_new(agent: &Agent, history: &[Entry], known: &mut BTreeSet<String>) {
    let now = acknowledged(history);
    let lost = look::lost(&mut agent.client(), now.difference(known));
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}\n{}", agent.log());
    *known = now;
}

/// Lets everything end, and judges it.
fn end(sum: &mut Sum, agent: &Agent, load: Load, watch: Watch) {
    let mut client = agent.client();
    wait_until("enough is asked for and looked at", || {
        acknowledged(&load.history()).len() > ACKNOWLEDGED_MIN && watch.looks() > 0
    });
    load.stop_asking();
    wait_until("all runs have ended", || look::open_runs(&mut client, TYPE) == Some(0));
    let history = load.finish();
    let (twice, looks) = watch.finish();
    assert!(twice.is_empty(), "active twice: {twice:?}");
    let facts = look::facts(&mut client, TYPE);
    assert_eq!(check(&history, &facts), Vec::<Broken>::new());
    sum.acknowledged += acknowledged(&history).len();
    sum.again += facts.runs.values().filter(|run| run.attempt > 1).count();
    sum.unknown += history.iter().filter(|entry| entry.is_unknown()).count();
    sum.looks += looks;
}

/// Measures the first claim after a restart, on runs that nobody else takes.
struct Probe {
    journal: Journal,
}

impl Probe {
    fn new(agent: &Agent, load: &Load, runs: u64) -> Self {
        let mut client = agent.client();
        client.must("PUT", &format!("/v1/queue/types/{PROBE}"), Some(&json!({"label": "Probe"})));
        let runs: Vec<_> =
            (0..runs).map(|n| json!({"type": PROBE, "payload": n, "tenant_id": null})).collect();
        client.must("POST", "/v1/queue/runs/batch", Some(&json!({"runs": runs})));
        Self { journal: load.journal(PROBE) }
    }

    /// Claims as soon as somebody answers; gives how long after its start the agent gave work.
    fn first_claim(&mut self, agent: &Agent) -> Duration {
        let mut client = agent.client();
        let items = claim(&mut client, &mut self.journal, PROBE, "probe", 1, 0);
        let took = agent.since().elapsed();
        let [item] = items.as_slice() else { panic!("no work: {items:?}\n{}", agent.log()) };
        say(&mut client, &mut self.journal, item, Word::Complete, [].into());
        took
    }
}
