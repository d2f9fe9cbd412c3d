//! Executes the changes of all waiting callers in one transaction. Owns the order of its parts: load
//! what they look at, decide, write out, append to the audit log, commit. Face: `execute`, `Work`,
//! `Told`. Never decides itself what a change means: the ledger does.

use super::access;
use super::acts::{expected, has_own_statements, own_rows};
use super::alerts::{self, SealedReceiver};
use super::audit::{Entries, Head};
use super::audit_keeping::{self, Keeping};
use super::cache::Cache;
use super::claims;
use super::enforcement;
use super::fault::Fault;
use super::findings;
use super::flush::{Calls, Pending};
use super::news::{Topic, Topics};
use super::projects::{self, SealedRevision};
use super::registries::{self, SealedLogin};
use super::rows::{digest, unsigned};
use super::server::Session;
use super::statements::Sql;
use super::writer::{CHANNEL, Sent};
use super::{scans, schedules};
use crate::base::ids::{DeliveryId, HostId, RevisionId, RunId, WorkspaceId};
use crate::base::{Ambient, Name, Timestamp};
use crate::domain::alerts::{Delivery, DeliveryEvent};
use crate::domain::audit::AuditEvent;
use crate::domain::audit::chain::GENESIS;
use crate::domain::runs::{Agent, OperationRun, RunType, StepRecord};
use crate::store::ledger::{Act, Ledger};
use crate::store::{
    Accepted, Claim, Claimant, Claimed, Conflict, ContainerExit, Heard, Notice, RunProgress,
    ScheduleWrite, SignOfLife, StoreError, TakeDeliveries, Teller, Write,
};

/// What one caller wants.
#[derive(Debug)]
pub(super) enum Work {
    /// To know that the database takes writes.
    Check,
    /// Its statistics to be renewed.
    Maintain,
    /// Changes, with what is recorded of them.
    Commit { writes: Vec<Write>, sealed: Sealed, events: Vec<AuditEvent>, teller: Option<Teller> },
    /// A run to be accepted.
    Admit(Box<Admit>),
    /// Work to be taken.
    Claim(Claim),
    /// A hosted worker is alive.
    SignOfLife(SignOfLife),
    /// An agent has started.
    RegisterAgent(Agent),
    /// A step began or ended.
    Step { step: Box<StepRecord>, progress: RunProgress },
    /// Progress of a live attempt.
    Progress { run_id: RunId, attempt: u32, progress: RunProgress },
    /// An agent is alive.
    Heartbeat { instance: String, at: Timestamp, lease_until: Timestamp },
    /// A container exited.
    Exit(ContainerExit),
    /// Containers run again whose exits were remembered.
    ForgetExits { workspace: WorkspaceId, project: String, container_ids: Vec<String> },
    /// Anonymous volumes are about to be removed.
    DoomVolumes { workspace: WorkspaceId, project: String, names: Vec<String> },
    /// Deliveries to be sent.
    TakeDeliveries(TakeDeliveries),
    /// Housekeeping of the audit log.
    KeepAudit(Keeping),
    /// What came of a try.
    ReportDelivery { id: DeliveryId, event: DeliveryEvent },
}

/// A run to be accepted, with all that belongs to it.
#[derive(Debug)]
pub(super) struct Admit {
    pub(super) run: Box<OperationRun>,
    pub(super) supersedes: bool,
    pub(super) claimant: Option<Claimant>,
    pub(super) writes: Vec<Write>,
    pub(super) sealed: Sealed,
    pub(super) events: Vec<AuditEvent>,
    pub(super) teller: Teller,
}

/// What was sealed on this host before it came here.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    pub(super) revisions: Vec<SealedRevision>,
    pub(super) receivers: Vec<SealedReceiver>,
    pub(super) logins: Vec<SealedLogin>,
}

