//! Checks of images. Owns where they may come from, how they are pinned, how old they are and what
//! they say of themselves. Face: `CHECKS`. Never asks a registry.

use std::time::Duration;

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, quoted, unknown};
use crate::base::Timestamp;
use crate::base::time::between;
use crate::domain::alerts::Severity;
use crate::domain::policy::{Remedy, SpecChange};
use crate::domain::registries::registry_of;

pub(super) const CHECKS: [Check; 4] = [
    Check {
        id: CheckId::ImageRegistry,
        title: "Images come from registries that are trusted",
        severity: Severity::High,
        rationale: "Who can put an image where it is pulled from runs a program of their own.",
        remediation: "take it from a registry of `registries`, or add this one",
        cis: &["4.2"],
        judge: image_registry,
        remedy: None,
    },
    Check {
        id: CheckId::ImageDigest,
        title: "Images are pinned by digest",
        severity: Severity::Low,
        rationale: "A tag is moved by whoever may push to it; a digest is the content itself.",
        remediation: "write the digest behind the tag: `web:1.2@sha256:…`",
        cis: &["4.5"],
        judge: image_digest,
        remedy: Some(pin),
    },
    Check {
        id: CheckId::ImageAge,
        title: "Images are not old",
        severity: Severity::Medium,
        rationale: "An old image has the holes that were found since; what is rebuilt often has \
                    their repairs.",
        remediation: "pull or build a newer image",
        cis: &["5.28"],
        judge: image_age,
        remedy: None,
    },
    Check {
        id: CheckId::ImageProvenance,
        title: "Images say where they come from",
        severity: Severity::Low,
        rationale: "When something is wrong with an image somebody has to find the source and the \
                    change that it was built from.",
        remediation: "build it with the labels `org.opencontainers.image.source` and `.revision`",
        cis: &[],
        judge: image_provenance,
        remedy: None,
    },
];

/// Length of the engine's ids and of the digests in use.
const SHA256_DIGITS: usize = 64;

fn is_hex(text: &str) -> bool {
    text.len() == SHA256_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Does it name an image by its content on this engine?
fn is_id(reference: &str) -> bool {
    is_hex(reference.strip_prefix("sha256:").unwrap_or(reference))
}

/// The reference without tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        // A colon before the last slash belongs to a registry's port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// The whole name: registry and path, as `docker.io/library/redis`.
fn full_name(reference: &str) -> Option<String> {
    let name = repository(reference);
    let registry = registry_of(name)?;
    let path = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => path,
        _ => name,
    };
    let is_library = registry.as_str() == "docker.io" && !path.contains('/');
    let path = if is_library { format!("library/{path}") } else { path.to_owned() };
    Some(format!("{registry}/{path}"))
}

/// Is an image of this name within one of the places, part by part? `docker.io.evil.org` is not
/// within `docker.io`, nor `ghcr.io/acme-labs` within `ghcr.io/acme`.
fn is_from(name: &str, place: &str) -> bool {
    let place = place.trim_end_matches('*').trim_end_matches('/');
    let place = place.strip_prefix("https://").unwrap_or(place);
    let whole = match place.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
            registry_of(place).map(|registry| format!("{registry}/{path}"))
        }
        None if place.contains(['.', ':']) || place == "localhost" => {
            registry_of(&format!("{place}/x")).map(|registry| registry.to_string())
        }
        _ => Some(format!("docker.io/{place}")),
    };
    let rest = whole.as_deref().and_then(|whole| name.strip_prefix(whole));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn image_registry(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    if subject.is_built {
        return Verdict::Pass;
    }
    let Some(places) = &parameters.registries else {
        return unknown(vec!["parameters.registries"]);
    };
    let is_trusted = |name: &String| places.iter().any(|place| is_from(name, place));
    let reference = subject.spec.image.as_str();
    if is_id(reference) {
        let Some(image) = subject.image else { return unknown(vec!["image.names"]) };
        let names = image.digests.iter().chain(&image.tags);
        let names: Vec<String> = names.filter_map(|name| full_name(name)).collect();
        if names.is_empty() {
            return unknown(vec!["image.names"]);
        }
        return match names.iter().any(is_trusted) {
            true => Verdict::Pass,
            false => fail("none of its image's names is of a trusted registry", &["image"]),
        };
    }
    match full_name(reference) {
        Some(name) if is_trusted(&name) => Verdict::Pass,
        _ => fail(format!("image `{reference}` is of no trusted registry"), &["image"]),
    }
}

fn is_pinned(reference: &str) -> bool {
    let digest = reference.split_once('@').map(|(_, digest)| digest);
    digest.is_some_and(|digest| match digest.split_once(':') {
        // An engine refuses one of another length: nothing runs that is not pinned.
        Some(("sha256", digits)) => {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        Some((_, digits)) => {
            digits.len() > SHA256_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        None => false,
    })
}

fn image_digest(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let reference = subject.spec.image.as_str();
    match subject.is_built || is_id(reference) || is_pinned(reference) {
        true => Verdict::Pass,
        false => fail(format!("image `{reference}` is not pinned by digest"), &["image"]),
    }
}

/// The digest under which the image that is there was pulled by this name.
fn pin(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    if image_digest(subject, parameters) == Verdict::Pass {
        return None;
    }
    let reference = subject.spec.image.split('@').next().unwrap_or_default();
    let name = full_name(reference)?;
    let is_same = |known: &&String| full_name(known).as_ref() == Some(&name) && is_pinned(known);
    let known = subject.image?.digests.iter().find(is_same)?;
    let (_, digest) = known.split_once('@')?;
    Some(Remedy::Recreate(vec![SpecChange::Image(format!("{reference}@{digest}"))]))
}

/// Builds that are to come out the same each time give their images a time before there were any.
fn is_credible(built: Timestamp) -> bool {
    const FIRST_IMAGES: &str = "2013-03-01T00:00:00Z";
    FIRST_IMAGES.parse::<Timestamp>().is_ok_and(|first| built > first)
}

fn image_age(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let Some(image) = subject.image else { return unknown(vec!["image.created_at"]) };
    let Some(now) = subject.now else { return unknown(vec!["now"]) };
    let Some(built) = image.created_at.filter(|built| is_credible(*built)) else {
        return unknown(vec!["image.created_at"]);
    };
    const DAY: u64 = 24 * 60 * 60;
    let age: Duration = between(built, now);
    let days = age.as_secs() / DAY;
    let max = parameters.image_age_days_max;
    match days > u64::from(max) {
        true => fail(format!("its image was built {days} days ago, more than {max}"), &["image"]),
        false => Verdict::Pass,
    }
}

fn image_provenance(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let Some(image) = subject.image else { return unknown(vec!["image.labels"]) };
    let labels = &image.defaults.labels;
    let is_missing =
        |label: &&String| labels.get(*label).is_none_or(|value| value.trim().is_empty());
    let missing: Vec<&String> = parameters.provenance_labels.iter().filter(is_missing).collect();
    match missing.is_empty() {
        true => Verdict::Pass,
        false => fail(
            format!("its image has no {}", quoted(missing.into_iter().map(String::as_str))),
            &["image"],
        ),
    }
}
