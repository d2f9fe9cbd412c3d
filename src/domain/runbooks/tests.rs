use std::collections::BTreeSet;

use super::*;
use crate::domain::access::{BuiltInRole, ReasonKind};
use crate::domain::redaction::SafeText;

const TENANT: TenantId = TenantId::from_u128(7);

fn definition() -> Digest {
    Digest::of(b"a runbook")
}

fn arguments(pairs: &[(&str, &str)]) -> Arguments {
    let text =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Argument::Text((*value).to_owned()));
    pairs.iter().map(text).collect()
}

fn reason(text: &str) -> Reason {
    Reason { reason_code: ReasonKind::DataRepair, reason_text: SafeText::new(text) }
}

#[test]
fn every_runbook_has_an_entry_that_an_operator_can_choose_by() {
    let mut digests = BTreeSet::new();
    for key in RunbookKey::ALL {
        let entry = key.built_in().unwrap();
        assert_eq!(entry.key, *key);
        assert!(!entry.label.is_empty() && entry.description.ends_with('.'), "{key}");
        assert!(!entry.scopes.is_empty() && entry.estimated_duration().as_secs() > 0, "{key}");
        assert!(BuiltInRole::Operator.capabilities().has(entry.capability), "{key}");
        assert!(digests.insert(entry.digest().unwrap()), "{key}");
        for scope in entry.scopes.iter() {
            let tenant = (*scope == Scope::SingleTenant).then_some(TENANT);
            Ask::new(key.built_in().unwrap(), *scope, tenant, &Arguments::new()).unwrap();
        }
    }
}

#[test]
fn what_is_asked_is_checked_against_the_catalog() {
    fn check(
        key: RunbookKey,
        scope: Scope,
        tenant: Option<TenantId>,
        given: &[(&str, &str)],
        expect: Result<&str, &str>,
    ) {
        let asked = Ask::new(key.built_in().unwrap(), scope, tenant, &arguments(given));
        let told = asked.map(|ask| serde_json::to_string(&ask.arguments).unwrap());
        let told = told.map_err(|error| error.to_string());
        assert_eq!(told.as_deref().map_err(String::as_str), expect);
    }
    use RunbookKey::{
        AuditVerify, FindingsLifecycleBackfill as Backfill, RunsRetryFailed as Retry,
    };
    use Scope::{AllTenants, SingleTenant};
    check(Backfill, SingleTenant, Some(TENANT), &[], Ok("{}"));
    check(Backfill, AllTenants, None, &[], Ok("{}"));
    check(
        Backfill,
        SingleTenant,
        None,
        &[],
        Err("the scope single_tenant needs a tenant: name it"),
    );
    check(
        Backfill,
        AllTenants,
        Some(TENANT),
        &[],
        Err("the scope all_tenants takes no tenant: leave it out, or ask for single_tenant"),
    );
    check(
        AuditVerify,
        SingleTenant,
        Some(TENANT),
        &[],
        Err("runbook audit.verify has no scope single_tenant; it has all_tenants"),
    );
    let defaults = r#"{"failed_jobs_only":true,"limit":1000}"#;
    check(Retry, AllTenants, None, &[], Ok(defaults));
    let all = r#"{"failed_jobs_only":false,"limit":7,"run_type":"shop.mail"}"#;
    let given = [("limit", "7"), ("run_type", "shop.mail"), ("failed_jobs_only", "false")];
    check(Retry, AllTenants, None, &given, Ok(all));
    check(
        Retry,
        AllTenants,
        None,
        &[("limit", "0")],
        Err("parameter limit takes a whole number from 1 to 10000, not \"0\""),
    );
    check(
        Retry,
        AllTenants,
        None,
        &[("failed_jobs_only", "perhaps")],
        Err("parameter failed_jobs_only takes true or false, not \"perhaps\""),
    );
    check(
        Retry,
        AllTenants,
        None,
        &[("speed", "9")],
        Err("there is no parameter \"speed\"; known are run_type, limit, failed_jobs_only"),
    );
    check(
        Backfill,
        AllTenants,
        None,
        &[("speed", "9")],
        Err("there is no parameter \"speed\"; known are none"),
    );
}

