use std::fs;

use super::*;
use crate::base::CrashPoints;
use crate::store::{AuditFilter, PageRequest, ReadAudit as _};

async fn summaries(fixture: &Fixture) -> Vec<String> {
    let filter = AuditFilter::workspace(fixture.store.scope().workspace_id);
    let page = fixture.store.audit(filter, PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|record| record.event.summary.to_string()).collect()
}

#[tokio::test]
async fn the_first_start_creates_a_database_and_says_so_once() {
    let fixture = Fixture::inline();
    assert_eq!(summaries(&fixture).await, ["A new database was created"]);
    let scope = fixture.store.scope();
    let again = fixture.reopened();
    assert_eq!(again.store.scope(), scope);
    assert_eq!(again.records().await, 1);
}

#[tokio::test]
async fn a_database_that_is_gone_is_created_again_and_its_loss_is_recorded() {
    let Fixture { dir, clock, store, .. } = Fixture::inline();
    drop(store);
    for file in ["wharf.db", "wharf.db-wal", "wharf.db-shm"] {
        let _ = fs::remove_file(dir.path().join(file));
    }
    let ambient = ambient(&clock, 2);
    let opened = open_in(dir.path(), &ambient, Mode::Inline).unwrap();
    assert_eq!(opened.migrated, Migrated::Created);
    let fixture = Fixture { dir, clock, ambient, store: opened.store };
    let expect = "A new database was created: an earlier one is gone, and its history with it";
    assert_eq!(summaries(&fixture).await, [expect]);
}

#[tokio::test]
async fn an_older_database_is_brought_to_the_newest_form_and_its_projects_stay_whole() {
    let Fixture { dir, clock, ambient, store, .. } = Fixture::inline();
    let workspace = store.scope().workspace_id;
    drop(store);
    let older = format!(
        "INSERT INTO projects (workspace_id, name, desired, created_at, updated_at)
             VALUES ('{workspace}', 'shop', 'running', 0, 0);
         DROP TABLE doomed_volumes;
         ALTER TABLE container_exits DROP COLUMN ended;
         ALTER TABLE projects DROP COLUMN wanted;
         DELETE FROM migrations WHERE number > 1;
         PRAGMA user_version = 1"
    );
    tamper(&dir.path().join("wharf.db"), &older).unwrap();
    let opened = open_in(dir.path(), &ambient, Mode::Inline).unwrap();
    assert_eq!(opened.migrated, Migrated::Upgraded { from: 1, to: 4 });
    let fixture = Fixture { dir, clock, ambient, store: opened.store };
    let found = crate::store::ReadProjects::project(&*fixture.store, workspace, "shop".to_owned());
    assert!(found.await.unwrap().unwrap().wanted.is_whole());
    assert_eq!(summaries(&fixture).await[0], "The database was brought from form 1 to form 4");
}

#[test]
fn two_agents_never_share_a_state_directory() {
    let fixture = Fixture::inline();
    let second = open_in(fixture.dir.path(), &fixture.ambient, Mode::Inline).err().unwrap();
    assert!(matches!(second, StoreError::AgentRunning { .. }), "{second}");
}

/// Damages a database and checks how the next start refuses it.
fn check(damage: impl FnOnce(&Path), expect: &str) {
    let Fixture { dir, ambient, store, .. } = Fixture::inline();
    drop(store);
    damage(&dir.path().join("wharf.db"));
    let error = open_in(dir.path(), &ambient, Mode::Inline).err().expect("it must be refused");
    let text = crate::base::chain(&error).replace(&*dir.path().to_string_lossy(), "DIR");
    assert!(text.starts_with(expect), "{text}");
    assert!(error.hint().is_some(), "{error} needs a hint");
}

#[test]
fn a_database_that_is_not_for_this_program_is_refused_with_the_reason() {
    check(
        |path| tamper(path, "PRAGMA user_version = 99").unwrap(),
        "the database DIR/wharf.db has form 99; this agent knows forms up to 4",
    );
    check(
        |path| tamper(path, "UPDATE migrations SET checksum = 'other'").unwrap(),
        "the database DIR/wharf.db was brought to form 1 by other statements",
    );
    check(
        |path| tamper(path, "PRAGMA application_id = 7").unwrap(),
        "the file DIR/wharf.db is not a database that can be read: the database belongs to",
    );
    check(
        |path| fs::write(path, vec![b'x'; 8192]).unwrap(),
        "the file DIR/wharf.db is not a database that can be read: file is not a database",
    );
    check(
        |path| {
            let key = path.with_file_name("keys").join("store.key");
            fs::write(key, "11".repeat(32)).unwrap();
        },
        "the key DIR/keys/store.key is not the one that the database was sealed with",
    );
}

