//! Registers types of hosted runs. Owns the checks of a definition. Face: methods of `Hosted`.
//! Never changes what a run that has ended counted.

use super::{Asker, Hosted, HostedError};
use crate::base::Name;
use crate::base::limits::HOSTED_TYPES_MAX;
use crate::domain::runs::{Definition, HostedType, RunType};
use crate::store::{Conflict, StoreError};

/// What is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeRequest {
    /// The name, which has a dot.
    pub name: Name,
    /// What is fixed about its runs.
    pub definition: Definition,
}

impl Hosted {
    /// Registers a type, or replaces its definition; runs that exist go on under the new one.
    /// True when the type is new.
    ///
    /// # Errors
    /// When the name or the definition is out of bounds, or the store does not take it.
    pub async fn register(
        &self,
        request: TypeRequest,
        asker: &Asker,
    ) -> Result<(HostedType, bool), HostedError> {
        let TypeRequest { name, definition } = request;
        if !name.is_dotted() {
            return Err(HostedError::NotDotted(name));
        }
        definition.check_hosted().map_err(HostedError::Definition)?;
        let _one = self.changes.lock().await;
        let workspace_id = self.scope().workspace_id;
        let known = self.store().hosted_types(workspace_id).await?;
        let found = known.iter().find(|known| known.name == name);
        if let Some(found) = found.filter(|found| found.definition == definition) {
            return Ok((found.clone(), false));
        }
        if found.is_none() && known.len() >= HOSTED_TYPES_MAX {
            return Err(HostedError::TooManyTypes(known.len()));
        }
        let now = self.ambient().now();
        let hosted = HostedType {
            workspace_id,
            name,
            definition,
            registered_at: found.map_or(now, |found| found.registered_at),
            updated_at: now,
        };
        self.door.register(hosted.clone(), self.actor(asker)).await?;
        self.room().wake(&[hosted.run_type()]);
        Ok((hosted, found.is_none()))
    }

    /// Removes a type that no active run is of.
    ///
    /// # Errors
    /// When there is no such type, a run of it is not completed, or the store does not take it.
    pub async fn remove_type(&self, name: Name, asker: &Asker) -> Result<(), HostedError> {
        let _one = self.changes.lock().await;
        let workspace_id = self.scope().workspace_id;
        match self.door.unregister(workspace_id, name, self.actor(asker)).await {
            Err(StoreError::Conflict(Conflict::Missing { .. })) => {
                Err(HostedError::UnknownType(RunType::Hosted(name)))
            }
            other => Ok(other?),
        }
    }

    /// All types, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn types(&self) -> Result<Vec<HostedType>, HostedError> {
        Ok(self.store().hosted_types(self.scope().workspace_id).await?)
    }

    /// One type.
    ///
    /// # Errors
    /// When there is no such type or the store does not answer.
    pub async fn type_named(&self, name: Name) -> Result<HostedType, HostedError> {
        let found = self.store().hosted_type(self.scope().workspace_id, name).await?;
        found.ok_or(HostedError::UnknownType(RunType::Hosted(name)))
    }
}
