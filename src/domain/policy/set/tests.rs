//! Tables: which policies are about a subject, which action counts, who is excepted, and what the
//! policies that are shipped find.

use super::*;
use crate::domain::policy::{CheckId, RULES, SHIPPED, try_out};
use crate::facts::{ImageFacts, ServiceSpec};

fn now() -> Timestamp {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

fn set(texts: &[&str]) -> PolicySet {
    let names: Vec<String> = (0..texts.len()).map(|number| format!("{number}.yaml")).collect();
    let sources: Vec<Source<'_>> =
        names.iter().zip(texts).map(|(file, text)| Source { file, text }).collect();
    compile(&sources).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A policy with this name and these lines.
fn policy(name: &str, lines: &str) -> String {
    format!("name: {name}\ntitle: T\nowner: o\n{lines}\n")
}

/// A condition that never holds.
const NEVER: &str = "conditions: [{id: never, expression: 'false', message: it never holds}]";

fn spec() -> ServiceSpec {
    ServiceSpec { image: "web".to_owned(), ..ServiceSpec::default() }
}

/// `policy/rule verdict action` of each finding about a service without anything.
fn found(set: &PolicySet, stage: Stage) -> Vec<String> {
    let spec = spec();
    let subject = Subject { project: Some("shop"), ..Subject::new("web", &spec) };
    let question = Question { subject: &subject, stage, tenant: Some("acme"), now: now() };
    set.judge(&question).iter().map(told).collect()
}

fn told(finding: &Finding<'_>) -> String {
    let verdict = match &finding.verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Fail { .. } if finding.exception.is_some() => "excepted".to_owned(),
        Verdict::Fail { .. } if finding.is_broken => "broken".to_owned(),
        Verdict::Fail { .. } => "fail".to_owned(),
        Verdict::Unknown { needs } => format!("unknown {}", needs.join(",")),
    };
    format!("{}/{} {verdict} {}", finding.policy.name, finding.rule.id(), finding.action)
}

#[test]
fn a_policy_judges_what_it_is_about() {
    let check = |lines: &str, is_about: bool| {
        let set = set(&[&policy("a", &format!("{NEVER}\n{lines}"))]);
        let expect: &[&str] = if is_about { &["a/never fail warn"] } else { &[] };
        assert_eq!(found(&set, Stage::Production), expect, "{lines}");
    };
    check("", true);
    check("match: {projects: shop}", true);
    check("match: {projects: other}", false);
    check("match: [{projects: other}, {services: web}]", true);
    check("match: {services: web, projects: other}", false);
    check("match: {stages: production}", true);
    check("match: {stages: [staging, development]}", false);
    check("match: {tenants: 'ac*'}", true);
    check("match: {images: 'docker.io/library/web:*'}", true);
    check("match: {labels: {tier: web}}", false);
    check("exclude: {projects: shop}", false);
    check("exclude: {projects: shop, services: db}", true);
    check("exclude: [{services: db}, {services: 'w*'}]", false);
    check("match: {projects: shop}\nexclude: {tenants: acme}", false);
}

#[test]
fn the_nearest_word_about_an_action_counts() {
    let check = |own: &str, whole: &str, expect: [&str; 3]| {
        let condition = format!("{{id: never, expression: 'false', message: a, {own}}}");
        let lines = format!("conditions: [{condition}]\n{whole}");
        let set = set(&[&policy("a", &lines)]);
        let actions = Stage::ALL.iter().map(|stage| {
            let found = found(&set, *stage);
            found.first().map_or("off", |told| told.rsplit(' ').next().unwrap()).to_owned()
        });
        assert_eq!(actions.collect::<Vec<_>>(), expect, "{own} / {whole}");
    };
    check("", "", ["warn", "warn", "warn"]);
    check("", "action: deny", ["deny", "deny", "deny"]);
    check("", "action: {production: deny}", ["warn", "warn", "deny"]);
    check("", "action: {production: deny, default: audit}", ["audit", "audit", "deny"]);
    check("action: off", "action: deny", ["off", "off", "off"]);
    check("action: {staging: off}", "action: deny", ["deny", "off", "deny"]);
    check(
        "action: {staging: quarantine, default: remediate}",
        "action: {production: deny}",
        ["remediate", "quarantine", "remediate"],
    );
}

#[test]
fn an_exception_counts_for_its_rule_and_its_services_until_it_ends() {
    let check = |exception: &str, expect: &str, expired: usize| {
        let lines = format!(
            "{NEVER}\naction: deny\nexceptions: [{{owner: a, approver: b, reason: c, {exception}}}]"
        );
        let set = set(&[&policy("a", &lines)]);
        assert_eq!(found(&set, Stage::Production), [expect], "{exception}");
        assert_eq!(set.expired(now()).len(), expired, "{exception}");
    };
    let fails = "a/never fail deny";
    let excepted = "a/never excepted deny";
    check("rules: never, match: {services: web}, expires: 2026-06-15", excepted, 0);
    check("rules: [\"*\"], match: {projects: \"s*\"}, expires: 2027-01-01", excepted, 0);
    check("rules: never, match: {services: web}, expires: 2026-06-14", fails, 1);
    check("rules: never, match: {services: web}, expires: 2026-06-15T12:00:00Z", fails, 1);
    check("rules: never, match: {services: web}, expires: 2026-06-15T12:00:01Z", excepted, 0);
    check("rules: never, match: {services: db}, expires: 2027-01-01", fails, 0);
    check("rules: never, match: {services: web, stages: staging}, expires: 2027-01-01", fails, 0);
}

#[test]
fn an_exception_that_is_over_is_told_with_the_failure_it_was_for() {
    let lines = format!(
        "{NEVER}\nexceptions:\n\
         - {{rules: never, match: {{services: web}}, owner: a, approver: b, reason: old, expires: 2026-01-01}}\n\
         - {{rules: never, match: {{services: db}}, owner: a, approver: b, reason: no, expires: 2026-01-01}}"
    );
    let set = set(&[&policy("a", &lines)]);
    let spec = spec();
    let subject = Subject::new("web", &spec);
    let stage = Stage::Production;
    let findings = set.judge(&Question { subject: &subject, stage, tenant: None, now: now() });
    assert!(findings[0].is_open_failure());
    let reasons: Vec<&str> = findings[0].expired.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(reasons, ["old"]);
    assert_eq!(set.expired(now()).len(), 2);
}

#[test]
fn what_is_not_known_and_what_cannot_be_judged_is_no_pass() {
    let lines = "action: deny\nconditions:\n\
                 - {id: user, expression: service.user == 'app', message: a}\n\
                 - {id: broken, expression: 1 / 0 == 1, message: a}\n\
                 - {id: slow, message: a, expression: \"[1,2,3,4,5,6,7,8,9,10]\
                 .map(x, [1,2,3,4,5,6,7,8,9,10]).all(a, a.all(b, \
                 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.split('').all(c, c.size() == 1)))\"}\n\
                 - {id: holds, expression: 'service.name == \"web\"', message: a}";
    let set = set(&[&policy("a", lines)]);
    let expect = [
        "a/user unknown image.user deny",
        "a/broken broken deny",
        "a/slow pass deny",
        "a/holds pass deny",
    ];
    assert_eq!(found(&set, Stage::Production), expect);
    let spec = spec();
    let subject = Subject::new("web", &spec);
    let stage = Stage::Production;
    let findings = set.judge(&Question { subject: &subject, stage, tenant: None, now: now() });
    let Verdict::Fail { message, .. } = &findings[1].verdict else { panic!() };
    assert_eq!(message, "it cannot be judged: a number is divided by zero");
}

#[test]
fn of_several_policies_the_strictest_action_counts() {
    let mild = policy("mild", "checks: [image_tag, limits]\naction: warn");
    let strict = policy("strict", "checks: [image_tag]\naction: deny");
    let other = policy("third", "checks: [image_tag]\naction: audit");
    let set = set(&[&mild, &strict, &other]);
    let spec = spec();
    let subject = Subject::new("web", &spec);
    let stage = Stage::Production;
    let findings = set.judge(&Question { subject: &subject, stage, tenant: None, now: now() });
    assert_eq!(findings.len(), 4);
    let counted = strictest(&findings);
    let told: Vec<String> = counted.iter().map(|it| told(it.finding)).collect();
    assert_eq!(told, ["strict/image_tag fail deny", "mild/limits fail warn"]);
    let also: Vec<&str> = counted[0].also.iter().map(Name::as_str).collect();
    assert_eq!(also, ["mild", "third"]);
    assert_eq!(counted[0].finding.code(), "rule.image_tag");
}

#[test]
fn a_condition_has_the_code_of_its_policy() {
    let set = set(&[&policy("a", NEVER)]);
    let spec = spec();
    let subject = Subject::new("web", &spec);
    let stage = Stage::Production;
    let findings = set.judge(&Question { subject: &subject, stage, tenant: None, now: now() });
    assert_eq!(findings[0].code(), "policy.a.never");
    assert!(findings[0].remedy(&subject).is_none());
}

#[test]
fn the_rules_of_the_configuration_are_a_policy() {
    let mut rules = Rules::default();
    rules.set(Stage::Production, CheckId::ImageTag, Action::Deny);
    let set = PolicySet::default().with_rules(&rules);
    let spec = spec();
    let subject = Subject::new("web", &spec);
    for stage in Stage::ALL {
        let question = Question { subject: &subject, stage: *stage, tenant: None, now: now() };
        let findings = set.judge(&question);
        for id in RULES {
            let action = rules.action(*stage, id);
            let finding = findings.iter().find(|finding| finding.rule.id() == id.key());
            assert_eq!(finding.map_or(Action::Off, |it| it.action), action, "{stage} {id}");
            if let Some(finding) = finding {
                let check = check(id).unwrap();
                assert_eq!(finding.verdict, (check.judge)(&subject, &Parameters::default()));
                assert_eq!(finding.code(), id.code());
            }
        }
    }
    let digest = set.policy("rules").unwrap().digest;
    let again = set.with_rules(&Rules::default());
    assert_eq!(again.policies().len(), 1);
    assert_ne!(again.policy("rules").unwrap().digest, digest);
}

#[test]
fn a_broken_policy_is_refused_with_all_that_is_wrong() {
    let good = policy("good", "checks: [limits]");
    let compiled = |sources: &[(&str, &str)]| {
        let sources: Vec<Source<'_>> =
            sources.iter().map(|(file, text)| Source { file, text }).collect();
        match compile(&sources) {
            Ok(_) => Vec::new(),
            Err(problems) => problems
                .0
                .iter()
                .map(|it| {
                    let file = it.location.as_ref().map_or("", |at| at.file.as_str());
                    format!("{file} {}", it.message)
                })
                .collect::<Vec<_>>(),
        }
    };
    assert!(compiled(&[("a.yaml", &good)]).is_empty());
    let found = compiled(&[("a.yaml", &good), ("b.yaml", "name: b\n"), ("c.yaml", "a: [")]);
    let files: Vec<&str> = found.iter().map(|told| told.split(' ').next().unwrap()).collect();
    assert_eq!(files, ["b.yaml", "b.yaml", "b.yaml", "c.yaml"], "{found:?}");
    let twice = compiled(&[("a.yaml", &good), ("b.yaml", &good)]);
    assert_eq!(twice, ["b.yaml a.yaml has a policy `good` too"]);
    let test = "policy: good\ntests: [{name: a, compose: {}, expect: {never: pass}}]";
    let found = compiled(&[("a.yaml", &good), ("a.test.yaml", test)]);
    assert_eq!(found, ["a.test.yaml this policy has no rule `never`"]);
    let found = compiled(&[("a.test.yaml", test)]);
    assert_eq!(found, ["a.test.yaml there is no policy `good`"]);
    let many: Vec<(String, String)> = (0..=POLICIES_MAX)
        .map(|number| (format!("{number}.yaml"), policy(&format!("p{number}"), "checks: [limits]")))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(file, text)| (&**file, &**text)).collect();
    assert_eq!(compiled(&many), [" at most 200 policies are in force together"]);
}

