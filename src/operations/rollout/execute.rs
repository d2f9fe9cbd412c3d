//! Carries out plans until the project is as declared. Owns the order of execution, what follows a
//! failed step, and when to look and plan again. Face: `carry_out`, `Carried`. Never acts outside
//! a recorded step, and never repeats a step whose outcome is unknown: it looks first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::act::{Acting, Done};
use super::engine_loss::{GivenUp, wait_for_engine};
use super::report::ActError;
use super::{Declared, Preview, PreviewError, Rollout, failures_of};
use crate::base::limits::DEPLOY_PARALLEL_CALLS_MAX;
use crate::domain::rollout::{Action, Observed, Plan, PlanErrors, PlanOptions, Step, StepId};
use crate::domain::runs::{CountKey, Failure, Undo};
use crate::operations::{RunContext, StepError, Stop, store_failure};

/// Rounds of looking, planning and executing in one attempt. Each round after the first has a
/// reason: images that were fetched, an engine that went away, somebody else's change.
const ROUNDS_MAX: usize = 12;
/// How often the engine may refuse the same plan because of something that the plan does not
/// know: a container that is just being removed passes, a stranger in the way does not.
const REFUSALS_MAX: u32 = 4;
/// How long such a thing is given to pass.
const REFUSAL_PAUSE: Duration = Duration::from_millis(500);

/// How a project was carried to its declaration.
#[derive(Debug)]
pub enum Carried {
    /// Everything is as planned; this is how it was found when nothing was left to do.
    Done(Box<Observed>),
    /// Some steps failed; the failures are told to the run already.
    Failed {
        /// Did any step of the run succeed?
        partly: bool,
    },
    /// The run is to stop.
    Stopped(Stop),
}

/// Makes the plan of one round.
pub type MakePlan<'a> =
    &'a (dyn Fn(&Observed, &PlanOptions) -> Result<Plan, PlanErrors> + Send + Sync);

/// Looks, plans and executes until nothing is left to do. `repeats` says whether what is left
/// after an execution is planned anew until nothing is; a restart is planned once.
pub async fn carry_out(
    run: &RunContext,
    rollout: &Rollout,
    declared: &Declared,
    mut options: PlanOptions,
    make_plan: MakePlan<'_>,
    repeats: bool,
) -> Carried {
    let mut partly = false;
    let mut executed = false;
    let mut last_plan = None;
    let mut refusals = 0;
    let mut refusal: Option<Failure> = None;
    for _ in 0..ROUNDS_MAX {
        let preview = look(run, rollout, declared, make_plan, &options).await;
        let preview = match preview {
            Ok(preview) => preview,
            Err(PreviewError::Engine(error)) if error.is_outcome_unknown() => {
                match wait_for_engine(run, &*rollout.engine).await {
                    Ok(()) => continue,
                    Err(given_up) => return give_up(run, given_up, &declared.spec.name, partly),
                }
            }
            Err(error) => {
                tell(run, failures_of(&error, &declared.spec.name));
                return Carried::Failed { partly };
            }
        };
        if last_plan.is_none() {
            announce(run, &preview.plan);
        }
        let finished = preview.plan.is_empty() || (executed && !repeats);
        if finished {
            return Carried::Done(Box::new(preview.observed));
        }
        // A container that ends at once is found ended each time: the same plan twice in a row
        // means that executing it does not help.
        if executed && last_plan.as_ref() == Some(&preview.plan) {
            tell(run, still_not_as_declared(&preview.plan));
            return Carried::Failed { partly };
        }
        if let Some(failure) = refusal.take().filter(|_| last_plan.as_ref() == Some(&preview.plan))
        {
            refusals += 1;
            if refusals > REFUSALS_MAX {
                run.fail(failure);
                return Carried::Failed { partly };
            }
            tokio::time::sleep(REFUSAL_PAUSE).await;
        }
        let mut round = execute(run, rollout, declared, &preview).await;
        refusal = round.refusal.take();
        partly |= round.succeeded > 0;
        options.fresh_images.extend(round.fresh_images);
        options.fresh_containers.extend(round.fresh_containers);
        executed = round.fetched_only.is_none();
        last_plan = Some(preview.plan);
        match round.end {
            RoundEnd::Complete => {}
            RoundEnd::LookAgain => executed = false,
            RoundEnd::Stopped(stop) => return Carried::Stopped(stop),
            RoundEnd::Failed => return Carried::Failed { partly },
        }
    }
    let message = format!("the project is still not as declared after {ROUNDS_MAX} rounds");
    let code = crate::domain::runs::ReasonCode::DeadlineExceeded;
    run.fail(Failure::new(code, &declared.spec.name, message));
    Carried::Failed { partly }
}

