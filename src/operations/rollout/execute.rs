//! Executes one plan: each step as soon as what it waits for is done, a few at a time. Owns the
//! order of execution and what follows a failed step. Face: `execute`. Never acts outside a
//! recorded step.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::act::Acting;
use super::report::{ActError, failure_of};
use super::{Declared, Preview, Rollout};
use crate::base::chain;
use crate::base::limits::DEPLOY_PARALLEL_CALLS_MAX;
use crate::domain::rollout::{Action, Plan, Step, StepId, Target};
use crate::domain::runs::{CountKey, Failure, Undo};
use crate::facts::HookKind;
use crate::operations::{RunContext, StepError, Stop, store_failure};

/// What one execution of a plan came to.
pub(super) struct Executed {
    pub(super) how: How,
    /// Steps that succeeded.
    pub(super) succeeded: usize,
    /// What the other steps said. It is told to the run only when no further round is tried.
    pub(super) failures: Vec<Failure>,
    /// References of the images that were built or pulled.
    pub(super) fresh_images: BTreeSet<String>,
    /// Containers that did not start or did not come to be as they have to, by id.
    pub(super) given_up: BTreeSet<String>,
    /// Those of them that are to blame themselves, whatever their state says.
    pub(super) to_blame: BTreeSet<String>,
}

/// How an execution ended; the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The run is to stop.
    Stopped(Stop),
    /// The engine went away; nobody knows which calls it still carried out.
    EngineLost,
    /// Something was not as planned any more: somebody else was faster.
    Outrun,
    /// Steps failed. All that did not depend on them were executed.
    Failed,
    /// Only the images were fetched: what follows is planned anew with their ids. When one cannot
    /// be had, nothing that runs was touched.
    ImagesOnly,
    /// Every step succeeded.
    Wholly,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    Acting,
    Succeeded,
    Failed,
    /// It did not act: the run is to stop, or something that it depends on failed.
    Skipped,
}

/// Executes the plan, or its images alone when it has any.
pub(super) async fn execute(
    run: &RunContext,
    rollout: &Rollout,
    declared: &Declared,
    preview: &Preview,
) -> Executed {
    let plan = &preview.plan;
    let images_only = plan.steps.iter().any(|step| step.action.provides_image());
    let acting = Acting::new(run, rollout, declared, preview);
    let mut execution = Execution::new(plan, images_only);
    let mut in_flight = FuturesUnordered::new();
    loop {
        while execution.may_begin() && in_flight.len() < DEPLOY_PARALLEL_CALLS_MAX {
            let Some(step) = execution.begin_next() else { break };
            in_flight.push(one_step(run, &acting, step));
        }
        let Some((step, result)) = in_flight.next().await else { break };
        if let (Err(StepError::Failed(error)), Some(target)) = (&result, proved(&step.action))
            && !error.loses_engine()
        {
            let id = acting.id(target).ok();
            execution.to_blame.extend(id.clone().filter(|_| error.blames_container()));
            execution.given_up.extend(id);
        }
        execution.note(run, step, result);
    }
    execution.ended(run)
}

/// The container that a step starts, waits for, or makes ready.
fn proved(action: &Action) -> Option<&Target> {
    match action {
        Action::StartContainer { container }
        | Action::WaitFor { container, .. }
        | Action::RunHook { container, hook: HookKind::PostStart, .. } => Some(container),
        _ => None,
    }
}

async fn one_step<'a>(
    run: &RunContext,
    acting: &Acting<'_>,
    step: &'a Step,
) -> (&'a Step, Result<(), StepError<ActError>>) {
    let recorded = crate::operations::Step {
        key: step.action.key(&step.subject),
        description: step.action.described(&step.subject),
        cause: step.cause_text.clone(),
        undo: undo(step),
    };
    (step, run.step(recorded, acting.act(step)).await)
}

/// The state of one execution.
struct Execution<'a> {
    plan: &'a Plan,
    images_only: bool,
    progress: BTreeMap<StepId, Progress>,
    stopped: Option<Stop>,
    is_engine_lost: bool,
    is_outrun: bool,
    failures: Vec<Failure>,
    fresh_images: BTreeSet<String>,
    given_up: BTreeSet<String>,
    to_blame: BTreeSet<String>,
}

impl<'a> Execution<'a> {
    fn new(plan: &'a Plan, images_only: bool) -> Self {
        let wanted = plan.steps.iter().filter(|step| !images_only || step.action.provides_image());
        Self {
            plan,
            images_only,
            progress: wanted.map(|step| (step.id, Progress::Waiting)).collect(),
            stopped: None,
            is_engine_lost: false,
            is_outrun: false,
            failures: Vec::new(),
            fresh_images: BTreeSet::new(),
            given_up: BTreeSet::new(),
            to_blame: BTreeSet::new(),
        }
    }

    fn may_begin(&self) -> bool {
        self.stopped.is_none() && !self.is_engine_lost && !self.is_outrun
    }

