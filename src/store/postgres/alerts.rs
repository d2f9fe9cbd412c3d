//! Keeps the rules and receivers of alerts, and the outbox. Owns these tables. Face: `write`,
//! `raise`, `take`, `report`, `ReadAlerts` and `Outbox`. Never keeps a receiver's address or headers
//! unsealed, and hands a delivery to the one host that can open its receiver.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use tokio_postgres::Row;

use super::PostgresStore;
use super::batch::Work;
use super::columns::delivery as delivery_columns;
use super::fault::Fault;
use super::flush::{Calls, Owned};
use super::rows::{
    flag, json, nanos, optional_json, optional_parsed, optional_time, parse, parsed, signed, small,
    text, time, to_json, unsigned,
};
use super::schedules::length;
use super::serve::{answer, cut, texts};
use super::server::Session;
use super::statements::Sql;
use crate::base::ids::{DeliveryId, ReceiverId, WorkspaceId};
use crate::base::{Secret, Timestamp};
use crate::domain::alerts::{
    self, AlertEvent, AlertRule, Delivery, DeliveryEvent, DeliveryState, DeliveryStatus, Receiver,
    Webhook, route,
};
use crate::store::filter::Marks;
use crate::store::{
    AlertWrite, Answer, Conflict, DeliveryFilter, Outbox, Page, PageRequest, ReadAlerts,
    StoreError, TakeDeliveries, lists,
};

/// A receiver whose address and headers are sealed: what may leave this host.
#[derive(Debug)]
pub(super) struct SealedReceiver {
    receiver: Receiver,
    sealed: Vec<u8>,
}

impl PostgresStore {
    /// Seals what a receiver is told by.
    pub(super) fn seal_receiver(
        &self,
        receiver: Receiver,
        webhook: &Webhook,
    ) -> Result<SealedReceiver, StoreError> {
        let text = webhook.to_sealable();
        let entropy = &*self.ambient.entropy;
        let pieces = self.keys.seal(receiver.id.as_bytes(), text.expose().as_bytes(), entropy)?;
        Ok(SealedReceiver { receiver, sealed: pieces.concat() })
    }
}

/// Changes alerts.
pub(super) async fn write(session: &Session, write: &AlertWrite) -> Result<(), Fault> {
    match write {
        AlertWrite::PutRule(rule) => put_rule(session, rule).await,
        AlertWrite::DropRule { workspace_id, id } => {
            let (workspace, id) = (workspace_id.to_string(), id.to_string());
            let gone = session.query(Sql::DropRule, &[&workspace, &id]).await?;
            gone.first().map(drop).ok_or_else(|| missing("alert rule", id))
        }
        AlertWrite::PutReceiver { .. } => {
            Err(Fault::unreadable("receiver", "its address is not sealed"))
        }
        AlertWrite::DropReceiver { workspace_id, id } => {
            let (workspace, id) = (workspace_id.to_string(), id.to_string());
            let users = session.query(Sql::ReceiverUsed, &[&id]).await?;
            if let Some(row) = users.first() {
                let (noun, by) = ("alert receiver", format!("alert rule {}", text(row, 0)?));
                return Err(Conflict::Used { noun, by }.into());
            }
            let gone = session.query(Sql::DropReceiver, &[&workspace, &id]).await?;
            gone.first().map(drop).ok_or_else(|| missing("alert receiver", id))
        }
        AlertWrite::Raise(event) => {
            session.ask(raise(session, &[(**event).clone()]).await?, false).await.map(drop)
        }
        AlertWrite::Send { event, receiver_id } => {
            let mut calls = Calls::default();
            send(&mut calls, event, &[*receiver_id])?;
            session.ask(calls, false).await.map(drop)
        }
        AlertWrite::Retry { workspace_id, id, at } => retry(session, *workspace_id, *id, *at).await,
    }
}

fn missing(noun: &'static str, id: String) -> Fault {
    Conflict::Missing { noun, id }.into()
}

