//! Pauses, resumes and limits parts of the queue, and tells how it stands. Owns the change of one
//! control. Face: `ControlChange`, `Overview`, `Hosted::control`. Never stops what has begun.

use super::{Asker, Hosted, HostedError};
use crate::base::limits::QUEUE_CONTROLS_MAX;
use crate::domain::runs::{Agent, QueueControl, QueueScope, RunType};
use crate::store::QueueDepth;

/// What is to change about a part of the queue; what is absent stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlChange {
    /// Which part.
    pub scope: QueueScope,
    /// Whether nothing of it begins.
    pub is_paused: Option<bool>,
    /// Most runs of it that execute at once; `Some(None)` for no limit.
    pub concurrency_max: Option<Option<u32>>,
}

/// How the queue stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// What each type has queued and running.
    pub depths: Vec<QueueDepth>,
    /// What holds parts back.
    pub controls: Vec<QueueControl>,
    /// The agents that work on it.
    pub agents: Vec<Agent>,
    /// Claimants that wait for work here: what they call themselves, and the types they wait for.
    pub waiting: Vec<(String, Vec<RunType>)>,
}

impl Hosted {
    /// How the queue stands.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn overview(&self) -> Result<Overview, HostedError> {
        let workspace = self.scope().workspace_id;
        Ok(Overview {
            depths: self.store().queue_depths(workspace).await?,
            controls: self.store().queue_controls(workspace).await?,
            agents: self.store().agents().await?,
            waiting: self.room().waiting(),
        })
    }

    /// What holds parts of the queue back, by scope.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn controls(&self) -> Result<Vec<QueueControl>, HostedError> {
        Ok(self.store().queue_controls(self.scope().workspace_id).await?)
    }

    /// Pauses, resumes or limits a part of the queue. Returns how it is then.
    ///
    /// # Errors
    /// When the part is a type that nobody registered, too many parts are held back already, or the
    /// store does not take it.
    pub async fn control(
        &self,
        change: ControlChange,
        asker: &Asker,
    ) -> Result<QueueControl, HostedError> {
        let ControlChange { scope, is_paused, concurrency_max } = change;
        if let QueueScope::Type(RunType::Hosted(name)) = scope {
            self.type_named(name).await?;
        }
        let _one = self.changes.lock().await;
        let workspace_id = self.scope().workspace_id;
        let controls = self.store().queue_controls(workspace_id).await?;
        let count = controls.len();
        let known = controls.into_iter().find(|control| control.scope == scope);
        let is_further = known.is_none();
        let old = known.unwrap_or(QueueControl {
            workspace_id,
            scope,
            is_paused: false,
            concurrency_max: None,
        });
        let new = QueueControl {
            is_paused: is_paused.unwrap_or(old.is_paused),
            concurrency_max: concurrency_max.unwrap_or(old.concurrency_max),
            ..old.clone()
        };
        if new != old {
            if is_further && count >= QUEUE_CONTROLS_MAX {
                return Err(HostedError::TooManyControls(count));
            }
            self.door.control(new.clone(), self.actor(asker)).await?;
        }
        Ok(new)
    }
}
