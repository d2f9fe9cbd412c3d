//! Brings a database to the form that this program knows. Owns the numbered migrations, each with
//! its checksum. Face: `migrate`, `create`. Never touches a database that a newer program has written, and
//! never changes one without saying so in its audit log.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::fault::{Fault, classify};
use super::rows::nanos;
use super::{Opening, audit};
use crate::base::ids::{EventId, HostId, TenantId, UserId, WorkspaceId};
use crate::base::{Digest, Timestamp};
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::store::{Migrated, Scope, StoreError};

/// Marks the file as ours: `whrf`.
const APPLICATION_ID: i32 = 0x7768_7266;

struct Migration {
    number: u32,
    sql: &'static str,
}

/// All forms of the database, first first. A released one is never edited; the checksum tells.
const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, sql: include_str!("../sql/sqlite/0001_initial.sql") },
    Migration { number: 2, sql: include_str!("../sql/sqlite/0002_wanted_services.sql") },
    Migration { number: 3, sql: include_str!("../sql/sqlite/0003_doomed_volumes.sql") },
    Migration { number: 4, sql: include_str!("../sql/sqlite/0004_kinds_of_exit.sql") },
    Migration { number: 5, sql: include_str!("../sql/sqlite/0005_queue.sql") },
    Migration { number: 6, sql: include_str!("../sql/sqlite/0006_schedules.sql") },
    Migration { number: 7, sql: include_str!("../sql/sqlite/0007_alerts.sql") },
    Migration { number: 8, sql: include_str!("../sql/sqlite/0008_runbooks_and_findings.sql") },
    Migration { number: 9, sql: include_str!("../sql/sqlite/0009_audit_proof.sql") },
    Migration { number: 10, sql: include_str!("../sql/sqlite/0010_access.sql") },
    Migration { number: 11, sql: include_str!("../sql/sqlite/0011_registries.sql") },
    Migration { number: 12, sql: include_str!("../sql/sqlite/0012_lifecycle_of_findings.sql") },
    Migration { number: 13, sql: include_str!("../sql/sqlite/0013_enforcement.sql") },
    Migration { number: 14, sql: include_str!("../sql/sqlite/0014_image_scans.sql") },
];

/// The form that first told hosts apart.
const QUEUE: u32 = 5;

/// The form that this program works with.
pub(in crate::store) const NEWEST: u32 = MIGRATIONS[MIGRATIONS.len() - 1].number;

const LEDGER: &str = "CREATE TABLE migrations (
    number        INTEGER PRIMARY KEY,
    checksum      TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    applied_at    INTEGER NOT NULL
) STRICT";

/// Brings the database to the newest form, in one transaction with the event that says so.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    opening: &Opening<'_>,
    host_id: HostId,
) -> Result<Migrated, StoreError> {
    let act = "bring itself to its newest form";
    let found = form(connection, path).map_err(|fault| fault.into_store(path, act))?;
    if found > NEWEST {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: NEWEST });
    }
    if found > 0 {
        check_ledger(connection, path, found)?;
    }
    if found == NEWEST {
        return Ok(Migrated::Nothing);
    }
    // A table that others refer to is made anew only while foreign keys are not looked at; they
    // are checked before the commit.
    let told = |error: rusqlite::Error| classify(&error, path, act);
    connection.pragma_update(None, "foreign_keys", false).map_err(told)?;
    let applied = apply(connection, (found, NEWEST), opening, host_id);
    connection.pragma_update(None, "foreign_keys", true).map_err(told)?;
    applied.map_err(|fault| fault.into_store(path, act))?;
    Ok(match found {
        0 => Migrated::Created,
        from => Migrated::Upgraded { from, to: NEWEST },
    })
}

/// The form that the database has; 0 for an empty one.
pub(super) fn form(connection: &Connection, path: &Path) -> Result<u32, Fault> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (owner, form) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if owner == APPLICATION_ID {
        return u32::try_from(form).map_err(|error| Fault::unreadable("form", error));
    }
    if owner == 0 && form == 0 && tables == 0 {
        return Ok(0);
    }
    let said = "the database belongs to another program";
    Err(Fault::Store(StoreError::Corrupt { path: path.to_owned(), source: said.into() }))
}

