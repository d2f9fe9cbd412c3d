//! Executes hooks of a container. Owns their time limit, what is told of their output, and which of
//! them are still due after a start. Face: `run_hook`, `hook_steps`, `HookError`. Never shows a
//! hook's command or variables: they may hold a secret.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::report::ActError;
use super::wait::{last_words, tail};
use crate::base::limits::{ERROR_LOG_LINES_MAX, HOOK_LINE_BYTES_MAX, HOOK_LINES_MAX, HOOK_TIMEOUT};
use crate::domain::rollout::{Action, Target};
use crate::domain::runs::{Failure, Undo};
use crate::facts::{ContainerFacts, ContainerState, Hook, HookKind, ServiceUnit};
use crate::operations::exec::exit_code;
use crate::operations::{RunContext, Step, StepError, Stop, store_failure};
use crate::world::docker::{Engine, EngineError, EngineErrorKind, ExecSession, NewExec};

/// A hook, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) kind: HookKind,
    /// Its place in the service's list, from 0.
    pub(super) index: usize,
    pub(super) service: &'a str,
    pub(super) hook: &'a Hook,
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    /// The run is to stop.
    #[error(transparent)]
    Stopped(Stop),
    /// The engine did not execute it, or went away meanwhile.
    #[error(transparent)]
    Engine(EngineError),
    /// The command said so.
    #[error("it exited with status {code}{}", tail(.log))]
    Exited { code: i64, log: Vec<String> },
    /// It took too long.
    #[error("it has not ended after {} s{}", .after.as_secs(), tail(.log))]
    TooLate { after: Duration, log: Vec<String> },
    /// There was nothing any more that it could be executed in.
    #[error("container {name} had exited with status {exit_code}{}", tail(.log))]
    NotRunning { name: String, exit_code: i64, log: Vec<String> },
}

impl HookError {
    /// Does nobody know whether it was executed, or to its end?
    pub(super) fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::Stopped(_) => true,
            Self::Engine(error) => error.is_outcome_unknown(),
            _ => false,
        }
    }

    /// Is the container not there any more?
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Engine(error) if error.kind == EngineErrorKind::NotFound)
    }
}

/// What a hook that is no step of a plan came to.
pub(in crate::operations) enum HookEnd {
    /// It was executed.
    Done,
    /// It failed; the run is not told yet.
    Failed(Failure),
    /// The run is to stop.
    Stopped(Stop),
}

/// Executes hooks of a container one after the other, from `first` on, as steps of their own, up
/// to the first that fails.
pub(in crate::operations) async fn hook_steps(
    run: &RunContext,
    engine: &dyn Engine,
    container: &ContainerFacts,
    (unit, kind, first): (&ServiceUnit, HookKind, usize),
    cause: &str,
) -> HookEnd {
    let Some(instance) = container.instance.clone() else { return HookEnd::Done };
    let hooks = unit.hooks(kind);
    for (index, hook) in hooks.iter().enumerate().skip(first) {
        let target = Target { instance: instance.clone(), id: Some(container.id.clone()) };
        let action = Action::RunHook { container: target, hook: kind, index };
        let step = Step {
            key: action.key(&container.name),
            description: action.described(&container.name),
            cause: cause.to_owned(),
            undo: Undo::Impossible,
        };
        let placed = Placed { kind, index, service: &instance.service, hook };
        let act = async {
            let ended = run_hook(run, engine, &container.id, placed).await;
            if kind == HookKind::PostStart {
                settle(run, &container.id, (index, hooks.len()), &ended);
            }
            ended.map_err(|error| ActError::of_hook(placed, error))
        };
        match run.step(step, act).await {
            Ok(()) => {}
            Err(StepError::Stopped(stop)) => return HookEnd::Stopped(stop),
            Err(StepError::Failed(error)) => {
                let stop = error.stop().map(HookEnd::Stopped);
                return stop.unwrap_or_else(|| HookEnd::Failed(error.failure(&container.name)));
            }
            Err(StepError::NotRecorded(error)) => return HookEnd::Failed(store_failure(&error)),
        }
    }
    HookEnd::Done
}

