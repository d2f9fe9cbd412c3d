//! Executes a runbook's run: looks again, then makes a job per tenant, then does each. Owns the
//! order. Face: `RunRunbook`. Never makes a job when what is found is not what somebody looked at.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::steps::FileRun;
use super::survey::survey;
use super::{backfill, host_checks, retry_failed};
use crate::base::chain;
use crate::domain::runbooks::{Preflight, RunbookKey, Start};
use crate::domain::runs::{CountKey, End, Failure, JobEnd, ReasonCode, Undo};
use crate::operations::rollout::Rollout;
use crate::operations::{
    JobContext, Operation, RunContext, RunEnd, Step, StepError, store_failure,
};

/// What executes runs of runbooks.
pub struct RunRunbook {
    rollout: Rollout,
}

impl RunRunbook {
    /// On this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    /// The run of a file goes its own way.
    async fn of_file(&self, run: &RunContext, start: &Start, text: &str) -> RunEnd {
        match FileRun::new(run, start, text, &self.rollout) {
            Ok(file_run) => file_run.go().await,
            Err(diagnostics) => {
                let message =
                    format!("this version of the agent does not take the runbook: {diagnostics}");
                RunEnd::failed(run, [Failure::new(ReasonCode::InputInvalid, "runbook", message)])
            }
        }
    }

    async fn begin(&self, run: &RunContext) -> RunEnd {
        let Some(start) = run.run().context.inputs.runbook() else { return not_a_runbook(run) };
        if let Some(text) = &start.file {
            return self.of_file(run, start, text).await;
        }
        let step = Step {
            key: "preflight".to_owned(),
            description: "look again at what the runbook would do".to_owned(),
            cause: "a preflight is good for what it found".to_owned(),
            undo: Undo::Nothing,
        };
        let look = survey(&*self.rollout.store, run.run().workspace_id, &start.runbook);
        let survey = match run.step(step, look).await {
            Ok(survey) => survey,
            Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
            Err(StepError::Failed(error) | StepError::NotRecorded(error)) => {
                return RunEnd::failed(run, [store_failure(&error)]);
            }
        };
        if let Some(why) = stale(start, &survey.preflight) {
            run.fail(Failure::new(ReasonCode::PreflightStale, "preflight", why));
            return RunEnd::ended(End::Blocked);
        }
        let counts = [
            (CountKey::Total, survey.preflight.total_count),
            (
                CountKey::Tenants,
                survey.jobs.iter().filter(|it| it.tenant_id.is_some()).count() as u64,
            ),
        ];
        for (key, by) in counts {
            if let Err(error) = run.count(key, by) {
                return RunEnd::failed(
                    run,
                    [Failure::new(ReasonCode::Internal, "counts", chain(&error))],
                );
            }
        }
        RunEnd::fans_out(survey.jobs)
    }
}

/// Why what somebody looked at is not what is found now.
fn stale(start: &Start, found: &Preflight) -> Option<String> {
    let entry = start.runbook.key.built_in().and_then(|entry| entry.digest().ok());
    if entry != Some(start.definition) {
        return Some("the runbook is another one than when it was started; look again".to_owned());
    }
    match found.digest(&start.runbook, start.definition) {
        Ok(digest) if digest == start.preflight_digest => None,
        _ => Some(format!(
            "what the runbook would do is not what was looked at: {} of {} would change by now; \
             look again, then start it with the new digest",
            found.affected_count, found.total_count
        )),
    }
}

fn not_a_runbook(run: &RunContext) -> RunEnd {
    let message = "the run names no runbook: this is a defect, please report it";
    RunEnd::failed(run, [Failure::new(ReasonCode::Internal, "run", message)])
}

impl Operation for RunRunbook {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        async move { self.begin(&run).await }.boxed()
    }

    fn execute_job(&self, job: JobContext) -> BoxFuture<'_, JobEnd> {
        async move {
            let Some(start) = job.run().context.inputs.runbook() else { return JobEnd::Failed };
            match start.runbook.key {
                RunbookKey::FindingsLifecycleBackfill => backfill::work(&job).await,
                RunbookKey::RunsRetryFailed => retry_failed::work(&job, &start.runbook).await,
                RunbookKey::AuditVerify => host_checks::verify(&job).await,
                RunbookKey::StoreMaintenance => host_checks::maintain(&job).await,
                // It makes no jobs.
                RunbookKey::File(_) => JobEnd::Failed,
            }
        }
        .boxed()
    }
}
