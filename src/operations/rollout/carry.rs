//! Carries a project to where a plan maker wants it, in rounds: look, plan, execute. Owns when a
//! further round helps. Face: `carry_out`, `Carried`. Never repeats a step whose outcome is
//! unknown: it looks first and plans anew.

use std::collections::{BTreeMap, BTreeSet};

use super::engine_loss::{GivenUp, wait_for_engine};
use super::execute::{Executed, How, count_registered, execute};
use super::gate::Passage;
use super::report::ActError;
use super::wait::{WaitError, last_words};
use super::{Declared, Gate, Preview, PreviewError, Rollout, failures_of};
use crate::base::limits::{DEPLOY_REFUSALS_MAX, DEPLOY_ROUNDS_MAX, RUN_POLICY_LINES_MAX};
use crate::domain::policy::Action as PolicyAction;
use crate::domain::redaction::SafeText;
use crate::domain::rollout::{
    Action, Contract, Observed, Plan, PlanErrors, PlanOptions, Step, Target, failed_by_itself,
    image_reference,
};
use crate::domain::runs::{CountKey, Details, Failure, PolicyDetail, ReasonCode};
use crate::facts::{ContainerFacts, ContainerState, ProjectSpec, labels};
use crate::operations::{RunContext, Stop, store_failure};
use crate::store::StoreError;

/// How a project was carried.
#[derive(Debug)]
pub enum Carried {
    /// Nothing is left to do; this is how the project was found then.
    Done(Box<Observed>),
    /// Nothing was done, because it must not be; the run was told why.
    Refused,
    /// Something is in the way; the run was told what.
    Failed {
        /// Did any step of this attempt succeed?
        partly: bool,
    },
    /// The run is to stop.
    Stopped(Stop),
}

/// Makes the plan of one round; an empty one ends the rounds.
pub type MakePlan<'a> =
    &'a (dyn Fn(&ProjectSpec, &Observed, &PlanOptions) -> Result<Plan, PlanErrors> + Send + Sync);

/// What policies have to say while a project is carried.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// The policies; none for what declares nothing.
    pub gate: Option<Gate>,
    /// What they refuse is not deployed; else it is only hardened.
    pub is_refused: bool,
}

/// Looks, plans and executes until nothing is left to do.
pub async fn carry_out(
    run: &RunContext,
    rollout: &Rollout,
    (declared, held): (&Declared, Held),
    options: PlanOptions,
    make_plan: MakePlan<'_>,
) -> Carried {
    let options = PlanOptions { inactive_services: declared.inactive.clone(), ..options };
    let mut rounds = Rounds {
        run,
        rollout,
        declared,
        held,
        hardened: None,
        is_begun: false,
        options,
        partly: false,
        last: None,
        refusals: 0,
        failures: Vec::new(),
        to_blame: BTreeSet::new(),
    };
    for _ in 0..DEPLOY_ROUNDS_MAX {
        if let Some(carried) = rounds.next(make_plan).await {
            return carried;
        }
    }
    rounds.exhausted()
}

/// What a look came to.
enum Look {
    Planned(Box<Preview>),
    Refused(Vec<Failure>),
}

struct Rounds<'a> {
    run: &'a RunContext,
    rollout: &'a Rollout,
    declared: &'a Declared,
    held: Held,
    /// What is planned when policies changed what is declared.
    hardened: Option<Box<Declared>>,
    /// Did a step succeed that was more than fetching an image?
    is_begun: bool,
    options: PlanOptions,
    /// Did any step succeed?
    partly: bool,
    /// The plan that was executed last, and what came of it.
    last: Option<(Plan, Executed)>,
    /// How often in a row the engine failed to carry out that plan.
    refusals: u32,
    /// What failed before something was taken back.
    failures: Vec<Failure>,
    /// Containers that were waited for in vain and are to blame for it, by id.
    to_blame: BTreeSet<String>,
}

