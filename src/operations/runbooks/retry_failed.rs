//! Tries the dead letters of one tenant again. Owns which of them. Face: `work`. Never tries one
//! twice: that a letter is tried, and that it was counted, is one transaction.

use super::survey::{is_wanted, letters, limit};
use crate::base::ids::RunId;
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::domain::audit::{Actor, EventType, Outcome};
use crate::domain::runbooks::{Argument, Ask};
use crate::domain::runs::{CountKey, JobEnd, OperationRun, RunState, SummaryCounts};
use crate::operations::events::{describe, run_event};
use crate::operations::{JobContext, store_failure};
use crate::store::{JobFilter, NewBulk, NewJob, PageRequest, RetryRun, StoreError, Write};

/// Tries them again.
pub(super) async fn work(job: &JobContext, ask: &Ask) -> JobEnd {
    match retry_all(job, ask).await {
        Ok(end) => end,
        Err(error) => {
            let _ = job.count(CountKey::Failed, 1);
            job.fail(store_failure(&error));
            JobEnd::Failed
        }
    }
}

async fn retry_all(job: &JobContext, ask: &Ask) -> Result<JobEnd, StoreError> {
    let tenant = job.job().tenant_id;
    let done: u64 = job.reached().and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut left = limit(ask).saturating_sub(done);
    let mut page = PageRequest::first(PAGE_ITEMS_MAX);
    loop {
        let found = job.store().runs(letters(job.run().workspace_id, ask, tenant), page).await?;
        // Without a tenant, the filter finds those of all.
        let wanted = |run: &&OperationRun| run.tenant_id == tenant && is_wanted(ask, run);
        for letter in found.items.iter().filter(wanted) {
            if job.stop().is_some() {
                return Ok(JobEnd::Cancelled);
            }
            if left == 0 {
                return Ok(JobEnd::Succeeded);
            }
            left -= 1;
            retry(job, letter, limit(ask) - left, only_failed_jobs(ask)).await?;
        }
        match found.next {
            None => return Ok(JobEnd::Succeeded),
            after => page = PageRequest { limit: PAGE_ITEMS_MAX, after },
        }
    }
}

/// Whether a bulk run goes on with the jobs that were not done.
fn only_failed_jobs(ask: &Ask) -> bool {
    ask.arguments.get("failed_jobs_only") != Some(&Argument::YesNo(false))
}

/// All jobs of a bulk run, to be made again.
async fn all_jobs(job: &JobContext, run_id: RunId) -> Result<Vec<NewJob>, StoreError> {
    let mut jobs = Vec::new();
    let mut page = PageRequest::first(PAGE_ITEMS_MAX);
    loop {
        let filter = JobFilter { run_id, statuses: Vec::new() };
        let found = job.store().jobs(filter, page).await?;
        jobs.extend(found.items.into_iter().map(|it| NewJob {
            key: it.key,
            tenant_id: it.tenant_id,
            payload: it.payload,
        }));
        match found.next {
            None => return Ok(jobs),
            after => page = PageRequest { limit: PAGE_ITEMS_MAX, after },
        }
    }
}

async fn retry(
    job: &JobContext,
    letter: &OperationRun,
    number: u64,
    failed_jobs_only: bool,
) -> Result<(), StoreError> {
    let ambient = job.ambient();
    let mut run = OperationRun {
        id: RunId::generate(&*ambient.clock, &*ambient.entropy),
        initiator_name: job.run().initiator_name.clone(),
        user_id: job.run().user_id,
        source: job.run().source,
        run_at: None,
        retried_from: Some(letter.id),
        state: RunState::Queued,
        attempt: 0,
        failures: 0,
        is_dead_letter: false,
        jobs: None,
        summary_counts: SummaryCounts::default(),
        failure_summary: Vec::new(),
        cancel_requested_at: None,
        created_at: ambient.now(),
        started_at: None,
        completed_at: None,
        ..letter.clone()
    };
    run.context.details = crate::domain::runs::Details::default();
    let summary = format!("{} was asked for again by runbook {}", describe(&run), ASKER);
    let event =
        run_event(ambient, &run, EventType::RunQueued, Outcome::Info, Actor::agent(), summary);
    // A hosted bulk run came with its jobs; one of ours makes them anew.
    let writes = match letter.jobs.is_some() && letter.run_type().is_hosted() && !failed_jobs_only {
        true => {
            let jobs = all_jobs(job, letter.id).await?;
            let bulk = NewBulk { run, jobs, supersedes: false };
            vec![Write::DismissRun { run_id: letter.id }, Write::InsertBulk(Box::new(bulk))]
        }
        false => {
            let (dead, run) = (letter.id, Box::new(run));
            vec![Write::RetryRun(RetryRun { dead, run, failed_jobs_only })]
        }
    };
    let counts = vec![(CountKey::Processed, 1), (CountKey::Updated, 1)];
    match job.advance_with(number.to_string(), counts, writes, vec![event]).await {
        Ok(()) => {
            job.look_again();
            Ok(())
        }
        // Another run asks for the same by now, or somebody dealt with the letter.
        Err(error) if is_dealt_with(&error) => {
            let counts = vec![(CountKey::Processed, 1), (CountKey::Skipped, 1)];
            job.advance(number.to_string(), counts, Vec::new()).await
        }
        Err(error) => Err(error),
    }
}

/// Who asks, as the summaries say.
const ASKER: &str = "runs.retry_failed";

fn is_dealt_with(error: &StoreError) -> bool {
    use crate::store::Conflict::{ActiveRun, NotDead};
    matches!(error.conflict(), Some(ActiveRun(_) | NotDead(_)))
}
