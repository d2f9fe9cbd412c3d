//! Says where somebody acts, and what lies within their reach there. Owns `Within`. Face: `Within`.
//! Never tells what is out of reach from what does not exist.

use crate::base::ids::{TenantId, WorkspaceId};
use crate::domain::access::Reach;
use crate::store::Scope;

/// A place with borders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The workspace, and the tenant that new things belong to.
    pub scope: Scope,
    /// Which tenants of the workspace are there at all.
    pub reach: Reach,
    /// It is the workspace that the host's own things are in.
    pub is_home: bool,
}

impl Within {
    /// Everything that a host uses without being asked: where the agent itself acts.
    pub fn host(scope: Scope) -> Self {
        Self { scope, reach: Reach::All, is_home: true }
    }

    /// The workspace.
    pub fn workspace(&self) -> WorkspaceId {
        self.scope.workspace_id
    }

    /// Whether a record lies within it.
    pub fn sees(&self, workspace: WorkspaceId, tenant: Option<TenantId>) -> bool {
        workspace == self.scope.workspace_id && self.reach.covers(tenant)
    }

    /// Whether things of the host that belong to no record lie within it.
    pub fn sees_host(&self) -> bool {
        self.is_home && self.reach == Reach::All
    }
}
