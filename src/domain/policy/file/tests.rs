//! Tables: what a policy's file may say, and what is said of one that is wrong.

use super::*;
use crate::base::limits::{
    POLICY_BYTES_MAX, POLICY_CHECKS_MAX, POLICY_CONDITIONS_MAX, POLICY_EXCEPTIONS_MAX,
    POLICY_PATTERNS_MAX, POLICY_TEXT_CHARS_MAX,
};

const WHOLE: &str = r#"name: shop
title: The shop's own rules
description: What the shop is held to.
owner: shop-team
severity: high
match:
  projects: [shop, "shop-*"]
  labels: {tier: [web, api], team: }
  stages: [production, staging]
exclude:
  - services: db
  - images: "docker.io/library/*"
    tenants: [acme]
action: {production: deny, default: warn}
parameters:
  image_age_days_max: 30
checks:
  - rule.image_tag
  - check: limits
    severity: low
    action: audit
  - check: limits
    action: {production: quarantine}
conditions:
  - id: registry
    title: Images come from our registry
    expression: service.registry == 'r.example'
    message: its image comes from elsewhere
    remediation: push the image to r.example
    at: [image]
    action: remediate
exceptions:
  - rules: [image_tag, "reg*"]
    match: {services: [legacy]}
    owner: alice
    requester: carol
    approver: bob
    reason: it is replaced in spring
    expires: 2027-03-31
tests:
  - name: it is refused
    compose: {services: {web: {image: "web:1"}}}
    expect: {registry: fail}
"#;

