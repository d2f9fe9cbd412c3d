//! Marks the instants at which a crash would hurt most, so that a test can crash exactly there.
//! Owns the mark, not the crash. Face: `CrashPoints`, `NoCrashPoints`. Never does anything in a
//! release build: the daemon injects the no-op there.

/// Told about every instant after which the world outside the process may have changed.
pub trait CrashPoints: Send + Sync {
    /// Called with the name of the point, such as `store.commit.before`. May not return.
    fn reached(&self, point: &'static str);
}

/// Ignores every point.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCrashPoints;

impl CrashPoints for NoCrashPoints {
    fn reached(&self, _point: &'static str) {}
}
