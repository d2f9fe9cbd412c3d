//! Brings a project to the state that a stored revision declares. Owns what the deploy's end says
//! and records. Face: `DeployProject`. Never leaves a state that it does not describe.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;

use super::rollout::{Carried, Declared, Held, Rollout, carry_out, failures_of};
use super::{Operation, RunContext, RunEnd, run_event, store_failure, wrong_inputs};
use crate::base::chain;
use crate::domain::audit::{Actor, EventType, Outcome};
use crate::domain::enforcement::Treated;
use crate::domain::redaction::SafeText;
use crate::domain::rollout::{Observed, PlanOptions, plan};
use crate::domain::runs::{DeployCause, DeployProject as DeployInputs, End, Inputs, ServiceDetail};
use crate::facts::{ContainerFacts, ContainerState, Health, ProjectSpec};
use crate::store::{EnforcementWrite, StoreError, Write};

/// The operation.
pub struct DeployProject {
    rollout: Rollout,
}

impl DeployProject {
    /// The operation, on this engine and store.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout }
    }

    async fn deploy(&self, run: RunContext) -> RunEnd {
        let Inputs::DeployProject(inputs) = run.run().context.inputs.clone() else {
            return wrong_inputs(&run);
        };
        let declared = match self.rollout.declared(inputs.revision_id).await {
            Ok(newest) => self.rollout.layered(newest, &inputs.wanted).await,
            Err(error) => Err(error),
        };
        let declared = match declared {
            Ok(declared) => declared,
            Err(error) => return RunEnd::failed(&run, failures_of(&error, &inputs.project)),
        };
        let (workspace, now) = (run.run().workspace_id, run.ambient().now());
        let gate = match self.rollout.gate(run.run().tenant_id, now).await {
            Ok(gate) => gate,
            Err(error) => return RunEnd::failed(&run, [store_failure(&error)]),
        };
        let is_refused = gate.is_some() && !self.keeps_deployed(&run, &inputs).await;
        let make = |spec: &ProjectSpec, observed: &Observed, options: &PlanOptions| {
            plan(spec, observed, options, &self.rollout.key)
        };
        let mut options = options_of(&inputs, &declared);
        if inputs.cause == DeployCause::Convergence {
            let failed = self.rollout.failed_attempts(run.run().workspace_id, &inputs.project);
            match failed.await {
                Ok(failed) => options.failed_attempts = failed,
                Err(error) => return RunEnd::failed(&run, [store_failure(&error)]),
            }
        }
        let noted = self.rollout.note_pulls(workspace, &declared.spec, (&mut options, now)).await;
        if let Err(error) = noted {
            return RunEnd::failed(&run, [store_failure(&error)]);
        }
        let held = Held { gate, is_refused };
        let carried = carry_out(&run, &self.rollout, (&declared, held), options, &make).await;
        let observed = match carried {
            Carried::Stopped(stop) => return RunEnd::stopped(stop),
            Carried::Refused => return RunEnd::ended(End::Blocked),
            Carried::Failed { partly } => {
                // The truth about what runs now, as far as the engine tells.
                let found = self.rollout.observe(run.run().workspace_id, &declared.spec).await;
                let observed = found.unwrap_or_default();
                run.describe(|details| details.services = standings(&declared, &observed));
                let is_partial = partly && runs_anything(&declared, &observed);
                let end = if is_partial { End::PartiallySucceeded } else { End::Failed };
                return RunEnd::ended(end);
            }
            Carried::Done(observed) => observed,
        };
        run.describe(|details| details.services = standings(&declared, &observed));
        if let Err(error) = self.rollout.collect_files(&declared.spec, &observed) {
            // The project is as declared; a file too many harms nobody and goes the next time.
            run.log(format!("old files stay for now: {}", chain(&error)));
        }
        let lifted = match inputs.cause {
            DeployCause::Apply => self.lifted(&run, &inputs, &observed).await,
            DeployCause::Convergence => Ok(Vec::new()),
        };
        let lifted = match lifted {
            Ok(lifted) => lifted,
            Err(error) => return RunEnd::failed(&run, [store_failure(&error)]),
        };
        let mut end = deployed(&run, inputs);
        for treated in lifted {
            let summary = format!("container {} runs as its project was applied", treated.name);
            let actor = Actor::agent();
            let what = EventType::EnforcementForgotten;
            end.events.push(run_event(
                run.ambient(),
                run.run(),
                what,
                Outcome::Info,
                actor,
                summary,
            ));
            let container_id = treated.container_id;
            let workspace_id = workspace;
            let forget = EnforcementWrite::DropTreated { workspace_id, container_id };
            end = end.write(Write::Enforcement(forget));
        }
        end
    }
}

impl DeployProject {
    /// Containers that enforcement held back, changed or gave up, and that are now as the project was
    /// applied: policies let it pass.
    async fn lifted(
        &self,
        run: &RunContext,
        inputs: &DeployInputs,
        observed: &Observed,
    ) -> Result<Vec<Treated>, StoreError> {
        let enforced = self.rollout.store.enforced(run.run().workspace_id).await?;
        let services = &inputs.choices.services;
        let is_deployed = |treated: &Treated| {
            let found = observed.containers.iter().find(|it| it.id == treated.container_id);
            let service = found.and_then(|it| it.instance.as_ref()).map(|it| &it.service);
            treated.project.as_deref() == Some(inputs.project.as_str())
                && service.is_none_or(|it| services.is_empty() || services.contains(it))
        };
        Ok(enforced.treated.into_values().filter(is_deployed).collect())
    }

