//! Says what a log consists of, and how it is written into a file that proves itself. Owns the form
//! of the export. Face: `Entry`, `Proof`, `Line`, `Exporter`, `Importer`. Never holds more of a log than
//! one entry.

use std::iter::Peekable;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::chain::Link;
use super::person::Personal;
use super::proof::{Break, Verdict, Verifier};
use super::seal::{Checkpoint, Tombstone, VerifyingKey};
use crate::base::ids::HostId;
use crate::base::{Digest, Timestamp};

/// The form of the file.
const FORM: &str = "wharfinger audit export 1";

/// A part of a log, in its order: tombstones, then each record, behind it the checkpoint that seals
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Whole segments were purged.
    Tombstone(Box<Tombstone>),
    /// A record.
    Record(Box<Stored>),
    /// What came before was so.
    Checkpoint(Box<Checkpoint>),
    /// It cannot be read.
    Illegible {
        /// A checkpoint or a tombstone.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What is chained.
    pub link: Link,
    /// The persons beside it; none when that cannot be read.
    pub personal: Option<Personal>,
    /// Whether what else stands beside it is a copy of it.
    pub fits: Fits,
}

/// Whether the columns that filters look at are those of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// They were compared, and are.
    Yes,
    /// They were compared, and are not.
    No,
    /// There are none.
    Alone,
}

/// Proves a log entry by entry, beside what left the host in time.
#[derive(Debug)]
pub struct Proof {
    verifier: Verifier,
    anchors: Peekable<std::vec::IntoIter<Checkpoint>>,
}

impl Proof {
    /// Of the log of this host, whose seals are by one of these keys.
    pub fn new(
        host: HostId,
        keys: impl IntoIterator<Item = VerifyingKey>,
        mut anchors: Vec<Checkpoint>,
    ) -> Self {
        anchors.sort_by_key(|anchor| anchor.sealed.seq);
        Self { verifier: Verifier::new(host, keys), anchors: anchors.into_iter().peekable() }
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry) {
        let verifier = &mut self.verifier;
        match entry {
            Entry::Tombstone(stone) => verifier.tombstone(stone),
            Entry::Checkpoint(checkpoint) => verifier.checkpoint(checkpoint),
            Entry::Illegible { what, reason } => {
                verifier.illegible(what, reason.clone());
            }
            Entry::Record(stored) => {
                let seq = stored.link.seq;
                let none = Personal::default();
                let is_read =
                    verifier.record(&stored.link, stored.personal.as_ref().unwrap_or(&none));
                if stored.personal.is_none() {
                    verifier.report(Break::Person { seq });
                }
                if stored.fits == Fits::No && is_read {
                    verifier.report(Break::Contradiction { seq, part: "index column" });
                }
            }
        }
        let last = verifier.last();
        while let Some(anchor) = self.anchors.next_if(|anchor| anchor.sealed.seq <= last) {
            self.verifier.anchor(&anchor);
        }
    }

    /// The number of the record that came last.
    pub fn last(&self) -> u64 {
        self.verifier.last()
    }

    /// The next record cannot be read, and nothing behind it.
    pub fn breaks_off(&mut self, reason: String) {
        let seq = self.verifier.last().saturating_add(1);
        self.verifier.report(Break::Unreadable { seq, reason });
    }

    fn report(&mut self, reason: &'static str) {
        let seq = self.verifier.last();
        self.verifier.report(Break::Export { seq, reason });
    }

    /// What was found.
    pub fn finish(mut self) -> Verdict {
        self.end();
        self.verifier.finish()
    }

    /// What was found in a log that its agent was to seal.
    pub fn finish_sealed(mut self) -> Verdict {
        self.end();
        self.verifier.finish_sealed()
    }

    fn end(&mut self) {
        for anchor in self.anchors.by_ref() {
            self.verifier.anchor(&anchor);
        }
    }
}

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// Comes first.
    Header {
        form: String,
        host_id: HostId,
        keys: Vec<VerifyingKey>,
        written_by: String,
        taken_at: Timestamp,
    },
    Tombstone {
        tombstone: Box<Tombstone>,
    },
    Record {
        seq: u64,
        hash: Digest,
        /// The bytes that are hashed, as text.
        body: String,
        #[serde(default, skip_serializing_if = "Personal::is_empty")]
        personal: Box<Personal>,
        /// What the agent found when it read the record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    Checkpoint {
        checkpoint: Box<Checkpoint>,
    },
    Illegible {
        what: String,
        reason: String,
    },
    /// Comes last.
    Trailer {
        records: u64,
        last: u64,
        head: Digest,
        /// Of all the lines before.
        digest: Digest,
    },
}

/// How the line of a record begins that was written by us.
const RECORD: &[u8] = b"{\"kind\":\"record\",";

/// The line of a record, as it is read: a tag costs as much as all the rest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    seq: u64,
    hash: Digest,
    body: String,
    #[serde(default)]
    personal: Box<Personal>,
    problem: Option<String>,
}

fn read(line: &[u8]) -> Result<Line, serde_json::Error> {
    if !line.starts_with(RECORD) {
        return serde_json::from_slice(line);
    }
    let RecordLine { seq, hash, body, personal, problem, .. } = serde_json::from_slice(line)?;
    Ok(Line::Record { seq, hash, body, personal, problem })
}

/// The columns of a record were changed.
const COLUMNS: &str = "index column";
/// What stands beside a record of persons cannot be read.
const PERSONS: &str = "persons";

/// Writes a log into lines.
#[derive(Debug)]
pub struct Exporter {
    hasher: Sha256,
    records: u64,
    last: u64,
    head: Digest,
}

