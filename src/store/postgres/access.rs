//! Keeps who may do what. Owns the tables of users, members, roles, tokens. Face: `write` and
//! `ReadAccess`. Never leaves a workspace without an owner who can let others in.

use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::Fault;
use super::rows::{nanos, optional_nanos, text, to_json, unsigned};
use super::serve::answer;
use super::server::{Session, Value};
use super::statements::Sql;
use crate::base::ids::{UserId, WorkspaceId};
use crate::base::limits::ACCESS_RECORDS_MAX;
use crate::domain::access::{
    BuiltInRole, Certificate, Directory, Elevation, Membership, Reach, Role, Tenant, Token, User,
    Workspace,
};
use crate::store::access::{Picture, forget_before, full, no_owner};
use crate::store::{AccessWrite, Answer, Conflict, ReadAccess, StoreError};

/// Changes who may do what.
pub(super) async fn write(session: &Session, write: &AccessWrite) -> Result<(), Fault> {
    match write {
        AccessWrite::PutWorkspace(workspace) => put_workspace(session, workspace).await?,
        AccessWrite::PutTenant(tenant) => put_tenant(session, tenant).await?,
        AccessWrite::PutUser(user) => put_user(session, user).await?,
        AccessWrite::PutMember { membership, reach } => {
            put_member(session, membership, reach).await?;
        }
        AccessWrite::DropMember { workspace_id, user_id } => {
            drop_member(session, *workspace_id, *user_id).await?;
        }
        AccessWrite::PutRole(role) => put_role(session, role).await?,
        AccessWrite::DropRole { workspace_id, name } => {
            let (workspace, name) = (workspace_id.to_string(), name.to_string());
            if found(session, Sql::RoleUsed, &[&workspace, &name]).await? {
                return Err(Conflict::Used { noun: "role", by: "members".to_owned() }.into());
            }
            one(session, Sql::DropRole, &[&workspace, &name], ("role", &name)).await?;
        }
        AccessWrite::InsertToken(token) => insert_token(session, token).await?,
        AccessWrite::RevokeToken { id, at } => {
            let (id, at) = (id.to_string(), nanos(*at));
            one(session, Sql::RevokeToken, &[&id, &at], ("token", &id)).await?;
        }
        AccessWrite::InsertCertificate(new) => insert_certificate(session, new).await?,
        AccessWrite::DropCertificate { id } => {
            let id = id.to_string();
            one(session, Sql::DropCertificate, &[&id], ("certificate", &id)).await?;
        }
        AccessWrite::InsertElevation(new) => insert_elevation(session, new).await?,
        AccessWrite::EndElapsed { id, at } => {
            let (id, at) = (id.to_string(), nanos(*at));
            one(session, Sql::EndElapsed, &[&id, &at], ("elevation", &id)).await?;
        }
        AccessWrite::EndElevations { user_id, at } => {
            let (id, at) = (user_id.to_string(), nanos(*at));
            one(session, Sql::EndElevations, &[&id, &at], ("elevation", &id)).await?;
        }
    }
    room(session).await
}

