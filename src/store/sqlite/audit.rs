//! Appends to the audit log, lists it and proves it. Owns the table `audit_events`. Face:
//! `append`, `list`, `verify`. Never updates or deletes; triggers refuse it too.

use rusqlite::{Connection, Row, params, params_from_iter};

use super::audit_keeping;
use super::fault::Fault;
use super::rows::{bound, optional_parsed, parsed, signed, unsigned};
use crate::base::ids::EventId;
use crate::base::limits::AUDIT_PAGE_RECORDS;
use crate::base::{Ambient, Digest};
use crate::domain::audit::chain::{GENESIS, Link, link};
use crate::domain::audit::log::Proof;
use crate::domain::audit::person::{self, Personal};
use crate::domain::audit::{AuditEvent, AuditRecord};
use crate::store::audit_columns::AuditColumns;
use crate::store::filter::Marks;
use crate::store::query::AuditOption;
use crate::store::{AuditFilter, AuditOptions, Cursor, Page, PageRequest, StoreError, lists};

/// Appends events in order. Part of the caller's transaction: they stand or fall with the change.
pub(super) fn append(
    connection: &Connection,
    events: &[AuditEvent],
    ambient: &Ambient,
) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    let recorded_at = ambient.now();
    let (mut seq, mut previous) = head(connection)?;
    for event in events {
        seq += 1;
        let record = AuditRecord { seq, recorded_at, event: event.clone() };
        let told = |error| Fault::not_canonical("audit event", &error);
        let parts = person::split(&record, || salt(ambient)).map_err(told)?;
        let next = link(previous, seq, parts.body);
        let columns = AuditColumns::with(event, &parts.summary);
        insert(connection, columns, &next, parts.personal.to_text().map_err(told)?)?;
        previous = next.hash;
    }
    Ok(())
}

fn salt(ambient: &Ambient) -> person::Salt {
    let mut salt = person::Salt::default();
    ambient.entropy.fill(&mut salt);
    salt
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

fn insert(
    connection: &Connection,
    columns: AuditColumns,
    link: &Link,
    personal: Option<String>,
) -> Result<(), Fault> {
    let body =
        std::str::from_utf8(&link.body).map_err(|error| Fault::unreadable("audit event", error))?;
    connection
        .prepare_cached(
            "INSERT INTO audit_events (seq, id, workspace_id, tenant_id, event_type, outcome,
                 actor_type, actor_label, target_type, target_id, operation_run_id, summary,
                 occurred_at, body, hash, personal)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            personal,
        ])?;
    Ok(())
}

/// Reads what the filters look at from the columns after the first four.
pub(super) fn read_columns(row: &Row<'_>) -> Result<AuditColumns, rusqlite::Error> {
    Ok(AuditColumns {
        id: row.get(4)?,
        workspace_id: row.get(5)?,
        tenant_id: row.get(6)?,
        event_type: row.get(7)?,
        outcome: row.get(8)?,
        actor_type: row.get(9)?,
        actor_label: row.get(10)?,
        target_type: row.get(11)?,
        target_id: row.get(12)?,
        operation_run_id: row.get(13)?,
        summary: row.get(14)?,
        occurred_at: row.get(15)?,
    })
}

/// Reads a record from its body and what stands beside it.
fn record(row: &Row<'_>) -> Result<AuditRecord, Fault> {
    let told = |error: serde_json::Error| Fault::unreadable("audit event", error);
    let personal = Personal::from_text(
        row.get_ref(1)?
            .as_str_or_null()
            .map_err(|error| Fault::unreadable("audit event", error))?,
    )
    .map_err(told)?;
    let body: String = row.get(0)?;
    Ok(person::join(body.as_bytes(), &personal).map_err(told)?.0)
}

/// One record.
pub(super) fn find(connection: &Connection, id: EventId) -> Result<Option<AuditRecord>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT body, personal FROM audit_events WHERE id = ?")?;
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
    let (sql, values) =
        restriction.query("SELECT body, personal FROM audit_events", "seq DESC", limit);
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

/// What the newest records that pass the filter can be filtered by.
pub(super) fn options(
    connection: &Connection,
    filter: &AuditFilter,
) -> Result<AuditOptions, Fault> {
    let (sql, values) = lists::audit_options(Marks::Question, filter, "seq DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(bound(values)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(AuditOption {
            event_type: parsed(row, 0, "audit event type")?,
            outcome: parsed(row, 1, "audit outcome")?,
            actor_type: parsed(row, 2, "actor type")?,
            actor_label: row.get(3)?,
            target_type: row.get(4)?,
            tenant_id: optional_parsed(row, 5, "tenant id")?,
            records: unsigned(row, 6)?,
        });
    }
    Ok(found.into_iter().collect())
}

/// Proves the whole log of a database that nobody writes to. Where the file itself is damaged, the
/// proof ends with the first record that cannot be read.
pub(super) fn verify(connection: &Connection, mut proof: Proof) -> Result<Proof, Fault> {
    let (mut after, mut limit) = (None, AUDIT_PAGE_RECORDS);
    loop {
        let page = match audit_keeping::page_of(connection, after, limit) {
            Ok(page) => page,
            Err(fault) if !fault.is_damage() => return Err(fault),
            // The records before the damage can be read one by one.
            Err(_) if limit > 1 => {
                limit = 1;
                continue;
            }
            Err(fault) => {
                proof.breaks_off(fault.said());
                return Ok(proof);
            }
        };
        for entry in &page.entries {
            proof.take(entry);
        }
        after = page.next;
        if after.is_none() {
            return Ok(proof);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::Timestamp;

    /// The first record of a log, as agents wrote it that kept persons in the body.
    pub(in super::super) fn append_first_form(
        connection: &Connection,
        event: AuditEvent,
        recorded_at: Timestamp,
    ) {
        let columns = AuditColumns::of(&event);
        let record = AuditRecord { seq: 1, recorded_at, event };
        let body = crate::base::canonical::to_bytes(&record).unwrap();
        let first = link(GENESIS, 1, body);
        let sql =
            "INSERT INTO audit_events (seq, id, workspace_id, event_type, outcome, actor_type,
                actor_label, target_type, target_id, summary, occurred_at, body, hash)
            VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            columns.id,
            columns.workspace_id,
            columns.event_type,
            columns.outcome,
            columns.actor_type,
            columns.actor_label,
            columns.target_type,
            columns.target_id,
            columns.summary,
            columns.occurred_at,
            String::from_utf8(first.body).unwrap(),
            first.hash.to_string(),
        ];
        connection.execute(sql, values).unwrap();
    }
}
