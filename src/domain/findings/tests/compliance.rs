use std::collections::BTreeSet;

use super::super::*;
use super::{at, look, violation};
use crate::domain::access::Stage;
use crate::domain::policy::{Question, Source, Subject, compile};
use crate::facts::{Security, ServiceSpec};

fn key(policy: &str, subject: &str) -> (String, String) {
    (policy.to_owned(), subject.to_owned())
}

fn known(changes: StandingChanges) -> Vec<PolicyStanding> {
    changes.put
}

#[test]
fn a_look_changes_how_subjects_stand_and_writes_only_what_changes() {
    let none = BTreeSet::new();
    let first = standings(&[], &look(1, &[violation("non_root", "shop/web/1")]), &none);
    let told: Vec<_> =
        first.put.iter().map(|row| (row.subject.as_str(), row.standing, row.since)).collect();
    assert_eq!(
        told,
        [("shop/db/1", Standing::Passing, at(1)), ("shop/web/1", Standing::Failing, at(1))]
    );
    let rows = known(first);
    assert!(standings(&rows, &look(2, &[violation("x", "shop/web/1")]), &none).is_empty());
    let fixed = standings(&rows, &look(3, &[]), &none);
    assert_eq!(fixed.put.len(), 1);
    assert_eq!((fixed.put[0].standing, fixed.put[0].since), (Standing::Passing, at(3)));
    // Older than what is known.
    assert!(standings(&rows, &look(0, &[]), &none).is_empty());
}

#[test]
fn who_is_gone_is_dropped_when_all_was_looked_at() {
    let none = BTreeSet::new();
    let rows = known(standings(&[], &look(1, &[]), &none));
    let mut later = Look::new(super::TENANT, at(2), None);
    later.cover("shop/web/1", Some("shop"));
    later.stand("base", "shop/web/1", Standing::Passing);
    assert!(standings(&rows, &later, &none).is_empty(), "nobody looked at the other");
    later.is_whole = true;
    assert_eq!(standings(&rows, &later, &none).dropped, [key("base", "shop/db/1")]);
    // A policy that is not about it any more.
    let mut other = look(3, &[]);
    other.standings.clear();
    assert_eq!(standings(&rows, &other, &none).dropped.len(), 2);
}

#[test]
fn a_subject_whose_violations_are_accepted_is_excepted() {
    let accepted = BTreeSet::from([key("base", "shop/web/1")]);
    let seen = look(1, &[violation("non_root", "shop/web/1"), violation("x", "shop/db/1")]);
    let rows = standings(&[], &seen, &accepted).put;
    let told: Vec<Standing> = rows.iter().map(|row| row.standing).collect();
    assert_eq!(told, [Standing::Failing, Standing::Excepted]);
}

#[test]
fn the_percentage_leaves_out_who_is_excepted_and_what_is_not_known() {
    fn check(counts: [u64; 4], hundredths: Option<u64>) {
        let mut tally = Tally::default();
        let [passing, failing, excepted, unknown] = counts;
        tally.add(Standing::Passing, passing);
        tally.add(Standing::Failing, failing);
        tally.add(Standing::Excepted, excepted);
        tally.add(Standing::Unknown, unknown);
        assert_eq!(tally.hundredths(), hundredths, "{counts:?}");
        assert_eq!(tally.judged(), counts.iter().sum::<u64>());
    }
    check([0, 0, 0, 0], None);
    check([0, 0, 3, 2], None);
    check([1, 0, 3, 2], Some(10_000));
    check([2, 1, 0, 0], Some(6_666));
    check([0, 5, 5, 5], Some(0));
}

/// The first policy selects everything, the second is stricter about the same.
const POLICIES: &[(&str, &str)] = &[
    (
        "base.yaml",
        "name: base\ntitle: t\ndescription: d\nowner: ops\naction: {default: audit}\n\
         checks: [privileged, health_check, non_root_user]\n",
    ),
    (
        "strict.yaml",
        "name: strict\ntitle: t\ndescription: d\nowner: ops\naction: {default: deny}\n\
         checks: [privileged]\n",
    ),
];

#[test]
fn a_look_takes_what_policies_find() {
    let sources: Vec<Source<'_>> =
        POLICIES.iter().map(|(file, text)| Source { file, text }).collect();
    let set = compile(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    let security = Security { privileged: true, ..Security::default() };
    let spec = ServiceSpec { security, ..ServiceSpec::default() };
    let subject = Subject::new("web", &spec);
    let question =
        Question { subject: &subject, stage: Stage::Production, tenant: None, now: at(0) };
    let mut look = Look::new(super::TENANT, at(0), None);
    look.take("shop/web/1", Some("shop"), &set.judge(&question));
    assert_eq!(look.policies, ["base", "strict"].map(str::to_owned).into());
    let privileged: Vec<_> =
        look.violations.iter().filter(|it| it.check_id == "rule.privileged").collect();
    let [privileged] = privileged[..] else { panic!("{:?}", look.violations) };
    assert_eq!(privileged.policies, ["strict", "base"], "the strictest first, and one finding");
    assert_eq!(privileged.scope_key(), "policy:strict");
    assert!(!privileged.message.as_str().is_empty() && !privileged.title.as_str().is_empty());
    assert_eq!(look.standings[&key("strict", "shop/web/1")], Standing::Failing);
    // Without an image nobody knows its user.
    let unknown = key("rule.non_root_user", "shop/web/1");
    assert!(look.unknown.contains(&unknown), "{:?}", look.unknown);
    let again = set.judge(&question);
    let mut other = Look::new(super::TENANT, at(9), None);
    other.take("shop/web/1", Some("shop"), &again);
    assert_eq!(other.violations, look.violations, "equal facts make equal evidence");
}
