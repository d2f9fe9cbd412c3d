//! Keeps the store in one SQLite file, `<state_dir>/wharf.db`. Owns its connections, the lock that
//! lets one agent run, and the writer. Face: `open`, `restore`. Never writes outside its one writer, which
//! commits durably (WAL, `synchronous=FULL`) and in groups.

mod access;
mod alerts;
mod apply;
mod audit;
mod audit_keeping;
mod claims;
mod damage;
mod deliveries;
mod enforcement;
mod export;
mod fault;
mod finding_reads;
mod findings;
mod flush;
mod import;
mod job_reads;
mod load;
mod migrations;
mod projects;
mod queue;
mod registries;
mod rows;
mod run_reads;
mod runs;
mod scans;
mod schedules;
mod serve;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, mpsc};

use self::fault::{Fault, classify};
use self::writer::{Order, Writer};
use super::keys::Keys;
use super::transfer::moved;
use super::{CommitObserver, Cursor, Migrated, Page, Scope, StoreError, host};
use crate::base::Ambient;
use crate::base::limits::{
    STORE_CHECKED_BYTES_MAX, STORE_CHECKPOINT_PAGES, STORE_LOCK_TIMEOUT, STORE_QUEUE_MAX,
    STORE_READERS_MAX, STORE_WRITER_CACHE_KIB,
};

pub use export::prove_file;
pub use import::restore;

#[cfg(test)]
pub(super) use migrations::NEWEST as NEWEST_FORM;

pub(super) use export::{Reading, export, inspect};

/// What a store needs to open.
#[derive(Clone)]
pub struct Opening<'a> {
    /// Where the agent keeps its files; created when missing.
    pub state_dir: &'a Path,
    /// The host's key.
    pub keys: &'a Keys,
    /// Time, randomness and crash points.
    pub ambient: &'a Ambient,
    /// Who runs the agent: the owner of a new database.
    pub os_user: &'a str,
    /// The machine: the tenant of a new database.
    pub hostname: &'a str,
    /// The version of the agent, for the ledger of migrations.
    pub agent_version: &'a str,
    /// Where statements run.
    pub mode: Mode,
    /// Hears how many writes each durable commit held; none when nobody counts.
    pub on_commit: Option<CommitObserver>,
}

/// Where statements run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Writes on a thread of their own, reads on tokio's blocking threads: for the daemon.
    Threaded,
    /// Both on the caller, one after the other: for a simulation that must repeat exactly.
    Inline,
}

/// An open store, and what happened to the database on the way.
pub struct Opened {
    /// The store.
    pub store: Arc<SqliteStore>,
    /// Whether the database was created or upgraded; the audit log says it too.
    pub migrated: Migrated,
}

/// The store on SQLite. Dropping it without `close` loses nothing that was answered.
pub struct SqliteStore {
    path: PathBuf,
    /// The file that was opened, so that another one under its name is noticed.
    file: (u64, u64),
    keys: Keys,
    ambient: Ambient,
    scope: Scope,
    engine: Engine,
    /// What is damaged, once that was found: from then on nothing is written.
    damage: Arc<OnceLock<String>>,
    /// Held as long as the store lives.
    _agent_lock: File,
}

enum Engine {
    Threaded {
        jobs: Mutex<Option<mpsc::Sender<Order>>>,
        thread: Mutex<Option<std::thread::JoinHandle<()>>>,
        readers: Arc<Readers>,
    },
    Inline(Mutex<Option<Writer>>),
}

/// Idle reading connections, and how many there may be.
struct Readers {
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
}

