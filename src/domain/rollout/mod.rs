//! Plans how a project becomes as declared. Owns the plan, its causes, the contract digest, and the
//! rules for replacing, starting, adopting, removing and fetching. Face: `plan`, `plan_removal`,
//! `plan_restart`, `plan_pull`, `plan_build`, `Plan`, `Contract`. Never touches an engine: it maps what was found to steps.

mod cause;
mod contract;
mod diff;
mod drafting;
mod error;
mod fetching;
mod graph;
mod hooks;
mod host_paths;
mod images;
mod judge;
mod layers;
mod naming;
mod networks;
mod observed;
mod owners;
mod plan;
mod planner;
mod removal;
mod replacing;
mod restarting;
mod start;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use cause::Cause;
pub use contract::{CONTRACT_PARTS, Contract};
pub use diff::{Change, ChangeKind, FieldChange};
pub use error::{PlanError, PlanErrors};
pub use fetching::{BuildOptions, PullOptions, plan_build, plan_pull};
pub use graph::{Bond, parents};
pub use host_paths::{Caller, HostPathPolicy, HostPathRefusal, HostPathUse, host_paths};
pub use layers::{Revision, layered};
pub use naming::{
    CONTEXT_LABEL, container_name, image_reference, is_replacement_name, replacement_name,
};
pub use observed::{Exit, Observed, PlanOptions, Trigger};
pub use owners::{owner_id, refuse_other_agents};
pub use plan::{Action, Notice, Plan, Step, StepId, Target};
pub use planner::{networks_in_order, plan};
pub use removal::{RemovalOptions, plan_removal};
pub use replacing::failed_by_itself;
pub use restarting::{RestartOptions, plan_restart};
pub use start::{EXITED_BY_SIGNAL, Wanted, wants_start};
