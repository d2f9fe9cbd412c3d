//! Accepts what is asked for a project: its files, its removal, its restart, its images, a pause. Owns the checks
//! before a run, and which records change with its acceptance. Face: `Projects`, `Asker`,
//! `ProjectError`. Never touches the engine: the run does.

mod asker;
mod images;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

pub use self::asker::Asker;
use self::images::check_services;
use super::deploy_project::options_of;
use super::policies::SharedPolicies;
use super::rollout::{Declared, Preview, PreviewError, Rollout};
use super::{Admitted, Door, Request, SubmitError, Within};
use crate::base::ids::{EventId, RevisionId};
use crate::base::limits::DOOR_RETRIES_MAX;
use crate::base::{Ambient, Diagnostics, Digest, Secret, Timestamp};
use crate::domain::audit::{AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::compose::{Bundle, is_project_name};
use crate::domain::redaction::SafeText;
use crate::domain::rollout::{Caller, HostPathPolicy, HostPathRefusal, host_paths};
use crate::domain::runs::{
    DeployCause, DeployChoices, DeployProject, Inputs, RemoveProject, RestartProject, Wanted,
};
use crate::store::{Desired, NewRevision, Project, Scope, StoreError, Write};
use crate::world::host_paths;

/// Why a request was not accepted. Nothing is recorded then.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The files do not make a project.
    #[error(transparent)]
    Files(Diagnostics),
    /// The files are those of another project.
    #[error("the files declare project {declared:?}, not {asked:?}")]
    OtherProject {
        /// What the files say.
        declared: String,
        /// What was asked for.
        asked: String,
    },
    /// The caller may not mount these paths.
    #[error("the project mounts what this user may not mount")]
    HostPaths(Vec<HostPathRefusal>),
    /// These build contexts must be sent first.
    #[error("build contexts are missing")]
    ContextsMissing(Vec<Digest>),
    /// No project can be called so.
    #[error("`{0}` is not a project name")]
    Name(String),
    /// The agent keeps no such project.
    #[error("the agent keeps no project {0}")]
    Unknown(String),
    /// There is no plan.
    #[error(transparent)]
    Preview(PreviewError),
    /// The door did not accept the run.
    #[error(transparent)]
    Submit(SubmitError),
    /// The store did not answer or take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

impl ProjectError {
    /// Whether somebody changed the records between reading and writing them.
    fn is_outrun(&self) -> bool {
        match self {
            Self::Store(error) | Self::Submit(SubmitError::Store(error)) => error.is_outrun(),
            _ => false,
        }
    }
}

/// Accepts what is asked for projects. Cheap to clone.
#[derive(Clone)]
pub struct Projects {
    rollout: Rollout,
    door: Door,
    ambient: Ambient,
    host_paths: Arc<RwLock<HostPathPolicy>>,
    within: Within,
}

impl Projects {
    /// Behind this door, on this engine and store.
    pub fn new(rollout: Rollout, door: Door, ambient: Ambient, policy: HostPathPolicy) -> Self {
        let within = Within::host(rollout.store.scope());
        Self { rollout, door, ambient, host_paths: Arc::new(RwLock::new(policy)), within }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// The id of this agent on the labels of what it makes.
    pub fn agent_id(&self) -> String {
        self.rollout.owner()
    }

    /// Changes which host paths users other than root may mount, for later requests.
    pub fn set_host_paths(&self, policy: HostPathPolicy) {
        *self.host_paths.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// What projects are held to.
    pub fn policies(&self) -> &SharedPolicies {
        &self.rollout.policies
    }

    /// What applying these files would do. Changes nothing.
    ///
    /// # Errors
    /// When the files are wrong, or no plan can be made.
    pub async fn preview(
        &self,
        name: &str,
        bundle: &Bundle,
        choices: DeployChoices,
        asker: &Asker,
    ) -> Result<Preview, ProjectError> {
        let declared = self.check(name, bundle, &choices.services, asker)?;
        let scope = self.within.scope.clone();
        let (revision_id, digest, _) = self.revision(&scope, name, content_of(bundle)?).await?;
        let known = self.project(&scope, name).await?;
        let inputs = deploy(name, known.as_ref(), (revision_id, digest), choices);
        let declared = self.rollout.layered(declared, &inputs.wanted).await;
        let declared = declared.map_err(ProjectError::Preview)?;
        let mut options = options_of(&inputs, &declared);
        let (workspace, now) = (scope.workspace_id, self.ambient.now());
        let noted = self.rollout.note_pulls(workspace, &declared.spec, (&mut options, now)).await;
        noted.map_err(ProjectError::Store)?;
        let preview = self.rollout.preview_judged(&scope, &declared, (&options, now)).await;
        preview.map_err(ProjectError::Preview)
    }

    /// Applies files: stores them, keeps the project from now on and asks for its deploy, all in one
    /// transaction.
    ///
    /// # Errors
    /// When the files are wrong or not allowed, a build context is missing, or the store does not
    /// take it.
    pub async fn apply(
        &self,
        name: &str,
        bundle: &Bundle,
        choices: DeployChoices,
        asker: &Asker,
    ) -> Result<Admitted, ProjectError> {
        let declared = self.check(name, bundle, &choices.services, asker)?;
        self.check_contexts(&declared)?;
        let content = content_of(bundle)?;
        for _ in 0..DOOR_RETRIES_MAX {
            // A removal that ends meanwhile takes the stored files with it, and another request may
            // change what is kept.
            match self.try_apply(name, content.clone(), choices.clone(), asker).await {
                Err(error) if error.is_outrun() => {}
                accepted => return accepted,
            }
        }
        Err(ProjectError::Submit(SubmitError::Busy))
    }

    async fn try_apply(
        &self,
        name: &str,
        content: Bytes,
        choices: DeployChoices,
        asker: &Asker,
    ) -> Result<Admitted, ProjectError> {
        let scope = self.within.scope.clone();
        let (revision_id, digest, new_revision) = self.revision(&scope, name, content).await?;
        let known = self.project(&scope, name).await?;
        let inputs = deploy(name, known.as_ref(), (revision_id, digest), choices);
        let mut writes: Vec<Write> = new_revision.map(Write::PutRevision).into_iter().collect();
        if !inputs.choices.services.is_empty() {
            // They come on top of what was read.
            let (workspace_id, name) = (scope.workspace_id, name.to_owned());
            let unknown = Write::ExpectNoProject { workspace_id, name };
            writes.push(known.as_ref().map_or(unknown, Project::expected));
        }
        writes.push(Write::ApplyProject {
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            name: name.to_owned(),
            revision_id,
            wanted: inputs.wanted.clone(),
            at: self.ambient.now(),
        });
        let mut request = asker.request(&scope, Inputs::DeployProject(inputs));
        request.writes = writes;
        let summary = format!("{} applied the files of project {name}", asker.name);
        let mut event = self.event(&scope, name, EventType::ProjectApplied, asker, summary);
        event.context.revision_id = Some(revision_id);
        request.events.push(event);
        self.door.submit(request).await.map_err(ProjectError::Submit)
    }

    /// Asks for a project's removal. The agent stops keeping it at once.
    ///
    /// # Errors
    /// When no project can be called so, or the store does not take it.
    pub async fn remove(
        &self,
        name: &str,
        volumes: bool,
        asker: &Asker,
    ) -> Result<Admitted, ProjectError> {
        let request = self.removal(name, volumes, asker).await?;
        self.door.submit(request).await.map_err(ProjectError::Submit)
    }

    /// The request of a removal.
    pub(super) async fn removal(
        &self,
        name: &str,
        volumes: bool,
        asker: &Asker,
    ) -> Result<Request, ProjectError> {
        if !is_project_name(name) {
            return Err(ProjectError::Name(name.to_owned()));
        }
        let scope = self.within.scope.clone();
        // What the agent does not keep belongs to the host.
        if self.project(&scope, name).await?.is_none() && !self.within.sees_host() {
            return Err(ProjectError::Unknown(name.to_owned()));
        }
        let inputs = Inputs::RemoveProject(RemoveProject { project: name.to_owned(), volumes });
        let mut request = asker.request(&scope, inputs);
        request.writes.push(keep(&scope, name, Desired::Removed, self.ambient.now()));
        Ok(request)
    }

    /// Asks for a restart of a project's containers.
    ///
    /// # Errors
    /// When the agent does not keep the project or a service of it, or the store does not take it.
    pub async fn restart(
        &self,
        name: &str,
        services: Vec<String>,
        asker: &Asker,
    ) -> Result<Admitted, ProjectError> {
        let request = self.restarting(name, services, asker).await?;
        self.door.submit(request).await.map_err(ProjectError::Submit)
    }

    /// The request of a restart.
    pub(super) async fn restarting(
        &self,
        name: &str,
        services: Vec<String>,
        asker: &Asker,
    ) -> Result<Request, ProjectError> {
        let scope = self.within.scope.clone();
        let known = self.known_project(&scope, name).await?;
        if !services.is_empty() {
            let kept = self.rollout.kept(&known).await.map_err(ProjectError::Preview)?;
            let kept = kept.ok_or_else(|| ProjectError::Unknown(name.to_owned()))?;
            check_services(&kept, &services)?;
        }
        let project = name.to_owned();
        let inputs = Inputs::RestartProject(RestartProject { project, services });
        Ok(asker.request(&scope, inputs))
    }

    /// Leaves a project alone from now on.
    ///
    /// # Errors
    /// When the agent does not keep the project, or the store does not take it.
    pub async fn pause(&self, name: &str, asker: &Asker) -> Result<Project, ProjectError> {
        self.switch(name, Desired::Paused, asker).await
    }

    /// Keeps a paused project as declared again, and asks for the deploy that makes it so.
    ///
    /// # Errors
    /// When the agent does not keep the project, or the store does not take it.
    pub async fn resume(&self, name: &str, asker: &Asker) -> Result<Project, ProjectError> {
        self.switch(name, Desired::Running, asker).await
    }

    async fn switch(
        &self,
        name: &str,
        desired: Desired,
        asker: &Asker,
    ) -> Result<Project, ProjectError> {
        for _ in 0..DOOR_RETRIES_MAX {
            match self.try_switch(name, desired, asker).await {
                Err(error) if error.is_outrun() => {}
                switched => return switched,
            }
        }
        Err(ProjectError::Submit(SubmitError::Busy))
    }

    async fn try_switch(
        &self,
        name: &str,
        desired: Desired,
        asker: &Asker,
    ) -> Result<Project, ProjectError> {
        let scope = self.within.scope.clone();
        let known = self.known_project(&scope, name).await?;
        if known.desired == desired {
            return Ok(known);
        }
        let at = self.ambient.now();
        let writes = vec![known.expected(), keep(&scope, name, desired, at)];
        let (event_type, summary, deploy) = if desired == Desired::Running {
            let summary =
                format!("{} resumed project {name}: the agent keeps it again", asker.name);
            let deploy = self.rollout.deploy_as_applied(&known).await;
            (EventType::ProjectResumed, summary, deploy.map_err(ProjectError::Store)?)
        } else {
            let summary =
                format!("{} paused project {name}: the agent leaves it alone", asker.name);
            (EventType::ProjectPaused, summary, None)
        };
        let event = self.event(&scope, name, event_type, asker, summary);
        match deploy.map(Inputs::DeployProject) {
            None => {
                let committed = self.rollout.store.commit(writes, event.into()).await;
                committed.map_err(ProjectError::Store)?;
            }
            Some(inputs) => {
                let mut request = asker.request(&scope, inputs);
                request.writes = writes;
                request.events.push(event);
                self.door.submit(request).await.map_err(ProjectError::Submit)?;
            }
        }
        Ok(Project { desired, updated_at: at, ..known })
    }

    /// The project that the files declare, when it is the one that is meant and may be mounted.
    fn check(
        &self,
        name: &str,
        bundle: &Bundle,
        services: &[String],
        asker: &Asker,
    ) -> Result<Declared, ProjectError> {
        let declared = Declared::from_bundle(bundle).map_err(ProjectError::Files)?;
        check_services(&declared, services)?;
        if declared.spec.name != name {
            let (declared, asked) = (declared.spec.name, name.to_owned());
            return Err(ProjectError::OtherProject { declared, asked });
        }
        let policy = self.host_paths.read().unwrap_or_else(PoisonError::into_inner).clone();
        let caller = Caller::User(asker.uid);
        let refusals: Vec<HostPathRefusal> = host_paths(&declared.spec)
            .iter()
            .filter_map(|used| policy.check(used, &host_paths::resolve(&used.path), caller).err())
            .collect();
        if refusals.is_empty() { Ok(declared) } else { Err(ProjectError::HostPaths(refusals)) }
    }

    fn check_contexts(&self, declared: &Declared) -> Result<(), ProjectError> {
        let digests: BTreeSet<&Digest> = declared.contexts.values().collect();
        let missing = digests.into_iter().filter(|digest| !self.rollout.contexts.has(digest));
        let missing: Vec<Digest> = missing.copied().collect();
        if missing.is_empty() { Ok(()) } else { Err(ProjectError::ContextsMissing(missing)) }
    }

    /// The stored revision of this content; a new one when there is none.
    async fn revision(
        &self,
        scope: &Scope,
        name: &str,
        content: Bytes,
    ) -> Result<(RevisionId, Digest, Option<NewRevision>), ProjectError> {
        let digest = self.rollout.key.digest(&content);
        let (workspace_id, project) = (scope.workspace_id, name.to_owned());
        let store = &self.rollout.store;
        let known = store.revision_by_digest(workspace_id, project.clone(), digest).await;
        if let Some(known) = known.map_err(ProjectError::Store)? {
            return Ok((known.id, digest, None));
        }
        let id = RevisionId::generate(&*self.ambient.clock, &*self.ambient.entropy);
        let content = Secret::new(content);
        let created_at = self.ambient.now();
        let new = NewRevision { id, workspace_id, project, digest, content, created_at };
        Ok((id, digest, Some(new)))
    }

    /// A project within reach; none when nobody has applied one of this name.
    async fn project(&self, scope: &Scope, name: &str) -> Result<Option<Project>, ProjectError> {
        let found = self.rollout.store.project(scope.workspace_id, name.to_owned()).await;
        match found.map_err(ProjectError::Store)? {
            Some(found) if !self.within.sees(found.workspace_id, found.tenant_id) => {
                Err(ProjectError::Unknown(name.to_owned()))
            }
            found => Ok(found),
        }
    }

    /// The projects within reach, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<Vec<Project>, ProjectError> {
        let found = self.rollout.store.projects(self.within.workspace()).await;
        let mut found = found.map_err(ProjectError::Store)?;
        found.retain(|project| self.within.sees(project.workspace_id, project.tenant_id));
        Ok(found)
    }

    /// The record of a project; none of one that only containers tell of.
    ///
    /// # Errors
    /// When it is out of reach, or the store does not answer.
    pub async fn find(&self, name: &str) -> Result<Option<Project>, ProjectError> {
        let found = self.project(&self.within.scope, name).await?;
        match found.is_none() && !self.within.sees_host() {
            true => Err(ProjectError::Unknown(name.to_owned())),
            false => Ok(found),
        }
    }

    async fn known_project(&self, scope: &Scope, name: &str) -> Result<Project, ProjectError> {
        let found = self.project(scope, name).await?;
        found.ok_or_else(|| ProjectError::Unknown(name.to_owned()))
    }

    fn event(
        &self,
        scope: &Scope,
        name: &str,
        event_type: EventType,
        asker: &Asker,
        summary: String,
    ) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Success,
            actor: asker.actor(scope),
            target: Some(Target {
                target_type: "project".to_owned(),
                target_id: name.to_owned(),
                target_label: name.to_owned(),
                workspace_id: scope.workspace_id,
                tenant_id: Some(scope.tenant_id),
            }),
            operation_run_id: None,
            context: EventContext {
                project: Some(name.to_owned()),
                source: Some(asker.source),
                ..EventContext::default()
            },
            occurred_at: self.ambient.now(),
        }
    }
}

