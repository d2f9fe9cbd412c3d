//! Collects steps in any order and puts them into one that respects what they wait for. Owns
//! `Draft`. Face: `Draft::add`, `need`, `finish`. Never yields a plan with a cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Cause, FieldChange, Notice, Plan, Step, StepId};

/// A step that has no place yet; copies are cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Drafted(usize);

struct Entry {
    /// Among steps that may begin, the lowest comes first.
    rank: (usize, i32),
    action: Action,
    subject: String,
    cause: Cause,
    needs: BTreeSet<Drafted>,
    after: BTreeSet<Drafted>,
}

/// The steps of a plan under construction.
#[derive(Default)]
pub(super) struct Draft {
    entries: Vec<Entry>,
    notices: BTreeSet<Notice>,
    fields: BTreeMap<String, Vec<FieldChange>>,
}

impl Draft {
    /// A further step, which waits for nothing yet.
    pub(super) fn add(
        &mut self,
        action: Action,
        subject: impl Into<String>,
        cause: Cause,
    ) -> Drafted {
        let (needs, after) = (BTreeSet::new(), BTreeSet::new());
        let (rank, subject) = ((self.entries.len(), 0), subject.into());
        self.entries.push(Entry { rank, action, subject, cause, needs, after });
        Drafted(self.entries.len() - 1)
    }

    /// `step` begins only when `before` has succeeded.
    pub(super) fn need(&mut self, step: Drafted, before: impl IntoIterator<Item = Drafted>) {
        self.entries[step.0].needs.extend(before.into_iter().filter(|before| *before != step));
    }

    /// `step` begins only when `before` has ended, well or not.
    pub(super) fn follow(&mut self, step: Drafted, before: impl IntoIterator<Item = Drafted>) {
        self.entries[step.0].after.extend(before.into_iter().filter(|before| *before != step));
    }

    /// The same as `need`, where the wish gives way if the two steps would wait for each other.
    pub(super) fn need_unless_cyclic(&mut self, step: Drafted, before: Drafted) {
        if step != before && !self.waits_for(before, step) {
            self.need(step, [before]);
        }
    }

    /// The steps by now: what each does, to what and why.
    pub(super) fn steps(&self) -> impl Iterator<Item = (Drafted, &Action, &str, &Cause)> {
        let entries = self.entries.iter().enumerate();
        entries.map(|(n, step)| (Drafted(n), &step.action, step.subject.as_str(), &step.cause))
    }

