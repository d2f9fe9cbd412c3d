//! Keeps who may do what. Owns the tables of users, members, roles, tokens. Face: `write` and
//! `ReadAccess`. Never leaves a workspace without an owner who can let others in.

use rusqlite::{Connection, ToSql, params};

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{nanos, optional_nanos, to_json};
use super::serve::answer;
use crate::base::Name;
use crate::base::ids::{UserId, WorkspaceId};
use crate::base::limits::ACCESS_RECORDS_MAX;
use crate::domain::access::{
    BuiltInRole, Certificate, Directory, Elevation, Membership, Reach, Role, Tenant, Token, User,
    Workspace,
};
use crate::store::access::{Picture, forget_before, full, no_owner};
use crate::store::{AccessWrite, Answer, Conflict, ReadAccess};

/// Changes who may do what.
pub(super) fn write(connection: &Connection, write: &AccessWrite) -> Result<(), Fault> {
    match write {
        AccessWrite::PutWorkspace(workspace) => put_workspace(connection, workspace),
        AccessWrite::PutTenant(tenant) => put_tenant(connection, tenant),
        AccessWrite::PutUser(user) => put_user(connection, user),
        AccessWrite::PutMember { membership, reach } => put_member(connection, membership, reach),
        AccessWrite::DropMember { workspace_id, user_id } => {
            drop_member(connection, *workspace_id, *user_id)
        }
        AccessWrite::PutRole(role) => put_role(connection, role),
        AccessWrite::DropRole { workspace_id, name } => drop_role(connection, *workspace_id, *name),
        AccessWrite::InsertToken(token) => insert_token(connection, token),
        AccessWrite::RevokeToken { id, at } => {
            let sql = "UPDATE access_tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?";
            let id = id.to_string();
            one(execute(connection, sql, params![nanos(*at), id])?, "token", id)
        }
        AccessWrite::InsertCertificate(certificate) => insert_certificate(connection, certificate),
        AccessWrite::DropCertificate { id } => {
            let id = id.to_string();
            let gone =
                execute(connection, "DELETE FROM access_certificates WHERE id = ?", params![id])?;
            one(gone, "certificate", id)
        }
        AccessWrite::InsertElevation(elevation) => insert_elevation(connection, elevation),
        AccessWrite::EndElapsed { id, at } => {
            let sql = "UPDATE elevations SET ended_at = expires_at WHERE id = ?
                AND ended_at IS NULL AND expires_at <= ?";
            let id = id.to_string();
            let ended = execute(connection, sql, params![id, nanos(*at)])?;
            one(ended, "elevation", id)
        }
        AccessWrite::EndElevations { user_id, at } => {
            let sql = "UPDATE elevations SET ended_at = ?1 WHERE user_id = ?2
                AND ended_at IS NULL AND expires_at > ?1";
            let id = user_id.to_string();
            let ended = execute(connection, sql, params![nanos(*at), id])?;
            one(ended, "elevation", id)
        }
    }
}

