//! Loads the rows that a transaction looks at: one statement per kind, whatever the number, all in
//! one round trip. Owns the readings that lock. Face: `load`. Never locks in another order than
//! that of the ids, so that two agents seldom wait for each other.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::cache::Cache;
use super::fault::Fault;
use super::flush::{Calls, Owned};
use super::rows::{flag, parsed, text, time, unsigned};
use super::run_reads;
use super::server::Session;
use super::statements::Sql;
use crate::base::ids::{RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Name};
use crate::domain::runs::{LockScope, OperationRun, Payload, QueueScope, RunType, Subject};
use crate::store::NewJob;
use crate::store::ledger::{Lock, LockKey, Need};

/// The needs of one round, by kind.
#[derive(Default)]
struct Wanted {
    runs: Vec<RunId>,
    identities: Vec<(WorkspaceId, Digest)>,
    rivals: Vec<LockKey>,
    locks: Vec<LockKey>,
    attempts: Vec<RunId>,
    jobs: Vec<(RunId, String)>,
    undone: Vec<RunId>,
    definitions: Vec<(WorkspaceId, Name)>,
    revisions: Vec<RevisionId>,
    controls: bool,
    busy: Vec<(WorkspaceId, QueueScope)>,
}

impl Wanted {
    fn of(needs: BTreeSet<Need>) -> Self {
        let mut wanted = Self::default();
        for need in needs {
            match need {
                Need::Run(id) => wanted.runs.push(id),
                Need::Identity(workspace, identity) => {
                    wanted.identities.push((workspace, identity));
                }
                Need::Rivals(key) => wanted.rivals.push(key),
                Need::Lock(key) => wanted.locks.push(key),
                Need::Attempt(run_id) => wanted.attempts.push(run_id),
                Need::Job(run_id, key) => wanted.jobs.push((run_id, key)),
                Need::UndoneJobs(run_id) => wanted.undone.push(run_id),
                Need::Definition(workspace, name) => wanted.definitions.push((workspace, name)),
                Need::Revision(id) => wanted.revisions.push(id),
                Need::Controls => wanted.controls = true,
                Need::Busy(workspace, scope) => wanted.busy.push((workspace, scope)),
            }
        }
        wanted
    }
}

fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Owned {
    Box::new(values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>())
}

fn scopes(keys: &[LockKey]) -> Owned {
    texts(keys.iter().map(|(scope, _)| scope))
}

fn subjects(keys: &[LockKey]) -> Owned {
    texts(keys.iter().map(|(_, subject)| subject))
}

/// Loads all needs into the cache.
pub(super) async fn load(
    cache: &mut Cache,
    session: &Session,
    needs: BTreeSet<Need>,
) -> Result<(), Fault> {
    let wanted = Wanted::of(needs);
    let calls = calls(&wanted);
    let kinds = calls.kinds();
    let answers = session.ask(calls, false).await?;
    fill(cache, &wanted, kinds.into_iter().zip(answers))
}

/// Begins the transaction, loads all needs into the cache, and answers what else was asked.
pub(super) async fn begin(
    cache: &mut Cache,
    session: &Session,
    needs: BTreeSet<Need>,
    others: Calls,
) -> Result<Vec<Vec<Row>>, Fault> {
    let wanted = Wanted::of(needs);
    let mut calls = calls(&wanted);
    let kinds = calls.kinds();
    calls.append(others);
    let mut answers = session.ask(calls, true).await?;
    let others = answers.split_off(kinds.len());
    fill(cache, &wanted, kinds.into_iter().zip(answers))?;
    Ok(others)
}

