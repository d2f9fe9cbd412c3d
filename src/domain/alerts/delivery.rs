//! Decides what becomes of a delivery. Owns its state machine, the pauses between tries and when it
//! is given up. Face: `Delivery::transition`, `DeliveryEvent`. Never loses one: until it has arrived
//! or was given up it is due again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AlertEvent;
use crate::base::Timestamp;
use crate::base::ids::{DeliveryId, ReceiverId};
use crate::base::keyed::keyed;
use crate::base::limits::{
    ALERT_ATTEMPTS_MAX, ALERT_PAUSE_FIRST, ALERT_PAUSE_JITTER_PERCENT, ALERT_PAUSE_LONGEST,
};
use crate::base::time::after;
use crate::domain::redaction::SafeText;

keyed! {
    /// Where a delivery stands, as clients see it.
    pub enum DeliveryStatus: "delivery status" {
        /// It is to be sent, or is being sent.
        Pending = "pending",
        /// It has arrived.
        Delivered = "delivered",
        /// It was tried too often.
        GivenUp = "given_up",
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is to be sent at this time. Who sends it sets a later one first, so that nobody else does,
    /// and so that it is sent again should its sender die.
    Pending {
        /// When.
        due_at: Timestamp,
    },
    /// It has arrived.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// It was tried too often.
    GivenUp {
        /// When.
        at: Timestamp,
    },
}

impl DeliveryState {
    /// What clients see.
    pub const fn status(self) -> DeliveryStatus {
        match self {
            Self::Pending { .. } => DeliveryStatus::Pending,
            Self::Delivered { .. } => DeliveryStatus::Delivered,
            Self::GivenUp { .. } => DeliveryStatus::GivenUp,
        }
    }
}

/// An event on its way to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its own; also the key by which a receiver recognises what it has got already.
    pub id: DeliveryId,
    /// Who gets it.
    pub receiver_id: ReceiverId,
    /// What happened.
    pub event: AlertEvent,
    /// Where it stands.
    pub state: DeliveryState,
    /// How often it was sent; also the fencing token of what its sender reports.
    pub attempts: u32,
    /// What came of the latest try.
    pub last: Option<Attempted>,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempted {
    /// When it ended.
    pub at: Timestamp,
    /// The receiver's answer, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// What went wrong; none when it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SafeText>,
}

/// What may happen to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// Somebody begins to send it, and reports until then.
    Take {
        /// When it is due again unless a report comes.
        until: Timestamp,
    },
    /// The try with this number arrived.
    Arrived {
        /// Its number.
        attempt: u32,
        /// What came of it.
        last: Attempted,
    },
    /// The try with this number did not arrive.
    Failed {
        /// Its number.
        attempt: u32,
        /// What came of it.
        last: Attempted,
        /// Uniformly distributed, for the jitter of the pause.
        random: u64,
    },
    /// An operator wants it tried again.
    Retry {
        /// When.
        at: Timestamp,
    },
}

/// What cannot happen to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a delivery that is {from} cannot {event}")]
pub struct IllegalDelivery {
    /// How it stands.
    pub from: DeliveryStatus,
    /// What should have happened.
    pub event: &'static str,
}

impl Delivery {
    /// One that is due at once.
    pub fn new(id: DeliveryId, receiver_id: ReceiverId, event: AlertEvent) -> Self {
        let state = DeliveryState::Pending { due_at: event.occurred_at };
        Self { id, receiver_id, event, state, attempts: 0, last: None }
    }

    /// The delivery after an event.
    ///
    /// # Errors
    /// When the event cannot happen: it has ended, or the report is of a try that was taken over.
    pub fn transition(mut self, event: DeliveryEvent) -> Result<Self, IllegalDelivery> {
        let from = self.state.status();
        let illegal = |event| Err(IllegalDelivery { from, event });
        match (self.state, event) {
            (DeliveryState::Pending { .. }, DeliveryEvent::Take { until }) => {
                self.state = DeliveryState::Pending { due_at: until };
                self.attempts = self.attempts.saturating_add(1);
            }
            (DeliveryState::Pending { .. }, DeliveryEvent::Arrived { attempt, last })
                if attempt == self.attempts =>
            {
                self.state = DeliveryState::Delivered { at: last.at };
                self.last = Some(last);
            }
            (DeliveryState::Pending { .. }, DeliveryEvent::Failed { attempt, last, random })
                if attempt == self.attempts =>
            {
                self.state = match pause(self.attempts, random) {
                    Some(pause) => DeliveryState::Pending { due_at: after(last.at, pause) },
                    None => DeliveryState::GivenUp { at: last.at },
                };
                self.last = Some(last);
            }
            (DeliveryState::GivenUp { .. }, DeliveryEvent::Retry { at }) => {
                self.state = DeliveryState::Pending { due_at: at };
                self.attempts = 0;
            }
            (DeliveryState::Pending { due_at }, DeliveryEvent::Retry { at }) => {
                self.state = DeliveryState::Pending { due_at: due_at.min(at) };
            }
            (_, DeliveryEvent::Take { .. }) => return illegal("be sent"),
            (_, DeliveryEvent::Arrived { .. }) => return illegal("arrive by an older try"),
            (_, DeliveryEvent::Failed { .. }) => return illegal("fail by an older try"),
            (_, DeliveryEvent::Retry { .. }) => return illegal("be tried again"),
        }
        Ok(self)
    }
}

/// How long to wait after the `attempts`-th try: twice as long each time, spread, up to a longest;
/// none when it was tried often enough.
pub(super) fn pause(attempts: u32, random: u64) -> Option<Duration> {
    if attempts >= ALERT_ATTEMPTS_MAX {
        return None;
    }
    let doublings = attempts.saturating_sub(1).min(20);
    let pause = ALERT_PAUSE_FIRST.saturating_mul(1 << doublings).min(ALERT_PAUSE_LONGEST);
    let spread = pause.mul_f64(f64::from(ALERT_PAUSE_JITTER_PERCENT) / 100.0);
    // From one spread less to one spread more.
    let share = f64::from(u32::try_from(random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    Some(pause.saturating_sub(spread) + spread.mul_f64(2.0 * share))
}
