//! Starts what the catalog of runbooks offers, after a look at what it would do. Owns preflights,
//! starts and their audit events. Face: `Runbooks`, `RunRunbook`. Never starts one without the
//! digest of a preflight: the run blocks itself when that is stale.

mod backfill;
mod calls;
mod catalog;
mod execute;
#[cfg(test)]
mod file_tests;
mod host_checks;
mod retry_failed;
mod steps;
mod survey;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::projects::Asker;
use super::{Admitted, Door, Request, SubmitError, Within};
use crate::base::ids::{EventId, RunId, TenantId};
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::base::{Ambient, CanonicalError, Digest};
use crate::domain::access::{Reach, Reason, Tenant};
use crate::domain::audit::{AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::domain::runbooks::file::plan;
use crate::domain::runbooks::{
    Arguments, Ask, AskError, PlatformInitiator, Preflight, RunbookKey, Scope, Start,
};
use crate::domain::runs::{Inputs, RunType, Status};
use crate::store::{PageRequest, RunFilter, Store, StoreError};
use crate::world::runbook_files::Folder;

pub use catalog::{Catalog, Found};
pub use execute::RunRunbook;

/// What somebody wants of a runbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The runbook.
    pub key: RunbookKey,
    /// How far it is to reach.
    pub scope: Scope,
    /// The tenant; that of the host when one is wanted and none is named.
    pub tenant_id: Option<TenantId>,
    /// What it is told.
    pub arguments: Arguments,
}

/// What a preflight found, and what stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What was asked, with all that was left out.
    pub ask: Ask,
    /// What was found.
    pub preflight: Preflight,
    /// Whoever starts the runbook says this.
    pub digest: Digest,
}

