//! Shapes the records of access. Owns workspaces, tenants, users and what joins them. Face: the
//! structs. Never decides.

use serde::{Deserialize, Serialize};

use crate::base::ids::{
    CertificateId, ElevationId, HostId, TenantId, TokenId, UserId, WorkspaceId,
};
use crate::base::keyed::keyed;
use crate::base::{Digest, Name, Secret, Timestamp};
use crate::domain::redaction::SafeText;

use super::{BuiltInRole, CapabilitySet, Reach};

/// An organisation or fleet: the boundary of isolation and audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name, unique in the store.
    pub name: String,
    /// It records what lies above workspaces.
    pub is_platform: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

keyed! {
    /// Whether a tenant is worked on.
    pub enum TenantStatus: "tenant status" {
        /// It is.
        Active = "active",
        /// It is kept for its records.
        Archived = "archived",
    }
}

keyed! {
    /// What a tenant is for.
    pub enum Stage: "stage" {
        /// Trying things out.
        Development = "development",
        /// The last proof before production.
        Staging = "staging",
        /// What people depend on.
        Production = "production",
    }
}

/// A managed estate inside a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// What another system calls it.
    pub external_id: Option<String>,
    /// Its name, unique in the workspace.
    pub name: String,
    /// Whether it is worked on.
    pub status: TenantStatus,
    /// What it is for.
    pub stage: Stage,
    /// When it was made.
    pub created_at: Timestamp,
}

keyed! {
    /// Below or above workspaces.
    pub enum UserKind: "user kind" {
        /// A member of workspaces.
        Member = "member",
        /// An operator of the agent itself.
        Platform = "platform",
    }
}

/// A user of a host's operating system. The same number is somebody else on another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OsUser {
    /// The host.
    pub host_id: HostId,
    /// The user's number there.
    pub uid: u32,
}

/// A person, or a program that acts like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name, unique in the store.
    pub name: String,
    /// Their address.
    pub email: Option<String>,
    /// Below or above workspaces.
    pub kind: UserKind,
    /// A platform user for emergencies: holds nothing until they have broken the glass.
    pub is_break_glass: bool,
    /// Who connects to the socket of that host as this user of it is them.
    pub os_user: Option<OsUser>,
    /// Since when they may not come in.
    pub disabled_at: Option<Timestamp>,
    /// When they were made.
    pub created_at: Timestamp,
}

/// Joins a user to a workspace, with a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The user.
    pub user_id: UserId,
    /// A built-in role's key or the name of one of the workspace's own.
    pub role: Name,
}

/// Which tenants of a workspace a member reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The member.
    pub user_id: UserId,
    /// The tenants.
    pub reach: Reach,
}

/// A workspace's own role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Its name; never that of a built-in role.
    pub name: Name,
    /// What it allows.
    pub capabilities: CapabilitySet,
}

impl Role {
    /// What a role of this name allows; none when there is no such role.
    pub fn capabilities_of(name: Name, own: &[Self]) -> Option<CapabilitySet> {
        if let Ok(built_in) = name.as_str().parse::<BuiltInRole>() {
            return Some(built_in.capabilities());
        }
        own.iter().find(|role| role.name == name).map(|role| role.capabilities)
    }
}

/// What a program or a person far away proves itself with. The token's text is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id, part of its text.
    pub id: TokenId,
    /// What it is for, in its owner's words.
    pub label: SafeText,
    /// Whose it is: it allows nothing that they are not allowed.
    pub user_id: UserId,
    /// The workspace that it is good for; none for a platform user's.
    pub workspace_id: Option<WorkspaceId>,
    /// The most it allows.
    pub capabilities: CapabilitySet,
    /// The most it reaches.
    pub reach: Reach,
    /// Argon2id of its secret part, in PHC string form.
    pub hash: Secret<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A client certificate that stands for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its id.
    pub id: CertificateId,
    /// SHA-256 of the certificate's DER form.
    pub fingerprint: Digest,
    /// Who it stands for.
    pub user_id: UserId,
    /// When it was registered.
    pub created_at: Timestamp,
}

keyed! {
    /// Why an operator does something that needs a reason.
    pub enum ReasonKind: "reason" {
        /// Data is wrong and is put right.
        DataRepair = "DATA_REPAIR",
        /// Something is broken now.
        Incident = "INCIDENT",
        /// Somebody asked for help.
        Support = "SUPPORT",
        /// Something endangers the host or its data.
        Security = "SECURITY",
    }
}

/// Why an operator does something that needs a reason: for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For programs.
    pub reason_code: ReasonKind,
    /// For people. Never empty.
    pub reason_text: SafeText,
}

/// The glass is broken: a platform user holds everything for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elevation {
    /// Its id.
    pub id: ElevationId,
    /// Who.
    pub user_id: UserId,
    /// Why.
    pub reason: Reason,
    /// From when.
    pub started_at: Timestamp,
    /// Until when, at the longest.
    pub expires_at: Timestamp,
    /// When it was given back or taken, or that its time was over is recorded.
    pub ended_at: Option<Timestamp>,
}

impl Elevation {
    /// Whether it holds at a time.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.ended_at.is_none() && self.started_at <= at && at < self.expires_at
    }
}
