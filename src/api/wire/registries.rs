//! The wire form of logins to registries. Owns the shapes. Face: `RegistryLoginView`,
//! `RegistryLoginPut`. Never shows a password: it goes in and does not come out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::Timestamp;
use crate::domain::registries::Login;

/// How the agent is to log in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryLoginPut {
    /// As whom.
    #[schema(example = "ci")]
    pub username: String,
    /// The password, or a token in its place; kept sealed.
    pub password: String,
}

impl std::fmt::Debug for RegistryLoginPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryLoginPut").finish_non_exhaustive()
    }
}

/// That the agent is logged in to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistryLoginView {
    /// Its id, a UUID.
    pub id: String,
    /// The registry's host, with its port where it has one.
    #[schema(example = "registry.example.org:5000")]
    pub registry: String,
    /// As whom.
    pub username: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<&Login> for RegistryLoginView {
    fn from(login: &Login) -> Self {
        Self {
            id: login.id.to_string(),
            registry: login.registry.to_string(),
            username: login.username.clone(),
            created_at: login.created_at,
            updated_at: login.updated_at,
        }
    }
}
