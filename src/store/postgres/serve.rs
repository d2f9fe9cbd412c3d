//! Answers the store's calls: brings writes to the writer and readings to a reading connection.
//! Owns nothing. Face: the traits of `store`. Never blocks the caller's thread.

use std::future::Future;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::PostgresStore;
use super::batch::{Sealed, Told, Work};
use super::export::export;
use super::fault::Fault;
use super::projects::{self, SealedRevision};
use super::rows::{optional_time, signed};
use super::statements::Sql;
use super::writer::Job as Order;
use super::{audit, audit_keeping, run_reads};
use crate::base::ids::{EventId, RevisionId, RunId, WorkspaceId};
use crate::base::{Digest, Name, Secret, Timestamp};
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::{Checkpoint, VerifyingKey};
use crate::domain::audit::{AuditEvents, AuditRecord};
use crate::domain::runs::{
    Agent, Attempt, HostedType, Job, OperationRun, QueueControl, StepRecord,
};
use crate::store::audit::prove;
use crate::store::filter::{Bound, Marks, Restriction};
use crate::store::transfer::Parts;
use crate::store::{
    Accepted, Admission, Adoption, AlertWrite, Answer, AuditFilter, AuditOptions, AuditPage,
    Backlog, Change, Claim, Claimed, Conflict, ContainerExit, Cursor, Heard, JobFilter, Lost,
    NewRevision, Notice, OpenAttempt, Page, PageRequest, Project, QueueDepth, ReadAudit,
    ReadProjects, ReadQueue, ReadRuns, RegistryWrite, Revision, RunFilter, RunProgress, Scope,
    SignOfLife, Snapshot, Store, StoreError, Write,
};

impl PostgresStore {
    /// Brings a change to the writer; returns when it is durable.
    pub(super) async fn write(&self, act: &'static str, work: Work) -> Result<Told, StoreError> {
        let (reply, told) = oneshot::channel();
        let order = Order { act, work, reply, since: Instant::now() };
        let sender = lock(&self.jobs).clone().ok_or(StoreError::Stopped)?;
        sender.send(order).await.map_err(|_| StoreError::Stopped)?;
        drop(sender);
        told.await.map_err(|_| StoreError::Stopped)?
    }

