//! What figures of our own store stand on. Owns its parts and how callers are counted. Face: `run`,
//! `ambient`, `sqlite`, `rate`. Never leaves out what the agent's store does.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use wharfinger::base::Ambient;
use wharfinger::base::crash_points::NoCrashPoints;
use wharfinger::store::Store;
use wharfinger::store::keys::Keys;
use wharfinger::store::sqlite::{self, Mode, Opening};
use wharfinger::world::clock::SystemClock;
use wharfinger::world::host::SystemEntropy;

/// How long each number of callers is measured.
pub const MEASURED: Duration = Duration::from_secs(3);

/// Measures on as many threads as the agent has.
pub fn run(measure: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(measure);
}

/// The machine's own time and randomness.
pub fn ambient() -> Ambient {
    Ambient {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        crash_points: Arc::new(NoCrashPoints),
    }
}

/// A store in this folder.
pub fn sqlite(folder: &Path, ambient: &Ambient) -> Arc<dyn Store> {
    let keys = Keys::open_or_create(folder, &*ambient.entropy).unwrap();
    let opened = sqlite::open(Opening {
        state_dir: folder,
        keys: &keys,
        ambient,
        os_user: "bench",
        hostname: "bench",
        agent_version: "bench",
        mode: Mode::Threaded,
        on_commit: None,
    });
    opened.unwrap().store
}

/// How often per second so many callers get something done. Each act hears who does it and how often
/// they did, and says how much it did.
pub async fn rate<F: Future<Output = u64>>(callers: usize, act: impl Fn(usize, u64) -> F) -> f64 {
    let begin = Instant::now();
    let act = &act;
    let looped = (0..callers).map(|caller| async move {
        let mut done = 0;
        while begin.elapsed() < MEASURED {
            done += act(caller, done).await;
        }
        done
    });
    let done: u64 = join_all(looped).await.into_iter().sum();
    done as f64 / begin.elapsed().as_secs_f64()
}
