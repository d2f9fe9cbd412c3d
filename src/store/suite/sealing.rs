//! What every database promises about seals, purges and erasures of the audit log.

use std::time::Duration;

use super::Fixture;
use super::findings::queue_by;
use crate::base::ids::HostId;
use crate::base::limits::AUDIT_ERASE_RECORDS;
use crate::domain::audit::chain::{GENESIS, link};
use crate::domain::audit::log::{Entry, Exporter, Importer, Proof};
use crate::domain::audit::person::{Person, pseudonym};
use crate::domain::audit::proof::{Break, Verdict};
use crate::domain::audit::seal::{Checkpoint, PurgeCause};
use crate::domain::audit::{Actor, EventType};
use crate::domain::runbooks::PlatformInitiator;
use crate::store::{AuditFilter, AuditWrite, Conflict, Erasure, PageRequest, StoreError, Write};

/// Seals all that is there; the checkpoints, as somebody outside has them.
async fn seal(fixture: &Fixture) -> Vec<Checkpoint> {
    while fixture.store.seal_audit().await.unwrap().is_some() {}
    fixture.store.audit_checkpoints(0, 100).await.unwrap()
}

async fn entries(fixture: &Fixture) -> Vec<Entry> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.store.audit_page(after).await.unwrap();
        assert!(!page.is_stale);
        all.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

/// What somebody finds who has checkpoints of their own.
async fn prove_beside(fixture: &Fixture, anchors: Vec<Checkpoint>) -> Verdict {
    let host = fixture.store.scope().host_id;
    let mut proof = Proof::new(host, [fixture.store.audit_key()], anchors);
    for entry in entries(fixture).await {
        proof.take(&entry);
    }
    proof.finish()
}

/// Three segments of two records, ten seconds apart; the first record is the database's own.
async fn three_segments(fixture: &Fixture) -> Vec<Checkpoint> {
    fixture.queue("shop", "0").await;
    for segment in 1..4 {
        seal(fixture).await;
        fixture.clock.advance(Duration::from_secs(10));
        if segment < 3 {
            fixture.queue("shop", &format!("{segment}a")).await;
            fixture.queue("shop", &format!("{segment}b")).await;
        }
    }
    seal(fixture).await
}

pub(crate) async fn a_log_is_sealed_up_to_its_end_once(fixture: Fixture) {
    fixture.queue("shop", "a").await;
    let sealed = fixture.store.seal_audit().await.unwrap().unwrap();
    assert_eq!((sealed.sealed.seq, sealed.sealed.host_id), (2, fixture.store.scope().host_id));
    assert!(sealed.is_by(&fixture.store.audit_key()));
    assert_eq!(fixture.store.seal_audit().await.unwrap(), None, "nothing is left to seal");
    fixture.queue("shop", "b").await;
    let verdict = fixture.store.verify_audit().await.unwrap();
    assert_eq!((verdict.checkpoints, verdict.unsealed, verdict.is_whole()), (1, 1, true));
    let fixture = fixture.reopened().await;
    assert_eq!(seal(&fixture).await.len(), 2);
    let place = || "file:/mnt/anchors".to_owned();
    assert_eq!(fixture.store.audit_anchored(place()).await.unwrap(), None);
    fixture.store.note_anchored(place(), 2).await.unwrap();
    fixture.store.note_anchored(place(), 3).await.unwrap();
    assert_eq!(fixture.store.audit_anchored(place()).await.unwrap(), Some(3));
}

