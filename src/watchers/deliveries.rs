//! Sends what is in the outbox of alerts: takes what is due, sends it, notes down what came of it.
//! Owns the pace. Face: `Deliveries`. Never holds up a run, and never loses a delivery: what a dead
//! sender took is due again when its time is over.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::base::ids::DeliveryId;
use crate::base::limits::{
    ALERT_KEPT, ALERT_LEASE, ALERT_LOOK_INTERVAL, ALERT_PARALLEL_MAX, STORE_RETRY_INTERVAL,
};
use crate::base::time::{after, between};
use crate::base::{Ambient, Secret, Timestamp, chain};
use crate::domain::alerts::{
    Attempted, Delivery, DeliveryEvent, DeliveryStatus, NotReceived, signature,
};
use crate::domain::redaction::SafeText;
use crate::operations::Door;
use crate::store::{Store, StoreError, TakeDeliveries};
use crate::world::notify::{Message, Notify};

/// What is told about each try: how the delivery stands then, and how long the try took.
pub type DeliveryObserver = Arc<dyn Fn(DeliveryStatus, Duration) + Send + Sync>;

/// Sends what is in the outbox.
pub struct Deliveries {
    store: Arc<dyn Store>,
    notify: Arc<dyn Notify>,
    door: Door,
    changed: Arc<tokio::sync::Notify>,
    ambient: Ambient,
    /// Where a person sees a run; `{run_id}` stands for it.
    run_url: String,
    observer: DeliveryObserver,
}

type Sending<'a> = FuturesUnordered<BoxFuture<'a, ()>>;

impl Deliveries {
    /// A sender that does nothing yet.
    pub fn new(
        store: Arc<dyn Store>,
        notify: Arc<dyn Notify>,
        door: Door,
        changed: Arc<tokio::sync::Notify>,
        ambient: Ambient,
        run_url: String,
        observer: DeliveryObserver,
    ) -> Self {
        Self { store, notify, door, changed, ambient, run_url, observer }
    }

    /// Sends until told to stop. What is under way then is due again later.
    pub async fn watch(self, stop: CancellationToken) {
        let mut sending = Sending::new();
        let mut news = self.door.alarm();
        loop {
            let pause = self.take(&mut sending).await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(()) = sending.next() => {}
                () = news.rang() => {}
                () = self.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Begins to send what is due, as far as there is room. Returns how long to wait.
    async fn take<'a>(&'a self, sending: &mut Sending<'a>) -> Duration {
        let room = ALERT_PARALLEL_MAX.saturating_sub(sending.len());
        if room == 0 {
            return ALERT_LOOK_INTERVAL;
        }
        match self.try_take(room).await {
            Ok(taken) => {
                let is_full = taken.len() == room;
                sending.extend(taken.into_iter().map(|delivery| self.send(delivery).boxed()));
                if is_full { ALERT_LOOK_INTERVAL } else { self.until_next().await }
            }
            Err(error) => {
                error!(error = %chain(&error), "cannot take deliveries; trying again");
                STORE_RETRY_INTERVAL
            }
        }
    }

    async fn try_take(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let at = self.ambient.now();
        // A look that finds nothing writes nothing.
        if self.store.next_delivery().await?.is_none_or(|due_at| due_at > at) {
            return Ok(Vec::new());
        }
        let until = after(at, ALERT_LEASE);
        let forget_before = at.saturating_sub(ALERT_KEPT).unwrap_or(Timestamp::MIN);
        self.store.take_deliveries(TakeDeliveries { at, limit, until, forget_before }).await
    }

    async fn until_next(&self) -> Duration {
        match self.store.next_delivery().await {
            Ok(Some(due_at)) => {
                let pause = between(self.ambient.now(), due_at);
                pause.clamp(Duration::from_millis(1), ALERT_LOOK_INTERVAL)
            }
            Ok(None) => ALERT_LOOK_INTERVAL,
            Err(_) => STORE_RETRY_INTERVAL,
        }
    }

    /// One try, and its report.
    async fn send(&self, delivery: Delivery) {
        let (id, attempt) = (delivery.id, delivery.attempts);
        let began = self.ambient.now();
        let outcome = self.try_send(&delivery).await;
        let at = self.ambient.now();
        let event = match &outcome {
            Ok(status) => DeliveryEvent::Arrived {
                attempt,
                last: Attempted { at, http_status: Some(*status), error: None },
            },
            Err(failure) => DeliveryEvent::Failed {
                attempt,
                last: Attempted {
                    at,
                    http_status: failure.http_status,
                    error: Some(SafeText::new(&failure.error)),
                },
                random: self.ambient.entropy.next_u64(),
            },
        };
        let ended = delivery.transition(event.clone());
        let status = ended.map_or(DeliveryStatus::Pending, |delivery| delivery.state.status());
        (self.observer)(status, between(began, at));
        match (&outcome, status) {
            (Ok(_), _) => debug!(delivery = %id, attempt, "alert delivered"),
            (Err(failure), DeliveryStatus::GivenUp) => {
                error!(delivery = %id, attempt, error = failure.error, "alert given up");
            }
            (Err(failure), _) => {
                warn!(delivery = %id, attempt, error = failure.error, "alert not delivered yet");
            }
        }
        self.report(id, event).await;
    }

    /// A report that the store does not take is given up: the delivery is then sent again.
    async fn report(&self, id: DeliveryId, event: DeliveryEvent) {
        if let Err(error) = self.store.report_delivery(id, event).await {
            error!(delivery = %id, error = %chain(&error), "what came of a delivery is not recorded");
        }
    }

    async fn try_send(&self, delivery: &Delivery) -> Result<u16, NotReceived> {
        let not_sent = |error: String| NotReceived { http_status: None, error };
        let found = self.store.webhook(delivery.receiver_id).await;
        let found = found.map_err(|error| not_sent(chain(&error)))?;
        let Some((receiver, webhook)) = found else {
            return Err(not_sent("its receiver is gone".to_owned()));
        };
        let body = self.body(delivery);
        let mut headers = webhook.headers;
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), value.into()));
        add("idempotency-key", delivery.id.to_string());
        add("x-wharf-event", delivery.event.key.key().to_owned());
        if let Some(key) = &webhook.signing_key {
            add("x-wharf-signature", signature(key, self.ambient.now(), &body));
        }
        let (url, timeout): (Secret<String>, _) = (webhook.url, receiver.timeout);
        self.notify.send(Message { url, headers, body: body.into(), timeout }).await
    }

    /// What the receiver gets.
    fn body(&self, delivery: &Delivery) -> Vec<u8> {
        let event = &delivery.event;
        let run = event.run.as_ref().map(|run| {
            serde_json::json!({
                "run_id": run.run_id.to_string(),
                "run_type": run.run_type.to_string(),
                "scope": run.scope,
                "reason_code": run.reason_code.map(|code| code.to_string()),
                "view_run_url": self.run_url.replace("{run_id}", &run.run_id.to_string()),
            })
        });
        let body = serde_json::json!({
            "delivery_id": delivery.id.to_string(),
            "event": event.key.key(),
            "severity": event.severity.key(),
            "summary": event.summary.as_str(),
            "workspace_id": event.workspace_id.to_string(),
            "tenant_id": event.tenant_id.map(|id| id.to_string()),
            "occurred_at": event.occurred_at.to_string(),
            "run": run,
        });
        body.to_string().into_bytes()
    }
}