fn execute(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<usize, Fault> {
    Ok(connection.prepare_cached(sql)?.execute(values)?)
}

fn exists(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<bool, Fault> {
    Ok(connection.prepare_cached(sql)?.exists(values)?)
}

/// Something was changed.
fn one(changed: usize, noun: &'static str, id: String) -> Result<(), Fault> {
    if changed == 0 { Err(Conflict::Missing { noun, id }.into()) } else { Ok(()) }
}

/// There is room for one more in a table.
fn room(connection: &Connection, noun: &'static str, table: &str) -> Result<(), Fault> {
    let sql = format!("SELECT count(*) FROM {table}");
    let count: i64 = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    let is_full = usize::try_from(count).unwrap_or(usize::MAX) > ACCESS_RECORDS_MAX;
    if is_full { Err(full(noun).into()) } else { Ok(()) }
}

fn put_workspace(connection: &Connection, workspace: &Workspace) -> Result<(), Fault> {
    let (id, name) = (workspace.id.to_string(), &workspace.name);
    let sql = "SELECT 1 FROM workspaces WHERE name = ? AND id <> ?";
    if exists(connection, sql, params![name, id])? {
        return Err(Conflict::Taken { noun: "workspace", name: name.clone() }.into());
    }
    let sql = "INSERT INTO workspaces (id, name, is_platform, created_at) VALUES (?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name";
    let at = nanos(workspace.created_at);
    execute(connection, sql, params![id, name, workspace.is_platform, at])?;
    room(connection, "workspace", "workspaces")
}

fn put_tenant(connection: &Connection, tenant: &Tenant) -> Result<(), Fault> {
    let (id, workspace) = (tenant.id.to_string(), tenant.workspace_id.to_string());
    let sql = "SELECT 1 FROM tenants WHERE workspace_id = ? AND name = ? AND id <> ?";
    if exists(connection, sql, params![workspace, tenant.name, id])? {
        return Err(Conflict::Taken { noun: "tenant", name: tenant.name.clone() }.into());
    }
    let sql = "INSERT INTO tenants (id, workspace_id, external_id, name, status, stage, created_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET external_id = excluded.external_id, name = excluded.name,
            status = excluded.status, stage = excluded.stage
        WHERE workspace_id = excluded.workspace_id";
    let values = params![
        id,
        workspace,
        tenant.external_id,
        tenant.name,
        tenant.status.key(),
        tenant.stage.key(),
        nanos(tenant.created_at),
    ];
    one(execute(connection, sql, values)?, "tenant", id)?;
    room(connection, "tenant", "tenants")
}

fn put_user(connection: &Connection, user: &User) -> Result<(), Fault> {
    let (id, kind) = (user.id.to_string(), user.kind.key());
    let taken = |name: &str| Conflict::Taken { noun: "user", name: name.to_owned() };
    let sql = "SELECT 1 FROM users WHERE kind = ? AND name = ? AND id <> ?";
    if exists(connection, sql, params![kind, user.name, id])? {
        return Err(taken(&user.name).into());
    }
    let os_host_id = user.os_user.map(|it| it.host_id.to_string());
    let os_uid = user.os_user.map(|it| it.uid);
    let sql = "SELECT 1 FROM users WHERE kind = ? AND os_host_id = ? AND os_uid = ? AND id <> ?";
    if let Some(uid) = os_uid
        && exists(connection, sql, params![kind, os_host_id, uid, id])?
    {
        return Err(taken(&format!("uid {uid}")).into());
    }
    let sql = "INSERT INTO users (id, name, email, kind, is_break_glass, os_host_id, os_uid,
            disabled_at, created_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = excluded.email,
            is_break_glass = excluded.is_break_glass, os_host_id = excluded.os_host_id,
            os_uid = excluded.os_uid, disabled_at = excluded.disabled_at";
    let values = params![
        id,
        user.name,
        user.email,
        kind,
        user.is_break_glass,
        os_host_id,
        os_uid,
        optional_nanos(user.disabled_at),
        nanos(user.created_at),
    ];
    execute(connection, sql, values)?;
    if user.disabled_at.is_some() {
        let sql = "SELECT workspace_id FROM memberships WHERE user_id = ? AND role = 'owner'";
        let mut statement = connection.prepare_cached(sql)?;
        let owned = statement.query_map([&id], |row| row.get::<_, String>(0))?;
        for workspace in owned.collect::<rusqlite::Result<Vec<_>>>()? {
            keep_owner(connection, &workspace)?;
        }
    }
    room(connection, "user", "users")
}

fn put_member(connection: &Connection, member: &Membership, reach: &Reach) -> Result<(), Fault> {
    let (workspace, user) = (member.workspace_id.to_string(), member.user_id.to_string());
    let role = member.role.as_str();
    let sql = "SELECT 1 FROM roles WHERE workspace_id = ? AND name = ?";
    let is_role =
        role.parse::<BuiltInRole>().is_ok() || exists(connection, sql, params![workspace, role])?;
    if !is_role {
        return Err(Conflict::Missing { noun: "role", id: role.to_owned() }.into());
    }
    let sql = "INSERT INTO memberships (workspace_id, user_id, role, reaches_all)
        VALUES (?, ?, ?, ?) ON CONFLICT (workspace_id, user_id) DO UPDATE SET
            role = excluded.role, reaches_all = excluded.reaches_all";
    execute(connection, sql, params![workspace, user, role, *reach == Reach::All])?;
    let sql = "DELETE FROM entitlements WHERE workspace_id = ? AND user_id = ?";
    execute(connection, sql, params![workspace, user])?;
    if let Reach::Some(tenants) = reach {
        let sql = "INSERT INTO entitlements (workspace_id, user_id, tenant_id) VALUES (?, ?, ?)";
        for tenant in tenants {
            execute(connection, sql, params![workspace, user, tenant.to_string()])?;
        }
    }
    keep_owner(connection, &workspace)?;
    room(connection, "membership", "memberships")?;
    room(connection, "entitlement", "entitlements")
}

fn drop_member(connection: &Connection, workspace: WorkspaceId, user: UserId) -> Result<(), Fault> {
    let (workspace, user) = (workspace.to_string(), user.to_string());
    let sql = "DELETE FROM memberships WHERE workspace_id = ? AND user_id = ?";
    let gone = execute(connection, sql, params![workspace, user])?;
    one(gone, "member", user)?;
    keep_owner(connection, &workspace)
}

/// Refuses what leaves a workspace without an owner who reaches everything.
fn keep_owner(connection: &Connection, workspace: &str) -> Result<(), Fault> {
    let sql = "SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
        WHERE m.workspace_id = ? AND m.role = 'owner' AND m.reaches_all = 1
            AND u.disabled_at IS NULL";
    if exists(connection, sql, params![workspace])? { Ok(()) } else { Err(no_owner().into()) }
}

fn put_role(connection: &Connection, role: &Role) -> Result<(), Fault> {
    let sql = "INSERT INTO roles (workspace_id, name, capabilities) VALUES (?, ?, ?)
        ON CONFLICT (workspace_id, name) DO UPDATE SET capabilities = excluded.capabilities";
    let capabilities = to_json(&role.capabilities, "capabilities")?;
    let values = params![role.workspace_id.to_string(), role.name.as_str(), capabilities];
    execute(connection, sql, values)?;
    room(connection, "role", "roles")
}

fn drop_role(connection: &Connection, workspace: WorkspaceId, name: Name) -> Result<(), Fault> {
    let workspace = workspace.to_string();
    let sql = "SELECT 1 FROM memberships WHERE workspace_id = ? AND role = ?";
    if exists(connection, sql, params![workspace, name.as_str()])? {
        return Err(Conflict::Used { noun: "role", by: "members".to_owned() }.into());
    }
    let sql = "DELETE FROM roles WHERE workspace_id = ? AND name = ?";
    let gone = execute(connection, sql, params![workspace, name.as_str()])?;
    one(gone, "role", name.to_string())
}

fn insert_token(connection: &Connection, token: &Token) -> Result<(), Fault> {
    let sql = "DELETE FROM access_tokens WHERE expires_at < ?1 OR revoked_at < ?1";
    execute(connection, sql, params![nanos(forget_before(token.created_at))])?;
    let sql = "INSERT INTO access_tokens (id, label, user_id, workspace_id, capabilities, reach,
            hash, created_at, expires_at, revoked_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        token.id.to_string(),
        token.label.as_str(),
        token.user_id.to_string(),
        token.workspace_id.map(|id| id.to_string()),
        to_json(&token.capabilities, "capabilities")?,
        to_json(&token.reach, "reach")?,
        token.hash.expose(),
        nanos(token.created_at),
        nanos(token.expires_at),
        optional_nanos(token.revoked_at),
    ];
    execute(connection, sql, values)?;
    room(connection, "token", "access_tokens")
}

fn insert_certificate(connection: &Connection, new: &Certificate) -> Result<(), Fault> {
    let fingerprint = new.fingerprint.to_string();
    let sql = "SELECT 1 FROM access_certificates WHERE fingerprint = ?";
    if exists(connection, sql, params![fingerprint])? {
        return Err(Conflict::Taken { noun: "certificate", name: fingerprint }.into());
    }
    let sql = "INSERT INTO access_certificates (id, fingerprint, user_id, created_at)
        VALUES (?, ?, ?, ?)";
    let (id, user) = (new.id.to_string(), new.user_id.to_string());
    execute(connection, sql, params![id, fingerprint, user, nanos(new.created_at)])?;
    room(connection, "certificate", "access_certificates")
}

fn insert_elevation(connection: &Connection, new: &Elevation) -> Result<(), Fault> {
    let sql = "INSERT INTO elevations (id, user_id, reason_code, reason_text, started_at,
            expires_at, ended_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        new.id.to_string(),
        new.user_id.to_string(),
        new.reason.reason_code.key(),
        new.reason.reason_text.as_str(),
        nanos(new.started_at),
        nanos(new.expires_at),
        optional_nanos(new.ended_at),
    ];
    execute(connection, sql, values)?;
    room(connection, "elevation", "elevations")
}

