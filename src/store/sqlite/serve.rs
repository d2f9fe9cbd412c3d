//! Answers the store's calls: brings writes to the writer and readings to a reading connection.
//! Owns nothing. Face: the traits of `store`. Never blocks the caller's thread in threaded mode.

use std::future::Future;
use std::sync::{Arc, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, yield_now};

use super::fault::{Fault, classify};
use super::projects::{self, SealedRevision};
use super::writer::Job;
use super::{Engine, SqliteStore, audit, connect_reader, identity, run_reads, runs};
use crate::base::ids::{EventId, RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Secret, Timestamp};
use crate::domain::audit::{AuditEvent, AuditEvents, AuditRecord, chain};
use crate::domain::runs::{Attempt, OperationRun, StepRecord};
use crate::store::{
    Adoption, Answer, AuditFilter, Backlog, ContainerExit, NewRevision, OpenAttempt, Page,
    PageRequest, Project, ReadAudit, ReadProjects, ReadRuns, Revision, RunFilter, RunProgress,
    Scope, Store, StoreError, Write,
};

/// A write whose content is sealed.
enum Prepared {
    Plain(Write),
    Revision(SealedRevision),
}

impl SqliteStore {
    /// Writes all that the statements say, or nothing; returns when it is on the disk.
    async fn write<F>(&self, act: &'static str, statements: F) -> Result<(), StoreError>
    where
        F: FnOnce(&Connection) -> Result<(), Fault> + Send + 'static,
    {
        // SQLite goes on writing to a file that has no name any more: all of it would be lost.
        if identity(&self.path).ok() != Some(self.file) {
            return Err(StoreError::Replaced { path: self.path.clone() });
        }
        let (reply, told) = oneshot::channel();
        let job = Job { act, statements: Box::new(statements), reply };
        match &self.engine {
            Engine::Threaded { jobs, .. } => {
                let sender = lock(jobs).clone().ok_or(StoreError::Stopped)?;
                sender.send(job).await.map_err(|_| StoreError::Stopped)?;
            }
            Engine::Inline(writer) => {
                // Lets other tasks come between, as they would with a thread.
                yield_now().await;
                lock(writer).as_mut().ok_or(StoreError::Stopped)?.execute(vec![job]);
            }
        }
        told.await.map_err(|_| StoreError::Stopped)?
    }

    /// Reads on a connection that cannot write.
    async fn read<T, F>(&self, act: &'static str, reading: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let readers = match &self.engine {
            Engine::Inline(writer) => {
                yield_now().await;
                let writer = lock(writer);
                let connection = &writer.as_ref().ok_or(StoreError::Stopped)?.connection;
                return reading(connection).map_err(|fault| fault.into_store(&self.path, act));
            }
            Engine::Threaded { jobs, readers, .. } => {
                if lock(jobs).is_none() {
                    return Err(StoreError::Stopped);
                }
                Arc::clone(readers)
            }
        };
        let _permit = readers.free.acquire().await.map_err(|_| StoreError::Stopped)?;
        let path = self.path.clone();
        let pool = Arc::clone(&readers);
        #[expect(clippy::disallowed_methods, reason = "the database is waited for on a thread")]
        let read = spawn_blocking(move || {
            let idle = lock(&pool.idle).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => connect_reader(&path).map_err(|error| classify(&error, &path, act))?,
            };
            let read = reading(&connection).map_err(|fault| fault.into_store(&path, act))?;
            lock(&pool.idle).push(connection);
            Ok(read)
        });
        read.await.map_err(|_| StoreError::Stopped)?
    }

    /// Seals the content of revisions before it reaches the writer: sealing a large bundle takes
    /// longer than a commit, and others wait for the writer.
    async fn prepare(&self, writes: Vec<Write>) -> Result<Vec<Prepared>, StoreError> {
        let mut prepared = Vec::with_capacity(writes.len());
        for write in writes {
            prepared.push(match write {
                Write::PutRevision(revision) => Prepared::Revision(self.seal(revision).await?),
                plain => Prepared::Plain(plain),
            });
        }
        Ok(prepared)
    }

    async fn seal(&self, new: NewRevision) -> Result<SealedRevision, StoreError> {
        let content = new.content.expose().clone();
        let revision = Revision {
            id: new.id,
            workspace_id: new.workspace_id,
            project: new.project,
            digest: new.digest,
            size_bytes: content.len() as u64,
            created_at: new.created_at,
        };
        let keys = self.keys.clone();
        let entropy = Arc::clone(&self.ambient.entropy);
        let id = revision.id;
        let seal = move || keys.seal(id, &content, &*entropy);
        let pieces = match &self.engine {
            Engine::Inline(_) => seal()?,
            Engine::Threaded { .. } => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the database is waited for on a thread"
                )]
                let sealing = spawn_blocking(seal);
                sealing.await.map_err(|_| StoreError::Stopped)??
            }
        };
        Ok(SealedRevision { revision, pieces })
    }

    async fn close_writer(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Inline(writer) => drop(lock(writer).take()),
            Engine::Threaded { jobs, thread, readers } => {
                drop(lock(jobs).take());
                let thread = lock(thread).take();
                if let Some(thread) = thread {
                    // The thread ends when it has served everybody who was waiting.
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "the database is waited for on a thread"
                    )]
                    let ended = spawn_blocking(move || thread.join()).await;
                    ended.map_err(|_| StoreError::Stopped)?.map_err(|_| StoreError::Stopped)?;
                }
                lock(&readers.idle).clear();
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn apply(connection: &Connection, prepared: &Prepared) -> Result<(), Fault> {
    let write = match prepared {
        Prepared::Revision(sealed) => return projects::put_revision(connection, sealed),
        Prepared::Plain(write) => write,
    };
    match write {
        Write::InsertRun(run) => runs::insert(connection, run),
        Write::StartAttempt(start) => runs::start(connection, start),
        Write::InterruptAttempt { run_id, attempt, end, at, progress } => {
            runs::interrupt(connection, *run_id, *attempt, *end, *at, progress)
        }
        Write::WaitRun { run_id, attempt, waiting, at, progress } => {
            runs::wait(connection, *run_id, *attempt, *waiting, *at, progress)
        }
        Write::WakeRun { run_id } => runs::wake(connection, *run_id),
        Write::RequestCancel { run_id, at } => runs::request_cancel(connection, *run_id, *at),
        Write::CompleteRun(complete) => runs::complete(connection, complete),
        Write::ExpectActive { run_id } => run_reads::expect_active(connection, *run_id),
        Write::ExpectProject { workspace_id, name, desired, revision_id, wanted } => {
            let files = (*revision_id, wanted);
            projects::expect(connection, *workspace_id, name, *desired, files)
        }
        Write::ExpectNoProject { workspace_id, name } => {
            projects::expect_none(connection, *workspace_id, name)
        }
        Write::ApplyProject { workspace_id, tenant_id, name, revision_id, wanted, at } => {
            let files = (*revision_id, wanted);
            projects::apply(connection, *workspace_id, *tenant_id, name, files, *at)
        }
        Write::KeepProject { workspace_id, name, desired, at } => {
            projects::keep(connection, *workspace_id, name, *desired, *at)
        }
        Write::NoteDeployed { workspace_id, name, revision_id, spec_digest, at } => {
            let deployed = (*revision_id, *spec_digest);
            projects::note_deployed(connection, *workspace_id, name, deployed, *at)
        }
        Write::ForgetProject { workspace_id, name } => {
            projects::forget(connection, *workspace_id, name)
        }
        Write::ForgetVolumes { workspace_id, project } => {
            projects::forget_volumes(connection, *workspace_id, project)
        }
        Write::PutAdoption(adoption) => projects::put_adoption(connection, adoption),
        Write::DropAdoptions { workspace_id, project } => {
            projects::drop_adoptions(connection, *workspace_id, project)
        }
        Write::PutRevision(_) => Err(Fault::unreadable("revision", "its content is not sealed")),
    }
}