async fn found(session: &Session, sql: Sql, values: &[Value<'_>]) -> Result<bool, Fault> {
    Ok(!session.query(sql, values).await?.is_empty())
}

/// Something was changed.
async fn one(
    session: &Session,
    sql: Sql,
    values: &[Value<'_>],
    (noun, id): (&'static str, &str),
) -> Result<(), Fault> {
    match found(session, sql, values).await? {
        true => Ok(()),
        false => Err(Conflict::Missing { noun, id: id.to_owned() }.into()),
    }
}

/// No table holds more than it may.
async fn room(session: &Session) -> Result<(), Fault> {
    let most = ACCESS_RECORDS_MAX as u64;
    let nouns = ["workspace", "tenant", "user", "membership", "entitlement", "role", "token"];
    let counts = session.query(Sql::CountAccess, &[]).await?;
    let Some(counts) = counts.first() else { return Ok(()) };
    for (column, noun) in nouns.into_iter().chain(["certificate", "elevation"]).enumerate() {
        if unsigned(counts, column)? > most {
            return Err(full(noun).into());
        }
    }
    Ok(())
}

async fn put_workspace(session: &Session, workspace: &Workspace) -> Result<(), Fault> {
    let (id, name) = (workspace.id.to_string(), &workspace.name);
    if found(session, Sql::WorkspaceTaken, &[name, &id]).await? {
        return Err(Conflict::Taken { noun: "workspace", name: name.clone() }.into());
    }
    let (is_platform, at) = (i64::from(workspace.is_platform), nanos(workspace.created_at));
    session.query(Sql::PutWorkspace, &[&id, name, &is_platform, &at]).await?;
    Ok(())
}

async fn put_tenant(session: &Session, tenant: &Tenant) -> Result<(), Fault> {
    let (id, workspace) = (tenant.id.to_string(), tenant.workspace_id.to_string());
    if found(session, Sql::TenantTaken, &[&workspace, &tenant.name, &id]).await? {
        return Err(Conflict::Taken { noun: "tenant", name: tenant.name.clone() }.into());
    }
    let (status, stage) = (tenant.status.key(), tenant.stage.key());
    let at = nanos(tenant.created_at);
    let values: [Value<'_>; 7] =
        [&id, &workspace, &tenant.external_id, &tenant.name, &status, &stage, &at];
    one(session, Sql::PutTenant, &values, ("tenant", &id)).await
}

async fn put_user(session: &Session, user: &User) -> Result<(), Fault> {
    let (id, kind) = (user.id.to_string(), user.kind.key());
    let taken = |name: &str| Conflict::Taken { noun: "user", name: name.to_owned() };
    if found(session, Sql::UserTaken, &[&kind, &user.name, &id]).await? {
        return Err(taken(&user.name).into());
    }
    let os_host_id = user.os_user.map(|it| it.host_id.to_string());
    let os_uid = user.os_user.map(|it| i64::from(it.uid));
    if let Some(uid) = os_uid
        && found(session, Sql::OsUserTaken, &[&kind, &os_host_id, &uid, &id]).await?
    {
        return Err(taken(&format!("uid {uid}")).into());
    }
    let is_break_glass = i64::from(user.is_break_glass);
    let (disabled_at, created_at) = (optional_nanos(user.disabled_at), nanos(user.created_at));
    let values: [Value<'_>; 9] = [
        &id,
        &user.name,
        &user.email,
        &kind,
        &is_break_glass,
        &os_host_id,
        &os_uid,
        &disabled_at,
        &created_at,
    ];
    session.query(Sql::PutUser, &values).await?;
    if user.disabled_at.is_some() {
        for row in session.query(Sql::OwnedBy, &[&id]).await? {
            keep_owner(session, &text(&row, 0)?).await?;
        }
    }
    Ok(())
}

async fn put_member(session: &Session, member: &Membership, reach: &Reach) -> Result<(), Fault> {
    let (workspace, user) = (member.workspace_id.to_string(), member.user_id.to_string());
    let role = member.role.to_string();
    let is_role = role.parse::<BuiltInRole>().is_ok()
        || found(session, Sql::RoleIn, &[&workspace, &role]).await?;
    if !is_role {
        return Err(Conflict::Missing { noun: "role", id: role }.into());
    }
    let reaches_all = i64::from(*reach == Reach::All);
    session.query(Sql::PutMember, &[&workspace, &user, &role, &reaches_all]).await?;
    session.query(Sql::DropEntitlements, &[&workspace, &user]).await?;
    if let Reach::Some(tenants) = reach {
        for tenant in tenants {
            let tenant = tenant.to_string();
            session.query(Sql::InsertEntitlement, &[&workspace, &user, &tenant]).await?;
        }
    }
    keep_owner(session, &workspace).await
}

async fn drop_member(session: &Session, workspace: WorkspaceId, user: UserId) -> Result<(), Fault> {
    let (workspace, user) = (workspace.to_string(), user.to_string());
    one(session, Sql::DropMember, &[&workspace, &user], ("member", &user)).await?;
    keep_owner(session, &workspace).await
}

/// Refuses what leaves a workspace without an owner who reaches everything. Whoever asks the same of
/// the workspace waits: two owners cannot remove each other.
async fn keep_owner(session: &Session, workspace: &str) -> Result<(), Fault> {
    session.query(Sql::LockWorkspace, &[&workspace]).await?;
    match found(session, Sql::Owners, &[&workspace]).await? {
        true => Ok(()),
        false => Err(no_owner().into()),
    }
}

async fn put_role(session: &Session, role: &Role) -> Result<(), Fault> {
    let (workspace, name) = (role.workspace_id.to_string(), role.name.to_string());
    let capabilities = to_json(&role.capabilities, "capabilities")?;
    session.query(Sql::PutRole, &[&workspace, &name, &capabilities]).await?;
    Ok(())
}

async fn insert_token(session: &Session, token: &Token) -> Result<(), Fault> {
    session.query(Sql::ForgetTokens, &[&nanos(forget_before(token.created_at))]).await?;
    let values: [Value<'_>; 10] = [
        &token.id.to_string(),
        &token.label.to_string(),
        &token.user_id.to_string(),
        &token.workspace_id.map(|id| id.to_string()),
        &to_json(&token.capabilities, "capabilities")?,
        &to_json(&token.reach, "reach")?,
        token.hash.expose(),
        &nanos(token.created_at),
        &nanos(token.expires_at),
        &optional_nanos(token.revoked_at),
    ];
    session.query(Sql::InsertToken, &values).await?;
    Ok(())
}

async fn insert_certificate(session: &Session, new: &Certificate) -> Result<(), Fault> {
    let fingerprint = new.fingerprint.to_string();
    if found(session, Sql::CertificateTaken, &[&fingerprint]).await? {
        return Err(Conflict::Taken { noun: "certificate", name: fingerprint }.into());
    }
    let (id, user) = (new.id.to_string(), new.user_id.to_string());
    let at = nanos(new.created_at);
    session.query(Sql::InsertCertificate, &[&id, &fingerprint, &user, &at]).await?;
    Ok(())
}

async fn insert_elevation(session: &Session, new: &Elevation) -> Result<(), Fault> {
    let values: [Value<'_>; 7] = [
        &new.id.to_string(),
        &new.user_id.to_string(),
        &new.reason.reason_code.key(),
        &new.reason.reason_text.to_string(),
        &nanos(new.started_at),
        &nanos(new.expires_at),
        &optional_nanos(new.ended_at),
    ];
    session.query(Sql::InsertElevation, &values).await?;
    Ok(())
}

impl ReadAccess for PostgresStore {
    fn access(&self) -> Answer<'_, Directory> {
        answer(async move {
            let read = |row: &Row| Ok((text(row, 0)?, text(row, 1)?));
            let records = self.many("read who may do what", Sql::Access, &[], read).await?;
            let unreadable = |error: serde_json::Error| StoreError::Unreadable {
                noun: "access",
                reason: error.to_string(),
            };
            let mut picture = Picture::default();
            for (kind, record) in &records {
                picture.add(kind, record).map_err(unreadable)?;
            }
            Ok(picture.finish())
        })
    }
}
