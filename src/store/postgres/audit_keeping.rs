//! Seals, purges and erases. Owns the tables beside `audit_events`. Face: `page`, `prove`, `write`,
//! `keep`. Never deletes what no tombstone covers; triggers refuse it too.

use tokio_postgres::Row;

use super::PostgresStore;
use super::audit::read_columns;
use super::batch::Work;
use super::fault::Fault;
use super::rows::{digest, nanos, signed, text, unsigned};
use super::serve::answer;
use super::server::{Session, Value};
use super::statements::Sql;
use crate::base::Timestamp;
use crate::base::limits::{
    AUDIT_ERASE_RECORDS, AUDIT_PAGE_RECORDS, AUDIT_PURGE_RECORDS, AUDIT_SEGMENT_RECORDS,
};
use crate::domain::audit::log::Stored;
use crate::domain::audit::person::{self, Personal, Sought};
use crate::domain::audit::seal::{Checkpoint, PurgeCause, Sealed, Tombstone, VerifyingKey};
use crate::store::audit::{
    AuditPage, AuditWrite, Erasure, Pieces, Purgeable, as_written, behind, place, stored, text_of,
};
use crate::store::audit_columns::AuditColumns;
use crate::store::filter::Bound;
use crate::store::{Answer, Conflict, KeepAudit, StoreError};

/// Housekeeping of the log.
#[derive(Debug)]
pub(super) enum Keeping {
    /// A checkpoint was signed.
    Sealed { checkpoint: Box<Checkpoint>, key: VerifyingKey },
    /// A place outside has the checkpoints up to here.
    Anchored { place: String, seq: u64, at: Timestamp },
    /// A person is to be erased further.
    EraseNext { at: Timestamp },
}

/// A statement that finds a piece of a page, and its values.
pub(super) type Ask = (Sql, Vec<Bound>);

/// What to ask for a page of a host's log, in this order, as `Pieces` says.
pub(super) fn asked(host: &str, after: Option<u64>) -> [Ask; 3] {
    let limit = AUDIT_PAGE_RECORDS as u64;
    let host = || Bound::Text(host.to_owned());
    let behind = || Bound::Number(behind(after));
    let most = |limit: u64| Bound::Number(signed(limit));
    [
        (Sql::AuditCheckpoints, vec![host(), behind(), most(limit + 1)]),
        (Sql::AuditChain, vec![host(), behind(), most(limit)]),
        (Sql::AuditTombstones, vec![host()]),
    ]
}

/// The page that these rows are, in the order in which they were asked for.
pub(super) fn page(after: Option<u64>, found: [Vec<Row>; 3]) -> Result<AuditPage, Fault> {
    let numbered = |row: &Row| Ok((place(row.try_get(0)?), text(row, 1)?));
    let [checkpoints, records, tombstones] = found;
    Ok(Pieces {
        after,
        limit: AUDIT_PAGE_RECORDS,
        checkpoints: checkpoints.iter().map(numbered).collect::<Result<_, Fault>>()?,
        records: records.iter().map(record).collect::<Result<_, Fault>>()?,
        tombstones: tombstones.iter().map(numbered).collect::<Result<_, Fault>>()?,
    }
    .page())
}

fn record(row: &Row) -> Result<Stored, Fault> {
    let (seq, body, hash) = (place(row.try_get(0)?), text(row, 1)?.into_bytes(), row.try_get(2)?);
    let personal = Personal::as_written(row.try_get(3)?);
    Ok(stored((seq, body, hash), personal, |personal, body| {
        read_columns(row).is_ok_and(|columns| columns.fit(body, personal))
    }))
}

fn statement<T>(row: &Row) -> Result<T, Fault>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    as_written(row.try_get(0)?).map_err(|reason| Fault::unreadable("signed statement", reason))
}

/// Changes the log as a command says.
pub(super) async fn write(session: &Session, host: &str, write: &AuditWrite) -> Result<(), Fault> {
    match write {
        AuditWrite::Purge(stone) => purge(session, host, stone).await,
        AuditWrite::Erase(erasure) => erase(session, erasure).await,
    }
}

