mod indexes;
mod opening;
mod statements;
mod tampering;
mod upgrade;

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::*;
use crate::store::suite::{Base, Fixture};
use crate::store::{Store, Write};

/// Leaves the projects as an agent of the oldest form kept some: without files.
pub(crate) fn lose_files_of_projects(state_dir: &Path) {
    let connection = Connection::open(state_dir.join("wharf.db")).unwrap();
    connection.execute("UPDATE projects SET revision_id = NULL", []).unwrap();
}

/// A state directory of a test's own.
struct Files {
    dir: TempDir,
    mode: Mode,
    /// The store that was opened last.
    store: Mutex<Weak<SqliteStore>>,
}

impl Files {
    fn new(mode: Mode) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(Self { dir, mode, store: Mutex::default() })
    }

    fn database(&self) -> PathBuf {
        self.dir.path().join("wharf.db")
    }

    fn open(&self, ambient: &Ambient) -> Result<Opened, StoreError> {
        let state_dir = self.dir.path();
        let keys = Keys::open_or_create(state_dir, &*ambient.entropy)?;
        let opened = open(Opening {
            state_dir,
            keys: &keys,
            ambient,
            os_user: "ada",
            hostname: "host-1",
            agent_version: "0.0.0",
            mode: self.mode,
            on_commit: None,
        })?;
        *self.store.lock().unwrap() = Arc::downgrade(&opened.store);
        Ok(opened)
    }

    /// Asks the writing connection of the store that is open.
    fn writing<T>(&self, ask: impl FnOnce(&Connection) -> T) -> T {
        let store = self.store.lock().unwrap().upgrade().expect("the store is open");
        let Engine::Inline(writer) = &store.engine else { unreachable!() };
        let writer = writer.lock().unwrap();
        ask(&writer.as_ref().unwrap().connection)
    }
}

impl Base for Files {
    fn open<'a>(
        &'a self,
        ambient: &'a Ambient,
    ) -> BoxFuture<'a, Result<Arc<dyn Store>, StoreError>> {
        Box::pin(async { Ok(Self::open(self, ambient)?.store as _) })
    }

    fn another(&self) -> BoxFuture<'_, Arc<dyn Base>> {
        Box::pin(async { Self::new(self.mode) as _ })
    }

    fn tamper<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { tamper(&self.database(), sql).map_err(|error| error.to_string()) })
    }

    fn unlock_audit(&self) -> &'static str {
        "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted"
    }

    fn unlock_seals(&self) -> &'static str {
        "DROP TRIGGER audit_checkpoint_is_never_changed;
         DROP TRIGGER audit_checkpoint_is_never_deleted;
         DROP TRIGGER audit_tombstone_is_never_deleted"
    }

    fn leave_gap(&self) -> &'static str {
        "INSERT INTO audit_events SELECT 9, 'x', workspace_id, tenant_id, event_type, outcome,
            actor_type, actor_label, target_type, target_id, operation_run_id, summary,
            occurred_at, body, hash, personal
         FROM audit_events WHERE seq = 1"
    }

    fn pretend_newer(&self) -> &'static str {
        "PRAGMA user_version = 99"
    }

    fn name(&self) -> String {
        "wharf.db".to_owned()
    }

    fn change_key(&self) {
        let key = self.dir.path().join("keys").join("store.key");
        std::fs::write(key, "11".repeat(32)).unwrap();
    }

    fn holds<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
        let file_holds = |path: PathBuf| {
            path.is_file() && std::fs::read(path).unwrap().windows(bytes.len()).any(|w| w == bytes)
        };
        let mut files = std::fs::read_dir(self.dir.path()).unwrap();
        let holds = files.any(|entry| file_holds(entry.unwrap().path()));
        Box::pin(async move { holds })
    }
}

fn tamper(path: &Path, sql: &str) -> rusqlite::Result<()> {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql)
}

async fn inline_base() -> Arc<dyn Base> {
    Files::new(Mode::Inline)
}

async fn threaded_base() -> Arc<dyn Base> {
    Files::new(Mode::Threaded)
}

/// A store whose files a test reaches.
async fn inline() -> (Fixture, Arc<Files>) {
    let files = Files::new(Mode::Inline);
    (Fixture::on(Arc::clone(&files) as _).await, files)
}

mod inline_suite {
    crate::store::suite::conformance!(super::super::inline_base);
}

mod threaded_suite {
    crate::store::suite::conformance!(super::super::threaded_base);
}
