//! Keeps the rules and receivers of alerts. Owns these tables. Face: `write`, `rules_of` and
//! `ReadAlerts`. Never keeps a receiver's address or headers unsealed.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::rows::{json, nanos, optional_parsed, parsed, signed, time, to_json, unsigned};
use super::schedules::length;
use super::serve::answer;
use super::{SqliteStore, deliveries};
use crate::base::ids::{DeliveryId, ReceiverId, RuleId, WorkspaceId};
use crate::base::{Secret, Timestamp};
use crate::domain::alerts::{AlertRule, Delivery, DeliveryEvent, Receiver, Webhook};
use crate::store::{
    AlertWrite, Answer, Conflict, DeliveryFilter, Outbox, Page, PageRequest, ReadAlerts,
    StoreError, TakeDeliveries,
};

/// A receiver whose address and headers are sealed: what may go to the disk.
pub(super) struct SealedReceiver {
    receiver: Receiver,
    sealed: Vec<u8>,
}

impl SqliteStore {
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
pub(super) fn write(connection: &Connection, write: &AlertWrite) -> Result<(), Fault> {
    match write {
        AlertWrite::PutRule(rule) => put_rule(connection, rule),
        AlertWrite::DropRule { workspace_id, id } => drop_rule(connection, *workspace_id, *id),
        AlertWrite::PutReceiver { .. } => {
            Err(Fault::unreadable("receiver", "its address is not sealed"))
        }
        AlertWrite::DropReceiver { workspace_id, id } => {
            drop_receiver(connection, *workspace_id, *id)
        }
        AlertWrite::Raise(event) => deliveries::raise(connection, event),
        AlertWrite::Send { event, receiver_id } => {
            deliveries::send(connection, event, &[*receiver_id])
        }
        AlertWrite::Retry { workspace_id, id, at } => {
            deliveries::retry(connection, *workspace_id, *id, *at)
        }
    }
}

fn is_taken(
    connection: &Connection,
    table: &'static str,
    workspace: &str,
    name: &str,
    id: &str,
) -> Result<bool, Fault> {
    let sql = format!("SELECT 1 FROM {table} WHERE workspace_id = ? AND name = ? AND id <> ?");
    Ok(connection.prepare_cached(&sql)?.exists(params![workspace, name, id])?)
}

fn put_rule(connection: &Connection, rule: &AlertRule) -> Result<(), Fault> {
    let (workspace, id) = (rule.workspace_id.to_string(), rule.id.to_string());
    if is_taken(connection, "alert_rules", &workspace, rule.name.as_str(), &id)? {
        return Err(Conflict::Taken { noun: "alert rule", name: rule.name.to_string() }.into());
    }
    connection
        .prepare_cached(
            "INSERT INTO alert_rules (id, workspace_id, name, event, run_type, tenant_id,
                 severity_min, is_enabled, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET
                 name = excluded.name, event = excluded.event, run_type = excluded.run_type,
                 tenant_id = excluded.tenant_id, severity_min = excluded.severity_min,
                 is_enabled = excluded.is_enabled, updated_at = excluded.updated_at",
        )?
        .execute(params![
            id,
            workspace,
            rule.name.as_str(),
            rule.event.to_string(),
            rule.run_type.to_string(),
            rule.tenant_id.map(|id| id.to_string()),
            rule.severity_min.key(),
            rule.is_enabled,
            nanos(rule.created_at),
            nanos(rule.updated_at),
        ])?;
    connection
        .prepare_cached("DELETE FROM alert_rule_receivers WHERE rule_id = ?")?
        .execute([&id])?;
    for (position, receiver) in rule.receivers.iter().enumerate() {
        let receiver = receiver.to_string();
        let sql = "SELECT 1 FROM alert_receivers WHERE id = ? AND workspace_id = ?";
        if !connection.prepare_cached(sql)?.exists(params![receiver, workspace])? {
            return Err(Conflict::Missing { noun: "alert receiver", id: receiver }.into());
        }
        connection
            .prepare_cached(
                "INSERT INTO alert_rule_receivers (rule_id, position, receiver_id)
                 VALUES (?, ?, ?)",
            )?
            .execute(params![id, signed(position as u64), receiver])?;
    }
    Ok(())
}

fn drop_rule(connection: &Connection, workspace: WorkspaceId, id: RuleId) -> Result<(), Fault> {
    let gone = connection
        .prepare_cached("DELETE FROM alert_rules WHERE workspace_id = ? AND id = ?")?
        .execute(params![workspace.to_string(), id.to_string()])?;
    match gone {
        0 => Err(Conflict::Missing { noun: "alert rule", id: id.to_string() }.into()),
        _ => Ok(()),
    }
}

/// Inserts or replaces a receiver.
pub(super) fn put_receiver(connection: &Connection, put: &SealedReceiver) -> Result<(), Fault> {
    let receiver = &put.receiver;
    let (workspace, id) = (receiver.workspace_id.to_string(), receiver.id.to_string());
    if is_taken(connection, "alert_receivers", &workspace, receiver.name.as_str(), &id)? {
        let name = receiver.name.to_string();
        return Err(Conflict::Taken { noun: "alert receiver", name }.into());
    }
    connection
        .prepare_cached(
            "INSERT INTO alert_receivers (id, workspace_id, name, target, header_names, is_signed,
                 timeout, sealed, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET
                 name = excluded.name, target = excluded.target,
                 header_names = excluded.header_names, is_signed = excluded.is_signed,
                 timeout = excluded.timeout, sealed = excluded.sealed,
                 updated_at = excluded.updated_at",
        )?
        .execute(params![
            id,
            workspace,
            receiver.name.as_str(),
            receiver.target,
            to_json(&receiver.header_names, "header names")?,
            receiver.is_signed,
            length(receiver.timeout),
            put.sealed,
            nanos(receiver.created_at),
            nanos(receiver.updated_at),
        ])?;
    Ok(())
}

fn drop_receiver(
    connection: &Connection,
    workspace: WorkspaceId,
    id: ReceiverId,
) -> Result<(), Fault> {
    let sql = "SELECT r.name FROM alert_rules r JOIN alert_rule_receivers n ON n.rule_id = r.id
               WHERE n.receiver_id = ? ORDER BY r.name LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id.to_string()])?;
    if let Some(row) = rows.next()? {
        let (noun, by) = ("alert receiver", format!("alert rule {}", row.get::<_, String>(0)?));
        return Err(Conflict::Used { noun, by }.into());
    }
    let gone = connection
        .prepare_cached("DELETE FROM alert_receivers WHERE workspace_id = ? AND id = ?")?
        .execute(params![workspace.to_string(), id.to_string()])?;
    match gone {
        0 => Err(Conflict::Missing { noun: "alert receiver", id: id.to_string() }.into()),
        _ => Ok(()),
    }
}

