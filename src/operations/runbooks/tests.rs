use std::time::Duration;

use super::*;
use crate::base::ids::UserId;
use crate::domain::access::{Capability, PlatformIdentity, ReasonKind};
use crate::domain::audit;
use crate::domain::findings::{Finding, FindingStatus, Legacy};
use crate::domain::runbooks::Argument;
use crate::domain::runs::{
    CountKey, Definition, End, Hosted, HostedType, Outcome as RunOutcome, Payload, Priority, Retry,
    RunType, Source,
};
use crate::operations::harness::{Agent, Ended, Host, asker};
use crate::store::{
    AuditFilter, FailAttempt, FindingChange, FindingWrite, PageRequest, RunProgress, StartAttempt,
    Write,
};
use crate::world::runbook_files::Folder;

fn runbooks(agent: &Agent) -> Runbooks {
    let folder = Folder::default();
    Runbooks::new(Arc::clone(&agent.store), agent.door.clone(), agent.ambient.clone(), folder)
}

fn wish(key: RunbookKey) -> Wish {
    Wish { key, scope: Scope::AllTenants, tenant_id: None, arguments: Arguments::new() }
}

const BACKFILL: RunbookKey = RunbookKey::FindingsLifecycleBackfill;

fn reason() -> Option<Reason> {
    let reason_text = SafeText::new("rows of last year");
    Some(Reason { reason_code: ReasonKind::DataRepair, reason_text })
}

const OPERATOR: UserId = UserId::from_u128(0x0b);

/// A platform user.
fn operator() -> Asker {
    let user_id = OPERATOR;
    let platform = PlatformIdentity { user_id, is_break_glass: false, is_elevated: false };
    let email = Some("ada@example.org".to_owned());
    Asker { platform: Some(platform), is_above: true, user_id: Some(OPERATOR), email, ..asker() }
}

async fn insert(agent: &Agent, tenants: u64, findings: u64) -> Legacy {
    let scope = agent.store.scope();
    let at = agent.ambient.now();
    let legacy = Legacy { workspace_id: scope.workspace_id, series: 1, findings, at };
    for number in 0..tenants {
        let tenant = Box::new(legacy.tenant(number));
        let insert = FindingWrite::Insert { tenant, findings: legacy.rows(number).collect() };
        commit(agent, Write::Finding(insert)).await;
    }
    legacy
}

/// A change beside the one that a test is about, with an event of any kind.
async fn commit(agent: &Agent, write: Write) {
    let found = runbooks(agent).find(BACKFILL).unwrap();
    let ask = Ask::new(found.entry(), Scope::AllTenants, None, &Arguments::new()).unwrap();
    let kind = EventType::RunbookPreflight;
    let event =
        runbooks(agent).event(kind, &found, &ask, &Preflight::default(), &asker(), "a test");
    agent.store.commit(vec![write], event.into()).await.unwrap();
}

async fn rows(agent: &Agent, tenant: TenantId) -> Vec<Finding> {
    let workspace = agent.store.scope().workspace_id;
    agent.store.findings_after(workspace, tenant, None, 10_000).await.unwrap()
}

async fn start(agent: &Agent, wish: &Wish) -> RunId {
    let runbooks = runbooks(agent);
    let looked = runbooks.preflight(wish, &asker()).await.unwrap();
    let admitted = runbooks.start(wish, looked.digest, reason(), &operator()).await.unwrap();
    admitted.run().id
}

async fn done(agent: &Agent, wish: &Wish) -> Ended {
    agent.ended(start(agent, wish).await).await
}

#[track_caller]
fn assert_counts(ended: &Ended, expect: &[(CountKey, u64)]) {
    for (key, count) in expect {
        assert_eq!(ended.run.summary_counts.get(*key), *count, "{key}: {:?}", ended.failures());
    }
}

async fn events(agent: &Agent, kind: EventType) -> Vec<AuditEvent> {
    let scope = agent.store.scope();
    let filter =
        AuditFilter { event_types: vec![kind], ..AuditFilter::workspace(scope.workspace_id) };
    let page = agent.store.audit(filter, PageRequest::default()).await.unwrap();
    page.items.into_iter().map(|record| record.event).collect()
}

