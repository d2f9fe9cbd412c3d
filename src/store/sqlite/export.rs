//! Reads the whole database for a backup or a move. Owns the snapshot: one reading transaction, which
//! neither waits for the writer nor makes it wait. Face: `export`, `inspect`. Never changes anything.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::fault::{Fault, classify};
use super::{audit, audit_keeping, connect_reader, migrations};
use crate::base::Timestamp;
use crate::base::ids::HostId;
use crate::domain::audit::log::Proof;
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::{Checkpoint, VerifyingKey};
use crate::store::transfer::{
    Batch, HOST_COLUMNS, HOSTS, Header, HostMark, NEWEST, Outlet, Part, Parts, Row, TABLES, Table,
    TableHead, TransferError, Value, archive, from_thread, send,
};

/// Whose database is read, and by whom.
#[derive(Debug, Clone)]
pub(in crate::store) struct Reading {
    /// The database.
    pub(in crate::store) path: PathBuf,
    /// The host whose it is.
    pub(in crate::store) host_id: HostId,
    /// The version of the agent, for the header.
    pub(in crate::store) agent_version: String,
    /// Now.
    pub(in crate::store) taken_at: Timestamp,
}

/// All records as they are at one moment.
pub(in crate::store) fn export(reading: Reading) -> Parts {
    from_thread(move |outlet| {
        let connection = open(&reading.path)?;
        read_all(&connection, &reading, outlet)
    })
}

/// Proves the audit log of a database that no agent works on.
pub(in crate::store) fn inspect(
    path: &Path,
    host: HostId,
    key: VerifyingKey,
) -> Result<Verdict, TransferError> {
    let connection = open(path)?;
    let proof = Proof::new(host, [key], Vec::new());
    let proof = audit::verify(&connection, proof).map_err(|fault| failed(fault, path))?;
    Ok(proof.finish())
}

/// Proves the audit log in a copy of a database, beside checkpoints that left the host. Without keys
/// of the reader's own, those that the log names itself are believed.
///
/// # Errors
/// When the file cannot be read as a database of the newest form.
pub fn prove_file(
    path: &Path,
    keys: Option<Vec<VerifyingKey>>,
    anchors: Vec<Checkpoint>,
) -> Result<Verdict, TransferError> {
    let connection = open(path)?;
    let prove = || -> Result<Verdict, Fault> {
        let keys = match keys {
            Some(keys) => keys,
            None => audit_keeping::keys(&connection)?,
        };
        let outside = anchors.first().map(|anchor| anchor.sealed.host_id);
        // A log without any seal belongs to nobody in particular.
        let host = match outside {
            Some(host) => Some(host),
            None => audit_keeping::sealed_host(&connection)?,
        };
        let proof = Proof::new(host.unwrap_or(HostId::from_u128(0)), keys, anchors);
        Ok(audit::verify(&connection, proof)?.finish_sealed())
    };
    prove().map_err(|fault| failed(fault, path))
}

/// Begins to read: from here on nothing changes for this connection.
fn open(path: &Path) -> Result<Connection, TransferError> {
    if !path.exists() {
        return Err(TransferError::NoDatabase { path: path.to_owned() });
    }
    let told = |error: rusqlite::Error| classify(&error, path, "be opened");
    let connection = connect_reader(path).map_err(told)?;
    connection.execute_batch("BEGIN").map_err(told)?;
    match migrations::form(&connection, path).map_err(|fault| failed(fault, path))? {
        found if found == NEWEST.sqlite => Ok(connection),
        found if found > NEWEST.sqlite => {
            let known = NEWEST.sqlite;
            Err(super::StoreError::Newer { path: path.to_owned(), found, known }.into())
        }
        _ => Err(TransferError::OldForm { place: path.display().to_string() }),
    }
}

fn failed(fault: Fault, path: &Path) -> TransferError {
    fault.into_store(path, "be read").into()
}

fn read_all(
    connection: &Connection,
    reading: &Reading,
    outlet: &Outlet,
) -> Result<(), TransferError> {
    let mut encoder = archive::Encoder::default();
    let mut put = |part: Part| {
        encoder.encode(&part)?;
        send(outlet, part)
    };
    let told = |error: rusqlite::Error| failed(error.into(), &reading.path);
    let fingerprint = "SELECT key_fingerprint FROM host";
    let key_fingerprint = connection.query_row(fingerprint, [], |row| row.get(0)).map_err(told)?;
    put(Part::Header(Header {
        form: NEWEST.number,
        written_by: reading.agent_version.clone(),
        database: "sqlite".to_owned(),
        taken_at: reading.taken_at,
        hosts: vec![HostMark { host_id: reading.host_id, key_fingerprint }],
    }))?;
    for table in TABLES {
        read_table(connection, table, reading, &mut put)?;
    }
    let (_, digest) = encoder.end()?;
    send(outlet, Part::End(digest))
}

fn read_table(
    connection: &Connection,
    table: &Table,
    reading: &Reading,
    put: &mut impl FnMut(Part) -> Result<(), TransferError>,
) -> Result<(), TransferError> {
    let told = |error: rusqlite::Error| failed(error.into(), &reading.path);
    let own = columns(connection, table.name).map_err(told)?;
    let (first, read) = match (table.name, table.is_of_host) {
        (HOSTS, _) => (Some("id"), HOST_COLUMNS[1..].iter().map(ToString::to_string).collect()),
        (_, true) => (Some("host_id"), own),
        (_, false) => (None, own),
    };
    let all = first.map(str::to_owned).into_iter().chain(read.clone()).collect();
    put(Part::Table(TableHead { name: table.name.to_owned(), columns: all }))?;
    let order = if table.name == HOSTS { "id" } else { table.key };
    let name = name_here(table.name);
    let sql = format!("SELECT \"{}\" FROM {name} ORDER BY {order}", read.join("\", \""));
    let mut statement = connection.prepare(&sql).map_err(told)?;
    let mut rows = statement.query([]).map_err(told)?;
    let (mut batch, mut count) = (Batch::default(), 0);
    while let Some(row) = rows.next().map_err(told)? {
        let host = first.map(|_| Value::Text(reading.host_id.to_string()));
        let values = (0..read.len()).map(|column| value(row.get_ref(column)?));
        let values = values.collect::<Result<Row, Fault>>();
        let values = values.map_err(|fault| failed(fault, &reading.path))?;
        count += 1;
        if let Some(full) = batch.add(host.into_iter().chain(values).collect()) {
            put(Part::Rows(full))?;
        }
    }
    if let Some(rest) = batch.take() {
        put(Part::Rows(rest))?;
    }
    put(Part::TableEnd(count))
}

/// What a table is called in this dialect.
pub(super) fn name_here(table: &str) -> &str {
    if table == HOSTS { "host" } else { table }
}

/// The columns of a table, as they are here.
pub(super) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?) ORDER BY cid")?;
    let names = statement.query_map([name_here(table)], |row| row.get(0))?;
    names.collect()
}

fn value(value: ValueRef<'_>) -> Result<Value, Fault> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => {
            let text =
                std::str::from_utf8(text).map_err(|error| Fault::unreadable("text", error))?;
            Value::Text(text.to_owned())
        }
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(Fault::unreadable("number", "it has a fraction")),
    })
}