fn file(text: &str) -> Policy {
    read("shop.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// `line:column message` of each problem, in the order of the file.
fn problems(text: &str) -> Vec<String> {
    read("shop.yaml", text).err().map(|found| found.placed()).unwrap_or_default()
}

#[test]
fn a_whole_file_is_read() {
    let read = file(WHOLE);
    assert_eq!((read.name.as_str(), &*read.owner), ("shop", "shop-team"));
    assert_eq!(read.rules().collect::<Vec<_>>(), ["image_tag", "limits", "registry"]);
    assert_eq!((read.matches.len(), read.excludes.len()), (1, 2));
    assert!(read.matches[0].labels["team"].is_empty(), "any value");
    assert_eq!(read.actions.of(Stage::Production), Some(Action::Deny));
    assert_eq!(read.actions.of(Stage::Development), Some(Action::Warn));
    let [tag, limits] = &read.checks[..] else { panic!("{:?}", read.checks) };
    assert_eq!((tag.severity, limits.severity), (Severity::High, Severity::Low));
    assert_eq!(tag.parameters.image_age_days_max, 30);
    assert_eq!(tag.actions, Actions::default());
    assert_eq!(limits.actions.of(Stage::Production), Some(Action::Quarantine));
    assert_eq!(limits.actions.of(Stage::Staging), Some(Action::Audit));
    let registry = &read.conditions[0];
    assert_eq!((registry.severity, &*registry.at), (Severity::High, &["image".to_owned()][..]));
    assert_eq!(registry.actions.of(Stage::Development), Some(Action::Remediate));
    let end = "2027-04-01T00:00:00Z".parse().unwrap();
    assert_eq!(read.exceptions[0].expires_at, end, "a day counts until it is over");
    assert_eq!((read.exceptions[0].place.line, read.tests.len()), (33, 1));
    assert_ne!(read.digest, file(&WHOLE.replace("spring", "summer")).digest);
}

#[test]
fn several_checks_are_bound_at_once() {
    let bound = |entries: &str| {
        let text = format!("name: a\ntitle: A\nowner: a\nchecks: {entries}\n");
        let read = file(&text);
        read.checks.iter().map(|bound| bound.check.id()).collect::<Vec<_>>()
    };
    assert_eq!(bound("[limits]"), [CheckId::Limits]);
    assert_eq!(bound("[rule.limits, limits]"), [CheckId::Limits]);
    let all = super::super::CHECKS.len() + super::super::HOST_CHECKS.len();
    assert_eq!(bound("['*']").len(), all);
    assert!(bound("['*_tag', limits]").contains(&CheckId::ImageTag));
    for id in bound("['cis:5']") {
        let cis = super::super::check(id).map(|check| check.cis);
        let cis = cis.or(super::super::host_check(id).map(|check| check.cis)).unwrap();
        assert!(cis.iter().any(|control| control.starts_with("5.")), "{id} {cis:?}");
    }
    // 5.1 is not 5.11.
    assert!(!bound("['cis:5']").is_empty());
    let first = problems("name: a\ntitle: A\nowner: a\nchecks: ['cis:99']\n");
    assert_eq!(first, ["4:10 there is no check `cis:99`"]);
}

#[test]
fn the_last_word_about_a_check_counts() {
    let text = "name: a\ntitle: A\nowner: a\naction: deny\nchecks:\n\
                - check: '*'\n  action: {production: warn, default: audit}\n\
                - check: limits\n  action: {staging: deny}\n\
                - check: image_tag\n  action: off\n";
    let read = file(text);
    let of = |id, stage| {
        let bound = read.checks.iter().find(|bound| bound.check.id() == id).unwrap();
        bound.actions.of(stage)
    };
    assert_eq!(of(CheckId::Limits, Stage::Production), Some(Action::Warn));
    assert_eq!(of(CheckId::Limits, Stage::Staging), Some(Action::Deny));
    assert_eq!(of(CheckId::Limits, Stage::Development), Some(Action::Audit));
    // One word for all stages takes back those before it.
    assert_eq!(of(CheckId::ImageTag, Stage::Production), Some(Action::Off));
}

#[test]
fn every_planted_fault_is_found_at_its_place() {
    let mut missed = Vec::new();
    let mut check = |from: &str, to: &str, expect: &[&str]| {
        assert!(WHOLE.contains(from), "{from}");
        let found = problems(&WHOLE.replacen(from, to, 1));
        if found != expect {
            missed.push((from.to_owned(), to.to_owned(), found));
        }
    };
    let name = "is no name: up to 40 lower-case letters and digits, in words joined by `.`, `_` or \
                `-`, beginning with a letter";
    check("name: shop", "name: Shop", &[&format!("1:7 \"Shop\" {name}")]);
    check("name: shop", "name: rules", &["1:7 `rules` stands for the agent's own rules"]);
    check("title: The shop's own rules\n", "", &["1:1 `title` is missing"]);
    check("owner: shop-team\n", "", &["1:1 `owner` is missing"]);
    check("owner: shop-team", "owner: ' '", &["4:8 `owner` is empty"]);
    check("description:", "descripton:", &["3:1 unknown key `descripton`"]);
    check(
        "severity: high",
        "severity: huge",
        &["5:11 `severity` must be one of info, low, medium, high, critical, found `huge`"],
    );
    check("projects:", "project:", &["7:3 unknown key `project`"]);
    check("\"shop-*\"", "''", &["7:20 a pattern has 1 to 200 characters"]);
    check(
        "{tier: [web, api], team: }",
        "[a]",
        &["8:11 `labels` is a mapping of labels to patterns"],
    );
    check(
        "[production, staging]",
        "[prod]",
        &["9:12 \"prod\" is not a known stage; known are development, staging, production"],
    );
    check("  - services: db", "  - {}", &["11:3 an empty exclusion excludes everything"]);
    check(
        "{production: deny, default: warn}",
        "refuse",
        &[
            "14:9 an action is one of off, audit, warn, remediate, deny, quarantine, or a mapping by \
           stage",
        ],
    );
    check(
        "{production: deny, default: warn}",
        "{prod: deny}",
        &["14:10 \"prod\" is not a known stage; known are development, staging, production"],
    );
    check(
        "image_age_days_max: 30",
        "image_age_day_max: 30",
        &[
            "16:22 no check has a parameter \"image_age_day_max\"; did you mean `image_age_days_max`?",
        ],
    );
    check(
        "image_age_days_max: 30",
        "image_age_days_max: old",
        &["16:23 parameter `image_age_days_max` takes a number of days, not \"old\""],
    );
    check("rule.image_tag", "image_tags", &["18:5 there is no check `image_tags`"]);
    check("rule.image_tag", "[a]", &["18:5 there is no check ``"]);
    check("    severity: low\n", "    sevrity: low\n", &["20:5 unknown key `sevrity`"]);
    check(
        "- id: registry",
        "- id: limits",
        &["25:9 `limits` is a check of the agent's own: choose another id"],
    );
    check("    message: its image comes from elsewhere\n", "", &["25:5 `message` is missing"]);
    check(
        "service.registry == 'r.example'",
        "service.registri == 'r.example'",
        &["27:25 there is no field `registri`"],
    );
    check(
        "service.registry == 'r.example'",
        "\"service.registry == 5\"",
        &["27:35 a text is never equal to a whole number"],
    );
    check(
        "service.registry == 'r.example'",
        "|\n      service.registry ==\n        'r.example' &&\n        servce.is_built",
        &["30:9 nothing is called `servce`"],
    );
    check(
        "    expression: service.registry == 'r.example'\n",
        "    expression: [a]\n",
        &["27:17 an expression is a text, not a list"],
    );
    check("[image_tag, \"reg*\"]", "[image_tags]", &["33:12 this policy has no rule `image_tags`"]);
    check("{services: [legacy]}", "{}", &["34:12 an exception for everything is no exception"]);
    check(
        "approver: bob",
        "approver: Alice",
        &["37:15 `Alice` cannot allow an exception of their own"],
    );
    check(
        "approver: bob",
        "approver: carol",
        &["37:15 `carol` cannot allow an exception of their own"],
    );
    check("    approver: bob\n", "", &["33:5 `approver` is missing"]);
    check("    reason: it is replaced in spring\n", "", &["33:5 `reason` is missing"]);
    check("    expires: 2027-03-31\n", "", &["33:5 `expires` is missing"]);
    check("2027-03-31", "2027-02-30", &["39:14 `2027-02-30` is no date"]);
    check("2027-03-31", "spring", &["39:14 `spring` is no date"]);
    check("{registry: fail}", "{registri: fail}", &["43:14 this policy has no rule `registri`"]);
    check(
        "{registry: fail}",
        "{registry: bad}",
        &["43:24 expected is one of pass, fail, unknown, excepted, unmatched"],
    );
    check("{registry: fail}", "{}", &["43:13 a test expects something of a rule"]);
    check(
        "compose: {services: {web: {image: \"web:1\"}}}",
        "compose: 5",
        &["42:14 `compose` is a compose file, not a number"],
    );
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn several_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = WHOLE
        .replace("owner: shop-team", "owner: 5")
        .replace("rule.image_tag", "nothing")
        .replace("service.registry ==", "service.registry =")
        .replace("approver: bob", "approver: alice");
    let lines: Vec<usize> = problems(&text)
        .iter()
        .map(|told| told.split(':').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(lines, [4, 18, 27, 37], "{:?}", problems(&text));
}

#[test]
fn a_policy_binds_something() {
    let text = "name: a\ntitle: A\nowner: a\n";
    assert_eq!(problems(text), ["1:1 a policy binds a check or has a condition"]);
}

#[test]
fn everything_has_a_limit() {
    let head = "name: a\ntitle: A\nowner: a\n";
    let check = |text: String, part: &str| {
        let found = problems(&text);
        assert!(found.iter().any(|told| told.contains(part)), "{part}: {found:?}");
    };
    check("#".repeat(POLICY_BYTES_MAX + 1), "a file of policies has at most 128 KiB");
    let checks = "- limits\n".repeat(POLICY_CHECKS_MAX + 1);
    check(format!("{head}checks:\n{checks}"), "`checks` has at most 200 entries");
    let condition = |number| format!("- {{id: c{number}, expression: 'true', message: a}}\n");
    let conditions: String = (0..=POLICY_CONDITIONS_MAX).map(condition).collect();
    check(format!("{head}conditions:\n{conditions}"), "`conditions` has at most 50 entries");
    let exceptions = "- {}\n".repeat(POLICY_EXCEPTIONS_MAX + 1);
    check(format!("{head}exceptions:\n{exceptions}"), "`exceptions` has at most 200 entries");
    let patterns = "a,".repeat(POLICY_PATTERNS_MAX + 1);
    let selector = format!("{head}checks: [limits]\nmatch: {{projects: [{patterns}]}}");
    check(selector, "a selector has at most 100 patterns");
    let title = "a".repeat(POLICY_TEXT_CHARS_MAX + 1);
    check(head.replace("title: A", &format!("title: {title}")), "has at most 1000 characters");
    let huge = "a".repeat(2_001);
    check(
        format!("{head}conditions: [{{id: c, message: a, expression: \"'{huge}' == ''\"}}]"),
        "a condition has at most 2000 bytes",
    );
    let nested = format!("{}true{}", "(".repeat(100), ")".repeat(100));
    check(
        format!("{head}conditions: [{{id: c, message: a, expression: '{nested}'}}]"),
        "a condition nests at most 32 deep",
    );
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert!(!problems(bomb).is_empty());
}

#[test]
fn an_exception_ends_when_it_says() {
    let exception = &file(WHOLE).exceptions[0];
    let counts = |now: &str| exception.counts(now.parse().unwrap());
    assert!(counts("2027-03-31T23:59:59Z"));
    assert!(!counts("2027-04-01T00:00:00Z"));
    let exact = WHOLE.replace("2027-03-31", "2027-03-31T12:00:00Z");
    let exception = &file(&exact).exceptions[0];
    assert!(exception.counts("2027-03-31T11:59:59Z".parse().unwrap()));
    assert!(!exception.counts("2027-03-31T12:00:00Z".parse().unwrap()));
}

#[test]
fn a_file_of_tests_is_read() {
    let text = "policy: shop\ntests:\n- name: a\n  compose: |\n    services: {}\n  stage: staging\n  \
                now: 2026-05-01\n  image: {user: app}\n  tenant: acme\n  \
                expect: {rule.limits: {verdict: fail, action: deny, message: CPU}}\n";
    let read = read_tests("shop.test.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
    let [trial] = &read[..] else { panic!("{read:?}") };
    assert_eq!((trial.policy.as_str(), trial.stage), ("shop", Stage::Staging));
    assert_eq!(trial.now, "2026-05-01T00:00:00Z".parse().unwrap());
    assert_eq!((&*trial.expects[0].rule, trial.expects[0].action), ("limits", Some(Action::Deny)));
    let wrong = read_tests("a.test.yaml", "policy: A b\ntsts: []\n").unwrap_err();
    assert_eq!(wrong.0.len(), 3, "{wrong}");
}
