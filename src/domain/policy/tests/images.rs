//! Images and environments, where more is known than a file says.

use super::*;
use crate::base::Timestamp;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn places(places: &[&str]) -> Parameters {
    let places = places.iter().map(|place| (*place).to_owned()).collect();
    Parameters { registries: Some(places), ..Parameters::default() }
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
fn what_is_said_of_a_secret_does_not_tell_it() {
    let case = super::declared::Case::new("environment: {DB_PASSWORD: hunter2}", "");
    let said = told(CheckId::EnvironmentSecrets, &Subject::new("web", case.web()));
    assert!(!said.contains("hunter2"), "{said}");
}
