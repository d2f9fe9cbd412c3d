//! Puts load on a store's queue. Owns what a caller does. Face: `Load`, `Figures`. Never skips what
//! the agent does: every change has its audit event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use wharfinger::base::ids::{EventId, RunId};
use wharfinger::base::{Ambient, Name};
use wharfinger::domain::access::Capability;
use wharfinger::domain::audit::{Actor, AuditEvent, AuditEvents, EventContext, EventType, Outcome};
use wharfinger::domain::redaction::SafeText;
use wharfinger::domain::runs::{
    Context, Definition, Details, End, Holder, Hosted, HostedType, Inputs, OnCrash, OperationRun,
    Payload, Priority, Retry, RunState, RunType, Source, SummaryCounts, Tenants, identity_hash,
};
use wharfinger::store::{
    Accepted, Admission, Claim, Claimant, CompleteRun, RunProgress, Store, Teller, Write,
};

use crate::ours::rate;

/// Runs that wait when the drain begins.
const DRAINED: u64 = 20_000;
/// Who drains, and how many runs each takes at once.
pub const DRAIN_WORKERS: usize = 10;
pub const DRAIN_BATCH: usize = 32;

/// What was measured, per second.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Enqueue, claim, complete: three transactions; by the number of callers.
    pub whole: Vec<(usize, f64)>,
    /// Begun in the transaction that accepts it: two transactions; by the number of callers.
    pub begun: Vec<(usize, f64)>,
    /// What waits is taken and completed.
    pub drain: f64,
}

/// A queue under load. Cheap to clone.
#[derive(Clone)]
pub struct Load {
    store: Arc<dyn Store>,
    ambient: Ambient,
    name: Name,
    number: Arc<AtomicU64>,
}

impl Load {
    /// Registers the type of the runs.
    pub async fn on(store: Arc<dyn Store>, ambient: Ambient) -> Self {
        let name = "bench.run".parse().unwrap();
        let load = Self { store, ambient, name, number: Arc::default() };
        let definition = Definition {
            label: "Measure".into(),
            capability: Capability::RunsEnqueue,
            on_crash: OnCrash::Resume,
            counts: Vec::new().into(),
            reason_codes: Vec::new().into(),
            retry: Retry::NEVER,
            timeout: None,
            lease: Duration::from_secs(60),
            priority: Priority(0),
            supersedes: false,
        };
        let at = load.ambient.now();
        let hosted = HostedType {
            workspace_id: load.store.scope().workspace_id,
            name,
            definition,
            registered_at: at,
            updated_at: at,
        };
        let write = Write::PutHostedType(Box::new(hosted));
        let event = load.event(EventType::HostedTypeRegistered, None);
        load.store.commit(vec![write], event.into()).await.unwrap();
        load
    }

    /// All figures.
    pub async fn figures(&self, callers: &[usize]) -> Figures {
        let mut figures = Figures::default();
        for &callers in callers {
            figures.whole.push((callers, rate(callers, |_, _| self.clone().whole()).await));
            figures.begun.push((callers, rate(callers, |_, _| self.clone().begun()).await));
        }
        figures.drain = self.drain().await;
        figures
    }

    async fn whole(self) -> u64 {
        self.enqueue(None).await;
        self.take(1).await
    }

    async fn begun(self) -> u64 {
        match self.enqueue(Some(self.claimant())).await {
            run if run.state == RunState::Running => {
                self.complete(&[&run]).await;
                1
            }
            // Something waited before it: that goes first.
            _ => self.take(1).await,
        }
    }

    async fn drain(&self) -> f64 {
        let enqueued = (0..256).map(|_| async {
            for _ in 0..DRAINED / 256 {
                self.enqueue(None).await;
            }
        });
        join_all(enqueued).await;
        let begin = Instant::now();
        let workers = (0..DRAIN_WORKERS).map(|_| async {
            let mut done = 0;
            loop {
                match self.take(DRAIN_BATCH).await {
                    0 => return done,
                    taken => done += taken,
                }
            }
        });
        let done: u64 = join_all(workers).await.into_iter().sum();
        done as f64 / begin.elapsed().as_secs_f64()
    }