pub(crate) async fn a_log_that_was_hashed_anew_is_found(fixture: Fixture) {
    let outside = three_segments(&fixture).await;
    assert_eq!(prove_beside(&fixture, outside.clone()).await.breaks, []);
    // What somebody can do who writes the database, but has no key.
    let (mut previous, mut forgery) = (GENESIS, String::new());
    for entry in entries(&fixture).await {
        let Entry::Record(stored) = entry else { continue };
        let (seq, mut body) = (stored.link.seq, String::from_utf8(stored.link.body).unwrap());
        if seq == 3 {
            body = body.replace("something happened", "nothing happened");
            forgery.push_str(&format!(
                "UPDATE audit_events SET body = '{body}', summary = 'nothing happened'
                 WHERE seq = 3;"
            ));
        }
        let next = link(previous, seq, body.into_bytes());
        previous = next.hash;
        forgery.push_str(&format!(
            "UPDATE audit_events SET hash = '{}' WHERE seq = {seq};",
            next.hash
        ));
    }
    fixture.base.tamper(fixture.base.unlock_audit()).await.unwrap();
    fixture.base.tamper(&forgery).await.unwrap();
    let broken = fixture.store.verify_audit().await.unwrap().breaks;
    assert_eq!(broken, [Break::SealBroken { seq: 4 }, Break::SealBroken { seq: 6 }]);
    // Without its checkpoints it looks whole to itself, and to nobody else.
    fixture.base.tamper(fixture.base.unlock_seals()).await.unwrap();
    fixture.base.tamper("DELETE FROM audit_checkpoints").await.unwrap();
    assert_eq!(fixture.store.verify_audit().await.unwrap().breaks, []);
    let broken = prove_beside(&fixture, outside.clone()).await.breaks;
    assert_eq!(broken, [Break::SealBroken { seq: 4 }, Break::SealBroken { seq: 6 }]);
    fixture.base.tamper("DELETE FROM audit_events WHERE seq > 3").await.unwrap();
    let broken = prove_beside(&fixture, outside).await.breaks;
    assert_eq!(broken.first(), Some(&Break::Truncated { seq: 4, last: 3 }));
}

pub(crate) async fn a_changed_seal_is_found(fixture: Fixture) {
    let check = async |damage: &str, expect: &dyn Fn(&Break) -> bool| {
        let fixture = fixture.another().await;
        three_segments(&fixture).await;
        fixture.base.tamper(fixture.base.unlock_seals()).await.unwrap();
        fixture.base.tamper(damage).await.unwrap();
        let verdict = fixture.store.verify_audit().await.unwrap();
        let first = verdict.breaks.first();
        assert!(first.is_some_and(expect), "{damage}: {:?}", verdict.breaks);
    };
    let illegible = |found: &Break| matches!(found, Break::Illegible { seq: 4, .. });
    check("UPDATE audit_checkpoints SET body = upper(body) WHERE seq = 4", &illegible).await;
    check("UPDATE audit_checkpoints SET body = body || ' ' WHERE seq = 4", &illegible).await;
    let swapped = "UPDATE audit_checkpoints SET body = (SELECT body FROM audit_checkpoints
        WHERE seq = 2) WHERE seq = 4";
    check(swapped, &illegible).await;
    let moved =
        "UPDATE audit_checkpoints SET body = replace(body, '\"seq\":4', '\"seq\":5'), seq = 5
        WHERE seq = 4";
    check(moved, &|found| matches!(found, Break::NotSigned { seq: 5, .. })).await;
    // What is taken away is missed by what follows it.
    for gone in [2, 4] {
        let taken = format!("DELETE FROM audit_checkpoints WHERE seq = {gone}");
        let expect = Break::SealMissing { after: gone, seq: gone + 2 };
        check(&taken, &|found| *found == expect).await;
    }
}

pub(crate) async fn a_tombstone_that_is_taken_away_is_found(fixture: Fixture) {
    let purged = async |fixture: &Fixture| {
        let outside = three_segments(fixture).await;
        for sealed in &outside[..2] {
            let before = crate::base::time::after(sealed.sealed.at, Duration::from_secs(5));
            let cause = PurgeCause::Request;
            let stone = fixture.store.audit_tombstone(before, cause).await.unwrap().unwrap();
            let event = fixture.event(EventType::AuditPurged, "Records were purged");
            let write = Write::Audit(AuditWrite::Purge(Box::new(stone)));
            fixture.store.commit(vec![write], event.into()).await.unwrap();
        }
        assert_eq!(fixture.store.verify_audit().await.unwrap().breaks, []);
        fixture.base.tamper(fixture.base.unlock_seals()).await.unwrap();
    };
    let check = async |damage: &str, expect: &dyn Fn(&Break) -> bool| {
        let fixture = fixture.another().await;
        purged(&fixture).await;
        fixture.base.tamper(damage).await.unwrap();
        let breaks = fixture.store.verify_audit().await.unwrap().breaks;
        assert!(breaks.first().is_some_and(expect), "{damage}: {breaks:?}");
    };
    let unmet = |found: &Break| matches!(found, Break::Tombstone { from: 3, to: 4, .. });
    check("DELETE FROM audit_tombstones WHERE from_seq = 1", &unmet).await;
    let gap = |expected| move |found: &Break| *found == Break::Gap { expected, found: 5 };
    check("DELETE FROM audit_tombstones WHERE from_seq = 3", &gap(3)).await;
    check("DELETE FROM audit_tombstones", &gap(1)).await;
}

