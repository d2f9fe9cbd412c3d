//! Decides how soon the agent tries again to mend one project. Owns the back-off. Face: `Pace`.
//! Never reads a clock: the time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// Pause after the first attempt that did not last; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause: a broken project costs at most this many runs, twelve in an hour.
const LAST_PAUSE: Duration = Duration::from_secs(300);
/// A project that was as declared for so long after an attempt is mended.
const MENDED_AFTER: Duration = Duration::from_secs(60);

/// How often lately, and when again.
///
/// An attempt counts whether it failed or not: a container that somebody stops every few seconds
/// is mended each time, and would fill the queue just as a deployment that fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pace {
    attempts: u32,
    last: Option<Instant>,
}

impl Pace {
    /// An attempt is made; answers how long to wait before the next one.
    pub(super) fn tried(&mut self, now: Instant) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        self.last = Some(now);
        self.pause()
    }

    /// The attempt is over and has failed: the pause begins now.
    pub(super) fn failed(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// The project is found as declared.
    pub(super) fn settled(&mut self, now: Instant) {
        if self.last.is_some_and(|last| now.duration_since(last) >= MENDED_AFTER) {
            *self = Self::default();
        }
    }

    /// How long the next attempt has to wait; `None` when it need not.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let until = self.last? + self.pause();
        (until > now).then(|| until - now)
    }

    fn pause(&self) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(16);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LAST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(now), None);
        let pauses: Vec<u64> = (0..10).map(|_| pace.tried(now).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pace.wait(now), Some(LAST_PAUSE));
        assert_eq!(pace.wait(now + LAST_PAUSE), None);
    }

    #[test]
    fn only_a_lasting_success_counts() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.tried(now);
        pace.tried(now);
        pace.settled(now + Duration::from_secs(5));
        assert_eq!(pace.tried(now).as_secs(), 8);
        pace.settled(now + MENDED_AFTER);
        assert_eq!(pace, Pace::default());
    }
}
