//! Keeps the logins to registries. Owns their table. Face: `write`, `put_login` and
//! `ReadRegistries`. Never keeps a password unsealed, and never shows one host the logins of another:
//! it could not open them.

use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::Fault;
use super::rows::{nanos, parsed, text, time};
use super::serve::{answer, texts};
use super::server::Session;
use super::statements::Sql;
use crate::base::Secret;
use crate::base::ids::{LoginId, WorkspaceId};
use crate::domain::registries::{Credentials, Login};
use crate::store::{Answer, Conflict, ReadRegistries, RegistryWrite, StoreError};

/// A login whose password is sealed: what may leave this host.
#[derive(Debug)]
pub(super) struct SealedLogin {
    login: Login,
    sealed: Vec<u8>,
}

impl PostgresStore {
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

/// Changes logins of this host.
pub(super) async fn write(
    session: &Session,
    host: &str,
    write: &RegistryWrite,
) -> Result<(), Fault> {
    match write {
        RegistryWrite::PutLogin { .. } => {
            Err(Fault::unreadable("registry login", "its password is not sealed"))
        }
        RegistryWrite::DropLogin { workspace_id, id } => {
            let (workspace, id) = (workspace_id.to_string(), id.to_string());
            let gone = session.query(Sql::DropLogin, &[&host, &workspace, &id]).await?;
            let missing = Conflict::Missing { noun: "registry login", id };
            gone.first().map(drop).ok_or_else(|| missing.into())
        }
    }
}

/// Inserts or replaces a login.
pub(super) async fn put_login(
    session: &Session,
    host: &str,
    put: &SealedLogin,
) -> Result<(), Fault> {
    let login = &put.login;
    let (id, workspace) = (login.id.to_string(), login.workspace_id.to_string());
    let registry = login.registry.to_string();
    let taken = session.query(Sql::LoginTaken, &[&host, &workspace, &registry, &id]).await?;
    if !taken.is_empty() {
        return Err(Conflict::Taken { noun: "registry login", name: registry }.into());
    }
    session
        .query(
            Sql::PutLogin,
            &[
                &id,
                &host,
                &workspace,
                &registry,
                &login.username,
                &put.sealed,
                &nanos(login.created_at),
                &nanos(login.updated_at),
            ],
        )
        .await?;
    Ok(())
}

fn login(row: &Row) -> Result<Login, Fault> {
    Ok(Login {
        id: parsed(row, 0, "registry login id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        registry: parsed(row, 2, "registry")?,
        username: text(row, 3)?,
        created_at: time(row, 4)?,
        updated_at: time(row, 5)?,
    })
}

impl ReadRegistries for PostgresStore {
    fn registry_logins(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Login>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace]);
            self.many("list the registry logins", Sql::Logins, &values, login).await
        })
    }

    fn registry_credentials(&self, id: LoginId) -> Answer<'_, Option<Credentials>> {
        answer(async move {
            let act = "read the registry login";
            let values = texts([&self.scope.host_id, &id]);
            let read = |row: &Row| Ok((login(row)?, row.try_get::<_, Vec<u8>>(6)?));
            let found = self.one(act, Sql::LoginById, &values, read).await?;
            let Some((login, sealed)) = found else { return Ok(None) };
            let opened = self.keys.unseal(id.as_bytes(), &[sealed])?;
            let password = String::from_utf8(opened.expose().clone());
            let noun = "registry login";
            let password = password
                .map_err(|error| StoreError::Unreadable { noun, reason: error.to_string() })?;
            Ok(Some(Credentials {
                registry: login.registry,
                username: login.username,
                password: Secret::new(password),
            }))
        })
    }
}