/// Compares what was applied with what this program would have applied.
fn check_ledger(connection: &Connection, path: &Path, form: u32) -> Result<(), StoreError> {
    for migration in MIGRATIONS.iter().filter(|migration| migration.number <= form) {
        let applied = connection
            .query_row(
                "SELECT checksum FROM migrations WHERE number = ?",
                [migration.number],
                |row| row.get::<_, String>(0),
            )
            .optional()
            .map_err(|error| classify(&error, path, "tell its form"))?;
        if applied.as_deref() != Some(&Digest::of(migration.sql.as_bytes()).to_string()) {
            let path = path.to_owned();
            return Err(StoreError::MigrationChanged { path, number: migration.number });
        }
    }
    Ok(())
}

/// Goes from one form to a later one.
fn apply(
    connection: &mut Connection,
    (from, to): (u32, u32),
    opening: &Opening<'_>,
    host_id: HostId,
) -> Result<(), Fault> {
    let now = opening.ambient.now();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    advance(&transaction, (from, to), opening, now)?;
    if from == 0 {
        settle_host(&transaction, opening, now)?;
    }
    if (1..QUEUE).contains(&from) && to >= QUEUE {
        place_runs(&transaction, host_id)?;
    }
    check_references(&transaction)?;
    let scope = read_scope(&transaction, host_id)?;
    audit::append(&transaction, &[event(opening, &scope, (from, to), now)], opening.ambient)?;
    opening.ambient.crash_points.reached("store.commit.before");
    transaction.commit()?;
    opening.ambient.crash_points.reached("store.commit.after");
    Ok(())
}

/// Makes the tables of a form, without anything in them.
pub(super) fn create(
    connection: &mut Connection,
    form: u32,
    opening: &Opening<'_>,
) -> Result<(), Fault> {
    let transaction = connection.transaction()?;
    advance(&transaction, (0, form), opening, opening.ambient.now())?;
    Ok(transaction.commit()?)
}

