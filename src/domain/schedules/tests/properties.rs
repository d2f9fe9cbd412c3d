//! Compares the calendar with a stepper that looks at every minute there is.

use std::collections::BTreeSet;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use proptest::prelude::*;

use super::*;

/// One field, read by itself: which numbers fit, and whether it begins with `*`.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    fits: BTreeSet<i8>,
    is_star: bool,
}

fn field(least: i8, most: i8) -> impl Strategy<Value = Field> {
    let star = (1..=most).prop_map(move |step| {
        let text = if step == 1 { "*".to_owned() } else { format!("*/{step}") };
        let fits = (least..=most).step_by(usize::try_from(step).unwrap()).collect();
        Field { text, fits, is_star: true }
    });
    let range = (least..=most, least..=most).prop_map(|(one, other)| {
        let (first, last) = (one.min(other), one.max(other));
        let text = if first == last { first.to_string() } else { format!("{first}-{last}") };
        Field { text, fits: (first..=last).collect(), is_star: false }
    });
    let list = proptest::collection::btree_set(least..=most, 1..4).prop_map(|fits| {
        let text = fits.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Field { text, fits, is_star: false }
    });
    prop_oneof![Just(1).prop_flat_map(move |_| any_number()), star, range, list]
}

/// `*` alone, often: else hardly anything ever fires.
fn any_number() -> impl Strategy<Value = Field> {
    Just(Field { text: "*".to_owned(), fits: (0..=59).collect(), is_star: true })
}

#[derive(Debug, Clone)]
struct Expression([Field; 5]);

impl Expression {
    fn text(&self) -> String {
        self.0.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn fits(&self, civil: jiff::civil::DateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.0;
        let sunday_based = civil.weekday().to_sunday_zero_offset();
        let day_fits = day.fits.contains(&civil.day());
        let weekday_fits = weekday.fits.contains(&sunday_based)
            || (sunday_based == 0 && weekday.fits.contains(&7) && weekday.text != "*");
        let both_decide = day.is_star || weekday.is_star;
        let some_day =
            if both_decide { day_fits && weekday_fits } else { day_fits || weekday_fits };
        minute.fits.contains(&civil.minute())
            && hour.fits.contains(&civil.hour())
            && month.fits.contains(&civil.month())
            && some_day
    }

    /// Every firing in `(from, until]`, found minute by minute.
    fn stepped(&self, zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let names_hour = !self.0[1].is_star;
        let minute = Duration::from_secs(60);
        let mut found = Vec::new();
        // Starts a day early, to know what was lived through already.
        let mut now = from.checked_sub(Duration::from_secs(26 * 3600)).unwrap();
        let mut lived = zone.to_datetime(now);
        while now < until {
            now = now.checked_add(minute).unwrap();
            let civil = zone.to_datetime(now);
            let is_repeated = civil <= lived;
            let mut fires = self.fits(civil) && !(is_repeated && names_hour);
            if names_hour {
                // The minutes that the clock left out.
                let mut skipped = lived.checked_add(minute).unwrap();
                while skipped < civil {
                    fires |= self.fits(skipped);
                    skipped = skipped.checked_add(minute).unwrap();
                }
            }
            lived = lived.max(civil);
            if fires && now > from {
                found.push(now);
            }
        }
        found
    }
}

fn expressions() -> impl Strategy<Value = Expression> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).prop_map(
        |(minute, hour, day, month, weekday)| Expression([minute, hour, day, month, weekday]),
    )
}

/// Zones and the days around which their clocks change.
const PLACES: &[(&str, &str)] = &[
    ("UTC", "2026-02-27T00:00:00Z"),
    ("Europe/Berlin", "2026-03-28T00:00:00Z"),
    ("Europe/Berlin", "2026-10-24T00:00:00Z"),
    ("America/New_York", "2026-03-07T12:00:00Z"),
    ("America/New_York", "2026-10-31T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-03T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-02T12:00:00Z"),
    ("Asia/Beirut", "2026-03-28T00:00:00Z"),
    ("Asia/Kathmandu", "2026-06-30T00:00:00Z"),
    ("Pacific/Apia", "2011-12-28T22:00:00Z"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_calendar_fires_when_a_look_at_every_minute_does(
        expression in expressions(),
        place in 0..PLACES.len(),
    ) {
        let (zone_name, start) = PLACES[place];
        let zone = TimeZoneDatabase::bundled().get(zone_name).unwrap();
        let from = time(start);
        let until = from.checked_add(Duration::from_secs(3 * 24 * 3600)).unwrap();
        let stepped = expression.stepped(&zone, from, until);
        let text = expression.text();
        let calendar = match Calendar::parse(&text, zone_name) {
            Ok(calendar) => calendar,
            Err(CalendarError::Never { .. }) => {
                prop_assert!(stepped.is_empty(), "{text} fires");
                return Ok(());
            }
            Err(error) => panic!("{error}"),
        };
        let mut found = Vec::new();
        let mut now = from;
        while let Some(next) = calendar.next(now).filter(|next| *next <= until) {
            prop_assert!(next > now);
            found.push(next);
            now = next;
        }
        prop_assert_eq!(found, stepped, "{} in {}", text, zone_name);
    }

    #[test]
    fn no_firing_is_dealt_with_twice_or_never_however_often_it_is_looked_at(
        steps in proptest::collection::vec(1_u64..4_000, 1..20),
        jitter in 0_u64..1_200,
    ) {
        let start = time("2026-10-24T22:00:00Z");
        let mut schedule = Schedule {
            id: ScheduleId::from_u128(7),
            workspace_id: WorkspaceId::from_u128(1),
            tenant_id: None,
            name: "often".parse().unwrap(),
            calendar: calendar("*/10 * * * *", "Europe/Berlin"),
            task: Task::RestartProject { project: "shop".to_owned(), services: Vec::new() },
            jitter_max: Duration::from_secs(jitter),
            missed: MissedPolicy::RunOnce,
            missed_age_max: Duration::from_secs(3600 * 24),
            overlap: Overlap::Skip,
            is_paused: false,
            created_at: start,
            updated_at: start,
            progress: Progress::from(start),
        };
        let mut now = start;
        for step in steps {
            now = now.checked_add(Duration::from_secs(step)).unwrap();
            let expected = next(&schedule, schedule.progress.done_until, 12)
                .into_iter()
                .rfind(|firing| firing.fires_at <= now);
            let found = due(&schedule, now).map(|due| due.firing);
            prop_assert_eq!(found, expected);
            if let Some(firing) = found {
                prop_assert!(firing.planned_at > schedule.progress.done_until);
                schedule.progress.done_until = firing.planned_at;
            }
            prop_assert_eq!(due(&schedule, now), None);
        }
    }
}
