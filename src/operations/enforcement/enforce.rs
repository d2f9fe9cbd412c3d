//! Deals with one container that policies do not let be. Owns the way down the ladder. Face:
//! `EnforcePolicy`. Never takes an answer for an effect: after each rung it looks again, and takes the
//! next one when nothing changed; and never changes a container before what undoes it is kept.

use futures_util::future::BoxFuture;

use super::look::LookError;
use super::{alert, event, of_run};
use crate::base::time::between;
use crate::domain::alerts::EventKey;
use crate::domain::audit::{Actor, AuditEvents, EventType, Outcome};
use crate::domain::enforcement::{
    Act, Changes, Decision, Keeper, Leave, PlannedStep, Remembered, Rung, Treated, Treatment,
    is_done, next_rung, steps,
};
use crate::domain::policy::Action;
use crate::domain::runs::{
    CountKey, End, EnforcePolicy as Asked, Failure, Inputs, ReasonCode, Undo,
};
use crate::facts::ContainerFacts;
use crate::operations::rollout::Rollout;
use crate::operations::{
    Operation, RunContext, RunEnd, Step, StepError, container_failure, count, store_failure,
    wrong_inputs,
};
use crate::store::{EnforcementWrite, StoreError, Write};
use crate::world::docker::EngineError;

/// The operation.
pub struct EnforcePolicy {
    rollout: Rollout,
}

/// What is to be done about the container.
pub(super) struct Task {
    pub(super) rung: Rung,
    pub(super) action: Action,
    pub(super) codes: Vec<String>,
    pub(super) policies: Vec<String>,
    pub(super) changes: Changes,
    pub(super) reason: String,
    pub(super) undo: Remembered,
}

/// Where a rung led.
pub(super) enum Climbed {
    /// The container is as the rung makes it.
    Done,
    /// It is gone.
    Gone,
    /// The engine did not do it; why, as far as it said.
    NotDone(String),
    /// The attempt ends here.
    Ends(RunEnd),
}

