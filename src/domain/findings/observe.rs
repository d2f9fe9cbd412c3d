//! Decides what a look changes in the findings. Owns what is new, seen again, reopened, resolved. Face:
//! `observe_seen`, `observe_unseen`, `expire`. Never touches what a look did not cover, and never lets an
//! older look take back what a newer one said.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Change, ExceptionStatus, Finding, FindingException, FindingStatus, Look, Told, Violation,
    time_allowed,
};
use crate::base::ids::{FindingId, WorkspaceId};
use crate::base::time::after;
use crate::base::{Digest, Timestamp};
use crate::domain::alerts::Severity;

/// An exception that is to be written, and the status that was read; none for a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionChange {
    /// The exception as it becomes.
    pub exception: FindingException,
    /// What its status must still be.
    pub seen_status: Option<ExceptionStatus>,
}

/// What happened to a finding that somebody should be able to read later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It was seen for the first time.
    Created,
    /// It was seen again after it was over.
    Reopened,
    /// It is accepted no more: what is seen is not what was accepted.
    AcceptanceVoid,
    /// It is accepted no more: the time of its exception is over.
    ExceptionExpired,
    /// It is seen again, and is still accepted.
    StillAccepted,
    /// It is not there any more.
    Resolved,
}

/// Something that happened to one finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// What.
    pub what: What,
    /// Where it stood before; none for a new one.
    pub before: Option<FindingStatus>,
    /// The finding as it is then.
    pub finding: Finding,
}

/// What a look changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// New rows.
    pub new: Vec<Finding>,
    /// Rows that change.
    pub changes: Vec<Change>,
    /// Exceptions that end.
    pub exceptions: Vec<ExceptionChange>,
    /// What is worth a record.
    pub happened: Vec<Happened>,
    /// How many were seen again, and nothing else.
    pub seen_again: u64,
}

impl Observed {
    /// Whether nothing has to be written.
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.changes.is_empty() && self.exceptions.is_empty()
    }

    fn change(&mut self, old: &Finding, new: Finding, at: Timestamp, what: Option<What>) {
        let updated_at = at.max(old.updated_at);
        let finding = Finding { version: old.version + 1, updated_at, ..new };
        if let Some(what) = what {
            let before = Some(old.status);
            self.happened.push(Happened { what, before, finding: finding.clone() });
        }
        self.changes.push(Change { finding, seen_version: old.version });
    }

    fn end(&mut self, exception: &FindingException, status: ExceptionStatus) {
        self.exceptions.push(ExceptionChange {
            exception: FindingException { status, ..exception.clone() },
            seen_status: Some(exception.status),
        });
    }
}

/// Decides what was seen: `violations` are some of the look's, `known` the tenant's rows with their keys
/// as fingerprint, `exceptions` those of these rows.
pub fn observe_seen(
    (workspace, look): (WorkspaceId, &Look),
    violations: &[Violation],
    known: &[Finding],
    exceptions: &[FindingException],
    new_id: &mut dyn FnMut() -> FindingId,
) -> Observed {
    let rows: BTreeMap<&str, &Finding> =
        known.iter().map(|row| (row.fingerprint.as_str(), row)).collect();
    let mut done = Observed::default();
    let mut met = BTreeSet::new();
    for violation in violations {
        let key = violation.key(look.tenant);
        // Two that are the same: the first one counts.
        if !met.insert(key) {
            continue;
        }
        match rows.get(key.to_string().as_str()) {
            Some(row) => again(row, violation, look, exceptions, &mut done),
            None => {
                let finding = fresh((workspace, new_id()), violation, key, look);
                let what = What::Created;
                done.happened.push(Happened { what, before: None, finding: finding.clone() });
                done.new.push(finding);
            }
        }
    }
    done
}

/// Decides what was not seen: `rows` are open ones of the tenant, `seen` the keys of all violations.
pub fn observe_unseen(rows: &[Finding], look: &Look, seen: &BTreeSet<Digest>) -> Observed {
    let mut done = Observed::default();
    for row in rows {
        let key = row.evidence.recurrence_key(row.tenant_id);
        let is_newer = row.last_seen_at.is_some_and(|last| last > look.at);
        if row.status.is_over() || is_newer || seen.contains(&key) || !look.covers(row) {
            continue;
        }
        let resolved = Finding {
            status: FindingStatus::Resolved,
            resolved_at: Some(look.at),
            due_at: None,
            ..row.clone()
        };
        done.change(row, resolved, look.at, Some(What::Resolved));
    }
    done
}

