//! Drafts the life of each container: made, connected, started, awaited, replaced. Owns what a
//! start waits for. Face: `Planner::service`. Never starts a container before its dependencies
//! are as it needs them.

use super::Planner;
use super::surroundings::existing;
use crate::domain::rollout::drafting::Drafted;
use crate::domain::rollout::graph;
use crate::domain::rollout::judge::{Judged, Verdict};
use crate::domain::rollout::naming::{is_replacement_name, replacement_name};
use crate::domain::rollout::{Action, Cause, Target, Trigger, Wanted, wants_start};
use crate::facts::{
    Attachment, Condition, ContainerFacts, ContainerState, Health, HealthProbe, NetworkMode,
    ServiceSpec, ServiceUnit,
};

/// What the start of a container waits for.
#[derive(Default)]
struct Conditions {
    /// Must have succeeded.
    needs: Vec<Drafted>,
    /// Must have ended: what a dependency with `required: false` does.
    after: Vec<Drafted>,
}

impl<'a> Planner<'a> {
    /// All containers of a service; those of its dependencies were drafted before.
    pub(super) fn service(&mut self, service: &'a str, unit: &'a ServiceUnit) {
        for judged in self.judged(service) {
            match &judged.verdict {
                Verdict::Leave(container) => {
                    let message = "made by somebody else; left alone until it is adopted";
                    self.draft.notice("not_adopted", &container.name, message);
                }
                Verdict::Create(cause) => self.create(unit, judged, cause),
                Verdict::Replace(old, cause) => self.replace(unit, judged, old, cause),
                Verdict::Keep(container) => self.keep(unit, judged, container),
                Verdict::Adopt(container) => {
                    let action = Action::AdoptContainer { container: self.target(judged) };
                    self.draft.add(action, judged.name.clone(), Cause::AdoptionMatches);
                    self.keep(unit, judged, container);
                }
            }
        }
    }

    fn create(&mut self, unit: &'a ServiceUnit, judged: &'a Judged<'a>, cause: &Cause) {
        let step = self.make(unit, judged, None, cause);
        self.names.push((step, judged));
        let connected = self.connect_rest(unit, judged, step);
        let start = self.start(unit, judged, Cause::NeverStarted);
        self.draft.need(start, [step]);
        self.draft.need(start, connected);
    }

    fn replace(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        old: &ContainerFacts,
        cause: &Cause,
    ) {
        let step = self.make(unit, judged, Some(old.id.clone()), cause);
        let mut ready = self.connect_rest(unit, judged, step);
        ready.push(step);
        let temporary = replacement_name(&old.id, &judged.name);
        self.take_over(unit, judged, old, (temporary, ready));
    }

    /// The container itself, in place of that one or of none.
    fn make(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        replaces: Option<String>,
        cause: &Cause,
    ) -> Drafted {
        let action = Action::CreateContainer { instance: judged.instance.clone(), replaces };
        let step = self.draft.add(action, judged.name.clone(), cause.clone());
        self.draft.need(step, self.made_with(unit, judged));
        self.need_parents(unit, step);
        // What an interrupted attempt left may have the very name that this one needs.
        for leftover in &judged.leftovers {
            let removal = self.remove(leftover, Cause::ReplacementInterrupted);
            self.draft.need(step, removal);
        }
        self.created.insert(judged.instance.clone(), step);
        step
    }

    /// From the moment at which the new container exists beside the old one.
    fn take_over(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        old: &ContainerFacts,
        (temporary, ready): (String, Vec<Drafted>),
    ) {
        let conditions = self.conditions(unit);
        let is_stopped_early = self.stopped.contains_key(&old.id);
        let removal = match self.stop(old, Cause::Replacement) {
            // A changed network needs its members stopped before anything else happens.
            Some(stop) if !is_stopped_early => {
                self.draft.need(stop, ready.iter().copied().chain(conditions.needs));
                self.draft.follow(stop, conditions.after);
                self.remove(old, Cause::Replacement)
            }
            _ => self.remove(old, Cause::Replacement),
        };
        if let Some(removal) = removal {
            self.draft.need(removal, ready.iter().copied());
        }
        let rename = self.rename(judged, &temporary);
        self.draft.need(rename, removal.into_iter().chain(ready));
        let start = self.start(unit, judged, Cause::NeverStarted);
        self.draft.need(start, [rename]);
    }

    fn rename(&mut self, judged: &'a Judged<'a>, from: &str) -> Drafted {
        let (container, name) = (self.target(judged), judged.name.clone());
        let action = Action::RenameContainer { container, name };
        let step = self.draft.add(action, from, Cause::Replacement);
        self.names.push((step, judged));
        step
    }

