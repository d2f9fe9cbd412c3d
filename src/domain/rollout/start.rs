//! Decides whether a container that does not run is meant to. Owns the rule for containers that
//! ended. Face: `wants_start`. Never looks at health: an unhealthy container runs.

use super::{Cause, Exit, Trigger};
use crate::facts::{ContainerFacts, ContainerState, RestartPolicy};

/// What is to be done about a container's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: it runs, or its work is done, or it stays as somebody left it.
    AsItIs,
    /// Start it, for this cause.
    Start(Cause),
    /// Let it go on where it was frozen, for this cause.
    Unpause(Cause),
}

/// Exit statuses of a program that was killed from outside: 128 and SIGINT, SIGKILL or SIGTERM.
pub const EXITED_BY_SIGNAL: [i64; 3] = [130, 137, 143];

/// What `container`, whose declaration fits, needs.
///
/// A service that ended with status 0 under `no` or `on-failure` has done its work, so that the
/// second `up` of a project with a migration does nothing. Whoever stops a server by hand means to
/// stop it only until the agent looks again, unless the project is paused; the same holds for who
/// freezes one, and it goes on where it was, with all that it has in memory. A program that failed
/// by itself under `no` is left alone by the agent, because nobody asked for another try; an
/// explicit `up` asks.
pub fn wants_start(container: &ContainerFacts, exit: Option<Exit>, trigger: Trigger) -> Wanted {
    match container.state {
        ContainerState::Running | ContainerState::Restarting | ContainerState::Removing => {
            Wanted::AsItIs
        }
        ContainerState::Paused => Wanted::Unpause(Cause::Paused),
        ContainerState::Created => Wanted::Start(Cause::NeverStarted),
        ContainerState::Exited | ContainerState::Dead => after_exit(container, exit, trigger),
    }
}

/// Did somebody stop it, or did it go with its engine?
pub(super) fn was_interrupted(container: &ContainerFacts, exit: Option<Exit>) -> bool {
    match exit {
        Some(Exit::ByHand | Exit::WithTheEngine) => true,
        Some(Exit::OnItsOwn) => false,
        None => EXITED_BY_SIGNAL.contains(&container.exit_code) && !container.oom_killed,
    }
}

fn after_exit(container: &ContainerFacts, exit: Option<Exit>, trigger: Trigger) -> Wanted {
    let start = Wanted::Start(Cause::Exited { exit_code: container.exit_code });
    let has_succeeded = container.exit_code == 0 && container.state_error.is_none();
    match container.spec.restart {
        _ if was_interrupted(container, exit) => start,
        // The engine itself starts these again; that one of them does not run means that
        // somebody stopped it, or that the engine could not.
        RestartPolicy::Always | RestartPolicy::UnlessStopped => start,
        RestartPolicy::No | RestartPolicy::OnFailure { .. } if has_succeeded => Wanted::AsItIs,
        _ if trigger == Trigger::Explicit => start,
        RestartPolicy::OnFailure { retries_max }
            if retries_max == 0 || container.restart_count < u64::from(retries_max) =>
        {
            start
        }
        // The declared number of tries is used up, or none was declared.
        RestartPolicy::OnFailure { .. } | RestartPolicy::No => Wanted::AsItIs,
    }
}
