use std::time::Duration;

use super::delivery::pause;
use super::*;
use crate::base::ids::{DeliveryId, ReceiverId, RuleId, RunId, TenantId, WorkspaceId};
use crate::base::limits::{ALERT_ATTEMPTS_MAX, ALERT_PAUSE_FIRST, ALERT_PAUSE_LONGEST};
use crate::base::{Secret, Timestamp};
use crate::domain::redaction::SafeText;
use crate::domain::runs::RunType;
use std::fmt::Write as _;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn event(key: EventKey) -> AlertEvent {
    AlertEvent {
        key,
        severity: key.severity(),
        about: "run-1".to_owned(),
        workspace_id: WorkspaceId::from_u128(1),
        tenant_id: Some(TenantId::from_u128(2)),
        summary: SafeText::new("restart_project of project:shop failed"),
        run: Some(RunFacts {
            run_id: RunId::from_u128(3),
            run_type: RunType::RestartProject,
            scope: "project:shop".to_owned(),
            reason_code: None,
        }),
        occurred_at: time("2026-06-01T00:00:00Z"),
    }
}

fn rule(receivers: &[u128]) -> AlertRule {
    let at = time("2026-01-01T00:00:00Z");
    AlertRule {
        id: RuleId::from_u128(9),
        workspace_id: WorkspaceId::from_u128(1),
        name: "all".parse().unwrap(),
        event: Pattern::any(),
        run_type: Pattern::any(),
        tenant_id: None,
        severity_min: Severity::Info,
        receivers: receivers.iter().map(|id| ReceiverId::from_u128(*id)).collect(),
        is_enabled: true,
        created_at: at,
        updated_at: at,
    }
}

#[test]
fn a_pattern_fits_whole_keys() {
    fn check(pattern: &str, key: &str, expect: bool) {
        let pattern: Pattern = pattern.parse().unwrap();
        assert_eq!(pattern.matches(key), expect, "{pattern} {key}");
    }
    check("*", "", true);
    check("*", "operations.run.failed", true);
    check("operations.run.failed", "operations.run.failed", true);
    check("operations.run.failed", "operations.run.failed2", false);
    check("operations.run.*", "operations.run.failed", true);
    check("operations.run.*", "operations.ran.failed", false);
    check("*.failed", "operations.run.failed", true);
    check("*.failed", "operations.run.dead_letter", false);
    check("o*.*.f*d", "operations.run.failed", true);
    check("a*a", "a", false);
    check("a*b*c", "abbc", true);
    check("a*bc*c", "abc", false);
    for wrong in ["", "A", "a b", "ä", "a?"] {
        assert_eq!(wrong.parse::<Pattern>(), Err(PatternError(wrong.to_owned())));
    }
}

#[test]
fn a_rule_asks_for_everything_that_it_names() {
    fn check(change: impl FnOnce(&mut AlertRule), expect: bool) {
        let mut rule = rule(&[1]);
        change(&mut rule);
        assert_eq!(rule.matches(&event(EventKey::RunFailed)), expect, "{rule:?}");
    }
    check(|_| {}, true);
    check(|rule| rule.is_enabled = false, false);
    check(|rule| rule.workspace_id = WorkspaceId::from_u128(2), false);
    check(|rule| rule.event = "operations.run.failed".parse().unwrap(), true);
    check(|rule| rule.event = "operations.run.dead_letter".parse().unwrap(), false);
    check(|rule| rule.run_type = "restart_*".parse().unwrap(), true);
    check(|rule| rule.run_type = "deploy_*".parse().unwrap(), false);
    check(|rule| rule.tenant_id = Some(TenantId::from_u128(2)), true);
    check(|rule| rule.tenant_id = Some(TenantId::from_u128(3)), false);
    check(|rule| rule.severity_min = Severity::High, true);
    check(|rule| rule.severity_min = Severity::Critical, false);
}

#[test]
fn a_receiver_hears_of_an_event_once() {
    let rules = [rule(&[1, 2]), rule(&[2, 3, 1])];
    let event = event(EventKey::RunFailed);
    let receivers = route(&event, &rules);
    assert_eq!(receivers, [1, 2, 3].map(ReceiverId::from_u128));
    let made = deliveries(&event, &receivers);
    assert_eq!(made, deliveries(&event, &receivers), "raised twice, the same deliveries");
    let other = AlertEvent { key: EventKey::RunDeadLetter, ..event };
    let ids = |made: &[Delivery]| made.iter().map(|one| one.id).collect::<Vec<_>>();
    let others = ids(&deliveries(&other, &receivers));
    assert!(ids(&made).iter().all(|id| !others.contains(id)));
}

