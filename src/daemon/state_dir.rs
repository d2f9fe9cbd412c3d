//! Makes the folder that everything of the agent lies in. Owns its permissions. Face: `prepare`.
//! Never opens it to others: it holds keys and sealed files.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} the state folder {}", path.display())]
pub struct StateDirError {
    /// What was attempted.
    act: &'static str,
    /// The folder.
    pub path: PathBuf,
    #[source]
    source: io::Error,
}

/// Makes the folder with mode 0700, or closes an existing one to others.
///
/// # Errors
/// When the system refuses.
pub(super) fn prepare(path: &Path) -> Result<(), StateDirError> {
    let failed = |act| move |source| StateDirError { act, path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create"))?;
    let mode = fs::metadata(path).map_err(failed("read"))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "state folder was open to others and is now closed");
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed("close"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/state");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        prepare(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        prepare(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }
}
