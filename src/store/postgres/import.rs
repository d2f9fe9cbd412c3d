//! Takes the records of a backup, or of a SQLite database that moves here. Owns the one transaction
//! in which they come. Face: `restore`, `receive`, `arrived`. Never writes among records that are
//! there, and never removes them: they are set aside in a schema of their own.

use std::pin::pin;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::time::timeout;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{IsNull, ToSql, Type};
use tokio_postgres::{Client, Transaction};

use super::audit_keeping::{asked, page};
use super::export::{Failure, columns};
use super::fault::Fault;
use super::rows::bound;
use super::{Opening, migrations, server};
use crate::base::Digest;
use crate::base::ids::HostId;
use crate::base::limits::STORE_TRANSACTION_TIMEOUT;
use crate::domain::audit::EventType;
use crate::domain::audit::log::Proof;
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::VerifyingKey;
use crate::store::host;
use crate::store::transfer::{
    self, Form, HOST_COLUMNS, HOSTS, Header, Landed, Part, Parts, Progress, Reason, Row,
    TransferError, Value,
};

/// Puts a backup in the place of the database. What is there is set aside: its schema gets another
/// name.
///
/// # Errors
/// When agents use the database, the parts do not come to their end, are of other hosts, or cannot
/// be written. Nothing was changed then.
pub async fn restore(
    opening: &Opening,
    parts: Parts,
    progress: &Progress,
) -> Result<Landed, TransferError> {
    let _agent_lock = host::lock(&opening.state_dir)?;
    receive(opening, Reason::Restore, parts, progress).await
}

/// The same for the holder of the host's lock. A move needs an empty database.
pub(in crate::store) async fn receive(
    opening: &Opening,
    reason: Reason,
    parts: Parts,
    progress: &Progress,
) -> Result<Landed, TransferError> {
    on_connection(opening, async |client, place| {
        land(client, place, opening, reason, parts, progress).await
    })
    .await
}

/// Whether the records of this host have come here already, from a database whose audit log ends
/// with this record. Nothing is said when the database is empty.
///
/// # Errors
/// When it holds other records, or does not answer.
pub(in crate::store) async fn arrived(
    opening: &Opening,
    head: (u64, Digest),
) -> Result<bool, TransferError> {
    on_connection(opening, async |client, place| {
        let transaction = client.transaction().await?;
        // An earlier move may still be at its commit, after its connection was lost.
        in_time(migrations::take_turn(&transaction)).await?;
        if migrations::form(&transaction, place).await? == 0 {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM audit_events a JOIN audit_events b
            ON b.host_id = a.host_id AND b.seq = a.seq + 1
            WHERE a.host_id = $1 AND a.seq = $2 AND a.hash = $3 AND b.event_type = $4";
        let host = opening.host_id.to_string();
        let seq = i64::try_from(head.0).unwrap_or(i64::MAX);
        let (hash, moved) = (head.1.to_string(), EventType::StoreMoved.to_string());
        match transaction.query_opt(sql, &[&host, &seq, &hash, &moved]).await? {
            Some(_) => Ok(true),
            None => Err(Failure::Transfer(TransferError::NotEmpty { place: place.to_owned() })),
        }
    })
    .await
}

async fn on_connection<T>(
    opening: &Opening,
    act: impl AsyncFnOnce(&mut Client, &str) -> Result<T, Failure>,
) -> Result<T, TransferError> {
    let place = opening.server.to_string();
    let failed = |fault: Failure| fault.into_transfer(&place, "take the records");
    let (mut client, wire) =
        server::connect(&opening.server).await.map_err(|fault| failed(fault.into()))?;
    let done = tokio::select! {
        done = act(&mut client, &place) => done,
        ended = wire => Err(ended.err().map_or(Fault::Slow, Fault::Postgres).into()),
    };
    done.map_err(failed)
}

/// What does not end in time is lost.
async fn in_time<T, E: Into<Fault>>(
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, Fault> {
    match timeout(STORE_TRANSACTION_TIMEOUT, future).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Fault::Slow),
    }
}