impl Rounds<'_> {
    /// One round; none when another one is due.
    async fn next(&mut self, make_plan: MakePlan<'_>) -> Option<Carried> {
        let preview = match self.look(make_plan).await {
            Ok(Look::Planned(preview)) => *preview,
            Ok(Look::Refused(refusals)) => {
                refusals.into_iter().for_each(|refusal| self.run.fail(refusal));
                return Some(Carried::Refused);
            }
            Err(PreviewError::Engine(error)) if error.is_outcome_unknown() => {
                // Whatever it refused before, it was on its way out.
                self.refusals = 0;
                return self.engine_returns().await;
            }
            Err(error) => {
                let failed = self.fail(failures_of(&error, &self.declared.spec.name));
                let is_refused =
                    matches!(&error, PreviewError::Plan(errors) if errors.is_refusal());
                return Some(if is_refused && !self.partly { Carried::Refused } else { failed });
            }
        };
        if let Some(returns) = preview.plan.returns() {
            return self.take_back(preview, returns).await;
        }
        if !self.failures.is_empty() {
            let failures = std::mem::take(&mut self.failures);
            return Some(self.fail(failures));
        }
        if preview.plan.is_empty() {
            return Some(Carried::Done(Box::new(preview.observed)));
        }
        let futile = self.why_futile(&preview).await;
        if !futile.is_empty() {
            return Some(self.fail(futile));
        }
        if self.last.is_none() {
            count_registered(self.run, CountKey::Total, preview.plan.steps.len());
            // A plan has no number without an exact form, so it has a digest.
            let digest = preview.plan.digest().ok();
            let note = |told: &mut Details| told.plan_digest = told.plan_digest.or(digest);
            self.run.describe(note);
        }
        if let Err(error) = self.doom_volumes(&preview).await {
            return Some(self.fail(vec![store_failure(&error)]));
        }
        self.run.log(preview.plan.to_string().trim_end());
        let executed = execute(self.run, self.rollout, self.planned(), &preview).await;
        self.partly |= executed.succeeded > 0;
        self.is_begun |= executed.succeeded > 0 && executed.how != How::ImagesOnly;
        self.options.fresh_images.extend(executed.fresh_images.iter().cloned());
        match executed.how {
            How::Stopped(stop) => Some(Carried::Stopped(stop)),
            How::Failed if executed.given_up.is_empty() => Some(self.fail(executed.failures)),
            // A look tells whether one of them was to replace another, which is still there.
            How::Failed => {
                self.options.given_up.extend(executed.given_up);
                self.to_blame.extend(executed.to_blame);
                self.failures = executed.failures;
                None
            }
            How::Wholly | How::ImagesOnly | How::Outrun => {
                self.last = Some((preview.plan, executed));
                self.refusals = 0;
                None
            }
            How::EngineLost => {
                let is_same = self.last.as_ref().is_some_and(|(plan, _)| *plan == preview.plan);
                self.refusals = if is_same { self.refusals + 1 } else { 1 };
                self.last = Some((preview.plan, executed));
                // Waits a little even when it answers: it may be about to go.
                self.engine_returns().await
            }
        }
    }

    /// Replacements that failed are taken back, and the run ends there: tried again, they would
    /// fail again.
    async fn take_back(&mut self, preview: Preview, returns: Plan) -> Option<Carried> {
        self.note_attempts(&preview.observed, &returns);
        self.run.log(returns.to_string().trim_end());
        if self.failures.is_empty() {
            // It failed in an earlier life of this run, or of another one.
            self.failures = returns.steps.iter().filter_map(failed_replacement).collect();
        }
        let preview = Preview { plan: returns, ..preview };
        let executed = execute(self.run, self.rollout, self.planned(), &preview).await;
        match executed.how {
            How::Stopped(stop) => Some(Carried::Stopped(stop)),
            How::EngineLost => self.engine_returns().await,
            How::Outrun => None,
            How::Failed | How::ImagesOnly | How::Wholly => {
                self.partly = false;
                let mut failures = std::mem::take(&mut self.failures);
                failures.extend(executed.failures);
                Some(self.fail(failures))
            }
        }
    }

    /// Tells the run what was tried in vain, so that the agent does not try it again by itself. What
    /// failed because of its engine, or because somebody interfered, is not among it.
    fn note_attempts(&self, observed: &Observed, returns: &Plan) {
        let has_failed = |container: &ContainerFacts| {
            self.to_blame.contains(&container.id)
                || failed_by_itself(container, observed.exits.get(&container.id).copied())
        };
        let removed = returns.steps.iter().filter_map(|step| match &step.action {
            Action::RemoveContainer { container } => {
                let is_it = |found: &&ContainerFacts| container.id.as_ref() == Some(&found.id);
                let found = observed.containers.iter().find(is_it)?;
                has_failed(found).then(|| container.instance.service.clone())
            }
            _ => None,
        });
        let spec = &self.planned().spec;
        let attempts = removed.filter_map(|service| {
            let unit = spec.services.get(&service)?;
            let image = observed.images.get(&image_reference(spec, &service, unit))?;
            let contract = Contract::of(unit, &self.rollout.key).ok()?;
            Some((service, contract.attempt(&image.id)))
        });
        let attempts: BTreeMap<_, _> = attempts.collect();
        self.run.describe(|told| told.failed_attempts.extend(attempts));
    }

    async fn look(&mut self, make_plan: MakePlan<'_>) -> Result<Look, PreviewError> {
        let run = self.run.run();
        let mut observed = self.rollout.observe(run.workspace_id, &self.declared.spec).await?;
        if let Some(gate) = &self.held.gate {
            let passage = gate.pass(self.declared, &mut observed);
            let refusals = passage.refusals();
            // What was unknown before the images came can be refused now; once more than that was
            // done, the project is brought to its end.
            if self.held.is_refused && !self.is_begun && !refusals.is_empty() {
                return Ok(Look::Refused(refusals));
            }
            self.tell(&passage);
            self.hardened = Some(Box::new(passage.declared));
        }
        // By their label, so that those are known whose creation a crash or a lost answer hid.
        let own = (labels::RUN, run.id.to_string());
        let made = observed.containers.iter().filter(|c| c.all_labels.get(own.0) == Some(&own.1));
        self.options.fresh_containers = made.map(|container| container.id.clone()).collect();
        self.options.hooks_due = self.run.details().hooks_due;
        let spec = &self.planned().spec;
        let plan = make_plan(spec, &observed, &self.options).map_err(PreviewError::Plan)?;
        Ok(Look::Planned(Box::new(Preview { plan, observed, is_refused: false })))
    }

    /// What is planned: declared, and hardened.
    fn planned(&self) -> &Declared {
        self.hardened.as_deref().unwrap_or(self.declared)
    }

    /// Tells whoever follows what policies found, when they look first and when images have come.
    fn tell(&self, passage: &Passage) {
        if self.is_begun {
            return;
        }
        let told = passage.left.iter().filter(|line| line.told.action > PolicyAction::Audit);
        for line in passage.hardened.iter().chain(told) {
            self.run.log(format!("{}: {}", line.told.service, line.sentence()));
        }
        let lines = passage.hardened.iter().chain(&passage.left).take(RUN_POLICY_LINES_MAX);
        let lines = lines.map(|line| PolicyDetail {
            service: line.told.service.clone(),
            rule: line.told.code.clone(),
            action: line.told.action.to_string(),
            is_hardened: line.remedy.is_some(),
            message: SafeText::new(line.sentence()),
        });
        let lines: Vec<PolicyDetail> = lines.collect();
        self.run.describe(|told| told.policies = lines);
    }

    /// Remembers the anonymous volumes that the plan removes: when the agent dies between a
    /// container and its volumes, nothing else tells whose they are.
    async fn doom_volumes(&self, preview: &Preview) -> Result<(), StoreError> {
        let containers = preview.observed.containers.iter();
        let anonymous: BTreeSet<&String> =
            containers.flat_map(|container| container.anonymous_volumes.values()).collect();
        let steps = preview.plan.steps.iter();
        let removed = steps.filter(|step| step.action == Action::RemoveVolume);
        let doomed = removed.map(|step| &step.subject).filter(|name| anonymous.contains(name));
        let doomed: Vec<String> = doomed.cloned().collect();
        if doomed.is_empty() {
            return Ok(());
        }
        let project = self.declared.spec.name.clone();
        self.rollout.store.doom_volumes(self.run.run().workspace_id, project, doomed).await
    }

    async fn engine_returns(&self) -> Option<Carried> {
        match wait_for_engine(self.run, &*self.rollout.engine).await {
            Ok(()) => None,
            Err(GivenUp::Stopped(stop)) => Some(Carried::Stopped(stop)),
            Err(GivenUp::Lost(error)) => {
                let error = PreviewError::Engine(error);
                Some(self.fail(failures_of(&error, &self.declared.spec.name)))
            }
        }
    }

    /// Why executing this plan would not help, judging by what the execution before came to.
    async fn why_futile(&self, preview: &Preview) -> Vec<Failure> {
        let Some((plan, executed)) = &self.last else { return Vec::new() };
        let is_same = *plan == preview.plan;
        match executed.how {
            // Nobody outran us: the engine refuses what the plan wants.
            How::Outrun if is_same => executed.failures.clone(),
            How::EngineLost if is_same && self.refusals >= DEPLOY_REFUSALS_MAX => {
                executed.failures.clone()
            }
            How::Wholly => {
                let ended = self.ended_at_once(plan, preview).await;
                if ended.is_empty() && is_same { still_needed(plan) } else { ended }
            }
            _ => Vec::new(),
        }
    }

    /// Containers that were started a round ago and have to be started again: a third start would
    /// end like the first.
    async fn ended_at_once(&self, before: &Plan, preview: &Preview) -> Vec<Failure> {
        let started = |action: &Action| match action {
            Action::StartContainer { container } | Action::RestartContainer { container } => {
                Some(container.clone())
            }
            _ => None,
        };
        let earlier: Vec<Target> =
            before.steps.iter().filter_map(|step| started(&step.action)).collect();
        let mut failures = Vec::new();
        for step in &preview.plan.steps {
            let Action::StartContainer { container: target } = &step.action else { continue };
            if !earlier.iter().any(|earlier| earlier.instance == target.instance) {
                continue;
            }
            let mut found = preview.observed.containers.iter();
            let found = found.find(|container| {
                target.id.as_ref() == Some(&container.id)
                    && container.state == ContainerState::Exited
            });
            let Some(found) = found else { continue };
            let exited = WaitError::Exited {
                name: found.name.clone(),
                exit_code: found.exit_code,
                error: found.state_error.clone(),
                log: last_words(&*self.rollout.engine, &found.id).await,
            };
            failures.push(ActError::Wait(exited).failure(&step.subject));
        }
        failures
    }

    fn fail(&self, failures: Vec<Failure>) -> Carried {
        for failure in failures {
            self.run.fail(failure);
        }
        Carried::Failed { partly: self.partly }
    }

    fn exhausted(self) -> Carried {
        let message =
            format!("the project is still not as wanted after {DEPLOY_ROUNDS_MAX} rounds");
        let code = ReasonCode::DeadlineExceeded;
        let mut failures = vec![Failure::new(code, &self.declared.spec.name, message)];
        failures.extend(self.last.iter().flat_map(|(_, executed)| executed.failures.clone()));
        self.fail(failures)
    }
}

/// What is told of a replacement that failed before this run looked.
fn failed_replacement(step: &Step) -> Option<Failure> {
    let Action::RemoveContainer { .. } = &step.action else { return None };
    let message = "the container that was to replace another one did not come to be as it has to, \
                   and the other one works again; look at the run that made it";
    Some(Failure::new(ReasonCode::ContainerUnhealthy, &step.subject, message))
}

fn still_needed(plan: &Plan) -> Vec<Failure> {
    let failure = |step: &Step| {
        let what = step.action.title();
        let message = format!("done, and still needed: {what} ({})", step.cause_text);
        Failure::new(ReasonCode::EngineRefused, &step.subject, message)
    };
    plan.steps.iter().map(failure).collect()
}
