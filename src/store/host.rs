//! Names the host that the agent keeps, and lets one agent run on it. Owns `<state_dir>/host_id` and
//! `agent.lock`. Face: `open_or_create`, `lock`. Never changes a host's name: what it locked and
//! executed is found again by it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::StoreError;
use crate::base::Ambient;
use crate::base::ids::HostId;

/// Reads the host's id, or makes a new one.
///
/// # Errors
/// When the file cannot be read or written, or holds no id.
pub fn open_or_create(state_dir: &Path, ambient: &Ambient) -> Result<HostId, StoreError> {
    match find(state_dir)? {
        Some(id) => Ok(id),
        None => {
            let id = HostId::generate(&*ambient.clock, &*ambient.entropy);
            create(state_dir, &state_dir.join("host_id"), id)?;
            Ok(id)
        }
    }
}

/// Reads the host's id; none when it has none yet.
///
/// # Errors
/// When the file cannot be read, or holds no id.
pub fn find(state_dir: &Path) -> Result<Option<HostId>, StoreError> {
    let path = state_dir.join("host_id");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let unreadable = |error: crate::base::ids::IdError| {
                StoreError::file("read", &path, io::Error::new(io::ErrorKind::InvalidData, error))
            };
            text.trim().parse().map(Some).map_err(unreadable)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::file("read", &path, error)),
    }
}

/// Gives a state directory that has no id the one of the host whose records it takes over.
pub(super) fn keep(state_dir: &Path, id: HostId) -> Result<(), StoreError> {
    match find(state_dir)? {
        Some(_) => Ok(()),
        None => create(state_dir, &state_dir.join("host_id"), id),
    }
}

/// Writes the id so that after a crash either the whole of it is there or nothing.
fn create(directory: &Path, path: &Path, id: HostId) -> Result<(), StoreError> {
    let draft = path.with_extension("new");
    let write = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&draft)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| StoreError::file("write", path, error))
}

/// Creates the state directory and locks it, so that no second agent works on it.
///
/// # Errors
/// When another agent holds it, or it cannot be used.
pub(super) fn lock(state_dir: &Path) -> Result<File, StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(state_dir)
        .map_err(|error| StoreError::file("create", state_dir, error))?;
    let path = state_dir.join("agent.lock");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(|error| StoreError::file("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::AgentRunning { path }),
        Err(TryLockError::Error(error)) => Err(StoreError::file("lock", &path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::crash_points::NoCrashPoints;
    use crate::base::entropy::SeededEntropy;
    use crate::base::time::TestClock;

    #[test]
    fn a_host_keeps_its_id_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ambient = Ambient {
            clock: Arc::new(TestClock::at("2026-01-01T00:00:00Z".parse().unwrap())),
            entropy: Arc::new(SeededEntropy::new(1)),
            crash_points: Arc::new(NoCrashPoints),
        };
        let id = open_or_create(dir.path(), &ambient).unwrap();
        assert_eq!(open_or_create(dir.path(), &ambient).unwrap(), id);
        fs::write(dir.path().join("host_id"), "not an id").unwrap();
        assert!(matches!(open_or_create(dir.path(), &ambient), Err(StoreError::File { .. })));
    }
}
