//! Acts on the audit log itself: purges old segments, erases persons, hands the log out. Owns the
//! events that say so. Face: `AuditLog`. Never changes what a record proves.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use super::projects::Asker;
use crate::base::ids::{EventId, UserId};
use crate::base::limits::PAGE_ITEMS_MAX;
use crate::base::{Ambient, Timestamp, chain};
use crate::domain::audit::log::{Entry, Exporter};
use crate::domain::audit::person::pseudonym;
use crate::domain::audit::seal::PurgeCause;
use crate::domain::audit::{
    Actor, ActorType, AuditEvent, EventContext, EventType, Outcome, Target,
};
use crate::domain::redaction::SafeText;
use crate::store::{AuditFilter, AuditWrite, Erasure, PageRequest, Store, StoreError, Write};

/// The bytes of an export.
pub type ExportBytes = BoxStream<'static, Result<Bytes, StoreError>>;

/// The log, for those who act on it. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog {
    store: Arc<dyn Store>,
    ambient: Ambient,
}

/// What was purged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgedRecords {
    /// How many records.
    pub records: u64,
    /// The last one.
    pub to_seq: Option<u64>,
}

/// Why a person was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The log knows nobody of this name.
    #[error("the audit log knows nobody called {0:?}")]
    Unknown(String),
    /// Several persons have the name.
    #[error("several persons are called {name:?}: {}", ids.join(", "))]
    Several {
        /// The name.
        name: String,
        /// Their ids.
        ids: Vec<String>,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(StoreError),
}

impl AuditLog {
    /// The log of this store.
    pub fn new(store: Arc<dyn Store>, ambient: Ambient) -> Self {
        Self { store, ambient }
    }

    /// Purges the segments that ended before a time; the last one stays. What is left verifies.
    ///
    /// # Errors
    /// When the store does not take it; what was purged before then stays purged.
    pub async fn purge(
        &self,
        actor: Actor,
        before: Timestamp,
        cause: PurgeCause,
    ) -> Result<PurgedRecords, StoreError> {
        let mut purged = PurgedRecords::default();
        while let Some(stone) = self.store.audit_tombstone(before, cause).await? {
            let (from, to) = (stone.purged.from_seq, stone.purged.to_seq);
            let summary = format!("Records {from} to {to} of the audit log were purged");
            let mut event = self.event(EventType::AuditPurged, summary, actor.clone());
            event.context.reason = Some(SafeText::new(match cause {
                PurgeCause::Retention => format!("older than what is kept: before {before}"),
                PurgeCause::Request => format!("asked for: before {before}"),
            }));
            let write = Write::Audit(AuditWrite::Purge(Box::new(stone)));
            self.store.commit(vec![write], event.into()).await?;
            purged.records += to + 1 - from;
            purged.to_seq = Some(to);
        }
        Ok(purged)
    }

    /// Replaces a person in the log by a pseudonym, which is the answer. `who` is the id that their
    /// records carry, or their name. A crash may interrupt it: the next start goes on.
    ///
    /// # Errors
    /// When nobody or more than one person is meant, or the store does not take it.
    pub async fn erase(&self, asker: &Asker, who: &str) -> Result<String, EraseError> {
        let (subject, label) = self.find(who).await?;
        let name = pseudonym(&subject);
        // Who has no id is known by name alone, and that must not stay.
        let subject = if subject == who && label.is_some() { name.clone() } else { subject };
        let summary = format!("A person was erased: they are called {name} from then on");
        let actor = asker.actor(&self.store.scope());
        let mut event = self.event(EventType::PersonErased, summary, actor);
        event.context.pseudonym = Some(name.clone());
        let asked_at = self.ambient.now();
        let erasure = Erasure { subject, label, pseudonym: name.clone(), asked_at };
        let write = Write::Audit(AuditWrite::Erase(erasure));
        self.store.commit(vec![write], event.into()).await.map_err(EraseError::Store)?;
        self.finish_erasures().await.map_err(EraseError::Store)?;
        Ok(name)
    }

