//! The command-line client. Owns what a user types and reads. Face: its verbs. Never decides what a
//! project means: that is the domain's.

pub mod compose_config;
