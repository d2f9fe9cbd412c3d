//! What every database promises about schedules.

use std::time::Duration;

use super::Fixture;
use crate::base::ids::ScheduleId;
use crate::base::time::after;
use crate::domain::schedules::{Calendar, MissedPolicy, Overlap, Progress, Schedule, Task};
use crate::store::{Advance, Conflict, ScheduleWrite, StoreError, Write};

pub(crate) fn schedule(fixture: &Fixture, id: u128, name: &str) -> Schedule {
    let now = fixture.now();
    Schedule {
        id: ScheduleId::from_u128(id),
        workspace_id: fixture.store.scope().workspace_id,
        tenant_id: Some(fixture.store.scope().tenant_id),
        name: name.parse().unwrap(),
        calendar: Calendar::parse("30 3 * * *", "Europe/Berlin").unwrap(),
        task: Task::RestartProject { project: "shop".to_owned(), services: vec!["web".to_owned()] },
        jitter_max: Duration::from_secs(300),
        missed: MissedPolicy::RunOnce,
        missed_age_max: Duration::from_secs(7200),
        overlap: Overlap::Queue,
        is_paused: false,
        created_at: now,
        updated_at: now,
        progress: Progress::from(now),
    }
}

async fn write(fixture: &Fixture, write: ScheduleWrite) -> Result<(), StoreError> {
    fixture.commit(Write::Schedule(write)).await
}

async fn put(fixture: &Fixture, schedule: &Schedule) -> Result<(), StoreError> {
    write(fixture, ScheduleWrite::Put(Box::new(schedule.clone()))).await
}

async fn read(fixture: &Fixture, name: &str) -> Option<Schedule> {
    let workspace = fixture.store.scope().workspace_id;
    fixture.store.schedule(workspace, name.to_owned()).await.unwrap()
}

fn conflict(result: Result<(), StoreError>) -> Conflict {
    result.unwrap_err().conflict().cloned().expect("a conflict")
}

pub(crate) async fn a_schedule_reads_back_until_it_is_dropped(fixture: Fixture) {
    let nightly = schedule(&fixture, 1, "nightly");
    put(&fixture, &nightly).await.unwrap();
    put(&fixture, &schedule(&fixture, 2, "hourly")).await.unwrap();
    assert_eq!(read(&fixture, "nightly").await, Some(nightly.clone()));
    let workspace = fixture.store.scope().workspace_id;
    let all = fixture.store.schedules(workspace).await.unwrap();
    let names: Vec<String> = all.iter().map(|schedule| schedule.name.to_string()).collect();
    assert_eq!(names, ["hourly", "nightly"]);
    let same_name = schedule(&fixture, 3, "nightly");
    let (noun, name) = ("schedule", "nightly".to_owned());
    assert_eq!(conflict(put(&fixture, &same_name).await), Conflict::Taken { noun, name });
    let gone = ScheduleWrite::Drop { workspace_id: workspace, id: nightly.id };
    write(&fixture, gone.clone()).await.unwrap();
    assert_eq!(read(&fixture, "nightly").await, None);
    let id = nightly.id.to_string();
    assert_eq!(conflict(write(&fixture, gone).await), Conflict::Missing { noun, id });
}

pub(crate) async fn a_firing_and_its_run_are_recorded_together_and_once(fixture: Fixture) {
    let nightly = schedule(&fixture, 1, "nightly");
    put(&fixture, &nightly).await.unwrap();
    let run = fixture.run("shop", "web");
    let planned = after(fixture.now(), Duration::from_secs(60));
    let progress =
        Progress { done_until: planned, held: None, fired_at: Some(planned), run_id: Some(run.id) };
    let advance = Write::Schedule(ScheduleWrite::Advance(Advance::of(&nightly, progress)));
    let fire = vec![advance, Write::InsertRun(Box::new(run.clone()))];
    fixture.store.commit(fire.clone(), fixture.events()).await.unwrap();
    assert_eq!(read(&fixture, "nightly").await.unwrap().progress, progress);
    // The same decision again, by another agent or after a crash: neither a firing nor a run.
    let again = fixture.store.commit(fire, fixture.events()).await;
    let (noun, name) = ("schedule", "nightly".to_owned());
    assert_eq!(conflict(again), Conflict::Stale { noun, name });
    // A run that is refused takes the note of its firing with it.
    let nightly = read(&fixture, "nightly").await.unwrap();
    let later = after(planned, Duration::from_secs(60));
    let advance = Advance::of(&nightly, Progress { done_until: later, ..progress });
    let writes = vec![
        Write::Schedule(ScheduleWrite::Advance(advance)),
        Write::InsertRun(Box::new(fixture.run("shop", "web"))),
    ];
    let refused = fixture.store.commit(writes, fixture.events()).await;
    assert_eq!(conflict(refused), Conflict::ActiveRun(run.id));
    assert_eq!(read(&fixture, "nightly").await.unwrap().progress, progress);
}

pub(crate) async fn changing_a_schedule_never_brings_a_firing_back(fixture: Fixture) {
    let nightly = schedule(&fixture, 1, "nightly");
    put(&fixture, &nightly).await.unwrap();
    let planned = after(fixture.now(), Duration::from_secs(60));
    let progress = Progress { done_until: planned, ..nightly.progress };
    let advance = Advance::of(&nightly, progress);
    write(&fixture, ScheduleWrite::Advance(advance)).await.unwrap();
    // Somebody who read it before the firing pauses it.
    fixture.clock.advance(Duration::from_secs(1));
    let paused = Schedule { is_paused: true, updated_at: fixture.now(), ..nightly.clone() };
    put(&fixture, &paused).await.unwrap();
    let found = read(&fixture, "nightly").await.unwrap();
    assert_eq!((found.is_paused, found.progress), (true, progress));
    // A firing that was decided before the change is none.
    let late = Advance::of(&nightly, Progress { done_until: planned, ..progress });
    let late = write(&fixture, ScheduleWrite::Advance(late)).await;
    assert!(matches!(conflict(late), Conflict::Stale { .. }));
    // What was resumed later begins later.
    let resumed_at = after(planned, Duration::from_secs(600));
    let resumed = Schedule { progress: Progress::from(resumed_at), ..nightly };
    put(&fixture, &resumed).await.unwrap();
    assert_eq!(read(&fixture, "nightly").await.unwrap().progress.done_until, resumed_at);
}
