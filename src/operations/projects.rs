//! Accepts what is asked for a project: its files, its removal, its restart, a pause. Owns the checks
//! before a run, and which records change with its acceptance. Face: `Projects`, `Asker`,
//! `ApplyError`. Never touches the engine: the run does.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::rollout::{Declared, Preview, PreviewError, Rollout};
use super::{Admitted, Door, Request, SubmitError};
use crate::base::ids::{EventId, RevisionId};
use crate::base::{Ambient, Diagnostics, Digest, Secret};
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::compose::Bundle;
use crate::domain::redaction::SafeText;
use crate::domain::rollout::{Caller, HostPathPolicy, HostPathRefusal, PlanOptions, host_paths};
use crate::domain::runs::{
    DeployCause, DeployProject, Inputs, RemoveProject, RestartProject, Source,
};
use crate::store::{Desired, NewRevision, Project, Scope, StoreError, Write};
use crate::world::host_paths;

/// Who asks, and through which door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The operating system's number of the user.
    pub uid: u32,
    /// The user's name.
    pub name: String,
    /// Through which door.
    pub source: Source,
}

impl Asker {
    /// The asker as the audit log keeps them. The owner of the host has an id of the agent's own;
    /// every other user of the machine is known by number.
    pub fn actor(&self, scope: &Scope) -> Actor {
        if self.name == scope.owner_name {
            return Actor::human(scope.owner_id, &scope.owner_name);
        }
        Actor {
            actor_id: Some(format!("uid:{}", self.uid)),
            actor_label: self.name.clone(),
            ..Actor::human(scope.owner_id, &self.name)
        }
    }

    fn request(&self, scope: &Scope, inputs: Inputs) -> Request {
        let is_owner = self.name == scope.owner_name;
        Request {
            user_id: is_owner.then_some(scope.owner_id),
            initiator_name: self.name.clone(),
            actor: self.actor(scope),
            ..Request::by_owner(scope, self.source, inputs)
        }
    }
}

/// How files are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplyChoices {
    /// Only these services and what they depend on; empty for all.
    pub services: Vec<String>,
    /// Replace containers even when nothing changed.
    pub force_recreate: bool,
    /// Keep containers of services that the files no longer declare.
    pub keep_orphans: bool,
    /// Build images even when one of the same files exists.
    pub rebuild: bool,
    /// Longest wait for health, in seconds, over what the project says.
    pub wait_timeout_seconds: Option<u64>,
}

/// Why a request was not accepted. Nothing is recorded then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
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

/// Accepts what is asked for projects. Cheap to clone.
#[derive(Clone)]
pub struct Projects {
    rollout: Rollout,
    door: Door,
    ambient: Ambient,
    host_paths: Arc<RwLock<HostPathPolicy>>,
}

impl Projects {
    /// Behind this door, on this engine and store.
    pub fn new(rollout: Rollout, door: Door, ambient: Ambient, policy: HostPathPolicy) -> Self {
        Self { rollout, door, ambient, host_paths: Arc::new(RwLock::new(policy)) }
    }

