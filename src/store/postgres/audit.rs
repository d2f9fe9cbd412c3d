//! Appends to the audit log, lists it and proves it. Owns the table `audit_events`. Face:
//! `Entries`, `query`, `Columns`. Never updates or deletes; triggers refuse it too.

use tokio_postgres::Row;

use super::fault::Fault;
use super::flush::{Calls, Owned};
use super::rows::{json, nanos, signed};
use super::statements::Sql;
use crate::base::ids::HostId;
use crate::base::{Digest, Timestamp};
use crate::domain::audit::chain::{self, ChainBreak, Link, Verifier};
use crate::domain::audit::{AuditEvent, AuditRecord};
use crate::store::filter::{Bound, Marks, Restriction};
use crate::store::{AuditFilter, Cursor, PageRequest, StoreError};

/// The end of a host's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: Digest,
}

/// Records of one transaction, by column: they go to the server as one statement.
#[derive(Debug, Default)]
pub(super) struct Entries {
    seq: Vec<i64>,
    id: Vec<String>,
    workspace_id: Vec<String>,
    tenant_id: Vec<Option<String>>,
    event_type: Vec<String>,
    outcome: Vec<String>,
    actor_type: Vec<String>,
    actor_label: Vec<String>,
    target_type: Vec<Option<String>>,
    target_id: Vec<Option<String>>,
    operation_run_id: Vec<Option<String>>,
    summary: Vec<String>,
    occurred_at: Vec<i64>,
    body: Vec<String>,
    hash: Vec<String>,
}

impl Entries {
    /// Adds the event that follows `head`; the answer is the new end of the chain.
    pub(super) fn add(
        &mut self,
        head: Head,
        event: &AuditEvent,
        recorded_at: Timestamp,
    ) -> Result<Head, Fault> {
        let record = AuditRecord { seq: head.seq + 1, recorded_at, event: event.clone() };
        let link = chain::append(head.hash, &record)
            .map_err(|error| Fault::unreadable("audit event", crate::base::chain(&error)))?;
        let body = String::from_utf8(link.body)
            .map_err(|error| Fault::unreadable("audit event", error))?;
        let columns = Columns::of(event);
        self.seq.push(signed(record.seq));
        self.id.push(columns.id);
        self.workspace_id.push(columns.workspace_id);
        self.tenant_id.push(columns.tenant_id);
        self.event_type.push(columns.event_type);
        self.outcome.push(columns.outcome);
        self.actor_type.push(columns.actor_type);
        self.actor_label.push(columns.actor_label);
        self.target_type.push(columns.target_type);
        self.target_id.push(columns.target_id);
        self.operation_run_id.push(columns.operation_run_id);
        self.summary.push(columns.summary);
        self.occurred_at.push(columns.occurred_at);
        self.body.push(body);
        self.hash.push(link.hash.to_string());
        Ok(Head { seq: record.seq, hash: link.hash })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seq.is_empty()
    }

    /// Adds the statement that appends them.
    pub(super) fn write(self, calls: &mut Calls, host: &str) {
        if self.is_empty() {
            return;
        }
        let values: Vec<Owned> = vec![
            Box::new(host.to_owned()),
            Box::new(self.seq),
            Box::new(self.id),
            Box::new(self.workspace_id),
            Box::new(self.tenant_id),
            Box::new(self.event_type),
            Box::new(self.outcome),
            Box::new(self.actor_type),
            Box::new(self.actor_label),
            Box::new(self.target_type),
            Box::new(self.target_id),
            Box::new(self.operation_run_id),
            Box::new(self.summary),
            Box::new(self.occurred_at),
            Box::new(self.body),
            Box::new(self.hash),
        ];
        calls.add(Sql::InsertAudit, values);
    }
}

/// What the filters look at: a copy of parts of the body.
#[derive(PartialEq, Eq)]
struct Columns {
    id: String,
    workspace_id: String,
    tenant_id: Option<String>,
    event_type: String,
    outcome: String,
    actor_type: String,
    actor_label: String,
    target_type: Option<String>,
    target_id: Option<String>,
    operation_run_id: Option<String>,
    summary: String,
    occurred_at: i64,
}

