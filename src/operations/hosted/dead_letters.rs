//! Tries dead letters again, or dismisses them. Owns the way back of a bulk run that came with its
//! jobs. Face: `RetryParts`, `Hosted::retry`, `Hosted::dismiss`. Never changes the old run's work.

use super::{Asker, Hosted, HostedError, about};
use crate::base::ids::RunId;
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::domain::audit::{EventType, Outcome};
use crate::domain::runs::OperationRun;
use crate::operations::Request;
use crate::operations::events::{run_event, teller};
use crate::store::{Change, JobFilter, NewBulk, NewJob, PageRequest, Write};

/// Which parts of a dead letter are tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RetryParts {
    /// Everything, from the beginning.
    #[default]
    All,
    /// Only the jobs that were not done.
    FailedOnly,
}

impl Hosted {
    /// Tries a dead letter again, as a new run. The old one is no dead letter from then on.
    ///
    /// # Errors
    /// When the run is no dead letter, one that asks for the same is active, or the store does not
    /// take it.
    pub async fn retry(
        &self,
        id: RunId,
        parts: RetryParts,
        asker: &Asker,
    ) -> Result<OperationRun, HostedError> {
        let dead = self.find(id).await?;
        let request = asker.request(&self.scope(), dead.context.inputs.clone());
        // A hosted bulk run came with its jobs; one of ours makes them anew.
        if parts == RetryParts::All && dead.jobs.is_some() && dead.run_type().is_hosted() {
            return self.retry_bulk(&dead, request).await;
        }
        let failed_only = parts == RetryParts::FailedOnly;
        Ok(self.door.retry(self.scope().workspace_id, id, failed_only, &request).await?)
    }

    async fn retry_bulk(
        &self,
        dead: &OperationRun,
        request: Request,
    ) -> Result<OperationRun, HostedError> {
        let (store, ambient) = (&**self.store(), self.ambient());
        let (workspace, run_type) = (dead.workspace_id, dead.run_type());
        let found = self.door.definitions.find(store, ambient, workspace, run_type).await?;
        let definition = found.ok_or(HostedError::UnknownType(run_type))?;
        let request =
            Request { tenant_id: dead.tenant_id, priority: Some(dead.priority), ..request };
        let wrong = |_| HostedError::Invalid("the run cannot be told from others".to_owned());
        let mut run = self.door.queued(&request, &definition).map_err(wrong)?;
        run.retried_from = Some(dead.id);
        let id = run.id;
        let actor = request.actor;
        let summary = format!("{} was asked for again by {}", about(&run), run.initiator_name);
        let kind = EventType::RunQueued;
        let event = run_event(ambient, &run, kind, Outcome::Info, actor.clone(), summary);
        let jobs = self.all_jobs(dead.id).await?;
        let bulk = NewBulk { run, jobs, supersedes: false };
        let writes = vec![Write::DismissRun { run_id: dead.id }, Write::InsertBulk(Box::new(bulk))];
        let change = Change { writes, events: vec![event], teller: teller(ambient, actor) };
        self.noticed(self.store().change(change).await?);
        let run = self.find(id).await?;
        self.door.wanted(&run);
        Ok(run)
    }

    /// A dead letter was dealt with otherwise.
    ///
    /// # Errors
    /// When the run is no dead letter or the store does not take it.
    pub async fn dismiss(&self, id: RunId, asker: &Asker) -> Result<OperationRun, HostedError> {
        let id = self.find(id).await?.id;
        Ok(self.door.dismiss(self.scope().workspace_id, id, self.actor(asker)).await?)
    }

    async fn all_jobs(&self, run_id: RunId) -> Result<Vec<NewJob>, HostedError> {
        let mut jobs = Vec::new();
        let mut page = PageRequest::first(PAGE_ITEMS_MAX);
        loop {
            let filter = JobFilter { run_id, statuses: Vec::new() };
            let found = self.store().jobs(filter, page).await?;
            jobs.extend(found.items.into_iter().map(|job| NewJob {
                key: job.key,
                tenant_id: job.tenant_id,
                payload: job.payload,
            }));
            match found.next {
                None => return Ok(jobs),
                after => page = PageRequest { limit: PAGE_ITEMS_MAX, after },
            }
        }
    }
}
