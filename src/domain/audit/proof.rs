//! Proves a log: its chain, its persons, its seals, what was purged, and what left the host in time.
//! Owns the verification, whatever the log is read from. Face: `Verifier`, `Verdict`. Never stops at
//! the first break, and names it first.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{GENESIS, Link, follows};
use super::glance::Glance;
use super::person::{Person, Personal};
use super::seal::{Checkpoint, Tombstone, VerifyingKey};
use crate::base::Digest;
use crate::base::ids::HostId;
use crate::base::limits::{AUDIT_BREAKS_MAX, AUDIT_UNSEALED_MAX};

/// What is wrong with a log, and from which record on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
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
    /// A record's content speaks of another place in the log, or differs from what stands beside it.
    #[error("record {seq} contradicts itself: its {part} was changed")]
    Contradiction {
        /// The record.
        seq: u64,
        /// The part that differs.
        part: &'static str,
    },
    /// What stands beside a record about a person is not what the chain commits to.
    #[error("what record {seq} says of a person was changed")]
    Person {
        /// The record.
        seq: u64,
    },
    /// A person is missing from a record, and no event says that they were erased.
    #[error("record {seq} calls a person {pseudonym}, and no record says that they were erased")]
    ErasedInSilence {
        /// The first record that does.
        seq: u64,
        /// The pseudonym.
        pseudonym: String,
    },
    /// A checkpoint seals another content.
    #[error(
        "the checkpoint at record {seq} seals another content: {seq} or one before it was changed"
    )]
    SealBroken {
        /// The record that it seals.
        seq: u64,
    },
    /// A checkpoint seals a record that is not there.
    #[error("the log ends too early: a checkpoint seals record {seq}, and {last} is the last one")]
    Truncated {
        /// The record that it seals.
        seq: u64,
        /// The last one that is there.
        last: u64,
    },
    /// A checkpoint of the log itself does not stand behind the record that it seals.
    #[error("the checkpoint of record {seq} stands behind record {last}")]
    Misplaced {
        /// The record that it seals.
        seq: u64,
        /// The record that it stands behind.
        last: u64,
    },
    /// A checkpoint does not follow the one that stands before it.
    #[error(
        "the checkpoint of record {seq} follows that of record {after}, which does not stand before \
         it: checkpoints were taken away"
    )]
    SealMissing {
        /// The record that the missing one sealed.
        after: u64,
        /// The record that it seals.
        seq: u64,
    },
    /// Too much at the end is not sealed: checkpoints were taken away, or none were made.
    #[error("no checkpoint seals the records from {from} to {last}")]
    Unsealed {
        /// The first one.
        from: u64,
        /// The last one.
        last: u64,
    },
    /// A checkpoint or a tombstone cannot be read.
    #[error("a {what} near record {seq} cannot be read: {reason}")]
    Illegible {
        /// What.
        what: &'static str,
        /// The record that came last.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// An export is not as it was written, apart from its records.
    #[error("the export was changed or cut off after record {seq}: {reason}")]
    Export {
        /// The record that came last.
        seq: u64,
        /// How that shows.
        reason: &'static str,
    },
    /// A signature is not by a key that is known.
    #[error("the {what} at record {seq} is not signed by a key of this log")]
    NotSigned {
        /// A checkpoint or a tombstone.
        what: &'static str,
        /// Its record.
        seq: u64,
    },
    /// Something of another host stands in this log.
    #[error("the {what} at record {seq} belongs to the log of another host")]
    OtherHost {
        /// A checkpoint or a tombstone.
        what: &'static str,
        /// Its record.
        seq: u64,
    },
    /// What was purged does not meet what remains.
    #[error("the tombstone of records {from} to {to} does not fit: {reason}")]
    Tombstone {
        /// The first record that is gone.
        from: u64,
        /// The last one.
        to: u64,
        /// Why.
        reason: &'static str,
    },
}

impl Break {
    /// Where it stands in a list: what is wrong with a record before what is wrong with a file.
    fn place(&self) -> (u64, bool) {
        (self.seq(), matches!(self, Self::Export { .. }))
    }

