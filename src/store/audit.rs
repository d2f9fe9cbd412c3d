//! What the store does with the audit log besides appending: reads it in its order, proves, seals,
//! purges and erases. Owns the words for it. Face: `AuditPage`, `AuditWrite`, `KeepAudit`, `Erasure`.
//! Never changes a record otherwise than by erasing a person.

use futures_util::future::join;

use super::{Answer, ReadAudit, StoreError};
use crate::base::canonical::to_bytes;
use crate::base::ids::HostId;
use crate::base::{Digest, Timestamp};
use crate::domain::audit::chain::Link;
use crate::domain::audit::log::{Entry, Fits, Proof, Stored};
use crate::domain::audit::person::Personal;
use crate::domain::audit::proof::Verdict;
use crate::domain::audit::seal::{Checkpoint, PurgeCause, Purged, Tombstone, VerifyingKey};

/// How often a log is read anew when a part of it was purged meanwhile.
const READS_MAX: usize = 5;

/// A part of a host's log, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// After which record the next part begins; none when this was the last one.
    pub next: Option<u64>,
    /// What was read before this part was purged since: the reading is to begin anew.
    pub is_stale: bool,
}

/// Changes the audit log itself, in a transaction with the event that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditWrite {
    /// Purges what a tombstone says.
    Purge(Box<Tombstone>),
    /// Begins to erase a person. What is left to do is done by `erase_next`.
    Erase(Erasure),
}

/// A person who is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Who: the id that records carry.
    pub subject: String,
    /// Their name, for records without an id.
    pub label: Option<String>,
    /// What they are called from then on.
    pub pseudonym: String,
    /// When it was asked for.
    pub asked_at: Timestamp,
}

/// Housekeeping of the audit log.
pub trait KeepAudit {
    /// Signs that the log is so, up to the end of the next segment, unless that was done. The
    /// signature holds up no write. None also when somebody else was faster.
    fn seal_audit(&self) -> Answer<'_, Option<Checkpoint>>;
    /// Notes down that a place outside of the host has all checkpoints up to this record.
    fn note_anchored(&self, place: String, seq: u64) -> Answer<'_, ()>;
    /// Goes on with the erasure of persons, by one bounded transaction. Whether there was one.
    fn erase_next(&self) -> Answer<'_, bool>;
    /// The tombstone of the segments that ended before this time, as many as one transaction
    /// purges; none when there are none. The last segment stays.
    fn audit_tombstone(
        &self,
        before: Timestamp,
        cause: PurgeCause,
    ) -> Answer<'_, Option<Tombstone>>;
}

/// Proves the log of a host, whose seals are by this key.
pub(super) async fn prove(
    store: &(impl ReadAudit + ?Sized),
    host: HostId,
    key: VerifyingKey,
) -> Result<Verdict, StoreError> {
    for _ in 0..READS_MAX {
        let mut proof = Proof::new(host, [key], Vec::new());
        let mut page = store.audit_page(None).await?;
        while !page.is_stale {
            let take = |proof: &mut Proof, page: &AuditPage| {
                page.entries.iter().for_each(|entry| proof.take(entry));
            };
            let Some(after) = page.next else {
                take(&mut proof, &page);
                return Ok(proof.finish_sealed());
            };
            // The next part is on its way while this one is proved.
            let (next, ()) =
                join(store.audit_page(Some(after)), async { take(&mut proof, &page) }).await;
            page = next?;
        }
    }
    let reason = "it was purged again and again while it was read".to_owned();
    Err(StoreError::Unreadable { noun: "audit log", reason })
}

/// Before the first record of a page: of all when it is the first page, also of those that have no
/// business there.
pub(super) fn behind(after: Option<u64>) -> i64 {
    after.map_or(i64::MIN, |after| i64::try_from(after).unwrap_or(i64::MAX))
}

