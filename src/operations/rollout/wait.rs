//! Waits until a container is as its dependents need it. Owns the polling and what counts as too
//! late. Face: `wait_for`, `WaitError`. Never waits for a container that has ended for good.

use std::time::Duration;

use tokio::time::Instant;

use super::engine_loss::{GivenUp, wait_for_engine};
use crate::base::limits::ERROR_LOG_LINES_MAX;
use crate::facts::{Condition, ContainerFacts, ContainerState, Health};
use crate::operations::{RunContext, Stop};
use crate::world::docker::{Engine, EngineError, LogOptions};

use futures_util::StreamExt as _;

/// First pause between two looks; doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Last pause between two looks.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Why a wait ended in vain.
#[derive(Debug, thiserror::Error)]
pub(super) enum WaitError {
    /// The run is to stop.
    #[error(transparent)]
    Stopped(Stop),
    /// The engine could not be asked.
    #[error(transparent)]
    Engine(EngineError),
    /// Somebody removed it meanwhile.
    #[error("container {name} was removed while it was waited for")]
    Gone { name: String },
    /// It ended, and not as it should.
    #[error("container {name} exited with status {exit_code}{}{}", said(.error), tail(.log))]
    Exited { name: String, exit_code: i64, error: Option<String>, log: Vec<String> },
    /// Its health check failed.
    #[error("container {name} is unhealthy{}", tail(.log))]
    Unhealthy { name: String, log: Vec<String> },
    /// It took too long.
    #[error("container {name} was not {wanted} after {} s{}", .after.as_secs(), tail(.log))]
    TooLate { name: String, wanted: &'static str, after: Duration, log: Vec<String> },
    /// It has no health check, so it can never be healthy.
    #[error("container {name} has no health check, so it cannot become healthy")]
    NoHealthcheck { name: String },
}

fn said(error: &Option<String>) -> String {
    error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
}

pub(super) fn tail(log: &[String]) -> String {
    if log.is_empty() { String::new() } else { format!("; its last words: {}", log.join(" | ")) }
}

impl From<GivenUp> for WaitError {
    fn from(given_up: GivenUp) -> Self {
        match given_up {
            GivenUp::Stopped(stop) => Self::Stopped(stop),
            GivenUp::Lost(error) => Self::Engine(error),
        }
    }
}

/// What one look at a container says.
enum Look {
    Ready,
    NotYet,
    Exited,
    Unhealthy,
    NoHealthcheck,
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    pub(super) condition: Condition,
    /// How long it may take.
    pub(super) deadline: Duration,
    /// How long it has to stay so.
    pub(super) steady: Duration,
}

/// Lets time pass.
pub(super) async fn pause(run: &RunContext, time: Duration) -> Result<(), WaitError> {
    tokio::select! {
        biased;
        stop = run.stopped() => Err(WaitError::Stopped(stop)),
        () = tokio::time::sleep(time) => Ok(()),
    }
}

/// Waits until a condition holds, and has held for as long as it has to.
pub(super) async fn wait_for(
    run: &RunContext,
    engine: &dyn Engine,
    id: &str,
    awaited: Awaited,
) -> Result<(), WaitError> {
    let Awaited { condition, deadline, steady } = awaited;
    let (mut began, mut holds_since) = (Instant::now(), None);
    let mut rest = FIRST_PAUSE;
    loop {
        let found = match engine.container(id).await {
            // Looking is repeated without harm. The wait goes on when the engine does.
            Err(error) if error.is_outcome_unknown() => {
                let away = Instant::now();
                wait_for_engine(run, engine).await?;
                // The container is not late because nobody could look at it.
                began += away.elapsed();
                continue;
            }
            found => found.map_err(WaitError::Engine)?,
        };
        let Some(found) = found else {
            return Err(WaitError::Gone { name: id.to_owned() });
        };
        let name = found.name.clone();
        match judge(&found, condition) {
            Look::Ready => {
                let since = *holds_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= steady {
                    return Ok(());
                }
            }
            Look::NotYet => holds_since = None,
            Look::NoHealthcheck => return Err(WaitError::NoHealthcheck { name }),
            Look::Unhealthy => {
                return Err(WaitError::Unhealthy { name, log: last_words(engine, id).await });
            }
            Look::Exited => {
                let (exit_code, error) = (found.exit_code, found.state_error.clone());
                let log = last_words(engine, id).await;
                return Err(WaitError::Exited { name, exit_code, error, log });
            }
        }
        if holds_since.is_none() && began.elapsed() >= deadline {
            let (wanted, log) = (wanted(condition), last_words(engine, id).await);
            return Err(WaitError::TooLate { name, wanted, after: deadline, log });
        }
        pause(run, rest).await?;
        rest = (rest * 2).min(LAST_PAUSE);
    }
}

fn wanted(condition: Condition) -> &'static str {
    match condition {
        Condition::ServiceStarted => "running",
        Condition::ServiceHealthy => "healthy",
        Condition::ServiceCompletedSuccessfully => "finished",
    }
}

fn judge(found: &ContainerFacts, condition: Condition) -> Look {
    let ended = matches!(found.state, ContainerState::Exited | ContainerState::Dead);
    match condition {
        Condition::ServiceStarted => match found.state {
            ContainerState::Running => Look::Ready,
            _ if ended && found.exit_code == 0 => Look::Ready,
            _ if ended => Look::Exited,
            _ => Look::NotYet,
        },
        Condition::ServiceHealthy => match found.health {
            _ if ended => Look::Exited,
            // What its health was before it ended says nothing about the next start.
            _ if found.state == ContainerState::Restarting => Look::NotYet,
            Health::Healthy => Look::Ready,
            Health::Unhealthy => Look::Unhealthy,
            Health::None if found.state == ContainerState::Running => Look::NoHealthcheck,
            Health::None | Health::Starting => Look::NotYet,
        },
        Condition::ServiceCompletedSuccessfully => match found.exit_code {
            0 if ended => Look::Ready,
            _ if ended => Look::Exited,
            _ => Look::NotYet,
        },
    }
}

/// The last lines of a container's output; none when they cannot be had.
pub(super) async fn last_words(engine: &dyn Engine, id: &str) -> Vec<String> {
    let options = LogOptions { tail: Some(ERROR_LOG_LINES_MAX), ..LogOptions::default() };
    let lines = engine.logs(id, &options).take(ERROR_LOG_LINES_MAX);
    let lines: Vec<_> = lines.collect().await;
    lines.into_iter().filter_map(Result::ok).map(|line| line.text).collect()
}