/// Decides what becomes of exceptions whose time is over, and of their findings.
pub fn expire(exceptions: &[FindingException], rows: &[Finding], at: Timestamp) -> Observed {
    let rows: BTreeMap<FindingId, &Finding> = rows.iter().map(|row| (row.id, row)).collect();
    let mut done = Observed::default();
    let is_over = |it: &&FindingException| {
        use ExceptionStatus::{Approved, Requested};
        matches!(it.status, Approved | Requested) && it.expires_at <= at
    };
    let mut met = BTreeSet::new();
    for exception in exceptions.iter().filter(is_over) {
        done.end(exception, ExceptionStatus::Expired);
        let Some(row) = rows.get(&exception.finding_id) else { continue };
        let is_accepted = exception.status == ExceptionStatus::Approved
            && row.status == FindingStatus::RiskAccepted;
        if is_accepted && met.insert(row.id) {
            done.change(row, reopened(row, at), at, Some(What::ExceptionExpired));
        }
    }
    done
}

fn fresh(
    (workspace_id, id): (WorkspaceId, FindingId),
    violation: &Violation,
    key: Digest,
    look: &Look,
) -> Finding {
    Finding {
        id,
        workspace_id,
        tenant_id: look.tenant,
        severity: violation.severity,
        status: FindingStatus::New,
        fingerprint: key.to_string(),
        recurrence_key: Some(key),
        lineage_key: None,
        scope_key: violation.scope_key(),
        first_seen_at: Some(look.at),
        last_seen_at: Some(look.at),
        times_seen: Some(1),
        reopen_count: 0,
        due_at: due(violation.severity, look.at),
        owner: None,
        assignee: None,
        evidence: violation.evidence(),
        evidence_hash: Some(violation.evidence_hash),
        told: Told::of(violation),
        overdue_told_at: None,
        baseline_operation_run_id: None,
        current_operation_run_id: look.run,
        resolved_at: None,
        closed_at: None,
        close_reason: None,
        merged_into: None,
        created_at: look.at,
        updated_at: look.at,
        version: 1,
    }
}

fn again(
    row: &Finding,
    violation: &Violation,
    look: &Look,
    exceptions: &[FindingException],
    done: &mut Observed,
) {
    let at = look.at;
    let over_at = row.closed_at.max(row.resolved_at);
    let is_older = row.last_seen_at.is_some_and(|last| last > at)
        || (row.status.is_over() && over_at.is_some_and(|over| over > at));
    // One that joined another has given its key away.
    if is_older || row.merged_into.is_some() {
        return;
    }
    let is_counted = match look.run {
        Some(run) => row.current_operation_run_id == Some(run),
        None => row.last_seen_at == Some(at),
    };
    let mut new = Finding {
        severity: violation.severity,
        scope_key: violation.scope_key(),
        evidence_hash: Some(violation.evidence_hash),
        told: Told::of(violation),
        first_seen_at: row.first_seen_at.or(Some(at)),
        ..row.clone()
    };
    if !is_counted {
        new.last_seen_at = Some(at);
        new.times_seen = Some(row.times_seen.unwrap_or(0) + 1);
        new.current_operation_run_id = look.run.or(row.current_operation_run_id);
    }
    let accepted = exceptions.iter().find(|it| {
        it.finding_id == row.id && it.status == ExceptionStatus::Approved && it.counts(at)
    });
    let holds = accepted.is_some_and(|it| it.evidence_hash == violation.evidence_hash);
    let what = match row.status {
        FindingStatus::RiskAccepted if holds => None,
        FindingStatus::RiskAccepted => {
            new = reopened(&new, at);
            Some(match accepted {
                Some(_) => What::AcceptanceVoid,
                None => What::ExceptionExpired,
            })
        }
        FindingStatus::Resolved if holds => {
            new = Finding {
                status: FindingStatus::RiskAccepted,
                resolved_at: None,
                due_at: None,
                ..new
            };
            Some(What::StillAccepted)
        }
        FindingStatus::Resolved | FindingStatus::Closed => {
            new = reopened(&new, at);
            Some(What::Reopened)
        }
        _ => None,
    };
    if what.is_some_and(|what| what != What::StillAccepted) {
        for exception in exceptions.iter().filter(|it| it.finding_id == row.id) {
            match exception.status {
                ExceptionStatus::Approved if exception.counts(at) => {
                    done.end(exception, ExceptionStatus::Revoked);
                }
                ExceptionStatus::Approved => done.end(exception, ExceptionStatus::Expired),
                _ => {}
            }
        }
    }
    if what.is_none() && new.status.wants_due_date() && new.severity > row.severity {
        new.due_at = row.due_at.into_iter().chain(due(new.severity, at)).min();
    }
    if new == *row {
        return;
    }
    if what.is_none() {
        done.seen_again += 1;
    }
    done.change(row, new, at, what);
}

/// The row after it came back.
pub(super) fn reopened(row: &Finding, at: Timestamp) -> Finding {
    Finding {
        status: FindingStatus::Reopened,
        reopen_count: row.reopen_count + 1,
        due_at: due(row.severity, at),
        overdue_told_at: None,
        resolved_at: None,
        closed_at: None,
        close_reason: None,
        ..row.clone()
    }
}

/// When it should be dealt with that is seen now.
pub(super) fn due(severity: Severity, at: Timestamp) -> Option<Timestamp> {
    time_allowed(severity).map(|allowed| after(at, allowed))
}