pub(crate) async fn old_segments_are_purged_and_the_rest_verifies(fixture: Fixture) {
    let outside = three_segments(&fixture).await;
    let begin = outside[0].sealed.at;
    let cause = PurgeCause::Retention;
    assert_eq!(fixture.store.audit_tombstone(begin, cause).await.unwrap(), None);
    let before = crate::base::time::after(begin, Duration::from_secs(5));
    let stone = fixture.store.audit_tombstone(before, cause).await.unwrap().unwrap();
    assert_eq!((stone.purged.from_seq, stone.purged.to_seq), (1, 2));
    let purge = async || {
        let event = fixture.event(EventType::AuditPurged, "Records 1 to 2 were purged");
        let write = Write::Audit(AuditWrite::Purge(Box::new(stone.clone())));
        fixture.store.commit(vec![write], event.into()).await
    };
    purge().await.unwrap();
    let error = purge().await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(Conflict::Changed { .. })), "{error}");
    assert_eq!(fixture.records().await, 5);
    assert_eq!(prove_beside(&fixture, outside.clone()).await.breaks, []);
    for sql in ["DELETE FROM audit_events", "DELETE FROM audit_checkpoints"] {
        let error = fixture.base.tamper(sql).await.unwrap_err();
        assert!(error.contains("is never deleted"), "{error}");
    }
    for sql in ["DELETE FROM audit_tombstones", "UPDATE audit_tombstones SET to_seq = 4"] {
        assert!(fixture.base.tamper(sql).await.is_err(), "{sql}");
    }
    // All that is old, up to the last segment.
    fixture.clock.advance(Duration::from_secs(60));
    let now = fixture.now();
    let stone = fixture.store.audit_tombstone(now, cause).await.unwrap().unwrap();
    assert_eq!((stone.purged.from_seq, stone.purged.to_seq), (3, 6));
    let event = fixture.event(EventType::AuditPurged, "Records 3 to 6 were purged");
    let write = Write::Audit(AuditWrite::Purge(Box::new(stone)));
    fixture.store.commit(vec![write], event.into()).await.unwrap();
    let fixture = fixture.reopened().await;
    fixture.queue("shop", "z").await;
    seal(&fixture).await;
    assert_eq!(fixture.records().await, 3);
    assert_eq!(prove_beside(&fixture, outside).await.breaks, []);
    assert_eq!(fixture.store.audit_tombstone(now, cause).await.unwrap(), None);
}

