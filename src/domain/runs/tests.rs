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
        RunState::Waiting(Waiting { waits_for: WaitsFor::Jobs, until: None }),
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
        RunState::Waiting(Waiting { waits_for: WaitsFor::Jobs, .. }) => "for jobs",
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
    for jobs  -          -          -          -          completed  completed  completed  completed
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
    let services = services.iter().map(|name| (*name).to_owned()).collect();
    deploy_with(revision, DeployChoices { services, force_recreate, ..DeployChoices::default() })
}

fn deploy_with(revision: u128, choices: DeployChoices) -> Digest {
    let inputs = Inputs::DeployProject(DeployProject {
        project: "shop".to_owned(),
        revision_id: RevisionId::from_u128(revision),
        revision_digest: Digest::of(b"files"),
        wanted: Wanted::default(),
        cause: DeployCause::Apply,
        choices,
    });
    identity_hash(WorkspaceId::from_u128(1), None, &inputs).unwrap()
}

#[test]
fn equal_requests_have_one_identity_whatever_their_spelling() {
    assert_eq!(deploy(&["web", "db", "web"], 1, false), deploy(&["db", "web"], 2, false));
    assert_ne!(deploy(&[], 1, false), deploy(&[], 1, true));
    assert_ne!(deploy(&[], 1, false), deploy(&["db"], 1, false));
    let anew = |volumes: &[&str]| {
        let recreate_volumes = volumes.iter().map(|name| (*name).to_owned()).collect();
        deploy_with(1, DeployChoices { recreate_volumes, ..DeployChoices::default() })
    };
    assert_ne!(anew(&["data"]), deploy(&[], 1, false));
    assert_ne!(anew(&["data"]), anew(&["logs"]));
    assert_eq!(anew(&["data", "logs"]), anew(&["logs", "data"]));
}

#[test]
fn what_was_asked_of_a_deploy_reads_and_hashes_as_ever() {
    let stored = format!(
        r#"{{"adopt":false,"cause":"apply","force_recreate":true,"keep_orphans":true,"project":"shop","rebuild":false,"revision_digest":"{}","revision_id":"00000000-0000-0000-0000-000000000001","services":["web"],"type":"deploy_project","wait_timeout_seconds":30,"wanted":{{}}}}"#,
        Digest::of(b"files")
    );
    let inputs: Inputs = serde_json::from_str(&stored).unwrap();
    let Inputs::DeployProject(deploy) = &inputs else { unreachable!() };
    let choices = DeployChoices {
        services: vec!["web".to_owned()],
        force_recreate: true,
        keep_orphans: true,
        wait_timeout_seconds: Some(30),
        ..DeployChoices::default()
    };
    assert_eq!(deploy.choices, choices);
    assert_eq!(serde_json::to_value(&inputs).unwrap().to_string(), stored);
    let identity = identity_hash(WorkspaceId::from_u128(1), None, &inputs).unwrap();
    assert_eq!(
        identity.to_string(),
        "79151577ae3015c278e81b9a1354b34b6748f499e890898cbb65dc42e2c2beee"
    );
    let oldest = r#"{"type":"deploy_project","project":"shop","cause":"convergence",
        "revision_id":"00000000-0000-0000-0000-000000000001","revision_digest":"DIGEST"}"#;
    let oldest = oldest.replace("DIGEST", &Digest::of(b"files").to_string());
    let Inputs::DeployProject(deploy) = serde_json::from_str(&oldest).unwrap() else {
        unreachable!()
    };
    assert_eq!(deploy.choices, DeployChoices::default());
}

#[test]
fn a_count_that_the_type_does_not_register_is_refused() {
    let counted = [(CountKey::Created, 2), (CountKey::Created, 1)];
    let mut counts = SummaryCounts::default();
    let deploy = RunType::DeployProject;
    increment_summary_counts(&mut counts, deploy, deploy.built_in().unwrap(), &counted).unwrap();
    assert_eq!(counts.get(CountKey::Created), 3);
    let restart = RunType::RestartProject;
    let definition = restart.built_in().unwrap();
    let both = [(CountKey::Started, 1), (CountKey::Created, 1)];
    let error = increment_summary_counts(&mut counts, restart, definition, &both).unwrap_err();
    assert_eq!(error.to_string(), "runs of type restart_project do not count created");
    assert_eq!(counts.get(CountKey::Started), 0, "all or none");
}

#[test]
fn failures_are_appended_up_to_the_most_and_by_registered_reasons() {
    let run_type = RunType::Hosted("shop.mail".parse().unwrap());
    let mut definition = RunType::DeployProject.built_in().unwrap().clone();
    let bounced: ReasonCode = "mail.bounced".parse().unwrap();
    let failure = Failure::new(bounced, "app:7", "the address does not exist");
    let mut failures = Vec::new();
    let error =
        append_failures(&mut failures, run_type, &definition, std::slice::from_ref(&failure));
    let told = "runs of type shop.mail do not fail with mail.bounced";
    assert_eq!(error.unwrap_err().to_string(), told);
    definition.reason_codes = vec![bounced].into();
    let many = vec![failure; crate::base::limits::FAILURES_MAX + 1];
    append_failures(&mut failures, run_type, &definition, &many).unwrap();
    assert_eq!(failures.len(), crate::base::limits::FAILURES_MAX);
}

