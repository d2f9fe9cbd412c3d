//! `make bench`: the audit log: appends from one caller to many and many events in one commit, what the
//! chain costs of it, and how fast a log is proved. Nothing here passes or fails: machines are noisy, so look at the ratios.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "figures are printed")]
#![expect(unreachable_pub, reason = "the modules of a program have no outside")]

mod disk;
mod ours;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ours::{MEASURED, rate};
use wharfinger::base::ids::EventId;
use wharfinger::base::{Ambient, Digest, canonical};
use wharfinger::domain::audit::chain::{GENESIS, link};
use wharfinger::domain::audit::log::Proof;
use wharfinger::domain::audit::person;
use wharfinger::domain::audit::{
    Actor, AuditEvent, AuditEvents, AuditRecord, EventContext, EventType, Outcome,
};
use wharfinger::domain::redaction::SafeText;
use wharfinger::store::{AuditPage, Store};

/// How many append at once.
const CALLERS: [usize; 3] = [1, 64, 256];
/// How many events one commit carries.
const BATCHES: [usize; 2] = [100, 1_000];
/// Records whose chain is counted without a database.
const COUNTED: u64 = 100_000;

fn main() {
    ours::run(measure());
}

async fn measure() {
    let ambient = ours::ambient();
    let folder = tempfile::Builder::new().prefix("wharf-audit-").tempdir_in(disk::place());
    let folder = folder.unwrap();
    let syncs = disk::syncs_per_second(folder.path());
    println!("disk: {syncs:.0} syncs of 4 KiB per second");
    let store = ours::sqlite(folder.path(), &ambient);
    let chain = chain_cost(&store, &ambient);
    for callers in CALLERS {
        let rate = append(&store, &ambient, callers).await;
        let share = 100.0 * chain.as_secs_f64() * rate;
        println!(
            "append, {callers} callers: {rate:.0}/s, {:.2} for each sync; the chain takes \
             {share:.1} % of that time",
            rate / syncs
        );
    }
    for batch in BATCHES {
        let rate = append_batches(&store, &ambient, batch).await;
        let share = 100.0 * chain.as_secs_f64() * rate;
        println!(
            "append, {batch} events a commit: {rate:.0}/s, {:.2} commits a sync; the chain takes \
             {share:.1} % of that time",
            rate / syncs / batch as f64
        );
    }
    prove(&store).await;
    store.close().await.unwrap();
}

/// An event by a person, as most are.
fn event(store: &Arc<dyn Store>, ambient: &Ambient) -> AuditEvent {
    let scope = store.scope();
    AuditEvent {
        id: EventId::generate(&*ambient.clock, &*ambient.entropy),
        workspace_id: scope.workspace_id,
        tenant_id: Some(scope.tenant_id),
        event_type: EventType::ProjectPaused,
        summary: SafeText::new("ada paused the project shop, which is kept on this host"),
        outcome: Outcome::Success,
        actor: Actor::human(scope.owner_id, "ada"),
        target: None,
        operation_run_id: None,
        context: EventContext { project: Some("shop".to_owned()), ..EventContext::default() },
        occurred_at: ambient.now(),
    }
}

/// What the commitments, the salt and the hash of one record take, beside writing it as JSON.
fn chain_cost(store: &Arc<dyn Store>, ambient: &Ambient) -> Duration {
    let event = event(store, ambient);
    let (mut previous, recorded_at) = (GENESIS, ambient.now());
    let record = |seq| AuditRecord { seq, recorded_at, event: event.clone() };
    let begin = Instant::now();
    for seq in 1..=COUNTED {
        std::hint::black_box(canonical::to_bytes(&record(seq)).unwrap());
    }
    let plain = begin.elapsed();
    let begin = Instant::now();
    for seq in 1..=COUNTED {
        let salt = || {
            let mut salt = person::Salt::default();
            ambient.entropy.fill(&mut salt);
            salt
        };
        let parts = person::split(&record(seq), salt).unwrap();
        std::hint::black_box(parts.personal.to_text().unwrap());
        previous = link(previous, seq, parts.body).hash;
    }
    std::hint::black_box::<Digest>(previous);
    let chained = begin.elapsed();
    let each = |whole: Duration| whole / u32::try_from(COUNTED).unwrap();
    println!("a record: {:?} as JSON, {:?} with its chain", each(plain), each(chained));
    each(chained.saturating_sub(plain))
}

/// Appends per second.
async fn append(store: &Arc<dyn Store>, ambient: &Ambient, callers: usize) -> f64 {
    let commit = |_, _| async {
        store.commit(Vec::new(), event(store, ambient).into()).await.unwrap();
        1
    };
    rate(callers, commit).await
}

/// Events per second, so many in each commit.
async fn append_batches(store: &Arc<dyn Store>, ambient: &Ambient, batch: usize) -> f64 {
    let (begin, mut busy, mut count) = (Instant::now(), Duration::ZERO, 0);
    while begin.elapsed() < MEASURED {
        // What an event is made from is not the log's.
        let mut events: AuditEvents = event(store, ambient).into();
        for _ in 1..batch {
            events = events.and(event(store, ambient));
        }
        let committing = Instant::now();
        store.commit(Vec::new(), events).await.unwrap();
        busy += committing.elapsed();
        count += batch;
    }
    count as f64 / busy.as_secs_f64()
}

/// Proves what was appended: read from the database, and from memory alone.
async fn prove(store: &Arc<dyn Store>) {
    while store.seal_audit().await.unwrap().is_some() {}
    let begin = Instant::now();
    let verdict = store.verify_audit().await.unwrap();
    assert!(verdict.is_whole(), "{:?}", verdict.breaks);
    let records = u32::try_from(verdict.records).unwrap();
    let rate = f64::from(records) / begin.elapsed().as_secs_f64();
    println!("verify from the database: {records} records, {rate:.0}/s");
    let (mut pages, mut after): (Vec<AuditPage>, _) = (Vec::new(), None);
    loop {
        let page = store.audit_page(after).await.unwrap();
        after = page.next;
        pages.push(page);
        if after.is_none() || pages.len() > 100 {
            break;
        }
    }
    let mut proof = Proof::new(store.scope().host_id, [store.audit_key()], Vec::new());
    let begin = Instant::now();
    let entries = pages.iter().flat_map(|page| &page.entries);
    let count = entries.map(|entry| proof.take(entry)).count();
    let rate = f64::from(u32::try_from(count).unwrap()) / begin.elapsed().as_secs_f64();
    assert!(proof.finish().is_whole());
    println!("verify from memory: {count} entries, {rate:.0}/s");
}
