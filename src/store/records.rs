//! Shapes the records that are neither runs nor audit events. Owns projects, revisions, adoptions.
//! Face: the structs. Never knows a column.

use std::sync::Arc;

use crate::base::ids::{HostId, RevisionId, TenantId, UserId, WorkspaceId};
use crate::base::keyed::keyed;
use crate::base::{Digest, Timestamp};
use crate::domain::rollout::Exit;
use crate::domain::runs::{Attempt, OperationRun, Status, Wanted};

use super::Write;

/// The scope of a single host: created at the first start from the OS user who runs the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The owner.
    pub owner_id: UserId,
    /// The owner's name.
    pub owner_name: String,
    /// The host.
    pub host_id: HostId,
}

keyed! {
    /// What the agent keeps a project at.
    pub enum Desired: "desired state" {
        /// As its revision declares.
        Running = "running",
        /// However it is: the agent leaves it alone.
        Paused = "paused",
        /// Gone; the record goes when its containers are.
        Removed = "removed",
    }
}

/// A compose project that the agent keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Its tenant.
    pub tenant_id: Option<TenantId>,
    /// Its compose name.
    pub name: String,
    /// What the agent keeps it at.
    pub desired: Desired,
    /// The files that were applied last.
    pub revision_id: Option<RevisionId>,
    /// Which of its services are kept, and as which revision declares them.
    pub wanted: Wanted,
    /// The files that were brought up wholly last.
    pub deployed_revision_id: Option<RevisionId>,
    /// The digest of what was brought up last.
    pub spec_digest: Option<Digest>,
    /// When it was first applied.
    pub created_at: Timestamp,
    /// When this record changed last.
    pub updated_at: Timestamp,
}

impl Project {
    /// The condition that what it is kept at, and its services and files, are still these.
    pub fn expected(&self) -> Write {
        Write::ExpectProject {
            workspace_id: self.workspace_id,
            name: self.name.clone(),
            desired: self.desired,
            revision_id: self.revision_id,
            wanted: self.wanted.clone(),
        }
    }
}

/// A stored bundle of a project's files, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its name.
    pub id: RevisionId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The compose project.
    pub project: String,
    /// The digest of the content; keyed, because files may hold secrets.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size_bytes: u64,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// A container that Docker Compose created and the agent took over. It has no label of ours, so
/// its hash is kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The compose project.
    pub project: String,
    /// The service.
    pub service: String,
    /// The container's number within the service.
    pub number: u32,
    /// The container as it was adopted; one that replaces it is not adopted.
    pub container_id: String,
    /// The hash that our label would carry.
    pub spec_hash: Digest,
    /// When it was taken over.
    pub adopted_at: Timestamp,
}

/// The latest exit of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerExit {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The compose project.
    pub project: String,
    /// The service.
    pub service: String,
    /// The container's number within the service.
    pub number: u32,
    /// The container that exited.
    pub container_id: String,
    /// How it ended.
    pub ended: Exit,
    /// Its exit code.
    pub exit_code: i64,
    /// How often this container was seen to exit.
    pub count: u64,
    /// When it was seen last, by the engine's clock where the engine told of it.
    pub seen_at: Timestamp,
}

/// The runs of one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The status.
    pub status: Status,
    /// How many there are.
    pub runs: u64,
    /// When the oldest one was accepted.
    pub oldest: Timestamp,
}

/// An attempt that no process has ended, with its run.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAttempt {
    /// The run.
    pub run: OperationRun,
    /// Its open attempt.
    pub attempt: Attempt,
    /// How many attempts of the run were interrupted before.
    pub interruptions: u32,
}

/// What happened to the database when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Migrated {
    /// It had the newest form already.
    Nothing,
    /// It was empty.
    Created,
    /// It had an older form.
    Upgraded {
        /// That form.
        from: u32,
        /// The form it has now.
        to: u32,
    },
    /// It had the newest form already, and did not know this host.
    Joined,
}

/// Hears how many writes a durable commit held.
pub type CommitObserver = Arc<dyn Fn(usize) + Send + Sync>;
