//! Says what is fixed about every run of one type. Owns definitions, priorities and the rule of
//! retries. Face: `Definition`, `Retry::delay`, `after_failure`. Never draws a random number: it
//! is given one.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CountKey, OnCrash, ReasonCode, RunType};
use crate::base::limits::{HOSTED_LEASE_MAX, LEASE_DURATION, REGISTERED_KEYS_MAX};
use crate::domain::access::Capability;

/// Which of two runs that could begin comes first: the higher one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Priority(pub i8);

/// When a failed attempt is followed by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts until the run is a dead letter; 0 for a type that wants neither retries nor dead
    /// letters.
    pub attempts_max: u32,
    /// The pause after the first failure.
    #[serde(rename = "first_ms", with = "millis")]
    pub first: Duration,
    /// How many times longer each pause is than the one before.
    pub factor: u32,
    /// The longest pause, jitter apart.
    #[serde(rename = "longest_ms", with = "millis")]
    pub longest: Duration,
    /// How far a pause may be from its length either way, so that many do not come back at once.
    pub jitter_percent: u8,
}

impl Retry {
    /// A failure ends the run; whoever wants the same again asks again.
    pub const NEVER: Self = Self {
        attempts_max: 0,
        first: Duration::ZERO,
        factor: 1,
        longest: Duration::ZERO,
        jitter_percent: 0,
    };

    /// The pause after the `failures`-th failed attempt; none when there is no further one.
    /// `random` is uniformly distributed.
    pub fn delay(&self, failures: u32, random: u64) -> Option<Duration> {
        if failures >= self.attempts_max {
            return None;
        }
        let mut pause = self.first.min(self.longest);
        for _ in 1..failures {
            pause = pause.saturating_mul(self.factor.max(1)).min(self.longest);
            if pause == self.longest || self.factor <= 1 {
                break;
            }
        }
        let jitter = u64::from(self.jitter_percent.min(100));
        let percent = 100 - jitter + random % (2 * jitter + 1);
        let nanos = pause.as_nanos().saturating_mul(u128::from(percent)) / 100;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// What a failed attempt leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Another attempt after this pause.
    Retry(Duration),
    /// The end: retries are used up, and somebody should look at it.
    DeadLetter,
    /// The end.
    End,
}

/// Decides what follows the `failures`-th failed attempt.
pub fn after_failure(retry: &Retry, failures: u32, random: u64) -> AfterFailure {
    match retry.delay(failures, random) {
        Some(pause) => AfterFailure::Retry(pause),
        None if retry.attempts_max > 0 => AfterFailure::DeadLetter,
        None => AfterFailure::End,
    }
}

/// What is fixed about every run of one type: in code for our own types, a record for those that
/// are hosted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// For people: what it does.
    pub label: Cow<'static, str>,
    /// What its initiator must be allowed to do.
    pub capability: Capability,
    /// What happens after a crash.
    pub on_crash: OnCrash,
    /// The numbers it may count.
    pub counts: Cow<'static, [CountKey]>,
    /// The registered reasons it may fail with, besides those that every type may.
    pub reason_codes: Cow<'static, [ReasonCode]>,
    /// When a failed attempt is followed by another one.
    pub retry: Retry,
    /// The longest time of one attempt.
    #[serde(rename = "timeout_ms", with = "optional_millis")]
    pub timeout: Option<Duration>,
    /// How long a worker may go without a sign of life.
    #[serde(rename = "lease_ms", with = "millis")]
    pub lease: Duration,
    /// What its runs begin with unless the request says otherwise.
    pub priority: Priority,
    /// A new run ends older ones of the same type and subject.
    pub supersedes: bool,
}

impl Definition {
    /// One of our own types: no retries, no timeout, the usual lease.
    pub const fn built_in(
        label: &'static str,
        capability: Capability,
        counts: &'static [CountKey],
    ) -> Self {
        Self {
            label: Cow::Borrowed(label),
            capability,
            on_crash: OnCrash::Resume,
            counts: Cow::Borrowed(counts),
            reason_codes: Cow::Borrowed(&[]),
            retry: Retry::NEVER,
            timeout: None,
            lease: LEASE_DURATION,
            priority: Priority(0),
            supersedes: false,
        }
    }

