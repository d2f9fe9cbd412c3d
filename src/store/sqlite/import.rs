//! Puts a backup in the place of the database. Owns the draft beside it, and the one rename that
//! brings it into force. Face: `restore`. Never overwrites the old database, which stays in force
//! until the new one is whole and on the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params_from_iter};

use super::export::{columns, name_here};
use super::fault::Fault;
use super::{Opening, StoreError, audit, classify, create_private, flags, migrations};
use crate::base::Digest;
use crate::base::ids::HostId;
use crate::domain::audit::log::Proof;
use crate::store::host;
use crate::store::transfer::{
    self, Form, HOSTS, Header, Landed, Part, Parts, Progress, Reason, Row, TransferError, Value,
    moved,
};

/// Makes a database of the parts and brings it into force.
///
/// # Errors
/// When an agent works on the state directory, the parts do not come to their end, belong to another
/// host, or cannot be written. The old database is in force then.
pub async fn restore(
    opening: &Opening<'_>,
    mut parts: Parts,
    progress: &Progress,
) -> Result<Landed, TransferError> {
    let _agent_lock = host::lock(opening.state_dir)?;
    let path = opening.state_dir.join("wharf.db");
    let draft = opening.state_dir.join("wharf.db.restoring");
    let Some(Part::Header(header)) = parts.next().await.transpose()? else {
        return Err(TransferError::BrokenOff);
    };
    let form = transfer::form(header.form)?;
    let host_id = host_of(opening, &header)?;
    remove(&draft)?;
    let mut connection = create(&draft)?;
    let loaded = async {
        migrations::create(&mut connection, form.sqlite, opening)?;
        load(&mut connection, &mut parts, progress).await
    };
    let loaded = loaded.await.map_err(|fault| told(fault, &draft))?;
    let mut landed = finish(&mut connection, &draft, opening, (&header, host_id, form), loaded)?;
    connection.close().map_err(|(_, error)| classify(&error, &draft, "be closed"))?;
    let failed = |error| StoreError::file("write", &draft, error);
    File::open(&draft).and_then(|file| file.sync_all()).map_err(failed)?;
    opening.ambient.crash_points.reached("store.restore.written");
    host::keep(opening.state_dir, host_id)?;
    landed.set_aside = set_aside(opening, &path)?.map(|aside| aside.display().to_string());
    opening.ambient.crash_points.reached("store.restore.set_aside");
    let place = || -> io::Result<()> {
        fs::rename(&draft, &path)?;
        File::open(opening.state_dir)?.sync_all()
    };
    place().map_err(|error| StoreError::file("replace", &path, error))?;
    opening.ambient.crash_points.reached("store.restore.in_force");
    moved::clear(opening.state_dir)?;
    Ok(landed)
}

/// The host whose records these are, when it is this one. A state directory without an id takes the
/// one that belongs to its key.
fn host_of(opening: &Opening<'_>, header: &Header) -> Result<HostId, TransferError> {
    if header.hosts.len() != 1 {
        return Err(TransferError::ManyHosts(header.hosts.len()));
    }
    let host_id = match host::find(opening.state_dir)? {
        Some(host_id) => host_id,
        None => header.hosts[0].host_id,
    };
    transfer::check_host(header, host_id, opening.keys.fingerprint())?;
    Ok(host_id)
}

fn told(fault: Failure, path: &Path) -> TransferError {
    match fault {
        Failure::Transfer(error) => error,
        Failure::Fault(fault) => fault.into_store(path, "take the records").into(),
    }
}

/// What went wrong: with what came, or with the database.
enum Failure {
    Transfer(TransferError),
    Fault(Fault),
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(error.into())
    }
}

/// A database that is thrown away unless it becomes whole: it needs no journal.
fn create(draft: &Path) -> Result<Connection, TransferError> {
    create_private(draft)?;
    let connect = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(draft, flags())?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "journal_mode", "MEMORY")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.pragma_update(None, "recursive_triggers", true)?;
        Ok(connection)
    };
    connect().map_err(|error| classify(&error, draft, "be opened").into())
}