    /// Changes which host paths users other than root may mount, for later requests.
    pub fn set_host_paths(&self, policy: HostPathPolicy) {
        *self.host_paths.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// What applying these files would do. Changes nothing.
    ///
    /// # Errors
    /// When the files are wrong, or no plan can be made.
    pub async fn preview(
        &self,
        name: &str,
        bundle: &Bundle,
        choices: ApplyChoices,
        asker: &Asker,
    ) -> Result<Preview, ApplyError> {
        let declared = self.check(name, bundle, asker)?;
        let services: BTreeSet<String> = choices.services.into_iter().collect();
        let options = PlanOptions {
            services: Some(services).filter(|services| !services.is_empty()),
            remove_orphans: !choices.keep_orphans,
            force_recreate: choices.force_recreate,
            rebuild: choices.rebuild,
            ..PlanOptions::explicit()
        };
        let workspace = self.rollout.store.scope().workspace_id;
        let preview = self.rollout.preview(workspace, &declared, &options).await;
        preview.map_err(ApplyError::Preview)
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
        choices: ApplyChoices,
        asker: &Asker,
    ) -> Result<Admitted, ApplyError> {
        let declared = self.check(name, bundle, asker)?;
        self.check_contexts(&declared)?;
        let scope = self.rollout.store.scope();
        let content = serde_json::to_vec(bundle)
            .map_err(|error| ApplyError::Preview(PreviewError::Bundle(error)))?;
        let (revision_id, digest, new_revision) =
            self.revision(&scope, name, Bytes::from(content)).await?;
        let now = self.ambient.now();
        let known = self.project(&scope, name).await?;
        let project = match known {
            Some(project) => Project {
                desired: Desired::Running,
                revision_id: Some(revision_id),
                updated_at: now,
                ..project
            },
            None => Project {
                workspace_id: scope.workspace_id,
                tenant_id: Some(scope.tenant_id),
                name: name.to_owned(),
                desired: Desired::Running,
                revision_id: Some(revision_id),
                deployed_revision_id: None,
                spec_digest: None,
                created_at: now,
                updated_at: now,
            },
        };
        let inputs = Inputs::DeployProject(DeployProject {
            project: name.to_owned(),
            revision_id,
            revision_digest: digest,
            services: choices.services,
            cause: DeployCause::Apply,
            force_recreate: choices.force_recreate,
            keep_orphans: choices.keep_orphans,
            rebuild: choices.rebuild,
            adopt: true,
            wait_timeout_seconds: choices.wait_timeout_seconds,
        });
        let mut request = asker.request(&scope, inputs);
        request.writes = new_revision.map(Write::PutRevision).into_iter().collect();
        request.writes.push(Write::PutProject(project));
        let summary = format!("{} applied the files of project {name}", asker.name);
        let mut event = self.event(&scope, name, EventType::ProjectApplied, asker, summary);
        event.context.revision_id = Some(revision_id);
        request.events.push(event);
        self.door.submit(request).await.map_err(ApplyError::Submit)
    }

    /// Asks for a project's removal. The agent stops keeping it at once.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn remove(
        &self,
        name: &str,
        volumes: bool,
        asker: &Asker,
    ) -> Result<Admitted, ApplyError> {
        let scope = self.rollout.store.scope();
        let inputs = Inputs::RemoveProject(RemoveProject { project: name.to_owned(), volumes });
        let mut request = asker.request(&scope, inputs);
        if let Some(project) = self.project(&scope, name).await? {
            let updated_at = self.ambient.now();
            let project = Project { desired: Desired::Removed, updated_at, ..project };
            request.writes.push(Write::PutProject(project));
        }
        self.door.submit(request).await.map_err(ApplyError::Submit)
    }

    /// Asks for a restart of a project's containers.
    ///
    /// # Errors
    /// When the agent does not keep the project, or the store does not take it.
    pub async fn restart(
        &self,
        name: &str,
        services: Vec<String>,
        asker: &Asker,
    ) -> Result<Admitted, ApplyError> {
        let scope = self.rollout.store.scope();
        self.known_project(&scope, name).await?;
        let project = name.to_owned();
        let inputs = Inputs::RestartProject(RestartProject { project, services });
        let request = asker.request(&scope, inputs);
        self.door.submit(request).await.map_err(ApplyError::Submit)
    }

    /// Leaves a project alone from now on.
    ///
    /// # Errors
    /// When the agent does not keep the project, or the store does not take it.
    pub async fn pause(&self, name: &str, asker: &Asker) -> Result<Project, ApplyError> {
        let scope = self.rollout.store.scope();
        let known = self.known_project(&scope, name).await?;
        if known.desired == Desired::Paused {
            return Ok(known);
        }
        let updated_at = self.ambient.now();
        let project = Project { desired: Desired::Paused, updated_at, ..known };
        let summary = format!("{} paused project {name}: the agent leaves it alone", asker.name);
        let event = self.event(&scope, name, EventType::ProjectPaused, asker, summary);
        let writes = vec![Write::PutProject(project.clone())];
        let committed = self.rollout.store.commit(writes, event.into()).await;
        committed.map_err(ApplyError::Store)?;
        Ok(project)
    }

