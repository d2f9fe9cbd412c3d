//! Promises about findings, and about runbooks' jobs that work on them. Owns nothing. Face: one
//! function per promise. Never names a dialect.

use super::*;
use crate::base::Digest;
use crate::base::ids::{ExceptionId, TenantId, UserId};
use crate::base::time::after;
use crate::domain::findings::{
    ExceptionStatus, Finding, FindingException, FindingStatus, Legacy, backfill, wanted_keys,
};
use crate::domain::runbooks::{
    Arguments, Ask, PlatformInitiator, Preflight, RunbookKey, Scope, Start,
};
use crate::domain::runs::{AttemptEnd, CountKey, JobEnd, JobState, Payload};
use crate::store::{
    AdvanceJob, Change, Claimed, Conflict, EndJob, FanOut, FindingChange, FindingTotals,
    FindingWrite, NewJob,
};

fn legacy(fixture: &Fixture, findings: u64) -> Legacy {
    let workspace_id = fixture.store.scope().workspace_id;
    Legacy { workspace_id, series: 1, findings, at: fixture.now() }
}

/// Tenants with so many rows of the form before lifecycles.
async fn insert(fixture: &Fixture, legacy: Legacy, tenants: u64) -> Vec<TenantId> {
    for number in 0..tenants {
        let tenant = Box::new(legacy.tenant(number));
        let findings = legacy.rows(number).collect();
        let insert = FindingWrite::Insert { tenant, findings };
        fixture.commit(Write::Finding(insert)).await.unwrap();
    }
    (0..tenants).map(|number| legacy.tenant(number).id).collect()
}

async fn all(fixture: &Fixture, tenant: TenantId, page_rows: usize) -> Vec<Finding> {
    let workspace = fixture.store.scope().workspace_id;
    let mut rows: Vec<Finding> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.id);
        let page = fixture.store.findings_after(workspace, tenant, after, page_rows).await.unwrap();
        if page.is_empty() {
            return rows;
        }
        assert!(page.len() <= page_rows);
        rows.extend(page);
    }
}

async fn totals(fixture: &Fixture, tenant: Option<TenantId>) -> Vec<FindingTotals> {
    let workspace = fixture.store.scope().workspace_id;
    fixture.store.finding_totals(workspace, tenant).await.unwrap()
}

pub(crate) async fn findings_read_back_and_what_lacks_is_counted(fixture: Fixture) {
    let legacy = legacy(&fixture, 70);
    let tenants = insert(&fixture, legacy, 2).await;
    let made: Vec<Finding> = legacy.rows(1).collect();
    assert_eq!(all(&fixture, tenants[1], 9).await, made);
    let lacking = made.iter().filter(|row| !row.is_complete()).count() as u64;
    assert_eq!(lacking, 70 - legacy.complete());
    let told = totals(&fixture, Some(tenants[1])).await;
    assert_eq!(told, [FindingTotals { tenant_id: tenants[1], total: 70, lacking }]);
    assert_eq!(totals(&fixture, None).await.len(), 2);
    assert_eq!(totals(&fixture, Some(TenantId::from_u128(404))).await, []);
    // One thing at a time is missing, of each status and severity.
    let whole = made.iter().find(|row| row.is_complete()).unwrap();
    let mut expected = lacking;
    for (number, row) in made.iter().enumerate() {
        let mut changed = Finding { severity: row.severity, status: row.status, ..whole.clone() };
        match number % 5 {
            0 => changed.recurrence_key = None,
            1 => changed.first_seen_at = None,
            2 => changed.last_seen_at = None,
            3 => changed.times_seen = None,
            _ => changed.due_at = None,
        }
        changed.id = row.id;
        changed.fingerprint.clone_from(&row.fingerprint);
        changed.tenant_id = tenants[1];
        expected -= u64::from(!row.is_complete());
        expected += u64::from(!changed.is_complete());
        changed.version = row.version + 1;
        let change = FindingChange { finding: changed, seen_version: row.version };
        fixture.commit(Write::Finding(FindingWrite::Update(vec![change]))).await.unwrap();
    }
    assert_eq!(totals(&fixture, Some(tenants[1])).await[0].lacking, expected);
}

