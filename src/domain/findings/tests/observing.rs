use super::super::*;
use super::{DAY, Kept, TENANT, at, look, violation};
use crate::base::ids::RunId;

#[test]
fn what_is_seen_first_is_new_and_has_all_that_its_lifecycle_needs() {
    let mut kept = Kept::default();
    assert_eq!(kept.look(&look(1, &[violation("non_root", "shop/web/1")])), [What::Created]);
    let row = kept.only();
    assert!(row.is_complete());
    assert_eq!((row.status, row.times_seen, row.version), (FindingStatus::New, Some(1), 1));
    assert_eq!((row.first_seen_at, row.last_seen_at), (Some(at(1)), Some(at(1))));
    assert_eq!(row.due_at, Some(at(1 + 7 * DAY)));
    assert_eq!(row.scope_key, "policy:base");
    assert_eq!(row.told.project.as_deref(), Some("shop"));
    assert_eq!(row.fingerprint, row.recurrence_key.unwrap().to_string());
}

#[test]
fn a_run_counts_once_and_a_look_without_one_counts_by_its_time() {
    fn check(looks: &[(u64, Option<u128>)], times: u64) {
        let mut kept = Kept::default();
        for (hours, run) in looks {
            let run = run.map(RunId::from_u128);
            kept.look(&Look { run, ..look(*hours, &[violation("non_root", "shop/web/1")]) });
        }
        assert_eq!(kept.only().times_seen, Some(times), "{looks:?}");
    }
    check(&[(1, None)], 1);
    check(&[(1, None), (2, None)], 2);
    check(&[(1, None), (1, None)], 1);
    check(&[(1, Some(7)), (2, Some(7)), (3, Some(7))], 1);
    check(&[(1, Some(7)), (2, Some(8))], 2);
    check(&[(1, Some(7)), (2, None), (3, None)], 3);
    // An older look that comes late counts nothing.
    check(&[(5, None), (4, None)], 1);
}

#[test]
fn what_is_seen_again_by_the_same_run_writes_nothing() {
    let mut kept = Kept::default();
    let seen = [violation("non_root", "shop/web/1")];
    let run = Some(RunId::from_u128(7));
    kept.look(&Look { run, ..look(1, &seen) });
    let before = kept.only().clone();
    kept.look(&Look { run, ..look(2, &seen) });
    assert_eq!(*kept.only(), before);
}

#[test]
fn only_what_was_covered_is_resolved() {
    type Change = fn(&mut Look);
    fn check(what: &str, is_resolved: bool, change: Change) {
        let mut kept = Kept::default();
        kept.look(&look(1, &[violation("non_root", "shop/web/1")]));
        let mut later = look(2, &[]);
        change(&mut later);
        let told = kept.look(&later);
        assert_eq!(told == [What::Resolved], is_resolved, "{what}");
        let row = kept.only();
        let expect = if is_resolved { FindingStatus::Resolved } else { FindingStatus::New };
        assert_eq!((row.status, row.resolved_at.is_some()), (expect, is_resolved), "{what}");
        assert_eq!(row.due_at.is_none(), is_resolved, "{what}");
    }
    let forget: Change = |look| drop(look.subjects.remove("shop/web/1"));
    check("all was looked at", true, |_| {});
    check("another subject was", false, forget);
    check("all of them were: it is gone", true, |look| {
        look.subjects.remove("shop/web/1");
        look.is_whole = true;
    });
    check("another policy was", false, |look| {
        look.policies = ["other".to_owned()].into();
    });
    check("the check could not be judged", false, |look| {
        look.unknown.insert(("non_root".to_owned(), "shop/web/1".to_owned()));
    });
    check("another check could not be", true, |look| {
        look.unknown.insert(("privileged".to_owned(), "shop/web/1".to_owned()));
    });
    check("the look is older", false, |look| look.at = at(0));
    check("of another tenant", false, |look| look.tenant = TenantId::from_u128(2));
}

#[test]
fn what_several_policies_say_is_resolved_when_all_of_them_were_judged() {
    let mut kept = Kept::default();
    let both = vec!["base".to_owned(), "strict".to_owned()];
    let seen = Violation { policies: both, ..violation("non_root", "shop/web/1") };
    kept.look(&look(1, &[seen]));
    assert_eq!(kept.look(&look(2, &[])), []);
    let mut all = look(3, &[]);
    all.policies.insert("strict".to_owned());
    assert_eq!(kept.look(&all), [What::Resolved]);
}

#[test]
fn what_comes_back_is_reopened_with_a_new_date() {
    fn check(command: Option<Command>) {
        let mut kept = Kept::default();
        let seen = [violation("non_root", "shop/web/1")];
        kept.look(&look(1, &seen));
        match command {
            None => drop(kept.look(&look(2, &[]))),
            Some(command) => {
                let change = super::super::command(kept.only(), command, at(2)).unwrap();
                kept.change(change.unwrap());
            }
        }
        assert!(kept.only().status.is_over());
        assert_eq!(kept.look(&look(50, &seen)), [What::Reopened], "{command:?}");
        let row = kept.only();
        assert_eq!((row.status, row.reopen_count), (FindingStatus::Reopened, 1));
        assert_eq!((row.resolved_at, row.closed_at, row.close_reason), (None, None, None));
        assert_eq!((row.due_at, row.times_seen), (Some(at(50 + 7 * DAY)), Some(2)));
        assert!(row.is_complete());
        assert_eq!(kept.look(&look(51, &seen)), [], "once");
    }
    check(None);
    check(Some(Command::Close));
}