/// Executes the statements between two forms.
fn advance(
    connection: &Connection,
    (from, to): (u32, u32),
    opening: &Opening<'_>,
    now: Timestamp,
) -> Result<(), Fault> {
    if from == 0 {
        connection.execute_batch(LEDGER)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    let wanted = |migration: &&Migration| migration.number > from && migration.number <= to;
    for migration in MIGRATIONS.iter().filter(wanted) {
        connection.execute_batch(migration.sql)?;
        connection.execute(
            "INSERT INTO migrations (number, checksum, agent_version, applied_at)
             VALUES (?, ?, ?, ?)",
            params![
                migration.number,
                Digest::of(migration.sql.as_bytes()).to_string(),
                opening.agent_version,
                nanos(now),
            ],
        )?;
    }
    Ok(connection.pragma_update(None, "user_version", to)?)
}

/// What older forms held without saying where belongs to this host: one agent wrote it.
fn place_runs(connection: &Connection, host_id: HostId) -> Result<(), Fault> {
    let host = host_id.to_string();
    connection.execute("UPDATE runs SET host_id = ?1, lock_scope = ?1", [&host])?;
    connection.execute("UPDATE locks SET scope = ?", [&host])?;
    connection.execute("UPDATE run_attempts SET host_id = ?", [&host])?;
    Ok(())
}

pub(super) fn check_references(connection: &Connection) -> Result<(), Fault> {
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    match rows.next()? {
        None => Ok(()),
        Some(row) => Err(Fault::unreadable("reference", row.get::<_, String>(0)?)),
    }
}

fn event(
    opening: &Opening<'_>,
    scope: &Scope,
    (from, to): (u32, u32),
    now: Timestamp,
) -> AuditEvent {
    let (event_type, summary) = match (from, opening.keys.created()) {
        (0, true) => (EventType::StoreCreated, "A new database was created".to_owned()),
        (0, false) => (
            EventType::StoreCreated,
            "A new database was created: an earlier one is gone, and its history with it"
                .to_owned(),
        ),
        _ => (
            EventType::StoreUpgraded,
            format!("The database was brought from form {from} to form {to}"),
        ),
    };
    AuditEvent {
        id: EventId::generate(&*opening.ambient.clock, &*opening.ambient.entropy),
        workspace_id: scope.workspace_id,
        tenant_id: None,
        event_type,
        summary: SafeText::new(summary),
        outcome: Outcome::Success,
        actor: Actor::agent(),
        target: Some(Target {
            target_type: "store".to_owned(),
            target_id: "sqlite".to_owned(),
            target_label: "database".to_owned(),
            workspace_id: scope.workspace_id,
            tenant_id: None,
        }),
        operation_run_id: None,
        context: EventContext {
            from_version: (from > 0).then(|| from.to_string()),
            to_version: Some(to.to_string()),
            ..EventContext::default()
        },
        occurred_at: now,
    }
}

/// Creates what a single host needs so that nobody has to think about workspaces: one workspace
/// with one tenant, its owner, the platform's workspace and tenant, and the operator.
fn settle_host(
    connection: &Connection,
    opening: &Opening<'_>,
    now: Timestamp,
) -> Result<(), Fault> {
    let (clock, entropy) = (&*opening.ambient.clock, &*opening.ambient.entropy);
    let at = nanos(now);
    let mut places = Vec::new();
    for (name, is_platform) in [("default", 0), ("platform", 1)] {
        let workspace = WorkspaceId::generate(clock, entropy).to_string();
        let tenant = TenantId::generate(clock, entropy).to_string();
        connection.execute(
            "INSERT INTO workspaces (id, name, is_platform, created_at) VALUES (?, ?, ?, ?)",
            params![workspace, name, is_platform, at],
        )?;
        connection.execute(
            "INSERT INTO tenants (id, workspace_id, name, status, stage, created_at)
             VALUES (?, ?, ?, 'active', 'production', ?)",
            params![tenant, workspace, opening.hostname, at],
        )?;
        places.push((workspace, tenant));
    }
    let owner = UserId::generate(clock, entropy).to_string();
    let operator = UserId::generate(clock, entropy).to_string();
    for (id, kind) in [(&owner, "member"), (&operator, "platform")] {
        connection.execute(
            "INSERT INTO users (id, name, kind, is_break_glass, created_at) VALUES (?, ?, ?, 0, ?)",
            params![id, opening.os_user, kind, at],
        )?;
    }
    let (workspace, tenant) = &places[0];
    connection.execute(
        "INSERT INTO memberships (workspace_id, user_id, role) VALUES (?, ?, 'owner')",
        params![workspace, owner],
    )?;
    connection.execute(
        "INSERT INTO host (id, workspace_id, tenant_id, owner_id, key_fingerprint)
         VALUES (1, ?, ?, ?, ?)",
        params![workspace, tenant, owner, opening.keys.fingerprint().to_string()],
    )?;
    Ok(())
}

/// The scope of this host.
pub(super) fn read_scope(connection: &Connection, host_id: HostId) -> Result<Scope, Fault> {
    let sql = "SELECT host.workspace_id, host.tenant_id, host.owner_id, users.name
               FROM host JOIN users ON users.id = host.owner_id";
    let text = connection.query_row(sql, [], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, String>(3)?,
        ))
    })?;
    Ok(Scope {
        workspace_id: super::rows::parse(&text.0, "workspace")?,
        tenant_id: super::rows::parse(&text.1, "tenant")?,
        owner_id: super::rows::parse(&text.2, "user")?,
        owner_name: text.3,
        host_id,
    })
}

/// Whether the database was sealed with this key.
pub(super) fn key_fits(connection: &Connection, fingerprint: Digest) -> Result<bool, Fault> {
    let stored = connection
        .query_row("SELECT key_fingerprint FROM host", [], |row| row.get::<_, String>(0))?;
    Ok(stored == fingerprint.to_string())
}

/// A database of an older form, as its agent left it.
#[cfg(test)]
pub(super) fn create_form(
    connection: &mut Connection,
    opening: &Opening<'_>,
    form: u32,
) -> Result<(), Fault> {
    let now = opening.ambient.now();
    let transaction = connection.transaction()?;
    advance(&transaction, (0, form), opening, now)?;
    settle_host(&transaction, opening, now)?;
    let scope = read_scope(&transaction, HostId::from_u128(0))?;
    audit::tests::append_first_form(&transaction, event(opening, &scope, (0, form), now), now);
    Ok(transaction.commit()?)
}
