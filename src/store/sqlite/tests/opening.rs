use std::fs;

use super::*;
use crate::store::{AuditFilter, PageRequest, ReadAudit as _};

#[tokio::test]
async fn a_database_that_is_gone_is_created_again_and_its_loss_is_recorded() {
    let (fixture, files) = inline().await;
    drop(fixture.store);
    for file in ["wharf.db", "wharf.db-wal", "wharf.db-shm"] {
        let _ = fs::remove_file(files.dir.path().join(file));
    }
    let opened = files.open(&fixture.ambient).unwrap();
    assert_eq!(opened.migrated, Migrated::Created);
    let filter = AuditFilter::workspace(opened.store.scope().workspace_id);
    let page = opened.store.audit(filter, PageRequest::default()).await.unwrap();
    let summaries: Vec<_> = page.items.iter().map(|record| record.event.summary.as_str()).collect();
    let expect = "A new database was created: an earlier one is gone, and its history with it";
    assert_eq!(summaries, [expect]);
}

#[tokio::test]
async fn two_agents_never_share_a_state_directory() {
    let (fixture, files) = inline().await;
    let second = files.open(&fixture.ambient).err().unwrap();
    assert!(matches!(second, StoreError::AgentRunning { .. }), "{second}");
}

#[tokio::test]
async fn a_file_that_is_no_database_of_ours_is_refused_with_the_reason() {
    async fn check(damage: impl FnOnce(&Path), expect: &str) {
        let (Fixture { ambient, store, .. }, files) = inline().await;
        drop(store);
        damage(&files.database());
        let error = files.open(&ambient).err().expect("it must be refused");
        let text = crate::base::chain(&error);
        let text = text.replace(&*files.dir.path().to_string_lossy(), "DIR");
        assert!(text.starts_with(expect), "{text}");
        assert!(error.hint().is_some(), "{error} needs a hint");
    }
    check(
        |path| tamper(path, "PRAGMA application_id = 7").unwrap(),
        "the file DIR/wharf.db is not a database that can be read: the database belongs to",
    )
    .await;
    check(
        |path| fs::write(path, vec![b'x'; 8192]).unwrap(),
        "the file DIR/wharf.db is not a database that can be read: file is not a database",
    )
    .await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing_half_recorded() {
    let (fixture, files) = inline().await;
    let pages = |count: i64| {
        let set = |connection: &Connection| {
            connection.pragma_update_and_check(None, "max_page_count", count, |_| Ok(()))
        };
        files.writing(set).unwrap();
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

#[tokio::test]
async fn the_writer_waits_for_the_disk() {
    let (_fixture, files) = inline().await;
    files.writing(|connection| {
        let ask = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let mode: String =
            connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert_eq!((ask("synchronous").unwrap(), ask("foreign_keys").unwrap()), (2, 1));
    });
}

/// A write into a file without a name would be acknowledged, and lost with the process.
#[tokio::test]
async fn nothing_is_written_to_a_database_that_was_taken_away() {
    for mode in [Mode::Inline, Mode::Threaded] {
        let files = Files::new(mode);
        let fixture = Fixture::on(Arc::clone(&files) as _).await;
        let (path, aside) = (files.database(), files.dir.path().join("aside"));
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
