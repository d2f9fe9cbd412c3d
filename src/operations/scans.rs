//! Accepts requests to scan images, and tells what scans found. Owns who sees which image. Face: `Scans`,
//! `ScanQueryError`. Never tells of an image that only projects out of reach run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::projects::Asker;
use super::rollout::Rollout;
use super::{Admitted, Door, SubmitError, Within};
use crate::base::Timestamp;
use crate::base::limits::{ADVISORIES_AGE_DEFAULT, IMAGES_NAMED_MAX};
use crate::base::time::between;
use crate::domain::advisories::Vulnerability;
use crate::domain::runs::{Inputs, ScanImages, UpdateAdvisories};
use crate::domain::sbom::Inventory;
use crate::domain::scans::{ImageScan, unpack};
use crate::store::{ScanRow, StoreError};
use crate::world::advisories::{Advisories, AdvisoryError, Head};
use crate::world::docker::EngineError;

/// Why scans cannot be told of or asked for.
#[derive(Debug, thiserror::Error)]
pub enum ScanQueryError {
    /// There is no such project.
    #[error("there is no project {0}")]
    UnknownProject(String),
    /// There is no such image, or no scan of it.
    #[error("image {0} was not scanned")]
    NotScanned(String),
    /// Only those who see the whole host may name it.
    #[error("image {0} is not run by a project within reach")]
    OutOfReach(String),
    /// Too many were named.
    #[error("a request names at most {IMAGES_NAMED_MAX} images")]
    TooMany,
    /// What is stored cannot be read.
    #[error("the scan of image {image} cannot be read: {why}; scan it again")]
    Damaged {
        /// The image.
        image: String,
        /// Why.
        why: String,
    },
    /// There is no list of advisories.
    #[error(transparent)]
    Advisories(AdvisoryError),
    /// The run was not accepted.
    #[error(transparent)]
    Submit(SubmitError),
    /// The engine did not answer.
    #[error(transparent)]
    Engine(EngineError),
    /// The store did not answer.
    #[error("the scans could not be read")]
    Store(#[source] StoreError),
}

/// What is known of the advisories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvisoriesKnown {
    /// Where they come from; none when none are configured.
    pub source: Option<String>,
    /// The list in force.
    pub head: Option<Head>,
    /// When this was asked.
    pub now: Timestamp,
    /// When they are called old.
    pub age_max: Duration,
}

impl AdvisoriesKnown {
    /// Whether nobody has looked at their source for too long.
    pub fn is_old(&self) -> bool {
        match &self.head {
            Some(head) => between(head.checked_at, self.now) > self.age_max,
            None => self.source.is_some(),
        }
    }

    /// Whether their source is looked at, and has had nothing new for too long: what fills it may be broken.
    pub fn is_stale(&self) -> bool {
        let newest = self.head.as_ref().and_then(|head| head.newest);
        newest.is_some_and(|newest| between(newest, self.now) > self.age_max)
    }
}

/// Tells of scans and asks for them. Cheap to clone.
#[derive(Clone)]
pub struct Scans {
    rollout: Rollout,
    door: Door,
    advisories: Arc<Advisories>,
    age_max: Duration,
    ambient: crate::base::Ambient,
    within: Within,
}

impl Scans {
    /// On this engine and store, with these advisories.
    pub fn new(
        rollout: Rollout,
        door: Door,
        advisories: Arc<Advisories>,
        ambient: crate::base::Ambient,
    ) -> Self {
        let within = Within::host(rollout.store.scope());
        Self { rollout, door, advisories, age_max: ADVISORIES_AGE_DEFAULT, ambient, within }
    }

