use super::*;
use crate::base::ids::RevisionId;
use std::fmt::Write as _;

#[test]
fn the_whole_state_machine_on_one_page() {
    let waiting = Waiting { waits_for: WaitsFor::BackOff, until: None };
    let states = [
        RunState::Queued,
        RunState::Running,
        RunState::Waiting(waiting),
        RunState::Ready,
        RunState::Completed(End::Succeeded),
    ];
    let events = [
        ("claim", RunEvent::Claim),
        ("wait", RunEvent::Wait(waiting)),
        ("wake", RunEvent::Wake),
        ("interrupt", RunEvent::Interrupt),
        ("succeed", RunEvent::Complete(End::Succeeded)),
        ("fail", RunEvent::Complete(End::Failed)),
        ("block", RunEvent::Complete(End::Blocked)),
        ("cancel", RunEvent::Complete(End::Cancelled)),
    ];
    let short = |state: RunState| match state {
        RunState::Ready => "ready",
        other => other.name(),
    };
    let mut table = format!("{:<10}", "");
    for (name, _) in events {
        write!(table, "{name:<11}").unwrap();
    }
    for state in states {
        write!(table, "\n{:<10}", short(state)).unwrap();
        for (_, event) in events {
            let cell = state.transition(event).map_or("-", short);
            write!(table, "{cell:<11}").unwrap();
        }
    }
    let table = table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(table, @r"
              claim      wait       wake       interrupt  succeed    fail       block      cancel
    queued    running    -          -          -          -          completed  completed  completed
    running   -          waiting    -          ready      completed  completed  completed  completed
    waiting   -          -          ready      -          -          completed  completed  completed
    ready     running    waiting    -          -          -          completed  completed  completed
    completed -          -          -          -          -          -          -          -
    ");
}

#[test]
fn an_illegal_transition_says_what_was_tried() {
    let error = RunState::Queued.transition(RunEvent::Complete(End::Succeeded)).unwrap_err();
    assert_eq!(error.to_string(), "a run that is queued cannot succeed");
}

#[test]
fn a_crash_is_answered_as_the_type_declares_until_attempts_run_out() {
    fn check(on_crash: OnCrash, interruptions: u32, expect: Disposition) {
        assert_eq!(after_crash(on_crash, interruptions), expect);
    }
    let ask = Waiting { waits_for: WaitsFor::Answer, until: None };
    check(OnCrash::Resume, 1, Disposition::Resume);
    check(OnCrash::Undo, 1, Disposition::Undo);
    check(OnCrash::Ask, 9, Disposition::Wait(ask));
    for on_crash in OnCrash::ALL {
        check(*on_crash, 10, Disposition::GiveUp(ReasonCode::RunAttemptsExhausted));
    }
}

fn deploy(services: &[&str], revision: u128, force_recreate: bool) -> Digest {
    let inputs = Inputs::DeployProject(DeployProject {
        project: "shop".to_owned(),
        revision_id: RevisionId::from_u128(revision),
        revision_digest: Digest::of(b"files"),
        wanted: Wanted::default(),
        services: services.iter().map(|name| (*name).to_owned()).collect(),
        cause: DeployCause::Apply,
        force_recreate,
        keep_orphans: false,
        rebuild: false,
        adopt: false,
        wait_timeout_seconds: None,
    });
    identity_hash(WorkspaceId::from_u128(1), None, &inputs).unwrap()
}

#[test]
fn equal_requests_have_one_identity_whatever_their_spelling() {
    assert_eq!(deploy(&["web", "db", "web"], 1, false), deploy(&["db", "web"], 2, false));
    assert_ne!(deploy(&[], 1, false), deploy(&[], 1, true));
    assert_ne!(deploy(&[], 1, false), deploy(&["db"], 1, false));
}

#[test]
fn a_count_that_the_type_does_not_register_is_refused() {
    let mut counts = SummaryCounts::default();
    counts.add(RunType::DeployProject, CountKey::Created, 2).unwrap();
    counts.add(RunType::DeployProject, CountKey::Created, 1).unwrap();
    assert_eq!(counts.get(CountKey::Created), 3);
    let error = counts.add(RunType::RestartProject, CountKey::Created, 1).unwrap_err();
    assert_eq!(error.to_string(), "runs of type restart_project do not count created");
}