pub(crate) async fn an_erasure_that_was_interrupted_goes_on(fixture: Fixture) {
    let (ada, kim) = ("0f0e0d0c-0000-4000-8000-000000000001", "uid:1001");
    let say = |id: &str, label: &str| {
        let mut event = fixture.event(EventType::ProjectPaused, &format!("{label} paused web"));
        event.actor = Actor { actor_id: Some(id.to_owned()), ..Actor::agent() };
        event.actor.actor_type = crate::domain::audit::ActorType::Human;
        event.actor.actor_label = label.to_owned();
        event.actor.actor_email = Some(format!("{label}@example.org"));
        event.context.ip = Some("192.0.2.7".to_owned());
        event
    };
    let mut events: crate::domain::audit::AuditEvents = say(ada, "ada lovelace").into();
    for _ in 0..AUDIT_ERASE_RECORDS {
        events = events.and(say(ada, "ada lovelace")).and(say(kim, "kim"));
    }
    fixture.store.commit(Vec::new(), events).await.unwrap();
    let above = |id: &str, name: &str| PlatformInitiator {
        platform_user_id: id.parse().unwrap(),
        email: Some(format!("{name}@example.org")),
        name: name.to_owned(),
        is_break_glass: true,
    };
    let started = queue_by(&fixture, None, Some(above(ada, "ada lovelace"))).await;
    let outside = seal(&fixture).await;
    assert!(fixture.base.holds(b"ada lovelace").await);
    let pseudonym = pseudonym(ada);
    let mut event = fixture.event(EventType::PersonErased, "A person was erased");
    event.context.pseudonym = Some(pseudonym.clone());
    let erasure = Erasure {
        subject: ada.to_owned(),
        label: Some("ada lovelace".to_owned()),
        pseudonym: pseudonym.clone(),
        asked_at: fixture.now(),
    };
    let write = Write::Audit(AuditWrite::Erase(erasure));
    fixture.store.commit(vec![write], event.into()).await.unwrap();
    assert!(fixture.store.erase_next().await.unwrap());
    assert_eq!(fixture.store.verify_audit().await.unwrap().breaks, [], "in the middle");
    let fixture = fixture.reopened().await;
    let mut transactions = 1;
    while fixture.store.erase_next().await.unwrap() {
        transactions += 1;
    }
    assert_eq!(transactions, 3);
    assert_eq!(prove_beside(&fixture, outside).await.breaks, []);
    let mut named = 0;
    for entry in entries(&fixture).await {
        let Entry::Record(stored) = entry else { continue };
        let text = String::from_utf8(stored.link.body).unwrap();
        let beside = stored.personal.unwrap().to_text().unwrap().unwrap_or_default();
        assert!(!text.contains("lovelace") && !beside.contains("lovelace"), "{text} {beside}");
        named += u64::from(beside.contains("kim@example.org"));
    }
    assert_eq!(named, AUDIT_ERASE_RECORDS as u64, "others stay");
    let run = fixture.store.run(started.id).await.unwrap().unwrap();
    let initiator = run.context.inputs.runbook().unwrap().platform_initiator.clone().unwrap();
    assert_eq!((&run.initiator_name, &initiator.name), (&pseudonym, &pseudonym));
    assert_eq!((initiator.email, initiator.is_break_glass), (None, true));
    let mut filter = AuditFilter::workspace(fixture.store.scope().workspace_id);
    filter.search = Some("lovelace".to_owned());
    let page = PageRequest::default();
    assert!(fixture.store.audit(filter.clone(), page.clone()).await.unwrap().items.is_empty());
    filter.search = Some(pseudonym.clone());
    let found = fixture.store.audit(filter, page).await.unwrap().items;
    assert_eq!(found[0].event.summary.as_str(), format!("{pseudonym} paused web"));
    assert_eq!(found[0].event.actor.actor_email, None);
    // Somebody who erases without saying so is found.
    let erased = format!("{{\"actor\":{{\"pseudonym\":\"{pseudonym}x\"}}}}");
    let silent = format!("UPDATE audit_events SET personal = '{erased}' WHERE seq = 4");
    fixture.base.tamper(&silent).await.unwrap();
    let verdict = fixture.store.verify_audit().await.unwrap();
    let is_silent = |found: &Break| matches!(found, Break::ErasedInSilence { seq: 4, .. });
    assert!(verdict.breaks.iter().any(is_silent), "{:?}", verdict.breaks);
}

/// The lines of an export of the whole log.
async fn exported(fixture: &Fixture) -> Vec<String> {
    let host = fixture.store.scope().host_id;
    let keys = vec![fixture.store.audit_key()];
    let (mut exporter, header) = Exporter::begin(host, keys, fixture.now()).unwrap();
    let mut lines = vec![header];
    for entry in entries(fixture).await {
        lines.push(exporter.entry(entry).unwrap());
    }
    lines.push(exporter.end().unwrap());
    lines
}

fn import(lines: &[String], anchors: &[Checkpoint]) -> Verdict {
    let mut importer = Importer::begin(lines[0].as_bytes(), None, anchors.to_vec()).unwrap();
    for line in &lines[1..] {
        importer.line(line.as_bytes());
    }
    importer.finish()
}

