//! The wire form of the queue for operators: how it stands, and what holds parts of it back. Owns
//! the shapes. Face: `QueueView`, `ControlView`, `PutControl`, `Retry`. Never shows a payload.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::hosted::given;
use crate::base::Timestamp;
use crate::domain::runs::{Agent, QueueControl, QueueScope};
use crate::operations::hosted::Overview;
use crate::store::QueueDepth;

/// How the queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Each type that has something queued or running.
    pub types: Vec<DepthView>,
    /// What holds parts of the queue back.
    pub controls: Vec<ControlView>,
    /// The agents that work on it.
    pub agents: Vec<QueueAgentView>,
    /// Hosted workers that wait for work at this agent.
    pub waiting_workers: Vec<WaitingWorker>,
}

/// How much of one type there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DepthView {
    /// The type.
    #[serde(rename = "type")]
    pub run_type: String,
    /// Runs that want a worker, now or later.
    pub queued: u64,
    /// Runs that have begun and not ended.
    pub running: u64,
    /// When the oldest run that wants a worker was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_queued_at: Option<Timestamp>,
}

impl From<&QueueDepth> for DepthView {
    fn from(depth: &QueueDepth) -> Self {
        Self {
            run_type: depth.run_type.to_string(),
            queued: depth.queued,
            running: depth.running,
            oldest_queued_at: depth.oldest_queued_at,
        }
    }
}

/// An agent that works on the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueAgentView {
    /// The name of its host.
    pub hostname: String,
    /// The id of its host.
    pub host_id: String,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Its last sign of life.
    #[schema(value_type = String, format = DateTime)]
    pub heartbeat_at: Timestamp,
}

impl From<&Agent> for QueueAgentView {
    fn from(agent: &Agent) -> Self {
        Self {
            hostname: agent.hostname.clone(),
            host_id: agent.host_id.to_string(),
            started_at: agent.started_at,
            heartbeat_at: agent.heartbeat_at,
        }
    }
}

/// A hosted worker that waits for work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingWorker {
    /// What it calls itself.
    pub worker: String,
    /// The types it waits for.
    pub types: Vec<String>,
}

impl From<&Overview> for QueueView {
    fn from(overview: &Overview) -> Self {
        let waiting = overview.waiting.iter().map(|(worker, types)| WaitingWorker {
            worker: worker.clone(),
            types: types.iter().map(ToString::to_string).collect(),
        });
        Self {
            types: overview.depths.iter().map(DepthView::from).collect(),
            controls: overview.controls.iter().map(ControlView::from).collect(),
            agents: overview.agents.iter().map(QueueAgentView::from).collect(),
            waiting_workers: waiting.collect(),
        }
    }
}

/// What holds a part of the queue back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ControlView {
    /// `workspace`, `tenant:<id>` or `type:<run type>`.
    #[schema(example = "type:shop.send_invoices")]
    pub scope: String,
    /// Nothing of it begins while it is.
    pub is_paused: bool,
    /// Most runs and jobs of it that execute at once; null for no limit.
    pub concurrency_max: Option<u32>,
}

impl From<&QueueControl> for ControlView {
    fn from(control: &QueueControl) -> Self {
        Self {
            scope: control.scope.to_string(),
            is_paused: control.is_paused,
            concurrency_max: control.concurrency_max,
        }
    }
}

/// Changes what holds a part of the queue back. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutControl {
    /// `workspace`, `tenant:<id>` or `type:<run type>`.
    #[schema(example = "workspace")]
    pub scope: String,
    /// Whether nothing of it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_paused: Option<bool>,
    /// Most runs and jobs of it that execute at once; null for no limit.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub concurrency_max: Option<Option<u32>>,
}

impl PutControl {
    /// The part of the queue.
    ///
    /// # Errors
    /// When the text names none.
    pub fn scope(&self) -> Result<QueueScope, crate::base::keyed::UnknownKey> {
        self.scope.parse()
    }
}

/// Which parts of a dead letter are tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Parts {
    /// Everything, from the beginning.
    #[default]
    All,
    /// Only the jobs that were not done.
    FailedOnly,
}

/// Tries a dead letter again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Which parts.
    pub parts: Parts,
}
