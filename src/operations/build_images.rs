//! Builds the images of a project's services now. Owns what is asked of the plan. Face: `BuildImages`. Never
//! starts a container: what was built runs when somebody brings the project up.

use futures_util::future::BoxFuture;

use super::rollout::{Rollout, end_of, fetch_images};
use super::{Operation, RunContext, RunEnd, wrong_inputs};
use crate::domain::rollout::{BuildOptions, plan_build};
use crate::domain::runs::{End, Inputs};

/// The operation.
pub struct BuildImages {
    rollout: Rollout,
}

impl BuildImages {
    /// The operation, on this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn build(&self, run: RunContext) -> RunEnd {
        let Inputs::BuildImages(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let about = (inputs.project.as_str(), inputs.revision_id, &inputs.wanted);
        let Some(mut declared) = self.rollout.declared_for(&run, about).await else {
            return RunEnd::ended(End::Failed);
        };
        let choices = &inputs.choices;
        let builds = declared.spec.services.values_mut().filter_map(|unit| unit.build.as_mut());
        for build in builds {
            build.no_cache |= choices.no_cache;
            build.pull |= choices.pull;
        }
        let services = declared.asked(&choices.services);
        let include_deps = choices.include_deps;
        let options = BuildOptions { services, include_deps, ..BuildOptions::default() };
        let plan = |_: &_, done: &_| {
            let options = BuildOptions { done: Clone::clone(done), ..options.clone() };
            plan_build(&declared.spec, &options)
        };
        end_of(fetch_images(&run, &self.rollout, &declared, &plan).await, false)
    }
}

impl Operation for BuildImages {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.build(run))
    }
}
