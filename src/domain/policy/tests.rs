//! Each rule as a table: what is known of a service, and the verdict.

#[path = "../../../tests/policy/cases.rs"]
mod cases;
mod confined;
mod declared;
mod hardened;
mod hosts;
mod images;
mod mounted;
mod parameters;
mod reached;
mod shared;

use super::*;
use crate::base::Secret;
use crate::base::yaml::{Node, parse};
use crate::domain::access::Stage;
use crate::facts::{HealthProbe, Healthcheck};

fn service(change: impl FnOnce(&mut ServiceSpec)) -> ServiceSpec {
    let mut spec = ServiceSpec { image: "web:1".to_owned(), ..ServiceSpec::default() };
    change(&mut spec);
    spec
}

fn health(probe: HealthProbe) -> Option<Healthcheck> {
    Some(Healthcheck {
        probe,
        interval: None,
        timeout: None,
        retries: None,
        start_period: None,
        start_interval: None,
    })
}

fn image(change: impl FnOnce(&mut ServiceSpec)) -> ImageFacts {
    ImageFacts {
        last_tagged_at: None,
        id: "sha256:1".to_owned(),
        tags: Vec::new(),
        digests: Vec::new(),
        defaults: service(change),
        platform: "linux/amd64".to_owned(),
        size_bytes: 1,
        created_at: None,
    }
}

/// `pass`, `fail: …` or `unknown: …`, of one check.
fn verdict(id: CheckId, spec: &ServiceSpec, image: Option<&ImageFacts>) -> String {
    let literals = BTreeSet::from(["DB_PASSWORD".to_owned(), "DATABASE_URL".to_owned()]);
    told(id, &Subject { image, literals: Some(&literals), ..Subject::new("web", spec) })
}

fn told(id: CheckId, subject: &Subject<'_>) -> String {
    let judged = judge(subject, &Parameters::default());
    words(judged.into_iter().find(|judged| judged.check.id == id).unwrap().verdict)
}

fn words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Fail { message, at } => format!("fail: {message} at {}", at.join(".")),
        Verdict::Unknown { needs } => format!("unknown: {}", needs.join(", ")),
    }
}

#[test]
fn every_check_has_an_id_and_words_of_its_own() {
    let of_services = CHECKS.iter().map(|it| (it.id, it.title, it.rationale, it.remediation));
    let of_hosts = HOST_CHECKS.iter().map(|it| (it.id, it.title, it.rationale, it.remediation));
    let all: Vec<_> = of_services.chain(of_hosts).collect();
    let ids: Vec<CheckId> = all.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, CheckId::ALL);
    for (id, title, rationale, remediation) in &all {
        assert!(title.len() > 10 && !title.ends_with('.'), "{id}");
        assert!(rationale.ends_with('.') && rationale.len() > 30, "{id}");
        assert!(remediation.len() > 10 && !remediation.ends_with('.'), "{id}");
    }
    let titles: BTreeSet<&str> = all.iter().map(|(_, title, ..)| *title).collect();
    assert_eq!(titles.len(), all.len());
}

#[test]
fn the_rules_of_stages_are_checks_and_keep_their_names() {
    let names: Vec<&str> = RULES.iter().map(|id| id.code()).collect();
    let expect = ["health_check", "non_root_user", "external_secrets", "image_tag", "limits"];
    assert_eq!(names, expect.map(|name| format!("rule.{name}")));
    let spec = service(|_| {});
    let judged = judge_by_rules(&Subject::new("web", &spec));
    assert_eq!(judged.iter().map(|it| it.check.id).collect::<Vec<_>>(), RULES);
}

#[test]
fn a_health_check_is_the_services_own_or_its_images() {
    let id = CheckId::HealthCheck;
    let probe = |probe| service(|spec| spec.healthcheck = health(probe));
    let shell = probe(HealthProbe::Shell("true".to_owned()));
    assert_eq!(verdict(id, &shell, None), "pass");
    let off = "fail: the health check is switched off at healthcheck";
    assert_eq!(verdict(id, &probe(HealthProbe::Disabled), None), off);
    let silent = service(|_| {});
    assert_eq!(verdict(id, &silent, None), "unknown: image.healthcheck");
    assert_eq!(verdict(id, &probe(HealthProbe::Inherit), None), "unknown: image.healthcheck");
    let healthy = image(|spec| spec.healthcheck = health(HealthProbe::Exec(vec!["a".to_owned()])));
    assert_eq!(verdict(id, &silent, Some(&healthy)), "pass");
    let none = "fail: neither the service nor its image has a health check at ";
    assert_eq!(verdict(id, &silent, Some(&image(|_| {}))), none);
}

