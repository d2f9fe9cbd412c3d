//! Chains audit records, so that a changed, missing or inserted one is found. Owns the hash rule.
//! Face: `Link`, `link`, `follows`. Never proves that the end was not cut off or the whole chain
//! rewritten: that needs checkpoints kept elsewhere.

use sha2::{Digest as _, Sha256};

use crate::base::Digest;

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

/// The link that follows `previous`: the canonical bytes of record `seq`.
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