async fn look(
    run: &RunContext,
    rollout: &Rollout,
    declared: &Declared,
    make_plan: MakePlan<'_>,
    options: &PlanOptions,
) -> Result<Preview, PreviewError> {
    let observed = rollout.observe(run.run().workspace_id, &declared.spec).await?;
    let plan = make_plan(&observed, options).map_err(PreviewError::Plan)?;
    Ok(Preview { plan, observed })
}

fn give_up(run: &RunContext, given_up: GivenUp, project: &str, partly: bool) -> Carried {
    match given_up {
        GivenUp::Stopped(stop) => Carried::Stopped(stop),
        GivenUp::Lost(error) => {
            tell(run, failures_of(&PreviewError::Engine(error), project));
            Carried::Failed { partly }
        }
    }
}

fn tell(run: &RunContext, failures: Vec<Failure>) {
    for failure in failures {
        run.fail(failure);
    }
}

fn announce(run: &RunContext, plan: &Plan) {
    count(run, CountKey::Total, plan.steps.len() as u64);
    run.log(plan.to_string().trim_end());
}

/// Counts what the run's type registers; a restart counts no networks.
fn count(run: &RunContext, key: CountKey, by: u64) {
    if by > 0 && run.run().run_type().definition().counts.contains(&key) {
        // The key was just looked up, so it cannot be refused.
        let _ = run.count(key, by);
    }
}

fn still_not_as_declared(plan: &Plan) -> Vec<Failure> {
    let code = crate::domain::runs::ReasonCode::ContainerExited;
    let failure = |step: &Step| {
        let hint = "look at its log with `wharf logs`";
        let message = format!("still needs: {} ({}); {hint}", step.action.title(), step.cause_text);
        Failure::new(code, &step.subject, message)
    };
    plan.steps.iter().map(failure).collect()
}

/// What one execution of a plan came to.
struct Round {
    succeeded: usize,
    fresh_images: BTreeSet<String>,
    fresh_containers: BTreeSet<String>,
    /// Set when only the plan's images were fetched, because what follows depends on their ids.
    fetched_only: Option<()>,
    /// What the engine said of a step that did not fit what it holds.
    refusal: Option<Failure>,
    end: RoundEnd,
}

enum RoundEnd {
    Complete,
    /// The engine went away, or somebody else was faster.
    LookAgain,
    Stopped(Stop),
    Failed,
}

/// How far each step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    Acting,
    Succeeded,
    Failed,
    /// Something that it depends on failed.
    Skipped,
}

/// Executes the steps of a plan as soon as what they wait for is done, a few at a time.
async fn execute(
    run: &RunContext,
    rollout: &Rollout,
    declared: &Declared,
    preview: &Preview,
) -> Round {
    let plan = &preview.plan;
    let only_images = plan.steps.iter().any(|step| step.action.provides_image());
    let wanted = |step: &Step| !only_images || step.action.provides_image();
    let acting = Acting::new(run, rollout, declared, &preview.observed);
    let mut progress: BTreeMap<StepId, Progress> = plan
        .steps
        .iter()
        .filter(|step| wanted(step))
        .map(|step| (step.id, Progress::Waiting))
        .collect();
    let mut look_again = false;
    let mut refusal = None;
    let mut stopped = None;
    let fresh = Mutex::new((BTreeSet::new(), BTreeSet::new()));
    let mut in_flight = FuturesUnordered::new();
    loop {
        let may_begin = !look_again && stopped.is_none();
        while may_begin && in_flight.len() < DEPLOY_PARALLEL_CALLS_MAX {
            let Some(step) = next_ready(plan, &mut progress) else { break };
            progress.insert(step.id, Progress::Acting);
            in_flight.push(one_step(run, &acting, step, &fresh));
        }
        let Some((step, result)) = in_flight.next().await else { break };
        let ended = match result {
            Ok(()) => Progress::Succeeded,
            Err(StepError::Stopped(stop)) => {
                stopped = Some(stop);
                Progress::Skipped
            }
            Err(StepError::Failed(ActError::Wait(super::wait::WaitError::Stopped(stop)))) => {
                stopped = Some(stop);
                Progress::Skipped
            }
            Err(StepError::Failed(error)) if error.loses_engine() || error.is_stale() => {
                run.log(format!("{}: {error}; looking again", step.subject));
                if error.is_stale() {
                    refusal = Some(error.failure(&step.subject));
                }
                look_again = true;
                Progress::Failed
            }
            Err(StepError::Failed(error)) => {
                run.fail(error.failure(&step.subject));
                count(run, CountKey::Failed, 1);
                Progress::Failed
            }
            Err(StepError::NotRecorded(error)) => {
                run.fail(store_failure(&error));
                stopped = stopped.or(run.stop());
                Progress::Failed
            }
        };
        progress.insert(step.id, ended);
    }
    let succeeded = progress.values().filter(|state| **state == Progress::Succeeded).count();
    count(run, CountKey::Processed, succeeded as u64);
    let has_failed = progress.values().any(|state| *state == Progress::Failed);
    let skipped = progress.values().filter(|state| **state == Progress::Skipped).count();
    let end = match stopped {
        Some(stop) => RoundEnd::Stopped(stop),
        None if look_again => RoundEnd::LookAgain,
        None if has_failed => {
            count(run, CountKey::Skipped, skipped as u64);
            RoundEnd::Failed
        }
        None => RoundEnd::Complete,
    };
    let fresh = std::mem::take(&mut *fresh.lock().unwrap_or_else(PoisonError::into_inner));
    let (fresh_images, fresh_containers) = fresh;
    let fetched_only = only_images.then_some(());
    Round { succeeded, fresh_images, fresh_containers, fetched_only, refusal, end }
}

