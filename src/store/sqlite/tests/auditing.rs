use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::*;
use crate::domain::audit::chain::ChainBreak;
use crate::domain::audit::{ActorType, Target};
use crate::store::{AuditFilter, Cursor, PageRequest, ReadAudit as _};

/// The query reads through this index, and sorts nothing.
pub(super) fn assert_uses(fixture: &Fixture, sql: &str, values: Vec<Value>, index: &str) {
    let connection = rusqlite::Connection::open(fixture.dir.path().join("wharf.db")).unwrap();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3));
    let plan = rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap().join("\n");
    assert!(plan.contains(&format!("INDEX {index} ")), "{index} is not used:\n{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "sorts:\n{plan}");
}

#[tokio::test]
async fn the_log_refuses_every_way_to_change_it() {
    let fixture = Fixture::inline();
    fixture.queue("shop", "a").await;
    let copy = "SELECT seq, id, workspace_id, tenant_id, event_type, outcome, actor_type,
        actor_label, target_type, target_id, operation_run_id, 'other', occurred_at, body, hash
        FROM audit_events WHERE seq = 1";
    for (sql, expect) in [
        ("UPDATE audit_events SET summary = 'other'".to_owned(), "is never changed"),
        ("DELETE FROM audit_events WHERE seq = 2".to_owned(), "is never deleted"),
        (format!("INSERT OR REPLACE INTO audit_events {copy}"), "has no gaps"),
        (
            format!("INSERT INTO audit_events {}", copy.replace("SELECT seq, id", "SELECT 9, 'x'")),
            "has no gaps",
        ),
    ] {
        let error = fixture.tamper(&sql).unwrap_err().to_string();
        assert!(error.contains(expect), "{sql}: {error}");
    }
    assert_eq!(fixture.records().await, 2);
}

#[tokio::test]
async fn damage_behind_the_triggers_is_found() {
    async fn check(damage: &str, expect: &[ChainBreak]) {
        let fixture = Fixture::inline();
        for n in 0..4 {
            fixture.queue("shop", &n.to_string()).await;
        }
        let unlocked = "DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted;";
        fixture.tamper(&format!("{unlocked} {damage}")).unwrap();
        assert_eq!(fixture.store.verify_audit().await.unwrap().breaks, expect, "{damage}");
    }
    let changed = |seq| ChainBreak::Changed { seq };
    check(
        "UPDATE audit_events SET body = replace(body, 'happened', 'occurred') WHERE seq = 3",
        &[changed(3), ChainBreak::Contradiction { seq: 3, part: "index column" }],
    )
    .await;
    check(
        "UPDATE audit_events SET actor_label = 'somebody else' WHERE seq = 2",
        &[ChainBreak::Contradiction { seq: 2, part: "index column" }],
    )
    .await;
    check("DELETE FROM audit_events WHERE seq = 3", &[ChainBreak::Gap { expected: 3, found: 4 }])
        .await;
    check("UPDATE audit_events SET hash = 'none' WHERE seq = 4", &[changed(4), changed(5)]).await;
}

#[tokio::test]
async fn records_are_found_by_what_the_filters_say() {
    let fixture = Fixture::inline();
    let scope = fixture.store.scope();
    let mut human = fixture.event(EventType::ProjectPaused, "Project 100% shop_a was paused");
    human.actor = Actor::human(scope.owner_id, "ada");
    human.target = Some(Target {
        target_type: "project".to_owned(),
        target_id: "shop".to_owned(),
        target_label: "shop".to_owned(),
        workspace_id: scope.workspace_id,
        tenant_id: Some(scope.tenant_id),
    });
    human.operation_run_id = Some(RunId::from_u128(5));
    human.outcome = Outcome::Success;
    fixture.store.commit(Vec::new(), human.clone().into()).await.unwrap();
    fixture.clock.advance(Duration::from_secs(10));
    let other = fixture.event(EventType::AgentStarted, "The agent started");
    fixture.store.commit(Vec::new(), other.clone().into()).await.unwrap();

    let all = AuditFilter::workspace(scope.workspace_id);
    let check = async |filter: AuditFilter, expect: &[EventId]| {
        let page = fixture.store.audit(filter.clone(), PageRequest::default()).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|record| record.event.id).collect();
        assert_eq!(found, expect, "{filter:?}");
    };
    let paused = vec![EventType::ProjectPaused];
    check(AuditFilter { event_types: paused, ..all.clone() }, &[human.id]).await;
    let outcomes = vec![Outcome::Success, Outcome::Failed];
    let event_types = vec![EventType::ProjectPaused, EventType::AgentStarted];
    check(AuditFilter { outcomes, event_types, ..all.clone() }, &[human.id]).await;
    check(AuditFilter { actor_type: Some(ActorType::Human), ..all.clone() }, &[human.id]).await;
    check(AuditFilter { target_id: Some("shop".into()), ..all.clone() }, &[human.id]).await;
    let operation_run_id = Some(RunId::from_u128(5));
    check(AuditFilter { operation_run_id, ..all.clone() }, &[human.id]).await;
    check(AuditFilter { search: Some("AGENT st".into()), ..all.clone() }, &[other.id]).await;
    check(AuditFilter { search: Some("100%".into()), ..all.clone() }, &[human.id]).await;
    check(AuditFilter { search: Some("shop%a".into()), ..all.clone() }, &[]).await;
    check(AuditFilter { date_from: Some(fixture.now()), ..all.clone() }, &[other.id]).await;
    let tenant_id = Some(scope.tenant_id);
    check(AuditFilter { tenant_id, ..all.clone() }, &[other.id, human.id]).await;
    let elsewhere = crate::base::ids::WorkspaceId::from_u128(9);
    check(AuditFilter { workspace_id: elsewhere, ..all }, &[]).await;
    let read = fixture.store.audit_record(human.id).await.unwrap().unwrap();
    assert_eq!(read.event, human);
}

#[test]
fn lists_of_the_log_use_their_index() {
    let fixture = Fixture::inline();
    let scope = fixture.store.scope();
    let all = AuditFilter::workspace(scope.workspace_id);
    let check = |filter: AuditFilter, index: &str| {
        let page = PageRequest { limit: 10, after: Some(Cursor("9".to_owned())) };
        let (sql, values) = super::super::audit::query(&filter, &page).unwrap();
        assert_uses(&fixture, &sql, values, index);
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
