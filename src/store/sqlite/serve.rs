//! Answers the store's calls: brings writes to the writer and readings to a reading connection.
//! Owns nothing. Face: the traits of `store`. Never blocks the caller's thread in threaded mode.

use std::future::Future;
use std::sync::{Arc, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, yield_now};

use super::apply::{Prepared, apply};
use super::export::{Reading, export};
use super::fault::{Fault, classify};
use super::load::Session;
use super::projects::{self, SealedRevision};
use super::writer::Order;
use super::{
    Engine, SqliteStore, audit, audit_keeping, claims, connect_reader, identity, job_reads, queue,
    run_reads, runs,
};
use crate::base::ids::{EventId, RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Name, Secret, Timestamp};
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::{Checkpoint, VerifyingKey};
use crate::domain::audit::{AuditEvent, AuditEvents, AuditRecord};
use crate::domain::runs::{
    Agent, Attempt, HostedType, Job, OperationRun, QueueControl, StepRecord,
};
use crate::store::audit::prove;
use crate::store::ledger::{Act, Ledger};
use crate::store::transfer::Parts;
use crate::store::{
    Accepted, Admission, Adoption, AlertWrite, Answer, AuditFilter, AuditOptions, AuditPage,
    Backlog, Change, Claim, Claimed, Conflict, ContainerExit, Heard, JobFilter, Lost, NewRevision,
    Notice, OpenAttempt, Page, PageRequest, Project, QueueDepth, ReadAudit, ReadProjects,
    ReadQueue, ReadRuns, RegistryWrite, Revision, RunFilter, RunProgress, Scope, SignOfLife,
    Snapshot, Store, StoreError, Write,
};

impl SqliteStore {
    /// Writes all that the statements say, or nothing; answers when it is on the disk.
    pub(super) async fn write<T, F>(
        &self,
        act: &'static str,
        statements: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Session<'_>) -> Result<T, Fault> + Send + 'static,
    {
        // SQLite goes on writing to a file that has no name any more: all of it would be lost.
        if identity(&self.path).ok() != Some(self.file) {
            return Err(StoreError::Replaced { path: self.path.clone() });
        }
        if let Some(said) = self.damage.get() {
            let (path, source) = (self.path.clone(), said.clone().into());
            return Err(StoreError::Corrupt { path, source });
        }
        let (reply, told) = oneshot::channel();
        // The answer lies here until it is known that what it tells is on the disk.
        let (slot, answer) = oneshot::channel();
        let statements = move |session: &mut Session<'_>| {
            // Whoever asked may have gone away.
            let _ = slot.send(statements(session)?);
            Ok(())
        };
        let job = Order { act, statements: Box::new(statements), reply };
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
        told.await.map_err(|_| StoreError::Stopped)??;
        answer.await.map_err(|_| StoreError::Stopped)
    }

    /// Reads on a connection that cannot write.
    pub(super) async fn read<T, F>(&self, act: &'static str, reading: F) -> Result<T, StoreError>
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
                Write::Alert(AlertWrite::PutReceiver { receiver, webhook }) => {
                    Prepared::Receiver(self.seal_receiver(*receiver, &webhook)?)
                }
                Write::Registry(RegistryWrite::PutLogin { login, password }) => {
                    Prepared::Login(self.seal_login(*login, &password)?)
                }
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
        let seal = move || keys.seal(id.as_bytes(), &content, &*entropy);
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

/// Boxes the future of an answer.
pub(super) fn answer<'a, T>(
    future: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> Answer<'a, T> {
    Box::pin(future)
}

impl Store for SqliteStore {
    fn commit(&self, writes: Vec<Write>, events: AuditEvents) -> Answer<'_, ()> {
        answer(async move {
            let prepared = self.prepare(writes).await?;
            let events: Vec<AuditEvent> = events.iter().cloned().collect();
            let ambient = self.ambient.clone();
            self.write("take the change", move |session| {
                apply(session, &mut Ledger::default(), &prepared)?;
                audit::append(session.connection, &events, &ambient)
            })
            .await
        })
    }

