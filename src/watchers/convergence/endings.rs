//! Tells from the engine's events how a container ended. Owns that reading. Face: `Endings`. Never
//! asks the engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Timestamp;
use crate::domain::rollout::{EXITED_BY_SIGNAL, Exit};
use crate::facts::{Instance, labels};
use crate::world::docker::EngineEvent;

/// Signals that ask a program to reload or report, and not to end: HUP, USR1, USR2, CHLD, CONT,
/// WINCH (signal(7), numbers of Linux).
const HARMLESS_SIGNALS: [&str; 6] = ["1", "10", "12", "17", "18", "28"];

/// What the events so far say.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// Containers that run, as far as known, by id.
    running: BTreeMap<String, Instance>,
    /// Containers that were sent a signal to end.
    signalled: BTreeSet<String>,
    /// Containers that somebody ended, and of which that was told.
    stopped: BTreeSet<String>,
    last_event_at: Option<Timestamp>,
}

/// A container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) container_id: String,
    pub(super) instance: Instance,
    pub(super) ended: Exit,
}

impl Endings {
    /// Reads one event; answers with the end that it tells of.
    ///
    /// The engine tells `kill, die, stop` of a container that somebody stops, `kill, die` of one
    /// that somebody kills, and `die` alone of a program that ended, or that a signal ended which did
    /// not come through the engine. Of that one the exit status has to tell.
    pub(super) fn happened(&mut self, event: &EngineEvent) -> Option<Ending> {
        self.last_event_at = self.last_event_at.max(Some(event.at));
        let id = &event.container_id;
        let instance = labels::instance_of(&event.attributes)?;
        match event.action.as_str() {
            "start" => {
                self.running.insert(id.clone(), instance);
                self.signalled.remove(id);
                self.stopped.remove(id);
            }
            "kill" if !is_harmless(&event.attributes) => drop(self.signalled.insert(id.clone())),
            "die" => {
                self.running.remove(id);
                let was_asked = self.signalled.remove(id);
                if was_asked {
                    self.stopped.insert(id.clone());
                } else if was_killed(&event.attributes) {
                    // Past the engine, by the kernel, or by an engine that goes the next moment:
                    // the events do not tell which.
                    return None;
                }
                let ended = if was_asked { Exit::ByHand } else { Exit::OnItsOwn };
                return Some(Ending { container_id: id.clone(), instance, ended });
            }
            "stop" if !self.stopped.contains(id) => {
                let ended = Exit::ByHand;
                return Some(Ending { container_id: id.clone(), instance, ended });
            }
            "destroy" => {
                self.running.remove(id);
                self.signalled.remove(id);
                self.stopped.remove(id);
            }
            _ => {}
        }
        None
    }

    /// These containers were found running.
    pub(super) fn are_running(&mut self, found: impl Iterator<Item = (String, Instance)>) {
        self.running.extend(found);
    }

    /// The engine is gone, and what runs on it perhaps too. A container that is found ended later,
    /// and of which nothing else is heard, ended with it.
    pub(super) fn engine_lost(&mut self) -> Vec<Ending> {
        self.signalled.clear();
        let lost = std::mem::take(&mut self.running).into_iter();
        let ended = Exit::WithTheEngine;
        lost.map(|(container_id, instance)| Ending { container_id, instance, ended }).collect()
    }

    /// The time of the last event: from there on, they are asked for again.
    pub(super) fn last_event_at(&self) -> Option<Timestamp> {
        self.last_event_at
    }
}

/// Did a signal end the program?
fn was_killed(attributes: &BTreeMap<String, String>) -> bool {
    let status = attributes.get("exitCode").and_then(|status| status.parse().ok());
    status.is_some_and(|status| EXITED_BY_SIGNAL.contains(&status))
}

fn is_harmless(attributes: &BTreeMap<String, String>) -> bool {
    attributes.get("signal").is_some_and(|signal| HARMLESS_SIGNALS.contains(&signal.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last end that these events tell of.
    fn check(actions: &[&str], expect: Option<Exit>) {
        let (mut endings, mut last) = (Endings::default(), None);
        for action in actions {
            let (action, number) = action.split_once('=').unwrap_or((action, ""));
            let attribute = if action == "die" { "exitCode" } else { "signal" };
            if action == "lost" {
                last = endings.engine_lost().pop().or(last);
                continue;
            }
            let labels = [
                (labels::COMPOSE_PROJECT, "shop"),
                (labels::COMPOSE_SERVICE, "web"),
                (labels::COMPOSE_CONTAINER_NUMBER, "1"),
                (attribute, number),
            ];
            let event = EngineEvent {
                at: Timestamp::UNIX_EPOCH,
                action: action.to_owned(),
                container_id: "id".to_owned(),
                attributes: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            };
            last = endings.happened(&event).or(last);
        }
        assert_eq!(last.map(|ending| ending.ended), expect, "{actions:?}");
    }

    #[test]
    fn events_tell_who_ended_a_container() {
        check(&["start", "die"], Some(Exit::OnItsOwn));
        check(&["start", "die=1"], Some(Exit::OnItsOwn));
        check(&["start", "die=137"], None);
        check(&["start", "die=137", "lost"], None);
        check(&["start", "kill=15", "die", "stop"], Some(Exit::ByHand));
        check(&["start", "kill=9", "die"], Some(Exit::ByHand));
        check(&["start", "kill=1", "die"], Some(Exit::OnItsOwn));
        check(&["start", "lost"], Some(Exit::WithTheEngine));
        check(&["start", "die", "lost"], Some(Exit::OnItsOwn));
        check(&["start", "destroy", "lost"], None);
        check(&["start", "lost", "start", "die"], Some(Exit::OnItsOwn));
    }
}
