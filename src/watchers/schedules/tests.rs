use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::domain::access::Capability;
use crate::domain::audit::{Actor, EventType};
use crate::domain::runs::{
    Definition, DeployCause, End, HostedType, Inputs, OnCrash, Outcome, Priority, Retry, Source,
    Status,
};
use crate::domain::schedules::{Calendar, MissedPolicy, Overlap, Task};
use crate::operations::hosted::{ClaimRequest, Completion, WorkOutcome};
use crate::operations::schedules::ScheduleSpec;
use crate::store::AttemptRef;
use crate::watchers::stage::{Lasting, Stage, wanted};
use crate::world::tasks::Spawn as _;

const SHORT: Lasting = Lasting { time: Duration::from_secs(5), end: End::Succeeded };

fn hourly(overlap: Overlap) -> ScheduleSpec {
    ScheduleSpec {
        calendar: Calendar::parse("0 * * * *", "UTC").unwrap(),
        task: Task::RestartProject { project: "shop".to_owned(), services: Vec::new() },
        jitter_max: Duration::ZERO,
        missed: MissedPolicy::Skip,
        missed_age_max: Duration::from_secs(3 * 3600),
        overlap,
    }
}

fn schedules(stage: &Stage) -> Schedules {
    Schedules::new(std::sync::Arc::clone(&stage.store), stage.runner.door(), stage.ambient.clone())
}

/// Starts the scheduler, which knows a schedule `hourly`.
async fn watched(stage: &Stage, spec: ScheduleSpec) -> Schedules {
    let schedules = schedules(stage);
    schedules.put("hourly".parse().unwrap(), spec, &stage.asker()).await.unwrap();
    watch(stage, &schedules);
    schedules
}

fn watch(stage: &Stage, schedules: &Schedules) {
    let scheduler = Scheduler::new(schedules.clone());
    let stop = stage.supervisor.stop_token();
    let _watched = stage.supervisor.spawn("schedules", scheduler.watch(stop).boxed());
}

