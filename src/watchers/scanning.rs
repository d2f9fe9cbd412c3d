//! Asks for scans of images when the configured time has come. Owns nothing but the waiting. Face: `watch_calendar`.
//! Never makes up for a time that nobody was there for: the next one comes.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::base::chain;
use crate::base::time::between;
use crate::domain::schedules::Calendar;
use crate::operations::projects::Asker;
use crate::operations::scans::Scans;

/// How often the clock is looked at: it may be set.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// The clock may not have reached what was slept for.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Watches until told to stop. Without a calendar it waits for one.
pub async fn watch_calendar(
    scans: Scans,
    asker: Asker,
    mut calendar: watch::Receiver<Option<Calendar>>,
    stop: CancellationToken,
) {
    let mut last = scans.now();
    loop {
        let next = calendar.borrow_and_update().as_ref().and_then(|it| it.next(last));
        let now = scans.now();
        if let Some(next) = next.filter(|next| *next <= now) {
            last = now;
            if between(next, now) < LOOK_INTERVAL * 2
                && let Err(error) = scans.scan(None, Vec::new(), &asker).await
            {
                error!(error = %chain(&error), "images not scanned; the next firing tries again");
            }
            continue;
        }
        let pause = next.map_or(LOOK_INTERVAL, |next| between(now, next));
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = calendar.changed() => if changed.is_err() {
                return stop.cancelled().await;
            } else {
                last = scans.now();
            },
            () = tokio::time::sleep(pause.clamp(PAUSE_MIN, LOOK_INTERVAL)) => {}
        }
    }
}
