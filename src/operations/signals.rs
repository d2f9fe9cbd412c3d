//! Carries news of runs from where it happens to who follows. Owns the feed, the wake-up and the
//! cancel tokens of live runs. Face: `Signals`, `Follower`. Never holds a worker up: a follower
//! that is too slow is told to read the store again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::hosted::Room;
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::base::limits::FOLLOW_EVENTS_MAX;
use crate::domain::redaction::SafeText;
use crate::domain::runs::{CountKey, End, Failure, OperationRun, Outcome, StepRecord};
use crate::store::{Claimed, Notice, Noticed};

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

/// Rings when a run fails.
#[derive(Debug)]
pub struct Alarm {
    feed: broadcast::Receiver<Arc<RunNews>>,
}

impl Alarm {
    /// Waits until one has failed, or so much happened that one may have.
    pub async fn rang(&mut self) {
        loop {
            match self.feed.recv().await {
                Ok(news) => {
                    if let Happened::Changed(run) = &news.what
                        && (run.outcome() == Outcome::Failed || run.is_dead_letter)
                    {
                        return;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Shared by the door, the runner and every live run.
#[derive(Debug)]
pub(super) struct Signals {
    /// There may be something to claim.
    pub(super) wake: Notify,
    /// Where claimants of hosted runs wait.
    pub(super) room: Arc<Room>,
    feed: broadcast::Sender<Arc<RunNews>>,
    /// The token of each run, and how many attempts of it or of its jobs use it. In order, so that
    /// a simulation tells the same story every time.
    cancels: Mutex<BTreeMap<RunId, (CancellationToken, usize)>>,
    /// Workers that are free. A door takes one for the run that it admits.
    pub(super) slots: Arc<Semaphore>,
    /// What a door began, for the runner to execute.
    begun: Mutex<VecDeque<(Claimed, OwnedSemaphorePermit)>>,
}

impl Signals {
    pub(super) fn new() -> Self {
        Self {
            wake: Notify::new(),
            room: Arc::default(),
            feed: broadcast::Sender::new(FOLLOW_EVENTS_MAX),
            cancels: Mutex::default(),
            slots: Arc::new(Semaphore::new(0)),
            begun: Mutex::default(),
        }
    }

    /// There may be something to claim, for the runner and for hosted workers.
    pub(super) fn look(&self) {
        self.wake.notify_one();
        self.room.look();
    }

    pub(super) fn follow(&self, run_id: RunId) -> Follower {
        Follower { run_id, feed: self.feed.subscribe() }
    }

    pub(super) fn alarm(&self) -> Alarm {
        Alarm { feed: self.feed.subscribe() }
    }

    pub(super) fn publish(&self, run_id: RunId, at: Timestamp, what: Happened) {
        // Nobody has to listen.
        let _ = self.feed.send(Arc::new(RunNews { run_id, at, what }));
    }

    /// Makes the token that cancels a run which is about to be executed here.
    pub(super) fn arm(&self, run_id: RunId) -> CancellationToken {
        let mut cancels = self.lock();
        let (token, users) = cancels.entry(run_id).or_default();
        *users += 1;
        token.clone()
    }

    /// The token of a run that is armed already.
    pub(super) fn token(&self, run_id: RunId) -> CancellationToken {
        self.lock().get(&run_id).map(|(token, _)| token.clone()).unwrap_or_default()
    }

    /// An attempt of the run, or of a job of it, is no longer executed here.
    pub(super) fn disarm(&self, run_id: RunId) {
        let mut cancels = self.lock();
        if let Some((_, users)) = cancels.get_mut(&run_id) {
            *users -= 1;
            if *users == 0 {
                cancels.remove(&run_id);
            }
        }
    }

    /// A door began this, in a worker's place that it holds.
    pub(super) fn hand_over(&self, claimed: Claimed, slot: OwnedSemaphorePermit) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push_back((claimed, slot));
        drop(begun);
        self.wake.notify_one();
    }

    /// What doors began since the last call.
    pub(super) fn take_begun(&self) -> VecDeque<(Claimed, OwnedSemaphorePermit)> {
        std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The runs that are executed here, wholly or by jobs.
    pub(super) fn armed(&self) -> Vec<RunId> {
        self.lock().keys().copied().collect()
    }

    /// Whether a run is executed here, or about to be.
    pub(super) fn is_armed(&self, run_id: RunId) -> bool {
        self.lock().contains_key(&run_id)
    }

    /// Tells followers, and workers here, what a transaction decided.
    pub(super) fn tell(&self, at: Timestamp, notices: Vec<Notice>) {
        for notice in notices {
            let run = notice.run;
            match notice.what {
                Noticed::AttemptFailed { until } => self.room.due_at(until),
                Noticed::WaitsForJobs | Noticed::Interrupted => self.room.wake(&[run.run_type()]),
                Noticed::Ended { .. } => self.room.freed(&run),
                Noticed::CancelAsked { .. } | Noticed::Started => {}
            }
            match notice.what {
                Noticed::CancelAsked { .. } => self.cancel(run.id),
                Noticed::Ended { end: End::Cancelled, .. } => self.cancel(run.id),
                // The runner tells of what it begins.
                Noticed::Started => continue,
                _ => {}
            }
            self.publish(run.id, at, Happened::Changed(Box::new(run)));
        }
        self.wake.notify_one();
    }

    /// Asks the worker of a run, if it has one, to stop.
    pub(super) fn cancel(&self, run_id: RunId) {
        if let Some((token, _)) = self.lock().get(&run_id) {
            token.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, (CancellationToken, usize)>> {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