    fn keep(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &'a ContainerFacts,
    ) {
        let mut ready = Vec::new();
        for network in self.judge.missing_networks(unit, container) {
            ready.push(self.connect(judged, network, container.name.clone()));
        }
        ready.extend(self.files.get(&judged.instance.service));
        if is_replacement_name(&container.name, &judged.name) {
            self.finish_replacement(unit, judged, container, ready);
            return;
        }
        for leftover in &judged.leftovers {
            self.remove(leftover, Cause::ReplacementInterrupted);
        }
        match self.wanted(judged, container) {
            Wanted::Start(cause) => {
                let start = self.start(unit, judged, cause);
                self.draft.need(start, ready);
            }
            Wanted::Unpause(cause) => {
                let action = Action::UnpauseContainer { container: self.target(judged) };
                let unpause = self.started_by(unit, judged, action, cause);
                self.draft.need(unpause, ready);
            }
            Wanted::AsItIs => {
                self.restart_after_dependency(unit, judged, container);
                self.await_health(unit, judged, container);
            }
        }
    }

    /// Who asked for healthy services waits for those too that an interrupted run started.
    fn await_health(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &ContainerFacts,
    ) {
        let options = self.judge.options;
        let is_asked = options.wait_healthy && options.trigger == Trigger::Explicit;
        let is_starting =
            container.state == ContainerState::Running && container.health == Health::Starting;
        if is_asked && is_starting && self.has_healthcheck(unit, judged) {
            self.wait(judged, Condition::ServiceHealthy);
        }
    }

    fn wanted(&self, judged: &Judged<'_>, container: &ContainerFacts) -> Wanted {
        // Stopped for a successor that is not wanted any more, and perhaps with status 0.
        let is_successor = |c: &ContainerFacts| is_replacement_name(&c.name, &judged.name);
        let was_to_be_replaced = judged.leftovers.iter().any(|leftover| is_successor(leftover));
        if container.state == ContainerState::Exited && was_to_be_replaced {
            return Wanted::Start(Cause::ReplacementInterrupted);
        }
        let exit = self.observed().exits.get(&container.id).copied();
        wants_start(container, exit, self.judge.options.trigger)
    }

    /// The new container exists under its temporary name, and the old one perhaps still does.
    fn finish_replacement(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &'a ContainerFacts,
        mut ready: Vec<Drafted>,
    ) {
        let conditions = self.conditions(unit);
        for leftover in &judged.leftovers {
            let is_stopped_early = self.stopped.contains_key(&leftover.id);
            if let Some(stop) = self.stop(leftover, Cause::ReplacementInterrupted)
                && !is_stopped_early
            {
                self.draft.need(stop, conditions.needs.iter().copied());
                self.draft.follow(stop, conditions.after.iter().copied());
            }
            ready.extend(self.remove(leftover, Cause::ReplacementInterrupted));
        }
        let rename = self.rename(judged, &container.name);
        self.draft.need(rename, ready);
        if container.state != ContainerState::Running {
            let start = self.start(unit, judged, Cause::ReplacementInterrupted);
            self.draft.need(start, [rename]);
        }
    }

    fn restart_after_dependency(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &ContainerFacts,
    ) {
        if container.state != ContainerState::Running {
            return;
        }
        let asked = unit.depends_on.iter().filter(|(_, dependency)| dependency.restart);
        let mut services = asked.map(|(service, _)| service);
        let replaced = services.find(|service| {
            let instances = self.judged(service);
            // Whether it is replaced now, or was by a run that ended before it came here.
            !instances.is_empty()
                && instances.iter().all(|dependency| match dependency.kept() {
                    None => true,
                    Some(kept) => kept.created_at > container.started_at,
                })
        });
        if let Some(service) = replaced {
            let cause = Cause::DependencyReplaced { service: service.clone() };
            self.restart(unit, judged, cause);
        }
    }

    fn start(&mut self, unit: &'a ServiceUnit, judged: &'a Judged<'a>, cause: Cause) -> Drafted {
        let action = Action::StartContainer { container: self.target(judged) };
        self.started_by(unit, judged, action, cause)
    }

    fn restart(&mut self, unit: &'a ServiceUnit, judged: &'a Judged<'a>, cause: Cause) -> Drafted {
        let action = Action::RestartContainer { container: self.target(judged) };
        self.started_by(unit, judged, action, cause)
    }

    fn started_by(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        action: Action,
        cause: Cause,
    ) -> Drafted {
        let conditions = self.conditions(unit);
        let step = self.draft.add(action, judged.name.clone(), cause);
        self.draft.need(step, conditions.needs);
        self.draft.follow(step, conditions.after);
        for (_, parent, _) in graph::parents(&unit.spec) {
            let started = self.first_started(parent);
            self.draft.need(step, started);
        }
        self.started.insert(judged.instance.clone(), step);
        self.binds.push((step, judged.instance.clone()));
        if self.judge.options.wait_healthy && self.has_healthcheck(unit, judged) {
            self.wait(judged, Condition::ServiceHealthy);
        }
        step
    }

