//! Seals, purges and erases. Owns the tables beside `audit_events`. Face: `page`, `seal`, `purge`,
//! `erase`, `erase_next`. Never deletes what no tombstone covers; triggers refuse it too.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::SqliteStore;
use super::audit::read_columns;
use super::fault::Fault;
use super::load::Session;
use super::rows::{collect, nanos, signed, unsigned};
use super::serve::answer;
use crate::base::ids::HostId;
use crate::base::limits::{
    AUDIT_ERASE_RECORDS, AUDIT_PAGE_RECORDS, AUDIT_PURGE_RECORDS, AUDIT_SEGMENT_RECORDS,
};
use crate::base::{Digest, Timestamp};
use crate::domain::audit::log::Stored;
use crate::domain::audit::person::{self, Personal, Sought};
use crate::domain::audit::seal::{Checkpoint, PurgeCause, Sealed, Tombstone, VerifyingKey};
use crate::store::audit::{
    AuditPage, AuditWrite, Erasure, Pieces, Purgeable, as_written, behind, place, stored, text_of,
};
use crate::store::audit_columns::AuditColumns;
use crate::store::{Answer, Conflict, KeepAudit, StoreError};

/// A part of the log. Its pieces are read in the order that `Pieces` says.
pub(super) fn page(connection: &Connection, after: Option<u64>) -> Result<AuditPage, Fault> {
    page_of(connection, after, AUDIT_PAGE_RECORDS)
}

/// The same with so many records at most.
pub(super) fn page_of(
    connection: &Connection,
    after: Option<u64>,
    limit: usize,
) -> Result<AuditPage, Fault> {
    let (behind, most) = (behind(after), signed(limit as u64));
    // What is no text any more is a change like any other.
    let numbered = |row: &Row<'_>| {
        let text = row.get_ref(1)?.as_str().unwrap_or_default();
        Ok((place(row.get(0)?), text.to_owned()))
    };
    let checkpoints = "SELECT seq, body FROM audit_checkpoints WHERE seq > ? ORDER BY seq LIMIT ?";
    let values = params![behind, most + 1];
    let checkpoints = collect(connection, checkpoints, values, numbered)?;
    let records = collect(connection, RECORDS, params![behind, most], record)?;
    let tombstones = "SELECT to_seq, body FROM audit_tombstones ORDER BY from_seq";
    let tombstones = collect(connection, tombstones, [], numbered)?;
    Ok(Pieces { after, limit, checkpoints, records, tombstones }.page())
}

const RECORDS: &str = "SELECT seq, body, hash, personal, id, workspace_id, tenant_id, event_type,
    outcome, actor_type, actor_label, target_type, target_id, operation_run_id, summary, occurred_at
    FROM audit_events WHERE seq > ? ORDER BY seq LIMIT ?";

