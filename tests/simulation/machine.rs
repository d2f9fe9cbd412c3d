//! A simulated host, process after process. Owns what outlives a process, and how one is started
//! and dies. Face: `Machine`, `settle`, `wait_for`. Never decides what a process does: the scripts do.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use wharfinger::base::Ambient;
use wharfinger::base::entropy::SeededEntropy;
use wharfinger::domain::runs::OperationRun;
use wharfinger::operations::{Operations, Runner, RunnerOptions};
use wharfinger::store::Store;
use wharfinger::store::keys::Keys;
use wharfinger::store::sqlite::{self, Mode, Opening};
use wharfinger::world::tasks::{Spawn as _, Supervisor};

use crate::mortal::{HostClock, Mortality};
use crate::promises::all_runs;

/// By then every run has ended, in pretended time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Everything of the agent that outlives its process.
pub(crate) struct Machine {
    state_dir: TempDir,
    pub(crate) clock: Arc<HostClock>,
    entropy: Arc<SeededEntropy>,
    lives: AtomicUsize,
    crashes: AtomicUsize,
}

/// A file, or a directory without content, in a state directory.
struct Entry {
    place: PathBuf,
    mode: u32,
    content: Option<Vec<u8>>,
}

/// What a first start leaves in a state directory. A database that is made
/// anew costs as much as a small life, so that most hosts begin with this one.
static FIRST_START: OnceLock<Vec<Entry>> = OnceLock::new();
/// One host in so many is new: its first agent makes its key and its database, and may die there.
const NEW_HOSTS: u64 = 16;

impl Machine {
    pub(crate) fn new(seed: u64) -> Self {
        let machine = Self::empty(seed);
        if !seed.is_multiple_of(NEW_HOSTS) {
            for Entry { place, mode, content } in FIRST_START.get_or_init(first_start) {
                let path = machine.state_dir().join(place);
                let made = match content {
                    Some(content) => fs::write(&path, content),
                    None => fs::create_dir(&path),
                };
                made.expect("an entry of the first start");
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("its mode");
            }
        }
        machine
    }

    fn empty(seed: u64) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self {
            state_dir: dir.expect("a directory for the simulated host"),
            clock: Arc::new(HostClock::new()),
            entropy: Arc::new(SeededEntropy::new(!seed)),
            lives: AtomicUsize::new(0),
            crashes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn state_dir(&self) -> &Path {
        self.state_dir.path()
    }

    /// How often a process died.
    pub(crate) fn crashes(&self) -> usize {
        self.crashes.load(Ordering::Relaxed)
    }

    /// One life: what the process tells at its end; nothing when it dies before, at the chosen
    /// crash point.
    pub(crate) fn live<T>(
        &self,
        dies_at: Option<u64>,
        process: impl AsyncFnOnce(Ambient) -> Option<T>,
    ) -> Option<T> {
        self.lives.fetch_add(1, Ordering::Relaxed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let dead = CancellationToken::new();
        let lived = runtime.block_on(async {
            self.clock.go_on();
            let lived = process(Ambient {
                clock: Arc::clone(&self.clock) as _,
                entropy: Arc::clone(&self.entropy) as _,
                crash_points: Arc::new(Mortality::new(dies_at, dead.clone())),
            });
            let lived = tokio::select! {
                biased;
                () = dead.cancelled() => Ok(None),
                lived = AssertUnwindSafe(lived).catch_unwind() => lived,
            };
            self.clock.stand_still();
            lived
        });
        // Whatever was running stops where it is.
        drop(runtime);
        self.crashes.fetch_add(usize::from(dead.is_cancelled()), Ordering::Relaxed);
        match lived {
            Ok(told) => told,
            Err(_) if dead.is_cancelled() => None,
            Err(defect) => std::panic::resume_unwind(defect),
        }
    }

    /// Opens what the last process left.
    pub(crate) fn open(&self, ambient: &Ambient) -> (Keys, Arc<dyn Store>) {
        let keys = Keys::open_or_create(self.state_dir(), &*ambient.entropy).expect("keys");
        let opened = sqlite::open(Opening {
            state_dir: self.state_dir(),
            keys: &keys,
            ambient,
            os_user: "ada",
            hostname: "host-1",
            agent_version: "0.0.0",
            mode: Mode::Inline,
            on_commit: None,
        });
        let store = opened.unwrap_or_else(|error| panic!("the store does not open: {error}")).store;
        (keys, store)
    }

    /// Starts a runner, and what owns its tasks.
    pub(crate) async fn serve(
        &self,
        ambient: &Ambient,
        store: &Arc<dyn Store>,
        operations: Operations,
    ) -> (Arc<Runner>, Supervisor) {
        let supervisor = Supervisor::new();
        let instance = format!("life-{}", self.lives.load(Ordering::Relaxed));
        let runner = Runner::new(
            Arc::clone(store),
            ambient.clone(),
            operations,
            Arc::new(supervisor.clone()),
            RunnerOptions::new(instance),
        );
        runner.start().await.expect("recovery");
        let _served = supervisor.spawn("runner", Arc::clone(&runner).serve().boxed());
        (runner, supervisor)
    }
}

fn first_start() -> Vec<Entry> {
    let machine = Machine::empty(0);
    let started = machine.live(None, async |ambient| {
        let (_, store) = machine.open(&ambient);
        store.close().await.ok()
    });
    started.expect("a first start");
    let mut entries = Vec::new();
    collect(machine.state_dir(), Path::new(""), &mut entries);
    entries
}

/// Everything in a directory, directories before what is in them.
fn collect(root: &Path, directory: &Path, entries: &mut Vec<Entry>) {
    for found in fs::read_dir(root.join(directory)).expect("a directory") {
        let found = found.expect("an entry");
        let place = directory.join(found.file_name());
        let metadata = found.metadata().expect("its metadata");
        let content = metadata.is_file().then(|| fs::read(found.path()).expect("its content"));
        let is_directory = content.is_none();
        entries.push(Entry { place: place.clone(), mode: metadata.mode() & 0o777, content });
        if is_directory {
            collect(root, &place, entries);
        }
    }
}

/// Waits until every run has ended. The promises tell which one did not.
pub(crate) async fn settle(store: &Arc<dyn Store>) {
    let is_settled = async || {
        let is_open = |run: &OperationRun| !run.state.is_completed();
        !all_runs(store).await.iter().any(is_open)
    };
    wait_for(PATIENCE, Duration::from_secs(5), is_settled).await;
}

/// Looks again and again until it is so, at most so long in pretended time; then says whether it
/// ever was. The longer it lasts, the rarer the looks.
pub(crate) async fn wait_for(
    patience: Duration,
    first_pause: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> bool {
    let began = Instant::now();
    while !is_so().await {
        let waited = began.elapsed();
        if waited >= patience {
            return false;
        }
        tokio::time::sleep(first_pause.max(waited / 8)).await;
    }
    true
}
