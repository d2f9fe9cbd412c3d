//! Carries a whole store from one place to another: into an archive, out of it, between databases.
//! Owns what is carried, in one form for both dialects. Face: `Parts`, `Header`, `Landed`, `archive`,
//! `moved`, `move_to_postgres`. Never carries a key, and never changes what it reads.

pub mod archive;
mod error;
pub mod moved;
mod offline;

use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Scope;
use crate::base::ids::{EventId, HostId};
use crate::base::limits::{TRANSFER_BATCH_BYTES, TRANSFER_BATCH_ROWS_MAX, TRANSFER_PARTS_MAX};
use crate::base::{Ambient, Digest, Timestamp};
use crate::domain::audit::{
    Actor, ActorType, AuditEvent, EventContext, EventType, Outcome, Target,
};
use crate::domain::redaction::SafeText;

pub use error::TransferError;
pub use offline::{Moved, adopt_host, move_to_postgres, read_postgres, read_sqlite};

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number, a time, a yes or no.
    Integer(i64),
    /// An id, a name, canonical JSON.
    Text(String),
    /// A sealed piece.
    Bytes(Vec<u8>),
}

/// The values of a row, in the order of its table's columns.
pub type Row = Vec<Value>;

/// Says what is carried, before it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The form of the records: a number of `FORMS`.
    pub form: u32,
    /// The version of the agent that wrote it.
    pub written_by: String,
    /// `sqlite` or `postgres`.
    pub database: String,
    /// The moment whose records these are.
    pub taken_at: Timestamp,
    /// The hosts whose agents use the database.
    pub hosts: Vec<HostMark>,
}

/// A host, and what recognises the key that its content is sealed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMark {
    /// The host.
    pub host_id: HostId,
    /// The fingerprint of its key.
    pub key_fingerprint: String,
}

/// A table, as its rows are carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableHead {
    /// The table.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
}

/// What follows each other: the header, each table with its rows, the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Comes first.
    Header(Header),
    /// The rows that follow are of this table.
    Table(TableHead),
    /// Some of its rows.
    Rows(Vec<Row>),
    /// So many rows the table has.
    TableEnd(u64),
    /// All has come, and this is the digest of it as it is written into an archive.
    End(Digest),
}

/// A store on its way. Without a last `Part::End`, it broke off.
pub type Parts = BoxStream<'static, Result<Part, TransferError>>;

/// Hears how far it is.
pub type Progress = Arc<dyn Fn(&str, u64) + Send + Sync>;

/// A form of the records, and the forms of the dialects that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Its number.
    pub number: u32,
    /// The migration that brought SQLite to it.
    pub sqlite: u32,
    /// The migration that brought PostgreSQL to it.
    pub postgres: u32,
}

/// All forms, first first. Whoever adds a migration adds a line; a test sees to it.
pub const FORMS: &[Form] = &[
    Form { number: 1, sqlite: 7, postgres: 1 },
    Form { number: 2, sqlite: 8, postgres: 2 },
    Form { number: 3, sqlite: 9, postgres: 3 },
    Form { number: 4, sqlite: 10, postgres: 4 },
    Form { number: 5, sqlite: 11, postgres: 5 },
    Form { number: 6, sqlite: 12, postgres: 6 },
    Form { number: 7, sqlite: 13, postgres: 7 },
    Form { number: 8, sqlite: 14, postgres: 8 },
];

/// The form that this program writes.
pub const NEWEST: Form = FORMS[FORMS.len() - 1];

/// How a table is carried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The columns that order its rows.
    pub(super) key: &'static str,
    /// In SQLite it has no column `host_id`: all of it is of the one host.
    pub(super) is_of_host: bool,
}

const fn shared(name: &'static str, key: &'static str) -> Table {
    Table { name, key, is_of_host: false }
}

const fn of_host(name: &'static str, key: &'static str) -> Table {
    Table { name, key, is_of_host: true }
}

