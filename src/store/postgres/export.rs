//! Reads the whole database for a backup. Owns the snapshot: one transaction that only reads, on a
//! connection of its own. Face: `export`. Never makes a writer wait.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, IsolationLevel, Row as Found, Transaction};

use super::fault::Fault;
use super::migrations;
use super::rows::{parsed, text};
use super::server::{self, Server};
use crate::base::Timestamp;
use crate::base::limits::STORE_TRANSACTION_TIMEOUT;
use crate::store::transfer::{
    Batch, HOST_COLUMNS, HOSTS, Header, HostMark, NEWEST, Outlet, Part, Parts, Row, TABLES, Table,
    TableHead, TransferError, Value, archive, driven,
};

/// All records of all hosts as they are at one moment.
pub(in crate::store) fn export(server: Server, taken_at: Timestamp) -> Parts {
    driven(|outlet| async move {
        let place = server.to_string();
        let failed = |fault: Failure| fault.into_transfer(&place, "be read");
        let (mut client, wire) =
            server::connect(&server).await.map_err(|fault| failed(fault.into()))?;
        let read = tokio::select! {
            read = read_all(&mut client, &place, taken_at, &outlet) => read,
            ended = wire => Err(ended.err().map_or(Fault::Slow, Fault::Postgres).into()),
        };
        read.map_err(failed)
    })
}

/// What went wrong: with the database, or with what is carried.
#[derive(Debug)]
pub(super) enum Failure {
    Fault(Fault),
    Transfer(TransferError),
}

impl<E: Into<Fault>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl Failure {
    pub(super) fn into_transfer(self, place: &str, act: &'static str) -> TransferError {
        match self {
            Self::Transfer(error) => error,
            Self::Fault(fault) => fault.into_store(place, act).into(),
        }
    }
}

async fn read_all(
    client: &mut Client,
    place: &str,
    taken_at: Timestamp,
    outlet: &Outlet,
) -> Result<(), Failure> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    match migrations::form(&transaction, place).await? {
        found if found == NEWEST.postgres => {}
        _ => return Err(Failure::Transfer(TransferError::OldForm { place: place.to_owned() })),
    }
    let mut sender = Sender { encoder: archive::Encoder::default(), outlet };
    let mut hosts = Vec::new();
    let sql = "SELECT id, key_fingerprint FROM hosts ORDER BY id";
    for row in transaction.query(sql, &[]).await? {
        let (host_id, key_fingerprint) = (parsed(&row, 0, "host id")?, text(&row, 1)?);
        hosts.push(HostMark { host_id, key_fingerprint });
    }
    let header = Header {
        form: NEWEST.number,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        database: "postgres".to_owned(),
        taken_at,
        hosts,
    };
    sender.send(Part::Header(header)).await?;
    for table in TABLES {
        read_table(&transaction, table, &mut sender).await?;
    }
    let (_, digest) = sender.encoder.end().map_err(Failure::Transfer)?;
    let sent = outlet.send(Ok(Part::End(digest))).await;
    sent.map_err(|_| Failure::Transfer(TransferError::BrokenOff))
}

/// Sends parts, and follows the digest of them.
struct Sender<'a> {
    encoder: archive::Encoder,
    outlet: &'a Outlet,
}

impl Sender<'_> {
    async fn send(&mut self, part: Part) -> Result<(), Failure> {
        self.encoder.encode(&part).map_err(Failure::Transfer)?;
        let sent = self.outlet.send(Ok(part)).await;
        sent.map_err(|_| Failure::Transfer(TransferError::BrokenOff))
    }
}

async fn read_table(
    transaction: &Transaction<'_>,
    table: &Table,
    sender: &mut Sender<'_>,
) -> Result<(), Failure> {
    let columns: Vec<String> = match table.name {
        HOSTS => HOST_COLUMNS.iter().map(ToString::to_string).collect(),
        name => columns(transaction, name).await?.into_iter().map(|(name, _)| name).collect(),
    };
    let order = if table.is_of_host { "host_id, " } else { "" };
    let sql = format!(
        "SELECT \"{}\" FROM {} ORDER BY {order}{}",
        columns.join("\", \""),
        table.name,
        table.key
    );
    sender.send(Part::Table(TableHead { name: table.name.to_owned(), columns })).await?;
    let found = transaction.query_raw(&sql, Vec::<i64>::new());
    let found = timeout(STORE_TRANSACTION_TIMEOUT, found).await.map_err(|_| Fault::Slow)??;
    let mut found = pin!(found);
    let (mut batch, mut count) = (Batch::default(), 0);
    loop {
        let next = timeout(STORE_TRANSACTION_TIMEOUT, found.try_next()).await;
        let Some(row) = next.map_err(|_| Fault::Slow)?? else { break };
        count += 1;
        if let Some(full) = batch.add(values(&row)?) {
            sender.send(Part::Rows(full)).await?;
        }
    }
    if let Some(rest) = batch.take() {
        sender.send(Part::Rows(rest)).await?;
    }
    sender.send(Part::TableEnd(count)).await
}

/// The columns of a table with their types. Whose a row is comes first.
pub(super) async fn columns(
    transaction: &Transaction<'_>,
    table: &str,
) -> Result<Vec<(String, String)>, Fault> {
    let sql = "SELECT column_name::text, udt_name::text FROM information_schema.columns
        WHERE table_schema = 'wharf' AND table_name::text = $1::text
        ORDER BY CASE WHEN column_name = 'host_id' AND table_name::text <> ALL ($2::text[]) THEN 0 ELSE 1 END,
            ordinal_position";
    let shared: Vec<&str> =
        TABLES.iter().filter(|table| !table.is_of_host).map(|table| table.name).collect();
    let rows = transaction.query(sql, &[&table, &shared]).await?;
    rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?))).collect()
}

fn values(row: &Found) -> Result<Row, Fault> {
    let value = |index: usize| -> Result<Value, Fault> {
        Ok(match *row.columns()[index].type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map_or(Value::Null, Value::Integer),
            Type::TEXT => row.try_get::<_, Option<String>>(index)?.map_or(Value::Null, Value::Text),
            Type::BYTEA => {
                row.try_get::<_, Option<Vec<u8>>>(index)?.map_or(Value::Null, Value::Bytes)
            }
            ref other => return Err(Fault::unreadable("value", format!("it is a {other}"))),
        })
    };
    (0..row.len()).map(value).collect()
}
