//! Makes a container anew, hardened. Owns the way of our own projects, through the deployment. Face:
//! methods of `EnforcePolicy`. Never makes somebody else's container anew: nobody knows what of it
//! could be lost.

use super::enforce::{EnforcePolicy, Task};
use crate::domain::alerts::EventKey;
use crate::domain::audit::{EventType, Outcome};
use crate::domain::enforcement::Decision;
use crate::domain::rollout::{Observed, PlanOptions, plan};
use crate::domain::runs::{CountKey, End, EnforcePolicy as Asked};
use crate::facts::{ContainerFacts, ProjectSpec};
use crate::operations::deploy_project::options_of;
use crate::operations::rollout::{Carried, Held, carry_out, failures_of};
use crate::operations::{RunContext, RunEnd, container_failure, count, store_failure};
use crate::store::{EnforcementWrite, Write};

impl EnforcePolicy {
    /// Deploys the container's service as it was applied: what policies can put right is, so that its
    /// contract is another one and it is replaced, as its service says.
    pub(super) async fn recreate_ours(
        &self,
        run: &RunContext,
        asked: &Asked,
        (name, found): (&str, &ContainerFacts),
        task: Task,
    ) -> RunEnd {
        let (rollout, workspace) = (self.rollout(), run.run().workspace_id);
        let project = match rollout.store.project(workspace, name.to_owned()).await {
            Ok(project) => project,
            Err(error) => return RunEnd::failed(run, [store_failure(&error)]),
        };
        let inputs = match &project {
            Some(project) => rollout.deploy_as_applied(project).await,
            None => Ok(None),
        };
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(error) => return RunEnd::failed(run, [store_failure(&error)]),
        };
        let (Some(inputs), Some(instance)) = (inputs, &found.instance) else {
            return self.given_up(
                run,
                asked,
                &task,
                "nothing is applied that it could be made from",
            );
        };
        let declared = match rollout.declared(inputs.revision_id).await {
            Ok(newest) => rollout.layered(newest, &inputs.wanted).await,
            Err(error) => Err(error),
        };
        let declared = match declared {
            Ok(declared) => declared,
            Err(error) => return RunEnd::failed(run, failures_of(&error, name)),
        };
        let gate = match rollout.gate(run.run().tenant_id, run.ambient().now()).await {
            Ok(gate) => gate,
            Err(error) => return RunEnd::failed(run, [store_failure(&error)]),
        };
        let options = PlanOptions {
            services: Some([instance.service.clone()].into()),
            remove_orphans: false,
            wait_healthy: true,
            ..options_of(&inputs, &declared)
        };
        let make = |spec: &ProjectSpec, observed: &Observed, options: &PlanOptions| {
            plan(spec, observed, options, &rollout.key)
        };
        let held = Held { gate, is_refused: false };
        let observed = match carry_out(run, rollout, (&declared, held), options, &make).await {
            Carried::Stopped(stop) => return RunEnd::stopped(stop),
            Carried::Refused | Carried::Failed { .. } => {
                return self.given_up(run, asked, &task, "its replacement failed");
            }
            Carried::Done(observed) => observed,
        };
        self.replaced(run, asked, (found, &observed), task).await
    }

    /// Whether what stands in the container's place is as policies want it.
    async fn replaced(
        &self,
        run: &RunContext,
        asked: &Asked,
        (found, observed): (&ContainerFacts, &Observed),
        task: Task,
    ) -> RunEnd {
        let is_heir = |other: &&ContainerFacts| other.instance == found.instance && !other.oneoff;
        let Some(heir) = observed.containers.iter().find(is_heir) else {
            return self.gone(run, asked).await;
        };
        let round = self.rollout().enforcement_round(run.ambient().now(), Some(run.run().id)).await;
        let look = match round {
            Ok(mut round) => self.rollout().look_at(&mut round, heir, None).await,
            Err(error) => return RunEnd::failed(run, [store_failure(&error)]),
        };
        let still = match look {
            Ok(look) => match look.decision {
                Decision::Act { codes, .. } => codes.iter().any(|code| task.codes.contains(code)),
                Decision::Leave(_) => false,
            },
            Err(super::LookError::Store(error)) => {
                return RunEnd::failed(run, [store_failure(&error)]);
            }
            Err(super::LookError::Engine(error)) => {
                return RunEnd::failed(run, [container_failure(&error, &asked.name)]);
            }
        };
        if heir.id == found.id || still {
            let asked = Asked { container_id: heir.id.clone(), ..asked.clone() };
            return self.given_up(run, &asked, &task, "made anew, it would be as it is");
        }
        count(run, CountKey::Recreated, 1);
        self.heard(run, asked, task.rung);
        let summary = format!("container {} was made anew, hardened: {}", heir.name, task.reason);
        let forget = EnforcementWrite::DropTreated {
            workspace_id: run.run().workspace_id,
            container_id: asked.container_id.clone(),
        };
        let event = (EventType::EnforcementActed, Outcome::Success);
        RunEnd::ended(End::Succeeded)
            .write(Write::Enforcement(forget))
            .write(self.alert(run, EventKey::EnforcementActed, &heir.id, &summary))
            .event(self.event(run, asked, event, &summary))
            .summary(summary)
    }

    /// What somebody else made is not made anew: what it was started with beside its contract is
    /// nobody's to repeat.
    pub(super) fn recreate_other(
        &self,
        run: &RunContext,
        asked: &Asked,
        found: &ContainerFacts,
        task: &Task,
    ) -> RunEnd {
        let why = format!("{} is no container of ours, and has to be made anew", found.name);
        self.given_up(run, asked, task, &why)
    }
}
