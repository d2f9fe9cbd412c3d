//! Pulls or builds images and does nothing else, in rounds as `carry` does. Owns when a further round
//! helps, what is told of each image, and how such a run ends. Face: `fetch_images`, `end_of`. Never
//! touches a container.

use std::collections::{BTreeMap, BTreeSet};

use super::engine_loss::{GivenUp, wait_for_engine};
use super::execute::{Executed, How, count_registered, execute};
use super::{Declared, Preview, PreviewError, Rollout, failures_of};
use crate::base::ids::RevisionId;
use crate::base::limits::{DEPLOY_REFUSALS_MAX, DEPLOY_ROUNDS_MAX};
use crate::domain::images::digest_or_id;
use crate::domain::rollout::{Observed, Plan, PlanErrors, image_reference};
use crate::domain::runs::{CountKey, End, Failure, ImageDetail, ReasonCode, StepStatus, Wanted};
use crate::facts::ImageFacts;
use crate::operations::{RunContext, RunEnd, Stop};
use crate::world::docker::EngineError;

/// What became of the images.
#[derive(Debug, Default)]
pub struct Fetched {
    /// How many could be had.
    pub succeeded: usize,
    /// What the others said; the run was told.
    pub failures: Vec<Failure>,
}

/// Why it ended before its time.
#[derive(Debug)]
pub enum NotFetched {
    /// The run is to stop.
    Stopped(Stop),
    /// Nothing can be done; the run was told why.
    Failed,
}

/// Images that are there, by name.
type Images = BTreeMap<String, ImageFacts>;

/// Makes the plan of one round from the images that are there, without those that were dealt with;
/// an empty one ends the rounds.
pub(super) type PlanImages<'a> =
    &'a (dyn Fn(&Images, &BTreeSet<String>) -> Result<Plan, PlanErrors> + Send + Sync);

/// Fetches images until each that is planned was fetched or cannot be had. One that cannot be had is
/// in nobody's way.
///
/// # Errors
/// When the run is to stop, no plan can be made, or the engine stays away.
pub async fn fetch_images(
    run: &RunContext,
    rollout: &Rollout,
    declared: &Declared,
    plan: PlanImages<'_>,
) -> Result<Fetched, NotFetched> {
    let done = done_before(run);
    let mut fetched = Fetched { succeeded: done.len(), ..Fetched::default() };
    let mut rounds = Rounds { run, rollout, declared, done, refusals: 0, begun: false };
    for _ in 0..DEPLOY_ROUNDS_MAX {
        let Some((plan, executed)) = rounds.next(plan).await? else { break };
        fetched.succeeded += executed.succeeded;
        rounds.done.extend(executed.fresh_images.iter().cloned());
        if rounds.is_over(&executed) {
            rounds.done.extend(executed.failures.iter().map(|failure| failure.subject.clone()));
            if !matches!(executed.how, How::EngineLost | How::Outrun) {
                // Each had its turn, whatever it is that failed.
                rounds.done.extend(plan.steps.into_iter().map(|step| step.subject));
            }
            fetched.failures.extend(executed.failures);
            rounds.refusals = 0;
            continue;
        }
        rounds.refusals += 1;
        rounds.engine_returns().await?;
    }
    for failure in &fetched.failures {
        run.fail(failure.clone());
    }
    rounds.tell_after().await?;
    Ok(fetched)
}

/// Images that an earlier attempt fetched.
fn done_before(run: &RunContext) -> BTreeSet<String> {
    let steps = run.earlier_steps().iter();
    let succeeded = steps.filter(|step| step.status == StepStatus::Succeeded);
    let images = succeeded.filter_map(|step| step.key.split_once("_image:"));
    images.map(|(_, image)| image.to_owned()).collect()
}

struct Rounds<'a> {
    run: &'a RunContext,
    rollout: &'a Rollout,
    declared: &'a Declared,
    /// Names of images that were dealt with.
    done: BTreeSet<String>,
    /// How often in a row the engine went away over them.
    refusals: u32,
    begun: bool,
}

