//! Finds what a run logs in to a registry with. Owns the record of that use. Face:
//! `Rollout::credentials`. Never hands a password out before it is recorded that a run uses it.

use super::Rollout;
use crate::domain::audit::{Actor, AuditEvents, EventType, Outcome, Target};
use crate::domain::registries::{Credentials, Login, registry_of};
use crate::operations::{RunContext, run_event};
use crate::store::{AuditFilter, PageRequest, StoreError};

impl Rollout {
    /// What the image's registry is to be shown, when the run's workspace is logged in to it. The audit
    /// log tells once of each run that it used a login.
    pub async fn credentials(
        &self,
        run: &RunContext,
        image: &str,
    ) -> Result<Option<Credentials>, StoreError> {
        let Some(registry) = registry_of(image) else { return Ok(None) };
        let logins = self.store.registry_logins(run.run().workspace_id).await?;
        let login = logins.into_iter().find(|login| login.registry == registry);
        match login {
            Some(login) => self.used(run, &login).await,
            None => Ok(None),
        }
    }

    /// What the registries are to be shown that the run's workspace is logged in to: which of them a
    /// Dockerfile names, nobody knows before it is built.
    pub(super) async fn all_credentials(
        &self,
        run: &RunContext,
    ) -> Result<Vec<Credentials>, StoreError> {
        let mut all = Vec::new();
        for login in self.store.registry_logins(run.run().workspace_id).await? {
            all.extend(self.used(run, &login).await?);
        }
        Ok(all)
    }

    /// What one logs in with, after it is recorded that the run does.
    async fn used(
        &self,
        run: &RunContext,
        login: &Login,
    ) -> Result<Option<Credentials>, StoreError> {
        // Two services of a run may fetch at the same moment: the second one waits for the record.
        let mut used = run.logins_used().lock().await;
        if !used.contains(&login.id) {
            self.note_use(run, login).await?;
            used.insert(login.id);
        }
        drop(used);
        self.store.registry_credentials(login.id).await
    }

    async fn note_use(&self, run: &RunContext, login: &Login) -> Result<(), StoreError> {
        let run_of = run.run();
        let id = login.id.to_string();
        let filter = AuditFilter {
            event_types: vec![EventType::RegistryLoginUsed],
            target_id: Some(id.clone()),
            operation_run_id: Some(run_of.id),
            ..AuditFilter::workspace(run_of.workspace_id)
        };
        if !self.store.audit(filter, PageRequest::first(1)).await?.items.is_empty() {
            return Ok(());
        }
        let summary = format!("logs in to registry {} as {}", login.registry, login.username);
        let mut event = run_event(
            run.ambient(),
            run_of,
            EventType::RegistryLoginUsed,
            Outcome::Info,
            Actor::agent(),
            summary,
        );
        event.target = Some(Target {
            target_type: "registry_login".to_owned(),
            target_id: id,
            target_label: login.registry.to_string(),
            workspace_id: run_of.workspace_id,
            tenant_id: None,
        });
        self.store.commit(Vec::new(), AuditEvents::from(event)).await
    }
}