    /// Claims up to so many and completes them together, as the peer does.
    async fn take(&self, limit: usize) -> u64 {
        let claim = Claim {
            claimant: self.claimant(),
            workspace_id: Some(self.store.scope().workspace_id),
            run_types: vec![RunType::Hosted(self.name)],
            limit,
            teller: self.teller(),
        };
        let claimed = self.store.claim(claim).await.unwrap();
        let runs: Vec<&OperationRun> = claimed.iter().map(|claimed| &claimed.run).collect();
        self.complete(&runs).await;
        runs.len() as u64
    }

    async fn enqueue(&self, claimant: Option<Claimant>) -> OperationRun {
        let run = self.run();
        let admission = Admission {
            events: self.event(EventType::RunQueued, Some(run.id)).into(),
            run: Box::new(run),
            supersedes: false,
            claimant,
            writes: Vec::new(),
            teller: self.teller(),
        };
        match self.store.admit(admission).await.unwrap() {
            Accepted::New { run, .. } | Accepted::Existing(run) => run,
        }
    }

    /// One commit for all of them.
    async fn complete(&self, runs: &[&OperationRun]) {
        let Some((first, rest)) = runs.split_first() else { return };
        let at = self.ambient.now();
        let complete = |run: &&OperationRun| {
            let (end, progress) = (End::Succeeded, RunProgress::default());
            let (run_id, attempt) = (run.id, run.attempt);
            Write::CompleteRun(CompleteRun { run_id, attempt, end, at, progress })
        };
        let event = |run: &&OperationRun| self.event(EventType::RunCompleted, Some(run.id));
        let events = AuditEvents::from(event(first)).and_all(rest.iter().map(event));
        self.store.commit(runs.iter().map(complete).collect(), events).await.unwrap();
    }

    fn claimant(&self) -> Claimant {
        let scope = self.store.scope();
        let holder = Holder {
            instance: "bench".to_owned(),
            host_id: Some(scope.host_id),
            boot_id: Some("bench".to_owned()),
            is_hosted: true,
        };
        Claimant { holder, tenants: Tenants::All, at: self.ambient.now() }
    }

    fn teller(&self) -> Teller {
        let load = self.clone();
        Teller::new(move |notice| Some(load.event(EventType::RunStarted, Some(notice.run.id))))
    }

    fn run(&self) -> OperationRun {
        let scope = self.store.scope();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let inputs = Inputs::Hosted(Hosted {
            run_type: self.name,
            payload: Payload::new(&serde_json::json!({ "number": number })).unwrap(),
            identity: None,
            subject: None,
        });
        OperationRun {
            id: RunId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            user_id: Some(scope.owner_id),
            initiator_name: scope.owner_name,
            source: Source::Api,
            subject: None,
            priority: Priority(0),
            run_at: None,
            host_id: None,
            retried_from: None,
            state: RunState::Queued,
            attempt: 0,
            failures: 0,
            is_dead_letter: false,
            jobs: None,
            run_identity_hash: identity_hash(scope.workspace_id, Some(scope.tenant_id), &inputs)
                .unwrap(),
            summary_counts: SummaryCounts::default(),
            failure_summary: Vec::new(),
            context: Context { inputs, details: Details::default() },
            cancel_requested_at: None,
            created_at: self.ambient.now(),
            started_at: None,
            completed_at: None,
        }
    }

    fn event(&self, event_type: EventType, run_id: Option<RunId>) -> AuditEvent {
        let scope = self.store.scope();
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            event_type,
            summary: SafeText::new("Measure bench.run"),
            outcome: Outcome::Info,
            actor: Actor::agent(),
            target: None,
            operation_run_id: run_id,
            context: EventContext::default(),
            occurred_at: self.ambient.now(),
        }
    }
}
