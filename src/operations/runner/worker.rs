//! Executes one attempt and records how it ended. Owns the last write of an attempt. Face: `work`.
//! Never gives up recording an end while the process may still do so.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::base::chain;
use crate::base::limits::STORE_RETRY_INTERVAL;
use crate::domain::audit::{self, Actor, AuditEvent, EventType, Outcome};
use crate::domain::runs::{
    AttemptEnd, CountKey, Definition, End, Failure, OperationRun, ReasonCode, RunState, Waiting,
};
use crate::operations::events::{describe, describe_end, run_event, teller};
use crate::operations::{RunContext, RunEnd, Stop, Verdict};
use crate::store::{
    Change, CompleteRun, Conflict, FailAttempt, FanOut, NewJob, RunProgress, StoreError, Write,
};

use super::Runner;

/// Executes the attempt that has begun, to its recorded end.
pub(super) async fn work(runner: Arc<Runner>, run: OperationRun, cancel: CancellationToken) {
    let Some(context) = prepared(&runner, run, cancel).await else { return };
    let end = execute(&runner, &context).await;
    let run = context.run();
    let ended = Ending::of(&runner, &context, end);
    let notices = loop {
        let change = Change {
            writes: ended.writes.clone(),
            events: ended.events.clone(),
            teller: teller(&runner.ambient, Actor::agent()),
        };
        let error = match runner.store.change(change).await {
            Ok(notices) => break notices,
            Err(error) => error,
        };
        match error {
            StoreError::Conflict(Conflict::Fenced { .. } | Conflict::Illegal { .. }) => {
                warn!(run_id = %run.id, error = %chain(&error), "the attempt was taken over");
                return;
            }
            StoreError::Conflict(_) => {
                error!(run_id = %run.id, error = %chain(&error), "the run's result is refused");
                fail_instead(&runner, &context, &error, &ended.progress).await;
                return;
            }
            _ if runner.abandon.is_cancelled() => {
                error!(run_id = %run.id, error = %chain(&error), "the run's end is not recorded");
                return;
            }
            _ => {
                error!(run_id = %run.id, error = %chain(&error), "recording the end again soon");
                tokio::select! {
                    biased;
                    () = runner.abandon.cancelled() => {}
                    () = tokio::time::sleep(STORE_RETRY_INTERVAL) => {}
                }
            }
        }
    };
    info!(run_id = %run.id, "run left its worker");
    match notices.is_empty() {
        true => runner.announce(run, ended.state).await,
        false => runner.tell(notices),
    }
}

/// What the attempt sees; none when the process stops before the store says what it is.
async fn prepared(
    runner: &Runner,
    run: OperationRun,
    cancel: CancellationToken,
) -> Option<RunContext> {
    loop {
        match runner.context(run.clone(), cancel.clone()).await {
            Ok(context) => return Some(context),
            Err(error) => {
                error!(run_id = %run.id, error = %chain(&error), "looking at the run again soon");
            }
        }
        tokio::select! {
            biased;
            () = runner.abandon.cancelled() => return None,
            () = tokio::time::sleep(STORE_RETRY_INTERVAL) => {}
        }
    }
}

async fn execute(runner: &Runner, context: &RunContext) -> RunEnd {
    let run_type = context.run().run_type();
    let Some(operation) = runner.operations.0.get(&run_type) else {
        let message = format!("this agent cannot execute runs of type {run_type}");
        context.fail(Failure::new(ReasonCode::RunTypeUnsupported, "agent", message));
        return RunEnd::ended(End::Failed);
    };
    let executed = async {
        let executed = async { operation.execute(context.clone()).await };
        AssertUnwindSafe(executed).catch_unwind().await
    };
    tokio::select! {
        biased;
        executed = executed => executed.unwrap_or_else(|_| {
            let message = "the code of this run panicked; see the agent's log, and please report it";
            context.fail(Failure::new(ReasonCode::RunPanicked, "agent", message));
            RunEnd::ended(End::Failed)
        }),
        () = timeout(context.definition()) => {
            let message = "the attempt took longer than its type allows";
            context.fail(Failure::new(ReasonCode::RunTimedOut, "agent", message));
            RunEnd::ended(End::Failed)
        }
        () = runner.abandon.cancelled() => RunEnd::stopped(Stop::Draining),
    }
}

/// Ends when an attempt has taken as long as its type allows.
pub(super) async fn timeout(definition: Option<&Definition>) {
    match definition.and_then(|definition| definition.timeout) {
        Some(longest) => tokio::time::sleep(longest).await,
        None => std::future::pending().await,
    }
}

/// Everything that the end of an attempt writes.
struct Ending {
    writes: Vec<Write>,
    events: Vec<AuditEvent>,
    /// How the run is then, when the store decides nothing further.
    state: RunState,
    progress: RunProgress,
}

