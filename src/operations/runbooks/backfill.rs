//! Backfills the findings of one tenant, page by page. Owns the pace. Face: `work`. Never writes a
//! page without its counts and its place: a job that is killed goes on exactly where it was.

use crate::base::ids::FindingId;
use crate::base::limits::{FINDINGS_PAGE, PAGE_RETRIES_MAX, STORE_RETRY_INTERVAL};
use crate::domain::findings::{Finding, backfill, wanted_keys};
use crate::domain::runs::{CountKey, Failure, JobEnd, ReasonCode};
use crate::operations::{JobContext, store_failure};
use crate::store::{FindingWrite, StoreError, Write};

/// What became of a page.
enum Page {
    Done(FindingId),
    Last,
}

/// Goes through a tenant's findings.
pub(super) async fn work(job: &JobContext) -> JobEnd {
    let mut after: Option<FindingId> = match job.reached().map(str::parse).transpose() {
        Ok(after) => after,
        Err(error) => return failed(job, ReasonCode::Internal, &error.to_string()),
    };
    let mut refused = 0;
    loop {
        if job.stop().is_some() {
            return JobEnd::Cancelled;
        }
        match page(job, after).await {
            Ok(Page::Last) => return JobEnd::Succeeded,
            Ok(Page::Done(last)) => (after, refused) = (Some(last), 0),
            // Somebody changed a finding of the page meanwhile: it is decided anew.
            Err(error) if is_stale(&error) && refused < PAGE_RETRIES_MAX => refused += 1,
            Err(error) if error.conflict().is_some() || refused >= PAGE_RETRIES_MAX => {
                let _ = job.count(CountKey::Failed, 1);
                job.fail(store_failure(&error));
                return JobEnd::Failed;
            }
            Err(_) => {
                refused += 1;
                tokio::time::sleep(STORE_RETRY_INTERVAL).await;
            }
        }
    }
}

fn is_stale(error: &StoreError) -> bool {
    matches!(error.conflict(), Some(crate::store::Conflict::Stale { .. }))
}

fn failed(job: &JobContext, reason: ReasonCode, message: &str) -> JobEnd {
    let _ = job.count(CountKey::Failed, 1);
    job.fail(Failure::new(reason, format!("job:{}", job.job().key), message));
    JobEnd::Failed
}

async fn page(job: &JobContext, after: Option<FindingId>) -> Result<Page, StoreError> {
    let (store, run) = (job.store(), job.run());
    let Some(tenant) = job.job().tenant_id else { return Ok(Page::Last) };
    let rows = store.findings_after(run.workspace_id, tenant, after, FINDINGS_PAGE).await?;
    let Some(last) = rows.last().map(|row| row.id) else { return Ok(Page::Last) };
    let keys = wanted_keys(&rows);
    let known = match keys.is_empty() {
        true => Vec::new(),
        false => store.findings_by_fingerprint(tenant, keys).await?,
    };
    let is_outside = |row: &Finding| rows.binary_search_by_key(&row.id, |row| row.id).is_err();
    let known: Vec<Finding> = known.into_iter().filter(is_outside).collect();
    let done = backfill(&rows, &known, run.created_at);
    let counts = vec![
        (CountKey::Processed, rows.len() as u64),
        (CountKey::Updated, done.updated),
        (CountKey::Skipped, done.skipped),
    ];
    let mut writes = Vec::new();
    if !done.changes.is_empty() {
        writes.push(Write::Finding(FindingWrite::Update(done.changes)));
    }
    job.advance(last.to_string(), counts, writes).await?;
    Ok(Page::Done(last))
}
