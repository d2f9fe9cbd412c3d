//! The table of containers that ended.

use super::*;
use crate::facts::{ContainerFacts, ContainerState, RestartPolicy};

const ON_FAILURE: RestartPolicy = RestartPolicy::OnFailure { retries_max: 3 };

fn ended(restart: RestartPolicy, exit_code: i64) -> ContainerFacts {
    let world = running_shop();
    let mut container = world.observed.containers[0].clone();
    container.state = ContainerState::Exited;
    container.exit_code = exit_code;
    container.spec.restart = restart;
    container
}

fn check(container: &ContainerFacts, exit: Option<Exit>, by_agent: bool, by_person: bool) {
    for (trigger, expect) in [(Trigger::Convergence, by_agent), (Trigger::Explicit, by_person)] {
        let found = wants_start(container, exit, trigger) != Wanted::AsItIs;
        let policy = container.spec.restart;
        let code = container.exit_code;
        assert_eq!(found, expect, "{trigger:?} {policy:?} exit {code} {exit:?}");
    }
}

#[test]
fn finished_work_stays_finished() {
    check(&ended(RestartPolicy::No, 0), None, false, false);
    check(&ended(ON_FAILURE, 0), None, false, false);
    check(&ended(RestartPolicy::No, 0), Some(Exit::OnItsOwn), false, false);
}

#[test]
fn what_somebody_or_the_engine_stopped_is_started() {
    for exit in [Exit::ByHand, Exit::WithTheEngine] {
        check(&ended(RestartPolicy::No, 0), Some(exit), true, true);
        check(&ended(ON_FAILURE, 143), Some(exit), true, true);
    }
    check(&ended(RestartPolicy::No, 137), None, true, true);
    check(&ended(RestartPolicy::No, 143), None, true, true);
}

#[test]
fn failed_program_is_tried_again_when_policy_or_person_says_so() {
    check(&ended(RestartPolicy::No, 1), None, false, true);
    check(&ended(RestartPolicy::No, 137), Some(Exit::OnItsOwn), false, true);
    check(&ended(ON_FAILURE, 1), None, true, true);
    let mut exhausted = ended(ON_FAILURE, 1);
    exhausted.restart_count = 3;
    check(&exhausted, None, false, true);
    check(&ended(RestartPolicy::Always, 0), None, true, true);
    check(&ended(RestartPolicy::UnlessStopped, 1), None, true, true);
}

#[test]
fn frozen_container_goes_on_where_it_was() {
    let mut frozen = ended(RestartPolicy::No, 0);
    frozen.state = ContainerState::Paused;
    for trigger in [Trigger::Convergence, Trigger::Explicit] {
        assert_eq!(wants_start(&frozen, None, trigger), Wanted::Unpause(Cause::Paused));
    }
}

#[test]
fn container_that_never_ran_is_started() {
    let mut created = ended(RestartPolicy::No, 0);
    created.state = ContainerState::Created;
    check(&created, None, true, true);
}
