//! Lets schedules fire: sleeps until the next one is due, and looks again when one was changed or a
//! run ended that a firing waits for. Owns when they are looked at. Face: `Scheduler`. Never decides
//! what a firing leads to, and never fires one twice: what is over is recorded with it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::base::chain;
use crate::base::ids::RunId;
use crate::base::limits::{SCHEDULE_LOOK_INTERVAL, STORE_RETRY_INTERVAL};
use crate::base::time::between;
use crate::domain::schedules::wakes_at;
use crate::operations::schedules::{ScheduleError, Schedules};
use crate::operations::{Followed, Follower, Happened};

/// Lets schedules fire.
pub struct Scheduler {
    schedules: Schedules,
}

/// Runs that firings wait for, each until its end.
type Awaited = FuturesUnordered<BoxFuture<'static, ()>>;

impl Scheduler {
    /// A scheduler that does nothing yet.
    pub fn new(schedules: Schedules) -> Self {
        Self { schedules }
    }

    /// Watches until told to stop.
    pub async fn watch(self, stop: CancellationToken) {
        loop {
            let mut awaited = Awaited::new();
            let pause = match self.look(&mut awaited).await {
                Ok(pause) => pause,
                Err(error) => {
                    error!(error = %chain(&error), "schedules not looked at; trying again");
                    STORE_RETRY_INTERVAL
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.schedules.changed() => {}
                Some(()) = awaited.next() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Looks at every schedule. Returns how long to sleep.
    async fn look(&self, awaited: &mut Awaited) -> Result<Duration, ScheduleError> {
        let mut next = None;
        let mut failed = None;
        for schedule in self.schedules.list().await? {
            // Followed before it is read, so that its end does not fall between.
            let follower = schedule.progress.run_id.map(|id| (id, self.follow(id)));
            let name = schedule.name;
            match self.schedules.advance(&schedule).await {
                Ok(None) => {}
                Ok(Some(run_id)) => {
                    let follower = follower.filter(|(id, _)| *id == run_id);
                    let follower = follower.map_or_else(|| self.follow(run_id), |(_, known)| known);
                    awaited.push(ended(follower).boxed());
                }
                // One that cannot be dealt with does not hold the others up.
                Err(error) => {
                    error!(schedule = %name, error = %chain(&error), "schedule not dealt with");
                    failed = Some(STORE_RETRY_INTERVAL);
                }
            }
        }
        for schedule in self.schedules.list().await? {
            next = next.into_iter().chain(wakes_at(&schedule)).min();
        }
        let now = self.schedules.now();
        let pause = next.map_or(SCHEDULE_LOOK_INTERVAL, |next| between(now, next));
        // Its time may have come between the two looks; a pause of nothing would spin.
        let pause = pause.clamp(Duration::from_millis(1), SCHEDULE_LOOK_INTERVAL);
        Ok(failed.unwrap_or(pause))
    }

    fn follow(&self, run_id: RunId) -> Follower {
        self.schedules.door().follow(run_id)
    }
}

/// Waits until a run has ended, or until that may have been missed.
async fn ended(mut follower: Follower) {
    loop {
        match follower.next().await {
            Followed::News(news) => {
                if let Happened::Changed(run) = &news.what
                    && run.state.is_completed()
                {
                    return;
                }
            }
            Followed::Lagged => return,
            Followed::Closed => std::future::pending().await,
        }
    }
}