/// Boxes the future of an answer.
fn answer<'a, T>(future: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> Answer<'a, T> {
    Box::pin(future)
}

impl Store for SqliteStore {
    fn commit(&self, writes: Vec<Write>, events: AuditEvents) -> Answer<'_, ()> {
        answer(async move {
            let prepared = self.prepare(writes).await?;
            let events: Vec<AuditEvent> = events.iter().cloned().collect();
            let clock = Arc::clone(&self.ambient.clock);
            self.write("take the change", move |connection| {
                prepared.iter().try_for_each(|write| apply(connection, write))?;
                audit::append(connection, &events, clock.now())
            })
            .await
        })
    }

    fn record_step(&self, step: StepRecord, progress: RunProgress) -> Answer<'_, ()> {
        answer(self.write("record the step", move |connection| {
            runs::record_step(connection, &step, &progress)
        }))
    }

    fn add_progress(&self, run: RunId, attempt: u32, progress: RunProgress) -> Answer<'_, ()> {
        answer(self.write("record the progress", move |connection| {
            runs::add_progress(connection, run, attempt, &progress)
        }))
    }

    fn heartbeat(&self, instance: String, at: Timestamp, lease_until: Timestamp) -> Answer<'_, ()> {
        answer(self.write("record the sign of life", move |connection| {
            runs::heartbeat(connection, &instance, at, lease_until)
        }))
    }

    fn record_exit(&self, exit: ContainerExit) -> Answer<'_, ()> {
        answer(
            self.write("record the exit", move |connection| {
                projects::record_exit(connection, &exit)
            }),
        )
    }

    fn forget_exits(
        &self,
        workspace: WorkspaceId,
        project: String,
        container_ids: Vec<String>,
    ) -> Answer<'_, ()> {
        answer(self.write("forget the exits", move |connection| {
            projects::forget_exits(connection, workspace, &project, &container_ids)
        }))
    }

    fn doom_volumes(
        &self,
        workspace: WorkspaceId,
        project: String,
        names: Vec<String>,
    ) -> Answer<'_, ()> {
        answer(self.write("remember the volumes", move |connection| {
            projects::doom_volumes(connection, workspace, &project, &names)
        }))
    }

    fn scope(&self) -> Scope {
        self.scope.clone()
    }

    fn check(&self) -> Answer<'_, ()> {
        // Beginning to write is what fails on a disk that became read-only; nothing is written.
        answer(self.write("answer", |connection| {
            connection.query_row("SELECT id FROM host", [], |_| Ok(()))?;
            Ok(())
        }))
    }

    fn close(&self) -> Answer<'_, ()> {
        answer(self.close_writer())
    }
}

