//! The wire form of the agent itself. Owns the shape. Face: `AgentView`. Never tells a key or a
//! secret setting.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::Timestamp;

/// The agent, for whoever wants to know how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    /// Its id, on the label `wharfinger.owner` of everything that it makes.
    pub id: String,
    /// Its version.
    pub version: String,
    /// When the process started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Its clock.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// Folder of its database, keys and build contexts.
    pub state_dir: String,
    /// Free space there; absent when the system does not tell.
    pub state_dir_available_bytes: Option<u64>,
    /// Where it looks for the engine.
    pub engine_address: String,
    /// `ok`, or what is wrong with the engine.
    pub engine: String,
    /// `ok`, or what is wrong with the database.
    pub store: String,
}