impl Work {
    /// Whether it is done with statements of its own, that cannot be taken back alone or that look
    /// at rows which nobody else may have changed before: it has the transaction for itself.
    pub(super) fn is_alone(&self) -> bool {
        let (writes, sealed) = match self {
            Self::Commit { writes, sealed, .. } => (writes, sealed),
            Self::Admit(admit) => (&admit.writes, &admit.sealed),
            _ => return false,
        };
        let is_own = |write: &Write| {
            use Write::{ExpectNoProject, ExpectProject};
            has_own_statements(write)
                || matches!(write, ExpectProject { .. } | ExpectNoProject { .. })
        };
        !sealed.receivers.is_empty()
            || !sealed.logins.is_empty()
            || !sealed.revisions.is_empty()
            || writes.iter().any(is_own)
    }
}

/// What a caller hears.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Done,
    Notices(Vec<Notice>),
    Accepted(Box<Accepted>),
    Claimed(Vec<Claimed>),
    Heard(Heard),
    Deliveries(Vec<Delivery>),
    Kept(bool),
}

impl Told {
    fn wrong<T>() -> Result<T, StoreError> {
        let reason = "the writer answered another question".to_owned();
        Err(StoreError::Unreadable { noun: "answer", reason })
    }

    pub(super) fn notices(self) -> Result<Vec<Notice>, StoreError> {
        match self {
            Self::Notices(notices) => Ok(notices),
            _ => Self::wrong(),
        }
    }

    pub(super) fn accepted(self) -> Result<Accepted, StoreError> {
        match self {
            Self::Accepted(accepted) => Ok(*accepted),
            _ => Self::wrong(),
        }
    }

    pub(super) fn claimed(self) -> Result<Vec<Claimed>, StoreError> {
        match self {
            Self::Claimed(claimed) => Ok(claimed),
            _ => Self::wrong(),
        }
    }

    pub(super) fn deliveries(self) -> Result<Vec<Delivery>, StoreError> {
        match self {
            Self::Deliveries(deliveries) => Ok(deliveries),
            _ => Self::wrong(),
        }
    }

    pub(super) fn kept(self) -> Result<bool, StoreError> {
        match self {
            Self::Kept(kept) => Ok(kept),
            _ => Self::wrong(),
        }
    }

    pub(super) fn heard(self) -> Result<Heard, StoreError> {
        match self {
            Self::Heard(heard) => Ok(heard),
            _ => Self::wrong(),
        }
    }
}

/// Where the host's writer stands in the database, as long as its connection lasts.
#[derive(Debug)]
pub(super) struct State {
    host: String,
    pub(super) batch: i64,
    head: Head,
    /// Whether something held the queue back, or limited it, when that was looked at last.
    is_held_back: bool,
    is_limited: bool,
}

impl State {
    /// Takes the host for this connection: a second writer for one host would tear its chain.
    pub(super) async fn begin(
        session: &Session,
        host_id: HostId,
        place: &str,
    ) -> Result<Self, Fault> {
        let host = host_id.to_string();
        session.client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
        let taken = session.query(Sql::TakeHost, &[&host]).await?;
        if !taken.first().map_or(Ok(false), |row| row.try_get::<_, bool>(0))? {
            // Also the connection that was lost, until the server notices.
            let source = "another connection works for this host".into();
            return Err(StoreError::Away { place: place.to_owned(), source }.into());
        }
        let known = session.query(Sql::Host, &[&host]).await?;
        let missing = || Conflict::Missing { noun: "host", id: host.clone() };
        let batch = known.first().ok_or_else(missing)?.try_get(5)?;
        let head = session.query(Sql::AuditHead, &[&host]).await?;
        let head = match head.first() {
            Some(row) => Head { seq: unsigned(row, 0)?, hash: digest(row.try_get(1)?)? },
            None => Head { seq: 0, hash: GENESIS },
        };
        Ok(Self { host, batch, head, is_held_back: false, is_limited: false })
    }
}

