//! What every database promises about the audit log.

use std::time::Duration;

use super::Fixture;
use crate::base::ids::{EventId, RunId, TenantId, WorkspaceId};
use crate::domain::access::Reach;
use crate::domain::audit::proof::Break;
use crate::domain::audit::{Actor, ActorType, AuditEvent, EventType, Outcome, Target};
use crate::store::{AccessWrite, AuditFilter, AuditOptions, PageRequest, Write};

pub(crate) async fn the_log_refuses_every_way_to_change_it(fixture: Fixture) {
    fixture.queue("shop", "a").await;
    for (sql, expect) in [
        ("UPDATE audit_events SET summary = 'other'", "is never changed"),
        ("UPDATE audit_events SET body = 'other' WHERE seq = 2", "is never changed"),
        ("UPDATE audit_events SET personal = '{}' WHERE personal IS NULL", "is never changed"),
        ("DELETE FROM audit_events WHERE seq = 2", "is never deleted"),
        (fixture.base.leave_gap(), "has no gaps"),
    ] {
        let error = fixture.base.tamper(sql).await.unwrap_err();
        assert!(error.contains(expect), "{sql}: {error}");
    }
    assert_eq!(fixture.records().await, 2);
}

pub(crate) async fn damage_behind_the_triggers_is_found(fixture: Fixture) {
    let check = async |damage: &str, expect: &[Break]| {
        let fixture = fixture.another().await;
        for n in 0..4 {
            fixture.queue("shop", &n.to_string()).await;
        }
        fixture.base.tamper(fixture.base.unlock_audit()).await.unwrap();
        fixture.base.tamper(damage).await.unwrap();
        assert_eq!(fixture.store.verify_audit().await.unwrap().breaks, expect, "{damage}");
    };
    let changed = |seq| Break::Changed { seq };
    check(
        "UPDATE audit_events SET body = replace(body, 'happened', 'occurred') WHERE seq = 3",
        &[changed(3), Break::Contradiction { seq: 3, part: "index column" }],
    )
    .await;
    check(
        "UPDATE audit_events SET actor_label = 'somebody else' WHERE seq = 2",
        &[Break::Contradiction { seq: 2, part: "index column" }],
    )
    .await;
    check("DELETE FROM audit_events WHERE seq = 3", &[Break::Gap { expected: 3, found: 4 }]).await;
    check("UPDATE audit_events SET hash = 'none' WHERE seq = 4", &[changed(4), changed(5)]).await;
}

pub(crate) async fn records_are_found_by_what_the_filters_say(fixture: Fixture) {
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
    let elsewhere = WorkspaceId::from_u128(9);
    check(AuditFilter { workspace_id: elsewhere, ..all }, &[]).await;
    let read = fixture.store.audit_record(human.id).await.unwrap().unwrap();
    assert_eq!(read.event, human);
}

pub(crate) async fn the_options_of_the_filters_are_what_a_viewer_can_see(fixture: Fixture) {
    let scope = fixture.store.scope();
    let other = TenantId::from_u128(77);
    let put = AccessWrite::PutTenant(super::access::tenant(&fixture, 77, "mail"));
    fixture.store.commit(vec![Write::Access(put)], fixture.events()).await.unwrap();
    let mut mine = fixture.event(EventType::ProjectPaused, "Project shop was paused");
    mine.actor = Actor::human(scope.owner_id, "ada");
    mine.outcome = Outcome::Success;
    let mut foreign = fixture.event(EventType::ProjectResumed, "Project mail was resumed");
    foreign.tenant_id = Some(other);
    foreign.target = Some(Target {
        target_type: "project".to_owned(),
        target_id: "mail".to_owned(),
        target_label: "mail".to_owned(),
        workspace_id: scope.workspace_id,
        tenant_id: Some(other),
    });
    let all = AuditFilter::workspace(scope.workspace_id);
    let reach = Reach::Some([scope.tenant_id].into());
    let own = AuditFilter { reach, ..all.clone() };
    let read = |filter: AuditFilter| fixture.store.audit_options(filter);
    let (before, own_before) = (read(all.clone()).await.unwrap(), read(own.clone()).await.unwrap());
    for event in [mine.clone(), mine, foreign] {
        let event = AuditEvent { id: fixture.event(event.event_type, "x").id, ..event };
        fixture.store.commit(Vec::new(), event.into()).await.unwrap();
    }
    let whole = read(all.clone()).await.unwrap();
    assert_eq!(whole.records, before.records + 3);
    assert!(whole.event_types.contains(&EventType::ProjectPaused));
    assert!(whole.event_types.contains(&EventType::ProjectResumed));
    assert_eq!(whole.tenants, [scope.tenant_id, other].into());
    assert!(whole.target_types.contains("project"));
    let own = read(own).await.unwrap();
    assert_eq!(own.records, own_before.records + 2);
    assert!(!own.event_types.contains(&EventType::ProjectResumed));
    assert_eq!(own.outcomes, [Outcome::Success, Outcome::Info].into());
    assert_eq!(own.actor_types, [ActorType::Human, ActorType::System].into());
    assert_eq!(own.actor_labels, ["ada".to_owned(), "wharf agent".to_owned()].into());
    assert!(!own.target_types.contains("project"));
    assert_eq!(own.tenants, [scope.tenant_id].into());
    let nothing = AuditFilter { reach: Reach::Some([].into()), ..all };
    assert_eq!(read(nothing).await.unwrap(), AuditOptions::default());
}
