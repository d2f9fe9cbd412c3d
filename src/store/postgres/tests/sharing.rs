use std::time::Duration;

use tokio::sync::watch;

use super::*;
use crate::base::crash_points::NoCrashPoints;
use crate::base::time::{TestClock, after};
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome};
use crate::domain::redaction::SafeText;
use crate::domain::runs::{Holder, Inputs, OperationRun, RestartProject, RunType, Tenants};
use crate::store::suite::Fixture;
use crate::store::{Claim, Claimant, Claimed, Teller, Write};

const START: &str = "2026-01-01T00:00:00Z";

/// Two agents on two hosts that share a database.
async fn two_agents() -> (Fixture, Fixture) {
    let database = Database::new().await;
    let other = database.on_another_host();
    let first = Fixture::on(database).await;
    let second = Fixture::on_with(other, 7).await;
    (first, second)
}

fn claim(fixture: &Fixture, limit: usize) -> Claim {
    let workspace_id = fixture.store.scope().workspace_id;
    let (clock, entropy) = (Arc::clone(&fixture.ambient.clock), fixture.ambient.entropy.clone());
    let tell = move |notice: &crate::store::Notice| {
        Some(AuditEvent {
            id: crate::base::ids::EventId::generate(&*clock, &*entropy),
            workspace_id,
            tenant_id: notice.run.tenant_id,
            event_type: EventType::RunStarted,
            summary: SafeText::new("a run began"),
            outcome: Outcome::Info,
            actor: Actor::agent(),
            target: None,
            operation_run_id: Some(notice.run.id),
            context: EventContext::default(),
            occurred_at: clock.now(),
        })
    };
    Claim {
        claimant: Claimant {
            holder: fixture.holder("agent"),
            tenants: Tenants::All,
            at: fixture.now(),
        },
        workspace_id: None,
        run_types: vec![RunType::RestartProject],
        limit,
        teller: Teller::new(tell),
    }
}

/// A run that any host may execute.
fn anywhere(fixture: &Fixture, project: &str) -> OperationRun {
    let inputs = Inputs::RestartProject(RestartProject {
        project: project.to_owned(),
        services: Vec::new(),
    });
    OperationRun { host_id: None, ..fixture.run_of(inputs) }
}

async fn insert(fixture: &Fixture, run: &OperationRun) {
    fixture.commit(Write::InsertRun(Box::new(run.clone()))).await.unwrap();
}

