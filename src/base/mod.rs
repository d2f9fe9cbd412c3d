//! The ground: what every floor stands on. Owns ids, time and randomness as traits, secrets,
//! canonical JSON, YAML with positions, diagnostics and limits. Face: the types re-exported here.
//! Never does I/O, reads the environment or asks the machine for the time.

pub mod ambient;
pub mod canonical;
pub mod crash_points;
pub mod diagnostic;
pub mod entropy;
pub mod error_chain;
pub mod ids;
pub mod keyed;
pub mod limits;
pub mod name;
pub mod secret;
pub mod suggest;
pub mod time;
pub mod units;
pub mod yaml;

pub use ambient::Ambient;
pub use canonical::{CanonicalError, Digest, HashKey};
pub use crash_points::CrashPoints;
pub use diagnostic::{Diagnostic, Diagnostics, Location};
pub use entropy::Entropy;
pub use error_chain::chain;
pub use name::{Name, NotAName};
pub use secret::Secret;
pub use time::{Clock, Timestamp};
