//! Keeps the logins to registries. Owns their table. Face: `write`, `put_login` and
//! `ReadRegistries`. Never keeps a password unsealed.

use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{nanos, parsed, time};
use super::serve::answer;
use crate::base::Secret;
use crate::base::ids::{LoginId, WorkspaceId};
use crate::base::limits::REGISTRY_LOGINS_MAX;
use crate::domain::registries::{Credentials, Login};
use crate::store::{Answer, Conflict, ReadRegistries, RegistryWrite, StoreError};

/// A login whose password is sealed: what may go to the disk.
pub(super) struct SealedLogin {
    login: Login,
    sealed: Vec<u8>,
}

impl SqliteStore {
    /// Seals a password.
    pub(super) fn seal_login(
        &self,
        login: Login,
        password: &Secret<String>,
    ) -> Result<SealedLogin, StoreError> {
        let (id, entropy) = (login.id, &*self.ambient.entropy);
        let pieces = self.keys.seal(id.as_bytes(), password.expose().as_bytes(), entropy)?;
        Ok(SealedLogin { login, sealed: pieces.concat() })
    }
}

/// Changes logins.
pub(super) fn write(connection: &Connection, write: &RegistryWrite) -> Result<(), Fault> {
    match write {
        RegistryWrite::PutLogin { .. } => {
            Err(Fault::unreadable("registry login", "its password is not sealed"))
        }
        RegistryWrite::DropLogin { workspace_id, id } => {
            let gone = connection
                .prepare_cached("DELETE FROM registry_logins WHERE workspace_id = ? AND id = ?")?
                .execute(params![workspace_id.to_string(), id.to_string()])?;
            match gone {
                0 => Err(Conflict::Missing { noun: "registry login", id: id.to_string() }.into()),
                _ => Ok(()),
            }
        }
    }
}

/// Inserts or replaces a login.
pub(super) fn put_login(connection: &Connection, put: &SealedLogin) -> Result<(), Fault> {
    let login = &put.login;
    let (workspace, id) = (login.workspace_id.to_string(), login.id.to_string());
    let sql = "SELECT 1 FROM registry_logins WHERE workspace_id = ? AND registry = ? AND id <> ?";
    let registry = login.registry.as_str();
    if connection.prepare_cached(sql)?.exists(params![workspace, registry, id])? {
        return Err(Conflict::Taken { noun: "registry login", name: registry.to_owned() }.into());
    }
    connection
        .prepare_cached(
            "INSERT INTO registry_logins (id, workspace_id, registry, username, sealed, created_at,
                 updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET
                 username = excluded.username, sealed = excluded.sealed,
                 updated_at = excluded.updated_at",
        )?
        .execute(params![
            id,
            workspace,
            registry,
            login.username,
            put.sealed,
            nanos(login.created_at),
            nanos(login.updated_at),
        ])?;
    Ok(())
}

const LOGIN: &str = "SELECT id, workspace_id, registry, username, created_at, updated_at, sealed
    FROM registry_logins";

fn login(row: &Row<'_>) -> Result<Login, Fault> {
    Ok(Login {
        id: parsed(row, 0, "registry login id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        registry: parsed(row, 2, "registry")?,
        username: row.get(3)?,
        created_at: time(row, 4)?,
        updated_at: time(row, 5)?,
    })
}

fn logins(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<Login>, Fault> {
    let sql =
        format!("{LOGIN} WHERE workspace_id = ? ORDER BY registry LIMIT {REGISTRY_LOGINS_MAX}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([workspace.to_string()])?;
    let mut logins = Vec::new();
    while let Some(row) = rows.next()? {
        logins.push(login(row)?);
    }
    Ok(logins)
}

fn sealed(connection: &Connection, id: LoginId) -> Result<Option<(Login, Vec<u8>)>, Fault> {
    let sql = format!("{LOGIN} WHERE id = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.to_string()])?;
    match rows.next()? {
        Some(row) => Ok(Some((login(row)?, row.get(6)?))),
        None => Ok(None),
    }
}

impl ReadRegistries for SqliteStore {
    fn registry_logins(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Login>> {
        answer(
            self.read("list the registry logins", move |connection| logins(connection, workspace)),
        )
    }

    fn registry_credentials(&self, id: LoginId) -> Answer<'_, Option<Credentials>> {
        let keys = self.keys.clone();
        answer(self.read("read the registry login", move |connection| {
            let Some((login, sealed)) = sealed(connection, id)? else { return Ok(None) };
            let opened = keys.unseal(id.as_bytes(), &[sealed]).map_err(Fault::Store)?;
            let password = String::from_utf8(opened.expose().clone());
            let password = password.map_err(|error| Fault::unreadable("registry login", error))?;
            Ok(Some(Credentials {
                registry: login.registry,
                username: login.username,
                password: Secret::new(password),
            }))
        }))
    }
}
