//! Says what a person may do with a finding. Owns the transitions and the rules of accepting a risk.
//! Face: `Command`, `command`, `decide_exception`. Never lets anybody approve what they asked for.

use super::observe::{due, reopened};
use super::{
    Change, CloseReason, ExceptionChange, ExceptionStatus, Finding, FindingException, FindingStatus,
};
use crate::base::Timestamp;
use crate::base::ids::UserId;
use crate::base::keyed::keyed;

keyed! {
    /// What a person can do with a finding.
    pub enum Verb: "verb of findings" {
        /// They have looked at it.
        Triage = "triage",
        /// Somebody is to deal with it, or nobody any more.
        Assign = "assign",
        /// Somebody works on it.
        Start = "start",
        /// They ask for the risk to be accepted.
        Accept = "accept",
        /// It was put right; the next look says whether that is so.
        Resolve = "resolve",
        /// They are done with it.
        Close = "close",
        /// It is not over.
        Reopen = "reopen",
    }
}

impl Verb {
    /// Whether it may be done with a finding that stands so.
    pub const fn is_legal(self, status: FindingStatus) -> bool {
        use FindingStatus::{Closed, InProgress, New, Reopened, Resolved, RiskAccepted, Triaged};
        match self {
            Self::Triage => matches!(status, New | Reopened),
            Self::Assign => matches!(status, New | Triaged | InProgress | Reopened | RiskAccepted),
            Self::Start => matches!(status, Triaged | Reopened),
            Self::Resolve => matches!(status, InProgress),
            Self::Accept => matches!(status, New | Triaged | InProgress | Reopened),
            Self::Close => matches!(status, New | Triaged | InProgress | Reopened | Resolved),
            Self::Reopen => matches!(status, Resolved | Closed),
        }
    }

    /// What may be done with a finding that stands so.
    pub fn legal(status: FindingStatus) -> Vec<Self> {
        Self::ALL.iter().copied().filter(|verb| verb.is_legal(status)).collect()
    }
}

/// What somebody does with a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// They have looked at it.
    Triage,
    /// Whom it is given to; none takes it back.
    Assign(Option<UserId>),
    /// They begin to work on it.
    Start,
    /// It was put right.
    Resolve,
    /// They are done with it.
    Close,
    /// It is not over.
    Reopen,
}

impl Command {
    /// Its verb.
    pub const fn verb(self) -> Verb {
        match self {
            Self::Triage => Verb::Triage,
            Self::Assign(_) => Verb::Assign,
            Self::Start => Verb::Start,
            Self::Resolve => Verb::Resolve,
            Self::Close => Verb::Close,
            Self::Reopen => Verb::Reopen,
        }
    }
}

/// Why something was not done with a finding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It stands where that is not done.
    #[error("a finding that is {status} cannot be done `{verb}` with; possible: {}", words(*status))]
    Illegal {
        /// What was asked.
        verb: Verb,
        /// Where it stands.
        status: FindingStatus,
    },
    /// It joined another one, which goes on.
    #[error("the finding is the same as {0}, which goes on")]
    Merged(crate::base::ids::FindingId),
    /// Whoever approves is not who asked.
    #[error("nobody decides about an exception of their own: another person has to")]
    OwnException,
    /// It was decided already, or is over.
    #[error("the exception is {0}, and cannot be changed so")]
    Decided(ExceptionStatus),
    /// One is asked for or in force already.
    #[error("the finding has an exception that is {0}")]
    Twice(ExceptionStatus),
    /// An exception ends, and not in the past.
    #[error("an exception ends after now, and within {days} days")]
    Expiry {
        /// The longest life of one.
        days: u64,
    },
    /// What was asked for is not what is there now.
    #[error("what was found has changed since the exception was asked for")]
    OtherEvidence,
    /// Nobody has seen it in a form that could be accepted.
    #[error("the finding has no evidence yet that could be accepted")]
    NoEvidence,
}

fn words(status: FindingStatus) -> String {
    let mut words: Vec<&str> = Verb::legal(status).into_iter().map(Verb::key).collect();
    if status == FindingStatus::RiskAccepted {
        words.push("revoke its exception");
    }
    words.join(", ")
}

/// The longest life of an exception, in days.
pub const EXCEPTION_DAYS_MAX: u64 = 365;

/// Whether a verb may be done with a finding.
///
/// # Errors
/// When it stands where that is not done.
pub fn check(row: &Finding, verb: Verb) -> Result<(), Refused> {
    if let Some(into) = row.merged_into {
        return Err(Refused::Merged(into));
    }
    match verb.is_legal(row.status) {
        true => Ok(()),
        false => Err(Refused::Illegal { verb, status: row.status }),
    }
}

