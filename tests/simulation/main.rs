//! Lives many lives of simulated hosts on a test clock, with seeded requests, faults and crashes,
//! and checks what must hold always. Owns the choice of seeds. Face: `WHARF_SIMULATION_SEEDS` sets
//! how many, `WHARF_SIMULATION_SEED` replays one. Never needs a Docker Engine.
#![expect(clippy::expect_used, reason = "a test that cannot go on panics")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

mod agent;
mod faults;
mod flaws;
mod link;
mod lives;
mod machine;
mod mortal;
mod programs;
mod projects;
mod promises;
mod queue;
mod queue_promises;
mod regressions;

/// The seeds to live: the one to replay, or as many as asked for.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    if let Some(seed) = number("WHARF_SIMULATION_SEED") {
        return seed..seed + 1;
    }
    0..number("WHARF_SIMULATION_SEEDS").unwrap_or(usual)
}

/// The seeds to live twice and to compare: a few of those that are lived.
fn compared(usual: u64) -> std::ops::Range<u64> {
    let all = seeds(usual);
    all.start..all.end.min(all.start + usual.max(all.end / 20))
}

/// Lives these seeds, whatever was asked for.
fn each_of<T: Send>(seeds: &[u64], live: impl Fn(u64) -> T + Sync) -> Vec<T> {
    each(0..seeds.len() as u64, |place| live(seeds[usize::try_from(place).expect("a place")]))
}

/// Lives every seed, on as many processors as there are, and tells of each in their order. Seeds
/// share nothing, so that none of them notices the others. One that fails stops none of the others:
/// all that failed are named in the end.
fn each<T: Send>(seeds: std::ops::Range<u64>, live: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let some = || {
        let mut told = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return told;
            }
            let lived = catch_unwind(AssertUnwindSafe(|| live(seed)));
            told.push((seed, lived.ok()));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut told: Vec<(u64, Option<T>)> = std::thread::scope(|scope| {
        let living: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        let lived = living.into_iter().map(|thread| thread.join());
        lived.flat_map(|told| told.unwrap_or_else(|it| std::panic::resume_unwind(it))).collect()
    });
    told.sort_by_key(|(seed, _)| *seed);
    let failed: Vec<u64> =
        told.iter().filter(|(_, lived)| lived.is_none()).map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), told.len());
    told.into_iter().filter_map(|(_, lived)| lived).collect()
}

/// Is only one seed lived, to look at it?
fn is_replay() -> bool {
    number("WHARF_SIMULATION_SEED").is_some()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}
