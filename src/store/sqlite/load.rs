//! Loads what the ledger needs. Owns one reading per kind of record. Face: `load`. Never decides
//! what is needed.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::fault::Fault;
use super::{job_reads, projects, queue, run_reads};
use crate::base::Name;
use crate::base::ids::WorkspaceId;
use crate::domain::runs::{Definition, QueueControl, QueueScope};
use crate::store::ledger::{Act, Ledger, Need};

/// What is read again and again and changes seldom. One process writes the database, so what it
/// holds here is what the database holds, but for changes that were rolled back.
#[derive(Debug, Default)]
pub(super) struct Cache {
    definitions: HashMap<(WorkspaceId, Name), Option<Definition>>,
    controls: Option<Vec<QueueControl>>,
    is_stale: bool,
}

impl Cache {
    /// What it holds has changed in a transaction that may yet fail.
    pub(super) fn invalidate(&mut self) {
        *self = Self { is_stale: true, ..Self::default() };
    }

    /// The transaction is over, whatever became of it.
    pub(super) fn settle(&mut self) {
        if self.is_stale {
            *self = Self::default();
        }
    }
}

/// A connection within a transaction, and what is known without asking it.
pub(super) struct Session<'a> {
    pub(super) connection: &'a Connection,
    pub(super) cache: &'a mut Cache,
}

impl Session<'_> {
    /// Loads what the act needs, until nothing is needed.
    pub(super) fn load(&mut self, ledger: &mut Ledger, act: Act<'_>) -> Result<(), Fault> {
        loop {
            let needs = ledger.needs(act);
            if needs.is_empty() {
                return Ok(());
            }
            for need in needs {
                self.load_one(ledger, need)?;
            }
        }
    }

    pub(super) fn load_one(&mut self, ledger: &mut Ledger, need: Need) -> Result<(), Fault> {
        let connection = self.connection;
        match need {
            Need::Run(id) => ledger.put_run(id, run_reads::find(connection, id)?),
            Need::Identity(workspace, identity) => {
                let run = run_reads::active(connection, workspace, identity)?;
                ledger.put_identity(workspace, identity, run);
            }
            Need::Rivals(key) => {
                let runs = run_reads::rivals(connection, key.0, &key.1)?;
                ledger.put_rivals(key, runs);
            }
            Need::Lock(key) => {
                let lock = run_reads::lock(connection, key.0, &key.1)?;
                ledger.put_lock(key, lock);
            }
            Need::Attempt(run_id) => {
                ledger.put_attempt(run_id, run_reads::open_attempt(connection, run_id)?);
            }
            Need::Job(run_id, key) => {
                let job = job_reads::find(connection, run_id, &key)?;
                ledger.put_job(run_id, &key, job);
            }
            Need::UndoneJobs(run_id) => {
                ledger.put_undone_jobs(run_id, job_reads::undone(connection, run_id)?);
            }
            Need::Definition(workspace, name) => {
                let known = self.cache.definitions.get(&(workspace, name)).cloned();
                let definition = match known {
                    Some(definition) => definition,
                    None => {
                        let found = queue::hosted_type(connection, workspace, name)?;
                        let found = found.map(|hosted| hosted.definition);
                        self.cache.definitions.insert((workspace, name), found.clone());
                        found
                    }
                };
                ledger.put_definition(workspace, name, definition);
            }
            Need::Revision(id) => {
                let exists = projects::find_revision(connection, id)?.is_some();
                ledger.put_revision(id, exists);
            }
            Need::Controls => {
                let controls = match &self.cache.controls {
                    Some(controls) => controls.clone(),
                    None => {
                        let found = queue::controls(connection, None)?;
                        self.cache.controls.insert(found).clone()
                    }
                };
                ledger.put_controls(controls);
            }
            Need::Busy(workspace, scope) => {
                ledger.put_busy(workspace, scope, busy(connection, workspace, scope)?);
            }
        }
        Ok(())
    }
}

/// How many attempts and jobs of a part of the queue are being executed: few, whatever waits.
fn busy(connection: &Connection, workspace: WorkspaceId, scope: QueueScope) -> Result<u64, Fault> {
    let (tenant, run_type) = match scope {
        QueueScope::Workspace => (None, None),
        QueueScope::Tenant(id) => (Some(id.to_string()), None),
        QueueScope::Type(run_type) => (None, Some(run_type.to_string())),
    };
    let count = connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM run_attempts a CROSS JOIN runs r ON r.id = a.run_id
                     WHERE a.ended_at IS NULL AND r.workspace_id = ?1
                     AND (?2 IS NULL OR r.tenant_id = ?2) AND (?3 IS NULL OR r.type = ?3))
                  + (SELECT count(*) FROM run_jobs j CROSS JOIN runs r ON r.id = j.run_id
                     WHERE j.status = 'running' AND r.workspace_id = ?1
                     AND (?2 IS NULL OR coalesce(j.tenant_id, r.tenant_id) = ?2)
                     AND (?3 IS NULL OR r.type = ?3))",
        )?
        .query_row(params![workspace.to_string(), tenant, run_type], |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}