fn record(row: &Row<'_>) -> Result<Stored, Fault> {
    let body = match row.get_ref(1)? {
        ValueRef::Text(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    let hash = row.get_ref(2)?.as_str().unwrap_or_default();
    let text = row.get_ref(3)?.as_str_or_null();
    let personal = text.ok().and_then(Personal::as_written);
    Ok(stored((place(row.get(0)?), body, hash), personal, |personal, body| {
        read_columns(row).is_ok_and(|columns| columns.fit(body, personal))
    }))
}

/// Checkpoints behind a record.
pub(super) fn checkpoints(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<Checkpoint>, Fault> {
    let sql = "SELECT body FROM audit_checkpoints WHERE seq > ? ORDER BY seq LIMIT ?";
    collect(connection, sql, params![signed(after), signed(limit as u64)], statement)
}

fn statement<T>(row: &Row<'_>) -> Result<T, Fault>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let body: String = row.get(0)?;
    as_written(&body).map_err(|reason| Fault::unreadable("signed statement", reason))
}

/// How far a place outside of the host has what it is to have.
pub(super) fn anchored(connection: &Connection, place: &str) -> Result<Option<u64>, Fault> {
    let sql = "SELECT seq FROM audit_anchors WHERE place = ?";
    Ok(collect(connection, sql, [place], |row| unsigned(row, 0))?.pop())
}

/// The keys that sealed the log, as far as it says itself.
pub(super) fn keys(connection: &Connection) -> Result<Vec<VerifyingKey>, Fault> {
    collect(connection, "SELECT public_key FROM audit_keys ORDER BY since", [], |row| {
        let text: String = row.get(0)?;
        VerifyingKey::try_from(text).map_err(|error| Fault::unreadable("public key", error))
    })
}

/// The host whose log it is, as its seals say.
pub(super) fn sealed_host(connection: &Connection) -> Result<Option<HostId>, Fault> {
    let sql = "SELECT body FROM audit_checkpoints ORDER BY seq";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_str().unwrap_or_default();
        if let Ok(checkpoint) = as_written::<Checkpoint>(body) {
            return Ok(Some(checkpoint.sealed.host_id));
        }
    }
    Ok(None)
}

/// Where the last segment ends.
fn segment_end(connection: &Connection) -> Result<i64, Fault> {
    let sql = "SELECT max(coalesce((SELECT max(seq) FROM audit_checkpoints), 0),
                          coalesce((SELECT max(to_seq) FROM audit_tombstones), 0))";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// What is to be sealed next: where the segment before ends, a record and its hash.
fn unsealed(connection: &Connection) -> Result<Option<(u64, u64, Digest)>, Fault> {
    let sealed = segment_end(connection)?;
    let sql = "SELECT seq, hash FROM audit_events WHERE seq > ?1 AND seq <= ?1 + ?2
               ORDER BY seq DESC LIMIT 1";
    let values = params![sealed, signed(AUDIT_SEGMENT_RECORDS)];
    let found = collect(connection, sql, values, |row| {
        let hash: String = row.get(1)?;
        let hash = Digest::try_from(hash).map_err(|error| Fault::unreadable("digest", error))?;
        Ok((place(sealed), unsigned(row, 0)?, hash))
    });
    Ok(found?.pop())
}

/// Whether it still follows the segment before.
fn seal(
    connection: &Connection,
    checkpoint: &Checkpoint,
    key: VerifyingKey,
) -> Result<bool, Fault> {
    if segment_end(connection)? != signed(checkpoint.sealed.after) {
        return Ok(false);
    }
    let since = nanos(checkpoint.sealed.at);
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO audit_keys (key_id, public_key, since) VALUES (?, ?, ?)",
        )?
        .execute(params![key.id(), key.to_string(), since])?;
    connection.prepare_cached("INSERT INTO audit_checkpoints (seq, body) VALUES (?, ?)")?.execute(
        params![signed(checkpoint.sealed.seq), text_of(checkpoint).map_err(Fault::Store)?],
    )?;
    Ok(true)
}

/// What can be purged, as far as one transaction goes.
fn purgeable(connection: &Connection, host_id: HostId) -> Result<Purgeable, Fault> {
    let sql = "SELECT body FROM audit_tombstones ORDER BY from_seq DESC LIMIT 1";
    let last: Option<Tombstone> = collect(connection, sql, [], statement)?.pop();
    let begin = last.as_ref().map_or(0, |stone| stone.purged.to_seq);
    let sql = "SELECT body FROM audit_checkpoints WHERE seq > ?1 AND seq <= ?1 + ?2
                   AND seq < (SELECT max(seq) FROM audit_events) ORDER BY seq";
    let values = params![signed(begin), signed(AUDIT_PURGE_RECORDS)];
    let checkpoints = collect(connection, sql, values, statement)?;
    Ok(Purgeable { host_id, last, checkpoints })
}

/// Changes the log as a command says.
pub(super) fn write(connection: &Connection, write: &AuditWrite) -> Result<(), Fault> {
    match write {
        AuditWrite::Purge(stone) => purge(connection, stone),
        AuditWrite::Erase(erasure) => erase(connection, erasure),
    }
}

fn purge(connection: &Connection, stone: &Tombstone) -> Result<(), Fault> {
    let purged = &stone.purged;
    let sql = "SELECT 1 FROM audit_checkpoints WHERE seq = ?1
                   AND seq < (SELECT max(seq) FROM audit_events)
                   AND ?2 = 1 + coalesce((SELECT max(to_seq) FROM audit_tombstones), 0)";
    let values = params![signed(purged.to_seq), signed(purged.from_seq)];
    let is_current = connection.query_row(sql, values, |_| Ok(())).optional()?;
    if is_current.is_none() {
        let id = format!("{} to {}", purged.from_seq, purged.to_seq);
        return Err(Conflict::Changed { noun: "segments of the audit log", id }.into());
    }
    let to = signed(purged.to_seq);
    connection.execute(
        "INSERT INTO audit_tombstones (from_seq, to_seq, body) VALUES (?, ?, ?)",
        params![signed(purged.from_seq), to, text_of(stone).map_err(Fault::Store)?],
    )?;
    connection.execute("DELETE FROM audit_events WHERE seq <= ?", [to])?;
    connection.execute("DELETE FROM audit_checkpoints WHERE seq <= ?", [to])?;
    Ok(())
}

/// Begins an erasure, or begins it anew.
fn erase(connection: &Connection, erasure: &Erasure) -> Result<(), Fault> {
    connection.execute(
        "INSERT INTO audit_erasures (user_id, pseudonym, label, next_seq, asked_at)
         VALUES (?, ?, ?, 0, ?)
         ON CONFLICT (user_id) DO UPDATE SET label = excluded.label, next_seq = 0,
             asked_at = excluded.asked_at, completed_at = NULL",
        params![erasure.subject, erasure.pseudonym, erasure.label, nanos(erasure.asked_at)],
    )?;
    Ok(())
}

/// Goes on with an erasure. Whether there was one.
fn erase_next(connection: &Connection, at: Timestamp) -> Result<bool, Fault> {
    let sql = "SELECT user_id, pseudonym, label, next_seq FROM audit_erasures
               WHERE completed_at IS NULL ORDER BY asked_at, user_id LIMIT 1";
    let read = |row: &Row<'_>| {
        let sought = Sought { id: row.get(0)?, pseudonym: row.get(1)?, label: row.get(2)? };
        Ok((sought, row.get::<_, i64>(3)?))
    };
    let Some((sought, next)) = collect(connection, sql, [], read)?.pop() else { return Ok(false) };
    let sql = "SELECT seq, body, personal FROM audit_events WHERE seq >= ? ORDER BY seq LIMIT ?";
    let read = |row: &Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
    };
    let records =
        collect(connection, sql, params![next, signed(AUDIT_ERASE_RECORDS as u64)], read)?;
    for (seq, body, personal) in &records {
        let told = |error: serde_json::Error| Fault::unreadable("audit event", error);
        let Some(personal) = personal else { continue };
        let personal = Personal::from_text(Some(personal)).map_err(told)?;
        let (record, _) = person::join(body.as_bytes(), &personal).map_err(told)?;
        let Some(erased) = personal.without(&record.event, &sought) else { continue };
        let (record, _) = person::join(body.as_bytes(), &erased).map_err(told)?;
        let text = erased.to_text();
        let text = text.map_err(|error| Fault::not_canonical("audit event", &error))?;
        let columns = AuditColumns::of(&record.event);
        connection
            .prepare_cached(
                "UPDATE audit_events SET personal = ?, summary = ?, actor_label = ? WHERE seq = ?",
            )?
            .execute(params![text, columns.summary, columns.actor_label, seq])?;
    }
    if next == 0 {
        forget_name(connection, &sought)?;
    }
    match records.last().filter(|_| records.len() == AUDIT_ERASE_RECORDS) {
        Some((last, ..)) => connection.execute(
            "UPDATE audit_erasures SET next_seq = ? WHERE user_id = ?",
            params![last + 1, sought.id],
        )?,
        None => connection.execute(
            "UPDATE audit_erasures SET label = NULL, completed_at = ? WHERE user_id = ?",
            params![nanos(at), sought.id],
        )?,
    };
    Ok(true)
}

