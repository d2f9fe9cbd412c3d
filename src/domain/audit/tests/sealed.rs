use super::super::person::{self, Person, Personal};
use super::super::proof::{Break, Verdict, Verifier};
use super::super::seal::{Checkpoint, PurgeCause, Purged, Sealed, SigningKey, Tombstone};
use super::*;
use crate::base::Secret;
use crate::base::ids::HostId;
use crate::domain::audit::chain::link;

const HOST: HostId = HostId::from_u128(9);
/// Records between two checkpoints.
const SEGMENT: u64 = 4;

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([number; 32])).unwrap()
}

/// A log as somebody has it in their hands.
#[derive(Clone)]
struct Log {
    stones: Vec<Tombstone>,
    records: Vec<(Link, Personal)>,
    checkpoints: Vec<Checkpoint>,
}

fn person_event(summary: &str, label: &str) -> AuditEvent {
    let mut event = event(summary);
    event.actor = Actor::human(UserId::from_u128(5), label);
    event.actor.actor_email = Some(format!("{label}@example.org"));
    event.context.ip = Some("192.0.2.7".to_owned());
    event
}

fn sealed(length: u64) -> Log {
    let (mut records, mut checkpoints, mut previous) = (Vec::new(), Vec::new(), GENESIS);
    for seq in 1..=length {
        let event = person_event(&format!("event {seq} of kim, not of kim-shop {{x}}"), "kim");
        let record = AuditRecord { seq, recorded_at: Timestamp::UNIX_EPOCH, event };
        let parts = person::split(&record, || [seq as u8; 16]).unwrap();
        let next = link(previous, seq, parts.body);
        previous = next.hash;
        records.push((next, parts.personal));
        if seq % SEGMENT == 0 {
            let at = Timestamp::UNIX_EPOCH;
            let sealed = Sealed { host_id: HOST, after: seq - SEGMENT, seq, hash: previous, at };
            checkpoints.push(key(1).checkpoint(sealed).unwrap());
        }
    }
    Log { stones: Vec::new(), records, checkpoints }
}

fn prove(log: &Log, outside: &[Checkpoint]) -> Verdict {
    let mut verifier = Verifier::new(HOST, [key(1).public()]);
    let mut seals = log.checkpoints.iter().peekable();
    let mut anchors = outside.iter().peekable();
    log.stones.iter().for_each(|stone| verifier.tombstone(stone));
    for (link, personal) in &log.records {
        verifier.record(link, personal);
        while let Some(seal) = seals.next_if(|seal| seal.sealed.seq <= verifier.last()) {
            verifier.checkpoint(seal);
        }
        while let Some(seal) = anchors.next_if(|seal| seal.sealed.seq <= verifier.last()) {
            verifier.anchor(seal);
        }
    }
    seals.for_each(|seal| verifier.checkpoint(seal));
    anchors.for_each(|seal| verifier.anchor(seal));
    verifier.finish()
}

fn check(damage: impl FnOnce(&mut Log), expect: Option<Break>) {
    let mut log = sealed(10);
    let outside = log.checkpoints.clone();
    assert_eq!(prove(&log, &outside).breaks, [], "before the damage");
    damage(&mut log);
    assert_eq!(prove(&log, &outside).breaks.first(), expect.as_ref());
}

/// Hashes and signs everything anew, as whoever has the host's rights can.
fn forge(log: &mut Log, by: &SigningKey) {
    let mut previous = GENESIS;
    for (record, _) in &mut log.records {
        *record = link(previous, record.seq, record.body.clone());
        previous = record.hash;
    }
    for checkpoint in &mut log.checkpoints {
        let at = usize::try_from(checkpoint.sealed.seq).unwrap() - 1;
        let hash = log.records[at].0.hash;
        *checkpoint = by.checkpoint(Sealed { hash, ..checkpoint.sealed.clone() }).unwrap();
    }
}

fn edit(log: &mut Log, index: usize) {
    let body = String::from_utf8(log.records[index].0.body.clone()).unwrap();
    log.records[index].0.body = body.replace("event ", "EVENT ").into_bytes();
}

#[test]
fn tampering_is_found_and_the_first_bad_record_is_named() {
    check(|_| {}, None);
    check(|log| edit(log, 5), Some(Break::Changed { seq: 6 }));
    check(|log| drop(log.records.remove(5)), Some(Break::Gap { expected: 6, found: 7 }));
    check(|log| log.records.truncate(7), Some(Break::Truncated { seq: 8, last: 7 }));
    // With its own checkpoint gone too, the one outside still tells.
    let cut = |log: &mut Log| {
        log.records.truncate(7);
        log.checkpoints.truncate(1);
    };
    check(cut, Some(Break::Truncated { seq: 8, last: 7 }));
    // A checkpoint in the middle is missed by the next, even if nobody has one outside.
    let mut log = sealed(10);
    drop(log.checkpoints.remove(0));
    assert_eq!(prove(&log, &[]).breaks, [Break::SealMissing { after: 4, seq: 8 }]);
    let forged_by = |number: u8| {
        move |log: &mut Log| {
            edit(log, 5);
            forge(log, &key(number));
        }
    };
    let unknown = Break::NotSigned { what: "checkpoint", seq: 4 };
    check(forged_by(2), Some(unknown));
    check(forged_by(1), Some(Break::SealBroken { seq: 8 }));
}