/// Why a runbook was not looked at or started. Nothing is recorded then.
#[derive(Debug, thiserror::Error)]
pub enum RunbookError {
    /// It cannot be asked so.
    #[error(transparent)]
    Ask(AskError),
    /// There is no such runbook.
    #[error("there is no runbook {0}")]
    Unknown(RunbookKey),
    /// What it looks at cannot be looked at.
    #[error("the preflight of the runbook fails: {0}")]
    Look(String),
    /// There is no such tenant, as far as the runbook can tell.
    #[error("no tenant {0} that this runbook could work for")]
    UnknownTenant(TenantId),
    /// It concerns every tenant, and whoever asks does not reach all of them.
    #[error("nothing of the kind is within your reach")]
    OutOfReach,
    /// What was found has no digest.
    #[error("what was found cannot be told from anything else")]
    Digest(#[source] CanonicalError),
    /// The run was not accepted.
    #[error(transparent)]
    Submit(SubmitError),
    /// The store did not answer or take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

/// Keeps the catalog and starts runs of it. Cheap to clone.
#[derive(Clone)]
pub struct Runbooks {
    store: Arc<dyn Store>,
    door: Door,
    ambient: Ambient,
    within: Within,
    folder: Folder,
}

impl Runbooks {
    /// Behind this door, on this store, with the runbooks of this folder.
    pub fn new(store: Arc<dyn Store>, door: Door, ambient: Ambient, folder: Folder) -> Self {
        let within = Within::host(store.scope());
        Self { store, door, ambient, within, folder }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// Every runbook there is now. Files are read each time: what counts is what they say when
    /// somebody asks.
    pub fn catalog(&self) -> Catalog {
        Catalog::read(&self.folder)
    }

    /// The runbook of this key.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, key: RunbookKey) -> Result<Found, RunbookError> {
        if let Some(entry) = key.built_in() {
            return Ok(Found::BuiltIn(entry));
        }
        self.catalog().find(key).cloned().ok_or(RunbookError::Unknown(key))
    }

    /// Looks again after what runs of files waited for when the process before this one ended.
    ///
    /// # Errors
    /// When the store does not answer; they wake by themselves then, only later.
    pub async fn look_after_waiting(&self) -> Result<(), StoreError> {
        let scope = self.store.scope();
        let filter = RunFilter {
            run_types: vec![RunType::RunRunbook],
            statuses: vec![Status::Running],
            ..RunFilter::workspace(scope.workspace_id)
        };
        let mut page = PageRequest::first(PAGE_ITEMS_MAX);
        loop {
            let found = self.store.runs(filter.clone(), page).await?;
            for run in found.items.iter().filter(|run| run.host_id == Some(scope.host_id)) {
                let open = run.context.details.journal.as_ref().and_then(|it| it.open.as_ref());
                if let (Some(_), Some(other)) = (run.waiting(), open.and_then(|it| it.run_id)) {
                    self.door.wake_after(run.id, other);
                }
            }
            match found.next {
                None => return Ok(()),
                after => page = PageRequest { limit: PAGE_ITEMS_MAX, after },
            }
        }
    }

    /// Looks at what a runbook would do, and records that somebody looked.
    ///
    /// # Errors
    /// When it cannot be asked so, or the store does not answer.
    pub async fn preflight(&self, wish: &Wish, asker: &Asker) -> Result<Looked, RunbookError> {
        let found = self.find(wish.key)?;
        let ask = self.ask(&found, wish)?;
        let preflight = self.look(&found, &ask).await?;
        let definition = found.definition().map_err(RunbookError::Digest)?;
        let digest = preflight.digest(&ask, definition).map_err(RunbookError::Digest)?;
        let summary = format!(
            "{} looked at what runbook {} would do: {} of {} would change",
            asker.name, ask.key, preflight.affected_count, preflight.total_count
        );
        let kind = EventType::RunbookPreflight;
        let event = self.event(kind, &found, &ask, &preflight, asker, &summary);
        self.store.commit(Vec::new(), event.into()).await.map_err(RunbookError::Store)?;
        Ok(Looked { ask, preflight, digest })
    }

    /// Starts a runbook as it was looked at. Asked again while its run is not completed, the answer
    /// is that run.
    ///
    /// # Errors
    /// When it cannot be asked so, a reason is missing, or the run is not accepted.
    pub async fn start(
        &self,
        wish: &Wish,
        digest: Digest,
        reason: Option<Reason>,
        asker: &Asker,
    ) -> Result<Admitted, RunbookError> {
        self.start_as(wish, digest, reason, asker, None).await
    }

    /// The same, under an id of the caller's.
    async fn start_as(
        &self,
        wish: &Wish,
        digest: Digest,
        reason: Option<Reason>,
        asker: &Asker,
        run_id: Option<RunId>,
    ) -> Result<Admitted, RunbookError> {
        let found = self.find(wish.key)?;
        let ask = self.ask(&found, wish)?;
        let is_elevated = asker.platform.is_some_and(|it| it.is_elevated);
        let is_foreign = is_elevated || asker.is_above;
        let checked = ask.check_reason(found.entry(), reason.as_ref(), is_foreign);
        checked.map_err(RunbookError::Ask)?;
        let scope = self.within.scope.clone();
        let preflight = self.look(&found, &ask).await?;
        let platform_initiator = asker.above().map(|it| PlatformInitiator {
            platform_user_id: it.user_id,
            email: asker.email.clone(),
            name: asker.name.clone(),
            is_break_glass: it.is_elevated,
        });
        let run_id =
            run_id.unwrap_or_else(|| RunId::generate(&*self.ambient.clock, &*self.ambient.entropy));
        let summary = format!("{} started runbook {} ({})", asker.name, ask.key, ask.scope);
        let kind = EventType::RunbookStart;
        let mut event = self.event(kind, &found, &ask, &preflight, asker, &summary);
        event.operation_run_id = Some(run_id);
        event.context.reason = reason.as_ref().map(|reason| reason.reason_text.clone());
        let start = Start {
            definition: found.definition().map_err(RunbookError::Digest)?,
            file: found.file().map(|file| file.text.clone()),
            asker_uid: found.file().map(|_| asker.uid),
            preflight,
            // What the operator saw, also when it is not what is found by now: the run says so.
            preflight_digest: digest,
            reason,
            platform_initiator,
            runbook: ask.clone(),
        };
        let request = Request {
            tenant_id: ask.target_tenant_id,
            run_id: Some(run_id),
            events: vec![event],
            ..asker.request(&scope, Inputs::RunRunbook(Box::new(start)))
        };
        self.door.submit(request).await.map_err(RunbookError::Submit)
    }

    async fn look(&self, found: &Found, ask: &Ask) -> Result<Preflight, RunbookError> {
        let scope = &self.within.scope;
        if let Some(file) = found.file() {
            let within = steps::borders(scope, ask);
            let known = steps::look(&*self.store, &within, file, &ask.arguments).await;
            let known = known.map_err(|error| RunbookError::Look(error.message))?;
            return Ok(plan(file, &known));
        }
        let survey = survey::survey(&*self.store, scope.workspace_id, ask).await;
        let preflight = survey.map_err(RunbookError::Store)?.preflight;
        // One without anything to look at may not exist at all.
        if let Some(tenant) = ask.target_tenant_id
            && tenant != scope.tenant_id
            && preflight.total_count == 0
        {
            let known = self.store.access().await.map_err(RunbookError::Store)?;
            let is_it = |it: &Tenant| (it.workspace_id, it.id) == (scope.workspace_id, tenant);
            if !known.tenants.iter().any(is_it) {
                return Err(RunbookError::UnknownTenant(tenant));
            }
        }
        Ok(preflight)
    }

    fn ask(&self, found: &Found, wish: &Wish) -> Result<Ask, RunbookError> {
        let own = self.within.scope.tenant_id;
        let own = Some(own).filter(|_| wish.scope == Scope::SingleTenant);
        let ask = Ask::new(found.entry(), wish.scope, wish.tenant_id.or(own), &wish.arguments);
        let ask = ask.map_err(RunbookError::Ask)?;
        let is_of_host = found.entry().locks.is_of_host();
        let is_for_all = found.file().is_some_and(|file| file.works_for_all(ask.scope));
        match ask.target_tenant_id {
            // What files call are things of this host.
            _ if found.file().is_some() && !self.within.is_home => Err(RunbookError::OutOfReach),
            Some(tenant) if !self.within.reach.covers(Some(tenant)) => {
                Err(RunbookError::UnknownTenant(tenant))
            }
            _ if is_for_all && self.within.reach != Reach::All => Err(RunbookError::OutOfReach),
            None if self.within.reach != Reach::All => Err(RunbookError::OutOfReach),
            None if is_of_host && !self.within.is_home => Err(RunbookError::OutOfReach),
            _ => Ok(ask),
        }
    }

    fn event(
        &self,
        event_type: EventType,
        found: &Found,
        ask: &Ask,
        preflight: &Preflight,
        asker: &Asker,
        summary: &str,
    ) -> AuditEvent {
        let scope = &self.within.scope;
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: ask.target_tenant_id,
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Info,
            actor: asker.actor(scope),
            target: Some(Target {
                target_type: "runbook".to_owned(),
                target_id: ask.key.to_string(),
                target_label: found.entry().label.to_string(),
                workspace_id: scope.workspace_id,
                tenant_id: ask.target_tenant_id,
            }),
            operation_run_id: None,
            context: EventContext {
                runbook: Some(ask.key),
                scope: Some(ask.scope),
                affected_count: Some(preflight.affected_count),
                platform_user_id: asker.above().map(|it| it.user_id),
                platform_user_email: asker.above().and(asker.email.clone()),
                ..asker.context()
            },
            occurred_at: self.ambient.now(),
        }
    }
}
