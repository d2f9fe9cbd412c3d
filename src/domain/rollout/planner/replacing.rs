//! Drafts how a container makes way for its successor, and how it comes back. Owns the three ways,
//! what an interrupted one goes on with, and the order of several. Face: `Planner::replace`,
//! `resume`, `wait_in_line`. Never removes a container that serves before its successor has proved
//! itself, where there is a way back.
//!
//! *Beside*: create and start the successor under a temporary name, await it, stop and remove the
//! old one, rename. *In turn*: create the successor, stop the old one and give it a name under which
//! it is kept, rename and start the successor, await it, remove the old one. Killed between any two
//! steps, the next plan finds both, knows by the contract which is the successor, and goes on. A
//! successor that was found to have failed is removed, and the old one takes its place again; the
//! run that does so ends there.

use super::Planner;
use super::surroundings::existing;
use crate::domain::rollout::diff::field_changes;
use crate::domain::rollout::drafting::Drafted;
use crate::domain::rollout::graph;
use crate::domain::rollout::judge::Judged;
use crate::domain::rollout::naming::{image_reference, is_replacement_name, replacement_name};
use crate::domain::rollout::replacing::{
    Obstacle, Way, failed_by_itself, is_kept_name, is_up, kept_name, side_by_side,
};
use crate::domain::rollout::start::was_interrupted;
use crate::domain::rollout::{Action, Cause, Exit, Trigger, Wanted, wants_start};
use crate::facts::{
    Condition, ContainerFacts, ContainerState, Health, RestartPolicy, ServiceUnit, UpdateOrder,
};

