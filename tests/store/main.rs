//! The store of real agent processes: backup under load, restore, move to PostgreSQL, each killed at
//! every crash point; an agent on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test's helper fails the test")]

mod backups;
mod moves;
mod on_postgres;
#[path = "../support/postgres.rs"]
mod postgres;
mod support;