/// Notes how far the hooks of a start are, once that hook has ended so.
pub(super) fn settle(
    run: &RunContext,
    container: &str,
    (index, count): (usize, usize),
    ended: &Result<(), HookError>,
) {
    let due = match ended {
        Ok(()) => Some(index + 1).filter(|next| *next < count),
        Err(error) if error.is_outcome_unknown() => return,
        Err(_) => None,
    };
    run.describe(|told| told.owe_hooks(container, due));
}

/// Executes the hook in the container and waits for its end. What it writes is told to the run.
///
/// # Errors
/// When it cannot be executed, ends with another status than 0, or takes longer than
/// `HOOK_TIMEOUT`; the command itself may go on then.
pub(super) async fn run_hook(
    run: &RunContext,
    engine: &dyn Engine,
    container: &str,
    placed: Placed<'_>,
) -> Result<(), HookError> {
    let mut output = Output::of(run, placed);
    let executed = to_its_end(engine, container, placed.hook, &mut output);
    let ended = tokio::select! {
        biased;
        stop = run.stopped() => return Err(HookError::Stopped(stop)),
        ended = tokio::time::timeout(HOOK_TIMEOUT, executed) => ended,
    };
    output.end_line();
    let log = output.last.into();
    match ended {
        Err(_) => Err(HookError::TooLate { after: HOOK_TIMEOUT, log }),
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(code)) => Err(HookError::Exited { code, log }),
        Ok(Err(error)) if error.kind == EngineErrorKind::Conflict => {
            not_running(engine, container, placed.kind, error).await
        }
        // What is gone has nothing left to prepare; the stop finds that out as well.
        Ok(Err(error))
            if error.kind == EngineErrorKind::NotFound && placed.kind == HookKind::PreStop =>
        {
            Ok(())
        }
        Ok(Err(error)) => Err(HookError::Engine(error)),
    }
}

async fn to_its_end(
    engine: &dyn Engine,
    container: &str,
    hook: &Hook,
    output: &mut Output<'_>,
) -> Result<i64, EngineError> {
    let variables = hook.environment.iter();
    let new = NewExec {
        command: hook.command.clone(),
        user: hook.user.clone(),
        working_dir: hook.working_dir.clone(),
        environment: variables
            .map(|(name, value)| (name.clone(), value.expose().clone()))
            .collect(),
        tty: false,
        privileged: hook.privileged,
    };
    let ExecSession { id, output: mut parts, mut input } = engine.exec(container, &new).await?;
    // It reads nothing. One that has ended already has nothing left to be closed.
    let _ = input.shutdown().await;
    while let Some(part) = parts.next().await {
        output.take(&part?.bytes);
    }
    exit_code(engine, &id).await
}

/// The engine says that the container does not run. Whether it ended is a matter of its own.
async fn not_running(
    engine: &dyn Engine,
    container: &str,
    kind: HookKind,
    error: EngineError,
) -> Result<(), HookError> {
    let found = engine.container(container).await.map_err(HookError::Engine)?;
    let Some(found) = found.filter(|found| found.state != ContainerState::Running) else {
        return Err(HookError::Engine(error));
    };
    if kind == HookKind::PreStop {
        return Ok(());
    }
    let log = last_words(engine, container).await;
    Err(HookError::NotRunning { name: found.name, exit_code: found.exit_code, log })
}

/// What a hook writes, line by line.
struct Output<'a> {
    run: &'a RunContext,
    /// What stands before each line.
    place: String,
    line: Vec<u8>,
    lines: usize,
    last: VecDeque<String>,
}

impl<'a> Output<'a> {
    fn of(run: &'a RunContext, placed: Placed<'_>) -> Self {
        let place = format!("{} {}[{}]", placed.service, placed.kind.key(), placed.index);
        Self { run, place, line: Vec::new(), lines: 0, last: VecDeque::new() }
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' || self.line.len() >= HOOK_LINE_BYTES_MAX {
                self.end_line();
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.is_empty() {
            return;
        }
        self.lines += 1;
        if self.lines <= HOOK_LINES_MAX {
            self.run.log(format!("{}: {text}", self.place));
        } else if self.lines == HOOK_LINES_MAX + 1 {
            self.run.log(format!("{}: it writes more, which is not told", self.place));
        }
        if self.last.len() == ERROR_LOG_LINES_MAX {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }
}