impl Columns {
    fn of(event: &AuditEvent) -> Self {
        let target = event.target.as_ref();
        Self {
            id: event.id.to_string(),
            workspace_id: event.workspace_id.to_string(),
            tenant_id: event.tenant_id.map(|id| id.to_string()),
            event_type: event.event_type.to_string(),
            outcome: event.outcome.to_string(),
            actor_type: event.actor.actor_type.to_string(),
            actor_label: event.actor.actor_label.clone(),
            target_type: target.map(|target| target.target_type.clone()),
            target_id: target.map(|target| target.target_id.clone()),
            operation_run_id: event.operation_run_id.map(|id| id.to_string()),
            summary: event.summary.as_str().to_owned(),
            occurred_at: nanos(event.occurred_at),
        }
    }

    /// Reads them from the columns after the first three of `Sql::AuditChain`.
    fn read(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            id: row.try_get(3)?,
            workspace_id: row.try_get(4)?,
            tenant_id: row.try_get(5)?,
            event_type: row.try_get(6)?,
            outcome: row.try_get(7)?,
            actor_type: row.try_get(8)?,
            actor_label: row.try_get(9)?,
            target_type: row.try_get(10)?,
            target_id: row.try_get(11)?,
            operation_run_id: row.try_get(12)?,
            summary: row.try_get(13)?,
            occurred_at: row.try_get(14)?,
        })
    }
}

/// Reads a record.
pub(super) fn record(row: &Row) -> Result<AuditRecord, Fault> {
    json(row, 0, "audit event")
}

/// A record of a list, with its place in it.
pub(super) fn listed(row: &Row) -> Result<(AuditRecord, Cursor), Fault> {
    let (at, host, seq): (i64, &str, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    Ok((record(row)?, Cursor(format!("{at}~{host}~{seq}"))))
}

fn place(Cursor(text): &Cursor) -> Result<Vec<Bound>, StoreError> {
    let mut parts = text.split('~');
    let mut read = || {
        let (at, host, seq) = (parts.next()?, parts.next()?, parts.next()?);
        let host: HostId = host.parse().ok()?;
        Some(vec![
            Bound::Number(at.parse().ok()?),
            Bound::Text(host.to_string()),
            Bound::Number(seq.parse().ok()?),
        ])
    };
    read().ok_or_else(|| StoreError::BadCursor(text.clone()))
}

/// The query of a list. The records of several hosts are listed by when they happened.
pub(super) fn query(
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<(String, Vec<Bound>), StoreError> {
    let restriction = Restriction::new(Marks::Dollar)
        .equals("workspace_id", filter.workspace_id.to_string())
        .equals_if("tenant_id", filter.tenant_id.as_ref())
        .any_of("event_type", &filter.event_types)
        .any_of("outcome", &filter.outcomes)
        .equals_if("actor_type", filter.actor_type.as_ref())
        .equals_if("actor_label", filter.actor_label.as_ref())
        .equals_if("target_type", filter.target_type.as_ref())
        .equals_if("target_id", filter.target_id.as_ref())
        .equals_if("operation_run_id", filter.operation_run_id.as_ref())
        .at_least("occurred_at", filter.date_from.map(nanos))
        .less_than("occurred_at", filter.date_until.map(nanos))
        .contains("summary", filter.search.as_deref())
        .below("occurred_at, host_id, seq", page.after.as_ref().map(place).transpose()?);
    let limit = page.bounded_limit() + 1;
    let select = "SELECT body, occurred_at, host_id, seq FROM audit_events";
    Ok(restriction.query(select, "occurred_at DESC, host_id DESC, seq DESC", limit))
}

/// Follows a part of the chain, and compares every record with the columns that the filters use.
/// The answer is the number of the last record.
pub(super) fn follow(verifier: &mut Verifier, rows: &[Row]) -> Result<Option<i64>, Fault> {
    let mut last = None;
    for row in rows {
        let seq: i64 = row.try_get(0)?;
        let body: String = row.try_get(1)?;
        let hash: String = row.try_get(2)?;
        // A hash that is no digest is a change like any other.
        let hash = Digest::try_from(hash).unwrap_or(Digest::zero());
        let unsigned = super::rows::number(seq)?;
        let record = verifier.next(&Link { seq: unsigned, body: body.into_bytes(), hash });
        if let Some(record) = record
            && Columns::of(&record.event) != Columns::read(row)?
        {
            verifier.report(ChainBreak::Contradiction { seq: unsigned, part: "index column" });
        }
        last = Some(seq);
    }
    Ok(last)
}
