use super::*;
use crate::base::ids::FindingId;
use crate::domain::audit::{EventType, Outcome};
use crate::domain::findings::FindingStatus;
use crate::domain::runs::Subject;
use crate::store::filter::Bound;
use crate::store::{AuditFilter, Cursor, FindingFilter, PageRequest, RunFilter};

/// A client on a database that a store has made.
pub(super) async fn client(database: &Database) -> tokio_postgres::Client {
    let clock = Arc::new(crate::base::time::TestClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
    let crash_points = Arc::new(crate::base::crash_points::NoCrashPoints);
    let ambient = crate::store::suite::ambient(&clock, 1, crash_points);
    Database::open(database, &ambient).await.unwrap().store.close().await.unwrap();
    let (client, wire) = server::connect(&database.place()).await.unwrap();
    std::thread::Builder::new()
        .name("wire".to_owned())
        .spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _ = runtime.unwrap().block_on(wire);
        })
        .unwrap();
    client
}

#[tokio::test]
async fn every_statement_is_understood_by_the_server() {
    let database = Database::new().await;
    let client = client(&database).await;
    for sql in statements::Sql::ALL {
        let prepared = client.prepare(sql.text()).await;
        assert!(prepared.is_ok(), "{sql:?}: {}", prepared.unwrap_err());
    }
}

/// The query reads through this index, and sorts nothing.
async fn check(client: &tokio_postgres::Client, sql: &str, values: &[Bound], index: &str) {
    client.batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off").await.unwrap();
    let explain = format!("EXPLAIN {sql}");
    let rows = client.query(explain.as_str(), &rows::bound(values)).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains(&format!(" {index} ")), "{index} is not used:\n{plan}");
    assert!(!plan.contains("Sort"), "sorts:\n{plan}");
}

#[tokio::test]
async fn lists_use_their_index() {
    let database = Database::new().await;
    let client = client(&database).await;
    let workspace = crate::base::ids::WorkspaceId::from_u128(1);
    let tenant_id = Some(crate::base::ids::TenantId::from_u128(1));
    let runs = async |filter: RunFilter, index: &str| {
        let page = PageRequest { limit: 10, after: Some(Cursor("1~a".to_owned())) };
        let (sql, values) = run_reads::query(&filter, &page).unwrap();
        check(&client, &sql, &values, index).await;
    };
    let all = RunFilter::workspace(workspace);
    runs(all.clone(), "runs_newest").await;
    runs(RunFilter { tenant_id, ..all.clone() }, "runs_by_tenant").await;
    let subject = Some(Subject::project("shop"));
    runs(RunFilter { subject, ..all.clone() }, "runs_by_subject").await;
    runs(RunFilter { is_dead_letter: Some(true), ..all }, "runs_dead_letters").await;

    let findings = async |filter: FindingFilter, index: &str| {
        let after = Some(Cursor(format!("3_{}", FindingId::from_u128(1))));
        let page = PageRequest { limit: 10, after };
        let (sql, values) = finding_reads::query(&filter, &page).unwrap();
        check(&client, &sql, &values, index).await;
    };
    let all = FindingFilter::workspace(workspace);
    findings(all.clone(), "findings_listed").await;
    findings(FindingFilter { statuses: FindingStatus::open(), ..all }, "findings_open").await;

    let audit = async |filter: AuditFilter, index: &str| {
        let host = HostId::from_u128(1);
        let page = PageRequest { limit: 10, after: Some(Cursor(format!("1~{host}~1"))) };
        let (sql, values) = audit::query(&filter, &page).unwrap();
        check(&client, &sql, &values, index).await;
    };
    let all = AuditFilter::workspace(workspace);
    audit(all.clone(), "audit_newest").await;
    audit(AuditFilter { tenant_id, ..all.clone() }, "audit_by_tenant").await;
    let event_types = vec![EventType::AgentStarted];
    audit(AuditFilter { event_types, ..all.clone() }, "audit_by_type").await;
    audit(AuditFilter { outcomes: vec![Outcome::Failed], ..all.clone() }, "audit_by_outcome").await;
    audit(AuditFilter { actor_label: Some("ada".into()), ..all.clone() }, "audit_by_actor").await;
    let (target_type, target_id) = (Some("project".into()), Some("shop".into()));
    audit(AuditFilter { target_type, target_id, ..all.clone() }, "audit_by_target").await;
    let operation_run_id = Some(crate::base::ids::RunId::from_u128(5));
    audit(AuditFilter { operation_run_id, ..all }, "audit_by_run").await;
}