impl EnforcePolicy {
    /// The operation, on this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn enforce(&self, run: RunContext) -> RunEnd {
        let Inputs::EnforcePolicy(asked) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let found = match self.rollout.engine.container(&asked.container_id).await {
            Ok(Some(found)) => found,
            Ok(None) => return self.gone(&run, &asked).await,
            Err(error) => return RunEnd::failed(&run, [container_failure(&error, &asked.name)]),
        };
        let task = match self.task(&run, &asked, &found).await {
            Ok(Ok(task)) => task,
            Ok(Err(why)) => return not_needed(&run, &asked, why),
            Err(LookError::Store(error)) => return RunEnd::failed(&run, [store_failure(&error)]),
            Err(LookError::Engine(error)) => {
                return RunEnd::failed(&run, [container_failure(&error, &asked.name)]);
            }
        };
        self.descend(&run, &asked, found, task).await
    }

    /// What is to be done, as it is now: policies, exceptions, switches and the container may be others
    /// than when it was asked for. What an earlier attempt began is brought to its end.
    async fn task(
        &self,
        run: &RunContext,
        asked: &Asked,
        found: &ContainerFacts,
    ) -> Result<Result<Task, String>, LookError> {
        let round = self.rollout.enforcement_round(run.ambient().now(), Some(run.run().id)).await;
        let mut round = round.map_err(LookError::Store)?;
        let known = round.enforced.treated.get(&found.id).cloned();
        if let Some(begun) = known.as_ref().filter(|it| it.run_id == run.run().id)
            && begun.state == Treatment::Begun
        {
            let action = match begun.rung {
                Rung::Update | Rung::Recreate => Action::Remediate,
                Rung::Quarantine | Rung::Pause | Rung::Stop => Action::Quarantine,
            };
            let Treated { rung, codes, policies, changes, reason, undo, .. } = begun.clone();
            return Ok(Ok(Task { rung, action, codes, policies, changes, reason, undo }));
        }
        // What it was before it was dealt with first is what it is brought back to.
        let undo = known.filter(Treated::holds).map(|known| known.undo).unwrap_or_default();
        let look = self.rollout.look_at(&mut round, found, None).await?;
        if let Some(reason) = &asked.by_hand {
            return Ok(by_hand(&look.keeper, found, reason, undo));
        }
        Ok(match look.decision {
            Decision::Leave(leave) => Err(words(leave).to_owned()),
            Decision::Act { rung, codes, policies, changes } => {
                let is_meant = |code: &String| codes.contains(code);
                let reasons: Vec<String> = look
                    .wrongs
                    .iter()
                    .filter(|wrong| is_meant(&wrong.code))
                    .map(|wrong| format!("{} (`{}`)", wrong.message, wrong.code))
                    .collect();
                let reason = reasons.join("; ");
                let is_remedy = matches!(rung, Rung::Update | Rung::Recreate);
                let action = if is_remedy { Action::Remediate } else { Action::Quarantine };
                Ok(Task { rung, action, codes, policies, changes, reason, undo })
            }
        })
    }

    /// Takes rung after rung until the container is as one of them makes it.
    async fn descend(
        &self,
        run: &RunContext,
        asked: &Asked,
        mut found: ContainerFacts,
        mut task: Task,
    ) -> RunEnd {
        count(run, CountKey::Total, 1);
        loop {
            task.undo = std::mem::take(&mut task.undo).before(task.rung, &found, &task.changes);
            if let Err(error) = self.begin(run, asked, &task).await {
                return RunEnd::failed(run, [store_failure(&error)]);
            }
            let climbed = match (task.rung, &asked.project) {
                (Rung::Recreate, Some(project)) => {
                    return self.recreate_ours(run, asked, (project, &found), task).await;
                }
                (Rung::Recreate, None) => {
                    return self.recreate_other(run, asked, &found, &task);
                }
                _ => self.climb(run, &mut found, &task).await,
            };
            match climbed {
                Climbed::Done => return self.acted(run, asked, &found, &task),
                Climbed::Gone => return self.gone(run, asked).await,
                Climbed::Ends(end) => return end,
                Climbed::NotDone(why) => match next_rung(task.rung, task.action) {
                    Some(next) => {
                        run.log(format!("{} did not help: {why}; {next} comes next", task.rung));
                        task.rung = next;
                    }
                    None => return self.given_up(run, asked, &task, &why),
                },
            }
        }
    }

    /// Keeps what is about to be done, and what undoes it.
    async fn begin(&self, run: &RunContext, asked: &Asked, task: &Task) -> Result<(), StoreError> {
        let treated = self.treated(run, asked, task, Treatment::Begun);
        let summary = format!("{} of container {} begins: {}", task.rung, asked.name, task.reason);
        let event = self.event(run, asked, (EventType::EnforcementBegun, Outcome::Info), &summary);
        self.rollout.store.commit(vec![put(run, treated)], AuditEvents::from(event)).await
    }

    /// One rung: its steps, and a look at what came of them.
    async fn climb(&self, run: &RunContext, found: &mut ContainerFacts, task: &Task) -> Climbed {
        let mut said = "the engine answered well and changed nothing".to_owned();
        for planned in steps(task.rung, found, &task.changes) {
            match run.step(recorded(&planned, &task.reason), self.act(found, &planned.act)).await {
                Ok(()) => {}
                Err(StepError::Stopped(stop)) => return Climbed::Ends(RunEnd::stopped(stop)),
                Err(StepError::NotRecorded(error)) => {
                    return Climbed::Ends(RunEnd::failed(run, [store_failure(&error)]));
                }
                // Whether it acted, the look tells.
                Err(StepError::Failed(error)) if error.is_outcome_unknown() => {
                    return Climbed::Ends(RunEnd::failed(
                        run,
                        [container_failure(&error, &found.name)],
                    ));
                }
                Err(StepError::Failed(error)) => said = error.to_string(),
            }
        }
        match self.rollout.engine.container(&found.id).await {
            Ok(Some(now)) => *found = now,
            Ok(None) => return Climbed::Gone,
            Err(error) => {
                return Climbed::Ends(RunEnd::failed(
                    run,
                    [container_failure(&error, &found.name)],
                ));
            }
        }
        match is_done(task.rung, found, &task.changes) {
            true => Climbed::Done,
            false => Climbed::NotDone(said),
        }
    }

    async fn act(&self, found: &ContainerFacts, act: &Act) -> Result<(), EngineError> {
        let (engine, id) = (&*self.rollout.engine, &found.id);
        match act {
            Act::Update(settings) => engine.update_container(id, settings).await,
            Act::Disconnect(network) => engine.disconnect_network(network, id).await,
            Act::Pause => engine.pause_container(id).await,
            Act::Stop => engine.stop_container(id, None).await,
            // No rung that is climbed here has such a step.
            Act::Recreate | Act::Connect(_) | Act::Unpause | Act::Start => Ok(()),
        }
    }

    /// The end of a run that reached what it was for.
    pub(super) fn acted(
        &self,
        run: &RunContext,
        asked: &Asked,
        found: &ContainerFacts,
        task: &Task,
    ) -> RunEnd {
        count(run, CountKey::Updated, 1);
        self.heard(run, asked, task.rung);
        let summary = format!("{}: {}", done(task.rung, &found.name), task.reason);
        let event = (EventType::EnforcementActed, Outcome::Success);
        RunEnd::ended(End::Succeeded)
            .write(put(run, self.treated(run, asked, task, Treatment::InForce)))
            .write(self.alert(run, EventKey::EnforcementActed, &found.id, &summary))
            .event(self.event(run, asked, event, &summary))
            .summary(summary)
    }

    /// Lets it be counted.
    pub(super) fn heard(&self, run: &RunContext, asked: &Asked, rung: Rung) {
        let took = asked.noticed_at.map(|at| between(at, run.ambient().now()));
        self.rollout.enforcement.done(rung, took);
    }

    /// The end of a run for which the engine, or the project, did nothing that helps.
    pub(super) fn given_up(
        &self,
        run: &RunContext,
        asked: &Asked,
        task: &Task,
        why: &str,
    ) -> RunEnd {
        count(run, CountKey::Failed, 1);
        let summary = format!(
            "{} of container {} was tried in vain ({why}): {}",
            task.rung, asked.name, task.reason
        );
        run.fail(Failure::new(ReasonCode::EngineRefused, &asked.name, &summary));
        let event = (EventType::EnforcementGivenUp, Outcome::Failed);
        RunEnd::ended(End::Failed)
            .write(put(run, self.treated(run, asked, task, Treatment::GivenUp)))
            .write(self.alert(run, EventKey::EnforcementFailed, &asked.container_id, &summary))
            .event(self.event(run, asked, event, &summary))
            .summary(summary)
    }

    /// The container is no more, and neither is what undoes anything.
    pub(super) async fn gone(&self, run: &RunContext, asked: &Asked) -> RunEnd {
        count(run, CountKey::Skipped, 1);
        let summary = format!("container {} is gone", asked.name);
        let event = (EventType::EnforcementForgotten, Outcome::Info);
        RunEnd::ended(End::Succeeded)
            .write(Write::Enforcement(EnforcementWrite::DropTreated {
                workspace_id: run.run().workspace_id,
                container_id: asked.container_id.clone(),
            }))
            .event(self.event(run, asked, event, &summary))
            .summary(summary)
    }

    pub(super) fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    pub(super) fn treated(
        &self,
        run: &RunContext,
        asked: &Asked,
        task: &Task,
        state: Treatment,
    ) -> Treated {
        Treated {
            container_id: asked.container_id.clone(),
            name: asked.name.clone(),
            project: asked.project.clone(),
            state,
            rung: task.rung,
            codes: task.codes.clone(),
            policies: task.policies.clone(),
            reason: task.reason.clone(),
            by: run.run().initiator_name.clone(),
            run_id: run.run().id,
            since: run.ambient().now(),
            changes: task.changes.clone(),
            undo: task.undo.clone(),
            released_until: None,
        }
    }

    pub(super) fn event(
        &self,
        run: &RunContext,
        asked: &Asked,
        (event_type, outcome): (EventType, Outcome),
        summary: &str,
    ) -> crate::domain::audit::AuditEvent {
        let scope = self.rollout.store.scope();
        let what = (event_type, outcome, Actor::agent());
        let target = ("container", asked.container_id.as_str(), asked.name.as_str());
        let about = (asked.project.as_deref(), summary);
        of_run(event(run.ambient(), &scope, what, target, about), run.run())
    }

    pub(super) fn alert(&self, run: &RunContext, key: EventKey, id: &str, summary: &str) -> Write {
        let scope = self.rollout.store.scope();
        let about = format!("{}@{}", id.get(..12).unwrap_or(id), run.run().id);
        alert(key, &scope, &about, summary, run.ambient().now())
    }
}

