//! Shapes how alerts change and how they are read. Owns the writes of rules, receivers and the
//! outbox. Face: `AlertWrite`, `ReadAlerts`, `TakeDeliveries`. Never shows a receiver's address to a
//! list: who sends asks for it by name.

use crate::base::Timestamp;
use crate::base::ids::{DeliveryId, ReceiverId, RuleId, RunId, WorkspaceId};
use crate::domain::alerts::{
    AlertEvent, AlertRule, Delivery, DeliveryEvent, DeliveryStatus, Receiver, Webhook,
};

use super::{Answer, Page, PageRequest};

/// One change of the alerts.
#[derive(Debug, Clone)]
pub enum AlertWrite {
    /// Inserts or replaces a rule. Conflicts with another of the same name, and with a receiver that
    /// does not exist.
    PutRule(Box<AlertRule>),
    /// Forgets a rule.
    DropRule {
        /// Its workspace.
        workspace_id: WorkspaceId,
        /// The rule.
        id: RuleId,
    },
    /// Inserts or replaces a receiver. Conflicts with another of the same name.
    PutReceiver {
        /// What everybody may know.
        receiver: Box<Receiver>,
        /// The rest, sealed before it is stored.
        webhook: Webhook,
    },
    /// Forgets a receiver with what was on its way to it. Conflicts while a rule names it.
    DropReceiver {
        /// Its workspace.
        workspace_id: WorkspaceId,
        /// The receiver.
        id: ReceiverId,
    },
    /// Something happened: the workspace's rules say who hears of it. What the end of a run raises
    /// is raised by the store, with the end.
    Raise(Box<AlertEvent>),
    /// This receiver hears of it, whatever the rules say.
    Send {
        /// What happened.
        event: Box<AlertEvent>,
        /// Who hears of it.
        receiver_id: ReceiverId,
    },
    /// A delivery is tried again at once. Conflicts with one that has arrived.
    Retry {
        /// Its workspace.
        workspace_id: WorkspaceId,
        /// The delivery.
        id: DeliveryId,
        /// When.
        at: Timestamp,
    },
}

/// Asks for deliveries that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakeDeliveries {
    /// Now.
    pub at: Timestamp,
    /// Most of them.
    pub limit: usize,
    /// When they are due again unless a report comes.
    pub until: Timestamp,
    /// What ended before is forgotten.
    pub forget_before: Timestamp,
}

/// Which deliveries are wanted. What is `None` does not restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Of this workspace.
    pub workspace_id: WorkspaceId,
    /// In this status.
    pub status: Option<DeliveryStatus>,
    /// To this receiver.
    pub receiver_id: Option<ReceiverId>,
    /// About this run.
    pub run_id: Option<RunId>,
}

impl DeliveryFilter {
    /// All deliveries of a workspace.
    pub fn workspace(workspace_id: WorkspaceId) -> Self {
        Self { workspace_id, status: None, receiver_id: None, run_id: None }
    }
}

/// Reads alerts.
pub trait ReadAlerts {
    /// The rules of a workspace, by name.
    fn alert_rules(&self, workspace: WorkspaceId) -> Answer<'_, Vec<AlertRule>>;
    /// The receivers of a workspace, by name.
    fn alert_receivers(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Receiver>>;
    /// What is needed to tell a receiver, unsealed.
    fn webhook(&self, receiver: ReceiverId) -> Answer<'_, Option<(Receiver, Webhook)>>;
    /// Deliveries that pass the filter, newest first.
    fn deliveries(&self, filter: DeliveryFilter, page: PageRequest) -> Answer<'_, Page<Delivery>>;
    /// One delivery.
    fn delivery(&self, workspace: WorkspaceId, id: DeliveryId) -> Answer<'_, Option<Delivery>>;
    /// When the next delivery is due.
    fn next_delivery(&self) -> Answer<'_, Option<Timestamp>>;
}

/// Sends what is in the outbox: housekeeping.
pub trait Outbox {
    /// Takes deliveries that are due, so that nobody else sends them; and forgets old ones.
    fn take_deliveries(&self, take: TakeDeliveries) -> Answer<'_, Vec<Delivery>>;

    /// Notes down what came of a try. A report of a try that was taken over changes nothing.
    fn report_delivery(&self, id: DeliveryId, event: DeliveryEvent) -> Answer<'_, ()>;
}
