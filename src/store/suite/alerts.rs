//! What every database promises about the rules, the receivers and the outbox of alerts.

use std::time::Duration;

use super::Fixture;
use super::queue::{Queue, definition};
use crate::base::ids::{ReceiverId, RuleId};
use crate::base::time::after;
use crate::base::{Secret, Timestamp};
use crate::domain::alerts::{
    AlertRule, Attempted, Delivery, DeliveryEvent, DeliveryStatus, EventKey, Pattern, Receiver,
    Severity, Webhook, test_event,
};
use crate::domain::runs::{End, Failure, ReasonCode};
use crate::store::{
    AlertWrite, CompleteRun, Conflict, DeliveryFilter, PageRequest, RunProgress, StoreError,
    TakeDeliveries, Write,
};

const SECRET: &str = "a-token-that-must-not-lie-on-the-disk";

fn receiver(fixture: &Fixture, id: u128, name: &str) -> (Receiver, Webhook) {
    let webhook = Webhook {
        url: Secret::new(format!("https://hooks.example.org/{SECRET}")),
        headers: vec![("x-token".to_owned(), Secret::new(SECRET.to_owned()))],
        signing_key: Some(Secret::new(SECRET.to_owned())),
    };
    let receiver = Receiver {
        id: ReceiverId::from_u128(id),
        workspace_id: fixture.store.scope().workspace_id,
        name: name.parse().unwrap(),
        target: webhook.target(),
        header_names: vec!["x-token".to_owned()],
        is_signed: true,
        timeout: Duration::from_secs(10),
        created_at: fixture.now(),
        updated_at: fixture.now(),
    };
    (receiver, webhook)
}

fn rule(fixture: &Fixture, id: u128, name: &str, receivers: &[u128]) -> AlertRule {
    AlertRule {
        id: RuleId::from_u128(id),
        workspace_id: fixture.store.scope().workspace_id,
        name: name.parse().unwrap(),
        event: "operations.run.*".parse().unwrap(),
        run_type: Pattern::any(),
        tenant_id: Some(fixture.store.scope().tenant_id),
        severity_min: Severity::Low,
        receivers: receivers.iter().map(|id| ReceiverId::from_u128(*id)).collect(),
        is_enabled: true,
        created_at: fixture.now(),
        updated_at: fixture.now(),
    }
}

async fn write(fixture: &Fixture, write: AlertWrite) -> Result<(), StoreError> {
    fixture.commit(Write::Alert(write)).await
}

async fn put_receiver(fixture: &Fixture, id: u128, name: &str) -> Result<(), StoreError> {
    let (receiver, webhook) = receiver(fixture, id, name);
    write(fixture, AlertWrite::PutReceiver { receiver: Box::new(receiver), webhook }).await
}

async fn put_rule(fixture: &Fixture, rule: AlertRule) -> Result<(), StoreError> {
    write(fixture, AlertWrite::PutRule(Box::new(rule))).await
}

fn conflict(result: Result<(), StoreError>) -> Conflict {
    result.unwrap_err().conflict().cloned().expect("a conflict")
}

/// A run of `project` that began and failed.
async fn fail(fixture: &Fixture, project: &str) -> Result<(), StoreError> {
    let run = fixture.queue(project, "web").await;
    fixture.start(&run, 1).await.unwrap();
    let failures = vec![Failure::new(ReasonCode::PortInUse, "service:web", "port 80 is in use")];
    let complete = CompleteRun {
        run_id: run.id,
        attempt: 1,
        end: End::Failed,
        at: fixture.now(),
        progress: RunProgress { failures, ..RunProgress::default() },
    };
    fixture.commit(Write::CompleteRun(complete)).await
}

async fn deliveries(fixture: &Fixture) -> Vec<Delivery> {
    let filter = DeliveryFilter::workspace(fixture.store.scope().workspace_id);
    fixture.store.deliveries(filter, PageRequest::default()).await.unwrap().items
}

async fn take(fixture: &Fixture, limit: usize) -> Vec<Delivery> {
    let at = fixture.now();
    let until = after(at, Duration::from_secs(120));
    let take = TakeDeliveries { at, limit, until, forget_before: Timestamp::UNIX_EPOCH };
    fixture.store.take_deliveries(take).await.unwrap()
}