/// Puts the answers into the cache.
fn fill(
    cache: &mut Cache,
    wanted: &Wanted,
    answers: impl Iterator<Item = (Sql, Vec<Row>)>,
) -> Result<(), Fault> {
    // Whatever the statements below find is there; what they do not find is not.
    for id in &wanted.runs {
        cache.runs.entry(*id).or_insert(None);
    }
    for key in &wanted.identities {
        cache.identities.entry(*key).or_insert(None);
    }
    for key in &wanted.rivals {
        cache.rivals.entry(key.clone()).or_default();
    }
    for key in &wanted.locks {
        cache.locks.entry(key.clone()).or_insert(None);
    }
    for id in &wanted.attempts {
        cache.attempts.entry(*id).or_insert(None);
    }
    for key in &wanted.jobs {
        cache.jobs.entry(key.clone()).or_insert(None);
    }
    for id in &wanted.undone {
        cache.undone_jobs.entry(*id).or_default();
    }
    for key in &wanted.definitions {
        cache.definitions.entry(*key).or_insert(None);
    }
    for id in &wanted.revisions {
        cache.revisions.entry(*id).or_insert(false);
    }
    if wanted.controls {
        cache.controls.get_or_insert_default();
    }
    for (sql, rows) in answers {
        for row in &rows {
            take(cache, wanted, sql, row)?;
        }
    }
    Ok(())
}

fn calls(wanted: &Wanted) -> Calls {
    let mut calls = Calls::default();
    if !wanted.runs.is_empty() {
        calls.add(Sql::LockRuns, vec![texts(&wanted.runs)]);
        // Who changes a run mostly looks at its lock too: this saves a round trip.
        calls.add(Sql::LocksOfRuns, vec![texts(&wanted.runs)]);
    }
    if !wanted.identities.is_empty() {
        let (workspaces, hashes): (Vec<_>, Vec<_>) = wanted.identities.iter().copied().unzip();
        calls.add(Sql::LockIdentities, vec![texts(workspaces), texts(hashes)]);
    }
    if !wanted.rivals.is_empty() {
        let keys = &wanted.rivals;
        calls.add(Sql::LockRivals, vec![scopes(keys), subjects(keys)]);
    }
    if !wanted.locks.is_empty() {
        let keys = &wanted.locks;
        calls.add(Sql::LockLocks, vec![scopes(keys), subjects(keys)]);
    }
    if !wanted.attempts.is_empty() {
        calls.add(Sql::OpenAttemptsOf, vec![texts(&wanted.attempts)]);
    }
    if !wanted.jobs.is_empty() {
        let ids = texts(wanted.jobs.iter().map(|(id, _)| id));
        calls.add(Sql::LockJobs, vec![ids, texts(wanted.jobs.iter().map(|(_, key)| key))]);
    }
    if !wanted.undone.is_empty() {
        calls.add(Sql::UndoneJobs, vec![texts(&wanted.undone)]);
    }
    if !wanted.definitions.is_empty() {
        let (workspaces, names): (Vec<_>, Vec<_>) = wanted.definitions.iter().copied().unzip();
        calls.add(Sql::Definitions, vec![texts(workspaces), texts(names)]);
    }
    if !wanted.revisions.is_empty() {
        calls.add(Sql::ExistingRevisions, vec![texts(&wanted.revisions)]);
    }
    if wanted.controls {
        calls.add(Sql::LockControls, Vec::new());
    }
    for (workspace, scope) in &wanted.busy {
        let (tenant, run_type) = match scope {
            QueueScope::Workspace => (None, None),
            QueueScope::Tenant(id) => (Some(id.to_string()), None),
            QueueScope::Type(run_type) => (None, Some(run_type.to_string())),
        };
        let values: Vec<Owned> =
            vec![Box::new(workspace.to_string()), Box::new(tenant), Box::new(run_type)];
        calls.add(Sql::Busy, values);
    }
    calls
}