impl Exporter {
    /// The first line.
    ///
    /// # Errors
    /// When a line has no JSON form.
    pub fn begin(
        host_id: HostId,
        keys: Vec<VerifyingKey>,
        taken_at: Timestamp,
    ) -> Result<(Self, String), serde_json::Error> {
        let mut exporter =
            Self { hasher: Sha256::new(), records: 0, last: 0, head: super::chain::GENESIS };
        let written_by = env!("CARGO_PKG_VERSION").to_owned();
        let form = FORM.to_owned();
        let line = exporter.line(&Line::Header { form, host_id, keys, written_by, taken_at })?;
        Ok((exporter, line))
    }

    /// The line of an entry.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub fn entry(&mut self, entry: Entry) -> Result<String, serde_json::Error> {
        let line = match entry {
            Entry::Tombstone(tombstone) => {
                (self.last, self.head) = (tombstone.purged.to_seq, tombstone.purged.last_hash);
                Line::Tombstone { tombstone }
            }
            Entry::Checkpoint(checkpoint) => Line::Checkpoint { checkpoint },
            Entry::Illegible { what, reason } => Line::Illegible { what: what.to_owned(), reason },
            Entry::Record(stored) => {
                let Stored { link, personal, fits } = *stored;
                (self.records, self.last, self.head) = (self.records + 1, link.seq, link.hash);
                let problem = match (&personal, fits) {
                    (None, _) => Some(PERSONS.to_owned()),
                    (_, Fits::No) => Some(COLUMNS.to_owned()),
                    _ => None,
                };
                let body = String::from_utf8_lossy(&link.body).into_owned();
                let personal = Box::new(personal.unwrap_or_default());
                Line::Record { seq: link.seq, hash: link.hash, body, personal, problem }
            }
        };
        self.line(&line)
    }

    /// The last line.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub fn end(mut self) -> Result<String, serde_json::Error> {
        let digest = Digest::from_bytes(self.hasher.clone().finalize().into());
        let (records, last, head) = (self.records, self.last, self.head);
        self.line(&Line::Trailer { records, last, head, digest })
    }

    fn line(&mut self, line: &Line) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.hasher.update(text.as_bytes());
        Ok(text)
    }
}

/// Why a file is no export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file is no export of an audit log: its first line is not the header of one")]
pub struct NoExport;

/// Reads lines, and proves the log in them.
#[derive(Debug)]
pub struct Importer {
    proof: Proof,
    hasher: Sha256,
    /// What the trailer says: records, the number of the last, its hash.
    trailer: Option<(u64, u64, Digest)>,
    ended: bool,
}

impl Importer {
    /// Reads the header. Without keys of the reader's own, those of the header are believed.
    ///
    /// # Errors
    /// When it is none.
    pub fn begin(
        line: &[u8],
        keys: Option<Vec<VerifyingKey>>,
        anchors: Vec<Checkpoint>,
    ) -> Result<Self, NoExport> {
        let header: Line = serde_json::from_slice(line).map_err(|_| NoExport)?;
        let Line::Header { form, host_id, keys: own, .. } = header else { return Err(NoExport) };
        if form != FORM {
            return Err(NoExport);
        }
        let mut hasher = Sha256::new();
        hasher.update(line);
        let proof = Proof::new(host_id, keys.unwrap_or(own), anchors);
        Ok(Self { proof, hasher, trailer: None, ended: false })
    }

    /// Takes the next line, its line end with it.
    pub fn line(&mut self, line: &[u8]) {
        if self.ended {
            return self.proof.report("something follows its last line");
        }
        let entry = match read(line) {
            Ok(Line::Trailer { records, last, head, digest }) => {
                self.ended = true;
                let found = Digest::from_bytes(self.hasher.clone().finalize().into());
                if found != digest {
                    self.proof.report("its digest is that of other lines");
                }
                let written = Line::Trailer { records, last, head, digest };
                let written = serde_json::to_vec(&written).unwrap_or_default();
                if line.strip_suffix(b"\n") != Some(&written) {
                    self.proof.report("its last line is not as it was written");
                }
                self.trailer = Some((records, last, head));
                return;
            }
            Ok(Line::Record { seq, hash, body, personal, problem }) => {
                let fits = match problem.as_deref() {
                    None => Fits::Alone,
                    Some(_) => Fits::No,
                };
                let personal = (problem.as_deref() != Some(PERSONS)).then_some(*personal);
                let link = Link { seq, body: body.into_bytes(), hash };
                Entry::Record(Box::new(Stored { link, personal, fits }))
            }
            Ok(Line::Tombstone { tombstone }) => Entry::Tombstone(tombstone),
            Ok(Line::Checkpoint { checkpoint }) => Entry::Checkpoint(checkpoint),
            Ok(Line::Illegible { reason, .. }) => Entry::Illegible { what: "line", reason },
            Ok(Line::Header { .. }) => {
                let reason = "it is a second header".to_owned();
                Entry::Illegible { what: "line", reason }
            }
            Err(error) => Entry::Illegible { what: "line", reason: error.to_string() },
        };
        self.hasher.update(line);
        self.proof.take(&entry);
    }

    /// What was found.
    pub fn finish(mut self) -> Verdict {
        if self.trailer.is_none() {
            self.proof.report("its last line is missing");
        }
        let mut verdict = self.proof.finish_sealed();
        if let Some(trailer) = self.trailer
            && trailer != (verdict.records, verdict.last, verdict.head)
        {
            let reason = "its last line counts other records";
            verdict.add(Break::Export { seq: verdict.last, reason });
        }
        verdict
    }
}
