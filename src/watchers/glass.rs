//! Sees when the time of broken glass is over. Owns when that is looked at. Face: `watch`. Never takes
//! anything from anybody: what is over holds no more, whether that is recorded or not.

use std::time::Duration;

use tracing::error;

use crate::base::chain;
use crate::base::limits::STORE_RETRY_INTERVAL;
use crate::operations::access::Access;

/// The clock may not have reached what was slept for.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Watches until it is dropped.
pub async fn watch(access: Access) {
    loop {
        let pause = access.end_elapsed().await.unwrap_or_else(|error| {
            error!(error = %chain(&error), "broken glass not looked at; trying again");
            STORE_RETRY_INTERVAL
        });
        tokio::time::sleep(pause.max(PAUSE_MIN)).await;
    }
}
