//! The verbs around the agent's database: `store backup`, `store restore`, `store move`. Owns their
//! text. Face: `backup`, `offline`. Never calls a file a backup that was not read back.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;

use super::client::Client;
use super::exit::{CliError, Exit};
use super::grammar::{StoreBackup, StoreMove, StorePlant, StoreRestore, StoreVerb};
use super::output::{Output, Table};
use super::{agent_config, block_on};
use crate::base::chain;
use crate::base::limits::STORE_READERS_MAX;
use crate::daemon::config::{Config, Postgres, StorePlace};
use crate::daemon::planted::plant_findings as plant_findings_in;
use crate::daemon::transfers::{self, Draft, TransferFailure};
use crate::store::StoreError;
use crate::store::transfer::archive::Content;
use crate::store::transfer::{Landed, Moved, Progress, TransferError};

/// How many rows of one table come between two words of progress.
const PROGRESS_ROWS: u64 = 100_000;
/// How many bytes of a backup come between two such words.
const PROGRESS_BYTES: usize = 256 << 20;

/// `wharf store …`, as far as it needs no agent.
pub(super) fn offline(verb: StoreVerb, output: &mut Output) -> Result<Exit, CliError> {
    match verb {
        StoreVerb::Backup(StoreBackup { file, config }) => {
            // Without one, the agent that runs is asked.
            let Some(config) = config else { return Ok(Exit::Success) };
            let config = agent_config::read(&config)?;
            let progress = progress();
            let taken = transfers::backup(&config, &file, &progress);
            let content = block_on(async { taken.await.map_err(told) })?;
            print_backup(&file.display().to_string(), &content, output)
        }
        StoreVerb::Restore(restore) => restore_store(&restore, output),
        StoreVerb::Move(wanted) => move_store(wanted, output),
        StoreVerb::Plant(plant) => plant_findings(&plant, output),
    }
}

/// `wharf store plant`: rows that a backfill has something to do with.
fn plant_findings(wanted: &StorePlant, output: &mut Output) -> Result<Exit, CliError> {
    let config = agent_config::read(&wanted.config)?;
    let StorePlant { tenants, findings, .. } = *wanted;
    let planting = plant_findings_in(&config, tenants, findings);
    let legacy =
        block_on(async { planting.await.map_err(|error| told(TransferFailure::Run(error))) })?;
    let (complete, duplicates) = (tenants * legacy.complete(), tenants * legacy.duplicates());
    if output.is_json() {
        output.json(&serde_json::json!({
            "tenants": tenants,
            "findings": tenants * findings,
            "complete": complete,
            "duplicates": duplicates,
        }))?;
    } else {
        output.line(format!(
            "{} findings of {tenants} tenants, {complete} of them whole, {duplicates} the same as \
             another",
            tenants * findings
        ))?;
    }
    Ok(Exit::Success)
}

/// `wharf store backup FILE` of an agent that runs.
pub(super) async fn backup(
    client: &Client,
    backup: StoreBackup,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let response = client.stream("/v1/store/backup", None).await?;
    let mut draft = Draft::begin(&backup.file).map_err(told)?;
    let mut parts = response.bytes_stream();
    let mut received = 0;
    while let Some(part) = parts.next().await {
        let written = match part {
            Ok(bytes) => {
                let before = received;
                received += bytes.len();
                if before / PROGRESS_BYTES < received / PROGRESS_BYTES {
                    output.note(format!("{} MiB", received >> 20));
                }
                draft.write(&bytes).map_err(told)
            }
            Err(error) => {
                let message = format!("the backup broke off: {}", chain(&error));
                Err(CliError::new(Exit::Unreachable, message)
                    .hint("look at the agent's log, then try again"))
            }
        };
        if let Err(error) = written {
            draft.give_up();
            return Err(error);
        }
    }
    let content = draft.keep().map_err(told)?;
    print_backup(&backup.file.display().to_string(), &content, output)
}

fn print_backup(file: &str, content: &Content, output: &mut Output) -> Result<Exit, CliError> {
    if output.is_json() {
        output.json(&serde_json::json!({
            "file": file,
            "header": content.header,
            "tables": rows_json(&content.tables),
            "sha256": content.digest,
        }))?;
        return Ok(Exit::Success);
    }
    let rows: u64 = content.tables.iter().map(|(_, rows)| rows).sum();
    output.line(format!("{file}: {rows} rows, SHA-256 {}", content.digest))?;
    output.line("It holds no keys: keep a copy of `keys` in the state folder apart from it.")?;
    Ok(Exit::Success)
}

fn restore_store(restore: &StoreRestore, output: &mut Output) -> Result<Exit, CliError> {
    let config = agent_config::read(&restore.config)?;
    let progress = progress();
    let restoring = transfers::restore(&config, &restore.file, &progress);
    let (content, landed) = block_on(async { restoring.await.map_err(told) })?;
    if output.is_json() {
        output.json(&serde_json::json!({
            "header": content.header,
            "tables": rows_json(&landed.tables),
            "sha256": landed.digest,
            "audit": audit_json(&landed),
            "set_aside": landed.set_aside,
        }))?;
        return Ok(Exit::Success);
    }
    let Landed { audit_records, digest, .. } = &landed;
    output.line(format!(
        "restored {} rows as they were at {} (SHA-256 {digest})",
        landed.rows(),
        content.header.taken_at
    ))?;
    for found in &landed.audit_breaks {
        output.note(format!("warning: the audit log of the backup is not whole: {found}"));
    }
    if landed.audit_breaks.is_empty() {
        output.line(format!("audit log: {audit_records} records, verified"))?;
    }
    if let Some(aside) = &landed.set_aside {
        output.line(format!("the database before it is kept: {aside}"))?;
    }
    Ok(Exit::Success)
}

