//! The five rules of a compose configuration. Owns what each of them demands. Face: `CHECKS`. Never
//! knows whether a service was read from a file or found on an engine.

use super::secrets::holds_secret;
use super::{Check, CheckId, Parameters, Subject, Verdict, fail};
use crate::domain::alerts::Severity;
use crate::facts::{HealthProbe, Healthcheck};

/// Every one of them.
pub(super) const CHECKS: [Check; 5] = [
    Check {
        id: CheckId::HealthCheck,
        title: "Every service has a health check",
        severity: Severity::Medium,
        rationale: "Without one the engine knows only that a process runs, not that it works: \
                    nothing that depends on the service can wait for it, and a deploy that broke \
                    it counts as a success.",
        remediation: "declare `healthcheck.test`, or build it into the image",
        cis: &["4.6", "5.27"],
        judge: health_check,
        remedy: None,
    },
    Check {
        id: CheckId::NonRootUser,
        title: "A service does not run as root",
        severity: Severity::Medium,
        rationale: "Who breaks into a process that is root inside its container needs one hole in \
                    the kernel less to be root on the host, and writes to its mounts as root \
                    already.",
        remediation: "declare `user:`, or set a user in the image",
        cis: &["4.1"],
        judge: non_root_user,
        remedy: None,
    },
    Check {
        id: CheckId::ExternalSecrets,
        title: "Secrets come from files outside of the configuration alone",
        severity: Severity::High,
        rationale: "What stands in a compose file is in every copy, backup and history of it.",
        remediation: "take it from a file with `secrets:`, or from a variable that is kept apart",
        cis: &[],
        judge: external_secrets,
        remedy: None,
    },
    Check {
        id: CheckId::ImageTag,
        title: "Images have a specific tag",
        severity: Severity::Medium,
        rationale: "`latest`, `stable`, or no tag, means another image on another day: nobody can \
                    say what ran, nor return to it.",
        remediation: "name a version, or a digest",
        cis: &[],
        judge: image_tag,
        remedy: None,
    },
    Check {
        id: CheckId::Limits,
        title: "CPU and memory are limited",
        severity: Severity::Medium,
        rationale: "A service without limits can take the whole host from all others.",
        remediation: "declare `deploy.resources.limits` with `cpus` and `memory`",
        cis: &["5.11", "5.12"],
        judge: limits,
        remedy: None,
    },
];

fn health_check(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let probe = |check: &Option<Healthcheck>| match check.as_ref().map(|check| &check.probe) {
        Some(HealthProbe::Exec(_) | HealthProbe::Shell(_)) => Some(true),
        Some(HealthProbe::Disabled) => Some(false),
        Some(HealthProbe::Inherit) | None => None,
    };
    let of_image = subject.image.map(|image| probe(&image.defaults.healthcheck));
    match (probe(&subject.spec.healthcheck), of_image) {
        (Some(true), _) | (None, Some(Some(true))) => Verdict::Pass,
        (Some(false), _) => fail("the health check is switched off", &["healthcheck"]),
        // The report of a container has its image's settings in it.
        (None, found) if found.is_some() || subject.container.is_some() => {
            fail("neither the service nor its image has a health check", &[])
        }
        (None, _) => Verdict::Unknown { needs: vec!["image.healthcheck"] },
    }
}

fn non_root_user(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let of_image = || match subject.image {
        Some(image) => Some(image.defaults.user.as_deref().unwrap_or("root")),
        // The report of a container has its image's settings in it.
        None => subject.container.map(|_| "root"),
    };
    let (user, whose) = match subject.spec.user.as_deref().filter(|user| !user.is_empty()) {
        Some(user) => (user, "it"),
        None => match of_image() {
            Some(user) => (user, "its image"),
            None => return Verdict::Unknown { needs: vec!["image.user"] },
        },
    };
    let name = user.split(':').next().unwrap_or_default();
    // `00`, `-0` and `+0` are numbers of root as well.
    let is_root = name.is_empty() || name == "root" || name.parse() == Ok(0_i64);
    if is_root {
        fail(format!("{whose} says that it runs as root"), &["user"])
    } else {
        Verdict::Pass
    }
}

fn external_secrets(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let environment = subject.spec.environment.iter();
    let secrets: Vec<&str> = environment
        .filter(|(name, value)| holds_secret(name, value.expose()))
        .map(|(name, _)| name.as_str())
        .collect();
    if secrets.is_empty() {
        return Verdict::Pass;
    }
    let Some(literals) = subject.literals else {
        return Verdict::Unknown { needs: vec!["declaration.environment"] };
    };
    let written: Vec<&str> = secrets.into_iter().filter(|name| literals.contains(*name)).collect();
    match written.as_slice() {
        [] => Verdict::Pass,
        [first, ..] => {
            let names = written.join("`, `");
            fail(format!("the value of `{names}` is written in the file"), &["environment", first])
        }
    }
}

fn image_tag(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let image = subject.spec.image.as_str();
    if subject.is_built || image.contains('@') {
        return Verdict::Pass;
    }
    // A colon before the last slash belongs to a registry's port.
    let name = image.rsplit('/').next().unwrap_or_default();
    match name.split_once(':') {
        None if is_engine_id(image) => Verdict::Pass,
        None => fail(format!("image `{image}` has no tag"), &["image"]),
        Some((_, "latest")) => fail(format!("image `{image}` is whatever is latest"), &["image"]),
        Some((_, tag)) if MOVING_TAGS.contains(&tag.to_ascii_lowercase().as_str()) => {
            fail(format!("image `{image}` is whatever is `{tag}` that day"), &["image"])
        }
        Some(_) => Verdict::Pass,
    }
}

/// Tags that are moved to each new image, whatever it is of.
const MOVING_TAGS: [&str; 17] = [
    "canary", "current", "dev", "devel", "develop", "edge", "head", "latest", "lts", "main",
    "mainline", "master", "nightly", "next", "rolling", "stable", "unstable",
];

/// Whether it names an image by its content.
fn is_engine_id(image: &str) -> bool {
    const DIGITS: usize = 64;
    image.len() == DIGITS && image.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn limits(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let resources = &subject.spec.resources;
    let is_set = |limit: Option<i64>| limit.is_some_and(|limit| limit > 0);
    let cpus = is_set(resources.nano_cpus) || is_set(resources.cpu_quota_micros);
    let memory = is_set(resources.memory_bytes);
    let at = ["deploy", "resources", "limits"];
    match (cpus, memory) {
        (true, true) => Verdict::Pass,
        (false, true) => fail("its CPU is not limited", &at),
        (true, false) => fail("its memory is not limited", &at),
        (false, false) => fail("neither its CPU nor its memory is limited", &at),
    }
}
