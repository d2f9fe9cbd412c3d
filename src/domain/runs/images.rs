//! Shapes what runs about images are asked to do and what they tell. Owns one struct per kind. Face:
//! `PullImages`, `BuildImages`, `CheckImages`, `ScanImages`. Never holds files: it names their revision.

use serde::{Deserialize, Serialize};

use super::Wanted;
use crate::base::ids::RevisionId;
use crate::base::{Digest, Timestamp};
use crate::domain::redaction::SafeText;

/// Fetches the images of a project's services, whether they are on the host or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullImages {
    /// The compose project.
    pub project: String,
    /// The stored files.
    pub revision_id: RevisionId,
    /// The digest of these files: two revisions of equal files ask for the same.
    pub revision_digest: Digest,
    /// What earlier revisions still say of other services.
    #[serde(default)]
    pub wanted: Wanted,
    /// How: they are stored beside the rest.
    #[serde(flatten)]
    pub choices: PullChoices,
}

/// How images are fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PullChoices {
    /// Only these services; empty for all.
    pub services: Vec<String>,
    /// What these services depend on, too.
    pub include_deps: bool,
    /// Images that can be built, too, when they have a name of their own.
    pub include_buildable: bool,
    /// Only images that are not on the host.
    pub missing_only: bool,
    /// The run succeeds although an image could not be had.
    pub ignore_failures: bool,
}

/// Builds the images of a project's services, without starting anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildImages {
    /// The compose project.
    pub project: String,
    /// The stored files.
    pub revision_id: RevisionId,
    /// The digest of these files: two revisions of equal files ask for the same.
    pub revision_digest: Digest,
    /// What earlier revisions still say of other services.
    #[serde(default)]
    pub wanted: Wanted,
    /// How: they are stored beside the rest.
    #[serde(flatten)]
    pub choices: BuildChoices,
}

/// How images are built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildChoices {
    /// Only these services; empty for all.
    pub services: Vec<String>,
    /// What these services depend on, too.
    pub include_deps: bool,
    /// Take no layers from earlier builds, whatever the files say.
    pub no_cache: bool,
    /// Ask the registries for newer base images, whatever the files say.
    pub pull: bool,
}

/// What the name of an image led to before a run, and what it leads to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDetail {
    /// Its name.
    pub image: String,
    /// The services that run it.
    pub services: Vec<String>,
    /// The digest that its registry knows it by, else its id on the engine; none where there was no
    /// such image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The same, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Asks registries what the names of the images of these projects lead to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckImages {
    /// The compose projects.
    pub projects: Vec<String>,
}

/// Reads the packages of images, and matches them with advisories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanImages {
    /// The compose projects whose images are scanned.
    pub projects: Vec<String>,
    /// Further images of the host, by name or id.
    #[serde(default)]
    pub images: Vec<String>,
}

/// Looks for newer advisories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAdvisories {}

/// What a registry said of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedImage {
    /// The name.
    pub image: String,
    /// The digest that it leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why nobody knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<SafeText>,
    /// When.
    pub asked_at: Timestamp,
}