    /// The one record that a statement finds, if any.
    pub(super) async fn one<T>(
        &self,
        act: &'static str,
        sql: Sql,
        values: &[Bound],
        read: impl Fn(&tokio_postgres::Row) -> Result<T, Fault>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.many(act, sql, values, read).await?.pop())
    }

    pub(super) async fn many<T>(
        &self,
        act: &'static str,
        sql: Sql,
        values: &[Bound],
        read: impl Fn(&tokio_postgres::Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, StoreError> {
        self.is_open()?;
        self.readers.rows(act, sql.text(), values, read).await
    }

    pub(super) fn is_open(&self) -> Result<(), StoreError> {
        match *lock(&self.jobs) {
            Some(_) => Ok(()),
            None => Err(StoreError::Stopped),
        }
    }

    pub(super) fn host(&self) -> Bound {
        Bound::Text(self.scope.host_id.to_string())
    }

    /// Seals the content of revisions: what leaves this host cannot be read there.
    async fn prepare(&self, writes: Vec<Write>) -> Result<(Vec<Write>, Sealed), StoreError> {
        let (mut plain, mut sealed) = (Vec::with_capacity(writes.len()), Sealed::default());
        for write in writes {
            match write {
                Write::PutRevision(new) => sealed.revisions.push(self.seal(new).await?),
                Write::Alert(AlertWrite::PutReceiver { receiver, webhook }) => {
                    sealed.receivers.push(self.seal_receiver(*receiver, &webhook)?);
                }
                Write::Registry(RegistryWrite::PutLogin { login, password }) => {
                    sealed.logins.push(self.seal_login(*login, &password)?);
                }
                write => plain.push(write),
            }
        }
        Ok((plain, sealed))
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
        let (keys, entropy) = (self.keys.clone(), Arc::clone(&self.ambient.entropy));
        let id = revision.id;
        #[expect(clippy::disallowed_methods, reason = "a large bundle is sealed on a thread")]
        let sealed = spawn_blocking(move || keys.seal(id.as_bytes(), &content, &*entropy)).await;
        Ok(SealedRevision { revision, pieces: sealed.map_err(|_| StoreError::Stopped)?? })
    }

    async fn close_all(&self) -> Result<(), StoreError> {
        drop(lock(&self.jobs).take());
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // The thread ends when it has served everybody who was waiting.
            #[expect(clippy::disallowed_methods, reason = "the database is waited for on a thread")]
            let ended = spawn_blocking(move || thread.join()).await;
            ended.map_err(|_| StoreError::Stopped)?.map_err(|_| StoreError::Stopped)?;
        }
        self.readers.close();
        Ok(())
    }

    async fn page(&self, after: Option<u64>) -> Result<AuditPage, StoreError> {
        self.is_open()?;
        let act = "read the audit log";
        let told = |fault: Fault| fault.into_store(&self.place, act);
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        let asked = audit_keeping::asked(&self.scope.host_id.to_string(), after);
        for (rows, (sql, values)) in found.iter_mut().zip(asked) {
            *rows = self.readers.query(sql.text(), &values).await.map_err(told)?;
        }
        audit_keeping::page(after, found).map_err(told)
    }

    async fn open_attempts(&self) -> Result<Vec<OpenAttempt>, StoreError> {
        let act = "find interrupted runs";
        let read = |row: &tokio_postgres::Row| {
            Ok((run_reads::attempt(row)?, super::rows::small(row, 11)?))
        };
        let open = self.many(act, Sql::OpenAttempts, &[], read).await?;
        let ids = open.iter().map(|(attempt, _)| attempt.run_id.to_string()).collect();
        let runs = self.runs_by_id(act, ids).await?;
        // A run that ended between the two readings has no open attempt any more.
        let found = open.into_iter().filter_map(|(attempt, interruptions)| {
            let run = runs.iter().find(|run| run.id == attempt.run_id)?.clone();
            Some(OpenAttempt { run, attempt, interruptions })
        });
        Ok(found.collect())
    }

    async fn runs_by_id(
        &self,
        act: &'static str,
        ids: Vec<String>,
    ) -> Result<Vec<OperationRun>, StoreError> {
        self.many(act, Sql::RunsById, &[Bound::Texts(ids)], run_reads::run).await
    }

    async fn lost(&self, agent: &Agent, at: Timestamp) -> Result<Lost, StoreError> {
        let act = "find lost workers";
        let mut lost = Lost::default();
        let mut attempts = self.open_attempts().await?;
        lost.keep(&mut attempts, (agent, at), |open| {
            Some((&open.attempt.holder, open.attempt.lease_until))
        });
        let mut jobs = self.many(act, Sql::RunningJobs, &[], run_reads::job).await?;
        lost.keep(&mut jobs, (agent, at), |job| job.holder.as_ref().zip(job.lease_until));
        let ids = jobs.iter().map(|job| job.run_id.to_string()).collect();
        let runs = self.runs_by_id(act, ids).await?;
        let jobs = jobs
            .into_iter()
            .filter_map(|job| Some((runs.iter().find(|run| run.id == job.run_id)?.clone(), job)));
        Ok(Lost { attempts, jobs: jobs.collect(), ..lost })
    }

    async fn list_jobs(
        &self,
        filter: JobFilter,
        page: PageRequest,
    ) -> Result<Page<Job>, StoreError> {
        self.is_open()?;
        let after = match &page.after {
            Some(Cursor(text)) => {
                Some(text.parse().map_err(|_| StoreError::BadCursor(text.clone()))?)
            }
            None => None,
        };
        let limit = page.bounded_limit();
        let (sql, values) = Restriction::new(Marks::Dollar)
            .equals("j.run_id", filter.run_id.to_string())
            .any_of("j.status", &filter.statuses)
            .more_than("j.number", after)
            .query(super::columns::job!(), "j.number", limit + 1);
        let read = |row: &tokio_postgres::Row| {
            Ok((run_reads::job(row)?, Cursor(row.try_get::<_, i64>(14)?.to_string())))
        };
        let found = self.readers.rows("list the jobs", &sql, &values, read).await?;
        Ok(cut(found, limit))
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a page of what was read: one item more than the page holds means that there are more.
pub(super) fn cut<T>(mut found: Vec<(T, Cursor)>, limit: usize) -> Page<T> {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(_, cursor)| cursor.clone());
    Page { items: found.into_iter().map(|(item, _)| item).collect(), next }
}

/// Boxes the future of an answer.
pub(super) fn answer<'a, T>(
    future: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> Answer<'a, T> {
    Box::pin(future)
}

