//! Keeps the store in a PostgreSQL database that several agents share. Owns its connections and the
//! writer. Face: `open`, `restore`, `Server`. Never writes outside its one writer, and never keeps a key or an
//! unsealed file: those stay with the host.

mod access;
mod access_statements;
mod acts;
mod alerts;
mod audit;
mod audit_keeping;
mod audit_statements;
mod batch;
mod cache;
mod claims;
mod columns;
mod enforcement;
mod export;
mod fault;
mod finding_reads;
mod finding_statements;
mod findings;
mod flush;
mod import;
mod loads;
mod migrations;
mod news;
mod projects;
mod reader;
mod registries;
mod rows;
mod run_reads;
mod scans;
mod schedules;
mod serve;
mod server;
mod statements;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot, watch};

use self::fault::Fault;
use self::reader::Readers;
use self::writer::{Job, Link, Writer};
use super::keys::Keys;
use super::{CommitObserver, Migrated, Scope, StoreError, host};
use crate::base::Ambient;
use crate::base::ids::HostId;
use crate::base::limits::{STORE_QUEUE_MAX, STORE_TRANSACTION_TIMEOUT};

pub use import::restore;
pub use news::{News, Topic};
pub use server::{Host, Server};

pub(super) use export::export;
pub(super) use import::{arrived, receive};

/// What a store needs to open.
#[derive(Clone)]
pub struct Opening {
    /// Where the database is.
    pub server: Server,
    /// Connections that read it at once.
    pub readers_max: usize,
    /// Where the agent keeps its files; created when missing.
    pub state_dir: PathBuf,
    /// This host.
    pub host_id: HostId,
    /// The host's key.
    pub keys: Keys,
    /// Time, randomness and crash points.
    pub ambient: Ambient,
    /// Who runs the agent: the owner of what the host brings in.
    pub os_user: String,
    /// The machine: its tenant's name.
    pub hostname: String,
    /// The version of the agent, for the ledger of migrations.
    pub agent_version: String,
    /// Hears of every commit.
    pub on_commit: Option<CommitObserver>,
}

/// An open store, and what happened to the database on the way.
pub struct Opened {
    /// The store.
    pub store: Arc<PostgresStore>,
    /// Whether the database was created, upgraded or joined; the audit log says it too.
    pub migrated: Migrated,
}

/// The store on PostgreSQL. Dropping it without `close` loses nothing that was answered.
pub struct PostgresStore {
    server: Server,
    place: String,
    keys: Keys,
    ambient: Ambient,
    scope: Scope,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    readers: Readers,
    link: Arc<Link>,
    /// Held as long as the store lives.
    _agent_lock: File,
}

/// Opens the store, creating or upgrading the database.
///
/// # Errors
/// When another agent runs for the same host, the server does not answer or refuses, the database
/// is newer than this program or another program's, or it was sealed with another key.
pub async fn open(opening: Opening) -> Result<Opened, StoreError> {
    let agent_lock = host::lock(&opening.state_dir)?;
    let place = opening.server.to_string();
    let link = Link::new();
    let (jobs, queue) = mpsc::channel(STORE_QUEUE_MAX);
    let (told, opened) = oneshot::channel();
    let thread = start(opening.clone(), &place, Arc::clone(&link), queue, told)?;
    let (migrated, scope) = opened.await.map_err(|_| StoreError::Stopped)??;
    match &migrated {
        Migrated::Created if !opening.keys.created() => {
            tracing::warn!(place, "the database is gone: started with an empty one");
        }
        Migrated::Nothing => {}
        migrated => tracing::info!(place, ?migrated, "database migrated"),
    }
    let readers = Readers::new(&opening.server, opening.readers_max, Arc::clone(&link), &place)?;
    let store = Arc::new(PostgresStore {
        server: opening.server,
        place,
        keys: opening.keys,
        ambient: opening.ambient,
        scope,
        jobs: Mutex::new(Some(jobs)),
        thread: Mutex::new(Some(thread)),
        readers,
        link,
        _agent_lock: agent_lock,
    });
    Ok(Opened { store, migrated })
}

/// Who hears how the opening went.
type Told = oneshot::Sender<Result<(Migrated, Scope), StoreError>>;

/// Starts the writer's thread, which brings the database to its form and then serves. It has a
/// runtime of its own, so that its connection is never late because other tasks are busy.
fn start(
    opening: Opening,
    place: &str,
    link: Arc<Link>,
    queue: mpsc::Receiver<Job>,
    told: Told,
) -> Result<std::thread::JoinHandle<()>, StoreError> {
    let path = PathBuf::from(place);
    let failed = |source| StoreError::File { act: "start the writer of", path, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => return Err(failed(source)),
    };
    let place = place.to_owned();
    let life = async move {
        let prepared = prepare(&opening, &place, &link).await;
        let is_fine = prepared.is_ok();
        let prepared =
            prepared.map_err(|fault| fault.into_store(&place, "bring itself to its newest form"));
        if told.send(prepared).is_err() || !is_fine {
            return;
        }
        let writer = Writer {
            server: Arc::new(opening.server),
            place,
            host_id: opening.host_id,
            ambient: opening.ambient,
            link,
            on_commit: opening.on_commit,
            flight: Vec::new(),
            sent: None,
        };
        writer.run(queue).await;
    };
    let builder = std::thread::Builder::new().name("store-writer".to_owned());
    builder.spawn(move || runtime.block_on(life)).map_err(failed)
}

/// Brings the database to its newest form, on a connection of its own.
async fn prepare(opening: &Opening, place: &str, link: &Link) -> Result<(Migrated, Scope), Fault> {
    link.tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let (mut client, wire) = server::connect(&opening.server).await?;
    let migrate = migrations::migrate(&mut client, place, opening);
    tokio::select! {
        migrated = tokio::time::timeout(STORE_TRANSACTION_TIMEOUT, migrate) => {
            migrated.map_err(|_| Fault::Slow)?
        }
        ended = wire => Err(ended.err().map_or(Fault::Slow, Fault::Postgres)),
    }
}

impl PostgresStore {
    /// What other agents on this database tell. All of it is told again when the connection was
    /// lost: nobody listened meanwhile.
    pub fn news(&self) -> watch::Receiver<News> {
        self.link.news.subscribe()
    }

    /// How often the writer has tried to connect.
    pub fn connection_tries(&self) -> u64 {
        self.link.tries.load(std::sync::atomic::Ordering::Relaxed)
    }
}