#[test]
fn an_older_look_takes_nothing_back() {
    let mut kept = Kept::default();
    let seen = [violation("non_root", "shop/web/1")];
    kept.look(&look(1, &seen));
    kept.look(&look(9, &[]));
    assert_eq!(kept.look(&look(5, &seen)), [], "it was resolved after that look");
    assert_eq!(kept.only().status, FindingStatus::Resolved);
}

#[test]
fn an_accepted_one_is_silent_until_its_time_is_over_or_it_is_another() {
    let mut kept = Kept::default();
    let seen = [violation("non_root", "shop/web/1")];
    kept.look(&look(1, &seen));
    kept.accept(2, 100);
    assert_eq!((kept.only().status, kept.only().due_at), (FindingStatus::RiskAccepted, None));
    assert_eq!(kept.look(&look(3, &seen)), []);
    assert_eq!((kept.only().times_seen, kept.only().version), (Some(2), 3));
    // It goes and comes back: still accepted.
    assert_eq!(kept.look(&look(4, &[])), [What::Resolved]);
    assert_eq!(kept.look(&look(5, &seen)), [What::StillAccepted]);
    assert_eq!(kept.only().status, FindingStatus::RiskAccepted);
    // Its words change, and what stands for the evidence does not.
    let worded = Violation { message: "it is root".into(), ..seen[0].clone() };
    assert_eq!(kept.look(&look(6, &[worded])), []);
    let other = Violation { evidence_hash: evidence_hash(&["other"]), ..seen[0].clone() };
    assert_eq!(kept.look(&look(7, std::slice::from_ref(&other))), [What::AcceptanceVoid]);
    assert_eq!(kept.only().status, FindingStatus::Reopened);
    assert_eq!(kept.exceptions[0].status, ExceptionStatus::Revoked);
    kept.accept(8, 20);
    assert_eq!(kept.look(&look(19, std::slice::from_ref(&other))), []);
    assert_eq!(kept.look(&look(20, &[other])), [What::ExceptionExpired]);
    assert_eq!(kept.exceptions[1].status, ExceptionStatus::Expired);
    assert_eq!((kept.only().status, kept.only().reopen_count), (FindingStatus::Reopened, 2));
}

#[test]
fn an_exception_ends_without_a_look() {
    let mut kept = Kept::default();
    kept.look(&look(1, &[violation("non_root", "shop/web/1")]));
    kept.accept(2, 10);
    assert!(expire(&kept.exceptions, &kept.rows, at(9)).is_empty());
    let ended = expire(&kept.exceptions, &kept.rows, at(10));
    assert_eq!(kept.apply(ended), [What::ExceptionExpired]);
    let row = kept.only();
    assert_eq!((row.status, row.reopen_count), (FindingStatus::Reopened, 1));
    assert_eq!(row.due_at, Some(at(10 + 7 * DAY)));
    assert!(expire(&kept.exceptions, &kept.rows, at(99)).is_empty(), "once");
}

#[test]
fn what_becomes_worse_is_due_earlier_and_what_becomes_better_keeps_its_date() {
    fn check(severity: Severity, days: u64) {
        let mut kept = Kept::default();
        let seen = violation("non_root", "shop/web/1");
        kept.look(&look(0, std::slice::from_ref(&seen)));
        kept.look(&look(1, &[Violation { severity, ..seen }]));
        assert_eq!(kept.only().severity, severity);
        let hours = if severity > Severity::High { 1 } else { 0 };
        assert_eq!(kept.only().due_at, Some(at(hours + days * DAY)), "{severity}");
    }
    check(Severity::Critical, 3);
    check(Severity::High, 7);
    check(Severity::Low, 7);
}

#[test]
fn a_row_of_the_old_form_is_not_resolved_while_it_is_seen() {
    let mut kept = Kept::default();
    let seen = [violation("non_root", "shop/web/1")];
    kept.look(&look(1, &seen));
    kept.rows[0].fingerprint = "legacy-1".to_owned();
    assert_eq!(kept.look(&look(2, &seen)), [What::Created], "beside it, until the backfill");
    assert_eq!(kept.rows[0].status, FindingStatus::New);
    let done = backfill(&kept.rows[..1], &[], at(3));
    assert_eq!(done.updated, 0, "it has all that it needs");
}

#[test]
fn a_look_has_a_limit_and_what_is_beyond_it_stays() {
    let mut look = look(1, &[]);
    for number in 0..crate::base::limits::LOOK_VIOLATIONS_MAX {
        look.see(violation(&format!("check-{number}"), "shop/web/1"));
    }
    look.see(violation("non_root", "shop/web/1"));
    assert_eq!(look.violations.len(), crate::base::limits::LOOK_VIOLATIONS_MAX);
    let key = ("non_root".to_owned(), "shop/web/1".to_owned());
    assert!(look.unknown.contains(&key));
    assert_eq!(look.tenant, TENANT);
}
