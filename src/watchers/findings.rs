//! Sees what time does to findings. Owns when that is looked at. Face: `watch`. Never decides: what is
//! over, overdue or old, `operations::findings` knows.

use std::time::Duration;

use tracing::{error, info};

use crate::base::chain;
use crate::base::limits::{FINDINGS_LOOK_INTERVAL, STORE_RETRY_INTERVAL};
use crate::operations::findings::{Findings, Tidied};

/// Between two pages of one round: others get their turn.
const PAGE_PAUSE: Duration = Duration::from_millis(100);

/// Watches until it is dropped. `keep_finished` is how long findings are kept that are over.
pub async fn watch(findings: Findings, keep_finished: Duration) {
    loop {
        let pause = match findings.tidy(keep_finished).await {
            Ok(done) => {
                if done != Tidied::default() {
                    let Tidied { expired, overdue, purged, .. } = done;
                    info!(expired, overdue, purged, "findings tidied up");
                }
                if done.is_cut { PAGE_PAUSE } else { FINDINGS_LOOK_INTERVAL }
            }
            Err(error) => {
                error!(error = %chain(&error), "findings not looked at; trying again");
                STORE_RETRY_INTERVAL
            }
        };
        tokio::time::sleep(pause).await;
    }
}
