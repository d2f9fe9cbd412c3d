//! Fetches the images of a project's services now. Owns what is asked of the plan. Face:
//! `PullImages`. Never changes a container: what was fetched runs when somebody brings the project up.

use futures_util::future::BoxFuture;

use super::rollout::{Rollout, end_of, fetch_images};
use super::{Operation, RunContext, RunEnd, wrong_inputs};
use crate::domain::rollout::{PullOptions, plan_pull};
use crate::domain::runs::{End, Inputs};

/// The operation.
pub struct PullImages {
    rollout: Rollout,
}

impl PullImages {
    /// The operation, on this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn pull(&self, run: RunContext) -> RunEnd {
        let Inputs::PullImages(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let about = (inputs.project.as_str(), inputs.revision_id, &inputs.wanted);
        let Some(declared) = self.rollout.declared_for(&run, about).await else {
            return RunEnd::ended(End::Failed);
        };
        let choices = &inputs.choices;
        let options = PullOptions {
            services: declared.asked(&choices.services),
            include_deps: choices.include_deps,
            include_buildable: choices.include_buildable,
            missing_only: choices.missing_only,
            ..PullOptions::default()
        };
        let plan = |images: &_, done: &_| {
            let options = PullOptions { done: Clone::clone(done), ..options.clone() };
            plan_pull(&declared.spec, images, &options)
        };
        let fetched = fetch_images(&run, &self.rollout, &declared, &plan).await;
        end_of(fetched, choices.ignore_failures)
    }
}

impl Operation for PullImages {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.pull(run))
    }
}
