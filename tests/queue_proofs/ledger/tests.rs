//! Forged histories: each breaks one promise, and the rules must say which.

use super::*;

fn unit(run: &str) -> Unit {
    Unit { run: run.to_owned(), job: None }
}

fn counts(mails: u64) -> Counts {
    Counts::from([("mails".to_owned(), mails)])
}

fn entry(sent: u64, what: What) -> Entry {
    Entry { by: "forger".to_owned(), sent, heard: sent + 1, what }
}

fn asked(sent: u64, identity: &str, run: &str) -> Entry {
    let told = Asked::Acknowledged { run: run.to_owned() };
    entry(sent, What::Asked { identity: identity.to_owned(), told })
}

fn began(sent: u64, unit: &Unit, attempt: u32) -> Entry {
    let subject = Some("app:one".to_owned());
    entry(sent, What::Began { unit: unit.clone(), attempt, subject })
}

fn said(sent: u64, unit: &Unit, attempt: u32, word: Word, told: Told) -> Entry {
    let counts = if word == Word::Complete { counts(2) } else { Counts::new() };
    entry(sent, What::Said { unit: unit.clone(), attempt, word, counts, told })
}

fn refused() -> Told {
    Told::Refused { status: 409, code: "stale_attempt".to_owned() }
}

fn done(identity: &str, attempt: u32, mails: u64) -> RunFact {
    RunFact {
        identity: identity.to_owned(),
        is_completed: true,
        outcome: "succeeded".to_owned(),
        attempt,
        counts: counts(mails),
        jobs: BTreeMap::new(),
    }
}

/// Two attempts at `a`, the first stalled and fenced; then a bulk run `b` of two jobs.
fn honest() -> (Vec<Entry>, Facts) {
    let a = unit("a");
    let job = |key: &str| Unit { run: "b".to_owned(), job: Some(key.to_owned()) };
    let history = vec![
        asked(10, "first", "a"),
        began(20, &a, 1),
        began(40, &a, 2),
        said(45, &a, 1, Word::Heartbeat, refused()),
        said(50, &a, 1, Word::Complete, refused()),
        said(60, &a, 2, Word::Heartbeat, Told::Accepted),
        said(70, &a, 2, Word::Complete, Told::Accepted),
        asked(80, "first", "c"),
        began(85, &unit("c"), 1),
        said(86, &unit("c"), 1, Word::Complete, Told::Unknown),
        asked(90, "bulk", "b"),
        began(91, &job("x"), 1),
        began(92, &job("y"), 1),
        said(93, &job("x"), 1, Word::Complete, Told::Accepted),
        said(94, &job("y"), 1, Word::Fail, Told::Accepted),
        began(95, &job("y"), 2),
        said(96, &job("y"), 2, Word::Complete, Told::Accepted),
    ];
    let mut bulk = done("bulk", 1, 4);
    bulk.jobs.insert("x".to_owned(), ("succeeded".to_owned(), 1));
    bulk.jobs.insert("y".to_owned(), ("succeeded".to_owned(), 2));
    let runs = [("a", done("first", 2, 2)), ("b", bulk), ("c", done("first", 1, 2))];
    let facts = Facts {
        runs: runs.into_iter().map(|(id, run)| (id.to_owned(), run)).collect(),
        ends: ["a", "b", "c"].map(|id| (id.to_owned(), 1)).into(),
    };
    (history, facts)
}

/// Changes the honest history, and expects to find this broken.
fn check_forged(forge: impl FnOnce(&mut Vec<Entry>, &mut Facts), expect: &[Broken]) {
    let (mut history, mut facts) = honest();
    forge(&mut history, &mut facts);
    assert_eq!(check(&history, &facts), expect);
}

#[test]
fn an_honest_history_breaks_nothing() {
    check_forged(|_, _| {}, &[]);
}

#[test]
fn a_lost_run_is_found() {
    let forge = |_: &mut Vec<Entry>, facts: &mut Facts| {
        facts.runs.remove("a");
    };
    check_forged(forge, &[Broken::Lost { run: "a".to_owned() }]);
}

#[test]
fn a_run_without_an_end_is_found() {
    let forge = |_: &mut Vec<Entry>, facts: &mut Facts| {
        facts.runs.get_mut("a").unwrap().is_completed = false;
    };
    check_forged(forge, &[Broken::Open { run: "a".to_owned() }]);
}

