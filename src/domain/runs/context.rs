//! Shapes what a run is asked to do and what it tells about what it did. Owns one struct per run
//! type. Face: `Inputs`, `Context`. Never holds a secret: files that may contain one are kept
//! sealed, and a run only names their revision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::images::{
    BuildImages, CheckImages, CheckedImage, ImageDetail, PullImages, ScanImages, UpdateAdvisories,
};
use super::payload::Hosted;
use super::{RunType, Subject, Wanted};
use crate::base::ids::{ConnectionId, RevisionId, TenantId};
use crate::base::keyed::keyed;
use crate::base::{Digest, Timestamp};
use crate::domain::redaction::SafeText;
use crate::domain::runbooks::file::Journal;
use crate::domain::runbooks::{RunbookKey, Scope, Start};

/// What was asked, and the details of what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// What was asked; never changes.
    pub inputs: Inputs,
    /// What was found and done; replaced as the run goes on.
    #[serde(default)]
    pub details: Details,
}

/// What a run is asked to do; its type follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Inputs {
    /// Bring a project to the state of a revision.
    DeployProject(DeployProject),
    /// Take a project away.
    RemoveProject(RemoveProject),
    /// Restart a project's containers.
    RestartProject(RestartProject),
    /// Fetch a project's images.
    PullImages(PullImages),
    /// Build a project's images.
    BuildImages(BuildImages),
    /// Ask registries for newer images.
    CheckImages(CheckImages),
    /// Read the packages of images.
    ScanImages(ScanImages),
    /// Look for newer advisories.
    UpdateAdvisories(UpdateAdvisories),
    /// Restart an unhealthy container.
    HealInstance(HealInstance),
    /// Do what policies ask for about a container.
    EnforcePolicy(EnforcePolicy),
    /// Take back what was done about a container.
    ReleaseContainer(ReleaseContainer),
    /// Do what a runbook says.
    RunRunbook(Box<Start>),
    /// What a user's program does.
    Hosted(Hosted),
}

keyed! {
    /// Why a project is deployed.
    pub enum DeployCause: "deploy cause" {
        /// Somebody applied files.
        Apply = "apply",
        /// The agent keeps what was applied.
        Convergence = "convergence",
    }
}

/// Brings a project to the state that a revision declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployProject {
    /// The compose project.
    pub project: String,
    /// The stored files.
    pub revision_id: RevisionId,
    /// The digest of these files: two revisions of equal files ask for the same.
    pub revision_digest: Digest,
    /// Which services the project is kept with, and as which revision declares them.
    #[serde(default)]
    pub wanted: Wanted,
    /// Why.
    pub cause: DeployCause,
    /// How: they are stored beside the rest.
    #[serde(flatten)]
    pub choices: DeployChoices,
}

/// How a project is deployed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeployChoices {
    /// Only these services and what they depend on; empty for all.
    pub services: Vec<String>,
    /// Replace containers even when nothing changed.
    pub force_recreate: bool,
    /// Make these volumes anew when they are declared differently: their data is lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recreate_volumes: Vec<String>,
    /// Keep containers of services that the files no longer declare.
    pub keep_orphans: bool,
    /// Build images even when one with the context's hash exists.
    pub rebuild: bool,
    /// Take the project over from another agent on the same engine: its containers are replaced.
    /// What Docker Compose made is taken over without being asked, and without a recreate.
    pub adopt: bool,
    /// Longest wait for health, in seconds, over what the project says.
    pub wait_timeout_seconds: Option<u64>,
    /// Where the files came from. Two requests that differ in it alone ask for the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceTree>,
}

/// The repository that files came from, as the client found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTree {
    /// The commit, in hexadecimal.
    pub commit: String,
    /// Whether nothing in the tree differed from it.
    pub is_clean: bool,
}

/// Takes a project's containers and networks away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveProject {
    /// The compose project.
    pub project: String,
    /// Its named volumes too: data is lost.
    #[serde(default)]
    pub volumes: bool,
}

/// Restarts a project's containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartProject {
    /// The compose project.
    pub project: String,
    /// Only these services; empty for all.
    #[serde(default)]
    pub services: Vec<String>,
}

/// Restarts one container whose health check fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealInstance {
    /// The compose project.
    pub project: String,
    /// The service.
    pub service: String,
    /// Which of its containers.
    pub number: u32,
    /// The engine's id of the container that was found unhealthy.
    pub container_id: String,
    /// The try, from 1.
    pub number_of_try: u32,
    /// The most tries within an hour.
    pub tries_max: u32,
    /// How long it may take to stop; the engine's own time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
}

/// Does what policies ask for about one container that runs. What that is, is decided when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnforcePolicy {
    /// The engine's id of the container.
    pub container_id: String,
    /// Its name.
    pub name: String,
    /// The project as a part of which this agent keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Codes of the rules that asked for it; none when somebody did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// Why somebody wants it shut off, whatever policies say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// When what made it worth a look happened; none for a sweep. Another time asks for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noticed_at: Option<Timestamp>,
}

/// Takes back what was done about a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseContainer {
    /// The engine's id of the container.
    pub container_id: String,
    /// Its name.
    pub name: String,
    /// The project as a part of which this agent keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Why.
    pub reason: String,
    /// How long policies leave it alone afterwards.
    pub grace_seconds: u64,
}