/// All tables but the ledger of migrations, so that what is referred to comes first. A test compares
/// them with the schemas.
pub(super) const TABLES: &[Table] = &[
    shared("workspaces", "id"),
    shared("tenants", "id"),
    shared("users", "id"),
    shared("memberships", "workspace_id, user_id"),
    shared(HOSTS, "id"),
    shared("runs", "id"),
    shared("run_attempts", "run_id, number"),
    shared("run_steps", "run_id, attempt, step_index"),
    shared("locks", "scope, subject"),
    of_host("audit_keys", "key_id"),
    of_host("audit_tombstones", "from_seq"),
    of_host(AUDIT_EVENTS, "seq"),
    of_host("audit_checkpoints", "seq"),
    of_host("audit_anchors", "place"),
    of_host("audit_erasures", "user_id"),
    of_host("revisions", "id"),
    shared("revision_chunks", "revision_id, number"),
    of_host("projects", "workspace_id, name"),
    of_host("adoptions", "workspace_id, project, service, number"),
    of_host("container_exits", "workspace_id, project, service, number"),
    of_host("doomed_volumes", "workspace_id, project, name"),
    shared("run_jobs", "run_id, key"),
    shared("queue_controls", "workspace_id, scope"),
    shared("hosted_types", "workspace_id, name"),
    shared("agents", "instance"),
    shared("schedules", "id"),
    of_host("alert_receivers", "id"),
    shared("alert_rules", "id"),
    shared("alert_rule_receivers", "rule_id, position"),
    shared("alert_deliveries", "id"),
    shared("findings", "id"),
    shared("finding_exceptions", "id"),
    shared("policy_standings", "tenant_id, policy, subject"),
    shared("entitlements", "workspace_id, user_id, tenant_id"),
    shared("roles", "workspace_id, name"),
    shared("access_tokens", "id"),
    shared("access_certificates", "id"),
    shared("elevations", "id"),
    of_host("registry_logins", "workspace_id, registry"),
    of_host("enforcement", "workspace_id, kind, key"),
    of_host("image_scans", "workspace_id, image_id"),
];

const AUDIT_EVENTS: &str = "audit_events";

/// How many records of audit logs came.
pub(super) fn audit_records(tables: &[(String, u64)]) -> u64 {
    tables.iter().filter(|(name, _)| name == AUDIT_EVENTS).map(|(_, rows)| rows).sum()
}

/// The table of hosts. SQLite calls it `host`: it has one. Where a writer of PostgreSQL stands
/// (`batch`) is not carried.
pub(super) const HOSTS: &str = "hosts";

/// What is carried of a host.
pub(super) const HOST_COLUMNS: &[&str] =
    &["id", "workspace_id", "tenant_id", "owner_id", "key_fingerprint"];

/// The table with this name.
pub(super) fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

/// The form with this number.
///
/// # Errors
/// When a newer program made it.
pub(super) fn form(number: u32) -> Result<Form, TransferError> {
    let known = FORMS.iter().find(|form| form.number == number).copied();
    known.ok_or(TransferError::Newer { found: number, known: NEWEST.number })
}

/// Collects rows until there are enough of them to be sent.
#[derive(Default)]
pub(super) struct Batch {
    rows: Vec<Row>,
    bytes: usize,
}

impl Batch {
    /// Adds a row; the answer is a full batch.
    pub(super) fn add(&mut self, row: Row) -> Option<Vec<Row>> {
        self.bytes += row.iter().map(size).sum::<usize>();
        self.rows.push(row);
        let is_full =
            self.bytes >= TRANSFER_BATCH_BYTES || self.rows.len() >= TRANSFER_BATCH_ROWS_MAX;
        if is_full { self.take() } else { None }
    }

    /// What is left.
    pub(super) fn take(&mut self) -> Option<Vec<Row>> {
        self.bytes = 0;
        (!self.rows.is_empty()).then(|| std::mem::take(&mut self.rows))
    }
}

/// Bytes of a value in an archive.
fn size(value: &Value) -> usize {
    match value {
        Value::Null => 1,
        Value::Integer(_) => 9,
        Value::Text(text) => 5 + text.len(),
        Value::Bytes(bytes) => 5 + bytes.len(),
    }
}

/// Where a source puts its parts.
pub(super) type Outlet = mpsc::Sender<Result<Part, TransferError>>;

