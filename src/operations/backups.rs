//! Hands out backups of the store while it is at work. Owns how many at once, and their audit event.
//! Face: `Backups`. Never ends a backup as whole that was not recorded.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::projects::Asker;
use crate::base::ids::EventId;
use crate::base::limits::BACKUPS_MAX;
use crate::base::{Ambient, Digest};
use crate::domain::audit::{AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::redaction::SafeText;
use crate::store::Store;
use crate::store::transfer::archive::Encoder;
use crate::store::transfer::{Part, Parts, TransferError};

/// Somebody takes a backup already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a backup is being taken already")]
pub struct Busy;

/// The bytes of an archive.
pub type ArchiveBytes = BoxStream<'static, Result<Bytes, TransferError>>;

/// Hands out backups. Cheap to clone.
#[derive(Clone)]
pub struct Backups {
    store: Arc<dyn Store>,
    ambient: Ambient,
    turns: Arc<Semaphore>,
}

/// A backup that is under way.
struct UnderWay {
    parts: Parts,
    encoder: Encoder,
    backups: Backups,
    asker: Asker,
    _turn: OwnedSemaphorePermit,
}

impl Backups {
    /// Of this store.
    pub fn new(store: Arc<dyn Store>, ambient: Ambient) -> Self {
        Self { store, ambient, turns: Arc::new(Semaphore::new(BACKUPS_MAX)) }
    }

    /// An archive of everything that was answered until now. Its last bytes come when the audit log
    /// tells of it.
    ///
    /// # Errors
    /// When another backup is being taken.
    pub fn begin(&self, asker: Asker) -> Result<ArchiveBytes, Busy> {
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| Busy)?;
        let under_way = UnderWay {
            parts: self.store.snapshot(),
            encoder: Encoder::default(),
            backups: self.clone(),
            asker,
            _turn: turn,
        };
        let bytes = stream::unfold(Some(under_way), |under_way| async {
            let (bytes, rest) = under_way?.next().await;
            Some((bytes, rest))
        });
        Ok(bytes.boxed())
    }

    async fn record(&self, asker: &Asker, digest: Digest) -> Result<(), TransferError> {
        let scope = self.store.scope();
        let event = AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: None,
            event_type: EventType::StoreBackedUp,
            summary: SafeText::new(format!("A backup was handed out (SHA-256 {digest})")),
            outcome: Outcome::Success,
            actor: asker.actor(&scope),
            target: Some(Target {
                target_type: "store".to_owned(),
                target_id: "backup".to_owned(),
                target_label: "database".to_owned(),
                workspace_id: scope.workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: self.ambient.now(),
        };
        Ok(self.store.commit(Vec::new(), event.into()).await?)
    }
}

impl UnderWay {
    /// The next bytes, and what is under way after them.
    async fn next(mut self) -> (Result<Bytes, TransferError>, Option<Self>) {
        let part = match self.parts.next().await {
            Some(Ok(Part::End(_))) => return (self.end().await, None),
            Some(Ok(part)) => part,
            Some(Err(error)) => return (Err(error), None),
            None => return (Err(TransferError::BrokenOff), None),
        };
        match self.encoder.encode(&part) {
            Ok(bytes) => (Ok(bytes.into()), Some(self)),
            Err(error) => (Err(error), None),
        }
    }

    async fn end(self) -> Result<Bytes, TransferError> {
        let (bytes, digest) = self.encoder.end()?;
        self.backups.record(&self.asker, digest).await?;
        Ok(bytes.into())
    }
}
