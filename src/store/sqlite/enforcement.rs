//! Keeps what stands of enforcement. Owns its table. Face: `write`, `ReadEnforcement`. Never looks
//! into a record.

use rusqlite::{Connection, params};

use super::SqliteStore;
use super::fault::Fault;
use super::rows::parsed;
use super::serve::answer;
use crate::base::ids::WorkspaceId;
use crate::domain::enforcement::Enforced;
use crate::store::enforcement::add;
use crate::store::{Answer, EnforcementWrite, ReadEnforcement};

/// Writes or removes a record.
pub(super) fn write(connection: &Connection, write: &EnforcementWrite) -> Result<(), Fault> {
    let row = write.row().map_err(Fault::Store)?;
    let (workspace, kind) = (row.workspace_id.to_string(), row.kind.key());
    match row.body {
        Some(body) => connection
            .prepare_cached(
                "INSERT INTO enforcement (workspace_id, kind, key, body) VALUES (?, ?, ?, ?)
                 ON CONFLICT (workspace_id, kind, key) DO UPDATE SET body = excluded.body",
            )?
            .execute(params![workspace, kind, row.key, body])?,
        None => connection
            .prepare_cached(
                "DELETE FROM enforcement WHERE workspace_id = ? AND kind = ? AND key = ?",
            )?
            .execute(params![workspace, kind, row.key])?,
    };
    Ok(())
}

fn enforced(connection: &Connection, workspace: WorkspaceId) -> Result<Enforced, Fault> {
    let sql = "SELECT kind, body FROM enforcement WHERE workspace_id = ? ORDER BY kind, key";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([workspace.to_string()])?;
    let mut enforced = Enforced::default();
    while let Some(row) = rows.next()? {
        let body: String = row.get(1)?;
        let kind = parsed(row, 0, "kind of enforcement record")?;
        add(&mut enforced, kind, &body).map_err(Fault::Store)?;
    }
    Ok(enforced)
}

impl ReadEnforcement for SqliteStore {
    fn enforced(&self, workspace: WorkspaceId) -> Answer<'_, Enforced> {
        answer(
            self.read("read what is enforced", move |connection| enforced(connection, workspace)),
        )
    }
}
