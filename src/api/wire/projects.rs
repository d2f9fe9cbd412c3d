//! The wire form of projects, of what runs of them, and of what may be asked for them. Owns the
//! shapes. Face: `ProjectView`, `ContainerView`, `Apply`. Never shows an environment variable's
//! value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::problem::Problem;
use crate::base::Timestamp;
use crate::domain::compose::Bundle;
use crate::facts::{ContainerFacts, ContainerState, Health, PortBinding, Protocol, labels};
use crate::store::Project;

/// A compose project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectView {
    /// Its compose name.
    pub name: String,
    /// What the agent keeps it at: `running`, `paused` or `removed`; absent for a project that the
    /// agent does not keep.
    pub desired: Option<String>,
    /// The files that were applied last.
    pub revision_id: Option<String>,
    /// Services that were asked for, and that are kept with what they depend on; empty for all.
    #[serde(default)]
    pub services: Vec<String>,
    /// The files that were brought up wholly last.
    pub deployed_revision_id: Option<String>,
    /// When it was first applied.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When this record changed last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

impl From<&Project> for ProjectView {
    fn from(project: &Project) -> Self {
        Self {
            name: project.name.clone(),
            desired: Some(project.desired.to_string()),
            revision_id: project.revision_id.map(|id| id.to_string()),
            services: project.wanted.names().into_iter().collect(),
            deployed_revision_id: project.deployed_revision_id.map(|id| id.to_string()),
            created_at: Some(project.created_at),
            updated_at: Some(project.updated_at),
        }
    }
}

impl ProjectView {
    /// A project that only its containers tell of.
    pub fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            desired: None,
            revision_id: None,
            services: Vec::new(),
            deployed_revision_id: None,
            created_at: None,
            updated_at: None,
        }
    }
}

/// A project and what runs of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectDetail {
    /// The project.
    pub project: ProjectView,
    /// How each service stands, by name.
    pub services: Vec<ServiceView>,
    /// Its containers, by service and number.
    pub containers: Vec<ContainerView>,
}

/// How one service stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// The service.
    pub service: String,
    /// Containers that run.
    pub running: usize,
    /// Containers there are.
    pub containers: usize,
}

/// One container of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// The engine's id.
    pub id: String,
    /// The service.
    pub service: String,
    /// The replica, from 1.
    pub number: u32,
    /// The image as declared.
    pub image: String,
    /// The id of the image it runs.
    pub image_id: String,
    /// What it does now.
    #[schema(value_type = String, example = "running")]
    pub state: ContainerState,
    /// What its health check says; `none` without one.
    #[schema(value_type = String, example = "healthy")]
    pub health: Health,
    /// Exit status of the last end, when it is not running.
    pub exit_code: Option<i64>,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// Restarts by the engine's policy.
    pub restart_count: u64,
    /// Published ports, as `docker ps` writes them.
    pub ports: Vec<String>,
    /// Whether the agent made it.
    pub is_ours: bool,
    /// Creation time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// Last start.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Last end.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// What enforcement did to it; absent when it runs as it was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<String>,
}

impl ContainerView {
    /// A container of a project, as the agent with this id sees it; `None` for any other and for
    /// one-off containers.
    pub fn of(container: &ContainerFacts, agent_id: &str) -> Option<Self> {
        let owner = container.all_labels.get(labels::OWNER);
        let is_own = owner.is_none_or(|owner| owner == agent_id);
        let instance = container.instance.as_ref().filter(|_| !container.oneoff)?;
        let ended = matches!(container.state, ContainerState::Exited | ContainerState::Dead);
        Some(Self {
            name: container.name.clone(),
            id: container.id.clone(),
            service: instance.service.clone(),
            number: instance.number,
            image: container.spec.image.clone(),
            image_id: container.image_id.clone(),
            state: container.state,
            health: container.health,
            exit_code: ended.then_some(container.exit_code),
            oom_killed: container.oom_killed,
            restart_count: container.restart_count,
            ports: container.spec.ports.iter().map(port).collect(),
            is_ours: container.contract_hash.is_some() && is_own,
            created_at: container.created_at,
            started_at: container.started_at,
            finished_at: container.finished_at,
            held_back: None,
        })
    }
}

