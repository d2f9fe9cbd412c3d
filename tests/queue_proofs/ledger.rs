//! Compares what clients were told with what the agents say afterwards. Owns the journal that the
//! clients write, and the rules. Face: `Journal`, `Entry`, `Facts`, `check`. Never asks an agent: it
//! judges a history, so that a forged one can be judged too.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub(crate) type Counts = BTreeMap<String, u64>;

/// A run, or one job of a bulk run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Unit {
    pub(crate) run: String,
    pub(crate) job: Option<String>,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.job {
            Some(job) => write!(f, "job {job} of run {}", self.run),
            None => write!(f, "run {}", self.run),
        }
    }
}

/// One call of a client, written when it is known what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Which process.
    pub(crate) by: String,
    /// When it was sent, and when its answer had come, in nanoseconds of the host's clock.
    pub(crate) sent: u64,
    pub(crate) heard: u64,
    pub(crate) what: What,
}

impl Entry {
    /// Whether no answer came.
    pub(crate) fn is_unknown(&self) -> bool {
        match &self.what {
            What::Asked { told, .. } => *told == Asked::Unknown,
            What::Said { told, .. } => *told == Told::Unknown,
            What::Began { .. } | What::Refused { .. } => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum What {
    /// It asked for a run of this identity.
    Asked { identity: String, told: Asked },
    /// It claimed, and was given this.
    Began { unit: Unit, attempt: u32, subject: Option<String> },
    /// It told of an attempt.
    Said { unit: Unit, attempt: u32, word: Word, counts: Counts, told: Told },
    /// Something else was refused: a claim.
    Refused { status: u16, code: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Asked {
    /// This run does it. From here on it must not be lost.
    Acknowledged {
        run: String,
    },
    Refused {
        status: u16,
        code: String,
    },
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Word {
    Heartbeat,
    Complete,
    Fail,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Told {
    Accepted,
    Refused { status: u16, code: String },
    Unknown,
}

impl Told {
    fn is_accepted(&self) -> bool {
        *self == Self::Accepted
    }

    /// Whether it may have been done: no answer came, or the agent did not hear of its database any
    /// more, which is what 503 says.
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown | Self::Refused { status: 503, .. })
    }
}

/// The time of this host, the same in all its processes.
#[expect(clippy::disallowed_methods, reason = "processes compare what they did, by one clock")]
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

/// A file that many processes append to. Each entry is one write, which the kernel puts behind
/// everything else (`O_APPEND`).
pub(crate) struct Journal {
    file: File,
    by: String,
}

impl Journal {
    pub(crate) fn open(path: &Path, by: &str) -> Self {
        let file = File::options().create(true).append(true).open(path).unwrap();
        Self { file, by: by.to_owned() }
    }

    /// Notes a call whose answer has come now.
    pub(crate) fn note(&mut self, sent: u64, what: What) {
        let entry = Entry { by: self.by.clone(), sent, heard: now(), what };
        let line = format!("{}\n", serde_json::to_string(&entry).unwrap());
        self.file.write_all(line.as_bytes()).unwrap();
    }

    pub(crate) fn read(path: &Path) -> Vec<Entry> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What the agents say when all is done.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) runs: BTreeMap<String, RunFact>,
    /// How often the audit log tells of each run's end.
    pub(crate) ends: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RunFact {
    pub(crate) identity: String,
    pub(crate) is_completed: bool,
    pub(crate) outcome: String,
    pub(crate) attempt: u32,
    pub(crate) counts: Counts,
    /// Of a bulk run: each job's status and latest attempt.
    pub(crate) jobs: BTreeMap<String, (String, u32)>,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Broken {
    /// An acknowledged run does not exist.
    Lost { run: String },
    /// A run was left without an end.
    Open { run: String },
    /// Two runs of one identity were active at once.
    TwoActive { identity: String, first: String, second: String },
    /// Two claims were given one fencing token.
    SharedToken { unit: Unit, attempt: u32 },
    /// A worker's word was taken after somebody else had the work.
    Overlap { unit: Unit, holder: u32, accepted: u32 },
    /// Two runs of one subject were executed at once.
    TwoOnSubject { subject: String, first: String, second: String },
    /// Two ends of one unit were accepted.
    DoubleEnd { unit: Unit },
    /// The record's end is not the one that was accepted.
    OtherEnd { unit: Unit, accepted: u32, recorded: u32 },
    /// The record says done, and no worker said so.
    NobodysEnd { unit: Unit },
    /// The audit log does not tell of the end exactly once.
    EndsRecorded { run: String, times: u32 },
    /// The counts are not the sum of what was accepted.
    WrongCounts { run: String, expected: Counts, found: Counts },
}

/// Every promise that the history breaks. All runs are expected to have ended well.
pub(crate) fn check(history: &[Entry], facts: &Facts) -> Vec<Broken> {
    let units = by_unit(history);
    let mut broken = BTreeSet::new();
    for run in acknowledged(history) {
        if !facts.runs.contains_key(&run) {
            broken.insert(Broken::Lost { run });
        }
    }
    broken.extend(two_active(history));
    broken.extend(locks_broken(history));
    for (unit, told) in &units {
        told.check(unit, &mut broken);
    }
    for (id, run) in &facts.runs {
        check_run(id, run, facts, &units, &mut broken);
    }
    broken.into_iter().collect()
}

/// The runs whose acceptance was acknowledged.
pub(crate) fn acknowledged(history: &[Entry]) -> BTreeSet<String> {
    let run = |entry: &Entry| match &entry.what {
        What::Asked { told: Asked::Acknowledged { run }, .. } => Some(run.clone()),
        _ => None,
    };
    history.iter().filter_map(run).collect()
}

/// What clients were told about one unit.
#[derive(Default)]
struct Unitary<'a> {
    /// When each attempt's holder knew of it; several when a token was given twice.
    began: BTreeMap<u32, Vec<u64>>,
    /// What was said, in no order.
    said: Vec<(&'a Entry, u32, Word, &'a Counts, &'a Told)>,
}

fn by_unit(history: &[Entry]) -> BTreeMap<Unit, Unitary<'_>> {
    let mut units: BTreeMap<Unit, Unitary<'_>> = BTreeMap::new();
    for entry in history {
        match &entry.what {
            What::Began { unit, attempt, .. } => {
                let told = units.entry(unit.clone()).or_default();
                told.began.entry(*attempt).or_default().push(entry.heard);
            }
            What::Said { unit, attempt, word, counts, told } => {
                let unit = units.entry(unit.clone()).or_default();
                unit.said.push((entry, *attempt, *word, counts, told));
            }
            What::Asked { .. } | What::Refused { .. } => {}
        }
    }
    units
}

impl Unitary<'_> {
    fn check(&self, unit: &Unit, broken: &mut BTreeSet<Broken>) {
        for (attempt, holders) in &self.began {
            if holders.len() > 1 {
                broken.insert(Broken::SharedToken { unit: unit.clone(), attempt: *attempt });
            }
        }
        for (entry, attempt, _, _, told) in &self.said {
            // Somebody knew that he held a later attempt before this word was even sent.
            let later = self
                .began
                .range(attempt + 1..)
                .find(|(_, heard)| heard.iter().any(|heard| *heard < entry.sent));
            if let (Told::Accepted, Some((holder, _))) = (told, later) {
                let (holder, accepted) = (*holder, *attempt);
                broken.insert(Broken::Overlap { unit: unit.clone(), holder, accepted });
            }
        }
        if self.ends(Told::is_accepted).len() > 1 {
            broken.insert(Broken::DoubleEnd { unit: unit.clone() });
        }
    }

    /// The attempts whose completion was told this, and with which counts.
    fn ends(&self, wanted: impl Fn(&Told) -> bool) -> BTreeMap<u32, &Counts> {
        let ends = self
            .said
            .iter()
            .filter(|(_, _, word, _, told)| *word == Word::Complete && wanted(told));
        ends.map(|(_, attempt, _, counts, _)| (*attempt, *counts)).collect()
    }
}

/// When runs were asked for and given, each from the sending to the answer.
type Askings<'a> = BTreeMap<&'a str, Vec<(u64, u64)>>;

/// Two runs of one identity: somebody asked and was given the second one while the first was active
/// for certain, from its first acknowledgement that was heard to the first try to end it. A slow
/// client may hear of a run when it has ended long since: what counts is that all of its asking, from
/// the sending to the answer, fell into that time.
fn two_active(history: &[Entry]) -> Vec<Broken> {
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    let mut known: BTreeMap<&str, Askings<'_>> = BTreeMap::new();
    for entry in history {
        match &entry.what {
            What::Said { unit, word: Word::Complete, .. } => {
                let first = ended.entry(&unit.run).or_insert(entry.sent);
                *first = entry.sent.min(*first);
            }
            What::Asked { identity, told: Asked::Acknowledged { run } } => {
                let asked = known.entry(identity).or_default().entry(run).or_default();
                asked.push((entry.sent, entry.heard));
            }
            _ => {}
        }
    }
    let mut broken = BTreeSet::new();
    for (identity, runs) in &known {
        for (first, asked) in runs {
            let from = asked.iter().map(|(_, heard)| *heard).min().unwrap_or(u64::MAX);
            let to = ended.get(first).copied().unwrap_or(u64::MAX);
            let is_within = |(sent, heard): &(u64, u64)| *sent > from && *heard < to;
            for (second, asked) in runs {
                if first != second && asked.iter().any(is_within) {
                    broken.insert(Broken::TwoActive {
                        identity: (*identity).to_owned(),
                        first: (*first).to_owned(),
                        second: (*second).to_owned(),
                    });
                }
            }
        }
    }
    broken.into_iter().collect()
}

/// Two runs of one subject that were executed at once. A worker has its run for certain from when it
/// heard of its claim to when it sent the last word that was accepted. Either these times of two runs
/// overlap, or all of the second one's claiming fell into that of the first. A slow worker may hear of
/// its claim when it has lost it since: that alone says nothing.
fn locks_broken(history: &[Entry]) -> Vec<Broken> {
    let mut subjects: BTreeMap<&str, Vec<Claimed<'_>>> = BTreeMap::new();
    let mut last_word: BTreeMap<(&str, u32), u64> = BTreeMap::new();
    for entry in history {
        match &entry.what {
            What::Began { unit, attempt, subject: Some(subject) } if unit.job.is_none() => {
                let (sent, heard) = (entry.sent, entry.heard);
                let claimed = Claimed { heard, sent, run: &unit.run, attempt: *attempt };
                subjects.entry(subject).or_default().push(claimed);
            }
            What::Said { unit, attempt, told: Told::Accepted, .. } if unit.job.is_none() => {
                let last = last_word.entry((&unit.run, *attempt)).or_default();
                *last = entry.sent.max(*last);
            }
            _ => {}
        }
    }
    let until = |it: &Claimed<'_>| last_word.get(&(it.run, it.attempt)).copied().unwrap_or(0);
    let mut broken = Vec::new();
    for (subject, mut claims) in subjects {
        claims.sort_unstable();
        for (place, first) in claims.iter().enumerate() {
            let had = until(first);
            let is_at_once = |second: &&Claimed<'_>| {
                second.run != first.run
                    && (second.heard < until(second) || second.sent > first.heard)
            };
            let later = claims[place + 1..].iter().take_while(|second| second.heard < had);
            if let Some(second) = later.into_iter().find(is_at_once) {
                let (first, second) = (first.run.to_owned(), second.run.to_owned());
                broken.push(Broken::TwoOnSubject { subject: subject.to_owned(), first, second });
            }
        }
    }
    broken
}

/// A claim of a run, by when it was heard of.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Claimed<'a> {
    heard: u64,
    sent: u64,
    run: &'a str,
    attempt: u32,
}

fn check_run(
    id: &str,
    run: &RunFact,
    facts: &Facts,
    units: &BTreeMap<Unit, Unitary<'_>>,
    broken: &mut BTreeSet<Broken>,
) {
    if !run.is_completed {
        broken.insert(Broken::Open { run: id.to_owned() });
        return;
    }
    let times = facts.ends.get(id).copied().unwrap_or(0);
    if times != 1 {
        broken.insert(Broken::EndsRecorded { run: id.to_owned(), times });
    }
    let whole = (None, (run.outcome.clone(), run.attempt));
    let parts = run.jobs.iter().map(|(key, standing)| (Some(key.clone()), standing.clone()));
    let parts: Vec<_> = match run.jobs.is_empty() {
        true => vec![whole],
        false => parts.collect(),
    };
    let mut expected = Counts::new();
    for (job, (status, recorded)) in parts {
        let unit = Unit { run: id.to_owned(), job };
        let nothing = Unitary::default();
        let told = units.get(&unit).unwrap_or(&nothing);
        let accepted = told.ends(Told::is_accepted);
        if let Some((accepted, _)) = accepted.iter().find(|(attempt, _)| **attempt != recorded) {
            let accepted = *accepted;
            broken.insert(Broken::OtherEnd { unit: unit.clone(), accepted, recorded });
        }
        let unknown = told.ends(Told::is_unknown);
        match accepted.get(&recorded).or(unknown.get(&recorded)) {
            Some(counts) if status == "succeeded" => {
                for (key, count) in *counts {
                    *expected.entry(key.clone()).or_default() += count;
                }
            }
            _ => {
                broken.insert(Broken::NobodysEnd { unit });
            }
        }
    }
    let found: Counts =
        run.counts.iter().filter(|(_, n)| **n > 0).map(|(k, n)| (k.clone(), *n)).collect();
    if expected != found {
        broken.insert(Broken::WrongCounts { run: id.to_owned(), expected, found });
    }
}