    /// Goes on with erasures until none is left.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn finish_erasures(&self) -> Result<(), StoreError> {
        while self.store.erase_next().await? {}
        Ok(())
    }

    /// The id and the name of who is meant.
    async fn find(&self, who: &str) -> Result<(String, Option<String>), EraseError> {
        if who.starts_with("uid:") || who.parse::<UserId>().is_ok() {
            return Ok((who.to_owned(), None));
        }
        let filter = AuditFilter {
            actor_label: Some(who.to_owned()),
            ..AuditFilter::workspace(self.store.scope().workspace_id)
        };
        let page = PageRequest { limit: PAGE_ITEMS_MAX, after: None };
        let found = self.store.audit(filter, page).await.map_err(EraseError::Store)?;
        let is_person = |kind: ActorType| !matches!(kind, ActorType::System | ActorType::Scheduled);
        let actors = found.items.iter().map(|record| &record.event.actor);
        let mut ids: Vec<_> = actors
            .filter(|actor| is_person(actor.actor_type))
            .map(|actor| actor.actor_id.clone())
            .collect();
        ids.sort();
        ids.dedup();
        let label = Some(who.to_owned());
        let mut known: Vec<String> = ids.iter().flatten().cloned().collect();
        match (known.len(), ids.is_empty()) {
            (0, true) => Err(EraseError::Unknown(who.to_owned())),
            (0, false) => Ok((who.to_owned(), label)),
            (1, _) => Ok((known.remove(0), label)),
            _ => Err(EraseError::Several { name: who.to_owned(), ids: known }),
        }
    }

    /// The log, entry by entry, in its order.
    pub fn entries(&self) -> BoxStream<'static, Result<Entry, StoreError>> {
        let store = Arc::clone(&self.store);
        let pages = stream::try_unfold((store, Some(None)), |(store, place)| async move {
            let Some(after) = place else { return Ok(None) };
            let page = store.audit_page(after).await?;
            if page.is_stale {
                let reason = "a part of it was purged while it was read; read it again".to_owned();
                return Err(StoreError::Unreadable { noun: "audit log", reason });
            }
            let next = page.next.map(Some);
            let entries = stream::iter(page.entries.into_iter().map(Ok));
            Ok(Some((entries, (store, next))))
        });
        futures_util::TryStreamExt::try_flatten(pages).boxed()
    }

    /// The log as a file that proves itself.
    pub fn export(&self) -> ExportBytes {
        let host = self.store.scope().host_id;
        let begun = Exporter::begin(host, vec![self.store.audit_key()], self.ambient.now());
        let (exporter, header) = match begun {
            Ok(begun) => begun,
            Err(error) => return stream::iter([Err(unwritable(&error))]).boxed(),
        };
        let lines = stream::unfold(
            Some((self.entries().ready_chunks(LINES_AT_ONCE), exporter)),
            |state| async {
                let (mut entries, mut exporter) = state?;
                let Some(chunk) = entries.next().await else {
                    let last = exporter.end().map_err(|error| unwritable(&error));
                    return Some((last.map(Bytes::from), None));
                };
                let mut text = String::new();
                for entry in chunk {
                    let line = entry.and_then(|entry| {
                        exporter.entry(entry).map_err(|error| unwritable(&error))
                    });
                    match line {
                        Ok(line) => text.push_str(&line),
                        Err(error) => return Some((Err(error), None)),
                    }
                }
                Some((Ok(Bytes::from(text)), Some((entries, exporter))))
            },
        );
        stream::iter([Ok(Bytes::from(header))]).chain(lines).boxed()
    }

    /// An event about the log itself.
    pub(crate) fn event(&self, event_type: EventType, summary: String, actor: Actor) -> AuditEvent {
        let scope = self.store.scope();
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: None,
            event_type,
            summary: SafeText::new(summary),
            outcome: Outcome::Success,
            actor,
            target: Some(Target {
                target_type: "audit_log".to_owned(),
                target_id: scope.host_id.to_string(),
                target_label: "audit log".to_owned(),
                workspace_id: scope.workspace_id,
                tenant_id: None,
            }),
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: self.ambient.now(),
        }
    }
}

/// Entries that leave the agent in one piece.
const LINES_AT_ONCE: usize = 256;

fn unwritable(error: &serde_json::Error) -> StoreError {
    StoreError::Unreadable { noun: "audit event", reason: chain(error) }
}