    /// Whether the agent only keeps what is deployed already: a rule that came later stops nobody's
    /// containers from being started again. Files that were refused are not let in by this door.
    async fn keeps_deployed(&self, run: &RunContext, inputs: &DeployInputs) -> bool {
        let workspace = run.run().workspace_id;
        let project = self.rollout.store.project(workspace, inputs.project.clone()).await;
        let deployed = project.ok().flatten().and_then(|project| project.deployed_revision_id);
        inputs.cause == DeployCause::Convergence && deployed == Some(inputs.revision_id)
    }
}

impl Operation for DeployProject {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        Box::pin(self.deploy(run))
    }
}

/// The end of a deploy that went well.
fn deployed(run: &RunContext, inputs: DeployInputs) -> RunEnd {
    let end = RunEnd::ended(End::Succeeded);
    if !inputs.choices.services.is_empty() || !inputs.wanted.is_whole() {
        // Some services alone are not the whole revision.
        return end;
    }
    end.write(Write::NoteDeployed {
        workspace_id: run.run().workspace_id,
        name: inputs.project,
        revision_id: inputs.revision_id,
        spec_digest: inputs.revision_digest,
        at: run.ambient().now(),
    })
}

/// The plan's options that a request asks for, whether it is carried out or only looked at.
pub fn options_of(inputs: &DeployInputs, declared: &Declared) -> PlanOptions {
    let choices = &inputs.choices;
    let (base, remove_orphans) = match inputs.cause {
        DeployCause::Apply => (PlanOptions::explicit(), !choices.keep_orphans),
        DeployCause::Convergence => (PlanOptions::convergence(), inputs.wanted.removes_orphans),
    };
    let services: BTreeSet<String> = choices.services.iter().cloned().collect();
    PlanOptions {
        services: Some(services).filter(|s| !s.is_empty()).or_else(|| declared.wanted.clone()),
        remove_orphans,
        take_over: choices.adopt,
        force_recreate: choices.force_recreate,
        recreate_volumes: choices.recreate_volumes.iter().cloned().collect(),
        rebuild: choices.rebuild,
        ..base
    }
}

/// A deploy that failed is a partial success when it did something and a declared service runs
/// now: then the project is of use, however little. Otherwise it failed.
fn runs_anything(declared: &Declared, observed: &Observed) -> bool {
    observed.containers.iter().any(|container| {
        let instance = container.instance.as_ref();
        instance.is_some_and(|found| declared.spec.services.contains_key(&found.service))
            && container.state == ContainerState::Running
            && !container.oneoff
    })
}

/// How each service stands that is kept.
fn standings(declared: &Declared, observed: &Observed) -> Vec<ServiceDetail> {
    let is_kept =
        |service: &str| declared.wanted.as_ref().is_none_or(|kept| kept.contains(service));
    let kept = declared.spec.services.iter().filter(|(service, _)| is_kept(service));
    let services = kept.map(|(service, unit)| {
        let found: Vec<&ContainerFacts> = observed
            .containers
            .iter()
            .filter(|c| c.instance.as_ref().is_some_and(|i| i.service == *service) && !c.oneoff)
            .collect();
        let worst = found.iter().map(|container| state_of(container)).min();
        let (state, reason) = match worst {
            None if unit.replicas == 0 => (Standing::Completed, None),
            None => (Standing::Missing, Some("it has no container".to_owned())),
            Some(standing) => {
                let blamed = found.iter().find(|container| state_of(container) == standing);
                (standing, blamed.and_then(|container| reason_of(container)))
            }
        };
        let reason = reason.map(SafeText::new);
        ServiceDetail { service: service.clone(), state: state.word().to_owned(), reason }
    });
    services.collect()
}

/// How a container stands, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Missing,
    Failed,
    Unhealthy,
    NotStarted,
    Starting,
    Paused,
    Completed,
    Running,
    Healthy,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::Unhealthy => "unhealthy",
            Self::NotStarted => "not_started",
            Self::Starting => "starting",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Running => "running",
            Self::Healthy => "healthy",
        }
    }
}

fn state_of(container: &ContainerFacts) -> Standing {
    match container.state {
        ContainerState::Created => Standing::NotStarted,
        ContainerState::Paused => Standing::Paused,
        ContainerState::Restarting => Standing::Starting,
        ContainerState::Running => match container.health {
            Health::None => Standing::Running,
            Health::Starting => Standing::Starting,
            Health::Healthy => Standing::Healthy,
            Health::Unhealthy => Standing::Unhealthy,
        },
        _ if container.exit_code == 0 => Standing::Completed,
        _ => Standing::Failed,
    }
}

fn reason_of(container: &ContainerFacts) -> Option<String> {
    if let Some(error) = &container.state_error {
        return Some(error.clone());
    }
    match state_of(container) {
        Standing::Failed if container.oom_killed => Some("killed for want of memory".to_owned()),
        Standing::Failed => Some(format!("exited with status {}", container.exit_code)),
        Standing::Unhealthy => Some("its health check fails".to_owned()),
        _ => None,
    }
}
