use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::base::ids::RunId;
use crate::store::suite::Fixture;
use crate::store::{ReadRuns as _, Write};

/// A server that only this test stops, kept until the process ends.
fn own_server() -> &'static TestServer {
    Box::leak(Box::new(TestServer::own()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_dies_and_comes_back() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 3;
    let server = own_server();
    let database = Database::on(server).await;
    let fixture = Fixture::on(Arc::clone(&database) as _).await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let write = async |writer: usize| {
        let (mut acknowledged, mut refused) = (Vec::new(), 0_u32);
        for number in 0.. {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
            let run = fixture.run(&format!("project-{writer}"), &number.to_string());
            loop {
                match fixture.commit(Write::InsertRun(Box::new(run.clone()))).await {
                    Ok(()) => break acknowledged.push(run.id),
                    Err(StoreError::Away { .. }) => refused += 1,
                    // The answer to an earlier try was lost: it was made, and is not made twice.
                    Err(StoreError::Conflict(crate::store::Conflict::ActiveRun(id))) => {
                        assert_eq!(id, run.id);
                        break acknowledged.push(run.id);
                    }
                    Err(other) => panic!("{}", crate::base::chain(&other)),
                }
            }
        }
        (acknowledged, refused)
    };
    let disturb = async {
        for _ in 0..ROUNDS {
            tokio::time::sleep(Duration::from_millis(700)).await;
            on_a_thread(|| server.kill()).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            on_a_thread(|| server.start()).await;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let writers = futures_util::future::join_all((0..WRITERS).map(write));
    let (results, ()) = tokio::join!(writers, disturb);
    let acknowledged: BTreeSet<RunId> = results.iter().flat_map(|(ids, _)| ids).copied().collect();
    assert!(acknowledged.len() > WRITERS, "{} were acknowledged", acknowledged.len());
    let again = fixture.reopened().await;
    for id in &acknowledged {
        assert!(again.store.run(*id).await.unwrap().is_some(), "run {id} is lost");
    }
    // One event for each run that is there, in a whole chain: nothing was made twice.
    let filter = crate::store::RunFilter::workspace(again.store.scope().workspace_id);
    let (mut runs, mut after) = (0, None);
    loop {
        let page = crate::store::PageRequest { limit: 0, after };
        let found = again.store.runs(filter.clone(), page).await.unwrap();
        runs += found.items.len() as u64;
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(again.records().await, 1 + runs);
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_for_seldom_and_callers_hear_so() {
    let server = own_server();
    let database = Database::on(server).await;
    let clock = Arc::new(crate::base::time::TestClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
    let crash_points = Arc::new(crate::base::crash_points::NoCrashPoints);
    let ambient = crate::store::suite::ambient(&clock, 1, crash_points);
    let store = Database::open(&database, &ambient).await.unwrap().store;
    store.check().await.unwrap();
    let before = store.connection_tries();
    server.stop();
    let since = Instant::now();
    let (write, read) = tokio::join!(store.check(), store.next_due());
    for told in [write.unwrap_err(), read.unwrap_err()] {
        assert!(matches!(told, StoreError::Away { .. }), "{told}");
        assert!(told.hint().unwrap().starts_with("start the database server"));
    }
    let waited = since.elapsed();
    assert!(waited < crate::base::limits::STORE_AWAY_WAIT * 3, "they waited for {waited:?}");
    // 0.1 s, 0.2 s, 0.4 s … between tries, half of that at least: a loop without a pause would
    // have tried thousands of times.
    let tries = store.connection_tries() - before;
    assert!((1..=12).contains(&tries), "{tries} tries in {waited:?}");
    server.start();
    store.check().await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), None);
}

#[expect(clippy::disallowed_methods, reason = "a script is waited for on a thread")]
async fn on_a_thread(script: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(script).await.unwrap();
}