async fn land(
    client: &mut Client,
    place: &str,
    opening: &Opening,
    reason: Reason,
    mut parts: Parts,
    progress: &Progress,
) -> Result<Landed, Failure> {
    let Some(Part::Header(header)) = parts.next().await.transpose().map_err(Failure::Transfer)?
    else {
        return Err(Failure::Transfer(TransferError::BrokenOff));
    };
    let form = transfer::form(header.form).map_err(Failure::Transfer)?;
    transfer::check_host(&header, opening.host_id, opening.keys.fingerprint())
        .map_err(Failure::Transfer)?;
    let transaction = client.transaction().await?;
    in_time(migrations::take_turn(&transaction)).await?;
    let set_aside = in_time_failing(make_room(&transaction, place, opening, reason)).await?;
    let now = opening.ambient.now();
    in_time(migrations::advance(&transaction, (0, form.postgres), opening, now)).await?;
    transaction.batch_execute("SET CONSTRAINTS ALL DEFERRED").await?;
    let (tables, digest) = load(&transaction, &mut parts, progress).await?;
    in_time(bring_forward(&transaction, form, opening)).await?;
    let audit_breaks = prove(&transaction, &header, opening).await?;
    if reason == Reason::Move && !audit_breaks.is_empty() {
        return Err(Failure::Transfer(TransferError::AuditBroken(audit_breaks)));
    }
    write_down(&transaction, opening, (reason, &header, digest)).await?;
    opening.ambient.crash_points.reached("store.commit.before");
    in_time(transaction.commit()).await?;
    opening.ambient.crash_points.reached("store.commit.after");
    let audit_records = transfer::audit_records(&tables);
    Ok(Landed { tables, digest, audit_records, audit_breaks, set_aside })
}

async fn in_time_failing<T>(
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(STORE_TRANSACTION_TIMEOUT, future).await.map_err(|_| Fault::Slow)?
}

/// Sets aside what is there; the answer is its new name.
async fn make_room(
    transaction: &Transaction<'_>,
    place: &str,
    opening: &Opening,
    reason: Reason,
) -> Result<Option<String>, Failure> {
    if migrations::form(transaction, place).await? == 0 {
        return Ok(None);
    }
    let place = place.to_owned();
    if reason == Reason::Move {
        return Err(Failure::Transfer(TransferError::NotEmpty { place }));
    }
    // Who connects from here on waits, and finds the new tables.
    transaction.batch_execute("LOCK TABLE hosts IN ACCESS EXCLUSIVE MODE").await?;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'wharf' AND pid <> pg_backend_pid()";
    let connections: i64 = transaction.query_one(sql, &[]).await?.try_get(0)?;
    if connections > 0 {
        return Err(Failure::Transfer(TransferError::InUse { place, connections }));
    }
    let at = opening.ambient.now().strftime("%Y%m%dt%H%M%S_%6f").to_string();
    let aside = format!("{}_before_{at}", migrations::SCHEMA);
    transaction
        .batch_execute(&format!("ALTER SCHEMA {} RENAME TO {aside}", migrations::SCHEMA))
        .await?;
    Ok(Some(format!("schema {aside} of {place}")))
}

async fn load(
    transaction: &Transaction<'_>,
    parts: &mut Parts,
    progress: &Progress,
) -> Result<(Vec<(String, u64)>, Digest), Failure> {
    let broken_off = || Failure::Transfer(TransferError::BrokenOff);
    let mut tables: Vec<(String, u64)> = Vec::new();
    let mut copy = Copy { sql: String::new(), types: Vec::new() };
    loop {
        let part = parts.next().await.transpose().map_err(Failure::Transfer)?;
        match part.ok_or_else(broken_off)? {
            Part::Table(head) => {
                copy = Copy::into(transaction, &head.name, &head.columns).await?;
                tables.push((head.name, 0));
            }
            Part::Rows(rows) => {
                let (name, count) = tables.last_mut().ok_or_else(broken_off)?;
                in_time(copy.write(transaction, name, &rows)).await?;
                *count += rows.len() as u64;
                progress(name, *count);
            }
            Part::TableEnd(_) | Part::Header(_) => {}
            Part::End(digest) => return Ok((tables, digest)),
        }
    }
}

/// How rows get into a table.
struct Copy {
    sql: String,
    types: Vec<Type>,
}

