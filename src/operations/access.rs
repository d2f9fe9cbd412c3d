//! Keeps who may do what. Owns the picture of the records that requests are judged by, and the
//! commands that change them. Face: `Access`, `AccessError`. Never lets anybody give what they do not hold.

mod certificates;
mod commands;
mod glass;
mod proofs;
mod tokens;
mod workspaces;

use std::sync::{Arc, Mutex, PoisonError};

use super::Within;
use crate::base::limits::DIRECTORY_AGE_MAX;
use crate::base::time::between;
use crate::base::{Ambient, Timestamp};
use crate::domain::access::{Allowance, Directory};
use crate::store::{Store, StoreError};

pub use commands::{AccessError, MemberSpec, UserSpec};
pub use proofs::{Counted, ProofError};
pub use tokens::{NewToken, TOKEN_LIFE_DEFAULT};
pub use workspaces::WorkspaceSpec;

/// Knows who may do what. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    store: Arc<dyn Store>,
    ambient: Ambient,
    picture: Arc<Mutex<Picture>>,
    proofs: Arc<proofs::Proofs>,
    within: Within,
}

/// The records as they were read last.
#[derive(Default)]
struct Picture {
    read: Option<(Arc<Directory>, Timestamp)>,
    /// How often it was thrown away: what was read before is not kept after.
    turn: u64,
}

impl Access {
    /// On this store.
    pub fn new(store: Arc<dyn Store>, ambient: Ambient) -> Self {
        let within = Within::host(store.scope());
        Self { store, ambient, picture: Arc::default(), proofs: Arc::default(), within }
    }

    /// The same, with another allowance for each principal. Nobody was seen yet.
    #[must_use]
    pub fn allowing(self, allowance: Allowance) -> Self {
        Self { proofs: Arc::new(proofs::Proofs::new(allowance)), ..self }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// What the records say. What this agent changed is in it; what another one changed is after
    /// `DIRECTORY_AGE_MAX`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn directory(&self) -> Result<Arc<Directory>, StoreError> {
        let now = self.ambient.now();
        let turn = {
            let picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((found, at)) = &picture.read
                && between(*at, now) < DIRECTORY_AGE_MAX
                && *at <= now
            {
                return Ok(Arc::clone(found));
            }
            picture.turn
        };
        let found = Arc::new(self.store.access().await?);
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        if picture.turn == turn {
            picture.read = Some((Arc::clone(&found), now));
        }
        Ok(found)
    }

    /// The records were changed here.
    fn forget(&self) {
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        picture.turn += 1;
        picture.read = None;
    }
}
