//! Shapes how logins to registries change and how they are read. Owns these writes. Face:
//! `RegistryWrite`, `ReadRegistries`. Never shows a password to a list: who pulls asks for it by id.

use crate::base::Secret;
use crate::base::ids::{LoginId, WorkspaceId};
use crate::domain::registries::{Credentials, Login};

use super::Answer;

/// One change of the logins of this host.
#[derive(Debug, Clone)]
pub enum RegistryWrite {
    /// Inserts or replaces a login. Conflicts with another one to the same registry.
    PutLogin {
        /// What everybody may know.
        login: Box<Login>,
        /// The rest, sealed before it is stored.
        password: Secret<String>,
    },
    /// Forgets a login.
    DropLogin {
        /// Its workspace.
        workspace_id: WorkspaceId,
        /// The login.
        id: LoginId,
    },
}

/// Reads the logins of this host.
pub trait ReadRegistries {
    /// Those of a workspace, by registry.
    fn registry_logins(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Login>>;
    /// What is needed to log in, unsealed.
    fn registry_credentials(&self, id: LoginId) -> Answer<'_, Option<Credentials>>;
}