#[test]
fn a_test_that_is_not_as_expected_says_so_at_its_place() {
    let text = policy(
        "a",
        "checks: [limits, image_tag]\naction: deny\ntests:\n\
        - {name: right, compose: {services: {web: {image: web}}}, expect: {image_tag: fail}}\n\
        - {name: wrong, compose: {services: {web: {image: web}}}, expect: {image_tag: pass}}\n\
        - {name: action, compose: {services: {web: {image: web}}}, expect: {image_tag: {verdict: fail, action: warn}}}\n\
        - {name: words, compose: {services: {web: {image: web}}}, expect: {image_tag: {verdict: fail, message: nothing}}}\n\
        - {name: two, compose: {services: {web: {image: web}, db: {image: db}}}, expect: {image_tag: fail}}\n\
        - {name: none, compose: {services: {web: {image: web}}}, service: webb, expect: {image_tag: fail}}\n\
        - {name: bad, compose: {services: {web: {imag: web}}}, expect: {image_tag: fail}}\n\
        - name: text\n  compose: |\n    services:\n      web: {imag: web}\n  expect: {image_tag: fail}\n\
        - name: files\n  compose: |\n    services:\n      web: {image: 'web:1', env_file: a.env}\n  expect: {image_tag: pass}",
    );
    let set = set(&[&text]);
    let told: Vec<String> = try_out(&set)
        .iter()
        .map(|tried| {
            let problems = tried.problems.iter().map(|it| {
                let at = it.location.as_ref().map_or((0, 0), |at| (at.line, at.column));
                format!(" {}:{} {}", at.0, at.1, it.message)
            });
            format!("{}{}", tried.name, problems.collect::<String>())
        })
        .collect();
    let expect = [
        "right",
        "wrong 8:68 `image_tag` is fail (image `web` has no tag), expected pass",
        "action 9:69 what is done about `image_tag` is deny, not warn",
        "words 10:68 `image_tag` does not say `nothing` (image `web` has no tag)",
        "two 11:3 the file has several services",
        "none 12:3 the file has no service `webb`",
    ];
    assert_eq!(told[..6], expect);
    assert!(told[6].starts_with("bad 13:") && told[6].contains("imag"), "{}", told[6]);
    assert!(told[7].contains("17:13") && told[7].contains("imag"), "{}", told[7]);
    assert!(told[8].contains("a.env"), "{}", told[8]);
}