impl Inputs {
    /// The type of run that these inputs ask for.
    pub const fn run_type(&self) -> RunType {
        match self {
            Self::DeployProject(_) => RunType::DeployProject,
            Self::RemoveProject(_) => RunType::RemoveProject,
            Self::RestartProject(_) => RunType::RestartProject,
            Self::PullImages(_) => RunType::PullImages,
            Self::BuildImages(_) => RunType::BuildImages,
            Self::CheckImages(_) => RunType::CheckImages,
            Self::ScanImages(_) => RunType::ScanImages,
            Self::UpdateAdvisories(_) => RunType::UpdateAdvisories,
            Self::HealInstance(_) => RunType::HealInstance,
            Self::EnforcePolicy(_) => RunType::EnforcePolicy,
            Self::ReleaseContainer(_) => RunType::ReleaseContainer,
            Self::RunRunbook(_) => RunType::RunRunbook,
            Self::Hosted(inputs) => RunType::Hosted(inputs.run_type),
        }
    }

    /// The compose project that these inputs speak of; none for what is about no project.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::DeployProject(inputs) => Some(&inputs.project),
            Self::RemoveProject(inputs) => Some(&inputs.project),
            Self::RestartProject(inputs) => Some(&inputs.project),
            Self::PullImages(inputs) => Some(&inputs.project),
            Self::BuildImages(inputs) => Some(&inputs.project),
            Self::HealInstance(inputs) => Some(&inputs.project),
            Self::CheckImages(inputs) => match &inputs.projects[..] {
                [project] => Some(project),
                _ => None,
            },
            Self::EnforcePolicy(inputs) => inputs.project.as_deref(),
            Self::ReleaseContainer(inputs) => inputs.project.as_deref(),
            Self::ScanImages(inputs) => match (&inputs.projects[..], &inputs.images[..]) {
                ([project], []) => Some(project),
                _ => None,
            },
            Self::UpdateAdvisories(_) | Self::RunRunbook(_) | Self::Hosted(_) => None,
        }
    }

    /// The container that these inputs speak of, by id and name.
    pub fn container(&self) -> Option<(&str, &str)> {
        match self {
            Self::EnforcePolicy(inputs) => Some((&inputs.container_id, &inputs.name)),
            Self::ReleaseContainer(inputs) => Some((&inputs.container_id, &inputs.name)),
            _ => None,
        }
    }

    /// The runbook that these inputs start.
    pub fn runbook(&self) -> Option<&Start> {
        match self {
            Self::RunRunbook(start) => Some(start),
            _ => None,
        }
    }

    /// Whether only the agent of the host where it was asked for can do it.
    pub fn is_of_host(&self) -> bool {
        match self {
            Self::Hosted(_) => false,
            Self::RunRunbook(start) => start.runbook.key.locks().is_of_host(),
            _ => true,
        }
    }

    /// What a job for this tenant locks, beside what its run has locked: with the whole scope, each
    /// tenant is locked while somebody works on it.
    pub fn job_subject(&self, tenant: Option<TenantId>) -> Option<Subject> {
        let ask = &self.runbook()?.runbook;
        let locks = ask.key.locks();
        let is_part = ask.scope == Scope::AllTenants && !locks.is_of_host();
        tenant.filter(|_| is_part).map(|tenant| Subject::tenant(locks, tenant))
    }

    /// What a run with these inputs locks.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Hosted(inputs) => inputs.subject.clone(),
            Self::RunRunbook(start) => {
                let locks = start.runbook.key.locks();
                Some(match (start.runbook.key, start.runbook.target_tenant_id) {
                    (RunbookKey::File(name), _) => Subject::runbook(name),
                    (_, Some(tenant)) => Subject::tenant(locks, tenant),
                    (_, None) => Subject::all(locks),
                })
            }
            // It only looks: whoever deploys meanwhile need not wait for a slow registry.
            Self::CheckImages(_) | Self::ScanImages(_) => None,
            _ => match (self.project(), self.container()) {
                (Some(project), _) => Some(Subject::project(project)),
                (None, Some((id, _))) => Some(Subject::container(id)),
                (None, None) => None,
            },
        }
    }
}

/// What a run found and did: lists live here, numbers in the counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The engine that the run worked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_connection_id: Option<ConnectionId>,
    /// The digest of the plan that the run began with; a later round plans anew what is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<Digest>,
    /// How far the run of a runbook's file has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Box<Journal>>,
    /// How each service stands at the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceDetail>,
    /// Containers that this run starts and whose `post_start` hooks have not all ended, by id: the
    /// index of the first one. What is written here when an agent dies is run by its next life.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks_due: BTreeMap<String, usize>,
    /// Replacements that failed and were taken back, by service: what was tried.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_attempts: BTreeMap<String, Digest>,
    /// What the names of images led to before the run, and what they lead to now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageDetail>,
    /// When images were pulled, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pulled: BTreeMap<String, Timestamp>,
    /// What registries said of the names of images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checked: Vec<CheckedImage>,
    /// What policies found in what was to be deployed, as far as it is not a failure of the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyDetail>,
}

/// What a rule of policies found in a service that was deployed all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDetail {
    /// The service.
    pub service: String,
    /// The rule, by its id among rules of all kinds.
    pub rule: String,
    /// What the policies ask for: `audit`, `warn`, …
    pub action: String,
    /// It was put right before it was planned.
    pub is_hardened: bool,
    /// The sentence.
    pub message: SafeText,
}

impl Details {
    /// From that one on the `post_start` hooks of this container are due, or none any more.
    pub fn owe_hooks(&mut self, container: &str, first: Option<usize>) {
        match first {
            Some(first) => self.hooks_due.insert(container.to_owned(), first),
            None => self.hooks_due.remove(container),
        };
    }
}

/// How one service stands at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDetail {
    /// The service.
    pub service: String,
    /// Its state in one word: `running`, `healthy`, `completed`, `failed`, `not_started`, …
    pub state: String,
    /// Why, when it is not as declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<SafeText>,
}
