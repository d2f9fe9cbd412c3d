//! Looks where another agent on the same database says that something happened. Owns which part of
//! the agent looks. Face: `look_again`. Never believes what it is told: it is read from the store.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::operations::Runner;
use crate::operations::schedules::Schedules;
use crate::store::postgres::{News, Topic};

/// Looks at once, and again with all news, until the store is gone.
pub(super) async fn look_again(
    runner: Arc<Runner>,
    schedules: Schedules,
    alerts: Arc<Notify>,
    mut news: watch::Receiver<News>,
) {
    let mut seen = News::default();
    loop {
        let now = *news.borrow_and_update();
        if now.is_told(Topic::Work, &seen) {
            runner.look_again();
        }
        if now.is_told(Topic::Schedule, &seen) {
            schedules.look_again();
        }
        if now.is_told(Topic::Alert, &seen) {
            alerts.notify_one();
        }
        if now.is_told(Topic::Cancel, &seen) {
            runner.hear_cancels().await;
        }
        seen = now;
        if news.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::base::crash_points::NoCrashPoints;
    use crate::base::ids::RunId;
    use crate::base::{Ambient, Clock as _, Name};
    use crate::domain::access::Capability;
    use crate::domain::audit::Actor;
    use crate::domain::runs::{
        Definition, Hosted, HostedType, Inputs, OnCrash, OperationRun, Outcome, Payload, Priority,
        Retry, RunState, RunType, Source,
    };
    use crate::operations::hosted::ClaimRequest;
    use crate::operations::{
        Door, Operation, Operations, Request, RunContext, RunEnd, RunnerOptions,
    };
    use crate::store::postgres::PostgresStore;
    use crate::store::postgres::tests::Database;
    use crate::store::{ReadRuns as _, Store};
    use crate::world::clock::SystemClock;
    use crate::world::host::SystemEntropy;
    use crate::world::tasks::{Spawn as _, Supervisor};

    /// An agent that never looks by itself.
    struct Agent {
        store: Arc<PostgresStore>,
        runner: Arc<Runner>,
        door: Door,
        supervisor: Supervisor,
        _database: Arc<Database>,
    }

    impl Agent {
        async fn start(database: Arc<Database>, name: &str, operations: Operations) -> Self {
            let ambient = Ambient {
                clock: Arc::new(SystemClock),
                entropy: Arc::new(SystemEntropy),
                crash_points: Arc::new(NoCrashPoints),
            };
            let store = database.open(&ambient).await.unwrap().store;
            let supervisor = Supervisor::new();
            let never = Duration::from_secs(86_400);
            let options = RunnerOptions { heartbeat_interval: never, ..RunnerOptions::new(name) };
            let shared: Arc<dyn Store> = Arc::clone(&store) as _;
            let spawn = Arc::new(supervisor.clone());
            let runner =
                Runner::new(Arc::clone(&shared), ambient.clone(), operations, spawn, options);
            runner.start().await.unwrap();
            let schedules = Schedules::new(shared, runner.door(), ambient);
            let news = look_again(Arc::clone(&runner), schedules, Arc::default(), store.news());
            let _served = supervisor.spawn("runner", Arc::clone(&runner).serve().boxed());
            let _told = supervisor.spawn("news", news.boxed());
            let door = runner.door();
            Self { store, runner, door, supervisor, _database: database }
        }

        async fn register(&self) {
            let definition = Definition {
                label: "Work".into(),
                capability: Capability::RunsEnqueue,
                on_crash: OnCrash::Resume,
                counts: Vec::new().into(),
                reason_codes: Vec::new().into(),
                retry: Retry::NEVER,
                timeout: None,
                lease: Duration::from_secs(3600),
                priority: Priority(0),
                supersedes: false,
            };
            let now = SystemClock.now();
            let hosted = HostedType {
                workspace_id: self.store.scope().workspace_id,
                name: name(),
                definition,
                registered_at: now,
                updated_at: now,
            };
            self.door.register(hosted, Actor::agent()).await.unwrap();
        }

        async fn ask(&self) -> OperationRun {
            let inputs = Inputs::Hosted(Hosted {
                run_type: name(),
                payload: Payload::new(&serde_json::json!({})).unwrap(),
                identity: None,
                subject: None,
            });
            let request = Request::by_owner(&self.store.scope(), Source::Api, inputs);
            self.door.submit(request).await.unwrap().run().clone()
        }

        async fn until(&self, id: RunId, is_so: fn(&OperationRun) -> bool) {
            loop {
                let run = self.store.run(id).await.unwrap().unwrap();
                if is_so(&run) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    impl Drop for Agent {
        fn drop(&mut self) {
            self.supervisor.stop_token().cancel();
        }
    }

    fn name() -> Name {
        "test.work".parse().unwrap()
    }

    /// Executes until it is told to stop.
    struct Endless;

    impl Operation for Endless {
        fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
            async move { RunEnd::stopped(run.stopped().await) }.boxed()
        }
    }

    /// Longer than anything here takes, and far shorter than what an agent would wait by itself.
    const SOON: Duration = Duration::from_secs(50);

    #[tokio::test]
    async fn a_run_asked_for_at_one_agent_wakes_the_claimant_of_another() {
        let database = Database::new().await;
        let here = Agent::start(database.on_another_host(), "boot/1", Operations::default()).await;
        let there = Agent::start(database, "boot/2", Operations::default()).await;
        here.register().await;
        let hosted = there.runner.hosted();
        let claim = ClaimRequest {
            run_types: vec![RunType::Hosted(name())],
            limit: 1,
            worker: "worker".to_owned(),
            wait: SOON,
        };
        let claimed = hosted.claim(claim);
        let asked = async {
            while hosted.waiting() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            here.ask().await
        };
        let (claimed, asked) = tokio::join!(claimed, asked);
        let claimed: Vec<_> = claimed.unwrap().iter().map(|claimed| claimed.run.id).collect();
        assert_eq!(claimed, [asked.id]);
    }

    #[tokio::test]
    async fn a_run_is_executed_by_another_agent_and_cancelled_there_at_once() {
        let database = Database::new().await;
        let here = Agent::start(database.on_another_host(), "boot/1", Operations::default()).await;
        here.register().await;
        let endless = Operations::default().with(RunType::Hosted(name()), Arc::new(Endless));
        let there = Agent::start(database, "boot/2", endless).await;
        let run = here.ask().await;
        let begun = there.until(run.id, |run| run.state == RunState::Running);
        tokio::time::timeout(SOON, begun).await.unwrap();
        here.door.cancel(run.workspace_id, run.id, Actor::agent()).await.unwrap();
        let ended = here.until(run.id, |run| run.outcome() == Outcome::Cancelled);
        tokio::time::timeout(SOON, ended).await.unwrap();
    }
}