impl Copy {
    async fn into(
        transaction: &Transaction<'_>,
        table: &str,
        wanted: &[String],
    ) -> Result<Self, Failure> {
        let unfit = |reason: &str| {
            let (table, reason) = (table.to_owned(), reason.to_owned());
            Failure::Transfer(TransferError::Unfit { table, reason })
        };
        if transfer::table(table).is_none() {
            return Err(unfit("there is no such table"));
        }
        let here = columns(transaction, table).await?;
        let mut names: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let kept = |name: &str| table != HOSTS || HOST_COLUMNS.contains(&name);
        let mut own: Vec<&str> =
            here.iter().map(|(name, _)| name.as_str()).filter(|name| kept(name)).collect();
        own.sort_unstable();
        names.sort_unstable();
        if own != names {
            return Err(unfit("its columns are others"));
        }
        let mut types = Vec::new();
        let mut list: Vec<&str> = wanted.iter().map(String::as_str).collect();
        if table == HOSTS {
            list.push("batch");
        }
        for name in &list {
            let found = here.iter().find(|(own, _)| own == name).map(|(_, kind)| kind.as_str());
            types.push(match found {
                Some("int8") => Type::INT8,
                Some("text") => Type::TEXT,
                Some("bytea") => Type::BYTEA,
                _ => return Err(unfit("a column has a type that is not carried")),
            });
        }
        let sql = format!("COPY {table} (\"{}\") FROM STDIN BINARY", list.join("\", \""));
        Ok(Self { sql, types })
    }

    /// One statement for each batch: what the triggers and references have to look at is bounded.
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        table: &str,
        rows: &[Row],
    ) -> Result<(), Fault> {
        let sink = transaction.copy_in(&self.sql).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &self.types));
        let batch = Value::Integer(0);
        for row in rows {
            let more = (table == HOSTS).then_some(&batch);
            let values: Vec<&(dyn ToSql + Sync)> =
                row.iter().chain(more).map(|value| value as _).collect();
            writer.as_mut().write(&values).await?;
        }
        writer.finish().await?;
        Ok(())
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Integer(number), &Type::INT8) => number.to_sql(ty, out),
            (Self::Text(text), &Type::TEXT) => text.to_sql(ty, out),
            (Self::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(ty, out),
            _ => Err(format!("a value does not fit a column of type {ty}").into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    tokio_postgres::types::to_sql_checked!();
}

/// Follows the audit logs of all hosts, as they are in this database now.
async fn prove(
    transaction: &Transaction<'_>,
    header: &Header,
    opening: &Opening,
) -> Result<Vec<String>, Failure> {
    let mut breaks = Vec::new();
    for host in header.hosts.iter().map(|mark: &transfer::HostMark| mark.host_id) {
        let mut keys = vec![opening.keys.audit().public()];
        if host != opening.host_id {
            // Their keys are not here: what is believed is what the database says itself.
            let sql = "SELECT public_key FROM audit_keys WHERE host_id = $1";
            for row in transaction.query(sql, &[&host.to_string()]).await? {
                let key = VerifyingKey::try_from(row.try_get::<_, String>(0)?);
                keys.extend(key);
            }
        }
        let verdict = prove_host(transaction, host, Proof::new(host, keys, Vec::new())).await?;
        breaks.extend(verdict.breaks.iter().map(|found| format!("host {host}: {found}")));
    }
    Ok(breaks)
}

async fn prove_host(
    transaction: &Transaction<'_>,
    host: HostId,
    mut proof: Proof,
) -> Result<Verdict, Fault> {
    let mut after = None;
    loop {
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        for (rows, (sql, values)) in found.iter_mut().zip(asked(&host.to_string(), after)) {
            *rows = in_time(transaction.query(sql.text(), &bound(&values))).await?;
        }
        let page = page(after, found)?;
        for entry in &page.entries {
            proof.take(entry);
        }
        after = page.next;
        if after.is_none() {
            return Ok(proof.finish());
        }
    }
}

/// Brings the records to the newest form.
async fn bring_forward(
    transaction: &Transaction<'_>,
    form: Form,
    opening: &Opening,
) -> Result<(), Fault> {
    let (newest, now) = (transfer::NEWEST.postgres, opening.ambient.now());
    if form.postgres != newest {
        // A table whose rows are still to be checked cannot be altered.
        transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
    }
    migrations::advance(transaction, (form.postgres, newest), opening, now).await
}

/// Adds to the host's log what happened.
async fn write_down(
    transaction: &Transaction<'_>,
    opening: &Opening,
    (reason, header, digest): (Reason, &Header, Digest),
) -> Result<(), Failure> {
    let (scope, _) = migrations::read_scope(transaction, opening.host_id).await?;
    let about = (&scope, &opening.ambient, opening.os_user.as_str(), "postgres");
    let event = transfer::event(reason, header, digest, about);
    migrations::append(transaction, &event, opening.host_id, &opening.ambient).await?;
    Ok(())
}
