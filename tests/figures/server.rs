//! Gives the figures a PostgreSQL server that waits for the disk. Owns its folder, on the disk that
//! the build is on. Face: `Server`. Never uses a server that something else started.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk;

/// A server that lives as long as this process.
pub struct Server {
    folder: PathBuf,
}

impl Server {
    /// Starts one.
    pub fn start() -> Self {
        let folder = disk::place().join(format!("wharf-figures-postgres-{}", std::process::id()));
        let server = Self { folder };
        server.script(&["start", &server.name(), "--pid", &process(), "--durable"]);
        server
    }

    /// Makes an empty database.
    pub fn database(&self, name: &str) {
        let made = Command::new("psql")
            .args(["--host", &self.socket().to_string_lossy(), "--username", "wharf"])
            .args(["--dbname", "postgres", "--quiet", "--command"])
            .arg(format!("CREATE DATABASE {name}"))
            .status();
        assert!(made.unwrap().success(), "no database {name}");
    }

    /// The folder of its socket: what a client takes as its host.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    fn name(&self) -> String {
        self.folder.to_string_lossy().into_owned()
    }

    fn script(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/postgres");
        let output = Command::new(script).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "postgres {arguments:?}: {said}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script(&["stop", &self.name()]);
    }
}

fn process() -> String {
    std::process::id().to_string()
}