    /// The next step whose turn it is. Steps that can never begin are marked on the way: each
    /// stands after those it waits for.
    fn begin_next(&mut self) -> Option<&'a Step> {
        for step in &self.plan.steps {
            if self.progress.get(&step.id) != Some(&Progress::Waiting) {
                continue;
            }
            let needed: Vec<Progress> = step.depends_on.iter().map(|id| self.state(*id)).collect();
            if needed.iter().any(|state| matches!(state, Progress::Failed | Progress::Skipped)) {
                self.progress.insert(step.id, Progress::Skipped);
                continue;
            }
            let has_ended =
                |id: &StepId| !matches!(self.state(*id), Progress::Waiting | Progress::Acting);
            let is_ready = needed.iter().all(|state| *state == Progress::Succeeded);
            if is_ready && step.after.iter().all(has_ended) {
                self.progress.insert(step.id, Progress::Acting);
                return Some(step);
            }
        }
        None
    }

    /// Where a step stands; one that is not part of this execution is in nobody's way.
    fn state(&self, id: StepId) -> Progress {
        self.progress.get(&id).copied().unwrap_or(Progress::Succeeded)
    }

    fn note(&mut self, run: &RunContext, step: &Step, result: Result<(), StepError<ActError>>) {
        let progress = match result {
            Ok(()) => {
                if step.action.provides_image() {
                    self.fresh_images.insert(step.subject.clone());
                }
                if let Some(key) = counted(&step.action) {
                    count_registered(run, key, 1);
                }
                Progress::Succeeded
            }
            Err(StepError::Stopped(stop)) => {
                self.stopped = Some(stop);
                Progress::Skipped
            }
            Err(StepError::Failed(error)) => {
                self.stopped = self.stopped.or(error.stop());
                self.is_engine_lost |= error.loses_engine();
                self.is_outrun |= error.is_stale();
                run.log(format!("{}: {}", step.action.described(&step.subject), chain(&error)));
                let failure = failure_of(step, &error);
                let has_ended = error.stop().is_none() && !error.loses_engine();
                if step.action.may_fail() && has_ended {
                    // Told, and nothing else: what follows goes on.
                    run.fail(failure);
                } else {
                    self.failures.push(failure);
                }
                Progress::Failed
            }
            Err(StepError::NotRecorded(error)) => {
                self.failures.push(store_failure(&error));
                Progress::Failed
            }
        };
        self.progress.insert(step.id, progress);
    }

    fn ended(self, run: &RunContext) -> Executed {
        let in_state = |state| self.progress.values().filter(|found| **found == state).count();
        let succeeded = in_state(Progress::Succeeded);
        count_registered(run, CountKey::Processed, succeeded);
        let how = match self.stopped {
            Some(stop) => How::Stopped(stop),
            None if self.is_engine_lost => How::EngineLost,
            None if self.is_outrun => How::Outrun,
            None if !self.failures.is_empty() => How::Failed,
            None if self.images_only => How::ImagesOnly,
            None => How::Wholly,
        };
        if how == How::Failed {
            count_registered(run, CountKey::Failed, in_state(Progress::Failed));
            count_registered(run, CountKey::Skipped, in_state(Progress::Skipped));
        }
        let Self { failures, fresh_images, given_up, to_blame, .. } = self;
        Executed { how, succeeded, failures, fresh_images, given_up, to_blame }
    }
}

/// Counts what the run's type registers; a restart counts no networks.
pub(super) fn count_registered(run: &RunContext, key: CountKey, by: usize) {
    let definition = run.run().run_type().built_in();
    if by > 0 && definition.is_some_and(|definition| definition.counts.contains(&key)) {
        // The key was just looked up, so it cannot be refused.
        let _ = run.count(key, by as u64);
    }
}

fn undo(step: &Step) -> Undo {
    match step.action {
        Action::WaitFor { .. } | Action::RestartContainer { .. } | Action::Pause { .. } => {
            Undo::Nothing
        }
        Action::RemoveVolume | Action::RunHook { .. } => Undo::Impossible,
        _ => Undo::By { description: step.undo.clone() },
    }
}

fn counted(action: &Action) -> Option<CountKey> {
    match action {
        Action::BuildImage { .. } => Some(CountKey::Built),
        Action::UpdateContainer { .. } => Some(CountKey::Updated),
        Action::CreateNetwork { .. }
        | Action::CreateVolume { .. }
        | Action::CreateContainer { replaces: None, .. } => Some(CountKey::Created),
        Action::CreateContainer { replaces: Some(_), .. } => Some(CountKey::Recreated),
        Action::StartContainer { .. }
        | Action::RestartContainer { .. }
        | Action::UnpauseContainer { .. } => Some(CountKey::Started),
        Action::StopContainer { .. } => Some(CountKey::Stopped),
        Action::RemoveNetwork
        | Action::RemoveVolume
        | Action::RemoveImage
        | Action::RemoveContainer { .. } => Some(CountKey::Removed),
        _ => None,
    }
}
