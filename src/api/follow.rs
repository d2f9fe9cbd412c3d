//! Tells a follower what happens to a run, from wherever the follower left off. Owns the events of
//! `/v1/runs/{id}/events` and their cursor. Face: `events`, `Cursor`. Never loses a step: the
//! stream is read from the step log; news only say when to look again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::wire::{RunView, StepView};
use crate::base::chain;
use crate::base::ids::RunId;
use crate::domain::runs::{OperationRun, StepRecord, StepStatus};
use crate::operations::{Door, Followed, Follower, Happened};
use crate::store::{Store, StoreError};

/// What a follower has seen: how many steps began, and which of them had not ended then. Steps
/// begin in the order of the log but end in any order, so a single number would not do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    begun: usize,
    open: BTreeSet<usize>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.begun)?;
        for place in &self.open {
            write!(f, ".{place}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split('.').map(str::parse);
        let begun = numbers.next().unwrap_or(Ok(0))?;
        Ok(Self { begun, open: numbers.collect::<Result<_, _>>()? })
    }
}

impl Cursor {
    /// The steps that changed since, each with the cursor after it.
    fn advance<'a>(&mut self, log: &'a [StepRecord]) -> Vec<(&'a StepRecord, String)> {
        let mut news = Vec::new();
        for (place, step) in log.iter().enumerate() {
            let has_ended = step.status != StepStatus::Started;
            let is_new = place >= self.begun;
            let ends_now = has_ended && self.open.contains(&place);
            if !is_new && !ends_now {
                continue;
            }
            self.begun = self.begun.max(place + 1);
            if has_ended {
                self.open.remove(&place);
            } else {
                self.open.insert(place);
            }
            news.push((step, self.to_string()));
        }
        news
    }
}

/// How often the log is read although nothing was heard, in case a worker's news were lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

struct Following {
    run_id: RunId,
    store: Arc<dyn Store>,
    follower: Follower,
    stop: CancellationToken,
    cursor: Cursor,
    shown: Option<RunView>,
    is_over: bool,
}

/// The events of a run: `run` when its record changed, `step` when a step began or ended, `log` for
/// lines that are not kept, `end` last. After a broken connection the client sends the last event's
/// id, and the stream goes on from there.
pub(super) fn events(
    door: &Door,
    store: Arc<dyn Store>,
    stop: CancellationToken,
    run_id: RunId,
    cursor: Cursor,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + use<> {
    let following = Following {
        run_id,
        store,
        // Following begins before the first reading, so that nothing falls between.
        follower: door.follow(run_id),
        stop,
        cursor,
        shown: None,
        is_over: false,
    };
    let first = stream::once(async move {
        let mut following = following;
        let events = following.look().await;
        (events, following)
    });
    first
        .flat_map(|(events, following)| {
            let later = stream::unfold(following, |mut following| async move {
                if following.is_over {
                    return None;
                }
                let events = following.next().await;
                Some((stream::iter(events), following))
            });
            stream::iter(events).chain(later.flatten())
        })
        .map(Ok)
}

impl Following {
    /// Waits for news and tells what they say.
    async fn next(&mut self) -> Vec<Event> {
        let stop = self.stop.clone();
        let heard = tokio::select! {
            heard = self.follower.next() => heard,
            () = stop.cancelled() => Followed::Closed,
            () = tokio::time::sleep(LOOK_INTERVAL) => Followed::Lagged,
        };
        match heard {
            Followed::News(news) => match &news.what {
                Happened::Log(line) => vec![Event::default().event("log").data(line.as_str())],
                Happened::Changed(_) | Happened::Step(_) => self.look().await,
                // Written with the next step's result, and told then.
                Happened::Counted { .. } | Happened::Failed(_) => Vec::new(),
            },
            Followed::Lagged => self.look().await,
            Followed::Closed => {
                self.is_over = true;
                vec![Event::default().event("bye").data("the agent stops; follow again later")]
            }
        }
    }

    /// Reads the run and its steps, and tells what changed.
    async fn look(&mut self) -> Vec<Event> {
        match self.read().await {
            Ok(Some((run, steps))) => self.tell(&run, &steps),
            Ok(None) => {
                self.is_over = true;
                vec![Event::default().event("bye").data("the run does not exist any more")]
            }
            Err(error) => {
                tracing::warn!(run_id = %self.run_id, error = %chain(&error), "cannot follow run");
                Vec::new()
            }
        }
    }

    async fn read(&self) -> Result<Option<(OperationRun, Vec<StepRecord>)>, StoreError> {
        // The run first: when it has ended, its last step is in the log.
        let Some(run) = self.store.run(self.run_id).await? else { return Ok(None) };
        Ok(Some((run, self.store.steps(self.run_id).await?)))
    }

    fn tell(&mut self, run: &OperationRun, steps: &[StepRecord]) -> Vec<Event> {
        let mut events: Vec<Event> = self
            .cursor
            .advance(steps)
            .into_iter()
            .filter_map(|(step, cursor)| event("step", cursor, &StepView::from(step)))
            .collect();
        let view = RunView::from(run);
        let cursor = self.cursor.to_string();
        if run.state.is_completed() {
            self.is_over = true;
            events.extend(event("end", cursor, &view));
        } else if self.shown.as_ref() != Some(&view) {
            events.extend(event("run", cursor, &view));
            self.shown = Some(view);
        }
        events
    }
}

fn event(name: &str, cursor: String, data: &impl serde::Serialize) -> Option<Event> {
    let event = Event::default().event(name).id(cursor).json_data(data);
    // Our own views always have a JSON form.
    event.inspect_err(|error| tracing::error!(%error, "event not told")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::domain::runs::Undo;

    fn step(index: u32, status: StepStatus) -> StepRecord {
        StepRecord {
            run_id: RunId::from_u128(1),
            attempt: 1,
            index,
            key: format!("step:{index}"),
            description: "a step".into(),
            cause: "a test".into(),
            undo: Undo::Nothing,
            status,
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            detail: None,
        }
    }

    fn told(cursor: &mut Cursor, log: &[StepRecord]) -> Vec<(u32, StepStatus, String)> {
        let news = cursor.advance(log);
        news.into_iter().map(|(step, cursor)| (step.index, step.status, cursor)).collect()
    }

    #[test]
    fn every_change_is_told_once_wherever_the_follower_left_off() {
        use StepStatus::{Started, Succeeded};
        let mut cursor = Cursor::default();
        let log = [step(0, Succeeded), step(1, Started), step(2, Started)];
        let first = told(&mut cursor, &log);
        let ids: Vec<&str> = first.iter().map(|(_, _, id)| id.as_str()).collect();
        assert_eq!(ids, ["1", "2.1", "3.1.2"]);

        // The connection broke after the second event.
        let mut resumed: Cursor = ids[1].parse().unwrap();
        let log = [step(0, Succeeded), step(1, Succeeded), step(2, Started), step(3, Succeeded)];
        let rest = told(&mut resumed, &log);
        let expect = [
            (1, Succeeded, "2".to_owned()),
            (2, Started, "3.2".to_owned()),
            (3, Succeeded, "4.2".to_owned()),
        ];
        assert_eq!(rest, expect);
        assert_eq!(told(&mut resumed, &log), []);
    }

    #[test]
    fn cursors_read_as_they_print() {
        for text in ["0", "3", "12.7.9"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        assert!("x".parse::<Cursor>().is_err());
    }
}
