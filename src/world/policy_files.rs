//! Reads the folder of policies that the configuration names. Owns that question, and how one sees that
//! something changed. Face: `read`, `stamp`. Never follows a link, and never reads what others than root
//! and the agent's user may change: a folder that others may change is refused with all that it holds.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::guarded_files;
use crate::base::limits::{POLICIES_MAX, POLICY_BYTES_MAX};
use crate::base::{Diagnostic, Diagnostics};

/// The code of what stands in the way of reading policies.
const CODE: &str = "policy.unreadable";

/// A file of policies or tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Where it is.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// How a folder looks from outside: two that are equal hold the same, as far as the system tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, i64, i64, u64, u64, u32)>);

/// Every `*.yaml` and `*.yml` of a folder, in the order of their names; a single file stands for itself.
///
/// # Errors
/// Every file that is not read, with the remedy.
pub fn read(folder: &Path) -> Result<Vec<PolicyFile>, Diagnostics> {
    let is = fs::symlink_metadata(folder).map_err(|error| cannot(folder, &error))?;
    guarded_files::is_own(&is).map_err(|error| cannot(folder, &error))?;
    if !is.is_dir() {
        return Err(cannot(folder, &"it is no folder"));
    }
    let paths = paths(folder)?;
    read_files(&paths, guarded_files::read_own)
}

/// Files and folders that somebody names on a command line: whoever may read them is asked by the system
/// alone.
///
/// # Errors
/// Every file that is not read.
pub fn read_named(named: &[PathBuf]) -> Result<Vec<PolicyFile>, Diagnostics> {
    let mut all = Vec::new();
    for path in named {
        let is = fs::metadata(path).map_err(|error| cannot(path, &error))?;
        match is.is_dir() {
            true => all.extend(paths(path)?),
            false => all.push(path.clone()),
        }
    }
    read_files(&all, guarded_files::read_any)
}

fn read_files(
    paths: &[PathBuf],
    read: impl Fn(&Path, usize) -> std::io::Result<String>,
) -> Result<Vec<PolicyFile>, Diagnostics> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match read(path, POLICY_BYTES_MAX) {
            Ok(text) => files.push(PolicyFile { path: path.display().to_string(), text }),
            Err(error) => problems.extend(cannot(path, &error).0),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(Diagnostics(problems)) }
}

/// How the folder looks now; one that cannot be looked at looks like nothing.
pub fn stamp(folder: &Path) -> Stamp {
    let looks = paths(folder).unwrap_or_default().into_iter().chain([folder.to_owned()]);
    let look = |path: PathBuf| {
        let is = fs::symlink_metadata(&path).ok()?;
        let mode = is.mode() ^ is.uid().rotate_left(16);
        Some((path, is.mtime(), is.mtime_nsec(), is.size(), is.ino(), mode))
    };
    Stamp(looks.filter_map(look).collect())
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| cannot(folder, &error))? {
        let path = entry.map_err(|error| cannot(folder, &error))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if !matches!(ending, Some("yaml" | "yml")) {
            continue;
        }
        paths.push(path);
        // As many tests as policies may stand there.
        if paths.len() > 2 * POLICIES_MAX {
            let message = format!("it holds more than {} files", 2 * POLICIES_MAX);
            return Err(cannot(folder, &message));
        }
    }
    paths.sort();
    Ok(paths)
}

fn cannot(path: &Path, error: &dyn std::fmt::Display) -> Diagnostics {
    Diagnostic::new(CODE, format!("cannot read {}: {error}", path.display())).into()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_others_may_change_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |path: &Path, mode: u32| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        let problems = || match read(dir.path()) {
            Ok(found) => panic!("{found:?}"),
            Err(problems) => problems.to_string(),
        };
        mode(dir.path(), 0o755);
        fs::write(at("b.yaml"), "b").unwrap();
        fs::write(at("a.yml"), "a").unwrap();
        fs::write(at("notes.txt"), "x").unwrap();
        let found = read(dir.path()).unwrap();
        let texts: Vec<&str> = found.iter().map(|file| file.text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        let before = stamp(dir.path());
        assert_eq!(stamp(dir.path()), before);
        mode(&at("b.yaml"), 0o664);
        assert_ne!(stamp(dir.path()), before);
        assert!(problems().contains("chmod go-w"), "{}", problems());
        mode(&at("b.yaml"), 0o644);
        symlink(at("notes.txt"), at("link.yaml")).unwrap();
        assert!(problems().contains("link.yaml"));
        fs::remove_file(at("link.yaml")).unwrap();
        for shared in [0o775, 0o757, 0o1777] {
            mode(dir.path(), shared);
            assert!(problems().contains("chmod go-w"), "{shared:o}");
        }
        if rustix::process::geteuid().is_root() {
            mode(dir.path(), 0o755);
            std::os::unix::fs::chown(at("a.yml"), Some(12_345), None).unwrap();
            assert!(problems().contains("another user"), "{}", problems());
        }
        assert!(read(&at("nowhere")).is_err());
    }
}
