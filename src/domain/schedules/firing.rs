//! Decides which firing is due and what comes of it. Owns jitter, what counts as missed and what
//! overlapping firings do. Face: `due`, `next`, `decide`, `wakes_at`. Never deals with a firing twice:
//! what was planned up to `done_until` is over.

use std::time::Duration;

use jiff::SignedDuration;

use super::{MissedPolicy, Overlap, Schedule};
use crate::base::limits::SCHEDULE_GRACE;
use crate::base::time::{after, between};
use crate::base::{Digest, Timestamp};

/// Changes when the way changes in which jitter follows from a firing.
const JITTER_VERSION: &[u8] = b"wharfinger schedule jitter 1";
/// The first stretch of the past that is searched for the latest firing; each further one is four
/// times as long.
const SEARCH_FIRST: Duration = Duration::from_secs(120);

/// One time at which a schedule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// The time that its calendar says.
    pub planned_at: Timestamp,
    /// The same with its jitter: it fires at this time.
    pub fires_at: Timestamp,
}

/// A firing whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The latest one.
    pub firing: Firing,
    /// Whether it comes so late that nobody can have been there for it.
    pub is_missed: bool,
    /// The first of the earlier ones that nobody was there for.
    pub missed_since: Option<Timestamp>,
}

/// What is done about a schedule now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A run is asked for.
    Run(Firing),
    /// The firing is too late: nothing runs.
    Miss(Firing),
    /// An earlier run goes on: this firing is left out.
    Skip(Firing),
    /// An earlier run goes on: this firing waits for its end.
    Hold(Firing),
    /// The same, and the earlier run is asked to stop.
    CancelAndHold(Firing),
}

/// The firing of a schedule that is due, if one is; earlier ones are passed over.
pub fn due(schedule: &Schedule, now: Timestamp) -> Option<Due> {
    let begin = schedule.progress.done_until;
    let latest = latest_planned(schedule, begin, now)?;
    let mut firing = jittered(schedule, latest);
    if firing.fires_at > now {
        // Jitter never reaches into the next firing, so the one before has come.
        let before = latest.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        firing = jittered(schedule, latest_planned(schedule, begin, before)?);
    }
    let missed_since = schedule.calendar.next(begin).filter(|first| *first < firing.planned_at);
    let is_missed = between(firing.fires_at, now) > SCHEDULE_GRACE;
    Some(Due { firing, is_missed, missed_since })
}

/// The next firings after a time, at most `count`.
pub fn next(schedule: &Schedule, from: Timestamp, count: usize) -> Vec<Firing> {
    let begin = schedule.progress.done_until;
    let mut planned = match latest_planned(schedule, begin, from) {
        Some(latest) => Some(latest),
        None => schedule.calendar.next(from.max(begin)),
    };
    let mut firings = Vec::new();
    while let Some(time) = planned
        && firings.len() < count
    {
        let firing = jittered(schedule, time);
        if firing.fires_at > from {
            firings.push(firing);
        }
        planned = schedule.calendar.next(time);
    }
    firings
}

/// Decides what is done about a schedule, given whether a run that it asked for goes on.
pub fn decide(schedule: &Schedule, is_running: bool, now: Timestamp) -> Option<Decision> {
    if schedule.is_paused {
        return None;
    }
    let Some(due) = due(schedule, now) else {
        let held = schedule.progress.held.filter(|_| !is_running)?;
        return Some(Decision::Run(Firing { planned_at: held, fires_at: held }));
    };
    let firing = due.firing;
    let is_wanted = !due.is_missed
        || (schedule.missed == MissedPolicy::RunOnce
            && between(firing.planned_at, now) <= schedule.missed_age_max);
    Some(match (is_wanted, is_running, schedule.overlap) {
        (false, _, _) => Decision::Miss(firing),
        (true, false, _) => Decision::Run(firing),
        (true, true, Overlap::Skip) => Decision::Skip(firing),
        (true, true, Overlap::Queue) => Decision::Hold(firing),
        (true, true, Overlap::CancelRunning) => Decision::CancelAndHold(firing),
    })
}

/// When a schedule must be looked at again; none when only a change of it or the end of a run that it
/// waits for can make it fire.
pub fn wakes_at(schedule: &Schedule) -> Option<Timestamp> {
    if schedule.is_paused {
        return None;
    }
    let planned = schedule.calendar.next(schedule.progress.done_until)?;
    Some(jittered(schedule, planned).fires_at)
}

/// The latest time that the calendar says after `begin` and not after `until`.
fn latest_planned(schedule: &Schedule, begin: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let mut span = SEARCH_FIRST;
    loop {
        let reached = until.saturating_sub(span).unwrap_or(begin).max(begin);
        let mut latest = None;
        let mut planned = schedule.calendar.next(reached);
        while let Some(time) = planned.filter(|time| *time <= until) {
            latest = Some(time);
            planned = schedule.calendar.next(time);
        }
        if latest.is_some() || reached == begin {
            return latest;
        }
        span = span.saturating_mul(4);
    }
}

/// Adds the jitter that belongs to this firing of this schedule: always the same, on every host, and
/// never so much that the next firing would come first.
fn jittered(schedule: &Schedule, planned_at: Timestamp) -> Firing {
    let gap = schedule.calendar.next(planned_at).map(|next| between(planned_at, next));
    let span = gap.map_or(schedule.jitter_max, |gap| gap.min(schedule.jitter_max)).as_secs();
    if span == 0 {
        return Firing { planned_at, fires_at: planned_at };
    }
    let time = planned_at.as_nanosecond().to_be_bytes();
    let digest = Digest::of_parts(&[JITTER_VERSION, schedule.id.as_bytes(), &time]);
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    let delay = Duration::from_secs(u64::from_be_bytes(first) % span);
    Firing { planned_at, fires_at: after(planned_at, delay) }
}