/// Opens the store, creating or upgrading the database.
///
/// # Errors
/// When another agent runs on the same directory, the database is newer than this program,
/// damaged, not writable, or sealed with another key.
pub fn open(opening: Opening<'_>) -> Result<Opened, StoreError> {
    let agent_lock = host::lock(opening.state_dir)?;
    if let Some(mark) = moved::find(opening.state_dir)? {
        return Err(StoreError::Moved {
            path: mark.path,
            place: mark.place,
            is_done: mark.is_done,
        });
    }
    let path = opening.state_dir.join("wharf.db");
    create_private(&path)?;
    damage::check_files(&path)?;
    let mut connection = connect(&path)?;
    let is_checked = check_small(&connection, &path)?;
    keep_journal(&connection, false).map_err(|error| classify(&error, &path, "be opened"))?;
    let file = identity(&path).map_err(|error| StoreError::file("look at", &path, error))?;
    let host_id = host::open_or_create(opening.state_dir, opening.ambient)?;
    let migrated = migrations::migrate(&mut connection, &path, &opening, host_id)?;
    match &migrated {
        Migrated::Created if !opening.keys.created() => tracing::warn!(
            path = %path.display(),
            "the database is gone: started with an empty one"
        ),
        Migrated::Nothing => {}
        migrated => tracing::info!(path = %path.display(), ?migrated, "database migrated"),
    }
    let told = |fault: Fault| fault.into_store(&path, "tell whose it is");
    if !migrations::key_fits(&connection, opening.keys.fingerprint()).map_err(told)? {
        return Err(StoreError::WrongKey { path: opening.keys.path().to_owned() });
    }
    let scope = migrations::read_scope(&connection, host_id).map_err(told)?;
    let crash_points = Arc::clone(&opening.ambient.crash_points);
    let cache = load::Cache::default();
    let on_commit = opening.on_commit.clone();
    let writer = Writer { connection, path: path.clone(), crash_points, cache, on_commit };
    let engine = match opening.mode {
        Mode::Inline => Engine::Inline(Mutex::new(Some(writer))),
        Mode::Threaded => threaded(writer)?,
    };
    let damage = Arc::new(OnceLock::new());
    if !is_checked && opening.mode == Mode::Threaded {
        check_meanwhile(&path, &damage)?;
    }
    let store = Arc::new(SqliteStore {
        path,
        file,
        keys: opening.keys.clone(),
        ambient: opening.ambient.clone(),
        scope,
        engine,
        damage,
        _agent_lock: agent_lock,
    });
    Ok(Opened { store, migrated })
}

/// Looks at the pages of a small database before anything is written. Whether it did: a large one
/// would keep the agent from starting.
fn check_small(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let size = std::fs::metadata(path).map_err(|error| StoreError::file("look at", path, error))?;
    if size.len() > STORE_CHECKED_BYTES_MAX {
        return Ok(false);
    }
    damage::check_pages(connection).map_err(|error| classify(&error, path, "be checked"))?;
    Ok(true)
}

/// Looks at the pages of a large database while it is in use already.
fn check_meanwhile(path: &Path, damage: &Arc<OnceLock<String>>) -> Result<(), StoreError> {
    let (own, damage) = (path.to_owned(), Arc::clone(damage));
    let check = move || {
        let checked = connect_reader(&own).and_then(|connection| damage::check_pages(&connection));
        let Err(error) = checked else { return };
        let error = classify(&error, &own, "be checked");
        let said = crate::base::chain(&error);
        tracing::error!(error = said, hint = error.hint(), "nothing more is written");
        if let StoreError::Corrupt { source, .. } = error {
            let _ = damage.set(source.to_string());
        }
    };
    let thread = std::thread::Builder::new().name("store-check".to_owned()).spawn(check);
    let failed = |source| StoreError::File { act: "check", path: path.to_owned(), source };
    thread.map(drop).map_err(failed)
}

fn threaded(writer: Writer) -> Result<Engine, StoreError> {
    let path = writer.path().to_owned();
    let (sender, receiver) = mpsc::channel(STORE_QUEUE_MAX);
    let thread = std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || writer.serve(receiver))
        .map_err(|source| StoreError::File { act: "start the writer of", path, source })?;
    Ok(Engine::Threaded {
        jobs: Mutex::new(Some(sender)),
        thread: Mutex::new(Some(thread)),
        readers: Arc::new(Readers {
            idle: Mutex::default(),
            free: Semaphore::new(STORE_READERS_MAX),
        }),
    })
}

/// Tells one file from another that takes its name: device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Opens the writing connection.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connect = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags())?;
        // A damaged database stays as it is.
        keep_journal(&connection, true)?;
        prepare(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // Without it, INSERT OR REPLACE deletes without asking the triggers of the audit log.
        connection.pragma_update(None, "recursive_triggers", true)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        // The pages that a batch of callers changes stay here until its commit.
        connection.pragma_update(None, "cache_size", -STORE_WRITER_CACHE_KIB)?;
        // What a savepoint may have to take back, too: it would be a file of its own.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "wal_autocheckpoint", STORE_CHECKPOINT_PAGES)?;
        Ok(connection)
    };
    connect().map_err(|error| classify(&error, path, "be opened"))
}

/// Whether the last connection leaves the journal as it is when it closes, rather than to bring it
/// into the database.
fn keep_journal(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

/// Creates the file, if it is not there, so that only its owner can read it; SQLite gives its
/// journal the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::file("create", path, error)),
    }
}

/// Opens a connection that can only read.
fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags())?;
    prepare(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(STORE_LOCK_TIMEOUT)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // In KiB when negative: the agent's memory stays small.
    connection.pragma_update(None, "cache_size", -1024)?;
    // Without it, a statement with a bound LIMIT is compiled anew whenever it is used.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// Makes a page of what was read: one item more than the page holds means that there are more.
fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    Page { items, next }
}
