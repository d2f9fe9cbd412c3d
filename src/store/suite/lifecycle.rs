//! Promises about the lifecycle of findings, their exceptions and compliance. Owns nothing. Face: one
//! function per promise. Never names a dialect.

use super::*;
use crate::base::Digest;
use crate::base::ids::{ExceptionId, FindingId, TenantId, UserId};
use crate::base::time::after;
use crate::domain::access::Reach;
use crate::domain::alerts::Severity;
use crate::domain::findings::{
    Evidence, ExceptionChange, ExceptionStatus, Finding, FindingException, FindingStatus,
    FindingType, Legacy, PolicyStanding, Standing, StandingChanges, Told, evidence_hash,
};
use crate::store::{
    Conflict, FindingChange, FindingFilter, FindingWrite, PageRequest, StandingCount,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A finding that a look has seen in a tenant.
fn seen(fixture: &Fixture, tenant: TenantId, number: u128) -> Finding {
    let scope = fixture.store.scope();
    let legacy =
        Legacy { workspace_id: scope.workspace_id, series: 1, findings: 1, at: fixture.now() };
    let row = legacy.rows(0).next().unwrap();
    let evidence = Evidence::PolicyViolation {
        check_id: "rule.privileged".to_owned(),
        subject_external_id: format!("shop/web/{number}"),
        place: "privileged".to_owned(),
    };
    let key = evidence.recurrence_key(tenant);
    Finding {
        id: FindingId::from_u128(number),
        workspace_id: scope.workspace_id,
        tenant_id: tenant,
        severity: Severity::High,
        status: FindingStatus::New,
        fingerprint: key.to_string(),
        recurrence_key: Some(key),
        lineage_key: None,
        scope_key: "policy:base".to_owned(),
        first_seen_at: Some(fixture.now()),
        last_seen_at: Some(fixture.now()),
        times_seen: Some(1),
        due_at: Some(after(fixture.now(), 7 * DAY)),
        evidence,
        evidence_hash: Some(evidence_hash(&["privileged"])),
        told: Told {
            title: "No container has all privileges".to_owned(),
            message: "it has all privileges, 100%".to_owned(),
            remediation: "remove `privileged`".to_owned(),
            project: Some("shop".to_owned()),
            policies: vec!["strict".to_owned(), "base".to_owned()],
        },
        version: 1,
        ..row
    }
}

async fn write(fixture: &Fixture, write: FindingWrite) -> Result<(), StoreError> {
    fixture.commit(Write::Finding(write)).await
}

async fn add(fixture: &Fixture, findings: Vec<Finding>) {
    write(fixture, FindingWrite::Add(findings)).await.unwrap();
}

fn is_stale(refused: Result<(), StoreError>) -> bool {
    matches!(refused.unwrap_err().conflict(), Some(Conflict::Stale { .. }))
}

async fn listed(fixture: &Fixture, filter: FindingFilter) -> Vec<u128> {
    let page = fixture.store.findings(filter, PageRequest::first(50)).await.unwrap();
    assert_eq!(page.next, None);
    page.items
        .iter()
        .map(|row| u128::from_str_radix(&row.id.to_string().replace('-', ""), 16).unwrap())
        .collect()
}

pub(crate) async fn a_finding_that_is_there_is_not_added_again(fixture: Fixture) {
    let tenant = fixture.store.scope().tenant_id;
    let row = seen(&fixture, tenant, 1);
    add(&fixture, vec![row.clone()]).await;
    assert_eq!(
        fixture.store.findings_by_id(vec![row.id]).await.unwrap(),
        std::slice::from_ref(&row)
    );
    let twin = Finding { id: FindingId::from_u128(2), ..row.clone() };
    let both = vec![seen(&fixture, tenant, 3), twin];
    assert!(is_stale(write(&fixture, FindingWrite::Add(both)).await));
    assert_eq!(
        fixture.store.open_findings(tenant, None, 9).await.unwrap(),
        std::slice::from_ref(&row)
    );
    // What is told of it changes with it.
    let told = Told { project: None, policies: Vec::new(), ..row.told.clone() };
    let finding = Finding {
        told,
        evidence_hash: None,
        overdue_told_at: Some(fixture.now()),
        severity: Severity::Low,
        version: 2,
        ..row
    };
    let change = FindingChange { finding: finding.clone(), seen_version: 1 };
    write(&fixture, FindingWrite::Update(vec![change])).await.unwrap();
    assert_eq!(fixture.store.open_findings(tenant, None, 9).await.unwrap(), [finding]);
}

pub(crate) async fn findings_are_listed_by_severity_and_by_what_is_asked(fixture: Fixture) {
    let scope = fixture.store.scope();
    let tenant = scope.tenant_id;
    let person = UserId::from_u128(5);
    let base = |number| seen(&fixture, tenant, number);
    let rows = vec![
        Finding { severity: Severity::Low, ..base(1) },
        Finding { severity: Severity::Critical, assignee: Some(person), ..base(2) },
        Finding { status: FindingStatus::Closed, closed_at: Some(fixture.now()), ..base(3) },
        Finding { severity: Severity::Critical, due_at: Some(fixture.now()), ..base(4) },
        Finding {
            told: Told { policies: vec!["other".to_owned()], project: None, ..Told::default() },
            ..base(5)
        },
    ];
    add(&fixture, rows).await;
    let all = FindingFilter::workspace(scope.workspace_id);
    assert_eq!(listed(&fixture, all.clone()).await, [4, 2, 5, 3, 1]);
    let check = async |filter: FindingFilter, expect: &[u128]| {
        assert_eq!(listed(&fixture, filter.clone()).await, expect, "{filter:?}");
    };
    check(FindingFilter { statuses: FindingStatus::open(), ..all.clone() }, &[4, 2, 5, 1]).await;
    check(FindingFilter { statuses: vec![FindingStatus::Closed], ..all.clone() }, &[3]).await;
    check(FindingFilter { severities: vec![Severity::Critical], ..all.clone() }, &[4, 2]).await;
    check(FindingFilter { types: vec![FindingType::Drift], ..all.clone() }, &[]).await;
    check(FindingFilter { policy: Some("base".into()), ..all.clone() }, &[4, 2, 3, 1]).await;
    check(FindingFilter { policy: Some("bas".into()), ..all.clone() }, &[]).await;
    check(FindingFilter { policy: Some("other".into()), ..all.clone() }, &[5]).await;
    check(FindingFilter { project: Some("shop".into()), ..all.clone() }, &[4, 2, 3, 1]).await;
    check(FindingFilter { subject: Some("shop/web/2".into()), ..all.clone() }, &[2]).await;
    let check_id = Some("rule.privileged".into());
    check(FindingFilter { check_id, ..all.clone() }, &[4, 2, 5, 3, 1]).await;
    check(FindingFilter { assignee: Some(person), ..all.clone() }, &[2]).await;
    let later = Some(after(fixture.now(), DAY));
    check(FindingFilter { due_before: later, ..all.clone() }, &[4]).await;
    check(FindingFilter { search: Some("WEB/2".into()), ..all.clone() }, &[2]).await;
    check(FindingFilter { search: Some("100%".into()), ..all.clone() }, &[4, 2, 3, 1]).await;
    check(FindingFilter { search: Some("1_0".into()), ..all.clone() }, &[]).await;
    let out = Reach::Some([TenantId::from_u128(404)].into());
    check(FindingFilter { reach: out, ..all.clone() }, &[]).await;
    check(FindingFilter { tenant_id: Some(tenant), ..all.clone() }, &[4, 2, 5, 3, 1]).await;
    // Pages meet.
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let request = PageRequest { limit: 2, after };
        let page = fixture.store.findings(all.clone(), request).await.unwrap();
        found.extend(page.items.iter().map(|row| row.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [4, 2, 5, 3, 1].map(FindingId::from_u128));
    let counts = fixture.store.finding_counts(after_all(&fixture)).await.unwrap();
    let told: Vec<_> = counts.iter().map(|it| (it.severity, it.total, it.overdue)).collect();
    assert_eq!(told, [(Severity::Critical, 2, 2), (Severity::High, 1, 1), (Severity::Low, 1, 1)]);
    let named = fixture.store.policies_named(tenant).await.unwrap();
    assert_eq!(named, ["base", "other", "strict"].map(str::to_owned).into());
}

fn after_all(fixture: &Fixture) -> Timestamp {
    after(fixture.now(), 99 * DAY)
}

fn exception(fixture: &Fixture, row: &Finding, number: u128) -> FindingException {
    FindingException {
        id: ExceptionId::from_u128(number),
        workspace_id: row.workspace_id,
        tenant_id: row.tenant_id,
        finding_id: row.id,
        scope_key: row.scope_key.clone(),
        owner: UserId::from_u128(1),
        approver: None,
        reason: "it is known".to_owned(),
        expires_at: after(fixture.now(), DAY),
        status: ExceptionStatus::Requested,
        evidence_hash: Digest::of(b"evidence"),
        created_at: fixture.now(),
    }
}

pub(crate) async fn an_exception_changes_only_from_the_status_that_was_read(fixture: Fixture) {
    let tenant = fixture.store.scope().tenant_id;
    let row = seen(&fixture, tenant, 1);
    add(&fixture, vec![row.clone()]).await;
    let change = |exception: &FindingException, seen_status| {
        let exception = exception.clone();
        FindingWrite::ChangeException(Box::new(ExceptionChange { exception, seen_status }))
    };
    let asked = exception(&fixture, &row, 1);
    write(&fixture, change(&asked, None)).await.unwrap();
    let second = exception(&fixture, &row, 2);
    assert!(is_stale(write(&fixture, change(&second, None)).await), "one at a time");
    let approved = FindingException {
        status: ExceptionStatus::Approved,
        approver: Some(UserId::from_u128(2)),
        ..asked.clone()
    };
    write(&fixture, change(&approved, Some(ExceptionStatus::Requested))).await.unwrap();
    let again = change(&approved, Some(ExceptionStatus::Requested));
    assert!(is_stale(write(&fixture, again).await));
    assert!(is_stale(write(&fixture, change(&second, None)).await), "it is in force");
    assert_eq!(
        fixture.store.finding_exceptions(row.id).await.unwrap(),
        std::slice::from_ref(&approved)
    );
    assert_eq!(
        fixture.store.exceptions_of(vec![row.id]).await.unwrap(),
        std::slice::from_ref(&approved)
    );
    // Nobody approves their own, whatever is decided above.
    let own = FindingException { approver: Some(asked.owner), ..approved.clone() };
    assert!(write(&fixture, change(&own, Some(ExceptionStatus::Approved))).await.is_err());
    let over = after(fixture.now(), DAY);
    assert_eq!(fixture.store.exceptions_over(fixture.now(), 9).await.unwrap(), []);
    assert_eq!(
        fixture.store.exceptions_over(over, 9).await.unwrap(),
        std::slice::from_ref(&approved)
    );
    let ended = FindingException { status: ExceptionStatus::Expired, ..approved };
    write(&fixture, change(&ended, Some(ExceptionStatus::Approved))).await.unwrap();
    assert_eq!(fixture.store.exceptions_over(over, 9).await.unwrap(), []);
    write(&fixture, change(&second, None)).await.unwrap();
}

pub(crate) async fn what_is_overdue_or_long_over_is_found(fixture: Fixture) {
    let tenant = fixture.store.scope().tenant_id;
    let at = |days| after(fixture.now(), days * DAY);
    let base = |number| seen(&fixture, tenant, number);
    let told = Some(fixture.now());
    let closed = |number, days| Finding {
        status: FindingStatus::Closed,
        due_at: None,
        closed_at: Some(at(0)),
        updated_at: at(days),
        ..base(number)
    };
    let rows = vec![
        Finding { due_at: Some(at(2)), ..base(1) },
        Finding { due_at: Some(at(1)), ..base(2) },
        Finding { due_at: Some(at(1)), overdue_told_at: told, ..base(3) },
        Finding { due_at: None, ..base(4) },
        closed(5, 3),
        closed(6, 1),
    ];
    add(&fixture, rows.clone()).await;
    let overdue = fixture.store.findings_overdue(at(5), 9).await.unwrap();
    assert_eq!(overdue, [rows[1].clone(), rows[0].clone()], "the longest first");
    assert_eq!(fixture.store.findings_overdue(at(2), 9).await.unwrap(), [rows[1].clone()]);
    let finished = fixture.store.findings_finished(at(9), 9).await.unwrap();
    assert_eq!(finished, [rows[5].clone(), rows[4].clone()]);
    assert_eq!(fixture.store.findings_finished(at(3), 9).await.unwrap(), [rows[5].clone()]);
    let put = FindingWrite::PutException(Box::new(exception(&fixture, &rows[5], 1)));
    write(&fixture, put).await.unwrap();
    // An open one is not forgotten, nor what is forgotten with it.
    let both = FindingWrite::Purge(vec![rows[5].id, rows[0].id]);
    assert!(is_stale(write(&fixture, both).await));
    assert_eq!(fixture.store.finding_exceptions(rows[5].id).await.unwrap().len(), 1);
    write(&fixture, FindingWrite::Purge(vec![rows[5].id])).await.unwrap();
    assert_eq!(fixture.store.findings_by_id(vec![rows[5].id]).await.unwrap(), []);
    assert_eq!(fixture.store.finding_exceptions(rows[5].id).await.unwrap(), []);
}

pub(crate) async fn standings_are_put_dropped_and_counted(fixture: Fixture) {
    let scope = fixture.store.scope();
    let (workspace_id, tenant_id) = (scope.workspace_id, scope.tenant_id);
    let row = |policy: &str, subject: &str, standing| PolicyStanding {
        tenant_id,
        policy: policy.to_owned(),
        subject: subject.to_owned(),
        project: subject.split_once('/').map(|(project, _)| project.to_owned()),
        standing,
        since: fixture.now(),
    };
    let stand = async |put: Vec<PolicyStanding>, dropped: Vec<(String, String)>| {
        let changes = StandingChanges { put, dropped };
        let stand = FindingWrite::Stand { workspace_id, tenant_id, changes };
        write(&fixture, stand).await.unwrap();
    };
    let rows = vec![
        row("base", "host", Standing::Unknown),
        row("base", "shop/db/1", Standing::Passing),
        row("base", "shop/web/1", Standing::Failing),
        row("strict", "shop/web/1", Standing::Excepted),
    ];
    stand(rows.clone(), Vec::new()).await;
    assert_eq!(fixture.store.policy_standings(tenant_id, None).await.unwrap(), rows);
    let some = fixture.store.policy_standings(tenant_id, Some(vec!["shop/web/1".to_owned()])).await;
    assert_eq!(some.unwrap(), [rows[2].clone(), rows[3].clone()]);
    assert_eq!(fixture.store.policy_standings(TenantId::from_u128(404), None).await.unwrap(), []);
    let better = row("base", "shop/web/1", Standing::Passing);
    let dropped = vec![("base".to_owned(), "host".to_owned())];
    stand(vec![better.clone()], dropped).await;
    let left = [rows[1].clone(), better, rows[3].clone()];
    assert_eq!(fixture.store.policy_standings(tenant_id, None).await.unwrap(), left);
    let count = |policy: &str, standing, subjects| StandingCount {
        tenant_id,
        policy: policy.to_owned(),
        project: Some("shop".to_owned()),
        standing,
        subjects,
    };
    let counts = [count("base", Standing::Passing, 2), count("strict", Standing::Excepted, 1)];
    for workspace in [None, Some(workspace_id)] {
        assert_eq!(fixture.store.standing_counts(workspace).await.unwrap(), counts);
    }
    let elsewhere = crate::base::ids::WorkspaceId::from_u128(404);
    assert_eq!(fixture.store.standing_counts(Some(elsewhere)).await.unwrap(), []);
    let named = fixture.store.policies_named(tenant_id).await.unwrap();
    assert_eq!(named, ["base", "strict"].map(str::to_owned).into());
}
