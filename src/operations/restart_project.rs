//! Restarts a project's containers, dependencies first. Owns nothing but its order. Face:
//! `RestartProject`. Never changes what a container is.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;

use super::rollout::{Carried, Held, Rollout, carry_out, failures_of};
use super::{Operation, RunContext, RunEnd, store_failure, wrong_inputs};
use crate::domain::rollout::{Observed, PlanOptions, RestartOptions, plan_restart};
use crate::domain::runs::{End, Failure, Inputs, ReasonCode};
use crate::facts::ProjectSpec;

/// The operation.
pub struct RestartProject {
    rollout: Rollout,
}

impl RestartProject {
    /// The operation, on this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn restart(&self, run: RunContext) -> RunEnd {
        let Inputs::RestartProject(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let name = inputs.project;
        let project = self.rollout.store.project(run.run().workspace_id, name.clone()).await;
        let kept = match project {
            Ok(Some(project)) => self.rollout.kept(&project).await,
            Ok(None) => Ok(None),
            Err(error) => return RunEnd::failed(&run, [store_failure(&error)]),
        };
        let declared = match kept {
            Ok(Some(declared)) => declared,
            Ok(None) => {
                let message =
                    "the agent keeps no project of this name; bring it up with `wharf up`";
                return RunEnd::failed(&run, [Failure::new(ReasonCode::NotFound, name, message)]);
            }
            Err(error) => return RunEnd::failed(&run, failures_of(&error, &name)),
        };
        let services: BTreeSet<String> = inputs.services.into_iter().collect();
        let began = run.run().started_at.unwrap_or(run.run().created_at);
        let make = |_: &ProjectSpec, observed: &Observed, options: &PlanOptions| {
            let restart = RestartOptions {
                services: options.services.clone(),
                since: Some(began),
                hooks_due: options.hooks_due.clone(),
            };
            plan_restart(&declared.spec, observed, &restart)
        };
        let mut options = PlanOptions::explicit();
        options.services = Some(services).filter(|asked| !asked.is_empty());
        match carry_out(&run, &self.rollout, (&declared, Held::default()), options, &make).await {
            Carried::Stopped(stop) => RunEnd::stopped(stop),
            Carried::Refused => RunEnd::ended(End::Blocked),
            Carried::Failed { partly: true } => RunEnd::ended(End::PartiallySucceeded),
            Carried::Failed { partly: false } => RunEnd::ended(End::Failed),
            Carried::Done(_) => RunEnd::ended(End::Succeeded),
        }
    }
}

impl Operation for RestartProject {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.restart(run))
    }
}