async fn put_rule(session: &Session, rule: &AlertRule) -> Result<(), Fault> {
    let (id, workspace) = (rule.id.to_string(), rule.workspace_id.to_string());
    let name = rule.name.to_string();
    if !session.query(Sql::RuleTaken, &[&workspace, &name, &id]).await?.is_empty() {
        return Err(Conflict::Taken { noun: "alert rule", name }.into());
    }
    session
        .query(
            Sql::PutRule,
            &[
                &id,
                &workspace,
                &name,
                &rule.event.to_string(),
                &rule.run_type.to_string(),
                &rule.tenant_id.map(|id| id.to_string()),
                &rule.severity_min.key(),
                &i64::from(rule.is_enabled),
                &nanos(rule.created_at),
                &nanos(rule.updated_at),
            ],
        )
        .await?;
    session.query(Sql::DropRuleReceivers, &[&id]).await?;
    for (position, receiver) in rule.receivers.iter().enumerate() {
        let receiver = receiver.to_string();
        if session.query(Sql::ReceiverIn, &[&receiver, &workspace]).await?.is_empty() {
            return Err(missing("alert receiver", receiver));
        }
        let position = signed(position as u64);
        session.query(Sql::InsertRuleReceiver, &[&id, &position, &receiver]).await?;
    }
    Ok(())
}

/// Inserts or replaces a receiver.
pub(super) async fn put_receiver(
    session: &Session,
    host: &str,
    put: &SealedReceiver,
) -> Result<(), Fault> {
    let receiver = &put.receiver;
    let (id, workspace) = (receiver.id.to_string(), receiver.workspace_id.to_string());
    let name = receiver.name.to_string();
    if !session.query(Sql::ReceiverTaken, &[&workspace, &name, &id]).await?.is_empty() {
        return Err(Conflict::Taken { noun: "alert receiver", name }.into());
    }
    session
        .query(
            Sql::PutReceiver,
            &[
                &id,
                &host,
                &workspace,
                &name,
                &receiver.target,
                &to_json(&receiver.header_names, "header names")?,
                &i64::from(receiver.is_signed),
                &length(receiver.timeout),
                &put.sealed,
                &nanos(receiver.created_at),
                &nanos(receiver.updated_at),
            ],
        )
        .await?;
    Ok(())
}

/// The statements that write down who hears of events, as the rules of their workspaces say.
pub(super) async fn raise(session: &Session, events: &[AlertEvent]) -> Result<Calls, Fault> {
    let mut calls = Calls::default();
    let mut rules: BTreeMap<WorkspaceId, Vec<AlertRule>> = BTreeMap::new();
    for event in events {
        let workspace = event.workspace_id;
        let known = match rules.entry(workspace) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(empty) => {
                let found = session.query(Sql::Rules, &[&workspace.to_string()]).await?;
                empty.insert(found.iter().map(rule).collect::<Result<_, _>>()?)
            }
        };
        send(&mut calls, event, &route(event, known))?;
    }
    Ok(calls)
}

/// Writes down that these receivers hear of an event; raised twice, it is written once.
fn send(calls: &mut Calls, event: &AlertEvent, receivers: &[ReceiverId]) -> Result<(), Fault> {
    for delivery in alerts::deliveries(event, receivers) {
        let (status, due_at, ended_at) = columns(delivery.state);
        let values: Vec<Owned> = vec![
            Box::new(delivery.id.to_string()),
            Box::new(event.workspace_id.to_string()),
            Box::new(delivery.receiver_id.to_string()),
            Box::new(event.key.key()),
            Box::new(to_json(event, "alert event")?),
            Box::new(event.run.as_ref().map(|run| run.run_id.to_string())),
            Box::new(status),
            Box::new(due_at),
            Box::new(ended_at),
            Box::new(i64::from(delivery.attempts)),
            Box::new(nanos(event.occurred_at)),
        ];
        calls.add(Sql::InsertDelivery, values);
    }
    Ok(())
}

/// How a state is spread over columns.
fn columns(state: DeliveryState) -> (&'static str, Option<i64>, Option<i64>) {
    let status = state.status().key();
    match state {
        DeliveryState::Pending { due_at } => (status, Some(nanos(due_at)), None),
        DeliveryState::Delivered { at } | DeliveryState::GivenUp { at } => {
            (status, None, Some(nanos(at)))
        }
    }
}

