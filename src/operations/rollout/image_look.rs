//! Looks at the images of projects: what runs, what the names lead to here, and what registries said
//! last, and when they were pulled. Owns how these come together. Face: `Rollout::image_rows`, `ImageRow`. Never asks a registry.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::each;
use super::{PreviewError, Rollout};
use crate::base::Timestamp;
use crate::base::ids::WorkspaceId;
use crate::base::limits::{IMAGE_ANSWER_AGE_MAX, IMAGE_CHECKS_READ_MAX, LAST_PULLS_RUNS_MAX};
use crate::base::time::between;
use crate::domain::images::{Compared, Standing, is_worth_asking, known_digests, standing};
use crate::domain::rollout::{PlanOptions, Trigger};
use crate::domain::runs::{CheckedImage, RunType, Status, Subject};
use crate::facts::{
    ContainerFacts, ImageFacts, Instance, ProjectSpec, PullPolicy, ServiceUnit, labels,
};
use crate::store::{PageRequest, RunFilter, StoreError};
use crate::world::docker::{ContainerFilter, EngineError};

/// The image of an instance, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRow {
    /// The instance.
    pub instance: Instance,
    /// The image's name, as declared.
    pub reference: String,
    /// The engine's id of the image that runs.
    pub image_id: String,
    /// The digest by which its registry knows what runs.
    pub runs_digest: Option<String>,
    /// The digest of what the name leads to on this host.
    pub here_digest: Option<String>,
    /// The digest of what the name leads to in its registry.
    pub registry_digest: Option<String>,
    /// When the registry was asked.
    pub asked_at: Option<Timestamp>,
    /// How it stands.
    pub standing: Standing,
}

/// Instances and their images, as the engine tells.
#[derive(Debug, Default)]
pub struct ImagesFound {
    instances: Vec<ContainerFacts>,
    /// By id and by name.
    images: BTreeMap<String, ImageFacts>,
}

/// An image that instances run.
#[derive(Debug, Default)]
pub struct RunningImage<'a> {
    /// The names that it is declared by, each with the project that declares it.
    pub runs: BTreeSet<(String, String)>,
    /// What the engine tells of it; none when it is not there any more.
    pub facts: Option<&'a ImageFacts>,
}

/// What registries said of names.
pub type Answers = BTreeMap<String, CheckedImage>;

impl ImagesFound {
    /// The names that a registry can tell something new of.
    pub fn worth_asking(&self) -> BTreeSet<String> {
        let is_worth = |container: &&ContainerFacts| {
            let reference = &container.spec.image;
            let found = [reference, &container.image_id];
            let mut images = found.into_iter().filter_map(|name| self.images.get(name));
            images.any(|image| is_worth_asking(reference, image))
        };
        let worth = self.instances.iter().filter(is_worth);
        worth.map(|container| container.spec.image.clone()).collect()
    }

    /// The images that instances run, by the engine's id.
    pub fn running(&self) -> BTreeMap<String, RunningImage<'_>> {
        let mut running: BTreeMap<String, RunningImage<'_>> = BTreeMap::new();
        for container in &self.instances {
            let known = running.entry(container.image_id.clone()).or_default();
            known.facts = self.images.get(&container.image_id);
            if let Some(instance) = &container.instance {
                known.runs.insert((container.spec.image.clone(), instance.project.clone()));
            }
        }
        running
    }

    /// How each image stands, by instance.
    pub fn rows(&self, answers: &Answers) -> Vec<ImageRow> {
        self.instances.iter().filter_map(|container| self.row(container, answers)).collect()
    }

    fn row(&self, container: &ContainerFacts, answers: &Answers) -> Option<ImageRow> {
        let reference = container.spec.image.as_str();
        let (runs, here) = (self.images.get(&container.image_id), self.images.get(reference));
        let told = answers.get(reference);
        let registry = told.map(|told| match (&told.digest, &told.why) {
            (Some(digest), _) => Ok(digest.as_str()),
            (None, Some(why)) => Err(why.as_str()),
            (None, None) => Err("the registry did not say"),
        });
        let runs_id = container.image_id.as_str();
        let first = |image: Option<&ImageFacts>| {
            image.and_then(|image| known_digests(reference, image).next().map(str::to_owned))
        };
        Some(ImageRow {
            instance: container.instance.clone()?,
            reference: reference.to_owned(),
            image_id: container.image_id.clone(),
            runs_digest: first(runs),
            here_digest: first(here),
            registry_digest: told.and_then(|told| told.digest.clone()),
            asked_at: told.map(|told| told.asked_at),
            standing: standing(&Compared { reference, runs_id, runs, here, registry }),
        })
    }
}

