//! Appends to the audit log, lists it and proves it. Owns the table `audit_events`. Face:
//! `append`, `list`, `verify`. Never updates or deletes; triggers refuse it too.

use rusqlite::{Connection, Row, params, params_from_iter};

use super::fault::Fault;
use super::rows::{bound, signed, unsigned};
use crate::base::ids::EventId;
use crate::base::{Digest, Timestamp};
use crate::domain::audit::chain::{self, ChainBreak, GENESIS, Link, Verdict, Verifier};
use crate::domain::audit::{AuditEvent, AuditRecord};
use crate::store::audit_columns::AuditColumns;
use crate::store::filter::Marks;
use crate::store::{AuditFilter, Cursor, Page, PageRequest, StoreError, lists};

/// Appends events in order. Part of the caller's transaction: they stand or fall with the change.
pub(super) fn append(
    connection: &Connection,
    events: &[AuditEvent],
    recorded_at: Timestamp,
) -> Result<(), Fault> {
    let (mut seq, mut previous) = head(connection)?;
    for event in events {
        seq += 1;
        let record = AuditRecord { seq, recorded_at, event: event.clone() };
        let link = chain::append(previous, &record)
            .map_err(|error| Fault::not_canonical("audit event", &error))?;
        insert(connection, event, &link)?;
        previous = link.hash;
    }
    Ok(())
}

/// The number and hash of the last record.
fn head(connection: &Connection) -> Result<(u64, Digest), Fault> {
    let mut statement = connection
        .prepare_cached("SELECT seq, hash FROM audit_events ORDER BY seq DESC LIMIT 1")?;
    let mut rows = statement.query([])?;
    match rows.next()? {
        None => Ok((0, GENESIS)),
        Some(row) => Ok((unsigned(row, 0)?, digest(row, 1)?)),
    }
}

fn digest(row: &Row<'_>, column: usize) -> Result<Digest, Fault> {
    let text: String = row.get(column)?;
    Digest::try_from(text).map_err(|error| Fault::unreadable("digest", error))
}

fn insert(connection: &Connection, event: &AuditEvent, link: &Link) -> Result<(), Fault> {
    let body =
        std::str::from_utf8(&link.body).map_err(|error| Fault::unreadable("audit event", error))?;
    let columns = AuditColumns::of(event);
    connection
        .prepare_cached(
            "INSERT INTO audit_events (seq, id, workspace_id, tenant_id, event_type, outcome,
                 actor_type, actor_label, target_type, target_id, operation_run_id, summary,
                 occurred_at, body, hash)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            signed(link.seq),
            columns.id,
            columns.workspace_id,
            columns.tenant_id,
            columns.event_type,
            columns.outcome,
            columns.actor_type,
            columns.actor_label,
            columns.target_type,
            columns.target_id,
            columns.operation_run_id,
            columns.summary,
            columns.occurred_at,
            body,
            link.hash.to_string(),
        ])?;
    Ok(())
}

/// Reads what the filters look at from the columns after the first three of `EVERYTHING`.
fn read_columns(row: &Row<'_>) -> Result<AuditColumns, rusqlite::Error> {
    Ok(AuditColumns {
        id: row.get(3)?,
        workspace_id: row.get(4)?,
        tenant_id: row.get(5)?,
        event_type: row.get(6)?,
        outcome: row.get(7)?,
        actor_type: row.get(8)?,
        actor_label: row.get(9)?,
        target_type: row.get(10)?,
        target_id: row.get(11)?,
        operation_run_id: row.get(12)?,
        summary: row.get(13)?,
        occurred_at: row.get(14)?,
    })
}

const EVERYTHING: &str = "SELECT seq, body, hash, id, workspace_id, tenant_id, event_type, outcome,
    actor_type, actor_label, target_type, target_id, operation_run_id, summary, occurred_at
    FROM audit_events ORDER BY seq";

fn record(row: &Row<'_>) -> Result<AuditRecord, Fault> {
    super::rows::json(row, 0, "audit event")
}

/// One record.
pub(super) fn find(connection: &Connection, id: EventId) -> Result<Option<AuditRecord>, Fault> {
    let mut statement = connection.prepare_cached("SELECT body FROM audit_events WHERE id = ?")?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map(record).transpose()
}

fn place(Cursor(text): &Cursor) -> Result<i64, Fault> {
    text.parse().map_err(|_| Fault::Store(StoreError::BadCursor(text.clone())))
}

/// The query of a list.
pub(super) fn query(
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<(String, Vec<rusqlite::types::Value>), Fault> {
    let before = match &page.after {
        Some(cursor) => Some(place(cursor)?),
        None => None,
    };
    let restriction = lists::audit(Marks::Question, filter).less_than("seq", before);
    let limit = page.bounded_limit() + 1;
    let (sql, values) = restriction.query("SELECT body FROM audit_events", "seq DESC", limit);
    Ok((sql, bound(values)))
}

/// Records that pass the filter, newest first.
pub(super) fn list(
    connection: &Connection,
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<Page<AuditRecord>, Fault> {
    let (sql, values) = query(filter, page)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(record(row)?);
    }
    Ok(super::page(items, page.bounded_limit(), |last| Cursor(last.seq.to_string())))
}

/// Follows the whole chain, and compares every record with the columns that the filters use.
pub(super) fn verify(connection: &Connection) -> Result<Verdict, Fault> {
    let mut verifier = Verifier::default();
    let mut statement = connection.prepare(EVERYTHING)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let seq = unsigned(row, 0)?;
        let body: String = row.get(1)?;
        // A hash that is no digest is a change like any other.
        let hash = digest(row, 2).unwrap_or(Digest::zero());
        let record = verifier.next(&Link { seq, body: body.into_bytes(), hash });
        if let Some(record) = record
            && AuditColumns::of(&record.event) != read_columns(row)?
        {
            verifier.report(ChainBreak::Contradiction { seq, part: "index column" });
        }
    }
    Ok(verifier.finish())
}