/// The parts that `work` sends. It is driven by whoever reads them, and ends with him.
pub(super) fn driven<W, F>(work: W) -> Parts
where
    W: FnOnce(Outlet) -> F,
    F: Future<Output = Result<(), TransferError>> + Send + 'static,
{
    let (outlet, mut inlet) = mpsc::channel(TRANSFER_PARTS_MAX);
    let work = work(outlet);
    let failure = stream::once(work).filter_map(|done| async { done.err().map(Err) });
    let parts = stream::poll_fn(move |context| inlet.poll_recv(context));
    stream::select(parts, failure).boxed()
}

/// The parts that `work` sends from a thread that may wait for a disk.
pub(super) fn from_thread<W>(work: W) -> Parts
where
    W: FnOnce(&Outlet) -> Result<(), TransferError> + Send + 'static,
{
    driven(|outlet| async move {
        #[expect(clippy::disallowed_methods, reason = "the disk is waited for on a thread")]
        let done = tokio::task::spawn_blocking(move || work(&outlet)).await;
        done.map_err(|_| TransferError::BrokenOff)?
    })
}

/// Sends a part from a thread. Nobody listening is the end of the work.
pub(super) fn send(outlet: &Outlet, part: Part) -> Result<(), TransferError> {
    outlet.blocking_send(Ok(part)).map_err(|_| TransferError::BrokenOff)
}

/// What arrived at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Landed {
    /// The rows of each table.
    pub tables: Vec<(String, u64)>,
    /// The digest of all that was carried.
    pub digest: Digest,
    /// Records of the audit logs that came, all hosts together.
    pub audit_records: u64,
    /// What is wrong with them; empty when they are whole.
    pub audit_breaks: Vec<String>,
    /// Where the database is now that was in force before.
    pub set_aside: Option<String>,
}

impl Landed {
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, rows)| rows).sum()
    }
}

/// Why a store was carried, for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A backup is put in the place of the database.
    Restore,
    /// The database moves to another server.
    Move,
}

/// The event that tells of it, in the log that goes on in the new place.
pub(super) fn event(
    reason: Reason,
    header: &Header,
    digest: Digest,
    (scope, ambient, os_user, place): (&Scope, &Ambient, &str, &str),
) -> AuditEvent {
    let (event_type, what) = match reason {
        Reason::Restore => (EventType::StoreRestored, "restored from a backup that was taken"),
        Reason::Move => (EventType::StoreMoved, "moved here from another one that was read"),
    };
    let summary = format!(
        "The database was {what} at {} ({}, wharf {}, SHA-256 {digest})",
        header.taken_at, header.database, header.written_by
    );
    AuditEvent {
        id: EventId::generate(&*ambient.clock, &*ambient.entropy),
        workspace_id: scope.workspace_id,
        tenant_id: None,
        event_type,
        summary: SafeText::new(summary),
        outcome: Outcome::Success,
        actor: Actor {
            actor_type: ActorType::Platform,
            actor_id: None,
            actor_label: os_user.to_owned(),
            actor_email: None,
        },
        target: Some(Target {
            target_type: "store".to_owned(),
            target_id: place.to_owned(),
            target_label: "database".to_owned(),
            workspace_id: scope.workspace_id,
            tenant_id: None,
        }),
        operation_run_id: None,
        context: EventContext::default(),
        occurred_at: ambient.now(),
    }
}

/// The mark of this host, when what is carried is its own and the key at hand opens it.
///
/// # Errors
/// When it is of other hosts, or was sealed with another key.
pub(super) fn check_host(
    header: &Header,
    host_id: HostId,
    fingerprint: Digest,
) -> Result<(), TransferError> {
    let Some(mark) = header.hosts.iter().find(|mark| mark.host_id == host_id) else {
        let theirs = header.hosts.iter().map(|mark| mark.host_id).collect();
        return Err(TransferError::OtherHost { ours: host_id, theirs });
    };
    if mark.key_fingerprint != fingerprint.to_string() {
        return Err(TransferError::OtherKey { host_id });
    }
    Ok(())
}
