//! Carries a project from how it is to how it is declared. Owns the way from a stored revision to
//! an observation, a plan and its execution. Face: `Rollout`, `Declared`, `Preview`. Never decides
//! what a plan holds: `domain::rollout` does.

mod act;
mod carry;
mod create;
mod engine_loss;
mod execute;
mod fetch;
mod gate;
mod hook;
mod image_look;
mod logins;
mod observe;
#[cfg(test)]
mod proofs;
mod report;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::base::ids::{RevisionId, WorkspaceId};
use crate::base::limits::FAILED_ATTEMPTS_RUNS_MAX;
use crate::base::{Diagnostics, Digest, HashKey};
use crate::domain::compose::{Bundle, Project as Model, load_bundle, lower};
use crate::domain::rollout::{
    Observed, Plan, PlanErrors, PlanOptions, Revision, layered, owner_id, plan,
};
use crate::domain::runs::{
    DeployCause, DeployChoices, DeployProject, Inputs, Outcome, RunType, Status, Subject, Wanted,
};
use crate::facts::{MountKind, ProjectSpec, ServiceUnit};
use crate::operations::policies::SharedPolicies;
use crate::store::{PageRequest, Project, RunFilter, Store, StoreError};
use crate::world::content_files::{ContentFileError, ContentFiles, name_of};
use crate::world::contexts::Contexts;
use crate::world::docker::{EngineError, SharedEngine};

pub use carry::{Carried, Held, MakePlan, carry_out};
pub use fetch::{end_of, fetch_images};
pub use gate::{Gate, Line, Passage};
pub(super) use hook::{HookEnd, hook_steps};
pub use image_look::{Answers, ImageRow};
pub use report::{failures_of, plan_failures};

/// What every operation on a project works with. Cheap to clone.
#[derive(Clone)]
pub struct Rollout {
    /// The engine.
    pub engine: SharedEngine,
    /// The agent's memory.
    pub store: Arc<dyn Store>,
    /// The host's key for digests of content.
    pub key: HashKey,
    /// The files that containers mount.
    pub files: Arc<dyn ContentFiles>,
    /// The build contexts that clients sent.
    pub contexts: Arc<Contexts>,
    /// What projects are held to.
    pub policies: SharedPolicies,
}

/// A project as its files declare it.
#[derive(Debug, Clone)]
pub struct Declared {
    /// What is to run.
    pub spec: ProjectSpec,
    /// The compose files, as the client named them.
    pub config_files: Vec<String>,
    /// The directory that relative paths start from.
    pub working_dir: String,
    /// Services whose profiles are not active: their containers are neither wanted nor orphans.
    pub inactive: BTreeSet<String>,
    /// The archive of each service that is built, by service.
    pub contexts: BTreeMap<String, Digest>,
    /// The services that are kept; `None` for all.
    pub wanted: Option<BTreeSet<String>>,
    /// The model that the newest files make, for the places of what they say.
    pub model: Option<Arc<Model>>,
}