    /// The first record that cannot be trusted because of it.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Gap { expected, .. } => *expected,
            Self::Truncated { last, .. } => *last + 1,
            Self::Unsealed { from, .. } => *from,
            Self::Misplaced { last, .. } => *last,
            Self::SealMissing { after, .. } => (*after).max(1),
            Self::Export { seq, .. } | Self::Illegible { seq, .. } => seq.saturating_add(1),
            Self::Tombstone { from, .. } => *from,
            Self::Changed { seq }
            | Self::Unreadable { seq, .. }
            | Self::Contradiction { seq, .. }
            | Self::Person { seq }
            | Self::ErasedInSilence { seq, .. }
            | Self::SealBroken { seq }
            | Self::NotSigned { seq, .. }
            | Self::OtherHost { seq, .. } => *seq,
        }
    }
}

/// Follows the log of one host in order: tombstones, then each record, after it the checkpoints that
/// seal it. Its memory does not grow with the log.
#[derive(Debug)]
pub struct Verifier {
    host: HostId,
    keys: BTreeMap<String, VerifyingKey>,
    expected: u64,
    previous: Digest,
    records: u64,
    sealed: u64,
    /// Where the last segment of the log itself ended; unknown behind a seal that is broken.
    segment: Option<u64>,
    checkpoints: u64,
    /// Persons who were replaced, and the first record that calls them so.
    pseudonyms: BTreeMap<String, u64>,
    erased: BTreeSet<String>,
    breaks: Vec<Break>,
    broken: u64,
}

impl Verifier {
    /// For the log of this host, whose seals are by one of these keys.
    pub fn new(host: HostId, keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self {
            host,
            keys: keys.into_iter().map(|key| (key.id(), key)).collect(),
            expected: 1,
            previous: GENESIS,
            records: 0,
            sealed: 0,
            segment: Some(0),
            checkpoints: 0,
            pseudonyms: BTreeMap::new(),
            erased: BTreeSet::new(),
            breaks: Vec::new(),
            broken: 0,
        }
    }

    /// Whole segments that were purged before the next record.
    pub fn tombstone(&mut self, stone: &Tombstone) {
        let purged = &stone.purged;
        let (from, to) = (purged.from_seq, purged.to_seq);
        let signed = self.keys.get(&stone.key_id).is_some_and(|key| stone.is_by(key));
        if purged.host_id != self.host {
            return self.report(Break::OtherHost { what: "tombstone", seq: from });
        }
        if !signed {
            return self.report(Break::NotSigned { what: "tombstone", seq: from });
        }
        let reason = if from != self.expected {
            Some("it does not begin where the log ends before it")
        } else if purged.before_hash != self.previous {
            Some("the record before it was changed")
        } else if to < from {
            Some("it ends before it begins")
        } else {
            None
        };
        if let Some(reason) = reason {
            self.report(Break::Tombstone { from, to, reason });
        }
        self.expected = to.saturating_add(1);
        self.previous = purged.last_hash;
        self.sealed = self.sealed.max(to);
        self.segment = Some(to);
    }

    /// The next record; whether it can be read. Goes on from the stored hash after a break, so that
    /// one damaged record is reported once and not as the loss of all that follow; one too many is
    /// not gone on from at all.
    pub fn record(&mut self, link: &Link, personal: &Personal) -> bool {
        let seq = link.seq;
        self.records += 1;
        if seq < self.expected {
            self.report(Break::Gap { expected: self.expected, found: seq });
            return false;
        } else if seq > self.expected {
            self.report(Break::Gap { expected: self.expected, found: seq });
        } else if !follows(self.previous, link) {
            self.report(Break::Changed { seq });
        }
        self.expected = seq.saturating_add(1);
        self.previous = link.hash;
        let glance = match Glance::at(&link.body) {
            Ok(glance) => glance,
            Err(error) => {
                self.report(Break::Unreadable { seq, reason: error.to_string() });
                return false;
            }
        };
        if !glance.people.check(personal) {
            self.report(Break::Person { seq });
        }
        for person in [&personal.actor, &personal.target].into_iter().flatten() {
            if let Person::Erased { pseudonym } = person
                && !self.pseudonyms.contains_key(pseudonym)
            {
                self.pseudonyms.insert(pseudonym.clone(), seq);
            }
        }
        let is_in_place = glance.seq == seq;
        self.erased.extend(glance.erased());
        if !is_in_place {
            self.report(Break::Contradiction { seq, part: "number" });
        }
        is_in_place
    }

