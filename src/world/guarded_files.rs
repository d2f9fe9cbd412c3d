//! Reads files that decide what the agent does, and writes one that only the agent decides. Owns whom such a
//! file may belong to. Face: `read`, `read_own`, `is_own`, `write_own`. Never follows a link, and never reads what
//! others than its owner may change.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;

/// The text of a file that only its owner may change; one byte more than `bytes_max` shows that it
/// is too large.
///
/// # Errors
/// When it cannot be read, is no file, or others may change it.
pub fn read(path: &Path, bytes_max: usize) -> io::Result<String> {
    let file = open(path)?;
    let is = file.metadata()?;
    if !is.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if is.mode() & OTHERS_WRITE != 0 {
        return Err(io::Error::other(
            "others than its owner may change it; `chmod go-w` lets it count",
        ));
    }
    text(file, bytes_max)
}

/// The same of a file that belongs to root or to the agent's own user.
///
/// # Errors
/// When it cannot be read, is no file, or others may change it.
pub fn read_own(path: &Path, bytes_max: usize) -> io::Result<String> {
    let file = open(path)?;
    let is = file.metadata()?;
    if !is.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    is_own(&is)?;
    text(file, bytes_max)
}

/// The text of a file, whoever may change it: for what somebody names on a command line.
///
/// # Errors
/// When it cannot be read.
pub fn read_any(path: &Path, bytes_max: usize) -> io::Result<String> {
    text(File::open(path)?, bytes_max)
}

/// Whether a folder or a file belongs to root or to the agent's own user, and nobody else may change it.
///
/// # Errors
/// When it does not, with the remedy.
pub fn is_own(is: &fs::Metadata) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    if is.uid() != 0 && is.uid() != own {
        let message = "it belongs to another user than root and the agent's; `chown` lets it count";
        return Err(io::Error::other(message));
    }
    if is.mode() & OTHERS_WRITE != 0 {
        let message = "others than its owner may change it; `chmod go-w` lets it count";
        return Err(io::Error::other(message));
    }
    Ok(())
}

/// Writes a file that nobody else reads, whole or not at all.
///
/// # Errors
/// When the system refuses.
pub fn write_own(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&draft)))
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    File::options().read(true).custom_flags(flags).open(path)
}

fn text(file: File, bytes_max: usize) -> io::Result<String> {
    let mut text = String::new();
    file.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
