mod clock_changes;
mod policies;
mod properties;

use super::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn calendar(expression: &str, zone: &str) -> Calendar {
    Calendar::parse(expression, zone).unwrap()
}

/// Every firing after `from`, until `until`, as the zone's people read it.
fn firings(expression: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
    let calendar = calendar(expression, zone);
    let (mut now, until) = (time(from), time(until));
    let mut found = Vec::new();
    while let Some(next) = calendar.next(now).filter(|next| *next <= until) {
        found.push(calendar.local(next));
        now = next;
    }
    found
}

#[test]
fn what_is_wrong_with_an_expression_is_said() {
    fn check(expression: &str, expect: &str) {
        let error = Calendar::parse(expression, "UTC").unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
    let five = "a schedule has five: minute, hour, day of month, month, day of week";
    check("", &format!("\"\" has 0 fields; {five}"));
    check("0 3 * *", &format!("\"0 3 * *\" has 4 fields; {five}"));
    check("0 0 3 * * *", &format!("\"0 0 3 * * *\" has 6 fields; {five}"));
    check("0 0 31 2 *", "\"0 0 31 2 *\" never fires: no such day comes, in any year");
    check("0 0 31 4,6,9,11 *", "\"0 0 31 4,6,9,11 *\" never fires: no such day comes, in any year");
    check(
        "@reboot",
        "\"@reboot\" is not a schedule: @reboot is not one of @yearly, @annually, @monthly, \
         @weekly, @daily, @midnight, @hourly",
    );
    for wrong in ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *"] {
        let error = Calendar::parse(wrong, "UTC").unwrap_err();
        assert!(matches!(error, CalendarError::Unreadable { .. }), "{wrong}: {error}");
    }
}

#[test]
fn a_mistyped_time_zone_is_recognised() {
    fn check(zone: &str, expect: &str) {
        let error = Calendar::parse("0 3 * * *", zone).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
    let is = "is not a time zone such as `Europe/Berlin` or `UTC`";
    check("Europe/Berlln", &format!("\"Europe/Berlln\" {is}; do you mean `Europe/Berlin`?"));
    check("Mars/Olympus", &format!("\"Mars/Olympus\" {is}"));
    assert_eq!(calendar("0 3 * * *", "europe/berlin").zone_name(), "Europe/Berlin");
}

#[test]
fn days_fit_as_in_vixie_cron() {
    fn check(expression: &str, expect: &[&str]) {
        let found = firings(expression, "UTC", "2026-11-01T00:00:00Z", "2026-11-30T23:59:00Z");
        let days: Vec<&str> = found.iter().map(|time| &time[8..10]).collect();
        assert_eq!(days, expect, "{expression}");
    }
    // 1 November 2026 is a Sunday.
    check("5 0 * * 0", &["01", "08", "15", "22", "29"]);
    check("5 0 * * 7", &["01", "08", "15", "22", "29"]);
    check("5 0 * * sun", &["01", "08", "15", "22", "29"]);
    check("5 0 13 * *", &["13"]);
    // Friday, or the 14th.
    check("5 0 14 * 5", &["06", "13", "14", "20", "27"]);
    // Begins with `*`: then both must fit. Odd days that are Fridays.
    check("5 0 */2 * 5", &["13", "27"]);
    check("5 0 28-31 11 *", &["28", "29", "30"]);
    check("5 0 L * *", &["30"]);
    check("5 0 * * 5#2", &["13"]);
    check("@monthly", &[]);
    check("@weekly", &["08", "15", "22", "29"]);
}

#[test]
fn a_leap_day_is_waited_for() {
    let found = firings("0 12 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2033-01-01T00:00:00Z");
    assert_eq!(found, ["2028-02-29 12:00 UTC", "2032-02-29 12:00 UTC"]);
}