impl<'a> Planner<'a> {
    /// A successor in place of `old`; answers with the last step.
    pub(super) fn replace(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        (old, cause): (&'a ContainerFacts, &Cause),
        line: &[Drafted],
    ) -> Drafted {
        let image = image_reference(self.judge.desired, &judged.instance.service, unit);
        let image = self.observed().images.get(&image);
        self.draft.tell(&judged.name, field_changes(cause, &unit.spec, image, old));
        let way = self.way(unit, judged, old, cause);
        if way != Way::Plain {
            self.monitored.insert(judged.instance.clone(), unit.updates.monitor.as_secs());
        }
        let step = self.make(unit, judged, Some(old.id.clone()), cause);
        // A changed network has stopped them all: nobody serves meanwhile.
        if !self.stopped.contains_key(&old.id) {
            self.wait_in_line(unit, judged, step, line);
        }
        let mut ready = self.connect_rest(unit, judged, step);
        ready.push(step);
        let temporary = replacement_name(&old.id, &judged.name);
        match way {
            Way::Plain => self.take_over(unit, judged, old, (temporary, ready)),
            Way::Beside => {
                let start = self.start(unit, judged, Cause::NeverStarted);
                self.draft.need(start, ready);
                let proof = self.prove(unit, judged);
                let removal = self.remove_after(old, proof, &Cause::Replacement);
                let rename = self.rename(judged, &temporary);
                self.draft.need(rename, removal);
                rename
            }
            Way::InTurn => {
                let away = self.put_away(unit, judged, old, ready, &Cause::Replacement);
                let rename = self.rename(judged, &temporary);
                self.draft.need(rename, away);
                let start = self.start(unit, judged, Cause::NeverStarted);
                self.draft.need(start, [rename]);
                let proof = self.prove(unit, judged);
                self.remove_after(old, proof, &Cause::Replacement).unwrap_or(proof)
            }
        }
    }

    /// One replacement after the other, as many at once as are allowed.
    fn wait_in_line(
        &mut self,
        unit: &ServiceUnit,
        judged: &Judged<'_>,
        step: Drafted,
        line: &[Drafted],
    ) {
        let Ok(at_once) = usize::try_from(unit.updates.parallelism) else { return };
        if at_once == 0 || line.len() < at_once {
            return;
        }
        let before = &line[..=line.len() - at_once];
        let seconds = unit.updates.delay.as_secs();
        if seconds == 0 {
            self.come_after(unit, step, before);
            return;
        }
        let pause = self.draft.add(Action::Pause { seconds }, &judged.name, Cause::Awaited);
        self.come_after(unit, pause, before);
        self.draft.need(step, [pause]);
    }

    fn come_after(&mut self, unit: &ServiceUnit, step: Drafted, before: &[Drafted]) {
        if unit.updates.goes_on {
            self.draft.follow(step, before.iter().copied());
        } else {
            self.draft.need(step, before.iter().copied());
        }
    }

    /// How `old` makes way.
    fn way(
        &mut self,
        unit: &ServiceUnit,
        judged: &Judged<'_>,
        old: &ContainerFacts,
        cause: &Cause,
    ) -> Way {
        let is_returnable = matches!(
            cause,
            Cause::ContractChanged { .. }
                | Cause::ImageChanged { .. }
                | Cause::AdoptionDiffers { .. }
                | Cause::Requested
        );
        if is_returnable && self.can_come_back(unit, judged, old) {
            self.order(unit, judged, old)
        } else {
            Way::Plain
        }
    }

    fn order(&mut self, unit: &ServiceUnit, judged: &Judged<'_>, old: &ContainerFacts) -> Way {
        match side_by_side(unit, old) {
            Ok(()) if is_up(old) => Way::Beside,
            Err(Obstacle::Exclusive(what))
                if unit.updates.order == Some(UpdateOrder::StartFirst) =>
            {
                let message = format!("it has {what}: the old container stops first");
                self.draft.notice("start_first_impossible", &judged.name, message);
                Way::InTurn
            }
            _ => Way::InTurn,
        }
    }

    /// Is `old` worth a return, and would it find everything that it needs?
    fn can_come_back(&self, unit: &ServiceUnit, judged: &Judged<'_>, old: &ContainerFacts) -> bool {
        let service = judged.instance.service.as_str();
        let is_parent_of = |other: &ServiceUnit| {
            graph::parents(&other.spec).iter().any(|(_, parent, _)| *parent == service)
        };
        let is_bound = !graph::parents(&unit.spec).is_empty()
            || self.judge.desired.services.values().any(is_parent_of);
        !is_bound
            && !self.stopped.contains_key(&old.id)
            && !self.has_lost_a_network(old)
            && (is_kept_name(&old.name, &judged.name) || self.is_serving(old))
    }

    fn has_lost_a_network(&self, old: &ContainerFacts) -> bool {
        old.addresses.iter().any(|(network, address)| {
            let found = self.observed().networks.get(network);
            let is_another = found.is_some_and(|found| {
                !address.network_id.is_empty() && found.id != address.network_id
            });
            is_another || self.judge.changed_networks.contains_key(network)
        })
    }

    /// Does it work, or would it if nobody had stopped it?
    fn is_serving(&self, old: &ContainerFacts) -> bool {
        let exit = self.exit(old);
        let was_started = old.started_at.is_some() && old.state == ContainerState::Exited;
        let is_missed = || matches!(wants_start(old, exit, Trigger::Convergence), Wanted::Start(_));
        is_up(old) || (was_started && is_missed())
    }

    /// Stops the old one and gives it the name under which it is kept.
    fn put_away(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        old: &ContainerFacts,
        ready: Vec<Drafted>,
        cause: &Cause,
    ) -> Vec<Drafted> {
        let conditions = self.conditions(unit);
        let mut before = ready;
        if let Some(stop) = self.stop(old, cause.clone()) {
            self.draft.need(stop, before.iter().copied().chain(conditions.needs));
            self.draft.follow(stop, conditions.after);
            before.push(stop);
        }
        let name = kept_name(&old.id, &judged.name);
        if old.name == name {
            return before;
        }
        let action = Action::RenameContainer { container: existing(old, &judged.instance), name };
        let rename = self.draft.add(action, &old.name, cause.clone());
        self.draft.need(rename, before);
        vec![rename]
    }

    /// The old one goes when its successor has proved itself.
    fn remove_after(
        &mut self,
        old: &ContainerFacts,
        proof: Drafted,
        cause: &Cause,
    ) -> Option<Drafted> {
        if let Some(stop) = self.stop(old, cause.clone()) {
            self.draft.need_unless_cyclic(stop, proof);
        }
        let removal = self.remove(old, cause.clone())?;
        self.draft.need(removal, [proof]);
        Some(removal)
    }

    /// Waits until a successor is healthy, or runs where nobody looks after its health.
    fn prove(&mut self, unit: &'a ServiceUnit, judged: &'a Judged<'a>) -> Drafted {
        let is_checked = self.has_healthcheck(unit, judged);
        let condition =
            if is_checked { Condition::ServiceHealthy } else { Condition::ServiceStarted };
        self.wait(judged, condition)
    }

    /// From the moment at which the successor exists, where there is no way back.
    fn take_over(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        old: &ContainerFacts,
        (temporary, ready): (String, Vec<Drafted>),
    ) -> Drafted {
        let conditions = self.conditions(unit);
        let is_stopped_early = self.stopped.contains_key(&old.id);
        let is_removed_early = self.removed.contains_key(&old.id);
        let removal = match self.stop(old, Cause::Replacement) {
            // A changed network needs its members stopped before anything else happens.
            Some(stop) if !is_stopped_early => {
                self.draft.need(stop, ready.iter().copied().chain(conditions.needs));
                self.draft.follow(stop, conditions.after);
                self.remove(old, Cause::Replacement)
            }
            _ => self.remove(old, Cause::Replacement),
        };
        // A volume that is made anew needs them gone before anything else happens.
        if let Some(removal) = removal.filter(|_| !is_removed_early) {
            self.draft.need(removal, ready.iter().copied());
        }
        let rename = self.rename(judged, &temporary);
        self.draft.need(rename, removal.into_iter().chain(ready));
        let start = self.start(unit, judged, Cause::NeverStarted);
        self.draft.need(start, [rename]);
        let proof = (judged.instance.clone(), Condition::ServiceHealthy);
        self.waits.get(&proof).copied().unwrap_or(start)
    }

    fn rename(&mut self, judged: &'a Judged<'a>, from: &str) -> Drafted {
        let (container, name) = (self.target(judged), judged.name.clone());
        let action = Action::RenameContainer { container, name };
        let step = self.draft.add(action, from, Cause::Replacement);
        self.names.push((step, judged));
        step
    }

    /// Is it a container of an interrupted replacement?
    pub(super) fn is_in_between(judged: &Judged<'_>, container: &ContainerFacts) -> bool {
        let is_kept = |found: &&ContainerFacts| is_kept_name(&found.name, &judged.name);
        is_replacement_name(&container.name, &judged.name)
            || is_kept(&container)
            || judged.leftovers.iter().any(is_kept)
    }

    /// Goes on with an interrupted replacement; answers with the last step.
    pub(super) fn resume(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &'a ContainerFacts,
        mut ready: Vec<Drafted>,
    ) -> Option<Drafted> {
        let is_successor = !is_kept_name(&container.name, &judged.name);
        let is_worth_it = |found: &&&ContainerFacts| {
            !matches!(found.state, ContainerState::Dead | ContainerState::Removing)
                && self.can_come_back(unit, judged, found)
        };
        let old = judged.leftovers.iter().find(is_worth_it).copied().filter(|_| is_successor);
        let Some(old) = old else { return self.finish(unit, judged, container, ready) };
        for other in judged.leftovers.iter().filter(|other| other.id != old.id) {
            ready.extend(self.remove(other, Cause::ReplacementInterrupted));
        }
        if self.has_failed(container) {
            return self.give_back(judged, container, old);
        }
        self.monitored.insert(judged.instance.clone(), unit.updates.monitor.as_secs());
        let cause = Cause::ReplacementInterrupted;
        let mut rename = None;
        let is_done = self.has_done_its_work(container);
        if !is_up(container) && !is_done {
            if self.order(unit, judged, old) == Way::InTurn {
                ready = self.put_away(unit, judged, old, ready, &cause);
                if container.name != judged.name {
                    let step = self.rename(judged, &container.name);
                    self.draft.need(step, std::mem::take(&mut ready));
                    ready.push(step);
                    rename = Some(step);
                }
            }
            let start = self.start(unit, judged, cause.clone());
            self.draft.need(start, std::mem::take(&mut ready));
        } else {
            ready.extend(self.catch_up(unit, judged, container));
        }
        let is_healthy = !self.has_healthcheck(unit, judged)
            || (container.health == Health::Healthy && is_up(container));
        let is_touched = self.started.contains_key(&judged.instance);
        if is_touched || !(is_healthy || is_done) {
            ready.push(self.prove(unit, judged));
        }
        if let Some(stop) = self.stop(old, cause.clone()) {
            for before in &ready {
                self.draft.need_unless_cyclic(stop, *before);
            }
        }
        let removal = self.remove(old, cause)?;
        self.draft.need(removal, ready);
        if container.name == judged.name || rename.is_some() {
            return Some(removal);
        }
        let rename = self.rename(judged, &container.name);
        self.draft.need(rename, [removal]);
        Some(rename)
    }

    /// The one that stays exists, and nothing beside it is worth a return.
    fn finish(
        &mut self,
        unit: &'a ServiceUnit,
        judged: &'a Judged<'a>,
        container: &'a ContainerFacts,
        mut ready: Vec<Drafted>,
    ) -> Option<Drafted> {
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
        let has_another_name = container.name != judged.name;
        if has_another_name {
            let rename = self.rename(judged, &container.name);
            self.draft.need(rename, ready);
            ready = vec![rename];
        }
        let is_new = container.state == ContainerState::Created;
        if container.state != ContainerState::Running && (has_another_name || is_new) {
            let start = self.start(unit, judged, Cause::ReplacementInterrupted);
            self.draft.need(start, ready);
            return Some(start);
        }
        ready.extend(self.catch_up(unit, judged, container));
        ready.last().copied()
    }

    fn has_done_its_work(&self, container: &ContainerFacts) -> bool {
        let is_kept_up =
            matches!(container.spec.restart, RestartPolicy::Always | RestartPolicy::UnlessStopped);
        container.state == ContainerState::Exited
            && container.exit_code == 0
            && container.state_error.is_none()
            && !is_kept_up
            && !was_interrupted(container, self.exit(container))
    }

    /// How it ended, where that is known.
    fn exit(&self, container: &ContainerFacts) -> Option<Exit> {
        self.observed().exits.get(&container.id).copied()
    }

    /// Was the successor found not to be what it has to be?
    fn has_failed(&self, successor: &ContainerFacts) -> bool {
        self.judge.options.given_up.contains(&successor.id)
            || failed_by_itself(successor, self.exit(successor))
    }

    /// The successor goes, and the old one takes its place again.
    fn give_back(
        &mut self,
        judged: &'a Judged<'a>,
        successor: &ContainerFacts,
        old: &ContainerFacts,
    ) -> Option<Drafted> {
        let cause = Cause::ReplacementFailed;
        let target = existing(old, &judged.instance);
        let mut last = self.remove(successor, cause.clone());
        if old.name != judged.name {
            let (container, name) = (target.clone(), judged.name.clone());
            let action = Action::RenameContainer { container, name };
            let rename = self.draft.add(action, &old.name, cause.clone());
            self.draft.need(rename, last);
            last = Some(rename);
        }
        if !is_up(old) {
            let action = Action::StartContainer { container: target };
            let start = self.draft.add(action, &judged.name, cause);
            self.draft.need(start, last);
            last = Some(start);
        }
        last
    }
}