pub(crate) async fn rules_and_receivers_read_back_and_secrets_never_lie_open(fixture: Fixture) {
    put_receiver(&fixture, 1, "ops").await.unwrap();
    put_receiver(&fixture, 2, "night").await.unwrap();
    let workspace = fixture.store.scope().workspace_id;
    let known = fixture.store.alert_receivers(workspace).await.unwrap();
    assert_eq!(known, [receiver(&fixture, 2, "night").0, receiver(&fixture, 1, "ops").0]);
    let found = fixture.store.webhook(ReceiverId::from_u128(1)).await.unwrap();
    assert_eq!(found, Some(receiver(&fixture, 1, "ops")));
    assert!(!fixture.base.holds(SECRET.as_bytes()).await);
    let all = rule(&fixture, 1, "all", &[2, 1]);
    put_rule(&fixture, all.clone()).await.unwrap();
    assert_eq!(fixture.store.alert_rules(workspace).await.unwrap(), vec![all.clone()]);
    let less = AlertRule { receivers: vec![ReceiverId::from_u128(1)], is_enabled: false, ..all };
    put_rule(&fixture, less.clone()).await.unwrap();
    assert_eq!(fixture.store.alert_rules(workspace).await.unwrap(), [less]);
}

pub(crate) async fn names_of_rules_and_receivers_are_unique_and_what_is_named_stays(
    fixture: Fixture,
) {
    put_receiver(&fixture, 1, "ops").await.unwrap();
    let (noun, name) = ("alert receiver", "ops".to_owned());
    let same = conflict(put_receiver(&fixture, 2, "ops").await);
    assert_eq!(same, Conflict::Taken { noun, name });
    let dangling = conflict(put_rule(&fixture, rule(&fixture, 1, "all", &[7])).await);
    assert!(matches!(dangling, Conflict::Missing { .. }), "{dangling}");
    put_rule(&fixture, rule(&fixture, 1, "all", &[1])).await.unwrap();
    let workspace_id = fixture.store.scope().workspace_id;
    let id = ReceiverId::from_u128(1);
    let used = conflict(write(&fixture, AlertWrite::DropReceiver { workspace_id, id }).await);
    assert_eq!(used, Conflict::Used { noun, by: "alert rule all".to_owned() });
    let no_rule = AlertWrite::DropRule { workspace_id, id: RuleId::from_u128(1) };
    write(&fixture, no_rule).await.unwrap();
    write(&fixture, AlertWrite::DropReceiver { workspace_id, id }).await.unwrap();
    assert_eq!(fixture.store.alert_receivers(workspace_id).await.unwrap(), []);
}

pub(crate) async fn a_failed_run_leaves_its_deliveries_in_the_same_transaction(fixture: Fixture) {
    put_receiver(&fixture, 1, "ops").await.unwrap();
    put_receiver(&fixture, 2, "night").await.unwrap();
    put_rule(&fixture, rule(&fixture, 1, "all", &[1, 2])).await.unwrap();
    put_rule(&fixture, rule(&fixture, 2, "again", &[2])).await.unwrap();
    let run = fixture.queue("fine", "web").await;
    fixture.start(&run, 1).await.unwrap();
    fixture.complete(&run, 1).await.unwrap();
    assert_eq!(deliveries(&fixture).await, []);
    fail(&fixture, "shop").await.unwrap();
    let made = deliveries(&fixture).await;
    assert_eq!(made.len(), 2, "each receiver once");
    let event = &made[0].event;
    assert_eq!(event.key, EventKey::RunFailed);
    let run = event.run.as_ref().unwrap();
    assert_eq!(
        (run.scope.as_str(), run.reason_code),
        ("project:shop", Some(ReasonCode::PortInUse))
    );
    assert!(event.summary.as_str().contains("port 80 is in use"), "{}", event.summary);
    // An end that is refused raises nothing.
    let other = fixture.queue("other", "web").await;
    fixture.start(&other, 1).await.unwrap();
    let late = CompleteRun {
        run_id: other.id,
        attempt: 7,
        end: End::Failed,
        at: fixture.now(),
        progress: RunProgress::default(),
    };
    assert!(fixture.commit(Write::CompleteRun(late)).await.is_err());
    assert_eq!(deliveries(&fixture).await.len(), 2);
}

pub(crate) async fn only_the_end_raises_an_alert_and_a_dead_letter_raises_two(fixture: Fixture) {
    put_receiver(&fixture, 1, "ops").await.unwrap();
    put_rule(&fixture, rule(&fixture, 1, "all", &[1])).await.unwrap();
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let run = queue.enqueue(queue.run("shop.mail", "a", None)).await;
    assert_eq!(queue.claim_ids(&["shop.mail"], 1).await, [run.id]);
    queue.fail(&run, 1).await;
    assert_eq!(deliveries(&fixture).await, [], "another attempt follows");
    queue.advance(10);
    queue.change(Write::WakeRun { run_id: run.id }).await.unwrap();
    assert_eq!(queue.claim_ids(&["shop.mail"], 1).await, [run.id]);
    queue.fail(&run, 2).await;
    let mut keys: Vec<EventKey> =
        deliveries(&fixture).await.iter().map(|delivery| delivery.event.key).collect();
    keys.sort();
    assert_eq!(keys, [EventKey::RunFailed, EventKey::RunDeadLetter]);
    queue.change(Write::DismissRun { run_id: run.id }).await.unwrap();
    assert_eq!(deliveries(&fixture).await.len(), 2, "a dismissal raises nothing");
}

