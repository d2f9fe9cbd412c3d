//! The way from one simulated agent to the store. Owns its host's name there, what goes wrong on the
//! way, and the defects that lie in it. Face: `Link`. Never changes an answer otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;

use wharfinger::base::ids::{
    DeliveryId, EventId, FindingId, HostId, LoginId, ReceiverId, RevisionId, RunId, TenantId,
    WorkspaceId,
};
use wharfinger::base::{Digest, Name, Secret, Timestamp};
use wharfinger::domain::access::Directory;
use wharfinger::domain::alerts::{AlertRule, Delivery, DeliveryEvent, Receiver, Webhook};
use wharfinger::domain::audit::proof::Verdict;
use wharfinger::domain::audit::seal::{Checkpoint, PurgeCause, Tombstone, VerifyingKey};
use wharfinger::domain::audit::{AuditEvents, AuditRecord};
use wharfinger::domain::enforcement::Enforced;
use wharfinger::domain::findings::{Finding, FindingException, PolicyStanding};
use wharfinger::domain::registries::{Credentials, Login};
use wharfinger::domain::runs::{
    Agent, Attempt, HostedType, Job, OperationRun, QueueControl, StepRecord,
};
use wharfinger::domain::scans::ImageScan;
use wharfinger::domain::schedules::Schedule;
use wharfinger::store::transfer::Parts;
use wharfinger::store::{
    Accepted, Admission, Adoption, Answer, AuditFilter, AuditOptions, AuditPage, Backlog, Change,
    Claim, Claimed, CompleteRun, ContainerExit, DeliveryFilter, EndJob, FindingCount,
    FindingFilter, FindingTotals, Heard, JobFilter, KeepAudit, Lost, Notice, OpenAttempt, Outbox,
    Page, PageRequest, Project, QueueDepth, ReadAccess, ReadAlerts, ReadAudit, ReadEnforcement,
    ReadFindings, ReadProjects, ReadQueue, ReadRegistries, ReadRuns, ReadScans, ReadSchedules,
    Revision, RunFilter, RunProgress, ScanRow, Scope, SignOfLife, Snapshot, StandingCount, Store,
    StoreError, TakeDeliveries, Write,
};

use crate::flaws::Flaw;
use crate::mortal::Dice;

/// One agent's view of the store.
pub(crate) struct Link {
    store: Arc<dyn Store>,
    scope: Scope,
    dice: Dice,
    /// One in so many writes is not taken; 0 for none.
    trouble: u64,
    is_calm: AtomicBool,
    is_cut: AtomicBool,
    flaw: Option<Flaw>,
}

