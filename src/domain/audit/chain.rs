//! Chains audit records, so that a changed, missing or inserted one is found. Owns the hash rule
//! and the proof. Face: `append`, `verify`. Never proves that the end was not cut off or the whole
//! chain rewritten: that needs checkpoints kept elsewhere.

use sha2::{Digest as _, Sha256};

use super::AuditRecord;
use crate::base::Digest;
use crate::base::canonical::{CanonicalError, to_bytes};

/// Keeps hashes of the log apart from every other hash.
const DOMAIN: &[u8] = b"wharfinger audit 1";

/// What the first record follows.
pub const GENESIS: Digest = Digest::zero();

/// One record as it is stored: the bytes that were hashed, and the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The record's place, from 1.
    pub seq: u64,
    /// The canonical bytes of the record.
    pub body: Vec<u8>,
    /// `SHA-256(domain ‖ previous hash ‖ length of body ‖ body)`.
    pub hash: Digest,
}

/// The link that follows `previous`.
///
/// # Errors
/// When the record has no canonical form.
pub fn append(previous: Digest, record: &AuditRecord) -> Result<Link, CanonicalError> {
    let body = to_bytes(record)?;
    let hash = hash(previous, &body);
    Ok(Link { seq: record.seq, body, hash })
}

/// The link that follows `previous`, of the canonical bytes of record `seq`.
pub fn link(previous: Digest, seq: u64, body: Vec<u8>) -> Link {
    let hash = hash(previous, &body);
    Link { seq, body, hash }
}

/// Whether a link's hash follows from its content and the hash before.
pub fn follows(previous: Digest, link: &Link) -> bool {
    hash(previous, &link.body) == link.hash
}

fn hash(previous: Digest, body: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    hasher.update(previous.as_bytes());
    hasher.update((body.len() as u64).to_be_bytes());
    hasher.update(body);
    Digest::from_bytes(hasher.finalize().into())
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// A record is missing, doubled or out of order.
    #[error("record {expected} is missing: record {found} stands in its place")]
    Gap {
        /// The number that should come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A record's hash does not follow from its content and the record before.
    #[error("record {seq} was changed: its hash does not follow from its content")]
    Changed {
        /// The record.
        seq: u64,
    },
    /// A record's content cannot be read.
    #[error("record {seq} cannot be read: {reason}")]
    Unreadable {
        /// The record.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// A record's content speaks of another place in the log, or differs from its index columns.
    #[error("record {seq} contradicts itself: its {part} was changed")]
    Contradiction {
        /// The record.
        seq: u64,
        /// The part that differs.
        part: &'static str,
    },
}

/// Follows a chain link by link, in order; remembers what broke.
#[derive(Debug)]
pub struct Verifier {
    expected: u64,
    previous: Digest,
    breaks: Vec<ChainBreak>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { expected: 1, previous: GENESIS, breaks: Vec::new() }
    }
}

impl Verifier {
    /// Takes the next link. Goes on from the stored hash after a break, so that one damaged record
    /// is reported once and not as the loss of all that follow.
    pub fn next(&mut self, link: &Link) -> Option<AuditRecord> {
        if link.seq != self.expected {
            self.breaks.push(ChainBreak::Gap { expected: self.expected, found: link.seq });
        } else if hash(self.previous, &link.body) != link.hash {
            self.breaks.push(ChainBreak::Changed { seq: link.seq });
        }
        self.expected = link.seq.saturating_add(1);
        self.previous = link.hash;
        match serde_json::from_slice::<AuditRecord>(&link.body) {
            Ok(record) if record.seq == link.seq => Some(record),
            Ok(_) => {
                self.report(ChainBreak::Contradiction { seq: link.seq, part: "number" });
                None
            }
            Err(error) => {
                let reason = error.to_string();
                self.report(ChainBreak::Unreadable { seq: link.seq, reason });
                None
            }
        }
    }

    /// Adds a break that the keeper of the links found.
    pub fn report(&mut self, found: ChainBreak) {
        self.breaks.push(found);
    }

    /// What was found.
    pub fn finish(self) -> Verdict {
        Verdict { records: self.expected - 1, head: self.previous, breaks: self.breaks }
    }
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The number of the last record.
    pub records: u64,
    /// The hash of the last record.
    pub head: Digest,
    /// Everything that is wrong; empty when the log is whole.
    pub breaks: Vec<ChainBreak>,
}

/// Verifies a whole log.
pub fn verify<'a>(links: impl IntoIterator<Item = &'a Link>) -> Verdict {
    let mut verifier = Verifier::default();
    for link in links {
        verifier.next(link);
    }
    verifier.finish()
}
