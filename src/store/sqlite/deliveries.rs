//! Keeps the outbox of alerts. Owns its table. Face: `raise`, `take`, `report`. Never sends: what is
//! written with its cause is sent by somebody else.

use rusqlite::{Connection, Row, params};

use super::alerts::rules_of;
use super::fault::Fault;
use super::page;
use super::rows::{
    bound, collect, json, nanos, optional_json, optional_time, parsed, signed, small, to_json,
};
use crate::base::Timestamp;
use crate::base::ids::{DeliveryId, ReceiverId, WorkspaceId};
use crate::domain::alerts::{
    self, AlertEvent, Delivery, DeliveryEvent, DeliveryState, DeliveryStatus, route,
};
use crate::store::filter::Marks;
use crate::store::{Conflict, DeliveryFilter, Page, PageRequest, TakeDeliveries, lists};

/// Writes down who hears of an event, as the workspace's rules say.
pub(super) fn raise(connection: &Connection, event: &AlertEvent) -> Result<(), Fault> {
    let receivers = route(event, &rules_of(connection, event.workspace_id)?);
    send(connection, event, &receivers)
}

/// Writes down that these receivers hear of an event; raised twice, it is written once.
pub(super) fn send(
    connection: &Connection,
    event: &AlertEvent,
    receivers: &[ReceiverId],
) -> Result<(), Fault> {
    for delivery in alerts::deliveries(event, receivers) {
        let (status, due_at, ended_at) = columns(delivery.state);
        connection
            .prepare_cached(
                "INSERT INTO alert_deliveries (id, workspace_id, receiver_id, event_key, event,
                     run_id, status, due_at, ended_at, attempts, last, created_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)
                 ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![
                delivery.id.to_string(),
                event.workspace_id.to_string(),
                delivery.receiver_id.to_string(),
                event.key.key(),
                to_json(event, "alert event")?,
                event.run.as_ref().map(|run| run.run_id.to_string()),
                status,
                due_at,
                ended_at,
                delivery.attempts,
                nanos(event.occurred_at),
            ])?;
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

/// Takes what is due, and forgets what ended long ago.
pub(super) fn take(connection: &Connection, take: TakeDeliveries) -> Result<Vec<Delivery>, Fault> {
    connection
        .prepare_cached("DELETE FROM alert_deliveries WHERE status <> 'pending' AND ended_at < ?")?
        .execute([nanos(take.forget_before)])?;
    let sql =
        format!("{DELIVERY} WHERE status = 'pending' AND due_at <= ? ORDER BY due_at, id LIMIT ?");
    let values = params![nanos(take.at), signed(take.limit as u64)];
    let due = collect(connection, &sql, values, delivery)?;
    due.into_iter()
        .map(|delivery| {
            let taken = delivery.transition(DeliveryEvent::Take { until: take.until });
            let taken = taken.map_err(|error| Fault::unreadable("delivery", error))?;
            update(connection, &taken)?;
            Ok(taken)
        })
        .collect()
}

/// What came of a try. One that was taken over, or whose receiver is gone, changes nothing.
pub(super) fn report(
    connection: &Connection,
    id: DeliveryId,
    event: DeliveryEvent,
) -> Result<(), Fault> {
    let Some(delivery) = find(connection, None, id)? else { return Ok(()) };
    match delivery.transition(event) {
        Ok(delivery) => update(connection, &delivery),
        Err(_) => Ok(()),
    }
}

/// An operator wants a delivery tried again.
pub(super) fn retry(
    connection: &Connection,
    workspace: WorkspaceId,
    id: DeliveryId,
    at: Timestamp,
) -> Result<(), Fault> {
    let missing = || Conflict::Missing { noun: "alert delivery", id: id.to_string() };
    let delivery = find(connection, Some(workspace), id)?.ok_or_else(missing)?;
    let arrived = || Conflict::Used { noun: "alert delivery", by: "its receiver".to_owned() };
    let delivery = delivery.transition(DeliveryEvent::Retry { at }).map_err(|_| arrived())?;
    update(connection, &delivery)
}

fn update(connection: &Connection, delivery: &Delivery) -> Result<(), Fault> {
    let (status, due_at, ended_at) = columns(delivery.state);
    let last = delivery.last.as_ref().map(|last| to_json(last, "attempt")).transpose()?;
    connection
        .prepare_cached(
            "UPDATE alert_deliveries SET status = ?, due_at = ?, ended_at = ?, attempts = ?,
                 last = ?
             WHERE id = ?",
        )?
        .execute(params![
            status,
            due_at,
            ended_at,
            delivery.attempts,
            last,
            delivery.id.to_string()
        ])?;
    Ok(())
}

const DELIVERY: &str = "SELECT id, receiver_id, event, status, due_at, ended_at, attempts, last,
    created_at FROM alert_deliveries d";

fn delivery(row: &Row<'_>) -> Result<Delivery, Fault> {
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

/// One delivery.
pub(super) fn find(
    connection: &Connection,
    workspace: Option<WorkspaceId>,
    id: DeliveryId,
) -> Result<Option<Delivery>, Fault> {
    let sql = format!("{DELIVERY} WHERE id = ?1 AND workspace_id = coalesce(?2, workspace_id)");
    let values = params![id.to_string(), workspace.map(|id| id.to_string())];
    Ok(collect(connection, &sql, values, delivery)?.pop())
}

/// When the next delivery is due.
pub(super) fn next_due(connection: &Connection) -> Result<Option<Timestamp>, Fault> {
    let sql = "SELECT min(due_at) FROM alert_deliveries WHERE status = 'pending'";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    match rows.next()? {
        Some(row) => optional_time(row, 0),
        None => Ok(None),
    }
}

/// Deliveries that pass the filter, newest first.
pub(super) fn list(
    connection: &Connection,
    filter: &DeliveryFilter,
    request: &PageRequest,
) -> Result<Page<Delivery>, Fault> {
    let limit = request.bounded_limit();
    let restriction = lists::deliveries(Marks::Question, filter, request).map_err(Fault::Store)?;
    let (sql, values) = restriction.query(DELIVERY, lists::DELIVERIES_ORDER, limit + 1);
    let found = collect(connection, &sql, rusqlite::params_from_iter(bound(values)), delivery)?;
    Ok(page(found, limit, lists::delivery_cursor))
}
