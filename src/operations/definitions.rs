//! Knows the definitions of types: ours from the code, hosted ones from the store, for a moment.
//! Owns that memory. Face: `Definitions::find`. Never decides by it what the store decides: there,
//! the record itself counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::ids::WorkspaceId;
use crate::base::time::between;
use crate::base::{Ambient, Name, Timestamp};
use crate::domain::runs::{Definition, RunType};
use crate::store::{Store, StoreError};

/// How long a definition is believed: another agent may have registered a newer one.
const BELIEVED: Duration = Duration::from_secs(5);

/// A definition, and when it was read.
type Known = (Timestamp, Definition);

/// Definitions that were read lately.
#[derive(Debug, Default)]
pub(super) struct Definitions(Mutex<BTreeMap<(WorkspaceId, Name), Known>>);

impl Definitions {
    /// What is fixed about runs of a type; none for a hosted type that is not registered.
    pub(super) async fn find(
        &self,
        store: &dyn Store,
        ambient: &Ambient,
        workspace: WorkspaceId,
        run_type: RunType,
    ) -> Result<Option<Definition>, StoreError> {
        let RunType::Hosted(name) = run_type else { return Ok(run_type.built_in().cloned()) };
        let now = ambient.now();
        if let Some((read_at, definition)) = self.known().get(&(workspace, name))
            && between(*read_at, now) < BELIEVED
        {
            return Ok(Some(definition.clone()));
        }
        let found = store.hosted_type(workspace, name).await?.map(|hosted| hosted.definition);
        match &found {
            Some(definition) => {
                self.known().insert((workspace, name), (now, definition.clone()));
            }
            None => {
                self.known().remove(&(workspace, name));
            }
        }
        Ok(found)
    }

    /// A type is registered anew.
    pub(super) fn forget(&self, workspace: WorkspaceId, name: Name) {
        self.known().remove(&(workspace, name));
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(WorkspaceId, Name), Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
