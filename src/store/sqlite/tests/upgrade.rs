use super::*;
use crate::base::crash_points::NoCrashPoints;
use crate::base::ids::RunId;
use crate::base::time::TestClock;
use crate::domain::runs::{CountKey, RunState, WaitsFor};
use crate::store::suite::ambient;
use crate::store::{AuditFilter, PageRequest};

/// What an agent of an older form left: a project, a run that waits for an answer with its lock, one that a
/// worker had, one that has ended.
const OLD_RECORDS: &str = "
    INSERT INTO projects (workspace_id, name, desired, created_at, updated_at)
        SELECT workspace_id, 'shop', 'running', 0, 0 FROM host;
    INSERT INTO runs SELECT '00000000-0000-0000-0000-0000000000a1', workspace_id, tenant_id,
        owner_id, 'ada', 'cli', 'restart_project', 'project:shop', 'running', 'pending', 0,
        'answer', NULL, 1, printf('%064d', 1), '{\"started\":2}', '[]',
        '{\"inputs\":{\"type\":\"restart_project\",\"project\":\"shop\"}}', NULL, 10, 20, NULL
        FROM host;
    INSERT INTO runs SELECT '00000000-0000-0000-0000-0000000000a2', workspace_id, tenant_id,
        owner_id, 'ada', 'cli', 'restart_project', 'project:blog', 'running', 'pending', 0,
        NULL, NULL, 1, printf('%064d', 2), '{}', '[]',
        '{\"inputs\":{\"type\":\"restart_project\",\"project\":\"blog\"}}', NULL, 11, 21, NULL
        FROM host;
    INSERT INTO runs SELECT '00000000-0000-0000-0000-0000000000a3', workspace_id, tenant_id,
        NULL, 'wharf agent', 'convergence', 'remove_project', 'project:old', 'completed',
        'succeeded', 0, NULL, NULL, 1, printf('%064d', 3), '{}', '[]',
        '{\"inputs\":{\"type\":\"remove_project\",\"project\":\"old\"}}', NULL, 12, 22, 32
        FROM host;
    INSERT INTO run_attempts VALUES
        ('00000000-0000-0000-0000-0000000000a1', 1, 'boot-0/a', 20, 25, 30, 'interrupted'),
        ('00000000-0000-0000-0000-0000000000a2', 1, 'boot-0/a', 21, 25, NULL, NULL),
        ('00000000-0000-0000-0000-0000000000a3', 1, 'boot-0/a', 22, 25, 32, 'completed');
    INSERT INTO run_steps VALUES ('00000000-0000-0000-0000-0000000000a2', 1, 0, 'container.restart',
        'restart', 'asked for', '{\"kind\":\"nothing\"}', 'started', 21, NULL, NULL);
    INSERT INTO locks VALUES
        ('project:shop', '00000000-0000-0000-0000-0000000000a1', 20, 900000000000),
        ('project:blog', '00000000-0000-0000-0000-0000000000a2', 21, 900000000000);";

#[tokio::test]
async fn a_database_of_an_older_form_is_upgraded_with_all_that_it_holds() {
    for form in 1..=4 {
        upgrade_from(form).await;
    }
}

/// Upgrades a database of a form that knew one agent only.
async fn upgrade_from(form: u32) {
    let files = Files::new(Mode::Inline);
    let clock = Arc::new(TestClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
    let ambient = ambient(&clock, 1, Arc::new(NoCrashPoints));
    let keys = Keys::open_or_create(files.dir.path(), &*ambient.entropy).unwrap();
    create_private(&files.database()).unwrap();
    let mut old = connect(&files.database()).unwrap();
    let opening = Opening {
        state_dir: files.dir.path(),
        keys: &keys,
        ambient: &ambient,
        os_user: "ada",
        hostname: "host-1",
        agent_version: "0.0.0",
        mode: Mode::Inline,
        on_commit: None,
    };
    migrations::create_form(&mut old, &opening, form).unwrap();
    old.execute_batch(OLD_RECORDS).unwrap();
    drop(old);

    let opened = files.open(&ambient).unwrap();
    assert_eq!(opened.migrated, Migrated::Upgraded { from: form, to: migrations::NEWEST });
    let base = Arc::clone(&files) as Arc<dyn Base>;
    let fixture = Fixture { base, clock, ambient, store: opened.store };
    let host_id = fixture.store.scope().host_id;
    let find = async |last: u128| fixture.store.run(RunId::from_u128(last)).await.unwrap().unwrap();
    let (asking, working, ended) = (find(0xa1).await, find(0xa2).await, find(0xa3).await);
    assert_eq!(asking.waiting().map(|waiting| waiting.waits_for), Some(WaitsFor::Answer));
    assert_eq!(asking.summary_counts.get(CountKey::Started), 2);
    assert_eq!((working.state, ended.outcome().key()), (RunState::Running, "succeeded"));
    for run in [&asking, &working, &ended] {
        assert_eq!((run.host_id, run.priority.0, run.failures), (Some(host_id), 0, 0));
    }
    let workspace = fixture.store.scope().workspace_id;
    let shop = fixture.store.project(workspace, "shop".to_owned()).await.unwrap().unwrap();
    assert!(shop.wanted.is_whole(), "what was kept whole stays whole");
    let open = fixture.store.open_attempts().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].run.id, open[0].attempt.holder.host_id), (working.id, Some(host_id)));
    assert_eq!(fixture.store.steps(working.id).await.unwrap().len(), 1);
    tamper(&files.database(), "UPDATE locks SET expires_at = 9000000000000000000").unwrap();
    let rival = fixture.queue("shop", "a").await;
    let refused = fixture.start(&rival, 1).await.unwrap_err();
    assert!(refused.to_string().contains("is locked by run"), "{refused}");
    let reopened = fixture.reopened().await;
    assert_eq!(reopened.records().await, 3, "upgraded once");
    let filter = AuditFilter::workspace(workspace);
    let told = reopened.store.audit(filter, PageRequest::default()).await.unwrap();
    let told = told.items.iter().map(|record| record.event.summary.as_str());
    let expect =
        format!("The database was brought from form {form} to form {}", migrations::NEWEST);
    assert!(told.into_iter().any(|summary| summary == expect), "{expect}");
}