#[test]
fn two_active_runs_of_one_identity_are_found() {
    // The second was acknowledged before anybody tried to end the first.
    let forge = |history: &mut Vec<Entry>, _: &mut Facts| history[7] = asked(30, "first", "c");
    let (identity, first, second) = ("first".to_owned(), "a".to_owned(), "c".to_owned());
    check_forged(forge, &[Broken::TwoActive { identity, first, second }]);
}

#[test]
fn a_run_that_its_client_heard_of_late_is_not_a_second_one() {
    // By then it had ended, and the next one was active.
    let forge = |history: &mut Vec<Entry>, _: &mut Facts| history[0].heard = 84;
    check_forged(forge, &[]);
}

#[test]
fn a_token_that_two_holders_have_is_found() {
    let forge = |history: &mut Vec<Entry>, _: &mut Facts| {
        history.push(began(41, &unit("a"), 2));
    };
    check_forged(forge, &[Broken::SharedToken { unit: unit("a"), attempt: 2 }]);
}

#[test]
fn a_word_that_was_taken_from_a_holder_who_was_replaced_is_found() {
    let forge = |history: &mut Vec<Entry>, _: &mut Facts| {
        history[3] = said(45, &unit("a"), 1, Word::Heartbeat, Told::Accepted);
    };
    check_forged(forge, &[Broken::Overlap { unit: unit("a"), holder: 2, accepted: 1 }]);
}

#[test]
fn a_second_end_is_found() {
    let forge = |history: &mut Vec<Entry>, _: &mut Facts| {
        history[4] = said(50, &unit("a"), 1, Word::Complete, Told::Accepted);
    };
    let unit = unit("a");
    check_forged(
        forge,
        &[
            Broken::Overlap { unit: unit.clone(), holder: 2, accepted: 1 },
            Broken::DoubleEnd { unit: unit.clone() },
            Broken::OtherEnd { unit, accepted: 1, recorded: 2 },
        ],
    );
}

#[test]
fn an_end_that_is_recorded_twice_or_never_is_found() {
    for times in [0, 2] {
        let forge = |_: &mut Vec<Entry>, facts: &mut Facts| {
            facts.ends.insert("b".to_owned(), times);
        };
        check_forged(forge, &[Broken::EndsRecorded { run: "b".to_owned(), times }]);
    }
}

#[test]
fn an_end_that_nobody_told_is_found() {
    let forge = |history: &mut Vec<Entry>, facts: &mut Facts| {
        history.remove(9);
        facts.runs.get_mut("c").unwrap().counts = Counts::new();
    };
    check_forged(forge, &[Broken::NobodysEnd { unit: unit("c") }]);
}

#[test]
fn counts_that_are_not_the_sum_are_found() {
    for (run, expected, found) in [("a", 2, 4), ("b", 4, 6), ("b", 4, 2)] {
        let forge = |_: &mut Vec<Entry>, facts: &mut Facts| {
            facts.runs.get_mut(run).unwrap().counts = counts(found);
        };
        let (expected, found) = (counts(expected), counts(found));
        check_forged(forge, &[Broken::WrongCounts { run: run.to_owned(), expected, found }]);
    }
}

#[test]
fn two_runs_that_work_on_one_subject_are_found() {
    let forge = |history: &mut Vec<Entry>, _: &mut Facts| history[8] = began(65, &unit("c"), 1);
    let (subject, first, second) = ("app:one".to_owned(), "a".to_owned(), "c".to_owned());
    check_forged(forge, &[Broken::TwoOnSubject { subject, first, second }]);
}

#[test]
fn a_claim_that_its_worker_heard_of_late_is_no_second_holder() {
    // Attempt 1 at `a` was lost before `c` was claimed, but only then did its worker hear of it.
    let forge = |history: &mut Vec<Entry>, _: &mut Facts| {
        history[1].heard = 87;
        history[9] = said(88, &unit("c"), 1, Word::Complete, Told::Accepted);
    };
    check_forged(forge, &[]);
}

#[test]
fn what_many_processes_append_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journals = [Journal::open(&path, "one"), Journal::open(&path, "two")];
    for (attempt, journal) in (1..=4).zip([0, 1, 1, 0]) {
        let what = What::Began { unit: unit("a"), attempt, subject: None };
        journals[journal].note(now(), what);
    }
    let read = Journal::read(&path);
    let by: Vec<&str> = read.iter().map(|entry| entry.by.as_str()).collect();
    assert_eq!(by, ["one", "two", "two", "one"]);
}
