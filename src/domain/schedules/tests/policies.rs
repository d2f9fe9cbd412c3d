use super::*;
use crate::base::time::between;

fn schedule(expression: &str) -> Schedule {
    let start = time("2026-06-01T00:00:00Z");
    Schedule {
        id: ScheduleId::from_u128(7),
        workspace_id: WorkspaceId::from_u128(1),
        tenant_id: None,
        name: "nightly".parse().unwrap(),
        calendar: calendar(expression, "UTC"),
        task: Task::RestartProject { project: "shop".to_owned(), services: Vec::new() },
        jitter_max: Duration::ZERO,
        missed: MissedPolicy::Skip,
        missed_age_max: Duration::from_secs(3600),
        overlap: Overlap::Skip,
        is_paused: false,
        created_at: start,
        updated_at: start,
        progress: Progress::from(start),
    }
}

fn plain(text: &str) -> Firing {
    Firing { planned_at: time(text), fires_at: time(text) }
}

#[test]
fn a_firing_is_due_from_its_time_until_it_is_dealt_with() {
    let mut hourly = schedule("0 * * * *");
    assert_eq!(due(&hourly, time("2026-06-01T00:59:59Z")), None);
    let on_time = due(&hourly, time("2026-06-01T01:00:00Z")).unwrap();
    assert_eq!((on_time.firing, on_time.is_missed), (plain("2026-06-01T01:00:00Z"), false));
    assert_eq!(on_time.missed_since, None);
    hourly.progress.done_until = time("2026-06-01T01:00:00Z");
    assert_eq!(due(&hourly, time("2026-06-01T01:00:30Z")), None);
    assert_eq!(wakes_at(&hourly), Some(time("2026-06-01T02:00:00Z")));
}

#[test]
fn of_many_missed_firings_the_latest_counts() {
    let hourly = schedule("0 * * * *");
    let found = due(&hourly, time("2026-06-03T12:10:00Z")).unwrap();
    assert_eq!(found.firing, plain("2026-06-03T12:00:00Z"));
    assert!(found.is_missed);
    assert_eq!(found.missed_since, Some(time("2026-06-01T01:00:00Z")));
}

#[test]
fn what_was_missed_is_left_out_or_made_up_for_while_it_is_fresh() {
    fn check(missed: MissedPolicy, now: &str, expect: Decision) {
        let daily = Schedule { missed, ..schedule("0 3 * * *") };
        assert_eq!(decide(&daily, false, time(now)), Some(expect), "{missed} at {now}");
    }
    let firing = plain("2026-06-01T03:00:00Z");
    for missed in MissedPolicy::ALL {
        check(*missed, "2026-06-01T03:01:00Z", Decision::Run(firing));
        check(*missed, "2026-06-01T04:00:01Z", Decision::Miss(firing));
    }
    check(MissedPolicy::Skip, "2026-06-01T03:01:01Z", Decision::Miss(firing));
    check(MissedPolicy::RunOnce, "2026-06-01T03:01:01Z", Decision::Run(firing));
    check(MissedPolicy::RunOnce, "2026-06-01T04:00:00Z", Decision::Run(firing));
}

#[test]
fn what_overlaps_is_left_out_or_waits() {
    fn check(overlap: Overlap, expect: Decision) {
        let hourly = Schedule { overlap, ..schedule("0 * * * *") };
        assert_eq!(decide(&hourly, true, time("2026-06-01T01:00:01Z")), Some(expect), "{overlap}");
    }
    let firing = plain("2026-06-01T01:00:00Z");
    check(Overlap::Skip, Decision::Skip(firing));
    check(Overlap::Queue, Decision::Hold(firing));
    check(Overlap::CancelRunning, Decision::CancelAndHold(firing));
}

#[test]
fn a_firing_that_waited_comes_when_the_run_before_has_ended() {
    let mut hourly = Schedule { overlap: Overlap::Queue, ..schedule("0 * * * *") };
    hourly.progress.done_until = time("2026-06-01T01:00:00Z");
    hourly.progress.held = Some(time("2026-06-01T01:00:00Z"));
    let now = time("2026-06-01T01:40:00Z");
    assert_eq!(decide(&hourly, true, now), None);
    assert_eq!(decide(&hourly, false, now), Some(Decision::Run(plain("2026-06-01T01:00:00Z"))));
    // A later one takes its place.
    let now = time("2026-06-01T02:00:10Z");
    assert_eq!(decide(&hourly, true, now), Some(Decision::Hold(plain("2026-06-01T02:00:00Z"))));
    assert_eq!(decide(&hourly, false, now), Some(Decision::Run(plain("2026-06-01T02:00:00Z"))));
}

#[test]
fn a_paused_schedule_neither_fires_nor_wakes() {
    let paused = Schedule { is_paused: true, ..schedule("* * * * *") };
    assert_eq!(decide(&paused, false, time("2026-06-01T01:00:00Z")), None);
    assert_eq!(wakes_at(&paused), None);
}

#[test]
fn jitter_spreads_and_repeats() {
    let spread = Schedule { jitter_max: Duration::from_secs(600), ..schedule("0 * * * *") };
    let from = time("2026-06-01T00:00:00Z");
    let firings = next(&spread, from, 50);
    assert_eq!(firings, next(&spread, from, 50));
    let delays: std::collections::BTreeSet<Duration> =
        firings.iter().map(|firing| between(firing.planned_at, firing.fires_at)).collect();
    assert!(delays.len() > 25 && delays.iter().all(|delay| delay.as_secs() < 600), "{delays:?}");
    let other = Schedule { id: ScheduleId::from_u128(8), ..spread };
    assert_ne!(firings, next(&other, from, 50));
}

#[test]
fn the_next_firings_include_one_that_only_its_jitter_holds_back() {
    let spread = Schedule { jitter_max: Duration::from_secs(600), ..schedule("0 * * * *") };
    let first = next(&spread, time("2026-06-01T00:00:00Z"), 1)[0];
    let just_before = first.fires_at.saturating_sub(Duration::from_nanos(1)).unwrap();
    assert_eq!(next(&spread, just_before, 1), [first]);
    assert_eq!(due(&spread, just_before), None);
    assert_eq!(due(&spread, first.fires_at).unwrap().firing, first);
    assert_ne!(next(&spread, first.fires_at, 1), [first]);
}