#[tokio::test]
async fn what_was_answered_outlives_the_process() {
    let fixture = Fixture::new(Mode::Threaded);
    let run = fixture.queue("shop", "a").await;
    fixture.store.close().await.unwrap();
    assert!(matches!(fixture.complete(&run, 0).await, Err(StoreError::Stopped)));
    let again = fixture.reopened();
    let read = crate::store::ReadRuns::run(&*again.store, run.id).await.unwrap();
    assert_eq!(read, Some(run));
}

#[tokio::test]
async fn one_failing_caller_takes_nobody_with_him() {
    let fixture = Fixture::new(Mode::Threaded);
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
        assert_eq!(conflict, Some(crate::store::Conflict::ActiveRun(twice.id)));
    }
    assert_eq!(fixture.records().await, 1 + 1 + 40, "no event of a change that was refused");
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing_half_recorded() {
    let fixture = Fixture::inline();
    let pages = |count: i64| {
        let Engine::Inline(writer) = &fixture.store.engine else { unreachable!() };
        let writer = writer.lock().unwrap();
        let connection = &writer.as_ref().unwrap().connection;
        connection.pragma_update_and_check(None, "max_page_count", count, |_| Ok(())).unwrap();
    };
    pages(1);
    let mut error = None;
    for n in 0..200 {
        let run = fixture.run("shop", &n.to_string());
        if let Err(full) = fixture.commit(Write::InsertRun(Box::new(run))).await {
            error = Some(full);
            break;
        }
    }
    let error = error.expect("the disk must become full");
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert!(error.hint().unwrap().starts_with("free space"));
    let before = fixture.records().await;
    pages(100_000);
    fixture.queue("shop", "after").await;
    assert_eq!(fixture.records().await, before + 1);
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

#[tokio::test]
async fn a_crash_beside_a_commit_leaves_all_of_it_or_nothing() {
    for (point, survives) in [("store.commit.before", false), ("store.commit.after", true)] {
        let Fixture { dir, clock, store, .. } = Fixture::inline();
        drop(store);
        let mut ambient = ambient(&clock, 2);
        ambient.crash_points = Arc::new(DiesAt(point));
        let store = open_in(dir.path(), &ambient, Mode::Inline).unwrap().store;
        let fixture = Fixture { dir, clock, ambient, store };
        let run = fixture.run("shop", "a");
        let commit = fixture.commit(Write::InsertRun(Box::new(run.clone())));
        let died = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(commit));
        assert!(died.await.is_err());
        let again = fixture.reopened();
        let read = crate::store::ReadRuns::run(&*again.store, run.id).await.unwrap();
        assert_eq!(read.is_some(), survives, "{point}");
        assert_eq!(again.records().await, 1 + u64::from(survives), "{point}");
    }
}

#[test]
fn the_writer_waits_for_the_disk() {
    let fixture = Fixture::inline();
    let Engine::Inline(writer) = &fixture.store.engine else { unreachable!() };
    let writer = writer.lock().unwrap();
    let connection = &writer.as_ref().unwrap().connection;
    let ask = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    let mode: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), ask("synchronous"), ask("foreign_keys")), ("wal", 2, 1));
}

#[tokio::test]
async fn a_check_answers_without_writing() {
    let fixture = Fixture::new(Mode::Threaded);
    fixture.store.check().await.unwrap();
    assert_eq!(fixture.records().await, 1);
}

/// A write into a file without a name would be acknowledged, and lost with the process.
#[tokio::test]
async fn nothing_is_written_to_a_database_that_was_taken_away() {
    for mode in [Mode::Inline, Mode::Threaded] {
        let fixture = Fixture::new(mode);
        let (path, aside) = (fixture.dir.path().join("wharf.db"), fixture.dir.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let refused = fixture.store.check().await.unwrap_err();
        assert!(matches!(refused, StoreError::Replaced { .. }), "{refused}");
        fs::write(&path, "another").unwrap();
        let run = fixture.run("shop", "a");
        let refused = fixture.commit(Write::InsertRun(Box::new(run))).await.unwrap_err();
        assert!(matches!(refused, StoreError::Replaced { .. }), "{refused}");
        fs::rename(&aside, &path).unwrap();
        fixture.store.check().await.unwrap();
    }
}
