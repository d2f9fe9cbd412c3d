//! Reads the machine's clock. Owns the only place that does. Face: `SystemClock`. Never used by a
//! test that wants to be repeated.

use crate::base::{Clock, Timestamp};

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
