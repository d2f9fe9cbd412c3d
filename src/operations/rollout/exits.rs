//! Remembers how containers ended that somebody watched end. Owns that memory. Face: `ExitLog`.
//! Never outlives the process: after a start, a container's exit status has to tell.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::rollout::Exit;

/// How containers ended, by the engine's id. Written by who watches the engine's events, read by
/// who looks at a project.
#[derive(Debug, Default)]
pub struct ExitLog(Mutex<BTreeMap<String, Exit>>);

impl ExitLog {
    /// The container ended so.
    pub fn note(&self, container_id: &str, exit: Exit) {
        self.lock().insert(container_id.to_owned(), exit);
    }

    /// The container runs again, or is gone.
    pub fn forget(&self, container_id: &str) {
        self.lock().remove(container_id);
    }

    /// What is known of a container.
    pub fn get(&self, container_id: &str) -> Option<Exit> {
        self.lock().get(container_id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Exit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
