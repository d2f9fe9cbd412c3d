//! What is put right before a service is planned, and what stops it.

use super::*;
use crate::domain::access::Stage;
use crate::domain::policy::{Hardened, Question, Source, compile, harden};
use crate::facts::ImageFacts;

fn hardened(policies: &[&str], spec: &ServiceSpec, image: Option<&ImageFacts>) -> Hardened {
    let files: Vec<String> = (0..policies.len()).map(|number| format!("{number}.yaml")).collect();
    let sources = policies.iter().zip(&files).map(|(text, file)| Source { file, text });
    let set = compile(&sources.collect::<Vec<_>>()).unwrap();
    let subject = Subject { image, ..Subject::new("web", spec) };
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    harden(&set, &Question { subject: &subject, stage: Stage::Production, tenant: None, now })
}

fn privileged() -> ServiceSpec {
    service(|spec| {
        "web:1".clone_into(&mut spec.image);
        spec.security.privileged = true;
    })
}

fn policy(name: &str, action: &str, rest: &str) -> String {
    format!("name: {name}\ntitle: t\nowner: o\naction: {action}\n{rest}\n")
}

fn left(found: &Hardened) -> Vec<(String, bool)> {
    found.left.iter().map(|told| (told.code.clone(), told.is_refused)).collect()
}

fn row(code: &str, is_refused: bool) -> (String, bool) {
    (code.to_owned(), is_refused)
}

#[test]
fn a_machine_puts_right_what_it_can_and_the_rest_is_refused() {
    let spec = privileged();
    let text = policy("own", "remediate", "checks: [privileged, read_only_root, health_check]");
    let found = hardened(&[&text], &spec, None);
    assert!(!found.spec.security.privileged && found.spec.security.read_only);
    assert_eq!(found.changes.len(), 2);
    // No machine knows a health check; whether there is one is not known without the image.
    assert_eq!(left(&found), []);
    // What was put right needs nothing any more.
    let again = hardened(&[&text], &found.spec, None);
    assert_eq!((again.spec == found.spec, again.changes.len()), (true, 0));
    let limited = policy("own", "remediate", "checks: [memory_limit]");
    let found = hardened(&[&limited], &spec, None);
    assert_eq!(left(&found), [row("rule.memory_limit", true)], "nobody said how much");
}

#[test]
fn each_action_does_its_own() {
    let spec = privileged();
    let check = |action: &str, expect: &[(String, bool)], is_changed: bool| {
        let found = hardened(&[&policy("own", action, "checks: [privileged]")], &spec, None);
        assert_eq!(left(&found), expect, "{action}");
        assert_eq!(found.spec != spec, is_changed, "{action}");
    };
    check("off", &[], false);
    check("audit", &[row("rule.privileged", false)], false);
    check("warn", &[row("rule.privileged", false)], false);
    check("remediate", &[], true);
    check("deny", &[row("rule.privileged", true)], false);
    check("quarantine", &[row("rule.privileged", true)], false);
}

#[test]
fn where_two_policies_differ_the_stricter_action_counts() {
    let spec = privileged();
    let mend = policy("mend", "remediate", "checks: [privileged]");
    let deny = policy("deny", "deny", "checks: [privileged]");
    let found = hardened(&[&mend, &deny], &spec, None);
    assert_eq!(left(&found), [row("rule.privileged", true)]);
    assert_eq!(found.spec, spec);
    let names: Vec<&str> = found.left[0].policies.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["deny", "mend"]);
}

#[test]
fn an_image_is_pinned_when_it_is_there() {
    let spec = service(|spec| "r.example/web:1".clone_into(&mut spec.image));
    let text = policy("own", "remediate", "checks: [image_digest]");
    let before = hardened(&[&text], &spec, None);
    assert_eq!(left(&before), [row("rule.image_digest", false)], "it is fetched first");
    let digest = format!("r.example/web@sha256:{}", "a".repeat(64));
    let found = ImageFacts { digests: vec![digest], ..image(|_| {}) };
    let found = hardened(&[&text], &spec, Some(&found));
    assert_eq!(found.spec.image, format!("r.example/web:1@sha256:{}", "a".repeat(64)));
    assert_eq!(left(&found), []);
}

#[test]
fn a_condition_that_cannot_be_judged_is_a_failure_and_who_is_excepted_is_let_through() {
    let spec = service(|spec| "web:1".clone_into(&mut spec.image));
    let condition = "conditions:\n  - {id: broken, title: t, expression: '1 / size(service.dns) > 0', \
                     message: m, remediation: r}";
    let found = hardened(&[&policy("own", "deny", condition)], &spec, None);
    assert_eq!(left(&found), [row("policy.own.broken", true)]);
    assert!(found.left[0].message.contains("cannot be judged"), "{:?}", found.left);
    let excepted = |until: &str| {
        let exception = format!(
            "checks: [read_only_root]\nexceptions:\n  - {{rules: [read_only_root], match: {{services: \
             [web]}}, owner: a, approver: b, reason: r, expires: {until}}}"
        );
        hardened(&[&policy("own", "deny", &exception)], &spec, None)
    };
    assert_eq!(left(&excepted("2026-06-01")), []);
    let over = excepted("2025-06-01");
    assert_eq!(left(&over), [row("rule.read_only_root", true)]);
    assert!(over.left[0].remediation.contains("an exception for it ended at 2025-06-02"));
}