    fn change(&self, change: Change) -> Answer<'_, Vec<Notice>> {
        answer(async move {
            let Change { writes, mut events, teller } = change;
            let prepared = self.prepare(writes).await?;
            let ambient = self.ambient.clone();
            self.write("take the change", move |session| {
                let mut ledger = Ledger::default();
                apply(session, &mut ledger, &prepared)?;
                let notices = ledger.take_notices();
                events.extend(claims::told(&teller, &notices));
                audit::append(session.connection, &events, &ambient)?;
                Ok(notices)
            })
            .await
        })
    }

    fn admit(&self, admission: Admission) -> Answer<'_, Accepted> {
        answer(async move {
            let mut admission = admission;
            let prepared = self.prepare(std::mem::take(&mut admission.writes)).await?;
            let ambient = self.ambient.clone();
            let accepted = self.write("take the run", move |session| {
                let (accepted, told) = session
                    .admit(&admission, |session, ledger| apply(session, ledger, &prepared))?;
                let events = admission.events.iter().cloned().chain(told);
                audit::append(session.connection, &events.collect::<Vec<_>>(), &ambient)?;
                Ok(accepted)
            });
            match accepted.await {
                Err(StoreError::Conflict(Conflict::ActiveRun(id))) => {
                    let missing = || Conflict::Missing { noun: "run", id: id.to_string() };
                    Ok(Accepted::Existing(self.run(id).await?.ok_or_else(missing)?))
                }
                answered => answered,
            }
        })
    }

    fn claim(&self, claim: Claim) -> Answer<'_, Vec<Claimed>> {
        let ambient = self.ambient.clone();
        answer(self.write("hand out work", move |session| {
            let (claimed, events) = session.claim(&claim)?;
            audit::append(session.connection, &events, &ambient)?;
            Ok(claimed)
        }))
    }

    fn sign_of_life(&self, sign: SignOfLife) -> Answer<'_, Heard> {
        answer(self.write("record the sign of life", move |session| {
            let mut ledger = Ledger::default();
            session.load(&mut ledger, Act::SignOfLife(&sign))?;
            let heard = ledger.sign_of_life(&sign)?;
            session.flush(&mut ledger)?;
            Ok(heard)
        }))
    }

    fn register_agent(&self, agent: Agent) -> Answer<'_, ()> {
        answer(self.write("record the agent", move |session| {
            queue::register_agent(session.connection, &agent)
        }))
    }

    fn record_step(&self, step: StepRecord, progress: RunProgress) -> Answer<'_, ()> {
        answer(
            self.write("record the step", move |session| {
                runs::record_step(session, &step, &progress)
            }),
        )
    }

    fn add_progress(&self, run: RunId, attempt: u32, progress: RunProgress) -> Answer<'_, ()> {
        answer(self.write("record the progress", move |session| {
            runs::add_progress(session, run, attempt, &progress)
        }))
    }

    fn heartbeat(&self, instance: String, at: Timestamp, lease_until: Timestamp) -> Answer<'_, ()> {
        answer(self.write("record the sign of life", move |session| {
            runs::heartbeat(session.connection, &instance, at, lease_until)
        }))
    }

    fn record_exit(&self, exit: ContainerExit) -> Answer<'_, ()> {
        answer(self.write("record the exit", move |session| {
            projects::record_exit(session.connection, &exit)
        }))
    }

    fn forget_exits(
        &self,
        workspace: WorkspaceId,
        project: String,
        container_ids: Vec<String>,
    ) -> Answer<'_, ()> {
        answer(self.write("forget the exits", move |session| {
            projects::forget_exits(session.connection, workspace, &project, &container_ids)
        }))
    }

    fn doom_volumes(
        &self,
        workspace: WorkspaceId,
        project: String,
        names: Vec<String>,
    ) -> Answer<'_, ()> {
        answer(self.write("remember the volumes", move |session| {
            projects::doom_volumes(session.connection, workspace, &project, &names)
        }))
    }

    fn scope(&self) -> Scope {
        self.scope.clone()
    }

    fn check(&self) -> Answer<'_, ()> {
        // Beginning to write is what fails on a disk that became read-only; nothing is written.
        answer(self.write("answer", |session| {
            session.connection.query_row("SELECT id FROM host", [], |_| Ok(()))?;
            Ok(())
        }))
    }

    fn maintain(&self) -> Answer<'_, ()> {
        answer(async move {
            let found = self.read("look itself over", |connection| {
                let check = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
                Ok(check.map(|said: String| Some(said).filter(|said| said != "ok"))?)
            });
            if let Some(said) = found.await? {
                return Err(StoreError::Corrupt { path: self.path.clone(), source: said.into() });
            }
            let analyse = |session: &mut Session<'_>| {
                session.connection.execute_batch("ANALYZE")?;
                Ok(())
            };
            self.write("renew its statistics", analyse).await
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        answer(self.close_writer())
    }
}

