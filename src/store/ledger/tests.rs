use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::base::ids::HostId;
use crate::base::time::after;
use crate::domain::access::Capability;
use crate::domain::runs::{
    AttemptEnd, Context, Details, End, Holder, Hosted, Inputs, JobCounts, JobEnd, JobState,
    OnCrash, Payload, Priority, Retry, Source, SummaryCounts, Tenants, Waiting, WaitsFor,
};
use crate::store::{Claimant, CompleteRun, EndJob, FailAttempt, FanOut, RunProgress, StartAttempt};

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn definition() -> Definition {
    Definition {
        label: "Send mail".into(),
        capability: Capability::RunsEnqueue,
        on_crash: OnCrash::Resume,
        counts: Vec::new().into(),
        reason_codes: Vec::new().into(),
        retry: Retry {
            attempts_max: 2,
            first: Duration::from_secs(1),
            factor: 2,
            longest: Duration::from_secs(9),
            jitter_percent: 0,
        },
        timeout: None,
        lease: Duration::from_secs(30),
        priority: Priority(0),
        supersedes: false,
    }
}

fn run(id: u128, state: RunState) -> OperationRun {
    let inputs = Inputs::Hosted(Hosted {
        run_type: "shop.mail".parse().unwrap(),
        payload: Payload::new(&json!(id.to_string())).unwrap(),
        identity: None,
        subject: Some(Subject::app("march")),
    });
    let attempt = u32::from(state != RunState::Queued);
    let for_jobs = matches!(state, RunState::Waiting(it) if it.waits_for == WaitsFor::Jobs);
    OperationRun {
        id: RunId::from_u128(id),
        workspace_id: WorkspaceId::from_u128(1),
        tenant_id: None,
        user_id: None,
        initiator_name: "ada".to_owned(),
        source: Source::Api,
        subject: inputs.subject(),
        priority: Priority(0),
        run_at: None,
        host_id: None,
        retried_from: None,
        state,
        attempt,
        failures: 0,
        is_dead_letter: false,
        jobs: for_jobs.then(|| JobCounts { running: 1, queued: 1, ..JobCounts::default() }),
        run_identity_hash: Digest::of(&id.to_be_bytes()),
        summary_counts: SummaryCounts::default(),
        failure_summary: Vec::new(),
        context: Context { inputs, details: Details::default() },
        cancel_requested_at: None,
        created_at: AT,
        started_at: None,
        completed_at: None,
    }
}

fn holder() -> Holder {
    Holder {
        instance: "mailer".to_owned(),
        host_id: Some(HostId::from_u128(1)),
        boot_id: None,
        is_hosted: true,
    }
}

/// A working set that holds this run, its lock when it has begun, and a job at work.
fn ledger(run: &OperationRun) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.put_run(run.id, Some(run.clone()));
    ledger.put_definition(run.workspace_id, "shop.mail".parse().unwrap(), Some(definition()));
    ledger.put_controls(Vec::new());
    let begun = run.state != RunState::Queued && !run.state.is_completed();
    let lock = Lock { run_id: run.id, acquired_at: AT, expires_at: after(AT, LEASE) };
    ledger.put_lock(lock_key(run).unwrap(), begun.then_some(lock));
    let job = Job {
        run_id: run.id,
        key: "x".to_owned(),
        tenant_id: None,
        payload: Payload::default(),
        state: JobState::Running,
        attempt: 1,
        failures: 1,
        interruptions: 0,
        holder: Some(holder()),
        lease_until: Some(AT),
        reached: None,
    };
    ledger.put_job(run.id, "x", Some(job));
    ledger
}

const LEASE: Duration = Duration::from_secs(30);

