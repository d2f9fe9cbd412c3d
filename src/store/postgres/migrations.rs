//! Brings a database to the form that this program knows. Owns the numbered migrations, each with
//! its checksum, and the schema they live in. Face: `migrate`, `advance`, `SCHEMA`. Never touches a database
//! that a newer program has written, and never lets two agents bring it forward at once.

use std::path::PathBuf;

use tokio_postgres::{Client, Transaction};

use super::Opening;
use super::audit::{Entries, Head};
use super::fault::Fault;
use super::flush::Calls;
use super::rows::{nanos, parsed, text, unsigned};
use super::server::Value;
use super::statements::Sql;
use crate::base::ids::{EventId, HostId, TenantId, UserId, WorkspaceId};
use crate::base::{Ambient, Digest, Timestamp};
use crate::domain::audit::chain::GENESIS;
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::store::{Migrated, Scope, StoreError};

/// Where our tables are: apart from everything else in the database.
pub(super) const SCHEMA: &str = "wharf";

/// Agents that start at once take turns by this number: `whrf`.
const TURN: i64 = 0x7768_7266;

pub(super) struct Migration {
    pub(super) number: u32,
    pub(super) sql: &'static str,
}

/// All forms of the database, first first. A released one is never edited; the checksum tells.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, sql: include_str!("../sql/postgres/0001_initial.sql") },
    Migration { number: 2, sql: include_str!("../sql/postgres/0002_runbooks_and_findings.sql") },
    Migration { number: 3, sql: include_str!("../sql/postgres/0003_audit_proof.sql") },
    Migration { number: 4, sql: include_str!("../sql/postgres/0004_access.sql") },
    Migration { number: 5, sql: include_str!("../sql/postgres/0005_registries.sql") },
    Migration { number: 6, sql: include_str!("../sql/postgres/0006_lifecycle_of_findings.sql") },
    Migration { number: 7, sql: include_str!("../sql/postgres/0007_enforcement.sql") },
    Migration { number: 8, sql: include_str!("../sql/postgres/0008_image_scans.sql") },
];

/// The form that this program works with.
pub(super) const NEWEST: u32 = MIGRATIONS[MIGRATIONS.len() - 1].number;

const LEDGER: &str = "CREATE SCHEMA wharf;
    CREATE TABLE migrations (
        number        BIGINT PRIMARY KEY,
        checksum      TEXT NOT NULL,
        agent_version TEXT NOT NULL,
        applied_at    BIGINT NOT NULL
    )";

/// Brings the database to the newest form and makes this host known to it, in one transaction
/// with the event that says so.
pub(super) async fn migrate(
    client: &mut Client,
    place: &str,
    opening: &Opening,
) -> Result<(Migrated, Scope), Fault> {
    let transaction = client.transaction().await?;
    take_turn(&transaction).await?;
    let found = form(&transaction, place).await?;
    if found > NEWEST {
        return Err(StoreError::Newer { path: place.into(), found, known: NEWEST }.into());
    }
    if found > 0 {
        check_ledger(&transaction, place, found).await?;
    }
    let now = opening.ambient.now();
    advance(&transaction, (found, NEWEST), opening, now).await?;
    let is_new = !is_known(&transaction, opening.host_id).await?;
    if is_new {
        settle_host(&transaction, opening, now).await?;
    }
    let (scope, fingerprint) = read_scope(&transaction, opening.host_id).await?;
    if fingerprint != opening.keys.fingerprint().to_string() {
        return Err(StoreError::WrongKey { path: opening.keys.path().to_owned() }.into());
    }
    let migrated = match found {
        0 => Migrated::Created,
        NEWEST if is_new => Migrated::Joined,
        NEWEST => return Ok((Migrated::Nothing, scope)),
        from => Migrated::Upgraded { from, to: NEWEST },
    };
    let event = event(opening, &scope, &migrated, now);
    append(&transaction, &event, opening.host_id, &opening.ambient).await?;
    opening.ambient.crash_points.reached("store.commit.before");
    transaction.commit().await?;
    opening.ambient.crash_points.reached("store.commit.after");
    Ok((migrated, scope))
}

/// Waits for the others that want to change the form. It is our turn until the transaction ends; who
/// waited for it finds the newest form.
pub(super) async fn take_turn(transaction: &Transaction<'_>) -> Result<(), Fault> {
    transaction.query("SELECT pg_advisory_xact_lock($1)", &[&TURN]).await?;
    Ok(())
}

