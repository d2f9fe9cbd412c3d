use super::super::*;
use super::{DAY, Kept, at, look, violation};
use crate::base::ids::ExceptionId;

/// A finding that stands so.
fn standing(status: FindingStatus) -> Finding {
    let mut kept = Kept::default();
    kept.look(&look(0, &[violation("non_root", "shop/web/1")]));
    let due_at = kept.only().due_at.filter(|_| status.wants_due_date());
    Finding { status, due_at, ..kept.only().clone() }
}

#[test]
fn each_verb_is_legal_where_the_table_says_and_leads_where_it_says() {
    use FindingStatus::{Closed, InProgress, New, Reopened, Resolved, RiskAccepted, Triaged};
    let table: &[(Command, &[FindingStatus], Option<FindingStatus>)] = &[
        (Command::Triage, &[New, Reopened], Some(Triaged)),
        (Command::Start, &[Triaged, Reopened], Some(InProgress)),
        (Command::Resolve, &[InProgress], Some(Resolved)),
        (Command::Close, &[New, Triaged, InProgress, Reopened, Resolved], Some(Closed)),
        (Command::Reopen, &[Resolved, Closed], Some(Reopened)),
        (
            Command::Assign(Some(UserId::from_u128(5))),
            &[New, Triaged, InProgress, Reopened, RiskAccepted],
            None,
        ),
    ];
    for (verb, legal, becomes) in table {
        for status in FindingStatus::ALL {
            let row = standing(*status);
            let done = command(&row, *verb, at(1));
            if !legal.contains(status) {
                let refused = done.unwrap_err();
                assert_eq!(refused, Refused::Illegal { verb: verb.verb(), status: *status });
                for other in Verb::legal(*status) {
                    assert!(refused.to_string().contains(other.key()), "{refused}");
                }
                continue;
            }
            let finding = done.unwrap().unwrap().finding;
            assert_eq!(finding.status, becomes.unwrap_or(*status), "{verb:?} from {status}");
            assert!(finding.is_complete(), "{verb:?} from {status}");
            assert_eq!(finding.due_at.is_some(), finding.status.wants_due_date());
            assert_eq!(finding.resolved_at.is_some(), finding.status == Resolved);
            assert_eq!(finding.closed_at.is_some(), finding.status == Closed);
        }
    }
}

#[test]
fn what_is_so_already_changes_nothing() {
    let row = Finding { assignee: Some(UserId::from_u128(5)), ..standing(FindingStatus::New) };
    let again = command(&row, Command::Assign(row.assignee), at(1));
    assert_eq!(again, Ok(None));
    let back = command(&row, Command::Assign(None), at(1)).unwrap().unwrap();
    assert_eq!(back.finding.assignee, None);
}

#[test]
fn one_that_joined_another_stays_as_it_is() {
    let into = FindingId::from_u128(77);
    let row = Finding { merged_into: Some(into), ..standing(FindingStatus::Closed) };
    assert_eq!(command(&row, Command::Reopen, at(1)), Err(Refused::Merged(into)));
}

fn exception(status: ExceptionStatus) -> FindingException {
    let row = standing(FindingStatus::New);
    FindingException {
        id: ExceptionId::from_u128(1),
        workspace_id: row.workspace_id,
        tenant_id: row.tenant_id,
        finding_id: row.id,
        scope_key: row.scope_key.clone(),
        owner: UserId::from_u128(1),
        approver: None,
        reason: "it is known".to_owned(),
        expires_at: at(10),
        status,
        evidence_hash: row.evidence_hash.unwrap(),
        created_at: at(0),
    }
}

#[test]
fn nobody_decides_about_an_exception_of_their_own() {
    let row = standing(FindingStatus::Triaged);
    let asked = exception(ExceptionStatus::Requested);
    let (owner, other) = (asked.owner, UserId::from_u128(2));
    for decision in [Decision::Approve, Decision::Reject] {
        let own = decide_exception(&row, &asked, decision, owner, at(1));
        assert_eq!(own.unwrap_err(), Refused::OwnException);
    }
    let (change, row) = decide_exception(&row, &asked, Decision::Approve, other, at(1)).unwrap();
    assert_eq!(change.exception.approver, Some(other));
    assert_eq!(change.exception.status, ExceptionStatus::Approved);
    let row = row.unwrap().finding;
    assert_eq!((row.status, row.due_at), (FindingStatus::RiskAccepted, None));
    // Whoever asked may take it back.
    let (back, row) =
        decide_exception(&row, &change.exception, Decision::Revoke, owner, at(2)).unwrap();
    assert_eq!(back.exception.status, ExceptionStatus::Revoked);
    let row = row.unwrap().finding;
    assert_eq!((row.status, row.due_at), (FindingStatus::Triaged, Some(at(2 + 7 * DAY))));
}

#[test]
fn a_decision_is_made_once_in_time_and_about_what_is_there() {
    use ExceptionStatus::{Approved, Expired, Rejected, Requested, Revoked};
    fn check(status: ExceptionStatus, decision: Decision, now: u64, expect: Option<Refused>) {
        let standing = match status {
            Approved => standing(FindingStatus::RiskAccepted),
            _ => standing(FindingStatus::Triaged),
        };
        let by = UserId::from_u128(2);
        let done = decide_exception(&standing, &exception(status), decision, by, at(now));
        assert_eq!(done.err(), expect, "{status} {decision:?} at {now}");
    }
    check(Requested, Decision::Approve, 1, None);
    check(Requested, Decision::Reject, 1, None);
    check(Requested, Decision::Revoke, 1, None);
    check(Approved, Decision::Revoke, 1, None);
    check(Approved, Decision::Reject, 1, Some(Refused::Decided(Approved)));
    check(Requested, Decision::Approve, 10, Some(Refused::Decided(Expired)));
    for status in [Rejected, Revoked, Expired] {
        for decision in [Decision::Approve, Decision::Reject, Decision::Revoke] {
            check(status, decision, 1, Some(Refused::Decided(status)));
        }
    }
    let other = evidence_hash(&["other"]);
    let row = Finding { evidence_hash: Some(other), ..standing(FindingStatus::New) };
    let by = UserId::from_u128(2);
    let refused = decide_exception(&row, &exception(Requested), Decision::Approve, by, at(1));
    assert_eq!(refused.unwrap_err(), Refused::OtherEvidence);
}

#[test]
fn an_exception_is_asked_for_once_and_ends() {
    let row = standing(FindingStatus::New);
    let others = [exception(ExceptionStatus::Requested)];
    assert_eq!(check_exception(&row, &[], at(5), at(1)), Ok(()));
    let twice = check_exception(&row, &others, at(5), at(1));
    assert_eq!(twice, Err(Refused::Twice(ExceptionStatus::Requested)));
    assert_eq!(check_exception(&row, &others, at(50), at(11)), Ok(()), "that one is over");
    for expires_at in [at(1), at(0), at(2 + 366 * DAY)] {
        let refused = check_exception(&row, &[], expires_at, at(1));
        assert_eq!(refused, Err(Refused::Expiry { days: EXCEPTION_DAYS_MAX }));
    }
    let unseen = Finding { evidence_hash: None, ..row.clone() };
    assert_eq!(check_exception(&unseen, &[], at(5), at(1)), Err(Refused::NoEvidence));
    let closed = standing(FindingStatus::Closed);
    assert!(matches!(check_exception(&closed, &[], at(5), at(1)), Err(Refused::Illegal { .. })));
}
