//! Backs up, restores and moves the store of a configuration, without an agent. Owns which database
//! is meant, and the file of a backup. Face: `backup`, `restore`, `move_store`, `keep_archive`. Never
//! leaves half a file under the name that was asked for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;

use super::agent::{crash_points, server};
use super::config::{Config, Postgres, StorePlace};
use super::{RunError, state_dir};
use crate::base::Ambient;
use crate::store::keys::Keys;
use crate::store::sqlite::Mode;
use crate::store::transfer::archive::{self, Content, Encoder};
use crate::store::transfer::{
    Landed, Moved, Part, Progress, TransferError, adopt_host, move_to_postgres, read_postgres,
    read_sqlite,
};
use crate::store::{StoreError, host as host_id, postgres, sqlite};
use crate::world::clock::SystemClock;
use crate::world::host::{self, SystemEntropy};

/// Why a backup, a restore or a move was not done.
#[derive(Debug, thiserror::Error)]
pub enum TransferFailure {
    /// The configuration cannot be used here.
    #[error(transparent)]
    Run(RunError),
    /// The records could not be carried.
    #[error(transparent)]
    Transfer(TransferError),
    /// There is something under the name already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
}

impl TransferFailure {
    /// What the operator can do now.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Transfer(error) => error.hint(),
            Self::Exists(_) => Some("name another file: a backup is never overwritten".to_owned()),
        }
    }
}

impl From<TransferError> for TransferFailure {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<RunError> for TransferFailure {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<StoreError> for TransferFailure {
    fn from(error: StoreError) -> Self {
        Self::Transfer(error.into())
    }
}

fn ambient() -> Result<Ambient, RunError> {
    Ok(Ambient {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        crash_points: crash_points()?,
    })
}

/// A file that has its name only when it is whole.
pub struct Draft {
    path: PathBuf,
    draft: PathBuf,
    file: File,
}

impl Draft {
    /// Begins a file that only its owner can read.
    ///
    /// # Errors
    /// When there is one of this name, or it cannot be written.
    pub fn begin(path: &Path) -> Result<Self, TransferFailure> {
        if path.exists() {
            return Err(TransferFailure::Exists(path.to_owned()));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let draft = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&draft).map_err(|source| failed("write", &draft, source))?;
        Ok(Self { path: path.to_owned(), draft, file })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), TransferFailure> {
        Ok(self.file.write_all(bytes).map_err(|source| failed("write", &self.draft, source))?)
    }

    /// Reads it back, and gives it its name.
    ///
    /// # Errors
    /// When it is not whole, or cannot be kept.
    pub fn keep(self) -> Result<Content, TransferFailure> {
        self.file.sync_all().map_err(|source| failed("write", &self.draft, source))?;
        let content = archive::check(&self.draft)?;
        let place = || -> io::Result<()> {
            // Unlike a renaming, it never replaces what came there meanwhile.
            fs::hard_link(&self.draft, &self.path)?;
            fs::remove_file(&self.draft)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        place().map_err(|source| failed("write", &self.path, source))?;
        Ok(content)
    }

    /// Takes away what was written.
    pub fn give_up(self) {
        if let Err(error) = fs::remove_file(&self.draft) {
            tracing::warn!(%error, path = %self.draft.display(), "half a backup is left over");
        }
    }
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> TransferError {
    TransferError::File { act, path: path.to_owned(), source }
}

/// Writes a backup of the configured database, whether an agent works on it or not.
///
/// # Errors
/// When the database cannot be read, or the file cannot be written.
pub async fn backup(
    config: &Config,
    path: &Path,
    progress: &Progress,
) -> Result<Content, TransferFailure> {
    let ambient = ambient()?;
    let mut parts = match &config.store {
        StorePlace::Sqlite => read_sqlite(&config.state_dir, &ambient)?,
        StorePlace::Postgres(place) => read_postgres(server(place)?, ambient.now()),
    };
    let mut draft = Draft::begin(path)?;
    let mut copy = async || -> Result<(), TransferFailure> {
        let mut encoder = Encoder::default();
        let (mut table, mut count) = (String::new(), 0);
        while let Some(part) = parts.next().await.transpose()? {
            match &part {
                Part::Table(head) => (table, count) = (head.name.clone(), 0),
                Part::Rows(rows) => {
                    count += rows.len() as u64;
                    progress(&table, count);
                }
                Part::End(_) => {
                    let (bytes, _) = encoder.end()?;
                    return draft.write(&bytes);
                }
                Part::Header(_) | Part::TableEnd(_) => {}
            }
            draft.write(&encoder.encode(&part)?)?;
        }
        Err(TransferError::BrokenOff.into())
    };
    match copy().await {
        Ok(()) => draft.keep(),
        Err(error) => {
            draft.give_up();
            Err(error)
        }
    }
}

/// Puts a backup in the place of the configured database, which is set aside.
///
/// # Errors
/// When the backup is damaged, of another host or a newer program, the agent runs, or the database
/// cannot be written. The old database is in force then.
pub async fn restore(
    config: &Config,
    path: &Path,
    progress: &Progress,
) -> Result<(Content, Landed), TransferFailure> {
    let ambient = ambient()?;
    // All of it, before anything is changed.
    let content = archive::check(path)?;
    state_dir::prepare(&config.state_dir).map_err(RunError::StateDir)?;
    let keys = own_keys(config)?;
    let parts = archive::open(path.to_owned());
    let landed = match &config.store {
        StorePlace::Sqlite => {
            let opening = sqlite::Opening {
                state_dir: &config.state_dir,
                keys: &keys,
                ambient: &ambient,
                os_user: &host::os_user().name,
                hostname: &host::hostname(),
                agent_version: env!("CARGO_PKG_VERSION"),
                mode: Mode::Inline,
                on_commit: None,
            };
            sqlite::restore(&opening, parts, progress).await?
        }
        StorePlace::Postgres(place) => {
            let host_id = adopt_host(&config.state_dir, &keys, &content.header)?;
            let opening = postgres_opening(config, place, (host_id, keys, ambient))?;
            postgres::restore(&opening, parts, progress).await?
        }
    };
    Ok((content, landed))
}

/// Moves the configured SQLite database into a PostgreSQL database.
///
/// # Errors
/// When there is none, the agent runs, or the other database holds something. The SQLite database
/// is in force then.
pub async fn move_store(
    config: &Config,
    place: &Postgres,
    progress: &Progress,
) -> Result<Moved, TransferFailure> {
    let ambient = ambient()?;
    let Some(host_id) = host_id::find(&config.state_dir)? else {
        let path = config.state_dir.join("wharf.db");
        return Err(TransferError::NoDatabase { path }.into());
    };
    let keys = own_keys(config)?;
    let opening = postgres_opening(config, place, (host_id, keys, ambient))?;
    Ok(move_to_postgres(&opening, progress).await?)
}

fn own_keys(config: &Config) -> Result<Keys, TransferFailure> {
    let path = config.state_dir.join("keys").join("store.key");
    Ok(Keys::open(&config.state_dir)?.ok_or(TransferError::NoKey { path })?)
}

fn postgres_opening(
    config: &Config,
    place: &Postgres,
    (host_id, keys, ambient): (crate::base::ids::HostId, Keys, Ambient),
) -> Result<postgres::Opening, RunError> {
    Ok(postgres::Opening {
        server: server(place)?,
        readers_max: place.readers,
        state_dir: config.state_dir.clone(),
        host_id,
        keys,
        ambient,
        os_user: host::os_user().name,
        hostname: host::hostname(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        on_commit: None,
    })
}
