//! Writes. Owns the one connection that may, on a thread of its own, and the group commit. Face:
//! `Writer::run`, `Job`, `Link`. Never answers a caller before what he asked for is durable, and
//! never makes a change twice: a commit whose answer was lost is looked up on the next connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use super::batch::{self, Told, Work};
use super::fault::Fault;
use super::news::{self, News, Topic};
use super::server::{BackOff, Server, Session, Wire, connect};
use super::statements::Sql;
use crate::base::ids::HostId;
use crate::base::limits::{STORE_AWAY_WAIT, STORE_BATCH_MAX, STORE_TRANSACTION_TIMEOUT};
use crate::base::{Ambient, chain};
use crate::store::company::Company;
use crate::store::{CommitObserver, StoreError};

/// The channel on which agents of one database tell each other where to look.
pub(super) const CHANNEL: &str = "wharf_work";

/// How often a caller is tried again alone whose rows another agent changes at the same moment.
const COLLISIONS_MAX: u32 = 5;

/// Who is told when his change is durable, or why not.
pub(super) type Reply = oneshot::Sender<Result<Told, StoreError>>;

/// What one caller wants written: all of it or nothing.
pub(super) struct Job {
    /// What it does, for the error.
    pub(super) act: &'static str,
    /// The change.
    pub(super) work: Work,
    /// The caller.
    pub(super) reply: Reply,
    /// Since when he waits.
    pub(super) since: Instant,
}

/// How the connection stands, for those who read.
pub(super) struct Link {
    /// Whether the server answered last.
    pub(super) is_up: watch::Sender<bool>,
    /// What other agents told.
    pub(super) news: watch::Sender<News>,
    /// How often a connection was tried.
    pub(super) tries: AtomicU64,
}

impl Link {
    pub(super) fn new() -> Arc<Self> {
        let (is_up, _) = watch::channel(false);
        let (news, _) = watch::channel(News::default());
        Arc::new(Self { is_up, news, tries: AtomicU64::new(0) })
    }
}

/// The writer, between its connections.
pub(super) struct Writer {
    pub(super) server: Arc<Server>,
    pub(super) place: String,
    pub(super) host_id: HostId,
    pub(super) ambient: Ambient,
    pub(super) link: Arc<Link>,
    /// Hears of every commit.
    pub(super) on_commit: Option<CommitObserver>,
    /// Callers whose change is under way.
    pub(super) flight: Vec<Job>,
    /// What they are to be told, once a commit was sent whose answer is missing.
    pub(super) sent: Option<Sent>,
}

/// A commit whose answer did not come yet.
pub(super) struct Sent {
    /// The number that the database then has in the host's row.
    pub(super) batch: i64,
    /// What each caller is told when it was made.
    pub(super) told: Vec<Result<Told, StoreError>>,
}

