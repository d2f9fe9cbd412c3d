//! `make bench`: the run queue from acceptance to end, beside the disk's own rate and a public queue,
//! both measured in the same run. Nothing here passes or fails: machines are noisy, so look at the
//! ratios.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that cannot go on panics"
)]
#![expect(clippy::print_stdout, reason = "figures are printed")]
#![expect(unreachable_pub, reason = "the modules of a program have no outside")]

mod disk;
mod door;
mod load;
mod ours;
mod peer;
mod server;

use std::path::Path;
use std::sync::Arc;

use load::{Figures, Load};
use wharfinger::base::Ambient;
use wharfinger::store::keys::Keys;
use wharfinger::store::postgres;
use wharfinger::store::{Store, host};

/// How many ask at once.
const CALLERS: [usize; 4] = [1, 10, 64, 256];
/// How many ask at once through the door.
const DOOR_CALLERS: [usize; 2] = [10, 64];

fn main() {
    ours::run(measure());
}

async fn measure() {
    let ambient = ours::ambient();
    let folder = tempfile::Builder::new().prefix("wharf-figures-").tempdir_in(disk::place());
    let folder = folder.unwrap();
    let before = disk::syncs_per_second(folder.path());
    let ours = Load::on(ours::sqlite(folder.path(), &ambient), ambient.clone()).await;
    let sqlite = ours.figures(&CALLERS).await;
    let behind = folder.path().join("door");
    let behind_door =
        door::rates(ours::sqlite(&behind, &ambient), &behind, &ambient, &DOOR_CALLERS).await;
    let after = disk::syncs_per_second(folder.path());
    println!(
        "disk: {before:.0} syncs of 4 KiB per second before SQLite's figures, {after:.0} after"
    );
    let server = server::Server::start();
    server.database("wharf");
    let shared = folder.path().join("postgres");
    let ours = Load::on(postgres(&shared, &server, &ambient).await, ambient).await;
    let postgres = ours.figures(&CALLERS).await;
    let peer = peer::figures(&CALLERS, &server.socket());
    let syncs = (before + after) / 2.0;
    print("SQLite FULL", &sqlite, peer.as_ref(), syncs);
    for (callers, rate) in behind_door {
        println!(
            "SQLite FULL through the Unix socket, {callers} callers: enqueue, claim, complete \
             {rate:.0}/s"
        );
    }
    print("PostgreSQL", &postgres, peer.as_ref(), syncs);
}

async fn postgres(folder: &Path, server: &server::Server, ambient: &Ambient) -> Arc<dyn Store> {
    let keys = Keys::open_or_create(folder, &*ambient.entropy).unwrap();
    let opened = postgres::open(postgres::Opening {
        server: postgres::Server {
            host: postgres::Host::Socket(server.socket()),
            port: 5432,
            user: "wharf".to_owned(),
            password: None,
            database: "wharf".to_owned(),
        },
        readers_max: 2,
        state_dir: folder.to_owned(),
        host_id: host::open_or_create(folder, ambient).unwrap(),
        keys,
        ambient: ambient.clone(),
        os_user: "bench".to_owned(),
        hostname: "bench".to_owned(),
        agent_version: "bench".to_owned(),
        on_commit: None,
    });
    opened.await.unwrap().store
}

/// One line per number of callers, with the ratios that matter.
fn print(name: &str, ours: &Figures, peer: Option<&Figures>, syncs: f64) {
    for (index, &(callers, whole)) in ours.whole.iter().enumerate() {
        let begun = ours.begun[index].1;
        let beside = peer.map_or_else(String::new, |peer| {
            let theirs = peer.whole[index].1;
            format!("; pgqueuer {theirs:.0}/s: {:.1} times as many", whole / theirs)
        });
        println!(
            "{name}, {callers} callers: enqueue, claim, complete {whole:.0}/s ({:.2} per sync); \
             begun when enqueued {begun:.0}/s{beside}",
            whole / syncs
        );
    }
    let beside = peer.map_or_else(String::new, |peer| {
        format!("; pgqueuer {:.0}/s: {:.1} times as fast", peer.drain, ours.drain / peer.drain)
    });
    println!("{name}, drain by {} workers: {:.0}/s{beside}", load::DRAIN_WORKERS, ours.drain);
}