fn writes(run_id: RunId) -> Vec<(&'static str, Write)> {
    let progress = RunProgress::default;
    let end = |end| CompleteRun { run_id, attempt: 1, end, at: AT, progress: progress() };
    let waiting = Waiting { waits_for: WaitsFor::Answer, until: None };
    let end_job = |end| {
        Write::EndJob(EndJob {
            run_id,
            key: "x".to_owned(),
            attempt: 1,
            end,
            is_final: false,
            at: AT,
            random: 0,
            counts: Vec::new(),
            failures: Vec::new(),
        })
    };
    vec![
        (
            "start",
            Write::StartAttempt(StartAttempt {
                run_id,
                attempt: 2,
                holder: holder(),
                at: AT,
                lease_until: AT,
            }),
        ),
        (
            "interrupt",
            Write::InterruptAttempt {
                run_id,
                attempt: 1,
                end: AttemptEnd::Interrupted,
                at: AT,
                progress: progress(),
            },
        ),
        ("wait", Write::WaitRun { run_id, attempt: 1, waiting, at: AT, progress: progress() }),
        ("wake", Write::WakeRun { run_id }),
        ("decide", Write::DecideRun { run_id, attempt: 1, details: Box::default() }),
        ("succeed", Write::CompleteRun(end(End::Succeeded))),
        (
            "fail",
            Write::FailAttempt(FailAttempt {
                run_id,
                attempt: 1,
                end: End::Failed,
                at: AT,
                random: 0,
                progress: progress(),
            }),
        ),
        ("cancel", Write::CancelRun { run_id, at: AT }),
        (
            "fan out",
            Write::FanOut(FanOut {
                run_id,
                attempt: 1,
                jobs: vec![NewJob {
                    key: "x".to_owned(),
                    tenant_id: None,
                    payload: Payload::default(),
                }],
                at: AT,
                progress: progress(),
            }),
        ),
        ("end job", end_job(JobEnd::Succeeded)),
        (
            "job lost",
            Write::InterruptJob {
                run_id,
                key: "x".to_owned(),
                attempt: 1,
                end: AttemptEnd::Interrupted,
                at: AT,
            },
        ),
        ("dismiss", Write::DismissRun { run_id }),
    ]
}

/// What a write made of the run: its state, and `free` when it gave its lock back.
fn outcome(before: &OperationRun, write: &Write) -> String {
    let mut ledger = ledger(before);
    assert_eq!(ledger.needs(Act::Write(write)), [], "the set holds all that is needed");
    if let Err(conflict) = ledger.apply(write) {
        return match conflict {
            Conflict::Fenced { .. } => "fenced".to_owned(),
            Conflict::Illegal { .. } | Conflict::NotDead(_) => "-".to_owned(),
            other => other.to_string(),
        };
    }
    let run = ledger.run(before.id).unwrap().clone();
    let mut told = match run.state {
        RunState::Waiting(waiting) => waiting.waits_for.to_string(),
        RunState::Completed(end) => end.outcome().to_string(),
        RunState::Ready => "ready".to_owned(),
        state => state.name().to_owned(),
    };
    if run.cancel_requested_at.is_some() && !run.state.is_completed() {
        told.push('!');
    }
    let freed = ledger.take_changes().locks.iter().any(|(_, lock)| lock.is_none());
    assert_eq!(freed, run.state.is_completed(), "a lock lasts as long as its run");
    told
}

