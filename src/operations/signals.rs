//! Carries news of runs from where it happens to who follows. Owns the feed, the wake-up and the
//! cancel tokens of live runs. Face: `Signals`, `Follower`. Never holds a worker up: a follower
//! that is too slow is told to read the store again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::limits::FOLLOW_EVENTS_MAX;
use crate::domain::redaction::SafeText;
use crate::domain::runs::{CountKey, Failure, OperationRun, StepRecord};

/// Something that happened to a run just now.
#[derive(Debug, Clone, PartialEq)]
pub struct RunNews {
    /// The run.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happened,
}

/// What can happen to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// It was accepted, claimed, put aside or ended: the run as it is now.
    Changed(Box<OperationRun>),
    /// A step began or ended.
    Step(Box<StepRecord>),
    /// Something was counted.
    Counted {
        /// What.
        key: CountKey,
        /// How much was added.
        by: u64,
    },
    /// Something went wrong.
    Failed(Failure),
    /// A line of what the run is doing; not kept.
    Log(SafeText),
}

/// What a follower hears next.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// News of the run.
    News(Arc<RunNews>),
    /// News were missed: read the run and its steps again, then go on.
    Lagged,
    /// The agent stops: no more news.
    Closed,
}

/// Hears the news of one run. Follow first, then read the run, so that nothing falls between.
#[derive(Debug)]
pub struct Follower {
    run_id: RunId,
    feed: broadcast::Receiver<Arc<RunNews>>,
}

impl Follower {
    /// The next news; waits for it.
    pub async fn next(&mut self) -> Followed {
        loop {
            match self.feed.recv().await {
                Ok(news) if news.run_id == self.run_id => return Followed::News(news),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return Followed::Lagged,
                Err(broadcast::error::RecvError::Closed) => return Followed::Closed,
            }
        }
    }
}

/// Shared by the door, the runner and every live run.
#[derive(Debug)]
pub(super) struct Signals {
    /// There may be something to claim.
    pub(super) wake: Notify,
    feed: broadcast::Sender<Arc<RunNews>>,
    cancels: Mutex<BTreeMap<RunId, CancellationToken>>,
}

impl Signals {
    pub(super) fn new() -> Self {
        Self {
            wake: Notify::new(),
            feed: broadcast::Sender::new(FOLLOW_EVENTS_MAX),
            cancels: Mutex::default(),
        }
    }

    pub(super) fn follow(&self, run_id: RunId) -> Follower {
        Follower { run_id, feed: self.feed.subscribe() }
    }

    pub(super) fn publish(&self, run_id: RunId, at: Timestamp, what: Happened) {
        // Nobody has to listen.
        let _ = self.feed.send(Arc::new(RunNews { run_id, at, what }));
    }

    /// The token that cancels a run which is about to be executed here.
    pub(super) fn arm(&self, run_id: RunId) -> CancellationToken {
        self.lock().entry(run_id).or_default().clone()
    }

    /// The run is no longer executed here.
    pub(super) fn disarm(&self, run_id: RunId) {
        self.lock().remove(&run_id);
    }

    /// Asks the worker of a run, if it has one, to stop.
    pub(super) fn cancel(&self, run_id: RunId) {
        if let Some(token) = self.lock().get(&run_id) {
            token.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, CancellationToken>> {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