/// Executes the statements between two forms; 0 is a database that knows nothing of us.
pub(super) async fn advance(
    transaction: &Transaction<'_>,
    (from, to): (u32, u32),
    opening: &Opening,
    now: Timestamp,
) -> Result<(), Fault> {
    if from == 0 {
        transaction.batch_execute(LEDGER).await?;
    }
    let wanted = |migration: &&Migration| migration.number > from && migration.number <= to;
    for migration in MIGRATIONS.iter().filter(wanted) {
        apply(transaction, migration, opening, now).await?;
    }
    Ok(())
}

/// The form that the database has; 0 when it knows nothing of us.
pub(super) async fn form(transaction: &Transaction<'_>, place: &str) -> Result<u32, Fault> {
    let sql = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'wharf'),
        (SELECT count(*) FROM information_schema.columns WHERE table_schema = 'wharf'
            AND table_name = 'migrations' AND column_name IN ('number', 'checksum'))";
    let row = transaction.query_one(sql, &[]).await?;
    match (unsigned(&row, 0)?, unsigned(&row, 1)?) {
        (0, _) => Ok(0),
        (_, 2) => {
            let row = transaction
                .query_one("SELECT coalesce(max(number), 0) FROM migrations", &[])
                .await?;
            super::rows::small(&row, 0)
        }
        _ => {
            let said = format!("its schema `{SCHEMA}` belongs to another program");
            let path = PathBuf::from(place);
            Err(StoreError::Corrupt { path, source: said.into() }.into())
        }
    }
}

/// Compares what was applied with what this program would have applied.
async fn check_ledger(transaction: &Transaction<'_>, place: &str, form: u32) -> Result<(), Fault> {
    let rows = transaction.query("SELECT number, checksum FROM migrations", &[]).await?;
    let mut applied = std::collections::BTreeMap::new();
    for row in &rows {
        applied.insert(super::rows::small(row, 0)?, text(row, 1)?);
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.number <= form) {
        let wanted = Digest::of(migration.sql.as_bytes()).to_string();
        if applied.get(&migration.number) != Some(&wanted) {
            let number = migration.number;
            return Err(StoreError::MigrationChanged { path: place.into(), number }.into());
        }
    }
    Ok(())
}

async fn apply(
    transaction: &Transaction<'_>,
    migration: &Migration,
    opening: &Opening,
    now: Timestamp,
) -> Result<(), Fault> {
    transaction.batch_execute(migration.sql).await?;
    transaction
        .execute(
            "INSERT INTO migrations (number, checksum, agent_version, applied_at)
             VALUES ($1, $2, $3, $4)",
            &[
                &i64::from(migration.number),
                &Digest::of(migration.sql.as_bytes()).to_string(),
                &opening.agent_version,
                &nanos(now),
            ],
        )
        .await?;
    Ok(())
}

async fn is_known(transaction: &Transaction<'_>, host_id: HostId) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM hosts WHERE id = $1";
    Ok(transaction.query_opt(sql, &[&host_id.to_string()]).await?.is_some())
}

/// Creates what a host needs so that nobody has to think about workspaces. The first host makes
/// the workspace that all share, with the platform's; each has a tenant of its own in it.
async fn settle_host(
    transaction: &Transaction<'_>,
    opening: &Opening,
    now: Timestamp,
) -> Result<(), Fault> {
    let (clock, entropy) = (&*opening.ambient.clock, &*opening.ambient.entropy);
    let at = nanos(now);
    let sql = "SELECT id FROM workspaces WHERE is_platform = 0 ORDER BY created_at, id LIMIT 1";
    let workspace = match transaction.query_opt(sql, &[]).await? {
        Some(row) => text(&row, 0)?,
        None => {
            let id = WorkspaceId::generate(clock, entropy).to_string();
            insert_workspace(transaction, &id, "default", 0, at).await?;
            let platform = WorkspaceId::generate(clock, entropy).to_string();
            insert_workspace(transaction, &platform, "platform", 1, at).await?;
            insert_tenant(transaction, opening, &platform, at).await?;
            let operator = UserId::generate(clock, entropy).to_string();
            insert_user(transaction, &operator, &opening.os_user, "platform", at).await?;
            id
        }
    };
    let tenant = insert_tenant(transaction, opening, &workspace, at).await?;
    let owner = UserId::generate(clock, entropy).to_string();
    insert_user(transaction, &owner, &opening.os_user, "member", at).await?;
    transaction
        .execute(
            "INSERT INTO memberships (workspace_id, user_id, role) VALUES ($1, $2, 'owner')",
            &[&workspace, &owner],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO hosts (id, workspace_id, tenant_id, owner_id, key_fingerprint, batch)
             VALUES ($1, $2, $3, $4, $5, 0)",
            &[
                &opening.host_id.to_string(),
                &workspace,
                &tenant,
                &owner,
                &opening.keys.fingerprint().to_string(),
            ],
        )
        .await?;
    Ok(())
}