    /// The same, tried again after a failure.
    #[must_use]
    pub const fn tried_again(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Whether runs of this type may count this.
    ///
    /// # Errors
    /// When it is not listed.
    pub fn check_count(&self, run_type: RunType, key: CountKey) -> Result<(), Unregistered> {
        if self.counts.contains(&key) {
            return Ok(());
        }
        Err(Unregistered { run_type, does: "count", key: key.to_string() })
    }

    /// Whether runs of this type may fail so.
    ///
    /// # Errors
    /// When it is a registered code that is not listed.
    pub fn check_reason(&self, run_type: RunType, code: ReasonCode) -> Result<(), Unregistered> {
        match code {
            ReasonCode::Registered(_) if !self.reason_codes.contains(&code) => {
                Err(Unregistered { run_type, does: "fail with", key: code.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Whether a user may register this.
    ///
    /// # Errors
    /// When a number is out of bounds.
    pub fn check_hosted(&self) -> Result<(), DefinitionError> {
        let wrong = |field, rule| Err(DefinitionError { field, rule });
        if self.label.trim().is_empty() || self.label.chars().count() > 100 {
            return wrong("label", "has 1 to 100 characters");
        }
        if self.counts.len() > REGISTERED_KEYS_MAX || self.reason_codes.len() > REGISTERED_KEYS_MAX
        {
            return wrong("counts and reason_codes", "have at most 64 entries each");
        }
        if self.lease < Duration::from_secs(1) || self.lease > HOSTED_LEASE_MAX {
            return wrong("lease_ms", "lies between one second and a day");
        }
        let bounds = Duration::from_millis(1)..=HOSTED_LEASE_MAX * 30;
        if self.timeout.is_some_and(|timeout| !bounds.contains(&timeout)) {
            return wrong("timeout_ms", "lies between one millisecond and thirty days");
        }
        if self.retry.jitter_percent > 100 {
            return wrong("retry.jitter_percent", "is at most 100");
        }
        if self.retry.longest > HOSTED_LEASE_MAX * 30 {
            return wrong("retry.longest_ms", "is at most thirty days");
        }
        if self.retry.first > self.retry.longest {
            return wrong("retry.first_ms", "is at most retry.longest_ms");
        }
        Ok(())
    }
}

/// A definition that cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct DefinitionError {
    /// The field.
    pub field: &'static str,
    /// What it must fulfil.
    pub rule: &'static str,
}

/// A key that a run's type does not register.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("runs of type {run_type} do not {does} {key}")]
pub struct Unregistered {
    /// The type of the run.
    pub run_type: RunType,
    /// What it does not do.
    pub does: &'static str,
    /// The key that was refused.
    pub key: String,
}

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(length: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_millis(u64::deserialize(from)?))
    }
}

/// The same for one that may be absent.
mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        length: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        attempts_max: 5,
        first: Duration::from_secs(1),
        factor: 3,
        longest: Duration::from_secs(10),
        jitter_percent: 0,
    };

    #[test]
    fn pauses_grow_to_the_longest_until_attempts_are_used_up() {
        let pauses: Vec<_> = (1..=6).map(|n| RETRY.delay(n, 7).map(|it| it.as_secs())).collect();
        assert_eq!(pauses, [Some(1), Some(3), Some(9), Some(10), None, None]);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_reaches_them() {
        let retry = Retry { jitter_percent: 20, ..RETRY };
        let pauses: Vec<_> = (0..41).filter_map(|random| retry.delay(1, random)).collect();
        assert_eq!(pauses.iter().min(), Some(&Duration::from_millis(800)));
        assert_eq!(pauses.iter().max(), Some(&Duration::from_millis(1200)));
    }

    #[test]
    fn an_endless_row_of_failures_neither_overflows_nor_takes_long() {
        let retry = Retry { attempts_max: u32::MAX, factor: u32::MAX, ..RETRY };
        assert_eq!(retry.delay(u32::MAX - 1, 0), Some(RETRY.longest));
        let steady = Retry { factor: 1, ..retry };
        assert_eq!(steady.delay(u32::MAX - 1, 0), Some(RETRY.first));
    }

    #[test]
    fn a_failure_leads_to_a_retry_a_dead_letter_or_the_end() {
        fn check(retry: Retry, failures: u32, expect: AfterFailure) {
            assert_eq!(after_failure(&retry, failures, 0), expect);
        }
        check(RETRY, 1, AfterFailure::Retry(Duration::from_secs(1)));
        check(RETRY, 4, AfterFailure::Retry(Duration::from_secs(10)));
        check(RETRY, 5, AfterFailure::DeadLetter);
        check(Retry { attempts_max: 1, ..RETRY }, 1, AfterFailure::DeadLetter);
        check(Retry::NEVER, 1, AfterFailure::End);
    }

    #[test]
    fn a_definition_reads_back_from_json() {
        let mut definition =
            Definition::built_in("Send invoices", Capability::RunsView, &[CountKey::Total]);
        definition.timeout = Some(Duration::from_millis(1500));
        definition.retry = RETRY;
        let text = serde_json::to_string(&definition).unwrap();
        assert_eq!(serde_json::from_str::<Definition>(&text).unwrap(), definition);
        assert_eq!(definition.check_hosted(), Ok(()));
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        let check = |change: fn(&mut Definition), expect: &str| {
            let mut definition = Definition::built_in("Send invoices", Capability::RunsView, &[]);
            definition.retry = RETRY;
            change(&mut definition);
            let refused = definition.check_hosted().err().map(|error| error.to_string());
            assert_eq!(refused.unwrap_or_default(), expect);
        };
        check(|_| {}, "");
        check(|it| it.lease = Duration::ZERO, "lease_ms lies between one second and a day");
        check(
            |it| it.timeout = Some(Duration::from_millis(1 << 63)),
            "timeout_ms lies between one millisecond and thirty days",
        );
        check(|it| it.retry.longest = Duration::MAX, "retry.longest_ms is at most thirty days");
        check(|it| it.retry.first = Duration::MAX, "retry.first_ms is at most retry.longest_ms");
    }
}
