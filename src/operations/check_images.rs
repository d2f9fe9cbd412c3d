//! Asks registries what the names of running images lead to now. Owns how many are asked at once and
//! what is kept of their answers. Face: `CheckImages`. Never fetches an image, and never fails because a
//! registry is away: then nobody knows, and the list says why.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};

use super::rollout::{Answers, PreviewError, Rollout, failures_of};
use super::{Operation, RunContext, RunEnd, Step, StepError, count, store_failure, wrong_inputs};
use crate::base::limits::{
    IMAGE_QUESTIONS_PARALLEL_MAX, IMAGES_CHECKED_MAX, REGISTRY_QUESTION_TIMEOUT,
};
use crate::domain::images::Standing;
use crate::domain::redaction::SafeText;
use crate::domain::runs::{CheckedImage, CountKey, End, Inputs, Undo};
use crate::store::StoreError;

/// The operation.
pub struct CheckImages {
    rollout: Rollout,
}

impl CheckImages {
    /// The operation, on this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn check(&self, run: RunContext) -> RunEnd {
        let Inputs::CheckImages(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let projects: BTreeSet<String> = inputs.projects.into_iter().collect();
        let found = match self.rollout.images_of(&projects).await {
            Ok(found) => found,
            Err(error) => {
                let failures = failures_of(&PreviewError::Engine(error), "engine");
                return RunEnd::failed(&run, failures);
            }
        };
        let names = found.worth_asking();
        count(&run, CountKey::Total, names.len());
        count(&run, CountKey::Skipped, names.len().saturating_sub(IMAGES_CHECKED_MAX));
        let names = names.into_iter().take(IMAGES_CHECKED_MAX);
        let asked = stream::iter(names).map(|name| self.ask(&run, name));
        let mut asked = asked.buffer_unordered(IMAGE_QUESTIONS_PARALLEL_MAX);
        let mut answers = Answers::new();
        while let Some(asked) = asked.next().await {
            match asked {
                Ok(told) => drop(answers.insert(told.image.clone(), told)),
                Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
                Err(StepError::Failed(error) | StepError::NotRecorded(error)) => {
                    return RunEnd::failed(&run, [store_failure(&error)]);
                }
            }
        }
        let unknown = answers.values().filter(|told| told.digest.is_none()).count();
        let outdated = found.rows(&answers);
        let outdated = outdated.iter().filter(|row| row.standing == Standing::Outdated).count();
        count(&run, CountKey::Processed, answers.len());
        count(&run, CountKey::Outdated, outdated);
        let summary = format!(
            "registries were asked for {} images: {outdated} instances run an outdated one, and of \
             {unknown} images nobody knows",
            answers.len()
        );
        run.log(&summary);
        run.describe(|told| told.checked = answers.into_values().collect());
        RunEnd::ended(End::Succeeded).summary(summary)
    }

    /// Asks for one name. What a registry does not say is an answer too.
    async fn ask(
        &self,
        run: &RunContext,
        image: String,
    ) -> Result<CheckedImage, StepError<StoreError>> {
        let step = Step {
            key: format!("ask_registry:{image}"),
            description: format!("ask the registry for {image}"),
            cause: "it may have a newer one".to_owned(),
            undo: Undo::Nothing,
        };
        let asking = async {
            let credentials = self.rollout.credentials(run, &image).await?;
            let asked = self.rollout.engine.registry_digest(&image, credentials.as_ref());
            let told = tokio::time::timeout(REGISTRY_QUESTION_TIMEOUT, asked).await;
            let (digest, why) = match told {
                Ok(Ok(digest)) => (Some(digest), None),
                Ok(Err(error)) => {
                    let why = format!("{error}; {}", error.hint());
                    (None, Some(SafeText::new(why)))
                }
                Err(_) => (None, Some(SafeText::new("the registry did not answer in time"))),
            };
            let asked_at = run.ambient().now();
            Ok(CheckedImage { image: image.clone(), digest, why, asked_at })
        };
        run.step(step, asking).await
    }
}

impl Operation for CheckImages {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.check(run))
    }
}