#[tokio::test(start_paused = true)]
async fn a_backfill_of_all_tenants_counts_exactly_and_changes_nothing_a_second_time() {
    let agent = Host::new().start().await;
    let legacy = insert(&agent, 3, 1_100).await;
    let looked = runbooks(&agent).preflight(&wish(BACKFILL), &asker()).await.unwrap();
    let lacking = 3 * (1_100 - legacy.complete());
    let found = &looked.preflight;
    assert_eq!((found.affected_count, found.total_count), (lacking, 3_300));
    assert_eq!(found.estimated_tenants, Some(3));
    let first = done(&agent, &wish(BACKFILL)).await;
    first.assert(RunOutcome::Succeeded);
    assert_eq!(first.run.tenant_id, None, "one run for the workspace");
    assert_counts(
        &first,
        &[
            (CountKey::Total, 3_300),
            (CountKey::Processed, 3_300),
            (CountKey::Updated, lacking),
            (CountKey::Skipped, 3 * legacy.complete()),
            (CountKey::Failed, 0),
            (CountKey::Tenants, 3),
        ],
    );
    for number in 0..3 {
        let rows = rows(&agent, legacy.tenant(number).id).await;
        assert!(rows.iter().all(Finding::is_complete));
        let gone = rows.iter().filter(|row| row.merged_into.is_some());
        assert_eq!(gone.count() as u64, legacy.duplicates());
        let seen: u64 = rows
            .iter()
            .filter(|row| row.merged_into.is_none())
            .filter_map(|row| row.times_seen)
            .sum();
        assert_eq!(seen, 1_100, "each row is counted in one that goes on");
    }
    let second = done(&agent, &wish(BACKFILL)).await;
    second.assert(RunOutcome::Succeeded);
    assert_counts(
        &second,
        &[(CountKey::Processed, 3_300), (CountKey::Updated, 0), (CountKey::Skipped, 3_300)],
    );
    // What the audit log tells of the first one.
    let starts = events(&agent, EventType::RunbookStart).await;
    let told = starts.last().unwrap();
    assert_eq!(told.operation_run_id, Some(first.run.id));
    assert_eq!(told.context.affected_count, Some(lacking));
    assert_eq!(told.context.runbook, Some(BACKFILL));
    assert_eq!(told.context.platform_user_id, Some(OPERATOR));
    assert_eq!(told.actor.actor_label, "ada");
    assert_eq!(events(&agent, EventType::RunbookPreflight).await.len(), 3 + 3);
    let completed = events(&agent, EventType::RunbookCompleted).await;
    let completed = completed.last().unwrap();
    assert_eq!(
        (completed.outcome, completed.context.affected_count),
        (audit::Outcome::Success, Some(lacking))
    );
    assert_eq!(completed.context.platform_user_id, Some(OPERATOR));
    assert_eq!(completed.context.platform_user_email.as_deref(), Some("ada@example.org"));
    assert_eq!(events(&agent, EventType::RunbookFailed).await, []);
}

