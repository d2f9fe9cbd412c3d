//! Gives tests a PostgreSQL server of their own, through the script beside this file. Owns the
//! server's folder. Face: `Server`. Never uses a server that something else started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server that lives as long as this process.
pub(crate) struct Server {
    dir: PathBuf,
}

/// Numbers the folders and databases of this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// The one that all tests of this process share, each with a database of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::own)
    }

    /// One that a test may stop and kill.
    pub(crate) fn own() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("wharf-postgres-{}-{number}", std::process::id());
        let server = Self { dir: std::env::temp_dir().join(name) };
        server.start();
        server
    }

    /// The folder of its socket: what a client takes as its host.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&self) {
        self.script(&["start", &self.dir(), "--pid", &std::process::id().to_string()]);
    }

    /// Stops it; connections end.
    pub(crate) fn stop(&self) {
        self.script(&["stop", &self.dir()]);
    }

    /// Lets it die at once.
    pub(crate) fn kill(&self) {
        self.script(&["kill", &self.dir()]);
    }

    /// Makes an empty database, and answers its name.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}")).await.unwrap();
        name
    }

    /// Executes statements in a database.
    pub(crate) async fn execute(&self, database: &str, sql: &str) -> Result<(), String> {
        let (client, connection) = self
            .config(database)
            .connect(tokio_postgres::NoTls)
            .await
            .map_err(|error| error.to_string())?;
        // One future drives the other; both end with the statements.
        let mut connection = std::pin::pin!(connection);
        let statements = async {
            client.batch_execute(sql).await.map_err(|error| match error.as_db_error() {
                Some(said) => said.message().to_owned(),
                None => error.to_string(),
            })
        };
        tokio::select! {
            told = statements => told,
            ended = &mut connection => Err(format!("the connection ended: {ended:?}")),
        }
    }

    /// How a client reaches a database.
    pub(crate) fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.socket()).user("wharf").dbname(database);
        config
    }

    fn dir(&self) -> String {
        self.dir.to_string_lossy().into_owned()
    }

    fn script(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/postgres");
        let output = Command::new(script).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "postgres {arguments:?}: {said}");
    }
}