#[tokio::test]
async fn a_second_host_joins_the_database_with_a_chain_of_its_own() {
    let (first, second) = two_agents().await;
    let (one, two) = (first.store.scope(), second.store.scope());
    assert_eq!(one.workspace_id, two.workspace_id, "they share the workspace");
    assert_ne!((one.host_id, one.tenant_id), (two.host_id, two.tenant_id));
    first.queue("shop", "a").await;
    assert_eq!((first.records().await, second.records().await), (2, 1));
    let filter = crate::store::AuditFilter::workspace(one.workspace_id);
    let all = second.store.audit(filter, crate::store::PageRequest::default()).await.unwrap();
    assert_eq!(all.items.len(), 3, "the list shows all hosts");
    assert_eq!(second.store.projects(two.workspace_id).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_run_is_handed_out_twice_and_none_is_forgotten() {
    const RUNS: usize = 120;
    let (first, second) = two_agents().await;
    for number in 0..RUNS {
        insert(&first, &anywhere(&first, &format!("project-{number}"))).await;
    }
    let drain = async |fixture: &Fixture| {
        let mut taken: Vec<Claimed> = Vec::new();
        loop {
            let some = fixture.store.claim(claim(fixture, 7)).await.unwrap();
            if some.is_empty() {
                return taken;
            }
            taken.extend(some);
        }
    };
    let (one, two) = tokio::join!(drain(&first), drain(&second));
    // One that the other was about to take is left to it: a last look finds what it gave back.
    let rest = drain(&first).await;
    let mut ids: Vec<_> = one.iter().chain(&two).chain(&rest).map(|taken| taken.run.id).collect();
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!((all, ids.len()), (RUNS, RUNS));
    assert!(!one.is_empty() && !two.is_empty(), "{} and {}", one.len(), two.len());
    assert_eq!(first.records().await + second.records().await, 2 + 2 * RUNS as u64);
}

#[tokio::test]
async fn runs_go_to_the_host_that_they_name() {
    let (first, second) = two_agents().await;
    let here = first.queue("shop", "a").await;
    assert_eq!(second.store.claim(claim(&second, 9)).await.unwrap(), []);
    let taken = first.store.claim(claim(&first, 9)).await.unwrap();
    assert_eq!(taken.iter().map(|taken| taken.run.id).collect::<Vec<_>>(), [here.id]);
    // The same project on another host is another thing: it is not locked.
    let there = second.queue("shop", "b").await;
    let taken = second.store.claim(claim(&second, 9)).await.unwrap();
    assert_eq!(taken.iter().map(|taken| taken.run.id).collect::<Vec<_>>(), [there.id]);
}

#[tokio::test]
async fn an_agent_is_told_of_work_that_another_one_brought() {
    let database = Database::new().await;
    let other = database.on_another_host();
    let first = Fixture::on(Arc::clone(&database) as _).await;
    let ambient = crate::store::suite::ambient(
        &first.clock,
        7,
        Arc::new(crate::base::crash_points::NoCrashPoints),
    );
    let second = Database::open(&other, &ambient).await.unwrap().store;
    second.check().await.unwrap();
    let mut news = second.news();
    news.mark_unchanged();
    first.queue("shop", "a").await;
    tokio::time::timeout(Duration::from_secs(10), news.changed()).await.unwrap().unwrap();
}

/// Waits until something was told of the topic.
async fn told(news: &mut watch::Receiver<News>, topic: Topic, before: News) {
    let is_told = news.wait_for(|now| now.is_told(topic, &before));
    drop(tokio::time::timeout(Duration::from_secs(10), is_told).await.unwrap().unwrap());
}

#[tokio::test]
async fn an_agent_is_told_where_to_look_and_tells_itself_nothing() {
    let database = Database::new().await;
    let other = database.on_another_host();
    let (clock, crash_points) = (Arc::new(TestClock::at(START.parse().unwrap())), NoCrashPoints);
    let ambient = crate::store::suite::ambient(&clock, 7, Arc::new(crash_points));
    let here = Fixture::on_with(Arc::clone(&other) as _, 9).await;
    let second = Database::open(&database, &ambient).await.unwrap().store;
    second.check().await.unwrap();
    let mut news = second.news();
    let mut before = *news.borrow_and_update();
    let run = here.queue("shop", "a").await;
    told(&mut news, Topic::Work, before).await;
    here.store.claim(claim(&here, 1)).await.unwrap();
    before = *news.borrow_and_update();
    here.commit(Write::RequestCancel { run_id: run.id, at: here.now() }).await.unwrap();
    told(&mut news, Topic::Cancel, before).await;
    before = *news.borrow_and_update();
    let schedule = crate::store::suite::schedules::schedule(&here, 1, "nightly");
    let put = crate::store::ScheduleWrite::Put(Box::new(schedule));
    here.commit(Write::Schedule(put)).await.unwrap();
    told(&mut news, Topic::Schedule, before).await;
    before = *news.borrow_and_update();
    // What it does itself, it knows; what others did after that, it hears after that.
    second.check().await.unwrap();
    let own = second.heartbeat("agent".to_owned(), here.now(), here.now());
    own.await.unwrap();
    here.queue("blog", "a").await;
    told(&mut news, Topic::Work, before).await;
    let now = *news.borrow_and_update();
    assert!(!now.is_told(Topic::Cancel, &before) && !now.is_told(Topic::Alert, &before));
}

#[tokio::test]
async fn whoever_did_not_listen_for_a_while_looks_everywhere() {
    let database = Database::new().await;
    let clock = Arc::new(TestClock::at(START.parse().unwrap()));
    let ambient = crate::store::suite::ambient(&clock, 7, Arc::new(NoCrashPoints));
    let store = Database::open(&database, &ambient).await.unwrap().store;
    store.check().await.unwrap();
    let mut news = store.news();
    let before = *news.borrow_and_update();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.execute(end).await.unwrap();
    for topic in Topic::ALL {
        told(&mut news, topic, before).await;
    }
}

#[tokio::test]
async fn two_agents_for_one_host_are_never_at_work() {
    let database = Database::new().await;
    let fixture = Fixture::on(Arc::clone(&database) as _).await;
    // The host is whose writer connects first: this one.
    fixture.store.check().await.unwrap();
    // A copy of the state directory, as on a cloned machine.
    let copy = database.on_another_host();
    for file in ["host_id", "keys/store.key"] {
        std::fs::create_dir_all(copy.dir.path().join("keys")).unwrap();
        std::fs::copy(database.dir.path().join(file), copy.dir.path().join(file)).unwrap();
    }
    let second = Database::open(&copy, &fixture.ambient).await.unwrap().store;
    let refused = second.check().await.unwrap_err();
    let text = crate::base::chain(&refused);
    assert!(text.contains("another connection works for this host"), "{text}");
    fixture.queue("shop", "a").await;
}

#[tokio::test]
async fn agents_that_start_at_once_bring_the_database_forward_once() {
    let database = Database::new().await;
    let hosts = [(); 4].map(|()| database.on_another_host());
    let clock = Arc::new(crate::base::time::TestClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
    let starts = hosts.iter().enumerate().map(|(seed, host)| {
        let crash_points = Arc::new(crate::base::crash_points::NoCrashPoints);
        let ambient = crate::store::suite::ambient(&clock, seed as u64, crash_points);
        async move { Database::open(host, &ambient).await.unwrap() }
    });
    let opened = futures_util::future::join_all(starts).await;
    let created = opened.iter().filter(|opened| opened.migrated == Migrated::Created).count();
    let joined = opened.iter().filter(|opened| opened.migrated == Migrated::Joined).count();
    assert_eq!((created, joined), (1, 3));
}

#[tokio::test]
async fn an_expired_lease_of_another_host_can_be_seen_by_all() {
    let (first, second) = two_agents().await;
    let run = anywhere(&first, "shop");
    insert(&first, &run).await;
    first.store.claim(claim(&first, 1)).await.unwrap();
    let agent = crate::domain::runs::Agent {
        instance: "agent-2".to_owned(),
        host_id: second.store.scope().host_id,
        boot_id: "boot".to_owned(),
        hostname: "host-2".to_owned(),
        started_at: second.now(),
        heartbeat_at: second.now(),
    };
    let lost = second.store.lost(agent.clone(), first.now()).await.unwrap();
    assert_eq!(lost.attempts, [], "its lease lasts");
    let late = after(first.now(), Duration::from_secs(901));
    let lost = second.store.lost(agent, late).await.unwrap();
    assert_eq!(lost.attempts.len(), 1);
    let holder: &Holder = &lost.attempts[0].attempt.holder;
    assert_eq!(holder.host_id, Some(first.store.scope().host_id));
}
