use super::super::legacy::bare;
use super::super::*;
use super::{TENANT, at};

/// A row of the form before lifecycles, about a subject.
fn legacy(id: u128, subject: &str) -> Finding {
    let evidence = Evidence::Drift {
        baseline_snapshot_id: "s".to_owned(),
        policy_type: "container".to_owned(),
        subject_external_id: subject.to_owned(),
        change_type: ChangeType::Changed,
    };
    let whose = (WorkspaceId::from_u128(1), TENANT);
    Finding { updated_at: at(2), ..bare(id, whose, evidence, at(1)) }
}

/// What is in a table of rows after it was gone through in pages.
fn go_through(rows: &mut [Finding], page_rows: usize, now: Timestamp) -> (u64, u64) {
    let (mut updated, mut skipped) = (0, 0);
    let ids: Vec<FindingId> = rows.iter().map(|row| row.id).collect();
    for page in ids.chunks(page_rows) {
        let read: Vec<Finding> =
            rows.iter().filter(|row| page.contains(&row.id)).cloned().collect();
        let keys: Vec<String> = wanted_keys(&read).iter().map(Digest::to_string).collect();
        let outside = |row: &&Finding| !page.contains(&row.id) && keys.contains(&row.fingerprint);
        let known: Vec<Finding> = rows.iter().filter(outside).cloned().collect();
        let done = backfill(&read, &known, now);
        updated += done.updated;
        skipped += done.skipped;
        for change in done.changes {
            let row = rows.iter_mut().find(|row| row.id == change.finding.id).unwrap();
            assert_eq!(row.version, change.seen_version);
            *row = change.finding;
            let mut prints: Vec<&str> = rows.iter().map(|row| row.fingerprint.as_str()).collect();
            prints.sort_unstable();
            prints.dedup();
            assert_eq!(prints.len(), rows.len(), "fingerprints stay unique after every write");
        }
    }
    (updated, skipped)
}

#[test]
fn an_old_row_gets_what_it_lacks_and_keeps_what_it_knows() {
    let row = Finding { times_seen: Some(4), ..legacy(1, "web") };
    let done = backfill(std::slice::from_ref(&row), &[], at(50));
    let [Change { finding, seen_version: 1 }] = &done.changes[..] else { panic!("{done:?}") };
    assert!(finding.is_complete());
    assert_eq!((finding.first_seen_at, finding.last_seen_at), (Some(at(1)), Some(at(2))));
    assert_eq!((finding.times_seen, finding.version), (Some(4), 2));
    assert_eq!(finding.due_at, Some(at(50 + 7 * 24)), "seven days from now");
    assert_eq!(
        Some(&finding.fingerprint),
        finding.recurrence_key.map(|key| key.to_string()).as_ref()
    );
    assert!(finding.lineage_key.is_some());
}

#[test]
fn what_is_due_depends_on_severity_and_status() {
    fn check(severity: Severity, status: FindingStatus, days: Option<u64>) {
        let row = Finding { severity, status, ..legacy(1, "web") };
        let done = backfill(&[row], &[], at(0));
        let due = done.changes[0].finding.due_at;
        assert_eq!(due, days.map(|days| at(days * 24)), "{severity} {status}");
        assert!(done.changes[0].finding.is_complete());
    }
    check(Severity::Critical, FindingStatus::New, Some(3));
    check(Severity::High, FindingStatus::Triaged, Some(7));
    check(Severity::Medium, FindingStatus::InProgress, Some(14));
    check(Severity::Low, FindingStatus::Reopened, Some(30));
    check(Severity::Info, FindingStatus::New, None);
    check(Severity::Critical, FindingStatus::RiskAccepted, None);
    check(Severity::Critical, FindingStatus::Resolved, None);
    check(Severity::Critical, FindingStatus::Closed, None);
}

