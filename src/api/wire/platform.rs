//! Shapes what lies above workspaces. Owns the wire types of `/v1/platform/…`. Face: the types. Never tells
//! what is in a workspace.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::Timestamp;
use crate::domain::access::{Directory, Workspace};

/// A workspace, from above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// It records what lies above workspaces, and stays as it is.
    pub is_platform: bool,
    /// The owners who let others in, by name. Whom nobody owns, is given an owner from above.
    pub owners: Vec<String>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

/// What a workspace is to be; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkspacePut {
    /// What it is called from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user who owns it, by name or id; for one that nobody owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl WorkspaceView {
    /// A workspace in the words of the wire.
    pub fn of(workspace: &Workspace, directory: &Directory) -> Self {
        Self {
            id: workspace.id.to_string(),
            name: workspace.name.clone(),
            is_platform: workspace.is_platform,
            owners: directory.owners(workspace.id).map(|it| it.name.clone()).collect(),
            created_at: workspace.created_at,
        }
    }
}