/// Takes what is due and this host can send, and forgets what ended long ago.
pub(super) async fn take(
    session: &Session,
    host: &str,
    take: TakeDeliveries,
) -> Result<(Vec<Delivery>, bool), Fault> {
    let forgotten = session.query(Sql::ForgetDeliveries, &[&nanos(take.forget_before)]).await?;
    let limit = signed(take.limit as u64);
    let due = session.query(Sql::DueDeliveries, &[&host, &nanos(take.at), &limit]).await?;
    let mut taken = Vec::with_capacity(due.len());
    for row in &due {
        let next = delivery(row)?.transition(DeliveryEvent::Take { until: take.until });
        let next = next.map_err(|error| Fault::unreadable("delivery", error))?;
        update(session, &next).await?;
        taken.push(next);
    }
    let is_changed = !forgotten.is_empty() || !taken.is_empty();
    Ok((taken, is_changed))
}

/// What came of a try. One that was taken over, or whose receiver is gone, changes nothing.
pub(super) async fn report(
    session: &Session,
    id: DeliveryId,
    event: DeliveryEvent,
) -> Result<(), Fault> {
    let found = session.query(Sql::LockDelivery, &[&id.to_string(), &None::<String>]).await?;
    let Some(row) = found.first() else { return Ok(()) };
    match delivery(row)?.transition(event) {
        Ok(delivery) => update(session, &delivery).await,
        Err(_) => Ok(()),
    }
}

/// An operator wants a delivery tried again.
async fn retry(
    session: &Session,
    workspace: WorkspaceId,
    id: DeliveryId,
    at: Timestamp,
) -> Result<(), Fault> {
    let values = (id.to_string(), Some(workspace.to_string()));
    let found = session.query(Sql::LockDelivery, &[&values.0, &values.1]).await?;
    let row = found.first().ok_or_else(|| missing("alert delivery", id.to_string()))?;
    let arrived = || Conflict::Used { noun: "alert delivery", by: "its receiver".to_owned() };
    let next = delivery(row)?.transition(DeliveryEvent::Retry { at }).map_err(|_| arrived())?;
    update(session, &next).await
}

