//! Takes hosted runs in. Owns the way from a request to a queued run, or to one that a waiting
//! claimant has already. Face: `NewRun`, `Hosted::enqueue`. Never takes a run of a type that is
//! not registered.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Asker, Hosted, HostedError, about};
use crate::base::ids::TenantId;
use crate::base::limits::{DOOR_RETRIES_MAX, JOBS_MAX};
use crate::base::{Name, Timestamp};
use crate::domain::audit::{EventType, Outcome};
use crate::domain::runs::{
    self, Definition, Inputs, Payload, Priority, RunType, Subject, check_key,
};
use crate::operations::events::{run_event, teller};
use crate::operations::{Admitted, Request};
use crate::store::{Change, Conflict, NewBulk, NewJob, StoreError, Write};

/// A hosted run that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Its registered type.
    pub run_type: Name,
    /// What it is to do.
    pub payload: Value,
    /// What makes it the same as another; the payload when absent.
    pub identity: Option<String>,
    /// What it locks; nothing when absent.
    pub subject: Option<String>,
    /// Over what the type says.
    pub priority: Option<i8>,
    /// When it may begin; at once when absent.
    pub run_at: Option<Timestamp>,
    /// The tenant; none for a run on the whole workspace.
    pub tenant_id: Option<TenantId>,
    /// The parts of a bulk run.
    pub jobs: Option<Vec<NewPart>>,
}

/// A part of a bulk run.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPart {
    /// Its name, unique in the run.
    pub key: String,
    /// What it is to do.
    pub payload: Value,
    /// The tenant it works for.
    pub tenant_id: Option<TenantId>,
}

impl Hosted {
    /// Takes a run in. Asking again for what is not completed returns the run that does it.
    ///
    /// # Errors
    /// When the request is out of bounds, the type is not registered, the agent stops, or the
    /// store does not take it.
    pub async fn enqueue(&self, new: NewRun, asker: &Asker) -> Result<Admitted, HostedError> {
        self.prepare(new, asker).await?.admit(self).await
    }

    /// Takes several runs in. All are checked before the first is taken; each is taken on its own.
    ///
    /// # Errors
    /// As for `enqueue`; when the store fails in the middle, some may have been taken, and asking
    /// again finds them.
    pub async fn enqueue_all(
        &self,
        new: Vec<NewRun>,
        asker: &Asker,
    ) -> Result<Vec<Admitted>, HostedError> {
        let mut prepared = Vec::with_capacity(new.len());
        for new in new {
            prepared.push(self.prepare(new, asker).await?);
        }
        let admitted = prepared.into_iter().map(|prepared| prepared.admit(self));
        futures_util::future::join_all(admitted).await.into_iter().collect()
    }

    async fn prepare(&self, new: NewRun, asker: &Asker) -> Result<Prepared, HostedError> {
        let name = new.run_type;
        if !name.is_dotted() {
            return Err(HostedError::NotDotted(name));
        }
        let workspace = self.scope().workspace_id;
        let parts = new.jobs.iter().flatten().filter_map(|part| part.tenant_id);
        for tenant in std::iter::once(new.tenant_id).chain(parts.map(Some)) {
            if !self.within.sees(workspace, tenant) {
                return Err(HostedError::NoTenant(tenant));
            }
        }
        let run_type = RunType::Hosted(name);
        let (store, ambient) = (&**self.store(), self.ambient());
        let found = self.door.definitions.find(store, ambient, workspace, run_type).await?;
        let definition = found.ok_or(HostedError::UnknownType(run_type))?;
        let wrong = |what: &str| {
            let what = what.to_owned();
            move |source| HostedError::Payload(what, source)
        };
        if let Some(identity) = &new.identity {
            check_key(identity).map_err(wrong("the identity"))?;
        }
        if let Some(subject) = &new.subject {
            check_key(subject).map_err(wrong("the subject"))?;
        }
        let jobs = new.jobs.as_ref().map(|parts| jobs(parts)).transpose()?;
        let inputs = Inputs::Hosted(runs::Hosted {
            run_type: name,
            payload: Payload::new(&new.payload).map_err(wrong("the payload"))?,
            identity: new.identity,
            subject: new.subject.as_deref().map(Subject::app),
        });
        let request = Request {
            tenant_id: new.tenant_id,
            priority: new.priority.map(Priority),
            run_at: new.run_at,
            ..asker.request(&self.scope(), inputs)
        };
        Ok(Prepared { request, definition, jobs })
    }
}

/// The parts of a bulk run, checked.
pub(super) fn jobs(parts: &[NewPart]) -> Result<Vec<NewJob>, HostedError> {
    if parts.is_empty() || parts.len() > JOBS_MAX {
        let message = format!("a bulk run has 1 to {JOBS_MAX} jobs, not {}", parts.len());
        return Err(HostedError::Invalid(message));
    }
    let mut keys = BTreeSet::new();
    let mut jobs = Vec::with_capacity(parts.len());
    for part in parts {
        let wrong = |source| HostedError::Payload(format!("the job {:?}", part.key), source);
        check_key(&part.key).map_err(wrong)?;
        if !keys.insert(part.key.as_str()) {
            let message = format!("the key {:?} names two jobs of one run", part.key);
            return Err(HostedError::Invalid(message));
        }
        jobs.push(NewJob {
            key: part.key.clone(),
            tenant_id: part.tenant_id,
            payload: Payload::new(&part.payload).map_err(wrong)?,
        });
    }
    Ok(jobs)
}

/// A run that can be taken in.
struct Prepared {
    request: Request,
    definition: Definition,
    jobs: Option<Vec<NewJob>>,
}

impl Prepared {
    async fn admit(self, hosted: &Hosted) -> Result<Admitted, HostedError> {
        let Self { request, definition, jobs } = self;
        let Some(jobs) = jobs else { return Ok(hosted.door.submit(request).await?) };
        let own = hosted.clone();
        let admitting = async move { own.admit_bulk(request, &definition, jobs).await };
        hosted.detached("enqueue", admitting).await?
    }
}

impl Hosted {
    async fn admit_bulk(
        &self,
        request: Request,
        definition: &Definition,
        jobs: Vec<NewJob>,
    ) -> Result<Admitted, HostedError> {
        let wrong = |_| HostedError::Invalid("the run cannot be told from others".to_owned());
        let run = self.door.queued(&request, definition).map_err(wrong)?;
        let id = run.id;
        let summary = format!("{} was asked for by {}", about(&run), run.initiator_name);
        let (kind, actor) = (EventType::RunQueued, request.actor.clone());
        let mut event =
            run_event(self.ambient(), &run, kind, Outcome::Info, actor.clone(), summary);
        event.context.source = Some(run.source);
        let write = NewBulk { run, jobs, supersedes: definition.supersedes };
        let change = Change {
            writes: vec![Write::InsertBulk(Box::new(write))],
            events: vec![event],
            teller: teller(self.ambient(), actor),
        };
        for _ in 0..DOOR_RETRIES_MAX {
            if !self.door.is_open() {
                return Err(HostedError::Closed);
            }
            match self.store().change(change.clone()).await {
                Ok(notices) => {
                    self.noticed(notices);
                    let run = self.find(id).await?;
                    self.changed(&run);
                    self.door.wanted(&run);
                    return Ok(Admitted::New(run));
                }
                Err(StoreError::Conflict(Conflict::ActiveRun(active))) => {
                    let run = self.find(active).await?;
                    // It may have ended meanwhile; then a new one is due.
                    if !run.state.is_completed() {
                        return Ok(Admitted::Existing(run));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(HostedError::Busy)
    }
}