pub(super) fn texts<const N: usize>(values: [&dyn ToString; N]) -> [Bound; N] {
    values.map(|value| Bound::Text(value.to_string()))
}

impl Store for PostgresStore {
    fn commit(&self, writes: Vec<Write>, events: AuditEvents) -> Answer<'_, ()> {
        answer(async move {
            let (writes, sealed) = self.prepare(writes).await?;
            let events = events.iter().cloned().collect();
            let work = Work::Commit { writes, sealed, events, teller: None };
            self.write("take the change", work).await.map(drop)
        })
    }

    fn change(&self, change: Change) -> Answer<'_, Vec<Notice>> {
        answer(async move {
            let (writes, sealed) = self.prepare(change.writes).await?;
            let (events, teller) = (change.events, Some(change.teller));
            let work = Work::Commit { writes, sealed, events, teller };
            self.write("take the change", work).await?.notices()
        })
    }

    fn admit(&self, admission: Admission) -> Answer<'_, Accepted> {
        answer(async move {
            let Admission { run, supersedes, claimant, writes, events, teller } = admission;
            let (writes, sealed) = self.prepare(writes).await?;
            let events = events.iter().cloned().collect();
            let admission =
                super::batch::Admit { run, supersedes, claimant, writes, sealed, events, teller };
            let work = Work::Admit(Box::new(admission));
            self.write("accept the run", work).await?.accepted()
        })
    }

    fn claim(&self, claim: Claim) -> Answer<'_, Vec<Claimed>> {
        answer(
            async move { self.write("find runs to execute", Work::Claim(claim)).await?.claimed() },
        )
    }

    fn sign_of_life(&self, sign: SignOfLife) -> Answer<'_, Heard> {
        answer(async move {
            self.write("record the sign of life", Work::SignOfLife(sign)).await?.heard()
        })
    }

    fn register_agent(&self, agent: Agent) -> Answer<'_, ()> {
        answer(async move {
            self.write("register the agent", Work::RegisterAgent(agent)).await.map(drop)
        })
    }

    fn record_step(&self, step: StepRecord, progress: RunProgress) -> Answer<'_, ()> {
        answer(async move {
            let work = Work::Step { step: Box::new(step), progress };
            self.write("record the step", work).await.map(drop)
        })
    }

    fn add_progress(&self, run_id: RunId, attempt: u32, progress: RunProgress) -> Answer<'_, ()> {
        answer(async move {
            let work = Work::Progress { run_id, attempt, progress };
            self.write("record the progress", work).await.map(drop)
        })
    }

    fn heartbeat(&self, instance: String, at: Timestamp, lease_until: Timestamp) -> Answer<'_, ()> {
        answer(async move {
            let work = Work::Heartbeat { instance, at, lease_until };
            self.write("record the sign of life", work).await.map(drop)
        })
    }

    fn record_exit(&self, exit: ContainerExit) -> Answer<'_, ()> {
        answer(async move { self.write("record the exit", Work::Exit(exit)).await.map(drop) })
    }

    fn forget_exits(
        &self,
        workspace: WorkspaceId,
        project: String,
        container_ids: Vec<String>,
    ) -> Answer<'_, ()> {
        answer(async move {
            let work = Work::ForgetExits { workspace, project, container_ids };
            self.write("forget the exits", work).await.map(drop)
        })
    }

    fn doom_volumes(
        &self,
        workspace: WorkspaceId,
        project: String,
        names: Vec<String>,
    ) -> Answer<'_, ()> {
        answer(async move {
            let work = Work::DoomVolumes { workspace, project, names };
            self.write("remember the volumes", work).await.map(drop)
        })
    }

    fn scope(&self) -> Scope {
        self.scope.clone()
    }

    fn check(&self) -> Answer<'_, ()> {
        answer(async move { self.write("answer", Work::Check).await.map(drop) })
    }

    fn maintain(&self) -> Answer<'_, ()> {
        answer(async move { self.write("renew its statistics", Work::Maintain).await.map(drop) })
    }

    fn close(&self) -> Answer<'_, ()> {
        answer(self.close_all())
    }
}

impl Snapshot for PostgresStore {
    fn snapshot(&self) -> Parts {
        export(self.server.clone(), self.ambient.now())
    }
}