impl Writer {
    /// Serves callers until the last one is gone.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut back_off = BackOff::default();
        loop {
            let lost = match self.live(&mut jobs, &mut back_off).await {
                Ok(()) => return,
                Err(fault) => fault,
            };
            self.link.is_up.send_replace(false);
            let error = lost.into_store(&self.place, "be reached");
            let pause = back_off.next(&*self.ambient.entropy);
            tracing::warn!(
                error = %chain(&error),
                tries = self.link.tries.load(Ordering::Relaxed),
                ?pause,
                "the database is away"
            );
            if !self.hold(&mut jobs, &error, pause).await {
                return;
            }
        }
    }

    /// Lives on one connection, until it or the store ends.
    async fn live(
        &mut self,
        jobs: &mut mpsc::Receiver<Job>,
        back_off: &mut BackOff,
    ) -> Result<(), Fault> {
        self.link.tries.fetch_add(1, Ordering::Relaxed);
        let (client, wire) = connect(&self.server).await?;
        let ended = CancellationToken::new();
        let (link, host_id) = (Arc::clone(&self.link), self.host_id);
        let serve = async {
            let begin = async {
                let session = Session::prepare(client).await?;
                let state = batch::State::begin(&session, self.host_id, &self.place).await?;
                Ok::<_, Fault>((session, state))
            };
            let begun = timeout(STORE_TRANSACTION_TIMEOUT, begin).await;
            let (session, mut state) = begun.map_err(|_| Fault::Slow)??;
            self.settle(&state);
            back_off.reset();
            self.link.is_up.send_replace(true);
            // Nobody listened until now: whatever was told meanwhile is looked for.
            self.link.news.send_modify(|news| news.add(&Topic::ALL.into()));
            self.serve(&session, &mut state, jobs, &ended).await
        };
        tokio::select! {
            served = serve => served,
            () = pump(wire, &link, host_id, &ended) => Err(Fault::Slow),
        }
    }

    /// Tells those whose commit was sent on the last connection whether it was made; the others
    /// are served again.
    fn settle(&mut self, state: &batch::State) {
        if let Some(sent) = self.sent.take()
            && sent.batch == state.batch
        {
            for (job, told) in self.flight.drain(..).zip(sent.told) {
                let _ = job.reply.send(told);
            }
        }
    }

    /// Serves callers. Whoever waits while a commit is under way shares the next one: the cost of
    /// a commit is the disk's and the network's, not the number of changes. A lone caller waits
    /// for nobody.
    async fn serve(
        &mut self,
        session: &Session,
        state: &mut batch::State,
        jobs: &mut mpsc::Receiver<Job>,
        ended: &CancellationToken,
    ) -> Result<(), Fault> {
        let mut company = Company::default();
        loop {
            if self.flight.is_empty() {
                tokio::select! {
                    job = jobs.recv() => match job {
                        Some(job) => self.flight.push(job),
                        None => return Ok(()),
                    },
                    () = ended.cancelled() => return Err(Fault::Slow),
                }
            }
            self.gather(jobs, &company).await;
            let (served, begun) = (self.flight.len(), Instant::now());
            if self.flight.len() > 1 && self.flight.iter().any(|job| job.work.is_alone()) {
                self.one_by_one(session, state).await?;
                continue;
            }
            match self.transact(session, state).await {
                Ok(()) => {}
                Err(fault) if fault.is_away() => return Err(fault),
                Err(_) => self.one_by_one(session, state).await?,
            }
            company.served(served, begun.elapsed(), jobs.len());
        }
    }

    /// Adds who waits, and for a moment those who were served last and are on their way back.
    async fn gather(&mut self, jobs: &mut mpsc::Receiver<Job>, company: &Company) {
        let begun = Instant::now();
        while self.flight.len() < STORE_BATCH_MAX {
            if let Ok(job) = jobs.try_recv() {
                self.flight.push(job);
                continue;
            }
            let Some(patience) = company.patience(self.flight.len()) else { return };
            let Ok(Some(job)) = timeout_at(begun + patience, jobs.recv()).await else { return };
            self.flight.push(job);
        }
    }

    /// One transaction for all callers under way.
    async fn transact(&mut self, session: &Session, state: &mut batch::State) -> Result<(), Fault> {
        let before = state.batch;
        let works: Vec<&Work> = self.flight.iter().map(|job| &job.work).collect();
        let transaction = batch::execute(session, state, &works, &self.ambient, &mut self.sent);
        let done = timeout(STORE_TRANSACTION_TIMEOUT, transaction).await;
        let (told, topics) = done.map_err(|_| Fault::Slow)??;
        if let Some(observer) = &self.on_commit
            && state.batch != before
        {
            observer(works.len());
        }
        for (job, told) in self.flight.drain(..).zip(told) {
            // A caller that went away does not want to know.
            let _ = job.reply.send(told);
        }
        if !topics.is_empty() {
            notify(session, news::said(&self.host_id.to_string(), &topics));
        }
        Ok(())
    }

    /// Each caller in a transaction of his own, after one of all failed: whoever is the cause takes
    /// nobody with him.
    async fn one_by_one(
        &mut self,
        session: &Session,
        state: &mut batch::State,
    ) -> Result<(), Fault> {
        let mut rest = std::mem::take(&mut self.flight);
        rest.reverse();
        let mut collisions = 0;
        while let Some(job) = rest.pop() {
            let act = job.act;
            self.flight.push(job);
            let done = self.transact(session, state).await;
            let Err(fault) = done else {
                collisions = 0;
                continue;
            };
            if fault.is_away() {
                rest.reverse();
                self.flight.append(&mut rest);
                return Err(fault);
            }
            collisions += 1;
            if fault.is_collision() && collisions <= COLLISIONS_MAX {
                rest.append(&mut self.flight);
                continue;
            }
            collisions = 0;
            for job in self.flight.drain(..) {
                let _ = job.reply.send(Err(fault.told(&self.place, act)));
            }
        }
        Ok(())
    }

    /// Holds callers while the server is away: each for a bounded time. Returns false when the last
    /// one is gone.
    async fn hold(
        &mut self,
        jobs: &mut mpsc::Receiver<Job>,
        error: &StoreError,
        pause: Duration,
    ) -> bool {
        let until = Instant::now() + pause;
        loop {
            let now = Instant::now();
            // What was sent and is in doubt stays together: its answers belong to its callers.
            if self.flight.iter().all(|job| job.since + STORE_AWAY_WAIT <= now) {
                self.sent = None;
                self.dismiss(error, |_| true);
            } else if self.sent.is_none() {
                self.dismiss(error, |job| job.since + STORE_AWAY_WAIT <= now);
            }
            if now >= until {
                return true;
            }
            let room = self.sent.is_none() && self.flight.len() < STORE_BATCH_MAX;
            let first = self.flight.iter().map(|job| job.since + STORE_AWAY_WAIT).min();
            let wake = first.filter(|at| *at > now).map_or(until, |at| at.min(until));
            tokio::select! {
                job = jobs.recv(), if room => match job {
                    Some(job) => self.flight.push(job),
                    None => {
                        self.dismiss(error, |_| true);
                        return false;
                    }
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn dismiss(&mut self, error: &StoreError, whom: impl Fn(&Job) -> bool) {
        for job in self.flight.extract_if(.., |job| whom(job)) {
            let (place, source) = (self.place.clone(), chain(error).into());
            let _ = job.reply.send(Err(StoreError::Away { place, source }));
        }
    }
}

/// Moves bytes between the client and the server, and notes what other agents tell, until the
/// connection ends. Then it waits for whoever uses the client to notice.
async fn pump(mut wire: Wire, link: &Link, own: HostId, ended: &CancellationToken) {
    while let Some(message) = poll_fn(|context| wire.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(told)) => {
                let topics = news::heard(told.payload(), own);
                if !topics.is_empty() {
                    link.news.send_modify(|news| news.add(&topics));
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    // Whoever waits for an answer hears only then that none will come.
    drop(wire);
    ended.cancel();
    std::future::pending().await
}

/// Tells the other agents where to look. Outside the transaction: within it, all agents' commits
/// would wait for each other. It is sent and not waited for: nobody's change depends on it, and an
/// agent that misses it looks by itself after a while.
fn notify(session: &Session, text: String) {
    let _ = session.query(Sql::Notify, &[&text]).now_or_never();
}
