//! Hosts runs that users' programs execute: registers their types, takes their runs in, hands them
//! out and records how they end. Owns no loop but the keeper's. Face: `Hosted`. Never executes
//! anything, and never looks at the store for a claimant that waits without news.

mod admission;
mod claims;
mod controls;
mod dead_letters;
mod error;
mod fan_out;
mod keeper;
mod room;
mod types;
mod work;
mod work_ends;

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::door::detached;
use super::events::describe;
use super::projects::Asker;
use super::signals::Happened;
use super::{Door, Within};
use crate::base::Ambient;
use crate::base::ids::RunId;
use crate::base::limits::CLAIMANTS_WAITING_MAX;
use crate::domain::audit::Actor;
use crate::domain::runs::{Holder, OperationRun, RunType};
use crate::store::{Notice, Scope, Store};

pub use admission::{NewPart, NewRun};
pub use claims::ClaimRequest;
pub use controls::{ControlChange, Overview};
pub use dead_letters::RetryParts;
pub use error::{HostedError, Stale};
pub use fan_out::Parts;
pub(super) use room::Room;
pub use types::TypeRequest;
pub use work::{Report, StepReport};
pub use work_ends::{Completion, Failed, Standing, WorkOutcome};

/// The run queue for users' programs. Cheap to clone.
#[derive(Clone)]
pub struct Hosted {
    door: Door,
    boot_id: Arc<str>,
    /// Cancelled when the agent stops: claimants are sent home.
    drain: CancellationToken,
    /// One permit per claimant that may wait.
    seats: Arc<Semaphore>,
    /// One change of a control or a type at a time, so that none is lost.
    changes: Arc<Mutex<()>>,
    within: Within,
}

impl Hosted {
    pub(super) fn new(door: Door, boot_id: String, drain: CancellationToken) -> Self {
        let within = Within::host(door.store.scope());
        Self {
            within,
            door,
            boot_id: boot_id.into(),
            drain,
            seats: Arc::new(Semaphore::new(CLAIMANTS_WAITING_MAX)),
            changes: Arc::default(),
        }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// How many claimants wait now.
    pub fn waiting(&self) -> usize {
        self.room().waiting_count()
    }

    fn store(&self) -> &Arc<dyn Store> {
        &self.door.store
    }

    fn ambient(&self) -> &Ambient {
        &self.door.ambient
    }

    fn room(&self) -> &Arc<Room> {
        &self.door.signals.room
    }

    fn scope(&self) -> Scope {
        self.within.scope.clone()
    }

    /// A worker as the store knows it.
    fn holder(&self, worker: &str) -> Holder {
        Holder {
            instance: worker.to_owned(),
            host_id: Some(self.scope().host_id),
            boot_id: Some(self.boot_id.to_string()),
            is_hosted: true,
        }
    }

    /// A run within reach. Another does not exist for the caller.
    async fn find(&self, id: RunId) -> Result<OperationRun, HostedError> {
        let run = self.store().run(id).await?;
        let run = run.filter(|run| self.within.sees(run.workspace_id, run.tenant_id));
        run.ok_or(HostedError::NoRun(id))
    }

    /// Does something to its end, even when whoever asked for it leaves.
    async fn detached<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, HostedError> {
        detached(&*self.door.spawn, name, work).await.ok_or(HostedError::Closed)
    }

    /// Tells followers how a run is now.
    fn changed(&self, run: &OperationRun) {
        let what = Happened::Changed(Box::new(run.clone()));
        self.door.signals.publish(run.id, self.ambient().now(), what);
    }

    /// Tells followers, workers and claimants what a transaction decided on its way.
    fn noticed(&self, notices: Vec<Notice>) {
        if !notices.is_empty() {
            self.door.signals.tell(self.ambient().now(), notices);
        }
    }

    /// A run or one of its jobs has given back what others may wait for.
    fn freed(&self, run: &OperationRun) {
        match self.room().is_limited() {
            true => self.door.signals.look(),
            false => self.room().freed(run),
        }
    }

    fn actor(&self, asker: &Asker) -> Actor {
        asker.actor(&self.scope())
    }
}

/// The run's own words, for sentences of this folder.
fn about(run: &OperationRun) -> String {
    describe(run)
}

/// Whether users' programs may write to a run of this type.
fn check_hosted(run_type: RunType, id: RunId) -> Result<(), HostedError> {
    match run_type.is_hosted() {
        true => Ok(()),
        false => {
            let message = format!("run {id} is one of {run_type}, which the agent executes itself");
            Err(HostedError::Invalid(message))
        }
    }
}
