//! Makes jobs of a run that a worker executes. Owns the way from one worker to many. Face: `Parts`,
//! `Hosted::fan_out`. Never makes the jobs of one run twice.

use std::collections::BTreeMap;

use super::admission::{NewPart, jobs};
use super::{Asker, Hosted, HostedError, Standing, check_hosted};
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::domain::runs::{CountKey, RunState};
use crate::operations::events::teller;
use crate::store::{
    AttemptRef, Change, Conflict, FanOut, JobFilter, NewJob, PageRequest, RunProgress, StoreError,
    Write,
};

/// What a worker makes of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// The jobs, in the order in which they are to begin; at least one, at most `JOBS_MAX`.
    pub jobs: Vec<NewPart>,
    /// Numbers to add to the run, such as its total.
    pub counts: Vec<(CountKey, u64)>,
}

impl Hosted {
    /// The run becomes a bulk run: its attempt ends here, workers claim the jobs, and the run ends
    /// with the last of them. Said again with the same jobs, it changes nothing and answers the
    /// same.
    ///
    /// # Errors
    /// When a job is out of bounds or there are too many, when the attempt is over in another way,
    /// when a key is not registered, or when the store does not take it.
    pub async fn fan_out(
        &self,
        at: AttemptRef,
        parts: Parts,
        asker: &Asker,
    ) -> Result<Standing, HostedError> {
        let jobs = jobs(&parts.jobs)?;
        let run = self.find(at.run_id).await?;
        check_hosted(run.run_type(), run.id)?;
        for tenant in jobs.iter().filter_map(|job| job.tenant_id) {
            if !self.within.sees(run.workspace_id, Some(tenant)) {
                return Err(HostedError::NoTenant(Some(tenant)));
            }
        }
        if run.attempt != at.attempt || run.state != RunState::Running {
            return self.fanned_out_before(&at, &jobs).await;
        }
        let progress = RunProgress { counts: parts.counts, ..RunProgress::default() };
        let write = Write::FanOut(FanOut {
            run_id: run.id,
            attempt: run.attempt,
            jobs: jobs.clone(),
            at: self.ambient().now(),
            progress,
        });
        let teller = teller(self.ambient(), self.worker_actor(asker));
        let change = Change { writes: vec![write], events: Vec::new(), teller };
        match self.store().change(change).await {
            Ok(notices) => self.noticed(notices),
            Err(StoreError::Conflict(Conflict::Fenced { .. } | Conflict::Illegal { .. })) => {
                return self.fanned_out_before(&at, &jobs).await;
            }
            Err(error) => return Err(error.into()),
        }
        if self.room().is_limited() {
            self.door.signals.look();
        }
        Ok(Standing { run: self.find(at.run_id).await?, job: None })
    }

    /// The same answer again, when this attempt made exactly these jobs.
    async fn fanned_out_before(
        &self,
        at: &AttemptRef,
        jobs: &[NewJob],
    ) -> Result<Standing, HostedError> {
        let run = self.find(at.run_id).await?;
        let total = run.jobs.map_or(0, |jobs| jobs.total());
        if run.attempt == at.attempt
            && total == jobs.len() as u64
            && self.has_jobs(at, jobs).await?
        {
            return Ok(Standing { run, job: None });
        }
        Err(self.stale(at).await?)
    }

    /// Whether these are the run's jobs, and all of them.
    async fn has_jobs(&self, at: &AttemptRef, jobs: &[NewJob]) -> Result<bool, HostedError> {
        let mut wanted: BTreeMap<&str, &NewJob> =
            jobs.iter().map(|job| (job.key.as_str(), job)).collect();
        let filter = JobFilter { run_id: at.run_id, statuses: Vec::new() };
        let mut page = PageRequest::first(PAGE_ITEMS_MAX);
        loop {
            let found = self.store().jobs(filter.clone(), page).await?;
            let differs = found.items.iter().any(|job| match wanted.remove(job.key.as_str()) {
                Some(wanted) => wanted.payload != job.payload || wanted.tenant_id != job.tenant_id,
                None => true,
            });
            match found.next {
                _ if differs => return Ok(false),
                Some(next) => page = PageRequest { limit: PAGE_ITEMS_MAX, after: Some(next) },
                None => return Ok(wanted.is_empty()),
            }
        }
    }
}
