//! Appends to the audit log, lists it and proves it. Owns the table `audit_events`. Face:
//! `Entries`, `query`. Never updates or deletes; triggers refuse it too.

use tokio_postgres::Row;

use super::fault::Fault;
use super::flush::{Calls, Owned};
use super::rows::{optional_parsed, parsed, signed, unsigned};
use super::statements::Sql;
use crate::base::ids::HostId;
use crate::base::{Ambient, Digest};
use crate::domain::audit::chain::link;
use crate::domain::audit::person::{self, Personal};
use crate::domain::audit::{AuditEvent, AuditRecord};
use crate::store::audit_columns::AuditColumns;
use crate::store::filter::{Bound, Marks};
use crate::store::query::AuditOption;
use crate::store::{AuditFilter, Cursor, PageRequest, StoreError, lists};

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
    personal: Vec<Option<String>>,
}

impl Entries {
    /// Adds the event that follows `head`; the answer is the new end of the chain.
    pub(super) fn add(
        &mut self,
        head: Head,
        event: &AuditEvent,
        ambient: &Ambient,
    ) -> Result<Head, Fault> {
        let (seq, recorded_at) = (head.seq + 1, ambient.now());
        let record = AuditRecord { seq, recorded_at, event: event.clone() };
        let salt = || {
            let mut salt = person::Salt::default();
            ambient.entropy.fill(&mut salt);
            salt
        };
        let told = |error| Fault::unreadable("audit event", crate::base::chain(&error));
        let parts = person::split(&record, salt).map_err(told)?;
        let personal = parts.personal.to_text().map_err(told)?;
        let link = link(head.hash, seq, parts.body);
        let body = String::from_utf8(link.body)
            .map_err(|error| Fault::unreadable("audit event", error))?;
        let columns = AuditColumns::with(event, &parts.summary);
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
        self.personal.push(personal);
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
            Box::new(self.personal),
        ];
        calls.add(Sql::InsertAudit, values);
    }
}

/// Reads what the filters look at from the columns after the first four of `Sql::AuditChain`.
pub(super) fn read_columns(row: &Row) -> Result<AuditColumns, Fault> {
    Ok(AuditColumns {
        id: row.try_get(4)?,
        workspace_id: row.try_get(5)?,
        tenant_id: row.try_get(6)?,
        event_type: row.try_get(7)?,
        outcome: row.try_get(8)?,
        actor_type: row.try_get(9)?,
        actor_label: row.try_get(10)?,
        target_type: row.try_get(11)?,
        target_id: row.try_get(12)?,
        operation_run_id: row.try_get(13)?,
        summary: row.try_get(14)?,
        occurred_at: row.try_get(15)?,
    })
}

/// Reads a record from its body and what stands beside it.
pub(super) fn record(row: &Row) -> Result<AuditRecord, Fault> {
    let told = |error: serde_json::Error| Fault::unreadable("audit event", error);
    let personal = Personal::from_text(row.try_get(1)?).map_err(told)?;
    let body: &str = row.try_get(0)?;
    Ok(person::join(body.as_bytes(), &personal).map_err(told)?.0)
}

/// A record of a list, with its place in it.
pub(super) fn listed(row: &Row) -> Result<(AuditRecord, Cursor), Fault> {
    let (at, host, seq): (i64, &str, i64) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
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

/// Records that are alike in all that one can filter by.
pub(super) fn option(row: &Row) -> Result<AuditOption, Fault> {
    Ok(AuditOption {
        event_type: parsed(row, 0, "audit event type")?,
        outcome: parsed(row, 1, "audit outcome")?,
        actor_type: parsed(row, 2, "actor type")?,
        actor_label: row.try_get(3)?,
        target_type: row.try_get(4)?,
        tenant_id: optional_parsed(row, 5, "tenant id")?,
        records: unsigned(row, 6)?,
    })
}

/// The query for what the newest records that pass the filter can be filtered by.
pub(super) fn options_query(filter: &AuditFilter) -> (String, Vec<Bound>) {
    lists::audit_options(Marks::Dollar, filter, ORDER)
}

/// The records of several hosts are listed by when they happened.
const ORDER: &str = "occurred_at DESC, host_id DESC, seq DESC";

/// The query of a list.
pub(super) fn query(
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<(String, Vec<Bound>), StoreError> {
    let restriction = lists::audit(Marks::Dollar, filter)
        .below("occurred_at, host_id, seq", page.after.as_ref().map(place).transpose()?);
    let limit = page.bounded_limit() + 1;
    let select = "SELECT body, personal, occurred_at, host_id, seq FROM audit_events";
    Ok(restriction.query(select, ORDER, limit))
}
