//! Reaches the database server. Owns how a connection is made, what is prepared on it and how long
//! to wait before the next try. Face: `Server`, `Session`, `BackOff`. Never shows the password.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, MaybeDone, try_join_all};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Socket, Statement};

use super::fault::Fault;
use super::flush::{Calls, Owned};
use super::migrations::SCHEMA;
use super::statements::Sql;
use crate::base::limits::{STORE_BACK_OFF_FIRST, STORE_BACK_OFF_LONGEST, STORE_CONNECT_TIMEOUT};
use crate::base::{Entropy, Secret};

/// Where a database is, and as whom it is used.
#[derive(Debug, Clone)]
pub struct Server {
    /// The machine.
    pub host: Host,
    /// Its port; of a Unix socket, the number in its name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password; none where the server asks for none.
    pub password: Option<Secret<String>>,
    /// The database.
    pub database: String,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// On a Unix socket in this folder.
    Socket(PathBuf),
    /// On a network, by name or address. The connection is not encrypted.
    Network(String),
}

/// The place as people write it, without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, user, database, .. } = self;
        match &self.host {
            Host::Socket(folder) => {
                write!(f, "{database} (user {user}, socket {}/.s.PGSQL.{port})", folder.display())
            }
            Host::Network(name) => write!(f, "{database} (user {user}, {name}:{port})"),
        }
    }
}

impl Server {
    pub(super) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        match &self.host {
            Host::Socket(folder) => config.host_path(folder),
            Host::Network(name) => config.host(name),
        };
        config
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name("wharf")
            // Our tables are apart from everything else in the database.
            .options(format!("-c search_path={SCHEMA}"))
            .connect_timeout(STORE_CONNECT_TIMEOUT)
            .keepalives_idle(STORE_CONNECT_TIMEOUT);
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        config
    }
}

/// A connection as it comes, before anything was said on it.
pub(super) type Wire = tokio_postgres::Connection<Socket, NoTlsStream>;

/// Opens a connection. The wire must be polled for the client to get anywhere.
pub(super) async fn connect(server: &Server) -> Result<(Client, Wire), Fault> {
    let config = server.config();
    let connecting = config.connect(NoTls);
    match tokio::time::timeout(STORE_CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(Fault::Slow),
    }
}

/// The writer finds rows by their keys. A plan is made once per statement, perhaps while a table is
/// still empty, when reading all of it looks cheapest: it must not stay so when the table has grown.
const PLANNING: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/// What is bound to a mark.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

/// A connection on which every statement of the writer is prepared.
pub(super) struct Session {
    pub(super) client: Client,
    prepared: Vec<Statement>,
}

impl Session {
    /// Prepares all statements in one round trip.
    pub(super) async fn prepare(client: Client) -> Result<Self, Fault> {
        client.batch_execute(PLANNING).await?;
        let prepared = try_join_all(Sql::ALL.iter().map(|sql| client.prepare(sql.text()))).await?;
        Ok(Self { client, prepared })
    }

    /// The prepared statement.
    pub(super) fn of(&self, sql: Sql) -> &Statement {
        &self.prepared[sql as usize]
    }

    /// Everything that a statement finds.
    pub(super) async fn query(&self, sql: Sql, values: &[Value<'_>]) -> Result<Vec<Row>, Fault> {
        Ok(self.client.query(self.of(sql), values).await?)
    }

    /// The answers to statements that follow each other without waiting: one round trip. Begins a
    /// transaction before them, when asked to.
    pub(super) async fn ask(&self, calls: Calls, begins: bool) -> Result<Vec<Vec<Row>>, Fault> {
        let mut answers = Vec::with_capacity(calls.0.len() + 1);
        if begins {
            answers.push(self.say("BEGIN").boxed());
        }
        for (sql, values) in &calls.0 {
            answers.push(self.call(*sql, values).boxed());
        }
        let mut answers = in_order(answers).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        if begins {
            answers.remove(0);
        }
        Ok(answers)
    }

    /// The same with the end of the transaction after them: when one of them fails, the server
    /// takes the commit as a rollback.
    pub(super) async fn commit(&self, calls: Calls) -> Result<(), Fault> {
        let mut answers = Vec::with_capacity(calls.0.len() + 1);
        for (sql, values) in &calls.0 {
            answers.push(self.call(*sql, values).boxed());
        }
        answers.push(self.say("COMMIT").boxed());
        in_order(answers).await.into_iter().try_for_each(|answer| answer.map(drop))
    }

    async fn call(&self, sql: Sql, values: &[Owned]) -> Result<Vec<Row>, Fault> {
        let values: Vec<Value<'_>> = values.iter().map(|value| &**value as Value<'_>).collect();
        Ok(self.client.query(self.of(sql), &values).await?)
    }

    async fn say(&self, text: &'static str) -> Result<Vec<Row>, Fault> {
        self.client.batch_execute(text).await?;
        Ok(Vec::new())
    }
}

/// Polls futures in their order, so that what each sends leaves in that order, and waits for all.
async fn in_order<'a, T>(futures: Vec<BoxFuture<'a, T>>) -> Vec<T> {
    let mut futures: Vec<MaybeDone<BoxFuture<'a, T>>> =
        futures.into_iter().map(MaybeDone::Future).collect();
    poll_fn(|context| {
        let mut is_done = true;
        for future in &mut futures {
            is_done &= Pin::new(future).poll(context).is_ready();
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.iter_mut().filter_map(|future| Pin::new(future).take_output()).collect()
}

/// How long to wait before the next try to connect: each time longer, up to a bound, and never the
/// same for two agents, so that a server that comes back is not run over.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The pause after one more failure.
    pub(super) fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        let longest = STORE_BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        let longest = longest.min(STORE_BACK_OFF_LONGEST);
        let mut random = [0];
        entropy.fill(&mut random);
        longest / 2 + (longest / 2).mul_f64(f64::from(random[0]) / 255.0)
    }

    /// It went well: the next failure is the first again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entropy::SeededEntropy;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew() {
        let (mut back_off, entropy) = (BackOff::default(), SeededEntropy::new(1));
        let first = back_off.next(&entropy);
        assert!((STORE_BACK_OFF_FIRST / 2..=STORE_BACK_OFF_FIRST).contains(&first), "{first:?}");
        for _ in 0..40 {
            back_off.next(&entropy);
        }
        let late = back_off.next(&entropy);
        assert!((STORE_BACK_OFF_LONGEST / 2..=STORE_BACK_OFF_LONGEST).contains(&late), "{late:?}");
        back_off.reset();
        assert!(back_off.next(&entropy) <= STORE_BACK_OFF_FIRST);
    }

    #[test]
    fn the_place_is_said_without_the_password() {
        let server = Server {
            host: Host::Network("db.example".to_owned()),
            port: 5432,
            user: "wharf".to_owned(),
            password: Some("a secret".to_owned().into()),
            database: "queue".to_owned(),
        };
        assert_eq!(server.to_string(), "queue (user wharf, db.example:5432)");
        assert!(!format!("{server:?}").contains("a secret"));
    }
}