fn move_store(wanted: StoreMove, output: &mut Output) -> Result<Exit, CliError> {
    let config = agent_config::read(&wanted.config)?;
    let place = Postgres {
        host: wanted.host,
        port: wanted.port,
        database: wanted.database,
        user: wanted.user,
        password_file: wanted.password_file,
        readers: STORE_READERS_MAX,
    };
    check_sqlite(&config)?;
    let progress = progress();
    let moving = transfers::move_store(&config, &place, &progress);
    let moved = block_on(async { moving.await.map_err(told) })?;
    let setting = setting(&place);
    let mark = crate::store::transfer::moved::path(&config.state_dir).display().to_string();
    if output.is_json() {
        output.json(&serde_json::json!({
            "place": moved.place,
            "was_there": moved.landed.is_none(),
            "tables": moved.landed.as_ref().map(|landed| rows_json(&landed.tables)),
            "audit": {
                "records_before": moved.audit_records,
                "records_after": moved.landed.as_ref().map(|landed| landed.audit_records),
            },
            "setting": setting,
            "mark": mark,
        }))?;
        return Ok(Exit::Success);
    }
    print_moved(&moved, output)?;
    output.line("Write this into the configuration, then start the agent:\n")?;
    output.text(&setting)?;
    output.line(format!(
        "\nThe SQLite database stays as it is. {mark} keeps agents away from it: remove that file to \
         go back."
    ))?;
    Ok(Exit::Success)
}

fn print_moved(moved: &Moved, output: &mut Output) -> Result<(), CliError> {
    let Some(landed) = &moved.landed else {
        return output.line(format!("an earlier move had brought all to {}", moved.place));
    };
    let mut table = Table::new(&["TABLE", "ROWS"]);
    for (name, rows) in &landed.tables {
        table.row([name.clone(), rows.to_string()]);
    }
    output.text(&table.render())?;
    output.line(format!("\nmoved {} rows to {}", landed.rows(), moved.place))?;
    output.line(format!(
        "audit log: {} records before, {} there, both verified",
        moved.audit_records, landed.audit_records
    ))
}

fn check_sqlite(config: &Config) -> Result<(), CliError> {
    match config.store {
        StorePlace::Sqlite => Ok(()),
        StorePlace::Postgres(_) => Err(CliError::new(
            Exit::Usage,
            "the configuration names a PostgreSQL database: there is nothing to move",
        )
        .hint(
            "a move begins with `store: sqlite`; from PostgreSQL, use `store backup`, then `store \
             restore`",
        )),
    }
}

/// What the configuration has to say from now on.
fn setting(place: &Postgres) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut text = format!(
        "store:\n  postgres:\n    host: {}\n    port: {}\n    database: {}\n    user: {}\n",
        quoted(&place.host),
        place.port,
        quoted(&place.database),
        quoted(&place.user)
    );
    if let Some(path) = &place.password_file {
        text.push_str(&format!("    password_file: {}\n", quoted(&path.to_string_lossy())));
    }
    text
}

fn rows_json(tables: &[(String, u64)]) -> serde_json::Value {
    tables.iter().map(|(name, rows)| (name.clone(), serde_json::json!(rows))).collect()
}

fn audit_json(landed: &Landed) -> serde_json::Value {
    serde_json::json!({ "records": landed.audit_records, "breaks": landed.audit_breaks })
}

/// Says how far it is, when it takes long.
#[expect(clippy::print_stderr, reason = "progress is said beside the result, while it is made")]
fn progress() -> Progress {
    let said = Mutex::new(0);
    Arc::new(move |table, rows| {
        let Ok(mut said) = said.lock() else { return };
        let reached = rows / PROGRESS_ROWS;
        if reached > *said {
            eprintln!("{table}: {rows} rows");
        }
        *said = reached;
    })
}

/// What a failure means for the command.
fn told(failure: TransferFailure) -> CliError {
    use TransferError as E;
    let exit = match &failure {
        TransferFailure::Exists(_) => Exit::SystemFile,
        TransferFailure::Run(_) => Exit::Configuration,
        TransferFailure::Transfer(error) => match error {
            E::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            E::File { .. } => Exit::SystemFile,
            E::NoDatabase { .. } => Exit::NotFound,
            E::NoKey { .. } | E::OtherKey { .. } | E::OtherHost { .. } => Exit::Configuration,
            E::NoArchive
            | E::Damaged { .. }
            | E::Newer { .. }
            | E::ManyHosts(_)
            | E::Unfit { .. }
            | E::AuditBroken(_) => Exit::Data,
            E::NotEmpty { .. } | E::Store(StoreError::Moved { .. }) => Exit::Blocked,
            E::InUse { .. } | E::OldForm { .. } | E::Store(_) | E::BrokenOff => Exit::Unavailable,
        },
    };
    let error = CliError::new(exit, chain(&failure));
    match failure.hint() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
