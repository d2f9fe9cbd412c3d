//! What the proofs on a real engine share: the agent as a process, a recording proxy before the
//! engine, images, projects on disk. Owns their clean-up: every `Drop` removes what it made.

pub mod agent;
pub mod engine;
pub mod private_engine;
pub mod project;
pub mod proxy;
pub mod registry;