pub(crate) async fn a_delivery_is_taken_by_one_and_due_again_until_it_arrives(fixture: Fixture) {
    put_receiver(&fixture, 1, "ops").await.unwrap();
    put_rule(&fixture, rule(&fixture, 1, "all", &[1])).await.unwrap();
    assert_eq!(fixture.store.next_delivery().await.unwrap(), None);
    fail(&fixture, "shop").await.unwrap();
    assert_eq!(fixture.store.next_delivery().await.unwrap(), Some(fixture.now()));
    let first = take(&fixture, 8).await.remove(0);
    assert_eq!(first.attempts, 1);
    assert_eq!(take(&fixture, 8).await, [], "it is under way");
    // Its sender died.
    fixture.clock.advance(Duration::from_secs(121));
    let second = take(&fixture, 8).await.remove(0);
    assert_eq!((second.id, second.attempts), (first.id, 2));
    let last = |at| Attempted { at, http_status: Some(200), error: None };
    let now = fixture.now();
    let late = DeliveryEvent::Arrived { attempt: 1, last: last(now) };
    fixture.store.report_delivery(first.id, late).await.unwrap();
    assert_eq!(deliveries(&fixture).await[0].state.status(), DeliveryStatus::Pending);
    let arrived = DeliveryEvent::Arrived { attempt: 2, last: last(now) };
    fixture.store.report_delivery(first.id, arrived).await.unwrap();
    let found = deliveries(&fixture).await.remove(0);
    assert_eq!((found.state.status(), found.last), (DeliveryStatus::Delivered, Some(last(now))));
    assert_eq!(fixture.store.next_delivery().await.unwrap(), None);
    let workspace_id = fixture.store.scope().workspace_id;
    let retry = AlertWrite::Retry { workspace_id, id: first.id, at: now };
    assert!(matches!(conflict(write(&fixture, retry).await), Conflict::Used { .. }));
}

pub(crate) async fn deliveries_are_found_by_what_the_filters_say(fixture: Fixture) {
    put_receiver(&fixture, 1, "ops").await.unwrap();
    put_receiver(&fixture, 2, "night").await.unwrap();
    put_rule(&fixture, rule(&fixture, 1, "all", &[1, 2])).await.unwrap();
    for project in ["a", "b", "c"] {
        fail(&fixture, project).await.unwrap();
    }
    let workspace = fixture.store.scope().workspace_id;
    let event = test_event(workspace, "1", "ops", fixture.now());
    let receiver_id = ReceiverId::from_u128(1);
    let send = AlertWrite::Send { event: Box::new(event), receiver_id };
    write(&fixture, send.clone()).await.unwrap();
    write(&fixture, send).await.unwrap();
    let all = deliveries(&fixture).await;
    assert_eq!(all.len(), 7, "the test once");
    let run_id = all.last().unwrap().event.run.as_ref().unwrap().run_id;
    let filter = DeliveryFilter { run_id: Some(run_id), ..DeliveryFilter::workspace(workspace) };
    let page = fixture.store.deliveries(filter, PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let filter = DeliveryFilter {
        receiver_id: Some(receiver_id),
        status: Some(DeliveryStatus::Pending),
        ..DeliveryFilter::workspace(workspace)
    };
    let first = fixture.store.deliveries(filter.clone(), PageRequest::first(3)).await.unwrap();
    let rest = PageRequest { limit: 3, after: first.next.clone() };
    let rest = fixture.store.deliveries(filter, rest).await.unwrap();
    let count = (first.items.len(), rest.items.len(), rest.next);
    assert_eq!(count, (3, 1, None));
    assert!(first.items.iter().all(|delivery| !rest.items.contains(delivery)));
}

pub(crate) async fn what_ended_long_ago_is_forgotten(fixture: Fixture) {
    put_receiver(&fixture, 1, "ops").await.unwrap();
    put_rule(&fixture, rule(&fixture, 1, "all", &[1])).await.unwrap();
    fail(&fixture, "old").await.unwrap();
    let old = take(&fixture, 8).await.remove(0);
    let last = Attempted { at: fixture.now(), http_status: Some(200), error: None };
    let arrived = DeliveryEvent::Arrived { attempt: 1, last };
    fixture.store.report_delivery(old.id, arrived).await.unwrap();
    fixture.clock.advance(Duration::from_secs(10));
    fail(&fixture, "new").await.unwrap();
    let at = fixture.now();
    let take = TakeDeliveries { at, limit: 0, until: at, forget_before: at };
    assert_eq!(fixture.store.take_deliveries(take).await.unwrap(), []);
    let left = deliveries(&fixture).await;
    assert_eq!(left.len(), 1);
    assert_ne!(left[0].id, old.id);
}
