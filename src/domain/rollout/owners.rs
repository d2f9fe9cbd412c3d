//! Tells the agents on one engine apart. Owns an agent's id and the refusal to touch what another
//! agent keeps. Face: `owner_id`, `refuse_other_agents`. Never counts a container without the label as another
//! agent's: agents of former versions wrote none.

use std::collections::{BTreeMap, BTreeSet};

use super::{Observed, PlanError, PlanErrors};
use crate::base::HashKey;
use crate::facts::{ContainerFacts, labels};

/// Hexadecimal digits of an agent's id: enough for all agents that ever meet on one engine.
const OWNER_DIGITS: usize = 16;

/// The id of the agent that has this key. It lives as long as the key: an agent that lost its
/// database is still the same.
pub fn owner_id(key: &HashKey) -> String {
    let mut id = key.digest(b"wharfinger owner 1").to_string();
    id.truncate(OWNER_DIGITS);
    id
}

impl Observed {
    /// The id of the other agent that made a container, if one did.
    pub fn other_owner<'c>(&self, container: &'c ContainerFacts) -> Option<&'c str> {
        let owner = container.all_labels.get(labels::OWNER)?;
        (*owner != self.owner).then_some(owner.as_str())
    }
}

/// What stands in the way of touching the project: containers of other agents, apart from one-off
/// ones and those that `passes` lets through.
///
/// # Errors
/// One error for each other agent.
pub(super) fn refuse_others(
    observed: &Observed,
    passes: impl Fn(&ContainerFacts) -> bool,
) -> Result<(), PlanErrors> {
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for container in observed.containers.iter().filter(|c| !c.oneoff && !passes(c)) {
        if let Some(agent) = observed.other_owner(container) {
            found.entry(agent).or_default().insert(container.name.clone());
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let errors = found.into_iter().map(|(agent, containers)| PlanError::OtherAgent {
        agent: agent.to_owned(),
        containers: containers.into_iter().collect(),
    });
    Err(PlanErrors(errors.collect()))
}

/// Refuses to touch a project of which another agent keeps containers.
///
/// # Errors
/// One error for each other agent.
pub fn refuse_other_agents(observed: &Observed) -> Result<(), PlanErrors> {
    refuse_others(observed, |_| false)
}
