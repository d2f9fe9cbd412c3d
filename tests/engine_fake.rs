//! The suite of all engines on the engine in memory, and what only that one promises.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]
#![expect(unreachable_pub, reason = "the modules of a test program have no outside")]

mod engine_suite;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use engine_suite::{Bench, assert_fails};
use futures_util::FutureExt;
use wharfinger::base::Timestamp;
use wharfinger::base::crash_points::CrashPoints;
use wharfinger::base::time::TestClock;
use wharfinger::facts::{ContainerState, NetworkSpec, RestartPolicy};
use wharfinger::world::docker::fake::FakeEngine;
use wharfinger::world::docker::{ContainerFilter, Engine, EngineErrorKind, ObservedEngine};

fn fake() -> Arc<FakeEngine> {
    FakeEngine::new(Arc::new(TestClock::at(Timestamp::from_second(1_700_000_000).unwrap())))
}

fn bench_of(engine: &Arc<FakeEngine>, promise: &str) -> Bench {
    let scripted = Arc::clone(engine);
    Bench {
        engine: engine.clone(),
        prefix: format!("wharf-suite-{promise}"),
        busybox: b"any bytes".as_slice().into(),
        script: Box::new(move |who, behaviour| scripted.behave(who, behaviour)),
    }
}

fn bench(promise: &str) -> Bench {
    let engine = fake();
    engine.be_lenient();
    bench_of(&engine, promise)
}

engine_suite!(bench);

#[tokio::test]
async fn write_to_what_never_existed_is_a_defect() {
    let engine = fake();
    let call = AssertUnwindSafe(engine.start_container("nobody")).catch_unwind().await;
    assert!(call.is_err());
}

#[tokio::test]
async fn forbidden_method_panics() {
    let engine = fake();
    engine.forbid("ping");
    assert!(AssertUnwindSafe(engine.ping()).catch_unwind().await.is_err());
    engine.allow_all();
    engine.ping().await.unwrap();
}

#[tokio::test]
async fn planned_fault_strikes_once_and_lost_answer_has_acted() {
    let engine = fake();
    let spec = NetworkSpec { name: "front".to_owned(), ..NetworkSpec::default() };
    engine.fail_next("create_network", EngineErrorKind::DiskFull);
    let create = || engine.create_network(&spec, const { &std::collections::BTreeMap::new() });
    assert_fails(create().await, EngineErrorKind::DiskFull);
    assert_eq!(engine.network("front").await.unwrap(), None);
    engine.lose_answer("create_network");
    assert_fails(create().await, EngineErrorKind::Unreachable);
    assert!(engine.network("front").await.unwrap().is_some());
    engine.set_unreachable(true);
    assert_fails(engine.ping().await, EngineErrorKind::Unreachable);
    let writes: Vec<_> = engine.writes().into_iter().map(|call| call.method).collect();
    assert_eq!(writes, ["create_network", "create_network"]);
}

#[tokio::test]
async fn restarted_engine_runs_again_what_its_policies_say() {
    let engine = fake();
    let bench = bench_of(&engine, "restart");
    let image = bench.image("").await;
    for (what, restart) in [("no", RestartPolicy::No), ("always", RestartPolicy::Always)] {
        let mut new = bench.container(what, &image);
        new.spec.restart = restart;
        bench.run(&new).await;
    }
    engine.restart();
    let found = engine.containers(&ContainerFilter::default()).await.unwrap();
    let mut states: Vec<_> = found.iter().map(|facts| (facts.name.clone(), facts.state)).collect();
    states.sort();
    assert_eq!(
        states,
        [
            (bench.name("always"), ContainerState::Running),
            (bench.name("no"), ContainerState::Exited),
        ]
    );
}

#[derive(Default)]
struct Passed(Mutex<Vec<&'static str>>);

impl CrashPoints for Passed {
    fn reached(&self, point: &'static str) {
        self.0.lock().unwrap().push(point);
    }
}

#[tokio::test]
async fn observed_call_passes_its_points_and_is_counted() {
    let engine = fake();
    engine.fail_next("remove_network", EngineErrorKind::TimedOut);
    let (points, finished) = (Arc::new(Passed::default()), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&finished);
    let observer = Arc::new(move |call: wharfinger::world::docker::FinishedCall| {
        noted.lock().unwrap().push((call.method, call.is_write, call.failure));
    });
    let observed = ObservedEngine::new(engine.clone(), points.clone(), observer);
    observed.ping().await.unwrap();
    assert_fails(observed.remove_network("front").await, EngineErrorKind::TimedOut);
    assert_eq!(
        *points.0.lock().unwrap(),
        [
            "engine.ping.before",
            "engine.ping.after",
            "engine.remove_network.before",
            "engine.remove_network.after",
        ]
    );
    assert_eq!(
        *finished.lock().unwrap(),
        [("ping", false, None), ("remove_network", true, Some(EngineErrorKind::TimedOut)),]
    );
}
