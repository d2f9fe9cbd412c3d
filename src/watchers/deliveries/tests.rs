use std::sync::Mutex;

use futures_util::FutureExt as _;

use super::*;
use crate::base::limits::ALERT_ATTEMPTS_MAX;
use crate::domain::alerts::{Pattern, Severity, Webhook};
use crate::domain::runs::{End, Inputs, RestartProject, Source};
use crate::operations::Request;
use crate::operations::alerts::{Alerts, RuleSpec};
use crate::store::{DeliveryFilter, PageRequest};
use crate::watchers::stage::{Lasting, Stage};
use crate::world::notify::{FakeNotify, Scripted};
use crate::world::tasks::Spawn as _;

const FAILS: Lasting = Lasting { time: Duration::from_secs(1), end: End::Failed };
const KEY: &str = "0123456789abcdef";

struct Outboxed {
    stage: Stage,
    alerts: Alerts,
    notify: Arc<FakeNotify>,
    told: Arc<Mutex<Vec<DeliveryStatus>>>,
}

/// A host that sends every alert to a receiver that follows a script.
async fn outboxed(script: impl IntoIterator<Item = Scripted>) -> Outboxed {
    let stage = Stage::at("2026-06-01T00:00:00Z", FAILS).await;
    let alerts = Alerts::new(Arc::clone(&stage.store), stage.ambient.clone());
    let webhook = Webhook {
        url: Secret::new("https://hooks.example.org/ops".to_owned()),
        headers: vec![("x-token".to_owned(), Secret::new("secret".to_owned()))],
        signing_key: Some(Secret::new(KEY.to_owned())),
    };
    let timeout = Duration::from_secs(10);
    alerts.put_receiver("ops".parse().unwrap(), webhook, timeout, &stage.asker()).await.unwrap();
    let rule = RuleSpec {
        event: "operations.run.*".parse().unwrap(),
        run_type: Pattern::any(),
        tenant_id: None,
        severity_min: Severity::Info,
        receivers: vec!["ops".to_owned()],
        is_enabled: true,
    };
    alerts.put_rule("all".parse().unwrap(), rule, &stage.asker()).await.unwrap();
    let notify = Arc::new(FakeNotify::scripted(script));
    let told = Arc::new(Mutex::new(Vec::new()));
    let outboxed = Outboxed { stage, alerts, notify, told };
    outboxed.watch();
    outboxed
}

impl Outboxed {
    fn watch(&self) {
        let told = Arc::clone(&self.told);
        let deliveries = Deliveries::new(
            Arc::clone(&self.stage.store),
            Arc::clone(&self.notify) as _,
            self.stage.runner.door(),
            self.alerts.changed(),
            self.stage.ambient.clone(),
            "https://ops.example.org/runs/{run_id}".to_owned(),
            Arc::new(move |status, _| told.lock().unwrap().push(status)),
        );
        let stop = self.stage.supervisor.stop_token();
        let _watched = self.stage.supervisor.spawn("alerts", deliveries.watch(stop).boxed());
    }