impl ReadRuns for PostgresStore {
    fn run(&self, id: RunId) -> Answer<'_, Option<OperationRun>> {
        answer(async move {
            self.one("read the run", Sql::RunById, &texts([&id]), run_reads::run).await
        })
    }

    fn runs(&self, filter: RunFilter, page: PageRequest) -> Answer<'_, Page<OperationRun>> {
        answer(async move {
            self.is_open()?;
            let (sql, values) = run_reads::query(&filter, &page)?;
            let found = self.readers.rows("list the runs", &sql, &values, run_reads::listed);
            Ok(cut(found.await?, page.bounded_limit()))
        })
    }

    fn attempts(&self, run: RunId) -> Answer<'_, Vec<Attempt>> {
        answer(async move {
            let values = texts([&run]);
            self.many("read the attempts", Sql::Attempts, &values, run_reads::attempt).await
        })
    }

    fn steps(&self, run: RunId) -> Answer<'_, Vec<StepRecord>> {
        answer(async move {
            self.many("read the steps", Sql::Steps, &texts([&run]), run_reads::step).await
        })
    }

    fn active_run(
        &self,
        workspace: WorkspaceId,
        identity: Digest,
    ) -> Answer<'_, Option<OperationRun>> {
        answer(async move {
            let values = texts([&workspace, &identity]);
            self.one("find the run", Sql::ActiveRun, &values, run_reads::run).await
        })
    }

    fn due(&self, at: Timestamp) -> Answer<'_, Vec<OperationRun>> {
        answer(async move {
            let values = [super::rows::nanos(at).into()];
            self.many("find due runs", Sql::Due, &values, run_reads::run).await
        })
    }

    fn next_due(&self) -> Answer<'_, Option<Timestamp>> {
        answer(async move {
            let read = |row: &tokio_postgres::Row| optional_time(row, 0);
            Ok(self.one("find due runs", Sql::NextDue, &[], read).await?.flatten())
        })
    }

    fn backlog(&self) -> Answer<'_, Vec<Backlog>> {
        answer(self.many("count the runs", Sql::Backlog, &[], run_reads::backlog))
    }

    fn open_attempts(&self) -> Answer<'_, Vec<OpenAttempt>> {
        answer(self.open_attempts())
    }

    fn lost(&self, agent: Agent, at: Timestamp) -> Answer<'_, Lost> {
        answer(async move { self.lost(&agent, at).await })
    }

    fn job(&self, run: RunId, key: String) -> Answer<'_, Option<Job>> {
        answer(async move {
            self.one("read the job", Sql::JobByKey, &texts([&run, &key]), run_reads::job).await
        })
    }

    fn jobs(&self, filter: JobFilter, page: PageRequest) -> Answer<'_, Page<Job>> {
        answer(self.list_jobs(filter, page))
    }
}

impl ReadQueue for PostgresStore {
    fn agents(&self) -> Answer<'_, Vec<Agent>> {
        answer(self.many("list the agents", Sql::Agents, &[], run_reads::agent))
    }

    fn hosted_types(&self, workspace: WorkspaceId) -> Answer<'_, Vec<HostedType>> {
        answer(async move {
            let values = texts([&workspace]);
            let read = run_reads::hosted_type;
            self.many("list the hosted types", Sql::HostedTypes, &values, read).await
        })
    }

    fn hosted_type(&self, workspace: WorkspaceId, name: Name) -> Answer<'_, Option<HostedType>> {
        answer(async move {
            let values = texts([&workspace, &name]);
            let read = run_reads::hosted_type;
            self.one("read the hosted type", Sql::HostedType, &values, read).await
        })
    }

    fn queue_controls(&self, workspace: WorkspaceId) -> Answer<'_, Vec<QueueControl>> {
        answer(async move {
            let values = texts([&workspace]);
            let read = run_reads::queue_control;
            self.many("list what holds the queue back", Sql::QueueControls, &values, read).await
        })
    }

    fn queue_depths(&self, workspace: WorkspaceId) -> Answer<'_, Vec<QueueDepth>> {
        answer(async move {
            let values = texts([&workspace]);
            let read = run_reads::queue_depth;
            self.many("measure the queue", Sql::QueueDepths, &values, read).await
        })
    }
}

