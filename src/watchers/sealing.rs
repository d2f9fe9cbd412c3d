//! Seals the audit log as it grows, brings its checkpoints outside, and purges what is older than what
//! is kept. Owns the pace. Face: `Sealing`, `Commits`. Never holds up a write: it follows what is
//! written, and whatever an anchor does not take stays in the database until it does.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use jiff::SignedDuration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::base::limits::{
    AUDIT_ANCHOR_BATCH, AUDIT_ANCHOR_PAUSE_FIRST, AUDIT_ANCHOR_PAUSE_LONGEST,
    AUDIT_RETENTION_INTERVAL, AUDIT_SEAL_INTERVAL, AUDIT_SEGMENT_RECORDS, STORE_RETRY_INTERVAL,
};
use crate::base::{Ambient, chain};
use crate::domain::audit::Actor;
use crate::domain::audit::seal::PurgeCause;
use crate::operations::audit::AuditLog;
use crate::store::{Store, StoreError};
use crate::world::anchors::{Anchor, NotAnchored};

/// Hears of every commit of the store.
#[derive(Debug, Default)]
pub struct Commits {
    writes: AtomicU64,
    news: Notify,
}

impl Commits {
    /// So many writes are durable.
    pub fn note(&self, writes: usize) {
        self.writes.fetch_add(writes as u64, Ordering::Relaxed);
        self.news.notify_one();
    }

    /// Waits until as many came as a segment has records at least.
    async fn many(&self) {
        while self.writes.load(Ordering::Relaxed) < AUDIT_SEGMENT_RECORDS {
            self.news.notified().await;
        }
    }
}

/// What is told of each try to reach an anchor: its name, whether it took what it was sent, and how
/// many sealed records it does not know.
pub type AnchorObserver = Arc<dyn Fn(&str, bool, u64) + Send + Sync>;

/// Keeps the log sealed.
pub struct Sealing {
    store: Arc<dyn Store>,
    log: AuditLog,
    commits: Arc<Commits>,
    anchors: Vec<Arc<dyn Anchor>>,
    /// How long records are kept; for ever when none is given.
    retention: Option<SignedDuration>,
    ambient: Ambient,
    observer: AnchorObserver,
    /// The last record that is sealed.
    sealed: watch::Sender<u64>,
}

/// Why an anchor does not have what it is to have.
#[derive(Debug, thiserror::Error)]
enum Behind {
    #[error("its checkpoints cannot be read or noted down")]
    Store(#[source] StoreError),
    #[error("it did not take them")]
    Anchor(#[source] NotAnchored),
}

impl Sealing {
    /// Of the log of this store, which does nothing yet.
    pub fn new(
        store: Arc<dyn Store>,
        commits: Arc<Commits>,
        anchors: Vec<Arc<dyn Anchor>>,
        retention: Option<SignedDuration>,
        ambient: Ambient,
        observer: AnchorObserver,
    ) -> Self {
        let log = AuditLog::new(Arc::clone(&store), ambient.clone());
        let (sealed, _) = watch::channel(0);
        Self { store, log, commits, anchors, retention, ambient, observer, sealed }
    }

    /// Keeps the log sealed until told to stop, and seals its end then.
    pub async fn watch(self, stop: CancellationToken) {
        let anchors = join_all(self.anchors.iter().map(|anchor| self.keep_up(&**anchor)));
        let beside = async {
            tokio::join!(anchors, self.tidy());
            // Without anchors and retention nothing is left to do beside the sealing, which goes on.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = self.seal_always(&stop) => {}
            () = beside => {}
        }
    }

    async fn seal_always(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            self.seal().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.commits.news.notified() => {}
            }
            // Who comes within a moment shares the checkpoint.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.commits.many() => {}
                () = tokio::time::sleep(AUDIT_SEAL_INTERVAL) => {}
            }
        }
        self.seal().await;
    }

    async fn seal(&self) {
        self.commits.writes.store(0, Ordering::Relaxed);
        loop {
            match self.store.seal_audit().await {
                Ok(Some(checkpoint)) => {
                    debug!(seq = checkpoint.sealed.seq, "audit log sealed");
                    self.sealed.send_replace(checkpoint.sealed.seq);
                }
                Ok(None) => return,
                Err(StoreError::Stopped) => return,
                Err(error) => {
                    error!(error = %chain(&error), "the audit log is not sealed; trying again");
                    // Whatever is unsealed is looked for anew, even if nothing more is written.
                    self.commits.news.notify_one();
                    return;
                }
            }
        }
    }

    /// Brings an anchor what it does not have, for as long as the agent lives.
    async fn keep_up(&self, anchor: &dyn Anchor) {
        let mut sealed = self.sealed.subscribe();
        let (mut pause, mut is_behind) = (AUDIT_ANCHOR_PAUSE_FIRST, false);
        loop {
            sealed.mark_unchanged();
            match self.catch_up(anchor).await {
                Ok(()) => {
                    if is_behind {
                        info!(anchor = anchor.name(), "the anchor has caught up");
                    }
                    (pause, is_behind) = (AUDIT_ANCHOR_PAUSE_FIRST, false);
                    // It ends with this future.
                    let _ = sealed.changed().await;
                }
                Err(behind) => {
                    if !is_behind {
                        warn!(
                            anchor = anchor.name(),
                            error = %chain(&behind),
                            "checkpoints of the audit log do not leave the host; trying again"
                        );
                    }
                    is_behind = true;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AUDIT_ANCHOR_PAUSE_LONGEST);
                }
            }
        }
    }

    async fn catch_up(&self, anchor: &dyn Anchor) -> Result<(), Behind> {
        let reached = self.store.audit_anchored(anchor.place()).await.map_err(Behind::Store)?;
        let mut reached = reached.unwrap_or(0);
        loop {
            let batch = self.store.audit_checkpoints(reached, AUDIT_ANCHOR_BATCH).await;
            let batch = batch.map_err(Behind::Store)?;
            let Some(last) = batch.last().map(|checkpoint| checkpoint.sealed.seq) else {
                (self.observer)(anchor.name(), true, 0);
                return Ok(());
            };
            let newest = (*self.sealed.borrow()).max(last);
            if let Err(error) = anchor.put(batch).await {
                (self.observer)(anchor.name(), false, newest - reached);
                return Err(Behind::Anchor(error));
            }
            reached = last;
            (self.observer)(anchor.name(), true, newest - reached);
            let noted = self.store.note_anchored(anchor.place(), reached).await;
            noted.map_err(Behind::Store)?;
        }
    }

    /// Completes what an earlier agent began to erase, and purges what is too old.
    async fn tidy(&self) {
        while let Err(error) = self.log.finish_erasures().await {
            error!(error = %chain(&error), "a person is not erased yet; trying again");
            tokio::time::sleep(STORE_RETRY_INTERVAL).await;
        }
        let Some(kept) = self.retention else { return };
        loop {
            let before = self.ambient.now().saturating_sub(kept);
            let before = before.unwrap_or(crate::base::Timestamp::MIN);
            match self.log.purge(Actor::agent(), before, PurgeCause::Retention).await {
                Ok(purged) if purged.records == 0 => {}
                Ok(purged) => info!(records = purged.records, "audit log purged"),
                Err(error) => error!(error = %chain(&error), "the audit log is not purged"),
            }
            tokio::time::sleep(AUDIT_RETENTION_INTERVAL).await;
        }
    }
}

/// How long so many days are.
pub fn days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}