/// What follows from one caller's work.
pub(super) struct Decided<'a> {
    pub(super) told: Told,
    pub(super) events: Vec<AuditEvent>,
    /// Rows of their own that no other write looks at.
    pub(super) rows: Vec<&'a Write>,
    pub(super) revisions: &'a [SealedRevision],
}

impl Decided<'_> {
    fn done() -> Self {
        Self { told: Told::Done, events: Vec::new(), rows: Vec::new(), revisions: &[] }
    }
}

/// Executes all works in one transaction and answers what each caller is told, and where other
/// agents have to look. An error means that nothing was changed, except
/// when `sent` is set: then it is not known.
pub(super) async fn execute(
    session: &Session,
    state: &mut State,
    works: &[&Work],
    ambient: &Ambient,
    sent: &mut Option<Sent>,
) -> Result<(Vec<Result<Told, StoreError>>, Topics), Fault> {
    let done = transact(session, state, works, ambient, sent).await;
    if let Err(fault) = &done
        && !fault.is_away()
    {
        // Whatever failed, the next transaction begins with a clean connection.
        session.client.batch_execute("ROLLBACK").await?;
        *sent = None;
    }
    done
}

async fn transact(
    session: &Session,
    state: &mut State,
    works: &[&Work],
    ambient: &Ambient,
    sent: &mut Option<Sent>,
) -> Result<(Vec<Result<Told, StoreError>>, Topics), Fault> {
    let expected: Vec<RevisionId> = works.iter().flat_map(|work| expected(work)).collect();
    let mut cache = Cache::expecting(&expected);
    let mut pending = Pending::default();
    let (mut entries, mut head) = (Entries::default(), state.head);
    let mut told = Vec::with_capacity(works.len());
    let mut last = Calls::default();
    if cache.begin(session, works, state.is_held_back).await? {
        pending.touch();
    }
    for work in works {
        let decided = match decide(session, &state.host, &mut cache, &mut pending, work).await {
            Ok(decided) => decided,
            // Its own statements may have been executed: nobody else is in this transaction.
            Err(Fault::Store(error)) if work.is_alone() => {
                session.client.batch_execute("ROLLBACK").await?;
                return Ok((vec![Err(error)], Topics::new()));
            }
            Err(Fault::Store(error)) => {
                told.push(Err(error));
                continue;
            }
            Err(fault) => return Err(fault),
        };
        for event in &decided.events {
            head = entries.add(head, event, ambient)?;
        }
        for revision in decided.revisions {
            pending.put_revision(&state.host, revision);
            projects::drop_old_revisions(&mut last, &state.host, revision);
        }
        for row in &decided.rows {
            pending.put_row(&state.host, row)?;
        }
        if pending.is_mass() {
            // What changes many rows at once is not in the working set: it is read again.
            session.ask(pending.take(&cache)?, false).await?;
            cache = Cache::expecting(&expected);
        }
        told.push(Ok(decided.told));
    }
    if let Some(controls) = &cache.controls {
        state.is_held_back = !controls.is_empty();
        state.is_limited = controls.iter().any(|control| control.concurrency_max.is_some());
    }
    let must_write = works.iter().any(|work| matches!(work, Work::Check));
    if pending.is_idle() && entries.is_empty() && last.is_empty() && !must_write {
        session.client.batch_execute("ROLLBACK").await?;
        return Ok((told, Topics::new()));
    }
    let raised = alerts::raise(session, &pending.take_alerts()).await?;
    if !raised.is_empty() {
        pending.topics.insert(Topic::Alert);
    }
    if pending.frees_places && state.is_limited {
        pending.topics.insert(Topic::Work);
    }
    let topics = std::mem::take(&mut pending.topics);
    let mut calls = pending.take(&cache)?;
    calls.append(raised);
    calls.append(last);
    entries.write(&mut calls, &state.host);
    let batch = state.batch + 1;
    calls.add(Sql::SetBatch, vec![Box::new(state.host.clone()), Box::new(batch)]);
    ambient.crash_points.reached("store.commit.before");
    let told = &mut sent.insert(Sent { batch, told }).told;
    session.commit(calls).await?;
    let told = std::mem::take(told);
    *sent = None;
    ambient.crash_points.reached("store.commit.after");
    (state.batch, state.head) = (batch, head);
    Ok((told, topics))
}