impl Link {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        host_id: HostId,
        dice: Dice,
        trouble: u64,
        flaw: Option<Flaw>,
    ) -> Arc<Self> {
        let scope = Scope { host_id, ..store.scope() };
        let (is_calm, is_cut) = Default::default();
        Arc::new(Self { store, scope, dice, trouble, is_calm, is_cut, flaw })
    }

    /// The agent hears nothing of the store, or does again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn calm(&self) {
        self.cut(false);
        self.is_calm.store(true, Ordering::Relaxed);
    }

    fn read<'a, T: Send + 'a>(&'a self, answer: Answer<'a, T>) -> Answer<'a, T> {
        async move {
            self.reached()?;
            let answer = answer.await?;
            self.reached().map(|()| answer)
        }
        .boxed()
    }

    fn write<'a, T: Send + 'a>(&'a self, answer: Answer<'a, T>) -> Answer<'a, T> {
        async move {
            self.reached()?;
            let has_bad_luck = self.trouble > 0
                && !self.is_calm.load(Ordering::Relaxed)
                && self.dice.once_in(self.trouble);
            match has_bad_luck {
                true if self.dice.once_in(2) => Err(away("a planted fault")),
                true => answer.await.and_then(|_| Err(away("a planted loss of the answer"))),
                false => answer.await,
            }
        }
        .boxed()
    }

    fn reached(&self) -> Result<(), StoreError> {
        match self.is_cut.load(Ordering::Relaxed) {
            true => Err(away("a planted cut")),
            false => Ok(()),
        }
    }

    /// What a defect makes of writes.
    async fn spoil(&self, writes: &mut Vec<Write>) -> Result<(), StoreError> {
        if self.flaw == Some(Flaw::Impatient) {
            writes.retain(|write| !matches!(write, Write::ExpectLease { .. }));
        }
        for write in writes {
            match (self.flaw, write) {
                (Some(Flaw::Unfenced), write) => self.renumber(write).await?,
                (Some(Flaw::CountsTwice), Write::EndJob(EndJob { counts, .. })) => {
                    counts.extend(counts.clone());
                }
                (Some(Flaw::CountsTwice), Write::CompleteRun(CompleteRun { progress, .. })) => {
                    progress.counts.extend(progress.counts.clone());
                }
                (Some(Flaw::ForgetsRetries), write) => {
                    if let Write::FailAttempt(fail) = write {
                        *write = Write::CompleteRun(CompleteRun {
                            run_id: fail.run_id,
                            attempt: fail.attempt,
                            end: fail.end,
                            at: fail.at,
                            progress: fail.progress.clone(),
                        });
                    }
                }
                (Some(Flaw::IgnoresLocks), Write::InsertBulk(bulk)) => bulk.run.subject = None,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whoever writes has the number that counts now.
    async fn renumber(&self, write: &mut Write) -> Result<(), StoreError> {
        match write {
            Write::CompleteRun(CompleteRun { run_id, attempt, .. })
            | Write::InterruptAttempt { run_id, attempt, .. }
            | Write::WaitRun { run_id, attempt, .. } => {
                *attempt = self.newest(*run_id, *attempt).await?;
            }
            Write::FailAttempt(fail) => {
                fail.attempt = self.newest(fail.run_id, fail.attempt).await?;
            }
            Write::EndJob(EndJob { run_id, key, attempt, .. })
            | Write::InterruptJob { run_id, key, attempt, .. } => {
                *attempt = self.newest_of_job(*run_id, key, *attempt).await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn newest(&self, run: RunId, attempt: u32) -> Result<u32, StoreError> {
        match self.flaw {
            Some(Flaw::Unfenced) => {
                Ok(self.store.run(run).await?.map_or(attempt, |run| run.attempt))
            }
            _ => Ok(attempt),
        }
    }

    async fn newest_of_job(&self, run: RunId, key: &str, attempt: u32) -> Result<u32, StoreError> {
        let job = self.store.job(run, key.to_owned()).await?;
        Ok(job.map_or(attempt, |job| job.attempt))
    }
}

fn away(what: &str) -> StoreError {
    StoreError::Away { place: "db".to_owned(), source: what.into() }
}

impl Store for Link {
    fn commit(&self, mut writes: Vec<Write>, events: AuditEvents) -> Answer<'_, ()> {
        self.write(
            async move {
                self.spoil(&mut writes).await?;
                self.store.commit(writes, events).await
            }
            .boxed(),
        )
    }

    fn change(&self, mut change: Change) -> Answer<'_, Vec<Notice>> {
        self.write(
            async move {
                self.spoil(&mut change.writes).await?;
                self.store.change(change).await
            }
            .boxed(),
        )
    }

    fn admit(&self, mut admission: Admission) -> Answer<'_, Accepted> {
        if self.flaw == Some(Flaw::IgnoresLocks) {
            admission.run.subject = None;
        }
        self.write(self.store.admit(admission))
    }

    fn sign_of_life(&self, mut sign: SignOfLife) -> Answer<'_, Heard> {
        self.write(
            async move {
                let at = &mut sign.attempt;
                if self.flaw == Some(Flaw::Unfenced) {
                    at.attempt = match &at.job {
                        Some(key) => self.newest_of_job(at.run_id, key, at.attempt).await?,
                        None => self.newest(at.run_id, at.attempt).await?,
                    };
                }
                self.store.sign_of_life(sign).await
            }
            .boxed(),
        )
    }

    fn record_step(&self, mut step: StepRecord, progress: RunProgress) -> Answer<'_, ()> {
        self.write(
            async move {
                step.attempt = self.newest(step.run_id, step.attempt).await?;
                self.store.record_step(step, progress).await
            }
            .boxed(),
        )
    }

    fn scope(&self) -> Scope {
        self.scope.clone()
    }

    fn claim(&self, claim: Claim) -> Answer<'_, Vec<Claimed>> {
        self.write(self.store.claim(claim))
    }

    fn register_agent(&self, agent: Agent) -> Answer<'_, ()> {
        // An agent that cannot make itself known does not start.
        self.store.register_agent(agent)
    }

    fn add_progress(&self, run: RunId, attempt: u32, progress: RunProgress) -> Answer<'_, ()> {
        self.write(self.store.add_progress(run, attempt, progress))
    }

    fn heartbeat(&self, instance: String, at: Timestamp, lease_until: Timestamp) -> Answer<'_, ()> {
        self.write(self.store.heartbeat(instance, at, lease_until))
    }

    fn record_exit(&self, exit: ContainerExit) -> Answer<'_, ()> {
        self.write(self.store.record_exit(exit))
    }

    fn forget_exits(
        &self,
        workspace: WorkspaceId,
        project: String,
        container_ids: Vec<String>,
    ) -> Answer<'_, ()> {
        self.write(self.store.forget_exits(workspace, project, container_ids))
    }

    fn doom_volumes(
        &self,
        workspace: WorkspaceId,
        project: String,
        names: Vec<String>,
    ) -> Answer<'_, ()> {
        self.write(self.store.doom_volumes(workspace, project, names))
    }

    fn check(&self) -> Answer<'_, ()> {
        self.read(self.store.check())
    }

    fn maintain(&self) -> Answer<'_, ()> {
        self.read(self.store.maintain())
    }

    fn close(&self) -> Answer<'_, ()> {
        self.store.close()
    }
}