pub(crate) async fn an_export_proves_itself_and_every_damage_to_it_is_found(fixture: Fixture) {
    let outside = three_segments(&fixture).await;
    let whole = exported(&fixture).await;
    assert_eq!(import(&whole, &outside).breaks, []);
    let check = |damage: &dyn Fn(&mut Vec<String>), expect: &dyn Fn(&Break) -> bool| {
        let mut lines = whole.clone();
        damage(&mut lines);
        let verdict = import(&lines, &outside);
        assert!(verdict.breaks.first().is_some_and(expect), "{:?}", verdict.breaks);
    };
    // Lines: header, 1, 2, seal, 3, 4, seal, 5, 6, seal, trailer.
    check(&|it| it[4] = it[4].replace("happened", "occurred"), &|found| found.seq() == 3);
    check(&|it| drop(it.remove(4)), &|found| *found == Break::Gap { expected: 3, found: 4 });
    check(&|it| it.swap(4, 5), &|found| *found == Break::Gap { expected: 3, found: 4 });
    let copy = |lines: &mut Vec<String>| lines.insert(4, lines[2].clone());
    check(&copy, &|found| *found == Break::Gap { expected: 3, found: 2 });
    check(&|it| it.truncate(6), &|found| found.seq() == 5);
    check(&|it| drop(it.drain(7..10)), &|found| *found == Break::Truncated { seq: 6, last: 4 });
    check(&|it| it.swap(3, 6), &|found| {
        matches!(found, Break::Truncated { .. } | Break::Misplaced { .. })
    });
    check(&|it| drop(it.remove(10)), &|found| matches!(found, Break::Export { seq: 6, .. }));
    check(&|it| it[0] = it[0].replace("2026", "2027"), &|found| {
        matches!(found, Break::Export { seq: 6, .. })
    });
    check(&|it| it.push(it[4].clone()), &|found| matches!(found, Break::Export { .. }));
    assert!(Importer::begin(b"{}", None, Vec::new()).is_err());
}

/// How many random edits are tried: `make soak` asks for more.
pub(crate) fn edits() -> u64 {
    match std::env::var("WHARF_AUDIT_EDITS") {
        Ok(text) => text.parse().expect("WHARF_AUDIT_EDITS is a number"),
        Err(_) => 300,
    }
}

/// A line of an export that is a record, as it is read.
fn record(line: &str) -> Option<serde_json::Value> {
    let read: serde_json::Value = serde_json::from_str(line).ok()?;
    (read["kind"] == "record").then_some(read)
}

/// An export is changed at random; each time that must be found, and the first event that is not as it
/// was must be named. A seed tells the same story every time.
pub(crate) async fn no_random_edit_of_an_export_stays_unnoticed(fixture: Fixture) {
    let outside = three_segments(&fixture).await;
    let whole = exported(&fixture).await;
    let records = |lines: &[String]| lines.iter().filter_map(|line| record(line)).count() as u64;
    let entropy = crate::base::entropy::SeededEntropy::new(7);
    let dice = |sides: usize| {
        let random = crate::base::Entropy::next_u64(&entropy);
        usize::try_from(random % sides as u64).unwrap()
    };
    let (mut tried, mut named) = (0, 0);
    while tried < edits() {
        let mut lines = whole.clone();
        // The header is tried elsewhere: without it, a file is no export.
        let at = 1 + dice(lines.len() - 1);
        match dice(5) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, whole[1 + dice(whole.len() - 1)].clone()),
            2 => {
                let other = 1 + (at + dice(lines.len() - 2)) % (lines.len() - 1);
                lines.swap(at, other);
            }
            3 => lines.truncate(at),
            _ => {
                let mut bytes = std::mem::take(&mut lines[at]).into_bytes();
                let place = dice(bytes.len() - 1);
                bytes[place] = b' ' + (bytes[place] - b' ' + 1 + dice(94) as u8) % 95;
                lines[at] = String::from_utf8(bytes).unwrap();
            }
        }
        let Some(first) = (0..).take(whole.len() + 1).find(|at| lines.get(*at) != whole.get(*at))
        else {
            continue;
        };
        if lines == whole {
            continue;
        }
        tried += 1;
        let verdict = import(&lines, &outside);
        assert!(!verdict.is_whole(), "edit {tried} of line {first} stayed unnoticed");
        let (bad, before) = (&verdict.breaks[0], records(&whole[..first]));
        let story = || format!("edit {tried} of line {first}: {:?}", verdict.breaks);
        if matches!(bad, Break::Export { .. }) {
            // Only the file was changed: every event is as it was.
            let events = |lines: &[String]| lines.iter().filter_map(|it| record(it)).collect();
            let (now, then): (Vec<_>, Vec<_>) = (events(&lines), events(&whole));
            let is_cut = now.len() > then.len() && now[..then.len()] == then;
            assert!(now == then || is_cut || bad.seq() == before + 1, "{}", story());
            continue;
        }
        named += 1;
        // A checkpoint belongs to the event before it, everything else to the one that should follow.
        let is_seal = [&whole, &lines].into_iter().any(|it| {
            it.get(first).is_some_and(|line| line.starts_with("{\"kind\":\"checkpoint\""))
        });
        let fits = bad.seq() == before + 1 || (is_seal && bad.seq() == before);
        assert!(fits, "{}", story());
    }
    assert!(named > tried / 2, "{named} of {tried}");
}