/// `127.0.0.1:8080->80/tcp`; `80/tcp` when the host's port is the engine's choice.
pub(super) fn port(binding: &PortBinding) -> String {
    let protocol = match binding.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    let inside = format!("{}/{protocol}", binding.container_port);
    match (&binding.host_ip, &binding.host_port) {
        (Some(ip), Some(port)) => format!("{ip}:{port}->{inside}"),
        (None, Some(port)) => format!("{port}->{inside}"),
        (_, None) => inside,
    }
}

impl ProjectDetail {
    /// A project with its containers, as the agent with this id sees them.
    pub fn of(project: ProjectView, containers: &[ContainerFacts], agent_id: &str) -> Self {
        let views = containers.iter().filter_map(|found| ContainerView::of(found, agent_id));
        let mut containers: Vec<_> = views.collect();
        containers.sort_by(|a, b| (&a.service, a.number).cmp(&(&b.service, b.number)));
        let mut services: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for container in &containers {
            let (running, total) = services.entry(&container.service).or_default();
            *running += usize::from(container.state == ContainerState::Running);
            *total += 1;
        }
        let services = services
            .into_iter()
            .map(|(service, (running, containers))| ServiceView {
                service: service.to_owned(),
                running,
                containers,
            })
            .collect();
        Self { project, services, containers }
    }
}

/// A project's files, and how they are applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The files and variables of the project, as the client collected them. Build contexts travel
    /// apart, under their digests.
    #[schema(value_type = Object)]
    pub bundle: Bundle,
    /// How they are applied.
    #[serde(default)]
    pub options: ApplyOptions,
}

/// How files are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApplyOptions {
    /// Only these services and what they depend on; empty for all.
    pub services: Vec<String>,
    /// Replace containers even when nothing changed.
    pub force_recreate: bool,
    /// Make these volumes anew when they are declared differently, by their keys in the file: THEIR
    /// DATA IS LOST.
    pub recreate_volumes: Vec<String>,
    /// Keep containers of services that the files no longer declare.
    pub keep_orphans: bool,
    /// Build images even when one of the same files exists.
    pub rebuild: bool,
    /// Take the project over from another agent on the same engine: its containers are replaced.
    pub adopt: bool,
    /// Longest wait for health, in seconds, over what the project says.
    pub wait_timeout_seconds: Option<u64>,
    /// Where the files came from; recorded with the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceView>,
}

/// The repository that files came from, as the client found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceView {
    /// The commit: 40 to 64 hexadecimal digits.
    pub commit: String,
    /// Whether nothing in the tree differed from it.
    pub is_clean: bool,
}

impl SourceView {
    /// Digits of a commit, by the hash that the repository uses.
    const COMMIT_DIGITS: std::ops::RangeInclusive<usize> = 40..=64;

    /// A source, when this is a commit.
    pub fn new(commit: &str, is_clean: bool) -> Option<Self> {
        let is_commit = Self::COMMIT_DIGITS.contains(&commit.len())
            && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_commit.then(|| Self { commit: commit.to_ascii_lowercase(), is_clean })
    }
}

/// How a project is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DownOptions {
    /// Its named volumes too: data is lost.
    pub volumes: bool,
}

/// What is restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RestartOptions {
    /// Only these services; empty for all.
    pub services: Vec<String>,
}

/// Which build contexts the client could send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextsWanted {
    /// Digests, 64 hexadecimal digits each.
    pub digests: Vec<String>,
}

/// Which of them the agent does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContextsMissing {
    /// Digests, to be sent with `PUT /v1/contexts/{digest}`.
    pub missing: Vec<String>,
}

/// One line of the stream of log lines, one JSON object each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogRecord {
    /// The container's name.
    pub container: String,
    /// The service.
    pub service: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The text without its line end.
    pub text: String,
    /// Why this container's lines end here, when they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Box<Problem>>,
}
