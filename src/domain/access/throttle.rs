//! Slows down who asks too much, and shuts out who guesses. Owns the token bucket and the count of
//! failures. Face: `Throttle`. Never grows without bound: the longest unseen are forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Timestamp;
use crate::base::time::{after, between};

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests per second, over a long time.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
    /// Failures within the window before the door is shut.
    pub failures_max: u32,
    /// How long a failure counts.
    pub window: Duration,
    /// How long the door stays shut.
    pub shut: Duration,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            per_second: 2_000,
            burst: 8_000,
            failures_max: 10,
            window: Duration::from_secs(60),
            shut: Duration::from_secs(60),
        }
    }
}

/// Why somebody has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// They ask too much; it is worth trying again after so long.
    TooMany(Duration),
    /// They failed to prove who they are too often; the door opens again after so long.
    LockedOut(Duration),
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Thousandths of a request that are left.
    left: u64,
    refilled_at: Timestamp,
    failures: u32,
    failed_since: Timestamp,
    shut_until: Option<Timestamp>,
    last: u64,
}

/// Everybody who was seen lately, by a key: a user, a token's id, an address. Time is passed in.
#[derive(Debug)]
pub struct Throttle<K> {
    seen: BTreeMap<K, Seen>,
    /// Who was seen when: the first is forgotten first.
    order: BTreeMap<u64, K>,
    turn: u64,
    most: usize,
}

impl<K: Ord + Clone> Throttle<K> {
    /// Nobody was seen; at most so many are remembered.
    pub fn new(most: usize) -> Self {
        Self { seen: BTreeMap::new(), order: BTreeMap::new(), turn: 0, most: most.max(1) }
    }

    /// Takes one request into account.
    ///
    /// # Errors
    /// When it is one too many, or the door is shut.
    pub fn ask(&mut self, key: &K, allowance: &Allowance, now: Timestamp) -> Result<(), Refused> {
        self.open(key, now)?;
        let seen = self.touch(key, allowance, now);
        let rate = u64::from(allowance.per_second.max(1));
        let gained = between(seen.refilled_at, now).as_millis();
        let gained = u64::try_from(gained).unwrap_or(u64::MAX).saturating_mul(rate);
        if gained > 0 {
            seen.refilled_at = now;
        }
        let full = u64::from(allowance.burst.max(1)) * 1_000;
        seen.left = seen.left.saturating_add(gained).min(full);
        if seen.left < 1_000 {
            let missing = 1_000 - seen.left;
            return Err(Refused::TooMany(Duration::from_millis(missing.div_ceil(rate).max(1))));
        }
        seen.left -= 1_000;
        Ok(())
    }

    /// Whether the door is open, without counting anything.
    ///
    /// # Errors
    /// When it is shut.
    pub fn open(&self, key: &K, now: Timestamp) -> Result<(), Refused> {
        match self.seen.get(key).and_then(|seen| seen.shut_until) {
            Some(until) if now < until => Err(Refused::LockedOut(between(now, until))),
            _ => Ok(()),
        }
    }

    /// Somebody failed to prove who they are. Says whether that shut the door: once per time that
    /// it is shut, so that it is recorded once.
    pub fn fail(&mut self, key: &K, allowance: &Allowance, now: Timestamp) -> bool {
        if self.open(key, now).is_err() {
            return false;
        }
        let seen = self.touch(key, allowance, now);
        if between(seen.failed_since, now) >= allowance.window || seen.failures == 0 {
            (seen.failures, seen.failed_since) = (0, now);
        }
        seen.failures += 1;
        if seen.failures < allowance.failures_max.max(1) {
            return false;
        }
        (seen.failures, seen.shut_until) = (0, Some(after(now, allowance.shut)));
        true
    }

    /// They proved it: earlier failures do not count any more.
    pub fn succeed(&mut self, key: &K) {
        if let Some(seen) = self.seen.get_mut(key) {
            seen.failures = 0;
        }
    }

