//! Accepts requests about the images of a project: to pull, build and check them. Owns which files such
//! a request is about, and the list of images. Face: methods of `Projects`. Never changes what the agent keeps.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asker, Declared, ProjectError, Projects, content_of};
use crate::base::Digest;
use crate::base::ids::RevisionId;
use crate::base::limits::DOOR_RETRIES_MAX;
use crate::domain::compose::Bundle;
use crate::domain::images::Standing;
use crate::domain::rollout::{PlanError, PlanErrors};
use crate::domain::runs::{
    BuildChoices, BuildImages, CheckImages, Inputs, PullChoices, PullImages, Wanted,
};
use crate::operations::rollout::{ImageRow, PreviewError};
use crate::operations::{Admitted, SubmitError};
use crate::store::{Project, Write};

/// The files that a request is about.
struct About {
    revision_id: RevisionId,
    revision_digest: Digest,
    wanted: Wanted,
    /// What is stored with the request, and on which condition.
    writes: Vec<Write>,
}

impl Projects {
    /// Asks for the images of a project's services to be fetched: as these files declare them, or
    /// without files as the project is kept.
    ///
    /// # Errors
    /// When the files are wrong or the agent does not keep the project, a service is not declared, or
    /// the store does not take it.
    pub async fn pull(
        &self,
        name: &str,
        bundle: Option<&Bundle>,
        choices: PullChoices,
        asker: &Asker,
    ) -> Result<Admitted, ProjectError> {
        declared_by(name, bundle, &choices.services)?;
        self.ask(name, bundle, &choices.services, asker, &|about: &About| {
            Inputs::PullImages(PullImages {
                project: name.to_owned(),
                revision_id: about.revision_id,
                revision_digest: about.revision_digest,
                wanted: about.wanted.clone(),
                choices: choices.clone(),
            })
        })
        .await
    }

    /// Asks for the images of a project's services to be built, as `pull` does.
    ///
    /// # Errors
    /// As `pull`, and when a build context is missing.
    pub async fn build(
        &self,
        name: &str,
        bundle: Option<&Bundle>,
        choices: BuildChoices,
        asker: &Asker,
    ) -> Result<Admitted, ProjectError> {
        if let Some(declared) = declared_by(name, bundle, &choices.services)? {
            self.check_contexts(&declared)?;
        }
        self.ask(name, bundle, &choices.services, asker, &|about: &About| {
            Inputs::BuildImages(BuildImages {
                project: name.to_owned(),
                revision_id: about.revision_id,
                revision_digest: about.revision_digest,
                wanted: about.wanted.clone(),
                choices: choices.clone(),
            })
        })
        .await
    }

    /// Asks for a look at what the registries have under the names of the images that run: of one
    /// project, or of all within reach.
    ///
    /// # Errors
    /// When the project is out of reach, or the store does not take it.
    pub async fn check_images(
        &self,
        project: Option<&str>,
        asker: &Asker,
    ) -> Result<Admitted, ProjectError> {
        let projects = self.of_images(project).await?.into_iter().collect();
        let inputs = Inputs::CheckImages(CheckImages { projects });
        let request = asker.request(&self.within.scope, inputs);
        self.door.submit(request).await.map_err(ProjectError::Submit)
    }

    /// How the images of instances stand: of one project, or of all within reach. No registry is
    /// asked: what they said last counts.
    ///
    /// # Errors
    /// When the project is out of reach, or store or engine do not answer.
    pub async fn images(&self, project: Option<&str>) -> Result<Vec<ImageRow>, ProjectError> {
        let projects = self.of_images(project).await?;
        let (workspace, now) = (self.within.workspace(), self.ambient.now());
        let rows = self.rollout.image_rows(workspace, &projects, now).await;
        rows.map_err(ProjectError::Preview)
    }

    /// How many instances of each kept project run an outdated image; none of a project of which no
    /// registry was asked.
    ///
    /// # Errors
    /// When store or engine do not answer.
    pub async fn outdated(&self) -> Result<BTreeMap<String, u64>, ProjectError> {
        let mut counts = BTreeMap::new();
        let (workspace, now) = (self.within.workspace(), self.ambient.now());
        let answers = self.rollout.registry_answers(workspace, now).await;
        if answers.map_err(ProjectError::Store)?.is_empty() {
            // The engine need not be asked either.
            return Ok(counts);
        }
        for row in self.images(None).await? {
            if row.asked_at.is_some() {
                let count: &mut u64 = counts.entry(row.instance.project).or_default();
                *count += u64::from(row.standing == Standing::Outdated);
            }
        }
        Ok(counts)
    }

