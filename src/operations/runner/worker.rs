//! Executes one attempt and records how it ended. Owns the last write of an attempt. Face: `work`.
//! Never gives up recording an end while the process may still do so.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tracing::{error, info, warn};

use crate::base::chain;
use crate::base::limits::STORE_RETRY_INTERVAL;
use crate::domain::audit::{self, Actor, AuditEvents, EventType, Outcome};
use crate::domain::runs::{
    AttemptEnd, CountKey, End, Failure, OperationRun, ReasonCode, RunState, Waiting,
};
use crate::operations::events::{describe, describe_end, run_event};
use crate::operations::{RunContext, RunEnd, Stop, Verdict};
use crate::store::{CompleteRun, Conflict, RunProgress, StoreError, Write};

use super::Runner;

/// Executes the attempt that `context` stands for, to its recorded end.
pub(super) async fn work(runner: Arc<Runner>, context: RunContext) {
    let end = execute(&runner, &context).await;
    let run = context.run();
    let ended = Ending::of(&runner, &context, end);
    loop {
        let committed = runner.store.commit(ended.writes.clone(), ended.events.clone()).await;
        let error = match committed {
            Ok(()) => break,
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
    }
    info!(run_id = %run.id, outcome = %ended.state.outcome(), "run left its worker");
    runner.announce(run, ended.state).await;
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
        () = runner.abandon.cancelled() => RunEnd::stopped(Stop::Draining),
    }
}

/// Everything that the end of an attempt writes.
struct Ending {
    writes: Vec<Write>,
    events: AuditEvents,
    state: RunState,
    progress: RunProgress,
}

impl Ending {
    fn of(runner: &Runner, context: &RunContext, end: RunEnd) -> Self {
        let progress = context.take_progress();
        let mut run = context.run().clone();
        run.context.details = context.details();
        run.failure_summary.extend(progress.failures.iter().cloned());
        let (write, event, state) = match end.verdict {
            Verdict::Ended(how) => {
                let summary = end.summary.unwrap_or_else(|| describe_end(&run, how));
                completed(runner, &run, how, &summary, &progress)
            }
            Verdict::Waits(waiting) => waits(runner, &run, waiting, end.summary, &progress),
            Verdict::Interrupted => released(runner, &run, &progress),
        };
        let mut writes = end.writes;
        writes.push(write);
        let events = AuditEvents::from(event).and_all(end.events);
        Self { writes, events, state, progress }
    }
}

type Last = (Write, audit::AuditEvent, RunState);

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
    (write, event, RunState::Completed(end))
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
    (write, event, RunState::Waiting(waiting))
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
    (write, event, RunState::Ready)
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
    match runner.store.commit(vec![write], event.into()).await {
        Ok(()) => runner.announce(&run, state).await,
        Err(error) => error!(run_id = %run.id, error = %chain(&error), "run left without an end"),
    }
}
