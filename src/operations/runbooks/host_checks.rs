//! Verifies the audit log and maintains the database of this host. Owns what is told of both. Face:
//! `verify`, `maintain`. Never repairs anything.

use crate::domain::runs::{CountKey, Failure, JobEnd, ReasonCode};
use crate::operations::{JobContext, store_failure};

/// Follows the audit log.
pub(super) async fn verify(job: &JobContext) -> JobEnd {
    let verdict = match job.store().verify_audit().await {
        Ok(verdict) => verdict,
        Err(error) => {
            job.fail(store_failure(&error));
            return JobEnd::Failed;
        }
    };
    let _ = job.count(CountKey::Processed, verdict.records);
    let _ = job.count(CountKey::Failed, verdict.breaks.len() as u64);
    for found in &verdict.breaks {
        job.fail(Failure::new(ReasonCode::AuditBroken, "audit", found.to_string()));
    }
    if verdict.breaks.is_empty() { JobEnd::Succeeded } else { JobEnd::Failed }
}

/// Checks the database and renews its statistics.
pub(super) async fn maintain(job: &JobContext) -> JobEnd {
    match job.store().maintain().await {
        Ok(()) => {
            let _ = job.count(CountKey::Processed, 1);
            JobEnd::Succeeded
        }
        Err(error) => {
            job.fail(store_failure(&error));
            JobEnd::Failed
        }
    }
}
