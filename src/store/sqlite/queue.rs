//! Keeps agents, controls and hosted types. Owns their tables. Face: one function per reading and
//! writing. Never hands out work.

use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::rows::{collect, json, nanos, optional_time, parsed, small, time, to_json, unsigned};
use crate::base::Name;
use crate::base::ids::WorkspaceId;
use crate::domain::runs::{Agent, HostedType, QueueControl, QueueScope, RunType};
use crate::store::{Conflict, QueueDepth};

/// Housekeeping: an agent has started; older ones of its host have not survived it.
pub(super) fn register_agent(connection: &Connection, agent: &Agent) -> Result<(), Fault> {
    connection.execute("DELETE FROM agents WHERE host_id = ?", [agent.host_id.to_string()])?;
    connection.execute(
        "INSERT INTO agents (instance, host_id, boot_id, hostname, started_at, heartbeat_at)
         VALUES (?, ?, ?, ?, ?, ?)",
        params![
            agent.instance,
            agent.host_id.to_string(),
            agent.boot_id,
            agent.hostname,
            nanos(agent.started_at),
            nanos(agent.heartbeat_at),
        ],
    )?;
    Ok(())
}

/// The agents that work on this store, oldest first.
pub(super) fn agents(connection: &Connection) -> Result<Vec<Agent>, Fault> {
    let sql = "SELECT instance, host_id, boot_id, hostname, started_at, heartbeat_at FROM agents
               ORDER BY started_at, instance";
    collect(connection, sql, [], |row| {
        Ok(Agent {
            instance: row.get(0)?,
            host_id: parsed(row, 1, "host id")?,
            boot_id: row.get(2)?,
            hostname: row.get(3)?,
            started_at: time(row, 4)?,
            heartbeat_at: time(row, 5)?,
        })
    })
}

/// Inserts or replaces a hosted type; when it was registered first stays.
pub(super) fn put_hosted_type(connection: &Connection, hosted: &HostedType) -> Result<(), Fault> {
    connection.execute(
        "INSERT INTO hosted_types (workspace_id, name, definition, registered_at, updated_at)
         VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (workspace_id, name) DO UPDATE SET definition = excluded.definition,
             updated_at = excluded.updated_at",
        params![
            hosted.workspace_id.to_string(),
            hosted.name.as_str(),
            to_json(&hosted.definition, "definition")?,
            nanos(hosted.registered_at),
            nanos(hosted.updated_at),
        ],
    )?;
    Ok(())
}

/// Forgets a hosted type that no active run is of.
pub(super) fn drop_hosted_type(
    connection: &Connection,
    workspace: WorkspaceId,
    name: Name,
) -> Result<(), Fault> {
    let values = params![workspace.to_string(), name.as_str()];
    let in_use: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM runs INDEXED BY runs_active_identity
             WHERE workspace_id = ? AND type = ? AND status <> 'completed')",
        values,
        |row| row.get(0),
    )?;
    if in_use {
        return Err(Conflict::TypeInUse(RunType::Hosted(name)).into());
    }
    let sql = "DELETE FROM hosted_types WHERE workspace_id = ? AND name = ?";
    match connection.execute(sql, values)? {
        0 => Err(Conflict::Missing { noun: "hosted type", id: name.to_string() }.into()),
        _ => Ok(()),
    }
}

fn read_hosted_type(row: &Row<'_>) -> Result<HostedType, Fault> {
    Ok(HostedType {
        workspace_id: parsed(row, 0, "workspace id")?,
        name: parsed(row, 1, "hosted type")?,
        definition: json(row, 2, "definition")?,
        registered_at: time(row, 3)?,
        updated_at: time(row, 4)?,
    })
}

/// The hosted types of a workspace, by name.
pub(super) fn hosted_types(
    connection: &Connection,
    workspace: WorkspaceId,
) -> Result<Vec<HostedType>, Fault> {
    let sql = "SELECT workspace_id, name, definition, registered_at, updated_at FROM hosted_types
               WHERE workspace_id = ? ORDER BY name";
    collect(connection, sql, [workspace.to_string()], read_hosted_type)
}

/// One hosted type.
pub(super) fn hosted_type(
    connection: &Connection,
    workspace: WorkspaceId,
    name: Name,
) -> Result<Option<HostedType>, Fault> {
    let sql = "SELECT workspace_id, name, definition, registered_at, updated_at FROM hosted_types
               WHERE workspace_id = ? AND name = ?";
    let values = params![workspace.to_string(), name.as_str()];
    Ok(collect(connection, sql, values, read_hosted_type)?.pop())
}

/// Inserts or replaces what holds a part of the queue back.
pub(super) fn put_control(connection: &Connection, control: &QueueControl) -> Result<(), Fault> {
    connection.execute(
        "INSERT OR REPLACE INTO queue_controls (workspace_id, scope, is_paused, concurrency_max)
         VALUES (?, ?, ?, ?)",
        params![
            control.workspace_id.to_string(),
            control.scope.to_string(),
            control.is_paused,
            control.concurrency_max,
        ],
    )?;
    Ok(())
}

/// Nothing holds that part of the queue back any more.
pub(super) fn drop_control(
    connection: &Connection,
    workspace: WorkspaceId,
    scope: QueueScope,
) -> Result<(), Fault> {
    connection.execute(
        "DELETE FROM queue_controls WHERE workspace_id = ? AND scope = ?",
        params![workspace.to_string(), scope.to_string()],
    )?;
    Ok(())
}

/// What holds parts of a workspace's queue back, by scope; of every workspace when none is given.
pub(super) fn controls(
    connection: &Connection,
    workspace: Option<WorkspaceId>,
) -> Result<Vec<QueueControl>, Fault> {
    let sql = "SELECT workspace_id, scope, is_paused, concurrency_max FROM queue_controls
               WHERE ?1 IS NULL OR workspace_id = ?1 ORDER BY workspace_id, scope";
    let workspace = workspace.map(|workspace| workspace.to_string());
    collect(connection, sql, [workspace], |row| {
        let concurrency_max = match row.get_ref(3)? {
            rusqlite::types::ValueRef::Null => None,
            _ => Some(small(row, 3)?),
        };
        Ok(QueueControl {
            workspace_id: parsed(row, 0, "workspace id")?,
            scope: parsed(row, 1, "scope of the queue")?,
            is_paused: row.get(2)?,
            concurrency_max,
        })
    })
}

/// How much of each type is queued and runs.
pub(super) const DEPTHS: &str = "SELECT type, sum(status = 'queued'), sum(status = 'running'),
        min(created_at) FILTER (WHERE status = 'queued')
    FROM runs INDEXED BY runs_active_identity
    WHERE workspace_id = ? AND status <> 'completed' GROUP BY type ORDER BY type";

/// How much of each type is queued and runs; looks at what is not completed only.
pub(super) fn depths(
    connection: &Connection,
    workspace: WorkspaceId,
) -> Result<Vec<QueueDepth>, Fault> {
    collect(connection, DEPTHS, [workspace.to_string()], |row| {
        Ok(QueueDepth {
            run_type: parsed(row, 0, "run type")?,
            queued: unsigned(row, 1)?,
            running: unsigned(row, 2)?,
            oldest_queued_at: optional_time(row, 3)?,
        })
    })
}
