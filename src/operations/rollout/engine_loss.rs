//! Waits for an engine that went away. Owns how long and how often it is asked. Face:
//! `wait_for_engine`. Never repeats a call that may have acted: its caller looks and plans anew.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::limits::ENGINE_RETURN_TIMEOUT;
use crate::operations::{RunContext, Stop};
use crate::world::docker::{Engine, EngineError};

/// First pause between two attempts to reach it; doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Last pause between two attempts.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Why nobody waits any longer.
pub(super) enum GivenUp {
    /// The run is to stop.
    Stopped(Stop),
    /// It did not come back in time; this is what the last attempt said.
    Lost(EngineError),
}

/// Waits until the engine answers again.
pub(super) async fn wait_for_engine(run: &RunContext, engine: &dyn Engine) -> Result<(), GivenUp> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        // First of all a pause: an engine that answers this and not that would be asked too often.
        tokio::select! {
            biased;
            stop = run.stopped() => return Err(GivenUp::Stopped(stop)),
            () = tokio::time::sleep(pause) => {}
        }
        match engine.ping().await {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() >= ENGINE_RETURN_TIMEOUT => {
                return Err(GivenUp::Lost(error));
            }
            Err(error) => run.log(format!("waiting for the engine: {error}")),
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
