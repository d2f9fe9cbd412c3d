//! Sees when the folder of policies changes. Owns how often that is looked at. Face: `watch`. Never reads a
//! policy: who keeps them does.

use std::time::Duration;

use crate::operations::policies::PolicyKeeper;

/// Two looks that see the same after a change let it count.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Watches until it is dropped.
pub async fn watch(keeper: PolicyKeeper) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        keeper.look().await;
    }
}
