//! Performs one step of a plan: one effect. Owns the mapping from actions to calls, and the ids of
//! the containers that this plan makes. Face: `Acting`. Never chooses what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::create::{Making, keyed_labels};
use super::hook::{Placed, run_hook, settle};
use super::report::ActError;
use super::wait::{Awaited, WaitError, pause, wait_for};
use super::{Declared, Preview, Rollout};
use crate::base::limits::{ENGINE_BUILD_TRIES_MAX, HEALTHY_WAIT_TIMEOUT};
use crate::domain::audit::{Actor, AuditEvents, EventType, Outcome};
use crate::domain::rollout::{Action, CONTEXT_LABEL, Cause, Contract, Observed, Step, Target};
use crate::domain::runs::Inputs;
use crate::facts::{HookKind, Instance, LiveSettings, NetworkMode, ServiceUnit, labels};
use crate::operations::{RunContext, run_event};
use crate::store::{Adoption, Write};
use crate::world::content_files::name_of;
use crate::world::docker::{EngineError, EngineErrorKind, PullImage, RemoveContainer};

/// Everything that the steps of one plan share.
pub(super) struct Acting<'a> {
    run: &'a RunContext,
    rollout: &'a Rollout,
    declared: &'a Declared,
    observed: &'a Observed,
    /// The container that stands for each instance now.
    ids: Mutex<BTreeMap<Instance, String>>,
}

impl<'a> Acting<'a> {
    pub(super) fn new(
        run: &'a RunContext,
        rollout: &'a Rollout,
        declared: &'a Declared,
        preview: &'a Preview,
    ) -> Self {
        let observed = &preview.observed;
        // Of two containers of an instance, the plan removes the one that does not stay.
        let steps = preview.plan.steps.iter();
        let leaving: BTreeSet<&String> = steps
            .filter_map(|step| match &step.action {
                Action::RemoveContainer { container } => container.id.as_ref(),
                _ => None,
            })
            .collect();
        let known = observed.containers.iter();
        let known = known.filter(|found| !found.oneoff && !leaving.contains(&found.id));
        let ids =
            known.filter_map(|found| Some((found.instance.clone()?, found.id.clone()))).collect();
        Self { run, rollout, declared, observed, ids: Mutex::new(ids) }
    }

    /// Performs the step.
    pub(super) async fn act(&self, step: &Step) -> Result<(), ActError> {
        let engine = &*self.rollout.engine;
        let subject = step.subject.as_str();
        match &step.action {
            Action::BuildImage { service, image } => self.build(service, image).await,
            Action::PullImage { image, platform } => self.pull(image, platform.clone()).await,
            Action::CreateContainer { instance, replaces } => {
                self.create(instance, replaces.as_deref()).await
            }
            Action::CreateNetwork { key } => self.create_network(key).await,
            Action::CreateVolume { key } => self.create_volume(key).await,
            Action::RemoveNetwork => plain(engine.remove_network(subject).await),
            Action::RemoveVolume => plain(engine.remove_volume(subject).await),
            Action::RemoveImage => plain(engine.remove_image(subject).await),
            Action::WriteFiles { service } => self.write_files(service).await,
            Action::ConnectNetwork { container, network } => self.connect(container, network).await,
            Action::DisconnectNetwork { container, network } => {
                let id = self.id(container)?;
                plain(engine.disconnect_network(network, &id).await)
            }
            Action::StartContainer { container } => {
                self.owe_hooks(step, container).await?;
                plain(engine.start_container(&self.id(container)?).await)
            }
            Action::StopContainer { container } => {
                let grace = self.grace(container);
                plain(engine.stop_container(&self.id(container)?, grace).await)
            }
            Action::RestartContainer { container } => {
                self.owe_hooks(step, container).await?;
                let grace = self.grace(container);
                plain(engine.restart_container(&self.id(container)?, grace).await)
            }
            Action::UnpauseContainer { container } => {
                plain(engine.unpause_container(&self.id(container)?).await)
            }
            Action::UpdateContainer { container, fields } => self.update(container, fields).await,
            Action::RenameContainer { container, name } => {
                plain(engine.rename_container(&self.id(container)?, name).await)
            }
            Action::RemoveContainer { container } => {
                let how = RemoveContainer::default();
                plain(engine.remove_container(&self.id(container)?, how).await)
            }
            Action::AdoptContainer { container } => self.adopt(container).await,
            Action::WaitFor { container, condition, steady_seconds } => {
                let id = self.id(container)?;
                let wanted = Awaited {
                    condition: *condition,
                    deadline: self.deadline(),
                    steady: Duration::from_secs(*steady_seconds),
                };
                wait_for(self.run, engine, &id, wanted).await.map_err(ActError::Wait)
            }
            Action::RunHook { container, hook, index } => {
                self.run_hook(container, *hook, *index).await
            }
            Action::Pause { seconds } => {
                let paused = pause(self.run, Duration::from_secs(*seconds)).await;
                paused.map_err(ActError::Wait)
            }
        }
    }

