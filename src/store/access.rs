//! Shapes how the records of access change and how they are read. Owns the writes and the reading
//! face. Face: `AccessWrite`, `ReadAccess`. Never hands out a part: who decides by it sees all of it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::base::ids::{CertificateId, ElevationId, TenantId, TokenId, UserId, WorkspaceId};
use crate::base::limits::{ACCESS_RECORDS_MAX, TOKEN_KEPT};
use crate::base::{Name, Secret, Timestamp};
use crate::domain::access::{
    Certificate, Directory, Elevation, Entitlement, Membership, OsUser, Reach, Reason, Role,
    Tenant, Token, User, Workspace,
};

use super::{Answer, Conflict};

/// One change of who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessWrite {
    /// Inserts or renames a workspace. Conflicts with another of the same name.
    PutWorkspace(Workspace),
    /// Inserts or replaces a tenant. Conflicts with another of the same name in its workspace.
    PutTenant(Tenant),
    /// Inserts or replaces a user. Conflicts with another of the same name or number on a host, of
    /// the same kind; and as `PutMember` does when the user may not come in any more.
    PutUser(Box<User>),
    /// Makes a user a member of a workspace, or changes their role and reach. Conflicts with a role
    /// that does not exist, and when the workspace would have no owner who reaches everything.
    PutMember {
        /// The workspace, the user, the role.
        membership: Membership,
        /// The tenants they reach.
        reach: Reach,
    },
    /// A user is no member any more. Conflicts as `PutMember` does.
    DropMember {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The user.
        user_id: UserId,
    },
    /// Inserts or replaces a workspace's own role.
    PutRole(Role),
    /// Forgets one. Conflicts while a member has it.
    DropRole {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The role.
        name: Name,
    },
    /// Inserts a token, and forgets those that were worth nothing `TOKEN_KEPT` ago.
    InsertToken(Box<Token>),
    /// A token is worth nothing any more. What was revoked stays so.
    RevokeToken {
        /// The token.
        id: TokenId,
        /// When.
        at: Timestamp,
    },
    /// Inserts a client certificate. Conflicts with another of the same fingerprint.
    InsertCertificate(Certificate),
    /// Forgets one.
    DropCertificate {
        /// The certificate.
        id: CertificateId,
    },
    /// The glass is broken.
    InsertElevation(Box<Elevation>),
    /// The time of broken glass was over, and that is recorded. Conflicts when it is not over yet, or
    /// when its end is recorded already.
    EndElapsed {
        /// Which.
        id: ElevationId,
        /// When somebody looked.
        at: Timestamp,
    },
    /// What a platform user holds by broken glass ends.
    EndElevations {
        /// Who.
        user_id: UserId,
        /// When.
        at: Timestamp,
    },
}

/// Reads who may do what.
pub trait ReadAccess {
    /// All of it, as it is at one moment.
    fn access(&self) -> Answer<'_, Directory>;
}

/// Nobody else could give the workspace a member again.
pub(super) fn no_owner() -> Conflict {
    Conflict::Used { noun: "membership", by: "the workspace, as its last owner".to_owned() }
}

/// There are too many already.
pub(super) fn full(noun: &'static str) -> Conflict {
    Conflict::Used { noun, by: format!("{ACCESS_RECORDS_MAX} others, which is the most") }
}

/// Tokens that were worth nothing then are not told of any more.
pub(super) fn forget_before(now: Timestamp) -> Timestamp {
    now.saturating_sub(TOKEN_KEPT).unwrap_or(Timestamp::MIN)
}

/// Puts the picture together from records as both dialects tell them: a kind, and the columns as a
/// JSON list.
#[derive(Debug, Default)]
pub(super) struct Picture {
    directory: Directory,
    reaches: BTreeMap<(WorkspaceId, UserId), Reach>,
    entitled: Vec<(WorkspaceId, UserId, TenantId)>,
}