impl Ending {
    fn of(runner: &Runner, context: &RunContext, end: RunEnd) -> Self {
        let progress = context.take_progress();
        let mut run = context.run().clone();
        run.context.details = context.details();
        run.failure_summary.extend(progress.failures.iter().cloned());
        let retries = context.definition().is_some_and(|it| it.retry.attempts_max > 0);
        let (write, event, state) = match end.verdict {
            Verdict::Ended(how @ (End::Failed | End::PartiallySucceeded)) if retries => {
                fails(runner, &run, how, &progress)
            }
            Verdict::FansOut(jobs) => fans_out(runner, &run, jobs, &progress),
            Verdict::Ended(how) => {
                let summary = end.summary.unwrap_or_else(|| describe_end(&run, how));
                completed(runner, &run, how, &summary, &progress)
            }
            Verdict::Waits(waiting) => waits(runner, &run, waiting, end.summary, &progress),
            Verdict::Interrupted => released(runner, &run, &progress),
        };
        let mut writes = end.writes;
        writes.push(write);
        let events = event.into_iter().chain(end.events).collect();
        Self { writes, events, state, progress }
    }
}

/// The last write, the event that tells of it unless the store tells what follows, and the state.
type Last = (Write, Option<AuditEvent>, RunState);

/// The store decides by the run's type what follows, and tells it.
fn fails(runner: &Runner, run: &OperationRun, end: End, progress: &RunProgress) -> Last {
    let write = Write::FailAttempt(FailAttempt {
        run_id: run.id,
        attempt: run.attempt,
        end,
        at: runner.ambient.now(),
        random: runner.ambient.entropy.next_u64(),
        progress: progress.clone(),
    });
    (write, None, run.state)
}

fn fans_out(
    runner: &Runner,
    run: &OperationRun,
    jobs: Vec<NewJob>,
    progress: &RunProgress,
) -> Last {
    let write = Write::FanOut(FanOut {
        run_id: run.id,
        attempt: run.attempt,
        jobs,
        at: runner.ambient.now(),
        progress: progress.clone(),
    });
    (write, None, run.state)
}

fn completed(
    runner: &Runner,
    run: &OperationRun,
    end: End,
    summary: &str,
    progress: &RunProgress,
) -> Last {
    let write = Write::CompleteRun(CompleteRun {
        run_id: run.id,
        attempt: run.attempt,
        end,
        at: runner.ambient.now(),
        progress: progress.clone(),
    });
    let event_type = audit::ended(run.run_type(), end);
    let actor = Actor::agent();
    let mut event = run_event(&runner.ambient, run, event_type, end.into(), actor, summary);
    event.context.reason_code = run.failure_summary.first().map(|failure| failure.reason_code);
    event.context.plan_digest = run.context.details.plan_digest;
    event.context.items_succeeded = counted(run, progress, CountKey::Processed);
    event.context.items_failed = counted(run, progress, CountKey::Failed);
    (write, Some(event), RunState::Completed(end))
}

/// One number with what is added to it now; none when nothing was counted.
fn counted(run: &OperationRun, progress: &RunProgress, key: CountKey) -> Option<u64> {
    let added = progress.counts.iter().filter(|(counted, _)| *counted == key);
    let sum = added.fold(run.summary_counts.get(key), |sum, (_, by)| sum.saturating_add(*by));
    (sum > 0).then_some(sum)
}

fn waits(
    runner: &Runner,
    run: &OperationRun,
    waiting: Waiting,
    summary: Option<String>,
    progress: &RunProgress,
) -> Last {
    let write = Write::WaitRun {
        run_id: run.id,
        attempt: run.attempt,
        waiting,
        at: runner.ambient.now(),
        progress: progress.clone(),
    };
    let summary =
        summary.unwrap_or_else(|| format!("{} waits: {}", describe(run), waiting.waits_for));
    let actor = Actor::agent();
    let event_type = EventType::RunWaiting;
    let event = run_event(&runner.ambient, run, event_type, Outcome::Info, actor, summary);
    (write, Some(event), RunState::Waiting(waiting))
}

fn released(runner: &Runner, run: &OperationRun, progress: &RunProgress) -> Last {
    let write = Write::InterruptAttempt {
        run_id: run.id,
        attempt: run.attempt,
        end: AttemptEnd::Released,
        at: runner.ambient.now(),
        progress: progress.clone(),
    };
    let summary = format!("{} stopped at a safe step; it goes on later", describe(run));
    let actor = Actor::agent();
    let event_type = EventType::RunInterrupted;
    let event = run_event(&runner.ambient, run, event_type, Outcome::Info, actor, summary);
    (write, Some(event), RunState::Ready)
}

/// The records that the operation wanted to change cannot change so: that is a defect of ours, and
/// it must not leave the run without an end.
async fn fail_instead(
    runner: &Runner,
    context: &RunContext,
    refused: &StoreError,
    progress: &RunProgress,
) {
    let mut progress = progress.clone();
    let message = format!("the result could not be recorded: {}", chain(refused));
    progress.failures.push(Failure::new(ReasonCode::Internal, "store", message));
    let mut run = context.run().clone();
    run.context.details = context.details();
    run.failure_summary.extend(progress.failures.iter().cloned());
    let summary = describe_end(&run, End::Failed);
    let (write, event, state) = completed(runner, &run, End::Failed, &summary, &progress);
    let change = Change {
        writes: vec![write],
        events: event.into_iter().collect(),
        teller: teller(&runner.ambient, Actor::agent()),
    };
    match runner.store.change(change).await {
        Ok(_) => runner.announce(&run, state).await,
        Err(error) => error!(run_id = %run.id, error = %chain(&error), "run left without an end"),
    }
}