async fn insert_workspace(
    transaction: &Transaction<'_>,
    id: &str,
    name: &str,
    is_platform: i64,
    at: i64,
) -> Result<(), Fault> {
    let sql = "INSERT INTO workspaces (id, name, is_platform, created_at) VALUES ($1, $2, $3, $4)";
    transaction.execute(sql, &[&id, &name, &is_platform, &at]).await?;
    Ok(())
}

async fn insert_tenant(
    transaction: &Transaction<'_>,
    opening: &Opening,
    workspace: &str,
    at: i64,
) -> Result<String, Fault> {
    let id = TenantId::generate(&*opening.ambient.clock, &*opening.ambient.entropy).to_string();
    let sql = "INSERT INTO tenants (id, workspace_id, name, status, stage, created_at)
               VALUES ($1, $2, $3, 'active', 'production', $4)";
    transaction.execute(sql, &[&id, &workspace, &opening.hostname, &at]).await?;
    Ok(id)
}

async fn insert_user(
    transaction: &Transaction<'_>,
    id: &str,
    name: &str,
    kind: &str,
    at: i64,
) -> Result<(), Fault> {
    let sql = "INSERT INTO users (id, name, kind, is_break_glass, created_at)
               VALUES ($1, $2, $3, 0, $4)";
    transaction.execute(sql, &[&id, &name, &kind, &at]).await?;
    Ok(())
}

/// The scope of a host, and the fingerprint of its key.
pub(super) async fn read_scope(
    transaction: &Transaction<'_>,
    host_id: HostId,
) -> Result<(Scope, String), Fault> {
    let row = transaction.query_one(Sql::Host.text(), &[&host_id.to_string()]).await?;
    let scope = Scope {
        workspace_id: parsed(&row, 0, "workspace id")?,
        tenant_id: parsed(&row, 1, "tenant id")?,
        owner_id: parsed(&row, 2, "user id")?,
        owner_name: text(&row, 3)?,
        host_id,
    };
    Ok((scope, text(&row, 4)?))
}

/// Adds one event to the host's chain.
pub(super) async fn append(
    transaction: &Transaction<'_>,
    event: &AuditEvent,
    host_id: HostId,
    ambient: &Ambient,
) -> Result<(), Fault> {
    let host = host_id.to_string();
    let head = match transaction.query_opt(Sql::AuditHead.text(), &[&host]).await? {
        Some(row) => Head { seq: unsigned(&row, 0)?, hash: super::rows::digest(row.try_get(1)?)? },
        None => Head { seq: 0, hash: GENESIS },
    };
    let mut entries = Entries::default();
    entries.add(head, event, ambient)?;
    let mut calls = Calls::default();
    entries.write(&mut calls, &host);
    for (sql, values) in &calls.0 {
        let values: Vec<Value<'_>> = values.iter().map(|value| &**value as Value<'_>).collect();
        transaction.execute(sql.text(), &values).await?;
    }
    Ok(())
}

fn event(opening: &Opening, scope: &Scope, migrated: &Migrated, now: Timestamp) -> AuditEvent {
    let (event_type, summary) = match migrated {
        Migrated::Created if opening.keys.created() => {
            (EventType::StoreCreated, "A new database was created".to_owned())
        }
        Migrated::Created => (
            EventType::StoreCreated,
            "A new database was created: an earlier one is gone, and its history with it"
                .to_owned(),
        ),
        Migrated::Joined | Migrated::Nothing => {
            (EventType::StoreJoined, format!("Host {} joined the database", opening.hostname))
        }
        Migrated::Upgraded { from, to } => (
            EventType::StoreUpgraded,
            format!("The database was brought from form {from} to form {to}"),
        ),
    };
    let from_version = match migrated {
        Migrated::Upgraded { from, .. } => Some(from.to_string()),
        _ => None,
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
            target_id: "postgres".to_owned(),
            target_label: "database".to_owned(),
            workspace_id: scope.workspace_id,
            tenant_id: None,
        }),
        operation_run_id: None,
        context: EventContext {
            from_version,
            to_version: Some(NEWEST.to_string()),
            ..EventContext::default()
        },
        occurred_at: now,
    }
}
