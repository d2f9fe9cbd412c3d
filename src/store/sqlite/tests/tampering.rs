//! Edits a database by hand, in words and in bytes, and asks the proof.

use rusqlite::types::Value;

use super::*;
use crate::base::Entropy as _;
use crate::base::entropy::SeededEntropy;
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::{Checkpoint, VerifyingKey};
use crate::domain::audit::{Actor, EventType};
use crate::store::suite::sealing::edits;

/// What of a database is the log.
const LOG: [&str; 3] = [
    "SELECT seq, body, hash, personal, id, workspace_id, tenant_id, event_type, outcome, actor_type,
        actor_label, target_type, target_id, operation_run_id, summary, occurred_at
     FROM audit_events ORDER BY seq",
    "SELECT seq, body FROM audit_checkpoints ORDER BY seq",
    "SELECT from_seq, to_seq, body FROM audit_tombstones ORDER BY from_seq",
];

/// A closed database whose log has four segments, the first of them purged, beside what left the host.
struct Evidence {
    dir: TempDir,
    whole: Vec<u8>,
    anchors: Vec<Checkpoint>,
    key: VerifyingKey,
}

async fn evidence() -> Evidence {
    let (fixture, files) = inline().await;
    let (mut anchors, mut purged) = (Vec::new(), None);
    for segment in 0..4 {
        for _ in 0..3 {
            let mut event = fixture.event(EventType::ProjectPaused, "ada paused the project web");
            event.actor = Actor::human(fixture.store.scope().owner_id, "ada");
            fixture.store.commit(Vec::new(), event.into()).await.unwrap();
        }
        fixture.clock.advance(std::time::Duration::from_secs(10));
        anchors.extend(fixture.store.seal_audit().await.unwrap());
        if segment == 1 {
            purged = Some(fixture.now());
        }
    }
    let cause = crate::domain::audit::seal::PurgeCause::Request;
    let stone = fixture.store.audit_tombstone(purged.unwrap(), cause).await.unwrap().unwrap();
    let write = Write::Audit(crate::store::AuditWrite::Purge(Box::new(stone)));
    let event = fixture.event(EventType::AuditPurged, "Records were purged");
    fixture.store.commit(vec![write], event.into()).await.unwrap();
    anchors.extend(fixture.store.seal_audit().await.unwrap());
    let key = fixture.store.audit_key();
    fixture.store.close().await.unwrap();
    drop(fixture);
    tamper(&files.database(), "PRAGMA journal_mode = DELETE").unwrap();
    let whole = std::fs::read(files.database()).unwrap();
    Evidence { dir: tempfile::tempdir().unwrap(), whole, anchors, key }
}

