//! A receiver in memory that does as it is told. Owns what it was told and what it got. Face:
//! `FakeNotify`. Never answers without a script: an unexpected message panics.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Message, Notify, judge, too_late};
use crate::base::limits::ALERT_ANSWER_BYTES_MAX;
use crate::domain::alerts::NotReceived;

/// What the receiver does with the next message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scripted {
    /// It answers after a while.
    Answers {
        /// With this status.
        status: u16,
        /// And this text.
        text: String,
        /// So much later.
        after: Duration,
    },
    /// Nobody listens.
    IsAway,
}

impl Scripted {
    /// An answer at once.
    pub fn answers(status: u16) -> Self {
        Self::Answers { status, text: String::new(), after: Duration::ZERO }
    }
}

/// The receiver.
#[derive(Debug, Default)]
pub struct FakeNotify {
    script: Mutex<VecDeque<Scripted>>,
    got: Mutex<Vec<Message>>,
}

impl FakeNotify {
    /// A receiver that does this, message by message.
    pub fn scripted(script: impl IntoIterator<Item = Scripted>) -> Self {
        Self { script: Mutex::new(script.into_iter().collect()), got: Mutex::default() }
    }

    /// Tells it what to do with a further message.
    pub fn then(&self, next: Scripted) {
        lock(&self.script).push_back(next);
    }

    /// What it got, first first.
    pub fn got(&self) -> Vec<Message> {
        lock(&self.got).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notify for FakeNotify {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<u16, NotReceived>> {
        async move {
            let next = lock(&self.script).pop_front();
            let timeout = message.timeout;
            match next {
                None => panic!("a message that nobody expected: {message:?}"),
                Some(Scripted::IsAway) => {
                    let error = "it cannot be reached: connection refused".to_owned();
                    Err(NotReceived { http_status: None, error })
                }
                Some(Scripted::Answers { status, text, after }) => {
                    lock(&self.got).push(message);
                    if after >= timeout {
                        tokio::time::sleep(timeout).await;
                        return Err(too_late(timeout));
                    }
                    tokio::time::sleep(after).await;
                    let excerpt: String = text.chars().take(ALERT_ANSWER_BYTES_MAX).collect();
                    judge(status, &excerpt)
                }
            }
        }
        .boxed()
    }
}