    /// A checkpoint of the log itself: it seals the record that came last.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let (seq, last) = (checkpoint.sealed.seq, self.last());
        // What it says of its place is worth nothing before it is known to be signed.
        let is_signed = self.seal(checkpoint, last);
        if is_signed && seq < last {
            self.report(Break::Misplaced { seq, last });
        }
        let (is_in_place, after) = (is_signed && seq == last, checkpoint.sealed.after);
        let before = self.segment.filter(|before| is_in_place && *before != seq);
        if before.is_some_and(|before| before != after) {
            self.report(Break::SealMissing { after, seq });
        }
        self.segment = is_in_place.then_some(seq);
    }

    /// A checkpoint or a tombstone that cannot be read.
    pub fn illegible(&mut self, what: &'static str, reason: String) {
        self.segment = None;
        self.report(Break::Illegible { what, seq: self.last(), reason });
    }

    /// A checkpoint that left the host in time. It may seal a record that was purged since.
    pub fn anchor(&mut self, checkpoint: &Checkpoint) {
        self.seal(checkpoint, checkpoint.sealed.seq);
    }

    /// Whether it is one of this log.
    fn seal(&mut self, checkpoint: &Checkpoint, place: u64) -> bool {
        self.checkpoints += 1;
        let is_signed = self.keys.get(&checkpoint.key_id).is_some_and(|key| checkpoint.is_by(key));
        if checkpoint.sealed.host_id != self.host {
            self.report(Break::OtherHost { what: "checkpoint", seq: place });
            return false;
        }
        if !is_signed {
            self.report(Break::NotSigned { what: "checkpoint", seq: place });
            return false;
        }
        let (seq, last) = (checkpoint.sealed.seq, self.last());
        if seq > last {
            self.report(Break::Truncated { seq, last });
        } else if seq == last {
            if checkpoint.sealed.hash != self.previous {
                self.report(Break::SealBroken { seq });
            }
            self.sealed = seq;
        }
        true
    }

    /// The number of the record that came last, or was purged last.
    pub fn last(&self) -> u64 {
        self.expected - 1
    }

    /// Ends the reading of a log that somebody was to seal: what is not, is a break.
    pub fn finish_sealed(mut self) -> Verdict {
        let last = self.last();
        if last.saturating_sub(self.sealed) > AUDIT_UNSEALED_MAX {
            self.report(Break::Unsealed { from: self.sealed + 1, last });
        }
        self.finish()
    }

    /// Adds a break that the keeper of the log found.
    pub fn report(&mut self, found: Break) {
        self.broken += 1;
        if self.breaks.len() < AUDIT_BREAKS_MAX {
            self.breaks.push(found);
        }
    }

    /// What was found.
    pub fn finish(mut self) -> Verdict {
        for (pseudonym, seq) in std::mem::take(&mut self.pseudonyms) {
            if !self.erased.contains(&pseudonym) {
                self.report(Break::ErasedInSilence { seq, pseudonym });
            }
        }
        self.breaks.sort_by_key(Break::place);
        Verdict {
            records: self.records,
            last: self.expected - 1,
            head: self.previous,
            checkpoints: self.checkpoints,
            unsealed: (self.expected - 1).saturating_sub(self.sealed),
            broken: self.broken,
            breaks: self.breaks,
        }
    }
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How many records were read.
    pub records: u64,
    /// The number of the last one.
    pub last: u64,
    /// Its hash.
    pub head: Digest,
    /// How many checkpoints were read.
    pub checkpoints: u64,
    /// How many of the last records no checkpoint seals yet.
    pub unsealed: u64,
    /// How much is wrong.
    pub broken: u64,
    /// What is wrong, the first record first; the first of many.
    pub breaks: Vec<Break>,
}

impl Verdict {
    /// Adds what the keeper of the log found.
    pub fn add(&mut self, found: Break) {
        self.broken += 1;
        if self.breaks.len() < AUDIT_BREAKS_MAX {
            self.breaks.push(found);
            self.breaks.sort_by_key(Break::place);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.broken == 0
    }
}
