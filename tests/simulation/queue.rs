//! One simulated agent as the programs and operators of a run queue meet it: runner, hosted runs,
//! schedules and alerts behind one link to the store. Owns how they are started, what an operator
//! does, and the receiver of alerts. Face: `Agent`, `Receiver`. Never decides what must hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;

use wharfinger::base::{Ambient, Secret};
use wharfinger::domain::alerts::{DeliveryStatus, NotReceived, Pattern, Severity, Webhook};
use wharfinger::domain::audit::Actor;
use wharfinger::domain::schedules::{Calendar, MissedPolicy, Overlap, Task};
use wharfinger::operations::alerts::{AlertError, Alerts, RuleSpec};
use wharfinger::operations::schedules::{ScheduleError, ScheduleSpec, Schedules};
use wharfinger::operations::{Door, Operations, Runner, RunnerOptions};
use wharfinger::store::{DeliveryFilter, PageRequest, Store};
use wharfinger::watchers::deliveries::Deliveries;
use wharfinger::watchers::schedules::Scheduler;
use wharfinger::world::notify::{Message, Notify};
use wharfinger::world::tasks::{Spawn as _, Supervisor};

use crate::link::Link;
use crate::mortal::Dice;
use crate::programs::{Counter, MAIL, Programs, REPORT, is_planted, program};
use crate::promises::Broken;

const SCHEDULES: [(&str, &str); 2] = [("mails", MAIL), ("reports", REPORT)];
const RECEIVER: &str = "ops";

/// One agent, from its start to its death.
pub(crate) struct Agent {
    pub(crate) link: Arc<Link>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) tasks: Supervisor,
    pub(crate) counter: Counter,
    schedules: Schedules,
    alerts: Alerts,
}