impl Picture {
    /// Adds a record.
    ///
    /// # Errors
    /// When it is not what a record of this kind looks like.
    pub(super) fn add(&mut self, kind: &str, columns: &str) -> Result<(), serde_json::Error> {
        let all = &mut self.directory;
        match kind {
            "workspace" => {
                let (id, name, is_platform, at): (_, _, i64, _) = read(columns)?;
                let (is_platform, created_at) = (is_platform != 0, time(at)?);
                all.workspaces.push(Workspace { id, name, is_platform, created_at });
            }
            "tenant" => {
                let (id, workspace_id, external_id, name, status, stage, at) = read(columns)?;
                let created_at = time(at)?;
                let tenant =
                    Tenant { id, workspace_id, external_id, name, status, stage, created_at };
                all.tenants.push(tenant);
            }
            "user" => all.users.push(user(columns)?),
            "membership" => {
                let (workspace_id, user_id, role, reaches_all): (_, _, _, i64) = read(columns)?;
                let reach = if reaches_all == 0 { Reach::Some([].into()) } else { Reach::All };
                self.reaches.insert((workspace_id, user_id), reach);
                all.memberships.push(Membership { workspace_id, user_id, role });
            }
            "entitlement" => self.entitled.push(read(columns)?),
            "role" => {
                let (workspace_id, name, capabilities) = read(columns)?;
                all.roles.push(Role { workspace_id, name, capabilities });
            }
            "token" => all.tokens.push(token(columns)?),
            "certificate" => {
                let (id, fingerprint, user_id, at) = read(columns)?;
                let created_at = time(at)?;
                all.certificates.push(Certificate { id, fingerprint, user_id, created_at });
            }
            _ => {
                let (id, user_id, reason_code, reason_text, started, expires, ended) =
                    read(columns)?;
                let reason = Reason { reason_code, reason_text };
                let (started_at, expires_at) = (time(started)?, time(expires)?);
                let ended_at = optional_time(ended)?;
                let elevation = Elevation { id, user_id, reason, started_at, expires_at, ended_at };
                all.elevations.push(elevation);
            }
        }
        Ok(())
    }

    /// All of it, in order.
    pub(super) fn finish(self) -> Directory {
        let Self { mut directory, mut reaches, entitled } = self;
        for (workspace, user, tenant) in entitled {
            if let Some(Reach::Some(tenants)) = reaches.get_mut(&(workspace, user)) {
                tenants.insert(tenant);
            }
        }
        let entitlement =
            |((workspace_id, user_id), reach)| Entitlement { workspace_id, user_id, reach };
        directory.entitlements = reaches.into_iter().map(entitlement).collect();
        directory.workspaces.sort_by_key(|it| (it.created_at, it.id));
        directory.tenants.sort_by_key(|it| (it.created_at, it.id));
        directory.users.sort_by_key(|it| (it.created_at, it.id));
        directory.memberships.sort_by_key(|it| (it.workspace_id, it.user_id));
        directory.roles.sort_by_key(|it| (it.workspace_id, it.name.to_string()));
        directory.tokens.sort_by_key(|it| (it.created_at, it.id));
        directory.certificates.sort_by_key(|it| (it.created_at, it.id));
        directory.elevations.sort_by_key(|it| (it.started_at, it.id));
        directory
    }
}

fn user(columns: &str) -> Result<User, serde_json::Error> {
    let (id, name, email, kind, is_break_glass, host, uid, disabled, at): (
        _,
        _,
        _,
        _,
        i64,
        Option<_>,
        Option<u32>,
        _,
        _,
    ) = read(columns)?;
    Ok(User {
        id,
        name,
        email,
        kind,
        is_break_glass: is_break_glass != 0,
        os_user: host.zip(uid).map(|(host_id, uid)| OsUser { host_id, uid }),
        disabled_at: optional_time(disabled)?,
        created_at: time(at)?,
    })
}

fn token(columns: &str) -> Result<Token, serde_json::Error> {
    let (id, label, user_id, workspace_id, capabilities, reach, hash, created, expires, revoked): (
        _,
        _,
        _,
        _,
        _,
        _,
        String,
        _,
        _,
        _,
    ) = read(columns)?;
    Ok(Token {
        id,
        label,
        user_id,
        workspace_id,
        capabilities,
        reach,
        hash: Secret::new(hash),
        created_at: time(created)?,
        expires_at: time(expires)?,
        revoked_at: optional_time(revoked)?,
    })
}

fn read<T: DeserializeOwned>(columns: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(columns)
}

fn time(nanos: i64) -> Result<Timestamp, serde_json::Error> {
    Timestamp::from_nanosecond(i128::from(nanos))
        .map_err(<serde_json::Error as serde::de::Error>::custom)
}

fn optional_time(nanos: Option<i64>) -> Result<Option<Timestamp>, serde_json::Error> {
    nanos.map(time).transpose()
}