#[test]
fn what_each_write_makes_of_each_state() {
    let waits = |waits_for| RunState::Waiting(Waiting { waits_for, until: None });
    let states = [
        RunState::Queued,
        RunState::Running,
        waits(WaitsFor::BackOff),
        waits(WaitsFor::Jobs),
        RunState::Ready,
        RunState::Completed(End::Failed),
    ];
    let mut table = format!("{:<10}", "");
    for (name, _) in writes(RunId::from_u128(7)) {
        write!(table, "{name:<11}").unwrap();
    }
    for state in states {
        let before = run(7, state);
        let name = before.waiting().map_or(state.name(), |waiting| waiting.waits_for.key());
        write!(table, "\n{:<10}", name.split(' ').next().unwrap()).unwrap();
        for (_, write) in writes(before.id) {
            // A queued run has no lock, so ending it frees none.
            let told = match state {
                RunState::Queued => queued_outcome(&before, &write),
                _ => outcome(&before, &write),
            };
            write!(table, "{told:<11}").unwrap();
        }
    }
    let table = table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(table, @"
              start      interrupt  wait       wake       decide     succeed    fail       cancel     fan out    end job    job lost   dismiss
    queued    fenced     fenced     fenced     -          fenced     fenced     fenced     cancelled  fenced     -          -          -
    running   -          ready      answer     -          -          succeeded  back_off   running!   jobs       -          -          -
    back_off  -          -          -          ready      ready      -          fenced     cancelled  fenced     -          -          -
    jobs      -          -          -          -          -          fenced     fenced     jobs!      fenced     jobs       jobs       -
    ready     running    -          answer     -          -          -          fenced     cancelled  fenced     -          -          -
    completed -          -          -          -          -          -          fenced     -          fenced     -          -          -
    ");
}

fn queued_outcome(before: &OperationRun, write: &Write) -> String {
    let mut ledger = ledger(before);
    match ledger.apply(write) {
        Err(Conflict::Fenced { .. }) => "fenced".to_owned(),
        Err(_) => "-".to_owned(),
        Ok(()) => ledger.run(before.id).unwrap().outcome().to_string(),
    }
}

#[test]
fn a_second_failure_ends_the_run_as_a_dead_letter() {
    let mut failed_once = run(7, RunState::Running);
    failed_once.failures = 1;
    let mut ledger = ledger(&failed_once);
    let mut writes = writes(failed_once.id).into_iter();
    let (_, fail) = writes.find(|(name, _)| *name == "fail").unwrap();
    ledger.apply(&fail).unwrap();
    let run = ledger.run(failed_once.id).unwrap();
    assert_eq!((run.state, run.is_dead_letter), (RunState::Completed(End::Failed), true));
    let what = Noticed::Ended { end: End::Failed, superseded_by: None };
    assert_eq!(ledger.take_notices()[0].what, what);
}

#[test]
fn a_needed_record_is_named_until_it_is_there() {
    let (first, second) = (run(7, RunState::Running), run(8, RunState::Queued));
    let claimant = Claimant { holder: holder(), tenants: Tenants::All, at: after(AT, LEASE) };
    let act = Act::Start { run_id: second.id };
    let mut ledger = Ledger::default();
    assert_eq!(ledger.needs(act), [Need::Run(second.id), Need::Controls]);
    ledger.put_run(second.id, Some(second.clone()));
    ledger.put_controls(Vec::new());
    let (key, name) = (lock_key(&second).unwrap(), "shop.mail".parse().unwrap());
    let definition_needed = Need::Definition(second.workspace_id, name);
    assert_eq!(ledger.needs(act), [Need::Lock(key.clone()), definition_needed]);
    ledger.put_definition(second.workspace_id, name, Some(definition()));
    let lock = Lock { run_id: first.id, acquired_at: AT, expires_at: after(AT, LEASE) };
    ledger.put_lock(key, Some(lock));
    assert_eq!(ledger.needs(act), [Need::Run(first.id)], "the holder of the lock");
    ledger.put_run(first.id, Some(first.clone()));
    assert_eq!(ledger.needs(act), []);

    // Its lease is over at this instant: it is taken over, and its worker interrupted.
    let lease_until = ledger.start(second.id, &claimant).unwrap();
    assert_eq!(lease_until, Some(after(claimant.at, LEASE)));
    let told: Vec<_> = ledger.take_notices().into_iter().map(|it| (it.run.id, it.what)).collect();
    assert_eq!(told, [(first.id, Noticed::Interrupted), (second.id, Noticed::Started)]);
    assert_eq!(ledger.run(first.id).unwrap().state, RunState::Ready);
    let refused = ledger.start(first.id, &claimant).unwrap_err();
    assert!(matches!(refused, Conflict::Locked { holder, .. } if holder == second.id));
}
