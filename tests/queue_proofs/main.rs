//! What the run queue promises, with real agents, real clients and real accidents: many processes at
//! once, `kill -9` under load, a database server that goes away, a damaged database, a full disk.
//! Clients are processes too (`load`). They note in a journal what they were told, outside of the
//! agents; `ledger` compares that with what the agents say afterwards.
//!
//! The short forms are part of `cargo test`. `WHARF_KILLS=1000` kills so many agents, and
//! `WHARF_OUTAGE_SECONDS=30` keeps the database server away for so long: `make soak` sets both.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test's helper fails the test, and tells its figures"
)]

mod agent;
mod damage;
mod full_disk;
mod http;
mod kills;
mod ledger;
mod load;
mod look;
mod outage;
#[path = "../support/postgres.rs"]
mod postgres;
mod processes;
mod runbook_files;
mod runbooks;

use std::time::{Duration, Instant};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(180);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A number that the environment sets, for the long forms.
fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => otherwise,
    }
}

/// Pseudo-random numbers that a seed repeats (SplitMix64, public domain, S. Vigna).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something happens that happens once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from((most - least).as_micros()).unwrap();
        least + Duration::from_micros(self.below(span.max(1)))
    }
}
