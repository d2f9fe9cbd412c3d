//! Writes. Owns the one connection that may, and the group commit. Face: `Writer::execute`,
//! `Order`. Never answers a caller before what he asked for is on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::fault::{Fault, classify};
use super::load::{Cache, Session};
use crate::base::CrashPoints;
use crate::base::limits::STORE_BATCH_MAX;
use crate::store::company::Company;
use crate::store::{CommitObserver, StoreError};

/// How often a writer looks whether those it waits for are there.
const LOOK_AGAIN: Duration = Duration::from_micros(50);

/// What is done to the database within the caller's savepoint.
type Statements = Box<dyn FnOnce(&mut Session<'_>) -> Result<(), Fault> + Send>;

/// What one caller wants written: all of it or nothing.
pub(super) struct Order {
    /// What it does, for the error.
    pub(super) act: &'static str,
    /// The statements.
    pub(super) statements: Statements,
    /// Who is told when it is on the disk, or why not.
    pub(super) reply: oneshot::Sender<Result<(), StoreError>>,
}

/// The one writing connection.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) crash_points: Arc<dyn CrashPoints>,
    pub(super) cache: Cache,
    pub(super) on_commit: Option<CommitObserver>,
}

impl Writer {
    /// Serves callers until the last one is gone. Whoever waits while a commit is under way shares
    /// the next one: the cost of a commit is the disk's, not the number of changes.
    pub(super) fn serve(mut self, mut jobs: mpsc::Receiver<Order>) {
        let mut company = Company::default();
        while let Some(first) = jobs.blocking_recv() {
            let mut batch = vec![first];
            gather(&mut batch, &mut jobs, &company);
            let (served, begun) = (batch.len(), Instant::now());
            self.execute(batch);
            company.served(served, begun.elapsed(), jobs.len());
        }
    }

    /// Executes a batch in one durable commit, and tells every caller how it went. A caller whose
    /// statements fail takes nobody with him.
    pub(super) fn execute(&mut self, batch: Vec<Order>) {
        let mut waiting = Vec::with_capacity(batch.len());
        let committed = self.try_execute(batch, &mut waiting);
        self.cache.settle();
        for (act, result, reply) in waiting {
            let told = match (&committed, result) {
                (Err(error), Ok(())) => Err(classify(error, &self.path, act)),
                (_, result) => result,
            };
            // A caller that went away does not want to know.
            let _ = reply.send(told);
        }
    }

    fn try_execute(
        &mut self,
        batch: Vec<Order>,
        waiting: &mut Vec<(&'static str, Result<(), StoreError>, Reply)>,
    ) -> Result<(), rusqlite::Error> {
        let is_alone = batch.len() == 1;
        let mut jobs = batch.into_iter();
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => {
                waiting.extend(jobs.map(|job| (job.act, Ok(()), job.reply)));
                return Err(error);
            }
        };
        let changes_before = transaction.total_changes();
        while let Some(job) = jobs.next() {
            // Whoever is alone needs nothing to fall back to: what fails is rolled back whole.
            let result = match is_alone {
                true => (job.statements)(&mut Session {
                    connection: &transaction,
                    cache: &mut self.cache,
                }),
                false => in_savepoint(&mut transaction, &mut self.cache, job.statements),
            };
            match result {
                // A full disk rolls the whole transaction back, not the savepoint alone.
                Err(Fault::Sqlite(error)) if transaction.is_autocommit() => {
                    waiting.push((job.act, Ok(()), job.reply));
                    waiting.extend(jobs.map(|job| (job.act, Ok(()), job.reply)));
                    return Err(error);
                }
                result => {
                    let told = result.map_err(|fault| fault.into_store(&self.path, job.act));
                    waiting.push((job.act, told, job.reply));
                }
            }
        }
        // Nothing to make durable: nobody changed anything, or only those who failed tried.
        if waiting.iter().all(|(_, told, _)| told.is_err())
            || transaction.total_changes() == changes_before
        {
            return transaction.rollback();
        }
        self.crash_points.reached("store.commit.before");
        transaction.commit()?;
        self.crash_points.reached("store.commit.after");
        if let Some(observer) = &self.on_commit {
            observer(waiting.len());
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

type Reply = oneshot::Sender<Result<(), StoreError>>;

/// Adds who waits, and for a moment those who were served last and are on their way back.
fn gather(batch: &mut Vec<Order>, jobs: &mut mpsc::Receiver<Order>, company: &Company) {
    let begun = Instant::now();
    loop {
        while batch.len() < STORE_BATCH_MAX
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        let patience = company.patience(batch.len()).filter(|it| begun.elapsed() < *it);
        if patience.is_none() || batch.len() >= STORE_BATCH_MAX {
            return;
        }
        // Asleep, not in a loop: they may need this processor to come back.
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn in_savepoint(
    transaction: &mut rusqlite::Transaction<'_>,
    cache: &mut Cache,
    statements: Statements,
) -> Result<(), Fault> {
    let savepoint = transaction.savepoint()?;
    statements(&mut Session { connection: &savepoint, cache })?;
    savepoint.commit()?;
    Ok(())
}