async fn purge(session: &Session, host: &str, stone: &Tombstone) -> Result<(), Fault> {
    let purged = &stone.purged;
    let (from, to) = (signed(purged.from_seq), signed(purged.to_seq));
    if session.query(Sql::IsPurgeable, &[&host, &from, &to]).await?.is_empty() {
        let id = format!("{from} to {to}");
        return Err(Conflict::Changed { noun: "segments of the audit log", id }.into());
    }
    let body = text_of(stone).map_err(Fault::Store)?;
    session.query(Sql::InsertTombstone, &[&host, &from, &to, &body]).await?;
    session.query(Sql::PurgeRecords, &[&host, &to]).await?;
    session.query(Sql::PurgeCheckpoints, &[&host, &to]).await?;
    Ok(())
}

/// Begins an erasure, or begins it anew, in the logs of all hosts.
async fn erase(session: &Session, erasure: &Erasure) -> Result<(), Fault> {
    let Erasure { subject, label, pseudonym, asked_at } = erasure;
    let at = nanos(*asked_at);
    session.query(Sql::BeginErasure, &[subject, pseudonym, label, &at]).await?;
    Ok(())
}

/// Housekeeping. Whether there was something to do.
pub(super) async fn keep(session: &Session, host: &str, keeping: &Keeping) -> Result<bool, Fault> {
    match keeping {
        Keeping::Sealed { checkpoint, key } => {
            let body = text_of(&**checkpoint).map_err(Fault::Store)?;
            let (seq, at) = (signed(checkpoint.sealed.seq), nanos(checkpoint.sealed.at));
            let (id, public) = (key.id(), key.to_string());
            session.query(Sql::InsertAuditKey, &[&host, &id, &public, &at]).await?;
            let after = signed(checkpoint.sealed.after);
            let values: [Value<'_>; 4] = [&host, &seq, &body, &after];
            return Ok(!session.query(Sql::InsertCheckpoint, &values).await?.is_empty());
        }
        Keeping::Anchored { place, seq, at } => {
            let (seq, at) = (signed(*seq), nanos(*at));
            session.query(Sql::NoteAnchored, &[&host, place, &seq, &at]).await?;
        }
        Keeping::EraseNext { at } => return erase_next(session, host, *at).await,
    }
    Ok(true)
}

/// Goes on with an erasure. Whether there was one.
async fn erase_next(session: &Session, host: &str, at: Timestamp) -> Result<bool, Fault> {
    let found = session.query(Sql::NextErasure, &[&host]).await?;
    let Some(row) = found.first() else { return Ok(false) };
    let sought = Sought { id: text(row, 0)?, pseudonym: text(row, 1)?, label: row.try_get(2)? };
    let next: i64 = row.try_get(3)?;
    let limit = signed(AUDIT_ERASE_RECORDS as u64);
    let rows = session.query(Sql::RecordsToErase, &[&host, &next, &limit]).await?;
    for row in &rows {
        let told = |error: serde_json::Error| Fault::unreadable("audit event", error);
        let (seq, body): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
        let Some(personal) = row.try_get::<_, Option<&str>>(2)? else { continue };
        let personal = Personal::from_text(Some(personal)).map_err(told)?;
        let (record, _) = person::join(body.as_bytes(), &personal).map_err(told)?;
        let Some(erased) = personal.without(&record.event, &sought) else { continue };
        let (record, _) = person::join(body.as_bytes(), &erased).map_err(told)?;
        let beside = erased.to_text();
        let beside =
            beside.map_err(|error| Fault::unreadable("audit event", crate::base::chain(&error)))?;
        let columns = AuditColumns::of(&record.event);
        let (summary, label) = (columns.summary, columns.actor_label);
        session.query(Sql::EraseRecord, &[&host, &seq, &beside, &summary, &label]).await?;
    }
    if next == 0 {
        session.query(Sql::ForgetInRuns, &[&sought.id, &sought.pseudonym]).await?;
        session.query(Sql::ForgetInPlatformRuns, &[&sought.id, &sought.pseudonym]).await?;
        session.query(Sql::ForgetInUsers, &[&sought.id, &sought.pseudonym]).await?;
    }
    match rows.last().filter(|_| rows.len() == AUDIT_ERASE_RECORDS) {
        Some(row) => {
            let next: i64 = row.try_get(0)?;
            session.query(Sql::ErasureGoesOn, &[&host, &sought.id, &(next + 1)]).await?
        }
        None => session.query(Sql::ErasureIsDone, &[&host, &sought.id, &nanos(at)]).await?,
    };
    Ok(true)
}

impl PostgresStore {
    async fn keep_audit(&self, act: &'static str, keeping: Keeping) -> Result<bool, StoreError> {
        self.write(act, Work::KeepAudit(keeping)).await?.kept()
    }
}

impl KeepAudit for PostgresStore {
    fn seal_audit(&self) -> Answer<'_, Option<Checkpoint>> {
        answer(async move {
            let act = "seal the audit log";
            let limit = Bound::Number(signed(AUDIT_SEGMENT_RECORDS));
            let values = [self.host(), limit];
            let read =
                |row: &Row| Ok((unsigned(row, 2)?, unsigned(row, 0)?, digest(row.try_get(1)?)?));
            let found = self.one(act, Sql::AuditUnsealed, &values, read).await?;
            let Some((after, seq, hash)) = found else { return Ok(None) };
            let host_id = self.scope.host_id;
            let sealed = Sealed { host_id, after, seq, hash, at: self.ambient.now() };
            let key = self.keys.audit();
            let checkpoint = key.checkpoint(sealed).map_err(|error| StoreError::Unreadable {
                noun: "checkpoint",
                reason: crate::base::chain(&error),
            })?;
            let (written, key) = (Box::new(checkpoint.clone()), key.public());
            let keeping = Keeping::Sealed { checkpoint: written, key };
            Ok(self.keep_audit(act, keeping).await?.then_some(checkpoint))
        })
    }

    fn note_anchored(&self, place: String, seq: u64) -> Answer<'_, ()> {
        let at = self.ambient.now();
        answer(async move {
            let keeping = Keeping::Anchored { place, seq, at };
            self.keep_audit("note the anchor down", keeping).await.map(drop)
        })
    }

    fn erase_next(&self) -> Answer<'_, bool> {
        let at = self.ambient.now();
        answer(self.keep_audit("erase a person", Keeping::EraseNext { at }))
    }

    fn audit_tombstone(
        &self,
        before: Timestamp,
        cause: PurgeCause,
    ) -> Answer<'_, Option<Tombstone>> {
        answer(async move {
            let act = "look for old segments";
            let last = self.one(act, Sql::LastTombstone, &[self.host()], statement).await?;
            let begin = last.as_ref().map_or(0, |stone: &Tombstone| stone.purged.to_seq);
            let limit = Bound::Number(signed(AUDIT_PURGE_RECORDS));
            let values = [self.host(), Bound::Number(signed(begin)), limit];
            let checkpoints = self.many(act, Sql::PurgeableCheckpoints, &values, statement).await?;
            let found = Purgeable { host_id: self.scope.host_id, last, checkpoints };
            let Some(purged) = found.purged(before, cause, self.ambient.now()) else {
                return Ok(None);
            };
            let signed = self.keys.audit().tombstone(purged);
            let told = |error| StoreError::Unreadable {
                noun: "tombstone",
                reason: crate::base::chain(&error),
            };
            signed.map(Some).map_err(told)
        })
    }
}

/// Checkpoints of a host's log behind a record.
pub(super) fn checkpoint(row: &Row) -> Result<Checkpoint, Fault> {
    as_written(row.try_get(1)?).map_err(|reason| Fault::unreadable("checkpoint", reason))
}
