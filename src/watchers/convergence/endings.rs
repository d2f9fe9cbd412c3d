//! Tells from the engine's events how a container ended. Owns that reading. Face: `Endings`. Never
//! asks the engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Timestamp;
use crate::domain::rollout::{EXITED_BY_SIGNAL, Exit};
use crate::operations::rollout::ExitLog;
use crate::world::docker::EngineEvent;

/// Signals that ask a program to reload or report, and not to end: HUP, USR1, USR2, CHLD, CONT,
/// WINCH (signal(7), numbers of Linux).
const HARMLESS_SIGNALS: [&str; 6] = ["1", "10", "12", "17", "18", "28"];

/// What the events so far say.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// Containers that run, as far as known.
    running: BTreeSet<String>,
    /// Containers that were sent a signal to end.
    signalled: BTreeSet<String>,
    last_event_at: Option<Timestamp>,
}

impl Endings {
    /// Reads one event; answers whether it tells that a program ended by itself.
    ///
    /// The engine tells `kill, die, stop` of a container that somebody stops, `kill, die` of one
    /// that somebody kills, and `die` alone of a program that ended, or that a signal ended which did
    /// not come through the engine. Of that one the exit status has to tell.
    pub(super) fn happened(&mut self, event: &EngineEvent, exits: &ExitLog) -> bool {
        self.last_event_at = self.last_event_at.max(Some(event.at));
        let id = &event.container_id;
        match event.action.as_str() {
            "start" => {
                self.running.insert(id.clone());
                self.signalled.remove(id);
                exits.forget(id);
            }
            "kill" if !is_harmless(&event.attributes) => drop(self.signalled.insert(id.clone())),
            "die" => {
                self.running.remove(id);
                let was_asked = self.signalled.remove(id);
                if was_asked {
                    exits.note(id, Exit::ByHand);
                } else if was_killed(&event.attributes) {
                    // Past the engine, by the kernel, or by an engine that goes the next moment:
                    // the events do not tell which.
                    exits.forget(id);
                } else {
                    exits.note(id, Exit::OnItsOwn);
                    return true;
                }
            }
            "stop" => exits.note(id, Exit::ByHand),
            "destroy" => {
                self.running.remove(id);
                self.signalled.remove(id);
                exits.forget(id);
            }
            _ => {}
        }
        false
    }

    /// These containers were found running.
    pub(super) fn are_running(&mut self, ids: impl Iterator<Item = String>) {
        self.running.extend(ids);
    }

    /// The engine is gone, and what runs on it perhaps too. A container that is found ended later,
    /// and of which nothing else is heard, ended with it.
    pub(super) fn engine_lost(&mut self, exits: &ExitLog) {
        for id in std::mem::take(&mut self.running) {
            exits.note(&id, Exit::WithTheEngine);
        }
        self.signalled.clear();
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

    fn check(actions: &[&str], expect: Option<Exit>) {
        let (mut endings, exits) = (Endings::default(), ExitLog::default());
        for action in actions {
            let (action, number) = action.split_once('=').unwrap_or((action, ""));
            let attribute = if action == "die" { "exitCode" } else { "signal" };
            if action == "lost" {
                endings.engine_lost(&exits);
                continue;
            }
            let event = EngineEvent {
                at: Timestamp::UNIX_EPOCH,
                action: action.to_owned(),
                container_id: "id".to_owned(),
                attributes: [(attribute.to_owned(), number.to_owned())].into(),
            };
            endings.happened(&event, &exits);
        }
        assert_eq!(exits.get("id"), expect, "{actions:?}");
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
        check(&["start", "kill=15", "die", "stop", "start"], None);
        check(&["start", "die", "destroy"], None);
        check(&["start", "lost", "start", "die"], Some(Exit::OnItsOwn));
    }
}
