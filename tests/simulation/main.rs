//! Lives many lives of simulated hosts on a test clock, with seeded requests, faults and crashes,
//! and checks what must hold always. Owns the choice of seeds. Face: `WHARF_SIMULATION_SEEDS` sets
//! how many, `WHARF_SIMULATION_SEED` replays one. Never needs a Docker Engine.
#![expect(clippy::expect_used, reason = "a test that cannot go on panics")]

mod agent;
mod faults;
mod flaws;
mod lives;
mod machine;
mod mortal;
mod projects;
mod promises;

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

/// Is only one seed lived, to look at it?
fn is_replay() -> bool {
    number("WHARF_SIMULATION_SEED").is_some()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}