impl Rollout {
    /// The instances of these projects, and their images.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn images_of(&self, projects: &BTreeSet<String>) -> Result<ImagesFound, EngineError> {
        let filter = match projects.len() {
            0 => return Ok(ImagesFound::default()),
            1 => {
                let only = projects.first().map(String::as_str).unwrap_or_default();
                ContainerFilter::label(labels::COMPOSE_PROJECT, only)
            }
            _ => ContainerFilter::label(labels::COMPOSE_PROJECT, ""),
        };
        let mut instances = self.engine.containers(&filter).await?;
        instances.retain(|container| {
            let instance = container.instance.as_ref().filter(|_| !container.oneoff);
            instance.is_some_and(|instance| projects.contains(&instance.project))
        });
        instances.sort_by(|left, right| left.instance.cmp(&right.instance));
        let names = instances.iter().flat_map(|it| [it.spec.image.clone(), it.image_id.clone()]);
        let names = names.filter(|name| !name.is_empty()).collect();
        let images = each(&*self.engine, names, |engine, name| engine.image(name)).await?;
        Ok(ImagesFound { instances, images })
    }

    /// What registries said last of each name; what is too old counts no more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn registry_answers(
        &self,
        workspace: WorkspaceId,
        now: Timestamp,
    ) -> Result<Answers, StoreError> {
        let filter = RunFilter {
            run_types: vec![RunType::CheckImages],
            statuses: vec![Status::Completed],
            ..RunFilter::workspace(workspace)
        };
        let runs = self.store.runs(filter, PageRequest::first(IMAGE_CHECKS_READ_MAX)).await?;
        let mut answers = Answers::new();
        let checked = runs.items.into_iter().flat_map(|run| run.context.details.checked);
        for told in checked.filter(|told| between(told.asked_at, now) < IMAGE_ANSWER_AGE_MAX) {
            let newest = answers.entry(told.image.clone()).or_insert_with(|| told.clone());
            if newest.asked_at < told.asked_at {
                *newest = told;
            }
        }
        Ok(answers)
    }

    /// Notes in a plan's options what says which images are due to be pulled again: the time, and when
    /// this agent pulled them last for the project.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note_pulls(
        &self,
        workspace: WorkspaceId,
        spec: &ProjectSpec,
        (options, now): (&mut PlanOptions, Timestamp),
    ) -> Result<(), StoreError> {
        let is_by_age = |unit: &ServiceUnit| matches!(unit.pull_policy, PullPolicy::Every { .. });
        options.now = Some(now);
        if options.trigger == Trigger::Convergence || !spec.services.values().any(is_by_age) {
            return Ok(());
        }
        let filter = RunFilter {
            run_types: vec![RunType::DeployProject, RunType::PullImages],
            statuses: vec![Status::Completed],
            subject: Some(Subject::project(&spec.name)),
            ..RunFilter::workspace(workspace)
        };
        let runs = self.store.runs(filter, PageRequest::first(LAST_PULLS_RUNS_MAX)).await?;
        for (image, at) in runs.items.into_iter().flat_map(|run| run.context.details.pulled) {
            let last = options.last_pulls.entry(image).or_insert(at);
            *last = at.max(*last);
        }
        Ok(())
    }

    /// How the images of these projects stand, by instance.
    ///
    /// # Errors
    /// When the engine or the store does not answer.
    pub async fn image_rows(
        &self,
        workspace: WorkspaceId,
        projects: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Vec<ImageRow>, PreviewError> {
        let answers = self.registry_answers(workspace, now).await.map_err(PreviewError::Store)?;
        let found = self.images_of(projects).await.map_err(PreviewError::Engine)?;
        Ok(found.rows(&answers))
    }
}
