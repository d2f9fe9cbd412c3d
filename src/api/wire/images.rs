//! The wire form of what may be asked of a project's images. Owns the shapes. Face: `Pull`, `Build`,
//! `ImageView`. Never decides what is done when a field is absent: the domain's defaults do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::Timestamp;
use crate::domain::compose::Bundle;
use crate::domain::images::Standing;
use crate::domain::runs::{BuildChoices, ImageDetail, PullChoices};
use crate::operations::rollout::ImageRow;

/// Which images are fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pull {
    /// The files and variables of the project, as the client collected them; absent for the project as
    /// the agent keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub bundle: Option<Bundle>,
    /// Only images of these services; empty for all.
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

impl Pull {
    /// The files, and how.
    pub fn into_parts(self) -> (Option<Bundle>, PullChoices) {
        let choices = PullChoices {
            services: self.services,
            include_deps: self.include_deps,
            include_buildable: self.include_buildable,
            missing_only: self.missing_only,
            ignore_failures: self.ignore_failures,
        };
        (self.bundle, choices)
    }
}

/// Which images are built, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Build {
    /// The files and variables of the project, as the client collected them; absent for the project as
    /// the agent keeps it. Build contexts travel apart, under their digests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub bundle: Option<Bundle>,
    /// Only images of these services; empty for all.
    pub services: Vec<String>,
    /// What these services depend on, too.
    pub include_deps: bool,
    /// Take no layers from earlier builds, whatever the files say.
    pub no_cache: bool,
    /// Ask the registries for newer base images, whatever the files say.
    pub pull: bool,
}

impl Build {
    /// The files, and how.
    pub fn into_parts(self) -> (Option<Bundle>, BuildChoices) {
        let choices = BuildChoices {
            services: self.services,
            include_deps: self.include_deps,
            no_cache: self.no_cache,
            pull: self.pull,
        };
        (self.bundle, choices)
    }
}

/// What the name of an image led to before a run, and what it leads to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageEnd {
    /// Its name.
    pub image: String,
    /// The services that run it.
    pub services: Vec<String>,
    /// The digest that its registry knows it by, else its id on the engine; absent where there was no
    /// such image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The same, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl From<&ImageDetail> for ImageEnd {
    fn from(detail: &ImageDetail) -> Self {
        Self {
            image: detail.image.clone(),
            services: detail.services.clone(),
            before: detail.before.clone(),
            after: detail.after.clone(),
        }
    }
}

/// Whose images are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImageCheck {
    /// A project; absent for all within reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// The image of an instance, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// The compose project.
    pub project: String,
    /// The service.
    pub service: String,
    /// The replica, from 1.
    pub number: u32,
    /// The image's name, as declared.
    pub image: String,
    /// The engine's id of the image that runs.
    pub image_id: String,
    /// The digest by which its registry knows what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_digest: Option<String>,
    /// The digest of what the name leads to on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_digest: Option<String>,
    /// The digest of what the name led to in its registry when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_digest: Option<String>,
    /// When the registry was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub asked_at: Option<Timestamp>,
    /// `current`, `pulled_not_deployed`, `outdated`, `pinned`, `local` or `unknown`.
    #[schema(example = "outdated")]
    pub state: String,
    /// Why it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl From<ImageRow> for ImageView {
    fn from(row: ImageRow) -> Self {
        Self {
            project: row.instance.project,
            service: row.instance.service,
            number: row.instance.number,
            image: row.reference,
            image_id: row.image_id,
            runs_digest: row.runs_digest,
            local_digest: row.here_digest,
            registry_digest: row.registry_digest,
            asked_at: row.asked_at,
            state: row.standing.word().to_owned(),
            why: match row.standing {
                Standing::Unknown { why } => Some(why),
                _ => None,
            },
        }
    }
}
