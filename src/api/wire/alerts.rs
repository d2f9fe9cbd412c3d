//! The wire form of alerts: rules, receivers, deliveries. Owns the shapes. Face: `RuleView`,
//! `ReceiverView`, `DeliveryView` and what is put. Never shows a receiver's address, a header's value
//! or a key: they go in and do not come out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::ids::TenantId;
use crate::base::{Secret, Timestamp};
use crate::domain::alerts::{
    AlertRule, Delivery, DeliveryState, DeliveryStatus, EventKey, Pattern, Receiver, Severity,
    Webhook,
};
use crate::operations::alerts::RuleSpec;

fn any() -> Pattern {
    Pattern::any()
}

fn least() -> Severity {
    Severity::Info
}

const fn yes() -> bool {
    true
}

const fn ten() -> u64 {
    10
}

/// What a rule is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RulePut {
    /// Which events fit; `*` stands for any letters.
    #[serde(default = "any")]
    #[schema(value_type = String, example = "operations.run.*")]
    pub event: Pattern,
    /// Which types of run fit.
    #[serde(default = "any")]
    #[schema(value_type = String, example = "deploy_*")]
    pub run_type: Pattern,
    /// Only events of this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<TenantId>,
    /// The least severity that fits: `info`, `low`, `medium`, `high` or `critical`.
    #[serde(default = "least")]
    #[schema(value_type = String, example = "high")]
    pub severity_min: Severity,
    /// The names of the receivers.
    pub receivers: Vec<String>,
    /// Whether it routes at all.
    #[serde(default = "yes")]
    pub is_enabled: bool,
}

impl From<RulePut> for RuleSpec {
    fn from(put: RulePut) -> Self {
        Self {
            event: put.event,
            run_type: put.run_type,
            tenant_id: put.tenant_id,
            severity_min: put.severity_min,
            receivers: put.receivers,
            is_enabled: put.is_enabled,
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleView {
    /// Its id, a UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub put: RulePut,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl RuleView {
    /// A rule, with the names of those receivers that are known.
    pub fn of(rule: &AlertRule, receivers: &[Receiver]) -> Self {
        let names = rule.receivers.iter().filter_map(|id| {
            let found = receivers.iter().find(|receiver| receiver.id == *id);
            found.map(|receiver| receiver.name.to_string())
        });
        Self {
            id: rule.id.to_string(),
            name: rule.name.to_string(),
            put: RulePut {
                event: rule.event.clone(),
                run_type: rule.run_type.clone(),
                tenant_id: rule.tenant_id,
                severity_min: rule.severity_min,
                receivers: names.collect(),
                is_enabled: rule.is_enabled,
            },
            updated_at: rule.updated_at,
        }
    }
}

/// What a receiver is to be: a webhook.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiverPut {
    /// Its address; kept sealed.
    #[schema(example = "https://hooks.example.org/ops")]
    pub url: String,
    /// Headers that it gets; their values are kept sealed.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What messages are signed with, in the header `x-wharf-signature`; kept sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<String>,
    /// How long it may take to answer, up to 60 seconds.
    #[serde(default = "ten")]
    pub timeout_seconds: u64,
}

impl std::fmt::Debug for ReceiverPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiverPut").finish_non_exhaustive()
    }
}

impl ReceiverPut {
    /// The webhook, and how long it may take.
    pub fn into_webhook(self) -> (Webhook, Duration) {
        let headers = self.headers.into_iter();
        let webhook = Webhook {
            url: Secret::new(self.url),
            headers: headers.map(|(name, value)| (name, Secret::new(value))).collect(),
            signing_key: self.signing_key.map(Secret::new),
        };
        (webhook, Duration::from_secs(self.timeout_seconds))
    }
}

/// A receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceiverView {
    /// Its id, a UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Scheme and host of its address.
    #[schema(example = "https://hooks.example.org")]
    pub target: String,
    /// The names of the headers that it gets.
    pub header_names: Vec<String>,
    /// Whether its messages are signed.
    pub is_signed: bool,
    /// How long it may take to answer.
    pub timeout_seconds: u64,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl From<&Receiver> for ReceiverView {
    fn from(receiver: &Receiver) -> Self {
        Self {
            id: receiver.id.to_string(),
            name: receiver.name.to_string(),
            target: receiver.target.clone(),
            header_names: receiver.header_names.clone(),
            is_signed: receiver.is_signed,
            timeout_seconds: receiver.timeout.as_secs(),
            updated_at: receiver.updated_at,
        }
    }
}

/// An alert on its way to a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Its id, a UUID; the receiver gets it in the header `idempotency-key`.
    pub id: String,
    /// The receiver's name; none when it is gone.
    pub receiver: Option<String>,
    /// What happened.
    #[schema(value_type = String, example = "operations.run.failed")]
    pub event: EventKey,
    /// How much it matters.
    #[schema(value_type = String, example = "high")]
    pub severity: Severity,
    /// What happened, in one sentence.
    pub summary: String,
    /// The run that it is about.
    pub run_id: Option<String>,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// `pending`, `delivered` or `given_up`.
    #[schema(value_type = String, example = "pending")]
    pub status: DeliveryStatus,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is sent next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// When it arrived or was given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// The receiver's latest answer, if it gave one.
    pub http_status: Option<u16>,
    /// What went wrong at the latest try.
    pub error: Option<String>,
}

impl DeliveryView {
    /// A delivery, with the name of its receiver when that is known.
    pub fn of(delivery: &Delivery, receivers: &[Receiver]) -> Self {
        let receiver = receivers.iter().find(|receiver| receiver.id == delivery.receiver_id);
        let (due_at, ended_at) = match delivery.state {
            DeliveryState::Pending { due_at } => (Some(due_at), None),
            DeliveryState::Delivered { at } | DeliveryState::GivenUp { at } => (None, Some(at)),
        };
        let last = delivery.last.as_ref();
        Self {
            id: delivery.id.to_string(),
            receiver: receiver.map(|receiver| receiver.name.to_string()),
            event: delivery.event.key,
            severity: delivery.event.severity,
            summary: delivery.event.summary.to_string(),
            run_id: delivery.event.run.as_ref().map(|run| run.run_id.to_string()),
            occurred_at: delivery.event.occurred_at,
            status: delivery.state.status(),
            attempts: delivery.attempts,
            due_at,
            ended_at,
            http_status: last.and_then(|last| last.http_status),
            error: last.and_then(|last| last.error.as_ref()).map(ToString::to_string),
        }
    }
}
