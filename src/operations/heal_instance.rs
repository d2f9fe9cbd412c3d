//! Restarts one container whose health check fails. Owns that step, with the service's hooks around
//! it. Face: `HealInstance`. Never restarts a container that was started since the run was asked
//! for, so that neither a crash nor a lost answer restarts one twice.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::rollout::{HookEnd, PreviewError, Rollout, hook_steps};
use super::{
    Operation, RunContext, RunEnd, Step, StepError, container_failure, count, store_failure,
    wrong_inputs,
};
use crate::base::chain;
use crate::domain::runs::{self, CountKey, End, HealInstance as Inputs, Undo};
use crate::facts::{ContainerFacts, ContainerState, Health, HookKind, ServiceUnit};

/// The operation.
pub struct HealInstance {
    rollout: Rollout,
}

impl HealInstance {
    /// The operation, on this engine.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn heal(&self, run: RunContext) -> RunEnd {
        let runs::Inputs::HealInstance(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let engine = &self.rollout.engine;
        let name = name_of(&inputs);
        let found = match engine.container(&inputs.container_id).await {
            Ok(found) => found,
            Err(error) => return RunEnd::failed(&run, [container_failure(&error, &name)]),
        };
        let asked_at = run.run().created_at;
        let is_as_asked = |found: &ContainerFacts| {
            found.health == Health::Unhealthy && found.started_at.is_none_or(|at| at < asked_at)
        };
        let unit = self.unit(&run, &inputs).await;
        let Some(found) = found else { return not_needed(&run, &inputs) };
        if is_as_asked(&found) {
            return self.restart(&run, &inputs, (&found, &unit)).await;
        }
        // It was restarted by an earlier attempt of this run, which did not come to its hooks.
        match run.details().hooks_due.get(&found.id) {
            Some(first) if found.state == ContainerState::Running => {
                self.after_start(&run, &inputs, (&found, &unit), *first).await
            }
            _ => not_needed(&run, &inputs),
        }
    }

    /// The service as it is kept, for its hooks. A restart helps without them too.
    async fn unit(&self, run: &RunContext, inputs: &Inputs) -> ServiceUnit {
        let project = self.rollout.store.project(run.run().workspace_id, inputs.project.clone());
        let kept = match project.await {
            Ok(Some(project)) => self.rollout.kept(&project).await,
            Ok(None) => Ok(None),
            Err(error) => Err(PreviewError::Store(error)),
        };
        match kept {
            Ok(kept) => {
                let unit = kept.and_then(|mut kept| kept.spec.services.remove(&inputs.service));
                unit.unwrap_or_default()
            }
            Err(error) => {
                run.log(format!("its hooks are not known: {}", chain(&error)));
                ServiceUnit::default()
            }
        }
    }

    /// Restarts the container, with what is hooked to its stop and its start.
    async fn restart(
        &self,
        run: &RunContext,
        inputs: &Inputs,
        (found, unit): (&ContainerFacts, &ServiceUnit),
    ) -> RunEnd {
        let (engine, name) = (&*self.rollout.engine, name_of(inputs));
        let (number, most) = (inputs.number_of_try, inputs.tries_max);
        let cause = format!("its health check fails; try {number} of {most}");
        let is_running = found.state == ContainerState::Running;
        let hooks = (unit, HookKind::PreStop, if is_running { 0 } else { unit.pre_stop.len() });
        match hook_steps(run, engine, found, hooks, &cause).await {
            HookEnd::Done => {}
            // It does not keep the container from being restarted.
            HookEnd::Failed(failure) => run.fail(failure),
            HookEnd::Stopped(stop) => return RunEnd::stopped(stop),
        }
        let step = Step {
            key: format!("restart:{}", found.name),
            description: format!("restart container {}", found.name),
            cause,
            undo: Undo::Nothing,
        };
        if !unit.post_start.is_empty() {
            run.describe(|told| told.owe_hooks(&found.id, Some(0)));
            if let Err(error) = run.save().await {
                return RunEnd::failed(run, [store_failure(&error)]);
            }
        }
        let grace = inputs.grace_seconds.map(Duration::from_secs);
        match run.step(step, engine.restart_container(&found.id, grace)).await {
            Ok(()) => {
                count(run, CountKey::Started, 1);
                self.after_start(run, inputs, (found, unit), 0).await
            }
            Err(StepError::Stopped(stop)) => RunEnd::stopped(stop),
            Err(StepError::Failed(error)) => {
                RunEnd::failed(run, [container_failure(&error, &name)])
            }
            Err(StepError::NotRecorded(error)) => RunEnd::failed(run, [store_failure(&error)]),
        }
    }

    /// What is hooked to the start, and the end of the run.
    async fn after_start(
        &self,
        run: &RunContext,
        inputs: &Inputs,
        (found, unit): (&ContainerFacts, &ServiceUnit),
        first: usize,
    ) -> RunEnd {
        let hooks = (unit, HookKind::PostStart, first);
        match hook_steps(run, &*self.rollout.engine, found, hooks, "it was restarted").await {
            HookEnd::Done => {}
            HookEnd::Failed(failure) => return RunEnd::failed(run, [failure]),
            HookEnd::Stopped(stop) => return RunEnd::stopped(stop),
        }
        let (name, project) = (name_of(inputs), &inputs.project);
        let (number, most) = (inputs.number_of_try, inputs.tries_max);
        RunEnd::ended(End::Succeeded).summary(format!(
            "{name} of project {project} was restarted because its health check failed, try \
             {number} of {most}"
        ))
    }
}

fn name_of(inputs: &Inputs) -> String {
    format!("{}/{}", inputs.service, inputs.number)
}

fn not_needed(run: &RunContext, inputs: &Inputs) -> RunEnd {
    count(run, CountKey::Skipped, 1);
    RunEnd::ended(End::Succeeded).summary(format!(
        "{} of project {} needs no restart any more",
        name_of(inputs),
        inputs.project
    ))
}

impl Operation for HealInstance {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.heal(run))
    }
}
