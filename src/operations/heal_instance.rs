//! Restarts one container whose health check fails. Owns nothing but its one step. Face:
//! `HealInstance`. Never restarts a container that was started since the run was asked for, so that
//! neither a crash nor a lost answer restarts one twice.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::deploy_project::wrong_inputs;
use super::rollout::Rollout;
use super::{Operation, RunContext, RunEnd, Step, StepError, store_failure};
use crate::domain::runs::{CountKey, End, Failure, Inputs, ReasonCode, Undo};
use crate::facts::{ContainerFacts, Health};
use crate::world::docker::{EngineError, EngineErrorKind};

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
        let Inputs::HealInstance(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let engine = &self.rollout.engine;
        let name = format!("{}/{}", inputs.service, inputs.number);
        let found = match engine.container(&inputs.container_id).await {
            Ok(found) => found,
            Err(error) => return failed(&run, &name, &error),
        };
        let asked_at = run.run().created_at;
        let is_as_asked = |found: &ContainerFacts| {
            found.health == Health::Unhealthy && found.started_at.is_none_or(|at| at < asked_at)
        };
        let Some(found) = found.filter(is_as_asked) else {
            count(&run, CountKey::Skipped);
            return RunEnd::ended(End::Succeeded).summary(format!(
                "{name} of project {} needs no restart any more",
                inputs.project
            ));
        };
        let step = Step {
            key: format!("restart:{}", found.name),
            description: format!("restart container {}", found.name),
            cause: format!(
                "its health check fails; try {} of {}",
                inputs.number_of_try, inputs.tries_max
            ),
            undo: Undo::Nothing,
        };
        let grace = inputs.grace_seconds.map(Duration::from_secs);
        match run.step(step, engine.restart_container(&found.id, grace)).await {
            Ok(()) => {
                count(&run, CountKey::Started);
                RunEnd::ended(End::Succeeded).summary(format!(
                    "{name} of project {} was restarted because its health check failed, try {} of {}",
                    inputs.project, inputs.number_of_try, inputs.tries_max
                ))
            }
            Err(StepError::Stopped(stop)) => RunEnd::stopped(stop),
            Err(StepError::Failed(error)) => failed(&run, &name, &error),
            Err(StepError::NotRecorded(error)) => {
                run.fail(store_failure(&error));
                RunEnd::ended(End::Failed)
            }
        }
    }
}

fn count(run: &RunContext, key: CountKey) {
    if let Err(error) = run.count(key, 1) {
        tracing::error!(%error, "not counted");
    }
}

fn failed(run: &RunContext, name: &str, error: &EngineError) -> RunEnd {
    let code = match error.kind {
        EngineErrorKind::Unreachable => ReasonCode::EngineUnreachable,
        EngineErrorKind::TimedOut => ReasonCode::EngineTimeout,
        EngineErrorKind::NotFound => ReasonCode::NotFound,
        _ => ReasonCode::EngineRefused,
    };
    run.fail(Failure::new(code, name, format!("{error}; {}", error.hint())));
    RunEnd::ended(End::Failed)
}

impl Operation for HealInstance {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.heal(run))
    }
}