#[test]
fn a_bulk_run_ends_with_its_last_job_and_as_they_did() {
    fn check(counts: JobCounts, expect: Option<End>) {
        assert_eq!(maybe_complete_bulk_run(&counts), expect, "{counts:?}");
    }
    let none = JobCounts::default();
    check(none, Some(End::Succeeded));
    for open in [
        JobCounts { queued: 1, succeeded: 1, ..none },
        JobCounts { running: 1, failed: 1, ..none },
        JobCounts { waiting: 1, cancelled: 1, ..none },
    ] {
        check(open, None);
    }
    check(JobCounts { succeeded: 2, skipped: 1, ..none }, Some(End::Succeeded));
    check(JobCounts { succeeded: 1, failed: 1, ..none }, Some(End::PartiallySucceeded));
    check(JobCounts { skipped: 1, failed: 1, ..none }, Some(End::PartiallySucceeded));
    check(JobCounts { failed: 3, ..none }, Some(End::Failed));
    check(JobCounts { succeeded: 1, failed: 1, cancelled: 1, ..none }, Some(End::Cancelled));
}

#[test]
fn the_states_of_a_job_on_one_page() {
    let until = Timestamp::UNIX_EPOCH;
    let states = [
        JobState::Queued,
        JobState::Running,
        JobState::Waiting { until },
        JobState::Ended(JobEnd::Succeeded),
    ];
    let events = [
        ("claim", JobEvent::Claim),
        ("retry", JobEvent::Retry { until }),
        ("interrupt", JobEvent::Interrupt),
        ("succeed", JobEvent::End(JobEnd::Succeeded)),
        ("fail", JobEvent::End(JobEnd::Failed)),
        ("cancel", JobEvent::End(JobEnd::Cancelled)),
    ];
    let mut table = format!("{:<10}", "");
    for (name, _) in events {
        write!(table, "{name:<10}").unwrap();
    }
    for state in states {
        write!(table, "\n{:<10}", state.status()).unwrap();
        for (_, event) in events {
            let cell = state.transition(event).map_or("-", |state| state.status().key());
            write!(table, "{cell:<10}").unwrap();
        }
    }
    let table = table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(table, @r"
              claim     retry     interrupt succeed   fail      cancel
    queued    running   -         -         -         -         cancelled
    running   -         waiting   queued    succeeded failed    cancelled
    waiting   running   -         -         -         -         cancelled
    succeeded -         -         -         -         -         -
    ");
}

#[test]
fn jobs_move_from_count_to_count_and_idle_ones_can_be_cancelled() {
    let mut counts = JobCounts::queued(3);
    counts.moved(JobStatus::Queued, JobStatus::Running);
    counts.moved(JobStatus::Queued, JobStatus::Running);
    counts.moved(JobStatus::Running, JobStatus::Waiting);
    assert_eq!((counts.total(), counts.open()), (3, 3));
    assert_eq!(counts.cancel_idle(), 2);
    assert_eq!(counts, JobCounts { running: 1, cancelled: 2, ..JobCounts::default() });
}

#[test]
fn a_hosted_run_is_known_by_its_key_else_by_its_payload() {
    let identity = |key: Option<&str>, payload: serde_json::Value| {
        let inputs = Inputs::Hosted(Hosted {
            run_type: "shop.mail".parse().unwrap(),
            payload: Payload::new(&payload).unwrap(),
            identity: key.map(str::to_owned),
            subject: None,
        });
        identity_hash(WorkspaceId::from_u128(1), None, &inputs).unwrap()
    };
    let (one, two) = (serde_json::json!({"a": 1, "b": 2}), serde_json::json!({"b": 2, "a": 3}));
    assert_eq!(identity(Some("k"), one.clone()), identity(Some("k"), two.clone()));
    assert_ne!(identity(Some("k"), one.clone()), identity(Some("l"), one.clone()));
    assert_eq!(identity(None, one.clone()), identity(None, serde_json::json!({"b": 2, "a": 1})));
    assert_ne!(identity(None, one.clone()), identity(None, two));
    assert_ne!(identity(Some("k"), one.clone()), identity(None, one));
}

#[test]
fn cancelling_depends_on_who_works_on_the_run() {
    let waiting = |waits_for| RunState::Waiting(Waiting { waits_for, until: None });
    fn check(state: RunState, expect: Cancellation) {
        assert_eq!(state.cancellation(), expect);
    }
    check(RunState::Queued, Cancellation::AtOnce);
    check(RunState::Ready, Cancellation::AtOnce);
    check(waiting(WaitsFor::BackOff), Cancellation::AtOnce);
    check(waiting(WaitsFor::Jobs), Cancellation::Jobs);
    check(RunState::Running, Cancellation::Asked);
    check(RunState::Completed(End::Failed), Cancellation::Never);
}