    fn touch(&mut self, key: &K, allowance: &Allowance, now: Timestamp) -> &mut Seen {
        self.turn += 1;
        if !self.seen.contains_key(key) && self.seen.len() >= self.most {
            self.forget_one(now);
        }
        let fresh = Seen {
            left: u64::from(allowance.burst.max(1)) * 1_000,
            refilled_at: now,
            failures: 0,
            failed_since: now,
            shut_until: None,
            last: 0,
        };
        let seen = self.seen.entry(key.clone()).or_insert(fresh);
        self.order.remove(&seen.last);
        self.order.insert(self.turn, key.clone());
        seen.last = self.turn;
        seen
    }

    /// Forgets the longest unseen, but never one that is shut out while another can go: whoever
    /// makes up many names would open their own door by that.
    fn forget_one(&mut self, now: Timestamp) {
        let shut = |key: &K| self.open(key, now).is_err();
        let free = self.order.iter().find(|(_, key)| !shut(key));
        let Some((&turn, key)) = free.or_else(|| self.order.iter().next()) else { return };
        let key = key.clone();
        self.order.remove(&turn);
        self.seen.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance {
        per_second: 10,
        burst: 3,
        failures_max: 2,
        window: Duration::from_secs(10),
        shut: Duration::from_secs(30),
    };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + millis).unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut throttle = Throttle::new(10);
        for _ in 0..3 {
            assert_eq!(throttle.ask(&1, &ALLOWANCE, at(0)), Ok(()));
        }
        let wait = Refused::TooMany(Duration::from_millis(100));
        assert_eq!(throttle.ask(&1, &ALLOWANCE, at(0)), Err(wait));
        assert_eq!(throttle.ask(&2, &ALLOWANCE, at(0)), Ok(()), "others do not wait for it");
        let wait = Refused::TooMany(Duration::from_millis(50));
        assert_eq!(throttle.ask(&1, &ALLOWANCE, at(50)), Err(wait));
        assert_eq!(throttle.ask(&1, &ALLOWANCE, at(100)), Ok(()), "what was gained is kept");
        assert!(throttle.ask(&1, &ALLOWANCE, at(100)).is_err());
        let passed = (0..100).filter(|_| throttle.ask(&1, &ALLOWANCE, at(60_000)).is_ok()).count();
        assert_eq!(passed, 3, "nobody saves up more than a burst");
    }

    #[test]
    fn who_fails_too_often_is_shut_out_for_a_time() {
        let mut throttle = Throttle::new(10);
        assert!(!throttle.fail(&1, &ALLOWANCE, at(0)));
        throttle.succeed(&1);
        assert!(!throttle.fail(&1, &ALLOWANCE, at(1)));
        assert!(!throttle.fail(&1, &ALLOWANCE, at(20_000)), "the first is forgotten by now");
        assert!(throttle.fail(&1, &ALLOWANCE, at(20_001)));
        assert!(!throttle.fail(&1, &ALLOWANCE, at(20_002)), "it is told once");
        let wait = Refused::LockedOut(Duration::from_millis(29_999));
        assert_eq!(throttle.ask(&1, &ALLOWANCE, at(20_002)), Err(wait));
        assert_eq!(throttle.ask(&1, &ALLOWANCE, at(50_001)), Ok(()));
    }

    #[test]
    fn made_up_names_neither_fill_the_memory_nor_open_a_shut_door() {
        let mut throttle = Throttle::new(4);
        assert!(!throttle.fail(&0, &ALLOWANCE, at(0)));
        assert!(throttle.fail(&0, &ALLOWANCE, at(0)));
        for name in 1..1_000 {
            throttle.fail(&name, &ALLOWANCE, at(1));
        }
        assert_eq!((throttle.seen.len(), throttle.order.len()), (4, 4));
        assert!(throttle.open(&0, at(2)).is_err());
    }
}