async fn pass(minutes: u64) {
    tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_schedule_fires_at_its_times_through_the_door() {
    let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
    watched(&stage, hourly(Overlap::Skip)).await;
    pass(29).await;
    assert_eq!(stage.runs().await, []);
    pass(122).await;
    let runs = stage.runs().await;
    let times: Vec<String> = runs.iter().map(|run| run.created_at.to_string()).collect();
    assert_eq!(times.len(), 3, "{times:?}");
    for (run, hour) in runs.iter().zip(1..) {
        assert!(run.created_at.to_string().starts_with(&format!("2026-06-01T0{hour}:00:00")));
        assert_eq!((run.source, run.outcome()), (Source::Schedule, Outcome::Succeeded));
        assert_eq!(run.initiator_name, "schedule hourly");
    }
    assert_eq!(stage.recorded(EventType::ScheduleFired).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_change_and_a_pause_take_effect_at_once() {
    let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
    let schedules = watched(&stage, hourly(Overlap::Skip)).await;
    pass(1).await;
    let often = ScheduleSpec {
        calendar: Calendar::parse("*/10 * * * *", "UTC").unwrap(),
        ..hourly(Overlap::Skip)
    };
    schedules.put("hourly".parse().unwrap(), often, &stage.asker()).await.unwrap();
    pass(20).await;
    assert_eq!(stage.runs().await.len(), 2);
    schedules.set_paused("hourly", true, &stage.asker()).await.unwrap();
    pass(60).await;
    assert_eq!(stage.runs().await.len(), 2);
    schedules.set_paused("hourly", false, &stage.asker()).await.unwrap();
    pass(10).await;
    assert_eq!(stage.runs().await.len(), 3, "what the pause left out is over");
    schedules.remove("hourly", &stage.asker()).await.unwrap();
    pass(60).await;
    assert_eq!(stage.runs().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_firing_that_overlaps_is_left_out() {
    let long = Lasting { time: Duration::from_secs(90 * 60), end: End::Succeeded };
    let stage = Stage::at("2026-06-01T00:30:00Z", long).await;
    watched(&stage, hourly(Overlap::Skip)).await;
    pass(5 * 60).await;
    // 01:00 runs until 02:30, 03:00 until 04:30, 05:00.
    let hours: Vec<_> = stage
        .runs()
        .await
        .iter()
        .map(|run| run.created_at.to_string()[11..13].to_owned())
        .collect();
    assert_eq!(hours, ["01", "03", "05"]);
    assert_eq!(stage.recorded(EventType::ScheduleSkipped).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_firing_that_waits_begins_when_the_run_before_has_ended() {
    let long = Lasting { time: Duration::from_secs(150 * 60), end: End::Succeeded };
    let stage = Stage::at("2026-06-01T00:30:00Z", long).await;
    watched(&stage, hourly(Overlap::Queue)).await;
    pass(4 * 60).await;
    // 01:00 runs until 03:30; of 02:00 and 03:00 the later one follows it.
    let runs = stage.runs().await;
    let times: Vec<_> =
        runs.iter().map(|run| run.created_at.to_string()[11..16].to_owned()).collect();
    assert_eq!(times, ["01:00", "03:30"]);
    assert_eq!(stage.recorded(EventType::ScheduleHeld).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_firing_can_cancel_the_run_before() {
    let long = Lasting { time: Duration::from_secs(150 * 60), end: End::Succeeded };
    let stage = Stage::at("2026-06-01T00:30:00Z", long).await;
    watched(&stage, hourly(Overlap::CancelRunning)).await;
    pass(100).await;
    let runs = stage.runs().await;
    let outcomes: Vec<Outcome> = runs.iter().map(|run| run.outcome()).collect();
    assert_eq!(outcomes, [Outcome::Cancelled, Outcome::Pending]);
    assert!(runs[1].created_at.to_string().starts_with("2026-06-01T02:00:0"));
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_while_the_agent_was_away_is_made_up_for_once_or_left_out() {
    for (missed, expect) in [(MissedPolicy::Skip, 1), (MissedPolicy::RunOnce, 2)] {
        let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
        watched(&stage, ScheduleSpec { missed, ..hourly(Overlap::Skip) }).await;
        pass(40).await;
        assert_eq!(stage.runs().await.len(), 1);
        let stage = stage.killed(SHORT).await;
        pass(5 * 60).await;
        watch(&stage, &schedules(&stage));
        pass(10).await;
        assert_eq!(stage.runs().await.len(), expect, "{missed}");
        let left_out = stage.recorded(EventType::ScheduleMissed).await;
        assert_eq!(left_out, 2 - expect, "{missed}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_agents_fire_a_schedule_once() {
    let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
    let first = watched(&stage, hourly(Overlap::Skip)).await;
    watch(&stage, &first);
    watch(&stage, &schedules(&stage));
    pass(5 * 60 + 1).await;
    assert_eq!(stage.runs().await.len(), 5);
    assert_eq!(stage.recorded(EventType::ScheduleFired).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_asked_for_is_refused_or_told() {
    let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
    let schedules = schedules(&stage);
    let unknown = Task::RestartProject { project: "none".to_owned(), services: Vec::new() };
    let spec = ScheduleSpec { task: unknown, ..hourly(Overlap::Skip) };
    let refused = schedules.put("hourly".parse().unwrap(), spec, &stage.asker()).await;
    assert_eq!(refused.unwrap_err().to_string(), "the agent keeps no project none");
}

#[tokio::test(start_paused = true)]
async fn a_deploy_by_schedule_brings_up_what_is_kept_and_nothing_else() {
    let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
    let schedules = schedules(&stage);
    let task =
        Task::DeployProject { project: "shop".to_owned(), force_recreate: true, rebuild: false };
    let spec = ScheduleSpec { task, ..hourly(Overlap::Skip) };
    schedules.put("hourly".parse().unwrap(), spec, &stage.asker()).await.unwrap();
    let admitted = schedules.run_now("hourly", &stage.asker()).await.unwrap();
    let Inputs::DeployProject(deploy) = &admitted.run().context.inputs else { unreachable!() };
    assert_eq!((&deploy.wanted, deploy.cause), (&wanted(), DeployCause::Apply));
    let choices = &deploy.choices;
    assert!(choices.force_recreate && choices.keep_orphans && !choices.adopt);
}

#[tokio::test(start_paused = true)]
async fn a_project_of_which_nothing_was_applied_is_not_deployed_by_schedule() {
    let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
    let task =
        Task::DeployProject { project: "shop".to_owned(), force_recreate: false, rebuild: false };
    let spec = ScheduleSpec { task, ..hourly(Overlap::Queue) };
    let schedules = watched(&stage, spec.clone()).await;
    stage.lose_files();
    pass(125).await;
    let failed = stage.recorded(EventType::ScheduleFailed).await;
    assert_eq!((stage.runs().await, failed), (Vec::new(), 2), "each firing is over at once");
    let refused = schedules.run_now("hourly", &stage.asker()).await.unwrap_err();
    assert!(matches!(&refused, ScheduleError::NothingApplied(project) if project == "shop"));
    let refused = schedules.put("other".parse().unwrap(), spec, &stage.asker()).await;
    let told = "nothing of project shop was applied that could be deployed";
    assert_eq!(refused.unwrap_err().to_string(), told);
}

const MAIL: &str = "shop.mail";

async fn register(stage: &Stage) {
    let definition = Definition {
        label: "Send mail".into(),
        capability: Capability::RunsEnqueue,
        on_crash: OnCrash::Resume,
        counts: Vec::new().into(),
        reason_codes: Vec::new().into(),
        retry: Retry {
            attempts_max: 2,
            first: Duration::from_secs(1),
            factor: 2,
            longest: Duration::from_secs(60),
            jitter_percent: 0,
        },
        timeout: None,
        lease: Duration::from_secs(30),
        priority: Priority(7),
        supersedes: false,
    };
    let hosted = HostedType {
        workspace_id: stage.store.scope().workspace_id,
        name: MAIL.parse().unwrap(),
        definition,
        registered_at: stage.now(),
        updated_at: stage.now(),
    };
    stage.runner.door().register(hosted, Actor::agent()).await.unwrap();
}

fn mailing(overlap: Overlap) -> ScheduleSpec {
    let payload = serde_json::json!({ "month": 6 });
    let task = Task::Hosted { run_type: MAIL.parse().unwrap(), payload, identity: None };
    ScheduleSpec { task, ..hourly(overlap) }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_fires_a_hosted_type_with_its_priority_for_a_worker_to_take() {
    let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
    let refused = schedules(&stage)
        .put("hourly".parse().unwrap(), mailing(Overlap::Skip), &stage.asker())
        .await;
    assert_eq!(refused.unwrap_err().to_string(), "no run type shop.mail is registered");
    register(&stage).await;
    watched(&stage, mailing(Overlap::Skip)).await;
    let hosted = stage.runner.hosted();
    for firings in 1..3 {
        pass(60).await;
        let runs = stage.runs().await;
        assert_eq!(runs.len(), firings);
        let run = &runs[firings - 1];
        assert_eq!((run.status(), run.source), (Status::Queued, Source::Schedule));
        assert_eq!((run.priority, run.run_type()), (Priority(7), MAIL.parse().unwrap()));
        let Inputs::Hosted(asked) = &run.context.inputs else { unreachable!() };
        assert_eq!(asked.payload.value(), serde_json::json!({ "month": 6 }));
        let request = ClaimRequest {
            run_types: vec![run.run_type()],
            limit: 1,
            worker: "mailer".to_owned(),
            wait: Duration::ZERO,
        };
        let claimed = hosted.claim(request).await.unwrap();
        assert_eq!(claimed[0].run.id, run.id);
        let at = AttemptRef { run_id: run.id, job: None, attempt: 1 };
        let (counts, failures) = (Vec::new(), Vec::new());
        let done = Completion { outcome: WorkOutcome::Succeeded, counts, failures };
        hosted.complete(at, done, &stage.asker()).await.unwrap();
    }
    assert_eq!(stage.recorded(EventType::ScheduleFired).await, 2);
}

/// A worker takes a run of `shop.mail`.
async fn take_mail(stage: &Stage) -> AttemptRef {
    let request = ClaimRequest {
        run_types: vec![MAIL.parse().unwrap()],
        limit: 1,
        worker: "mailer".to_owned(),
        wait: Duration::ZERO,
    };
    let claimed = stage.runner.hosted().claim(request).await.unwrap().remove(0).run;
    AttemptRef { run_id: claimed.id, job: None, attempt: claimed.attempt }
}

/// The worker gives a sign of life every 20 seconds, until it is told to stop or has worked for so
/// many minutes.
async fn mail_for(stage: &Stage, minutes: usize) {
    let (hosted, at) = (stage.runner.hosted(), take_mail(stage).await);
    let mut outcome = WorkOutcome::Succeeded;
    for _ in 0..minutes * 3 {
        if hosted.heartbeat(at.clone()).await.unwrap().cancel_requested {
            outcome = WorkOutcome::Cancelled;
            break;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let (counts, failures) = (Vec::new(), Vec::new());
    let done = Completion { outcome, counts, failures };
    hosted.complete(at, done, &stage.asker()).await.unwrap();
}

/// When each run was asked for, how it ended, and which firings were left out or waited.
async fn told(stage: &Stage) -> String {
    let runs = stage.runs().await.into_iter();
    let runs = runs.map(|run| format!("{} {}", &run.created_at.to_string()[11..16], run.outcome()));
    let skipped = stage.recorded(EventType::ScheduleSkipped).await;
    let held = stage.recorded(EventType::ScheduleHeld).await;
    format!("{}; skipped {skipped}, held {held}", runs.collect::<Vec<_>>().join(", "))
}

#[tokio::test(start_paused = true)]
async fn a_firing_meets_a_run_in_the_hands_of_a_worker_as_its_policy_says() {
    for (overlap, expect) in [
        (Overlap::Skip, "01:00 succeeded; skipped 1, held 0"),
        (Overlap::Queue, "01:00 succeeded, 02:31 pending; skipped 0, held 1"),
        (Overlap::CancelRunning, "01:00 cancelled, 02:00 pending; skipped 0, held 1"),
    ] {
        let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
        register(&stage).await;
        watched(&stage, mailing(overlap)).await;
        pass(31).await;
        mail_for(&stage, 90).await;
        pass(5).await;
        assert_eq!(told(&stage).await, expect, "{overlap}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_firing_waits_for_a_run_whose_worker_left_until_another_has_done_it() {
    for (overlap, before, after) in [
        (Overlap::Skip, "01:00 pending; skipped 1, held 0", "01:00 succeeded; skipped 1, held 0"),
        (
            Overlap::Queue,
            "01:00 pending; skipped 0, held 1",
            "01:00 succeeded, 02:31 pending; skipped 0, held 1",
        ),
        (
            Overlap::CancelRunning,
            "01:00 cancelled, 02:00 pending; skipped 0, held 1",
            "01:00 cancelled, 02:00 succeeded; skipped 0, held 1",
        ),
    ] {
        let stage = Stage::at("2026-06-01T00:30:00Z", SHORT).await;
        register(&stage).await;
        watched(&stage, mailing(overlap)).await;
        pass(31).await;
        take_mail(&stage).await;
        pass(89).await;
        assert_eq!(told(&stage).await, before, "{overlap}");
        mail_for(&stage, 1).await;
        pass(5).await;
        assert_eq!(told(&stage).await, after, "{overlap}");
    }
}
