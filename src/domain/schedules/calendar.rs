//! Says when an expression fires. Owns the reading of five-field cron expressions, their time zone
//! and what becomes of a firing when the clock is changed. Face: `Calendar`. Never asks the host for
//! a zone's rules: they come with the program, so that agents on several hosts agree on every firing.

use std::fmt;

use cron::Cron;
use cron::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use crate::base::Timestamp;
use crate::base::suggest::closest;

/// Changes of a zone's clock that are passed over in the search of one firing: 60 years' worth.
const CLOCK_CHANGES_MAX: usize = 120;

/// Short forms, as Vixie cron has them. `@reboot` is no time of the calendar.
const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Why an expression or a time zone is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Not five fields.
    #[error(
        "{expression:?} has {fields} fields; a schedule has five: minute, hour, day of month, \
         month, day of week"
    )]
    Fields {
        /// What was given.
        expression: String,
        /// How many fields it has.
        fields: usize,
    },
    /// A field that says nothing known.
    #[error("{expression:?} is not a schedule: {reason}")]
    Unreadable {
        /// What was given.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No day of any year fits.
    #[error("{expression:?} never fires: no such day comes, in any year")]
    Never {
        /// What was given.
        expression: String,
    },
    /// A time zone that is not in the database.
    #[error("{name:?} is not a time zone such as `Europe/Berlin` or `UTC`{}", hint(.suggestion))]
    Zone {
        /// What was given.
        name: String,
        /// The one that was probably meant.
        suggestion: Option<String>,
    },
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!("; do you mean `{name}`?"))
}

/// A cron expression in a time zone.
///
/// Minute, hour, day of month, month, day of week (0 and 7 are Sunday), with names, lists, ranges and
/// steps; as in Vixie cron a day fits when it fits one of day of month and day of week, unless one of
/// them begins with `*`. `L`, `W` and `#` in the days are understood too.
///
/// When the clock goes forward over a firing, an expression that names its hour fires once, at the
/// first moment after the gap; when it goes back over one, it fires the first time only. One that
/// leaves the hour open (`*`, `*/2`) follows the clock as it shows: nothing in the gap, and both times
/// in the hour that comes twice.
#[derive(Clone, PartialEq, Eq)]
pub struct Calendar {
    expression: String,
    cron: Cron,
    names_hour: bool,
    zone: TimeZone,
    zone_name: String,
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calendar({self})")
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.expression, self.zone_name)
    }
}

/// From one change of a zone's clock to the next: civil time and instants go side by side.
struct Stretch {
    offset: Offset,
    /// Civil times up to here were lived through before the clock was set back.
    lived_until: Option<DateTime>,
    end: Option<Timestamp>,
}

impl Calendar {
    /// Reads an expression and the IANA name of its time zone.
    ///
    /// # Errors
    /// When one of them says nothing known, or the expression can never fire.
    pub fn parse(expression: &str, zone_name: &str) -> Result<Self, CalendarError> {
        let text = expression.split_whitespace().collect::<Vec<_>>().join(" ");
        let nickname = NICKNAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        let spelled = nickname.map_or(text.as_str(), |(_, spelled)| spelled);
        let cron = parse_cron(&text, spelled)?;
        let zone =
            TimeZoneDatabase::bundled().get(zone_name).map_err(|_| unknown_zone(zone_name))?;
        let zone_name = zone.iana_name().unwrap_or(zone_name).to_owned();
        let names_hour = !spelled.split(' ').nth(1).is_some_and(|hour| hour.starts_with('*'));
        Ok(Self { expression: text, cron, names_hour, zone, zone_name })
    }

    /// The expression, with single blanks.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The IANA name of its time zone.
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// A time as people in the zone read it: `2026-03-29 03:00 CEST`.
    pub fn local(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }

