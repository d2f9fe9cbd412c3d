//! Images and environments: compliant, violating and evasive spellings.

use super::declared::{table, table_with};
use super::*;
use crate::base::Timestamp;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn places(places: &[&str]) -> Parameters {
    let places = places.iter().map(|place| (*place).to_owned()).collect();
    Parameters { registries: Some(places), ..Parameters::default() }
}

#[test]
fn images_are_of_trusted_registries_part_by_part() {
    table(CheckId::ImageRegistry, &[("image: redis:7", "", "unknown: parameters.registries")]);
    let by_digest = format!("image: ghcr.io/acme/x@{DIGEST}");
    table_with(
        CheckId::ImageRegistry,
        &places(&["ghcr.io/acme", "docker.io/library"]),
        &[
            ("image: redis:7", "", "pass"),
            ("image: docker.io/redis", "", "pass"),
            ("image: index.docker.io/library/redis:7", "", "pass"),
            ("image: ghcr.io/acme/shop/web:1", "", "pass"),
            ("image: GHCR.io/acme/web", "", "pass"),
            (&by_digest, "", "pass"),
            ("build: .", "", "pass"),
            (
                "image: ghcr.io/acme-labs/web",
                "",
                "fail: image `ghcr.io/acme-labs/web` is of no trusted",
            ),
            ("image: ghcr.io/other/web", "", "fail"),
            ("image: ghcr.io.evil.org/acme/web", "", "fail"),
            ("image: evil.org/ghcr.io/acme/web", "", "fail"),
            ("image: team/redis", "", "fail"),
            ("image: library/redis", "", "pass"),
            ("image: localhost/library/redis", "", "fail"),
            ("image: docker.io:5000/library/redis", "", "fail"),
        ],
    );
    table_with(
        CheckId::ImageRegistry,
        &places(&["docker.io", "registry.local:5000"]),
        &[
            ("image: team/redis", "", "pass"),
            ("image: registry.local:5000/a/b:1", "", "pass"),
            ("image: registry.local:5001/a/b:1", "", "fail"),
            ("image: registry.local/a", "", "fail"),
        ],
    );
    table_with(
        CheckId::ImageRegistry,
        &places(&["acme/*"]),
        &[("image: acme/web", "", "pass"), ("image: acme2/web", "", "fail")],
    );
}

#[test]
fn an_image_by_its_id_is_judged_by_its_names() {
    let spec = service(|spec| DIGEST.clone_into(&mut spec.image));
    let judged = |digests: &[&str], known: bool| {
        let mut image = image(|_| {});
        image.digests = digests.iter().map(|name| format!("{name}@{DIGEST}")).collect();
        let image = known.then_some(&image);
        let subject = Subject { image, ..Subject::new("web", &spec) };
        let check = check(CheckId::ImageRegistry).unwrap();
        words((check.judge)(&subject, &places(&["ghcr.io/acme"])))
    };
    assert_eq!(judged(&[], false), "unknown: image.names");
    assert_eq!(judged(&[], true), "unknown: image.names");
    assert_eq!(judged(&["ghcr.io/acme/web"], true), "pass");
    assert!(judged(&["redis"], true).starts_with("fail"));
}

#[test]
fn a_digest_pins_and_a_tag_does_not() {
    let (pinned, tagged) = (format!("image: web@{DIGEST}"), format!("image: web:1@{DIGEST}"));
    let id = format!("image: '{DIGEST}'");
    table(
        CheckId::ImageDigest,
        &[
            (&pinned, "", "pass"),
            (&tagged, "", "pass"),
            (&id, "", "pass"),
            ("build: .", "", "pass"),
            ("image: web:1", "", "fail: image `web:1` is not pinned by digest at image"),
            ("image: 'web:sha256-0123'", "", "fail"),
            ("image: registry:5000/web", "", "fail"),
        ],
    );
}

