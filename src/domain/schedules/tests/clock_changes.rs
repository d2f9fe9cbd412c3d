use super::*;

/// Berlin goes from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October.
fn check(expression: &str, day: &str, expect: &[&str]) {
    let (from, until) = match day {
        "spring" => ("2026-03-28T22:59:59Z", "2026-03-29T04:00:00Z"),
        _ => ("2026-10-24T21:59:59Z", "2026-10-25T04:00:00Z"),
    };
    let found = firings(expression, "Europe/Berlin", from, until);
    let times: Vec<&str> = found.iter().map(|time| &time[11..]).collect();
    assert_eq!(times, expect, "{expression} in {day}");
}

#[test]
fn what_falls_into_the_gap_of_spring_fires_once_after_it() {
    check("30 2 * * *", "spring", &["03:00 CEST"]);
    check("0 2 * * *", "spring", &["03:00 CEST"]);
    check("59 1 * * *", "spring", &["01:59 CET"]);
    check("0 3 * * *", "spring", &["03:00 CEST"]);
    // All that fell into the gap is one firing, also with what is planned for its end.
    check("0,15,30 2 * * *", "spring", &["03:00 CEST"]);
    check("*/20 2 * * *", "spring", &["03:00 CEST"]);
    check("0 1-4 * * *", "spring", &["01:00 CET", "03:00 CEST", "04:00 CEST"]);
    check("30 2,4 * * *", "spring", &["03:00 CEST", "04:30 CEST"]);
    // The gap of another day is none.
    check("30 2 28 3 *", "spring", &[]);
}

#[test]
fn what_comes_twice_in_autumn_fires_the_first_time() {
    check("30 2 * * *", "autumn", &["02:30 CEST"]);
    check("0 2 * * *", "autumn", &["02:00 CEST"]);
    check("0,30 2 * * *", "autumn", &["02:00 CEST", "02:30 CEST"]);
    check("*/20 2 * * *", "autumn", &["02:00 CEST", "02:20 CEST", "02:40 CEST"]);
    check("0 3 * * *", "autumn", &["03:00 CET"]);
    check("30 1-3 * * *", "autumn", &["01:30 CEST", "02:30 CEST", "03:30 CET"]);
}

#[test]
fn an_open_hour_follows_the_clock_as_it_shows() {
    check(
        "30 * * * *",
        "spring",
        &["00:30 CET", "01:30 CET", "03:30 CEST", "04:30 CEST", "05:30 CEST"],
    );
    check(
        "30 * * * *",
        "autumn",
        &["00:30 CEST", "01:30 CEST", "02:30 CEST", "02:30 CET", "03:30 CET", "04:30 CET"],
    );
    check("0 */2 * * *", "spring", &["00:00 CET", "04:00 CEST", "06:00 CEST"]);
}

#[test]
fn other_clocks_change_otherwise() {
    // Half an hour, on Lord Howe Island: 02:00 becomes 02:30 on 4 October 2026.
    let found = firings(
        "10 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T12:00:00Z",
        "2026-10-04T12:00:00Z",
    );
    assert_eq!(found, ["2026-10-04 02:30 +11"]);
    // A whole day: Samoa had no 30 December 2011.
    let found =
        firings("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2012-01-02T00:00:00Z");
    assert_eq!(found, ["2011-12-31 00:00 +14"]);
    // At midnight, in Beirut: 00:00 becomes 01:00 on 29 March 2026.
    let found = firings("@daily", "Asia/Beirut", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(found, ["2026-03-29 01:00 EEST", "2026-03-30 00:00 EEST"]);
}

/// Lord Howe Island goes from 02:00 to 02:30 on 4 October 2026, and from 02:00 back to 01:30 on
/// 5 April.
#[test]
fn half_an_hour_is_skipped_and_comes_twice_as_an_hour_does() {
    let check = |expression: &str, from: &str, until: &str, expect: &[&str]| {
        let found = firings(expression, "Australia/Lord_Howe", from, until);
        let times: Vec<&str> = found.iter().map(|time| &time[11..]).collect();
        assert_eq!(times, expect, "{expression} from {from}");
    };
    let spring = |expression, expect| {
        check(expression, "2026-10-03T13:29:59Z", "2026-10-03T17:00:00Z", expect);
    };
    spring("10 2 * * *", &["02:30 +11"]);
    spring("30 2 * * *", &["02:30 +11"]);
    spring("0,10,20 2 * * *", &["02:30 +11"]);
    spring("59 1 * * *", &["01:59 +1030"]);
    spring("10 * * * *", &["00:10 +1030", "01:10 +1030", "03:10 +11"]);
    spring("40 * * * *", &["00:40 +1030", "01:40 +1030", "02:40 +11", "03:40 +11"]);
    let autumn = |expression, expect| {
        check(expression, "2026-04-04T12:59:59Z", "2026-04-04T16:00:00Z", expect);
    };
    autumn("40 1 * * *", &["01:40 +11"]);
    autumn("20 1 * * *", &["01:20 +11"]);
    autumn("0 2 * * *", &["02:00 +1030"]);
    autumn("40 * * * *", &["00:40 +11", "01:40 +11", "01:40 +1030"]);
    autumn("20 * * * *", &["00:20 +11", "01:20 +11", "02:20 +1030"]);
}

/// A zone whose offset is no whole hour and never changes.
#[test]
fn a_zone_of_half_hours_fires_at_its_own_times() {
    let (from, until) = ("2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z");
    let found = firings("*/30 * * * *", "Asia/Kolkata", from, until);
    let times: Vec<&str> = found.iter().map(|time| &time[11..]).collect();
    assert_eq!(times, ["06:00 IST", "06:30 IST", "07:00 IST", "07:30 IST"]);
}

#[test]
fn a_firing_is_found_from_within_the_hour_that_comes_twice() {
    let calendar = calendar("45 2 * * *", "Europe/Berlin");
    // 02:50 summer time, 02:10 and 02:50 winter time: that day's firing is over.
    for now in ["2026-10-25T00:50:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:50:00Z"] {
        let next = calendar.next(time(now)).unwrap();
        assert_eq!(calendar.local(next), "2026-10-26 02:45 CET", "{now}");
    }
}