impl Snapshot for SqliteStore {
    fn snapshot(&self) -> Parts {
        export(Reading {
            path: self.path.clone(),
            host_id: self.scope.host_id,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at: self.ambient.now(),
        })
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

    fn lost(&self, agent: Agent, at: Timestamp) -> Answer<'_, Lost> {
        answer(self.read("find lost workers", move |connection| {
            let mut lost = Lost::default();
            let mut attempts = run_reads::open_attempts(connection)?;
            lost.keep(&mut attempts, (&agent, at), |open| {
                Some((&open.attempt.holder, open.attempt.lease_until))
            });
            let mut jobs = job_reads::running(connection)?;
            lost.keep(&mut jobs, (&agent, at), |(_, job)| job.holder.as_ref().zip(job.lease_until));
            Ok(Lost { attempts, jobs, ..lost })
        }))
    }

    fn job(&self, run: RunId, key: String) -> Answer<'_, Option<Job>> {
        answer(self.read("read the job", move |connection| job_reads::find(connection, run, &key)))
    }

    fn jobs(&self, filter: JobFilter, page: PageRequest) -> Answer<'_, Page<Job>> {
        answer(
            self.read("list the jobs", move |connection| {
                job_reads::list(connection, &filter, &page)
            }),
        )
    }
}

impl ReadQueue for SqliteStore {
    fn agents(&self) -> Answer<'_, Vec<Agent>> {
        answer(self.read("list the agents", queue::agents))
    }

    fn hosted_types(&self, workspace: WorkspaceId) -> Answer<'_, Vec<HostedType>> {
        answer(self.read("list the hosted types", move |connection| {
            queue::hosted_types(connection, workspace)
        }))
    }

    fn hosted_type(&self, workspace: WorkspaceId, name: Name) -> Answer<'_, Option<HostedType>> {
        answer(self.read("read the hosted type", move |connection| {
            queue::hosted_type(connection, workspace, name)
        }))
    }

    fn queue_controls(&self, workspace: WorkspaceId) -> Answer<'_, Vec<QueueControl>> {
        answer(self.read("list what holds the queue back", move |connection| {
            queue::controls(connection, Some(workspace))
        }))
    }

    fn queue_depths(&self, workspace: WorkspaceId) -> Answer<'_, Vec<QueueDepth>> {
        answer(
            self.read("measure the queue", move |connection| queue::depths(connection, workspace)),
        )
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

    fn audit_options(&self, filter: AuditFilter) -> Answer<'_, AuditOptions> {
        answer(self.read("look what the audit log can be filtered by", move |connection| {
            audit::options(connection, &filter)
        }))
    }

    fn verify_audit(&self) -> Answer<'_, Verdict> {
        answer(prove(self, self.scope.host_id, self.keys.audit().public()))
    }

    fn audit_page(&self, after: Option<u64>) -> Answer<'_, AuditPage> {
        answer(self.read("read the audit log", move |it| audit_keeping::page(it, after)))
    }

    fn audit_checkpoints(&self, after: u64, limit: usize) -> Answer<'_, Vec<Checkpoint>> {
        answer(self.read("read the checkpoints", move |connection| {
            audit_keeping::checkpoints(connection, after, limit)
        }))
    }

    fn audit_anchored(&self, place: String) -> Answer<'_, Option<u64>> {
        answer(self.read("read the anchors", move |it| audit_keeping::anchored(it, &place)))
    }

    fn audit_key(&self) -> VerifyingKey {
        self.keys.audit().public()
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
            keys.unseal(id.as_bytes(), &pieces).map_err(Fault::Store)
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
