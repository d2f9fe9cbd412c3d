//! Holds parts of the queue back. Owns pauses and limits. Face: `Ledger::check_limits`, `Held`.
//! Never stops what has begun.

use crate::base::ids::{TenantId, WorkspaceId};
use crate::domain::runs::{OperationRun, QueueScope, RunType};
use crate::store::Conflict;

use super::Ledger;

/// A part of the queue from which nothing can be taken now.
pub(in crate::store) type Held = (WorkspaceId, QueueScope);

impl Ledger {
    /// Whether anything at all holds parts of the queue back.
    pub(in crate::store) fn has_controls(&self) -> bool {
        self.controls.as_ref().is_some_and(|controls| !controls.is_empty())
    }

    /// The parts with a limit, to be counted.
    pub(in crate::store) fn limited(&self) -> Vec<Held> {
        let controls = self.controls.iter().flatten();
        let limited = controls.filter(|control| control.concurrency_max.is_some());
        limited.map(|control| (control.workspace_id, control.scope)).collect()
    }

    /// How many attempts of a part of the queue are open, as far as somebody asked.
    pub(in crate::store) fn busy(&self, held: &Held) -> Option<u64> {
        self.busy.get(held).copied()
    }

    /// The parts that are paused, and those that are full.
    pub(in crate::store) fn held(&self) -> Vec<Held> {
        let controls = self.controls.iter().flatten();
        let held = controls.filter(|control| {
            let busy = self.busy.get(&(control.workspace_id, control.scope)).copied().unwrap_or(0);
            control.is_paused || control.concurrency_max.is_some_and(|max| busy >= u64::from(max))
        });
        held.map(|control| (control.workspace_id, control.scope)).collect()
    }

    /// Whether a run, or a job of it for this tenant, may begin.
    pub(super) fn check_limits(
        &self,
        run: &OperationRun,
        tenant: Option<TenantId>,
    ) -> Result<(), Conflict> {
        let is_held = self.controls.iter().flatten().any(|control| {
            let busy = self.busy.get(&(control.workspace_id, control.scope)).copied().unwrap_or(0);
            let is_full = control.concurrency_max.is_some_and(|max| busy >= u64::from(max));
            control.covers(run.workspace_id, tenant, run.run_type())
                && (control.is_paused || is_full)
        });
        match is_held {
            true => Err(Conflict::HeldBack(run.id)),
            false => Ok(()),
        }
    }

    /// One more of this kind is being executed.
    pub(super) fn count_busy(
        &mut self,
        workspace: WorkspaceId,
        tenant: Option<TenantId>,
        run_type: RunType,
    ) {
        for control in self.controls.iter().flatten() {
            if control.covers(workspace, tenant, run_type)
                && let Some(busy) = self.busy.get_mut(&(control.workspace_id, control.scope))
            {
                *busy += 1;
            }
        }
    }
}