fn keep(scope: &Scope, name: &str, desired: Desired, at: Timestamp) -> Write {
    let (workspace_id, name) = (scope.workspace_id, name.to_owned());
    Write::KeepProject { workspace_id, name, desired, at }
}

/// The bundle as it is stored.
fn content_of(bundle: &Bundle) -> Result<Bytes, ProjectError> {
    let content = serde_json::to_vec(bundle);
    content.map(Bytes::from).map_err(|error| ProjectError::Preview(PreviewError::Bundle(error)))
}

/// The deploy that these choices ask for: a dry run plans it, an apply asks for its run.
fn deploy(
    name: &str,
    known: Option<&Project>,
    (revision_id, revision_digest): (RevisionId, Digest),
    choices: DeployChoices,
) -> DeployProject {
    let wanted = wanted(known, revision_id, &choices);
    let (project, cause) = (name.to_owned(), DeployCause::Apply);
    DeployProject { project, revision_id, revision_digest, wanted, cause, choices }
}

/// What is kept of a project when this is asked for of a revision.
fn wanted(known: Option<&Project>, revision: RevisionId, choices: &DeployChoices) -> Wanted {
    // Of one that is being removed, nothing is wanted any more.
    let kept = known.filter(|project| project.desired != Desired::Removed);
    let before = kept.and_then(|project| project.revision_id);
    let wanted = kept.map(|project| project.wanted.clone()).unwrap_or_default();
    let wanted = wanted.and(before, revision, &choices.services);
    // Whoever asks for some services says nothing of the others.
    let asks_for_all = choices.services.is_empty();
    let removes_orphans = if asks_for_all { !choices.keep_orphans } else { wanted.removes_orphans };
    Wanted { removes_orphans, ..wanted }
}