    /// `chain` comes right after `step`, one after the other: who waits for the step waits for the
    /// last of the chain.
    pub(super) fn put_behind(&mut self, step: Drafted, chain: &[Drafted]) {
        let Some(last) = chain.last() else { return };
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if chain.contains(&Drafted(index)) {
                continue;
            }
            for waited_for in [&mut entry.needs, &mut entry.after] {
                if waited_for.remove(&step) {
                    waited_for.insert(*last);
                }
            }
        }
        let (anchor, _) = self.entries[step.0].rank;
        let mut before = step;
        for (place, link) in (1..).zip(chain) {
            self.entries[link.0].rank = (anchor, place);
            self.need(*link, [before]);
            before = *link;
        }
    }

    /// `chain` comes right before `step`, one after the other: it begins when the step could, and
    /// the step begins when the chain has ended, well or not.
    pub(super) fn put_in_front(&mut self, step: Drafted, chain: &[Drafted]) {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else { return };
        let (anchor, _) = self.entries[step.0].rank;
        let waits_for = (self.entries[step.0].needs.clone(), self.entries[step.0].after.clone());
        (self.entries[first.0].needs, self.entries[first.0].after) = waits_for;
        for (place, link) in (1..).zip(chain.iter().rev()) {
            self.entries[link.0].rank = (anchor, -place);
        }
        for pair in chain.windows(2) {
            self.need(pair[1], [pair[0]]);
        }
        // What the step itself needs it goes on needing: a chain is skipped as well when that fails.
        self.follow(step, [*last]);
    }

    /// Something worth knowing.
    pub(super) fn notice(&mut self, code: &str, subject: &str, message: impl Into<String>) {
        let (code, subject, message) = (code.to_owned(), subject.to_owned(), message.into());
        self.notices.insert(Notice { code, subject, message });
    }

    /// What changes of the container of this name.
    pub(super) fn tell(&mut self, name: &str, fields: Vec<FieldChange>) {
        self.fields.insert(name.to_owned(), fields);
    }

    fn waits_for(&self, step: Drafted, before: Drafted) -> bool {
        let (mut open, mut seen) = (vec![step], BTreeSet::new());
        while let Some(next) = open.pop() {
            if next == before {
                return true;
            }
            if seen.insert(next) {
                let entry = &self.entries[next.0];
                open.extend(entry.needs.iter().chain(&entry.after));
            }
        }
        false
    }

    /// The plan, in the order of drafting as far as the waiting allows.
    ///
    /// # Panics
    /// When steps wait for each other in a circle, which the planner's rules exclude.
    pub(super) fn finish(self, project: &str) -> Plan {
        let order = self.order();
        let before = self.all_before(&order);
        let mut places = vec![StepId(0); self.entries.len()];
        for (id, drafted) in (1..).zip(&order) {
            places[drafted.0] = StepId(id);
        }
        let placed = |entry: &Entry, set: &BTreeSet<Drafted>| {
            // What a step waits for already waits for the rest.
            let is_implied = |drafted: &&Drafted| {
                entry.needs.iter().any(|need| before[need.0].contains(drafted))
            };
            let told = set.iter().filter(|drafted| !is_implied(drafted));
            let mut ids: Vec<_> = told.map(|drafted| places[drafted.0]).collect();
            ids.sort_unstable();
            ids
        };
        let steps = order.iter().map(|drafted| {
            let entry = &self.entries[drafted.0];
            Step {
                id: places[drafted.0],
                subject: entry.subject.clone(),
                cause_text: entry.cause.to_string(),
                cause: entry.cause.clone(),
                depends_on: placed(entry, &entry.needs),
                after: placed(entry, &entry.after),
                undo: entry.action.undo().to_owned(),
                action: entry.action.clone(),
            }
        });
        Plan {
            project: project.to_owned(),
            steps: steps.collect(),
            notices: self.notices.into_iter().collect(),
            fields: self.fields,
        }
    }

    /// For each step, all that must have succeeded before it.
    fn all_before(&self, order: &[Drafted]) -> Vec<BTreeSet<Drafted>> {
        let mut before = vec![BTreeSet::new(); self.entries.len()];
        for step in order {
            let mut all = BTreeSet::new();
            for need in &self.entries[step.0].needs {
                all.insert(*need);
                all.extend(before[need.0].iter().copied());
            }
            before[step.0] = all;
        }
        before
    }

    fn order(&self) -> Vec<Drafted> {
        let mut waiting: Vec<usize> =
            self.entries.iter().map(|entry| entry.needs.union(&entry.after).count()).collect();
        let mut dependents = vec![Vec::new(); self.entries.len()];
        for (index, entry) in self.entries.iter().enumerate() {
            for before in entry.needs.union(&entry.after) {
                dependents[before.0].push(index);
            }
        }
        let ranked = |index: usize| (self.entries[index].rank, index);
        let free = (0..self.entries.len()).filter(|index| waiting[*index] == 0);
        let mut free: BTreeSet<_> = free.map(ranked).collect();
        let mut order = Vec::with_capacity(self.entries.len());
        while let Some((_, index)) = free.pop_first() {
            order.push(Drafted(index));
            for &dependent in &dependents[index] {
                waiting[dependent] -= 1;
                if waiting[dependent] == 0 {
                    free.insert(ranked(dependent));
                }
            }
        }
        assert_eq!(order.len(), self.entries.len(), "steps wait for each other");
        order
    }
}
