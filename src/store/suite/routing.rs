//! Promises about whom work goes to, and what is recorded when it begins. Owns nothing. Face: one
//! function per promise. Never names a dialect.

use std::collections::BTreeSet;

use super::queue::{Queue, definition};
use super::*;
use crate::base::ids::{HostId, TenantId};
use crate::domain::runs::Payload;
use crate::store::{Accepted, Admission, AuditFilter, NewBulk, NewJob, Noticed, PageRequest};

/// Tells of what begins, as the agent does.
fn teller(fixture: &Fixture) -> Teller {
    let ambient = fixture.ambient.clone();
    let event = fixture.event(EventType::RunStarted, "it began");
    Teller::new(move |notice| {
        (notice.what == Noticed::Started).then(|| AuditEvent {
            id: EventId::generate(&*ambient.clock, &*ambient.entropy),
            operation_run_id: Some(notice.run.id),
            ..event.clone()
        })
    })
}

async fn beginnings(fixture: &Fixture, run: &OperationRun) -> usize {
    let filter = AuditFilter {
        event_types: vec![EventType::RunStarted],
        operation_run_id: Some(run.id),
        ..AuditFilter::workspace(run.workspace_id)
    };
    fixture.store.audit(filter, PageRequest::default()).await.unwrap().items.len()
}

pub(crate) async fn every_beginning_is_recorded_in_its_transaction(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let admission = Admission {
        run: Box::new(queue.run("shop.mail", "a", None)),
        supersedes: false,
        claimant: Some(queue.claim_of(&[], 1).claimant),
        writes: Vec::new(),
        events: fixture.events(),
        teller: teller(&fixture),
    };
    let Accepted::New { run: admitted, .. } = fixture.store.admit(admission).await.unwrap() else {
        panic!("it is new")
    };
    assert_eq!((admitted.attempt, beginnings(&fixture, &admitted).await), (1, 1));
    let claimed = queue.enqueue(queue.run("shop.mail", "b", None)).await;
    let bulk = queue.run("shop.mail", "c", None);
    let payload = Payload::new(&serde_json::Value::Null).unwrap();
    let jobs = vec![NewJob { key: "x".to_owned(), tenant_id: None, payload }];
    let new = NewBulk { run: bulk.clone(), jobs, supersedes: false };
    fixture.commit(Write::InsertBulk(Box::new(new))).await.unwrap();
    let claim = || Claim { teller: teller(&fixture), ..queue.claim_of(&["shop.mail"], 9) };
    let taken = fixture.store.claim(claim()).await.unwrap();
    assert_eq!(taken.len(), 2, "a run, and the job of the other");
    for run in [&claimed, &bulk] {
        assert_eq!(beginnings(&fixture, run).await, 1, "the run's beginning, not its job's");
    }
    assert_eq!(fixture.store.claim(claim()).await.unwrap(), []);
    assert_eq!(beginnings(&fixture, &claimed).await, 1);
    fixture.records().await;
}

pub(crate) async fn an_agent_takes_the_work_of_the_tenants_it_serves(fixture: Fixture) {
    let queue = Queue(&fixture);
    queue.register("shop.mail", definition()).await;
    let scope = fixture.store.scope();
    let (ours, theirs) = (scope.tenant_id, TenantId::from_u128(12));
    let made = format!(
        "INSERT INTO tenants (id, workspace_id, name, status, stage, created_at)
         VALUES ('{theirs}', '{}', 'another', 'active', 'production', 0)",
        scope.workspace_id
    );
    fixture.base.tamper(&made).await.unwrap();
    let run = |key: &str, tenant_id| {
        let run = queue.run("shop.mail", key, None);
        OperationRun { tenant_id, ..run }
    };
    let of_theirs = queue.enqueue(run("a", Some(theirs))).await;
    let of_ours = queue.enqueue(run("b", Some(ours))).await;
    let of_none = queue.enqueue(run("c", None)).await;
    let here =
        OperationRun { host_id: Some(fixture.store.scope().host_id), ..run("d", Some(theirs)) };
    let here = queue.enqueue(here).await;
    let elsewhere = OperationRun { host_id: Some(HostId::from_u128(77)), ..run("e", Some(ours)) };
    let elsewhere = queue.enqueue(elsewhere).await;
    let served = |tenant| Tenants::Only(Arc::new(BTreeSet::from([tenant])));
    let claim = |tenants: Tenants| {
        let mut claim = queue.claim_of(&["shop.mail"], 9);
        claim.claimant.tenants = tenants;
        claim
    };
    let ids = |claimed: Vec<crate::store::Claimed>| -> Vec<_> {
        claimed.into_iter().map(|it| it.run.id).collect()
    };
    let taken = ids(fixture.store.claim(claim(served(ours))).await.unwrap());
    assert_eq!(taken, [of_ours.id, of_none.id, here.id], "what is bound to this host too");
    let taken = ids(fixture.store.claim(claim(served(theirs))).await.unwrap());
    assert_eq!(taken, [of_theirs.id]);

    // A job's tenant goes before its run's.
    let payload = Payload::new(&serde_json::Value::Null).unwrap();
    let job =
        |key: &str, tenant_id| NewJob { key: key.to_owned(), tenant_id, payload: payload.clone() };
    let jobs = vec![job("x", Some(theirs)), job("y", Some(ours)), job("z", None)];
    let bulk = NewBulk { run: run("bulk", None), jobs, supersedes: false };
    fixture.commit(Write::InsertBulk(Box::new(bulk))).await.unwrap();
    let keys = |claimed: Vec<crate::store::Claimed>| -> Vec<_> {
        claimed.into_iter().filter_map(|it| it.job).map(|job| job.key).collect()
    };
    assert_eq!(keys(fixture.store.claim(claim(served(ours))).await.unwrap()), ["y", "z"]);
    assert_eq!(keys(fixture.store.claim(claim(served(ours))).await.unwrap()), [""; 0]);
    assert_eq!(keys(fixture.store.claim(claim(Tenants::All)).await.unwrap()), ["x"]);

    // What is not served does not begin with its admission either. Nobody waits before it.
    let cancel = Write::CancelRun { run_id: elsewhere.id, at: fixture.now() };
    queue.change(cancel).await.unwrap();
    let admission = |tenant_id, key: &str| Admission {
        run: Box::new(run(key, tenant_id)),
        supersedes: false,
        claimant: Some(claim(served(ours)).claimant),
        writes: Vec::new(),
        events: fixture.events(),
        teller: Teller::new(|_| None),
    };
    for (tenant, key, began) in [(ours, "f", 1), (theirs, "g", 0)] {
        let accepted = fixture.store.admit(admission(Some(tenant), key)).await.unwrap();
        let Accepted::New { run, .. } = accepted else { panic!("it is new") };
        assert_eq!(run.attempt, began, "{key}");
    }
}
