//! Tells the service manager how the agent is (sd_notify(3)). Owns readiness, status and watchdog.
//! Face: the functions. Never says "alive" for a process whose store or runner stands still.

use std::time::Duration;

use sd_notify::NotifyState;

/// The agent serves.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The agent reads its configuration again; `ready` ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "service manager not told of the reload"),
    }
}

/// The agent stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// What the agent is doing, for `systemctl status`.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// How often the service manager wants a sign of life; none when it does not. Half of what it
/// asks for, so that one late sign kills nobody.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

/// A sign of life.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell, and that is no error.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "service manager not told");
    }
}