/// Puts what a statement found into the cache. What is there already is newer: a caller of this
/// transaction has changed it.
fn take(cache: &mut Cache, wanted: &Wanted, sql: Sql, row: &Row) -> Result<(), Fault> {
    match sql {
        Sql::LockRuns => {
            let run = run_reads::run(row)?;
            if let Some(key) = lock_key(&run) {
                cache.locks.entry(key).or_insert(None);
            }
            put_run(cache, run);
        }
        Sql::LockIdentities => {
            let run = run_reads::run(row)?;
            let key = (run.workspace_id, run.run_identity_hash);
            cache.identities.entry(key).or_insert(None).get_or_insert(run.id);
            put_run(cache, run);
        }
        Sql::LockRivals => {
            let run = run_reads::run(row)?;
            if let Some(key) = lock_key(&run)
                && wanted.rivals.contains(&key)
            {
                let rivals = cache.rivals.entry(key).or_default();
                if !rivals.contains(&run.id) {
                    rivals.push(run.id);
                }
            }
            put_run(cache, run);
        }
        Sql::LockLocks | Sql::LocksOfRuns => {
            let (key, lock) = lock(row)?;
            if cache.locks_stored.insert(key.clone()) {
                cache.locks.entry(key).or_insert(None).get_or_insert(lock);
            }
        }
        Sql::OpenAttemptsOf => {
            let attempt = run_reads::attempt(row)?;
            cache.attempts.entry(attempt.run_id).or_insert(None).get_or_insert(attempt);
        }
        Sql::LockJobs => {
            let job = run_reads::job(row)?;
            let key = (job.run_id, job.key.clone());
            cache.jobs.entry(key).or_insert(None).get_or_insert(job);
        }
        Sql::UndoneJobs => {
            let job = NewJob {
                key: text(row, 1)?,
                tenant_id: super::rows::optional_parsed(row, 2, "tenant id")?,
                payload: Payload::stored(text(row, 3)?),
            };
            cache.undone_jobs.entry(parsed(row, 0, "run id")?).or_default().push(job);
        }
        Sql::Definitions => {
            let hosted = run_reads::hosted_type(row)?;
            let key = (hosted.workspace_id, hosted.name);
            cache.definitions.entry(key).or_insert(None).get_or_insert(hosted.definition);
        }
        Sql::ExistingRevisions => {
            cache.revisions.insert(parsed(row, 0, "revision id")?, true);
        }
        Sql::LockControls => {
            let control = run_reads::queue_control(row)?;
            cache.controls.get_or_insert_default().push(control);
        }
        Sql::Busy => {
            let workspace = parsed(row, 1, "workspace id")?;
            let tenant = super::rows::optional_parsed(row, 2, "tenant id")?;
            let run_type: Option<RunType> = super::rows::optional_parsed(row, 3, "run type")?;
            let scope = match (tenant, run_type) {
                (Some(id), _) => QueueScope::Tenant(id),
                (None, Some(run_type)) => QueueScope::Type(run_type),
                (None, None) => QueueScope::Workspace,
            };
            cache.busy.insert((workspace, scope), unsigned(row, 0)?);
        }
        _ => {}
    }
    Ok(())
}

fn put_run(cache: &mut Cache, run: OperationRun) {
    cache.runs.entry(run.id).or_insert(None).get_or_insert(run);
}

/// Where the lock of a run lies.
fn lock_key(run: &OperationRun) -> Option<LockKey> {
    Some((run.lock_scope()?, run.subject.clone()?))
}

fn lock(row: &Row) -> Result<(LockKey, Lock), Fault> {
    let id: &str = row.try_get(0)?;
    let of_host = flag(row, 5)?;
    let scope = match of_host {
        true => LockScope::Host(super::rows::parse(id, "host id")?),
        false => LockScope::Workspace(super::rows::parse(id, "workspace id")?),
    };
    let subject = Subject::parse(row.try_get(1)?);
    let subject = subject.map_err(|error| Fault::unreadable("subject", error))?;
    let lock = Lock {
        run_id: parsed(row, 2, "run id")?,
        acquired_at: time(row, 3)?,
        expires_at: time(row, 4)?,
    };
    Ok(((scope, subject), lock))
}