/// What becomes of a finding; none when it is so already.
///
/// # Errors
/// When it stands where that is not done.
pub fn command(row: &Finding, command: Command, at: Timestamp) -> Result<Option<Change>, Refused> {
    check(row, command.verb())?;
    let due_at = || row.due_at.or(due(row.severity, at));
    let new = match command {
        Command::Triage => {
            Finding { status: FindingStatus::Triaged, due_at: due_at(), ..row.clone() }
        }
        Command::Assign(assignee) => Finding { assignee, ..row.clone() },
        Command::Start => {
            Finding { status: FindingStatus::InProgress, due_at: due_at(), ..row.clone() }
        }
        Command::Resolve => Finding {
            status: FindingStatus::Resolved,
            resolved_at: Some(at),
            due_at: None,
            ..row.clone()
        },
        Command::Close => Finding {
            status: FindingStatus::Closed,
            closed_at: Some(at),
            close_reason: Some(CloseReason::ClosedByPerson),
            due_at: None,
            ..row.clone()
        },
        Command::Reopen => reopened(row, at),
    };
    Ok((new != *row).then(|| changed(row, new, at)))
}

fn changed(row: &Finding, new: Finding, at: Timestamp) -> Change {
    let updated_at = at.max(row.updated_at);
    let finding = Finding { version: row.version + 1, updated_at, ..new };
    Change { finding, seen_version: row.version }
}

/// What is decided about an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The risk is accepted.
    Approve,
    /// It is not.
    Reject,
    /// It is not any more, or is not asked for any more.
    Revoke,
}

/// Checks a new exception of a finding; `others` are the ones it has.
///
/// # Errors
/// When the finding stands where that is not done, has one already, or the time is none.
pub fn check_exception(
    row: &Finding,
    others: &[FindingException],
    expires_at: Timestamp,
    at: Timestamp,
) -> Result<(), Refused> {
    check(row, Verb::Accept)?;
    if row.evidence_hash.is_none() {
        return Err(Refused::NoEvidence);
    }
    if let Some(other) = others.iter().find(|it| it.is_open(at)) {
        return Err(Refused::Twice(other.status));
    }
    let days = EXCEPTION_DAYS_MAX;
    let longest = crate::base::time::after(at, std::time::Duration::from_secs(days * 24 * 3600));
    match at < expires_at && expires_at <= longest {
        true => Ok(()),
        false => Err(Refused::Expiry { days }),
    }
}

/// What becomes of an exception and its finding when somebody decides about it.
///
/// # Errors
/// When they asked for it themselves, or it is decided already, or what is there now is another thing.
pub fn decide_exception(
    row: &Finding,
    exception: &FindingException,
    decision: Decision,
    by: UserId,
    at: Timestamp,
) -> Result<(ExceptionChange, Option<Change>), Refused> {
    use ExceptionStatus::{Approved, Rejected, Requested, Revoked};
    let status = exception.status;
    if decision != Decision::Revoke && exception.owner == by {
        return Err(Refused::OwnException);
    }
    if !exception.is_open(at) || (decision != Decision::Revoke && status != Requested) {
        let is_late = matches!(status, Requested | Approved) && !exception.counts(at);
        return Err(Refused::Decided(if is_late { ExceptionStatus::Expired } else { status }));
    }
    let (becomes, approver, change) = match decision {
        Decision::Approve => {
            check(row, Verb::Accept)?;
            if row.evidence_hash != Some(exception.evidence_hash) {
                return Err(Refused::OtherEvidence);
            }
            let status = FindingStatus::RiskAccepted;
            let accepted = Finding { status, due_at: None, ..row.clone() };
            (Approved, Some(by), Some(changed(row, accepted, at)))
        }
        Decision::Reject => (Rejected, Some(by), None),
        Decision::Revoke => {
            let is_accepted = status == Approved && row.status == FindingStatus::RiskAccepted;
            let back = is_accepted.then(|| {
                let status = FindingStatus::Triaged;
                let due_at = due(row.severity, at);
                changed(row, Finding { status, due_at, overdue_told_at: None, ..row.clone() }, at)
            });
            (Revoked, exception.approver, back)
        }
    };
    let exception = FindingException { status: becomes, approver, ..exception.clone() };
    Ok((ExceptionChange { exception, seen_status: Some(status) }, change))
}