    /// The first firing after a time; none at the end of the calendar.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        // A change of the clock that the search has reached counts as a time of its own.
        let mut is_change = false;
        for _ in 0..CLOCK_CHANGES_MAX {
            let stretch = self.stretch(from);
            if let Some(found) = self.first_within(&stretch, from, is_change)
                && stretch.end.is_none_or(|end| found < end)
            {
                return Some(found);
            }
            let end = stretch.end?;
            if self.names_hour && self.was_skipped(stretch.offset, end) {
                return Some(end);
            }
            (from, is_change) = (end, true);
        }
        None
    }

    fn stretch(&self, from: Timestamp) -> Stretch {
        let offset = self.zone.to_offset(from);
        let soon = from.saturating_add(NANOSECOND).unwrap_or(from);
        let begin = self.zone.preceding(soon).next().map(|change| change.timestamp());
        let lived_until = begin.and_then(|begin| {
            let before = begin.checked_sub(NANOSECOND).ok()?;
            let old = self.zone.to_offset(before);
            (old > offset).then(|| old.to_datetime(begin))
        });
        let end = self.zone.following(from).next().map(|change| change.timestamp());
        Stretch { offset, lived_until, end }
    }

    /// The first civil time in the stretch that fits, as an instant.
    fn first_within(
        &self,
        stretch: &Stretch,
        from: Timestamp,
        inclusive: bool,
    ) -> Option<Timestamp> {
        let mut civil = stretch.offset.to_datetime(from);
        let mut inclusive = inclusive;
        if self.names_hour
            && let Some(lived_until) = stretch.lived_until
            && lived_until > civil
        {
            (civil, inclusive) = (lived_until, true);
        }
        let found = self.cron.find_next_occurrence(&civil, inclusive).ok()?;
        stretch.offset.to_timestamp(found).ok()
    }

    /// Whether the clock goes forward over a firing at this moment.
    fn was_skipped(&self, old: Offset, change: Timestamp) -> bool {
        let gap_begin = old.to_datetime(change);
        let gap_end = self.zone.to_offset(change).to_datetime(change);
        gap_begin < gap_end
            && self.cron.find_next_occurrence(&gap_begin, true).is_ok_and(|found| found < gap_end)
    }
}

const NANOSECOND: jiff::SignedDuration = jiff::SignedDuration::from_nanos(1);

fn parse_cron(given: &str, spelled: &str) -> Result<Cron, CalendarError> {
    let unreadable =
        |reason: String| CalendarError::Unreadable { expression: given.to_owned(), reason };
    if let Some(nickname) = spelled.strip_prefix('@') {
        let known: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
        let reason = format!("@{nickname} is not one of {}", known.join(", "));
        return Err(unreadable(reason));
    }
    let fields: Vec<&str> = spelled.split(' ').filter(|field| !field.is_empty()).collect();
    let [_, _, day, _, weekday] = fields[..] else {
        let (expression, fields) = (given.to_owned(), fields.len());
        return Err(CalendarError::Fields { expression, fields });
    };
    if weekday.starts_with('+') {
        return Err(unreadable("a field cannot begin with `+`".to_owned()));
    }
    // `*/2` restricts a day and yet begins with `*`: then both fields must fit.
    let is_stepped = |field: &str| field.starts_with("*/");
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .dom_and_dow(is_stepped(day) || is_stepped(weekday))
        .build();
    let cron = parser.parse(spelled).map_err(|error| unreadable(reason_of(&error)))?;
    let never = || CalendarError::Never { expression: given.to_owned() };
    if !has_some_day(&cron, weekday) {
        return Err(never());
    }
    // What the look at months and days does not see, the search does: it takes long to give up.
    let start = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
    cron.find_next_occurrence(&start, true).map_err(|_| never())?;
    Ok(cron)
}

/// The library's words, as part of a sentence.
fn reason_of(error: &cron::errors::CronError) -> String {
    use cron::errors::CronError::{ComponentError, IllegalCharacters, InvalidPattern};
    match error {
        InvalidPattern(reason) | ComponentError(reason) => {
            let reason = reason.trim_end_matches('.');
            let mut letters = reason.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_lowercase().collect::<String>() + letters.as_str()
            })
        }
        IllegalCharacters(_) => "it has letters that no field knows".to_owned(),
        other => other.to_string(),
    }
}

/// Whether one of the months has one of the days, when only these decide: `0 0 31 2 *` has none.
fn has_some_day(cron: &Cron, weekday: &str) -> bool {
    const LONGEST: [u16; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = cron.pattern.days.values();
    if days.is_empty() || weekday != "*" {
        return true;
    }
    let months = cron.pattern.months.values();
    let longest = months.iter().filter_map(|month| LONGEST.get(usize::from(month - 1))).max();
    longest.is_some_and(|longest| days.iter().any(|day| day <= longest))
}

fn unknown_zone(name: &str) -> CalendarError {
    let known: Vec<String> =
        TimeZoneDatabase::bundled().available().map(|known| known.to_string()).collect();
    let suggestion = closest(name, known.iter().map(String::as_str)).map(str::to_owned);
    CalendarError::Zone { name: name.to_owned(), suggestion }
}
