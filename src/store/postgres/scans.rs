//! Keeps the scans of images. Owns their table. Face: `write` and `ReadScans`. Never shows one host what
//! lies in another one's images.

use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::Fault;
use super::rows::{json, nanos, parsed, text, time, to_json};
use super::serve::{answer, texts};
use super::server::Session;
use super::statements::Sql;
use crate::base::ids::WorkspaceId;
use crate::domain::scans::ImageScan;
use crate::store::{Answer, ReadScans, ScanRow, ScanWrite};

/// Changes scans of this host.
pub(super) async fn write(session: &Session, host: &str, write: &ScanWrite) -> Result<(), Fault> {
    match write {
        ScanWrite::Put(scan) => {
            let workspace = scan.workspace_id.to_string();
            session
                .query(
                    Sql::PutScan,
                    &[
                        &host,
                        &workspace,
                        &scan.image_id,
                        &nanos(scan.scanned_at),
                        &nanos(scan.matched_at),
                        &to_json(&scan.summary, "scan of an image")?,
                        &scan.inventory,
                        &scan.vulnerabilities,
                    ],
                )
                .await?;
        }
        ScanWrite::Drop { workspace_id, image_id } => {
            let workspace = workspace_id.to_string();
            session.query(Sql::DropScan, &[&host, &workspace, image_id]).await?;
        }
    }
    Ok(())
}

fn row(row: &Row) -> Result<ScanRow, Fault> {
    Ok(ScanRow {
        image_id: text(row, 1)?,
        scanned_at: time(row, 2)?,
        matched_at: time(row, 3)?,
        summary: json(row, 4, "scan of an image")?,
    })
}

fn scan(found: &Row) -> Result<ImageScan, Fault> {
    let listed = row(found)?;
    Ok(ImageScan {
        workspace_id: parsed(found, 0, "workspace id")?,
        image_id: listed.image_id,
        scanned_at: listed.scanned_at,
        matched_at: listed.matched_at,
        summary: listed.summary,
        inventory: found.try_get(5)?,
        vulnerabilities: found.try_get(6)?,
    })
}

impl ReadScans for PostgresStore {
    fn image_scans(&self, workspace: WorkspaceId) -> Answer<'_, Vec<ScanRow>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace]);
            self.many("list the scans of images", Sql::Scans, &values, row).await
        })
    }

    fn image_scan(
        &self,
        workspace: WorkspaceId,
        image_id: String,
    ) -> Answer<'_, Option<ImageScan>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace, &image_id]);
            self.one("read the scan of an image", Sql::ScanOfImage, &values, scan).await
        })
    }
}