/// The rules of a workspace, by name.
pub(super) fn rules_of(
    connection: &Connection,
    workspace: WorkspaceId,
) -> Result<Vec<AlertRule>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, workspace_id, name, event, run_type, tenant_id, severity_min, is_enabled,
             created_at, updated_at
         FROM alert_rules WHERE workspace_id = ? ORDER BY name",
    )?;
    let mut rows = statement.query([workspace.to_string()])?;
    let mut rules = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let mut rule = AlertRule {
            id: parsed(row, 0, "alert rule id")?,
            workspace_id: parsed(row, 1, "workspace id")?,
            name: parsed(row, 2, "alert rule name")?,
            event: parsed(row, 3, "pattern")?,
            run_type: parsed(row, 4, "pattern")?,
            tenant_id: optional_parsed(row, 5, "tenant id")?,
            severity_min: parsed(row, 6, "severity")?,
            receivers: Vec::new(),
            is_enabled: row.get(7)?,
            created_at: time(row, 8)?,
            updated_at: time(row, 9)?,
        };
        let mut statement = connection.prepare_cached(
            "SELECT receiver_id FROM alert_rule_receivers WHERE rule_id = ? ORDER BY position",
        )?;
        let mut rows = statement.query([id])?;
        while let Some(row) = rows.next()? {
            rule.receivers.push(parsed(row, 0, "receiver id")?);
        }
        rules.push(rule);
    }
    Ok(rules)
}

