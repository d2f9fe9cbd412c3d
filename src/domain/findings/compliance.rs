//! Counts how subjects stand to policies. Owns what a look changes in that, and the percentage. Face:
//! `PolicyStanding`, `standings`, `Tally`. Never counts what is not known for either side.

use std::collections::{BTreeMap, BTreeSet};

use super::{Look, Standing};
use crate::base::Timestamp;
use crate::base::ids::TenantId;

/// How a subject stands to a policy, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStanding {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The policy.
    pub policy: String,
    /// The subject.
    pub subject: String,
    /// Its project, if it is of one.
    pub project: Option<String>,
    /// How it stands.
    pub standing: Standing,
    /// When that was seen first.
    pub since: Timestamp,
}

/// What a look changes in how subjects stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandingChanges {
    /// New or other than before.
    pub put: Vec<PolicyStanding>,
    /// Gone: policy and subject.
    pub dropped: Vec<(String, String)>,
}

impl StandingChanges {
    /// Whether nothing has to be written.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.dropped.is_empty()
    }

    /// The same in parts, each with so many rows of a kind at most.
    pub fn parts(self, most: usize) -> Vec<Self> {
        let put = self.put.chunks(most).map(|put| Self { put: put.to_vec(), ..Self::default() });
        let dropped = self.dropped.chunks(most);
        let dropped = dropped.map(|it| Self { dropped: it.to_vec(), ..Self::default() });
        put.chain(dropped).collect()
    }
}

/// What a look changes in what is known of its tenant. `accepted` are subjects whose every violation of a
/// policy is accepted: policy and subject.
pub fn standings(
    known: &[PolicyStanding],
    look: &Look,
    accepted: &BTreeSet<(String, String)>,
) -> StandingChanges {
    let mut changes = StandingChanges::default();
    let rows: BTreeMap<(&str, &str), &PolicyStanding> =
        known.iter().map(|row| ((row.policy.as_str(), row.subject.as_str()), row)).collect();
    for (key, standing) in &look.standings {
        let (policy, subject) = key;
        let standing = match standing {
            Standing::Failing if accepted.contains(key) => Standing::Excepted,
            standing => *standing,
        };
        let project = look.subjects.get(subject).cloned().flatten();
        let old = rows.get(&(policy.as_str(), subject.as_str()));
        let is_same = |old: &&&PolicyStanding| old.standing == standing && old.project == project;
        let is_newer = |old: &&&PolicyStanding| old.since > look.at;
        if old.filter(is_same).is_some() || old.filter(is_newer).is_some() {
            continue;
        }
        changes.put.push(PolicyStanding {
            tenant_id: look.tenant,
            policy: policy.clone(),
            subject: subject.clone(),
            project,
            standing,
            since: look.at,
        });
    }
    for row in known {
        let is_covered = look.policies.contains(&row.policy)
            && (look.is_whole || look.subjects.contains_key(&row.subject));
        let key = (row.policy.clone(), row.subject.clone());
        if is_covered && row.since <= look.at && !look.standings.contains_key(&key) {
            changes.dropped.push(key);
        }
    }
    changes
}

/// How many subjects stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that fulfil all rules.
    pub passing: u64,
    /// Those that break one.
    pub failing: u64,
    /// Those that are excepted.
    pub excepted: u64,
    /// Those of which it is not known.
    pub unknown: u64,
}

impl Tally {
    /// All of them.
    pub const fn judged(self) -> u64 {
        self.passing + self.failing + self.excepted + self.unknown
    }

    /// Adds others.
    pub const fn join(&mut self, other: Self) {
        self.passing += other.passing;
        self.failing += other.failing;
        self.excepted += other.excepted;
        self.unknown += other.unknown;
    }

    /// Adds so many.
    pub const fn add(&mut self, standing: Standing, subjects: u64) {
        match standing {
            Standing::Passing => self.passing += subjects,
            Standing::Failing => self.failing += subjects,
            Standing::Excepted => self.excepted += subjects,
            Standing::Unknown => self.unknown += subjects,
        }
    }

    /// Those that pass, in hundredths of a percent of those that pass or fail; none when there are
    /// none. Who is excepted and what is not known counts for neither side.
    pub const fn hundredths(self) -> Option<u64> {
        (self.passing * 10_000).checked_div(self.passing + self.failing)
    }
}