/// Decides what a work means. A conflict leaves the working set as it was.
async fn decide<'a>(
    session: &Session,
    host: &str,
    cache: &mut Cache,
    pending: &mut Pending,
    work: &'a Work,
) -> Result<Decided<'a>, Fault> {
    let mut ledger = Ledger::default();
    let mut decided = Decided::done();
    match work {
        Work::Check => {}
        Work::Maintain => {
            session.client.batch_execute("ANALYZE").await?;
            pending.touch();
        }
        Work::Commit { writes, sealed, events, teller } => {
            apply(session, host, cache, pending, &mut ledger, writes, sealed).await?;
            decided.events.clone_from(events);
            let notices = ledger.take_notices();
            if let Some(teller) = teller {
                decided.events.extend(notices.iter().filter_map(|notice| teller.tell(notice)));
                decided.told = Told::Notices(notices);
            }
            decided.rows = own_rows(writes);
            decided.revisions = &sealed.revisions;
        }
        Work::Admit(admit) => return admit_run(session, host, cache, pending, admit).await,
        Work::Claim(claim) => {
            let (told, events) = claims::claim(session, cache, pending, claim).await?;
            decided.events = events;
            decided.told = Told::Claimed(told);
            return Ok(decided);
        }
        Work::SignOfLife(sign) => {
            cache.provide(session, &mut ledger, Act::SignOfLife(sign)).await?;
            decided.told = Told::Heard(ledger.sign_of_life(sign)?);
        }
        Work::Step { step, progress } => {
            let act = Act::Progress { run_id: step.run_id, progress };
            cache.provide(session, &mut ledger, act).await?;
            ledger.progress(step.run_id, step.attempt, progress)?;
            pending.put_step(step)?;
        }
        Work::Progress { run_id, attempt, progress } => {
            cache
                .provide(session, &mut ledger, Act::Progress { run_id: *run_id, progress })
                .await?;
            ledger.progress(*run_id, *attempt, progress)?;
        }
        Work::RegisterAgent(agent) => pending.register_agent(agent),
        Work::Heartbeat { instance, at, lease_until } => {
            pending.heartbeat(instance, *at, *lease_until);
        }
        Work::Exit(exit) => pending.put_exit(host, exit),
        Work::ForgetExits { workspace, project, container_ids } => {
            pending.forget_exits(host, (*workspace, project), container_ids);
        }
        Work::DoomVolumes { workspace, project, names } => {
            pending.doom_volumes(host, (*workspace, project), names);
        }
        Work::TakeDeliveries(take) => {
            let (deliveries, is_changed) = alerts::take(session, host, *take).await?;
            if is_changed {
                pending.touch();
            }
            decided.told = Told::Deliveries(deliveries);
        }
        Work::KeepAudit(keeping) => {
            let kept = audit_keeping::keep(session, host, keeping).await?;
            if kept {
                pending.touch();
            }
            decided.told = Told::Kept(kept);
        }
        Work::ReportDelivery { id, event } => {
            alerts::report(session, *id, event.clone()).await?;
            pending.touch();
        }
    }
    pending.add(&mut ledger, cache);
    Ok(decided)
}

