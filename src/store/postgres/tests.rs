mod outage;
mod queries;
mod schemas;
mod sharing;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::*;
use crate::store::Store;
use crate::store::suite::Base;

#[path = "../../../tests/support/postgres.rs"]
mod support;

use support::Server as TestServer;

/// A database of a test's own, and the state directory of one host.
pub(crate) struct Database {
    server: &'static TestServer,
    name: String,
    dir: TempDir,
    hostname: &'static str,
}

impl Database {
    pub(crate) async fn new() -> Arc<Self> {
        Self::on(TestServer::shared()).await
    }

    async fn on(server: &'static TestServer) -> Arc<Self> {
        let name = server.database().await;
        Arc::new(Self { server, name, dir: tempfile::tempdir().unwrap(), hostname: "host-1" })
    }

    /// The same database, used by another host.
    pub(crate) fn on_another_host(&self) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(Self { server: self.server, name: self.name.clone(), dir, hostname: "host-2" })
    }

    fn place(&self) -> Server {
        Server {
            host: Host::Socket(self.server.socket()),
            port: 5432,
            user: "wharf".to_owned(),
            password: None,
            database: self.name.clone(),
        }
    }

    pub(crate) async fn open(&self, ambient: &Ambient) -> Result<Opened, StoreError> {
        let state_dir = self.dir.path();
        let keys = Keys::open_or_create(state_dir, &*ambient.entropy)?;
        open(Opening {
            server: self.place(),
            readers_max: 2,
            state_dir: state_dir.to_owned(),
            host_id: host::open_or_create(state_dir, ambient)?,
            keys,
            ambient: ambient.clone(),
            os_user: "ada".to_owned(),
            hostname: self.hostname.to_owned(),
            agent_version: "0.0.0".to_owned(),
            on_commit: None,
        })
        .await
    }

    async fn execute(&self, sql: &str) -> Result<(), String> {
        self.server.execute(&self.name, &format!("SET search_path = wharf; {sql}")).await
    }
}

impl Base for Database {
    fn open<'a>(
        &'a self,
        ambient: &'a Ambient,
    ) -> BoxFuture<'a, Result<Arc<dyn Store>, StoreError>> {
        Box::pin(async { Ok(Self::open(self, ambient).await?.store as _) })
    }

    fn another(&self) -> BoxFuture<'_, Arc<dyn Base>> {
        Box::pin(async { Self::on(self.server).await as _ })
    }

    fn tamper<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.execute(sql))
    }

    fn unlock_audit(&self) -> &'static str {
        "ALTER TABLE audit_events DISABLE TRIGGER USER"
    }

    fn unlock_seals(&self) -> &'static str {
        "ALTER TABLE audit_checkpoints DISABLE TRIGGER USER;
         ALTER TABLE audit_tombstones DISABLE TRIGGER USER"
    }

    fn leave_gap(&self) -> &'static str {
        "INSERT INTO audit_events SELECT host_id, 9, 'x', workspace_id, tenant_id, event_type,
            outcome, actor_type, actor_label, target_type, target_id, operation_run_id, summary,
            occurred_at, body, hash, personal
         FROM audit_events WHERE seq = 1"
    }

    fn pretend_newer(&self) -> &'static str {
        "INSERT INTO migrations SELECT 99, checksum, agent_version, applied_at FROM migrations
         WHERE number = 1"
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn change_key(&self) {
        let key = self.dir.path().join("keys").join("store.key");
        std::fs::write(key, "11".repeat(32)).unwrap();
    }

    fn holds<'a>(&'a self, bytes: &'a [u8]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            // Every row of every table as text, and the sealed pieces as bytes.
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let sql = format!(
                "DO $$ DECLARE name text; found bigint; BEGIN
                     FOR name IN SELECT table_name FROM information_schema.tables
                         WHERE table_schema = 'wharf' LOOP
                         EXECUTE format('SELECT count(*) FROM wharf.%I t
                             WHERE position(%L in t::text) > 0', name, '{text}') INTO found;
                         IF found > 0 THEN RAISE EXCEPTION 'found'; END IF;
                     END LOOP;
                     SELECT count(*) INTO found FROM revision_chunks
                         WHERE position('{text}'::bytea in sealed) > 0;
                     IF found > 0 THEN RAISE EXCEPTION 'found'; END IF;
                 END $$"
            );
            match self.execute(&sql).await {
                Ok(()) => false,
                Err(said) if said == "found" => true,
                Err(said) => panic!("{said}"),
            }
        })
    }
}

async fn base() -> Arc<dyn Base> {
    Database::new().await
}

mod suite {
    crate::store::suite::conformance!(super::super::base);
}
