//! Plans the restart of services. Owns that order: dependencies first. Face: `plan_restart`.
//! Never restarts a container that is not ours, or one of `compose run`.

use std::collections::{BTreeMap, BTreeSet};

use super::drafting::{Draft, Drafted};
use super::graph;
use super::hooks;
use super::planner::existing;
use super::{Action, Cause, Observed, Plan, PlanError, PlanErrors, refuse_other_agents};
use crate::base::Timestamp;
use crate::facts::{ContainerFacts, ContainerState, ProjectSpec, RestartPolicy};

/// What is restarted.
#[derive(Debug, Clone, Default)]
pub struct RestartOptions {
    /// Only these services; `None` is all.
    pub services: Option<BTreeSet<String>>,
    /// What was started since has been restarted, whoever did it; so the plan becomes empty, and
    /// neither a lost answer nor a crash makes a container restart twice.
    pub since: Option<Timestamp>,
    /// Containers that this run started and whose `post_start` hooks have not all ended, by id: the
    /// index of the first one.
    pub hooks_due: BTreeMap<String, usize>,
}

/// The steps that restart the asked services.
///
/// # Errors
/// A service that the project does not declare, services that wait for each other, or containers
/// of another agent.
pub fn plan_restart(
    desired: &ProjectSpec,
    observed: &Observed,
    options: &RestartOptions,
) -> Result<Plan, PlanErrors> {
    let services = options.services.as_ref();
    let unknown = services.into_iter().flatten().filter(|s| !desired.services.contains_key(*s));
    let errors: Vec<_> =
        unknown.map(|service| PlanError::UnknownService { service: service.clone() }).collect();
    if !errors.is_empty() {
        return Err(PlanErrors(errors));
    }
    refuse_other_agents(observed)?;
    let order = graph::dependency_order(desired)
        .map_err(|services| PlanErrors(vec![PlanError::DependencyCycle { services }]))?;
    let mut draft = Draft::default();
    let mut restarted: BTreeMap<&str, Vec<Drafted>> = BTreeMap::new();
    for service in order {
        if services.is_some_and(|asked| !asked.contains(service)) {
            continue;
        }
        let before = graph::predecessors(desired, service);
        let before: Vec<Drafted> = before
            .iter()
            .filter_map(|name| restarted.get(name.as_str()))
            .flatten()
            .copied()
            .collect();
        for container in &observed.containers {
            let Some(instance) = container.instance.as_ref() else { continue };
            let is_meant = instance.service == service && !container.oneoff;
            if !is_meant {
                continue;
            }
            let target = existing(container, instance);
            let started = container.started_at;
            if options.since.zip(started).is_some_and(|(since, started)| started >= since) {
                let first = options.hooks_due.get(&container.id).copied();
                let first = first.filter(|_| container.state == ContainerState::Running);
                let due = first.zip(desired.services.get(service));
                let rest = due.and_then(|(first, unit)| {
                    hooks::rest(&mut draft, (unit, first), &target, &container.name)
                });
                restarted.entry(service).or_default().extend(rest);
                continue;
            }
            if !observed.is_ours(container) {
                draft.notice("not_adopted", &container.name, "made by somebody else; left alone");
                continue;
            }
            if services.is_none() && is_done(container) {
                draft.notice("done", &container.name, "its work is done; name it to repeat it");
                continue;
            }
            let action = Action::RestartContainer { container: target };
            let step = draft.add(action, container.name.clone(), Cause::Requested);
            draft.need(step, before.iter().copied());
            restarted.entry(service).or_default().push(step);
        }
    }
    hooks::insert(&mut draft, desired, observed);
    Ok(draft.finish(&desired.name))
}

/// A migration is not repeated because its project is restarted.
fn is_done(container: &ContainerFacts) -> bool {
    let is_kept_up =
        matches!(container.spec.restart, RestartPolicy::Always | RestartPolicy::UnlessStopped);
    container.state == ContainerState::Exited && container.exit_code == 0 && !is_kept_up
}