/// The number of a record or of what stands beside it; one below all others comes out as zero,
/// which none has.
pub(super) fn place(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// What was read of a log, in the order in which it has to be read: what is written between two
/// readings must not look like tampering.
pub(super) struct Pieces {
    /// After which record; none at the beginning.
    pub(super) after: Option<u64>,
    /// How many records a page has.
    pub(super) limit: usize,
    /// First: checkpoints behind it, as many as a page has records, and one more.
    pub(super) checkpoints: Vec<(u64, String)>,
    /// Second: a page of records.
    pub(super) records: Vec<Stored>,
    /// Last: all tombstones, with the last record that each covers.
    pub(super) tombstones: Vec<(u64, String)>,
}

impl Pieces {
    /// Puts them in order.
    pub(super) fn page(self) -> AuditPage {
        let is_last = self.records.len() < self.limit;
        let next = self.records.last().filter(|_| !is_last).map(|record| record.link.seq);
        let stones: Vec<Entry> =
            self.tombstones.iter().map(|(to, body)| tombstone(*to, body)).collect();
        // A number that is not that of the tombstone was not written by a purge.
        let purged = |entry: &Entry| match entry {
            Entry::Tombstone(stone) => Some(stone.purged.to_seq),
            _ => None,
        };
        let purged = stones.iter().filter_map(purged).max();
        let is_stale = purged.is_some_and(|to| match self.after {
            Some(after) => to > after,
            // A checkpoint whose record was purged between the readings.
            None => self.checkpoints.first().is_some_and(|(seq, _)| *seq <= to),
        });
        let mut entries = Vec::with_capacity(self.records.len() + self.checkpoints.len());
        if self.after.is_none() {
            entries.extend(stones);
        }
        let mut checkpoints = self.checkpoints.iter().peekable();
        for record in self.records {
            let seq = record.link.seq;
            entries.push(Entry::Record(Box::new(record)));
            while let Some((at, body)) = checkpoints.next_if(|(at, _)| *at <= seq) {
                entries.push(checkpoint(*at, body));
            }
        }
        if is_last {
            entries.extend(checkpoints.map(|(at, body)| checkpoint(*at, body)));
        }
        AuditPage { entries, next, is_stale }
    }
}

fn checkpoint(seq: u64, body: &str) -> Entry {
    match as_written::<Checkpoint>(body) {
        Ok(checkpoint) if checkpoint.sealed.seq == seq => Entry::Checkpoint(Box::new(checkpoint)),
        Ok(_) => illegible("checkpoint", "it stands in another's place".to_owned()),
        Err(reason) => illegible("checkpoint", reason),
    }
}

fn tombstone(to: u64, body: &str) -> Entry {
    match as_written::<Tombstone>(body) {
        Ok(stone) if stone.purged.to_seq == to => Entry::Tombstone(Box::new(stone)),
        Ok(_) => illegible("tombstone", "it stands in another's place".to_owned()),
        Err(reason) => illegible("tombstone", reason),
    }
}

fn illegible(what: &'static str, reason: String) -> Entry {
    Entry::Illegible { what, reason }
}

/// Reads a signed statement; one that says the same in other bytes was not written by us.
pub(super) fn as_written<T>(body: &str) -> Result<T, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let read: T = serde_json::from_str(body).map_err(|error| error.to_string())?;
    match to_bytes(&read) {
        Ok(bytes) if bytes == body.as_bytes() => Ok(read),
        _ => Err("it is not as it was written".to_owned()),
    }
}

/// A signed statement as it is stored.
pub(super) fn text_of<T: serde::Serialize>(statement: &T) -> Result<String, StoreError> {
    let unreadable = |reason: String| StoreError::Unreadable { noun: "statement", reason };
    let bytes = to_bytes(statement).map_err(|error| unreadable(crate::base::chain(&error)))?;
    String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))
}

/// A record of which everything was read that can be.
pub(super) fn stored(
    (seq, body, hash): (u64, Vec<u8>, &str),
    personal: Option<Personal>,
    fits: impl FnOnce(&Personal, &[u8]) -> bool,
) -> Stored {
    // A hash that is no digest, or written otherwise, is a change like any other.
    let is_lower = !hash.bytes().any(|byte| byte.is_ascii_uppercase());
    let digest = Digest::from_hex(hash).filter(|_| is_lower);
    let fits = match &personal {
        Some(personal) if fits(personal, &body) => Fits::Yes,
        _ => Fits::No,
    };
    Stored { link: Link { seq, body, hash: digest.unwrap_or(Digest::zero()) }, personal, fits }
}

/// Which segments go, of what stands at the beginning of a log.
pub(super) struct Purgeable {
    pub(super) host_id: HostId,
    /// The tombstone before, if any.
    pub(super) last: Option<Tombstone>,
    /// Checkpoints from the beginning on, the last record's left out.
    pub(super) checkpoints: Vec<Checkpoint>,
}

impl Purgeable {
    /// What is purged of it.
    pub(super) fn purged(
        self,
        before: Timestamp,
        cause: PurgeCause,
        at: Timestamp,
    ) -> Option<Purged> {
        let (from_seq, before_hash) = match &self.last {
            Some(stone) => (stone.purged.to_seq + 1, stone.purged.last_hash),
            None => (1, crate::domain::audit::chain::GENESIS),
        };
        let old = self.checkpoints.iter().take_while(|checkpoint| checkpoint.sealed.at < before);
        let last = old.last()?;
        Some(Purged {
            host_id: self.host_id,
            from_seq,
            to_seq: last.sealed.seq,
            before_hash,
            last_hash: last.sealed.hash,
            cause,
            before,
            at,
        })
    }
}
