//! Keeps the time for claimants who wait, and takes back what was given to those who left. Owns
//! the one loop of hosted runs. Face: `Hosted::keep`. Never runs while nobody waits and nothing is owed.

use std::time::Duration;

use tracing::{error, warn};

use super::{Hosted, about};
use crate::base::limits::{DUE_RETRY_FIRST, DUE_RETRY_LONGEST, STORE_RETRY_INTERVAL};
use crate::base::time::between;
use crate::base::{Timestamp, chain};
use crate::domain::audit::{Actor, EventType, Outcome};
use crate::domain::runs::AttemptEnd;
use crate::operations::events::{run_event, teller};
use crate::store::{Change, Claimed, Conflict, RunProgress, StoreError, Write};

impl Hosted {
    /// Wakes claimants when something is due, until it is dropped.
    pub async fn keep(self) {
        let mut late = Late::default();
        loop {
            for claimed in self.room().take_owed() {
                self.give_back(claimed).await;
            }
            if self.waiting() == 0 {
                self.room().somebody().await;
                continue;
            }
            let pause = match self.look_ahead(&mut late).await {
                Ok(pause) => pause,
                Err(error) => {
                    error!(error = %chain(&error), "cannot see what is due; looking again soon");
                    Some(STORE_RETRY_INTERVAL)
                }
            };
            tokio::select! {
                biased;
                () = self.room().keeper_wanted() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Wakes claimants for what is due. Returns how long nothing else will be; none when only news
    /// can change anything.
    async fn look_ahead(&self, late: &mut Late) -> Result<Option<Duration>, StoreError> {
        let controls = self.store().queue_controls(self.scope().workspace_id).await?;
        let limited = controls.iter().any(|control| control.concurrency_max.is_some());
        self.room().know_limited(limited);
        let due = self.store().next_due().await?;
        let now = self.ambient().now();
        if self.room().take_due(now) {
            self.room().wake_all();
        }
        match due {
            Some(due) if due <= now => {
                self.room().wake_all();
                return Ok(Some(late.pause(due)));
            }
            Some(due) => self.room().due_at(due),
            None => {}
        }
        Ok(self.room().next_due().map(|due| between(now, due)))
    }

    /// The claimant left before it heard: the next one takes it.
    async fn give_back(&self, claimed: Claimed) {
        let Claimed { run, job, .. } = claimed;
        let at = self.ambient().now();
        let (write, events) = match &job {
            Some(job) => {
                let (key, attempt) = (job.key.clone(), job.attempt);
                let end = AttemptEnd::Released;
                (Write::InterruptJob { run_id: run.id, key, attempt, end, at }, Vec::new())
            }
            None => {
                let summary = format!("{} was given back: its claimant left", about(&run));
                let kind = EventType::RunInterrupted;
                let actor = Actor::agent();
                let event = run_event(self.ambient(), &run, kind, Outcome::Info, actor, summary);
                let write = Write::InterruptAttempt {
                    run_id: run.id,
                    attempt: run.attempt,
                    end: AttemptEnd::Released,
                    at,
                    progress: RunProgress::default(),
                };
                (write, vec![event])
            }
        };
        let teller = teller(self.ambient(), Actor::agent());
        match self.store().change(Change { writes: vec![write], events, teller }).await {
            Ok(notices) => {
                self.noticed(notices);
                self.room().wake(&[run.run_type()]);
            }
            // Somebody else took it, or it was cancelled.
            Err(StoreError::Conflict(Conflict::Fenced { .. } | Conflict::Illegal { .. })) => {}
            Err(error) => {
                warn!(run_id = %run.id, error = %chain(&error), "its lease must run out first");
            }
        }
    }
}

/// Something that was due and that claimants could not take: a pause, a limit or a lock stands
/// against it. They look again less and less often.
#[derive(Debug, Default)]
struct Late {
    due: Option<Timestamp>,
    pause: Duration,
}

impl Late {
    fn pause(&mut self, due: Timestamp) -> Duration {
        self.pause = match self.due == Some(due) {
            true => self.pause.saturating_mul(2).min(DUE_RETRY_LONGEST),
            false => DUE_RETRY_FIRST,
        };
        self.due = Some(due);
        self.pause
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_due_is_looked_at_less_and_less_often() {
        let mut late = Late::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let millis: Vec<_> = (0..12).map(|_| late.pause(at(1)).as_millis()).collect();
        assert_eq!(millis[..3], [20, 40, 80]);
        assert_eq!(millis[11], DUE_RETRY_LONGEST.as_millis());
        assert_eq!(late.pause(at(2)), DUE_RETRY_FIRST);
    }
}