#[tokio::test(start_paused = true)]
async fn one_tenant_is_backfilled_alone() {
    let agent = Host::new().start().await;
    let legacy = insert(&agent, 2, 30).await;
    let tenant = legacy.tenant(1).id;
    let one = Wish { scope: Scope::SingleTenant, tenant_id: Some(tenant), ..wish(BACKFILL) };
    let ended = done(&agent, &one).await;
    ended.assert(RunOutcome::Succeeded);
    assert_eq!(ended.run.tenant_id, Some(tenant));
    assert_eq!(ended.run.subject.as_ref().unwrap().to_string(), format!("findings:{tenant}"));
    assert_counts(&ended, &[(CountKey::Processed, 30), (CountKey::Tenants, 1)]);
    assert!(rows(&agent, tenant).await.iter().all(Finding::is_complete));
    assert!(!rows(&agent, legacy.tenant(0).id).await.iter().all(Finding::is_complete));
    let unknown = TenantId::from_u128(404);
    let unknown = Wish { tenant_id: Some(unknown), ..one };
    let refused = runbooks(&agent).preflight(&unknown, &asker()).await.unwrap_err();
    assert!(matches!(refused, RunbookError::UnknownTenant(_)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_preflight_blocks_the_run_before_it_changes_anything() {
    let agent = Host::new().start().await;
    let legacy = insert(&agent, 1, 30).await;
    let tenant = legacy.tenant(0).id;
    let runbooks = runbooks(&agent);
    let looked = runbooks.preflight(&wish(BACKFILL), &asker()).await.unwrap();
    let row = rows(&agent, tenant).await.remove(0);
    let seen_version = row.version;
    let finding = Finding { recurrence_key: None, version: seen_version + 1, ..row };
    let change = FindingChange { finding, seen_version };
    commit(&agent, Write::Finding(FindingWrite::Update(vec![change]))).await;
    let before = rows(&agent, tenant).await;
    let started = runbooks.start(&wish(BACKFILL), looked.digest, reason(), &asker()).await;
    let ended = agent.ended(started.unwrap().run().id).await;
    ended.assert(RunOutcome::Blocked);
    let (code, message) = ended.failures()[0];
    assert_eq!(code, "preflight.stale");
    assert!(message.contains("29 of 30 would change by now"), "{message}");
    assert_eq!(ended.keys(), ["preflight"]);
    assert_eq!(rows(&agent, tenant).await, before);
    let failed = events(&agent, EventType::RunbookFailed).await;
    assert_eq!((failed.len(), failed[0].outcome), (1, audit::Outcome::Blocked));
    // Any other digest is as good as an old one.
    let made_up = Digest::of(b"trust me");
    let started = runbooks.start(&wish(BACKFILL), made_up, reason(), &asker()).await;
    agent.ended(started.unwrap().run().id).await.assert(RunOutcome::Blocked);
    let ended = done(&agent, &wish(BACKFILL)).await;
    ended.assert(RunOutcome::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn all_tenants_need_a_reason_and_asking_again_finds_the_run() {
    let agent = Host::new().start().await;
    insert(&agent, 2, 600).await;
    let runbooks = runbooks(&agent);
    let looked = runbooks.preflight(&wish(BACKFILL), &asker()).await.unwrap();
    let refused = runbooks.start(&wish(BACKFILL), looked.digest, None, &asker()).await;
    assert!(matches!(refused, Err(RunbookError::Ask(AskError::NoReason))));
    let first = runbooks.start(&wish(BACKFILL), looked.digest, reason(), &asker()).await.unwrap();
    let again = runbooks.start(&wish(BACKFILL), looked.digest, reason(), &asker()).await.unwrap();
    assert_eq!(again, Admitted::Existing(again.run().clone()));
    assert_eq!(again.run().id, first.run().id);
    agent.ended(first.run().id).await.assert(RunOutcome::Succeeded);
    assert_eq!(events(&agent, EventType::RunbookStart).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_backfill_that_is_killed_at_every_page_counts_each_row_once() {
    let mut host = Host::new();
    let mut agent = host.start().await;
    let legacy = insert(&agent, 3, 1_300).await;
    let id = start(&agent, &wish(BACKFILL)).await;
    let (mut kills, mut seen) = (0, 0);
    loop {
        let run = agent.run(id).await;
        let processed = run.summary_counts.get(CountKey::Processed);
        if run.state.is_completed() {
            break;
        }
        if processed > seen && kills < 7 {
            (kills, seen) = (kills + 1, processed);
            agent.kill().await;
            agent = host.start().await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    assert!(kills >= 2, "only {kills} kills fell into the run");
    let ended = agent.ended(id).await;
    ended.assert(RunOutcome::Succeeded);
    let complete = 3 * legacy.complete();
    assert_counts(
        &ended,
        &[
            (CountKey::Total, 3_900),
            (CountKey::Processed, 3_900),
            (CountKey::Updated, 3_900 - complete),
            (CountKey::Skipped, complete),
        ],
    );
    for number in 0..3 {
        let rows = rows(&agent, legacy.tenant(number).id).await;
        let gone = rows.iter().filter(|row| row.merged_into.is_some());
        assert_eq!(gone.count() as u64, legacy.duplicates());
        let twice = rows.iter().filter(|row| row.times_seen == Some(2));
        assert_eq!(twice.count() as u64, legacy.duplicates(), "each took one in, once");
        assert!(rows.iter().all(|row| row.status != FindingStatus::Closed || row.due_at.is_none()));
    }
    let second = done(&agent, &wish(BACKFILL)).await;
    assert_counts(&second, &[(CountKey::Updated, 0), (CountKey::Skipped, 3_900)]);
}

const LETTERS: u64 = 5;

/// Runs of a hosted type that failed for good.
async fn leave_dead_letters(agent: &Agent) {
    let scope = agent.store.scope();
    let definition = Definition::built_in("Mail", Capability::RunsEnqueue, &[])
        .tried_again(Retry { attempts_max: 1, ..Retry::NEVER });
    let now = agent.ambient.now();
    let hosted = HostedType {
        workspace_id: scope.workspace_id,
        name: "shop.mail".parse().unwrap(),
        definition,
        registered_at: now,
        updated_at: now,
    };
    commit(agent, Write::PutHostedType(Box::new(hosted))).await;
    for number in 0..LETTERS {
        let inputs = Inputs::Hosted(Hosted {
            run_type: "shop.mail".parse().unwrap(),
            payload: Payload::new(&serde_json::json!({ "number": number })).unwrap(),
            identity: None,
            subject: None,
        });
        let request = Request {
            priority: Some(Priority(0)),
            ..Request::by_owner(&scope, Source::Api, inputs)
        };
        let run_id = agent.door.submit(request).await.unwrap().run().id;
        let holder = crate::domain::runs::Holder {
            instance: "mailer".to_owned(),
            host_id: None,
            boot_id: None,
            is_hosted: true,
        };
        let lease_until = crate::base::time::after(now, Duration::from_secs(60));
        let begin = StartAttempt { run_id, attempt: 1, holder, at: now, lease_until };
        commit(agent, Write::StartAttempt(begin)).await;
        let progress = RunProgress::default();
        let fail =
            FailAttempt { run_id, attempt: 1, end: End::Failed, at: now, random: 0, progress };
        commit(agent, Write::FailAttempt(fail)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failed_runs_are_tried_again_once_and_up_to_the_limit() {
    let agent = Host::new().start().await;
    leave_dead_letters(&agent).await;
    let key = RunbookKey::RunsRetryFailed;
    let argument = |name: &str, value| (name.to_owned(), value);
    let other = Wish {
        arguments: Arguments::from([argument("run_type", Argument::Text("no.such".to_owned()))]),
        ..wish(key)
    };
    let ended = done(&agent, &other).await;
    assert_counts(&ended, &[(CountKey::Total, 0), (CountKey::Updated, 0)]);
    let limited =
        Wish { arguments: Arguments::from([argument("limit", Argument::Whole(2))]), ..wish(key) };
    let looked = runbooks(&agent).preflight(&limited, &asker()).await.unwrap();
    let found = looked.preflight;
    assert_eq!((found.affected_count, found.total_count), (2, LETTERS));
    assert_eq!(found.facts.get("shop.mail"), Some(&LETTERS.to_string()));
    assert_counts(&done(&agent, &limited).await, &[(CountKey::Updated, 2)]);
    assert_counts(&done(&agent, &wish(key)).await, &[(CountKey::Updated, LETTERS - 2)]);
    let runs = agent.runs().await;
    let mail = RunType::Hosted("shop.mail".parse().unwrap());
    let again = runs.iter().filter(|run| run.run_type() == mail && run.retried_from.is_some());
    assert_eq!(again.count() as u64, LETTERS);
    assert!(!runs.iter().any(|run| run.is_dead_letter));
    assert_counts(&done(&agent, &wish(key)).await, &[(CountKey::Processed, 0)]);
}

#[tokio::test(start_paused = true)]
async fn the_host_is_verified_and_maintained_by_its_own_agent() {
    let agent = Host::new().start().await;
    let verified = done(&agent, &wish(RunbookKey::AuditVerify)).await;
    verified.assert(RunOutcome::Succeeded);
    assert!(verified.run.summary_counts.get(CountKey::Processed) > 3);
    assert_eq!(verified.run.host_id, Some(agent.store.scope().host_id));
    let maintained = done(&agent, &wish(RunbookKey::StoreMaintenance)).await;
    maintained.assert(RunOutcome::Succeeded);
    assert_counts(&maintained, &[(CountKey::Processed, 1), (CountKey::Failed, 0)]);
}
