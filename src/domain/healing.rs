//! Decides what is done about a container whose health check fails. Owns the pauses and the bound of
//! tries. Face: `decide`, `Found`, `Decision`. Never restarts anything: a run does.

use std::time::Duration;

use crate::base::Timestamp;
use crate::base::limits::{HEAL_MEMORY, HEAL_PAUSE_FIRST, HEAL_PAUSE_LONGEST};
use crate::base::time::{after, between};
use crate::facts::{ContainerState, Health, OnUnhealthy};

/// How a container of a service was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// What it does.
    pub state: ContainerState,
    /// What its health check says.
    pub health: Health,
    /// Earlier tries to heal this instance: when each was asked for. Those that are older than
    /// `HEAL_MEMORY` do not count, in any order.
    pub tries: &'a [Timestamp],
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Nothing,
    /// Somebody is to hear of it; nothing else is done.
    Tell,
    /// It is too early: look again then.
    Wait(Timestamp),
    /// It is restarted: the try of this number, from 1.
    Restart(u32),
    /// All tries were in vain: somebody is to hear of it.
    GiveUp,
}

/// What is to be done about a container.
pub fn decide(rule: OnUnhealthy, found: &Found<'_>, now: Timestamp) -> Decision {
    // One that is frozen, ended or about to start again has nobody who could be healed.
    if found.state != ContainerState::Running || found.health != Health::Unhealthy {
        return Decision::Nothing;
    }
    let OnUnhealthy::Restart { tries_max } = rule else { return Decision::Tell };
    let is_remembered = |at: &&Timestamp| between(**at, now) < HEAL_MEMORY;
    let tries = found.tries.iter().filter(is_remembered);
    let count = u32::try_from(tries.clone().count()).unwrap_or(u32::MAX);
    if count >= tries_max {
        return Decision::GiveUp;
    }
    let may_begin = tries.max().map(|last| after(*last, pause(count)));
    match may_begin {
        Some(then) if now < then => Decision::Wait(then),
        _ => Decision::Restart(count + 1),
    }
}

/// How long after a try the next one may begin.
fn pause(tries: u32) -> Duration {
    let doubled = 2u32.saturating_pow(tries.saturating_sub(1));
    HEAL_PAUSE_FIRST.saturating_mul(doubled).min(HEAL_PAUSE_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    #[test]
    fn what_is_done_about_a_container() {
        use ContainerState::{Exited, Paused, Restarting, Running};
        use Decision::{GiveUp, Nothing, Restart, Tell, Wait};
        use Health::{Healthy, None, Starting, Unhealthy};
        let thrice = OnUnhealthy::Restart { tries_max: 3 };
        let check = |rule, (state, health), tries: &[u64], now, expect| {
            let tries: Vec<Timestamp> = tries.iter().map(|then| at(*then)).collect();
            let found = Found { state, health, tries: &tries };
            assert_eq!(decide(rule, &found, at(now)), expect, "{rule:?} {found:?} at {now}");
        };
        // Whom nobody could heal.
        for state in [Exited, Paused, Restarting] {
            check(thrice, (state, Unhealthy), &[], 0, Nothing);
        }
        for health in [Healthy, Starting, None] {
            check(thrice, (Running, health), &[1, 2, 3], 4, Nothing);
        }
        // Nobody said that it is to be restarted.
        check(OnUnhealthy::Tell, (Running, Unhealthy), &[], 0, Tell);
        // At once, then after 10, 20, 40 s …
        let sick = (Running, Unhealthy);
        check(thrice, sick, &[], 100, Restart(1));
        check(thrice, sick, &[100], 109, Wait(at(110)));
        check(thrice, sick, &[100], 110, Restart(2));
        check(thrice, sick, &[110, 100], 129, Wait(at(130)));
        check(thrice, sick, &[110, 100], 130, Restart(3));
        check(thrice, sick, &[100, 110, 130], 131, GiveUp);
        check(thrice, sick, &[100, 110, 130], 3600, GiveUp);
        // After an hour a try is forgotten.
        check(thrice, sick, &[100, 110, 130], 3700, Restart(3));
        check(thrice, sick, &[100, 110, 130], 9999, Restart(1));
        // No try at all is the same as giving up at once.
        check(OnUnhealthy::Restart { tries_max: 0 }, sick, &[], 0, GiveUp);
        // The pause does not grow for ever.
        let often = OnUnhealthy::Restart { tries_max: 20 };
        let many: Vec<u64> = (1..=12).collect();
        check(often, sick, &many, 13, Wait(at(312)));
    }
}