pub(crate) async fn a_finding_changes_only_from_the_version_that_was_read(fixture: Fixture) {
    let tenants = insert(&fixture, legacy(&fixture, 10), 1).await;
    let rows = all(&fixture, tenants[0], 100).await;
    let exception = FindingException {
        id: ExceptionId::from_u128(1),
        workspace_id: rows[9].workspace_id,
        tenant_id: tenants[0],
        finding_id: rows[9].id,
        scope_key: rows[9].scope_key.clone(),
        owner: UserId::from_u128(1),
        approver: Some(UserId::from_u128(2)),
        reason: "it is known".to_owned(),
        expires_at: after(fixture.now(), Duration::from_secs(60)),
        status: ExceptionStatus::Approved,
        evidence_hash: Digest::of(b"evidence"),
        created_at: fixture.now(),
    };
    let put = FindingWrite::PutException(Box::new(exception.clone()));
    fixture.commit(Write::Finding(put)).await.unwrap();
    let done = backfill(&rows, &[], fixture.now());
    let update = || Write::Finding(FindingWrite::Update(done.changes.clone()));
    fixture.commit(update()).await.unwrap();
    let after = all(&fixture, tenants[0], 100).await;
    assert!(after.iter().all(Finding::is_complete));
    assert_eq!(after[9].merged_into, Some(after[8].id), "the tenth is the same as the ninth");
    let moved = FindingException { finding_id: after[8].id, ..exception };
    assert_eq!(fixture.store.finding_exceptions(after[8].id).await.unwrap(), [moved]);
    assert_eq!(fixture.store.finding_exceptions(after[9].id).await.unwrap(), []);
    // What was decided by an older look is refused, all of it.
    let again = fixture.commit(update()).await.unwrap_err();
    assert!(matches!(again.conflict(), Some(Conflict::Stale { noun: "finding", .. })), "{again}");
    let mixed = vec![
        FindingChange {
            finding: Finding { status: FindingStatus::Triaged, version: 3, ..after[1].clone() },
            seen_version: after[1].version,
        },
        FindingChange { finding: after[2].clone(), seen_version: 77 },
    ];
    let mixed = fixture.commit(Write::Finding(FindingWrite::Update(mixed))).await.unwrap_err();
    assert!(mixed.conflict().is_some(), "{mixed}");
    assert_eq!(all(&fixture, tenants[0], 100).await, after);
    let keys: Vec<Digest> = after[8].recurrence_key.into_iter().collect();
    let found = fixture.store.findings_by_fingerprint(tenants[0], keys.clone()).await.unwrap();
    assert_eq!(found, [after[8].clone()]);
    let elsewhere = fixture.store.findings_by_fingerprint(TenantId::from_u128(9), keys).await;
    assert_eq!(elsewhere.unwrap(), []);
    assert_eq!(wanted_keys(&after), []);
}

/// A run of the backfill, in the queue.
async fn queue(fixture: &Fixture, tenant: Option<TenantId>) -> OperationRun {
    queue_by(fixture, tenant, None).await
}

/// The same, of somebody above workspaces.
pub(super) async fn queue_by(
    fixture: &Fixture,
    tenant: Option<TenantId>,
    platform_initiator: Option<PlatformInitiator>,
) -> OperationRun {
    let scope = if tenant.is_none() { Scope::AllTenants } else { Scope::SingleTenant };
    let key = RunbookKey::FindingsLifecycleBackfill;
    let definition = key.built_in().unwrap().digest().unwrap();
    let runbook = Ask::new(key.built_in().unwrap(), scope, tenant, &Arguments::new()).unwrap();
    let preflight = Preflight::default();
    let start = Start {
        preflight_digest: preflight.digest(&runbook, definition).unwrap(),
        definition,
        runbook,
        preflight,
        reason: None,
        platform_initiator,
        asker_uid: None,
        file: None,
    };
    let run = fixture.run_of(Inputs::RunRunbook(Box::new(start)));
    let run = OperationRun { tenant_id: tenant, host_id: None, ..run };
    let by = |it: &PlatformInitiator| OperationRun {
        user_id: None,
        initiator_name: it.name.clone(),
        ..run.clone()
    };
    let above = run.context.inputs.runbook().and_then(|it| it.platform_initiator.as_ref());
    let run = above.map(by).unwrap_or(run);
    fixture.commit(Write::InsertRun(Box::new(run.clone()))).await.unwrap();
    run
}