impl Agent {
    /// Starts everything but what looks after projects.
    pub(crate) async fn start(
        ambient: &Ambient,
        link: &Arc<Link>,
        operations: Operations,
        instance: String,
        receiver: &Arc<Receiver>,
    ) -> Self {
        let store = Arc::clone(link) as Arc<dyn Store>;
        let tasks = Supervisor::new();
        let spawn = Arc::new(tasks.clone());
        let options = RunnerOptions::new(instance);
        let runner = Runner::new(Arc::clone(&store), ambient.clone(), operations, spawn, options);
        // Whoever starts it tries again.
        while let Err(error) = runner.start().await {
            assert!(is_planted(&error), "recovery: {error:?}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let _served = tasks.spawn("runner", Arc::clone(&runner).serve().boxed());
        let hosted = runner.hosted();
        let _kept = tasks.spawn("hosted", hosted.clone().keep().boxed());
        let schedules = Schedules::new(Arc::clone(&store), runner.door(), ambient.clone());
        let scheduler = Scheduler::new(schedules.clone());
        let _fires = tasks.spawn("schedules", scheduler.watch(tasks.stop_token()).boxed());
        let alerts = Alerts::new(Arc::clone(&store), ambient.clone());
        let deliveries = Deliveries::new(
            store,
            Arc::clone(receiver) as _,
            runner.door(),
            alerts.changed(),
            ambient.clone(),
            "https://ops.example.org/runs/{run_id}".to_owned(),
            Arc::new(|_, _| {}),
        );
        let _sends = tasks.spawn("alerts", deliveries.watch(tasks.stop_token()).boxed());
        let counter = Counter { hosted, asker: program() };
        Self { link: Arc::clone(link), runner, tasks, counter, schedules, alerts }
    }

    pub(crate) fn door(&self) -> Door {
        self.runner.door()
    }

    /// What an operator sets up once: types, schedules, who hears of failures.
    pub(crate) async fn set_up(&self, programs: &Programs, dice: &Dice) {
        loop {
            let registered = programs.register(&self.counter).await;
            let alerts = self.set_up_alerts().await;
            let schedules = self.set_up_schedules(dice).await;
            if registered.is_ok() && alerts.is_ok() && schedules.is_ok() {
                return;
            }
            let told = [format!("{registered:?}"), format!("{alerts:?}"), format!("{schedules:?}")];
            for told in told.iter().filter(|told| !told.contains("planted")) {
                // A schedule of a type that could not be registered cannot be made either.
                assert!(told.starts_with("Ok") || told.contains("UnknownType"), "{told}");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn set_up_alerts(&self) -> Result<(), AlertError> {
        if !self.alerts.rules().await?.is_empty() {
            return Ok(());
        }
        let asker = &self.counter.asker;
        let webhook = Webhook {
            url: Secret::new("https://hooks.example.org/ops".to_owned()),
            headers: Vec::new(),
            signing_key: None,
        };
        let timeout = Duration::from_secs(10);
        self.alerts
            .put_receiver(RECEIVER.parse().expect("a name"), webhook, timeout, asker)
            .await?;
        let rule = RuleSpec {
            event: "operations.run.*".parse().expect("a pattern"),
            run_type: Pattern::any(),
            tenant_id: None,
            severity_min: Severity::Info,
            receivers: vec![RECEIVER.to_owned()],
            is_enabled: true,
        };
        self.alerts.put_rule("all".parse().expect("a name"), rule, asker).await.map(drop)
    }

    async fn set_up_schedules(&self, dice: &Dice) -> Result<(), ScheduleError> {
        let known = self.schedules.list().await?;
        for (name, run_type) in SCHEDULES {
            if known.iter().any(|schedule| schedule.name.as_str() == name) {
                continue;
            }
            let identity = dice.once_in(2).then(|| name.to_owned());
            let spec = ScheduleSpec {
                calendar: Calendar::parse("*/2 * * * *", "UTC").expect("a calendar"),
                task: Task::Hosted {
                    run_type: run_type.parse().expect("a name"),
                    payload: json!({"schedule": name}),
                    identity,
                },
                jitter_max: Duration::from_secs(dice.below(2) * 30),
                missed: *dice.choose(MissedPolicy::ALL).unwrap_or(&MissedPolicy::Skip),
                missed_age_max: Duration::from_secs(1800),
                overlap: *dice.choose(Overlap::ALL).unwrap_or(&Overlap::Skip),
            };
            self.schedules.put(name.parse().expect("a name"), spec, &self.counter.asker).await?;
        }
        Ok(())
    }

    /// An operator does something to the queue.
    pub(crate) async fn operate(&self, programs: &Programs, dice: &Dice) {
        let (hosted, asker) = (&self.counter.hosted, &self.counter.asker);
        let (name, _) = dice.choose(&SCHEDULES).copied().unwrap_or_default();
        // Whether there is such a thing, and whether the store is reached, is left to chance.
        match (dice.below(5), programs.some_run(dice)) {
            (0 | 1, Some(run)) => {
                let workspace = self.link.scope().workspace_id;
                drop(self.door().cancel(workspace, run, Actor::agent()).await);
            }
            (2, Some(run)) => drop(hosted.dismiss(run, asker).await),
            (3, _) => {
                drop(self.schedules.set_paused(name, dice.once_in(2), asker).await);
            }
            _ => {
                if let Ok(admitted) = self.schedules.run_now(name, asker).await {
                    programs.known().accepted.insert(admitted.run().id);
                }
            }
        }
    }

    /// What waits for a receiver that was away is sent now: hours of pretended time cost real time.
    pub(crate) async fn send_alerts(&self) {
        let filter = DeliveryFilter {
            status: Some(DeliveryStatus::Pending),
            ..DeliveryFilter::workspace(self.link.scope().workspace_id)
        };
        let pending = self.alerts.deliveries(filter, PageRequest::default()).await;
        for delivery in pending.expect("deliveries").items {
            // It may arrive meanwhile.
            drop(self.alerts.retry(delivery.id, &self.counter.asker).await);
        }
    }

    /// No schedule fires any more.
    pub(crate) async fn stop_schedules(&self) {
        for schedule in self.schedules.list().await.expect("schedules") {
            let name = schedule.name.to_string();
            self.schedules.set_paused(&name, true, &self.counter.asker).await.expect("a pause");
        }
    }
}

/// Who hears of alerts: often enough it is not there, is slow, or its answer is lost.
pub(crate) struct Receiver {
    dice: Dice,
    is_good: AtomicBool,
    got: Mutex<Vec<String>>,
}

impl Receiver {
    pub(crate) fn new(dice: Dice) -> Arc<Self> {
        Arc::new(Self { dice, is_good: AtomicBool::new(false), got: Mutex::default() })
    }

    /// It hears everything from now on.
    pub(crate) fn calm(&self) {
        self.is_good.store(true, Ordering::Relaxed);
    }

    /// Every message that arrived, by its key.
    pub(crate) fn got(&self) -> MutexGuard<'_, Vec<String>> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, message: &Message) {
        let key = message.headers.iter().find(|(name, _)| name == "idempotency-key");
        self.got().extend(key.map(|(_, key)| key.expose().clone()));
    }
}

impl Notify for Receiver {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<u16, NotReceived>> {
        async move {
            let lost = |error: &str| NotReceived { http_status: None, error: error.to_owned() };
            let how = if self.is_good.load(Ordering::Relaxed) { 0 } else { self.dice.below(6) };
            match how {
                1 => Err(lost("it cannot be reached")),
                2 => {
                    tokio::time::sleep(message.timeout).await;
                    Err(lost("it did not answer"))
                }
                3 => {
                    self.hear(&message);
                    Err(lost("its answer is lost"))
                }
                _ => {
                    self.hear(&message);
                    Ok(200)
                }
            }
        }
        .boxed()
    }
}

/// What the programs found broken themselves.
pub(crate) fn of_programs(programs: &Programs) -> Broken {
    std::mem::take(&mut programs.known().broken)
}
