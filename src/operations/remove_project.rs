//! Takes a project's containers and networks away, on request its volumes too. Owns what the end of
//! a removal records. Face: `RemoveProject`. Never removes what is not the project's.

use futures_util::future::BoxFuture;

use super::rollout::{Carried, Declared, Held, Rollout, carry_out, failures_of};
use super::{Operation, RunContext, RunEnd, store_failure, wrong_inputs};
use crate::domain::rollout::{
    Observed, PlanOptions, RemovalOptions, plan_removal, refuse_other_agents,
};
use crate::domain::runs::{End, Inputs};
use crate::facts::ProjectSpec;
use crate::store::Write;

/// The operation.
pub struct RemoveProject {
    rollout: Rollout,
}

impl RemoveProject {
    /// The operation, on this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn remove(&self, run: RunContext) -> RunEnd {
        let Inputs::RemoveProject(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let workspace = run.run().workspace_id;
        let declared = match self.last_applied(&run, &inputs.project).await {
            Ok(declared) => declared,
            Err(end) => return end,
        };
        let wanted = RemovalOptions {
            volumes: inputs.volumes,
            built_images: false,
            orphans: true,
            unmanaged: false,
        };
        let make = |_: &ProjectSpec, observed: &Observed, _: &PlanOptions| {
            refuse_other_agents(observed)?;
            Ok(plan_removal(&declared.spec, observed, wanted))
        };
        let options = PlanOptions::explicit();
        match carry_out(&run, &self.rollout, (&declared, Held::default()), options, &make).await {
            Carried::Stopped(stop) => RunEnd::stopped(stop),
            Carried::Refused => RunEnd::ended(End::Blocked),
            Carried::Failed { partly: true } => RunEnd::ended(End::PartiallySucceeded),
            Carried::Failed { partly: false } => RunEnd::ended(End::Failed),
            Carried::Done(observed) => {
                let nothing = ProjectSpec { name: inputs.project.clone(), ..Default::default() };
                if let Err(error) = self.rollout.collect_files(&nothing, &observed) {
                    run.log(format!("files stay: {}", crate::base::chain(&error)));
                }
                let name = inputs.project;
                let mut end = RunEnd::ended(End::Succeeded);
                if inputs.volumes {
                    let project = name.clone();
                    end = end.write(Write::ForgetVolumes { workspace_id: workspace, project });
                }
                end.write(Write::ForgetProject { workspace_id: workspace, name })
            }
        }
    }

    /// What was applied last. A project that the agent never knew still has labels, so that it can
    /// be removed by them.
    async fn last_applied(&self, run: &RunContext, name: &str) -> Result<Declared, RunEnd> {
        let project = self.rollout.store.project(run.run().workspace_id, name.to_owned()).await;
        let project = project.map_err(|error| RunEnd::failed(run, [store_failure(&error)]))?;
        let Some(project) = project else { return Ok(Declared::unknown(name)) };
        match self.rollout.kept(&project).await {
            Ok(declared) => Ok(declared.unwrap_or_else(|| Declared::unknown(name))),
            Err(error) => {
                for failure in failures_of(&error, name) {
                    run.log(format!("removing by labels alone: {}", failure.message.as_str()));
                }
                Ok(Declared::unknown(name))
            }
        }
    }
}

impl Operation for RemoveProject {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.remove(run))
    }
}
