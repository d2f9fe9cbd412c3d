mod sealed;

use super::chain::{GENESIS, Link, link};
use super::person::{self, Personal};
use super::proof::{Break, Verdict, Verifier};
use super::*;
use crate::base::Digest;
use crate::base::ids::HostId;

fn event(summary: &str) -> AuditEvent {
    AuditEvent {
        id: EventId::from_u128(7),
        workspace_id: WorkspaceId::from_u128(1),
        tenant_id: None,
        event_type: EventType::AgentStarted,
        summary: SafeText::new(summary),
        outcome: Outcome::Info,
        actor: Actor::agent(),
        target: None,
        operation_run_id: None,
        context: EventContext::default(),
        occurred_at: Timestamp::UNIX_EPOCH,
    }
}

fn log(length: u64) -> Vec<Link> {
    let mut previous = GENESIS;
    (1..=length)
        .map(|seq| {
            let event = event(&format!("event {seq}"));
            let record = AuditRecord { seq, recorded_at: Timestamp::UNIX_EPOCH, event };
            let next = follow(previous, &record);
            previous = next.hash;
            next
        })
        .collect()
}

fn follow(previous: Digest, record: &AuditRecord) -> Link {
    let parts = person::split(record, || panic!("nobody is in it")).unwrap();
    link(previous, record.seq, parts.body)
}

fn verify<'a>(links: impl IntoIterator<Item = &'a Link>) -> Verdict {
    let mut verifier = Verifier::new(HostId::from_u128(9), []);
    for link in links {
        verifier.record(link, &Personal::default());
    }
    verifier.finish()
}

/// Damages a whole log of five records and checks what is found.
fn check(damage: impl FnOnce(&mut Vec<Link>), expect: &[Break]) {
    let mut links = log(5);
    assert_eq!(verify(&links).breaks, [], "before the damage");
    damage(&mut links);
    assert_eq!(verify(&links).breaks, expect);
}

fn edit(link: &mut Link) {
    let text = String::from_utf8(link.body.clone()).unwrap();
    link.body = text.replace("event ", "EVENT ").into_bytes();
}

#[test]
fn every_planted_damage_is_found() {
    check(|links| edit(&mut links[2]), &[Break::Changed { seq: 3 }]);
    check(|links| drop(links.remove(2)), &[Break::Gap { expected: 3, found: 4 }]);
    check(|links| drop(links.remove(0)), &[Break::Gap { expected: 1, found: 2 }]);
    check(
        |links| links.swap(1, 2),
        &[Break::Gap { expected: 2, found: 3 }, Break::Gap { expected: 4, found: 2 }],
    );
    check(
        |links| links[3].hash = Digest::of(b"other"),
        &[Break::Changed { seq: 4 }, Break::Changed { seq: 5 }],
    );
    check(|links| links.insert(2, links[1].clone()), &[Break::Gap { expected: 3, found: 2 }]);
}

#[test]
fn rehashing_one_edited_record_breaks_the_next() {
    check(
        |links| {
            edit(&mut links[2]);
            let record: AuditRecord = serde_json::from_slice(&links[2].body).unwrap();
            links[2] = follow(links[1].hash, &record);
        },
        &[Break::Changed { seq: 4 }],
    );
}

#[test]
fn an_empty_log_is_whole() {
    let verdict = verify([]);
    assert_eq!((verdict.records, verdict.head, verdict.breaks), (0, GENESIS, vec![]));
}

#[test]
fn keys_read_as_family_and_verb() {
    fn check(event_type: EventType, family: &str, verb: &str, links: bool) {
        assert_eq!((event_type.family(), event_type.verb()), (family, verb));
        assert_eq!(event_type.supports_target_link(), links);
        assert_eq!(event_type.key().parse(), Ok(event_type));
    }
    check(EventType::RunCancelRequested, "operation_run", "cancel_requested", true);
    check(EventType::ProjectRemoved, "project", "removed", false);
    check(EventType::StoreCreated, "store", "created", false);
}

#[test]
fn facts_are_listed_for_people_and_absent_ones_are_not() {
    let context = EventContext {
        project: Some("shop".to_owned()),
        attempt: Some(2),
        ..EventContext::default()
    };
    let labels: Vec<_> = context.items().into_iter().map(|item| (item.label, item.value)).collect();
    assert_eq!(labels, [("Project", "shop".to_owned()), ("Attempt", "2".to_owned())]);
    assert_eq!(serde_json::to_string(&context).unwrap(), r#"{"project":"shop","attempt":2}"#);
}

#[test]
fn every_key_that_was_ever_written_is_still_read() {
    let written = include_str!("written_keys.txt");
    for line in written.lines() {
        let read = match line.split_once(' ') {
            Some(("event_type", key)) => key.parse::<EventType>().map(drop),
            Some(("outcome", key)) => key.parse::<Outcome>().map(drop),
            _ => panic!("{line:?} is of no registry"),
        };
        assert!(
            read.is_ok(),
            "{line}: records that carry it can be read no more; name it with `was`"
        );
    }
    let keys = EventType::ALL.iter().map(|it| format!("event_type {it}"));
    let keys = keys.chain(Outcome::ALL.iter().map(|it| format!("outcome {it}")));
    for key in keys {
        assert!(written.lines().any(|line| line == key), "{key}: add it to written_keys.txt");
    }
}

#[test]
fn a_record_with_the_words_of_its_time_reads_like_any_other() {
    let record =
        AuditRecord { seq: 1, recorded_at: Timestamp::UNIX_EPOCH, event: event("it broke") };
    let body = String::from_utf8(follow(GENESIS, &record).body).unwrap();
    let older = body.replace("\"outcome\":\"info\"", "\"outcome\":\"failure\"");
    assert_ne!(older, body);
    let (read, _) = person::join(older.as_bytes(), &Personal::default()).unwrap();
    assert_eq!(read.event.outcome, Outcome::Failed);
}
