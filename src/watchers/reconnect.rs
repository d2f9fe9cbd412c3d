//! Keeps a watcher at the engine's events, however often the connection is lost. Owns the pauses
//! between two connections. Face: `watch`, `Following`, `next_event`, `at`. Never gives up before it is
//! told to stop, and never knows what an event means.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Future, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::world::docker::{EngineError, EngineErrorKind, EngineEvent};

/// First pause before the engine's events are followed again; doubles up to the last.
const FIRST: Duration = Duration::from_millis(500);
/// Last pause before the engine's events are followed again.
const LAST: Duration = Duration::from_secs(15);

/// A watcher that follows the engine's events.
pub(super) trait Following: Send {
    /// Follows the engine until the connection breaks. Everything is looked at in the beginning:
    /// nobody knows what happened before.
    fn follow(&mut self) -> impl Future<Output = Result<Infallible, EngineError>> + Send;

    /// Hears that the connection broke, before the pause.
    fn lost(&mut self, error: EngineError) -> impl Future<Output = ()> + Send;
}

/// Watches until told to stop. A lost engine is waited for, however long it takes.
pub(super) async fn watch(mut watcher: impl Following, stop: CancellationToken) {
    let mut pause = FIRST;
    loop {
        let began = Instant::now();
        let Err(error) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            end = watcher.follow() => end,
        };
        watcher.lost(error).await;
        if began.elapsed() > LAST {
            pause = FIRST;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LAST);
    }
}

/// The engine's events, as they come.
pub(super) type Events<'a> = BoxStream<'a, Result<EngineEvent, EngineError>>;

/// The next event. Nothing is lost when nobody waits for it any more.
pub(super) async fn next_event(events: &mut Events<'_>) -> Result<EngineEvent, EngineError> {
    events.next().await.unwrap_or_else(|| {
        let attempt = "follow the engine's events";
        let message = "the engine closed the connection";
        Err(EngineError::new(EngineErrorKind::Unreachable, attempt, message))
    })
}

/// Sleeps until then; for ever without a time.
pub(super) async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Loses its connection after so many seconds each time, notes when it connected and how often it
    /// was lost by then, and stops everything when it is not to be lost any more.
    struct Unlucky {
        lasting: Vec<u64>,
        connected: Arc<Mutex<Vec<(Instant, usize)>>>,
        losses: usize,
        stop: CancellationToken,
    }

    impl Following for Unlucky {
        async fn follow(&mut self) -> Result<Infallible, EngineError> {
            self.connected.lock().unwrap().push((Instant::now(), self.losses));
            let Some(seconds) = self.lasting.pop() else {
                self.stop.cancel();
                return std::future::pending().await;
            };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let event = next_event(&mut futures_util::stream::empty().boxed()).await;
            Err(event.expect_err("there are no events"))
        }

        async fn lost(&mut self, error: EngineError) {
            assert_eq!(error.kind, EngineErrorKind::Unreachable);
            self.losses += 1;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_until_a_connection_lasts() {
        let (connected, stop) = (Arc::default(), CancellationToken::new());
        // They are taken from the end; 16 seconds are longer than the longest pause.
        let lasting = vec![0, 16, 0, 0, 0, 0, 0, 0, 0];
        let known = Arc::clone(&connected);
        watch(Unlucky { lasting, connected, losses: 0, stop: stop.clone() }, stop).await;
        let known = known.lock().unwrap();
        let losses: Vec<usize> = known.iter().map(|(_, losses)| *losses).collect();
        assert_eq!(losses, (0..10).collect::<Vec<_>>(), "each loss is heard of once");
        let gap = |pair: &[(Instant, usize)]| (pair[1].0 - pair[0].0).as_millis();
        let gaps: Vec<u128> = known.windows(2).map(gap).collect();
        assert_eq!(gaps[..7], [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
        // It lasted for 16 seconds, so that the pauses begin anew.
        assert_eq!(gaps[7..], [16_500, 1_000]);
    }
}
