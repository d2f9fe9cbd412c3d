//! Follows the symbolic links of a host path. Owns that one question. Face: `resolve`. Never opens
//! what it is asked about.

use std::path::{Path, PathBuf};

/// The path with its symbolic links followed as far as it exists; what does not exist yet is kept
/// as it is written.
pub fn resolve(path: &str) -> String {
    let path = Path::new(path);
    let mut missing: Vec<&std::ffi::OsStr> = Vec::new();
    for above in path.ancestors() {
        if let Ok(real) = std::fs::canonicalize(above) {
            let full = missing.iter().rev().fold(real, |real: PathBuf, name| real.join(name));
            return full.to_string_lossy().into_owned();
        }
        missing.extend(above.file_name());
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_as_far_as_the_path_exists() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let check = |path: &str, expect: &str| {
            assert_eq!(resolve(&text(root.join(path))), text(root.join(expect)));
        };
        check("real", "real");
        check("link", "real");
        check("link/new/folder", "real/new/folder");
        assert_eq!(resolve("/nonexistent/x"), "/nonexistent/x");
    }
}
