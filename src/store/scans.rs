//! Shapes how scans of images change and how they are read. Owns their writes. Face: `ScanWrite`,
//! `ReadScans`. Never reads the packages of an image to list it.

use crate::base::Timestamp;
use crate::base::ids::WorkspaceId;
use crate::domain::scans::{ImageScan, Summary};

use super::Answer;

/// One change of the scans of this host's images.
#[derive(Debug, Clone)]
pub enum ScanWrite {
    /// Inserts or replaces the scan of an image.
    Put(Box<ImageScan>),
    /// Forgets the scan of an image; one that is not there is no error.
    Drop {
        /// The workspace.
        workspace_id: WorkspaceId,
        /// The engine's id of the image.
        image_id: String,
    },
}

/// A scan as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRow {
    /// The engine's id of the image.
    pub image_id: String,
    /// When the image was read.
    pub scanned_at: Timestamp,
    /// When its packages were matched with advisories.
    pub matched_at: Timestamp,
    /// What was found, in short.
    pub summary: Summary,
}

/// Reads the scans of this host's images.
pub trait ReadScans {
    /// Those of a workspace, by image.
    fn image_scans(&self, workspace: WorkspaceId) -> Answer<'_, Vec<ScanRow>>;
    /// The scan of one image, by the engine's id.
    fn image_scan(&self, workspace: WorkspaceId, image_id: String)
    -> Answer<'_, Option<ImageScan>>;
}