/// A plan that was not carried out, and what it was made from.
#[derive(Debug)]
pub struct Preview {
    /// The steps.
    pub plan: Plan,
    /// How the project was found.
    pub observed: Observed,
    /// Policies do not let the files be deployed.
    pub is_refused: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The stored revision is gone or cannot be read.
    #[error("revision {revision} cannot be read")]
    Revision {
        /// Which one.
        revision: RevisionId,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The store does not answer.
    #[error("what is known of the project cannot be read")]
    Store(#[source] StoreError),
    /// The stored bundle is not what this version of the agent writes.
    #[error("the stored bundle of files is not readable")]
    Bundle(#[source] serde_json::Error),
    /// The files do not make a project.
    #[error(transparent)]
    Files(Diagnostics),
    /// The engine could not be looked at.
    #[error(transparent)]
    Engine(EngineError),
    /// Something stands in the way of every plan.
    #[error(transparent)]
    Plan(PlanErrors),
}

impl Declared {
    /// The project that a bundle declares.
    ///
    /// # Errors
    /// Every problem in its files, with its place.
    pub fn from_bundle(bundle: &Bundle) -> Result<Self, Diagnostics> {
        let project = load_bundle(bundle)?;
        let spec = lower(&project, &bundle.inputs())?;
        let config_files = bundle.options.files.clone();
        let contexts = bundle.build_contexts.iter();
        let contexts = contexts.map(|context| (context.service.clone(), context.digest)).collect();
        Ok(Self {
            spec,
            config_files,
            inactive: project.inactive.clone(),
            contexts,
            wanted: None,
            working_dir: project.directory.clone(),
            model: Some(Arc::new(project)),
        })
    }

    /// A project of which nothing but the name is known.
    pub fn unknown(name: &str) -> Self {
        Self {
            spec: ProjectSpec { name: name.to_owned(), ..ProjectSpec::default() },
            config_files: Vec::new(),
            working_dir: String::new(),
            inactive: BTreeSet::new(),
            contexts: BTreeMap::new(),
            wanted: None,
            model: None,
        }
    }
}

impl Rollout {
    /// The id of this agent, which everything that it makes carries on a label.
    pub fn owner(&self) -> String {
        owner_id(&self.key)
    }

    /// The project that a stored revision declares.
    ///
    /// # Errors
    /// When the revision cannot be read or no longer makes a project.
    pub async fn declared(&self, revision: RevisionId) -> Result<Declared, PreviewError> {
        let content = self.store.revision_content(revision).await;
        let content = content.map_err(|source| PreviewError::Revision { revision, source })?;
        let bundle: Bundle =
            serde_json::from_slice(content.expose()).map_err(PreviewError::Bundle)?;
        Declared::from_bundle(&bundle).map_err(PreviewError::Files)
    }

    /// The deploy that keeps a project at what was applied last, if anything was. It leaves alone
    /// what nobody asked it to change.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn deploy_as_applied(
        &self,
        project: &Project,
    ) -> Result<Option<DeployProject>, StoreError> {
        deploy_as_applied(&*self.store, project).await
    }

    /// The project with each wanted service as the newest revision that was asked for it declares
    /// it.
    ///
    /// # Errors
    /// When an earlier revision cannot be read or no longer makes a project.
    pub async fn layered(
        &self,
        mut newest: Declared,
        wanted: &Wanted,
    ) -> Result<Declared, PreviewError> {
        if wanted.is_whole() {
            return Ok(newest);
        }
        let asked = |services: &[String]| services.iter().cloned().collect();
        let mut contexts = vec![newest.contexts.clone()];
        let (spec, services) = (std::mem::take(&mut newest.spec), asked(&wanted.services));
        let mut revisions = vec![Revision { spec, services }];
        for layer in &wanted.beneath {
            let declared = self.declared(layer.revision_id).await?;
            contexts.push(declared.contexts);
            revisions.push(Revision { spec: declared.spec, services: asked(&layer.services) });
        }
        let (spec, places) = layered(revisions);
        for (service, place) in &places {
            if let Some(digest) = contexts.get(*place).and_then(|known| known.get(service)) {
                newest.contexts.insert(service.clone(), *digest);
            }
        }
        newest.inactive.retain(|service| !places.contains_key(service));
        newest.spec = spec;
        newest.wanted = Some(places.into_keys().collect());
        Ok(newest)
    }

    /// What is kept of a project; `None` when nothing was applied.
    ///
    /// # Errors
    /// When a revision cannot be read or no longer makes a project.
    pub async fn kept(&self, project: &Project) -> Result<Option<Declared>, PreviewError> {
        let Some(revision) = project.revision_id else { return Ok(None) };
        let newest = self.declared(revision).await?;
        self.layered(newest, &project.wanted).await.map(Some)
    }

    /// Replacements that failed since the project was last brought up in whole, by service: what was
    /// tried. The agent leaves them to somebody who asks.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn failed_attempts(
        &self,
        workspace: WorkspaceId,
        project: &str,
    ) -> Result<BTreeMap<String, Digest>, StoreError> {
        let filter = RunFilter {
            run_types: vec![RunType::DeployProject],
            statuses: vec![Status::Completed],
            subject: Some(Subject::project(project)),
            ..RunFilter::workspace(workspace)
        };
        let runs = self.store.runs(filter, PageRequest::first(FAILED_ATTEMPTS_RUNS_MAX)).await?;
        let mut failed = BTreeMap::new();
        for run in runs.items {
            let Inputs::DeployProject(inputs) = &run.context.inputs else { continue };
            let is_asked = inputs.cause == DeployCause::Apply;
            if is_asked && run.outcome() == Outcome::Succeeded && inputs.choices.services.is_empty()
            {
                break;
            }
            for (service, attempt) in run.context.details.failed_attempts {
                failed.entry(service).or_insert(attempt);
            }
        }
        Ok(failed)
    }

    /// Looks at the project and plans, without changing anything.
    ///
    /// # Errors
    /// When the engine or the store cannot be read, or no plan is possible.
    pub async fn preview(
        &self,
        workspace: WorkspaceId,
        declared: &Declared,
        options: &PlanOptions,
    ) -> Result<Preview, PreviewError> {
        let observed = self.observe(workspace, &declared.spec).await?;
        let options =
            PlanOptions { inactive_services: declared.inactive.clone(), ..options.clone() };
        let plan = plan(&declared.spec, &observed, &options, &self.key);
        Ok(Preview { plan: plan.map_err(PreviewError::Plan)?, observed, is_refused: false })
    }

    /// Services whose mounted files are not all on the host.
    fn files_missing(&self, spec: &ProjectSpec) -> BTreeSet<String> {
        let is_missing = |unit: &ServiceUnit| {
            unit.files
                .values()
                .any(|file| !self.files.is_there(&spec.name, &name_of(file, &self.key)))
        };
        let missing = spec.services.iter().filter(|(_, unit)| is_missing(unit));
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// Removes the files of the project that are neither declared nor mounted by a container that
    /// was found: an orphan that stays keeps its files.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn collect_files(
        &self,
        spec: &ProjectSpec,
        observed: &Observed,
    ) -> Result<(), ContentFileError> {
        let files = spec.services.values().flat_map(|unit| unit.files.values());
        let declared = files.map(|file| name_of(file, &self.key));
        let mounts = observed.containers.iter().flat_map(|found| found.spec.mounts.values());
        let mounted = mounts.filter_map(|mount| match &mount.kind {
            MountKind::Bind { source, .. } => self.name_at(&spec.name, source),
            _ => None,
        });
        let names = declared.chain(mounted).collect();
        self.files.keep_only(&spec.name, &names)
    }

    /// The name of the project's file that lies there, if it is one.
    fn name_at(&self, project: &str, path: &str) -> Option<Digest> {
        let name = Digest::from_hex(path.rsplit('/').next()?)?;
        (self.files.path(project, &name) == Path::new(path)).then_some(name)
    }
}

/// What `Rollout::deploy_as_applied` answers.
pub(super) async fn deploy_as_applied(
    store: &dyn Store,
    project: &Project,
) -> Result<Option<DeployProject>, StoreError> {
    let Some(revision_id) = project.revision_id else { return Ok(None) };
    let revision = store.revision(revision_id).await?;
    Ok(revision.map(|revision| DeployProject {
        project: project.name.clone(),
        revision_id,
        revision_digest: revision.digest,
        wanted: project.wanted.clone(),
        cause: DeployCause::Convergence,
        choices: DeployChoices { keep_orphans: true, ..DeployChoices::default() },
    }))
}