    /// A run that fails within a second.
    async fn fail(&self, service: &str) {
        let inputs = Inputs::RestartProject(RestartProject {
            project: "shop".to_owned(),
            services: vec![service.to_owned()],
        });
        let request = Request::by_owner(&self.stage.store.scope(), Source::Cli, inputs);
        self.stage.runner.door().submit(request).await.unwrap();
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        let filter = DeliveryFilter::workspace(self.stage.store.scope().workspace_id);
        self.stage.store.deliveries(filter, PageRequest::default()).await.unwrap().items
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let found = message.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.expose().as_str())
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_told_at_once_with_all_that_is_needed() {
    let outboxed = outboxed([Scripted::answers(204)]).await;
    outboxed.fail("web").await;
    pass(2).await;
    let message = outboxed.notify.got().remove(0);
    assert_eq!(message.url.expose(), "https://hooks.example.org/ops");
    assert_eq!(header(&message, "x-token"), Some("secret"));
    assert_eq!(header(&message, "x-wharf-event"), Some("operations.run.failed"));
    let delivery = outboxed.deliveries().await.remove(0);
    assert_eq!(header(&message, "idempotency-key"), Some(delivery.id.to_string().as_str()));
    assert_eq!(delivery.state.status(), DeliveryStatus::Delivered);
    let key = Secret::new(KEY.to_owned());
    let sent_at = delivery.last.unwrap().at;
    let signed = signature(&key, sent_at, &message.body);
    assert_eq!(header(&message, "x-wharf-signature"), Some(signed.as_str()));
    let run = outboxed.stage.runs().await.remove(0);
    let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body["event"], "operations.run.failed");
    assert_eq!(body["severity"], "high");
    assert_eq!(body["run"]["run_id"], run.id.to_string());
    assert_eq!(body["run"]["run_type"], "restart_project");
    assert_eq!(body["run"]["scope"], "project:shop");
    let url = format!("https://ops.example.org/runs/{}", run.id);
    assert_eq!(body["run"]["view_run_url"], url);
    let told: Vec<DeliveryStatus> = outboxed.told.lock().unwrap().clone();
    assert_eq!(told, [DeliveryStatus::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_arrive_is_sent_again_with_the_same_key_after_longer_and_longer_pauses() {
    let slow =
        Scripted::Answers { status: 200, text: String::new(), after: Duration::from_secs(60) };
    let refuses =
        Scripted::Answers { status: 500, text: "try later".to_owned(), after: Duration::ZERO };
    let script = [Scripted::IsAway, refuses, slow, Scripted::answers(200)];
    let outboxed = outboxed(script).await;
    outboxed.fail("web").await;
    pass(2).await;
    let first = outboxed.deliveries().await.remove(0);
    let error = first.last.unwrap().error.unwrap();
    assert_eq!(error.as_str(), "it cannot be reached: connection refused");
    pass(7).await;
    let second = outboxed.deliveries().await.remove(0).last.unwrap();
    assert_eq!(second.http_status, Some(500));
    assert_eq!(second.error.unwrap().as_str(), "it answered 500: try later");
    pass(12 + 11).await;
    let third = outboxed.deliveries().await.remove(0).last.unwrap();
    assert_eq!(third.error.unwrap().as_str(), "it did not answer within 10s");
    pass(25).await;
    let delivery = outboxed.deliveries().await.remove(0);
    assert_eq!((delivery.state.status(), delivery.attempts), (DeliveryStatus::Delivered, 4));
    let got = outboxed.notify.got();
    let keys: Vec<_> = got.iter().map(|message| header(message, "idempotency-key")).collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1] && pair[0].is_some()), "{keys:?}");
    assert_eq!(outboxed.told.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_given_up_and_an_operator_can_have_it_tried_again() {
    let away = std::iter::repeat_n(Scripted::IsAway, ALERT_ATTEMPTS_MAX as usize);
    let outboxed = outboxed(away).await;
    outboxed.fail("web").await;
    pass(24 * 3600).await;
    let delivery = outboxed.deliveries().await.remove(0);
    let expect = (DeliveryStatus::GivenUp, ALERT_ATTEMPTS_MAX);
    assert_eq!((delivery.state.status(), delivery.attempts), expect);
    outboxed.notify.then(Scripted::answers(200));
    outboxed.alerts.retry(delivery.id, &outboxed.stage.asker()).await.unwrap();
    pass(1).await;
    let delivery = outboxed.deliveries().await.remove(0);
    assert_eq!(delivery.state.status(), DeliveryStatus::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_holds_up_neither_runs_nor_more_than_its_share() {
    let hangs =
        Scripted::Answers { status: 200, text: String::new(), after: Duration::from_secs(9) };
    let outboxed = outboxed(std::iter::repeat_n(hangs, 20)).await;
    for service in 0..20 {
        outboxed.fail(&format!("s{service}")).await;
    }
    pass(25).await;
    let ended = outboxed.stage.runs().await.iter().filter(|run| run.state.is_completed()).count();
    assert_eq!(ended, 20, "runs end while deliveries hang");
    pass(10).await;
    let is_delivered = |delivery: &&Delivery| delivery.state.status() == DeliveryStatus::Delivered;
    let delivered = outboxed.deliveries().await.iter().filter(is_delivered).count();
    assert_eq!(delivered, 20);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_sender_took_is_sent_again() {
    let hangs =
        Scripted::Answers { status: 200, text: String::new(), after: Duration::from_secs(9) };
    let Outboxed { stage, notify, told, .. } =
        outboxed([hangs, Scripted::answers(200)]).await.failed().await;
    let stage = stage.killed(FAILS).await;
    let alerts = Alerts::new(Arc::clone(&stage.store), stage.ambient.clone());
    let outboxed = Outboxed { stage, alerts, notify, told };
    outboxed.watch();
    pass(60).await;
    let delivery = outboxed.deliveries().await.remove(0);
    assert_eq!((delivery.state.status(), delivery.attempts), (DeliveryStatus::Pending, 1));
    pass(70).await;
    let delivery = outboxed.deliveries().await.remove(0);
    assert_eq!((delivery.state.status(), delivery.attempts), (DeliveryStatus::Delivered, 2));
}

impl Outboxed {
    async fn failed(self) -> Self {
        self.fail("web").await;
        pass(3).await;
        assert_eq!(self.notify.got().len(), 1);
        self
    }
}

#[tokio::test(start_paused = true)]
async fn a_test_goes_to_the_receiver_whatever_the_rules_say() {
    let outboxed = outboxed([Scripted::answers(200)]).await;
    let delivery = outboxed.alerts.test("ops", &outboxed.stage.asker()).await.unwrap();
    pass(1).await;
    let found = outboxed.alerts.delivery(delivery.id).await.unwrap();
    assert_eq!(found.state.status(), DeliveryStatus::Delivered);
    let body: serde_json::Value = serde_json::from_slice(&outboxed.notify.got()[0].body).unwrap();
    assert_eq!((&body["event"], &body["run"]), (&"alerts.test".into(), &serde_json::Value::Null));
}