#[test]
fn the_policies_that_are_shipped_hold_what_their_tests_say() {
    let set = compile(SHIPPED).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<&str> = set.policies().iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["baseline", "cis-docker", "restricted"]);
    let tried = try_out(&set);
    assert!(tried.len() >= 14, "{}", tried.len());
    let failed: Vec<String> = tried
        .iter()
        .flat_map(|tried| {
            let told = |problem: &Diagnostic| format!("{}: {problem}", tried.name);
            tried.problems.iter().map(told)
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for policy in set.policies() {
        let tests = set.tests().iter().filter(|test| test.policy == policy.name).count();
        assert!(tests > 0, "{} has no test", policy.name);
        assert!(policy.exceptions.is_empty(), "{}", policy.name);
    }
}

#[test]
fn the_examples_of_the_manual_are_true() {
    let manual = include_str!("../../../../docs/policies.md");
    let mut blocks = manual.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let (policy, tests) = (blocks.next().unwrap(), blocks.next().unwrap());
    let sources = [
        Source { file: "shop.yaml", text: policy },
        Source { file: "shop.test.yaml", text: tests },
    ];
    let set = compile(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    let tried = try_out(&set);
    assert_eq!(tried.len(), 2);
    for tried in tried {
        assert!(tried.problems.is_empty(), "{}: {}", tried.name, Diagnostics(tried.problems));
    }
}

#[test]
fn a_host_is_judged_by_checks_of_hosts_alone() {
    let all = policy("all", "checks: ['*']\naction: deny");
    let services = policy("services", "checks: ['*']\nmatch: {services: '*'}");
    let set = set(&[&all, &services]);
    let host = HostFacts::default();
    let findings = set.judge_host(&host, Stage::Production, None, now());
    assert_eq!(findings.len(), crate::domain::policy::HOST_CHECKS.len());
    for finding in &findings {
        assert_eq!((finding.policy.name.as_str(), finding.action), ("all", Action::Deny));
    }
}

/// What an image says, a file says too, and what runs: the verdict is one.
#[test]
fn the_verdict_is_the_same_before_deployment_and_at_run_time() {
    let lines = "conditions:\n\
                 - {id: user, expression: service.user == 'app', message: a}\n\
                 - {id: label, expression: \"service.labels['tier'] == 'web'\", message: a}\n\
                 - {id: variable, expression: \"'TZ' in service.environment\", message: a}\n\
                 - {id: check, expression: service.healthcheck.retries == 7, message: a}";
    let set = set(&[&policy("a", lines)]);
    let declared = spec();
    let mut defaults = ServiceSpec { user: Some("app".to_owned()), ..ServiceSpec::default() };
    defaults.labels.insert("tier".to_owned(), "web".to_owned());
    defaults.environment.insert("TZ".to_owned(), crate::base::Secret::new("UTC".to_owned()));
    defaults.healthcheck = Some(crate::facts::Healthcheck {
        probe: crate::facts::HealthProbe::Shell("true".to_owned()),
        interval: None,
        timeout: None,
        retries: Some(7),
        start_period: None,
        start_interval: None,
    });
    let image = ImageFacts {
        last_tagged_at: None,
        id: "sha256:1".to_owned(),
        tags: Vec::new(),
        digests: Vec::new(),
        defaults,
        platform: "linux/amd64".to_owned(),
        size_bytes: 1,
        created_at: None,
    };
    let verdicts = |subject: &Subject<'_>| {
        let stage = Stage::Production;
        let findings = set.judge(&Question { subject, stage, tenant: None, now: now() });
        findings.iter().map(told).collect::<Vec<_>>()
    };
    let before = verdicts(&Subject::new("web", &declared));
    let needs = ["image.user", "image.labels", "image.environment", "image.healthcheck"];
    for (found, needs) in before.iter().zip(needs) {
        assert!(found.contains(&format!("unknown {needs}")), "{found}");
    }
    let known = verdicts(&Subject { image: Some(&image), ..Subject::new("web", &declared) });
    assert!(known.iter().all(|found| found.contains(" pass ")), "{known:?}");
    let live = crate::facts::effective(&declared, &image);
    let container = super::super::document::tests::container(live.clone());
    let running = verdicts(&Subject { container: Some(&container), ..Subject::new("web", &live) });
    assert_eq!(running, known);
}
