//! What every database promises about starting, stopping and dying.

use std::sync::Arc;

use super::Fixture;
use crate::base::CrashPoints;
use crate::store::{AuditFilter, Conflict, PageRequest, StoreError, Write};

async fn summaries(fixture: &Fixture) -> Vec<String> {
    let filter = AuditFilter::workspace(fixture.store.scope().workspace_id);
    let page = fixture.store.audit(filter, PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|record| record.event.summary.to_string()).collect()
}

pub(crate) async fn the_first_start_creates_a_database_and_says_so_once(fixture: Fixture) {
    assert_eq!(summaries(&fixture).await, ["A new database was created"]);
    let scope = fixture.store.scope();
    let again = fixture.reopened().await;
    assert_eq!(again.store.scope(), scope);
    assert_eq!(again.records().await, 1);
}

pub(crate) async fn a_database_that_is_not_for_this_program_is_refused_with_the_reason(
    fixture: Fixture,
) {
    for (damage, expect) in [
        (fixture.base.pretend_newer(), "has form 99; this agent knows forms up to "),
        ("UPDATE migrations SET checksum = 'other'", "was brought to form 1 by other statements"),
    ] {
        let fixture = fixture.another().await;
        let name = fixture.base.name();
        let error = fixture.refused_after(damage).await;
        let text = crate::base::chain(&error);
        assert!(text.starts_with("the database ") && text.contains(expect), "{text}");
        assert!(error.hint().is_some(), "{error} needs a hint");
        assert!(text.contains(&name), "{text} does not name {name}");
    }
}

pub(crate) async fn a_database_that_was_sealed_with_another_key_is_refused(fixture: Fixture) {
    fixture.base.change_key();
    let error = fixture.refused_after("SELECT 1").await;
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
    assert!(error.hint().is_some(), "{error} needs a hint");
}

pub(crate) async fn what_was_answered_outlives_the_process(fixture: Fixture) {
    let run = fixture.queue("shop", "a").await;
    fixture.store.close().await.unwrap();
    assert!(matches!(fixture.complete(&run, 0).await, Err(StoreError::Stopped)));
    let again = fixture.reopened().await;
    let read = again.store.run(run.id).await.unwrap();
    assert_eq!(read, Some(run));
}

pub(crate) async fn one_failing_caller_takes_nobody_with_him(fixture: Fixture) {
    let twice = fixture.queue("shop", "twice").await;
    let good: Vec<_> = (0..40).map(|n| fixture.run("shop", &n.to_string())).collect();
    let commits = good.iter().enumerate().flat_map(|(n, run)| {
        let mut same = fixture.run("shop", "twice");
        same.initiator_name = n.to_string();
        [run.clone(), same].map(|run| fixture.commit(Write::InsertRun(Box::new(run))))
    });
    let results = futures_util::future::join_all(commits).await;
    for pair in results.chunks(2) {
        assert!(pair[0].is_ok(), "{pair:?}");
        let conflict = pair[1].as_ref().unwrap_err().conflict().cloned();
        assert_eq!(conflict, Some(Conflict::ActiveRun(twice.id)));
    }
    assert_eq!(fixture.records().await, 1 + 1 + 40, "no event of a change that was refused");
}

/// Panics at a chosen point, as a process that dies there would stop.
struct DiesAt(&'static str);

impl CrashPoints for DiesAt {
    fn reached(&self, point: &'static str) {
        if point == self.0 {
            std::panic::resume_unwind(Box::new("died"));
        }
    }
}

pub(crate) async fn a_crash_beside_a_commit_leaves_all_of_it_or_nothing(fixture: Fixture) {
    for (point, survives) in [("store.commit.before", false), ("store.commit.after", true)] {
        let fixture = fixture.another().await.reopened_with(Arc::new(DiesAt(point))).await;
        let run = fixture.run("shop", "a");
        let commit = fixture.commit(Write::InsertRun(Box::new(run.clone())));
        let died = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(commit));
        // The death of a writer with a thread of its own is told as the end of the store.
        match died.await {
            Err(_) | Ok(Err(StoreError::Stopped)) => {}
            Ok(answer) => panic!("{point}: {answer:?}"),
        }
        let again = fixture.reopened().await;
        assert_eq!(again.store.run(run.id).await.unwrap().is_some(), survives, "{point}");
        assert_eq!(again.records().await, 1 + u64::from(survives), "{point}");
    }
}

pub(crate) async fn a_check_answers_without_writing(fixture: Fixture) {
    fixture.store.check().await.unwrap();
    assert_eq!(fixture.records().await, 1);
}