/// Whoever asks by hand says what is done; whose a container is still counts.
fn by_hand(
    keeper: &Keeper,
    found: &ContainerFacts,
    reason: &str,
    undo: Remembered,
) -> Result<Task, String> {
    match keeper {
        Keeper::Ourselves => return Err(words(Leave::OwnPart).to_owned()),
        Keeper::OtherAgent => return Err(words(Leave::OtherAgent).to_owned()),
        Keeper::Ours { .. } | Keeper::Unmanaged => {}
    }
    let is_networked = matches!(found.spec.network_mode, crate::facts::NetworkMode::Networks(_));
    Ok(Task {
        rung: if is_networked { Rung::Quarantine } else { Rung::Pause },
        action: Action::Quarantine,
        codes: Vec::new(),
        policies: Vec::new(),
        changes: Changes::default(),
        reason: reason.to_owned(),
        undo,
    })
}

/// Why nothing is done, as whoever asks reads it.
pub(super) fn words(leave: Leave) -> &'static str {
    match leave {
        Leave::Fulfilled => "nothing is wrong with it any more",
        Leave::Told => "what is wrong with it is told, and nothing else is asked for",
        Leave::NotRunning => "it does not run",
        Leave::OwnPart => "it is a part of the agent",
        Leave::OtherAgent => "another agent made it",
        Leave::NotOptedIn => "nobody manages it, and no policy is in force for such containers",
        Leave::Disabled => "the configuration does not let policies be enforced",
        Leave::SwitchedOff => "enforcement is switched off",
        Leave::Maintenance => "it is being worked on",
        Leave::Treated => "it was done already",
        Leave::Released => "somebody released it",
        Leave::GivenUp => "it was tried in vain before",
        Leave::NoRemedy => "no machine can put it right",
        Leave::LimitReached => "as much was done as may be done in a while",
    }
}

