//! Logs the agent in to registries of images. Owns the check with the registry and the audit events.
//! Face: `Registries`. Never keeps a login that the registry refused, and never shows a password.

use std::sync::Arc;

use super::Within;
use super::projects::Asker;
use crate::base::ids::{EventId, LoginId};
use crate::base::limits::REGISTRY_LOGINS_MAX;
use crate::base::{Ambient, Secret};
use crate::domain::audit::{AuditEvent, AuditEvents, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::domain::registries::{Credentials, Login, LoginError, RegistryHost, check_login};
use crate::store::{RegistryWrite, Store, StoreError, Write};
use crate::world::docker::{EngineError, EngineErrorKind, SharedEngine};

/// Why the agent is not logged in or out. Nothing is kept then.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no login to this registry.
    #[error("the agent is not logged in to registry {0}")]
    Unknown(RegistryHost),
    /// There are too many.
    #[error("a workspace has at most {REGISTRY_LOGINS_MAX} logins to registries")]
    TooMany,
    /// No registry could take it.
    #[error(transparent)]
    Login(LoginError),
    /// The registry does not take it.
    #[error("registry {registry} does not let {username} in: {message}")]
    Refused {
        /// The registry.
        registry: RegistryHost,
        /// As whom.
        username: String,
        /// What it said.
        message: String,
    },
    /// The registry or the engine did not answer.
    #[error(transparent)]
    Engine(EngineError),
    /// The store did not answer or take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

/// Logs in to registries and out again. Cheap to clone.
#[derive(Clone)]
pub struct Registries {
    store: Arc<dyn Store>,
    engine: SharedEngine,
    ambient: Ambient,
    within: Within,
}

impl Registries {
    /// On this store, through this engine.
    pub fn new(store: Arc<dyn Store>, engine: SharedEngine, ambient: Ambient) -> Self {
        let within = Within::host(store.scope());
        Self { store, engine, ambient, within }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// All logins of this host, by registry.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn logins(&self) -> Result<Vec<Login>, RegistryError> {
        let workspace = self.within.workspace();
        self.store.registry_logins(workspace).await.map_err(RegistryError::Store)
    }

    /// Asks the registry whether it takes the credentials, and keeps them when it does.
    ///
    /// # Errors
    /// When the registry refuses or does not answer, or the store does not take it.
    pub async fn login(
        &self,
        registry: RegistryHost,
        username: String,
        password: Secret<String>,
        asker: &Asker,
    ) -> Result<Login, RegistryError> {
        let credentials = Credentials { registry, username, password };
        check_login(&credentials).map_err(RegistryError::Login)?;
        let known = self.logins().await?;
        let old = known.iter().find(|login| login.registry == credentials.registry);
        if old.is_none() && known.len() >= REGISTRY_LOGINS_MAX {
            return Err(RegistryError::TooMany);
        }
        let checked = self.engine.check_login(&credentials).await;
        let now = self.ambient.now();
        let Credentials { registry, username, password } = credentials;
        let login = Login {
            id: match old {
                Some(old) => old.id,
                None => LoginId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            },
            workspace_id: self.within.workspace(),
            registry,
            username,
            created_at: old.map_or(now, |old| old.created_at),
            updated_at: now,
        };
        if let Err(error) = checked {
            return Err(self.refused(&login, error, asker).await);
        }
        let summary = format!(
            "{} logged the agent in to registry {} as {}",
            asker.name, login.registry, login.username
        );
        let event =
            self.event(EventType::RegistryLoginPut, &login, Outcome::Success, asker, summary);
        let write = RegistryWrite::PutLogin { login: Box::new(login.clone()), password };
        let committed = self.store.commit(vec![Write::Registry(write)], event.into()).await;
        committed.map_err(RegistryError::Store)?;
        Ok(login)
    }

    /// What a registry's refusal is called. It is recorded: somebody may be guessing.
    async fn refused(&self, login: &Login, error: EngineError, asker: &Asker) -> RegistryError {
        if error.kind != EngineErrorKind::Denied {
            return RegistryError::Engine(error);
        }
        let Login { registry, username, .. } = login;
        let summary = format!("Registry {registry} did not let {} in as {username}", asker.name);
        let refused = EventType::RegistryLoginRefused;
        let event = self.event(refused, login, Outcome::Failed, asker, summary);
        match self.store.commit(Vec::new(), AuditEvents::from(event)).await {
            Ok(()) => RegistryError::Refused {
                registry: registry.clone(),
                username: username.clone(),
                message: error.message,
            },
            Err(error) => RegistryError::Store(error),
        }
    }

    /// Forgets how to log in to a registry.
    ///
    /// # Errors
    /// When the agent is not logged in to it, or the store does not take it.
    pub async fn logout(&self, registry: RegistryHost, asker: &Asker) -> Result<(), RegistryError> {
        let found = self.logins().await?.into_iter().find(|login| login.registry == registry);
        let login = found.ok_or(RegistryError::Unknown(registry))?;
        let summary = format!("{} logged the agent out of registry {}", asker.name, login.registry);
        let removed = EventType::RegistryLoginRemoved;
        let event = self.event(removed, &login, Outcome::Success, asker, summary);
        let drop = RegistryWrite::DropLogin { workspace_id: login.workspace_id, id: login.id };
        let committed = self.store.commit(vec![Write::Registry(drop)], event.into()).await;
        committed.map_err(RegistryError::Store)
    }

    fn event(
        &self,
        event_type: EventType,
        login: &Login,
        outcome: Outcome,
        asker: &Asker,
        summary: String,
    ) -> AuditEvent {
        let scope = &self.within.scope;
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: None,
            event_type,
            summary: SafeText::new(summary),
            outcome,
            actor: asker.actor(scope),
            target: Some(Target {
                target_type: "registry_login".to_owned(),
                target_id: login.id.to_string(),
                target_label: login.registry.to_string(),
                workspace_id: scope.workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context: EventContext { source: Some(asker.source), ..EventContext::default() },
            occurred_at: self.ambient.now(),
        }
    }
}