impl Snapshot for Link {
    fn snapshot(&self) -> Parts {
        self.store.snapshot()
    }
}

/// Calls that go through as they are, when the store is reached.
macro_rules! forward {
    ($trait:ident: $(fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*
     $(and $($own:tt)*)?) => {
        impl $trait for Link {
            $(fn $name(&self, $($arg: $type),*) -> Answer<'_, $answer> {
                self.read(self.store.$name($($arg),*))
            })*
            $($($own)*)?
        }
    };
}

forward! { ReadRuns:
    fn run(id: RunId) -> Option<OperationRun>;
    fn runs(filter: RunFilter, page: PageRequest) -> Page<OperationRun>;
    fn attempts(run: RunId) -> Vec<Attempt>;
    fn steps(run: RunId) -> Vec<StepRecord>;
    fn active_run(workspace: WorkspaceId, identity: Digest) -> Option<OperationRun>;
    fn due(at: Timestamp) -> Vec<OperationRun>;
    fn next_due() -> Option<Timestamp>;
    fn backlog() -> Vec<Backlog>;
    fn open_attempts() -> Vec<OpenAttempt>;
    fn job(run: RunId, key: String) -> Option<Job>;
    fn jobs(filter: JobFilter, page: PageRequest) -> Page<Job>;
    and fn lost(&self, agent: Agent, at: Timestamp) -> Answer<'_, Lost> {
        match self.flaw {
            Some(Flaw::LeavesTheLost) => async { Ok(Lost::default()) }.boxed(),
            _ => self.read(self.store.lost(agent, at)),
        }
    }
}

forward! { ReadQueue:
    fn agents() -> Vec<Agent>;
    fn hosted_types(workspace: WorkspaceId) -> Vec<HostedType>;
    fn hosted_type(workspace: WorkspaceId, name: Name) -> Option<HostedType>;
    fn queue_controls(workspace: WorkspaceId) -> Vec<QueueControl>;
    fn queue_depths(workspace: WorkspaceId) -> Vec<QueueDepth>;
}

