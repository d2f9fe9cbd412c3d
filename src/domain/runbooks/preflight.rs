//! Says what a runbook would do, and tells two such sayings apart. Owns the digest that a start
//! carries. Face: `Preflight`. Never looks itself: what is counted comes in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Ask;
use crate::base::{CanonicalError, Digest, canonical};

/// Changes when the hashed form changes.
const VERSION: &[u8] = b"wharfinger preflight 1";

/// What a runbook would do, found without doing it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// What would change.
    pub affected_count: u64,
    /// What would be looked at.
    pub total_count: u64,
    /// The tenants it would work for; for all tenants only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_tenants: Option<u64>,
    /// What else an operator should know, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

impl Preflight {
    /// Stands for the runbook as it is now (`definition`), what is asked of it and all that was
    /// found. A start that carries another one is stale.
    ///
    /// # Errors
    /// When a number is past 2^53.
    pub fn digest(&self, ask: &Ask, definition: Digest) -> Result<Digest, CanonicalError> {
        let found = json!({ "ask": ask, "found": self });
        let definition = definition.to_string();
        Ok(Digest::of_parts(&[VERSION, definition.as_bytes(), &canonical::to_bytes(&found)?]))
    }
}
