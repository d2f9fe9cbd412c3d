//! Decides who hears of what happened inside the agent. Owns the registry of internal events, the
//! rules that route them and the life of a delivery. Face: `AlertEvent`, `of_ended_run`, `route`,
//! `Delivery::transition`. Never sends anything: a delivery is a record that somebody sends.

mod delivery;
mod event;
mod receiver;
mod route;
#[cfg(test)]
mod tests;

pub use delivery::{
    Attempted, Delivery, DeliveryEvent, DeliveryState, DeliveryStatus, IllegalDelivery,
};
pub use event::{
    AlertEvent, EventKey, RunFacts, Severity, broken_glass_event, instance_event, of_ended_run,
    policies_refused_event, test_event,
};
pub use receiver::{
    NotReceived, Receiver, Webhook, WebhookError, check_webhook, header_values, signature,
};
pub use route::{AlertRule, Pattern, PatternError, deliveries, route};
