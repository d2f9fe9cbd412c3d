//! Takes back what was done about a container. Owns the order. Face: `ReleaseContainer`. Never undoes
//! what others did meanwhile, and never guesses what there was: it was kept before anything was done.

use futures_util::future::BoxFuture;

use super::enforce::{put, recorded};
use super::{event, of_run};
use crate::base::time::after;
use crate::domain::audit::{Actor, AuditEvents, EventType, Outcome};
use crate::domain::enforcement::{Act, Remembered, Treated, Treatment, release_steps};
use crate::domain::runs::{CountKey, End, Failure, Inputs, ReasonCode, ReleaseContainer as Asked};
use crate::facts::ContainerFacts;
use crate::operations::rollout::Rollout;
use crate::operations::{
    Operation, RunContext, RunEnd, StepError, container_failure, count, store_failure, wrong_inputs,
};
use crate::store::{EnforcementWrite, StoreError, Write};
use crate::world::docker::{EngineError, EngineErrorKind};

/// The operation.
pub struct ReleaseContainer {
    rollout: Rollout,
}

impl ReleaseContainer {
    /// The operation, on this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn release(&self, run: RunContext) -> RunEnd {
        let Inputs::ReleaseContainer(asked) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let enforced = match self.rollout.store.enforced(run.run().workspace_id).await {
            Ok(enforced) => enforced,
            Err(error) => return RunEnd::failed(&run, [store_failure(&error)]),
        };
        let Some(treated) = enforced.treated.get(&asked.container_id).cloned() else {
            count(&run, CountKey::Skipped, 1);
            let summary = format!("nothing is done to container {}", asked.name);
            return RunEnd::ended(End::Succeeded).summary(summary);
        };
        let found = match self.rollout.engine.container(&asked.container_id).await {
            Ok(Some(found)) => found,
            Ok(None) => return self.gone(&run, &asked),
            Err(error) => return RunEnd::failed(&run, [container_failure(&error, &asked.name)]),
        };
        // From here on nobody acts on it again, whatever becomes of this run.
        let treated = Treated {
            state: Treatment::Released,
            run_id: run.run().id,
            released_until: Some(after(
                run.run().created_at,
                std::time::Duration::from_secs(asked.grace_seconds),
            )),
            ..treated
        };
        if let Err(error) = self.begin(&run, &asked, treated.clone()).await {
            return RunEnd::failed(&run, [store_failure(&error)]);
        }
        count(&run, CountKey::Total, 1);
        self.undo(&run, &asked, found, treated).await
    }

    async fn begin(
        &self,
        run: &RunContext,
        asked: &Asked,
        treated: Treated,
    ) -> Result<(), StoreError> {
        let by = &run.run().initiator_name;
        let summary = format!("{by} releases container {}: {}", asked.name, asked.reason);
        let event = self.event(run, asked, EventType::EnforcementReleased, &summary);
        self.rollout.store.commit(vec![put(run, treated)], AuditEvents::from(event)).await
    }

    async fn undo(
        &self,
        run: &RunContext,
        asked: &Asked,
        found: ContainerFacts,
        treated: Treated,
    ) -> RunEnd {
        let mut failures = Vec::new();
        for planned in release_steps(&treated.undo, &found) {
            let acting = self.act(&found, &planned.act, &treated.undo);
            match run.step(recorded(&planned, &asked.reason), acting).await {
                Ok(()) => {}
                Err(StepError::Stopped(stop)) => return RunEnd::stopped(stop),
                Err(StepError::NotRecorded(error)) => {
                    return RunEnd::failed(run, [store_failure(&error)]);
                }
                Err(StepError::Failed(error)) if error.is_outcome_unknown() => {
                    return RunEnd::failed(run, [container_failure(&error, &asked.name)]);
                }
                Err(StepError::Failed(error)) => {
                    let code = match error.kind {
                        EngineErrorKind::NotFound => ReasonCode::NotFound,
                        _ => ReasonCode::EngineRefused,
                    };
                    let message = format!("{}: {error}; {}", planned.description, error.hint());
                    failures.push(Failure::new(code, &asked.name, message));
                }
            }
        }
        let left = match self.rollout.engine.container(&asked.container_id).await {
            Ok(Some(now)) => release_steps(&treated.undo, &now),
            Ok(None) => return self.gone(run, asked),
            Err(error) => return RunEnd::failed(run, [container_failure(&error, &asked.name)]),
        };
        if !left.is_empty() {
            for step in &left {
                let message = format!("not done: {}", step.description);
                failures.push(Failure::new(ReasonCode::EngineRefused, &asked.name, message));
            }
            count(run, CountKey::Failed, 1);
            return RunEnd::failed(run, failures);
        }
        count(run, CountKey::Updated, 1);
        let mut summary = format!("container {} was released", asked.name);
        if !treated.undo.had_none.is_empty() {
            let names: Vec<&str> = treated.undo.had_none.iter().map(String::as_str).collect();
            summary.push_str(&format!(
                "; its limits of {} stay until it is made anew",
                names.join(", ")
            ));
        }
        RunEnd::ended(End::Succeeded).summary(summary)
    }

    async fn act(
        &self,
        found: &ContainerFacts,
        act: &Act,
        undo: &Remembered,
    ) -> Result<(), EngineError> {
        let (engine, id) = (&*self.rollout.engine, &found.id);
        match act {
            Act::Update(settings) => engine.update_container(id, settings).await,
            Act::Connect(network) => {
                let attachment = undo.networks.get(network).cloned().unwrap_or_default();
                engine.rejoin_network(network, id, &attachment, &undo.links).await
            }
            Act::Unpause => engine.unpause_container(id).await,
            Act::Start => engine.start_container(id).await,
            // Nothing of what takes back is one of these.
            Act::Recreate | Act::Disconnect(_) | Act::Pause | Act::Stop => Ok(()),
        }
    }

    fn gone(&self, run: &RunContext, asked: &Asked) -> RunEnd {
        count(run, CountKey::Skipped, 1);
        let summary = format!("container {} is gone", asked.name);
        let forget = EnforcementWrite::DropTreated {
            workspace_id: run.run().workspace_id,
            container_id: asked.container_id.clone(),
        };
        RunEnd::ended(End::Succeeded)
            .write(Write::Enforcement(forget))
            .event(self.event(run, asked, EventType::EnforcementForgotten, &summary))
            .summary(summary)
    }

    fn event(
        &self,
        run: &RunContext,
        asked: &Asked,
        event_type: EventType,
        summary: &str,
    ) -> crate::domain::audit::AuditEvent {
        let scope = self.rollout.store.scope();
        let what = (event_type, Outcome::Info, Actor::agent());
        let target = ("container", asked.container_id.as_str(), asked.name.as_str());
        let about = (asked.project.as_deref(), summary);
        of_run(event(run.ambient(), &scope, what, target, about), run.run())
    }
}

impl Operation for ReleaseContainer {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.release(run))
    }
}