#[test]
fn what_stands_beside_the_chain_cannot_be_changed_either() {
    let known = |log: &mut Log, change: fn(&mut person::Known)| match &mut log.records[2].1.actor {
        Some(Person::Known(known)) => change(known),
        other => panic!("{other:?}"),
    };
    let bad = Some(Break::Person { seq: 3 });
    check(|log| known(log, |it| it.label = "sam".to_owned()), bad.clone());
    check(|log| known(log, |it| it.ip = None), bad.clone());
    check(|log| known(log, |it| it.salt = "00".repeat(16)), bad.clone());
    check(|log| log.records[2].1.actor = None, bad.clone());
    let erased = Person::Erased { pseudonym: "person-7f3a".to_owned() };
    check(|log| log.records[2].1.target = Some(erased.clone()), bad);
    let pseudonym = "person-7f3a".to_owned();
    let silent = Break::ErasedInSilence { seq: 3, pseudonym };
    check(|log| log.records[2].1.actor = Some(erased.clone()), Some(silent));
}

#[test]
fn an_erased_person_is_gone_and_the_log_is_whole() {
    let mut log = sealed(10);
    let pseudonym = "person-7f3a".to_owned();
    for (_, personal) in &mut log.records {
        personal.actor = Some(Person::Erased { pseudonym: pseudonym.clone() });
    }
    let mut event = event("person-7f3a was erased");
    event.event_type = EventType::PersonErased;
    event.context.pseudonym = Some(pseudonym);
    let record = AuditRecord { seq: 11, recorded_at: Timestamp::UNIX_EPOCH, event };
    let parts = person::split(&record, || panic!("nobody is in it")).unwrap();
    let previous = log.records[9].0.hash;
    log.records.push((link(previous, 11, parts.body), parts.personal));
    assert_eq!(prove(&log, &[]).breaks, []);
    for (link, personal) in &log.records[..10] {
        let (record, _) = person::join(&link.body, personal).unwrap();
        let beside = serde_json::to_string(personal).unwrap();
        let body = String::from_utf8(link.body.clone()).unwrap();
        for text in [body.as_str(), beside.as_str()] {
            assert!(!text.contains("kim@") && !text.contains("192.0.2.7"), "{text}");
        }
        let expect = format!("event {} of person-7f3a, not of kim-shop {{x}}", link.seq);
        assert_eq!(record.event.summary.as_str(), expect);
        assert_eq!(record.event.actor.actor_email, None);
    }
}

#[test]
fn a_record_is_put_together_as_it_was() {
    for (summary, label) in [
        ("kim applied the files of project kim-shop", "kim"),
        ("{actor} is no placeholder here, {kim} neither", "kim"),
        ("{{ and { and kim{", "kim"),
        ("", "kim"),
        ("a{b} did it", "a{b}"),
    ] {
        let event = person_event(summary, label);
        let record = AuditRecord { seq: 1, recorded_at: Timestamp::UNIX_EPOCH, event };
        let parts = person::split(&record, || [7; 16]).unwrap();
        let (joined, people) = person::join(&parts.body, &parts.personal).unwrap();
        assert_eq!(joined, record);
        assert!(people.check(&parts.personal));
    }
    // Records of the first form have no version and hold everything themselves.
    let record = AuditRecord {
        seq: 1,
        recorded_at: Timestamp::UNIX_EPOCH,
        event: person_event("{actor} stays as it was", "kim"),
    };
    let body = crate::base::canonical::to_bytes(&record).unwrap();
    assert_eq!(person::join(&body, &Personal::default()).unwrap().0, record);
}

#[test]
fn a_signed_purge_leaves_a_log_that_verifies() {
    let mut log = sealed(10);
    let last = log.records[3].0.hash;
    let purged = Purged {
        host_id: HOST,
        from_seq: 1,
        to_seq: 4,
        before_hash: GENESIS,
        last_hash: last,
        cause: PurgeCause::Retention,
        before: Timestamp::UNIX_EPOCH,
        at: Timestamp::UNIX_EPOCH,
    };
    let outside = log.checkpoints.clone();
    log.records.drain(..4);
    log.checkpoints.remove(0);
    let unsigned = prove(&log, &outside);
    assert_eq!(unsigned.breaks.first(), Some(&Break::Gap { expected: 1, found: 5 }));
    log.stones = vec![key(2).tombstone(purged.clone()).unwrap()];
    let wrong = Break::NotSigned { what: "tombstone", seq: 1 };
    assert_eq!(prove(&log, &[]).breaks.first(), Some(&wrong));
    log.stones = vec![key(1).tombstone(purged.clone()).unwrap()];
    assert_eq!(prove(&log, &outside).breaks, []);
    log.stones[0].purged.to_seq = 3;
    assert_eq!(prove(&log, &[]).breaks.first(), Some(&wrong));
}