#[test]
fn the_same_is_consolidated_once_however_the_pages_fall() {
    for page_rows in 1..=7 {
        let mut rows: Vec<Finding> = (1..=6)
            .map(|id| Finding {
                created_at: at(id),
                ..legacy(id.into(), ["web", "db"][id as usize % 2])
            })
            .collect();
        rows.push(legacy(7, "cache"));
        assert_eq!(go_through(&mut rows, page_rows, at(9)), (7, 0), "pages of {page_rows}");
        assert!(rows.iter().all(Finding::is_complete));
        let open: Vec<_> = rows.iter().filter(|row| !row.status.is_over()).collect();
        let seen: Vec<_> = open.iter().map(|row| (row.id, row.times_seen.unwrap())).collect();
        let id = FindingId::from_u128;
        assert_eq!(seen, [(id(1), 3), (id(2), 3), (id(7), 1)], "pages of {page_rows}");
        assert_eq!(open[0].first_seen_at, Some(at(1)));
        assert_eq!(rows[4].merged_into, Some(id(1)));
        assert_eq!(rows[4].close_reason, Some(CloseReason::Consolidated));
        let before = rows.clone();
        assert_eq!(go_through(&mut rows, page_rows, at(99)), (0, 7), "nothing is left to do");
        assert_eq!(rows, before);
    }
}

#[test]
fn a_row_that_has_the_key_takes_the_others_in_wherever_it_stands() {
    let key = legacy(9, "web").evidence.recurrence_key(TENANT);
    for page_rows in [1, 3] {
        let newest = Finding { fingerprint: key.to_string(), ..legacy(3, "web") };
        let mut rows = vec![legacy(1, "web"), legacy(2, "web"), newest];
        assert_eq!(go_through(&mut rows, page_rows, at(9)), (3, 0));
        let open: Vec<_> = rows.iter().filter(|row| !row.status.is_over()).collect();
        assert_eq!((open.len(), open[0].id), (1, FindingId::from_u128(3)), "pages of {page_rows}");
        assert_eq!(open[0].times_seen, Some(3));
        assert_eq!(go_through(&mut rows, page_rows, at(9)), (0, 3));
    }
}

#[test]
fn an_open_one_reopens_a_closed_one_that_it_joins() {
    let closed = Finding {
        status: FindingStatus::Closed,
        closed_at: Some(at(3)),
        close_reason: Some(CloseReason::ClosedByPerson),
        severity: Severity::Low,
        ..legacy(1, "web")
    };
    let open = Finding { status: FindingStatus::Triaged, ..legacy(2, "web") };
    let mut rows = vec![closed, open];
    go_through(&mut rows, 9, at(9));
    let kept = &rows[0];
    assert_eq!(
        (kept.status, kept.closed_at, kept.close_reason),
        (FindingStatus::Triaged, None, None)
    );
    assert_eq!((kept.severity, kept.due_at), (Severity::High, Some(at(9 + 7 * 24))));
}

#[test]
fn tenants_subjects_and_snapshots_keep_keys_apart_and_lineage_ignores_the_snapshot() {
    let drift = |snapshot: &str, subject: &str| Evidence::Drift {
        baseline_snapshot_id: snapshot.to_owned(),
        policy_type: "container".to_owned(),
        subject_external_id: subject.to_owned(),
        change_type: ChangeType::Missing,
    };
    let policy = Evidence::PolicyViolation {
        check_id: "cis-5.10".to_owned(),
        subject_external_id: "web".to_owned(),
        place: "memory".to_owned(),
    };
    let other = TenantId::from_u128(2);
    let keys = std::collections::BTreeSet::from([
        drift("s", "web").recurrence_key(TENANT),
        drift("t", "web").recurrence_key(TENANT),
        drift("s", "db").recurrence_key(TENANT),
        drift("s", "web").recurrence_key(other),
        policy.recurrence_key(TENANT),
        policy.recurrence_key(other),
        drift("s", "web").lineage_key(TENANT).unwrap(),
    ]);
    assert_eq!(keys.len(), 7);
    assert_eq!(drift("s", "web").lineage_key(TENANT), drift("t", "web").lineage_key(TENANT));
    assert_eq!(policy.lineage_key(TENANT), None);
}