#[test]
fn a_reason_is_needed_for_all_tenants_and_with_the_glass_broken() {
    fn check(scope: Scope, is_break_glass: bool, reason: Option<Reason>, expect: bool) {
        let tenant = (scope == Scope::SingleTenant).then_some(TENANT);
        let key = RunbookKey::FindingsLifecycleBackfill;
        let ask = Ask::new(key.built_in().unwrap(), scope, tenant, &Arguments::new()).unwrap();
        assert_eq!(
            ask.check_reason(key.built_in().unwrap(), reason.as_ref(), is_break_glass).is_ok(),
            expect
        );
    }
    check(Scope::SingleTenant, false, None, true);
    check(Scope::SingleTenant, true, None, false);
    check(Scope::SingleTenant, true, Some(reason("the disk was full")), true);
    check(Scope::AllTenants, false, None, false);
    check(Scope::AllTenants, false, Some(reason("  ")), false);
    check(Scope::AllTenants, false, Some(reason("rows of last year")), true);
}

#[test]
fn a_digest_changes_with_everything_that_an_operator_was_told() {
    let key = RunbookKey::RunsRetryFailed;
    let ask = |tenant: Option<TenantId>, given: &[(&str, &str)]| {
        let scope = if tenant.is_none() { Scope::AllTenants } else { Scope::SingleTenant };
        Ask::new(key.built_in().unwrap(), scope, tenant, &arguments(given)).unwrap()
    };
    let found = Preflight { affected_count: 3, total_count: 5, ..Preflight::default() };
    let mut fact = found.clone();
    fact.facts.insert("types".to_owned(), "shop.mail".to_owned());
    let backfill = RunbookKey::FindingsLifecycleBackfill;
    let other =
        Ask::new(backfill.built_in().unwrap(), Scope::AllTenants, None, &Arguments::new()).unwrap();
    let digests = [
        found.digest(&ask(None, &[]), definition()),
        found.digest(&ask(Some(TENANT), &[]), definition()),
        found.digest(&ask(Some(TenantId::from_u128(8)), &[]), definition()),
        found.digest(&ask(None, &[("limit", "7")]), definition()),
        found.digest(&other, definition()),
        Preflight { affected_count: 4, ..found.clone() }.digest(&ask(None, &[]), definition()),
        Preflight { total_count: 6, ..found.clone() }.digest(&ask(None, &[]), definition()),
        Preflight { estimated_tenants: Some(1), ..found.clone() }
            .digest(&ask(None, &[]), definition()),
        fact.digest(&ask(None, &[]), definition()),
    ];
    let different: BTreeSet<Digest> = digests.into_iter().map(Result::unwrap).collect();
    assert_eq!(different.len(), 9);
    let again = found.digest(&ask(None, &[("limit", "1000")]), definition()).unwrap();
    assert_eq!(
        again,
        found.digest(&ask(None, &[]), definition()).unwrap(),
        "the default, said or not"
    );
}

#[test]
fn a_start_reads_back() {
    let key = RunbookKey::FindingsLifecycleBackfill;
    let runbook =
        Ask::new(key.built_in().unwrap(), Scope::AllTenants, None, &Arguments::new()).unwrap();
    let preflight = Preflight { estimated_tenants: Some(2), ..Preflight::default() };
    let start = Start {
        preflight_digest: preflight.digest(&runbook, definition()).unwrap(),
        definition: definition(),
        runbook,
        preflight,
        reason: Some(reason("rows of last year")),
        platform_initiator: Some(PlatformInitiator {
            platform_user_id: UserId::from_u128(1),
            email: Some("ada@example.org".to_owned()),
            name: "ada".to_owned(),
            is_break_glass: true,
        }),
        asker_uid: Some(1000),
        file: Some("key: shop.drain".to_owned()),
    };
    let text = serde_json::to_string(&start).unwrap();
    assert_eq!(serde_json::from_str::<Start>(&text).unwrap(), start);
    assert!(
        text.contains(r#""reason":{"reason_code":"DATA_REPAIR","reason_text":"rows"#),
        "{text}"
    );
}
