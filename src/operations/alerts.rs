//! Keeps who hears of what: rules, receivers, and what is on its way to them. Owns their checks and
//! audit events. Face: `Alerts`. Never sends anything itself, and never shows what a receiver is told
//! by.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::Within;
use super::projects::Asker;
use crate::base::ids::{DeliveryId, EventId, ReceiverId, RuleId, TenantId};
use crate::base::limits::ALERT_RECORDS_MAX;
use crate::base::{Ambient, Name};
use crate::domain::alerts::{
    AlertRule, Delivery, Pattern, Receiver, Severity, Webhook, WebhookError, check_webhook,
    deliveries, test_event,
};
use crate::domain::audit::{AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::store::{
    AlertWrite, DeliveryFilter, Page, PageRequest, Scope, Store, StoreError, Write,
};

/// What somebody wants of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSpec {
    /// Which keys fit.
    pub event: Pattern,
    /// Which types of run fit.
    pub run_type: Pattern,
    /// Only events of this tenant.
    pub tenant_id: Option<TenantId>,
    /// The least severity that fits.
    pub severity_min: Severity,
    /// The names of those who hear of them.
    pub receivers: Vec<String>,
    /// Whether it routes at all.
    pub is_enabled: bool,
}

/// Why something asked of the alerts was not done. Nothing is recorded then.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// There is none.
    #[error("no {noun} {name}")]
    Unknown {
        /// The kind of record.
        noun: &'static str,
        /// What was named.
        name: String,
    },
    /// A rule without a receiver does nothing.
    #[error("a rule names at least one receiver")]
    NoReceiver,
    /// There are too many.
    #[error("a workspace has at most {ALERT_RECORDS_MAX} of them")]
    TooMany,
    /// The webhook cannot be told anything.
    #[error(transparent)]
    Webhook(WebhookError),
    /// The store did not answer or take it.
    #[error("the request could not be recorded")]
    Store(#[source] StoreError),
}

/// Keeps who hears of what. Cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    store: Arc<dyn Store>,
    ambient: Ambient,
    changed: Arc<Notify>,
    within: Within,
}

fn unknown(noun: &'static str, name: &str) -> AlertError {
    AlertError::Unknown { noun, name: name.to_owned() }
}

impl Alerts {
    /// On this store.
    pub fn new(store: Arc<dyn Store>, ambient: Ambient) -> Self {
        let within = Within::host(store.scope());
        Self { store, ambient, changed: Arc::default(), within }
    }

    /// The same for somebody who acts within other borders.
    #[must_use]
    pub fn within(&self, within: Within) -> Self {
        Self { within, ..self.clone() }
    }