fn done(rung: Rung, name: &str) -> String {
    match rung {
        Rung::Update => format!("container {name} was changed in place"),
        Rung::Recreate => format!("container {name} was made anew, hardened"),
        Rung::Quarantine => format!("container {name} lost its networks"),
        Rung::Pause => format!("container {name} was frozen"),
        Rung::Stop => format!("container {name} was stopped"),
    }
}

pub(super) fn recorded(planned: &PlannedStep, cause: &str) -> Step {
    Step {
        key: planned.key.clone(),
        description: planned.description.clone(),
        cause: cause.to_owned(),
        undo: match &planned.undo {
            Some(description) => Undo::By { description: description.clone() },
            None => Undo::Impossible,
        },
    }
}

pub(super) fn put(run: &RunContext, treated: Treated) -> Write {
    Write::Enforcement(EnforcementWrite::PutTreated {
        workspace_id: run.run().workspace_id,
        treated: Box::new(treated),
    })
}

fn not_needed(run: &RunContext, asked: &Asked, why: String) -> RunEnd {
    count(run, CountKey::Skipped, 1);
    RunEnd::ended(End::Succeeded)
        .summary(format!("nothing was done about container {}: {why}", asked.name))
}

impl Operation for EnforcePolicy {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.enforce(run))
    }
}