impl ReadRuns for SqliteStore {
    fn run(&self, id: RunId) -> Answer<'_, Option<OperationRun>> {
        answer(self.read("read the run", move |connection| run_reads::find(connection, id)))
    }

    fn runs(&self, filter: RunFilter, page: PageRequest) -> Answer<'_, Page<OperationRun>> {
        answer(
            self.read("list the runs", move |connection| {
                run_reads::list(connection, &filter, &page)
            }),
        )
    }

    fn attempts(&self, run: RunId) -> Answer<'_, Vec<Attempt>> {
        answer(
            self.read("read the attempts", move |connection| run_reads::attempts(connection, run)),
        )
    }

    fn steps(&self, run: RunId) -> Answer<'_, Vec<StepRecord>> {
        answer(self.read("read the steps", move |connection| run_reads::steps(connection, run)))
    }

    fn active_run(
        &self,
        workspace: WorkspaceId,
        identity: Digest,
    ) -> Answer<'_, Option<OperationRun>> {
        answer(self.read("find the run", move |connection| {
            run_reads::active(connection, workspace, identity)
        }))
    }

    fn claimable(&self, at: Timestamp, limit: usize) -> Answer<'_, Vec<OperationRun>> {
        answer(self.read("find runs to execute", move |connection| {
            run_reads::claimable(connection, at, limit)
        }))
    }

    fn due(&self, at: Timestamp) -> Answer<'_, Vec<OperationRun>> {
        answer(self.read("find due runs", move |connection| run_reads::due(connection, at)))
    }

    fn next_due(&self) -> Answer<'_, Option<Timestamp>> {
        answer(self.read("find due runs", run_reads::next_due))
    }

    fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
        answer(self.read("count the runs", run_reads::backlog))
    }

    fn open_attempts(&self) -> Answer<'_, Vec<OpenAttempt>> {
        answer(self.read("find interrupted runs", run_reads::open_attempts))
    }
}

impl ReadAudit for SqliteStore {
    fn audit_record(&self, id: EventId) -> Answer<'_, Option<AuditRecord>> {
        answer(self.read("read the audit record", move |connection| audit::find(connection, id)))
    }

    fn audit(&self, filter: AuditFilter, page: PageRequest) -> Answer<'_, Page<AuditRecord>> {
        answer(
            self.read("list the audit log", move |connection| {
                audit::list(connection, &filter, &page)
            }),
        )
    }

    fn verify_audit(&self) -> Answer<'_, chain::Verdict> {
        answer(self.read("verify the audit log", audit::verify))
    }
}

impl ReadProjects for SqliteStore {
    fn projects(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Project>> {
        answer(
            self.read("list the projects", move |connection| projects::list(connection, workspace)),
        )
    }

    fn project(&self, workspace: WorkspaceId, name: String) -> Answer<'_, Option<Project>> {
        answer(self.read("read the project", move |connection| {
            projects::find(connection, workspace, &name)
        }))
    }

    fn revision(&self, id: RevisionId) -> Answer<'_, Option<Revision>> {
        answer(
            self.read("read the revision", move |connection| {
                projects::find_revision(connection, id)
            }),
        )
    }

    fn revision_by_digest(
        &self,
        workspace: WorkspaceId,
        project: String,
        digest: Digest,
    ) -> Answer<'_, Option<Revision>> {
        answer(self.read("find the revision", move |connection| {
            projects::revision_by_digest(connection, workspace, &project, digest)
        }))
    }

    fn revision_content(&self, id: RevisionId) -> Answer<'_, Secret<Vec<u8>>> {
        let keys = self.keys.clone();
        answer(self.read("read the revision", move |connection| {
            let pieces = projects::sealed_content(connection, id)?;
            keys.unseal(id, &pieces).map_err(Fault::Store)
        }))
    }

    fn adoptions(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<Adoption>> {
        answer(self.read("list the adoptions", move |connection| {
            projects::adoptions(connection, workspace, &project)
        }))
    }

    fn doomed_volumes(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<String>> {
        answer(self.read("list the volumes", move |connection| {
            projects::doomed_volumes(connection, workspace, &project)
        }))
    }

    fn exits(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<ContainerExit>> {
        answer(self.read("list the exits", move |connection| {
            projects::exits(connection, workspace, &project)
        }))
    }
}
