//! Says what time it is, through a trait, so that a test or a simulation can say it instead.
//! Owns `Clock`. Face: `Clock`, `Timestamp`, `TestClock`. Never reads the machine's clock: the
//! real one lives in `world::clock`.

use std::sync::Mutex;
use std::time::Duration;

/// An instant in UTC with nanoseconds; printed as RFC 3339.
pub type Timestamp = jiff::Timestamp;

/// Where the time comes from. One instance serves the whole process.
pub trait Clock: Send + Sync {
    /// The current wall-clock time in UTC.
    fn now(&self) -> Timestamp;
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct TestClock(Mutex<Timestamp>);

impl TestClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(Mutex::new(start))
    }

    /// Moves the clock forward; saturates at the end of representable time.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *now = now.saturating_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Adds a duration to a time, and stops at the end of representable time.
pub fn after(start: Timestamp, by: Duration) -> Timestamp {
    start.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// How long it is from `earlier` to `later`; zero when the order is the other way round.
pub fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}