    async fn of_images(&self, project: Option<&str>) -> Result<BTreeSet<String>, ProjectError> {
        match project {
            // One that only containers tell of counts, too.
            Some(name) => self.find(name).await.map(|_| BTreeSet::from([name.to_owned()])),
            None => Ok(self.list().await?.into_iter().map(|project| project.name).collect()),
        }
    }

    async fn ask(
        &self,
        name: &str,
        bundle: Option<&Bundle>,
        services: &[String],
        asker: &Asker,
        inputs: &(dyn Fn(&About) -> Inputs + Send + Sync),
    ) -> Result<Admitted, ProjectError> {
        for _ in 0..DOOR_RETRIES_MAX {
            let about = match bundle {
                Some(bundle) => self.sent(name, bundle).await?,
                None => self.kept(name, services).await?,
            };
            let mut request = asker.request(&self.within.scope, inputs(&about));
            request.writes = about.writes;
            // A removal that ends meanwhile takes the stored files with it.
            match self.door.submit(request).await.map_err(ProjectError::Submit) {
                Err(error) if error.is_outrun() => {}
                accepted => return accepted,
            }
        }
        Err(ProjectError::Submit(SubmitError::Busy))
    }

    /// The files that were sent; they are stored, and kept by nobody.
    async fn sent(&self, name: &str, bundle: &Bundle) -> Result<About, ProjectError> {
        let scope = &self.within.scope;
        let known = self.project(scope, name).await?;
        let content = content_of(bundle)?;
        let (revision_id, revision_digest, new) = self.revision(scope, name, content).await?;
        let unknown =
            Write::ExpectNoProject { workspace_id: scope.workspace_id, name: name.to_owned() };
        let mut writes = vec![known.as_ref().map_or(unknown, Project::expected)];
        writes.extend(new.map(Write::PutRevision));
        Ok(About { revision_id, revision_digest, wanted: Wanted::default(), writes })
    }

    /// The files that the project is kept by.
    async fn kept(&self, name: &str, services: &[String]) -> Result<About, ProjectError> {
        let known = self.known_project(&self.within.scope, name).await?;
        let nothing = || ProjectError::Unknown(name.to_owned());
        let kept = self.rollout.kept(&known).await.map_err(ProjectError::Preview)?;
        check_services(&kept.ok_or_else(nothing)?, services)?;
        let deploy = self.rollout.deploy_as_applied(&known).await.map_err(ProjectError::Store)?;
        let deploy = deploy.ok_or_else(nothing)?;
        Ok(About {
            revision_id: deploy.revision_id,
            revision_digest: deploy.revision_digest,
            wanted: deploy.wanted,
            writes: vec![known.expected()],
        })
    }
}

/// What the files declare, when they are those of this project. Nothing is mounted, so that it does not
/// matter what the asker may mount.
fn declared_by(
    name: &str,
    bundle: Option<&Bundle>,
    services: &[String],
) -> Result<Option<Declared>, ProjectError> {
    let Some(bundle) = bundle else { return Ok(None) };
    let declared = Declared::from_bundle(bundle).map_err(ProjectError::Files)?;
    check_services(&declared, services)?;
    if declared.spec.name != name {
        let (declared, asked) = (declared.spec.name, name.to_owned());
        return Err(ProjectError::OtherProject { declared, asked });
    }
    Ok(Some(declared))
}

/// Asked here as well as by the plan: what is accepted is kept from then on, and a run that cannot
/// do anything is not made.
pub(super) fn check_services(declared: &Declared, services: &[String]) -> Result<(), ProjectError> {
    let unknown = services.iter().filter(|name| !declared.spec.services.contains_key(*name));
    let unknown = unknown.map(|name| PlanError::UnknownService { service: name.clone() });
    let unknown: Vec<PlanError> = unknown.collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(ProjectError::Preview(PreviewError::Plan(PlanErrors(unknown)))),
    }
}