    /// The same, which calls advisories old after another time.
    #[must_use]
    pub fn calling_old_after(self, age_max: Duration) -> Self {
        Self { age_max, ..self }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// Asks for a scan: of the images of a project, of named images, or of all that projects within reach
    /// run.
    ///
    /// # Errors
    /// When the project or an image is out of reach, or the run is not accepted.
    pub async fn scan(
        &self,
        project: Option<&str>,
        mut images: Vec<String>,
        asker: &Asker,
    ) -> Result<Admitted, ScanQueryError> {
        if images.len() > IMAGES_NAMED_MAX {
            return Err(ScanQueryError::TooMany);
        }
        images.sort();
        images.dedup();
        let projects = match (project, images.is_empty()) {
            (None, false) => Vec::new(),
            _ => self.projects(project).await?,
        };
        for image in &images {
            self.check_reach(image).await?;
        }
        let inputs = Inputs::ScanImages(ScanImages { projects, images });
        self.submit(inputs, asker).await
    }

    /// Asks for a look at the source of advisories.
    ///
    /// # Errors
    /// When none is configured, or the run is not accepted.
    pub async fn update(&self, asker: &Asker) -> Result<Admitted, ScanQueryError> {
        if self.advisories.source().is_none() {
            return Err(ScanQueryError::Advisories(AdvisoryError::NoSource));
        }
        self.submit(Inputs::UpdateAdvisories(UpdateAdvisories {}), asker).await
    }

    async fn submit(&self, inputs: Inputs, asker: &Asker) -> Result<Admitted, ScanQueryError> {
        let request = asker.request(&self.within.scope, inputs);
        self.door.submit(request).await.map_err(ScanQueryError::Submit)
    }

    /// The scans of images within reach.
    ///
    /// # Errors
    /// When store or engine do not answer.
    pub async fn list(&self) -> Result<Vec<ScanRow>, ScanQueryError> {
        let mut rows = self.rollout.store.image_scans(self.within.workspace()).await;
        if let (Ok(rows), Some(reach)) = (&mut rows, self.reach().await?) {
            rows.retain(|row| reach.contains(&row.image_id));
        }
        rows.map_err(ScanQueryError::Store)
    }

    /// The scan of an image, by name, id, or the beginning of an id.
    ///
    /// # Errors
    /// When it was not scanned or is out of reach, or store or engine do not answer.
    pub async fn find(&self, image: &str) -> Result<ImageScan, ScanQueryError> {
        const ID_DIGITS_MIN: usize = 12;
        let rows = self.list().await?;
        let here = self.rollout.engine.image(image).await.ok().flatten().map(|facts| facts.id);
        let is_meant = |row: &&ScanRow| {
            let hex = row.image_id.trim_start_matches("sha256:");
            let begins = image.trim_start_matches("sha256:");
            here.as_ref() == Some(&row.image_id)
                || begins.len() >= ID_DIGITS_MIN && hex.starts_with(begins)
        };
        // What a name leads to on the engine counts before what it led to when it was scanned.
        let by_name = |row: &&ScanRow| row.summary.names.iter().any(|name| name == image);
        let found = rows.iter().find(is_meant).or_else(|| rows.iter().find(by_name));
        let unknown = || ScanQueryError::NotScanned(image.to_owned());
        let id = found.ok_or_else(unknown)?.image_id.clone();
        let scan = self.rollout.store.image_scan(self.within.workspace(), id).await;
        scan.map_err(ScanQueryError::Store)?.ok_or_else(unknown)
    }

    /// The packages that a scan found.
    ///
    /// # Errors
    /// When what is stored is damaged.
    pub fn inventory(scan: &ImageScan) -> Result<Inventory, ScanQueryError> {
        unpack(&scan.inventory).map_err(|error| damaged(scan, &error))
    }

    /// The vulnerabilities that a scan found.
    ///
    /// # Errors
    /// When what is stored is damaged.
    pub fn vulnerabilities(scan: &ImageScan) -> Result<Vec<Vulnerability>, ScanQueryError> {
        unpack(&scan.vulnerabilities).map_err(|error| damaged(scan, &error))
    }

    /// What is known of the advisories.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn advisories(&self) -> Result<AdvisoriesKnown, ScanQueryError> {
        Ok(AdvisoriesKnown {
            source: self.advisories.source().map(|source| source.shown()),
            head: self.advisories.head().map_err(ScanQueryError::Advisories)?,
            now: self.ambient.now(),
            age_max: self.age_max,
        })
    }

    /// The time, as the agent has it.
    pub fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    async fn projects(&self, project: Option<&str>) -> Result<Vec<String>, ScanQueryError> {
        let known = self.rollout.store.projects(self.within.workspace()).await;
        let known = known.map_err(ScanQueryError::Store)?;
        let seen = known.into_iter().filter(|it| self.within.sees(it.workspace_id, it.tenant_id));
        let mut names: Vec<String> = seen.map(|project| project.name).collect();
        if let Some(project) = project {
            names.retain(|name| name == project);
            if names.is_empty() {
                return Err(ScanQueryError::UnknownProject(project.to_owned()));
            }
        }
        Ok(names)
    }

    /// The images that projects within reach run; none for who sees the whole host.
    async fn reach(&self) -> Result<Option<BTreeSet<String>>, ScanQueryError> {
        if self.within.sees_host() {
            return Ok(None);
        }
        let projects = self.projects(None).await?.into_iter().collect();
        let found = self.rollout.images_of(&projects).await.map_err(ScanQueryError::Engine)?;
        Ok(Some(found.running().into_keys().collect()))
    }

    async fn check_reach(&self, image: &str) -> Result<(), ScanQueryError> {
        let Some(reach) = self.reach().await? else { return Ok(()) };
        let facts = self.rollout.engine.image(image).await.map_err(ScanQueryError::Engine)?;
        match facts.is_some_and(|facts| reach.contains(&facts.id)) {
            true => Ok(()),
            false => Err(ScanQueryError::OutOfReach(image.to_owned())),
        }
    }
}

fn damaged(scan: &ImageScan, error: &crate::domain::scans::PackError) -> ScanQueryError {
    ScanQueryError::Damaged { image: scan.image_id.clone(), why: error.to_string() }
}