#[test]
fn an_image_that_is_there_is_pinned_to_what_it_is() {
    let pinned = |reference: &str, digests: &[&str]| {
        let spec = service(|spec| reference.clone_into(&mut spec.image));
        let mut image = image(|_| {});
        image.digests = digests.iter().map(|name| format!("{name}@{DIGEST}")).collect();
        let subject = Subject { image: Some(&image), ..Subject::new("web", &spec) };
        let remedy = check(CheckId::ImageDigest).unwrap().remedy.unwrap();
        remedy(&subject, &Parameters::default())
    };
    let expect = |reference: &str| {
        let reference = format!("{reference}@{DIGEST}");
        Some(Remedy::Recreate(vec![SpecChange::Image(reference)]))
    };
    assert_eq!(pinned("redis:7", &["other", "redis"]), expect("redis:7"));
    assert_eq!(
        pinned("docker.io/library/redis:7", &["redis"]),
        expect("docker.io/library/redis:7")
    );
    assert_eq!(pinned("redis:7", &["other"]), None);
    assert_eq!(pinned("redis:7", &[]), None);
}

#[test]
fn an_image_grows_old() {
    let spec = service(|_| {});
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let judged = |created: Option<&str>, now: Option<&str>| {
        let mut image = image(|_| {});
        image.created_at = created.map(at);
        let now = now.map(at);
        told(CheckId::ImageAge, &Subject { image: Some(&image), now, ..Subject::new("web", &spec) })
    };
    let now = Some("2026-04-01T00:00:00Z");
    assert_eq!(judged(Some("2026-01-02T00:00:00Z"), now), "pass");
    let old = "fail: its image was built 91 days ago, more than 90 at image";
    assert_eq!(judged(Some("2025-12-31T00:00:00Z"), now), old);
    assert_eq!(judged(Some("2026-05-01T00:00:00Z"), now), "pass");
    assert_eq!(judged(Some("1970-01-01T00:00:01Z"), now), "unknown: image.created_at");
    assert_eq!(judged(None, now), "unknown: image.created_at");
    assert_eq!(judged(Some("2026-01-02T00:00:00Z"), None), "unknown: now");
    assert_eq!(told(CheckId::ImageAge, &Subject::new("web", &spec)), "unknown: image.created_at");
}

#[test]
fn an_image_says_where_it_comes_from() {
    let spec = service(|_| {});
    let judged = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let image = image(|spec| spec.labels = labels.collect());
        let subject = Subject { image: Some(&image), ..Subject::new("web", &spec) };
        told(CheckId::ImageProvenance, &subject)
    };
    let (source, revision) =
        ("org.opencontainers.image.source", "org.opencontainers.image.revision");
    assert_eq!(judged(&[(source, "https://git.example.org/x"), (revision, "abc")]), "pass");
    let missing = format!("fail: its image has no `{revision}` at image");
    assert_eq!(judged(&[(source, "https://git.example.org/x"), (revision, " ")]), missing);
    assert!(judged(&[]).starts_with("fail"));
    let unknown = told(CheckId::ImageProvenance, &Subject::new("web", &spec));
    assert_eq!(unknown, "unknown: image.labels");
}

#[test]
fn secrets_in_the_environment_are_known_by_name_or_by_form() {
    let github = format!("environment: {{CI_LOGIN: ghp_{}}}", "a1".repeat(18));
    let signed = "environment: {X: eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln}";
    table(
        CheckId::EnvironmentSecrets,
        &[
            ("", "", "pass"),
            ("environment: {DB_PASSWORD_FILE: /run/secrets/db, TZ: UTC}", "", "pass"),
            ("environment: {TOKEN_TTL: 60s, SSH_AUTH: none}", "", "pass"),
            ("environment: {KEYBOARD: de, AKIA: x}", "", "pass"),
            ("environment: {DB_PASSWORD: hunter2}", "", "fail: `DB_PASSWORD` in its environment"),
            ("environment: [api-key=x]", "", "fail"),
            ("environment: {SMTP_PASS: hunter2}", "", "fail"),
            ("environment: {PASS_THROUGH: x, PASS: x, BYPASS: x, USE_PASS: 'yes'}", "", "pass"),
            ("environment: {DATABASE_URL: 'postgres://app:hunter2@db/app'}", "", "fail"),
            ("environment: {AWS: AKIAIOSFODNN7EXAMPLE}", "", "fail"),
            (&github, "", "fail"),
            (signed, "", "fail"),
            ("environment: {K: \"-----BEGIN RSA PRIVATE KEY-----\\nx\"}", "", "fail"),
        ],
    );
    let case = super::declared::Case::new("environment: {DB_PASSWORD: hunter2}", "");
    let said = told(CheckId::EnvironmentSecrets, &Subject::new("web", case.web()));
    assert!(!said.contains("hunter2"), "{said}");
}