/// Takes all rows, in one transaction.
async fn load(
    connection: &mut Connection,
    parts: &mut Parts,
    progress: &Progress,
) -> Result<(Vec<(String, u64)>, Digest), Failure> {
    let transaction = connection.transaction()?;
    let mut tables: Vec<(String, u64)> = Vec::new();
    let mut sql = String::new();
    let mut is_first_left_out = false;
    loop {
        match parts.next().await.transpose()?.ok_or(TransferError::BrokenOff)? {
            Part::Table(head) => {
                let table = transfer::table(&head.name);
                let table = table.ok_or_else(|| unfit(&head.name, "there is no such table"))?;
                // What SQLite does not keep with each row comes first.
                is_first_left_out = table.is_of_host;
                let skipped = usize::from(is_first_left_out);
                let wanted: Vec<&str> =
                    head.columns.iter().skip(skipped).map(String::as_str).collect();
                check_columns(&transaction, &head.name, &wanted)?;
                sql = format!(
                    "INSERT INTO {} (\"{}\") VALUES ({})",
                    name_here(&head.name),
                    wanted.join("\", \""),
                    vec!["?"; wanted.len()].join(", ")
                );
                tables.push((head.name, 0));
            }
            Part::Rows(rows) => {
                let Some((name, count)) = tables.last_mut() else {
                    return Err(TransferError::BrokenOff.into());
                };
                insert(&transaction, &sql, name, &rows, is_first_left_out)?;
                *count += rows.len() as u64;
                progress(name, *count);
            }
            Part::TableEnd(_) | Part::Header(_) => {}
            Part::End(digest) => {
                migrations::check_references(&transaction)?;
                transaction.commit()?;
                return Ok((tables, digest));
            }
        }
    }
}

fn check_columns(connection: &Connection, table: &str, wanted: &[&str]) -> Result<(), Failure> {
    let mut here = columns(connection, table)?;
    let mut wanted: Vec<&str> = wanted.to_vec();
    here.sort_unstable();
    wanted.sort_unstable();
    match here == wanted {
        true => Ok(()),
        false => Err(unfit(table, "its columns are others").into()),
    }
}

fn insert(
    connection: &Connection,
    sql: &str,
    table: &str,
    rows: &[Row],
    is_first_left_out: bool,
) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    for row in rows {
        // The one host has the number 1 here; its id stands in a file.
        let number = Value::Integer(1);
        let first = match (table, is_first_left_out) {
            (HOSTS, _) => Some(&number),
            (_, true) => None,
            (_, false) => row.first(),
        };
        let values = first.into_iter().chain(row.iter().skip(1));
        statement.execute(params_from_iter(values))?;
    }
    Ok(())
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        use rusqlite::types::ValueRef;
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn unfit(table: &str, reason: &str) -> TransferError {
    TransferError::Unfit { table: table.to_owned(), reason: reason.to_owned() }
}

/// Brings what was loaded forward, proves its audit log, and writes down what happened.
fn finish(
    connection: &mut Connection,
    draft: &Path,
    opening: &Opening<'_>,
    (header, host_id, form): (&Header, HostId, Form),
    (tables, digest): (Vec<(String, u64)>, Digest),
) -> Result<Landed, TransferError> {
    let failed = |fault: Fault| fault.into_store(draft, "take the records");
    if form.sqlite != transfer::NEWEST.sqlite {
        migrations::migrate(connection, draft, opening, host_id)?;
    }
    let proof = Proof::new(host_id, [opening.keys.audit().public()], Vec::new());
    let verdict = audit::verify(connection, proof).map_err(failed)?.finish();
    let mut append = || -> Result<(), Fault> {
        let transaction = connection.transaction()?;
        let scope = migrations::read_scope(&transaction, host_id)?;
        let about = (&scope, opening.ambient, opening.os_user, "sqlite");
        let event = transfer::event(Reason::Restore, header, digest, about);
        audit::append(&transaction, &[event], opening.ambient)?;
        Ok(transaction.commit()?)
    };
    append().map_err(failed)?;
    Ok(Landed {
        audit_records: transfer::audit_records(&tables),
        tables,
        digest,
        audit_breaks: verdict.breaks.iter().map(ToString::to_string).collect(),
        set_aside: None,
    })
}

/// Gives the old database a second name, under which it stays. All of it is in its one file then,
/// unless it is damaged: then its log goes along.
fn set_aside(opening: &Opening<'_>, path: &Path) -> Result<Option<PathBuf>, TransferError> {
    if !path.exists() {
        remove_beside(path, "-wal")?;
        remove_beside(path, "-shm")?;
        return Ok(None);
    }
    if let Ok(old) = Connection::open_with_flags(path, flags()) {
        // Of a damaged one, whatever can be is kept.
        let _ = old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    let at = opening.ambient.now().strftime("%Y%m%dT%H%M%S%.6fZ").to_string();
    let aside = opening.state_dir.join(format!("wharf.db.before-{at}"));
    let log = beside(path, "-wal");
    let link = || -> io::Result<()> {
        fs::hard_link(path, &aside)?;
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            fs::hard_link(&log, beside(&aside, "-wal"))?;
        }
        File::open(opening.state_dir)?.sync_all()
    };
    link().map_err(|error| StoreError::file("set aside", path, error))?;
    // The log of one database must never meet another one.
    remove(&log)?;
    remove_beside(path, "-shm")?;
    Ok(Some(aside))
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn remove_beside(path: &Path, end: &str) -> Result<(), TransferError> {
    remove(&beside(path, end))
}

fn remove(path: &Path) -> Result<(), TransferError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::file("remove", path, error).into())
        }
        _ => Ok(()),
    }
}