#[test]
fn the_life_of_a_delivery_on_one_page() {
    let at = time("2026-06-01T00:00:00Z");
    let fresh = deliveries(&event(EventKey::RunFailed), &[ReceiverId::from_u128(1)]).remove(0);
    let last = Attempted { at, http_status: None, error: None };
    let take = DeliveryEvent::Take { until: at };
    let taken = fresh.clone().transition(take.clone()).unwrap();
    let arrived = DeliveryEvent::Arrived { attempt: 1, last: last.clone() };
    let failed = DeliveryEvent::Failed { attempt: 1, last: last.clone(), random: 0 };
    let tired = Delivery { attempts: ALERT_ATTEMPTS_MAX, ..taken.clone() };
    let last_try = DeliveryEvent::Failed { attempt: ALERT_ATTEMPTS_MAX, last, random: 0 };
    let given_up = tired.transition(last_try).unwrap();
    let states = [
        ("fresh", fresh.clone()),
        ("taken", taken.clone()),
        ("delivered", taken.clone().transition(arrived.clone()).unwrap()),
        ("given up", given_up),
    ];
    let events = [
        ("take", take),
        ("arrive", arrived),
        ("fail", failed),
        ("retry", DeliveryEvent::Retry { at }),
    ];
    let mut table = format!("{:<10}", "");
    for (name, _) in &events {
        write!(table, "{name:<12}").unwrap();
    }
    for (name, state) in states {
        write!(table, "\n{name:<10}").unwrap();
        for (_, event) in &events {
            let after = state.clone().transition(event.clone());
            let cell = after.map_or("-".to_owned(), |after| {
                format!("{} {}", after.state.status(), after.attempts)
            });
            write!(table, "{cell:<12}").unwrap();
        }
    }
    let table = table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(table, @r"
              take        arrive      fail        retry
    fresh     pending 1   -           -           pending 0
    taken     pending 2   delivered 1 pending 1   pending 1
    delivered -           -           -           -
    given up  -           -           -           pending 0
    ");
}

#[test]
fn pauses_double_up_to_the_longest_and_end() {
    let middle = u64::from(u32::MAX / 2) << 32;
    let near = |attempts: u32, seconds: f64| {
        let found = pause(attempts, middle).unwrap().as_secs_f64();
        assert!((found - seconds).abs() < 0.01, "{attempts}: {found}");
    };
    near(1, 5.0);
    near(2, 10.0);
    near(5, 80.0);
    near(12, 3600.0);
    near(ALERT_ATTEMPTS_MAX - 1, 3600.0);
    assert_eq!(pause(ALERT_ATTEMPTS_MAX, middle), None);
    for random in [0, middle, u64::MAX] {
        let first = pause(1, random).unwrap();
        assert!(first >= ALERT_PAUSE_FIRST.mul_f64(0.799), "{first:?}");
        assert!(first <= ALERT_PAUSE_FIRST.mul_f64(1.201), "{first:?}");
        assert!(pause(15, random).unwrap() <= ALERT_PAUSE_LONGEST.mul_f64(1.201));
    }
}

fn webhook(url: &str, headers: &[(&str, &str)]) -> Webhook {
    let secret = |value: &&str| Secret::new((*value).to_owned());
    Webhook {
        url: Secret::new(url.to_owned()),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), secret(value))).collect(),
        signing_key: None,
    }
}

#[test]
fn a_webhook_that_nothing_could_be_sent_to_is_refused() {
    fn check(webhook: &Webhook, expect: Result<(), WebhookError>) {
        assert_eq!(check_webhook(webhook, Duration::from_secs(10)), expect);
    }
    check(&webhook("https://hooks.example.org/a?b=c", &[("x-team", "ops 1")]), Ok(()));
    check(&webhook("http://127.0.0.1:8080", &[]), Ok(()));
    for url in ["", "ftp://a", "https://", "https:///a", "https://a b", "https://ä"] {
        check(&webhook(url, &[]), Err(WebhookError::Url));
    }
    for name in ["", "Host", "idempotency-key", "a b", "a:b"] {
        let header = WebhookError::Header(name.to_owned());
        check(&webhook("https://a", &[(name, "x")]), Err(header));
    }
    let value = WebhookError::HeaderValue("x-a".to_owned());
    check(&webhook("https://a", &[("x-a", "line\nbreak")]), Err(value));
    let short =
        Webhook { signing_key: Some(Secret::new("short".to_owned())), ..webhook("https://a", &[]) };
    check(&short, Err(WebhookError::SigningKey));
    let patient = check_webhook(&webhook("https://a", &[]), Duration::from_secs(61));
    assert_eq!(patient, Err(WebhookError::Timeout));
}

#[test]
fn the_target_of_a_webhook_gives_no_secret_away() {
    fn check(url: &str, expect: &str) {
        assert_eq!(webhook(url, &[]).target(), expect);
    }
    check("https://hooks.example.org/T0/SECRET", "https://hooks.example.org");
    check("https://user:pw@example.org:8443?token=x", "https://example.org:8443");
    let shown = format!("{:?}", webhook("https://a/SECRET", &[("x-token", "SECRET")]));
    assert!(!shown.contains("SECRET"), "{shown}");
}

#[test]
fn a_webhook_comes_back_from_its_sealable_form() {
    let webhook = Webhook {
        signing_key: Some(Secret::new("0123456789abcdef".to_owned())),
        ..webhook("https://a/b", &[("x-a", "1")])
    };
    assert_eq!(Webhook::from_sealable(&webhook.to_sealable()).unwrap(), webhook);
}

#[test]
fn a_signature_is_the_hmac_of_time_and_body() {
    // printf '1780272000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
    let key = Secret::new("0123456789abcdef".to_owned());
    let found = signature(&key, time("2026-06-01T00:00:00Z"), b"{\"a\":1}");
    insta::assert_snapshot!(found, @"t=1780272000,v1=688d2718f31c2e423214d48407d8d3c21ba6eed973745b5014a0be6099003694");
    assert_ne!(found, signature(&key, time("2026-06-01T00:00:01Z"), b"{\"a\":1}"));
}

#[test]
fn ids_of_deliveries_do_not_depend_on_the_order_of_receivers() {
    let event = event(EventKey::RunFailed);
    let (one, two) = (ReceiverId::from_u128(1), ReceiverId::from_u128(2));
    let id = |receivers: &[ReceiverId]| -> Vec<DeliveryId> {
        let mut ids: Vec<_> = deliveries(&event, receivers).iter().map(|one| one.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(id(&[one, two]), id(&[two, one]));
}
