//! The mind: functions from facts to decisions. Owns every rule of the domain. Face: one module per
//! noun. Never does I/O, reads a clock or draws a random number: all of it comes in as arguments.

pub mod access;
pub mod advisories;
pub mod alerts;
pub mod audit;
pub mod compose;
pub mod enforcement;
pub mod findings;
pub mod healing;
pub mod images;
pub mod policy;
pub mod redaction;
pub mod registries;
pub mod rollout;
pub mod runbooks;
pub mod runs;
pub mod sbom;
pub mod scans;
pub mod schedules;
