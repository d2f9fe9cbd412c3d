//! Time and death of a simulated host. Owns the clock that goes on from life to life, the crash
//! that ends a life, and the dice. Face: `HostClock`, `Mortality`, `Dice`. Never runs in real time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use wharfinger::base::entropy::SeededEntropy;
use wharfinger::base::time::after;
use wharfinger::base::{Clock, CrashPoints, Entropy as _, Timestamp};

/// Moves with tokio's paused clock, and stands still between two lives.
pub(crate) struct HostClock(Mutex<(Timestamp, Option<Instant>)>);

impl HostClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(("2026-01-01T00:00:00Z".parse().expect("a time"), None)))
    }

    /// A runtime with a clock of its own begins.
    pub(crate) fn go_on(&self) {
        let now = self.now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (now, Some(Instant::now()));
    }

    /// Somebody sets the clock: it is so much later all at once.
    pub(crate) fn jump(&self, by: Duration) {
        let mut clock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock.0 = after(clock.0, by);
    }

    /// That runtime is about to end.
    pub(crate) fn stand_still(&self) {
        let now = self.now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (now, None);
    }
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let (then, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(then, |since| after(then, since.elapsed()))
    }
}

/// Dies at the chosen crash point: unwinds there, and at every later one, so that nothing becomes
/// durable after the death.
pub(crate) struct Mortality {
    dies_at: Option<u64>,
    passed: AtomicU64,
    dead: CancellationToken,
}

impl Mortality {
    pub(crate) fn new(dies_at: Option<u64>, dead: CancellationToken) -> Self {
        Self { dies_at, passed: AtomicU64::new(0), dead }
    }
}

impl CrashPoints for Mortality {
    fn reached(&self, _point: &'static str) {
        let passed = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if self.dies_at.is_some_and(|at| passed >= at) {
            self.dead.cancel();
            std::panic::resume_unwind(Box::new("the simulated process died"));
        }
    }
}

/// Everything that is left to chance.
pub(crate) struct Dice(SeededEntropy);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// Further dice, so that what is thrown with them changes nothing that is thrown with these.
    pub(crate) fn more(&self) -> Self {
        Self::new(self.0.next_u64())
    }

    /// From 0, less than `sides`.
    pub(crate) fn below(&self, sides: u64) -> u64 {
        self.0.next_u64() % sides
    }

    /// True once in so many throws.
    pub(crate) fn once_in(&self, throws: u64) -> bool {
        self.below(throws) == 0
    }

    /// One of several.
    pub(crate) fn choose<'a, T>(&self, several: &'a [T]) -> Option<&'a T> {
        several.get(usize::try_from(self.below(several.len().max(1) as u64)).ok()?)
    }
}
