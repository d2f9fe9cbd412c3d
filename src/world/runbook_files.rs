//! Reads the folder of runbooks that the configuration names. Owns that question. Face: `Folder`.
//! Never follows a link out of it, and never reads a file that others than its owner may change.

use std::io;
use std::path::{Path, PathBuf};

use super::guarded_files;
use crate::base::limits::{RUNBOOK_BYTES_MAX, RUNBOOK_FILES_MAX};

/// The folder, if there is one.
#[derive(Debug, Clone, Default)]
pub struct Folder {
    path: Option<PathBuf>,
}

/// A file of it.
#[derive(Debug)]
pub struct Found {
    /// Where it is.
    pub path: String,
    /// Its content, or why it is not read.
    pub content: Result<String, String>,
}

impl Folder {
    /// This one; none when there are no runbooks but the agent's own.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Every `*.yaml` and `*.yml` of it, in the order of their names.
    ///
    /// # Errors
    /// When the folder cannot be read, or holds too many.
    pub fn read(&self) -> Result<Vec<Found>, String> {
        let Some(folder) = &self.path else { return Ok(Vec::new()) };
        let told = |error: io::Error| format!("cannot read {}: {error}", folder.display());
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(told)? {
            let path = entry.map_err(told)?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("yaml" | "yml")) {
                paths.push(path);
            }
        }
        if paths.len() > RUNBOOK_FILES_MAX {
            return Err(format!(
                "{} holds more than {RUNBOOK_FILES_MAX} runbooks",
                folder.display()
            ));
        }
        paths.sort();
        Ok(paths.iter().map(|path| found(path)).collect())
    }
}

fn found(path: &Path) -> Found {
    let content = guarded_files::read(path, RUNBOOK_BYTES_MAX).map_err(|error| error.to_string());
    Found { path: path.display().to_string(), content }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_files_that_their_owner_alone_changes_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let put = |name: &str, mode: u32| {
            std::fs::write(at(name), name).unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        put("b.yaml", 0o644);
        put("a.yml", 0o600);
        put("open.yaml", 0o664);
        put("notes.txt", 0o644);
        symlink(at("notes.txt"), at("link.yaml")).unwrap();
        std::fs::create_dir(at("folder.yaml")).unwrap();
        let found = Folder::new(Some(dir.path().to_owned())).read().unwrap();
        let told: Vec<(&str, bool)> = found
            .iter()
            .map(|it| (it.path.rsplit('/').next().unwrap(), it.content.is_ok()))
            .collect();
        assert_eq!(
            told,
            [
                ("a.yml", true),
                ("b.yaml", true),
                ("folder.yaml", false),
                ("link.yaml", false),
                ("open.yaml", false),
            ]
        );
        assert!(found[4].content.as_ref().unwrap_err().contains("chmod go-w"));
        assert!(Folder::default().read().unwrap().is_empty());
        assert!(Folder::new(Some(at("nowhere"))).read().is_err());
    }
}