pub(crate) async fn a_log_signed_with_another_key_is_not_believed(fixture: Fixture) {
    let outside = three_segments(&fixture).await;
    let key = other_key();
    let host: HostId = fixture.store.scope().host_id;
    let own = fixture.store.audit_key();
    let mut proof = Proof::new(host, [own], Vec::new());
    let begun = Exporter::begin(host, vec![key.public()], fixture.now());
    let (mut exporter, mut lines) = begun.map(|(it, header)| (it, vec![header])).unwrap();
    for entry in entries(&fixture).await {
        let entry = match entry {
            Entry::Checkpoint(it) => {
                Entry::Checkpoint(Box::new(key.checkpoint(it.sealed).unwrap()))
            }
            entry => entry,
        };
        proof.take(&entry);
        lines.push(exporter.entry(entry).unwrap());
    }
    lines.push(exporter.end().unwrap());
    let expect = Break::NotSigned { what: "checkpoint", seq: 2 };
    assert_eq!(proof.finish().breaks.first(), Some(&expect));
    // An export by whoever has another key believes itself; who has the key or anchors does not.
    assert_eq!(import(&lines, &[]).breaks, []);
    assert_eq!(import(&lines, &outside).breaks.first(), Some(&expect));
    let mut importer = Importer::begin(lines[0].as_bytes(), Some(vec![own]), Vec::new()).unwrap();
    lines[1..].iter().for_each(|line| importer.line(line.as_bytes()));
    assert_eq!(importer.finish().breaks.first(), Some(&expect));
}

fn other_key() -> crate::domain::audit::seal::SigningKey {
    let seed = crate::base::Secret::new([9; 32]);
    crate::domain::audit::seal::SigningKey::from_seed(&seed).unwrap()
}

pub(crate) async fn persons_beside_a_record_cannot_be_changed(fixture: Fixture) {
    let scope = fixture.store.scope();
    let mut event = fixture.event(EventType::ProjectPaused, "ada paused web");
    event.actor = Actor::human(scope.owner_id, "ada");
    fixture.store.commit(Vec::new(), event.into()).await.unwrap();
    let entries = entries(&fixture).await;
    let Some(Entry::Record(stored)) = entries.last() else { panic!("{entries:?}") };
    let actor = stored.personal.clone().unwrap().actor;
    assert!(matches!(actor, Some(Person::Known(known)) if known.label == "ada"));
    assert!(!String::from_utf8(stored.link.body.clone()).unwrap().contains("ada"));
    fixture.base.tamper(fixture.base.unlock_audit()).await.unwrap();
    for damage in [
        "UPDATE audit_events SET personal = replace(personal, 'ada', 'bob'), actor_label = 'bob',
            summary = 'bob paused web' WHERE seq = 2",
        "UPDATE audit_events SET personal = NULL WHERE seq = 2",
        "UPDATE audit_events SET personal = 'nothing' WHERE seq = 2",
    ] {
        fixture.base.tamper(damage).await.unwrap();
        let verdict = fixture.store.verify_audit().await.unwrap();
        assert_eq!(verdict.breaks.first(), Some(&Break::Person { seq: 2 }), "{damage}");
    }
}
