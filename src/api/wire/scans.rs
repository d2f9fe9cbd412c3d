//! The wire form of scans. Owns the shapes. Face: `ImageScanView`, `VulnerabilityView`, `AdvisoriesView`.
//! Never sends where a list of advisories comes from with a password in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::Timestamp;
use crate::domain::advisories::Vulnerability;
use crate::domain::scans::{ImageScan, Summary, severity_word};
use crate::operations::scans::AdvisoriesKnown;
use crate::store::ScanRow;

/// Which images are scanned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImageScanRequest {
    /// Those that a project runs; with neither this nor images: those of all projects within reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Images of this host, by name or id.
    pub images: Vec<String>,
}

/// An image that was scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageScanView {
    /// The engine's id of the image.
    pub image_id: String,
    /// Its names when it was scanned.
    pub names: Vec<String>,
    /// The digests by which registries know it.
    pub digests: Vec<String>,
    /// The distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// Packages that were found.
    pub packages: u64,
    /// What could not be read, note by note: they are in the bill of materials.
    pub notes: u64,
    /// Vulnerabilities by severity: `critical`, `high`, `medium`, `low`, `info`, `unknown`.
    pub counts: BTreeMap<String, u64>,
    /// Vulnerabilities that are counted and not listed.
    pub left_out: u64,
    /// Whether it was matched with advisories at all.
    pub is_matched: bool,
    /// When its packages were read.
    #[schema(value_type = String, format = DateTime)]
    pub scanned_at: Timestamp,
    /// When they were matched with advisories.
    #[schema(value_type = String, format = DateTime)]
    pub matched_at: Timestamp,
}

impl ImageScanView {
    /// Of a scan.
    pub fn of(scan: &ImageScan) -> Self {
        Self::new(&scan.image_id, &scan.summary, (scan.scanned_at, scan.matched_at))
    }

    fn new(image_id: &str, summary: &Summary, (scanned, matched): (Timestamp, Timestamp)) -> Self {
        Self {
            image_id: image_id.to_owned(),
            names: summary.names.clone(),
            digests: summary.digests.clone(),
            os: summary.os.clone(),
            packages: summary.packages,
            notes: summary.notes,
            counts: summary.counts.clone(),
            left_out: summary.left_out,
            is_matched: summary.advisories.is_some(),
            scanned_at: scanned,
            matched_at: matched,
        }
    }
}

impl From<&ScanRow> for ImageScanView {
    fn from(row: &ScanRow) -> Self {
        Self::new(&row.image_id, &row.summary, (row.scanned_at, row.matched_at))
    }
}

/// The vulnerabilities of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageVulnerabilities {
    /// The scan.
    #[serde(flatten)]
    pub scan: ImageScanView,
    /// What it found, the worst first.
    pub vulnerabilities: Vec<VulnerabilityView>,
}

/// What is wrong with a package of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VulnerabilityView {
    /// Its name: the CVE's where it has one.
    #[schema(example = "CVE-2024-0727")]
    pub id: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// `critical`, `high`, `medium`, `low`, `info` or `unknown`.
    #[schema(example = "high")]
    pub severity: String,
    /// The CVSS base score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7.5")]
    pub score: Option<String>,
    /// `deb`, `apk`, `pypi`, `npm`, `cargo`, `golang`, `gem` or `composer`.
    #[schema(example = "deb")]
    pub ecosystem: String,
    /// The package.
    pub package: String,
    /// What is installed.
    pub installed: String,
    /// The first version without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// In one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Whether it could not be told: the version is not one that its ecosystem orders.
    #[serde(default)]
    pub is_unclear: bool,
}

impl From<Vulnerability> for VulnerabilityView {
    fn from(found: Vulnerability) -> Self {
        Self {
            id: found.id,
            aliases: found.aliases,
            severity: severity_word(found.severity).to_owned(),
            score: found.score.map(|tenths| format!("{}.{}", tenths / 10, tenths % 10)),
            ecosystem: found.ecosystem.key().to_owned(),
            package: found.package,
            installed: found.installed,
            fixed: found.fixed,
            summary: found.summary,
            is_unclear: found.is_unclear,
        }
    }
}

/// The advisories that images are matched with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdvisoriesView {
    /// Where they come from; absent when none are configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where those in force came from; absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_from: Option<String>,
    /// Advisories in force.
    pub advisories: u64,
    /// What they say of packages that are looked for.
    pub entries: u64,
    /// Advisories that were withdrawn.
    pub withdrawn: u64,
    /// Records that are no advisories.
    pub not_read: u64,
    /// When the newest of them changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest: Option<Timestamp>,
    /// When the source was looked at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
    /// When those in force were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub compiled_at: Option<Timestamp>,
    /// Whether nobody has looked at the source for too long (`images.advisories_age_max`), or never.
    pub is_old: bool,
    /// Whether the source has had nothing new for that long: what fills it may be broken.
    pub is_stale: bool,
}

impl From<AdvisoriesKnown> for AdvisoriesView {
    fn from(known: AdvisoriesKnown) -> Self {
        let (is_old, is_stale) = (known.is_old(), known.is_stale());
        let Some(head) = known.head else {
            return Self { source: known.source, is_old, ..Self::default() };
        };
        Self {
            source: known.source,
            came_from: Some(head.source),
            advisories: head.advisories,
            entries: head.entries,
            withdrawn: head.withdrawn,
            not_read: head.not_read,
            newest: head.newest,
            checked_at: Some(head.checked_at),
            compiled_at: Some(head.compiled_at),
            is_old,
            is_stale,
        }
    }
}
