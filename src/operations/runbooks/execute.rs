//! Executes a runbook's run: looks again, then makes a job per tenant, then does each. Owns the
//! order. Face: `RunRunbook`. Never makes a job when what is found is not what somebody looked at.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::survey::survey;
use super::{backfill, host_checks, retry_failed};
use crate::base::chain;
use crate::domain::runbooks::{Preflight, RunbookKey, Start};
use crate::domain::runs::{CountKey, End, Failure, JobEnd, ReasonCode, Undo};
use crate::operations::{
    JobContext, Operation, RunContext, RunEnd, Step, StepError, store_failure,
};
use crate::store::Store;

/// What executes runs of runbooks.
pub struct RunRunbook {
    store: Arc<dyn Store>,
}

impl RunRunbook {
    /// On this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    async fn begin(&self, run: &RunContext) -> RunEnd {
        let Some(start) = run.run().context.inputs.runbook() else { return not_a_runbook(run) };
        let step = Step {
            key: "preflight".to_owned(),
            description: "look again at what the runbook would do".to_owned(),
            cause: "a preflight is good for what it found".to_owned(),
            undo: Undo::Nothing,
        };
        let look = survey(&*self.store, run.run().workspace_id, &start.runbook);
        let survey = match run.step(step, look).await {
            Ok(survey) => survey,
            Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
            Err(StepError::Failed(error) | StepError::NotRecorded(error)) => {
                run.fail(store_failure(&error));
                return RunEnd::ended(End::Failed);
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
                run.fail(Failure::new(ReasonCode::Internal, "counts", chain(&error)));
                return RunEnd::ended(End::Failed);
            }
        }
        RunEnd::fans_out(survey.jobs)
    }
}

/// Why what somebody looked at is not what is found now.
fn stale(start: &Start, found: &Preflight) -> Option<String> {
    let entry = start.runbook.key.entry().digest();
    if entry.map_or(true, |digest| digest != start.definition) {
        return Some("the runbook is another one than when it was started; look again".to_owned());
    }
    match found.digest(&start.runbook) {
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
    run.fail(Failure::new(ReasonCode::Internal, "run", message));
    RunEnd::ended(End::Failed)
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
            }
        }
        .boxed()
    }
}