#[test]
fn root_is_root_however_it_is_written() {
    let id = CheckId::NonRootUser;
    let check = |user: &str, expect: &str| {
        let spec = service(|spec| spec.user = Some(user.to_owned()));
        assert_eq!(verdict(id, &spec, None), expect, "{user}");
    };
    let root = "fail: it says that it runs as root at user";
    for user in ["root", "0", "0:0", "root:app", "00", "-0", "+0:0"] {
        check(user, root);
    }
    check("1000", "pass");
    check("app:0", "pass");
    let silent = service(|_| {});
    assert_eq!(verdict(id, &silent, None), "unknown: image.user");
    let app = image(|spec| spec.user = Some("app".to_owned()));
    assert_eq!(verdict(id, &silent, Some(&app)), "pass");
    let root = "fail: its image says that it runs as root at user";
    assert_eq!(verdict(id, &silent, Some(&image(|_| {}))), root);
}

#[test]
fn only_secrets_that_stand_in_the_file_fail() {
    let id = CheckId::ExternalSecrets;
    let with = |name: &str, value: &str| {
        service(|spec| {
            spec.environment.insert(name.to_owned(), Secret::new(value.to_owned()));
        })
    };
    let check = |name: &str, value: &str, expect: &str| {
        assert_eq!(verdict(id, &with(name, value), None), expect, "{name}={value}");
    };
    let written = "fail: the value of `DB_PASSWORD` is written in the file at \
                   environment.DB_PASSWORD";
    check("DB_PASSWORD", "hunter2", written);
    check("DB_PASSWORD", "", "pass");
    check("DB_PASSWORD", "/run/secrets/db", "pass");
    check("OTHER_PASSWORD", "hunter2", "pass");
    check("DB_PASSWORD_FILE", "x", "pass");
    check("MONKEY", "x", "pass");
    let address = "fail: the value of `DATABASE_URL` is written in the file at \
                   environment.DATABASE_URL";
    check("DATABASE_URL", "postgres://app:hunter2@db/app", address);
    check("DATABASE_URL", "postgres://app@db:5432/app", "pass");
    let unknown = |name: &str| {
        let spec = with(name, "hunter2");
        told(id, &Subject::new("web", &spec))
    };
    for name in ["API_KEY", "GITHUB_TOKEN", "aws.secret-access-key", "PGPASSWORD_PWD"] {
        assert_eq!(unknown(name), "unknown: declaration.environment", "{name}");
    }
    for name in ["TOKEN_TTL", "PWD", "KEY", "PRIMARY_KEY_NAME", "POSTGRES_HOST_AUTH_METHOD"] {
        assert_eq!(unknown(name), "pass", "{name}");
    }
}

#[test]
fn a_tag_is_specific_unless_it_is_absent_or_latest() {
    let check = |image: &str, expect: &str| {
        let spec = service(|spec| spec.image = image.to_owned());
        let found = verdict(CheckId::ImageTag, &spec, None);
        assert_eq!(found.split(':').next(), Some(expect), "{image}: {found}");
    };
    for image in
        ["web:1", "web:1-stable", "registry:5000/web:1", "web@sha256:ab", "web:latest@sha256:ab"]
    {
        check(image, "pass");
    }
    for image in
        ["web", "web:latest", "registry:5000/web", "a/b/c", "web:stable", "r:5000/web:EDGE"]
    {
        check(image, "fail");
    }
    check(&"a".repeat(64), "pass");
    let spec = service(|spec| spec.image = "p-web".to_owned());
    let built = Subject { is_built: true, ..Subject::new("web", &spec) };
    assert_eq!(told(CheckId::ImageTag, &built), "pass");
}

#[test]
fn both_limits_are_demanded() {
    let check = |cpus, memory, expect: &str| {
        let spec = service(|spec| {
            spec.resources.nano_cpus = cpus;
            spec.resources.memory_bytes = memory;
        });
        let found = verdict(CheckId::Limits, &spec, None);
        assert_eq!(found.trim_end_matches(" at deploy.resources.limits"), expect);
    };
    check(Some(1), Some(1), "pass");
    check(None, Some(1), "fail: its CPU is not limited");
    check(Some(1), Some(0), "fail: its memory is not limited");
    check(None, None, "fail: neither its CPU nor its memory is limited");
}

#[test]
fn stages_differ_in_what_is_done() {
    let mut rules = Rules::default();
    assert!(rules.is_off(Stage::Development));
    assert_eq!(rules.action(Stage::Production, CheckId::Limits), Action::Warn);
    rules.set(Stage::Production, CheckId::Limits, Action::Deny);
    assert_eq!(rules.action(Stage::Production, CheckId::Limits), Action::Deny);
    assert_eq!(rules.action(Stage::Staging, CheckId::Limits), Action::Warn);
    assert!(Rules::off().is_off(Stage::Production));
}
