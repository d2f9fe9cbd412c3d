//! Marks a SQLite database whose records went to another server. Owns `<state_dir>/wharf.db.moved`.
//! Face: `mark`, `find`, `clear`. Never touches the database itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// The first line while the records are on their way: nobody knows where they are in force.
const UNDER_WAY: &str = "The records of wharf.db are being moved to";
/// The first line when they are there.
const DONE: &str = "The records of wharf.db were moved to";

/// What an agent finds beside its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The file that says so.
    pub path: PathBuf,
    /// Where the records are, or were going.
    pub place: String,
    /// Whether they arrived.
    pub is_done: bool,
}

/// Where the mark is.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("wharf.db.moved")
}

/// Sets the mark, so that after a crash either the old one is there or the new one.
///
/// # Errors
/// When the file cannot be written.
pub fn mark(state_dir: &Path, place: &str, is_done: bool) -> Result<(), StoreError> {
    let path = path(state_dir);
    let first = if is_done { DONE } else { UNDER_WAY };
    let text = format!(
        "{first}\n{place}\n\nNo agent works on wharf.db while this file is here. Remove it to go \
         back to wharf.db as it was then.\n"
    );
    let draft = state_dir.join("wharf.db.moved.new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(state_dir)?.sync_all()
    };
    write().map_err(|error| StoreError::file("write", &path, error))
}

/// The mark, when there is one.
///
/// # Errors
/// When the file cannot be read.
pub fn find(state_dir: &Path) -> Result<Option<Mark>, StoreError> {
    let path = path(state_dir);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::file("read", &path, error)),
    };
    let mut lines = text.lines();
    let is_done = lines.next() == Some(DONE);
    let place = lines.next().unwrap_or("another database").to_owned();
    Ok(Some(Mark { path, place, is_done }))
}

/// Takes the mark away.
///
/// # Errors
/// When the file cannot be removed.
pub fn clear(state_dir: &Path) -> Result<(), StoreError> {
    let path = path(state_dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::file("remove", &path, error))
        }
        _ => File::open(state_dir)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| StoreError::file("remove", &path, error)),
    }
}
