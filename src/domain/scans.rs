//! Says what a scan found in an image. Owns the record of it, how it is packed, and when an image has to be
//! read again. Face: `ImageScan`, `Summary`, `pack`, `unpack`. Never keeps more of an image than its limits say.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::ids::WorkspaceId;
use crate::base::limits::{SCAN_PACKED_BYTES_MAX, SCAN_UNPACKED_BYTES_MAX, VULNERABILITIES_MAX};
use crate::base::{Digest, Timestamp};
use crate::domain::advisories::Vulnerability;
use crate::domain::alerts::Severity;
use crate::domain::sbom::Inventory;

/// Changes when the readers of packages do: images are read again then.
pub const READERS: u32 = 2;

/// What a scan found in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageScan {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The engine's id of the image, `sha256:…`.
    pub image_id: String,
    /// When the image was read.
    pub scanned_at: Timestamp,
    /// When its packages were matched with advisories.
    pub matched_at: Timestamp,
    /// In short.
    pub summary: Summary,
    /// The inventory, packed.
    pub inventory: Vec<u8>,
    /// The vulnerabilities, packed.
    pub vulnerabilities: Vec<u8>,
}

/// What a scan found, in short.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Names of the image when it was scanned last.
    pub names: Vec<String>,
    /// The digests by which registries know it.
    pub digests: Vec<String>,
    /// The distribution, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Packages in it.
    pub packages: u64,
    /// What could not be read of it, note by note.
    pub notes: u64,
    /// The list of advisories that it was matched with; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisories: Option<Digest>,
    /// Vulnerabilities by severity; those of unknown severity under `unknown`.
    pub counts: BTreeMap<String, u64>,
    /// Vulnerabilities beyond the most that are kept.
    #[serde(default)]
    pub left_out: u64,
    /// The version of the readers that read it.
    pub readers: u32,
}

impl Summary {
    /// All vulnerabilities.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether the same image, matched with this list, would come out otherwise.
    pub fn is_stale(&self, advisories: Option<Digest>) -> bool {
        self.advisories != advisories
    }

    /// Whether its packages have to be read again.
    pub const fn is_unread(&self) -> bool {
        self.readers != READERS
    }
}

/// The word under which a severity is counted.
pub const fn severity_word(severity: Option<Severity>) -> &'static str {
    match severity {
        Some(Severity::Critical) => "critical",
        Some(Severity::High) => "high",
        Some(Severity::Medium) => "medium",
        Some(Severity::Low) => "low",
        Some(Severity::Info) => "info",
        None => "unknown",
    }
}

/// Counts, and cuts a list off at the most that is kept; the worst come first.
pub fn count(found: &mut Vec<Vulnerability>) -> (BTreeMap<String, u64>, u64) {
    let mut counts = BTreeMap::new();
    for vulnerability in found.iter() {
        *counts.entry(severity_word(vulnerability.severity).to_owned()).or_insert(0) += 1;
    }
    let left_out = found.len().saturating_sub(VULNERABILITIES_MAX);
    found.truncate(VULNERABILITIES_MAX);
    (counts, left_out as u64)
}

/// Why a record cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It is larger than is kept.
    #[error("it takes more than {} MiB", SCAN_PACKED_BYTES_MAX >> 20)]
    TooLarge,
    /// It is not what was packed.
    #[error("it is not what was packed: {0}")]
    Damaged(String),
}

/// As compressed JSON.
///
/// # Errors
/// When it is larger than is kept.
pub fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, PackError> {
    let damaged = |error: &dyn std::fmt::Display| PackError::Damaged(error.to_string());
    let json = serde_json::to_vec(value).map_err(|error| damaged(&error))?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&json).map_err(|error| damaged(&error))?;
    let packed = encoder.finish().map_err(|error| damaged(&error))?;
    let is_large = packed.len() > SCAN_PACKED_BYTES_MAX || json.len() > SCAN_UNPACKED_BYTES_MAX;
    if is_large { Err(PackError::TooLarge) } else { Ok(packed) }
}

/// What was packed.
///
/// # Errors
/// When it is damaged.
pub fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, PackError> {
    let mut json = Vec::new();
    let mut decoder = DeflateDecoder::new(packed).take(SCAN_UNPACKED_BYTES_MAX as u64);
    decoder.read_to_end(&mut json).map_err(|error| PackError::Damaged(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| PackError::Damaged(error.to_string()))
}

/// The inventory packed; when it is too large, without its notes and places, then without packages, which a
/// note says.
pub fn pack_inventory(inventory: &mut Inventory) -> Vec<u8> {
    if let Ok(packed) = pack(inventory) {
        return packed;
    }
    let count = inventory.packages.len();
    inventory.packages.iter_mut().for_each(|package| package.found_in.clear());
    inventory.notes.push("where packages were found is left out: there are too many".to_owned());
    if let Ok(packed) = pack(inventory) {
        return packed;
    }
    inventory.packages.clear();
    inventory.notes = vec![format!("{count} packages are left out: they are too large to be kept")];
    pack(inventory).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sbom::{Ecosystem, Package};

    #[test]
    fn what_is_packed_comes_back_and_damage_is_found() {
        let mut inventory = Inventory {
            packages: vec![Package::new(Ecosystem::Npm, "left-pad", "1.3.0")],
            ..Inventory::default()
        };
        let packed = pack_inventory(&mut inventory);
        assert_eq!(unpack::<Inventory>(&packed).unwrap(), inventory);
        assert!(unpack::<Inventory>(&packed[..packed.len() / 2]).is_err());
        assert!(unpack::<Inventory>(b"no deflate stream").is_err());
    }

    #[test]
    fn an_image_is_matched_again_only_when_the_list_is_another_one() {
        let (one, two) = (Some(Digest::of(b"1")), Some(Digest::of(b"2")));
        let summary = Summary { advisories: one, readers: READERS, ..Summary::default() };
        assert!(!summary.is_stale(one) && summary.is_stale(two) && summary.is_stale(None));
        assert!(!summary.is_unread());
        assert!(Summary { readers: READERS + 1, ..summary }.is_unread());
    }
}