async fn update(session: &Session, delivery: &Delivery) -> Result<(), Fault> {
    let (status, due_at, ended_at) = columns(delivery.state);
    let last = delivery.last.as_ref().map(|last| to_json(last, "attempt")).transpose()?;
    let attempts = i64::from(delivery.attempts);
    let id = delivery.id.to_string();
    let values: [super::server::Value<'_>; 6] =
        [&id, &status, &due_at, &ended_at, &attempts, &last];
    session.query(Sql::UpdateDelivery, &values).await?;
    Ok(())
}

fn rule(row: &Row) -> Result<AlertRule, Fault> {
    let receivers: Vec<String> = row.try_get(10)?;
    Ok(AlertRule {
        id: parsed(row, 0, "alert rule id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        name: parsed(row, 2, "alert rule name")?,
        event: parsed(row, 3, "pattern")?,
        run_type: parsed(row, 4, "pattern")?,
        tenant_id: optional_parsed(row, 5, "tenant id")?,
        severity_min: parsed(row, 6, "severity")?,
        receivers: receivers.iter().map(|id| parse(id, "receiver id")).collect::<Result<_, _>>()?,
        is_enabled: flag(row, 7)?,
        created_at: time(row, 8)?,
        updated_at: time(row, 9)?,
    })
}

fn receiver(row: &Row) -> Result<Receiver, Fault> {
    Ok(Receiver {
        id: parsed(row, 0, "receiver id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        name: parsed(row, 2, "receiver name")?,
        target: text(row, 3)?,
        header_names: json(row, 4, "header names")?,
        is_signed: flag(row, 5)?,
        timeout: Duration::from_nanos(unsigned(row, 6)?),
        created_at: time(row, 7)?,
        updated_at: time(row, 8)?,
    })
}

fn delivery(row: &Row) -> Result<Delivery, Fault> {
    let status: DeliveryStatus = parsed(row, 3, "delivery status")?;
    let times = (optional_time(row, 4)?, optional_time(row, 5)?);
    let state = match (status, times) {
        (DeliveryStatus::Pending, (Some(due_at), _)) => DeliveryState::Pending { due_at },
        (DeliveryStatus::Delivered, (_, Some(at))) => DeliveryState::Delivered { at },
        (DeliveryStatus::GivenUp, (_, Some(at))) => DeliveryState::GivenUp { at },
        _ => return Err(Fault::unreadable("delivery", "its columns contradict each other")),
    };
    Ok(Delivery {
        id: parsed(row, 0, "delivery id")?,
        receiver_id: parsed(row, 1, "receiver id")?,
        event: json(row, 2, "alert event")?,
        state,
        attempts: small(row, 6)?,
        last: optional_json(row, 7, "attempt")?,
    })
}

impl ReadAlerts for PostgresStore {
    fn alert_rules(&self, workspace: WorkspaceId) -> Answer<'_, Vec<AlertRule>> {
        answer(
            async move { self.many("list the rules", Sql::Rules, &texts([&workspace]), rule).await },
        )
    }

    fn alert_receivers(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Receiver>> {
        answer(async move {
            self.many("list the receivers", Sql::Receivers, &texts([&workspace]), receiver).await
        })
    }

    fn webhook(&self, id: ReceiverId) -> Answer<'_, Option<(Receiver, Webhook)>> {
        answer(async move {
            let act = "read the receiver";
            let read = |row: &Row| Ok((receiver(row)?, row.try_get::<_, Vec<u8>>(9)?));
            let found = self.one(act, Sql::ReceiverById, &texts([&id]), read).await?;
            let Some((receiver, sealed)) = found else { return Ok(None) };
            let opened = self.keys.unseal(id.as_bytes(), &[sealed])?;
            let unreadable = |reason: String| StoreError::Unreadable { noun: "receiver", reason };
            let text = String::from_utf8(opened.expose().clone());
            let text = text.map_err(|error| unreadable(error.to_string()))?;
            let webhook = Webhook::from_sealable(&Secret::new(text));
            Ok(Some((receiver, webhook.map_err(|error| unreadable(error.to_string()))?)))
        })
    }

    fn deliveries(&self, filter: DeliveryFilter, page: PageRequest) -> Answer<'_, Page<Delivery>> {
        answer(async move {
            let limit = page.bounded_limit();
            let restriction = lists::deliveries(Marks::Dollar, &filter, &page)?;
            let (sql, values) =
                restriction.query(delivery_columns!(), lists::DELIVERIES_ORDER, limit + 1);
            let read = |row: &Row| {
                let found = delivery(row)?;
                let cursor = lists::delivery_cursor(&found);
                Ok((found, cursor))
            };
            let found = self.readers.rows("list the deliveries", &sql, &values, read).await?;
            Ok(cut(found, limit))
        })
    }

    fn delivery(&self, workspace: WorkspaceId, id: DeliveryId) -> Answer<'_, Option<Delivery>> {
        answer(async move {
            let values = texts([&id, &workspace]);
            self.one("read the delivery", Sql::DeliveryIn, &values, delivery).await
        })
    }

    fn next_delivery(&self) -> Answer<'_, Option<Timestamp>> {
        answer(async move {
            let read = |row: &Row| optional_time(row, 0);
            let values = texts([&self.scope.host_id]);
            let found = self.one("find due deliveries", Sql::NextDelivery, &values, read).await?;
            Ok(found.flatten())
        })
    }
}

impl Outbox for PostgresStore {
    fn take_deliveries(&self, take: TakeDeliveries) -> Answer<'_, Vec<Delivery>> {
        answer(async move {
            self.write("take deliveries", Work::TakeDeliveries(take)).await?.deliveries()
        })
    }

    fn report_delivery(&self, id: DeliveryId, event: DeliveryEvent) -> Answer<'_, ()> {
        answer(async move {
            let work = Work::ReportDelivery { id, event };
            self.write("note the delivery down", work).await.map(drop)
        })
    }
}