impl Evidence {
    /// What is found of a file, beside what left the host.
    fn prove(&self, path: &Path) -> Option<Verdict> {
        prove_file(path, Some(vec![self.key]), self.anchors.clone()).ok()
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("copied.db");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Everything that a reader sees of a log; nothing when the file cannot be read.
fn seen(path: &Path) -> Option<Vec<Vec<Vec<Value>>>> {
    let connection = Connection::open(path).ok()?;
    let table = |sql: &&str| {
        let mut statement = connection.prepare(sql).ok()?;
        let width = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..width).map(|it| row.get(it)).collect();
        statement.query_map([], row).ok()?.collect::<Result<Vec<_>, _>>().ok()
    };
    LOG.iter().map(table).collect()
}

/// The number of the first record that differs; nothing when all are as they were.
fn first_difference(whole: &[Vec<Value>], now: &[Vec<Value>]) -> Option<u64> {
    let at = (0..whole.len().max(now.len())).find(|at| whole.get(*at) != now.get(*at))?;
    match &whole.get(at).or(whole.last())?[0] {
        Value::Integer(seq) if at < whole.len() => u64::try_from(*seq).ok(),
        Value::Integer(seq) => u64::try_from(*seq + 1).ok(),
        _ => None,
    }
}

#[tokio::test]
async fn no_random_edit_of_the_bytes_of_a_database_stays_unnoticed() {
    let evidence = evidence().await;
    let path = evidence.write(&evidence.whole);
    let whole = seen(&path).unwrap();
    assert_eq!(evidence.prove(&path).unwrap().breaks, []);
    let entropy = SeededEntropy::new(11);
    let dice = |sides: usize| usize::try_from(entropy.next_u64() % sides as u64).unwrap();
    // Where the log stands in the file; elsewhere an edit concerns nobody here.
    let marks: [&[u8]; 3] = [b"project_control", b"recorded_at", b"signature"];
    let is_log = |page: &[u8]| {
        marks.iter().any(|mark| page.windows(mark.len()).any(|window| window == *mark))
    };
    let pages: Vec<usize> = (0..evidence.whole.len() / 4096)
        .filter(|at| is_log(&evidence.whole[at * 4096..][..4096]))
        .collect();
    let (mut tried, mut named, mut refused) = (0, 0, 0);
    while tried < edits() {
        let mut bytes = evidence.whole.clone();
        let place = pages[dice(pages.len())] * 4096 + dice(4096);
        bytes[place] ^= 1 << dice(8);
        let path = evidence.write(&bytes);
        let now = seen(&path);
        if now.as_ref() == Some(&whole) {
            continue;
        }
        tried += 1;
        // Refused as a whole, with the reason.
        let Some(verdict) = evidence.prove(&path) else {
            refused += 1;
            assert!(now.is_none(), "byte {place}: it can be read");
            continue;
        };
        assert!(!verdict.is_whole(), "byte {place} stayed unnoticed");
        let Some(now) = now else { continue };
        let Some(first) = first_difference(&whole[0], &now[0]) else { continue };
        named += 1;
        assert_eq!(verdict.breaks[0].seq(), first, "byte {place}: {:?}", verdict.breaks);
    }
    let few = tried / 20;
    assert!(named > tried / 2 && refused <= few, "{named} of {tried}, {refused} refused");
}

#[tokio::test]
async fn no_random_edit_of_the_rows_of_a_database_stays_unnoticed() {
    let evidence = evidence().await;
    let path = evidence.write(&evidence.whole);
    let unlocked = "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted;
        DROP TRIGGER audit_is_gapless; DROP TRIGGER audit_checkpoint_is_never_changed;
        DROP TRIGGER audit_checkpoint_is_never_deleted;
        DROP TRIGGER audit_tombstone_is_never_changed;
        DROP TRIGGER audit_tombstone_is_never_deleted; PRAGMA journal_mode = OFF";
    tamper(&path, unlocked).unwrap();
    let unlocked = std::fs::read(&path).unwrap();
    let whole = seen(&path).unwrap();
    let numbers: Vec<i64> = whole[0]
        .iter()
        .map(|row| match row[0] {
            Value::Integer(seq) => seq,
            _ => panic!("{row:?}"),
        })
        .collect();
    let columns = [
        "body",
        "hash",
        "personal",
        "id",
        "workspace_id",
        "tenant_id",
        "event_type",
        "outcome",
        "actor_type",
        "actor_label",
        "target_type",
        "target_id",
        "operation_run_id",
        "summary",
        "occurred_at",
    ];
    let entropy = SeededEntropy::new(13);
    let dice = |sides: usize| usize::try_from(entropy.next_u64() % sides as u64).unwrap();
    let (mut tried, mut named) = (0, 0);
    while tried < edits() {
        let path = evidence.write(&unlocked);
        let one = numbers[dice(numbers.len())];
        let other = numbers[dice(numbers.len())];
        let column = columns[dice(columns.len())];
        let letter = char::from(b'a' + dice(26) as u8);
        let at = 1 + dice(40);
        let edit = match dice(10) {
            0 => format!("DELETE FROM audit_events WHERE seq = {one}"),
            1 => format!("DELETE FROM audit_events WHERE seq >= {one}"),
            // Even with every trace of the end that stays here.
            2 => format!(
                "DELETE FROM audit_events WHERE seq >= {one};
                DELETE FROM audit_checkpoints WHERE seq >= {one}"
            ),
            3 => format!(
                "UPDATE audit_events SET {column} = (SELECT {column} FROM audit_events
                WHERE seq = {other}) WHERE seq = {one}"
            ),
            4 => format!(
                "UPDATE audit_events SET seq = -1 WHERE seq = {one};
                UPDATE audit_events SET seq = {one} WHERE seq = {other};
                UPDATE audit_events SET seq = {other} WHERE seq = -1"
            ),
            5 => format!(
                "INSERT INTO audit_events SELECT {}, 'x', workspace_id, tenant_id, event_type,
                outcome, actor_type, actor_label, target_type, target_id, operation_run_id, summary,
                occurred_at, body, hash, personal FROM audit_events WHERE seq = {other}",
                dice(60) as i64 - 20
            ),
            6 => "UPDATE audit_checkpoints SET body = replace(body, '0', '1')".to_owned(),
            7 => "UPDATE audit_tombstones SET body = replace(body, '0', '1')".to_owned(),
            _ => format!(
                "UPDATE audit_events SET {column} = substr({column}, 1, {at} - 1)
                || '{letter}' || substr({column}, {at} + 1) WHERE seq = {one}"
            ),
        };
        if tamper(&path, &edit).is_err() {
            // A number that is taken, a text where none may stand.
            continue;
        }
        let now = seen(&path).unwrap();
        if now == whole {
            continue;
        }
        tried += 1;
        let verdict = evidence.prove(&path).unwrap();
        assert!(!verdict.is_whole(), "{edit} stayed unnoticed");
        let Some(first) = first_difference(&whole[0], &now[0]) else { continue };
        named += 1;
        assert_eq!(verdict.breaks[0].seq(), first, "{edit}: {:?}", verdict.breaks);
    }
    assert!(named > tried / 2, "{named} of {tried}");
}