    fn first_started(&self, service: &str) -> Option<Drafted> {
        let first = self.judged(service).first()?;
        self.started.get(&first.instance).copied()
    }

    fn need_parents(&mut self, unit: &ServiceUnit, step: Drafted) {
        for (_, parent, _) in graph::parents(&unit.spec) {
            let first = self.judged(parent).first();
            let created = first.and_then(|first| self.created.get(&first.instance).copied());
            self.draft.need(step, created);
        }
    }

    /// What a container of this service waits for before it starts.
    fn conditions(&mut self, unit: &ServiceUnit) -> Conditions {
        let mut conditions = Conditions::default();
        for (service, dependency) in &unit.depends_on {
            let mut steps = Vec::new();
            for judged in self.judged(service) {
                if dependency.condition == Condition::ServiceStarted {
                    steps.extend(self.started.get(&judged.instance));
                } else if !self.is_fulfilled(judged, dependency.condition) {
                    steps.push(self.wait(judged, dependency.condition));
                }
            }
            if dependency.required {
                conditions.needs.extend(steps);
            } else {
                conditions.after.extend(steps);
            }
        }
        conditions
    }

    fn is_fulfilled(&self, judged: &Judged<'_>, condition: Condition) -> bool {
        let Some(kept) = judged.kept() else { return false };
        let is_touched = self.started.contains_key(&judged.instance);
        !is_touched
            && match condition {
                Condition::ServiceStarted => true,
                Condition::ServiceHealthy => {
                    kept.state == ContainerState::Running && kept.health == Health::Healthy
                }
                Condition::ServiceCompletedSuccessfully => {
                    kept.state == ContainerState::Exited && kept.exit_code == 0
                }
            }
    }

    fn wait(&mut self, judged: &'a Judged<'a>, condition: Condition) -> Drafted {
        let key = (judged.instance.clone(), condition);
        if let Some(step) = self.waits.get(&key) {
            return *step;
        }
        let action = Action::WaitFor { container: self.target(judged), condition };
        let step = self.draft.add(action, judged.name.clone(), Cause::Awaited);
        let started = self.started.get(&judged.instance).copied();
        self.draft.need(step, started);
        self.waits.insert(key, step);
        step
    }

    fn has_healthcheck(&self, unit: &ServiceUnit, judged: &Judged<'_>) -> bool {
        let service = &judged.instance.service;
        let image = crate::domain::rollout::image_reference(self.judge.desired, service, unit);
        let from_image =
            self.observed().images.get(&image).and_then(|i| i.defaults.healthcheck.as_ref());
        let probe = |check: &crate::facts::Healthcheck| check.probe.clone();
        match unit.spec.healthcheck.as_ref().map(probe) {
            Some(HealthProbe::Disabled) => false,
            Some(HealthProbe::Exec(_) | HealthProbe::Shell(_)) => true,
            Some(HealthProbe::Inherit) | None => {
                from_image.is_some_and(|check| check.probe != HealthProbe::Disabled)
            }
        }
    }

    /// The engine joins a new container to one network; the plan to the others.
    fn connect_rest(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        created: Drafted,
    ) -> Vec<Drafted> {
        let rest = networks_in_order(&unit.spec).into_iter().skip(1);
        let mut steps: Vec<Drafted> = Vec::new();
        for (network, _) in rest {
            let step = self.connect(judged, network, judged.name.clone());
            // One after the other: the order decides which network gives the default route.
            self.draft.need(step, [steps.last().copied().unwrap_or(created)]);
            steps.push(step);
        }
        steps
    }

    fn connect(&mut self, judged: &Judged<'_>, network: &str, subject: String) -> Drafted {
        let (container, name) = (self.target(judged), network.to_owned());
        let action = Action::ConnectNetwork { container, network: name };
        let cause = Cause::NotConnected { network: network.to_owned() };
        let step = self.draft.add(action, subject, cause);
        self.draft.need(step, self.networks.get(network).copied());
        step
    }

    fn target(&self, judged: &Judged<'_>) -> Target {
        match judged.kept() {
            Some(kept) => existing(kept, &judged.instance),
            None => Target { instance: judged.instance.clone(), id: None },
        }
    }
}

/// The declared networks, the one that is joined at the creation first.
pub fn networks_in_order(spec: &ServiceSpec) -> Vec<(&str, &Attachment)> {
    let NetworkMode::Networks(networks) = &spec.network_mode else { return Vec::new() };
    let mut ordered: Vec<_> =
        networks.iter().map(|(name, attachment)| (name.as_str(), attachment)).collect();
    ordered.sort_by_key(|(name, attachment)| (std::cmp::Reverse(attachment.priority), *name));
    ordered
}