const RECEIVER: &str = "SELECT id, workspace_id, name, target, header_names, is_signed, timeout,
    created_at, updated_at, sealed FROM alert_receivers";

fn receiver(row: &Row<'_>) -> Result<Receiver, Fault> {
    Ok(Receiver {
        id: parsed(row, 0, "receiver id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        name: parsed(row, 2, "receiver name")?,
        target: row.get(3)?,
        header_names: json(row, 4, "header names")?,
        is_signed: row.get(5)?,
        timeout: Duration::from_nanos(unsigned(row, 6)?),
        created_at: time(row, 7)?,
        updated_at: time(row, 8)?,
    })
}

fn receivers(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<Receiver>, Fault> {
    let sql = format!("{RECEIVER} WHERE workspace_id = ? ORDER BY name");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([workspace.to_string()])?;
    let mut receivers = Vec::new();
    while let Some(row) = rows.next()? {
        receivers.push(receiver(row)?);
    }
    Ok(receivers)
}

fn sealed(connection: &Connection, id: ReceiverId) -> Result<Option<(Receiver, Vec<u8>)>, Fault> {
    let sql = format!("{RECEIVER} WHERE id = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.to_string()])?;
    match rows.next()? {
        Some(row) => Ok(Some((receiver(row)?, row.get(9)?))),
        None => Ok(None),
    }
}

impl ReadAlerts for SqliteStore {
    fn alert_rules(&self, workspace: WorkspaceId) -> Answer<'_, Vec<AlertRule>> {
        answer(self.read("list the rules", move |connection| rules_of(connection, workspace)))
    }

    fn alert_receivers(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Receiver>> {
        answer(self.read("list the receivers", move |connection| receivers(connection, workspace)))
    }

    fn webhook(&self, id: ReceiverId) -> Answer<'_, Option<(Receiver, Webhook)>> {
        let keys = self.keys.clone();
        answer(self.read("read the receiver", move |connection| {
            let Some((receiver, sealed)) = sealed(connection, id)? else { return Ok(None) };
            let opened = keys.unseal(id.as_bytes(), &[sealed]).map_err(Fault::Store)?;
            let text = String::from_utf8(opened.expose().clone());
            let text = text.map_err(|error| Fault::unreadable("receiver", error))?;
            let webhook = Webhook::from_sealable(&Secret::new(text));
            let webhook = webhook.map_err(|error| Fault::unreadable("receiver", error))?;
            Ok(Some((receiver, webhook)))
        }))
    }

    fn deliveries(&self, filter: DeliveryFilter, page: PageRequest) -> Answer<'_, Page<Delivery>> {
        answer(self.read("list the deliveries", move |connection| {
            deliveries::list(connection, &filter, &page)
        }))
    }

    fn delivery(&self, workspace: WorkspaceId, id: DeliveryId) -> Answer<'_, Option<Delivery>> {
        answer(self.read("read the delivery", move |connection| {
            deliveries::find(connection, Some(workspace), id)
        }))
    }

    fn next_delivery(&self) -> Answer<'_, Option<Timestamp>> {
        answer(self.read("find due deliveries", deliveries::next_due))
    }
}

impl Outbox for SqliteStore {
    fn take_deliveries(&self, take: TakeDeliveries) -> Answer<'_, Vec<Delivery>> {
        answer(
            self.write("take deliveries", move |session| {
                deliveries::take(session.connection, take)
            }),
        )
    }

    fn report_delivery(&self, id: DeliveryId, event: DeliveryEvent) -> Answer<'_, ()> {
        answer(self.write("note the delivery down", move |session| {
            deliveries::report(session.connection, id, event)
        }))
    }
}