/// The next step whose turn it is. Steps that can never begin are marked on the way.
fn next_ready<'a>(plan: &'a Plan, progress: &mut BTreeMap<StepId, Progress>) -> Option<&'a Step> {
    for step in &plan.steps {
        if progress.get(&step.id) != Some(&Progress::Waiting) {
            continue;
        }
        let state = |id: &StepId| progress.get(id).copied().unwrap_or(Progress::Succeeded);
        if step
            .depends_on
            .iter()
            .any(|id| matches!(state(id), Progress::Failed | Progress::Skipped))
        {
            progress.insert(step.id, Progress::Skipped);
            continue;
        }
        let is_done = |id: &StepId| state(id) == Progress::Succeeded;
        let has_ended = |id: &StepId| !matches!(state(id), Progress::Waiting | Progress::Acting);
        if step.depends_on.iter().all(is_done) && step.after.iter().all(has_ended) {
            return Some(step);
        }
    }
    None
}

async fn one_step<'a>(
    run: &RunContext,
    acting: &Acting<'_>,
    step: &'a Step,
    fresh: &Mutex<(BTreeSet<String>, BTreeSet<String>)>,
) -> (&'a Step, Result<(), StepError<ActError>>) {
    let recorded = crate::operations::Step {
        key: format!("{}:{}", step.action.title().replace(' ', "_"), step.subject),
        description: format!("{} {}", step.action.title(), step.subject),
        cause: step.cause_text.clone(),
        undo: undo(step),
    };
    let result = run.step(recorded, acting.act(step)).await.map(|done| {
        let mut fresh = fresh.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            Done::Plain => {}
            Done::Image(image) => drop(fresh.0.insert(image)),
            Done::Container(id) => drop(fresh.1.insert(id)),
        }
        if let Some(key) = counted(&step.action) {
            count(run, key, 1);
        }
    });
    (step, result)
}

fn undo(step: &Step) -> Undo {
    match step.action {
        Action::WaitFor { .. } | Action::RestartContainer { .. } => Undo::Nothing,
        Action::RemoveVolume => Undo::Impossible,
        _ => Undo::By { description: step.undo.clone() },
    }
}

fn counted(action: &Action) -> Option<CountKey> {
    match action {
        Action::BuildImage { .. } => Some(CountKey::Built),
        Action::CreateNetwork { .. }
        | Action::CreateVolume { .. }
        | Action::CreateContainer { replaces: None, .. } => Some(CountKey::Created),
        Action::CreateContainer { replaces: Some(_), .. } => Some(CountKey::Recreated),
        Action::StartContainer { .. } | Action::RestartContainer { .. } => Some(CountKey::Started),
        Action::StopContainer { .. } => Some(CountKey::Stopped),
        Action::RemoveNetwork
        | Action::RemoveVolume
        | Action::RemoveImage
        | Action::RemoveContainer { .. } => Some(CountKey::Removed),
        _ => None,
    }
}