/// The name of a person outside of the log. Whom a host belongs to, the host goes on to know.
fn forget_name(connection: &Connection, sought: &Sought) -> Result<(), Fault> {
    let values = params![sought.pseudonym, sought.id];
    connection.execute("UPDATE runs SET initiator_name = ?1 WHERE user_id = ?2", values)?;
    // Runs that somebody above workspaces started have no user.
    let sql = "UPDATE runs SET initiator_name = ?1, context = json_set(
            json_remove(context, '$.inputs.platform_initiator.email'),
            '$.inputs.platform_initiator.name', ?1)
        WHERE user_id IS NULL
            AND json_extract(context, '$.inputs.platform_initiator.platform_user_id') = ?2";
    connection.execute(sql, values)?;
    let sql = "UPDATE users SET name = ?1 WHERE id = ?2 AND id NOT IN (SELECT owner_id FROM host)";
    connection.execute(sql, values)?;
    Ok(())
}

impl KeepAudit for SqliteStore {
    fn seal_audit(&self) -> Answer<'_, Option<Checkpoint>> {
        answer(async move {
            let act = "seal the audit log";
            let Some((after, seq, hash)) = self.read(act, unsealed).await? else { return Ok(None) };
            let at = self.ambient.now();
            let sealed = Sealed { host_id: self.scope.host_id, after, seq, hash, at };
            let key = self.keys.audit();
            let unreadable = |error| Fault::not_canonical("checkpoint", &error);
            let checkpoint = key.checkpoint(sealed).map_err(unreadable);
            let checkpoint = checkpoint.map_err(|fault| fault.into_store(&self.path, act))?;
            let (written, public) = (checkpoint.clone(), key.public());
            let seal = move |session: &mut Session<'_>| seal(session.connection, &written, public);
            Ok(self.write(act, seal).await?.then_some(checkpoint))
        })
    }

    fn note_anchored(&self, place: String, seq: u64) -> Answer<'_, ()> {
        let at = nanos(self.ambient.now());
        answer(self.write("note the anchor down", move |session| {
            let sql = "INSERT INTO audit_anchors (place, seq, reached_at) VALUES (?, ?, ?)
                ON CONFLICT (place) DO UPDATE SET seq = excluded.seq, reached_at = excluded.reached_at";
            session.connection.prepare_cached(sql)?.execute(params![place, signed(seq), at])?;
            Ok(())
        }))
    }

    fn erase_next(&self) -> Answer<'_, bool> {
        let at = self.ambient.now();
        answer(self.write("erase a person", move |session| erase_next(session.connection, at)))
    }

    fn audit_tombstone(
        &self,
        before: Timestamp,
        cause: PurgeCause,
    ) -> Answer<'_, Option<Tombstone>> {
        answer(async move {
            let (host, at) = (self.scope.host_id, self.ambient.now());
            let found = self.read("look for old segments", move |it| purgeable(it, host)).await?;
            let Some(purged) = found.purged(before, cause, at) else { return Ok(None) };
            let signed = self.keys.audit().tombstone(purged);
            let told = |error| StoreError::Unreadable {
                noun: "tombstone",
                reason: crate::base::chain(&error),
            };
            signed.map(Some).map_err(told)
        })
    }
}
