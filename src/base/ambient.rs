//! Bundles what every part of the agent takes from its surroundings. Owns nothing. Face:
//! `Ambient`. Never grows into a bag of services: only time, randomness and crash points.

use std::fmt;
use std::sync::Arc;

use super::{Clock, CrashPoints, Entropy, Timestamp};

/// The time, the randomness and the crash points of this process: real ones in the daemon, seeded
/// ones in a simulation. Cheap to clone.
#[derive(Clone)]
pub struct Ambient {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where ids, nonces and jitter come from.
    pub entropy: Arc<dyn Entropy>,
    /// Who is told before and after each durable effect.
    pub crash_points: Arc<dyn CrashPoints>,
}

impl Ambient {
    /// The current time, for short.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ambient").finish_non_exhaustive()
    }
}
