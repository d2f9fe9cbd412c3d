use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::*;
use crate::base::ids::{FindingId, RunId};
use crate::domain::audit::{EventType, Outcome};
use crate::domain::findings::FindingStatus;
use crate::domain::runs::Subject;
use crate::store::{AuditFilter, Cursor, FindingFilter, PageRequest, RunFilter};

/// The query reads through this index, and sorts nothing.
fn assert_uses(files: &Files, sql: &str, values: Vec<Value>, index: &str) {
    let connection = rusqlite::Connection::open(files.database()).unwrap();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3));
    let plan = rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap().join("\n");
    assert!(plan.contains(&format!("INDEX {index} ")), "{index} is not used:\n{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "sorts:\n{plan}");
}

#[tokio::test]
async fn the_log_refuses_a_record_in_the_place_of_another() {
    let (fixture, files) = inline().await;
    fixture.queue("shop", "a").await;
    let sql = "INSERT OR REPLACE INTO audit_events SELECT * FROM audit_events WHERE seq = 1";
    let error = tamper(&files.database(), sql).unwrap_err().to_string();
    assert!(error.contains("has no gaps"), "{error}");
    assert_eq!(fixture.records().await, 2);
}

#[tokio::test]
async fn lists_of_the_log_use_their_index() {
    let (fixture, files) = inline().await;
    let scope = fixture.store.scope();
    let all = AuditFilter::workspace(scope.workspace_id);
    let check = |filter: AuditFilter, index: &str| {
        let page = PageRequest { limit: 10, after: Some(Cursor("9".to_owned())) };
        let (sql, values) = super::super::audit::query(&filter, &page).unwrap();
        assert_uses(&files, &sql, values, index);
    };
    check(all.clone(), "audit_newest");
    check(AuditFilter { tenant_id: Some(scope.tenant_id), ..all.clone() }, "audit_by_tenant");
    let event_types = vec![EventType::AgentStarted];
    check(AuditFilter { event_types, ..all.clone() }, "audit_by_type");
    check(AuditFilter { outcomes: vec![Outcome::Failed], ..all.clone() }, "audit_by_outcome");
    check(AuditFilter { actor_label: Some("ada".into()), ..all.clone() }, "audit_by_actor");
    let (target_type, target_id) = (Some("project".into()), Some("shop".into()));
    check(AuditFilter { target_type, target_id, ..all.clone() }, "audit_by_target");
    let operation_run_id = Some(RunId::from_u128(5));
    check(AuditFilter { operation_run_id, ..all }, "audit_by_run");
}

#[tokio::test]
async fn lists_of_findings_use_their_index() {
    let (fixture, files) = inline().await;
    let scope = fixture.store.scope();
    let all = FindingFilter::workspace(scope.workspace_id);
    let check = |filter: FindingFilter, index: &str| {
        let after = Some(Cursor(format!("3_{}", FindingId::from_u128(1))));
        let page = PageRequest { limit: 10, after };
        let (sql, values) = super::super::finding_reads::query(&filter, &page).unwrap();
        assert_uses(&files, &sql, values, index);
    };
    check(all.clone(), "findings_listed");
    check(FindingFilter { statuses: FindingStatus::open(), ..all.clone() }, "findings_open");
    check(FindingFilter { tenant_id: Some(scope.tenant_id), ..all }, "findings_listed_by_tenant");
}

#[tokio::test]
async fn lists_of_runs_use_their_index() {
    let (fixture, files) = inline().await;
    let scope = fixture.store.scope();
    let all = RunFilter::workspace(scope.workspace_id);
    let check = |filter: RunFilter, index: &str| {
        let after = Some(Cursor("1~a".to_owned()));
        let page = PageRequest { limit: 10, after };
        let (sql, values) = super::super::run_reads::query(&filter, &page).unwrap();
        assert_uses(&files, &sql, values, index);
    };
    check(all.clone(), "runs_newest");
    check(RunFilter { tenant_id: Some(scope.tenant_id), ..all.clone() }, "runs_by_tenant");
    let subject = Some(Subject::project("shop"));
    check(RunFilter { subject, ..all }, "runs_by_subject");
}

/// A hundred thousand runs that have ended, so that reading past them would show.
const MANY_ENDED: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)
    INSERT INTO runs (id, workspace_id, tenant_id, initiator_name, source, type, priority, status,
        outcome, ready, attempt, failures, is_dead_letter, run_identity_hash, summary_counts,
        failure_summary, context, created_at, started_at, completed_at)
    SELECT printf('ended-%d', n), host.workspace_id, host.tenant_id, 'ada', 'api', 'shop.mail', 0,
        'completed', 'succeeded', 0, 1, 0, 0, printf('%064d', n), '{}', '[]', '{}', n, n, n
    FROM numbers, host;
    INSERT INTO run_attempts (run_id, number, instance, is_hosted, started_at, heartbeat_at,
        lease_until, ended_at, end)
    SELECT id, 1, 'mailer', 1, 1, 1, 1, 2, 'completed' FROM runs;
    ANALYZE;";

#[tokio::test]
async fn what_the_queue_asks_for_uses_its_index_beside_many_runs_that_ended() {
    use crate::store::sqlite::{claims, finding_reads, queue, run_reads};
    let (fixture, files) = inline().await;
    tamper(&files.database(), MANY_ENDED).unwrap();
    let run = fixture.queue("shop", "a").await;
    for (sql, index, values) in claims::EXPLAINED {
        assert_uses(&files, sql, vec![Value::Null; values], index);
    }
    assert_uses(&files, run_reads::DUE, vec![Value::Null], "runs_waiting");
    assert_uses(&files, finding_reads::AFTER, vec![Value::Null; 4], "findings_by_tenant");
    let by_fingerprint = "sqlite_autoindex_findings_2";
    assert_uses(&files, finding_reads::BY_FINGERPRINT, vec![Value::Null; 2], by_fingerprint);
    assert_uses(&files, finding_reads::OPEN, vec![Value::Null; 3], "findings_open_by_tenant");
    assert_uses(&files, finding_reads::OVERDUE, vec![Value::Null; 2], "findings_due");
    assert_uses(&files, finding_reads::FINISHED, vec![Value::Null; 2], "findings_finished");
    let over = "finding_exceptions_open";
    assert_uses(&files, finding_reads::EXCEPTIONS_OVER, vec![Value::Null; 2], over);
    let unsorted = |sql: &str, values: Vec<Value>, index: &str| {
        let connection = rusqlite::Connection::open(files.database()).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3));
        let plan = rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap().join("\n");
        assert!(plan.contains(&format!("INDEX {index}")), "{index} is not used:\n{plan}");
        assert!(!plan.contains("SCAN runs\n"), "reads all:\n{plan}");
    };
    unsorted(run_reads::NEXT_DUE, Vec::new(), "runs_waiting");
    unsorted(queue::DEPTHS, vec![Value::Null], "runs_active_identity");
    for (sql, index) in claims::DUE_READY {
        unsorted(sql, vec![Value::Null], index);
    }
    // And it is quick: the slowest of these would read a hundred thousand rows.
    assert_eq!(fixture.claim(9).await, [run.id]);
}
