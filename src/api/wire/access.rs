//! Shapes who may do what. Owns the wire types of `/v1/access…`. Face: the types. Never shows what
//! proves a token: its text is in one answer, once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::hosted::given;
use crate::base::{Name, Timestamp};
use crate::domain::access::{
    Capability, CapabilitySet, Directory, Reach, Role, Stage, Tenant, Token, User, UserKind,
};

/// Who asks, and what they may do where they ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoamiView {
    /// Their name.
    pub name: String,
    /// How they proved it: `peer_credentials`, `token` or `certificate`.
    pub via: String,
    /// They may do what lies above workspaces.
    pub is_platform: bool,
    /// Where they are members.
    pub workspaces: Vec<StandingHere>,
}

/// What somebody is in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingHere {
    /// The workspace's id.
    pub workspace_id: String,
    /// Its name.
    pub workspace: String,
    /// The tenants that they reach, by name; absent for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// What they may do.
    #[schema(value_type = Vec<String>)]
    pub capabilities: CapabilitySet,
}

/// A member of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// The user's id.
    pub user_id: String,
    /// The user's name.
    pub name: String,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Their number on the host that they connect from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_uid: Option<u32>,
    /// Their role.
    pub role: String,
    /// The tenants that they reach, by name; absent for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// They may not come in.
    pub is_disabled: bool,
}

/// What a member is to be; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MemberPut {
    /// The role; a new member needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "operator")]
    pub role: Option<Name>,
    /// The tenants that they reach, by name or id; `null` for all of them. A new member reaches none.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub tenants: Option<Option<Vec<String>>>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// Their id.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `member`, or `platform` for an operator of the agent itself.
    pub kind: String,
    /// Their number on the host that they connect from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_uid: Option<u32>,
    /// They may not come in.
    pub is_disabled: bool,
    /// A platform user who holds nothing until the glass is broken.
    pub is_break_glass: bool,
}

/// What a user is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPut {
    /// `member`, or `platform` for an operator of the agent itself.
    #[serde(default = "member")]
    #[schema(value_type = String, example = "member")]
    pub kind: UserKind,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Who connects to the socket as this user of the host is them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_uid: Option<u32>,
    /// They may not come in.
    #[serde(default)]
    pub is_disabled: bool,
    /// Of a platform user: holds nothing until the glass is broken. Stays as it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_break_glass: Option<bool>,
}

fn member() -> UserKind {
    UserKind::Member
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleView {
    /// Its name.
    pub name: String,
    /// Every workspace has it, and it stays as it is.
    pub is_built_in: bool,
    /// What it allows.
    #[schema(value_type = Vec<String>)]
    pub capabilities: CapabilitySet,
}

/// What a role is to allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleGranted {
    /// What it allows.
    #[schema(value_type = Vec<String>, example = json!(["runs.view", "runs.control"]))]
    pub capabilities: Vec<Capability>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What another system calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// `active` or `archived`.
    pub status: String,
    /// `development`, `staging` or `production`.
    pub stage: String,
}

/// What a tenant is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantPut {
    /// `development`, `staging` or `production`.
    #[serde(default = "production")]
    #[schema(value_type = String, example = "production")]
    pub stage: Stage,
    /// What another system calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

fn production() -> Stage {
    Stage::Production
}

/// A token, without what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// Whose it is, by name.
    pub user: String,
    /// The most it allows.
    #[schema(value_type = Vec<String>)]
    pub capabilities: CapabilitySet,
    /// The most it reaches, by the tenants' names; absent for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// From when on it is worth nothing.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub revoked_at: Option<Timestamp>,
}

/// A token that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenNew {
    /// What it is for.
    pub label: String,
    /// Whose it is: a member, by name or id.
    pub user: String,
    /// The most it allows; all that its user may do when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub capabilities: Option<Vec<Capability>>,
    /// The most it reaches, by the tenants' names or ids; all that its user reaches when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// How many seconds it lives; 90 days when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_seconds: Option<u64>,
}

/// A token that was made, with its text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenMade {
    /// Its text, which is told this once: `Authorization: Bearer …`.
    pub token: String,
    /// What is kept of it.
    pub details: TokenView,
}

/// The names of what is reached; none for all.
pub fn reached(directory: &Directory, reach: &Reach) -> Option<Vec<String>> {
    let Reach::Some(tenants) = reach else { return None };
    let names: BTreeMap<_, _> = directory.tenants.iter().map(|it| (it.id, &it.name)).collect();
    let name = |id| names.get(id).map_or_else(|| ToString::to_string(id), ToString::to_string);
    Some(tenants.iter().map(name).collect())
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name.clone(),
            email: user.email.clone(),
            kind: user.kind.to_string(),
            os_uid: user.os_user.map(|it| it.uid),
            is_disabled: user.disabled_at.is_some(),
            is_break_glass: user.is_break_glass,
        }
    }
}

impl From<&Role> for RoleView {
    fn from(role: &Role) -> Self {
        let (name, capabilities) = (role.name.to_string(), role.capabilities);
        Self { name, is_built_in: false, capabilities }
    }
}

impl From<&Tenant> for TenantView {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name.clone(),
            external_id: tenant.external_id.clone(),
            status: tenant.status.to_string(),
            stage: tenant.stage.to_string(),
        }
    }
}

impl TokenView {
    /// A token in the words of the wire.
    pub fn of(token: &Token, directory: &Directory) -> Self {
        let user = directory.users.iter().find(|it| it.id == token.user_id);
        Self {
            id: token.id.to_string(),
            label: token.label.to_string(),
            user: user.map_or_else(|| token.user_id.to_string(), |it| it.name.clone()),
            capabilities: token.capabilities,
            tenants: reached(directory, &token.reach),
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}