async fn claim(fixture: &Fixture, instance: &str) -> Vec<Claimed> {
    let claim = Claim {
        claimant: Claimant {
            holder: fixture.holder(instance),
            tenants: Tenants::All,
            at: fixture.now(),
        },
        workspace_id: None,
        run_types: RunType::ALL.to_vec(),
        limit: 2,
        teller: Teller::new(|_| None),
    };
    fixture.store.claim(claim).await.unwrap()
}

async fn change(fixture: &Fixture, writes: Vec<Write>) -> Result<(), StoreError> {
    let change = Change { writes, events: Vec::new(), teller: Teller::new(|_| None) };
    fixture.store.change(change).await.map(drop)
}

async fn fan_out(fixture: &Fixture, run: &OperationRun, tenants: &[TenantId]) {
    let job = |tenant: &TenantId| NewJob {
        key: tenant.to_string(),
        tenant_id: Some(*tenant),
        payload: Payload::new(&serde_json::json!({})).unwrap(),
    };
    let fan_out = FanOut {
        run_id: run.id,
        attempt: 1,
        jobs: tenants.iter().map(job).collect(),
        at: fixture.now(),
        progress: RunProgress::default(),
    };
    change(fixture, vec![Write::FanOut(fan_out)]).await.unwrap();
}

fn end_job(fixture: &Fixture, claimed: &Claimed) -> Write {
    let job = claimed.job.as_ref().unwrap();
    Write::EndJob(EndJob {
        run_id: claimed.run.id,
        key: job.key.clone(),
        attempt: job.attempt,
        end: JobEnd::Succeeded,
        is_final: false,
        at: fixture.now(),
        random: 0,
        counts: vec![(CountKey::Tenants, 1)],
        failures: Vec::new(),
    })
}

fn advance(claimed: &Claimed, reached: &str) -> Write {
    let job = claimed.job.as_ref().unwrap();
    Write::AdvanceJob(AdvanceJob {
        run_id: claimed.run.id,
        key: job.key.clone(),
        attempt: job.attempt,
        reached: reached.to_owned(),
        counts: vec![(CountKey::Processed, 10)],
        failures: Vec::new(),
    })
}

fn keys(claimed: &[Claimed]) -> Vec<String> {
    claimed
        .iter()
        .map(|it| it.job.as_ref().map_or("run".to_owned(), |job| job.key.clone()))
        .collect()
}

pub(crate) async fn a_job_locks_its_tenant_beside_its_run(fixture: Fixture) {
    let tenants = insert(&fixture, legacy(&fixture, 1), 3).await;
    let single = queue(&fixture, Some(tenants[0])).await;
    assert_eq!(keys(&claim(&fixture, "boot-1").await), ["run"]);
    let whole = queue(&fixture, None).await;
    let begun = claim(&fixture, "boot-1").await;
    assert_eq!((begun.len(), begun[0].run.id), (1, whole.id), "another subject");
    fan_out(&fixture, &whole, &tenants).await;
    // The tenant of the other run is left out, however many follow it.
    let jobs = claim(&fixture, "boot-1").await;
    assert_eq!(keys(&jobs), [tenants[1].to_string(), tenants[2].to_string()]);
    assert_eq!(claim(&fixture, "boot-1").await, []);
    let waits = queue(&fixture, Some(tenants[1])).await;
    assert_eq!(claim(&fixture, "boot-1").await, [], "a job works on its tenant");
    change(&fixture, vec![end_job(&fixture, &jobs[0])]).await.unwrap();
    let begun = claim(&fixture, "boot-1").await;
    assert_eq!((begun.len(), begun[0].run.id), (1, waits.id), "the job has ended");
    fixture.complete(&single, 1).await.unwrap();
    let last = claim(&fixture, "boot-1").await;
    assert_eq!(keys(&last), [tenants[0].to_string()]);
    change(&fixture, vec![end_job(&fixture, &jobs[1])]).await.unwrap();
    change(&fixture, vec![end_job(&fixture, &last[0])]).await.unwrap();
    let ended = fixture.store.run(whole.id).await.unwrap().unwrap();
    assert_eq!(ended.state, RunState::Completed(End::Succeeded));
    assert_eq!(ended.summary_counts.get(CountKey::Tenants), 3);
    fixture.complete(&waits, 1).await.unwrap();
    let again = queue(&fixture, None).await;
    assert_eq!(claim(&fixture, "boot-1").await[0].run.id, again.id, "no lock is left");
}

