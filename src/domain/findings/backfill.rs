//! Gives rows of the form before lifecycles what they lack, and makes one of those that are the
//! same. Owns that decision, page by page. Face: `wanted_keys`, `backfill`. Never changes a row that
//! has all it needs, unless an older one joins it.

use std::collections::BTreeMap;

use super::{CloseReason, Finding, time_allowed};
use crate::base::ids::FindingId;
use crate::base::time::after;
use crate::base::{Digest, Timestamp};

/// A row that is to be written, and the version that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row as it becomes.
    pub finding: Finding,
    /// What the row's version must still be.
    pub seen_version: u64,
}

/// What becomes of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backfilled {
    /// Rows to be written. One that gives its fingerprint away comes before who takes it.
    pub changes: Vec<Change>,
    /// Rows of the page that change, those that join another among them.
    pub updated: u64,
    /// Rows of the page that have all they need.
    pub skipped: u64,
}

/// The fingerprints by which rows outside of the page are the same as rows in it.
pub fn wanted_keys(page: &[Finding]) -> Vec<Digest> {
    let lacking = page.iter().filter(|finding| !finding.is_complete());
    let mut keys: Vec<Digest> = lacking.map(key_of).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn key_of(finding: &Finding) -> Digest {
    finding.evidence.recurrence_key(finding.tenant_id)
}

/// Decides a page of one tenant's rows. `known` are the rows outside of it that have one of the
/// `wanted_keys` as fingerprint; `at` is when the backfill was asked for, so that a page that is
/// decided again after a crash comes out the same.
pub fn backfill(page: &[Finding], known: &[Finding], at: Timestamp) -> Backfilled {
    let mut rows: BTreeMap<FindingId, Finding> = BTreeMap::new();
    let mut read: BTreeMap<FindingId, u64> = BTreeMap::new();
    // Who has a key as its fingerprint keeps it; else the oldest row gets it.
    let mut keepers: BTreeMap<Digest, FindingId> = BTreeMap::new();
    for finding in known.iter().chain(page) {
        read.insert(finding.id, finding.version);
        let key = key_of(finding);
        if finding.fingerprint == key.to_string() {
            keepers.insert(key, finding.id);
            rows.insert(finding.id, finding.clone());
        }
    }
    let mut done = Backfilled::default();
    let mut order: Vec<FindingId> = Vec::new();
    for finding in page {
        if finding.is_complete() {
            done.skipped += 1;
            continue;
        }
        done.updated += 1;
        let key = key_of(finding);
        let keeper = *keepers.entry(key).or_insert(finding.id);
        if keeper == finding.id {
            // It may have taken in others of this page already.
            let row = rows.get(&finding.id).unwrap_or(finding);
            let filled = filled(row, key, at);
            rows.insert(finding.id, filled);
        } else if let Some(into) = rows.get(&keeper) {
            let joined = filled(finding, key, at);
            let mut kept = merged(&filled(into, key, at), &joined, at);
            if !into.is_complete() {
                // It is in a page to come, or further on in this one, and counts there.
                kept.recurrence_key = None;
            }
            rows.insert(keeper, kept);
            rows.insert(finding.id, consolidated(joined, keeper, at));
            order.extend([finding.id, keeper]);
            continue;
        }
        order.push(finding.id);
    }
    let mut written = std::collections::BTreeSet::new();
    for id in order {
        let (Some(finding), Some(seen)) = (rows.get(&id), read.get(&id)) else { continue };
        if written.insert(id) {
            let finding = Finding { version: seen + 1, updated_at: at, ..finding.clone() };
            done.changes.push(Change { finding, seen_version: *seen });
        }
    }
    done
}

/// The row with all that its lifecycle needs. What it knows stays.
fn filled(finding: &Finding, key: Digest, at: Timestamp) -> Finding {
    let first = finding.first_seen_at.unwrap_or(finding.created_at);
    let last = finding.last_seen_at.unwrap_or(finding.updated_at).max(first);
    let due = match finding.status.wants_due_date() {
        // From now on: nobody could keep a date that is over when it is set.
        true => time_allowed(finding.severity).map(|allowed| after(at, allowed)),
        false => None,
    };
    Finding {
        fingerprint: key.to_string(),
        recurrence_key: Some(key),
        lineage_key: finding.lineage_key.or(finding.evidence.lineage_key(finding.tenant_id)),
        first_seen_at: Some(first),
        last_seen_at: Some(last),
        times_seen: Some(finding.times_seen.unwrap_or(1)),
        due_at: finding.due_at.or(due),
        ..finding.clone()
    }
}

/// The row that goes on, with what the other one knew. Of the two, the one that is open counts.
fn merged(kept: &Finding, joined: &Finding, at: Timestamp) -> Finding {
    let reopens = kept.status.is_over() && !joined.status.is_over();
    let standing = if reopens { joined } else { kept };
    let merged = Finding {
        severity: kept.severity.max(joined.severity),
        status: standing.status,
        resolved_at: standing.resolved_at,
        closed_at: standing.closed_at,
        close_reason: standing.close_reason,
        merged_into: None,
        first_seen_at: kept.first_seen_at.min(joined.first_seen_at),
        last_seen_at: kept.last_seen_at.max(joined.last_seen_at),
        times_seen: Some(kept.times_seen.unwrap_or(1) + joined.times_seen.unwrap_or(1)),
        reopen_count: kept.reopen_count.max(joined.reopen_count),
        due_at: earliest(standing.due_at, joined.due_at.filter(|_| !standing.status.is_over())),
        owner: kept.owner.or(joined.owner),
        assignee: kept.assignee.or(joined.assignee),
        current_operation_run_id: match kept.last_seen_at >= joined.last_seen_at {
            true => kept.current_operation_run_id.or(joined.current_operation_run_id),
            false => joined.current_operation_run_id.or(kept.current_operation_run_id),
        },
        ..kept.clone()
    };
    filled(&merged, key_of(kept), at)
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// The row that joined another one: closed, with a fingerprint that no key can be.
fn consolidated(joined: Finding, into: FindingId, at: Timestamp) -> Finding {
    Finding {
        fingerprint: format!("consolidated:{}", joined.id),
        status: super::FindingStatus::Closed,
        closed_at: Some(joined.closed_at.unwrap_or(at)),
        close_reason: Some(CloseReason::Consolidated),
        merged_into: Some(into),
        due_at: None,
        ..joined
    }
}