    fn unit(&self, service: &str) -> Result<&'a ServiceUnit, ActError> {
        let unit = self.declared.spec.services.get(service);
        unit.ok_or_else(|| ActError::Undeclared(format!("service {service}")))
    }

    /// The engine's id of a container.
    pub(super) fn id(&self, target: &Target) -> Result<String, ActError> {
        if let Some(id) = &target.id {
            return Ok(id.clone());
        }
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let id = ids.get(&target.instance).cloned();
        id.ok_or_else(|| ActError::Undeclared(format!("container {}", target.instance)))
    }

    /// As declared; for a service that is not declared any more the engine's own default.
    fn grace(&self, target: &Target) -> Option<Duration> {
        self.declared.spec.services.get(&target.instance.service)?.spec.stop_grace_period
    }

    fn deadline(&self) -> Duration {
        match &self.run.run().context.inputs {
            Inputs::DeployProject(inputs) => {
                let asked = inputs.choices.wait_timeout_seconds;
                asked.map_or(HEALTHY_WAIT_TIMEOUT, Duration::from_secs)
            }
            _ => HEALTHY_WAIT_TIMEOUT,
        }
    }

    /// Notes before a start that its hooks are due after it: when the agent or the engine goes in
    /// between, the container alone does not tell.
    async fn owe_hooks(&self, step: &Step, container: &Target) -> Result<(), ActError> {
        let services = &self.declared.spec.services;
        let hooks = services.get(&container.instance.service).map_or(0, |it| it.post_start.len());
        if hooks == 0 || step.cause == Cause::ReplacementFailed {
            return Ok(());
        }
        let id = self.id(container)?;
        self.run.describe(|told| told.owe_hooks(&id, Some(0)));
        self.run.save().await.map_err(ActError::Due)
    }

    /// What the hook came to is noted with the end of its step: one whose outcome nobody knows
    /// stays due, one that failed does not.
    async fn run_hook(
        &self,
        container: &Target,
        kind: HookKind,
        index: usize,
    ) -> Result<(), ActError> {
        let service = container.instance.service.as_str();
        let hooks = self.unit(service)?.hooks(kind);
        let Some(hook) = hooks.get(index) else {
            return Err(ActError::Undeclared(format!("{}[{index}] of {service}", kind.key())));
        };
        let id = self.id(container)?;
        let placed = Placed { kind, index, service, hook };
        let ended = run_hook(self.run, &*self.rollout.engine, &id, placed).await;
        if kind == HookKind::PostStart {
            settle(self.run, &id, (index, hooks.len()), &ended);
        }
        ended.map_err(|error| ActError::of_hook(placed, error))
    }

    /// Fetches an image, as whom the workspace is logged in to its registry.
    async fn pull(&self, image: &str, platform: Option<String>) -> Result<(), ActError> {
        let credentials = self.rollout.credentials(self.run, image).await;
        let credentials = credentials.map_err(ActError::Login)?;
        let pull = PullImage { reference: image.to_owned(), platform, credentials };
        let progress = |line: String| self.run.log(line);
        self.rollout.engine.pull_image(&pull, &progress).await.map_err(ActError::Engine)?;
        let now = self.run.ambient().now();
        self.run.describe(|told| {
            told.pulled.insert(image.to_owned(), now);
        });
        Ok(())
    }

    async fn build(&self, service: &str, image: &str) -> Result<(), ActError> {
        let unit = self.unit(service)?;
        let Some(declared) = &unit.build else {
            return Err(ActError::Undeclared(format!("build of {service}")));
        };
        let Some(digest) = self.declared.contexts.get(service).copied() else {
            return Err(ActError::Undeclared(format!("build context of {service}")));
        };
        let mut build = declared.clone();
        if let Some(digest) = build.context_digest {
            build.labels.insert(CONTEXT_LABEL.to_owned(), digest.to_string());
        }
        let mut tags = vec![image.to_owned()];
        tags.extend(build.tags.iter().cloned());
        let progress = |line: String| self.run.log(line);
        let logins = self.rollout.all_credentials(self.run).await.map_err(ActError::Login)?;
        let engine = &self.rollout.engine;
        let mut tries = 1;
        loop {
            let context = self.rollout.contexts.read(&digest).await.map_err(ActError::Context)?;
            match engine.build_image(&build, &tags, context, &logins, &progress).await {
                Err(error)
                    if error.kind == EngineErrorKind::Conflict
                        && tries < ENGINE_BUILD_TRIES_MAX =>
                {
                    self.run.log(format!("{error}; somebody removed an image, trying again"));
                    tries += 1;
                }
                built => return built.map(drop).map_err(ActError::Engine),
            }
        }
    }

    async fn create(&self, instance: &Instance, replaces: Option<&str>) -> Result<(), ActError> {
        let unit = self.unit(&instance.service)?;
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let making = Making {
            rollout: self.rollout,
            declared: self.declared,
            observed: self.observed,
            run: self.run.run().id,
            ids: &ids,
        };
        let new = making.new_container(instance, unit, replaces);
        let new = new.map_err(|error| ActError::Undeclared(error.to_string()))?;
        let id = self.rollout.engine.create_container(&new).await.map_err(ActError::Engine)?;
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.insert(instance.clone(), id);
        Ok(())
    }

    /// Changes settings in place, and looks: an engine that cannot enforce one says yes all the same.
    async fn update(&self, container: &Target, fields: &[String]) -> Result<(), ActError> {
        let unit = self.unit(&container.instance.service)?;
        let (engine, id) = (&*self.rollout.engine, self.id(container)?);
        self.renew_adoption(container, &id).await?;
        let declared = LiveSettings::of(&unit.spec);
        engine.update_container(&id, &declared).await.map_err(ActError::Engine)?;
        let found = engine.container(&id).await.map_err(ActError::Engine)?;
        let Some(found) = found else { return Err(ActError::Wait(WaitError::Gone { name: id })) };
        let mut not_taken = declared.differences(&LiveSettings::of(&found.spec));
        not_taken.retain(|difference| fields.contains(&difference.field));
        if not_taken.is_empty() {
            return Ok(());
        }
        let service = container.instance.service.clone();
        Err(ActError::NotTaken { name: found.name, service, not_taken })
    }

    /// A record of the former version knows an adopted container by the settings that are about to
    /// change: it is made anew before they do.
    async fn renew_adoption(&self, container: &Target, id: &str) -> Result<(), ActError> {
        let unit = self.unit(&container.instance.service)?;
        let Some(record) = self.observed.adoptions.get(id) else { return Ok(()) };
        let contract = Contract::of(unit, &self.rollout.key).ok();
        let is_current = contract.is_some_and(|contract| contract.digest() == record.digest());
        if is_current { Ok(()) } else { self.adopt(container).await }
    }

    async fn create_network(&self, key: &str) -> Result<(), ActError> {
        let project = &self.declared.spec;
        let network = project.networks.get(key);
        let network = network.ok_or_else(|| ActError::Undeclared(format!("network {key}")))?;
        let run = self.run.run().id;
        let labels =
            keyed_labels((&project.name, &self.rollout.owner()), run, labels::COMPOSE_NETWORK, key);
        let created = self.rollout.engine.create_network(network, &labels).await;
        created.map(drop).map_err(ActError::Engine)
    }

    async fn create_volume(&self, key: &str) -> Result<(), ActError> {
        let project = &self.declared.spec;
        let volume = project.volumes.get(key);
        let volume = volume.ok_or_else(|| ActError::Undeclared(format!("volume {key}")))?;
        let run = self.run.run().id;
        let labels =
            keyed_labels((&project.name, &self.rollout.owner()), run, labels::COMPOSE_VOLUME, key);
        plain(self.rollout.engine.create_volume(volume, &labels).await)
    }

    async fn connect(&self, container: &Target, network: &str) -> Result<(), ActError> {
        let unit = self.unit(&container.instance.service)?;
        let attachment = match &unit.spec.network_mode {
            NetworkMode::Networks(networks) => networks.get(network).cloned().unwrap_or_default(),
            _ => return Err(ActError::Undeclared(format!("network {network}"))),
        };
        let id = self.id(container)?;
        plain(self.rollout.engine.connect_network(network, &id, &attachment).await)
    }

    async fn write_files(&self, service: &str) -> Result<(), ActError> {
        let (files, key) = (&self.rollout.files, &self.rollout.key);
        for file in self.unit(service)?.files.values() {
            let written = files.write(&self.declared.spec.name, name_of(file, key), file).await;
            written.map_err(ActError::File)?;
        }
        Ok(())
    }

    async fn adopt(&self, container: &Target) -> Result<(), ActError> {
        let instance = &container.instance;
        let unit = self.unit(&instance.service)?;
        let spec_hash = Contract::of(unit, &self.rollout.key).ok().and_then(|c| c.digest());
        let Some(spec_hash) = spec_hash else {
            return Err(ActError::Undeclared(format!("contract of {}", instance.service)));
        };
        let run = self.run.run();
        let adoption = Adoption {
            workspace_id: run.workspace_id,
            project: instance.project.clone(),
            service: instance.service.clone(),
            number: instance.number,
            container_id: self.id(container)?,
            spec_hash,
            adopted_at: self.run.ambient().now(),
        };
        let event = run_event(
            self.run.ambient(),
            run,
            EventType::ProjectAdopted,
            Outcome::Success,
            Actor::agent(),
            format!("container {instance} was taken over as it runs"),
        );
        let write = Write::PutAdoption(adoption);
        let committed = self.rollout.store.commit(vec![write], AuditEvents::from(event)).await;
        committed.map_err(ActError::Store)
    }
}

fn plain(result: Result<(), EngineError>) -> Result<(), ActError> {
    result.map_err(ActError::Engine)
}
