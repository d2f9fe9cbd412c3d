//! Keeps what stands of enforcement on each host. Owns its table. Face: `write`, `ReadEnforcement`.
//! Never looks into a record.

use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::Fault;
use super::rows::{parsed, text};
use super::serve::{answer, texts};
use super::server::Session;
use super::statements::Sql;
use crate::base::ids::WorkspaceId;
use crate::domain::enforcement::Enforced;
use crate::store::enforcement::{RecordKind, add};
use crate::store::{Answer, EnforcementWrite, ReadEnforcement};

/// Writes or removes a record of this host.
pub(super) async fn write(
    session: &Session,
    host: &str,
    write: &EnforcementWrite,
) -> Result<(), Fault> {
    let row = write.row().map_err(Fault::Store)?;
    let (workspace, kind) = (row.workspace_id.to_string(), row.kind.key());
    match row.body {
        Some(body) => {
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&host, &workspace, &kind, &row.key, &body];
            session.query(Sql::PutEnforcement, &values).await?;
        }
        None => {
            session.query(Sql::DropEnforcement, &[&host, &workspace, &kind, &row.key]).await?;
        }
    }
    Ok(())
}

impl ReadEnforcement for PostgresStore {
    fn enforced(&self, workspace: WorkspaceId) -> Answer<'_, Enforced> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace]);
            let read = |row: &Row| -> Result<(RecordKind, String), Fault> {
                Ok((parsed(row, 0, "kind of enforcement record")?, text(row, 1)?))
            };
            let rows = self.many("read what is enforced", Sql::Enforcement, &values, read).await?;
            let mut enforced = Enforced::default();
            for (kind, body) in rows {
                add(&mut enforced, kind, &body)?;
            }
            Ok(enforced)
        })
    }
}
