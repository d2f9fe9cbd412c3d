//! Keeps the scans of images. Owns their table. Face: `write` and `ReadScans`. Never unpacks one.

use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{collect, json, nanos, parsed, time, to_json};
use super::serve::answer;
use crate::base::ids::WorkspaceId;
use crate::base::limits::IMAGE_SCANS_MAX;
use crate::domain::scans::ImageScan;
use crate::store::{Answer, ReadScans, ScanRow, ScanWrite};

/// Changes scans.
pub(super) fn write(connection: &Connection, write: &ScanWrite) -> Result<(), Fault> {
    match write {
        ScanWrite::Put(scan) => {
            let sql = "INSERT INTO image_scans (workspace_id, image_id, scanned_at, matched_at,
                     summary, inventory, vulnerabilities)
                 VALUES (?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (workspace_id, image_id) DO UPDATE SET
                     scanned_at = excluded.scanned_at, matched_at = excluded.matched_at,
                     summary = excluded.summary, inventory = excluded.inventory,
                     vulnerabilities = excluded.vulnerabilities";
            connection.prepare_cached(sql)?.execute(params![
                scan.workspace_id.to_string(),
                scan.image_id,
                nanos(scan.scanned_at),
                nanos(scan.matched_at),
                to_json(&scan.summary, "scan of an image")?,
                scan.inventory,
                scan.vulnerabilities,
            ])?;
        }
        ScanWrite::Drop { workspace_id, image_id } => {
            connection
                .prepare_cached("DELETE FROM image_scans WHERE workspace_id = ? AND image_id = ?")?
                .execute(params![workspace_id.to_string(), image_id])?;
        }
    }
    Ok(())
}

fn row(row: &Row<'_>) -> Result<ScanRow, Fault> {
    Ok(ScanRow {
        image_id: row.get(1)?,
        scanned_at: time(row, 2)?,
        matched_at: time(row, 3)?,
        summary: json(row, 4, "scan of an image")?,
    })
}

fn scan(found: &Row<'_>) -> Result<ImageScan, Fault> {
    let listed = row(found)?;
    Ok(ImageScan {
        workspace_id: parsed(found, 0, "workspace id")?,
        image_id: listed.image_id,
        scanned_at: listed.scanned_at,
        matched_at: listed.matched_at,
        summary: listed.summary,
        inventory: found.get(5)?,
        vulnerabilities: found.get(6)?,
    })
}

impl ReadScans for SqliteStore {
    fn image_scans(&self, workspace: WorkspaceId) -> Answer<'_, Vec<ScanRow>> {
        answer(self.read("list the scans of images", move |connection| {
            let sql = "SELECT workspace_id, image_id, scanned_at, matched_at, summary
                 FROM image_scans WHERE workspace_id = ? ORDER BY image_id LIMIT ?";
            let limit = i64::try_from(IMAGE_SCANS_MAX).unwrap_or(i64::MAX);
            collect(connection, sql, params![workspace.to_string(), limit], row)
        }))
    }

    fn image_scan(
        &self,
        workspace: WorkspaceId,
        image_id: String,
    ) -> Answer<'_, Option<ImageScan>> {
        answer(self.read("read the scan of an image", move |connection| {
            let sql = "SELECT workspace_id, image_id, scanned_at, matched_at, summary, inventory,
                     vulnerabilities FROM image_scans WHERE workspace_id = ? AND image_id = ?";
            let found = collect(connection, sql, params![workspace.to_string(), image_id], scan);
            Ok(found?.pop())
        }))
    }
}
