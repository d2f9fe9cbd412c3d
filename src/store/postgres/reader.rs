//! Reads. Owns the connections for it. Face: `Readers::rows`. Never tries to connect while the
//! writer knows that the server is away: callers wait for its return, for a bounded time.

use std::sync::Arc;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Timeouts};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::{NoTls, Row};

use super::fault::Fault;
use super::rows::bound;
use super::server::Server;
use super::writer::Link;
use crate::base::limits::{
    STORE_AWAY_WAIT, STORE_BACK_OFF_FIRST, STORE_CONNECT_TIMEOUT, STORE_TRANSACTION_TIMEOUT,
};
use crate::store::StoreError;
use crate::store::filter::Bound;

/// The reading connections.
pub(super) struct Readers {
    pool: Pool,
    link: Arc<Link>,
    place: String,
}

impl Readers {
    pub(super) fn new(
        server: &Server,
        connections_max: usize,
        link: Arc<Link>,
        place: &str,
    ) -> Result<Self, StoreError> {
        let recycling_method = RecyclingMethod::Fast;
        let manager =
            Manager::from_config(server.config(), NoTls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(connections_max)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(STORE_AWAY_WAIT),
                create: Some(STORE_CONNECT_TIMEOUT),
                recycle: Some(STORE_CONNECT_TIMEOUT),
            })
            .build();
        let place = place.to_owned();
        match pool {
            Ok(pool) => Ok(Self { pool, link, place }),
            Err(error) => Err(StoreError::Query { act: "be read", source: Box::new(error) }),
        }
    }

    /// Everything that a statement finds, read into records.
    pub(super) async fn rows<T>(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Bound],
        read: impl Fn(&Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, StoreError> {
        let found = self.query(sql, values).await;
        let read = found.and_then(|rows| rows.iter().map(read).collect());
        read.map_err(|fault| fault.into_store(&self.place, act))
    }

    /// The rows that a statement finds. A server that goes away meanwhile is asked again.
    pub(super) async fn query(&self, sql: &str, values: &[Bound]) -> Result<Vec<Row>, Fault> {
        let deadline = Instant::now() + STORE_AWAY_WAIT;
        loop {
            let mut is_up = self.link.is_up.subscribe();
            if timeout_at(deadline, is_up.wait_for(|is_up| *is_up)).await.is_err() {
                return Err(Fault::Slow);
            }
            match self.try_query(sql, values).await {
                // The writer notices too, and holds everybody until there is a connection again.
                Err(fault) if fault.is_away() && Instant::now() < deadline => {
                    sleep(STORE_BACK_OFF_FIRST).await;
                }
                told => return told,
            }
        }
    }

    async fn try_query(&self, sql: &str, values: &[Bound]) -> Result<Vec<Row>, Fault> {
        let connection = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Fault::Postgres(error),
            PoolError::Closed => Fault::Store(StoreError::Stopped),
            _ => Fault::Slow,
        })?;
        let asked = async {
            let statement = connection.prepare_cached(sql).await?;
            connection.query(&statement, &bound(values)).await
        };
        match timeout(STORE_TRANSACTION_TIMEOUT, asked).await {
            Ok(rows) => Ok(rows?),
            Err(_) => {
                // Whoever takes it next must not wait for this answer.
                drop(deadpool_postgres::Object::take(connection));
                Err(Fault::Slow)
            }
        }
    }

    /// Gives all connections back.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}