    /// Keeps a paused project as declared again, and asks for the deploy that makes it so.
    ///
    /// # Errors
    /// When the agent does not keep the project, or the store does not take it.
    pub async fn resume(&self, name: &str, asker: &Asker) -> Result<Project, ApplyError> {
        let scope = self.rollout.store.scope();
        let known = self.known_project(&scope, name).await?;
        if known.desired == Desired::Running {
            return Ok(known);
        }
        let updated_at = self.ambient.now();
        let project = Project { desired: Desired::Running, updated_at, ..known };
        let summary = format!("{} resumed project {name}: the agent keeps it again", asker.name);
        let event = self.event(&scope, name, EventType::ProjectResumed, asker, summary);
        let write = Write::PutProject(project.clone());
        let deploy = self.rollout.deploy_as_applied(&project).await;
        match deploy.map_err(ApplyError::Store)?.map(Inputs::DeployProject) {
            None => {
                let committed = self.rollout.store.commit(vec![write], event.into()).await;
                committed.map_err(ApplyError::Store)?;
            }
            Some(inputs) => {
                let mut request = asker.request(&scope, inputs);
                request.writes.push(write);
                request.events.push(event);
                self.door.submit(request).await.map_err(ApplyError::Submit)?;
            }
        }
        Ok(project)
    }

    /// The project that the files declare, when it is the one that is meant and may be mounted.
    fn check(&self, name: &str, bundle: &Bundle, asker: &Asker) -> Result<Declared, ApplyError> {
        let declared = Declared::from_bundle(bundle).map_err(ApplyError::Files)?;
        if declared.spec.name != name {
            let (declared, asked) = (declared.spec.name, name.to_owned());
            return Err(ApplyError::OtherProject { declared, asked });
        }
        let policy = self.host_paths.read().unwrap_or_else(PoisonError::into_inner).clone();
        let caller = Caller::User(asker.uid);
        let refusals: Vec<HostPathRefusal> = host_paths(&declared.spec)
            .iter()
            .filter_map(|used| policy.check(used, &host_paths::resolve(&used.path), caller).err())
            .collect();
        if refusals.is_empty() { Ok(declared) } else { Err(ApplyError::HostPaths(refusals)) }
    }

    fn check_contexts(&self, declared: &Declared) -> Result<(), ApplyError> {
        let digests: BTreeSet<&Digest> = declared.contexts.values().collect();
        let missing = digests.into_iter().filter(|digest| !self.rollout.contexts.has(digest));
        let missing: Vec<Digest> = missing.copied().collect();
        if missing.is_empty() { Ok(()) } else { Err(ApplyError::ContextsMissing(missing)) }
    }

    /// The stored revision of this content; a new one when there is none.
    async fn revision(
        &self,
        scope: &Scope,
        name: &str,
        content: Bytes,
    ) -> Result<(RevisionId, Digest, Option<NewRevision>), ApplyError> {
        let digest = self.rollout.key.digest(&content);
        let (workspace_id, project) = (scope.workspace_id, name.to_owned());
        let store = &self.rollout.store;
        let known = store.revision_by_digest(workspace_id, project.clone(), digest).await;
        if let Some(known) = known.map_err(ApplyError::Store)? {
            return Ok((known.id, digest, None));
        }
        let id = RevisionId::generate(&*self.ambient.clock, &*self.ambient.entropy);
        let content = Secret::new(content);
        let created_at = self.ambient.now();
        let new = NewRevision { id, workspace_id, project, digest, content, created_at };
        Ok((id, digest, Some(new)))
    }

    async fn project(&self, scope: &Scope, name: &str) -> Result<Option<Project>, ApplyError> {
        let found = self.rollout.store.project(scope.workspace_id, name.to_owned()).await;
        found.map_err(ApplyError::Store)
    }

    async fn known_project(&self, scope: &Scope, name: &str) -> Result<Project, ApplyError> {
        let found = self.project(scope, name).await?;
        found.ok_or_else(|| ApplyError::Unknown(name.to_owned()))
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