impl ReadAudit for PostgresStore {
    fn audit_record(&self, id: EventId) -> Answer<'_, Option<AuditRecord>> {
        answer(async move {
            self.one("read the audit record", Sql::AuditById, &texts([&id]), audit::record).await
        })
    }

    fn audit(&self, filter: AuditFilter, page: PageRequest) -> Answer<'_, Page<AuditRecord>> {
        answer(async move {
            self.is_open()?;
            let (sql, values) = audit::query(&filter, &page)?;
            let found = self.readers.rows("list the audit log", &sql, &values, audit::listed);
            Ok(cut(found.await?, page.bounded_limit()))
        })
    }

    fn audit_options(&self, filter: AuditFilter) -> Answer<'_, AuditOptions> {
        answer(async move {
            self.is_open()?;
            let (sql, values) = audit::options_query(&filter);
            let doing = "look what the audit log can be filtered by";
            let found = self.readers.rows(doing, &sql, &values, audit::option);
            Ok(found.await?.into_iter().collect())
        })
    }

    fn verify_audit(&self) -> Answer<'_, Verdict> {
        answer(prove(self, self.scope.host_id, self.keys.audit().public()))
    }

    fn audit_page(&self, after: Option<u64>) -> Answer<'_, AuditPage> {
        answer(self.page(after))
    }

    fn audit_checkpoints(&self, after: u64, limit: usize) -> Answer<'_, Vec<Checkpoint>> {
        answer(async move {
            let (after, limit) =
                (Bound::Number(signed(after)), Bound::Number(signed(limit as u64)));
            let values = [self.host(), after, limit];
            let read = audit_keeping::checkpoint;
            self.many("read the checkpoints", Sql::AuditCheckpoints, &values, read).await
        })
    }

    fn audit_anchored(&self, place: String) -> Answer<'_, Option<u64>> {
        answer(async move {
            let values = [self.host(), Bound::Text(place)];
            let read = |row: &tokio_postgres::Row| super::rows::unsigned(row, 0);
            self.one("read the anchors", Sql::AuditAnchored, &values, read).await
        })
    }

    fn audit_key(&self) -> VerifyingKey {
        self.keys.audit().public()
    }
}

impl ReadProjects for PostgresStore {
    fn projects(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Project>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace]);
            self.many("list the projects", Sql::Projects, &values, projects::project).await
        })
    }

    fn project(&self, workspace: WorkspaceId, name: String) -> Answer<'_, Option<Project>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace, &name]);
            self.one("read the project", Sql::Project, &values, projects::project).await
        })
    }

    fn revision(&self, id: RevisionId) -> Answer<'_, Option<Revision>> {
        answer(async move {
            let values = texts([&id]);
            self.one("read the revision", Sql::RevisionById, &values, projects::revision).await
        })
    }

    fn revision_by_digest(
        &self,
        workspace: WorkspaceId,
        project: String,
        digest: Digest,
    ) -> Answer<'_, Option<Revision>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace, &project, &digest]);
            self.one("find the revision", Sql::RevisionByDigest, &values, projects::revision).await
        })
    }

    fn revision_content(&self, id: RevisionId) -> Answer<'_, Secret<Vec<u8>>> {
        answer(async move {
            self.is_open()?;
            let rows = self.readers.query(Sql::Chunks.text(), &texts([&id])).await;
            let pieces = rows.and_then(|rows| projects::pieces(&rows));
            let act = "read the revision";
            match pieces.map_err(|fault| fault.into_store(&self.place, act))? {
                Some(pieces) => self.keys.unseal(id.as_bytes(), &pieces),
                None => Err(Conflict::Missing { noun: "revision", id: id.to_string() }.into()),
            }
        })
    }

    fn adoptions(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<Adoption>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace, &project]);
            let read = |row: &tokio_postgres::Row| projects::adoption(workspace, &project, row);
            self.many("list the adoptions", Sql::Adoptions, &values, read).await
        })
    }

    fn doomed_volumes(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<String>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace, &project]);
            let read = |row: &tokio_postgres::Row| super::rows::text(row, 0);
            self.many("list the volumes", Sql::DoomedVolumes, &values, read).await
        })
    }

    fn exits(&self, workspace: WorkspaceId, project: String) -> Answer<'_, Vec<ContainerExit>> {
        answer(async move {
            let values = texts([&self.scope.host_id, &workspace, &project]);
            let read = |row: &tokio_postgres::Row| projects::exit(workspace, &project, row);
            self.many("list the exits", Sql::Exits, &values, read).await
        })
    }
}