    /// Told when something was put into the outbox here.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// All rules, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rules(&self) -> Result<Vec<AlertRule>, AlertError> {
        let workspace = self.within.workspace();
        self.store.alert_rules(workspace).await.map_err(AlertError::Store)
    }

    /// All receivers, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn receivers(&self) -> Result<Vec<Receiver>, AlertError> {
        let workspace = self.within.workspace();
        self.store.alert_receivers(workspace).await.map_err(AlertError::Store)
    }

    /// One receiver.
    ///
    /// # Errors
    /// When there is none, or the store does not answer.
    pub async fn receiver(&self, name: &str) -> Result<Receiver, AlertError> {
        let found = self.receivers().await?.into_iter().find(|known| known.name.as_str() == name);
        found.ok_or_else(|| unknown("alert receiver", name))
    }

    /// Makes a rule or replaces one.
    ///
    /// # Errors
    /// When it names a receiver that does not exist, or the store does not take it.
    pub async fn put_rule(
        &self,
        name: Name,
        spec: RuleSpec,
        asker: &Asker,
    ) -> Result<AlertRule, AlertError> {
        let known = self.receivers().await?;
        let receivers = spec.receivers.iter().map(|wanted| {
            let found = known.iter().find(|receiver| receiver.name.as_str() == wanted);
            found.map(|receiver| receiver.id).ok_or_else(|| unknown("alert receiver", wanted))
        });
        let receivers: Vec<ReceiverId> = receivers.collect::<Result<_, _>>()?;
        if receivers.is_empty() {
            return Err(AlertError::NoReceiver);
        }
        let rules = self.rules().await?;
        let old = rules.iter().find(|rule| rule.name == name);
        if old.is_none() && rules.len() >= ALERT_RECORDS_MAX {
            return Err(AlertError::TooMany);
        }
        let now = self.ambient.now();
        let rule = AlertRule {
            id: match old {
                Some(old) => old.id,
                None => RuleId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            },
            workspace_id: self.within.workspace(),
            name,
            event: spec.event,
            run_type: spec.run_type,
            tenant_id: spec.tenant_id,
            severity_min: spec.severity_min,
            receivers,
            is_enabled: spec.is_enabled,
            created_at: old.map_or(now, |old| old.created_at),
            updated_at: now,
        };
        let receivers = spec.receivers.join(", ");
        let summary = format!(
            "{} let alert rule {name} send {} of severity {} and above to {receivers}",
            asker.name, rule.event, rule.severity_min
        );
        let target = ("alert_rule", rule.id.to_string(), name.to_string());
        let write = AlertWrite::PutRule(Box::new(rule.clone()));
        self.record(write, EventType::AlertRulePut, target, asker, summary).await?;
        Ok(rule)
    }

    /// Forgets a rule.
    ///
    /// # Errors
    /// When there is none, or the store does not take it.
    pub async fn remove_rule(&self, name: &str, asker: &Asker) -> Result<(), AlertError> {
        let rule = self.rules().await?.into_iter().find(|rule| rule.name.as_str() == name);
        let rule = rule.ok_or_else(|| unknown("alert rule", name))?;
        let summary = format!("{} removed alert rule {name}", asker.name);
        let target = ("alert_rule", rule.id.to_string(), name.to_owned());
        let write = AlertWrite::DropRule { workspace_id: rule.workspace_id, id: rule.id };
        self.record(write, EventType::AlertRuleRemoved, target, asker, summary).await
    }

    /// Makes a receiver or replaces one.
    ///
    /// # Errors
    /// When nothing could be sent to it, or the store does not take it.
    pub async fn put_receiver(
        &self,
        name: Name,
        webhook: Webhook,
        timeout: Duration,
        asker: &Asker,
    ) -> Result<Receiver, AlertError> {
        check_webhook(&webhook, timeout).map_err(AlertError::Webhook)?;
        let known = self.receivers().await?;
        let old = known.iter().find(|receiver| receiver.name == name);
        if old.is_none() && known.len() >= ALERT_RECORDS_MAX {
            return Err(AlertError::TooMany);
        }
        let now = self.ambient.now();
        let receiver = Receiver {
            id: match old {
                Some(old) => old.id,
                None => ReceiverId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            },
            workspace_id: self.within.workspace(),
            name,
            target: webhook.target(),
            header_names: webhook.headers.iter().map(|(name, _)| name.clone()).collect(),
            is_signed: webhook.signing_key.is_some(),
            timeout,
            created_at: old.map_or(now, |old| old.created_at),
            updated_at: now,
        };
        let summary = format!("{} set alert receiver {name} to {}", asker.name, receiver.target);
        let target = ("alert_receiver", receiver.id.to_string(), name.to_string());
        let write = AlertWrite::PutReceiver { receiver: Box::new(receiver.clone()), webhook };
        self.record(write, EventType::AlertReceiverPut, target, asker, summary).await?;
        Ok(receiver)
    }

    /// Forgets a receiver, with what was on its way to it.
    ///
    /// # Errors
    /// When there is none, a rule names it, or the store does not take it.
    pub async fn remove_receiver(&self, name: &str, asker: &Asker) -> Result<(), AlertError> {
        let receiver = self.receiver(name).await?;
        let summary = format!("{} removed alert receiver {name}", asker.name);
        let target = ("alert_receiver", receiver.id.to_string(), name.to_owned());
        let (workspace_id, id) = (receiver.workspace_id, receiver.id);
        let write = AlertWrite::DropReceiver { workspace_id, id };
        self.record(write, EventType::AlertReceiverRemoved, target, asker, summary).await
    }

    /// Sends a receiver a test. Returns the delivery.
    ///
    /// # Errors
    /// When there is no such receiver, or the store does not take it.
    pub async fn test(&self, name: &str, asker: &Asker) -> Result<Delivery, AlertError> {
        let receiver = self.receiver(name).await?;
        let about = EventId::generate(&*self.ambient.clock, &*self.ambient.entropy).to_string();
        let event = test_event(receiver.workspace_id, about, name, self.ambient.now());
        let delivery = deliveries(&event, &[receiver.id]).remove(0);
        let summary = format!("{} tried alert receiver {name} out", asker.name);
        let target = ("alert_receiver", receiver.id.to_string(), name.to_owned());
        let write = AlertWrite::Send { event: Box::new(event), receiver_id: receiver.id };
        self.record(write, EventType::AlertReceiverTested, target, asker, summary).await?;
        Ok(delivery)
    }

    /// Deliveries that pass the filter, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>, AlertError> {
        self.store.deliveries(filter, page).await.map_err(AlertError::Store)
    }

    /// One delivery.
    ///
    /// # Errors
    /// When there is none, or the store does not answer.
    pub async fn delivery(&self, id: DeliveryId) -> Result<Delivery, AlertError> {
        let workspace = self.within.workspace();
        let found = self.store.delivery(workspace, id).await.map_err(AlertError::Store)?;
        found.ok_or_else(|| unknown("alert delivery", &id.to_string()))
    }

    /// Tries a delivery again at once, also one that was given up.
    ///
    /// # Errors
    /// When there is none, it has arrived, or the store does not take it.
    pub async fn retry(&self, id: DeliveryId, asker: &Asker) -> Result<Delivery, AlertError> {
        let delivery = self.delivery(id).await?;
        let workspace_id = delivery.event.workspace_id;
        let summary = format!("{} wants alert delivery {id} tried again", asker.name);
        let target = ("alert_delivery", id.to_string(), delivery.event.key.to_string());
        let write = AlertWrite::Retry { workspace_id, id, at: self.ambient.now() };
        self.record(write, EventType::AlertDeliveryRetried, target, asker, summary).await?;
        self.delivery(id).await
    }

    async fn record(
        &self,
        write: AlertWrite,
        event_type: EventType,
        target: (&str, String, String),
        asker: &Asker,
        summary: String,
    ) -> Result<(), AlertError> {
        let scope = self.within.scope.clone();
        let event = self.event(&scope, event_type, target, asker, summary);
        let committed = self.store.commit(vec![Write::Alert(write)], event.into()).await;
        committed.map_err(AlertError::Store)?;
        self.changed.notify_one();
        Ok(())
    }

    fn event(
        &self,
        scope: &Scope,
        event_type: EventType,
        (target_type, target_id, target_label): (&str, String, String),
        asker: &Asker,
        summary: String,
    ) -> AuditEvent {
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: None,
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Success,
            actor: asker.actor(scope),
            target: Some(Target {
                target_type: target_type.to_owned(),
                target_id,
                target_label,
                workspace_id: scope.workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context: EventContext { source: Some(asker.source), ..EventContext::default() },
            occurred_at: self.ambient.now(),
        }
    }
}
