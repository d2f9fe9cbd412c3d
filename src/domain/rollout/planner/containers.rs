//! Drafts the life of each container: made, connected, started, awaited, replaced. Owns what a
//! start waits for. Face: `Planner::service`. Never starts a container before its dependencies
//! are as it needs them.

use super::Planner;
use super::surroundings::existing;
use crate::domain::rollout::diff::field_change;
use crate::domain::rollout::drafting::Drafted;
use crate::domain::rollout::graph;
use crate::domain::rollout::hooks;
use crate::domain::rollout::judge::{Judged, Left, Verdict};
use crate::domain::rollout::naming::is_replacement_name;
use crate::domain::rollout::{Action, Cause, Target, Trigger, Wanted, wants_start};
use crate::facts::{
    Attachment, Condition, ContainerFacts, ContainerState, Health, HealthProbe, NetworkMode,
    ServiceSpec, ServiceUnit,
};

/// What the start of a container waits for.
#[derive(Default)]
pub(super) struct Conditions {
    /// Must have succeeded.
    pub(super) needs: Vec<Drafted>,
    /// Must have ended: what a dependency with `required: false` does.
    pub(super) after: Vec<Drafted>,
}

impl<'a> Planner<'a> {
    /// All containers of a service; those of its dependencies were drafted before.
    pub(super) fn service(&mut self, service: &'a str, unit: &'a ServiceUnit) {
        // What was interrupted comes first, for it may be what keeps others waiting.
        let mut line: Vec<Drafted> = Vec::new();
        let is_in_between = |judged: &&Judged<'a>| {
            judged.kept().is_some_and(|kept| Self::is_in_between(judged, kept))
        };
        let (first, rest): (Vec<_>, Vec<_>) = self.judged(service).iter().partition(is_in_between);
        for judged in first.into_iter().chain(rest) {
            match &judged.verdict {
                Verdict::Leave(container) if self.judge.is_held_back(container) => {
                    let what = self.observed().held_back.get(&container.id);
                    let what = what.map_or("enforcement holds it back", String::as_str);
                    let message = format!(
                        "{what}; left so until `wharf quarantine release`, or `wharf up` with files that \
                         policies let pass"
                    );
                    self.draft.notice("held_back", &container.name, message);
                }
                Verdict::Leave(container) => {
                    let message = "made by somebody else; left alone until it is adopted";
                    self.draft.notice("not_adopted", &container.name, message);
                }
                Verdict::Create(cause) => self.create(unit, judged, cause),
                Verdict::Replace(old, cause) => {
                    let end = self.replace(unit, judged, (old, cause), &line);
                    line.push(end);
                }
                Verdict::Keep(container) => line.extend(self.keep(unit, judged, container)),
                Verdict::Adopt(container) => {
                    let action = Action::AdoptContainer { container: self.target(judged) };
                    self.draft.add(action, judged.name.clone(), Cause::AdoptionMatches);
                    line.extend(self.keep(unit, judged, container));
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

    /// The container itself, in place of that one or of none.
    pub(super) fn make(
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

    /// Answers with the end of a replacement that was interrupted.
    fn keep(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &'a ContainerFacts,
    ) -> Option<Drafted> {
        let mut ready = Vec::new();
        for network in self.judge.missing_networks(unit, container) {
            ready.push(self.connect(judged, network, container.name.clone()));
        }
        ready.extend(self.files.get(&judged.instance.service));
        ready.extend(self.update(judged));
        if Self::is_in_between(judged, container) {
            return self.resume(unit, judged, container, ready);
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
                if !self.restart_after_dependency(unit, judged, container) {
                    self.catch_up(unit, judged, container);
                }
                self.await_health(unit, judged, container);
            }
        }
        None
    }

    /// What is changed on the container without making it anew.
    fn update(&mut self, judged: &'a Judged<'a>) -> Option<Drafted> {
        for left in &judged.left {
            let (code, message) = match left {
                Left::Held => (
                    "replacement_failed",
                    "as declared it did not come to be healthy, and it works as before until \
                     `wharf up` asks again"
                        .to_owned(),
                ),
                Left::NotEnforced(field) => {
                    ("not_enforced", format!("made with {field}, which this engine leaves out"))
                }
                Left::SetByOthers(field) => (
                    "set_by_others",
                    format!(
                        "{field} was set by somebody else; it goes when the container is made anew"
                    ),
                ),
            };
            self.draft.notice(code, &judged.name, message);
        }
        if judged.update.is_empty() {
            return None;
        }
        self.draft.tell(&judged.name, judged.update.iter().map(field_change).collect());
        let fields: Vec<String> = judged.update.iter().map(|found| found.field.clone()).collect();
        let cause = Cause::ContractChanged { fields: fields.clone() };
        let action = Action::UpdateContainer { container: self.target(judged), fields };
        Some(self.draft.add(action, judged.name.clone(), cause))
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

    fn restart_after_dependency(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &ContainerFacts,
    ) -> bool {
        if container.state != ContainerState::Running {
            return false;
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
        let Some(service) = replaced else { return false };
        let cause = Cause::DependencyReplaced { service: service.clone() };
        self.restart(unit, judged, cause);
        true
    }

    /// The hooks that a start of this run still owes; who waits for the start waits for them.
    pub(super) fn catch_up(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &ContainerFacts,
    ) -> Option<Drafted> {
        let first = *self.judge.options.hooks_due.get(&container.id)?;
        if container.state != ContainerState::Running {
            return None;
        }
        let target = self.target(judged);
        let last = hooks::rest(&mut self.draft, (unit, first), &target, &judged.name)?;
        self.started.insert(judged.instance.clone(), last);
        Some(last)
    }

    pub(super) fn start(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        cause: Cause,
    ) -> Drafted {
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
    pub(super) fn conditions(&mut self, unit: &ServiceUnit) -> Conditions {
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

    pub(super) fn wait(&mut self, judged: &'a Judged<'a>, condition: Condition) -> Drafted {
        let key = (judged.instance.clone(), condition);
        if let Some(step) = self.waits.get(&key) {
            return *step;
        }
        let steady_seconds = self.monitored.get(&judged.instance).copied().unwrap_or(0);
        let action = Action::WaitFor { container: self.target(judged), condition, steady_seconds };
        let step = self.draft.add(action, judged.name.clone(), Cause::Awaited);
        let started = self.started.get(&judged.instance).copied();
        self.draft.need(step, started);
        self.waits.insert(key, step);
        step
    }

    pub(super) fn has_healthcheck(&self, unit: &ServiceUnit, judged: &Judged<'_>) -> bool {
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
    pub(super) fn connect_rest(
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

    pub(super) fn target(&self, judged: &Judged<'_>) -> Target {
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