impl Rounds<'_> {
    /// One round; none when nothing is left to do.
    async fn next(&mut self, plan: PlanImages<'_>) -> Result<Option<(Plan, Executed)>, NotFetched> {
        let images = self.images().await?;
        let plan = match plan(&images, &self.done) {
            Ok(plan) => plan,
            Err(errors) => return Err(self.fail(&PreviewError::Plan(errors))),
        };
        if !self.begun {
            self.begun = true;
            self.begin(&plan, &images);
        }
        if plan.is_empty() {
            return Ok(None);
        }
        let owner = self.rollout.owner();
        let observed = Observed { owner, images, ..Observed::default() };
        let preview = Preview { plan, observed, is_refused: false };
        let executed = execute(self.run, self.rollout, self.declared, &preview).await;
        match executed.how {
            How::Stopped(stop) => Err(NotFetched::Stopped(stop)),
            _ => Ok(Some((preview.plan, executed))),
        }
    }

    /// Tells what is about to be done, and what the names lead to before. What an earlier attempt
    /// found was before.
    fn begin(&self, plan: &Plan, images: &Images) {
        self.run.log(plan.to_string().trim_end());
        count_registered(self.run, CountKey::Total, plan.steps.len());
        let digest = plan.digest().ok();
        let services = self.services();
        self.run.describe(|told| {
            told.plan_digest = told.plan_digest.or(digest);
            for step in &plan.steps {
                let image = step.subject.clone();
                if told.images.iter().any(|known| known.image == image) {
                    continue;
                }
                let services = services.get(&image).cloned().unwrap_or_default();
                let before = images.get(&image).map(|found| digest_or_id(&image, found));
                told.images.push(ImageDetail { image, services, before, after: None });
            }
        });
    }

    /// Tells what the names lead to now.
    async fn tell_after(&self) -> Result<(), NotFetched> {
        let images = self.images().await?;
        let mut changed = 0;
        self.run.describe(|told| {
            for detail in &mut told.images {
                let found = images.get(&detail.image);
                detail.after = found.map(|found| digest_or_id(&detail.image, found));
                changed += usize::from(detail.after != detail.before);
            }
        });
        count_registered(self.run, CountKey::Updated, changed);
        Ok(())
    }

    /// The images that are there; an engine that is away is waited for.
    async fn images(&self) -> Result<Images, NotFetched> {
        loop {
            match self.rollout.images(&self.declared.spec).await {
                Ok(images) => return Ok(images),
                Err(error) if error.is_outcome_unknown() => self.engine_returns().await?,
                Err(error) => return Err(self.engine_failed(error)),
            }
        }
    }

    async fn engine_returns(&self) -> Result<(), NotFetched> {
        match wait_for_engine(self.run, &*self.rollout.engine).await {
            Ok(()) => Ok(()),
            Err(GivenUp::Stopped(stop)) => Err(NotFetched::Stopped(stop)),
            Err(GivenUp::Lost(error)) => Err(self.engine_failed(error)),
        }
    }

    /// Whether no further round helps what failed. An engine that goes away over the same images again
    /// and again is believed.
    fn is_over(&self, executed: &Executed) -> bool {
        executed.how != How::EngineLost || self.refusals + 1 >= DEPLOY_REFUSALS_MAX
    }

    /// The services of each image.
    fn services(&self) -> BTreeMap<String, Vec<String>> {
        let spec = &self.declared.spec;
        let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (service, unit) in &spec.services {
            services.entry(image_reference(spec, service, unit)).or_default().push(service.clone());
        }
        services
    }

    fn engine_failed(&self, error: EngineError) -> NotFetched {
        self.fail(&PreviewError::Engine(error))
    }

    fn fail(&self, error: &PreviewError) -> NotFetched {
        failures_of(error, &self.declared.spec.name).into_iter().for_each(|it| self.run.fail(it));
        NotFetched::Failed
    }
}

impl Rollout {
    /// The project whose images a run is about; none when it cannot be had, and then the run was told
    /// why.
    pub async fn declared_for(
        &self,
        run: &RunContext,
        (project, revision, wanted): (&str, RevisionId, &Wanted),
    ) -> Option<Declared> {
        let declared = match self.declared(revision).await {
            Ok(newest) => self.layered(newest, wanted).await,
            Err(error) => Err(error),
        };
        let tell = |error| failures_of(&error, project).into_iter().for_each(|it| run.fail(it));
        declared.map_err(tell).ok()
    }
}

impl Declared {
    /// The services that were asked for, else those that are kept; `None` for all.
    pub fn asked(&self, services: &[String]) -> Option<BTreeSet<String>> {
        match services.is_empty() {
            true => self.wanted.clone(),
            false => Some(services.iter().cloned().collect()),
        }
    }
}

/// How a run ends whose images became this. Images that cannot be had may be forgiven; that the engine
/// or the store is away may not.
pub fn end_of(fetched: Result<Fetched, NotFetched>, forgives: bool) -> RunEnd {
    RunEnd::ended(match fetched {
        Err(NotFetched::Stopped(stop)) => return RunEnd::stopped(stop),
        Err(NotFetched::Failed) => End::Failed,
        Ok(fetched) if fetched.failures.is_empty() => End::Succeeded,
        Ok(fetched) if forgives && fetched.failures.iter().all(is_about_image) => End::Succeeded,
        Ok(fetched) if fetched.succeeded > 0 => End::PartiallySucceeded,
        Ok(_) => End::Failed,
    })
}

fn is_about_image(failure: &Failure) -> bool {
    matches!(failure.reason_code, ReasonCode::ImageMissing | ReasonCode::RegistryDenied)
}
