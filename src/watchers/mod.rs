//! Those who notice and submit. Owns one module per thing that is watched. Face: one `watch` each.
//! Never acts on the world: what has to be done goes through the door, and an observation is not
//! a run.

pub mod convergence;
pub mod deliveries;
pub mod enforcement;
pub mod findings;
pub mod glass;
pub mod policies;
mod reconnect;
pub mod scanning;
pub mod schedules;
pub mod sealing;
#[cfg(test)]
mod stage;
pub mod unhealthy;