forward! { ReadFindings:
    fn finding_totals(workspace: WorkspaceId, tenant: Option<TenantId>) -> Vec<FindingTotals>;
    fn findings_after(
        workspace: WorkspaceId, tenant: TenantId, after: Option<FindingId>, limit: usize
    ) -> Vec<Finding>;
    fn findings_by_fingerprint(tenant: TenantId, keys: Vec<Digest>) -> Vec<Finding>;
    fn finding_exceptions(finding: FindingId) -> Vec<FindingException>;
    fn findings_by_id(ids: Vec<FindingId>) -> Vec<Finding>;
    fn findings(filter: FindingFilter, page: PageRequest) -> Page<Finding>;
    fn open_findings(tenant: TenantId, after: Option<FindingId>, limit: usize) -> Vec<Finding>;
    fn exceptions_of(findings: Vec<FindingId>) -> Vec<FindingException>;
    fn exceptions_over(at: Timestamp, limit: usize) -> Vec<FindingException>;
    fn findings_overdue(at: Timestamp, limit: usize) -> Vec<Finding>;
    fn findings_finished(before: Timestamp, limit: usize) -> Vec<Finding>;
    fn finding_counts(at: Timestamp) -> Vec<FindingCount>;
    fn policies_named(tenant: TenantId) -> BTreeSet<String>;
    fn policy_standings(
        tenant: TenantId, subjects: Option<Vec<String>>
    ) -> Vec<PolicyStanding>;
    fn standing_counts(workspace: Option<WorkspaceId>) -> Vec<StandingCount>;
}

forward! { ReadAudit:
    fn audit_record(id: EventId) -> Option<AuditRecord>;
    fn audit(filter: AuditFilter, page: PageRequest) -> Page<AuditRecord>;
    fn audit_options(filter: AuditFilter) -> AuditOptions;
    fn verify_audit() -> Verdict;
    fn audit_page(after: Option<u64>) -> AuditPage;
    fn audit_checkpoints(after: u64, limit: usize) -> Vec<Checkpoint>;
    fn audit_anchored(place: String) -> Option<u64>;
    and fn audit_key(&self) -> VerifyingKey {
        self.store.audit_key()
    }
}

forward! { KeepAudit:
    fn seal_audit() -> Option<Checkpoint>;
    fn note_anchored(place: String, seq: u64) -> ();
    fn erase_next() -> bool;
    fn audit_tombstone(before: Timestamp, cause: PurgeCause) -> Option<Tombstone>;
}

forward! { ReadEnforcement:
    fn enforced(workspace: WorkspaceId) -> Enforced;
}

forward! { ReadProjects:
    fn projects(workspace: WorkspaceId) -> Vec<Project>;
    fn project(workspace: WorkspaceId, name: String) -> Option<Project>;
    fn revision(id: RevisionId) -> Option<Revision>;
    fn revision_by_digest(
        workspace: WorkspaceId, project: String, digest: Digest
    ) -> Option<Revision>;
    fn revision_content(id: RevisionId) -> Secret<Vec<u8>>;
    fn adoptions(workspace: WorkspaceId, project: String) -> Vec<Adoption>;
    fn doomed_volumes(workspace: WorkspaceId, project: String) -> Vec<String>;
    fn exits(workspace: WorkspaceId, project: String) -> Vec<ContainerExit>;
}

forward! { ReadSchedules:
    fn schedules(workspace: WorkspaceId) -> Vec<Schedule>;
    fn schedule(workspace: WorkspaceId, name: String) -> Option<Schedule>;
}

forward! { ReadAlerts:
    fn alert_rules(workspace: WorkspaceId) -> Vec<AlertRule>;
    fn alert_receivers(workspace: WorkspaceId) -> Vec<Receiver>;
    fn webhook(receiver: ReceiverId) -> Option<(Receiver, Webhook)>;
    fn deliveries(filter: DeliveryFilter, page: PageRequest) -> Page<Delivery>;
    fn delivery(workspace: WorkspaceId, id: DeliveryId) -> Option<Delivery>;
    fn next_delivery() -> Option<Timestamp>;
}

forward! { ReadAccess:
    fn access() -> Directory;
}

forward! { ReadRegistries:
    fn registry_logins(workspace: WorkspaceId) -> Vec<Login>;
    fn registry_credentials(id: LoginId) -> Option<Credentials>;
}

forward! { ReadScans:
    fn image_scans(workspace: WorkspaceId) -> Vec<ScanRow>;
    fn image_scan(workspace: WorkspaceId, image_id: String) -> Option<ImageScan>;
}

forward! { Outbox:
    fn take_deliveries(take: TakeDeliveries) -> Vec<Delivery>;
    fn report_delivery(id: DeliveryId, event: DeliveryEvent) -> ();
}
