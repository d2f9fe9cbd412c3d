//! Kills the process at a chosen crash point, for tests that want to see it come back. Owns the
//! counter. Face: `CrashAt`. Never compiled into a release build.
#![cfg(debug_assertions)]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::base::CrashPoints;

/// Counts crash points from 1, writes their names to a log, and ends the process with SIGKILL at
/// the chosen one: no destructor runs and no buffer is written, as in a real crash.
#[derive(Debug)]
pub struct CrashAt {
    kill_at: Option<u64>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    count: u64,
    log: Option<File>,
}

impl CrashAt {
    /// Kills at the `kill_at`-th point, if given; appends every point to `log`, if given.
    ///
    /// # Errors
    /// When the log cannot be opened.
    pub fn new(kill_at: Option<u64>, log: Option<&Path>) -> std::io::Result<Self> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        let log = log.map(open).transpose()?;
        Ok(Self { kill_at, seen: Mutex::new(Seen { count: 0, log }) })
    }
}

impl CrashPoints for CrashAt {
    fn reached(&self, point: &'static str) {
        // The lock is kept while dying, so that no other thread passes a later point.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.count += 1;
        let count = seen.count;
        if let Some(log) = &mut seen.log
            && let Err(error) = writeln!(log, "{count} {point}")
        {
            tracing::error!(%error, "crash point not logged");
        }
        if self.kill_at == Some(count) {
            let killed = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
            tracing::error!(?killed, "the process outlived its own kill");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_counted_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("points");
        let crash = CrashAt::new(None, Some(&log)).unwrap();
        crash.reached("store.commit.before");
        crash.reached("store.commit.after");
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text, "1 store.commit.before\n2 store.commit.after\n");
    }
}