/// Everything at one moment: one statement.
fn directory(connection: &Connection) -> Result<Directory, Fault> {
    let mut statement = connection.prepare_cached(ALL)?;
    let mut rows = statement.query([])?;
    let mut picture = Picture::default();
    while let Some(row) = rows.next()? {
        let (kind, record): (String, String) = (row.get(0)?, row.get(1)?);
        picture.add(&kind, &record).map_err(|error| Fault::unreadable("access", error))?;
    }
    Ok(picture.finish())
}

const ALL: &str = "
    SELECT 'workspace', json_array(id, name, is_platform, created_at) FROM workspaces
    UNION ALL SELECT 'tenant', json_array(id, workspace_id, external_id, name, status, stage,
        created_at) FROM tenants
    UNION ALL SELECT 'user', json_array(id, name, email, kind, is_break_glass, os_host_id, os_uid,
        disabled_at, created_at) FROM users
    UNION ALL SELECT 'membership', json_array(workspace_id, user_id, role, reaches_all)
        FROM memberships
    UNION ALL SELECT 'entitlement', json_array(workspace_id, user_id, tenant_id)
        FROM entitlements
    UNION ALL SELECT 'role', json_array(workspace_id, name, json(capabilities)) FROM roles
    UNION ALL SELECT 'token', json_array(id, label, user_id, workspace_id, json(capabilities),
        json(reach), hash, created_at, expires_at, revoked_at) FROM access_tokens
    UNION ALL SELECT 'certificate', json_array(id, fingerprint, user_id, created_at)
        FROM access_certificates
    UNION ALL SELECT 'elevation', json_array(id, user_id, reason_code, reason_text, started_at,
        expires_at, ended_at) FROM elevations";

impl ReadAccess for SqliteStore {
    fn access(&self) -> Answer<'_, Directory> {
        answer(self.read("read who may do what", directory))
    }
}