pub(crate) async fn an_interrupted_job_goes_on_where_it_was_and_counts_once(fixture: Fixture) {
    let tenants = insert(&fixture, legacy(&fixture, 10), 1).await;
    let run = queue(&fixture, None).await;
    claim(&fixture, "boot-1").await;
    fan_out(&fixture, &run, &tenants).await;
    let first = claim(&fixture, "boot-1").await;
    let rows = all(&fixture, tenants[0], 100).await;
    let changes = backfill(&rows, &[], fixture.now()).changes;
    let page = vec![advance(&first[0], "10"), Write::Finding(FindingWrite::Update(changes))];
    change(&fixture, page.clone()).await.unwrap();
    // A page that is refused leaves neither its counts nor its place.
    let refused = change(&fixture, page).await.unwrap_err();
    assert!(matches!(refused.conflict(), Some(Conflict::Stale { .. })), "{refused}");
    let job = first[0].job.as_ref().unwrap();
    let lost = Write::InterruptJob {
        run_id: run.id,
        key: job.key.clone(),
        attempt: job.attempt,
        end: AttemptEnd::Interrupted,
        at: fixture.now(),
    };
    change(&fixture, vec![lost]).await.unwrap();
    let second = claim(&fixture, "boot-2").await;
    let job = second[0].job.as_ref().unwrap();
    assert_eq!((job.attempt, job.reached.as_deref()), (2, Some("10")));
    assert_eq!(job.state, JobState::Running);
    let late = change(&fixture, vec![advance(&first[0], "20")]).await.unwrap_err();
    assert!(matches!(late.conflict(), Some(Conflict::Fenced { .. })), "{late}");
    change(&fixture, vec![advance(&second[0], "20")]).await.unwrap();
    change(&fixture, vec![end_job(&fixture, &second[0])]).await.unwrap();
    let ended = fixture.store.run(run.id).await.unwrap().unwrap();
    assert_eq!(ended.summary_counts.get(CountKey::Processed), 20);
}

pub(crate) async fn a_job_whose_lock_was_taken_over_cannot_write(fixture: Fixture) {
    let tenants = insert(&fixture, legacy(&fixture, 10), 1).await;
    let run = queue(&fixture, None).await;
    claim(&fixture, "boot-1").await;
    fan_out(&fixture, &run, &tenants).await;
    let late = claim(&fixture, "boot-1").await;
    fixture.clock.advance(Duration::from_secs(7200));
    let heir = queue(&fixture, Some(tenants[0])).await;
    let begun = claim(&fixture, "boot-2").await;
    assert!(begun.iter().any(|it| it.run.id == heir.id), "the lease was over");
    let refused = change(&fixture, vec![advance(&late[0], "10")]).await.unwrap_err();
    assert!(matches!(refused.conflict(), Some(Conflict::Fenced { .. })), "{refused}");
    let found = fixture.store.run(run.id).await.unwrap().unwrap();
    assert_eq!(found.summary_counts.get(CountKey::Processed), 0);
}