/// Applies writes in their order.
async fn apply(
    session: &Session,
    host: &str,
    cache: &mut Cache,
    pending: &mut Pending,
    ledger: &mut Ledger,
    writes: &[Write],
    sealed: &Sealed,
) -> Result<(), Fault> {
    projects::expect(session, host, writes, &sealed.revisions).await?;
    for receiver in &sealed.receivers {
        alerts::put_receiver(session, host, receiver).await?;
        pending.touch();
    }
    for login in &sealed.logins {
        registries::put_login(session, host, login).await?;
        pending.touch();
    }
    for write in writes {
        match write {
            Write::Schedule(write) => {
                schedules::write(session, write).await?;
                // Whoever moves its progress has dealt with it.
                if !matches!(write, ScheduleWrite::Advance(_)) {
                    pending.topics.insert(Topic::Schedule);
                }
            }
            Write::Alert(write) => {
                alerts::write(session, write).await?;
                pending.topics.insert(Topic::Alert);
            }
            // What is written with it decides whether its writer still may.
            Write::Finding(_) => {}
            Write::Audit(write) => audit_keeping::write(session, host, write).await?,
            Write::Access(write) => access::write(session, write).await?,
            Write::Registry(write) => registries::write(session, host, write).await?,
            Write::Enforcement(write) => enforcement::write(session, host, write).await?,
            Write::Scan(write) => scans::write(session, host, write).await?,
            Write::DropHostedType { workspace_id, name } => {
                drop_hosted_type(session, *workspace_id, *name).await?;
            }
            _ => {}
        }
        if has_own_statements(write) {
            pending.touch();
        }
        cache.provide(session, ledger, Act::Write(write)).await?;
        ledger.apply(write)?;
        if let Write::Finding(write) = write {
            findings::write(session, write).await?;
        }
    }
    Ok(())
}

/// Forgets a hosted type that no active run is of.
async fn drop_hosted_type(
    session: &Session,
    workspace: WorkspaceId,
    name: Name,
) -> Result<(), Fault> {
    let (workspace, text) = (workspace.to_string(), name.to_string());
    let used = session.query(Sql::TypeInUse, &[&workspace, &text]).await?;
    if !used.is_empty() {
        return Err(Conflict::TypeInUse(RunType::Hosted(name)).into());
    }
    let gone = session.query(Sql::DropHostedType, &[&workspace, &text]).await?;
    let missing = || Conflict::Missing { noun: "hosted type", id: text };
    gone.first().map(drop).ok_or_else(|| missing().into())
}

/// Accepts a run, and begins it when a worker is free and nothing stands against it.
async fn admit_run<'a>(
    session: &Session,
    host: &str,
    cache: &mut Cache,
    pending: &mut Pending,
    admit: &'a Admit,
) -> Result<Decided<'a>, Fault> {
    let mut decided = Decided::done();
    let mut ledger = Ledger::default();
    let (run, supersedes) = (&*admit.run, admit.supersedes);
    cache.provide(session, &mut ledger, Act::Insert { run, supersedes }).await?;
    match ledger.insert(run, supersedes) {
        Ok(()) => {}
        Err(Conflict::ActiveRun(active)) => {
            let existing = ledger.run(active)?.clone();
            decided.told = Told::Accepted(Box::new(Accepted::Existing(existing)));
            return Ok(decided);
        }
        Err(conflict) => return Err(conflict.into()),
    }
    let (writes, sealed) = (&admit.writes, &admit.sealed);
    apply(session, host, cache, pending, &mut ledger, writes, sealed).await?;
    if let Some(claimant) = &admit.claimant
        && claimant.may_begin(run)
        && claims::is_first(session, cache, pending, run.run_type(), claimant.at).await?
    {
        let start = Act::Start { run_id: run.id };
        cache.provide(session, &mut ledger, start).await?;
        let mut begun = ledger.clone();
        match begun.start(run.id, claimant) {
            Ok(_) => ledger = begun,
            Err(conflict) => tracing::debug!(run_id = %run.id, %conflict, "run waits"),
        }
    }
    let notices = ledger.take_notices();
    decided.events.clone_from(&admit.events);
    decided.events.extend(notices.iter().filter_map(|notice| admit.teller.tell(notice)));
    let run = ledger.run(run.id)?.clone();
    decided.told = Told::Accepted(Box::new(Accepted::New { run, notices }));
    decided.rows = own_rows(&admit.writes);
    decided.revisions = &admit.sealed.revisions;
    pending.add(&mut ledger, cache);
    Ok(decided)
}
